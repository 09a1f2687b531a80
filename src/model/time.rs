//! Points in time as filesystems count them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970-01-01 UTC, negative before it: 1677 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// What the system clock says now.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The instant that a text of RFC 3339 names, with its offset from UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(instant.as_nanosecond()).ok().map(Self)
    }

    /// `self` and a span of time later; saturates at the end of the range.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// The age of `self` at `now`, zero when it lies in the future.
    #[must_use]
    pub fn age(self, now: Self) -> Duration {
        Duration::from_nanos(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    /// Saturates at the ends of the range.
    fn from(time: SystemTime) -> Self {
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        })
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let span = Duration::from_nanos(time.0.unsigned_abs());
        if time.0 >= 0 { UNIX_EPOCH + span } else { UNIX_EPOCH - span }
    }
}

/// A time as RFC 3339 in UTC, with as many digits behind the second as it needs: `2026-11-21T06:00:00.5Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    // Every i64 of nanoseconds lies inside jiff's range, which is years -9999 to 9999.
    jiff::Timestamp::from_nanosecond(time.0.into()).map_or_else(|_| String::new(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_both_ways_and_saturates() {
        for nanos in [0, 1, -1, 1_700_000_000_123_456_789, -3_000_000_000] {
            assert_eq!(Timestamp::from(SystemTime::from(Timestamp(nanos))), Timestamp(nanos));
        }
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(Timestamp::from(far), Timestamp(i64::MAX));
    }

    #[test]
    fn shows_times_as_rfc_3339() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp(951_782_400_000_000_001)), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(rfc3339(Timestamp(-1)), "1969-12-31T23:59:59.999999999Z");
    }
}
