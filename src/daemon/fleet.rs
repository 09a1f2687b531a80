//! The mounts of one process on one store: they come and go while it lives, and it ends with the last of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use parking_lot::Mutex;

use super::guardian::Guardian;
use super::preflight::{self, Berth, Plan};
use super::process::Identity;
use super::record::{self, Record};
use super::{LockScope, MountFlags, MountSpec, MountState, spawn, users};
use crate::advice::{self, refusal};
use crate::error::{Error, ErrorKind, Result};
use crate::fuse::{Guard, Mount, MountOptions, Unmounter};
use crate::model::{Caller, Principal, Timestamp};
use crate::policy::Policy;
use crate::vfs::Vfs;
use crate::view::{Settings, View};

/// The fewest threads that answer by default: one that hashes or syncs must not make everybody wait.
const THREADS_MIN: usize = 2;

/// The most by default: beyond them the store, not the answering, is the limit.
const THREADS_DEFAULT_MAX: usize = 8;

/// The most mounts of one process. Each has threads and descriptors.
const MOUNTS_MAX: usize = 256;

/// What the waiting main thread is told.
#[derive(Debug)]
pub(super) enum Event {
    /// The kernel has ended the session of the mount with this number.
    Ended(u64, Result<()>),
    /// Somebody asks to stop.
    Stop,
    /// A name is gone, but somebody still uses what is behind it.
    Detached,
    /// The guardian is gone.
    Unguarded,
}

/// The mounts of a store that this process serves.
#[derive(Debug)]
pub struct Fleet {
    vfs: Arc<Vfs>,
    data_dir: PathBuf,
    source: String,
    /// The rules for mounts that others ask for: those of the first.
    settings: Settings,
    daemon: Identity,
    guardian: Arc<Guardian>,
    events: Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    next: u64,
    /// Nobody joins any more.
    closed: bool,
    /// The record is kept up to date from now on.
    announced: bool,
}

#[derive(Debug)]
struct Member {
    number: u64,
    shown: MountState,
    unmounter: Unmounter,
}

impl Fleet {
    pub(super) fn new(
        vfs: Arc<Vfs>,
        plan: &Plan,
        daemon: Identity,
        guardian: Arc<Guardian>,
        events: Sender<Event>,
    ) -> Arc<Self> {
        let (data_dir, source, settings) = (plan.data_dir.clone(), plan.source.clone(), plan.settings());
        Arc::new(Self { vfs, data_dir, source, settings, daemon, guardian, events, state: Mutex::default() })
    }

    /// The namespaces that all mounts of the process are under.
    pub(super) fn policy(&self) -> &Policy {
        &self.settings.policy
    }

    /// What to mount for somebody who asks for it, under the rules that the process was started with.
    pub(super) fn spec_for(&self, mountpoint: PathBuf, principal: Principal, flags: MountFlags) -> MountSpec {
        MountSpec { mountpoint, view: Settings { principal, ..self.settings.clone() }, flags }
    }

    /// Adds a mount to those there are; returns when it answers.
    ///
    /// # Errors
    /// As [`mount_foreground`](super::mount_foreground); `InUse` when the process is about to end; `ReadOnly` for a mount that
    /// can be written of a store that was opened for reading only.
    pub fn add_mount(self: &Arc<Self>, spec: &MountSpec) -> Result<()> {
        let berth = preflight::berth(&self.data_dir, spec)?;
        self.launch(&berth, 2)?;
        self.keep_record();
        self.mounts().iter().filter(|mount| mount.mountpoint == berth.mountpoint).for_each(log_mount);
        Ok(())
    }

    /// Notes in the log what there is.
    pub(super) fn log(&self) {
        self.mounts().iter().for_each(log_mount);
    }

    /// Ends a mount; returns when its name is gone. What was written through it is made durable behind that.
    ///
    /// # Errors
    /// `NotFound` when this process has no mount there; `InUse` while somebody uses it, unless `lazy`.
    pub fn remove_mount(&self, mountpoint: &Path, lazy: bool) -> Result<()> {
        let unmounter = {
            let state = self.state.lock();
            let member = state.members.iter().find(|member| member.shown.mountpoint == mountpoint);
            member.map(|member| member.unmounter.clone()).ok_or_else(|| {
                let what = format!("unmount {}: this process has no mount there", mountpoint.display());
                Error::new(ErrorKind::NotFound, what)
            })?
        };
        unmounter.unmount(lazy)
    }

    /// The mounts there are, in the order in which they came.
    #[must_use]
    pub fn mounts(&self) -> Vec<MountState> {
        self.state.lock().members.iter().map(|member| member.shown.clone()).collect()
    }

    /// The store.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Begins to end all mounts, and the process with them, as SIGTERM does. With `lazy` nobody who uses one is waited for.
    pub fn stop(&self, lazy: bool) {
        self.tell(Event::Stop);
        if lazy {
            self.tell(Event::Stop);
        }
    }

    pub(super) fn tell(&self, event: Event) {
        // Fails only once nobody waits any more: the process is ending.
        drop(self.events.send(event));
    }

    /// Mounts, one of `count` that there will be.
    pub(super) fn launch(self: &Arc<Self>, berth: &Berth, count: usize) -> Result<()> {
        let attempted = || format!("mounting on {}", berth.mountpoint.display());
        // Held while mounting: two that come at once do not both find the last place, nor the door open.
        let mut state = self.state.lock();
        if state.closed {
            return Err(refusal(
                ErrorKind::InUse,
                attempted(),
                "the process that serves the store is about to end",
                "try again when it has",
            ));
        }
        if state.members.len() >= MOUNTS_MAX {
            let why = format!("the process that serves the store has {MOUNTS_MAX} mounts already");
            return Err(refusal(ErrorKind::InUse, attempted(), why, ""));
        }
        if self.vfs.is_read_only() && !berth.flags.manner.read_only {
            return Err(refusal(
                ErrorKind::ReadOnly,
                attempted(),
                "the process that serves the store has opened it for reading only",
                "mount with -o ro, or unmount the others first",
            ));
        }
        let several = count.max(state.members.len() + 1) > 1;
        // Programs expect of a lock that it holds. A mount that is alone has nobody to share it with, and cheaper closes.
        let locks = berth.flags.locks.unwrap_or(if several { LockScope::Store } else { LockScope::Local });
        let local = state.members.iter().find(|member| member.shown.locks == LockScope::Local);
        if let (Some(local), LockScope::Store) = (local, locks) {
            log::warn!(
                "{}: locks taken through {} do not hold here: it was mounted alone; to have them hold, unmount it and \
                 mount it again, or mount it with -o locks=store from the start",
                attempted(),
                local.shown.mountpoint.display(),
            );
        }
        let view = View::with(Arc::clone(&self.vfs), berth.view.clone());
        view.make_home(&Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() })?;
        let mount = Mount::new(view, &self.options(berth, locks))?;
        let number = state.next;
        state.next += 1;
        let shown = MountState {
            mountpoint: berth.mountpoint.clone(),
            principal: berth.view.principal.clone(),
            read_only: berth.flags.manner.read_only,
            passthrough: mount.passthrough(),
            locks,
            transport: mount.transport().to_string(),
            since: Some(Timestamp::now()),
        };
        state.members.push(Member { number, shown, unmounter: mount.unmounter() });
        drop(state);
        let fleet = Arc::clone(self);
        spawn("session", move || {
            let ended = mount.wait();
            // Whoever unmounts one of several waits for this, and then may rely on what he wrote through it.
            let settled = if fleet.is_last(number) { Ok(()) } else { fleet.vfs.settle() };
            fleet.tell(Event::Ended(number, ended.and(settled)));
        })
    }

    fn is_last(&self, number: u64) -> bool {
        self.state.lock().members.iter().all(|member| member.number == number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().members.is_empty()
    }

    /// A mount has ended. That of the last stays in the record until the process has ended.
    pub(super) fn strike_off(&self, number: u64) {
        self.state.lock().members.retain(|member| member.number != number);
        if !self.is_empty() {
            self.keep_record();
        }
    }

    /// Nobody joins any more.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// The same when there is no mount left; whether that is so.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut state = self.state.lock();
        state.closed |= state.members.is_empty();
        state.members.is_empty()
    }

    /// Takes all names away at once.
    pub(super) fn detach_all(&self) {
        for (_, unmounter) in self.unmounters() {
            if let Err(e) = unmounter.unmount(true) {
                log::error!("{}", advice::sentence(&e));
            }
        }
    }

    /// Stops as unmounting by hand does, except that a user who stays does not keep a mount.
    pub(super) fn drain(&self) {
        // While the mounts still answer, so that the time without them is short.
        if let Err(e) = self.vfs.settle() {
            log::error!("draining: {}", advice::sentence(&e));
        }
        for (mountpoint, unmounter) in self.unmounters() {
            let Err(e) = unmounter.unmount(false) else { continue };
            let users = users::of(&mountpoint).join(", ");
            log::warn!("unmounting lazily, in use by {users}: {}", advice::sentence(&e));
            if let Err(e) = unmounter.unmount(true) {
                log::error!("{}", advice::sentence(&e));
            }
            self.tell(Event::Detached);
        }
    }

    fn unmounters(&self) -> Vec<(PathBuf, Unmounter)> {
        let state = self.state.lock();
        state.members.iter().map(|member| (member.shown.mountpoint.clone(), member.unmounter.clone())).collect()
    }

    /// Leaves the record, and keeps it from now on.
    pub(super) fn announce(&self) {
        self.state.lock().announced = true;
        self.keep_record();
    }

    fn keep_record(&self) {
        // Under the lock, so that an older state does not come last.
        let state = self.state.lock();
        if !state.announced {
            return;
        }
        let mounts = state.members.iter().map(|member| member.shown.clone()).collect();
        let record = Record { daemon: self.daemon, mounts, failure: None };
        // On a full or read-only disk a mount is still worth having; only 'nexus umount' knows less.
        if let Err(e) = record.write(&self.data_dir) {
            log::warn!("'nexus umount' will not be able to wait: {}", advice::sentence(&e));
        }
    }

    /// Takes the record away after a good end, and notes a bad one in it for whoever unmounts.
    pub(super) fn conclude(&self, ended: &Result<()>) {
        let mut record = Record { daemon: self.daemon, mounts: Vec::new(), failure: None };
        let noted = match ended {
            Ok(()) => record.remove(&self.data_dir),
            // Without a record there was no mount that somebody could unmount.
            Err(_) if !self.data_dir.join(record::NAME).exists() => Ok(()),
            Err(e) => {
                record.failure = Some(advice::sentence(e));
                record.write(&self.data_dir)
            }
        };
        if let Err(e) = noted {
            log::warn!("{}", advice::sentence(&e));
        }
    }

    fn options(&self, berth: &Berth, locks: LockScope) -> MountOptions {
        let flags: &MountFlags = &berth.flags;
        let threads = flags.threads.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            processors.clamp(THREADS_MIN, THREADS_DEFAULT_MAX)
        });
        MountOptions {
            mountpoint: berth.mountpoint.clone(),
            source: self.source.clone(),
            store_dir: self.data_dir.clone(),
            manner: flags.manner.clone(),
            threads,
            store_locks: locks == LockScope::Store,
            transport: flags.transport.unwrap_or_default(),
            guard: self.guardian.is_there().then(|| Arc::clone(&self.guardian) as Arc<dyn Guard>),
        }
    }
}

fn log_mount(mount: &MountState) {
    let passthrough = if mount.passthrough { "on" } else { "off" };
    let (place, transport) = (mount.mountpoint.display(), &mount.transport);
    log::info!("mounted on {place}, passthrough {passthrough}, requests over {transport}");
}
