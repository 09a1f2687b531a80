//! What an open store does, whoever asked for it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::counter::{Cache, CacheReport, Counter};
use super::histogram::{Distribution, Histogram};
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

/// What a store has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Since when, in nanoseconds until the look.
    pub nanos: u64,
    /// Requests of the library, and their nanoseconds.
    pub library: Distribution,
    /// Commits.
    pub commits: CommitReport,
    /// Syncs of the log, in nanoseconds.
    pub log_syncs: Distribution,
    /// Moves of the log into the database, in nanoseconds.
    pub checkpoints: Distribution,
    /// Seals in the background, in nanoseconds.
    pub seals: Distribution,
    /// Bodies stored as files.
    pub big: BodyReport,
    /// Bodies stored in the database.
    pub small: BodyReport,
    /// Caches, by name.
    pub caches: Vec<CacheReport>,
    /// Memory that the pages of the database take.
    pub page_bytes: u64,
    /// What there is at this moment.
    pub backlog: Backlog,
}

/// What the commits of a store were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitReport {
    /// How long they took, in nanoseconds.
    pub took: Distribution,
    /// How many operations each held.
    pub operations: Distribution,
}

/// What the process that has a store has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The process.
    pub pid: u32,
    /// Its store.
    pub store: StoreReport,
    /// Its mounts.
    pub mounts: Vec<TrafficReport>,
}

impl Report {
    /// What was counted since an earlier look; `None` when that was at another process, which counted for itself.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if self.pid != earlier.pid || self.store.nanos < earlier.store.nanos {
            return None;
        }
        let mounts = self.mounts.iter().map(|now| {
            let before = earlier.mounts.iter().find(|before| before.mountpoint == now.mountpoint);
            before.map_or_else(|| now.clone(), |before| now.since(before))
        });
        Some(Self { pid: self.pid, store: self.store.since(&earlier.store), mounts: mounts.collect() })
    }
}

/// Bodies that were finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyReport {
    /// Those that are new.
    pub stored: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those whose bytes were stored already.
    pub shared: u64,
    /// Their bytes.
    pub shared_bytes: u64,
}

/// What is open, and what is still to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Files that are open or being sealed.
    pub live_files: u64,
    /// Open handles of files and directories.
    pub open_handles: u64,
    /// Drafts in memory.
    pub memory_drafts: u64,
    /// Their bytes.
    pub memory_draft_bytes: u64,
    /// Operations that are not committed.
    pub uncommitted: u64,
    /// Drafts that wait for being sealed.
    pub to_seal: u64,
    /// Dead bodies and drafts that wait for being removed.
    pub to_remove: u64,
}

impl StoreReport {
    /// What was counted since an earlier look at the same store; what is open or still to be done is that of now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let caches = self.caches.iter().map(|now| {
            let before = earlier.caches.iter().find(|before| before.name == now.name);
            let (hits, misses) = before.map_or((0, 0), |before| (before.hits, before.misses));
            let name = now.name.clone();
            CacheReport { name, hits: now.hits.saturating_sub(hits), misses: now.misses.saturating_sub(misses) }
        });
        Self {
            nanos: self.nanos.saturating_sub(earlier.nanos),
            library: self.library.since(&earlier.library),
            commits: CommitReport {
                took: self.commits.took.since(&earlier.commits.took),
                operations: self.commits.operations.since(&earlier.commits.operations),
            },
            log_syncs: self.log_syncs.since(&earlier.log_syncs),
            checkpoints: self.checkpoints.since(&earlier.checkpoints),
            seals: self.seals.since(&earlier.seals),
            big: self.big.since(earlier.big),
            small: self.small.since(earlier.small),
            caches: caches.collect(),
            page_bytes: self.page_bytes,
            backlog: self.backlog,
        }
    }
}

impl BodyReport {
    fn since(self, earlier: Self) -> Self {
        Self {
            stored: self.stored.saturating_sub(earlier.stored),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            shared: self.shared.saturating_sub(earlier.shared),
            shared_bytes: self.shared_bytes.saturating_sub(earlier.shared_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Op, Via};
    use super::*;

    fn look(stats: &Stats, commits: &Commits, pid: u32) -> Report {
        let pages = Pages { hits: 3, misses: 1, bytes: 4096 };
        let backlog = Backlog { open_handles: 2, ..Backlog::default() };
        Report { pid, store: stats.look(commits.look(), pages, backlog), mounts: stats.mounts() }
    }

    #[test]
    fn a_look_tells_what_came_since_the_last() {
        let (stats, commits) = (Stats::default(), Commits::default());
        let mount = Arc::new(Traffic::new(b"/mnt".to_vec(), |_| "an error"));
        stats.watch(&mount);
        stats.small.note(10, false);
        commits.note(Duration::from_millis(1), 5);
        mount.answered(Via::IoUring, Op::Create, Duration::from_micros(50), None);
        let before = look(&stats, &commits, 1);
        assert_eq!((before.store.commits.operations.sum, before.store.small.stored), (5, 1));

        stats.small.note(10, true);
        stats.live_files.note(true);
        commits.note(Duration::from_millis(1), 7);
        mount.answered(Via::IoUring, Op::Write, Duration::from_micros(50), None);
        let now = look(&stats, &commits, 1);
        let since = now.since(&before).unwrap();
        assert_eq!(since.store.small, BodyReport { shared: 1, shared_bytes: 10, ..BodyReport::default() });
        assert_eq!((since.store.commits.operations.sum, since.store.commits.took.count()), (7, 1));
        let hits: Vec<_> = since.store.caches.iter().map(|cache| cache.hits).collect();
        assert_eq!(hits, [0, 1, 0, 0, 0]);
        assert_eq!(since.store.backlog.open_handles, 2);
        assert_eq!(since.mounts[0].requests.len(), 1);
        assert_eq!(since.mounts[0].requests[0].kind, "write");
        assert_eq!(before.since(&now), None, "a process that began later");
        assert_eq!(look(&stats, &commits, 2).since(&now), None);
        drop(mount);
        assert!(stats.mounts().is_empty());
    }
}
