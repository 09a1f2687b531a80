//! What is to be mounted: the entries of the configuration, and what was typed.

use clap::Args;
use nexus::advice;
use nexus::config::{Config, MountEntry};
use nexus::daemon::{MountFlags, MountSpec};
use nexus::error::{Error, ErrorKind, Result};
use nexus::model::Transport;
use nexus::view::{Settings, Sight};

use crate::cli::settings;

/// How to mount, as it is typed.
#[derive(Debug, Default, Args)]
pub(crate) struct Typed {
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

impl Typed {
    /// The transport, if one was typed.
    pub(super) fn transport(&self) -> Result<Option<Transport>> {
        let mut flags = MountFlags::default();
        self.apply(&mut flags)?;
        Ok(flags.transport)
    }

    /// How to mount a directory that was typed.
    pub(super) fn flags(&self, config: &Config) -> Result<MountFlags> {
        let mut flags = MountFlags { transport: Some(config.transport), ..MountFlags::default() };
        self.apply(&mut flags)?;
        Ok(flags)
    }

    /// Puts what was typed behind what was said before: it wins.
    fn apply(&self, flags: &mut MountFlags) -> Result<()> {
        self.options.iter().try_for_each(|words| flags.apply(words))?;
        flags.manner.allow_other |= self.allow_other;
        flags.manner.read_only |= self.read_only;
        flags.transport = self.transport.or(flags.transport);
        Ok(())
    }
}

fn transport(word: &str) -> std::result::Result<Transport, String> {
    Transport::from_word(word).ok_or_else(|| format!("there are {}", Transport::WORDS.map(|(word, _)| word).join(", ")))
}

/// The entries of the configuration as mounts; what was typed holds for each of them, before what it says itself.
pub(super) fn specs(config: &Config, typed: &Typed) -> Result<Vec<MountSpec>> {
    let rules = settings(config, Sight::Hidden);
    let spec = |(at, entry): (usize, &MountEntry)| {
        let mut flags = flags(config, at, entry)?;
        typed.apply(&mut flags)?;
        let view = Settings { principal: entry.principal.clone(), ..rules.clone() };
        Ok(MountSpec { mountpoint: entry.mountpoint.clone(), view, flags })
    };
    config.mounts.iter().enumerate().map(spec).collect()
}

/// Refuses entries that no mount could be made of.
pub(in crate::cli) fn check_entries(config: &Config) -> Result<()> {
    config.mounts.iter().enumerate().try_for_each(|(at, entry)| flags(config, at, entry).map(drop))
}

/// How an entry is to be mounted, by itself.
fn flags(config: &Config, at: usize, entry: &MountEntry) -> Result<MountFlags> {
    let transport = entry.transport.unwrap_or(config.transport);
    let mut flags = MountFlags { transport: Some(transport), ..MountFlags::default() };
    entry.options.iter().try_for_each(|words| flags.apply(words)).map_err(|e| of_entry(at, entry, &e))?;
    flags.manner.allow_other |= entry.allow_other;
    flags.manner.read_only |= entry.read_only;
    Ok(flags)
}

/// The error with the entry it is about; it is the configuration that is wrong, whatever was wrong in it.
fn of_entry(at: usize, entry: &MountEntry, error: &Error) -> Error {
    let what = format!("mounts[{at}] ({}): {}", entry.mountpoint.display(), error.context());
    let hint = advice::hint(error).unwrap_or_default();
    advice::refusal(ErrorKind::Configuration, what, advice::reason(error), hint)
}
