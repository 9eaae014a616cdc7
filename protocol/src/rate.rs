//! Rates with a burst: the generic cell rate algorithm.
//!
//! GCRA in its form as virtual scheduling (ITU-T Recommendation I.371, annex A; ATM Forum, *Traffic Management
//! Specification* 4.0, section 4.4.2). All that it remembers is one point in time, the theoretical arrival time of the next
//! event, so a peer costs eight bytes for each of its rates, nothing has to be refilled, and what was not used for a
//! while needs no memory at all.
//!
//! Two departures: an event may have a size, and counts as that many events at once; and an event that does not conform
//! costs nothing, as in the recommendation, so that who keeps knocking is served at the rate.

use core::time::Duration;

use crate::Instant;

/// So many events in a time, and so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events that conform in each `period` in the long run. None ever conforms at 0.
    pub events: u32,
    /// The time for `events`.
    pub period: Duration,
    /// Events that conform at once after a pause. An event of a larger size never conforms.
    pub burst: u32,
}

impl Rate {
    /// So many events a second, and so many at once.
    #[must_use]
    pub const fn per_second(events: u32, burst: u32) -> Self {
        Self { events, period: Duration::from_secs(1), burst }
    }

    /// The time that `size` events take at this rate, nanoseconds, rounded up; `None` if they never end.
    fn span(&self, size: u32) -> Option<u64> {
        let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
        let whole = u128::from(period).saturating_mul(u128::from(size));
        let events = u128::from(self.events);
        let span = whole.checked_add(events.saturating_sub(1))?.checked_div(events)?;
        Some(u64::try_from(span).unwrap_or(u64::MAX))
    }
}

/// How far one source has used up a [`Rate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gcra {
    /// The theoretical arrival time, nanoseconds since the epoch of [`Instant`].
    expected: u64,
}

/// The instant in nanoseconds. They last for 584 years.
const fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

impl Gcra {
    /// Whether an event of this size conforms at `now`, which counts it then.
    ///
    /// `now` may lie before that of an earlier call; it then counts as that.
    pub fn take(&mut self, rate: Rate, size: u32, now: Instant) -> bool {
        let (Some(span), Some(burst)) = (rate.span(size), rate.span(rate.burst)) else { return false };
        let after = self.expected.max(nanos(now)).saturating_add(span);
        let conforms = size <= rate.burst && after <= nanos(now).saturating_add(burst);
        if conforms {
            self.expected = after;
        }
        conforms
    }

    /// When an event of this size will conform, if none comes before; `None` if never.
    #[must_use]
    pub fn conforms_at(&self, rate: Rate, size: u32) -> Option<Instant> {
        let (span, burst) = (rate.span(size)?, rate.span(rate.burst)?);
        let earliest = self.expected.saturating_add(span).saturating_sub(burst);
        // Not before it: an instant has no nanoseconds.
        (size <= rate.burst).then(|| Instant::from_micros(earliest.div_ceil(1000)))
    }

    /// Whether nothing is used up: then it is as good as a new one.
    #[must_use]
    pub const fn is_idle(&self, now: Instant) -> bool {
        self.expected <= nanos(now)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const FIFTY: Rate = Rate::per_second(50, 100);

    #[test]
    fn the_burst_passes_and_not_one_more_and_then_the_rate() {
        let (mut gcra, start) = (Gcra::default(), Instant::from_secs(7));
        assert!((0..100).all(|_| gcra.take(FIFTY, 1, start)));
        assert!(!gcra.take(FIFTY, 1, start));
        assert_eq!(gcra.conforms_at(FIFTY, 1), Some(start + Duration::from_millis(20)));
        assert!(!gcra.take(FIFTY, 1, start + Duration::from_micros(19_999)));
        assert!(gcra.take(FIFTY, 1, start + Duration::from_millis(20)));
        assert!(!gcra.take(FIFTY, 1, start + Duration::from_millis(20)));
        let rested = start + Duration::from_secs(3);
        assert!(gcra.is_idle(rested));
        assert_eq!((0..200).filter(|_| gcra.take(FIFTY, 1, rested)).count(), 100);
    }

    #[test]
    fn degenerate_rates_refuse() {
        let now = Instant::from_secs(1);
        for rate in [Rate::per_second(0, 10), Rate::per_second(10, 0)] {
            assert!(!Gcra::default().take(rate, 1, now), "{rate:?}");
            assert_eq!(Gcra::default().conforms_at(rate, 1), None);
        }
        assert!(!Gcra::default().take(FIFTY, 101, now), "more than the burst at once");
        let huge = Rate { events: u32::MAX, period: Duration::MAX, burst: u32::MAX };
        assert!(Gcra::default().take(huge, u32::MAX, Instant::from_micros(u64::MAX)));
    }

    /// A token bucket in exact arithmetic, in units of one event by `period` nanoseconds.
    fn bucket(rate: Rate, arrivals: &[(u64, u32)]) -> Vec<bool> {
        let (full, each) = (u128::from(rate.burst) * rate.period.as_nanos(), |size: u32| {
            u128::from(size) * rate.period.as_nanos()
        });
        let (mut level, mut last) = (full, 0);
        let take = |(at, size): &(u64, u32)| {
            level = full.min(level + u128::from(at - last) * 1000 * u128::from(rate.events));
            last = *at;
            let fits = each(*size) <= level;
            level -= if fits { each(*size) } else { 0 };
            fits
        };
        arrivals.iter().map(take).collect()
    }

    prop_compose! {
        fn arrivals()(steps in prop::collection::vec((0_u64..40_000, 1_u32..5), 1..200)) -> Vec<(u64, u32)> {
            let mut at = 1_000_000;
            steps.into_iter().map(|(pause, size)| { at += pause; (at, size) }).collect()
        }
    }

    proptest! {
        #[test]
        fn it_decides_as_a_token_bucket_where_an_event_takes_whole_nanoseconds(
            events in prop::sample::select(&[1_u32, 10, 50, 1000, 1_000_000]), burst in 1_u32..50, arrivals in arrivals()
        ) {
            let (rate, mut gcra) = (Rate::per_second(events, burst), Gcra::default());
            let taken: Vec<bool> =
                arrivals.iter().map(|(at, size)| gcra.take(rate, *size, Instant::from_micros(*at))).collect();
            prop_assert_eq!(taken, bucket(rate, &arrivals));
        }

        #[test]
        fn no_span_of_time_sees_more_than_burst_and_rate(
            events in 1_u32..2000, millis in 1_u64..3000, burst in 1_u32..60, arrivals in arrivals()
        ) {
            let rate = Rate { events, period: Duration::from_millis(millis), burst };
            let mut gcra = Gcra::default();
            let taken: Vec<(u64, u32)> = arrivals
                .into_iter()
                .filter(|(at, size)| gcra.take(rate, *size, Instant::from_micros(*at)))
                .collect();
            for (index, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0_u128;
                for (to, size) in &taken[index..] {
                    sum += u128::from(*size);
                    let most = u128::from(to - from) * u128::from(events) / (u128::from(millis) * 1000);
                    prop_assert!(sum <= u128::from(burst) + most + 1, "{sum} from {from} to {to}");
                }
            }
        }

        #[test]
        fn an_even_flow_at_the_rate_always_conforms(events in 1_u32..5000, burst in 1_u32..10) {
            let rate = Rate::per_second(events, burst);
            let pause = Duration::from_nanos(rate.span(1).unwrap_or(0)).as_micros() as u64 + 1;
            let mut gcra = Gcra::default();
            for step in 0..500 {
                prop_assert!(gcra.take(rate, 1, Instant::from_micros(1_000_000 + step * pause)));
            }
        }

        #[test]
        fn it_conforms_when_it_says_and_not_before(
            events in 1_u32..5000, burst in 1_u32..20, before in 0_u32..40, size in 1_u32..20
        ) {
            let (rate, mut gcra, start) = (Rate::per_second(events, burst), Gcra::default(), Instant::from_secs(5));
            (0..before).for_each(|_| { gcra.take(rate, 1, start); });
            match gcra.conforms_at(rate, size) {
                None => prop_assert!(size > burst),
                Some(at) => {
                    let early = at - Duration::from_micros(1);
                    prop_assert!(early < start || !gcra.clone().take(rate, size, early));
                    prop_assert!(gcra.take(rate, size, at.max(start)));
                }
            }
        }
    }
}
