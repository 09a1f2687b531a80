//! A reference model of a POSIX filesystem, and random operations that compare others with it.
//!
//! [`reference`] answers every call as a right filesystem would. The same operations ([`ops`], drawn by [`generate`])
//! go to a subject: a plain directory, which proves the reference right; the library; a mount. [`run`] compares value or
//! errno of every step, now and then everything there is, and shortens what fails to a list that can be pasted below.
//!
//! One thread, one caller with all privileges: races and permissions are tested elsewhere, and so are the kinds of
//! node that only have a name (fifos, sockets, devices), sizes above 600 KiB, and mmap.
//!
//! Offsets are drawn at the borders where the library changes its mind: pages, 16 KiB (larger bodies leave the database)
//! and 256 KiB (larger drafts leave memory).
//!
//! A single run: `NEXUS_MODEL_SEED=17 NEXUS_MODEL_OPS=5000 cargo test --release --test suite model::library`.

mod answer;
mod directory;
mod generate;
mod library;
mod mount;
mod ops;
mod reference;
mod run;

use answer::Answer;
use directory::{Directory, Plain};
use library::Library;
use ops::Op;
#[allow(unused_imports, reason = "a pasted list names any of them")]
use ops::{Access::*, Allocate::*, How::*, Rename::*, SetMode::*};
use reference::Reference;
use run::{Subject, explore, replay, say};

/// One run for each seed, or the run that the environment asks for.
fn runs<S: Subject>(name: &str, subject: impl Fn() -> S, seeds: &[u64], ops: usize) {
    let asked = |key| std::env::var(key).ok().map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{key}: {e}")));
    let ops = asked("NEXUS_MODEL_OPS").map_or(ops, |ops| ops as usize);
    let asked_seed = asked("NEXUS_MODEL_SEED");
    for seed in asked_seed.as_ref().map_or(seeds, std::slice::from_ref) {
        if let Err(report) = explore(name, &subject, *seed, ops) {
            panic!("{report}");
        }
    }
}

/// The reference describes Linux on ext4 as root; on anything else a difference would say nothing.
fn plain_directory_proves_something() -> bool {
    const EXT4_MAGIC: u64 = 0xef53;
    let disk = rustix::fs::statfs(env!("CARGO_TARGET_TMPDIR")).expect("statfs of the build directory");
    let fit = rustix::process::geteuid().is_root() && disk.f_type as u64 == EXT4_MAGIC;
    if !fit {
        say("SKIPPED: the plain directory has to be on ext4, and the test run by root");
        assert!(std::env::var_os("CI").is_none(), "a skipped test fails in CI");
    }
    fit
}

#[test]
fn plain_directory() {
    if plain_directory_proves_something() {
        runs("plain_directory", || Directory::new(Plain::new()), &[1, 2], 5_000);
    }
}

#[test]
fn library() {
    runs("library", Library::new, &[1, 2, 3, 4, 5], 10_000);
}

#[test]
fn library_with_passthrough() {
    runs("library_with_passthrough", Library::with_passthrough, &[1, 2, 3], 10_000);
}

/// Runs a pasted list on everything.
fn again(ops: &[Op]) {
    let plain = replay(|| Directory::new(Plain::new()), ops);
    for result in [plain, replay(Library::new, ops), replay(Library::with_passthrough, ops)] {
        if let Err(failure) = result {
            panic!("after {} operations: {}", failure.ops, failure.message);
        }
    }
}

/// The story of the issue in one list: two handles, unlinked while open, a hole, renamed over, mounted again.
#[test]
fn an_open_file_keeps_its_bytes() {
    again(&[
        Op::Open { slot: 0, path: "a", access: ReadWrite, how: CreateNew, append: false, mode: 0o600 },
        Op::Write { slot: 0, offset: 262_145, len: 4097, fill: 1 },
        Op::Open { slot: 1, path: "a", access: ReadWrite, how: Existing, append: true, mode: 0o600 },
        Op::Unlink { path: "a" },
        Op::Write { slot: 1, offset: 0, len: 16_385, fill: 2 },
        Op::Open { slot: 2, path: "b", access: Write, how: CreateTruncate, append: false, mode: 0o600 },
        Op::Copy { from: 0, from_offset: 0, to: 2, to_offset: 0, len: 1 << 20 },
        Op::Survey,
        Op::Mkdir { path: "d", mode: 0o700 },
        Op::Symlink { target: "nowhere/1", path: "d/c" },
        Op::Rename { from: "b", to: "d/c", how: Replace },
        Op::Remount,
        Op::Etag { path: "d/c" },
    ]);
}

/// A filesystem with one fault: a truncation that cuts leaves its last byte.
struct Faulty(Reference);

impl Subject for Faulty {
    fn apply(&mut self, op: &Op) -> Answer {
        let op = match *op {
            Op::Truncate { path, size: 4096 } => &Op::Truncate { path, size: 4097 },
            _ => op,
        };
        self.0.apply(op).simplest()
    }

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn reuses_numbers(&self) -> bool {
        false
    }
}

/// The net has no hole: a small fault is found and its report is short.
#[test]
fn a_fault_is_found_and_shortened() {
    let report = explore("faulty", || Faulty(Reference::new()), 1, 5_000).unwrap_err();
    assert!(report.contains("Truncate {") && report.contains("size: 4096 }"), "{report}");
    let kept = report.lines().filter(|line| line.starts_with("        ") && line.ends_with("},")).count();
    assert!((1..=8).contains(&kept), "{report}");
}
