//! Every invariant of metadata against content. Those of the tables alone are in `meta/sqlite/invariants.rs`.

use std::collections::HashSet;
use std::fs::File;

use super::resolve::paths_of;
use super::store::Vfs;
use crate::error::{ErrorKind, Result};
use crate::meta::{BlobId, BlobRow, BodyRow, Place, ReadTxn};
use crate::model::{Digest, NodeId};

/// Blobs looked at under one hold of the lock.
const BATCH: usize = 256;
/// How many paths of a damaged body are told.
const PATHS_MAX: usize = 10;
/// The directories of every store.
pub(super) const DIRECTORIES: [&str; 3] = ["cas", "staging", "quarantine"];

/// What [`Vfs::check`] found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Violations of an invariant, a sentence each.
    pub problems: Vec<String>,
    /// Residue of a crash that the next start or collection clears, a sentence each: not a problem.
    pub residue: Vec<String>,
}

/// What is found where the bytes of a blob should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// They are there, and hash to its name.
    Right,
    /// They are, but are so many.
    OfSize(u64),
    /// Nothing.
    Missing,
    /// Something that does not hash to its name.
    Damaged,
    /// They cannot be read, which says nothing about what they are.
    Unreadable(String),
}

impl Vfs {
    /// Compares all metadata with all content. The store may be in use; the bytes of big bodies are hashed only where
    /// their file is not the one that was sealed or last verified.
    ///
    /// # Errors
    /// What keeps the check from being made: the database or the disk cannot be read.
    pub fn check(&self) -> Result<CheckReport> {
        let found = self.lock_core().meta.read().violations()?;
        let mut report = CheckReport { problems: found.told, ..CheckReport::default() };
        if found.unreadable {
            report.problems.push("nothing else was checked, because the database cannot be read as it is".into());
            return Ok(report);
        }
        for name in DIRECTORIES.iter().filter(|name| !self.data_dir.join(name).is_dir()) {
            report.problems.push(format!("the directory {name} of the store is missing"));
        }
        // The queue is made from the attributes by the first start after a migration.
        {
            let core = self.lock_core();
            let read = core.meta.read();
            if read.setting("work_unknown")?.is_none() {
                report.problems.extend(crate::work::violations(read)?);
            }
        }
        self.check_blobs(&mut report)?;
        self.check_drafts(&mut report)?;
        self.check_orphans(&mut report)?;
        self.check_files(&mut report)?;
        Ok(report)
    }

    /// What of a crash is still to be cleared, a sentence each.
    pub(super) fn residue(&self) -> Result<Vec<String>> {
        let mut report = CheckReport::default();
        self.check_drafts(&mut report)?;
        self.check_orphans(&mut report)?;
        self.check_files(&mut report)?;
        Ok(report.residue)
    }

    /// Every blob has its bytes, as many as it says, and they hash to its digest.
    fn check_blobs(&self, report: &mut CheckReport) -> Result<()> {
        let mut after = BlobId(i64::MIN);
        loop {
            let batch = {
                let core = self.lock_core();
                let read = core.meta.read();
                let rows = read.blobs(after, BATCH)?;
                for blob in rows.iter().filter(|blob| blob.place == Place::Database) {
                    let bytes = look_at_row(&read, blob)?;
                    self.tell_of_blob(&read, blob, &bytes, report);
                }
                rows
            };
            let Some(last) = batch.last() else { return Ok(()) };
            after = last.id;
            for blob in batch.iter().filter(|blob| blob.place == Place::File) {
                let bytes = self.look_at_file(blob);
                let core = self.lock_core();
                let read = core.meta.read();
                // Gone with its row in between, in a store that is in use.
                if bytes != Bytes::Right && read.find_blob(&blob.digest)?.is_some_and(|now| now.id == blob.id) {
                    self.tell_of_blob(&read, blob, &bytes, report);
                }
            }
        }
    }

    fn tell_of_blob(&self, read: &ReadTxn<'_>, blob: &BlobRow, bytes: &Bytes, report: &mut CheckReport) {
        let aside = self.data_dir.join("quarantine").join(blob.digest.to_string()).exists();
        let state = match bytes {
            Bytes::Right => return,
            Bytes::OfSize(size) => format!("has {size} bytes instead of {}", blob.size),
            Bytes::Missing if aside => "is missing, and a damaged one is in quarantine".into(),
            Bytes::Missing => "is missing".into(),
            Bytes::Damaged => "does not hash to its name".into(),
            Bytes::Unreadable(why) => format!("cannot be read ({why})"),
        };
        let place = match blob.place {
            Place::Database => "in the database",
            Place::File => "in a file",
        };
        let holders = holders(read, blob.id);
        report.problems.push(format!("the body {} {place} {state}: it is that of {holders}", blob.digest));
    }

    /// What the file of a blob holds.
    pub(super) fn look_at_file(&self, blob: &BlobRow) -> Bytes {
        let file = match self.blobs.open(&blob.digest) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Bytes::Missing,
            Err(e) => return Bytes::Unreadable(e.to_string()),
        };
        hash(&file, blob).unwrap_or_else(|e| Bytes::Unreadable(e.to_string()))
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
            if !self.staging.path(draft).is_file() {
                let core = self.lock_core();
                let read = core.meta.read();
                if read.find_node(row.attr.id)?.is_some_and(|now| now.body == row.body) {
                    let paths = paths(&read, row.attr.id);
                    report.problems.push(format!("the staging file {} of {paths} is missing", draft.0));
                }
            }
        }
        if !self.data_dir.join("staging").is_dir() {
            return Ok(());
        }
        let found = self.staging.scan()?;
        let unused = found.drafts.iter().filter(|found| !wanted.contains(found)).count() + found.cut_short.len();
        if unused > leaving {
            report.residue.push(format!("{unused} staging files belong to no node"));
        }
        let strangers = found.strangers.iter().map(|path| format!("{} does not belong into the store", path.display()));
        report.problems.extend(strangers);
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
        if !self.data_dir.join("cas").is_dir() {
            return Ok(());
        }
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

/// What the database holds of a small blob.
pub(super) fn look_at_row(read: &ReadTxn<'_>, blob: &BlobRow) -> Result<Bytes> {
    Ok(match read.small_body(blob.id)? {
        None => Bytes::Missing,
        Some(body) if Digest::of(&body) != blob.digest => Bytes::Damaged,
        Some(body) if body.len() as u64 != blob.size => Bytes::OfSize(body.len() as u64),
        Some(_) => Bytes::Right,
    })
}

fn hash(file: &File, blob: &BlobRow) -> Result<Bytes> {
    let found = file.metadata().map_err(|e| crate::error::Error::io("look at a blob's file", e))?;
    if !found.is_file() {
        return Ok(Bytes::Damaged);
    }
    if found.len() == blob.size && blob.stamp == Some(crate::cas::stamp(file)?) {
        return Ok(Bytes::Right);
    }
    Ok(match crate::cas::hash_file(file, |_| true)? {
        Some((digest, size)) if digest == blob.digest && size == blob.size => Bytes::Right,
        Some((digest, size)) if digest == blob.digest => Bytes::OfSize(size),
        _ => Bytes::Damaged,
    })
}

/// The paths of all files whose body a blob is.
pub(super) fn holders(read: &ReadTxn<'_>, blob: BlobId) -> String {
    let nodes = read.nodes_of_blob(blob).unwrap_or_default();
    shown(nodes.iter().flat_map(|node| paths_of(read, *node).unwrap_or_default()).map(|path| path.to_string()))
        .unwrap_or_else(|| "no file with a path".into())
}

/// The paths of a node, or its number where it has none.
pub(super) fn paths(read: &ReadTxn<'_>, id: NodeId) -> String {
    shown(paths_of(read, id).unwrap_or_default().iter().map(ToString::to_string))
        .unwrap_or_else(|| format!("node {id}, which has no path"))
}

fn shown(paths: impl Iterator<Item = String>) -> Option<String> {
    let mut paths: Vec<_> = paths.map(|path| path.replace(char::is_control, "?")).collect();
    let more = paths.len().saturating_sub(PATHS_MAX);
    paths.truncate(PATHS_MAX);
    match (paths.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(paths.join(", ")),
        (false, more) => Some(format!("{} and {more} more", paths.join(", "))),
    }
}
