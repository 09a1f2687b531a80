//! Attributes with what is known of their values, and the nodes that have them.

use rusqlite::params;

use crate::error::Result;
use crate::meta::AttrRow;
use crate::meta::sqlite::ReadTxn;
use crate::model::NodeId;

impl ReadTxn<'_> {
    /// One extended attribute, and whether it is the text of a JSON value that is no string.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn attr_with_json(&self, id: NodeId, key: &[u8]) -> Result<Option<(Vec<u8>, bool)>> {
        self.one("SELECT value, json FROM attr WHERE node = ?1 AND key = ?2", params![id.0.cast_signed(), key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }

    /// All extended attributes of a node, by key.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn attrs_with_json(&self, id: NodeId) -> Result<Vec<AttrRow>> {
        self.each("SELECT key, value, json FROM attr WHERE node = ?1 ORDER BY key", [id.0.cast_signed()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }

    /// Nodes whose attribute of a key has just this value, at most `limit` behind a node; with the beginning of the value.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn nodes_with_value(
        &self,
        key: &[u8],
        value: &[u8],
        after: NodeId,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, NodeId)>> {
        self.each(
            "SELECT SUBSTR(value, 1, 64), node FROM attr
             WHERE key = ?1 AND SUBSTR(value, 1, 64) = SUBSTR(?2, 1, 64) AND value = ?2 AND node > ?3 ORDER BY node LIMIT ?4",
            params![key, value, after.0.cast_signed(), limit],
            |row| Ok((row.get(0)?, NodeId(row.get(1)?))),
        )
    }

    /// Nodes that have an attribute of a key, by the beginning of its value, at most `limit` behind a beginning and node.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn nodes_with_key(
        &self,
        key: &[u8],
        (beginning, node): (&[u8], NodeId),
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, NodeId)>> {
        self.each(
            "SELECT SUBSTR(value, 1, 64), node FROM attr
             WHERE key = ?1 AND (SUBSTR(value, 1, 64), node) > (?2, ?3) ORDER BY SUBSTR(value, 1, 64), node LIMIT ?4",
            params![key, beginning, node.0.cast_signed(), limit],
            |row| Ok((row.get(0)?, NodeId(row.get(1)?))),
        )
    }
}
