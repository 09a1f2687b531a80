//! A mount from its beginning to its end.
//!
//! Guarantees that [`Mount::new`] returns a mount that answers or leaves nothing behind, and that an unmount takes away
//! this mount and never another that stands in its place. Does not decide when to unmount, and does not close the
//! filesystem: whoever opened it does.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use log::warn;

use super::backing::stack_depth;
use super::control::Watched;
use super::device;
use super::errno;
use super::frontend::Frontend;
use super::handlers::{Handlers, Terms};
use super::mountinfo::{MountEntry, mounts_at};
use super::options::MountOptions;
use super::place::{clear_dead, spelled_by_kernel};
use super::ring::{self, Obstacle, Prepared, Ring};
use super::teller::Teller;
use super::wakeful::Wakeful;
use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Transport;
use crate::stats::Traffic;
use crate::vfs::Listener;
use crate::view::View;

/// A mounted filesystem that answers. Dropping it unmounts it, lazily when it is busy; [`Mount::wait`] waits for its end.
#[derive(Debug)]
pub struct Mount {
    /// `None` only while [`Self::wait`] holds it.
    session: Option<BackgroundSession>,
    /// `None` where all requests come over /dev/fuse, or while [`Self::wait`] holds it.
    ring: Option<Ring>,
    transport: TransportInUse,
    handlers: Arc<Handlers>,
    unmounter: Unmounter,
    /// Dropped, and thereby silent, when the mount is.
    _ear: Ear,
    /// The last to go: until then a kill of this process ends the mount. `None` where nobody sees to that.
    _watched: Option<Watched>,
}

/// A mount's place among those that hear of changes.
#[derive(Debug)]
struct Ear {
    view: Arc<View>,
    teller: Arc<Teller>,
}

impl Ear {
    fn new(view: Arc<View>, teller: Teller) -> Self {
        let teller = Arc::new(teller);
        view.vfs().changes().listen(view.origin(), Arc::clone(&teller) as Arc<dyn Listener>);
        Self { view, teller }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.view.vfs().changes().leave(self.view.origin());
        self.view.vfs().forget_unheld();
        self.teller.stop();
    }
}

/// How the requests of a mount come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportInUse {
    /// Over io_uring.
    IoUring,
    /// Over /dev/fuse.
    DevFuse {
        /// Why not over io_uring, and what would mend it; `None` where nobody asked for that.
        obstacle: Option<String>,
    },
}

impl fmt::Display for TransportInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IoUring => f.write_str("io_uring"),
            Self::DevFuse { obstacle: None } => f.write_str("/dev/fuse"),
            Self::DevFuse { obstacle: Some(why) } => write!(f, "/dev/fuse, not io_uring: {why}"),
        }
    }
}

/// Ends a mount from anywhere: another thread, or after a signal.
#[derive(Clone, Debug)]
pub struct Unmounter {
    /// As the kernel described it when it was new.
    place: Arc<MountEntry>,
}

/// Why a mount did not come about.
enum Failure {
    /// It cannot.
    Mount(Error),
    /// Not over io_uring.
    Ring(Obstacle),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Mount(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Mount(Error::io("agree with the kernel on how to talk", error))
    }
}

/// The refusal of a mount that has to be over io_uring and cannot.
fn without_ring(mountpoint: &Path, obstacle: Obstacle) -> Error {
    let attempted = format!("mount on {} with requests over io_uring", mountpoint.display());
    advice::refusal(ErrorKind::Unsupported, attempted, obstacle.why, obstacle.hint)
}

impl Mount {
    /// Mounts and serves `view`, on threads of its own. A dead mount of nexus at the place is cleared first.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory` for the mountpoint; `InUse` when nexus is mounted there already; `Configuration`
    /// for an option that cannot be; `Denied`, `NotPermitted` or `Unsupported` when this user or system cannot mount, or
    /// not over the transport that was asked for, with what mends it.
    pub fn new(view: Arc<View>, options: &MountOptions) -> Result<Self> {
        let mountpoint = prepare(&options.mountpoint)?;
        match options.transport {
            Transport::DevFuse => Self::over_device(view, options, &mountpoint, None),
            Transport::Auto if options.store_locks && options.guard.is_none() => {
                Self::over_device(view, options, &mountpoint, Some(&ring::not_unguarded()))
            }
            Transport::Auto | Transport::IoUring => match Self::over_ring(&view, options, &mountpoint) {
                Ok(mount) => Ok(mount),
                Err(Failure::Ring(obstacle)) if options.transport == Transport::Auto => {
                    Self::over_device(view, options, &mountpoint, Some(&obstacle))
                }
                Err(Failure::Ring(obstacle)) => Err(without_ring(&mountpoint, obstacle)),
                Err(Failure::Mount(error)) => Err(error),
            },
        }
    }

    fn over_ring(view: &Arc<View>, options: &MountOptions, mountpoint: &Path) -> std::result::Result<Self, Failure> {
        // Opening the device loads the module, without which the kernel does not tell what it can.
        device::can_open();
        let ring = ring::prepare().map_err(Failure::Ring)?;
        Self::attempt(Arc::clone(view), options, mountpoint, Some(ring))
    }

    fn over_device(
        view: Arc<View>,
        options: &MountOptions,
        mountpoint: &Path,
        obstacle: Option<&Obstacle>,
    ) -> Result<Self> {
        match Self::attempt(view, options, mountpoint, None) {
            Ok(mut mount) => {
                mount.transport = TransportInUse::DevFuse { obstacle: obstacle.map(ToString::to_string) };
                Ok(mount)
            }
            Err(Failure::Mount(error)) => Err(error),
            Err(Failure::Ring(obstacle)) => Err(Error::new(ErrorKind::Io, obstacle.to_string())),
        }
    }

    /// Mounts over what `ring` says. Nothing is left behind by a failure.
    fn attempt(
        view: Arc<View>,
        options: &MountOptions,
        mountpoint: &Path,
        ring: Option<Prepared>,
    ) -> std::result::Result<Self, Failure> {
        let lifetime = options.lifetime()?;
        let device = device::mount(mountpoint, options)?;
        let place = match new_mount_at(mountpoint) {
            Ok(place) => Arc::new(place),
            Err(error) => {
                device::unmount(mountpoint, true).ok();
                return Err(error.into());
            }
        };
        let unmounter = Unmounter { place };
        let watched = Watched::by(options.guard.as_ref(), unmounter.connection());
        if watched.is_none() && options.store_locks && ring.is_some() {
            if options.transport == Transport::Auto {
                unmounter.unmount(true).ok();
                return Err(Failure::Ring(ring::not_unguarded()));
            }
            warn!("on {}, {}", mountpoint.display(), ring::not_unguarded().why);
        }
        let mut mount = Self::serve(view, options, device, lifetime, unmounter.clone(), ring).inspect_err(|_| {
            unmounter.unmount(true).ok();
        })?;
        mount._watched = watched;
        // The first question, so that whoever gets a mount knows that it answers. Failing, it is dropped and unmounted.
        fs::metadata(mountpoint)
            .map_err(|error| Error::io(format!("ask the new mount on {}", mountpoint.display()), error))?;
        Ok(mount)
    }

    fn serve(
        view: Arc<View>,
        options: &MountOptions,
        device: device::Device,
        lifetime: Duration,
        unmounter: Unmounter,
        ring: Option<Prepared>,
    ) -> std::result::Result<Self, Failure> {
        // Handing files over takes the privilege that mounting took, so without that it need not be tried.
        let passthrough = options.manner.passthrough && device.privileged;
        let second = if passthrough { Some(device.descriptor.try_clone()?) } else { None };
        let depth = passthrough.then(|| stack_depth(&options.store_dir));
        let third = device.descriptor.try_clone()?;
        let notices = device.descriptor.try_clone()?.into();
        let mountpoint = unmounter.place.mountpoint.as_os_str().as_bytes().to_vec();
        let traffic = Arc::new(Traffic::new(mountpoint, errno::word));
        view.vfs().stats().watch(&traffic);
        let counted = Arc::clone(&traffic);
        let terms = Terms { lifetime, locks: options.store_locks, noatime: options.manner.noatime };
        let wakeful = Wakeful::new(options.manner.low_latency, &traffic);
        let handlers = Handlers::new(Arc::clone(&view), notices, second, terms, counted, wakeful);
        let handlers = Arc::new(handlers);
        // Before the first request: what it is told to believe, it has to hear about.
        let ear = Ear::new(view, Teller::new(third.into(), Arc::clone(handlers.known()), traffic));
        let agreed = ring.as_ref().map(|_| Arc::new(AtomicBool::new(false)));
        let frontend = Frontend::new(Arc::clone(&handlers), depth, options.store_locks, agreed.clone());
        let mut config = Config::default();
        // Beside a ring only what needs no answer comes here.
        config.n_threads = Some(if ring.is_some() { 1 } else { options.threads.max(1) });
        // A thread that may not open the device for itself shares one descriptor with the others.
        config.clone_fd = device::can_open();
        let ring = ring.map(|ring| Ok::<_, io::Error>((ring, device.descriptor.try_clone()?))).transpose()?;
        // Who may use the mount is the kernel's decision, by its options `allow_other` and `user_id`.
        let session = Session::from_fd(frontend, device.descriptor, SessionACL::All, config)?;
        handlers.probe_passthrough(&options.store_dir);
        let ring = match ring {
            Some(_) if !agreed.is_some_and(|agreed| agreed.load(Ordering::Relaxed)) => {
                return Err(Failure::Ring(ring::not_offered()));
            }
            Some((prepared, device)) => {
                let registered = prepared.register(device).map_err(Failure::Ring)?;
                Some(registered.serve(&handlers, unmounter.connection(), &unmounter.place.mountpoint)?)
            }
            None => None,
        };
        let transport = match ring {
            Some(_) => TransportInUse::IoUring,
            None => TransportInUse::DevFuse { obstacle: None },
        };
        Ok(Self { session: Some(session.spawn()?), ring, transport, handlers, unmounter, _ear: ear, _watched: None })
    }

    /// How requests come, and why not in the faster way.
    #[must_use]
    pub fn transport(&self) -> &TransportInUse {
        &self.transport
    }

    /// Whether the kernel reads and writes big bodies by itself.
    #[must_use]
    pub fn passthrough(&self) -> bool {
        self.handlers.passthrough()
    }

    /// Ends the mount; [`Mount::wait`] returns when that is done.
    ///
    /// # Errors
    /// `InUse` while something in it is open, unless `lazy`.
    pub fn unmount(&self, lazy: bool) -> Result<()> {
        self.unmounter.unmount(lazy)
    }

    /// Something to end the mount with while another thread waits for the end.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Waits until the kernel has ended the session, however that came: by [`Mount::unmount`], by umount(8), or by an
    /// abort. After a lazy unmount that is when the last file is closed.
    ///
    /// # Errors
    /// `Io` when the session broke off; the mount is gone then too.
    pub fn wait(mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // A thread that was reading while the kernel took the connection down may hear of an abort: that is the end too.
        let ended = match session.join() {
            Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ok(()),
            ended => ended,
        };
        let ended = ended.and(self.ring.take().map_or(Ok(()), Ring::join));
        ended.map_err(|error| Error::io("serve the mount", error))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.handlers.stop_polls();
        let ended = self.unmounter.unmount(false).or_else(|_| self.unmounter.unmount(true));
        if let Err(error) = ended {
            warn!("{error}");
        }
    }
}

impl Unmounter {
    /// Ends the mount, if it is still there: a mount that is gone is no error, and another in its place is left alone.
    /// Lazily: from the tree at once, and for good when the last file in it is closed.
    ///
    /// # Errors
    /// `InUse` while something in it is open (unless `lazy`), or when something else is mounted over it.
    pub fn unmount(&self, lazy: bool) -> Result<()> {
        let here = mounts_at(&self.place.mountpoint)?;
        let ours = |entry: &MountEntry| entry.id == self.place.id && entry.device == self.place.device;
        match here.last() {
            Some(top) if ours(top) => device::unmount(&self.place.mountpoint, lazy),
            Some(top) if here.iter().any(ours) => {
                let (source, path) = (top.source.to_string_lossy(), self.place.mountpoint.display());
                Err(Error::new(
                    ErrorKind::InUse,
                    format!("unmount {path}: {source} is mounted over it, unmount that first"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// The kernel's number of the connection, fuse.rst in its documentation: that of the device.
    fn connection(&self) -> u64 {
        let minor = self.place.device.rsplit(':').next().and_then(|minor| minor.parse().ok());
        minor.expect("the kernel numbers the devices that it shows")
    }
}

/// Unmounts whatever store of nexus is mounted at `mountpoint`, by whichever process, dead or alive.
///
/// # Errors
/// `NotFound` when no nexus is mounted there; `InUse` while something in it is open, unless `lazy`; `NotPermitted` when
/// it is another user's.
pub fn unmount_at(mountpoint: &Path, lazy: bool) -> Result<()> {
    let mountpoint = spelled_by_kernel(mountpoint)?;
    match mounts_at(&mountpoint)?.last() {
        Some(top) if top.is_nexus() => device::unmount(&mountpoint, lazy),
        _ => {
            Err(Error::new(ErrorKind::NotFound, format!("unmount {}: no nexus is mounted there", mountpoint.display())))
        }
    }
}

/// Clears dead mounts, and says how the kernel spells the mountpoint, which then is a directory without a nexus on it.
fn prepare(mountpoint: &Path) -> Result<PathBuf> {
    let path = spelled_by_kernel(mountpoint)?;
    let what = || format!("mounting on {}", path.display());
    clear_dead(&path)?;
    if let Some(there) = mounts_at(&path)?.pop().filter(MountEntry::is_nexus) {
        let source = there.source.to_string_lossy().into_owned();
        return Err(Error::new(ErrorKind::InUse, format!("{}: {source} is mounted there already", what())));
    }
    let metadata = fs::metadata(&path).map_err(|error| Error::io(what(), error))?;
    if !metadata.is_dir() {
        return Err(Error::new(ErrorKind::NotADirectory, what()));
    }
    Ok(path)
}

/// The mount that was just made: the last one at its place.
fn new_mount_at(mountpoint: &Path) -> Result<MountEntry> {
    mounts_at(mountpoint)?.pop().filter(MountEntry::is_nexus).ok_or_else(|| {
        Error::new(ErrorKind::Io, format!("find the new mount on {} in /proc/self/mountinfo", mountpoint.display()))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Caller, Principal, Timestamp};
    use crate::vfs::{StoreOptions, Vfs};

    /// A store, and how to mount it beside itself.
    pub(in crate::fuse) fn store_to_mount() -> (TempDir, Arc<Vfs>, MountOptions) {
        let base = TempDir::new().unwrap();
        let (data_dir, mountpoint) = (base.path().join("store"), base.path().join("mnt"));
        fs::create_dir(&mountpoint).unwrap();
        Vfs::init(&data_dir, Caller { uid: 0, gid: 0 }, Timestamp::now).unwrap();
        let store = StoreOptions { data_dir: data_dir.clone(), read_only: false, clock: Timestamp::now };
        let options = MountOptions { mountpoint, store_dir: data_dir, ..MountOptions::default() };
        (base, Vfs::open_store(store).unwrap(), options)
    }

    /// Needs root, as mounting does, and a kernel with the ring.
    #[test]
    fn a_ring_that_breaks_off_halfway_is_taken_back() {
        fs::write("/sys/module/fuse/parameters/enable_uring", "1").expect("root, and Linux 6.14 or later");
        let (_base, vfs, options) = store_to_mount();
        let mountpoint = options.mountpoint.clone();
        let view = View::new(Arc::clone(&vfs), Principal::default());

        let broken = Mount::attempt(Arc::clone(&view), &options, &mountpoint, Some(ring::prepare_one_too_many()));
        let Err(Failure::Ring(obstacle)) = broken else { panic!("the kernel takes any queue") };
        assert!(obstacle.why.contains("does not take the queues"), "{obstacle}");
        assert!(mounts_at(&mountpoint).unwrap().is_empty());

        let mount = Mount::over_device(view, &options, &mountpoint, Some(&obstacle)).unwrap();
        assert!(mount.transport().to_string().starts_with("/dev/fuse, not io_uring: the kernel does not take"));
        mount.unmount(false).unwrap();
        mount.wait().unwrap();
        vfs.close().unwrap();
    }
}
