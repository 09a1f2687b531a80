//! A directory of bodies beside the lines: each a file whose name is its SHA-256.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::model::Digest;

/// The directory.
pub(super) struct Bodies {
    directory: PathBuf,
}

impl Bodies {
    /// The directory, made if it is not there: for its owner alone, as whose files the bodies are nobody can tell any more.
    pub(super) fn make(directory: &Path) -> Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| Error::io(format!("make the directory {}", directory.display()), e))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The directory, which must be there.
    pub(super) fn find(directory: &Path) -> Result<Self> {
        fs::read_dir(directory).map_err(|e| Error::io(format!("look into {}", directory.display()), e))?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    /// Whether a body of that size is there. Its bytes are looked at by the import.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.path(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Begins to add a body; half a body is never seen under its name.
    pub(super) fn begin(&self) -> Result<NamedTempFile> {
        let part = tempfile::Builder::new().prefix(".part-").tempfile_in(&self.directory);
        part.map_err(|e| self.failed(e))
    }

    /// Gives a body that is complete its name.
    pub(super) fn name(&self, part: NamedTempFile, digest: &Digest) -> Result<()> {
        part.persist(self.path(digest)).map(drop).map_err(|e| self.failed(e.error))
    }

    pub(super) fn failed(&self, e: io::Error) -> Error {
        Error::io(format!("write a body into {}", self.directory.display()), e)
    }

    /// What is there already, as names and sizes tell.
    pub(super) fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let failed = |e| Error::io(format!("look into {}", self.directory.display()), e);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let digest = entry.file_name().to_str().and_then(|name| Digest::parse_hex(name).ok());
            let size = entry.metadata().ok().filter(fs::Metadata::is_file).map(|found| found.len());
            // Only what is spelled as it would be: upper case is another name.
            found.extend(digest.zip(size).filter(|(digest, _)| entry.file_name() == *digest.to_string()));
        }
        Ok(found)
    }

    /// Opens a body; `None` if it is not there.
    pub(super) fn open(&self, digest: &Digest) -> Result<Option<File>> {
        match File::open(self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("open {}", self.path(digest).display()), e)),
        }
    }

    /// Makes all that was added durable, syncfs(2).
    pub(super) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.directory).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
        synced.map_err(|e| Error::io(format!("sync {}", self.directory.display()), e))
    }
}
