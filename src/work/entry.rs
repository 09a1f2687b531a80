//! Items as entries of directories: what `/.work` shows of them.

use crate::error::Result;
use crate::meta::{ReadTxn, WorkEntryRow, WorkKey, WorkList, WorkRow};
use crate::model::{Attr, NAME_BYTES_MAX, NodeId, VPath};

use super::place::{Paths, Scope};

/// Rows looked at in one go.
const BATCH: usize = 256;
/// What stands for no priority: behind every priority there can be.
const NO_PRIORITY: i64 = 9_999_999_999;

/// An item as an entry of the directory of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkEntry {
    /// The file.
    pub node: NodeId,
    /// Its place in the list.
    pub key: WorkKey,
    /// `{priority, 10 characters}-{path_id}-{file name}`: sorted by name, they are in the order of the queue.
    pub name: Vec<u8>,
    /// Where the file is.
    pub path: VPath,
    /// The attributes of the file.
    pub attr: Attr,
}

/// Some entries of a list, in its order.
#[derive(Clone, Debug)]
pub struct WorkEntries {
    /// The entries. There may be none, and the list go on.
    pub entries: Vec<WorkEntry>,
    /// Behind which key it goes on; `None` at its end.
    pub next: Option<WorkKey>,
    /// How many changes the store had seen: they are right as long as it has seen no more.
    pub changes: u64,
}

/// Some entries of a list behind a key.
///
/// # Errors
/// What the database reports.
pub fn entries(read: ReadTxn<'_>, list: WorkList, scope: &Scope<'_>, after: WorkKey) -> Result<WorkEntries> {
    let rows = read.work_entries(list, after, BATCH)?;
    let next = rows.last().map(|row| row.key).filter(|_| rows.len() == BATCH);
    let mut paths = Paths::new(read);
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        entries.extend(seen(&mut paths, row, scope)?);
    }
    Ok(WorkEntries { entries, next, changes: read.changes() })
}

/// The entry of a file in a list; `None` where it is not in that list, or not in the scope.
///
/// # Errors
/// What the database reports.
pub fn entry(read: ReadTxn<'_>, list: WorkList, node: NodeId, scope: &Scope<'_>) -> Result<Option<WorkEntry>> {
    let stands = |row: &WorkRow| match list {
        WorkList::In(state) => row.state() == state,
        WorkList::ByPriority => true,
    };
    let Some(row) = read.work_entry(list, node)?.filter(|row| stands(&row.item)) else { return Ok(None) };
    seen(&mut Paths::new(read), row, scope)
}

/// What an entry shows, where its file can be seen.
fn seen(paths: &mut Paths<'_>, row: WorkEntryRow, scope: &Scope<'_>) -> Result<Option<WorkEntry>> {
    let path = match &row.only_name {
        Some((directory, name)) => paths.at(*directory, name)?.filter(|path| scope.holds(path)),
        None => paths.of(row.item.node, scope)?,
    };
    Ok(path.map(|path| shown(&row, path)))
}

/// The number of the file that an entry of this name would be.
#[must_use]
pub fn node_of(name: &[u8]) -> Option<NodeId> {
    // The first ten characters may begin with the sign.
    let rest = name.get(10..)?.strip_prefix(b"-")?;
    let end = rest.iter().position(|byte| *byte == b'-')?;
    let digits = &rest[..end];
    if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(NodeId)
}

fn shown(row: &WorkEntryRow, path: VPath) -> WorkEntry {
    let name = name(&row.item, path.names().next_back().map_or(&[][..], |name| name.as_bytes()));
    WorkEntry { node: row.item.node, key: row.key, name, attr: row.node.attr, path }
}

fn name(row: &WorkRow, file: &[u8]) -> Vec<u8> {
    let priority = match row.priority {
        // A sign and nine digits that grow with the number: -1 is -999999999.
        Some(negative) if negative < 0 => format!("-{:09}", 1_000_000_000 + negative),
        other => format!("{:010}", other.unwrap_or(NO_PRIORITY)),
    };
    let mut name = format!("{priority}-{}-", row.node).into_bytes();
    let mut room = file.len().min(NAME_BYTES_MAX - name.len());
    // A name that has to be cut is not cut within a character.
    while room < file.len() && room > 0 && file[room] & 0xc0 == 0x80 {
        room -= 1;
    }
    name.extend_from_slice(&file[..room]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::work::Status;

    fn row(node: u64, priority: Option<i64>) -> WorkRow {
        let (status, created) = (Status::Ready, Timestamp(0));
        WorkRow { node: NodeId(node), status, open: 0, priority, created, started: None, lease: None, claim: 0 }
    }

    #[test]
    fn names_are_in_the_order_of_priorities() {
        let priorities = [Some(crate::model::PRIORITY_MIN), Some(-10), Some(-1), Some(0), Some(9), Some(10)];
        let mut names: Vec<_> = priorities.iter().map(|priority| name(&row(7, *priority), b"x")).collect();
        names.push(name(&row(7, Some(crate::model::PRIORITY_MAX)), b"x"));
        names.push(name(&row(7, None), b"x"));
        assert!(names.is_sorted(), "{names:?}");
        assert!(names.iter().all(|name| name.len() == 10 + 1 + 1 + 1 + 1));
        assert_eq!(names[3], b"0000000000-7-x");
    }

    #[test]
    fn a_name_tells_its_file() {
        for (node, priority, file) in [(7, Some(1), &b"task.json"[..]), (123, None, b"-a-b"), (9, Some(-5), b"\xff")] {
            assert_eq!(node_of(&name(&row(node, priority), file)), Some(NodeId(node)));
        }
        let long = "\u{e4}".repeat(127);
        let cut = name(&row(7, None), long.as_bytes());
        assert!(cut.len() <= NAME_BYTES_MAX && std::str::from_utf8(&cut).is_ok());
        for other in
            ["", "0000000001", "0000000001-", "0000000001-7", "0000000001-x-y", "0000000001-07-y", "0000000001--y"]
        {
            assert_eq!(node_of(other.as_bytes()), None, "{other}");
        }
    }
}
