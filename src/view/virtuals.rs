//! Trees that are computed when they are looked at, and where they hang.
//!
//! A tree hangs in the root directory under a name that no stored file can have. Listings of the root leave it out, so
//! that programs which copy or remove a whole mount do not walk into it; whoever knows the name gets there. Nothing of
//! it is cached by the kernel, and nothing of it is stored.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Caller, Kind, Name, NodeId};
use crate::policy::Scope;
use crate::vfs::{DirEntry, HandleId, RenameMode};

/// Bits of a virtual node number that belong to its tree; what lies between them and [`NodeId::VIRTUAL_BIT`] says which.
const PLACE_BITS: u32 = 58;

/// A place in a tree, as the tree numbers them: up to 58 bits. 0 is its root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u64);

impl Place {
    pub(super) const ROOT: Self = Self(0);
}

/// One entry of a directory in a tree.
#[derive(Clone, Debug)]
pub(super) struct TreeEntry {
    pub(super) name: Vec<u8>,
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// A directory of a tree as it was when it was opened, so that a place in the listing means the same as long as it is kept.
pub(super) trait Listing: Send {
    /// The entry at a position, counted from 0; `None` behind the last.
    fn entry(&mut self, position: u64) -> Result<Option<TreeEntry>>;

    /// Whoever lists it begins anew, and is to see what there is now.
    fn rewind(&mut self) {}

    /// The attributes of an entry that was given out, where the listing knows them; the number in them is set by the caller.
    fn attr(&self, _position: u64) -> Option<Attr> {
        None
    }
}

impl Listing for Vec<TreeEntry> {
    fn entry(&mut self, position: u64) -> Result<Option<TreeEntry>> {
        Ok(usize::try_from(position).ok().and_then(|position| self.get(position)).cloned())
    }
}

/// What of a place stays the same for as long as the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Neither the name that leads to it nor what it shows.
    Nothing,
    /// The name.
    Name,
    /// The name, and its attributes.
    Everything,
}

/// A tree that is computed when it is looked at. What it does not override is refused.
pub(super) trait Tree: Send + Sync + Debug {
    /// Its name in the root directory.
    fn name(&self) -> &'static [u8];

    /// What stat(2) tells; the number in it is set by the caller.
    fn attr(&self, at: Place) -> Result<Attr>;

    /// The place that a name leads to and its attributes, as of one moment, or `NotFound`.
    fn lookup(&self, directory: Place, name: Name<'_>) -> Result<(Place, Attr)>;

    /// What of a place never changes.
    fn lasting(&self, _at: Place) -> Lasting {
        Lasting::Nothing
    }

    /// The entries of a directory, without `.` and `..`.
    fn open_directory(&self, directory: Place) -> Result<Box<dyn Listing>>;

    /// All bytes of a file.
    fn read_file(&self, file: Place) -> Result<Vec<u8>>;

    /// Whether poll(2) on a file waits for its bytes to change. Whoever waits is woken by changes of the queue.
    fn is_waited_for(&self, _file: Place) -> bool {
        false
    }

    /// Where a symbolic link points.
    fn read_link(&self, _link: Place) -> Result<Vec<u8>> {
        Err(Error::new(ErrorKind::Invalid, "read a link of what is none"))
    }

    /// Moves an entry to another directory of the tree, for the process that asks.
    fn rename(
        &self,
        _caller: &Caller,
        _from: (Place, Name<'_>),
        _to: (Place, Name<'_>),
        _mode: RenameMode,
    ) -> Result<()> {
        Err(read_only())
    }
}

/// What a change of a computed file is answered.
pub(super) fn read_only() -> Error {
    Error::new(ErrorKind::NotPermitted, "change a file that is computed, not stored")
}

/// An open file or directory of a tree.
enum Open {
    /// What a reader is given: made when he begins, and again when he begins anew.
    File {
        id: NodeId,
        given: Option<Arc<[u8]>>,
    },
    Directory {
        id: NodeId,
        listing: Box<dyn Listing>,
    },
}

/// The trees of one view, and what is open in them.
#[derive(Default)]
pub(super) struct Trees {
    trees: Vec<Box<dyn Tree>>,
    open: Mutex<HashMap<u64, Arc<Mutex<Open>>>>,
    next: AtomicU64,
}

impl Debug for Trees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trees").field("trees", &self.trees).finish_non_exhaustive()
    }
}

impl Trees {
    pub(super) fn new(trees: Vec<Box<dyn Tree>>) -> Self {
        Self { trees, ..Self::default() }
    }

    /// The root of the tree with this name.
    pub(super) fn root(&self, name: Name<'_>) -> Option<NodeId> {
        let index = self.trees.iter().position(|tree| tree.name() == name.as_bytes())?;
        Some(number(index, Place::ROOT))
    }

    /// Where the tree of a node stands: under its name in the root directory.
    pub(super) fn scope(&self, id: NodeId) -> Result<Scope> {
        let (tree, _) = self.at(id)?;
        Ok(Scope::root().below(Name::new(tree.name())?))
    }

    /// Whether a handle is one of these.
    pub(super) fn owns(handle: HandleId) -> bool {
        handle.0 & NodeId::VIRTUAL_BIT != 0
    }

    pub(super) fn attr(&self, id: NodeId) -> Result<Attr> {
        let (tree, place) = self.at(id)?;
        Ok(Attr { id, ..tree.attr(place)? })
    }

    pub(super) fn lookup(&self, parent: NodeId, name: Name<'_>) -> Result<Attr> {
        let (tree, place) = self.at(parent)?;
        let (found, attr) = tree.lookup(place, name)?;
        Ok(Attr { id: number(index_of(parent), found), ..attr })
    }

    /// What of a node never changes.
    pub(super) fn lasting(&self, id: NodeId) -> Lasting {
        self.at(id).map_or(Lasting::Nothing, |(tree, place)| tree.lasting(place))
    }

    pub(super) fn read_link(&self, id: NodeId) -> Result<Vec<u8>> {
        let (tree, place) = self.at(id)?;
        tree.read_link(place)
    }

    /// Both directories are virtual; two trees are two filesystems, rename(2).
    pub(super) fn rename(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        (new_parent, new_name): (NodeId, Name<'_>),
        mode: RenameMode,
    ) -> Result<()> {
        let (tree, from) = self.at(parent)?;
        if parent.0 >> PLACE_BITS != new_parent.0 >> PLACE_BITS {
            return Err(Error::new(ErrorKind::CrossScope, "rename from one computed tree to another"));
        }
        let (_, to) = self.at(new_parent)?;
        tree.rename(caller, (from, name), (to, new_name), mode)
    }

    pub(super) fn open(&self, id: NodeId) -> Result<HandleId> {
        self.at(id)?;
        Ok(self.keep(Open::File { id, given: None }))
    }

    pub(super) fn read(&self, handle: HandleId, offset: u64, into: &mut [u8]) -> Result<usize> {
        let bytes = match &mut *self.get(handle)?.lock() {
            Open::File { given: Some(given), .. } if offset > 0 => Arc::clone(given),
            Open::File { id, given } => {
                let (tree, place) = self.at(*id)?;
                Arc::clone(given.insert(tree.read_file(place)?.into()))
            }
            Open::Directory { .. } => return Err(Error::new(ErrorKind::IsADirectory, "read a directory as a file")),
        };
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let length = rest.len().min(into.len());
        into[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    /// Whether whoever reads from the beginning is given something else than the last time. What does not change by itself
    /// is always ready, and so is what has not been read yet.
    pub(super) fn is_news(&self, handle: HandleId) -> Result<bool> {
        let (id, given) = match &*self.get(handle)?.lock() {
            Open::File { id, given: Some(given) } => (*id, Arc::clone(given)),
            _ => return Ok(true),
        };
        let (tree, place) = self.at(id)?;
        Ok(!tree.is_waited_for(place) || *tree.read_file(place)? != *given)
    }

    pub(super) fn open_directory(&self, id: NodeId) -> Result<HandleId> {
        let (tree, place) = self.at(id)?;
        let listing = tree.open_directory(place)?;
        Ok(self.keep(Open::Directory { id, listing }))
    }

    pub(super) fn read_directory(
        &self,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let open = self.get(handle)?;
        let mut open = open.lock();
        let Open::Directory { id, listing } = &mut *open else {
            return Err(Error::new(ErrorKind::NotADirectory, "list what is no directory"));
        };
        let parent =
            if id.0.trailing_zeros() >= PLACE_BITS { NodeId::ROOT } else { number(index_of(*id), Place::ROOT) };
        if offset == 0 {
            listing.rewind();
        }
        for (at, name, id) in [(0, &b"."[..], *id), (1, b"..", parent)] {
            let dot = DirEntry { next_offset: at + 1, name, id, kind: Kind::Directory, attr: None };
            if offset <= at && !emit(dot) {
                return Ok(());
            }
        }
        let mut at = offset.max(2);
        while let Some(TreeEntry { name, place, kind }) = listing.entry(at - 2)? {
            let id = number(index_of(*id), place);
            // One that has gone since the directory was opened is listed without attributes.
            let known = listing.attr(at - 2).map(|attr| Attr { id, ..attr });
            let attr = if with_attr { known.or_else(|| self.attr(id).ok()) } else { None };
            if !emit(DirEntry { next_offset: at + 1, name: &name, id, kind, attr: attr.as_ref() }) {
                return Ok(());
            }
            at += 1;
        }
        Ok(())
    }

    /// Closes a file or a directory.
    pub(super) fn release(&self, handle: HandleId) -> Result<()> {
        self.open.lock().remove(&handle.0).map(drop).ok_or_else(bad_handle)
    }

    fn keep(&self, open: Open) -> HandleId {
        let number = self.next.fetch_add(1, Ordering::Relaxed) | NodeId::VIRTUAL_BIT;
        self.open.lock().insert(number, Arc::new(Mutex::new(open)));
        HandleId(number)
    }

    fn get(&self, handle: HandleId) -> Result<Arc<Mutex<Open>>> {
        self.open.lock().get(&handle.0).cloned().ok_or_else(bad_handle)
    }

    fn at(&self, id: NodeId) -> Result<(&dyn Tree, Place)> {
        let tree =
            self.trees.get(index_of(id)).ok_or_else(|| Error::new(ErrorKind::NotFound, "find a computed node"))?;
        Ok((tree.as_ref(), Place(id.0 & ((1 << PLACE_BITS) - 1))))
    }
}

fn bad_handle() -> Error {
    Error::new(ErrorKind::BadHandle, "use a handle that is not open")
}

fn index_of(id: NodeId) -> usize {
    ((id.0 & !NodeId::VIRTUAL_BIT) >> PLACE_BITS) as usize
}

fn number(tree: usize, place: Place) -> NodeId {
    NodeId(NodeId::VIRTUAL_BIT | (tree as u64) << PLACE_BITS | place.0)
}
