//! Removing what no row names.
//!
//! A file of `cas/` without a row is what a crash between putting a body and committing its row leaves. The dangerous pair
//! is a collection and a put of the same bytes. A put announces its digest under the lock of the core before it names its
//! file, and takes the announcement back under the lock under which the row has appeared; so a file that has no row and is
//! not announced, both asked under that lock, is nobody's. Who wants its bytes later puts them anew. One that is condemned
//! has lost its row, but perhaps not durably: it is left to the barrier that makes sure of that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::store::Vfs;
use crate::error::Result;

/// The setting that says that nothing has to be collected: set at an orderly end, and taken back at each start.
pub(super) const CLEAN: &str = "clean";

/// What a collection removed.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Whether a file was left because it had not been left alone for long enough.
    pub(super) young: bool,
}

impl Vfs {
    /// Removes files of `cas/` that no row names. The number of files and bytes removed.
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn collect(&self) -> Result<(u64, u64)> {
        self.begin_sweep();
        let mut removed = (0, 0);
        for part in 0..=u8::MAX {
            let found = self.collect_part(part, Duration::ZERO)?;
            removed = (removed.0 + found.files, removed.1 + found.bytes);
        }
        self.end_sweep();
        Ok(removed)
    }

    /// The same in one of the 256 parts of `cas/`, for files that have been left alone for as long as `grace`.
    pub(super) fn collect_part(&self, part: u8, grace: Duration) -> Result<Collected> {
        let mut unnamed = Vec::new();
        self.blobs.list_part(part, &mut |digest, size| {
            if self.lock_core().meta.read().find_blob(&digest)?.is_none() {
                unnamed.push((digest, size));
            }
            Ok(())
        })?;
        let mut collected = Collected::default();
        for (digest, size) in unnamed {
            // Kept open, so that giving back the space of a big file keeps nobody waiting for the lock.
            let Ok(file) = self.blobs.open(&digest) else { continue };
            if crate::model::Timestamp(crate::cas::stamp(&file)?.ctime).age(self.now()) < grace {
                collected.young = true;
                continue;
            }
            let core = self.lock_core();
            let read = core.meta.read();
            let named = read.find_blob(&digest)?.is_some();
            if !named && !core.side.arriving.contains(&digest) && !read.is_condemned(&digest)? {
                self.blobs.remove(&digest)?;
                collected.files += 1;
                collected.bytes += size;
            }
        }
        Ok(collected)
    }

    /// Whether no file of `cas/` can be without a row but those that are being put: nothing is left to be collected.
    #[must_use]
    pub fn is_tidy(&self) -> bool {
        self.swept.load(Ordering::Acquire) == SWEPT
    }

    /// A collection begins. What is left from now on needs another one.
    pub(super) fn begin_sweep(&self) {
        self.swept.store(SWEEPING, Ordering::Release);
    }

    /// It has seen all parts.
    pub(super) fn end_sweep(&self) {
        let ended = self.swept.compare_exchange(SWEEPING, SWEPT, Ordering::AcqRel, Ordering::Relaxed);
        if ended.is_err() {
            log::info!("a file was left in cas/ while it was being collected: another collection follows");
        }
    }

    /// A file may have been left without a row.
    pub(super) fn needs_sweep(&self) {
        self.swept.store(UNSWEPT, Ordering::Release);
    }

    /// Reads how the store was left, and says durably that it was not left in order until it is.
    pub(super) fn take_up(&self) -> Result<()> {
        let was_clean = self.lock_core().meta.read().setting(CLEAN)? == Some(1);
        if was_clean {
            self.swept.store(SWEPT, Ordering::Release);
        } else {
            self.blobs.sync_directories()?;
        }
        self.change(|txn, _| txn.set_setting(CLEAN, 0))?;
        self.make_durable()
    }

    /// At an orderly end, when nothing is left to be done.
    pub(super) fn leave_in_order(&self) -> Result<()> {
        if self.is_tidy() { self.change(|txn, _| txn.set_setting(CLEAN, 1)) } else { Ok(()) }
    }
}

/// States of [`Vfs::is_tidy`].
const UNSWEPT: u8 = 0;
const SWEEPING: u8 = 1;
const SWEPT: u8 = 2;
