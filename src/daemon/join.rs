//! Joining: a store has one process, so mounts of one whose daemon lives are that daemon's, asked for over its socket.
//!
//! All of them come about, or none. Nothing here decides what may be mounted: the daemon does, under the rules it was
//! started with, and refuses whoever brings others.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::mount_table::{data_dir_of, mount_at};
use super::preflight::{self, Berth, Plan};
use super::process::{Identity, Process};
use super::signals::StopSignals;
use super::{LockScope, MountRequest};
use crate::advice::{self, refusal};
use crate::client::{self, MountInfo, MountWish, Role, Status};
use crate::error::{ErrorKind, Result};
use crate::model::Principal;

/// How often it is looked whether a mount is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Mounts that another process serves for this one.
#[derive(Debug)]
pub(super) struct Guest {
    data_dir: PathBuf,
    mountpoints: Vec<PathBuf>,
    pid: u32,
    /// `None`: it has ended already.
    daemon: Option<Process>,
}

/// The daemon that has a store, if one lives.
///
/// # Errors
/// When it cannot be talked to.
pub(super) fn daemon_of(data_dir: &Path) -> Result<Option<Status>> {
    match client::status(data_dir) {
        Ok(status) => Ok(status.filter(|status| status.role == Role::Daemon)),
        // Whoever opens it says so better.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Asks the daemon that has the store for the mounts of a plan, which answer when this returns; `None` when no daemon has
/// it. `note` is told what a user should know.
///
/// # Errors
/// What the daemon refuses with. Nothing is mounted then.
pub(super) fn join(plan: &Plan, note: &mut dyn FnMut(&str)) -> Result<Option<Guest>> {
    let Some(status) = daemon_of(&plan.data_dir)? else { return Ok(None) };
    let daemon = Identity::of(status.pid).map(Process::open).transpose()?.flatten();
    let mut guest = Guest { data_dir: plan.data_dir.clone(), mountpoints: Vec::new(), pid: status.pid, daemon };
    for berth in &plan.berths {
        match ask(&plan.data_dir, berth) {
            Ok(true) => guest.mountpoints.push(berth.mountpoint.clone()),
            // It has ended in between, and its mounts with it.
            Ok(false) => return Ok(None),
            Err(e) => {
                guest.leave(note);
                return Err(e);
            }
        }
    }
    warn_of_local_locks(plan, &status, note);
    Ok(Some(guest))
}

fn ask(data_dir: &Path, berth: &Berth) -> Result<bool> {
    let principal = &berth.view.principal;
    let wish = MountWish {
        mountpoint: berth.mountpoint.as_os_str().as_bytes().to_vec(),
        options: berth.flags.words(),
        tenant: principal.tenant().map(str::to_owned),
        agent: principal.agent().map(str::to_owned),
        is_admin: principal.is_admin(),
        rules: Some(*berth.view.policy.fingerprint().as_bytes()),
    };
    match client::mount(data_dir, wish) {
        // Killed while it was at it: what is left of the mount is cleared by the next attempt.
        Err(e) if e.kind() == ErrorKind::OutcomeUnknown => Ok(false),
        // One that is not listed either has been unmounted since.
        Ok(true) if !is_there(data_dir, &berth.mountpoint)? && is_listed(data_dir, &berth.mountpoint)? => {
            client::unmount(data_dir, berth.mountpoint.as_os_str().as_bytes(), true)?;
            Err(refusal(
                ErrorKind::Unsupported,
                format!("mounting on {}", berth.mountpoint.display()),
                "the process that serves the store sees other mounts than this one, and what it mounts is not seen here",
                "mount from where the first mount was made, or unmount that and mount both from here",
            ))
        }
        asked => asked,
    }
}

/// A lock that does not hold where a program expects it to is worth a word.
fn warn_of_local_locks(plan: &Plan, status: &Status, note: &mut dyn FnMut(&str)) {
    let wants = plan.berths.iter().any(|berth| berth.flags.locks != Some(LockScope::Local));
    for alone in status.mounts.iter().filter(|mount| wants && !mount.store_locks) {
        note(&format!(
            "locks taken through {} do not hold here: it was mounted alone; to have them hold, unmount it and mount it \
             again, or mount it with -o locks=store from the start",
            String::from_utf8_lossy(&alone.mountpoint),
        ));
    }
}

/// Whether what this process sees at a place is a mount of the store.
fn is_there(data_dir: &Path, mountpoint: &Path) -> Result<bool> {
    Ok(mount_at(mountpoint)?.is_some_and(|entry| data_dir_of(&entry) == Some(data_dir)))
}

/// Whether the daemon has a mount there.
fn is_listed(data_dir: &Path, mountpoint: &Path) -> Result<bool> {
    Ok(client::mounts(data_dir)?.iter().any(|mount| mount.mountpoint == mountpoint.as_os_str().as_bytes()))
}

impl Guest {
    /// Waits until the mounts have gone, however that comes. A signal ends them, those in use lazily.
    ///
    /// # Errors
    /// `Io` when the process that serves them was killed.
    pub(super) fn stay(mut self, signals: StopSignals, note: &mut dyn FnMut(&str)) -> Result<()> {
        let (tell, told) = mpsc::channel();
        signals.forward(move || {
            tell.send(()).ok();
        })?;
        note(&format!("process {}, which has the store, serves the mount; waiting until it has gone", self.pid));
        loop {
            match told.recv_timeout(LOOK_AGAIN) {
                Ok(()) => self.leave(note),
                // The thread that forwards signals ends with the process.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            // Asked before the mounts are looked at: an orderly end takes them away first.
            let ended = self.daemon.as_ref().map_or(Ok(true), |daemon| daemon.wait(Duration::ZERO))?;
            let mut left = Vec::new();
            for mountpoint in std::mem::take(&mut self.mountpoints) {
                if is_there(&self.data_dir, &mountpoint)? {
                    left.push(mountpoint);
                }
            }
            self.mountpoints = left;
            match self.mountpoints.first() {
                None => return Ok(()),
                Some(dead) if ended => {
                    return Err(refusal(
                        ErrorKind::Io,
                        format!("serving the mount on {}", dead.display()),
                        format!("process {}, which did, was killed", self.pid),
                        "what was fsynced is safe; the next mount recovers it",
                    ));
                }
                Some(_) => {}
            }
        }
    }

    /// Ends the mounts, those in use lazily.
    fn leave(&mut self, note: &mut dyn FnMut(&str)) {
        for mountpoint in &self.mountpoints {
            let bytes = mountpoint.as_os_str().as_bytes();
            let gone = client::unmount(&self.data_dir, bytes, false).or_else(|e| match e.kind() {
                ErrorKind::InUse => {
                    note(&format!("{} is in use: it goes when its last user has", mountpoint.display()));
                    client::unmount(&self.data_dir, bytes, true)
                }
                ErrorKind::NotFound => Ok(true),
                _ => Err(e),
            });
            if let Err(e) = gone {
                note(&advice::sentence(&e));
            }
        }
    }
}

/// What of a request is not mounted yet.
///
/// # Errors
/// `InUse` when a mount is there for somebody else, or is to be written and cannot: it would not be what was asked for.
pub fn missing(request: &MountRequest) -> Result<MountRequest> {
    let mut left = request.clone();
    let Ok(data_dir) = request.data_dir.canonicalize() else { return Ok(left) };
    let there = daemon_of(&data_dir)?.map(|status| status.mounts).unwrap_or_default();
    left.mounts.clear();
    for spec in &request.mounts {
        let mountpoint = preflight::locate(&spec.mountpoint, "mounting").ok();
        let bytes = mountpoint.as_ref().map(|path| path.as_os_str().as_bytes());
        let Some(mount) = there.iter().find(|mount| Some(&mount.mountpoint[..]) == bytes) else {
            left.mounts.push(spec.clone());
            continue;
        };
        let (is, wanted) = (describe_mount(mount)?, describe(&spec.view.principal, spec.flags.manner.read_only));
        if is != wanted {
            return Err(refusal(
                ErrorKind::InUse,
                format!("mounting on {}", spec.mountpoint.display()),
                format!("the store is mounted there already, {is}, and is to be {wanted}"),
                format!("to change that: nexus umount {}, and mount again", spec.mountpoint.display()),
            ));
        }
    }
    Ok(left)
}

fn describe_mount(mount: &MountInfo) -> Result<String> {
    let principal = Principal::new(mount.tenant.clone(), mount.agent.clone(), mount.is_admin)?;
    Ok(describe(&principal, mount.read_only))
}

/// Whose a mount is and whether it can be written, in words.
fn describe(principal: &Principal, read_only: bool) -> String {
    let mut words = vec![if read_only { "read-only".to_owned() } else { "writable".to_owned() }];
    words.extend(principal.tenant().map(|tenant| format!("for tenant {tenant}")));
    words.extend(principal.agent().map(|agent| format!("for agent {agent}")));
    words.extend(principal.is_admin().then(|| "for an administrator".to_owned()));
    if words.len() == 1 {
        words.push("for nobody in particular".to_owned());
    }
    words.join(" ")
}
