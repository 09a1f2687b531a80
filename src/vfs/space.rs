//! Refusing growth before the disk below is full.
//!
//! The database needs room to record even a removal, and acknowledged changes that are not committed must still fit. So
//! growth is refused while the disk has less than a reserve left: writers get `NoSpace` at once, and removing works.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The least that is kept free: a WAL of removals on a small disk.
const RESERVE_BYTES_MIN: u64 = 8 << 20;
/// The most that is kept free on a large disk.
const RESERVE_BYTES_MAX: u64 = 128 << 20;
/// The share of the disk kept free in between.
const RESERVE_SHARE: u64 = 32;
/// What an operation may add to the database and its log besides the bytes of a body: a few pages.
const OPERATION_BYTES: u64 = 4096;

/// Watches the room on the disk of the store.
#[derive(Debug)]
pub(super) struct Space {
    data_dir: PathBuf,
    /// Bytes that may still be written before statvfs(3) is asked again.
    allowance: AtomicI64,
    /// Bytes of drafts in memory, which will need room on disk.
    in_memory: AtomicI64,
}

impl Space {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), allowance: AtomicI64::new(0), in_memory: AtomicI64::new(0) }
    }

    /// Takes room for an operation that adds `bytes` to a body.
    ///
    /// # Errors
    /// `NoSpace` when the reserve would be touched.
    pub(super) fn take(&self, bytes: u64) -> Result<()> {
        let wanted = i64::try_from(bytes.saturating_add(OPERATION_BYTES)).unwrap_or(i64::MAX);
        if self.allowance.fetch_sub(wanted, Ordering::Relaxed) >= wanted {
            return Ok(());
        }
        let free = self.free_above_reserve()?;
        let rest = free.saturating_sub(self.in_memory.load(Ordering::Relaxed)).saturating_sub(wanted);
        // Look again after a sixteenth of what is left, because others write to the disk too.
        self.allowance.store(if rest > 0 { rest / 16 } else { 0 }, Ordering::Relaxed);
        if rest < 0 {
            return Err(Error::new(
                ErrorKind::NoSpace,
                "the disk of the store is full up to the reserve for its own records; remove files or make room",
            ));
        }
        Ok(())
    }

    /// A draft in memory has grown by so many bytes, or shrunk.
    pub(super) fn memory(&self, grown: i64) {
        self.in_memory.fetch_add(grown, Ordering::Relaxed);
    }

    /// Bytes of drafts in memory.
    pub(super) fn in_memory(&self) -> u64 {
        u64::try_from(self.in_memory.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn free_above_reserve(&self) -> Result<i64> {
        let found = rustix::fs::statvfs(&self.data_dir)
            .map_err(|e| Error::io("ask how full the disk of the store is", e.into()))?;
        let total = found.f_blocks * found.f_frsize;
        let reserve = (total / RESERVE_SHARE).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let free = found.f_bavail * found.f_frsize;
        Ok(i64::try_from(free).unwrap_or(i64::MAX) - i64::try_from(reserve).unwrap_or(i64::MAX))
    }
}
