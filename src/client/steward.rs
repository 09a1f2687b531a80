//! What the owner of a store does besides serving files: a daemon registers one of these.

use super::types::{MountInfo, MountWish, Role};
use crate::error::{Error, ErrorKind, Result};

/// The process behind an open store, as others may ask it about itself. A request that it does not answer is refused as
/// unsupported.
pub trait Steward: Send + Sync + std::fmt::Debug {
    /// What the process is.
    fn role(&self) -> Role;

    /// Its mounts.
    fn mounts(&self) -> Vec<MountInfo> {
        Vec::new()
    }

    /// Adds a mount; returns when it answers.
    ///
    /// # Errors
    /// What mounting fails with.
    fn mount(&self, _wish: &MountWish) -> Result<()> {
        Err(unsupported("mount"))
    }

    /// Ends a mount.
    ///
    /// # Errors
    /// What unmounting fails with.
    fn unmount(&self, _mountpoint: &[u8], _lazy: bool) -> Result<()> {
        Err(unsupported("unmount"))
    }

    /// Begins to end all mounts and the process; returns at once.
    ///
    /// # Errors
    /// When it cannot begin.
    fn stop(&self, _lazy: bool) -> Result<()> {
        Err(unsupported("stop"))
    }
}

/// A program that uses the library: it has no mounts, and gives the store up to a daemon.
#[derive(Debug)]
pub(super) struct Library;

impl Steward for Library {
    fn role(&self) -> Role {
        Role::Library
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what}: the store is held by a program, not by a daemon with mounts"))
}
