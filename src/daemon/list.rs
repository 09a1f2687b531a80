//! What is mounted, as anybody can see it: the mount table says where, the record of the daemon says whose and by whom.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::mount_table::{data_dir_of, mount_of};
use super::process::Process;
use super::record::Record;
use super::{LockScope, MountState};
use crate::advice;
use crate::error::Result;
use crate::fuse::{self, MountEntry};
use crate::model::Principal;

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

/// The mounts of all stores that this process can see.
///
/// # Errors
/// `Io` when the mount table cannot be read.
pub fn mounted() -> Result<Vec<Mounted>> {
    let mut daemons: HashMap<PathBuf, Option<Record>> = HashMap::new();
    let mut all = Vec::new();
    for entry in fuse::mounts()? {
        let Some(data_dir) = data_dir_of(&entry) else { continue };
        let record = daemons.entry(data_dir.to_owned()).or_insert_with(|| living(data_dir));
        let told = record
            .as_ref()
            .and_then(|record| record.mounts.iter().find(|mount| mount.mountpoint == entry.mountpoint).cloned());
        let state = told.unwrap_or_else(|| MountState {
            mountpoint: entry.mountpoint.clone(),
            principal: Principal::default(),
            read_only: entry.read_only,
            passthrough: false,
            locks: LockScope::Local,
            transport: String::new(),
        });
        all.push(Mounted {
            data_dir: data_dir.to_owned(),
            pid: record.as_ref().map(|record| record.daemon.pid),
            state,
        });
    }
    Ok(all)
}

/// A mount of the store in `data_dir` (canonical) that a living daemon serves, if this process can see one. Beside dead
/// ones, which a kill has left, some program may have the store.
pub(super) fn served_mount_of(data_dir: &Path) -> Result<Option<MountEntry>> {
    Ok(mount_of(data_dir)?.filter(|_| living(data_dir).is_some()))
}

/// The record of the daemon of a store, if that is alive.
fn living(data_dir: &Path) -> Option<Record> {
    let found = Record::read(data_dir).and_then(|record| match record {
        Some(record) => Ok(Process::open(record.daemon)?.map(|_| record)),
        None => Ok(None),
    });
    found.unwrap_or_else(|e| {
        log::warn!("{}", advice::sentence(&e));
        None
    })
}
