//! Open files. Who holds a handle was admitted when it was opened.

use super::View;
use super::virtuals::Trees;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, NodeId};
use crate::vfs::{Allocate, HandleId, OpenMode, Opened, Seek, Serving, Take};

impl View {
    /// As [`Vfs::open`](crate::vfs::Vfs::open).
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, caller: &Caller, id: NodeId, mode: OpenMode) -> Result<Opened> {
        self.open_taking(caller, id, mode, None)
    }

    /// As [`Vfs::open_taking`](crate::vfs::Vfs::open_taking), where the file is only read.
    ///
    /// # Errors
    /// As [`View::open`].
    pub fn open_taking(&self, caller: &Caller, id: NodeId, mode: OpenMode, take: Option<Take<'_>>) -> Result<Opened> {
        let _telling = self.telling();
        let mode = OpenMode { viewer: self.origin, ..mode };
        if id.is_virtual() {
            if mode.write || mode.truncate {
                return Err(self.change_tree(id));
            }
            self.look_at_tree(id)?;
            return Ok(Opened {
                handle: self.trees.open(id)?,
                serving: Serving::Vfs { keep_cache: false, direct: true },
            });
        }
        if mode.write || mode.truncate {
            return self.gate.change(id)?.open(caller, id, mode);
        }
        let vfs = self.vfs();
        self.gate.look_and_keep(
            id,
            |vfs| vfs.open_taking(caller, id, mode, take),
            |opened| drop(vfs.release(opened.handle)),
        )
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
        self.vfs().read(handle, offset, into)
    }

    /// As [`Vfs::write`](crate::vfs::Vfs::write).
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<usize> {
        let _telling = self.telling();
        self.vfs().write(handle, offset, data)
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
        self.vfs().fsync(handle)
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
        self.vfs().release(handle)
    }

    /// Whether there is something to read: always, except where somebody who has read a computed file waits for it to
    /// change. He is woken by changes of the queue ([`Vfs::work_wait`](crate::vfs::Vfs::work_wait)), and asks again.
    ///
    /// # Errors
    /// `BadHandle`, what computing the file reports.
    pub fn is_ready(&self, handle: HandleId) -> Result<bool> {
        if Trees::owns(handle) { self.trees.is_news(handle) } else { Ok(true) }
    }

    /// As [`Vfs::seek`](crate::vfs::Vfs::seek).
    ///
    /// # Errors
    /// As there.
    pub fn seek(&self, handle: HandleId, offset: u64, what: Seek) -> Result<u64> {
        if Trees::owns(handle) {
            return Err(Error::new(ErrorKind::Invalid, "look for holes in a computed file"));
        }
        self.vfs().seek(handle, offset, what)
    }

    /// As [`Vfs::allocate`](crate::vfs::Vfs::allocate).
    ///
    /// # Errors
    /// As there.
    pub fn allocate(&self, handle: HandleId, what: Allocate, offset: u64, length: u64) -> Result<()> {
        let _telling = self.telling();
        self.vfs().allocate(handle, what, offset, length)
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
        self.vfs().copy_range(from, from_offset, to, to_offset, length)
    }
}
