//! A body is found by its digest, so that it is stored once: after an orderly end, after a crash, and in a store of format 2.

use nexus::error::ErrorKind;
use rusqlite::Connection;

use super::{NOON, SIZES, Store, body, kind};

/// What format 2 has instead of what format 3 has.
const BACK: &str = "
    PRAGMA legacy_alter_table = ON;
    BEGIN;
    ALTER TABLE blob RENAME TO blob_3;
    CREATE TABLE blob (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, blocks INTEGER NOT NULL,
                       refs INTEGER NOT NULL, place INTEGER NOT NULL, file_inode INTEGER, file_ctime INTEGER) STRICT;
    INSERT INTO blob SELECT * FROM blob_3;
    DROP TABLE blob_3;
    DROP TABLE blob_head;
    DELETE FROM setting WHERE key = 'blob_mark';
    PRAGMA user_version = 2;
    COMMIT;";

fn database(store: &Store) -> Connection {
    Connection::open(store.data_dir().join("metadata.db")).unwrap()
}

/// The tables, indexes, triggers and views as they were made.
fn schema(store: &Store) -> Vec<(String, String, Option<String>)> {
    let database = database(store);
    let mut all = database.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").unwrap();
    all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
}

/// Files `{prefix}0`, `{prefix}1`, ... with a body of each size, the same for every prefix.
fn put_all(store: &Store, prefix: &str) {
    for (number, len) in SIZES.into_iter().enumerate() {
        store.put(&format!("{prefix}{number}"), &body(len, 1));
    }
    store.settle();
}

fn assert_shared(store: &Store, refs: &str) {
    for (number, len) in SIZES.into_iter().enumerate() {
        assert_eq!(store.says(&format!("/a{number}"), "refs"), refs, "{len} bytes");
    }
}

#[test]
fn a_body_is_found_by_the_next_owner() {
    let mut store = Store::new();
    put_all(&store, "/a");
    store.reopen();
    put_all(&store, "/b");
    assert_shared(&store, "2");
    store.reopen_unclosed();
    put_all(&store, "/c");
    assert_shared(&store, "3");
    // What went and came again is another blob.
    for number in 0..SIZES.len() {
        ["/a", "/b", "/c"].iter().for_each(|prefix| store.unlink(&format!("{prefix}{number}")));
    }
    store.settle();
    put_all(&store, "/a");
    store.reopen_unclosed();
    put_all(&store, "/b");
    assert_shared(&store, "2");
    store.end();
}

#[test]
fn a_store_of_format_2_is_brought_forward() {
    let mut store = Store::new();
    put_all(&store, "/a");
    let job = store.put("/job", b"work");
    store.vfs().setxattr(job, b"user.status", b"ready", nexus::vfs::XattrMode::Set).unwrap();
    store.vfs().close().unwrap();
    store.vfs = None;
    let expected = schema(&store);
    database(&store).execute_batch(BACK).unwrap();
    assert_ne!(schema(&store), expected);

    assert_eq!(kind(store.open(true).map(drop)), Some(ErrorKind::Incompatible), "it is not read as it is");
    store.vfs = Some(store.open(false).unwrap());
    put_all(&store, "/b");
    assert_shared(&store, "2");
    assert_eq!(store.attr("/job").unwrap().mtime, NOON);
    store.reopen();
    put_all(&store, "/c");
    assert_shared(&store, "3");
    assert_eq!(schema(&store), expected);
    let ready: String =
        database(&store).query_row("SELECT virtual_path FROM ready_work_items", [], |row| row.get(0)).unwrap();
    assert_eq!(ready, "/job");
    store.end();
}
