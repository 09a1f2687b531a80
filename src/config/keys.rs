//! The configuration keys: which there are, and which of them this version honours.

use super::{Origin, describe};
use crate::advice;
use crate::error::{Error, ErrorKind};

/// Every key of a configuration file; in the environment it is upper case behind `NEXUS_`.
pub(super) const KEYS: &[(&str, Support)] = &[
    ("mode", Support::Honoured),
    ("data_dir", Support::Honoured),
    ("transport", Support::Honoured),
    ("db_path", Support::Later),
    ("tenant_id", Support::Later),
    ("agent_id", Support::Later),
    ("is_admin", Support::Later),
    ("namespaces", Support::Later),
    ("strict_namespaces", Support::Later),
    ("mounts", Support::Later),
    ("cache_size_mb", Support::Later),
    ("enable_vector_search", Support::Later),
    ("enable_llm_cache", Support::Later),
];

/// Whether this version does what a key asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// It does.
    Honoured,
    /// It does not, and must say so rather than go on without.
    Later,
}

/// The support of a key, `None` when there is no such key.
pub(super) fn support(key: &str) -> Option<Support> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, support)| *support)
}

/// The refusal of a key that does not exist.
pub(super) fn unknown(key: &str, origin: &Origin) -> Error {
    let names = KEYS.iter().map(|(name, _)| *name);
    let hint = match advice::nearest(key, names.clone()) {
        Some(known) => format!("did you mean '{known}'?"),
        None => format!("the keys are {}", names.collect::<Vec<_>>().join(", ")),
    };
    advice::refusal(
        ErrorKind::Configuration,
        format!("reading {}", describe(origin)),
        format!("there is no key '{key}'"),
        hint,
    )
}

/// The refusal of a key that a later version will honour.
pub(super) fn not_yet(key: &str, origin: &Origin) -> Error {
    advice::refusal(
        ErrorKind::Configuration,
        format!("reading {key} from {}", describe(origin)),
        format!("'{key}' is not supported by this version"),
        "remove it: going on without it could show or keep what you did not intend",
    )
}
