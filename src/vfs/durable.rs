//! Making durable what was acknowledged, and removing what no row names once that is on the disk.
//!
//! The order is the whole of it: commit, sync of the log, and only then does a file go that an older state names.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::store::{Removal, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::WalFile;

impl Vfs {
    /// Commits, and waits until the commit is on the disk.
    pub(super) fn make_durable(&self) -> Result<()> {
        let committed = self.core.lock().meta.commit()?;
        self.sync_log(committed)
    }

    fn sync_log(&self, committed: u64) -> Result<()> {
        if self.durable.load(Ordering::Acquire) >= committed {
            return Ok(());
        }
        let Some(wal) = &self.wal else { return Ok(()) };
        let mut failed = self.sync_failed.lock();
        if self.durable.load(Ordering::Acquire) >= committed {
            return Ok(());
        }
        // The kernel reports a failed write once, and calls the pages clean: a second sync would succeed, and lie.
        if *failed {
            return Err(Error::new(ErrorKind::Io, "sync the write-ahead log of the database, which failed before"));
        }
        let began = Instant::now();
        let synced = wal.sync();
        self.stats.log_syncs.time(began.elapsed());
        if let Err(e) = synced {
            *failed = true;
            self.core.lock().meta.give_up(&e);
            return Err(e);
        }
        self.durable.fetch_max(committed, Ordering::AcqRel);
        Ok(())
    }

    /// Makes what an earlier process has committed durable: before anything is removed that an older state names.
    pub(super) fn sync_inherited_log(&self) -> Result<()> {
        self.wal.as_ref().map_or(Ok(()), WalFile::sync)
    }

    /// Makes everything durable, then removes what no row names any more.
    pub(super) fn barrier(&self) -> Result<()> {
        let (committed, removals) = {
            let mut core = self.core.lock();
            let committed = core.meta.commit()?;
            let removals = std::mem::take(&mut core.side.removals);
            let (kept, due) =
                removals.into_iter().partition(|r| core.side.snapshots > 0 && matches!(r, Removal::Blob(_)));
            core.side.removals = kept;
            let due: Vec<_> = due;
            (committed, due)
        };
        self.sync_log(committed)?;
        for removal in removals {
            self.carry_out(removal)?;
        }
        Ok(())
    }

    fn carry_out(&self, removal: Removal) -> Result<()> {
        let mut core = self.core.lock();
        match removal {
            Removal::Blob(digest) => {
                let wanted = core.meta.read().find_blob(&digest)?.is_some();
                if !wanted && !core.side.arriving.contains(&digest) {
                    self.blobs.remove(&digest)?;
                }
                self.change_in(&mut core, |txn, _| txn.pardon(&digest))
            }
            Removal::Staging(draft, became) => {
                // The operation that gave it up may have been undone.
                if core.meta.read().is_draft(draft)? {
                    return Ok(());
                }
                self.staging.remove(draft)?;
                let Some((blob, digest)) = became else { return Ok(()) };
                let still = core.meta.read().find_blob(&digest)?.is_some_and(|row| row.id == blob);
                if still {
                    let stamp = crate::cas::stamp(&self.blobs.open(&digest)?)?;
                    self.change_in(&mut core, |txn, _| txn.set_stamp(blob, stamp))?;
                }
                Ok(())
            }
        }
    }
}
