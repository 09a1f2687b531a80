//! Export: the files of one moment, a line each.

use std::io::{Seek, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::admission;
use super::line::Shown;
use super::local::Local;
use super::metadata::USER;
use super::report::ExportReport;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Digest, Kind, PATH_BYTES_MAX, Timestamp, VPath};
use crate::vfs::{Listed, Readable, Snapshot, hash};
use crate::view::View;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// What to export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOptions {
    /// Only what is at this path or below it, in whole components; empty: everything.
    pub prefix: Vec<u8>,
    /// Only files that were modified then or later, in nanoseconds since 1970.
    pub after: Option<i64>,
    /// Where to copy the bodies, each into a file whose name is its SHA-256.
    pub bodies: Option<PathBuf>,
}

impl ExportOptions {
    /// The part of them that the store is asked with.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection { prefix: self.prefix.clone(), after: self.after, bodies: self.bodies.is_some() }
    }
}

/// What is wanted of a store, wherever it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// As in [`ExportOptions`].
    #[serde(with = "serde_bytes")]
    pub prefix: Vec<u8>,
    /// As in [`ExportOptions`].
    pub after: Option<i64>,
    /// Whether the bodies are wanted.
    pub bodies: bool,
}

/// Where an export goes.
pub trait Sink {
    /// Takes some lines, whole ones.
    ///
    /// # Errors
    /// When they cannot be kept.
    fn lines(&mut self, lines: &[u8]) -> Result<()>;

    /// Whether this body is still wanted.
    fn lacks(&self, digest: &Digest, size: u64) -> bool;

    /// Takes a body, all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be kept, or read.
    fn body(&mut self, digest: &Digest, size: u64, from: &mut Readable) -> Result<()>;
}

/// Writes a line for each file that the identity of `view` sees, as they all were at one moment. Those who use the store
/// meanwhile do not wait. `progress` is told the number of lines now and then.
///
/// A file that is open for writing is told as it is when its turn comes; the report names it. So it does bodies that are
/// damaged.
///
/// # Errors
/// What writing to `out` and reading the store report.
pub fn export(
    view: &View,
    options: &ExportOptions,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<ExportReport> {
    let mut local = Local::new(options, out, progress)?;
    let report = export_into(view, &options.selection(), &mut local)?;
    local.finish()?;
    Ok(report)
}

/// The same into whatever takes it.
///
/// # Errors
/// What `sink` and reading the store report.
pub fn export_into(view: &View, selection: &Selection, sink: &mut dyn Sink) -> Result<ExportReport> {
    let below = if selection.prefix.is_empty() { VPath::root() } else { VPath::parse(&selection.prefix)? };
    let snapshot = view.vfs().snapshot(selection.bodies)?;
    let mut export = Export {
        view,
        snapshot: &snapshot,
        bodies: selection.bodies,
        after: selection.after.map(Timestamp),
        sink,
        buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
        report: ExportReport::default(),
    };
    snapshot.walk(&below, &|path| admission::sees(view, path), &mut |listed| {
        if admission::sees(view, listed.path) { export.take(listed) } else { Ok(()) }
    })?;
    export.flush()?;
    Ok(export.report)
}

struct Export<'a> {
    view: &'a View,
    snapshot: &'a Snapshot<'a>,
    bodies: bool,
    after: Option<Timestamp>,
    sink: &'a mut dyn Sink,
    buffer: Vec<u8>,
    report: ExportReport,
}

impl Export<'_> {
    fn take(&mut self, mut listed: Listed<'_>) -> Result<()> {
        if listed.attr.kind != Kind::File {
            self.report.other_kinds += 1;
            return Ok(());
        }
        if self.after.is_some_and(|after| listed.attr.mtime < after) {
            return Ok(());
        }
        if listed.path.len() > PATH_BYTES_MAX {
            self.report.note(listed.path, format!("left out: its path has more than {PATH_BYTES_MAX} bytes"));
            return Ok(());
        }
        let Some((digest, size)) = self.body(&listed)? else { return Ok(()) };
        listed.attrs.retain(|(key, ..)| key.starts_with(USER));
        let shown = Shown {
            path: listed.path,
            digest,
            size,
            created: listed.attr.btime,
            modified: listed.attr.mtime,
            version: listed.version,
            mode: self.bodies.then_some(listed.attr.mode),
            attrs: &listed.attrs,
        };
        shown.write(&mut self.buffer)?;
        self.report.files += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Digest and size of the body, which goes along if that is asked for. `None`: the file has gone.
    fn body(&mut self, listed: &Listed<'_>) -> Result<Option<(Digest, u64)>> {
        let Some(digest) = listed.digest else { return self.draft(listed) };
        let size = listed.attr.size;
        if self.bodies && digest != Digest::EMPTY && self.sink.lacks(&digest, size) {
            match self.snapshot.open_body(&digest) {
                Ok(mut body) => self.give(&digest, size, &mut body)?,
                Err(e) if e.kind() == ErrorKind::Damaged => {
                    self.report.damaged += 1;
                    self.report.note(listed.path, "its body is damaged or missing, and not in the export");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Some((digest, size)))
    }

    fn draft(&mut self, listed: &Listed<'_>) -> Result<Option<(Digest, u64)>> {
        let Some(mut draft) = self.snapshot.open_draft(listed)? else {
            self.report.note(listed.path, "left out: it was being written, and is gone now");
            return Ok(None);
        };
        self.report.note(listed.path, "it is being written: exported as it was when its turn came");
        if !self.bodies {
            return draft.hash().map(Some);
        }
        // The copy is hashed, not the draft: that may change in between.
        let mut copy = self.view.vfs().scratch()?;
        draft.copy(&mut copy)?;
        let (digest, size) = hash(&copy)?;
        if self.sink.lacks(&digest, size) {
            copy.rewind().map_err(|e| Error::io("read a copy of a draft", e))?;
            self.give(&digest, size, &mut Readable::File(copy))?;
        }
        Ok(Some((digest, size)))
    }

    fn give(&mut self, digest: &Digest, size: u64, body: &mut Readable) -> Result<()> {
        self.sink.body(digest, size, body)?;
        self.report.bodies += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.sink.lines(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
