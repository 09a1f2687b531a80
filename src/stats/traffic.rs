//! The requests of one mount: how many of each kind came, how they ended, and how long they took.
//!
//! A request is timed from the moment at which it was read until its answer stands: without the way through the kernel, and
//! with all waiting for locks and for the disk. Counting one costs 55 ns where reading the clock costs 23, which is done
//! twice: less than a hundredth of the time in which a program gets its answer.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counter::{Line, line_of_core, lines};
use super::histogram::{Distribution, Histogram};
use super::op::{Op, Via};

/// Errors have numbers below this, linux/errno.h; what is beyond counts as 0.
const ERRORS: usize = 134;

/// The counters of one mount.
#[derive(Debug)]
pub struct Traffic {
    mountpoint: Vec<u8>,
    error_word: fn(usize) -> &'static str,
    cores: Box<[Line<PerCore>]>,
    granted: AtomicU64,
    refused: AtomicU64,
    notices: AtomicU64,
    given: AtomicU64,
    kept_awake: AtomicU64,
    awake_nanos: AtomicU64,
}

/// What one core has counted.
#[derive(Debug)]
struct PerCore {
    /// Made when the first request of a kind comes: most mounts never see half of the kinds.
    meters: [[OnceLock<Box<Meter>>; Op::ALL.len()]; 2],
    errors: [AtomicU64; ERRORS],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

/// The requests of one kind.
#[derive(Debug, Default)]
struct Meter {
    took: Histogram,
    errors: AtomicU64,
}

impl Default for PerCore {
    fn default() -> Self {
        Self {
            meters: [const { [const { OnceLock::new() }; Op::ALL.len()] }; 2],
            errors: [const { AtomicU64::new(0) }; ERRORS],
            bytes_read: AtomicU64::default(),
            bytes_written: AtomicU64::default(),
        }
    }
}

impl Traffic {
    /// Of a mount at this path. `error_word`: how a number of an error is called.
    #[must_use]
    pub fn new(mountpoint: Vec<u8>, error_word: fn(usize) -> &'static str) -> Self {
        Self {
            mountpoint,
            error_word,
            cores: (0..lines()).map(|_| Line::default()).collect(),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            given: AtomicU64::new(0),
            kept_awake: AtomicU64::new(0),
            awake_nanos: AtomicU64::new(0),
        }
    }

    fn here(&self) -> &PerCore {
        &self.cores[line_of_core(self.cores.len())].0
    }

    /// A request was answered. `error`: the number of the error it was answered with.
    pub fn answered(&self, via: Via, op: Op, took: Duration, error: Option<i32>) {
        let core = self.here();
        let meter = core.meters[via as usize][op as usize].get_or_init(Box::default);
        meter.took.time(took);
        if let Some(error) = error {
            meter.errors.fetch_add(1, Ordering::Relaxed);
            let number = usize::try_from(error).ok().filter(|number| *number < ERRORS).unwrap_or(0);
            core.errors[number].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many bytes were read by a request.
    pub fn read(&self, bytes: usize) {
        self.here().bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many bytes were written by a request.
    pub fn wrote(&self, bytes: usize) {
        self.here().bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A file was offered to the kernel to serve by itself; whether it took it.
    pub fn offered(&self, taken: bool) {
        if taken { &self.granted } else { &self.refused }.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel was told of a change from elsewhere.
    pub fn told(&self) {
        self.notices.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel was given a body along with its opening.
    pub fn gave(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Processors are kept awake from now on, because requests come densely.
    pub fn keeps_awake(&self) {
        self.kept_awake.fetch_add(1, Ordering::Relaxed);
    }

    /// They were, for so long.
    pub fn kept_awake(&self, time: Duration) {
        self.awake_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn look(&self) -> TrafficReport {
        let mut requests = Vec::new();
        for via in [Via::DevFuse, Via::IoUring] {
            for op in Op::ALL {
                let meters = self.cores.iter().filter_map(|core| core.0.meters[via as usize][*op as usize].get());
                let mut sum =
                    RequestReport { via, kind: op.word().to_owned(), errors: 0, took: Distribution::default() };
                for meter in meters {
                    sum.errors += meter.errors.load(Ordering::Relaxed);
                    sum.took.merge(&meter.took.look());
                }
                if sum.took.count() > 0 {
                    requests.push(sum);
                }
            }
        }
        let of_all = |count: fn(&PerCore) -> &AtomicU64| {
            self.cores.iter().fold(0_u64, |sum, core| sum.wrapping_add(count(&core.0).load(Ordering::Relaxed)))
        };
        let errors = (0..ERRORS).map(|number| {
            let count = self.cores.iter().map(|core| core.0.errors[number].load(Ordering::Relaxed)).sum();
            ((self.error_word)(number).to_owned(), count)
        });
        TrafficReport {
            mountpoint: self.mountpoint.clone(),
            requests,
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            bytes_read: of_all(|core| &core.bytes_read),
            bytes_written: of_all(|core| &core.bytes_written),
            passthrough_granted: self.granted.load(Ordering::Relaxed),
            passthrough_refused: self.refused.load(Ordering::Relaxed),
            notices: self.notices.load(Ordering::Relaxed),
            bodies_given: self.given.load(Ordering::Relaxed),
            kept_awake: self.kept_awake.load(Ordering::Relaxed),
            awake_nanos: self.awake_nanos.load(Ordering::Relaxed),
        }
    }
}

/// What a mount has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Where it is.
    #[serde(with = "serde_bytes")]
    pub mountpoint: Vec<u8>,
    /// Its requests, by way and kind; only kinds that came.
    pub requests: Vec<RequestReport>,
    /// How often each error was answered.
    pub errors: Vec<(String, u64)>,
    /// Bytes that requests have read: not those which the kernel had or read by itself.
    pub bytes_read: u64,
    /// Bytes that requests have written.
    pub bytes_written: u64,
    /// Opens that the kernel serves by itself.
    pub passthrough_granted: u64,
    /// Opens that it was to serve and would not.
    pub passthrough_refused: u64,
    /// Messages to the kernel about changes from elsewhere.
    pub notices: u64,
    /// Small bodies that the kernel was given along with their opening, and did not ask for.
    pub bodies_given: u64,
    /// How often processors were kept awake, because requests came densely.
    pub kept_awake: u64,
    /// For how long in all, in nanoseconds.
    pub awake_nanos: u64,
}

/// The requests of one kind that came on one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestReport {
    /// The way.
    pub via: Via,
    /// The kind, [`Op::word`].
    pub kind: String,
    /// How many were answered with an error.
    pub errors: u64,
    /// How long they took, in nanoseconds.
    pub took: Distribution,
}

impl TrafficReport {
    /// What was counted since an earlier look at the same mount.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, before: u64| now.saturating_sub(before);
        let requests = self.requests.iter().map(|now| {
            let before = earlier.requests.iter().find(|before| (before.via, &before.kind) == (now.via, &now.kind));
            before.map_or_else(
                || now.clone(),
                |before| RequestReport {
                    errors: less(now.errors, before.errors),
                    took: now.took.since(&before.took),
                    ..now.clone()
                },
            )
        });
        let errors = self.errors.iter().map(|(word, count)| {
            let before = earlier.errors.iter().find(|(before, _)| before == word).map_or(0, |(_, count)| *count);
            (word.clone(), less(*count, before))
        });
        Self {
            mountpoint: self.mountpoint.clone(),
            requests: requests.filter(|request| request.took.count() > 0).collect(),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            bytes_read: less(self.bytes_read, earlier.bytes_read),
            bytes_written: less(self.bytes_written, earlier.bytes_written),
            passthrough_granted: less(self.passthrough_granted, earlier.passthrough_granted),
            passthrough_refused: less(self.passthrough_refused, earlier.passthrough_refused),
            notices: less(self.notices, earlier.notices),
            bodies_given: less(self.bodies_given, earlier.bodies_given),
            kept_awake: less(self.kept_awake, earlier.kept_awake),
            awake_nanos: less(self.awake_nanos, earlier.awake_nanos),
        }
    }

    /// About how many bytes it takes on its way, at most.
    pub(crate) fn weight(&self) -> usize {
        let requests: usize = self.requests.iter().map(|request| request.took.weight() + request.kind.len() + 16).sum();
        let errors: usize = self.errors.iter().map(|(word, _)| word.len() + 16).sum();
        self.mountpoint.len() + requests + errors + 120
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(number: usize) -> &'static str {
        if number == 2 { "ENOENT" } else { "another" }
    }

    #[test]
    fn requests_are_told_apart_by_way_and_kind() {
        let traffic = Traffic::new(b"/mnt".to_vec(), word);
        assert_eq!(traffic.look(), TrafficReport { mountpoint: b"/mnt".to_vec(), ..TrafficReport::default() });
        let micros = Duration::from_micros;
        traffic.answered(Via::DevFuse, Op::Forget, micros(1), None);
        traffic.answered(Via::IoUring, Op::Lookup, micros(10), Some(2));
        let before = traffic.look();
        traffic.answered(Via::IoUring, Op::Lookup, micros(30), None);
        traffic.answered(Via::IoUring, Op::Other, micros(1), Some(i32::MAX));
        traffic.read(100);
        traffic.wrote(7);
        traffic.offered(true);
        traffic.offered(false);
        traffic.told();

        let seen = traffic.look();
        let kinds: Vec<_> = seen.requests.iter().map(|r| (r.via, r.kind.as_str(), r.took.count(), r.errors)).collect();
        let expected = [(Via::DevFuse, "forget", 1, 0), (Via::IoUring, "lookup", 2, 1), (Via::IoUring, "other", 1, 1)];
        assert_eq!(kinds, expected);
        assert_eq!(seen.requests[1].took.max, 30_000);
        assert_eq!(seen.errors, [("another".to_owned(), 1), ("ENOENT".to_owned(), 1)]);
        assert_eq!((seen.bytes_read, seen.bytes_written, seen.notices), (100, 7, 1));
        assert_eq!((seen.passthrough_granted, seen.passthrough_refused), (1, 1));

        let since = seen.since(&before);
        let kinds: Vec<_> = since.requests.iter().map(|r| (r.kind.as_str(), r.took.count(), r.errors)).collect();
        assert_eq!(kinds, [("lookup", 1, 0), ("other", 1, 1)]);
        assert_eq!(since.errors, [("another".to_owned(), 1)]);
        assert_eq!(since.bytes_read, 100);
    }

    /// All kinds at once and from all cores: no count is lost, and the report has the weight it says.
    #[test]
    fn every_request_is_counted_once() {
        let traffic = Traffic::new(b"/".to_vec(), word);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let traffic = &traffic;
                scope.spawn(move || {
                    for step in 0..5_000 {
                        let op = Op::ALL[step as usize % Op::ALL.len()];
                        traffic.answered(Via::IoUring, op, Duration::from_nanos(step << thread), None);
                    }
                });
            }
        });
        let seen = traffic.look();
        assert_eq!(seen.requests.iter().map(|request| request.took.count()).sum::<u64>(), 20_000);
        assert!(serde_json::to_string(&seen).unwrap().len() < 20 * seen.weight());
    }
}
