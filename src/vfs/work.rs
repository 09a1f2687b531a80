//! The queue, as the library and the command line use it. What a scope does not hold is not there.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};

use super::store::{Core, Side, Vfs};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{WorkKey, WorkList, WriteTxn};
use crate::model::work::Status;
use crate::model::{NodeId, Timestamp};
use crate::work::{
    self, Claim, ClaimRequest, Graph, Keeper, Scope, Stands, WorkChange, WorkCounts, WorkEntries, WorkEntry, WorkItem,
    WorkPage,
};

/// The worker of an item that was started without saying who does.
pub(super) const NOBODY: &str = "unknown";
/// How long somebody waits at most before he looks again: leases run out without a change.
const PATIENCE: Duration = Duration::from_secs(1);

/// What happened in the queue since somebody looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkChanges {
    /// The changes, in their order.
    pub changes: Vec<WorkChange>,
    /// The number behind which the next look goes on.
    pub last: u64,
    /// Whether there were more than are known any more.
    pub missed: bool,
}

impl Vfs {
    /// At most `limit` items of a list, behind [`WorkKey::START`] or where a page before said. A page may hold fewer, or
    /// none, and the list go on yet: it ends where a page says so.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_page(&self, list: WorkList, scope: &Scope<'_>, after: WorkKey, limit: usize) -> Result<WorkPage> {
        let core = self.current_queue()?;
        work::page(core.meta.read(), list, scope, after, limit)
    }

    /// One item; `None` for what is none in the scope.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_item(&self, id: NodeId, scope: &Scope<'_>) -> Result<Option<WorkItem>> {
        let core = self.current_queue()?;
        work::item(core.meta.read(), id, scope)
    }

    /// Some entries of the directory of a list behind a key.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_entries(&self, list: WorkList, scope: &Scope<'_>, after: WorkKey) -> Result<WorkEntries> {
        let core = self.current_queue()?;
        work::entries(core.meta.read(), list, scope, after)
    }

    /// The entry of a file in the directory of a list; `None` where it is not in that list, or not in the scope. With the
    /// number that [`Vfs::work_as_of`] gives as long as it is that.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_entry(&self, list: WorkList, id: NodeId, scope: &Scope<'_>) -> Result<(Option<WorkEntry>, u64)> {
        let core = self.current_queue()?;
        let read = core.meta.read();
        Ok((work::entry(read, list, id, scope)?, read.changes()))
    }

    /// A number that is another one after any change of the store.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_as_of(&self) -> Result<u64> {
        Ok(self.current_queue()?.meta.read().changes())
    }

    /// When something moved in the queue for the last time, as far as this process knows.
    #[must_use]
    pub fn work_changed_at(&self) -> Timestamp {
        self.feed.changed_at().unwrap_or_default()
    }

    /// How many items stand where.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_counts(&self, scope: &Scope<'_>) -> Result<WorkCounts> {
        let core = self.current_queue()?;
        work::counts(core.meta.read(), scope)
    }

    /// The graph of dependencies.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_graph(&self, scope: &Scope<'_>) -> Result<Graph> {
        let core = self.current_queue()?;
        work::graph(core.meta.read(), scope)
    }

    /// Claims the first ready item of a scope, or this one. Without a ready one it waits for `wait`; `None` when there is
    /// none then.
    ///
    /// # Errors
    /// `NotFound` for a named item that is not ready.
    pub fn work_claim(
        &self,
        named: Option<NodeId>,
        scope: &Scope<'_>,
        request: &ClaimRequest<'_>,
        wait: Duration,
    ) -> Result<Option<Claim>> {
        let until = Instant::now().checked_add(wait);
        loop {
            let seen = self.feed.last();
            let claimed = self.keep_queue(scope, |keeper| match named {
                Some(id) => keeper.claim(id, request).map(|()| Some(id)),
                None => keeper.claim_next(request),
            })?;
            if let Some(claim) = claimed {
                return Ok(Some(claim));
            }
            let left = until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.feed.wait(seen, left.min(PATIENCE));
            // After the end nothing is written any more, and waiting has no end of its own.
            self.check_writable()?;
        }
    }

    /// Brings an item into another state, as far as that transition is offered; `claim` is the number of the caller's
    /// claim, without which it is not looked at. The item as it is then.
    ///
    /// # Errors
    /// `NotFound` for what is no item of the scope, or does not stand where it should; `NotPermitted` for a transition that
    /// is not offered, and for a claim that has run out.
    pub fn work_transit(
        &self,
        id: NodeId,
        stands: Stands,
        to: Status,
        claim: Option<u64>,
        scope: &Scope<'_>,
        request: &ClaimRequest<'_>,
    ) -> Result<WorkItem> {
        let moved = self.keep_queue(scope, |keeper| {
            keeper.transit(id, stands, to, claim, request)?;
            Ok(Some(id))
        })?;
        moved.map(|claim| claim.item).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("find work item {id}")))
    }

    /// What happened behind a change, as soon as something has, or after `wait`. Without `after` it tells only from which
    /// number on to look.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_changes(&self, scope: &Scope<'_>, after: Option<u64>, wait: Duration) -> Result<WorkChanges> {
        let Some(after) = after else {
            return Ok(WorkChanges { changes: Vec::new(), last: self.feed.watch(), missed: false });
        };
        // Whoever asks may have watched the process that had the store before.
        self.feed.watch();
        drop(self.current_queue()?);
        self.feed.wait(after, wait);
        let (changes, last, missed) = self.feed.since(after, scope);
        Ok(WorkChanges { changes, last, missed })
    }

    /// The number of the latest change of the queue.
    #[must_use]
    pub fn work_seen(&self) -> u64 {
        self.feed.last()
    }

    /// Waits until something has changed since [`Vfs::work_seen`] told its number, but not for longer than `patience`.
    pub fn work_wait(&self, seen: u64, patience: Duration) {
        self.feed.wait(seen, patience);
    }

    /// Why an item is blocked, a line for each open dependency of the scope; `None` for what is not blocked.
    ///
    /// # Errors
    /// What the database reports.
    pub fn work_why(&self, id: NodeId, scope: &Scope<'_>) -> Result<Option<String>> {
        let core = self.current_queue()?;
        work::why(core.meta.read(), id, scope)
    }

    /// The number of the latest claim of an item; `None` for what was never claimed.
    pub(super) fn work_claim_number(&self, id: NodeId) -> Result<Option<u64>> {
        let core = self.current_queue()?;
        Ok(core.meta.read().work(id)?.map(|row| row.claim).filter(|claim| *claim > 0))
    }

    /// The core, after what has run out was made ready.
    pub(super) fn current_queue(&self) -> Result<MutexGuard<'_, Core>> {
        let core = self.lock_core();
        if self.read_only || !self.has_expired(&core)? {
            return Ok(core);
        }
        // Who looks has asked for no change, so nobody is about to tell of it.
        drop(core);
        let telling = self.changes.telling_all();
        let mut core = self.lock_core();
        self.expire_leases_in(&mut core)?;
        drop(core);
        drop(telling);
        // Whatever has run out since did so after this look.
        Ok(self.lock_core())
    }

    /// Makes ready what a worker has held longer than its lease.
    pub(super) fn expire_leases(&self) -> Result<()> {
        self.current_queue().map(drop)
    }

    fn has_expired(&self, core: &Core) -> Result<bool> {
        Ok(core.side.queue_used && !core.meta.read().expired_work(self.now())?.is_empty())
    }

    fn expire_leases_in(&self, core: &mut Core) -> Result<()> {
        let now = self.now();
        self.change_in(core, |txn, side| keeper(txn, side, now, Scope::EVERYTHING).expire().map(drop))
    }

    /// Takes up the queue where the database says; after a migration it is made from the attributes.
    pub(super) fn know_queue(&self) -> Result<()> {
        let mut core = self.lock_core();
        if core.meta.read().setting("work_unknown")?.is_some() {
            let told = self.change_in(&mut core, |txn, _| {
                txn.delete_setting("work_unknown")?;
                work::rebuild(txn)
            })?;
            told.iter().for_each(|what| log::warn!("making the queue of work items: {what}"));
        }
        core.side.queue_used = core.meta.read().has_work()?;
        if core.side.queue_used {
            self.changes.expect_effects();
        }
        Ok(())
    }

    /// One operation on the queue; the item it says, as it is afterwards.
    fn keep_queue(
        &self,
        scope: &Scope<'_>,
        operation: impl FnOnce(&mut Keeper<'_>) -> Result<Option<NodeId>>,
    ) -> Result<Option<Claim>> {
        self.check_writable()?;
        let mut core = self.current_queue()?;
        let now = self.now();
        let id = self.change_in(&mut core, |txn, side| operation(&mut keeper(txn, side, now, *scope)))?;
        let Some(id) = id else { return Ok(None) };
        let item = work::item(core.meta.read(), id, scope)?;
        Ok(item.map(|item| Claim { claim: item.claim, item }))
    }
}

/// The keeper of one operation.
pub(super) fn keeper<'a>(txn: &'a WriteTxn<'a>, side: &'a mut Side, now: Timestamp, scope: Scope<'a>) -> Keeper<'a> {
    Keeper::new(txn, now, scope, NOBODY, &mut side.moved)
}
