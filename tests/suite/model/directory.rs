//! A directory as subject, through ordinary system calls: a plain one, which proves the reference right, or a mount.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;

use super::answer::{Answer, Mtime, Stat, Value};
use super::ops::{Access, Allocate, How, Op, Rename, SLOTS, SetMode, pattern};
use super::reference::Shape;
use super::run::Subject;

/// Where the calls go.
pub(crate) trait Place {
    /// An absolute path.
    fn path(&self) -> PathBuf;

    /// Unmounts and mounts again; no file is open.
    fn remount(&mut self) {}

    /// The etag of a file that is there.
    fn etag(&self, path: &Path) -> Answer {
        let body = fs::read(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Value::etag(&body))
    }

    /// See [`Subject::reuses_numbers`].
    fn reuses_numbers(&self) -> bool;

    /// Cleans up and checks what is left.
    fn finish(self) -> Result<(), String>;
}

/// A plain directory on the disk of the build.
pub(crate) struct Plain(tempfile::TempDir);

impl Plain {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory to test in"))
    }
}

impl Place for Plain {
    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn reuses_numbers(&self) -> bool {
        true
    }

    fn finish(self) -> Result<(), String> {
        self.0.close().map_err(|error| error.to_string())
    }
}

/// A subject that makes system calls below a path.
pub(crate) struct Directory<P> {
    place: P,
    slots: [Option<OwnedFd>; SLOTS],
}

impl<P: Place> Directory<P> {
    pub(crate) fn new(place: P) -> Self {
        Self { place, slots: Default::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn slot(&self, slot: usize) -> Result<&OwnedFd, Errno> {
        self.slots[slot].as_ref().ok_or(Errno::BADF)
    }

    fn open(&mut self, slot: usize, path: &str, flags: OFlags, mode: u32) -> Answer {
        let file = rustix::fs::open(self.at(path), flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))?;
        // The kernel opens a directory for reading; a run wants regular files only.
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        self.slots[slot] = Some(file);
        Ok(Value::Nothing)
    }

    /// Takes short counts, but not what the copy itself appends to its source.
    fn copy(&self, from: usize, mut from_offset: u64, to: usize, mut to_offset: u64, len: usize) -> Answer {
        let (from, to) = (self.slot(from)?, self.slot(to)?);
        let there = (rustix::fs::fstat(from)?.st_size as u64).saturating_sub(from_offset);
        let (mut copied, wanted) = (0, len.min(there as usize));
        loop {
            let (source, target) = (Some(&mut from_offset), Some(&mut to_offset));
            let more = rustix::fs::copy_file_range(from, source, to, target, len - copied)?;
            copied += more;
            if more == 0 || copied >= wanted {
                return Ok(Value::Count(copied));
            }
        }
    }

    fn list(&self, path: &str) -> Answer {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut entries = Vec::new();
        for entry in Dir::new(rustix::fs::open(self.at(path), flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_str().map_err(|_| Errno::ILSEQ)?;
            if !matches!(name, "." | "..") {
                entries.push((name.to_owned(), shape(entry.file_type())?));
            }
        }
        entries.sort();
        Ok(Value::Entries(entries))
    }

    fn list_xattr(&self, path: &str) -> Answer {
        let mut list = vec![0; 65536];
        let len = rustix::fs::llistxattr(self.at(path), &mut list[..])?;
        let keys = list[..len].split(|byte| *byte == 0).filter(|key| !key.is_empty());
        let mut keys: Vec<String> = keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        // A security module may label files.
        keys.retain(|key| !key.starts_with("security."));
        keys.sort();
        Ok(Value::Keys(keys))
    }

    fn cat(&self, path: &str) -> Answer {
        fs::read(self.at(path)).map(Value::Bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn etag(&self, path: &str) -> Answer {
        match shape_of(rustix::fs::lstat(self.at(path))?.st_mode)? {
            Shape::File => self.place.etag(&self.at(path)),
            _ => Err(Errno::INVAL),
        }
    }
}

impl<P: Place> Subject for Directory<P> {
    fn apply(&mut self, op: &Op) -> Answer {
        match *op {
            Op::Open { slot, path, access, how, append, mode } => {
                return self.open(slot, path, open_flags(access, how, append), mode);
            }
            Op::Close { slot } => drop(self.slots[slot].take().ok_or(Errno::BADF)?),
            Op::Read { slot, offset, len } => {
                let mut body = vec![0; len];
                let count = rustix::io::pread(self.slot(slot)?, &mut body[..], offset)?;
                body.truncate(count);
                return Ok(Value::Bytes(body));
            }
            Op::Write { slot, offset, len, fill } => {
                return Ok(Value::Count(rustix::io::pwrite(self.slot(slot)?, &pattern(fill, len), offset)?));
            }
            Op::TruncateOpen { slot, size } => rustix::fs::ftruncate(self.slot(slot)?, size)?,
            Op::Fsync { slot } => rustix::fs::fsync(self.slot(slot)?)?,
            Op::StatOpen { slot } => return stat(&rustix::fs::fstat(self.slot(slot)?)?),
            Op::SeekData { slot, offset } => {
                return Ok(Value::Position(rustix::fs::seek(self.slot(slot)?, SeekFrom::Data(offset))?));
            }
            Op::SeekHole { slot, offset } => {
                return Ok(Value::Position(rustix::fs::seek(self.slot(slot)?, SeekFrom::Hole(offset))?));
            }
            Op::Fallocate { slot, how, offset, len } => {
                rustix::fs::fallocate(self.slot(slot)?, allocate_flags(how), offset, len)?;
            }
            Op::Copy { from, from_offset, to, to_offset, len } => {
                return self.copy(from, from_offset, to, to_offset, len);
            }
            Op::Truncate { path, size } => truncate(&self.at(path), size)?,
            Op::Mkdir { path, mode } => rustix::fs::mkdir(self.at(path), Mode::from_raw_mode(mode))?,
            Op::Rmdir { path } => rustix::fs::rmdir(self.at(path))?,
            Op::Unlink { path } => rustix::fs::unlink(self.at(path))?,
            Op::Rename { from, to, how } => {
                let flags = match how {
                    Rename::Replace => RenameFlags::empty(),
                    Rename::NoReplace => RenameFlags::NOREPLACE,
                    Rename::Exchange => RenameFlags::EXCHANGE,
                };
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags)?;
            }
            Op::Link { from, to } => rustix::fs::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty())?,
            Op::Symlink { target, path } => rustix::fs::symlink(target, self.at(path))?,
            Op::Readlink { path } => {
                return Ok(Value::Bytes(rustix::fs::readlink(self.at(path), Vec::new())?.into_bytes()));
            }
            Op::Chmod { path, mode } => rustix::fs::chmod(self.at(path), Mode::from_raw_mode(mode))?,
            Op::Chown { path, uid, gid } => {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                rustix::fs::chownat(CWD, self.at(path), uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Op::SetTimes { path, nanos } => {
                let (tv_sec, tv_nsec) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000) as _);
                let time = Timespec { tv_sec, tv_nsec };
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Op::Stat { path } => return stat(&rustix::fs::lstat(self.at(path))?),
            Op::List { path } => return self.list(path),
            Op::SetXattr { path, key, len, fill, how } => {
                let flags = match how {
                    SetMode::Either => XattrFlags::empty(),
                    SetMode::CreateOnly => XattrFlags::CREATE,
                    SetMode::ReplaceOnly => XattrFlags::REPLACE,
                };
                rustix::fs::lsetxattr(self.at(path), key, &pattern(fill, len), flags)?;
            }
            Op::GetXattr { path, key } => {
                let mut value = vec![0; 65536];
                let len = rustix::fs::lgetxattr(self.at(path), key, &mut value[..])?;
                value.truncate(len);
                return Ok(Value::Bytes(value));
            }
            Op::ListXattr { path } => return self.list_xattr(path),
            Op::RemoveXattr { path, key } => rustix::fs::lremovexattr(self.at(path), key)?,
            Op::Cat { path } => return self.cat(path),
            Op::Etag { path } => return self.etag(path),
            Op::Remount => {
                self.slots = Default::default();
                self.place.remount();
            }
            Op::Survey | Op::Settle => {}
        }
        Ok(Value::Nothing)
    }

    fn finish(mut self) -> Result<(), String> {
        self.slots = Default::default();
        self.place.finish()
    }

    fn reuses_numbers(&self) -> bool {
        self.place.reuses_numbers()
    }
}

fn open_flags(access: Access, how: How, append: bool) -> OFlags {
    let mut flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::WRONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    flags.set(OFlags::CREATE, how.creates());
    flags.set(OFlags::TRUNC, how.truncates());
    flags.set(OFlags::EXCL, how == How::CreateNew);
    flags.set(OFlags::APPEND, append);
    flags
}

fn allocate_flags(how: Allocate) -> FallocateFlags {
    match how {
        Allocate::Grow => FallocateFlags::empty(),
        Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocate::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    }
}

/// truncate(2), which neither std nor rustix offers and which an open with ftruncate(2) would only resemble.
fn truncate(path: &Path, size: u64) -> Result<(), Errno> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    let size = size.try_into().map_err(|_| Errno::INVAL)?;
    // SAFETY: `path` is a C string that lives across the call.
    match unsafe { libc::truncate(path.as_ptr(), size) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn stat(stat: &rustix::fs::Stat) -> Answer {
    let shape = shape_of(stat.st_mode)?;
    Ok(Value::Stat(Stat {
        number: stat.st_ino,
        shape,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        nlink: stat.st_nlink as _,
        size: (shape != Shape::Directory).then_some(stat.st_size as u64),
        mtime: Mtime::Is(stat.st_mtime * 1_000_000_000 + stat.st_mtime_nsec as i64),
    }))
}

fn shape_of(mode: u32) -> Result<Shape, Errno> {
    shape(FileType::from_raw_mode(mode))
}

/// EILSEQ, which no call here gives, for a kind that no run makes.
fn shape(kind: FileType) -> Result<Shape, Errno> {
    match kind {
        FileType::RegularFile => Ok(Shape::File),
        FileType::Directory => Ok(Shape::Directory),
        FileType::Symlink => Ok(Shape::Symlink),
        _ => Err(Errno::ILSEQ),
    }
}
