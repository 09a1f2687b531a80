//! Tells the kernel of one mount what others changed in the store, before they are answered.
//!
//! Attributes are told by a thread that nothing holds up. Pages of files may be locked by a request that is under way, which
//! then fills them anew: they have a thread of their own, for which nobody waits long. Listings have a third. Their pages are
//! locked while names are copied to whoever reads them, which takes long only where that is memory that is still to be
//! fetched from a slow place.
//!
//! A name cannot be told alone without waiting for the lock of its directory, which the kernel holds while a change through
//! this very mount waits for its answer; and that answer may wait for us. Worse, a thread that waits for it in the kernel
//! outlives a kill of the process and keeps the connection alive, with requests that nobody will read. So since Linux 6.16
//! the kernel is told, by a message that takes no lock, that every name has to be asked for again. The price is a request
//! for each name of this mount that is used afterwards, and that filesystems mounted below it are taken away, as they are
//! when the directory they stand on is removed. It is paid when another mount changes a name that this one has looked at.
//! Before Linux 6.16 the name itself is told; it may then be believed a moment longer while both change one directory, and
//! those that an import of very many files changed until they are too old.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use log::debug;

use super::courier::Courier;
use super::known::{Known, Message};
use super::notice;
use crate::model::{Change, NodeId};
use crate::stats::Traffic;
use crate::vfs::{Listener, Receipt};

/// No request keeps attributes and listings from being told; this is for a machine that is very busy.
const FREE_PATIENCE: Duration = Duration::from_secs(1);
/// How long pages, and names where they are told one by one, are waited for.
const LOCKED_PATIENCE: Duration = Duration::from_millis(20);

/// What one mount's kernel is told, and by whom.
#[derive(Debug)]
pub(super) struct Teller {
    known: Arc<Known>,
    attributes: Courier,
    listings: Courier,
    locked: Courier,
    device: Arc<File>,
    traffic: Arc<Traffic>,
    /// Whether this kernel can be told to ask again for every name.
    epochs: bool,
}

impl Teller {
    /// `device`: a descriptor of the mount.
    pub(super) fn new(device: File, known: Arc<Known>, traffic: Arc<Traffic>) -> Self {
        let device = Arc::new(device);
        let courier = |name| Courier::new(name, Arc::clone(&device), Arc::clone(&known), Arc::clone(&traffic));
        Self {
            attributes: courier("tell-attributes"),
            listings: courier("tell-listings"),
            locked: courier("tell-pages"),
            known,
            traffic,
            // Nothing is believed yet, so trying costs nothing.
            epochs: notice::all_names(&device).is_ok(),
            device,
        }
    }

    /// Tells nothing more.
    pub(super) fn stop(&self) {
        self.attributes.stop();
        self.listings.stop();
        self.locked.stop();
    }
}

impl Listener for Teller {
    fn hear(&self, changes: &[Change]) -> Option<Receipt> {
        let mut messages = Vec::new();
        if !self.known.hear(changes, &mut messages) {
            return None;
        }
        let names = |message: &Message| matches!(message, Message::Name(..) | Message::AllNames);
        if self.epochs && messages.iter().any(names) {
            messages.retain(|message| !names(message));
            // Takes no lock, so a thread that answers requests may do it.
            if let Err(e) = notice::all_names(&self.device) {
                debug!("make the kernel ask again for every name: {e}");
            }
            self.traffic.told();
            if self.known.is_listing() {
                self.attributes.repeat(&Message::AllNames);
            }
        }
        let (listings, messages): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| matches!(message, Message::Listing(_)));
        let (attributes, locked): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| matches!(message, Message::Attributes(_)));
        // Also without a message: what was said already may not have arrived.
        Some(Receipt([
            self.attributes.hand_over(attributes),
            self.listings.hand_over(listings),
            self.locked.hand_over(locked),
        ]))
    }

    fn settle(&self, Receipt([attributes, listings, locked]): Receipt) {
        let told = self.attributes.wait(attributes, FREE_PATIENCE);
        if !(self.listings.wait(listings, FREE_PATIENCE) && told) {
            debug!("the kernel of a mount takes long to be told of changes");
        }
        self.locked.wait(locked, LOCKED_PATIENCE);
    }

    fn holds(&self, node: NodeId) -> bool {
        self.known.holds(node)
    }
}
