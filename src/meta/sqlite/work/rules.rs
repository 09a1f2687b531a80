//! What is true of the tables of the queue, and what makes the impossible go. What follows from the text of attributes,
//! `work/check.rs` holds against them.

use super::shown::{attribute, content_hash, instant, name_of};
use crate::error::Result;
use crate::meta::sqlite::invariants::Invariant;
use crate::meta::sqlite::{ReadTxn, WriteTxn};
use crate::model::NodeId;

/// Of single values.
pub(in crate::meta::sqlite) const READABLE: &[Invariant] = &[
    (
        "the values of a work item are in their ranges",
        "SELECT 'work item ' || node || ' has status ' || QUOTE(status) || ', open ' || open || ', claim ' || claim FROM work
         WHERE node < 1 OR open < 0 OR claim < 0
            OR status NOT IN ('ready', 'pending', 'blocked', 'in_progress', 'completed', 'failed')",
    ),
    (
        "the values of a dependency are in their ranges",
        "SELECT 'file ' || item || ' depends on file ' || target FROM dependency WHERE item < 1 OR target < 1",
    ),
];

/// Of rows among each other.
pub(in crate::meta::sqlite) const RULES: &[Invariant] = &[
    (
        "a work item is a regular file with a name and a status",
        "SELECT 'work item ' || w.node || ' is none' FROM work w LEFT JOIN node n ON n.id = w.node
         WHERE n.id IS NULL OR n.mode & 0xF000 != 0x8000 OR n.nlink = 0
            OR NOT EXISTS (SELECT 1 FROM attr a WHERE a.node = w.node AND a.key = CAST('user.status' AS BLOB))",
    ),
    (
        "a dependency leads from a file that says so to another file",
        "SELECT 'file ' || d.item || ' depends on file ' || d.target || ', which cannot be'
         FROM dependency d LEFT JOIN node i ON i.id = d.item LEFT JOIN node t ON t.id = d.target
         WHERE d.item = d.target OR i.id IS NULL OR i.mode & 0xF000 != 0x8000 OR i.nlink = 0
            OR t.id IS NULL OR t.mode & 0xF000 != 0x8000 OR t.nlink = 0
            OR NOT EXISTS (SELECT 1 FROM attr a WHERE a.node = d.item AND a.key = CAST('user.depends_on' AS BLOB))",
    ),
    (
        "an item counts its dependencies that are not completed",
        "SELECT 'work item ' || w.node || ' counts ' || w.open || ' open dependencies and has ' || COUNT(d.target)
         FROM work w LEFT JOIN dependency d ON d.item = w.node
              AND NOT EXISTS (SELECT 1 FROM work t WHERE t.node = d.target AND t.status = 'completed')
         GROUP BY w.node HAVING w.open != COUNT(d.target)",
    ),
    (
        "the counts of the queue are those of its items",
        "SELECT state || ': ' || SUM(counted) || ' counted, ' || SUM(found) || ' found'
         FROM (SELECT state, items AS counted, 0 AS found FROM work_count
               UNION ALL SELECT state, 0, 1 FROM work
               UNION ALL SELECT column1, 0, 0 FROM (VALUES ('ready'), ('pending'), ('blocked'), ('in_progress'), ('completed'), ('failed'))
                         WHERE column1 NOT IN (SELECT state FROM work_count))
         GROUP BY state HAVING SUM(counted) != SUM(found)
         UNION ALL SELECT 'there are ' || COUNT(*) || ' counts' FROM work_count HAVING COUNT(*) != 6",
    ),
    (
        "an item shows what its attributes say",
        concat!(
            "SELECT 'work item ' || w.node || ' shows another worker, start or tags than it has' FROM work w
             WHERE w.worker_id IS NOT ",
            attribute!("worker_id"),
            " OR w.started_at IS NOT ",
            attribute!("started_at"),
            " OR w.tags IS NOT ",
            attribute!("tags")
        ),
    ),
    (
        "an item shows what its node says",
        concat!(
            "SELECT 'work item ' || w.node || ' shows another size, body or change than it has'
             FROM work w JOIN node n ON n.id = w.node LEFT JOIN blob b ON b.id = n.blob
             WHERE w.size IS NOT n.size OR w.content_hash IS NOT ",
            content_hash!(),
            " OR w.updated_at IS NOT ",
            instant!("n.ctime")
        ),
    ),
    (
        "an item is shown under the first of its names",
        concat!(
            "SELECT 'work item ' || w.node || ' is shown under another name than its first' FROM work w
             WHERE (w.parent, w.name) IS NOT ",
            name_of!("w.node")
        ),
    ),
    (
        "no item has a claim that was not counted",
        "SELECT 'claim ' || last || ' was made and ' || COALESCE(s.value, 0) || ' are counted'
         FROM (SELECT COALESCE(MAX(claim), 0) AS last FROM work) LEFT JOIN setting s ON s.key = 'claims'
         WHERE last > COALESCE(s.value, 0) OR s.value < 0",
    ),
];

impl ReadTxn<'_> {
    /// What breaks the rules of the queue's tables.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn work_violations(&self) -> Result<Vec<String>> {
        let unreadable = self.broken(READABLE)?;
        if unreadable.is_empty() { self.broken(RULES) } else { Ok(unreadable) }
    }

    /// The number of an item's latest claim, whatever else is wrong with its row; 0 where it has none.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn claim_of(&self, node: NodeId) -> Result<u64> {
        let claim =
            self.one("SELECT MAX(claim, 0) FROM work WHERE node = ?1", [node.0.cast_signed()], |row| row.get(0))?;
        Ok(claim.unwrap_or(0))
    }
}

impl WriteTxn<'_> {
    /// Removes dependencies that lead from nothing or to nothing.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_impossible_dependencies(&self) -> Result<()> {
        let impossible = "DELETE FROM dependency WHERE item = target
            OR item NOT IN (SELECT a.node FROM attr a JOIN node n ON n.id = a.node WHERE a.key = CAST('user.depends_on' AS BLOB)
                            AND n.mode & 0xF000 = 0x8000 AND n.nlink > 0)
            OR target NOT IN (SELECT id FROM node WHERE mode & 0xF000 = 0x8000 AND nlink > 0)";
        self.change(impossible, [])?;
        Ok(())
    }

    /// Removes the rows of all items.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_all_work(&self) -> Result<()> {
        self.change("DELETE FROM work", [])?;
        Ok(())
    }
}
