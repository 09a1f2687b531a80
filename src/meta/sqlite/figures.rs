//! Counting rows, for who looks after a store.

use super::read::ReadTxn;
use crate::error::Result;

/// How much there is in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Directories, the root among them.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Nodes of other kinds.
    pub others: u64,
    /// Bytes of all files, each counted by itself.
    pub file_bytes: u64,
    /// Distinct bodies.
    pub bodies: u64,
    /// Bytes of distinct bodies.
    pub body_bytes: u64,
    /// Distinct bodies kept as rows of the database.
    pub small_bodies: u64,
    /// Files whose body is still a draft on the disk.
    pub drafts: u64,
}

impl ReadTxn<'_> {
    /// Counts everything; takes time in proportion to the store.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn figures(&self) -> Result<Figures> {
        // 61440 is S_IFMT, inode(7).
        let nodes = self.each(
            "SELECT COALESCE(SUM(mode & 61440 = 16384), 0), COALESCE(SUM(mode & 61440 = 32768), 0), COUNT(*),
                    COALESCE(SUM(CASE WHEN mode & 61440 = 32768 THEN size ELSE 0 END), 0), COUNT(draft) FROM node",
            [],
            |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?, row.get(3)?, row.get(4)?)),
        )?;
        let blobs =
            self.each("SELECT COUNT(*), COALESCE(SUM(size), 0), COALESCE(SUM(place = 0), 0) FROM blob", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let (directories, files, nodes, file_bytes, drafts) = nodes.into_iter().next().unwrap_or_default();
        let (bodies, body_bytes, small_bodies) = blobs.into_iter().next().unwrap_or_default();
        let others = nodes.saturating_sub(directories + files);
        Ok(Figures { directories, files, others, file_bytes, bodies, body_bytes, small_bodies, drafts })
    }
}
