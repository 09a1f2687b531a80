//! Defects that were found, each as the story that showed it. The stories of a race run until it would have been lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use nexus::model::{Attr, AttrChange, Caller, Name, NodeId, SetTime, Timestamp, VPath};
use nexus::vfs::{HandleId, OpenMode, RenameMode, Serving, StoreOptions, Vfs};

const CALLER: Caller = Caller { uid: 1000, gid: 100 };
const READ: OpenMode = OpenMode::READ;
const WRITE: OpenMode = OpenMode { write: true, ..READ };
const REWRITE: OpenMode = OpenMode { truncate: true, ..WRITE };
/// How long a race is tried.
const RACE: Duration = Duration::from_millis(1500);
/// A body that is staged while it is written.
const STAGED: usize = 300 * 1024;

/// A clock that moves a second each time it is asked.
fn ticking() -> Timestamp {
    static SECONDS: AtomicI64 = AtomicI64::new(1_700_000_000);
    Timestamp(SECONDS.fetch_add(1, Ordering::Relaxed) * 1_000_000_000)
}

struct Store {
    vfs: Arc<Vfs>,
    directory: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let data_dir = directory.path().join("store");
        Vfs::init(&data_dir, CALLER, ticking).unwrap();
        let vfs = Vfs::open_store(StoreOptions { data_dir, read_only: false, clock: ticking }).unwrap();
        Self { vfs, directory }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn attr(&self, path: &str) -> Attr {
        self.vfs.resolve(&VPath::parse(path.as_bytes()).unwrap()).unwrap()
    }

    fn create(&self, name: &str) -> (NodeId, HandleId) {
        let (attr, opened) = self.vfs.create(&CALLER, NodeId::ROOT, named(name), 0o644, WRITE).unwrap();
        (attr.id, opened.handle)
    }

    fn open(&self, id: NodeId, mode: OpenMode) -> HandleId {
        self.vfs.open(&CALLER, id, mode).unwrap().handle
    }

    fn put(&self, id: NodeId, body: &[u8]) {
        let handle = self.open(id, REWRITE);
        assert_eq!(self.vfs.write(handle, 0, body).unwrap(), body.len());
        self.vfs.release(handle).unwrap();
    }

    fn make(&self, name: &str, body: &[u8]) -> NodeId {
        let (id, handle) = self.create(name);
        assert_eq!(self.vfs.write(handle, 0, body).unwrap(), body.len());
        self.vfs.release(handle).unwrap();
        id
    }

    fn get(&self, id: NodeId) -> Vec<u8> {
        let handle = self.open(id, READ);
        let mut body = vec![0; self.vfs.getattr(id).unwrap().size as usize + 1];
        let length = self.vfs.read(handle, 0, &mut body).unwrap();
        body.truncate(length);
        self.vfs.release(handle).unwrap();
        body
    }

    /// Nothing is wrong with the store, and nothing is left over in it.
    fn end(self) {
        self.vfs.settle().unwrap();
        let report = self.vfs.check().unwrap();
        assert!(report.problems.is_empty() && report.residue.is_empty(), "{report:#?}");
        self.vfs.close().unwrap();
    }
}

fn named(name: &str) -> Name<'_> {
    Name::new(name.as_bytes()).unwrap()
}

fn body(length: usize, fill: u8) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8 ^ fill).collect()
}

/// Runs `turn` with its number for a while, and `beside` all the time on another thread.
fn race(mut turn: impl FnMut(u32), beside: impl Fn() + Sync) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                beside();
            }
        });
        let begun = Instant::now();
        let raced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0.. {
                turn(number);
                if begun.elapsed() > RACE {
                    break;
                }
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = raced {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A file was rewritten, whole and quickly, while its old body was being sealed: the seal, being the last to use the
/// file, dropped what the writer had left in memory.
#[test]
fn a_file_rewritten_while_it_is_sealed_keeps_the_new_body() {
    let store = Store::new();
    let id = store.make("a", b"");
    race(
        |number| {
            store.put(id, &body(STAGED, number as u8));
            std::thread::sleep(Duration::from_micros(u64::from(number % 40) * 25));
            let small = number.to_string();
            store.put(id, small.as_bytes());
            assert_eq!(store.attr("/a").size, small.len() as u64, "turn {number}");
            assert_eq!(store.get(id), small.as_bytes(), "turn {number}");
        },
        || store.vfs.settle().unwrap(),
    );
    store.end();
}

/// The same with an append: the size in the row stayed behind, and the end of the file could not be read.
#[test]
fn a_file_appended_to_while_it_is_sealed_shows_its_end() {
    let store = Store::new();
    let id = store.make("a", b"");
    race(
        |number| {
            store.put(id, &body(STAGED, number as u8));
            std::thread::sleep(Duration::from_micros(u64::from(number % 40) * 25));
            let handle = store.open(id, WRITE);
            store.vfs.write(handle, STAGED as u64, b"the end").unwrap();
            let open = store.vfs.getattr(id).unwrap();
            store.vfs.release(handle).unwrap();
            let closed = store.vfs.getattr(id).unwrap();
            assert_eq!((closed.size, closed.mtime), (STAGED as u64 + 7, open.mtime), "turn {number}");
        },
        || store.vfs.settle().unwrap(),
    );
    store.end();
}

/// A file was unlinked while it was sealed: its node stayed without a name until the next start.
#[test]
fn a_file_unlinked_while_it_is_sealed_goes() {
    let store = Store::new();
    race(
        |number| {
            store.make("a", &body(STAGED, number as u8));
            std::thread::sleep(Duration::from_micros(u64::from(number % 40) * 25));
            store.vfs.unlink(NodeId::ROOT, named("a")).unwrap();
        },
        || store.vfs.settle().unwrap(),
    );
    store.end();
}

/// A file was written while another with the same body was being sealed: the writer, who had been alone with the body,
/// took its file for his own, and his bytes stood in the other file too.
#[test]
fn a_body_that_is_shared_just_now_is_not_written_in_place() {
    let store = Store::new();
    let before = body(STAGED, 7);
    let (writing, other) = (store.make("a", b""), store.make("b", b""));
    let begun = Instant::now();
    for turn in 0_u64.. {
        store.put(writing, &before);
        store.vfs.settle().unwrap();
        store.put(other, &before);
        let handle = store.open(writing, WRITE);
        std::thread::scope(|scope| {
            scope.spawn(|| store.vfs.settle().unwrap());
            std::thread::sleep(Duration::from_micros(turn % 100 * 30));
            store.vfs.write(handle, 3, b"!").unwrap();
        });
        store.vfs.release(handle).unwrap();
        assert!(store.get(other) == before, "turn {turn}");
        if begun.elapsed() > RACE {
            break;
        }
    }
    store.end();
}

/// The disk had no room, or the process no descriptor, when a file was closed: the draft was dropped, and since nobody
/// is told of what fails after close(2), silently.
#[test]
fn a_draft_that_cannot_be_saved_at_close_is_kept_and_saved_later() {
    let store = Store::new();
    let written = body(100 * 1024, 3);
    let (id, handle) = store.create("a");
    store.vfs.write(handle, 0, &written).unwrap();
    let (staging, away) = (store.data_dir().join("staging"), store.data_dir().join("away"));
    std::fs::rename(&staging, &away).unwrap();
    assert!(store.vfs.release(handle).is_err());
    assert!(store.get(id) == written, "what cannot be saved can be read");
    let again = store.open(id, READ);
    assert!(store.vfs.fsync(again).is_err(), "fsync tells");
    store.vfs.release(again).ok();
    assert!(store.vfs.settle().is_err());
    std::fs::rename(&away, &staging).unwrap();
    store.vfs.settle().unwrap();
    assert!(store.get(id) == written);
    store.end();
}

/// The change time went back from that of a rename to that of the write before it, when the draft left the memory.
#[test]
fn a_change_time_does_not_go_back_when_a_draft_is_staged() {
    let store = Store::new();
    let (id, handle) = store.create("a");
    store.vfs.write(handle, 0, b"small").unwrap();
    store.vfs.rename(NodeId::ROOT, named("a"), NodeId::ROOT, named("b"), RenameMode::Replace).unwrap();
    let renamed = store.vfs.getattr(id).unwrap();
    // Saving the draft is all that happens.
    store.vfs.write(handle, 0, &body(100 * 1024, 1)).unwrap();
    store.vfs.rename(NodeId::ROOT, named("b"), NodeId::ROOT, named("c"), RenameMode::Replace).unwrap();
    let renamed = Timestamp(renamed.ctime.0.max(store.vfs.getattr(id).unwrap().ctime.0));
    store.vfs.fsync(handle).unwrap();
    assert!(store.vfs.getattr(id).unwrap().ctime >= renamed);
    store.vfs.release(handle).unwrap();
    store.end();
}

/// A program wrote through the kernel and set the time of the file, as cp -p does: the write was not counted.
#[test]
fn a_write_by_the_kernel_counts_though_a_time_is_set_after_it() {
    let store = Store::new();
    let id = store.make("a", &body(STAGED, 1));
    store.vfs.settle().unwrap();
    let version = |store: &Store| store.vfs.getxattr(id, b"user.nexus.version").unwrap();
    let before = version(&store);
    let reader = store.vfs.open(&CALLER, id, OpenMode { passthrough: true, ..READ }).unwrap();
    let writer = store.vfs.open(&CALLER, id, OpenMode { passthrough: true, ..WRITE }).unwrap();
    let Serving::Kernel(_) = writer.serving else { panic!("the kernel serves it already") };
    // The kernel opens the file again, for writing.
    let staged = std::fs::read_dir(store.data_dir().join("staging")).unwrap().next().unwrap().unwrap().path();
    std::fs::OpenOptions::new()
        .append(true)
        .open(staged)
        .and_then(|mut f| std::io::Write::write_all(&mut f, b"!"))
        .unwrap();
    let change = AttrChange { mtime: Some(SetTime::At(Timestamp(5))), ..AttrChange::default() };
    store.vfs.setattr(&CALLER, id, &change).unwrap();
    store.vfs.release(writer.handle).unwrap();
    store.vfs.release(reader.handle).unwrap();
    assert_eq!(store.vfs.getattr(id).unwrap().mtime, Timestamp(5));
    assert_ne!(version(&store), before);
    store.end();
}

/// Two opens at once, after the kernel had written behind its own cache: only the first was told to drop the stale pages,
/// and the second could read them before the first had got to it.
#[test]
fn every_open_drops_stale_pages_until_one_of_them_surely_has() {
    let store = Store::new();
    let id = store.make("a", &body(STAGED, 1));
    store.vfs.settle().unwrap();
    let keeps = |mode| {
        let opened = store.vfs.open(&CALLER, id, mode).unwrap();
        (opened.handle, matches!(opened.serving, Serving::Vfs { keep_cache: true, .. }))
    };
    let (reader, _) = keeps(OpenMode { passthrough: true, ..READ });
    let (writer, _) = keeps(OpenMode { passthrough: true, ..WRITE });
    store.vfs.release(writer).unwrap();
    store.vfs.release(reader).unwrap();
    let ((first, first_keeps), (second, second_keeps)) = (keeps(READ), keeps(READ));
    assert!(!first_keeps && !second_keeps);
    store.vfs.release(first).unwrap();
    let (third, third_keeps) = keeps(READ);
    assert!(third_keeps);
    store.vfs.release(second).unwrap();
    store.vfs.release(third).unwrap();
    store.end();
}

/// A blob whose file had been changed behind the store's back, and was not read since, stood for a new file of the right
/// bytes: the only good copy was dropped.
#[test]
fn a_damaged_blob_does_not_stand_for_a_good_draft() {
    let store = Store::new();
    let right = body(STAGED, 7);
    let first = store.make("a", &right);
    store.vfs.settle().unwrap();
    let digest = store.vfs.etag(first).unwrap().to_string();
    let path = store.data_dir().join("cas").join(&digest[..2]).join(&digest[2..4]).join(&digest);
    std::fs::write(&path, body(STAGED, 8)).unwrap();
    let second = store.make("b", &right);
    store.vfs.settle().unwrap();
    assert!(store.get(second) == right);
    assert!(store.get(first) == right, "and heals the other");
    store.end();
}
