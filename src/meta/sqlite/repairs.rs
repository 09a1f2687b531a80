//! What mends tables that break an invariant, as far as the tables alone can tell what is right.
//!
//! A repair is a query that gives a sentence for each row it is going to mend, and the statements that do it. It throws
//! away no bytes that any node could want; which nodes get new names, and what their bytes are, `vfs/repair` decides.

use rusqlite::params;

use super::read::{ReadTxn, node_row, select_node};
use super::write::WriteTxn;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobId, BlobRow, NodeRow, Place, StagingId};
use crate::model::NodeId;

/// Sentences, and what makes them true.
type Repair = (&'static str, &'static [&'static str]);

/// A number above all that nodes have or were to get; with it, `fresh - id` is new and different for each `id` below 1.
macro_rules! fresh {
    () => {
        "(SELECT MAX(COALESCE(MAX(id), 1), COALESCE((SELECT value FROM setting WHERE key = 'next_node'), 1)) + 1 \
         FROM node)"
    };
}

/// Values out of their ranges. Counts and sizes only become readable here: others below make them right.
const VALUES: &[Repair] = &[
    (
        concat!("SELECT 'node ' || id || ' has number ' || (", fresh!(), " - id) || ' now' FROM node WHERE id < 1"),
        &[
            concat!("UPDATE entry SET parent = ", fresh!(), " - parent WHERE parent < 1"),
            concat!("UPDATE entry SET node = ", fresh!(), " - node WHERE node < 1"),
            concat!("UPDATE attr SET node = ", fresh!(), " - node WHERE node < 1"),
            concat!("UPDATE node SET id = ", fresh!(), " - id WHERE id < 1"),
        ],
    ),
    (
        // Numbers that were given and are free again are not known any more: leave them a wide margin.
        "SELECT 'the next node number is ' || (last + 1000000) || ' now' FROM (SELECT COALESCE(MAX(id), 1) AS last FROM node)
         LEFT JOIN setting s ON s.key = 'next_node' WHERE s.value IS NULL OR last >= s.value",
        &["INSERT OR REPLACE INTO setting (key, value)
           SELECT 'next_node', last + 1000000 FROM (SELECT COALESCE(MAX(id), 1) AS last FROM node)
           LEFT JOIN setting s ON s.key = 'next_node' WHERE s.value IS NULL OR last >= s.value"],
    ),
    (
        "SELECT 'node ' || id || ' has mode ' || PRINTF('%o', mode & 0xFFFF) || ' instead of ' || PRINTF('%o', mode) || ' now' FROM node
         WHERE mode NOT BETWEEN 0 AND 0xFFFF",
        &["UPDATE node SET mode = mode & 0xFFFF WHERE mode NOT BETWEEN 0 AND 0xFFFF"],
    ),
    (
        "SELECT 'node ' || id || ' of mode ' || PRINTF('%o', mode) || ' and of no kind is '
                || CASE WHEN id IN (SELECT parent FROM entry)
                             OR (size = 4096 AND blob IS NULL AND draft IS NULL AND target IS NULL) THEN 'a directory'
                        WHEN target IS NOT NULL THEN 'a symbolic link' ELSE 'a regular file' END || ' now'
         FROM node WHERE mode & 0xF000 NOT IN (0x1000, 0x2000, 0x4000, 0x6000, 0x8000, 0xA000, 0xC000)",
        &["UPDATE node SET mode = (mode & 0xFFF)
                | CASE WHEN id IN (SELECT parent FROM entry)
                            OR (size = 4096 AND blob IS NULL AND draft IS NULL AND target IS NULL) THEN 0x4000
                       WHEN target IS NOT NULL THEN 0xA000
                       ELSE 0x8000 END
           WHERE mode & 0xF000 NOT IN (0x1000, 0x2000, 0x4000, 0x6000, 0x8000, 0xA000, 0xC000)"],
    ),
    (
        // Nothing but a directory holds names and has this size without a body.
        "SELECT 'node ' || id || ' is the directory again whose names it holds' FROM node
         WHERE mode & 0xF000 != 0x4000 AND id IN (SELECT parent FROM entry)
           AND size = 4096 AND blob IS NULL AND draft IS NULL AND target IS NULL",
        &["UPDATE node SET mode = mode & 0xFFF | 0x4000
           WHERE mode & 0xF000 != 0x4000 AND id IN (SELECT parent FROM entry)
             AND size = 4096 AND blob IS NULL AND draft IS NULL AND target IS NULL"],
    ),
    (
        // Without 0xE00: what was set-user-ID of somebody must not become set-user-ID of root.
        "SELECT 'node ' || id || ' of owner ' || uid || ' and group ' || gid || ' belongs to root now' FROM node
         WHERE uid NOT BETWEEN 0 AND 0xFFFFFFFF OR gid NOT BETWEEN 0 AND 0xFFFFFFFF",
        &["UPDATE node SET uid = 0, gid = 0, mode = mode & 0xF1FF
           WHERE uid NOT BETWEEN 0 AND 0xFFFFFFFF OR gid NOT BETWEEN 0 AND 0xFFFFFFFF"],
    ),
    (
        "SELECT 'node ' || id || ' has device number 0 instead of ' || rdev || ' now' FROM node
         WHERE rdev NOT BETWEEN 0 AND 0xFFFFFFFF OR (rdev != 0 AND mode & 0xF000 NOT IN (0x2000, 0x6000))",
        &["UPDATE node SET rdev = 0
           WHERE rdev NOT BETWEEN 0 AND 0xFFFFFFFF OR (rdev != 0 AND mode & 0xF000 NOT IN (0x2000, 0x6000))"],
    ),
    (
        "SELECT 'node ' || id || ' had link count ' || nlink || ', size ' || size || ', blocks ' || blocks
                || ', version ' || version || ', which cannot be'
         FROM node WHERE nlink NOT BETWEEN 0 AND 0xFFFFFFFF OR size < 0 OR blocks < 0 OR version < 0",
        &["UPDATE node SET nlink = IIF(nlink BETWEEN 0 AND 0xFFFFFFFF, nlink, 1), size = MAX(size, 0),
                           blocks = MAX(blocks, 0), version = IIF(version < 0, 1, version)
           WHERE nlink NOT BETWEEN 0 AND 0xFFFFFFFF OR size < 0 OR blocks < 0 OR version < 0"],
    ),
    (
        "SELECT 'blob ' || id || ' had size ' || size || ', blocks ' || blocks || ', references ' || refs || ', place '
                || place || ', which cannot be'
         FROM blob WHERE size < 0 OR blocks < 0 OR refs < 0 OR place NOT IN (0, 1)",
        &["UPDATE blob SET size = MAX(size, 0), blocks = MAX(blocks, 0), refs = MAX(refs, 0),
                           place = IIF(place IN (0, 1), place, id NOT IN (SELECT id FROM small))
           WHERE size < 0 OR blocks < 0 OR refs < 0 OR place NOT IN (0, 1)"],
    ),
    (
        "SELECT 'a condemned file of the impossible name ' || HEX(digest) || ' is forgotten' FROM condemned
         WHERE LENGTH(digest) != 32",
        &["DELETE FROM condemned WHERE LENGTH(digest) != 32"],
    ),
];

/// Names that cannot be. What they led to is reached by another name, or found later.
const NAMES: &[Repair] = &[
    (
        "SELECT 'the impossible name ' || QUOTE(name) || ' of node ' || node || ' is removed' FROM entry
         WHERE LENGTH(name) NOT BETWEEN 1 AND 255 OR INSTR(name, X'2F') OR INSTR(name, X'00')
            OR name IN (X'2E', X'2E2E')",
        &["DELETE FROM entry WHERE LENGTH(name) NOT BETWEEN 1 AND 255 OR INSTR(name, X'2F') OR INSTR(name, X'00')
              OR name IN (X'2E', X'2E2E')"],
    ),
    (
        "SELECT 'the name ' || CAST(name AS TEXT) || ', which led to missing node ' || node || ', is removed' FROM entry
         WHERE node NOT IN (SELECT id FROM node)",
        &["DELETE FROM entry WHERE node NOT IN (SELECT id FROM node)"],
    ),
    (
        "SELECT 'the name ' || CAST(name AS TEXT) || ' of node ' || node || ', which stood in no directory, is removed'
         FROM entry WHERE parent NOT IN (SELECT id FROM node WHERE mode & 0xF000 = 0x4000)",
        &["DELETE FROM entry WHERE parent NOT IN (SELECT id FROM node WHERE mode & 0xF000 = 0x4000)"],
    ),
    (
        "SELECT 'the name ' || CAST(name AS TEXT) || ' of the root directory is removed' FROM entry WHERE node = 1",
        &["DELETE FROM entry WHERE node = 1"],
    ),
];

/// What nodes of each kind have besides a body. A link whose kind was lost still has its target, as long as its size.
const KINDS: &[Repair] = &[
    (
        "SELECT 'node ' || id || ' is the symbolic link again whose target it has' FROM node
         WHERE target IS NOT NULL AND mode & 0xF000 = 0x8000 AND blob IS NULL AND draft IS NULL
           AND LENGTH(target) = size AND size BETWEEN 1 AND 4095",
        &["UPDATE node SET mode = mode & 0xFFF | 0xA000
           WHERE target IS NOT NULL AND mode & 0xF000 = 0x8000 AND blob IS NULL AND draft IS NULL
             AND LENGTH(target) = size AND size BETWEEN 1 AND 4095"],
    ),
    (
        "SELECT 'node ' || id || ' is no symbolic link and loses its target ' || CAST(target AS TEXT) FROM node
         WHERE target IS NOT NULL AND mode & 0xF000 != 0xA000",
        &["UPDATE node SET target = NULL WHERE target IS NOT NULL AND mode & 0xF000 != 0xA000"],
    ),
    (
        "SELECT 'node ' || id || ', a symbolic link that leads nowhere, is an empty file now' FROM node
         WHERE mode & 0xF000 = 0xA000 AND (target IS NULL OR LENGTH(target) NOT BETWEEN 1 AND 4095)",
        &["UPDATE node SET mode = 0x8180, target = NULL, size = 0
           WHERE mode & 0xF000 = 0xA000 AND (target IS NULL OR LENGTH(target) NOT BETWEEN 1 AND 4095)"],
    ),
    (
        "SELECT 'symbolic link ' || id || ' has size ' || LENGTH(target) || ' now' FROM node
         WHERE target IS NOT NULL AND LENGTH(target) != size",
        &["UPDATE node SET size = LENGTH(target) WHERE target IS NOT NULL AND LENGTH(target) != size"],
    ),
    (
        "SELECT 'node ' || id || ' shows ' || IIF(mode & 0xF000 = 0x4000, 4096, 0) || ' bytes now' FROM node
         WHERE mode & 0xF000 NOT IN (0x8000, 0xA000) AND size != IIF(mode & 0xF000 = 0x4000, 4096, 0)",
        &["UPDATE node SET size = IIF(mode & 0xF000 = 0x4000, 4096, 0), blocks = IIF(mode & 0xF000 = 0x4000, 8, 0)
           WHERE mode & 0xF000 NOT IN (0x8000, 0xA000) AND size != IIF(mode & 0xF000 = 0x4000, 4096, 0)"],
    ),
];

/// What can be counted, and what nobody has.
const COUNTS: &[Repair] = &[
    (
        "SELECT 'node ' || n.id || ' has size ' || b.size || ' of its body now' FROM node n JOIN blob b ON b.id = n.blob
         WHERE b.size != n.size",
        &["UPDATE node SET size = b.size, blocks = b.blocks FROM blob b WHERE b.id = node.blob AND b.size != node.size"],
    ),
    (
        "SELECT 'the attribute ' || CAST(key AS TEXT) || ' of missing node ' || node || ' is removed' FROM attr
         WHERE node NOT IN (SELECT id FROM node)",
        &["DELETE FROM attr WHERE node NOT IN (SELECT id FROM node)"],
    ),
    (
        "SELECT 'the impossible attribute ' || QUOTE(key) || ' of ' || LENGTH(value) || ' bytes of node ' || node
                || ' is removed'
         FROM attr WHERE LENGTH(key) NOT BETWEEN 1 AND 255 OR INSTR(key, X'00') OR LENGTH(value) > 65536",
        &["DELETE FROM attr WHERE LENGTH(key) NOT BETWEEN 1 AND 255 OR INSTR(key, X'00') OR LENGTH(value) > 65536"],
    ),
    (
        "SELECT 'blob ' || LOWER(HEX(digest)) || ', which no node names, is removed' FROM blob
         WHERE id NOT IN (SELECT blob FROM node WHERE blob IS NOT NULL)",
        &[
            "INSERT OR IGNORE INTO condemned (digest) SELECT digest FROM blob
             WHERE place = 1 AND id NOT IN (SELECT blob FROM node WHERE blob IS NOT NULL)",
            "DELETE FROM small WHERE id IN (SELECT id FROM blob)
                AND id NOT IN (SELECT blob FROM node WHERE blob IS NOT NULL)",
            "DELETE FROM blob WHERE id NOT IN (SELECT blob FROM node WHERE blob IS NOT NULL)",
        ],
    ),
    (
        "SELECT 'blob ' || LOWER(HEX(b.digest)) || ' counts ' || COUNT(n.id) || ' references instead of ' || b.refs || ' now'
         FROM blob b JOIN node n ON n.blob = b.id GROUP BY b.id HAVING b.refs != COUNT(n.id)",
        &["UPDATE blob SET refs = (SELECT COUNT(*) FROM node n WHERE n.blob = blob.id)"],
    ),
    (
        "SELECT 'stored body ' || id || ', which belongs to no small blob, is removed' FROM small
         WHERE id NOT IN (SELECT id FROM blob WHERE place = 0)",
        &["DELETE FROM small WHERE id NOT IN (SELECT id FROM blob WHERE place = 0)"],
    ),
    (
        "SELECT 'blob ' || LOWER(HEX(digest)) || ' is no longer condemned' FROM condemned
         WHERE digest IN (SELECT digest FROM blob WHERE place = 1)",
        &["DELETE FROM condemned WHERE digest IN (SELECT digest FROM blob WHERE place = 1)"],
    ),
    (
        "SELECT 'directory ' || n.id || ' has link count ' || (2 + COUNT(c.id)) || ' instead of ' || n.nlink || ' now'
         FROM node n LEFT JOIN entry e ON e.parent = n.id
              LEFT JOIN node c ON c.id = e.node AND c.mode & 0xF000 = 0x4000
         WHERE n.mode & 0xF000 = 0x4000 AND (n.id = 1 OR n.id IN (SELECT node FROM entry))
         GROUP BY n.id HAVING n.nlink != 2 + COUNT(c.id)",
        &["UPDATE node SET nlink = 2 + (SELECT COUNT(*) FROM entry e JOIN node c ON c.id = e.node
                                        WHERE e.parent = node.id AND c.mode & 0xF000 = 0x4000)
           WHERE mode & 0xF000 = 0x4000 AND (id = 1 OR id IN (SELECT node FROM entry))"],
    ),
    (
        "SELECT 'node ' || n.id || ' has link count ' || COUNT(e.node) || ' instead of ' || n.nlink || ' now'
         FROM node n LEFT JOIN entry e ON e.node = n.id
         WHERE n.mode & 0xF000 != 0x4000 GROUP BY n.id HAVING n.nlink != COUNT(e.node)",
        &["UPDATE node SET nlink = (SELECT COUNT(*) FROM entry e WHERE e.node = node.id)
           WHERE mode & 0xF000 != 0x4000"],
    ),
];

/// A body that a node names beside another one, or though it is no regular file.
#[derive(Debug, Clone, Copy)]
pub struct ForeignBody {
    /// The node.
    pub node: NodeRow,
    /// The blob it names.
    pub blob: Option<BlobId>,
    /// The staging file it names.
    pub draft: Option<StagingId>,
}

impl ReadTxn<'_> {
    /// All names of directories, in their order: where they stand, the name, the directory.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn directory_names(&self) -> Result<Vec<(NodeId, Vec<u8>, NodeId)>> {
        self.each(
            "SELECT e.parent, e.name, e.node FROM entry e JOIN node n ON n.id = e.node WHERE n.mode & 0xF000 = 0x4000
             ORDER BY e.parent, e.name",
            [],
            |row| Ok((NodeId(row.get(0)?), row.get(1)?, NodeId(row.get(2)?))),
        )
    }

    /// All directories that should have a name, and the root.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn directories(&self) -> Result<Vec<NodeId>> {
        self.each(
            "SELECT id FROM node WHERE mode & 0xF000 = 0x4000
                AND (nlink > 0 OR id IN (SELECT parent FROM entry) OR id IN (SELECT node FROM entry)) ORDER BY id",
            [],
            |row| row.get(0).map(NodeId),
        )
    }

    /// All that are no directories, have no name and were not removed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn nameless(&self) -> Result<Vec<NodeId>> {
        self.each(
            "SELECT id FROM node WHERE mode & 0xF000 != 0x4000 AND nlink > 0 AND id NOT IN (SELECT node FROM entry)
             ORDER BY id",
            [],
            |row| row.get(0).map(NodeId),
        )
    }

    /// Nodes with a body they cannot have.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn foreign_bodies(&self) -> Result<Vec<ForeignBody>> {
        self.each(
            select_node!(
                "FROM node n WHERE (n.blob IS NOT NULL AND n.draft IS NOT NULL)
                    OR (n.mode & 0xF000 != 0x8000 AND (n.blob IS NOT NULL OR n.draft IS NOT NULL))"
            ),
            [],
            |row| {
                let blob = row.get::<_, Option<i64>>(13)?.map(BlobId);
                let draft = row.get::<_, Option<i64>>(14)?.map(StagingId);
                Ok(ForeignBody { node: node_row(row)?, blob, draft })
            },
        )
    }

    /// Files whose body no row tells of.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn bodiless(&self) -> Result<Vec<NodeRow>> {
        self.each(
            select_node!(
                "FROM node n WHERE n.mode & 0xF000 = 0x8000 AND n.draft IS NULL
                    AND IIF(n.blob IS NULL, n.size != 0, n.blob NOT IN (SELECT id FROM blob))"
            ),
            [],
            node_row,
        )
    }
}

impl WriteTxn<'_> {
    /// Makes the indexes anew if they are what is wrong with the database; what was done.
    ///
    /// # Errors
    /// `Damaged` when that does not help: rows are lost then, and nothing here knows which.
    pub fn mend_indexes(&self) -> Result<Vec<String>> {
        if self.unsound()?.is_empty() {
            return Ok(Vec::new());
        }
        let lost = |e: Option<Error>| {
            let error = Error::new(
                ErrorKind::Damaged,
                "mend the database of the store, metadata.db: rows are lost; restore it from a backup, or copy what can \
                 still be read to a new store",
            );
            match e {
                Some(e) => error.because(e),
                None => error,
            }
        };
        self.change("REINDEX", []).map_err(|e| lost(Some(e)))?;
        self.rebuild_digests().map_err(|e| lost(Some(e)))?;
        if self.unsound()?.is_empty() {
            Ok(vec!["the indexes of the database are made anew".into()])
        } else {
            Err(lost(None))
        }
    }

    /// Brings values into their ranges.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_values(&self) -> Result<Vec<String>> {
        self.mend(VALUES)
    }

    /// Removes names that cannot be.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_names(&self) -> Result<Vec<String>> {
        self.mend(NAMES)
    }

    /// Gives nodes what belongs to their kind.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_kinds(&self) -> Result<Vec<String>> {
        self.mend(KINDS)
    }

    /// Counts again what can be counted, and removes what nobody has.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn mend_counts(&self) -> Result<Vec<String>> {
        self.mend(COUNTS)
    }

    /// A node number that was never used.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn take_node_number(&self) -> Result<NodeId> {
        let next = self
            .setting("next_node")?
            .ok_or_else(|| Error::new(ErrorKind::Damaged, "the database has no next node number"))?;
        self.set_setting("next_node", next + 1)?;
        Ok(NodeId(next.cast_unsigned()))
    }

    /// Writes where the bytes of a blob are and how many.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn correct_blob(&self, blob: &BlobRow) -> Result<()> {
        self.change(
            "UPDATE blob SET size = ?2, place = ?3 WHERE id = ?1",
            params![blob.id.0, blob.size, i64::from(blob.place == Place::File)],
        )?;
        Ok(())
    }

    fn mend(&self, repairs: &[Repair]) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for (tells, mends) in repairs {
            let found = self.sentences(tells)?;
            if found.is_empty() {
                continue;
            }
            told.extend(found);
            for statement in *mends {
                self.change(statement, [])?;
            }
        }
        Ok(told)
    }
}
