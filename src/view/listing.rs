//! Open directories. What the identity has no access to is left out.

use std::sync::Arc;

use parking_lot::Mutex;

use super::View;
use super::virtuals::Trees;
use crate::error::Result;
use crate::model::{Kind, Name, NodeId};
use crate::policy::Access;
use crate::vfs::{DirEntry, HandleId, Vfs};

/// An open directory of which something may have to be left out.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    id: NodeId,
    /// `.`, `..` and the only name that can be seen, as it was when the listing began; `None` where more can be.
    only: Option<Vec<(Vec<u8>, NodeId, Kind)>>,
}

impl View {
    /// As [`Vfs::opendir`](crate::vfs::Vfs::opendir).
    ///
    /// # Errors
    /// As there.
    pub fn opendir(&self, id: NodeId) -> Result<HandleId> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return self.trees.open_directory(id);
        }
        let vfs = self.vfs();
        let handle = self.gate.look_and_keep(id, |vfs| vfs.opendir(id), |handle| drop(vfs.releasedir(handle)))?;
        // Something may come to be hidden in the root at any time.
        if id == NodeId::ROOT || !self.gate.sees_everything()? {
            let open = OpenDirectory { id, only: None };
            self.directories.lock().insert(handle, Arc::new(Mutex::new(open)));
        }
        Ok(handle)
    }

    /// As [`Vfs::readdir`](crate::vfs::Vfs::readdir).
    ///
    /// # Errors
    /// As there.
    pub fn readdir(
        &self,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        if Trees::owns(handle) {
            return self.trees.read_directory(handle, offset, with_attr, emit);
        }
        let Some(open) = self.directories.lock().get(&handle).cloned() else {
            return self.vfs().readdir(handle, offset, with_attr, emit);
        };
        let mut open = open.lock();
        // Not from the listing of a directory that has become another's since it was opened.
        let vfs = self.gate.look_on(open.id)?;
        if offset == 0 || open.only.is_none() {
            open.only = self.only(&vfs, handle, open.id)?;
        }
        let Some(entries) = &open.only else {
            let policy = self.gate.policy();
            let is_root = open.id == NodeId::ROOT;
            let guarded = is_root.then(|| policy.guarded(self.gate.who(), Access::Read));
            let hidden: Vec<_> = guarded.into_iter().flatten().map(Name::as_bytes).collect();
            // In it may be directories that are shown to each in its own way.
            let is_shared = is_root || !policy.is_whole(self.gate.who(), &self.gate.directory(open.id)?.scope);
            return vfs.readdir(handle, offset, with_attr, &mut |entry| match entry.attr {
                _ if hidden.contains(&entry.name) => true,
                Some(attr) if is_shared => {
                    let attr = self.shown(*attr).unwrap_or(*attr);
                    emit(DirEntry { attr: Some(&attr), ..entry })
                }
                _ => emit(entry),
            });
        };
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, id, kind)) in entries.iter().enumerate().skip(skip) {
            let is_dot = at < 2;
            // One that has gone since is listed without attributes.
            let attr =
                if with_attr && !is_dot { vfs.getattr(*id).and_then(|attr| self.shown(attr)).ok() } else { None };
            let entry = DirEntry { next_offset: at as u64 + 1, name, id: *id, kind: *kind, attr: attr.as_ref() };
            if !emit(entry) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// As [`Vfs::fsyncdir`](crate::vfs::Vfs::fsyncdir).
    ///
    /// # Errors
    /// As there.
    pub fn fsyncdir(&self, handle: HandleId) -> Result<()> {
        if Trees::owns(handle) {
            return Ok(());
        }
        self.vfs().fsyncdir(handle)
    }

    /// As [`Vfs::releasedir`](crate::vfs::Vfs::releasedir).
    ///
    /// # Errors
    /// As there.
    pub fn releasedir(&self, handle: HandleId) -> Result<()> {
        if Trees::owns(handle) {
            return self.trees.release(handle);
        }
        self.directories.lock().remove(&handle);
        self.vfs().releasedir(handle)
    }

    /// What can be seen in an open directory if that is one name, `None` if it is more.
    #[expect(clippy::type_complexity, reason = "the entries of one listing, used at one place")]
    fn only(&self, vfs: &Vfs, handle: HandleId, id: NodeId) -> Result<Option<Vec<(Vec<u8>, NodeId, Kind)>>> {
        let scope = self.gate.directory(id)?.scope;
        let Some(only) = self.gate.policy().only_name(self.gate.who(), &scope) else { return Ok(None) };
        let mut entries = Vec::new();
        vfs.readdir(handle, 0, false, &mut |dot| {
            entries.push((dot.name.to_vec(), dot.id, dot.kind));
            entries.len() < 2
        })?;
        entries.truncate(2);
        // Asked for by its name: how many others there are must not be felt either.
        if let Ok(own) = vfs.lookup(id, Name::new(only.as_bytes())?) {
            entries.push((only.as_bytes().to_vec(), own.id, own.kind));
        }
        Ok(Some(entries))
    }
}
