//! Attributes: stat, chmod, chown, truncate, utimens, statfs.

use std::sync::Arc;

use super::live::{Content, Live, LiveState};
use super::privileges::has_set_id;
use super::store::Vfs;
use super::types::StatFs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyRow, NodeRow};
use crate::model::{Attr, AttrChange, Caller, Kind, NodeId, SetTime, Timestamp, perm};

impl Vfs {
    /// What stat(2) tells of a node, also of one without a name that is still open or known to the kernel.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn getattr(&self, id: NodeId) -> Result<Attr> {
        let (row, live) = {
            let core = self.lock_core();
            match core.meta.read().find_node(id)? {
                Some(row) => (row, self.live.get(id)),
                None => {
                    return self.unnamed.tomb(id).ok_or_else(|| Error::new(ErrorKind::NotFound, "find a node"));
                }
            }
        };
        self.with_live(row, live)
    }

    /// Changes attributes, those that are given; the change of the size comes first.
    ///
    /// # Errors
    /// `NotFound`; for the size those of a write, and `Invalid` or `IsADirectory` for what is no regular file.
    pub fn setattr(&self, _caller: &Caller, id: NodeId, change: &AttrChange) -> Result<Attr> {
        self.check_writable()?;
        if let Some(size) = change.size {
            self.truncate(id, size)?;
        }
        let live = self.live.get(id);
        let mut state = live.as_ref().map(|live| live.state.lock());
        if let Some(state) = state.as_deref_mut() {
            // Setting the time of the file would hide them.
            self.notice_kernel_writes(state)?;
            self.take_privileges(id, state)?;
        }
        let now = self.now();
        let (row, now_live) = self.change(|txn, _| {
            if let Some(state) = state.as_deref_mut() {
                self.flush_times(txn, id, state)?;
            }
            let mut row = txn.node(id)?;
            let attr = &mut row.attr;
            apply(attr, change, now);
            txn.update_attr(attr)?;
            Ok((row, self.live.get(id)))
        })?;
        if let Some(state) = state.as_deref_mut() {
            state.atime_due = true;
            state.pending = None;
            state.atime = None;
        }
        if change.mtime.is_some() {
            match (state.as_deref_mut(), row.body) {
                (Some(state), _) if matches!(state.content, Content::Staged { .. }) => {
                    state.set_file_mtime(row.attr.mtime)?;
                }
                // Closed, and not sealed yet: after a crash the file is asked.
                (_, BodyRow::Draft(draft)) => self.staging.set_modified(draft, row.attr.mtime)?,
                _ => {}
            }
        }
        drop(state);
        if let Some(live) = now_live.as_ref().filter(|_| change.mode.is_some_and(has_set_id)) {
            live.reasons.add();
        }
        self.with_live(row, now_live)
    }

    /// The room on the disk of the store; nodes are limited by it alone.
    ///
    /// # Errors
    /// What statvfs(3) reports.
    pub fn statfs(&self) -> Result<StatFs> {
        let found =
            rustix::fs::statvfs(&self.data_dir).map_err(|e| Error::io("ask for the room on the disk", e.into()))?;
        Ok(StatFs {
            block_size: u32::try_from(found.f_frsize).unwrap_or(4096),
            blocks: found.f_blocks,
            blocks_free: found.f_bfree,
            blocks_available: found.f_bavail,
            files: found.f_files,
            files_free: found.f_ffree,
        })
    }

    /// The attributes of a row, with what a live file knows beyond it. `live` was looked up under the hold of the lock
    /// under which the row was read: a file that is closed in between would be missed otherwise, and its old size told,
    /// which the kernel believes for a long time.
    pub(super) fn with_live(&self, row: NodeRow, live: Option<Arc<Live>>) -> Result<Attr> {
        if row.attr.kind != Kind::File {
            return Ok(row.attr);
        }
        let Some(live) = live else { return Ok(row.attr) };
        let mut state = live.state.lock();
        if state.loaded {
            self.notice_kernel_writes(&mut state)?;
            self.take_privileges(row.attr.id, &mut state)?;
        }
        // Read again under the file's lock: times may have moved from its state into the row in between.
        let again = self.lock_core().meta.read().find_node(row.attr.id)?;
        let mut attr = again.ok_or_else(|| Error::new(ErrorKind::NotFound, "find a node"))?.attr;
        if state.loaded {
            overlay(&mut attr, &state)?;
        }
        Ok(attr)
    }
}

/// Puts what a live file knows over the attributes of its row.
pub(super) fn overlay(attr: &mut Attr, state: &LiveState) -> Result<()> {
    if let Some(pending) = state.pending {
        attr.mtime = pending.mtime;
        attr.ctime = attr.ctime.max(pending.ctime);
    }
    if let Some(atime) = state.atime {
        attr.atime = atime;
    }
    (attr.size, attr.blocks) = state.size_and_blocks()?;
    Ok(())
}

impl LiveState {
    /// The size in bytes and the space in units of 512 bytes that the content has now.
    pub(super) fn size_and_blocks(&self) -> Result<(u64, u64)> {
        Ok(match &self.content {
            Content::Sealed(None) => (0, 0),
            Content::Sealed(Some(body)) => (body.size, self.sealed_blocks),
            Content::Memory { bytes, .. } => (bytes.len() as u64, blocks_of(bytes.len() as u64)),
            Content::Staged { file, .. } => {
                let found = rustix::fs::fstat(file).map_err(|e| Error::io("look at a staging file", e.into()))?;
                (found.st_size.cast_unsigned(), found.st_blocks.cast_unsigned())
            }
        })
    }
}

/// The space of a body without holes, in units of 512 bytes, as a filesystem with blocks of 4 KiB counts it.
pub(super) fn blocks_of(size: u64) -> u64 {
    size.div_ceil(4096) * 8
}

/// Applies a change to attributes.
fn apply(attr: &mut Attr, change: &AttrChange, now: Timestamp) {
    let time = |set: SetTime| match set {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    if let Some(mode) = change.mode {
        attr.mode = mode & perm::ALL;
    }
    if let Some(uid) = change.uid {
        attr.uid = uid;
    }
    if let Some(gid) = change.gid {
        attr.gid = gid;
    }
    if let Some(atime) = change.atime {
        attr.atime = time(atime);
    }
    if let Some(mtime) = change.mtime {
        attr.mtime = time(mtime);
    }
    attr.ctime = now;
}
