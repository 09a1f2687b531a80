//! The command line: what was typed, what it means, what is said about it.
//!
//! Holds no rule of the filesystem: each command resolves its configuration, calls the library once and prints. Here
//! alone are the terminal and the exit codes.

mod archive;
mod behind;
mod config;
mod exit;
mod files;
mod meta;
mod mount;
mod output;
mod stats;
mod store;
mod store_access;
mod transfer;
mod verify;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};
use nexus::config::{Arguments, Config, Surroundings, resolve};
use nexus::error::Result;
use nexus::view::{Settings, Sight};

pub(crate) use exit::Exit;

/// A filesystem you mount: every finished body is stored once by its SHA-256, names and attributes are rows in SQLite.
#[derive(Debug, Parser)]
#[command(name = "nexus", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    identity: Identity,
    #[command(subcommand)]
    command: Command,
}

/// As whom, for every command that works in a store.
#[derive(Clone, Debug, Default, clap::Args)]
struct Identity {
    /// The tenant to be; others' files are then not there [NEXUS_TENANT_ID]
    #[arg(long, global = true, value_name = "TENANT")]
    tenant: Option<String>,
    /// The agent to be; other agents' workspaces are then not there [NEXUS_AGENT_ID]
    #[arg(long, global = true, value_name = "AGENT")]
    agent: Option<String>,
    /// Be an administrator: see every tenant's files, and /system [NEXUS_IS_ADMIN]
    #[arg(long, global = true)]
    admin: bool,
}

/// What was typed of it, once for all commands.
static IDENTITY: OnceLock<Identity> = OnceLock::new();

const AFTER_HELP: &str = "\
Where DATA_DIR is not given, it comes from NEXUS_DATA_DIR, from the first configuration file there is (./nexus.yaml, \
~/.config/nexus/config.yaml, ~/.nexus/config.yaml, /etc/nexus/config.yaml), or is ./nexus-data. NEXUS_LOG sets what is \
logged: error, warn (the default), info, debug or trace.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 exists or conflicts, 6 no space, 7 damaged, 8 in use, \
9 wrong configuration. fsck has those of fsck(8).";

#[derive(Debug, Subcommand)]
enum Command {
    Init(store::Init),
    Mount(mount::Mount),
    #[command(visible_alias = "unmount")]
    Umount(mount::Umount),
    Mounts(mount::Mounts),
    Fsck(store::Fsck),
    Meta(meta::Meta),
    Find(meta::Find),
    Work(work::Work),
    #[command(flatten)]
    Files(files::FileCommand),
    Stats(stats::StatsCommand),
    Archive(archive::Archive),
    Config(config::ConfigCommand),
    Verify(verify::Verify),
    Export(transfer::Export),
    Import(transfer::Import),
    /// Print the version
    Version,
}

impl Cli {
    /// What was typed.
    ///
    /// # Errors
    /// The exit code, after help, version or the mistake has been printed.
    pub(crate) fn parse(typed: Vec<OsString>) -> std::result::Result<Self, Exit> {
        // fsck(8) has a code of its own for wrong usage, and mkinitramfs and systemd know it.
        let usage = if typed.get(1).is_some_and(|word| word == "fsck") { Exit::FSCK_USAGE } else { Exit::USAGE };
        Self::try_parse_from(typed).map_err(|e| {
            // Nobody is left to be told if this fails.
            drop(e.print());
            if e.use_stderr() { usage } else { Exit::OK }
        })
    }

    /// Runs the one command that was typed. Prints all there is to say, errors included.
    pub(crate) fn run(self) -> Exit {
        // Parsed once, so it is set once.
        IDENTITY.set(self.identity).ok();
        let done = match self.command {
            Command::Init(init) => init.run(),
            Command::Mount(mount) => mount.run(),
            Command::Umount(umount) => umount.run(),
            Command::Mounts(mounts) => mounts.run(),
            Command::Meta(meta) => meta.run(),
            Command::Find(find) => find.run(),
            Command::Stats(stats) => stats.run(),
            Command::Work(work) => work.run(),
            Command::Archive(archive) => archive.run(),
            Command::Config(command) => command.run(),
            Command::Export(export) => export.run(),
            Command::Import(import) => import.run(),
            Command::Version => {
                output::line(format_args!("nexus {} (store format {})", env!("CARGO_PKG_VERSION"), nexus::meta::FORMAT))
            }
            Command::Fsck(fsck) => return fsck.run(),
            Command::Files(files) => return files.run(),
            Command::Verify(verify) => {
                return verify.run().unwrap_or_else(|error| {
                    output::error(&error);
                    Exit::of(error.kind())
                });
            }
        };
        match done {
            Ok(()) => Exit::OK,
            Err(error) => {
                output::error(&error);
                Exit::of(error.kind())
            }
        }
    }
}

/// Sends the log to standard error as `NEXUS_LOG` asks, with time and level.
pub(crate) fn start_log() {
    let inner = env_logger::Builder::from_env(env_logger::Env::new().filter_or("NEXUS_LOG", "warn"))
        .format_timestamp_millis()
        .format_target(false)
        .build();
    let level = inner.filter();
    if log::set_boxed_logger(Box::new(Log(inner))).is_ok() {
        log::set_max_level(level);
    }
}

/// The log without one complaint of fuser that is none.
struct Log(env_logger::Logger);

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        // The kernel takes no answer (ENOENT) to a request whose caller was killed or whose mount has ended, fuse(4).
        let nobody_waits = record.target() == "fuser::reply" && record.args().to_string().ends_with("(os error 2)");
        if !nobody_waits {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// The configuration with what was typed as the explicit argument.
fn configuration(data_dir: Option<PathBuf>) -> Result<Config> {
    resolve(&arguments(data_dir), &Surroundings::of_this_process()?)
}

fn arguments(data_dir: Option<PathBuf>) -> Arguments {
    let identity = IDENTITY.get().cloned().unwrap_or_default();
    Arguments {
        data_dir,
        tenant_id: identity.tenant,
        agent_id: identity.agent,
        is_admin: identity.admin.then_some(true),
        ..Arguments::default()
    }
}

/// What a view of the store is to be under a configuration.
fn settings(config: &Config, sight: Sight) -> Settings {
    Settings {
        principal: config.principal.clone(),
        policy: config.policy(),
        sight,
        configuration: config.to_text(true),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        super::Cli::command().debug_assert();
    }
}
