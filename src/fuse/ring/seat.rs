//! On which core a thread of the ring runs.
//!
//! With several programs at work all cores are busy, and the one on which a request was made is the right one: nobody has to
//! be woken elsewhere, and the caches are warm. A single program leaves the other cores idle. While those are kept awake
//! ([`Wakeful`](crate::fuse::wakeful::Wakeful)), a thread on one of them begins sooner than one on the program's own, which
//! has to put the program aside first, and it goes on with what a program does not wait for while that one is at its next
//! question: a fifth to a quarter less time for each operation. So a thread stays on its core, and is left to the kernel's
//! choice while one program alone asks and processors are awake.

use std::sync::atomic::{AtomicU32, Ordering};

use log::debug;
use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The requests of one program in a row are counted up to here.
const ROW_MAX: u32 = 256;

/// From here on it is alone.
const ALONE: u32 = 128;

/// What a request of another program takes away: a few of them, and it is alone no more.
const COMPANY: u32 = 32;

/// Whether one program alone asks, as all threads of a ring see it.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// The number of the thread that asked last.
    last: AtomicU32,
    /// How many requests in a row were its, less what others asked meanwhile.
    row: AtomicU32,
}

impl Company {
    /// A request came from the thread with this number; 0: from nobody in particular, as the kernel's own.
    pub(super) fn note(&self, pid: u32) {
        if pid == 0 {
            return;
        }
        // Threads may mix here, and then there is company anyhow.
        let row = self.row.load(Ordering::Relaxed);
        if self.last.load(Ordering::Relaxed) == pid {
            if row < ROW_MAX {
                self.row.store(row + 1, Ordering::Relaxed);
            }
        } else {
            self.last.store(pid, Ordering::Relaxed);
            self.row.store(row.saturating_sub(COMPANY), Ordering::Relaxed);
        }
    }

    /// Whether it is one program.
    pub(super) fn is_alone(&self) -> bool {
        self.row.load(Ordering::Relaxed) >= ALONE
    }
}

/// Where this thread may run.
#[derive(Debug)]
pub(super) struct Seat {
    core: u16,
    own: Option<CpuSet>,
    any: Option<CpuSet>,
    is_free: bool,
}

impl Seat {
    /// On `core`, whose requests this thread serves.
    pub(super) fn take(core: u16) -> Self {
        // The first thread's, which is pinned nowhere: who steps in is started by one that is.
        let any = sched_getaffinity(Some(getpid())).ok();
        let own = (usize::from(core) < CpuSet::MAX_CPU).then(|| {
            let mut own = CpuSet::new();
            own.set(core.into());
            own
        });
        let seat = Self { core, own, any, is_free: false };
        seat.sit();
        seat
    }

    /// The core whose requests this thread serves.
    pub(super) fn core(&self) -> u16 {
        self.core
    }

    /// From now on on whichever core the kernel chooses, or on its own again.
    pub(super) fn set_free(&mut self, free: bool) {
        if self.is_free != free {
            self.is_free = free;
            self.sit();
        }
    }

    fn sit(&self) {
        let cores = if self.is_free { &self.any } else { &self.own };
        // A core that does not run, or that this process may not use: its requests are served from another.
        if let Some(Err(error)) = cores.as_ref().map(|cores| sched_setaffinity(None, cores)) {
            debug!("serve the queue of core {} from any core: {error}", self.core);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_is_alone_until_another_asks_as_well() {
        let company = Company::default();
        (0..ALONE).for_each(|_| company.note(7));
        assert!(!company.is_alone(), "the first was no second in a row");
        company.note(7);
        company.note(0);
        assert!(company.is_alone());
        (0..ROW_MAX * 2).for_each(|_| company.note(7));
        // A single question of somebody else changes nothing, a conversation does.
        company.note(8);
        company.note(7);
        assert!(company.is_alone());
        (0..4).for_each(|_| [8, 7].into_iter().for_each(|pid| company.note(pid)));
        assert!(!company.is_alone());
    }

    #[test]
    fn a_thread_sits_on_its_core_and_may_get_up() {
        let everywhere = sched_getaffinity(None).unwrap();
        let core = rustix::thread::sched_getcpu();
        let mut seat = Seat::take(core.try_into().unwrap());
        let here = sched_getaffinity(None).unwrap();
        assert!(here.is_set(core) && here.count() == 1);
        seat.set_free(true);
        assert_eq!(sched_getaffinity(None).unwrap(), everywhere);
        seat.set_free(false);
        assert_eq!(sched_getaffinity(None).unwrap(), here);
        // One that there cannot be.
        Seat::take(u16::MAX);
        seat.set_free(true);
    }
}
