//! A file that is there although the kernel asks for it to be made: another mount, or a program, was faster.
//!
//! Whoever did not insist on making it (`O_EXCL`, open(2)) is to have what is there. The kernel asks once more when it is told
//! that the name is not as it believes, and gives up when that happens twice running, so the file is opened for it where
//! that is safe. It takes such an answer for a new file and checks nothing: neither the mode bits, nor
//! `fs.protected_regular` (proc(5)), nor does it truncate. So that is done here, and where it is not plain that the
//! kernel would have allowed the open, it is made to look again.

use crate::model::{Attr, Caller, Kind};
use crate::vfs::OpenMode;

/// What lets only the owner of a file, or of the directory, remove a name, inode(7).
const STICKY: u32 = 0o1000;
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;

/// Whether everybody who may make a name in `directory` and is `caller` may open the file, as far as bits tell. Groups are
/// not known, nor are privileges, so where those would decide the answer is no.
pub(super) fn may_open(caller: &Caller, directory: &Attr, file: &Attr, open: OpenMode) -> bool {
    if file.kind != Kind::File || file.id.is_virtual() {
        return false;
    }
    let wanted = if open.read { READ } else { 0 } | if open.write || open.truncate { WRITE } else { 0 };
    let allows = |class: u32| file.mode >> class & wanted == wanted;
    if caller.uid == file.uid {
        return allows(6);
    }
    // Of the other two classes it is one.
    allows(3) && allows(0) && directory.mode & STICKY == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeId, Timestamp};

    fn attr(kind: Kind, mode: u32, uid: u32) -> Attr {
        let time = Timestamp(0);
        let (id, gid, rdev, nlink, size, blocks) = (NodeId(9), 50, 0, 1, 0, 0);
        Attr { id, kind, mode, uid, gid, rdev, nlink, size, blocks, atime: time, mtime: time, ctime: time, btime: time }
    }

    fn mode(read: bool, write: bool, truncate: bool) -> OpenMode {
        OpenMode { read, write, truncate, ..OpenMode::READ }
    }

    #[test]
    fn only_what_the_kernel_would_allow() {
        let (reads, writes, both) = (mode(true, false, false), mode(false, true, false), mode(true, true, true));
        let empties = mode(true, false, true);
        let owner = Caller { uid: 7, gid: 50 };
        let (member, root) = (Caller { uid: 8, gid: 50 }, Caller { uid: 0, gid: 0 });
        let plain = attr(Kind::Directory, 0o777, 0);
        for (caller, bits, open, allowed) in [
            (&owner, 0o600, both, true),
            (&owner, 0o400, reads, true),
            (&owner, 0o400, empties, false),
            (&owner, 0o400, writes, false),
            (&owner, 0o200, writes, true),
            (&owner, 0o200, reads, false),
            // The owner is no other.
            (&owner, 0o066, reads, false),
            (&member, 0o666, both, true),
            (&member, 0o660, both, false),
            (&member, 0o606, both, false),
            (&member, 0o644, reads, true),
            (&member, 0o644, empties, false),
            // Whether root has its privileges is not known here.
            (&root, 0o600, reads, false),
            (&root, 0o644, reads, true),
        ] {
            let file = attr(Kind::File, bits, 7);
            assert_eq!(may_open(caller, &plain, &file, open), allowed, "{caller:?} {bits:o} {open:?}");
        }
        // fs.protected_regular: of a stranger's file in such a directory only its owner gets hold by O_CREAT.
        let sticky = attr(Kind::Directory, 0o1777, 0);
        assert!(may_open(&owner, &sticky, &attr(Kind::File, 0o666, 7), both));
        assert!(!may_open(&member, &sticky, &attr(Kind::File, 0o666, 7), both));
        for kind in [Kind::Directory, Kind::Symlink, Kind::Fifo] {
            assert!(!may_open(&owner, &plain, &attr(kind, 0o777, 7), reads));
        }
        let computed = Attr { id: NodeId(NodeId::VIRTUAL_BIT | 9), ..attr(Kind::File, 0o666, 7) };
        assert!(!may_open(&owner, &plain, &computed, reads));
    }
}
