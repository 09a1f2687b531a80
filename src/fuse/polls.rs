//! Who waits with poll(2) for a file to change, and how he is woken.
//!
//! The kernel asks whether an open file is ready, and may add that it wants to be told when that could be otherwise. Then
//! the file is noted *before* it is looked at, so that no change falls in between. A change of the queue wakes everybody who
//! is noted, once: the kernel asks again, and whoever finds nothing new waits again. So one identity learns nothing of what
//! another one does but that it was something.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
use parking_lot::Mutex;

use super::notice;
use crate::error::Result;
use crate::vfs::{HandleId, Vfs};
use crate::view::View;

/// How long the thread sleeps at most before it looks whether it is still needed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Changes that come this close together wake only once.
const GATHERED: Duration = Duration::from_millis(2);

/// Those who wait on one mount.
#[derive(Debug)]
pub(super) struct Polls {
    view: Arc<View>,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    device: Arc<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Open files, with the numbers by which the kernel knows them.
    waiting: HashMap<HandleId, u64>,
    running: bool,
    stopped: bool,
}

impl Polls {
    /// `device`: a descriptor of the mount.
    pub(super) fn new(view: Arc<View>, device: Arc<File>) -> Self {
        Self { view, desk: Arc::new(Desk { device, state: Mutex::default() }) }
    }

    /// Whether a file is ready; `tell`: the number under which the kernel wants to hear of it otherwise.
    pub(super) fn ask(&self, handle: HandleId, tell: Option<u64>) -> Result<bool> {
        if let Some(file) = tell.filter(|_| handle.0 & crate::model::NodeId::VIRTUAL_BIT != 0) {
            let seen = self.view.vfs().work_seen();
            let mut state = self.desk.state.lock();
            state.waiting.insert(handle, file);
            if !state.running && !state.stopped {
                state.running = self.start(seen);
            }
        }
        let ready = self.view.is_ready(handle)?;
        if ready {
            self.forget(handle);
        }
        Ok(ready)
    }

    /// A file is closed.
    pub(super) fn forget(&self, handle: HandleId) {
        self.desk.state.lock().waiting.remove(&handle);
    }

    /// Wakes nobody any more.
    pub(super) fn stop(&self) {
        self.desk.state.lock().stopped = true;
    }

    /// Starts the thread, which ends when nobody waits; whether that succeeded.
    fn start(&self, seen: u64) -> bool {
        let (vfs, desk) = (Arc::clone(self.view.vfs()), Arc::clone(&self.desk));
        let spawned = std::thread::Builder::new().name("tell-polls".into()).spawn(move || desk.run(&vfs, seen));
        spawned.inspect_err(|e| warn!("whoever polls {} is not woken: {e}", "/.work/status.json")).is_ok()
    }
}

impl Desk {
    fn run(&self, vfs: &Vfs, mut seen: u64) {
        loop {
            vfs.work_wait(seen, PATIENCE);
            let now = vfs.work_seen();
            if now != seen {
                std::thread::sleep(GATHERED);
            }
            let mut state = self.state.lock();
            let woken: Vec<_> = if vfs.work_seen() == seen {
                Vec::new()
            } else {
                seen = vfs.work_seen();
                state.waiting.drain().map(|(_, file)| file).collect()
            };
            if state.stopped || state.waiting.is_empty() && woken.is_empty() {
                state.running = false;
                return;
            }
            drop(state);
            for file in woken {
                if let Err(e) = notice::polled(&self.device, file) {
                    debug!("wake who polls a file: {e}");
                }
            }
        }
    }
}
