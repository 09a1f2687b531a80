//! An import on its way to another process, as one stream: how many bytes of lines, the lines, and for each body its
//! digest, its size and its bytes.
//!
//! The lines are kept on the disk first: whoever has the store is not to wait for one who types them. They can be sent
//! again.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use super::bodies::Bodies;
use super::import::{ImportOptions, each_line};
use crate::error::{Error, Result};
use crate::model::Digest;

/// The stream.
pub struct Upload {
    lines: File,
    bodies: Option<Bodies>,
    /// Bodies that lines name and that can be brought, in the order of the lines.
    offered: Vec<Digest>,
    /// Those of them that are to go along, and how many have begun.
    wanted: Vec<Digest>,
    begun: usize,
    part: Part,
    /// The body whose head is being sent.
    body: Option<io::Take<File>>,
}

enum Part {
    Head(Cursor<Vec<u8>>),
    Lines,
    Body(io::Take<File>),
}

impl Upload {
    /// Reads all lines of `input`. Where bodies are to go along, the lines are understood, too.
    ///
    /// # Errors
    /// `Invalid` for a line that is malformed, with its number; what reading and writing report.
    pub fn new(options: &ImportOptions, input: &mut dyn BufRead) -> Result<Self> {
        let failed = |e| Error::io("keep the lines of an import on the disk", e);
        let mut lines = tempfile::tempfile().map_err(failed)?;
        io::copy(input, &mut lines).map_err(|e| Error::io("read the lines of an import", e))?;
        // Not before: whoever writes the lines may be making it.
        let bodies = options.bodies.as_deref().map(Bodies::find).transpose()?;
        let mut upload = Self {
            lines,
            bodies,
            offered: Vec::new(),
            wanted: Vec::new(),
            begun: 0,
            part: Part::Head(Cursor::default()),
            body: None,
        };
        upload.rewind().map_err(failed)?;
        if let Some(bodies) = &upload.bodies {
            let mut seen = HashSet::new();
            each_line(&mut BufReader::new(&upload.lines), &mut |_, line| {
                if line.digest != Digest::EMPTY && seen.insert(line.digest) && bodies.open(&line.digest)?.is_some() {
                    upload.offered.push(line.digest);
                }
                Ok(())
            })?;
            upload.rewind().map_err(failed)?;
        }
        Ok(upload)
    }

    /// The bodies that could go along.
    #[must_use]
    pub fn offered(&self) -> &[Digest] {
        &self.offered
    }

    /// These go along, nothing else.
    pub fn bring(&mut self, wanted: Vec<Digest>) {
        self.wanted = wanted;
    }

    /// Begins anew.
    ///
    /// # Errors
    /// What lseek(2) reports.
    pub fn rewind(&mut self) -> io::Result<()> {
        let length = self.lines.metadata()?.len();
        self.lines.seek(SeekFrom::Start(0))?;
        self.begun = 0;
        self.body = None;
        self.part = Part::Head(Cursor::new(length.to_le_bytes().to_vec()));
        Ok(())
    }

    /// Goes on to the part behind the one that has ended; whether there is one.
    fn next_part(&mut self) -> io::Result<bool> {
        self.part = match (&mut self.part, self.body.take()) {
            // It has become shorter: what was announced cannot be sent.
            (Part::Body(body), _) if body.limit() > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Part::Head(_), Some(body)) => Part::Body(body),
            (Part::Head(_), None) => Part::Lines,
            (Part::Lines | Part::Body(_), _) => {
                let Some((digest, bodies)) = self.wanted.get(self.begun).zip(self.bodies.as_ref()) else {
                    return Ok(false);
                };
                let file = bodies.open(digest).map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
                let size = file.metadata()?.len();
                self.body = Some(file.take(size));
                self.begun += 1;
                Part::Head(Cursor::new([&digest.as_bytes()[..], &size.to_le_bytes()].concat()))
            }
        };
        Ok(true)
    }
}

impl Read for Upload {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = match &mut self.part {
                Part::Head(head) => head.read(into)?,
                Part::Lines => self.lines.read(into)?,
                Part::Body(body) => body.read(into)?,
            };
            if got > 0 || into.is_empty() || !self.next_part()? {
                return Ok(got);
            }
        }
    }
}

/// The next number of a stream; `None` at its end.
pub(super) fn number(input: &mut dyn Read) -> Result<Option<u64>> {
    let mut bytes = [0; 8];
    Ok(whole(input, &mut bytes)?.then(|| u64::from_le_bytes(bytes)))
}

/// Digest and size of the body that follows; `None` at the end of the stream.
pub(super) fn next_body(input: &mut dyn Read) -> Result<Option<(Digest, u64)>> {
    let mut digest = [0; 32];
    if !whole(input, &mut digest)? {
        return Ok(None);
    }
    Ok(Some((Digest::from(digest), number(input)?.ok_or_else(broken_off)?)))
}

/// Fills `bytes`; `false` at the end of the stream.
fn whole(input: &mut dyn Read, bytes: &mut [u8]) -> Result<bool> {
    let failed = |e| Error::io("receive an import", e);
    let mut first = input.take(1);
    let got = io::Read::read(&mut first, &mut bytes[..1]).map_err(failed)?;
    if got == 0 {
        return Ok(false);
    }
    input.read_exact(&mut bytes[1..]).map_err(failed)?;
    Ok(true)
}

/// The error of a stream that ends too early.
pub(super) fn broken_off() -> Error {
    Error::io("receive an import", io::ErrorKind::UnexpectedEof.into())
}
