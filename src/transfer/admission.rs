//! Whether an identity may have a line exported or imported: asked for every path, and decided by its view.

use crate::error::{Error, ErrorKind, Result};
use crate::model::VPath;
use crate::view::View;

/// The name in the root that belongs to the work queue.
const WORK: &[u8] = b".work";

/// Refuses a path where this identity may not make or change a file.
pub(super) fn may(view: &View, path: &VPath) -> Result<()> {
    if path.names().next().is_some_and(|first| first.as_bytes() == WORK) {
        return Err(Error::new(ErrorKind::ReadOnly, "what is computed cannot be imported"));
    }
    view.may_make(path)
}

/// Whether this identity sees what is at a path of the store.
pub(super) fn sees(view: &View, path: &[u8]) -> bool {
    VPath::parse(path).is_ok_and(|path| view.sees_path(&path))
}

/// Whether there may be files that this identity does not see, so that a digest is no key for it.
pub(super) fn is_restricted(view: &View) -> bool {
    !view.sees_all()
}
