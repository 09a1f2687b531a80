//! The metadata store on SQLite: one connection, one long transaction at a time.
//!
//! Operations are savepoints in an open transaction, which is committed when the owner says so (see the table of
//! durability in `meta/mod.rs`); measured, that makes an operation 7 to 10 times cheaper than a transaction of its own.
//! The database is in WAL mode, sqlite.org/wal.html, with `synchronous=NORMAL`: commits do not sync, [`WalFile`] does.

mod alone;
mod digests;
mod figures;
mod invariants;
mod pages;
mod read;
mod repairs;
mod schema;
mod snapshot;
mod work;
mod write;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use self::pages::PageCounts;
use digests::Digests;
use work::shown::Changed;

pub use figures::Figures;
pub use invariants::{Violations, invariants};
pub use read::ReadTxn;
pub use repairs::ForeignBody;
pub use schema::FORMAT;
pub use snapshot::{ListedRow, Snapshot};
pub use write::WriteTxn;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Change;
use crate::stats::{CommitReport, Commits, Pages};

/// Commits by two connections at once can be lost by the versions from 3.7.0 up to here (sqlite.org, WAL-reset bug).
const OLDEST_SOUND_SQLITE: i32 = 3_051_003;

/// Bytes of the WAL beyond which it is moved into the database and begun anew. The longer, the fewer pages are moved twice,
/// and the more has to be read after a crash; 64 MiB are read in some tens of milliseconds.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Pages that a tool of somebody else keeps in memory (field 48 of the header, sqlite.org/fileformat2.html): the views look at
/// rows all over the tables, and with the 2 MiB that are the default it would read most pages again and again.
const TOOL_PAGES: u32 = 8192;

/// So many reads one after the other, with nothing written in between, and the next ones share a transaction: each alone would
/// take and give back a lock of the file, which is half of what it costs.
const READS_ALONE: u32 = 4;

/// The database of a store, open for its owner.
#[derive(Debug)]
pub struct MetaStore {
    conn: Connection,
    path: PathBuf,
    /// Operations since the store was opened.
    written: u64,
    /// How many of them are committed.
    committed: u64,
    /// Why nothing can be written any more, once that is so.
    failed: Option<String>,
    /// That is because the disk or SQLite failed: operations that were acknowledged may be lost.
    broken: Arc<AtomicBool>,
    /// What the operations changed, since somebody asked for it to be noted.
    noted: Option<RefCell<Vec<Change>>>,
    /// What finds blobs by their digests.
    digests: RefCell<Digests>,
    /// Reads outside of a transaction since the last one ended.
    reads_alone: Cell<u32>,
    /// The transaction that is open only reads: it was begun for reads that come one upon the other.
    is_reading: Cell<bool>,
    /// How often a name was removed, or led elsewhere, since the store was opened.
    names_lost: Cell<u64>,
    /// Whether there may be work items.
    items: Cell<bool>,
    commits: Commits,
    pages: PageCounts,
}

/// The write-ahead log, to be synced without holding the store.
#[derive(Debug)]
pub struct WalFile(File);

impl WalFile {
    /// Makes everything committed so far durable, fdatasync(2).
    ///
    /// # Errors
    /// What the disk reports; the store must not be written any more then.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fdatasync(&self.0).map_err(|e| Error::io("sync the write-ahead log of the database", e.into()))
    }
}

/// Translates an SQLite error; `doing` says what was attempted.
fn sql(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |e| {
        let kind = match e.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Damaged,
            Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::InUse,
            _ => ErrorKind::Io,
        };
        Error::new(kind, doing).because(e)
    }
}

impl MetaStore {
    /// Makes the database of a new store at `path`.
    ///
    /// # Errors
    /// What SQLite or the disk reports.
    pub fn create(path: &Path) -> Result<()> {
        let conn = Connection::open(path).map_err(sql("create the database"))?;
        conn.execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(sql("create the database"))?;
        schema::create(&conn).map_err(sql("create the tables"))?;
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(sql("create the database"))
    }

    /// Opens the database of a store for writing.
    ///
    /// # Errors
    /// `NotFound` without a database, `Damaged` for one that is none, `Incompatible` for a newer format.
    pub fn open(path: &Path) -> Result<(Self, WalFile)> {
        refuse_unsound_sqlite()?;
        let (conn, format) = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        schema::migrate(&conn, format).map_err(sql("bring the database to the present format"))?;
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY; PRAGMA cache_spill = OFF; PRAGMA mmap_size = 0;
             BEGIN IMMEDIATE; PRAGMA user_version = {FORMAT}; PRAGMA default_cache_size = {TOOL_PAGES}; COMMIT;
             PRAGMA cache_size = -65536;",
        ))
        .map_err(sql("open the database for writing"))?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        // The log exists: the transaction above made it. SQLite takes no POSIX lock on it that closing could drop.
        let wal = File::options()
            .read(true)
            .write(true)
            .open(&wal)
            .map_err(|e| Error::io("open the write-ahead log of the database", e))?;
        // A database that cannot tell is about to be repaired.
        let items = conn.query_row("SELECT EXISTS (SELECT 1 FROM work)", [], |row| row.get(0)).unwrap_or(true);
        Ok((Self { items: Cell::new(items), ..Self::on(conn, path) }, WalFile(wal)))
    }

    /// Opens the database for reading only, beside an owner or without one.
    ///
    /// # Errors
    /// As [`MetaStore::open`].
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let (conn, format) = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        if format < FORMAT {
            return Err(Error::new(
                ErrorKind::Incompatible,
                format!(
                    "the store has format {format}, which is read only after it was brought to format {FORMAT}: mount it once"
                ),
            ));
        }
        conn.execute_batch("BEGIN").map_err(sql("begin to read"))?;
        Ok(Self { failed: Some("opened read-only".into()), ..Self::on(conn, path) })
    }

    /// A store on a connection to the database at `path`, with nothing done yet.
    fn on(conn: Connection, path: &Path) -> Self {
        Self {
            conn,
            path: path.to_owned(),
            written: 0,
            committed: 0,
            failed: None,
            broken: Arc::default(),
            noted: None,
            digests: RefCell::default(),
            reads_alone: Cell::default(),
            is_reading: Cell::default(),
            names_lost: Cell::default(),
            items: Cell::default(),
            commits: Commits::default(),
            pages: PageCounts::default(),
        }
    }

    /// How much memory pages of the database may take, instead of 64 MiB.
    ///
    /// # Errors
    /// What SQLite reports.
    pub fn set_cache_mib(&self, mib: u64) -> Result<()> {
        // Negative: in KiB, sqlite.org/pragma.html#pragma_cache_size.
        let kib = -i64::try_from(mib.saturating_mul(1024)).unwrap_or(i64::MAX);
        self.conn.pragma_update(None, "cache_size", kib).map_err(sql("set the size of the database's cache"))
    }

    /// The rows as the last acknowledged operation left them.
    pub fn read(&self) -> ReadTxn<'_> {
        if self.conn.is_autocommit() {
            self.read_on();
        }
        ReadTxn::new(&self.conn, &self.digests)
    }

    /// Begins a transaction for the reads to come, if they come one upon the other. It ends before anything is written or
    /// the log is moved. Nobody else writes the database, so what it sees stays true.
    fn read_on(&self) {
        let reads = self.reads_alone.get() + 1;
        self.reads_alone.set(reads % READS_ALONE);
        if reads == READS_ALONE {
            let begun = self.conn.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
            // Each read has its own otherwise.
            self.is_reading.set(begun.is_ok());
        }
    }

    /// Ends the transaction of [`MetaStore::read_on`], if there is one.
    fn end_reading(&mut self) -> Result<()> {
        self.reads_alone.set(0);
        // An error of the disk may have ended it already.
        let is_open = self.is_reading.replace(false) && !self.conn.is_autocommit();
        if is_open { self.run("COMMIT", "end reading") } else { Ok(()) }
    }

    /// Notices when SQLite gave up the open transaction because the disk failed, be it during a read.
    fn check_kept(&mut self) -> Result<()> {
        if self.failed.is_some() || !self.is_dirty() || !self.conn.is_autocommit() {
            return Ok(());
        }
        let lost =
            Error::new(ErrorKind::Io, "keep the open transaction: SQLite has given it up, and what was in it is lost");
        self.fail(&lost);
        Err(lost)
    }

    /// Does what an operation does, and what follows from it for the rows of work items.
    fn carry_out<T>(&self, operation: impl FnOnce(&WriteTxn<'_>) -> Result<T>) -> Result<T> {
        let txn = WriteTxn::new(
            ReadTxn::new(&self.conn, &self.digests),
            self.noted.as_ref(),
            &self.names_lost,
            Changed::new(&self.items),
        );
        let value = operation(&txn)?;
        txn.show_changed()?;
        Ok(value)
    }

    /// Grows with each name that is removed, or led elsewhere: as long as it stays, every node has all the names it had.
    pub fn names_lost(&self) -> u64 {
        self.names_lost.get()
    }

    /// Notes what the operations to come change, until [`MetaStore::take_noted`].
    pub fn note_changes(&mut self) {
        self.noted = Some(RefCell::default());
    }

    /// What the operations changed since [`MetaStore::note_changes`], those that failed included; no more is noted.
    pub fn take_noted(&mut self) -> Vec<Change> {
        self.noted.take().map(RefCell::into_inner).unwrap_or_default()
    }

    /// Runs one operation: all of it or, when it returns an error, nothing of it.
    ///
    /// # Errors
    /// What `operation` returns; `Io` once the store has failed, because nobody then knows what is on disk.
    pub fn write<T>(&mut self, operation: impl FnOnce(&WriteTxn<'_>) -> Result<T>) -> Result<T> {
        self.check_sound()?;
        self.check_kept()?;
        self.end_reading()?;
        if self.conn.is_autocommit() {
            self.run("BEGIN IMMEDIATE", "begin a transaction")?;
        }
        Digests::begin(&self.digests, &self.conn)?;
        self.run("SAVEPOINT op", "begin an operation")?;
        // A bug that panics must not leave half an operation behind for the next commit.
        let ran = catch_unwind(AssertUnwindSafe(|| self.carry_out(operation)));
        let outcome = ran.unwrap_or_else(|panic| {
            self.undo().ok();
            resume_unwind(panic)
        });
        match outcome {
            Ok(value) => {
                self.run("RELEASE op", "end an operation")?;
                self.written += 1;
                Ok(value)
            }
            Err(e) => {
                if self.conn.is_autocommit() {
                    // SQLite gave up the whole transaction (full disk, I/O error): acknowledged operations are gone.
                    self.fail(&e);
                } else {
                    self.undo()?;
                }
                Err(e)
            }
        }
    }

    fn undo(&mut self) -> Result<()> {
        self.digests.get_mut().undo();
        self.run("ROLLBACK TO op", "undo an operation")?;
        self.run("RELEASE op", "undo an operation")
    }

    fn check_sound(&self) -> Result<()> {
        let Some(why) = &self.failed else { return Ok(()) };
        let what = format!("the store takes no more changes ({why}); unmount, look at the disk, mount again");
        Err(Error::new(ErrorKind::Io, what))
    }

    /// Whether the disk or SQLite failed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Becomes true when the disk or SQLite fails, for whoever has to know without holding the store.
    #[must_use]
    pub fn broken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.broken)
    }

    /// The log could not be synced: what of it is on the disk nobody knows, and asking again would only hide that.
    pub fn give_up(&mut self, cause: &Error) {
        self.fail(cause);
    }

    /// Commits what was written; the number of operations that are committed now.
    ///
    /// # Errors
    /// What SQLite reports; the store then takes no more changes, and every later commit fails too.
    pub fn commit(&mut self) -> Result<u64> {
        if self.is_broken() {
            self.check_sound()?;
        }
        self.check_kept()?;
        self.end_reading()?;
        // Once a second at least: often enough for numbers of 32 bits.
        self.pages.look(&self.conn);
        if !self.conn.is_autocommit() && self.failed.is_none() {
            let began = Instant::now();
            if self.digests.borrow().is_due() {
                self.write(|txn| txn.merge_digests())?;
            }
            self.run("COMMIT", "commit")?;
            self.commits.note(began.elapsed(), self.written - self.committed);
            self.committed = self.written;
        }
        Ok(self.committed)
    }

    /// How many commits there were, and what they were like.
    #[must_use]
    pub fn commits(&self) -> CommitReport {
        self.commits.look()
    }

    /// How well the cache of pages serves.
    #[must_use]
    pub fn pages(&self) -> Pages {
        self.pages.look(&self.conn)
    }

    /// Operations written since the store was opened.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Operations that are not committed.
    #[must_use]
    pub fn uncommitted(&self) -> u64 {
        self.written - self.committed
    }

    /// Whether something is written and not committed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.written > self.committed
    }

    /// Moves what is committed from the log into the database when the log has become long. Runs on a connection of its
    /// own that `self` only names, so that nobody waits for it.
    #[must_use]
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer { path: self.path.clone(), conn: None }
    }

    /// Empties the log into the database; for the end.
    ///
    /// # Errors
    /// What SQLite or the disk reports.
    pub fn checkpoint_all(&mut self) -> Result<()> {
        if self.failed.is_none() && self.digests.borrow().is_behind() {
            self.write(|txn| txn.merge_all_digests())?;
        }
        self.commit()?;
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(sql("write the log into the database"))
    }

    /// Lets the database go. Every later read and write fails.
    pub fn close(&mut self) {
        self.failed = Some("closed".into());
        self.is_reading.set(false);
        self.digests.get_mut().forget();
        // An empty database answers every read with an error, and the files of the old one are released.
        match Connection::open_in_memory() {
            Ok(nothing) => self.conn = nothing,
            Err(e) => log::error!("closing the database: {e}"),
        }
    }

    fn run(&mut self, statement: &'static str, doing: &'static str) -> Result<()> {
        let outcome = self.conn.prepare_cached(statement).and_then(|mut s| s.execute([]));
        match outcome {
            Ok(_) => Ok(()),
            Err(e) => {
                let e = sql(doing)(e);
                self.fail(&e);
                Err(e)
            }
        }
    }

    fn fail(&mut self, cause: &Error) {
        log::error!("the database failed, nothing more is written: {cause}");
        self.failed = Some(cause.to_string());
        self.digests.get_mut().forget();
        self.broken.store(true, Ordering::Relaxed);
    }
}

/// Checkpoints on a connection of its own.
#[derive(Debug)]
pub struct Checkpointer {
    path: PathBuf,
    conn: Option<Connection>,
}

impl Checkpointer {
    /// Whether the log is so long that it should be moved into the database.
    ///
    /// # Errors
    /// What fstat(2) reports.
    pub fn is_due(&self, wal: &WalFile) -> Result<bool> {
        Ok(wal.0.metadata().map_err(|e| Error::io("look at the log", e))?.len() > LOG_BYTES_MAX)
    }

    /// Moves the log into the database as far as nobody is disturbed. Run once beside writers it does most of the work; run
    /// again while nothing is written and all is committed it does the rest, and the log is begun anew.
    ///
    /// # Errors
    /// What SQLite reports; the next call tries again.
    pub fn run(&mut self) -> Result<()> {
        if self.conn.is_none() {
            let (conn, _) = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            conn.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")
                .map_err(sql("open the database for checkpoints"))?;
            self.conn = Some(conn);
        }
        let Some(conn) = &self.conn else { return Ok(()) };
        conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(sql("checkpoint the database"))
    }
}

/// A connection to the database of a store, and the format it has.
fn connect(path: &Path, mode: OpenFlags) -> Result<(Connection, i64)> {
    let conn =
        Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(sql("open the database"))?;
    // Plans do not depend on values here: without this, SQLite prepares some statements anew for each value bound.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(sql("open the database"))?;
    conn.set_prepared_statement_cache_capacity(256);
    let format = schema::check_format(&conn)?;
    Ok((conn, format))
}

fn refuse_unsound_sqlite() -> Result<()> {
    if rusqlite::version_number() < OLDEST_SOUND_SQLITE {
        return Err(Error::new(
            ErrorKind::Incompatible,
            format!("SQLite {} can lose commits (WAL reset): build nexus with its bundled SQLite", rusqlite::version()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, MetaStore) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.db");
        MetaStore::create(&path).unwrap();
        let (store, _) = MetaStore::open(&path).unwrap();
        (directory, store)
    }

    #[test]
    fn no_commit_succeeds_after_operations_were_lost() {
        let (_directory, mut store) = store();
        store.write(|txn| txn.set_setting("a", 1)).unwrap();
        // What SQLite does on its own when the disk fails in the middle of an operation.
        let lost = store.write(|txn| {
            txn.set_setting("b", 2)?;
            txn.abandon();
            Err::<(), _>(Error::new(ErrorKind::Io, "the disk"))
        });
        assert!(lost.is_err());
        assert!(store.commit().is_err());
        assert!(store.commit().is_err());
    }

    /// SQLite ends a transaction by itself when the disk fails during a read.
    #[test]
    fn a_read_that_fails_loses_nothing_unnoticed() {
        let (_directory, mut store) = store();
        (0..READS_ALONE).for_each(|_| drop(store.read().setting("a")));
        store.conn.execute_batch("ROLLBACK").unwrap();
        store.commit().unwrap();
        (0..READS_ALONE).for_each(|_| drop(store.read().setting("a")));
        store.conn.execute_batch("ROLLBACK").unwrap();
        store.write(|txn| txn.set_setting("a", 1)).unwrap();
        store.commit().unwrap();
        assert!(!store.is_broken());

        store.write(|txn| txn.set_setting("a", 2)).unwrap();
        store.conn.execute_batch("ROLLBACK").unwrap();
        assert!(store.commit().is_err() && store.is_broken());
        assert!(store.write(|txn| txn.set_setting("a", 3)).is_err());
    }

    #[test]
    fn reads_one_upon_the_other_share_a_transaction_that_nobody_notices() {
        let (directory, mut store) = store();
        store.write(|txn| txn.set_setting("a", 1)).unwrap();
        store.commit().unwrap();
        for _ in 1..READS_ALONE {
            assert_eq!(store.read().setting("a").unwrap(), Some(1));
            assert!(store.conn.is_autocommit());
        }
        assert_eq!(store.read().setting("a").unwrap(), Some(1));
        assert!(!store.conn.is_autocommit() && !store.is_dirty());
        // Nothing was written, so nothing is committed.
        let before = store.commits();
        store.commit().unwrap();
        assert_eq!(store.commits(), before);
        assert!(store.conn.is_autocommit());

        (0..READS_ALONE).for_each(|_| drop(store.read().setting("a")));
        store.write(|txn| txn.set_setting("a", 2)).unwrap();
        assert!(store.is_dirty() && !store.is_reading.get());
        let beside = MetaStore::open_read_only(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(beside.read().setting("a").unwrap(), Some(1));
        store.commit().unwrap();
        drop(beside);

        (0..READS_ALONE).for_each(|_| drop(store.read().setting("a")));
        // The log can be emptied, and what others read is what was written.
        store.checkpoint_all().unwrap();
        assert_eq!(std::fs::metadata(directory.path().join("metadata.db-wal")).unwrap().len(), 0);
        (0..READS_ALONE).for_each(|_| drop(store.read().setting("a")));
        let beside = MetaStore::open_read_only(&directory.path().join("metadata.db")).unwrap();
        assert_eq!(beside.read().setting("a").unwrap(), Some(2));
    }

    #[test]
    fn an_operation_that_panics_leaves_nothing() {
        let (_directory, mut store) = store();
        store.write(|txn| txn.set_setting("a", 1)).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            store.write(|txn| -> Result<()> {
                txn.set_setting("a", 2)?;
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        store.write(|txn| txn.set_setting("b", 3)).unwrap();
        store.commit().unwrap();
        assert_eq!((store.read().setting("a").unwrap(), store.read().setting("b").unwrap()), (Some(1), Some(3)));
    }
}
