//! The filesystem as one identity sees it: a mount, or a connection of the library, is a view.
//!
//! Every request that does not come from nexus itself passes through here. A view admits it (`policy/`), answers what is
//! computed and not stored (`virtuals`), and hands the rest to the filesystem. It stores nothing, and knows nothing of
//! the kernel.
//!
//! | file | what it holds |
//! |---|---|
//! | `gate` | admission: what reaches the filesystem |
//! | `nodes` | finding nodes, their attributes and extended attributes |
//! | `entries` | making, linking and removing names |
//! | `moves` | renaming, also from one scope to another |
//! | `files` | open files |
//! | `listing` | open directories, and what is left out of them |
//! | `shown` | attributes and numbers without what is hidden |
//! | `home` | the directories of a tenant |
//! | `archive` | the one way into `/archives` |
//! | `metadata` | custom metadata, and finding files by it |
//! | `work` | the queue |
//! | `virtuals` | trees that are computed when they are looked at |
//! | `work_tree` | one of them, `/.work`: the queue as directories |
//! | `whole` | whole bodies, as the library writes and copies files |
//! | `system` | `/system`, the tree about the store |
//! | `metrics` | one of its files, with all counters |
//!
//! Not hidden from other tenants, because the store is one: how many nodes it has had (numbers are given in order), how
//! often the queue has changed, how long an operation takes (a body that is stored already is stored faster), and how full the disk is, coarsely.

mod archive;
mod entries;
mod files;
mod gate;
mod home;
mod listing;
mod metadata;
mod metrics;
mod moves;
mod nodes;
mod shown;
mod system;
mod virtuals;
mod whole;
mod work;
mod work_links;
mod work_recent;
mod work_tree;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLockReadGuard};

use self::gate::Gate;
use self::listing::OpenDirectory;
use self::system::System;
use self::virtuals::Trees;
use self::work_tree::WorkTree;
use crate::error::Result;
use crate::model::{NodeId, Principal, VPath};
use crate::policy::{Access, Policy, Scope};
use crate::vfs::{HandleId, Origin, Scopes, Telling, Vfs};

pub use gate::Sight;
pub use virtuals::Lasting;

/// Who sees, what the rules are, and how a refusal is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The identity.
    pub principal: Principal,
    /// The namespaces. Views of one store are expected to have the same.
    pub policy: Arc<Policy>,
    /// What is answered about what the identity has no access to.
    pub sight: Sight,
    /// The configuration in force, as `/system/config.yaml` shows it.
    pub configuration: String,
}

impl Settings {
    /// Those of a mount for `principal`, with the built-in namespaces.
    #[must_use]
    pub fn of(principal: Principal) -> Self {
        Self { principal, policy: Arc::default(), sight: Sight::Hidden, configuration: String::new() }
    }
}

/// One identity's sight of a store. All methods take `&self`, and are those of [`Vfs`] with the same meaning.
///
/// Everywhere, what the identity has no access to is refused as [`Sight`] says, and what can only be read with
/// `ReadOnly`.
#[derive(Debug)]
pub struct View {
    gate: Arc<Gate>,
    trees: Trees,
    /// Whose changes these are.
    origin: Origin,
    /// Open directories of which something may have to be left out.
    directories: Mutex<HashMap<HandleId, Arc<Mutex<OpenDirectory>>>>,
}

impl View {
    /// What `principal` sees of the store on a mount, with the built-in namespaces.
    #[must_use]
    pub fn new(vfs: Arc<Vfs>, principal: Principal) -> Arc<Self> {
        Self::with(vfs, Settings::of(principal))
    }

    /// What an identity sees of the store.
    #[must_use]
    pub fn with(vfs: Arc<Vfs>, settings: Settings) -> Arc<Self> {
        let Settings { principal, policy, sight, configuration } = settings;
        let origin = vfs.changes().new_origin();
        let gate = Arc::new(Gate::new(Arc::clone(&vfs), policy, principal, sight));
        let work = WorkTree::new(Arc::clone(&gate));
        let trees = Trees::new(vec![Box::new(work), Box::new(System::new(vfs, configuration))]);
        Arc::new(Self { gate, trees, origin, directories: Mutex::default() })
    }

    /// Who makes the changes that come through this view.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The scope of one operation that may change something: when it ends, every other view's caches are told.
    fn telling(&self) -> Option<Telling<'_>> {
        self.vfs().changes().telling(self.origin)
    }

    /// Whose sight this is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.gate.who()
    }

    /// The filesystem below, for what belongs to a store as a whole: closing, checking, syncing.
    #[must_use]
    pub fn vfs(&self) -> &Arc<Vfs> {
        self.gate.vfs()
    }

    /// Whether nothing that is stored is hidden from this identity.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.gate.sees_everything().unwrap_or(false)
    }

    /// Whether this identity may see what is at a path, if there is something.
    #[must_use]
    pub fn sees_path(&self, path: &VPath) -> bool {
        self.gate.sees_path(path)
    }

    /// Refuses a path at which this identity may not make or change a file, also in a computed tree. For what changes many
    /// files at once, under [`View::hold`].
    ///
    /// # Errors
    /// `Denied`, `ReadOnly`.
    pub fn may_make(&self, path: &VPath) -> Result<()> {
        if let Some(first) = path.names().next() {
            self.stored(NodeId::ROOT, first)?;
        }
        self.gate.admit_place(&Scope::of(path), Access::Create).map(drop)
    }

    /// Keeps everything in its scope until the guard is dropped: what was admitted stays admitted. This thread must call no
    /// other method of a view meanwhile that changes something. Others' caches hear of all changes at the end.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        let telling = self.telling();
        Held { scopes: self.gate.scopes(), _hold: self.gate.scopes().hold(), _telling: telling }
    }
}

/// See [`View::hold`].
#[derive(Debug)]
pub struct Held<'a> {
    scopes: &'a Scopes,
    _hold: RwLockReadGuard<'a, ()>,
    /// The last to be dropped: nothing is held when others are told.
    _telling: Option<Telling<'a>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Many names were made meanwhile, perhaps also such as mean something in the root directory.
        self.scopes.outdate();
    }
}
