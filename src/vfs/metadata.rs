//! Custom metadata with JSON values: the same attributes as those below `user.`, seen through the library.

use super::store::Vfs;
use super::types::XattrMode;
use crate::error::{Error, ErrorKind, Result};
use crate::model::NodeId;
use crate::model::metadata::{MetaValue, PREFIX, attribute_of};
use crate::work::Scope;

/// Keys of virtual values, below the prefix.
const VIRTUAL: &str = "nexus.";

impl Vfs {
    /// The value of a key.
    ///
    /// # Errors
    /// `NoAttribute` where it has none, `NotFound` for the node.
    pub fn meta_get(&self, id: NodeId, key: &str) -> Result<MetaValue> {
        let attribute = attribute_of(key)?;
        if key.starts_with(VIRTUAL) {
            return self.getxattr(id, &attribute).map(|value| MetaValue::from_stored(value, false));
        }
        let core = self.current_queue()?;
        let read = core.meta.read();
        let found = read.attr_with_json(id, &attribute)?;
        let (value, json) = match found {
            Some(found) => found,
            None => {
                read.node(id)?;
                return Err(Error::new(ErrorKind::NoAttribute, format!("read the key {key}")));
            }
        };
        Ok(MetaValue::from_stored(value, json))
    }

    /// Gives a key a value, for a caller who may depend on what is in the scope.
    ///
    /// # Errors
    /// As [`Vfs::setxattr`].
    pub fn meta_set(&self, id: NodeId, key: &str, value: &MetaValue, scope: &Scope<'_>) -> Result<()> {
        let (bytes, json) = value.to_stored();
        self.put_attr(id, &attribute_of(key)?, &bytes, json, XattrMode::Set, scope)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `NoAttribute` where there is none, `NotPermitted` for a virtual one.
    pub fn meta_remove(&self, id: NodeId, key: &str) -> Result<()> {
        self.removexattr(id, &attribute_of(key)?)
    }

    /// All keys with their values, by key. Keys that are not UTF-8 are shown with U+FFFD.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn meta_list(&self, id: NodeId) -> Result<Vec<(String, MetaValue)>> {
        let core = self.current_queue()?;
        let read = core.meta.read();
        read.node(id)?;
        let all = read.attrs_with_json(id)?.into_iter().filter_map(|(key, value, json)| {
            let key = String::from_utf8_lossy(key.strip_prefix(PREFIX)?).into_owned();
            Some((key, MetaValue::from_stored(value, json)))
        });
        Ok(all.collect())
    }
}
