//! Who is told of what an operation changed: the caches of all who see the store, except of the one who asked for it.
//!
//! A view opens a scope around each operation ([`Changes::telling`]). What the operation changes is noted on its thread,
//! rows by `meta/` and bytes by whoever writes them. At the end of the scope, when the operation has happened and no lock
//! is held, every other listener hears of it, and the operation is answered only after they had time to pass it on. So
//! whoever learns of the answer, by whatever way, sees the change through every mount.
//!
//! Where nobody else listens, a scope is one atomic load and notes nothing. What is done outside a scope (committing,
//! sealing) changes nothing that anybody can see.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::stale::StalePages;
use crate::model::{Change, NodeId};

/// Whoever makes changes or hears of them: one view of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(u64);

impl Origin {
    /// No view: whoever works on the filesystem itself.
    pub const NOBODY: Self = Self(NOBODY);

    /// A number that no other origin of the store has.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a listener gives for changes it has to pass on, to be settled; the numbers mean something to that listener only.
#[derive(Clone, Copy, Debug)]
pub struct Receipt(pub [u64; 3]);

/// A cache that has to hear of changes.
pub trait Listener: Send + Sync + Debug {
    /// Takes changes up; must not wait. `None`: none of them concerns this cache.
    fn hear(&self, changes: &[Change]) -> Option<Receipt>;

    /// Waits until the cache has been told, for a bounded time: whoever holds it up may be waiting for this very thread.
    fn settle(&self, receipt: Receipt);

    /// Whether somebody behind this cache may be about to open the node by its number. Must not wait.
    fn holds(&self, node: NodeId) -> bool;
}

/// Nobody listens.
const NOBODY: u64 = 0;
/// More than one listens.
const SEVERAL: u64 = u64::MAX;

/// All who listen to one store.
#[derive(Debug, Default)]
pub struct Changes {
    origins: AtomicU64,
    /// The only one who listens, or [`NOBODY`], or [`SEVERAL`].
    audience: AtomicU64,
    listeners: RwLock<Vec<(Origin, Arc<dyn Listener>)>>,
    /// Somebody has worked on the store beside the only one who listens.
    visited: AtomicBool,
    /// An operation may change what whoever asks for it does not expect.
    has_effects: AtomicBool,
    /// Whose kernel has to drop pages at the next open.
    pub(super) stale: StalePages,
    /// Files that the kernel writes without asking, and how many handles do.
    kernel_written: Mutex<HashMap<NodeId, u32>>,
    kernel_written_count: AtomicUsize,
}

/// What an operation has changed so far.
#[derive(Debug, Default)]
struct Noted {
    changes: Vec<Change>,
    /// Of these, what follows from the queue and not from what was asked: the cache of whoever asked is told, too.
    effects: Vec<Change>,
}

thread_local! {
    /// The operation on this thread; `None` outside a scope.
    static NOTED: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

/// Whether the operation on this thread is to note what it changes.
pub(super) fn noting() -> bool {
    NOTED.with_borrow(Option::is_some)
}

/// Notes what the operation on this thread changed.
pub(super) fn note(changes: impl IntoIterator<Item = Change>) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted {
            changes.into_iter().for_each(|change| change.add_to(&mut noted.changes));
        }
    });
}

/// The scope of one operation; its end tells.
#[derive(Debug)]
pub struct Telling<'a> {
    changes: &'a Changes,
    origin: Origin,
}

impl Changes {
    /// A new origin.
    pub fn new_origin(&self) -> Origin {
        Origin(self.origins.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Tells `listener` of all changes that `origin` does not make itself, from now on.
    pub fn listen(&self, origin: Origin, listener: Arc<dyn Listener>) {
        let mut listeners = self.listeners.write();
        listeners.push((origin, listener));
        self.audience.store(audience(&listeners), Ordering::SeqCst);
    }

    /// Tells the listener of `origin` no more.
    pub fn leave(&self, origin: Origin) {
        let mut listeners = self.listeners.write();
        listeners.retain(|(other, _)| *other != origin);
        self.audience.store(audience(&listeners), Ordering::SeqCst);
        drop(listeners);
        self.stale.forget(origin);
    }

    /// The pages that any kernel has of a file may be out of date.
    pub(super) fn all_pages_are_stale(&self, node: NodeId) {
        self.stale.mark(node, self.listeners.read().iter().map(|(origin, _)| *origin));
    }

    /// The operation on this thread has changed attributes of these nodes, whatever it was asked for.
    pub(super) fn note_effects(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.expect_effects();
        NOTED.with_borrow_mut(|noted| {
            if let Some(noted) = noted {
                nodes.into_iter().for_each(|node| Change::Attributes(node).add_to(&mut noted.effects));
            }
        });
    }

    /// From now on operations may have effects: there is a queue.
    pub(super) fn expect_effects(&self) {
        self.has_effects.store(true, Ordering::Relaxed);
    }

    /// Whether what one who listens has been told may be changed by another.
    pub fn is_shared(&self) -> bool {
        self.audience.load(Ordering::SeqCst) == SEVERAL || self.visited.load(Ordering::Relaxed)
    }

    /// As [`Changes::telling`], for an operation with effects beyond what was asked for: also the cache of whoever asks is
    /// told.
    pub fn telling_all(&self) -> Option<Telling<'_>> {
        self.telling(Origin(NOBODY))
    }

    /// Whether one who listens holds the node.
    pub(super) fn holds(&self, node: NodeId) -> bool {
        self.audience.load(Ordering::SeqCst) != NOBODY
            && self.listeners.read().iter().any(|(_, listener)| listener.holds(node))
    }

    /// Begins the scope of an operation of `origin`. `None` when nobody else listens, or inside another scope.
    pub fn telling(&self, origin: Origin) -> Option<Telling<'_>> {
        let audience = self.audience.load(Ordering::SeqCst);
        let alone = audience == origin.0;
        if audience == NOBODY || (alone && !self.has_effects.load(Ordering::Relaxed)) {
            return None;
        }
        NOTED.with_borrow_mut(|noted| {
            if noted.is_some() {
                return None;
            }
            if !alone {
                self.visited.store(true, Ordering::Relaxed);
            }
            *noted = Some(Noted::default());
            Some(Telling { changes: self, origin })
        })
    }

    /// Whether the kernel of some mount writes a file without asking: what another learns of it is old at once.
    pub fn is_kernel_written(&self, node: NodeId) -> bool {
        self.kernel_written_count.load(Ordering::SeqCst) > 0 && self.kernel_written.lock().contains_key(&node)
    }

    /// A handle on which the kernel writes was opened.
    pub(super) fn kernel_writes(&self, node: NodeId) {
        let mut written = self.kernel_written.lock();
        *written.entry(node).or_default() += 1;
        self.kernel_written_count.store(written.len(), Ordering::SeqCst);
        drop(written);
        note([Change::all_bytes(node)]);
    }

    /// Such a handle was closed.
    pub(super) fn kernel_wrote(&self, node: NodeId) {
        let mut written = self.kernel_written.lock();
        if let Some(handles) = written.get_mut(&node) {
            *handles -= 1;
            if *handles == 0 {
                written.remove(&node);
            }
        }
        self.kernel_written_count.store(written.len(), Ordering::SeqCst);
        drop(written);
        note([Change::all_bytes(node)]);
    }

    fn tell(&self, origin: Origin, mut noted: Noted) {
        if noted.changes.is_empty() && noted.effects.is_empty() {
            return;
        }
        forget_repeated(&mut noted.changes);
        let listeners: Vec<_> = self.listeners.read().clone();
        // All are told before the first is waited for: the waits overlap.
        let told: Vec<_> = listeners
            .iter()
            .filter_map(|(who, listener)| {
                let news = if *who == origin { &noted.effects } else { &noted.changes };
                if news.is_empty() { None } else { listener.hear(news).map(|receipt| (listener, receipt)) }
            })
            .collect();
        for (listener, receipt) in told {
            listener.settle(receipt);
        }
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let noted = NOTED.take().unwrap_or_default();
        self.changes.tell(self.origin, noted);
    }
}

fn audience(listeners: &[(Origin, Arc<dyn Listener>)]) -> u64 {
    match listeners {
        [] => NOBODY,
        [(only, _)] => only.0,
        _ => SEVERAL,
    }
}

/// Drops what is said twice. Most operations change few things, an import many.
fn forget_repeated(changes: &mut Vec<Change>) {
    let mut said = HashSet::with_capacity(changes.len());
    changes.retain(|change| said.insert(change.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Ear(Mutex<Vec<Change>>);

    impl Listener for Ear {
        fn hear(&self, changes: &[Change]) -> Option<Receipt> {
            self.0.lock().extend_from_slice(changes);
            None
        }

        fn settle(&self, _: Receipt) {}

        fn holds(&self, _: NodeId) -> bool {
            false
        }
    }

    #[test]
    fn all_but_the_origin_hear_once() {
        let changes = Changes::default();
        let (here, there, elsewhere) = (changes.new_origin(), changes.new_origin(), changes.new_origin());
        let change = Change::Attributes(NodeId(7));
        assert!(changes.telling(here).is_none(), "nobody listens");
        let (ear, other) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
        changes.listen(here, Arc::clone(&ear) as Arc<dyn Listener>);
        assert!(changes.telling(here).is_none(), "only the origin listens");
        changes.listen(there, Arc::clone(&other) as Arc<dyn Listener>);
        assert!(changes.is_shared());
        {
            let _telling = changes.telling(here);
            assert!(changes.telling(here).is_none(), "a scope inside a scope");
            note([change.clone(), change.clone()]);
            assert!(other.0.lock().is_empty(), "told before the end");
        }
        assert_eq!((ear.0.lock().len(), &*other.0.lock()), (0, &vec![change.clone()]));
        // The library makes changes and has no cache.
        drop(changes.telling(elsewhere).inspect(|_| note([change.clone()])));
        assert_eq!((ear.0.lock().len(), other.0.lock().len()), (1, 2));
        note([change]);
        changes.leave(there);
        assert!(changes.telling(here).is_none());
    }

    #[test]
    fn what_nobody_asked_for_is_told_to_whoever_asked_as_well() {
        let changes = Changes::default();
        let here = changes.new_origin();
        let ear = Arc::new(Ear::default());
        changes.listen(here, Arc::clone(&ear) as Arc<dyn Listener>);
        changes.expect_effects();
        let (asked, follows) = (Change::Attributes(NodeId(7)), Change::Attributes(NodeId(8)));
        {
            let _telling = changes.telling(here);
            note([asked, follows.clone()]);
            changes.note_effects([NodeId(8)]);
        }
        assert_eq!(*ear.0.lock(), [follows]);
        assert!(!changes.is_shared(), "it is alone");
    }
}
