//! Looking: what is there, and what is known of it.

use super::super::request::{BodyState, Item, Reply};
use super::super::types::{Entry, Info};
use super::walk::walk;
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Kind, NodeId, VPath};
use crate::vfs::OpenMode;

/// How often a part is read again because the file changed while it was read.
const TRIES_MAX: usize = 16;
/// The largest part of a body in one answer.
pub(crate) const PIECE_BYTES_MAX: u32 = 512 * 1024;

impl Context<'_> {
    pub(super) fn exists(&self, path: &VPath) -> Result<bool> {
        absent_is_none(self.find(path)).map(|found| found.is_some())
    }

    pub(super) fn is_directory(&self, path: &VPath) -> Result<bool> {
        Ok(absent_is_none(self.find(path))?.is_some_and(|attr| attr.kind == Kind::Directory))
    }

    pub(super) fn info(&self, path: &VPath) -> Result<Info> {
        let attr = self.find_itself(path)?;
        let is_file = attr.kind == Kind::File;
        let target = if attr.kind == Kind::Symlink { Some(self.view.readlink(attr.id)?) } else { None };
        // First, because asking for it may store the body, which counts for the others.
        let etag = if is_file { self.told(attr.id, "etag")? } else { None };
        let number = |key| -> Result<Option<u64>> {
            Ok(if is_file { self.told(attr.id, key)?.and_then(|text| text.parse().ok()) } else { None })
        };
        let (version, refs) = (number("version")?, number("refs")?);
        Ok(Info {
            entry: Entry::of(path, &attr),
            path_id: attr.id.0,
            uid: attr.uid,
            gid: attr.gid,
            links: attr.nlink,
            created: attr.btime.0,
            version,
            etag,
            refs,
            target,
        })
    }

    /// What a virtual attribute tells; computed files have none.
    pub(super) fn told(&self, id: NodeId, key: &str) -> Result<Option<String>> {
        match self.view.getxattr(id, format!("user.nexus.{key}").as_bytes()) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(e) if e.kind() == ErrorKind::NoAttribute => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(super) fn list(&self, path: &VPath, recursive: bool, exchange: &mut dyn Exchange) -> Result<()> {
        let top = self.find(path)?;
        if top.kind != Kind::Directory {
            return exchange.item(Item::Entry(Entry::of(path, &top)));
        }
        walk(self.view, path, top.id, recursive, &mut |path, attr| exchange.item(Item::Entry(Entry::of(&path, attr))))
    }

    /// A part of a body, as it was at one moment.
    pub(super) fn read(&self, path: &VPath, offset: u64, length: u32, node: Option<u64>) -> Result<Reply> {
        let id = self.find(path)?.id;
        if node.is_some_and(|node| node != id.0) {
            return Err(Error::new(ErrorKind::Io, "the name has passed to another file while it was read"));
        }
        let opened = self.view.open(self.caller, id, OpenMode { read: true, ..OpenMode::default() })?;
        let part = self.read_part(id, opened.handle, offset, length.min(PIECE_BYTES_MAX));
        self.view.release(opened.handle)?;
        part
    }

    fn read_part(&self, id: NodeId, handle: crate::vfs::HandleId, offset: u64, length: u32) -> Result<Reply> {
        let mut before = state(&self.view.getattr(id)?);
        let mut tries = 0;
        loop {
            let room = before.size.saturating_sub(offset).min(u64::from(length));
            // Computed files do not tell their size before they are read.
            let room = if id.is_virtual() { u64::from(length) } else { room };
            let mut bytes = vec![0; usize::try_from(room).unwrap_or(0)];
            let got = self.view.read(handle, offset, &mut bytes)?;
            bytes.truncate(got);
            let after = state(&self.view.getattr(id)?);
            tries += 1;
            if after == before || tries >= TRIES_MAX || id.is_virtual() {
                let size =
                    if id.is_virtual() { offset + got as u64 + u64::from(got as u32 == length) } else { after.size };
                return Ok(Reply::Bytes { bytes, state: BodyState { size, ..after } });
            }
            before = after;
        }
    }
}

fn state(attr: &Attr) -> BodyState {
    BodyState { node: attr.id.0, size: attr.size, modified: attr.mtime.0, changed: attr.ctime.0 }
}

fn absent_is_none(found: Result<Attr>) -> Result<Option<Attr>> {
    match found {
        Ok(attr) => Ok(Some(attr)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}
