//! What can be asked of a store, and what it answers: one pair of types for the call within a process and over the socket.
//!
//! A new operation is a variant of [`Request`], an arm in `serve` and one in [`Request::repeat`], and a method of the
//! facade. The order of the variants is part of the protocol: new ones come last, and a change of old ones is a new
//! version of the protocol (`wire`).

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::types::{Duplicate, Entry, Info, MountInfo, MountWish, Status, Usage};
use crate::error::ErrorKind;
use crate::meta::WorkList;
use crate::model::VPath;
use crate::model::metadata::Condition;
use crate::model::work::Status as WorkStatus;
use crate::stats::{StoreReport, TrafficReport};
use crate::transfer::{ExportReport, ImportReport, ImportRules, Note, Selection};
use crate::vfs::Match;
use crate::work::{Claim, Dependency, GraphNode, WorkChange, WorkCounts, WorkItem};

/// A path on its way: it is parsed again where it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) VPath);

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes: &serde_bytes::Bytes = Deserialize::deserialize(from)?;
        VPath::parse(bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a write does with what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteMode {
    /// Makes the file or replaces its body.
    Replace,
    /// Fails when the name is taken.
    New,
    /// Adds to the end; makes the file if it is not there.
    Append,
}

/// One thing that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    Exists {
        path: Path,
    },
    IsDirectory {
        path: Path,
    },
    Info {
        path: Path,
    },
    /// A part of a body; `node` is the file it has to be, once the first part has told.
    Read {
        path: Path,
        offset: u64,
        length: u32,
        node: Option<u64>,
    },
    List {
        path: Path,
        recursive: bool,
    },
    Duplicates {
        path: Path,
    },
    Usage {
        path: Path,
    },
    /// The body follows.
    Write {
        path: Path,
        mode: WriteMode,
    },
    Copy {
        from: Path,
        to: Path,
        recursive: bool,
    },
    Rename {
        from: Path,
        to: Path,
        replace: bool,
    },
    Delete {
        path: Path,
    },
    MakeDirectory {
        path: Path,
        parents: bool,
    },
    RemoveDirectory {
        path: Path,
        recursive: bool,
    },
    Metadata {
        path: Path,
        key: String,
    },
    SetMetadata {
        path: Path,
        key: String,
        json: String,
    },
    RemoveMetadata {
        path: Path,
        key: String,
    },
    ListMetadata {
        path: Path,
    },
    /// Make everything that was acknowledged durable.
    Sync,
    Status,
    /// Give the store up to a daemon that is about to mount it.
    HandOver,
    Mount(MountWish),
    Unmount {
        mountpoint: serde_bytes::ByteBuf,
        lazy: bool,
    },
    Mounts,
    /// End all mounts and the process that serves them.
    Stop {
        lazy: bool,
    },
    /// What fulfils all conditions.
    Find {
        conditions: Vec<Condition>,
        under: Path,
    },
    WorkList {
        list: WorkList,
        under: Path,
        limit: Option<u64>,
    },
    WorkCounts {
        under: Path,
    },
    WorkGraph {
        under: Path,
    },
    /// Claim the first ready item; whoever carries it out waits no longer than he likes.
    ClaimNext {
        under: Path,
        worker: String,
        lease: Option<Duration>,
        wait: Duration,
    },
    ClaimItem {
        item: Path,
        under: Path,
        worker: String,
        lease: Option<Duration>,
    },
    /// Bring an item into another state, by this claim or by none.
    MoveItem {
        item: Path,
        under: Path,
        to: WorkStatus,
        claim: Option<u64>,
    },
    /// What happened behind a change; the wait is as that of a claim.
    WorkChanges {
        under: Path,
        after: Option<u64>,
        wait: Duration,
    },
    /// Move a finished tree into `/archives`.
    Archive {
        source: Path,
        target: Option<Path>,
    },
    /// What the owner has counted.
    Stats,
    /// Hash bodies, from the one behind a number on, for a while.
    Verify {
        path: Path,
        after: Option<i64>,
    },
    /// Lines and bodies of files. The body of the request are digests and sizes of bodies that need not come.
    Export(Selection),
    /// Which of these digests an import has to bring along.
    Lacks(serde_bytes::ByteBuf),
    /// The body is what [`Upload`](crate::transfer::Upload) makes.
    Import(ImportRules),
}

/// Whether a request may be made again when nobody knows whether it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Done twice is as done once.
    Harmless,
    /// The second time could fail because the first succeeded, or do the thing twice.
    Tells,
}

impl Request {
    /// Whether a body follows the request.
    pub(crate) fn has_body(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Export(_) | Self::Import(_))
    }

    /// Whether a part of the body may take effect without the rest.
    pub(crate) fn is_append(&self) -> bool {
        matches!(self, Self::Write { mode: WriteMode::Append, .. })
    }

    /// Whether it may be made again when the answer was lost.
    pub(crate) fn repeat(&self) -> Repeat {
        match self {
            Self::Exists { .. }
            | Self::IsDirectory { .. }
            | Self::Info { .. }
            | Self::Read { .. }
            | Self::List { .. }
            | Self::Duplicates { .. }
            | Self::Usage { .. }
            | Self::Metadata { .. }
            | Self::ListMetadata { .. }
            | Self::SetMetadata { .. }
            | Self::Sync
            | Self::Status
            | Self::HandOver
            | Self::Mounts
            | Self::Find { .. }
            | Self::WorkList { .. }
            | Self::WorkCounts { .. }
            | Self::WorkGraph { .. }
            | Self::WorkChanges { .. }
            | Self::Stats
            | Self::Verify { .. }
            | Self::Export(_)
            | Self::Lacks(_)
            | Self::Write { mode: WriteMode::Replace, .. }
            | Self::Copy { .. }
            | Self::MakeDirectory { parents: true, .. } => Repeat::Harmless,
            Self::Write { .. }
            | Self::Rename { .. }
            | Self::Delete { .. }
            | Self::MakeDirectory { parents: false, .. }
            | Self::RemoveDirectory { .. }
            | Self::RemoveMetadata { .. }
            | Self::Mount(_)
            | Self::Unmount { .. }
            | Self::Stop { .. }
            | Self::ClaimNext { .. }
            | Self::ClaimItem { .. }
            | Self::MoveItem { .. }
            | Self::Import(_)
            | Self::Archive { .. } => Repeat::Tells,
        }
    }

    /// What is attempted, in words for an error.
    pub(crate) fn describe(&self) -> String {
        let bytes = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Exists { path } | Self::IsDirectory { path } | Self::Info { path } => {
                format!("looking at {}", path.0)
            }
            Self::Read { path, .. } => format!("reading {}", path.0),
            Self::List { path, .. } => format!("listing {}", path.0),
            Self::Duplicates { path } => format!("looking for duplicates in {}", path.0),
            Self::Usage { path } => format!("measuring {}", path.0),
            Self::Write { path, mode: WriteMode::Append } => format!("appending to {}", path.0),
            Self::Write { path, .. } => format!("writing {}", path.0),
            Self::Copy { from, to, .. } => format!("copying {} to {}", from.0, to.0),
            Self::Rename { from, to, .. } => format!("renaming {} to {}", from.0, to.0),
            Self::Delete { path } => format!("deleting {}", path.0),
            Self::MakeDirectory { path, .. } => format!("making the directory {}", path.0),
            Self::RemoveDirectory { path, .. } => format!("removing the directory {}", path.0),
            Self::Metadata { path, key } => format!("reading the metadata {key} of {}", path.0),
            Self::SetMetadata { path, key, .. } => format!("setting the metadata {key} of {}", path.0),
            Self::RemoveMetadata { path, key } => format!("removing the metadata {key} of {}", path.0),
            Self::ListMetadata { path } => format!("listing the metadata of {}", path.0),
            Self::Sync => "making changes durable".into(),
            Self::Status => "asking for the status".into(),
            Self::HandOver => "taking the store over".into(),
            Self::Mount(wish) => format!("mounting on {}", bytes(&wish.mountpoint)),
            Self::Unmount { mountpoint, .. } => format!("unmounting {}", bytes(mountpoint)),
            Self::Mounts => "listing the mounts".into(),
            Self::Stop { .. } => "stopping the daemon".into(),
            Self::Find { .. } => "searching by metadata".into(),
            Self::WorkList { .. } => "listing work items".into(),
            Self::WorkCounts { .. } => "counting work items".into(),
            Self::WorkGraph { .. } => "telling what waits for what".into(),
            Self::ClaimNext { .. } => "claiming a work item".into(),
            Self::ClaimItem { item, .. } => format!("claiming the work item {}", item.0),
            Self::MoveItem { item, to, .. } => format!("bringing the work item {} to {to}", item.0),
            Self::WorkChanges { .. } => "watching the queue".into(),
            Self::Archive { source, .. } => format!("archiving {}", source.0),
            Self::Stats => "asking for the statistics".into(),
            Self::Verify { path, .. } => format!("verifying {}", path.0),
            Self::Export(selection) if selection.prefix.is_empty() => "exporting".into(),
            Self::Export(selection) => format!("exporting {}", bytes(&selection.prefix)),
            Self::Lacks(_) | Self::Import(_) => "importing".into(),
        }
    }
}

/// The answer to a request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// That is all.
    Done,
    /// Yes or no.
    Flag(bool),
    Info(Box<Info>),
    /// A part of a body, with what tells one state of a file from another.
    Bytes {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        state: BodyState,
    },
    Usage(Usage),
    /// A metadata value as JSON text.
    Json(String),
    Status(Box<Status>),
    Mounts(Vec<MountInfo>),
    /// A metadata value that is no text.
    Binary(serde_bytes::ByteBuf),
    WorkCounts(WorkCounts),
    /// What was claimed, if anything was ready.
    Claim(Option<Box<Claim>>),
    WorkItem(Box<WorkItem>),
    /// The number of the latest change, and whether some are not known any more.
    WorkSeen {
        last: u64,
        missed: bool,
    },
    /// Where something is now.
    Path(Path),
    /// What the store has counted in this process; its mounts are items.
    Stats {
        pid: u32,
        store: Box<StoreReport>,
    },
    Verified(Verified),
    /// The notes came as items.
    Exported(ExportReport),
    /// The notes came as items.
    Imported(ImportReport),
}

/// What a part of a verification has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Behind which body the next part begins; `None` when all are done.
    pub(crate) next: Option<i64>,
    pub(crate) bodies: u64,
    pub(crate) bytes: u64,
    /// Bytes of everything that is to be verified.
    pub(crate) bytes_all: u64,
}

/// A file at one moment: as long as this is the same, so is its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BodyState {
    pub(crate) node: u64,
    pub(crate) size: u64,
    pub(crate) modified: i64,
    pub(crate) changed: i64,
}

/// A part of an answer that can be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    Entry(Entry),
    Duplicate(Duplicate),
    /// A metadata key with its value as JSON text.
    Metadata(String, String),
    /// A metadata key whose value is no text.
    Binary(String, serde_bytes::ByteBuf),
    Match(Match),
    Work(Box<WorkItem>),
    GraphNode(GraphNode),
    Dependency(Dependency),
    WorkChange(WorkChange),
    Traffic(Box<TrafficReport>),
    /// How far something is: bytes hashed in this part of a verification, lines applied of an import.
    Progress {
        done: u64,
        /// As far as that is known; otherwise 0.
        all: u64,
    },
    Damaged(Damage),
    /// Lines of an export.
    Lines(serde_bytes::ByteBuf),
    /// A body of an export begins.
    Body {
        digest: [u8; 32],
        size: u64,
    },
    /// A piece of that body.
    Piece(serde_bytes::ByteBuf),
    Note(Note),
}

/// A damaged body; one with many paths is several items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) digest: [u8; 32],
    pub(crate) size: u64,
    pub(crate) fault: DamageFault,
    pub(crate) paths: Vec<Path>,
}

/// What is wrong with a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DamageFault {
    Damaged,
    Missing,
    Unreadable(String),
}

/// An error on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) context: String,
    pub(crate) reason: String,
    pub(crate) hint: String,
}
