//! What a view asks to know where a node stands, and what keeps it from deciding on a tree that changes meanwhile.
//!
//! Nothing here knows of tenants. A view takes the path of a node apart, remembers what it found, and decides. What it
//! remembers holds as long as no directory changes its place: [`Scopes`] counts the moves that could matter, and lets
//! one that does happen only while no other change is under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::live::Content;
use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::BodyRow;
use crate::model::{Kind, Name, NodeId};

/// Entries of a directory looked at under one hold of the rows.
const BATCH: usize = 256;

/// A directory, and a name in it.
type Entry = (NodeId, Box<[u8]>);

/// Where all views of a store agree on what stands where.
///
/// Changes of files hold `moves` for reading, a move that changes who may reach something holds it for writing. It is
/// taken before every other lock of the store.
#[derive(Debug, Default)]
pub struct Scopes {
    moves: RwLock<()>,
    /// Odd while something moves from one scope to another; grows with each such move.
    generation: AtomicU64,
    /// Names in the root directory that mean more than others to some view.
    guarded: RwLock<Vec<Box<[u8]>>>,
    /// The last names of nodes that are open and have none any more.
    last_names: Mutex<HashMap<NodeId, Entry>>,
}

/// A move from one scope to another, under way. Nothing else changes until it is dropped.
#[derive(Debug)]
pub struct Moving<'a> {
    scopes: &'a Scopes,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.scopes.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl Scopes {
    /// What was found out under a number is true under the same number, if that is even.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Keeps everything in its scope until the guard is dropped. Must not be taken twice by one thread.
    pub fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.moves.read()
    }

    /// Waits until no change is under way, and keeps others from beginning one.
    #[must_use]
    pub fn begin_move(&self) -> Moving<'_> {
        let alone = self.moves.write();
        self.generation.fetch_add(1, Ordering::AcqRel);
        Moving { scopes: self, _alone: alone }
    }

    /// What was found out so far may be wrong from now on. For a change that is made under [`Scopes::hold`].
    pub fn outdate(&self) {
        self.generation.fetch_add(2, Ordering::AcqRel);
    }

    /// From now on a new name like this in the root directory outdates what was found out.
    pub fn guard(&self, name: Name<'_>) {
        let mut guarded = self.guarded.write();
        if !guarded.iter().any(|known| **known == *name.as_bytes()) {
            guarded.push(name.as_bytes().into());
        }
    }

    /// A node that is open loses its last name: it stays in the scope where that was.
    pub(super) fn unnamed(&self, id: NodeId, parent: NodeId, name: Name<'_>) {
        self.last_names.lock().insert(id, (parent, name.as_bytes().into()));
    }

    /// A node without a name is gone.
    pub(super) fn gone(&self, id: NodeId) {
        self.last_names.lock().remove(&id);
    }

    /// A name was made in a directory.
    pub fn note_new_name(&self, parent: NodeId, name: Name<'_>) {
        if parent == NodeId::ROOT && self.guarded.read().iter().any(|known| **known == *name.as_bytes()) {
            self.outdate();
        }
    }
}

impl Vfs {
    /// Where the views of this store agree.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Every directory that holds a node, and its name there; the last one of a node that is open and has none any more;
    /// nothing for the root and for what is gone.
    ///
    /// # Errors
    /// What the database reports.
    pub fn names_of(&self, id: NodeId) -> Result<Vec<(NodeId, Vec<u8>)>> {
        let names = self.lock_core().meta.read().names_of(id)?;
        if !names.is_empty() {
            return Ok(names);
        }
        let last = self.scopes.last_names.lock();
        Ok(last.get(&id).map(|(parent, name)| (*parent, name.to_vec())).into_iter().collect())
    }

    /// Everything below a directory that has more than one name, each once, and is no directory.
    ///
    /// # Errors
    /// What the database reports.
    pub fn linked_below(&self, directory: NodeId) -> Result<Vec<NodeId>> {
        let mut linked = Vec::new();
        self.each_below(directory, &mut |id, kind, nlink| {
            if kind != Kind::Directory && nlink > 1 {
                linked.push(id);
            }
            Ok(())
        })?;
        linked.sort_unstable();
        linked.dedup();
        Ok(linked)
    }

    /// Everything below a directory, in no order: number, kind and number of names.
    pub(super) fn each_below(
        &self,
        directory: NodeId,
        visit: &mut dyn FnMut(NodeId, Kind, u32) -> Result<()>,
    ) -> Result<()> {
        let mut waiting = vec![directory];
        while let Some(above) = waiting.pop() {
            let mut after = Vec::new();
            loop {
                let batch = self.lock_core().meta.read().children_with_nodes(above, &after, BATCH)?;
                let Some((last, _)) = batch.last() else { break };
                after.clone_from(last);
                for (_, row) in batch {
                    if row.attr.kind == Kind::Directory {
                        waiting.push(row.attr.id);
                    }
                    visit(row.attr.id, row.attr.kind, row.attr.nlink)?;
                }
            }
        }
        Ok(())
    }

    /// The files that have the body of `id` as theirs, itself among them.
    ///
    /// # Errors
    /// `NotFound`; what the disk or the database report.
    pub fn sharing(&self, id: NodeId) -> Result<Vec<NodeId>> {
        self.forget_unnamed();
        self.seal_if_closed(id)?;
        if let Some(live) = self.live.get(id) {
            let mut state = live.state.lock();
            if state.loaded && !self.read_only {
                self.save_memory(id, &mut state)?;
            }
        }
        let left = self.left_behind(id)?;
        let core = self.lock_core();
        let read = core.meta.read();
        let row = read.node(id)?;
        if row.attr.kind != Kind::File {
            return Err(Error::new(ErrorKind::NoAttribute, "count the files that share a body"));
        }
        match row.body {
            BodyRow::Blob(blob) => {
                Ok(read.nodes_of_blob(blob)?.into_iter().filter(|other| !left.contains(other)).collect())
            }
            BodyRow::Empty | BodyRow::Draft(_) => Ok(vec![id]),
        }
    }

    /// Other files whose rows still name the body of `id`, and that have another one by now or no name any more: their last
    /// close has not been heard of yet.
    pub(super) fn left_behind(&self, id: NodeId) -> Result<Vec<NodeId>> {
        let mut left = Vec::new();
        let BodyRow::Blob(blob) = self.lock_core().meta.read().node(id)?.body else { return Ok(left) };
        for live in self.live.all() {
            let state = live.state.lock();
            let unsaved = matches!(state.content, Content::Memory { saved: false, .. });
            let row = self.lock_core().meta.read().find_node(live.id)?;
            let Some(row) = row.filter(|row| live.id != id && row.body == BodyRow::Blob(blob)) else { continue };
            if unsaved || row.attr.nlink == 0 {
                left.push(live.id);
            }
        }
        Ok(left)
    }
}
