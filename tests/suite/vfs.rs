//! The library, called as the kernel's adapter calls it, for what a mount cannot show well: how often a body is stored,
//! what the virtual attributes say, what a reopened store still holds.
//!
//! Every test ends in [`Store::end`], which checks the store. The rules quoted are those of the section "Custom
//! metadata" of the semantics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus::error::{ErrorKind, Result};
use nexus::model::{Attr, AttrChange, Caller, Digest, Name, NodeId, SetTime, Timestamp, VPath};
use nexus::vfs::{HandleId, OpenMode, RenameMode, StoreOptions, Vfs, XattrMode};

mod collect;
mod digests;
mod listing;
mod reserved;
mod sealing;
mod verify;

const CALLER: Caller = Caller { uid: 1000, gid: 100 };
const READ: OpenMode = OpenMode::READ;
const WRITE: OpenMode = OpenMode { write: true, ..READ };
const REWRITE: OpenMode = OpenMode { truncate: true, ..WRITE };
/// One size for each way to keep a body: a row, the largest row, the smallest file, a file that was a staging file.
const SIZES: [usize; 4] = [100, 16 * 1024, 16 * 1024 + 1, 256 * 1024 + 1];

/// An instant with nanoseconds.
const NOON: Timestamp = Timestamp(1_700_000_000_123_456_789);

fn noon() -> Timestamp {
    NOON
}

/// A store in a directory of its own, its clock standing still at noon.
struct Store {
    /// There but for the moment of a reopening.
    vfs: Option<Arc<Vfs>>,
    directory: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Vfs::init(&directory.path().join("store"), CALLER, noon).unwrap();
        let mut new = Self { vfs: None, directory };
        new.vfs = Some(new.open(false).unwrap());
        new
    }

    fn open(&self, read_only: bool) -> Result<Arc<Vfs>> {
        Vfs::open_store(StoreOptions { data_dir: self.data_dir(), read_only, clock: noon })
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn vfs(&self) -> &Vfs {
        self.vfs.as_ref().unwrap()
    }

    /// Opens the store again as after a crash, once the threads of its owner have let it go.
    fn reopen_unclosed(&mut self) {
        let owner = Arc::downgrade(&self.vfs.take().unwrap());
        while owner.strong_count() > 0 {
            std::thread::yield_now();
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        self.vfs = Some(loop {
            match self.open(false) {
                // The last owner is gone before what it does at its end is done.
                Err(e) if e.kind() == ErrorKind::InUse && std::time::Instant::now() < deadline => {}
                opened => break opened.unwrap(),
            }
        });
    }

    fn reopen(&mut self) {
        self.vfs().close().unwrap();
        self.vfs = None;
        self.vfs = Some(self.open(false).unwrap());
    }

    /// Waits for background work; the store is then as its rules say.
    fn settle(&self) {
        self.vfs().settle().unwrap();
        let report = self.vfs().check().unwrap();
        assert!(report.problems.is_empty(), "{:#?}", report.problems);
    }

    fn end(self) {
        self.settle();
        self.vfs().close().unwrap();
    }

    fn attr(&self, path: &str) -> Result<Attr> {
        self.vfs().resolve(&VPath::parse(path.as_bytes())?)
    }

    fn id(&self, path: &str) -> NodeId {
        self.attr(path).unwrap().id
    }

    /// Writes a whole file as a shell's `>` does, without waiting for anything.
    fn put(&self, path: &str, body: &[u8]) -> NodeId {
        let (id, handle) = self.start(path, body);
        self.vfs().release(handle).unwrap();
        id
    }

    /// The same with the handle left open.
    fn start(&self, path: &str, body: &[u8]) -> (NodeId, HandleId) {
        let (id, handle) = match self.attr(path) {
            Ok(attr) => (attr.id, self.vfs().open(&CALLER, attr.id, REWRITE).unwrap().handle),
            Err(_) => {
                let (parent, name) = entry(path);
                let made = self.vfs().create(&CALLER, self.id(&parent), Name::new(&name).unwrap(), 0o644, REWRITE);
                let (attr, opened) = made.unwrap();
                (attr.id, opened.handle)
            }
        };
        assert_eq!(self.vfs().write(handle, 0, body).unwrap(), body.len());
        (id, handle)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let attr = self.attr(path).unwrap();
        let handle = self.vfs().open(&CALLER, attr.id, READ).unwrap().handle;
        let body = self.read(handle, attr.size as usize);
        self.vfs().release(handle).unwrap();
        body
    }

    /// Asks for one byte more than there should be.
    fn read(&self, handle: HandleId, len: usize) -> Vec<u8> {
        let mut body = vec![0; len + 1];
        let count = self.vfs().read(handle, 0, &mut body).unwrap();
        body.truncate(count);
        body
    }

    fn mkdir(&self, path: &str) {
        let (parent, name) = entry(path);
        self.vfs().mkdir(&CALLER, self.id(&parent), Name::new(&name).unwrap(), 0o755).unwrap();
    }

    /// Removes a name; the kernel then drops the node.
    fn unlink(&self, path: &str) {
        let id = self.id(path);
        let (parent, name) = entry(path);
        self.vfs().unlink(self.id(&parent), Name::new(&name).unwrap()).unwrap();
        self.vfs().forget(id);
    }

    fn rename(&self, from: &str, to: &str) {
        let ((from_parent, from), (to_parent, to)) = (entry(from), entry(to));
        let (from, to) = (Name::new(&from).unwrap(), Name::new(&to).unwrap());
        self.vfs().rename(self.id(&from_parent), from, self.id(&to_parent), to, RenameMode::Replace).unwrap();
    }

    /// A virtual attribute as text.
    fn says(&self, path: &str, key: &str) -> String {
        let value = self.vfs().getxattr(self.id(path), format!("user.nexus.{key}").as_bytes()).unwrap();
        String::from_utf8(value).unwrap()
    }

    /// How many files of the store are named by the digest of this body.
    fn files_of(&self, body: &[u8]) -> usize {
        let name = Digest::of(body).to_string();
        files_below(&self.data_dir()).iter().filter(|path| path.ends_with(&name)).count()
    }
}

/// The parent and the name of a path as it is written here.
fn entry(path: &str) -> (String, Vec<u8>) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    (if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }, name.as_bytes().to_vec())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

/// A body that differs from one with another `fill` in every byte.
fn body(len: usize, fill: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ fill).collect()
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn an_equal_body_is_stored_once_and_goes_with_its_last_file() {
    for len in SIZES {
        let (store, body) = (Store::new(), body(len, 1));
        let as_file = usize::from(len > nexus::model::SMALL_BODY_BYTES_MAX);
        store.put("/a", &body);
        store.put("/b", &body);
        store.settle();
        assert_eq!((store.says("/a", "refs"), store.says("/b", "refs")), ("2".into(), "2".into()), "{len} bytes");
        assert_eq!(store.files_of(&body), as_file, "{len} bytes");
        store.unlink("/a");
        store.settle();
        assert_eq!(store.says("/b", "refs"), "1", "{len} bytes");
        assert_eq!(store.get("/b"), body);
        store.unlink("/b");
        store.settle();
        assert_eq!(store.files_of(&body), 0, "{len} bytes");
        store.end();
    }
}

#[test]
fn a_hard_link_is_a_name_and_no_reference() {
    let store = Store::new();
    let id = store.put("/a", b"body");
    store.vfs().link(id, NodeId::ROOT, Name::new(b"b").unwrap()).unwrap();
    store.settle();
    assert_eq!((store.says("/b", "refs"), store.attr("/a").unwrap().nlink), ("1".into(), 2));
    store.unlink("/a");
    store.settle();
    assert_eq!((store.says("/b", "refs"), store.get("/b")), ("1".into(), b"body".to_vec()));
    store.end();
}

#[test]
fn a_whole_copy_shares_the_body() {
    for len in SIZES {
        let (store, body) = (Store::new(), body(len, 2));
        let source = store.put("/a", &body);
        store.settle();
        let from = store.vfs().open(&CALLER, source, READ).unwrap().handle;
        let (_, to) = store.start("/b", b"");
        assert_eq!(store.vfs().copy_range(from, 0, to, 0, 1 << 30).unwrap(), len as u64);
        store.vfs().release(to).unwrap();
        store.vfs().release(from).unwrap();
        store.settle();
        assert_eq!((store.says("/a", "refs"), store.get("/b") == body), ("2".into(), true), "{len} bytes");
        // What is shared is copied before it is changed.
        store.put("/b", b"changed");
        store.settle();
        assert_eq!((store.says("/a", "refs"), store.get("/a") == body), ("1".into(), true), "{len} bytes");
        store.end();
    }
}

#[test]
fn a_shared_body_is_not_changed_by_one_of_its_files() {
    for len in SIZES {
        let (store, before) = (Store::new(), body(len, 3));
        store.put("/a", &before);
        let id = store.put("/b", &before);
        store.settle();
        let handle = store.vfs().open(&CALLER, id, WRITE).unwrap().handle;
        store.vfs().write(handle, 50, b"!").unwrap();
        store.vfs().release(handle).unwrap();
        store.settle();
        let mut after = before.clone();
        after[50] = b'!';
        assert_eq!((store.get("/a") == before, store.get("/b") == after), (true, true), "{len} bytes");
        store.end();
    }
}

#[test]
fn rewriting_the_same_content_leaks_nothing() {
    let (store, kept, other) = (Store::new(), body(20_000, 4), body(20_000, 5));
    store.put("/a", &kept);
    store.settle();
    let files = files_below(&store.data_dir()).len();
    for _ in 0..100 {
        store.put("/a", &other);
        store.put("/a", &kept);
    }
    store.settle();
    assert_eq!((store.files_of(&kept), store.files_of(&other)), (1, 0));
    assert_eq!(files_below(&store.data_dir()).len(), files);
    assert_eq!(store.says("/a", "refs"), "1");
    store.end();
}

/// "etag (SHA-256, equal to `sha256sum FILE` at any moment)"
#[test]
fn the_etag_is_that_of_the_body_at_any_moment() {
    for len in SIZES {
        let (store, bytes) = (Store::new(), body(len, 6));
        let (id, handle) = store.start("/a", &bytes);
        let both = || (store.vfs().etag(id).unwrap(), store.says("/a", "etag"));
        let of = |body: &[u8]| (Digest::of(body), Digest::of(body).to_string());
        assert_eq!(both(), of(&bytes), "while it is open");
        store.vfs().write(handle, 0, b"X").unwrap();
        store.vfs().release(handle).unwrap();
        let mut changed = bytes.clone();
        changed[0] = b'X';
        assert_eq!(both(), of(&changed), "right after close");
        let change = AttrChange { size: Some(10), ..AttrChange::default() };
        store.vfs().setattr(&CALLER, id, &change).unwrap();
        assert_eq!(both(), of(&changed[..10]), "after truncate");
        store.settle();
        assert_eq!(both(), of(&changed[..10]), "at rest");
        store.end();
    }
}

/// "version starts at 1 and grows by one whenever a new body is committed."
#[test]
fn the_version_counts_bodies() {
    let mut store = Store::new();
    let version = |store: &Store| {
        store.settle();
        store.says("/a", "version").parse::<u64>().unwrap()
    };
    store.put("/a", b"first");
    let first = version(&store);
    assert!(first >= 1);
    let id = store.put("/a", b"second");
    assert_eq!(version(&store), first + 1);
    // What is not the body does not count.
    store.rename("/a", "/b");
    store.rename("/b", "/a");
    let change = AttrChange { mode: Some(0o600), mtime: Some(SetTime::At(Timestamp(1))), ..AttrChange::default() };
    store.vfs().setattr(&CALLER, id, &change).unwrap();
    store.vfs().setxattr(id, b"user.k", b"v", XattrMode::Set).unwrap();
    store.get("/a");
    store.reopen();
    assert_eq!(version(&store), first + 1);
    store.put("/a", b"third");
    assert_eq!(version(&store), first + 2);
    store.end();
}

/// A close is heard of late, because close(2) does not wait for it: the number is the same whether it was heard of or not.
#[test]
fn the_version_does_not_wait_for_closes() {
    for len in SIZES {
        let store = Store::new();
        let version = || store.says("/a", "version").parse::<u8>().unwrap();
        let mut open = Vec::new();
        for number in 1..=4 {
            let (id, handle) = store.start("/a", &body(len, number));
            open.push(handle);
            assert_eq!(version(), number, "written, {len} bytes");
            assert_eq!(store.vfs().etag(id).unwrap(), Digest::of(&body(len, number)));
            store.vfs().write(handle, 0, &body(len, number)).unwrap();
            assert_eq!(version(), number, "and more through the same handle");
        }
        store.get("/a");
        assert_eq!(version(), 4, "read");
        for handle in open {
            store.vfs().release(handle).unwrap();
            assert_eq!(version(), 4, "closed at last");
        }
        store.settle();
        assert_eq!(version(), 4, "at rest");
        store.put("/a", &body(len, 9));
        assert_eq!(version(), 5);
        store.end();
    }
}

/// The same holds for the number of files that share a body.
#[test]
fn refs_do_not_wait_for_closes() {
    for len in SIZES {
        let store = Store::new();
        for path in ["/a", "/b", "/c", "/d"] {
            store.put(path, &body(len, 1));
        }
        store.settle();
        let refs = || store.says("/a", "refs");
        assert_eq!(refs(), "4", "{len} bytes");
        let (_, overwritten) = store.start("/b", &body(10, 2));
        assert_eq!(refs(), "3", "another has a new body, {len} bytes");
        let emptied = store.vfs().open(&CALLER, store.id("/c"), REWRITE).unwrap().handle;
        assert_eq!(refs(), "2", "one more is emptied");
        let removed = store.vfs().open(&CALLER, store.id("/d"), READ).unwrap().handle;
        store.vfs().unlink(NodeId::ROOT, Name::new(b"d").unwrap()).unwrap();
        assert_eq!(refs(), "1", "and one removed");
        for handle in [overwritten, emptied, removed] {
            store.vfs().release(handle).unwrap();
            assert_eq!(refs(), "1");
        }
        store.end();
    }
}

/// A body can also come by truncation and by copying, and small and big ones count alike.
#[test]
fn every_way_to_a_new_body_counts_once() {
    for len in SIZES {
        let store = Store::new();
        let version = || {
            store.settle();
            store.says("/a", "version").parse::<u64>().unwrap()
        };
        let (id, source) = (store.put("/a", &body(len, 1)), store.put("/b", &body(len, 2)));
        let first = version();
        let change = AttrChange { size: Some(7), ..AttrChange::default() };
        store.vfs().setattr(&CALLER, id, &change).unwrap();
        assert_eq!(version(), first + 1, "truncated, {len} bytes");
        let from = store.vfs().open(&CALLER, source, READ).unwrap().handle;
        let to = store.vfs().open(&CALLER, id, WRITE).unwrap().handle;
        store.vfs().copy_range(from, 0, to, 0, 1 << 30).unwrap();
        store.vfs().release(from).unwrap();
        store.vfs().release(to).unwrap();
        assert_eq!(version(), first + 2, "copied, {len} bytes");
        let handle = store.vfs().open(&CALLER, id, WRITE).unwrap().handle;
        store.vfs().write(handle, 0, b"X").unwrap();
        store.vfs().fsync(handle).unwrap();
        store.vfs().write(handle, 0, b"Y").unwrap();
        store.vfs().release(handle).unwrap();
        assert_eq!(version(), first + 3, "written twice through one handle, {len} bytes");
        store.end();
    }
}

/// copy_file_range(2) copies what is there when it is called, not what the copy itself appends.
#[test]
fn a_copy_to_the_end_of_its_own_file_ends() {
    let store = Store::new();
    let (_, handle) = store.start("/a", b"abc");
    assert_eq!(store.vfs().copy_range(handle, 0, handle, 3, 3).unwrap(), 3);
    assert_eq!(store.vfs().copy_range(handle, 4, handle, 100, 50).unwrap(), 2);
    assert_eq!(store.vfs().copy_range(handle, 4, handle, 200, 150).unwrap(), 98);
    assert_eq!(kind(store.vfs().copy_range(handle, 0, handle, 2, 3)), Some(ErrorKind::Invalid));
    // Nothing is there to overlap.
    assert_eq!(store.vfs().copy_range(handle, 1000, handle, 1000, 5).unwrap(), 0);
    store.vfs().release(handle).unwrap();
    assert_eq!(store.attr("/a").unwrap().size, 298);
    store.end();
}

#[test]
fn a_version_starts_at_one() {
    let store = Store::new();
    store.put("/a", b"");
    store.settle();
    assert_eq!(store.says("/a", "version"), "1");
    store.end();
}

/// "path_id is the inode number as decimal text: stable over rename and overwrite, new after delete and create, never
/// reused."
#[test]
fn a_path_id_names_one_node_for_ever() {
    let mut store = Store::new();
    store.mkdir("/d");
    let id = store.put("/a", b"body");
    let says = |store: &Store, path: &str| store.says(path, "path_id");
    assert_eq!(says(&store, "/a"), id.to_string());
    store.put("/a", b"other");
    store.rename("/a", "/d/b");
    assert_eq!(says(&store, "/d/b"), id.to_string());
    store.reopen();
    assert_eq!(says(&store, "/d/b"), id.to_string());
    store.unlink("/d/b");
    assert_eq!(kind(store.vfs().getattr(id)), Some(ErrorKind::NotFound));
    let second = store.put("/a", b"body");
    assert!(second > id, "{second} after {id}");
    // Not even when the largest is deleted and the store opened again.
    store.unlink("/a");
    store.settle();
    store.reopen();
    let third = store.put("/a", b"body");
    assert!(third > second, "{third} after {second}");
    store.end();
}

/// "`user.nexus.*` is virtual and read-only (EPERM), answered by getxattr, not listed"
#[test]
fn virtual_attributes_are_not_listed_and_not_written() {
    let store = Store::new();
    let id = store.put("/a", b"body");
    store.vfs().setxattr(id, b"user.k", b"v", XattrMode::Set).unwrap();
    assert_eq!(store.vfs().listxattr(id).unwrap(), [b"user.k".to_vec()]);
    for key in ["etag", "version", "path_id", "created_at", "refs", "no_such_key"] {
        let key = format!("user.nexus.{key}");
        let set = store.vfs().setxattr(id, key.as_bytes(), b"v", XattrMode::Set);
        assert_eq!(kind(set), Some(ErrorKind::NotPermitted), "{key}");
        assert_eq!(kind(store.vfs().removexattr(id, key.as_bytes())), Some(ErrorKind::NotPermitted), "{key}");
    }
    assert_eq!(kind(store.vfs().getxattr(id, b"user.nexus.no_such_key")), Some(ErrorKind::NoAttribute));
    assert!(!store.says("/a", "created_at").is_empty());
    store.end();
}

/// "Bytes written through an xattr come back byte for byte."
#[test]
fn an_attribute_is_any_bytes_up_to_its_limit() {
    let mut store = Store::new();
    let id = store.put("/a", b"body");
    let (all, largest) = ((0..=255).collect::<Vec<u8>>(), body(nexus::model::XATTR_VALUE_BYTES_MAX, 7));
    let long = [b"user.".to_vec(), vec![b'k'; 250]].concat();
    for (key, value) in [(&b"user.a"[..], &all[..]), (b"user.\xff\xfe", b""), (b"user.large", &largest), (&long, b"v")]
    {
        store.vfs().setxattr(id, key, value, XattrMode::Create).unwrap();
        assert_eq!(store.vfs().getxattr(id, key).unwrap(), value);
    }
    let larger = [largest.clone(), vec![0]].concat();
    let refused = store.vfs().setxattr(id, b"user.large", &larger, XattrMode::Set);
    assert_eq!(kind(refused), Some(ErrorKind::ValueTooLarge));
    store.reopen();
    assert_eq!(store.vfs().getxattr(id, b"user.large").unwrap(), largest);
    assert_eq!(store.vfs().listxattr(id).unwrap().len(), 4);
    store.vfs().removexattr(id, b"user.large").unwrap();
    assert_eq!(kind(store.vfs().removexattr(id, b"user.large")), Some(ErrorKind::NoAttribute));
    store.end();
}

#[test]
fn a_reopened_store_holds_what_it_held() {
    let mut store = Store::new();
    store.mkdir("/d");
    let mut files = Vec::new();
    for (number, len) in SIZES.into_iter().enumerate() {
        let path = format!("/d/{number}");
        store.put(&path, &body(len, 8));
        files.push((path, body(len, 8)));
    }
    let id = store.id("/d/0");
    let times = Some(SetTime::At(Timestamp(-1)));
    let change = AttrChange { mode: Some(0o4711), uid: Some(3), gid: Some(4), mtime: times, ..AttrChange::default() };
    store.vfs().setattr(&CALLER, id, &change).unwrap();
    let target = b"../\xff there";
    store.vfs().symlink(&CALLER, NodeId::ROOT, Name::new(b"l\xfe").unwrap(), target).unwrap();
    // Not settled: what is closed is sealed by close itself.
    let before = store.attr("/d/0").unwrap();
    let created = store.says("/d/0", "created_at");
    store.reopen();
    assert_eq!(store.attr("/d/0").unwrap(), before);
    assert_eq!((before.mode, before.uid, before.gid, before.mtime), (0o4711, 3, 4, Timestamp(-1)));
    assert_eq!(store.says("/d/0", "created_at"), created);
    let link = store.vfs().lookup(NodeId::ROOT, Name::new(b"l\xfe").unwrap()).unwrap();
    assert_eq!(store.vfs().readlink(link.id).unwrap(), target);
    for (path, body) in files {
        assert_eq!(store.get(&path), body, "{path}");
    }
    store.end();
}

/// An owner that ends without close keeps at least what was synced, and the next one needs no repair.
#[test]
fn what_was_synced_survives_an_owner_that_does_not_close() {
    for len in SIZES {
        let (mut store, bytes) = (Store::new(), body(len, 9));
        store.mkdir("/d");
        let (_, handle) = store.start("/d/a", &bytes);
        store.vfs().fsync(handle).unwrap();
        store.reopen_unclosed();
        assert!(store.get("/d/a") == bytes, "{len} bytes");
        store.end();
    }
}

/// What `rsync` and `tar` do: the time is set when the file is closed, and at once.
#[test]
fn a_time_set_on_a_closed_file_survives_an_owner_that_does_not_close() {
    for len in SIZES {
        let (mut store, past) = (Store::new(), Timestamp(1_000_000_000_000_000_000));
        let id = store.put("/a", &body(len, 9));
        let change = AttrChange { mtime: Some(SetTime::At(past)), ..AttrChange::default() };
        store.vfs().setattr(&CALLER, id, &change).unwrap();
        let handle = store.vfs().open(&CALLER, id, READ).unwrap().handle;
        store.vfs().fsync(handle).unwrap();
        store.reopen_unclosed();
        assert_eq!(store.attr("/a").unwrap().mtime, past, "{len} bytes");
        store.end();
    }
}

#[test]
fn an_unlinked_file_lives_as_long_as_it_is_open() {
    for len in SIZES {
        let (store, bytes) = (Store::new(), body(len, 10));
        let id = store.put("/a", &bytes);
        store.settle();
        let handle = store.vfs().open(&CALLER, id, WRITE).unwrap().handle;
        store.vfs().unlink(NodeId::ROOT, Name::new(b"a").unwrap()).unwrap();
        store.settle();
        assert_eq!(store.vfs().getattr(id).unwrap().nlink, 0);
        assert!(store.read(handle, len) == bytes, "{len} bytes");
        store.vfs().write(handle, 0, b"X").unwrap();
        assert_eq!(store.read(handle, len)[0], b'X');
        store.vfs().release(handle).unwrap();
        store.vfs().forget(id);
        store.settle();
        assert_eq!(kind(store.vfs().getattr(id)), Some(ErrorKind::NotFound), "{len} bytes");
        assert_eq!(store.files_of(&bytes), 0);
        store.end();
    }
}

/// A node without a name is residue of the last owner: "unlinked while open; cleared at start".
#[test]
fn a_node_without_a_name_goes_at_the_next_start() {
    for len in SIZES {
        let (mut store, bytes) = (Store::new(), body(len, 11));
        let id = store.put("/a", &bytes);
        store.settle();
        let _never_released = store.vfs().open(&CALLER, id, WRITE).unwrap();
        store.vfs().unlink(NodeId::ROOT, Name::new(b"a").unwrap()).unwrap();
        store.reopen();
        store.settle();
        assert_eq!(kind(store.vfs().getattr(id)), Some(ErrorKind::NotFound), "{len} bytes");
        assert_eq!(store.files_of(&bytes), 0, "{len} bytes");
        assert!(store.vfs().check().unwrap().residue.is_empty());
        store.end();
    }
}

#[test]
fn a_file_renamed_over_gives_its_body_back() {
    let (store, old, new) = (Store::new(), body(20_000, 12), body(20_000, 13));
    let replaced = store.put("/a", &old);
    store.put("/b", &new);
    store.settle();
    store.rename("/b", "/a");
    store.vfs().forget(replaced);
    store.settle();
    assert_eq!((store.get("/a") == new, store.files_of(&old), store.files_of(&new)), (true, 0, 1));
    store.end();
}

/// "Time [arrives] as a parameter": the clock of the options is the only one.
#[test]
fn times_come_from_the_clock_that_was_given() {
    let store = Store::new();
    store.put("/a", b"body");
    let attr = store.attr("/a").unwrap();
    assert_eq!([attr.atime, attr.mtime, attr.ctime, attr.btime], [NOON; 4]);
    let change = AttrChange { mtime: Some(SetTime::At(Timestamp(5))), ..AttrChange::default() };
    store.vfs().setattr(&CALLER, attr.id, &change).unwrap();
    store.settle();
    assert_eq!(store.attr("/a").unwrap().mtime, Timestamp(5), "sealing is no change of the body");
    store.end();
}

#[test]
fn a_store_is_made_once_and_opened_once() {
    let store = Store::new();
    assert_eq!(kind(Vfs::init(&store.data_dir(), CALLER, noon)), Some(ErrorKind::Exists));
    assert_eq!(kind(store.open(false)), Some(ErrorKind::InUse));
    let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = StoreOptions { data_dir: other.path().to_owned(), read_only: false, clock: noon };
    assert_eq!(kind(Vfs::open_store(options)), Some(ErrorKind::NotFound));
    std::fs::write(other.path().join("a file of somebody"), b"").unwrap();
    assert_eq!(kind(Vfs::init(other.path(), CALLER, noon)), Some(ErrorKind::NotEmpty));
    store.end();
}

#[test]
fn a_store_that_is_read_only_is_only_read() {
    let mut store = Store::new();
    let id = store.put("/a", b"body");
    store.vfs().close().unwrap();
    store.vfs = None;
    store.vfs = Some(store.open(true).unwrap());
    assert_eq!(store.get("/a"), b"body");
    let name = Name::new(b"b").unwrap();
    assert_eq!(kind(store.vfs().mkdir(&CALLER, NodeId::ROOT, name, 0o755)), Some(ErrorKind::ReadOnly));
    assert_eq!(kind(store.vfs().open(&CALLER, id, WRITE)), Some(ErrorKind::ReadOnly));
    assert_eq!(kind(store.vfs().unlink(NodeId::ROOT, Name::new(b"a").unwrap())), Some(ErrorKind::ReadOnly));
    let set = store.vfs().setxattr(id, b"user.k", b"v", XattrMode::Set);
    assert_eq!(kind(set), Some(ErrorKind::ReadOnly));
    store.end();
}

#[test]
fn a_closed_store_answers_nothing() {
    let mut store = Store::new();
    store.put("/a", b"body");
    store.settle();
    store.vfs().close().unwrap();
    assert!(store.attr("/a").is_err());
    assert!(store.vfs().mkdir(&CALLER, NodeId::ROOT, Name::new(b"b").unwrap(), 0o755).is_err());
    store.vfs = None;
    store.vfs = Some(store.open(false).unwrap());
    store.end();
}
