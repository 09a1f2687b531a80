//! An export on its way into a file and a directory of bodies of this process, whoever reads the store.

use std::io::Write;

use tempfile::NamedTempFile;

use super::bodies::Bodies;
use super::export::{ExportOptions, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Digest;
use crate::vfs::Readable;

/// Takes lines and bodies: whole ones as a [`Sink`], or piece by piece as they come from another process.
pub struct Local<'a> {
    out: &'a mut dyn Write,
    bodies: Option<Bodies>,
    progress: &'a mut dyn FnMut(u64),
    lines: u64,
    /// The body that is arriving, and how many of its bytes are still to come.
    part: Option<(NamedTempFile, Digest, u64)>,
}

impl<'a> Local<'a> {
    /// Lines go to `out`, bodies to the directory that `options` names. `progress` is told the number of lines now and then.
    ///
    /// # Errors
    /// When there can be no such directory.
    pub fn new(options: &ExportOptions, out: &'a mut dyn Write, progress: &'a mut dyn FnMut(u64)) -> Result<Self> {
        let bodies = options.bodies.as_deref().map(Bodies::make).transpose()?;
        Ok(Self { out, bodies, progress, lines: 0, part: None })
    }

    /// The bodies that are there already, with their sizes.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn known(&self) -> Result<Vec<(Digest, u64)>> {
        self.bodies.as_ref().map_or_else(|| Ok(Vec::new()), Bodies::list)
    }

    /// A body of so many bytes begins.
    ///
    /// # Errors
    /// `Io` for a body that nobody asked for, or amid another; what writing reports.
    pub fn begin(&mut self, digest: Digest, size: u64) -> Result<()> {
        let Some(bodies) = self.bodies.as_ref().filter(|_| self.part.is_none()) else { return Err(out_of_order()) };
        self.part = Some((bodies.begin()?, digest, size));
        self.end_if_whole()
    }

    /// The next piece of it.
    ///
    /// # Errors
    /// `Io` for more than was announced; what writing reports.
    pub fn piece(&mut self, piece: &[u8]) -> Result<()> {
        let (Some(bodies), Some((part, _, left))) = (&self.bodies, &mut self.part) else { return Err(out_of_order()) };
        *left = left.checked_sub(piece.len() as u64).ok_or_else(out_of_order)?;
        part.write_all(piece).map_err(|e| bodies.failed(e))?;
        self.end_if_whole()
    }

    fn end_if_whole(&mut self) -> Result<()> {
        if let Some((part, digest, _)) = self.part.take_if(|(_, _, left)| *left == 0)
            && let Some(bodies) = &self.bodies
        {
            bodies.name(part, &digest)?;
        }
        Ok(())
    }

    /// All has come: it is handed on, and the bodies are durable.
    ///
    /// # Errors
    /// What writing and syncing report.
    pub fn finish(&mut self) -> Result<()> {
        if self.part.is_some() {
            return Err(out_of_order());
        }
        self.out.flush().map_err(|e| Error::io("write the export", e))?;
        self.bodies.as_ref().map_or(Ok(()), Bodies::sync)
    }
}

impl Sink for Local<'_> {
    fn lines(&mut self, lines: &[u8]) -> Result<()> {
        self.out.write_all(lines).map_err(|e| Error::io("write the export", e))?;
        self.lines += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        (self.progress)(self.lines);
        Ok(())
    }

    fn lacks(&self, digest: &Digest, size: u64) -> bool {
        self.bodies.as_ref().is_some_and(|bodies| !bodies.has(digest, size))
    }

    fn body(&mut self, digest: &Digest, _size: u64, from: &mut Readable) -> Result<()> {
        let Some(bodies) = &self.bodies else { return Err(out_of_order()) };
        let mut part = bodies.begin()?;
        from.copy(part.as_file_mut())?;
        bodies.name(part, digest)
    }
}

fn out_of_order() -> Error {
    Error::new(ErrorKind::Io, "understand the bodies of an export")
}
