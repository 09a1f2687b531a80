//! `nexus mount` and `nexus umount`.

use std::path::PathBuf;

use clap::Args;
use nexus::config::{self, Arguments, Surroundings};
use nexus::daemon::{self, MountFlags, MountRequest, Unmounted};
use nexus::error::Result;
use nexus::model::Transport;
use nexus::view::Sight;

use super::{arguments, output, settings};

/// Mount a store on a directory
///
/// Returns once the mount answers; a process in the background serves it until it is unmounted or gets SIGTERM, and logs
/// to DATA_DIR/nexus.log. Needs root, or fusermount3 of the package fuse3.
#[derive(Debug, Args)]
#[command(after_long_help = MOUNT_OPTIONS)]
pub(crate) struct Mount {
    /// The directory that becomes the root of the store
    mountpoint: PathBuf,
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
  default_permissions     always on
  defaults, auto, noauto, user, nofail, _netdev, x-*
                          ignored; for fstab(5)";

impl Mount {
    pub(crate) fn run(self) -> Result<()> {
        let mut flags = self.flags()?;
        let arguments = Arguments { transport: flags.transport, ..arguments(self.data_dir) };
        let config = config::resolve(&arguments, &Surroundings::of_this_process()?)?;
        flags.transport = Some(config.transport);
        let request = MountRequest {
            data_dir: config.data_dir.clone(),
            mountpoint: self.mountpoint,
            flags,
            view: settings(&config, Sight::Hidden),
            cache_size_mb: config.cache_size_mb,
        };
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
/// Returns once everything is durable and the process that served the mount is gone. A mount that somebody uses stays,
/// and the error names who.
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Take the name away at once; those who use the mount may go on until they are done
    #[arg(short = 'z', long)]
    lazy: bool,
}

impl Umount {
    pub(crate) fn run(self) -> Result<()> {
        let mut note = |text: &str| output::note(text);
        match daemon::unmount(&self.mountpoint, self.lazy, &mut note)? {
            Unmounted::Ended => {}
            Unmounted::StillServing { pid } => output::note(format_args!(
                "detached; process {pid} serves those who still use it, and ends with the last of them",
            )),
            Unmounted::WasDead => output::note(
                "the process that served this mount had been killed; the next mount recovers what was durable",
            ),
            Unmounted::NotWaited => {
                output::note("unmounted; the process that served this mount left no record, and may still be writing");
            }
        }
        Ok(())
    }
}
