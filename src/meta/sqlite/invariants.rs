//! What is true of the tables after every operation, a query each that finds what breaks it.

use super::read::ReadTxn;
use super::work::rules;
use crate::error::{ErrorKind, Result};

/// How many violations of one invariant are told.
const TOLD_MAX: usize = 20;

/// A sentence that holds, and the query that gives a text for each row that breaks it.
pub(super) type Invariant = (&'static str, &'static str);

/// Of the file: while this is broken, no query gives an answer to be trusted. `integrity_check` and not `quick_check`,
/// which does not compare an index with its table, and most queries go through an index.
const SOUND: Invariant = (
    "the database is sound",
    "SELECT 'database: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check != 'ok'",
);

/// Of the bodies, which are stored once.
pub(super) const UNIQUE: Invariant = (
    "no two blobs have the same digest",
    "SELECT COUNT(*) || ' blobs have the digest ' || LOWER(HEX(digest)) FROM blob GROUP BY digest HAVING COUNT(*) > 1",
);

/// Of the way from a digest to its blob: while this is broken, a body may be stored twice.
pub(super) const FOUND: Invariant = (
    "a blob up to the mark is found by its digest",
    "SELECT 'blob ' || b.id || ' is not found by its digest ' || LOWER(HEX(b.digest)) FROM blob b
     WHERE b.id <= (SELECT value FROM setting WHERE key = 'blob_mark')
       AND NOT EXISTS (SELECT 1 FROM blob_head h WHERE h.head = SUBSTR(b.digest, 1, 8) AND h.blob = b.id)
     UNION ALL
     SELECT 'the mark is ' || value FROM setting WHERE key = 'blob_mark' AND value NOT BETWEEN 0 AND 1 << 62",
);

/// Of single values: a row that breaks one of these cannot be read as a row of its kind.
const READABLE: &[Invariant] = &[
    (
        "the values of a node are in their ranges",
        "SELECT 'node ' || id || ' has mode ' || PRINTF('%o', mode) || ', owner ' || uid || ', group ' || gid || ', device ' || rdev
                || ', link count ' || nlink || ', size ' || size || ', blocks ' || blocks || ', version ' || version
         FROM node
         WHERE id < 1 OR mode NOT BETWEEN 0 AND 0xFFFF OR uid NOT BETWEEN 0 AND 0xFFFFFFFF
            OR mode & 0xF000 NOT IN (0x1000, 0x2000, 0x4000, 0x6000, 0x8000, 0xA000, 0xC000)
            OR gid NOT BETWEEN 0 AND 0xFFFFFFFF OR rdev NOT BETWEEN 0 AND 0xFFFFFFFF
            OR nlink NOT BETWEEN 0 AND 0xFFFFFFFF OR size < 0 OR blocks < 0 OR version < 0",
    ),
    (
        "the values of a blob are in their ranges",
        "SELECT 'blob ' || id || ' has digest ' || HEX(digest) || ', size ' || size || ', blocks ' || blocks
                || ', references ' || refs || ', place ' || place
         FROM blob WHERE LENGTH(digest) != 32 OR size < 0 OR blocks < 0 OR refs < 0 OR place NOT IN (0, 1)",
    ),
    (
        "a condemned file is named by a digest",
        "SELECT 'a condemned file is named ' || HEX(digest) FROM condemned WHERE LENGTH(digest) != 32",
    ),
];

/// Of rows among each other.
const RULES: &[Invariant] = &[
    (
        "the root is a directory",
        "SELECT CASE WHEN n.id IS NULL THEN 'the root directory is missing' ELSE 'the root is no directory' END
         FROM (SELECT 1 AS id) root LEFT JOIN node n ON n.id = root.id WHERE n.id IS NULL OR n.mode & 0xF000 != 0x4000",
    ),
    (
        "a name is 1 to 255 bytes without / and NUL",
        "SELECT 'node ' || parent || ' holds the name ' || QUOTE(name) FROM entry
         WHERE LENGTH(name) NOT BETWEEN 1 AND 255 OR INSTR(name, X'2F') OR INSTR(name, X'00')
            OR name IN (X'2E', X'2E2E')",
    ),
    (
        "every name leads to a node",
        "SELECT 'name ' || CAST(e.name AS TEXT) || ' in node ' || e.parent || ' leads to missing node ' || e.node
         FROM entry e LEFT JOIN node n ON n.id = e.node WHERE n.id IS NULL",
    ),
    (
        "every name stands in a directory",
        "SELECT 'name ' || CAST(e.name AS TEXT) || ' stands in node ' || e.parent || ', which is no directory'
         FROM entry e LEFT JOIN node n ON n.id = e.parent
         WHERE n.id IS NULL OR n.mode & 0xF000 != 0x4000",
    ),
    (
        "a directory has one name, and the root none",
        "SELECT 'directory ' || n.id || ' has ' || COUNT(e.node) || ' names'
         FROM node n LEFT JOIN entry e ON e.node = n.id WHERE n.mode & 0xF000 = 0x4000
         GROUP BY n.id HAVING COUNT(e.node) != (n.id != 1) AND (n.nlink > 0 OR COUNT(e.node) > 0)",
    ),
    (
        "every directory is reached from the root",
        "WITH RECURSIVE reached (id) AS (
             SELECT 1 UNION SELECT e.node FROM reached r JOIN entry e ON e.parent = r.id JOIN node n ON n.id = e.node
             WHERE n.mode & 0xF000 = 0x4000)
         SELECT 'directory ' || n.id || ' is not reached from the root'
         FROM node n WHERE n.mode & 0xF000 = 0x4000 AND n.nlink > 0 AND n.id NOT IN reached",
    ),
    (
        // One that was removed while somebody had it open counts 0, and has no name and no names in it.
        "the link count of a directory is 2 and one for each subdirectory",
        "SELECT 'directory ' || n.id || ' has link count ' || n.nlink || ' instead of ' || (2 + COUNT(c.id))
         FROM node n LEFT JOIN entry e ON e.parent = n.id
              LEFT JOIN node c ON c.id = e.node AND c.mode & 0xF000 = 0x4000
         WHERE n.mode & 0xF000 = 0x4000 GROUP BY n.id
         HAVING n.nlink != 2 + COUNT(c.id)
            AND (n.nlink > 0 OR n.id = 1 OR COUNT(e.name) > 0 OR EXISTS (SELECT 1 FROM entry u WHERE u.node = n.id))",
    ),
    (
        "the link count of anything else is the number of its names",
        "SELECT 'node ' || n.id || ' has link count ' || n.nlink || ' instead of ' || COUNT(e.node)
         FROM node n LEFT JOIN entry e ON e.node = n.id
         WHERE n.mode & 0xF000 != 0x4000 GROUP BY n.id HAVING n.nlink != COUNT(e.node)",
    ),
    (
        "only regular files have bodies, and each one place for it",
        "SELECT 'node ' || id || ' has a body it cannot have' FROM node
         WHERE (blob IS NOT NULL AND draft IS NOT NULL)
            OR (mode & 0xF000 != 0x8000 AND (blob IS NOT NULL OR draft IS NOT NULL))",
    ),
    (
        "only symbolic links have targets, as long as they say",
        "SELECT 'node ' || id || ' has a wrong link target' FROM node
         WHERE (target IS NOT NULL) != (mode & 0xF000 = 0xA000)
            OR (target IS NOT NULL AND (LENGTH(target) != size OR LENGTH(target) NOT BETWEEN 1 AND 4095))",
    ),
    (
        "a directory shows 4096 bytes, and a fifo, socket or device none",
        "SELECT 'node ' || id || ' shows ' || size || ' bytes' FROM node
         WHERE mode & 0xF000 NOT IN (0x8000, 0xA000) AND size != IIF(mode & 0xF000 = 0x4000, 4096, 0)",
    ),
    (
        "only devices have a device number",
        "SELECT 'node ' || id || ' is no device and has device number ' || rdev FROM node
         WHERE rdev != 0 AND mode & 0xF000 NOT IN (0x2000, 0x6000)",
    ),
    (
        "the body of a node is a blob that exists and has its size",
        "SELECT 'node ' || n.id || ' of size ' || n.size || ' names blob ' || n.blob || ' of size '
                || COALESCE(b.size, 'none')
         FROM node n LEFT JOIN blob b ON b.id = n.blob
         WHERE n.blob IS NOT NULL AND n.draft IS NULL AND (b.id IS NULL OR b.size != n.size)",
    ),
    (
        "a node without a body is empty",
        "SELECT 'file ' || id || ' has size ' || size || ' and no body' FROM node
         WHERE mode & 0xF000 = 0x8000 AND blob IS NULL AND draft IS NULL AND size != 0",
    ),
    (
        "a staging file belongs to one node",
        "SELECT 'staging file ' || draft || ' belongs to ' || COUNT(*) || ' nodes' FROM node
         WHERE draft IS NOT NULL GROUP BY draft HAVING COUNT(*) > 1",
    ),
    (
        "the references of a blob are the nodes that name it, at least one",
        "SELECT 'blob ' || b.id || ' counts ' || b.refs || ' references and has ' || COUNT(n.id)
         FROM blob b LEFT JOIN node n ON n.blob = b.id GROUP BY b.id HAVING b.refs != COUNT(n.id) OR b.refs = 0",
    ),
    UNIQUE,
    FOUND,
    (
        "bytes in the database belong to a small blob",
        "SELECT 'stored body ' || s.id || ' belongs to no small blob'
         FROM small s LEFT JOIN blob b ON b.id = s.id WHERE b.id IS NULL OR b.place != 0",
    ),
    (
        "a condemned file has no row",
        "SELECT 'blob ' || b.id || ' is condemned and has a row' FROM condemned c JOIN blob b ON b.digest = c.digest
         WHERE b.place = 1",
    ),
    (
        "an attribute belongs to a node",
        "SELECT 'attribute ' || CAST(a.key AS TEXT) || ' belongs to missing node ' || a.node
         FROM attr a LEFT JOIN node n ON n.id = a.node WHERE n.id IS NULL",
    ),
    (
        "an attribute has a key of 1 to 255 bytes without NUL, and at most 65536 bytes",
        "SELECT 'node ' || node || ' has attribute ' || QUOTE(key) || ' of ' || LENGTH(value) || ' bytes' FROM attr
         WHERE LENGTH(key) NOT BETWEEN 1 AND 255 OR INSTR(key, X'00') OR LENGTH(value) > 65536",
    ),
    (
        "node numbers are below the next one",
        "SELECT 'node ' || last || ' is the last, and the next number is ' || COALESCE(s.value, 'missing')
         FROM (SELECT COALESCE(MAX(id), 1) AS last FROM node) LEFT JOIN setting s ON s.key = 'next_node'
         WHERE s.value IS NULL OR last >= s.value",
    ),
];

/// The sentences that hold of the tables, in the order they are checked.
pub fn invariants() -> impl Iterator<Item = &'static str> {
    std::iter::once(&SOUND)
        .chain(READABLE)
        .chain(rules::READABLE)
        .chain(RULES)
        .chain(rules::RULES)
        .map(|(holds, _)| *holds)
}

/// What breaks invariants of the tables.
#[derive(Debug, Default)]
pub struct Violations {
    /// A sentence each, at most 20 for one invariant.
    pub told: Vec<String>,
    /// Whether rows cannot be read because of them: nothing else was asked then.
    pub unreadable: bool,
}

impl ReadTxn<'_> {
    /// Holds all invariants against the tables.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn violations(&self) -> Result<Violations> {
        let mut told: Vec<_> = self.unsound()?.into_iter().map(|what| format!("{what} ({})", SOUND.0)).collect();
        if told.is_empty() {
            told = self.broken(READABLE)?;
            told.extend(self.broken(rules::READABLE)?);
        }
        let unreadable = !told.is_empty();
        if !unreadable {
            told = self.broken(RULES)?;
            told.extend(self.broken(rules::RULES)?);
        }
        Ok(Violations { told, unreadable })
    }

    /// What SQLite finds wrong with its file.
    ///
    /// # Errors
    /// What SQLite reports, other than damage.
    pub(super) fn unsound(&self) -> Result<Vec<String>> {
        match self.sentences(SOUND.1) {
            // It can be too damaged to say how.
            Err(e) if e.kind() == ErrorKind::Damaged => Ok(vec![e.to_string()]),
            found => Ok(found?.into_iter().take(TOLD_MAX).collect()),
        }
    }

    pub(super) fn broken(&self, invariants: &[Invariant]) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for (holds, query) in invariants {
            let found = self.sentences(query)?;
            let more = found.len().saturating_sub(TOLD_MAX);
            told.extend(found.into_iter().take(TOLD_MAX).map(|what| format!("{what} ({holds})")));
            if more > 0 {
                told.push(format!("and {more} more ({holds})"));
            }
        }
        Ok(told)
    }

    /// The texts that a query gives, a printable line each: names in them are any bytes.
    pub(super) fn sentences(&self, query: &'static str) -> Result<Vec<String>> {
        self.each(query, [], |row| {
            let text = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
            Ok(text.replace(char::is_control, "?"))
        })
    }
}
