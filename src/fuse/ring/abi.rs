//! The structures of include/uapi/linux/fuse.h, minor version 45 (Linux 6.18), as far as the ring carries them.
//!
//! Each is written down once; reading and writing follow from the list of its fields. That the list leaves no gap and has
//! the size of the kernel's structure is checked while compiling. Numbers are in the byte order of the machine.

/// What a field of a structure can be.
pub(super) trait Field: Sized {
    /// Takes it off the front; `None` when too few bytes are left.
    fn take(from: &mut &[u8]) -> Option<Self>;
    /// Puts it in front and goes on behind it; `None` when there is no room.
    fn put(self, into: &mut &mut [u8]) -> Option<()>;
}

macro_rules! number {
    ($($kind:ty),*) => { $(
        impl Field for $kind {
            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_ne_bytes(*bytes))
            }

            fn put(self, into: &mut &mut [u8]) -> Option<()> {
                let (room, rest) = std::mem::take(into).split_first_chunk_mut()?;
                *room = self.to_ne_bytes();
                *into = rest;
                Some(())
            }
        }
    )* };
}

number!(u8, u16, u32, i32, u64);

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut all = [T::default(); N];
        for one in &mut all {
            *one = T::take(from)?;
        }
        Some(all)
    }

    fn put(self, into: &mut &mut [u8]) -> Option<()> {
        self.into_iter().try_for_each(|one| one.put(into))
    }
}

/// A structure: its name in the header, its size there, its fields in order.
macro_rules! structure {
    ($($(#[$doc:meta])* $name:ident $size:literal { $($field:ident: $kind:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct $name {
            $(pub(super) $field: $kind,)*
        }

        const _: () = assert!(size_of::<$name>() == $size && 0 $(+ size_of::<$kind>())* == $size);

        impl Field for $name {
            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Field::take(from)?,)* })
            }

            fn put(self, into: &mut &mut [u8]) -> Option<()> {
                $(self.$field.put(into)?;)*
                Some(())
            }
        }
    )* };
}

structure! {
    /// `fuse_in_header`
    InHeader 40 {
        length: u32, opcode: u32, unique: u64, node: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16, padding: u16,
    }
    /// `fuse_out_header`
    OutHeader 16 { length: u32, error: i32, unique: u64 }
    /// `fuse_uring_ent_in_out`
    RingEntry 32 { flags: u64, commit_id: u64, payload_bytes: u32, padding: u32, reserved: u64 }
    /// `fuse_uring_cmd_req`
    RingCommand 24 { flags: u64, commit_id: u64, queue: u16, padding: [u8; 6] }

    /// `fuse_attr`
    Attributes 88 {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64,
        atime_nanos: u32, mtime_nanos: u32, ctime_nanos: u32,
        mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, block_bytes: u32, flags: u32,
    }
    /// `fuse_entry_out`
    EntryOut 128 {
        node: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nanos: u32, attr_valid_nanos: u32,
        attr: Attributes,
    }
    /// `fuse_attr_out`
    AttrOut 104 { attr_valid: u64, attr_valid_nanos: u32, dummy: u32, attr: Attributes }
    /// `fuse_open_out`
    OpenOut 16 { handle: u64, flags: u32, backing_id: u32 }
    /// `fuse_write_out`
    WriteOut 8 { size: u32, padding: u32 }
    /// `fuse_copy_file_range_out`
    CopyRangeOut 8 { bytes_copied: u64 }
    /// `fuse_lk_out`, which is one `fuse_file_lock`
    LockOut 24 { first: u64, last: u64, mode: i32, pid: u32 }
    /// `fuse_lseek_out`
    LseekOut 8 { offset: u64 }
    /// `fuse_getxattr_out`
    GetxattrOut 8 { size: u32, padding: u32 }
    /// `fuse_statfs_out`, which is one `fuse_kstatfs`
    StatfsOut 80 {
        blocks: u64, blocks_free: u64, blocks_available: u64, files: u64, files_free: u64,
        block_bytes: u32, name_bytes_max: u32, fragment_bytes: u32, padding: u32, spare: [u32; 6],
    }
    /// `fuse_dirent`, without the name that follows it
    Dirent 24 { ino: u64, next_offset: u64, name_bytes: u32, kind: u32 }

    /// `fuse_setattr_in`
    SetattrIn 88 {
        valid: u32, padding: u32, handle: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64, ctime: u64,
        atime_nanos: u32, mtime_nanos: u32, ctime_nanos: u32, mode: u32, unused4: u32, uid: u32, gid: u32, unused5: u32,
    }
    /// `fuse_mknod_in`
    MknodIn 16 { mode: u32, rdev: u32, umask: u32, padding: u32 }
    /// `fuse_mkdir_in`
    MkdirIn 8 { mode: u32, umask: u32 }
    /// `fuse_rename_in`
    RenameIn 8 { new_parent: u64 }
    /// `fuse_rename2_in`
    Rename2In 16 { new_parent: u64, flags: u32, padding: u32 }
    /// `fuse_link_in`
    LinkIn 8 { node: u64 }
    /// `fuse_access_in`
    AccessIn 8 { mask: u32, padding: u32 }
    /// `fuse_open_in`
    OpenIn 8 { flags: u32, open_flags: u32 }
    /// `fuse_create_in`
    CreateIn 16 { flags: u32, mode: u32, umask: u32, open_flags: u32 }
    /// `fuse_read_in`
    ReadIn 40 { handle: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// `fuse_write_in`
    WriteIn 40 { handle: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32 }
    /// `fuse_release_in`
    ReleaseIn 24 { handle: u64, flags: u32, release_flags: u32, lock_owner: u64 }
    /// `fuse_flush_in`
    FlushIn 24 { handle: u64, unused: u32, padding: u32, lock_owner: u64 }
    /// `fuse_lk_in`
    LockIn 48 {
        handle: u64, owner: u64, first: u64, last: u64, mode: i32, pid: u32, lock_flags: u32, padding: u32,
    }
    /// `fuse_fsync_in`
    FsyncIn 16 { handle: u64, fsync_flags: u32, padding: u32 }
    /// `fuse_setxattr_in` as far as it goes without `FUSE_SETXATTR_EXT`, `FUSE_COMPAT_SETXATTR_IN_SIZE`
    SetxattrIn 8 { size: u32, flags: u32 }
    /// `fuse_getxattr_in`
    GetxattrIn 8 { size: u32, padding: u32 }
    /// `fuse_fallocate_in`
    FallocateIn 32 { handle: u64, offset: u64, length: u64, mode: u32, padding: u32 }
    /// `fuse_lseek_in`
    LseekIn 24 { handle: u64, offset: u64, whence: u32, padding: u32 }
    /// `fuse_poll_in`
    PollIn 24 { handle: u64, file: u64, flags: u32, events: u32 }
    /// `fuse_poll_out`
    PollOut 8 { events: u32, padding: u32 }
    /// `fuse_copy_file_range_in`
    CopyRangeIn 56 {
        handle: u64, offset: u64, to_node: u64, to_handle: u64, to_offset: u64, length: u64, flags: u64,
    }
}

/// `FUSE_URING_IN_OUT_HEADER_SZ`: room for the header of a request, and later of its answer.
pub(super) const IN_OUT_BYTES: usize = 128;
/// `FUSE_URING_OP_IN_OUT_SZ`: room for the fixed arguments of a request.
pub(super) const ARGUMENT_BYTES: usize = 128;
/// `fuse_uring_req_header`: both, and a [`RingEntry`].
pub(super) const HEADER_BYTES: usize = IN_OUT_BYTES + ARGUMENT_BYTES + size_of::<RingEntry>();
const _: () = assert!(HEADER_BYTES == 288);

/// `FUSE_IO_URING_CMD_REGISTER`
pub(super) const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`
pub(super) const COMMIT_AND_FETCH: u32 = 2;

/// `enum fuse_opcode`
pub(super) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const READLINK: u32 = 5;
    pub(crate) const SYMLINK: u32 = 6;
    pub(crate) const MKNOD: u32 = 8;
    pub(crate) const MKDIR: u32 = 9;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const RMDIR: u32 = 11;
    pub(crate) const RENAME: u32 = 12;
    pub(crate) const LINK: u32 = 13;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const STATFS: u32 = 17;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const FSYNC: u32 = 20;
    pub(crate) const SETXATTR: u32 = 21;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const LISTXATTR: u32 = 23;
    pub(crate) const REMOVEXATTR: u32 = 24;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const FSYNCDIR: u32 = 30;
    pub(crate) const GETLK: u32 = 31;
    pub(crate) const SETLK: u32 = 32;
    pub(crate) const SETLKW: u32 = 33;
    pub(crate) const ACCESS: u32 = 34;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const BMAP: u32 = 37;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const POLL: u32 = 40;
    pub(crate) const FALLOCATE: u32 = 43;
    pub(crate) const READDIRPLUS: u32 = 44;
    pub(crate) const RENAME2: u32 = 45;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const COPY_FILE_RANGE: u32 = 47;
    pub(crate) const COPY_FILE_RANGE_64: u32 = 53;
}

/// `FUSE_RELEASE_FLOCK_UNLOCK` of `fuse_release_in.release_flags`: the open file has a lock, flock(2).
pub(super) const RELEASE_UNLOCKS: u32 = 1 << 1;

/// `FUSE_WRITE_KILL_SUIDGID` of `fuse_write_in.write_flags`: whoever writes has no `CAP_FSETID`.
pub(super) const WRITE_UNPRIVILEGED: u32 = 1 << 2;

/// The bits of `fuse_setattr_in.valid`
pub(super) mod fattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const HANDLE: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
}

/// `FUSE_POLL_SCHEDULE_NOTIFY` of `fuse_poll_in.flags`: the kernel wants to be told.
pub(super) const POLL_TELL: u32 = 1 << 0;

/// The bits of `fuse_open_out.open_flags`
pub(super) mod fopen {
    pub(crate) const DIRECT_IO: u32 = 1 << 0;
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    pub(crate) const CACHE_DIR: u32 = 1 << 3;
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_is_read_as_it_was_written() {
        let header =
            InHeader { length: 1, opcode: 2, unique: 3 << 40, node: 4, uid: 5, total_extlen: 6, ..InHeader::default() };
        let mut bytes = [0xff; 41];
        header.put(&mut &mut bytes[..]).unwrap();
        assert_eq!(bytes[8..16], (3_u64 << 40).to_ne_bytes());
        assert_eq!(bytes[40], 0xff);
        assert_eq!(InHeader::take(&mut &bytes[..]), Some(header));
        assert_eq!(InHeader::take(&mut &bytes[..39]), None);
        assert_eq!(header.put(&mut &mut bytes[..39]), None);
    }
}
