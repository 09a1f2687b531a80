//! nexus: a filesystem you mount, over content-addressed bodies and SQLite.

pub mod advice;
pub mod cas;
pub mod config;
pub mod daemon;
pub mod error;
pub mod fuse;
pub mod meta;
pub mod model;
pub mod vfs;
