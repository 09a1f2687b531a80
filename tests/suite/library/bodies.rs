//! Whole bodies: written, replaced and copied in one step, of every size and over every state of a file.

use std::io::Read;

use nexus::error::ErrorKind;

use super::Place;
use crate::harness::{Mounted, bytes, nexus, run};

/// Empty, in the database, the largest there, the smallest in a file, one of several parts.
const SIZES: [usize; 5] = [0, 100, 16 * 1024, 16 * 1024 + 1, 1_200_000];

#[test]
fn a_body_of_any_size_follows_one_of_any_size() {
    let place = Place::new();
    let nx = place.connect();
    for before in SIZES {
        for after in SIZES {
            let path = format!("/{before}/{after}");
            nx.write(&path, bytes(before as u64, before)).unwrap();
            let id = nx.info(&path).unwrap().path_id;
            nx.write_from(&path, &mut &bytes(after as u64 + 1, after)[..]).unwrap();
            assert_eq!(nx.read(&path).unwrap(), bytes(after as u64 + 1, after));
            let info = nx.info(&path).unwrap();
            assert_eq!(info.path_id, id, "a file keeps its number when its body is replaced");
            assert_eq!((info.version, info.entry.size), (Some(2), after as u64), "{path}");
            nx.copy(&path, format!("{path}.copy"), false).unwrap();
            assert_eq!(nx.read(format!("{path}.copy")).unwrap(), bytes(after as u64 + 1, after));
        }
    }
    // Every body is stored once: 5 new ones with their copies, each after each of 5.
    let usage = nx.du("/").unwrap();
    assert_eq!(usage.files, 50);
    assert_eq!(usage.stored_bytes, SIZES.iter().sum::<usize>() as u64);
    assert_eq!(nx.find_duplicates("/").unwrap().len(), SIZES.len() - 1);
    nx.close().unwrap();
    place.finish();
}

#[test]
fn a_body_that_breaks_off_leaves_the_old_one() {
    struct BreaksOff(usize);
    impl Read for BreaksOff {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let length = into.len().min(self.0);
            self.0 -= length;
            if length == 0 { Err(std::io::Error::other("the source is gone")) } else { Ok(length) }
        }
    }
    let place = Place::new();
    let owner = super::program::Program::start(&place.data_dir);
    let nx = place.connect();
    nx.write("/a", "old").unwrap();
    for size in SIZES {
        let broken = nx.write_from("/a", &mut BreaksOff(size)).unwrap_err();
        assert!(broken.to_string().contains("the source is gone"), "{broken}");
        nx.write_from("/new", &mut BreaksOff(size)).unwrap_err();
        assert_eq!(nx.read("/a").unwrap(), b"old");
        assert!(!nx.exists("/new").unwrap());
    }
    // A refusal comes before the body is sent.
    let refused = nx.write_from("/", &mut std::io::repeat(1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    nx.mkdir("/directory", false).unwrap();
    let refused = nx.write_from("/directory", &mut std::io::repeat(1)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IsADirectory, "{refused}");
    nx.close().unwrap();
    owner.end();
    place.finish();
}

#[test]
fn a_file_that_a_mount_has_open_is_replaced_too() {
    let mounted = Mounted::new();
    let nx = super::connect(&mounted.data_dir());
    for (index, before) in SIZES.into_iter().enumerate() {
        for after in SIZES {
            let name = format!("{index}-{after}");
            std::fs::write(mounted.path(&name), bytes(1, before)).unwrap();
            let read = std::fs::File::open(mounted.path(&name)).unwrap();
            let write = std::fs::File::options().append(true).open(mounted.path(&name)).unwrap();
            nx.write(format!("/{name}"), bytes(2, after)).unwrap();
            assert_eq!(nx.read(format!("/{name}")).unwrap(), bytes(2, after));
            drop((read, write));
            assert_eq!(nx.read(format!("/{name}")).unwrap(), bytes(2, after));
            let big = nx.info(format!("/{name}")).unwrap();
            assert_eq!(big.entry.size, after as u64);
        }
    }
    nx.close().unwrap();
    mounted.finish();
}

#[test]
fn a_tree_is_copied_and_removed() {
    let place = Place::new();
    let nx = place.connect();
    for path in ["/a/1", "/a/b/2", "/a/b/c/3", "/a/empty/x"] {
        nx.write(path, path).unwrap();
    }
    nx.delete("/a/empty/x").unwrap();
    assert_eq!(nx.copy("/a", "/copy", false).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(nx.copy("/a", "/a/b/in", true).unwrap_err().kind(), ErrorKind::Invalid);
    nx.copy("/a", "/copy/of", true).unwrap();
    let below = |top: &str| -> Vec<_> {
        nx.list(top, true).unwrap().iter().map(|e| e.path()[top.len()..].to_owned()).collect()
    };
    assert_eq!(below("/a"), below("/copy/of"));
    assert_eq!(nx.rmdir("/copy", false).unwrap_err().kind(), ErrorKind::NotEmpty);
    nx.rmdir("/copy", true).unwrap();
    assert!(!nx.exists("/copy").unwrap());
    assert_eq!(below("/a").len(), 6);
    // Deeper than a stack, and wider than a batch.
    let deep = format!("/deep{}", "/d".repeat(1500));
    nx.mkdir(&deep, true).unwrap();
    for index in 0..1200 {
        nx.write(format!("/deep/{index}"), "").unwrap();
    }
    nx.rmdir("/deep", true).unwrap();
    nx.close().unwrap();
    place.finish();
}

#[test]
fn links_are_followed_inside_the_store_only() {
    let mounted = Mounted::new();
    let nx = super::connect(&mounted.data_dir());
    nx.write("/dir/file", "body").unwrap();
    for (target, name) in [("dir/../dir/file", "in"), ("dir", "to"), ("/etc/passwd", "out"), ("loop", "loop")] {
        std::os::unix::fs::symlink(target, mounted.path(name)).unwrap();
    }
    assert_eq!(nx.read("/in").unwrap(), b"body");
    assert_eq!(nx.read("/to/file").unwrap(), b"body");
    assert_eq!(nx.read("/out").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(nx.read("/loop").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(nx.info("/in").unwrap().target.as_deref(), Some(&b"dir/../dir/file"[..]));
    nx.delete("/in").unwrap();
    assert!(nx.exists("/dir/file").unwrap());
    nx.close().unwrap();
    mounted.finish();
}

#[test]
fn a_big_body_goes_through_a_little_memory() {
    let mounted = Mounted::new();
    let big = mounted.outside().join("big");
    let file = std::fs::File::create(&big).unwrap();
    file.set_len(300 << 20).unwrap();
    let daemon = mounted.daemon();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{daemon}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let before = memory();
    run(nexus().args(["write", "/big"]).arg(&big).arg("--data-dir").arg(mounted.data_dir())).ok();
    let grown = memory() - before;
    assert!(grown < 64, "the daemon has grown by {grown} MiB while it took a body of 300 MiB");
    let info = super::connect(&mounted.data_dir()).info("/big").unwrap();
    assert_eq!(info.entry.size, 300 << 20);
    mounted.finish();
}
