//! Lists, counts, and why an item is blocked.

use crate::error::Result;
use crate::meta::{ReadTxn, WorkKey, WorkList, WorkRow};
use crate::model::work::{Status, key};
use crate::model::{NodeId, VPath, rfc3339};

use super::blocked;
use super::item::{WorkCounts, WorkItem, WorkPage};
use super::place::{Paths, Scope, tenant_of};

/// Rows looked at in one go.
const BATCH: usize = 256;
/// Open dependencies that are named as a reason.
const REASONS_MAX: usize = 100;

/// At most `limit` items of a list behind a key. Looks at no more than some hundred rows, so that a page may hold fewer
/// items than its limit, or none, and yet the list goes on; except for what is blocked, where not everything is seen.
///
/// # Errors
/// What the database reports.
pub fn page(read: ReadTxn<'_>, list: WorkList, scope: &Scope<'_>, after: WorkKey, limit: usize) -> Result<WorkPage> {
    let wanted = limit.clamp(1, BATCH);
    if list == WorkList::In(Status::Blocked) && !scope.anywhere().is_everything() {
        return blocked::page(read, scope, after, wanted);
    }
    let rows = read.work_page(list, after, if scope.is_everything() { wanted } else { BATCH })?;
    let full = rows.len() >= if scope.is_everything() { wanted } else { BATCH };
    let mut next = rows.last().map(|(_, key)| *key).filter(|_| full);
    let mut paths = Paths::new(read);
    let mut items = Vec::new();
    for (row, key) in rows {
        if let Some(path) = paths.of(row.node, scope)? {
            items.push(shown(&mut paths, &row, &path, scope)?);
        }
        if items.len() == wanted {
            next = Some(key);
            break;
        }
    }
    Ok(WorkPage { items, next })
}

/// One item; `None` for what is none in the scope.
///
/// # Errors
/// What the database reports.
pub fn item(read: ReadTxn<'_>, id: NodeId, scope: &Scope<'_>) -> Result<Option<WorkItem>> {
    let Some(row) = read.work(id)? else { return Ok(None) };
    let mut paths = Paths::new(read);
    let Some(path) = paths.of(id, scope)? else { return Ok(None) };
    shown(&mut paths, &row, &path, scope).map(Some)
}

/// How many items of a scope stand where.
///
/// # Errors
/// What the database reports.
pub fn counts(read: ReadTxn<'_>, scope: &Scope<'_>) -> Result<WorkCounts> {
    let mut counts = WorkCounts::default();
    if scope.is_everything() {
        for state in Status::ALL {
            counts.add(state, read.count_work(state)?);
        }
        return Ok(counts);
    }
    let (mut paths, mut after) = (Paths::new(read), WorkKey::START);
    loop {
        let rows = read.work_page(WorkList::ByPriority, after, BATCH)?;
        let Some((_, last)) = rows.last() else { return Ok(counts) };
        after = *last;
        for (row, _) in rows {
            if paths.of(row.node, scope)?.is_some() {
                counts.add(row.state(), 1);
            }
        }
    }
}

/// Why an item is blocked: a line for each dependency that is open, with its number, where it stands and its path. Those out
/// of the scope are one line without either. `None` for what is not blocked.
///
/// # Errors
/// What the database reports.
pub fn why(read: ReadTxn<'_>, id: NodeId, scope: &Scope<'_>) -> Result<Option<String>> {
    let Some(row) = read.work(id)?.filter(|row| row.state() == Status::Blocked) else { return Ok(None) };
    if row.open == 0 {
        return Ok(Some("its status says so; no dependency is open".into()));
    }
    let mut paths = Paths::new(read);
    let open = read.open_dependencies(id)?;
    let (mut lines, mut hidden) = (Vec::new(), false);
    for target in open.iter().take(REASONS_MAX) {
        let Some(path) = paths.of(*target, scope)? else {
            hidden = true;
            continue;
        };
        let state = read.work(*target)?.map_or("no work item", |row| row.state().word());
        lines.push(format!("{target} {state} {path}"));
    }
    if hidden {
        lines.push("what is out of sight".into());
    }
    if open.len() > REASONS_MAX {
        lines.push(format!("and {} more", open.len() - REASONS_MAX));
    }
    Ok(Some(lines.join("\n")))
}

pub(super) fn shown(paths: &mut Paths<'_>, row: &WorkRow, path: &VPath, scope: &Scope<'_>) -> Result<WorkItem> {
    let read = paths.read();
    let facts = read.work_facts(row.node)?;
    let lease = if row.lease.is_some() { read.attr(row.node, key::LEASE_UNTIL)? } else { None };
    Ok(WorkItem {
        path_id: row.node.to_string(),
        virtual_path: path.to_string(),
        tenant_id: tenant_of(path).map(|name| String::from_utf8_lossy(name).into_owned()),
        size_bytes: facts.size,
        content_hash: facts.digest.map(|digest| digest.to_string()),
        created_at: rfc3339(row.created),
        updated_at: rfc3339(facts.changed),
        status: row.status,
        state: row.state(),
        priority: row.priority,
        blocker_count: blockers(paths, row, scope)?,
        worker_id: facts.worker_id,
        started_at: facts.started_at,
        completed_at: facts.completed_at,
        lease_until: lease.map(|value| String::from_utf8_lossy(&value).into_owned()),
        claim: row.claim,
        tags: facts.tags,
    })
}

/// How many open dependencies of an item the caller may see, wherever he looks: of another's files he does not even learn
/// how many there are.
pub(super) fn blockers(paths: &mut Paths<'_>, row: &WorkRow, scope: &Scope<'_>) -> Result<u64> {
    let scope = scope.anywhere();
    if row.open == 0 || scope.is_everything() {
        return Ok(row.open);
    }
    let mut seen = 0;
    for target in paths.read().open_dependencies(row.node)? {
        seen += u64::from(paths.of(target, &scope)?.is_some());
    }
    Ok(seen)
}
