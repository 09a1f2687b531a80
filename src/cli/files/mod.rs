//! Commands for those who have no mount: the files of a store, through the library.
//!
//! The same answer whoever has the store: a daemon, another program, or nobody, in which case the command has it for a
//! moment. What was changed is durable when the command is back. A command that is given several paths does what it can
//! with all of them; its exit code is that of the first that failed.

mod change;
mod look;
mod show;
mod status;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use nexus::Nexus;
use nexus::client::connect_existing;
use nexus::error::Result;

use super::{Exit, configuration, output};

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    Ls(look::Ls),
    Cat(look::Cat),
    Tree(look::Tree),
    Info(look::InfoCommand),
    FindDuplicates(look::FindDuplicates),
    Du(look::Du),
    Write(change::Write),
    Cp(change::Cp),
    Mv(change::Mv),
    Rm(change::Rm),
    Mkdir(change::Mkdir),
    Rmdir(change::Rmdir),
    Status(status::StatusCommand),
}

/// Which store.
#[derive(Debug, Args)]
struct Store {
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Store {
    fn connect(self) -> Result<Nexus> {
        let config = configuration(self.data_dir)?;
        connect_existing(&config, config.principal.clone())
    }
}

impl FileCommand {
    /// Runs the command. Prints all there is to say, errors included.
    pub(crate) fn run(self) -> Exit {
        let mut outcome = Outcome(Exit::OK);
        let ran = match self {
            Self::Ls(ls) => ls.run(&mut outcome),
            Self::Cat(cat) => cat.run(&mut outcome),
            Self::Tree(tree) => tree.run(&mut outcome),
            Self::Info(info) => info.run(&mut outcome),
            Self::FindDuplicates(find) => find.run(),
            Self::Du(du) => du.run(&mut outcome),
            Self::Write(write) => write.run(),
            Self::Cp(cp) => cp.run(&mut outcome),
            Self::Mv(mv) => mv.run(&mut outcome),
            Self::Rm(rm) => rm.run(&mut outcome),
            Self::Mkdir(mkdir) => mkdir.run(&mut outcome),
            Self::Rmdir(rmdir) => rmdir.run(&mut outcome),
            Self::Status(status) => status.run(),
        };
        outcome.note(ran);
        outcome.0
    }
}

/// What a script will learn: the first failure counts.
struct Outcome(Exit);

impl Outcome {
    /// Says what failed, if something did; the result if nothing did.
    fn note<T>(&mut self, done: Result<T>) -> Option<T> {
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                output::error(&error);
                if self.0 == Exit::OK {
                    self.0 = Exit::of(error.kind());
                }
                None
            }
        }
    }
}

/// A path in the store as it was typed: any bytes.
fn bytes(path: &OsString) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
