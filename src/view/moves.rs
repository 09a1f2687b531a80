//! Renaming, also from one scope to another.
//!
//! Most renames change nothing about who may reach what. One that does happens alone: it waits until no change is under
//! way, and what views remember of places is out of date when it is done. Then everything that moves, down to the
//! last file, has to end in places from where all of its names are open to the same identities.

use super::View;
use super::gate::shown;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Caller, Kind, Name, NodeId};
use crate::policy::{Access, Admitted, Scope};
use crate::vfs::{Climb, RenameMode};

/// A directory and a name in it.
type Entry<'a> = (NodeId, Name<'a>);

impl View {
    /// As [`Vfs::rename`](crate::vfs::Vfs::rename), for the process that asks.
    ///
    /// # Errors
    /// As there. `CrossScope` between what is stored and what is computed, and for a file with several names of which
    /// only some would be open to others than before. `Denied` for a directory that may hold what is another's.
    pub fn rename(&self, caller: &Caller, from: Entry<'_>, to: Entry<'_>, mode: RenameMode) -> Result<()> {
        match (from.0.is_virtual(), to.0.is_virtual()) {
            (true, true) => {
                // What moves an item changes its file, and whoever waits for it.
                let _telling = self.vfs().changes().telling_all();
                self.look_at_tree(from.0)?;
                self.look_at_tree(to.0)?;
                return self.trees.rename(caller, from, to, mode);
            }
            (false, false) => {}
            _ => return Err(Error::new(ErrorKind::CrossScope, "rename between stored and computed files")),
        }
        let _telling = self.telling();
        self.stored(from.0, from.1)?;
        self.stored(to.0, to.1)?;
        {
            let hold = self.gate.scopes().hold();
            let (here, there) = self.scopes_of(from, to)?;
            if self.is_quiet(&here, &there) {
                let admitted = self.admit_rename(from, to, mode)?;
                let vfs = self.gate.pass(admitted, hold);
                vfs.rename(from.0, from.1, to.0, to.1, mode)?;
                // Of a view with other namespaces, the places below a directory may have changed.
                if here != there && self.leads_to_directory(from, to) {
                    self.gate.scopes().outdate();
                }
                self.gate.scopes().note_new_name(to.0, to.1);
                return Ok(());
            }
        }
        let moving = self.gate.scopes().begin_move();
        let (here, there) = self.scopes_of(from, to)?;
        let admitted = self.admit_rename(from, to, mode)?;
        let vfs = self.gate.during(admitted, &moving);
        let moved = vfs.lookup(from.0, from.1)?;
        let target = self.find(to)?;
        if [Some(moved), target].into_iter().flatten().any(|attr| attr.kind == Kind::Directory) {
            self.gate.whole(&here)?;
            self.gate.whole(&there)?;
        }
        let mut moves = vec![Move { from, node: moved, scope: there }];
        if let (Some(target), RenameMode::Exchange) = (target, mode) {
            moves.push(Move { from: to, node: target, scope: here });
        }
        self.check_links(&moves)?;
        vfs.rename(from.0, from.1, to.0, to.1, mode)
    }

    /// Where two entries stand.
    fn scopes_of(&self, from: Entry<'_>, to: Entry<'_>) -> Result<(Scope, Scope)> {
        let above = self.gate.directory(from.0)?.scope;
        let new_above = if to.0 == from.0 { above.clone() } else { self.gate.directory(to.0)?.scope };
        Ok((above.below(from.1), new_above.below(to.1)))
    }

    /// Whether whatever moves from one place to the other stays open to the same identities.
    fn is_quiet(&self, here: &Scope, there: &Scope) -> bool {
        let policy = self.gate.policy();
        here == there || (policy.is_uniform(here) && policy.is_uniform(there) && policy.is_same_for_all(here, there))
    }

    fn admit_rename(&self, from: Entry<'_>, to: Entry<'_>, mode: RenameMode) -> Result<Admitted> {
        self.gate.may_reach(from.0, from.1, Access::Write)?;
        // Who exchanges two names needs the other one to be there; who renames makes it.
        let wanted = if mode == RenameMode::Exchange { Access::Write } else { Access::Create };
        self.gate.may_reach(to.0, to.1, wanted)
    }

    fn leads_to_directory(&self, from: Entry<'_>, to: Entry<'_>) -> bool {
        [from, to]
            .into_iter()
            .any(|(parent, name)| self.vfs().lookup(parent, name).is_ok_and(|attr| attr.kind == Kind::Directory))
    }

    fn find(&self, (parent, name): Entry<'_>) -> Result<Option<Attr>> {
        match self.vfs().lookup(parent, name) {
            Ok(attr) => Ok(Some(attr)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Refuses moves after which the names of one node would not be open to the same identities.
    pub(super) fn check_links(&self, moves: &[Move<'_>]) -> Result<()> {
        for moved in moves {
            let linked = match moved.node.kind {
                Kind::Directory => self.vfs().linked_below(moved.node.id)?,
                _ if moved.node.nlink > 1 => vec![moved.node.id],
                _ => Vec::new(),
            };
            for id in linked {
                let mut scopes = Vec::new();
                for (parent, name) in self.vfs().names_of(id)? {
                    scopes.push(self.scope_after(parent, &name, moves)?);
                }
                let apart = scopes.windows(2).find(|two| !self.gate.policy().is_same_for_all(&two[0], &two[1]));
                if let Some(two) = apart {
                    let (one, other) = (shown(&two[0]), shown(&two[1]));
                    let what = format!("move a file with several names so that it stands in {one} and in {other}");
                    return Err(Error::new(ErrorKind::CrossScope, what));
                }
            }
        }
        Ok(())
    }

    /// Where an entry will stand after the moves.
    fn scope_after(&self, parent: NodeId, name: &[u8], moves: &[Move<'_>]) -> Result<Scope> {
        let mut names = vec![name.to_vec()];
        let mut at = parent;
        let mut climb = Climb::from(parent);
        let base = loop {
            let last = names.last().map(Vec::as_slice).unwrap_or_default();
            if let Some(moved) = moves.iter().find(|m| m.from.0 == at && m.from.1.as_bytes() == last) {
                names.pop();
                break moved.scope.clone();
            }
            match self.vfs().names_of(at)?.into_iter().next() {
                Some((above, name)) => {
                    climb.step(above)?;
                    names.push(name);
                    at = above;
                }
                None => break Scope::root(),
            }
        };
        names.iter().rev().try_fold(base, |scope, name| Name::new(name).map(|name| scope.below(name)))
    }
}

/// Something that is about to move.
pub(super) struct Move<'a> {
    pub(super) from: Entry<'a>,
    pub(super) node: Attr,
    /// Where it will stand.
    pub(super) scope: Scope,
}
