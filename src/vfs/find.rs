//! Finding files by their custom metadata.

use serde::{Deserialize, Serialize};

use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::ReadTxn;
use crate::model::NodeId;
use crate::model::metadata::{Condition, attribute_of};
use crate::work::{Paths, Scope};

/// Values looked at under one hold of the lock.
const BATCH: usize = 256;

/// A file or directory that has what was searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Its number, as text.
    pub path_id: String,
    /// Its path.
    pub virtual_path: String,
}

/// A place in the results of a search: behind this value and file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchKey {
    beginning: Vec<u8>,
    node: u64,
}

/// Some results of a search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchPage {
    /// The results.
    pub found: Vec<Match>,
    /// Where the search goes on; `None` at its end.
    pub next: Option<MatchKey>,
}

impl Vfs {
    /// What fulfils all conditions, in no order that means anything; from the beginning, or from where a page before said.
    /// A page may be empty, and the search go on yet.
    ///
    /// # Errors
    /// `Invalid` without a condition, or for an impossible key.
    pub fn find(&self, conditions: &[Condition], scope: &Scope<'_>, after: Option<MatchKey>) -> Result<MatchPage> {
        let Some(first) = conditions.iter().find(|c| c.only_value().is_some()).or_else(|| conditions.first()) else {
            return Err(Error::new(ErrorKind::Invalid, "search for files without a condition"));
        };
        let keys = conditions.iter().map(|c| attribute_of(&c.key)).collect::<Result<Vec<_>>>()?;
        let core = self.current_queue()?;
        let read = core.meta.read();
        let after = after.unwrap_or_default();
        let key = attribute_of(&first.key)?;
        let rows = match first.only_value() {
            Some(value) => read.nodes_with_value(&key, value, NodeId(after.node), BATCH)?,
            None => read.nodes_with_key(&key, (&after.beginning, NodeId(after.node)), BATCH)?,
        };
        let next = rows.last().filter(|_| rows.len() == BATCH);
        let next = next.map(|(beginning, node)| MatchKey { beginning: beginning.clone(), node: node.0 });
        let mut paths = Paths::new(read);
        let mut found = Vec::new();
        for (_, node) in rows {
            if !fulfils(read, node, conditions, &keys)? {
                continue;
            }
            if let Some(path) = paths.of(node, scope)? {
                found.push(Match { path_id: node.to_string(), virtual_path: path.to_string() });
            }
        }
        Ok(MatchPage { found, next })
    }
}

fn fulfils(read: ReadTxn<'_>, node: NodeId, conditions: &[Condition], keys: &[Vec<u8>]) -> Result<bool> {
    for (condition, key) in conditions.iter().zip(keys) {
        match read.attr(node, key)? {
            Some(value) if condition.holds(&value) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
