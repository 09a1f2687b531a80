//! How a synced staging file becomes the file of a blob, for one or for several at once.

use super::store::{Removal, Side, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, Place, StagingId, WriteTxn};
use crate::model::Digest;

/// A staging file whose bytes are durable, on its way to be the file of a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    pub(super) draft: StagingId,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Space it takes, in units of 512 bytes.
    pub(super) blocks: u64,
}

/// What became of an operation that wants a reference on a blob.
pub(super) enum Found<T, F> {
    /// The same bytes were there: done.
    Done(T),
    /// They are announced, and nobody removes their file now. [`Vfs::arrive`] takes that back.
    Missing(F),
}

impl Vfs {
    /// Runs one operation with a reference on the blob that a synced staging file becomes, or that has the same bytes
    /// already. The staging name goes when the operation is durable; it stays when it fails.
    pub(super) fn put_file<T>(
        &self,
        put: &Put,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, &BlobRow) -> Result<T>,
    ) -> Result<T> {
        self.recheck(&put.digest)?;
        self.put_checked(put, operation)
    }

    /// The same where a blob with the same bytes can be trusted.
    pub(super) fn put_checked<T>(
        &self,
        put: &Put,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, &BlobRow) -> Result<T>,
    ) -> Result<T> {
        match self.refer(put, operation)? {
            Found::Done(value) => Ok(value),
            Found::Missing(operation) => {
                let named = self.name_files(&[put]).pop().unwrap_or(Ok(()));
                self.arrive(put, named, operation)
            }
        }
    }

    /// Runs the operation if there is a blob with the same bytes, and announces them otherwise.
    pub(super) fn refer<T, F: FnOnce(&WriteTxn<'_>, &mut Side, &BlobRow) -> Result<T>>(
        &self,
        put: &Put,
        operation: F,
    ) -> Result<Found<T, F>> {
        let mut core = self.lock_core();
        let known = core.meta.read().find_blob(&put.digest)?;
        let Some(blob) = known.filter(|blob| self.is_intact(blob)) else {
            core.side.arriving.insert(put.digest);
            return Ok(Found::Missing(operation));
        };
        let shared = self.change_in(&mut core, |txn, side| {
            txn.add_blob_ref(blob.id)?;
            let value = operation(txn, side, &blob)?;
            side.removals.push(Removal::Staging(put.draft, None));
            Ok(value)
        })?;
        self.stats.big.note(put.size, true);
        Ok(Found::Done(shared))
    }

    /// Names announced files by their digests, durably; for each whether that succeeded.
    pub(super) fn name_files(&self, puts: &[&Put]) -> Vec<Result<()>> {
        let named: Vec<_> = puts.iter().map(|put| self.blobs.put(&self.staging.path(put.draft), &put.digest)).collect();
        let synced = self.blobs.sync(puts.iter().map(|put| &put.digest));
        let and_synced = |named: Result<()>| match &synced {
            Err(e) => named.and(Err(Error::new(e.kind(), e.to_string()))),
            Ok(()) => named,
        };
        named.into_iter().map(and_synced).collect()
    }

    /// Runs the operation after the announced file was named, or not, and takes the announcement back.
    pub(super) fn arrive<T>(
        &self,
        put: &Put,
        named: Result<()>,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, &BlobRow) -> Result<T>,
    ) -> Result<T> {
        let digest = &put.digest;
        let mut core = self.lock_core();
        let outcome = named.and_then(|()| {
            self.change_in(&mut core, |txn, side| {
                let found = txn.find_blob(digest)?;
                let blob = match found {
                    Some(blob) => {
                        txn.add_blob_ref(blob.id)?;
                        blob
                    }
                    None => {
                        let blob = txn.insert_blob(digest, put.size, put.blocks, None)?;
                        txn.pardon(digest)?;
                        txn.blob(blob)?
                    }
                };
                let value = operation(txn, side, &blob)?;
                side.removals.push(Removal::Staging(put.draft, Some((blob.id, *digest))));
                Ok((value, found.is_some()))
            })
        });
        core.side.arriving.remove(digest);
        drop(core);
        match &outcome {
            Ok((_, shared)) => self.stats.big.note(put.size, *shared),
            // The file may have its name by now, and if nobody tries again it keeps it.
            Err(_) => self.needs_sweep(),
        }
        self.readers.lock().remove(digest);
        outcome.map(|(value, _)| value)
    }

    /// Hashes the file of a blob that is about to stand for a draft with the same bytes, unless it is the one that was
    /// sealed: a damaged one is put aside, and the draft takes its place.
    pub(super) fn recheck(&self, digest: &Digest) -> Result<()> {
        let known = self.lock_core().meta.read().find_blob(digest)?;
        let Some(blob) = known.filter(|blob| blob.place == Place::File) else { return Ok(()) };
        match self.blobs.open(digest).and_then(|file| self.verify_file(&super::body::sealed(&blob), &file)) {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => Err(e),
            _ => Ok(()),
        }
    }

    /// Whether the bytes of a blob are there: a damaged one was put aside, and is healed by the same bytes.
    pub(super) fn is_intact(&self, blob: &BlobRow) -> bool {
        blob.place == Place::Database || self.blobs.has(&blob.digest)
    }
}
