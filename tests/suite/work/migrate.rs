//! A store of format 1: its attributes make the queue when it is opened.

use nexus::error::ErrorKind;
use nexus::model::Timestamp;
use nexus::model::work::Status;
use nexus::vfs::{StoreOptions, Vfs};
use serde_json::json;

use super::Store;
use super::store::kind;
use crate::harness::{nexus, run};

/// What later formats have beside format 1.
const BACK: &str = "
    DROP TABLE blob_head; DELETE FROM setting WHERE key = 'blob_mark';
    DROP VIEW ready_work_items; DROP VIEW pending_work_items; DROP VIEW blocked_work_items; DROP VIEW in_progress_work;
    DROP VIEW work_by_priority; DROP TABLE work; DROP TABLE dependency; DROP TABLE work_count; DROP INDEX attr_value;
    ALTER TABLE attr DROP COLUMN json; DELETE FROM setting WHERE key = 'claims'; PRAGMA user_version = 1;";

#[test]
fn a_store_of_format_1_is_brought_forward() {
    let mut store = Store::new();
    let (a, b) = (store.item("/a", "completed"), store.item("/b", "blocked"));
    let (c, d) = (store.item("/c", "ready"), store.put("/d", b""));
    store.set(b, "depends_on", "[\"/c\"]").unwrap();
    store.set(c, "priority", "4").unwrap();
    store.set(c, "depends_on", &a.to_string()).unwrap();
    store.set(d, "note", "kept").unwrap();
    store.close();
    let database = store.database();
    database.execute_batch(BACK).unwrap();
    // Nobody has looked at these values yet.
    let odd = [(a, "user.priority", "high"), (d, "user.status", "whatever"), (d, "user.depends_on", "999999")];
    for (id, key, value) in odd {
        let row = (id.0.cast_signed(), key.as_bytes(), value.as_bytes());
        database.execute("INSERT INTO attr (node, key, value) VALUES (?1, ?2, ?3)", row).unwrap();
    }
    let names: Vec<String> = database
        .prepare("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let format_1 = [
        "attr",
        "blob",
        "condemned",
        "entry",
        "entry_node",
        "entry_place",
        "node",
        "node_blob",
        "node_draft",
        "node_orphan",
        "setting",
        "small",
    ];
    assert_eq!(names, format_1);
    drop(database);

    let read_only = StoreOptions { data_dir: store.data_dir(), read_only: true, clock: Timestamp::now };
    assert_eq!(kind(Vfs::open_store(read_only).map(drop)), Some(ErrorKind::Incompatible));
    store.open();
    assert_eq!(
        (store.state(a), store.state(b), store.state(c)),
        (Some(Status::Completed), Some(Status::Blocked), Some(Status::Ready))
    );
    assert_eq!((store.state(d), store.get(d, "note").as_deref()), (None, Some("kept")));
    assert_eq!(store.get(d, "status").as_deref(), Some("whatever"));
    store.meta_set(c, "status", json!("completed")).unwrap();
    assert_eq!(store.paths(Status::Ready), ["/b"]);
    store.check();
    store.close();

    // A repair brings it forward, too.
    store.database().execute_batch(BACK).unwrap();
    assert_eq!(run(nexus().arg("fsck").arg("--repair").arg(store.data_dir())).code, 1);
    assert_eq!(run(nexus().arg("fsck").arg(store.data_dir())).code, 0);
    store.open();
    assert_eq!(store.paths(Status::Ready), ["/b"]);
    store.end();
}
