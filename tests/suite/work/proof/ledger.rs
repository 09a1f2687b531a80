//! What the workers say they did, in one file outside of the store, in the order in which they said it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It was given an item: said after the answer.
    Has,
    /// It is about to complete it: said before it asks.
    Does,
    /// It has completed it: said after the answer.
    Done,
    /// It was refused, because its lease had run out.
    Late,
    /// It has given the item back.
    Back,
}

const WORDS: [(Word, &str); 5] =
    [(Word::Has, "has"), (Word::Does, "does"), (Word::Done, "done"), (Word::Late, "late"), (Word::Back, "back")];

/// A line of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) worker: String,
    pub(super) word: Word,
    pub(super) claim: u64,
    pub(super) path: String,
}

/// The file.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
}

impl Ledger {
    pub(super) fn create(path: PathBuf) -> Self {
        fs::write(&path, "").unwrap();
        Self::open(&path)
    }

    pub(super) fn open(path: &Path) -> Self {
        Self { path: path.to_owned(), file: OpenOptions::new().append(true).open(path).unwrap() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, with one write(2): it is there entirely or not at all, and behind all that were there.
    pub(super) fn say(&self, worker: &str, word: Word, claim: u64, path: &str) {
        let (_, word) = WORDS.iter().find(|(other, _)| *other == word).unwrap();
        (&self.file).write_all(format!("{worker} {word} {claim} {path}\n").as_bytes()).unwrap();
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.path).unwrap();
        let parse = |line: &str| {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            let [worker, word, claim, path] = words[..] else { panic!("a line of the ledger: {line:?}") };
            let (word, _) = WORDS.into_iter().find(|(_, text)| *text == word).unwrap();
            Line { worker: worker.to_owned(), word, claim: claim.parse().unwrap(), path: path.to_owned() }
        };
        text.lines().map(parse).collect()
    }
}
