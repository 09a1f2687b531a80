//! The queue of work items as a program sees it.

use std::time::{Duration, Instant};

use super::ask::misunderstood;
use super::facade::{Nexus, parse};
use super::request::{Item, Path, Reply, Request};
use crate::error::Result;
use crate::meta::WorkList;
use crate::model::VPath;
use crate::model::work::Status;
use crate::vfs::WorkChanges;
use crate::work::{Claim, Graph, WorkCounts, WorkItem};

/// The queue: files with the metadata key `status`. What this identity does not see is not in it.
///
/// ```
/// # fn main() -> nexus::error::Result<()> {
/// # use std::time::Duration;
/// # let directory = tempfile::tempdir().unwrap();
/// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
/// nx.write("/jobs/first", "count the stars")?;
/// nx.write("/jobs/second", "write it down")?;
/// nx.metadata().set("/jobs/first", "status", "ready")?;
/// nx.metadata().set("/jobs/second", "depends_on", "/jobs/first")?;
/// nx.metadata().set("/jobs/second", "status", "ready")?;
/// assert_eq!(nx.work().blocked(None)?.len(), 1);
///
/// let work = nx.work();
/// while let Some(claim) = work.claim("me", Some(Duration::from_secs(60)), Duration::ZERO)? {
///     // ... do what the file says ...
///     work.complete(&claim.item.virtual_path, Some(claim.claim))?;
/// }
/// assert_eq!(work.status()?.completed, 2);
/// # drop(work);
/// # nx.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Work<'a> {
    nexus: &'a Nexus,
    under: Path,
}

impl Nexus {
    /// The queue of work items.
    #[must_use]
    pub fn work(&self) -> Work<'_> {
        Work { nexus: self, under: Path(VPath::root()) }
    }
}

impl Work<'_> {
    /// The same queue, of what lies at or below a path.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/jobs/a", "")?;
    /// nx.metadata().set("/jobs/a", "status", "ready")?;
    /// assert_eq!(nx.work().under("/jobs")?.ready(None)?.len(), 1);
    /// assert_eq!(nx.work().under("/other")?.ready(None)?.len(), 0);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for what is no path.
    pub fn under(self, path: impl AsRef<[u8]>) -> Result<Self> {
        Ok(Self { under: parse(path)?, ..self })
    }

    /// What can be started now, first what is to be done first; at most `limit` items.
    ///
    /// # Errors
    /// What the store reports.
    pub fn ready(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::Ready), limit)
    }

    /// What somebody will make ready.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn pending(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::Pending), limit)
    }

    /// What waits for something, most dependencies first. The computed key `nexus.why` tells for what.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn blocked(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::Blocked), limit)
    }

    /// What a worker has, started last first.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn in_progress(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::InProgress), limit)
    }

    /// What is done.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn completed(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::Completed), limit)
    }

    /// What was given up.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn failed(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::In(Status::Failed), limit)
    }

    /// All items.
    ///
    /// # Errors
    /// As [`Work::ready`].
    pub fn by_priority(&self, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        self.list(WorkList::ByPriority, limit)
    }

    fn list(&self, list: WorkList, limit: Option<usize>) -> Result<Vec<WorkItem>> {
        let limit = limit.map(|limit| limit as u64);
        let items = self.nexus.collect(&Request::WorkList { list, under: self.under.clone(), limit })?;
        let item = |item| match item {
            Item::Work(item) => Ok(*item),
            _ => Err(misunderstood()),
        };
        items.into_iter().map(item).collect()
    }

    /// How many items stand where.
    ///
    /// # Errors
    /// What the store reports.
    pub fn status(&self) -> Result<WorkCounts> {
        match self.nexus.call(&Request::WorkCounts { under: self.under.clone() })? {
            Reply::WorkCounts(counts) => Ok(counts),
            _ => Err(misunderstood()),
        }
    }

    /// Takes the first ready item, for a worker, until its lease runs out. Without one it waits for `wait`; `None` when
    /// there is none then. Of many who ask, each gets another item.
    ///
    /// # Errors
    /// What the store reports; `OutcomeUnknown` when the process that has it was killed.
    pub fn claim(&self, worker: &str, lease: Option<Duration>, wait: Duration) -> Result<Option<Claim>> {
        let until = Instant::now().checked_add(wait);
        loop {
            let left = until.map_or(wait, |until| until.saturating_duration_since(Instant::now()));
            let (under, worker) = (self.under.clone(), worker.to_owned());
            match self.nexus.call(&Request::ClaimNext { under, worker, lease, wait: left })? {
                // Whoever has the store has waited as long as he likes.
                Reply::Claim(None) if !left.is_zero() => {}
                Reply::Claim(claimed) => return Ok(claimed.map(|claim| *claim)),
                _ => return Err(misunderstood()),
            }
        }
    }

    /// Takes this item.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/job", "")?;
    /// nx.metadata().set("/job", "status", "ready")?;
    /// let claim = nx.work().claim_item("/job", "me", None)?;
    /// assert!(nx.work().claim_item("/job", "somebody else", None).is_err());
    /// nx.work().release("/job", Some(claim.claim))?;
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it is not ready, `Denied`, `ReadOnly`; as [`Work::claim`].
    pub fn claim_item(&self, item: impl AsRef<[u8]>, worker: &str, lease: Option<Duration>) -> Result<Claim> {
        let (item, under, worker) = (parse(item)?, self.under.clone(), worker.to_owned());
        match self.nexus.call(&Request::ClaimItem { item, under, worker, lease })? {
            Reply::Claim(Some(claim)) => Ok(*claim),
            _ => Err(misunderstood()),
        }
    }

    /// An item is done. With the number of a claim only while that claim holds.
    ///
    /// # Errors
    /// `NotFound` for what is no item, `NotPermitted` for one that nobody has and for a claim that has run out, `Denied`,
    /// `ReadOnly`.
    pub fn complete(&self, item: impl AsRef<[u8]>, claim: Option<u64>) -> Result<WorkItem> {
        self.bring(item, Status::Completed, claim)
    }

    /// An item is given up.
    ///
    /// # Errors
    /// As [`Work::complete`].
    pub fn fail(&self, item: impl AsRef<[u8]>, claim: Option<u64>) -> Result<WorkItem> {
        self.bring(item, Status::Failed, claim)
    }

    /// An item is given back: ready again. Also one that has failed.
    ///
    /// # Errors
    /// As [`Work::complete`].
    pub fn release(&self, item: impl AsRef<[u8]>, claim: Option<u64>) -> Result<WorkItem> {
        self.bring(item, Status::Ready, claim)
    }

    fn bring(&self, item: impl AsRef<[u8]>, to: Status, claim: Option<u64>) -> Result<WorkItem> {
        let (item, under) = (parse(item)?, self.under.clone());
        match self.nexus.call(&Request::MoveItem { item, under, to, claim })? {
            Reply::WorkItem(item) => Ok(*item),
            _ => Err(misunderstood()),
        }
    }

    /// What waits for what.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "")?;
    /// nx.write("/b", "")?;
    /// nx.metadata().set("/a", "status", "blocked")?;
    /// nx.metadata().set("/a", "depends_on", "/b")?;
    /// assert!(nx.work().graph()?.to_dot().contains("/b"));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the store reports.
    pub fn graph(&self) -> Result<Graph> {
        let mut graph = Graph::default();
        for item in self.nexus.collect(&Request::WorkGraph { under: self.under.clone() })? {
            match item {
                Item::GraphNode(node) => graph.items.push(node),
                Item::Dependency(dependency) => graph.dependencies.push(dependency),
                _ => return Err(misunderstood()),
            }
        }
        Ok(graph)
    }

    /// What happened behind a change, as soon as something has, or after `wait`, which is a second at most. Without `after`
    /// it tells only from which number on to look.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # use std::time::Duration;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// let start = nx.work().changes(None, Duration::ZERO)?.last;
    /// nx.write("/a", "")?;
    /// nx.metadata().set("/a", "status", "ready")?;
    /// let seen = nx.work().changes(Some(start), Duration::from_secs(1))?;
    /// assert_eq!(seen.changes[0].virtual_path, "/a");
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the store reports.
    pub fn changes(&self, after: Option<u64>, wait: Duration) -> Result<WorkChanges> {
        let (reply, items) = self.nexus.gather(&Request::WorkChanges { under: self.under.clone(), after, wait })?;
        let Reply::WorkSeen { last, missed } = reply else { return Err(misunderstood()) };
        let change = |item| match item {
            Item::WorkChange(change) => Ok(change),
            _ => Err(misunderstood()),
        };
        Ok(WorkChanges { changes: items.into_iter().map(change).collect::<Result<_>>()?, last, missed })
    }
}
