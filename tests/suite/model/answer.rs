//! What a filesystem answers, and whether that agrees with the reference.

use std::collections::BTreeMap;
use std::fmt;

use nexus::model::Digest;
use rustix::io::Errno;

use super::generate::LATEST_SET_NANOS;
use super::reference::{Number, Shape};

/// The result of one operation.
pub(crate) type Answer = Result<Value, Errno>;

/// What a call returned.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Nothing,
    Count(usize),
    Position(u64),
    Bytes(Vec<u8>),
    /// A directory without `.` and `..`, sorted.
    Entries(Vec<(String, Shape)>),
    /// The keys of extended attributes, sorted.
    Keys(Vec<String>),
    Stat(Stat),
}

impl Value {
    /// The etag of a body as it is shown: 64 hexadecimal digits.
    pub(crate) fn etag(body: &[u8]) -> Self {
        Self::Bytes(Digest::of(body).to_string().into())
    }
}

/// What is compared of stat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) number: Number,
    pub(crate) shape: Shape,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u64,
    /// Not of directories: every filesystem counts those in its own way.
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Mtime,
}

/// The time of the last change of a body or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mtime {
    /// In nanoseconds since the epoch, because it was set, or because a filesystem said so.
    Is(i64),
    /// Something has changed in this run: later than every time that a run sets.
    Recent,
    /// Set once, and whether what happened since has changed it is left to the filesystem.
    Unknown,
}

impl Mtime {
    fn allows(self, got: Self) -> bool {
        match (self, got) {
            (Self::Unknown, _) => true,
            (Self::Recent, Self::Is(nanos)) => nanos > LATEST_SET_NANOS,
            (want, got) => want == got,
        }
    }
}

/// What the reference demands of an answer.
#[derive(Clone)]
pub(crate) enum Expected {
    /// This and nothing else, but for node numbers and unknown times.
    Exactly(Answer),
    /// `SEEK_DATA` from `offset`: anywhere, but past no byte that is not zero.
    DataFrom { offset: u64, body: Vec<u8> },
    /// `SEEK_HOLE` from `offset`: the end, or anywhere with a zero.
    HoleFrom { offset: u64, body: Vec<u8> },
}

/// Which number of the filesystem stands for which of the reference: one node, one number, for as long as it lives.
#[derive(Default)]
pub(crate) struct Numbering {
    by_reference: BTreeMap<Number, u64>,
}

impl Numbering {
    fn agrees(&mut self, ours: Number, theirs: u64) -> bool {
        if let Some(known) = self.by_reference.get(&ours) {
            return *known == theirs;
        }
        let free = self.by_reference.values().all(|taken| *taken != theirs);
        self.by_reference.insert(ours, theirs);
        free
    }

    /// Lets the numbers of nodes that are gone be used again, as ext4 does.
    pub(crate) fn forget(&mut self, lives: impl Fn(Number) -> bool) {
        self.by_reference.retain(|ours, _| lives(*ours));
    }
}

impl Expected {
    /// Whether an answer is right.
    pub(crate) fn allows(&self, got: &Answer, numbering: &mut Numbering) -> bool {
        match (self, got) {
            (Self::Exactly(Ok(Value::Stat(want))), Ok(Value::Stat(got))) => {
                let comparable = Stat { number: want.number, mtime: want.mtime, ..*got };
                comparable == *want && want.mtime.allows(got.mtime) && numbering.agrees(want.number, got.number)
            }
            (Self::Exactly(want), got) => want == got,
            (Self::DataFrom { offset, body }, Ok(Value::Position(at))) => {
                (*offset..body.len() as u64).contains(at) && zeros(body, *offset, *at)
            }
            (Self::DataFrom { offset, body }, Err(Errno::NXIO)) => zeros(body, *offset, body.len() as u64),
            (Self::HoleFrom { offset, body }, Ok(Value::Position(at))) => {
                at >= offset && (*at == body.len() as u64 || body.get(*at as usize) == Some(&0))
            }
            (Self::DataFrom { .. } | Self::HoleFrom { .. }, _) => false,
        }
    }

    /// An answer that is right, for those that play a filesystem.
    pub(crate) fn simplest(self) -> Answer {
        match self {
            Self::Exactly(answer) => answer,
            Self::DataFrom { offset, .. } => Ok(Value::Position(offset)),
            Self::HoleFrom { body, .. } => Ok(Value::Position(body.len() as u64)),
        }
    }
}

fn zeros(body: &[u8], from: u64, to: u64) -> bool {
    body[from as usize..to as usize].iter().all(|byte| *byte == 0)
}

/// Says how two answers differ, without printing bodies.
pub(crate) fn difference(want: &Expected, got: &Answer) -> String {
    if let (Expected::Exactly(Ok(Value::Bytes(want))), Ok(Value::Bytes(got))) = (want, got) {
        let common = want.iter().zip(got).take_while(|(a, b)| a == b).count();
        let byte = |bytes: &[u8]| bytes.get(common).map_or("nothing".to_owned(), |byte| format!("{byte:#04x}"));
        let (wanted, found) = (byte(want), byte(got));
        let differ = want.iter().zip(got).filter(|(a, b)| a != b).count();
        return format!(
            "{} bytes expected, {} found; first difference at {common}: {wanted} expected, {found} found; {differ} differ",
            want.len(),
            got.len()
        );
    }
    format!("expected {want:?}, found {}", Show(got))
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("success"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Position(at) => write!(f, "position {at}"),
            Self::Bytes(bytes) if bytes.len() <= 64 => write!(f, "{:?}", bytes.escape_ascii().to_string()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Entries(entries) => write!(f, "{entries:?}"),
            Self::Keys(keys) => write!(f, "{keys:?}"),
            Self::Stat(stat) => write!(f, "{stat:?}"),
        }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(answer) => write!(f, "{}", Show(answer)),
            Self::DataFrom { offset, body } => {
                let first = body[*offset as usize..].iter().position(|byte| *byte != 0);
                let at = first.map_or(body.len(), |gap| *offset as usize + gap);
                write!(f, "data from {offset} at {at} or before (size {})", body.len())
            }
            Self::HoleFrom { offset, body } => write!(f, "a zero at or after {offset} or the size {}", body.len()),
        }
    }
}

/// An answer in words.
struct Show<'a>(&'a Answer);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(value) => write!(f, "{value:?}"),
            Err(errno) => write!(f, "error {errno}"),
        }
    }
}
