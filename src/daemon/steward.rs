//! The daemon as others may ask it about itself, over the socket of the store.

use std::os::unix::ffi::OsStrExt;

use super::preflight::Plan;
use crate::client::{MountInfo, Role, Steward};

/// A daemon with one mount.
#[derive(Debug)]
pub(super) struct Daemon {
    mount: MountInfo,
}

impl Daemon {
    /// The daemon that serves this mount.
    pub(super) fn of(plan: &Plan) -> Self {
        let mount = MountInfo {
            mountpoint: plan.mountpoint.as_os_str().as_bytes().to_vec(),
            tenant: None,
            agent: None,
            read_only: plan.flags.read_only,
            transport: None,
            passthrough: None,
        };
        Self { mount }
    }
}

impl Steward for Daemon {
    fn role(&self) -> Role {
        Role::Daemon
    }

    fn mounts(&self) -> Vec<MountInfo> {
        vec![self.mount.clone()]
    }
}
