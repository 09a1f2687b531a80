//! `nexus mount`, `nexus umount` and `nexus mounts`.

use std::path::{Path, PathBuf};

use clap::Args;
use nexus::config::{self, Arguments, Surroundings};
use nexus::daemon::{self, LockScope, MountFlags, MountRequest, MountSpec, Mounted, Unmounted};
use nexus::error::Result;
use nexus::model::Transport;
use nexus::view::Sight;
use serde_json::json;

use super::{arguments, configuration, output, settings};

/// Mount a store on a directory, or on several
///
/// Returns once the mounts answer; one process in the background serves them until the last is unmounted or it gets
/// SIGTERM, and logs to DATA_DIR/nexus.log. What is changed through one of them is seen at once through the others, and
/// locks hold across them. Needs root, or fusermount3 of the package fuse3.
#[derive(Debug, Args)]
#[command(after_long_help = MOUNT_OPTIONS)]
pub(crate) struct Mount {
    /// The directory that becomes the root of the store; each of them, when there are several
    #[arg(required = true, value_name = "MOUNTPOINT")]
    mountpoints: Vec<PathBuf>,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Stay in the foreground and log to standard error; Ctrl-C unmounts
    #[arg(short, long)]
    foreground: bool,
    /// Let other users in, subject to the mode bits
    #[arg(long)]
    allow_other: bool,
    /// Change nothing
    #[arg(long)]
    read_only: bool,
    /// How requests of the kernel come: auto (io_uring where the kernel offers it), io_uring or dev_fuse
    #[arg(long, value_name = "HOW", value_parser = transport)]
    transport: Option<Transport>,
    /// Mount options, separated by commas; the last of two that contradict each other wins
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

const MOUNT_OPTIONS: &str = "\
Mount options (-o):
  allow_other             as --allow-other
  ro, rw                  as --read-only, and its opposite
  dev, nodev              device nodes work, or not (default)
  suid, nosuid            set-user-ID and set-group-ID bits work, or not (default)
  exec, noexec            programs can be started (default), or not
  relatime, atime         access times as with relatime (default)
  noatime                 no access times
  sync, async             every write is durable when it returns, or not (default)
  dirsync                 every change of a directory is durable when it returns
  cache_seconds=N         how long the kernel may believe names and attributes (default 3600)
  passthrough, no_passthrough
                          big files are served by the kernel alone where it can (default), or never
  threads=N               how many threads answer over /dev/fuse
  transport=HOW           as --transport
  locks=store, locks=local
                          flock and fcntl locks hold across all mounts of the store, at one request more for each
                          close (default with several mounts), or within each mount (default for one)
  default_permissions     always on
  defaults, auto, noauto, user, nofail, _netdev, x-*
                          ignored; for fstab(5)";

impl Mount {
    pub(crate) fn run(self) -> Result<()> {
        let mut flags = self.flags()?;
        let arguments = Arguments { transport: flags.transport, ..arguments(self.data_dir) };
        let config = config::resolve(&arguments, &Surroundings::of_this_process()?)?;
        flags.transport = Some(config.transport);
        let view = settings(&config, Sight::Hidden);
        let specs = self.mountpoints.into_iter().map(|mountpoint| MountSpec {
            mountpoint,
            view: view.clone(),
            flags: flags.clone(),
        });
        let mounts = specs.collect();
        let request = MountRequest { data_dir: config.data_dir.clone(), mounts, cache_size_mb: config.cache_size_mb };
        if self.foreground { daemon::mount_foreground(&request) } else { daemon::mount_background(&request) }
    }

    fn flags(&self) -> Result<MountFlags> {
        let mut flags = MountFlags::default();
        self.options.iter().try_for_each(|words| flags.apply(words))?;
        flags.allow_other |= self.allow_other;
        flags.read_only |= self.read_only;
        flags.transport = self.transport.or(flags.transport);
        Ok(flags)
    }
}

fn transport(word: &str) -> std::result::Result<Transport, String> {
    Transport::from_word(word).ok_or_else(|| format!("there are {}", Transport::WORDS.map(|(word, _)| word).join(", ")))
}

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
    match daemon::unmount(mountpoint, lazy, &mut note)? {
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
    Ok(())
}

/// Unmounts as many as it can, and fails with the first that it cannot.
fn unmount_all(data_dir: PathBuf, lazy: bool) -> Result<()> {
    // Without a store there is nothing to unmount either.
    let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
    let mounted = daemon::mounted()?.into_iter().filter(|mount| mount.data_dir == data_dir);
    let mut outcome = Ok(());
    for mount in mounted {
        let ended = unmount(&mount.state.mountpoint, lazy);
        if let (Err(_), Err(e)) = (&outcome, &ended) {
            output::error(e);
        }
        outcome = outcome.and(ended);
    }
    outcome
}

/// List the mounts of all stores
#[derive(Debug, Args)]
pub(crate) struct Mounts {
    /// Only those of the store in this directory
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// One array of objects, for programs
    #[arg(long)]
    json: bool,
}

impl Mounts {
    pub(crate) fn run(self) -> Result<()> {
        let mut mounts = daemon::mounted()?;
        if let Some(data_dir) = &self.data_dir {
            let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.clone());
            mounts.retain(|mount| mount.data_dir == data_dir);
        }
        if self.json {
            let all: Vec<_> = mounts.iter().map(object).collect();
            return output::line(format_args!("{:#}", serde_json::Value::from(all)));
        }
        mounts.iter().try_for_each(|mount| output::line(sentence(mount)))
    }
}

fn object(mount: &Mounted) -> serde_json::Value {
    let state = &mount.state;
    json!({
        "mountpoint": state.mountpoint.to_string_lossy(),
        "data_dir": mount.data_dir.to_string_lossy(),
        "pid": mount.pid,
        "tenant_id": state.principal.tenant(),
        "agent_id": state.principal.agent(),
        "is_admin": state.principal.is_admin(),
        "read_only": state.read_only,
        "passthrough": state.passthrough,
        "transport": state.transport,
        "locks": match state.locks {
            LockScope::Local => "local",
            LockScope::Store => "store",
        },
    })
}

fn sentence(mount: &Mounted) -> String {
    let state = &mount.state;
    let mut words = vec![if state.read_only { "ro".to_owned() } else { "rw".to_owned() }];
    words.extend(state.principal.tenant().map(|tenant| format!("tenant {tenant}")));
    words.extend(state.principal.agent().map(|agent| format!("agent {agent}")));
    words.extend(state.principal.is_admin().then(|| "admin".to_owned()));
    words.push(match mount.pid {
        Some(pid) => format!("process {pid}"),
        None => "dead".to_owned(),
    });
    format!("{} on {} ({})", mount.data_dir.display(), state.mountpoint.display(), words.join(", "))
}
