//! A store of format 1: its attributes make the queue when it is opened. Those of formats 2 to 4 have a queue already.

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

/// From this format to format 4, whose tables no code writes any more. Its views name columns that are gone, as do triggers.
const BACK_TO_4: &str = "
    DROP VIEW ready_work_items; DROP VIEW pending_work_items; DROP VIEW blocked_work_items; DROP VIEW in_progress_work;
    DROP VIEW work_by_priority;
    CREATE TABLE kept AS SELECT node, status, open, priority, created, started, lease, claim, worker_id, started_at, tags FROM work;
    DROP TABLE work;
    CREATE TABLE work (
        node INTEGER PRIMARY KEY, status TEXT NOT NULL, open INTEGER NOT NULL, priority INTEGER, created INTEGER NOT NULL,
        started INTEGER, lease INTEGER, claim INTEGER NOT NULL, worker_id TEXT, started_at TEXT, tags TEXT,
        created_at TEXT NOT NULL AS (DATETIME(created / 1000000000, 'unixepoch')) STORED,
        state TEXT NOT NULL AS (IIF(open > 0 AND status IN ('ready', 'pending'), 'blocked', status)) VIRTUAL,
        rank INTEGER NOT NULL AS (COALESCE(priority, 9999999999)) VIRTUAL,
        newest INTEGER NOT NULL AS (COALESCE(-started, 9223372036854775807)) VIRTUAL,
        most INTEGER NOT NULL AS (-open) VIRTUAL) STRICT;
    INSERT INTO work (node, status, open, priority, created, started, lease, claim, worker_id, started_at, tags) SELECT * FROM kept;
    DROP TABLE kept;
    CREATE INDEX work_queue ON work (state, rank, created, node);
    CREATE INDEX work_rank ON work (rank, created, node);
    CREATE INDEX work_newest ON work (newest, rank, created, node) WHERE state = 'in_progress';
    CREATE INDEX work_most ON work (most, rank, created, node) WHERE state = 'blocked';
    CREATE INDEX work_lease ON work (lease) WHERE lease IS NOT NULL;
    CREATE TRIGGER work_comes AFTER INSERT ON work BEGIN
        UPDATE work_count SET items = items + 1 WHERE state = NEW.state;
        UPDATE work SET tags = (SELECT CAST(a.value AS TEXT) FROM attr a WHERE a.node = work.node AND a.key = CAST('user.tags' AS BLOB))
        WHERE node = NEW.node; END;
    CREATE TRIGGER work_goes AFTER DELETE ON work BEGIN
        UPDATE work_count SET items = items - 1 WHERE state = OLD.state; END;
    CREATE TRIGGER work_moves AFTER UPDATE ON work WHEN OLD.state != NEW.state BEGIN
        UPDATE work_count SET items = items - 1 WHERE state = OLD.state;
        UPDATE work_count SET items = items + 1 WHERE state = NEW.state; END;
    CREATE VIEW ready_work_items AS SELECT w.node, w.worker_id FROM work w WHERE w.state = 'ready' ORDER BY w.rank, w.created, w.node;
    CREATE VIEW pending_work_items AS SELECT 1; CREATE VIEW in_progress_work AS SELECT 1;
    CREATE VIEW blocked_work_items AS SELECT w.node FROM work w INDEXED BY work_most WHERE w.state = 'blocked';
    CREATE VIEW work_by_priority AS SELECT w.tags FROM work w JOIN node n ON n.id = w.node;
    PRAGMA user_version = 4;";
/// From there to format 3: its rows held no texts, and its triggers gave them none.
const BACK_TO_3: &str = "
    DROP TRIGGER work_comes;
    CREATE TRIGGER work_comes AFTER INSERT ON work BEGIN
        UPDATE work_count SET items = items + 1 WHERE state = NEW.state; END;
    DROP VIEW ready_work_items; DROP VIEW work_by_priority;
    CREATE VIEW ready_work_items AS SELECT 1; CREATE VIEW work_by_priority AS SELECT 1;
    ALTER TABLE work DROP COLUMN created_at; ALTER TABLE work DROP COLUMN worker_id;
    ALTER TABLE work DROP COLUMN started_at; ALTER TABLE work DROP COLUMN tags;
    PRAGMA user_version = 3;";
/// From there to format 2.
const BACK_TO_2: &str = "DROP TABLE blob_head; DELETE FROM setting WHERE key = 'blob_mark'; PRAGMA user_version = 2;";

#[test]
fn stores_of_formats_2_to_4_keep_their_queue() {
    for steps in [&[BACK_TO_4][..], &[BACK_TO_4, BACK_TO_3], &[BACK_TO_4, BACK_TO_3, BACK_TO_2]] {
        let mut store = Store::new();
        let (a, b, c) = (store.item("/a", "ready"), store.item("/b", "blocked"), store.item("/c", "pending"));
        store.set(b, "depends_on", "/a").unwrap();
        store.set(b, "tags", "x,y").unwrap();
        store.set(c, "tags", "\u{e9}").unwrap();
        // What a path led to when it was set, and the numbers of claims, stand nowhere else.
        let claim = store.claim_next().unwrap();
        store.rename("/a", "/renamed");
        store.mkdir("/d");
        store.link(c, "/d/c");
        let before = store.list(nexus::meta::WorkList::ByPriority);
        store.close();
        store.database().execute_batch(&steps.concat()).unwrap();
        store.open();
        assert_eq!(store.list(nexus::meta::WorkList::ByPriority), before);
        store.check();
        store.transit(a, Status::Completed, Some(claim.claim)).unwrap();
        assert_eq!(store.paths(Status::Ready), ["/b"]);
        assert!(store.claim_next().unwrap().claim > claim.claim);
        store.end();
    }
}
