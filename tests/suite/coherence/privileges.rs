//! Set-ID bits that one mount gives to a file while an ordinary user has it open through another.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::store::Shared;
use crate::harness::bytes;

const CAPABILITY: &str = "security.capability";

/// Writes when it is opened, and once more when told to.
const WRITER: &str = "exec 3<>\"$0\"; printf x >&3; echo opened; read again; printf y >&3; echo written; read end";

/// The kernel of the writer's mount knows nothing of the bits: it asks for no mode before a write. Where it writes by itself,
/// nobody hears of the write before the file is looked at.
#[test]
fn a_write_through_a_mount_that_does_not_know_of_set_id_bits_takes_them() {
    for passthrough in [true, false] {
        let shared = Shared::new(2, |_, options| {
            options.manner.allow_other = true;
            options.manner.passthrough = passthrough;
        });
        for (length, ends_first) in [(10, false), (10, true), (2 << 20, false), (2 << 20, true)] {
            let case =
                format!("{length} bytes, passthrough {passthrough}, closed before it is looked at: {ends_first}");
            let name = format!("{length}-{ends_first}");
            let (here, there) = (shared.place(0).join(&name), shared.place(1).join(&name));
            fs::write(&here, bytes(1, length)).unwrap();
            fs::set_permissions(&here, Permissions::from_mode(0o777)).unwrap();
            let mut writer = Command::new("setpriv");
            writer.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "sh", "-c", WRITER]);
            writer.arg(&here).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut writer = writer.spawn().unwrap();
            let mut said = BufReader::new(writer.stdout.take().unwrap()).lines();
            assert_eq!(said.next().unwrap().unwrap(), "opened");
            fs::set_permissions(&there, Permissions::from_mode(0o6755)).unwrap();
            xattr::set(&there, CAPABILITY, b"\x01\0\0\x02\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").unwrap();
            assert_eq!((mode(&there), mode(&here)), (0o6755, 0o6755), "what was written before is no matter: {case}");
            assert!(xattr::get(&there, CAPABILITY).unwrap().is_some(), "{case}");
            tell(&mut writer, "again");
            assert_eq!(said.next().unwrap().unwrap(), "written");
            if !ends_first {
                assert_eq!((mode(&there), mode(&here)), (0o755, 0o755), "{case}");
            }
            tell(&mut writer, "end");
            assert!(writer.wait().unwrap().success());
            assert_eq!((mode(&there), mode(&here)), (0o755, 0o755), "{case}");
            assert_eq!(xattr::get(&there, CAPABILITY).unwrap(), None, "{case}");
        }
        shared.finish();
    }
}

fn tell(writer: &mut Child, word: &str) {
    writeln!(writer.stdin.as_ref().unwrap(), "{word}").unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}
