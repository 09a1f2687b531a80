//! `nexus init` and `nexus fsck`: stores that nobody serves.

use std::path::{Path, PathBuf};

use clap::Args;
use nexus::advice;
use nexus::daemon;
use nexus::error::{Error, ErrorKind, Result};
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
/// A repair throws away no bytes that a file could want. What has lost its name is found in /lost+found, as '#' and its
/// number. A body that is damaged is put into DATA_DIR/quarantine and reported, with the paths of its files, until the
/// same content is stored again or those files are removed.
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
        let before = match look(&data_dir) {
            // Whoever opens an older store for writing brings it to the present format.
            Err(e) if self.repair && e.kind() == ErrorKind::Incompatible => return mend(&data_dir, false),
            found => found?,
        };
        print(&before)?;
        let was_clean = before.problems.is_empty();
        // Residue is no problem, but whoever asks for a repair wants it gone.
        if self.repair && !(was_clean && before.residue.is_empty()) {
            return mend(&data_dir, was_clean);
        }
        if was_clean {
            output::line(format_args!("{}: clean", data_dir.display()))?;
            return Ok(Exit::FSCK_CLEAN);
        }
        output::line(format_args!("{}: {}", data_dir.display(), count(&before)))?;
        Ok(Exit::FSCK_UNCORRECTED)
    }
}

/// What is found in a store that nobody has open, without writing to it.
fn look(data_dir: &Path) -> Result<CheckReport> {
    let vfs = Vfs::open_store(options(data_dir, true)).map_err(|e| explain(e, data_dir))?;
    let report = vfs.check()?;
    vfs.close()?;
    Ok(report)
}

/// Mends what can be mended, looks again and says what is left.
fn mend(data_dir: &Path, was_clean: bool) -> Result<Exit> {
    match Vfs::repair(options(data_dir, false)).map_err(|e| explain(e, data_dir)) {
        Ok(mended) => {
            for what in mended {
                output::line(format_args!("mended: {what}"))?;
            }
        }
        Err(error) if error.kind() == ErrorKind::Incompatible => return Err(error),
        Err(error) => {
            output::error(&error);
            return Ok(Exit::FSCK_UNCORRECTED);
        }
    }
    let after = look(data_dir)?;
    if !after.problems.is_empty() {
        output::line("after the repair:")?;
        print(&after)?;
        output::line(format_args!("{}: {} left", data_dir.display(), count(&after)))?;
        return Ok(Exit::FSCK_UNCORRECTED);
    }
    let (outcome, exit) = if was_clean { ("clean", Exit::FSCK_CLEAN) } else { ("repaired", Exit::FSCK_CORRECTED) };
    output::line(format_args!("{}: {outcome}", data_dir.display()))?;
    Ok(exit)
}

pub(super) fn options(data_dir: &Path, read_only: bool) -> StoreOptions {
    StoreOptions { data_dir: data_dir.to_owned(), read_only, clock: Timestamp::now }
}

pub(super) fn explain(error: Error, data_dir: &Path) -> Error {
    match error.kind() {
        ErrorKind::NotFound => advice::with_hint(&error, "is this the right directory? 'nexus init' makes a new store"),
        ErrorKind::InUse => daemon::explain_in_use(&error, data_dir),
        _ => error,
    }
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
