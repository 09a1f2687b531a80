//! Who steps in for a thread that waits for a lock.
//!
//! A request for a lock that somebody else has is answered when the lock can be had, and until then its entry of the queue
//! is taken. Were all entries of a core taken like that, the request that gives the lock back would never be read. So a
//! thread that is about to wait makes sure that as many others as a core has from the start do not: where there are fewer,
//! one more is registered, and stays.
//!
//! What the kernel has queued because no entry was free, it hands out with an answer (`fuse_uring_commit_fetch` of
//! fs/fuse/dev_uring.c) and not to an entry that is new. So a new one is given something to answer: a thread asks the mount
//! statfs(2) from that core, and with the answer the queue moves on.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;

use log::{debug, warn};
use parking_lot::Mutex;

use super::ENTRIES_PER_CORE;
use super::queue::{Order, Thread};
use super::seat::{Company, Seat};
use crate::fuse::courier::own_descriptors;
use crate::fuse::errno::Errno;
use crate::fuse::handlers::Handlers;

/// Threads of one mount that wait for locks at most; who comes then is refused with ENOLCK, fcntl(2).
const WAITING_MAX: u32 = 1024;

/// The entries of one mount, as far as somebody may have to step in.
#[derive(Debug)]
pub(super) struct Relief {
    handlers: Arc<Handlers>,
    device: Arc<OwnedFd>,
    connection: u64,
    mountpoint: PathBuf,
    company: Company,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Entries of each core whose thread waits for no lock.
    serving: HashMap<u16, u16>,
    waiting: u32,
    /// Those who stepped in.
    threads: Vec<Thread>,
    ended: bool,
}

/// A thread that waits for a lock, as long as this lives.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    relief: &'a Relief,
    core: u16,
}

impl Relief {
    /// `serving`: how many entries each core has. The others as for [`Order::Serve`].
    pub(super) fn new(
        handlers: Arc<Handlers>,
        device: Arc<OwnedFd>,
        connection: u64,
        mountpoint: PathBuf,
        serving: HashMap<u16, u16>,
    ) -> Self {
        let state = Mutex::new(State { serving, ..State::default() });
        Self { handlers, device, connection, mountpoint, company: Company::default(), state }
    }

    /// Makes sure that this thread, one of `core`, may wait.
    ///
    /// # Errors
    /// `NO_LOCKS` when nobody can step in, `INTERRUPTED` at the end of the mount.
    pub(super) fn wait(self: &Arc<Self>, core: u16) -> Result<Waiting<'_>, Errno> {
        let mut state = self.state.lock();
        if state.ended {
            return Err(Errno::INTERRUPTED);
        }
        if state.waiting >= WAITING_MAX {
            warn!("{WAITING_MAX} wait for locks on {}: no more may", self.mountpoint.display());
            return Err(Errno::NO_LOCKS);
        }
        let others = state.serving.get(&core).copied().unwrap_or(0).saturating_sub(1);
        let relieved = others < ENTRIES_PER_CORE;
        if relieved {
            let thread = self.one_more(core, state.threads.len()).map_err(|e| {
                warn!("wait for a lock on {}: nobody can step in: {e}", self.mountpoint.display());
                Errno::NO_LOCKS
            })?;
            state.threads.push(thread);
        }
        state.serving.insert(core, others + u16::from(relieved));
        state.waiting += 1;
        drop(state);
        if relieved {
            self.nudge(core);
        }
        Ok(Waiting { relief: self, core })
    }

    /// Who asks.
    pub(super) fn company(&self) -> &Company {
        &self.company
    }

    /// The mount has ended: nobody waits any more.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.handlers.end_locks();
    }

    /// Whether it has.
    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    /// Those who stepped in, to be waited for.
    pub(super) fn take_threads(&self) -> Vec<Thread> {
        std::mem::take(&mut self.state.lock().threads)
    }

    /// One more thread and entry for a core.
    fn one_more(self: &Arc<Self>, core: u16, number: usize) -> io::Result<Thread> {
        let (report, reports) = channel();
        let number = ENTRIES_PER_CORE.saturating_add(u16::try_from(number).unwrap_or(u16::MAX));
        let thread = Thread::start(core, number, report)?;
        let reported = || reports.recv().map_err(io::Error::other)?;
        reported()?;
        thread.order(Order::Register(Arc::clone(&self.device)))?;
        reported()?;
        let (handlers, connection) = (Arc::clone(&self.handlers), self.connection);
        thread.order(Order::Serve { handlers, connection, relief: Arc::clone(self) })?;
        Ok(thread)
    }

    /// Gives a new entry something to answer. A thread of its own each time, because it may be queued itself; with
    /// descriptors of its own, because it would keep the device open if the process were killed before it has its answer.
    fn nudge(&self, core: u16) {
        let mountpoint = self.mountpoint.clone();
        let spawned = std::thread::Builder::new().name("ring-nudge".into()).spawn(move || {
            if let Err(e) = own_descriptors() {
                debug!("what is queued on core {core} waits for the next request there: {e}");
                return;
            }
            Seat::take(core);
            if let Err(e) = rustix::fs::statfs(&mountpoint) {
                debug!("nudge the queue of core {core}: {e}");
            }
        });
        if let Err(e) = spawned {
            debug!("what is queued on core {core} waits for the next request there: {e}");
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.relief.state.lock();
        *state.serving.entry(self.core).or_default() += 1;
        state.waiting -= 1;
    }
}
