//! nexus: a filesystem you mount, over content-addressed bodies and SQLite.
//!
//! The crate is a library and a small binary. The rooms, and which may name which:
//!
//! | room | what it holds | may name |
//! |---|---|---|
//! | [`error`], [`advice`] | what can go wrong, and what to do about it | |
//! | [`model`] | nouns without I/O | `error` |
//! | [`policy`] | who may do what where | `model` |
//! | [`meta`] | rows and transactions; the only user of rusqlite | `model` |
//! | [`cas`] | bodies and drafts as files | `meta` (types), `model` |
//! | [`vfs`] | the filesystem: one operation, one transaction | `meta`, `cas`, `model` |
//! | [`view`] | the filesystem as one identity sees it | `vfs`, `policy`, `model` |
//! | [`transfer`] | export and import | `view`, `vfs`, `model` |
//! | [`fuse`] | the kernel's protocol; the only user of fuser and errno numbers | `view`, `vfs` (types), `model` |
//! | [`config`] | where settings come from; the only user of serde_yaml | `policy`, `model` |
//! | [`daemon`] | a store that lives | `fuse`, `view`, `vfs`, `model` |
//!
//! `tests/suite/rooms.rs` holds the direction. ARCHITECTURE.md says why it is so.

pub mod advice;
pub mod cas;
pub mod config;
pub mod daemon;
pub mod error;
pub mod fuse;
pub mod meta;
pub mod model;
pub mod policy;
pub mod transfer;
pub mod vfs;
pub mod view;
