//! Commands that change something: `write`, `cp`, `mv`, `rm`, `mkdir`, `rmdir`. What they did is durable at their end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use nexus::Nexus;
use nexus::error::{Error, ErrorKind, Result};
use nexus::model::VPath;

use super::{Outcome, Store, bytes};

/// Write a file
///
/// The file has its old content or all of the new one, whatever happens. Directories above it are made.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The file in the store, absolute
    path: OsString,
    /// The file on this machine to read; - is standard input
    #[arg(default_value = "-")]
    source: PathBuf,
    /// Add to the end
    #[arg(short, long, conflicts_with = "new")]
    append: bool,
    /// Only if there is no such file
    #[arg(short, long)]
    new: bool,
    #[command(flatten)]
    store: Store,
}

impl Write {
    pub(super) fn run(self) -> Result<()> {
        let mut source: Box<dyn Read> = if self.source == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(&self.source);
            Box::new(opened.map_err(|e| Error::io(format!("opening {}", self.source.display()), e))?)
        };
        let nx = self.store.connect()?;
        let path = bytes(&self.path);
        match (self.append, self.new) {
            (true, _) => nx.append_from(path, &mut source)?,
            (false, true) => nx.write_new_from(path, &mut source)?,
            (false, false) => nx.write_from(path, &mut source)?,
        }
        nx.close()
    }
}

/// Copy files
///
/// Within the store; the copies share the content of the originals and take no room. If TO is a directory, into it. For
/// files of this machine: 'nexus write /a FILE' and 'nexus cat /a > FILE'.
#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// What to copy, and at last where to, absolute
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"])]
    paths: Vec<OsString>,
    /// Directories with all that they hold
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    store: Store,
}

impl Cp {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let Some((to, from)) = self.paths.split_last() else { return Ok(()) };
        let inside = check_into(&nx, from, bytes(to))?;
        for from in from {
            let copied = target(bytes(from), bytes(to), inside).and_then(|to| nx.copy(bytes(from), to, self.recursive));
            outcome.note(copied);
        }
        nx.close()
    }
}

/// Rename files and directories
///
/// In one step, over a file that has the new name. If TO is a directory, into it.
#[derive(Debug, Args)]
pub(crate) struct Mv {
    /// What to rename, and at last what to, absolute
    #[arg(required = true, num_args = 2.., value_names = ["FROM", "TO"])]
    paths: Vec<OsString>,
    /// Replace nothing
    #[arg(short, long)]
    no_clobber: bool,
    #[command(flatten)]
    store: Store,
}

impl Mv {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        let Some((to, from)) = self.paths.split_last() else { return Ok(()) };
        let inside = check_into(&nx, from, bytes(to))?;
        for from in from {
            let renamed = target(bytes(from), bytes(to), inside).and_then(|to| match self.no_clobber {
                true => nx.rename_new(bytes(from), to),
                false => nx.rename(bytes(from), to),
            });
            outcome.note(renamed);
        }
        nx.close()
    }
}

/// Whether what is copied or renamed goes into a directory; several can go nowhere else.
fn check_into(nx: &Nexus, from: &[OsString], to: &[u8]) -> Result<bool> {
    let inside = nx.is_directory(to)?;
    if from.len() > 1 && !inside {
        let shown = String::from_utf8_lossy(to).into_owned();
        return Err(Error::new(ErrorKind::NotADirectory, format!("several into {shown}")));
    }
    Ok(inside)
}

/// The new name of `from`.
fn target(from: &[u8], to: &[u8], inside: bool) -> Result<Vec<u8>> {
    let (from, to) = (VPath::parse(from)?, VPath::parse(to)?);
    let target = match from.split_last() {
        Some((_, name)) if inside => to.join(name),
        _ => to,
    };
    Ok(target.as_bytes().to_vec())
}

/// Remove files
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// What to remove, absolute
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// Directories with all that they hold
    #[arg(short, long)]
    recursive: bool,
    /// What is not there is no failure
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    store: Store,
}

impl Rm {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        for path in &self.paths {
            let removed = match nx.delete(bytes(path)) {
                Err(e) if e.kind() == ErrorKind::IsADirectory && self.recursive => nx.rmdir(bytes(path), true),
                removed => removed,
            };
            match removed {
                Err(e) if e.kind() == ErrorKind::NotFound && self.force => {}
                removed => drop(outcome.note(removed)),
            }
        }
        nx.close()
    }
}

/// Make directories
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// What to make, absolute
    #[arg(required = true)]
    paths: Vec<OsString>,
    /// Also those above; what is there is no failure
    #[arg(short, long)]
    parents: bool,
    #[command(flatten)]
    store: Store,
}

impl Mkdir {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        for path in &self.paths {
            outcome.note(nx.mkdir(bytes(path), self.parents));
        }
        nx.close()
    }
}

/// Remove empty directories
#[derive(Debug, Args)]
pub(crate) struct Rmdir {
    /// What to remove, absolute
    #[arg(required = true)]
    paths: Vec<OsString>,
    #[command(flatten)]
    store: Store,
}

impl Rmdir {
    pub(super) fn run(self, outcome: &mut Outcome) -> Result<()> {
        let nx = self.store.connect()?;
        for path in &self.paths {
            outcome.note(nx.rmdir(bytes(path), false));
        }
        nx.close()
    }
}
