//! What the numbers of the kernel mean in the words of the filesystem: flags, modes and positions of linux/fuse.h and
//! the system calls behind it.
//!
//! Knows nothing of fuser, so that every front-end decodes alike. A number that means nothing here is refused, never
//! guessed.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Kind, perm};
use crate::vfs::{Allocate, LockMode, OpenMode, Origin, RenameMode, Seek, XattrMode};

/// `RENAME_NOREPLACE` of linux/fs.h.
const RENAME_NOREPLACE: u32 = libc::RENAME_NOREPLACE;
/// `RENAME_EXCHANGE` of linux/fs.h.
const RENAME_EXCHANGE: u32 = libc::RENAME_EXCHANGE;

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

/// The flags of open(2) as FUSE_OPEN and FUSE_CREATE carry them. `O_TRUNC` is among them because
/// `FUSE_ATOMIC_O_TRUNC` is negotiated; `O_CREAT` and `O_EXCL` are the kernel's business.
pub(super) fn open_mode(flags: i32, passthrough: bool) -> OpenMode {
    let access = flags & libc::O_ACCMODE;
    OpenMode {
        read: access != libc::O_WRONLY,
        write: access != libc::O_RDONLY,
        append: flags & libc::O_APPEND != 0,
        truncate: flags & libc::O_TRUNC != 0,
        passthrough,
        direct: false,
        noatime: flags & libc::O_NOATIME != 0,
        viewer: Origin::NOBODY,
    }
}

/// Whether a file is opened to be run: `__FMODE_EXEC` of the kernel's fs.h, which open(2) cannot ask for.
pub(super) fn is_for_a_program(flags: i32) -> bool {
    const FMODE_EXEC: i32 = 0x20;
    flags & FMODE_EXEC != 0
}

/// The mode of mknod(2): what to make, and its permissions. The kernel has applied the umask.
///
/// # Errors
/// `Invalid` for a kind that does not exist.
pub(super) fn node_mode(mode: u32) -> Result<(Kind, u32)> {
    let kind = Kind::from_mode_bits(mode).ok_or_else(|| invalid("make a node of a kind that does not exist"))?;
    Ok((kind, mode & perm::ALL))
}

/// The flags of renameat2(2).
///
/// # Errors
/// `Invalid` for every other flag, `RENAME_WHITEOUT` included, and for combinations.
pub(super) fn rename_mode(flags: u32) -> Result<RenameMode> {
    match flags {
        0 => Ok(RenameMode::Replace),
        RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        _ => Err(invalid("rename with flags that are not supported")),
    }
}

/// The `whence` of lseek(2); the kernel asks only for what depends on the layout of the file.
///
/// # Errors
/// `Invalid` for anything but `SEEK_DATA` and `SEEK_HOLE`.
pub(super) fn seek(whence: i32) -> Result<Seek> {
    match whence {
        libc::SEEK_DATA => Ok(Seek::Data),
        libc::SEEK_HOLE => Ok(Seek::Hole),
        _ => Err(invalid("seek relative to what only the kernel knows")),
    }
}

/// The mode of fallocate(2).
///
/// # Errors
/// `Unsupported` for modes that the man page lets a filesystem lack: collapsing and inserting ranges, unsharing.
pub(super) fn allocate(mode: i32) -> Result<Allocate> {
    const PUNCH_HOLE: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO_RANGE_KEEP_SIZE: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    match mode {
        0 => Ok(Allocate::Grow),
        libc::FALLOC_FL_KEEP_SIZE => Ok(Allocate::KeepSize),
        PUNCH_HOLE => Ok(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Ok(Allocate::ZeroRange),
        ZERO_RANGE_KEEP_SIZE => Ok(Allocate::ZeroRangeKeepSize),
        _ => Err(Error::new(ErrorKind::Unsupported, "fallocate with a mode that is not supported")),
    }
}

/// The type of a lock, fcntl(2); `None` gives one up.
///
/// # Errors
/// `Invalid` for a type that does not exist.
pub(super) fn lock_mode(kind: i32) -> Result<Option<LockMode>> {
    match kind {
        libc::F_RDLCK => Ok(Some(LockMode::Shared)),
        libc::F_WRLCK => Ok(Some(LockMode::Exclusive)),
        libc::F_UNLCK => Ok(None),
        _ => Err(invalid("take a lock of a type that does not exist")),
    }
}

/// The type of a lock that is held.
pub(super) fn lock_type(mode: LockMode) -> i32 {
    match mode {
        LockMode::Shared => libc::F_RDLCK,
        LockMode::Exclusive => libc::F_WRLCK,
    }
}

/// The flags of setxattr(2).
///
/// # Errors
/// `Invalid` for anything but one of `XATTR_CREATE` and `XATTR_REPLACE`, or neither.
pub(super) fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Set),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(invalid("set an attribute with flags that do not exist")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags() {
        let mode = open_mode(libc::O_RDONLY, false);
        assert!(mode.read && !mode.write && !mode.append && !mode.truncate && !mode.passthrough);
        let mode = open_mode(libc::O_WRONLY | libc::O_APPEND | libc::O_NONBLOCK, true);
        assert!(!mode.read && mode.write && mode.append && !mode.truncate && mode.passthrough);
        let mode = open_mode(libc::O_RDWR | libc::O_TRUNC, false);
        assert!(mode.read && mode.write && mode.truncate);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert_eq!(rename_mode(1).unwrap(), RenameMode::NoReplace);
        assert_eq!(rename_mode(2).unwrap(), RenameMode::Exchange);
        assert_eq!(rename_mode(4).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(rename_mode(3).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(seek(3).unwrap(), Seek::Data);
        assert_eq!(seek(4).unwrap(), Seek::Hole);
        assert_eq!(seek(0).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(allocate(3).unwrap(), Allocate::PunchHole);
        assert_eq!(allocate(0x11).unwrap(), Allocate::ZeroRangeKeepSize);
        for mode in [libc::FALLOC_FL_PUNCH_HOLE, libc::FALLOC_FL_COLLAPSE_RANGE, libc::FALLOC_FL_INSERT_RANGE] {
            assert_eq!(allocate(mode).unwrap_err().kind(), ErrorKind::Unsupported);
        }
        assert_eq!(lock_mode(lock_type(LockMode::Exclusive)).unwrap(), Some(LockMode::Exclusive));
        assert_eq!(lock_mode(libc::F_UNLCK).unwrap(), None);
        assert_eq!(lock_mode(99).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(xattr_mode(2).unwrap(), XattrMode::Replace);
        assert_eq!(xattr_mode(3).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(node_mode(libc::S_IFIFO | 0o4755).unwrap(), (Kind::Fifo, 0o4755));
        assert_eq!(node_mode(0o644).unwrap(), (Kind::File, 0o644));
        assert_eq!(node_mode(libc::S_IFMT).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
