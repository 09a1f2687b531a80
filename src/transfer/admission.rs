//! Whether an identity may have a line exported or imported: asked for every path, and decided here alone.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{NodeId, VPath};
use crate::view::View;

/// The name in the root that belongs to the work queue.
const WORK: &[u8] = b".work";

/// Refuses a path where this identity may not make or change a file.
pub(super) fn may(view: &View, path: &VPath) -> Result<()> {
    let Some(first) = path.names().next() else { return Ok(()) };
    let is_computed = view.lookup(NodeId::ROOT, first).is_ok_and(|found| found.id.is_virtual());
    if first.as_bytes() == WORK || is_computed {
        return Err(Error::new(ErrorKind::ReadOnly, "what is computed cannot be imported"));
    }
    Ok(())
}

/// Whether this identity sees what is at a path of the store.
pub(super) fn sees(_view: &View, _path: &[u8]) -> bool {
    true
}

/// Whether there may be files that this identity does not see, so that a digest is no key for it.
pub(super) fn is_restricted(view: &View) -> bool {
    view.principal().tenant().is_some() && !view.principal().is_admin()
}
