//! The owner's end of all connections: a thread that accepts, and one for each connection.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::frame::{self, Goodbye, Identity, Kind};
use super::incoming::{Body, FRAME_TIME_MAX, GATHER_BYTES, Patient, ReadFrame, Wire};
use super::socket::{Listening, admit};
use crate::advice;
use crate::client::owner::{Gone, Inner};
use crate::client::request::{Failure, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Caller;
use crate::view::View;

/// The most connections at a time. Whoever comes later tries again, and says so when that goes on for long.
pub(in crate::client) const CONNECTIONS_MAX: usize = 256;
/// How long a connection may be idle. Clients connect again by themselves.
const IDLE_TIME_MAX: Duration = Duration::from_secs(600);
/// How long the last answers may take when the owner ends.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The socket of a store and its connections.
#[derive(Debug)]
pub(in crate::client) struct Server {
    listening: Arc<Listening>,
    connections: Arc<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    open: Mutex<Open>,
    /// Told when the last one has ended.
    none_left: Condvar,
}

#[derive(Debug, Default)]
struct Open {
    streams: HashMap<u64, UnixStream>,
    next: u64,
    /// No more are taken in.
    over: bool,
}

impl Server {
    /// Begins to serve.
    ///
    /// # Errors
    /// When there can be no socket in the data directory, or no thread.
    pub(in crate::client) fn start(data_dir: &Path, owner: &Arc<Inner>) -> Result<Self> {
        let listening = Arc::new(Listening::new(data_dir)?);
        let connections = Arc::<Connections>::default();
        let listener = UnixListener::from(
            listening.socket.try_clone().map_err(|e| Error::io("copy the descriptor of a socket", e))?,
        );
        let (owner, open) = (Arc::clone(owner), Arc::clone(&connections));
        spawn("nexus-accept", move || accept(&listener, &owner, &open))?;
        Ok(Self { listening, connections })
    }

    /// How many are connected.
    pub(in crate::client) fn clients(&self) -> u32 {
        u32::try_from(self.connections.open.lock().streams.len()).unwrap_or(u32::MAX)
    }

    /// Breaks all connections off: for those that keep the owner from ending.
    pub(in crate::client) fn cut(&self) {
        for stream in self.connections.open.lock().streams.values() {
            if let Err(e) = stream.shutdown(Shutdown::Both) {
                log::debug!("breaking a connection off: {e}");
            }
        }
    }

    /// Accepts nobody any more, and waits until all connections have ended: the owner has closed its gate, so each ends
    /// with its last answer or a goodbye. Without that a client could not tell what was done.
    pub(in crate::client) fn stop(&self) {
        self.listening.end();
        let mut open = self.connections.open.lock();
        open.over = true;
        for stream in open.streams.values() {
            // What has arrived already is still read.
            if let Err(e) = stream.shutdown(Shutdown::Read) {
                log::debug!("ending a connection: {e}");
            }
        }
        let patience = Instant::now() + FAREWELL_MAX;
        while !open.streams.is_empty() {
            if self.connections.none_left.wait_until(&mut open, patience).timed_out() {
                log::warn!("{} clients do not take their answers", open.streams.len());
                return;
            }
        }
    }
}

fn accept(listener: &UnixListener, owner: &Arc<Inner>, connections: &Arc<Connections>) {
    while owner.gone().is_none() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => return,
            Err(e) => {
                if owner.gone().is_none() {
                    // Out of descriptors, for example.
                    log::warn!("accepting a connection: {e}");
                    std::thread::sleep(Duration::from_millis(100));
                }
                continue;
            }
        };
        if let Err(e) = begin(stream, owner, connections) {
            log::warn!("{}", advice::sentence(&e));
        }
    }
}

/// Starts the thread of a connection, or says why not.
fn begin(stream: UnixStream, owner: &Arc<Inner>, connections: &Arc<Connections>) -> Result<()> {
    let failed = |e| Error::io("serve a connection", e);
    stream.set_write_timeout(Some(FRAME_TIME_MAX)).map_err(failed)?;
    let caller = match admit(&stream) {
        Ok(caller) => caller,
        Err(e) => {
            refuse(&stream, &e);
            return Err(e);
        }
    };
    let id = {
        let mut open = connections.open.lock();
        if open.over {
            // Closed without a word: the client looks for the next owner.
            return Ok(());
        }
        if open.streams.len() >= CONNECTIONS_MAX {
            drop(open);
            refuse(
                &stream,
                &Error::new(ErrorKind::InUse, format!("more than {CONNECTIONS_MAX} connections to a store")),
            );
            return Ok(());
        }
        let id = open.next;
        open.next += 1;
        open.streams.insert(id, stream.try_clone().map_err(failed)?);
        id
    };
    let (owner, place) = (Arc::clone(owner), Occupied { connections: Arc::clone(connections), id });
    spawn("nexus-client", move || {
        let _place = place;
        if let Err(e) = converse(&owner, &stream, &caller) {
            log::debug!("a connection broke: {e}");
        }
    })
}

/// One of the connections that may be open at a time; given back whatever happens to its thread.
struct Occupied {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.streams.remove(&self.id);
        if open.streams.is_empty() {
            self.connections.none_left.notify_all();
        }
    }
}

/// Answers the greeting with an error.
fn refuse(stream: &UnixStream, error: &Error) {
    let mut out = Vec::new();
    if frame::push_value(&mut out, Kind::Failure, &Failure::from(error)).is_ok() {
        drop((&mut &*stream).write_all(&out));
    }
}

/// One connection from greeting to end.
fn converse(owner: &Arc<Inner>, stream: &UnixStream, caller: &Caller) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(GATHER_BYTES, Patient::new(stream)?);
    let Some((Kind::Hello, content)) = reader.next_frame(FRAME_TIME_MAX)? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut out = Vec::new();
    // In this version's words, so that the client sees which it is.
    frame::push(&mut out, Kind::Welcome, &frame::greeting(&std::process::id()).map_err(io::Error::other)?);
    let view = match greeted(owner, &content) {
        Ok(view) => view,
        Err(e) => {
            out.clear();
            frame::push_value(&mut out, Kind::Failure, &Failure::from(&e)).map_err(io::Error::other)?;
            return frame::flush(&mut &*stream, &mut out);
        }
    };
    frame::flush(&mut &*stream, &mut out)?;
    loop {
        let Some((kind, content)) = reader.next_frame(IDLE_TIME_MAX).or_else(idle_is_end)? else {
            return say_goodbye(stream, owner.gone());
        };
        if kind != Kind::Request {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let request: Request = frame::decode(&content)?;
        if !answer(owner, &view, caller, &request, &mut reader, stream)? {
            return Ok(());
        }
    }
}

fn greeted(owner: &Inner, content: &[u8]) -> Result<Arc<View>> {
    let identity: Identity =
        frame::decode(frame::check_greeting(content)?).map_err(|e| Error::io("understand who connects", e))?;
    Ok(owner.view(&identity.principal()?))
}

/// Answers one request; whether the connection goes on.
fn answer(
    owner: &Arc<Inner>,
    view: &View,
    caller: &Caller,
    request: &Request,
    reader: &mut BufReader<Patient<'_>>,
    stream: &UnixStream,
) -> io::Result<bool> {
    let body = if request.has_body() { Body::Open } else { Body::Ended };
    let mut exchange = Wire::new(reader, stream, body);
    let answered = match owner.answer(view, caller, request, &mut exchange) {
        Err(gone) => return say_goodbye(stream, Some(gone)).map(|()| false),
        Ok(answered) => answered.and_then(|reply| exchange.send_items().map(|()| reply)),
    };
    let mut out = std::mem::take(&mut exchange.out);
    let whole = match answered.and_then(|reply| frame::push_value(&mut out, Kind::Reply, &reply)) {
        Ok(()) => true,
        Err(e) => {
            frame::push_value(&mut out, Kind::Failure, &Failure::from(&e)).map_err(io::Error::other)?;
            // The rest of the body is not worth reading.
            exchange.body == Body::Ended
        }
    };
    frame::flush(&mut &*stream, &mut out)?;
    Ok(whole && exchange.body != Body::Broken)
}

fn say_goodbye(stream: &UnixStream, gone: Option<Gone>) -> io::Result<()> {
    let goodbye = Goodbye { handed_over: gone.is_some_and(|gone| gone.handed_over) };
    let mut out = Vec::new();
    frame::push_value(&mut out, Kind::Goodbye, &goodbye).map_err(io::Error::other)?;
    frame::flush(&mut &*stream, &mut out)
}

fn idle_is_end<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::TimedOut => Ok(None),
        _ => Err(error),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map(drop)
        .map_err(|e| Error::io(format!("start the thread '{name}'"), e))
}
