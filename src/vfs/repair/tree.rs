//! Names: every node that was not removed is reached from the root, and a directory once.

use std::collections::{HashMap, HashSet};

use super::Repair;
use crate::error::Result;
use crate::meta::{BodyRow, NodeRow};
use crate::model::{Attr, Caller, Kind, Name, NodeId};
use crate::vfs::entries::DIRECTORY_BYTES;

const LOST_FOUND: &str = "lost+found";

/// All names of directories, and how far the walk over them has come.
struct Walk {
    below: HashMap<NodeId, Vec<(Vec<u8>, NodeId)>>,
    above: HashMap<NodeId, NodeId>,
    reached: HashSet<NodeId>,
    /// Names that lead to a directory which is reached by another name.
    second: Vec<(NodeId, Vec<u8>, NodeId)>,
}

impl Repair<'_> {
    pub(super) fn mend_tree(&mut self) -> Result<()> {
        self.mend_root()?;
        let removed = self.txn.mend_names()?;
        self.told.extend(removed);
        let mut walk = Walk::new(self.txn.directory_names()?);
        walk.from(NodeId::ROOT);
        let mut lost: Vec<_> = self.txn.directories()?.into_iter().filter(|id| !walk.reached.contains(id)).collect();
        let mut tops = Vec::new();
        // First those without any name, so that what hangs below them keeps its place; what is left then are cycles.
        let nameless: Vec<_> = lost.iter().copied().filter(|id| !walk.above.contains_key(id)).collect();
        for id in nameless {
            walk.from(id);
            tops.push(id);
        }
        lost.retain(|id| !walk.reached.contains(id));
        for id in lost {
            if !walk.reached.contains(&id) {
                let top = walk.on_cycle(id);
                walk.from(top);
                tops.push(top);
            }
        }
        for (parent, name, id) in std::mem::take(&mut walk.second) {
            let name = Name::new(&name)?;
            self.txn.delete_entry(parent, name)?;
            self.tell(format!("the name {name} of directory {id} in directory {parent} is removed: it has another"));
        }
        for id in tops {
            self.adopt(id)?;
        }
        for id in self.txn.nameless()? {
            self.adopt(id)?;
        }
        Ok(())
    }

    fn mend_root(&mut self) -> Result<()> {
        let found = self.txn.find_node(NodeId::ROOT)?;
        if found.is_some_and(|row| row.attr.kind == Kind::Directory) {
            return Ok(());
        }
        if let Some(row) = found {
            // Nothing else has number 1: its kind is what is wrong.
            self.txn.update_attr(&Attr { kind: Kind::Directory, ..row.attr })?;
            self.tell("the root is a directory again".into());
        } else {
            self.make_directory(NodeId::ROOT, self.owner, 0o755)?;
            self.tell("the root directory is made anew".into());
        }
        Ok(())
    }

    /// Gives a node without a name one in `/lost+found`.
    pub(super) fn adopt(&mut self, id: NodeId) -> Result<()> {
        let home = self.lost_found()?;
        let mut name = format!("#{id}");
        let mut tries = 1;
        while self.txn.child(home, Name::new(name.as_bytes())?)?.is_some() {
            name = format!("#{id}.{tries}");
            tries += 1;
        }
        self.txn.insert_entry(home, Name::new(name.as_bytes())?, id)?;
        self.tell(format!("node {id}, which no name led to, is {}", super::super::check::paths(self.txn, id)));
        Ok(())
    }

    /// The directory for what is found, made where there is none.
    fn lost_found(&mut self) -> Result<NodeId> {
        let mut name = LOST_FOUND.to_owned();
        let mut tries = 1;
        loop {
            match self.txn.child(NodeId::ROOT, Name::new(name.as_bytes())?)? {
                Some(row) if row.attr.kind == Kind::Directory => return Ok(row.attr.id),
                Some(_) => {
                    name = format!("{LOST_FOUND}.{tries}");
                    tries += 1;
                }
                None => break,
            }
        }
        let id = self.txn.take_node_number()?;
        self.make_directory(id, Caller { uid: 0, gid: 0 }, 0o700)?;
        self.txn.insert_entry(NodeId::ROOT, Name::new(name.as_bytes())?, id)?;
        self.txn.touch_directory(NodeId::ROOT, self.now, 1)?;
        self.tell(format!("the directory /{name} is made, for root alone"));
        Ok(id)
    }

    fn make_directory(&self, id: NodeId, owner: Caller, mode: u32) -> Result<()> {
        let attr = self.new_attr(id, Kind::Directory, owner, mode, (DIRECTORY_BYTES, DIRECTORY_BYTES / 512));
        self.txn.insert_node(&NodeRow { attr, version: 1, body: BodyRow::Empty }, None)
    }

    /// Attributes of a node that is made here; its links are counted in the end.
    pub(super) fn new_attr(&self, id: NodeId, kind: Kind, owner: Caller, mode: u32, space: (u64, u64)) -> Attr {
        let (size, blocks) = space;
        let now = self.now;
        let nlink = if kind == Kind::Directory { 2 } else { 1 };
        let Caller { uid, gid } = owner;
        Attr { id, kind, mode, uid, gid, rdev: 0, nlink, size, blocks, atime: now, mtime: now, ctime: now, btime: now }
    }
}

impl Walk {
    fn new(names: Vec<(NodeId, Vec<u8>, NodeId)>) -> Self {
        let mut walk =
            Self { below: HashMap::new(), above: HashMap::new(), reached: HashSet::new(), second: Vec::new() };
        for (parent, name, id) in names {
            walk.above.insert(id, parent);
            walk.below.entry(parent).or_default().push((name, id));
        }
        walk
    }

    /// Walks down from a directory, the nearest first: of two names the one closer to the root is the right one.
    fn from(&mut self, top: NodeId) {
        let mut waiting = std::collections::VecDeque::from([top]);
        self.reached.insert(top);
        while let Some(parent) = waiting.pop_front() {
            for (name, id) in self.below.remove(&parent).unwrap_or_default() {
                if self.reached.insert(id) {
                    waiting.push_back(id);
                } else {
                    self.second.push((parent, name, id));
                }
            }
        }
    }

    /// A directory on the cycle that a walk upwards from `id` ends in.
    fn on_cycle(&self, id: NodeId) -> NodeId {
        let mut seen = HashSet::new();
        let mut at = id;
        while seen.insert(at) {
            match self.above.get(&at) {
                Some(above) if !self.reached.contains(above) => at = *above,
                _ => break,
            }
        }
        at
    }
}
