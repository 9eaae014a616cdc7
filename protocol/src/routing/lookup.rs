//! When a service node looks up its own location and random keys of its buckets.
//!
//! The self-lookup keeps the leaf set right; it comes more often while the node is young, which shortens the worst mass
//! starts from 55 to 36 s (routing-evidence, section 3). A bucket that lacks links is looked up at once, and then ever
//! more rarely, since the network may have nobody there.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::time::micros;
use crate::{Duration, Instant};

/// Periods of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Period of the self-lookup.
    pub own: Duration,
    /// Period of the self-lookup while younger than `young`; also the first pause between lookups of one bucket.
    pub own_young: Duration,
    /// Age up to which a node is young.
    pub young: Duration,
}

impl Periods {
    /// Longest pause between lookups of a bucket that stays without links.
    pub const BUCKET_PAUSE_MAX: Duration = Duration::from_secs(600);
}

/// A lookup that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// Of the own location.
    Own,
    /// Of a random key in this bucket.
    Bucket(u8),
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    pause: Duration,
}

/// The lookups of one node. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Schedule {
    periods: Periods,
    started: Instant,
    own: Instant,
    buckets: BTreeMap<u8, Due>,
}

impl Schedule {
    /// A schedule whose first self-lookup is due at once.
    #[must_use]
    pub const fn new(periods: Periods, now: Instant) -> Self {
        Self { periods, started: now, own: now, buckets: BTreeMap::new() }
    }

    /// Brings the next self-lookup forward: the first link stands, a partition heals, a leaf is lost.
    pub fn hasten(&mut self, now: Instant) {
        self.own = self.own.min(now);
    }

    /// What is to be looked up; each answer sets the next time. `thin` are the buckets that lack links, from
    /// [`Table::buckets_to_refresh`](super::table::Table::buckets_to_refresh); `jitter` is any random number, which
    /// spreads each period by a tenth either way.
    pub fn due(&mut self, thin: &[u8], now: Instant, jitter: u64) -> Vec<Lookup> {
        let mut out = Vec::new();
        if self.own <= now {
            let young = now.since(self.started) < self.periods.young;
            let period = if young { self.periods.own_young } else { self.periods.own };
            self.own = now + spread(period, jitter);
            out.push(Lookup::Own);
        }
        self.buckets.retain(|bucket, _| thin.contains(bucket));
        for bucket in thin {
            let pause = match self.buckets.get(bucket) {
                Some(due) if due.at > now => continue,
                Some(due) => due.pause.saturating_mul(2).min(Periods::BUCKET_PAUSE_MAX),
                None => self.periods.own_young,
            };
            // Each bucket its own spread, so that they do not stay in step.
            let jitter = jitter.rotate_left(u32::from(*bucket));
            self.buckets.insert(*bucket, Due { at: now + spread(pause, jitter), pause });
            out.push(Lookup::Bucket(*bucket));
        }
        out
    }

    /// When [`due`](Self::due) has something to say, as far as it knows the buckets. Later than every `now` it was
    /// called with.
    #[must_use]
    pub fn next_at(&self) -> Instant {
        self.buckets.values().map(|due| due.at).fold(self.own, Instant::min)
    }
}

/// A period, a tenth more or less, and never zero.
fn spread(period: Duration, jitter: u64) -> Duration {
    let period = micros(period).max(10);
    let tenth = period / 10;
    let width = tenth.saturating_mul(2).saturating_add(1);
    Duration::from_micros(period.saturating_sub(tenth).saturating_add(jitter % width))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const START: Instant = Instant::from_secs(100);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn schedule() -> Schedule {
        Schedule::new(Periods { own: secs(60), own_young: secs(10), young: secs(60) }, START)
    }

    #[test]
    fn self_lookups_come_often_while_young() {
        for jitter in [0, 1, 12_345_678_901, u64::MAX] {
            let mut schedule = schedule();
            let mut at = Vec::new();
            let mut now = START;
            while now < START + secs(200) {
                assert_eq!(schedule.due(&[], now, jitter), [Lookup::Own]);
                at.push(now);
                assert_eq!(schedule.due(&[], now, jitter), []);
                assert!(schedule.next_at() > now);
                now = schedule.next_at();
            }
            for pair in at.windows(2) {
                let period = if pair[0].since(START) < secs(60) { 10 } else { 60 };
                let gap = pair[1].since(pair[0]);
                assert!(gap >= secs(period) * 9 / 10 && gap <= secs(period) * 11 / 10, "{gap:?}");
            }
        }
    }

    #[test]
    fn a_hastened_lookup_is_due_at_once() {
        let mut schedule = schedule();
        schedule.due(&[], START, 0);
        schedule.hasten(START + secs(1));
        assert_eq!(schedule.next_at(), START + secs(1));
        assert_eq!(schedule.due(&[], START + secs(1), 0), [Lookup::Own]);
    }

    #[test]
    fn thin_buckets_are_looked_up_ever_more_rarely() {
        let mut schedule = schedule();
        assert_eq!(schedule.due(&[0, 3], START, 7), [Lookup::Own, Lookup::Bucket(0), Lookup::Bucket(3)]);
        let mut times = vec![];
        let mut now = START;
        while times.len() < 12 {
            now = schedule.next_at();
            // Bucket 0 has its links; bucket 3 has not.
            if schedule.due(&[3], now, 0).contains(&Lookup::Bucket(3)) {
                times.push(now);
            }
        }
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
        assert_eq!(gaps, [18, 36, 72, 144, 288, 540, 540, 540, 540, 540, 540]);
        // Thin again after it was not: at once.
        assert!(schedule.due(&[], now, 0).is_empty());
        assert!(schedule.due(&[3], now, 0).contains(&Lookup::Bucket(3)));
    }

    #[test]
    fn zero_periods_do_not_stand_still() {
        let zero = Duration::ZERO;
        let mut schedule = Schedule::new(Periods { own: zero, own_young: zero, young: zero }, START);
        schedule.due(&[1], START, 0);
        assert!(schedule.next_at() > START);
    }
}
