//! bench_client: what the library costs, for `scripts/bench`: opening a store without a mount, and writing to one that is
//! mounted.
//!
//! Prints a JSON line `{"workload", "ops", "bytes", "seconds"}` for each phase, after its result was checked. It does not
//! mount, repeat or judge.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use nexus::error::Result;
use nexus::model::{Caller, Kind, Name, NodeId, Timestamp};
use nexus::vfs::{StoreOptions, Vfs};
use nexus::{Config, Nexus};
use serde_json::json;

/// Files in a directory: more make no difference, and fewer would measure directories.
const FILES_PER_DIRECTORY: usize = 1000;
/// What a write brings.
const BODY_BYTES: usize = 1024;

#[derive(Parser)]
#[command(about = "What the library costs, for scripts/bench")]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Opens a store that nobody has, so many times.
    Open {
        /// A directory that does not exist or is empty.
        store: PathBuf,
        /// Files in it.
        #[arg(long, default_value_t = 100_000)]
        files: usize,
        /// How often.
        #[arg(long, default_value_t = 20)]
        times: usize,
    },
    /// Writes files of 1 KiB to a store that somebody else has.
    Write {
        /// Where it is.
        store: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        count: usize,
        /// Makes the bytes of this run unlike those of any other.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let outcome = match Options::parse().what {
        What::Open { store, files, times } => open(&store, files, times),
        What::Write { store, count, seed } => write(&store, count, seed),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_wrong(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn open(store: &Path, files: usize, times: usize) -> Result<()> {
    fill(store, files)?;
    let config = Config::at(store)?;
    let mut spent = Duration::ZERO;
    for _ in 0..times {
        let start = Instant::now();
        let nx = nexus::connect(&config)?;
        let found = nx.exists("/d0/0")?;
        spent += start.elapsed();
        expect(found && !nx.exists("/none")?, "a store was opened and is not the one that was filled")?;
        expect(nx.status()?.pid == std::process::id(), "another process has the store")?;
        nx.close()?;
    }
    report("open", times, 0, spent);
    Ok(())
}

/// A store with so many files.
fn fill(store: &Path, files: usize) -> Result<()> {
    let caller = Caller { uid: 0, gid: 0 };
    Vfs::init(store, caller, Timestamp::now)?;
    let options = StoreOptions { data_dir: store.to_owned(), read_only: false, clock: Timestamp::now };
    let vfs = Vfs::open_store(options)?;
    let mut above = NodeId::ROOT;
    for number in 0..files {
        if number % FILES_PER_DIRECTORY == 0 {
            let name = format!("d{}", number / FILES_PER_DIRECTORY);
            above = vfs.mkdir(&caller, NodeId::ROOT, Name::new(name.as_bytes())?, 0o755)?.id;
        }
        vfs.mknod(&caller, above, Name::new(number.to_string().as_bytes())?, Kind::File, 0o644, 0)?;
    }
    vfs.settle()?;
    vfs.close()
}

fn write(store: &Path, count: usize, seed: u64) -> Result<()> {
    let nx = nexus::connect(&Config::at(store)?)?;
    expect(nx.status()?.pid != std::process::id(), "nobody has the store: mount it first")?;
    nx.mkdir("/written", true)?;
    let start = Instant::now();
    for number in 0..count {
        nx.write(format!("/written/{number}"), body(seed, number))?;
    }
    let spent = start.elapsed();
    check(&nx, seed, count)?;
    nx.close()?;
    report("write", count, count * BODY_BYTES, spent);
    Ok(())
}

/// A body that no other has.
fn body(seed: u64, number: usize) -> Vec<u8> {
    format!("{seed:020} {number:020} ").into_bytes().into_iter().cycle().take(BODY_BYTES).collect()
}

fn check(nx: &Nexus, seed: u64, count: usize) -> Result<()> {
    expect(nx.list("/written", false)?.len() == count, "not all that was written is listed")?;
    for number in (0..count).step_by((count / 100).max(1)) {
        let right = nx.read(format!("/written/{number}"))? == body(seed, number);
        expect(right, "what was written is not what is read")?;
    }
    Ok(())
}

fn expect(holds: bool, wrong: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(nexus::error::Error::new(nexus::error::ErrorKind::Io, wrong.to_owned())) }
}

#[expect(clippy::print_stdout, reason = "the figures, for the driver")]
fn report(workload: &str, ops: usize, bytes: usize, spent: Duration) {
    println!("{}", json!({"workload": workload, "ops": ops, "bytes": bytes, "seconds": spent.as_secs_f64()}));
}

#[expect(clippy::print_stderr, reason = "why there are no figures")]
fn say_wrong(sentence: &str) {
    eprintln!("bench_client: {sentence}");
}
