//! Files that may give whoever runs them the rights of somebody else: by set-ID bits or `security.capability`.
//!
//! Such rights end with a write by anybody who could not have given them, inode(7) and capabilities(7). Where the writer's
//! kernel leaves that to the filesystem it has to be looked for before the write, and a look at the rows before each write
//! would cost a good part of it. So a live file counts the reasons to believe that it has some, and only a file with reasons is
//! looked at. A reason is there before whatever gives the rights is answered; one that turns out to be none costs a look.
//!
//! Where the kernel writes by itself it takes them, too, unless another mount has given them and it has not asked for the
//! attributes since. What such a handle of an ordinary user has written shows when the file is next looked at, and the
//! rights go then, before anybody is told that they are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::live::{Live, LiveState};
use super::store::Vfs;
use super::types::HandleId;
use crate::error::Result;
use crate::model::{Attr, NodeId, perm};

/// The attribute that gives capabilities, capabilities(7).
pub const CAPABILITY: &[u8] = b"security.capability";

/// Whether a mode gives rights.
pub(super) fn has_set_id(mode: u32) -> bool {
    mode & perm::SET_ID != 0
}

/// Reasons to believe that a live file gives rights; 0 for none.
#[derive(Debug, Default)]
pub(super) struct Reasons(AtomicU64);

impl Reasons {
    /// One more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A file that may give rights.
#[derive(Debug)]
pub struct Privileged {
    live: Arc<Live>,
    reasons: u64,
}

impl Privileged {
    /// Its number.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.live.id
    }

    /// It gives none, or none any more. What has been a reason since it was found stays one.
    pub fn clear(self) {
        self.live.reasons.0.compare_exchange(self.reasons, 0, Ordering::SeqCst, Ordering::SeqCst).ok();
    }
}

impl Vfs {
    /// The file of a handle, if it may give rights.
    #[must_use]
    pub fn privileged(&self, handle: HandleId) -> Option<Privileged> {
        let file = self.handles.file(handle).ok()?;
        let reasons = file.live.reasons.0.load(Ordering::SeqCst);
        (reasons > 0).then(|| Privileged { live: Arc::clone(&file.live), reasons })
    }

    /// Takes what gives rights from a file that an ordinary user has written to in the kernel since it was last looked at. Root
    /// may have written meanwhile, which cannot be told apart.
    pub(super) fn take_privileges(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        if !state.written_by_others {
            return Ok(());
        }
        let (row, capable) = {
            let core = self.lock_core();
            let read = core.meta.read();
            (read.find_node(id)?, read.attr(id, CAPABILITY)?.is_some())
        };
        if row.is_some_and(|row| capable || has_set_id(row.attr.mode)) {
            let now = self.now();
            self.change(|txn, _| {
                txn.delete_attr(id, CAPABILITY)?;
                let attr = txn.node(id)?.attr;
                let mode = attr.mode & !perm::SET_ID;
                txn.update_attr(&Attr { mode, ctime: attr.ctime.max(now), ..attr })
            })?;
        }
        state.written_by_others = false;
        Ok(())
    }

    /// What the kernel has written so far was before any right that is given now, and takes none of them.
    pub(super) fn look_before_rights_are_given(&self, id: NodeId) -> Result<()> {
        let Some(live) = self.live.get(id) else { return Ok(()) };
        let mut state = live.state.lock();
        self.notice_kernel_writes(&mut state)?;
        self.take_privileges(id, &mut state)
    }
}
