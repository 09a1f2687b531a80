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
        let top = self.resolve(path)?;
        let below = if top.id == NodeId::ROOT { None } else { Some(self.blobs_below(&top)?) };
        let bytes_all = match &below {
            None => self.lock_core().meta.read().count_blobs()?.1,
            Some(blobs) => blobs.iter().map(|(_, size)| size).sum(),
        };
        let mut report = VerifyReport::default();
        let mut after = BlobId(i64::MIN);
        loop {
            let batch = {
                let core = self.lock_core();
                next_blobs(&core.meta.read(), below.as_ref(), after)?
            };
            let Some(last) = batch.last() else { return Ok(report) };
            after = last.id;
            for blob in batch {
                if self.verify_one(&blob, bytes_all, &mut report, tell)?.is_break() {
                    return Ok(report);
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

/// Some blobs behind `after`, by number: of those that are wanted, or of all.
fn next_blobs(read: &ReadTxn<'_>, wanted: Option<&BTreeSet<(BlobId, u64)>>, after: BlobId) -> Result<Vec<BlobRow>> {
    let Some(wanted) = wanted else { return read.blobs(after, BATCH) };
    let mut rows = Vec::new();
    for (id, _) in wanted.range((after, u64::MAX)..).take(BATCH) {
        // One that has gone since is passed over.
        let row = read.blobs(BlobId(id.0 - 1), 1)?.into_iter().next();
        rows.extend(row.filter(|row| row.id == *id));
    }
    Ok(rows)
}
