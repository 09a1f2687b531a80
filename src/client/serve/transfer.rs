//! Export and import for whoever is at the other end: everything travels in pieces, files of his are not looked at here.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Read};

use serde_bytes::ByteBuf;

use super::super::request::{Item, Reply};
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Digest;
use crate::transfer::{self, ImportRules, Note, Selection, Sink};
use crate::vfs::Readable;

/// Bytes of lines or of a body in one item.
const PIECE_BYTES: usize = 128 * 1024;
/// Bytes of a digest and the size that goes with it.
pub(in crate::client) const KNOWN_BYTES: usize = 40;
/// The most bodies that a client may say he has; those beyond are sent once more. Some 100 MiB of memory.
const KNOWN_MAX: usize = 1 << 20;

impl Context<'_> {
    pub(super) fn export(&self, selection: &Selection, exchange: &mut dyn Exchange) -> Result<Reply> {
        let known = known(exchange)?;
        let mut sending = Sending { exchange, known };
        let mut report = transfer::export_into(self.view, selection, &mut sending)?;
        notes(std::mem::take(&mut report.notes), sending.exchange)?;
        Ok(Reply::Exported(report))
    }

    /// A byte for each of some digests: whether its body has to be brought. Whoever does not see all files is not told what
    /// the store has, and has to bring everything.
    pub(super) fn lacks(&self, digests: &[u8]) -> Result<Reply> {
        let (digests, []) = digests.as_chunks::<32>() else {
            return Err(Error::new(ErrorKind::Invalid, "look for bodies: digests have 32 bytes each"));
        };
        let all = !self.view.sees_all();
        let lacks = |digest: &[u8; 32]| Ok(u8::from(all || !self.view.vfs().has_body(&Digest::from(*digest))?));
        Ok(Reply::Binary(ByteBuf::from(digests.iter().map(lacks).collect::<Result<Vec<u8>>>()?)))
    }

    pub(super) fn import(&self, rules: ImportRules, exchange: &mut dyn Exchange) -> Result<Reply> {
        // Read to its end before anything is said: whoever sends takes an early word for a refusal.
        let exchange = RefCell::new(exchange);
        let mut incoming = Incoming { exchange: &exchange, piece: io::Cursor::default() };
        let mut progress = |lines| {
            let mut exchange = exchange.borrow_mut();
            // Nobody is left to be told; the import goes on, as its lines are all here.
            exchange.item(Item::Progress { done: lines, all: 0 }).and_then(|()| exchange.flush()).ok();
        };
        let mut report = transfer::import_stream(self.view, *self.caller, rules, &mut incoming, &mut progress)?;
        notes(std::mem::take(&mut report.notes), *exchange.borrow_mut())?;
        Ok(Reply::Imported(report))
    }
}

/// The bodies that the other end has.
fn known(exchange: &mut dyn Exchange) -> Result<HashSet<(Digest, u64)>> {
    let (mut known, mut left) = (HashSet::new(), Vec::new());
    while let Some(piece) = exchange.piece()? {
        left.extend_from_slice(&piece);
        let (records, rest) = left.as_chunks::<KNOWN_BYTES>();
        for record in records.iter().take(KNOWN_MAX - known.len()) {
            if let Some((digest, size)) = record.split_first_chunk::<32>()
                && let Ok(size) = <[u8; 8]>::try_from(size)
            {
                known.insert((Digest::from(*digest), u64::from_le_bytes(size)));
            }
        }
        left = rest.to_vec();
    }
    Ok(known)
}

fn notes(notes: Vec<Note>, exchange: &mut dyn Exchange) -> Result<()> {
    notes.into_iter().try_for_each(|note| exchange.item(Item::Note(note)))
}

/// An export on its way to the other end.
struct Sending<'e> {
    exchange: &'e mut dyn Exchange,
    /// Bodies that the other end has, at first or by now.
    known: HashSet<(Digest, u64)>,
}

impl Sink for Sending<'_> {
    fn lines(&mut self, lines: &[u8]) -> Result<()> {
        lines.chunks(PIECE_BYTES).try_for_each(|piece| self.exchange.item(Item::Lines(ByteBuf::from(piece))))
    }

    fn lacks(&self, digest: &Digest, size: u64) -> bool {
        !self.known.contains(&(*digest, size))
    }

    fn body(&mut self, digest: &Digest, size: u64, from: &mut Readable) -> Result<()> {
        self.exchange.item(Item::Body { digest: *digest.as_bytes(), size })?;
        let exchange = &mut *self.exchange;
        let sent = from.pieces(PIECE_BYTES, &mut |piece| exchange.item(Item::Piece(ByteBuf::from(piece))))?;
        if sent != size {
            return Err(Error::new(ErrorKind::Damaged, format!("export the body {digest}, which changed meanwhile")));
        }
        self.known.insert((*digest, size));
        Ok(())
    }
}

/// An import as it arrives.
struct Incoming<'a, 'e> {
    exchange: &'a RefCell<&'e mut dyn Exchange>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Incoming<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.piece.read(into)?;
        if got > 0 || into.is_empty() {
            return Ok(got);
        }
        match self.exchange.borrow_mut().piece().map_err(io::Error::other)? {
            Some(piece) => self.piece = io::Cursor::new(piece),
            None => return Ok(0),
        }
        self.piece.read(into)
    }
}
