//! Locks that hold across all mounts of a store.
//!
//! Whoever has to wait is answered later, by the thread that lets him have the lock, through the function he brought:
//! no thread waits. The locks are in memory, as those of a local filesystem are, and end with the process. They stand
//! beside the files: nothing else here asks for them.

mod table;

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;

use self::table::{Place, Table, Ticket};
use crate::model::NodeId;

pub use self::table::{Lock, LockKind, LockMode, LockOwner};

/// Why somebody does not get a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockRefusal {
    /// Somebody else has it.
    Taken,
    /// The wait would have no end.
    Deadlock,
    /// The wait was ended.
    Interrupted,
}

/// What a request for a lock is answered with, once.
pub type LockAnswer = Box<dyn FnOnce(Result<(), LockRefusal>) + Send>;

/// Somebody who waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockTicket(Ticket);

/// All locks of a store.
#[derive(Default)]
pub struct Locks(Mutex<State>);

#[derive(Default)]
struct State {
    table: Table,
    next: Ticket,
    answers: HashMap<Ticket, LockAnswer>,
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").field("table", &self.0.lock().table).finish_non_exhaustive()
    }
}

impl Locks {
    /// The first lock that stands in the way of `wanted`, `F_GETLK`.
    #[must_use]
    pub fn obstacle(&self, node: NodeId, kind: LockKind, wanted: &Lock) -> Option<Lock> {
        self.0.lock().table.obstacle((node, kind), wanted)
    }

    /// Takes a lock, now or never.
    ///
    /// # Errors
    /// `Taken` when somebody else has it.
    pub fn try_take(&self, node: NodeId, kind: LockKind, wanted: Lock) -> Result<(), LockRefusal> {
        let place = (node, kind);
        let mut state = self.0.lock();
        if state.table.obstacle(place, &wanted).is_some() {
            return Err(LockRefusal::Taken);
        }
        let others = state.take(place, wanted);
        drop(state);
        others.send();
        Ok(())
    }

    /// Takes a lock and answers, now or when it can be had: then the ticket is what to [`Locks::interrupt`] it with.
    /// Answered with `Deadlock` when the wait would have no end.
    pub fn take(&self, node: NodeId, kind: LockKind, wanted: Lock, answer: LockAnswer) -> Option<LockTicket> {
        let place = (node, kind);
        let mut state = self.0.lock();
        if state.table.obstacle(place, &wanted).is_none() {
            let others = state.take(place, wanted);
            drop(state);
            others.send();
            answer(Ok(()));
            return None;
        }
        if kind == LockKind::Record && state.table.would_deadlock(place, &wanted) {
            drop(state);
            answer(Err(LockRefusal::Deadlock));
            return None;
        }
        state.next += 1;
        let ticket = state.next;
        state.table.wait(ticket, place, wanted);
        state.answers.insert(ticket, answer);
        Some(LockTicket(ticket))
    }

    /// Gives up what an owner holds in a range.
    pub fn release(&self, node: NodeId, kind: LockKind, owner: LockOwner, first: u64, last: u64) {
        let place = (node, kind);
        let mut state = self.0.lock();
        if state.table.clear(place, owner, first, last) {
            let granted = state.grant(place);
            drop(state);
            granted.send();
        }
    }

    /// Gives up all that an owner holds on a file, as a close does.
    pub fn release_all(&self, node: NodeId, owner: LockOwner) {
        self.release(node, LockKind::Record, owner, 0, u64::MAX);
        self.release(node, LockKind::Whole, owner, 0, u64::MAX);
    }

    /// Somebody waits no more: he is answered with `Interrupted`, unless he has been answered already.
    pub fn interrupt(&self, ticket: LockTicket) {
        let answer = {
            let mut state = self.0.lock();
            state.table.abandon(ticket.0);
            state.answers.remove(&ticket.0)
        };
        if let Some(answer) = answer {
            answer(Err(LockRefusal::Interrupted));
        }
    }

    /// Whether somebody waits with this ticket.
    #[must_use]
    pub fn is_waiting(&self, ticket: LockTicket) -> bool {
        self.0.lock().answers.contains_key(&ticket.0)
    }

    /// A view is gone, and with it all its owners.
    pub fn forget_view(&self, view: u64) {
        let (held, waiting) = self.0.lock().table.of_view(view);
        waiting.into_iter().for_each(|ticket| self.interrupt(LockTicket(ticket)));
        for ((node, _), owner) in held {
            self.release_all(node, owner);
        }
    }
}

impl State {
    /// Takes a lock; one that is shared from now on may let others in.
    fn take(&mut self, place: Place, wanted: Lock) -> Granted {
        self.table.take(place, wanted);
        self.grant(place)
    }

    fn grant(&mut self, place: Place) -> Granted {
        let tickets = self.table.grant(place);
        Granted(tickets.into_iter().filter_map(|ticket| self.answers.remove(&ticket)).collect())
    }
}

/// Answers to be given when no lock of ours is held.
#[must_use]
struct Granted(Vec<LockAnswer>);

impl Granted {
    fn send(self) {
        self.0.into_iter().for_each(|answer| answer(Ok(())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn lock(view: u64, number: u64, mode: LockMode) -> Lock {
        Lock { owner: LockOwner { view, number }, mode, first: 0, last: u64::MAX, pid: 1 }
    }

    #[test]
    fn who_waits_is_answered_once() {
        let (locks, node, kind) = (Locks::default(), NodeId(5), LockKind::Record);
        let (told, answers) = channel();
        let answer = |who: u64| -> LockAnswer {
            let told = told.clone();
            Box::new(move |outcome| told.send((who, outcome)).unwrap())
        };
        let next = || answers.try_recv().ok();
        assert_eq!(locks.take(node, kind, lock(1, 1, LockMode::Exclusive), answer(1)), None);
        assert_eq!(next(), Some((1, Ok(()))));
        let wanted = lock(2, 1, LockMode::Exclusive);
        assert_eq!(locks.try_take(node, kind, wanted), Err(LockRefusal::Taken));
        assert!(locks.try_take(node, LockKind::Whole, wanted).is_ok(), "the other kind knows nothing of it");
        let waits = locks.take(node, kind, wanted, answer(2)).unwrap();
        let gives_up = locks.take(node, kind, lock(3, 1, LockMode::Shared), answer(3)).unwrap();
        assert_eq!(next(), None);
        assert!(locks.is_waiting(gives_up));
        locks.interrupt(gives_up);
        locks.interrupt(gives_up);
        assert_eq!((next(), next()), (Some((3, Err(LockRefusal::Interrupted))), None));
        locks.release(node, kind, LockOwner { view: 1, number: 1 }, 0, u64::MAX);
        assert_eq!(next(), Some((2, Ok(()))));
        locks.interrupt(waits);
        assert_eq!(next(), None, "answered already");
        // One of the same view waits, one holds: both are gone with it.
        locks.take(node, kind, lock(2, 7, LockMode::Shared), answer(4)).unwrap();
        locks.take(node, kind, lock(4, 1, LockMode::Shared), answer(5)).unwrap();
        locks.forget_view(2);
        assert_eq!((next(), next()), (Some((4, Err(LockRefusal::Interrupted))), Some((5, Ok(())))));
        // A writer who becomes a reader lets readers in.
        locks.forget_view(4);
        locks.try_take(node, kind, lock(5, 1, LockMode::Exclusive)).unwrap();
        locks.take(node, kind, lock(6, 1, LockMode::Shared), answer(6)).unwrap();
        locks.try_take(node, kind, lock(5, 1, LockMode::Shared)).unwrap();
        assert_eq!(next(), Some((6, Ok(()))));
    }
}
