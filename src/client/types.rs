//! What the library tells: entries, details, usage, duplicates, who serves the store.

use serde::{Deserialize, Serialize};

use crate::model::{Attr, Kind, Timestamp, VPath};

/// What a name leads to, in the words of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe, a socket or a device node.
    Special,
}

impl From<Kind> for EntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Self::Special,
        }
    }
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is. Bytes, because a name need not be UTF-8.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of its body.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When its body last changed, ns since 1970.
    pub modified: i64,
}

impl Entry {
    pub(super) fn of(path: &VPath, attr: &Attr) -> Self {
        Self {
            path: path.as_bytes().to_vec(),
            kind: attr.kind.into(),
            size: attr.size,
            mode: attr.mode,
            modified: attr.mtime.0,
        }
    }

    /// The path as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// When its body last changed.
    #[must_use]
    pub fn modified_at(&self) -> Timestamp {
        Timestamp(self.modified)
    }
}

/// All there is to know of a file or directory but its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Path, kind, size, mode and time.
    pub entry: Entry,
    /// Its number, which it keeps over renames and overwrites and which is never used again.
    pub path_id: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that lead to it.
    pub links: u32,
    /// When it was made, ns since 1970.
    pub created: i64,
    /// Bodies committed so far; of a file.
    pub version: Option<u64>,
    /// SHA-256 of the body in hexadecimal; of a file.
    pub etag: Option<String>,
    /// Files that share the body; of a file.
    pub refs: Option<u64>,
    /// Where it points; of a symbolic link.
    pub target: Option<Vec<u8>>,
}

/// Files with the same body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// SHA-256 of the body in hexadecimal.
    pub etag: String,
    /// Bytes of the body, which is stored once.
    pub size: u64,
    /// The files, in order.
    pub paths: Vec<serde_bytes::ByteBuf>,
}

/// What a file or a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Directories, the topmost included.
    pub directories: u64,
    /// Bytes in all the files.
    pub bytes: u64,
    /// Bytes of the bodies, each counted once however many files have it.
    pub stored_bytes: u64,
}

/// Who serves a store, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Whether it is a daemon with mounts, or a program that uses the library.
    pub role: Role,
    /// The version of nexus it runs.
    pub version: String,
    /// Other processes that are connected.
    pub clients: u32,
    /// Its mounts.
    pub mounts: Vec<MountInfo>,
}

/// What the owner of a store is besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It serves mounts, and stays.
    Daemon,
    /// It uses the library, and hands the store over to a daemon that asks.
    Library,
}

/// A mount as its daemon describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountInfo {
    /// Where it is.
    #[serde(with = "serde_bytes")]
    pub mountpoint: Vec<u8>,
    /// Whose sight it is.
    pub tenant: Option<String>,
    /// The agent of that tenant.
    pub agent: Option<String>,
    /// Whether nothing is hidden from it.
    pub is_admin: bool,
    /// Whether it can only be read.
    pub read_only: bool,
    /// How requests come from the kernel, where that is known.
    pub transport: Option<String>,
    /// Whether the kernel serves big files itself, where that is known.
    pub passthrough: Option<bool>,
    /// Whether locks taken through it hold across the mounts of the store.
    pub store_locks: bool,
    /// Since when it has answered, ns since 1970; where that is known.
    pub since: Option<i64>,
}

/// A mount that somebody asks a daemon for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountWish {
    /// Where it is to be, absolute.
    #[serde(with = "serde_bytes")]
    pub mountpoint: Vec<u8>,
    /// Options as `nexus mount -o` takes them.
    pub options: Vec<String>,
    /// Whose sight it is to be.
    pub tenant: Option<String>,
    /// The agent of that tenant.
    pub agent: Option<String>,
    /// Whether nothing is hidden from it.
    pub is_admin: bool,
    /// The rules it is to be under, as [`Policy::fingerprint`](crate::policy::Policy::fingerprint) tells them; whatever the
    /// daemon has, if nothing is said.
    pub rules: Option<[u8; 32]>,
}
