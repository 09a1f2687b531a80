//! bench_work: the queue of a store with many files, in one process without a mount, for `scripts/bench`.
//!
//! Prints a JSON line `{"workload", "ops", "bytes", "seconds", "cpu_seconds"}` for each phase, after its result was checked;
//! the CPU time is that of the thread that asks. DIRECTORY has to be on the disk to measure. It does not mount, repeat or
//! judge.

mod make;
mod questions;
mod views;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::json;

/// What was wrong.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "The work queue of a store with many files, for scripts/bench")]
struct Options {
    what: What,
    /// A directory that does not exist or is empty, or where a store is that nobody has: it gets the files.
    directory: PathBuf,
    /// Empty files without any attribute.
    #[arg(long, default_value_t = 1_000_000)]
    files: usize,
    /// Work items, each with a body of its own.
    #[arg(long, default_value_t = 100_000)]
    items: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Questions, claims and changes through the library.
    Questions,
    /// The five views, as a tool of somebody else reads them; leaves all items ready.
    Views,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.what {
        What::Questions => questions::run(&options),
        What::Views => views::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Something that is timed: by the clock, and by what the thread took of a processor.
struct Timed {
    began: Instant,
    cpu: Duration,
}

impl Timed {
    fn begin() -> Result<Self, Failure> {
        Ok(Self { cpu: cpu()?, began: Instant::now() })
    }

    /// Tells what it took; called when it is over, before its result is looked at.
    fn end(self) -> Result<Took, Failure> {
        Ok(Took { wall: self.began.elapsed(), cpu: cpu()?.saturating_sub(self.cpu) })
    }
}

/// What something took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

/// Times some work, and tells it when `right` says that its result is.
fn time<T>(
    workload: &str,
    ops: usize,
    work: impl FnOnce() -> Result<T, Failure>,
    right: impl FnOnce(T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let timed = Timed::begin()?;
    let value = work()?;
    let took = timed.end()?;
    right(value).map_err(|failure| format!("{workload}: {failure}"))?;
    tell(workload, ops, took);
    Ok(())
}

/// The time of the processor that this thread has had (`/proc/self/schedstat`, nanoseconds first).
fn cpu() -> Result<Duration, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("an empty schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Refuses a result that is not what it should be.
fn expect<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}").into()) }
}

#[expect(clippy::print_stdout, reason = "the results")]
fn tell(workload: &str, ops: usize, took: Took) {
    let (seconds, cpu_seconds) = (took.wall.as_secs_f64(), took.cpu.as_secs_f64());
    let line = json!({"workload": workload, "ops": ops, "bytes": 0, "seconds": seconds, "cpu_seconds": cpu_seconds});
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "why it ended")]
fn complain(failure: &Failure) {
    eprintln!("bench_work: {failure}");
}
