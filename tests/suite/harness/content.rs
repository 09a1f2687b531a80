//! Contents: made from a seed, found on the disk, compared by digest.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes on the disk below, as `du` counts them.
pub(crate) fn disk_usage(dir: &Path) -> u64 {
    let own = fs::symlink_metadata(dir).map_or(0, |meta| meta.blocks() * 512);
    let Ok(entries) = fs::read_dir(dir) else {
        return own;
    };
    own + entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_usage(&entry.path()),
            _ => fs::symlink_metadata(entry.path()).map_or(0, |meta| meta.blocks() * 512),
        })
        .sum::<u64>()
}

/// All files below `dir`, in no order.
pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

/// SHA-256 in hexadecimal, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// An extended attribute as text.
#[track_caller]
pub(crate) fn xattr_text(path: &Path, name: &str) -> String {
    let value = xattr::get(path, name).unwrap_or_else(|error| panic!("{name} of {}: {error}", path.display()));
    String::from_utf8(value.unwrap_or_else(|| panic!("{} has no {name}", path.display()))).unwrap()
}

/// Bytes that no compressor shortens and that `seed` alone decides.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(length);
    out
}

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A seed for a random test: from `NEXUS_TEST_SEED`, or from the clock. The caller prints it.
pub(crate) fn seed() -> u64 {
    match std::env::var("NEXUS_TEST_SEED") {
        Ok(text) => text.parse().expect("NEXUS_TEST_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    }
}
