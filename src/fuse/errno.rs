//! Errno numbers: the one table from [`ErrorKind`] to what the kernel is told, and the guard in which every request runs.
//!
//! Guarantees that every request is answered, with a number from errno(3), and that a failure nobody foresaw leaves
//! exactly one line in the log. Does not choose between kinds: that was done where the error was made.

use std::panic::{AssertUnwindSafe, catch_unwind};

use log::{debug, error};

use crate::error::{Error, ErrorKind};
use crate::model::NodeId;

/// An errno number, positive, as errno(3) names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Errno(i32);

impl Errno {
    /// Something failed that nobody foresaw.
    pub(super) const IO: Self = Self(libc::EIO);
    /// The request is never answered otherwise: the kernel stops sending it.
    pub(super) const NOT_IMPLEMENTED: Self = Self(libc::ENOSYS);
    /// What the kernel believed of a name is not so any more: it asks for the name and tries again (`do_filp_open`).
    pub(super) const STALE: Self = Self(libc::ESTALE);
    /// A value that no caller should send.
    pub(super) const INVALID: Self = Self(libc::EINVAL);
    /// Somebody else has the lock, fcntl(2).
    pub(super) const LOCKED: Self = Self(libc::EAGAIN);
    /// A program is running from the file, open(2).
    pub(super) const TEXT_BUSY: Self = Self(libc::ETXTBSY);
    /// Waiting for the lock would have no end, fcntl(2).
    pub(super) const DEADLOCK: Self = Self(libc::EDEADLK);
    /// No more locks are to be had, fcntl(2).
    pub(super) const NO_LOCKS: Self = Self(libc::ENOLCK);
    /// A signal has ended the wait, signal(7).
    pub(super) const INTERRUPTED: Self = Self(libc::EINTR);
    /// No such device control, ioctl(2).
    pub(super) const NO_IOCTL: Self = Self(libc::ENOTTY);
    /// The buffer is smaller than the value, getxattr(2).
    pub(super) const BUFFER_TOO_SMALL: Self = Self(libc::ERANGE);
    /// The list of attribute names is longer than any buffer may be, listxattr(2).
    pub(super) const LIST_TOO_LONG: Self = Self(libc::E2BIG);

    /// The number.
    pub(super) fn get(self) -> i32 {
        self.0
    }
}

impl From<ErrorKind> for Errno {
    fn from(kind: ErrorKind) -> Self {
        Self(match kind {
            ErrorKind::NotFound => libc::ENOENT,
            ErrorKind::Exists => libc::EEXIST,
            ErrorKind::NotADirectory => libc::ENOTDIR,
            ErrorKind::IsADirectory => libc::EISDIR,
            ErrorKind::NotEmpty => libc::ENOTEMPTY,
            ErrorKind::Denied => libc::EACCES,
            ErrorKind::NotPermitted => libc::EPERM,
            ErrorKind::ReadOnly => libc::EROFS,
            ErrorKind::Invalid => libc::EINVAL,
            ErrorKind::NameTooLong => libc::ENAMETOOLONG,
            ErrorKind::NoSpace => libc::ENOSPC,
            ErrorKind::FileTooLarge => libc::EFBIG,
            ErrorKind::ValueTooLarge => libc::E2BIG,
            ErrorKind::NoAttribute => libc::ENODATA,
            ErrorKind::Unsupported => libc::EOPNOTSUPP,
            ErrorKind::CrossScope => libc::EXDEV,
            ErrorKind::TooManyLinks => libc::EMLINK,
            ErrorKind::BadHandle => libc::EBADF,
            ErrorKind::NoSuchAddress => libc::ENXIO,
            ErrorKind::Cycle => libc::ELOOP,
            ErrorKind::InUse => libc::EBUSY,
            // A program that reads and writes files can do nothing about these: the log tells whoever can.
            ErrorKind::Damaged
            | ErrorKind::Configuration
            | ErrorKind::Incompatible
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Io => libc::EIO,
        })
    }
}

/// What a number of this table is called in errno(3).
pub(super) fn word(number: usize) -> &'static str {
    match i32::try_from(number).unwrap_or_default() {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENOTTY => "ENOTTY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::EMLINK => "EMLINK",
        libc::ERANGE => "ERANGE",
        libc::EDEADLK => "EDEADLK",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::ELOOP => "ELOOP",
        libc::ENODATA => "ENODATA",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ESTALE => "ESTALE",
        _ => "another",
    }
}

/// Why a request was refused: by the filesystem, or by the protocol itself, which has numbers of its own.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The filesystem refused.
    Error(Error),
    /// The protocol asks for just this number; never worth a line in the log.
    Plain(Errno),
}

/// A value, or why not.
pub(super) type Outcome<T> = Result<T, Refusal>;

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Plain(errno)
    }
}

/// Runs one request: what it refuses becomes a number, what nobody foresaw also one line in the log, and a panic is
/// `EIO` for this request alone, because a thread that dies takes its share of the mount with it.
///
/// # Errors
/// The number to answer.
pub(super) fn answer<T>(operation: &'static str, node: NodeId, run: impl FnOnce() -> Outcome<T>) -> Result<T, Errno> {
    // Unwind safety: the closure owns or borrows only what the request brought, and the filesystem guards its own state.
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Refusal::Plain(errno))) => Err(errno),
        Ok(Err(Refusal::Error(error))) => {
            let errno = Errno::from(error.kind());
            if errno == Errno::IO {
                error!("{operation} of node {node}: {error}; the caller gets EIO");
            } else {
                debug!("{operation} of node {node}: {error}");
            }
            Err(errno)
        }
        Err(panic) => {
            let cause = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            error!("{operation} of node {node}: a bug in nexus, please report it: {cause}; the caller gets EIO");
            Err(Errno::IO)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_numbers_of_the_man_pages() {
        for (kind, number) in [
            (ErrorKind::NotFound, libc::ENOENT),
            (ErrorKind::Denied, libc::EACCES),
            (ErrorKind::NotPermitted, libc::EPERM),
            (ErrorKind::ReadOnly, libc::EROFS),
            (ErrorKind::CrossScope, libc::EXDEV),
            (ErrorKind::NoAttribute, libc::ENODATA),
            (ErrorKind::NoSuchAddress, libc::ENXIO),
            (ErrorKind::Cycle, libc::ELOOP),
            (ErrorKind::Damaged, libc::EIO),
        ] {
            assert_eq!(Errno::from(kind).get(), number, "{kind:?}");
            assert!(word(number.unsigned_abs() as usize).starts_with('E'), "{kind:?}");
        }
    }

    #[test]
    fn every_request_is_answered() {
        let node = NodeId(7);
        assert_eq!(answer("read", node, || Ok(3)), Ok(3));
        let refused = answer("lookup", node, || Err::<(), _>(Error::new(ErrorKind::NotFound, "find it").into()));
        assert_eq!(refused, Err(Errno(libc::ENOENT)));
        let plain = answer("getxattr", node, || Err::<(), _>(Errno::BUFFER_TOO_SMALL.into()));
        assert_eq!(plain, Err(Errno(libc::ERANGE)));
        assert_eq!(answer("read", node, || -> Outcome<()> { panic!("on purpose") }), Err(Errno::IO));
    }
}
