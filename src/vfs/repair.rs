//! Mending a store whose check finds problems.
//!
//! It guarantees that everything about rows is one transaction, and that no bytes are thrown away which a node could
//! want: what has lost its name gets one in `/lost+found`, what does not hash to its name goes into quarantine. It cannot
//! bring back what is nowhere; a file whose bytes no row tells of any more is empty afterwards, and is told by its path.
//!
//! In order: indexes and single values, so that rows can be read; names, so that every node has a path to tell; bodies;
//! then the counts, which follow from all that.

mod bodies;
mod tree;

use super::check::DIRECTORIES;
use super::store::{StoreOptions, Vfs};
use crate::error::{Error, Result};
use crate::meta::WriteTxn;
use crate::model::{Caller, Digest, Timestamp};

/// One repair of all rows.
struct Repair<'a> {
    vfs: &'a Vfs,
    txn: &'a WriteTxn<'a>,
    now: Timestamp,
    /// Whose the root directory is, if there is none.
    owner: Caller,
    /// What was mended, a sentence each.
    told: Vec<String>,
    /// Whether a file is empty now because its body is lost.
    lost_bodies: bool,
    /// Blobs whose files do not hash to their names: put aside when all else is durable.
    damaged_files: Vec<Digest>,
}

impl Vfs {
    /// Mends what [`Vfs::check`] finds in a store, clears what a crash has left, and says in a sentence each what was
    /// done. A body that is damaged is put into quarantine and stays a problem of the next check: storing the same
    /// content again heals it.
    ///
    /// # Errors
    /// As [`Vfs::open_store`], above all `InUse` while somebody has the store open. `Damaged` when rows of the database
    /// are lost. Rows are mended all or, then, not at all.
    pub fn repair(options: StoreOptions) -> Result<Vec<String>> {
        let vfs = Self::open_as_it_is(StoreOptions { read_only: false, ..options })?;
        let mut told = vfs.make_directories()?;
        vfs.staging.scan()?;
        let (rows, damaged, lost_bodies) = vfs.mend_rows()?;
        told.extend(rows);
        vfs.make_durable()?;
        for digest in damaged {
            vfs.blobs.quarantine(&digest)?;
        }
        told.extend(vfs.clear_up(lost_bodies)?);
        vfs.close()?;
        Ok(told)
    }

    fn make_directories(&self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for name in DIRECTORIES {
            let path = self.data_dir.join(name);
            if !path.is_dir() {
                std::fs::create_dir(&path).map_err(|e| Error::io(format!("make directory {}", path.display()), e))?;
                told.push(format!("the directory {name} of the store is there again, empty"));
            }
        }
        Ok(told)
    }

    fn mend_rows(&self) -> Result<(Vec<String>, Vec<Digest>, bool)> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(&self.data_dir).map_err(|e| Error::io("look at the store", e))?;
        let owner = Caller { uid: found.uid(), gid: found.gid() };
        let now = self.now();
        self.lock_core().meta.write(|txn| {
            let (told, damaged_files) = (Vec::new(), Vec::new());
            let mut repair = Repair { vfs: self, txn, now, owner, told, lost_bodies: false, damaged_files };
            repair.run()?;
            Ok((repair.told, repair.damaged_files, repair.lost_bodies))
        })
    }

    /// Moves out what does not belong into the store, and does what a start does. While a body is lost, a file that no
    /// row names may be it, and is kept.
    fn clear_up(&self, lost_bodies: bool) -> Result<Vec<String>> {
        let mut aside = self.staging.scan()?.strangers;
        let mut unnamed = Vec::new();
        self.blobs.list(
            &mut |digest, _| {
                if self.lock_core().meta.read().find_blob(&digest)?.is_none() {
                    unnamed.push(digest);
                }
                Ok(())
            },
            &mut |path| aside.push(path.to_owned()),
        )?;
        if lost_bodies {
            let condemned = self.lock_core().meta.read().condemned()?;
            unnamed.retain(|digest| !condemned.contains(digest));
            aside.extend(unnamed.iter().map(|digest| self.blobs.path(digest)));
            let drafts = self.lock_core().meta.read().drafts()?;
            let wanted = |id| drafts.iter().any(|row| row.body == crate::meta::BodyRow::Draft(id));
            let unused = self.staging.scan()?.drafts.into_iter().filter(|id| !wanted(*id));
            aside.extend(unused.map(|id| self.staging.path(id)));
        }
        let mut told = Vec::new();
        for path in aside {
            let kept = self.blobs.set_aside(&path)?;
            told.push(format!("{}, which no row names, is {} now", path.display(), kept.display()));
        }
        let residue = self.residue()?;
        self.number_nodes()?;
        self.know_queue()?;
        self.recover()?;
        self.settle()?;
        self.collect()?;
        told.extend(residue.into_iter().map(|what| format!("removed: {what}")));
        Ok(told)
    }
}

impl Repair<'_> {
    fn run(&mut self) -> Result<()> {
        let txn = self.txn;
        self.told.extend(txn.mend_indexes()?);
        self.told.extend(txn.mend_values()?);
        self.told.extend(txn.mend_digests()?);
        self.mend_tree()?;
        self.told.extend(txn.mend_kinds()?);
        self.mend_bodies()?;
        self.told.extend(txn.mend_counts()?);
        self.told.extend(crate::work::mend(txn)?);
        Ok(())
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }
}
