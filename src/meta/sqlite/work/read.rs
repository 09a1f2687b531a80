//! Reading the queue.

use rusqlite::{Row, params};

use super::shown::attribute;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::sqlite::ReadTxn;
use crate::meta::sqlite::read::{DigestColumn, node_row, select_node};
use crate::meta::{WorkEntryRow, WorkFacts, WorkKey, WorkList, WorkRow};
use crate::model::work::Status;
use crate::model::{Digest, NodeId, Timestamp};

macro_rules! select_work {
    ($tail:literal) => {
        concat!(
            "SELECT w.node, w.status, w.open, w.priority, w.created, w.started, w.lease, w.claim, w.newest, w.most, w.rank \
             FROM work w ",
            $tail
        )
    };
}

/// The same with the node, and with its entry where it has just one name.
macro_rules! select_work_and_node {
    ($tail:literal) => {
        select_node!(
            ", w.node, w.status, w.open, w.priority, w.created, w.started, w.lease, w.claim, w.newest, w.most, w.rank, e.parent, e.name \
             FROM work w CROSS JOIN node n ON n.id = w.node LEFT JOIN entry e ON e.node = w.node AND n.nlink = 1 ",
            $tail
        )
    };
}

/// A page of a list: what stands behind a key, in the order of an index.
macro_rules! page {
    ($select:ident, $which:literal, $first:literal) => {
        concat!(
            $select!("WHERE "),
            $which,
            " AND (",
            $first,
            ", w.rank, w.created, w.node) > (?1, ?2, ?3, ?4)
             ORDER BY ",
            $first,
            ", w.rank, w.created, w.node LIMIT ?5"
        )
    };
    // Where nothing stands before the rank.
    ($select:ident, $which:literal) => {
        concat!(
            $select!("WHERE "),
            $which,
            " AND (w.rank, w.created, w.node) > (?2, ?3, ?4)
             ORDER BY w.rank, w.created, w.node LIMIT ?5"
        )
    };
}

/// The statement for each list.
macro_rules! pages {
    ($list:expr, $select:ident) => {
        match $list {
            WorkList::In(Status::Ready) => page!($select, "w.state = 'ready'"),
            WorkList::In(Status::Pending) => page!($select, "w.state = 'pending'"),
            WorkList::In(Status::Completed) => page!($select, "w.state = 'completed'"),
            WorkList::In(Status::Failed) => page!($select, "w.state = 'failed'"),
            WorkList::In(Status::Blocked) => page!($select, "w.state = 'blocked'", "w.most"),
            WorkList::In(Status::InProgress) => page!($select, "w.state = 'in_progress'", "w.newest"),
            WorkList::ByPriority => page!($select, "TRUE"),
        }
    };
}

/// Columns of a node before those of its item.
const NODE_COLUMNS: usize = 15;

/// An item whose columns begin at `at`.
fn work_row(row: &Row<'_>, at: usize) -> rusqlite::Result<WorkRow> {
    let status = Status::from_word(row.get_ref(at + 1)?.as_str()?);
    Ok(WorkRow {
        node: NodeId(row.get(at)?),
        // The check says so when it is another word.
        status: status.unwrap_or(Status::Failed),
        open: row.get(at + 2)?,
        priority: row.get(at + 3)?,
        created: Timestamp(row.get(at + 4)?),
        started: row.get::<_, Option<i64>>(at + 5)?.map(Timestamp),
        lease: row.get::<_, Option<i64>>(at + 6)?.map(Timestamp),
        claim: row.get(at + 7)?,
    })
}

/// Its place in a list.
fn work_key(row: &Row<'_>, at: usize, list: WorkList) -> rusqlite::Result<WorkKey> {
    let first = match list {
        WorkList::In(Status::Blocked) => row.get(at + 9)?,
        WorkList::In(Status::InProgress) => row.get(at + 8)?,
        _ => 0,
    };
    Ok(WorkKey { first, rank: row.get(at + 10)?, created: row.get(at + 4)?, node: row.get(at)? })
}

/// An item with its node.
fn entry_row(row: &Row<'_>, list: WorkList) -> rusqlite::Result<WorkEntryRow> {
    let parent: Option<u64> = row.get(NODE_COLUMNS + 11)?;
    let only_name = parent.map(|parent| Ok::<_, rusqlite::Error>((NodeId(parent), row.get(NODE_COLUMNS + 12)?)));
    Ok(WorkEntryRow {
        item: work_row(row, NODE_COLUMNS)?,
        key: entry_key(row, list)?,
        node: node_row(row)?,
        only_name: only_name.transpose()?,
    })
}

/// Its place in the directory of a list.
fn entry_key(row: &Row<'_>, list: WorkList) -> rusqlite::Result<WorkKey> {
    let key = work_key(row, NODE_COLUMNS, list)?;
    Ok(if list == WorkList::In(Status::Blocked) { WorkKey { first: 0, ..key } } else { key })
}

impl ReadTxn<'_> {
    /// The item that a file is.
    ///
    /// # Errors
    /// Here and in all that follow: what SQLite reports.
    pub fn work(&self, node: NodeId) -> Result<Option<WorkRow>> {
        self.one(select_work!("WHERE w.node = ?1"), [node.0.cast_signed()], |row| work_row(row, 0))
    }

    /// What is told of an item besides its row and its path.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn work_facts(&self, node: NodeId) -> Result<WorkFacts> {
        let text = |row: &Row<'_>, column| -> rusqlite::Result<Option<String>> {
            let value = row.get_ref(column)?.as_bytes_or_null()?;
            Ok(value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        let found = self.one(
            concat!(
                "SELECT w.size, w.ctime, w.draft IS NULL AND w.version > 0, b.digest, ",
                attribute!("worker_id"),
                ", ",
                attribute!("started_at"),
                ", ",
                attribute!("completed_at"),
                ", ",
                attribute!("tags"),
                " FROM (SELECT id AS node, size, ctime, draft, version, blob FROM node WHERE id = ?1) w
                  LEFT JOIN blob b ON b.id = w.blob"
            ),
            [node.0.cast_signed()],
            |row| {
                let digest = row.get::<_, Option<DigestColumn>>(3)?.map(|column| column.0);
                let sealed: bool = row.get(2)?;
                Ok(WorkFacts {
                    size: row.get(0)?,
                    changed: Timestamp(row.get(1)?),
                    digest: sealed.then(|| digest.unwrap_or_else(|| Digest::of(b""))),
                    worker_id: text(row, 4)?,
                    started_at: text(row, 5)?,
                    completed_at: text(row, 6)?,
                    tags: text(row, 7)?,
                })
            },
        )?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "find a work item"))
    }

    /// At most `limit` items of a list behind a key, each with its own.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn work_page(&self, list: WorkList, after: WorkKey, limit: usize) -> Result<Vec<(WorkRow, WorkKey)>> {
        let WorkKey { first, rank, created, node } = after;
        self.each(pages!(list, select_work), params![first, rank, created, node, limit], |row| {
            Ok((work_row(row, 0)?, work_key(row, 0, list)?))
        })
    }

    /// The same with what an entry of a directory shows, in one look for each. What is blocked is in the order of the names
    /// of such entries: by how much each waits for is not for everybody to know.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn work_entries(&self, list: WorkList, after: WorkKey, limit: usize) -> Result<Vec<WorkEntryRow>> {
        let WorkKey { first, rank, created, node } = after;
        let sql = match list {
            WorkList::In(Status::Blocked) => page!(select_work_and_node, "w.state = 'blocked'"),
            _ => pages!(list, select_work_and_node),
        };
        self.each(sql, params![first, rank, created, node, limit], |row| entry_row(row, list))
    }

    /// One of them, for a file that may stand elsewhere: its place is the one it would have.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn work_entry(&self, list: WorkList, node: NodeId) -> Result<Option<WorkEntryRow>> {
        self.one(select_work_and_node!("WHERE w.node = ?1"), [node.0.cast_signed()], |row| entry_row(row, list))
    }

    /// How many items stand in a state.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_work(&self, state: Status) -> Result<u64> {
        Ok(self.one("SELECT items FROM work_count WHERE state = ?1", [state.word()], |row| row.get(0))?.unwrap_or(0))
    }

    /// The directory and name of every entry that leads to a node, by directory and name.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn names_in_order(&self, id: NodeId) -> Result<Vec<(NodeId, Vec<u8>)>> {
        self.each("SELECT parent, name FROM entry WHERE node = ?1 ORDER BY parent, name", [id.0.cast_signed()], |row| {
            Ok((NodeId(row.get(0)?), row.get(1)?))
        })
    }

    /// Whether there is an item or a dependency at all.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_work(&self) -> Result<bool> {
        let found =
            self.one("SELECT EXISTS (SELECT 1 FROM work) OR EXISTS (SELECT 1 FROM dependency)", [], |row| row.get(0))?;
        Ok(found.unwrap_or(false))
    }

    /// Items whose claim has run out, the longest first, at most 256.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn expired_work(&self, now: Timestamp) -> Result<Vec<NodeId>> {
        self.each("SELECT node FROM work WHERE lease <= ?1 ORDER BY lease LIMIT 256", [now.0], |row| {
            row.get(0).map(NodeId)
        })
    }

    /// The files that a file depends on.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn dependencies(&self, item: NodeId) -> Result<Vec<NodeId>> {
        self.each("SELECT target FROM dependency WHERE item = ?1 ORDER BY target", [item.0.cast_signed()], |row| {
            row.get(0).map(NodeId)
        })
    }

    /// Those of them that are not completed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn open_dependencies(&self, item: NodeId) -> Result<Vec<NodeId>> {
        self.each(
            "SELECT d.target FROM dependency d LEFT JOIN work t ON t.node = d.target
             WHERE d.item = ?1 AND t.status IS NOT 'completed' ORDER BY d.target",
            [item.0.cast_signed()],
            |row| row.get(0).map(NodeId),
        )
    }

    /// How many of them are not completed.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn count_open_dependencies(&self, item: NodeId) -> Result<u64> {
        let count = self.one(
            "SELECT COUNT(*) FROM dependency d LEFT JOIN work t ON t.node = d.target
             WHERE d.item = ?1 AND t.status IS NOT 'completed'",
            [item.0.cast_signed()],
            |row| row.get(0),
        )?;
        Ok(count.unwrap_or(0))
    }

    /// The files that depend on a file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn dependents(&self, target: NodeId) -> Result<Vec<NodeId>> {
        self.each("SELECT item FROM dependency WHERE target = ?1 ORDER BY item", [target.0.cast_signed()], |row| {
            row.get(0).map(NodeId)
        })
    }

    /// At most `limit` dependencies behind one, by item and target.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn dependency_page(&self, after: (NodeId, NodeId), limit: usize) -> Result<Vec<(NodeId, NodeId)>> {
        self.each(
            "SELECT item, target FROM dependency WHERE (item, target) > (?1, ?2) ORDER BY item, target LIMIT ?3",
            params![after.0.0.cast_signed(), after.1.0.cast_signed(), limit],
            |row| Ok((NodeId(row.get(0)?), NodeId(row.get(1)?))),
        )
    }

    /// Whether something depends on a file.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn has_dependents(&self, target: NodeId) -> Result<bool> {
        let found =
            self.one("SELECT 1 FROM dependency WHERE target = ?1 LIMIT 1", [target.0.cast_signed()], |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// Whether a file depends on another one, directly or through others.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn depends_on(&self, item: NodeId, target: NodeId) -> Result<bool> {
        let found = self.one(
            "WITH RECURSIVE needed (node) AS (
                 SELECT target FROM dependency WHERE item = ?1
                 UNION SELECT d.target FROM needed n JOIN dependency d ON d.item = n.node)
             SELECT 1 FROM needed WHERE node = ?2 LIMIT 1",
            [item.0.cast_signed(), target.0.cast_signed()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// The claims made so far, in the whole store.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn claims(&self) -> Result<u64> {
        let claims = self.setting("claims")?.unwrap_or(0);
        u64::try_from(claims).map_err(|_| Error::new(ErrorKind::Damaged, "the number of claims is below zero"))
    }

    /// Every file that has a name and an attribute of this key: its number, its creation, and the value.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn files_with(&self, key: &[u8]) -> Result<Vec<(NodeId, Timestamp, Vec<u8>)>> {
        self.each(
            "SELECT a.node, n.btime, a.value FROM attr a CROSS JOIN node n ON n.id = a.node
             WHERE a.key = ?1 AND n.mode & 0xF000 = 0x8000 AND n.nlink > 0",
            [key],
            |row| Ok((NodeId(row.get(0)?), Timestamp(row.get(1)?), row.get(2)?)),
        )
    }
}
