//! What the row of an item holds for the views alone: texts of its attributes, what its node says, and the name it is shown
//! under.
//!
//! It follows from other tables, and looks into those took the views more than half of their time. Whoever changes a node
//! notes it here, and an operation ends with bringing the rows of those up to date that are items: whatever it did, in
//! whichever order, each row is written once, and nobody has to know what is an item.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;

use crate::error::Result;
use crate::meta::sqlite::WriteTxn;
use crate::model::NodeId;

/// An instant as RFC 3339 in UTC, with as many digits behind the second as it needs: what `model::rfc3339` gives. From the
/// second second of 1970 on the fraction is the last nine digits as they stand, which takes a view half the time.
macro_rules! instant {
    ($ns:literal) => {
        concat!(
            "IIF(",
            $ns,
            " >= 1000000000,
                 REPLACE(DATETIME(",
            $ns,
            " / 1000000000, 'unixepoch'), ' ', 'T') || RTRIM('.' || SUBSTR(",
            $ns,
            ", -9), '.0') || 'Z',
                 REPLACE(DATETIME(",
            $ns,
            " / 1000000000 - (",
            $ns,
            " % 1000000000 < 0), 'unixepoch'), ' ', 'T')
                 || IIF(",
            $ns,
            " % 1000000000 = 0, '',
                        RTRIM('.' || SUBSTR((",
            $ns,
            " % 1000000000 + 1000000000) % 1000000000 + 1000000000, 2), '0')) || 'Z')"
        )
    };
}

/// An attribute of a work item as text; of `w` if no other number is given.
macro_rules! attribute {
    ($key:literal) => {
        attribute!($key, "w.node")
    };
    ($key:literal, $node:literal) => {
        concat!(
            "(SELECT CAST(a.value AS TEXT) FROM attr a WHERE a.node = ",
            $node,
            " AND a.key = CAST('user.",
            $key,
            "' AS BLOB))"
        )
    };
}

/// The digest of the body of node `n` with blob `b`, lower-case hex; NULL while it is being written.
macro_rules! content_hash {
    () => {
        "CASE WHEN n.draft IS NOT NULL THEN NULL
              WHEN b.id IS NOT NULL THEN LOWER(HEX(b.digest))
              WHEN n.version > 0 THEN 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' END"
    };
}

/// When it was changed last, as a column of `work`.
macro_rules! time {
    () => {
        concat!("updated_at = (SELECT ", instant!("n.ctime"), " FROM node n WHERE n.id = work.node)")
    };
}

/// The texts and what the node says, as columns of `work`.
macro_rules! facts {
    () => {
        concat!(
            "(size, content_hash, updated_at) = (
                 SELECT n.size, ",
            content_hash!(),
            ", ",
            instant!("n.ctime"),
            " FROM node n LEFT JOIN blob b ON b.id = n.blob WHERE n.id = work.node),
             worker_id = ",
            attribute!("worker_id", "work.node"),
            ", started_at = ",
            attribute!("started_at", "work.node"),
            ", tags = ",
            attribute!("tags", "work.node")
        )
    };
}

/// The name: of several that in the directory with the smallest number and, among these, the smallest.
macro_rules! name_of {
    ($node:literal) => {
        concat!(
            "(SELECT e.parent, CAST(e.name AS TEXT) AS name FROM entry e WHERE e.node = ",
            $node,
            " ORDER BY e.parent, e.name LIMIT 1)"
        )
    };
}

pub(super) use {attribute, content_hash, facts, instant, name_of};

/// Nodes that an operation has changed, and what of them.
#[derive(Debug)]
pub(in crate::meta::sqlite) struct Changed<'a> {
    noted: RefCell<Vec<(NodeId, Of)>>,
    /// Whether there may be items at all: a store without a queue pays nothing for one.
    items: &'a Cell<bool>,
}

/// What was changed of a node, for its row if it is an item: each with all that stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::meta::sqlite) enum Of {
    /// When it was changed.
    Time,
    /// Its body or attributes.
    Facts,
    /// Its names.
    Names,
}

impl<'a> Changed<'a> {
    pub(in crate::meta::sqlite) fn new(items: &'a Cell<bool>) -> Self {
        Self { noted: RefCell::default(), items }
    }

    /// Notes a node that may be an item.
    pub(in crate::meta::sqlite) fn note(&self, id: NodeId, of: Of) {
        if !self.items.get() {
            return;
        }
        let mut noted = self.noted.borrow_mut();
        match noted.last_mut() {
            // An operation often changes the same node several times.
            Some((last, more)) if *last == id => *more = of.max(*more),
            _ => noted.push((id, of)),
        }
    }

    /// An item got its row, with all that it shows.
    pub(super) fn begin(&self, id: NodeId) {
        self.items.set(true);
        // If it was noted earlier than last, it is written once more.
        self.noted.borrow_mut().pop_if(|(last, _)| *last == id);
    }
}

impl WriteTxn<'_> {
    /// Brings the rows of items up to date that were changed since the last time; whoever looks at them within an operation
    /// calls this before.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn show_changed(&self) -> Result<()> {
        let mut noted = self.changed.noted.take();
        // Of several notes about a node, the one that says most.
        noted.sort_unstable_by_key(|(id, of)| (*id, Reverse(*of)));
        noted.dedup_by_key(|(id, _)| *id);
        for (id, of) in noted {
            let id = [id.0.cast_signed()];
            // Most nodes are no items, and a short statement is the faster one to find.
            if self.one("SELECT 1 FROM work WHERE node = ?1", id, |_| Ok(()))?.is_none() {
                continue;
            }
            let statement = match of {
                Of::Time => concat!("UPDATE work SET ", time!(), " WHERE node = ?1"),
                Of::Facts | Of::Names => concat!("UPDATE work SET ", facts!(), " WHERE node = ?1"),
            };
            self.change(statement, id)?;
            if of == Of::Names {
                // Apart, because indexes hold the directory.
                self.change(
                    concat!("UPDATE work SET (parent, name) = ", name_of!("work.node"), " WHERE node = ?1"),
                    id,
                )?;
            }
        }
        Ok(())
    }
}
