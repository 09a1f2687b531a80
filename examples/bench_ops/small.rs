//! Many small files: create, stat, list, open-read-close, append, rename, unlink, and creating them again.
//!
//! Each client has its files in directories of a hundred, like a source tree. One operation is what a program would call
//! one: "read" is open, read, close; "list" is one entry of readdir(3) with its lstat(2). Sizes and stamps are checked
//! in the timed loops, whole bodies and counts between them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::content::{Body, mix};
use crate::phase::{self, Caches, Timing, wanted};
use crate::{Failure, Options};

const FILES_PER_DIRECTORY: usize = 100;
const APPENDED_BYTES: usize = 100;

/// The files created again hold other bytes: a store may still know the old ones.
const FIRST_LIFE: u64 = 0;
const SECOND_LIFE: u64 = 1 << 32;

/// Runs the phases asked for; the files are created and unlinked in any case.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let tree = Tree::plant(options)?;

    tree.phase("create", Caches::Warm, |tree, client| tree.create(client, FIRST_LIFE))?;
    tree.phase("stat-first", Caches::NamesDropped, |tree, client| tree.stat(client, tree.size))?;
    tree.warm_phase("stat-warm", |tree, client| tree.stat(client, tree.size))?;
    tree.phase("list-first", Caches::NamesDropped, |tree, client| tree.list(client, tree.size))?;
    tree.warm_phase("list-warm", |tree, client| tree.list(client, tree.size))?;
    tree.phase("read-first", Caches::NamesDropped, |tree, client| tree.read(client))?;
    tree.warm_phase("read-warm", |tree, client| tree.read(client))?;

    let mut size = tree.size;
    if wanted(options, "append") {
        tree.phase("append", Caches::Warm, |tree, client| tree.append(client))?;
        size += APPENDED_BYTES;
    }
    tree.verify(FIRST_LIFE, size)?;
    if wanted(options, "rename") {
        tree.phase("rename", Caches::Warm, |tree, _| rename_all(&tree.names, &tree.new_names))?;
        tree.unseen(|tree, _| rename_all(&tree.new_names, &tree.names))?;
    }
    tree.verify(FIRST_LIFE, size)?;
    tree.phase("unlink", Caches::Warm, |tree, client| tree.unlink(client))?;
    tree.verify_empty()?;
    if wanted(options, "create-again") {
        tree.phase("create-again", Caches::Warm, |tree, client| tree.create(client, SECOND_LIFE))?;
        tree.verify(SECOND_LIFE, tree.size)?;
    }
    Ok(())
}

struct Tree<'a> {
    options: &'a Options,
    size: usize,
    directories: Vec<PathBuf>,
    /// The names of a client's files, relative to its directory; the same for all.
    names: Vec<PathBuf>,
    new_names: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    fn plant(options: &'a Options) -> Result<Self, Failure> {
        let directory = |index: usize| format!("d{:03}", index / FILES_PER_DIRECTORY);
        let name = |initial: char, index: usize| PathBuf::from(format!("{}/{initial}{index:06}", directory(index)));
        let names = (0..options.count).map(|index| name('f', index)).collect();
        let new_names = (0..options.count).map(|index| name('r', index)).collect();
        let directories: Vec<PathBuf> =
            (0..options.count).step_by(FILES_PER_DIRECTORY).map(|index| PathBuf::from(directory(index))).collect();
        for client in 0..options.clients {
            for directory in &directories {
                fs::create_dir_all(options.directory.join(format!("c{client}")).join(directory))?;
            }
        }
        Ok(Self { options, size: options.size, directories, names, new_names })
    }

    /// One timed pass over all files by all clients.
    fn phase<F>(&self, name: &str, caches: Caches, work: F) -> Result<(), Failure>
    where
        F: Fn(&Self, usize) -> Result<u64, Failure> + Sync,
    {
        let needed = matches!(name, "create" | "unlink");
        if !needed && !wanted(self.options, name) {
            return Ok(());
        }
        phase::prepare(caches)?;
        let timing =
            phase::watched(self.options, name, || self.unseen(work)).map_err(|failure| format!("{name}: {failure}"))?;
        if timing.ops != self.file_count() {
            return Err(format!("{name}: {} files instead of {}", timing.ops, self.file_count()).into());
        }
        phase::report(name, timing, 0)
    }

    /// Passes over files that were all visited just before, for as long as a warm phase lasts.
    fn warm_phase<F>(&self, name: &str, work: F) -> Result<(), Failure>
    where
        F: Fn(&Self, usize) -> Result<u64, Failure> + Sync,
    {
        if !wanted(self.options, name) {
            return Ok(());
        }
        phase::prepare(Caches::Warm)?;
        self.unseen(&work)?;
        let seconds = self.options.warm_seconds;
        let repeated = || self.unseen(|tree, client| phase::repeat_for(seconds, || work(tree, client)));
        let timing = phase::watched(self.options, name, repeated).map_err(|failure| format!("{name}: {failure}"))?;
        if timing.ops % (self.names.len() as u64) != 0 {
            return Err(format!("{name}: some of the {} files were missing in a pass", self.names.len()).into());
        }
        phase::report(name, timing, 0)
    }

    fn file_count(&self) -> u64 {
        (self.names.len() * self.options.clients) as u64
    }

    /// All clients at once, and no line printed.
    fn unseen<F>(&self, work: F) -> Result<Timing, Failure>
    where
        F: Fn(&Self, usize) -> Result<u64, Failure> + Sync,
    {
        phase::clients(self.options.clients, &self.options.directory, |client| work(self, client))
    }

    fn body(&self, client: usize, life: u64) -> Body {
        Body::new(mix(self.options.seed) ^ life ^ client as u64, self.size)
    }

    fn create(&self, client: usize, life: u64) -> Result<u64, Failure> {
        let mut body = self.body(client, life);
        for (index, name) in self.names.iter().enumerate() {
            let mut file = File::create_new(name).map_err(on(name))?;
            file.write_all(body.stamped(first_block(index))).map_err(on(name))?;
        }
        Ok(self.names.len() as u64)
    }

    fn stat(&self, _client: usize, size: usize) -> Result<u64, Failure> {
        for name in &self.names {
            let found = fs::symlink_metadata(name).map_err(on(name))?.len();
            if found != size as u64 {
                return Err(wrong(name, &format!("{found} bytes instead of {size}")));
            }
        }
        Ok(self.names.len() as u64)
    }

    fn list(&self, _client: usize, size: usize) -> Result<u64, Failure> {
        let mut entries = 0;
        for directory in &self.directories {
            for entry in fs::read_dir(directory).map_err(on(directory))? {
                let entry = entry.map_err(on(directory))?;
                let found = entry.metadata().map_err(on(&entry.path()))?.len();
                if found != size as u64 {
                    return Err(wrong(&entry.path(), &format!("listed with {found} bytes instead of {size}")));
                }
                entries += 1;
            }
        }
        Ok(entries)
    }

    fn read(&self, client: usize) -> Result<u64, Failure> {
        let body = self.body(client, FIRST_LIFE);
        let mut buffer = vec![0; self.size + 1];
        for (index, name) in self.names.iter().enumerate() {
            let found = File::open(name).and_then(|mut file| file.read(&mut buffer)).map_err(on(name))?;
            if found != self.size || !body.matches(first_block(index), &buffer[..found]) {
                return Err(wrong(name, &format!("read {found} bytes that are not the {} written", self.size)));
            }
        }
        Ok(self.names.len() as u64)
    }

    fn append(&self, client: usize) -> Result<u64, Failure> {
        let line = Body::new(appended_seed(self.options.seed, client), APPENDED_BYTES);
        for name in &self.names {
            let mut file = OpenOptions::new().append(true).open(name).map_err(on(name))?;
            file.write_all(line.bytes()).map_err(on(name))?;
        }
        Ok(self.names.len() as u64)
    }

    fn unlink(&self, _client: usize) -> Result<u64, Failure> {
        for name in &self.names {
            fs::remove_file(name).map_err(on(name))?;
        }
        Ok(self.names.len() as u64)
    }

    /// Every byte of every file, and no file too many.
    fn verify(&self, life: u64, size: usize) -> Result<(), Failure> {
        let listed = self.unseen(|tree, client| tree.list(client, size))?.ops;
        if listed != self.file_count() {
            return Err(format!("{listed} files listed instead of {}", self.file_count()).into());
        }
        self.unseen(|tree, client| {
            let mut body = tree.body(client, life);
            let line = Body::new(appended_seed(tree.options.seed, client), APPENDED_BYTES);
            for (index, name) in tree.names.iter().enumerate() {
                let read = fs::read(name).map_err(on(name))?;
                let (own, tail) = read.split_at(tree.size.min(read.len()));
                if read.len() != size || !body.whole(first_block(index), own) || !line.bytes().starts_with(tail) {
                    return Err(wrong(name, "holds other bytes than were written"));
                }
            }
            Ok(0)
        })?;
        Ok(())
    }

    fn verify_empty(&self) -> Result<(), Failure> {
        match self.unseen(|tree, client| tree.list(client, 0)) {
            Ok(Timing { ops: 0, .. }) => Ok(()),
            Ok(Timing { ops, .. }) => Err(format!("unlink: {ops} files still listed").into()),
            Err(failure) => Err(format!("unlink: {failure}").into()),
        }
    }
}

fn rename_all(from: &[PathBuf], to: &[PathBuf]) -> Result<u64, Failure> {
    for (from, to) in from.iter().zip(to) {
        fs::rename(from, to).map_err(on(from))?;
    }
    Ok(from.len() as u64)
}

/// Numbers the blocks of a file so that no two files share one.
fn first_block(index: usize) -> u64 {
    (index as u64) << 20
}

fn appended_seed(seed: u64, client: usize) -> u64 {
    mix(mix(seed ^ 0xa99e) ^ client as u64)
}

fn on(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| format!("{}: {error}", path.display()).into()
}

fn wrong(path: &Path, what: &str) -> Failure {
    format!("{}: {what}", path.display()).into()
}
