//! Every invariant of metadata against content. Those of the tables alone are in `meta/sqlite/invariants.rs`.

use std::collections::HashSet;

use super::store::Vfs;
use crate::error::{ErrorKind, Result};
use crate::meta::{BlobId, BlobRow, BodyRow, Place};
use crate::model::Digest;

/// Blobs looked at under one hold of the lock.
const BATCH: usize = 256;

/// What [`Vfs::check`] found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Violations of an invariant, a sentence each.
    pub problems: Vec<String>,
    /// Residue of a crash that the next start or collection clears, a sentence each: not a problem.
    pub residue: Vec<String>,
}

impl Vfs {
    /// Compares all metadata with all content. The store may be in use; the bytes of big bodies are hashed only where
    /// their file is not the one that was sealed or last verified.
    ///
    /// # Errors
    /// What keeps the check from being made: the database or the disk cannot be read.
    pub fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport { problems: self.lock_core().meta.read().violations()?, ..CheckReport::default() };
        self.check_blobs(&mut report)?;
        self.check_drafts(&mut report)?;
        self.check_orphans(&mut report)?;
        self.check_files(&mut report)?;
        Ok(report)
    }

    /// Every blob has its bytes, and they hash to its digest.
    fn check_blobs(&self, report: &mut CheckReport) -> Result<()> {
        let mut after = BlobId(0);
        loop {
            let batch = {
                let core = self.lock_core();
                let read = core.meta.read();
                let rows = read.blobs(after, BATCH)?;
                for blob in rows.iter().filter(|blob| blob.place == Place::Database) {
                    let body = read.small_body(blob.id)?;
                    let right = body.as_ref().is_some_and(|body| Digest::of(body) == blob.digest);
                    if !right {
                        let state = if body.is_some() { "does not hash to its name" } else { "is missing" };
                        report.problems.push(format!("the body {} in the database {state}", blob.digest));
                    }
                }
                rows
            };
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.id;
            for blob in batch.iter().filter(|blob| blob.place == Place::File) {
                self.check_blob_file(blob, report)?;
            }
        }
    }

    fn check_blob_file(&self, blob: &BlobRow, report: &mut CheckReport) -> Result<()> {
        let file = match self.blobs.open(&blob.digest) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // Gone with its row in between, in a store that is in use.
                if self.lock_core().meta.read().find_blob(&blob.digest)?.is_some_and(|now| now.id == blob.id) {
                    report.problems.push(format!("the file of blob {} is missing", blob.digest));
                }
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        if blob.stamp == Some(crate::cas::stamp(&file)?) {
            return Ok(());
        }
        if crate::cas::hash_file(&file, |_| true)? != Some((blob.digest, blob.size)) {
            report.problems.push(format!("the file of blob {} does not hash to its name", blob.digest));
        }
        Ok(())
    }

    /// Every draft has its staging file; a staging file without a draft is residue.
    fn check_drafts(&self, report: &mut CheckReport) -> Result<()> {
        let (drafts, leaving) = {
            let core = self.lock_core();
            (core.meta.read().drafts()?, core.side.removals.len())
        };
        let mut wanted = HashSet::new();
        for row in drafts {
            let BodyRow::Draft(draft) = row.body else { continue };
            wanted.insert(draft);
            if !self.staging.path(draft).exists() {
                let still =
                    self.lock_core().meta.read().find_node(row.attr.id)?.is_some_and(|now| now.body == row.body);
                if still {
                    report.problems.push(format!("the staging file {} of node {} is missing", draft.0, row.attr.id));
                }
            }
        }
        let unused = self.staging.scan(false)?.into_iter().filter(|found| !wanted.contains(found)).count();
        if unused > leaving {
            report.residue.push(format!("{unused} staging files belong to no node"));
        }
        Ok(())
    }

    /// A node without a name is one that somebody has open, or residue.
    fn check_orphans(&self, report: &mut CheckReport) -> Result<()> {
        let orphans = self.lock_core().meta.read().orphans()?;
        let unused = orphans.iter().filter(|row| self.live.users(row.attr.id) == 0).count();
        if unused > 0 {
            report.residue.push(format!("{unused} nodes without a name were open at a crash"));
        }
        Ok(())
    }

    /// A file of `cas/` that no row names is residue, and one with a name that is no digest does not belong there.
    fn check_files(&self, report: &mut CheckReport) -> Result<()> {
        let mut strangers = Vec::new();
        let (mut unnamed, mut bytes) = (0_u64, 0);
        self.blobs.list(
            &mut |digest, size| {
                if self.lock_core().meta.read().find_blob(&digest)?.is_none() {
                    unnamed += 1;
                    bytes += size;
                }
                Ok(())
            },
            &mut |path| strangers.push(path.display().to_string()),
        )?;
        if unnamed > 0 {
            report.residue.push(format!("{unnamed} files of {bytes} bytes in cas/ belong to no blob"));
        }
        report.problems.extend(strangers.into_iter().map(|path| format!("{path} does not belong into the store")));
        Ok(())
    }
}
