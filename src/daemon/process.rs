//! Another process: known beyond the reuse of its number, and waited for although it is no child.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Result};

/// One process for ever: its number and when it started, in clock ticks since the machine did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: u32,
    /// `starttime` of proc_pid_stat(5).
    pub(super) started: u64,
}

impl Identity {
    /// This process.
    ///
    /// # Errors
    /// `Io` when `/proc` is not there.
    pub(super) fn of_this_process() -> Result<Self> {
        let pid = std::process::id();
        Self::of(pid).ok_or_else(|| Error::io(format!("reading /proc/{pid}/stat"), io::ErrorKind::InvalidData.into()))
    }

    /// The process that has this number now; one that has ended has it until its parent takes note.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: field(&stat, 22)?.parse().ok()? })
    }

    /// Whether its first thread has ended, of its own accord or killed, whatever others of it may still do in the kernel.
    pub(super) fn has_ended(self) -> bool {
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => {
                let another = field(&stat, 22).is_some_and(|started| started.parse() != Ok(self.started));
                another || matches!(field(&stat, 3), Some("Z" | "X" | "x"))
            }
            Err(e) => e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH),
        }
    }
}

/// A field of proc_pid_stat(5) from the third on, as it numbers them. The name before them, in parentheses, may hold anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)
}

/// A process that was there when it was looked for; it can be waited for.
#[derive(Debug)]
pub(super) struct Process {
    identity: Identity,
    descriptor: OwnedFd,
}

impl Process {
    /// The process, `None` if it has ended.
    ///
    /// # Errors
    /// `Io` when pidfd_open(2) fails for another reason than that.
    pub(super) fn open(identity: Identity) -> Result<Option<Self>> {
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(e) => {
                return Err(Error::io(format!("watching process {}", identity.pid), e.into()));
            }
        };
        // Asked after the descriptor was had: from here on the number cannot pass to another process unseen.
        let same = Identity::of(identity.pid) == Some(identity);
        let process = Self { identity, descriptor };
        // A zombie is found too. Its state in /proc will not do: a process whose first thread has ended shows as one
        // while its other threads still hold the lock of the store.
        Ok(if same && !process.wait(Duration::ZERO)? { Some(process) } else { None })
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Waits until it has ended, at most `patience`; says whether it has.
    ///
    /// # Errors
    /// `Io` when poll(2) fails.
    pub(super) fn wait(&self, patience: Duration) -> Result<bool> {
        let mut entry = libc::pollfd { fd: self.descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the pointer is to one pollfd that lives through the call, and the count says one.
        let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok(false);
        }
        Err(Error::io(format!("waiting for process {}", self.identity.pid), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let process = Process::open(identity).unwrap().unwrap();
        assert!(!process.wait(Duration::from_millis(1)).unwrap());
        assert!(!identity.has_ended());
        let another = Identity { started: identity.started + 1, ..identity };
        assert!(Process::open(another).unwrap().is_none() && another.has_ended());
        child.kill().unwrap();
        assert!(process.wait(Duration::from_secs(10)).unwrap());
        // Ended, although its parent has not asked yet.
        assert!(Process::open(identity).unwrap().is_none() && identity.has_ended());
        child.wait().unwrap();
        assert!(Process::open(identity).unwrap().is_none() && identity.has_ended());
    }
}
