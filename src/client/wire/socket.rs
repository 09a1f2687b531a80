//! The socket itself: where it is, how it gets there, and who may connect.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Caller;

/// The name of the socket in the data directory.
const NAME: &str = "nexus.sock";
/// Its name until somebody listens.
const NAME_NEW: &str = "nexus.sock.new";
/// Connections that may wait for being accepted.
const BACKLOG: i32 = 128;

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) socket: OwnedFd,
    directory: File,
    inode: u64,
}

impl Listening {
    /// Puts a socket into the data directory, in place of one that a killed process has left: at no moment is there one
    /// that nobody listens on.
    ///
    /// # Errors
    /// What the system reports.
    pub(super) fn new(data_dir: &Path) -> Result<Self> {
        let failed = |e: rustix::io::Errno| Error::io(format!("listen in {}", data_dir.display()), e.into());
        let directory = open_directory(data_dir)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
        // Before it has a name: the name gets these bits, and there is no moment with others.
        rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600)).map_err(failed)?;
        let new = reach(&directory, NAME_NEW);
        flock(&directory, FlockOperation::LockExclusive).map_err(failed)?;
        let bound = match std::fs::remove_file(&new) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove an unfinished socket", e)),
            _ => SocketAddrUnix::new(&new)
                .and_then(|address| rustix::net::bind(&socket, &address))
                .and_then(|()| rustix::net::listen(&socket, BACKLOG))
                .map_err(failed)
                .and_then(|()| {
                    let inode = std::fs::symlink_metadata(&new).map(|found| found.ino());
                    inode
                        .and_then(|inode| std::fs::rename(&new, reach(&directory, NAME)).map(|()| inode))
                        .map_err(|e| Error::io("name the socket", e))
                }),
        };
        flock(&directory, FlockOperation::Unlock).map_err(failed)?;
        Ok(Self { socket, inode: bound?, directory })
    }

    /// Ends the listening: whoever accepts wakes up, and nobody finds the socket any more.
    pub(super) fn end(&self) {
        let place = reach(&self.directory, NAME);
        let locked = flock(&self.directory, FlockOperation::LockExclusive);
        // Another owner may have put his own there.
        if std::fs::symlink_metadata(&place).is_ok_and(|found| found.ino() == self.inode)
            && let Err(e) = std::fs::remove_file(&place)
        {
            log::warn!("removing the socket of the store: {e}");
        }
        if let Err(e) = locked.and_then(|()| flock(&self.directory, FlockOperation::Unlock)) {
            log::warn!("locking the data directory: {e}");
        }
        if let Err(e) = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both) {
            log::debug!("ending the socket of the store: {e}");
        }
    }
}

/// Connects to whoever has the store; `None` when nobody listens.
///
/// # Errors
/// `Denied` when the one who listens is neither this user nor root nor the owner of the directory, what the system reports.
pub(in crate::client) fn connect(data_dir: &Path) -> Result<Option<UnixStream>> {
    let directory = open_directory(data_dir)?;
    let stream = match UnixStream::connect(reach(&directory, NAME)) {
        Ok(stream) => stream,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ECONNREFUSED | libc::EAGAIN)) => {
            return Ok(None);
        }
        Err(e) => return Err(Error::io(format!("connect to the process that has {}", data_dir.display()), e)),
    };
    let served_by = peer(&stream)?.uid;
    let keeper = directory.metadata().map_err(|e| Error::io("look at the data directory", e))?.uid();
    if served_by != 0 && served_by != keeper && served_by != rustix::process::geteuid().as_raw() {
        return Err(Error::new(
            ErrorKind::Denied,
            format!("user {served_by} serves {}, which is not his; connect to it", data_dir.display()),
        ));
    }
    Ok(Some(stream))
}

/// The process at the other end, if it may use the store: of this user, or of root.
///
/// # Errors
/// `Denied` for another user.
pub(super) fn admit(stream: &UnixStream) -> Result<Caller> {
    let peer = peer(stream)?;
    if peer.uid != 0 && peer.uid != rustix::process::geteuid().as_raw() {
        return Err(Error::new(ErrorKind::Denied, format!("connect as user {} to the store of another", peer.uid)));
    }
    Ok(peer)
}

fn peer(stream: &UnixStream) -> Result<Caller> {
    let found = rustix::net::sockopt::socket_peercred(stream)
        .map_err(|e| Error::io("ask who is at the other end of a socket", e.into()))?;
    Ok(Caller { uid: found.uid.as_raw(), gid: found.gid.as_raw() })
}

fn open_directory(data_dir: &Path) -> Result<File> {
    File::open(data_dir).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("no store in {}", data_dir.display())),
        _ => Error::io(format!("open {}", data_dir.display()), e),
    })
}

/// A path to a name in an open directory: the path of a socket has at most 107 bytes, unix(7), that of a store may be
/// longer.
fn reach(directory: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}
