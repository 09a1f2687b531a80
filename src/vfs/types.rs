//! What the operations of the filesystem take and give.

use std::fs::File;
use std::sync::Arc;

use super::changes::Origin;
use crate::model::{Attr, Kind, NodeId};

/// A handle of an open file or directory: what FUSE calls `fh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);

/// How a file is to be opened, open(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenMode {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end, `O_APPEND`.
    pub append: bool,
    /// The file becomes empty, `O_TRUNC`.
    pub truncate: bool,
    /// The caller can hand a descriptor of the body to the kernel (FUSE passthrough).
    pub passthrough: bool,
    /// The caller can make the kernel go past its page cache on this handle, and nothing that the kernel does for a
    /// cached write is missed then.
    pub direct: bool,
    /// Reading leaves the access time as it is, `O_NOATIME`.
    pub noatime: bool,
    /// Whose kernel caches what it reads and writes here.
    pub viewer: Origin,
}

impl OpenMode {
    /// For reading, by nobody's kernel.
    pub const READ: Self = Self {
        read: true,
        write: false,
        append: false,
        truncate: false,
        passthrough: false,
        direct: false,
        noatime: false,
        viewer: Origin::NOBODY,
    };
}

/// An open file.
#[derive(Debug)]
pub struct Opened {
    /// The handle for what follows.
    pub handle: HandleId,
    /// Who does the input and output on this handle.
    pub serving: Serving,
}

/// Is handed a small body, all of it, along with its opening, so that it need not be asked for. The file is locked and
/// nobody else has it open meanwhile.
pub type Take<'a> = &'a dyn Fn(&[u8]);

/// Who does the input and output of an open file.
#[derive(Debug, Clone)]
pub enum Serving {
    /// The filesystem.
    Vfs {
        /// What the kernel has cached of the node is still right, `FOPEN_KEEP_CACHE`.
        keep_cache: bool,
        /// Reads and writes of this handle go past the kernel's cache, `FOPEN_DIRECT_IO`.
        direct: bool,
    },
    /// The kernel, on this file. All passthrough opens of a node that overlap in time get the same file.
    Kernel(Arc<File>),
}

/// What rename does with a name that is taken, renameat2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Fail with `Exists`, `RENAME_NOREPLACE`.
    NoReplace,
    /// Swap the two, `RENAME_EXCHANGE`.
    Exchange,
}

/// What to look for from an offset on, lseek(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`.
    Hole,
}

/// What fallocate(2) is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Mode 0: allocate, and grow the file to the end of the range.
    Grow,
    /// `FALLOC_FL_KEEP_SIZE`: allocate without growing.
    KeepSize,
    /// `FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`.
    PunchHole,
    /// `FALLOC_FL_ZERO_RANGE`, growing.
    ZeroRange,
    /// `FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE`.
    ZeroRangeKeepSize,
}

/// Whether setxattr may create or replace, setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    /// Either.
    Set,
    /// `XATTR_CREATE`: fail with `Exists` when it is there.
    Create,
    /// `XATTR_REPLACE`: fail with `NoAttribute` when it is not.
    Replace,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The offset after which the listing goes on behind this entry.
    pub next_offset: u64,
    /// The name: `.` and `..` come first.
    pub name: &'a [u8],
    /// The node.
    pub id: NodeId,
    /// Its kind.
    pub kind: Kind,
    /// Its attributes, when they were asked for; never of `.` and `..`.
    pub attr: Option<&'a Attr>,
}

/// What statvfs(3) tells, in units of `block_size` bytes.
#[derive(Debug, Clone, Copy)]
pub struct StatFs {
    /// Bytes in a block.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for unprivileged users.
    pub blocks_available: u64,
    /// All nodes.
    pub files: u64,
    /// Free nodes.
    pub files_free: u64,
}
