//! The tables, a sentence for every column.
//!
//! The format's number is `PRAGMA user_version`. A change of the schema is a new number and a step in [`migrate`]; a store
//! of a later number is refused. Of formats 1 to 4 no version was released.

use rusqlite::Connection;

use super::work::schema::{FORGET_QUEUE, FROM_FORMAT_4, INDEXES, TABLES, TRIGGERS, WORK};
use super::work::views::VIEWS;
use crate::error::{Error, ErrorKind, Result};

/// The format of stores that this code writes, and the latest that it reads.
pub const FORMAT: i64 = 5;

/// `PRAGMA application_id`: "nxfs", so that file(1) and fsck can tell the database from another's.
pub(super) const APPLICATION_ID: i64 = 0x6e78_6673;

/// Finished bodies.
const BLOBS: &str = "
-- Finished bodies, each once: no two have the same digest.
CREATE TABLE blob (
    id INTEGER PRIMARY KEY,             -- short name inside the database; above the mark they are given in order
    digest BLOB NOT NULL,               -- SHA-256 of the bytes
    size INTEGER NOT NULL,              -- bytes
    blocks INTEGER NOT NULL,            -- space taken, units of 512 bytes
    refs INTEGER NOT NULL,              -- nodes whose body it is; the row goes when none is left
    place INTEGER NOT NULL,             -- 0: table small, 1: file cas/ab/cd/digest
    file_inode INTEGER,                 -- st_ino of the file when it was last known to be right
    file_ctime INTEGER                  -- st_ctime of it then, ns
) STRICT;

-- Where to look for a digest: every blob up to the mark (setting 'blob_mark'), and some that are not there, see digests.rs.
CREATE TABLE blob_head (
    head BLOB NOT NULL,                 -- the first 8 bytes of the digest
    blob INTEGER NOT NULL,              -- the blob
    PRIMARY KEY (head, blob)
) STRICT, WITHOUT ROWID;
";

const CREATE: &str = "
-- Single values about the store.
CREATE TABLE setting (
    key TEXT PRIMARY KEY,               -- which value
    value INTEGER NOT NULL              -- the value
) STRICT, WITHOUT ROWID;

-- Everything a name can lead to: stat(2) and where the body is.
CREATE TABLE node (
    id INTEGER PRIMARY KEY,             -- inode number and path_id; never used twice (setting 'next_node')
    mode INTEGER NOT NULL,              -- st_mode: kind and permission bits
    uid INTEGER NOT NULL,               -- owner
    gid INTEGER NOT NULL,               -- group
    rdev INTEGER NOT NULL,              -- device number of a device node, else 0
    nlink INTEGER NOT NULL,             -- names; of a directory 2 and its subdirectories; 0: unlinked while open
    size INTEGER NOT NULL,              -- bytes; of a symbolic link those of its target
    blocks INTEGER NOT NULL,            -- space taken, units of 512 bytes
    atime INTEGER NOT NULL,             -- last read, ns since 1970
    mtime INTEGER NOT NULL,             -- last change of the body, ns since 1970
    ctime INTEGER NOT NULL,             -- last change of body or attributes, ns since 1970
    btime INTEGER NOT NULL,             -- creation, ns since 1970
    version INTEGER NOT NULL,           -- bodies committed; 0 while the first is being written
    blob INTEGER,                       -- the body's blob; NULL: empty, a draft, or no regular file
    draft INTEGER,                      -- the body's staging file while it is being written
    target BLOB                         -- of a symbolic link: where it points
) STRICT;
CREATE INDEX node_draft ON node (draft) WHERE draft IS NOT NULL;
CREATE INDEX node_orphan ON node (id) WHERE nlink = 0;
CREATE INDEX node_blob ON node (blob) WHERE blob IS NOT NULL;

-- Names.
CREATE TABLE entry (
    parent INTEGER NOT NULL,            -- the directory's node
    name BLOB NOT NULL,                 -- 1 to 255 bytes
    node INTEGER NOT NULL,              -- where it leads
    place INTEGER NOT NULL              -- where it stands in listings of the directory, behind all that were there before
        CHECK (place > 2),              -- 1 and 2 are . and ..
    PRIMARY KEY (parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_node ON entry (node);
CREATE UNIQUE INDEX entry_place ON entry (parent, place);

-- Extended attributes.
CREATE TABLE attr (
    node INTEGER NOT NULL,              -- whose
    key BLOB NOT NULL,                  -- with its prefix: user., trusted., security.
    value BLOB NOT NULL,                -- byte for byte
    json INTEGER NOT NULL DEFAULT 0,    -- 1: written as a JSON value that is no string; the value is its text
    PRIMARY KEY (node, key)
) STRICT, WITHOUT ROWID;

-- The bytes of small bodies.
CREATE TABLE small (
    id INTEGER PRIMARY KEY,             -- the blob
    body BLOB NOT NULL                  -- its bytes
) STRICT;

-- Files of cas/ whose row is gone, to be removed once that is durable.
CREATE TABLE condemned (
    digest BLOB PRIMARY KEY             -- the file's name
) STRICT, WITHOUT ROWID;
";

/// From format 1 to 2: values that are JSON, and the queue.
const JSON: &str = "ALTER TABLE attr ADD COLUMN json INTEGER NOT NULL DEFAULT 0;";
const QUEUE_UNKNOWN: &str = "INSERT OR REPLACE INTO setting (key, value) VALUES ('work_unknown', 1);";

/// From format 2 to 3: blobs are found by the beginning of their digest.
const FORGET_BLOBS: &str = "ALTER TABLE blob RENAME TO blob_2;";
const FROM_FORMAT_2: &str = "
    INSERT INTO blob SELECT id, digest, size, blocks, refs, place, file_inode, file_ctime FROM blob_2 ORDER BY id;
    DROP TABLE blob_2;
    INSERT INTO blob_head (head, blob) SELECT SUBSTR(digest, 1, 8), id FROM blob ORDER BY 1, 2;
    INSERT OR REPLACE INTO setting (key, value) SELECT 'blob_mark', COALESCE(MAX(id), 0) FROM blob;";

/// Sets up an empty database.
pub(super) fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "BEGIN IMMEDIATE; {CREATE} {BLOBS} {WORK} {INDEXES} {TABLES} {TRIGGERS} {VIEWS}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};
         COMMIT;"
    ))
}

/// Brings a store of an older format to this one, all or nothing. What follows from attributes is made by the next start,
/// because the setting `work_unknown` says so.
pub(super) fn migrate(conn: &Connection, format: i64) -> rusqlite::Result<()> {
    if format >= FORMAT {
        return Ok(());
    }
    let queue = match format {
        1 => format!("{JSON} {WORK} {INDEXES} {TABLES} {TRIGGERS} {VIEWS} {QUEUE_UNKNOWN}"),
        _ => format!("{FORGET_QUEUE} {WORK} {FROM_FORMAT_4} {INDEXES} {TRIGGERS} {VIEWS}"),
    };
    let blobs = if format < 3 { format!("{FORGET_BLOBS} {BLOBS} {FROM_FORMAT_2}") } else { String::new() };
    // The views name tables, and are to go on naming them: sqlite.org/lang_altertable.html.
    conn.execute_batch(&format!(
        "PRAGMA legacy_alter_table = ON;
         BEGIN IMMEDIATE;
         {queue}
         {blobs}
         PRAGMA user_version = {FORMAT};
         COMMIT;
         PRAGMA legacy_alter_table = OFF;"
    ))
}

/// Checks that the database is a store of a format that can be read here, and says which it is.
pub(super) fn check_format(conn: &Connection) -> Result<i64> {
    let read = |pragma: &str| conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let damaged = |e: rusqlite::Error| {
        Error::new(ErrorKind::Damaged, "read the database of the store (metadata.db); restore it from a backup")
            .because(e)
    };
    if read("application_id").map_err(damaged)? != APPLICATION_ID {
        return Err(Error::new(ErrorKind::Damaged, "metadata.db is not the database of a nexus store"));
    }
    let format = read("user_version").map_err(damaged)?;
    if format > FORMAT {
        return Err(Error::new(
            ErrorKind::Incompatible,
            format!("the store has format {format}, this version of nexus reads up to {FORMAT}: use a newer one"),
        ));
    }
    if format < 1 {
        return Err(Error::new(ErrorKind::Damaged, format!("the store claims format {format}")));
    }
    Ok(format)
}
