//! Export and import: the files of a store as JSON Lines, and back.
//!
//! One object a line, sorted by path in the order of bytes. The keys stand in this order:
//!
//! | key | what it holds |
//! |---|---|
//! | `path` | the path; where it is not UTF-8, `path_b64` has its bytes and this is for people |
//! | `backend_name` | `local` |
//! | `physical_path` | the SHA-256 of the body, in hexadecimal: its name in the store |
//! | `size` | bytes |
//! | `etag` | the SHA-256 again |
//! | `mime_type` | what the extension of the path says, or `null`; computed, and not read by an import |
//! | `created_at`, `modified_at` | RFC 3339 in UTC, to the nanosecond |
//! | `version` | how many bodies the file has had |
//! | `custom_metadata` | the attributes `user.*` without that prefix, as an object: a string for what was written as text, any other value for what was written as JSON; absent when there are none |
//! | `custom_metadata_b64` | those of them whose key or value is not UTF-8, as an array of pairs `[key, value]` in base64 |
//! | `path_b64` | the bytes of a path that is not UTF-8, in base64 |
//! | `mode` | the permission bits in octal, `"0640"`; only in an export with bodies |
//!
//! Not carried: what is no regular file (directories are made again as far as files are in them), owners and groups,
//! access times, hard links (each name becomes a file, and all share one body), attributes outside `user.`.
//!
//! An import is one transaction. Whatever is wrong with a line stops it, and nothing has changed. All lines are read and
//! understood before the store is locked. The options and reports are plain data, fit for a socket.

mod admission;
mod apply;
mod bodies;
mod export;
mod import;
mod line;
mod local;
mod metadata;
mod report;
mod spool;
mod upload;

pub use export::{ExportOptions, Selection, Sink, export, export_into};
pub use import::{Conflict, ImportOptions, ImportRules, import, import_stream};
pub use line::parse_time;
pub use local::Local;
pub use report::{ExportReport, ImportReport, Note};
pub use upload::Upload;
