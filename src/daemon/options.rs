//! Mount options: the words behind `-o`, mount(8), and what they mean.
//!
//! The last of two words that contradict each other wins, as with mount(8). A word nobody knows is an error: an option
//! that is silently ignored is a protection somebody believes in.

use crate::advice;
use crate::error::{Error, ErrorKind, Result};
use crate::fuse::Manner;
use crate::model::Transport;

/// The longest time the kernel may be given: a year, which is for ever.
const CACHE_SECONDS_MAX: f64 = 31_536_000.0;

/// The most threads a mount may have; each costs a stack and a descriptor.
const THREADS_MAX: usize = 256;

/// How to mount, as far as that was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MountFlags {
    /// What the mount is told as it is.
    pub manner: Manner,
    /// How many threads answer over /dev/fuse; `None` lets the number of processors decide.
    pub threads: Option<usize>,
    /// Where locks are kept; `None` lets the number of mounts decide.
    pub locks: Option<LockScope>,
    /// How requests come; `None` when nobody said.
    pub transport: Option<Transport>,
}

/// How far flock(2) and fcntl(2) reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// Within one mount: the kernel keeps them.
    Local,
    /// All mounts of the store; each close is one request more.
    Store,
}

impl LockScope {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Store => "store",
        }
    }
}

/// What an option without a value does.
type Switch = fn(&mut MountFlags);

/// Options without a value.
const SWITCHES: &[(&str, Switch)] = &[
    ("allow_other", |f| f.manner.allow_other = true),
    ("ro", |f| f.manner.read_only = true),
    ("rw", |f| f.manner.read_only = false),
    ("dev", |f| f.manner.dev = true),
    ("nodev", |f| f.manner.dev = false),
    ("suid", |f| f.manner.suid = true),
    ("nosuid", |f| f.manner.suid = false),
    ("exec", |f| f.manner.noexec = false),
    ("noexec", |f| f.manner.noexec = true),
    ("atime", |f| f.manner.noatime = false),
    ("noatime", |f| f.manner.noatime = true),
    ("relatime", |f| f.manner.noatime = false),
    ("sync", |f| f.manner.sync = true),
    ("async", |f| f.manner.sync = false),
    ("dirsync", |f| f.manner.dirsync = true),
    ("passthrough", |f| f.manner.passthrough = true),
    ("no_passthrough", |f| f.manner.passthrough = false),
    ("low_latency", |f| f.manner.low_latency = true),
    ("no_low_latency", |f| f.manner.low_latency = false),
    ("default_permissions", |f| f.manner.default_permissions = true),
    ("no_default_permissions", |f| f.manner.default_permissions = false),
    // For mount(8) and fstab(5), which pass them on.
    ("defaults", |_| {}),
    ("auto", |_| {}),
    ("noauto", |_| {}),
    ("user", |_| {}),
    ("nofail", |_| {}),
    ("_netdev", |_| {}),
];

/// Options with a value.
const VALUED: &[&str] = &["cache_seconds", "threads", "locks", "transport"];

/// Options that exist elsewhere and are refused here, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("fsname", "the source is always nexus:DATA_DIR; 'nexus umount' finds the store by it"),
    ("subtype", "the type is always fuse.nexus; 'nexus umount' knows its mounts by it"),
    ("remount", "a mount cannot be changed; unmount it and mount it again"),
    ("strictatime", "access times are kept as with relatime"),
    ("allow_root", "use allow_other; the mode bits hold for everybody"),
];

impl MountFlags {
    /// Applies the comma-separated words of one `-o`.
    ///
    /// # Errors
    /// `Invalid` for a word that is unknown, refused, or has a value that does not fit.
    pub fn apply(&mut self, words: &str) -> Result<()> {
        words.split(',').map(str::trim).filter(|word| !word.is_empty()).try_for_each(|word| self.apply_word(word))
    }

    /// The words that say the same, behind those that nobody has to say.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let manner = &self.manner;
        let switches = [
            (manner.allow_other, "allow_other"),
            (manner.read_only, "ro"),
            (manner.dev, "dev"),
            (manner.suid, "suid"),
            (manner.noexec, "noexec"),
            (manner.noatime, "noatime"),
            (manner.sync, "sync"),
            (manner.dirsync, "dirsync"),
            (!manner.passthrough, "no_passthrough"),
            (!manner.low_latency, "no_low_latency"),
            (!manner.default_permissions, "no_default_permissions"),
        ];
        let mut words: Vec<_> = switches.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned()).collect();
        words.push(format!("cache_seconds={}", manner.cache_seconds));
        words.extend(self.threads.map(|threads| format!("threads={threads}")));
        words.extend(self.locks.map(|locks| format!("locks={}", locks.word())));
        words.extend(self.transport.map(|transport| format!("transport={}", transport.word())));
        words
    }

    fn apply_word(&mut self, word: &str) -> Result<()> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        // Comments of whoever writes fstab(5), and notes of systemd.
        if name.starts_with("x-") || name.starts_with("X-") {
            return Ok(());
        }
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Error::new(ErrorKind::Invalid, format!("mount option '{word}': {why}")));
        }
        match (name, value) {
            ("cache_seconds", Some(value)) => {
                self.manner.cache_seconds = value
                    .parse()
                    .ok()
                    .filter(|seconds| (0.0..=CACHE_SECONDS_MAX).contains(seconds))
                    .ok_or_else(|| bad_value(word, "seconds from 0 to 31536000, as 0.5"))?;
                return Ok(());
            }
            ("threads", Some(value)) => {
                let threads = value.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n));
                self.threads = Some(threads.ok_or_else(|| bad_value(word, "a number from 1 to 256"))?);
                return Ok(());
            }
            ("locks", Some(value)) => {
                self.locks = Some(match value {
                    "local" => LockScope::Local,
                    "store" => LockScope::Store,
                    _ => return Err(bad_value(word, "local or store")),
                });
                return Ok(());
            }
            ("transport", Some(value)) => {
                let transport = Transport::from_word(value);
                self.transport = Some(transport.ok_or_else(|| bad_value(word, "auto, io_uring or dev_fuse"))?);
                return Ok(());
            }
            _ => {}
        }
        match (SWITCHES.iter().find(|(switch, _)| *switch == name), value) {
            (Some((_, switch)), None) => {
                switch(self);
                Ok(())
            }
            (Some(_), Some(_)) => Err(bad_value(word, "no value")),
            (None, None) if VALUED.contains(&name) => Err(bad_value(word, "a value, as in name=1")),
            (None, _) => Err(unknown(name)),
        }
    }
}

fn bad_value(word: &str, needs: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("mount option '{word}': it takes {needs}"))
}

fn unknown(name: &str) -> Error {
    let known = SWITCHES.iter().map(|(switch, _)| *switch).chain(VALUED.iter().copied());
    let hint = match advice::nearest(name, known) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "'nexus mount --help' lists the options".into(),
    };
    advice::refusal(ErrorKind::Invalid, format!("mount option '{name}'"), "there is no such option", hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &str) -> Result<MountFlags> {
        let mut flags = MountFlags::default();
        flags.apply(words).map(|()| flags)
    }

    #[test]
    fn the_last_word_wins_and_what_fstab_passes_is_ignored() {
        let nothing = "defaults,auto,noauto,user,nofail,_netdev,x-systemd.automount,x-a=b,,default_permissions";
        assert_eq!(flags(nothing).unwrap(), MountFlags::default());
        let both = flags("ro, allow_other,noexec,dev,suid,noatime,sync,dirsync").unwrap();
        let said = &both.manner;
        assert!(said.read_only && said.allow_other && said.noexec && said.dev && said.suid);
        assert!(said.noatime && said.sync && said.dirsync);
        let undone = "ro,rw,noexec,exec,dev,nodev,suid,nosuid,noatime,relatime,sync,async,no_passthrough,passthrough,\
                      no_low_latency,low_latency,no_default_permissions,default_permissions";
        assert_eq!(flags(undone).unwrap(), MountFlags::default());
        let valued = flags("cache_seconds=0.5,threads=3,locks=store,transport=io_uring").unwrap();
        assert_eq!(valued.locks, Some(LockScope::Store));
        assert_eq!((valued.manner.cache_seconds, valued.threads), (0.5, Some(3)));
        assert_eq!(valued.transport, Some(Transport::IoUring));
    }

    #[test]
    fn the_words_of_flags_are_those_flags_again() {
        let all = "ro,allow_other,noexec,dev,suid,noatime,sync,dirsync,no_passthrough,no_low_latency,\
                   no_default_permissions,cache_seconds=0.25,threads=7,locks=local,transport=dev_fuse";
        // Every word alone, and all of them: no flag is left out, and none depends on another.
        for words in all.split(',').chain([all, ""]) {
            let meant = flags(words).unwrap();
            assert_eq!(flags(&meant.words().join(",")).unwrap(), meant, "{words}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let cases = [
            ("alow_other", "did you mean 'allow_other'?"),
            ("quota=5", "nexus mount --help"),
            ("fsname=x", "always nexus:DATA_DIR"),
            ("subtype=x", "always fuse.nexus"),
            ("ro=1", "it takes no value"),
            ("threads", "it takes a value"),
            ("threads=0", "a number from 1 to 256"),
            ("locks=all", "local or store"),
            ("transport=ring", "auto, io_uring or dev_fuse"),
            ("cache_seconds=-1", "seconds from 0"),
            ("cache_seconds=NaN", "seconds from 0"),
            ("cache_seconds=inf", "seconds from 0"),
        ];
        for (words, expected) in cases {
            let error = flags(words).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let text = format!("{}\n{}", advice::sentence(&error), advice::hint(&error).unwrap_or_default());
            assert!(text.contains(expected), "{words}: {text}");
        }
    }
}
