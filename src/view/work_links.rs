//! The links of one directory of `/.work`, as whoever lists it is given them.
//!
//! They are read from the queue as they are asked for, so that the first are there at once, and a listing that is given up
//! costs no more than what was taken from it. Of what was given out long ago no more is kept than where in the queue it
//! stood; who goes back behind that reads on from there.
//!
//! An item that stays where it is while others come and go is listed once by whoever reads to the end without long pauses
//! (`fuse/listings.rs`). One that leaves and comes back with another priority is a new name, and may be left out, but is never
//! listed twice.

use std::collections::{HashSet, VecDeque};

use super::virtuals::{Listing, TreeEntry};
use super::work_tree::{WorkTree, link_attr, place_of};
use crate::error::Result;
use crate::meta::{WorkKey, WorkList};
use crate::model::{Attr, Kind, NodeId};

/// Links that are kept as they were given out: more than the kernel takes in one answer to most programs, because it asks
/// once more for those that did not fit.
const KEPT_MAX: usize = 1024;

/// The links of a directory that is open.
pub(super) struct Links {
    tree: WorkTree,
    list: WorkList,
    /// Where in the queue each stood that was given out.
    keys: Vec<WorkKey>,
    /// Their files.
    listed: HashSet<NodeId>,
    /// The last of them.
    kept: VecDeque<(TreeEntry, Attr)>,
    /// Behind what to read on; `None` at the end.
    next: Option<WorkKey>,
}

impl Links {
    /// A listing from the beginning.
    pub(super) fn new(tree: WorkTree, list: WorkList) -> Self {
        let (keys, listed, kept) = (Vec::new(), HashSet::new(), VecDeque::new());
        Self { tree, list, keys, listed, kept, next: Some(WorkKey::START) }
    }

    /// The position of the first that is kept.
    fn kept_from(&self) -> usize {
        self.keys.len() - self.kept.len()
    }

    /// Reads on from a position: what comes behind may be others than were given out before.
    fn go_back(&mut self, position: usize) {
        self.keys.truncate(position);
        self.listed = self.keys.iter().map(|key| NodeId(key.node)).collect();
        self.kept.clear();
        self.next = Some(self.keys.last().copied().unwrap_or(WorkKey::START));
    }

    /// Reads some more; whether there may be any.
    fn read_on(&mut self) -> Result<bool> {
        let Some(after) = self.next else { return Ok(false) };
        let found = self.tree.entries(self.list, after)?;
        self.next = found.next;
        for entry in found.entries {
            if !self.listed.insert(entry.node) {
                continue;
            }
            let (place, attr) = (place_of(self.list, &entry), link_attr(&entry));
            self.keys.push(entry.key);
            self.kept.push_back((TreeEntry { place, name: entry.name, kind: Kind::Symlink }, attr));
        }
        while self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
        Ok(true)
    }

    fn kept(&self, position: usize) -> Option<&(TreeEntry, Attr)> {
        self.kept.get(position.checked_sub(self.kept_from())?)
    }
}

impl Listing for Links {
    fn entry(&mut self, position: u64) -> Result<Option<TreeEntry>> {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if position < self.kept_from() {
            self.go_back(position);
        }
        while position >= self.keys.len() {
            if !self.read_on()? {
                return Ok(None);
            }
        }
        Ok(self.kept(position).map(|(entry, _)| entry.clone()))
    }

    fn attr(&self, position: u64) -> Option<Attr> {
        self.kept(usize::try_from(position).ok()?).map(|(_, attr)| *attr)
    }

    fn rewind(&mut self) {
        self.go_back(0);
    }
}
