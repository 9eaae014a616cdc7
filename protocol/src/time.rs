//! The core's own notion of time: a monotonic count of microseconds that the driver supplies.
//!
//! The core never reads a clock. Every handler takes `now: Instant` as its last argument; all arithmetic saturates, and
//! "no deadline" is always an `Option`, never a far-future sentinel.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::{Add, AddAssign, Sub};

pub use core::time::Duration;

/// A point on the driver's monotonic clock, in microseconds since an epoch of the driver's choice: at most
/// `u64::MAX - 1`.
///
/// It is kept as one more than that, so that an `Option<Instant>`, of which nodes keep thousands, is no larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The driver's epoch.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// The instant `micros` microseconds after the epoch, saturating.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(micros))
    }

    /// The instant `millis` milliseconds after the epoch, saturating.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }

    /// The instant `secs` seconds after the epoch, saturating.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_micros(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0.get().saturating_sub(1)
    }

    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.as_micros() / 1000
    }

    /// Time elapsed since `earlier`; zero if `earlier` lies later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

/// A [`Duration`] as whole microseconds, saturating at `u64::MAX`.
#[must_use]
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Instant {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self::from_micros(self.as_micros().saturating_sub(micros(rhs)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.as_micros() / 1_000_000, self.as_micros() % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::from_micros(u64::MAX) + Duration::MAX, Instant::from_micros(u64::MAX));
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::from_secs(1)), Duration::ZERO);
        assert_eq!(Instant::from_secs(3).since(Instant::from_millis(500)), Duration::from_millis(2500));
        assert_eq!(Instant::from_micros(u64::MAX).as_micros(), u64::MAX - 1);
        assert_eq!(Instant::from_micros(7).as_micros(), 7);
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }
}
