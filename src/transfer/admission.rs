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
    if !sees(view, path.as_bytes()) {
        return Err(Error::new(ErrorKind::Denied, "import for another tenant or agent"));
    }
    Ok(())
}

/// Whether this identity sees what is at a path of the store. Where a path names a tenant or an agent, and the identity
/// has one, they must be the same; administrators see everything.
pub(super) fn sees(view: &View, path: &[u8]) -> bool {
    let who = view.principal();
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    let (first, tenant, agent) = (names.next(), names.next(), names.next());
    let is_own = |mine: Option<&str>, named: Option<&[u8]>| match (mine, named) {
        (Some(mine), Some(named)) => mine.as_bytes() == named,
        _ => true,
    };
    match first {
        _ if who.is_admin() => true,
        Some(b"workspace") => is_own(who.tenant(), tenant) && is_own(who.agent(), agent),
        Some(b"shared" | b"archives") => is_own(who.tenant(), tenant),
        _ => true,
    }
}

/// Whether there may be files that this identity does not see, so that a digest is no key for it.
pub(super) fn is_restricted(view: &View) -> bool {
    let who = view.principal();
    !who.is_admin() && (who.tenant().is_some() || who.agent().is_some())
}
