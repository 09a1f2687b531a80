//! The one name that no file can have: `/.work`, where the work queue shows itself.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Name, NodeId};

/// The reserved name of the root directory. Below the root it is a name like another.
const WORK: &[u8] = b".work";

/// Refuses to put anything under a reserved name. Every operation that makes a name asks here: `create`, `mknod`, `mkdir`,
/// `symlink`, `link`, and `rename` for each name that leads elsewhere afterwards.
///
/// `NotPermitted` (EPERM): nobody may, whoever asks, administrators included. `Denied` (EACCES) would send the caller to
/// the mode bits, `ReadOnly` (EROFS) is for a namespace that nobody writes to, and `Exists` would promise something to
/// open. EPERM is also what mkdir(2) and rename(2) give for what a directory does not support, and the answer to a
/// transition of the queue that is not offered. It is decided before anything is looked up, so that it does not depend on
/// what else is wrong.
pub(super) fn refuse(parent: NodeId, name: Name<'_>) -> Result<()> {
    if parent == NodeId::ROOT && name.as_bytes() == WORK {
        return Err(Error::new(ErrorKind::NotPermitted, "make /.work, a name that is reserved for the work queue"));
    }
    Ok(())
}
