//! An operation that is a transaction of its own, because it may be larger than memory.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::digests::Digests;
use super::{MetaStore, WriteTxn, sql};
use crate::error::Result;

impl MetaStore {
    /// Commits what was written before, then runs `operation` and commits it: all of it or, when it returns an error or
    /// `keep` is not set, nothing. It has no savepoint, because SQLite keeps in memory what a savepoint could undo, and
    /// pages go to the log before the commit, so that memory stays bounded whatever its size. A commit that fails, for
    /// want of room say, loses nothing but this operation.
    ///
    /// # Errors
    /// What `operation` returns, what SQLite reports; `Io` once the store has failed.
    pub fn write_alone<T>(&mut self, keep: bool, operation: impl FnOnce(&WriteTxn<'_>) -> Result<T>) -> Result<T> {
        self.check_sound()?;
        self.commit()?;
        Digests::begin(&self.digests, &self.conn)?;
        self.conn.execute_batch("PRAGMA cache_spill = ON").map_err(sql("prepare a long operation"))?;
        let began = Instant::now();
        let ran = self.run("BEGIN IMMEDIATE", "begin a transaction").map(|()| {
            // A bug that panics must not leave half an operation behind for the next commit.
            catch_unwind(AssertUnwindSafe(|| self.carry_out(operation)))
        });
        let outcome = match ran {
            Err(e) => Err(e),
            Ok(Ok(Ok(value))) if keep => match self.conn.execute_batch("COMMIT") {
                Ok(()) => {
                    self.commits.note(began.elapsed(), 1);
                    self.written += 1;
                    self.committed = self.written;
                    Ok(Ok(value))
                }
                Err(e) => self.roll_back().and(Err(sql("commit")(e))),
            },
            Ok(Ok(outcome)) => match self.roll_back() {
                Ok(()) => outcome.map(Ok),
                Err(e) => Err(e),
            },
            Ok(Err(panic)) => self.roll_back().map(|()| Err(panic)),
        };
        if let Err(e) = self.conn.execute_batch("PRAGMA cache_spill = OFF") {
            log::warn!("after a long operation: {e}");
        }
        outcome.map(|ran| ran.unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Undoes a transaction that SQLite has not undone itself.
    fn roll_back(&mut self) -> Result<()> {
        self.digests.get_mut().undo();
        if self.conn.is_autocommit() { Ok(()) } else { self.run("ROLLBACK", "undo an operation") }
    }
}
