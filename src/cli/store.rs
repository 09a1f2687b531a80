//! `nexus init` and `nexus fsck`: stores that nobody serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nexus::advice;
use nexus::daemon;
use nexus::error::{ErrorKind, Result};
use nexus::model::{Caller, Timestamp};
use nexus::vfs::{CheckReport, StoreOptions, Vfs};

use super::{Exit, configuration, output};

/// Make an empty store
///
/// DATA_DIR is made if it does not exist; if it does, it must be empty. The root directory of the store belongs to you.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory of the new store
    data_dir: Option<PathBuf>,
}

impl Init {
    pub(crate) fn run(self) -> Result<()> {
        let data_dir = configuration(self.data_dir)?.data_dir;
        let owner = Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        Vfs::init(&data_dir, owner, Timestamp::now).map_err(|e| match e.kind() {
            ErrorKind::Exists => {
                advice::with_hint(&e, format!("to use it: nexus mount MOUNTPOINT --data-dir {}", data_dir.display()))
            }
            ErrorKind::NotEmpty => advice::with_hint(&e, "choose a directory that is empty or does not exist"),
            _ => e,
        })?;
        output::line(format_args!("made an empty store in {}", data_dir.display()))
    }
}

/// Check a store, and repair it if asked to
///
/// Holds every invariant of the store against its content. Nothing is written unless --repair is given. The store must
/// not be mounted.
///
/// Exit codes, as those of fsck(8): 0 clean, 1 problems corrected, 4 problems left, 8 could not check, 16 wrong usage.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// The directory of the store
    data_dir: Option<PathBuf>,
    /// Mend what can be mended
    #[arg(long)]
    repair: bool,
}

impl Fsck {
    pub(crate) fn run(self) -> Exit {
        self.check().unwrap_or_else(|error| {
            output::error(&error);
            match error.kind() {
                // It could be opened no further than to see what is wrong with it.
                ErrorKind::Damaged => Exit::FSCK_UNCORRECTED,
                _ => Exit::FSCK_OPERATIONAL,
            }
        })
    }

    fn check(self) -> Result<Exit> {
        let data_dir = configuration(self.data_dir)?.data_dir;
        let vfs = open(&data_dir, !self.repair)?;
        let before = vfs.check()?;
        print(&before)?;
        let exit = if before.problems.is_empty() {
            output::line(format_args!("{}: clean", data_dir.display()))?;
            Exit::FSCK_CLEAN
        } else if self.repair {
            mend(&vfs, &data_dir)?
        } else {
            output::line(format_args!("{}: {}", data_dir.display(), count(&before)))?;
            Exit::FSCK_UNCORRECTED
        };
        vfs.close()?;
        Ok(exit)
    }
}

fn open(data_dir: &Path, read_only: bool) -> Result<Arc<Vfs>> {
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only, clock: Timestamp::now };
    Vfs::open_store(options).map_err(|e| match e.kind() {
        ErrorKind::NotFound => advice::with_hint(&e, "is this the right directory? 'nexus init' makes a new store"),
        ErrorKind::InUse => daemon::explain_in_use(&e, data_dir),
        _ => e,
    })
}

/// Mends what can be mended, looks again and says what is left.
fn mend(vfs: &Vfs, data_dir: &Path) -> Result<Exit> {
    if let Err(error) = repair(vfs) {
        output::error(&error);
        return Ok(Exit::FSCK_UNCORRECTED);
    }
    let after = vfs.check()?;
    if after.problems.is_empty() {
        output::line(format_args!("{}: repaired", data_dir.display()))?;
        return Ok(Exit::FSCK_CORRECTED);
    }
    output::line("after the repair:")?;
    print(&after)?;
    output::line(format_args!("{}: {} left", data_dir.display(), count(&after)))?;
    Ok(Exit::FSCK_UNCORRECTED)
}

/// The one place where a repair is asked for: becomes `vfs.repair()` when the filesystem has it.
fn repair(_vfs: &Vfs) -> Result<()> {
    Err(advice::refusal(
        ErrorKind::Unsupported,
        "repairing the store",
        "this version can check, but not repair",
        "files that are not named above can be read; copy them to a new store",
    ))
}

fn print(report: &CheckReport) -> Result<()> {
    for problem in &report.problems {
        output::line(format_args!("problem: {problem}"))?;
    }
    for residue in &report.residue {
        output::line(format_args!("residue: {residue}"))?;
    }
    Ok(())
}

fn count(report: &CheckReport) -> String {
    match report.problems.len() {
        1 => "1 problem".into(),
        more => format!("{more} problems"),
    }
}
