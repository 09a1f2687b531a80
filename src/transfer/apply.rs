//! What becomes of one line: the rules of an import.

use std::collections::HashMap;

use super::import::Conflict;
use super::line::Line;
use super::report::ImportReport;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Digest, NAME_BYTES_MAX, Name, PATH_BYTES_MAX, VPath};
use crate::vfs::{Bulk, BulkFile, BulkNew, Found};

/// Why a line was skipped.
type Reason = &'static str;

/// The rules of one import.
pub(super) struct Apply<'a> {
    pub(super) conflict: Conflict,
    /// What the identity sees, if that is not everything.
    pub(super) sees: Option<&'a dyn Fn(&VPath) -> bool>,
    /// Whether there was a directory of bodies.
    pub(super) brought: bool,
    /// Bodies of it that could not be taken.
    pub(super) refused: &'a HashMap<Digest, Reason>,
}

impl Apply<'_> {
    /// Applies a line; `came` says that its body was brought along.
    pub(super) fn line(
        &self,
        bulk: &mut Bulk<'_>,
        number: u64,
        line: &Line,
        came: bool,
        report: &mut ImportReport,
    ) -> Result<()> {
        let outcome = self.apply(bulk, line, came)?;
        let path = line.path.as_bytes();
        match outcome {
            Outcome::Created => report.created += 1,
            Outcome::Updated => report.updated += 1,
            Outcome::Remapped(to) => {
                report.remapped += 1;
                report.note(number, path, format!("imported as {to}"));
            }
            Outcome::Skipped(why) => {
                report.skipped += 1;
                report.note(number, path, format!("skipped: {why}"));
            }
        }
        Ok(())
    }

    fn apply(&self, bulk: &mut Bulk<'_>, line: &Line, came: bool) -> Result<Outcome> {
        let body = bulk.body(&line.digest)?;
        // Not there and not to be seen must look alike: otherwise a digest could be asked for.
        let body = match (body, self.sees) {
            (Some(body), Some(sees)) if !came && !bulk.is_seen(&body, sees)? => None,
            (body, _) => body,
        };
        let Some(body) = body else {
            let missing = if self.brought {
                "its body is neither in the store nor beside the lines"
            } else {
                "its body is not in the store"
            };
            return Ok(Outcome::Skipped(self.refused.get(&line.digest).copied().unwrap_or(missing)));
        };
        if body.size() != line.size {
            let what = format!("size is {}, and the body of that digest has {} bytes", line.size, body.size());
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let now = bulk.now();
        let modified = line.modified.unwrap_or(now);
        let new = BulkNew {
            body,
            created: line.created.unwrap_or(modified),
            modified,
            version: line.version,
            mode: line.mode,
            metadata: &line.metadata,
        };
        match bulk.find(&line.path)? {
            Found::Nothing => bulk.create(&line.path, &new).map(|()| Outcome::Created),
            Found::Blocked => Ok(Outcome::Skipped("something above it is no directory")),
            Found::File(file) if file.digest == Some(line.digest) => {
                bulk.refresh(&file, &new).map(|()| Outcome::Updated)
            }
            Found::Other(_) | Found::File(_) if self.conflict == Conflict::Remap => remap(bulk, line, &new),
            Found::Other(_) => Ok(Outcome::Skipped("something that is no regular file is there")),
            Found::File(file) => self.conflict(bulk, &file, &new),
        }
    }

    fn conflict(&self, bulk: &mut Bulk<'_>, file: &BulkFile, new: &BulkNew<'_>) -> Result<Outcome> {
        let wins = match self.conflict {
            Conflict::Skip | Conflict::Remap => return Ok(Outcome::Skipped("a file with another body is there")),
            Conflict::Overwrite => true,
            Conflict::Auto => new.modified > file.modified,
        };
        if !wins {
            return Ok(Outcome::Skipped("the file that is there was not modified before it"));
        }
        if file.is_open || file.digest.is_none() {
            return Ok(Outcome::Skipped("the file that is there is open, and would change under its user"));
        }
        bulk.replace(file, new).map(|()| Outcome::Updated)
    }
}

enum Outcome {
    Created,
    Updated,
    Remapped(VPath),
    Skipped(Reason),
}

/// Makes the file beside the one that is there.
fn remap(bulk: &mut Bulk<'_>, line: &Line, new: &BulkNew<'_>) -> Result<Outcome> {
    let Some((directory, name)) = line.path.split_last() else { return Ok(Outcome::Skipped("it is the root")) };
    for count in 1_u64.. {
        let other = imported_name(name.as_bytes(), count);
        let path = directory.join(Name::new(&other)?);
        if path.as_bytes().len() > PATH_BYTES_MAX {
            return Ok(Outcome::Skipped("no other name fits into a path of 4,096 bytes"));
        }
        if matches!(bulk.find(&path)?, Found::Nothing) {
            bulk.create(&path, new)?;
            return Ok(Outcome::Remapped(path));
        }
    }
    Ok(Outcome::Skipped("no name is free"))
}

/// `name_imported1.ext`; a name too long for that is cut before the addition, between characters where it is UTF-8.
fn imported_name(name: &[u8], count: u64) -> Vec<u8> {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let addition = format!("_imported{count}");
    let room = NAME_BYTES_MAX.saturating_sub(addition.len());
    // An extension that leaves no room for a stem is none.
    let (stem, extension) = if extension.len() < room { (stem, extension) } else { (name, &b""[..]) };
    let mut length = stem.len().min(room - extension.len());
    while length < stem.len() && length > 1 && stem[length] & 0xc0 == 0x80 {
        length -= 1;
    }
    [&stem[..length], addition.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_number_before_the_extension() {
        for (name, other) in [
            ("report.pdf", "report_imported2.pdf"),
            ("a.tar.gz", "a.tar_imported2.gz"),
            ("Makefile", "Makefile_imported2"),
            (".bashrc", ".bashrc_imported2"),
            ("end.", "end_imported2."),
        ] {
            assert_eq!(imported_name(name.as_bytes(), 2), other.as_bytes());
        }
        let long = format!("{}.txt", "\u{e9}".repeat(125));
        let other = String::from_utf8(imported_name(long.as_bytes(), 10)).unwrap();
        assert!(other.ends_with("_imported10.txt") && other.len() <= NAME_BYTES_MAX, "{other}");
        let odd = [b"a.".to_vec(), vec![b'x'; 253]].concat();
        assert!(imported_name(&odd, 1).len() <= NAME_BYTES_MAX);
        assert!(imported_name(&odd, 1).ends_with(b"_imported1"));
    }
}
