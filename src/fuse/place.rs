//! The place of a mount: how the kernel spells it, and whether what is mounted there is dead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use log::warn;

use super::device;
use super::mountinfo::{MountEntry, mounts_at};
use crate::advice::refusal;
use crate::error::{Error, ErrorKind, Result};

/// Dead mounts may lie on top of each other, one for each kill and mount; more than this is something else.
const DEAD_MOUNTS_MAX: usize = 16;

/// The absolute path without symbolic links, whether or not what is mounted there answers: the last component is not asked
/// when its parent will do.
///
/// # Errors
/// `NotFound` for a path that is not there, what the system reports.
pub fn spelled_by_kernel(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io(format!("find {}", path.display()), error);
    let error = match fs::canonicalize(path) {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(failed(error)),
        // Dead, or another user's, who lets nobody else look.
        Err(error) => error,
    };
    let absolute = std::path::absolute(path).map_err(failed)?;
    match (absolute.parent().map(fs::canonicalize), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => Ok(parent.join(name)),
        _ => Err(failed(error)),
    }
}

/// Takes away the mounts of nexus at a place, spelled by the kernel, that nobody serves any more: their daemon was killed.
///
/// # Errors
/// `InUse` for a dead mount of another filesystem, `NotPermitted` for another user's.
pub fn clear_dead(path: &Path) -> Result<()> {
    let attempted = || format!("mounting on {}", path.display());
    for _ in 0..DEAD_MOUNTS_MAX {
        if !is_dead(path) {
            return Ok(());
        }
        let Some(there) = mounts_at(path)?.pop().filter(MountEntry::is_nexus) else {
            return Err(refusal(
                ErrorKind::InUse,
                attempted(),
                "a dead mount of another filesystem is there",
                format!("as root: umount -l {}", path.display()),
            ));
        };
        warn!("clearing the dead mount of {} on {}", there.source.to_string_lossy(), path.display());
        device::unmount(path, true)?;
    }
    Err(Error::new(ErrorKind::InUse, format!("{}: a dead mount keeps coming back", attempted())))
}

/// Whether nobody answers for a FUSE mount any more. Asks statfs(2), which always reaches the daemon: what stat(2) answers
/// may come from the kernel's cache long after it is gone.
#[must_use]
pub fn is_dead(path: &Path) -> bool {
    rustix::fs::statfs(path).is_err_and(|error| says_dead(&error.into()))
}

/// What a FUSE mount says whose daemon is gone, `fuse_conn` of the kernel: not connected, or aborted.
fn says_dead(error: &io::Error) -> bool {
    // The last is what requests in a ring hear whose daemon is just going.
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED))
}
