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
        begun: bool,
    },
}

impl<'a> Luggage<'a> {
    pub(super) fn bytes(whole: &'a [u8]) -> Self {
        Self { body: Body::Bytes { whole, at: 0 }, items: Vec::new() }
    }

    pub(super) fn stream(reader: &'a mut dyn Read) -> Self {
        Self { body: Body::Stream { reader, begun: false }, items: Vec::new() }
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
            Body::Stream { reader, begun } => {
                *begun = true;
                let mut piece = Vec::new();
                reader
                    .take(room as u64)
                    .read_to_end(&mut piece)
                    .map_err(|e| Error::io("read what is to be written", e))?;
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
            Body::Stream { begun, .. } => !*begun,
        }
    }
}
