//! Custom metadata as a program sees it: JSON values by key.

use serde_json::Value;

use super::ask::misunderstood;
use super::facade::{Nexus, done, parse};
use super::request::{Item, Reply, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{Condition, MetaValue};
use crate::vfs::Match;

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
/// // A value that is no text comes back as it was.
/// metadata.set("/photo.jpg", "size", serde_json::json!([640, 480]))?;
/// assert_eq!(metadata.get("/photo.jpg", "size")?, serde_json::json!([640, 480]));
/// assert_eq!(metadata.list("/photo.jpg")?.len(), 2);
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
        self.value(path, key).and_then(json)
    }

    /// The value of a key, which may be bytes that are no text: somebody has set them as an extended attribute.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// use nexus::model::metadata::MetaValue;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/photo.jpg", "JPEG data")?;
    /// nx.metadata().set("/photo.jpg", "stars", 5)?;
    /// match nx.metadata().value("/photo.jpg", "stars")? {
    ///     MetaValue::Json(value) => assert_eq!(value, 5),
    ///     MetaValue::Bytes(bytes) => println!("{} bytes", bytes.len()),
    /// }
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Metadata::get`], except `Unsupported`.
    pub fn value(&self, path: impl AsRef<[u8]>, key: &str) -> Result<MetaValue> {
        match self.0.call(&Request::Metadata { path: parse(path)?, key: key.to_owned() })? {
            Reply::Json(json) => understand(&json),
            Reply::Binary(bytes) => Ok(MetaValue::Bytes(bytes.into_vec())),
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
        self.values(path)?.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect()
    }

    /// As [`Metadata::list`], with values that may be bytes that are no text.
    ///
    /// # Errors
    /// As there, except `Unsupported`.
    pub fn values(&self, path: impl AsRef<[u8]>) -> Result<Vec<(String, MetaValue)>> {
        let items = self.0.collect(&Request::ListMetadata { path: parse(path)? })?;
        let pair = |item| match item {
            Item::Metadata(key, json) => Ok((key, understand(&json)?)),
            Item::Binary(key, bytes) => Ok((key, MetaValue::Bytes(bytes.into_vec()))),
            _ => Err(misunderstood()),
        };
        items.into_iter().map(pair).collect()
    }
}

impl Nexus {
    /// Files and directories at or below a path whose metadata fulfils all conditions, in no order that means anything.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// use nexus::model::metadata::Condition;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/photos/sea.jpg", "JPEG data")?;
    /// nx.metadata().set("/photos/sea.jpg", "stars", 5)?;
    /// let found = nx.find(&[Condition::parse("stars>=4")?], "/photos")?;
    /// assert_eq!(found[0].virtual_path, "/photos/sea.jpg");
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` without a condition, or for a key that cannot be.
    pub fn find(&self, conditions: &[Condition], under: impl AsRef<[u8]>) -> Result<Vec<Match>> {
        let items = self.collect(&Request::Find { conditions: conditions.to_vec(), under: parse(under)? })?;
        let found = |item| match item {
            Item::Match(found) => Ok(found),
            _ => Err(misunderstood()),
        };
        items.into_iter().map(found).collect()
    }
}

fn understand(json: &str) -> Result<MetaValue> {
    let value = serde_json::from_str(json);
    value.map(MetaValue::Json).map_err(|e| Error::new(ErrorKind::Io, "understand a metadata value").because(e))
}

fn json(value: MetaValue) -> Result<Value> {
    match value {
        MetaValue::Json(value) => Ok(value),
        MetaValue::Bytes(_) => Err(Error::new(ErrorKind::Unsupported, "show bytes that are not UTF-8 as JSON")),
    }
}
