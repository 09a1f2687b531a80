//! One step at a time: a change through one of four mounts or the library, then a look through another. What the library
//! says is the truth: it has no cache.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nexus::model::{Attr, Kind, Name, NodeId, VPath};
use nexus::vfs::OpenMode;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::store::{ROOT, Shared};
use crate::harness::{Random, bytes, seed};

const STEPS: usize = 10_000;
const MOUNTS: usize = 4;
/// Few names, so that they meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d1", "d2", "d3"];
/// Files that stay open on a mount.
const OPEN_MAX: usize = 4;
/// A row, a small file, a file that was a draft on the disk.
const SIZES: [u64; 6] = [0, 3, 4096, 20_000, 70_000, 300_000];

/// The driver: what is open where, and the steps so far, for the message when one fails.
struct Driver {
    shared: Shared,
    random: Random,
    open: Vec<Vec<(u64, File)>>,
    log: Vec<String>,
}

#[test]
fn every_look_sees_the_last_change() {
    run(|_, _| {}, STEPS);
}

#[test]
fn every_look_sees_the_last_change_where_only_some_kernels_serve_files() {
    run(|index, options| options.manner.passthrough = index % 2 == 0, STEPS / 4);
}

#[test]
#[should_panic(expected = "step")]
fn a_mount_that_is_not_told_shows_what_was() {
    // The other tests mean something only because this one fails.
    let shared = Shared::new(MOUNTS, |_, _| {});
    shared.deafen();
    steps(shared, 2000);
}

fn run(adjust: impl Fn(usize, &mut nexus::fuse::MountOptions), count: usize) {
    steps(Shared::new(MOUNTS, adjust), count);
}

fn steps(shared: Shared, steps: usize) {
    let seed = seed();
    println!("NEXUS_TEST_SEED={seed}");
    let mut driver =
        Driver { shared, random: Random(seed), open: (0..MOUNTS).map(|_| Vec::new()).collect(), log: Vec::new() };
    for step in 0..steps {
        let before = driver.log.len();
        driver.step();
        if let Err(wrong) = driver.look_around() {
            let log = driver.log[before.saturating_sub(30)..].join("\n");
            panic!("step {step}, NEXUS_TEST_SEED={seed}: {wrong}\nafter\n{log}");
        }
        driver.log.drain(..driver.log.len().saturating_sub(60));
    }
    driver.open.clear();
    driver.shared.finish();
}

impl Driver {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize]
    }

    /// A path of one to three names.
    fn path(&mut self) -> PathBuf {
        let depth = 1 + self.random.below(3);
        (0..depth).map(|_| self.pick(&NAMES)).collect()
    }

    fn mount(&mut self) -> usize {
        self.random.below(MOUNTS as u64) as usize
    }

    /// One change, which may be refused.
    fn step(&mut self) {
        let mount = self.mount();
        let (one, two) = (self.path(), self.path());
        let root = self.shared.place(mount).to_owned();
        let (at, to) = (root.join(&one), root.join(&two));
        let size = self.pick(&SIZES);
        let (offset, number) = (self.pick(&SIZES), self.random.next());
        let what = self.random.below(18);
        let outcome = match what {
            0 | 1 => fs::create_dir(&at),
            2 => fs::remove_dir(&at),
            3 | 4 => fs::write(&at, bytes(number, size as usize)),
            5 => OpenOptions::new().append(true).open(&at).and_then(|mut f| f.write_all(b"appended")),
            6 => OpenOptions::new().write(true).open(&at).and_then(|f| f.write_all_at(b"in the middle", offset)),
            7 => OpenOptions::new().write(true).open(&at).and_then(|f| f.set_len(size)),
            8 => fs::remove_file(&at),
            9 => fs::rename(&at, &to),
            10 => renameat_with(CWD, &at, CWD, &to, RenameFlags::EXCHANGE).map_err(Into::into),
            11 => fs::hard_link(&at, &to),
            12 => symlink(&one, &to),
            13 => fs::set_permissions(&at, fs::Permissions::from_mode(0o600 + (number as u32 & 0o77))),
            14 => xattr::set(&at, "user.k", &number.to_le_bytes()),
            15 => self.open_or_close(mount, &at, number),
            16 => self.through_open(mount, size, offset, number),
            _ => self.by_library(&one, number),
        };
        let outcome = outcome.map_err(|e| e.kind());
        self.log.push(format!(
            "mount {mount}: {what} {} {} {size} {offset}: {outcome:?}",
            one.display(),
            two.display()
        ));
    }

    fn open_or_close(&mut self, mount: usize, at: &Path, number: u64) -> std::io::Result<()> {
        if self.open[mount].len() >= OPEN_MAX {
            let index = (number as usize) % OPEN_MAX;
            self.open[mount].swap_remove(index);
            return Ok(());
        }
        if !fs::symlink_metadata(at)?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let file = OpenOptions::new().read(true).write(number.is_multiple_of(2)).open(at)?;
        self.open[mount].push((file.metadata()?.ino(), file));
        Ok(())
    }

    fn through_open(&mut self, mount: usize, size: u64, offset: u64, number: u64) -> std::io::Result<()> {
        let Some((_, file)) = self.open[mount].get(number as usize % OPEN_MAX) else {
            return Err(ErrorKind::NotFound.into());
        };
        if number.is_multiple_of(3) { file.set_len(size) } else { file.write_all_at(&bytes(number, 5000), offset) }
    }

    fn by_library(&mut self, path: &Path, number: u64) -> std::io::Result<()> {
        let library = &self.shared.library;
        let failed = |e: nexus::error::Error| std::io::Error::other(e.to_string());
        let attr = library.resolve(&vpath(path)).map_err(failed)?;
        if number.is_multiple_of(5) {
            return library.vfs().settle().map_err(failed);
        }
        if attr.kind == Kind::Directory {
            let name = Name::new(if number.is_multiple_of(2) { b"a" } else { b"b" }).map_err(failed)?;
            let gone = if number.is_multiple_of(3) { library.unlink(attr.id, name) } else { Ok(()) };
            return gone
                .and_then(|()| library.mknod(&ROOT, attr.id, name, Kind::File, 0o644, 0))
                .map(drop)
                .map_err(failed);
        }
        let write = OpenMode { read: true, write: true, ..OpenMode::default() };
        let handle = library.open(&ROOT, attr.id, write).map_err(failed)?.handle;
        let written = library.write(handle, number % 9000, b"by the library").map(drop);
        library.release(handle).and(written).map_err(failed)
    }

    /// Compares a few paths and all that is open as one other mount shows it with what the library says.
    fn look_around(&mut self) -> Result<(), String> {
        let mount = self.mount();
        let root = self.shared.place(mount).to_owned();
        for _ in 0..4 {
            let path = self.path();
            compare(&self.shared, &root, &path).map_err(|e| format!("mount {mount}: {}: {e}", path.display()))?;
        }
        compare(&self.shared, &root, Path::new("")).map_err(|e| format!("mount {mount}: the root: {e}"))?;
        for (id, file) in &mut self.open[mount] {
            let attr = self.shared.library.getattr(NodeId(*id)).map_err(|e| e.to_string())?;
            same_attr(&file.metadata().map_err(|e| e.to_string())?, &attr)
                .and_then(|()| {
                    let mut seen = Vec::new();
                    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
                    file.read_to_end(&mut seen).map_err(|e| e.to_string())?;
                    same_bytes(&seen, &contents(&self.shared, &attr))
                })
                .map_err(|e| format!("mount {mount}: open node {id}: {e}"))?;
        }
        Ok(())
    }
}

fn vpath(path: &Path) -> VPath {
    VPath::parse(format!("/{}", path.display()).as_bytes()).unwrap()
}

/// What one path is on a mount and in the library.
fn compare(shared: &Shared, root: &Path, path: &Path) -> Result<(), String> {
    let truth = shared.library.resolve(&vpath(path)).ok();
    let at = root.join(path);
    let seen = match fs::symlink_metadata(&at) {
        Ok(seen) => Some(seen),
        // Through a symbolic link or a file: the library follows none.
        Err(e) if e.kind() == ErrorKind::NotFound || truth.is_none() => None,
        Err(e) => return Err(e.to_string()),
    };
    let (seen, truth) = match (seen, truth) {
        (Some(seen), Some(truth)) => (seen, truth),
        (None, None) => return Ok(()),
        // A link above leads the kernel there.
        (Some(_), None) if has_link(root, path) => return Ok(()),
        (seen, truth) => return Err(format!("seen {:?}, and it is {truth:?}", seen.map(|seen| seen.ino()))),
    };
    same_attr(&seen, &truth)?;
    match truth.kind {
        Kind::File => {
            let bytes = fs::read(&at).map_err(|e| e.to_string())?;
            same_bytes(&bytes, &contents(shared, &truth))?;
        }
        Kind::Directory => {
            let entries = fs::read_dir(&at).map_err(|e| e.to_string())?;
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_encoded_bytes()).collect();
            names.sort();
            let listed = listing(shared, &truth);
            if names != listed {
                return Err(format!("listed {}, and there are {}", shown(&names), shown(&listed)));
            }
        }
        _ => {}
    }
    let value = xattr::get(&at, "user.k").ok().flatten();
    let stored = shared.library.getxattr(truth.id, b"user.k").ok();
    if truth.kind != Kind::Symlink && value != stored {
        return Err(format!("an attribute {value:?}, and it is {stored:?}"));
    }
    Ok(())
}

fn has_link(root: &Path, path: &Path) -> bool {
    path.ancestors().skip(1).any(|above| fs::symlink_metadata(root.join(above)).is_ok_and(|m| m.is_symlink()))
}

fn shown(names: &[Vec<u8>]) -> String {
    names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" ")
}

fn same_attr(seen: &fs::Metadata, truth: &Attr) -> Result<(), String> {
    let times = (seen.mtime() * 1_000_000_000 + seen.mtime_nsec(), seen.ctime() * 1_000_000_000 + seen.ctime_nsec());
    let seen = (seen.ino(), seen.size(), seen.mode() & 0o7777, seen.nlink(), times);
    let is = (truth.id.0, truth.size, truth.mode, u64::from(truth.nlink), (truth.mtime.0, truth.ctime.0));
    if seen == is { Ok(()) } else { Err(format!("stat says {seen:?}, and it is {is:?}")) }
}

fn same_bytes(seen: &[u8], truth: &[u8]) -> Result<(), String> {
    if seen == truth {
        return Ok(());
    }
    let differ = seen.iter().zip(truth).position(|(a, b)| a != b);
    Err(format!("{} bytes read, and there are {}; the first that differs is {differ:?}", seen.len(), truth.len()))
}

fn contents(shared: &Shared, attr: &Attr) -> Vec<u8> {
    let library = &shared.library;
    let read = OpenMode { read: true, ..OpenMode::default() };
    let handle = library.vfs().open(&ROOT, attr.id, read).unwrap().handle;
    let mut bytes = vec![0; attr.size as usize];
    let length = library.vfs().read(handle, 0, &mut bytes).unwrap();
    library.vfs().release(handle).unwrap();
    bytes.truncate(length);
    bytes
}

fn listing(shared: &Shared, attr: &Attr) -> Vec<Vec<u8>> {
    let library = &shared.library;
    let handle = library.opendir(attr.id).unwrap();
    let mut names = Vec::new();
    library
        .readdir(handle, 0, false, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                names.push(entry.name.to_vec());
            }
            true
        })
        .unwrap();
    library.releasedir(handle).unwrap();
    names.sort();
    names
}
