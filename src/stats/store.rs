//! What an open store does, whoever asked for it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::counter::{Cache, CacheReport, Counter};
use super::histogram::Histogram;
use super::report::{Backlog, BodyReport, CommitReport, StoreReport};
use super::traffic::{Traffic, TrafficReport};

/// The counters of a store, since it was opened.
#[derive(Debug)]
pub struct Stats {
    began: Instant,
    /// Requests of the library, from this process and others, and how long they took.
    pub library: Histogram,
    /// Syncs of the database's log, and how long they took.
    pub log_syncs: Histogram,
    /// Moves of the log into the database, and how long they took.
    pub checkpoints: Histogram,
    /// Seals of big drafts in the background, and how long they took, each with hashing and syncing.
    pub seals: Histogram,
    /// Bodies that were stored as files.
    pub big: Bodies,
    /// Bodies that were stored in the database.
    pub small: Bodies,
    /// Opens of files that others have open, of which everything is known already.
    pub live_files: Cache,
    /// Reads of bodies that somebody has read and verified, and still has open.
    pub bodies: Cache,
    /// Opens at which the kernel could keep the pages that it had of a file.
    pub kernel_pages: Cache,
    /// Looks at where a node stands, for identities to which something can be refused.
    pub places: Cache,
    mounts: Mutex<Vec<Weak<Traffic>>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            library: Histogram::default(),
            log_syncs: Histogram::default(),
            checkpoints: Histogram::default(),
            seals: Histogram::default(),
            big: Bodies::default(),
            small: Bodies::default(),
            live_files: Cache::default(),
            bodies: Cache::default(),
            kernel_pages: Cache::default(),
            places: Cache::default(),
            mounts: Mutex::default(),
        }
    }
}

/// Bodies that were finished.
#[derive(Debug, Default)]
pub struct Bodies {
    stored: Counter,
    bytes: Counter,
    shared: Counter,
    shared_bytes: Counter,
}

impl Bodies {
    /// A body of so many bytes was finished; `shared`: its bytes were stored already.
    pub fn note(&self, bytes: u64, shared: bool) {
        let (count, sum) = if shared { (&self.shared, &self.shared_bytes) } else { (&self.stored, &self.bytes) };
        count.add(1);
        sum.add(bytes);
    }

    fn look(&self) -> BodyReport {
        BodyReport {
            stored: self.stored.look(),
            bytes: self.bytes.look(),
            shared: self.shared.look(),
            shared_bytes: self.shared_bytes.look(),
        }
    }
}

/// Commits of the database, counted by whoever commits.
#[derive(Debug, Default)]
pub struct Commits {
    took: Histogram,
    operations: Histogram,
}

impl Commits {
    /// So many operations were committed together.
    pub fn note(&self, took: Duration, operations: u64) {
        self.took.time(took);
        self.operations.add(operations);
    }

    /// What was counted so far.
    #[must_use]
    pub fn look(&self) -> CommitReport {
        CommitReport { took: self.took.look(), operations: self.operations.look() }
    }
}

impl Stats {
    /// Takes a mount in, for as long as it lives.
    pub fn watch(&self, traffic: &Arc<Traffic>) {
        let mut mounts = self.mounts.lock();
        mounts.retain(|mount| mount.strong_count() > 0);
        mounts.push(Arc::downgrade(traffic));
    }

    /// What the mounts have counted, in the order in which they came.
    #[must_use]
    pub fn mounts(&self) -> Vec<TrafficReport> {
        // Not under the lock: whoever mounts need not wait for somebody who looks.
        let mounts: Vec<_> = self.mounts.lock().iter().filter_map(Weak::upgrade).collect();
        mounts.iter().map(|mount| mount.look()).collect()
    }

    /// What was counted so far; the rest is known by others.
    #[must_use]
    pub fn look(&self, commits: CommitReport, pages: Pages, backlog: Backlog) -> StoreReport {
        StoreReport {
            nanos: u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
            library: self.library.look(),
            commits,
            log_syncs: self.log_syncs.look(),
            checkpoints: self.checkpoints.look(),
            seals: self.seals.look(),
            big: self.big.look(),
            small: self.small.look(),
            caches: vec![
                CacheReport { name: "database_pages".into(), hits: pages.hits, misses: pages.misses },
                self.live_files.look("live_files"),
                self.bodies.look("bodies"),
                self.kernel_pages.look("kernel_pages"),
                self.places.look("places"),
            ],
            page_bytes: pages.bytes,
            backlog,
        }
    }
}

/// The cache of the database's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Pages that were there.
    pub hits: u64,
    /// Pages that were read.
    pub misses: u64,
    /// Memory it takes.
    pub bytes: u64,
}
