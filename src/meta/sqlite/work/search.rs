//! Attributes with what is known of their values, and the nodes that have them.

use rusqlite::{Row, params};

use crate::error::Result;
use crate::meta::AttrRow;
use crate::meta::sqlite::ReadTxn;
use crate::model::NodeId;

/// Each question is a range of the index `attr_value`: SQLite makes none of a comparison of pairs with an expression in them.
const BY_VALUE: &str = "SELECT SUBSTR(value, 1, 64), node FROM attr
     WHERE key = ?1 AND SUBSTR(value, 1, 64) = SUBSTR(?2, 1, 64) AND value = ?2 AND node > ?3 ORDER BY node LIMIT ?4";
const ALIKE: &str = "SELECT SUBSTR(value, 1, 64), node FROM attr
     WHERE key = ?1 AND SUBSTR(value, 1, 64) = ?2 AND node > ?3 ORDER BY node LIMIT ?4";
const BEHIND: &str = "SELECT SUBSTR(value, 1, 64), node FROM attr
     WHERE key = ?1 AND SUBSTR(value, 1, 64) > ?2 ORDER BY SUBSTR(value, 1, 64), node LIMIT ?3";

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
        self.each(BY_VALUE, params![key, value, after.0.cast_signed(), limit], |row| {
            Ok((row.get(0)?, NodeId(row.get(1)?)))
        })
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
        let found = |row: &Row<'_>| Ok((row.get(0)?, NodeId(row.get(1)?)));
        let mut all = self.each(ALIKE, params![key, beginning, node.0.cast_signed(), limit], found)?;
        if all.len() < limit {
            all.extend(self.each(BEHIND, params![key, beginning, limit - all.len()], found)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::MetaStore;

    /// Neither looks at attributes that it does not ask for, nor sorts.
    #[test]
    fn searches_are_ranges_of_an_index() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.db");
        MetaStore::create(&path).unwrap();
        let database = rusqlite::Connection::open(&path).unwrap();
        for (statement, range) in [
            (BY_VALUE, "INDEX attr_value (key=? AND <expr>=? AND node>?)"),
            (ALIKE, "INDEX attr_value (key=? AND <expr>=? AND node>?)"),
            (BEHIND, "INDEX attr_value (key=? AND <expr>>?)"),
        ] {
            let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let steps: Vec<_> =
                plan.raw_query().mapped(|row| row.get::<_, String>(3)).map(std::result::Result::unwrap).collect();
            assert_eq!(steps.len(), 1, "{steps:?}");
            assert!(steps[0].starts_with("SEARCH attr USING") && steps[0].ends_with(range), "{steps:?}");
        }
    }
}
