//! Nodes: what a name leads to.

use std::fmt;

use super::Timestamp;

/// A node's number: the FUSE inode number, and as decimal text the `path_id`. It names one node for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root directory; `FUSE_ROOT_ID` of linux/fuse.h.
    pub const ROOT: Self = Self(1);

    /// Set in the numbers of nodes that are computed when they are looked at and stored nowhere, such as those below
    /// `/.work`. No stored node has it: their numbers count from 1.
    pub const VIRTUAL_BIT: u64 = 1 << 62;

    /// Whether the node is computed, not stored.
    #[must_use]
    pub fn is_virtual(self) -> bool {
        self.0 & Self::VIRTUAL_BIT != 0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node is, inode(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix domain socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// The `S_IFMT` bits of `st_mode`, inode(7).
    #[must_use]
    pub fn to_mode_bits(self) -> u32 {
        match self {
            Self::File => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::CharDevice => libc::S_IFCHR,
            Self::BlockDevice => libc::S_IFBLK,
        }
    }

    /// The kind that `mode & S_IFMT` names; `None` for bits that name none. No bits at all mean a regular file, mknod(2).
    #[must_use]
    pub fn from_mode_bits(mode: u32) -> Option<Self> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG | 0 => Self::File,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// Permission bits with a meaning of their own, inode(7).
pub mod perm {
    /// All bits that chmod(2) can set.
    pub const ALL: u32 = 0o7777;
    /// Set-user-ID.
    pub const SET_UID: u32 = 0o4000;
    /// Set-group-ID.
    pub const SET_GID: u32 = 0o2000;
    /// Set-user-ID and set-group-ID.
    pub const SET_ID: u32 = SET_UID | SET_GID;
    /// Execution by the group.
    pub const GROUP_EXEC: u32 = 0o0010;
    /// Somebody may execute, `S_IXUGO` of the kernel.
    pub const ANY_EXEC: u32 = 0o0111;
}

/// What stat(2) tells of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Its number.
    pub id: NodeId,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node as the kernel encodes it, otherwise 0.
    pub rdev: u32,
    /// Names that lead to it; of a directory, 2 and one for each subdirectory.
    pub nlink: u32,
    /// Size in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last read.
    pub atime: Timestamp,
    /// Last change of the body.
    pub mtime: Timestamp,
    /// Last change of body or attributes.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
}

/// A time to set: one that is given, or the moment of the operation, utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// `UTIME_NOW`.
    Now,
    /// A given time.
    At(Timestamp),
}

/// The attributes to change; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size in bytes; grows with zeros.
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<SetTime>,
    /// New modification time.
    pub mtime: Option<SetTime>,
}

/// The process that asks, as the kernel (or the library's caller) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

impl Caller {
    /// Whether changes by it leave set-ID bits and file capabilities as they are (`CAP_FSETID`, capabilities(7)). Root counts as
    /// having that, all others as not: FUSE tells the user of a request, not what the process may.
    #[must_use]
    pub fn has_fsetid(&self) -> bool {
        self.uid == 0
    }
}
