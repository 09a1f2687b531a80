//! The filesystem as one identity sees it: a mount, or a connection of the library, is a view.
//!
//! Every request that does not come from nexus itself passes through here. A view admits it (`policy/`), answers what is
//! computed and not stored (`virtuals`), and hands the rest to the filesystem. It stores nothing, and knows nothing of
//! the kernel.
//!
//! | file | what it holds |
//! |---|---|
//! | `nodes` | finding nodes, their attributes and extended attributes |
//! | `entries` | making, linking, renaming and removing names |
//! | `files` | open files and directories |
//! | `virtuals` | trees that are computed when they are looked at |

mod entries;
mod files;
mod nodes;
mod virtuals;

use std::sync::Arc;

use self::virtuals::Trees;
use crate::model::Principal;
use crate::vfs::{Origin, Telling, Vfs};

/// One identity's sight of a store. All methods take `&self`, and are those of [`Vfs`] with the same meaning.
#[derive(Debug)]
pub struct View {
    vfs: Arc<Vfs>,
    principal: Principal,
    trees: Trees,
    /// Whose changes these are.
    origin: Origin,
}

impl View {
    /// What `principal` sees of the store.
    #[must_use]
    pub fn new(vfs: Arc<Vfs>, principal: Principal) -> Arc<Self> {
        let origin = vfs.changes().new_origin();
        Arc::new(Self { vfs, principal, trees: Trees::new(Vec::new()), origin })
    }

    /// Who makes the changes that come through this view.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The scope of one operation that may change something: when it ends, every other view's caches are told.
    fn telling(&self) -> Option<Telling<'_>> {
        self.vfs.changes().telling(self.origin)
    }

    /// Whose sight this is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The filesystem below, for what belongs to a store as a whole: closing, checking, syncing.
    #[must_use]
    pub fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }
}
