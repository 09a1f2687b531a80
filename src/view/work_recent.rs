//! Links of `/.work` that were looked at just now.
//!
//! A program that lists a directory asks for each link some four times: lstat(2) looks it up and asks for its attributes,
//! readlink(2) looks it up again. As long as no row of the store has changed since the link was read, it is what it was;
//! the first change of any row makes all of them forgotten, so nothing that is given out is ever old.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::meta::WorkList;
use crate::model::NodeId;
use crate::work::WorkEntry;

/// Links that are remembered: more than one answer to a listing has.
const LINKS_MAX: usize = 2048;

/// The links, as of one moment.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What the store said of its changes when they were read.
    changes: u64,
    links: HashMap<(NodeId, WorkList), WorkEntry>,
}

impl Recent {
    /// A link, if nothing has changed since it was read.
    pub(super) fn get(&self, changes: u64, list: WorkList, node: NodeId) -> Option<WorkEntry> {
        let state = self.0.lock();
        if state.changes == changes { state.links.get(&(node, list)).cloned() } else { None }
    }

    /// Remembers links as they are read.
    pub(super) fn keep<'a>(&self, changes: u64, list: WorkList, links: impl Iterator<Item = &'a WorkEntry>) {
        let mut state = self.0.lock();
        if state.changes > changes {
            return;
        }
        if state.changes < changes || state.links.len() >= LINKS_MAX {
            state.links.clear();
        }
        state.changes = changes;
        state.links.extend(links.map(|link| ((link.node, list), link.clone())));
    }
}
