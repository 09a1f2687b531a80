//! `nexus archive`: the one way into `/archives`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use nexus::error::Result;
use nexus::model::VPath;

use super::output;
use super::store_access::with_nexus;

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
        let target = self.target.as_ref().map(|path| path.as_bytes());
        let archived = with_nexus(self.data_dir, |nx| nx.archive(source.as_bytes(), target))?;
        output::line(format_args!("{source} is now {archived}"))
    }
}
