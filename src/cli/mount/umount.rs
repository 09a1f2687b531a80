//! `nexus umount`.

use std::path::{Path, PathBuf};

use clap::Args;
use nexus::daemon::{self, Unmounted};
use nexus::error::Result;

use crate::cli::{configuration, output};

/// Unmount a store
///
/// Returns once everything is durable and the process that served the mount is gone, unless it serves other mounts of the
/// store. A mount that somebody uses stays, and the error names who.
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Where it is mounted
    #[arg(required_unless_present = "all")]
    mountpoint: Option<PathBuf>,
    /// End all mounts of the store
    #[arg(short, long, conflicts_with = "mountpoint")]
    all: bool,
    /// The directory of the store, with --all
    #[arg(long, value_name = "DATA_DIR", requires = "all")]
    data_dir: Option<PathBuf>,
    /// Take the name away at once; those who use the mount may go on until they are done
    #[arg(short = 'z', long)]
    lazy: bool,
}

impl Umount {
    pub(crate) fn run(self) -> Result<()> {
        let Some(mountpoint) = self.mountpoint else {
            return unmount_all(configuration(self.data_dir)?.data_dir, self.lazy);
        };
        unmount(&mountpoint, self.lazy)
    }
}

fn unmount(mountpoint: &Path, lazy: bool) -> Result<()> {
    let mut note = |text: &str| output::note(text);
    tell(daemon::unmount(mountpoint, lazy, &mut note)?);
    Ok(())
}

/// Unmounts as many as it can, and fails with the first that it cannot.
fn unmount_all(data_dir: PathBuf, lazy: bool) -> Result<()> {
    // Without a store there is nothing to unmount either.
    let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
    let mut note = |text: &str| output::note(text);
    let mut outcome = Ok(());
    for mount in daemon::mounted(Some(&data_dir))? {
        let ended = daemon::unmount_from(&data_dir, &mount.state.mountpoint, lazy, &mut note).map(tell);
        if let (Err(_), Err(e)) = (&outcome, &ended) {
            output::error(e);
        }
        outcome = outcome.and(ended);
    }
    outcome
}

fn tell(unmounted: Unmounted) {
    match unmounted {
        Unmounted::Ended | Unmounted::OthersStay { .. } => {}
        Unmounted::StillServing { pid } => output::note(format_args!(
            "detached; process {pid} serves those who still use it, and ends with the last of them",
        )),
        Unmounted::WasDead => {
            output::note(
                "the process that served this mount had been killed; the next mount recovers what was durable",
            );
        }
        Unmounted::NotWaited => {
            output::note("unmounted; the process that served this mount left no record, and may still be writing");
        }
    }
}
