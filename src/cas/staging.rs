//! Drafts as files: `staging/<number>`, on the same disk as the blobs so that sealing moves no byte.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use super::{BlobStore, sync_directory};
use crate::error::{Error, Result};
use crate::meta::StagingId;
use crate::model::{Digest, Timestamp};

/// Chooses the signal of a lease, fcntl(2); include/uapi/asm-generic/fcntl.h. The crate libc does not have it.
const F_SETSIG: libc::c_int = 10;

/// The staging files of a store.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    /// Numbers are used once in the life of a process and never while a file has them.
    next: AtomicI64,
}

/// What [`Staging::scan`] found.
#[derive(Debug, Default)]
pub struct Staged {
    /// The numbers of the staging files, ascending.
    pub drafts: Vec<StagingId>,
    /// Files whose names are no numbers: what a seal that was cut short leaves.
    pub cut_short: Vec<PathBuf>,
    /// What is no file.
    pub strangers: Vec<PathBuf>,
}

impl Staging {
    /// The staging files below `data_dir`, which has to be opened with [`Staging::scan`] before files are made.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.join("staging"), next: AtomicI64::new(1) }
    }

    /// Makes the directory of a new store.
    ///
    /// # Errors
    /// What mkdir(2) reports.
    pub fn create(&self) -> Result<()> {
        fs::create_dir(&self.root).map_err(|e| Error::io("make the staging directory", e))
    }

    /// What is in the directory; new files are given numbers above those that are there.
    ///
    /// # Errors
    /// What readdir(3) reports.
    pub fn scan(&self) -> Result<Staged> {
        let mut found = Staged::default();
        let failed = |e| Error::io("list the staging directory", e);
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(StagingId);
            if entry.file_type().map_err(failed)?.is_dir() {
                found.strangers.push(path);
            } else {
                match number {
                    // Not a second spelling of a number, such as 007.
                    Some(number) if self.path(number) == path => found.drafts.push(number),
                    _ => found.cut_short.push(path),
                }
            }
        }
        found.drafts.sort_unstable();
        let next = found.drafts.last().map_or(1, |last| last.0.saturating_add(1));
        self.next.fetch_max(next, Ordering::Relaxed);
        Ok(found)
    }

    /// Where a staging file is.
    #[must_use]
    pub fn path(&self, id: StagingId) -> PathBuf {
        self.root.join(id.0.to_string())
    }

    /// A new empty file, open for reading and writing.
    ///
    /// # Errors
    /// What open(2) reports.
    pub fn make(&self) -> Result<(StagingId, File)> {
        let id = StagingId(self.next.fetch_add(1, Ordering::Relaxed));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(id))
            .map_err(|e| Error::io(format!("make staging file {}", id.0), e))?;
        Ok((id, file))
    }

    /// Opens a staging file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    pub fn open(&self, id: StagingId) -> Result<File> {
        File::options()
            .read(true)
            .write(true)
            .open(self.path(id))
            .map_err(|e| Error::io(format!("open staging file {}", id.0), e))
    }

    /// Sets the modification time of a staging file, if it is there. Opened for reading, not to be taken for a writer.
    ///
    /// # Errors
    /// What open(2) and futimens(3) report.
    pub fn set_modified(&self, id: StagingId, mtime: Timestamp) -> Result<()> {
        match File::open(self.path(id)).and_then(|file| file.set_modified(mtime.into())) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("set the time of staging file {}", id.0), e))
            }
            _ => Ok(()),
        }
    }

    /// Opens a staging file for reading, if nobody has it open for writing. Somebody may have: a process to which the
    /// kernel handed the file goes on writing to it when the daemon was killed, and its bytes must not change under a
    /// digest. A read lease, fcntl(2) `F_SETLEASE`, is granted only on a file that nobody has open for writing; on a disk
    /// without leases nothing can be said, and the file counts as closed.
    ///
    /// # Errors
    /// What open(2) and fcntl(2) report.
    pub fn open_for_sealing(&self, id: StagingId) -> Result<Option<File>> {
        let file = File::open(self.path(id)).map_err(|e| Error::io(format!("open staging file {}", id.0), e))?;
        let control = |command: libc::c_int, argument: libc::c_int| {
            // SAFETY: these commands take an integer and touch no memory of ours; the descriptor is open.
            let outcome = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), command, argument) };
            if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // Who opens the file between the two calls waits for the second, and the process gets a signal: one that nobody
        // heeds instead of SIGIO, which would end it.
        control(F_SETSIG, libc::SIGURG).map_err(|e| Error::io("choose the signal of a lease", e))?;
        match control(libc::F_SETLEASE, libc::F_RDLCK) {
            Ok(()) => control(libc::F_SETLEASE, libc::F_UNLCK).map_err(|e| Error::io("give back a lease", e))?,
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => return Ok(None),
            Err(_) => {}
        }
        Ok(Some(file))
    }

    /// Gives a blob's file a name in staging as well, on the way to being written again.
    ///
    /// # Errors
    /// What link(2) reports.
    pub fn take_back(&self, blobs: &BlobStore, digest: &Digest) -> Result<(StagingId, File)> {
        let id = StagingId(self.next.fetch_add(1, Ordering::Relaxed));
        fs::hard_link(blobs.path(digest), self.path(id))
            .map_err(|e| Error::io(format!("take back blob {digest}"), e))?;
        Ok((id, self.open(id)?))
    }

    /// Makes the names of all staging files durable.
    ///
    /// # Errors
    /// What fsync(2) reports.
    pub fn sync(&self) -> Result<()> {
        sync_directory(&self.root)
    }

    /// Removes a staging file, if it is there.
    ///
    /// # Errors
    /// What unlink(2) reports.
    pub fn remove(&self, id: StagingId) -> Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(format!("remove staging file {}", id.0), e)),
            _ => Ok(()),
        }
    }
}
