//! The store that a command works on, for commands about metadata, work and archives: through the library, as for files.

use std::path::PathBuf;

use nexus::Nexus;
use nexus::client::connect_existing;
use nexus::error::Result;
use nexus::model::VPath;

use super::configuration;

/// Runs a command on the store, whoever has it. What was changed is durable when it is back.
pub(super) fn with_nexus<T>(data_dir: Option<PathBuf>, run: impl FnOnce(&Nexus) -> Result<T>) -> Result<T> {
    let config = configuration(data_dir)?;
    let nx = connect_existing(&config, config.principal.clone())?;
    let done = run(&nx);
    let closed = nx.close();
    let done = done?;
    closed.map(|()| done)
}

/// A path as it is typed.
pub(super) fn path(typed: &str) -> std::result::Result<VPath, String> {
    VPath::parse(typed.as_bytes()).map_err(|e| e.context().to_owned())
}
