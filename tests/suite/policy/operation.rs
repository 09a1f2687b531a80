//! One operation on paths, random, and its answer: what a program that holds no number can find out.

use nexus::error::{ErrorKind, Result};
use nexus::model::{Attr, AttrChange, Kind, Name, NodeId, Timestamp, VPath};
use nexus::vfs::{OpenMode, RenameMode, XattrMode};
use nexus::view::View;

use super::{CALLER, READ, WRITE, path};
use crate::harness::Random;

/// Directories that somebody may have, and that operations are about.
const PLACES: &[&str] = &[
    "/",
    "/docs",
    "/workspace",
    "/workspace/acme",
    "/workspace/acme/a1",
    "/workspace/acme/a1/deep",
    "/workspace/acme/a2",
    "/workspace/globex",
    "/workspace/globex/a1",
    "/shared",
    "/shared/acme",
    "/shared/globex",
    "/archives",
    "/archives/acme",
    "/archives/globex",
    "/models",
    "/models/acme",
    "/models/globex",
    "/audit",
];

/// Names, some of which are those of tenants and agents.
const NAMES: &[&str] = &["a", "b", "c", "deep", "acme", "globex", "a1", "a2", "workspace", "docs"];

/// Contents: few, so that different identities store the same, and small: when larger ones count as stored depends on when
/// a thread comes to it.
const CONTENTS: &[&[u8]] = &[b"", b"one", b"other", &[7; 16_000]];

const KEYS: &[&[u8]] =
    &[b"user.k", b"user.nexus.refs", b"user.nexus.etag", b"user.nexus.version", b"user.nexus.tenant"];

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Stat(VPath),
    List(VPath, bool),
    Read(VPath),
    Write(VPath, &'static [u8], bool),
    Mkdir(VPath),
    Remove(VPath, bool),
    Rename(VPath, VPath, RenameMode),
    Link(VPath, VPath),
    Symlink(VPath),
    ReadLink(VPath),
    Chmod(VPath, u32),
    Truncate(VPath, u64),
    Get(VPath, &'static [u8]),
    Set(VPath, &'static [u8]),
    ListAttributes(VPath),
    Copy(VPath, VPath),
    Room,
}

/// All that an operation tells: bytes, names, attributes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    Bytes(Vec<u8>),
    Node(Node),
    Names(Vec<(String, u64, Kind, Option<Node>, bool)>),
    Keys(Vec<Vec<u8>>),
    Room { used: u64, files: (u64, u64) },
}

/// A node without its number, which is in the order in which all of a store were made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    nlink: u32,
    size: u64,
    times: [Timestamp; 4],
}

impl From<&Attr> for Node {
    fn from(attr: &Attr) -> Self {
        let times = [attr.atime, attr.mtime, attr.ctime, attr.btime];
        let Attr { kind, mode, uid, gid, nlink, size, .. } = *attr;
        Self { kind, mode, owner: (uid, gid), nlink, size, times }
    }
}

pub(crate) fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

/// A path: a place, or a name in one.
fn some_path(random: &mut Random, places: &[&str]) -> VPath {
    let place = path(pick(random, places));
    if random.below(4) == 0 { place } else { place.join(Name::new(pick(random, NAMES).as_bytes()).unwrap()) }
}

impl Op {
    pub(crate) fn random(random: &mut Random) -> Self {
        Self::random_in(random, PLACES)
    }

    /// One whose paths begin with one of `places`.
    pub(crate) fn random_in(random: &mut Random, places: &[&str]) -> Self {
        let one = some_path(random, places);
        match random.below(25) {
            0 | 1 => Self::Stat(one),
            2..=4 => Self::List(one, random.below(2) == 0),
            5 | 6 => Self::Read(one),
            7..=10 => Self::Write(one, pick(random, CONTENTS), random.below(2) == 0),
            11 | 12 => Self::Mkdir(one),
            13 => Self::Remove(one, false),
            14 => Self::Remove(one, true),
            15..=17 => {
                let mode = pick(random, &[RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
                Self::Rename(one, some_path(random, places), mode)
            }
            18 => Self::Link(one, some_path(random, places)),
            19 => {
                if random.below(2) == 0 {
                    Self::Symlink(one)
                } else {
                    Self::ReadLink(one)
                }
            }
            20 => Self::Chmod(one, pick(random, &[0o600, 0o644, 0o755])),
            21 => Self::Truncate(one, random.below(9)),
            22 => Self::Get(one, pick(random, KEYS)),
            23 => {
                if random.below(2) == 0 {
                    Self::Set(one, pick(random, CONTENTS))
                } else {
                    Self::ListAttributes(one)
                }
            }
            _ => {
                if random.below(9) == 0 {
                    Self::Room
                } else {
                    Self::Copy(one, some_path(random, places))
                }
            }
        }
    }

    pub(crate) fn run(&self, view: &View) -> std::result::Result<Answer, ErrorKind> {
        self.answer(view).map_err(|e| e.kind())
    }

    fn answer(&self, view: &View) -> Result<Answer> {
        let id = |path: &VPath| view.resolve(path).map(|attr| attr.id);
        let nothing = |()| Answer::Nothing;
        match self {
            Self::Stat(path) => Ok(Answer::Node((&view.resolve(path)?).into())),
            Self::List(path, with_attr) => list(view, id(path)?, *with_attr),
            Self::Read(path) => {
                let opened = view.open(&CALLER, id(path)?, READ)?;
                let bytes = read(view, opened.handle);
                view.release(opened.handle)?;
                bytes.map(Answer::Bytes)
            }
            Self::Write(path, content, create) => {
                let handle = match (create, entry(view, path)) {
                    (true, Some((parent, name))) => view.create(&CALLER, parent?, name, 0o644, WRITE)?.1.handle,
                    _ => view.open(&CALLER, id(path)?, WRITE)?.handle,
                };
                let written = view.write(handle, 0, content);
                view.release(handle)?;
                written.map(|_| Answer::Nothing)
            }
            Self::Mkdir(path) => match entry(view, path) {
                Some((parent, name)) => Ok(Answer::Node((&view.mkdir(&CALLER, parent?, name, 0o755)?).into())),
                None => Ok(Answer::Nothing),
            },
            Self::Remove(path, directory) => match entry(view, path) {
                Some((parent, name)) if *directory => view.rmdir(parent?, name).map(nothing),
                Some((parent, name)) => view.unlink(parent?, name).map(nothing),
                None => Ok(Answer::Nothing),
            },
            Self::Rename(from, to, mode) => match (entry(view, from), entry(view, to)) {
                (Some((parent, name)), Some((new_parent, new_name))) => {
                    view.rename(&CALLER, (parent?, name), (new_parent?, new_name), *mode).map(nothing)
                }
                _ => Ok(Answer::Nothing),
            },
            Self::Link(from, to) => match entry(view, to) {
                Some((parent, name)) => Ok(Answer::Node((&view.link(id(from)?, parent?, name)?).into())),
                None => Ok(Answer::Nothing),
            },
            Self::Symlink(path) => match entry(view, path) {
                Some((parent, name)) => view.symlink(&CALLER, parent?, name, b"target").map(|_| Answer::Nothing),
                None => Ok(Answer::Nothing),
            },
            Self::ReadLink(path) => view.readlink(id(path)?).map(Answer::Bytes),
            Self::Chmod(path, mode) => {
                change(view, id(path)?, AttrChange { mode: Some(*mode), ..AttrChange::default() })
            }
            Self::Truncate(path, size) => {
                change(view, id(path)?, AttrChange { size: Some(*size), ..AttrChange::default() })
            }
            Self::Get(path, key) => view.getxattr(id(path)?, key).map(Answer::Bytes),
            Self::Set(path, value) => view.setxattr(id(path)?, b"user.k", value, XattrMode::Set).map(nothing),
            Self::ListAttributes(path) => view.listxattr(id(path)?).map(Answer::Keys),
            Self::Copy(from, to) => {
                let source = view.open(&CALLER, id(from)?, READ)?.handle;
                let target = id(to).and_then(|to| view.open(&CALLER, to, OpenMode { truncate: false, ..WRITE }));
                let copied = target.and_then(|to| {
                    let copied = view.copy_range(source, 0, to.handle, 0, 1 << 20);
                    view.release(to.handle)?;
                    copied
                });
                view.release(source)?;
                copied.map(|length| Answer::Bytes(length.to_be_bytes().to_vec()))
            }
            Self::Room => {
                let room = view.statfs()?;
                Ok(Answer::Room { used: room.blocks - room.blocks_free, files: (room.files, room.files_free) })
            }
        }
    }
}

/// The directory of a path and its last name.
fn entry<'a>(view: &View, path: &'a VPath) -> Option<(Result<NodeId>, Name<'a>)> {
    let (above, _) = path.split_last()?;
    Some((view.resolve(&above).map(|attr| attr.id), path.names().next_back()?))
}

fn change(view: &View, id: NodeId, change: AttrChange) -> Result<Answer> {
    Ok(Answer::Node((&view.setattr(&CALLER, id, &change)?).into()))
}

fn read(view: &View, handle: nexus::vfs::HandleId) -> Result<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    let length = view.read(handle, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Names, offsets, kinds, attributes, and whether the number is that which the name leads to.
fn list(view: &View, id: NodeId, with_attr: bool) -> Result<Answer> {
    let handle = view.opendir(id)?;
    let mut found = Vec::new();
    let mut offset = 0;
    // In pieces, as the kernel does.
    loop {
        let mut piece = 0;
        let listed = view.readdir(handle, offset, with_attr, &mut |entry| {
            piece += 1;
            if piece > 3 {
                return false;
            }
            offset = entry.next_offset;
            let name = String::from_utf8(entry.name.to_vec()).unwrap();
            found.push((name, entry.next_offset, entry.kind, entry.attr.map(Node::from), entry.id));
            true
        });
        if let Err(e) = listed {
            view.releasedir(handle)?;
            return Err(e);
        }
        if piece <= 3 {
            break;
        }
    }
    view.releasedir(handle)?;
    let is_right = |name: &str, listed: NodeId| match name {
        "." => listed == id,
        ".." => view.getattr(listed).is_ok_and(|attr| attr.kind == Kind::Directory),
        name => view.lookup(id, Name::new(name.as_bytes()).unwrap()).is_ok_and(|attr| attr.id == listed),
    };
    let answer = found.into_iter().map(|(name, offset, kind, node, listed)| {
        let right = is_right(&name, listed);
        (name, offset, kind, node, right)
    });
    Ok(Answer::Names(answer.collect()))
}
