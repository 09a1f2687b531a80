//! The life of a mount in the process that serves it.
//!
//! Opens the store, mounts, says that it is ready, waits for the end, closes the store. Whichever way it ends, what was
//! acknowledged is made durable before the process goes, and the lock of the store is held until then.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::MountFlags;
use super::mount_table::{explain_in_use, mount_of};
use super::preflight::{self, Plan};
use super::process::Identity;
use super::record::{self, Record};
use super::signals::StopSignals;
use super::steward::Daemon;
use super::users;
use crate::advice;
use crate::client::{self, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::fuse::{Mount, MountOptions, Unmounter};
use crate::model::{Caller, Timestamp};
use crate::vfs::{StoreOptions, Vfs};
use crate::view::View;

/// How long those who still use a mount that was told to stop may go on.
const USERS_GRACE: Duration = Duration::from_secs(10);

/// How long a program may take to give the store up, or to close it.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// The pause between two attempts to open a store that is being given up.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(5);

/// The fewest threads that answer by default: one that hashes or syncs must not make everybody wait.
const THREADS_MIN: usize = 2;

/// The most by default: beyond them the store, not the answering, is the limit.
const THREADS_DEFAULT_MAX: usize = 8;

/// Serves until the mount has ended and everything is durable; `ready` is called once the mount answers, and an error
/// of it ends the mount.
pub(super) fn serve(plan: &Plan, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    // What this process creates on the disk below holds everybody's data, and is nobody else's business.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    allow_open_files();
    // Before anything is there that a signal could leave half done.
    let signals = StopSignals::register()?;
    let vfs = open(plan)?;
    let record = Record { daemon: Identity::of_this_process()?, failure: None };
    let socket =
        Owner::adopt(Arc::clone(&vfs), &plan.data_dir, Arc::clone(&plan.view.policy), Arc::new(Daemon::of(plan)));
    let served = mount_and_wait(plan, &vfs, &record, signals, ready);
    // Before the store is closed: whoever is connected is answered or told, and finds the next owner.
    let closed = vfs.settle().and(socket.end()).and(vfs.close());
    if let (Err(_), Err(e)) = (&closed, &served) {
        // Only one can be returned, and what is not durable matters more.
        log::error!("{}", advice::sentence(e));
    }
    let ended = closed.and(served);
    conclude(plan, record, &ended);
    // Not before: with the last reference goes the lock, and the record belongs to its holder.
    drop(vfs);
    ended
}

/// Raises the limit of open files as far as it goes: each big file that somebody has open takes a descriptor.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(e) = raised {
        log::warn!("raising the limit of open files from {:?}: {e}", limit.current);
    }
}

/// Opens the store. A program that has it through the library is asked to give it up, and becomes a client of this daemon.
fn open(plan: &Plan) -> Result<Arc<Vfs>> {
    let options =
        StoreOptions { data_dir: plan.data_dir.clone(), read_only: plan.flags.read_only, clock: Timestamp::now };
    let asked = Instant::now();
    let opened = loop {
        match Vfs::open_store(options.clone()) {
            // Whoever has it may be closing it, or another program may have been faster.
            Err(e) if e.kind() == ErrorKind::InUse && asked.elapsed() < HAND_OVER_MAX => {
                if !client::hand_over(&plan.data_dir)? && mount_of(&plan.data_dir)?.is_some() {
                    break Err(e);
                }
                std::thread::sleep(HAND_OVER_PAUSE);
            }
            opened => break opened,
        }
    };
    opened.map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            preflight::no_store(&plan.data_dir, format!("mounting on {}", plan.mountpoint.display()))
        }
        ErrorKind::InUse => explain_in_use(&e, &plan.data_dir),
        _ => e,
    })
}

/// What the waiting main thread is told.
enum Event {
    /// The kernel has ended the session.
    Ended(Result<()>),
    /// A signal asks to stop.
    Stop,
    /// The name is gone, but somebody still uses what is behind it.
    Detached,
}

fn mount_and_wait(
    plan: &Plan,
    vfs: &Arc<Vfs>,
    record: &Record,
    signals: StopSignals,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    vfs.set_cache_mib(plan.cache_size_mb)?;
    let view = View::with(Arc::clone(vfs), plan.view.clone());
    view.make_home(&Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() })?;
    let mount = Mount::new(view, &options(plan))?;
    let unmounter = mount.unmounter();
    let (tell, told) = mpsc::channel();
    let started = announce(plan, record, ready).and_then(|()| {
        let passthrough = if mount.passthrough() { "on" } else { "off" };
        let (place, transport) = (plan.mountpoint.display(), mount.transport());
        log::info!("mounted on {place}, passthrough {passthrough}, requests over {transport}");
        let tell = tell.clone();
        // A send fails only once nobody waits any more: the process is ending.
        signals.forward(move || drop(tell.send(Event::Stop)))
    });
    if let Err(e) = started {
        unmounter.unmount(true)?;
        return mount.wait().and(Err(e));
    }
    let waiter = tell.clone();
    spawn("session", move || drop(waiter.send(Event::Ended(mount.wait()))))?;

    let mut stops = 0;
    let mut deadline: Option<Instant> = None;
    loop {
        let event = match deadline {
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => told.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Ended(result)) => return result,
            Ok(Event::Stop) if stops == 0 => {
                stops = 1;
                let (vfs, unmounter, tell) = (Arc::clone(vfs), unmounter.clone(), tell.clone());
                let mountpoint = plan.mountpoint.clone();
                spawn("drain", move || drain(&vfs, &unmounter, &mountpoint, &tell))?;
            }
            Ok(Event::Stop) => {
                log::warn!("a second signal: not waiting any longer for those who use the mount");
                return unmounter.unmount(true);
            }
            Ok(Event::Detached) => deadline = Some(Instant::now() + USERS_GRACE),
            Err(_) => {
                log::warn!("ending although the mount is in use; its users get ENOTCONN");
                return Ok(());
            }
        }
    }
}

/// Leaves the record and says that the mount answers.
fn announce(plan: &Plan, record: &Record, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    // On a full or read-only disk a mount is still worth having; only 'nexus umount' knows less.
    if let Err(e) = record.write(&plan.data_dir) {
        log::warn!("'nexus umount' will not be able to wait: {}", advice::sentence(&e));
    }
    ready()
}

/// Stops as unmounting by hand does, except that a user who stays does not keep the mount.
fn drain(vfs: &Vfs, unmounter: &Unmounter, mountpoint: &std::path::Path, tell: &Sender<Event>) {
    // While the mount still answers, so that the time without it is short.
    if let Err(e) = vfs.settle() {
        log::error!("draining: {}", advice::sentence(&e));
    }
    let Err(e) = unmounter.unmount(false) else {
        return;
    };
    log::warn!("unmounting lazily, in use by {}: {}", users::of(mountpoint).join(", "), advice::sentence(&e),);
    if let Err(e) = unmounter.unmount(true) {
        log::error!("{}", advice::sentence(&e));
    }
    drop(tell.send(Event::Detached));
}

/// Takes the record away after a good end, and notes a bad one in it for whoever unmounts.
fn conclude(plan: &Plan, mut record: Record, ended: &Result<()>) {
    let noted = match ended {
        Ok(()) => record.remove(&plan.data_dir),
        // Without a record there was no mount that somebody could unmount.
        Err(_) if !plan.data_dir.join(record::NAME).exists() => Ok(()),
        Err(e) => {
            record.failure = Some(advice::sentence(e));
            record.write(&plan.data_dir)
        }
    };
    if let Err(e) = noted {
        log::warn!("{}", advice::sentence(&e));
    }
}

fn options(plan: &Plan) -> MountOptions {
    let flags: &MountFlags = &plan.flags;
    let threads = flags.threads.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        processors.clamp(THREADS_MIN, THREADS_DEFAULT_MAX)
    });
    MountOptions {
        mountpoint: plan.mountpoint.clone(),
        source: plan.source.clone(),
        store_dir: plan.data_dir.clone(),
        allow_other: flags.allow_other,
        read_only: flags.read_only,
        dev: flags.dev,
        suid: flags.suid,
        noexec: flags.noexec,
        noatime: flags.noatime,
        sync: flags.sync,
        dirsync: flags.dirsync,
        cache_seconds: flags.cache_seconds,
        passthrough: flags.passthrough,
        threads,
        transport: flags.transport.unwrap_or_default(),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|e| Error::io(format!("starting the thread '{name}'"), e))
}
