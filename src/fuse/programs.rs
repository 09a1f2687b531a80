//! Files from which programs run.
//!
//! The kernel refuses to write to them (`ETXTBSY`, open(2)). For writers it does so before it asks for the open, but where a
//! file is opened for reading with `O_TRUNC`, only afterwards: under `FUSE_ATOMIC_O_TRUNC` it would be empty by then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::model::NodeId;
use crate::vfs::HandleId;

/// The handles on which programs run: the kernel keeps one open until its program has ended.
#[derive(Debug, Default)]
pub(super) struct Programs {
    handles: Mutex<HashMap<HandleId, NodeId>>,
    /// How many there are, for whoever closes something else.
    count: AtomicUsize,
}

impl Programs {
    /// A file was opened to be run.
    pub(super) fn started(&self, node: NodeId, handle: HandleId) {
        let mut handles = self.handles.lock();
        handles.insert(handle, node);
        self.count.store(handles.len(), Ordering::Release);
    }

    /// A handle is closed, perhaps one of these.
    pub(super) fn closed(&self, handle: HandleId) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut handles = self.handles.lock();
            handles.remove(&handle);
            self.count.store(handles.len(), Ordering::Release);
        }
    }

    /// Whether a program may be running from the file.
    pub(super) fn run_from(&self, node: NodeId) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.handles.lock().values().any(|running| *running == node)
    }
}
