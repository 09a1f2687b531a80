//! From the bytes of a request to what is asked.
//!
//! Total: bytes that are too few, too many or of another shape than the kernel's are an error, never a panic and never
//! read beyond. What a number means is decided by `convert`, where all front-ends ask.

use super::abi::{
    AccessIn, CopyRangeIn, CreateIn, FallocateIn, Field, FlushIn, FsyncIn, GetxattrIn, LinkIn, LockIn, LseekIn,
    MkdirIn, MknodIn, OpenIn, POLL_TELL, PollIn, RELEASE_UNLOCKS, ReadIn, ReleaseIn, Rename2In, RenameIn, SetattrIn,
    SetxattrIn, WRITE_UNPRIVILEGED, WriteIn, fattr, opcode,
};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{AttrChange, NodeId, SetTime, Timestamp};
use crate::vfs::HandleId;

/// A place in an open file.
pub(super) type Place = (HandleId, u64);

/// What is asked; of which node stands in the header.
#[derive(Debug, PartialEq)]
pub(super) enum Request<'a> {
    Lookup {
        name: &'a [u8],
    },
    Getattr,
    /// `by_handle`: through an open file, not by name.
    Setattr {
        change: AttrChange,
        by_handle: bool,
    },
    Readlink,
    Symlink {
        name: &'a [u8],
        target: &'a [u8],
    },
    Mknod {
        name: &'a [u8],
        mode: u32,
        rdev: u32,
    },
    Mkdir {
        name: &'a [u8],
        mode: u32,
    },
    Unlink {
        name: &'a [u8],
    },
    Rmdir {
        name: &'a [u8],
    },
    Rename {
        name: &'a [u8],
        new_parent: NodeId,
        new_name: &'a [u8],
        flags: u32,
    },
    Link {
        node: NodeId,
        new_name: &'a [u8],
    },
    Create {
        name: &'a [u8],
        mode: u32,
        flags: i32,
    },
    Open {
        flags: i32,
    },
    Read {
        place: Place,
        size: usize,
    },
    /// `unprivileged`: whoever writes has no `CAP_FSETID`.
    Write {
        place: Place,
        data: &'a [u8],
        unprivileged: bool,
    },
    Statfs,
    /// `owner`: whose locks go with the open file, where it has any.
    Release {
        handle: HandleId,
        owner: Option<u64>,
    },
    Access {
        mask: i32,
    },
    /// A descriptor of an open file is closed.
    Flush {
        owner: u64,
    },
    Getlk(LockIn),
    /// `waits`: not answered before the lock can be had.
    Setlk {
        lock: LockIn,
        waits: bool,
    },
    Fsync(HandleId),
    Setxattr {
        key: &'a [u8],
        value: &'a [u8],
        flags: i32,
    },
    Getxattr {
        key: &'a [u8],
        room: u32,
    },
    Listxattr {
        room: u32,
    },
    Removexattr {
        key: &'a [u8],
    },
    Opendir,
    Readdir {
        place: Place,
        size: usize,
        with_attr: bool,
    },
    Releasedir(HandleId),
    Fsyncdir(HandleId),
    Lseek {
        handle: HandleId,
        offset: i64,
        whence: i32,
    },
    Fallocate {
        place: Place,
        length: u64,
        mode: i32,
    },
    /// `wide`: the answer counts in 64 bits.
    CopyRange {
        from: Place,
        to: Place,
        length: u64,
        flags: u64,
        wide: bool,
    },
    /// `tell`: the number by which the kernel wants to hear of the file.
    Poll {
        handle: HandleId,
        tell: Option<u64>,
    },
    Ioctl,
    /// What the kernel does alone once it has heard that nobody else does.
    Unserved,
}

/// Decodes `arguments`, the fixed ones, and `payload`, names and data.
///
/// # Errors
/// `Io` for a frame that is not the kernel's: nothing that a program asked for.
pub(super) fn request<'a>(code: u32, mut arguments: &'a [u8], payload: &'a [u8]) -> Result<Request<'a>> {
    let arguments = &mut arguments;
    Ok(match code {
        opcode::LOOKUP => Request::Lookup { name: one(payload)? },
        opcode::GETATTR => Request::Getattr,
        opcode::SETATTR => {
            let asked = fixed(arguments)?;
            Request::Setattr { change: change(&asked), by_handle: asked.valid & fattr::HANDLE != 0 }
        }
        opcode::READLINK => Request::Readlink,
        opcode::SYMLINK => {
            let (name, target) = two(payload)?;
            Request::Symlink { name, target }
        }
        opcode::MKNOD => {
            let MknodIn { mode, rdev, .. } = fixed(arguments)?;
            Request::Mknod { name: one(payload)?, mode, rdev }
        }
        opcode::MKDIR => Request::Mkdir { name: one(payload)?, mode: fixed::<MkdirIn>(arguments)?.mode },
        opcode::UNLINK => Request::Unlink { name: one(payload)? },
        opcode::RMDIR => Request::Rmdir { name: one(payload)? },
        opcode::RENAME => rename(fixed::<RenameIn>(arguments)?.new_parent, 0, payload)?,
        opcode::RENAME2 => {
            let Rename2In { new_parent, flags, .. } = fixed(arguments)?;
            rename(new_parent, flags, payload)?
        }
        opcode::LINK => Request::Link { node: NodeId(fixed::<LinkIn>(arguments)?.node), new_name: one(payload)? },
        opcode::CREATE => {
            let CreateIn { flags, mode, .. } = fixed(arguments)?;
            Request::Create { name: one(payload)?, mode, flags: flags.cast_signed() }
        }
        opcode::OPEN => Request::Open { flags: fixed::<OpenIn>(arguments)?.flags.cast_signed() },
        opcode::READ => {
            let ReadIn { handle, offset, size, .. } = fixed(arguments)?;
            Request::Read { place: (HandleId(handle), offset), size: size as usize }
        }
        opcode::WRITE => {
            let WriteIn { handle, offset, size, write_flags, .. } = fixed(arguments)?;
            let data = if payload.len() == size as usize { payload } else { return Err(malformed("data")) };
            let unprivileged = write_flags & WRITE_UNPRIVILEGED != 0;
            Request::Write { place: (HandleId(handle), offset), data, unprivileged }
        }
        opcode::STATFS => Request::Statfs,
        opcode::RELEASE => {
            let ReleaseIn { handle, release_flags, lock_owner, .. } = fixed(arguments)?;
            let owner = (release_flags & RELEASE_UNLOCKS != 0).then_some(lock_owner);
            Request::Release { handle: HandleId(handle), owner }
        }
        opcode::ACCESS => Request::Access { mask: fixed::<AccessIn>(arguments)?.mask.cast_signed() },
        opcode::FLUSH => Request::Flush { owner: fixed::<FlushIn>(arguments)?.lock_owner },
        opcode::GETLK => Request::Getlk(fixed(arguments)?),
        opcode::SETLK => Request::Setlk { lock: fixed(arguments)?, waits: false },
        opcode::SETLKW => Request::Setlk { lock: fixed(arguments)?, waits: true },
        opcode::RELEASEDIR => Request::Releasedir(HandleId(fixed::<ReleaseIn>(arguments)?.handle)),
        opcode::FSYNC => Request::Fsync(HandleId(fixed::<FsyncIn>(arguments)?.handle)),
        opcode::FSYNCDIR => Request::Fsyncdir(HandleId(fixed::<FsyncIn>(arguments)?.handle)),
        opcode::SETXATTR => {
            let SetxattrIn { size, flags } = fixed(arguments)?;
            let (key, value) = name(payload)?;
            if value.len() != size as usize {
                return Err(malformed("value"));
            }
            Request::Setxattr { key, value, flags: flags.cast_signed() }
        }
        opcode::GETXATTR => Request::Getxattr { key: one(payload)?, room: fixed::<GetxattrIn>(arguments)?.size },
        opcode::LISTXATTR => Request::Listxattr { room: fixed::<GetxattrIn>(arguments)?.size },
        opcode::REMOVEXATTR => Request::Removexattr { key: one(payload)? },
        opcode::OPENDIR => Request::Opendir,
        opcode::READDIR | opcode::READDIRPLUS => {
            let ReadIn { handle, offset, size, .. } = fixed(arguments)?;
            let with_attr = code == opcode::READDIRPLUS;
            Request::Readdir { place: (HandleId(handle), offset), size: size as usize, with_attr }
        }
        opcode::LSEEK => {
            let LseekIn { handle, offset, whence, .. } = fixed(arguments)?;
            let (offset, whence) = (offset.cast_signed(), whence.cast_signed());
            Request::Lseek { handle: HandleId(handle), offset, whence }
        }
        opcode::FALLOCATE => {
            let FallocateIn { handle, offset, length, mode, .. } = fixed(arguments)?;
            Request::Fallocate { place: (HandleId(handle), offset), length, mode: mode.cast_signed() }
        }
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => {
            let asked: CopyRangeIn = fixed(arguments)?;
            Request::CopyRange {
                from: (HandleId(asked.handle), asked.offset),
                to: (HandleId(asked.to_handle), asked.to_offset),
                length: asked.length,
                flags: asked.flags,
                wide: code == opcode::COPY_FILE_RANGE_64,
            }
        }
        opcode::POLL => {
            let PollIn { handle, file, flags, .. } = fixed(arguments)?;
            Request::Poll { handle: HandleId(handle), tell: (flags & POLL_TELL != 0).then_some(file) }
        }
        opcode::IOCTL => Request::Ioctl,
        _ => Request::Unserved,
    })
}

fn rename(new_parent: u64, flags: u32, payload: &[u8]) -> Result<Request<'_>> {
    let (name, new_name) = two(payload)?;
    Ok(Request::Rename { name, new_parent: NodeId(new_parent), new_name, flags })
}

fn change(asked: &SetattrIn) -> AttrChange {
    let named = |bit: u32| asked.valid & bit != 0;
    let time = |bit: u32, now: u32, seconds: u64, nanos: u32| match (named(bit), named(now)) {
        (false, _) => None,
        (true, true) => Some(SetTime::Now),
        (true, false) => Some(SetTime::At(timestamp(seconds, nanos))),
    };
    AttrChange {
        mode: named(fattr::MODE).then_some(asked.mode),
        uid: named(fattr::UID).then_some(asked.uid),
        gid: named(fattr::GID).then_some(asked.gid),
        size: named(fattr::SIZE).then_some(asked.size),
        atime: time(fattr::ATIME, fattr::ATIME_NOW, asked.atime, asked.atime_nanos),
        mtime: time(fattr::MTIME, fattr::MTIME_NOW, asked.mtime, asked.mtime_nanos),
    }
}

/// Whole seconds, negative before 1970, and nanoseconds that always count forwards.
fn timestamp(seconds: u64, nanos: u32) -> Timestamp {
    const NANOS: i64 = 1_000_000_000;
    Timestamp(seconds.cast_signed().saturating_mul(NANOS).saturating_add(nanos.into()))
}

fn fixed<T: Field>(arguments: &mut &[u8]) -> Result<T> {
    T::take(arguments).ok_or_else(|| malformed("arguments"))
}

/// A name up to its NUL, and what is behind it.
fn name(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = payload.iter().position(|byte| *byte == 0).ok_or_else(|| malformed("name"))?;
    Ok((&payload[..end], &payload[end + 1..]))
}

fn one(payload: &[u8]) -> Result<&[u8]> {
    match name(payload)? {
        (name, []) => Ok(name),
        _ => Err(malformed("name")),
    }
}

fn two(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    let (first, rest) = name(payload)?;
    Ok((first, one(rest)?))
}

fn malformed(part: &str) -> Error {
    Error::new(ErrorKind::Io, format!("decode the {part} of a request of the kernel"))
}

#[cfg(test)]
mod tests {
    use super::super::abi::ARGUMENT_BYTES;
    use super::*;

    const NONE: [u8; ARGUMENT_BYTES] = [0; ARGUMENT_BYTES];

    #[test]
    fn names_end_where_they_say() {
        assert_eq!(request(opcode::LOOKUP, &NONE, b"a\0").unwrap(), Request::Lookup { name: b"a" });
        let both = Request::Symlink { name: b"a", target: b"/b" };
        assert_eq!(request(opcode::SYMLINK, &NONE, b"a\0/b\0").unwrap(), both);
        for bad in [&b""[..], b"a", b"a\0b"] {
            assert_eq!(request(opcode::LOOKUP, &NONE, bad).unwrap_err().kind(), ErrorKind::Io);
            assert!(request(opcode::RENAME, &NONE, bad).is_err());
        }
        assert!(request(opcode::MKNOD, &NONE[..15], b"a\0").is_err());
        let mut size = NONE;
        size[0] = 2;
        let whole = Request::Setxattr { key: b"user.a", value: b"\0b", flags: 0 };
        assert_eq!(request(opcode::SETXATTR, &size, b"user.a\0\0b").unwrap(), whole);
        assert!(request(opcode::SETXATTR, &size, b"user.a\0b").is_err());
    }

    #[test]
    fn a_release_gives_up_locks_only_where_there_are_some() {
        let mut bytes = NONE;
        for (release_flags, owner) in [(RELEASE_UNLOCKS, Some(9)), (0, None)] {
            let asked = ReleaseIn { handle: 3, flags: 0, release_flags, lock_owner: 9 };
            asked.put(&mut &mut bytes[..]).unwrap();
            let handle = HandleId(3);
            assert_eq!(request(opcode::RELEASE, &bytes, b"").unwrap(), Request::Release { handle, owner });
        }
        let lock = LockIn { handle: 3, owner: 9, first: 1, last: 2, mode: libc::F_WRLCK, pid: 7, ..LockIn::default() };
        lock.put(&mut &mut bytes[..]).unwrap();
        let waits = Request::Setlk { lock, waits: true };
        assert_eq!(request(opcode::SETLKW, &bytes, b"").unwrap(), waits);
        assert_eq!(request(opcode::GETLK, &bytes, b"").unwrap(), Request::Getlk(lock));
        assert!(request(opcode::SETLK, &bytes[..40], b"").is_err());
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let asked = SetattrIn { mode: 7, uid: 8, size: 9, ..SetattrIn::default() };
        assert_eq!(change(&asked), AttrChange::default());
        let valid = fattr::SIZE | fattr::ATIME | fattr::MTIME | fattr::MTIME_NOW;
        let asked = SetattrIn { valid, size: 9, atime: (-2_i64).cast_unsigned(), atime_nanos: 300_000_000, ..asked };
        let atime = Some(SetTime::At(Timestamp(-1_700_000_000)));
        assert_eq!(
            change(&asked),
            AttrChange { size: Some(9), atime, mtime: Some(SetTime::Now), ..AttrChange::default() }
        );
        assert_eq!(timestamp(u64::MAX >> 1, 5), Timestamp(i64::MAX));
        assert_eq!(timestamp(1 << 63, 5).0, i64::MIN + 5);
    }
}
