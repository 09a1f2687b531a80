//! Notices to the kernel, `fuse_notify_code` of linux/fuse.h: messages that answer no request.
//!
//! What each does, as fs/fuse/{inode,dir,dev}.c of Linux have it, is the reason for everything in `courier.rs`:
//! - attributes (`FUSE_NOTIFY_INVAL_INODE` with a negative offset): takes no lock that a request could hold, and makes
//!   answers that are on their way count as old;
//! - pages (the same with an offset): waits for each page that a read or a write has locked;
//! - a body (`FUSE_NOTIFY_STORE`): fills pages, and waits for each as above;
//! - a name (`FUSE_NOTIFY_INVAL_ENTRY`): takes the lock of the directory, which the kernel holds while a lookup or a
//!   change in that directory waits for its answer;
//! - a file that is polled (`FUSE_NOTIFY_POLL`): wakes whoever waits for it, and takes no lock;
//! - all names (`FUSE_NOTIFY_INC_EPOCH`, Linux 6.16): one addition, no lock. Every name is asked for again.

use std::fs::File;
use std::io::{self, IoSlice, Write};

use crate::model::NodeId;

const POLL: i32 = 1;
const INVAL_INODE: i32 = 2;
const INVAL_ENTRY: i32 = 3;
const STORE: i32 = 4;
const INC_EPOCH: i32 = 8;

/// The size of `fuse_out_header`.
const HEADER_BYTES: usize = 16;

/// Whether the kernel had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It had, and has dropped it.
    Dropped,
    /// It had nothing of it.
    Nothing,
}

/// Drops the attributes of a node.
pub(super) fn attributes(device: &File, node: NodeId) -> io::Result<Held> {
    inode(device, node, -1, 0)
}

/// Drops attributes and pages of a node: from an offset on so many bytes, or all when `length` is 0.
pub(super) fn pages(device: &File, node: NodeId, from: u64, length: u64) -> io::Result<Held> {
    inode(device, node, from.min(i64::MAX as u64) as i64, length.min(i64::MAX as u64) as i64)
}

fn inode(device: &File, node: NodeId, from: i64, length: i64) -> io::Result<Held> {
    // `fuse_notify_inval_inode_out`
    let mut body = [0; 24];
    body[..8].copy_from_slice(&node.0.to_ne_bytes());
    body[8..16].copy_from_slice(&from.to_ne_bytes());
    body[16..].copy_from_slice(&length.to_ne_bytes());
    send(device, INVAL_INODE, &body, &[])
}

/// Fills the pages of a file with its body, which has at most 32 bits of length. `Nothing`: the kernel does not hold the node.
pub(super) fn store(device: &File, node: NodeId, body: &[u8]) -> io::Result<Held> {
    // `fuse_notify_store_out`: the node, an offset, the length, padding.
    let mut head = [0; 24];
    head[..8].copy_from_slice(&node.0.to_ne_bytes());
    head[16..20].copy_from_slice(&(body.len() as u32).to_ne_bytes());
    send(device, STORE, &head, body)
}

/// Drops a name of a directory.
pub(super) fn name(device: &File, parent: NodeId, name: &[u8]) -> io::Result<Held> {
    // `fuse_notify_inval_entry_out`; the name follows, with a NUL that its length does not count.
    let mut body = [0; 16];
    body[..8].copy_from_slice(&parent.0.to_ne_bytes());
    body[8..12].copy_from_slice(&(name.len() as u32).to_ne_bytes());
    let mut terminated = Vec::with_capacity(name.len() + 1);
    terminated.extend_from_slice(name);
    terminated.push(0);
    send(device, INVAL_ENTRY, &body, &terminated)
}

/// Wakes whoever polls the open file that the kernel calls by this number; there may be nobody any more.
pub(super) fn polled(device: &File, file: u64) -> io::Result<()> {
    // `fuse_notify_poll_wakeup_out`
    send(device, POLL, &file.to_ne_bytes(), &[]).map(drop)
}

/// Makes the kernel ask again for every name. `Unsupported` before Linux 6.16.
pub(super) fn all_names(device: &File) -> io::Result<()> {
    send(device, INC_EPOCH, &[], &[]).map(drop).map_err(|e| match e.raw_os_error() {
        Some(libc::EINVAL) => io::ErrorKind::Unsupported.into(),
        _ => e,
    })
}

fn send(mut device: &File, code: i32, body: &[u8], tail: &[u8]) -> io::Result<Held> {
    let length = HEADER_BYTES + body.len() + tail.len();
    // `fuse_out_header`: the number 0 stands for no request, and the error is the code of the notice.
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&code.to_ne_bytes());
    let parts = [IoSlice::new(&header), IoSlice::new(body), IoSlice::new(tail)];
    match device.write_vectored(&parts) {
        Ok(_) => Ok(Held::Dropped),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Held::Nothing),
        Err(e) => Err(e),
    }
}
