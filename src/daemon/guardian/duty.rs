//! What the guardian's process does: it takes orders, and when the daemon has ended, it ends what it still watches.
//!
//! Two signs say that the daemon may have ended: its end of the pipe is closed, or the kernel tells of the end of the thread
//! that started this process. Neither proves it, and neither needs all threads of the daemon to be gone. The proof is
//! that its first thread is, which /proc tells, and which is looked for after a sign and not before: a daemon that is
//! stopped or slow gives none. A thread that hangs in the kernel has descriptors of its own, so it gives no sign of life either.
//!
//! An order that the daemon did not live to see answered is not carried out: the number could have passed to somebody else.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

use super::WORD;
use crate::daemon::process::Identity;
use crate::fuse::{Abort, own_descriptors};

/// By which the kernel tells that the thread has ended which started this process.
const SIGN: (Signal, i32) = (Signal::USR1, SIGUSR1);

/// What whoever ends a whole group of processes sends; the end of the daemon is this one's, too, and comes after its own.
const IGNORED: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT];

/// The pauses between two looks at a daemon that gave a sign and has not ended: the first, and the longest.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// What the guardian is told, one to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// There is a connection with this number, which is answered.
    Watch(u64),
    /// It has ended.
    Leave(u64),
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch(connection) => writeln!(f, "+{connection}"),
            Self::Leave(connection) => writeln!(f, "-{connection}"),
        }
    }
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        match line.split_at_checked(1)? {
            ("+", connection) => number(connection).map(Self::Watch),
            ("-", connection) => number(connection).map(Self::Leave),
            _ => None,
        }
    }
}

/// The answer to [`Order::Watch`]: the number, and why not.
fn answer(connection: u64, done: Result<(), &io::Error>) -> String {
    match done {
        Ok(()) => format!("{connection}\n"),
        Err(why) => format!("{connection} {}\n", why.to_string().replace('\n', " ")),
    }
}

/// What an answer says about a connection; `None` if it is about another one.
pub(super) fn answer_about(connection: u64, line: &str) -> Option<Result<(), String>> {
    let (number, why) = line.split_once(' ').unwrap_or((line, ""));
    if number.parse() != Ok(connection) {
        return None;
    }
    Some(if why.is_empty() { Ok(()) } else { Err(why.to_owned()) })
}

/// Watches the process with this number until it ends, or has nothing to watch any more. Nobody reads what this process would
/// say; where it cannot do its duty it ends, which the daemon notes.
pub(super) fn keep(daemon: u32) {
    let Ok(signs) = prepare() else { return };
    // Looked at behind the request for the sign: had the daemon ended in between, there would be none.
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    let Some(daemon) = Identity::of(daemon).filter(|found| parent == Some(found.pid)) else { return };
    Duty { daemon, watched: BTreeMap::new(), heard: Vec::new() }.keep(signs).ok();
}

/// Makes this process what it is to be. What is returned can be read when the kernel gave the sign.
fn prepare() -> io::Result<UnixStream> {
    // What the daemon itself was started with and does not know of would be kept open here; what it opens closes by itself.
    own_descriptors()?;
    rustix::thread::set_name(&std::ffi::CString::new(WORD)?)?;
    rustix::process::chdir("/")?;
    for signal in IGNORED {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (signs, tell) = UnixStream::pair()?;
    signs.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGN.1, tell)?;
    set_parent_process_death_signal(Some(SIGN.0))?;
    Ok(signs)
}

/// The duty on its way.
struct Duty {
    daemon: Identity,
    watched: BTreeMap<u64, Abort>,
    /// The beginning of a line.
    heard: Vec<u8>,
}

impl Duty {
    fn keep(mut self, mut signs: UnixStream) -> io::Result<()> {
        let mut orders = Some(io::stdin());
        let mut look_again = None;
        loop {
            let (told, given) = wait(orders.as_ref(), &signs, look_again)?;
            if given {
                while signs.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
            }
            if told && !self.take_orders()? {
                orders = None;
                if self.watched.is_empty() {
                    return Ok(());
                }
            }
            if given || orders.is_none() || look_again.is_some() {
                if self.daemon.has_ended() {
                    return self.end_all();
                }
                // Between a sign and the end there is a moment, and a thread that ends may not be the whole process.
                let next = look_again.map_or(LOOK_AGAIN.0, |last: Duration| last * 2);
                look_again = Some(next.min(LOOK_AGAIN.1));
            }
        }
    }

    /// Whether there may be more.
    fn take_orders(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        self.heard.extend_from_slice(&bytes[..length]);
        while let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.heard.drain(..=end).collect();
            if let Some(order) = str::from_utf8(&line).ok().and_then(|line| Order::parse(line.trim_end())) {
                self.carry_out(order);
            }
        }
        Ok(length > 0)
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Leave(connection) => drop(self.watched.remove(&connection)),
            Order::Watch(connection) => {
                let opened = Abort::of(connection);
                // Behind opening it: whoever waits for the answer keeps his mount, and with it the number.
                if self.daemon.has_ended() {
                    return;
                }
                let text = answer(connection, opened.as_ref().map(drop));
                // Whoever does not hear it takes the mount for one that nobody watches.
                io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).ok();
                if let Ok(mut abort) = opened {
                    abort.settle();
                    self.watched.insert(connection, abort);
                }
            }
        }
    }

    /// All at once: a request of one mount may wait for an answer to another.
    fn end_all(self) -> io::Result<()> {
        let ends: Vec<_> = self.watched.into_values().map(Abort::end).collect();
        ends.into_iter().collect()
    }
}

/// Waits for orders or a sign; whether there are any of them.
fn wait(orders: Option<&io::Stdin>, signs: &UnixStream, patience: Option<Duration>) -> io::Result<(bool, bool)> {
    let mut entries = vec![PollFd::new(signs, PollFlags::IN)];
    entries.extend(orders.map(|orders| PollFd::from_borrowed_fd(orders.as_fd(), PollFlags::IN)));
    let patience = patience.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(&mut entries, patience.as_ref()) {
        Ok(_) => {
            let is_ready = |index: usize| entries.get(index).is_some_and(|entry| !entry.revents().is_empty());
            Ok((is_ready(1), is_ready(0)))
        }
        // By a signal, of which the next look tells.
        Err(Errno::INTR) => Ok((false, false)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_are_lines() {
        for order in [Order::Watch(0), Order::Watch(u64::MAX), Order::Leave(77)] {
            let text = order.to_string();
            assert_eq!(Order::parse(text.strip_suffix('\n').unwrap()), Some(order));
        }
        for bad in ["", "+", "-x", "5", "*5", "+5 ", "\u{e4}5"] {
            assert_eq!(Order::parse(bad), None, "{bad}");
        }
        assert_eq!(answer_about(7, answer(7, Ok(())).trim_end()), Some(Ok(())));
        let why = io::Error::other("no\nreason");
        assert_eq!(answer_about(7, answer(7, Err(&why)).trim_end()), Some(Err("no reason".into())));
        assert_eq!(answer_about(8, "7"), None);
    }
}
