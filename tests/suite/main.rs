//! The integration tests, one binary: what the library promises, and what only a mount can show.
//!
//! Every test that touches a store ends in a clean check: [`harness::Mounted::finish`] means a clean unmount, a daemon that is gone,
//! `nexus fsck` without a complaint and a log without a warning. The tests need root, FUSE and a few programs; `scripts/test` installs
//! what is missing and runs them all. None is skipped: a program that is not there fails the test that wanted it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of this crate is a test, its helpers included"
)]

mod cli;
mod coherence;
mod configuration;
mod crash;
mod faults;
mod fsck;
mod guardian;
mod harness;
mod large;
mod library;
mod model;
mod mounts;
mod policy;
mod posix;
mod programs;
mod regressions;
mod ring;
mod rooms;
mod semantics;
mod space;
mod stats;
mod transfer;
mod user;
mod vfs;
mod work;
