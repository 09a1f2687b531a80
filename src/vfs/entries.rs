//! Names: making, linking, renaming and removing them.

use super::reserved;
use super::resolve::{directory, is_ancestor};
use super::store::{Side, Vfs};
use super::types::RenameMode;
use super::work::keeper;
use crate::error::{Error, ErrorKind, Result};
use crate::meta::{BodyRow, NodeRow, ReadTxn, WriteTxn};
use crate::model::{Attr, Caller, Kind, LINKS_MAX, Name, NodeId, SYMLINK_BYTES_MAX, Timestamp, perm};
use crate::work::Scope;

/// The size that directories show, as on ext4.
pub(super) const DIRECTORY_BYTES: u64 = 4096;

/// What a new node is to be.
pub(super) struct NewNode<'a> {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) rdev: u32,
    pub(super) target: Option<&'a [u8]>,
    /// 0 for a file whose first body is about to be written.
    pub(super) version: u64,
}

impl Vfs {
    /// Makes a file, fifo, socket or device, mknod(2). The caller has applied the umask.
    ///
    /// # Errors
    /// `Exists`, `NotFound` or `NotADirectory` for the parent, `Invalid` for other kinds, `NoSpace`; `NotPermitted` for
    /// `/.work`, as everything that makes a name.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: NodeId,
        name: Name<'_>,
        kind: Kind,
        mode: u32,
        rdev: u32,
    ) -> Result<Attr> {
        if matches!(kind, Kind::Directory | Kind::Symlink) {
            return Err(Error::new(ErrorKind::Invalid, "make a node of this kind with mknod"));
        }
        self.make(caller, parent, name, &NewNode { kind, mode, rdev, target: None, version: 1 })
    }

    /// Makes a directory, mkdir(2).
    ///
    /// # Errors
    /// As [`Vfs::mknod`].
    pub fn mkdir(&self, caller: &Caller, parent: NodeId, name: Name<'_>, mode: u32) -> Result<Attr> {
        let new = NewNode { kind: Kind::Directory, mode, rdev: 0, target: None, version: 1 };
        self.make(caller, parent, name, &new)
    }

    /// Makes a symbolic link, symlink(2).
    ///
    /// # Errors
    /// As [`Vfs::mknod`]; `NameTooLong` for a target of 4,096 bytes or more, `NotFound` for an empty one.
    pub fn symlink(&self, caller: &Caller, parent: NodeId, name: Name<'_>, target: &[u8]) -> Result<Attr> {
        if target.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "point a symbolic link at nothing"));
        }
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(Error::new(ErrorKind::NameTooLong, "point a symbolic link"));
        }
        let new = NewNode { kind: Kind::Symlink, mode: 0o777, rdev: 0, target: Some(target), version: 1 };
        self.make(caller, parent, name, &new)
    }

    /// Where a symbolic link points, readlink(2).
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for what is no symbolic link.
    pub fn readlink(&self, id: NodeId) -> Result<Vec<u8>> {
        self.lock_core().meta.read().link_target(id)
    }

    /// One more name for a node that is no directory, link(2).
    ///
    /// # Errors
    /// `NotPermitted` for a directory and for `/.work`, `Exists`, `NotFound` for a node without a name, `TooManyLinks`.
    pub fn link(&self, id: NodeId, new_parent: NodeId, new_name: Name<'_>) -> Result<Attr> {
        self.space.take(0)?;
        let now = self.now();
        let (row, live) = self.change(|txn, _| {
            vacant(txn, new_parent, new_name)?;
            let mut row = txn.node(id)?;
            if row.attr.kind == Kind::Directory {
                return Err(Error::new(ErrorKind::NotPermitted, "link a directory"));
            }
            if row.attr.nlink == 0 {
                return Err(Error::new(ErrorKind::NotFound, "link a node that has no name any more"));
            }
            if row.attr.nlink >= LINKS_MAX {
                return Err(Error::new(ErrorKind::TooManyLinks, "link a node"));
            }
            txn.insert_entry(new_parent, new_name, id)?;
            txn.add_links(id, now, 1)?;
            txn.touch_directory(new_parent, now, 0)?;
            row.attr.nlink += 1;
            row.attr.ctime = now;
            Ok((row, self.live.get(id)))
        })?;
        self.with_live(row, live)
    }

    /// Removes a name that is no directory, unlink(2). The node goes with its last name, when nobody has it open.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`.
    pub fn unlink(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let now = self.now();
        self.change(|txn, side| {
            let row = child(txn, parent, name)?;
            if row.attr.kind == Kind::Directory {
                return Err(Error::new(ErrorKind::IsADirectory, "unlink a directory"));
            }
            txn.delete_entry(parent, name)?;
            txn.touch_directory(parent, now, 0)?;
            self.drop_link(txn, side, &row, (parent, name), now)
        })
    }

    /// Removes an empty directory, rmdir(2).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `NotEmpty`.
    pub fn rmdir(&self, parent: NodeId, name: Name<'_>) -> Result<()> {
        let now = self.now();
        self.change(|txn, side| {
            let row = child(txn, parent, name)?;
            if row.attr.kind != Kind::Directory {
                return Err(Error::new(ErrorKind::NotADirectory, "remove a directory"));
            }
            if txn.has_children(row.attr.id)? {
                return Err(Error::new(ErrorKind::NotEmpty, "remove a directory"));
            }
            txn.delete_entry(parent, name)?;
            txn.touch_directory(parent, now, -1)?;
            self.drop_link(txn, side, &row, (parent, name), now)
        })
    }

    /// Renames, rename(2) and renameat2(2): one row, however much lies below.
    ///
    /// # Errors
    /// `NotFound`; `Exists` with [`RenameMode::NoReplace`]; `Invalid` for a directory into itself; `NotEmpty`,
    /// `IsADirectory` and `NotADirectory` for a target that cannot be replaced; `NotPermitted` to `/.work`.
    pub fn rename(
        &self,
        parent: NodeId,
        name: Name<'_>,
        new_parent: NodeId,
        new_name: Name<'_>,
        mode: RenameMode,
    ) -> Result<()> {
        reserved::refuse(new_parent, new_name)?;
        if mode == RenameMode::Exchange {
            reserved::refuse(parent, name)?;
        }
        self.sync_before_replacing(parent, name, new_parent, new_name, mode)?;
        let now = self.now();
        self.change(|txn, side| {
            let elsewhere = new_parent != parent;
            let from = directory(txn, parent)?;
            let above = if elsewhere { directory(txn, new_parent)? } else { from };
            let moved = child(txn, parent, name)?;
            let target = txn.child(new_parent, new_name)?;
            if above.attr.nlink == 0 {
                return Err(Error::new(ErrorKind::NotFound, "rename into a removed directory"));
            }
            match (mode, &target) {
                (RenameMode::NoReplace, Some(_)) => {
                    return Err(Error::new(ErrorKind::Exists, "rename without replacing"));
                }
                (RenameMode::Exchange, None) => return Err(Error::new(ErrorKind::NotFound, "exchange two names")),
                _ => {}
            }
            // In one directory nothing comes to lie below itself, however deep the walk upwards would be.
            if elsewhere && moved.attr.kind == Kind::Directory && is_ancestor(txn, moved.attr.id, new_parent)? {
                return Err(Error::new(ErrorKind::Invalid, "rename a directory into itself"));
            }
            if let Some(target) = target.filter(|t| t.attr.kind == Kind::Directory)
                && mode == RenameMode::Replace
                && elsewhere
                && is_ancestor(txn, target.attr.id, parent)?
            {
                return Err(Error::new(ErrorKind::NotEmpty, "rename over a directory above"));
            }
            match (mode, target) {
                (_, Some(target)) if target.attr.id == moved.attr.id => Ok(()),
                (RenameMode::Exchange, Some(target)) => {
                    exchange(txn, (parent, name, &moved), (new_parent, new_name, &target), now)
                }
                (_, target) => {
                    let is_directory = moved.attr.kind == Kind::Directory;
                    if let Some(target) = target {
                        replaceable(txn, &moved, &target)?;
                        txn.update_entry(new_parent, new_name, moved.attr.id)?;
                        if is_directory {
                            txn.touch_directory(new_parent, now, -1)?;
                        }
                        self.drop_link(txn, side, &target, (new_parent, new_name), now)?;
                    } else {
                        txn.insert_entry(new_parent, new_name, moved.attr.id)?;
                    }
                    txn.delete_entry(parent, name)?;
                    txn.add_links(moved.attr.id, now, 0)?;
                    if !elsewhere {
                        return txn.touch_directory(parent, now, 0);
                    }
                    txn.touch_directory(parent, now, -i64::from(is_directory))?;
                    txn.touch_directory(new_parent, now, i64::from(is_directory))
                }
            }
        })
    }

    /// Makes a node of any kind under a free name.
    fn make(&self, caller: &Caller, parent: NodeId, name: Name<'_>, new: &NewNode<'_>) -> Result<Attr> {
        self.space.take(new.target.map_or(0, |t| t.len() as u64))?;
        let now = self.now();
        self.change(|txn, side| make_node(txn, side, caller, parent, name, new, now)).map(|row| row.attr)
    }

    /// One name less for a node; without the last one it goes, at once or when its last handle is closed.
    fn drop_link(
        &self,
        txn: &WriteTxn<'_>,
        side: &mut Side,
        row: &NodeRow,
        (parent, name): (NodeId, Name<'_>),
        now: Timestamp,
    ) -> Result<()> {
        let NodeRow { attr, body, .. } = row;
        if attr.kind != Kind::Directory && attr.nlink > 1 {
            return txn.add_links(attr.id, now, -1);
        }
        if side.queue_used && attr.kind == Kind::File {
            let last_name = (parent, name.as_bytes().to_vec());
            keeper(txn, side, now, Scope::EVERYTHING).file_removed(attr.id, last_name)?;
        }
        let is_open = self.live.users(attr.id) > 0;
        if is_open || self.changes.holds(attr.id) {
            self.scopes.unnamed(attr.id, parent, name);
            if !is_open {
                self.unnamed.wait(self.live.acquire(attr.id));
            }
            return txn.add_links(attr.id, now, -i64::from(attr.nlink));
        }
        txn.delete_node(attr.id)?;
        side.drop_body(txn, *body)
    }
}

/// Makes a node under a free name, and returns its row.
pub(super) fn make_node(
    txn: &WriteTxn<'_>,
    side: &mut Side,
    caller: &Caller,
    parent: NodeId,
    name: Name<'_>,
    new: &NewNode<'_>,
    now: Timestamp,
) -> Result<NodeRow> {
    let above = vacant(txn, parent, name)?;
    let is_directory = new.kind == Kind::Directory;
    // A directory with set-group-ID gives its group to what is made in it, and the bit to directories, inode(7).
    let inherits = above.attr.mode & perm::SET_GID != 0;
    let (size, blocks) = match new.kind {
        Kind::Directory => (DIRECTORY_BYTES, DIRECTORY_BYTES / 512),
        _ => (new.target.map_or(0, |t| t.len() as u64), 0),
    };
    let attr = Attr {
        id: side.new_id(),
        kind: new.kind,
        mode: (new.mode & perm::ALL) | if inherits && is_directory { perm::SET_GID } else { 0 },
        uid: caller.uid,
        gid: if inherits { above.attr.gid } else { caller.gid },
        rdev: if matches!(new.kind, Kind::CharDevice | Kind::BlockDevice) { new.rdev } else { 0 },
        nlink: if is_directory { 2 } else { 1 },
        size,
        blocks,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
    };
    let row = NodeRow { attr, version: new.version, body: BodyRow::Empty };
    txn.insert_node(&row, new.target)?;
    txn.insert_entry(parent, name, attr.id)?;
    txn.touch_directory(parent, now, i64::from(is_directory))?;
    Ok(row)
}

/// The directory, when the name is free in it and may be made.
fn vacant(read: &ReadTxn<'_>, parent: NodeId, name: Name<'_>) -> Result<NodeRow> {
    reserved::refuse(parent, name)?;
    let above = directory(read, parent)?;
    if above.attr.nlink == 0 {
        return Err(Error::new(ErrorKind::NotFound, "make a name in a removed directory"));
    }
    if read.child(parent, name)?.is_some() {
        return Err(Error::new(ErrorKind::Exists, "make a name"));
    }
    Ok(above)
}

/// The node that a name leads to, or `NotFound`; `NotADirectory` when `parent` is none.
pub(super) fn child(read: &ReadTxn<'_>, parent: NodeId, name: Name<'_>) -> Result<NodeRow> {
    match read.child(parent, name)? {
        Some(row) => Ok(row),
        None => {
            directory(read, parent)?;
            Err(Error::new(ErrorKind::NotFound, "find a name"))
        }
    }
}

/// Whether rename may put `moved` in the place of `target`, rename(2).
fn replaceable(read: &ReadTxn<'_>, moved: &NodeRow, target: &NodeRow) -> Result<()> {
    match (moved.attr.kind == Kind::Directory, target.attr.kind == Kind::Directory) {
        (false, true) => Err(Error::new(ErrorKind::IsADirectory, "rename a file over a directory")),
        (true, false) => Err(Error::new(ErrorKind::NotADirectory, "rename a directory over a file")),
        (true, true) if read.has_children(target.attr.id)? => {
            Err(Error::new(ErrorKind::NotEmpty, "rename over a directory"))
        }
        _ => Ok(()),
    }
}

/// Swaps what two names lead to.
fn exchange(
    txn: &WriteTxn<'_>,
    (parent, name, moved): (NodeId, Name<'_>, &NodeRow),
    (new_parent, new_name, target): (NodeId, Name<'_>, &NodeRow),
    now: Timestamp,
) -> Result<()> {
    if target.attr.kind == Kind::Directory && is_ancestor(txn, target.attr.id, parent)? {
        return Err(Error::new(ErrorKind::Invalid, "exchange a directory with one above it"));
    }
    txn.update_entry(parent, name, target.attr.id)?;
    txn.update_entry(new_parent, new_name, moved.attr.id)?;
    txn.add_links(moved.attr.id, now, 0)?;
    txn.add_links(target.attr.id, now, 0)?;
    // Each directory loses a subdirectory when one leaves and gains one when one comes.
    let comes = i64::from(target.attr.kind == Kind::Directory) - i64::from(moved.attr.kind == Kind::Directory);
    txn.touch_directory(parent, now, comes)?;
    txn.touch_directory(new_parent, now, -comes)
}
