//! Sealing big drafts in the background.
//!
//! A draft is sealed when nobody has its file open and it has been left alone for a moment, so that a log that is opened,
//! appended to and closed again and again is not hashed each time. Order: hash, sync the bytes, name the file by its
//! digest, sync that name, then the row. The staging name goes when the row is durable.
//!
//! Drafts are sealed several at a time, step by step: the first sync of a step brings the disk's journal up to all of them,
//! and the others find their work done.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::live::{Live, LiveState};
use super::put::{Found, Put};
use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, BodyRow, StagingId, WriteTxn};
use crate::model::NodeId;

/// How long a file has to be left alone before it is sealed.
const QUIET: Duration = Duration::from_millis(300);
/// When to try again what could not be sealed.
const LATER: Duration = Duration::from_secs(2);
/// How long a close may be on its way when somebody asks for a digest.
const CLOSE_DELAY_MAX: Duration = Duration::from_millis(5);
/// How long the first of several that are due waits for the others.
const GATHER: Duration = Duration::from_millis(200);
/// How many are sealed at a time at most. Each is open meanwhile, and whoever opens one waits for a moment.
const BATCH: usize = 64;
/// No more are taken once so many bytes were hashed.
const BATCH_BYTES: u64 = 16 << 20;

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
        match waiting.due.values().min().copied() {
            None => {
                self.wake.wait_for(&mut waiting, Duration::from_secs(1));
            }
            Some(first) => {
                self.wake.wait_until(&mut waiting, first + GATHER);
            }
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

/// A draft whose bytes were read.
struct Hashed {
    live: Arc<Live>,
    generation: u64,
    file: File,
    put: Put,
}

/// The thread.
pub(super) fn run(store: &Weak<Vfs>, queue: &SealQueue) {
    while let Some(due) = queue.take_due() {
        if due.is_empty() {
            continue;
        }
        let Some(vfs) = store.upgrade() else { return };
        if let Err(e) = vfs.seal(due) {
            log::error!("{e}");
        }
        if let Err(e) = vfs.barrier() {
            log::error!("making seals durable: {e}");
        }
    }
}

impl Vfs {
    /// Seals every closed draft now, as far as nobody is writing to it.
    pub(super) fn seal_all(&self) -> Result<()> {
        self.seal(self.sealing.take_all())
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
            self.seal(vec![id])?;
        }
        Ok(())
    }

    /// Seals the drafts of files, but for those that somebody opens before that is done: they are sealed afterwards.
    ///
    /// # Errors
    /// Why the first that could not be sealed was not; all others are.
    fn seal(&self, mut ids: Vec<NodeId>) -> Result<()> {
        let mut sealed = Ok(());
        ids.reverse();
        while !ids.is_empty() {
            sealed = sealed.and(self.seal_some(&mut ids));
        }
        sealed
    }

    /// Seals some, the last ones first, and takes them out.
    fn seal_some(&self, ids: &mut Vec<NodeId>) -> Result<()> {
        let _turn = self.sealing.turn.lock();
        let began = Instant::now();
        let (mut ended, mut hashed) = (Vec::new(), Vec::new());
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH
            && bytes < BATCH_BYTES
            && let Some(id) = ids.pop()
        {
            count += 1;
            let live = self.live.acquire(id);
            match self.hash_draft(&live) {
                Ok(Ok(draft)) => {
                    bytes += draft.put.size;
                    hashed.push(draft);
                }
                Ok(Err(outcome)) => ended.push((live, Ok(outcome))),
                Err(e) => ended.push((live, Err(e))),
            }
        }
        let before = ended.len();
        self.put_sealed(hashed, &mut ended);
        let done = ended[before..].iter().filter(|(_, outcome)| matches!(outcome, Ok(Sealing::Done))).count();
        let done = u32::try_from(done).unwrap_or(u32::MAX);
        (0..done).for_each(|_| self.stats.seals.time(began.elapsed() / done));
        let mut sealed = Ok(());
        for (live, outcome) in ended {
            sealed = sealed.and(self.end_seal(&live, outcome));
        }
        sealed
    }

    /// Reads the draft of a file, unless there is nothing to seal now.
    fn hash_draft(&self, live: &Arc<Live>) -> Result<std::result::Result<Hashed, Sealing>> {
        let id = live.id;
        let (row, generation) = {
            let state = live.state.lock();
            let row = self.lock_core().meta.read().find_node(id)?;
            (row, state.generation)
        };
        let Some(BodyRow::Draft(draft)) = row.filter(|row| row.attr.nlink > 0).map(|row| row.body) else {
            return Ok(Err(Sealing::Done));
        };
        if self.live.users(id) > 1 {
            // Their last close puts the file back into the queue.
            return Ok(Err(Sealing::Done));
        }
        let Some(file) = self.staging.open_for_sealing(draft)? else {
            log::info!("node {id}: its draft is open for writing, perhaps since before a crash; it is not sealed yet");
            return Ok(Err(Sealing::Postponed));
        };
        let Some((digest, size)) = crate::cas::hash_file(&file, |_| self.live.users(id) == 1)? else {
            return Ok(Err(Sealing::Postponed));
        };
        crate::cas::begin_to_write_back(&file, 0..size);
        let put = Put { draft, digest, size, blocks: 0 };
        Ok(Ok(Hashed { live: Arc::clone(live), generation, file, put }))
    }

    /// Makes the drafts that were read bodies, as far as nobody has touched them since.
    fn put_sealed(&self, drafts: Vec<Hashed>, ended: &mut Vec<(Arc<Live>, Result<Sealing>)>) {
        let files: Vec<_> = drafts.iter().map(|draft| &draft.file).collect();
        let synced = crate::cas::sync_data(&files);
        let mut ready = Vec::with_capacity(drafts.len());
        for (mut draft, synced) in drafts.into_iter().zip(synced) {
            match synced.and_then(|()| self.ready(&mut draft)) {
                Ok(()) => ready.push(draft),
                Err(e) => ended.push((Arc::clone(&draft.live), Err(e))),
            }
        }
        // Nobody may open them from here on. Who cannot be locked at once is in use: waiting here for one, with others
        // locked, could wait for somebody who waits for those.
        let mut arriving: Vec<(&Hashed, MutexGuard<'_, LiveState>)> = Vec::new();
        // Those with the bytes of one that arrives: they refer to what it has become, once it has.
        let (mut announced, mut twins) = (HashSet::new(), Vec::new());
        for draft in &ready {
            let id = draft.live.id;
            let state = draft.live.state.try_lock();
            let untouched =
                |state: &LiveState| self.live.users(id) == 1 && state.generation == draft.generation && !state.loaded;
            let Some(mut state) = state.filter(|state| untouched(state)) else {
                ended.push((Arc::clone(&draft.live), Ok(Sealing::Postponed)));
                continue;
            };
            if announced.contains(&draft.put.digest) {
                twins.push((draft, state));
                continue;
            }
            let sealed = if draft.put.size == 0 {
                self.seal_empty(id, draft.put.draft).map(Some)
            } else {
                self.refer(&draft.put, name_blob(id, draft.put.draft)).map(|found| match found {
                    Found::Done(()) => Some(()),
                    Found::Missing(_) => None,
                })
            };
            match sealed {
                Ok(Some(())) => {
                    *state = LiveState::default();
                    ended.push((Arc::clone(&draft.live), Ok(Sealing::Done)));
                }
                Ok(None) => {
                    announced.insert(draft.put.digest);
                    arriving.push((draft, state));
                }
                Err(e) => ended.push((Arc::clone(&draft.live), Err(e))),
            }
        }
        let puts: Vec<_> = arriving.iter().map(|(draft, _)| &draft.put).collect();
        let named = self.name_files(&puts);
        let mut end = |draft: &Hashed, mut state: MutexGuard<'_, LiveState>, outcome: Result<()>| {
            if outcome.is_ok() {
                *state = LiveState::default();
            }
            ended.push((Arc::clone(&draft.live), outcome.map(|()| Sealing::Done)));
        };
        for ((draft, state), named) in arriving.into_iter().zip(named) {
            end(draft, state, self.arrive(&draft.put, named, name_blob(draft.live.id, draft.put.draft)));
        }
        for (draft, state) in twins {
            end(draft, state, self.put_checked(&draft.put, name_blob(draft.live.id, draft.put.draft)));
        }
    }

    /// Sees what space a draft takes now that it is durable, and that an old body with the same bytes can be trusted.
    fn ready(&self, draft: &mut Hashed) -> Result<()> {
        let found = rustix::fs::fstat(&draft.file).map_err(|e| Error::io("look at a draft", e.into()))?;
        draft.put.blocks = found.st_blocks.cast_unsigned();
        self.recheck(&draft.put.digest)
    }

    /// After an attempt: whoever opened and closed the file meanwhile was not its last user, and what they left to do is
    /// done here.
    fn end_seal(&self, live: &Arc<Live>, outcome: Result<Sealing>) -> Result<()> {
        let finished = if outcome.is_ok() { self.let_go(live) } else { self.let_go_unsealed(live) };
        match outcome {
            Ok(Sealing::Done) => finished,
            Ok(Sealing::Postponed) => {
                self.sealing.push_later(live.id);
                finished
            }
            Err(e) => {
                // A disk that is full now may have room later.
                self.sealing.push_later(live.id);
                let what = format!("seal node {}; its draft stays", live.id);
                Err(Error::new(e.kind(), what).because(e))
            }
        }
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
}

/// The operation that gives a node the blob that its draft became.
fn name_blob(
    id: NodeId,
    draft: StagingId,
) -> impl FnOnce(&WriteTxn<'_>, &mut super::store::Side, &BlobRow) -> Result<()> {
    move |txn, _, blob| {
        let row = txn.node(id)?;
        if row.body != BodyRow::Draft(draft) {
            return Err(Error::new(ErrorKind::Damaged, format!("node {id} lost its draft while it was sealed")));
        }
        txn.update_body(id, &row.with_body(BodyRow::Blob(blob.id), blob.size, blob.blocks))
    }
}
