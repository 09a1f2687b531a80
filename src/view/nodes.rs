//! Finding nodes, their attributes and extended attributes.

use super::View;
use super::virtuals::{Lasting, read_only};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, AttrChange, Caller, Kind, Name, NodeId, VPath};
use crate::vfs::{StatFs, XattrMode};

impl View {
    /// As [`Vfs::lookup`](crate::vfs::Vfs::lookup).
    ///
    /// # Errors
    /// As there.
    pub fn lookup(&self, parent: NodeId, name: Name<'_>) -> Result<Attr> {
        if parent.is_virtual() {
            self.look_at_tree(parent)?;
            return self.trees.lookup(parent, name);
        }
        if let Some(root) = self.tree_at(parent, name)? {
            return self.trees.attr(root);
        }
        let attr = self.gate.look_at_name(parent, name, |vfs| vfs.lookup(parent, name))?;
        self.gate.note(parent, name, attr.id, attr.kind == Kind::Directory)?;
        self.shown(attr)
    }

    /// What of a computed node never changes; of what is stored anything may.
    #[must_use]
    pub fn lasting(&self, id: NodeId) -> Lasting {
        if id.is_virtual() { self.trees.lasting(id) } else { Lasting::Nothing }
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
            self.gate.forget(id);
            self.vfs().forget(id);
        }
    }

    /// As [`Vfs::getattr`](crate::vfs::Vfs::getattr).
    ///
    /// # Errors
    /// As there.
    pub fn getattr(&self, id: NodeId) -> Result<Attr> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return self.trees.attr(id);
        }
        self.gate.look(id, |vfs| vfs.getattr(id)).and_then(|attr| self.shown(attr))
    }

    /// As [`Vfs::setattr`](crate::vfs::Vfs::setattr).
    ///
    /// # Errors
    /// As there.
    pub fn setattr(&self, caller: &Caller, id: NodeId, change: &AttrChange) -> Result<Attr> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        let attr = self.gate.change(id)?.setattr(caller, id, change)?;
        self.shown(attr)
    }

    /// As [`Vfs::readlink`](crate::vfs::Vfs::readlink).
    ///
    /// # Errors
    /// As there.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return self.trees.read_link(id);
        }
        self.gate.look(id, |vfs| vfs.readlink(id))
    }

    /// As [`Vfs::statfs`](crate::vfs::Vfs::statfs). Whoever shares the store with others is told only what is free.
    ///
    /// # Errors
    /// As there.
    pub fn statfs(&self) -> Result<StatFs> {
        self.shown_room(self.vfs().statfs()?)
    }

    /// As [`Vfs::getxattr`](crate::vfs::Vfs::getxattr), and `user.nexus.tenant`. `user.nexus.refs` counts the files that
    /// this identity sees, `user.nexus.why` names those.
    ///
    /// # Errors
    /// As there.
    pub fn getxattr(&self, id: NodeId, key: &[u8]) -> Result<Vec<u8>> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return Err(Error::new(ErrorKind::NoAttribute, "read an attribute of a computed file"));
        }
        match key {
            b"user.nexus.tenant" => self.gate.look(id, |vfs| {
                vfs.getattr(id)?;
                let standing = self.gate.standing(id)?;
                let tenant = self.gate.policy().tenant_of(&standing.scope);
                tenant.map(<[u8]>::to_vec).ok_or_else(|| Error::new(ErrorKind::NoAttribute, "tell whose a file is"))
            }),
            b"user.nexus.refs" if !self.gate.sees_everything()? => self.gate.look(id, |vfs| {
                let mut seen = 0_u64;
                for other in vfs.sharing(id)? {
                    seen += u64::from(other == id || self.gate.sees(other)?);
                }
                Ok(seen.to_string().into_bytes())
            }),
            b"user.nexus.why" => self.work_why(id),
            _ => self.gate.look(id, |vfs| vfs.getxattr(id, key)),
        }
    }

    /// As [`Vfs::setxattr`](crate::vfs::Vfs::setxattr). A work item can depend on what this identity sees.
    ///
    /// # Errors
    /// As there.
    pub fn setxattr(&self, id: NodeId, key: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        let sees = |path: &VPath| self.gate.sees_path(path);
        self.gate.change(id)?.put_attr(id, key, value, false, mode, &self.seen(&sees)?)
    }

    /// As [`Vfs::listxattr`](crate::vfs::Vfs::listxattr).
    ///
    /// # Errors
    /// As there.
    pub fn listxattr(&self, id: NodeId) -> Result<Vec<Vec<u8>>> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return Ok(Vec::new());
        }
        self.gate.look(id, |vfs| vfs.listxattr(id))
    }

    /// As [`Vfs::removexattr`](crate::vfs::Vfs::removexattr).
    ///
    /// # Errors
    /// As there.
    pub fn removexattr(&self, id: NodeId, key: &[u8]) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        self.gate.change(id)?.removexattr(id, key)
    }

    /// The computed tree that hangs under a name, for who may look at it.
    fn tree_at(&self, parent: NodeId, name: Name<'_>) -> Result<Option<NodeId>> {
        match self.trees.root(name) {
            Some(root) if parent == NodeId::ROOT => {
                let scope = crate::policy::Scope::root().below(name);
                self.gate.admit_place(&scope, crate::policy::Access::Read)?;
                Ok(Some(root))
            }
            _ => Ok(None),
        }
    }

    /// Admission to look at a node of a computed tree.
    pub(super) fn look_at_tree(&self, id: NodeId) -> Result<()> {
        let scope = self.trees.scope(id)?;
        self.gate
            .policy()
            .admit(self.gate.who(), &scope, crate::policy::Access::Read)
            .map_err(|_| super::gate::not_found())?;
        Ok(())
    }

    /// What a change of a node of a computed tree is answered.
    pub(super) fn change_tree(&self, id: NodeId) -> Error {
        if let Err(hidden) = self.look_at_tree(id) {
            return hidden;
        }
        let refused =
            self.trees.scope(id).and_then(|scope| self.gate.admit_place(&scope, crate::policy::Access::Write));
        refused.err().unwrap_or_else(read_only)
    }
}
