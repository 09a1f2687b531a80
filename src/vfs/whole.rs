//! Whole bodies: a file that gets its body in one step, as the library writes and copies files.
//!
//! Whoever looks sees the body from before or the one from after, never a part of either, and a crash leaves one of the
//! two. The node and its number stay when its body is replaced. One exception: a file that the kernel serves at this moment
//! (passthrough) is written in place, because the kernel's handles are on its very file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::attrs::blocks_of;
use super::body::{copy_file, put_small, sealed};
use super::changes::note;
use super::entries::{NewNode, child, make_node};
use super::live::{Content, LiveState, Reader, SealedBody};
use super::put::Put;
use super::resolve::directory;
use super::store::{Side, Vfs};
use super::types::{HandleId, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, BodyChange, BodyRow, StagingId, WriteTxn};
use crate::model::{Attr, Caller, Change, Digest, Hasher, Kind, Name, NodeId, SMALL_BODY_BYTES_MAX};

/// How often a name may pass to another node between finding it and giving it a body.
const TRIES_MAX: usize = 64;
/// Bytes read at a time from a file that is copied and not shared.
const PIECE_BYTES: usize = 1 << 20;

/// What to do with a name that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Give the file that has it the new body.
    Replace,
    /// Fail with `Exists`.
    Refuse,
}

/// Where a body comes from: a piece with each call, `None` at its end.
pub type Pieces<'a> = dyn FnMut() -> Result<Option<Vec<u8>>> + 'a;

/// A body that was received whole, on its way into a file.
pub struct Received(Whole);

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").finish_non_exhaustive()
    }
}

/// A body that is complete and private.
enum Whole {
    Empty,
    Small { bytes: Vec<u8>, digest: Digest },
    Staged { draft: StagingId, file: File, digest: Digest, size: u64 },
    Shared(SealedBody),
}

/// A body as the row of a node names it.
struct Named {
    body: BodyRow,
    size: u64,
    blocks: u64,
    blob: Option<BlobRow>,
}

impl Named {
    const EMPTY: Self = Self { body: BodyRow::Empty, size: 0, blocks: 0, blob: None };

    fn of(blob: BlobRow) -> Self {
        Self { body: BodyRow::Blob(blob.id), size: blob.size, blocks: blob.blocks, blob: Some(blob) }
    }
}

impl Vfs {
    /// Gives a name a whole body: makes a file with `mode`, or replaces the body of the one that is there.
    ///
    /// # Errors
    /// `NotFound` and `NotADirectory` for the parent, `Exists` with [`Taken::Refuse`], `IsADirectory` or `Invalid` when the
    /// name leads to what is no regular file, `NoSpace`, and what `pieces` fails with. Then nothing has changed.
    pub fn put(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        mode: u32,
        taken: Taken,
        pieces: &mut Pieces<'_>,
    ) -> Result<Attr> {
        let whole = self.receive_for((parent, name), taken, pieces)?;
        self.place_received(caller, (parent, name), mode, taken, whole)
    }

    /// The first half of [`Vfs::put`]: receives a body, of which nothing shows before [`Vfs::place_received`].
    ///
    /// # Errors
    /// As there.
    pub fn receive_for(&self, to: (NodeId, Name<'_>), taken: Taken, pieces: &mut Pieces<'_>) -> Result<Received> {
        self.check_writable()?;
        self.check_target(to, taken)?;
        self.receive(pieces).map(Received)
    }

    /// The second half: the name gets the body.
    ///
    /// # Errors
    /// As there.
    pub fn place_received(
        &self,
        caller: &Caller,
        to: (NodeId, Name<'_>),
        mode: u32,
        taken: Taken,
        body: Received,
    ) -> Result<Attr> {
        self.place(caller, to, mode, taken, body.0)
    }

    /// Copies a file to a name: its body is shared wherever that is possible, its mode goes along, its attributes do not.
    ///
    /// # Errors
    /// As [`Vfs::put`], and those of reading `from`.
    pub fn copy(&self, caller: &Caller, from: NodeId, to: (NodeId, Name<'_>), taken: Taken) -> Result<Attr> {
        self.check_writable()?;
        self.check_target(to, taken)?;
        self.check_is_file(from)?;
        let mode = self.getattr(from)?.mode;
        self.seal_if_closed(from)?;
        if let Some(whole) = self.share_whole(from)? {
            match self.place(caller, to, mode, taken, whole) {
                // Written to or removed in between: its bytes are read instead.
                Err(e) if e.kind() == ErrorKind::Damaged => {}
                placed => return placed,
            }
        }
        let read = OpenMode { read: true, ..OpenMode::default() };
        let source = self.open(caller, from, read)?.handle;
        let mut offset = 0;
        let mut piece = || {
            let mut bytes = vec![0; PIECE_BYTES];
            let got = self.read(source, offset, &mut bytes)?;
            bytes.truncate(got);
            offset += got as u64;
            Ok((got > 0).then_some(bytes))
        };
        let copied = self.receive(&mut piece).and_then(|whole| self.place(caller, to, mode, taken, whole));
        self.release(source).and(copied)
    }

    /// Writes at the end of a file, wherever that is when the write happens.
    ///
    /// # Errors
    /// As [`Vfs::write`].
    pub fn append(&self, handle: HandleId, data: &[u8]) -> Result<usize> {
        self.write_where(handle, None, data)
    }

    /// Refuses early, before a body is received for nothing.
    fn check_target(&self, (parent, name): (NodeId, Name<'_>), taken: Taken) -> Result<()> {
        let core = self.lock_core();
        let read = core.meta.read();
        match read.child(parent, name)? {
            Some(_) if taken == Taken::Refuse => Err(Error::new(ErrorKind::Exists, "make a file")),
            Some(row) => check_kind(row.attr.kind),
            None => directory(&read, parent).map(drop),
        }
    }

    /// Takes in a body: a small one in memory, a larger one in a staging file that is on the disk when this returns.
    fn receive(&self, pieces: &mut Pieces<'_>) -> Result<Whole> {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces()? {
            self.space.take(piece.len() as u64)?;
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend_from_slice(&piece);
            }
            if bytes.len() > SMALL_BODY_BYTES_MAX {
                return self.receive_staged(&bytes, pieces);
            }
        }
        if bytes.is_empty() {
            return Ok(Whole::Empty);
        }
        let digest = Digest::of(&bytes);
        Ok(Whole::Small { bytes, digest })
    }

    fn receive_staged(&self, first: &[u8], pieces: &mut Pieces<'_>) -> Result<Whole> {
        let (draft, file) = self.staging.make()?;
        let received = self.fill(&file, first, pieces);
        match received {
            Ok((digest, size)) => Ok(Whole::Staged { draft, file, digest, size }),
            Err(e) => self.staging.remove(draft).and(Err(e)),
        }
    }

    fn fill(&self, file: &File, first: &[u8], pieces: &mut Pieces<'_>) -> Result<(Digest, u64)> {
        let failed = |e| Error::io("write a draft", e);
        let mut hasher = Hasher::default();
        hasher.update(first);
        file.write_all_at(first, 0).map_err(failed)?;
        let mut size = first.len() as u64;
        while let Some(piece) = pieces()? {
            self.space.take(piece.len() as u64)?;
            super::body::end_of(size, piece.len() as u64)?;
            hasher.update(&piece);
            file.write_all_at(&piece, size).map_err(failed)?;
            size += piece.len() as u64;
        }
        file.sync_data().map_err(|e| Error::io("sync a draft", e))?;
        Ok((hasher.finish(), size))
    }

    /// The body of a file as it is in the store; `None` of one that is being written.
    fn share_whole(&self, id: NodeId) -> Result<Option<Whole>> {
        let live = self.live.acquire(id);
        let whole = {
            let mut state = live.state.lock();
            self.load(id, &mut state).and_then(|()| {
                self.save_memory(id, &mut state)?;
                match &state.content {
                    Content::Sealed(None) => Ok(Some(Whole::Empty)),
                    Content::Memory { bytes, .. } if bytes.is_empty() => Ok(Some(Whole::Empty)),
                    _ => Ok(self.sealed_body(id, &state)?.map(Whole::Shared)),
                }
            })
        };
        self.let_go(&live)?;
        whole
    }

    /// Gives a name its body, whoever makes or removes that name meanwhile. A staging file goes either way.
    fn place(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        mode: u32,
        taken: Taken,
        whole: Whole,
    ) -> Result<Attr> {
        let mut placed = Ok(None);
        for _ in 0..TRIES_MAX {
            placed = self.place_once(caller, (parent, name), mode, taken, &whole);
            if !matches!(placed, Ok(None)) {
                break;
            }
        }
        if let (Whole::Staged { draft, .. }, Err(_) | Ok(None)) = (&whole, &placed) {
            self.staging.remove(*draft)?;
        }
        placed?.ok_or_else(|| Error::new(ErrorKind::InUse, format!("write to {name}, which others keep replacing")))
    }

    /// One attempt; `None` when the name has passed to another node, or has come or gone, in between.
    fn place_once(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        mode: u32,
        taken: Taken,
        whole: &Whole,
    ) -> Result<Option<Attr>> {
        let there = self.lock_core().meta.read().child(parent, name)?;
        let Some(row) = there else {
            let new = NewNode { kind: Kind::File, mode, rdev: 0, target: None, version: 1 };
            let now = self.now();
            let made = self.with_body(whole, |txn, side, named| {
                let attr = make_node(txn, side, caller, parent, name, &new, now)?.attr;
                txn.update_body(attr.id, &change_to(&named, now))?;
                Ok(Attr { size: named.size, blocks: named.blocks, ..attr })
            });
            return match made {
                Err(e) if e.kind() == ErrorKind::Exists && taken == Taken::Replace => Ok(None),
                made => made.map(Some),
            };
        };
        if taken == Taken::Refuse {
            return Err(Error::new(ErrorKind::Exists, "make a file"));
        }
        check_kind(row.attr.kind)?;
        let live = self.live.acquire(row.attr.id);
        let replaced = {
            let mut state = live.state.lock();
            self.replace((parent, name), row.attr.id, &mut state, whole)
        };
        let finished = self.let_go(&live);
        if replaced? {
            finished?;
            return self.getattr(row.attr.id).map(Some);
        }
        finished.map(|()| None)
    }

    /// Replaces the body of a live file under its lock, if the name still leads to it; whether it did.
    fn replace(
        &self,
        (parent, name): (NodeId, Name<'_>),
        id: NodeId,
        state: &mut LiveState,
        whole: &Whole,
    ) -> Result<bool> {
        self.begin_version(state)?;
        match self.load(id, state) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            loaded => loaded?,
        }
        if state.kernel_handles > 0 {
            return self.overwrite(id, state, whole).map(|()| true);
        }
        let now = self.now();
        let mut moved = false;
        let replaced = self.with_body(whole, |txn, side, named| {
            let row = match child(txn, parent, name) {
                Ok(row) if row.attr.id == id => row,
                _ => {
                    moved = true;
                    return Err(Error::new(ErrorKind::NotFound, "find a name again"));
                }
            };
            txn.update_body(id, &change_to(&named, now))?;
            side.drop_body(txn, row.body)?;
            Ok(named)
        });
        if moved {
            return Ok(false);
        }
        let named = replaced?;
        if let Content::Memory { bytes, .. } = &state.content {
            self.space.memory(-(bytes.len() as u64).cast_signed());
        }
        state.touch(now);
        state.pending = None;
        state.content = Content::Sealed(named.blob.as_ref().map(sealed));
        state.sealed_blocks = named.blocks;
        note([Change::all_bytes(id)]);
        // What the kernel has cached of the file is older than this.
        self.changes.all_pages_are_stale(id);
        Ok(true)
    }

    /// Writes a body into the file that the kernel serves.
    fn overwrite(&self, id: NodeId, state: &mut LiveState, whole: &Whole) -> Result<()> {
        self.set_size(id, state, 0)?;
        let Content::Staged { file, .. } = &state.content else {
            return Err(Error::new(ErrorKind::Io, "write a body that the kernel serves"));
        };
        let failed = |e| Error::io("write a draft", e);
        match whole {
            Whole::Empty => {}
            Whole::Small { bytes, .. } => file.write_all_at(bytes, 0).map_err(failed)?,
            Whole::Staged { file: source, draft, .. } => {
                copy_file(source, file)?;
                self.staging.remove(*draft)?;
            }
            Whole::Shared(body) => match self.reader(&mut body.clone())? {
                Reader::Bytes(bytes) => file.write_all_at(&bytes, 0).map_err(failed)?,
                Reader::File(source) => copy_file(&source.0.read(), file)?,
            },
        }
        note([Change::all_bytes(id)]);
        let now = self.now();
        state.touch_written(now)
    }

    /// Runs one operation with a reference on the blob of a body, which is made if it is not there.
    fn with_body<T>(
        &self,
        whole: &Whole,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, Named) -> Result<T>,
    ) -> Result<T> {
        match whole {
            Whole::Empty => self.change(|txn, side| operation(txn, side, Named::EMPTY)),
            Whole::Small { bytes, digest } => self.change(|txn, side| {
                let blob = put_small(txn, digest, bytes, &self.stats.small)?;
                operation(txn, side, Named::of(txn.blob(blob)?))
            }),
            Whole::Shared(body) => self.change(|txn, side| {
                let found = txn.find_blob(&body.digest)?.filter(|row| row.id == body.blob);
                let blob = found.ok_or_else(|| Error::new(ErrorKind::Damaged, "share a body that is gone"))?;
                txn.add_blob_ref(blob.id)?;
                operation(txn, side, Named::of(blob))
            }),
            Whole::Staged { draft, file, digest, size } => {
                let found = rustix::fs::fstat(file).map_err(|e| Error::io("look at a draft", e.into()))?;
                let blocks = found.st_blocks.cast_unsigned().max(blocks_of(1));
                let put = Put { draft: *draft, digest: *digest, size: *size, blocks };
                self.put_file(&put, |txn, side, blob| operation(txn, side, Named::of(*blob)))
            }
        }
    }
}

fn change_to(named: &Named, now: crate::model::Timestamp) -> BodyChange {
    BodyChange { size: named.size, blocks: named.blocks, mtime: now, ctime: now, new_versions: 0, body: named.body }
}

fn check_kind(kind: Kind) -> Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(Error::new(ErrorKind::IsADirectory, "give a directory a body")),
        _ => Err(Error::new(ErrorKind::Invalid, "give a body to what is no regular file")),
    }
}
