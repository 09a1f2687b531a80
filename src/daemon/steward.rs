//! The daemon as others may ask it about itself, over the socket of the store.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Weak};

use super::{Fleet, LockScope, MountFlags};
use crate::advice::refusal;
use crate::client::{MountInfo, MountWish, Role, Steward};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Principal;

/// A daemon with its mounts. It does not keep the store open: a connection that lingers must not hold the lock.
#[derive(Debug)]
pub(super) struct Daemon {
    fleet: Weak<Fleet>,
}

impl Daemon {
    /// The daemon that serves these mounts.
    pub(super) fn of(fleet: &Arc<Fleet>) -> Self {
        Self { fleet: Arc::downgrade(fleet) }
    }

    fn fleet(&self) -> Result<Arc<Fleet>> {
        self.fleet
            .upgrade()
            .ok_or_else(|| Error::new(ErrorKind::InUse, "reach the mounts of a process that is about to end"))
    }
}

impl Steward for Daemon {
    fn role(&self) -> Role {
        Role::Daemon
    }

    fn mounts(&self) -> Vec<MountInfo> {
        let mounts = self.fleet.upgrade().map(|fleet| fleet.mounts()).unwrap_or_default();
        let infos = mounts.into_iter().map(|mount| MountInfo {
            mountpoint: mount.mountpoint.as_os_str().as_bytes().to_vec(),
            tenant: mount.principal.tenant().map(str::to_owned),
            agent: mount.principal.agent().map(str::to_owned),
            is_admin: mount.principal.is_admin(),
            read_only: mount.read_only,
            store_locks: mount.locks == LockScope::Store,
            since: mount.since.map(|time| time.0),
            transport: Some(mount.transport).filter(|transport| !transport.is_empty()),
            passthrough: Some(mount.passthrough),
        });
        infos.collect()
    }

    fn mount(&self, wish: &MountWish) -> Result<()> {
        let mut flags = MountFlags::default();
        wish.options.iter().try_for_each(|words| flags.apply(words))?;
        let principal = Principal::new(wish.tenant.clone(), wish.agent.clone(), wish.is_admin)?;
        let fleet = self.fleet()?;
        if wish.rules.is_some_and(|rules| rules != *fleet.policy().fingerprint().as_bytes()) {
            return Err(refusal(
                ErrorKind::Configuration,
                format!("mounting on {}", path(&wish.mountpoint).display()),
                "the process that serves the store was started with other namespaces than are configured now",
                "unmount all of the store (nexus umount --all) and mount it again, or use the configuration of the first mount",
            ));
        }
        let spec = fleet.spec_for(path(&wish.mountpoint).to_owned(), principal, flags);
        fleet.add_mount(&spec)
    }

    fn unmount(&self, mountpoint: &[u8], lazy: bool) -> Result<()> {
        self.fleet()?.remove_mount(path(mountpoint), lazy)
    }

    fn stop(&self, lazy: bool) -> Result<()> {
        self.fleet()?.stop(lazy);
        Ok(())
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
