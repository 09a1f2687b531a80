//! How a phase begins, how it is timed with several clients, and how its line is printed.
//!
//! Guarantee: a phase starts with nothing of earlier phases left to write back (sync(2)), and its clients start
//! together; the time counts from the first start to the last end. The caches are dropped system-wide, as
//! proc_sys_vm(5) describes: that is the only way to have the daemon's own disk cache in the same state as the mount's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Failure, Options};

/// What perf answers to every command, with the zero it sends after it.
const PERF_ANSWER: &[u8; 5] = b"ack\n\0";

/// What the kernel may still know when a phase starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    /// Everything it learned before.
    Warm,
    /// No names and no attributes; the disk's pages stay (`drop_caches` = 2).
    NamesDropped,
    /// Nothing: what is read comes from the disk (`drop_caches` = 3).
    Cold,
}

/// Writes back what is dirty, and forgets what `caches` says.
pub(crate) fn prepare(caches: Caches) -> Result<(), Failure> {
    rustix::fs::sync();
    let what = match caches {
        Caches::Warm => return Ok(()),
        Caches::NamesDropped => "2",
        Caches::Cold => "3",
    };
    std::fs::write("/proc/sys/vm/drop_caches", what)
        .map_err(|error| format!("cannot drop the kernel's caches ({error}): run as root").into())
}

/// Whether this phase was asked for.
pub(crate) fn wanted(options: &Options, phase: &str) -> bool {
    options.phases.is_empty() || options.phases.iter().any(|wanted| wanted == phase)
}

/// What a phase did, and how long it took.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ops: u64,
    pub(crate) elapsed: Duration,
}

/// Runs `work` for clients `0..clients` at once, each on its own thread, in its own `directory/cN` and with its own table
/// of open files, as separate processes would have: two clients then meet in the filesystem and not in this program.
/// `work` returns the number of its operations.
pub(crate) fn clients<F>(clients: usize, directory: &Path, work: F) -> Result<Timing, Failure>
where
    F: Fn(usize) -> Result<u64, Failure> + Sync,
{
    let barrier = Barrier::new(clients);
    let outcomes: Vec<Result<(u64, Instant, Instant), Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    let entered = live_apart(&directory.join(format!("c{client}")));
                    // Waited for even after a failure: the other clients wait for this one.
                    barrier.wait();
                    entered?;
                    let start = Instant::now();
                    let ops = work(client)?;
                    Ok((ops, start, Instant::now()))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".into()))).collect()
    });
    let mut ops = 0;
    let mut span: Option<(Instant, Instant)> = None;
    for outcome in outcomes {
        let (client_ops, start, end) = outcome?;
        ops += client_ops;
        span = Some(span.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
    }
    let elapsed = span.map_or(Duration::ZERO, |(first, last)| last - first);
    Ok(Timing { ops, elapsed })
}

/// Gives the calling thread a working directory and a descriptor table of its own (unshare(2)), and enters
/// `directory`. Relative names then cost what they cost a program that works there, and not a walk from the root.
fn live_apart(directory: &Path) -> Result<(), Failure> {
    // SAFETY: the table is copied, so descriptors opened before keep their numbers; every descriptor this
    // thread opens from here on is used and closed by this thread alone.
    let outcome = unsafe { libc::unshare(libc::CLONE_FS | libc::CLONE_FILES) };
    if outcome != 0 {
        return Err(format!("unshare(2): {}", io::Error::last_os_error()).into());
    }
    std::env::set_current_dir(directory).map_err(|error| format!("{}: {error}", directory.display()).into())
}

/// Repeats `pass` until `seconds` have gone by, at least once; returns the operations of all passes.
pub(crate) fn repeat_for(seconds: f64, mut pass: impl FnMut() -> Result<u64, Failure>) -> Result<u64, Failure> {
    let start = Instant::now();
    let mut ops = 0;
    loop {
        ops += pass()?;
        if start.elapsed().as_secs_f64() >= seconds {
            return Ok(ops);
        }
    }
}

/// Times one piece of work of one client.
pub(crate) fn alone(
    options: &Options,
    phase: &str,
    work: impl FnOnce() -> Result<u64, Failure>,
) -> Result<Timing, Failure> {
    watched(options, phase, || {
        let start = Instant::now();
        let ops = work()?;
        Ok(Timing { ops, elapsed: start.elapsed() })
    })
}

/// Runs a phase; while it runs, and if it was asked for, the profiler at the other end of `--perf-control` records.
pub(crate) fn watched(
    options: &Options,
    phase: &str,
    work: impl FnOnce() -> Result<Timing, Failure>,
) -> Result<Timing, Failure> {
    let Some((commands, answers)) = options.perf_control.as_deref().zip(options.perf_answers.as_deref()) else {
        return work();
    };
    if !wanted(options, phase) {
        return work();
    }
    tell_perf(commands, answers, "enable")?;
    let outcome = work();
    tell_perf(commands, answers, "disable")?;
    outcome
}

/// Gives perf a command and waits until it has obeyed (perf-record(1), `--control`).
fn tell_perf(commands: &Path, answers: &Path, command: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| format!("perf does not take the command to {command}: {error}");
    let mut commands = OpenOptions::new().write(true).open(commands).map_err(failed)?;
    commands.write_all(format!("{command}\n").as_bytes()).map_err(failed)?;
    let mut answers = File::open(answers).map_err(failed)?;
    let mut answer = [0; PERF_ANSWER.len()];
    answers.read_exact(&mut answer).map_err(failed)?;
    if &answer != PERF_ANSWER {
        return Err(format!("perf answered {:?} to the command to {command}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(())
}

/// Prints the line of a phase, at once: the driver keeps the lines before a failure.
pub(crate) fn report(phase: &str, timing: Timing, bytes: u64) -> Result<(), Failure> {
    let seconds = timing.elapsed.as_secs_f64();
    let line = json!({ "workload": phase, "ops": timing.ops, "bytes": bytes, "seconds": seconds });
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// Says on standard error why the series ended.
pub(crate) fn complain(failure: &Failure) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(io::stderr(), "bench_ops: {failure}"));
}
