//! A connection as a program holds it; its operations on files stand in `bodies` and `tree`.

use std::path::{Path as HostPath, PathBuf};
use std::sync::Arc;

use super::ask::{misunderstood, report};
use super::exchange::Luggage;
use super::metadata::Metadata;
use super::request::{Item, Path, Reply, Request};
use super::route::Route;
use super::types::Status;
use crate::error::Result;
use crate::model::{Principal, VPath};
use crate::policy::Policy;
use crate::stats::Report;

/// A connection to a store, as one identity. It may be used by many threads at once, and any number of connections may
/// exist, in this process and in others.
///
/// Paths are absolute and need not be UTF-8: text, bytes, anything that is bytes. `//`, `/./` and a trailing `/` vanish; a
/// `..` component is refused. Symbolic links are followed as long as they stay in the store.
///
/// ```
/// # fn main() -> nexus::error::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let config = nexus::Config::at(directory.path().join("store"))?;
/// let nx = nexus::connect(&config)?;
/// nx.write("/images/photo.jpg", b"JPEG data")?;
/// nx.mkdir("/workspace/agent1/data", true)?;
/// assert_eq!(nx.list("/images", false)?.len(), 1);
/// nx.delete("/images/photo.jpg")?;
/// nx.rmdir("/workspace", true)?;
/// nx.close()
/// # }
/// ```
///
/// # When the process that has the store ends
/// Another one takes its place, if need be this one; calls wait for that. A call whose answer was lost is made again where
/// twice is as good as once; otherwise it fails with
/// [`OutcomeUnknown`](crate::error::ErrorKind::OutcomeUnknown), and only if that process was killed.
///
/// # Durability
/// What a call has changed, every later call sees. [`Nexus::sync`] and [`Nexus::close`] make it durable; otherwise that
/// happens within a second or so, as on a local disk.
#[derive(Debug)]
pub struct Nexus {
    pub(super) route: Route,
    data_dir: PathBuf,
}

impl Nexus {
    pub(super) fn reach(data_dir: PathBuf, principal: Principal, policy: Arc<Policy>) -> Result<Self> {
        Ok(Self { route: Route::find(data_dir.clone(), principal, policy)?, data_dir })
    }

    /// The directory of the store.
    #[must_use]
    pub fn data_dir(&self) -> &HostPath {
        &self.data_dir
    }

    /// Custom metadata of files and directories.
    #[must_use]
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata(self)
    }

    /// Makes everything durable that any connection has changed so far: it survives the loss of power.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "must not be lost")?;
    /// nx.sync()?;
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sync(&self) -> Result<()> {
        done(self.call(&Request::Sync)?)
    }

    /// Who has the store: this process, or the one that answers it.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// assert_eq!(nx.status()?.pid, std::process::id());
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// When nobody can be reached.
    pub fn status(&self) -> Result<Status> {
        match self.call(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            _ => Err(misunderstood()),
        }
    }

    /// What the process that has the store has counted since it opened it: requests, commits, seals, caches.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "the same")?;
    /// nx.write("/b", "the same")?;
    /// let counted = nx.stats()?.store;
    /// assert_eq!((counted.small.stored, counted.small.shared), (1, 1));
    /// assert_eq!(counted.library.count(), 2);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Denied` for a tenant or an agent, unless it is an administrator.
    pub fn stats(&self) -> Result<Report> {
        let (reply, items) = self.gather(&Request::Stats)?;
        report(&reply, items)
    }

    /// Ends the connection; what it changed is durable then. Dropping it does the same, without saying what failed.
    ///
    /// # Errors
    /// What could not be made durable.
    pub fn close(self) -> Result<()> {
        self.route.close(&mut Luggage::default())
    }

    /// As [`Nexus::collect`], with the answer.
    pub(super) fn gather(&self, request: &Request) -> Result<(Reply, Vec<Item>)> {
        let mut luggage = Luggage::default();
        let reply = self.route.call(request, &mut luggage)?;
        Ok((reply, luggage.items))
    }

    pub(super) fn call(&self, request: &Request) -> Result<Reply> {
        self.route.call(request, &mut Luggage::default())
    }

    pub(super) fn collect(&self, request: &Request) -> Result<Vec<Item>> {
        let (reply, items) = self.gather(request)?;
        done(reply)?;
        Ok(items)
    }
}

pub(super) fn parse(path: impl AsRef<[u8]>) -> Result<Path> {
    VPath::parse(path.as_ref()).map(Path)
}

pub(super) fn done(reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(misunderstood()),
    }
}
