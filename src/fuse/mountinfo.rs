//! What is mounted where: `/proc/self/mountinfo`, proc_pid_mountinfo(5).
//!
//! Reading it touches no filesystem, so that it can be asked about a mount that no longer answers.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::options::FILESYSTEM_TYPE;
use crate::error::{Error, Result};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's number; unique while it is mounted.
    pub id: u64,
    /// The filesystem's device, `major:minor`.
    pub device: String,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its type, such as `fuse.nexus`.
    pub filesystem_type: String,
    /// What it is mounted from, such as `nexus:/srv/store`.
    pub source: OsString,
    /// Whether nothing can be changed through it.
    pub read_only: bool,
}

impl MountEntry {
    /// Whether it is a mount of nexus.
    #[must_use]
    pub fn is_nexus(&self) -> bool {
        self.filesystem_type == FILESYSTEM_TYPE
    }
}

/// All mounts this process sees, oldest first.
///
/// # Errors
/// When /proc is not mounted.
pub fn mounts() -> Result<Vec<MountEntry>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read(path).map_err(|error| Error::io(format!("read {path}"), error))?;
    // A line in a form of the future is none of ours.
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// The mounts at just this place, which must be spelled as the kernel spells it; the last one covers the others.
///
/// # Errors
/// As [`mounts`].
pub fn mounts_at(mountpoint: &Path) -> Result<Vec<MountEntry>> {
    let mut all = mounts()?;
    all.retain(|entry| entry.mountpoint == mountpoint);
    Ok(all)
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS`
fn parse(line: &[u8]) -> Option<MountEntry> {
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let mut fields = line.split(|b| *b == b' ');
    let id = text(fields.next()?)?.parse().ok()?;
    let device = text(fields.nth(1)?)?;
    let mountpoint = unescape(fields.nth(1)?);
    let read_only = fields.next()?.split(|b| *b == b',').any(|option| option == b"ro");
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let filesystem_type = text(fields.next()?)?;
    let source = unescape(fields.next()?);
    Some(MountEntry { id, device, mountpoint: mountpoint.into(), filesystem_type, source, read_only })
}

/// Blanks, newlines, `#` and backslashes stand there as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_tags() {
        let line =
            br"36 35 0:52 / /mnt/my\040files rw,nosuid shared:1 master:2 - fuse.nexus nexus:/a\134b rw,user_id=0";
        let entry = parse(line).unwrap();
        assert_eq!((entry.id, entry.device.as_str()), (36, "0:52"));
        assert_eq!(entry.mountpoint, Path::new("/mnt/my files"));
        assert_eq!(entry.source, r"nexus:/a\b");
        assert!(entry.is_nexus() && !entry.read_only);
        let entry = parse(b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw").unwrap();
        assert_eq!((entry.mountpoint.as_path(), entry.filesystem_type.as_str()), (Path::new("/"), "ext4"));
        assert!(!entry.is_nexus());
    }

    #[test]
    fn what_is_no_line_is_skipped() {
        for bad in [&b""[..], b"x", b"27 1 254:0 / / rw,relatime", b"27 1 254:0 / / rw - ext4"] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn an_unfinished_escape_stands_for_itself() {
        assert_eq!(unescape(br"a\04"), r"a\04");
        assert_eq!(unescape(br"\011\377"), OsString::from_vec(vec![9, 255]));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(!mounts_at(Path::new("/")).unwrap().is_empty());
    }
}
