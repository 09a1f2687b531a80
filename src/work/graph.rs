//! The graph of dependencies.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::meta::{ReadTxn, WorkKey, WorkList};
use crate::model::NodeId;
use crate::model::work::Status;

use super::place::{Paths, Scope};

/// Rows looked at in one go.
const BATCH: usize = 256;

/// The items of a scope, and what waits for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// The items, and the files that items depend on, by number.
    pub items: Vec<GraphNode>,
    /// The dependencies, by item and target. One that leads out of the scope is left out.
    pub dependencies: Vec<Dependency>,
}

/// A file of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphNode {
    /// The number of the file, as text.
    pub path_id: String,
    /// Its path.
    pub virtual_path: String,
    /// Where it stands; `None` for a file that is no item, but needed by one.
    pub state: Option<Status>,
    /// Lower first.
    pub priority: Option<i64>,
}

/// Something waits for something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The `path_id` of what waits.
    pub item: String,
    /// The `path_id` of what has to be completed first.
    pub depends_on: String,
}

/// The graph of a scope at one moment.
///
/// # Errors
/// What the database reports.
pub fn graph(read: ReadTxn<'_>, scope: &Scope<'_>) -> Result<Graph> {
    let mut paths = Paths::new(read);
    let mut nodes = BTreeMap::new();
    let mut after = WorkKey::START;
    loop {
        let rows = read.work_page(WorkList::ByPriority, after, BATCH)?;
        let Some((_, last)) = rows.last() else { break };
        after = *last;
        for (row, _) in rows {
            if let Some(path) = paths.of(row.node, scope)? {
                nodes.insert(row.node, (path, Some(row.state()), row.priority));
            }
        }
    }
    let mut dependencies = Vec::new();
    let mut behind = (NodeId(0), NodeId(0));
    loop {
        let rows = read.dependency_page(behind, BATCH)?;
        let Some(last) = rows.last() else { break };
        behind = *last;
        for (item, target) in rows {
            if !nodes.get(&item).is_some_and(|(_, state, _)| state.is_some()) {
                continue;
            }
            if let Entry::Vacant(place) = nodes.entry(target) {
                let Some(path) = paths.of(target, scope)? else { continue };
                place.insert((path, None, None));
            }
            dependencies.push(Dependency { item: item.to_string(), depends_on: target.to_string() });
        }
    }
    let shown = nodes.into_iter().map(|(id, (path, state, priority))| GraphNode {
        path_id: id.to_string(),
        virtual_path: path.to_string(),
        state,
        priority,
    });
    Ok(Graph { items: shown.collect(), dependencies })
}

impl Graph {
    /// In the language of graphviz(7): an arrow leads from what has to be completed to what waits for it.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut dot = String::from("digraph work {\n    rankdir = LR;\n    node [shape = box, style = filled];\n");
        for item in &self.items {
            let color = match item.state {
                None => "white",
                Some(Status::Ready) => "palegreen",
                Some(Status::Pending) => "lightgrey",
                Some(Status::Blocked) => "orange",
                Some(Status::InProgress) => "lightblue",
                Some(Status::Completed) => "grey",
                Some(Status::Failed) => "tomato",
            };
            let state = item.state.map_or("no work item", Status::word);
            // The line break is graphviz's own escape, so it stands outside of what is quoted.
            let label = quoted(&item.virtual_path);
            let label = format!("{}\\n{state}\"", &label[..label.len() - 1]);
            dot.push_str(&format!("    {} [label = {label}, fillcolor = {color}];\n", quoted(&item.path_id)));
        }
        for Dependency { item, depends_on } in &self.dependencies {
            dot.push_str(&format!("    {} -> {};\n", quoted(depends_on), quoted(item)));
        }
        dot.push_str("}\n");
        dot
    }
}
