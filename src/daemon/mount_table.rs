//! Our mounts among all that is mounted: which store is where.
//!
//! The source of a mount names its store, so nothing else has to be remembered to find one from the other.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::list::served_mount_of;
use crate::advice;
use crate::error::{Error, Result};
use crate::fuse::{self, MountEntry};

/// What stands before the data directory in the source of our mounts.
const SOURCE_PREFIX: &str = "nexus:";

/// The source our mounts carry, shown by df(1).
pub(super) fn source_of(data_dir: &str) -> String {
    format!("{SOURCE_PREFIX}{data_dir}")
}

/// The store behind a mount, if it is one of ours.
#[must_use]
pub fn data_dir_of(entry: &MountEntry) -> Option<&Path> {
    let path = entry.source.as_bytes().strip_prefix(SOURCE_PREFIX.as_bytes())?;
    entry.is_nexus().then(|| Path::new(OsStr::from_bytes(path)))
}

/// What is mounted on `mountpoint` (as the kernel spells it); of several, the one on top.
///
/// # Errors
/// `Io` when the mount table cannot be read.
pub fn mount_at(mountpoint: &Path) -> Result<Option<MountEntry>> {
    Ok(fuse::mounts_at(mountpoint)?.pop())
}

/// A mount of the store in `data_dir` (canonical), if this process can see one.
///
/// # Errors
/// `Io` when the mount table cannot be read.
pub fn mount_of(data_dir: &Path) -> Result<Option<MountEntry>> {
    Ok(fuse::mounts()?.into_iter().find(|entry| data_dir_of(entry) == Some(data_dir)))
}

/// The refusal of a store that another process holds, with how to come by it: `data_dir` is mounted somewhere, or, while
/// it is being closed after an unmount, held and not mounted.
#[must_use]
pub fn explain_in_use(error: &Error, data_dir: &Path) -> Error {
    let canonical = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    let hint = match served_mount_of(&canonical) {
        Ok(Some(entry)) => {
            format!("it is mounted: nexus umount {}", entry.mountpoint.display())
        }
        _ => "wait until that process has ended, or stop it".into(),
    };
    advice::with_hint(error, hint)
}

/// What is mounted below `mountpoint`.
pub(super) fn mounts_below(mountpoint: &Path) -> Result<Vec<MountEntry>> {
    let mut entries = fuse::mounts()?;
    entries.retain(|entry| entry.mountpoint != mountpoint && entry.mountpoint.starts_with(mountpoint));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_mounts_have_a_store() {
        let mut entry = mount_at(Path::new("/")).unwrap().unwrap();
        entry.source = source_of("/srv/a b").into();
        assert_eq!(data_dir_of(&entry), None);
        entry.filesystem_type = "fuse.nexus".into();
        assert_eq!(data_dir_of(&entry), Some(Path::new("/srv/a b")));
        entry.source = "/srv/a b".into();
        assert_eq!(data_dir_of(&entry), None);
        assert!(mounts_below(Path::new("/")).unwrap().iter().any(|e| e.filesystem_type == "proc"));
    }
}
