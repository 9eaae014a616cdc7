//! How often the members of a room publish here, and when they should come again: a room's root asks members of a popular
//! room to renew later, so that its load grows with the number of rooms rather than with the size of the largest.

use alloc::collections::BTreeMap;

use super::store::Slot;
use crate::{Duration, Instant};

/// The weight of a new gap in the mean, as one part in this many: the gain of the estimator of RFC 6298, section 2.
const GAIN: u32 = 8;

/// Bounds of [`Popularity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PopularityLimits {
    /// How often a member publishes if nobody tells it otherwise.
    pub usual: Duration,
    /// The mean time from one publish for a room to the next that is aimed at.
    pub spacing: Duration,
    /// The longest pause asked for: well within the life of a claim.
    pub longest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Room {
    last: Instant,
    /// Mean time between publishes.
    gap: Duration,
    /// The period that publishers keep, as far as they were told.
    told: Duration,
}

/// The publish rates of the rooms held. Bounded by [`retain`](Self::retain).
#[derive(Clone, Debug)]
pub struct Popularity {
    limits: PopularityLimits,
    rooms: BTreeMap<Slot, Room>,
}

impl Popularity {
    /// Knows of no room.
    #[must_use]
    pub const fn new(limits: PopularityLimits) -> Self {
        Self { limits, rooms: BTreeMap::new() }
    }

    /// Keys whose publishes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no publish is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Takes note of a publish; gives how long its publisher should wait, if that is longer than usual.
    pub fn published(&mut self, slot: Slot, now: Instant) -> Option<Duration> {
        let PopularityLimits { usual, spacing, longest } = self.limits;
        let room = self.rooms.entry(slot).or_insert(Room { last: now, gap: usual, told: usual });
        let gap = now.since(room.last).min(longest);
        room.last = now;
        room.gap = (room.gap.saturating_mul(GAIN - 1).saturating_add(gap)) / GAIN;
        let publishers = room.told.as_millis() / room.gap.as_millis().max(1);
        let publishers = u32::try_from(publishers).unwrap_or(u32::MAX);
        room.told = spacing.saturating_mul(publishers).clamp(usual, longest.max(usual));
        (room.told > usual).then_some(room.told)
    }

    /// Forgets the rooms that are not held any more.
    pub fn retain(&mut self, held: impl Fn(&Slot) -> bool) {
        self.rooms.retain(|slot, _| held(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RoomId;

    const SLOT: Slot = (RoomId([1; 32]), 0);

    fn popularity() -> Popularity {
        let secs = Duration::from_secs;
        Popularity::new(PopularityLimits { usual: secs(300), spacing: secs(5), longest: secs(600) })
    }

    /// What publishers are told in the end, when there are `members` who do as they are told.
    fn settled(members: u64) -> Duration {
        let (mut popularity, mut now, mut period) = (popularity(), Instant::ZERO, Duration::from_secs(300));
        for _ in 0..200 {
            now += period / u32::try_from(members).expect("few");
            period = popularity.published(SLOT, now).unwrap_or(Duration::from_secs(300));
        }
        period
    }

    #[test]
    fn small_rooms_renew_as_usual_and_larger_ones_keep_their_distance() {
        for members in [1, 2, 10, 16, 60] {
            assert_eq!(settled(members), Duration::from_secs(300), "{members} members");
        }
        let hundred = settled(100).as_secs();
        assert!((450..=550).contains(&hundred), "{hundred} s for 100 members that come every 5 s");
        assert_eq!(settled(5000), Duration::from_secs(600));
    }

    #[test]
    fn rooms_that_are_not_held_are_forgotten() {
        let mut popularity = popularity();
        popularity.published(SLOT, Instant::ZERO);
        popularity.retain(|slot| *slot != SLOT);
        assert!(popularity.rooms.is_empty());
    }
}
