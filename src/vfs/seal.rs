//! Sealing big drafts in the background.
//!
//! A draft is sealed when nobody has its file open and it has been left alone for a moment, so that a log that is opened,
//! appended to and closed again and again is not hashed each time. Order: hash, sync the bytes, name the file by its
//! digest, sync that name, then the row. The staging name goes when the row is durable.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::live::Live;
use super::store::{Removal, Side, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, BodyRow, Place, StagingId, WriteTxn};
use crate::model::{Digest, NodeId};

/// How long a file has to be left alone before it is sealed.
const QUIET: Duration = Duration::from_millis(300);
/// When to try again what could not be sealed.
const LATER: Duration = Duration::from_secs(2);
/// How long a close may be on its way when somebody asks for a digest.
const CLOSE_DELAY_MAX: Duration = Duration::from_millis(5);
/// After how many seals their rows are made durable and staging names removed, at the latest.
const BATCH: usize = 64;

/// Files that wait for being sealed, with the time from which they may be.
#[derive(Debug, Default)]
pub(super) struct SealQueue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Held during a seal: a second one of the same file would take the first for somebody who has it open. Comes before
    /// all other locks.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    due: HashMap<NodeId, Instant>,
    stop: bool,
}

impl SealQueue {
    /// A draft was closed.
    pub(super) fn push(&self, id: NodeId) {
        let mut waiting = self.waiting.lock();
        let was_empty = waiting.due.is_empty();
        waiting.due.insert(id, Instant::now() + QUIET);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// A draft could not be sealed now.
    fn push_later(&self, id: NodeId) {
        self.waiting.lock().due.insert(id, Instant::now() + LATER);
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.waiting.lock().stop = true;
        self.wake.notify_all();
    }

    /// Waits for files that are due and takes them out; `None` at the end.
    fn take_due(&self) -> Option<Vec<NodeId>> {
        let mut waiting = self.waiting.lock();
        if waiting.stop {
            return None;
        }
        let now = Instant::now();
        match waiting.due.values().min().copied() {
            None => {
                self.wake.wait_for(&mut waiting, Duration::from_secs(1));
            }
            Some(first) if first > now => {
                self.wake.wait_for(&mut waiting, first - now);
            }
            Some(_) => {}
        }
        if waiting.stop {
            return None;
        }
        let now = Instant::now();
        let mut due: Vec<_> = waiting.due.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, *id)).collect();
        due.sort_unstable();
        due.truncate(BATCH);
        for (_, id) in &due {
            waiting.due.remove(id);
        }
        Some(due.into_iter().map(|(_, id)| id).collect())
    }

    /// How many there are.
    pub(super) fn length(&self) -> usize {
        self.waiting.lock().due.len()
    }

    /// Takes all out, due or not.
    fn take_all(&self) -> Vec<NodeId> {
        self.waiting.lock().due.drain().map(|(id, _)| id).collect()
    }
}

/// How an attempt to seal ended.
enum Sealing {
    /// The file is sealed, or needs not be.
    Done,
    /// It was opened meanwhile, or is being written: later.
    Postponed,
}

/// The thread.
pub(super) fn run(store: &Weak<Vfs>, queue: &SealQueue) {
    while let Some(due) = queue.take_due() {
        if due.is_empty() {
            continue;
        }
        let Some(vfs) = store.upgrade() else { return };
        for id in due {
            if let Err(e) = vfs.seal(id) {
                log::error!("sealing node {id}; its draft stays: {e}");
            }
        }
        if let Err(e) = vfs.barrier() {
            log::error!("making seals durable: {e}");
        }
    }
}

impl Vfs {
    /// Seals every closed draft now, as far as nobody is writing to it.
    pub(super) fn seal_all(&self) -> Result<()> {
        for id in self.sealing.take_all() {
            self.seal(id)?;
        }
        Ok(())
    }

    /// Seals the draft of a file that nobody has open, for somebody who asks for its digest and has to wait for it.
    pub(super) fn seal_if_closed(&self, id: NodeId) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        // The kernel says that a file was closed only after close(2) has returned.
        let asked = Instant::now();
        while self.live.users(id) > 0 && self.sealing.turn.try_lock().is_some() {
            if asked.elapsed() > CLOSE_DELAY_MAX {
                return Ok(());
            }
            std::thread::sleep(CLOSE_DELAY_MAX / 50);
        }
        let is_draft = |row: crate::meta::NodeRow| matches!(row.body, BodyRow::Draft(_));
        if self.lock_core().meta.read().find_node(id)?.is_some_and(is_draft) {
            self.seal(id)?;
        }
        Ok(())
    }

    /// Seals the draft of one file, unless somebody opens it before that is done: then it is sealed after them.
    fn seal(&self, id: NodeId) -> Result<()> {
        let _turn = self.sealing.turn.lock();
        let live = self.live.acquire(id);
        let outcome = self.seal_live(&live);
        // Whoever opened and closed the file meanwhile was not its last user: what they left to do is done here.
        let finished = if outcome.is_ok() { self.let_go(&live) } else { self.let_go_unsealed(&live) };
        match outcome {
            Ok(Sealing::Done) => finished,
            Ok(Sealing::Postponed) => {
                self.sealing.push_later(id);
                finished
            }
            Err(e) => {
                // A disk that is full now may have room later.
                self.sealing.push_later(id);
                Err(e)
            }
        }
    }

    fn seal_live(&self, live: &Live) -> Result<Sealing> {
        let (id, began) = (live.id, Instant::now());
        let (row, generation) = {
            let state = live.state.lock();
            let row = self.lock_core().meta.read().find_node(id)?;
            (row, state.generation)
        };
        let Some(BodyRow::Draft(draft)) = row.filter(|row| row.attr.nlink > 0).map(|row| row.body) else {
            return Ok(Sealing::Done);
        };
        if self.live.users(id) > 1 {
            // Their last close puts the file back into the queue.
            return Ok(Sealing::Done);
        }
        let Some(file) = self.staging.open_for_sealing(draft)? else {
            log::info!("node {id}: its draft is open for writing, perhaps since before a crash; it is not sealed yet");
            return Ok(Sealing::Postponed);
        };
        let Some((digest, size)) = crate::cas::hash_file(&file, |_| self.live.users(id) == 1)? else {
            return Ok(Sealing::Postponed);
        };
        file.sync_data().map_err(|e| Error::io("sync a draft", e))?;
        let mut state = live.state.lock();
        let untouched = self.live.users(id) == 1 && state.generation == generation && !state.loaded;
        if !untouched {
            return Ok(Sealing::Postponed);
        }
        if size == 0 {
            return self.seal_empty(id, draft).map(|()| Sealing::Done);
        }
        let found = rustix::fs::fstat(&file).map_err(|e| Error::io("look at a draft", e.into()))?;
        self.put_sealed(id, draft, &digest, size, found.st_blocks.cast_unsigned())?;
        *state = super::live::LiveState::default();
        self.stats.seals.time(began.elapsed());
        Ok(Sealing::Done)
    }

    fn seal_empty(&self, id: NodeId, draft: StagingId) -> Result<()> {
        self.change(|txn, side| {
            let row = txn.node(id)?;
            if row.body != BodyRow::Draft(draft) {
                return Ok(());
            }
            txn.update_body(id, &row.with_body(BodyRow::Empty, 0, 0))?;
            side.drop_body(txn, row.body)
        })
    }

    /// Gives a draft its digest as name and the node that blob as body, or one reference more on the blob that has the
    /// same bytes already.
    fn put_sealed(&self, id: NodeId, draft: StagingId, digest: &Digest, size: u64, blocks: u64) -> Result<BlobRow> {
        self.put_file(draft, digest, size, blocks, |txn, _, blob| name_blob(txn, id, draft, blob).map(|()| *blob))
    }

    /// Runs one operation with a reference on the blob that a synced staging file becomes, or that has the same bytes
    /// already. The staging name goes when the operation is durable; it stays when it fails.
    pub(super) fn put_file<T>(
        &self,
        draft: StagingId,
        digest: &Digest,
        size: u64,
        blocks: u64,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, &BlobRow) -> Result<T>,
    ) -> Result<T> {
        self.recheck(digest)?;
        let mut core = self.lock_core();
        let known = core.meta.read().find_blob(digest)?;
        if let Some(blob) = known.filter(|blob| self.is_intact(blob)) {
            let shared = self.change_in(&mut core, |txn, side| {
                txn.add_blob_ref(blob.id)?;
                let value = operation(txn, side, &blob)?;
                side.removals.push(Removal::Staging(draft, None));
                Ok(value)
            })?;
            self.stats.big.note(size, true);
            return Ok(shared);
        }
        // Nobody removes the file while its digest is among those that arrive.
        core.side.arriving.insert(*digest);
        drop(core);
        let put = self.blobs.put(&self.staging.path(draft), digest).and_then(|()| self.blobs.sync(digest));
        let mut core = self.lock_core();
        let outcome = put.and_then(|()| {
            self.change_in(&mut core, |txn, side| {
                let blob = match txn.find_blob(digest)? {
                    Some(blob) => {
                        txn.add_blob_ref(blob.id)?;
                        blob
                    }
                    None => {
                        let blob = txn.insert_blob(digest, size, blocks, None)?;
                        txn.pardon(digest)?;
                        txn.blob(blob)?
                    }
                };
                let value = operation(txn, side, &blob)?;
                side.removals.push(Removal::Staging(draft, Some((blob.id, *digest))));
                Ok(value)
            })
        });
        core.side.arriving.remove(digest);
        drop(core);
        if outcome.is_ok() {
            self.stats.big.note(size, false);
        } else {
            // The file may have its name by now, and if nobody tries again it keeps it.
            self.needs_sweep();
        }
        self.readers.lock().remove(digest);
        outcome
    }

    /// Hashes the file of a blob that is about to stand for a draft with the same bytes, unless it is the one that was
    /// sealed: a damaged one is put aside, and the draft takes its place.
    fn recheck(&self, digest: &Digest) -> Result<()> {
        let known = self.lock_core().meta.read().find_blob(digest)?;
        let Some(blob) = known.filter(|blob| blob.place == Place::File) else { return Ok(()) };
        match self.blobs.open(digest).and_then(|file| self.verify_file(&super::body::sealed(&blob), &file)) {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => Err(e),
            _ => Ok(()),
        }
    }

    /// Whether the bytes of a blob are there: a damaged one was put aside, and is healed by the same bytes.
    pub(super) fn is_intact(&self, blob: &BlobRow) -> bool {
        blob.place == Place::Database || self.blobs.has(&blob.digest)
    }
}

fn name_blob(txn: &crate::meta::WriteTxn<'_>, id: NodeId, draft: StagingId, blob: &BlobRow) -> Result<()> {
    let row = txn.node(id)?;
    if row.body != BodyRow::Draft(draft) {
        return Err(Error::new(ErrorKind::Damaged, format!("node {id} lost its draft while it was sealed")));
    }
    txn.update_body(id, &row.with_body(BodyRow::Blob(blob.id), blob.size, blob.blocks))
}
