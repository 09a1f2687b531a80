//! Unmounting from outside: has the mount taken away and waits until its daemon has made everything durable and is gone.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::mount_table::{data_dir_of, mount_at, mounts_below};
use super::preflight::locate;
use super::process::Process;
use super::record::Record;
use super::users;
use crate::advice::{self, refusal};
use crate::client;
use crate::error::{Error, ErrorKind, Result};
use crate::fuse;

/// After so long without an end the user is told what is waited for; then again at twice the time.
const FIRST_NOTE: Duration = Duration::from_secs(3);

/// How long a lazy unmount waits for those who still use the mount.
const LAZY_PATIENCE: Duration = Duration::from_secs(10);

/// How often the record of a daemon with several mounts is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How an unmount went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Everything is durable and the daemon is gone.
    Ended,
    /// What was written through it is durable; the daemon serves other mounts of the store.
    OthersStay {
        /// How many.
        mounts: usize,
    },
    /// The name is gone; the daemon serves those who still use the mount, and ends with the last of them.
    StillServing {
        /// The daemon.
        pid: u32,
    },
    /// The mount was dead: its daemon had been killed. The next mount recovers what was durable.
    WasDead,
    /// The daemon left no record to find it by; it may still be writing.
    NotWaited,
}

/// Unmounts what is on `mountpoint`, which must be one of our mounts; `note` is told when it takes long.
///
/// # Errors
/// `NotFound` when nothing is mounted there, `Invalid` when it is not ours, `InUse` when somebody uses it and `lazy` is not
/// asked for, `Denied` when this user may not, `Io` when the daemon could not make everything durable or was killed.
pub fn unmount(mountpoint: &Path, lazy: bool, note: &mut dyn FnMut(&str)) -> Result<Unmounted> {
    let attempted = format!("unmounting {}", mountpoint.display());
    let mountpoint = locate(mountpoint, &attempted).map_err(|e| match e.kind() {
        // Without the hint how to make the directory.
        ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("{attempted}: there is no such directory")),
        _ => e,
    })?;
    let data_dir = store_behind(&mountpoint, &attempted)?;
    unmount_from(&data_dir, &mountpoint, lazy, note)
}

/// Unmounts one of the mounts that [`mounted`](super::mounted()) tells of a store.
///
/// # Errors
/// As [`unmount`].
pub fn unmount_from(data_dir: &Path, mountpoint: &Path, lazy: bool, note: &mut dyn FnMut(&str)) -> Result<Unmounted> {
    let attempted = format!("unmounting {}", mountpoint.display());
    let record = Record::read(data_dir).unwrap_or_else(|e| {
        log::warn!("{}", advice::sentence(&e));
        None
    });
    // Before the unmount, after which the daemon may be gone at any moment.
    let process = match &record {
        Some(record) => Process::open(record.daemon)?,
        None => None,
    };
    take_away(data_dir, mountpoint, lazy)?;
    let (Some(record), Some(process)) = (&record, &process) else {
        return Ok(if record.is_some() { Unmounted::WasDead } else { Unmounted::NotWaited });
    };
    match wait(process, (data_dir, record, mountpoint), lazy, note)? {
        Waited::Ended => check_end(data_dir, record, &attempted),
        Waited::OthersStay(mounts) => Ok(Unmounted::OthersStay { mounts }),
        Waited::GaveUp => Ok(Unmounted::StillServing { pid: process.pid() }),
    }
}

/// What a wait has brought.
enum Waited {
    /// The daemon is gone.
    Ended,
    /// The mount is, and so many others are not.
    OthersStay(usize),
    /// Somebody uses the mount.
    GaveUp,
}

fn store_behind(mountpoint: &Path, attempted: &str) -> Result<PathBuf> {
    let Some(entry) = mount_at(mountpoint)? else {
        return Err(Error::new(ErrorKind::NotFound, format!("{attempted}: nothing is mounted there")));
    };
    data_dir_of(&entry).map(Path::to_path_buf).ok_or_else(|| {
        refusal(
            ErrorKind::Invalid,
            attempted,
            format!("it is no mount of nexus, but of type {}", entry.filesystem_type),
            format!("umount {}", mountpoint.display()),
        )
    })
}

/// Waits for the end of the daemon, or for its record to say that it is done with the mount and goes on for others.
fn wait(
    process: &Process,
    (data_dir, before, mountpoint): (&Path, &Record, &Path),
    lazy: bool,
    note: &mut dyn FnMut(&str),
) -> Result<Waited> {
    let start = Instant::now();
    let mut next_note = FIRST_NOTE;
    loop {
        let alone = before.mounts.len() <= 1;
        let patience = next_note.saturating_sub(start.elapsed());
        if process.wait(if alone { patience } else { patience.min(LOOK_AGAIN) })? {
            return Ok(Waited::Ended);
        }
        if !alone && let Some(now) = Record::read(data_dir)?.filter(|now| now.daemon == before.daemon) {
            let gone = now.mounts.iter().all(|mount| mount.mountpoint != mountpoint);
            // With the last mount the record stays as it is until the process has ended.
            if gone && !now.mounts.is_empty() {
                return Ok(Waited::OthersStay(now.mounts.len()));
            }
        }
        let waited = start.elapsed();
        if lazy && waited >= LAZY_PATIENCE {
            return Ok(Waited::GaveUp);
        }
        if waited < next_note {
            continue;
        }
        let doing = if lazy { "still serves those who use the mount" } else { "is making everything durable" };
        note(&format!("process {} {doing}, {} s so far", process.pid(), waited.as_secs()));
        next_note = if lazy { LAZY_PATIENCE } else { next_note * 2 };
    }
}

/// What the record says now that the daemon is gone.
fn check_end(data_dir: &Path, before: &Record, attempted: &str) -> Result<Unmounted> {
    let after = Record::read(data_dir)?.filter(|after| after.daemon == before.daemon);
    let Some(after) = after else {
        return Ok(Unmounted::Ended);
    };
    Err(match after.failure {
        Some(why) => refusal(
            ErrorKind::Io,
            format!("{attempted}: the daemon reports"),
            why,
            format!("see {}; what was fsynced is safe", data_dir.join("nexus.log").display()),
        ),
        None => refusal(
            ErrorKind::Io,
            attempted,
            format!("process {} was killed before everything was durable", before.daemon.pid),
            "what was fsynced is safe; the next mount recovers it",
        ),
    })
}

/// Has the daemon take a mount away, or does it where no daemon answers.
fn take_away(data_dir: &Path, mountpoint: &Path, lazy: bool) -> Result<()> {
    match client::unmount(data_dir, mountpoint.as_os_str().as_bytes(), lazy) {
        Ok(true) => return Ok(()),
        Err(e) if e.kind() == ErrorKind::InUse => return Err(busy(mountpoint)),
        Ok(false) => {}
        // Killed, another user's, of another version: whoever mounted may still unmount.
        Err(e) => log::debug!("{}", advice::sentence(&e)),
    }
    match mount_at(mountpoint)? {
        // It ended, and its mounts with it, while it was asked.
        None => Ok(()),
        Some(_) => detach(mountpoint, lazy),
    }
}

/// Takes away the mount of ours on `mountpoint`; if it is in use, the error says by whom.
pub(super) fn detach(mountpoint: &Path, lazy: bool) -> Result<()> {
    fuse::unmount_at(mountpoint, lazy).map_err(|e| match e.kind() {
        ErrorKind::InUse => busy(mountpoint),
        _ => e,
    })
}

fn busy(mountpoint: &Path) -> Error {
    let mounts: Vec<_> = mounts_below(mountpoint)
        .unwrap_or_default()
        .into_iter()
        .map(|entry| format!("the mount on {}", entry.mountpoint.display()))
        .collect();
    let users = if mounts.is_empty() { users::of(mountpoint) } else { mounts };
    refusal(
        ErrorKind::InUse,
        format!("unmounting {}", mountpoint.display()),
        if users.is_empty() { "it is busy".into() } else { format!("it is busy: {}", users.join(", ")) },
        format!(
            "close what uses it, or: nexus umount --lazy {} (it goes when the last user has)",
            mountpoint.display(),
        ),
    )
}
