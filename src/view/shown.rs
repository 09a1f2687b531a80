//! Attributes and numbers without what is hidden.
//!
//! A directory that holds the parts of several tenants or agents looks to each as if its own part were all there is: its
//! count of links is that of what can be seen, and its times are those at which that came about.

use super::View;
use crate::error::{ErrorKind, Result};
use crate::model::{Attr, Kind, Name, NodeId};
use crate::policy::Access;
use crate::vfs::StatFs;

/// Free room is told in steps of so many bytes to those who share a store, so that it does not tell what others write.
const ROOM_STEP_BYTES: u64 = 64 << 20;

impl View {
    /// What the identity is to see of attributes it may look at.
    pub(super) fn shown(&self, mut attr: Attr) -> Result<Attr> {
        if attr.kind != Kind::Directory || self.gate.sees_everything()? {
            return Ok(attr);
        }
        let scope = self.gate.directory(attr.id)?.scope;
        let is_directory = |found: &Option<Attr>| u32::from(found.is_some_and(|attr| attr.kind == Kind::Directory));
        if let Some(only) = self.gate.policy().only_name(self.gate.who(), &scope) {
            let child = self.child(attr.id, Name::new(only.as_bytes())?)?;
            attr.nlink = 2 + is_directory(&child);
            let since = child.map_or(attr.btime, |child| child.btime.max(attr.btime));
            (attr.atime, attr.mtime, attr.ctime) = (since, since, since);
        } else if attr.id == NodeId::ROOT {
            for name in self.gate.policy().guarded(self.gate.who(), Access::Read) {
                attr.nlink -= is_directory(&self.child(attr.id, name)?);
            }
        }
        Ok(attr)
    }

    /// What the identity is to know of the room: to whom something is hidden, nothing is used, and what is free is told
    /// in steps.
    pub(super) fn shown_room(&self, room: StatFs) -> Result<StatFs> {
        if self.gate.sees_everything()? {
            return Ok(room);
        }
        let step = (ROOM_STEP_BYTES / u64::from(room.block_size.max(1))).max(1);
        let free = room.blocks_available / step * step;
        Ok(StatFs {
            block_size: room.block_size,
            blocks: free,
            blocks_free: free,
            blocks_available: free,
            // As of a filesystem without a table of nodes: there is no limit to tell.
            files: 0,
            files_free: 0,
        })
    }

    fn child(&self, parent: NodeId, name: Name<'_>) -> Result<Option<Attr>> {
        match self.vfs().lookup(parent, name) {
            Ok(attr) => Ok(Some(attr)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}
