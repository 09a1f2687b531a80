//! A store with several mounts in this process, and the library on the same store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nexus::fuse::{Mount, MountOptions};
use nexus::model::{Caller, Principal, Timestamp};
use nexus::vfs::{Origin, StoreOptions, Vfs};
use nexus::view::View;
use rustix::mount::UnmountFlags;
use tempfile::TempDir;

use crate::harness::{Switch, scratch, unmount_below};

/// After this long a test is taken to hang, and its connections to the kernel are cut.
const SECONDS_MAX: u64 = 240;

/// The identity of the library in these tests.
pub(crate) const ROOT: Caller = Caller { uid: 0, gid: 0 };

/// The store, its mounts, and a view without a mount.
pub(crate) struct Shared {
    mounts: Vec<Option<Mount>>,
    places: Vec<PathBuf>,
    joined: usize,
    origins: Vec<Origin>,
    pub(crate) library: Arc<View>,
    base: TempDir,
    _over: Sender<()>,
}

impl Shared {
    /// A fresh store with so many mounts, in which `adjust` has a word.
    pub(crate) fn new(count: usize, adjust: impl Fn(usize, &mut MountOptions)) -> Self {
        let base = scratch();
        let data_dir = base.path().join("data");
        Vfs::init(&data_dir, ROOT, Timestamp::now).unwrap();
        let options = StoreOptions { data_dir, read_only: false, clock: Timestamp::now };
        let vfs = Vfs::open_store(options).unwrap();
        let library = View::new(Arc::clone(&vfs), Principal::default());
        let (over, watch) = channel();
        let mut shared =
            Self { mounts: Vec::new(), places: Vec::new(), joined: 0, origins: Vec::new(), library, base, _over: over };
        for index in 0..count {
            shared.join(|options| adjust(index, options));
        }
        let places = shared.places.clone();
        thread::spawn(move || {
            if watch.recv_timeout(Duration::from_secs(SECONDS_MAX)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a test with several mounts hangs: no end after {SECONDS_MAX} s");
                places.iter().for_each(|place| abort(place));
            }
        });
        shared
    }

    /// One more mount.
    pub(crate) fn join(&mut self, adjust: impl FnOnce(&mut MountOptions)) {
        self.joined += 1;
        let place = self.base.path().join(format!("mnt{}", self.joined));
        std::fs::create_dir(&place).unwrap();
        let mut options = MountOptions {
            mountpoint: place.clone(),
            source: format!("nexus:{}", self.base.path().join("data").display()),
            store_dir: self.base.path().join("data"),
            ..MountOptions::default()
        };
        adjust(&mut options);
        let _on = Switch::on();
        let view = View::new(Arc::clone(self.library.vfs()), Principal::default());
        self.origins.push(view.origin());
        self.mounts.push(Some(Mount::new(view, &options).unwrap()));
        self.places.push(place);
    }

    /// No mount hears of changes any more.
    pub(crate) fn deafen(&self) {
        self.origins.iter().for_each(|origin| self.library.vfs().changes().leave(*origin));
    }

    /// Where a mount is.
    pub(crate) fn place(&self, index: usize) -> &Path {
        &self.places[index]
    }

    pub(crate) fn places(&self) -> &[PathBuf] {
        &self.places
    }

    /// Takes the last mount away and mounts once more, elsewhere.
    pub(crate) fn swap_last(&mut self) {
        let mount = self.mounts.pop().flatten().unwrap();
        self.places.pop().unwrap();
        // A child that another test has just started may hold a descriptor of ours for a moment.
        mount.unmount(false).or_else(|_| mount.unmount(true)).unwrap();
        mount.wait().unwrap();
        self.join(|options| options.store_locks = true);
    }

    /// The end of every test: all unmounted, nothing wrong in the store.
    pub(crate) fn finish(mut self) {
        for mount in self.mounts.iter_mut().filter_map(Option::take) {
            mount.unmount(false).or_else(|_| mount.unmount(true)).unwrap();
            mount.wait().unwrap();
        }
        let vfs = self.library.vfs();
        vfs.settle().unwrap();
        let report = vfs.check().unwrap();
        assert!(report.problems.is_empty(), "{}", report.problems.join("\n"));
        vfs.close().unwrap();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.mounts.clear();
        unmount_below(self.base.path());
    }
}

/// Cuts a mount off from its daemon: whoever waits for an answer gets an error.
pub(super) fn abort(place: &Path) {
    let _ = rustix::mount::unmount(place, UnmountFlags::FORCE | UnmountFlags::DETACH);
}
