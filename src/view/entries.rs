//! Making, linking and removing names.

use super::View;
use super::gate::shown;
use super::virtuals::read_only;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Caller, Kind, Name, NodeId};
use crate::policy::{Access, Scope};
use crate::vfs::{OpenMode, Opened};

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
        let attr = self.gate.make(parent, name)?.mknod(caller, parent, name, kind, mode, rdev)?;
        self.made(parent, name, attr)
    }

    /// As [`Vfs::mkdir`](crate::vfs::Vfs::mkdir).
    ///
    /// # Errors
    /// As there.
    pub fn mkdir(&self, caller: &Caller, parent: NodeId, name: Name<'_>, mode: u32) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        let attr = self.gate.make(parent, name)?.mkdir(caller, parent, name, mode)?;
        self.made(parent, name, attr)
    }

    /// As [`Vfs::symlink`](crate::vfs::Vfs::symlink).
    ///
    /// # Errors
    /// As there.
    pub fn symlink(&self, caller: &Caller, parent: NodeId, name: Name<'_>, target: &[u8]) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        let attr = self.gate.make(parent, name)?.symlink(caller, parent, name, target)?;
        self.made(parent, name, attr)
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
        let open = OpenMode { viewer: self.origin, ..open };
        let (attr, opened) = self.gate.make(parent, name)?.create(caller, parent, name, mode, open)?;
        match self.made(parent, name, attr) {
            Ok(attr) => Ok((attr, opened)),
            Err(e) => {
                self.vfs().release(opened.handle)?;
                Err(e)
            }
        }
    }

    /// As [`Vfs::link`](crate::vfs::Vfs::link).
    ///
    /// # Errors
    /// As there; `CrossScope` between places that are not open to the same identities.
    pub fn link(&self, id: NodeId, new_parent: NodeId, new_name: Name<'_>) -> Result<Attr> {
        let _telling = self.telling();
        if id.is_virtual() != new_parent.is_virtual() {
            return Err(Error::new(ErrorKind::CrossScope, "link between stored and computed files"));
        }
        self.stored(new_parent, new_name)?;
        let vfs = self.gate.make(new_parent, new_name)?;
        self.gate.may_read(id)?;
        // Of a node with two names it must not depend on the name who may reach it.
        let (here, there) = (self.gate.standing(id)?.scope, self.gate.directory(new_parent)?.scope.below(new_name));
        if !self.gate.policy().is_same_for_all(&here, &there) {
            let what = format!("link what stands in {} into {}", shown(&here), shown(&there));
            return Err(Error::new(ErrorKind::CrossScope, what));
        }
        let attr = vfs.link(id, new_parent, new_name)?;
        self.made(new_parent, new_name, attr)
    }

    /// As [`Vfs::unlink`](crate::vfs::Vfs::unlink).
    ///
    /// # Errors
    /// As there.
    pub fn unlink(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.gate.remove(parent, name, false)?.unlink(parent, name)
    }

    /// As [`Vfs::rmdir`](crate::vfs::Vfs::rmdir).
    ///
    /// # Errors
    /// As there.
    pub fn rmdir(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        self.gate.remove(parent, name, true)?.rmdir(parent, name)
    }

    /// What a name in a computed directory, and the root of a computed tree itself, are answered.
    pub(super) fn stored(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        if parent.is_virtual() {
            return Err(self.change_tree(parent));
        }
        match self.trees.root(name) {
            Some(_) if parent == NodeId::ROOT => {
                let scope = Scope::root().below(name);
                self.gate.admit_place(&scope, Access::Create)?;
                Err(read_only())
            }
            _ => Ok(()),
        }
    }

    /// A new name is there: who relies on what the root directory holds looks again.
    pub(super) fn made(&self, parent: NodeId, name: Name<'_>, attr: Attr) -> Result<Attr> {
        self.gate.scopes().note_new_name(parent, name);
        self.gate.note(parent, name, attr.id, attr.kind == Kind::Directory)?;
        Ok(attr)
    }
}
