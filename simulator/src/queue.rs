//! The event queue: a total order by (time, sequence), as a hierarchical timing wheel.
//!
//! Two events at the same microsecond leave in the order in which they were pushed, so a run depends on nothing but its
//! inputs.
//!
//! The wheel is that of Varghese and Lauck (Hashed and Hierarchical Timing Wheels, SOSP 1987, scheme 6), with two
//! departures. The level of an event is given by the highest bit in which its tick differs from the present one, so that
//! no event is ever looked at before its turn, and the whole range of time is covered without a list of far events. And
//! the events of a tick of 256 µs are sorted by (time, sequence) when its turn comes, and those that are pushed for it later
//! wait in a small binary heap beside, which gives the total order at microsecond resolution. An event is moved once for
//! each level that it passes, at most seven times and with usual
//! delays two or three times, each time to the end of a list; a heap of a million events moves it twenty times, all over
//! its memory. `benches/queue.rs` compares the two.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use unamed_protocol::Instant;

/// Bits of a time, in microseconds, within one tick.
const TICK_BITS: u32 = 8;
/// Bits of a tick that choose the slot on a level.
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
/// As many as cover all ticks.
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(SLOT_BITS) as usize;

/// Events ordered by time, then by the order of pushing.
#[derive(Debug)]
pub struct EventQueue<T> {
    /// Events of the present tick that were on the wheel, the earliest last.
    current: Vec<Entry<T>>,
    /// Events that were pushed for the present tick or before.
    late: BinaryHeap<Entry<T>>,
    /// The present tick: all events on the wheel are later.
    tick: u64,
    levels: Vec<Level<T>>,
    len: usize,
    sequence: u64,
}

/// Slots of one level. An event is on level `n` if its tick differs from the present one first in digit `n`, and in the
/// slot of that digit.
#[derive(Debug)]
struct Level<T> {
    slots: Vec<Vec<Entry<T>>>,
    /// A bit for each slot that holds something.
    occupied: [u64; SLOTS / 64],
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    item: T,
}

impl<T> Entry<T> {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    /// Reversed: `BinaryHeap` gives the greatest first, and a list its last.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> Level<T> {
    fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), occupied: [0; SLOTS / 64] }
    }

    fn push(&mut self, slot: usize, entry: Entry<T>) {
        self.slots[slot].push(entry);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// The first slot at or after `from` that holds something.
    fn next_occupied(&self, from: usize) -> Option<usize> {
        (from / 64..self.occupied.len()).find_map(|word| {
            let below = if word == from / 64 { (1_u64 << (from % 64)) - 1 } else { 0 };
            let bits = self.occupied[word] & !below;
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })
    }

    /// Takes the list of a slot and leaves an empty one in its place.
    fn take(&mut self, slot: usize, empty: Vec<Entry<T>>) -> Vec<Entry<T>> {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::replace(&mut self.slots[slot], empty)
    }
}

const fn tick_of(at: Instant) -> u64 {
    at.as_micros() >> TICK_BITS
}

const fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level as u32 * SLOT_BITS)) as usize % SLOTS
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self {
            current: Vec::new(),
            late: BinaryHeap::new(),
            tick: 0,
            levels: (0..LEVELS).map(|_| Level::new()).collect(),
            len: 0,
            sequence: 0,
        }
    }
}

impl<T> EventQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event.
    pub fn push(&mut self, at: Instant, item: T) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.len += 1;
        self.place(Entry { at, sequence, item });
    }

    fn place(&mut self, entry: Entry<T>) {
        let tick = tick_of(entry.at);
        if tick <= self.tick {
            self.late.push(entry);
        } else {
            let level = ((tick ^ self.tick).ilog2() / SLOT_BITS) as usize;
            self.levels[level].push(digit(tick, level), entry);
        }
    }

    /// The next slot in time that holds something: its level and place.
    fn next_slot(&self) -> Option<(usize, usize)> {
        self.levels.iter().enumerate().find_map(|(level, slots)| {
            // Slots up to the digit of the present tick lie in the past, and are empty.
            slots.next_occupied(digit(self.tick, level)).map(|slot| (level, slot))
        })
    }

    /// Moves on to the next tick that holds something, if the present one does not.
    fn advance(&mut self) {
        while self.current.is_empty() && self.late.is_empty() {
            let Some((level, slot)) = self.next_slot() else { return };
            let shift = level as u32 * SLOT_BITS;
            // The digits below are 0: the earliest tick in the slot.
            self.tick = ((self.tick >> shift) - digit(self.tick, level) as u64 + slot as u64) << shift;
            if level == 0 {
                let empty = std::mem::take(&mut self.current);
                self.current = self.levels[0].take(slot, empty);
                // Entries are ordered in reverse, for the heap.
                self.current.sort_unstable();
                return;
            }
            // Its place is given back: lists of higher levels are long, and each slot would keep the longest.
            for entry in self.levels[level].take(slot, Vec::new()) {
                self.place(entry);
            }
        }
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<(Instant, T)> {
        self.advance();
        let from_late = match (self.current.last(), self.late.peek()) {
            (Some(current), Some(late)) => late > current,
            (None, late) => late.is_some(),
            (Some(_), None) => false,
        };
        let entry = if from_late { self.late.pop() } else { self.current.pop() }?;
        self.len -= 1;
        Some((entry.at, entry.item))
    }

    /// When the earliest event is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        let current = self.current.last().into_iter().chain(self.late.peek()).map(|entry| entry.at).min();
        if current.is_some() {
            return current;
        }
        let (level, slot) = self.next_slot()?;
        self.levels[level].slots[slot].iter().map(|entry| entry.at).min()
    }

    /// How many events are pending.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is pending.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leaves_by_time_then_by_order_of_pushing() {
        let mut queue = EventQueue::new();
        for (at, item) in [(5, 'd'), (1, 'a'), (5, 'e'), (1, 'b'), (3, 'c'), (5, 'f')] {
            queue.push(Instant::from_micros(at), item);
        }
        assert_eq!(queue.next_at(), Some(Instant::from_micros(1)));
        let mut order = Vec::new();
        while let Some((at, item)) = queue.pop() {
            order.push((at.as_micros(), item));
        }
        assert_eq!(order, [(1, 'a'), (1, 'b'), (3, 'c'), (5, 'd'), (5, 'e'), (5, 'f')]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_pushed_between_pops_keeps_the_order() {
        let mut queue = EventQueue::new();
        queue.push(Instant::from_micros(2), 'a');
        queue.push(Instant::from_micros(2), 'b');
        assert_eq!(queue.pop().map(|event| event.1), Some('a'));
        queue.push(Instant::from_micros(2), 'c');
        queue.push(Instant::from_micros(1), 'z');
        assert_eq!(queue.len(), 3);
        let rest: Vec<char> = std::iter::from_fn(|| queue.pop().map(|event| event.1)).collect();
        assert_eq!(rest, ['z', 'b', 'c']);
    }

    #[test]
    fn the_ends_of_time_are_covered() {
        let mut queue = EventQueue::new();
        let times = [u64::MAX - 1, 0, u64::MAX - 2, 1 << 63, 1 << 40, 255, 256, 65_535, 65_536];
        for at in times {
            queue.push(Instant::from_micros(at), at);
        }
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        assert_eq!(std::iter::from_fn(|| queue.pop().map(|event| event.1)).collect::<Vec<u64>>(), sorted);
    }

    /// A step of the comparison: push so long after the latest pop, or before it, or pop.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Push(u64),
        PushPast(u64),
        Pop,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..40_u32, any::<u64>()).prop_map(|(bits, delay)| Act::Push(delay & ((1 << bits) - 1))),
            1 => (0..100_000_u64).prop_map(Act::PushPast),
            3 => Just(Act::Pop),
        ]
    }

    proptest! {
        /// The wheel gives what a heap by (time, sequence) gives, whatever is pushed between pops.
        #[test]
        fn it_is_the_heap(acts in proptest::collection::vec(act(), 0..400)) {
            let (mut queue, mut heap) = (EventQueue::new(), BinaryHeap::new());
            let mut now = 0_u64;
            let push = |queue: &mut EventQueue<usize>, heap: &mut BinaryHeap<_>, at: u64, item: usize| {
                queue.push(Instant::from_micros(at), item);
                heap.push(std::cmp::Reverse((at, item)));
            };
            for (item, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Push(delay) => push(&mut queue, &mut heap, now.saturating_add(delay), item),
                    Act::PushPast(before) => push(&mut queue, &mut heap, now.saturating_sub(before), item),
                    Act::Pop => {
                        let expected = heap.pop().map(|std::cmp::Reverse(event)| event);
                        prop_assert_eq!(queue.next_at().map(|at| at.as_micros()), expected.map(|event| event.0));
                        let popped = queue.pop().map(|(at, item)| (at.as_micros(), item));
                        prop_assert_eq!(popped, expected);
                        now = popped.map_or(now, |(at, _)| at);
                    }
                }
                prop_assert_eq!(queue.len(), heap.len());
            }
            while let Some(std::cmp::Reverse((at, item))) = heap.pop() {
                prop_assert_eq!(queue.pop(), Some((Instant::from_micros(at), item)));
            }
            prop_assert!(queue.is_empty() && queue.next_at().is_none());
        }
    }
}
