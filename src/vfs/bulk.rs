//! Many files in one transaction: what an import does to the tree.
//!
//! [`Vfs::bulk`] is one operation: all of it or nothing. Nobody else reads or writes the store meanwhile, so whoever uses
//! it has done all that can be done before. It decides nothing: which of the two wins is for `transfer/`.

use std::collections::HashMap;

use super::arrivals::{Arrivals, Arrived};
use super::attrs::blocks_of;
use super::body::put_small;
use super::changes::note;
use super::entries::{DIRECTORY_BYTES, NewNode, make_node};
use super::live::Content;
use super::resolve::paths_of;
use super::store::{Removal, Side, Vfs};
use super::work::keeper;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{AttrRow, BlobId, BlobRow, BodyChange, BodyRow, NodeRow, WriteTxn};
use crate::model::work::key;
use crate::model::{Attr, Caller, Change, Digest, Kind, Name, NodeId, Timestamp, VPath, perm};
use crate::work::Scope;

/// The prefix of the attributes that are custom metadata.
const USER: &[u8] = b"user.";
/// How many blobs are remembered, and counted together, at a time.
const BLOBS_MAX: usize = 65_536;
/// The permission bits of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// A transaction over many files.
#[derive(Debug)]
pub struct Bulk<'a> {
    vfs: &'a Vfs,
    txn: &'a WriteTxn<'a>,
    side: &'a mut Side,
    ceiling: &'a mut u64,
    arrivals: &'a Arrivals<'a>,
    caller: Caller,
    now: Timestamp,
    /// The directories from the root to the last path that was asked for, as far as they exist.
    trail: Vec<Step>,
    /// Blobs that were asked for, and are what they were: whoever drops one forgets all of them.
    blobs: HashMap<Digest, BlobRow>,
    /// References that are not counted in the rows yet.
    refs: HashMap<BlobId, u64>,
    /// Files whose attributes the queue follows from have changed: it follows when all files are there.
    work: Vec<NodeId>,
}

#[derive(Debug)]
struct Step {
    name: Vec<u8>,
    row: NodeRow,
    /// Names were made in it, and its row does not say so yet.
    changed: bool,
    /// In a directory that this operation has made: the last name made in it. What sorts behind is not there, and needs not
    /// be looked for, as the lines of an export come in their order.
    last: Option<Vec<u8>>,
}

impl Step {
    fn of(name: &[u8], row: NodeRow, is_new: bool) -> Self {
        Self { name: name.to_vec(), row, changed: false, last: is_new.then(Vec::new) }
    }

    /// Whether it is certain that there is no such name.
    fn lacks(&self, name: Name<'_>) -> bool {
        self.last.as_ref().is_some_and(|last| name.as_bytes() > last.as_slice())
    }

    /// A name is made.
    fn has(&mut self, name: Name<'_>) {
        if let Some(last) = self.last.as_mut().filter(|last| name.as_bytes() > last.as_slice()) {
            last.clear();
            last.extend_from_slice(name.as_bytes());
        }
    }
}

/// What stands at a path.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// Nothing; the directories above may be missing, too.
    Nothing,
    /// One of the names above leads to something that is no directory.
    Blocked,
    /// Something that is no regular file.
    Other(Kind),
    /// A file.
    File(BulkFile),
}

/// A file that is there already.
#[derive(Clone, Copy, Debug)]
pub struct BulkFile {
    row: NodeRow,
    /// The digest of its body; `None` while it is being written.
    pub digest: Option<Digest>,
    /// Somebody has it open.
    pub is_open: bool,
    /// The time of its last change.
    pub modified: Timestamp,
}

/// A body that can be referred to.
#[derive(Clone, Copy, Debug)]
pub struct BulkBody(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    Empty,
    Stored(BlobRow),
    Came(Digest, Arrived),
}

/// What a file becomes: a line of an import.
#[derive(Clone, Copy, Debug)]
pub struct BulkNew<'r> {
    /// Its body.
    pub body: BulkBody,
    /// When it was made.
    pub created: Timestamp,
    /// When its body was changed last.
    pub modified: Timestamp,
    /// How many bodies it has had.
    pub version: u64,
    /// Its permission bits.
    pub mode: Option<u32>,
    /// Its custom metadata, by key, the keys with their prefix.
    pub metadata: &'r [AttrRow],
}

impl Vfs {
    /// Runs `operation` on the tree as one transaction; nothing of it stays unless `keep`. It is durable when this
    /// returns. What is made belongs to `caller`.
    ///
    /// # Errors
    /// What `operation` returns, what the disk and the database report: nothing has changed then.
    pub fn bulk<T>(
        &self,
        caller: Caller,
        arrivals: &Arrivals<'_>,
        keep: bool,
        operation: impl FnOnce(&mut Bulk<'_>) -> Result<T>,
    ) -> Result<T> {
        let now = self.now();
        let value = self.change_alone(keep, |txn, side, ceiling| {
            let trail = vec![Step::of(b"", txn.node(NodeId::ROOT)?, false)];
            let (blobs, refs, work) = (HashMap::new(), HashMap::new(), Vec::new());
            let mut bulk = Bulk { vfs: self, txn, side, ceiling, arrivals, caller, now, trail, blobs, refs, work };
            let value = operation(&mut bulk)?;
            bulk.leave_to(0)?;
            bulk.count_refs()?;
            bulk.keep_queue()?;
            Ok(value)
        })?;
        if keep {
            self.make_durable()?;
        }
        Ok(value)
    }
}

impl Bulk<'_> {
    /// The time of the operation.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// What the database reports.
    pub fn find(&mut self, path: &VPath) -> Result<Found> {
        let Some((parents, last)) = split(path) else { return Ok(Found::Other(Kind::Directory)) };
        let same = self.trail[1..].iter().zip(&parents).take_while(|(step, name)| step.name == name.as_bytes()).count();
        self.leave_to(same + 1)?;
        for name in &parents[same..] {
            match self.child(*name)? {
                None => return Ok(Found::Nothing),
                Some(row) if row.attr.kind != Kind::Directory => return Ok(Found::Blocked),
                Some(row) => self.trail.push(Step::of(name.as_bytes(), row, false)),
            }
        }
        match self.child(last)? {
            None => Ok(Found::Nothing),
            Some(row) if row.attr.kind != Kind::File => Ok(Found::Other(row.attr.kind)),
            Some(row) => self.file(row).map(Found::File),
        }
    }

    /// What a name leads to in the last directory of the trail.
    fn child(&self, name: Name<'_>) -> Result<Option<NodeRow>> {
        let is_absent = self.trail.last().is_some_and(|step| step.lacks(name));
        if is_absent { Ok(None) } else { self.txn.child(self.here(), name) }
    }

    fn file(&self, row: NodeRow) -> Result<BulkFile> {
        let mut digest = match row.body {
            BodyRow::Empty => Some(Digest::EMPTY),
            BodyRow::Blob(blob) => Some(self.txn.blob(blob)?.digest),
            BodyRow::Draft(_) => None,
        };
        let mut is_open = false;
        if let Some(live) = self.vfs.live.get(row.attr.id) {
            // Only tried: its lock comes before the one that is held here.
            let state = live.state.try_lock();
            is_open = state.as_ref().is_none_or(|state| state.loaded);
            let as_its_row = state.is_some_and(|state| {
                let saved = matches!(state.content, Content::Sealed(_) | Content::Memory { saved: true, .. });
                !state.loaded || (saved && state.pending.is_none())
            });
            digest = digest.filter(|_| as_its_row);
        }
        Ok(BulkFile { row, digest, is_open, modified: row.attr.mtime })
    }

    /// The body of that digest and size, if the store has it or it came.
    ///
    /// # Errors
    /// What the database reports.
    pub fn body(&mut self, digest: &Digest) -> Result<Option<BulkBody>> {
        if *digest == Digest::EMPTY {
            return Ok(Some(BulkBody(Source::Empty)));
        }
        if let Some(blob) = self.blobs.get(digest) {
            return Ok(Some(BulkBody(Source::Stored(*blob))));
        }
        let stored = self.txn.find_blob(digest)?.filter(|blob| self.vfs.is_intact(blob));
        if let Some(blob) = stored {
            if self.blobs.len() == BLOBS_MAX {
                self.blobs.clear();
            }
            self.blobs.insert(*digest, blob);
            return Ok(Some(BulkBody(Source::Stored(blob))));
        }
        let came = self.arrivals.came.get(digest).filter(|came| match came {
            Arrived::Known => false,
            Arrived::Small { .. } | Arrived::Large { staging: None, .. } => true,
            Arrived::Large { .. } => self.vfs.blobs.has(digest),
        });
        Ok(came.map(|came| BulkBody(Source::Came(*digest, *came))))
    }

    /// Whether one of the files that have this body has a path that `sees` accepts.
    ///
    /// # Errors
    /// What the database reports.
    pub fn is_seen(&self, body: &BulkBody, sees: &dyn Fn(&VPath) -> bool) -> Result<bool> {
        let Source::Stored(blob) = &body.0 else { return Ok(true) };
        for node in self.txn.nodes_of_blob(blob.id)? {
            if paths_of(self.txn, node)?.iter().any(sees) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a file where [`Bulk::find`] has just found nothing, with the directories above it.
    ///
    /// # Errors
    /// `NoSpace`, what the database reports.
    pub fn create(&mut self, path: &VPath, new: &BulkNew<'_>) -> Result<()> {
        let Some((parents, last)) = split(path) else { return Ok(()) };
        for name in &parents[self.trail.len() - 1..] {
            self.make_directory(*name)?;
        }
        let (body, size, blocks) = self.refer(&new.body)?;
        self.side.reserve_id(self.txn, self.ceiling)?;
        let id = self.side.new_id();
        let Some(here) = self.trail.last_mut() else { return Ok(()) };
        here.changed = true;
        let (above, now) = (here.row.attr, self.now);
        let attr = Attr {
            id,
            kind: Kind::File,
            mode: new.mode.unwrap_or(0o644) & 0o777,
            uid: self.caller.uid,
            gid: if above.mode & perm::SET_GID != 0 { above.gid } else { self.caller.gid },
            rdev: 0,
            nlink: 1,
            size,
            blocks,
            atime: new.modified,
            mtime: new.modified,
            ctime: now,
            btime: new.created,
        };
        self.txn.insert_node(&NodeRow { attr, version: new.version, body }, None)?;
        self.txn.insert_entry(above.id, last, id)?;
        here.has(last);
        for entry in new.metadata {
            self.vfs.space.take(entry.1.len() as u64)?;
            self.txn.set_attr_row(id, entry)?;
        }
        if new.metadata.iter().any(|(key, ..)| key::is_kept(key)) {
            self.work.push(id);
        }
        Ok(())
    }

    /// Brings the queue to what the attributes say that were written.
    fn keep_queue(&mut self) -> Result<()> {
        if self.work.is_empty() {
            return Ok(());
        }
        self.side.queue_used = true;
        keeper(self.txn, self.side, self.now, Scope::EVERYTHING).adopt(&self.work)
    }

    fn make_directory(&mut self, name: Name<'_>) -> Result<()> {
        // Because make_node takes the next number without asking.
        self.side.reserve_id(self.txn, self.ceiling)?;
        let new = NewNode { kind: Kind::Directory, mode: DIRECTORY_MODE, rdev: 0, target: None, version: 1 };
        self.vfs.space.take(DIRECTORY_BYTES)?;
        let row = make_node(self.txn, self.side, &self.caller, self.here(), name, &new, self.now)?;
        if let Some(here) = self.trail.last_mut() {
            here.has(name);
        }
        self.trail.push(Step::of(name.as_bytes(), row, true));
        Ok(())
    }

    /// Gives a file that nobody has open another body, and what else a line says of it.
    ///
    /// # Errors
    /// `NoSpace`, what the database reports.
    pub fn replace(&mut self, file: &BulkFile, new: &BulkNew<'_>) -> Result<()> {
        let row = &file.row;
        let (body, size, blocks) = self.refer(&new.body)?;
        // The last reference may be one that is not counted yet, and a blob may go.
        self.count_refs()?;
        self.blobs.clear();
        let change = BodyChange { size, blocks, mtime: new.modified, ctime: self.now, new_versions: 0, body };
        self.txn.update_body(row.attr.id, &change)?;
        self.side.drop_body(self.txn, row.body)?;
        // What the kernel has cached of it is of the body before.
        note([Change::all_bytes(row.attr.id)]);
        self.vfs.changes.all_pages_are_stale(row.attr.id);
        self.describe(file, new, new.version.max(row.version + 1))
    }

    /// Gives a file that keeps its body what else a line says of it.
    ///
    /// # Errors
    /// What the database reports.
    pub fn refresh(&mut self, file: &BulkFile, new: &BulkNew<'_>) -> Result<()> {
        self.describe(file, new, new.version.max(file.row.version))
    }

    fn describe(&mut self, file: &BulkFile, new: &BulkNew<'_>, version: u64) -> Result<()> {
        let id = file.row.attr.id;
        let mode = new.mode.map_or(file.row.attr.mode, |mode| mode & 0o777);
        self.txn.update_attr(&Attr { mode, mtime: new.modified, ctime: self.now, ..file.row.attr })?;
        self.txn.set_origin(id, new.created, version)?;
        let before: Vec<_> = self.txn.attrs_with_json(id)?;
        let before: Vec<_> = before.into_iter().filter(|(key, ..)| key.starts_with(USER)).collect();
        for (key, ..) in before.iter().filter(|(key, ..)| new.metadata.iter().all(|(other, ..)| other != key)) {
            self.txn.delete_attr(id, key)?;
        }
        for entry in new.metadata.iter().filter(|entry| !before.contains(entry)) {
            self.vfs.space.take(entry.1.len() as u64)?;
            self.txn.set_attr_row(id, entry)?;
        }
        if new.metadata.iter().chain(&before).any(|(key, ..)| key::is_kept(key)) {
            self.work.push(id);
        }
        Ok(())
    }

    /// One reference more on a body, which gets its row if it has none.
    fn refer(&mut self, body: &BulkBody) -> Result<(BodyRow, u64, u64)> {
        let (digest, arrived) = match &body.0 {
            Source::Empty => return Ok((BodyRow::Empty, 0, 0)),
            Source::Stored(blob) => {
                self.vfs.space.take(0)?;
                if self.refs.len() == BLOBS_MAX {
                    self.count_refs()?;
                }
                *self.refs.entry(blob.id).or_default() += 1;
                return Ok((BodyRow::Blob(blob.id), blob.size, blob.blocks));
            }
            Source::Came(digest, arrived) => (digest, arrived),
        };
        match arrived {
            Arrived::Known => {
                Err(Error::new(ErrorKind::Io, format!("find the body {digest}, which was there a moment ago")))
            }
            Arrived::Small { offset, size } => {
                self.vfs.space.take(*size as u64)?;
                let bytes = self.arrivals.small(*offset, *size)?;
                let blob = put_small(self.txn, digest, &bytes, &self.vfs.stats.small)?;
                Ok((BodyRow::Blob(blob), *size as u64, blocks_of(*size as u64)))
            }
            Arrived::Large { staging, size, blocks } => {
                let blob = match self.txn.find_blob(digest)? {
                    Some(blob) => {
                        self.txn.add_blob_ref(blob.id)?;
                        blob.id
                    }
                    None => {
                        let blob = self.txn.insert_blob(digest, *size, *blocks, None)?;
                        self.txn.pardon(digest)?;
                        blob
                    }
                };
                if let Some(staging) = staging {
                    self.side.removals.push(Removal::Staging(*staging, Some((blob, *digest))));
                }
                Ok((BodyRow::Blob(blob), *size, *blocks))
            }
        }
    }

    /// Counts in the rows what was referred to.
    fn count_refs(&mut self) -> Result<()> {
        self.refs.drain().try_for_each(|(blob, refs)| self.txn.add_blob_refs(blob, refs))
    }

    fn here(&self) -> NodeId {
        self.trail.last().map_or(NodeId::ROOT, |step| step.row.attr.id)
    }

    /// Leaves the directories of the trail beyond the first `depth`, and writes that they have changed.
    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.trail.len() > depth {
            let Some(step) = self.trail.pop() else { break };
            if step.changed {
                self.txn.touch_directory(step.row.attr.id, self.now, 0)?;
            }
        }
        Ok(())
    }
}

impl BulkBody {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Source::Empty | Source::Came(_, Arrived::Known) => 0,
            Source::Stored(blob) => blob.size,
            Source::Came(_, Arrived::Small { size, .. }) => *size as u64,
            Source::Came(_, Arrived::Large { size, .. }) => *size,
        }
    }
}

/// The names of the directories above, and the last one.
fn split(path: &VPath) -> Option<(Vec<Name<'_>>, Name<'_>)> {
    let mut names: Vec<_> = path.names().collect();
    let last = names.pop()?;
    Some((names, last))
}
