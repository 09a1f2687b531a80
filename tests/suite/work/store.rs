//! A store of its own for each test, and the few acts they share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nexus::error::{ErrorKind, Result};
use nexus::meta::{WorkKey, WorkList};
use nexus::model::metadata::MetaValue;
use nexus::model::work::Status;
use nexus::model::{Caller, Name, NodeId, Timestamp, VPath};
use nexus::vfs::{OpenMode, Origin, RenameMode, StoreOptions, Vfs, XattrMode};
use nexus::work::{Claim, ClaimRequest, Scope, Stands, WorkItem};
use rusqlite::Connection;
use serde_json::Value;

pub(super) const CALLER: Caller = Caller { uid: 1000, gid: 100 };
const WRITE: OpenMode = OpenMode {
    read: false,
    write: true,
    append: false,
    truncate: true,
    passthrough: false,
    direct: false,
    noatime: false,
    viewer: Origin::NOBODY,
};
/// Who claims in these tests.
pub(super) const ME: ClaimRequest<'static> = ClaimRequest { worker: "me", lease: None };

/// The lists, and the view of each.
pub(super) const VIEWS: [(WorkList, &str); 5] = [
    (WorkList::In(Status::Ready), "ready_work_items"),
    (WorkList::In(Status::Pending), "pending_work_items"),
    (WorkList::In(Status::Blocked), "blocked_work_items"),
    (WorkList::In(Status::InProgress), "in_progress_work"),
    (WorkList::ByPriority, "work_by_priority"),
];

pub(super) struct Store {
    vfs: Option<Arc<Vfs>>,
    clock: fn() -> Timestamp,
    directory: tempfile::TempDir,
}

impl Store {
    pub(super) fn new() -> Self {
        Self::with_clock(Timestamp::now)
    }

    pub(super) fn with_clock(clock: fn() -> Timestamp) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Vfs::init(&directory.path().join("store"), CALLER, clock).unwrap();
        let mut new = Self { vfs: None, clock, directory };
        new.open();
        new
    }

    pub(super) fn open(&mut self) {
        let options = StoreOptions { data_dir: self.data_dir(), read_only: false, clock: self.clock };
        self.vfs = Some(Vfs::open_store(options).unwrap());
    }

    pub(super) fn close(&mut self) {
        self.vfs.take().unwrap().close().unwrap();
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub(super) fn vfs(&self) -> &Arc<Vfs> {
        self.vfs.as_ref().unwrap()
    }

    /// A second connection to the database, as that of a tool.
    pub(super) fn database(&self) -> Connection {
        Connection::open(self.data_dir().join("metadata.db")).unwrap()
    }

    pub(super) fn end(mut self) {
        self.check();
        self.close();
    }

    /// Everything is in order, and the views are the lists.
    pub(super) fn check(&self) {
        check(self.vfs(), &self.data_dir());
    }

    pub(super) fn id(&self, path: &str) -> NodeId {
        self.vfs().resolve(&VPath::parse(path.as_bytes()).unwrap()).unwrap().id
    }

    pub(super) fn mkdir(&self, path: &str) -> NodeId {
        let (parent, name) = self.entry(path);
        self.vfs().mkdir(&CALLER, parent, Name::new(&name).unwrap(), 0o755).unwrap().id
    }

    pub(super) fn put(&self, path: &str, body: &[u8]) -> NodeId {
        let (parent, name) = self.entry(path);
        let (attr, opened) = self.vfs().create(&CALLER, parent, Name::new(&name).unwrap(), 0o644, WRITE).unwrap();
        self.vfs().write(opened.handle, 0, body).unwrap();
        self.vfs().release(opened.handle).unwrap();
        attr.id
    }

    /// Gives a file another body.
    pub(super) fn overwrite(&self, path: &str, body: &[u8]) {
        let opened = self.vfs().open(&CALLER, self.id(path), WRITE).unwrap();
        self.vfs().write(opened.handle, 0, body).unwrap();
        self.vfs().release(opened.handle).unwrap();
    }

    /// A file that is an item of this status.
    pub(super) fn item(&self, path: &str, status: &str) -> NodeId {
        let id = self.put(path, path.as_bytes());
        self.set(id, "status", status).unwrap();
        id
    }

    pub(super) fn unlink(&self, path: &str) {
        let (parent, name) = self.entry(path);
        self.vfs().unlink(parent, Name::new(&name).unwrap()).unwrap();
    }

    pub(super) fn rmdir(&self, path: &str) {
        let (parent, name) = self.entry(path);
        self.vfs().rmdir(parent, Name::new(&name).unwrap()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        self.rename_as(from, to, RenameMode::Replace);
    }

    pub(super) fn rename_as(&self, from: &str, to: &str, mode: RenameMode) {
        let ((old, from), (new, to)) = (self.entry(from), self.entry(to));
        let (from, to) = (Name::new(&from).unwrap(), Name::new(&to).unwrap());
        self.vfs().rename(old, from, new, to, mode).unwrap();
    }

    pub(super) fn link(&self, id: NodeId, path: &str) {
        let (parent, name) = self.entry(path);
        self.vfs().link(id, parent, Name::new(&name).unwrap()).unwrap();
    }

    /// setfattr
    pub(super) fn set(&self, id: NodeId, key: &str, value: &str) -> Result<()> {
        self.vfs().setxattr(id, format!("user.{key}").as_bytes(), value.as_bytes(), XattrMode::Set)
    }

    /// getfattr; `None` where there is none.
    pub(super) fn get(&self, id: NodeId, key: &str) -> Option<String> {
        match self.vfs().getxattr(id, format!("user.{key}").as_bytes()) {
            Ok(value) => Some(String::from_utf8(value).unwrap()),
            Err(e) if e.kind() == ErrorKind::NoAttribute => None,
            Err(e) => panic!("{e}"),
        }
    }

    pub(super) fn remove(&self, id: NodeId, key: &str) -> Result<()> {
        self.vfs().removexattr(id, format!("user.{key}").as_bytes())
    }

    pub(super) fn meta_set(&self, id: NodeId, key: &str, value: Value) -> Result<()> {
        self.vfs().meta_set(id, key, &MetaValue::Json(value), &Scope::EVERYTHING)
    }

    pub(super) fn meta_get(&self, id: NodeId, key: &str) -> MetaValue {
        self.vfs().meta_get(id, key).unwrap()
    }

    /// A whole list, page by page.
    pub(super) fn list(&self, list_of: WorkList) -> Vec<WorkItem> {
        list(self.vfs(), list_of)
    }

    /// The paths of what stands in a state.
    pub(super) fn paths(&self, state: Status) -> Vec<String> {
        self.list(WorkList::In(state)).into_iter().map(|item| item.virtual_path).collect()
    }

    pub(super) fn state(&self, id: NodeId) -> Option<Status> {
        self.vfs().work_item(id, &Scope::EVERYTHING).unwrap().map(|item| item.state)
    }

    pub(super) fn claim_next(&self) -> Option<Claim> {
        self.vfs().work_claim(None, &Scope::EVERYTHING, &ME, Duration::ZERO).unwrap()
    }

    pub(super) fn transit(&self, id: NodeId, to: Status, claim: Option<u64>) -> Result<WorkItem> {
        self.vfs().work_transit(id, Stands::Anywhere, to, claim, &Scope::EVERYTHING, &ME)
    }

    fn entry(&self, path: &str) -> (NodeId, Vec<u8>) {
        let (parent, name) = path.rsplit_once('/').unwrap();
        (self.id(if parent.is_empty() { "/" } else { parent }), name.as_bytes().to_vec())
    }
}

/// Everything is in order, and the views are the lists.
pub(super) fn check(vfs: &Vfs, data_dir: &Path) {
    vfs.settle().unwrap();
    let report = vfs.check().unwrap();
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    vfs.sync().unwrap();
    views_are_lists(vfs, &Connection::open(data_dir.join("metadata.db")).unwrap());
}

/// Every view gives what the list gives that looks at files and attributes themselves: rows, their order, columns.
pub(super) fn views_are_lists(vfs: &Vfs, database: &Connection) {
    for (which, view) in VIEWS {
        let listed = list(vfs, which);
        let mut query = database.prepare_cached(&format!("SELECT * FROM {view}")).unwrap();
        let columns: Vec<_> = query.column_names().map(ToOwned::to_owned).collect();
        let mut rows = query.query([]).unwrap();
        let mut seen = 0;
        while let Some(row) = rows.next().unwrap() {
            let item = serde_json::to_value(listed.get(seen).unwrap_or_else(|| panic!("{view} has more"))).unwrap();
            for (index, column) in columns.iter().enumerate() {
                let value = match row.get::<_, rusqlite::types::Value>(index).unwrap() {
                    rusqlite::types::Value::Null => Value::Null,
                    rusqlite::types::Value::Integer(number) => number.into(),
                    rusqlite::types::Value::Text(text) => text.into(),
                    other => panic!("{view}.{column} is {other:?}"),
                };
                assert_eq!(value, item[column], "{column} of row {seen} of {view}");
            }
            seen += 1;
        }
        assert_eq!(seen, listed.len(), "{view}");
    }
}

/// A whole list, page by page.
pub(super) fn list(vfs: &Vfs, list: WorkList) -> Vec<WorkItem> {
    let (mut items, mut after) = (Vec::new(), WorkKey::START);
    loop {
        let page = vfs.work_page(list, &Scope::EVERYTHING, after, 100).unwrap();
        items.extend(page.items);
        match page.next {
            Some(next) => after = next,
            None => return items,
        }
    }
}

pub(super) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}
