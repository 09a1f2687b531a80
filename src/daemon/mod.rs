//! A store that lives: one process that mounts a store, once or many times, answers, and stops in good order.
//!
//! Promises: success is reported only after the mount answers; a process that ends has drained first, and what it could
//! not make durable is said, in its log and to whoever unmounts. The order of the end is fixed: the kernel ends the
//! session, the store is closed (seals, commits, syncs), the record of the process goes, the process ends. Where it is killed,
//! its guardian ends the mounts.
//!
//! What is not here: the exclusive lock of a store (the store takes it when it is opened), filesystem operations, and
//! everything about terminals, environment and exit codes.

mod background;
mod fleet;
mod guardian;
mod join;
mod list;
mod log_file;
mod mount_table;
mod options;
mod preflight;
mod process;
mod record;
mod serve;
mod signals;
mod steward;
mod unmount;
mod users;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, Timestamp};
use crate::view::Settings;

use preflight::Plan;

pub use crate::fuse::MountEntry;
pub use fleet::Fleet;
pub use guardian::guard_if_asked;
pub use join::missing;
pub use list::{Mounted, mounted};
pub use mount_table::{data_dir_of, explain_in_use, mount_at, mount_of};
pub use options::{LockScope, MountFlags};
pub use unmount::{Unmounted, unmount, unmount_from};

/// How long it is tried to join a daemon that is just coming or going.
const JOIN_MAX: Duration = Duration::from_secs(20);

/// What to mount where, and how: one process serves all of it.
#[derive(Clone, Debug)]
pub struct MountRequest {
    /// The directory of the store.
    pub data_dir: PathBuf,
    /// Its mounts, one at least.
    pub mounts: Vec<MountSpec>,
    /// Memory for pages of the database, in MiB.
    pub cache_size_mb: u64,
}

/// One mount.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// The directory that becomes the root of the store.
    pub mountpoint: PathBuf,
    /// As whom, and under which rules.
    pub view: Settings,
    /// How, mount(8).
    pub flags: MountFlags,
}

/// A mount that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountState {
    /// Where, as the kernel spells it.
    pub mountpoint: PathBuf,
    /// Whose sight of the store it is.
    pub principal: Principal,
    /// Whether nothing can be changed through it.
    pub read_only: bool,
    /// Whether the kernel serves big files by itself.
    pub passthrough: bool,
    /// How far locks reach.
    pub locks: LockScope,
    /// How requests come from the kernel, in words; empty where that is not known.
    pub transport: String,
    /// Since when it has answered, where that is known.
    pub since: Option<Timestamp>,
}

/// Mounts, and returns when the mounts have ended: serves them in this process until everything is durable, or, when a
/// daemon has the store already, has that serve them. `note` is told what a user should know meanwhile.
///
/// SIGTERM, SIGINT and SIGHUP end the mounts as [`unmount()`] does. A program that began with [`guard_if_asked`] leaves nobody
/// waiting when it is killed.
///
/// # Errors
/// `NotFound` when there is no store or no mountpoint, `InUse` when either is taken, what opening the store or mounting
/// failed with, or what could not be made durable at the end.
pub fn mount_foreground(request: &MountRequest, note: &mut dyn FnMut(&str)) -> Result<()> {
    // Before anything is there that a signal could leave half done.
    let signals = signals::StopSignals::register()?;
    match mount(request, note, |plan| serve::serve(plan, || Ok(())))? {
        Some(guest) => guest.stay(signals, note),
        None => Ok(()),
    }
}

/// Mounts in a process of its own, or has the daemon do it that has the store already, and returns once all mounts answer.
///
/// Must be called before this process has started a thread, fork(2). The new process keeps no descriptor of this one,
/// works in `/`, and writes its log to `nexus.log` in the data directory; it never returns from this function.
///
/// # Errors
/// As [`mount_foreground`] up to the moment the mounts answer; `Io` when the new process died before that.
pub fn mount_background(request: &MountRequest, note: &mut dyn FnMut(&str)) -> Result<()> {
    mount(request, note, start).map(drop)
}

/// Joins the daemon that has the store; where none has, `begin` becomes it. Of many who come at once one begins.
fn mount(
    request: &MountRequest,
    note: &mut dyn FnMut(&str),
    begin: impl Fn(&Plan) -> Result<()>,
) -> Result<Option<join::Guest>> {
    let plan = preflight::plan(request)?;
    let asked = Instant::now();
    loop {
        if let Some(guest) = join::join(&plan, note)? {
            return Ok(Some(guest));
        }
        match begin(&plan) {
            // Somebody else was faster.
            Err(e) if e.kind() == ErrorKind::InUse && asked.elapsed() < JOIN_MAX => {
                if join::daemon_of(&plan.data_dir)?.is_none() {
                    return Err(e);
                }
            }
            done => return done.map(|()| None),
        }
    }
}

/// Serves the mounts in a process of its own.
fn start(plan: &Plan) -> Result<()> {
    match background::fork()? {
        background::Side::Caller(start) => start.wait(),
        background::Side::Daemon(reporter) => {
            let mut reporter = Some(reporter);
            let served = serve::serve(plan, || {
                log_file::take_over(&plan.data_dir)?;
                reporter.take().map_or(Ok(()), background::Reporter::ready)
            });
            let Err(error) = served else { std::process::exit(0) };
            match reporter {
                Some(reporter) => reporter.failed(&error),
                None => log::error!("{}", advice::sentence(&error)),
            }
            std::process::exit(1)
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|e| Error::io(format!("starting the thread '{name}'"), e))
}
