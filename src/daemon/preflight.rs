//! What is checked before a mount is attempted, so that a mistake costs a sentence and not a hanging directory.
//!
//! All checks are repeated or made harmless by the kernel and the store; here they get words. Nothing is written; a dead
//! mount of ours is cleared away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::mount_table::{data_dir_of, mount_at, source_of};
use super::{MountFlags, MountRequest, MountSpec};
use crate::advice::refusal;
use crate::error::{Error, ErrorKind, Result};
use crate::fuse;
use crate::model::Principal;
use crate::view::Settings;

/// Mounts that may be attempted: paths are canonical and do not contain each other.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The store.
    pub(super) data_dir: PathBuf,
    /// The source of its mounts, which names the store.
    pub(super) source: String,
    /// Where and how.
    pub(super) berths: Vec<Berth>,
    /// Memory for pages of the database, in MiB.
    pub(super) cache_size_mb: u64,
}

/// A place for one mount.
#[derive(Clone, Debug)]
pub(super) struct Berth {
    /// Where.
    pub(super) mountpoint: PathBuf,
    /// As whom.
    pub(super) view: Settings,
    /// How.
    pub(super) flags: MountFlags,
}

impl Plan {
    /// The rules, which are the same for all mounts of a store.
    pub(super) fn settings(&self) -> Settings {
        self.berths.first().map_or_else(|| Settings::of(Principal::default()), |berth| berth.view.clone())
    }

    /// What is attempted, in words.
    pub(super) fn attempted(&self) -> String {
        let places: Vec<_> = self.berths.iter().map(|berth| berth.mountpoint.display().to_string()).collect();
        format!("mounting on {}", places.join(" and "))
    }
}

/// Checks a request.
pub(super) fn plan(request: &MountRequest) -> Result<Plan> {
    let attempted = match request.mounts.first() {
        Some(first) => format!("mounting on {}", first.mountpoint.display()),
        None => return Err(Error::new(ErrorKind::Invalid, "mounting nowhere")),
    };
    let data_dir = locate_store(&request.data_dir, &attempted)?;
    // The mount table must name the store so that it is found again, and it is read as text by df(1) and others.
    let Some(source) = data_dir.to_str().map(source_of) else {
        return Err(refusal(
            ErrorKind::Invalid,
            attempted,
            format!("the path of the data directory, {}, is not UTF-8", data_dir.display()),
            "rename it",
        ));
    };
    let mut berths: Vec<Berth> = Vec::new();
    for spec in &request.mounts {
        let berth = berth(&data_dir, spec)?;
        if let Some(other) = berths.iter().find(|other| touch(&other.mountpoint, &berth.mountpoint)) {
            return Err(refusal(
                ErrorKind::Invalid,
                format!("mounting on {}", spec.mountpoint.display()),
                format!(
                    "it is, or lies in or around, another mountpoint of the same store, {}",
                    other.mountpoint.display()
                ),
                "choose directories that do not contain each other",
            ));
        }
        berths.push(berth);
    }
    Ok(Plan { data_dir, source, berths, cache_size_mb: request.cache_size_mb })
}

/// Whether one of two paths contains the other.
fn touch(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Checks one mount of the store in `data_dir`, which is canonical.
pub(super) fn berth(data_dir: &Path, spec: &MountSpec) -> Result<Berth> {
    let attempted = format!("mounting on {}", spec.mountpoint.display());
    let mountpoint = locate(&spec.mountpoint, &attempted)?;
    fuse::clear_dead(&mountpoint)?;
    check_directory(&mountpoint, &attempted)?;
    check_apart(data_dir, &mountpoint, &attempted)?;
    if let Some(entry) = mount_at(&mountpoint)?
        && let Some(mounted) = data_dir_of(&entry)
    {
        return Err(refusal(
            ErrorKind::InUse,
            attempted,
            format!("the store {} is mounted there already", mounted.display()),
            format!("to unmount it: nexus umount {}", mountpoint.display()),
        ));
    }
    if !Path::new("/dev/fuse").exists() {
        return Err(refusal(
            ErrorKind::Unsupported,
            attempted,
            "there is no /dev/fuse",
            "as root: modprobe fuse (in a container, pass the device in: --device /dev/fuse)",
        ));
    }
    Ok(Berth { mountpoint, view: spec.view.clone(), flags: spec.flags.clone() })
}

/// The refusal of a data directory without a store.
pub(super) fn no_store(data_dir: &Path, attempted: impl Into<String>) -> Error {
    refusal(
        ErrorKind::NotFound,
        attempted,
        format!("there is no store in {}", data_dir.display()),
        format!("to make one: nexus init {}", data_dir.display()),
    )
}

/// A mountpoint as the kernel spells it, whether or not what is mounted there still answers.
pub(super) fn locate(mountpoint: &Path, attempted: &str) -> Result<PathBuf> {
    fuse::spelled_by_kernel(mountpoint).map_err(|e| match e.kind() {
        ErrorKind::NotFound => refusal(
            ErrorKind::NotFound,
            attempted,
            "there is no such directory",
            format!("to make it: mkdir -p {}", mountpoint.display()),
        ),
        _ => e,
    })
}

fn locate_store(data_dir: &Path, attempted: &str) -> Result<PathBuf> {
    match fs::canonicalize(data_dir) {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(path) => {
            Err(Error::new(ErrorKind::NotADirectory, format!("{attempted}: the data directory {}", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(no_store(data_dir, attempted)),
        Err(e) => Err(Error::io(format!("{attempted}: looking at the data directory {}", data_dir.display()), e)),
    }
}

fn check_directory(mountpoint: &Path, attempted: &str) -> Result<()> {
    let attributes = fs::metadata(mountpoint).map_err(|e| Error::io(attempted.to_owned(), e))?;
    if attributes.is_dir() {
        return Ok(());
    }
    Err(refusal(ErrorKind::NotADirectory, attempted, "only a directory can be a mountpoint", String::new()))
}

/// A store below its own mount would have to read itself to answer; a mount below the store would hide or be taken for
/// a part of it.
fn check_apart(data_dir: &Path, mountpoint: &Path, attempted: &str) -> Result<()> {
    let why = if data_dir == mountpoint {
        "it is the data directory itself"
    } else if data_dir.starts_with(mountpoint) {
        "the data directory lies below it, and would be hidden by the mount"
    } else if mountpoint.starts_with(data_dir) {
        "it lies below the data directory, where only the store may write"
    } else {
        return Ok(());
    };
    Err(refusal(ErrorKind::Invalid, attempted, why, format!("choose a mountpoint outside {}", data_dir.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(data_dir: &Path, mountpoint: &Path) -> Error {
        plan(&request(data_dir, &[mountpoint])).unwrap_err()
    }

    fn request(data_dir: &Path, mountpoints: &[&Path]) -> MountRequest {
        let spec = |mountpoint: &&Path| MountSpec {
            mountpoint: mountpoint.into(),
            view: Settings::of(Principal::default()),
            flags: MountFlags::default(),
        };
        MountRequest { data_dir: data_dir.into(), mounts: mountpoints.iter().map(spec).collect(), cache_size_mb: 64 }
    }

    #[test]
    fn mountpoints_must_not_contain_each_other() {
        let directory = tempfile::TempDir::new().unwrap();
        let base = directory.path();
        for below in ["data", "a/b", "c"] {
            fs::create_dir_all(base.join(below)).unwrap();
        }
        let places = [base.join("a"), base.join("a/b"), base.join("c")];
        for (one, other) in [(0, 1), (1, 0), (2, 2)] {
            let refused = plan(&request(&base.join("data"), &[&places[one], &places[other]])).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        }
        let both = plan(&request(&base.join("data"), &[&places[0], &places[2]])).unwrap();
        assert_eq!(both.berths.len(), 2);
        assert_eq!(plan(&request(base, &[])).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn store_and_mountpoint_must_be_there_and_apart() {
        let directory = tempfile::TempDir::new().unwrap();
        let base = directory.path();
        for below in ["data/below", "above/data", "mnt"] {
            fs::create_dir_all(base.join(below)).unwrap();
        }
        fs::write(base.join("file"), "").unwrap();
        std::os::unix::fs::symlink("data", base.join("link")).unwrap();
        let cases = [
            ("none", "mnt", ErrorKind::NotFound),
            ("file", "mnt", ErrorKind::NotADirectory),
            ("data", "none", ErrorKind::NotFound),
            ("data", "file", ErrorKind::NotADirectory),
            ("data", "data", ErrorKind::Invalid),
            ("data", "data/below", ErrorKind::Invalid),
            ("data", "link/below", ErrorKind::Invalid),
            ("above/data", "above", ErrorKind::Invalid),
        ];
        for (data_dir, mountpoint, kind) in cases {
            let error = refused(&base.join(data_dir), &base.join(mountpoint));
            assert_eq!(error.kind(), kind, "{data_dir} on {mountpoint}: {error}");
        }
        // A sibling whose name merely starts alike is apart.
        check_apart(Path::new("/a/data"), Path::new("/a/data2"), "").unwrap();
    }
}
