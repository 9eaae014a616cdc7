//! The event queue: a total order by (time, sequence).
//!
//! Two events at the same microsecond leave in the order in which they were pushed, so a run depends on nothing but its
//! inputs. The heap stands behind this small type so that a timing wheel can take its place.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use unamed_protocol::Instant;

/// Events ordered by time, then by the order of pushing.
#[derive(Debug)]
pub struct EventQueue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
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
    /// Reversed: `BinaryHeap` gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
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
        self.heap.push(Entry { at, sequence, item });
    }

    /// Takes the earliest event.
    pub fn pop(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.item))
    }

    /// When the earliest event is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// How many events are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
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
}
