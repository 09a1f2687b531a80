//! An open store: its lock, its threads, and how an operation becomes a transaction.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Mutex, MutexGuard};

use super::changes::{self, Changes};
use super::feed::Feed;
use super::housekeeping::Housekeeper;
use super::live::{BlobReader, HandleTable, Live, LiveTable};
use super::lock::StoreLock;
use super::locks::Locks;
use super::scopes::Scopes;
use super::seal::SealQueue;
use super::space::Space;
use super::unnamed::Unnamed;
use super::upkeep::Upkeep;
use crate::cas::{BlobStore, Staging};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BlobId, BodyRow, MetaStore, NodeRow, StagingId, WalFile, WriteTxn};
use crate::model::{Attr, Caller, Digest, Kind, NodeId, Timestamp};
use crate::stats::Stats;
use crate::work::Moved;

/// Node numbers reserved at a time, so that numbers of removed nodes are never given again.
const ID_BATCH: u64 = 1024;
/// How often to look whether the store is free before sleeping; a look and a sched_yield(2) take half a microsecond.
const LOOKS_BEFORE_SLEEP: u32 = 300;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory of the store.
    pub data_dir: PathBuf,
    /// Nothing is written, not even for recovery.
    pub read_only: bool,
    /// Where the time comes from.
    pub clock: fn() -> Timestamp,
}

/// An open store and every operation of the filesystem. All methods take `&self`.
///
/// Handles have to be released; [`Vfs::close`] makes everything durable and says whether that succeeded.
#[derive(Debug)]
pub struct Vfs {
    pub(super) core: Mutex<Core>,
    pub(super) live: LiveTable,
    pub(super) handles: HandleTable,
    pub(super) blobs: BlobStore,
    pub(super) staging: Staging,
    pub(super) space: Space,
    pub(super) sealing: Arc<SealQueue>,
    pub(super) feed: Feed,
    pub(super) upkeep: Arc<Upkeep>,
    /// Whether files of `cas/` may be without a row, see `gc.rs`.
    pub(super) swept: AtomicU8,
    /// Files that nobody has open and whose draft could not be saved yet; each counts as a use.
    pub(super) kept: Mutex<Vec<Arc<Live>>>,
    pub(super) readers: Mutex<HashMap<Digest, Weak<BlobReader>>>,
    pub(super) changes: Changes,
    pub(super) stats: Stats,
    pub(super) unnamed: Unnamed,
    locks: Locks,
    pub(super) data_dir: PathBuf,
    pub(super) read_only: bool,
    /// The database has failed.
    broken: Arc<AtomicBool>,
    pub(super) scopes: Scopes,
    clock: fn() -> Timestamp,
    pub(super) wal: Option<WalFile>,
    /// Operations that are durable.
    pub(super) durable: AtomicU64,
    /// Held while the log is synced: whether that has ever failed.
    pub(super) sync_failed: Mutex<bool>,
    housekeeper: Arc<Housekeeper>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closed: AtomicBool,
    lock: Mutex<Option<StoreLock>>,
}

/// All rows, and what belongs to them in memory.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) meta: MetaStore,
    pub(super) side: Side,
}

/// What an operation may touch besides rows. Nothing in it is wrong when the operation is undone.
#[derive(Debug, Default)]
pub(super) struct Side {
    next_id: u64,
    id_ceiling: u64,
    /// Digests whose file is being put; their rows follow.
    pub(super) arriving: Arriving,
    /// Blobs on whose file the kernel serves a node. At most one node each.
    pub(super) kernel_served: HashMap<Digest, NodeId>,
    /// What can be removed once the present state is durable.
    pub(super) removals: Vec<Removal>,
    /// Snapshots that still read bodies: no file of a blob is removed, or written again, while there are any.
    pub(super) snapshots: u32,
    /// Whether there may be work items or dependencies: without any, a file that is removed is not asked for.
    pub(super) queue_used: bool,
    /// What the present operation has moved in the queue.
    pub(super) moved: Vec<Moved>,
}

/// Announcements of files that are being put. Counted, because two may bring the same bytes at once, and the one who is
/// done first must not speak for the other.
#[derive(Debug, Default)]
pub(super) struct Arriving(HashMap<Digest, u32>);

impl Arriving {
    pub(super) fn insert(&mut self, digest: Digest) {
        *self.0.entry(digest).or_default() += 1;
    }

    /// One announcement less; whether there was one.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let Some(count) = self.0.get_mut(digest) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(digest);
        }
        true
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }
}

/// A file that no durable row will name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Removal {
    /// A blob without references.
    Blob(Digest),
    /// A staging file; when it became the file of a blob, that one's stamp is noted afterwards.
    Staging(StagingId, Option<(BlobId, Digest)>),
}

impl Side {
    /// The next node number; [`Vfs::change`] has seen to it that one is left.
    pub(super) fn new_id(&mut self) -> NodeId {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Sees to it that a node number is left, inside a transaction that needs many. They are reserved up to `ceiling`, which
    /// counts when the transaction is committed.
    pub(super) fn reserve_id(&self, txn: &WriteTxn<'_>, ceiling: &mut u64) -> Result<()> {
        if self.next_id >= *ceiling {
            let next = self.next_id + ID_BATCH;
            txn.set_setting("next_node", next.cast_signed())?;
            *ceiling = next;
        }
        Ok(())
    }

    /// Gives up a body that a row named.
    pub(super) fn drop_body(&mut self, txn: &WriteTxn<'_>, body: BodyRow) -> Result<()> {
        match body {
            BodyRow::Empty => {}
            BodyRow::Blob(blob) => {
                if let Some(digest) = txn.drop_blob_ref(blob)? {
                    self.removals.push(Removal::Blob(digest));
                }
            }
            BodyRow::Draft(draft) => self.removals.push(Removal::Staging(draft, None)),
        }
        Ok(())
    }
}

impl Vfs {
    /// Makes an empty store in `data_dir`, which is made if it does not exist. The root directory belongs to `owner`.
    ///
    /// # Errors
    /// `Exists` when a store is there already, `NotEmpty` when something else is; what the disk reports.
    pub fn init(data_dir: &Path, owner: Caller, clock: fn() -> Timestamp) -> Result<()> {
        let shown = data_dir.display();
        std::fs::create_dir_all(data_dir).map_err(|e| Error::io(format!("make directory {shown}"), e))?;
        // Of several that begin at once one makes the store, and the others find it complete.
        let directory = File::open(data_dir).map_err(|e| Error::io(format!("open {shown}"), e))?;
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| Error::io(format!("lock {shown}"), e.into()))?;
        let database = data_dir.join("metadata.db");
        if database.exists() {
            return Err(Error::new(ErrorKind::Exists, format!("a store in {shown}")));
        }
        let mut entries = std::fs::read_dir(data_dir).map_err(|e| Error::io(format!("look into {shown}"), e))?;
        if entries.next().is_some() {
            return Err(Error::new(ErrorKind::NotEmpty, format!("make a store in {shown}")));
        }
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(data_dir, only_ours).map_err(|e| Error::io(format!("protect {shown}"), e))?;
        BlobStore::new(data_dir).create()?;
        Staging::new(data_dir).create()?;
        // Built aside and renamed, so that a store that has a database has all of it.
        let building = data_dir.join("metadata.db.new");
        MetaStore::create(&building)?;
        let (mut meta, _) = MetaStore::open(&building)?;
        let now = clock();
        meta.write(|txn| {
            let attr = Attr {
                id: NodeId::ROOT,
                kind: Kind::Directory,
                mode: 0o755,
                uid: owner.uid,
                gid: owner.gid,
                rdev: 0,
                nlink: 2,
                size: super::entries::DIRECTORY_BYTES,
                blocks: super::entries::DIRECTORY_BYTES / 512,
                atime: now,
                mtime: now,
                ctime: now,
                btime: now,
            };
            txn.insert_node(&NodeRow { attr, version: 1, body: BodyRow::Empty }, None)?;
            txn.set_setting(super::gc::CLEAN, 1)?;
            txn.set_setting("next_node", 2)
        })?;
        meta.checkpoint_all()?;
        drop(meta);
        std::fs::rename(&building, &database)
            .and_then(|()| directory.sync_all())
            .map_err(|e| Error::io("put the database in place", e))
    }

    /// Opens a store and clears what a crash has left. The process is its owner until [`Vfs::close`].
    ///
    /// # Errors
    /// `NotFound` without a store, `Incompatible` for a newer format, `Damaged`, and `InUse` with the number of the
    /// process that holds it.
    pub fn open_store(options: StoreOptions) -> Result<Arc<Self>> {
        let read_only = options.read_only;
        let vfs = Arc::new(Self::open_as_it_is(options)?);
        if !read_only {
            vfs.number_nodes()?;
            vfs.know_queue()?;
            vfs.recover()?;
            vfs.start_threads()?;
        }
        Ok(vfs)
    }

    /// Opens a store and leaves everything in it as it is, for whoever wants to see it so. Until [`Vfs::number_nodes`]
    /// nothing can be made in it.
    pub(super) fn open_as_it_is(options: StoreOptions) -> Result<Self> {
        let StoreOptions { data_dir, read_only, clock } = options;
        let database = data_dir.join("metadata.db");
        match database.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Error::new(ErrorKind::NotFound, format!("no store in {}", data_dir.display()))),
            Err(e) => return Err(Error::io(format!("look for a store in {}", data_dir.display()), e)),
        }
        let lock = StoreLock::take(&data_dir, read_only)?;
        let opened = if read_only {
            MetaStore::open_read_only(&database).map(|meta| (meta, None))
        } else {
            MetaStore::open(&database).map(|(meta, wal)| (meta, Some(wal)))
        };
        let (meta, wal) =
            opened.map_err(|e| Error::new(e.kind(), format!("open the store in {}", data_dir.display())).because(e))?;
        let broken = meta.broken();
        Ok(Self {
            core: Mutex::new(Core { meta, side: Side::default() }),
            live: LiveTable::default(),
            handles: HandleTable::default(),
            blobs: BlobStore::new(&data_dir),
            staging: Staging::new(&data_dir),
            space: Space::new(&data_dir),
            sealing: Arc::default(),
            feed: Feed::begun(clock()),
            upkeep: Arc::default(),
            swept: AtomicU8::default(),
            kept: Mutex::default(),
            readers: Mutex::default(),
            changes: Changes::default(),
            stats: Stats::default(),
            unnamed: Unnamed::default(),
            locks: Locks::default(),
            data_dir,
            read_only,
            broken,
            scopes: Scopes::default(),
            clock,
            wal,
            durable: AtomicU64::new(0),
            sync_failed: Mutex::new(false),
            housekeeper: Arc::default(),
            threads: Mutex::default(),
            closed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Takes up the numbering of nodes where the database says.
    pub(super) fn number_nodes(&self) -> Result<()> {
        let mut core = self.core.lock();
        let next = core.meta.read().setting("next_node")?.ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "the database has no next node number: 'nexus fsck --repair' sets it")
        })?;
        core.side.next_id = next.cast_unsigned();
        core.side.id_ceiling = core.side.next_id;
        Ok(())
    }

    /// Seals what is closed, commits and syncs. Open handles are closed. Every later operation fails.
    ///
    /// # Errors
    /// What the disk or the database report; what was fsynced before is safe nevertheless.
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        for handle in self.handles.ids() {
            if let Err(e) = self.release(handle) {
                log::error!("closing an open file at the end: {e}");
            }
        }
        self.forget_unnamed();
        let settled = if self.read_only { Ok(()) } else { self.settle() };
        self.stop_threads();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the store panicked");
            }
        }
        let ended = if self.read_only {
            Ok(())
        } else {
            // What was acknowledged is committed even if a draft could not be sealed.
            let durable = self.barrier();
            let settled = settled.and(durable);
            let in_order = if settled.is_ok() { self.leave_in_order() } else { Ok(()) };
            settled.and(in_order).and(self.core.lock().meta.checkpoint_all())
        };
        self.core.lock().meta.close();
        self.lock.lock().take();
        ended
    }

    fn stop_threads(&self) {
        self.housekeeper.stop();
        self.sealing.stop();
        self.upkeep.stop();
    }

    /// Makes everything acknowledged so far durable.
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn sync(&self) -> Result<()> {
        self.save_drafts(true)?;
        self.make_durable()
    }

    /// Waits until every closed draft is sealed and every dead body removed.
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn settle(&self) -> Result<()> {
        self.forget_unnamed();
        let kept = self.save_kept();
        self.seal_all()?;
        self.barrier().and(kept)
    }

    /// The locks that programs hold on files.
    #[must_use]
    pub fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Who is told of changes.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The time, from the clock the store was opened with.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Runs one operation on the rows: all of it or nothing.
    pub(super) fn change<T>(&self, operation: impl FnOnce(&WriteTxn<'_>, &mut Side) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let mut core = self.core.lock();
        self.change_in(&mut core, operation)
    }

    /// The same under a lock that is held already.
    pub(super) fn change_in<T>(
        &self,
        core: &mut Core,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side) -> Result<T>,
    ) -> Result<T> {
        let Core { meta, side } = core;
        if side.next_id >= side.id_ceiling {
            let ceiling = side.next_id + ID_BATCH;
            meta.write(|txn| txn.set_setting("next_node", ceiling.cast_signed()))?;
            side.id_ceiling = ceiling;
        }
        let was_dirty = meta.is_dirty();
        let noting = changes::noting();
        if noting {
            meta.note_changes();
        }
        side.moved.clear();
        let outcome = meta.write(|txn| operation(txn, side));
        if noting {
            changes::note(meta.take_noted());
        }
        let value = outcome?;
        if side.moved.iter().any(Moved::is_of_a_worker) {
            // A process that is killed takes what is not committed with it: the worker whose claim that was, and the next
            // one who gets the item, would both have it, under one number; and what was completed would be done again.
            meta.commit()?;
        }
        if !side.moved.is_empty() {
            self.changes.note_effects(side.moved.iter().map(|moved| moved.node));
            self.feed.publish(meta.read(), &side.moved, self.now())?;
        }
        if !was_dirty && meta.is_dirty() {
            self.housekeeper.has_work();
        }
        Ok(value)
    }

    /// Runs one operation that may be larger than memory as a transaction of its own: all of it or nothing, and nothing in
    /// any case unless `keep`. Nobody else reads or writes meanwhile. `operation` gets the ceiling for
    /// [`Side::reserve_id`].
    pub(super) fn change_alone<T>(
        &self,
        keep: bool,
        operation: impl FnOnce(&WriteTxn<'_>, &mut Side, &mut u64) -> Result<T>,
    ) -> Result<T> {
        self.check_writable()?;
        let mut core = self.core.lock();
        let Core { meta, side } = &mut *core;
        let (first, removals) = (side.next_id, side.removals.len());
        let mut ceiling = side.id_ceiling;
        side.moved.clear();
        let noting = changes::noting() && keep;
        if noting {
            meta.note_changes();
        }
        let outcome = meta.write_alone(keep, |txn| operation(txn, side, &mut ceiling));
        if noting {
            changes::note(meta.take_noted());
        }
        if keep && outcome.is_ok() {
            side.id_ceiling = ceiling;
            if !side.moved.is_empty() {
                self.changes.note_effects(side.moved.iter().map(|moved| moved.node));
                self.feed.publish(meta.read(), &side.moved, self.now())?;
            }
        } else {
            // Nobody has seen the numbers: they are given again.
            side.next_id = first;
            side.removals.truncate(removals);
        }
        outcome
    }

    /// Refuses what would change a store that is open for reading, or that can keep nothing any more: a write to a draft in
    /// memory would otherwise be told of that by nobody, because close(2) is not.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Io,
                "change a store whose database has failed; unmount, look at the disk, mount again",
            ));
        }
        if self.read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "change a store that is open for reading only"));
        }
        Ok(())
    }

    /// Takes the store. An operation holds it for microseconds, less than being put aside and woken takes: who has to wait
    /// lets others run and looks again, for 0.15 ms where nobody else wants to run, before it sleeps.
    pub(super) fn lock_core(&self) -> MutexGuard<'_, Core> {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if let Some(core) = self.core.try_lock() {
                return core;
            }
            std::thread::yield_now();
        }
        self.core.lock()
    }

    fn start_threads(self: &Arc<Self>) -> Result<()> {
        // The threads hold the store only while they work: one that is dropped without being closed ends at once.
        let (store, housekeeper) = (Arc::downgrade(self), Arc::clone(&self.housekeeper));
        let (sealed, sealing) = (Arc::downgrade(self), Arc::clone(&self.sealing));
        let (kept_up, upkeep) = (Arc::downgrade(self), Arc::clone(&self.upkeep));
        let mut threads = self.threads.lock();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run).map_err(|e| Error::io("start a thread", e))
        };
        threads.push(spawn("nexus-commit", Box::new(move || super::housekeeping::run(&store, &housekeeper)))?);
        threads.push(spawn("nexus-seal", Box::new(move || super::seal::run(&sealed, &sealing)))?);
        threads.push(spawn("nexus-upkeep", Box::new(move || super::upkeep::run(&kept_up, &upkeep)))?);
        Ok(())
    }
}

impl Drop for Vfs {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Name;
    use crate::vfs::{Allocate, OpenMode};

    pub(in crate::vfs) const CALLER: Caller = Caller { uid: 0, gid: 0 };

    pub(in crate::vfs) fn store() -> (tempfile::TempDir, Arc<Vfs>) {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("store");
        Vfs::init(&data_dir, CALLER, Timestamp::now).unwrap();
        let vfs = Vfs::open_store(StoreOptions { data_dir, read_only: false, clock: Timestamp::now }).unwrap();
        (directory, vfs)
    }

    #[test]
    fn a_store_that_can_keep_nothing_takes_no_more_bytes() {
        let (_directory, vfs) = store();
        let write = OpenMode { read: true, write: true, ..OpenMode::default() };
        let name = Name::new(b"file").unwrap();
        let (attr, opened) = vfs.create(&CALLER, NodeId::ROOT, name, 0o644, write).unwrap();
        vfs.write(opened.handle, 0, b"before").unwrap();
        vfs.lock_core().meta.give_up(&Error::new(ErrorKind::Io, "a disk that fails"));

        let refused = [
            vfs.write(opened.handle, 0, b"after").map(drop),
            vfs.allocate(opened.handle, Allocate::Grow, 0, 100),
            vfs.setattr(&CALLER, attr.id, &crate::model::AttrChange { size: Some(0), ..Default::default() }).map(drop),
            vfs.open(&CALLER, attr.id, OpenMode { truncate: true, ..write }).map(drop),
        ];
        assert!(refused.into_iter().all(|outcome| outcome.is_err_and(|e| e.kind() == ErrorKind::Io)));
        let mut body = [0; 10];
        assert_eq!(vfs.read(opened.handle, 0, &mut body).unwrap(), 6);
        assert!(vfs.release(opened.handle).is_err() && vfs.close().is_err());
    }
}
