//! What is mounted: the mount table says where, the daemon of each store whose and how; where that is dead, its record does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::mount_table::{data_dir_of, mount_of};
use super::process::Process;
use super::record::Record;
use super::{LockScope, MountState, join};
use crate::advice;
use crate::client::MountInfo;
use crate::error::Result;
use crate::fuse::{self, MountEntry};
use crate::model::{Principal, Timestamp};

/// A mount of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The store.
    pub data_dir: PathBuf,
    /// The process that serves it; `None` when it has been killed, or left no record.
    pub pid: Option<u32>,
    /// Where, whose, how.
    pub state: MountState,
}

/// The mounts of all stores that this process can see, or of the one in `data_dir` (canonical) alone.
///
/// # Errors
/// `Io` when the mount table cannot be read.
pub fn mounted(data_dir: Option<&Path>) -> Result<Vec<Mounted>> {
    let mut entries = fuse::mounts()?;
    entries.retain(|entry| data_dir_of(entry).is_some_and(|found| data_dir.is_none_or(|wanted| wanted == found)));
    let mut stores: Vec<&Path> = data_dir.into_iter().collect();
    for store in entries.iter().filter_map(data_dir_of) {
        if !stores.contains(&store) {
            stores.push(store);
        }
    }
    let mut all = Vec::new();
    for store in stores {
        let mut told = Told::of(store);
        let there = entries.iter().filter(|entry| data_dir_of(entry) == Some(store));
        let states: Vec<_> = there.map(|entry| told.take(entry)).collect();
        // What a daemon has and is not seen here is mounted elsewhere: in a container, say.
        let elsewhere = if told.pid.is_some() { told.mounts } else { Vec::new() };
        let states = states.into_iter().chain(elsewhere);
        all.extend(states.map(|state| Mounted { data_dir: store.to_owned(), pid: told.pid, state }));
    }
    Ok(all)
}

/// What is known of the mounts of a store.
struct Told {
    pid: Option<u32>,
    mounts: Vec<MountState>,
}

impl Told {
    fn of(data_dir: &Path) -> Self {
        match join::daemon_of(data_dir) {
            Ok(Some(status)) => {
                return Self { pid: Some(status.pid), mounts: status.mounts.iter().filter_map(state).collect() };
            }
            Ok(None) => {}
            // Another user's, for example: his record may be readable.
            Err(e) => log::debug!("{}", advice::sentence(&e)),
        }
        let read = read(data_dir).unwrap_or_else(|e| {
            log::warn!("{}", advice::sentence(&e));
            None
        });
        let (pid, mounts) = read.map_or((None, Vec::new()), |(pid, record)| (pid, record.mounts));
        Self { pid, mounts }
    }

    /// What is known of one mount, or else what the table says.
    fn take(&mut self, entry: &MountEntry) -> MountState {
        if let Some(at) = self.mounts.iter().position(|mount| mount.mountpoint == entry.mountpoint) {
            return self.mounts.remove(at);
        }
        MountState {
            mountpoint: entry.mountpoint.clone(),
            principal: Principal::default(),
            read_only: entry.read_only,
            passthrough: false,
            locks: LockScope::Local,
            transport: String::new(),
            since: None,
        }
    }
}

/// The record of the daemon of a store, and its number if it is alive.
fn read(data_dir: &Path) -> Result<Option<(Option<u32>, Record)>> {
    let Some(record) = Record::read(data_dir)? else { return Ok(None) };
    let pid = Process::open(record.daemon)?.map(|process| process.pid());
    Ok(Some((pid, record)))
}

/// A mount of the store in `data_dir` (canonical) that a living daemon serves, if this process can see one. Beside dead
/// ones, which a kill has left, some program may have the store.
pub(super) fn served_mount_of(data_dir: &Path) -> Result<Option<MountEntry>> {
    let lives = read(data_dir).is_ok_and(|read| read.is_some_and(|(pid, _)| pid.is_some()));
    Ok(mount_of(data_dir)?.filter(|_| lives))
}

fn state(info: &MountInfo) -> Option<MountState> {
    Some(MountState {
        mountpoint: OsStr::from_bytes(&info.mountpoint).into(),
        principal: Principal::new(info.tenant.clone(), info.agent.clone(), info.is_admin).ok()?,
        read_only: info.read_only,
        passthrough: info.passthrough.unwrap_or_default(),
        locks: if info.store_locks { LockScope::Store } else { LockScope::Local },
        transport: info.transport.clone().unwrap_or_default(),
        since: info.since.map(Timestamp),
    })
}
