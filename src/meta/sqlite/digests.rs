//! Finding a blob by its digest, at a cost that does not grow with the number of blobs.
//!
//! Digests are spread evenly: in an index over them each new body changes a page of its own, which is then written twice.
//! So the table `blob_head` is brought up to date only every so often, in the order of the digests, and what it lacks is
//! in memory until then.
//!
//! It guarantees that a blob is found: every one whose number is up to the mark (setting `blob_mark`) is in the table, and
//! the pairs of all others are in memory, read again from their rows at the start. Pairs too many do no harm, because a
//! pair is only a hint and the row decides: those of removed blobs stay until their turn comes, and the operation that made
//! or removed a blob may be undone without a word to this file. What was removed shortly before a crash, or was made by an
//! operation that was undone, stays in the table until the next repair. No two blobs of one digest are made because every new one is looked for first.

mod repairs;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::read::{DigestColumn, ReadTxn, blob_columns, blob_row, select_blob};
use super::write::WriteTxn;
use crate::error::Result;
use crate::meta::{BlobId, BlobRow};
use crate::model::Digest;

/// The setting that holds the mark.
pub(super) const MARK: &str = "blob_mark";

/// Pairs in memory before the table is brought up to date: 1.5 MiB, read in some tens of milliseconds at a start. Merged
/// among a million others they change a page for every ten of them.
const RUN_PAIRS: usize = 65_536;

/// Pairs written with one commit, so that nobody waits longer than some milliseconds.
const STEP_PAIRS: usize = 2_048;

/// Pairs in memory at which an operation writes them itself, because it is so long that no commit comes between.
const HELD_PAIRS_MAX: usize = 4 * RUN_PAIRS;

/// The first bytes of a digest and the number of a blob.
type Pair = ([u8; 8], i64);

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was made.
    Made,
    /// It was removed, unless that was undone: its row tells.
    Removed,
}

/// What of the table `blob_head` is not in the database.
#[derive(Debug)]
pub(super) struct Digests {
    known: Option<Known>,
    /// What is known would be wrong if the present operation were undone.
    depends: bool,
    sizes: Sizes,
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    run: usize,
    step: usize,
    held: usize,
}

#[derive(Debug, Default)]
struct Known {
    /// Numbers above the mark are given in order, so that none at or below it ever belongs to a new blob.
    next: i64,
    /// Blobs that were made or removed: the table may not tell of them as it should.
    touched: BTreeMap<Pair, Fate>,
    /// Those of them that are being written, in this order, and the mark to be set behind the last.
    run: BTreeMap<Pair, Fate>,
    run_mark: Option<i64>,
}

impl Default for Digests {
    fn default() -> Self {
        Self { known: None, depends: false, sizes: Sizes { run: RUN_PAIRS, step: STEP_PAIRS, held: HELD_PAIRS_MAX } }
    }
}

impl Digests {
    /// An operation begins that may be undone.
    pub(super) fn begin(this: &RefCell<Self>, conn: &Connection) -> Result<()> {
        // Not later: what the operation removes would be missing here if it were undone.
        Self::with(this, conn, |_, _| ())?;
        this.borrow_mut().depends = false;
        Ok(())
    }

    /// The operation was undone.
    pub(super) fn undo(&mut self) {
        if self.depends {
            self.forget();
        }
    }

    /// What the database holds is not what was thought: it is asked again.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Whether the next commit should take some pairs along.
    pub(super) fn is_due(&self) -> bool {
        let due = |known: &Known| known.run_mark.is_some() || known.touched.len() >= self.sizes.run;
        self.known.as_ref().is_some_and(due)
    }

    /// Whether anything is missing in the table.
    pub(super) fn is_behind(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.run_mark.is_some() || !known.touched.is_empty())
    }

    /// Asks the database first, if need be.
    fn with<T>(this: &RefCell<Self>, conn: &Connection, ask: impl FnOnce(&mut Known, Sizes) -> T) -> Result<T> {
        let mut digests = this.borrow_mut();
        let sizes = digests.sizes;
        if let Some(known) = &mut digests.known {
            return Ok(ask(known, sizes));
        }
        drop(digests);
        let mut known = Self::read(this, conn)?;
        let answer = ask(&mut known, sizes);
        let mut digests = this.borrow_mut();
        digests.known = Some(known);
        digests.depends = true;
        Ok(answer)
    }

    fn read(this: &RefCell<Self>, conn: &Connection) -> Result<Known> {
        let read = ReadTxn::new(conn, this);
        let mark = read.setting(MARK)?.unwrap_or(0);
        let mut known = Known { next: mark.saturating_add(1), ..Known::default() };
        let above = read.each("SELECT id, digest FROM blob WHERE id > ?1", [mark], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, DigestColumn>(1).ok()))
        })?;
        for (id, digest) in above {
            known.next = known.next.max(id.saturating_add(1));
            // One that cannot be read is found by nobody; the check tells of it.
            known.touched.extend(digest.map(|DigestColumn(digest)| ((head(&digest), id), Fate::Made)));
        }
        Ok(known)
    }

    /// Numbers of blobs that may have this digest and be missing in the table.
    fn recent(this: &RefCell<Self>, conn: &Connection, digest: &Digest) -> Result<Vec<i64>> {
        let pairs = (head(digest), i64::MIN)..=(head(digest), i64::MAX);
        Self::with(this, conn, |known, _| {
            known.touched.range(pairs.clone()).chain(known.run.range(pairs)).map(|(pair, _)| pair.1).collect()
        })
    }
}

impl ReadTxn<'_> {
    /// A blob by its digest.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn find_blob(&self, digest: &Digest) -> Result<Option<BlobRow>> {
        for id in Digests::recent(self.digests, self.conn, digest)? {
            let row = select_blob!("WHERE id = ?1 AND digest = ?2");
            let found = self.one(row, params![id, digest.as_bytes()], blob_row)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.one(
            select_blob!("JOIN blob_head h ON h.blob = id WHERE h.head = ?1 AND digest = ?2"),
            params![head(digest), digest.as_bytes()],
            blob_row,
        )
    }
}

impl WriteTxn<'_> {
    /// A number for a new blob.
    pub(super) fn take_blob_number(&self) -> Result<BlobId> {
        Digests::with(self.digests, self.conn, |known, _| {
            let id = known.next;
            known.next = id.saturating_add(1);
            BlobId(id)
        })
    }

    /// A blob was made or removed.
    pub(super) fn touch_digest(&self, digest: &Digest, id: BlobId, fate: Fate) -> Result<()> {
        let is_full = Digests::with(self.digests, self.conn, |known, sizes| {
            known.touched.insert((head(digest), id.0), fate);
            known.touched.len() >= sizes.held
        })?;
        if is_full { self.merge_all_digests() } else { Ok(()) }
    }

    /// Brings the whole table up to date.
    pub(super) fn merge_all_digests(&self) -> Result<()> {
        while self.digests.borrow().is_behind() {
            self.merge_digests()?;
        }
        Ok(())
    }

    /// Brings the table up to date for some pairs, in their order; the mark follows behind the last of a run.
    pub(super) fn merge_digests(&self) -> Result<()> {
        let (pairs, mark) = {
            let mut digests = self.digests.borrow_mut();
            digests.depends = true;
            let step = digests.sizes.step;
            let Some(known) = &mut digests.known else { return Ok(()) };
            if known.run_mark.is_none() {
                known.run = std::mem::take(&mut known.touched);
                known.run_mark = Some(known.next - 1);
            }
            let pairs: Vec<(Pair, Fate)> = std::iter::from_fn(|| known.run.pop_first()).take(step).collect();
            (pairs, if known.run.is_empty() { known.run_mark.take() } else { None })
        };
        for ((head, id), fate) in pairs {
            let is_there = fate == Fate::Made || self.is_blob(head, id)?;
            let statement = if is_there {
                "INSERT OR IGNORE INTO blob_head (head, blob) VALUES (?1, ?2)"
            } else {
                "DELETE FROM blob_head WHERE head = ?1 AND blob = ?2"
            };
            self.change(statement, params![head, id])?;
        }
        mark.map_or(Ok(()), |mark| self.set_setting(MARK, mark))
    }

    fn is_blob(&self, head: [u8; 8], id: i64) -> Result<bool> {
        let found = "SELECT 1 FROM blob WHERE id = ?2 AND SUBSTR(digest, 1, 8) = ?1";
        Ok(self.one(found, params![head, id], |_| Ok(()))?.is_some())
    }

    /// Makes the table anew from the blobs.
    pub(super) fn rebuild_digests(&self) -> Result<()> {
        for statement in [
            "DELETE FROM blob_head",
            "INSERT INTO blob_head (head, blob) SELECT SUBSTR(digest, 1, 8), id FROM blob ORDER BY 1, 2",
            "INSERT OR REPLACE INTO setting (key, value)
             SELECT 'blob_mark', COALESCE(MAX(id), 0) FROM blob",
        ] {
            self.change(statement, [])?;
        }
        let mut digests = self.digests.borrow_mut();
        digests.depends = true;
        digests.forget();
        Ok(())
    }
}

fn head(digest: &Digest) -> [u8; 8] {
    let mut head = [0; 8];
    head.copy_from_slice(&digest.as_bytes()[..8]);
    head
}
