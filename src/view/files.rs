//! Open files and directories. Who holds a handle was admitted when it was opened.

use super::View;
use super::virtuals::{Trees, read_only};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, NodeId};
use crate::vfs::{Allocate, DirEntry, HandleId, OpenMode, Opened, Seek, Serving};

impl View {
    /// As [`Vfs::open`](crate::vfs::Vfs::open).
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, caller: &Caller, id: NodeId, mode: OpenMode) -> Result<Opened> {
        let _telling = self.telling();
        if id.is_virtual() {
            if mode.write || mode.truncate {
                return Err(read_only());
            }
            return Ok(Opened { handle: self.trees.open(id)?, serving: Serving::Computed });
        }
        self.vfs.open(caller, id, mode)
    }

    /// As [`Vfs::read`](crate::vfs::Vfs::read).
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, handle: HandleId, offset: u64, into: &mut [u8]) -> Result<usize> {
        let _telling = self.telling();
        if Trees::owns(handle) {
            return self.trees.read(handle, offset, into);
        }
        self.vfs.read(handle, offset, into)
    }

    /// As [`Vfs::write`](crate::vfs::Vfs::write).
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        let _telling = self.telling();
        self.vfs.write(handle, offset, data)
    }

    /// As [`Vfs::fsync`](crate::vfs::Vfs::fsync); what is computed is always as durable as it can be.
    ///
    /// # Errors
    /// As there.
    pub fn fsync(&self, handle: HandleId) -> Result<()> {
        let _telling = self.telling();
        if Trees::owns(handle) {
            return Ok(());
        }
        self.vfs.fsync(handle)
    }

    /// As [`Vfs::release`](crate::vfs::Vfs::release).
    ///
    /// # Errors
    /// As there.
    pub fn release(&self, handle: HandleId) -> Result<()> {
        let _telling = self.telling();
        if Trees::owns(handle) {
            return self.trees.release(handle);
        }
        self.vfs.release(handle)
    }

    /// As [`Vfs::seek`](crate::vfs::Vfs::seek).
    ///
    /// # Errors
    /// As there.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        if Trees::owns(handle) {
            return Err(Error::new(ErrorKind::Invalid, "look for holes in a computed file"));
        }
        self.vfs.seek(handle, offset, what)
    }

    /// As [`Vfs::allocate`](crate::vfs::Vfs::allocate).
    ///
    /// # Errors
    /// As there.
    pub fn allocate(&self, handle: HandleId, what: Allocate, offset: u64, length: u64) -> Result<()> {
        let _telling = self.telling();
        self.vfs.allocate(handle, what, offset, length)
    }

    /// As [`Vfs::copy_range`](crate::vfs::Vfs::copy_range).
    ///
    /// # Errors
    /// As there; `CrossScope` where one of the files is computed: the kernel then copies by reading and writing.
    pub fn copy_range(
        &self,
        from: HandleId,
        from_offset: u64,
        to: HandleId,
        to_offset: u64,
        length: u64,
    ) -> Result<u64> {
        let _telling = self.telling();
        if Trees::owns(from) || Trees::owns(to) {
            return Err(Error::new(ErrorKind::CrossScope, "share what is computed"));
        }
        self.vfs.copy_range(from, from_offset, to, to_offset, length)
    }

    /// As [`Vfs::opendir`](crate::vfs::Vfs::opendir).
    ///
    /// # Errors
    /// As there.
    pub fn opendir(&self, id: NodeId) -> Result<HandleId> {
        if id.is_virtual() {
            return self.trees.open_directory(id);
        }
        self.vfs.opendir(id)
    }

    /// As [`Vfs::readdir`](crate::vfs::Vfs::readdir).
    ///
    /// # Errors
    /// As there.
    pub fn readdir(
        &self,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        if Trees::owns(handle) {
            return self.trees.read_directory(handle, offset, with_attr, emit);
        }
        self.vfs.readdir(handle, offset, with_attr, emit)
    }

    /// As [`Vfs::fsyncdir`](crate::vfs::Vfs::fsyncdir).
    ///
    /// # Errors
    /// As there.
    pub fn fsyncdir(&self, handle: HandleId) -> Result<()> {
        if Trees::owns(handle) {
            return Ok(());
        }
        self.vfs.fsyncdir(handle)
    }

    /// As [`Vfs::releasedir`](crate::vfs::Vfs::releasedir).
    ///
    /// # Errors
    /// As there.
    pub fn releasedir(&self, handle: HandleId) -> Result<()> {
        if Trees::owns(handle) {
            return self.trees.release(handle);
        }
        self.vfs.releasedir(handle)
    }
}
