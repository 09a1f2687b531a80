//! The lock that makes one process the owner of a store, flock(2) on `nexus.lock`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
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
                let holder = holder.map_or("another process".into(), describe);
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

/// The process that holds a lock: as the kernel tells it, proc_locks(5), or as it has signed. One that only reads signs
/// nothing, and one in another container has no number here.
fn holder(file: &File) -> Option<u32> {
    let told = fs::read_to_string("/proc/locks").ok().and_then(|table| {
        let found = file.metadata().ok()?;
        let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
        let place = format!("{major:02x}:{minor:02x}:{}", found.ino());
        table.lines().find_map(|line| {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            match words[..] {
                [_, "FLOCK", _, _, pid, at, ..] if at == place => pid.parse().ok().filter(|pid| *pid > 0),
                _ => None,
            }
        })
    });
    told.or_else(|| {
        let mut text = [0; 32];
        let length = file.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
    })
}

/// A process, with what it was started as where that can be seen: `process 42 (nexus fsck)`.
fn describe(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let program = words.next().and_then(|program| program.rsplit(|byte| *byte == b'/').next());
    let Some(program) = program else { return format!("process {pid}") };
    // What follows the command may be long, and is nobody's business.
    let shown: Vec<_> = std::iter::once(program).chain(words.next()).map(String::from_utf8_lossy).collect();
    format!("process {pid} ({})", shown.join(" ").escape_debug())
}

/// Whether a process has ended but for some of its threads, proc_pid_stat(5); one that is not there at all has as well.
fn is_dying(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    }
}
