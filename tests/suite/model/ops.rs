//! The calls a model run is made of, and the small alphabets they are drawn from.
//!
//! An [`Op`] prints as the Rust that builds it, so a failing run can be pasted into a test. It is meaningful in every
//! state (a call on an empty slot is EBADF, not an error of the test), so any part of a run is a run.

use std::collections::BTreeSet;
use std::sync::Mutex;

/// A path below the root of the filesystem under test, `.` for the root itself.
pub(crate) type Path = &'static str;

/// How many files a run can hold open at once: two to interfere and one to copy from.
pub(crate) const SLOTS: usize = 3;

/// How a file is opened, open(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    ReadWrite,
}

impl Access {
    pub(crate) fn reads(self) -> bool {
        self != Self::Write
    }

    pub(crate) fn writes(self) -> bool {
        self != Self::Read
    }
}

/// What open(2) does with a file that is there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// No flag.
    Existing,
    /// `O_TRUNC`
    Truncate,
    /// `O_CREAT`
    Create,
    /// `O_CREAT | O_TRUNC`
    CreateTruncate,
    /// `O_CREAT | O_EXCL`
    CreateNew,
}

impl How {
    pub(crate) fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateTruncate | Self::CreateNew)
    }

    pub(crate) fn truncates(self) -> bool {
        matches!(self, Self::Truncate | Self::CreateTruncate)
    }
}

/// The flags of renameat2(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rename {
    Replace,
    NoReplace,
    Exchange,
}

/// The flags of setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetMode {
    Either,
    CreateOnly,
    ReplaceOnly,
}

/// The modes of fallocate(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocate {
    Grow,
    KeepSize,
    PunchHole,
    ZeroRange,
    ZeroRangeKeepSize,
}

/// One call. `len` bytes with `fill` are [`pattern`]`(fill, len)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Opens a regular file into a slot, closing what was open there. A directory is EISDIR here whatever the flags.
    Open {
        slot: usize,
        path: Path,
        access: Access,
        how: How,
        append: bool,
        mode: u32,
    },
    Close {
        slot: usize,
    },
    Read {
        slot: usize,
        offset: u64,
        len: usize,
    },
    /// pwrite(2); a slot opened for append ignores the offset, as Linux does.
    Write {
        slot: usize,
        offset: u64,
        len: usize,
        fill: u8,
    },
    TruncateOpen {
        slot: usize,
        size: u64,
    },
    Fsync {
        slot: usize,
    },
    StatOpen {
        slot: usize,
    },
    SeekData {
        slot: usize,
        offset: u64,
    },
    SeekHole {
        slot: usize,
        offset: u64,
    },
    Fallocate {
        slot: usize,
        how: Allocate,
        offset: u64,
        len: u64,
    },
    /// copy_file_range(2), repeated until all is copied or nothing more can be.
    Copy {
        from: usize,
        from_offset: u64,
        to: usize,
        to_offset: u64,
        len: usize,
    },

    Truncate {
        path: Path,
        size: u64,
    },
    Mkdir {
        path: Path,
        mode: u32,
    },
    Rmdir {
        path: Path,
    },
    Unlink {
        path: Path,
    },
    Rename {
        from: Path,
        to: Path,
        how: Rename,
    },
    Link {
        from: Path,
        to: Path,
    },
    Symlink {
        target: &'static str,
        path: Path,
    },
    Readlink {
        path: Path,
    },
    Chmod {
        path: Path,
        mode: u32,
    },
    Chown {
        path: Path,
        uid: u32,
        gid: u32,
    },
    /// Sets both times, in nanoseconds since the epoch; of a symbolic link its own.
    SetTimes {
        path: Path,
        nanos: i64,
    },
    /// lstat(2).
    Stat {
        path: Path,
    },
    List {
        path: Path,
    },
    SetXattr {
        path: Path,
        key: &'static str,
        len: usize,
        fill: u8,
        how: SetMode,
    },
    GetXattr {
        path: Path,
        key: &'static str,
    },
    ListXattr {
        path: Path,
    },
    RemoveXattr {
        path: Path,
        key: &'static str,
    },
    /// The whole body, through an open of its own.
    Cat {
        path: Path,
    },
    /// SHA-256 of the body as the filesystem tells it; EINVAL for what is not a regular file.
    Etag {
        path: Path,
    },

    /// Looks at everything: each node, each body, each attribute, each open file, and the store's own invariants.
    Survey,
    /// Lets background work finish.
    Settle,
    /// Closes all slots, unmounts and mounts again.
    Remount,
}

/// `len` bytes that tell where in a write they belong. The same for the same arguments, so that runs make equal
/// bodies; `fill` 0 gives zeros, which a filesystem may turn into a hole.
pub(crate) fn pattern(fill: u8, len: usize) -> Vec<u8> {
    if fill == 0 {
        return vec![0; len];
    }
    (0..len).map(|i| (i * 7 + i / 251) as u8 ^ fill.wrapping_mul(31)).collect()
}

/// The one static copy of a path, so that a path made at run time prints and compares like a pasted one.
pub(crate) fn intern(path: &str) -> Path {
    static PATHS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut paths = PATHS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = paths.get(path) {
        return known;
    }
    // Leaked on purpose: names come from a small alphabet, so there are few of them.
    let kept: &'static str = String::leak(path.to_owned());
    paths.insert(kept);
    kept
}
