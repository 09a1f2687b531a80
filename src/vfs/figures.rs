//! How much a store holds, may use, and has done.

use super::live::{Content, Live};
use super::store::Vfs;
use crate::error::Result;
use crate::meta::Figures;
use crate::stats::{Backlog, Stats, StoreReport};

impl Vfs {
    /// Counts everything in the store; takes time in proportion to it.
    ///
    /// # Errors
    /// What the database reports.
    pub fn figures(&self) -> Result<Figures> {
        self.forget_unnamed();
        self.lock_core().meta.read().figures()
    }

    /// How much memory pages of the database may take.
    ///
    /// # Errors
    /// What the database reports.
    pub fn set_cache_mib(&self, mib: u64) -> Result<()> {
        self.lock_core().meta.set_cache_mib(mib)
    }

    /// Files that are open or being sealed, and open handles of files and of directories that are being read.
    #[must_use]
    pub fn in_use(&self) -> (u64, u64) {
        (self.live.all().len() as u64, self.handles.ids().len() as u64)
    }

    /// Where is counted what the store does.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the store has done since it was opened, and has still to do. Takes no time in proportion to what it holds.
    #[must_use]
    pub fn done(&self) -> StoreReport {
        let (live_files, open_handles) = self.in_use();
        // One that is just written is left out: whoever looks does not wait for a disk.
        let in_memory =
            |live: &Live| live.state.try_lock().is_some_and(|state| matches!(state.content, Content::Memory { .. }));
        let memory_drafts = self.live.all().iter().filter(|live| in_memory(live)).count() as u64;
        let to_seal = self.sealing.length() as u64;
        let (commits, pages, uncommitted, to_remove) = {
            let core = self.lock_core();
            (core.meta.commits(), core.meta.pages(), core.meta.uncommitted(), core.side.removals.len() as u64)
        };
        let memory_draft_bytes = self.space.in_memory();
        self.stats.look(
            commits,
            pages,
            Backlog { live_files, open_handles, memory_drafts, memory_draft_bytes, uncommitted, to_seal, to_remove },
        )
    }

    /// Operations since the store was opened.
    #[must_use]
    pub fn operations_written(&self) -> u64 {
        self.lock_core().meta.written()
    }

    /// Whether the disk or the database failed, and nothing more is written.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.lock_core().meta.is_broken()
    }

    /// Whether nothing can be changed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }
}
