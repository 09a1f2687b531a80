//! The library: [`Nexus`], a connection to a store, and what stands behind it.
//!
//! One process has a store at a time, its owner; it serves a socket in the data directory, and everybody else's requests
//! go there. Which of the two a connection is cannot be told from outside: the same request is carried out by the same
//! function (`serve`). When the owner ends, another process takes its place, if need be this one.
//!
//! Whoever may open the data directory may do everything to the files of the store that its identity allows: mode bits are
//! for mounts. No rule of the filesystem stands here; a request is admitted and carried out by the [`view`](crate::view).
//!
//! | file | what it holds |
//! |---|---|
//! | `facade`, `bodies`, `tree`, `metadata`, `work`, `transfer`, `verify` | the operations as a program calls them |
//! | `types` | what they tell |
//! | `request` | every operation as a value, and its answer |
//! | `serve` | carrying a request out |
//! | `route` | finding whoever carries it out, again if he ends |
//! | `exchange` | bodies and items that go along |
//! | `owner`, `steward` | having a store, and what a daemon adds to that |
//! | `ask` | requests to a daemon about itself |
//! | `wire` | the socket |

mod ask;
mod bodies;
mod exchange;
mod facade;
mod metadata;
mod owner;
mod request;
mod route;
mod serve;
mod steward;
mod transfer;
mod tree;
mod types;
mod verify;
mod wire;
mod work;

use std::path::{Path, PathBuf};

use crate::advice;
use crate::config::{self, Arguments, Config, Surroundings};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, Principal, Timestamp};
use crate::vfs::Vfs;

pub use ask::{hand_over, mount, mounts, stats, status, stop, unmount};
pub use facade::Nexus;
pub use metadata::Metadata;
pub use owner::Owner;
pub use steward::Steward;
pub use types::{Duplicate, Entry, EntryKind, Info, MountInfo, MountWish, Role, Status, Usage};
pub use work::Work;

/// Connects to the store that `config` names. If there is none, it is made: the directory must then be empty or not exist.
///
/// ```
/// # fn main() -> nexus::error::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let data_dir = directory.path().join("store");
/// let nx = nexus::connect(&nexus::Config::at(&data_dir)?)?;
/// assert!(nx.is_directory("/")?);
/// # nx.close()
/// # }
/// ```
///
/// # Errors
/// `NotEmpty` when something else is in the directory, `Denied` when this user may not use it, `InUse` when the process
/// that has it cannot be reached, `Incompatible` for a store or an owner of another version, `Damaged`.
pub fn connect(config: &Config) -> Result<Nexus> {
    connect_as(config, config.principal.clone())
}

/// As [`connect()`], as one of the tenants and agents that share a store.
///
/// ```
/// use nexus::model::Principal;
/// # fn main() -> nexus::error::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let config = nexus::Config::at(directory.path().join("store"))?;
/// let acme = Principal::new(Some("acme".into()), Some("agent1".into()), false)?;
/// let nx = nexus::connect_as(&config, acme)?;
/// nx.write("/workspace/acme/agent1/state.json", "{}")?;
/// # nx.close()
/// # }
/// ```
///
/// # Errors
/// As [`connect()`].
pub fn connect_as(config: &Config, principal: Principal) -> Result<Nexus> {
    if !has_store(&config.data_dir) {
        match Vfs::init(&config.data_dir, myself(), Timestamp::now) {
            Err(e) if e.kind() == ErrorKind::NotEmpty => {
                return Err(advice::with_hint(&e, "choose a directory that is empty or does not exist"));
            }
            // Somebody else was faster.
            Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
            _ => {}
        }
    }
    Nexus::reach(canonical(&config.data_dir)?, principal, config.policy())
}

/// As [`connect()`], with the configuration that environment and configuration files give: `NEXUS_DATA_DIR`, `./nexus.yaml`
/// and the other places that [`config`] names; without any of them the store is in `./nexus-data`.
///
/// ```no_run
/// let nx = nexus::connect_default()?;
/// for entry in nx.list("/", true)? {
///     println!("{}", entry.path());
/// }
/// # Ok::<(), nexus::error::Error>(())
/// ```
///
/// # Errors
/// `Configuration` when one of the sources cannot be understood; those of [`connect()`].
pub fn connect_default() -> Result<Nexus> {
    connect(&config::resolve(&Arguments::default(), &Surroundings::of_this_process()?)?)
}

/// As [`connect_as`], to a store that is there: none is made.
///
/// # Errors
/// `NotFound` without a store; those of [`connect()`].
pub fn connect_existing(config: &Config, principal: Principal) -> Result<Nexus> {
    if !has_store(&config.data_dir) {
        return Err(no_store(&config.data_dir));
    }
    Nexus::reach(canonical(&config.data_dir)?, principal, config.policy())
}

fn has_store(data_dir: &Path) -> bool {
    data_dir.join("metadata.db").exists()
}

fn no_store(data_dir: &Path) -> Error {
    advice::refusal(
        ErrorKind::NotFound,
        format!("opening the store in {}", data_dir.display()),
        "there is none",
        format!("to make one: nexus init {}", data_dir.display()),
    )
}

/// One spelling for each directory: a process can have a store only once.
fn canonical(data_dir: &Path) -> Result<PathBuf> {
    data_dir.canonicalize().map_err(|e| Error::io(format!("find the data directory {}", data_dir.display()), e))
}

/// Who asks when a program asks for itself.
fn myself() -> Caller {
    Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}
