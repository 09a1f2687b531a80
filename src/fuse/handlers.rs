//! What each request of the kernel does: one plain function each, from a decoded request to a value or a refusal.
//!
//! Knows nothing of replies, of fuser, or of the way a request came, so that every front-end shares it. Takes no
//! decision about files: it says in the words of the filesystem what the kernel asked, and what the kernel may cache.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::warn;

use super::backing::Backing;
use super::convert;
use super::errno::{Errno, Outcome};
use super::known::Known;
use super::listings::{self, Listings};
use super::locking::{Asked, Locking, Reply};
use super::notice;
use super::polls::Polls;
use super::programs::Programs;
use super::wakeful::Wakeful;
use crate::error::{Error, ErrorKind};
use crate::model::{Attr, AttrChange, Caller, Kind, Name, NodeId, XATTR_LIST_BYTES_MAX, perm};
use crate::stats::Traffic;
use crate::vfs::{DirEntry, HandleId, Lock, StatFs};
use crate::view::{Lasting, View};

mod opening;
mod privileges;

/// Most bytes that one FUSE_COPY_FILE_RANGE can report as copied: its answer has 32 bits, and a whole number of pages
/// keeps the next piece aligned.
const COPY_BYTES_MAX: u64 = (u32::MAX - 4095) as u64;

/// How the kernel is to treat an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Through its page cache, filled and written back by requests; `keep`: what it holds already is right.
    Cached {
        /// `FOPEN_KEEP_CACHE`.
        keep: bool,
    },
    /// By requests alone, past the page cache (`FOPEN_DIRECT_IO`); `keep` as above, for the other handles.
    Direct {
        /// `FOPEN_KEEP_CACHE`.
        keep: bool,
    },
    /// On the file behind a backing id, without requests.
    Passthrough {
        /// The id.
        backing: u32,
    },
}

/// The answer to an attribute's or a list's reader, getxattr(2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Xattr {
    /// Only the size was asked for.
    Size(u32),
    /// The bytes, which fit.
    Data(Vec<u8>),
}

/// The answer to FUSE_CREATE.
#[derive(Debug)]
pub(super) struct Created {
    /// The file.
    pub(super) attr: Attr,
    /// How long the kernel may believe those and the name.
    pub(super) lifetime: Duration,
    /// The open file.
    pub(super) handle: HandleId,
    /// How it is served.
    pub(super) access: Access,
}

/// On what terms a mount is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How long the kernel may believe names and attributes; with zero it caches nothing.
    pub(super) lifetime: Duration,
    /// Locks are kept in the store.
    pub(super) locks: bool,
    /// No read changes an access time.
    pub(super) noatime: bool,
    /// The kernel checks the mode bits.
    pub(super) default_permissions: bool,
}

/// The requests, on one filesystem, for one mount.
#[derive(Debug)]
pub(super) struct Handlers {
    view: Arc<View>,
    /// A descriptor of the mount.
    notices: Arc<File>,
    backing: Backing,
    terms: Terms,
    known: Arc<Known>,
    traffic: Arc<Traffic>,
    /// `None` where the kernel keeps the locks of this mount by itself.
    locking: Option<Locking>,
    polls: Polls,
    programs: Programs,
    wakeful: Wakeful,
    listings: Listings,
    /// Small bodies may go along with their opening.
    gives: bool,
}

impl Handlers {
    /// `notices`: a descriptor of the mount. `device`: another one, where passthrough is wanted. `traffic`: where requests are
    /// counted. `wakeful`: who is told of each.
    pub(super) fn new(
        view: Arc<View>,
        notices: File,
        device: Option<OwnedFd>,
        terms: Terms,
        traffic: Arc<Traffic>,
        wakeful: Wakeful,
    ) -> Self {
        let locking = terms.locks.then(|| Locking::new(Arc::clone(&view)));
        let notices = Arc::new(notices);
        let polls = Polls::new(Arc::clone(&view), Arc::clone(&notices));
        let (backing, programs) = (Backing::new(device), Programs::default());
        let (known, gives) = (Arc::new(Known::new()), notice::stores_safely());
        let listings = Listings::default();
        Self { locking, polls, programs, view, notices, backing, terms, known, traffic, wakeful, listings, gives }
    }

    /// The kernel can read directories without opening them, and does from now on where it may keep their listings. Not for a
    /// tenant, who is shown one name of some directories: the place of that is kept with an open directory.
    pub(super) fn offer_listings_without_handles(&self) {
        if !self.terms.lifetime.is_zero() && self.view.principal().is_whole() {
            self.listings.need_no_handles();
        }
    }

    /// Where the requests are counted.
    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Who keeps processors awake.
    pub(super) fn wakeful(&self) -> &Wakeful {
        &self.wakeful
    }

    /// Finds out whether files in `directory` can be handed to the kernel; before the first request.
    pub(super) fn probe_passthrough(&self, directory: &Path) {
        self.backing.probe(directory);
    }

    /// Whether files are handed to the kernel.
    pub(super) fn passthrough(&self) -> bool {
        self.backing.available()
    }

    /// What the kernel may believe.
    pub(super) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// How long the kernel may believe the attributes of a node and the name that led to it; for the number 0, that a
    /// name is missing. What is computed when it is looked at may be another thing the next moment.
    pub(super) fn lifetime_of(&self, node: NodeId) -> Duration {
        if node.is_virtual() {
            return if self.view.lasting(node) == Lasting::Everything { self.terms.lifetime } else { Duration::ZERO };
        }
        if self.is_shared() && self.view.vfs().changes().is_kernel_written(node) {
            Duration::ZERO
        } else {
            self.terms.lifetime
        }
    }

    /// The same for the name alone that led to a node.
    pub(super) fn lifetime_of_name(&self, node: NodeId) -> Duration {
        if self.view.lasting(node) == Lasting::Nothing { self.lifetime_of(node) } else { self.terms.lifetime }
    }

    /// The same for the answer to setattr and link, which the kernel takes for the truth even when it was told in between
    /// that somebody else changed the node (`fuse_do_setattr` compares no version of attributes).
    pub(super) fn lifetime_of_changed(&self, node: NodeId) -> Duration {
        if self.is_shared() { Duration::ZERO } else { self.lifetime_of(node) }
    }

    /// Whether the kernel may cache what it hears of a node.
    fn caches(&self, node: NodeId) -> bool {
        !node.is_virtual() && !self.terms.lifetime.is_zero()
    }

    fn is_shared(&self) -> bool {
        self.view.vfs().changes().is_shared()
    }

    /// Hands a node to the kernel. `heard`: from before its attributes were read; if anything was heard since, it may have
    /// been about this node, which nobody could know the kernel would hold.
    fn hand_out(&self, attr: Attr, heard: u64) -> Attr {
        if attr.id.is_virtual() {
            return attr;
        }
        self.known.hand_out(attr.id);
        if self.known.heard() == heard {
            return attr;
        }
        self.view.getattr(attr.id).unwrap_or(attr)
    }

    /// `None`: there is no such name, and the kernel may remember that for as long as it may remember a name.
    pub(super) fn lookup(&self, parent: NodeId, name: &[u8]) -> Outcome<Option<Attr>> {
        self.known.tell_name(parent, name);
        let heard = self.known.heard();
        match self.view.lookup(parent, Name::new(name)?) {
            Ok(attr) => Ok(Some(self.hand_out(attr, heard))),
            Err(error) if error.kind() == ErrorKind::NotFound && self.caches(parent) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The kernel takes `lookups` of those it was given back.
    pub(super) fn forget(&self, node: NodeId, lookups: u64) {
        if self.known.forget(node, lookups) {
            self.listings.forget(node);
        }
        self.view.forget(node);
    }

    pub(super) fn getattr(&self, node: NodeId) -> Outcome<Attr> {
        self.known.tell_attributes(node);
        held(self.view.getattr(node))
    }

    /// What access(2) and chdir(2) ask where the kernel does not check the mode bits. Root alone asks then, who may do
    /// everything but run what nobody may, path_resolution(7).
    pub(super) fn access(&self, node: NodeId, mask: i32) -> Outcome<()> {
        if self.terms.default_permissions {
            return Err(Errno::NOT_IMPLEMENTED.into());
        }
        if mask & libc::X_OK == 0 {
            return Ok(());
        }
        let attr = held(self.view.getattr(node))?;
        if attr.kind == Kind::Directory || attr.mode & perm::ANY_EXEC != 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Denied, "run a file that nobody may run").into())
    }

    /// `by_handle`: through an open file, not by name.
    pub(super) fn setattr(&self, caller: &Caller, node: NodeId, change: AttrChange, by_handle: bool) -> Outcome<Attr> {
        if change.size.is_some() && !by_handle {
            // truncate(2) is an opening, a change and a close in one.
            self.view.vfs().end_version(node)?;
        }
        // The kernel sends the kind along with the permissions.
        let mode = change.mode.map(|mode| mode & perm::ALL);
        let owner = change.uid.is_some() || change.gid.is_some();
        let nothing =
            mode.is_none() && !owner && change.size.is_none() && change.atime.is_none() && change.mtime.is_none();
        // A request to change nothing is how the kernel, before a write, asks for set-ID bits to be dropped. On a change
        // of size it says so in a bit that fuser does not hand on, and the caller decides.
        let set_id = nothing || owner || (change.size.is_some() && !caller.has_fsetid());
        let dropped = if set_id && mode.is_none() { self.without_set_id(caller, node)? } else { None };
        self.known.tell_attributes(node);
        held(self.view.setattr(caller, node, &AttrChange { mode: mode.or(dropped), ..change }))
    }

    pub(super) fn readlink(&self, node: NodeId) -> Outcome<Vec<u8>> {
        held(self.view.readlink(node))
    }

    pub(super) fn mknod(&self, caller: &Caller, parent: NodeId, name: &[u8], mode: u32, rdev: u32) -> Outcome<Attr> {
        let (kind, mode) = convert::node_mode(mode)?;
        self.made(parent, name, || self.view.mknod(caller, parent, Name::new(name)?, kind, mode, rdev))
    }

    pub(super) fn mkdir(&self, caller: &Caller, parent: NodeId, name: &[u8], mode: u32) -> Outcome<Attr> {
        self.made(parent, name, || self.view.mkdir(caller, parent, Name::new(name)?, mode & perm::ALL))
    }

    pub(super) fn symlink(&self, caller: &Caller, parent: NodeId, name: &[u8], target: &[u8]) -> Outcome<Attr> {
        self.made(parent, name, || self.view.symlink(caller, parent, Name::new(name)?, target))
    }

    /// Makes a name, which the kernel will remember with the node behind it.
    fn made(&self, parent: NodeId, name: &[u8], make: impl FnOnce() -> crate::error::Result<Attr>) -> Outcome<Attr> {
        self.known.tell_name(parent, name);
        let heard = self.known.heard();
        Ok(self.hand_out(make()?, heard))
    }

    pub(super) fn unlink(&self, parent: NodeId, name: &[u8]) -> Outcome<()> {
        Ok(self.view.unlink(parent, Name::new(name)?)?)
    }

    pub(super) fn rmdir(&self, parent: NodeId, name: &[u8]) -> Outcome<()> {
        Ok(self.view.rmdir(parent, Name::new(name)?)?)
    }

    pub(super) fn rename(
        &self,
        caller: &Caller,
        (parent, name): (NodeId, &[u8]),
        (new_parent, new_name): (NodeId, &[u8]),
        flags: u32,
    ) -> Outcome<()> {
        let mode = convert::rename_mode(flags)?;
        Ok(self.view.rename(caller, (parent, Name::new(name)?), (new_parent, Name::new(new_name)?), mode)?)
    }

    pub(super) fn link(&self, node: NodeId, new_parent: NodeId, new_name: &[u8]) -> Outcome<Attr> {
        self.made(new_parent, new_name, || self.view.link(node, new_parent, Name::new(new_name)?))
    }

    /// Fills `into` up to the end of the file: the kernel takes a short answer for the end.
    pub(super) fn read(&self, handle: HandleId, offset: u64, into: &mut [u8]) -> Outcome<usize> {
        let length = self.view.read(handle, offset, into)?;
        self.traffic.read(length);
        Ok(length)
    }

    /// `unprivileged`: who writes, where the kernel says that he has no `CAP_FSETID`.
    pub(super) fn write(
        &self,
        unprivileged: Option<&Caller>,
        handle: HandleId,
        offset: u64,
        data: &[u8],
    ) -> Outcome<usize> {
        if let Some(caller) = unprivileged {
            self.drop_privileges(caller, handle)?;
        }
        let length = self.view.write(handle, offset, data)?;
        self.traffic.wrote(length);
        Ok(length)
    }

    pub(super) fn fsync(&self, handle: HandleId) -> Outcome<()> {
        Ok(self.view.fsync(handle)?)
    }

    /// A descriptor is closed, one of perhaps several on the handle; `owner` is whose records go with it.
    pub(super) fn flush(&self, node: NodeId, owner: u64) -> Outcome<()> {
        // Without locks there is nothing to do at a close, and the kernel stops asking.
        let locking = self.locking.as_ref().ok_or(Errno::NOT_IMPLEMENTED)?;
        locking.release(node, owner);
        Ok(())
    }

    pub(super) fn getlk(&self, asked: &Asked) -> Outcome<Option<Lock>> {
        self.locking.as_ref().ok_or(Errno::NOT_IMPLEMENTED)?.get(asked)
    }

    /// Answers at once, or when the lock can be had. `thread`: who waits for it, where waiting is what was asked for.
    pub(super) fn setlk(&self, asked: &Asked, thread: Option<u32>, reply: Reply) {
        match &self.locking {
            Some(locking) => locking.set(asked, thread, reply),
            None => reply(Err(Errno::NOT_IMPLEMENTED)),
        }
    }

    /// The mount has ended: nobody waits for a lock any more.
    pub(super) fn end_locks(&self) {
        if let Some(locking) = &self.locking {
            locking.end();
        }
    }

    /// `owner`: the open file as an owner of locks, where it has any.
    pub(super) fn release(&self, node: NodeId, handle: HandleId, owner: Option<u64>) -> Outcome<()> {
        if let (Some(locking), Some(owner)) = (&self.locking, owner) {
            locking.release(node, owner);
        }
        self.polls.forget(handle);
        self.programs.closed(handle);
        // In this order: see `Backing::release`.
        self.backing.release(handle);
        Ok(self.view.release(handle)?)
    }

    /// What can be done with an open file without waiting, as bits of poll(2); `tell`: the number under which the kernel
    /// wants to hear when that is more.
    pub(super) fn poll(&self, handle: HandleId, tell: Option<u64>) -> Outcome<u32> {
        let always = libc::POLLOUT | libc::POLLWRNORM;
        // What has changed since it was read is read with POLLIN; programs written for sysfs wait for POLLPRI.
        let news = libc::POLLIN | libc::POLLRDNORM | libc::POLLPRI;
        let is_plain = handle.0 & NodeId::VIRTUAL_BIT == 0;
        Ok(match is_plain || self.polls.ask(handle, tell)? {
            true if is_plain => always | libc::POLLIN | libc::POLLRDNORM,
            true => always | news,
            false => always,
        } as u32)
    }

    /// Nobody who polls a file is woken any more.
    pub(super) fn stop_polls(&self) {
        self.polls.stop();
    }

    pub(super) fn lseek(&self, handle: HandleId, offset: i64, whence: i32) -> Outcome<i64> {
        let what = convert::seek(whence)?;
        let beyond = || Error::new(ErrorKind::NoSuchAddress, "seek to where no file reaches");
        let offset = u64::try_from(offset).map_err(|_| beyond())?;
        Ok(i64::try_from(self.view.seek(handle, offset, what)?).map_err(|_| beyond())?)
    }

    pub(super) fn fallocate(
        &self,
        caller: &Caller,
        handle: HandleId,
        offset: u64,
        length: u64,
        mode: i32,
    ) -> Outcome<()> {
        if !caller.has_fsetid() {
            self.drop_privileges(caller, handle)?;
        }
        Ok(self.view.allocate(handle, convert::allocate(mode)?, offset, length)?)
    }

    pub(super) fn copy_file_range(
        &self,
        caller: &Caller,
        (from, from_offset): (HandleId, u64),
        (to, to_offset): (HandleId, u64),
        length: u64,
        flags: u64,
    ) -> Outcome<u32> {
        if flags != 0 {
            return Err(Error::new(ErrorKind::Invalid, "copy a range with flags that do not exist").into());
        }
        if !caller.has_fsetid() {
            self.drop_privileges(caller, to)?;
        }
        let copied = self.view.copy_range(from, from_offset, to, to_offset, length.min(COPY_BYTES_MAX))?;
        Ok(u32::try_from(copied).unwrap_or(COPY_BYTES_MAX as u32))
    }

    /// Where directories have to be opened: the handle, and whether the kernel may keep the listing; it drops it by itself when
    /// a change is made through the mount.
    pub(super) fn opendir(&self, node: NodeId) -> Outcome<(HandleId, bool)> {
        if self.listings.are_without_handles() {
            return Err(Errno::NOT_IMPLEMENTED.into());
        }
        let handle = held(self.view.opendir(node))?;
        Ok((handle, self.tell_listing(node)))
    }

    /// The kernel is about to keep the listing of a directory. Whether it may.
    fn tell_listing(&self, directory: NodeId) -> bool {
        self.caches(directory) && self.known.tell_listing(directory)
    }

    /// `emit` is told how long the kernel may believe an entry, and says whether it took it.
    pub(super) fn readdir(
        &self,
        directory: NodeId,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, Duration) -> bool,
    ) -> Outcome<()> {
        let mut goes_on = false;
        if handle != listings::NOBODYS {
            self.list(directory, handle, offset, with_attr, &mut |entry, lifetime| {
                goes_on = true;
                emit(entry, lifetime)
            })?;
            if !goes_on && self.caches(directory) {
                self.end_listing(directory);
            }
            return Ok(());
        }
        let (stream, offset) = self.listings.stream(&self.view, directory, offset)?;
        self.list(directory, stream.handle(), offset, with_attr, &mut |entry, lifetime| {
            goes_on = true;
            emit(DirEntry { next_offset: stream.mark(entry.next_offset), ..entry }, lifetime)
        })?;
        if !goes_on {
            self.listings.end(directory, &stream);
            self.end_listing(directory);
        }
        Ok(())
    }

    /// The kernel is about to hear that a listing is over, and to keep it. Where it may not, it is told to drop what it has.
    /// That it was not to keep the listing of an open directory from the start is not remembered.
    fn end_listing(&self, directory: NodeId) {
        if self.tell_listing(directory) {
            return;
        }
        self.traffic.told();
        if let Err(e) = notice::pages(&self.notices, directory, 0, 0) {
            warn!("tell the kernel not to keep the listing of node {directory}: {e}; it may show it again");
        }
    }

    fn list(
        &self,
        directory: NodeId,
        handle: HandleId,
        offset: u64,
        with_attr: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, Duration) -> bool,
    ) -> Outcome<()> {
        let heard = self.known.heard();
        if with_attr {
            self.known.list();
        }
        let listed = self.view.readdir(handle, offset, with_attr, &mut |entry| {
            if entry.attr.is_none() || entry.id.is_virtual() {
                // The kernel learns no more than a name and a number, which it keeps with the listing.
                return emit(entry, Duration::ZERO);
            }
            self.known.tell_name(directory, entry.name);
            self.known.hand_out(entry.id);
            // What was read before the kernel was known to hold it may be old by now.
            let lifetime = if self.known.heard() == heard { self.lifetime_of(entry.id) } else { Duration::ZERO };
            let taken = emit(entry, lifetime);
            if !taken {
                self.forget(entry.id, 1);
            }
            taken
        });
        if with_attr {
            self.known.list();
        }
        Ok(listed?)
    }

    pub(super) fn fsyncdir(&self, node: NodeId, handle: HandleId) -> Outcome<()> {
        if handle != listings::NOBODYS {
            return Ok(self.view.fsyncdir(handle)?);
        }
        // The directory may be gone, which is made durable too.
        if node.is_virtual() { Ok(()) } else { Ok(self.view.vfs().sync_names()?) }
    }

    pub(super) fn releasedir(&self, handle: HandleId) -> Outcome<()> {
        Ok(self.view.releasedir(handle)?)
    }

    pub(super) fn statfs(&self) -> Outcome<StatFs> {
        Ok(self.view.statfs()?)
    }

    pub(super) fn getxattr(&self, node: NodeId, key: &[u8], room: u32) -> Outcome<Xattr> {
        match self.view.getxattr(node, key) {
            // `ls -l` asks for this one of every file, and stops when it hears that the filesystem has no labels, as is
            // so where nobody has set one.
            Err(e) if e.kind() == ErrorKind::NoAttribute && key == b"security.selinux" => {
                Err(Error::new(ErrorKind::Unsupported, "read a label").into())
            }
            value => fit(held(value)?, room),
        }
    }

    pub(super) fn setxattr(&self, node: NodeId, key: &[u8], value: &[u8], flags: i32) -> Outcome<()> {
        held(self.view.setxattr(node, key, value, convert::xattr_mode(flags)?))
    }

    pub(super) fn listxattr(&self, node: NodeId, room: u32) -> Outcome<Xattr> {
        let keys = held(self.view.listxattr(node))?;
        let mut list = Vec::with_capacity(keys.iter().map(|key| key.len() + 1).sum());
        for key in keys {
            list.extend_from_slice(&key);
            list.push(0);
        }
        if list.len() > XATTR_LIST_BYTES_MAX {
            return Err(Errno::LIST_TOO_LONG.into());
        }
        fit(list, room)
    }

    pub(super) fn removexattr(&self, node: NodeId, key: &[u8]) -> Outcome<()> {
        held(self.view.removexattr(node, key))
    }
}

/// The answer about a node that the kernel holds. One that is not there has been removed by somebody else since the kernel
/// looked: another may be there by now, and the kernel is to look again.
fn held<T>(outcome: crate::error::Result<T>) -> Outcome<T> {
    match outcome {
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Errno::STALE.into()),
        outcome => Ok(outcome?),
    }
}

/// The size protocol of getxattr(2) and listxattr(2): no room asks for the size, too little is refused.
fn fit(data: Vec<u8>, room: u32) -> Outcome<Xattr> {
    let size = u32::try_from(data.len()).map_err(|_| Errno::LIST_TOO_LONG)?;
    match room {
        0 => Ok(Xattr::Size(size)),
        _ if size <= room => Ok(Xattr::Data(data)),
        _ => Err(Errno::BUFFER_TOO_SMALL.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::errno::Refusal;

    #[test]
    fn an_attribute_fits_or_tells_its_size() {
        assert_eq!(fit(vec![1, 2, 3], 0).unwrap(), Xattr::Size(3));
        assert_eq!(fit(vec![1, 2, 3], 3).unwrap(), Xattr::Data(vec![1, 2, 3]));
        assert_eq!(fit(Vec::new(), 9).unwrap(), Xattr::Data(Vec::new()));
        assert!(matches!(fit(vec![1, 2, 3], 2), Err(Refusal::Plain(Errno::BUFFER_TOO_SMALL))));
    }
}
