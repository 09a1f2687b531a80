//! Opening and closing files: who serves a handle, and what the last close brings into the rows.

use std::fs::File;
use std::sync::Arc;

use super::entries::{NewNode, make_node};
use super::live::{Content, FileHandle, Handle, Live, LiveState, Reader};
use super::privileges::has_set_id;
use super::store::{Core, Vfs};
use super::types::{HandleId, OpenMode, Opened, Serving, Take};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{NodeRow, Place};
use crate::model::{Attr, Caller, Kind, MEMORY_DRAFT_BYTES_MAX, Name, NodeId, SMALL_BODY_BYTES_MAX};

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
        let (row, live, names_lost) = self.change(|txn, side| {
            let row = make_node(txn, side, caller, parent, name, &new, now)?;
            Ok((row, self.live.acquire(row.attr.id), txn.names_lost()))
        })?;
        let direct = open.direct && !open.read;
        if has_set_id(row.attr.mode) {
            live.reasons.add();
        }
        {
            let mut state = live.state.lock();
            state.loaded = true;
            state.changed = true;
            state.named_at = Some(names_lost);
            state.vfs_handles += 1;
            state.vfs_writers += u32::from(open.write);
            state.direct_writers += u32::from(direct);
        }
        let file = FileHandle { direct, ..FileHandle::new(live, caller, open) };
        let handle = self.handles.insert(Handle::File(Arc::new(file)));
        Ok((row.attr, Opened { handle, serving: Serving::Vfs { keep_cache: true, direct } }))
    }

    /// Opens a regular file, open(2). One that is opened to be written to begins a new version with its first change.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Invalid` for other kinds, `Damaged`; with `truncate` those of a write.
    pub fn open(&self, caller: &Caller, id: NodeId, open: OpenMode) -> Result<Opened> {
        self.open_taking(caller, id, open, None)
    }

    /// The same. `take`: gets the body at once if it is small, nobody else has the file open, and to have read it makes no
    /// difference to the access time; otherwise it is not called.
    ///
    /// # Errors
    /// As [`Vfs::open`].
    pub fn open_taking(&self, caller: &Caller, id: NodeId, open: OpenMode, take: Option<Take<'_>>) -> Result<Opened> {
        if open.write || open.truncate {
            self.check_writable()?;
        }
        let live = self.live.acquire(id);
        let (opened, shared) = {
            let mut state = live.state.lock();
            let opened = self.open_live(&live, &mut state, open, take);
            if matches!(opened, Ok((_, true))) && open.write && !caller.has_fsetid() {
                state.kernel_writers_of_others += 1;
            }
            (opened, state.kernel_handles > 0)
        };
        match opened {
            Ok((serving, kernel)) => {
                // Where another mount's kernel writes, they will be stale again.
                let dropped_pages = !shared && matches!(serving, Serving::Vfs { keep_cache: false, .. });
                let direct = matches!(serving, Serving::Vfs { direct: true, .. });
                let file = FileHandle { kernel, dropped_pages, direct, ..FileHandle::new(live, caller, open) };
                Ok(Opened { handle: self.handles.insert(Handle::File(Arc::new(file))), serving })
            }
            Err(e) => {
                self.let_go(&live)?;
                Err(e)
            }
        }
    }

    /// Opens a live file under its lock: decides who serves the handle. The kernel does for a file that is big already and
    /// that nobody has open, and for all handles that come while it does: it refuses to mix.
    fn open_live(
        &self,
        live: &Live,
        state: &mut LiveState,
        open: OpenMode,
        take: Option<Take<'_>>,
    ) -> Result<(Serving, bool)> {
        self.stats.live_files.note(state.loaded);
        if open.write || open.truncate {
            self.begin_version(state)?;
        }
        self.load(live.id, state)?;
        if state.set_id {
            live.reasons.add();
        }
        if open.truncate {
            self.set_size(live.id, state, 0)?;
        }
        if state.kernel_handles > 0 && !open.passthrough {
            // Another mount's kernel serves the file and this one's cannot: nothing may be cached here, because what is
            // written there is not seen.
            state.vfs_handles += 1;
            state.vfs_writers += u32::from(open.write);
            state.direct_writers += u32::from(open.write);
            if open.write {
                live.reasons.add();
            }
            return Ok((Serving::Vfs { keep_cache: false, direct: true }, false));
        }
        let Some(file) = self.kernel_file(live.id, state, open)? else {
            // Forgotten when such a handle is closed or written to: until then the kernel may not have got to dropping them,
            // and another open must not tell it to keep them. Afterwards it must: dropping a page whose write is on its
            // way lets a reader fill it with the bytes from before.
            let stale = self.changes.stale.is_marked(live.id, open.viewer);
            if stale && !state.pages_dropped.contains(&open.viewer) {
                state.pages_dropped.push(open.viewer);
            }
            // Reads that the kernel answers from its pages are not seen here: when the next one is to be noted, as relatime
            // wants it after each change, the pages go. For the same reason only where nobody has the file open to write.
            let unseen = open.read && !open.noatime && state.atime_due && state.vfs_writers == 0;
            let keep_cache = !stale && !unseen;
            self.stats.kernel_pages.note(keep_cache);
            // All or none: a page that one handle fills while another writes past it would stay as it was.
            let alone = state.vfs_handles == 0 && open.direct && open.write && !open.read;
            let direct = alone || state.direct_writers > 0;
            if direct && open.write && !open.direct {
                // Who asked expected the kernel to take rights away before each write. It does not before a direct one.
                live.reasons.add();
            }
            // Alone: then no page waits for an answer to a read, which would keep the kernel from taking the body.
            if let Some(take) = take
                && keep_cache
                && state.vfs_handles == 0
            {
                self.give(state, take);
            }
            state.vfs_handles += 1;
            state.vfs_writers += u32::from(open.write);
            state.direct_writers += u32::from(direct && open.write);
            return Ok((Serving::Vfs { keep_cache, direct }, false));
        };
        // Counted only now, when nothing can fail any more: what is counted here a close takes back.
        if open.write {
            state.kernel_writers += 1;
            self.changes.kernel_writes(live.id);
            self.changes.stale.mark(live.id, [open.viewer]);
        }
        state.kernel_handles += 1;
        state.kernel_file = Some(Arc::clone(&file));
        if !open.noatime {
            self.note_read(state);
        }
        Ok((Serving::Kernel(file), true))
    }

    /// Hands out the body, if it is small. Where it cannot be read nothing is said: whoever reads it will hear why.
    fn give(&self, state: &mut LiveState, take: Take<'_>) {
        let Ok(size @ 1..) = state.size() else { return };
        let mut bytes = [0; SMALL_BODY_BYTES_MAX];
        if let Some(room) = usize::try_from(size).ok().and_then(|size| bytes.get_mut(..size))
            && self.read_content(state, 0, room).is_ok_and(|length| length == room.len())
        {
            take(room);
        }
    }

    /// The file on which the kernel is to serve a handle that is being opened, or `None` when the filesystem serves it. A
    /// blob's file is claimed for the node, as the last step.
    fn kernel_file(&self, id: NodeId, state: &mut LiveState, open: OpenMode) -> Result<Option<Arc<File>>> {
        if let Some(file) = state.kernel_file.clone() {
            if open.write {
                if matches!(state.content, Content::Sealed(_)) {
                    self.make_draft(id, state, 0)?;
                }
                self.look_at_kernel_file(state)?;
            }
            return Ok(Some(file));
        }
        if !open.passthrough || state.vfs_handles > 0 {
            return Ok(None);
        }
        if open.write
            && matches!(&state.content, Content::Sealed(Some(body)) if body.size > MEMORY_DRAFT_BYTES_MAX as u64)
        {
            // The kernel will not ask before it writes.
            self.stage_sealed(id, state)?;
        }
        if open.write {
            self.look_at_kernel_file(state)?;
        }
        match &mut state.content {
            Content::Staged { file, .. } => Ok(Some(Arc::clone(file))),
            Content::Sealed(Some(body)) if body.place == Place::File && !open.write => {
                let Reader::File(reader) = self.reader(body)? else { return Ok(None) };
                let digest = body.digest;
                let mut core = self.lock_core();
                // The kernel serves a blob to one node only: the others could not leave it when it is written to.
                if core.side.kernel_served.contains_key(&digest) {
                    return Ok(None);
                }
                core.side.kernel_served.insert(digest, id);
                state.kernel_blob = Some(digest);
                Ok(Some(Arc::clone(&reader.0.read())))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn check_is_file(&self, id: NodeId) -> Result<()> {
        check_kind(self.lock_core().meta.read().node(id)?.attr.kind)
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
                noticed =
                    self.notice_kernel_writes(&mut state).and_then(|()| self.take_privileges(file.live.id, &mut state));
                state.kernel_handles -= 1;
                state.kernel_writers -= u32::from(file.write);
                state.kernel_writers_of_others -= u32::from(file.write && !file.has_fsetid);
                if file.write {
                    self.changes.kernel_wrote(file.live.id);
                }
                if state.kernel_handles == 0 {
                    state.kernel_file = None;
                    state.kernel_seen = None;
                    if let Some(digest) = state.kernel_blob.take() {
                        self.lock_core().side.kernel_served.remove(&digest);
                    }
                }
            } else {
                state.vfs_handles -= 1;
                state.vfs_writers -= u32::from(file.write);
                state.direct_writers -= u32::from(file.direct && file.write);
                // Who has it mapped may have filled pages between a write's being sent and done.
                let mapped = if file.write { state.vfs_handles > 0 } else { state.direct_writers > 0 };
                if file.direct && mapped {
                    self.changes.all_pages_are_stale(file.live.id);
                }
                if file.dropped_pages {
                    self.changes.stale.clear(file.live.id, file.viewer);
                }
            }
        }
        self.let_go(&file.live).and(noticed)
    }

    /// Ends one use of a live file. The last one saves what is not in the rows yet, and removes a node without a name. If
    /// saving fails the use goes on, so that nothing is lost, and ends when [`Vfs::save_kept`] succeeds.
    pub(super) fn let_go(&self, live: &Arc<Live>) -> Result<()> {
        self.let_go_of(live, true, true)
    }

    /// The same for a seal that has failed: the draft that is left is not handed to be sealed at once again.
    pub(super) fn let_go_unsealed(&self, live: &Arc<Live>) -> Result<()> {
        self.let_go_of(live, false, true)
    }

    /// The same for a node without a name, which does not wait for a kernel to forget it any more.
    pub(super) fn let_go_for_good(&self, live: &Arc<Live>) -> Result<()> {
        self.let_go_of(live, true, false)
    }

    /// `seal`: a draft that is left is to be sealed. `wait`: a node without a name waits for a kernel that holds it.
    fn let_go_of(&self, live: &Arc<Live>, seal: bool, wait: bool) -> Result<()> {
        let id = live.id;
        let mut state = live.state.lock();
        let last = self.live.users(id) == 1;
        let mut outcome = Ok(());
        if last && state.loaded {
            // Into a staging file before the core is locked; small drafts follow under its lock.
            if let Content::Memory { bytes, .. } = &state.content {
                let large = bytes.len() > SMALL_BODY_BYTES_MAX;
                // Only a large one asks whether it still has a name: a small one is saved or dropped with its row below.
                let wanted = large && {
                    let row = self.lock_core().meta.read().find_node(id);
                    !matches!(row, Ok(Some(row)) if row.attr.nlink == 0)
                };
                if wanted {
                    outcome = self.save_memory(id, &mut state);
                }
            }
        }
        let mut core = self.lock_core();
        // Also when nothing was loaded: the last name may have gone in between.
        if last && outcome.is_ok() && !self.read_only {
            match self.finish(&mut core, live, &mut state, wait) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(e) => outcome = Err(e),
            }
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

    /// Brings the rows of a file up to date when nobody has it open any more. Whether this use of it ends: one that has no
    /// name may `wait`.
    fn finish(&self, core: &mut Core, live: &Arc<Live>, state: &mut LiveState, wait: bool) -> Result<bool> {
        let id = live.id;
        // As long as no file has lost a name this one has those it had.
        if state.named_at != Some(core.meta.names_lost()) {
            let Some(row) = core.meta.read().find_node(id)? else { return Ok(true) };
            // A count that is wrong takes no file from its name.
            if row.attr.nlink == 0 && core.meta.read().names_of(id)?.is_empty() {
                return self.finish_unnamed(core, live, &row, wait);
            }
        }
        self.save_small_in(core, id, state, state.uncounted())?;
        let versions = state.uncounted();
        if state.pending.is_some() || state.atime.is_some() || versions > 0 {
            self.change_in(core, |txn, _| {
                self.flush_times(txn, id, state)?;
                if versions > 0 { txn.count_versions(id, versions) } else { Ok(()) }
            })?;
        }
        Ok(true)
    }

    /// Removes a node without a name, unless it may `wait` for a kernel that holds it. As [`Vfs::finish`] otherwise.
    fn finish_unnamed(&self, core: &mut Core, live: &Arc<Live>, row: &NodeRow, wait: bool) -> Result<bool> {
        let held = self.changes.holds(live.id);
        if wait && held && self.unnamed.wait_closed(live) {
            return Ok(false);
        }
        if held {
            self.unnamed.bury(&row.attr);
        }
        self.scopes.gone(live.id);
        self.change_in(core, |txn, side| {
            txn.delete_node(live.id)?;
            side.drop_body(txn, row.body)
        })?;
        Ok(true)
    }
}

/// # Errors
/// `IsADirectory`, or `Invalid`, for what has no body.
pub(super) fn check_kind(kind: Kind) -> Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(Error::new(ErrorKind::IsADirectory, "open a directory as a file")),
        _ => Err(Error::new(ErrorKind::Invalid, "open what is no regular file")),
    }
}
