//! Reading rows: SQL is written once per shape, beside the type of its row.

use std::cell::RefCell;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::digests::Digests;
use super::sql;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobId, BlobRow, BodyRow, EntryRow, NodeRow, Place, StagingId, Stamp};
use crate::model::{Attr, Digest, Kind, Name, NodeId, Timestamp, perm};

/// Reads rows.
#[derive(Clone, Copy, Debug)]
pub struct ReadTxn<'a> {
    pub(super) conn: &'a Connection,
    /// What finds blobs by their digests.
    pub(super) digests: &'a RefCell<Digests>,
}

macro_rules! select_node {
    ($($tail:expr),+) => {
        concat!(
            "SELECT n.id, n.mode, n.uid, n.gid, n.rdev, n.nlink, n.size, n.blocks, n.atime, n.mtime, n.ctime, \
             n.btime, n.version, n.blob, n.draft ",
            $($tail),+
        )
    };
}

pub(super) use select_node;

/// How many columns [`select_node`] names: what comes behind them begins here.
const BLOB_AT: usize = 15;

pub(super) fn node_row(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    let mode: u32 = row.get(1)?;
    let body = match (row.get::<_, Option<i64>>(13)?, row.get::<_, Option<i64>>(14)?) {
        (_, Some(draft)) => BodyRow::Draft(StagingId(draft)),
        (Some(blob), None) => BodyRow::Blob(BlobId(blob)),
        (None, None) => BodyRow::Empty,
    };
    Ok(NodeRow {
        attr: Attr {
            id: NodeId(row.get(0)?),
            kind: Kind::from_mode_bits(mode).unwrap_or(Kind::File),
            mode: mode & perm::ALL,
            uid: row.get(2)?,
            gid: row.get(3)?,
            rdev: row.get(4)?,
            nlink: row.get(5)?,
            size: row.get(6)?,
            blocks: row.get(7)?,
            atime: Timestamp(row.get(8)?),
            mtime: Timestamp(row.get(9)?),
            ctime: Timestamp(row.get(10)?),
            btime: Timestamp(row.get(11)?),
        },
        version: row.get(12)?,
        body,
    })
}

fn no_row(blob: BlobId) -> Error {
    Error::new(ErrorKind::Damaged, format!("blob {} has no row", blob.0))
}

pub(super) struct DigestColumn(pub(super) Digest);

impl FromSql for DigestColumn {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::try_from(value.as_blob()?).map(|b| Self(b.into())).map_err(|_| FromSqlError::InvalidType)
    }
}

/// The columns of blob `b`.
macro_rules! blob_columns {
    () => {
        "b.id, b.digest, b.size, b.blocks, b.refs, b.place, b.file_inode, b.file_ctime "
    };
}

macro_rules! select_blob {
    ($tail:literal) => {
        concat!("SELECT ", blob_columns!(), "FROM blob b ", $tail)
    };
}

pub(super) use blob_columns;

pub(super) use select_blob;

pub(super) fn blob_row(row: &Row<'_>) -> rusqlite::Result<BlobRow> {
    blob_row_from(row, 0)
}

/// A blob whose columns begin with this one.
fn blob_row_from(row: &Row<'_>, first: usize) -> rusqlite::Result<BlobRow> {
    let stamp = match (row.get::<_, Option<i64>>(first + 6)?, row.get(first + 7)?) {
        (Some(inode), Some(ctime)) => Some(Stamp { inode: inode.cast_unsigned(), ctime }),
        _ => None,
    };
    Ok(BlobRow {
        id: BlobId(row.get(first)?),
        digest: row.get::<_, DigestColumn>(first + 1)?.0,
        size: row.get(first + 2)?,
        blocks: row.get(first + 3)?,
        refs: row.get(first + 4)?,
        place: if row.get::<_, i64>(first + 5)? == 0 { Place::Database } else { Place::File },
        stamp,
    })
}

impl<'a> ReadTxn<'a> {
    pub(super) fn new(conn: &'a Connection, digests: &'a RefCell<Digests>) -> Self {
        Self { conn, digests }
    }

    pub(super) fn one<T>(
        self,
        statement: &'static str,
        values: impl rusqlite::Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.conn
            .prepare_cached(statement)
            .and_then(|mut s| s.query_row(values, row).optional())
            .map_err(sql("read the database"))
    }

    pub(super) fn each<T>(
        self,
        statement: &'static str,
        values: impl rusqlite::Params,
        mut row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.conn
            .prepare_cached(statement)
            .and_then(|mut s| {
                let mut rows = s.query(values)?;
                let mut all = Vec::new();
                while let Some(next) = rows.next()? {
                    all.push(row(next)?);
                }
                Ok(all)
            })
            .map_err(sql("read the database"))
    }

    /// How many rows this process has changed since it opened the store: while it is the same, so is every row, as only the
    /// process that has a store writes to it.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.conn.total_changes()
    }

    /// A value about the store.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn setting(&self, key: &str) -> Result<Option<i64>> {
        self.one("SELECT value FROM setting WHERE key = ?1", [key], |row| row.get(0))
    }

    /// The node of that number.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn find_node(&self, id: NodeId) -> Result<Option<NodeRow>> {
        self.one(select_node!("FROM node n WHERE n.id = ?1"), [id.0.cast_signed()], node_row)
    }

    /// The node of that number, or `NotFound`.
    ///
    /// # Errors
    /// `NotFound`, or what SQLite reports.
    pub fn node(&self, id: NodeId) -> Result<NodeRow> {
        self.find_node(id)?.ok_or_else(|| Error::new(ErrorKind::NotFound, "find a node"))
    }

    /// A node, and the blob that is its body, if one is.
    ///
    /// # Errors
    /// `NotFound`; `Damaged` for a body without a row; what SQLite reports.
    pub fn node_with_blob(&self, id: NodeId) -> Result<(NodeRow, Option<BlobRow>)> {
        let found = self.one(
            select_node!(", ", blob_columns!(), "FROM node n LEFT JOIN blob b ON b.id = n.blob WHERE n.id = ?1"),
            [id.0.cast_signed()],
            |row| {
                let blob =
                    if row.get_ref(BLOB_AT)? == ValueRef::Null { None } else { Some(blob_row_from(row, BLOB_AT)?) };
                Ok((node_row(row)?, blob))
            },
        )?;
        match found.ok_or_else(|| Error::new(ErrorKind::NotFound, "find a node"))? {
            (NodeRow { body: BodyRow::Blob(blob), .. }, None) => Err(no_row(blob)),
            (node, blob) => Ok((node, blob)),
        }
    }

    /// The node that a name leads to.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn child(&self, parent: NodeId, name: Name<'_>) -> Result<Option<NodeRow>> {
        self.one(
            select_node!("FROM entry e JOIN node n ON n.id = e.node WHERE e.parent = ?1 AND e.name = ?2"),
            params![parent.0.cast_signed(), name.as_bytes()],
            node_row,
        )
    }

    /// Whether a directory holds a name.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_children(&self, parent: NodeId) -> Result<bool> {
        let found = self.one("SELECT 1 FROM entry WHERE parent = ?1 LIMIT 1", [parent.0.cast_signed()], |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// The place of the last entry of a directory; 2 when there is none.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn last_place(&self, parent: NodeId) -> Result<i64> {
        let last =
            self.one("SELECT MAX(place) FROM entry WHERE parent = ?1", [parent.0.cast_signed()], |row| row.get(0));
        Ok(last?.flatten().unwrap_or(2))
    }

    /// At most `limit` entries of a directory behind a place and up to another, in the order in which they were made.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn listed(&self, parent: NodeId, (after, last): (i64, i64), limit: usize) -> Result<Vec<EntryRow>> {
        self.each(
            "SELECT e.name, e.node, n.mode, e.place FROM entry e JOIN node n ON n.id = e.node
             WHERE e.parent = ?1 AND e.place > ?2 AND e.place <= ?3 ORDER BY e.place LIMIT ?4",
            params![parent.0.cast_signed(), after, last, limit],
            |row| {
                let kind = Kind::from_mode_bits(row.get(2)?).unwrap_or(Kind::File);
                Ok(EntryRow { name: row.get(0)?, node: NodeId(row.get(1)?), kind, place: row.get(3)? })
            },
        )
    }

    /// As [`ReadTxn::listed`], with the nodes.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn listed_with_nodes(
        &self,
        parent: NodeId,
        (after, last): (i64, i64),
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, NodeRow, i64)>> {
        self.each(
            select_node!(
                ", e.name, e.place FROM entry e JOIN node n ON n.id = e.node
                 WHERE e.parent = ?1 AND e.place > ?2 AND e.place <= ?3 ORDER BY e.place LIMIT ?4"
            ),
            params![parent.0.cast_signed(), after, last, limit],
            |row| Ok((row.get(15)?, node_row(row)?, row.get(16)?)),
        )
    }

    /// At most `limit` names of a directory behind the name `after`, by name, with their nodes; an empty name is before all.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn children_with_nodes(&self, parent: NodeId, after: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, NodeRow)>> {
        self.each(
            select_node!(
                ", e.name FROM entry e JOIN node n ON n.id = e.node
                 WHERE e.parent = ?1 AND e.name > ?2 ORDER BY e.name LIMIT ?3"
            ),
            params![parent.0.cast_signed(), after, limit],
            |row| Ok((row.get(15)?, node_row(row)?)),
        )
    }

    /// The directory and name of every entry that leads to a node.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn names_of(&self, id: NodeId) -> Result<Vec<(NodeId, Vec<u8>)>> {
        self.each("SELECT parent, name FROM entry WHERE node = ?1", [id.0.cast_signed()], |row| {
            Ok((NodeId(row.get(0)?), row.get(1)?))
        })
    }

    /// The directory that holds a directory; `None` for the root and for removed ones.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn parent_of(&self, id: NodeId) -> Result<Option<NodeId>> {
        self.one("SELECT parent FROM entry WHERE node = ?1 LIMIT 1", [id.0.cast_signed()], |row| row.get(0).map(NodeId))
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// `Invalid` when the node is none.
    pub fn link_target(&self, id: NodeId) -> Result<Vec<u8>> {
        self.one("SELECT target FROM node WHERE id = ?1", [id.0.cast_signed()], |row| row.get(0))?
            .flatten()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "read a symbolic link"))
    }

    /// Nodes whose body is a blob.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn nodes_of_blob(&self, id: BlobId) -> Result<Vec<NodeId>> {
        self.each("SELECT id FROM node WHERE blob = ?1", [id.0], |row| row.get(0).map(NodeId))
    }

    /// Nodes that have a staging file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn drafts(&self) -> Result<Vec<NodeRow>> {
        self.each(select_node!("FROM node n WHERE n.draft IS NOT NULL"), [], node_row)
    }

    /// Whether a node has this staging file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_draft(&self, id: StagingId) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM node WHERE draft = ?1 LIMIT 1", [id.0], |_| Ok(()))?.is_some())
    }

    /// Nodes without a name that were still open. A count of 0 alone does not make one: it can be wrong, and what still
    /// has a name or holds names must not be taken for removed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn orphans(&self) -> Result<Vec<NodeRow>> {
        self.each(
            select_node!(
                "FROM node n WHERE n.nlink = 0 AND n.id != 1
                    AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.node = n.id)
                    AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.parent = n.id)"
            ),
            [],
            node_row,
        )
    }

    /// A blob by its number.
    ///
    /// # Errors
    /// `Damaged` when it does not exist: nodes name only blobs that do.
    pub fn blob(&self, id: BlobId) -> Result<BlobRow> {
        self.one(select_blob!("WHERE id = ?1"), [id.0], blob_row)?.ok_or_else(|| no_row(id))
    }

    /// The bytes of a small body as they are stored; `None` when they are missing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn small_body(&self, id: BlobId) -> Result<Option<Vec<u8>>> {
        self.one("SELECT body FROM small WHERE id = ?1", [id.0], |row| row.get(0))
    }

    /// Files of `cas/` whose rows are gone.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn condemned(&self) -> Result<Vec<Digest>> {
        self.each("SELECT digest FROM condemned", [], |row| row.get::<_, DigestColumn>(0).map(|d| d.0))
    }

    /// Whether a file of `cas/` has lost its row and waits to be removed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn is_condemned(&self, digest: &Digest) -> Result<bool> {
        let found = self.one("SELECT 1 FROM condemned WHERE digest = ?1", [digest.as_bytes()], |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// One extended attribute.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn attr(&self, id: NodeId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.one("SELECT value FROM attr WHERE node = ?1 AND key = ?2", params![id.0.cast_signed(), key], |row| {
            row.get(0)
        })
    }

    /// The keys of all extended attributes of a node, by key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn attr_keys(&self, id: NodeId) -> Result<Vec<Vec<u8>>> {
        self.each("SELECT key FROM attr WHERE node = ?1 ORDER BY key", [id.0.cast_signed()], |row| row.get(0))
    }

    /// How many nodes there are.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_nodes(&self) -> Result<u64> {
        Ok(self.one("SELECT COUNT(*) FROM node", [], |row| row.get(0))?.unwrap_or(0))
    }

    /// All blobs, by number, at most `limit` behind `after`.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn blobs(&self, after: BlobId, limit: usize) -> Result<Vec<BlobRow>> {
        self.each(select_blob!("WHERE id > ?1 ORDER BY id LIMIT ?2"), params![after.0, limit], blob_row)
    }

    /// How many blobs there are, and how many bytes they have together.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_blobs(&self) -> Result<(u64, u64)> {
        let counted =
            self.one("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM blob", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(counted.unwrap_or_default())
    }
}
