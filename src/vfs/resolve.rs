//! From names to nodes, and back.

use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{NodeRow, ReadTxn};
use crate::model::{Attr, Kind, Name, NodeId, VPath};

/// Steps upwards after which a walk is taken for a cycle: no path of 4,096 bytes has more.
const DEPTH_MAX: usize = crate::model::PATH_BYTES_MAX;

impl Vfs {
    /// The node that a name of a directory leads to.
    ///
    /// # Errors
    /// `NotFound` for the name or the directory, `NotADirectory`.
    pub fn lookup(&self, parent: NodeId, name: Name<'_>) -> Result<Attr> {
        let (row, live) = {
            let core = self.lock_core();
            let read = core.meta.read();
            match read.child(parent, name)? {
                Some(row) => (row, self.live.get(row.attr.id)),
                None => {
                    directory(&read, parent)?;
                    return Err(Error::new(ErrorKind::NotFound, "look up a name"));
                }
            }
        };
        self.with_live(row, live)
    }

    /// The node at a path; symbolic links are not followed.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    pub fn resolve(&self, path: &VPath) -> Result<Attr> {
        let mut found = self.getattr(NodeId::ROOT)?;
        for name in path.names() {
            if found.kind != Kind::Directory {
                return Err(Error::new(ErrorKind::NotADirectory, format!("walk {path}")));
            }
            found = self.lookup(found.id, name)?;
        }
        Ok(found)
    }

    /// Every path that leads to a node.
    ///
    /// # Errors
    /// What the database reports.
    pub fn paths_of(&self, id: NodeId) -> Result<Vec<VPath>> {
        let core = self.lock_core();
        paths_of(&core.meta.read(), id)
    }
}

/// Every path that leads to a node; names whose directory cannot be reached are left out.
pub(super) fn paths_of(read: &ReadTxn<'_>, id: NodeId) -> Result<Vec<VPath>> {
    if id == NodeId::ROOT {
        return Ok(vec![VPath::root()]);
    }
    let mut paths = Vec::new();
    for (directory, name) in read.names_of(id)? {
        let mut names = vec![name];
        let mut above = directory;
        while above != NodeId::ROOT && names.len() < DEPTH_MAX {
            let Some((next, name)) = read.names_of(above)?.into_iter().next() else { break };
            names.push(name);
            above = next;
        }
        if above == NodeId::ROOT {
            names.reverse();
            let path = names.iter().try_fold(VPath::root(), |path, name| Name::new(name).map(|n| path.join(n)))?;
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The row of a directory.
///
/// # Errors
/// `NotFound`, `NotADirectory`.
pub(super) fn directory(read: &ReadTxn<'_>, id: NodeId) -> Result<NodeRow> {
    let row = read.node(id)?;
    if row.attr.kind == Kind::Directory {
        Ok(row)
    } else {
        Err(Error::new(ErrorKind::NotADirectory, "use a node as a directory"))
    }
}

/// Whether `id` is `below` or lies above it.
pub(super) fn is_ancestor(read: &ReadTxn<'_>, id: NodeId, below: NodeId) -> Result<bool> {
    let mut at = below;
    for _ in 0..DEPTH_MAX {
        if at == id {
            return Ok(true);
        }
        match read.parent_of(at)? {
            Some(parent) => at = parent,
            None => return Ok(false),
        }
    }
    Err(Error::new(ErrorKind::Damaged, format!("the directories above node {below} form a cycle")))
}
