//! The files of a store as they were at one moment, in the order of their paths, for whoever reads them all.
//!
//! What was closed is sealed first, and what is open is saved, so that the moment shows every write that was made before
//! it. Afterwards nobody waits for the reader. A file that is still open for writing has no digest; the reader sees its
//! bytes as they are when it comes to them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read as _, Write as _};

use super::resolve::directory;
use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{AttrRow, BodyRow, ListedRow, Place, StagingId};
use crate::model::{Attr, Digest, Kind, NodeId, VPath};

/// Entries read at a time.
const BATCH: usize = 256;

/// One moment of a store.
#[derive(Debug)]
pub struct Snapshot<'a> {
    vfs: &'a Vfs,
    meta: crate::meta::Snapshot,
    /// The versions of bodies that were being written, which their rows do not count.
    versions: HashMap<NodeId, u64>,
    keeps_bodies: bool,
}

/// One name of something that is no directory.
#[derive(Debug)]
pub struct Listed<'a> {
    /// The path, which may be longer than one that can be typed.
    pub path: &'a [u8],
    /// What stat(2) told of it.
    pub attr: Attr,
    /// Bodies so far, one that is being written included.
    pub version: u64,
    /// The digest of its body; `None` while that is being written.
    pub digest: Option<Digest>,
    /// All extended attributes, by key.
    pub attrs: Vec<AttrRow>,
    draft: Option<StagingId>,
}

/// A directory that is being listed.
struct Level {
    directory: NodeId,
    /// How much of the path leads here, the slash at the end included.
    path_bytes: usize,
    batch: VecDeque<ListedRow>,
    last: Vec<u8>,
    ended: bool,
    /// Directories that were met and come later: `a/b` sorts behind `a.b`. Each begins with the one before it.
    waiting: Vec<(Vec<u8>, NodeId)>,
}

impl Vfs {
    /// Holds on to this moment. With `keep_bodies` the bodies of then stay readable, too, as long as it lives.
    ///
    /// # Errors
    /// What saving drafts, the disk and the database report.
    pub fn snapshot(&self, keep_bodies: bool) -> Result<Snapshot<'_>> {
        let mut versions = HashMap::new();
        if !self.read_only {
            self.save_kept()?;
            self.seal_all()?;
            versions = self.save_open()?;
        }
        let mut core = self.lock_core();
        let meta = core.meta.snapshot()?;
        core.side.snapshots += u32::from(keep_bodies);
        Ok(Snapshot { vfs: self, meta, versions, keeps_bodies: keep_bodies })
    }

    /// Brings what open files have in memory, their times included, into the rows; the versions that these do not count.
    fn save_open(&self) -> Result<HashMap<NodeId, u64>> {
        let mut versions = HashMap::new();
        for live in self.live.all() {
            let mut state = live.state.lock();
            // One whose last name is gone has nothing to show, and one that was closed in between is saved.
            let named = self.lock_core().meta.read().find_node(live.id)?.filter(|row| row.attr.nlink > 0);
            let Some(row) = named.filter(|_| state.loaded && self.live.users(live.id) > 0) else { continue };
            self.notice_kernel_writes(&mut state)?;
            if state.uncounted() > 0 {
                versions.insert(live.id, row.version + state.uncounted());
            }
            self.save_memory(live.id, &mut state)?;
            if state.pending.is_some() {
                self.change(|txn, _| self.flush_times(txn, live.id, &state))?;
                state.pending = None;
            }
        }
        Ok(versions)
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if self.keeps_bodies {
            self.vfs.lock_core().side.snapshots -= 1;
        }
    }
}

impl Snapshot<'_> {
    /// Calls `each` for every name at or below `below` that leads to no directory, by path in the order of bytes. A
    /// directory is entered if `enter` says so of its path.
    ///
    /// # Errors
    /// What the database reports, and what `each` returns. It is no error if there is nothing at `below`.
    pub fn walk(
        &self,
        below: &VPath,
        enter: &dyn Fn(&[u8]) -> bool,
        each: &mut dyn FnMut(Listed<'_>) -> Result<()>,
    ) -> Result<()> {
        let read = self.meta.read();
        let mut at = NodeId::ROOT;
        let mut path = Vec::new();
        for name in below.names() {
            let found = read.list_one(at, name)?;
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
            match found {
                Some(row) if row.node.attr.kind == Kind::Directory && enter(&path) => at = row.node.attr.id,
                Some(row) if path == below.as_bytes() && row.node.attr.kind != Kind::Directory => {
                    return each(self.listed(&path, row)?);
                }
                _ => return Ok(()),
            }
        }
        directory(&read, at)?;
        path.push(b'/');
        let mut levels = vec![Level::new(at, path.len())];
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_bytes);
            if level.batch.is_empty() && !level.ended {
                level.batch = read.list(level.directory, &level.last, BATCH)?.into();
                level.ended = level.batch.len() < BATCH;
                if let Some(last) = level.batch.back() {
                    level.last.clone_from(&last.name);
                }
            }
            if let Some((name, id)) = level.due() {
                path.extend_from_slice(&name);
                path.push(b'/');
                levels.push(Level::new(id, path.len()));
                continue;
            }
            let Some(row) = level.batch.pop_front() else {
                levels.pop();
                continue;
            };
            path.extend_from_slice(&row.name);
            if row.node.attr.kind != Kind::Directory {
                each(self.listed(&path, row)?)?;
            } else if enter(&path) {
                level.waiting.push((row.name, row.node.attr.id));
            }
        }
        Ok(())
    }

    fn listed<'p>(&self, path: &'p [u8], row: ListedRow) -> Result<Listed<'p>> {
        let attr = row.node.attr;
        let (digest, draft) = match row.node.body {
            BodyRow::Empty => (Some(Digest::EMPTY), None),
            BodyRow::Draft(draft) => (None, Some(draft)),
            BodyRow::Blob(_) if row.digest.is_none() => {
                let what = format!("the blob of node {} has no row", attr.id);
                return Err(Error::new(ErrorKind::Damaged, what));
            }
            BodyRow::Blob(_) => (row.digest, None),
        };
        // One that was closed in between is counted by its row.
        let version = self.versions.get(&attr.id).map_or(1, |version| *version).max(row.node.version);
        Ok(Listed { path, attr, version, digest, attrs: row.attrs, draft })
    }

    /// Opens the body of that digest, to be read from its beginning. It is hashed first unless it is known to be right.
    ///
    /// # Errors
    /// `Damaged` when it does not hash to its name or is missing; what reading reports.
    pub fn open_body(&self, digest: &Digest) -> Result<Readable> {
        let read = self.meta.read();
        let damaged = || Error::new(ErrorKind::Damaged, format!("copy the body {digest}"));
        if *digest == Digest::EMPTY {
            return Ok(Readable::Memory(Vec::new()));
        }
        let blob = read.find_blob(digest)?.ok_or_else(damaged)?;
        if blob.place == Place::Database {
            let bytes = read.small_body(blob.id)?.filter(|bytes| Digest::of(bytes) == *digest).ok_or_else(damaged)?;
            return Ok(Readable::Memory(bytes));
        }
        let file = match self.vfs.blobs.open(digest) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(damaged()),
            opened => opened?,
        };
        let is_known = blob.stamp == Some(crate::cas::stamp(&file)?);
        if !is_known && crate::cas::hash_file(&file, |_| true)? != Some((*digest, blob.size)) {
            return Err(damaged());
        }
        Ok(Readable::File(file))
    }

    /// Opens the body of a file that was being written, or has been sealed since. `None` if it has no body any more.
    ///
    /// # Errors
    /// What open(2) and the database report.
    pub fn open_draft(&self, listed: &Listed<'_>) -> Result<Option<Readable>> {
        let Some(draft) = listed.draft else { return Ok(None) };
        match File::open(self.vfs.staging.path(draft)) {
            Ok(file) => return Ok(Some(Readable::File(file))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("open a draft", e)),
        }
        let core = self.vfs.lock_core();
        let read = core.meta.read();
        match read.find_node(listed.attr.id)?.map(|row| row.body) {
            Some(BodyRow::Empty) => Ok(Some(Readable::Memory(Vec::new()))),
            Some(BodyRow::Blob(blob)) => {
                let blob = read.blob(blob)?;
                Ok(Some(match blob.place {
                    Place::Database => Readable::Memory(read.small_body(blob.id)?.unwrap_or_default()),
                    Place::File => Readable::File(self.vfs.blobs.open(&blob.digest)?),
                }))
            }
            Some(BodyRow::Draft(draft)) => {
                let file = File::open(self.vfs.staging.path(draft)).map_err(|e| Error::io("open a draft", e))?;
                Ok(Some(Readable::File(file)))
            }
            None => Ok(None),
        }
    }
}

/// A body that can be read from its beginning. That of a file that was being written at the moment of a snapshot is as it is
/// now, and may change while it is read.
#[derive(Debug)]
pub enum Readable {
    /// In a file.
    File(File),
    /// Small.
    Memory(Vec<u8>),
}

impl Readable {
    /// The digest and size of the bytes as they are now.
    ///
    /// # Errors
    /// What reading reports.
    pub fn hash(&self) -> Result<(Digest, u64)> {
        match self {
            Self::Memory(bytes) => Ok((Digest::of(bytes), bytes.len() as u64)),
            Self::File(file) => hash(file),
        }
    }

    /// Writes the bytes as they are now into an empty file.
    ///
    /// # Errors
    /// What reading and writing report.
    pub fn copy(&mut self, into: &mut File) -> Result<u64> {
        let copied = match self {
            Self::Memory(bytes) => into.write_all(bytes).map(|()| bytes.len() as u64),
            Self::File(file) => std::io::copy(file, into),
        };
        copied.map_err(|e| Error::io("copy a body", e))
    }

    /// Gives the bytes to `each`, in pieces of at most so many.
    ///
    /// # Errors
    /// What reading reports, and what `each` returns.
    pub fn pieces(&mut self, bytes_max: usize, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let file = match self {
            Self::Memory(bytes) => {
                bytes.chunks(bytes_max).try_for_each(each)?;
                return Ok(bytes.len() as u64);
            }
            Self::File(file) => file,
        };
        let (mut piece, mut done) = (vec![0; bytes_max], 0);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(done),
                Ok(got) => {
                    done += got as u64;
                    each(&piece[..got])?;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read a body", e)),
            }
        }
    }
}

/// The digest and size of a file that is not the store's.
///
/// # Errors
/// What reading reports.
pub fn hash(file: &File) -> Result<(Digest, u64)> {
    crate::cas::hash_file(file, |_| true)?.ok_or_else(|| Error::new(ErrorKind::Io, "hash a file"))
}

impl Level {
    fn new(directory: NodeId, path_bytes: usize) -> Self {
        let (batch, last) = (VecDeque::new(), Vec::new());
        Self { directory, path_bytes, batch, last, ended: false, waiting: Vec::new() }
    }

    /// The directory whose content sorts before the next name.
    fn due(&mut self) -> Option<(Vec<u8>, NodeId)> {
        let (name, _) = self.waiting.last()?;
        let next = self.batch.front();
        let due = next.is_none_or(|next| name.iter().chain(b"/").lt(next.name.iter()));
        if due { self.waiting.pop() } else { None }
    }
}
