//! Removing what no row names, and forgetting nodes.

use super::store::Vfs;
use crate::error::Result;
use crate::model::NodeId;

impl Vfs {
    /// The kernel has dropped a node: what is remembered of a removed one can go.
    pub fn forget(&self, id: NodeId) {
        let mut core = self.lock_core();
        if !core.side.tombs.is_empty() {
            core.side.tombs.remove(&id);
        }
    }

    /// Removes files of `cas/` that no row names: what a crash between putting a body and committing its row leaves. The
    /// number of files and bytes removed.
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn collect(&self) -> Result<(u64, u64)> {
        let mut unnamed = Vec::new();
        self.blobs.list(
            &mut |digest, size| {
                let core = self.lock_core();
                if core.meta.read().find_blob(&digest)?.is_none() {
                    unnamed.push((digest, size));
                }
                Ok(())
            },
            &mut |_| {},
        )?;
        let mut removed = (0, 0);
        for (digest, size) in unnamed {
            // Asked again under the lock under which rows are made: the dangerous pair of collection and put.
            let core = self.lock_core();
            if core.meta.read().find_blob(&digest)?.is_none() && !core.side.arriving.contains(&digest) {
                self.blobs.remove(&digest)?;
                removed = (removed.0 + 1, removed.1 + size);
            }
        }
        Ok(removed)
    }
}
