//! A tree with some of everything, and what a faithful copy of it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use filetime::{FileTime, set_symlink_file_times};

use crate::harness::{Random, bytes, sha256, shell};

/// A tree with some of everything.
pub(super) fn make_tree(root: &Path) {
    let mut random = Random(7);
    for number in 0..120_u64 {
        let dir = root.join(format!("d{}/e{}", number % 5, number % 3));
        fs::create_dir_all(&dir).unwrap();
        let length = match number % 12 {
            0 => 0,
            1 => 2_500_000,
            2 => 300_000,
            _ => random.below(20_000) as usize,
        };
        let file = dir.join(format!("f{number}"));
        fs::write(&file, bytes(number, length)).unwrap();
        let mode = [0o644, 0o600, 0o755, 0o444, 0o4755, 0o2750, 0o000][number as usize % 7];
        if number % 9 == 0 {
            chown(&file, Some(65_534), Some(number as u32)).unwrap();
        }
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        if number % 4 == 0 {
            xattr::set(&file, "user.note", &bytes(number, number as usize)).unwrap();
            xattr::set(&file, "user.empty", b"").unwrap();
        }
        if number % 6 == 0 {
            fs::hard_link(&file, root.join(format!("link-{number}"))).unwrap();
        }
    }
    symlink("d1/e1", root.join("symlink")).unwrap();
    symlink("x".repeat(1_000), root.join("dangling")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"b\xffd n\nme")), b"odd").unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    xattr::set(root.join("empty"), "user.dir", b"attribute of a directory").unwrap();
    fs::set_permissions(root.join("empty"), Permissions::from_mode(0o1777)).unwrap();
    shell(root, "mkfifo fifo; mknod null c 1 3");
    let sparse = OpenOptions::new().write(true).create_new(true).open(root.join("sparse")).unwrap();
    sparse.write_all_at(b"behind a hole", 3 << 20).unwrap();
    drop(sparse);
    for (number, path) in Tree::of(root).entries.keys().rev().enumerate() {
        // A year after 2038, one before 1970, and nanoseconds everywhere.
        let seconds = [1_600_000_000, 3_000_000_000, -5_000][number % 3] + number as i64;
        let time = FileTime::from_unix_time(seconds, 123_456_789 + number as u32);
        set_symlink_file_times(root.join(path), time, time).unwrap();
    }
}

/// Everything a faithful copy keeps, by path.
#[derive(PartialEq)]
pub(super) struct Tree {
    entries: BTreeMap<PathBuf, String>,
}

impl Tree {
    pub(super) fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut links: BTreeMap<u64, PathBuf> = BTreeMap::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            let full = root.join(&path);
            let meta = fs::symlink_metadata(&full).unwrap();
            let kind = meta.file_type();
            let mut said = format!(
                "mode {:o}, owner {}:{}, modified {}.{:09}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec()
            );
            if kind.is_dir() {
                pending.extend(fs::read_dir(&full).unwrap().map(|entry| path.join(entry.unwrap().file_name())));
            } else {
                // The first name of the node stands for it.
                said += &format!(", {} links", meta.nlink());
                links
                    .entry(meta.ino())
                    .and_modify(|first| *first = path.clone().min(first.clone()))
                    .or_insert(path.clone());
            }
            if kind.is_file() {
                said += &format!(", {} bytes, {}", meta.len(), sha256(&fs::read(&full).unwrap()));
            } else if kind.is_symlink() {
                said += &format!(", to {:?}", fs::read_link(&full).unwrap());
            } else if kind.is_char_device() || kind.is_block_device() {
                said += &format!(", device {}", meta.rdev());
            }
            let mut names: Vec<_> =
                xattr::list(&full).unwrap().filter(|name| name.as_bytes().starts_with(b"user.")).collect();
            names.sort();
            for name in names {
                said += &format!(", {name:?} = {}", sha256(&xattr::get(&full, &name).unwrap().unwrap()));
            }
            entries.insert(path, said);
        }
        for (path, said) in &mut entries {
            let meta = fs::symlink_metadata(root.join(path)).unwrap();
            if meta.nlink() > 1 && !meta.is_dir() {
                *said += &format!(", same as {:?}", links[&meta.ino()]);
            }
        }
        Self { entries }
    }

    #[track_caller]
    pub(super) fn assert_equals(&self, expected: &Self, what: &str) {
        let mut differences = Vec::new();
        for path in self.entries.keys().chain(expected.entries.keys()).collect::<BTreeSet<_>>() {
            let (found, wanted) = (self.entries.get(path), expected.entries.get(path));
            if found != wanted {
                differences.push(format!("{path:?}\n  is        {found:?}\n  should be {wanted:?}"));
            }
        }
        assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    }
}
