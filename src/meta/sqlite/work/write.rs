//! Changing the queue.

use rusqlite::Params;

use super::shown::{attribute, content_hash, instant, name_of};
use crate::error::Result;
use crate::meta::WorkRow;
use crate::meta::sqlite::WriteTxn;
use crate::model::NodeId;
use crate::model::work::Status;

impl WriteTxn<'_> {
    /// Gives a file that was no item its row, with all that it shows.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn insert_work(&self, row: &WorkRow) -> Result<()> {
        self.change(
            concat!(
                "INSERT INTO work (node, status, open, priority, created, started, lease, claim, parent, name, size, updated_at,
                                   content_hash, worker_id, started_at, tags)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, e.parent, e.name, n.size, ",
                instant!("n.ctime"),
                ", ",
                content_hash!(),
                ", ",
                attribute!("worker_id", "?1"),
                ", ",
                attribute!("started_at", "?1"),
                ", ",
                attribute!("tags", "?1"),
                " FROM (SELECT 1) LEFT JOIN node n ON n.id = ?1 LEFT JOIN blob b ON b.id = n.blob LEFT JOIN ",
                name_of!("?1"),
                " e"
            ),
            columns(row),
        )?;
        self.changed.begin(row.node);
        Ok(())
    }

    /// Writes the row of an item anew; what it shows follows at the end of the operation.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn update_work(&self, row: &WorkRow) -> Result<()> {
        self.change(
            "UPDATE work SET status = ?2, open = ?3, priority = ?4, created = ?5, started = ?6, lease = ?7, claim = ?8
             WHERE node = ?1",
            columns(row),
        )?;
        Ok(())
    }

    /// Removes the row of an item; whether there was one.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_work(&self, node: NodeId) -> Result<bool> {
        Ok(self.change("DELETE FROM work WHERE node = ?1", [node.0.cast_signed()])? > 0)
    }

    /// One dependency more; one that is there stays.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn insert_dependency(&self, item: NodeId, target: NodeId) -> Result<()> {
        self.change(
            "INSERT OR IGNORE INTO dependency (item, target) VALUES (?1, ?2)",
            [item.0.cast_signed(), target.0.cast_signed()],
        )?;
        Ok(())
    }

    /// One dependency less.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_dependency(&self, item: NodeId, target: NodeId) -> Result<()> {
        self.change(
            "DELETE FROM dependency WHERE item = ?1 AND target = ?2",
            [item.0.cast_signed(), target.0.cast_signed()],
        )?;
        Ok(())
    }

    /// Removes all dependencies of an item.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_dependencies(&self, item: NodeId) -> Result<()> {
        self.change("DELETE FROM dependency WHERE item = ?1", [item.0.cast_signed()])?;
        Ok(())
    }

    /// Removes all dependencies on a file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn delete_dependents(&self, target: NodeId) -> Result<()> {
        self.change("DELETE FROM dependency WHERE target = ?1", [target.0.cast_signed()])?;
        Ok(())
    }

    /// The number of a new claim: no other one in this store has it, ever.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn next_claim(&self) -> Result<u64> {
        let claim = self.claims()? + 1;
        self.set_setting("claims", claim.cast_signed())?;
        Ok(claim)
    }

    /// Counts the items in each state anew.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn recount_work(&self) -> Result<()> {
        self.change("DELETE FROM work_count", [])?;
        for state in Status::ALL {
            self.change(
                "INSERT INTO work_count (state, items)
                 VALUES (?1, (SELECT COUNT(*) FROM work WHERE state = ?1))",
                [state.word()],
            )?;
        }
        Ok(())
    }
}

/// A row, as the statements that write it have it.
fn columns(row: &WorkRow) -> impl Params {
    (
        row.node.0.cast_signed(),
        row.status.word(),
        row.open,
        row.priority,
        row.created.0,
        row.started.map(|at| at.0),
        row.lease.map(|at| at.0),
        row.claim,
    )
}
