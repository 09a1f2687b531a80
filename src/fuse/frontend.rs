//! The front-end over /dev/fuse, by the fuser crate: decodes a request, calls its handler, encodes the answer.
//!
//! Guarantees one answer to each request. Holds no rule, and no more does the other front-end, `ring`.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyBmap,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock,
    ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::caps;
use super::convert::lock_type;
use super::counting;
use super::errno::{Errno, Outcome};
use super::fuser_types::{bare_attr, caller, file_attr, file_type, node, set_time};
use super::handlers::{Access, Created, Handlers, Xattr};
use super::locking::Asked;
use crate::model::{Attr, AttrChange, Kind, NAME_BYTES_MAX, NodeId};
use crate::stats::{Op, Via};
use crate::vfs::{DirEntry, HandleId, LockKind};

/// An inode number names one node for ever, so no generation is needed to tell two of them apart.
const GENERATION: Generation = Generation(0);

thread_local! {
    /// Where a thread's reads go: fresh memory for each would have to be zeroed each time.
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The handlers as fuser calls them.
pub(super) struct Frontend {
    handlers: Arc<Handlers>,
    stack_depth: Option<u32>,
    locks: bool,
    ring: Option<Arc<AtomicBool>>,
}

impl Frontend {
    /// `stack_depth`, `locks`: for the handshake, see [`caps::negotiate`]. `ring`: requests are wanted over io_uring; set
    /// when they will come there.
    pub(super) fn new(
        handlers: Arc<Handlers>,
        stack_depth: Option<u32>,
        locks: bool,
        ring: Option<Arc<AtomicBool>>,
    ) -> Self {
        Self { handlers, stack_depth, locks, ring }
    }
}

impl Frontend {
    fn answer<T>(&self, op: Op, node: NodeId, run: impl FnOnce() -> Outcome<T>) -> Result<T, Errno> {
        counting::answer(&self.handlers, Via::DevFuse, op, node, run)
    }

    /// The answer to what the kernel does by itself once it has heard that nobody else does.
    fn refuse(&self, op: Op, ino: INodeNo, errno: Errno) -> fuser::Errno {
        let refused = self.answer(op, node(ino), || Err::<(), _>(errno.into()));
        refused.err().unwrap_or(errno).into()
    }

    fn reply_entry(&self, reply: ReplyEntry, answer: Result<Attr, Errno>) {
        match answer {
            Ok(attr) => reply.entry(&self.handlers.lifetime_of(attr.id), &file_attr(&attr), GENERATION),
            Err(errno) => reply.error(errno.into()),
        }
    }
}

impl From<Errno> for fuser::Errno {
    fn from(errno: Errno) -> Self {
        Self::from_i32(errno.get())
    }
}

fn handle(number: FileHandle) -> HandleId {
    HandleId(number.0)
}

/// A lock that is asked for. fuser does not say of which kind it is.
fn asked(ino: INodeNo, owner: LockOwner, (first, last): (u64, u64), mode: i32, pid: u32) -> Asked {
    Asked { node: node(ino), kind: LockKind::Record, owner: owner.0, first, last, mode, pid }
}

/// Encodes an answer that has nothing to tell but success.
fn reply_empty(reply: ReplyEmpty, answer: Result<(), Errno>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno.into()),
    }
}

fn reply_attr(reply: ReplyAttr, answer: Result<Attr, Errno>, lifetime: Duration) {
    match answer {
        Ok(attr) => reply.attr(&lifetime, &file_attr(&attr)),
        Err(errno) => reply.error(errno.into()),
    }
}

fn reply_xattr(reply: ReplyXattr, answer: Result<Xattr, Errno>) {
    match answer {
        Ok(Xattr::Size(size)) => reply.size(size),
        Ok(Xattr::Data(data)) => reply.data(&data),
        Err(errno) => reply.error(errno.into()),
    }
}

/// The flags of an open file that is served by requests; fuser adds that of passthrough itself.
fn open_flags(access: Access) -> FopenFlags {
    match access {
        Access::Cached { keep: true } => FopenFlags::FOPEN_KEEP_CACHE,
        Access::Cached { keep: false } | Access::Passthrough { .. } => FopenFlags::empty(),
        Access::Direct { keep: true } => FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_KEEP_CACHE,
        Access::Direct { keep: false } => FopenFlags::FOPEN_DIRECT_IO,
    }
}

impl Filesystem for Frontend {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if caps::directories_need_not_be_opened(config) {
            self.handlers.offer_listings_without_handles();
        }
        let agreed = caps::negotiate(config, self.stack_depth, self.locks, self.ring.is_some());
        if let Some(ring) = &self.ring {
            ring.store(agreed, Ordering::Relaxed);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = node(parent);
        match self.answer(Op::Lookup, parent, || self.handlers.lookup(parent, name.as_bytes())) {
            Ok(Some(attr)) => {
                let (lifetime, of_name) = (self.handlers.lifetime_of(attr.id), self.handlers.lifetime_of_name(attr.id));
                reply.entry_with_ttls(&lifetime, &of_name, &file_attr(&attr), GENERATION);
            }
            // Inode number 0: there is no such name, and that may be remembered.
            Ok(None) => {
                let missing = NodeId(0);
                reply.entry(&self.handlers.lifetime_of(missing), &bare_attr(missing, Kind::File), GENERATION);
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, lookups: u64) {
        // The kernel waits for no answer. Of a batch fuser makes single calls.
        self.answer(Op::Forget, node(ino), || {
            self.handlers.forget(node(ino), lookups);
            Ok(())
        })
        .ok();
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let outcome = self.answer(Op::Getattr, node(ino), || self.handlers.getattr(node(ino)));
        reply_attr(reply, outcome, self.handlers.lifetime_of(node(ino)));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        // The kernel's own guess: the filesystem's clock is the one that counts.
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let outcome = self.answer(Op::Setattr, node(ino), || {
            let times = (atime.map(set_time), mtime.map(set_time));
            let change = AttrChange { mode, uid, gid, size, atime: times.0, mtime: times.1 };
            self.handlers.setattr(&caller(request), node(ino), change, handle.is_some())
        });
        reply_attr(reply, outcome, self.handlers.lifetime_of_changed(node(ino)));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.answer(Op::Readlink, node(ino), || self.handlers.readlink(node(ino))) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let outcome = self.answer(Op::Mknod, node(parent), || {
            self.handlers.mknod(&caller(request), node(parent), name.as_bytes(), mode, rdev)
        });
        self.reply_entry(reply, outcome);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let outcome = self.answer(Op::Mkdir, node(parent), || {
            self.handlers.mkdir(&caller(request), node(parent), name.as_bytes(), mode)
        });
        self.reply_entry(reply, outcome);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let outcome = self.answer(Op::Symlink, node(parent), || {
            self.handlers.symlink(&caller(request), node(parent), name.as_bytes(), target.as_os_str().as_bytes())
        });
        self.reply_entry(reply, outcome);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(
            reply,
            self.answer(Op::Unlink, node(parent), || self.handlers.unlink(node(parent), name.as_bytes())),
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Rmdir, node(parent), || self.handlers.rmdir(node(parent), name.as_bytes())));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let outcome = self.answer(Op::Rename, node(parent), || {
            let (from, to) = ((node(parent), name.as_bytes()), (node(newparent), newname.as_bytes()));
            self.handlers.rename(&caller(request), from, to, flags.bits())
        });
        reply_empty(reply, outcome);
    }

    fn link(&self, _: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        match self.answer(Op::Link, node(ino), || self.handlers.link(node(ino), node(newparent), newname.as_bytes())) {
            Ok(attr) => reply.entry(&self.handlers.lifetime_of_changed(attr.id), &file_attr(&attr), GENERATION),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let outcome = self.answer(Op::Create, node(parent), || {
            self.handlers.create(&caller(request), node(parent), name.as_bytes(), mode, flags)
        });
        match outcome {
            Ok(Created {
                attr,
                lifetime,
                handle,
                access: access @ (Access::Cached { .. } | Access::Direct { .. }),
            }) => {
                reply.created(&lifetime, &file_attr(&attr), GENERATION, FileHandle(handle.0), open_flags(access));
            }
            Ok(Created { attr, lifetime, handle, access: Access::Passthrough { backing } }) => {
                // SAFETY: the id is open until the last handle that names it is released, and this one is not yet known
                // to the kernel; `into_raw` below keeps fuser from closing it.
                let id = unsafe { reply.wrap_backing(backing) };
                let (attr, handle) = (file_attr(&attr), FileHandle(handle.0));
                reply.created_passthrough(&lifetime, &attr, GENERATION, handle, FopenFlags::empty(), &id);
                id.into_raw();
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.answer(Op::Open, node(ino), || self.handlers.open(&caller(request), node(ino), flags.0)) {
            Ok((handle, access @ (Access::Cached { .. } | Access::Direct { .. }))) => {
                reply.opened(FileHandle(handle.0), open_flags(access));
            }
            Ok((handle, Access::Passthrough { backing })) => {
                // SAFETY: as in `create`.
                let id = unsafe { reply.wrap_backing(backing) };
                reply.opened_passthrough(FileHandle(handle.0), FopenFlags::empty(), &id);
                id.into_raw();
            }
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let room = &mut buffer[..size];
            match self.answer(Op::Read, node(ino), || self.handlers.read(handle(fh), offset, room)) {
                Ok(length) => reply.data(&buffer[..length.min(size)]),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let unprivileged = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID).then(|| caller(request));
        let write = || self.handlers.write(unprivileged.as_ref(), handle(fh), offset, data);
        match self.answer(Op::Write, node(ino), write) {
            // No request brings more than 32 bits can count.
            Ok(length) => reply.written(length.min(data.len()) as u32),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        owner: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let owner = owner.map(|owner| owner.0);
        reply_empty(reply, self.answer(Op::Release, node(ino), || self.handlers.release(node(ino), handle(fh), owner)));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Fsync, node(ino), || self.handlers.fsync(handle(fh))));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let cached = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR;
        match self.answer(Op::Opendir, node(ino), || self.handlers.opendir(node(ino))) {
            Ok((handle, true)) => reply.opened(FileHandle(handle.0), cached),
            Ok((handle, false)) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let outcome = self.answer(Op::Readdir, node(ino), || {
            self.handlers.readdir(node(ino), handle(fh), offset, false, &mut |entry: DirEntry<'_>, _| {
                let (id, name) = (INodeNo(entry.id.0), OsStr::from_bytes(entry.name));
                !reply.add(id, entry.next_offset, file_type(entry.kind), name)
            })
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn readdirplus(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let outcome = self.answer(Op::Readdirplus, node(ino), || {
            self.handlers.readdir(node(ino), handle(fh), offset, true, &mut |entry: DirEntry<'_>, lifetime| {
                let (id, name) = (INodeNo(entry.id.0), OsStr::from_bytes(entry.name));
                // Of `.` and `..` the kernel takes number and kind only, and counts no lookup.
                let attr = entry.attr.map_or_else(|| bare_attr(entry.id, entry.kind), file_attr);
                !reply.add(id, entry.next_offset, name, &lifetime, &attr, GENERATION)
            })
        });
        match outcome {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn releasedir(&self, _: &Request, ino: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Releasedir, node(ino), || self.handlers.releasedir(handle(fh))));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Fsyncdir, node(ino), || self.handlers.fsyncdir(node(ino), handle(fh))));
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.answer(Op::Statfs, node(ino), || self.handlers.statfs()) {
            Ok(stat) => reply.statfs(
                stat.blocks,
                stat.blocks_free,
                stat.blocks_available,
                stat.files,
                stat.files_free,
                stat.block_size,
                NAME_BYTES_MAX as u32,
                stat.block_size,
            ),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let outcome =
            self.answer(Op::Setxattr, node(ino), || self.handlers.setxattr(node(ino), name.as_bytes(), value, flags));
        reply_empty(reply, outcome);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let outcome = self.answer(Op::Getxattr, node(ino), || self.handlers.getxattr(node(ino), name.as_bytes(), size));
        reply_xattr(reply, outcome);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(reply, self.answer(Op::Listxattr, node(ino), || self.handlers.listxattr(node(ino), size)));
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let outcome = self.answer(Op::Removexattr, node(ino), || self.handlers.removexattr(node(ino), name.as_bytes()));
        reply_empty(reply, outcome);
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let outcome = self.answer(Op::Fallocate, node(ino), || {
            self.handlers.fallocate(&caller(request), handle(fh), offset, length, mode)
        });
        reply_empty(reply, outcome);
    }

    fn lseek(&self, _: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.answer(Op::Lseek, node(ino), || self.handlers.lseek(handle(fh), offset, whence)) {
            Ok(offset) => reply.offset(offset),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn poll(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        notifier: PollNotifier,
        _: PollEvents,
        flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // Told over a descriptor of our own, as on the ring: this one would have to be kept with its file.
        let tell = flags.contains(PollFlags::FUSE_POLL_SCHEDULE_NOTIFY).then(|| notifier.handle().0);
        match self.answer(Op::Poll, node(ino), || self.handlers.poll(handle(fh), tell)) {
            Ok(events) => reply.poll(PollEvents::from_bits_retain(events)),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn copy_file_range(
        &self,
        request: &Request,
        ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let outcome = self.answer(Op::CopyFileRange, node(ino_in), || {
            let (from, to) = ((handle(fh_in), offset_in), (handle(fh_out), offset_out));
            self.handlers.copy_file_range(&caller(request), from, to, len, flags.bits())
        });
        match outcome {
            Ok(copied) => reply.written(copied),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Flush, node(ino), || self.handlers.flush(node(ino), owner.0)));
    }

    fn getlk(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        first: u64,
        last: u64,
        mode: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let asked = asked(ino, owner, (first, last), mode, pid);
        match self.answer(Op::Getlk, node(ino), || self.handlers.getlk(&asked)) {
            Ok(Some(lock)) => reply.locked(lock.first, lock.last, lock_type(lock.mode), lock.pid),
            Ok(None) => reply.locked(first, last, libc::F_UNLCK, 0),
            Err(errno) => reply.error(errno.into()),
        }
    }

    fn setlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        owner: LockOwner,
        first: u64,
        last: u64,
        mode: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let asked = asked(ino, owner, (first, last), mode, pid);
        let thread = sleep.then(|| request.pid());
        let counted = counting::begin(self.handlers.traffic(), Via::DevFuse, Op::Setlk);
        let answer = move |outcome: Result<(), Errno>| {
            counted.end(outcome.err());
            reply_empty(reply, outcome);
        };
        self.handlers.setlk(&asked, thread, Box::new(answer));
    }

    fn access(&self, _: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        reply_empty(reply, self.answer(Op::Access, node(ino), || self.handlers.access(node(ino), mask.bits())));
    }

    // What follows is answered once with "not implemented", and the kernel does it by itself from then on. So are flush, where
    // it keeps the locks, because a close has nothing to wait for, and access, where it checks the mode bits.

    fn bmap(&self, _: &Request, ino: INodeNo, _: u32, _: u64, reply: ReplyBmap) {
        reply.error(self.refuse(Op::Bmap, ino, Errno::NOT_IMPLEMENTED));
    }

    fn ioctl(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(self.refuse(Op::Ioctl, ino, Errno::NO_IOCTL));
    }
}
