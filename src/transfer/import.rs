//! Import: all lines are read and understood, then the bodies come in, then everything is applied at once.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::admission;
use super::apply::Apply;
use super::bodies::Bodies;
use super::line::Line;
use super::report::ImportReport;
use super::spool::{Spool, Spooled};
use super::upload;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, Digest};
use crate::vfs::Arrivals;
use crate::view::View;

/// Longest line in bytes: as many and as large attributes as a file can have, each byte escaped.
const LINE_BYTES_MAX: u64 = 512 << 20;
/// After how many lines progress is told.
const PROGRESS_LINES: u64 = 4096;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 18;
/// Why a body was not taken.
const OTHER_BODY: &str = "the file that should hold its body holds something else";

/// What to do with a line whose path is taken by a file with another body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The store's file stays.
    #[default]
    Skip,
    /// The line wins.
    Overwrite,
    /// The line becomes a file beside it: `name_imported1.ext`, or the first free number.
    Remap,
    /// The one that was modified later wins; the store's if neither was.
    Auto,
}

/// How to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOptions {
    /// What to do about paths that are taken.
    pub conflict: Conflict,
    /// Only find out what would happen.
    pub dry_run: bool,
    /// Where the bodies are that the store does not have, each in a file whose name is its SHA-256.
    pub bodies: Option<PathBuf>,
}

impl ImportOptions {
    /// The part of them that the store is asked with.
    #[must_use]
    pub fn rules(&self) -> ImportRules {
        ImportRules { conflict: self.conflict, dry_run: self.dry_run, bodies: self.bodies.is_some() }
    }
}

/// How lines are applied, wherever they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRules {
    /// As in [`ImportOptions`].
    pub conflict: Conflict,
    /// As in [`ImportOptions`].
    pub dry_run: bool,
    /// Whether bodies come along.
    pub bodies: bool,
}

/// Makes the files that the lines of `input` tell of, or changes them, as one operation that is durable afterwards. What is
/// made belongs to `caller`. `progress` is told the number of lines now and then, once while they are read and once while
/// they are applied.
///
/// # Errors
/// `Invalid` for a line that is malformed, with its number; what reading and the store report. Nothing has changed then.
pub fn import(
    view: &View,
    caller: Caller,
    options: &ImportOptions,
    input: &mut dyn BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportReport> {
    let (mut spooled, report) = read(view, input, progress)?;
    let mut arrivals = view.vfs().arrivals(options.dry_run)?;
    let mut refused = HashMap::new();
    if let Some(directory) = &options.bodies {
        refused = take_bodies(view, &Bodies::find(directory)?, &mut spooled, &mut arrivals)?;
        spooled.rewind()?;
    }
    apply((view, caller, options.rules()), (spooled, report), &arrivals, &refused, progress)
}

/// The same from one stream, as an [`Upload`](super::Upload) makes it: lines, and bodies behind them. `progress` is told
/// the number of lines that are applied, and nothing before the stream has been read to its end.
///
/// # Errors
/// As [`import`]; `Io` for a stream that breaks off.
pub fn import_stream(
    view: &View,
    caller: Caller,
    rules: ImportRules,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportReport> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let lines = upload::number(&mut input)?.ok_or_else(upload::broken_off)?;
    let mut lines = (&mut input).take(lines);
    let lines_and_report = read(view, &mut lines, &mut |_| {})?;
    if lines.limit() > 0 {
        return Err(upload::broken_off());
    }
    let mut arrivals = view.vfs().arrivals(rules.dry_run)?;
    let mut refused = HashMap::new();
    while let Some((digest, size)) = upload::next_body(&mut input)? {
        if !arrivals.take_from(&digest, size, &mut input)? {
            refused.insert(digest, OTHER_BODY);
        }
    }
    apply((view, caller, rules), lines_and_report, &arrivals, &refused, progress)
}

/// Applies lines that were read and bodies that came, all at once.
fn apply(
    (view, caller, rules): (&View, Caller, ImportRules),
    (mut spooled, report): (Spooled, ImportReport),
    arrivals: &Arrivals<'_>,
    refused: &HashMap<Digest, &'static str>,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportReport> {
    // Whoever cannot see every file has to have shown that he has the body. Asked of paths alone: the store is locked.
    let sees = |path: &crate::model::VPath| admission::sees(view, path.as_bytes());
    let sees = admission::is_restricted(view).then_some(&sees as &dyn Fn(&_) -> bool);
    let apply = Apply { conflict: rules.conflict, sees, brought: rules.bodies, refused };
    let keep = !rules.dry_run;
    // What it makes may be namespaces, which views look for anew when this is dropped.
    let _held = view.hold();
    let mut report = view.vfs().bulk(caller, arrivals, keep, |bulk| {
        let mut report = report;
        let mut count = 0;
        while let Some((number, line)) = spooled.next()? {
            let came = arrivals.has(&line.digest);
            apply.line(bulk, number, &line, came, &mut report).map_err(|e| at_line(number, &e))?;
            count += 1;
            if count % PROGRESS_LINES == 0 {
                progress(count);
            }
        }
        Ok(report)
    })?;
    report.notes.sort_by_key(|note| note.line);
    Ok(report)
}

/// Reads all lines; those that the identity may not import are told and left out.
fn read(view: &View, input: &mut dyn BufRead, progress: &mut dyn FnMut(u64)) -> Result<(Spooled, ImportReport)> {
    let mut report = ImportReport::default();
    let mut spool = Spool::new(view.vfs().scratch()?);
    let mut computed = None;
    each_line(input, &mut |number, line| {
        match admission::may(view, &line.path, &mut computed) {
            Ok(()) => spool.push(number, line)?,
            Err(e) => {
                report.skipped += 1;
                report.note(number, line.path.as_bytes(), format!("skipped: {e}"));
            }
        }
        if number % PROGRESS_LINES == 0 {
            progress(number);
        }
        Ok(())
    })?;
    Ok((spool.finish()?, report))
}

/// Understands line after line, with their numbers.
pub(super) fn each_line(input: &mut dyn BufRead, each: &mut dyn FnMut(u64, &Line) -> Result<()>) -> Result<()> {
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let got = input.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut text);
        if got.map_err(|e| Error::io(format!("read line {number} of the import"), e))? == 0 {
            break;
        }
        if text.len() as u64 > LINE_BYTES_MAX {
            let what = format!("import line {number}: it has more than {LINE_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let trimmed = text.trim_ascii();
        if !trimmed.is_empty() {
            each(number, &Line::parse(trimmed).map_err(|e| at_line(number, &e))?)?;
        }
    }
    Ok(())
}

/// Takes in the bodies that are wanted; those that could not be, with the reason.
fn take_bodies(
    view: &View,
    bodies: &Bodies,
    spooled: &mut Spooled,
    arrivals: &mut Arrivals<'_>,
) -> Result<HashMap<Digest, &'static str>> {
    let restricted = admission::is_restricted(view);
    let mut refused = HashMap::new();
    while let Some((_, line)) = spooled.next()? {
        let digest = line.digest;
        let wanted = digest != Digest::EMPTY && !arrivals.has(&digest) && !refused.contains_key(&digest);
        if !wanted || (!restricted && view.vfs().has_body(&digest)?) {
            continue;
        }
        match bodies.open(&digest)? {
            None => {}
            Some(file) if arrivals.take(&digest, &file)? => {}
            Some(_) => {
                refused.insert(digest, OTHER_BODY);
            }
        }
    }
    Ok(refused)
}

/// The error with the number of the line, which comes first.
fn at_line(number: u64, error: &Error) -> Error {
    let what = format!("import line {number}: {}", error.context());
    let mut told = Error::new(error.kind(), what);
    if let Some(below) = std::error::Error::source(error) {
        told = told.because(below.to_string());
    }
    told
}
