//! The environment as a source: `NEXUS_` and a key in upper case.

use serde_yaml::Value;

use super::keys::{KEYS, Takes};
use super::{Layer, Origin, Surroundings, wrong};
use crate::error::Result;

/// What the environment says. A variable that is set to nothing says nothing.
pub(super) fn read(surroundings: &Surroundings) -> Result<Layer> {
    let mut layer = Layer::default();
    for (key, takes) in KEYS {
        let variable = format!("NEXUS_{}", key.to_ascii_uppercase());
        let Some(value) = surroundings.variable(&variable) else { continue };
        let origin = Origin::Environment(variable);
        let Some(text) = value.to_str() else { return Err(wrong(&origin, key, "it is not UTF-8")) };
        let value = match takes {
            Takes::Text => Value::String(text.to_owned()),
            Takes::Yaml => {
                serde_yaml::from_str(text).map_err(|e| wrong(&origin, key, format!("it is not YAML: {e}")))?
            }
        };
        layer.insert(key, value, origin);
    }
    Ok(layer)
}
