//! Listing directories.

use super::live::Handle;
use super::resolve::directory;
use super::store::Vfs;
use super::types::{DirEntry, HandleId};
use crate::error::Result;
use crate::model::{Kind, NodeId};

/// Entries read from the database at a time.
const BATCH: usize = 256;
/// Offsets of the two entries that stand in no table: `.` and `..`.
const DOTS: u64 = 2;

/// An open directory. Names are given out in their order, which survives changes between two reads; the stream keeps
/// every name it gave out, so that an offset means the same place as long as the stream is open, seekdir(3).
#[derive(Debug)]
pub(super) struct DirStream {
    id: NodeId,
    parent: NodeId,
    /// The names given out, one behind the other, and where each ends.
    names: Vec<u8>,
    ends: Vec<usize>,
}

impl DirStream {
    /// The name that was given out at an offset; empty before the first.
    fn name_at(&self, offset: u64) -> &[u8] {
        let Some(index) = usize::try_from(offset.saturating_sub(DOTS)).ok().and_then(|n| n.checked_sub(1)) else {
            return &[];
        };
        let end = self.ends[index];
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[start..end]
    }

    /// Entries given out so far, as an offset.
    fn given(&self) -> u64 {
        self.ends.len() as u64 + DOTS
    }

    fn note(&mut self, name: &[u8]) {
        self.names.extend_from_slice(name);
        self.ends.push(self.names.len());
    }
}

impl Vfs {
    /// Opens a directory, opendir(3).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    pub fn opendir(&self, id: NodeId) -> Result<HandleId> {
        let parent = {
            let core = self.lock_core();
            let read = core.meta.read();
            directory(&read, id)?;
            read.parent_of(id)?.unwrap_or(id)
        };
        let stream = DirStream { id, parent, names: Vec::new(), ends: Vec::new() };
        Ok(self.handles.insert(Handle::Directory(std::sync::Arc::new(stream.into()))))
    }

    /// Gives out entries behind `offset`, 0 at first, until `emit` returns false: that one will come again.
    ///
    /// # Errors
    /// `BadHandle`, what the database reports.
    pub fn readdir(
        &self,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let stream = self.handles.directory(handle)?;
        let mut stream = stream.lock();
        if offset == 0 {
            // rewinddir(3): a directory that is read anew shows what it holds now.
            stream.names.clear();
            stream.ends.clear();
        }
        let (own, above) = (stream.id, stream.parent);
        for (at, name, id) in [(0, &b"."[..], own), (1, b"..", above)] {
            let dot = DirEntry { next_offset: at + 1, name, id, kind: Kind::Directory, attr: None };
            if offset <= at && !emit(dot) {
                return Ok(());
            }
        }
        // An offset of another stream (a listing that the kernel kept): walk there.
        while stream.given() < offset {
            let wanted = usize::try_from(offset - stream.given()).unwrap_or(BATCH).min(BATCH);
            let after = stream.name_at(stream.given()).to_vec();
            let found = self.lock_core().meta.read().children(own, &after, wanted)?;
            if found.is_empty() {
                return Ok(());
            }
            found.iter().for_each(|entry| stream.note(&entry.name));
        }
        let mut at = offset.max(DOTS);
        loop {
            let after = stream.name_at(at).to_vec();
            let batch = self.entries_behind(own, &after, with_attr)?;
            if batch.is_empty() {
                return Ok(());
            }
            for (name, id, kind, attr) in &batch {
                // A place that was given out already keeps its name, even if the entry behind it is another one now.
                if at < stream.given() {
                    let keep = usize::try_from(at - DOTS).unwrap_or(0);
                    let length = keep.checked_sub(1).map_or(0, |before| stream.ends[before]);
                    stream.ends.truncate(keep);
                    stream.names.truncate(length);
                }
                let entry = DirEntry { next_offset: at + 1, name, id: *id, kind: *kind, attr: attr.as_ref() };
                if !emit(entry) {
                    return Ok(());
                }
                stream.note(name);
                at += 1;
            }
        }
    }

    #[expect(clippy::type_complexity, reason = "the fields of one entry, used at one place")]
    fn entries_behind(
        &self,
        id: NodeId,
        after: &[u8],
        with_attr: bool,
    ) -> Result<Vec<(Vec<u8>, NodeId, Kind, Option<crate::model::Attr>)>> {
        if !with_attr {
            let found = self.lock_core().meta.read().children(id, after, BATCH)?;
            return Ok(found.into_iter().map(|entry| (entry.name, entry.node, entry.kind, None)).collect());
        }
        let found: Vec<_> = {
            let core = self.lock_core();
            let found = core.meta.read().children_with_nodes(id, after, BATCH)?;
            found.into_iter().map(|(name, row)| (name, row, self.live.get(row.attr.id))).collect()
        };
        found
            .into_iter()
            .map(|(name, row, live)| {
                // A live file that ends in between is listed as its row was.
                let attr = self.with_live(row, live).unwrap_or(row.attr);
                Ok((name, attr.id, attr.kind, Some(attr)))
            })
            .collect()
    }

    /// Makes the names of a directory durable, fsync(2).
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn fsyncdir(&self, handle: HandleId) -> Result<()> {
        self.handles.directory(handle)?;
        self.make_durable()
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn releasedir(&self, handle: HandleId) -> Result<()> {
        self.handles.directory(handle)?;
        self.handles.remove(handle).map(drop)
    }
}
