//! Every limit has a name and a reason.

/// Longest name in bytes; what `NAME_MAX` of limits.h is on Linux.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path in bytes; `PATH_MAX` of limits.h on Linux.
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest target of a symbolic link in bytes: `PATH_MAX` less the final NUL, symlink(2).
pub const SYMLINK_BYTES_MAX: usize = PATH_BYTES_MAX - 1;
/// Largest file in bytes: `off_t` is signed, and the kernel asks for offsets up to it.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// Most hard links of one node: what ext4 allows, so that nobody meets a larger number here and fails elsewhere.
pub const LINKS_MAX: u32 = 65_000;
/// Longest extended attribute key in bytes, its prefix included; `XATTR_NAME_MAX` of linux/limits.h.
pub const XATTR_KEY_BYTES_MAX: usize = 255;
/// Largest extended attribute value in bytes; `XATTR_SIZE_MAX` of linux/limits.h.
pub const XATTR_VALUE_BYTES_MAX: usize = 65_536;
/// Most extended attributes of one node; with names of usual length their list stays under `XATTR_LIST_MAX` (64 KiB).
pub const XATTR_COUNT_MAX: usize = 1_000;
/// Largest list of attribute names in bytes; `XATTR_LIST_MAX` of linux/limits.h, above which listxattr(2) must fail.
pub const XATTR_LIST_BYTES_MAX: usize = 65_536;
/// Of it, what is left for the attributes that a transition of a work item writes, so that none fails for want of room.
pub const XATTR_LIST_BYTES_RESERVED: usize = 128;
/// Bodies up to this many bytes are rows of the database, larger ones are files.
pub const SMALL_BODY_BYTES_MAX: usize = 16 * 1024;
/// A draft of up to this many bytes stays in memory while it is written, a larger one is a staging file.
pub const MEMORY_DRAFT_BYTES_MAX: usize = 256 * 1024;
/// Lowest priority number of a work item: what an entry of a work directory can show in ten characters, sign included.
pub const PRIORITY_MIN: i64 = -999_999_999;
/// Highest priority number of a work item: below ten nines, which stand for none.
pub const PRIORITY_MAX: i64 = 9_999_999_998;
/// Most dependencies of one work item: each is a row, written in the transaction of the attribute.
pub const WORK_DEPENDENCIES_MAX: usize = 1_000;
