//! Requests for locks, where those of the kernel are not enough: it knows only the locks of one mount.
//!
//! A request that has to wait keeps its answer and, over /dev/fuse, no thread; over io_uring it keeps that of its entry, for
//! which another steps in (`ring/relief`). fuser answers FUSE_INTERRUPT with "not implemented", and from
//! then on the kernel lets nobody out of a request that was read, not even by SIGKILL (`request_wait_answer` of
//! fs/fuse/dev.c). So while somebody waits, a thread looks in /proc for signals that are pending for him, and ends his wait.
//!
//! Over /dev/fuse fuser does not hand on whether a lock is one of flock(2): both kinds are then locks of records, as NFS
//! does it (flock(2), "NFS details").

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use parking_lot::Mutex;

use super::convert;
use super::errno::{Errno, Outcome};
use crate::model::NodeId;
use crate::vfs::{Lock, LockKind, LockOwner, LockRefusal, LockTicket};
use crate::view::View;

/// How often signals are looked for; a person who types Ctrl-C does not notice less.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Answers a request for a lock, now or later.
pub(super) type Reply = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// A lock as the kernel asks for it, `fuse_lk_in`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) node: NodeId,
    pub(super) kind: LockKind,
    pub(super) owner: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub(super) mode: i32,
    /// The process, as `F_GETLK` shows it.
    pub(super) pid: u32,
}

/// The locks of one mount, all kept in the store.
#[derive(Debug)]
pub(super) struct Locking {
    view: Arc<View>,
    waiting: Arc<Waiting>,
}

/// Those who wait, by thread.
#[derive(Debug, Default)]
struct Waiting(Mutex<HashMap<LockTicket, u32>>);

impl Locking {
    pub(super) fn new(view: Arc<View>) -> Self {
        Self { view, waiting: Arc::default() }
    }

    fn owner(&self, number: u64) -> LockOwner {
        LockOwner { view: self.view.origin().number(), number }
    }

    fn lock(&self, asked: &Asked) -> Outcome<Option<Lock>> {
        let owner = self.owner(asked.owner);
        let mode = convert::lock_mode(asked.mode)?;
        Ok(mode.map(|mode| Lock { owner, mode, first: asked.first, last: asked.last, pid: asked.pid }))
    }

    /// The lock that stands in the way, `F_GETLK`.
    pub(super) fn get(&self, asked: &Asked) -> Outcome<Option<Lock>> {
        let wanted = self.lock(asked)?;
        Ok(wanted.and_then(|wanted| self.view.vfs().locks().obstacle(asked.node, asked.kind, &wanted)))
    }

    /// Takes or gives up a lock. `thread`: who waits for it, where waiting is what was asked for.
    pub(super) fn set(&self, asked: &Asked, thread: Option<u32>, reply: Reply) {
        let locks = self.view.vfs().locks();
        let wanted = match self.lock(asked) {
            Ok(Some(wanted)) => wanted,
            Ok(None) => {
                locks.release(asked.node, asked.kind, self.owner(asked.owner), asked.first, asked.last);
                return reply(Ok(()));
            }
            Err(_) => return reply(Err(Errno::INVALID)),
        };
        let Some(thread) = thread else {
            return reply(locks.try_take(asked.node, asked.kind, wanted).map_err(errno));
        };
        let answer = Box::new(|outcome: Result<(), LockRefusal>| reply(outcome.map_err(errno)));
        if let Some(ticket) = locks.take(asked.node, asked.kind, wanted, answer) {
            self.watch(ticket, thread);
        }
    }

    /// The mount has ended: nobody of it holds or waits for a lock any more.
    pub(super) fn end(&self) {
        self.view.vfs().locks().forget_view(self.view.origin().number());
    }

    /// A descriptor was closed: what its owner holds on the file goes, fcntl(2).
    pub(super) fn release(&self, node: NodeId, owner: u64) {
        self.view.vfs().locks().release_all(node, self.owner(owner));
    }

    fn watch(&self, ticket: LockTicket, thread: u32) {
        let mut waiting = self.waiting.0.lock();
        let alone = waiting.is_empty();
        waiting.insert(ticket, thread);
        drop(waiting);
        if alone {
            let (view, waiting) = (Arc::clone(&self.view), Arc::clone(&self.waiting));
            let spawned = std::thread::Builder::new().name("lock-signals".into()).spawn(move || waiting.run(&view));
            if let Err(e) = spawned {
                warn!("who waits for a lock cannot be interrupted: start a thread: {e}");
                self.waiting.0.lock().clear();
            }
        }
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        self.end();
    }
}

impl Waiting {
    /// Looks for signals as long as somebody waits.
    fn run(&self, view: &View) {
        loop {
            std::thread::sleep(LOOK_AGAIN);
            let locks = view.vfs().locks();
            let mut waiting = self.0.lock();
            waiting.retain(|ticket, _| locks.is_waiting(*ticket));
            // Under the lock: whoever comes next starts a thread of his own.
            if waiting.is_empty() {
                return;
            }
            let interrupted: Vec<_> =
                waiting.iter().filter(|(_, thread)| has_signal(**thread)).map(|(ticket, _)| *ticket).collect();
            drop(waiting);
            interrupted.into_iter().for_each(|ticket| locks.interrupt(ticket));
        }
    }
}

fn errno(refusal: LockRefusal) -> Errno {
    match refusal {
        LockRefusal::Taken => Errno::LOCKED,
        LockRefusal::Deadlock => Errno::DEADLOCK,
        LockRefusal::Interrupted => Errno::INTERRUPTED,
    }
}

/// Whether a thread has a signal to act on, or is gone. 0 is a thread in a namespace that this process does not see.
fn has_signal(thread: u32) -> bool {
    if thread == 0 {
        return false;
    }
    fs::read_to_string(format!("/proc/{thread}/status")).map_or(true, |status| says_signal(&status))
}

/// Reads proc_pid_status(5). A signal to the whole process counts for its first thread, to which the kernel gives it when it
/// can; interrupting another, for whom it is not, would show him an error that no program knows.
fn says_signal(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let set = |name: &str| field(name).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0);
    let is_first = field("Pid").is_some() && field("Pid") == field("Tgid");
    let pending = set("SigPnd") | if is_first { set("ShdPnd") } else { 0 };
    pending & !set("SigBlk") & !set("SigIgn") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_signals_are_read_from_the_status() {
        let status = |pid: u32, own: &str, shared: &str, blocked: &str, ignored: &str| {
            format!(
                "Name:\tx\nTgid:\t7\nPid:\t{pid}\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\n"
            )
        };
        let none = "0000000000000000";
        let two = "0000000000000002";
        assert!(!says_signal(&status(7, none, none, none, none)));
        assert!(says_signal(&status(7, two, none, none, none)));
        assert!(says_signal(&status(7, none, two, none, none)));
        assert!(!says_signal(&status(8, none, two, none, none)), "it may be for another thread");
        assert!(says_signal(&status(8, two, none, none, none)));
        assert!(!says_signal(&status(7, two, none, two, none)), "blocked");
        assert!(!says_signal(&status(7, none, two, none, two)), "ignored");
        assert!(!has_signal(0) && !has_signal(std::process::id()));
    }
}
