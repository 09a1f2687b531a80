//! What moves in the queue, told to whoever waits for it.
//!
//! Changes are numbered in the order in which they were acknowledged. Nothing is kept for long: whoever is slow learns that
//! it missed some. Its lock is taken last, under that of the core.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::meta::ReadTxn;
use crate::model::{Timestamp, VPath, rfc3339};
use crate::work::{Moved, Paths, Scope, WorkChange};

/// Changes that are kept for those who watch.
const KEPT_MAX: usize = 4096;

/// The changes of the queue.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the latest change.
    last: u64,
    /// When it was.
    changed_at: Option<Timestamp>,
    /// Whether anybody has ever watched: until then only numbers are kept.
    watched: bool,
    /// The latest changes, each with its path as bytes.
    kept: VecDeque<(VPath, WorkChange)>,
}

impl Feed {
    /// Takes what an operation has moved, right after it.
    pub(super) fn publish(&self, read: ReadTxn<'_>, moved: &[Moved], now: Timestamp) -> Result<()> {
        let mut state = self.state.lock();
        state.changed_at = Some(now);
        let mut paths = Paths::new(read);
        for change in moved {
            state.last += 1;
            if !state.watched {
                continue;
            }
            let path = match &change.last_name {
                Some((directory, name)) => paths.at(*directory, name)?,
                None => paths.of(change.node, &Scope::EVERYTHING)?,
            };
            let Some(path) = path else { continue };
            let told = WorkChange {
                number: state.last,
                path_id: change.node.to_string(),
                virtual_path: path.to_string(),
                from: change.from,
                to: change.to,
                at: rfc3339(now),
            };
            if state.kept.len() == KEPT_MAX {
                state.kept.pop_front();
            }
            state.kept.push_back((path, told));
        }
        self.moved.notify_all();
        Ok(())
    }

    /// The number of the latest change; from now on changes are kept.
    pub(super) fn watch(&self) -> u64 {
        let mut state = self.state.lock();
        state.watched = true;
        state.last
    }

    /// When the latest change was; `None` when there was none since the store was opened.
    pub(super) fn changed_at(&self) -> Option<Timestamp> {
        self.state.lock().changed_at
    }

    /// The number of the latest change.
    pub(super) fn last(&self) -> u64 {
        self.state.lock().last
    }

    /// Waits until there is a change behind `after`, but not for longer than `patience`.
    pub(super) fn wait(&self, after: u64, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let mut state = self.state.lock();
        while state.last <= after {
            let timed_out = match until {
                Some(until) => self.moved.wait_until(&mut state, until).timed_out(),
                None => {
                    self.moved.wait(&mut state);
                    false
                }
            };
            if timed_out {
                return;
            }
        }
    }

    /// The changes behind `after` in a scope, the number of the latest, and whether some are not known any more.
    pub(super) fn since(&self, after: u64, scope: &Scope<'_>) -> (Vec<WorkChange>, u64, bool) {
        let state = self.state.lock();
        let oldest = state.kept.front().map_or(state.last, |(_, change)| change.number - 1);
        let behind = state.kept.iter().filter(|(path, change)| change.number > after && scope.holds(path));
        (behind.map(|(_, change)| change.clone()).collect(), state.last, after < oldest)
    }
}
