//! Export and import as a program asks for them. Files and directories are its own: what has the store sends and receives
//! bytes, and never looks at a path of another process.

use std::io::{BufRead, Read, Write};

use super::ask::misunderstood;
use super::exchange::Luggage;
use super::facade::Nexus;
use super::request::{Item, Reply, Request};
use super::route::Replay;
use super::serve::{Exchange, KNOWN_BYTES, PIECE_BYTES_MAX};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::transfer::{ExportOptions, ExportReport, ImportOptions, ImportReport, Local, Note, Sink, Upload};

/// Digests in one question for what an import has to bring.
const DIGESTS_MAX: usize = 8192;

impl Nexus {
    /// Writes a line of JSON for each file that this identity sees, as they all were at one moment, and copies the bodies if
    /// that is asked for. Whoever uses the store meanwhile does not wait. `progress` is told the number of lines now and then.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// use nexus::transfer::ExportOptions;
    /// nx.write("/docs/a.txt", "text")?;
    /// let mut lines = Vec::new();
    /// let options = ExportOptions { prefix: b"/docs".to_vec(), ..ExportOptions::default() };
    /// assert_eq!(nx.export_metadata(&options, &mut lines, &mut |_| {})?.files, 1);
    /// assert!(lines.starts_with(br#"{"path":"/docs/a.txt""#));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a prefix that is no path; what writing reports; `InUse` when the process that has the store ends
    /// meanwhile.
    pub fn export_metadata(
        &self,
        options: &ExportOptions,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ExportReport> {
        let local = Local::new(options, out, progress)?;
        let mut known = Vec::new();
        for (digest, size) in local.known()? {
            known.extend_from_slice(digest.as_bytes());
            known.extend_from_slice(&size.to_le_bytes());
        }
        debug_assert!(known.len().is_multiple_of(KNOWN_BYTES), "a digest and a size each");
        let mut receiving = Receiving { known: Luggage::bytes(&known), local, notes: Vec::new(), begun: false };
        match self.route.call(&Request::Export(options.selection()), &mut receiving)? {
            Reply::Exported(report) => {
                receiving.local.finish()?;
                Ok(ExportReport { notes: receiving.notes, ..report })
            }
            _ => Err(misunderstood()),
        }
    }

    /// Makes the files that the lines of `input` tell of, or changes them, as one operation that is durable afterwards: a line
    /// that is malformed stops it, and nothing has changed. Everybody else who uses the store waits while the files are made,
    /// about a second for 100,000 lines. `progress` is told the number of lines now and then.
    ///
    /// ```
    /// # fn main() -> nexus::error::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let nx = nexus::connect(&nexus::Config::at(directory.path().join("store"))?)?;
    /// use nexus::transfer::{ExportOptions, ImportOptions};
    /// nx.write("/a.txt", "text")?;
    /// let mut lines = Vec::new();
    /// nx.export_metadata(&ExportOptions::default(), &mut lines, &mut |_| {})?;
    /// nx.rename("/a.txt", "/b.txt")?;
    /// let report = nx.import_metadata(&ImportOptions::default(), &mut &lines[..], &mut |_| {})?;
    /// assert_eq!((report.created, nx.read("/a.txt")?), (1, b"text".to_vec()));
    /// # nx.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a line that is malformed, with its number; what reading and the store report.
    pub fn import_metadata(
        &self,
        options: &ImportOptions,
        input: &mut dyn BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ImportReport> {
        let mut upload = Upload::new(options, input)?;
        let mut wanted = Vec::new();
        for digests in upload.offered().chunks(DIGESTS_MAX) {
            wanted.extend(self.lacks(digests)?);
        }
        upload.bring(wanted);
        let mut sending = Sending { upload, progress, notes: Vec::new() };
        match self.route.call(&Request::Import(options.rules()), &mut sending)? {
            Reply::Imported(report) => Ok(ImportReport { notes: sending.notes, ..report }),
            _ => Err(misunderstood()),
        }
    }

    /// Those of some bodies that the store lacks, or wants to be shown.
    fn lacks(&self, digests: &[Digest]) -> Result<Vec<Digest>> {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        match self.call(&Request::Lacks(bytes.into()))? {
            Reply::Binary(flags) if flags.len() == digests.len() => {
                Ok(digests.iter().zip(flags).filter(|(_, lacks)| *lacks != 0).map(|(digest, _)| *digest).collect())
            }
            _ => Err(misunderstood()),
        }
    }
}

/// An export that arrives.
struct Receiving<'a, 'l> {
    known: Luggage<'a>,
    local: Local<'l>,
    notes: Vec<Note>,
    /// Something has been handed on, and cannot be taken back.
    begun: bool,
}

impl Exchange for Receiving<'_, '_> {
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        self.known.piece()
    }

    fn item(&mut self, item: Item) -> Result<()> {
        self.begun = true;
        match item {
            Item::Lines(lines) => self.local.lines(&lines),
            Item::Body { digest, size } => self.local.begin(Digest::from(digest), size),
            Item::Piece(piece) => self.local.piece(&piece),
            Item::Note(note) => {
                self.notes.push(note);
                Ok(())
            }
            _ => Err(misunderstood()),
        }
    }
}

impl Replay for Receiving<'_, '_> {
    fn rewind(&mut self) -> bool {
        !self.begun && self.known.rewind()
    }
}

/// An import on its way.
struct Sending<'p> {
    upload: Upload,
    progress: &'p mut dyn FnMut(u64),
    notes: Vec<Note>,
}

impl Exchange for Sending<'_> {
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let mut piece = Vec::new();
        let read = (&mut self.upload).take(u64::from(PIECE_BYTES_MAX)).read_to_end(&mut piece);
        read.map_err(|e| Error::io("read what is to be imported", e))?;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Progress { done, .. } => (self.progress)(done),
            Item::Note(note) => self.notes.push(note),
            _ => return Err(misunderstood()),
        }
        Ok(())
    }
}

impl Replay for Sending<'_> {
    fn rewind(&mut self) -> bool {
        self.notes.clear();
        self.upload.rewind().is_ok()
    }
}
