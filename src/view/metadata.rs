//! Custom metadata with JSON values, and finding files by it.

use super::View;
use crate::error::Result;
use crate::model::metadata::{Condition, MetaValue, attribute_of};
use crate::model::{NodeId, VPath};
use crate::vfs::{MatchKey, MatchPage};

/// Keys that are computed: this identity's answer to some is another than that of the store.
const VIRTUAL: &str = "nexus.";

impl View {
    /// As [`Vfs::meta_get`](crate::vfs::Vfs::meta_get); the computed keys as [`View::getxattr`] tells them.
    ///
    /// # Errors
    /// As there.
    pub fn meta_get(&self, id: NodeId, key: &str) -> Result<MetaValue> {
        let attribute = attribute_of(key)?;
        if id.is_virtual() || key.starts_with(VIRTUAL) {
            return self.getxattr(id, &attribute).map(|value| MetaValue::from_stored(value, false));
        }
        self.gate.look(id, |vfs| vfs.meta_get(id, key))
    }

    /// As [`Vfs::meta_set`](crate::vfs::Vfs::meta_set). A work item can depend on what this identity sees.
    ///
    /// # Errors
    /// As there.
    pub fn meta_set(&self, id: NodeId, key: &str, value: &MetaValue) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        let sees = |path: &VPath| self.gate.sees_path(path);
        self.gate.change(id)?.meta_set(id, key, value, &self.seen(&sees)?)
    }

    /// As [`Vfs::meta_remove`](crate::vfs::Vfs::meta_remove).
    ///
    /// # Errors
    /// As there.
    pub fn meta_remove(&self, id: NodeId, key: &str) -> Result<()> {
        let _telling = self.telling();
        if id.is_virtual() {
            return Err(self.change_tree(id));
        }
        self.gate.change(id)?.meta_remove(id, key)
    }

    /// As [`Vfs::meta_list`](crate::vfs::Vfs::meta_list).
    ///
    /// # Errors
    /// As there.
    pub fn meta_list(&self, id: NodeId) -> Result<Vec<(String, MetaValue)>> {
        if id.is_virtual() {
            self.look_at_tree(id)?;
            return Ok(Vec::new());
        }
        self.gate.look(id, |vfs| vfs.meta_list(id))
    }

    /// As [`Vfs::find`](crate::vfs::Vfs::find), of what lies at or below a path.
    ///
    /// # Errors
    /// As there.
    pub fn meta_find(&self, conditions: &[Condition], under: &VPath, after: Option<&MatchKey>) -> Result<MatchPage> {
        self.look_around(under, |vfs, scope| vfs.find(conditions, scope, after.cloned()))
    }
}
