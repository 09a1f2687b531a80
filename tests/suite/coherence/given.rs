//! A small body comes along with the opening of its file, into the kernel's pages: they have to be as true as those that
//! the kernel asked for.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nexus::model::Transport;

use super::store::Shared;

const ROUNDS: usize = 150;
/// How often a file is written in each round, and at least how often it is read.
const VERSIONS: u64 = 6;
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

#[test]
fn what_comes_with_an_opening_is_never_older_than_what_was_written_before() {
    for (reads, writes) in [(Transport::IoUring, Transport::DevFuse), (Transport::DevFuse, Transport::IoUring)] {
        let shared = Shared::new(2, |index, options| {
            options.manner.noatime = true;
            options.transport = if index == 0 { reads } else { writes };
        });
        for round in 0..ROUNDS {
            let [seen, written] = [0, 1].map(|mount| shared.place(mount).join(format!("f{round}")));
            fs::write(&written, body(0)).unwrap();
            assert_eq!(fs::metadata(&seen).unwrap().len(), 4096);
            let done = AtomicU64::new(0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    // Opened each time: this mount's kernel keeps nothing of it back.
                    for version in 1..=VERSIONS {
                        File::options().write(true).open(&written).unwrap().write_all_at(&body(version), 0).unwrap();
                        done.store(version, Ordering::SeqCst);
                    }
                });
                let mut latest = 0;
                while latest < VERSIONS {
                    let before = done.load(Ordering::SeqCst);
                    let version = version(&seen);
                    assert!(version >= before.max(latest), "{version} after {before} was written and {latest} read");
                    latest = version;
                }
            });
        }
        shared.finish();
    }
}

/// Nobody else has changed the file since it was read: a shorter body leaves no byte of the longer one behind.
#[test]
fn a_body_that_has_shrunk_elsewhere_leaves_nothing_behind() {
    let shared = Shared::new(2, |_, options| options.manner.noatime = true);
    let [here, there] = [0, 1].map(|mount| shared.place(mount).join("file"));
    for (length, shorter) in [(16_384, 1), (16_384, 4097), (9000, 100), (5000, 4096)] {
        fs::write(&here, vec![b'x'; length]).unwrap();
        assert_eq!(fs::read(&here).unwrap().len(), length);
        fs::write(&there, vec![b'y'; shorter]).unwrap();
        assert_eq!(fs::read(&here).unwrap(), vec![b'y'; shorter]);
        // Grown again by its size alone: what is between reads as zeros.
        File::options().write(true).open(&here).unwrap().set_len(length as u64).unwrap();
        let mut wanted = vec![b'y'; shorter];
        wanted.resize(length, 0);
        assert_eq!(fs::read(&here).unwrap(), wanted);
        fs::remove_file(&here).unwrap();
    }
    shared.finish();
}
