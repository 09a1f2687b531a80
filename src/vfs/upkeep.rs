//! The thread that looks after what is stored while nobody asks for it: it collects what a crash has left in `cas/`, and
//! hashes bodies round and round, so that damage is found while there still is a copy elsewhere to heal it with.
//!
//! Nobody waits for this thread: it reads at a limited rate and sleeps in between. It is not made nicer than others,
//! nice(2), because it takes locks for microseconds that everybody waits for, and must not lose the processor while it
//! holds one.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::damage::Inspected;
use super::store::Vfs;
use crate::error::Result;
use crate::meta::{BlobId, BlobRow, Place};

/// Where the scrub goes on: the last blob that was hashed.
const POSITION: &str = "scrub_after";
/// When the last round ended, ns since 1970.
const ROUND_ENDED: &str = "scrub_ended";
/// How often the position is written down: each time is a commit, also in a store that nobody else changes.
const POSITION_AGE: Duration = Duration::from_secs(60);
/// Blobs whose rows are read at a time.
const BATCH: usize = 64;
/// What looking at a body costs besides its bytes, so that very many small ones are not hashed faster than they should.
const BODY_COST_BYTES: u64 = 4096;
/// The thread sleeps each time it has done as much.
const PIECE_BYTES: u64 = 1 << 20;
/// The longest sleep: after it the thread sees whether somebody still has the store.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How fast, and how often, a store looks after itself in the background.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long after the opening the thread begins, so that it is not in the way of those who opened the store.
    pub after_open: Duration,
    /// How many bytes are hashed in a second: at the default of 8 MiB, 675 GiB a day.
    pub bytes_per_second: u64,
    /// How long after a round of hashing everything the next one begins.
    pub between_rounds: Duration,
    /// How long the store has to have been open before files of `cas/` that no row names are removed, and how long such
    /// a file has to have been left alone. No draft needs it (`gc.rs`): it is time to notice that the database is an old
    /// one, put back from a backup, and names less than there is.
    pub grace: Duration,
    /// How long to rest between two of the 256 parts of `cas/`, and when there was nothing to do.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            after_open: Duration::from_secs(5 * 60),
            bytes_per_second: 8 << 20,
            between_rounds: Duration::from_secs(7 * 24 * 3600),
            grace: Duration::from_secs(15 * 60),
            rest: Duration::from_millis(200),
        }
    }
}

/// What the thread and the store say to each other.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    pace: Pace,
    stop: bool,
    /// A pace was given that the thread has not looked at.
    new: bool,
}

impl Upkeep {
    pub(super) fn stop(&self) {
        self.orders.lock().stop = true;
        self.changed.notify_all();
    }

    fn pace(&self) -> Pace {
        let mut orders = self.orders.lock();
        orders.new = false;
        orders.pace
    }

    /// Sleeps, unless a pace was given since the last one was asked for; false when the thread is to end.
    fn sleep(&self, duration: Duration) -> bool {
        let mut orders = self.orders.lock();
        let until = Instant::now() + duration.min(SLEEP_MAX);
        while !orders.stop && !orders.new && Instant::now() < until {
            self.changed.wait_until(&mut orders, until);
        }
        !orders.stop
    }
}

/// What the thread remembers from one piece of work to the next.
#[derive(Debug)]
struct Progress {
    opened: Instant,
    /// The part of `cas/` to be collected next, and whether a file was too young to be removed.
    part: u8,
    young: bool,
    /// When the last collection that left something ended.
    left: Option<Instant>,
    /// The last blob whose file was compared with its stamp; `None` when that is done for this round.
    compared: Option<BlobId>,
    /// The last blob that was hashed, once it is known where this round stands.
    scrubbed: Option<BlobId>,
    /// Whether a round has ended since the opening: the next one begins with comparing.
    ended: bool,
    noted: Instant,
    /// Bytes hashed that were not slept for yet.
    owed: u64,
}

/// The thread.
pub(super) fn run(store: &Weak<Vfs>, upkeep: &Upkeep) {
    let now = Instant::now();
    let mut progress = Progress {
        opened: now,
        part: 0,
        young: false,
        left: None,
        compared: Some(BlobId(i64::MIN)),
        scrubbed: None,
        ended: false,
        noted: now,
        owed: 0,
    };
    let mut rest = upkeep.pace().after_open;
    while upkeep.sleep(rest) {
        let Some(vfs) = store.upgrade() else { return };
        let waiting = upkeep.pace().after_open.saturating_sub(progress.opened.elapsed());
        if !waiting.is_zero() {
            rest = waiting;
            continue;
        }
        rest = vfs.look_after(upkeep, &mut progress).unwrap_or_else(|e| {
            log::warn!("looking after the store in the background, trying again later: {e}");
            SLEEP_MAX
        });
    }
    if let Some(vfs) = store.upgrade()
        && let Err(e) = vfs.note_position(&mut progress)
    {
        log::warn!("the next scrub begins further back: {e}");
    }
}

impl Vfs {
    /// Changes how fast, and how often, the store looks after itself from now on.
    pub fn set_pace(&self, pace: Pace) {
        let mut orders = self.upkeep.orders.lock();
        orders.pace = pace;
        orders.new = true;
        self.upkeep.changed.notify_all();
    }

    /// One piece of work, and how long to rest after it.
    fn look_after(self: &Arc<Self>, upkeep: &Upkeep, progress: &mut Progress) -> Result<Duration> {
        let pace = upkeep.pace();
        if self.lock_core().meta.is_broken() {
            return Ok(SLEEP_MAX);
        }
        let rested = progress.left.is_none_or(|left| left.elapsed() >= pace.grace);
        if !self.is_tidy() && progress.opened.elapsed() >= pace.grace && rested {
            self.sweep_part(pace, progress)?;
            return Ok(pace.rest);
        }
        if let Some(after) = progress.compared {
            progress.compared = self.scrub_unknown(upkeep, progress, after)?;
            return Ok(Duration::ZERO);
        }
        self.scrub_next(upkeep, progress)
    }

    /// Collects one part of `cas/`.
    fn sweep_part(&self, pace: Pace, progress: &mut Progress) -> Result<()> {
        if progress.part == 0 {
            self.begin_sweep();
            progress.young = false;
        }
        let found = self.collect_part(progress.part, pace.grace)?;
        if found.files > 0 {
            log::info!("removed {} files of {} bytes in cas/ that no row names", found.files, found.bytes);
        }
        progress.young |= found.young;
        progress.part = progress.part.wrapping_add(1);
        if progress.part == 0 {
            progress.left = progress.young.then(Instant::now);
            if !progress.young {
                self.end_sweep();
            }
        }
        Ok(())
    }

    /// Hashes, of some blobs behind `after`, those whose file is not the one that was sealed or last verified. The last
    /// one, or `None` when there are no more.
    fn scrub_unknown(
        self: &Arc<Self>,
        upkeep: &Upkeep,
        progress: &mut Progress,
        after: BlobId,
    ) -> Result<Option<BlobId>> {
        let batch = self.lock_core().meta.read().blobs(after, BATCH)?;
        for blob in batch.iter().filter(|blob| blob.place == Place::File) {
            let known = self.blobs.open(&blob.digest).and_then(|file| self.is_known(&super::body::sealed(blob), &file));
            // One that is missing is told in the round, once.
            if matches!(known, Ok(false)) && !self.scrub(upkeep, progress, blob)? {
                return Ok(Some(after));
            }
        }
        // Rows and times of files cost little, and not nothing.
        progress.owed += batch.len() as u64 * BODY_COST_BYTES / 4;
        self.pay(upkeep, progress, 0);
        Ok(batch.last().map(|last| last.id))
    }

    /// Hashes some blobs where the last piece ended, when a round is under way or due.
    fn scrub_next(self: &Arc<Self>, upkeep: &Upkeep, progress: &mut Progress) -> Result<Duration> {
        let pace = upkeep.pace();
        let after = match progress.scrubbed {
            Some(after) => after,
            None => {
                let core = self.lock_core();
                let read = core.meta.read();
                match (read.setting(POSITION)?, read.setting(ROUND_ENDED)?) {
                    (Some(after), _) => BlobId(after),
                    (None, Some(ended)) if crate::model::Timestamp(ended).age(self.now()) < pace.between_rounds => {
                        return Ok(SLEEP_MAX);
                    }
                    (None, _) => BlobId(i64::MIN),
                }
            }
        };
        progress.scrubbed = Some(after);
        if std::mem::take(&mut progress.ended) {
            progress.compared = Some(BlobId(i64::MIN));
            return Ok(Duration::ZERO);
        }
        let batch = self.lock_core().meta.read().blobs(after, BATCH)?;
        if batch.is_empty() {
            self.end_round(progress)?;
            return Ok(pace.rest);
        }
        for blob in &batch {
            if !self.scrub(upkeep, progress, blob)? {
                break;
            }
            progress.scrubbed = Some(blob.id);
        }
        if progress.noted.elapsed() >= POSITION_AGE {
            self.note_position(progress)?;
        }
        Ok(Duration::ZERO)
    }

    /// Hashes one body; false when it was not finished.
    fn scrub(self: &Arc<Self>, upkeep: &Upkeep, progress: &mut Progress, blob: &BlobRow) -> Result<bool> {
        let mut paid = 0;
        let found = self.inspect(blob, |done| {
            let piece = done - paid;
            paid = done;
            self.pay(upkeep, progress, piece)
        })?;
        match found {
            Inspected::Stopped => return Ok(false),
            Inspected::Wrong(damaged) => self.log_damage(&damaged),
            Inspected::Right | Inspected::Gone => {}
        }
        let rest = blob.size.saturating_sub(paid);
        Ok(self.pay(upkeep, progress, rest + BODY_COST_BYTES))
    }

    /// Sleeps for what was hashed; false when the thread is to end, also because nobody else has the store any more.
    fn pay(self: &Arc<Self>, upkeep: &Upkeep, progress: &mut Progress, bytes: u64) -> bool {
        progress.owed += bytes;
        if progress.owed < PIECE_BYTES {
            return true;
        }
        let rate = upkeep.pace().bytes_per_second.max(1);
        let nanos = u128::from(progress.owed) * 1_000_000_000 / u128::from(rate);
        progress.owed = 0;
        upkeep.sleep(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))) && Arc::strong_count(self) > 1
    }

    /// Writes down where the scrub stands, for the next start.
    fn note_position(&self, progress: &mut Progress) -> Result<()> {
        progress.noted = Instant::now();
        let Some(BlobId(after)) = progress.scrubbed else { return Ok(()) };
        self.change(|txn, _| txn.set_setting(POSITION, after))
    }

    fn end_round(&self, progress: &mut Progress) -> Result<()> {
        let now = self.now();
        self.change(|txn, _| {
            txn.delete_setting(POSITION)?;
            txn.set_setting(ROUND_ENDED, now.0)
        })?;
        progress.scrubbed = None;
        progress.ended = true;
        Ok(())
    }
}
