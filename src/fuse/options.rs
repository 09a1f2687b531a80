//! How a filesystem is mounted: what was asked for, and the two spellings of it, for mount(2) and for fusermount3(1).

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::mount::MountFlags;

use super::control::Guard;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Transport;

/// The type of every mount of nexus, as mount(8), findmnt(8) and df(1) show it.
pub const FILESYSTEM_TYPE: &str = "fuse.nexus";
/// What follows `fuse.` in it, which is what fusermount3 is told.
const SUBTYPE: &str = "nexus";

/// How long the kernel may believe names and attributes, in seconds, when nothing else is said. One process makes every
/// change and tells the kernel of those it did not ask for, so long is safe.
const CACHE_SECONDS_DEFAULT: f64 = 3600.0;

/// In which manner a store is mounted, mount(8) and fuse(8): what is said of one mount and makes sense for any. The default is
/// that of an unprivileged FUSE mount, neither devices nor set-user-ID.
#[derive(Clone, Debug, PartialEq)]
pub struct Manner {
    /// Others than the user who mounts may use the mount, subject to the mode bits.
    pub allow_other: bool,
    /// Nothing can be written, `ro`.
    pub read_only: bool,
    /// Device nodes work; root only.
    pub dev: bool,
    /// Set-user-ID and set-group-ID bits work; root only.
    pub suid: bool,
    /// Nothing can be executed.
    pub noexec: bool,
    /// Access times are never updated; otherwise they are as with relatime.
    pub noatime: bool,
    /// Every write is durable before it returns.
    pub sync: bool,
    /// Every change of a directory is durable before it returns.
    pub dirsync: bool,
    /// How long the kernel may believe names and attributes, in seconds; 0 caches nothing.
    pub cache_seconds: f64,
    /// Bodies may be handed to the kernel where it and the privilege allow it.
    pub passthrough: bool,
    /// The kernel checks the mode bits, for each step of a path. Without, everybody who may use the mount, which is root and
    /// nobody else then, has what root has, whatever capabilities it gave away; a change in a directory needs a request less,
    /// as the kernel need not ask for the bits that the change before made it forget.
    pub default_permissions: bool,
    /// Processors are kept awake while requests come densely, where this process may ask for that.
    pub low_latency: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            allow_other: false,
            read_only: false,
            dev: false,
            suid: false,
            noexec: false,
            noatime: false,
            sync: false,
            dirsync: false,
            cache_seconds: CACHE_SECONDS_DEFAULT,
            passthrough: true,
            default_permissions: true,
            low_latency: true,
        }
    }
}

/// What is mounted where, and how.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// The directory to mount on.
    pub mountpoint: PathBuf,
    /// What df(1) shows as the device: `nexus:` and the directory of the store.
    pub source: String,
    /// The directory that holds the bodies: passthrough is tried with a file there.
    pub store_dir: PathBuf,
    /// What was said of this mount.
    pub manner: Manner,
    /// How many threads serve requests over /dev/fuse, one at least; over io_uring each core has its own.
    pub threads: usize,
    /// Locks are kept in the store and hold across its mounts, at the price of a request for each close; otherwise the kernel
    /// keeps them, for this mount alone.
    pub store_locks: bool,
    /// How requests come.
    pub transport: Transport,
    /// Who ends the mount when this process is killed.
    pub guard: Option<Arc<dyn Guard>>,
}

impl Default for MountOptions {
    /// What `nexus mount` does when nothing else is said; `mountpoint`, `source` and `store_dir` are still to be filled in.
    fn default() -> Self {
        Self {
            mountpoint: PathBuf::new(),
            source: String::from("nexus"),
            store_dir: PathBuf::new(),
            manner: Manner::default(),
            threads: 2,
            store_locks: false,
            transport: Transport::Auto,
            guard: None,
        }
    }
}

impl MountOptions {
    /// The lifetime of names and attributes.
    ///
    /// # Errors
    /// `Configuration` for a negative or infinite number.
    pub(super) fn lifetime(&self) -> Result<Duration> {
        Duration::try_from_secs_f64(self.manner.cache_seconds).map_err(|error| {
            let what = format!("use {} as the cache lifetime in seconds", self.manner.cache_seconds);
            Error::new(ErrorKind::Configuration, what).because(error)
        })
    }

    /// Whether the mount may be as it is asked for when `uid` mounts.
    ///
    /// # Errors
    /// Without the kernel's checks of mode bits, `Invalid` where others than who mounts are let in, `NotPermitted` where that
    /// is not root, to whom they would mean nothing.
    pub(super) fn permitted(&self, uid: u32) -> Result<()> {
        if self.manner.default_permissions {
            return Ok(());
        }
        if self.manner.allow_other {
            let what =
                "mount with no_default_permissions and allow_other: nothing would hold other users to the mode bits";
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        if uid != 0 {
            let what =
                "mount with no_default_permissions as an ordinary user: root only, who passes the mode bits anyway";
            return Err(Error::new(ErrorKind::NotPermitted, what));
        }
        Ok(())
    }

    /// The flags of mount(2).
    pub(super) fn flags(&self) -> MountFlags {
        let mut flags = MountFlags::empty();
        for (wanted, flag) in [
            (!self.manner.dev, MountFlags::NODEV),
            (!self.manner.suid, MountFlags::NOSUID),
            (self.manner.read_only, MountFlags::RDONLY),
            (self.manner.noexec, MountFlags::NOEXEC),
            (self.manner.noatime, MountFlags::NOATIME),
            (self.manner.sync, MountFlags::SYNCHRONOUS),
            (self.manner.dirsync, MountFlags::DIRSYNC),
        ] {
            flags.set(flag, wanted);
        }
        flags
    }

    /// The data of mount(2), as fuse.rst in the kernel's documentation lists them. `device` is the descriptor of
    /// /dev/fuse; the root is a directory.
    pub(super) fn data(&self, device: RawFd, uid: u32, gid: u32) -> CString {
        let mut data = format!("fd={device},rootmode=40000,user_id={uid},group_id={gid}");
        if self.manner.default_permissions {
            data.push_str(",default_permissions");
        }
        if self.manner.allow_other {
            data.push_str(",allow_other");
        }
        CString::new(data).expect("numbers and words hold no NUL")
    }

    /// The `-o` of fusermount3(1).
    ///
    /// # Errors
    /// `NotPermitted` for what fusermount3 grants root only.
    pub(super) fn helper_options(&self) -> Result<String> {
        if self.manner.dev || self.manner.suid || !self.manner.default_permissions {
            let what = "mount with dev, suid or no_default_permissions as an ordinary user: root only";
            return Err(Error::new(ErrorKind::NotPermitted, what));
        }
        let mut text = format!("subtype={SUBTYPE},default_permissions,fsname=");
        for c in self.source.chars() {
            // fusermount3 splits at a comma unless a backslash precedes it: unescaped, a name would inject options.
            if matches!(c, ',' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        for (wanted, word) in [
            (self.manner.allow_other, "allow_other"),
            (self.manner.read_only, "ro"),
            (self.manner.noexec, "noexec"),
            (self.manner.noatime, "noatime"),
            (self.manner.sync, "sync"),
            (self.manner.dirsync, "dirsync"),
        ] {
            if wanted {
                write!(text, ",{word}").expect("a String takes all");
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_mount() {
        let manner = Manner { allow_other: true, read_only: true, ..Manner::default() };
        let options = MountOptions { manner, ..MountOptions::default() };
        let data = options.data(5, 1000, 100);
        let wanted = "fd=5,rootmode=40000,user_id=1000,group_id=100,default_permissions,allow_other";
        assert_eq!(data.to_str().unwrap(), wanted);
        assert_eq!(options.flags(), MountFlags::NODEV | MountFlags::NOSUID | MountFlags::RDONLY);
        let manner = Manner { dev: true, suid: true, noexec: true, ..Manner::default() };
        let options = MountOptions { manner, ..MountOptions::default() };
        assert_eq!(options.flags(), MountFlags::NOEXEC);
    }

    #[test]
    fn without_the_checks_of_the_kernel_it_is_roots_alone() {
        let options = |allow_other| {
            let manner = Manner { default_permissions: false, allow_other, ..Manner::default() };
            MountOptions { manner, ..MountOptions::default() }
        };
        options(false).permitted(0).unwrap();
        assert_eq!(options(false).data(5, 0, 0).to_str().unwrap(), "fd=5,rootmode=40000,user_id=0,group_id=0");
        assert_eq!(options(false).permitted(1000).unwrap_err().kind(), ErrorKind::NotPermitted);
        assert_eq!(options(true).permitted(0).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(options(false).helper_options().unwrap_err().kind(), ErrorKind::NotPermitted);
    }

    #[test]
    fn a_name_injects_no_option() {
        let source = String::from("nexus:/a,allow_other\\,b");
        let manner = Manner { noatime: true, ..Manner::default() };
        let options = MountOptions { source, manner, ..MountOptions::default() };
        let wanted = r"subtype=nexus,default_permissions,fsname=nexus:/a\,allow_other\\\,b,noatime";
        assert_eq!(options.helper_options().unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let manner = Manner { suid: true, cache_seconds: -1.0, ..Manner::default() };
        let options = MountOptions { manner, ..MountOptions::default() };
        assert_eq!(options.helper_options().unwrap_err().kind(), ErrorKind::NotPermitted);
        assert_eq!(options.lifetime().unwrap_err().kind(), ErrorKind::Configuration);
    }
}
