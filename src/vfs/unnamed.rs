//! Nodes without a name that somebody may still open.
//!
//! open(2) looks a name up and then opens what it found. On a local disk it succeeds although unlink(2) or rename(2) comes
//! in between, because the kernel holds the inode. Here the kernel opens by number: so a node that the kernel of a mount
//! holds stays when its last name goes, as if it were open, until that kernel forgets it, which it does at once when
//! nobody uses the node. A path opened with `O_PATH`, or a working directory, keeps its node in the same way.
//!
//! Where several see one store this has an end: a kernel that is told that a name has gone drops the node only when it
//! wants the memory back. There a node goes when it had time to be opened, and what stat(2) tells of it is remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::live::Live;
use super::store::Vfs;
use crate::model::{Attr, NodeId};

/// How long a node without a name can be opened where several see the store.
const GRACE: Duration = Duration::from_secs(1);
/// Closed files without a name whose bytes wait in memory for their kernel to forget them; beyond that they are dropped.
const CLOSED_MAX: usize = 256;
/// Removed nodes of which attributes are remembered.
const TOMBS_MAX: usize = 4096;

/// The nodes without a name that some kernel holds. Its lock is taken last.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    state: Mutex<State>,
    /// How many there are in `state`, for whoever looks without its lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Each of them counts as a use of its live file.
    waiting: HashMap<NodeId, (Arc<Live>, Instant)>,
    /// Those that are gone.
    tombs: HashMap<NodeId, Attr>,
}

impl State {
    fn len(&self) -> usize {
        self.waiting.len() + self.tombs.len()
    }
}

impl Unnamed {
    /// Lets a node wait that has lost its last name. `live`: a use of it, which comes along.
    pub(super) fn wait(&self, live: Arc<Live>) {
        let mut state = self.state.lock();
        state.waiting.insert(live.id, (live, Instant::now()));
        self.count.store(state.len(), Ordering::Release);
    }

    /// The same for one that was just closed, as long as there are few of them. Whether it waits.
    pub(super) fn wait_closed(&self, live: &Arc<Live>) -> bool {
        let few = self.state.lock().waiting.len() < CLOSED_MAX;
        if few {
            self.wait(Arc::clone(live));
        }
        few
    }

    /// Remembers a node that goes although a kernel holds it.
    pub(super) fn bury(&self, attr: &Attr) {
        let mut state = self.state.lock();
        if state.tombs.len() >= TOMBS_MAX {
            state.tombs.clear();
        }
        state.tombs.insert(attr.id, Attr { nlink: 0, ..*attr });
        self.count.store(state.len(), Ordering::Release);
    }

    /// What is remembered of a node that is gone.
    pub(super) fn tomb(&self, id: NodeId) -> Option<Attr> {
        self.state.lock().tombs.get(&id).copied()
    }

    /// Takes out what `wanted` picks.
    fn take(&self, wanted: impl Fn(NodeId, Instant) -> bool) -> Vec<Arc<Live>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let taken = state.waiting.extract_if(|id, (_, since)| wanted(*id, *since)).map(|(_, (live, _))| live).collect();
        self.count.store(state.len(), Ordering::Release);
        taken
    }

    /// A node has been forgotten by a kernel; what of it waited, if no other holds it.
    fn forget(&self, id: NodeId, held: impl Fn() -> bool) -> Option<Arc<Live>> {
        if self.count.load(Ordering::Acquire) == 0 || held() {
            return None;
        }
        let mut state = self.state.lock();
        state.tombs.remove(&id);
        let taken = state.waiting.remove(&id).map(|(live, _)| live);
        self.count.store(state.len(), Ordering::Release);
        taken
    }
}

impl Vfs {
    /// The kernel of one mount has forgotten a node. Without a name it goes.
    pub fn forget(&self, id: NodeId) {
        if let Some(live) = self.unnamed.forget(id, || self.changes.holds(id)) {
            self.let_go_unnamed([live]);
        }
    }

    /// A kernel is gone: the nodes without a name that it alone held go.
    pub fn forget_unheld(&self) {
        self.let_go_unnamed(self.unnamed.take(|id, _| !self.changes.holds(id)));
    }

    /// Ends the waiting of all nodes without a name that nobody has open; before counting what there is.
    pub(super) fn forget_unnamed(&self) {
        self.let_go_unnamed(self.unnamed.take(|_, _| true));
    }

    /// The same for those that have waited long enough, where kernels do not forget by themselves.
    pub(super) fn forget_expired(&self) {
        if self.changes.is_shared() {
            self.let_go_unnamed(self.unnamed.take(|_, since| since.elapsed() >= GRACE));
        }
    }

    fn let_go_unnamed(&self, nodes: impl IntoIterator<Item = Arc<Live>>) {
        for live in nodes {
            if let Err(e) = self.let_go_for_good(&live) {
                log::warn!("remove node {}, which has no name any more: {e}", live.id);
            }
        }
    }
}
