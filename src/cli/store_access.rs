//! The store that a command works on, for the commands about metadata and work: the one place that opens it.

use std::path::PathBuf;
use std::sync::Arc;

use nexus::error::{Error, Result};
use nexus::model::{NodeId, VPath};
use nexus::vfs::Vfs;

use super::{configuration, store};

/// Runs a command on the open store, and lets it go in any case.
pub(super) fn with_store<T>(data_dir: Option<PathBuf>, run: impl FnOnce(&Arc<Vfs>) -> Result<T>) -> Result<T> {
    let data_dir = configuration(data_dir)?.data_dir;
    let vfs = Vfs::open_store(store::options(&data_dir, false)).map_err(|e| store::explain(e, &data_dir))?;
    let done = run(&vfs);
    let closed = vfs.close();
    let done = done?;
    closed.map(|()| done)
}

/// The file or directory at a path that was typed.
pub(super) fn find(vfs: &Vfs, path: &VPath) -> Result<NodeId> {
    vfs.resolve(path).map(|attr| attr.id).map_err(|e| Error::new(e.kind(), format!("find {path}")))
}

/// A path as it is typed.
pub(super) fn path(typed: &str) -> std::result::Result<VPath, String> {
    VPath::parse(typed.as_bytes()).map_err(|e| e.context().to_owned())
}
