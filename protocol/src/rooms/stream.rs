//! One stream of one author as its receiver sees it: what is expected next, and what came too early and is held.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{charge, generation, generation_start};
use crate::{Instant, MessageId};

/// Where a sequence number lies in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before what is expected: delivered, given up, or before the stream's start.
    Behind,
    /// The expected one.
    Next,
    /// After it.
    Ahead,
}

/// A run of missing sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The first after it that is not, or the end as the author told it.
    pub to: u64,
}

/// A message that came too early.
#[derive(Clone, Debug)]
struct Held<M> {
    id: MessageId,
    at: Instant,
    bytes: usize,
    message: M,
}

/// One stream's reordering. It does no bounding: its owner asks for [`held_len`](Self::held_len) and
/// [`held_bytes`](Self::held_bytes) before it lets a message be held.
#[derive(Clone, Debug)]
pub struct Stream<M> {
    /// The number expected next.
    next: u64,
    /// Numbers below it exist, as the author said or as was seen.
    end: u64,
    /// When `end` was last raised.
    end_at: Instant,
    /// When an arrival last moved `next`; at first, when the stream was met.
    moved_at: Instant,
    held: BTreeMap<u64, Held<M>>,
    held_bytes: usize,
}

impl<M> Stream<M> {
    /// A stream that starts at `next`.
    #[must_use]
    pub const fn new(next: u64, now: Instant) -> Self {
        Self { next, end: 0, end_at: now, moved_at: now, held: BTreeMap::new(), held_bytes: 0 }
    }

    /// The number expected next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Messages held.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Bytes held, entries included.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The highest number held.
    #[must_use]
    pub fn held_last(&self) -> Option<u64> {
        self.held.last_key_value().map(|(sequence, _)| *sequence)
    }

    /// The id of the message held at `sequence`.
    #[must_use]
    pub fn held_id(&self, sequence: u64) -> Option<MessageId> {
        self.held.get(&sequence).map(|held| held.id)
    }

    /// Where a number lies. A number of a newer generation moves the stream there first, if nothing is missing here.
    pub fn place(&mut self, sequence: u64) -> Place {
        if generation(sequence) > generation(self.next) && self.held.is_empty() && !self.ends_here() {
            self.next = generation_start(sequence);
        }
        match sequence.cmp(&self.next) {
            Ordering::Less => Place::Behind,
            Ordering::Equal => Place::Next,
            Ordering::Greater => Place::Ahead,
        }
    }

    /// Whether something is known to be missing at the end of the generation of `next`.
    fn ends_here(&self) -> bool {
        self.end > self.next && generation(self.end) == generation(self.next)
    }

    /// Delivers the expected message and all that follow it.
    pub fn deliver(&mut self, message: M, out: &mut Vec<M>, now: Instant) {
        out.push(message);
        self.next = self.next.saturating_add(1);
        self.moved_at = now;
        self.drain(out);
    }

    /// Holds a message that came too early. The number must lie ahead and be free.
    pub fn hold(&mut self, sequence: u64, id: MessageId, bytes: usize, message: M, now: Instant) {
        self.held_bytes = self.held_bytes.saturating_add(charge(bytes));
        self.held.insert(sequence, Held { id, at: now, bytes, message });
    }

    /// Drops the held message with the highest number, which then counts as missing.
    pub fn drop_last(&mut self, now: Instant) -> Option<u64> {
        let (sequence, held) = self.held.pop_last()?;
        self.held_bytes = self.held_bytes.saturating_sub(charge(held.bytes));
        self.ends_at(sequence.saturating_add(1), now);
        Some(sequence)
    }

    /// Learns that all numbers below `end` exist.
    pub fn ends_at(&mut self, end: u64, now: Instant) {
        if end > self.end {
            self.end = end;
            self.end_at = now;
        }
    }

    /// Expects nothing before `start`. Only for a stream that holds nothing.
    pub fn begin_at(&mut self, start: u64) {
        debug_assert!(self.held.is_empty(), "a baseline comes before all messages");
        self.next = self.next.max(start);
    }

    /// Gives up what is missing before the first held message or the known end; the number of messages given up.
    pub fn release(&mut self, out: &mut Vec<M>) -> u64 {
        let Some(gap) = self.gap() else {
            return 0;
        };
        self.next = gap.to;
        self.drain(out);
        gap.to.saturating_sub(gap.from)
    }

    /// Delivers all that is held and gives up all that is missing; the number of messages given up.
    pub fn release_all(&mut self, out: &mut Vec<M>) -> u64 {
        let mut lost = 0_u64;
        while self.gap().is_some() {
            lost = lost.saturating_add(self.release(out));
        }
        lost
    }

    /// The gap at which the stream waits.
    #[must_use]
    pub fn gap(&self) -> Option<Gap> {
        let first = self.held.first_key_value().map(|(sequence, _)| *sequence);
        match first {
            Some(to) if generation(to) == generation(self.next) || !self.ends_here() => {
                Some(Gap { from: self.next, to })
            }
            Some(_) | None if self.ends_here() => Some(Gap { from: self.next, to: self.end }),
            None if self.end > self.next => {
                let from = generation_start(self.end);
                (self.end > from).then_some(Gap { from, to: self.end })
            }
            Some(_) | None => None,
        }
    }

    /// Since when the stream waits at its gap: since that showed, or since the last arrival that moved the stream.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.gap()?;
        let shown = self.held.first_key_value().map_or(self.end_at, |(_, held)| held.at);
        Some(shown.max(self.moved_at))
    }

    /// Delivers what follows without a gap; goes on to a newer generation where nothing is missing in the present one.
    fn drain(&mut self, out: &mut Vec<M>) {
        while let Some((&first, _)) = self.held.first_key_value() {
            if first == self.next {
                self.take_first(out);
                self.next = self.next.saturating_add(1);
            } else if generation(first) > generation(self.next) && !self.ends_here() {
                self.next = generation_start(first);
            } else {
                return;
            }
        }
    }

    fn take_first(&mut self, out: &mut Vec<M>) {
        if let Some((_, held)) = self.held.pop_first() {
            self.held_bytes = self.held_bytes.saturating_sub(charge(held.bytes));
            out.push(held.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const GENERATION: u64 = 1 << 32;

    fn held(next: u64, sequences: &[u64]) -> Stream<u64> {
        let mut stream = Stream::new(next, Instant::ZERO);
        for &sequence in sequences {
            assert_eq!(stream.place(sequence), Place::Ahead);
            stream.hold(sequence, MessageId::default(), 0, sequence, Instant::from_secs(sequence & 0xff));
        }
        stream
    }

    #[test]
    fn what_came_early_follows_what_was_missing() {
        let mut stream = held(0, &[1, 2, 4]);
        assert_eq!(stream.gap(), Some(Gap { from: 0, to: 1 }));
        assert_eq!(stream.place(0), Place::Next);
        let mut out = Vec::new();
        stream.deliver(0, &mut out, Instant::from_secs(9));
        assert_eq!(out, vec![0, 1, 2]);
        assert_eq!((stream.gap(), stream.place(2)), (Some(Gap { from: 3, to: 4 }), Place::Behind));
        assert_eq!(stream.waiting_since(), Some(Instant::from_secs(9)), "an arrival moved the stream");
        assert_eq!(stream.release(&mut out), 1);
        assert_eq!((out, stream.gap(), stream.next()), (vec![0, 1, 2, 4], None, 5));
        assert_eq!(stream.held_bytes(), 0);
    }

    #[test]
    fn a_newer_generation_ends_an_idle_one() {
        let mut stream = held(5, &[]);
        assert_eq!(stream.place(GENERATION), Place::Next);
        assert_eq!(stream.place(GENERATION - 1), Place::Behind);
    }

    #[test]
    fn a_newer_generation_waits_for_what_is_known_to_be_missing() {
        let mut stream = held(5, &[6, GENERATION]);
        let mut out = Vec::new();
        stream.deliver(5, &mut out, Instant::ZERO);
        assert_eq!(out, vec![5, 6, GENERATION]);

        let mut stream = held(5, &[]);
        stream.ends_at(7, Instant::ZERO);
        assert_eq!(stream.place(GENERATION + 1), Place::Ahead);
        stream.hold(GENERATION + 1, MessageId::default(), 0, GENERATION + 1, Instant::ZERO);
        assert_eq!(stream.gap(), Some(Gap { from: 5, to: 7 }));
        let mut out = Vec::new();
        assert_eq!(stream.release_all(&mut out), 3, "5, 6 and the newer one's first");
        assert_eq!(out, vec![GENERATION + 1]);
    }

    #[test]
    fn an_end_told_in_a_newer_generation_leaves_the_older_open_for_repair() {
        let mut stream = held(5, &[]);
        stream.ends_at(GENERATION + 2, Instant::ZERO);
        assert_eq!(stream.gap(), Some(Gap { from: GENERATION, to: GENERATION + 2 }));
        assert_eq!(stream.place(5), Place::Next);
        assert_eq!(stream.release(&mut Vec::new()), 2);
        assert_eq!((stream.next(), stream.gap()), (GENERATION + 2, None));
    }

    #[test]
    fn a_dropped_message_counts_as_missing() {
        let mut stream = held(0, &[1, 2]);
        assert_eq!(stream.drop_last(Instant::ZERO), Some(2));
        assert_eq!(stream.held_bytes(), charge(0));
        let mut out = Vec::new();
        stream.deliver(0, &mut out, Instant::ZERO);
        assert_eq!((out, stream.gap()), (vec![0, 1], Some(Gap { from: 2, to: 3 })));
    }

    #[test]
    fn the_last_numbers_overflow_nothing() {
        let mut stream = held(u64::MAX - 1, &[u64::MAX]);
        let mut out = Vec::new();
        stream.deliver(u64::MAX - 1, &mut out, Instant::ZERO);
        assert_eq!((out, stream.gap()), (vec![u64::MAX - 1, u64::MAX], None));
    }
}
