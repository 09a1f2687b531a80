//! Why requests cannot come over io_uring, and what would mend it.

use std::fmt;
use std::fs;
use std::io;

/// Where the kernel says whether it offers the ring at all; a kernel that does not know it has no such file.
const PARAMETER: &str = "/sys/module/fuse/parameters/enable_uring";

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Obstacle {
    /// What there is.
    pub(in crate::fuse) why: String,
    /// What mends it; empty when only another kernel would.
    pub(in crate::fuse) hint: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

/// What the settings of the kernel forbid.
pub(super) fn of_kernel() -> Option<Obstacle> {
    match fs::read_to_string(PARAMETER) {
        Ok(text) if text.trim() == "Y" => None,
        Ok(_) => Some(Obstacle {
            why: "this kernel can, and is set not to".into(),
            hint: format!("as root: echo 1 > {PARAMETER}"),
        }),
        Err(_) => Some(Obstacle {
            why: "this kernel has no FUSE over io_uring; Linux 6.14 and later may have it".into(),
            hint: String::new(),
        }),
    }
}

/// What making the rings failed with.
pub(super) fn of_io_uring(error: &io::Error) -> Obstacle {
    let (why, hint) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (
            "this process may not use io_uring",
            "as root: sysctl kernel.io_uring_disabled=0; in a container, its seccomp profile may forbid it",
        ),
        Some(libc::ENOSYS) => ("this kernel has no io_uring, or a seccomp profile hides it", ""),
        Some(libc::EMFILE) => ("the limit of open files is too low for a ring on each core", "raise it: ulimit -n"),
        Some(libc::EINVAL) => ("the io_uring of this kernel is too old; Linux 6.14 and later will do", ""),
        _ => ("the rings cannot be made", ""),
    };
    Obstacle { why: format!("{why}: {error}"), hint: hint.into() }
}

/// The handshake came without an offer.
pub(super) fn of_handshake() -> Obstacle {
    Obstacle { why: "the kernel does not offer it to this mount".into(), hint: String::new() }
}

/// Locks hold across mounts, so there are several, and nobody ends them if the daemon is killed.
pub(super) fn of_several_mounts() -> Obstacle {
    Obstacle {
        why: "with several mounts of a store, and nobody to end them, programs that use one may hang if the daemon is \
              killed"
            .into(),
        hint: "as root: mount -t fusectl none /sys/fs/fuse/connections; --transport io_uring takes it all the same"
            .into(),
    }
}

/// What registering failed with, after everything else had been agreed.
pub(super) fn of_registration(error: &io::Error) -> Obstacle {
    Obstacle { why: format!("the kernel does not take the queues: {error}"), hint: String::new() }
}
