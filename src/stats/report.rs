//! What the counters of a store tell somebody who looks, and what came since he looked last.

use serde::{Deserialize, Serialize};

use super::counter::CacheReport;
use super::histogram::Distribution;
use super::traffic::TrafficReport;

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
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::{Commits, Op, Pages, Stats, Traffic, Via};
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
