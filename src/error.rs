//! What can go wrong, in the few kinds that mean something to a caller.
//!
//! A library error is translated once, at the door of the room that knows what was attempted; above that door only
//! [`ErrorKind`] is looked at. `fuse/errno.rs` maps every kind to an errno, exhaustively.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of everything in nexus that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure it was: few words, each of which a caller may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// No such file, directory or node.
    NotFound,
    /// The name is taken already.
    Exists,
    /// A directory was needed and something else stands there.
    NotADirectory,
    /// Something else was needed and a directory stands there.
    IsADirectory,
    /// The directory still holds names.
    NotEmpty,
    /// The caller may not do this here (EACCES).
    Denied,
    /// Nobody may do this to this object (EPERM).
    NotPermitted,
    /// The place can only be read.
    ReadOnly,
    /// A value that no caller should send: a bad name, flag or combination.
    Invalid,
    /// A name of more than 255 bytes, or a path of more than 4,096.
    NameTooLong,
    /// The disk below, or a limit of the store, is full.
    NoSpace,
    /// The file would become larger than a file can be.
    FileTooLarge,
    /// An attribute value is larger than is allowed.
    ValueTooLarge,
    /// The extended attribute does not exist.
    NoAttribute,
    /// The store or the disk below cannot do this.
    Unsupported,
    /// A link or rename would leave the scope it has to stay in.
    CrossScope,
    /// One more hard link than a node can have.
    TooManyLinks,
    /// The handle is not open, or not open for this.
    BadHandle,
    /// A seek beyond the end, or for data where none follows.
    NoSuchAddress,
    /// It would lead in a circle (ELOOP).
    Cycle,
    /// A stored body does not hash to its name, or a row contradicts another.
    Damaged,
    /// Another process holds the store, or the mountpoint is busy.
    InUse,
    /// A configuration, option or environment value is wrong.
    Configuration,
    /// The store was written by another version of nexus than can be read here.
    Incompatible,
    /// The process that served the store ended before it answered: the change may have been made or not.
    OutcomeUnknown,
    /// The operating system or the database failed in a way nobody foresaw.
    Io,
}

impl ErrorKind {
    /// The kind in words, for messages.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::Exists => "already exists",
            Self::NotADirectory => "not a directory",
            Self::IsADirectory => "is a directory",
            Self::NotEmpty => "directory not empty",
            Self::Denied => "access denied",
            Self::NotPermitted => "operation not permitted",
            Self::ReadOnly => "read-only",
            Self::Invalid => "invalid argument",
            Self::NameTooLong => "name too long",
            Self::NoSpace => "no space left",
            Self::FileTooLarge => "file too large",
            Self::ValueTooLarge => "attribute value too large",
            Self::NoAttribute => "no such attribute",
            Self::Unsupported => "not supported",
            Self::CrossScope => "would cross a boundary",
            Self::TooManyLinks => "too many links",
            Self::BadHandle => "bad file handle",
            Self::NoSuchAddress => "no data there",
            Self::Cycle => "a circle",
            Self::Damaged => "damaged",
            Self::InUse => "in use",
            Self::Configuration => "bad configuration",
            Self::Incompatible => "incompatible store",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Io => "input/output error",
        }
    }
}

/// An error: its kind, what was attempted on what, and the error below it, if there was one.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `context` says what was attempted, on what, and, where it is not obvious, what to do.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An operating-system error, its kind taken from its errno where the kind means something.
    pub fn io(context: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::NoSpace,
            Some(libc::EFBIG) => ErrorKind::FileTooLarge,
            Some(libc::ENOENT) => ErrorKind::NotFound,
            Some(libc::EEXIST) => ErrorKind::Exists,
            Some(libc::EACCES | libc::EPERM) => ErrorKind::Denied,
            Some(libc::EROFS) => ErrorKind::ReadOnly,
            Some(libc::EOPNOTSUPP) => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        Self::new(kind, context).because(source)
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was attempted, in words.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.context, self.kind.describe())?;
        let mut below = std::error::Error::source(self);
        while let Some(error) = below {
            write!(f, ": {error}")?;
            below = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
