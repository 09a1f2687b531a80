//! Whether an identity may have a line exported or imported: asked for every path, and decided here alone.
//!
//! Of the store only `may` knows anything: the others are asked while it is locked.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{NodeId, VPath};
use crate::view::View;

/// The name in the root that belongs to the work queue.
const WORK: &[u8] = b".work";

/// Refuses a path where this identity may not make or change a file. `computed` remembers what was found out about the
/// last first name: the lines of an export come in the order of their paths.
pub(super) fn may(view: &View, path: &VPath, computed: &mut Option<(Vec<u8>, bool)>) -> Result<()> {
    let Some(first) = path.names().next() else { return Ok(()) };
    let is_computed = match computed {
        Some((name, is_computed)) if name == first.as_bytes() => *is_computed,
        _ => {
            let found = view.lookup(NodeId::ROOT, first);
            let is_computed = first.as_bytes() == WORK || found.is_ok_and(|found| found.id.is_virtual());
            *computed = Some((first.as_bytes().to_vec(), is_computed));
            is_computed
        }
    };
    if is_computed {
        return Err(Error::new(ErrorKind::ReadOnly, "import what is computed"));
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
