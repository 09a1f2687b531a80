//! From nothing to a mount and its descriptor of /dev/fuse, and back: by mount(2) and umount2(2) where this process may,
//! otherwise through fusermount3(1), which is set-user-ID root.
//!
//! Does not look whose mount it takes away: its callers do.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use log::debug;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::options::{FILESYSTEM_TYPE, MountOptions};
use crate::error::{Error, ErrorKind, Result};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
/// In this environment variable fusermount3 expects the number of the socket to send the descriptor over.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";

/// A new mount, from which no request has been read yet.
#[derive(Debug)]
pub(super) struct Device {
    /// Requests come from here, and answers go there.
    pub(super) descriptor: OwnedFd,
    /// This process mounted by itself: what follows may need the same privilege.
    pub(super) privileged: bool,
}

/// Mounts at `mountpoint`, which has to be a directory.
///
/// # Errors
/// `Denied` or `NotPermitted` when this user may not mount there or not so, `Invalid` when nobody may; `Unsupported` when the
/// system lacks FUSE or fusermount3. The message says what mends it.
pub(super) fn mount(mountpoint: &Path, options: &MountOptions) -> Result<Device> {
    match mount_directly(mountpoint, options)? {
        Some(descriptor) => Ok(Device { descriptor, privileged: true }),
        None => Ok(Device { descriptor: mount_by_helper(mountpoint, options)?, privileged: false }),
    }
}

/// Whether this process can open /dev/fuse, which a thread needs for a descriptor of its own.
pub(super) fn can_open() -> bool {
    open().is_ok()
}

fn open() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// `None`: not permitted to this process, the helper may do better.
fn mount_directly(mountpoint: &Path, options: &MountOptions) -> Result<Option<OwnedFd>> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    options.permitted(uid)?;
    let descriptor = match open() {
        Ok(descriptor) => descriptor,
        Err(Errno::ACCESS | Errno::PERM) => return Ok(None),
        Err(error @ (Errno::NOENT | Errno::NODEV | Errno::NXIO)) => {
            let what = format!("open {DEVICE}: the kernel has no FUSE; try `modprobe fuse`");
            return Err(Error::new(ErrorKind::Unsupported, what).because(io::Error::from(error)));
        }
        Err(error) => return Err(Error::io(format!("open {DEVICE}"), error.into())),
    };
    let data = options.data(descriptor.as_raw_fd(), uid, gid);
    let source = options.source.as_str();
    match rustix::mount::mount(source, mountpoint, FILESYSTEM_TYPE, options.flags(), data.as_c_str()) {
        Ok(()) => Ok(Some(descriptor)),
        Err(Errno::PERM) => Ok(None),
        Err(error) => Err(Error::io(format!("mount on {}", mountpoint.display()), error.into())),
    }
}

fn mount_by_helper(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let failed = || format!("mount on {} through {HELPER}", mountpoint.display());
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::io(failed(), error))?;
    let mut command = Command::new(HELPER);
    command.arg("-o").arg(options.helper_options()?).arg("--").arg(mountpoint);
    // As standard input the socket needs no inheritable number of its own, which another child could inherit as well.
    command.env(HELPER_SOCKET, "0").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| helper_missing(failed(), error))?;
    // Our copy of the helper's end has to go, or its exit would not end the wait below.
    drop(command);
    let received = receive_descriptor(&ours);
    let output = child.wait_with_output().map_err(|error| Error::io(failed(), error))?;
    match received {
        Ok(Some(descriptor)) => {
            debug!("{HELPER}: {}", complaint(&output));
            Ok(descriptor)
        }
        Ok(None) => Err(refused_by_helper(failed(), &complaint(&output))),
        Err(error) => Err(Error::io(failed(), error)),
    }
}

/// The descriptor in the one message that the helper sends; `None` when it goes without sending.
fn receive_descriptor(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// Takes the topmost mount away. Lazily: from the tree at once, and for good when the last file in it is closed.
///
/// # Errors
/// `InUse` while files or directories of it are open, unless lazily; `NotPermitted` when it is another user's.
pub(super) fn unmount(mountpoint: &Path, lazy: bool) -> Result<()> {
    let what = || format!("unmount {}", mountpoint.display());
    let mut flags = UnmountFlags::NOFOLLOW;
    flags.set(UnmountFlags::DETACH, lazy);
    match rustix::mount::unmount(mountpoint, flags) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => unmount_by_helper(mountpoint, lazy),
        Err(Errno::BUSY) => Err(busy(what())),
        Err(error) => Err(Error::io(what(), error.into())),
    }
}

fn unmount_by_helper(mountpoint: &Path, lazy: bool) -> Result<()> {
    let what = || format!("unmount {} through {HELPER}", mountpoint.display());
    let mut command = Command::new(HELPER);
    command.arg("-u").args(lazy.then_some("-z")).arg("--").arg(mountpoint).stdin(Stdio::null());
    let output = command.output().map_err(|error| helper_missing(what(), error))?;
    let said = complaint(&output);
    if output.status.success() {
        Ok(())
    } else if said.contains("busy") {
        Err(busy(what()))
    } else {
        Err(refused_by_helper(what(), &said))
    }
}

fn busy(what: String) -> Error {
    let hint = "something in it is open or a working directory (`fuser -vm` names who); --lazy detaches it at once";
    Error::new(ErrorKind::InUse, format!("{what}: {hint}"))
}

fn helper_missing(what: String, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let hint = "only root can do it alone, others need fusermount3: `apt-get install fuse3` as root";
        return Error::new(ErrorKind::Unsupported, format!("{what}: {hint}")).because(error);
    }
    Error::io(what, error)
}

fn refused_by_helper(what: String, said: &str) -> Error {
    let hint = if said.contains("user_allow_other") {
        "; root can add that line, or mount"
    } else if said.contains(DEVICE) && said.contains("ermission denied") {
        // udev opens the device to all; where there is none, as in many containers, somebody has to.
        "; as root, `chmod 666 /dev/fuse` lets others mount"
    } else {
        ""
    };
    Error::new(ErrorKind::NotPermitted, format!("{what}: {said}{hint}"))
}

/// What the helper wrote, in one line and without its name before it.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(|line| line.trim_start_matches("fusermount3: ").trim()).collect();
    lines.join("; ")
}
