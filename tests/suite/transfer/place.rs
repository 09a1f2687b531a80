//! A store in a directory of its own, and its files as lines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nexus::error::Result;
use nexus::model::{AttrChange, Caller, Name, NodeId, Principal, SetTime, Timestamp, VPath};
use nexus::transfer::{Conflict, ExportOptions, ExportReport, ImportOptions, ImportReport, export, import};
use nexus::vfs::{HandleId, OpenMode, StoreOptions, Vfs, XattrMode};
use nexus::view::View;

pub(super) const CALLER: Caller = Caller { uid: 1000, gid: 100 };
const READ: OpenMode = OpenMode::READ;
pub(super) const WRITE: OpenMode = OpenMode { write: true, truncate: true, ..READ };
/// Bodies of every kind: none, a row, a file, a file that was a staging file.
pub(super) const SIZES: [usize; 4] = [0, 100, 20_000, 300_000];

pub(super) struct Place {
    pub(super) vfs: Arc<Vfs>,
    pub(super) directory: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self::below(directory.path().join("store"), directory)
    }

    pub(super) fn below(data_dir: PathBuf, directory: tempfile::TempDir) -> Self {
        Vfs::init(&data_dir, CALLER, Timestamp::now).unwrap();
        Self { vfs: open(&data_dir), directory }
    }

    /// With a file of every size, and one with metadata.
    pub(super) fn with_files() -> Self {
        let place = Self::new();
        for (number, size) in SIZES.into_iter().enumerate() {
            place.put(format!("/files/{number}.txt").as_bytes(), &crate::harness::bytes(number as u64, size));
        }
        place.put(b"/jobs/task.json", b"{}");
        place.set(b"/jobs/task.json", b"user.status", b"ready");
        place.put(b"/jobs/twin.json", b"{}");
        place
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn id(&self, path: &[u8]) -> Result<NodeId> {
        Ok(self.vfs.resolve(&VPath::parse(path)?)?.id)
    }

    /// Opens a file for writing, made with the directories above it if it is not there.
    pub(super) fn start(&self, path: &[u8]) -> HandleId {
        let path = VPath::parse(path).unwrap();
        if let Ok(found) = self.vfs.resolve(&path) {
            return self.vfs.open(&CALLER, found.id, WRITE).unwrap().handle;
        }
        let (directory, name) = path.split_last().unwrap();
        let mut at = NodeId::ROOT;
        for name in directory.names() {
            at = match self.vfs.lookup(at, name) {
                Ok(found) => found.id,
                Err(_) => self.vfs.mkdir(&CALLER, at, name, 0o755).unwrap().id,
            };
        }
        self.vfs.create(&CALLER, at, name, 0o640, WRITE).unwrap().1.handle
    }

    pub(super) fn put(&self, path: &[u8], body: &[u8]) {
        let handle = self.start(path);
        assert_eq!(self.vfs.write(handle, 0, body).unwrap(), body.len());
        self.vfs.release(handle).unwrap();
    }

    pub(super) fn get(&self, path: &[u8]) -> Vec<u8> {
        let attr = self.vfs.resolve(&VPath::parse(path).unwrap()).unwrap();
        let handle = self.vfs.open(&CALLER, attr.id, READ).unwrap().handle;
        let mut body = vec![0; attr.size as usize + 1];
        let count = self.vfs.read(handle, 0, &mut body).unwrap();
        self.vfs.release(handle).unwrap();
        body.truncate(count);
        body
    }

    pub(super) fn set(&self, path: &[u8], key: &[u8], value: &[u8]) {
        self.vfs.setxattr(self.id(path).unwrap(), key, value, XattrMode::Set).unwrap();
    }

    pub(super) fn set_modified(&self, path: &[u8], time: Timestamp) {
        let change = AttrChange { mtime: Some(SetTime::At(time)), ..AttrChange::default() };
        self.vfs.setattr(&CALLER, self.id(path).unwrap(), &change).unwrap();
    }

    pub(super) fn mkdir(&self, name: &[u8]) {
        self.vfs.mkdir(&CALLER, NodeId::ROOT, Name::new(name).unwrap(), 0o755).unwrap();
    }

    pub(super) fn export_as(&self, who: Principal, options: &ExportOptions) -> (Vec<u8>, ExportReport) {
        let mut lines = Vec::new();
        let view = View::new(Arc::clone(&self.vfs), who);
        let report = export(&view, options, &mut lines, &mut |_| {}).unwrap();
        assert_eq!(report.files, lines.iter().filter(|byte| **byte == b'\n').count() as u64);
        (lines, report)
    }

    pub(super) fn lines(&self) -> Vec<u8> {
        self.export_as(Principal::default(), &ExportOptions::default()).0
    }

    /// The lines, with the bodies in a directory.
    pub(super) fn lines_and_bodies(&self, directory: &Path) -> (Vec<u8>, ExportReport) {
        let options = ExportOptions { bodies: Some(directory.to_owned()), ..ExportOptions::default() };
        self.export_as(Principal::default(), &options)
    }

    pub(super) fn import_as(&self, who: Principal, lines: &[u8], options: &ImportOptions) -> Result<ImportReport> {
        let view = View::new(Arc::clone(&self.vfs), who);
        let mut input = lines;
        import(&view, CALLER, options, &mut input, &mut |_| {})
    }

    pub(super) fn import(&self, lines: &[u8], conflict: Conflict) -> Result<ImportReport> {
        self.import_as(Principal::default(), lines, &ImportOptions { conflict, ..ImportOptions::default() })
    }

    pub(super) fn import_bodies(&self, lines: &[u8], directory: &Path) -> Result<ImportReport> {
        let options = ImportOptions { bodies: Some(directory.to_owned()), ..ImportOptions::default() };
        self.import_as(Principal::default(), lines, &options)
    }

    /// All rows of the tables, but for the commits' own.
    pub(super) fn dump(&self) -> Vec<String> {
        self.vfs.settle().unwrap();
        self.vfs.sync().unwrap();
        let database = rusqlite::Connection::open(self.data_dir().join("metadata.db")).unwrap();
        let mut rows = Vec::new();
        for table in ["node", "entry", "attr", "blob", "small", "condemned"] {
            let mut select = database.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
            let columns = select.column_count();
            let mut found = select.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let values: Vec<_> = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap())).collect();
                rows.push(format!("{table}: {}", values.join(" ")));
            }
        }
        rows.sort();
        rows
    }

    pub(super) fn check(&self) {
        self.vfs.settle().unwrap();
        let report = self.vfs.check().unwrap();
        assert!(report.problems.is_empty() && report.residue.is_empty(), "{report:#?}");
        let strays = std::fs::read_dir(self.data_dir().join("staging")).unwrap().count();
        assert_eq!(strays, 0, "staging files are left");
    }

    pub(super) fn end(self) {
        self.check();
        self.vfs.close().unwrap();
    }
}

pub(super) fn open(data_dir: &Path) -> Arc<Vfs> {
    let options = StoreOptions { data_dir: data_dir.to_owned(), read_only: false, clock: Timestamp::now };
    Vfs::open_store(options).unwrap()
}

/// Created, updated, skipped, remapped.
pub(super) fn counts(report: &ImportReport) -> [u64; 4] {
    [report.created, report.updated, report.skipped, report.remapped]
}

/// A line for a file with an empty body.
pub(super) fn empty_line(path: &str) -> String {
    let digest = nexus::model::Digest::EMPTY;
    format!("{{\"path\":{},\"size\":0,\"etag\":\"{digest}\"}}\n", serde_json::to_string(path).unwrap())
}
