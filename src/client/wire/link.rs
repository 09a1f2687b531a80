//! The client's end of a connection: one request at a time.

use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frame::{self, Goodbye, Identity, Kind};
use crate::client::request::{Failure, Item, Reply, Request};
use crate::client::serve::{Exchange, PIECE_BYTES_MAX};
use crate::error::{Error, ErrorKind, Result};

/// How long the owner may take to greet; a request may take as long as it needs.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Bytes gathered before they are written.
const GATHER_BYTES: usize = 64 * 1024;

/// How a call ended.
#[derive(Debug)]
pub(in crate::client) enum Outcome {
    /// The owner answered.
    Answered(Result<Reply>),
    /// The request was not carried out, and will not be.
    NotDone {
        /// Another process is about to take the store over.
        handed_over: bool,
    },
    /// The connection broke when the request may have been on its way already.
    Unknown,
}

/// A connection that is greeted and idle.
#[derive(Debug)]
pub(in crate::client) struct Link {
    stream: BufReader<UnixStream>,
    out: Vec<u8>,
}

impl Link {
    /// Greets the owner as `identity`; `None` when he ends before he answers.
    ///
    /// # Errors
    /// `Incompatible` for another version, what the owner refuses with.
    pub(in crate::client) fn greet(stream: UnixStream, identity: &Identity) -> Result<Option<Self>> {
        let failed = |e| Error::io("greet the process that has the store", e);
        stream.set_read_timeout(Some(GREETING_MAX)).map_err(failed)?;
        let mut link = Self { stream: BufReader::with_capacity(GATHER_BYTES, stream), out: Vec::new() };
        frame::push(&mut link.out, Kind::Hello, &frame::greeting(identity)?);
        // If he is gone, reading tells.
        drop(link.flush());
        let answer = match frame::read(&mut link.stream) {
            Err(e) if is_end(&e) => return Ok(None),
            answer => answer.map_err(failed)?,
        };
        match answer {
            None | Some((Kind::Goodbye, _)) => Ok(None),
            Some((Kind::Welcome, content)) => {
                frame::check_greeting(&content)?;
                link.stream.get_ref().set_read_timeout(None).map_err(failed)?;
                Ok(Some(link))
            }
            Some((Kind::Failure, content)) => Err(frame::decode::<Failure>(&content).map_err(failed)?.into()),
            Some(_) => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    /// From now on an answer that takes longer counts as none.
    ///
    /// # Errors
    /// What the system reports.
    pub(in crate::client) fn answers_within(&self, patience: Duration) -> Result<()> {
        let set = self.stream.get_ref().set_read_timeout(Some(patience));
        set.map_err(|e| Error::io("limit the time of an answer", e))
    }

    /// Makes one request. The link can be used again if it was answered and `true` comes with the outcome.
    pub(in crate::client) fn call(&mut self, request: &Request, exchange: &mut dyn Exchange) -> (Outcome, bool) {
        let sent = match self.send(request, exchange) {
            Ok(sent) => sent,
            Err(e) => return (Outcome::Answered(Err(e)), false),
        };
        let mut reusable = matches!(sent, Sent::Whole);
        let (outcome, over) = self.receive(exchange).unwrap_or_else(|e| {
            log::debug!("the connection to the owner of the store broke: {e}");
            // Only a request that arrived whole is carried out; but an append takes the pieces as they come.
            let unknown = reusable || request.is_append();
            (if unknown { Outcome::Unknown } else { Outcome::NotDone { handed_over: false } }, false)
        });
        let outcome = match (sent, outcome) {
            (Sent::Aborted(error), _) => Outcome::Answered(Err(error)),
            (_, outcome) => outcome,
        };
        // An owner who refuses a body before he has read it all closes the connection after his answer.
        let whole = matches!(outcome, Outcome::Answered(Ok(_))) || !request.has_body();
        reusable &= over && whole && matches!(outcome, Outcome::Answered(_));
        (outcome, reusable)
    }

    fn send(&mut self, request: &Request, exchange: &mut dyn Exchange) -> Result<Sent> {
        self.out.clear();
        frame::push_value(&mut self.out, Kind::Request, request)?;
        if !request.has_body() {
            return Ok(self.flush().into());
        }
        loop {
            match exchange.piece() {
                Ok(Some(piece)) => {
                    for part in piece.chunks(PIECE_BYTES_MAX as usize) {
                        frame::push(&mut self.out, Kind::Body, part);
                    }
                }
                Ok(None) => break,
                Err(e) => {
                    frame::push(&mut self.out, Kind::Abort, &[]);
                    drop(self.flush());
                    return Ok(Sent::Aborted(e));
                }
            }
            if self.out.len() > GATHER_BYTES && (self.flush().is_err() || self.has_answer()) {
                return Ok(Sent::Part);
            }
        }
        frame::push(&mut self.out, Kind::End, &[]);
        Ok(self.flush().into())
    }

    fn flush(&mut self) -> io::Result<()> {
        frame::flush(&mut self.stream.get_ref().by_ref(), &mut self.out)
    }

    /// Whether the owner has answered before the body was complete: he refuses the rest of it.
    fn has_answer(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.stream.get_ref().as_fd(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Receives items and the answer; and whether the owner has said all that he will.
    fn receive(&mut self, exchange: &mut dyn Exchange) -> io::Result<(Outcome, bool)> {
        loop {
            let Some((kind, content)) = frame::read(&mut self.stream)? else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let outcome = match kind {
                Kind::Items => {
                    let mut items = frame::decode::<Vec<Item>>(&content)?.into_iter();
                    match items.try_for_each(|item| exchange.item(item)) {
                        Ok(()) => continue,
                        // What else comes, and it may be much, is not waited for.
                        Err(e) => return Ok((Outcome::Answered(Err(e)), false)),
                    }
                }
                Kind::Reply => Outcome::Answered(Ok(frame::decode(&content)?)),
                Kind::Failure => Outcome::Answered(Err(frame::decode::<Failure>(&content)?.into())),
                Kind::Goodbye => {
                    let Goodbye { handed_over } = frame::decode(&content)?;
                    Outcome::NotDone { handed_over }
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            return Ok((outcome, true));
        }
    }
}

/// How much of a request was sent.
enum Sent {
    Whole,
    Part,
    /// The body could not be had.
    Aborted(Error),
}

impl From<io::Result<()>> for Sent {
    fn from(written: io::Result<()>) -> Self {
        if written.is_ok() { Self::Whole } else { Self::Part }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}

/// The error of a request whose outcome nobody knows.
pub(in crate::client) fn outcome_unknown(request: &Request) -> Error {
    crate::advice::refusal(
        ErrorKind::OutcomeUnknown,
        request.describe(),
        "the process that had the store ended before it answered",
        "look whether it was done before you do it again",
    )
}
