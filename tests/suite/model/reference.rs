//! The reference: what a POSIX filesystem answers, as plainly as it can be written.
//!
//! It follows the man pages of Linux and, where two errors apply, the order in which the kernel looks (fs/namei.c,
//! fs/open.c). The caller is root, so nothing is denied. It keeps no clock: a time is what it was set to, or recent. It
//! cannot hold sparse giants, because a body is a vector of bytes.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::answer::{Answer, Expected, Mtime, Stat, Value};
use super::ops::{Access, Allocate, How, Op, Path, Rename, SLOTS, SetMode, intern, pattern};

/// Identifies a node for as long as the model lives.
pub(crate) type Number = u64;
const ROOT: Number = 1;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    File,
    Directory,
    Symlink,
}

enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<&'static str, Number>),
    Symlink(&'static str),
}

struct Node {
    content: Content,
    mode: u32,
    uid: u32,
    gid: u32,
    xattrs: BTreeMap<&'static str, Vec<u8>>,
    mtime: Mtime,
}

struct Slot {
    node: Number,
    access: Access,
    append: bool,
}

/// The whole filesystem.
pub(crate) struct Reference {
    nodes: BTreeMap<Number, Node>,
    last: Number,
    slots: [Option<Slot>; SLOTS],
}

type Result<T> = std::result::Result<T, Errno>;

impl Reference {
    /// An empty root, 0755 and owned by root.
    pub(crate) fn new() -> Self {
        let mut new = Self { nodes: BTreeMap::new(), last: 0, slots: Default::default() };
        new.make(Content::Directory(BTreeMap::new()), 0o755);
        new
    }

    /// Does one call and says what a right filesystem answers.
    pub(crate) fn apply(&mut self, op: &Op) -> Expected {
        let answer = match *op {
            Op::SeekData { slot, offset } | Op::SeekHole { slot, offset } => return self.seek(op, slot, offset),
            Op::Open { slot, path, access, how, append, mode } => self.open(slot, path, access, how, append, mode),
            Op::Close { slot } => self.close(slot),
            Op::Read { slot, offset, len } => self.read(slot, offset, len),
            Op::Write { slot, offset, len, fill } => self.write(slot, offset, &pattern(fill, len)),
            Op::TruncateOpen { slot, size } => self.truncate_open(slot, size),
            Op::Fsync { slot } => self.slot(slot).map(|_| Value::Nothing),
            Op::StatOpen { slot } => self.slot(slot).map(|open| self.stat(open.node)),
            Op::Fallocate { slot, how, offset, len } => self.fallocate(slot, how, offset, len),
            Op::Copy { from, from_offset, to, to_offset, len } => self.copy(from, from_offset, to, to_offset, len),
            Op::Truncate { path, size } => self.truncate(path, size),
            Op::Mkdir { path, mode } => self.add(path, Content::Directory(BTreeMap::new()), mode),
            Op::Rmdir { path } => self.rmdir(path),
            Op::Unlink { path } => self.unlink(path),
            Op::Rename { from, to, how } => self.rename(from, to, how),
            Op::Link { from, to } => self.link(from, to),
            Op::Symlink { target, path } => self.add(path, Content::Symlink(target), 0o777),
            Op::Readlink { path } => self.readlink(path),
            Op::Chmod { path, mode } => self.change(self.follow(path), |node| node.mode = mode),
            Op::Chown { path, uid, gid } => self.change(self.find(path), |node| (node.uid, node.gid) = (uid, gid)),
            Op::SetTimes { path, nanos } => self.change(self.find(path), |node| node.mtime = Mtime::Is(nanos)),
            Op::Stat { path } => self.find(path).map(|node| self.stat(node)),
            Op::List { path } => self.list(path),
            Op::SetXattr { path, key, len, fill, how } => self.set_xattr(path, key, pattern(fill, len), how),
            Op::GetXattr { path, key } => self.get_xattr(path, key),
            Op::ListXattr { path } => self.list_xattr(path),
            Op::RemoveXattr { path, key } => self.remove_xattr(path, key),
            Op::Cat { path } => self.cat(path),
            Op::Etag { path } => self.etag(path),
            Op::Survey | Op::Settle => Ok(Value::Nothing),
            Op::Remount => {
                self.slots = Default::default();
                Ok(Value::Nothing)
            }
        };
        self.forget_unreachable();
        Expected::Exactly(answer)
    }

    // Paths.

    /// The node of a path, not followed when it is a symbolic link.
    fn find(&self, path: Path) -> Result<Number> {
        if path == "." {
            return Ok(ROOT);
        }
        let (parent, name) = self.parent(path)?;
        self.names(parent)?.get(name).copied().ok_or(Errno::NOENT)
    }

    /// The same, followed: every symbolic link of a run dangles.
    fn follow(&self, path: Path) -> Result<Number> {
        let node = self.find(path)?;
        if self.shape(node) == Shape::Symlink { Err(Errno::NOENT) } else { Ok(node) }
    }

    /// The directory that holds, or would hold, the last name of a path, and that name.
    fn parent(&self, path: Path) -> Result<(Number, &'static str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let directory = self.follow(above)?;
        self.names(directory)?;
        Ok((directory, name))
    }

    fn names(&self, node: Number) -> Result<&BTreeMap<&'static str, Number>> {
        match &self.nodes[&node].content {
            Content::Directory(names) => Ok(names),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn names_mut(&mut self, node: Number) -> &mut BTreeMap<&'static str, Number> {
        let directory = self.nodes.get_mut(&node).expect("a parent lives");
        directory.mtime = Mtime::Recent;
        match &mut directory.content {
            Content::Directory(names) => names,
            _ => unreachable!("a parent is a directory"),
        }
    }

    fn shape(&self, node: Number) -> Shape {
        match self.nodes[&node].content {
            Content::File(_) => Shape::File,
            Content::Directory(_) => Shape::Directory,
            Content::Symlink(_) => Shape::Symlink,
        }
    }

    /// Every path below the root, parents first, and what stands there.
    pub(crate) fn paths(&self) -> Vec<(Path, Shape)> {
        let mut found = Vec::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((above, directory)) = todo.pop() {
            for (name, node) in self.names(directory).into_iter().flatten() {
                let path = format!("{above}{name}");
                found.push((intern(&path), self.shape(*node)));
                todo.push((path + "/", *node));
            }
        }
        found
    }

    // Nodes.

    fn make(&mut self, content: Content, mode: u32) -> Number {
        self.last += 1;
        self.nodes
            .insert(self.last, Node { content, mode, uid: 0, gid: 0, xattrs: BTreeMap::new(), mtime: Mtime::Recent });
        self.last
    }

    fn change(&mut self, node: Result<Number>, change: impl FnOnce(&mut Node)) -> Answer {
        change(self.nodes.get_mut(&node?).expect("found"));
        Ok(Value::Nothing)
    }

    /// A node lives while a name or an open file leads to it.
    fn forget_unreachable(&mut self) {
        let mut reachable: Vec<Number> = self.slots.iter().flatten().map(|open| open.node).collect();
        for node in self.nodes.values() {
            if let Content::Directory(names) = &node.content {
                reachable.extend(names.values());
            }
        }
        self.nodes.retain(|number, _| *number == ROOT || reachable.contains(number));
    }

    fn names_of(&self, node: Number) -> usize {
        let directories = self.nodes.keys().filter_map(|directory| self.names(*directory).ok());
        directories.flat_map(|names| names.values()).filter(|named| **named == node).count()
    }

    fn stat(&self, number: Number) -> Value {
        let node = &self.nodes[&number];
        let (nlink, size) = match &node.content {
            Content::File(body) => (self.names_of(number), Some(body.len() as u64)),
            Content::Symlink(target) => (self.names_of(number), Some(target.len() as u64)),
            Content::Directory(names) => {
                (2 + names.values().filter(|node| self.shape(**node) == Shape::Directory).count(), None)
            }
        };
        let shape = self.shape(number);
        let Node { mode, uid, gid, mtime, .. } = *node;
        Value::Stat(Stat { number, shape, mode, uid, gid, nlink: nlink as u64, size, mtime })
    }

    // Names.

    fn add(&mut self, path: Path, content: Content, mode: u32) -> Answer {
        let (parent, name) = self.parent(path)?;
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let node = self.make(content, mode);
        self.names_mut(parent).insert(name, node);
        Ok(Value::Nothing)
    }

    fn unlink(&mut self, path: Path) -> Answer {
        let (parent, name) = self.parent(path)?;
        if self.shape(self.find(path)?) == Shape::Directory {
            return Err(Errno::ISDIR);
        }
        self.names_mut(parent).remove(name);
        Ok(Value::Nothing)
    }

    fn rmdir(&mut self, path: Path) -> Answer {
        let (parent, name) = self.parent(path)?;
        if !self.names(self.find(path)?)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.names_mut(parent).remove(name);
        Ok(Value::Nothing)
    }

    fn link(&mut self, from: Path, to: Path) -> Answer {
        let node = self.find(from)?;
        let (parent, name) = self.parent(to)?;
        if self.names(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        if self.shape(node) == Shape::Directory {
            return Err(Errno::PERM);
        }
        self.names_mut(parent).insert(name, node);
        Ok(Value::Nothing)
    }

    fn rename(&mut self, from: Path, to: Path, how: Rename) -> Answer {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        let moved = self.find(from)?;
        let taken = self.find(to).ok();
        match (how, taken) {
            (Rename::NoReplace, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            _ => {}
        }
        if is_below(to, from) {
            return Err(Errno::INVAL);
        }
        if is_below(from, to) {
            return Err(if how == Rename::Exchange { Errno::INVAL } else { Errno::NOTEMPTY });
        }
        if taken == Some(moved) {
            return Ok(Value::Nothing); // Two names of one node: both stay, rename(2).
        }
        if let (Some(taken), Rename::Replace) = (taken, how) {
            match (self.shape(moved) == Shape::Directory, self.names(taken)) {
                (true, Err(_)) => return Err(Errno::NOTDIR),
                (false, Ok(_)) => return Err(Errno::ISDIR),
                (true, Ok(names)) if !names.is_empty() => return Err(Errno::NOTEMPTY),
                _ => {}
            }
        }
        self.names_mut(from_parent).remove(from_name);
        self.names_mut(to_parent).insert(to_name, moved);
        if let (Some(taken), Rename::Exchange) = (taken, how) {
            self.names_mut(from_parent).insert(from_name, taken);
        }
        Ok(Value::Nothing)
    }

    fn readlink(&self, path: Path) -> Answer {
        match self.nodes[&self.find(path)?].content {
            Content::Symlink(target) => Ok(Value::Bytes(target.into())),
            _ => Err(Errno::INVAL),
        }
    }

    fn list(&self, path: Path) -> Answer {
        let names = self.names(self.follow(path)?)?;
        Ok(Value::Entries(names.iter().map(|(name, node)| ((*name).to_owned(), self.shape(*node))).collect()))
    }

    // Open files and bodies.

    fn slot(&self, slot: usize) -> Result<&Slot> {
        self.slots[slot].as_ref().ok_or(Errno::BADF)
    }

    /// How a slot is open, if it is.
    pub(crate) fn access(&self, slot: usize) -> Option<Access> {
        self.slots[slot].as_ref().map(|open| open.access)
    }

    fn readable(&self, slot: usize) -> Result<&Slot> {
        self.slot(slot).and_then(|open| if open.access.reads() { Ok(open) } else { Err(Errno::BADF) })
    }

    fn writable(&self, slot: usize) -> Result<&Slot> {
        self.slot(slot).and_then(|open| if open.access.writes() { Ok(open) } else { Err(Errno::BADF) })
    }

    fn body(&self, file: Number) -> &Vec<u8> {
        match &self.nodes[&file].content {
            Content::File(body) => body,
            _ => unreachable!("only regular files are opened"),
        }
    }

    /// The body to change. Whether a call that changed no byte changes the time is left to the filesystem.
    fn body_mut(&mut self, file: Number, certain: bool) -> &mut Vec<u8> {
        let node = self.nodes.get_mut(&file).expect("open or found");
        match node.mtime {
            _ if certain => node.mtime = Mtime::Recent,
            Mtime::Is(_) => node.mtime = Mtime::Unknown,
            Mtime::Recent | Mtime::Unknown => {}
        }
        match &mut node.content {
            Content::File(body) => body,
            _ => unreachable!("only regular files are opened"),
        }
    }

    fn open(&mut self, slot: usize, path: Path, access: Access, how: How, append: bool, mode: u32) -> Answer {
        let node = match self.find(path) {
            Ok(_) if how == How::CreateNew => return Err(Errno::EXIST),
            Ok(node) => match self.shape(node) {
                Shape::Symlink => return Err(Errno::NOENT),
                Shape::Directory => return Err(Errno::ISDIR),
                Shape::File => node,
            },
            Err(Errno::NOENT) if how.creates() => {
                self.add(path, Content::File(Vec::new()), mode)?;
                self.find(path)?
            }
            Err(error) => return Err(error),
        };
        if how.truncates() {
            self.resize(node, 0);
        }
        self.slots[slot] = Some(Slot { node, access, append });
        Ok(Value::Nothing)
    }

    fn close(&mut self, slot: usize) -> Answer {
        self.slots[slot].take().map(|_| Value::Nothing).ok_or(Errno::BADF)
    }

    fn read(&self, slot: usize, offset: u64, len: usize) -> Answer {
        let body = self.body(self.readable(slot)?.node);
        let start = body.len().min(offset as usize);
        let end = body.len().min(start + len);
        Ok(Value::Bytes(body[start..end].into()))
    }

    fn write(&mut self, slot: usize, offset: u64, data: &[u8]) -> Answer {
        let &Slot { node, append, .. } = self.writable(slot)?;
        let start = if append { self.body(node).len() } else { offset as usize };
        self.overwrite(node, start, data);
        Ok(Value::Count(data.len()))
    }

    fn overwrite(&mut self, node: Number, start: usize, data: &[u8]) {
        if data.is_empty() {
            return; // Not even the size changes, write(2).
        }
        let end = start + data.len();
        let body = self.body_mut(node, true);
        body.resize(body.len().max(end), 0);
        body[start..end].copy_from_slice(data);
    }

    fn resize(&mut self, node: Number, size: usize) {
        let changes = self.body(node).len() != size;
        self.body_mut(node, changes).resize(size, 0);
    }

    fn truncate_open(&mut self, slot: usize, size: u64) -> Answer {
        let open = self.slot(slot)?;
        if !open.access.writes() {
            return Err(Errno::INVAL);
        }
        let node = open.node;
        self.resize(node, size as usize);
        Ok(Value::Nothing)
    }

    fn truncate(&mut self, path: Path, size: u64) -> Answer {
        let node = self.follow(path)?;
        if self.shape(node) == Shape::Directory {
            return Err(Errno::ISDIR);
        }
        self.resize(node, size as usize);
        Ok(Value::Nothing)
    }

    fn fallocate(&mut self, slot: usize, how: Allocate, offset: u64, len: u64) -> Answer {
        self.slot(slot)?;
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let node = self.writable(slot)?.node;
        let (start, end) = (offset as usize, (offset + len) as usize);
        let body = self.body_mut(node, false);
        if matches!(how, Allocate::PunchHole | Allocate::ZeroRange | Allocate::ZeroRangeKeepSize) {
            let size = body.len();
            body[start.min(size)..end.min(size)].fill(0);
        }
        if matches!(how, Allocate::Grow | Allocate::ZeroRange) {
            body.resize(body.len().max(end), 0);
        }
        Ok(Value::Nothing)
    }

    fn copy(&mut self, from: usize, from_offset: u64, to: usize, to_offset: u64, len: usize) -> Answer {
        let (source, target) = (self.slot(from)?, self.slot(to)?);
        if !source.access.reads() || !target.access.writes() || target.append {
            return Err(Errno::BADF);
        }
        let (source, target) = (source.node, target.node);
        let body = self.body(source);
        let (start, to_start) = (body.len().min(from_offset as usize), to_offset as usize);
        let data = body[start..body.len().min(start + len)].to_vec();
        let from_start = from_offset as usize;
        if source == target && to_start + data.len() > from_start && to_start < from_start + data.len() {
            return Err(Errno::INVAL);
        }
        self.overwrite(target, to_start, &data);
        Ok(Value::Count(data.len()))
    }

    /// lseek(2) leaves it to the filesystem how much of a hole it knows.
    fn seek(&self, op: &Op, slot: usize, offset: u64) -> Expected {
        match self.slot(slot).map(|open| self.body(open.node)) {
            Err(error) => Expected::Exactly(Err(error)),
            Ok(body) if offset >= body.len() as u64 => Expected::Exactly(Err(Errno::NXIO)),
            Ok(body) if matches!(op, Op::SeekData { .. }) => Expected::DataFrom { offset, body: body.clone() },
            Ok(body) => Expected::HoleFrom { offset, body: body.clone() },
        }
    }

    fn cat(&self, path: Path) -> Answer {
        let node = self.follow(path)?;
        match self.shape(node) {
            Shape::Directory => Err(Errno::ISDIR),
            _ => Ok(Value::Bytes(self.body(node).clone())),
        }
    }

    fn etag(&self, path: Path) -> Answer {
        let node = self.find(path)?;
        match self.shape(node) {
            Shape::File => Ok(Value::etag(self.body(node))),
            _ => Err(Errno::INVAL),
        }
    }

    // Extended attributes, xattr(7): `user.` is for files and directories only.

    fn set_xattr(&mut self, path: Path, key: &'static str, value: Vec<u8>, how: SetMode) -> Answer {
        let node = self.find(path)?;
        self.may_change(node, key)?;
        let xattrs = &mut self.nodes.get_mut(&node).expect("found").xattrs;
        match (how, xattrs.contains_key(key)) {
            (SetMode::CreateOnly, true) => Err(Errno::EXIST),
            (SetMode::ReplaceOnly, false) => Err(Errno::NODATA),
            _ => {
                xattrs.insert(key, value);
                Ok(Value::Nothing)
            }
        }
    }

    fn get_xattr(&self, path: Path, key: &'static str) -> Answer {
        let value = self.nodes[&self.find(path)?].xattrs.get(key);
        value.map(|value| Value::Bytes(value.clone())).ok_or(Errno::NODATA)
    }

    fn list_xattr(&self, path: Path) -> Answer {
        let keys = self.nodes[&self.find(path)?].xattrs.keys();
        Ok(Value::Keys(keys.map(|key| (*key).to_owned()).collect()))
    }

    fn remove_xattr(&mut self, path: Path, key: &'static str) -> Answer {
        let node = self.find(path)?;
        self.may_change(node, key)?;
        let removed = self.nodes.get_mut(&node).expect("found").xattrs.remove(key);
        removed.map(|_| Value::Nothing).ok_or(Errno::NODATA)
    }

    fn may_change(&self, node: Number, key: &str) -> Result<()> {
        if self.shape(node) == Shape::Symlink && key.starts_with("user.") { Err(Errno::PERM) } else { Ok(()) }
    }

    // Everything.

    /// Read-only operations that together look at all there is.
    pub(crate) fn survey(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        for (path, shape) in std::iter::once((".", Shape::Directory)).chain(self.paths()) {
            ops.extend([Op::Stat { path }, Op::ListXattr { path }]);
            let keys = self.find(path).map(|node| self.nodes[&node].xattrs.keys()).into_iter().flatten();
            ops.extend(keys.map(|key| Op::GetXattr { path, key }));
            ops.push(match shape {
                Shape::File => Op::Cat { path },
                Shape::Directory => Op::List { path },
                Shape::Symlink => Op::Readlink { path },
            });
        }
        for slot in 0..SLOTS {
            ops.extend([Op::StatOpen { slot }, Op::Read { slot, offset: 0, len: 2 << 20 }]);
        }
        ops
    }

    /// Whether a node is still there, open or named.
    pub(crate) fn lives(&self, node: Number) -> bool {
        self.nodes.contains_key(&node)
    }
}

/// Whether `path` leads through the directory `above`.
pub(crate) fn is_below(path: Path, above: Path) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}
