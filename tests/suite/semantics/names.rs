//! Names: renameat2(2), names of any bytes, special files, listing a large directory while it changes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use rustix::io::Errno;

use crate::harness::{Mounted, bytes};

#[test]
fn rename_without_replacing_leaves_what_is_there() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        fs::write(place.join("a"), b"a").unwrap();
        fs::write(place.join("b"), b"b").unwrap();
        assert_eq!(rename(&place, "a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
        assert_eq!(rename(&place, "a", "a", RenameFlags::NOREPLACE), Err(Errno::EXIST));
        assert_eq!(rename(&place, "none", "c", RenameFlags::NOREPLACE), Err(Errno::NOENT));
        assert_eq!(rename(&place, "a", "c", RenameFlags::NOREPLACE), Ok(()));
        assert_eq!(fs::read(place.join("b")).unwrap(), b"b");
        assert_eq!(fs::read(place.join("c")).unwrap(), b"a");
    }
    mounted.finish();
}

#[test]
fn rename_exchanges_two_names_of_any_kind() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        fs::write(place.join("file"), b"body").unwrap();
        fs::create_dir_all(place.join("dir/below")).unwrap();
        fs::create_dir(place.join("other")).unwrap();
        let links = fs::metadata(&place).unwrap().nlink();
        assert_eq!(rename(&place, "file", "dir", RenameFlags::EXCHANGE), Ok(()));
        assert_eq!(fs::read(place.join("dir")).unwrap(), b"body");
        assert!(place.join("file/below").is_dir());
        assert_eq!(rename(&place, "dir", "other/none", RenameFlags::EXCHANGE), Err(Errno::NOENT));
        assert_eq!(rename(&place, "file", "file/below", RenameFlags::EXCHANGE), Err(Errno::INVAL));
        // A directory moves one level down, a file one level up: the link counts of both parents follow.
        fs::write(place.join("other/leaf"), b"leaf").unwrap();
        assert_eq!(rename(&place, "file", "other/leaf", RenameFlags::EXCHANGE), Ok(()));
        assert_eq!(fs::metadata(&place).unwrap().nlink(), links - 1, "{}", place.display());
        assert_eq!(fs::metadata(place.join("other")).unwrap().nlink(), 3, "{}", place.display());
        assert_eq!(fs::read(place.join("file")).unwrap(), b"leaf");
        assert_eq!(
            fs::canonicalize(place.join("other/leaf/below/..")).unwrap(),
            fs::canonicalize(place.join("other/leaf")).unwrap()
        );
    }
    mounted.finish();
}

#[test]
fn names_are_bytes() {
    let longest = [b'n'; 255];
    let table: [&[u8]; 8] = [
        b"\xff\xfe not utf-8 \x80",
        b"new\nline",
        b" ",
        b"-rf",
        b"...",
        b"\x01\x1b[31m",
        "gr\u{fc}n \u{1f980}".as_bytes(),
        &longest,
    ];
    let mut mounted = Mounted::new();
    for place in mounted.places() {
        for name in table {
            fs::write(place.join(OsStr::from_bytes(name)), name).unwrap();
        }
        let too_long = place.join(OsStr::from_bytes(&[b'n'; 256]));
        assert_eq!(fs::write(too_long, b"").unwrap_err().kind(), ErrorKind::InvalidFilename);
    }
    mounted.remount();
    for place in mounted.places() {
        let listed: HashSet<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(listed.len(), table.len());
        for name in table {
            assert!(listed.contains(OsStr::from_bytes(name)), "{name:?} on {}", place.display());
            assert_eq!(fs::read(place.join(OsStr::from_bytes(name))).unwrap(), name);
        }
    }
    mounted.finish();
}

#[test]
fn special_files_work() {
    let mut mounted = Mounted::with(&["-o", "dev"]);
    for place in mounted.places() {
        let null = place.join("null");
        mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
        fs::write(&null, b"swallowed").unwrap();
        assert_eq!(fs::read(&null).unwrap(), b"");

        let fifo = place.join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let to = fifo.clone();
        let writer = std::thread::spawn(move || fs::write(to, bytes(1, 200_000)).unwrap());
        assert!(fs::read(&fifo).unwrap() == bytes(1, 200_000));
        writer.join().unwrap();

        let socket = place.join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut heard = String::new();
        listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
    }
    mounted.remount();
    for place in mounted.places() {
        let kind = |name: &str| fs::symlink_metadata(place.join(name)).unwrap();
        assert!(kind("null").file_type().is_char_device());
        assert_eq!(kind("null").rdev(), makedev(1, 3));
        assert!(kind("fifo").file_type().is_fifo());
        assert!(kind("socket").file_type().is_socket());
    }
    mounted.finish();
}

#[test]
fn a_device_is_no_device_unless_the_mount_says_so() {
    let mounted = Mounted::new();
    let null = mounted.path("null");
    mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
    assert_eq!(fs::read(&null).unwrap_err().kind(), ErrorKind::PermissionDenied);
    mounted.finish();
}

#[test]
fn a_listing_is_complete_while_entries_come_and_go() {
    const ENTRIES: usize = 20_000;
    let mounted = Mounted::new();
    for place in mounted.places() {
        let dir = place.join("large");
        fs::create_dir(&dir).unwrap();
        for number in 0..ENTRIES {
            let word = if number % 2 == 0 { "stays" } else { "goes" };
            fs::write(dir.join(format!("{word}-{number}")), b"").unwrap();
        }
        let mut seen = HashSet::new();
        for (count, entry) in fs::read_dir(&dir).unwrap().enumerate() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(seen.insert(name.clone()), "{name} is listed twice on {}", place.display());
            // Behind and before the place the listing has reached.
            if count < ENTRIES / 2 {
                fs::remove_file(dir.join(format!("goes-{}", 2 * count + 1))).unwrap();
                fs::write(dir.join(format!("comes-{count}")), b"").unwrap();
            }
        }
        let missed = (0..ENTRIES).step_by(2).filter(|number| !seen.contains(&format!("stays-{number}"))).count();
        assert_eq!(missed, 0, "entries that were there all the time on {}", place.display());
        let names: HashSet<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), ENTRIES, "after it all, on {}", place.display());
        assert_eq!(fs::metadata(&dir).unwrap().nlink(), 2);
    }
    mounted.finish();
}

#[test]
fn a_directory_of_subdirectories_counts_its_links_and_empties() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let dir = place.join("parent");
        for number in 0..300 {
            fs::create_dir_all(dir.join(format!("{number}/a/b"))).unwrap();
        }
        assert_eq!(fs::metadata(&dir).unwrap().nlink(), 302);
        assert_eq!(fs::remove_dir(dir.join("5")).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(&dir).unwrap();
        assert!(!dir.exists());
    }
    mounted.finish();
}

fn rename(place: &Path, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    renameat_with(CWD, place.join(from), CWD, place.join(to), flags)
}
