//! The lock that makes one process the owner of a store, flock(2) on `nexus.lock`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind, Result};

/// How long to wait for a holder that was killed: its lock goes with the last of its threads.
const DYING_MAX: Duration = Duration::from_secs(10);

/// A lock that is held. It goes when this is dropped, also where a child that is about to call exec(2) still has a copy of
/// the descriptor.
#[derive(Debug)]
pub(super) struct StoreLock(File);

impl StoreLock {
    /// Takes the exclusive lock of a store, or a shared one for reading.
    ///
    /// # Errors
    /// `InUse` with the number of the process that holds it; what open(2) reports.
    pub(super) fn take(data_dir: &Path, read_only: bool) -> Result<Self> {
        let path = data_dir.join("nexus.lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io(format!("open the lock of the store, {}", path.display()), e))?;
        let how =
            if read_only { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let asked = Instant::now();
        while flock(&file, how).is_err() {
            let holder = holder(&file);
            if !holder.is_some_and(is_dying) || asked.elapsed() > DYING_MAX {
                let holder = holder.map_or("another process".into(), |pid| format!("process {pid}"));
                let attempted = format!("the store in {} is held by {holder}", data_dir.display());
                return Err(Error::new(ErrorKind::InUse, attempted));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let lock = Self(file);
        if !read_only {
            lock.sign().map_err(|e| Error::io("write the lock of the store", e))?;
        }
        Ok(lock)
    }

    /// Writes the number of this process into the lock.
    fn sign(&self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        if let Err(e) = flock(&self.0, FlockOperation::Unlock) {
            log::error!("giving back the lock of the store: {e}");
        }
    }
}

/// The process that signed a lock.
fn holder(file: &File) -> Option<u32> {
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
}

/// Whether a process has ended but for some of its threads, proc_pid_stat(5); one that is not there at all has as well.
fn is_dying(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}
