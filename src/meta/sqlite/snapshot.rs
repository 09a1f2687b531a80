//! The rows as they were at one moment, for whoever reads them all while others go on writing.

use std::cell::RefCell;

use rusqlite::{Connection, OpenFlags, Row, params};

use super::digests::Digests;
use super::read::{DigestColumn, node_row, select_node};
use super::{MetaStore, ReadTxn, connect, sql};
use crate::error::Result;
use crate::meta::{AttrRow, NodeRow};
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
    /// The node's extended attributes, by key.
    pub attrs: Vec<AttrRow>,
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
        conn.execute_batch("PRAGMA cache_size = -2048; BEGIN; SELECT 1 FROM setting LIMIT 1")
            .map_err(sql("begin to read"))?;
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
        let mut rows = self.each(
            select_node!(
                ", e.name, b.digest
                 FROM entry e CROSS JOIN node n ON n.id = e.node LEFT JOIN blob b ON b.id = n.blob
                 WHERE e.parent = ?1 AND e.name > ?2 ORDER BY e.name LIMIT ?3"
            ),
            params![parent.0.cast_signed(), after, limit],
            listed_row,
        )?;
        if let Some(last) = rows.last().map(|row| row.name.clone()) {
            self.add_attrs(parent, after, &last, &mut rows)?;
        }
        Ok(rows)
    }

    /// Gives entries of a directory, all of those behind `after` up to `last`, their attributes: one question for all.
    fn add_attrs(self, parent: NodeId, after: &[u8], last: &[u8], rows: &mut [ListedRow]) -> Result<()> {
        let mut at = 0;
        self.each(
            "SELECT e.name, a.key, a.value, a.json FROM entry e CROSS JOIN attr a ON a.node = e.node
             WHERE e.parent = ?1 AND e.name > ?2 AND e.name <= ?3 ORDER BY e.name, a.key",
            params![parent.0.cast_signed(), after, last],
            |row| {
                let name = row.get_ref(0)?.as_blob()?;
                // Both are in the order of names.
                while rows.get(at).is_some_and(|listed| listed.name != name) {
                    at += 1;
                }
                if let Some(listed) = rows.get_mut(at) {
                    listed.attrs.push((row.get(1)?, row.get(2)?, row.get(3)?));
                }
                Ok(())
            },
        )?;
        Ok(())
    }

    /// One entry of a directory, as [`ReadTxn::list`] has it.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn list_one(&self, parent: NodeId, name: Name<'_>) -> Result<Option<ListedRow>> {
        let mut found = self.each(
            select_node!(
                ", e.name, b.digest
                 FROM entry e JOIN node n ON n.id = e.node LEFT JOIN blob b ON b.id = n.blob
                 WHERE e.parent = ?1 AND e.name = ?2"
            ),
            params![parent.0.cast_signed(), name.as_bytes()],
            listed_row,
        )?;
        let Some(mut row) = found.pop() else { return Ok(None) };
        row.attrs = self.attrs_with_json(row.node.attr.id)?;
        Ok(Some(row))
    }
}

fn listed_row(row: &Row<'_>) -> rusqlite::Result<ListedRow> {
    Ok(ListedRow {
        node: node_row(row)?,
        name: row.get(15)?,
        digest: row.get::<_, Option<DigestColumn>>(16)?.map(|column| column.0),
        attrs: Vec::new(),
    })
}
