//! From values to the bytes of an answer.
//!
//! Each function fills the front of `into` and says how much; `None` when it does not fit, and then nothing of it is sent.

use std::time::Duration;

use super::abi::{
    AttrOut, Attributes, CopyRangeOut, Dirent, EntryOut, Field, GetxattrOut, LockOut, LseekOut, OpenOut, PollOut,
    StatfsOut, WriteOut, fopen,
};
use crate::fuse::convert::lock_type;
use crate::fuse::handlers::{Access, Xattr};
use crate::model::{Attr, NAME_BYTES_MAX, Timestamp};
use crate::vfs::{DirEntry, HandleId, Lock, StatFs};

/// What stat(2) shows as the preferred size of a transfer: a page, as on any local filesystem.
const TRANSFER_BYTES: u32 = 4096;
/// Entries of a listing begin at multiples of this, `FUSE_REC_ALIGN`.
const DIRENT_ALIGN: usize = 8;

/// One structure.
fn put<T: Field>(mut into: &mut [u8], value: T) -> Option<usize> {
    value.put(&mut into)?;
    Some(size_of::<T>())
}

/// A name and its node; `None`: there is no such name, and that may be remembered as long.
pub(super) fn entry(into: &mut [u8], attr: Option<&Attr>, lifetime: Duration) -> Option<usize> {
    put(into, entry_out(attr, lifetime))
}

/// The same for a name that lives longer than what its node shows.
pub(super) fn lasting_entry(into: &mut [u8], attr: &Attr, lifetime: Duration, of_name: Duration) -> Option<usize> {
    let (entry_valid, entry_valid_nanos) = (of_name.as_secs(), of_name.subsec_nanos());
    put(into, EntryOut { entry_valid, entry_valid_nanos, ..entry_out(Some(attr), lifetime) })
}

/// A node's attributes.
pub(super) fn attr(into: &mut [u8], attr: &Attr, lifetime: Duration) -> Option<usize> {
    let (attr_valid, attr_valid_nanos) = (lifetime.as_secs(), lifetime.subsec_nanos());
    put(into, AttrOut { attr_valid, attr_valid_nanos, dummy: 0, attr: attributes(attr) })
}

/// An open file.
pub(super) fn opened(into: &mut [u8], handle: HandleId, access: Access) -> Option<usize> {
    let (flags, backing_id) = match access {
        Access::Cached { keep: true } => (fopen::KEEP_CACHE, 0),
        Access::Cached { keep: false } => (0, 0),
        Access::Direct { keep: true } => (fopen::DIRECT_IO | fopen::KEEP_CACHE, 0),
        Access::Direct { keep: false } => (fopen::DIRECT_IO, 0),
        Access::Passthrough { backing } => (fopen::PASSTHROUGH, backing),
    };
    put(into, OpenOut { handle: handle.0, flags, backing_id })
}

/// A new file, open.
pub(super) fn created(
    into: &mut [u8],
    attr: &Attr,
    lifetime: Duration,
    handle: HandleId,
    access: Access,
) -> Option<usize> {
    let length = entry(into, Some(attr), lifetime)?;
    Some(length + opened(&mut into[length..], handle, access)?)
}

/// An open directory; `caching`: the kernel may keep the listing.
pub(super) fn opened_directory(into: &mut [u8], handle: HandleId, caching: bool) -> Option<usize> {
    let flags = if caching { fopen::KEEP_CACHE | fopen::CACHE_DIR } else { 0 };
    put(into, OpenOut { handle: handle.0, flags, backing_id: 0 })
}

/// Bytes as they are.
pub(super) fn bytes(into: &mut [u8], data: &[u8]) -> Option<usize> {
    into.get_mut(..data.len())?.copy_from_slice(data);
    Some(data.len())
}

/// The lock that stands in the way.
pub(super) fn lock(into: &mut [u8], lock: &Lock) -> Option<usize> {
    let Lock { first, last, mode, pid, .. } = *lock;
    put(into, LockOut { first, last, mode: lock_type(mode), pid })
}

/// None does, of the range that was asked about.
pub(super) fn no_lock(into: &mut [u8], first: u64, last: u64) -> Option<usize> {
    put(into, LockOut { first, last, mode: libc::F_UNLCK, pid: 0 })
}

/// How many bytes were written or copied, as a number of 32 bits.
pub(super) fn written(into: &mut [u8], size: u32) -> Option<usize> {
    put(into, WriteOut { size, padding: 0 })
}

/// How many bytes were copied, as a number of 64 bits.
pub(super) fn copied(into: &mut [u8], size: u32) -> Option<usize> {
    put(into, CopyRangeOut { bytes_copied: size.into() })
}

/// A position in a file.
pub(super) fn offset(into: &mut [u8], offset: i64) -> Option<usize> {
    put(into, LseekOut { offset: offset.cast_unsigned() })
}

/// What can be done with a file without waiting.
pub(super) fn polled(into: &mut [u8], events: u32) -> Option<usize> {
    put(into, PollOut { events, padding: 0 })
}

/// An attribute, or its size.
pub(super) fn xattr(into: &mut [u8], value: &Xattr) -> Option<usize> {
    match value {
        Xattr::Size(size) => put(into, GetxattrOut { size: *size, padding: 0 }),
        Xattr::Data(data) => bytes(into, data),
    }
}

/// What statvfs(3) tells.
pub(super) fn statfs(into: &mut [u8], stat: &StatFs) -> Option<usize> {
    let answer = StatfsOut {
        blocks: stat.blocks,
        blocks_free: stat.blocks_free,
        blocks_available: stat.blocks_available,
        files: stat.files,
        files_free: stat.files_free,
        block_bytes: stat.block_size,
        name_bytes_max: NAME_BYTES_MAX as u32,
        fragment_bytes: stat.block_size,
        ..StatfsOut::default()
    };
    put(into, answer)
}

/// A listing that grows entry by entry.
pub(super) struct Listing<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl<'a> Listing<'a> {
    /// An empty listing that ends with `room`.
    pub(super) fn new(room: &'a mut [u8]) -> Self {
        Self { room, used: 0 }
    }

    /// Adds an entry, unless it does not fit. `attr_lifetime`: how long the kernel may believe its attributes; `None` when
    /// there are none to send.
    pub(super) fn add(&mut self, found: &DirEntry<'_>, attr_lifetime: Option<Duration>) -> bool {
        let Some(length) = self.room.get_mut(self.used..).and_then(|rest| record(rest, found, attr_lifetime)) else {
            return false;
        };
        self.used += length;
        true
    }

    /// The length of all entries.
    pub(super) fn length(&self) -> usize {
        self.used
    }
}

/// One entry, with its attributes before it if they are asked for. Without any of its own, as `.` and `..` are, an entry
/// names no node there, and the kernel counts no lookup.
fn record(into: &mut [u8], found: &DirEntry<'_>, attr_lifetime: Option<Duration>) -> Option<usize> {
    let before = if attr_lifetime.is_some() { size_of::<EntryOut>() } else { 0 };
    let length = (before + size_of::<Dirent>() + found.name.len()).next_multiple_of(DIRENT_ALIGN);
    let mut rest = into.get_mut(..length)?;
    if let Some(lifetime) = attr_lifetime {
        entry_out(found.attr, lifetime).put(&mut rest)?;
    }
    let dirent = Dirent {
        ino: found.id.0,
        next_offset: found.next_offset,
        name_bytes: u32::try_from(found.name.len()).ok()?,
        // `DT_*` of readdir(3) are the type bits of the mode.
        kind: found.kind.to_mode_bits() >> 12,
    };
    dirent.put(&mut rest)?;
    let (name, padding) = rest.split_at_mut_checked(found.name.len())?;
    name.copy_from_slice(found.name);
    padding.fill(0);
    Some(length)
}

fn entry_out(attr: Option<&Attr>, lifetime: Duration) -> EntryOut {
    let (seconds, nanos) = (lifetime.as_secs(), lifetime.subsec_nanos());
    EntryOut {
        node: attr.map_or(0, |attr| attr.id.0),
        // An inode number names one node for ever, so no generation is needed to tell two of them apart.
        generation: 0,
        entry_valid: seconds,
        attr_valid: seconds,
        entry_valid_nanos: nanos,
        attr_valid_nanos: nanos,
        attr: attr.map_or_else(Attributes::default, attributes),
    }
}

fn attributes(attr: &Attr) -> Attributes {
    let ((atime, atime_nanos), (mtime, mtime_nanos), (ctime, ctime_nanos)) =
        (time(attr.atime), time(attr.mtime), time(attr.ctime));
    Attributes {
        ino: attr.id.0,
        size: attr.size,
        blocks: attr.blocks,
        atime,
        mtime,
        ctime,
        atime_nanos,
        mtime_nanos,
        ctime_nanos,
        mode: attr.kind.to_mode_bits() | (attr.mode & 0o7777),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        block_bytes: TRANSFER_BYTES,
        flags: 0,
    }
}

/// Whole seconds, negative before 1970, and nanoseconds that always count forwards.
fn time(time: Timestamp) -> (u64, u32) {
    const NANOS: i64 = 1_000_000_000;
    (time.0.div_euclid(NANOS).cast_unsigned(), time.0.rem_euclid(NANOS) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, NodeId};

    const ATTR: Attr = Attr {
        id: NodeId(42),
        kind: Kind::Socket,
        mode: 0o7654,
        uid: 1,
        gid: 2,
        rdev: 3,
        nlink: 4,
        size: 5,
        blocks: 6,
        atime: Timestamp(-1_700_000_000),
        mtime: Timestamp(8),
        ctime: Timestamp(9_000_000_001),
        btime: Timestamp(10),
    };

    #[test]
    fn attributes_have_their_places() {
        let mut into = [0xff; 200];
        assert_eq!(entry(&mut into, Some(&ATTR), Duration::from_millis(2500)), Some(128));
        let seen = EntryOut::take(&mut &into[..]).unwrap();
        assert_eq!((seen.node, seen.entry_valid, seen.attr_valid_nanos), (42, 2, 500_000_000));
        assert_eq!((seen.attr.mode, seen.attr.nlink, seen.attr.blocks), (0o147_654, 4, 6));
        assert_eq!((seen.attr.atime.cast_signed(), seen.attr.atime_nanos), (-2, 300_000_000));
        assert_eq!((seen.attr.ctime, seen.attr.ctime_nanos), (9, 1));
        assert_eq!(entry(&mut into[..127], Some(&ATTR), Duration::ZERO), None);
        let length = created(&mut into, &ATTR, Duration::ZERO, HandleId(9), Access::Passthrough { backing: 3 });
        assert_eq!(length, Some(144));
        let open = OpenOut::take(&mut &into[128..]).unwrap();
        assert_eq!((open.handle, open.flags, open.backing_id), (9, 0x80, 3));
    }

    #[test]
    fn a_listing_is_aligned_and_ends_in_time() {
        let mut room = [0xff; 24 + 8 + 24 + 15];
        let found = DirEntry { next_offset: 1, name: b"name", id: NodeId(7), kind: Kind::Directory, attr: None };
        let mut listing = Listing::new(&mut room);
        assert!(listing.add(&found, None));
        assert!(!listing.add(&DirEntry { name: b"sixteen letters.", ..found }, None));
        assert!(listing.add(&DirEntry { name: b"eight...", ..found }, None));
        assert_eq!(listing.length(), 24 + 8 + 24 + 8);
        assert_eq!(Dirent::take(&mut &room[..]).unwrap(), Dirent { ino: 7, next_offset: 1, name_bytes: 4, kind: 4 });
        assert_eq!(room[24..32], *b"name\0\0\0\0");

        let mut room = [0xff; 400];
        let (mut listing, lifetime) = (Listing::new(&mut room), Some(Duration::from_secs(1)));
        assert!(listing.add(&DirEntry { name: b"..", ..found }, lifetime));
        assert!(listing.add(&DirEntry { name: b"x", attr: Some(&ATTR), ..found }, lifetime));
        assert_eq!(listing.length(), 2 * (128 + 24 + 8));
        assert_eq!(EntryOut::take(&mut &room[..]).unwrap().node, 0);
        assert_eq!(EntryOut::take(&mut &room[160..]).unwrap().node, 42);
    }
}
