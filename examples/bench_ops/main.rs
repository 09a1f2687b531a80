//! bench_ops: one series of timed file operations in one directory, for `scripts/bench`.
//!
//! It speaks ordinary system calls and knows no filesystem by name, so the same program measures the plain disk,
//! nexus and its peers. Every timed phase prints one JSON line `{"workload", "ops", "bytes", "seconds"}`, and a
//! line is printed only after the results of its phase were checked: a wrong count, size or byte ends the program
//! with exit code 1 and a sentence on standard error.
//!
//! It does not mount, repeat, compare or judge; the driver does. It needs root, to drop the kernel's caches.

mod big;
mod content;
mod directory;
mod map;
mod phase;
mod scale;
mod small;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// What was wrong, with the file it was seen on.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "One series of timed file operations in one directory, for scripts/bench")]
struct Options {
    /// An existing, empty directory on the filesystem to measure.
    directory: PathBuf,
    series: Series,
    /// Files (small, directory, scale) or operations (big: random ones; fsync); with several clients, of each.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Bytes in a file.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Threads at work at once, each in a directory of its own (small).
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Makes the bytes of this run unlike those of any other, so that nothing is found stored already.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a phase over cached files repeats itself.
    #[arg(long, default_value_t = 0.5)]
    warm_seconds: f64,
    /// Only these phases, and what they need; all when absent.
    #[arg(long, value_delimiter = ',')]
    phases: Vec<String>,
    /// The FIFO on which a perf takes commands (`perf record --control`): it records during the phases asked for.
    #[arg(long, requires = "perf_answers")]
    perf_control: Option<PathBuf>,
    /// The FIFO on which that perf answers.
    #[arg(long, requires = "perf_control")]
    perf_answers: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Series {
    /// Many small files through their whole life, from create to unlink.
    Small,
    /// One big file, in sequence and at random.
    Big,
    /// Appends to a log, each followed by fsync(2).
    Fsync,
    /// One directory of very many entries.
    Directory,
    /// Files created without end: is the last as fast as the first?
    Scale,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.series {
        Series::Small => small::run(&options),
        Series::Big => big::run(&options),
        Series::Fsync => scale::run_fsync(&options),
        Series::Directory => directory::run(&options),
        Series::Scale => scale::run_scale(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            phase::complain(&failure);
            ExitCode::FAILURE
        }
    }
}
