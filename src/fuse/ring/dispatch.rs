//! One request: decoded, handed to its handler, and the answer encoded in place.
//!
//! Guarantees an answer of legal size to every frame: refusals, bugs and frames that are none become an errno number.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::abi::{ARGUMENT_BYTES, InHeader, LockIn, opcode};
use super::decode::{self, Request};
use super::encode::{self, Listing};
use super::relief::Relief;
use crate::error::{Error, ErrorKind};
use crate::fuse::counting;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::handlers::{Created, Handlers};
use crate::fuse::locking::Asked;
use crate::model::{Attr, Caller, NodeId};
use crate::stats::{Op, Via};
use crate::vfs::LockKind;

/// Who steps in for a thread of a core that has to wait; nobody: it may not.
pub(super) type Patience<'a> = Option<(&'a Arc<Relief>, u16)>;

/// How often one who waits for a lock looks whether the mount is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What goes into the header of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// 0, or an errno number, negative.
    pub(super) error: i32,
    /// How much of the payload is the answer.
    pub(super) length: usize,
}

/// Serves one request: `filled` bytes of `payload` came with it, and the answer takes their place.
pub(super) fn serve(
    handlers: &Handlers,
    header: &InHeader,
    arguments: &[u8; ARGUMENT_BYTES],
    payload: &mut [u8],
    filled: usize,
    patience: Patience<'_>,
) -> Answer {
    let node = NodeId(header.node);
    let run = || run(handlers, header, arguments, payload, filled, patience);
    match counting::answer(handlers, Via::IoUring, kind(header.opcode), node, run) {
        Ok(length) => Answer { error: 0, length },
        Err(errno) => Answer { error: -errno.get(), length: 0 },
    }
}

fn run(
    handlers: &Handlers,
    header: &InHeader,
    arguments: &[u8],
    payload: &mut [u8],
    filled: usize,
    patience: Patience<'_>,
) -> Outcome<usize> {
    let node = NodeId(header.node);
    let caller = Caller { uid: header.uid, gid: header.gid };
    let entry = |payload: &mut [u8], attr: &Attr| encode::entry(payload, Some(attr), handlers.lifetime_of(attr.id));
    let attributes = |payload: &mut [u8], attr: &Attr| encode::attr(payload, attr, handlers.lifetime_of(attr.id));
    let brought = payload.get(..filled).ok_or_else(too_long)?;
    let length = match decode::request(header.opcode, arguments, brought)? {
        Request::Lookup { name } => {
            let found = handlers.lookup(node, name)?;
            // Number 0: there is no such name, and that may be remembered.
            let id = found.as_ref().map_or(NodeId(0), |attr| attr.id);
            let lifetime = handlers.lifetime_of(id);
            match &found {
                Some(attr) => encode::lasting_entry(payload, attr, lifetime, handlers.lifetime_of_name(id)),
                None => encode::entry(payload, None, lifetime),
            }
        }
        Request::Getattr => attributes(payload, &handlers.getattr(node)?),
        Request::Setattr { change, by_handle } => {
            let attr = handlers.setattr(&caller, node, change, by_handle)?;
            encode::attr(payload, &attr, handlers.lifetime_of_changed(attr.id))
        }
        Request::Readlink => encode::bytes(payload, &handlers.readlink(node)?),
        Request::Symlink { name, target } => {
            let made = handlers.symlink(&caller, node, name, target)?;
            entry(payload, &made)
        }
        Request::Mknod { name, mode, rdev } => {
            let made = handlers.mknod(&caller, node, name, mode, rdev)?;
            entry(payload, &made)
        }
        Request::Mkdir { name, mode } => {
            let made = handlers.mkdir(&caller, node, name, mode)?;
            entry(payload, &made)
        }
        Request::Link { node: linked, new_name } => {
            let made = handlers.link(linked, node, new_name)?;
            encode::entry(payload, Some(&made), handlers.lifetime_of_changed(made.id))
        }
        Request::Unlink { name } => nothing(handlers.unlink(node, name)?),
        Request::Rmdir { name } => nothing(handlers.rmdir(node, name)?),
        Request::Rename { name, new_parent, new_name, flags } => {
            nothing(handlers.rename(&caller, (node, name), (new_parent, new_name), flags)?)
        }
        Request::Create { name, mode, flags } => {
            let Created { attr, lifetime, handle, access } = handlers.create(&caller, node, name, mode, flags)?;
            encode::created(payload, &attr, lifetime, handle, access)
        }
        Request::Open { flags } => {
            let (handle, access) = handlers.open(&caller, node, flags)?;
            encode::opened(payload, handle, access)
        }
        Request::Read { place: (handle, offset), size } => {
            let room = payload.get_mut(..size).ok_or_else(too_long)?;
            Some(handlers.read(handle, offset, room)?.min(size))
        }
        Request::Write { place: (handle, offset), data, unprivileged } => {
            let unprivileged = unprivileged.then_some(&caller);
            // No request brings more than 32 bits can count.
            let length = handlers.write(unprivileged, handle, offset, data)?.min(data.len()) as u32;
            encode::written(payload, length)
        }
        Request::Statfs => encode::statfs(payload, &handlers.statfs()?),
        Request::Release { handle, owner } => nothing(handlers.release(node, handle, owner)?),
        Request::Access { mask } => nothing(handlers.access(node, mask)?),
        Request::Flush { owner } => nothing(handlers.flush(node, owner)?),
        Request::Getlk(lock) => match handlers.getlk(&asked(node, &lock))? {
            Some(obstacle) => encode::lock(payload, &obstacle),
            None => encode::no_lock(payload, lock.first, lock.last),
        },
        Request::Setlk { lock, waits } => {
            nothing(set_lock(handlers, &asked(node, &lock), waits.then_some(header.pid), patience)?)
        }
        Request::Fsync(handle) => nothing(handlers.fsync(handle)?),
        Request::Setxattr { key, value, flags } => nothing(handlers.setxattr(node, key, value, flags)?),
        Request::Getxattr { key, room } => {
            let value = handlers.getxattr(node, key, room)?;
            encode::xattr(payload, &value)
        }
        Request::Listxattr { room } => encode::xattr(payload, &handlers.listxattr(node, room)?),
        Request::Removexattr { key } => nothing(handlers.removexattr(node, key)?),
        Request::Opendir => {
            let (handle, caching) = handlers.opendir(node)?;
            encode::opened_directory(payload, handle, caching)
        }
        Request::Readdir { place: (handle, offset), size, with_attr } => {
            let room = payload.get_mut(..size).ok_or_else(too_long)?;
            let mut listing = Listing::new(room);
            handlers.readdir(node, handle, offset, with_attr, &mut |entry, lifetime| {
                listing.add(&entry, with_attr.then_some(lifetime))
            })?;
            Some(listing.length())
        }
        Request::Releasedir(handle) => nothing(handlers.releasedir(handle)?),
        Request::Fsyncdir(handle) => nothing(handlers.fsyncdir(node, handle)?),
        Request::Lseek { handle, offset, whence } => encode::offset(payload, handlers.lseek(handle, offset, whence)?),
        Request::Fallocate { place: (handle, offset), length, mode } => {
            nothing(handlers.fallocate(&caller, handle, offset, length, mode)?)
        }
        Request::CopyRange { from, to, length, flags, wide } => {
            let size = handlers.copy_file_range(&caller, from, to, length, flags)?;
            if wide { encode::copied(payload, size) } else { encode::written(payload, size) }
        }
        Request::Poll { handle, tell } => encode::polled(payload, handlers.poll(handle, tell)?),
        Request::Ioctl => return Err(Errno::NO_IOCTL.into()),
        Request::Unserved => return Err(Errno::NOT_IMPLEMENTED.into()),
    };
    Ok(length.ok_or_else(too_long)?)
}

/// A lock that is asked for. Both kinds are records, as over /dev/fuse: mounts of either way share one store.
fn asked(node: NodeId, lock: &LockIn) -> Asked {
    let LockIn { owner, first, last, mode, pid, .. } = *lock;
    Asked { node, kind: LockKind::Record, owner, first, last, mode, pid }
}

/// Takes a lock, or gives it up. `thread`: who waits for it, where waiting is what was asked for; this thread then waits,
/// too, if `patience` lets it.
fn set_lock(handlers: &Handlers, asked: &Asked, thread: Option<u32>, patience: Patience<'_>) -> Result<(), Errno> {
    let ask = |thread| {
        let (answer, answers) = channel();
        // Nobody is there any more to hear an answer that comes too late.
        handlers.setlk(asked, thread, Box::new(move |outcome| answer.send(outcome).unwrap_or_default()));
        answers
    };
    let now = ask(None).recv().unwrap_or(Err(Errno::IO));
    let (Err(Errno::LOCKED), Some(thread)) = (now, thread) else { return now };
    let Some((relief, core)) = patience else { return Err(Errno::NO_LOCKS) };
    let _waiting = relief.wait(core)?;
    let answers = ask(Some(thread));
    loop {
        match answers.recv_timeout(LOOK_AGAIN) {
            Ok(outcome) => return outcome,
            // It may have ended between the look at that and the beginning of the wait.
            Err(RecvTimeoutError::Timeout) if relief.has_ended() => handlers.end_locks(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Errno::IO),
        }
    }
}

/// The length of an answer that has nothing to tell but success.
fn nothing((): ()) -> Option<usize> {
    Some(0)
}

fn too_long() -> Error {
    Error::new(
        ErrorKind::Io,
        "keep a request of the kernel and its answer within the memory that was registered for it",
    )
}

/// The kind of a request, for counters and for the log.
fn kind(code: u32) -> Op {
    match code {
        opcode::LOOKUP => Op::Lookup,
        opcode::GETATTR => Op::Getattr,
        opcode::SETATTR => Op::Setattr,
        opcode::READLINK => Op::Readlink,
        opcode::SYMLINK => Op::Symlink,
        opcode::MKNOD => Op::Mknod,
        opcode::MKDIR => Op::Mkdir,
        opcode::UNLINK => Op::Unlink,
        opcode::RMDIR => Op::Rmdir,
        opcode::RENAME | opcode::RENAME2 => Op::Rename,
        opcode::LINK => Op::Link,
        opcode::OPEN => Op::Open,
        opcode::CREATE => Op::Create,
        opcode::READ => Op::Read,
        opcode::WRITE => Op::Write,
        opcode::STATFS => Op::Statfs,
        opcode::RELEASE => Op::Release,
        opcode::FSYNC => Op::Fsync,
        opcode::SETXATTR => Op::Setxattr,
        opcode::GETXATTR => Op::Getxattr,
        opcode::LISTXATTR => Op::Listxattr,
        opcode::REMOVEXATTR => Op::Removexattr,
        opcode::FLUSH => Op::Flush,
        opcode::OPENDIR => Op::Opendir,
        opcode::READDIR => Op::Readdir,
        opcode::READDIRPLUS => Op::Readdirplus,
        opcode::RELEASEDIR => Op::Releasedir,
        opcode::FSYNCDIR => Op::Fsyncdir,
        opcode::GETLK => Op::Getlk,
        opcode::SETLK | opcode::SETLKW => Op::Setlk,
        opcode::ACCESS => Op::Access,
        opcode::BMAP => Op::Bmap,
        opcode::IOCTL => Op::Ioctl,
        opcode::POLL => Op::Poll,
        opcode::LSEEK => Op::Lseek,
        opcode::FALLOCATE => Op::Fallocate,
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => Op::CopyFileRange,
        _ => Op::Other,
    }
}

#[cfg(test)]
mod tests;
