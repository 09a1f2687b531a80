//! Custom metadata: the extended attribute `user.KEY`, seen as JSON.
//!
//! A string is stored as its bytes, any other JSON value as its text. Bytes that are not UTF-8 have no JSON form.

use super::super::request::Item;
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::model::VPath;
use crate::vfs::XattrMode;

/// Where custom metadata stands among the extended attributes.
const PREFIX: &[u8] = b"user.";

impl Context<'_> {
    pub(super) fn metadata(&self, path: &VPath, key: &str) -> Result<String> {
        let id = self.find(path)?.id;
        json(self.view.getxattr(id, &attribute(key)?)?)
    }

    pub(super) fn set_metadata(&self, path: &VPath, key: &str, json: &str) -> Result<()> {
        let value: serde_json::Value = serde_json::from_str(json)
            .map_err(|e| Error::new(ErrorKind::Invalid, "understand the JSON value").because(e))?;
        let bytes = match value {
            serde_json::Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let id = self.find(path)?.id;
        self.view.setxattr(id, &attribute(key)?, &bytes, XattrMode::Set)
    }

    pub(super) fn remove_metadata(&self, path: &VPath, key: &str) -> Result<()> {
        let id = self.find(path)?.id;
        self.view.removexattr(id, &attribute(key)?)
    }

    pub(super) fn list_metadata(&self, path: &VPath, exchange: &mut dyn Exchange) -> Result<()> {
        let id = self.find(path)?.id;
        for attribute in self.view.listxattr(id)? {
            let Some(key) = attribute.strip_prefix(PREFIX).and_then(|key| std::str::from_utf8(key).ok()) else {
                continue;
            };
            match self.view.getxattr(id, &attribute) {
                Ok(value) => exchange.item(Item::Metadata(key.to_owned(), json(value)?))?,
                // Removed since it was listed.
                Err(e) if e.kind() == ErrorKind::NoAttribute => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn attribute(key: &str) -> Result<Vec<u8>> {
    if key.is_empty() || key.contains('\0') {
        return Err(Error::new(ErrorKind::Invalid, "use an empty key, or one with NUL"));
    }
    Ok([PREFIX, key.as_bytes()].concat())
}

/// Stored bytes as JSON text.
fn json(bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::new(ErrorKind::Unsupported, "show bytes that are not UTF-8 as JSON").because(e))?;
    Ok(serde_json::Value::String(text).to_string())
}
