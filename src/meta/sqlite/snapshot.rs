//! The rows as they were at one moment, for whoever reads them all while others go on writing.

use std::cell::RefCell;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::digests::Digests;
use super::read::{DigestColumn, node_row, select_node};
use super::{MetaStore, ReadTxn, connect, sql};
use crate::error::Result;
use crate::meta::NodeRow;
use crate::model::{Digest, Name, NodeId};

/// The committed rows of one moment, on a connection of its own. While it lives the log cannot be begun anew.
#[derive(Debug)]
pub struct Snapshot {
    conn: Connection,
    digests: RefCell<Digests>,
}

/// An entry of a directory, with all that a listing of whole trees needs.
#[derive(Clone, Debug)]
pub struct ListedRow {
    /// Its name.
    pub name: Vec<u8>,
    /// The node it leads to.
    pub node: NodeRow,
    /// The digest of the node's blob, if that is its body.
    pub digest: Option<Digest>,
    /// Whether the node has extended attributes.
    pub has_attrs: bool,
}

impl MetaStore {
    /// Commits, and holds on to the rows as they are now.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.commit()?;
        let (conn, _) = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // A transaction holds nothing until it reads, sqlite.org/lang_transaction.html.
        conn.execute_batch("BEGIN; SELECT 1 FROM setting LIMIT 1").map_err(sql("begin to read"))?;
        Ok(Snapshot { conn, digests: RefCell::default() })
    }
}

impl Snapshot {
    /// The rows.
    #[must_use]
    pub fn read(&self) -> ReadTxn<'_> {
        ReadTxn::new(&self.conn, &self.digests)
    }
}

impl ReadTxn<'_> {
    /// At most `limit` entries of a directory behind the name `after`, by name; an empty name is before all.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn list(&self, parent: NodeId, after: &[u8], limit: usize) -> Result<Vec<ListedRow>> {
        self.each(
            select_node!(
                ", e.name, b.digest, EXISTS (SELECT 1 FROM attr a WHERE a.node = n.id)
                 FROM entry e JOIN node n ON n.id = e.node LEFT JOIN blob b ON b.id = n.blob
                 WHERE e.parent = ?1 AND e.name > ?2 ORDER BY e.name LIMIT ?3"
            ),
            params![parent.0.cast_signed(), after, limit],
            listed_row,
        )
    }

    /// One entry of a directory, as [`ReadTxn::list`] has it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn list_one(&self, parent: NodeId, name: Name<'_>) -> Result<Option<ListedRow>> {
        let found = self.each(
            select_node!(
                ", e.name, b.digest, EXISTS (SELECT 1 FROM attr a WHERE a.node = n.id)
                 FROM entry e JOIN node n ON n.id = e.node LEFT JOIN blob b ON b.id = n.blob
                 WHERE e.parent = ?1 AND e.name = ?2"
            ),
            params![parent.0.cast_signed(), name.as_bytes()],
            listed_row,
        )?;
        Ok(found.into_iter().next())
    }

    /// All extended attributes of a node, by key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn attrs(&self, id: NodeId) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.each("SELECT key, value FROM attr WHERE node = ?1 ORDER BY key", [id.0.cast_signed()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }
}

fn listed_row(row: &Row<'_>) -> rusqlite::Result<ListedRow> {
    Ok(ListedRow {
        node: node_row(row)?,
        name: row.get(15)?,
        digest: row.get::<_, Option<DigestColumn>>(16)?.map(|column| column.0),
        has_attrs: row.get(17)?,
    })
}
