//! What is printed: results on standard output, everything else on standard error.
//!
//! A reader that went away (`nexus ... | head`) is no failure; a result that cannot be written for another reason is.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use nexus::advice;
use nexus::error::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A line of the result.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("writing to standard output", e)),
        _ => Ok(()),
    }
}

/// A result as a JSON object on a line.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<()> {
    let text =
        serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::Io, "print a result as JSON").because(e))?;
    line(text)
}

/// A result as it is.
pub(crate) fn bytes(value: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(value).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("writing to standard output", e)),
        _ => Ok(()),
    }
}

/// A page of text that more pages may follow (`more`): on a terminal each takes the place of the last, elsewhere an empty
/// line stands between two.
pub(crate) fn page(text: &str, is_first: bool, more: bool) -> Result<()> {
    // ECMA-48: the cursor to the corner, and everything behind it erased.
    let before = match io::stdout().is_terminal() {
        true if more => "\x1b[H\x1b[2J",
        false if !is_first => "\n",
        _ => "",
    };
    bytes(format!("{before}{text}").as_bytes())
}

/// Waits; whether meanwhile the last reader of standard output has gone, for whom alone there would be more.
pub(crate) fn is_unread_after(pause: Duration) -> Result<bool> {
    let stdout = io::stdout();
    let end = Instant::now() + pause;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now()));
        // Nothing is asked for, so only errors and hang-ups are told, poll(2).
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, left.ok().as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::io("waiting for a reader", e.into())),
        }
    }
}

/// Something the user should know while or although it works.
pub(crate) fn note(text: impl Display) {
    complain(format_args!("nexus: {text}"));
}

/// Why a command failed, and on a line of its own what to do.
pub(crate) fn error(error: &Error) {
    complain(format_args!("nexus: {}", advice::sentence(error)));
    if let Some(hint) = advice::hint(error) {
        complain(format_args!("hint: {hint}"));
    }
}

fn complain(text: impl Display) {
    // If nobody hears it, there is nobody left to tell.
    drop(writeln!(io::stderr().lock(), "{text}"));
}
