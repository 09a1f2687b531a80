//! What the process that has the store has counted.

use super::super::request::{Item, Reply};
use super::{Context, Exchange};
use crate::advice::refusal;
use crate::error::{ErrorKind, Result};

impl Context<'_> {
    /// The counters, for whoever has no tenant's sight of the store: they tell what all of them do.
    pub(super) fn stats(&self, exchange: &mut dyn Exchange) -> Result<Reply> {
        if !self.view.principal().is_whole() {
            let why = "they tell what every tenant does";
            return Err(refusal(ErrorKind::Denied, "look at the counters", why, "be an administrator: --admin"));
        }
        let vfs = self.view.vfs();
        vfs.stats().mounts().into_iter().try_for_each(|mount| exchange.item(Item::Traffic(Box::new(mount))))?;
        Ok(Reply::Stats { pid: std::process::id(), store: Box::new(vfs.done()) })
    }
}
