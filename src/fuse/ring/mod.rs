//! Requests over io_uring (Documentation/filesystems/fuse/fuse-io-uring.rst, Linux 6.14 and later): a request is served
//! on the core where it was made, and an answer and the next request cost one system call together.
//!
//! The kernel keeps a queue for each core, and takes the first free entry of the queue of the core a request is made on,
//! the one that became free last first. Every entry here has a thread of its own, pinned to that core: one thread does
//! all the work as long as it keeps up, with warm caches and without a hand-over, and when it is in something slow, an
//! fsync or a copy, another takes the next request. Nobody has to know beforehand what will be slow.
//!
//! Guarantees that a mount never waits for queues that do not come: all threads and rings are there before the handshake
//! asks for them, and when the kernel then refuses one, all are taken back. FORGET and INTERRUPT keep coming over
//! /dev/fuse, where fuser serves them and whatever else may come there; so does the handshake itself.
//!
//! | file | what it holds |
//! |---|---|
//! | `abi` | the structures of linux/fuse.h |
//! | `decode`, `encode` | bytes to requests, values to bytes |
//! | `dispatch` | which handler serves which request |
//! | `channel` | memory and commands, shared with the kernel; all `unsafe` |
//! | `queue` | the life of a thread |
//! | `relief` | who steps in for a thread that waits for a lock |
//! | `seat` | on which core a thread runs |
//! | `cores` | which cores there are |
//! | `obstacle` | why there is no ring, and what mends it |

mod abi;
mod channel;
mod cores;
mod decode;
mod dispatch;
mod encode;
mod obstacle;
mod queue;
mod relief;
mod seat;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use self::cores::Cores;
use self::queue::{Order, Thread};
use self::relief::Relief;
use super::handlers::Handlers;

pub(super) use obstacle::Obstacle;

/// Entries, and so threads, of a core that runs: one that works, and three that step in while it is in something slow.
/// Each costs a descriptor, a few pages of the kernel, and 1 MiB of addresses of which a page or two are ever touched
/// unless it carries big transfers. A fifth request waits while four are in something slow on the same core.
const ENTRIES_PER_CORE: u16 = 4;

/// Threads and rings that are ready, and which the kernel does not know yet. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Prepared {
    threads: Vec<Thread>,
    reports: Receiver<io::Result<()>>,
}

/// Queues that the kernel has taken, and from which no request has been read yet. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Registered {
    threads: Vec<Thread>,
    device: Arc<OwnedFd>,
}

/// The threads that serve.
#[derive(Debug)]
pub(super) struct Ring {
    threads: Vec<Thread>,
    relief: Arc<Relief>,
}

/// Makes everything that can be made without the kernel's side of the mount.
///
/// # Errors
/// Why there can be no ring.
pub(super) fn prepare() -> Result<Prepared, Obstacle> {
    if let Some(obstacle) = obstacle::of_kernel() {
        return Err(obstacle);
    }
    Cores::of_this_machine().and_then(|cores| Prepared::new(&cores)).map_err(|error| obstacle::of_io_uring(&error))
}

/// As [`prepare`], with a queue for a core that the machine cannot have.
#[cfg(test)]
pub(super) fn prepare_one_too_many() -> Prepared {
    let mut cores = Cores::of_this_machine().unwrap();
    cores.possible += 1;
    Prepared::new(&cores).unwrap()
}

/// The handshake came without an offer.
pub(super) fn not_offered() -> Obstacle {
    obstacle::of_handshake()
}

/// Several mounts tell each other's kernels to drop pages, and a thread that does waits for those that a request has
/// locked. If the process is killed then, the kernel ends what was read from /dev/fuse with the descriptor it was read
/// from; what is in a ring it ends with the connection, which that thread keeps alive. So where nobody else ends the
/// connection then ([`Guard`](super::Guard)), several mounts get a ring only if that was asked for.
pub(super) fn not_unguarded() -> Obstacle {
    obstacle::of_several_mounts()
}

impl Prepared {
    fn new(cores: &Cores) -> io::Result<Self> {
        let (report, reports) = channel();
        let mut threads = Vec::new();
        for core in 0..cores.possible {
            // A core that does not run makes no requests; should it come to run, one thread is there.
            let entries = if cores.online.contains(&core) { ENTRIES_PER_CORE } else { 1 };
            for number in 0..entries {
                threads.push(Thread::start(core, number, report.clone())?);
            }
        }
        // So that the wait ends if a thread goes without a word.
        drop(report);
        let prepared = Self { threads, reports };
        prepared.all_report()?;
        Ok(prepared)
    }

    /// Waits for one word of each thread.
    fn all_report(&self) -> io::Result<()> {
        for _ in &self.threads {
            self.reports.recv().map_err(io::Error::other)??;
        }
        Ok(())
    }

    /// Makes the queues known to the mount behind `device`, after the handshake.
    ///
    /// # Errors
    /// Why the kernel does not take them. The threads have ended by then, and let go of the device.
    pub(super) fn register(self, device: OwnedFd) -> Result<Registered, Obstacle> {
        let device = Arc::new(device);
        let ordered = self.threads.iter().try_for_each(|thread| thread.order(Order::Register(Arc::clone(&device))));
        match ordered.and_then(|()| self.all_report()) {
            Ok(()) => Ok(Registered { threads: self.threads, device }),
            Err(error) => {
                self.threads.into_iter().for_each(|thread| drop(thread.join()));
                Err(obstacle::of_registration(&error))
            }
        }
    }
}

impl Registered {
    /// Serves requests from now on. `connection`: the kernel's number of the mount, to end it by if a thread breaks off,
    /// because what that thread held would wait for ever.
    ///
    /// # Errors
    /// When a thread is gone.
    pub(super) fn serve(self, handlers: &Arc<Handlers>, connection: u64, mountpoint: &Path) -> io::Result<Ring> {
        let Self { threads, device } = self;
        let mut entries = HashMap::new();
        for thread in &threads {
            *entries.entry(thread.core()).or_default() += 1;
        }
        let relief = Relief::new(Arc::clone(handlers), device, connection, mountpoint.to_owned(), entries);
        let relief = Arc::new(relief);
        for thread in &threads {
            let (handlers, relief) = (Arc::clone(handlers), Arc::clone(&relief));
            thread.order(Order::Serve { handlers, connection, relief })?;
        }
        Ok(Ring { threads, relief })
    }
}

impl Ring {
    /// Waits until the kernel has ended the mount and every thread is done.
    ///
    /// # Errors
    /// Why the first of those that broke off did.
    pub(super) fn join(self) -> io::Result<()> {
        let mut ended = Ok(());
        for thread in self.threads {
            ended = ended.and(thread.join());
        }
        // By now nobody else steps in.
        for thread in self.relief.take_threads() {
            ended = ended.and(thread.join());
        }
        ended
    }
}
