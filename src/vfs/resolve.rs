//! From names to nodes, and back.

use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{NodeRow, ReadTxn};
use crate::model::{Attr, Kind, Name, NodeId, VPath};

/// A walk upwards, which notices when it goes round in a cycle of damaged rows. Trees are as deep as they are: a path of
/// 4,096 bytes does not reach the bottom of those that were made with mkdirat(2). So it counts no levels but keeps one
/// directory in mind, a later one after twice as many steps, and meets it again if there is a cycle (R. P. Brent, An
/// improved Monte Carlo factorization algorithm, 1980).
#[derive(Debug)]
pub struct Climb {
    kept: NodeId,
    steps: u64,
    /// Steps until the next directory is kept.
    lap: u64,
}

impl Climb {
    /// A walk that begins at `start`.
    #[must_use]
    pub fn from(start: NodeId) -> Self {
        Self { kept: start, steps: 0, lap: 1 }
    }

    /// One step, to `above`.
    ///
    /// # Errors
    /// `Damaged` when the walk has come round.
    pub fn step(&mut self, above: NodeId) -> Result<()> {
        if above == self.kept {
            return Err(Error::new(ErrorKind::Damaged, format!("the directories above node {above} form a cycle")));
        }
        self.steps += 1;
        if self.steps == self.lap {
            *self = Self { kept: above, steps: 0, lap: self.lap * 2 };
        }
        Ok(())
    }
}

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
        let mut climb = Climb::from(directory);
        while above != NodeId::ROOT {
            let Some((next, name)) = read.names_of(above)?.into_iter().next() else { break };
            if climb.step(next).is_err() {
                break;
            }
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
    let mut climb = Climb::from(below);
    while at != id {
        let Some(above) = read.parent_of(at)? else { return Ok(false) };
        climb.step(above)?;
        at = above;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_upwards_ends_in_every_cycle_and_at_no_depth() {
        let mut deep = Climb::from(NodeId(1_000_000));
        assert!((1..1_000_000).rev().all(|id| deep.step(NodeId(id)).is_ok()));
        for (tail, cycle) in [(0, 1), (0, 2), (1, 1), (3, 5), (1000, 7), (7, 1000)] {
            let at = |step: u64| NodeId(if step < tail { step } else { tail + (step - tail) % cycle } + 1);
            let mut climb = Climb::from(at(0));
            assert!((1..10 * (tail + cycle)).any(|step| climb.step(at(step)).is_err()), "{tail}, {cycle}");
        }
    }
}
