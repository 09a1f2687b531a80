//! Files handed to the kernel (FUSE passthrough, linux/fuse.h `FUSE_DEV_IOC_BACKING_OPEN`, Linux 6.9 and later).
//!
//! Guarantees that all passthrough opens of a node that overlap in time name one backing id, which the kernel demands,
//! and that an id is closed with the last of them. Decides nothing about which file is handed out: the filesystem does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{debug, error};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use crate::model::NodeId;
use crate::vfs::HandleId;

/// `struct fuse_backing_map` of linux/fuse.h.
#[repr(C)]
struct BackingMap {
    fd: i32,
    flags: u32,
    padding: u64,
}

/// `FUSE_DEV_IOC_MAGIC` of linux/fuse.h.
const DEVICE_MAGIC: u8 = 229;
/// `FUSE_DEV_IOC_BACKING_OPEN`.
const BACKING_OPEN: Opcode = opcode::write::<BackingMap>(DEVICE_MAGIC, 1);
/// `FUSE_DEV_IOC_BACKING_CLOSE`.
const BACKING_CLOSE: Opcode = opcode::write::<u32>(DEVICE_MAGIC, 2);

/// Filesystems that are stacked on another and by that one level deep: `f_type` of ecryptfs, FUSE and overlayfs,
/// linux/magic.h. FUSE counts only when it passes through itself; a level too many costs it nothing.
const STACKED: [u32; 3] = [0xf15f, 0x6573_5546, 0x794c_7630];

/// How many levels of stacked filesystems this mount has to allow for so that files in `directory` can be handed to the
/// kernel: 1, or 2, the kernel's limit, when they are stacked themselves. With 2 no overlayfs can use the mount.
pub(super) fn stack_depth(directory: &Path) -> u32 {
    match rustix::fs::statfs(directory) {
        Ok(stat) if STACKED.contains(&(stat.f_type as u32)) => 2,
        _ => 1,
    }
}

/// An id the kernel gave, and how many open handles name it.
#[derive(Debug)]
struct Registered {
    id: u32,
    handles: usize,
}

#[derive(Debug, Default)]
struct Table {
    by_node: HashMap<NodeId, Registered>,
    by_handle: HashMap<HandleId, NodeId>,
}

/// The backing ids of one mount.
#[derive(Debug)]
pub(super) struct Backing {
    /// The mount's device; `None` where passthrough is not wanted.
    device: Option<OwnedFd>,
    /// Set once by the probe, before the first request is read.
    available: AtomicBool,
    /// Held while the kernel is asked, a few microseconds, so that two opens at once register one id.
    table: Mutex<Table>,
}

impl Backing {
    /// Nothing is available before [`Self::probe`] found out.
    pub(super) fn new(device: Option<OwnedFd>) -> Self {
        Self { device, available: AtomicBool::new(false), table: Mutex::default() }
    }

    /// Whether files can be handed to the kernel.
    pub(super) fn available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Finds out by handing the kernel a nameless file in `directory`, or in memory where none can be made there.
    /// To be called after the handshake, which is what allows it, and before the first request is served.
    pub(super) fn probe(&self, directory: &Path) {
        let Some(device) = &self.device else { return };
        let tried = nameless_file(directory).and_then(|file| {
            let id = register(device.as_fd(), &file)?;
            close(device.as_fd(), id)
        });
        match tried {
            Ok(()) => self.available.store(true, Ordering::Relaxed),
            Err(error) => debug!("no passthrough, nexus serves all reads and writes itself: {error}"),
        }
    }

    /// The id under which `file` serves `handle` of `node`: a new one for the first handle, then the same.
    ///
    /// # Errors
    /// What the kernel says, `ELOOP` for a file on a filesystem that is stacked too deep.
    pub(super) fn acquire(&self, node: NodeId, handle: HandleId, file: &File) -> io::Result<u32> {
        let device = self.device.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let mut table = self.table.lock();
        let id = match table.by_node.entry(node) {
            Entry::Occupied(mut known) => {
                known.get_mut().handles += 1;
                known.get().id
            }
            Entry::Vacant(vacant) => vacant.insert(Registered { id: register(device.as_fd(), file)?, handles: 1 }).id,
        };
        table.by_handle.insert(handle, node);
        Ok(id)
    }

    /// Forgets a handle, and closes its id when it was the last to name it; a handle that names none is left alone.
    /// To be called before the filesystem releases the handle: afterwards it may give the node another file, which
    /// must not be served under the old id.
    pub(super) fn release(&self, handle: HandleId) {
        let Some(device) = &self.device else { return };
        let mut table = self.table.lock();
        let Some(node) = table.by_handle.remove(&handle) else { return };
        if let Entry::Occupied(mut known) = table.by_node.entry(node) {
            known.get_mut().handles -= 1;
            if known.get().handles == 0 {
                let id = known.remove().id;
                if let Err(error) = close(device.as_fd(), id) {
                    error!("close backing id {id} of node {node}: {error}; its file stays open until the unmount");
                }
            }
        }
    }
}

fn nameless_file(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // In memory it still shows whether the privilege is there, which is what is mostly lacking.
    rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)
        .or_else(|_| rustix::fs::memfd_create(OsStr::new("nexus-probe"), MemfdFlags::CLOEXEC))
        .map_err(io::Error::from)
}

fn register(device: BorrowedFd<'_>, file: &impl AsFd) -> io::Result<u32> {
    let map = BackingMap { fd: file.as_fd().as_raw_fd(), flags: 0, padding: 0 };
    // The id is the return value of the call, which `Setter` does not hand out.
    let number = libc::Ioctl::from(BACKING_OPEN);
    // SAFETY: `BACKING_OPEN` reads one `fuse_backing_map`, whose layout `BackingMap` has, and keeps no pointer to it;
    // both descriptors are open during the call.
    let id = unsafe { libc::ioctl(device.as_raw_fd(), number, &raw const map) };
    if id > 0 { Ok(id.unsigned_abs()) } else { Err(io::Error::last_os_error()) }
}

fn close(device: BorrowedFd<'_>, id: u32) -> io::Result<()> {
    // SAFETY: `BACKING_CLOSE` reads one `u32`, which is what the setter passes.
    unsafe { ioctl(device, Setter::<BACKING_CLOSE, u32>::new(id)) }?;
    Ok(())
}
