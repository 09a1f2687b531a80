//! One request: decoded, handed to its handler, and the answer encoded in place.
//!
//! Guarantees an answer of legal size to every frame: refusals, bugs and frames that are none become an errno number.

use super::abi::{ARGUMENT_BYTES, InHeader, opcode};
use super::decode::{self, Request};
use super::encode::{self, Listing};
use crate::error::{Error, ErrorKind};
use crate::fuse::errno::{Errno, Outcome, answer};
use crate::fuse::handlers::Handlers;
use crate::model::{Attr, Caller, NodeId};

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
) -> Answer {
    let node = NodeId(header.node);
    match answer(name(header.opcode), node, || run(handlers, header, arguments, payload, filled)) {
        Ok(length) => Answer { error: 0, length },
        Err(errno) => Answer { error: -errno.get(), length: 0 },
    }
}

fn run(handlers: &Handlers, header: &InHeader, arguments: &[u8], payload: &mut [u8], filled: usize) -> Outcome<usize> {
    let node = NodeId(header.node);
    let caller = Caller { uid: header.uid, gid: header.gid };
    let entry = |payload: &mut [u8], attr: &Attr| encode::entry(payload, Some(attr), handlers.lifetime_of(attr.id));
    let attributes = |payload: &mut [u8], attr: &Attr| encode::attr(payload, attr, handlers.lifetime_of(attr.id));
    let brought = payload.get(..filled).ok_or_else(too_long)?;
    let length = match decode::request(header.opcode, arguments, brought)? {
        Request::Lookup { name } => {
            let found = handlers.lookup(node, name)?;
            // Number 0: there is no such name, and that may be remembered.
            let lifetime = handlers.lifetime_of(found.as_ref().map_or(NodeId(0), |attr| attr.id));
            encode::entry(payload, found.as_ref(), lifetime)
        }
        Request::Getattr => attributes(payload, &handlers.getattr(node)?),
        Request::Setattr(change) => {
            let attr = handlers.setattr(&caller, node, change)?;
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
            let (made, handle, access) = handlers.create(&caller, node, name, mode, flags)?;
            encode::created(payload, &made, handlers.lifetime_of(made.id), handle, access)
        }
        Request::Open { flags } => {
            let (handle, access) = handlers.open(&caller, node, flags)?;
            encode::opened(payload, handle, access)
        }
        Request::Read { place: (handle, offset), size } => {
            let room = payload.get_mut(..size).ok_or_else(too_long)?;
            Some(handlers.read(handle, offset, room)?.min(size))
        }
        Request::Write { place: (handle, offset), data } => {
            // No request brings more than 32 bits can count.
            let length = handlers.write(handle, offset, data)?.min(data.len()) as u32;
            encode::written(payload, length)
        }
        Request::Statfs => encode::statfs(payload, &handlers.statfs()?),
        // Locks that are kept in the store, and go with their owner, are no business of a ring.
        Request::Release(handle) => nothing(handlers.release(node, handle, None)?),
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
        Request::Fsyncdir(handle) => nothing(handlers.fsyncdir(handle)?),
        Request::Lseek { handle, offset, whence } => encode::offset(payload, handlers.lseek(handle, offset, whence)?),
        Request::Fallocate { place: (handle, offset), length, mode } => {
            nothing(handlers.fallocate(handle, offset, length, mode)?)
        }
        Request::CopyRange { from, to, length, flags, wide } => {
            let size = handlers.copy_file_range(from, to, length, flags)?;
            if wide { encode::copied(payload, size) } else { encode::written(payload, size) }
        }
        Request::Poll { handle, tell } => encode::polled(payload, handlers.poll(handle, tell)?),
        Request::Ioctl => return Err(Errno::NO_IOCTL.into()),
        Request::Unserved => return Err(Errno::NOT_IMPLEMENTED.into()),
    };
    Ok(length.ok_or_else(too_long)?)
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

/// The request in words, for the log.
fn name(code: u32) -> &'static str {
    match code {
        opcode::LOOKUP => "lookup",
        opcode::GETATTR => "getattr",
        opcode::SETATTR => "setattr",
        opcode::READLINK => "readlink",
        opcode::SYMLINK => "symlink",
        opcode::MKNOD => "mknod",
        opcode::MKDIR => "mkdir",
        opcode::UNLINK => "unlink",
        opcode::RMDIR => "rmdir",
        opcode::RENAME | opcode::RENAME2 => "rename",
        opcode::LINK => "link",
        opcode::OPEN => "open",
        opcode::CREATE => "create",
        opcode::READ => "read",
        opcode::WRITE => "write",
        opcode::STATFS => "statfs",
        opcode::RELEASE => "release",
        opcode::FSYNC => "fsync",
        opcode::SETXATTR => "setxattr",
        opcode::GETXATTR => "getxattr",
        opcode::LISTXATTR => "listxattr",
        opcode::REMOVEXATTR => "removexattr",
        opcode::OPENDIR => "opendir",
        opcode::READDIR => "readdir",
        opcode::READDIRPLUS => "readdirplus",
        opcode::RELEASEDIR => "releasedir",
        opcode::FSYNCDIR => "fsyncdir",
        opcode::LSEEK => "lseek",
        opcode::POLL => "poll",
        opcode::FALLOCATE => "fallocate",
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => "copy_file_range",
        _ => "a request that is not served",
    }
}

#[cfg(test)]
mod tests;
