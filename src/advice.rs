//! What to do about an error, where there is something to do.
//!
//! An [`Error`] says what was attempted and why it failed. Where the way out is known, its source is an [`Advice`],
//! which carries that as a sentence of its own, so that a front-end can set it apart. Nothing here prints.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Why something failed, with what can be done about it: the lowest source of an [`Error`].
#[derive(Debug)]
pub struct Advice {
    why: String,
    hint: String,
}

impl Advice {
    /// `why` it failed and, as `hint`, what to do; an empty `why` means that the context of the error says it all.
    pub fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { why: why.into(), hint: hint.into() }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Advice {}

/// An error of `kind` while `attempted`, with the reason and the way out.
pub fn refusal(
    kind: ErrorKind,
    attempted: impl Into<String>,
    why: impl Into<String>,
    hint: impl Into<String>,
) -> Error {
    Error::new(kind, attempted.into()).because(Advice::new(why, hint))
}

/// `error` with a way out added; what it says stays.
#[must_use]
pub fn with_hint(error: &Error, hint: impl Into<String>) -> Error {
    refusal(error.kind(), error.context(), reason(error), hint)
}

/// The way out that `error` carries, if there is one.
#[must_use]
pub fn hint(error: &Error) -> Option<&str> {
    sources(error)
        .filter_map(|source| source.downcast_ref::<Advice>())
        .map(|advice| advice.hint.as_str())
        .find(|hint| !hint.is_empty())
}

/// The reason alone, without what was attempted: everything below the error, outermost first; empty if nothing is.
#[must_use]
pub fn reason(error: &Error) -> String {
    sources(error).map(ToString::to_string).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

/// The whole error on one line: what was attempted, what kind of failure it was, the reason.
#[must_use]
pub fn sentence(error: &Error) -> String {
    let reason = reason(error);
    if reason.is_empty() {
        format!("{}: {}", error.context(), error.kind().describe())
    } else {
        format!("{}: {}: {reason}", error.context(), error.kind().describe())
    }
}

/// The candidate that `word` is most likely a slip of, if one is near enough to suggest.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is still a slip; more is another word.
    let slips_max = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

fn sources(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |below| below.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_words_when_a_hint_is_added() {
        let plain = Error::new(ErrorKind::InUse, "opening store /d: process 42 holds it");
        let hinted = with_hint(&plain, "stop it");
        assert_eq!(sentence(&hinted), "opening store /d: process 42 holds it: in use");
        assert_eq!(hint(&hinted), Some("stop it"));
        assert_eq!(hint(&plain), None);

        let below = Error::io("opening /d", std::io::Error::from_raw_os_error(libc::EACCES));
        assert!(sentence(&with_hint(&below, "x")).contains("Permission denied"));
    }

    #[test]
    fn suggests_slips_and_nothing_else() {
        let known = ["allow_other", "noexec", "ro"];
        assert_eq!(nearest("alow_other", known), Some("allow_other"));
        assert_eq!(nearest("noexce", known), Some("noexec"));
        assert_eq!(nearest("uid", known), None);
    }
}
