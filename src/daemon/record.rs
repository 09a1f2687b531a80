//! The record of a daemon, `nexus.pid` in the data directory: who serves the store, and how a bad end came about.
//!
//! Lines: the process number; `started` and its start time; after a bad end, `failed` and why. The file is there while a
//! daemon serves and gone after a good end, so one whose process is gone tells of a kill. It is not the lock of the
//! store, which the kernel lets go by itself; only the holder of that lock writes here.

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use super::process::Identity;
use crate::error::{Error, Result};

/// The name of the record in the data directory.
pub(super) const NAME: &str = "nexus.pid";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The daemon.
    pub(super) daemon: Identity,
    /// Why it ended badly, if it has.
    pub(super) failure: Option<String>,
}

impl Record {
    /// The record in `data_dir`, `None` if there is none that can be understood.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(super) fn read(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(e) if e.kind() == IoErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("reading {}", path.display()), e)),
        }
    }

    /// Puts the record in place of any earlier one, whole or not at all.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub(super) fn write(&self, data_dir: &Path) -> Result<()> {
        let path = data_dir.join(NAME);
        let new = path.with_extension("pid.new");
        fs::write(&new, self.to_text())
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|e| Error::io(format!("writing {}", path.display()), e))
    }

    /// Takes the record away if it is still of the same daemon.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub(super) fn remove(&self, data_dir: &Path) -> Result<()> {
        let path: PathBuf = data_dir.join(NAME);
        if Self::read(data_dir)?.is_none_or(|other| other.daemon != self.daemon) {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|e| Error::io(format!("removing {}", path.display()), e))
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}\nstarted {}\n", self.daemon.pid, self.daemon.started);
        if let Some(failure) = &self.failure {
            text.push_str("failed ");
            text.push_str(&failure.replace('\n', " "));
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.parse().ok()?;
        let started = lines.next()?.strip_prefix("started ")?.parse().ok()?;
        let failure = lines.find_map(|line| line.strip_prefix("failed ")).map(str::to_owned);
        Some(Self { daemon: Identity { pid, started }, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_written_and_goes_with_its_daemon() {
        let directory = tempfile::TempDir::new().unwrap();
        let data_dir = directory.path();
        assert_eq!(Record::read(data_dir).unwrap(), None);
        let mut record = Record { daemon: Identity { pid: 7, started: 99 }, failure: None };
        record.write(data_dir).unwrap();
        assert_eq!(Record::read(data_dir).unwrap(), Some(record.clone()));
        record.failure = Some("closing: no space left\nreally".into());
        record.write(data_dir).unwrap();
        let failure = Record::read(data_dir).unwrap().unwrap().failure.unwrap();
        assert_eq!(failure, "closing: no space left really");

        let successor = Record { daemon: Identity { pid: 7, started: 100 }, failure: None };
        successor.remove(data_dir).unwrap();
        assert!(Record::read(data_dir).unwrap().is_some());
        record.remove(data_dir).unwrap();
        assert_eq!(Record::read(data_dir).unwrap(), None);
        assert_eq!(Record::parse("not a record"), None);
    }
}
