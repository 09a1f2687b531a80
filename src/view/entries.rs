//! Making, linking, renaming and removing names.

use super::View;
use super::virtuals::read_only;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Caller, Kind, Name, NodeId};
use crate::vfs::{OpenMode, Opened, RenameMode};

impl View {
    /// As [`Vfs::mknod`](crate::vfs::Vfs::mknod).
    ///
    /// # Errors
    /// As there.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: Name<'_>,
        kind: Kind,
        mode: u32,
        rdev: u32,
    ) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.mknod(caller, parent, name, kind, mode, rdev)
    }

    /// As [`Vfs::mkdir`](crate::vfs::Vfs::mkdir).
    ///
    /// # Errors
    /// As there.
    pub fn mkdir(&self, caller: &Caller, parent: NodeId, name: Name<'_>, mode: u32) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.mkdir(caller, parent, name, mode)
    }

    /// As [`Vfs::symlink`](crate::vfs::Vfs::symlink).
    ///
    /// # Errors
    /// As there.
    pub fn symlink(&self, caller: &Caller, parent: NodeId, name: Name<'_>, target: &[u8]) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.symlink(caller, parent, name, target)
    }

    /// As [`Vfs::create`](crate::vfs::Vfs::create).
    ///
    /// # Errors
    /// As there.
    pub fn create(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: Name<'_>,
        mode: u32,
        open: OpenMode,
    ) -> Result<(Attr, Opened)> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.create(caller, parent, name, mode, open)
    }

    /// As [`Vfs::link`](crate::vfs::Vfs::link).
    ///
    /// # Errors
    /// As there; `CrossScope` between what is stored and what is computed.
    pub fn link(&self, id: NodeId, new_parent: NodeId, new_name: Name<'_>) -> Result<Attr> {
        let _telling = self.telling();
        if id.is_virtual() != new_parent.is_virtual() {
            return Err(Error::new(ErrorKind::CrossScope, "link between stored and computed files"));
        }
        self.stored(new_parent, new_name)?;
        self.vfs.link(id, new_parent, new_name)
    }

    /// As [`Vfs::unlink`](crate::vfs::Vfs::unlink).
    ///
    /// # Errors
    /// As there.
    pub fn unlink(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.unlink(parent, name)
    }

    /// As [`Vfs::rmdir`](crate::vfs::Vfs::rmdir).
    ///
    /// # Errors
    /// As there.
    pub fn rmdir(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.vfs.rmdir(parent, name)
    }

    /// As [`Vfs::rename`](crate::vfs::Vfs::rename), for the process that asks.
    ///
    /// # Errors
    /// As there; `CrossScope` between what is stored and what is computed.
    pub fn rename(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        (new_parent, new_name): (NodeId, Name<'_>),
        mode: RenameMode,
    ) -> Result<()> {
        let _telling = self.telling();
        match (parent.is_virtual(), new_parent.is_virtual()) {
            (true, true) => return self.trees.rename(caller, (parent, name), (new_parent, new_name), mode),
            (false, false) => {}
            _ => return Err(Error::new(ErrorKind::CrossScope, "rename between stored and computed files")),
        }
        self.stored(parent, name)?;
        self.stored(new_parent, new_name)?;
        self.vfs.rename(parent, name, new_parent, new_name, mode)
    }

    /// Refuses a name in a computed directory, and the root of a computed tree itself.
    fn stored(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        if parent.is_virtual() || (parent == NodeId::ROOT && self.trees.root(name).is_some()) {
            return Err(read_only());
        }
        Ok(())
    }
}
