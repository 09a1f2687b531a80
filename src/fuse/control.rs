//! Ending a connection from outside: its file `abort` in fusectl, fuse.rst in the kernel's documentation.
//!
//! The number of a connection is the device of its mount, and goes to another mount when that is gone. An open file does not
//! go along: it belongs to the one connection, and says nothing to anybody once that is over.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Where fusectl usually is mounted.
const DIRECTORY: &str = "/sys/fs/fuse/connections";

/// By which one connection can be ended, and no other.
#[derive(Debug)]
pub struct Abort {
    file: File,
    /// What it was opened in.
    tree: Option<OwnedFd>,
}

impl Abort {
    /// Of the connection that has this number now.
    ///
    /// # Errors
    /// Where there is no fusectl and this process may not mount it, or where the connection is another user's.
    pub fn of(connection: u64) -> io::Result<Self> {
        let name = format!("{connection}/abort");
        match File::options().write(true).open(Path::new(DIRECTORY).join(&name)) {
            Ok(file) => Ok(Self { file, tree: None }),
            Err(usual) => in_a_mount_of_our_own(&name).map_err(|own| {
                let why = format!("{DIRECTORY}/{name}: {usual}; and in a mount of its own: {own}");
                io::Error::new(usual.kind(), why)
            }),
        }
    }

    /// Ends it: all of its requests fail, and all that come. When it is over already nothing happens.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn end(mut self) -> io::Result<()> {
        self.file.write_all(b"1")
    }

    /// Closes what is not needed any more, for whoever keeps this. The kernel takes some milliseconds to undo a mount.
    pub fn settle(&mut self) {
        self.tree = None;
    }
}

/// In many containers nobody has mounted fusectl. Whoever may mount needs no place for it.
fn in_a_mount_of_our_own(name: &str) -> io::Result<Abort> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let tree = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let file = rustix::fs::openat(&tree, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?.into();
    Ok(Abort { file, tree: Some(tree) })
}

/// Somebody who ends connections when this process is killed.
///
/// A process that is killed may leave a thread behind that waits in the kernel for what only an answer of the process
/// would give it, and that keeps the connection open meanwhile: whoever uses the mount would wait too.
pub trait Guard: fmt::Debug + Send + Sync {
    /// Takes a connection on, before its first request; whether that succeeded.
    fn watch(&self, connection: u64) -> bool;

    /// It has ended.
    fn leave(&self, connection: u64);
}

/// A connection that is watched, as long as this lives.
#[derive(Debug)]
pub(super) struct Watched {
    guard: Arc<dyn Guard>,
    connection: u64,
}

impl Watched {
    /// `None` where nobody watches, or can.
    pub(super) fn by(guard: Option<&Arc<dyn Guard>>, connection: u64) -> Option<Self> {
        let guard = Arc::clone(guard?);
        guard.watch(connection).then_some(Self { guard, connection })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.guard.leave(self.connection);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fuse::session::tests::store_to_mount;
    use crate::fuse::{Mount, mounts_at};
    use crate::model::Principal;
    use crate::view::View;

    /// How often another mount is made until it has the number of the first; others of this machine mount, too.
    const TRIES_MAX: usize = 200;

    fn number(mountpoint: &Path) -> u64 {
        let device = mounts_at(mountpoint).unwrap().pop().unwrap().device;
        device.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Needs root, as mounting does.
    #[test]
    fn an_open_file_means_one_connection_and_no_other() {
        let (_base, vfs, options) = store_to_mount();
        let mountpoint = options.mountpoint.clone();
        let mount = || Mount::new(View::new(Arc::clone(&vfs), Principal::default()), &options).unwrap();
        let end = |mount: Mount| {
            mount.unmount(false).unwrap();
            mount.wait().unwrap();
        };

        let first = mount();
        let taken = number(&mountpoint);
        let old = Abort::of(taken).unwrap();
        end(first);
        let mut tries = 0;
        let second = loop {
            let another = mount();
            if number(&mountpoint) == taken {
                break another;
            }
            end(another);
            tries += 1;
            assert!(tries < TRIES_MAX, "no other mount gets the number {taken}");
        };
        old.end().unwrap();
        fs::write(mountpoint.join("file"), b"text").unwrap();
        // Its own file does end it.
        Abort::of(taken).unwrap().end().unwrap();
        assert!(fs::read(mountpoint.join("file")).is_err());
        second.unmount(true).unwrap();
        second.wait().unwrap();
        assert!(Abort::of(u64::MAX).is_err());
        vfs.close().unwrap();
    }
}
