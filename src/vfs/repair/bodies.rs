//! Bodies: every node has the one it can have, and a blob says where its bytes are and how many.

use std::collections::HashSet;
use std::fs::File;

use super::Repair;
use crate::error::{Error, Result};
use crate::meta::{BlobId, BlobRow, BodyChange, BodyRow, ForeignBody, NodeRow, Place, StagingId};
use crate::model::{Caller, Kind};
use crate::vfs::attrs::blocks_of;
use crate::vfs::body::copy_file;
use crate::vfs::check::{Bytes, holders, look_at_row, paths};

/// Blobs looked at at a time.
const BATCH: usize = 256;

impl Repair<'_> {
    pub(super) fn mend_bodies(&mut self) -> Result<()> {
        for foreign in self.txn.foreign_bodies()? {
            self.mend_foreign(&foreign)?;
        }
        self.mend_drafts()?;
        self.mend_blobs()?;
        for row in self.txn.bodiless()? {
            self.empty(&row)?;
        }
        Ok(())
    }

    /// A node has a second body, or one though it is no file: the body becomes a file of its own.
    fn mend_foreign(&mut self, foreign: &ForeignBody) -> Result<()> {
        let ForeignBody { node, blob, draft } = *foreign;
        let id = node.attr.id;
        let is_file = node.attr.kind == Kind::File;
        let draft = draft.filter(|draft| self.has_draft(*draft));
        let blob = match blob {
            Some(blob) => self.find_blob(blob)?,
            None => None,
        };
        // Of the two bodies of a file, reads see the draft.
        let kept = match (is_file, draft, &blob) {
            (true, Some(draft), _) => BodyRow::Draft(draft),
            (true, None, Some(blob)) => BodyRow::Blob(blob.id),
            _ => BodyRow::Empty,
        };
        let spare = [
            blob.map(|blob| (BodyRow::Blob(blob.id), (blob.size, blob.blocks))),
            draft.map(|draft| (BodyRow::Draft(draft), (0, 0))),
        ];
        // A file with neither is told of when it is emptied.
        let size = match kept {
            BodyRow::Blob(_) => blob.map_or(0, |blob| blob.size),
            _ => node.attr.size,
        };
        self.set_body(&node, kept, size, false)?;
        self.tell(format!("{} has one body at most now", paths(self.txn, id)));
        for (body, space) in spare.into_iter().flatten().filter(|(body, _)| *body != kept) {
            let made = self.txn.take_node_number()?;
            let attr = self.new_attr(made, Kind::File, Caller { uid: 0, gid: 0 }, 0o600, space);
            self.txn.insert_node(&NodeRow { attr, version: 1, body }, None)?;
            self.adopt(made)?;
        }
        Ok(())
    }

    /// Every draft has its staging file, for itself alone.
    fn mend_drafts(&mut self) -> Result<()> {
        let mut taken = HashSet::new();
        for row in self.txn.drafts()? {
            let BodyRow::Draft(draft) = row.body else { continue };
            if !self.has_draft(draft) {
                self.empty(&row)?;
            } else if !taken.insert(draft) {
                let copy = self.copy_draft(draft)?;
                self.set_body(&row, BodyRow::Draft(copy), row.attr.size, false)?;
                self.tell(format!("{} has its own copy of staging file {} now", paths(self.txn, row.attr.id), draft.0));
            }
        }
        Ok(())
    }

    fn copy_draft(&self, draft: StagingId) -> Result<StagingId> {
        let staging = &self.vfs.staging;
        let from = staging.open(draft)?;
        let (copy, to): (_, File) = staging.make()?;
        copy_file(&from, &to)?;
        to.sync_all().map_err(|e| Error::io("sync a copy", e))?;
        staging.sync()?;
        Ok(copy)
    }

    /// Every blob is where its bytes are. Damaged bytes are put aside, and the blob stays, so that they can be healed.
    fn mend_blobs(&mut self) -> Result<()> {
        let mut after = BlobId(i64::MIN);
        loop {
            let batch = self.txn.blobs(after, BATCH)?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.id;
            for blob in batch {
                self.mend_blob(&blob)?;
            }
        }
    }

    fn mend_blob(&mut self, blob: &BlobRow) -> Result<()> {
        let bytes = self.look_at(blob)?;
        if bytes == Bytes::Missing || bytes == Bytes::Damaged {
            let place = if blob.place == Place::File { Place::Database } else { Place::File };
            let other = BlobRow { place, ..*blob };
            let size = match self.look_at(&other)? {
                Bytes::Right => Some(blob.size),
                Bytes::OfSize(size) => Some(size),
                _ => None,
            };
            if let Some(size) = size {
                self.txn.correct_blob(&BlobRow { size, ..other })?;
                self.tell(format!("the bytes of body {} were found where they are not looked for", blob.digest));
                return Ok(());
            }
        }
        match bytes {
            Bytes::OfSize(size) => {
                self.txn.correct_blob(&BlobRow { size, ..*blob })?;
                self.tell(format!("body {} has size {size} instead of {} now", blob.digest, blob.size));
            }
            Bytes::Damaged => {
                match blob.place {
                    Place::File => self.damaged_files.push(blob.digest),
                    Place::Database => {
                        let bytes = self.txn.small_body(blob.id)?.unwrap_or_default();
                        self.vfs.blobs.keep_damaged(&blob.digest, &bytes)?;
                        self.txn.delete_small_body(blob.id)?;
                    }
                }
                self.tell(format!(
                    "the damaged body {} is in quarantine now; storing the same content again heals {}",
                    blob.digest,
                    holders(self.txn, blob.id)
                ));
            }
            Bytes::Right | Bytes::Missing | Bytes::Unreadable(_) => {}
        }
        Ok(())
    }

    fn look_at(&self, blob: &BlobRow) -> Result<Bytes> {
        match blob.place {
            Place::Database => look_at_row(self.txn, blob),
            Place::File => Ok(self.vfs.look_at_file(blob)),
        }
    }

    /// Nothing tells where the body of a file is.
    fn empty(&mut self, row: &NodeRow) -> Result<()> {
        self.set_body(row, BodyRow::Empty, 0, true)?;
        self.lost_bodies = true;
        self.tell(format!("the body of {} is lost: it is an empty file now", paths(self.txn, row.attr.id)));
        Ok(())
    }

    fn set_body(&self, row: &NodeRow, body: BodyRow, size: u64, new_version: bool) -> Result<()> {
        let attr = &row.attr;
        let blocks = if size == attr.size { attr.blocks } else { blocks_of(size) };
        let ctime = if new_version { self.now } else { attr.ctime };
        let change = BodyChange { ctime, new_versions: u64::from(new_version), ..row.with_body(body, size, blocks) };
        self.txn.update_body(attr.id, &change)
    }

    fn has_draft(&self, draft: StagingId) -> bool {
        self.vfs.staging.path(draft).is_file()
    }

    fn find_blob(&self, id: BlobId) -> Result<Option<BlobRow>> {
        let before = BlobId(id.0.saturating_sub(1));
        Ok(self.txn.blobs(before, 1)?.into_iter().find(|blob| blob.id == id))
    }
}
