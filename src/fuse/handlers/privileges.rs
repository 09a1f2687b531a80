//! What a change by somebody without `CAP_FSETID` takes from a file: set-user-ID and set-group-ID, and on a write
//! `security.capability`.
//!
//! Under `FUSE_HANDLE_KILLPRIV_V2` the kernel leaves that to the filesystem, and asks in four ways: before a write through its
//! page cache, an allocation and a copy by a SETATTR that changes nothing, of which it takes the new mode; on a change of size,
//! in that SETATTR; on `O_TRUNC` in the OPEN; and before a write past its page cache only by a flag of that WRITE
//! (`FUSE_WRITE_KILL_SUIDGID`), whether there is anything to take or not. In the last two it goes on believing the old mode, and
//! would run the changed file with the old rights, so it is told. The flag is on every write of an ordinary user: it is
//! heeded on all of them, because a mode that another mount has just set may not have been heard of by this kernel.

use log::warn;

use super::{Handlers, Outcome};
use crate::error::ErrorKind;
use crate::fuse::notice;
use crate::model::{AttrChange, Caller, Kind, NodeId, perm};
use crate::vfs::{CAPABILITY, HandleId};

impl Handlers {
    /// The permissions without set-user-ID and set-group-ID, when one of them has to go. Linux keeps set-group-ID where the
    /// group may not execute, for members of it (chown(2), inode(7)); membership by a supplementary group is not known
    /// here, and the bit then goes.
    pub(super) fn without_set_id(&self, caller: &Caller, node: NodeId) -> Outcome<Option<u32>> {
        let attr = self.view.getattr(node)?;
        if attr.kind == Kind::Directory {
            return Ok(None);
        }
        let mut mode = attr.mode & !perm::SET_UID;
        if mode & perm::GROUP_EXEC != 0 || (!caller.has_fsetid() && caller.gid != attr.gid) {
            mode &= !perm::SET_GID;
        }
        Ok((mode != attr.mode).then_some(mode))
    }

    /// Drops them where the kernel does not expect it.
    pub(super) fn drop_set_id(&self, caller: &Caller, node: NodeId) -> Outcome<()> {
        if let Some(mode) = self.without_set_id(caller, node)? {
            self.view.setattr(caller, node, &AttrChange { mode: Some(mode), ..AttrChange::default() })?;
            // Here and not by the thread of `courier`: this kind of notice waits for nothing that a request holds.
            if let Err(e) = notice::attributes(&self.notices, node) {
                warn!(
                    "tell the kernel that node {node} has lost its set-ID bits: {e}; it may run it with them for a while"
                );
            }
        }
        Ok(())
    }

    /// Before the file of a handle is written to by somebody without privilege; costs no look at the rows where it can have
    /// nothing to lose.
    pub(super) fn drop_privileges(&self, caller: &Caller, handle: HandleId) -> Outcome<()> {
        let Some(privileged) = self.view.vfs().privileged(handle) else { return Ok(()) };
        let node = privileged.node();
        self.drop_set_id(caller, node)?;
        match self.view.removexattr(node, CAPABILITY) {
            Err(e) if e.kind() == ErrorKind::NoAttribute => {}
            removed => removed?,
        }
        // A set-group-ID bit that stays for this caller need not stay for the next.
        if self.view.getattr(node)?.mode & perm::SET_ID == 0 {
            privileged.clear();
        }
        Ok(())
    }
}
