//! Copying: bodies are shared, not copied.

use super::Context;
use super::walk::walk;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Kind, Name, NodeId, VPath};
use crate::vfs::Taken;

impl Context<'_> {
    /// Copies a file over `to`, or with `recursive` a tree to it; directories above `to` are made.
    pub(super) fn copy(&self, from: &VPath, to: &VPath, recursive: bool) -> Result<()> {
        let source = if recursive { self.find_itself(from)? } else { self.find(from)? };
        if source.kind != Kind::Directory {
            let target = self.make_parent(to)?;
            return self.copy_node(&source, target);
        }
        if !recursive {
            return Err(Error::new(ErrorKind::IsADirectory, "copy a directory as a file"));
        }
        let below = to.as_bytes().strip_prefix(from.as_bytes());
        if from == &VPath::root() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
            return Err(Error::new(ErrorKind::Invalid, "copy a directory into itself"));
        }
        self.make_directories(to)?;
        walk(self.view, from, source.id, true, &mut |path, attr| {
            let target = graft(&path, from, to)?;
            if attr.kind == Kind::Directory {
                return self.make_directories(&target).map(drop);
            }
            let target = self.parent(&target)?;
            match self.copy_node(attr, target) {
                // Removed since it was listed.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                copied => copied,
            }
        })
    }

    fn copy_node(&self, source: &Attr, (parent, name): (NodeId, Name<'_>)) -> Result<()> {
        match source.kind {
            Kind::File => {
                if let Ok(there) = self.view.lookup(parent, name)
                    && there.id == source.id
                {
                    return Err(Error::new(ErrorKind::Invalid, "copy a file over itself"));
                }
                self.view.copy(self.caller, source.id, (parent, name), Taken::Replace).map(drop)
            }
            Kind::Symlink => {
                let target = self.view.readlink(source.id)?;
                self.view.symlink(self.caller, parent, name, &target).map(drop)
            }
            kind => self.view.mknod(self.caller, parent, name, kind, source.mode, source.rdev).map(drop),
        }
    }
}

/// The path below `to` that `path` is below `from`.
fn graft(path: &VPath, from: &VPath, to: &VPath) -> Result<VPath> {
    let rest = path.as_bytes().strip_prefix(from.as_bytes()).unwrap_or_default();
    VPath::parse(&[to.as_bytes(), b"/", rest].concat())
}
