//! Every way to break a store that a check notices, and what a repair makes of it.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::place::Place;

/// One way to break a store.
pub(super) struct Case {
    /// The invariant of the tables that it breaks, or words of what the check says.
    pub(super) says: &'static str,
    /// What cannot but break with it.
    pub(super) also: &'static [&'static str],
    /// What it does to the database, `:NAME` being the number of the node of that name.
    pub(super) sql: &'static str,
    /// What it does beside that.
    pub(super) files: fn(&Place),
    /// The paths that are not as before after the repair, with all below them.
    pub(super) differ: &'static [&'static str],
    /// Where what was at a path is then.
    pub(super) moved: &'static [(&'static str, &'static str)],
    /// What paths hold then that hold something else.
    pub(super) holds: &'static [(&'static str, &'static str)],
    /// Whether a problem is left: a body that cannot be brought back, and is not given up.
    pub(super) left: bool,
}

/// Breaks `says` alone, and a repair leaves nothing to be seen of it.
const CASE: Case =
    Case { says: "", also: &[], sql: "", files: |_| {}, differ: &[], moved: &[], holds: &[], left: false };

const RANGE: &str = "the values of a node are in their ranges";
const BLOB_RANGE: &str = "the values of a blob are in their ranges";
const ROOT: &str = "the root is a directory";
const NAME: &str = "a name is 1 to 255 bytes without / and NUL";
const LEADS: &str = "every name leads to a node";
const STANDS: &str = "every name stands in a directory";
const ONE_NAME: &str = "a directory has one name, and the root none";
const REACHED: &str = "every directory is reached from the root";
const SUBDIRECTORIES: &str = "the link count of a directory is 2 and one for each subdirectory";
const LINKS: &str = "the link count of anything else is the number of its names";
const ONE_BODY: &str = "only regular files have bodies, and each one place for it";
const TARGET: &str = "only symbolic links have targets, as long as they say";
const FIXED: &str = "a directory shows 4096 bytes, and a fifo, socket or device none";
const DEVICE: &str = "only devices have a device number";
const BODY: &str = "the body of a node is a blob that exists and has its size";
const EMPTY: &str = "a node without a body is empty";
const STAGING: &str = "a staging file belongs to one node";
const REFERENCES: &str = "the references of a blob are the nodes that name it, at least one";
const STORED: &str = "bytes in the database belong to a small blob";
const UNIQUE: &str = "no two blobs have the same digest";
const FOUND: &str = "a blob up to the mark is found by its digest";
const CONDEMNED: &str = "a condemned file has no row";
const ATTRIBUTE: &str = "an attribute belongs to a node";
const KEY: &str = "an attribute has a key of 1 to 255 bytes without NUL, and at most 65536 bytes";
const NEXT: &str = "node numbers are below the next one";
const WORK_RANGE: &str = "the values of a work item are in their ranges";
const DEPENDENCY_RANGE: &str = "the values of a dependency are in their ranges";
const WORK: &str = "a work item is a regular file with a name and a status";
const DEPENDENCY: &str = "a dependency leads from a file that says so to another file";
const OPEN: &str = "an item counts its dependencies that are not completed";
const COUNTS: &str = "the counts of the queue are those of its items";
const SHOWS: &str = "an item shows what its attributes say";
const SHOWS_NODE: &str = "an item shows what its node says";
const SHOWN_AS: &str = "an item is shown under the first of its names";
const CLAIM: &str = "no item has a claim that was not counted";
const SAYS: &str = "the queue says what the attributes say";
const NUMBER: &str = "a number in depends_on is a dependency";
const CIRCLE: &str = "dependencies lead in no circle";

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    // The file.
    Case { says: "the database is sound", files: |place| lose_from_index(&place.database()), ..CASE },

    // Single values.
    Case { says: RANGE, sql: "UPDATE node SET id = -3 WHERE id = :victim; UPDATE entry SET node = -3 WHERE node = :victim", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET id = -3 WHERE id = :dir; UPDATE entry SET node = -3 WHERE node = :dir;
                              UPDATE entry SET parent = -3 WHERE parent = :dir", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET mode = mode & 0xFFF WHERE id != :fifo", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET mode = mode | 0x70000 WHERE id = :dir", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET uid = -1 WHERE id = :victim", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET gid = 1 << 40 WHERE id = :victim", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET rdev = -1 WHERE id = :victim", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET nlink = -1 WHERE id IN (:victim, :dir)", ..CASE },
    Case { says: RANGE, sql: "UPDATE node SET size = -1, blocks = -1, version = -1 WHERE id IN (:victim, :dir, :large)", ..CASE },
    Case { says: BLOB_RANGE, sql: "UPDATE blob SET size = -1, blocks = -1", ..CASE },
    Case { says: BLOB_RANGE, sql: "UPDATE blob SET refs = -1", ..CASE },
    Case { says: BLOB_RANGE, sql: "UPDATE blob SET place = 7", ..CASE },
    Case { says: BLOB_RANGE, sql: "UPDATE blob SET digest = X'00' WHERE size = 100", ..CASE },
    Case { says: BLOB_RANGE, sql: "UPDATE blob SET digest = X'00' WHERE size = 40000", holds: &[("/large", "")], ..CASE },
    Case { says: "a condemned file is named by a digest", sql: "INSERT INTO condemned VALUES (X'00')", ..CASE },

    // Names.
    Case { says: ROOT, also: &[STANDS], sql: "DELETE FROM node WHERE id = 1", ..CASE },
    Case { says: ROOT, also: &[STANDS, LINKS, EMPTY], sql: "UPDATE node SET mode = 0x81ED WHERE id = 1", ..CASE },
    Case { says: STANDS, also: &[EMPTY, LINKS, REACHED, SUBDIRECTORIES], sql: "UPDATE node SET mode = 0x81ED WHERE id = :dir", ..CASE },
    Case { says: NAME, sql: "UPDATE entry SET name = X'2E2E' WHERE node = :victim", moved: &[("/victim", "/lost+found/#:victim")], ..CASE },
    Case { says: NAME, sql: "UPDATE entry SET name = CAST('a/b' AS BLOB) WHERE node = :dir", moved: &[("/dir", "/lost+found/#:dir")], ..CASE },
    Case { says: NAME, sql: "UPDATE entry SET name = X'' WHERE node = :fifo", moved: &[("/fifo", "/lost+found/#:fifo")], ..CASE },
    Case { says: NAME, sql: "UPDATE entry SET name = X'6100' WHERE node = :large", moved: &[("/large", "/lost+found/#:large")], ..CASE },
    Case { says: NAME, sql: "UPDATE entry SET name = ZEROBLOB(256) WHERE node = :symlink", moved: &[("/symlink", "/lost+found/#:symlink")], ..CASE },
    Case { says: LEADS, sql: "INSERT INTO entry VALUES (1, CAST('ghost' AS BLOB), 999999, 1000)", ..CASE },
    Case { says: LEADS, also: &[REFERENCES], sql: "DELETE FROM node WHERE id = :victim", differ: &["/victim"], ..CASE },
    Case { says: STANDS, sql: "UPDATE entry SET parent = 999999 WHERE node = :victim", moved: &[("/victim", "/lost+found/#:victim")], ..CASE },
    Case { says: STANDS, sql: "INSERT INTO entry VALUES (:twin, X'61', :victim, 1000); UPDATE node SET nlink = 2 WHERE id = :victim", ..CASE },
    Case { says: STANDS, also: &[LEADS, REACHED], sql: "DELETE FROM node WHERE id = :dir; UPDATE node SET nlink = nlink - 1 WHERE id = 1",
           differ: &["/dir"], moved: &[("/dir/below", "/lost+found/#:below"), ("/dir/side", "/lost+found/#:side")], ..CASE },
    Case { says: ONE_NAME, sql: "INSERT INTO entry VALUES (:side, X'61', :below, 1000); UPDATE node SET nlink = 3 WHERE id = :side", ..CASE },
    Case { says: ONE_NAME, sql: "INSERT INTO entry VALUES (:side, X'61', 1, 1000); UPDATE node SET nlink = 3 WHERE id = :side", ..CASE },
    Case { says: ONE_NAME, also: &[REACHED], sql: "DELETE FROM entry WHERE node = :dir; UPDATE node SET nlink = nlink - 1 WHERE id = 1",
           moved: &[("/dir", "/lost+found/#:dir")], ..CASE },
    Case { says: ONE_NAME, sql: "INSERT INTO entry VALUES (:below, X'61', :dir, 1000); UPDATE node SET nlink = 3 WHERE id = :below", ..CASE },
    Case { says: REACHED, sql: "UPDATE entry SET parent = :below WHERE node = :dir; UPDATE node SET nlink = nlink + 1 WHERE id = :below;
                                UPDATE node SET nlink = nlink - 1 WHERE id = 1", moved: &[("/dir", "/lost+found/#:dir")], ..CASE },
    Case { says: REACHED, sql: "UPDATE entry SET parent = node WHERE node = :side; UPDATE node SET nlink = nlink + 1 WHERE id = :side;
                                UPDATE node SET nlink = nlink - 1 WHERE id = :dir", moved: &[("/dir/side", "/lost+found/#:side")], ..CASE },
    Case { says: SUBDIRECTORIES, sql: "UPDATE node SET nlink = 9 WHERE id = :dir", ..CASE },
    Case { says: SUBDIRECTORIES, sql: "UPDATE node SET nlink = 0 WHERE id IN (1, :dir, :side)", ..CASE },
    Case { says: SUBDIRECTORIES, sql: "UPDATE node SET nlink = 0 WHERE id = :dir; DELETE FROM entry WHERE node = :dir;
                                       UPDATE node SET nlink = nlink - 1 WHERE id = 1", also: &[REACHED], moved: &[("/dir", "/lost+found/#:dir")], ..CASE },
    Case { says: LINKS, sql: "UPDATE node SET nlink = 5 WHERE id = :victim", ..CASE },
    Case { says: LINKS, sql: "UPDATE node SET nlink = 0 WHERE id IN (:victim, :large, :symlink, :fifo)", ..CASE },
    Case { says: LINKS, sql: "DELETE FROM entry WHERE node = :victim", moved: &[("/victim", "/lost+found/#:victim")], ..CASE },
    Case { says: LINKS, sql: "DELETE FROM entry WHERE node = :victim; UPDATE entry SET name = CAST('lost+found' AS BLOB) WHERE node = :twin",
           moved: &[("/twin", "/lost+found"), ("/victim", "/lost+found.1/#:victim")], ..CASE },

    // What nodes have.
    Case { says: ONE_BODY, sql: "UPDATE node SET draft = 7 WHERE id = :victim", files: draft, moved: &[("/victim", "/lost+found/#:next")],
           holds: &[("/victim", "draft")], ..CASE },
    Case { says: ONE_BODY, also: &["the staging file 7 of /victim is missing"], sql: "UPDATE node SET draft = 7 WHERE id = :victim", ..CASE },
    Case { says: ONE_BODY, also: &[BODY], sql: "UPDATE node SET blob = (SELECT blob FROM node WHERE id = :victim) WHERE id = :fifo;
                                                UPDATE blob SET refs = 3 WHERE size = 100", holds: &[("/lost+found/#:next", BODY_OF_VICTIM)], ..CASE },
    Case { says: ONE_BODY, sql: "UPDATE node SET draft = 7 WHERE id = :dir", files: draft, holds: &[("/lost+found/#:next", "draft")], ..CASE },
    Case { says: TARGET, sql: "UPDATE node SET target = X'61' WHERE id = :victim", ..CASE },
    Case { says: TARGET, sql: "UPDATE node SET target = NULL WHERE id = :symlink", differ: &["/symlink"], ..CASE },
    Case { says: TARGET, sql: "UPDATE node SET size = 99 WHERE id = :symlink", ..CASE },
    Case { says: TARGET, also: &[EMPTY], sql: "UPDATE node SET mode = 0x81FF WHERE id = :symlink", ..CASE },
    Case { says: FIXED, sql: "UPDATE node SET size = 99 WHERE id IN (:fifo, :dir)", ..CASE },
    Case { says: DEVICE, sql: "UPDATE node SET rdev = 99 WHERE id IN (:fifo, :dir, :victim)", ..CASE },
    Case { says: BODY, also: &[REFERENCES], sql: "UPDATE node SET blob = 999 WHERE id = :victim", holds: &[("/victim", "")], ..CASE },
    Case { says: BODY, sql: "UPDATE node SET size = 99 WHERE id IN (:victim, :large)", ..CASE },
    Case { says: EMPTY, sql: "UPDATE node SET size = 99 WHERE id = :empty", ..CASE },
    Case { says: STAGING, sql: "UPDATE node SET draft = 7 WHERE id IN (:empty, :vacant)", files: draft,
           holds: &[("/empty", "draft"), ("/vacant", "draft")], ..CASE },
    Case { says: REFERENCES, sql: "UPDATE blob SET refs = refs + 1", ..CASE },
    Case { says: REFERENCES, sql: "UPDATE blob SET refs = 0", ..CASE },
    Case { says: REFERENCES, sql: "UPDATE node SET blob = NULL, size = 0 WHERE id IN (:large, :deep);
                                   UPDATE blob SET refs = 0 WHERE size IN (40000, 300)",
           holds: &[("/large", ""), ("/dir/below/deep", "")], ..CASE },
    Case { says: UNIQUE, sql: "INSERT INTO blob SELECT id + 1000, digest, size, blocks, 1, place, NULL, NULL FROM blob WHERE size = 100;
                               INSERT INTO small SELECT id + 1000, body FROM small WHERE LENGTH(body) = 100;
                               UPDATE node SET blob = blob + 1000 WHERE id = :twin; UPDATE blob SET refs = 1 WHERE size = 100", ..CASE },
    Case { says: UNIQUE, also: &["in the database does not hash to its name"],
           sql: "INSERT INTO blob SELECT id + 1000, digest, size, blocks, 1, place, NULL, NULL FROM blob WHERE size = 100;
                 INSERT INTO small SELECT id + 1000, body FROM small WHERE LENGTH(body) = 100; UPDATE small SET body = X'00' WHERE LENGTH(body) = 100 AND id < 1000;
                 UPDATE node SET blob = blob + 1000 WHERE id = :twin; UPDATE blob SET refs = 1 WHERE size = 100", ..CASE },
    Case { says: UNIQUE, also: &[REFERENCES, "in the database is missing"],
           sql: "INSERT INTO blob SELECT id + 1000, digest, size, blocks, 1, 0, NULL, NULL FROM blob WHERE size = 40000;
                 UPDATE node SET blob = blob + 1000 WHERE id = :large", ..CASE },
    Case { says: FOUND, sql: "DELETE FROM blob_head", ..CASE },
    Case { says: FOUND, sql: "UPDATE blob_head SET blob = blob + 1000", ..CASE },
    Case { says: FOUND, sql: "UPDATE setting SET value = -1 WHERE key = 'blob_mark'", ..CASE },
    Case { says: FOUND, sql: "UPDATE setting SET value = 0x7FFFFFFFFFFFFFFF WHERE key = 'blob_mark'", ..CASE },
    Case { says: STORED, sql: "INSERT INTO small VALUES (999, X'00')", ..CASE },
    Case { says: CONDEMNED, sql: "INSERT INTO condemned SELECT digest FROM blob WHERE size = 40000", ..CASE },
    Case { says: ATTRIBUTE, sql: "INSERT INTO attr (node, key, value) VALUES (999999, X'61', X'62')", ..CASE },
    Case { says: KEY, sql: "INSERT INTO attr (node, key, value) VALUES (:victim, X'', X'62'), (:victim, X'6100', X'62'), (:victim, ZEROBLOB(256), X'62'),
                                                    (:dir, X'61', ZEROBLOB(65537))", ..CASE },
    Case { says: NEXT, sql: "UPDATE setting SET value = 2 WHERE key = 'next_node'", ..CASE },
    Case { says: NEXT, sql: "DELETE FROM setting", ..CASE },

    // The queue.
    Case { says: WORK_RANGE, sql: "UPDATE work SET open = -1 WHERE node = :job", ..CASE },
    Case { says: WORK_RANGE, sql: "UPDATE work SET status = 'odd' WHERE node = :job", ..CASE },
    Case { says: WORK_RANGE, sql: "UPDATE work SET claim = -1, node = -5 WHERE node = :job", ..CASE },
    Case { says: DEPENDENCY_RANGE, sql: "INSERT INTO dependency VALUES (-1, :need), (:job, -7)", ..CASE },
    Case { says: WORK, also: &[SHOWS_NODE, SHOWN_AS], sql: "INSERT INTO work (node, status, open, created, claim) VALUES (:fifo, 'ready', 0, 0, 0)", ..CASE },
    Case { says: WORK, sql: "DELETE FROM attr WHERE node = :need AND key = CAST('user.status' AS BLOB)", differ: &["/need"], ..CASE },
    Case { says: DEPENDENCY, sql: "INSERT INTO dependency VALUES (:victim, :need)", ..CASE },
    Case { says: DEPENDENCY, also: &[OPEN], sql: "INSERT INTO dependency VALUES (:job, :fifo)", ..CASE },
    Case { says: OPEN, sql: "UPDATE work SET open = 5 WHERE node = :job", ..CASE },
    Case { says: COUNTS, sql: "UPDATE work_count SET items = 9 WHERE state = 'ready'", ..CASE },
    Case { says: COUNTS, sql: "DELETE FROM work_count", ..CASE },
    Case { says: COUNTS, sql: "INSERT INTO work_count VALUES ('odd', 0)", ..CASE },
    Case { says: SHOWS, sql: "UPDATE work SET tags = 'others' WHERE node = :job", ..CASE },
    Case { says: SHOWS, sql: "UPDATE work SET worker_id = '' WHERE node = :job", ..CASE },
    Case { says: SHOWS_NODE, sql: "UPDATE work SET size = 9 WHERE node = :job", ..CASE },
    Case { says: SHOWS_NODE, sql: "UPDATE work SET content_hash = NULL WHERE node = :job", ..CASE },
    Case { says: SHOWS_NODE, sql: "UPDATE work SET updated_at = '1970-01-01T00:00:00Z'", ..CASE },
    Case { says: SHOWN_AS, sql: "UPDATE work SET name = 'other' WHERE node = :job", ..CASE },
    Case { says: SHOWN_AS, sql: "UPDATE work SET parent = NULL, name = NULL", ..CASE },
    Case { says: SHOWN_AS, sql: "UPDATE work SET parent = :dir WHERE node = :need", ..CASE },
    Case { says: CLAIM, sql: "UPDATE work SET claim = 7 WHERE node = :job", ..CASE },
    Case { says: SAYS, sql: "UPDATE work SET priority = 9 WHERE node = :job", ..CASE },
    Case { says: SAYS, sql: "DELETE FROM work WHERE node = :need", ..CASE },
    Case { says: SAYS, also: &[OPEN], sql: "UPDATE work SET status = 'completed' WHERE node = :need", ..CASE },
    Case { says: NUMBER, also: &[OPEN], sql: "DELETE FROM dependency", ..CASE },
    Case { says: CIRCLE, also: &[OPEN], sql: "INSERT INTO dependency VALUES (:need, :job);
                                              INSERT INTO attr (node, key, value) VALUES (:need, CAST('user.depends_on' AS BLOB), CAST(:job AS BLOB))",
           differ: &["/need", "/job"], ..CASE },

    // Content.
    Case { says: "in the database does not hash to its name: it is that of /victim, /twin", sql: "UPDATE small SET body = X'00' WHERE LENGTH(body) = 100",
           differ: &["/victim", "/twin"], left: true, ..CASE },
    Case { says: "in the database is missing", sql: "DELETE FROM small WHERE LENGTH(body) = 100", differ: &["/victim", "/twin"], left: true, ..CASE },
    Case { says: "in the database has 100 bytes instead of 99", sql: "UPDATE blob SET size = 99 WHERE size = 100;
                                                                     UPDATE node SET size = 99 WHERE size = 100", ..CASE },
    Case { says: "in a file does not hash to its name: it is that of /large", files: |place| fs::write(place.file_of_large(), "x").unwrap(),
           differ: &["/large"], left: true, ..CASE },
    Case { says: "in a file does not hash to its name", also: &["does not belong into the store"],
           files: |place| { remove_large(place); fs::create_dir(place.file_of_large()).unwrap(); }, differ: &["/large"], left: true, ..CASE },
    Case { says: "in a file is missing", files: remove_large, differ: &["/large"], left: true, ..CASE },
    Case { says: "in a file has 40000 bytes instead of 99", files: |place| {
               place.database().execute_batch("UPDATE node SET size = 99 WHERE size = 40000; UPDATE blob SET size = 99 WHERE size = 40000").unwrap();
           }, ..CASE },
    Case { says: "in a file is missing", also: &[STORED], sql: "UPDATE blob SET place = 1 WHERE size = 100", ..CASE },
    Case { says: "in the database is missing", sql: "UPDATE blob SET place = 0 WHERE size = 40000", ..CASE },
    Case { says: "the staging file 99 of /empty is missing", sql: "UPDATE node SET draft = 99, size = 9 WHERE id = :empty", ..CASE },
    Case { says: "cas/notes does not belong into the store", files: |place| fs::write(place.path("cas/notes"), "x").unwrap(), ..CASE },
    Case { says: "staging/notes does not belong into the store", files: |place| fs::create_dir(place.path("staging/notes")).unwrap(), ..CASE },
    Case { says: "the directory staging of the store is missing", files: |place| fs::remove_dir(place.path("staging")).unwrap(), ..CASE },
    Case { says: "the directory quarantine of the store is missing", files: |place| fs::remove_dir(place.path("quarantine")).unwrap(), ..CASE },
    Case { says: "the directory cas of the store is missing", also: &["in a file is missing"],
           files: |place| fs::remove_dir_all(place.path("cas")).unwrap(), differ: &["/large", "/keep/big"], left: true, ..CASE },
];

/// What `/victim` holds.
const BODY_OF_VICTIM: &str =
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn draft(place: &Place) {
    fs::write(place.path("staging/7"), "draft").unwrap();
}

fn remove_large(place: &Place) {
    let path = place.file_of_large();
    fs::remove_file::<&Path>(&path).unwrap();
}

/// Takes a row out of an index of its table: what a write that never reached the disk leaves.
fn lose_from_index(database: &Connection) {
    let hidden: (i64, String) = database
        .query_row("SELECT rootpage, sql FROM sqlite_schema WHERE name = 'entry_node'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let path = database.path().unwrap();
    let change = |sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    change("UPDATE entry SET node = node + 1000 WHERE name = CAST('victim' AS BLOB)");
    change("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'entry_node'");
    change("UPDATE entry SET node = node - 1000 WHERE name = CAST('victim' AS BLOB)");
    change(&format!(
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('index', 'entry_node', 'entry', {}, '{}')",
        hidden.0, hidden.1
    ));
}
