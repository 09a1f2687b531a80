//! `nexus mount`, `nexus umount` and `nexus mounts`.

mod list;
mod umount;
mod wanted;

use std::path::PathBuf;

use clap::Args;
use nexus::advice;
use nexus::config::{self, Arguments, Config, Surroundings};
use nexus::daemon::{self, MountRequest, MountSpec};
use nexus::error::{Error, ErrorKind, Result};
use nexus::view::Sight;

use self::wanted::Typed;
use super::{arguments, output, settings};

pub(super) use list::Mounts;
pub(super) use umount::Umount;
pub(super) use wanted::check_entries;

/// Mount a store on a directory, or on several
///
/// Returns once the mounts answer; one process in the background serves them until the last is unmounted or it gets
/// SIGTERM, and logs to DATA_DIR/nexus.log. What is changed through one of them is seen at once through the others, and
/// locks hold across them. Where the store is mounted already, that process serves these mounts, too, under the namespaces and
/// with the cache it was started with. Needs root, or fusermount3 of the package fuse3.
#[derive(Debug, Args)]
#[command(after_long_help = MOUNT_OPTIONS)]
pub(crate) struct Mount {
    /// The directory that becomes the root of the store; each of them, when there are several
    #[arg(required_unless_present = "all", value_name = "MOUNTPOINT")]
    mountpoints: Vec<PathBuf>,
    /// Mount every entry of 'mounts' in the configuration; what is typed besides holds for each of them
    #[arg(short, long, conflicts_with = "mountpoints")]
    all: bool,
    /// The directory of the store
    #[arg(long, value_name = "DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Stay in the foreground and log to standard error; Ctrl-C unmounts
    #[arg(short, long)]
    foreground: bool,
    #[command(flatten)]
    typed: Typed,
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
  low_latency, no_low_latency
                          processors are kept awake while requests come densely, where the daemon is root's
                          (default), or never
  threads=N               how many threads answer over /dev/fuse
  transport=HOW           as --transport
  locks=store, locks=local
                          flock and fcntl locks hold across all mounts of the store, at one request more for each
                          close (default with several mounts), or within each mount (default for one)
  default_permissions, no_default_permissions
                          the kernel checks mode bits (default), or nobody does: for a mount that root alone may use,
                          where each change in a directory is then one request less; who runs as root there has all
                          that root has, also without the capability for it or behind an NFS server
  defaults, auto, noauto, user, nofail, _netdev, x-*
                          ignored; for fstab(5)";

impl Mount {
    pub(crate) fn run(self) -> Result<()> {
        let arguments = Arguments { transport: self.typed.transport()?, ..arguments(self.data_dir) };
        let config = config::resolve(&arguments, &Surroundings::of_this_process()?)?;
        if self.all && arguments.is_admin.is_some() {
            let what = "--admin with --all: each entry of 'mounts' says itself whether it is an administrator's";
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let mounts = if self.all { all(&config, &self.typed)? } else { each(&config, &self.typed, self.mountpoints)? };
        let request = MountRequest { data_dir: config.data_dir.clone(), mounts, cache_size_mb: config.cache_size_mb };
        let request = if self.all { daemon::missing(&request)? } else { request };
        if request.mounts.is_empty() {
            output::note("everything is mounted already");
            return Ok(());
        }
        let mut note = |text: &str| output::note(text);
        if self.foreground {
            daemon::mount_foreground(&request, &mut note)
        } else {
            daemon::mount_background(&request, &mut note)
        }
    }
}

fn each(config: &Config, typed: &Typed, mountpoints: Vec<PathBuf>) -> Result<Vec<MountSpec>> {
    let (view, flags) = (settings(config, Sight::Hidden), typed.flags(config)?);
    let spec = |mountpoint| MountSpec { mountpoint, view: view.clone(), flags: flags.clone() };
    Ok(mountpoints.into_iter().map(spec).collect())
}

fn all(config: &Config, typed: &Typed) -> Result<Vec<MountSpec>> {
    if config.mounts.is_empty() {
        let Config { data_dir, .. } = config;
        return Err(advice::refusal(
            ErrorKind::Configuration,
            format!("mounting all that the configuration names of {}", data_dir.display()),
            format!("'mounts' has no entries ({})", config::describe(config.origin("mounts"))),
            "to have one, put this into ./nexus.yaml:\nmounts:\n  - mountpoint: /mnt/nexus",
        ));
    }
    wanted::specs(config, typed)
}
