//! The environment as a source: `NEXUS_` and a key in upper case.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::keys::{self, KEYS, Support};
use super::{Layer, Origin, Surroundings};
use crate::error::{Error, ErrorKind, Result};

/// What the environment says.
pub(super) fn read(surroundings: &Surroundings) -> Result<Layer> {
    let mut layer = Layer::default();
    for (key, support) in KEYS {
        let variable = format!("NEXUS_{}", key.to_ascii_uppercase());
        let Some(value) = surroundings.variable(&variable) else {
            continue;
        };
        match (*support, *key) {
            (Support::Later, _) if is_off(value) => {}
            (Support::Later, _) => return Err(keys::not_yet(key, &Origin::Environment(variable))),
            (Support::Honoured, "mode") => layer.mode = Some(text(value, &variable)?),
            (Support::Honoured, "data_dir") => layer.data_dir = Some(PathBuf::from(value)),
            (Support::Honoured, "transport") => layer.transport = Some(text(value, &variable)?),
            (Support::Honoured, _) => unreachable!("every honoured key has an arm above"),
        }
    }
    Ok(layer)
}

/// Whether a variable asks for nothing: what every version does anyway.
fn is_off(value: &OsStr) -> bool {
    value == "false" || value == "0"
}

fn text(value: &OsStr, variable: &str) -> Result<String> {
    value.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::Configuration, format!("reading the environment variable {variable}: it is not UTF-8"))
    })
}
