//! What is true of the tables after every operation, a query each that finds what breaks it.

use super::rows::ReadTxn;
use crate::error::Result;

/// How many violations of one invariant are told.
const TOLD_MAX: usize = 20;

/// The sentence that holds, and the query that gives a text for each row that breaks it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "every name leads to a node",
        "SELECT 'name ' || quote(e.name) || ' in node ' || e.parent || ' leads to missing node ' || e.node
         FROM entry e LEFT JOIN node n ON n.id = e.node WHERE n.id IS NULL",
    ),
    (
        "every name stands in a directory",
        "SELECT 'name ' || quote(e.name) || ' stands in node ' || e.parent || ', which is no directory'
         FROM entry e LEFT JOIN node n ON n.id = e.parent
         WHERE n.id IS NULL OR n.mode & 0xF000 != 0x4000",
    ),
    (
        "a directory has one name, and the root none",
        "SELECT 'directory ' || n.id || ' has ' || COUNT(e.node) || ' names'
         FROM node n LEFT JOIN entry e ON e.node = n.id WHERE n.mode & 0xF000 = 0x4000 AND n.nlink > 0
         GROUP BY n.id HAVING COUNT(e.node) != (n.id != 1)",
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
        "the link count of a directory is 2 and one for each subdirectory",
        "SELECT 'directory ' || n.id || ' has link count ' || n.nlink || ' instead of ' || (2 + COUNT(c.id))
         FROM node n LEFT JOIN entry e ON e.parent = n.id
              LEFT JOIN node c ON c.id = e.node AND c.mode & 0xF000 = 0x4000
         WHERE n.mode & 0xF000 = 0x4000 AND n.nlink > 0 GROUP BY n.id HAVING n.nlink != 2 + COUNT(c.id)",
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
         WHERE (target IS NOT NULL) != (mode & 0xF000 = 0xA000) OR (target IS NOT NULL AND LENGTH(target) != size)",
    ),
    (
        "the body of a node is a blob that exists and has its size",
        "SELECT 'node ' || n.id || ' of size ' || n.size || ' names blob ' || n.blob || ' of size '
                || COALESCE(b.size, 'none')
         FROM node n LEFT JOIN blob b ON b.id = n.blob
         WHERE n.blob IS NOT NULL AND (b.id IS NULL OR b.size != n.size)",
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
        "the references of a blob are the nodes that name it",
        "SELECT 'blob ' || b.id || ' counts ' || b.refs || ' references instead of ' || COUNT(n.id)
         FROM blob b LEFT JOIN node n ON n.blob = b.id GROUP BY b.id HAVING b.refs != COUNT(n.id)",
    ),
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
        "SELECT 'attribute ' || quote(a.key) || ' belongs to missing node ' || a.node
         FROM attr a LEFT JOIN node n ON n.id = a.node WHERE n.id IS NULL",
    ),
    (
        "node numbers are below the next one",
        "SELECT 'node ' || MAX(n.id) || ' is beyond the next number ' || s.value
         FROM node n, setting s WHERE s.key = 'next_node' GROUP BY s.value HAVING MAX(n.id) >= s.value",
    ),
    ("the database is sound", "SELECT quick_check FROM pragma_quick_check WHERE quick_check != 'ok'"),
];

impl ReadTxn<'_> {
    /// A sentence for each violation of an invariant of the tables, at most 20 for one invariant.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn violations(&self) -> Result<Vec<String>> {
        let mut told = Vec::new();
        for (holds, query) in INVARIANTS {
            let found = self.each(query, [], |row| row.get::<_, String>(0))?;
            let more = found.len().saturating_sub(TOLD_MAX);
            told.extend(found.into_iter().take(TOLD_MAX).map(|what| format!("{what} ({holds})")));
            if more > 0 {
                told.push(format!("and {more} more ({holds})"));
            }
        }
        Ok(told)
    }
}
