//! The configuration keys, and the refusal of others.

use super::{Origin, describe};
use crate::advice;
use crate::error::{Error, ErrorKind};

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// A text, which the environment gives as it stands.
    Text,
    /// A number, a flag or a list, which the environment gives as YAML.
    Yaml,
}

/// Every key of a configuration file; in the environment it is upper case behind `NEXUS_`.
pub(super) const KEYS: &[(&str, Takes)] = &[
    ("mode", Takes::Text),
    ("data_dir", Takes::Text),
    ("db_path", Takes::Text),
    ("transport", Takes::Text),
    ("tenant_id", Takes::Text),
    ("agent_id", Takes::Text),
    ("is_admin", Takes::Yaml),
    ("cache_size_mb", Takes::Yaml),
    ("enable_vector_search", Takes::Yaml),
    ("enable_llm_cache", Takes::Yaml),
    ("namespaces", Takes::Yaml),
    ("strict_namespaces", Takes::Yaml),
    ("mounts", Takes::Yaml),
];

/// The keys of an entry of `namespaces`.
pub(super) const NAMESPACE_KEYS: &[&str] = &["name", "readonly", "admin_only", "requires_tenant"];

/// The keys of an entry of `mounts`.
pub(super) const MOUNT_KEYS: &[&str] =
    &["mountpoint", "tenant_id", "agent_id", "is_admin", "read_only", "allow_other", "transport", "options"];

/// The key as it stands in the table, `None` when there is no such key.
pub(super) fn known(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(name, _)| *name)
}

/// The refusal of a key that does not exist among `keys`; `inside` says of what.
pub(super) fn unknown(key: &str, keys: &[&str], inside: &str, origin: &Origin) -> Error {
    let hint = match advice::nearest(key, keys.iter().copied()) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("the keys are {}", keys.join(", ")),
    };
    advice::refusal(
        ErrorKind::Configuration,
        format!("reading {}", describe(origin)),
        format!("{inside}there is no key '{key}'"),
        hint,
    )
}
