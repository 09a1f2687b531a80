//! How densely something comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::counter::{Line, line_of_core, lines};

/// Counts something, and notices when it comes in quick succession on a core.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    span: Duration,
    enough: u64,
    cores: Box<[Line<Window>]>,
}

/// What a core has counted.
#[derive(Debug, Default)]
struct Window {
    /// When the span began that is counted in now, in nanoseconds since the pulse was made.
    since: AtomicU64,
    /// How often it came in it.
    beats: AtomicU64,
    /// How often it came in all.
    all: AtomicU64,
}

impl Pulse {
    /// Coming `enough` times within `span` is dense.
    #[must_use]
    pub fn new(enough: u64, span: Duration) -> Self {
        let cores = (0..lines()).map(|_| Line::default()).collect();
        Self { born: Instant::now(), span, enough, cores }
    }

    /// It came, `now`. Whether it comes densely on this core.
    pub fn beat(&self, now: Instant) -> bool {
        let window = &self.cores[line_of_core(self.cores.len())].0;
        window.all.fetch_add(1, Ordering::Relaxed);
        let age = u64::try_from(now.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX);
        // Two threads of a core may mix here, and one beat more or less decides nothing.
        if u128::from(age.saturating_sub(window.since.load(Ordering::Relaxed))) > self.span.as_nanos() {
            window.since.store(age, Ordering::Relaxed);
            window.beats.store(1, Ordering::Relaxed);
            return self.enough <= 1;
        }
        window.beats.fetch_add(1, Ordering::Relaxed) + 1 >= self.enough
    }

    /// How often it came so far.
    #[must_use]
    pub fn look(&self) -> u64 {
        self.cores.iter().fold(0, |sum, line| sum.wrapping_add(line.0.all.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_in_quick_succession_is_dense() {
        let pulse = Pulse::new(3, Duration::from_millis(4));
        // One core for the whole test: each counts for itself.
        let mut here = rustix::thread::CpuSet::new();
        here.set(rustix::thread::sched_getcpu());
        rustix::thread::sched_setaffinity(None, &here).unwrap();
        let at = |millis: u64| pulse.born + Duration::from_millis(millis);
        let slowly: Vec<_> = [10, 20, 30, 40].into_iter().map(|millis| pulse.beat(at(millis))).collect();
        assert_eq!(slowly, [false; 4]);
        let quickly: Vec<_> = [50, 51, 52, 53].into_iter().map(|millis| pulse.beat(at(millis))).collect();
        assert_eq!(quickly, [false, false, true, true]);
        assert!(!pulse.beat(at(60)), "a span of its own");
        assert_eq!(pulse.look(), 9);
    }
}
