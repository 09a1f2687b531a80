//! nexus: a filesystem you mount, over content-addressed bodies and SQLite.
//!
//! ```
//! # fn main() -> nexus::error::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let data_dir = directory.path().join("store");
//! let nx = nexus::connect(&nexus::Config::at(&data_dir)?)?;
//! nx.write("/documents/report.txt", "all is well")?;
//! assert_eq!(nx.read("/documents/report.txt")?, b"all is well");
//! nx.close()
//! # }
//! ```
//!
//! [`Nexus`] tells the rest. Neither a mount nor FUSE is needed; where the store is mounted, programs see the same files.
//!
//! The crate is a library and a small binary. The rooms, and which may name which:
//!
//! | room | what it holds | may name |
//! |---|---|---|
//! | [`error`], [`advice`] | what can go wrong, and what to do about it | |
//! | [`model`] | nouns without I/O | `error` |
//! | [`stats`] | counters and histograms; every room may name it | |
//! | [`policy`] | who may do what where | `model` |
//! | [`meta`] | rows and transactions; the only user of rusqlite | `model` |
//! | [`cas`] | bodies and drafts as files | `meta` (types), `model` |
//! | [`work`] | the queue: what follows from the attributes of work items | `meta`, `model` |
//! | [`vfs`] | the filesystem: one operation, one transaction | `work`, `meta`, `cas`, `model` |
//! | [`view`] | the filesystem as one identity sees it | `vfs`, `policy`, `work`, `meta` (types), `model` |
//! | [`transfer`] | export and import | `view`, `vfs`, `model` |
//! | [`fuse`] | the kernel's protocol; the only user of fuser and errno numbers | `view`, `vfs` (types), `model` |
//! | [`config`] | where settings come from; the only user of serde_yaml | `policy`, `model` |
//! | [`client`] | the library: connections to a store, in this process or over its socket | `view`, `vfs`, `transfer`, `policy`, `config`; `work`, `meta` (types), `model` |
//! | [`daemon`] | a store that lives | `client`, `fuse`, `view`, `vfs`, `model` |
//!
//! `tests/suite/rooms.rs` holds the direction. ARCHITECTURE.md says why it is so.

pub mod advice;
pub mod cas;
pub mod client;
pub mod config;
pub mod daemon;
pub mod error;
pub mod fuse;
pub mod meta;
pub mod model;
pub mod policy;
pub mod stats;
pub mod transfer;
pub mod vfs;
pub mod view;
pub mod work;

pub use client::{Nexus, connect, connect_as, connect_default};
pub use config::Config;
