//! From paths to nodes, and through directories.

use std::collections::VecDeque;

use super::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Kind, Name, NodeId, VPath};
use crate::view::View;

/// Symbolic links followed in one path, as Linux has it, path_resolution(7).
const LINKS_MAX: usize = 40;
/// Permission bits of a directory that a path needed.
const DIRECTORY_MODE: u32 = 0o755;

impl Context<'_> {
    /// The node at a path, symbolic links followed.
    pub(super) fn find(&self, path: &VPath) -> Result<Attr> {
        self.follow(path, true)
    }

    /// The node that has this very name, which may be a symbolic link.
    pub(super) fn find_itself(&self, path: &VPath) -> Result<Attr> {
        self.follow(path, false)
    }

    /// The directory that holds the last name of a path, and that name.
    pub(super) fn parent<'p>(&self, path: &'p VPath) -> Result<(NodeId, Name<'p>)> {
        let (above, name) = split(path)?;
        Ok((self.directory(&above)?.id, name))
    }

    /// The same; directories that are missing are made.
    pub(super) fn make_parent<'p>(&self, path: &'p VPath) -> Result<(NodeId, Name<'p>)> {
        let (above, name) = split(path)?;
        Ok((self.make_directories(&above)?.id, name))
    }

    /// The directory at a path; it and those above it are made if they are missing.
    pub(super) fn make_directories(&self, path: &VPath) -> Result<Attr> {
        match self.directory(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        let (above, name) = split(path)?;
        let parent = self.make_directories(&above)?.id;
        match self.view.mkdir(self.caller, parent, name, DIRECTORY_MODE) {
            // Somebody else was faster.
            Err(e) if e.kind() == ErrorKind::Exists => self.directory(path),
            made => made,
        }
    }

    fn directory(&self, path: &VPath) -> Result<Attr> {
        let found = self.find(path)?;
        if found.kind == Kind::Directory {
            return Ok(found);
        }
        Err(Error::new(ErrorKind::NotADirectory, "use a file as a directory"))
    }

    fn follow(&self, path: &VPath, last: bool) -> Result<Attr> {
        let mut found = vec![self.view.getattr(NodeId::ROOT)?];
        let mut left: VecDeque<Vec<u8>> = path.names().map(|name| name.as_bytes().to_vec()).collect();
        let mut links = 0;
        while let Some(component) = left.pop_front() {
            if component == b".." {
                if found.len() > 1 {
                    found.pop();
                }
                continue;
            }
            let Some(at) = found.last() else { break };
            if at.kind != Kind::Directory {
                return Err(Error::new(ErrorKind::NotADirectory, "use a file as a directory"));
            }
            let next = self.view.lookup(at.id, Name::new(&component)?)?;
            if next.kind != Kind::Symlink || (left.is_empty() && !last) {
                found.push(next);
                continue;
            }
            links += 1;
            let target = self.view.readlink(next.id)?;
            if links > LINKS_MAX {
                return Err(Error::new(ErrorKind::Invalid, "follow more than 40 symbolic links"));
            }
            if target.first() == Some(&b'/') {
                // On a mount it would lead out of the store.
                return Err(Error::new(ErrorKind::NotFound, "follow an absolute symbolic link")
                    .because("the path is a symbolic link that leads out of the store"));
            }
            let parts = target.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
            for (index, part) in parts.enumerate() {
                left.insert(index, part.to_vec());
            }
        }
        found.pop().ok_or_else(|| Error::new(ErrorKind::NotFound, "find a node"))
    }
}

/// The path above and the last name; the root has none.
fn split(path: &VPath) -> Result<(VPath, Name<'_>)> {
    path.split_last().ok_or_else(|| Error::new(ErrorKind::Invalid, "do this to the root directory"))
}

/// One entry of a directory.
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    pub(super) attr: Attr,
}

/// The entries of a directory, in the order of names.
pub(super) struct Directory<'v> {
    view: &'v View,
    /// The last name first. Only these are kept of a directory of a million entries.
    left: Vec<(Vec<u8>, NodeId)>,
}

impl<'v> Directory<'v> {
    pub(super) fn open(view: &'v View, id: NodeId) -> Result<Self> {
        let handle = view.opendir(id)?;
        let mut left = Vec::new();
        let listed = view.readdir(handle, 0, false, &mut |entry| {
            if !matches!(entry.name, b"." | b"..") {
                left.push((entry.name.to_vec(), entry.id));
            }
            true
        });
        view.releasedir(handle)?;
        listed?;
        left.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Self { view, left })
    }

    /// The next entry; `.` and `..` are none.
    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        while let Some((name, id)) = self.left.pop() {
            match self.view.getattr(id) {
                // Gone since it was listed: then it is not there.
                Ok(attr) if attr.nlink == 0 => {}
                Ok(attr) => return Ok(Some(Found { name, attr })),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }
}

/// Walks everything below a directory, in the order of names, each directory before what it holds.
pub(super) fn walk(
    view: &View,
    top: &VPath,
    id: NodeId,
    recursive: bool,
    each: &mut dyn FnMut(VPath, &Attr) -> Result<()>,
) -> Result<()> {
    let mut open = vec![(top.clone(), Directory::open(view, id)?)];
    while let Some((path, directory)) = open.last_mut() {
        let Some(found) = directory.next()? else {
            open.pop();
            continue;
        };
        let below = path.join(Name::new(&found.name)?);
        each(below.clone(), &found.attr)?;
        if recursive && found.attr.kind == Kind::Directory {
            match Directory::open(view, found.attr.id) {
                Ok(directory) => open.push((below, directory)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
