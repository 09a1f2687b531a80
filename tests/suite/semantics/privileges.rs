//! Who may do what: set-user-ID bits that a change clears, and the permission bits as other users meet them.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, AtFlags, CWD, StatxFlags};

use crate::harness::{Mounted, TRANSPORTS, bytes, nexus, run, scratch};

const NOBODY: u32 = 65_534;

/// What somebody without privilege does to a file, as a shell command.
const CHANGES: [(&str, &str); 5] = [
    ("write", "printf x >> FILE"),
    ("write at the start", "printf x 1<>FILE"),
    ("truncate", "truncate -s 3 FILE"),
    ("open with truncation", ": > FILE"),
    ("allocate", "fallocate -l 100000 FILE"),
];

/// `cap_setuid` as `setcap` stores it: `vfs_cap_data` of linux/capability.h, revision 2, effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn changing_a_file_clears_its_set_id_bits() {
    let mounted = Mounted::with(&["--allow-other", "-o", "suid"]);
    for place in mounted.places() {
        for length in [10, 2 << 20] {
            for (name, command) in CHANGES {
                let file = set_id_file(&place, &format!("{name} {length}"), length);
                change_as_nobody(&file, command);
                assert_eq!(mode(&file), 0o777, "{name}, {length} bytes, on {}", place.display());
            }
        }
    }
    mounted.finish();
}

/// Root has the file open for writing, so that an ordinary user is served past the page cache as well. The kernel then asks
/// for nothing before it writes.
#[test]
fn changing_a_file_that_root_is_writing_clears_them_too() {
    for (transport, how) in TRANSPORTS.into_iter().flat_map(|t| [(t, "passthrough"), (t, "no_passthrough")]) {
        let mounted = Mounted::over(transport, &["--allow-other", "-o", "suid", "-o", how]);
        for place in mounted.places() {
            for length in [10, 2 << 20] {
                for (name, command) in CHANGES {
                    let case = format!("{name}, {length} bytes, over {transport}, {how}, on {}", place.display());
                    let file = set_id_file(&place, &format!("{name} {length}"), length);
                    let held = OpenOptions::new().write(true).open(&file).unwrap();
                    change_as_nobody(&file, command);
                    assert_eq!(believed_mode(&file), 0o777, "what execve(2) goes by: {case}");
                    assert_eq!(mode(&file), 0o777, "{case}");
                    // By another mode than the one before, and the same handle.
                    fs::set_permissions(&file, Permissions::from_mode(0o2777)).unwrap();
                    change_as_nobody(&file, command);
                    assert_eq!((believed_mode(&file), mode(&file)), (0o777, 0o777), "once more: {case}");
                    drop(held);
                }
            }
        }
        mounted.finish();
    }
}

/// The same of what setcap(8) gives.
#[test]
fn writing_to_a_file_that_root_is_writing_takes_its_capabilities() {
    for how in ["passthrough", "no_passthrough"] {
        let mounted = Mounted::with(&["--allow-other", "-o", "suid", "-o", how]);
        for place in mounted.places() {
            for length in [10, 2 << 20] {
                let file = set_id_file(&place, &format!("{length}"), length);
                let held = OpenOptions::new().write(true).open(&file).unwrap();
                xattr::set(&file, "security.capability", &CAPABILITY).unwrap();
                change_as_nobody(&file, "printf x >> FILE");
                let left = xattr::get(&file, "security.capability").unwrap();
                assert_eq!(left, None, "{length} bytes, {how}, on {}", place.display());
                drop(held);
            }
        }
        mounted.finish();
    }
}

#[test]
fn changing_the_owner_clears_the_set_id_bits() {
    let mounted = Mounted::with(&["--allow-other", "-o", "suid"]);
    for place in mounted.places() {
        let file = set_id_file(&place, "by root", 10);
        chown(&file, Some(NOBODY), None).unwrap();
        assert_eq!(mode(&file), 0o777, "{}", place.display());
        let dir = place.join("dir");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o6777)).unwrap();
        chown(&dir, Some(NOBODY), None).unwrap();
        assert_eq!(mode(&dir), 0o6777, "those of a directory stay, on {}", place.display());
    }
    mounted.finish();
}

#[test]
fn reading_and_root_leave_the_set_id_bits() {
    let mounted = Mounted::with(&["--allow-other", "-o", "suid"]);
    for place in mounted.places() {
        let file = set_id_file(&place, "file", 10);
        run(as_nobody().arg("cat").arg(&file)).ok();
        assert_eq!(mode(&file), 0o6777, "{}", place.display());
        fs::write(&file, b"by root").unwrap();
        assert_eq!(mode(&file), 0o6777, "root has CAP_FSETID, on {}", place.display());
    }
    mounted.finish();
}

#[test]
fn new_files_belong_to_who_makes_them() {
    let mounted = Mounted::with(&["--allow-other"]);
    for place in mounted.places() {
        let dir = place.join("dir");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o2777)).unwrap();
        let script = "umask 027; : > \"$0/file\"; mkdir \"$0/sub\"; ln -s x \"$0/link\"; mkfifo \"$0/fifo\"";
        run(as_nobody().args(["sh", "-c", script]).arg(&dir)).ok();
        for (name, expected) in [("file", 0o640), ("sub", 0o2750), ("fifo", 0o640)] {
            let meta = fs::metadata(dir.join(name)).unwrap();
            assert_eq!(meta.uid(), NOBODY, "{name} on {}", place.display());
            assert_eq!(meta.gid(), 0, "the group of a set-group-ID directory: {name} on {}", place.display());
            assert_eq!(meta.mode() & 0o7777, expected, "{name} on {}", place.display());
        }
        let secret = place.join("secret");
        fs::write(&secret, b"").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        assert_ne!(run(as_nobody().arg("cat").arg(&secret)).code, 0, "{}", place.display());
    }
    mounted.finish();
}

fn set_id_file(place: &Path, name: &str, length: usize) -> PathBuf {
    let file = place.join(name);
    fs::write(&file, bytes(1, length)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o6777)).unwrap();
    file
}

fn change_as_nobody(file: &Path, command: &str) {
    let command = command.replace("FILE", "\"$0\"");
    run(as_nobody().args(["sh", "-c", &command]).arg(file)).ok();
}

/// The mode that the kernel goes by: it asks the filesystem for it only where it knows that its own is old.
fn believed_mode(path: &Path) -> u32 {
    u32::from(rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MODE).unwrap().stx_mode) & 0o7777
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Where nobody checks mode bits, nobody but root is let in, whom they would not hold.
#[test]
fn without_the_checks_of_the_kernel_only_root_is_let_in() {
    let mounted = Mounted::with(&["-o", "no_default_permissions"]);
    let script = mounted.path("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    for bits in [0o000, 0o777] {
        fs::set_permissions(&script, Permissions::from_mode(bits)).unwrap();
        fs::read(&script).unwrap();
        // What no one may execute root may not either.
        assert_eq!(Command::new(&script).status().is_ok(), bits == 0o777, "{bits:o}");
        let may = |access| rustix::fs::access(&script, access).is_ok();
        assert_eq!((may(Access::EXEC_OK), may(Access::READ_OK | Access::WRITE_OK)), (bits == 0o777, true), "{bits:o}");
        assert!(rustix::fs::access(mounted.root(), Access::EXEC_OK).is_ok());
        for refused in ["cat", "ls"] {
            run(as_nobody().arg(refused).arg(&script)).refused(&["Permission denied"]);
        }
    }
    mounted.finish();
    let empty = scratch();
    let (store, mountpoint) = (empty.path().join("store"), empty.path().join("mnt"));
    fs::create_dir(&mountpoint).unwrap();
    run(nexus().arg("init").arg(&store)).ok();
    let mut command = nexus();
    command.arg("mount").arg(&mountpoint).arg("--data-dir").arg(&store);
    run(command.args(["--allow-other", "-o", "no_default_permissions"])).refused(&["nothing would hold other users"]);
}

fn as_nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]).current_dir("/");
    command
}
