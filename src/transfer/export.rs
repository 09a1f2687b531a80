//! Export: the files of one moment, a line each.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::admission;
use super::bodies::Bodies;
use super::line::Shown;
use super::metadata::USER;
use super::report::ExportReport;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Digest, Kind, PATH_BYTES_MAX, Timestamp, VPath};
use crate::vfs::{Listed, Snapshot, hash};
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
    let below = if options.prefix.is_empty() { VPath::root() } else { VPath::parse(&options.prefix)? };
    let bodies = options.bodies.as_deref().map(Bodies::make).transpose()?;
    let snapshot = view.vfs().snapshot(bodies.is_some())?;
    let mut export = Export {
        snapshot: &snapshot,
        bodies,
        after: options.after.map(Timestamp),
        out,
        buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
        report: ExportReport::default(),
        progress,
    };
    snapshot.walk(&below, &|path| admission::sees(view, path), &mut |listed| {
        if admission::sees(view, listed.path) { export.take(listed) } else { Ok(()) }
    })?;
    export.finish()
}

struct Export<'a> {
    snapshot: &'a Snapshot<'a>,
    bodies: Option<Bodies>,
    after: Option<Timestamp>,
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    report: ExportReport,
    progress: &'a mut dyn FnMut(u64),
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
            mode: self.bodies.is_some().then_some(listed.attr.mode),
            attrs: &listed.attrs,
        };
        shown.write(&mut self.buffer)?;
        self.report.files += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Digest and size of the body, which is copied if that is asked for. `None`: the file has gone.
    fn body(&mut self, listed: &Listed<'_>) -> Result<Option<(Digest, u64)>> {
        let Some(digest) = listed.digest else { return self.draft(listed) };
        let size = listed.attr.size;
        if let Some(bodies) = &self.bodies
            && digest != Digest::EMPTY
            && !bodies.has(&digest, size)
        {
            match bodies.add(|file| self.snapshot.copy_body(&digest, file).map(|_| digest)) {
                Ok(_) => self.report.bodies += 1,
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
        let Some(bodies) = &self.bodies else { return draft.hash().map(Some) };
        let mut size = 0;
        // The copy is hashed, not the draft: that may change in between.
        let digest = bodies.add(|file| {
            draft.copy(file)?;
            let (digest, copied) = hash(file)?;
            size = copied;
            Ok(digest)
        })?;
        self.report.bodies += 1;
        Ok(Some((digest, size)))
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(|e| Error::io("write the export", e))?;
        self.buffer.clear();
        (self.progress)(self.report.files);
        Ok(())
    }

    fn finish(mut self) -> Result<ExportReport> {
        self.flush()?;
        self.out.flush().map_err(|e| Error::io("write the export", e))?;
        if let Some(bodies) = &self.bodies {
            bodies.sync()?;
        }
        Ok(self.report)
    }
}
