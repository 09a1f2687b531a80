//! What start does after a crash: the table of residues in DESIGN is carried out here.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use super::attrs::blocks_of;
use super::store::{Removal, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyRow, NodeRow, StagingId};
use crate::model::Timestamp;

/// A staging file's time counts only when it is this much later than the row's: their clocks differ by a tick.
const CLOCK_SLACK_NANOS: i64 = 1_000_000_000;

impl Vfs {
    /// Removes nodes without a name, staging files without a node and condemned blobs, and takes size and time of drafts
    /// from their files. Closed drafts are queued for sealing.
    pub(super) fn recover(&self) -> Result<()> {
        // A process that was killed has left a log that is committed and not on the disk: after a loss of power an older
        // state would come back, and look for the files that are removed here.
        self.sync_inherited_log()?;
        self.take_up()?;
        let (orphans, drafts, condemned) = {
            let core = self.lock_core();
            let read = core.meta.read();
            (read.orphans()?, read.drafts()?, read.condemned()?)
        };
        let removed: HashSet<_> = orphans.iter().map(|orphan| orphan.attr.id).collect();
        for orphan in orphans {
            self.change(|txn, side| {
                txn.delete_node(orphan.attr.id)?;
                side.drop_body(txn, orphan.body)
            })?;
        }
        let mut wanted = HashSet::new();
        for row in drafts.iter().filter(|row| !removed.contains(&row.attr.id)) {
            let BodyRow::Draft(draft) = row.body else { continue };
            wanted.insert(draft);
            self.recover_draft(row, draft)?;
        }
        let found = self.staging.scan()?;
        for draft in found.drafts.into_iter().filter(|found| !wanted.contains(found)) {
            self.staging.remove(draft)?;
        }
        for path in found.cut_short {
            std::fs::remove_file(&path).map_err(|e| Error::io(format!("remove {}", path.display()), e))?;
        }
        // So that no number is given again while the disk still has its old file.
        self.staging.sync()?;
        let mut core = self.lock_core();
        core.side.removals.extend(condemned.into_iter().map(Removal::Blob));
        Ok(())
    }

    fn recover_draft(&self, row: &NodeRow, draft: StagingId) -> Result<()> {
        let id = row.attr.id;
        let found = match self.staging.open(draft) {
            Ok(file) => file.metadata().map_err(|e| Error::io("look at a draft", e))?,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // Never synced: a synced draft has a durable name. As after a power loss on ext4, the file is empty.
                log::warn!("the draft of node {id} was never synced and is gone: the file is empty now");
                return self.change(|txn, _| txn.update_body(id, &row.with_body(BodyRow::Empty, 0, 0)));
            }
            Err(e) => return Err(e),
        };
        let mtime = Timestamp(found.mtime() * 1_000_000_000 + found.mtime_nsec());
        let later = mtime.0.saturating_sub(row.attr.mtime.0) > CLOCK_SLACK_NANOS;
        if found.len() != row.attr.size || later {
            let mtime = if later { mtime } else { row.attr.mtime };
            self.change(|txn, _| {
                let blocks =
                    found.blocks().max(u64::from(found.len() > 0)).min(blocks_of(found.len()).max(found.blocks()));
                txn.update_size(id, (found.len(), blocks), mtime, mtime)
            })?;
        }
        self.sealing.push(id);
        Ok(())
    }
}
