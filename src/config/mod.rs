//! Configuration: what a command works on, from all the places that may say so.
//!
//! What [`resolve`] returns is valid and complete. Sources, the first that names a key wins: explicit argument,
//! `NEXUS_*` environment, the first configuration file that exists (`./nexus.yaml`, `~/.config/nexus/config.yaml`,
//! `~/.nexus/config.yaml`, `/etc/nexus/config.yaml`), default. This room is the only one that reads them.
//!
//! Nothing here opens a store or checks that the data directory exists.

mod environment;
mod expand;
mod file;
mod keys;
mod shown;
mod surroundings;
mod typed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml::Value;

use self::typed::Said;
use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Principal, Transport};
use crate::policy::{Namespace, Policy};

pub use surroundings::Surroundings;

/// The data directory when nothing names one, below the working directory.
pub const DATA_DIR_DEFAULT: &str = "nexus-data";

/// The name of the database in a data directory.
const DATABASE: &str = "metadata.db";

/// The memory that SQLite may use for pages when nothing is said.
const CACHE_SIZE_MB_DEFAULT: u64 = 64;

/// The most that can be asked for: a terabyte is a slip.
const CACHE_SIZE_MB_MAX: u64 = 1 << 20;

/// What was given explicitly, on the command line or by a library user.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// The data directory; a relative one is taken from the working directory.
    pub data_dir: Option<PathBuf>,
    /// The tenant.
    pub tenant_id: Option<String>,
    /// The agent.
    pub agent_id: Option<String>,
    /// Whether isolation does not apply.
    pub is_admin: Option<bool>,
    /// How requests of the kernel come.
    pub transport: Option<Transport>,
    /// The configuration file to read instead of the first that exists.
    pub file: Option<PathBuf>,
}

/// How the filesystem is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The store is a directory of this machine.
    Embedded,
}

/// One entry of `mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Where, absolute.
    pub mountpoint: PathBuf,
    /// As whom.
    pub principal: Principal,
    /// Nothing can be changed through it.
    pub read_only: bool,
    /// Other users may use it.
    pub allow_other: bool,
    /// How requests come, where it is not as for the others.
    pub transport: Option<Transport>,
    /// As behind `-o` of `nexus mount`.
    pub options: Vec<String>,
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
    /// `tenant_id`, `agent_id` and `is_admin`.
    pub principal: Principal,
    /// How requests of the kernel come, for a mount.
    pub transport: Transport,
    /// Memory for pages of the database, in MiB.
    pub cache_size_mb: u64,
    /// Accepted, and without effect: there is no search by vectors.
    pub enable_vector_search: bool,
    /// Accepted, and without effect: there is no cache of answers of language models.
    pub enable_llm_cache: bool,
    /// The custom namespaces.
    pub namespaces: Vec<Namespace>,
    /// Whether names in the root directory have to be those of namespaces.
    pub strict_namespaces: bool,
    /// The mounts.
    pub mounts: Vec<MountEntry>,
    policy: Arc<Policy>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// The store in this directory, and nothing from the environment or a file: for programs that know what they want.
    ///
    /// # Errors
    /// When the directory is relative and the working directory cannot be determined.
    pub fn at(data_dir: impl AsRef<Path>) -> Result<Self> {
        let data_dir = std::path::absolute(data_dir.as_ref())
            .map_err(|e| Error::io(format!("find the data directory {:?}", data_dir.as_ref()), e))?;
        let nothing = Surroundings::nothing();
        let mut config = understand(&Layer::default(), &nothing)?;
        config.data_dir = data_dir;
        config.origins.insert("data_dir", Origin::Argument);
        Ok(config)
    }

    /// The same for an identity: `tenant_id`, `agent_id` and `is_admin`.
    #[must_use]
    pub fn with_principal(mut self, principal: Principal) -> Self {
        self.principal = principal;
        for key in ["tenant_id", "agent_id", "is_admin"] {
            self.origins.insert(key, Origin::Argument);
        }
        self
    }

    /// The same with these namespaces beside the built-in ones. Of several who share a store, those of its owner hold.
    ///
    /// # Errors
    /// `Configuration` for a name that is built in, defined twice, or cannot be one.
    pub fn with_namespaces(mut self, namespaces: Vec<Namespace>) -> Result<Self> {
        self.policy = Arc::new(Policy::new(namespaces.clone(), self.strict_namespaces)?);
        self.namespaces = namespaces;
        self.origins.insert("namespaces", Origin::Argument);
        Ok(self)
    }

    /// Where the value of a key came from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Keys that are set and change nothing: files written for other implementations have them.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let keys = [("enable_vector_search", self.enable_vector_search), ("enable_llm_cache", self.enable_llm_cache)];
        keys.into_iter().filter(|(_, on)| *on).map(|(key, _)| key).collect()
    }

    /// The namespaces, built-in and custom.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }
}

/// What one source says: only the keys it names.
#[derive(Debug, Default)]
struct Layer(BTreeMap<&'static str, (Value, Origin)>);

impl Layer {
    /// A key without a value is not named.
    fn insert(&mut self, key: &'static str, value: Value, origin: Origin) {
        if !value.is_null() {
            self.0.insert(key, (value, origin));
        }
    }

    /// What `self` does not name is as `farther` says.
    fn or(mut self, farther: Self) -> Self {
        for (key, said) in farther.0 {
            self.0.entry(key).or_insert(said);
        }
        self
    }

    /// What is said about a key, understood by `understand`.
    fn take<T>(&self, key: &'static str, understand: impl FnOnce(Said<'_>) -> Result<T>) -> Result<Option<T>> {
        let Some((value, origin)) = self.0.get(key) else { return Ok(None) };
        understand(Said { key, value, origin }).map(Some)
    }
}

/// Resolves the configuration from `arguments` and what `surroundings` tell of the process.
///
/// # Errors
/// `Configuration` when a source cannot be understood, asks for what nexus cannot do, or cannot be trusted; the message
/// names the source. A file that exists and cannot be read is an error too.
pub fn resolve(arguments: &Arguments, surroundings: &Surroundings) -> Result<Config> {
    let file = match &arguments.file {
        Some(path) => file::named(path, surroundings)?,
        None => file::first(surroundings)?,
    };
    let said = explicit(arguments).or(environment::read(surroundings)?).or(file);
    let mut config = understand(&said, surroundings)?;
    if let Some(path) = arguments.data_dir.as_deref().filter(|path| path.to_str().is_none()) {
        config.data_dir = absolute(&surroundings.working_directory, path);
        config.origins.insert("data_dir", Origin::Argument);
    }
    Ok(config)
}

/// What a file says by itself, whatever the environment says.
///
/// # Errors
/// As [`resolve`].
pub fn check(path: &Path, surroundings: &Surroundings) -> Result<Config> {
    understand(&file::named(path, surroundings)?, surroundings)
}

fn explicit(arguments: &Arguments) -> Layer {
    let mut layer = Layer::default();
    let mut text = |key, value: Option<&str>| {
        if let Some(value) = value {
            layer.insert(key, Value::String(value.to_owned()), Origin::Argument);
        }
    };
    text("tenant_id", arguments.tenant_id.as_deref());
    text("agent_id", arguments.agent_id.as_deref());
    // One that is not UTF-8 is no text that a file could hold; `resolve` puts it in.
    text("data_dir", arguments.data_dir.as_deref().and_then(Path::to_str));
    text("transport", arguments.transport.map(Transport::word));
    if let Some(is_admin) = arguments.is_admin {
        layer.insert("is_admin", Value::Bool(is_admin), Origin::Argument);
    }
    layer
}

fn understand(said: &Layer, surroundings: &Surroundings) -> Result<Config> {
    let mode = said.take("mode", |said| parse_mode(&said.text()?, said.origin))?.unwrap_or(Mode::Embedded);
    let data_dir = said
        .take("data_dir", |said| said.path(surroundings))?
        .unwrap_or_else(|| absolute(&surroundings.working_directory, Path::new(DATA_DIR_DEFAULT)));
    said.take("db_path", |said| check_database(said, &data_dir, surroundings))?;
    let flag = |key| Ok::<_, Error>(said.take(key, |said| said.flag())?.unwrap_or(false));

    let part = |key| {
        said.take(key, |said| {
            let text = said.text()?;
            let checked = Principal::new(Some(text.clone()), None, false);
            checked.map_err(|_| wrong(said.origin, said.key, format!("{text:?} cannot be the name of a directory")))?;
            Ok(text)
        })
    };
    let principal = Principal::new(part("tenant_id")?, part("agent_id")?, flag("is_admin")?)?;

    let namespaces = said.take("namespaces", |said| said.namespaces())?.unwrap_or_default();
    let strict_namespaces = flag("strict_namespaces")?;
    let policy = Policy::new(namespaces.clone(), strict_namespaces).map_err(|e| match said.0.get("namespaces") {
        Some((_, origin)) => wrong(origin, "namespaces", e.context().to_owned()),
        None => e,
    })?;
    Ok(Config {
        mode,
        data_dir,
        transport: said.take("transport", parse_transport)?.unwrap_or_default(),
        cache_size_mb: said
            .take("cache_size_mb", |said| said.number(1, CACHE_SIZE_MB_MAX))?
            .unwrap_or(CACHE_SIZE_MB_DEFAULT),
        enable_vector_search: flag("enable_vector_search")?,
        enable_llm_cache: flag("enable_llm_cache")?,
        mounts: said.take("mounts", |said| said.mounts(&principal, surroundings))?.unwrap_or_default(),
        principal,
        namespaces,
        strict_namespaces,
        policy: Arc::new(policy),
        origins: said.0.iter().map(|(key, (_, origin))| (*key, origin.clone())).collect(),
    })
}

/// The database belongs into the data directory: elsewhere two data directories could name one database, each under a
/// lock of its own, and whoever knows only the data directory (fsck, a backup, another mount) would find half a store.
fn check_database(said: Said<'_>, data_dir: &Path, surroundings: &Surroundings) -> Result<()> {
    if said.path(surroundings)? == data_dir.join(DATABASE) {
        return Ok(());
    }
    Err(advice::refusal(
        ErrorKind::Configuration,
        format!("reading db_path from {}", describe(said.origin)),
        format!(
            "the database of a store is {DATABASE} in its data_dir: elsewhere it would be out of the reach of the \
             store's lock and of its backups"
        ),
        "remove db_path, and put data_dir where the database is to be",
    ))
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

fn parse_transport(said: Said<'_>) -> Result<Transport> {
    let word = said.text()?;
    Transport::from_word(&word).ok_or_else(|| {
        advice::refusal(
            ErrorKind::Configuration,
            format!("reading {} from {}", said.key, describe(said.origin)),
            format!("there is no transport '{word}'"),
            format!("there are {}", Transport::WORDS.map(|(word, _)| word).join(", ")),
        )
    })
}

/// The refusal of what a source says about a key.
fn wrong(origin: &Origin, key: &str, why: impl Into<String>) -> Error {
    let what = format!("reading {key} from {}: {}", describe(origin), why.into());
    Error::new(ErrorKind::Configuration, what)
}

/// `path` below `base` when it is relative, without `.` components; `..` stays, it may follow a symbolic link.
fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().collect()
}

#[cfg(test)]
mod tests;
