//! Tells the kernel of one mount what others changed in the store, before they are answered.
//!
//! Attributes, pages and names go by two threads, because the second kind may be held up by a lock of the kernel: the one of
//! a directory in which a change through this very mount waits for its answer, and that answer may wait for us. So nobody
//! waits long, and then says what needs no lock: that every name has to be asked for again. The price is a request for each
//! name of this mount that is used afterwards, and that file systems mounted below it are taken away as they are when the
//! directory they stand on is removed; both only when two mounts change the same names at once. Before Linux 6.16 a name
//! may then be believed until the other change has been answered.
//!
//! Pages that cannot be dropped in time are locked by a request that is under way, which fills them anew.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::debug;

use super::courier::Courier;
use super::known::{Known, Message};
use super::notice;
use crate::model::Change;
use crate::vfs::{Listener, Receipt};

/// Nothing that a request could hold keeps attributes from being told; this is for a machine that is very busy.
const ATTRIBUTES_PATIENCE: Duration = Duration::from_secs(1);
/// How long names and pages are waited for.
const LOCKED_PATIENCE: Duration = Duration::from_millis(20);

/// What one mount's kernel is told, and by whom.
#[derive(Debug)]
pub(super) struct Teller {
    known: Arc<Known>,
    attributes: Courier,
    locked: Courier,
    device: Arc<File>,
    /// Whether this kernel can be told to ask again for every name.
    epochs: AtomicBool,
}

impl Teller {
    /// `device`: a descriptor of the mount.
    pub(super) fn new(device: File, known: Arc<Known>) -> Self {
        let device = Arc::new(device);
        Self {
            attributes: Courier::new("tell-attributes", Arc::clone(&device), Arc::clone(&known)),
            locked: Courier::new("tell-names", Arc::clone(&device), Arc::clone(&known)),
            known,
            device,
            epochs: AtomicBool::new(true),
        }
    }

    /// Tells nothing more.
    pub(super) fn stop(&self) {
        self.attributes.stop();
        self.locked.stop();
    }

    /// Takes no lock, so it may be done by a thread that answers requests.
    fn forget_names(&self) {
        if !self.epochs.load(Ordering::Relaxed) {
            return;
        }
        if let Err(e) = notice::all_names(&self.device) {
            debug!("make the kernel ask again for every name: {e}");
            if e.kind() == std::io::ErrorKind::Unsupported {
                self.epochs.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl Listener for Teller {
    fn hear(&self, changes: &[Change]) -> Option<Receipt> {
        let mut messages = Vec::new();
        if !self.known.hear(changes, &mut messages) {
            return None;
        }
        let (attributes, locked): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| matches!(message, Message::Attributes(_)));
        // Also without a message: what was said already may not have arrived.
        Some(Receipt(self.attributes.hand_over(attributes), self.locked.hand_over(locked)))
    }

    fn settle(&self, receipt: Receipt) {
        if !self.attributes.wait(receipt.0, ATTRIBUTES_PATIENCE) {
            debug!("the kernel of a mount takes long to be told of changes");
        }
        if !self.locked.wait(receipt.1, LOCKED_PATIENCE) && self.locked.owes_name() {
            self.forget_names();
        }
    }
}
