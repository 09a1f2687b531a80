//! A number that all cores add to, each on a line of memory of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// More cores than this share lines, which costs time and loses nothing.
const LINES_MAX: usize = 64;

/// A line of memory, and the one the processor fetches along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Line<T>(pub(super) T);

/// How many lines something needs so that no core shares one, as a power of two.
pub(super) fn lines() -> usize {
    static LINES: OnceLock<usize> = OnceLock::new();
    *LINES.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.min(LINES_MAX).next_power_of_two()
    })
}

/// Which of `lines` is that of the core this thread is on; a moment later it may be on another, and the count is right
/// all the same.
pub(super) fn line_of_core(lines: usize) -> usize {
    rustix::thread::sched_getcpu() & (lines - 1)
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(Box<[Line<AtomicU64>]>);

impl Default for Counter {
    fn default() -> Self {
        Self((0..lines()).map(|_| Line::default()).collect())
    }
}

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0[line_of_core(self.0.len())].0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn look(&self) -> u64 {
        self.0.iter().fold(0, |sum, line| sum.wrapping_add(line.0.load(Ordering::Relaxed)))
    }
}

/// How often something was at hand when it was wanted.
#[derive(Debug, Default)]
pub struct Cache {
    hits: Counter,
    misses: Counter,
}

impl Cache {
    /// It was wanted; `hit`: it was there.
    pub fn note(&self, hit: bool) {
        if hit { self.hits.add(1) } else { self.misses.add(1) }
    }

    /// What was counted, under this name.
    pub(super) fn look(&self, name: &str) -> CacheReport {
        CacheReport { name: name.to_owned(), hits: self.hits.look(), misses: self.misses.look() }
    }
}

/// What a cache has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReport {
    /// Which one.
    pub name: String,
    /// How often what was wanted was there.
    pub hits: u64,
    /// How often it had to be fetched.
    pub misses: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_lost_between_cores() {
        let (counter, cache) = (Counter::default(), Cache::default());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (counter, cache) = (&counter, &cache);
                scope.spawn(move || {
                    for step in 0..10_000 {
                        counter.add(thread);
                        cache.note(step % 4 == 0);
                    }
                });
            }
        });
        assert_eq!(counter.look(), 60_000);
        let seen = cache.look("a cache");
        assert_eq!((seen.hits, seen.misses), (10_000, 30_000));
    }

    #[test]
    fn two_cores_share_no_line() {
        assert!(lines().is_power_of_two() && line_of_core(lines()) < lines());
        assert_eq!(size_of::<Line<AtomicU64>>(), 128);
    }
}
