//! What an export or import has done.

use serde::{Deserialize, Serialize};

/// Paths told one by one at most; a report has to fit into memory and through a socket.
const NOTES_MAX: usize = 10_000;

/// What there is to say of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The line of the import, counted from 1; 0 in an export.
    pub line: u64,
    /// The path, as far as it is UTF-8.
    pub path: String,
    /// What happened, or why something did not.
    pub what: String,
}

/// What an export has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportReport {
    /// Lines written.
    pub files: u64,
    /// Bodies copied into the directory beside the lines; those that were there already are not counted.
    pub bodies: u64,
    /// Names left out because they lead to no regular file: symbolic links, pipes, sockets, devices.
    pub other_kinds: u64,
    /// Bodies that are damaged or missing. Their lines are there.
    pub damaged: u64,
    /// Files whose line could not be written or is not of the moment of the others, and damaged bodies.
    pub notes: Vec<Note>,
    /// How many more there were than could be told.
    pub notes_left_out: u64,
}

/// What an import has done, or in a rehearsal would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// Files made.
    pub created: u64,
    /// Files that were there and got what the line says: metadata alone, or the body as well.
    pub updated: u64,
    /// Lines passed over.
    pub skipped: u64,
    /// Files made under another name.
    pub remapped: u64,
    /// Why lines were skipped, and under which names files were made.
    pub notes: Vec<Note>,
    /// How many more there were than could be told.
    pub notes_left_out: u64,
}

impl ImportReport {
    /// Files that stand in the store as their lines say.
    #[must_use]
    pub fn imported(&self) -> u64 {
        self.created + self.updated + self.remapped
    }

    pub(super) fn note(&mut self, line: u64, path: &[u8], what: impl Into<String>) {
        note(&mut self.notes, &mut self.notes_left_out, line, path, what.into());
    }
}

impl ExportReport {
    pub(super) fn note(&mut self, path: &[u8], what: impl Into<String>) {
        note(&mut self.notes, &mut self.notes_left_out, 0, path, what.into());
    }
}

fn note(notes: &mut Vec<Note>, left_out: &mut u64, line: u64, path: &[u8], what: String) {
    if notes.len() < NOTES_MAX {
        notes.push(Note { line, path: String::from_utf8_lossy(path).into_owned(), what });
    } else {
        *left_out += 1;
    }
}
