//! Values by order of magnitude: eight buckets for each power of two.
//!
//! A quantile is told as the upper end of its bucket: never below the true value, and less than an eighth above it. Values
//! beyond 2^40 (of nanoseconds, 18 minutes) share the last bucket; the largest value and the sum are exact.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets within a power of two, as a power of two.
const FINE_BITS: u32 = 3;
/// The same as a number.
const FINE: usize = 1 << FINE_BITS;
/// The power of two from which on values are not told apart.
const EXPONENT_MAX: u32 = 40;
/// One for each of the smallest values, then so many for each power of two.
const BUCKETS: usize = FINE * (EXPONENT_MAX - FINE_BITS + 1) as usize;

/// Counts values as they come.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn add(&self, value: u64) {
        self.buckets[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        // Mostly it is not, and looking leaves the line as it is.
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// Counts a duration, in nanoseconds.
    pub fn time(&self, took: Duration) {
        self.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted so far.
    #[must_use]
    pub fn look(&self) -> Distribution {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        Distribution {
            // A bucket's place fits: there are some hundreds.
            buckets: counts.zip(0..).filter(|(count, _)| *count > 0).map(|(count, place)| (place, count)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
        }
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << EXPONENT_MAX) - 1);
    match value.checked_ilog2() {
        Some(exponent) if exponent >= FINE_BITS => {
            // Below `BUCKETS`, which fits.
            let fine = (value >> (exponent - FINE_BITS)) as usize & (FINE - 1);
            (exponent - FINE_BITS + 1) as usize * FINE + fine
        }
        _ => value as usize,
    }
}

/// The largest value of a bucket; of one that does not exist, of the last.
fn end_of(place: u16) -> u64 {
    let place = usize::from(place).min(BUCKETS - 1);
    let (power, fine) = (place / FINE, (place % FINE) as u64);
    match power.checked_sub(1) {
        None => fine,
        Some(shift) => ((FINE as u64 + fine + 1) << shift) - 1,
    }
}

/// What a histogram had counted when somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// Buckets that are not empty, in order: place and count.
    buckets: Vec<(u16, u64)>,
    /// All values together.
    pub sum: u64,
    /// The largest value.
    pub max: u64,
}

impl Distribution {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Their mean, 0 without any.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// The value below or at which this share of all lies, 0 without any: `quantile(0.5)` is the median.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        // Counts are far below what a float holds exactly.
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below: u64 = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            below = below.saturating_add(*count);
            below >= rank
        });
        found.map_or(0, |(place, _)| end_of(*place).min(self.max))
    }

    /// How many values are below a power of two, exactly; up to the 40th.
    #[must_use]
    pub fn below_power(&self, power: u32) -> u64 {
        let inside = self.buckets.iter().filter(|(place, _)| power >= EXPONENT_MAX || end_of(*place) < 1 << power);
        inside.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (place, count) in &other.buckets {
            match self.buckets.binary_search_by_key(place, |(place, _)| *place) {
                Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(*count),
                Err(at) => self.buckets.insert(at, (*place, *count)),
            }
        }
        self.sum = self.sum.wrapping_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// What was counted since an earlier look at the same histogram. Of the largest value only the bucket is known, unless
    /// it is the largest of all.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |place: u16| {
            let at = earlier.buckets.binary_search_by_key(&place, |(place, _)| *place);
            at.map_or(0, |at| earlier.buckets[at].1)
        };
        let counts = self.buckets.iter().map(|(place, count)| (*place, count.saturating_sub(before(*place))));
        let buckets: Vec<_> = counts.filter(|(_, count)| *count > 0).collect();
        let last = buckets.last().map_or(0, |(place, _)| end_of(*place).min(self.max));
        let max = if self.max > earlier.max { self.max } else { last };
        Self { buckets, sum: self.sum.wrapping_sub(earlier.sum), max }
    }

    /// About how many bytes it takes on its way, at most.
    pub(super) fn weight(&self) -> usize {
        self.buckets.len() * 13 + 32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Histogram {
        let histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        assert_eq!(bucket_of(0), 0);
        let mut next = 0;
        for place in 0..BUCKETS {
            let end = end_of(place as u16);
            assert_eq!((bucket_of(next), bucket_of(end)), (place, place));
            assert!(end - next < (next / 8).max(1), "{next} to {end}");
            next = end + 1;
        }
        assert_eq!(next, 1 << EXPONENT_MAX);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(u16::MAX), next - 1);
    }

    #[test]
    fn nothing_counted_is_nothing_told() {
        let none = Histogram::default().look();
        assert_eq!(none, Distribution::default());
        assert_eq!((none.count(), none.mean(), none.quantile(0.5), none.quantile(1.0)), (0, 0, 0, 0));
    }

    #[test]
    fn what_is_counted_since_a_look_is_told_alone() {
        let histogram = of(&[10, 1000, 70_000]);
        let before = histogram.look();
        assert_eq!(histogram.look().since(&before).count(), 0);
        histogram.add(1000);
        histogram.add(5);
        let since = histogram.look().since(&before);
        assert_eq!((since.count(), since.sum, since.quantile(0.5)), (2, 1005, 5));
        assert!((1000..1125).contains(&since.max), "{}", since.max);
        histogram.add(80_000);
        assert_eq!(histogram.look().since(&before).max, 80_000);
    }

    #[test]
    fn powers_of_two_are_counted_exactly() {
        let seen = of(&[0, 1, 7, 8, 1023, 1024, 1025, u64::MAX]).look();
        let below = [0, 3, 10, 11, 39, 40, 63].map(|power| seen.below_power(power));
        assert_eq!(below, [1, 3, 5, 7, 7, 8, 8]);
    }

    /// All cores at once lose no count.
    #[test]
    fn no_count_is_lost() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let histogram = &histogram;
                scope.spawn(move || (0..10_000).for_each(|value| histogram.add(value * 4 + thread)));
            }
        });
        let seen = histogram.look();
        assert_eq!((seen.count(), seen.sum, seen.max), (40_000, 39_999 * 40_000 / 2, 39_999));
    }

    proptest! {
        #[test]
        fn a_quantile_is_true_or_less_than_an_eighth_above(
            mut values in proptest::collection::vec((0_u64..1 << 40, 0_u32..40), 1..200), share in 0.0..=1.0_f64,
        ) {
            let mut values: Vec<u64> = values.drain(..).map(|(value, shift)| value >> shift).collect();
            let told = of(&values).look().quantile(share);
            values.sort_unstable();
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let truth = values[rank - 1];
            prop_assert!(told >= truth && told - truth <= truth / 8, "{told} for {truth}");
        }

        #[test]
        fn two_merged_are_one_that_counted_both(
            one in proptest::collection::vec(any::<u64>().prop_map(|v| v >> 20), 0..100),
            other in proptest::collection::vec(any::<u64>().prop_map(|v| v >> 30), 0..100),
        ) {
            let mut merged = of(&one).look();
            merged.merge(&of(&other).look());
            let both = of(&[one.clone(), other].concat()).look();
            prop_assert_eq!(&merged, &both);
            prop_assert_eq!(merged.since(&of(&one).look()).count(), both.count() - one.len() as u64);
        }
    }
}
