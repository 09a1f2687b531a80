//! The queue of work items.

use std::time::Duration;

use super::super::request::{Item, Reply};
use super::{Context, Exchange};
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{WorkKey, WorkList};
use crate::model::work::Status;
use crate::model::{VPath, XATTR_VALUE_BYTES_MAX};
use crate::work::ClaimRequest;

/// How long one request waits at most: an owner that is to end waits for what was begun.
const WAIT_MAX: Duration = Duration::from_secs(1);

impl Context<'_> {
    pub(super) fn work_list(
        &self,
        list: WorkList,
        under: &VPath,
        limit: Option<u64>,
        exchange: &mut dyn Exchange,
    ) -> Result<()> {
        let mut left = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let mut after = WorkKey::START;
        while left > 0 {
            let page = self.view.work_page(list, under, after, left)?;
            left -= page.items.len();
            page.items.into_iter().try_for_each(|item| exchange.item(Item::Work(Box::new(item))))?;
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(())
    }

    pub(super) fn work_graph(&self, under: &VPath, exchange: &mut dyn Exchange) -> Result<()> {
        let graph = self.view.work_graph(under)?;
        graph.items.into_iter().try_for_each(|node| exchange.item(Item::GraphNode(node)))?;
        graph.dependencies.into_iter().try_for_each(|dependency| exchange.item(Item::Dependency(dependency)))
    }

    pub(super) fn claim_next(
        &self,
        under: &VPath,
        worker: &str,
        lease: Option<Duration>,
        wait: Duration,
    ) -> Result<Reply> {
        let claimed = self.view.work_claim_next(under, &claim_by(worker, lease)?, wait.min(WAIT_MAX))?;
        Ok(Reply::Claim(claimed.map(Box::new)))
    }

    pub(super) fn claim_item(
        &self,
        item: &VPath,
        under: &VPath,
        worker: &str,
        lease: Option<Duration>,
    ) -> Result<Reply> {
        let claimed = self.view.work_claim(self.find(item)?.id, under, &claim_by(worker, lease)?)?;
        Ok(Reply::Claim(Some(Box::new(claimed))))
    }

    pub(super) fn move_item(&self, item: &VPath, under: &VPath, to: Status, claim: Option<u64>) -> Result<Reply> {
        if to == Status::InProgress {
            return Err(Error::new(ErrorKind::Invalid, "start a work item without a worker"));
        }
        let nobody = ClaimRequest { worker: "", lease: None };
        let moved = self.view.work_transit(self.find(item)?.id, under, to, claim, &nobody)?;
        Ok(Reply::WorkItem(Box::new(moved)))
    }

    pub(super) fn work_changes(
        &self,
        under: &VPath,
        after: Option<u64>,
        wait: Duration,
        exchange: &mut dyn Exchange,
    ) -> Result<Reply> {
        let seen = self.view.work_changes(under, after, wait.min(WAIT_MAX))?;
        seen.changes.into_iter().try_for_each(|change| exchange.item(Item::WorkChange(change)))?;
        Ok(Reply::WorkSeen { last: seen.last, missed: seen.missed })
    }
}

fn claim_by(worker: &str, lease: Option<Duration>) -> Result<ClaimRequest<'_>> {
    if worker.len() > XATTR_VALUE_BYTES_MAX {
        return Err(Error::new(ErrorKind::ValueTooLarge, "claim for a worker with so long a name"));
    }
    Ok(ClaimRequest { worker, lease })
}
