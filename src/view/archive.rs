//! The one way into `/archives`: a finished tree moves there as a whole, and does not change any more.

use super::View;
use super::gate::shown;
use super::moves::Move;
use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, Kind, Name, NodeId, VPath};
use crate::policy::{ARCHIVES, Access, Scope};
use crate::vfs::RenameMode;

/// Permissions of directories that are made on the way.
const MODE: u32 = 0o755;

impl View {
    /// Moves the tree at `source` to `target`, or under its own name into the archive of its tenant, and returns where it is
    /// now. It moves in one transaction, which is durable on return. Directories on the way are made.
    ///
    /// # Errors
    /// `InUse` while something in the tree is being written; `Exists`; `Invalid` for a target outside of `/archives/TENANT/`
    /// and for a tree of no tenant without a target; `CrossScope` for a file that has a name elsewhere, too; as rename for
    /// the rest.
    pub fn archive(&self, caller: &Caller, source: &VPath, target: Option<&VPath>) -> Result<VPath> {
        let _telling = self.telling();
        let target = match target {
            Some(target) => target.clone(),
            None => self.archive_of(source)?,
        };
        let there = Scope::of(&target);
        if there.namespace() != Some(ARCHIVES.as_bytes()) || there.third().is_none() {
            let what = format!("archive to {target}: an archive is a name below /{ARCHIVES}/TENANT");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let (Some((above, name)), Some((new_above, new_name))) = (source.split_last(), target.split_last()) else {
            return Err(Error::new(ErrorKind::Invalid, "archive the root directory"));
        };
        let parent = self.resolve(&above)?.id;
        if parent.is_virtual() || (parent == NodeId::ROOT && self.trees.root(name).is_some()) {
            return Err(Error::new(ErrorKind::NotPermitted, format!("archive {source}, which is computed")));
        }
        // Before everybody is kept waiting.
        self.vfs().finish_bodies(self.lookup(parent, name)?.id)?;

        let scopes = self.gate.scopes();
        let moving = scopes.begin_move();
        self.gate.may_reach(parent, name, Access::Write)?;
        let admitted = self.gate.admit_place(&there, Access::Archive)?;
        let vfs = self.gate.during(admitted, &moving);
        let moved = vfs.lookup(parent, name)?;
        let here = self.gate.directory(parent)?.scope.below(name);
        if moved.kind == Kind::Directory {
            self.gate.whole(&here)?;
        }
        vfs.check_finished(moved.id)?;
        if self.is_taken(&target)? {
            return Err(Error::new(ErrorKind::Exists, format!("archive to {target}")));
        }
        self.check_links(&[Move { from: (parent, name), node: moved, scope: there.clone() }]).map_err(|e| {
            advice::with_hint(&e, "remove the names outside of the tree, or copy the tree and archive the copy")
        })?;
        let mut new_parent = NodeId::ROOT;
        for name in new_above.names() {
            new_parent = match vfs.mkdir(caller, new_parent, name, MODE) {
                Err(e) if e.kind() == ErrorKind::Exists => vfs.lookup(new_parent, name)?.id,
                made => made?.id,
            };
            scopes.note_new_name(NodeId::ROOT, name);
        }
        vfs.rename(parent, name, new_parent, new_name, RenameMode::NoReplace)?;
        drop(moving);
        self.vfs().sync()?;
        Ok(target)
    }

    /// Where a tree goes when nothing else is said.
    fn archive_of(&self, source: &VPath) -> Result<VPath> {
        let scope = Scope::of(source);
        let own = self.principal().tenant().map(str::as_bytes);
        let Some(tenant) = self.gate.policy().tenant_of(&scope).or(own) else {
            return Err(advice::refusal(
                ErrorKind::Invalid,
                format!("archive {source}"),
                format!("{} belongs to no tenant", shown(&scope)),
                format!("say where it is to go: --as /{ARCHIVES}/TENANT/NAME"),
            ));
        };
        let Some((_, name)) = source.split_last() else {
            return Err(Error::new(ErrorKind::Invalid, "archive the root directory"));
        };
        Ok(VPath::root().join(Name::new(ARCHIVES.as_bytes())?).join(Name::new(tenant)?).join(name))
    }

    /// Whether a path leads to something, whoever may see it.
    fn is_taken(&self, path: &VPath) -> Result<bool> {
        match self.vfs().resolve(path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}
