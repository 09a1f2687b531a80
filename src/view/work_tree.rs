//! `/.work`: the queue as directories. A directory for each state, and in it a symbolic link to each item that stands there;
//! moving a link to another directory is the transition, and of many who move the same one exactly one succeeds.
//!
//! Whoever has read `status.json` can wait with poll(2) until its counts are others.
//!
//! A link shows the owner and the times of its file. Everybody may move links as far as the directories are concerned;
//! what decides is whether he may write to the file, as for setting its attributes by hand.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use super::gate::Gate;
use super::virtuals::{Lasting, Listing, Place, Tree, TreeEntry, read_only};
use super::work_links::Links;
use super::work_recent::Recent;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{WorkKey, WorkList};
use crate::model::work::Status;
use crate::model::{Attr, Caller, Kind, Name, NodeId, VPath};
use crate::vfs::{RenameMode, Vfs};
use crate::work::{ClaimRequest, Scope, Stands, WorkEntries, WorkEntry, node_of};

/// The directories; the place of each is its position here and one more.
const DIRECTORIES: [(&[u8], WorkList); 7] = [
    (b"ready", WorkList::In(Status::Ready)),
    (b"pending", WorkList::In(Status::Pending)),
    (b"blocked", WorkList::In(Status::Blocked)),
    (b"in_progress", WorkList::In(Status::InProgress)),
    (b"completed", WorkList::In(Status::Completed)),
    (b"failed", WorkList::In(Status::Failed)),
    (b"by_priority", WorkList::ByPriority),
];
/// The file with the counts.
const STATUS: &[u8] = b"status.json";
const STATUS_PLACE: Place = Place(DIRECTORIES.len() as u64 + 1);
/// Bits of a link's place that are the number of its file: 69 billion files.
const NODE_BITS: u32 = 36;
/// Bits above them that are a digest of the file's path, and below the directory. The kernel remembers where a link points
/// for as long as it knows its number (`FUSE_CACHE_SYMLINKS`), so a file that was renamed has links of other numbers.
const PATH_BITS: u32 = 19;

/// What a place is.
enum At {
    Root,
    Directory(WorkList),
    Status,
    Link(WorkList, Place),
}

/// The tree, for one identity.
pub(super) struct WorkTree {
    gate: Arc<Gate>,
    sees: Box<dyn Fn(&VPath) -> bool + Send + Sync>,
    top: OnceLock<Attr>,
    /// Shared with the listings.
    recent: Arc<Recent>,
}

impl fmt::Debug for WorkTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkTree").field("who", self.gate.who()).finish_non_exhaustive()
    }
}

impl WorkTree {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self::with(gate, Arc::default())
    }

    fn with(gate: Arc<Gate>, recent: Arc<Recent>) -> Self {
        let asked = Arc::clone(&gate);
        Self { gate, sees: Box::new(move |path| asked.sees_path(path)), top: OnceLock::new(), recent }
    }

    fn vfs(&self) -> &Vfs {
        self.gate.vfs()
    }

    /// The items that this identity sees.
    fn scope(&self) -> Scope<'_> {
        // Where that cannot be found out, each one is asked about.
        if self.gate.sees_everything().unwrap_or(false) { Scope::EVERYTHING } else { Scope::seen_by(&*self.sees) }
    }

    fn status(&self) -> Result<Vec<u8>> {
        let counts = self.vfs().work_counts(&self.scope())?;
        let mut text =
            serde_json::to_vec(&counts).map_err(|e| Error::new(ErrorKind::Io, "show the counts").because(e))?;
        text.push(b'\n');
        Ok(text)
    }

    fn entry(&self, list: WorkList, node: NodeId) -> Result<WorkEntry> {
        if let Some(entry) = self.recent.get(self.vfs().work_as_of()?, list, node) {
            return Ok(entry);
        }
        let (entry, changes) = self.vfs().work_entry(list, node, &self.scope())?;
        self.recent.keep(changes, list, entry.iter());
        entry.ok_or_else(missing)
    }

    /// Some entries of a directory behind a key.
    pub(super) fn entries(&self, list: WorkList, after: WorkKey) -> Result<WorkEntries> {
        let found = self.vfs().work_entries(list, &self.scope(), after)?;
        self.recent.keep(found.changes, list, found.entries.iter());
        Ok(found)
    }

    /// The entry at the place of a link, as long as that is its place.
    fn link(&self, list: WorkList, at: Place) -> Result<WorkEntry> {
        let entry = self.entry(list, NodeId(at.0 & ((1 << NODE_BITS) - 1)))?;
        if place_of(list, &entry) == at { Ok(entry) } else { Err(missing()) }
    }

    /// What the directory above all others shows, for as long as the store is open: nothing is ever made or removed in it,
    /// and its owner is the one whom the store had then.
    fn top(&self) -> Result<Attr> {
        if let Some(top) = self.top.get() {
            return Ok(*top);
        }
        let root = self.vfs().getattr(NodeId::ROOT)?;
        let (nlink, made) = (2 + DIRECTORIES.len() as u32, root.btime);
        let top =
            Attr { mode: 0o755, nlink, size: 0, blocks: 0, rdev: 0, atime: made, mtime: made, ctime: made, ..root };
        Ok(*self.top.get_or_init(|| top))
    }

    /// The attributes of a directory of links.
    fn directory_attr(&self) -> Result<Attr> {
        let changed = self.vfs().work_changed_at();
        Ok(Attr { mode: 0o777, nlink: 2, atime: changed, mtime: changed, ctime: changed, ..self.top()? })
    }

    /// The attributes of the file with the counts.
    fn status_attr(&self) -> Result<Attr> {
        let size = self.status()?.len() as u64;
        Ok(Attr { kind: Kind::File, mode: 0o444, nlink: 1, size, ..self.directory_attr()? })
    }
}

impl Tree for WorkTree {
    fn name(&self) -> &'static [u8] {
        b".work"
    }

    fn attr(&self, at: Place) -> Result<Attr> {
        match find(at)? {
            At::Root => self.top(),
            At::Directory(_) => self.directory_attr(),
            At::Status => self.status_attr(),
            At::Link(list, at) => Ok(link_attr(&self.link(list, at)?)),
        }
    }

    fn lasting(&self, at: Place) -> Lasting {
        match find(at) {
            Ok(At::Root) => Lasting::Everything,
            Ok(At::Directory(_) | At::Status) => Lasting::Name,
            Ok(At::Link(..)) | Err(_) => Lasting::Nothing,
        }
    }

    fn lookup(&self, directory: Place, name: Name<'_>) -> Result<(Place, Attr)> {
        match find(directory)? {
            At::Root => {
                let found = DIRECTORIES.iter().position(|(other, _)| *other == name.as_bytes());
                let status = (name.as_bytes() == STATUS).then_some(STATUS_PLACE);
                let place = found.map(|index| Place(index as u64 + 1)).or(status).ok_or_else(missing)?;
                Ok((place, self.attr(place)?))
            }
            At::Directory(list) => {
                let entry = self.entry(list, node_of(name.as_bytes()).ok_or_else(missing)?)?;
                if entry.name != name.as_bytes() {
                    return Err(missing());
                }
                Ok((place_of(list, &entry), link_attr(&entry)))
            }
            At::Status | At::Link(..) => Err(Error::new(ErrorKind::NotADirectory, "look up a name")),
        }
    }

    fn open_directory(&self, directory: Place) -> Result<Box<dyn Listing>> {
        match find(directory)? {
            At::Root => {
                let directories = DIRECTORIES.iter().zip(1..);
                let entry = |name: &[u8], place, kind| TreeEntry { name: name.to_vec(), place, kind };
                let mut all: Vec<_> =
                    directories.map(|((name, _), at)| entry(name, Place(at), Kind::Directory)).collect();
                all.push(entry(STATUS, STATUS_PLACE, Kind::File));
                Ok(Box::new(all))
            }
            At::Directory(list) => {
                Ok(Box::new(Links::new(Self::with(Arc::clone(&self.gate), Arc::clone(&self.recent)), list)))
            }
            At::Status | At::Link(..) => Err(Error::new(ErrorKind::NotADirectory, "list what is no directory")),
        }
    }

    fn read_file(&self, file: Place) -> Result<Vec<u8>> {
        match find(file)? {
            At::Status => self.status(),
            _ => Err(Error::new(ErrorKind::Invalid, "read what is no file")),
        }
    }

    fn is_waited_for(&self, file: Place) -> bool {
        file == STATUS_PLACE
    }

    fn read_link(&self, link: Place) -> Result<Vec<u8>> {
        match find(link)? {
            At::Link(list, at) => Ok(target(&self.link(list, at)?)),
            _ => Err(Error::new(ErrorKind::Invalid, "read a link of what is none")),
        }
    }

    fn rename(
        &self,
        caller: &Caller,
        (from, name): (Place, Name<'_>),
        (to, new_name): (Place, Name<'_>),
        mode: RenameMode,
    ) -> Result<()> {
        let (At::Directory(from), At::Directory(WorkList::In(to))) = (find(from)?, find(to)?) else {
            return Err(read_only());
        };
        let node = node_of(name.as_bytes()).ok_or_else(missing)?;
        let entry = self.entry(from, node)?;
        if entry.name != name.as_bytes() {
            return Err(missing());
        }
        // From the list of all it is no move from one state to another, and an entry has the name it has.
        let WorkList::In(state) = from else { return Err(read_only()) };
        if mode == RenameMode::Exchange || new_name != name {
            return Err(read_only());
        }
        if !may_write(caller, &entry.attr) {
            return Err(Error::new(ErrorKind::Denied, format!("move work item {node}, whose file may not be written")));
        }
        let worker = self.gate.who().agent().map_or_else(|| format!("uid:{}", caller.uid), ToOwned::to_owned);
        let request = ClaimRequest { worker: &worker, lease: None };
        self.gate.change(node)?.work_transit(node, Stands::In(state), to, None, &self.scope(), &request).map(drop)
    }
}

fn find(at: Place) -> Result<At> {
    let directory = |number: u64| {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1))?;
        DIRECTORIES.get(index).map(|(_, list)| *list)
    };
    let found = match at {
        Place::ROOT => Some(At::Root),
        STATUS_PLACE => Some(At::Status),
        Place(number) if number >> (NODE_BITS + PATH_BITS) == 0 => directory(number).map(At::Directory),
        Place(number) => directory(number >> (NODE_BITS + PATH_BITS)).map(|list| At::Link(list, at)),
    };
    found.ok_or_else(missing)
}

pub(super) fn place_of(list: WorkList, entry: &WorkEntry) -> Place {
    let index = DIRECTORIES.iter().position(|(_, other)| *other == list).map_or(0, |index| index as u64 + 1);
    let mut digest = DefaultHasher::new();
    entry.path.hash(&mut digest);
    let path = digest.finish() >> (u64::BITS - PATH_BITS);
    Place(index << (NODE_BITS + PATH_BITS) | path << NODE_BITS | entry.node.0 & ((1 << NODE_BITS) - 1))
}

pub(super) fn link_attr(entry: &WorkEntry) -> Attr {
    let size = target(entry).len() as u64;
    Attr { kind: Kind::Symlink, mode: 0o777, nlink: 1, size, blocks: 0, rdev: 0, ..entry.attr }
}

/// Where a link points, from its directory.
fn target(entry: &WorkEntry) -> Vec<u8> {
    [b"../..", entry.path.as_bytes()].concat()
}

/// Whether the mode bits of a file let a caller write to it. Supplementary groups are not known here.
fn may_write(caller: &Caller, attr: &Attr) -> bool {
    let bit = if caller.uid == attr.uid {
        0o200
    } else if caller.gid == attr.gid {
        0o020
    } else {
        0o002
    };
    caller.uid == 0 || attr.mode & bit != 0
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "find an entry of the queue")
}
