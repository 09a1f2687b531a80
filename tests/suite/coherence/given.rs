//! A small body comes along with the first opening of its file, into the kernel's pages: they have to be as true as those that
//! the kernel asked for.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nexus::model::Transport;

use super::store::Shared;
use crate::harness::wait_until;

const ROUNDS: usize = 12;
/// In each round; each is opened once before it was read.
const FILES: usize = 50;
const VERSIONS: u64 = 4;
/// One page: a read of it sees one version.
const NUMBERS: usize = 512;

fn body(version: u64) -> Vec<u8> {
    version.to_ne_bytes().repeat(NUMBERS)
}

/// The version that a file has, all of it.
fn version(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let first = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, body(first), "a page of two versions");
    first
}

/// How many bodies the first mount was given.
fn given(shared: &Shared) -> u64 {
    shared.library.vfs().stats().mounts()[0].bodies_given
}

#[test]
fn what_comes_with_an_opening_is_never_older_than_what_was_written_before() {
    for (reads, writes) in [(Transport::IoUring, Transport::DevFuse), (Transport::DevFuse, Transport::IoUring)] {
        let shared = Shared::new(2, |index, options| {
            options.manner.noatime = true;
            options.transport = if index == 0 { reads } else { writes };
        });
        for round in 0..ROUNDS {
            let path = |mount: usize, file: usize| shared.place(mount).join(format!("{round}.{file}"));
            for file in 0..FILES {
                fs::write(path(1, file), body(0)).unwrap();
                assert_eq!(fs::metadata(path(0, file)).unwrap().len(), 4096);
            }
            let done: Vec<_> = (0..FILES).map(|_| AtomicU64::new(0)).collect();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for version in 1..=VERSIONS {
                        for (file, done) in done.iter().enumerate() {
                            let opened = File::options().write(true).open(path(1, file)).unwrap();
                            opened.write_all_at(&body(version), 0).unwrap();
                            done.store(version, Ordering::SeqCst);
                        }
                    }
                });
                // Beside the first writing, while each is closed, is being written or has been.
                for (file, done) in done.iter().enumerate() {
                    let mut latest = 0;
                    for _ in 0..3 {
                        let before = done.load(Ordering::SeqCst);
                        let version = version(&path(0, file));
                        assert!(version >= before.max(latest), "{version} after {before} was written, {latest} read");
                        latest = version;
                    }
                }
            });
            (0..FILES).for_each(|file| assert_eq!(version(&path(0, file)), VERSIONS));
        }
        let given = given(&shared);
        assert!(given > 0, "none of {} bodies came along", ROUNDS * FILES);
        shared.finish();
    }
}

/// The kernel is given a body while it believes the size that the file had before it was changed elsewhere.
#[test]
fn a_body_that_was_changed_elsewhere_is_given_with_its_own_size() {
    let shared = Shared::new(2, |_, options| options.manner.noatime = true);
    let sizes =
        [(16_384, 1), (16_384, 4097), (9000, 100), (5000, 4096), (8192, 4096), (1, 16_384), (4096, 5000), (100, 101)];
    for (number, (before, after)) in sizes.into_iter().enumerate() {
        let [here, there] = [0, 1].map(|mount| shared.place(mount).join(number.to_string()));
        // A body is given of a file that nobody has open, and a close is heard of later.
        let write = |byte, length| {
            fs::write(&there, vec![byte; length]).unwrap();
            wait_until("all is closed", 60, || shared.library.vfs().done().backlog.open_handles == 0);
        };
        write(b'x', before);
        assert_eq!(fs::metadata(&here).unwrap().len(), before as u64);
        write(b'y', after);
        let count = given(&shared);
        assert!(fs::read(&here).unwrap() == vec![b'y'; after], "{before} bytes, then {after}");
        assert_eq!(given(&shared), count + 1, "{before} bytes, then {after}");
        // Grown by its size alone: what is between reads as zeros.
        File::options().write(true).open(&here).unwrap().set_len(20_000).unwrap();
        let mut wanted = vec![b'y'; after];
        wanted.resize(20_000, 0);
        assert!(fs::read(&here).unwrap() == wanted, "{before} bytes, then {after}, then grown");
    }
    shared.finish();
}
