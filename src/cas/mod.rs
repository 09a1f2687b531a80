//! The content store: bodies that are files, and drafts on their way to become bodies.
//!
//! It guarantees that the file of a digest is put in place whole and under its final name by one link, and is never
//! modified under that name. It does not decide which file is wanted: a file in `cas/` counts only while a row of the
//! database names it, and a file without a row is replaced, not trusted, when its digest is put again.
//!
//! Small bodies are rows of the database (`meta/`), because they commit together with their node.

mod disk;
mod staging;
mod together;

pub use disk::BlobStore;
pub use staging::{Staged, Staging};
pub use together::sync_data;

use std::fs::File;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use crate::error::{Error, Result};
use crate::meta::Stamp;
use crate::model::{Digest, Hasher};

/// Bytes hashed at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Hashes a file from its beginning. `go_on` is asked before each MiB with the bytes done so far; `None` when it said no.
///
/// # Errors
/// What reading reports.
pub fn hash_file(file: &File, mut go_on: impl FnMut(u64) -> bool) -> Result<Option<(Digest, u64)>> {
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    loop {
        if !go_on(done) {
            return Ok(None);
        }
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut piece[..], done))
            .map_err(|e| Error::io("hash a file", e.into()))?;
        if got == 0 {
            return Ok(Some((hasher.finish(), done)));
        }
        hasher.update(&piece[..got]);
        done += got as u64;
    }
}

/// Has the disk begin to write what of a part of a file is only in memory, without waiting for it: whoever syncs later then
/// waits for less. A hint; [`File::sync_data`] makes it so. sync_file_range(2), which only Linux has.
pub fn begin_to_write_back(file: &File, part: Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        let (from, length) = (part.start.cast_signed(), (part.end - part.start).cast_signed());
        // SAFETY: takes a descriptor, which is open, and numbers.
        let begun = unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) };
        if begun != 0 {
            log::debug!("begin to write a draft back: {}", std::io::Error::last_os_error());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, part);
}

/// What identifies the present state of a file, see [`Stamp`].
///
/// # Errors
/// What fstat(2) reports.
pub fn stamp(file: &File) -> Result<Stamp> {
    let found = file.metadata().map_err(|e| Error::io("look at a blob's file", e))?;
    Ok(Stamp { inode: found.ino(), ctime: found.ctime() * 1_000_000_000 + found.ctime_nsec() })
}

fn sync_directory(path: &std::path::Path) -> Result<()> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(|e| Error::io(format!("sync directory {}", path.display()), e))
}
