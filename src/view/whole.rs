//! Whole bodies, as the library writes and copies files.

use super::View;
use super::virtuals::Trees;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Attr, Caller, Name, NodeId};
use crate::vfs::{HandleId, Pieces, Taken};

impl View {
    /// As [`Vfs::put`](crate::vfs::Vfs::put).
    ///
    /// # Errors
    /// As there.
    pub fn put(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, Name<'_>),
        mode: u32,
        taken: Taken,
        pieces: &mut Pieces<'_>,
    ) -> Result<Attr> {
        let _telling = self.telling();
        self.stored(parent, name)?;
        // Refused before anything is received; and admitted for where the directory stands when all is there, because
        // nothing can move to another scope while a pass is held.
        drop(self.gate.make(parent, name)?);
        let body = self.vfs().receive_for((parent, name), taken, pieces)?;
        let made = self.gate.make(parent, name)?.place_received(caller, (parent, name), mode, taken, body)?;
        self.made(parent, name, made)
    }

    /// As [`Vfs::copy`](crate::vfs::Vfs::copy).
    ///
    /// # Errors
    /// As there; `Unsupported` for what is computed.
    pub fn copy(
        &self,
        caller: &Caller,
        from: NodeId,
        (parent, name): (NodeId, Name<'_>),
        taken: Taken,
    ) -> Result<Attr> {
        let _telling = self.telling();
        if from.is_virtual() {
            return Err(Error::new(ErrorKind::Unsupported, "share what is computed"));
        }
        self.stored(parent, name)?;
        self.gate.look(from, |_| Ok(()))?;
        let made = self.gate.make(parent, name)?.copy(caller, from, (parent, name), taken)?;
        self.made(parent, name, made)
    }

    /// As [`Vfs::append`](crate::vfs::Vfs::append).
    ///
    /// # Errors
    /// As there.
    pub fn append(&self, handle: HandleId, data: &[u8]) -> Result<usize> {
        let _telling = self.telling();
        if Trees::owns(handle) {
            return Err(Error::new(ErrorKind::BadHandle, "append to a computed file"));
        }
        self.vfs().append(handle, data)
    }
}
