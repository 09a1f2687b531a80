//! Configuration: what a command works on, from all the places that may say so.
//!
//! What [`resolve`] returns is valid and complete. Sources, the first that names a key wins: explicit argument,
//! `NEXUS_*` environment, the first configuration file that exists (`./nexus.yaml`, `~/.config/nexus/config.yaml`,
//! `~/.nexus/config.yaml`, `/etc/nexus/config.yaml`), default. This room is the only one that reads them.
//!
//! A key that this version cannot honour is an error, never ignored: whoever asks for a tenant must not get a mount
//! that shows everything. Nothing here opens a store or checks that the data directory exists.

mod environment;
mod expand;
mod file;
mod keys;
mod surroundings;

use std::path::{Path, PathBuf};

use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Transport;

pub use surroundings::Surroundings;

/// The data directory when nothing names one, below the working directory.
pub const DATA_DIR_DEFAULT: &str = "nexus-data";

/// What was given explicitly, on the command line or by a library user.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// The data directory; a relative one is taken from the working directory.
    pub data_dir: Option<PathBuf>,
    /// How requests of the kernel come.
    pub transport: Option<Transport>,
}

/// How the filesystem is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The store is a directory of this machine.
    Embedded,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An explicit argument.
    Argument,
    /// The environment variable of this name.
    Environment(String),
    /// This configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

/// The resolved configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the filesystem is reached.
    pub mode: Mode,
    /// The directory of the store, absolute; it need not exist.
    pub data_dir: PathBuf,
    /// Where `data_dir` came from.
    pub data_dir_origin: Origin,
    /// How requests of the kernel come, for a mount.
    pub transport: Transport,
}

impl Config {
    /// The store in this directory, and nothing from the environment or a file: for programs that know what they want.
    ///
    /// # Errors
    /// When the directory is relative and the working directory cannot be determined.
    pub fn at(data_dir: impl AsRef<Path>) -> Result<Self> {
        let data_dir = std::path::absolute(data_dir.as_ref())
            .map_err(|e| Error::io(format!("find the data directory {:?}", data_dir.as_ref()), e))?;
        Ok(Self { mode: Mode::Embedded, data_dir, data_dir_origin: Origin::Argument, transport: Transport::Auto })
    }
}

/// What one source says: only the keys it names.
#[derive(Debug, Default)]
struct Layer {
    mode: Option<String>,
    data_dir: Option<PathBuf>,
    transport: Option<String>,
}

/// Resolves the configuration from `arguments` and what `surroundings` tell of the process.
///
/// # Errors
/// `Configuration` when a source cannot be understood, asks for what this version cannot do, or cannot be trusted;
/// the message names the source. A file that exists and cannot be read is an error too.
pub fn resolve(arguments: &Arguments, surroundings: &Surroundings) -> Result<Config> {
    let environment = environment::read(surroundings)?;
    let file = file::first(surroundings)?;
    let (file_path, file) = file.map_or((None, Layer::default()), |(path, layer)| (Some(path), layer));
    let file_origin = || file_path.clone().map_or(Origin::Default, Origin::File);

    let mode = match (environment.mode, file.mode) {
        (Some(mode), _) => parse_mode(&mode, &Origin::Environment("NEXUS_MODE".into()))?,
        (None, Some(mode)) => parse_mode(&mode, &file_origin())?,
        (None, None) => Mode::Embedded,
    };

    let transport = match (arguments.transport, environment.transport, file.transport) {
        (Some(transport), _, _) => transport,
        (None, Some(word), _) => parse_transport(&word, &Origin::Environment("NEXUS_TRANSPORT".into()))?,
        (None, None, Some(word)) => parse_transport(&word, &file_origin())?,
        (None, None, None) => Transport::Auto,
    };

    let (data_dir, origin) = if let Some(path) = &arguments.data_dir {
        (path.clone(), Origin::Argument)
    } else if let Some(path) = environment.data_dir {
        (path, Origin::Environment("NEXUS_DATA_DIR".into()))
    } else if let Some(path) = file.data_dir {
        (path, file_origin())
    } else {
        (PathBuf::from(DATA_DIR_DEFAULT), Origin::Default)
    };
    if data_dir.as_os_str().is_empty() {
        return Err(Error::new(
            ErrorKind::Configuration,
            format!("reading data_dir from {}: it is empty", describe(&origin)),
        ));
    }
    let data_dir = absolute(&surroundings.working_directory, &data_dir);
    Ok(Config { mode, data_dir, data_dir_origin: origin, transport })
}

/// The origin in words, for messages.
#[must_use]
pub fn describe(origin: &Origin) -> String {
    match origin {
        Origin::Argument => "the command line".into(),
        Origin::Environment(variable) => format!("the environment variable {variable}"),
        Origin::File(path) => path.display().to_string(),
        Origin::Default => "the default".into(),
    }
}

fn parse_mode(word: &str, origin: &Origin) -> Result<Mode> {
    if word == "embedded" {
        return Ok(Mode::Embedded);
    }
    Err(advice::refusal(
        ErrorKind::Configuration,
        format!("reading mode from {}", describe(origin)),
        format!("mode '{word}' does not exist in this version"),
        "the only mode is 'embedded'",
    ))
}

fn parse_transport(word: &str, origin: &Origin) -> Result<Transport> {
    Transport::from_word(word).ok_or_else(|| {
        advice::refusal(
            ErrorKind::Configuration,
            format!("reading transport from {}", describe(origin)),
            format!("there is no transport '{word}'"),
            format!("there are {}", Transport::WORDS.map(|(word, _)| word).join(", ")),
        )
    })
}

/// `path` below `base` when it is relative, without `.` components; `..` stays, it may follow a symbolic link.
fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().collect()
}

#[cfg(test)]
mod tests;
