//! Custom metadata as a program sees it: JSON values by key.

use serde_json::Value;

use super::ask::misunderstood;
use super::facade::{Nexus, done, parse};
use super::request::{Item, Reply, Request};
use crate::error::{Error, ErrorKind, Result};

/// The custom metadata of files and directories: on a mount, the extended attribute `user.KEY`.
///
/// ```
/// # fn main() -> nexus::error::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
/// nx.write("/photo.jpg", "JPEG data")?;
/// let metadata = nx.metadata();
/// metadata.set("/photo.jpg", "author", "Ada")?;
/// assert_eq!(metadata.get("/photo.jpg", "author")?, "Ada");
/// assert_eq!(metadata.list("/photo.jpg")?.len(), 1);
/// metadata.remove("/photo.jpg", "author")?;
/// # nx.close()
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a>(pub(super) &'a Nexus);

impl Metadata<'_> {
    /// The value of a key.
    ///
    /// # Errors
    /// `NoAttribute` without that key, `NotFound` without the file, `Unsupported` for bytes that are no text, `Denied`.
    pub fn get(&self, path: impl AsRef<[u8]>, key: &str) -> Result<Value> {
        match self.0.call(&Request::Metadata { path: parse(path)?, key: key.to_owned() })? {
            Reply::Json(json) => understand(&json),
            _ => Err(misunderstood()),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// `NotFound`, `ValueTooLarge`, `NoSpace`, `NotPermitted` for a key that is computed, `Denied`, `ReadOnly`.
    pub fn set(&self, path: impl AsRef<[u8]>, key: &str, value: impl Into<Value>) -> Result<()> {
        let json = value.into().to_string();
        done(self.0.call(&Request::SetMetadata { path: parse(path)?, key: key.to_owned(), json })?)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `NoAttribute`, `NotFound`, `Denied`, `ReadOnly`.
    pub fn remove(&self, path: impl AsRef<[u8]>, key: &str) -> Result<()> {
        done(self.0.call(&Request::RemoveMetadata { path: parse(path)?, key: key.to_owned() })?)
    }

    /// All keys with their values, by key.
    ///
    /// # Errors
    /// `NotFound`, `Unsupported` for bytes that are no text, `Denied`.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<(String, Value)>> {
        let items = self.0.collect(&Request::ListMetadata { path: parse(path)? })?;
        items
            .into_iter()
            .map(|item| match item {
                Item::Metadata(key, json) => Ok((key, understand(&json)?)),
                _ => Err(misunderstood()),
            })
            .collect()
    }
}

fn understand(json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|e| Error::new(ErrorKind::Io, "understand a metadata value").because(e))
}
