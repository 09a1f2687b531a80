//! Whose kernel may have cached pages of a file that are out of date, so that the next open there drops them.
//!
//! Each mount has pages of its own: when one has dropped them, another still has to. A mount that changes a file behind its
//! own cache is told of that by nobody, so a mark that another mount took away would leave it with what was.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::changes::Origin;
use crate::model::NodeId;

/// The marks, by file. Few: they go with the next open.
#[derive(Debug, Default)]
pub(super) struct StalePages(Mutex<HashMap<NodeId, Vec<Origin>>>);

impl StalePages {
    /// The pages that these have of a file are out of date.
    pub(super) fn mark(&self, node: NodeId, viewers: impl IntoIterator<Item = Origin>) {
        let mut viewers = viewers.into_iter().peekable();
        if viewers.peek().is_none() {
            return;
        }
        let mut marks = self.0.lock();
        let marked = marks.entry(node).or_default();
        for viewer in viewers {
            if !marked.contains(&viewer) {
                marked.push(viewer);
            }
        }
    }

    /// Whether those that one has are.
    pub(super) fn is_marked(&self, node: NodeId, viewer: Origin) -> bool {
        self.0.lock().get(&node).is_some_and(|marked| marked.contains(&viewer))
    }

    /// One has dropped them.
    pub(super) fn clear(&self, node: NodeId, viewer: Origin) {
        let mut marks = self.0.lock();
        if let Some(marked) = marks.get_mut(&node) {
            marked.retain(|other| *other != viewer);
            if marked.is_empty() {
                marks.remove(&node);
            }
        }
    }

    /// One is gone, and its pages with it.
    pub(super) fn forget(&self, viewer: Origin) {
        self.0.lock().retain(|_, marked| {
            marked.retain(|other| *other != viewer);
            !marked.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::changes::Changes;
    use super::*;

    #[test]
    fn each_drops_its_own() {
        let (stale, changes, node) = (StalePages::default(), Changes::default(), NodeId(9));
        let (one, other) = (changes.new_origin(), changes.new_origin());
        stale.mark(node, []);
        stale.mark(node, [one, other, one]);
        stale.clear(node, one);
        assert!(!stale.is_marked(node, one) && stale.is_marked(node, other));
        stale.mark(node, [one]);
        stale.forget(other);
        assert!(stale.is_marked(node, one) && !stale.is_marked(node, other));
        stale.clear(node, one);
        assert!(stale.0.lock().is_empty());
    }
}
