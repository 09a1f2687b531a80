//! Bodies as files: `cas/ab/cd/<digest>`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{sync_directory, together};
use crate::error::{Error, Result};
use crate::model::Digest;

/// The files of big bodies.
#[derive(Debug)]
pub struct BlobStore {
    root: PathBuf,
    quarantine: PathBuf,
    grown: Mutex<Grown>,
}

/// Directories in which others were made, so that they have to be synced along with what is put there: each with the number
/// of the last one.
#[derive(Debug, Default)]
struct Grown {
    directories: BTreeMap<PathBuf, u64>,
    made: u64,
}

impl BlobStore {
    /// The store below `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.join("cas"), quarantine: data_dir.join("quarantine"), grown: Mutex::default() }
    }

    /// Makes the directories of a new store.
    ///
    /// # Errors
    /// What mkdir(2) reports.
    pub fn create(&self) -> Result<()> {
        for directory in [&self.root, &self.quarantine] {
            fs::create_dir(directory).map_err(|e| Error::io(format!("make directory {}", directory.display()), e))?;
        }
        Ok(())
    }

    /// Where the file of a digest is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join(&name[..2]).join(&name[2..4]).join(name)
    }

    /// Opens a body for reading.
    ///
    /// # Errors
    /// `NotFound` when the file is not there.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).map_err(|e| Error::io(format!("open blob {digest}"), e))
    }

    /// Whether there is a file of that digest.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Gives the file `source`, whose bytes are durable and hash to `digest`, its name in the store as well; what stood
    /// under that name is replaced. [`BlobStore::sync`] makes the name durable.
    ///
    /// # Errors
    /// What link(2) and rename(2) report; nothing has changed then.
    pub fn put(&self, source: &Path, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        let put = || match fs::hard_link(source, &path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_directories(&path)?;
                fs::hard_link(source, &path)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => replace(source, &path),
            other => other,
        };
        put().map_err(|e| Error::io(format!("put blob {digest}"), e))
    }

    /// Makes the directory for a file, and the one above it.
    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut grown = self.grown.lock();
        grown.made += 1;
        let made = grown.made;
        // Before they are there: whoever finds them needs them durable, too.
        grown.directories.extend(path.ancestors().skip(2).take(2).map(|directory| (directory.to_owned(), made)));
        path.parent().map_or(Ok(()), fs::create_dir_all)
    }

    /// Makes the names of these digests durable.
    ///
    /// # Errors
    /// What fsync(2) reports.
    pub fn sync<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<()> {
        let grown = self.grown.lock().directories.clone();
        let mut directories: BTreeSet<_> = grown.keys().cloned().collect();
        directories.extend(digests.into_iter().filter_map(|digest| self.path(digest).parent().map(Path::to_owned)));
        sync_together(directories)?;
        // But for those that have grown again meanwhile.
        self.grown.lock().directories.retain(|directory, made| grown.get(directory) != Some(made));
        Ok(())
    }

    /// Makes all directories durable, whoever made them: a process that was killed may have had no time for it.
    ///
    /// # Errors
    /// What readdir(3) and fsync(2) report.
    pub fn sync_directories(&self) -> Result<()> {
        let failed = |e| Error::io("list the content store", e);
        let mut directories = BTreeSet::from([self.root.clone()]);
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                directories.insert(entry.path());
            }
        }
        sync_together(directories)
    }

    /// Removes the file of a digest, if it is there.
    ///
    /// # Errors
    /// What unlink(2) reports.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(format!("remove blob {digest}"), e)),
            _ => Ok(()),
        }
    }

    /// Moves a damaged file out of the way, for whoever wants to look at it.
    ///
    /// # Errors
    /// What rename(2) reports.
    pub fn quarantine(&self, digest: &Digest) -> Result<()> {
        fs::rename(self.path(digest), self.quarantine.join(digest.to_string()))
            .map_err(|e| Error::io(format!("quarantine blob {digest}"), e))
    }

    /// Moves any file or directory of the store out of the way; where it is then.
    ///
    /// # Errors
    /// What rename(2) reports.
    pub fn set_aside(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().unwrap_or_default();
        let names = std::iter::once(name.to_owned()).chain((1_u64..).map(|number| {
            let mut other = name.to_owned();
            other.push(format!(".{number}"));
            other
        }));
        let free = names.map(|name| self.quarantine.join(name)).find(|free| free.symlink_metadata().is_err());
        let free = free.unwrap_or_else(|| self.quarantine.join(name));
        fs::rename(path, &free).map_err(|e| Error::io(format!("set {} aside", path.display()), e))?;
        Ok(free)
    }

    /// Keeps bytes that do not hash to `digest`, durably.
    ///
    /// # Errors
    /// What writing reports.
    pub fn keep_damaged(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.quarantine.join(digest.to_string());
        let keep = || {
            fs::write(&path, bytes)?;
            File::open(&path)?.sync_all()
        };
        keep().map_err(|e: io::Error| Error::io(format!("keep the damaged body {digest}"), e))?;
        sync_directory(&self.quarantine)
    }

    /// Calls `each` with the digest and size of every file of the store, in no order; files with other names are passed
    /// to `stranger`.
    ///
    /// # Errors
    /// What readdir(3) reports, and what `each` returns.
    pub fn list(&self, each: &mut dyn FnMut(Digest, u64) -> Result<()>, stranger: &mut dyn FnMut(&Path)) -> Result<()> {
        self.walk(&self.root, 0, each, stranger)
    }

    /// The same for those files alone whose digest begins with the byte `first`; others are passed over.
    ///
    /// # Errors
    /// As [`BlobStore::list`].
    pub fn list_part(&self, first: u8, each: &mut dyn FnMut(Digest, u64) -> Result<()>) -> Result<()> {
        let part = self.root.join(format!("{first:02x}"));
        if part.is_dir() { self.walk(&part, 1, each, &mut |_| {}) } else { Ok(()) }
    }

    fn walk(
        &self,
        directory: &Path,
        depth: usize,
        each: &mut dyn FnMut(Digest, u64) -> Result<()>,
        stranger: &mut dyn FnMut(&Path),
    ) -> Result<()> {
        let failed = |e| Error::io(format!("list {}", directory.display()), e);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let found = match entry.metadata() {
                // Removed since the directory was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed)?,
            };
            if found.is_dir() && depth < 2 {
                self.walk(&path, depth + 1, each, stranger)?;
                continue;
            }
            let digest = entry.file_name().to_str().and_then(|name| Digest::parse_hex(name).ok());
            match digest {
                Some(digest) if self.path(&digest) == path && found.is_file() => each(digest, found.len())?,
                _ => stranger(&path),
            }
        }
        Ok(())
    }
}

fn sync_together(directories: BTreeSet<PathBuf>) -> Result<()> {
    let directories: Vec<_> = directories.into_iter().collect();
    together::each(&directories, |directory| sync_directory(directory)).into_iter().collect()
}

/// Gives `source` the name `path` as well, which another file has, or the same.
fn replace(source: &Path, path: &Path) -> io::Result<()> {
    // A second name beside the source first: link(2) does not replace, and rename(2) of the source would lose it.
    let mut second = source.as_os_str().to_owned();
    second.push(".sealed");
    let second = PathBuf::from(second);
    match fs::hard_link(source, &second) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&second)?;
            fs::hard_link(source, &second)?;
        }
        other => other?,
    }
    fs::rename(&second, path)?;
    // rename(2) does nothing when both names lead to one file already.
    match fs::remove_file(&second) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Subject {
        base: tempfile::TempDir,
        store: BlobStore,
    }

    impl Subject {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let store = BlobStore::new(base.path());
            store.create().unwrap();
            Self { base, store }
        }

        /// Puts these bytes under the digest of `name`, from a file that goes afterwards.
        fn put(&self, name: &[u8], bytes: &[u8]) -> Digest {
            let (digest, source) = (Digest::of(name), self.base.path().join("source"));
            fs::write(&source, bytes).unwrap();
            self.store.put(&source, &digest).unwrap();
            // Once more is as well: a seal that was cut short begins again.
            self.store.put(&source, &digest).unwrap();
            fs::remove_file(&source).unwrap();
            digest
        }

        fn grown(&self) -> Vec<PathBuf> {
            self.store.grown.lock().directories.keys().cloned().collect()
        }
    }

    #[test]
    fn what_stood_under_the_name_is_replaced() {
        let subject = Subject::new();
        for bytes in [&b"left by a crash"[..], b"body"] {
            let digest = subject.put(b"name", bytes);
            assert_eq!(fs::read(subject.store.path(&digest)).unwrap(), bytes);
        }
        let beside: Vec<_> =
            fs::read_dir(subject.base.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside.len(), 2, "the two directories of the store alone: {beside:?}");
    }

    #[test]
    fn directories_that_were_made_are_synced_with_the_first_that_needs_them() {
        let subject = Subject::new();
        let digest = subject.put(b"a", b"a");
        let root = subject.store.path(&digest).ancestors().nth(3).unwrap().to_owned();
        let first = subject.store.path(&digest).ancestors().nth(2).unwrap().to_owned();
        assert_eq!(subject.grown(), [root, first.clone()]);
        subject.store.sync([]).unwrap();
        assert_eq!(subject.grown(), [] as [PathBuf; 0]);
        subject.put(b"a", b"b");
        assert_eq!(subject.grown(), [] as [PathBuf; 0], "all its directories are there");
        subject.put(b"b", b"b");
        fs::remove_dir_all(&first).unwrap();
        subject.store.grown.lock().directories.insert(first.clone(), 9);
        subject.store.sync([]).unwrap_err();
        assert!(subject.grown().contains(&first), "what could not be synced is tried again");
        subject.store.sync_directories().unwrap();
    }
}
