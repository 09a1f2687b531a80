//! Exit codes: what a script learns.

use std::process::ExitCode;

use nexus::error::ErrorKind;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// Done.
    pub(crate) const OK: Self = Self(0);
    /// What was typed is wrong.
    pub(crate) const USAGE: Self = Self(2);

    /// fsck(8): no errors.
    pub(crate) const FSCK_CLEAN: Self = Self(0);
    /// fsck(8): errors corrected.
    pub(crate) const FSCK_CORRECTED: Self = Self(1);
    /// fsck(8): errors left uncorrected.
    pub(crate) const FSCK_UNCORRECTED: Self = Self(4);
    /// fsck(8): operational error.
    pub(crate) const FSCK_OPERATIONAL: Self = Self(8);
    /// fsck(8): usage or syntax error.
    pub(crate) const FSCK_USAGE: Self = Self(16);

    /// The code of a failure of this kind.
    pub(crate) fn of(kind: ErrorKind) -> Self {
        Self(match kind {
            ErrorKind::Invalid | ErrorKind::NameTooLong | ErrorKind::Cycle => 2,
            ErrorKind::NotFound | ErrorKind::NoAttribute => 3,
            ErrorKind::Denied | ErrorKind::NotPermitted | ErrorKind::ReadOnly | ErrorKind::CrossScope => 4,
            ErrorKind::Exists | ErrorKind::NotEmpty => 5,
            ErrorKind::NoSpace => 6,
            ErrorKind::Damaged => 7,
            ErrorKind::InUse => 8,
            ErrorKind::Configuration => 9,
            ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::FileTooLarge
            | ErrorKind::ValueTooLarge
            | ErrorKind::Unsupported
            | ErrorKind::TooManyLinks
            | ErrorKind::BadHandle
            | ErrorKind::NoSuchAddress
            | ErrorKind::Incompatible
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Io => 1,
        })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
