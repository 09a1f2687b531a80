//! Which ranges of which files are locked, by whom, and who would wait for whom: fcntl(2) and flock(2) as a pure table.
//!
//! One owner never conflicts with itself: a new lock replaces what the owner had in the range. Of two kinds, records and
//! whole files, neither knows the other, as on Linux. Whoever would wait in a circle of records is refused, as fcntl(2) wants
//! it; flock(2) promises no such thing.

use std::collections::{HashMap, HashSet};

use crate::model::NodeId;

/// Who holds a lock: for records a process, for whole files an open file, as the kernel of one mount numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockOwner {
    /// The view through which it came.
    pub view: u64,
    /// The number in that view.
    pub number: u64,
}

/// What a lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Bytes of a file, fcntl(2).
    Record,
    /// A file, flock(2).
    Whole,
}

/// Whether others may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// `F_RDLCK`, `LOCK_SH`.
    Shared,
    /// `F_WRLCK`, `LOCK_EX`.
    Exclusive,
}

/// A lock that is held or asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whose.
    pub owner: LockOwner,
    /// Whether others may share.
    pub mode: LockMode,
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
    /// The process, for `F_GETLK`.
    pub pid: u32,
}

impl Lock {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Self) -> bool {
        let exclusive = self.mode == LockMode::Exclusive || other.mode == LockMode::Exclusive;
        self.owner != other.owner && exclusive && self.meets(other)
    }
}

/// A file, and the kind of locks on it.
pub(super) type Place = (NodeId, LockKind);

/// The number of somebody who waits.
pub(super) type Ticket = u64;

/// All locks, and all who wait.
#[derive(Debug, Default)]
pub(super) struct Table {
    held: HashMap<Place, Vec<Lock>>,
    /// In the order in which they came.
    waiting: Vec<(Ticket, Place, Lock)>,
}

impl Table {
    /// The first lock that stands in the way.
    pub(super) fn obstacle(&self, place: Place, wanted: &Lock) -> Option<Lock> {
        self.held.get(&place)?.iter().find(|held| held.conflicts(wanted)).copied()
    }

    /// Takes a lock that nothing stands in the way of.
    pub(super) fn take(&mut self, place: Place, wanted: Lock) {
        self.clear(place, wanted.owner, wanted.first, wanted.last);
        let held = self.held.entry(place).or_default();
        let mut merged = wanted;
        // Neighbours of the same mode become one, so that the table stays as small as what it says.
        held.retain(|other| {
            let touches = other.last.saturating_add(1) >= merged.first && merged.last.saturating_add(1) >= other.first;
            let same = other.owner == merged.owner && other.mode == merged.mode && touches;
            if same {
                merged.first = merged.first.min(other.first);
                merged.last = merged.last.max(other.last);
            }
            !same
        });
        held.push(merged);
    }

    /// Gives up what an owner holds in a range; whether that was anything.
    pub(super) fn clear(&mut self, place: Place, owner: LockOwner, first: u64, last: u64) -> bool {
        let Some(held) = self.held.get_mut(&place) else { return false };
        let mut rest = Vec::new();
        let before = held.len();
        let mut changed = false;
        held.retain(|lock| {
            let hit = lock.owner == owner && lock.first <= last && first <= lock.last;
            if hit {
                changed = true;
                if lock.first < first {
                    rest.push(Lock { last: first - 1, ..*lock });
                }
                if lock.last > last {
                    rest.push(Lock { first: last + 1, ..*lock });
                }
            }
            !hit
        });
        debug_assert!(changed || held.len() == before, "nothing goes without being hit");
        held.append(&mut rest);
        if held.is_empty() {
            self.held.remove(&place);
        }
        changed
    }

    /// Whether waiting for a lock would close a circle of owners of whom each waits for the next.
    pub(super) fn would_deadlock(&self, place: Place, wanted: &Lock) -> bool {
        let mut seen = HashSet::new();
        let mut ahead: Vec<LockOwner> = self.in_the_way(place, wanted).collect();
        while let Some(owner) = ahead.pop() {
            if owner == wanted.owner {
                return true;
            }
            if seen.insert(owner) {
                let waits =
                    self.waiting.iter().filter(|(_, (_, kind), lock)| *kind == LockKind::Record && lock.owner == owner);
                ahead.extend(waits.flat_map(|(_, place, lock)| self.in_the_way(*place, lock)));
            }
        }
        false
    }

    fn in_the_way(&self, place: Place, wanted: &Lock) -> impl Iterator<Item = LockOwner> {
        let held = self.held.get(&place).map(Vec::as_slice).unwrap_or_default();
        held.iter().filter(move |held| held.conflicts(wanted)).map(|held| held.owner)
    }

    /// Lets somebody wait.
    pub(super) fn wait(&mut self, ticket: Ticket, place: Place, wanted: Lock) {
        self.waiting.push((ticket, place, wanted));
    }

    /// Somebody waits no more; whether he did.
    pub(super) fn abandon(&mut self, ticket: Ticket) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(other, ..)| *other != ticket);
        self.waiting.len() < before
    }

    /// Gives those who wait for a place what they can have now, first come, first served.
    pub(super) fn grant(&mut self, place: Place) -> Vec<Ticket> {
        let mut granted = Vec::new();
        let mut index = 0;
        while let Some((ticket, at, wanted)) = self.waiting.get(index).copied() {
            if at == place && self.obstacle(place, &wanted).is_none() {
                self.waiting.remove(index);
                self.take(place, wanted);
                granted.push(ticket);
            } else {
                index += 1;
            }
        }
        granted
    }

    /// The places where anybody of a view holds something, and the tickets of those of it who wait.
    pub(super) fn of_view(&self, view: u64) -> (Vec<(Place, LockOwner)>, Vec<Ticket>) {
        let held = self.held.iter().flat_map(|(place, locks)| locks.iter().map(|lock| (*place, lock.owner)));
        let held = held.filter(|(_, owner)| owner.view == view).collect();
        let waiting = self.waiting.iter().filter(|(_, _, lock)| lock.owner.view == view);
        (held, waiting.map(|(ticket, ..)| *ticket).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = (NodeId(9), LockKind::Record);
    const BYTES: u64 = 12;

    fn owner(number: u64) -> LockOwner {
        LockOwner { view: number % 2, number }
    }

    fn lock(number: u64, mode: LockMode, first: u64, last: u64) -> Lock {
        Lock { owner: owner(number), mode, first, last, pid: number as u32 }
    }

    /// For each byte, what each owner holds on it.
    type Model = Vec<HashMap<u64, LockMode>>;

    fn model_obstacle(model: &Model, wanted: &Lock) -> bool {
        (wanted.first..=wanted.last).any(|byte| {
            model[byte as usize].iter().any(|(other, mode)| {
                *other != wanted.owner.number && (*mode == LockMode::Exclusive || wanted.mode == LockMode::Exclusive)
            })
        })
    }

    proptest! {
        #[test]
        fn each_byte_is_locked_as_a_table_of_bytes_says(
            steps in prop::collection::vec((0..4_u64, 0..3_u8, 0..BYTES, 0..BYTES), 1..60),
        ) {
            let mut table = Table::default();
            let mut model: Model = vec![HashMap::new(); BYTES as usize];
            for (number, what, one, other) in steps {
                let (first, last) = (one.min(other), one.max(other));
                let mode = if what == 0 { LockMode::Shared } else { LockMode::Exclusive };
                if what == 2 {
                    table.clear(PLACE, owner(number), first, last);
                    for byte in first..=last {
                        model[byte as usize].remove(&number);
                    }
                } else {
                    let wanted = lock(number, mode, first, last);
                    let refused = model_obstacle(&model, &wanted);
                    prop_assert_eq!(table.obstacle(PLACE, &wanted).is_some(), refused);
                    if !refused {
                        table.take(PLACE, wanted);
                        for byte in first..=last {
                            model[byte as usize].insert(number, mode);
                        }
                    }
                }
                // What stands there says of each byte and owner what the model says, and nothing twice.
                let held = table.held.get(&PLACE).cloned().unwrap_or_default();
                for byte in 0..BYTES {
                    let here = held.iter().filter(|lock| lock.first <= byte && byte <= lock.last);
                    let here: Vec<_> = here.map(|lock| (lock.owner.number, lock.mode)).collect();
                    let said: HashMap<_, _> = here.iter().copied().collect();
                    prop_assert_eq!(here.len(), said.len());
                    prop_assert_eq!(&said, &model[byte as usize]);
                }
            }
        }
    }

    #[test]
    fn who_waits_gets_it_in_turn() {
        let mut table = Table::default();
        table.take(PLACE, lock(0, LockMode::Exclusive, 0, 9));
        table.wait(1, PLACE, lock(1, LockMode::Exclusive, 0, 4));
        table.wait(2, PLACE, lock(2, LockMode::Exclusive, 4, 5));
        table.wait(3, PLACE, lock(3, LockMode::Shared, 8, 9));
        assert_eq!(table.grant(PLACE), [] as [Ticket; 0]);
        assert!(table.clear(PLACE, owner(0), 0, u64::MAX));
        assert_eq!(table.grant(PLACE), [1, 3]);
        assert!(table.abandon(2) && !table.abandon(2));
        table.clear(PLACE, owner(1), 0, u64::MAX);
        table.clear(PLACE, owner(3), 0, u64::MAX);
        assert!(table.held.is_empty() && table.waiting.is_empty());
    }

    #[test]
    fn a_circle_of_records_is_refused() {
        let mut table = Table::default();
        let other = (NodeId(10), LockKind::Record);
        table.take(PLACE, lock(0, LockMode::Exclusive, 0, 0));
        table.take(other, lock(1, LockMode::Exclusive, 0, 0));
        table.take(PLACE, lock(2, LockMode::Exclusive, 5, 5));
        table.wait(1, other, lock(0, LockMode::Exclusive, 0, 0));
        assert!(table.would_deadlock(PLACE, &lock(1, LockMode::Shared, 0, 0)));
        assert!(!table.would_deadlock(PLACE, &lock(1, LockMode::Shared, 5, 5)));
        // Three in a row.
        table.wait(2, PLACE, lock(1, LockMode::Exclusive, 5, 5));
        assert!(table.would_deadlock(PLACE, &lock(2, LockMode::Exclusive, 0, 0)));
        assert!(!table.would_deadlock(PLACE, &lock(3, LockMode::Exclusive, 0, 0)));
    }

    #[test]
    fn the_end_of_the_address_space_is_a_byte_like_another() {
        let mut table = Table::default();
        table.take(PLACE, lock(0, LockMode::Shared, 5, u64::MAX));
        table.take(PLACE, lock(0, LockMode::Exclusive, 0, 4));
        assert!(table.obstacle(PLACE, &lock(1, LockMode::Shared, u64::MAX, u64::MAX)).is_none());
        assert!(table.obstacle(PLACE, &lock(1, LockMode::Shared, 4, 4)).is_some());
        table.clear(PLACE, owner(0), 4, u64::MAX);
        assert!(table.obstacle(PLACE, &lock(1, LockMode::Exclusive, 4, u64::MAX)).is_none());
    }
}
