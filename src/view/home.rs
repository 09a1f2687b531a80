//! The directories of a tenant, made when it is mounted.

use super::View;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Caller, Kind, Name, NodeId};
use crate::policy::{ARCHIVES, SHARED, WORKSPACE};

/// Permissions of the directories that are made: others of the machine may look, if they are let into the mount at all.
const MODE: u32 = 0o755;

impl View {
    /// Makes the identity's own directories, as far as they are not there: `/workspace/T` and in it the agent's,
    /// `/shared/T` and `/archives/T`. They belong to `owner`, the namespaces above them to the owner of the store.
    ///
    /// # Errors
    /// What the disk or the database report; `NotADirectory` where something else has taken a name.
    pub fn make_home(&self, owner: &Caller) -> Result<()> {
        let _telling = self.telling();
        let Some(tenant) = self.principal().tenant() else { return Ok(()) };
        if self.vfs().is_read_only() {
            return Ok(());
        }
        let root = self.vfs().getattr(NodeId::ROOT)?;
        let store_owner = Caller { uid: root.uid, gid: root.gid };
        for namespace in [WORKSPACE, SHARED, ARCHIVES] {
            let above = self.make_directory(&store_owner, NodeId::ROOT, namespace)?;
            let own = self.make_directory(owner, above, tenant)?;
            if let (WORKSPACE, Some(agent)) = (namespace, self.principal().agent()) {
                self.make_directory(owner, own, agent)?;
            }
        }
        Ok(())
    }

    /// The directory of that name, made where there is none. For what no identity may make: nothing is asked.
    pub(super) fn make_directory(&self, owner: &Caller, parent: NodeId, name: &str) -> Result<NodeId> {
        let text = name;
        let name = Name::new(name.as_bytes())?;
        let _hold = self.gate.scopes().hold();
        let made = match self.vfs().mkdir(owner, parent, name, MODE) {
            Err(e) if e.kind() == ErrorKind::Exists => self.vfs().lookup(parent, name)?,
            made => made?,
        };
        if made.kind != Kind::Directory {
            return Err(Error::new(ErrorKind::NotADirectory, format!("make the directory '{text}' of a tenant")));
        }
        self.gate.scopes().note_new_name(parent, name);
        Ok(made.id)
    }
}
