//! Making drafts durable, and hashing them: fsync, the order of a rename over a name, saving in the background.

use super::entries::child;
use super::live::{Content, LiveState};
use super::resolve::directory;
use super::store::Vfs;
use super::types::{HandleId, RenameMode};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyRow, StagingId};
use crate::model::{Digest, Kind, Name, NodeId};

impl Vfs {
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

    pub(super) fn sync_staged(&self, state: &mut LiveState) -> Result<()> {
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
            self.sync_closed(draft)?;
            self.staging.sync()?;
        }
        Ok(())
    }

    /// Syncs the bytes of a draft that nobody has open.
    fn sync_closed(&self, draft: StagingId) -> Result<()> {
        match self.staging.open(draft) {
            Ok(file) => file.sync_data().map_err(|e| Error::io("sync a draft", e)),
            // Sealed in the meantime, which includes syncing.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
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
            if let BodyRow::Draft(draft) = row.body {
                self.sync_closed(draft)?;
            }
        }
        self.staging.sync()
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
}
