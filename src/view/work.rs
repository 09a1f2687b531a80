//! The queue as one identity sees it: items that it does not see are in no list, no count and no graph, and what it cannot
//! change it does not get by claiming.

use std::time::{Duration, Instant};

use super::View;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{WorkKey, WorkList};
use crate::model::work::Status;
use crate::model::{NodeId, VPath};
use crate::policy::Access;
use crate::vfs::{Vfs, WorkChanges};
use crate::work::{Claim, ClaimRequest, Graph, Scope, Stands, WorkCounts, WorkItem, WorkPage};

/// How long somebody waits at most before he looks again: leases run out without a change.
const PATIENCE: Duration = Duration::from_secs(1);

impl View {
    /// As [`Vfs::work_page`], of what lies at or below a path.
    ///
    /// # Errors
    /// As there.
    pub fn work_page(&self, list: WorkList, under: &VPath, after: WorkKey, limit: usize) -> Result<WorkPage> {
        self.look_around(under, |vfs, scope| vfs.work_page(list, scope, after, limit))
    }

    /// As [`Vfs::work_counts`], of what lies at or below a path.
    ///
    /// # Errors
    /// As there.
    pub fn work_counts(&self, under: &VPath) -> Result<WorkCounts> {
        self.look_around(under, Vfs::work_counts)
    }

    /// As [`Vfs::work_graph`], of what lies at or below a path.
    ///
    /// # Errors
    /// As there.
    pub fn work_graph(&self, under: &VPath) -> Result<Graph> {
        self.look_around(under, Vfs::work_graph)
    }

    /// Claims the first ready item at or below a path that this identity may change. Without one it waits for `wait`;
    /// `None` when there is none then.
    ///
    /// # Errors
    /// As [`Vfs::work_claim`].
    pub fn work_claim_next(&self, under: &VPath, request: &ClaimRequest<'_>, wait: Duration) -> Result<Option<Claim>> {
        let changes = |path: &VPath| self.gate.changes_path(path);
        let until = Instant::now().checked_add(wait);
        loop {
            let seen = self.vfs().work_seen();
            {
                let _telling = self.telling();
                let vfs = self.gate.look_on(NodeId::ROOT)?;
                let all = self.gate.admits_all(Access::Read)? && self.gate.admits_all(Access::Write)?;
                let scope = if all { Scope::EVERYTHING } else { Scope::seen_by(&changes) };
                if let Some(claim) = vfs.work_claim(None, &scope.under(Some(under)), request, Duration::ZERO)? {
                    return Ok(Some(claim));
                }
            }
            let left = until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            // Nothing is kept in its place meanwhile: others move what they like.
            self.vfs().work_wait(seen, left.min(PATIENCE));
        }
    }

    /// Claims this item, if it lies at or below a path.
    ///
    /// # Errors
    /// As [`Vfs::work_claim`].
    pub fn work_claim(&self, id: NodeId, under: &VPath, request: &ClaimRequest<'_>) -> Result<Claim> {
        let _telling = self.telling();
        let sees = |path: &VPath| self.gate.sees_path(path);
        let claimed = self.change_item(id)?.work_claim(
            Some(id),
            &self.seen(&sees)?.under(Some(under)),
            request,
            Duration::ZERO,
        )?;
        claimed.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("find work item {id}")))
    }

    /// As [`Vfs::work_transit`], of an item that lies at or below a path, wherever it stands.
    ///
    /// # Errors
    /// As there.
    pub fn work_transit(
        &self,
        id: NodeId,
        under: &VPath,
        to: Status,
        claim: Option<u64>,
        request: &ClaimRequest<'_>,
    ) -> Result<WorkItem> {
        let _telling = self.telling();
        let sees = |path: &VPath| self.gate.sees_path(path);
        self.change_item(id)?.work_transit(
            id,
            Stands::Anywhere,
            to,
            claim,
            &self.seen(&sees)?.under(Some(under)),
            request,
        )
    }

    /// As [`Vfs::work_changes`], of what lies at or below a path.
    ///
    /// # Errors
    /// As there.
    pub fn work_changes(&self, under: &VPath, after: Option<u64>, wait: Duration) -> Result<WorkChanges> {
        if let Some(after) = after {
            // First, and not while anything is kept in its place.
            self.vfs().work_wait(after, wait);
        }
        self.look_around(under, |vfs, scope| vfs.work_changes(scope, after, Duration::ZERO))
    }

    /// Why an item is blocked.
    pub(super) fn work_why(&self, id: NodeId) -> Result<Vec<u8>> {
        let sees = |path: &VPath| self.gate.sees_path(path);
        let why = self.gate.look(id, |vfs| {
            vfs.getattr(id)?;
            vfs.work_why(id, &self.seen(&sees)?)
        })?;
        why.map(String::into_bytes).ok_or_else(|| Error::new(ErrorKind::NoAttribute, "tell why an item is blocked"))
    }

    /// The paths that this identity sees; `sees` asks for a single one.
    pub(super) fn seen<'a>(&self, sees: &'a dyn Fn(&VPath) -> bool) -> Result<Scope<'a>> {
        Ok(if self.gate.sees_everything()? { Scope::EVERYTHING } else { Scope::seen_by(sees) })
    }

    /// Looks at what this identity sees at or below a path, wherever that is.
    pub(super) fn look_around<T>(&self, under: &VPath, look: impl Fn(&Vfs, &Scope<'_>) -> Result<T>) -> Result<T> {
        let sees = |path: &VPath| self.gate.sees_path(path);
        self.gate.look(NodeId::ROOT, |vfs| look(vfs, &self.seen(&sees)?.under(Some(under))))
    }

    fn change_item(&self, id: NodeId) -> Result<super::gate::Pass<'_>> {
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        self.gate.change(id)
    }
}
