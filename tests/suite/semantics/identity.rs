//! What nexus knows of a file beyond POSIX: `user.nexus.etag`, `version`, `path_id`, `created_at`, `refs`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::harness::{Mounted, bytes, sha256, shell, xattr_text};
use crate::semantics::bodies::Mapping;

/// In memory while written, a row when sealed; in memory, then a file; a staging file, then a file.
const LENGTHS: [usize; 6] = [0, 1, 10_000, 100_000, 1 << 20, 5 << 20];

#[test]
fn the_etag_is_the_sha256_right_after_close() {
    let mounted = Mounted::new();
    for length in LENGTHS {
        let path = mounted.path(&format!("file-{length}"));
        fs::write(&path, bytes(1, length)).unwrap();
        assert_eq!(etag(&path), sha256(&bytes(1, length)), "{length} bytes");
    }
    let script =
        "for f in *; do test \"$(sha256sum < $f)\" = \"$(getfattr --only-values -n user.nexus.etag $f)  -\"; done";
    shell(&mounted.root(), script);
    mounted.finish();
}

#[test]
fn the_etag_follows_truncate() {
    let mounted = Mounted::new();
    for length in LENGTHS {
        let path = mounted.path(&format!("file-{length}"));
        let mut body = bytes(2, length);
        fs::write(&path, &body).unwrap();
        for new_length in [length / 3, length * 2 + 1, 0] {
            rustix::fs::ftruncate(OpenOptions::new().write(true).open(&path).unwrap(), new_length as u64).unwrap();
            body.resize(new_length, 0);
            assert_eq!(etag(&path), sha256(&body), "{length} cut to {new_length} bytes");
        }
    }
    mounted.finish();
}

#[test]
fn the_etag_follows_a_write_through_a_mapping() {
    let mounted = Mounted::new();
    for length in LENGTHS.into_iter().filter(|length| *length > 0) {
        let path = mounted.path(&format!("file-{length}"));
        let mut body = bytes(3, length);
        fs::write(&path, &body).unwrap();
        assert_eq!(etag(&path), sha256(&body));
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut mapping = Mapping::shared(&file, length);
        drop(file);
        mapping.bytes()[length / 2] ^= 0xff;
        body[length / 2] ^= 0xff;
        drop(mapping);
        assert_eq!(etag(&path), sha256(&body), "{length} bytes, mapped, written, unmapped");
    }
    mounted.finish();
}

#[test]
fn the_etag_is_right_while_the_file_is_written() {
    let mounted = Mounted::new();
    for length in LENGTHS {
        let path = mounted.path(&format!("file-{length}"));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(&bytes(4, length)).unwrap();
        assert_eq!(etag(&path), sha256(&bytes(4, length)), "{length} bytes, still open");
        file.write_all(b"more").unwrap();
        let more = [bytes(4, length), b"more".to_vec()].concat();
        assert_eq!(etag(&path), sha256(&more), "{length} bytes and more, still open");
        drop(file);
        assert_eq!(etag(&path), sha256(&more));
        assert!(fs::read(&path).unwrap() == more);
    }
    mounted.finish();
}

#[test]
fn the_path_id_is_the_inode_and_stays() {
    let mut mounted = Mounted::new();
    let (first, second) = (mounted.path("first"), mounted.path("second"));
    fs::write(&first, b"one").unwrap();
    let id = xattr_text(&first, "user.nexus.path_id");
    assert_eq!(id, fs::metadata(&first).unwrap().ino().to_string());
    fs::rename(&first, &second).unwrap();
    fs::write(&second, b"two").unwrap();
    assert_eq!(xattr_text(&second, "user.nexus.path_id"), id, "after rename and overwrite");
    mounted.remount();
    assert_eq!(fs::metadata(&second).unwrap().ino().to_string(), id, "after a new mount");
    fs::remove_file(&second).unwrap();
    fs::write(&second, b"two").unwrap();
    assert_ne!(xattr_text(&second, "user.nexus.path_id"), id, "after delete and create");
    fs::create_dir(mounted.path("dir")).unwrap();
    let dir = fs::metadata(mounted.path("dir")).unwrap().ino().to_string();
    assert_eq!(xattr_text(&mounted.path("dir"), "user.nexus.path_id"), dir);
    mounted.finish();
}

#[test]
fn the_version_counts_bodies() {
    let mut mounted = Mounted::new();
    for length in [10, 100_000, 2 << 20] {
        let path = mounted.path(&format!("file-{length}"));
        fs::write(&path, bytes(5, length)).unwrap();
        assert_eq!(version(&path), 1, "a new file of {length} bytes");
        fs::write(&path, bytes(6, length)).unwrap();
        assert_eq!(version(&path), 2, "an overwritten one");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert_eq!(version(&path), 3, "an appended one");
        shell(
            &mounted.root(),
            &format!(
                "chmod 600 file-{length}; touch file-{length}; mv file-{length} x; mv x file-{length}; cat file-{length} > /dev/null"
            ),
        );
        assert_eq!(version(&path), 3, "nothing of this makes a body");
    }
    mounted.remount();
    assert_eq!(version(&mounted.path("file-10")), 3);
    mounted.finish();
}

/// The last close of a file is heard of late; here it is not heard of before the end, because somebody else has it open.
#[test]
fn the_version_counts_bodies_while_others_have_the_file_open() {
    let mounted = Mounted::new();
    for length in [10, 100_000, 2 << 20] {
        let path = mounted.path(&format!("file-{length}"));
        fs::write(&path, bytes(5, length)).unwrap();
        etag(&path);
        let reader = File::open(&path).unwrap();
        for number in 2..=4 {
            fs::write(&path, bytes(number, length)).unwrap();
            assert_eq!(xattr_text(&path, "user.nexus.version"), number.to_string(), "{length} bytes");
        }
        drop(reader);
        assert_eq!(version(&path), 4, "{length} bytes, closed");
    }
    mounted.finish();
}

#[test]
fn what_nexus_tells_is_not_listed_and_cannot_be_set() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    fs::write(&path, b"body").unwrap();
    for key in ["etag", "version", "path_id", "created_at", "refs"] {
        let name = format!("user.nexus.{key}");
        let before = xattr_text(&path, &name);
        assert!(!before.is_empty(), "{name}");
        for flags in [XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE] {
            assert_eq!(rustix::fs::setxattr(&path, name.as_str(), b"1", flags), Err(Errno::PERM), "{name}");
        }
        assert_eq!(rustix::fs::removexattr(&path, name.as_str()), Err(Errno::PERM), "{name}");
        assert_eq!(xattr_text(&path, &name), before);
    }
    assert_eq!(rustix::fs::setxattr(&path, "user.nexus.other", b"1", XattrFlags::empty()), Err(Errno::PERM));
    assert_eq!(rustix::fs::getxattr(&path, "user.nexus.other", &mut [0_u8; 10][..]), Err(Errno::NODATA));
    assert_eq!(xattr::list(&path).unwrap().count(), 0);
    mounted.finish();
}

#[test]
fn refs_counts_the_files_that_hold_a_body() {
    let mounted = Mounted::new();
    for length in [1_000, 2 << 20] {
        let name = |number: u32| mounted.path(&format!("{length}-{number}"));
        for number in 1..=4 {
            fs::write(name(number), bytes(7, length)).unwrap();
            assert_eq!(settled_refs(&name(number)), number.to_string());
        }
        fs::hard_link(name(1), name(9)).unwrap();
        assert_eq!(settled_refs(&name(1)), "4", "a hard link is another name, not another file");
        fs::remove_file(name(4)).unwrap();
        drop(File::create(name(3)).unwrap());
        OpenOptions::new().write(true).open(name(2)).unwrap().write_all_at(b"other", 3).unwrap();
        settled_refs(&name(2));
        assert_eq!(settled_refs(&name(1)), "1");
    }
    mounted.finish();
}

fn etag(path: &Path) -> String {
    xattr_text(path, "user.nexus.etag")
}

fn version(path: &Path) -> u64 {
    // Asking for the etag waits until the present body is sealed.
    etag(path);
    xattr_text(path, "user.nexus.version").parse().unwrap()
}

/// How many files hold the body of this one, after it was sealed.
pub(super) fn settled_refs(path: &Path) -> String {
    etag(path);
    xattr_text(path, "user.nexus.refs")
}
