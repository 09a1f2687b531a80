//! Making sure that a tree is finished: every body final, nobody writing.

use super::resolve::paths_of;
use super::store::Vfs;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::BodyRow;
use crate::model::{Kind, NodeId};

impl Vfs {
    /// Makes the bodies of all files at and below `top` final, as far as nobody has them open.
    ///
    /// # Errors
    /// What the disk or the database report.
    pub fn finish_bodies(&self, top: NodeId) -> Result<()> {
        self.each_file(top, &mut |id| {
            let is_draft = |row: crate::meta::NodeRow| matches!(row.body, BodyRow::Draft(_));
            let unfinished =
                self.live.users(id) > 0 || self.lock_core().meta.read().find_node(id)?.is_some_and(is_draft);
            if unfinished { self.seal_if_closed(id) } else { Ok(()) }
        })
    }

    /// Refuses a tree in which something is still being written.
    ///
    /// # Errors
    /// `InUse`, with the path of the first file that is.
    pub fn check_finished(&self, top: NodeId) -> Result<()> {
        let written = self.handles.written();
        self.each_file(top, &mut |id| {
            let core = self.lock_core();
            let read = core.meta.read();
            let is_draft = matches!(read.node(id)?.body, BodyRow::Draft(_));
            if !is_draft && !written.contains(&id) {
                return Ok(());
            }
            let path = paths_of(&read, id)?.first().map_or_else(|| format!("node {id}"), ToString::to_string);
            Err(Error::new(ErrorKind::InUse, format!("{path} is still being written; close it first")))
        })
    }

    fn each_file(&self, top: NodeId, visit: &mut dyn FnMut(NodeId) -> Result<()>) -> Result<()> {
        match self.getattr(top)?.kind {
            Kind::File => visit(top),
            Kind::Directory => {
                self.each_below(top, &mut |id, kind, _| if kind == Kind::File { visit(id) } else { Ok(()) })
            }
            _ => Ok(()),
        }
    }
}
