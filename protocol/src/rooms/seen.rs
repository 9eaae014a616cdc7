//! The memory of what came: the newest message positions and ids, first in first out.
//!
//! A message enters only after its author is certain, so that a forger cannot keep a message out by its id. The memory
//! is bounded; what falls out of it is still refused by the streams, which only move forward.

use alloc::collections::{BTreeSet, VecDeque};

use super::Position;
use super::positions::Positions;
use crate::MessageId;

/// Positions and ids of the newest messages. Costs about 300 bytes each.
#[derive(Clone, Debug)]
pub struct Seen {
    max: usize,
    order: VecDeque<Position>,
    by_position: Positions<MessageId>,
    ids: BTreeSet<MessageId>,
}

impl Seen {
    /// A memory of at most `max` messages.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, order: VecDeque::new(), by_position: Positions::new(), ids: BTreeSet::new() }
    }

    /// Remembers a message and forgets the oldest beyond the bound. The first id at a position stays.
    pub fn insert(&mut self, at: Position, id: MessageId) {
        if self.by_position.contains(&at) {
            return;
        }
        self.by_position.insert(&at, id);
        self.ids.insert(id);
        self.order.push_back(at);
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.drop_entry(&oldest);
            }
        }
    }

    /// Forgets a message that was given back unused, so that it may come again.
    pub fn remove(&mut self, at: &Position) {
        if self.by_position.contains(at) {
            self.drop_entry(at);
            self.order.retain(|other| other != at);
        }
    }

    fn drop_entry(&mut self, at: &Position) {
        if let Some(id) = self.by_position.remove(at) {
            self.ids.remove(&id);
        }
    }

    /// The id of the message at a position.
    #[must_use]
    pub fn id_at(&self, at: &Position) -> Option<MessageId> {
        self.by_position.get(at)
    }

    /// Whether a message is remembered.
    #[must_use]
    pub fn contains(&self, id: &MessageId) -> bool {
        self.ids.contains(id)
    }

    /// The highest remembered sequence number below `at` in its stream.
    #[must_use]
    pub fn last_before(&self, at: Position) -> Option<u64> {
        self.by_position.last_before(&at)
    }

    /// Most messages remembered.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Number of messages remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::testing::{at, id};

    #[test]
    fn the_oldest_is_forgotten_and_the_first_id_stays() {
        let mut seen = Seen::new(2);
        seen.insert(at(1, 0, 0), id(at(1, 0, 0)));
        seen.insert(at(1, 0, 0), id(at(9, 9, 9)));
        seen.insert(at(1, 0, 1), id(at(1, 0, 1)));
        assert_eq!(seen.id_at(&at(1, 0, 0)), Some(id(at(1, 0, 0))));
        assert!(!seen.contains(&id(at(9, 9, 9))));
        seen.insert(at(1, 5, 2), id(at(1, 5, 2)));
        assert_eq!((seen.len(), seen.id_at(&at(1, 0, 0))), (2, None));
        assert!(!seen.contains(&id(at(1, 0, 0))));
        assert_eq!(seen.last_before(at(1, 0, 7)), Some(1));
        assert_eq!(seen.last_before(at(1, 0, 1)), None);
        assert_eq!(seen.last_before(at(1, 1, 7)), None, "another stream");
        seen.remove(&at(1, 0, 1));
        seen.remove(&at(1, 0, 1));
        assert_eq!((seen.len(), seen.contains(&id(at(1, 0, 1)))), (1, false));
    }
}
