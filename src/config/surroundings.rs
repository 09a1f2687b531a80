//! What the configuration depends on besides its arguments, as values.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The process that asks: environment, directories and user. A value, so that a test can invent one.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The environment variables.
    pub variables: HashMap<OsString, OsString>,
    /// The working directory, absolute.
    pub working_directory: PathBuf,
    /// The home directory, if the user has one.
    pub home: Option<PathBuf>,
    /// Where the configuration of the machine lies.
    pub system_directory: PathBuf,
    /// The effective user, who has to be able to trust `./nexus.yaml`.
    pub user: u32,
}

impl Surroundings {
    /// Nothing at all, and the root as working directory: for a configuration of which a program says everything.
    pub(super) fn nothing() -> Self {
        Self {
            variables: HashMap::new(),
            working_directory: PathBuf::from("/"),
            home: None,
            system_directory: PathBuf::from("/etc/nexus"),
            user: rustix::process::geteuid().as_raw(),
        }
    }

    /// Those of this process.
    ///
    /// # Errors
    /// When the working directory cannot be determined, getcwd(2): it was removed.
    pub fn of_this_process() -> Result<Self> {
        let variables: HashMap<_, _> = std::env::vars_os().collect();
        Ok(Self {
            working_directory: std::env::current_dir()
                .map_err(|e| Error::io("determining the working directory", e))?,
            home: variables.get(OsStr::new("HOME")).map(PathBuf::from).filter(|home| home.is_absolute()),
            system_directory: PathBuf::from("/etc/nexus"),
            user: rustix::process::geteuid().as_raw(),
            variables,
        })
    }

    /// An environment variable; one that is set to nothing counts as unset.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }
}
