//! The metadata store: rows, and transactions over them.
//!
//! It guarantees that what happens inside one [`MetaStore::write`] happens entirely or not at all. It knows no rule of
//! filesystems: those are `vfs/`. No SQL stands outside this room.
//!
//! Durability has three steps. A write is *acknowledged* when [`MetaStore::write`] returns: every later read sees it. It
//! is *committed*, and survives the end of the process, after [`MetaStore::commit`]. It is *durable*, and survives the
//! loss of power, after [`WalFile::sync`] following that commit.

mod sqlite;

pub use sqlite::{
    Checkpointer, FORMAT, Figures, ForeignBody, ListedRow, MetaStore, ReadTxn, Snapshot, Violations, WalFile, WriteTxn,
    invariants,
};

use serde::{Deserialize, Serialize};

use crate::model::work::Status;
use crate::model::{Attr, Digest, Kind, NodeId, Timestamp};

/// The number of a blob in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub i64);

/// The number of a staging file: it is the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StagingId(pub i64);

/// Where the body of a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRow {
    /// Nowhere: the body is empty, or the node is no regular file.
    Empty,
    /// A blob.
    Blob(BlobId),
    /// A staging file, whose own size and modification time are the true ones after a crash.
    Draft(StagingId),
}

/// A row of `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// What stat(2) tells.
    pub attr: Attr,
    /// Bodies committed so far; 0 while the first one is being written.
    pub version: u64,
    /// Where the body is.
    pub body: BodyRow,
}

impl NodeRow {
    /// The change to another body of `size` bytes that takes `blocks`, with the times of this row: where the body is kept
    /// changes, not what is in it. A change of what is in it names its times over these.
    #[must_use]
    pub fn with_body(&self, body: BodyRow, size: u64, blocks: u64) -> BodyChange {
        BodyChange { size, blocks, mtime: self.attr.mtime, ctime: self.attr.ctime, new_versions: 0, body }
    }
}

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the database.
    Database,
    /// In a file of `cas/`.
    File,
}

/// What tells that a blob's file is the one that was sealed or last verified: stat(2) fields that change with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `st_ino`.
    pub inode: u64,
    /// `st_ctime` in nanoseconds.
    pub ctime: i64,
}

/// A row of `blob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// Its number.
    pub id: BlobId,
    /// Its name.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Space taken in units of 512 bytes.
    pub blocks: u64,
    /// Nodes whose body it is.
    pub refs: u64,
    /// Where the bytes are.
    pub place: Place,
    /// The file as it was last known to be right.
    pub stamp: Option<Stamp>,
}

/// A row of `entry`, seen from its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The name.
    pub name: Vec<u8>,
    /// The node it leads to.
    pub node: NodeId,
    /// The node's kind.
    pub kind: Kind,
    /// Where it stands in listings of the directory: above 2, and the same as long as the name is there.
    pub place: i64,
}

/// What changes in a node when its body does.
#[derive(Clone, Copy, Debug)]
pub struct BodyChange {
    /// New size in bytes.
    pub size: u64,
    /// New space in units of 512 bytes.
    pub blocks: u64,
    /// New modification time.
    pub mtime: Timestamp,
    /// New change time.
    pub ctime: Timestamp,
    /// By how much the number of the version grows.
    pub new_versions: u64,
    /// Where the body is now.
    pub body: BodyRow,
}

/// An attribute: key, value, and whether the value is the text of a JSON value that is no string.
pub type AttrRow = (Vec<u8>, Vec<u8>, bool);

/// A row of `work`: a file that is a work item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkRow {
    /// The file.
    pub node: NodeId,
    /// What its attribute says.
    pub status: Status,
    /// Dependencies that are not completed.
    pub open: u64,
    /// Lower first; `None` last.
    pub priority: Option<i64>,
    /// The file's creation.
    pub created: Timestamp,
    /// When it was started, if its attribute is a time.
    pub started: Option<Timestamp>,
    /// When its claim runs out; only of an item in progress.
    pub lease: Option<Timestamp>,
    /// The number of its latest claim; 0 before the first.
    pub claim: u64,
}

impl WorkRow {
    /// Where the item stands.
    #[must_use]
    pub fn state(&self) -> Status {
        self.status.state(self.open)
    }
}

/// A work item with what an entry of a directory shows of it.
#[derive(Clone, Debug)]
pub struct WorkEntryRow {
    /// The item.
    pub item: WorkRow,
    /// Its place in the list.
    pub key: WorkKey,
    /// The file.
    pub node: NodeRow,
    /// Where it stands, if it has one name only.
    pub only_name: Option<(NodeId, Vec<u8>)>,
}

/// What is told of a work item besides its row and its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkFacts {
    /// Bytes in the file.
    pub size: u64,
    /// Last change of body or attributes.
    pub changed: Timestamp,
    /// The name of the body; `None` while it is being written.
    pub digest: Option<Digest>,
    /// `user.worker_id`.
    pub worker_id: Option<String>,
    /// `user.started_at`.
    pub started_at: Option<String>,
    /// `user.completed_at`.
    pub completed_at: Option<String>,
    /// `user.tags`.
    pub tags: Option<String>,
}

/// A list of work items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkList {
    /// Those that stand in one state, in the order of that state.
    In(Status),
    /// All, by priority.
    ByPriority,
}

/// A place in a list of work items: behind the item of these values. The first of a list is behind [`WorkKey::START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkKey {
    /// What the list is ordered by before the priority; 0 where nothing is.
    pub first: i64,
    /// The priority; one above all of them for none.
    pub rank: i64,
    /// The creation, ns since 1970.
    pub created: i64,
    /// The number of the file.
    pub node: u64,
}

impl WorkKey {
    /// Before every item.
    pub const START: Self = Self { first: i64::MIN, rank: i64::MIN, created: i64::MIN, node: 0 };
}
