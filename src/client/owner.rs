//! The process that has a store: it carries out its own requests and, over the socket, those of everybody else.
//!
//! The end of an owner has a fixed order: drafts are sealed while others still work, then the gate closes (what is being
//! carried out is finished, and nothing is begun), then the connections end with a goodbye that says so, then the store is
//! closed. So whoever got no answer knows whether to ask again, unless the owner was killed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::request::{Reply, Request};
use super::serve::{Exchange, serve};
use super::steward::{Library, Steward};
use super::types::{Role, Status};
use super::wire::Server;
use crate::advice;
use crate::error::Result;
use crate::model::{Caller, Principal, Timestamp};
use crate::policy::Policy;
use crate::vfs::{StoreOptions, Vfs};
use crate::view::{Settings, Sight, View};

/// A store that this process has, as long as this value lives.
#[derive(Debug)]
pub struct Owner(Arc<Inner>);

/// What the connections share with the owner.
#[derive(Debug)]
pub(super) struct Inner {
    vfs: Arc<Vfs>,
    /// The namespaces as the owner's configuration has them: a client brings its identity, not its rules.
    policy: Arc<Policy>,
    steward: Arc<dyn Steward>,
    /// Whether the store is closed with the gate: a daemon closes it itself.
    closes_store: bool,
    /// Held for reading during each request.
    gate: RwLock<Option<Gone>>,
    /// Held while the owner ends, so that whoever comes second waits for the first. Before all other locks.
    ending: Mutex<()>,
    server: Mutex<Option<Server>>,
}

/// The owner has closed its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// A daemon asked for the store, and is to have it next.
    pub(super) handed_over: bool,
}

/// How long requests that were begun may take when the owner ends.
const BODIES_MAX: Duration = Duration::from_secs(10);

/// Stores that this process has: it cannot lock one twice.
static OWNED: Mutex<Vec<(PathBuf, Weak<Owner>)>> = Mutex::new(Vec::new());

impl Owner {
    /// Serves `vfs`, the open store of `data_dir`, to other processes. The caller closes the store, after
    /// [`Owner::end`].
    ///
    /// Where there can be no socket, on a disk that is full or read-only, others cannot join; that is logged.
    #[must_use]
    pub fn adopt(vfs: Arc<Vfs>, data_dir: &Path, policy: Arc<Policy>, steward: Arc<dyn Steward>) -> Self {
        Self::start(vfs, data_dir, policy, steward, false)
    }

    /// This process as the owner of the store in `data_dir` (canonical), if it is.
    pub(super) fn here(data_dir: &Path) -> Option<Arc<Self>> {
        find(&OWNED.lock(), data_dir)
    }

    /// Makes this process the owner of the store in `data_dir` (canonical), unless it is already.
    ///
    /// # Errors
    /// What opening the store reports; `InUse` when another process has it.
    pub(super) fn of(data_dir: &Path, policy: &Arc<Policy>) -> Result<Arc<Self>> {
        // Held while the store is opened: two threads of this process must not both try.
        let mut owned = OWNED.lock();
        if let Some(owner) = find(&owned, data_dir) {
            return Ok(owner);
        }
        let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
        let owner =
            Arc::new(Self::start(Vfs::open_store(options)?, data_dir, Arc::clone(policy), Arc::new(Library), true));
        owned.retain(|(path, other)| path != data_dir && other.strong_count() > 0);
        owned.push((data_dir.to_owned(), Arc::downgrade(&owner)));
        Ok(owner)
    }

    fn start(
        vfs: Arc<Vfs>,
        data_dir: &Path,
        policy: Arc<Policy>,
        steward: Arc<dyn Steward>,
        closes_store: bool,
    ) -> Self {
        let inner = Arc::new(Inner {
            vfs,
            policy,
            steward,
            closes_store,
            gate: RwLock::new(None),
            ending: Mutex::new(()),
            server: Mutex::new(None),
        });
        match Server::start(data_dir, &inner) {
            Ok(server) => *inner.server.lock() = Some(server),
            Err(e) => log::warn!("other processes cannot join: {}", advice::sentence(&e)),
        }
        Self(inner)
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Ends the serving: everything that was begun is finished, and the connections are told.
    ///
    /// # Errors
    /// What could not be made durable.
    pub fn end(&self) -> Result<()> {
        self.0.end(false)
    }
}

fn find(owned: &[(PathBuf, Weak<Owner>)], data_dir: &Path) -> Option<Arc<Owner>> {
    let (_, owner) = owned.iter().find(|(path, _)| path == data_dir)?;
    owner.upgrade().filter(|owner| owner.0.gone().is_none())
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Err(e) = self.0.end(false) {
            log::error!("closing a store: {}", advice::sentence(&e));
        }
    }
}

impl Inner {
    /// What `principal` sees of the store.
    pub(super) fn view(&self, principal: &Principal) -> Arc<View> {
        let (principal, policy) = (principal.clone(), Arc::clone(&self.policy));
        let settings = Settings { policy, sight: Sight::Open, ..Settings::of(principal) };
        View::with(Arc::clone(&self.vfs), settings)
    }

    /// Whether the gate is closed.
    pub(super) fn gone(&self) -> Option<Gone> {
        *self.gate.read()
    }

    /// Carries out a request of this process or another.
    ///
    /// # Errors
    /// `Gone`: it was not carried out and will not be.
    pub(super) fn answer(
        self: &Arc<Self>,
        view: &View,
        caller: &Caller,
        request: &Request,
        exchange: &mut dyn Exchange,
    ) -> std::result::Result<Result<Reply>, Gone> {
        // Those of the process itself may close the gate, so they do not hold it.
        if let Some(answer) = self.about_the_process(request) {
            return self.gone().map_or(Ok(answer), Err);
        }
        let gate = self.gate.read();
        if let Some(gone) = *gate {
            return Err(gone);
        }
        let began = Instant::now();
        let answer = serve(view, caller, request, exchange);
        self.vfs.stats().library.time(began.elapsed());
        Ok(answer)
    }

    fn about_the_process(self: &Arc<Self>, request: &Request) -> Option<Result<Reply>> {
        Some(match request {
            Request::Status => Ok(Reply::Status(Box::new(self.status()))),
            Request::Mounts => Ok(Reply::Mounts(self.steward.mounts())),
            Request::Mount(wish) => self.steward.mount(wish).map(|()| Reply::Done),
            Request::Unmount { mountpoint, lazy } => self.steward.unmount(mountpoint, *lazy).map(|()| Reply::Done),
            Request::Stop { lazy } => self.steward.stop(*lazy).map(|()| Reply::Done),
            Request::HandOver => Ok(Reply::Flag(self.hand_over())),
            _ => return None,
        })
    }

    fn status(&self) -> Status {
        Status {
            pid: std::process::id(),
            role: self.steward.role(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clients: self.server.lock().as_ref().map_or(0, Server::clients),
            mounts: self.steward.mounts(),
        }
    }

    /// Begins to give the store up to a daemon, which retries until it gets it; whether that is possible.
    fn hand_over(self: &Arc<Self>) -> bool {
        if self.steward.role() != Role::Library {
            return false;
        }
        let inner = Arc::clone(self);
        // Not on this thread: the daemon waits for its answer, and the gate for everybody who is being answered.
        let started = std::thread::Builder::new().name("nexus-hand-over".into()).spawn(move || {
            if let Err(e) = inner.end(true) {
                log::error!("handing a store over: {}", advice::sentence(&e));
            }
        });
        started.is_ok()
    }

    /// Lets nobody in any more, and waits for those who are inside; not for ever for those who send a long body slowly.
    fn close_gate(&self, gone: Gone) {
        if let Some(mut gate) = self.gate.try_write_for(BODIES_MAX) {
            *gate = Some(gone);
            return;
        }
        log::warn!("requests that take longer than {} s are broken off", BODIES_MAX.as_secs());
        if let Some(server) = &*self.server.lock() {
            server.cut();
        }
        *self.gate.write() = Some(gone);
    }

    fn end(&self, handed_over: bool) -> Result<()> {
        let _ending = self.ending.lock();
        if self.gone().is_some() {
            return Ok(());
        }
        // What takes long comes first, while others can still work.
        let settled = if self.closes_store { self.vfs.settle() } else { Ok(()) };
        self.close_gate(Gone { handed_over });
        if let Some(server) = self.server.lock().take() {
            server.stop();
        }
        let closed = if self.closes_store { self.vfs.close() } else { Ok(()) };
        closed.and(settled)
    }
}
