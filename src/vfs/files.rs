//! Open files: open, read, write, truncate, allocate, seek, copy, fsync, close.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::body::{end_of, read_file};
use super::entries::{NewNode, child, make_node};
use super::live::{Content, FileHandle, Handle, Live, LiveState, Reader};
use super::resolve::directory;
use super::store::Vfs;
use super::types::{Allocate, HandleId, OpenMode, Opened, RenameMode, Seek, Serving};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyRow, Place};
use crate::model::{Attr, Caller, Digest, Kind, MEMORY_DRAFT_BYTES_MAX, Name, NodeId};

/// Bytes that one call of [`Vfs::copy_range`] moves at most, so that it can be interrupted in between.
const COPY_BYTES_MAX: u64 = 64 << 20;

impl Vfs {
    /// Makes a regular file and opens it, open(2) with `O_CREAT | O_EXCL`.
    ///
    /// # Errors
    /// As [`Vfs::mknod`].
    pub fn create(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: Name<'_>,
        mode: u32,
        open: OpenMode,
    ) -> Result<(Attr, Opened)> {
        self.space.take(0)?;
        let now = self.now();
        let new = NewNode { kind: Kind::File, mode, rdev: 0, target: None, version: 0 };
        // Taken while the rows are locked: nobody can have opened and closed the file before its creator has it.
        let (row, live) = self.change(|txn, side| {
            let row = make_node(txn, side, caller, parent, name, &new, now)?;
            Ok((row, self.live.acquire(row.attr.id)))
        })?;
        {
            let mut state = live.state.lock();
            state.loaded = true;
            state.changed = true;
            state.vfs_handles += 1;
        }
        let file = FileHandle { live, write: open.write, kernel: false, dropped_pages: false };
        let handle = self.handles.insert(Handle::File(Arc::new(file)));
        Ok((row.attr, Opened { handle, serving: Serving::Vfs { keep_cache: true } }))
    }

    /// Opens a regular file, open(2).
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Invalid` for other kinds, `Damaged`; with `truncate` those of a write.
    pub fn open(&self, _caller: &Caller, id: NodeId, open: OpenMode) -> Result<Opened> {
        if open.write || open.truncate {
            self.check_writable()?;
        }
        let live = self.live.acquire(id);
        let opened = {
            let mut state = live.state.lock();
            self.open_live(&live, &mut state, open)
        };
        match opened {
            Ok((serving, kernel)) => {
                let dropped_pages = matches!(serving, Serving::Vfs { keep_cache: false });
                let file = FileHandle { live, write: open.write, kernel, dropped_pages };
                Ok(Opened { handle: self.handles.insert(Handle::File(Arc::new(file))), serving })
            }
            Err(e) => {
                self.let_go(&live)?;
                Err(e)
            }
        }
    }

    /// Opens a live file under its lock: decides who serves the handle. The kernel does for a file that is only read, and
    /// for all handles that come while it does: it refuses to mix.
    fn open_live(&self, live: &Live, state: &mut LiveState, open: OpenMode) -> Result<(Serving, bool)> {
        self.check_is_file(live.id)?;
        self.load(live.id, state)?;
        if open.truncate {
            self.set_size(live.id, state, 0)?;
        }
        let kernel = state.kernel_handles > 0
            || (open.passthrough && !open.write && state.vfs_handles == 0 && self.is_kernels(live.id, state)?);
        if !kernel {
            // Forgotten when such a handle is closed or written to: until then the kernel may not have got to dropping them,
            // and another open must not tell it to keep them. Afterwards it must: dropping a page whose write is on its
            // way lets a reader fill it with the bytes from before.
            let stale = self.stale_pages.lock().contains(&live.id);
            state.pages_stale = stale;
            // Reads that the kernel answers from its pages are not seen here: when the next one is to be noted, as relatime
            // wants it after each change, the pages go. For the same reason only where nobody else has the file open.
            let unseen = open.read && state.atime_due && state.vfs_handles == 0;
            state.vfs_handles += 1;
            let keep_cache = !stale && !unseen;
            return Ok((Serving::Vfs { keep_cache }, false));
        }
        if open.write {
            if matches!(state.content, Content::Sealed(_)) {
                self.make_draft(live.id, state, 0)?;
            }
            state.kernel_writers += 1;
            self.notice_kernel_writes(state)?;
            self.stale_pages.lock().insert(live.id);
        }
        let file = match (&state.kernel_file, &mut state.content) {
            (Some(file), _) => Arc::clone(file),
            (None, Content::Staged { file, .. }) => Arc::clone(file),
            (None, Content::Sealed(Some(body))) => match self.reader(body)? {
                Reader::File(reader) => Arc::clone(&reader.0.read()),
                Reader::Bytes(_) => return Err(Error::new(ErrorKind::Io, "serve a small body from a file")),
            },
            (None, _) => return Err(Error::new(ErrorKind::Io, "serve a draft in memory from a file")),
        };
        state.kernel_handles += 1;
        state.kernel_file = Some(Arc::clone(&file));
        self.note_read(state);
        Ok((Serving::Kernel(file), true))
    }

    /// Whether the kernel may serve a file that nobody has open: its body is a file of its own, or a blob's that the
    /// kernel serves to no other node.
    fn is_kernels(&self, id: NodeId, state: &mut LiveState) -> Result<bool> {
        match &mut state.content {
            Content::Staged { .. } => Ok(true),
            Content::Sealed(Some(body)) if body.place == Place::File => {
                self.reader(body)?;
                let digest = body.digest;
                let mut core = self.lock_core();
                let free = !core.side.kernel_served.contains_key(&digest);
                if free {
                    core.side.kernel_served.insert(digest, id);
                    state.kernel_blob = Some(digest);
                }
                Ok(free)
            }
            _ => Ok(false),
        }
    }

    fn check_is_file(&self, id: NodeId) -> Result<()> {
        match self.lock_core().meta.read().node(id)?.attr.kind {
            Kind::File => Ok(()),
            Kind::Directory => Err(Error::new(ErrorKind::IsADirectory, "open a directory as a file")),
            _ => Err(Error::new(ErrorKind::Invalid, "open what is no regular file")),
        }
    }

    /// Reads into `into`; fewer bytes only at the end of the file, read(2).
    ///
    /// # Errors
    /// `BadHandle`, `Damaged`, what the disk reports.
    pub fn read(&self, handle: HandleId, offset: u64, into: &mut [u8]) -> Result<usize> {
        let file = self.handles.file(handle)?;
        let staged = {
            let mut state = file.live.state.lock();
            self.note_read(&mut state);
            match &state.content {
                Content::Staged { file, .. } => Arc::clone(file),
                _ => return self.read_content(&mut state, offset, into),
            }
        };
        read_file(&staged, offset, into)
    }

    /// Writes at an offset, pwrite(2); a gap before it reads as zeros. Fewer bytes than given when the disk takes no more. For a handle in append mode the caller gives the
    /// end of the file as offset, as the kernel does.
    ///
    /// # Errors
    /// `BadHandle` for a handle that is not open for writing, `NoSpace`, `FileTooLarge`, what the disk reports.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        let file = self.handles.file(handle)?;
        if !file.write {
            return Err(Error::new(ErrorKind::BadHandle, "write to a file open for reading"));
        }
        if data.is_empty() {
            return Ok(0);
        }
        let end = end_of(offset, data.len() as u64)?;
        self.space.take(data.len() as u64)?;
        let mut state = file.live.state.lock();
        if std::mem::take(&mut state.pages_stale) {
            self.stale_pages.lock().remove(&file.live.id);
        }
        self.make_draft(file.live.id, &mut state, end)?;
        let now = self.now();
        let mut written = data.len();
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let (from, to) = (memory_offset(offset)?, memory_offset(end)?);
                if to > bytes.len() {
                    self.space.memory((to - bytes.len()) as i64);
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(data);
                *saved = false;
            }
            Content::Staged { file, .. } => {
                written = write_file(file, offset, data)?;
            }
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "write a sealed body")),
        }
        state.touch(now);
        Ok(written)
    }

    /// Sets the size of a file by its number, truncate(2).
    pub(super) fn truncate(&self, id: NodeId, size: u64) -> Result<()> {
        let live = self.live.acquire(id);
        let outcome = {
            let mut state = live.state.lock();
            self.check_is_file(id)
                .and_then(|()| self.load(id, &mut state))
                .and_then(|()| self.set_size(id, &mut state, size))
        };
        self.let_go(&live)?;
        outcome
    }

    /// Sets the size of a live file; growth reads as zeros.
    fn set_size(&self, id: NodeId, state: &mut LiveState, size: u64) -> Result<()> {
        end_of(size, 0)?;
        let before = state.size()?;
        if size > before {
            self.space.take(0)?;
        }
        let now = self.now();
        if size == 0 && state.kernel_handles == 0 {
            self.make_empty(id, state)?;
        } else {
            self.make_draft(id, state, size)?;
        }
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let length = memory_offset(size)?;
                self.space.memory(length as i64 - bytes.len() as i64);
                bytes.resize(length, 0);
                *saved = false;
            }
            Content::Staged { file, .. } => {
                file.set_len(size).map_err(|e| Error::io("set the size of a draft", e))?;
            }
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "set the size of a sealed body")),
        }
        state.touch(now);
        Ok(())
    }

    /// Gives a body up for an empty draft, without reading or copying it.
    fn make_empty(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        match &state.content {
            Content::Memory { .. } => return Ok(()),
            Content::Sealed(None) => {}
            // The row keeps its blob until the draft is saved: a crash before that leaves the old body.
            Content::Sealed(Some(_)) => {}
            Content::Staged { .. } => {
                self.change(|txn, side| {
                    let row = txn.node(id)?;
                    let now = self.now();
                    let change = crate::meta::BodyChange {
                        size: 0,
                        blocks: 0,
                        mtime: now,
                        ctime: now,
                        new_version: false,
                        body: BodyRow::Empty,
                    };
                    txn.update_body(id, &change)?;
                    side.drop_body(txn, row.body)
                })?;
            }
        }
        state.content = Content::Memory { bytes: Vec::new(), saved: false };
        Ok(())
    }

    /// Finds data or a hole, lseek(2) with `SEEK_DATA` and `SEEK_HOLE`. The end of the file is a hole.
    ///
    /// # Errors
    /// `NoSuchAddress` at or beyond the end, and for data where none follows.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        let file = self.handles.file(handle)?;
        let mut state = file.live.state.lock();
        let size = state.size()?;
        let nowhere = || Error::new(ErrorKind::NoSuchAddress, "seek for data or a hole");
        if offset >= size {
            return Err(nowhere());
        }
        let seek_in = |file: &std::fs::File| {
            let to = match what {
                Seek::Data => rustix::fs::SeekFrom::Data(offset),
                Seek::Hole => rustix::fs::SeekFrom::Hole(offset),
            };
            // The position of these descriptors is used by nothing else: reads and writes name their offset.
            match rustix::fs::seek(file, to) {
                Ok(found) => Ok(found),
                Err(rustix::io::Errno::NXIO) => Err(nowhere()),
                Err(e) => Err(Error::io("seek for data or a hole", e.into())),
            }
        };
        let in_memory = match what {
            Seek::Data => offset,
            Seek::Hole => size,
        };
        match &mut state.content {
            Content::Staged { file, .. } => seek_in(file),
            Content::Sealed(Some(body)) => match self.reader(body)? {
                Reader::File(reader) => seek_in(&reader.0.read()),
                Reader::Bytes(_) => Ok(in_memory),
            },
            _ => Ok(in_memory),
        }
    }

    /// Allocates, punches and zeroes ranges, fallocate(2).
    ///
    /// # Errors
    /// `BadHandle`, `Invalid` for an empty range, `NoSpace`, `FileTooLarge`, what the disk reports.
    pub fn allocate(&self, handle: HandleId, how: Allocate, offset: u64, length: u64) -> Result<()> {
        let file = self.handles.file(handle)?;
        if !file.write {
            return Err(Error::new(ErrorKind::BadHandle, "allocate in a file open for reading"));
        }
        if length == 0 {
            return Err(Error::new(ErrorKind::Invalid, "allocate an empty range"));
        }
        let end = end_of(offset, length)?;
        if how != Allocate::PunchHole {
            self.space.take(length)?;
        }
        let id = file.live.id;
        let mut state = file.live.state.lock();
        let size = state.size()?;
        let grown = match how {
            Allocate::Grow | Allocate::ZeroRange => size.max(end),
            Allocate::KeepSize | Allocate::PunchHole | Allocate::ZeroRangeKeepSize => size,
        };
        // Space beyond the end can be had only in a file.
        let needs = if how == Allocate::KeepSize { grown.max(end) } else { grown };
        self.make_draft(id, &mut state, needs)?;
        let now = self.now();
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let length = memory_offset(grown)?;
                self.space.memory((length - bytes.len()) as i64);
                bytes.resize(length, 0);
                if !matches!(how, Allocate::Grow | Allocate::KeepSize) {
                    let (from, to) = (memory_offset(offset.min(grown))?, memory_offset(end.min(grown))?);
                    bytes[from..to].fill(0);
                }
                *saved = false;
            }
            Content::Staged { file, .. } => allocate_in(file, how, offset, length)?,
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "allocate in a sealed body")),
        }
        state.touch(now);
        Ok(())
    }

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

    /// Makes bytes, size, attributes and present name of a file durable, fsync(2).
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn fsync(&self, handle: HandleId) -> Result<()> {
        let file = self.handles.file(handle)?;
        let id = file.live.id;
        {
            let mut state = file.live.state.lock();
            self.save_memory(id, &mut state)?;
            self.notice_kernel_writes(&mut state)?;
            self.sync_staged(&mut state)?;
            // The times of a staged draft need no row: after a crash its file tells them.
            if !matches!(state.content, Content::Staged { .. }) && state.pending.is_some() {
                self.change(|txn, _| self.flush_times(txn, id, &state))?;
                state.pending = None;
            }
        }
        self.make_durable()
    }

    fn sync_staged(&self, state: &mut LiveState) -> Result<()> {
        if let Content::Staged { file, named, .. } = &mut state.content {
            let synced = if state.file_time_set { file.sync_all() } else { file.sync_data() };
            synced.map_err(|e| Error::io("sync a draft", e))?;
            state.file_time_set = false;
            if !*named {
                self.staging.sync()?;
                *named = true;
            }
        }
        Ok(())
    }

    /// A draft that is about to replace another file is synced first, so that a crash leaves one of the two complete.
    pub(super) fn sync_before_replacing(
        &self,
        parent: NodeId,
        name: Name<'_>,
        new_parent: NodeId,
        new_name: Name<'_>,
        mode: RenameMode,
    ) -> Result<()> {
        let moved = {
            let core = self.lock_core();
            let read = core.meta.read();
            if mode != RenameMode::Replace || read.child(new_parent, new_name)?.is_none() {
                return Ok(());
            }
            directory(&read, parent)?;
            child(&read, parent, name)?
        };
        if moved.attr.kind != Kind::File {
            return Ok(());
        }
        if let Some(live) = self.live.get(moved.attr.id) {
            let mut state = live.state.lock();
            if state.loaded {
                self.save_memory(moved.attr.id, &mut state)?;
                return self.sync_staged(&mut state);
            }
        }
        if let BodyRow::Draft(draft) = moved.body {
            match self.staging.open(draft) {
                Ok(file) => file.sync_data().map_err(|e| Error::io("sync a draft", e))?,
                // Sealed in the meantime, which includes syncing.
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            }
            self.staging.sync()?;
        }
        Ok(())
    }

    /// Closes a handle. With the last one of a file its draft is sealed, or handed to be sealed.
    ///
    /// # Errors
    /// `BadHandle`; what saving the draft reports. The draft is then kept, and saved as soon as that succeeds.
    pub fn release(&self, handle: HandleId) -> Result<()> {
        let Handle::File(file) = self.handles.remove(handle)? else {
            return Ok(());
        };
        let mut noticed = Ok(());
        {
            let mut state = file.live.state.lock();
            if file.kernel {
                noticed = self.notice_kernel_writes(&mut state);
                state.kernel_handles -= 1;
                state.kernel_writers -= u32::from(file.write);
                if state.kernel_handles == 0 {
                    state.kernel_file = None;
                    state.kernel_seen = None;
                    if let Some(digest) = state.kernel_blob.take() {
                        self.lock_core().side.kernel_served.remove(&digest);
                    }
                }
            } else {
                state.vfs_handles -= 1;
                if file.dropped_pages {
                    self.stale_pages.lock().remove(&file.live.id);
                }
            }
        }
        self.let_go(&file.live).and(noticed)
    }

    /// Ends one use of a live file. The last one saves what is not in the rows yet, and removes a node without a name. If
    /// saving fails the use goes on, so that nothing is lost, and ends when [`Vfs::save_kept`] succeeds.
    pub(super) fn let_go(&self, live: &Arc<Live>) -> Result<()> {
        self.let_go_of(live, true)
    }

    /// The same; `seal` says whether a draft that is left is to be sealed.
    pub(super) fn let_go_of(&self, live: &Arc<Live>, seal: bool) -> Result<()> {
        let id = live.id;
        let mut state = live.state.lock();
        let last = self.live.users(id) == 1;
        let mut outcome = Ok(());
        if last && state.loaded {
            // Into a staging file before the core is locked; small drafts follow under its lock.
            if let Content::Memory { bytes, .. } = &state.content {
                let large = bytes.len() > crate::model::SMALL_BODY_BYTES_MAX;
                let row = self.lock_core().meta.read().find_node(id);
                if large && !matches!(row, Ok(Some(row)) if row.attr.nlink == 0) {
                    outcome = self.save_memory(id, &mut state);
                }
            }
        }
        let mut core = self.lock_core();
        // Also when nothing was loaded: the last name may have gone in between.
        if last && outcome.is_ok() && !self.read_only {
            outcome = self.finish(&mut core, id, &mut state);
        }
        if outcome.is_err() && matches!(state.content, Content::Memory { saved: false, .. }) {
            self.kept.lock().push(Arc::clone(live));
            return outcome;
        }
        self.live.release(id);
        drop(core);
        if last {
            if let Content::Memory { bytes, .. } = &state.content {
                self.space.memory(-(bytes.len() as i64));
            }
            let staged = matches!(state.content, Content::Staged { .. });
            let generation = state.generation;
            *state = LiveState { generation, ..LiveState::default() };
            if staged && seal {
                self.sealing.push(id);
            }
        }
        outcome
    }

    /// Tries again to save the drafts that could not be saved when their files were closed.
    pub(super) fn save_kept(&self) -> Result<()> {
        let kept = std::mem::take(&mut *self.kept.lock());
        kept.iter().map(|live| self.let_go(live)).fold(Ok(()), Result::and)
    }

    /// Brings the rows of a file up to date when nobody has it open any more.
    fn finish(&self, core: &mut super::store::Core, id: NodeId, state: &mut LiveState) -> Result<()> {
        let Some(row) = core.meta.read().find_node(id)? else { return Ok(()) };
        if row.attr.nlink == 0 {
            return self.change_in(core, |txn, side| {
                side.bury(&row.attr);
                txn.delete_node(id)?;
                side.drop_body(txn, row.body)
            });
        }
        self.save_small_in(core, id, state)?;
        if state.pending.is_some() || state.atime.is_some() || state.changed {
            self.change_in(core, |txn, _| {
                self.flush_times(txn, id, state)?;
                if state.changed { txn.count_version(id) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Notes a read, as often as relatime wants it.
    fn note_read(&self, state: &mut LiveState) {
        if state.atime_due && !self.read_only {
            state.atime = Some(self.now());
            state.atime_due = false;
        }
    }

    /// The digest of a body as it is now; of a draft it is computed.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for what is no regular file, what reading reports.
    pub fn etag(&self, id: NodeId) -> Result<Digest> {
        let row = self.lock_core().meta.read().node(id)?;
        if row.attr.kind != Kind::File {
            return Err(Error::new(ErrorKind::Invalid, "hash what is no regular file"));
        }
        let live = self.live.acquire(id);
        let digest = {
            let mut state = live.state.lock();
            self.load(id, &mut state).and_then(|()| match &state.content {
                Content::Sealed(body) => Ok(body.as_ref().map_or(Digest::EMPTY, |body| body.digest)),
                Content::Memory { bytes, .. } => Ok(Digest::of(bytes)),
                Content::Staged { file, .. } => {
                    let found = crate::cas::hash_file(file, |_| true)?;
                    found.map(|(digest, _)| digest).ok_or_else(|| Error::new(ErrorKind::Io, "hash a draft"))
                }
            })
        };
        self.let_go(&live)?;
        digest
    }

    /// Saves the drafts that are in memory, so that a crash loses little; `all` also waits for files that are busy.
    pub(super) fn save_drafts(&self, all: bool) -> Result<()> {
        for live in self.live.all() {
            let state = if all { Some(live.state.lock()) } else { live.state.try_lock() };
            if let Some(mut state) = state {
                // A file whose last handle was closed in between is not loaded.
                if state.loaded && self.live.users(live.id) > 0 {
                    self.save_memory(live.id, &mut state)?;
                    if all {
                        self.sync_staged(&mut state)?;
                    }
                }
            }
        }
        if !all || self.read_only {
            return Ok(());
        }
        // And those that are closed and wait to be sealed.
        let drafts = self.lock_core().meta.read().drafts()?;
        for row in drafts {
            let BodyRow::Draft(draft) = row.body else { continue };
            match self.staging.open(draft) {
                Ok(file) => file.sync_data().map_err(|e| Error::io("sync a draft", e))?,
                // Sealed in the meantime, which includes syncing.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        self.staging.sync()
    }
}

/// Writes as much as the disk takes; an error only when that is nothing.
fn write_file(file: &std::fs::File, offset: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..], offset + done as u64) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) if done > 0 => break,
            Ok(written) if written > 0 => done += written,
            Ok(_) => return Err(Error::new(ErrorKind::Io, "write a draft")),
            Err(e) => return Err(Error::io("write a draft", e)),
        }
    }
    Ok(done)
}

fn memory_offset(offset: u64) -> Result<usize> {
    debug_assert!(offset <= MEMORY_DRAFT_BYTES_MAX as u64, "drafts beyond the limit are staged");
    usize::try_from(offset).map_err(|e| Error::new(ErrorKind::FileTooLarge, "address a draft").because(e))
}

/// fallocate(2) on a staging file.
fn allocate_in(file: &std::fs::File, how: Allocate, offset: u64, length: u64) -> Result<()> {
    let flags = match how {
        Allocate::Grow => FallocateFlags::empty(),
        Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocate::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    };
    rustix::fs::fallocate(file.as_fd(), flags, offset, length).map_err(|e| Error::io("allocate in a draft", e.into()))
}
