//! A mount from its beginning to its end.
//!
//! Guarantees that [`Mount::new`] returns a mount that answers or leaves nothing behind, and that an unmount takes away
//! this mount and never another that stands in its place. Does not decide when to unmount, and does not close the
//! filesystem: whoever opened it does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use log::{info, warn};

use super::backing::stack_depth;
use super::device;
use super::frontend::Frontend;
use super::handlers::Handlers;
use super::mountinfo::{MountEntry, mounts_at};
use super::options::MountOptions;
use super::teller::Teller;
use crate::error::{Error, ErrorKind, Result};
use crate::vfs::Listener;
use crate::view::View;

/// A mounted filesystem that answers. Dropping it unmounts it, lazily when it is busy; [`Mount::wait`] waits for its end.
#[derive(Debug)]
pub struct Mount {
    /// `None` only while [`Self::wait`] holds it.
    session: Option<BackgroundSession>,
    handlers: Arc<Handlers>,
    unmounter: Unmounter,
    /// Dropped, and thereby silent, when the mount is.
    _ear: Ear,
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
        self.teller.stop();
    }
}

/// Ends a mount from anywhere: another thread, or after a signal.
#[derive(Clone, Debug)]
pub struct Unmounter {
    /// As the kernel described it when it was new.
    place: Arc<MountEntry>,
}

impl Mount {
    /// Mounts and serves `view`, on threads of its own. A dead mount of nexus at the place is cleared first.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory` for the mountpoint; `InUse` when nexus is mounted there already; `Configuration`
    /// for an option that cannot be; `Denied`, `NotPermitted` or `Unsupported` when this user or system cannot mount,
    /// with what mends it.
    pub fn new(view: Arc<View>, options: &MountOptions) -> Result<Self> {
        let lifetime = options.lifetime()?;
        let mountpoint = prepare(&options.mountpoint)?;
        let device = device::mount(&mountpoint, options)?;
        let place = match new_mount_at(&mountpoint) {
            Ok(place) => place,
            Err(error) => {
                device::unmount(&mountpoint, true).ok();
                return Err(error);
            }
        };
        let mount = Self::serve(view, options, device, lifetime, Unmounter { place: Arc::new(place) })?;
        // The first question, so that whoever gets a mount knows that it answers. Failing, it is dropped and unmounted.
        fs::metadata(&mountpoint)
            .map_err(|error| Error::io(format!("ask the new mount on {}", mountpoint.display()), error))?;
        info!("mounted on {}, passthrough {}", mountpoint.display(), if mount.passthrough() { "on" } else { "off" });
        Ok(mount)
    }

    fn serve(
        view: Arc<View>,
        options: &MountOptions,
        device: device::Device,
        lifetime: std::time::Duration,
        unmounter: Unmounter,
    ) -> Result<Self> {
        let result = (|| {
            // Handing files over takes the privilege that mounting took, so without that it need not be tried.
            let passthrough = options.passthrough && device.privileged;
            let second = if passthrough { Some(device.descriptor.try_clone()?) } else { None };
            let depth = passthrough.then(|| stack_depth(&options.store_dir));
            let third = device.descriptor.try_clone()?;
            let handlers = Arc::new(Handlers::new(Arc::clone(&view), second, lifetime, options.store_locks));
            // Before the first request: what it is told to believe, it has to hear about.
            let ear = Ear::new(view, Teller::new(third.into(), Arc::clone(handlers.known())));
            let frontend = Frontend::new(Arc::clone(&handlers), depth, options.store_locks);
            let mut config = Config::default();
            config.n_threads = Some(options.threads.max(1));
            // A thread that may not open the device for itself shares one descriptor with the others.
            config.clone_fd = device::can_open();
            // Who may use the mount is the kernel's decision, by its options `allow_other` and `user_id`.
            let session = Session::from_fd(frontend, device.descriptor, SessionACL::All, config)?;
            handlers.probe_passthrough(&options.store_dir);
            Ok::<_, io::Error>((session.spawn()?, handlers, ear))
        })();
        match result {
            Ok((session, handlers, ear)) => Ok(Self { session: Some(session), handlers, unmounter, _ear: ear }),
            Err(error) => {
                unmounter.unmount(true).ok();
                Err(Error::io("agree with the kernel on how to talk", error))
            }
        }
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
        session.join().map_err(|error| Error::io("serve the mount", error))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
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

/// Clears a dead mount, and says how the kernel spells the mountpoint, which then is a directory without a nexus on it.
fn prepare(mountpoint: &Path) -> Result<PathBuf> {
    let path = spelled_by_kernel(mountpoint)?;
    let what = || format!("mount on {}", path.display());
    if let Some(there) = mounts_at(&path)?.pop().filter(MountEntry::is_nexus) {
        if !is_dead(&path) {
            let source = there.source.to_string_lossy().into_owned();
            return Err(Error::new(ErrorKind::InUse, format!("{}: {source} is mounted there already", what())));
        }
        warn!("clear the dead mount of {} on {}", there.source.to_string_lossy(), path.display());
        device::unmount(&path, true)?;
    }
    let metadata = fs::metadata(&path).map_err(|error| Error::io(what(), error))?;
    if !metadata.is_dir() {
        return Err(Error::new(ErrorKind::NotADirectory, what()));
    }
    Ok(path)
}

/// The absolute path without symbolic links. The last component is not asked when its parent will do: a mount that is
/// dead there could not answer.
fn spelled_by_kernel(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("find {}", path.display()), error);
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if says_dead(&error) => {
            let absolute = std::path::absolute(path).map_err(failed)?;
            match (absolute.parent(), absolute.file_name()) {
                (Some(parent), Some(name)) => Ok(fs::canonicalize(parent).map_err(failed)?.join(name)),
                _ => Err(failed(error)),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// Asks statfs(2): what stat(2) answers may come from the kernel's cache long after the daemon is gone.
fn is_dead(path: &Path) -> bool {
    rustix::fs::statfs(path).is_err_and(|error| says_dead(&error.into()))
}

/// What a FUSE mount says whose daemon is gone, `fuse_conn` of the kernel: not connected, or aborted.
fn says_dead(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// The mount that was just made: the last one at its place.
fn new_mount_at(mountpoint: &Path) -> Result<MountEntry> {
    mounts_at(mountpoint)?.pop().filter(MountEntry::is_nexus).ok_or_else(|| {
        Error::new(ErrorKind::Io, format!("find the new mount on {} in /proc/self/mountinfo", mountpoint.display()))
    })
}
