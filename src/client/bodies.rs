//! Bodies as a program reads and writes them. Writing is one request; reading is one for each part.

use std::io::{Read, Write};

use super::ask::misunderstood;
use super::exchange::Luggage;
use super::facade::{Nexus, done, parse};
use super::request::{BodyState, Path, Reply, Request, WriteMode};
use super::serve::PIECE_BYTES_MAX;
use crate::error::{Error, Result};

/// How often a body is read from the beginning because it was replaced while it was read in parts.
const READS_MAX: usize = 16;

impl Nexus {
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
}
