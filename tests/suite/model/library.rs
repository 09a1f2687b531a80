//! The library as subject: [`Vfs`] called as the kernel would call it.
//!
//! What the kernel does before it asks a filesystem is done here: it walks paths and symbolic links, finds the end of
//! a file to append to, reads and writes by itself the files it is given (passthrough), knows which handles read or write, keeps `user.` attributes off symbolic links, and says when
//! it has dropped a node. All the rest is the library's own answer.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nexus::error::{Error, ErrorKind};
use nexus::model::{Attr, AttrChange, Caller, Kind, Name, NodeId, SetTime, Timestamp};
use nexus::vfs::{self, HandleId, OpenMode, Origin, RenameMode, Seek, Serving, StoreOptions, Vfs, XattrMode};
use rustix::io::Errno;

use super::answer::{Answer, Mtime, Stat, Value};
use super::ops::{Access, Allocate, How, Op, Path, Rename, SLOTS, SetMode, pattern};
use super::reference::{Shape, is_below};
use super::run::{Subject, say};

const ROOT_USER: Caller = Caller { uid: 0, gid: 0 };
/// A listing is taken in pages of so many entries, to use its offsets.
const PAGE_ENTRIES: usize = 3;

type Result<T> = std::result::Result<T, Errno>;

struct Slot {
    handle: HandleId,
    /// What the kernel reads and writes in place of the library, FUSE passthrough.
    file: Option<File>,
    node: NodeId,
    access: Access,
    append: bool,
}

/// A store in a directory of its own.
pub(crate) struct Library {
    /// There but for the moment of a remount.
    vfs: Option<Arc<Vfs>>,
    slots: [Option<Slot>; SLOTS],
    passthrough: bool,
    // Last, so that the store goes before its directory.
    directory: tempfile::TempDir,
}

impl Library {
    pub(crate) fn new() -> Self {
        Self::with(false)
    }

    /// A store whose user takes over what it may, as a kernel with FUSE passthrough does.
    pub(crate) fn with_passthrough() -> Self {
        Self::with(true)
    }

    fn with(passthrough: bool) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for a store");
        Vfs::init(&data_dir(&directory), ROOT_USER, Timestamp::now).expect("an empty store");
        let vfs = open_store(&directory).expect("a new store opens");
        Self { vfs: Some(vfs), slots: Default::default(), passthrough, directory }
    }

    fn vfs(&self) -> &Vfs {
        self.vfs.as_ref().expect("the last remount succeeded")
    }

    fn walk(&self, path: Path) -> Result<Attr> {
        let mut attr = self.vfs().getattr(NodeId::ROOT).map_err(errno)?;
        for name in path.split('/').filter(|name| *name != ".") {
            dangling(attr)?;
            attr = self.vfs().lookup(attr.id, self::name(name)).map_err(errno)?;
        }
        Ok(attr)
    }

    fn follow(&self, path: Path) -> Result<Attr> {
        dangling(self.walk(path)?)
    }

    fn parent(&self, path: Path) -> Result<(NodeId, Name<'static>)> {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        Ok((self.follow(above)?.id, self::name(name)))
    }

    /// The same where the kernel looks at both parents before anything else.
    fn parent_directory(&self, path: Path) -> Result<(NodeId, Name<'static>)> {
        let (parent, name) = self.parent(path)?;
        let kind = self.vfs().getattr(parent).map_err(errno)?.kind;
        if kind == Kind::Directory { Ok((parent, name)) } else { Err(Errno::NOTDIR) }
    }

    fn slot(&self, slot: usize) -> Result<&Slot> {
        self.slots[slot].as_ref().ok_or(Errno::BADF)
    }

    fn writable(&self, slot: usize) -> Result<&Slot> {
        self.slot(slot).and_then(|open| if open.access.writes() { Ok(open) } else { Err(Errno::BADF) })
    }

    /// The kernel drops a node that has lost its last name when nothing has it open, and only then.
    fn dropped(&self, node: NodeId) {
        let open = self.slots.iter().flatten().any(|open| open.node == node);
        if !open && self.vfs().getattr(node).is_ok_and(|attr| attr.nlink == 0 || attr.kind == Kind::Directory) {
            self.vfs().forget(node);
        }
    }

    fn open(&mut self, slot: usize, path: Path, access: Access, how: How, append: bool, mode: u32) -> Answer {
        let open = OpenMode {
            read: access.reads(),
            write: access.writes(),
            append,
            truncate: how.truncates(),
            passthrough: self.passthrough,
            direct: self.passthrough,
            noatime: false,
            viewer: Origin::NOBODY,
        };
        let (node, opened) = match self.walk(path) {
            Ok(_) if how == How::CreateNew => return Err(Errno::EXIST),
            Ok(attr) => {
                let attr = dangling(attr)?;
                if attr.kind == Kind::Directory {
                    return Err(Errno::ISDIR);
                }
                (attr.id, self.vfs().open(&ROOT_USER, attr.id, open).map_err(errno)?)
            }
            Err(Errno::NOENT) if how.creates() => {
                let (parent, name) = self.parent(path)?;
                let (attr, opened) = self.vfs().create(&ROOT_USER, parent, name, mode, open).map_err(errno)?;
                (attr.id, opened)
            }
            Err(error) => return Err(error),
        };
        let file = match opened.serving {
            Serving::Kernel(file) => Some(reopened(&file, access).map_err(|error| os_errno(&error))?),
            Serving::Vfs { .. } => None,
        };
        let before = self.slots[slot].replace(Slot { handle: opened.handle, file, node, access, append });
        before.map_or(Ok(()), |before| self.release(before))?;
        Ok(Value::Nothing)
    }

    fn release(&self, slot: Slot) -> Result<()> {
        self.vfs().release(slot.handle).map_err(errno)?;
        self.dropped(slot.node);
        Ok(())
    }

    fn release_all(&mut self) -> Result<()> {
        for slot in std::mem::take(&mut self.slots).into_iter().flatten() {
            self.release(slot)?;
        }
        Ok(())
    }

    fn read_at(&self, handle: HandleId, offset: u64, len: usize) -> Answer {
        let mut body = vec![0; len];
        let count = self.vfs().read(handle, offset, &mut body).map_err(errno)?;
        body.truncate(count);
        Ok(Value::Bytes(body))
    }

    fn read(&self, slot: usize, offset: u64, len: usize) -> Answer {
        let open = self.slot(slot)?;
        match &open.file {
            _ if !open.access.reads() => Err(Errno::BADF),
            None => self.read_at(open.handle, offset, len),
            Some(file) => {
                let mut body = vec![0; len];
                let count = file.read_at(&mut body, offset).map_err(|error| os_errno(&error))?;
                body.truncate(count);
                Ok(Value::Bytes(body))
            }
        }
    }

    fn write(&self, slot: usize, offset: u64, data: &[u8]) -> Answer {
        let open = self.writable(slot)?;
        if data.is_empty() {
            return Ok(Value::Count(0));
        }
        if let Some(file) = &open.file {
            let end = || file.metadata().map(|metadata| metadata.len());
            let offset = if open.append { end() } else { Ok(offset) };
            let written = offset.and_then(|offset| file.write_at(data, offset));
            return written.map(Value::Count).map_err(|error| os_errno(&error));
        }
        let end = || self.vfs().getattr(open.node).map(|attr| attr.size).map_err(errno);
        let offset = if open.append { end()? } else { offset };
        self.vfs().write(open.handle, offset, data).map(Value::Count).map_err(errno)
    }

    fn fallocate(&self, slot: usize, how: Allocate, offset: u64, len: u64) -> Answer {
        self.slot(slot)?;
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let how = match how {
            Allocate::Grow => vfs::Allocate::Grow,
            Allocate::KeepSize => vfs::Allocate::KeepSize,
            Allocate::PunchHole => vfs::Allocate::PunchHole,
            Allocate::ZeroRange => vfs::Allocate::ZeroRange,
            Allocate::ZeroRangeKeepSize => vfs::Allocate::ZeroRangeKeepSize,
        };
        nothing(self.vfs().allocate(self.writable(slot)?.handle, how, offset, len))
    }

    fn seek(&self, slot: usize, offset: u64, what: Seek) -> Answer {
        self.vfs().seek(self.slot(slot)?.handle, offset, what).map(Value::Position).map_err(errno)
    }

    /// Overlap within one file is refused by the library as well as by the kernel, copy_file_range(2).
    fn copy(&self, from: usize, from_offset: u64, to: usize, to_offset: u64, len: usize) -> Answer {
        let (from, to) = (self.slot(from)?, self.slot(to)?);
        if !from.access.reads() || !to.access.writes() || to.append {
            return Err(Errno::BADF);
        }
        let there = self.vfs().getattr(from.node).map_err(errno)?.size.saturating_sub(from_offset);
        let (mut copied, len) = (0, len as u64);
        // Short counts are taken, but not what the copy itself appends to its source.
        loop {
            let rest = len - copied;
            let more = self.vfs().copy_range(from.handle, from_offset + copied, to.handle, to_offset + copied, rest);
            let more = more.map_err(errno)?;
            copied += more;
            if more == 0 || copied >= len.min(there) {
                return Ok(Value::Count(copied as usize));
            }
        }
    }

    fn change(&self, attr: Result<Attr>, change: AttrChange) -> Answer {
        nothing(self.vfs().setattr(&ROOT_USER, attr?.id, &change))
    }

    fn truncate(&self, attr: Attr, size: u64) -> Answer {
        match attr.kind {
            Kind::Directory => Err(Errno::ISDIR),
            _ => self.change(Ok(attr), AttrChange { size: Some(size), ..AttrChange::default() }),
        }
    }

    fn remove(&self, path: Path, remove: impl Fn(&Vfs, NodeId, Name<'_>) -> nexus::error::Result<()>) -> Answer {
        let (parent, name) = self.parent(path)?;
        let node = self.walk(path);
        remove(self.vfs(), parent, name).map_err(errno)?;
        self.dropped(node?.id);
        Ok(Value::Nothing)
    }

    fn link(&self, from: Path, to: Path) -> Answer {
        let node = self.walk(from)?.id;
        let (parent, name) = self.parent_directory(to)?;
        match nothing(self.vfs().link(node, parent, name)) {
            // A directory to a name that is taken deserves both; the kernel looks at the name first.
            Err(Errno::PERM) if self.walk(to).is_ok() => Err(Errno::EXIST),
            answer => answer,
        }
    }

    fn rename(&self, from: Path, to: Path, how: Rename) -> Answer {
        let (from_parent, from_name) = self.parent_directory(from)?;
        let (to_parent, to_name) = self.parent_directory(to)?;
        let taken = self.walk(to);
        let mode = match how {
            Rename::Replace => RenameMode::Replace,
            Rename::NoReplace => RenameMode::NoReplace,
            Rename::Exchange => RenameMode::Exchange,
        };
        if let Err(error) = self.vfs().rename(from_parent, from_name, to_parent, to_name, mode) {
            let error = errno(error);
            let known = [Errno::NOENT, Errno::EXIST, Errno::NOTDIR, Errno::ISDIR, Errno::NOTEMPTY, Errno::INVAL];
            let first = if known.contains(&error) { self.first_refusal(from, to, how) } else { None };
            return Err(first.unwrap_or(error));
        }
        // Replaced, unless it is still there under this or another name.
        if let Ok(taken) = taken
            && how == Rename::Replace
            && self.walk(to).is_ok_and(|now| now.id != taken.id)
        {
            self.dropped(taken.id);
        }
        Ok(Value::Nothing)
    }

    /// What the kernel says first of a rename that deserves several errors. The library has to refuse it by itself, with
    /// whichever of them.
    fn first_refusal(&self, from: Path, to: Path, how: Rename) -> Option<Errno> {
        let taken = self.walk(to).is_ok();
        match how {
            _ if self.walk(from).is_err() => Some(Errno::NOENT),
            Rename::NoReplace if taken => Some(Errno::EXIST),
            Rename::Exchange if !taken => Some(Errno::NOENT),
            _ if is_below(to, from) => Some(Errno::INVAL),
            Rename::Exchange if is_below(from, to) => Some(Errno::INVAL),
            _ if is_below(from, to) => Some(Errno::NOTEMPTY),
            _ => None,
        }
    }

    fn list(&self, path: Path) -> Answer {
        let handle = self.vfs().opendir(self.follow(path)?.id).map_err(errno)?;
        let (mut entries, mut offset) = (Vec::new(), 0);
        loop {
            let (mut page, mut last) = (0, offset);
            let emitted = self.vfs().readdir(handle, offset, false, &mut |entry| {
                if page == PAGE_ENTRIES {
                    return false;
                }
                (page, last) = (page + 1, entry.next_offset);
                if !matches!(entry.name, b"." | b"..") {
                    entries.push((String::from_utf8_lossy(entry.name).into_owned(), shape(entry.kind)));
                }
                true
            });
            emitted.map_err(errno)?;
            if page == 0 {
                break;
            }
            offset = last;
        }
        self.vfs().releasedir(handle).map_err(errno)?;
        entries.sort();
        Ok(Value::Entries(entries))
    }

    fn xattr_node(&self, path: Path, key: &str) -> Result<NodeId> {
        let attr = self.walk(path)?;
        if attr.kind == Kind::Symlink && key.starts_with("user.") { Err(Errno::PERM) } else { Ok(attr.id) }
    }

    fn list_xattr(&self, path: Path) -> Answer {
        let keys = self.vfs().listxattr(self.walk(path)?.id).map_err(errno)?;
        let mut keys: Vec<String> = keys.into_iter().map(|key| String::from_utf8_lossy(&key).into_owned()).collect();
        keys.sort();
        Ok(Value::Keys(keys))
    }

    fn cat(&self, path: Path) -> Answer {
        let attr = self.follow(path)?;
        if attr.kind == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        let open = OpenMode { read: true, ..OpenMode::default() };
        let handle = self.vfs().open(&ROOT_USER, attr.id, open).map_err(errno)?.handle;
        // One byte more than there should be.
        let body = self.read_at(handle, 0, attr.size as usize + 1);
        self.vfs().release(handle).map_err(errno)?;
        body
    }

    fn etag(&self, path: Path) -> Answer {
        let attr = self.walk(path)?;
        match attr.kind {
            Kind::File => self.vfs().etag(attr.id).map(|etag| Value::Bytes(etag.to_string().into())).map_err(errno),
            _ => Err(Errno::INVAL),
        }
    }

    /// The old store is let go of before it is opened again.
    fn remount(&mut self) -> Answer {
        self.release_all()?;
        self.vfs().close().map_err(errno)?;
        self.vfs = None;
        self.vfs = Some(open_store(&self.directory).map_err(errno)?);
        Ok(Value::Nothing)
    }
}

impl Subject for Library {
    fn apply(&mut self, op: &Op) -> Answer {
        let change = AttrChange::default();
        match *op {
            Op::Open { slot, path, access, how, append, mode } => self.open(slot, path, access, how, append, mode),
            Op::Close { slot } => {
                let open = self.slots[slot].take().ok_or(Errno::BADF)?;
                self.release(open).map(|()| Value::Nothing)
            }
            Op::Read { slot, offset, len } => self.read(slot, offset, len),
            Op::Write { slot, offset, len, fill } => self.write(slot, offset, &pattern(fill, len)),
            Op::TruncateOpen { slot, size } => match self.slot(slot)? {
                open if open.access.writes() => self.truncate(self.vfs().getattr(open.node).map_err(errno)?, size),
                _ => Err(Errno::INVAL),
            },
            Op::Fsync { slot } => nothing(self.vfs().fsync(self.slot(slot)?.handle)),
            Op::StatOpen { slot } => self.vfs().getattr(self.slot(slot)?.node).map(stat).map_err(errno),
            Op::SeekData { slot, offset } => self.seek(slot, offset, Seek::Data),
            Op::SeekHole { slot, offset } => self.seek(slot, offset, Seek::Hole),
            Op::Fallocate { slot, how, offset, len } => self.fallocate(slot, how, offset, len),
            Op::Copy { from, from_offset, to, to_offset, len } => self.copy(from, from_offset, to, to_offset, len),
            Op::Truncate { path, size } => self.truncate(self.follow(path)?, size),
            Op::Mkdir { path, mode } => {
                let (parent, name) = self.parent(path)?;
                nothing(self.vfs().mkdir(&ROOT_USER, parent, name, mode))
            }
            Op::Rmdir { path } => self.remove(path, Vfs::rmdir),
            Op::Unlink { path } => self.remove(path, Vfs::unlink),
            Op::Rename { from, to, how } => self.rename(from, to, how),
            Op::Link { from, to } => self.link(from, to),
            Op::Symlink { target, path } => {
                let (parent, name) = self.parent(path)?;
                nothing(self.vfs().symlink(&ROOT_USER, parent, name, target.as_bytes()))
            }
            Op::Readlink { path } => self.vfs().readlink(self.walk(path)?.id).map(Value::Bytes).map_err(errno),
            Op::Chmod { path, mode } => self.change(self.follow(path), AttrChange { mode: Some(mode), ..change }),
            Op::Chown { path, uid, gid } => {
                self.change(self.walk(path), AttrChange { uid: Some(uid), gid: Some(gid), ..change })
            }
            Op::SetTimes { path, nanos } => {
                let time = Some(SetTime::At(Timestamp(nanos)));
                self.change(self.walk(path), AttrChange { atime: time, mtime: time, ..change })
            }
            Op::Stat { path } => self.walk(path).map(stat),
            Op::List { path } => self.list(path),
            Op::SetXattr { path, key, len, fill, how } => {
                let mode = match how {
                    SetMode::Either => XattrMode::Set,
                    SetMode::CreateOnly => XattrMode::Create,
                    SetMode::ReplaceOnly => XattrMode::Replace,
                };
                let node = self.xattr_node(path, key)?;
                nothing(self.vfs().setxattr(node, key.as_bytes(), &pattern(fill, len), mode))
            }
            Op::GetXattr { path, key } => {
                self.vfs().getxattr(self.walk(path)?.id, key.as_bytes()).map(Value::Bytes).map_err(errno)
            }
            Op::ListXattr { path } => self.list_xattr(path),
            Op::RemoveXattr { path, key } => {
                let node = self.xattr_node(path, key)?;
                nothing(self.vfs().removexattr(node, key.as_bytes()))
            }
            Op::Cat { path } => self.cat(path),
            Op::Etag { path } => self.etag(path),
            Op::Settle => nothing(self.vfs().settle()),
            Op::Remount => self.remount(),
            Op::Survey => Ok(Value::Nothing),
        }
    }

    fn inspect(&mut self) -> std::result::Result<(), String> {
        let report = self.vfs().check().map_err(|error| format!("check: {error}"))?;
        if report.problems.is_empty() { Ok(()) } else { Err(format!("check: {:#?}", report.problems)) }
    }

    fn finish(mut self) -> std::result::Result<(), String> {
        self.release_all().map_err(|error| format!("release: {error}"))?;
        self.vfs().settle().map_err(|error| format!("settle: {error}"))?;
        self.inspect()?;
        self.vfs().close().map_err(|error| format!("close: {error}"))
    }

    /// A node's number is its `path_id`, which is never given again.
    fn reuses_numbers(&self) -> bool {
        false
    }
}

fn open_store(directory: &tempfile::TempDir) -> nexus::error::Result<Arc<Vfs>> {
    Vfs::open_store(StoreOptions { data_dir: data_dir(directory), read_only: false, clock: Timestamp::now })
}

fn data_dir(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("store")
}

fn name(name: &str) -> Name<'_> {
    Name::new(name.as_bytes()).expect("the alphabet has valid names")
}

/// A symbolic link that has to be followed, and leads nowhere as all of a run do.
fn dangling(attr: Attr) -> Result<Attr> {
    if attr.kind == Kind::Symlink { Err(Errno::NOENT) } else { Ok(attr) }
}

fn nothing<T>(result: nexus::error::Result<T>) -> Answer {
    result.map(|_| Value::Nothing).map_err(errno)
}

fn stat(attr: Attr) -> Value {
    let shape = shape(attr.kind);
    Value::Stat(Stat {
        number: attr.id.0,
        shape,
        mode: attr.mode,
        uid: attr.uid,
        gid: attr.gid,
        nlink: attr.nlink.into(),
        size: (shape != Shape::Directory).then_some(attr.size),
        mtime: Mtime::Is(attr.mtime.0),
    })
}

fn shape(kind: Kind) -> Shape {
    match kind {
        Kind::File => Shape::File,
        Kind::Directory => Shape::Directory,
        Kind::Symlink => Shape::Symlink,
        Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => unreachable!("no run makes a {kind:?}"),
    }
}

/// The kernel opens the file it is given once more, with the flags of whoever opened the file above it
/// (fs/fuse/passthrough.c).
fn reopened(file: &File, access: Access) -> std::io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(access.reads()).write(access.writes()).open(path)
}

fn os_errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The errno of a kind of error, as SEMANTICS tells it; the message goes to the test's output when nobody foresaw it.
fn errno(error: Error) -> Errno {
    match error.kind() {
        ErrorKind::NotFound => Errno::NOENT,
        ErrorKind::Exists => Errno::EXIST,
        ErrorKind::NotADirectory => Errno::NOTDIR,
        ErrorKind::IsADirectory => Errno::ISDIR,
        ErrorKind::NotEmpty => Errno::NOTEMPTY,
        ErrorKind::Denied => Errno::ACCESS,
        ErrorKind::NotPermitted => Errno::PERM,
        ErrorKind::ReadOnly => Errno::ROFS,
        ErrorKind::Invalid => Errno::INVAL,
        ErrorKind::NameTooLong => Errno::NAMETOOLONG,
        ErrorKind::NoSpace => Errno::NOSPC,
        ErrorKind::FileTooLarge => Errno::FBIG,
        ErrorKind::ValueTooLarge => Errno::TOOBIG,
        ErrorKind::NoAttribute => Errno::NODATA,
        ErrorKind::Unsupported => Errno::OPNOTSUPP,
        ErrorKind::CrossScope => Errno::XDEV,
        ErrorKind::TooManyLinks => Errno::MLINK,
        ErrorKind::BadHandle => Errno::BADF,
        ErrorKind::NoSuchAddress => Errno::NXIO,
        ErrorKind::Cycle => Errno::LOOP,
        ErrorKind::InUse => Errno::BUSY,
        ErrorKind::Damaged
        | ErrorKind::Configuration
        | ErrorKind::Incompatible
        | ErrorKind::OutcomeUnknown
        | ErrorKind::Io => {
            say(&format!("library: {error}"));
            Errno::IO
        }
    }
}
