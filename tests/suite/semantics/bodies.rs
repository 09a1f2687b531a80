//! Reading and writing: append, truncate, mappings, copies, and what an unlinked file still holds.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::copy_file_range;

use crate::harness::{Mounted, bytes, disk_usage, shell, xattr_text};
use crate::semantics::identity::settled_refs;

#[test]
fn two_appenders_never_overwrite_each_other() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let file = place.join("log");
        let open = || OpenOptions::new().append(true).create(true).open(&file).unwrap();
        let (mut one, mut two) = (open(), open());
        for turn in 0..500 {
            writeln!(one, "one {turn}").unwrap();
            writeln!(two, "two {turn}").unwrap();
        }
        let expected: String = (0..500).map(|turn| format!("one {turn}\ntwo {turn}\n")).collect();
        assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{}", place.display());
    }
    mounted.finish();
}

#[test]
fn opening_with_truncate_empties_the_file_for_everyone() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [10, 100_000, 2 << 20] {
            let file = place.join(format!("file-{length}"));
            fs::write(&file, bytes(1, length)).unwrap();
            let mut reader = File::open(&file).unwrap();
            let mut first = [0; 5];
            reader.read_exact(&mut first).unwrap();
            drop(File::create(&file).unwrap());
            assert_eq!(fs::metadata(&file).unwrap().len(), 0);
            assert_eq!(reader.read(&mut first).unwrap(), 0, "{length} on {}", place.display());
        }
    }
    mounted.finish();
}

#[test]
fn truncate_cuts_and_grows_with_zeros() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [100_usize, 5_000, 300_000, 3 << 20] {
            let file = place.join(format!("file-{length}"));
            let body = bytes(2, length);
            fs::write(&file, &body).unwrap();
            let handle = OpenOptions::new().write(true).open(&file).unwrap();
            handle.set_len(length as u64 / 2).unwrap();
            handle.set_len(length as u64 * 2).unwrap();
            let mut expected = body[..length / 2].to_vec();
            expected.resize(length * 2, 0);
            assert!(fs::read(&file).unwrap() == expected, "{length} on {}", place.display());
        }
    }
    mounted.finish();
}

#[test]
fn an_unlinked_file_keeps_its_bytes_until_it_is_closed() {
    let mut mounted = Mounted::new();
    for place in mounted.places() {
        for length in [100_usize, 2 << 20] {
            let file = place.join("file");
            fs::write(&file, bytes(3, length)).unwrap();
            let mut handle = OpenOptions::new().read(true).write(true).open(&file).unwrap();
            fs::remove_file(&file).unwrap();
            assert!(!file.exists());
            assert_eq!(std::os::unix::fs::MetadataExt::nlink(&handle.metadata().unwrap()), 0);
            handle.write_all_at(b"still here", length as u64).unwrap();
            fs::write(&file, b"another file of the same name").unwrap();
            let mut read = Vec::new();
            handle.seek(SeekFrom::Start(0)).unwrap();
            handle.read_to_end(&mut read).unwrap();
            assert!(read == [bytes(3, length), b"still here".to_vec()].concat(), "{length} on {}", place.display());
            drop(handle);
            fs::remove_file(&file).unwrap();
        }
    }
    mounted.remount();
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0);
    mounted.finish();
}

#[test]
fn a_replaced_file_keeps_its_bytes_for_who_has_it_open() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [100_usize, 2 << 20] {
            let (old, new) = (place.join("old"), place.join("new"));
            fs::write(&old, bytes(4, length)).unwrap();
            fs::write(&new, bytes(5, length)).unwrap();
            let mut handle = File::open(&old).unwrap();
            fs::rename(&new, &old).unwrap();
            let mut read = Vec::new();
            handle.read_to_end(&mut read).unwrap();
            assert!(read == bytes(4, length));
            assert!(fs::read(&old).unwrap() == bytes(5, length));
        }
    }
    mounted.finish();
}

#[test]
fn a_shared_mapping_and_read_see_the_same_bytes() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        for length in [5_000_usize, 3 << 20] {
            let path = place.join(format!("mapped-{length}"));
            fs::write(&path, bytes(6, length)).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            let mut mapping = Mapping::shared(&file, length);
            assert!(*mapping.bytes() == bytes(6, length)[..]);
            mapping.bytes()[4_000..4_005].copy_from_slice(b"mmap!");
            let mut through_read = [0; 5];
            file.read_exact_at(&mut through_read, 4_000).unwrap();
            assert_eq!(&through_read, b"mmap!", "{length} on {}", place.display());
            file.write_all_at(b"write", 10).unwrap();
            assert_eq!(&mapping.bytes()[10..15], b"write", "{length} on {}", place.display());
            drop(mapping);
            drop(file);
            let mut expected = bytes(6, length);
            expected[4_000..4_005].copy_from_slice(b"mmap!");
            expected[10..15].copy_from_slice(b"write");
            assert!(fs::read(&path).unwrap() == expected, "{length} on {}", place.display());
        }
    }
    mounted.finish();
}

#[test]
fn a_private_mapping_keeps_its_changes_to_itself() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let path = place.join("mapped");
        fs::write(&path, bytes(7, 100_000)).unwrap();
        let file = File::open(&path).unwrap();
        let mut mapping = Mapping::private(&file, 100_000);
        mapping.bytes()[..4].copy_from_slice(b"mine");
        drop(mapping);
        assert!(fs::read(&path).unwrap() == bytes(7, 100_000));
    }
    mounted.finish();
}

#[test]
fn copy_file_range_copies_any_range() {
    let mounted = Mounted::new();
    for place in mounted.places() {
        let body = bytes(8, 1 << 20);
        fs::write(place.join("from"), &body).unwrap();
        let from = File::open(place.join("from")).unwrap();
        let to = OpenOptions::new().read(true).write(true).create_new(true).open(place.join("to")).unwrap();
        to.write_all_at(&[b'x'; 1_000], 0).unwrap();
        copy_all(&from, 12_345, &to, 500, 600_000);
        let mut expected = vec![b'x'; 500];
        expected.extend_from_slice(&body[12_345..612_345]);
        assert!(fs::read(place.join("to")).unwrap() == expected, "{}", place.display());
        let mut beyond = 2 << 20;
        assert_eq!(copy_file_range(&from, Some(&mut beyond), &to, None, 10).unwrap(), 0, "nothing behind the end");
    }
    mounted.finish();
}

#[test]
fn a_copy_of_a_whole_file_shares_the_body() {
    let mounted = Mounted::new();
    let big = mounted.path("big");
    fs::write(&big, bytes(9, 64 << 20)).unwrap();
    assert_eq!(settled_refs(&big), "1");
    let before = disk_usage(&mounted.data_dir());
    let from = File::open(&big).unwrap();
    let to = File::create(mounted.path("copy")).unwrap();
    copy_all(&from, 0, &to, 0, 64 << 20);
    drop((from, to));
    assert_eq!(settled_refs(&big), "2");
    assert_eq!(settled_refs(&mounted.path("copy")), "2");
    let growth = disk_usage(&mounted.data_dir()).saturating_sub(before);
    assert!(growth < 1 << 20, "a copy made the store grow by {growth} bytes");

    shell(&mounted.root(), "cp big third && cmp big third");
    assert_eq!(settled_refs(&big), "3");
    let growth = disk_usage(&mounted.data_dir()).saturating_sub(before);
    assert!(growth < 1 << 20, "cp made the store grow by {growth} bytes");
    let before_the_copy_changes = xattr_text(&big, "user.nexus.etag");
    OpenOptions::new().write(true).open(mounted.path("copy")).unwrap().write_all_at(b"changed", 5).unwrap();
    assert_eq!(settled_refs(&big), "2", "a changed copy has a body of its own");
    assert_eq!(xattr_text(&big, "user.nexus.etag"), before_the_copy_changes);
    assert_bytes(&big, &bytes(9, 64 << 20));
    mounted.finish();
}

#[test]
fn many_handles_read_and_write_one_file() {
    let mounted = Mounted::new();
    let path = mounted.path("shared");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    std::thread::scope(|scope| {
        for part in 0..8_usize {
            let path = &path;
            scope.spawn(move || {
                for round in 0..50_u64 {
                    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
                    let body = bytes(part as u64 * 1_000 + round, 128 << 10);
                    file.write_all_at(&body, (part as u64) << 17).unwrap();
                    let mut read = vec![0; 128 << 10];
                    file.read_exact_at(&mut read, (part as u64) << 17).unwrap();
                    assert!(read == body, "part {part}, round {round}");
                }
            });
        }
    });
    let expected: Vec<u8> = (0..8).flat_map(|part| bytes(part * 1_000 + 49, 128 << 10)).collect();
    assert_bytes(&path, &expected);
    mounted.finish();
}

fn copy_all(from: &File, mut from_offset: u64, to: &File, mut to_offset: u64, length: usize) {
    let end = from_offset + length as u64;
    while from_offset < end {
        let left = (end - from_offset) as usize;
        let copied = copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), left).unwrap();
        assert_ne!(copied, 0, "copy_file_range stops {left} bytes too early");
    }
}

#[track_caller]
fn assert_bytes(path: &Path, expected: &[u8]) {
    assert!(fs::read(path).unwrap() == expected, "{} holds other bytes", path.display());
}

/// A mapping of the start of a file, mmap(2).
pub(super) struct Mapping {
    address: *mut std::ffi::c_void,
    length: usize,
}

impl Mapping {
    /// What is written here is written to the file.
    pub(super) fn shared(file: &File, length: usize) -> Self {
        Self::new(file, length, rustix::mm::MapFlags::SHARED)
    }

    fn private(file: &File, length: usize) -> Self {
        Self::new(file, length, rustix::mm::MapFlags::PRIVATE)
    }

    fn new(file: &File, length: usize, flags: rustix::mm::MapFlags) -> Self {
        use rustix::mm::ProtFlags;
        // SAFETY: the kernel chooses a free place; nothing else points there.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0)
        }
        .unwrap();
        Self { address, length }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has this length and lives as long as `self`; the tests do not cut the file below it.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and no slice of it outlives `self`.
        unsafe { rustix::mm::munmap(self.address, self.length) }.unwrap();
    }
}
