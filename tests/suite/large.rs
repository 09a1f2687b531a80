//! Limits that only size shows: a file beyond the 32 bits of an offset without a hole in it, and a directory of a million names.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nexus::model::{Caller, Kind, Name, NodeId, Timestamp};
use nexus::vfs::{DirEntry, StoreOptions, Vfs};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use crate::harness::{Mounted, bytes, xattr_text};

const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a dense file holds: no two pieces are alike, and none compresses.
struct Pieces(Vec<u8>);

impl Pieces {
    fn new() -> Self {
        Self(bytes(1, MIB))
    }

    /// The MiB of that number.
    fn get(&mut self, number: u64) -> &[u8] {
        for block in self.0.chunks_mut(4096) {
            block[..8].copy_from_slice(&number.to_le_bytes());
        }
        &self.0
    }
}

fn hex(hasher: &Sha256) -> String {
    hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sum(path: &Path) -> String {
    let (mut file, mut hasher, mut piece) = (File::open(path).unwrap(), Sha256::new(), vec![0; MIB]);
    loop {
        match file.read(&mut piece).unwrap() {
            0 => return hex(&hasher),
            got => hasher.update(&piece[..got]),
        }
    }
}

fn etag(path: &Path) -> String {
    xattr_text(path, "user.nexus.etag")
}

/// Writes a dense file a little longer than 4 GiB, reads it back from a fresh mount, and changes its end on both sides of
/// the boundary.
fn dense(arguments: &[&str], changes: bool) {
    let mut mounted = Mounted::with(arguments);
    let path = mounted.path("dense");
    let (mut pieces, mut hasher) = (Pieces::new(), Sha256::new());
    let all = 4 * GIB / MIB as u64 + 2;
    let mut short = None;
    let mut file = File::create(&path).unwrap();
    for number in 0..all {
        let piece = pieces.get(number);
        if number == 4 * GIB / MIB as u64 {
            let mut cut = hasher.clone();
            cut.update(&piece[..1]);
            short = Some(hex(&cut));
        }
        file.write_all(piece).unwrap();
        hasher.update(piece);
    }
    drop(file);
    assert_eq!(fs::metadata(&path).unwrap().len(), all * MIB as u64);
    assert_eq!(etag(&path), hex(&hasher), "the digest of the sealed body");

    mounted.remount();
    assert_eq!(sum(&path), hex(&hasher), "what is read back");
    let file = File::open(&path).unwrap();
    let mut around = [0; 2 * 4096];
    file.read_exact_at(&mut around, 4 * GIB - 4096).unwrap();
    let last = 4 * GIB / MIB as u64;
    assert!(around[..4096] == pieces.get(last - 1)[MIB - 4096..] && around[4096..] == pieces.get(last)[..4096]);
    drop(file);

    if changes {
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"end").unwrap();
        hasher.update(b"end");
        assert_eq!(etag(&path), hex(&hasher), "after an append");
        OpenOptions::new().write(true).open(&path).unwrap().set_len(4 * GIB + 1).unwrap();
        assert_eq!(Some(etag(&path)), short, "after a truncation to a byte behind the boundary");
    }
    fs::remove_file(&path).unwrap();
    mounted.finish();
}

#[test]
fn a_dense_file_goes_beyond_32_bits() {
    dense(&[], true);
}

#[test]
fn a_dense_file_goes_beyond_32_bits_without_passthrough() {
    dense(&["-o", "no_passthrough"], false);
}

/// Names in the directory.
const NAMES: usize = 1_000_000;
/// How many of them are removed through a mount in one go.
const SOME: usize = 50_000;

fn name(number: usize) -> String {
    // Their order is not that in which they were made.
    format!("{:07}", number * 7_654_321 % 10_000_000)
}

/// Fills a directory below the root through the library, which is what a mount cannot do in reasonable time.
fn fill(data_dir: &Path) {
    let caller = Caller { uid: 0, gid: 0 };
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options).unwrap();
    let many = vfs.mkdir(&caller, NodeId::ROOT, Name::new(b"many").unwrap(), 0o755).unwrap().id;
    for number in 0..NAMES {
        vfs.mknod(&caller, many, Name::new(name(number).as_bytes()).unwrap(), Kind::File, 0o644, 0).unwrap();
    }
    vfs.close().unwrap();
}

/// Removes the directory and what is left in it through the library. How much that was.
fn empty(data_dir: &Path) -> usize {
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options).unwrap();
    let name = Name::new(b"many").unwrap();
    let many = vfs.lookup(NodeId::ROOT, name).unwrap().id;
    let stream = vfs.opendir(many).unwrap();
    let mut names = Vec::new();
    let mut emit = |entry: DirEntry<'_>| {
        names.push(entry.name.to_vec());
        true
    };
    vfs.readdir(stream, 0, false, &mut emit).unwrap();
    vfs.releasedir(stream).unwrap();
    for name in &names[2..] {
        vfs.unlink(many, Name::new(name).unwrap()).unwrap();
    }
    vfs.rmdir(NodeId::ROOT, name).unwrap();
    vfs.close().unwrap();
    names.len() - 2
}

/// The next entry that is neither `.` nor `..`, and the place behind it.
fn next(stream: &mut Dir) -> Option<(String, i64)> {
    stream.by_ref().map(Result::unwrap).find_map(|entry| {
        let name = entry.file_name().to_str().unwrap().to_owned();
        (!name.starts_with('.')).then(|| (name, entry.offset()))
    })
}

#[test]
fn a_directory_holds_a_million_names() {
    let mut mounted = Mounted::new();
    mounted.umount();
    fill(&mounted.data_dir());
    mounted.mount();
    let many = mounted.path("many");
    let stream = || Dir::new(openat(CWD, &many, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()).unwrap();

    for number in (0..NAMES).step_by(9_973) {
        assert_eq!(fs::metadata(many.join(name(number))).unwrap().len(), 0);
    }
    assert!(!many.join("10000000").exists());
    assert_eq!(fs::metadata(&many).unwrap().nlink(), 2);

    // A tenth goes while the directory is listed; whoever stays is given once, whoever goes once at most.
    let mut listing = stream();
    let mut seen = HashSet::with_capacity(NAMES);
    let mut removed = 0;
    let mut places = Vec::new();
    while let Some((name, place)) = next(&mut listing) {
        if seen.len().is_multiple_of(100_000) {
            places.push((name.clone(), place));
        }
        // Some that were given, and some that are still to come: the names with a 3 as their last digit but one.
        if name.as_bytes()[5] == b'3' && fs::remove_file(many.join(&name)).is_ok() {
            removed += 1;
        }
        if seen.len().is_multiple_of(50) {
            let ahead = format!("{:07}", (name.parse::<usize>().unwrap() + 2_000_000) / 100 * 100 + 31);
            removed += usize::from(fs::remove_file(many.join(ahead)).is_ok());
        }
        assert!(seen.insert(name), "a name is given twice");
    }
    assert!(removed >= NAMES / 10, "{removed} are gone");
    for number in 0..NAMES {
        let name = name(number);
        assert!(name.as_bytes()[5] == b'3' || seen.contains(&name), "{name} stayed and was not given");
    }

    // A place is found again as long as the stream is open, and another one finds the next name.
    for (name, place) in places.iter().rev() {
        listing.seek(*place).unwrap();
        let after = next(&mut listing).map(|(next, _)| next);
        assert_ne!(after.as_ref(), Some(name));
        assert!(after.is_none_or(|after| seen.contains(&after)), "a place leads to a name that was there");
    }
    listing.rewind();
    let mut left = 0;
    while let Some((name, _)) = next(&mut listing) {
        assert!(seen.contains(&name) && name.as_bytes()[5] != b'3', "{name} is gone");
        left += 1;
    }
    assert_eq!(left, NAMES - removed);

    // Some go by way of the mount while they are listed from what the kernel has kept, the rest as they came.
    for entry in fs::read_dir(&many).unwrap().take(SOME) {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    drop(listing);
    mounted.umount();
    assert_eq!(empty(&mounted.data_dir()), NAMES - removed - SOME);
    mounted.mount();
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0);
    mounted.finish();
}
