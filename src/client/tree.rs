//! Names and directories as a program sees them, and what is known of files besides their bodies.

use super::ask::misunderstood;
use super::facade::{Nexus, done, parse};
use super::request::{Item, Reply, Request};
use super::types::{Duplicate, Entry, Info, Usage};
use crate::error::Result;

impl Nexus {
    /// Removes a name that is no directory.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Denied`, `ReadOnly`.
    pub fn delete(&self, path: impl AsRef<[u8]>) -> Result<()> {
        done(self.call(&Request::Delete { path: parse(path)? })?)
    }

    /// What a directory holds, in the order of names; with `recursive` everything below it, each directory before what it
    /// holds. For a file, the file itself. A path is matched by whole names: `/data` has nothing to do with `/database`.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/data/a/b", "")?;
    /// nx.write("/database", "")?;
    /// let paths: Vec<_> = nx.list("/data", true)?.iter().map(|entry| entry.path()).collect();
    /// assert_eq!(paths, ["/data/a", "/data/a/b"]);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Denied`.
    pub fn list(&self, prefix: impl AsRef<[u8]>, recursive: bool) -> Result<Vec<Entry>> {
        let items = self.collect(&Request::List { path: parse(prefix)?, recursive })?;
        items
            .into_iter()
            .map(|item| match item {
                Item::Entry(entry) => Ok(entry),
                _ => Err(misunderstood()),
            })
            .collect()
    }

    /// Whether there is something at a path; a symbolic link that leads nowhere is nothing.
    ///
    /// # Errors
    /// `Denied`.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        flag(self.call(&Request::Exists { path: parse(path)? })?)
    }

    /// Whether there is a directory at a path.
    ///
    /// # Errors
    /// `Denied`.
    pub fn is_directory(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        flag(self.call(&Request::IsDirectory { path: parse(path)? })?)
    }

    /// Makes a directory; with `parents` also those above it, and it is no error if it is there.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.mkdir("/workspace/agent1/data", true)?;
    /// assert!(nx.is_directory("/workspace/agent1")?);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Exists` and `NotFound` without `parents`, `NotADirectory`, `Denied`, `ReadOnly`.
    pub fn mkdir(&self, path: impl AsRef<[u8]>, parents: bool) -> Result<()> {
        done(self.call(&Request::MakeDirectory { path: parse(path)?, parents })?)
    }

    /// Removes a directory; with `recursive` and all that it holds, otherwise it must be empty.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `NotEmpty`, `Denied`, `ReadOnly`.
    pub fn rmdir(&self, path: impl AsRef<[u8]>, recursive: bool) -> Result<()> {
        done(self.call(&Request::RemoveDirectory { path: parse(path)?, recursive })?)
    }

    /// Renames a file or a directory with all that it holds, in one step, over what has the new name; makes the directories
    /// above the new name.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/inbox/letter", "dear reader")?;
    /// nx.rename("/inbox/letter", "/archive/2026/letter")?;
    /// assert!(!nx.exists("/inbox/letter")?);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `IsADirectory` and `NotADirectory` for what cannot be replaced, `Invalid` for a directory
    /// into itself, `Denied`, `ReadOnly`, `CrossScope`.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        done(self.call(&Request::Rename { from: parse(from)?, to: parse(to)?, replace: true })?)
    }

    /// As [`Nexus::rename`], but only if the new name is free: of many who try, one succeeds.
    ///
    /// # Errors
    /// As there; `Exists`.
    pub fn rename_new(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        done(self.call(&Request::Rename { from: parse(from)?, to: parse(to)?, replace: false })?)
    }

    /// All there is to know of a file or a directory; of a symbolic link, of the link itself.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/abc", "abc")?;
    /// let info = nx.info("/abc")?;
    /// assert_eq!(info.entry.size, 3);
    /// assert!(info.etag.is_some_and(|etag| etag.starts_with("ba7816bf")));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Denied`.
    pub fn info(&self, path: impl AsRef<[u8]>) -> Result<Info> {
        match self.call(&Request::Info { path: parse(path)? })? {
            Reply::Info(info) => Ok(*info),
            _ => Err(misunderstood()),
        }
    }

    /// Files below a path that have the same body, by the first of their paths. Empty files are left out, and a file with
    /// several names is one.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "same")?;
    /// nx.write("/b", "same")?;
    /// assert_eq!(nx.find_duplicates("/")?[0].paths.len(), 2);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Denied`.
    pub fn find_duplicates(&self, path: impl AsRef<[u8]>) -> Result<Vec<Duplicate>> {
        let mut found: Vec<Duplicate> = Vec::new();
        for item in self.collect(&Request::Duplicates { path: parse(path)? })? {
            match (item, found.last_mut()) {
                (Item::Duplicate(more), Some(last)) if last.etag == more.etag => last.paths.extend(more.paths),
                (Item::Duplicate(next), _) => found.push(next),
                _ => return Err(misunderstood()),
            }
        }
        Ok(found)
    }

    /// What a file or a tree takes.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "same")?;
    /// nx.write("/b", "same")?;
    /// let usage = nx.du("/")?;
    /// assert_eq!((usage.files, usage.bytes, usage.stored_bytes), (2, 8, 4));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `Denied`.
    pub fn du(&self, path: impl AsRef<[u8]>) -> Result<Usage> {
        match self.call(&Request::Usage { path: parse(path)? })? {
            Reply::Usage(usage) => Ok(usage),
            _ => Err(misunderstood()),
        }
    }
}

fn flag(reply: Reply) -> Result<bool> {
    match reply {
        Reply::Flag(flag) => Ok(flag),
        _ => Err(misunderstood()),
    }
}
