//! `nexus archive`: the one way into `/archives`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use nexus::daemon;
use nexus::error::{ErrorKind, Result};
use nexus::model::{Caller, Timestamp, VPath};
use nexus::vfs::{StoreOptions, Vfs};
use nexus::view::{Sight, View};

use super::{configuration, output, settings};

/// Move a finished file or tree into /archives, where nothing changes any more
///
/// SOURCE is a path of the store. Without --as it goes under its own name into the archive of the tenant whose it is, or
/// of the tenant who asks. It moves as a whole or not at all, and is durable when the command returns. What is in
/// /archives can be read by its tenant, and changed or removed by nobody.
#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// What to archive, as /workspace/TENANT/AGENT/run
    source: OsString,
    /// Where it is to be, as /archives/TENANT/2026/run; directories on the way are made
    #[arg(long = "as", value_name = "PATH")]
    target: Option<OsString>,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Archive {
    pub(crate) fn run(self) -> Result<()> {
        let source = VPath::parse(self.source.as_bytes())?;
        let target = self.target.map(|path| VPath::parse(path.as_bytes())).transpose()?;
        let config = configuration(self.data_dir)?;
        let options = StoreOptions { data_dir: config.data_dir.clone(), read_only: false, clock: Timestamp::now };
        let vfs = Vfs::open_store(options).map_err(|e| match e.kind() {
            ErrorKind::InUse => daemon::explain_in_use(&e, &config.data_dir),
            _ => e,
        })?;
        let view = View::with(vfs, settings(&config, Sight::Open));
        let caller = Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let archived = view.archive(&caller, &source, target.as_ref());
        view.vfs().close()?;
        output::line(format_args!("{source} is now {}", archived?))
    }
}
