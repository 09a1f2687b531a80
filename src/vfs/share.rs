//! One blob, many files: copy_file_range, copies that share a body, and how one of them leaves while the kernel is serving it.

use std::fs::File;
use std::sync::Arc;

use super::body::copy_file;
use super::changes::note;
use super::live::{BlobReader, Content, FileHandle, LiveState, SealedBody};
use super::store::{Removal, Vfs};
use super::types::HandleId;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyChange, BodyRow, StagingId};
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
            let same = target.with_body(BodyRow::Blob(row.id), row.size, row.blocks);
            let change = BodyChange { mtime: now, ctime: now, ..same };
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
    pub(super) fn sealed_body(&self, id: NodeId, state: &LiveState) -> Result<Option<SealedBody>> {
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
    /// the kernel's handles are on it. So the blob gets a copy as its file, and the node takes the old one. Where that
    /// fails, the blob has its old file again, and the next attempt finds everything as this one did.
    pub(super) fn leave_shared(
        &self,
        id: NodeId,
        state: &LiveState,
        body: &SealedBody,
        reader: &Arc<BlobReader>,
    ) -> Result<File> {
        self.space.take(body.size)?;
        let copy = self.copy_blob(reader)?;
        let (draft, file) = self.link_file(state, body).or_else(|e| self.staging.remove(copy).and(Err(e)))?;
        match self.change_places(id, state, body, draft, copy) {
            Ok(of_blob) => *reader.0.write() = Arc::new(of_blob),
            Err(e) => {
                self.staging.remove(copy)?;
                self.staging.remove(draft)?;
                return Err(e);
            }
        }
        self.lock_core().side.removals.push(Removal::Staging(copy, Some((body.blob, body.digest))));
        // When this fails the store takes no more changes at all.
        self.make_durable()?;
        Ok(file)
    }

    /// Copies a blob's file into a staging file, durably.
    fn copy_blob(&self, reader: &BlobReader) -> Result<StagingId> {
        let (copy, copy_of) = self.staging.make()?;
        copy_file(&reader.0.read(), &copy_of)
            .and_then(|()| copy_of.sync_data().map_err(|e| Error::io("sync a copy", e)))
            .or_else(|e| self.staging.remove(copy).and(Err(e)))?;
        Ok(copy)
    }

    /// Gives the blob `copy` as its file and the node `draft`, the file it had. The blob's file is the result, opened.
    fn change_places(
        &self,
        id: NodeId,
        state: &LiveState,
        body: &SealedBody,
        draft: StagingId,
        copy: StagingId,
    ) -> Result<File> {
        self.staging.sync()?;
        // From here on both files hold the bytes of the blob, whichever a crash leaves under its name.
        self.blobs.put(&self.staging.path(copy), &body.digest)?;
        let named = self
            .blobs
            .sync([&body.digest])
            .and_then(|()| self.blobs.open(&body.digest))
            .and_then(|file| self.name_draft(id, state, draft, body, false).map(|_| file));
        if named.is_err()
            && let Err(e) = self.blobs.put(&self.staging.path(draft), &body.digest)
        {
            log::error!("the body {} keeps its copy as file: {e}", body.digest);
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::model::{Caller, Name, Timestamp, VPath};
    use crate::vfs::{OpenMode, Serving, StoreOptions};

    const CALLER: Caller = Caller { uid: 0, gid: 0 };
    const READ: OpenMode = OpenMode { passthrough: true, ..OpenMode::READ };
    const WRITE: OpenMode = OpenMode { write: true, ..READ };

    fn put(vfs: &Vfs, name: &[u8], bytes: &[u8]) -> NodeId {
        let (attr, opened) =
            vfs.create(&CALLER, NodeId::ROOT, Name::new(name).unwrap(), 0o644, WRITE).expect("a free name");
        vfs.write(opened.handle, 0, bytes).unwrap();
        vfs.release(opened.handle).unwrap();
        attr.id
    }

    #[test]
    fn a_departure_that_fails_is_undone_and_succeeds_later() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("store");
        Vfs::init(&data_dir, CALLER, Timestamp::now).unwrap();
        let options = StoreOptions { data_dir: data_dir.clone(), read_only: false, clock: Timestamp::now };
        let vfs = Vfs::open_store(options).unwrap();
        let bytes = vec![7; 300_000];
        let (id, other) = (put(&vfs, b"a", &bytes), put(&vfs, b"b", &bytes));
        vfs.settle().unwrap();
        let reading = vfs.open(&CALLER, id, READ).unwrap();
        let Serving::Kernel(served) = reading.serving else { panic!("the kernel serves a big file") };
        let digest = vfs.etag(other).unwrap();
        let stored = || std::fs::metadata(vfs.blobs.path(&digest)).unwrap().ino();
        let inode = served.metadata().unwrap().ino();
        assert_eq!(stored(), inode);

        // The last step fails: no row has this number.
        let live = vfs.live.get(id).unwrap();
        let failed = {
            let mut state = live.state.lock();
            let Content::Sealed(Some(body)) = &mut state.content else { panic!("nobody has written yet") };
            let super::super::live::Reader::File(reader) = vfs.reader(body).unwrap() else { panic!("a big body") };
            let body = body.clone();
            vfs.leave_shared(NodeId(999), &state, &body, &reader)
        };
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(stored(), inode, "the blob has its file again");
        assert!(vfs.staging.scan().unwrap().drafts.is_empty(), "and nothing is left in staging");

        let writing = vfs.open(&CALLER, id, WRITE).unwrap();
        let Serving::Kernel(file) = writing.serving else { panic!("the kernel goes on serving") };
        assert_eq!(file.metadata().unwrap().ino(), inode, "on the file that it has");
        // As the kernel does: it opens the file anew, in the mode in which the program opened its own.
        let backing = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*file));
        let backing = File::options().write(true).open(backing).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&backing, b"!", 0).unwrap();
        drop(backing);
        vfs.release(writing.handle).unwrap();
        vfs.release(reading.handle).unwrap();
        let path = |text: &[u8]| vfs.resolve(&VPath::parse(text).unwrap()).unwrap().id;
        assert_ne!(vfs.etag(path(b"/a")).unwrap(), digest);
        assert_eq!(vfs.etag(path(b"/b")).unwrap(), digest);
        vfs.settle().unwrap();
        assert_eq!(vfs.check().unwrap().problems, Vec::<String>::new());
        vfs.close().unwrap();
    }
}
