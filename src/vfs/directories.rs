//! Listing directories.

use super::live::Handle;
use super::resolve::directory;
use super::store::Vfs;
use super::types::{DirEntry, HandleId};
use crate::error::Result;
use crate::meta::EntryRow;
use crate::model::{Attr, Kind, NodeId};

/// Entries read from the database at first: about what an answer of a page takes with its attributes.
const BATCH_MIN: usize = 32;
/// Entries read at a time when more are wanted.
const BATCH_MAX: usize = 256;
/// Offsets of the two entries that stand in no table: `.` and `..`.
const DOTS: u64 = 2;

/// An open directory. An offset is the place of a name, which it keeps as long as it is there, and which no stream has to
/// remember: what is removed or made between two reads moves nothing, seekdir(3). The kernel needs that too, because it
/// keeps listings, forgets parts of them, and then asks one stream for what follows the offset of another.
#[derive(Debug)]
pub(super) struct DirStream {
    id: NodeId,
    parent: NodeId,
    /// The last place there was when the directory was opened or read anew. What is made later is not listed: a program
    /// that renames what it lists would get each new name too, and never end.
    last: i64,
}

/// An entry on its way out.
struct Listed {
    entry: EntryRow,
    attr: Option<Attr>,
}

impl Vfs {
    /// Opens a directory, opendir(3).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    pub fn opendir(&self, id: NodeId) -> Result<HandleId> {
        let (parent, last) = {
            let core = self.lock_core();
            let read = core.meta.read();
            directory(&read, id)?;
            (read.parent_of(id)?.unwrap_or(id), read.last_place(id)?)
        };
        let stream = DirStream { id, parent, last };
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
        let (own, above, last) = {
            let stream = self.handles.directory(handle)?;
            let mut stream = stream.lock();
            if offset == 0 {
                // rewinddir(3): a directory that is read anew shows what it holds now.
                stream.last = self.lock_core().meta.read().last_place(stream.id)?;
            }
            (stream.id, stream.parent, stream.last)
        };
        for (at, name, id) in [(0, &b"."[..], own), (1, b"..", above)] {
            let dot = DirEntry { next_offset: at + 1, name, id, kind: Kind::Directory, attr: None };
            if offset <= at && !emit(dot) {
                return Ok(());
            }
        }
        let mut after = i64::try_from(offset.max(DOTS)).unwrap_or(i64::MAX);
        let mut count = BATCH_MIN;
        loop {
            let batch = self.entries_behind(own, (after, last), count, with_attr)?;
            count = (count * 2).min(BATCH_MAX);
            if batch.is_empty() {
                return Ok(());
            }
            for Listed { entry, attr } in &batch {
                let EntryRow { name, node, kind, place } = entry;
                let next_offset = place.cast_unsigned();
                if !emit(DirEntry { next_offset, name, id: *node, kind: *kind, attr: attr.as_ref() }) {
                    return Ok(());
                }
                after = *place;
            }
        }
    }

    fn entries_behind(&self, id: NodeId, places: (i64, i64), count: usize, with_attr: bool) -> Result<Vec<Listed>> {
        if !with_attr {
            let found = self.lock_core().meta.read().listed(id, places, count)?;
            return Ok(found.into_iter().map(|entry| Listed { entry, attr: None }).collect());
        }
        let found: Vec<_> = {
            let core = self.lock_core();
            let found = core.meta.read().listed_with_nodes(id, places, count)?;
            found.into_iter().map(|(name, row, place)| (name, row, place, self.live.get(row.attr.id))).collect()
        };
        let listed = found.into_iter().map(|(name, row, place, live)| {
            // A live file that ends in between is listed as its row was.
            let attr = self.with_live(row, live).unwrap_or(row.attr);
            Listed { entry: EntryRow { name, node: attr.id, kind: attr.kind, place }, attr: Some(attr) }
        });
        Ok(listed.collect())
    }

    /// Makes the names of a directory durable, fsync(2).
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn fsyncdir(&self, handle: HandleId) -> Result<()> {
        self.handles.directory(handle)?;
        self.sync_names()
    }

    /// Makes the names of all directories durable; the bytes of files only as far as they are saved.
    ///
    /// # Errors
    /// As [`Vfs::fsyncdir`].
    pub fn sync_names(&self) -> Result<()> {
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
