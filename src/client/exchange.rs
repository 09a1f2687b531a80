//! What goes along with a request that the facade makes: a body that is at hand, and items that are collected.

use std::io::Read;

use super::request::Item;
use super::route::Replay;
use super::serve::{Exchange, PIECE_BYTES_MAX};
use crate::error::{Error, Result};

/// A body and collected items.
#[derive(Default)]
pub(super) struct Luggage<'a> {
    body: Body<'a>,
    pub(super) items: Vec<Item>,
}

#[derive(Default)]
enum Body<'a> {
    #[default]
    None,
    Bytes {
        whole: &'a [u8],
        at: usize,
    },
    Stream {
        reader: &'a mut dyn Read,
        /// What was read so far, as long as that is little: it can be sent again.
        kept: Option<Vec<u8>>,
        /// How much of that was given out.
        at: usize,
        /// Nothing more comes: a terminal would ask for a second end.
        over: bool,
    },
}

impl<'a> Luggage<'a> {
    pub(super) fn bytes(whole: &'a [u8]) -> Self {
        Self { body: Body::Bytes { whole, at: 0 }, items: Vec::new() }
    }

    pub(super) fn stream(reader: &'a mut dyn Read) -> Self {
        Self { body: Body::Stream { reader, kept: Some(Vec::new()), at: 0, over: false }, items: Vec::new() }
    }
}

impl Exchange for Luggage<'_> {
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        let room = PIECE_BYTES_MAX as usize;
        let piece = match &mut self.body {
            Body::None => Vec::new(),
            Body::Bytes { whole, at } => {
                let piece = whole[*at..whole.len().min(*at + room)].to_vec();
                *at += piece.len();
                piece
            }
            Body::Stream { kept: Some(kept), at, .. } if *at < kept.len() => {
                let piece = kept[*at..].to_vec();
                *at = kept.len();
                piece
            }
            Body::Stream { over: true, .. } => Vec::new(),
            Body::Stream { reader, kept, at, over } => {
                let mut piece = Vec::new();
                reader
                    .take(room as u64)
                    .read_to_end(&mut piece)
                    .map_err(|e| Error::io("read what is to be written", e))?;
                *over = piece.len() < room;
                if kept.as_ref().is_some_and(|kept| kept.len() + piece.len() > room) {
                    *kept = None;
                }
                if let Some(kept) = kept {
                    kept.extend_from_slice(&piece);
                    *at = kept.len();
                }
                piece
            }
        };
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    fn item(&mut self, item: Item) -> Result<()> {
        self.items.push(item);
        Ok(())
    }
}

impl Replay for Luggage<'_> {
    fn rewind(&mut self) -> bool {
        self.items.clear();
        match &mut self.body {
            Body::None => true,
            Body::Bytes { at, .. } => {
                *at = 0;
                true
            }
            Body::Stream { kept, at, .. } => {
                *at = 0;
                kept.is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(luggage: &mut Luggage<'_>) -> Vec<u8> {
        std::iter::from_fn(|| luggage.piece().unwrap()).flatten().collect()
    }

    #[test]
    fn a_short_stream_can_be_sent_again_and_a_long_one_cannot() {
        let room = PIECE_BYTES_MAX as usize;
        for (length, again) in [(0, true), (5, true), (room, true), (room + 1, false), (3 * room, false)] {
            let whole = vec![7; length];
            let mut source = &whole[..];
            let mut luggage = Luggage::stream(&mut source);
            assert!(luggage.rewind(), "nothing was read yet");
            assert!(drain(&mut luggage) == whole);
            assert_eq!(luggage.rewind(), again, "{length} bytes");
            assert!(!again || drain(&mut luggage) == whole);
            let mut luggage = Luggage::bytes(&whole);
            assert!(drain(&mut luggage) == whole && luggage.rewind() && drain(&mut luggage) == whole);
        }
    }
}
