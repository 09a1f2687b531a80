//! Transitions that are offered to workers: each only from the state in which it makes sense.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::meta::{NodeRow, WorkKey, WorkList, WorkRow};
use crate::model::work::{Status, Transition, key};
use crate::model::{NodeId, rfc3339};

use super::keep::{Keeper, is_file};
use super::place::Paths;

/// Ready items looked at in one go for the first that the caller sees.
const BATCH: usize = 64;

/// Who claims, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// The worker, for `worker_id`.
    pub worker: &'a str,
    /// After this time the item is ready again; `None`: never.
    pub lease: Option<Duration>,
}

/// How a guarded transition finds the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Wherever it does.
    Anywhere,
    /// In this state, or it is not found.
    In(Status),
}

impl Keeper<'_> {
    /// Makes ready what a worker has held longer than its lease; how many items.
    ///
    /// # Errors
    /// What the database reports.
    pub fn expire(&mut self) -> Result<usize> {
        let mut count = 0;
        loop {
            let expired = self.txn.expired_work(self.now)?;
            if expired.is_empty() {
                return Ok(count);
            }
            count += expired.len();
            for id in expired {
                let node = self.txn.node(id)?;
                self.change_status(&node, Status::Ready)?;
            }
        }
    }

    /// Claims the first ready item of the scope; `None` when there is none.
    ///
    /// # Errors
    /// What the database reports.
    pub fn claim_next(&mut self, request: &ClaimRequest<'_>) -> Result<Option<NodeId>> {
        let mut after = WorkKey::START;
        let mut paths = Paths::new(**self.txn);
        loop {
            let limit = if self.scope.is_everything() { 1 } else { BATCH };
            let ready = self.txn.work_page(WorkList::In(Status::Ready), after, limit)?;
            let Some((_, last)) = ready.last() else { return Ok(None) };
            after = *last;
            for (row, _) in ready {
                if self.scope.is_everything() || paths.of(row.node, &self.scope)?.is_some() {
                    self.take(&self.txn.node(row.node)?, request)?;
                    return Ok(Some(row.node));
                }
            }
        }
    }

    /// Claims this item.
    ///
    /// # Errors
    /// `NotFound` when it is not ready, or not in the scope: somebody else was faster.
    pub fn claim(&mut self, id: NodeId, request: &ClaimRequest<'_>) -> Result<()> {
        let (node, row) = self.item(id)?;
        if row.state() != Status::Ready {
            let what = format!("claim work item {id}, which is {}: a ready item of that name", row.state());
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        self.take(&node, request)
    }

    /// Brings an item into another state. With the number of a claim, only while that claim holds.
    ///
    /// # Errors
    /// `NotFound` for what is no item of the scope or stands not where it should; `NotPermitted` for a transition that is
    /// not offered, and for a claim that has run out.
    pub fn transit(
        &mut self,
        id: NodeId,
        stands: Stands,
        to: Status,
        claim: Option<u64>,
        request: &ClaimRequest<'_>,
    ) -> Result<()> {
        let (node, row) = self.item(id)?;
        let state = row.state();
        if matches!(stands, Stands::In(expected) if expected != state) {
            let what = format!("find work item {id} where it was: it is {state} now");
            return Err(Error::new(ErrorKind::NotFound, what));
        }
        if let Some(claim) = claim
            && (claim != row.claim || state != Status::InProgress)
        {
            let holder =
                if state == Status::InProgress { format!("claim {} has", row.claim) } else { "nobody has".into() };
            let what =
                format!("bring work item {id} to {to} by claim {claim}, which has run out: {holder} the item now");
            return Err(Error::new(ErrorKind::NotPermitted, what));
        }
        match Transition::between(state, to) {
            Some(Transition::Claim) => self.take(&node, request),
            Some(_) => self.change_status(&node, to),
            None => {
                let what = format!("bring work item {id} from {state} to {to}");
                Err(Error::new(ErrorKind::NotPermitted, what))
            }
        }
    }

    fn take(&mut self, node: &NodeRow, request: &ClaimRequest<'_>) -> Result<()> {
        let id = node.attr.id;
        // What somebody has noted beforehand is not this worker's.
        for key in [key::STARTED_AT, key::COMPLETED_AT, key::LEASE_UNTIL] {
            self.txn.delete_attr(id, key)?;
        }
        self.txn.set_attr(id, key::WORKER_ID, request.worker.as_bytes())?;
        if let Some(lease) = request.lease {
            self.txn.set_attr(id, key::LEASE_UNTIL, rfc3339(self.now.after(lease)).as_bytes())?;
        }
        self.change_status(node, Status::InProgress)
    }

    /// An item of the scope.
    fn item(&self, id: NodeId) -> Result<(NodeRow, WorkRow)> {
        let missing = || Error::new(ErrorKind::NotFound, format!("find work item {id}"));
        let node = self.txn.find_node(id)?.filter(is_file).ok_or_else(missing)?;
        let row = self.txn.work(id)?.ok_or_else(missing)?;
        if !self.scope.is_everything() && Paths::new(**self.txn).of(id, &self.scope)?.is_none() {
            return Err(missing());
        }
        Ok((node, row))
    }
}
