//! What comes in on a connection and what goes back, frame by frame and within its time.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::frame::{self, FRAME_BYTES_MAX, Kind};
use crate::client::request::Item;
use crate::client::serve::Exchange;
use crate::error::{Error, ErrorKind, Result};
use crate::work::WorkItem;

/// How long a frame may take that has begun, and an answer until it is taken.
pub(super) const FRAME_TIME_MAX: Duration = Duration::from_secs(30);
/// Encoded items gathered before they are sent.
pub(super) const GATHER_BYTES: usize = 64 * 1024;

/// What has come of the body of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Open,
    Ended,
    Broken,
}

/// The body and the items of one request on their way.
pub(super) struct Wire<'a, 'b> {
    reader: &'a mut BufReader<Patient<'b>>,
    stream: &'a UnixStream,
    pub(super) body: Body,
    items: Vec<Item>,
    items_bytes: usize,
    pub(super) out: Vec<u8>,
}

impl<'a, 'b> Wire<'a, 'b> {
    pub(super) fn new(reader: &'a mut BufReader<Patient<'b>>, stream: &'a UnixStream, body: Body) -> Self {
        Self { reader, stream, body, items: Vec::new(), items_bytes: 0, out: Vec::new() }
    }

    /// Sends what was gathered, or keeps it a little longer in `out`.
    pub(super) fn send_items(&mut self) -> Result<()> {
        if self.items.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(&mut self.items);
        self.items_bytes = 0;
        frame::push_value(&mut self.out, Kind::Items, &items)?;
        if self.out.len() < GATHER_BYTES { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<()> {
        frame::flush(&mut &*self.stream, &mut self.out).map_err(|e| {
            self.body = Body::Broken;
            Error::io("send an answer", e)
        })
    }
}

impl Exchange for Wire<'_, '_> {
    fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        while self.body == Body::Open {
            match self.reader.next_frame(FRAME_TIME_MAX) {
                Ok(Some((Kind::Body, piece))) if piece.is_empty() => {}
                Ok(Some((Kind::Body, piece))) => return Ok(Some(piece)),
                Ok(Some((Kind::End, _))) => self.body = Body::Ended,
                _ => self.body = Body::Broken,
            }
        }
        match self.body {
            Body::Broken => Err(Error::new(ErrorKind::Io, "the body broke off; nothing of it is kept")),
            _ => Ok(None),
        }
    }

    fn item(&mut self, item: Item) -> Result<()> {
        self.items_bytes += weight(&item);
        self.items.push(item);
        if self.items_bytes < GATHER_BYTES { Ok(()) } else { self.send_items() }
    }

    fn flush(&mut self) -> Result<()> {
        self.send_items()?;
        self.send()
    }
}

/// About how many bytes an item takes on its way; at most what leaves room for one more in a frame.
fn weight(item: &Item) -> usize {
    let bytes = match item {
        Item::Entry(entry) => entry.path.len(),
        Item::Duplicate(found) => found.paths.iter().map(|path| path.len() + 3).sum(),
        Item::Metadata(key, json) => key.len() + json.len(),
        Item::Binary(key, value) => key.len() + value.len(),
        Item::Match(found) => found.virtual_path.len() + found.path_id.len(),
        Item::Work(item) => work_item(item),
        Item::GraphNode(node) => node.virtual_path.len() + node.path_id.len(),
        Item::Dependency(dependency) => dependency.item.len() + dependency.depends_on.len(),
        Item::Traffic(traffic) => traffic.weight(),
        Item::Progress { .. } | Item::Body { .. } => 0,
        Item::Damaged(damage) => damage.paths.iter().map(|path| path.0.as_bytes().len() + 3).sum(),
        Item::Lines(bytes) | Item::Piece(bytes) => bytes.len(),
        Item::Note(note) => note.path.len() + note.what.len(),
        Item::WorkChange(change) => change.virtual_path.len() + change.path_id.len() + change.at.len(),
    };
    debug_assert!(bytes < FRAME_BYTES_MAX - GATHER_BYTES, "every item fits behind others");
    bytes + 64
}

/// The texts of a work item; of them, attributes are as long as an attribute can be.
fn work_item(item: &WorkItem) -> usize {
    let free = [&item.worker_id, &item.started_at, &item.completed_at, &item.lease_until, &item.tags, &item.tenant_id];
    let free: usize = free.into_iter().flatten().map(String::len).sum();
    let hash = item.content_hash.as_ref().map_or(0, String::len);
    item.virtual_path.len() + free + hash + item.created_at.len() + item.updated_at.len() + 64
}

/// A stream whose reads have to be over at a time.
pub(super) struct Patient<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl<'a> Patient<'a> {
    pub(super) fn new(stream: &'a UnixStream) -> io::Result<Self> {
        // Looked at so often, the deadline is kept well enough, and costs no system call for each frame.
        stream.set_read_timeout(Some(FRAME_TIME_MAX / 6))?;
        Ok(Self { stream, until: Instant::now() })
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.stream.read(into);
            let now = Instant::now();
            match read {
                Ok(0) => return Ok(0),
                _ if now >= self.until => return Err(io::ErrorKind::TimedOut.into()),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Ok(got) => {
                    // A frame that has begun may not be as slow as one that has not.
                    self.until = self.until.min(now + FRAME_TIME_MAX);
                    return Ok(got);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// Reading the next frame within a time.
pub(super) trait ReadFrame {
    fn next_frame(&mut self, patience: Duration) -> io::Result<Option<(Kind, Vec<u8>)>>;
}

impl ReadFrame for BufReader<Patient<'_>> {
    fn next_frame(&mut self, patience: Duration) -> io::Result<Option<(Kind, Vec<u8>)>> {
        self.get_mut().until = Instant::now() + patience;
        frame::read(self)
    }
}
