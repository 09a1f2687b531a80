//! Bodies that do not hash to their names: finding them, putting them aside, telling whose they are.
//!
//! A body is put aside once, in one way, whoever finds it: an open (`body.rs`), [`Vfs::verify`] or the scrub (`upkeep.rs`).
//! Its row stays, so that reading fails for those files alone, and the same content heals them when it is stored again.
//! What was healed or changed since it was read is left alone.

use std::fmt;
use std::fs::File;

use super::body::sealed;
use super::live::{Content, Reader, SealedBody};
use super::resolve::paths_of;
use super::store::{Removal, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobRow, Place, ReadTxn};
use crate::model::{Digest, NodeId, VPath};

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes do not hash to its name.
    Damaged,
    /// Its bytes are not there, perhaps because they were damaged and are in quarantine.
    Missing,
    /// Its bytes cannot be read, which says nothing about what they are.
    Unreadable(String),
}

/// A body that cannot be read as it was written.
#[derive(Debug, Clone)]
pub struct DamagedBody {
    /// What it should hash to.
    pub digest: Digest,
    /// How many bytes it should have.
    pub size: u64,
    /// What is wrong.
    pub fault: Fault,
    /// Every path that holds it.
    pub paths: Vec<VPath>,
}

impl fmt::Display for DamagedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, size, fault, paths } = self;
        match fault {
            Fault::Damaged => write!(f, "body {digest} of {size} bytes does not hash to its name")?,
            Fault::Missing => write!(f, "body {digest} of {size} bytes is missing")?,
            Fault::Unreadable(why) => write!(f, "body {digest} of {size} bytes cannot be read ({why})")?,
        }
        let paths: Vec<_> = paths.iter().map(|path| path.to_string().replace(char::is_control, "?")).collect();
        if paths.is_empty() { write!(f, "; no path holds it") } else { write!(f, ": {}", paths.join(", ")) }
    }
}

/// How a body was found.
#[derive(Debug)]
pub(super) enum Inspected {
    /// It hashes to its name.
    Right,
    /// It does not; it was put aside.
    Wrong(DamagedBody),
    /// It was given up or changed while it was looked at: nothing can be said, and nothing has to be.
    Gone,
    /// Whoever asked wanted no more.
    Stopped,
}

impl Vfs {
    /// Hashes the file of a blob unless its stamp shows that it is the one that was sealed or last verified.
    pub(super) fn verify_file(&self, body: &SealedBody, file: &File) -> Result<()> {
        if self.is_known(body, file)? {
            return Ok(());
        }
        let before = crate::cas::stamp(file)?;
        let found = crate::cas::hash_file(file, |_| true)?;
        if found != Some((body.digest, body.size)) {
            return Err(self.damaged_at_open(body, Fault::Damaged, Some(file)));
        }
        if !self.read_only {
            self.change(|txn, _| txn.set_stamp(body.blob, before))?;
        }
        Ok(())
    }

    /// Whether the file of a blob is the one that was sealed or last verified.
    pub(super) fn is_known(&self, body: &SealedBody, file: &File) -> Result<bool> {
        let now = crate::cas::stamp(file)?;
        let core = self.lock_core();
        // A file that was sealed a moment ago gets its stamp when its staging name is gone.
        let is_fresh = |r: &Removal| matches!(r, Removal::Staging(_, Some((_, digest))) if *digest == body.digest);
        Ok(core.meta.read().blob(body.blob)?.stamp == Some(now) || core.side.removals.iter().any(is_fresh))
    }

    /// Hashes a body, whatever is known of it. `go_on` is asked before each MiB of a file with the bytes done so far.
    pub(super) fn inspect(&self, blob: &BlobRow, go_on: impl FnMut(u64) -> bool) -> Result<Inspected> {
        let body = sealed(blob);
        let fault = match blob.place {
            Place::Database => {
                let core = self.lock_core();
                let read = core.meta.read();
                if !is_current(&read, blob)? {
                    return Ok(Inspected::Gone);
                }
                match read.small_body(blob.id)? {
                    Some(bytes) if Digest::of(&bytes) == blob.digest => return Ok(Inspected::Right),
                    Some(_) => Fault::Damaged,
                    None => Fault::Missing,
                }
            }
            Place::File => return self.inspect_file(blob, &body, go_on),
        };
        Ok(Inspected::Wrong(self.put_aside(&body, fault, None)))
    }

    fn inspect_file(&self, blob: &BlobRow, body: &SealedBody, go_on: impl FnMut(u64) -> bool) -> Result<Inspected> {
        let wrong = |fault, file: Option<&File>| {
            // One that is being put now was not there, or is about to be replaced.
            let core = self.lock_core();
            let counts = is_current(&core.meta.read(), blob)? && !core.side.arriving.contains(&blob.digest);
            drop(core);
            if !counts {
                return Ok(Inspected::Gone);
            }
            let told = self.put_aside(body, fault, file);
            self.let_readers_go(body);
            Ok(Inspected::Wrong(told))
        };
        let file = match self.blobs.open(&blob.digest) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return wrong(Fault::Missing, None),
            Err(e) => return wrong(Fault::Unreadable(e.to_string()), None),
        };
        let before = crate::cas::stamp(&file)?;
        // What is read here once would push out of the cache what programs read again and again.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::NoReuse).ok();
        match crate::cas::hash_file(&file, go_on) {
            Ok(None) => Ok(Inspected::Stopped),
            Ok(Some(found)) if found == (blob.digest, blob.size) => {
                if blob.stamp != Some(before) && !self.read_only && !self.is_known(body, &file).unwrap_or(true) {
                    self.change(|txn, _| txn.set_stamp(blob.id, before))?;
                }
                Ok(Inspected::Right)
            }
            // Taken back by its node and written to in the meantime, which leaves its time.
            Ok(Some(_)) if crate::cas::stamp(&file)? != before => Ok(Inspected::Gone),
            Ok(Some(_)) => wrong(Fault::Damaged, Some(&file)),
            Err(e) => wrong(Fault::Unreadable(e.to_string()), None),
        }
    }

    /// Puts aside a body that was to be read, logs every path that holds it, and is the error for the reader.
    pub(super) fn damaged_at_open(&self, body: &SealedBody, fault: Fault, file: Option<&File>) -> Error {
        self.log_damage(&self.put_aside(body, fault, file));
        Error::new(ErrorKind::Damaged, format!("read body {}", body.digest))
    }

    /// Logs every path that holds a damaged body.
    pub(super) fn log_damage(&self, damaged: &DamagedBody) {
        log::error!("{damaged}; reading these files fails until the same content is stored again");
    }

    /// Puts a damaged body into quarantine, if it still is what was found to be: `file` is the one that was hashed.
    fn put_aside(&self, body: &SealedBody, fault: Fault, file: Option<&File>) -> DamagedBody {
        let SealedBody { digest, size, .. } = *body;
        let paths = {
            let core = self.lock_core();
            let read = core.meta.read();
            let nodes = read.nodes_of_blob(body.blob).unwrap_or_default();
            let mut paths: Vec<_> = nodes.iter().filter_map(|node| paths_of(&read, *node).ok()).flatten().collect();
            paths.sort();
            paths
        };
        let aside = match (&fault, body.place, file) {
            _ if self.read_only => Ok(()),
            (Fault::Damaged, Place::Database, _) => self.quarantine_row(body),
            (Fault::Damaged, Place::File, Some(file)) => self.quarantine_file(&digest, file),
            _ => Ok(()),
        };
        if let Err(e) = aside {
            log::error!("putting the damaged body {digest} aside: {e}");
        }
        DamagedBody { digest, size, fault, paths }
    }

    /// Under the lock under which a body is healed, so that a right one is not put aside.
    fn quarantine_file(&self, digest: &Digest, hashed: &File) -> Result<()> {
        let core = self.lock_core();
        let healing = core.side.arriving.contains(digest);
        let same = match self.blobs.open(digest) {
            Ok(now) => crate::cas::stamp(&now)?.inode == crate::cas::stamp(hashed)?.inode,
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if healing || !same {
            return Ok(());
        }
        self.blobs.quarantine(digest)?;
        drop(core);
        self.readers.lock().remove(digest);
        Ok(())
    }

    fn quarantine_row(&self, body: &SealedBody) -> Result<()> {
        self.change(|txn, _| match txn.small_body(body.blob)? {
            Some(bytes) if Digest::of(&bytes) != body.digest => {
                self.blobs.keep_damaged(&body.digest, &bytes)?;
                txn.delete_small_body(body.blob)
            }
            _ => Ok(()),
        })
    }

    /// Makes those who have a damaged file open ask for it again, and fail. The kernel cannot be made to: what it serves by
    /// itself it serves until it is closed.
    fn let_readers_go(&self, body: &SealedBody) {
        let nodes: Vec<NodeId> = self.lock_core().meta.read().nodes_of_blob(body.blob).unwrap_or_default();
        for live in nodes.into_iter().filter_map(|node| self.live.get(node)) {
            if let Content::Sealed(Some(open)) = &mut live.state.lock().content
                && open.blob == body.blob
                && matches!(open.reader, Some(Reader::File(_)))
            {
                open.reader = None;
            }
        }
    }
}

/// Whether a row that was read before is still there.
fn is_current(read: &ReadTxn<'_>, blob: &BlobRow) -> Result<bool> {
    Ok(read.find_blob(&blob.digest)?.is_some_and(|now| now.id == blob.id))
}
