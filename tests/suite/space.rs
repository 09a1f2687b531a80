//! Space: one body for equal contents, nothing left behind, and a disk that is full.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{
    Mounted, bytes, disk_usage, files_below, run, scratch, shell, tool, unmount_below, wait_until, xattr_text,
};

const MIB: u64 = 1 << 20;
/// What the database may keep in free pages, and the write-ahead log in reserve.
const SLACK_BYTES: u64 = 4 * MIB;

#[test]
fn a_hundred_copies_of_a_tree_take_the_space_of_one() {
    const COPIES: usize = 100;
    let mut mounted = Mounted::new();
    let tree: Vec<(PathBuf, Vec<u8>)> = (0..200)
        .map(|number| (number, 4 << 10))
        .chain((200..220).map(|number| (number, 200 << 10)))
        .chain((220..225).map(|number| (number, 1 << 20)))
        .map(|(number, length)| (PathBuf::from(format!("d{}/f{number}", number % 4)), bytes(number, length)))
        .collect();
    let empty = settled_usage(&mut mounted);
    // Written by plain writes: nothing tells nexus that these are copies.
    let write_copy = |mounted: &Mounted, copy: usize| {
        for (path, body) in &tree {
            let path = mounted.path(&format!("copy-{copy}")).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, body).unwrap();
        }
    };
    write_copy(&mounted, 0);
    let one = settled_usage(&mut mounted);
    assert!(one - empty < 16 * MIB, "one copy of 10 MiB takes {} bytes", one - empty);
    (1..COPIES).for_each(|copy| write_copy(&mounted, copy));
    let growth = settled_usage(&mut mounted).saturating_sub(one);
    let files = (COPIES - 1) * tree.len();
    let each = growth as usize / files;
    println!("99 copies of a tree of 225 files and 9.7 MiB: {growth} bytes, {each} a file");
    assert!(each < 1_024, "{growth} bytes for {files} more files, {each} each");
    for copy in [0, 50, 99] {
        for (path, body) in &tree {
            assert!(fs::read(mounted.path(&format!("copy-{copy}")).join(path)).unwrap() == *body);
        }
    }
    let any = mounted.path("copy-7").join(&tree[222].0);
    assert_eq!(xattr_text(&any, "user.nexus.refs"), COPIES.to_string());

    for copy in 0..COPIES {
        fs::remove_dir_all(mounted.path(&format!("copy-{copy}"))).unwrap();
    }
    wait_until("bodies that nobody holds are removed", 60, || stored_bodies(&mounted).is_empty());
    let left = settled_usage(&mut mounted).saturating_sub(empty);
    assert!(left < SLACK_BYTES, "all is deleted, and {left} bytes are still taken");
    mounted.finish();
}

#[test]
fn rewriting_the_same_content_leaks_nothing() {
    let mut mounted = Mounted::new();
    for (name, length) in [("small", 1_000), ("large", 100_000)] {
        let path = mounted.path(name);
        fs::write(&path, bytes(1, length)).unwrap();
        xattr_text(&path, "user.nexus.etag");
        let before = settled_usage(&mut mounted);
        for _ in 0..1_000 {
            fs::write(&path, bytes(1, length)).unwrap();
        }
        assert!(fs::read(&path).unwrap() == bytes(1, length));
        let growth = settled_usage(&mut mounted).saturating_sub(before);
        assert!(growth < SLACK_BYTES, "{name}: 1,000 rewrites took {growth} bytes");
        assert_eq!(xattr_text(&path, "user.nexus.refs"), "1");
    }
    mounted.remount();
    let bodies = stored_bodies(&mounted);
    assert_eq!(bodies.len(), 1, "one large content is stored: {bodies:?}");
    mounted.finish();
}

#[test]
fn different_contents_replace_each_other_without_a_trace() {
    let mut mounted = Mounted::new();
    let path = mounted.path("file");
    fs::write(&path, bytes(0, 500_000)).unwrap();
    let before = settled_usage(&mut mounted);
    for round in 1..=300 {
        fs::write(&path, bytes(round, 500_000)).unwrap();
    }
    let growth = settled_usage(&mut mounted).saturating_sub(before);
    assert!(growth < SLACK_BYTES, "300 bodies of 500,000 bytes in one file took {growth} bytes");
    mounted.remount();
    assert_eq!(stored_bodies(&mounted).len(), 1);
    mounted.finish();
}

/// The usage of the store after an unmount, which empties the write-ahead log, when the background has come to rest: the same twice, half a
/// second apart.
fn settled_usage(mounted: &mut Mounted) -> u64 {
    mounted.remount();
    let mut last = 0;
    wait_until("the store comes to rest", 120, || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let now = disk_usage(&mounted.data_dir());
        std::mem::replace(&mut last, now) == now
    });
    last
}

fn stored_bodies(mounted: &Mounted) -> Vec<PathBuf> {
    files_below(&mounted.data_dir().join("cas"))
}

#[test]
fn a_full_disk_refuses_the_writer_and_keeps_what_it_has() {
    let disk = SmallDisk::new(96 * MIB);
    let mut mounted = Mounted::initialised(scratch(), disk.path().join("data"), &[]);
    mounted.mount();
    let old = mounted.path("old");
    fs::write(&old, bytes(1, 4 << 20)).unwrap();
    fs::write(mounted.path("old-small"), bytes(2, 1_000)).unwrap();
    File::open(&old).unwrap().sync_all().unwrap();

    // One large file: the write that does not fit is the one that fails.
    let big = mounted.path("big");
    let mut file = File::create(&big).unwrap();
    let body = bytes(3, 1 << 20);
    let mut written = 0;
    let refusal = loop {
        match file.write(&body) {
            Ok(count) => written += count as u64,
            Err(error) => break error,
        }
        assert!(written < 96 * MIB, "{written} bytes were accepted on a disk of 96 MiB");
    };
    assert_eq!(refusal.kind(), io::ErrorKind::StorageFull, "after {written} bytes: {refusal}");
    assert!(written > 40 * MIB, "only {written} bytes fitted");
    drop(file);
    assert!(fs::read(&old).unwrap() == bytes(1, 4 << 20), "old content, disk full");
    assert!(fs::read(mounted.path("old-small")).unwrap() == bytes(2, 1_000));
    fs::remove_file(&big).unwrap();
    resume(&mounted, 8 << 20);

    // Many small files: what was accepted to the end is there, what was not says so.
    let mut accepted = 0_u64;
    let dir = mounted.path("many");
    fs::create_dir(&dir).unwrap();
    let refusal = loop {
        match write_to_the_end(&dir.join(accepted.to_string()), &bytes(100 + accepted, 60_000)) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted * 60_000 < 96 * MIB, "{accepted} files of 60,000 bytes on a disk of 96 MiB");
    };
    assert_eq!(refusal.kind(), io::ErrorKind::StorageFull, "after {accepted} files: {refusal}");
    for number in 0..accepted {
        assert!(
            fs::read(dir.join(number.to_string())).unwrap() == bytes(100 + number, 60_000),
            "file {number} of {accepted}"
        );
    }
    mounted.remount();
    for number in 0..accepted {
        assert!(
            fs::read(dir.join(number.to_string())).unwrap() == bytes(100 + number, 60_000),
            "file {number} after a new mount"
        );
    }
    fs::remove_dir_all(&dir).unwrap();
    resume(&mounted, 4 << 20);
    assert!(fs::read(&old).unwrap() == bytes(1, 4 << 20));
    mounted.finish_after_complaints();
}

/// Writing works again, at the latest when the background has given the space back.
fn resume(mounted: &Mounted, length: usize) {
    let path = mounted.path("resumed");
    let mut last = None;
    wait_until("writing works again after a deletion", 30, || {
        last = write_to_the_end(&path, &bytes(4, length)).err();
        last.is_none()
    });
    let mut read = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes(4, length), "{last:?}");
    fs::remove_file(&path).unwrap();
}

/// Writes, syncs and closes, and tells of an error at any of these.
fn write_to_the_end(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(body)?;
    file.sync_all()?;
    // SAFETY: the descriptor was given up by `file` just now, and nobody else has it.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A small ext4 in a file, mounted.
pub(crate) struct SmallDisk {
    base: TempDir,
}

impl SmallDisk {
    pub(crate) fn new(size_bytes: u64) -> Self {
        let disk = Self { base: scratch() };
        let image = disk.base.path().join("image");
        File::create(&image).unwrap().set_len(size_bytes).unwrap();
        fs::create_dir(disk.path()).unwrap();
        run(tool("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image)).ok();
        shell(disk.base.path(), "mount -o loop image disk");
        disk
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.base.path().join("disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}
