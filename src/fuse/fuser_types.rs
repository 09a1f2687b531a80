//! Between the nouns of nexus and the types of the fuser crate, both ways.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, Request, TimeOrNow};

use crate::model::{Attr, Caller, Kind, NodeId, SetTime, Timestamp};

/// What stat(2) shows as the preferred size of a transfer: a page, as on any local filesystem.
const TRANSFER_BYTES: u32 = 4096;

/// The node a request names.
pub(super) fn node(number: INodeNo) -> NodeId {
    NodeId(number.0)
}

/// Who asks.
pub(super) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

/// The file type in a listing and in `st_mode`.
pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// All attributes of a node.
pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.id.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: attr.atime.into(),
        mtime: attr.mtime.into(),
        ctime: attr.ctime.into(),
        crtime: attr.btime.into(),
        kind: file_type(attr.kind),
        // Twelve bits at most, so nothing is lost.
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: TRANSFER_BYTES,
        flags: 0,
    }
}

/// Attributes that say only what and which a node is: for the entries `.` and `..` of a listing, of which the kernel
/// takes no more, and, with inode number 0, for a name that does not exist (linux/fuse.h, `fuse_entry_out`).
pub(super) fn bare_attr(id: NodeId, kind: Kind) -> FileAttr {
    FileAttr {
        ino: INodeNo(id.0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: TRANSFER_BYTES,
        flags: 0,
    }
}

/// A time to set.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

/// A time as fuser hands it on. The kernel sends whole seconds, possibly negative, and nanoseconds that count forwards;
/// before 1970 fuser 0.18 subtracts the nanoseconds too, and what it subtracted is added back twice here.
fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => time.into(),
        Err(before) => {
            let forwards = Duration::from_nanos(2 * u64::from(before.duration().subsec_nanos()));
            Timestamp::from(time.checked_add(forwards).unwrap_or(time))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_arrive_unchanged() {
        let attr = Attr {
            id: NodeId(42),
            kind: Kind::Socket,
            mode: 0o7654,
            uid: 1,
            gid: 2,
            rdev: 3,
            nlink: 4,
            size: 5,
            blocks: 6,
            atime: Timestamp(-7),
            mtime: Timestamp(8),
            ctime: Timestamp(9_000_000_001),
            btime: Timestamp(10),
        };
        let seen = file_attr(&attr);
        assert_eq!((seen.ino.0, seen.kind, seen.perm), (42, FileType::Socket, 0o7654));
        assert_eq!((seen.uid, seen.gid, seen.rdev, seen.nlink, seen.size, seen.blocks), (1, 2, 3, 4, 5, 6));
        let times = [seen.atime, seen.mtime, seen.ctime, seen.crtime].map(Timestamp::from);
        assert_eq!(times, [attr.atime, attr.mtime, attr.ctime, attr.btime]);
    }

    #[test]
    fn times_before_1970_count_forwards() {
        // What fuser makes of -2 s + 300 ms.
        let from_fuser = UNIX_EPOCH - Duration::new(2, 300_000_000);
        assert_eq!(timestamp(from_fuser), Timestamp(-1_700_000_000));
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(2)), Timestamp(-2_000_000_000));
        assert_eq!(timestamp(UNIX_EPOCH + Duration::new(1, 5)), Timestamp(1_000_000_005));
    }
}
