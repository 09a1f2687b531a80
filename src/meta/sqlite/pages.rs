//! How well the cache of the database's pages serves.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use rusqlite::ffi;

use crate::stats::Pages;

/// What SQLite has counted so far. Its own numbers have 32 bits, so they are taken over and begun anew.
#[derive(Debug, Default)]
pub(super) struct PageCounts {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl PageCounts {
    /// Takes over what was counted since the last time; all there is to tell.
    pub(super) fn look(&self, conn: &Connection) -> Pages {
        let add = |to: &AtomicU64, more: u64| to.fetch_add(more, Ordering::Relaxed) + more;
        Pages {
            hits: add(&self.hits, counted(conn, ffi::SQLITE_DBSTATUS_CACHE_HIT, true)),
            misses: add(&self.misses, counted(conn, ffi::SQLITE_DBSTATUS_CACHE_MISS, true)),
            bytes: counted(conn, ffi::SQLITE_DBSTATUS_CACHE_USED, false),
        }
    }
}

/// One of the numbers of sqlite3_db_status; 0 where SQLite does not tell.
fn counted(conn: &Connection, what: i32, begin_anew: bool) -> u64 {
    let (mut now, mut highest) = (0, 0);
    // SAFETY: the connection is open as long as it is borrowed, and no other thread uses it meanwhile, because it can be
    // shared between threads under a lock only; SQLite writes the two numbers and keeps no pointer.
    let told =
        unsafe { ffi::sqlite3_db_status(conn.handle(), what, &raw mut now, &raw mut highest, begin_anew.into()) };
    // What has grown beyond the sign goes on counting there.
    if told == ffi::SQLITE_OK { u64::from(i32::cast_unsigned(now)) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_read_again_are_hits() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2), (3);").unwrap();
        let counts = PageCounts::default();
        let before = counts.look(&conn);
        assert_eq!((counts.look(&conn).hits, before.misses), (before.hits, 0));
        let sum: i64 = conn.query_row("SELECT sum(a) FROM t", [], |row| row.get(0)).unwrap();
        let after = counts.look(&conn);
        assert_eq!(sum, 6);
        assert!(after.hits > before.hits && after.bytes > 0, "{before:?} {after:?}");
    }
}
