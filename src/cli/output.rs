//! What is printed: results on standard output, everything else on standard error.
//!
//! A reader that went away (`nexus ... | head`) is no failure; a result that cannot be written for another reason is.

use std::fmt::Display;
use std::io::{self, Write};

use nexus::advice;
use nexus::error::{Error, ErrorKind, Result};

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
