//! Bodies that come from outside, on their way into the store: hashed and durable before a row names them.
//!
//! They come before the transaction that wants them (`bulk.rs`), because copying takes time. Those that nobody wanted in
//! the end are removed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;

use super::attrs::blocks_of;
use super::store::{Removal, Vfs};
use crate::error::{Error, Result};
use crate::meta::StagingId;
use crate::model::{Digest, SMALL_BODY_BYTES_MAX};

/// Bytes of a body that are moved at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Where a body that came is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrived {
    /// The store had it; whoever brought it has shown that he has it, too.
    Known,
    /// Small: in the file of the small ones, from an offset on.
    Small { offset: u64, size: usize },
    /// A file of `cas/` that no row names yet, and its staging file; none in a rehearsal.
    Large { staging: Option<StagingId>, size: u64, blocks: u64 },
}

/// The bodies that came for one import. A body takes some 80 bytes of memory here.
#[derive(Debug)]
pub struct Arrivals<'a> {
    vfs: &'a Vfs,
    rehearsal: bool,
    small: File,
    small_bytes: u64,
    pub(super) came: HashMap<Digest, Arrived>,
}

impl Vfs {
    /// Makes ready to take in bodies; in a rehearsal they are hashed and no more.
    ///
    /// # Errors
    /// What making a file reports.
    pub fn arrivals(&self, rehearsal: bool) -> Result<Arrivals<'_>> {
        Ok(Arrivals { vfs: self, rehearsal, small: self.scratch()?, small_bytes: 0, came: HashMap::new() })
    }

    /// A file without a name on the disk of the store, for what is too large for memory.
    ///
    /// # Errors
    /// What open(2) reports.
    pub fn scratch(&self) -> Result<File> {
        tempfile::tempfile_in(&self.data_dir).map_err(|e| Error::io("make a file for what is too large for memory", e))
    }

    /// Whether the store has a body of that digest, its bytes included.
    ///
    /// # Errors
    /// What the database reports.
    pub fn has_body(&self, digest: &Digest) -> Result<bool> {
        let found = self.lock_core().meta.read().find_blob(digest)?;
        Ok(*digest == Digest::EMPTY || found.is_some_and(|blob| self.is_intact(&blob)))
    }
}

impl Arrivals<'_> {
    /// Whether that body came already.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.came.contains_key(digest)
    }

    /// Takes in the bytes of `file`, if they hash to `digest`; whether they do.
    ///
    /// # Errors
    /// `NoSpace`, what reading and writing report.
    pub fn take(&mut self, digest: &Digest, file: &File) -> Result<bool> {
        let failed = |e| Error::io(format!("read the body {digest}"), e);
        if self.has(digest) {
            return Ok(true);
        }
        let known = self.vfs.has_body(digest)?;
        let size = file.metadata().map_err(failed)?.len();
        let arrived = if size <= SMALL_BODY_BYTES_MAX as u64 {
            // One byte more than it may have: it may be growing.
            let mut bytes = Vec::with_capacity(SMALL_BODY_BYTES_MAX + 1);
            file.take(SMALL_BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
            if Digest::of(&bytes) != *digest {
                return Ok(false);
            }
            if known { Arrived::Known } else { self.take_small(&bytes)? }
        } else if known || self.rehearsal {
            if super::snapshot::hash(file)?.0 != *digest {
                return Ok(false);
            }
            if known { Arrived::Known } else { Arrived::Large { staging: None, size, blocks: blocks_of(size) } }
        } else {
            match self.take_large(digest, file, size)? {
                Some(arrived) => arrived,
                None => return Ok(false),
            }
        };
        self.came.insert(*digest, arrived);
        Ok(true)
    }

    /// Takes in the `size` bytes that come from `from`, if they hash to `digest`; whether they do. All of them are read.
    ///
    /// # Errors
    /// `NoSpace`, what reading and writing report.
    pub fn take_from(&mut self, digest: &Digest, size: u64, from: &mut dyn Read) -> Result<bool> {
        let mut file = self.vfs.scratch()?;
        self.vfs.space.take(size)?;
        let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, &mut file);
        let copied = io::copy(&mut from.take(size), &mut out).and_then(|copied| out.flush().map(|()| copied));
        drop(out);
        let copied = copied.map_err(|e| Error::io(format!("take in the body {digest}"), e))?;
        if copied < size {
            let e = io::ErrorKind::UnexpectedEof.into();
            return Err(Error::io(format!("take in the body {digest}"), e));
        }
        file.rewind().map_err(|e| Error::io(format!("take in the body {digest}"), e))?;
        self.take(digest, &file)
    }

    fn take_small(&mut self, bytes: &[u8]) -> Result<Arrived> {
        let offset = self.small_bytes;
        self.small.write_all_at(bytes, offset).map_err(|e| Error::io("keep a small body", e))?;
        self.small_bytes += bytes.len() as u64;
        Ok(Arrived::Small { offset, size: bytes.len() })
    }

    fn take_large(&mut self, digest: &Digest, mut file: &File, size: u64) -> Result<Option<Arrived>> {
        let vfs = self.vfs;
        vfs.space.take(size)?;
        let (staging, mut copy) = vfs.staging.make()?;
        let copied = io::copy(&mut file, &mut copy).map_err(|e| Error::io(format!("copy the body {digest}"), e));
        let arrived = copied.and_then(|_| super::snapshot::hash(&copy)).and_then(|(found, size)| {
            if found != *digest {
                return Ok(None);
            }
            copy.sync_data().map_err(|e| Error::io(format!("sync the body {digest}"), e))?;
            let stat = rustix::fs::fstat(&copy).map_err(|e| Error::io("look at a body", e.into()))?;
            // Nobody removes the file while its digest is among those that arrive.
            vfs.lock_core().side.arriving.insert(*digest);
            let put = vfs.blobs.put(&vfs.staging.path(staging), digest).and_then(|()| vfs.blobs.sync([digest]));
            put.inspect_err(|_| vfs.leave(digest))?;
            Ok(Some(Arrived::Large { staging: Some(staging), size, blocks: stat.st_blocks.cast_unsigned() }))
        });
        if !matches!(arrived, Ok(Some(_))) {
            vfs.staging.remove(staging)?;
        }
        arrived
    }

    /// The bytes of a small body that came.
    pub(super) fn small(&self, offset: u64, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        self.small.read_exact_at(&mut bytes, offset).map_err(|e| Error::io("read a small body again", e))?;
        Ok(bytes)
    }
}

impl Drop for Arrivals<'_> {
    fn drop(&mut self) {
        for (digest, arrived) in &self.came {
            let Arrived::Large { staging: Some(staging), .. } = arrived else { continue };
            self.vfs.leave(digest);
            // Named twice when it was wanted: then the first removal has noted what the file is like without it.
            self.vfs.lock_core().side.removals.push(Removal::Staging(*staging, None));
        }
    }
}

impl Vfs {
    /// A body arrives no more: its file goes, unless a row names it.
    fn leave(&self, digest: &Digest) {
        let mut core = self.lock_core();
        if core.side.arriving.remove(digest) {
            core.side.removals.push(Removal::Blob(*digest));
        }
    }
}
