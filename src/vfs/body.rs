//! Bodies of live files: reading them, and the way from a sealed body to a draft.
//!
//! Invariant: whatever a crash leaves, the row of a file names a complete body. So a staging file that takes the place of
//! a committed body is on the disk before the row names it, and a blob that is taken back for writing has lost its row,
//! durably, before its first byte changes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use parking_lot::RwLock;

use super::attrs::blocks_of;
use super::damage::Fault;
use super::live::{BlobReader, Content, LiveState, Pending, Reader, SealedBody};
use super::open::check_kind;
use super::privileges::has_set_id;
use super::store::{Core, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, BodyChange, BodyRow, NodeRow, Place, WriteTxn};
use crate::model::{Digest, FILE_BYTES_MAX, MEMORY_DRAFT_BYTES_MAX, NodeId, SMALL_BODY_BYTES_MAX, Timestamp};
use crate::stats::Bodies;

/// An access time older than this is renewed by a read, relatime of mount(8): a day.
const ATIME_AGE_NANOS: i64 = 24 * 3600 * 1_000_000_000;

impl LiveState {
    /// Notes a change of the body.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.pending = Some(Pending { mtime: now, ctime: now });
        self.changed = true;
        self.generation += 1;
        self.atime_due = true;
    }

    /// The same after a write into the staging file, which the next look at it must not take for one of the kernel.
    pub(super) fn touch_written(&mut self, now: Timestamp) -> Result<()> {
        if let (Some(_), Content::Staged { file, .. }) = (self.kernel_seen, &self.content) {
            self.kernel_seen = Some(look(file)?);
        }
        self.touch(now);
        Ok(())
    }

    /// Versions that the row does not count yet.
    pub(super) fn uncounted(&self) -> u64 {
        self.versions + u64::from(self.changed)
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> Result<u64> {
        Ok(self.size_and_blocks()?.0)
    }

    /// Keeps the modification time of a staging file in step with one that was set, because recovery asks the file.
    pub(super) fn set_file_mtime(&mut self, mtime: Timestamp) -> Result<()> {
        if let Content::Staged { file, .. } = &self.content {
            file.set_modified(mtime.into()).map_err(|e| Error::io("set the time of a staging file", e))?;
            self.kernel_seen = Some(look(file)?);
            self.file_time_set = true;
        }
        Ok(())
    }
}

fn look(file: &File) -> Result<(i64, i64)> {
    let found = rustix::fs::fstat(file).map_err(|e| Error::io("look at a staging file", e.into()))?;
    Ok((found.st_size, found.st_mtime * 1_000_000_000 + found.st_mtime_nsec.cast_signed()))
}

impl Vfs {
    /// Reads the state of a live file from its row, if that was not done yet.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Invalid` for other kinds, `Damaged`.
    pub(super) fn load(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        if state.loaded {
            return Ok(());
        }
        let (row, blob, names_lost) = {
            let core = self.lock_core();
            let (row, blob) = core.meta.read().node_with_blob(id)?;
            (row, blob, core.meta.names_lost())
        };
        check_kind(row.attr.kind)?;
        state.content = match (row.body, blob) {
            (BodyRow::Draft(draft), _) => {
                let file = Arc::new(self.staging.open(draft)?);
                Content::Staged { file, named: false }
            }
            (_, blob) => Content::Sealed(blob.map(|blob| sealed(&blob))),
        };
        state.sealed_blocks = blob.map_or(0, |blob| blob.blocks);
        state.changed = row.version == 0;
        let attr = row.attr;
        state.set_id = has_set_id(attr.mode);
        state.named_at = (attr.nlink > 0).then_some(names_lost);
        state.atime_due =
            attr.atime <= attr.mtime.max(attr.ctime) || self.now().0.saturating_sub(attr.atime.0) > ATIME_AGE_NANOS;
        state.loaded = true;
        Ok(())
    }

    /// What has changed so far of a file that somebody has open is a version of its own: see [`Vfs::open`].
    ///
    /// # Errors
    /// What looking at the file reports.
    pub fn end_version(&self, id: NodeId) -> Result<()> {
        self.live.get(id).map_or(Ok(()), |live| self.begin_version(&mut live.state.lock()))
    }

    /// Somebody comes to write. Who has written before may have closed the file already, because close(2) does not wait
    /// until that is heard of here: what has changed so far is a version of its own, as it is when it was heard of in time.
    pub(super) fn begin_version(&self, state: &mut LiveState) -> Result<()> {
        self.notice_kernel_writes(state)?;
        state.versions = state.uncounted();
        state.changed = false;
        Ok(())
    }

    /// Makes a change that the kernel wrote past the filesystem a change like another.
    pub(super) fn notice_kernel_writes(&self, state: &mut LiveState) -> Result<()> {
        if state.kernel_writers == 0 { Ok(()) } else { self.look_at_kernel_file(state) }
    }

    /// The same where the kernel is about to write: what its file looks like is remembered.
    pub(super) fn look_at_kernel_file(&self, state: &mut LiveState) -> Result<()> {
        let Content::Staged { file, .. } = &state.content else { return Ok(()) };
        let seen = look(file)?;
        if state.kernel_seen.is_some_and(|before| before != seen) {
            state.touch(Timestamp(seen.1));
            // A kernel that nobody shares the store with knows of every bit.
            state.written_by_others |= state.kernel_writers_of_others > 0 && self.changes.is_shared();
        }
        state.kernel_seen = Some(seen);
        Ok(())
    }

    /// Writes times, size and access time into the row, where they differ; the caller forgets them when that is done.
    pub(super) fn flush_times(&self, txn: &WriteTxn<'_>, id: NodeId, state: &LiveState) -> Result<()> {
        if let Some(pending) = state.pending {
            let size = match &state.content {
                // The row still names the body before: its size goes with the draft, when that is saved.
                Content::Memory { saved: false, .. } => {
                    let attr = txn.node(id)?.attr;
                    (attr.size, attr.blocks)
                }
                _ => state.size_and_blocks()?,
            };
            txn.update_size(id, size, pending.mtime, pending.ctime)?;
        }
        if let Some(atime) = state.atime {
            txn.update_atime(id, atime)?;
        }
        Ok(())
    }

    /// The reader of a sealed body, opened and verified by the first call.
    pub(super) fn reader(&self, body: &mut SealedBody) -> Result<Reader> {
        self.stats.bodies.note(body.reader.is_some());
        if let Some(reader) = &body.reader {
            return Ok(reader.clone());
        }
        let reader = match body.place {
            Place::Database => {
                let bytes = self.lock_core().meta.read().small_body(body.blob)?;
                match bytes {
                    Some(bytes) if Digest::of(&bytes) == body.digest => Reader::Bytes(bytes.into()),
                    Some(_) => return Err(self.damaged_at_open(body, Fault::Damaged, None)),
                    None => return Err(self.damaged_at_open(body, Fault::Missing, None)),
                }
            }
            Place::File => Reader::File(self.blob_reader(body)?),
        };
        body.reader = Some(reader.clone());
        Ok(reader)
    }

    /// The shared reader of a big blob. Its file is hashed first unless it is the one that was sealed or last verified.
    fn blob_reader(&self, body: &SealedBody) -> Result<Arc<BlobReader>> {
        if let Some(reader) = self.readers.lock().get(&body.digest).and_then(std::sync::Weak::upgrade) {
            return Ok(reader);
        }
        let file = match self.blobs.open(&body.digest) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.damaged_at_open(body, Fault::Missing, None)),
            Err(e) => return Err(e),
        };
        self.verify_file(body, &file)?;
        let mut readers = self.readers.lock();
        if readers.len() > 1024 {
            readers.retain(|_, reader| reader.strong_count() > 0);
        }
        let reader = Arc::new(BlobReader(RwLock::new(Arc::new(file))));
        readers.insert(body.digest, Arc::downgrade(&reader));
        Ok(reader)
    }

    /// Reads a part of the content into `into`; fewer bytes only at the end.
    pub(super) fn read_content(&self, state: &mut LiveState, offset: u64, into: &mut [u8]) -> Result<usize> {
        match &mut state.content {
            Content::Sealed(None) => Ok(0),
            Content::Sealed(Some(body)) => match self.reader(body)? {
                Reader::Bytes(bytes) => Ok(copy_out(&bytes, offset, into)),
                Reader::File(reader) => read_file(&reader.0.read(), offset, into),
            },
            Content::Memory { bytes, .. } => Ok(copy_out(bytes, offset, into)),
            Content::Staged { file, .. } => read_file(file, offset, into),
        }
    }

    /// Turns the content into a draft that can hold `size` bytes: in memory or, beyond the limit, staged.
    pub(super) fn make_draft(&self, id: NodeId, state: &mut LiveState, size: u64) -> Result<()> {
        let fits = size <= MEMORY_DRAFT_BYTES_MAX as u64 && state.kernel_handles == 0;
        if let Content::Sealed(body) = &state.content {
            let length = body.as_ref().map_or(0, |body| body.size);
            if length <= MEMORY_DRAFT_BYTES_MAX as u64 && state.kernel_handles == 0 {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
                self.read_content(state, 0, &mut bytes)?;
                self.space.memory(length.cast_signed());
                state.content = Content::Memory { bytes, saved: true };
            } else {
                self.stage_sealed(id, state)?;
            }
        }
        if !fits && matches!(state.content, Content::Memory { .. }) {
            self.stage_memory(id, state)?;
        }
        Ok(())
    }

    /// Moves a draft from memory into a staging file, which the row then names.
    pub(super) fn stage_memory(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        let Content::Memory { bytes, .. } = &state.content else { return Ok(()) };
        let (draft, file) = self.staging.make()?;
        let written = file.write_all_at(bytes, 0).map_err(|e| Error::io("write a draft", e));
        let length = bytes.len() as u64;
        let named = written.and_then(|()| self.register(id, state, draft, &file, length));
        match named {
            Ok(named) => {
                self.space.memory(-length.cast_signed());
                state.content = Content::Staged { file: Arc::new(file), named };
                Ok(())
            }
            Err(e) => {
                self.staging.remove(draft)?;
                Err(e)
            }
        }
    }

    /// Makes the row of a file name a staging file as its body. Whether the staging name is durable.
    fn register(
        &self,
        id: NodeId,
        state: &LiveState,
        draft: crate::meta::StagingId,
        file: &File,
        size: u64,
    ) -> Result<bool> {
        let before = self.lock_core().meta.read().node(id)?;
        let replaces = before.body != BodyRow::Empty;
        // After a crash the file is asked, and a time that was set is not when it was made.
        let mtime = state.pending.map_or(before.attr.mtime, |pending| pending.mtime);
        file.set_modified(mtime.into()).map_err(|e| Error::io("set the time of a staging file", e))?;
        if replaces {
            file.sync_data().map_err(|e| Error::io("sync a draft", e))?;
            self.staging.sync()?;
        }
        self.change(|txn, side| {
            let row = txn.node(id)?;
            txn.update_body(id, &written(&row, BodyRow::Draft(draft), size, state.pending))?;
            side.drop_body(txn, row.body)
        })?;
        Ok(replaces)
    }

    /// Turns a sealed body into a staging file: its own file when nobody else refers to it, otherwise a copy.
    pub(super) fn stage_sealed(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        let Content::Sealed(Some(body)) = &mut state.content else {
            // An empty or small body under a handle of the kernel cannot be: the kernel serves files only.
            return Err(Error::new(ErrorKind::Io, "stage a body that is no file"));
        };
        let reader = self.reader(body)?;
        let body = body.clone();
        let sole = self.lock_core().meta.read().blob(body.blob)?.refs == 1;
        let taken = match &reader {
            Reader::File(_) if sole => self.take_back(id, state, &body)?,
            _ => None,
        };
        let file = match (taken, &reader) {
            (Some(taken), _) => taken,
            (None, Reader::File(reader)) if state.kernel_handles > 0 => self.leave_shared(id, state, &body, reader)?,
            (None, reader) => self.copy_out_of_blob(id, state, &body, reader)?,
        };
        state.kernel_blob = None;
        // After a crash the file is asked for its time. The row names it already: this must not fail the change of state.
        let mtime = self.lock_core().meta.read().node(id).map(|row| row.attr.mtime);
        if let Err(e) =
            mtime.map_err(|e| e.to_string()).and_then(|t| file.set_modified(t.into()).map_err(|e| e.to_string()))
        {
            log::warn!("the staging file of node {id} keeps its time: {e}");
        }
        if state.kernel_handles > 0 {
            state.kernel_seen = Some(look(&file)?);
        }
        state.content = Content::Staged { file: Arc::new(file), named: true };
        Ok(())
    }

    /// Makes the file of a blob with one reference a staging file. The blob's row is durably gone when this returns.
    /// `None` when somebody else has come to share the blob, or is about to.
    fn take_back(&self, id: NodeId, state: &LiveState, body: &SealedBody) -> Result<Option<File>> {
        let (draft, file) = self.link_file(state, body)?;
        // Before the row goes: whoever refers to the digest after that finds another file.
        self.readers.lock().remove(&body.digest);
        let taken = self.staging.sync().and_then(|()| self.name_draft(id, state, draft, body, true));
        if !matches!(taken, Ok(true)) {
            self.staging.remove(draft)?;
        }
        if !taken? {
            return Ok(None);
        }
        self.make_durable()?;
        Ok(Some(file))
    }

    /// Gives the file of a blob a name in staging too.
    pub(super) fn link_file(&self, state: &LiveState, body: &SealedBody) -> Result<(crate::meta::StagingId, File)> {
        let (draft, file) = self.staging.take_back(&self.blobs, &body.digest)?;
        // A damaged body that was healed, or a departure cut short, has put another file there than the kernel has open.
        let other = match &state.kernel_file {
            Some(served) => crate::cas::stamp(served)?.inode != crate::cas::stamp(&file)?.inode,
            None => false,
        };
        if other {
            self.staging.remove(draft)?;
            return Err(Error::new(
                ErrorKind::Io,
                "write a body of which the kernel has another file open; close it first",
            ));
        }
        Ok((draft, file))
    }

    /// Makes the row name `draft`, which holds the bytes of `body`, and gives the blob up. With `alone` only if nobody
    /// else refers to it, nobody puts the same bytes just now, and no snapshot reads them; whether that was so.
    pub(super) fn name_draft(
        &self,
        id: NodeId,
        state: &LiveState,
        draft: crate::meta::StagingId,
        body: &SealedBody,
        alone: bool,
    ) -> Result<bool> {
        let kernel_blob = state.kernel_blob;
        self.change(|txn, side| {
            let wanted = side.snapshots > 0 || side.arriving.contains(&body.digest);
            if alone && (wanted || txn.blob(body.blob)?.refs > 1) {
                return Ok(false);
            }
            let row = txn.node(id)?;
            txn.update_body(id, &row.with_body(BodyRow::Draft(draft), body.size, row.attr.blocks))?;
            let served = kernel_blob.unwrap_or(body.digest);
            if side.kernel_served.get(&served) == Some(&id) {
                side.kernel_served.remove(&served);
            }
            side.drop_body(txn, row.body)?;
            Ok(true)
        })
    }

    /// Copies a shared body into a staging file of its own.
    fn copy_out_of_blob(&self, id: NodeId, state: &LiveState, body: &SealedBody, reader: &Reader) -> Result<File> {
        self.space.take(body.size)?;
        let (draft, file) = self.staging.make()?;
        let copied = match reader {
            Reader::Bytes(bytes) => file.write_all_at(bytes, 0).map_err(|e| Error::io("copy a body", e)),
            Reader::File(source) => copy_file(&source.0.read(), &file),
        };
        let named = copied
            .and_then(|()| file.sync_data().map_err(|e| Error::io("sync a copy", e)))
            .and_then(|()| self.staging.sync())
            .and_then(|()| self.name_draft(id, state, draft, body, false));
        if let Err(e) = named {
            self.staging.remove(draft)?;
            return Err(e);
        }
        Ok(file)
    }

    /// Saves a draft that is in memory, so that the row names a body with its bytes: a small one as a blob, a larger one as
    /// a staging file. `last` says that nobody has the file open any more.
    pub(super) fn save_memory(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        let Content::Memory { bytes, saved } = &state.content else { return Ok(()) };
        if *saved {
            return Ok(());
        }
        if bytes.len() > SMALL_BODY_BYTES_MAX {
            return self.stage_memory(id, state);
        }
        self.check_writable()?;
        let mut core = self.lock_core();
        self.save_small_in(&mut core, id, state, 0)
    }

    /// Stores a small draft as a blob, under the lock of the core, and counts either all versions or none.
    pub(super) fn save_small_in(
        &self,
        core: &mut Core,
        id: NodeId,
        state: &mut LiveState,
        new_versions: u64,
    ) -> Result<()> {
        let Content::Memory { bytes, saved: saved @ false } = &mut state.content else { return Ok(()) };
        let size = bytes.len() as u64;
        let digest = Digest::of(bytes);
        let pending = state.pending;
        self.change_in(core, |txn, side| {
            let row = txn.node(id)?;
            let body = if bytes.is_empty() {
                BodyRow::Empty
            } else {
                BodyRow::Blob(put_small(txn, &digest, bytes, &self.stats.small)?)
            };
            txn.update_body(id, &BodyChange { new_versions, ..written(&row, body, size, pending) })?;
            side.drop_body(txn, row.body)
        })?;
        *saved = true;
        state.pending = None;
        if new_versions > 0 {
            (state.changed, state.versions) = (false, 0);
        }
        Ok(())
    }
}

/// The change of a row to a draft that was saved, with the times of what was written to it.
fn written(row: &NodeRow, body: BodyRow, size: u64, pending: Option<Pending>) -> BodyChange {
    let change = row.with_body(body, size, blocks_of(size));
    match pending {
        Some(Pending { mtime, ctime }) => BodyChange { mtime, ctime: ctime.max(row.attr.ctime), ..change },
        None => change,
    }
}

/// A reference more on the blob of these bytes, which is made if it is not there, and healed if its bytes are missing.
pub(super) fn put_small(
    txn: &WriteTxn<'_>,
    digest: &Digest,
    bytes: &[u8],
    counted: &Bodies,
) -> Result<crate::meta::BlobId> {
    let size = bytes.len() as u64;
    let known = txn.find_blob(digest)?;
    counted.note(size, known.is_some());
    match known {
        None => txn.insert_blob(digest, size, blocks_of(size), Some(bytes)),
        Some(blob) => {
            txn.add_blob_ref(blob.id)?;
            if blob.place == Place::Database && txn.small_body(blob.id)?.is_none_or(|stored| stored != bytes) {
                txn.put_small_body(blob.id, bytes)?;
            }
            Ok(blob.id)
        }
    }
}

pub(super) fn sealed(blob: &BlobRow) -> SealedBody {
    SealedBody { blob: blob.id, digest: blob.digest, size: blob.size, place: blob.place, reader: None }
}

fn copy_out(bytes: &[u8], offset: u64, into: &mut [u8]) -> usize {
    let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
    let length = into.len().min(bytes.len() - from);
    into[..length].copy_from_slice(&bytes[from..from + length]);
    length
}

pub(super) fn read_file(file: &File, offset: u64, into: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("read a body", e)),
        }
    }
    Ok(done)
}

/// Copies a whole file, holes and all where the disk can.
pub(super) fn copy_file(from: &File, to: &File) -> Result<()> {
    let failed = |e: io::Error| Error::io("copy a body", e);
    let size = from.metadata().map_err(failed)?.len();
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let (mut read, mut written) = (0, 0);
    while read < size {
        let want = usize::try_from((size - read).min(1 << 30)).unwrap_or(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), want) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) => return Err(failed(e.into())),
        }
    }
    to.set_len(size).map_err(failed)
}

/// Refuses an end beyond the largest file.
pub(super) fn end_of(offset: u64, length: u64) -> Result<u64> {
    offset
        .checked_add(length)
        .filter(|end| *end <= FILE_BYTES_MAX)
        .ok_or_else(|| Error::new(ErrorKind::FileTooLarge, "go beyond the largest file"))
}
