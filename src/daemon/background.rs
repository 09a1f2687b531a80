//! A process in the background that says whether it succeeded before its starter goes, fork(2).
//!
//! The starter learns of readiness, of an error, or of a death before either through a pipe: its end is the news.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

use crate::advice;
use crate::error::{Error, ErrorKind, Result};

/// Which of the two processes this is.
#[derive(Debug)]
pub(super) enum Side {
    /// The one that was there.
    Caller(Start),
    /// The new one, in a session of its own, in `/`, with standard streams and nothing else open.
    Daemon(Reporter),
}

/// Splits this process in two.
///
/// # Errors
/// `Io` when the process has threads already (a lock one of them holds would be held for ever in the new process) or
/// the system refuses.
pub(super) fn fork() -> Result<Side> {
    let context = "starting a background process";
    let failed = |e: std::io::Error| Error::io(context, e);
    let threads = std::fs::read_dir("/proc/self/task").map_err(failed)?.count();
    if threads != 1 {
        return Err(Error::new(
            ErrorKind::Io,
            format!("{context}: this process has {threads} threads, and only one without can be split"),
        ));
    }
    let (from_daemon, to_caller) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    // SAFETY: this process has one thread (checked above), so the new one is a whole copy and may do anything.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(failed(std::io::Error::last_os_error())),
        0 => {
            drop(from_daemon);
            let reporter = Reporter(File::from(to_caller));
            match detach(&reporter.0) {
                Ok(()) => Ok(Side::Daemon(reporter)),
                Err(e) => {
                    reporter.failed(&Error::io(context, e));
                    std::process::exit(1)
                }
            }
        }
        pid => Ok(Side::Caller(Start { pid, news: File::from(from_daemon) })),
    }
}

/// Lets go of the terminal, the directory and the descriptors of the starter, daemon(7).
fn detach(keep: &File) -> std::io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let keep = keep.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, keep.saturating_sub(1)), (keep.saturating_add(1).max(3), u32::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: closes descriptors that values of the starter's code may own, but that code never runs in this
        // process again, nor are its values dropped: whoever calls fork() here ends in process::exit.
        if unsafe { libc::close_range(first, last, 0) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What the new process says, once.
#[derive(Serialize, Deserialize)]
enum News {
    Ready,
    Failed { kind: String, context: String, reason: String, hint: String },
}

/// The new process's end of the pipe.
#[derive(Debug)]
pub(super) struct Reporter(File);

impl Reporter {
    /// Says that all is well; the starter returns.
    ///
    /// # Errors
    /// `Io` when the starter is gone: nobody asked for this process to stay.
    pub(super) fn ready(self) -> Result<()> {
        self.send(&News::Ready).map_err(|e| Error::io("reporting that the mount answers", e))
    }

    /// Says why there will be no success.
    pub(super) fn failed(self, error: &Error) {
        let news = News::Failed {
            kind: error.kind().describe().to_owned(),
            context: error.context().to_owned(),
            reason: advice::reason(error),
            hint: advice::hint(error).unwrap_or_default().to_owned(),
        };
        if let Err(e) = self.send(&news) {
            log::error!("{}; and reporting it failed: {e}", advice::sentence(error));
        }
    }

    fn send(mut self, news: &News) -> std::io::Result<()> {
        self.0.write_all(&serde_json::to_vec(news)?)
    }
}

/// The starter's end of the pipe.
#[derive(Debug)]
pub(super) struct Start {
    pid: libc::pid_t,
    news: File,
}

impl Start {
    /// Waits for the news.
    ///
    /// # Errors
    /// What the new process failed with; `Io` when it died without a word.
    pub(super) fn wait(mut self) -> Result<()> {
        let mut text = Vec::new();
        self.news.read_to_end(&mut text).map_err(|e| Error::io("waiting for the background process", e))?;
        match serde_json::from_slice(&text) {
            Ok(News::Ready) => Ok(()),
            Ok(News::Failed { kind, context, reason, hint }) => {
                self.reap();
                Err(advice::refusal(kind_of(&kind), context, reason, hint))
            }
            Err(_) => Err(advice::refusal(
                ErrorKind::Io,
                "starting the background process",
                format!("it {} before the mount answered", self.reap()),
                "the reason may stand above; 'nexus mount --foreground' with NEXUS_LOG=debug shows more",
            )),
        }
    }

    /// Takes the end of the new process from the kernel, and says it in words.
    fn reap(&self) -> String {
        let ended = Pid::from_raw(self.pid)
            .and_then(|pid| rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok().flatten());
        match ended.map(|(_, status)| status) {
            Some(status) => describe(status),
            None => "ended".into(),
        }
    }
}

fn describe(status: WaitStatus) -> String {
    if let Some(signal) = status.terminating_signal() {
        format!("was ended by signal {signal}")
    } else if let Some(code) = status.exit_status() {
        format!("ended with status {code}")
    } else {
        "ended".into()
    }
}

/// The kind whose description this is.
fn kind_of(description: &str) -> ErrorKind {
    use ErrorKind as K;
    // Those that a mount can fail with; what is not here arrives as `Io`, with its words intact.
    let kinds = [
        K::NotFound,
        K::Exists,
        K::NotADirectory,
        K::IsADirectory,
        K::NotEmpty,
        K::Denied,
        K::NotPermitted,
        K::ReadOnly,
        K::Invalid,
        K::NameTooLong,
        K::NoSpace,
        K::Unsupported,
        K::Damaged,
        K::InUse,
        K::Configuration,
        K::Incompatible,
    ];
    kinds.into_iter().find(|kind| kind.describe() == description).unwrap_or(K::Io)
}
