//! Lines that have been read and understood, on the disk until the store is locked for them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use super::line::Line;
use crate::error::{Error, Result};
use crate::model::{Digest, Timestamp, VPath};

/// Bytes moved at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Takes lines.
pub(super) struct Spool {
    out: BufWriter<File>,
    record: Vec<u8>,
}

/// Gives them back in their order.
pub(super) struct Spooled {
    input: BufReader<File>,
    record: Vec<u8>,
}

impl Spool {
    pub(super) fn new(file: File) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER_BYTES, file), record: Vec::new() }
    }

    /// Adds a line, with its number.
    pub(super) fn push(&mut self, number: u64, line: &Line) -> Result<()> {
        self.record.clear();
        let mut record = Record(&mut self.record);
        record.number(number);
        record.number(line.size);
        record.number(line.version);
        record.option(line.created.map(|time| time.0.cast_unsigned()));
        record.option(line.modified.map(|time| time.0.cast_unsigned()));
        record.option(line.mode.map(u64::from));
        record.0.extend_from_slice(line.digest.as_bytes());
        record.bytes(line.path.as_bytes());
        for (key, value, json) in &line.metadata {
            record.bytes(key);
            record.bytes(value);
            record.0.push(u8::from(*json));
        }
        let length = (self.record.len() as u64).to_le_bytes();
        self.out.write_all(&length).and_then(|()| self.out.write_all(&self.record)).map_err(failed)
    }

    /// No more lines come.
    pub(super) fn finish(self) -> Result<Spooled> {
        let mut file = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(Spooled { input: BufReader::with_capacity(BUFFER_BYTES, file), record: Vec::new() })
    }
}

impl Spooled {
    /// The next line, with its number.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Line)>> {
        let mut length = [0; 8];
        match self.input.read_exact(&mut length) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(failed)?,
        }
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| cut_short())?;
        self.record.resize(length, 0);
        self.input.read_exact(&mut self.record).map_err(failed)?;
        let mut fields = Fields(&self.record);
        let number = fields.number()?;
        let (size, version) = (fields.number()?, fields.number()?);
        let created = fields.option()?.map(|nanos| Timestamp(nanos.cast_signed()));
        let modified = fields.option()?.map(|nanos| Timestamp(nanos.cast_signed()));
        let mode = fields.option()?.and_then(|mode| u32::try_from(mode).ok());
        let digest = Digest::from(<[u8; 32]>::try_from(fields.take(32)?).map_err(|_| cut_short())?);
        let path = VPath::parse(fields.bytes()?)?;
        let mut metadata = Vec::new();
        while !fields.0.is_empty() {
            metadata.push((fields.bytes()?.to_vec(), fields.bytes()?.to_vec(), fields.take(1)? == [1]));
        }
        Ok(Some((number, Line { path, digest, size, created, modified, version, mode, metadata })))
    }

    /// Goes back to the first line.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.input.seek(SeekFrom::Start(0)).map(drop).map_err(failed)
    }
}

struct Record<'a>(&'a mut Vec<u8>);

impl Record<'_> {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn option(&mut self, number: Option<u64>) {
        self.0.push(u8::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(field)
    }

    fn number(&mut self) -> Result<u64> {
        <[u8; 8]>::try_from(self.take(8)?).map(u64::from_le_bytes).map_err(|_| cut_short())
    }

    fn option(&mut self) -> Result<Option<u64>> {
        let is_there = self.take(1)? == [1];
        let number = self.number()?;
        Ok(is_there.then_some(number))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = usize::try_from(self.number()?).map_err(|_| cut_short())?;
        self.take(count)
    }
}

fn failed(e: io::Error) -> Error {
    Error::io("keep the lines of an import on the disk", e)
}

fn cut_short() -> Error {
    failed(io::ErrorKind::UnexpectedEof.into())
}
