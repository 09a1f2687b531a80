//! The operations as a program calls them. Each is one request, but for those that read bodies in parts.

use std::io::{Read, Write};
use std::path::{Path as HostPath, PathBuf};

use super::ask::misunderstood;
use super::exchange::Luggage;
use super::metadata::Metadata;
use super::request::{BodyState, Item, Path, Reply, Request, WriteMode};
use super::route::Route;
use super::serve::PIECE_BYTES_MAX;
use super::types::{Duplicate, Entry, Info, Status, Usage};
use crate::error::{Error, Result};
use crate::model::{Principal, VPath};

/// How often a body is read from the beginning because it was replaced while it was read in parts.
const READS_MAX: usize = 16;

/// A connection to a store, as one identity. It may be used by many threads at once, and any number of connections may
/// exist, in this process and in others.
///
/// Paths are absolute and need not be UTF-8: text, bytes, anything that is bytes. `//`, `/./` and a trailing `/` vanish; a
/// `..` component is refused. Symbolic links are followed as long as they stay in the store.
///
/// ```
/// # fn main() -> nexus::error::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let config = nexus::Config::at(directory.path().join("store"))?;
/// let nx = nexus::connect(&config)?;
/// nx.write("/images/photo.jpg", b"JPEG data")?;
/// nx.mkdir("/workspace/agent1/data", true)?;
/// assert_eq!(nx.list("/images", false)?.len(), 1);
/// nx.delete("/images/photo.jpg")?;
/// nx.rmdir("/workspace", true)?;
/// nx.close()
/// # }
/// ```
///
/// # When the process that has the store ends
/// Another one takes its place, if need be this one; calls wait for that. A call whose answer was lost is made again where
/// twice is as good as once; otherwise it fails with
/// [`OutcomeUnknown`](crate::error::ErrorKind::OutcomeUnknown), and only if that process was killed.
///
/// # Durability
/// What a call has changed, every later call sees. [`Nexus::sync`] and [`Nexus::close`] make it durable; otherwise that
/// happens within a second or so, as on a local disk.
#[derive(Debug)]
pub struct Nexus {
    route: Route,
    data_dir: PathBuf,
}

impl Nexus {
    pub(super) fn find(data_dir: PathBuf, principal: Principal) -> Result<Self> {
        Ok(Self { route: Route::find(data_dir.clone(), principal)?, data_dir })
    }

    /// The directory of the store.
    #[must_use]
    pub fn data_dir(&self) -> &HostPath {
        &self.data_dir
    }

    /// The body of a file, all of it as it was at one moment.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// use nexus::error::ErrorKind;
    /// nx.write("/a", "text")?;
    /// assert_eq!(nx.read("/a")?, b"text");
    /// assert_eq!(nx.read("/b").unwrap_err().kind(), ErrorKind::NotFound);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `Denied`, `Damaged`.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let path = parse(path)?;
        let mut tries = 0;
        loop {
            let (mut whole, first) = self.read_part(&path, 0, None)?;
            let mut state = first;
            while (whole.len() as u64) < state.size {
                let (part, now) = self.read_part(&path, whole.len() as u64, None)?;
                whole.extend_from_slice(&part);
                state = now;
                if part.is_empty() || now != first {
                    break;
                }
            }
            tries += 1;
            // A file that somebody keeps writing to has no one moment.
            if state == first || tries >= READS_MAX {
                return Ok(whole);
            }
        }
    }

    /// Copies the body of a file to `to` in parts, and says how many bytes it has. Of a file that is written to meanwhile, a
    /// part is as it was when it was read, as for any program that reads.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "text")?;
    /// let mut copy = Vec::new();
    /// assert_eq!(nx.read_to("/a", &mut copy)?, 4);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Nexus::read`]; what writing to `to` fails with.
    pub fn read_to(&self, path: impl AsRef<[u8]>, to: &mut dyn Write) -> Result<u64> {
        let path = parse(path)?;
        let (mut done, mut node) = (0, None);
        loop {
            let (part, state) = self.read_part(&path, done, node)?;
            to.write_all(&part).map_err(|e| Error::io("write what was read", e))?;
            done += part.len() as u64;
            node = Some(state.node);
            if part.is_empty() || done >= state.size {
                return Ok(done);
            }
        }
    }

    fn read_part(&self, path: &Path, offset: u64, node: Option<u64>) -> Result<(Vec<u8>, BodyState)> {
        match self.call(&Request::Read { path: path.clone(), offset, length: PIECE_BYTES_MAX, node })? {
            Reply::Bytes { bytes, state } => Ok((bytes, state)),
            _ => Err(misunderstood()),
        }
    }

    /// Gives a file a new body, in one step; makes it, and the directories above it, if they are not there.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/reports/2026/summary.txt", "first")?;
    /// nx.write("/reports/2026/summary.txt", "second")?;
    /// assert_eq!(nx.info("/reports/2026/summary.txt")?.version, Some(2));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `IsADirectory`, `NotADirectory` for what is above, `Denied`, `ReadOnly`, `NoSpace`. The file is then as it was.
    pub fn write(&self, path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Result<()> {
        self.send(path, WriteMode::Replace, &mut Luggage::bytes(body.as_ref()))
    }

    /// As [`Nexus::write`], with a body of any size that is read from `body`.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write_from("/zeros", &mut std::io::Read::take(std::io::repeat(0), 1 << 20))?;
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there; what reading fails with. Nothing has changed then.
    pub fn write_from(&self, path: impl AsRef<[u8]>, body: &mut dyn Read) -> Result<()> {
        self.send(path, WriteMode::Replace, &mut Luggage::stream(body))
    }

    /// As [`Nexus::write`], but only if the name is free: of many who try, one succeeds.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write_new("/lock", "mine")?;
    /// assert_eq!(nx.write_new("/lock", "no, mine").unwrap_err().kind(), nexus::error::ErrorKind::Exists);
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there; `Exists`.
    pub fn write_new(&self, path: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Result<()> {
        self.send(path, WriteMode::New, &mut Luggage::bytes(body.as_ref()))
    }

    /// As [`Nexus::write_new`], with a body of any size that is read from `body`.
    ///
    /// # Errors
    /// As there; what reading fails with. Nothing has changed then.
    pub fn write_new_from(&self, path: impl AsRef<[u8]>, body: &mut dyn Read) -> Result<()> {
        self.send(path, WriteMode::New, &mut Luggage::stream(body))
    }

    /// Adds to the end of a file, wherever that is by then; makes the file if it is not there. Up to half a MiB stays in one
    /// piece among others who append.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.append("/log", "one\n")?;
    /// nx.append("/log", "two\n")?;
    /// assert_eq!(nx.read("/log")?, b"one\ntwo\n");
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Nexus::write`]; a part may have been added.
    pub fn append(&self, path: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.send(path, WriteMode::Append, &mut Luggage::bytes(bytes.as_ref()))
    }

    /// As [`Nexus::append`], with bytes that are read from `bytes`.
    ///
    /// # Errors
    /// As there; what reading fails with.
    pub fn append_from(&self, path: impl AsRef<[u8]>, bytes: &mut dyn Read) -> Result<()> {
        self.send(path, WriteMode::Append, &mut Luggage::stream(bytes))
    }

    fn send(&self, path: impl AsRef<[u8]>, mode: WriteMode, body: &mut Luggage<'_>) -> Result<()> {
        done(self.route.call(&Request::Write { path: parse(path)?, mode }, body)?)
    }

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

    /// Copies a file over what has the other name, or with `recursive` a directory with all that it holds; bodies are shared
    /// with the original. Metadata is not copied.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "stored once")?;
    /// nx.copy("/a", "/b", false)?;
    /// assert_eq!(nx.info("/a")?.refs, Some(2));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory` without `recursive`, `Invalid` for a directory into itself, those of [`Nexus::write`].
    pub fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>, recursive: bool) -> Result<()> {
        done(self.call(&Request::Copy { from: parse(from)?, to: parse(to)?, recursive })?)
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

    /// Custom metadata of files and directories.
    #[must_use]
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata(self)
    }

    /// Makes everything durable that any connection has changed so far: it survives the loss of power.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// nx.write("/a", "must not be lost")?;
    /// nx.sync()?;
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the disk reports.
    pub fn sync(&self) -> Result<()> {
        done(self.call(&Request::Sync)?)
    }

    /// Who has the store: this process, or the one that answers it.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// assert_eq!(nx.status()?.pid, std::process::id());
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// When nobody can be reached.
    pub fn status(&self) -> Result<Status> {
        match self.call(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            _ => Err(misunderstood()),
        }
    }

    /// Ends the connection; what it changed is durable then. Dropping it does the same, without saying what failed.
    ///
    /// # Errors
    /// What could not be made durable.
    pub fn close(self) -> Result<()> {
        self.route.close(&mut Luggage::default())
    }

    pub(super) fn call(&self, request: &Request) -> Result<Reply> {
        self.route.call(request, &mut Luggage::default())
    }

    pub(super) fn collect(&self, request: &Request) -> Result<Vec<Item>> {
        let mut luggage = Luggage::default();
        done(self.route.call(request, &mut luggage)?)?;
        Ok(luggage.items)
    }
}

pub(super) fn parse(path: impl AsRef<[u8]>) -> Result<Path> {
    VPath::parse(path.as_ref()).map(Path)
}

pub(super) fn done(reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(misunderstood()),
    }
}

fn flag(reply: Reply) -> Result<bool> {
    match reply {
        Reply::Flag(flag) => Ok(flag),
        _ => Err(misunderstood()),
    }
}
