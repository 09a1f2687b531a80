//! A store to be broken, and everything that is in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nexus::model::{Caller, Kind, Name, NodeId, Timestamp, VPath};
use nexus::vfs::{OpenMode, StoreOptions, Vfs, XattrMode};
use rusqlite::Connection;

const CALLER: Caller = Caller { uid: 1000, gid: 100 };
const READ: OpenMode = OpenMode::READ;
const WRITE: OpenMode = OpenMode { write: true, truncate: true, ..READ };

pub(super) const DIRECTORIES: [&str; 4] = ["/keep", "/dir", "/dir/below", "/dir/side"];
/// Of `/victim` and `/twin` the same one, in the database; that of `/large` is a file.
pub(super) const FILES: [(&str, usize); 10] = [
    ("/keep/small", 200),
    ("/keep/big", 20_000),
    ("/dir/below/deep", 300),
    ("/victim", 100),
    ("/twin", 100),
    ("/large", 40_000),
    ("/empty", 0),
    ("/vacant", 0),
    ("/need", 500),
    ("/job", 600),
];

/// What a path shows: kind, mode, link count, bytes or target, attributes.
pub(super) type Shown = (Kind, u32, u32, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// How `nexus fsck` ended.
pub(super) struct Fsck {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// A closed store in a directory of its own.
pub(super) struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// With a store that holds one of everything.
    pub(super) fn with_store() -> Self {
        let place = Self::new();
        Vfs::init(&place.data_dir(), CALLER, Timestamp::now).unwrap();
        let vfs = place.open();
        for path in DIRECTORIES {
            let (parent, name) = entry(&vfs, path);
            vfs.mkdir(&CALLER, parent, Name::new(&name).unwrap(), 0o755).unwrap();
        }
        for (path, size) in FILES {
            put(&vfs, path, &vec![b'a' + (size / 100 % 26) as u8; size]);
        }
        let small = id(&vfs, "/keep/small");
        vfs.link(small, id(&vfs, "/keep"), Name::new(b"second").unwrap()).unwrap();
        vfs.setxattr(small, b"user.note", b"kept", XattrMode::Set).unwrap();
        let (need, job) = (id(&vfs, "/need"), id(&vfs, "/job"));
        vfs.setxattr(need, b"user.status", b"ready", XattrMode::Set).unwrap();
        vfs.setxattr(job, b"user.status", b"blocked", XattrMode::Set).unwrap();
        vfs.setxattr(job, b"user.depends_on", need.to_string().as_bytes(), XattrMode::Set).unwrap();
        vfs.symlink(&CALLER, NodeId::ROOT, Name::new(b"symlink").unwrap(), b"dir/below").unwrap();
        vfs.mknod(&CALLER, NodeId::ROOT, Name::new(b"fifo").unwrap(), Kind::Fifo, 0o644, 0).unwrap();
        vfs.close().unwrap();
        place
    }

    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        let copied = Command::new("cp").arg("-a").arg(self.data_dir()).arg(copy.data_dir()).status().unwrap();
        assert!(copied.success());
        copy
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.0.path().join("store")
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.data_dir().join(below)
    }

    pub(super) fn database(&self) -> Connection {
        Connection::open(self.path("metadata.db")).unwrap()
    }

    pub(super) fn open(&self) -> Arc<Vfs> {
        let options = StoreOptions { data_dir: self.data_dir(), read_only: false, clock: Timestamp::now };
        Vfs::open_store(options).unwrap()
    }

    /// `text` with `:NAME` for the number of the node of that name, and `:next` for the next node's.
    pub(super) fn numbered(&self, text: &str) -> String {
        let database = self.database();
        let mut numbers: Vec<(String, i64)> = database
            .prepare("SELECT CAST(name AS TEXT), node FROM entry")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let next = database.query_row("SELECT value FROM setting WHERE key = 'next_node'", [], |row| row.get(0));
        numbers.push(("next".into(), next.unwrap()));
        numbers.iter().fold(text.to_owned(), |text, (name, node)| text.replace(&format!(":{name}"), &node.to_string()))
    }

    /// Where the file of the body of `/large` is.
    pub(super) fn file_of_large(&self) -> PathBuf {
        let digest: String = self
            .database()
            .query_row("SELECT LOWER(HEX(digest)) FROM blob WHERE size = 40000", [], |row| row.get(0))
            .unwrap();
        self.path(&format!("cas/{}/{}/{digest}", &digest[..2], &digest[2..4]))
    }

    pub(super) fn fsck(&self, arguments: &[&str]) -> Fsck {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nexus"));
        command.arg("fsck").arg(self.data_dir()).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        Fsck {
            code: output.status.code().expect("no signal"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The bytes of all files of the store that hold something of it.
    pub(super) fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut directories) = (BTreeMap::new(), vec![self.data_dir()]);
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if path.is_dir() {
                    found.insert(path.clone(), Vec::new());
                    directories.push(path);
                } else if !matches!(name, "metadata.db-shm" | "nexus.lock") {
                    let bytes = std::fs::read(&path).unwrap();
                    // A reader leaves an empty log behind.
                    if !(name == "metadata.db-wal" && bytes.is_empty()) {
                        found.insert(path, bytes);
                    }
                }
            }
        }
        found
    }

    /// Everything below the root, as somebody reads it who mounts the store.
    pub(super) fn shown(&self) -> BTreeMap<String, Shown> {
        let vfs = self.open();
        let (mut all, mut directories) = (BTreeMap::new(), vec![(String::new(), NodeId::ROOT)]);
        while let Some((above, directory)) = directories.pop() {
            let handle = vfs.opendir(directory).unwrap();
            let mut names = Vec::new();
            let emit = &mut |entry: nexus::vfs::DirEntry<'_>| {
                names.push((String::from_utf8_lossy(entry.name).into_owned(), entry.id));
                true
            };
            vfs.readdir(handle, 0, false, emit).unwrap();
            vfs.releasedir(handle).unwrap();
            for (name, id) in names.into_iter().filter(|(name, _)| name != "." && name != "..") {
                let path = format!("{above}/{name}");
                let attr = vfs.getattr(id).unwrap();
                let body = match attr.kind {
                    Kind::Directory => {
                        directories.push((path.clone(), id));
                        Vec::new()
                    }
                    Kind::Symlink => vfs.readlink(id).unwrap(),
                    Kind::File => get(&vfs, id, attr.size),
                    _ => Vec::new(),
                };
                let keys = vfs.listxattr(id).unwrap().into_iter();
                let attrs = keys.map(|key| (key.clone(), vfs.getxattr(id, &key).unwrap())).collect();
                // Of a directory it counts what is in it, which the other paths tell.
                let links = if attr.kind == Kind::Directory { 0 } else { attr.nlink };
                all.insert(path, (attr.kind, attr.mode, links, body, attrs));
            }
        }
        vfs.close().unwrap();
        all
    }
}

/// Writes a whole file.
pub(super) fn put(vfs: &Vfs, path: &str, body: &[u8]) {
    let handle = match vfs.resolve(&VPath::parse(path.as_bytes()).unwrap()) {
        Ok(attr) => vfs.open(&CALLER, attr.id, WRITE).unwrap().handle,
        Err(_) => {
            let (parent, name) = entry(vfs, path);
            vfs.create(&CALLER, parent, Name::new(&name).unwrap(), 0o644, WRITE).unwrap().1.handle
        }
    };
    assert_eq!(vfs.write(handle, 0, body).unwrap(), body.len());
    vfs.release(handle).unwrap();
}

pub(super) fn id(vfs: &Vfs, path: &str) -> NodeId {
    vfs.resolve(&VPath::parse(path.as_bytes()).unwrap()).unwrap().id
}

fn get(vfs: &Vfs, id: NodeId, size: u64) -> Vec<u8> {
    let handle = vfs.open(&CALLER, id, READ).unwrap().handle;
    let mut body = vec![0; size as usize + 1];
    let read = vfs.read(handle, 0, &mut body);
    vfs.release(handle).unwrap();
    match read {
        Ok(count) => body[..count].to_vec(),
        Err(e) => format!("{:?}", e.kind()).into_bytes(),
    }
}

fn entry(vfs: &Vfs, path: &str) -> (NodeId, Vec<u8>) {
    let path = Path::new(path);
    let parent = id(vfs, path.parent().unwrap().to_str().unwrap());
    (parent, path.file_name().unwrap().to_str().unwrap().as_bytes().to_vec())
}
