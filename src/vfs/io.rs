//! Input and output on open files: read, write, truncate, allocate, seek.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::body::{end_of, read_file};
use super::changes::{note, noting};
use super::live::{Content, LiveState, Reader};
use super::store::Vfs;
use super::types::{Allocate, HandleId, Seek};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::BodyRow;
use crate::model::{Change, MEMORY_DRAFT_BYTES_MAX, NodeId};

/// How much of a long draft is given to the disk at a time: a write of its own for any disk, and soon done.
const WRITE_BACK_BYTES: u64 = 8 << 20;
/// Drafts that are shorter stay in memory until they are synced.
const WRITE_BACK_FROM: u64 = 32 << 20;

impl Vfs {
    /// Reads into `into`; fewer bytes only at the end of the file, read(2).
    ///
    /// # Errors
    /// `BadHandle`, `Damaged`, what the disk reports.
    pub fn read(&self, handle: HandleId, offset: u64, into: &mut [u8]) -> Result<usize> {
        let file = self.handles.file(handle)?;
        let staged = {
            let mut state = file.live.state.lock();
            if state.atime_due && !file.noatime {
                note([Change::Attributes(file.live.id)]);
                self.note_read(&mut state);
            }
            match &state.content {
                Content::Staged { file, .. } => Arc::clone(file),
                _ => return self.read_content(&mut state, offset, into),
            }
        };
        read_file(&staged, offset, into)
    }

    /// Notes a read, as often as relatime wants it.
    pub(super) fn note_read(&self, state: &mut LiveState) {
        if state.atime_due && !self.read_only {
            state.atime = Some(self.now());
            state.atime_due = false;
        }
    }

    /// Writes at an offset, pwrite(2); a gap before it reads as zeros. Fewer bytes than given when the disk takes no more. For a handle in append mode the caller gives the
    /// end of the file as offset, as the kernel does.
    ///
    /// # Errors
    /// `BadHandle` for a handle that is not open for writing, `NoSpace`, `FileTooLarge`, what the disk reports.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        self.write_where(handle, Some(offset), data)
    }

    /// Writes at an offset, or at the end as it is when the file is locked.
    pub(super) fn write_where(&self, handle: HandleId, offset: Option<u64>, data: &[u8]) -> Result<usize> {
        let file = self.handles.file(handle)?;
        if !file.write {
            return Err(Error::new(ErrorKind::BadHandle, "write to a file open for reading"));
        }
        if data.is_empty() {
            return Ok(0);
        }
        self.check_writable()?;
        self.space.take(data.len() as u64)?;
        let mut state = file.live.state.lock();
        let offset = match offset {
            Some(offset) => offset,
            None => state.size()?,
        };
        let end = end_of(offset, data.len() as u64)?;
        if let Some(at) = state.pages_dropped.iter().position(|viewer| *viewer == file.viewer) {
            state.pages_dropped.swap_remove(at);
            self.changes.stale.clear(file.live.id, file.viewer);
        }
        self.make_draft(file.live.id, &mut state, end)?;
        let now = self.now();
        if noting() {
            let from = offset.min(state.size()?);
            note([Change::Bytes { node: file.live.id, from, to: end }]);
        }
        let mut written = data.len();
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let (from, to) = (memory_offset(offset)?, memory_offset(end)?);
                if to > bytes.len() {
                    self.space.memory((to - bytes.len()) as i64);
                    bytes.resize(to, 0);
                }
                bytes[from..to].copy_from_slice(data);
                *saved = false;
            }
            Content::Staged { file, .. } => {
                written = write_file(file, offset, data)?;
                write_back(file, offset, written as u64);
            }
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "write a sealed body")),
        }
        state.touch_written(now)?;
        Ok(written)
    }

    /// Sets the size of a file by its number, truncate(2).
    pub(super) fn truncate(&self, id: NodeId, size: u64) -> Result<()> {
        let live = self.live.acquire(id);
        let outcome = {
            let mut state = live.state.lock();
            self.load(id, &mut state).and_then(|()| self.set_size(id, &mut state, size))
        };
        self.let_go(&live)?;
        outcome
    }

    /// Sets the size of a live file; growth reads as zeros.
    pub(super) fn set_size(&self, id: NodeId, state: &mut LiveState, size: u64) -> Result<()> {
        end_of(size, 0)?;
        let before = state.size()?;
        if size > before {
            self.space.take(0)?;
        }
        let now = self.now();
        note([Change::Bytes { node: id, from: size.min(before), to: u64::MAX }]);
        if size == 0 && state.kernel_handles == 0 {
            self.make_empty(id, state)?;
        } else {
            self.make_draft(id, state, size)?;
        }
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let length = memory_offset(size)?;
                self.space.memory(length as i64 - bytes.len() as i64);
                bytes.resize(length, 0);
                *saved = false;
            }
            Content::Staged { file, .. } => {
                file.set_len(size).map_err(|e| Error::io("set the size of a draft", e))?;
            }
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "set the size of a sealed body")),
        }
        state.touch_written(now)?;
        Ok(())
    }

    /// Gives a body up for an empty draft, without reading or copying it.
    fn make_empty(&self, id: NodeId, state: &mut LiveState) -> Result<()> {
        match &state.content {
            Content::Memory { .. } => return Ok(()),
            Content::Sealed(None) => {}
            // The row keeps its blob until the draft is saved: a crash before that leaves the old body.
            Content::Sealed(Some(_)) => {}
            Content::Staged { .. } => {
                self.change(|txn, side| {
                    let row = txn.node(id)?;
                    let now = self.now();
                    let emptied = row.with_body(BodyRow::Empty, 0, 0);
                    let change = crate::meta::BodyChange { mtime: now, ctime: now, ..emptied };
                    txn.update_body(id, &change)?;
                    side.drop_body(txn, row.body)
                })?;
            }
        }
        state.content = Content::Memory { bytes: Vec::new(), saved: false };
        Ok(())
    }

    /// Finds data or a hole, lseek(2) with `SEEK_DATA` and `SEEK_HOLE`. The end of the file is a hole.
    ///
    /// # Errors
    /// `NoSuchAddress` at or beyond the end, and for data where none follows.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        let file = self.handles.file(handle)?;
        let mut state = file.live.state.lock();
        let size = state.size()?;
        let nowhere = || Error::new(ErrorKind::NoSuchAddress, "seek for data or a hole");
        if offset >= size {
            return Err(nowhere());
        }
        let seek_in = |file: &std::fs::File| {
            let to = match what {
                Seek::Data => rustix::fs::SeekFrom::Data(offset),
                Seek::Hole => rustix::fs::SeekFrom::Hole(offset),
            };
            // The position of these descriptors is used by nothing else: reads and writes name their offset.
            match rustix::fs::seek(file, to) {
                Ok(found) => Ok(found),
                Err(rustix::io::Errno::NXIO) => Err(nowhere()),
                Err(e) => Err(Error::io("seek for data or a hole", e.into())),
            }
        };
        let in_memory = match what {
            Seek::Data => offset,
            Seek::Hole => size,
        };
        match &mut state.content {
            Content::Staged { file, .. } => seek_in(file),
            Content::Sealed(Some(body)) => match self.reader(body)? {
                Reader::File(reader) => seek_in(&reader.0.read()),
                Reader::Bytes(_) => Ok(in_memory),
            },
            _ => Ok(in_memory),
        }
    }

    /// Allocates, punches and zeroes ranges, fallocate(2).
    ///
    /// # Errors
    /// `BadHandle`, `Invalid` for an empty range, `NoSpace`, `FileTooLarge`, what the disk reports.
    pub fn allocate(&self, handle: HandleId, how: Allocate, offset: u64, length: u64) -> Result<()> {
        let file = self.handles.file(handle)?;
        if !file.write {
            return Err(Error::new(ErrorKind::BadHandle, "allocate in a file open for reading"));
        }
        if length == 0 {
            return Err(Error::new(ErrorKind::Invalid, "allocate an empty range"));
        }
        self.check_writable()?;
        let end = end_of(offset, length)?;
        if how != Allocate::PunchHole {
            self.space.take(length)?;
        }
        let id = file.live.id;
        let mut state = file.live.state.lock();
        let size = state.size()?;
        let grown = match how {
            Allocate::Grow | Allocate::ZeroRange => size.max(end),
            Allocate::KeepSize | Allocate::PunchHole | Allocate::ZeroRangeKeepSize => size,
        };
        // Space beyond the end can be had only in a file.
        let needs = if how == Allocate::KeepSize { grown.max(end) } else { grown };
        self.make_draft(id, &mut state, needs)?;
        let now = self.now();
        note([Change::Bytes { node: id, from: offset.min(size), to: u64::MAX }]);
        match &mut state.content {
            Content::Memory { bytes, saved } => {
                let length = memory_offset(grown)?;
                self.space.memory((length - bytes.len()) as i64);
                bytes.resize(length, 0);
                if !matches!(how, Allocate::Grow | Allocate::KeepSize) {
                    let (from, to) = (memory_offset(offset.min(grown))?, memory_offset(end.min(grown))?);
                    bytes[from..to].fill(0);
                }
                *saved = false;
            }
            Content::Staged { file, .. } => allocate_in(file, how, offset, length)?,
            Content::Sealed(_) => return Err(Error::new(ErrorKind::Io, "allocate in a sealed body")),
        }
        state.touch_written(now)?;
        Ok(())
    }
}

/// Has the disk begin with what a long sequential write has left behind, so that the sync at its end, or the seal, finds
/// little to do. Short files are left in memory: many are removed before the disk would ever see them.
fn write_back(file: &std::fs::File, offset: u64, written: u64) {
    let full = (offset + written) / WRITE_BACK_BYTES * WRITE_BACK_BYTES;
    if full > offset && full >= WRITE_BACK_FROM {
        crate::cas::begin_to_write_back(file, full - WRITE_BACK_BYTES..full);
    }
}

/// Writes as much as the disk takes; an error only when that is nothing.
fn write_file(file: &std::fs::File, offset: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(&data[done..], offset + done as u64) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) if done > 0 => break,
            Ok(written) if written > 0 => done += written,
            Ok(_) => return Err(Error::new(ErrorKind::Io, "write a draft")),
            Err(e) => return Err(Error::io("write a draft", e)),
        }
    }
    Ok(done)
}

fn memory_offset(offset: u64) -> Result<usize> {
    debug_assert!(offset <= MEMORY_DRAFT_BYTES_MAX as u64, "drafts beyond the limit are staged");
    usize::try_from(offset).map_err(|e| Error::new(ErrorKind::FileTooLarge, "address a draft").because(e))
}

/// fallocate(2) on a staging file.
fn allocate_in(file: &std::fs::File, how: Allocate, offset: u64, length: u64) -> Result<()> {
    let flags = match how {
        Allocate::Grow => FallocateFlags::empty(),
        Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocate::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    };
    rustix::fs::fallocate(file.as_fd(), flags, offset, length).map_err(|e| Error::io("allocate in a draft", e.into()))
}
