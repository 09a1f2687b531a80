//! Writing bodies, and making directories and names.

use super::super::request::WriteMode;
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Kind, NodeId, VPath};
use crate::vfs::{OpenMode, RenameMode, Taken};

/// Permission bits of a file that is made.
const FILE_MODE: u32 = 0o644;
/// Permission bits of a directory that is made.
const DIRECTORY_MODE: u32 = 0o755;

impl Context<'_> {
    pub(super) fn write(&self, path: &VPath, mode: WriteMode, exchange: &mut dyn Exchange) -> Result<()> {
        let taken = match mode {
            WriteMode::Replace => Taken::Replace,
            WriteMode::New => Taken::Refuse,
            WriteMode::Append => match self.find(path) {
                Ok(found) => return self.append(found.id, exchange),
                Err(e) if e.kind() == ErrorKind::NotFound => Taken::Refuse,
                Err(e) => return Err(e),
            },
        };
        let target = self.make_parent(path)?;
        if mode != WriteMode::Append {
            return self.view.put(self.caller, target, FILE_MODE, taken, &mut || exchange.piece()).map(drop);
        }
        // Empty at first, so that of two who begin a file neither loses what the other adds.
        match self.view.put(self.caller, target, FILE_MODE, taken, &mut || Ok(None)) {
            Err(e) if e.kind() != ErrorKind::Exists => Err(e),
            _ => self.append(self.find(path)?.id, exchange),
        }
    }

    fn append(&self, id: NodeId, exchange: &mut dyn Exchange) -> Result<()> {
        let open = OpenMode { write: true, append: true, ..OpenMode::default() };
        let handle = self.view.open(self.caller, id, open)?.handle;
        let mut written = Ok(());
        loop {
            match exchange.piece() {
                Ok(Some(piece)) => {
                    written = match self.view.append(handle, &piece) {
                        Ok(length) if length < piece.len() => {
                            Err(Error::new(ErrorKind::NoSpace, "append all of the bytes"))
                        }
                        other => other.map(drop),
                    };
                    if written.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    written = Err(e);
                    break;
                }
            }
        }
        self.view.release(handle).and(written)
    }

    pub(super) fn make_directory(&self, path: &VPath, parents: bool) -> Result<()> {
        if parents {
            return self.make_directories(path).map(drop);
        }
        if path.split_last().is_none() {
            return Err(Error::new(ErrorKind::Exists, "make the root directory"));
        }
        let (parent, name) = self.parent(path)?;
        self.view.mkdir(self.caller, parent, name, DIRECTORY_MODE).map(drop)
    }

    /// Renames; like rename(2), except that directories above the new name are made.
    pub(super) fn rename(&self, from: &VPath, to: &VPath, replace: bool) -> Result<()> {
        // First: nothing is made for what is not there.
        self.find_itself(from)?;
        let source = self.parent(from)?;
        let target = self.make_parent(to)?;
        let mode = if replace { RenameMode::Replace } else { RenameMode::NoReplace };
        self.view.rename(self.caller, source, target, mode)
    }

    /// Removes a name that is no directory.
    pub(super) fn delete(&self, path: &VPath) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        match self.view.lookup(parent, name)?.kind {
            Kind::Directory => Err(Error::new(ErrorKind::IsADirectory, "delete a directory as a file")),
            _ => self.view.unlink(parent, name),
        }
    }
}
