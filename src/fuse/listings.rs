//! Listings of directories that nobody has opened.
//!
//! Where the kernel offers it (`FUSE_NO_OPENDIR_SUPPORT`, Linux 5.1) it is answered that there is no FUSE_OPENDIR. From then on it
//! opens directories by itself and reads them without a handle, and of one whose listing it has kept it asks nothing at all:
//! a program that walks a tree twice asks for no directory the second time.
//!
//! **What a stream remembers** is found again by its directory. A stream begins where somebody reads from offset 0. An offset
//! in what is stored means the same to all streams, so one for each directory will do, and it ends where nothing follows. Those who
//! list it at one time share its end then: what was made before the last of them began may be listed to the others as well,
//! which readdir(3) leaves open. In what is computed it is a position in what one stream was given: there it carries the number of its stream,
//! which stays as long as it is used, because whoever has come to the end may go back to an offset, seekdir(3).
//!
//! **What the kernel must not keep** has to be taken back, because without a handle there is nothing to say so by. The kernel
//! keeps a listing when somebody has read it from the beginning up to the empty answer behind its last entry
//! (`fuse_readdir_cache_end`); by then it has all of its pages. They are taken back before that answer is given. A kept
//! listing that lacks a page is given up and read anew (`fuse_readdir_cached`), whenever the page was taken. So whoever changes
//! names from elsewhere is heard of either before the empty answer, which then comes with that notice, or after it, when
//! [`Known::hear`](super::known::Known::hear) sends one. (What is left: one reader is told the end and is held up in the kernel,
//! while a second one finds the listing given up and a third begins it anew, stops early, and so leaves pages behind which the
//! first then has kept. That can be only where another mount has changed the directory, and lasts until it is changed again.)

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::debug;
use parking_lot::Mutex;

use crate::error::Result;
use crate::model::NodeId;
use crate::vfs::HandleId;
use crate::view::View;

/// The handle of a directory that nobody has opened.
pub(super) const NOBODYS: HandleId = HandleId(0);

/// Set in an offset that is a position in a stream with a number. Offsets are signed 64-bit numbers to programs, telldir(3), and
/// no place of a stored name is that large.
const NUMBERED: u64 = 1 << 62;
/// Bits of such an offset that are the position; above them stands the number of the stream.
const POSITION_BITS: u32 = 32;
/// Numbers of streams.
const NUMBERS: u64 = 1 << 30;
/// Streams with numbers of one directory; the one that was not used for longest gives way. Whoever reads on in one that is no
/// longer there goes on in a new one, at its position, and may miss what has moved before that.
const NUMBERED_MAX: usize = 32;
/// After this long without use a stream counts as given up.
const IDLE: Duration = Duration::from_secs(60);

/// A directory that is being read.
#[derive(Debug)]
pub(super) struct Stream {
    view: Arc<View>,
    handle: HandleId,
    /// `None` where all streams of the directory have the same offsets.
    number: Option<u64>,
}

impl Stream {
    /// The open directory below.
    pub(super) fn handle(&self) -> HandleId {
        self.handle
    }

    /// The offset that the kernel is told, for one of the directory.
    pub(super) fn mark(&self, offset: u64) -> u64 {
        self.number.map_or(offset, |number| NUMBERED | number << POSITION_BITS | offset)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Err(e) = self.view.releasedir(self.handle) {
            debug!("close a directory that was read: {e}");
        }
    }
}

/// The streams of one directory, and when each was used; the last one at the end.
type Streams = VecDeque<(Instant, Arc<Stream>)>;

/// The streams of one mount.
#[derive(Debug, Default)]
pub(super) struct Listings {
    without_handles: AtomicBool,
    streams: Mutex<HashMap<NodeId, Streams>>,
    /// How many directories have streams, to be looked at without the lock.
    count: AtomicUsize,
    numbers: AtomicU64,
}

impl Listings {
    /// From now on directories are read without being opened.
    pub(super) fn need_no_handles(&self) {
        self.without_handles.store(true, Ordering::Relaxed);
    }

    /// Whether directories are read without being opened.
    pub(super) fn are_without_handles(&self) -> bool {
        self.without_handles.load(Ordering::Relaxed)
    }

    /// The stream in which to read a directory at an offset that the kernel knows, and what the offset is there.
    ///
    /// # Errors
    /// As [`View::opendir`].
    pub(super) fn stream(&self, view: &Arc<View>, node: NodeId, marked: u64) -> Result<(Arc<Stream>, u64)> {
        let now = Instant::now();
        let (number, offset) = match marked & NUMBERED {
            0 => (None, marked),
            _ => (Some((marked ^ NUMBERED) >> POSITION_BITS), marked & ((1 << POSITION_BITS) - 1)),
        };
        if marked > 0
            && let Some(streams) = self.streams.lock().get_mut(&node)
            && let Some(at) = streams.iter().position(|(_, stream)| stream.number == number)
            && let Some((_, stream)) = streams.remove(at)
        {
            streams.push_back((now, Arc::clone(&stream)));
            return Ok((stream, offset));
        }
        let handle = view.opendir(node)?;
        let numbered = node.is_virtual();
        let number = numbered.then(|| self.numbers.fetch_add(1, Ordering::Relaxed) % NUMBERS);
        let stream = Arc::new(Stream { view: Arc::clone(view), handle, number });
        let given_up: Vec<_> = {
            let mut all = self.streams.lock();
            let streams = all.entry(node).or_default();
            let idle = streams.iter().take_while(|(used, _)| now.saturating_duration_since(*used) > IDLE).count();
            let room = if numbered { NUMBERED_MAX - 1 } else { 0 };
            let given_up = streams.drain(..idle.max(streams.len().saturating_sub(room))).collect();
            streams.push_back((now, Arc::clone(&stream)));
            self.count.store(all.len(), Ordering::Relaxed);
            given_up
        };
        drop(given_up);
        Ok((stream, offset))
    }

    /// A stream has come to its end, where nobody needs it to go back.
    pub(super) fn end(&self, node: NodeId, stream: &Arc<Stream>) {
        if stream.number.is_some() {
            return;
        }
        let ended = {
            let mut all = self.streams.lock();
            let Some(streams) = all.get_mut(&node) else { return };
            let at = streams.iter().position(|(_, other)| Arc::ptr_eq(other, stream));
            let ended = at.and_then(|at| streams.remove(at));
            if streams.is_empty() {
                all.remove(&node);
            }
            self.count.store(all.len(), Ordering::Relaxed);
            ended
        };
        drop(ended);
    }

    /// The kernel has forgotten a directory, or something else. It may have found a computed one again meanwhile.
    pub(super) fn forget(&self, node: NodeId) {
        if node.is_virtual() || self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let forgotten = {
            let mut all = self.streams.lock();
            let forgotten = all.remove(&node);
            self.count.store(all.len(), Ordering::Relaxed);
            forgotten
        };
        drop(forgotten);
    }
}
