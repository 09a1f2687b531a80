//! The life of a store in the process that serves it.
//!
//! Opens the store, mounts, says that it is ready, waits for the end of the last mount, closes the store. Whichever way it
//! ends, what was acknowledged is made durable before the process goes, and the lock of the store is held until then.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::fleet::{Event, Fleet};
use super::guardian::Guardian;
use super::list::served_mount_of;
use super::mount_table::explain_in_use;
use super::preflight::{self, Plan};
use super::process::Identity;
use super::signals::StopSignals;
use super::steward::Daemon;
use crate::advice;
use crate::client::{self, Owner};
use crate::error::{ErrorKind, Result};
use crate::model::Timestamp;
use crate::vfs::{StoreOptions, Vfs};

/// How long those who still use a mount that was told to stop may go on.
const USERS_GRACE: Duration = Duration::from_secs(10);

/// How long whoever has the store, and answers nobody, may take to be done with it.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// How long a program may take to give the store up once it has said that it will: longer than it waits for requests.
const HAND_OVER_MAX: Duration = Duration::from_secs(15);

/// The pause between two attempts to open a store that is being given up.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(5);

/// Serves until the last mount has ended and everything is durable; `ready` is called once all mounts answer, and an error
/// of it ends them.
pub(super) fn serve(plan: &Plan, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    // What this process creates on the disk below holds everybody's data, and is nobody else's business.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    allow_open_files();
    // Before anything is there that a signal could leave half done.
    let signals = StopSignals::register()?;
    let vfs = open(plan)?;
    vfs.set_cache_mib(plan.cache_size_mb)?;
    let ((tell, told), identity) = (mpsc::channel(), Identity::of_this_process()?);
    // Also for one mount: what a program changes through the library is told to its kernel just as what others change.
    let guardian = Arc::new(Guardian::start(&plan.data_dir, tell.clone()));
    let fleet = Fleet::new(Arc::clone(&vfs), plan, identity, Arc::clone(&guardian), tell);
    let steward = Arc::new(Daemon::of(&fleet));
    let socket = Owner::adopt(Arc::clone(&vfs), &plan.data_dir, plan.settings().policy, steward);
    let served = mount_and_wait(plan, &fleet, &guardian, &told, signals, ready);
    // Before the store is closed: whoever is connected is answered or told, and finds the next owner.
    let closed = vfs.settle().and(socket.end()).and(vfs.close());
    if let (Err(_), Err(e)) = (&closed, &served) {
        // Only one can be returned, and what is not durable matters more.
        log::error!("{}", advice::sentence(e));
    }
    let ended = closed.and(served);
    fleet.conclude(&ended);
    // Not before: with the last reference goes the lock, and the record belongs to its holder.
    drop((fleet, vfs));
    guardian.end();
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
    let read_only = plan.berths.iter().all(|berth| berth.flags.manner.read_only);
    let options = StoreOptions { data_dir: plan.data_dir.clone(), read_only, clock: Timestamp::now };
    let (asked, mut patience) = (Instant::now(), CLOSING_MAX);
    let opened = loop {
        match Vfs::open_store(options.clone()) {
            // Whoever has it may be closing it, or another program may have been faster.
            Err(e) if e.kind() == ErrorKind::InUse && asked.elapsed() < patience => {
                if client::hand_over(&plan.data_dir)? {
                    patience = HAND_OVER_MAX;
                } else if served_mount_of(&plan.data_dir)?.is_some() {
                    break Err(e);
                }
                std::thread::sleep(HAND_OVER_PAUSE);
            }
            opened => break opened,
        }
    };
    opened.map_err(|e| match e.kind() {
        ErrorKind::NotFound => preflight::no_store(&plan.data_dir, plan.attempted()),
        ErrorKind::InUse => explain_in_use(&e, &plan.data_dir),
        _ => e,
    })
}

/// Mounts everything, or nothing when one of them fails, and waits for the end of all.
fn mount_and_wait(
    plan: &Plan,
    fleet: &Arc<Fleet>,
    guardian: &Guardian,
    told: &Receiver<Event>,
    signals: StopSignals,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let stopper = Arc::clone(fleet);
    let started = (plan.berths.iter())
        .try_for_each(|berth| fleet.launch(berth, plan.berths.len()))
        .and_then(|()| {
            fleet.announce();
            ready()
        })
        .map(|()| fleet.log())
        .and_then(|()| signals.forward(move || stopper.tell(Event::Stop)));
    if let Err(e) = started {
        fleet.detach_all();
        // Each says how it ended; what failed first is what counts.
        while !fleet.is_empty() {
            match told.recv() {
                Ok(Event::Ended(number, _)) => fleet.strike_off(number),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        return Err(e);
    }

    let mut stops = 0;
    let mut deadline: Option<Instant> = None;
    let mut outcome = Ok(());
    loop {
        let event = match deadline {
            None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => told.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Ended(number, result)) => {
                outcome = outcome.and(result);
                fleet.strike_off(number);
                if fleet.close_if_empty() {
                    return outcome;
                }
            }
            Ok(Event::Stop) if stops == 0 => {
                stops = 1;
                fleet.close();
                let draining = Arc::clone(fleet);
                super::spawn("drain", move || draining.drain())?;
            }
            Ok(Event::Stop) => {
                log::warn!("a second signal: not waiting any longer for those who use the mounts");
                fleet.detach_all();
                return outcome;
            }
            // Here, because this thread is there to the end.
            Ok(Event::Unguarded) => guardian.replace(),
            Ok(Event::Detached) => deadline = Some(Instant::now() + USERS_GRACE),
            Err(_) => {
                log::warn!("ending although a mount is in use; its users get ENOTCONN");
                return outcome;
            }
        }
    }
}
