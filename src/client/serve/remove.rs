//! Removing directories.

use super::Context;
use super::walk::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Kind, Name, NodeId, VPath};

/// Entries removed before their directory is read anew.
const BATCH: usize = 512;

impl Context<'_> {
    pub(super) fn remove_directory(&self, path: &VPath, recursive: bool) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let found = self.view.lookup(parent, name)?;
        if found.kind != Kind::Directory {
            return Err(Error::new(ErrorKind::NotADirectory, "remove a file as a directory"));
        }
        if recursive {
            self.empty(found.id)?;
        }
        self.view.rmdir(parent, name)
    }

    /// Removes all that a directory holds. What comes while this goes on makes the removal of the directory fail.
    fn empty(&self, top: NodeId) -> Result<()> {
        // Directories that are being emptied, each with its name in the one before; not by recursion, because a path can
        // have two thousand components.
        let mut open: Vec<(NodeId, Vec<u8>)> = vec![(top, Vec::new())];
        while let Some((id, _)) = open.last() {
            let id = *id;
            if let Some(below) = self.remove_files(id)? {
                open.push(below);
                continue;
            }
            let Some((_, name)) = open.pop() else { break };
            let Some((parent, _)) = open.last() else { break };
            gone_is_fine(self.view.rmdir(*parent, Name::new(&name)?))?;
        }
        Ok(())
    }

    /// Removes the files of a directory until a directory comes up, which is the result.
    fn remove_files(&self, id: NodeId) -> Result<Option<(NodeId, Vec<u8>)>> {
        loop {
            let mut files = Vec::new();
            let mut directory = Directory::open(self.view, id)?;
            while files.len() < BATCH {
                let Some(found) = directory.next()? else { break };
                if found.attr.kind == Kind::Directory {
                    if files.is_empty() {
                        return Ok(Some((found.attr.id, found.name)));
                    }
                    break;
                }
                files.push(found.name);
            }
            drop(directory);
            if files.is_empty() {
                return Ok(None);
            }
            for name in files {
                gone_is_fine(self.view.unlink(id, Name::new(&name)?))?;
            }
        }
    }
}

fn gone_is_fine(removed: Result<()>) -> Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
