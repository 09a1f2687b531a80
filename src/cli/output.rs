//! What is printed: results on standard output, everything else on standard error.
//!
//! A reader that went away (`nexus ... | head`) is no failure; a result that cannot be written for another reason is.

use std::fmt::Display;
use std::io::{self, Write};

use nexus::advice;
use nexus::error::{Error, Result};

/// A line of the result.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("writing to standard output", e)),
        _ => Ok(()),
    }
}

/// Bytes of the result as they are.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("writing to standard output", e)),
        _ => Ok(()),
    }
}

/// The result as JSON, for programs and legible.
pub(crate) fn json(value: &serde_json::Value) -> Result<()> {
    line(format_args!("{value:#}"))
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
