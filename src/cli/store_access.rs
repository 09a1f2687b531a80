//! The store that a command works on, for the commands about metadata and work: the one place that opens it.

use std::path::PathBuf;
use std::sync::Arc;

use nexus::advice;
use nexus::daemon;
use nexus::error::{ErrorKind, Result};
use nexus::model::{NodeId, Timestamp, VPath};
use nexus::vfs::{StoreOptions, Vfs};

use super::configuration;

/// Runs a command on the open store, and lets it go in any case.
pub(super) fn with_store<T>(data_dir: Option<PathBuf>, run: impl FnOnce(&Arc<Vfs>) -> Result<T>) -> Result<T> {
    let data_dir = configuration(data_dir)?.data_dir;
    let options = StoreOptions { data_dir: data_dir.clone(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options).map_err(|e| match e.kind() {
        ErrorKind::NotFound => advice::with_hint(&e, "is this the right directory? 'nexus init' makes a new store"),
        ErrorKind::InUse => daemon::explain_in_use(&e, &data_dir),
        _ => e,
    })?;
    let done = run(&vfs);
    let closed = vfs.close();
    let done = done?;
    closed.map(|()| done)
}

/// The file or directory at a path that was typed.
pub(super) fn find(vfs: &Vfs, path: &VPath) -> Result<NodeId> {
    vfs.resolve(path).map(|attr| attr.id).map_err(|e| nexus::error::Error::new(e.kind(), format!("find {path}")))
}

/// A path as it is typed.
pub(super) fn path(typed: &str) -> std::result::Result<VPath, String> {
    VPath::parse(typed.as_bytes()).map_err(|e| e.context().to_owned())
}
