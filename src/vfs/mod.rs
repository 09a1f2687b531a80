//! The filesystem: one operation, one transaction.
//!
//! An operation either happens and leaves every invariant of [`Vfs::check`] true, or changes nothing. A body is durable
//! before the row that names it, and a row is durably gone before its body is removed. An open file keeps its bytes
//! whatever happens to its name. Nothing here knows of the kernel: `fuse/` and the library come through the same door.
//!
//! The life of a body: a file that is written has a private *draft*, in memory while it is small and a staging file
//! beyond that. When the last handle is closed it is *sealed*: hashed and stored under its digest, once. Small bodies are
//! sealed at once, in the transaction of the close; big ones by a thread of their own (`seal.rs`) when the file has been
//! left alone for a moment.
//!
//! # Locks
//! Before all of them the scopes (`scopes.rs`), which views hold during a change. Then in this order, each held for
//! microseconds except the first: a file's state (`live::Live`, held during its own input and output), the core (all
//! rows), the table of live files, that of nodes without a name or the feed of the queue. Nothing takes an earlier one
//! while it holds a later one. Who locks the states of several files waits for one at most: the seal (`seal.rs`) takes those
//! that are free.

mod archive;
mod arrivals;
mod attrs;
mod body;
mod bulk;
mod changes;
mod check;
mod damage;
mod directories;
mod durable;
mod entries;
mod feed;
mod figures;
mod find;
mod gc;
mod housekeeping;
mod io;
mod live;
mod lock;
mod locks;
mod metadata;
mod open;
mod privileges;
mod put;
mod recover;
mod repair;
mod reserved;
mod resolve;
mod scopes;
mod seal;
mod share;
mod snapshot;
mod space;
mod stale;
mod store;
mod sync;
mod types;
mod unnamed;
mod upkeep;
mod verify;
mod whole;
mod work;
mod xattrs;

pub use crate::meta::{AttrRow, FORMAT, Figures};
pub use arrivals::Arrivals;
pub use bulk::{Bulk, BulkBody, BulkFile, BulkNew, Found};
pub use changes::{Changes, Listener, Origin, Receipt, Telling};
pub use check::CheckReport;
pub use damage::{DamagedBody, Fault};
pub use find::{Match, MatchKey, MatchPage};
pub use locks::{Lock, LockAnswer, LockKind, LockMode, LockOwner, LockRefusal, LockTicket, Locks};
pub use privileges::{CAPABILITY, Privileged};
pub use resolve::Climb;
pub use scopes::{Moving, Scopes};
pub use snapshot::{Listed, Readable, Snapshot, hash};
pub use store::{StoreOptions, Vfs};
pub use types::{Allocate, DirEntry, HandleId, OpenMode, Opened, RenameMode, Seek, Serving, StatFs, Take, XattrMode};
pub use upkeep::Pace;
pub use verify::{ToVerify, VerifyEvent, VerifyReport};
pub use whole::{Pieces, Received, Taken};
pub use work::WorkChanges;
