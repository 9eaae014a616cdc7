//! A table by [`Position`]: stream by stream, so that the numbers of one stream are compared as numbers.

use alloc::collections::BTreeMap;

use super::Position;
use crate::{Instance, PeerId};

type Stream = (PeerId, Instance, u64);

/// Values by position.
#[derive(Clone, Debug)]
pub(super) struct Positions<V> {
    /// By sequence number; none is empty.
    streams: BTreeMap<Stream, BTreeMap<u64, V>>,
}

const fn stream(at: &Position) -> Stream {
    (at.author, at.instance, at.stream)
}

impl<V: Copy> Positions<V> {
    pub(super) const fn new() -> Self {
        Self { streams: BTreeMap::new() }
    }

    pub(super) fn get(&self, at: &Position) -> Option<V> {
        self.streams.get(&stream(at))?.get(&at.sequence).copied()
    }

    pub(super) fn contains(&self, at: &Position) -> bool {
        self.get(at).is_some()
    }

    pub(super) fn insert(&mut self, at: &Position, value: V) {
        self.streams.entry(stream(at)).or_default().insert(at.sequence, value);
    }

    pub(super) fn remove(&mut self, at: &Position) -> Option<V> {
        let numbers = self.streams.get_mut(&stream(at))?;
        let removed = numbers.remove(&at.sequence);
        if numbers.is_empty() {
            self.streams.remove(&stream(at));
        }
        removed
    }

    /// The highest number below `at` in its stream.
    pub(super) fn last_before(&self, at: &Position) -> Option<u64> {
        let numbers = self.streams.get(&stream(at))?;
        numbers.range(..at.sequence).next_back().map(|(sequence, _)| *sequence)
    }

    /// The values at and after `at` in its stream, in order.
    pub(super) fn from(&self, at: &Position) -> impl Iterator<Item = V> {
        let numbers = self.streams.get(&stream(at));
        numbers.into_iter().flat_map(|numbers| numbers.range(at.sequence..)).map(|(_, value)| *value)
    }
}

#[cfg(test)]
impl<V> Positions<V> {
    /// Values in all.
    pub(super) fn len(&self) -> usize {
        self.streams.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::rooms::testing::at;

    #[test]
    fn streams_are_apart_and_an_empty_one_is_forgotten() {
        let mut positions = Positions::new();
        for (stream, sequence) in [(0, 1), (0, 3), (0, u64::MAX), (1, 2)] {
            positions.insert(&at(1, stream, sequence), sequence);
        }
        assert_eq!(positions.from(&at(1, 0, 2)).collect::<Vec<_>>(), [3, u64::MAX]);
        assert_eq!(positions.from(&at(2, 0, 0)).next(), None);
        assert_eq!(
            [0, 1, 3].map(|sequence| positions.last_before(&at(1, 0, sequence))),
            [None, None, Some(1)]
        );
        assert_eq!((positions.get(&at(1, 1, 2)), positions.contains(&at(1, 1, 3))), (Some(2), false));
        assert_eq!((positions.remove(&at(1, 1, 2)), positions.remove(&at(1, 1, 2))), (Some(2), None));
        assert_eq!(positions.streams.len(), 1);
    }
}
