//! Extended attributes as xattr(7) says, times, and what statfs(2) and df(1) tell.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use filetime::{FileTime, set_file_times};
use rustix::fs::{XattrFlags, getxattr, lgetxattr, listxattr, lsetxattr, removexattr, setxattr};
use rustix::io::Errno;

use crate::harness::{Mounted, bytes, mount_entry, shell};

#[test]
fn attributes_are_created_replaced_and_removed() {
    let mut mounted = Mounted::new();
    for place in mounted.places() {
        fs::create_dir(place.join("dir")).unwrap();
        fs::write(place.join("file"), b"").unwrap();
        for name in ["dir", "file"] {
            let path = place.join(name);
            assert_eq!(setxattr(&path, "user.a", b"1", XattrFlags::REPLACE), Err(Errno::NODATA));
            assert_eq!(setxattr(&path, "user.a", b"1", XattrFlags::CREATE), Ok(()));
            assert_eq!(setxattr(&path, "user.a", b"2", XattrFlags::CREATE), Err(Errno::EXIST));
            assert_eq!(setxattr(&path, "user.a", b"3", XattrFlags::REPLACE), Ok(()));
            assert_eq!(setxattr(&path, "user.empty", b"", XattrFlags::empty()), Ok(()));
            assert_eq!(setxattr(&path, "user.bytes", b"\0\xff\n", XattrFlags::empty()), Ok(()));
            assert_eq!(setxattr(&path, "user.gone", b"x", XattrFlags::empty()), Ok(()));
            assert_eq!(removexattr(&path, "user.gone"), Ok(()));
            assert_eq!(removexattr(&path, "user.gone"), Err(Errno::NODATA));
        }
    }
    mounted.remount();
    for place in mounted.places() {
        for name in ["dir", "file"] {
            let path = place.join(name);
            assert_eq!(names_of(&path), ["user.a", "user.bytes", "user.empty"], "{name} on {}", place.display());
            assert_eq!(value(&path, "user.a"), Ok(b"3".to_vec()));
            assert_eq!(value(&path, "user.empty"), Ok(b"".to_vec()));
            assert_eq!(value(&path, "user.bytes"), Ok(b"\0\xff\n".to_vec()));
            assert_eq!(value(&path, "user.gone"), Err(Errno::NODATA));
        }
    }
    mounted.finish();
}

#[test]
fn a_buffer_that_is_too_small_is_erange() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("file");
        fs::write(&path, b"").unwrap();
        setxattr(&path, "user.key", b"0123456789", XattrFlags::empty()).unwrap();
        let mut small = [0_u8; 9];
        assert_eq!(getxattr(&path, "user.key", &mut small[..]), Err(Errno::RANGE));
        assert_eq!(listxattr(&path, &mut small[..5]), Err(Errno::RANGE));
    }
    mounted.finish();
}

#[test]
fn attributes_have_the_limits_of_linux() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    fs::write(&path, b"").unwrap();
    let none = XattrFlags::empty();
    assert_eq!(setxattr(&path, "user.big", &bytes(1, 65_536), none), Ok(()));
    assert_eq!(value(&path, "user.big"), Ok(bytes(1, 65_536)));
    assert_eq!(setxattr(&path, "user.big", &bytes(1, 65_537), none), Err(Errno::TOOBIG));
    let longest = format!("user.{}", "k".repeat(250));
    assert_eq!(setxattr(&path, longest.as_str(), b"v", none), Ok(()));
    assert_eq!(setxattr(&path, format!("{longest}k").as_str(), b"v", none), Err(Errno::RANGE));
    assert_eq!(value(&path, &longest), Ok(b"v".to_vec()));
    assert_eq!(setxattr(&path, "unknown.key", b"v", none), Err(Errno::OPNOTSUPP));
    mounted.finish();
}

#[test]
fn the_list_of_names_never_grows_beyond_what_can_be_read() {
    let mounted = Mounted::new();
    let path = mounted.path("file");
    fs::write(&path, b"").unwrap();
    let refused = (0..400).find_map(|number| {
        let name = format!("user.{number:0>250}");
        setxattr(&path, name.as_str(), b"v", XattrFlags::empty()).err().map(|error| (number, error))
    });
    let (accepted, error) = refused.expect("400 names of 255 bytes are more than XATTR_LIST_MAX");
    assert_eq!(error, Errno::NOSPC);
    assert_eq!(names_of(&path).len(), accepted);
    removexattr(&path, format!("user.{:0>250}", 0).as_str()).unwrap();
    setxattr(&path, "user.fits", b"v", XattrFlags::empty()).unwrap();
    mounted.finish();
}

#[test]
fn user_attributes_belong_to_files_and_directories_only() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        std::os::unix::fs::symlink("nowhere", place.join("link")).unwrap();
        let path = place.join("link");
        assert_eq!(lsetxattr(&path, "user.a", b"1", XattrFlags::empty()), Err(Errno::PERM));
        assert_eq!(lgetxattr(&path, "trusted.a", &mut [0_u8; 8][..]), Err(Errno::NODATA));
    }
    mounted.finish();
}

#[test]
fn reading_touches_atime_as_relatime_says() {
    let day = Duration::from_secs(86_400);
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [100, 2 << 20] {
            let path = place.join(format!("file-{length}"));
            fs::write(&path, bytes(2, length)).unwrap();
            let now = SystemTime::now();
            // The access lies before the last change: a read counts.
            set_times(&path, now - 2 * day, now - day);
            let started = SystemTime::now() - Duration::from_millis(50);
            fs::read(&path).unwrap();
            let first = fs::metadata(&path).unwrap().accessed().unwrap();
            assert!(first >= started, "a read after a change, {length} on {}", place.display());
            // It lies after it, and is fresh: a read does not count.
            std::thread::sleep(Duration::from_millis(30));
            fs::read(&path).unwrap();
            assert_eq!(
                fs::metadata(&path).unwrap().accessed().unwrap(),
                first,
                "a second read, {length} on {}",
                place.display()
            );
            // It lies after it, but is older than a day: a read counts.
            set_times(&path, now - 2 * day, now - 3 * day);
            fs::read(&path).unwrap();
            assert!(
                fs::metadata(&path).unwrap().accessed().unwrap() >= started,
                "a read after a day, {length} on {}",
                place.display()
            );
        }
    }
    mounted.finish();
}

/// Whom access times do not interest: a mount with `noatime`, open(2) with `O_NOATIME`.
#[test]
fn without_access_times_reading_touches_none() {
    let day = Duration::from_secs(86_400);
    let mut mounted = Mounted::new();
    for (mount_options, flags) in [(&[][..], libc::O_NOATIME), (&["-o", "noatime"], 0)] {
        mounted.remount_with(mount_options);
        for length in [100, 2 << 20] {
            let path = mounted.path(&format!("file-{length}"));
            fs::write(&path, bytes(2, length)).unwrap();
            let now = SystemTime::now();
            set_times(&path, now - 2 * day, now - day);
            let before = fs::metadata(&path).unwrap().accessed().unwrap();
            let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
            let mut read = Vec::new();
            file.read_to_end(&mut read).unwrap();
            drop(file);
            assert!(read == bytes(2, length), "{length} with {mount_options:?}");
            // Also when nothing is cached any more.
            for _ in 0..2 {
                assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), before, "{length} with {mount_options:?}");
                mounted.remount();
            }
        }
    }
    mounted.finish();
}

#[test]
fn times_keep_their_nanoseconds_and_years() {
    let mut mounted = Mounted::new();
    let table = [(0, 1), (-1, 999_999_999), (1_700_000_000, 123_456_789), (4_102_444_800, 5)];
    for place in mounted.places() {
        for (number, (seconds, nanoseconds)) in table.into_iter().enumerate() {
            let path = place.join(number.to_string());
            File::create(&path).unwrap();
            let time = FileTime::from_unix_time(seconds, nanoseconds);
            set_file_times(&path, time, time).unwrap();
        }
    }
    mounted.remount();
    for place in mounted.places() {
        for (number, (seconds, nanoseconds)) in table.into_iter().enumerate() {
            let meta = fs::metadata(place.join(number.to_string())).unwrap();
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (seconds, i64::from(nanoseconds)), "{}", place.display());
            assert_eq!((meta.atime(), meta.atime_nsec()), (seconds, i64::from(nanoseconds)), "{}", place.display());
        }
    }
    mounted.finish();
}

#[test]
fn df_shows_the_store_and_the_disk_below() {
    let mounted = Mounted::new();
    let source = format!("nexus:{}", mounted.data_dir().display());
    assert_eq!(mount_entry(&mounted.root()), Some(("fuse.nexus".to_owned(), source.clone())));
    assert_eq!(
        shell(&mounted.root(), "df --output=source,fstype . | tail -n 1").split_whitespace().collect::<Vec<_>>(),
        [source.as_str(), "fuse.nexus"]
    );
    let here = rustix::fs::statvfs(mounted.root()).unwrap();
    let below = rustix::fs::statvfs(mounted.data_dir()).unwrap();
    assert_eq!(here.f_blocks * here.f_frsize, below.f_blocks * below.f_frsize);
    assert_eq!(here.f_namemax, 255);
    // Other tests write to the same disk at the same time.
    let difference = (here.f_bavail * here.f_frsize).abs_diff(below.f_bavail * below.f_frsize);
    assert!(difference < 4 << 30, "the free space differs by {difference} bytes");
    mounted.finish();
}

fn set_times(path: &Path, accessed: SystemTime, modified: SystemTime) {
    set_file_times(path, FileTime::from_system_time(accessed), FileTime::from_system_time(modified)).unwrap();
}

fn value(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 65_536];
    let length = getxattr(path, name, &mut buffer[..])?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Only `user.*`: a security module may add names of its own to a plain directory.
fn names_of(path: &Path) -> Vec<String> {
    let listed = xattr::list(path).unwrap();
    let mut names: Vec<_> =
        listed.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("user.")).collect();
    names.sort();
    names
}
