//! How much a store holds, and may use.

use super::store::Vfs;
use crate::error::Result;
use crate::meta::Figures;

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

    /// Files that are open or being sealed, and open handles of files and directories.
    #[must_use]
    pub fn in_use(&self) -> (u64, u64) {
        (self.live.all().len() as u64, self.handles.ids().len() as u64)
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
