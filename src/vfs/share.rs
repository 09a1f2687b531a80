//! One blob, many files: copy_file_range, copies that share a body, and how one of them leaves while the kernel is serving it.

use std::fs::File;
use std::sync::Arc;

use super::body::copy_file;
use super::changes::note;
use super::live::{BlobReader, Content, FileHandle, LiveState, SealedBody};
use super::store::{Removal, Vfs};
use super::types::HandleId;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyChange, BodyRow};
use crate::model::{Change, NodeId};

/// Bytes that one call of [`Vfs::copy_range`] moves at most, so that it can be interrupted in between.
const COPY_BYTES_MAX: u64 = 64 << 20;

impl Vfs {
    /// Copies between open files, copy_file_range(2). A whole file into one that it covers is shared, not copied. The
    /// bytes copied, fewer than `length` at the end of the source and in long ranges.
    ///
    /// # Errors
    /// As read and write; `Invalid` for overlapping ranges of one file.
    pub fn copy_range(
        &self,
        from: HandleId,
        from_offset: u64,
        to: HandleId,
        to_offset: u64,
        length: u64,
    ) -> Result<u64> {
        let (source, target) = (self.handles.file(from)?, self.handles.file(to)?);
        if !target.write {
            return Err(Error::new(ErrorKind::BadHandle, "copy into a file open for reading"));
        }
        // The kernel's own rule: what lies behind the end of the source is not part of the range.
        let rest = source.live.state.lock().size()?.saturating_sub(from_offset);
        let length = length.min(rest);
        if source.live.id == target.live.id {
            let apart =
                from_offset.saturating_add(length) <= to_offset || to_offset.saturating_add(length) <= from_offset;
            if !apart {
                return Err(Error::new(ErrorKind::Invalid, "copy between overlapping ranges of a file"));
            }
        }
        if from_offset == 0
            && to_offset == 0
            && let Some(shared) = self.share_body(&source, &target, length)?
        {
            return Ok(shared);
        }
        let mut piece = vec![0; 1 << 20];
        let mut done = 0;
        let length = length.min(COPY_BYTES_MAX);
        while done < length {
            let want = usize::try_from(length - done).unwrap_or(piece.len()).min(piece.len());
            let got = self.read(from, from_offset + done, &mut piece[..want])?;
            if got == 0 {
                break;
            }
            match self.write(to, to_offset + done, &piece[..got]) {
                Ok(written) => done += written as u64,
                // What is there is told: the caller has to know of it.
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Makes the whole body of `from` the body of `to` by one more reference, when that is possible: `from` is sealed, and
    /// nothing of `to` would remain. The number of bytes shared, or `None`.
    pub(super) fn share_body(&self, from: &FileHandle, to: &FileHandle, length: u64) -> Result<Option<u64>> {
        if from.live.id == to.live.id {
            return Ok(None);
        }
        let body = {
            let mut state = from.live.state.lock();
            self.save_memory(from.live.id, &mut state)?;
            self.sealed_body(from.live.id, &state)?
        };
        let Some(body) = body else { return Ok(None) };
        let mut state = to.live.state.lock();
        if length < body.size || body.size == 0 || state.size()? > body.size || state.kernel_handles > 0 {
            return Ok(None);
        }
        let now = self.now();
        let shared = self.change(|txn, side| {
            // The source was unlocked in between: the blob counts only if it is still there.
            let Some(row) = txn.find_blob(&body.digest)?.filter(|row| row.id == body.blob) else { return Ok(None) };
            let target = txn.node(to.live.id)?;
            txn.add_blob_ref(row.id)?;
            let change = BodyChange {
                size: row.size,
                blocks: row.blocks,
                mtime: now,
                ctime: now,
                new_version: false,
                body: BodyRow::Blob(row.id),
            };
            txn.update_body(to.live.id, &change)?;
            side.drop_body(txn, target.body)?;
            Ok(Some(row))
        })?;
        let Some(row) = shared else { return Ok(None) };
        if let Content::Memory { bytes, .. } = &state.content {
            self.space.memory(-(bytes.len() as u64).cast_signed());
        }
        note([Change::all_bytes(to.live.id)]);
        state.touch(now);
        state.pending = None;
        state.content = Content::Sealed(Some(super::body::sealed(&row)));
        state.sealed_blocks = row.blocks;
        Ok(Some(body.size))
    }

    /// The blob that the row of a live file names with exactly the bytes of its content, if there is one.
    fn sealed_body(&self, id: NodeId, state: &LiveState) -> Result<Option<SealedBody>> {
        match &state.content {
            Content::Sealed(body) => Ok(body.clone()),
            Content::Memory { saved: true, .. } => {
                let core = self.lock_core();
                let read = core.meta.read();
                match read.node(id)?.body {
                    BodyRow::Blob(blob) => Ok(Some(super::body::sealed(&read.blob(blob)?))),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// A node that the kernel serves on the file of a shared blob is to be written: it must keep that very file, because
    /// the kernel's handles are on it. So the blob gets a copy as its file, and the node takes the old one.
    pub(super) fn leave_shared(
        &self,
        id: NodeId,
        state: &LiveState,
        body: &SealedBody,
        reader: &Arc<BlobReader>,
    ) -> Result<File> {
        self.space.take(body.size)?;
        let (copy, copy_of) = self.staging.make()?;
        let copied = copy_file(&reader.0.read(), &copy_of)
            .and_then(|()| copy_of.sync_data().map_err(|e| Error::io("sync a copy", e)));
        if let Err(e) = copied {
            self.staging.remove(copy)?;
            return Err(e);
        }
        let (draft, file) = self.link_file(state, body)?;
        self.staging.sync()?;
        // From here on both files hold the bytes of the blob, whichever a crash leaves under its name.
        self.blobs.put(&self.staging.path(copy), &body.digest)?;
        self.blobs.sync(&body.digest)?;
        *reader.0.write() = Arc::new(self.blobs.open(&body.digest)?);
        self.name_draft(id, state, draft, body, false)?;
        self.lock_core().side.removals.push(Removal::Staging(copy, Some((body.blob, body.digest))));
        self.make_durable()?;
        Ok(file)
    }
}
