//! Listings of directories that nobody has opened.
//!
//! Where the kernel offers it (`FUSE_NO_OPENDIR_SUPPORT`, Linux 5.1) it is answered that there is no FUSE_OPENDIR. From then on
//! it opens directories by itself and reads them without a handle, and of one whose listing it has kept it asks nothing at
//! all: a program that walks a tree twice asks for no directory the second time.
//!
//! **What a stream remembers** is found again by its directory. A stream begins where somebody reads from offset 0. An offset
//! in what is stored is the place of a name, which means the same to all streams, so that the kernel can go on in one where
//! another has filled its pages; only where the listing ends is different. What is computed has positions, which mean
//! something in one stream only. There an offset carries the number of its stream, and so it does in what is stored for whoever
//! begins while another is on its way: a program that renames what it lists is not given the new names because somebody
//! else looks.
//!
//! **How long it stays.** Nobody says that a listing is given up. What has come to its end is kept where an offset says nothing
//! without it, and for a minute, because whoever has read it may go back, seekdir(3). What has not may be read on later: by a
//! worker, say, that does the jobs it was given first. It stays for an hour, unless very many others begin.
//!
//! **What the kernel must not keep** has to be taken back, because without a handle there is nothing to say so by. The kernel
//! keeps a listing when somebody has read it from the beginning up to the empty answer behind its last entry
//! (`fuse_readdir_cache_end`); by then it has all of its pages. They are taken back before that answer is given. A kept
//! listing that lacks a page is given up and read anew (`fuse_readdir_cached`), whenever the page was taken. So whoever changes
//! names from elsewhere is heard of either before the empty answer, which then comes with that notice, or after it, when
//! [`Known::hear`](super::known::Known::hear) sends one. (What is left: one reader is told the end and is held up in the kernel,
//! while a second one finds the listing given up and a third begins it anew, stops early, and so leaves pages behind which the
//! first then has kept. That can be only where another mount has changed the directory, while it is listed and changed again,
//! and lasts until it is changed through this mount.)

use std::collections::HashMap;
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

/// Set in an offset that carries the number of a stream. Offsets are signed 64-bit numbers to programs, telldir(3).
const NUMBERED: u64 = 1 << 62;
/// Bits of such an offset that are the one in the stream; above them stands the number.
const OFFSET_BITS: u32 = 32;
/// Numbers of streams.
const NUMBERS: u64 = 1 << 30;
/// Streams of one directory; the one that was not used for longest gives way. Whoever reads on in one that is no longer there
/// goes on in a new one, at its offset, and may miss what has moved before that.
const STREAMS_MAX: usize = 32;
/// Those of them that have come to their end.
const ENDED_MAX: usize = 2;
/// How long one stays that has come to its end, and how long one keeps others from being the one without a number.
const SOON: Duration = Duration::from_secs(60);
/// How long one stays that has not.
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// A directory that is being read.
#[derive(Debug)]
pub(super) struct Stream {
    view: Arc<View>,
    handle: HandleId,
    /// What its offsets carry.
    number: Option<u64>,
}

impl Stream {
    /// The open directory below.
    pub(super) fn handle(&self) -> HandleId {
        self.handle
    }

    /// The offset that the kernel is told, for one of the directory.
    pub(super) fn mark(&self, offset: u64) -> u64 {
        match self.number {
            Some(number) if offset >> OFFSET_BITS == 0 => NUMBERED | number << OFFSET_BITS | offset,
            _ => offset,
        }
    }
}

/// The number that an offset carries, and what it is in the stream.
fn unmark(marked: u64) -> (Option<u64>, u64) {
    match marked & NUMBERED {
        0 => (None, marked),
        _ => (Some((marked ^ NUMBERED) >> OFFSET_BITS), marked & ((1 << OFFSET_BITS) - 1)),
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Err(e) = self.view.releasedir(self.handle) {
            debug!("close a directory that was read: {e}");
        }
    }
}

/// A stream that somebody may read on in.
#[derive(Debug)]
struct Kept {
    stream: Arc<Stream>,
    used: Instant,
    ended: bool,
}

impl Kept {
    fn is_unused_for(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.used) > time
    }
}

/// The streams of one directory, the last one used at the end.
type Streams = Vec<Kept>;

/// Takes out those that count as given up.
fn given_up(streams: &mut Streams, now: Instant) -> Vec<Kept> {
    let mut count = streams.len();
    let mut ended = streams.iter().filter(|kept| kept.ended).count();
    let (given_up, kept) = streams.drain(..).partition(|kept| {
        let is_one_too_many = count > STREAMS_MAX || (kept.ended && ended > ENDED_MAX);
        let is_given_up = is_one_too_many || kept.is_unused_for(if kept.ended { SOON } else { PAUSE }, now);
        count -= usize::from(is_given_up);
        ended -= usize::from(is_given_up && kept.ended);
        is_given_up
    });
    *streams = kept;
    given_up
}

#[derive(Debug, Default)]
struct Table {
    streams: HashMap<NodeId, Streams>,
    /// When all of them were looked through.
    swept: Option<Instant>,
}

impl Table {
    /// Looks through all, now and then.
    fn sweep(&mut self, now: Instant) -> Vec<Kept> {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SOON) {
            return Vec::new();
        }
        self.swept = Some(now);
        let given_up = self.streams.values_mut().flat_map(|streams| given_up(streams, now)).collect();
        self.streams.retain(|_, streams| !streams.is_empty());
        given_up
    }
}

/// The streams of one mount.
#[derive(Debug, Default)]
pub(super) struct Listings {
    without_handles: AtomicBool,
    table: Mutex<Table>,
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
        let (number, offset) = unmark(marked);
        if marked > 0
            && let Some(streams) = self.table.lock().streams.get_mut(&node)
            && let Some(at) = streams.iter().position(|kept| kept.stream.number == number)
        {
            let mut kept = streams.remove(at);
            (kept.used, kept.ended) = (now, false);
            let stream = Arc::clone(&kept.stream);
            streams.push(kept);
            return Ok((stream, offset));
        }
        let handle = view.opendir(node)?;
        // Dropped without the lock.
        let mut gone;
        let stream = {
            let mut table = self.table.lock();
            gone = table.sweep(now);
            let streams = table.streams.entry(node).or_default();
            let unnumbered = streams.iter().position(|kept| kept.stream.number.is_none());
            let is_numbered = node.is_virtual() || unnumbered.is_some_and(|at| !streams[at].is_unused_for(SOON, now));
            if let (false, Some(at)) = (is_numbered, unnumbered) {
                gone.push(streams.remove(at));
            }
            let number = is_numbered.then(|| self.numbers.fetch_add(1, Ordering::Relaxed) % NUMBERS);
            let stream = Arc::new(Stream { view: Arc::clone(view), handle, number });
            streams.push(Kept { stream: Arc::clone(&stream), used: now, ended: false });
            gone.extend(given_up(streams, now));
            self.count.store(table.streams.len(), Ordering::Relaxed);
            stream
        };
        drop(gone);
        Ok((stream, offset))
    }

    /// A stream has come to its end.
    pub(super) fn end(&self, node: NodeId, stream: &Arc<Stream>) {
        let ended = {
            let mut table = self.table.lock();
            let Some(streams) = table.streams.get_mut(&node) else { return };
            let Some(at) = streams.iter().position(|kept| Arc::ptr_eq(&kept.stream, stream)) else { return };
            let ended = if node.is_virtual() {
                streams[at].ended = true;
                given_up(streams, Instant::now())
            } else {
                // Its offsets are places, which need no stream.
                vec![streams.remove(at)]
            };
            if streams.is_empty() {
                table.streams.remove(&node);
            }
            self.count.store(table.streams.len(), Ordering::Relaxed);
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
            let mut table = self.table.lock();
            let forgotten = table.streams.remove(&node);
            self.count.store(table.streams.len(), Ordering::Relaxed);
            forgotten
        };
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::model::{Caller, Name, Principal, Timestamp};
    use crate::vfs::{StoreOptions, Vfs};

    fn store() -> (TempDir, Arc<View>) {
        let directory = TempDir::new().unwrap();
        let data_dir = directory.path().join("data");
        Vfs::init(&data_dir, Caller { uid: 0, gid: 0 }, Timestamp::now).unwrap();
        let vfs = Vfs::open_store(StoreOptions { data_dir, read_only: false, clock: Timestamp::now }).unwrap();
        (directory, View::new(vfs, Principal::default()))
    }

    #[test]
    fn who_begins_while_another_reads_has_a_stream_of_its_own() {
        let (_directory, view) = store();
        let listings = Listings::default();
        let stream = |marked| listings.stream(&view, NodeId::ROOT, marked).unwrap();
        let (first, _) = stream(0);
        let (second, _) = stream(0);
        assert_eq!(first.mark(5), 5);
        assert_ne!(second.mark(5), 5);
        for (own, offset) in [(&first, 5), (&second, 6), (&first, 7)] {
            let (found, at) = stream(own.mark(offset));
            assert!(Arc::ptr_eq(&found, own) && at == offset);
        }
        // An offset that does not leave room for a number needs none.
        assert_eq!(second.mark(1 << 40), 1 << 40);
        let marked = second.mark(5);
        listings.end(NodeId::ROOT, &first);
        listings.end(NodeId::ROOT, &second);
        let (third, at) = stream(marked);
        assert_eq!((third.mark(5), at), (5, 5), "goes on at the same place, and has no other to heed");
        listings.end(NodeId::ROOT, &third);
        drop((first, second, third));
        assert_eq!(view.vfs().in_use().1, 0);
    }

    #[test]
    fn what_is_given_up_does_not_pile_up() {
        let (_directory, view) = store();
        let listings = Listings::default();
        for _ in 0..3 * STREAMS_MAX {
            listings.stream(&view, NodeId::ROOT, 0).unwrap();
        }
        assert_eq!(view.vfs().in_use().1, STREAMS_MAX as u64);
        listings.forget(NodeId::ROOT);
        assert_eq!(view.vfs().in_use().1, 0);

        let work = view.lookup(NodeId::ROOT, Name::new(b".work").unwrap()).unwrap().id;
        let (reading, _) = listings.stream(&view, work, 0).unwrap();
        for _ in 0..3 * STREAMS_MAX {
            let (stream, _) = listings.stream(&view, work, 0).unwrap();
            listings.end(work, &stream);
        }
        // Those that have come to their end give way first.
        let found = listings.stream(&view, work, reading.mark(1)).unwrap().0;
        assert!(Arc::ptr_eq(&found, &reading));
        assert_eq!(listings.table.lock().streams[&work].len(), 1 + ENDED_MAX);
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let (_directory, view) = store();
        let listings = Listings::default();
        let work = view.lookup(NodeId::ROOT, Name::new(b".work").unwrap()).unwrap().id;
        let (ended, _) = listings.stream(&view, work, 0).unwrap();
        let (reading, _) = listings.stream(&view, work, 0).unwrap();
        listings.end(work, &ended);
        let mut table = listings.table.lock();
        let last = Instant::now();
        assert!(table.sweep(last + SOON / 2).is_empty(), "looked through a moment ago");
        let gone = table.sweep(last + SOON * 2);
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0].stream, &ended));
        let gone = table.sweep(last + PAUSE * 2);
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0].stream, &reading));
        assert!(table.streams.is_empty());
    }
}
