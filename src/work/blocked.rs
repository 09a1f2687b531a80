//! The list of what is blocked, for whoever sees only part of the store: ordered by the blockers he sees.
//!
//! The index of this list goes by all open dependencies. In that order the list itself would tell of files that the caller
//! may not know of, so it only says where to stop looking: nobody sees more blockers than there are.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::meta::{ReadTxn, WorkKey, WorkList};
use crate::model::work::Status;

use super::item::WorkPage;
use super::list::{blockers, shown};
use super::place::{Paths, Scope};

/// Rows looked at in one go.
const BATCH: usize = 256;

/// At most `limit` blocked items of a scope behind a key. Looks at as many rows as that takes.
///
/// # Errors
/// What the database reports.
pub(super) fn page(read: ReadTxn<'_>, scope: &Scope<'_>, after: WorkKey, limit: usize) -> Result<WorkPage> {
    let place = |key: WorkKey| (key.first, key.rank, key.created, key.node);
    let mut paths = Paths::new(read);
    // The first so many behind the key, of the rows looked at so far.
    let mut first = BTreeMap::<(i64, i64, i64, u64), _>::new();
    let mut at = WorkKey::START;
    'rows: loop {
        let rows = read.work_page(WorkList::In(Status::Blocked), at, BATCH)?;
        let Some((_, last)) = rows.last() else { break };
        at = *last;
        for (row, key) in rows {
            let is_full = first.len() == limit;
            if is_full && first.last_key_value().is_some_and(|((most, ..), _)| key.first > *most) {
                break 'rows;
            }
            let Some(path) = paths.of(row.node, scope)? else { continue };
            let most = -i64::try_from(blockers(&mut paths, &row, scope)?).unwrap_or(i64::MAX);
            let key = WorkKey { first: most, ..key };
            if place(key) > place(after) {
                first.insert(place(key), (key, row, path));
            }
            if first.len() > limit {
                first.pop_last();
            }
        }
    }
    let next = first.last_key_value().map(|(_, (key, ..))| *key).filter(|_| first.len() == limit);
    let items = first.into_values().map(|(_, row, path)| shown(&mut paths, &row, &path, scope));
    Ok(WorkPage { items: items.collect::<Result<_>>()?, next })
}
