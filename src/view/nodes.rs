//! Finding nodes, their attributes and extended attributes.

use super::View;
use super::virtuals::read_only;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, AttrChange, Caller, Name, NodeId, VPath};
use crate::vfs::{StatFs, XattrMode};

impl View {
    /// As [`Vfs::lookup`](crate::vfs::Vfs::lookup).
    ///
    /// # Errors
    /// As there.
    pub fn lookup(&self, parent: NodeId, name: Name<'_>) -> Result<Attr> {
        if parent.is_virtual() {
            return self.trees.lookup(parent, name);
        }
        if parent == NodeId::ROOT
            && let Some(root) = self.trees.root(name)
        {
            return self.trees.attr(root);
        }
        self.vfs.lookup(parent, name)
    }

    /// As [`Vfs::resolve`](crate::vfs::Vfs::resolve).
    ///
    /// # Errors
    /// As there.
    pub fn resolve(&self, path: &VPath) -> Result<Attr> {
        let mut found = self.getattr(NodeId::ROOT)?;
        for name in path.names() {
            found = self.lookup(found.id, name)?;
        }
        Ok(found)
    }

    /// As [`Vfs::forget`](crate::vfs::Vfs::forget).
    pub fn forget(&self, id: NodeId) {
        if !id.is_virtual() {
            self.vfs.forget(id);
        }
    }

    /// As [`Vfs::getattr`](crate::vfs::Vfs::getattr).
    ///
    /// # Errors
    /// As there.
    pub fn getattr(&self, id: NodeId) -> Result<Attr> {
        if id.is_virtual() {
            return self.trees.attr(id);
        }
        self.vfs.getattr(id)
    }

    /// As [`Vfs::setattr`](crate::vfs::Vfs::setattr).
    ///
    /// # Errors
    /// As there.
    pub fn setattr(&self, caller: &Caller, id: NodeId, change: &AttrChange) -> Result<Attr> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(read_only());
        }
        self.vfs.setattr(caller, id, change)
    }

    /// As [`Vfs::readlink`](crate::vfs::Vfs::readlink).
    ///
    /// # Errors
    /// As there.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>> {
        if id.is_virtual() {
            return self.trees.read_link(id);
        }
        self.vfs.readlink(id)
    }

    /// As [`Vfs::statfs`](crate::vfs::Vfs::statfs).
    ///
    /// # Errors
    /// As there.
    pub fn statfs(&self) -> Result<StatFs> {
        self.vfs.statfs()
    }

    /// As [`Vfs::getxattr`](crate::vfs::Vfs::getxattr).
    ///
    /// # Errors
    /// As there.
    pub fn getxattr(&self, id: NodeId, key: &[u8]) -> Result<Vec<u8>> {
        if id.is_virtual() {
            return Err(Error::new(ErrorKind::NoAttribute, "read an attribute of a computed file"));
        }
        self.vfs.getxattr(id, key)
    }

    /// As [`Vfs::setxattr`](crate::vfs::Vfs::setxattr).
    ///
    /// # Errors
    /// As there.
    pub fn setxattr(&self, id: NodeId, key: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(read_only());
        }
        self.vfs.setxattr(id, key, value, mode)
    }

    /// As [`Vfs::listxattr`](crate::vfs::Vfs::listxattr).
    ///
    /// # Errors
    /// As there.
    pub fn listxattr(&self, id: NodeId) -> Result<Vec<Vec<u8>>> {
        if id.is_virtual() {
            return Ok(Vec::new());
        }
        self.vfs.listxattr(id)
    }

    /// As [`Vfs::removexattr`](crate::vfs::Vfs::removexattr).
    ///
    /// # Errors
    /// As there.
    pub fn removexattr(&self, id: NodeId, key: &[u8]) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(read_only());
        }
        self.vfs.removexattr(id, key)
    }
}
