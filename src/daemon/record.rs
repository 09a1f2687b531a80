//! The record of a daemon, `nexus.pid` in the data directory: who serves the store, and how a bad end came about.
//!
//! Lines: the process number; `started` and its start time; for each mount `mount` and an object that describes it; after
//! a bad end, `failed` and why. The file is there while a
//! daemon serves and gone after a good end, so one whose process is gone tells of a kill. It is not the lock of the
//! store, which the kernel lets go by itself; only the holder of that lock writes here.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Identity;
use super::{LockScope, MountState};
use crate::error::{Error, Result};
use crate::model::{Principal, Timestamp};

/// The name of the record in the data directory.
pub(super) const NAME: &str = "nexus.pid";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The daemon.
    pub(super) daemon: Identity,
    /// Its mounts.
    pub(super) mounts: Vec<MountState>,
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
        for mount in &self.mounts {
            let line = serde_json::to_string(&Line::from(mount)).expect("text and flags become JSON");
            text.push_str(&format!("mount {line}\n"));
        }
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
        let (mut mounts, mut failure) = (Vec::new(), None);
        for line in lines {
            match line.split_once(' ') {
                // One that cannot be understood is a later version's: better one line less than no record.
                Some(("mount", line)) => {
                    mounts.extend(serde_json::from_str::<Line>(line).ok().and_then(|line| line.mount()));
                }
                Some(("failed", why)) => failure = Some(why.to_owned()),
                _ => {}
            }
        }
        Some(Self { daemon: Identity { pid, started }, mounts, failure })
    }
}

/// A mount in one line.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Its path, with `%` and two digits for each byte that is no printable ASCII.
    at: String,
    tenant: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    passthrough: bool,
    #[serde(default)]
    store_locks: bool,
    #[serde(default)]
    transport: String,
    /// Nanoseconds since 1970.
    since: Option<i64>,
}

impl From<&MountState> for Line {
    fn from(mount: &MountState) -> Self {
        Self {
            at: escape(&mount.mountpoint),
            tenant: mount.principal.tenant().map(str::to_owned),
            agent: mount.principal.agent().map(str::to_owned),
            admin: mount.principal.is_admin(),
            read_only: mount.read_only,
            passthrough: mount.passthrough,
            store_locks: mount.locks == LockScope::Store,
            transport: mount.transport.clone(),
            since: mount.since.map(|time| time.0),
        }
    }
}

impl Line {
    fn mount(self) -> Option<MountState> {
        Some(MountState {
            mountpoint: unescape(&self.at)?,
            principal: Principal::new(self.tenant, self.agent, self.admin).ok()?,
            read_only: self.read_only,
            passthrough: self.passthrough,
            locks: if self.store_locks { LockScope::Store } else { LockScope::Local },
            transport: self.transport,
            since: self.since.map(Timestamp),
        })
    }
}

fn escape(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'!'..=b'~' if *byte != b'%' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_written_and_goes_with_its_daemon() {
        let directory = tempfile::TempDir::new().unwrap();
        let data_dir = directory.path();
        assert_eq!(Record::read(data_dir).unwrap(), None);
        let mounts = vec![
            MountState {
                mountpoint: PathBuf::from(OsString::from_vec(b"/a b%\n\xff".to_vec())),
                principal: Principal::new(Some("acme".into()), Some("a 1".into()), false).unwrap(),
                read_only: true,
                passthrough: false,
                locks: LockScope::Store,
                transport: "io_uring".into(),
                since: Some(Timestamp(1_700_000_000_123_456_789)),
            },
            MountState {
                mountpoint: "/c".into(),
                principal: Principal::new(None, None, true).unwrap(),
                read_only: false,
                passthrough: true,
                locks: LockScope::Local,
                transport: String::new(),
                since: None,
            },
        ];
        let mut record = Record { daemon: Identity { pid: 7, started: 99 }, mounts, failure: None };
        record.write(data_dir).unwrap();
        assert_eq!(Record::read(data_dir).unwrap(), Some(record.clone()));
        record.failure = Some("closing: no space left\nreally".into());
        record.write(data_dir).unwrap();
        let failure = Record::read(data_dir).unwrap().unwrap().failure.unwrap();
        assert_eq!(failure, "closing: no space left really");

        let successor = Record { daemon: Identity { pid: 7, started: 100 }, mounts: Vec::new(), failure: None };
        successor.remove(data_dir).unwrap();
        assert!(Record::read(data_dir).unwrap().is_some());
        record.remove(data_dir).unwrap();
        assert_eq!(Record::read(data_dir).unwrap(), None);
        assert_eq!(Record::parse("not a record"), None);
    }
}
