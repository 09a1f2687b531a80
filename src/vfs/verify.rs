//! Hashing every body now, or those below a path.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::damage::{DamagedBody, Inspected};
use super::store::Vfs;
use crate::error::Result;
use crate::meta::{BlobId, BlobRow, BodyRow, ReadTxn};
use crate::model::{Attr, Kind, NodeId, VPath};

/// Rows read under one hold of the lock.
const BATCH: usize = 256;

/// What [`Vfs::verify`] tells while it is at work.
#[derive(Debug)]
pub enum VerifyEvent<'a> {
    /// So much is done; told before each MiB and after each body.
    Progress {
        /// Bytes hashed.
        bytes: u64,
        /// Bytes there were to hash when it began.
        bytes_all: u64,
    },
    /// A body was found damaged, and put aside.
    Damaged(&'a DamagedBody),
}

/// What [`Vfs::verify`] found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Bodies that were looked at.
    pub bodies: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// The bodies that are not what they should be.
    pub damaged: Vec<DamagedBody>,
}

/// Bodies to be hashed.
#[derive(Debug)]
pub struct ToVerify {
    /// These, with their sizes; all of the store where nothing is said.
    only: Option<BTreeSet<(BlobId, u64)>>,
    /// Bytes in all of them.
    bytes: u64,
}

impl ToVerify {
    /// These bodies, as [`Vfs::body_of`] tells them.
    #[must_use]
    pub fn only(bodies: BTreeSet<(BlobId, u64)>) -> Self {
        Self { bytes: bodies.iter().map(|(_, size)| size).sum(), only: Some(bodies) }
    }

    /// Bytes in all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Vfs {
    /// Hashes every body at and below a path, or all of the store for the root, whatever is known of them, each once. One
    /// that is damaged is put into quarantine, unless the store is open for reading only. Drafts have no digest yet; they
    /// are not looked at. `tell` is asked to go on at every step.
    ///
    /// # Errors
    /// `NotFound` and `NotADirectory` for the path, what keeps rows from being read. A body that cannot be read is no
    /// error but one that is told.
    pub fn verify(
        &self,
        path: &VPath,
        tell: &mut dyn FnMut(VerifyEvent<'_>) -> ControlFlow<()>,
    ) -> Result<VerifyReport> {
        let bodies = self.to_verify(&self.resolve(path)?)?;
        let mut report = VerifyReport::default();
        self.verify_some(&bodies, None, &|| false, &mut report, tell)?;
        Ok(report)
    }

    /// The bodies of all files at and below a node; of the root, all there are.
    ///
    /// # Errors
    /// What the database reports.
    pub fn to_verify(&self, top: &Attr) -> Result<ToVerify> {
        if top.id != NodeId::ROOT {
            return Ok(ToVerify::only(self.blobs_below(top)?));
        }
        Ok(ToVerify { only: None, bytes: self.lock_core().meta.read().count_blobs()?.1 })
    }

    /// The body of a file and its size; `None` for one that has none or is being written, and for what is no file.
    ///
    /// # Errors
    /// `NotFound`, what the database reports.
    pub fn body_of(&self, id: NodeId) -> Result<Option<(BlobId, u64)>> {
        let row = self.lock_core().meta.read().node(id)?;
        Ok(match row.body {
            BodyRow::Blob(blob) => Some((blob, row.attr.size)),
            _ => None,
        })
    }

    /// Hashes bodies in their order from the one behind `after`, until there are no more or `enough` says so between two,
    /// and adds to `report`. What comes next is behind the body that is returned; `None` when all are done. Where `tell`
    /// breaks off, the body that was being hashed comes again.
    ///
    /// # Errors
    /// As [`Vfs::verify`].
    pub fn verify_some(
        &self,
        bodies: &ToVerify,
        after: Option<BlobId>,
        enough: &dyn Fn() -> bool,
        report: &mut VerifyReport,
        tell: &mut dyn FnMut(VerifyEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<BlobId>> {
        let mut after = after.unwrap_or(BlobId(i64::MIN));
        loop {
            let batch = {
                let core = self.lock_core();
                next_blobs(&core.meta.read(), bodies.only.as_ref(), after)?
            };
            if batch.is_empty() {
                return Ok(None);
            }
            for blob in batch {
                if self.verify_one(&blob, bodies.bytes, report, tell)?.is_break() {
                    return Ok(Some(after));
                }
                after = blob.id;
                if enough() {
                    return Ok(Some(after));
                }
            }
        }
    }

    fn verify_one(
        &self,
        blob: &BlobRow,
        bytes_all: u64,
        report: &mut VerifyReport,
        tell: &mut dyn FnMut(VerifyEvent<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let before = report.bytes;
        let found = self.inspect(blob, |done| {
            let bytes = before + done;
            tell(VerifyEvent::Progress { bytes, bytes_all }).is_continue()
        })?;
        match found {
            Inspected::Stopped => return Ok(ControlFlow::Break(())),
            Inspected::Gone => return Ok(ControlFlow::Continue(())),
            Inspected::Right => {}
            Inspected::Wrong(damaged) => {
                let told = tell(VerifyEvent::Damaged(&damaged));
                report.damaged.push(damaged);
                if told.is_break() {
                    return Ok(told);
                }
            }
        }
        report.bodies += 1;
        report.bytes += blob.size;
        Ok(tell(VerifyEvent::Progress { bytes: report.bytes, bytes_all }))
    }

    /// The blobs, with their sizes, of all files at and below a node.
    fn blobs_below(&self, top: &Attr) -> Result<BTreeSet<(BlobId, u64)>> {
        let mut found = BTreeSet::new();
        if top.kind == Kind::File {
            let row = self.lock_core().meta.read().node(top.id)?;
            if let BodyRow::Blob(blob) = row.body {
                found.insert((blob, row.attr.size));
            }
        }
        let mut directories = if top.kind == Kind::Directory { vec![top.id] } else { Vec::new() };
        while let Some(directory) = directories.pop() {
            let mut after = Vec::new();
            loop {
                let batch = self.lock_core().meta.read().children_with_nodes(directory, &after, BATCH)?;
                let Some((last, _)) = batch.last() else { break };
                after.clone_from(last);
                for (_, row) in batch {
                    match row.body {
                        BodyRow::Blob(blob) => drop(found.insert((blob, row.attr.size))),
                        _ if row.attr.kind == Kind::Directory => directories.push(row.attr.id),
                        _ => {}
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Some blobs behind `after`, by number: of those that are wanted, or of all; none when there are no more.
fn next_blobs(read: &ReadTxn<'_>, wanted: Option<&BTreeSet<(BlobId, u64)>>, after: BlobId) -> Result<Vec<BlobRow>> {
    let Some(wanted) = wanted else { return read.blobs(after, BATCH) };
    let mut rows = Vec::new();
    for (id, _) in wanted.range((after, u64::MAX)..) {
        // One that has gone since is passed over.
        let row = read.blobs(BlobId(id.0 - 1), 1)?.into_iter().next();
        rows.extend(row.filter(|row| row.id == *id));
        if rows.len() == BATCH {
            break;
        }
    }
    Ok(rows)
}
