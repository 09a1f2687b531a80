//! Keeping the rows of the queue beside the attributes they follow from.

use crate::error::{Error, ErrorKind, Result};
use crate::meta::{NodeRow, WorkRow, WriteTxn};
use crate::model::work::{self, Status, Target, key};
use crate::model::{Kind, NodeId, Timestamp, VPath, rfc3339};

use super::place::{Paths, Scope};

/// An item that came to stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The file.
    pub node: NodeId,
    /// Where it stood; `None`: it was no item.
    pub from: Option<Status>,
    /// Where it stands; `None`: it is none any more.
    pub to: Option<Status>,
    /// The name that was its last, for a file that is gone.
    pub last_name: Option<(NodeId, Vec<u8>)>,
}

impl Moved {
    /// Whether a worker got it, or it came from one: he acts on the answer.
    #[must_use]
    pub fn is_of_a_worker(&self) -> bool {
        [self.from, self.to].contains(&Some(Status::InProgress))
    }
}

/// Keeps the queue during one operation.
#[derive(Debug)]
pub struct Keeper<'a> {
    pub(super) txn: &'a WriteTxn<'a>,
    pub(super) now: Timestamp,
    /// What the caller may depend on.
    pub(super) scope: Scope<'a>,
    /// Who is noted as the worker of what is started without saying who.
    pub(super) worker: &'a str,
    moved: &'a mut Vec<Moved>,
}

impl<'a> Keeper<'a> {
    /// A keeper for an operation that notes what it moves.
    pub fn new(
        txn: &'a WriteTxn<'a>,
        now: Timestamp,
        scope: Scope<'a>,
        worker: &'a str,
        moved: &'a mut Vec<Moved>,
    ) -> Self {
        Self { txn, now, scope, worker, moved }
    }

    /// An attribute was set to `value`, in the same operation.
    ///
    /// # Errors
    /// `Invalid` for a value that the key cannot have, or a dependency that does not exist; `Cycle`; `ValueTooLarge` for
    /// more than 1,000 dependencies. The operation has to be undone then.
    pub fn attribute_set(&mut self, node: &NodeRow, key: &[u8], value: &[u8]) -> Result<()> {
        if !is_file(node) {
            return Ok(());
        }
        match key {
            key::STATUS => self.set_status(node, Status::parse(value)?),
            key::PRIORITY => work::parse_priority(value).and_then(|_| self.refresh(node)),
            key::LEASE_UNTIL => work::parse_lease(value).and_then(|_| self.refresh(node)),
            key::STARTED_AT => self.refresh(node),
            key::DEPENDS_ON => self.set_dependencies(node, &work::parse_depends_on(value)?),
            _ => Ok(()),
        }
    }

    /// An attribute was removed, in the same operation.
    ///
    /// # Errors
    /// What the database reports.
    pub fn attribute_removed(&mut self, node: &NodeRow, key: &[u8]) -> Result<()> {
        if !is_file(node) {
            return Ok(());
        }
        match key {
            key::STATUS => self.leave(node.attr.id, None),
            key::DEPENDS_ON => self.set_dependencies(node, &[]),
            key if key::is_kept(key) => self.refresh(node),
            _ => Ok(()),
        }
    }

    /// The attributes of these files were written without a word about each. What they depend on may have come with them;
    /// a dependency that does not exist is left out, as one that was deleted.
    ///
    /// # Errors
    /// `Cycle`; what the database reports. The operation has to be undone then.
    pub fn adopt(&mut self, files: &[NodeId]) -> Result<()> {
        for id in files {
            let Some(node) = self.txn.find_node(*id)?.filter(is_file) else { continue };
            let value = self.txn.attr(*id, key::DEPENDS_ON)?.unwrap_or_default();
            let mut targets = work::parse_depends_on(&value).unwrap_or_default();
            targets.retain(|target| self.find_target(target).is_ok());
            self.set_dependencies(&node, &targets)?;
        }
        for id in files {
            let Some(node) = self.txn.find_node(*id)?.filter(is_file) else { continue };
            match self.txn.attr(*id, key::STATUS)?.map(|value| Status::parse(&value)) {
                Some(Ok(status)) => {
                    self.set_status(&node, status)?;
                    self.refresh(&node)?;
                }
                _ => self.leave(*id, None)?,
            }
        }
        Ok(())
    }

    /// A file has lost its last name, which was this one: it is no item any more, and blocks nothing.
    ///
    /// # Errors
    /// What the database reports.
    pub fn file_removed(&mut self, id: NodeId, last_name: (NodeId, Vec<u8>)) -> Result<()> {
        self.leave(id, Some(last_name))?;
        let dependents = self.txn.dependents(id)?;
        self.txn.delete_dependents(id)?;
        self.txn.delete_dependencies(id)?;
        for dependent in dependents {
            self.recount(dependent)?;
        }
        Ok(())
    }

    /// Gives an item a status, with all that follows: times and workers, and whoever waits for it.
    ///
    /// # Errors
    /// What the database reports.
    pub(super) fn set_status(&mut self, node: &NodeRow, status: Status) -> Result<()> {
        let id = node.attr.id;
        let old = self.txn.work(id)?;
        let was = old.map(|row| row.status);
        if was == Some(status) {
            return Ok(());
        }
        self.forget_worker(id, was, status)?;
        let mut claim = old.map_or(0, |row| row.claim);
        match status {
            Status::InProgress => {
                claim = self.txn.next_claim()?;
                self.fill(id, key::WORKER_ID, self.worker.as_bytes())?;
                self.fill(id, key::STARTED_AT, rfc3339(self.now).as_bytes())?;
            }
            Status::Completed => self.fill(id, key::COMPLETED_AT, rfc3339(self.now).as_bytes())?,
            _ => {}
        }
        let open = old.map_or_else(|| self.txn.count_open_dependencies(id), |row| Ok(row.open))?;
        let row = WorkRow { claim, open, ..derive(self.txn, node, status)? };
        self.put(old.as_ref(), &row)?;
        if (was == Some(Status::Completed)) != (status == Status::Completed) {
            self.tell_dependents(id)?;
        }
        Ok(())
    }

    /// Writes the status into the attribute, too.
    pub(super) fn change_status(&mut self, node: &NodeRow, status: Status) -> Result<()> {
        self.txn.set_attr(node.attr.id, key::STATUS, status.word().as_bytes())?;
        self.txn.update_ctime(node.attr.id, self.now)?;
        self.set_status(node, status)
    }

    /// What an earlier worker has left goes when the item is given back, or taken up again after its end.
    fn forget_worker(&self, id: NodeId, was: Option<Status>, status: Status) -> Result<()> {
        let gone: &[&[u8]] = match (was, status) {
            (Some(Status::InProgress), Status::Completed | Status::Failed) => &[key::LEASE_UNTIL],
            (
                Some(Status::InProgress | Status::Completed | Status::Failed),
                Status::Ready | Status::Pending | Status::Blocked,
            ) => &[key::WORKER_ID, key::STARTED_AT, key::COMPLETED_AT, key::LEASE_UNTIL],
            (Some(Status::Completed | Status::Failed), _) => &[key::COMPLETED_AT],
            _ => &[],
        };
        for key in gone {
            self.txn.delete_attr(id, key)?;
        }
        Ok(())
    }

    fn fill(&self, id: NodeId, key: &[u8], value: &[u8]) -> Result<()> {
        if self.txn.attr(id, key)?.is_none() {
            self.txn.set_attr(id, key, value)?;
        }
        Ok(())
    }

    /// Takes over what the attributes say beside the status.
    pub(super) fn refresh(&mut self, node: &NodeRow) -> Result<()> {
        let Some(old) = self.txn.work(node.attr.id)? else { return Ok(()) };
        let row = WorkRow { claim: old.claim, open: old.open, ..derive(self.txn, node, old.status)? };
        self.put(Some(&old), &row)
    }

    /// The file is no item any more.
    fn leave(&mut self, id: NodeId, last_name: Option<(NodeId, Vec<u8>)>) -> Result<()> {
        let Some(old) = self.txn.work(id)? else { return Ok(()) };
        self.txn.delete_work(id)?;
        let gone = last_name.is_some();
        self.moved.push(Moved { node: id, from: Some(old.state()), to: None, last_name });
        if old.status == Status::Completed && !gone {
            self.tell_dependents(id)?;
        }
        Ok(())
    }

    fn set_dependencies(&mut self, node: &NodeRow, targets: &[Target]) -> Result<()> {
        let id = node.attr.id;
        let mut files = Vec::with_capacity(targets.len());
        for target in targets {
            files.push(self.find_target(target)?);
        }
        let is_needed = self.txn.has_dependents(id)?;
        for file in &files {
            if *file == id || (is_needed && self.txn.depends_on(*file, id)?) {
                return Err(Error::new(ErrorKind::Cycle, format!("make file {id} depend on file {file}")));
            }
        }
        self.txn.delete_dependencies(id)?;
        for file in files {
            self.txn.insert_dependency(id, file)?;
        }
        self.recount(id)
    }

    /// The file that a dependency names.
    fn find_target(&self, target: &Target) -> Result<NodeId> {
        let refuse = |why: &str| match target {
            Target::Node(id) => Error::new(ErrorKind::Invalid, format!("depend on file {id}, {why}")),
            Target::Path(path) => Error::new(ErrorKind::Invalid, format!("depend on {path}, {why}")),
        };
        let row = match target {
            Target::Node(id) => self.txn.find_node(*id)?,
            Target::Path(path) if self.scope.holds(path) => self.walk(path)?,
            Target::Path(_) => None,
        };
        let row = row.filter(|row| row.attr.nlink > 0).ok_or_else(|| refuse("which does not exist"))?;
        let id = row.attr.id;
        let seen = self.scope.is_everything() || Paths::new(**self.txn).of(id, &self.scope)?.is_some();
        if !seen {
            return Err(refuse("which does not exist"));
        }
        if row.attr.kind != Kind::File {
            return Err(refuse("which is no regular file"));
        }
        Ok(id)
    }

    fn walk(&self, path: &VPath) -> Result<Option<NodeRow>> {
        let mut found = self.txn.find_node(NodeId::ROOT)?;
        for name in path.names() {
            let Some(directory) = found else { break };
            found = self.txn.child(directory.attr.id, name)?;
        }
        Ok(found)
    }

    /// The item was completed, or is completed no longer: whoever depends on it has one open dependency less or more.
    fn tell_dependents(&mut self, id: NodeId) -> Result<()> {
        for dependent in self.txn.dependents(id)? {
            self.recount(dependent)?;
        }
        Ok(())
    }

    /// Counts the open dependencies of an item. One that was blocked is ready when the last of them has closed.
    fn recount(&mut self, id: NodeId) -> Result<()> {
        let Some(old) = self.txn.work(id)? else { return Ok(()) };
        let open = self.txn.count_open_dependencies(id)?;
        if open == old.open {
            return Ok(());
        }
        let freed = open == 0 && old.status == Status::Blocked;
        if freed {
            self.txn.set_attr(id, key::STATUS, Status::Ready.word().as_bytes())?;
            self.txn.update_ctime(id, self.now)?;
        }
        let status = if freed { Status::Ready } else { old.status };
        self.put(Some(&old), &WorkRow { open, status, ..old })
    }

    fn put(&mut self, old: Option<&WorkRow>, row: &WorkRow) -> Result<()> {
        if old == Some(row) {
            return Ok(());
        }
        if old.is_some() {
            self.txn.update_work(row)?;
        } else {
            self.txn.insert_work(row)?;
        }
        let from = old.map(WorkRow::state);
        if from != Some(row.state()) {
            self.moved.push(Moved { node: row.node, from, to: Some(row.state()), last_name: None });
        }
        Ok(())
    }
}

/// Only a regular file that has a name can be an item.
pub(super) fn is_file(node: &NodeRow) -> bool {
    node.attr.kind == Kind::File && node.attr.nlink > 0
}

/// What the attributes of an item say; its claim and its open dependencies are not among that.
pub(super) fn derive(read: &crate::meta::ReadTxn<'_>, node: &NodeRow, status: Status) -> Result<WorkRow> {
    let id = node.attr.id;
    let priority = read.attr(id, key::PRIORITY)?.and_then(|value| work::parse_priority(&value).ok());
    let started = read.attr(id, key::STARTED_AT)?.and_then(|value| work::parse_started(&value));
    let lease = match status {
        Status::InProgress => read.attr(id, key::LEASE_UNTIL)?.and_then(|value| work::parse_lease(&value).ok()),
        _ => None,
    };
    Ok(WorkRow { node: id, status, open: 0, priority, created: node.attr.btime, started, lease, claim: 0 })
}
