//! Copies of messages, kept for repair and forwarding: for a time, and under a byte cap, oldest dropped first.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::positions::Positions;
use super::{Position, charge};
use crate::time::Duration;
use crate::wire::message::StreamMark;
use crate::{Instant, MessageId, PeerId, RoomConfig};

/// A kept message. `M` is what its owner needs to send it again: header, signature, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<M> {
    /// Its id.
    pub id: MessageId,
    /// Where it stands.
    pub position: Position,
    /// For whom; empty for all members.
    pub recipients: Vec<PeerId>,
    /// When it was sent or received.
    pub at: Instant,
    /// Bytes of header, signature and body.
    pub bytes: usize,
    /// The message.
    pub message: M,
}

impl<M> Kept<M> {
    /// Whether `peer` is among the recipients and not the author.
    #[must_use]
    pub fn is_for(&self, peer: PeerId) -> bool {
        peer != self.position.author && (self.recipients.is_empty() || self.recipients.contains(&peer))
    }

    fn charged(&self) -> usize {
        charge(self.bytes).saturating_add(self.recipients.len().saturating_mul(32))
    }
}

/// Kept messages of one room, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Retention<M> {
    retain: Duration,
    bytes_max: usize,
    bytes: usize,
    entries: VecDeque<Kept<M>>,
    /// The running number of the next entry.
    end: u64,
    by_id: BTreeMap<MessageId, u64>,
    by_position: Positions<u64>,
}

impl<M> Retention<M> {
    /// Keeps messages for `retain` and under `retain_bytes_max` of the configuration.
    #[must_use]
    pub const fn new(config: &RoomConfig) -> Self {
        Self {
            retain: config.retain,
            bytes_max: config.retain_bytes_max,
            bytes: 0,
            entries: VecDeque::new(),
            end: 0,
            by_id: BTreeMap::new(),
            by_position: Positions::new(),
        }
    }

    /// Keeps a message; the oldest give way. `false` if it is kept already, another stands at its position, or it is
    /// larger than the cap alone.
    pub fn insert(&mut self, kept: Kept<M>) -> bool {
        let charged = kept.charged();
        if charged > self.bytes_max
            || self.by_id.contains_key(&kept.id)
            || self.by_position.contains(&kept.position)
        {
            return false;
        }
        while self.bytes.saturating_add(charged) > self.bytes_max {
            self.drop_oldest();
        }
        self.by_id.insert(kept.id, self.end);
        self.by_position.insert(&kept.position, self.end);
        self.end = self.end.saturating_add(1);
        self.bytes = self.bytes.saturating_add(charged);
        self.entries.push_back(kept);
        true
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.entries.pop_front() {
            self.by_id.remove(&kept.id);
            self.by_position.remove(&kept.position);
            self.bytes = self.bytes.saturating_sub(kept.charged());
        }
    }

    /// The running number of the first entry.
    fn first(&self) -> u64 {
        self.end.saturating_sub(self.entries.len() as u64)
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first())?).ok()
    }

    fn numbered(&self, number: u64) -> Option<&Kept<M>> {
        self.entries.get(self.index(number)?)
    }

    /// Drops what was kept for its time; how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let before = self.entries.len();
        while self.next_deadline().is_some_and(|at| at <= now) {
            self.drop_oldest();
        }
        before.saturating_sub(self.entries.len())
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.entries.front().map(|kept| kept.at + self.retain)
    }

    /// A message by its id.
    #[must_use]
    pub fn get(&self, id: &MessageId) -> Option<&Kept<M>> {
        self.numbered(*self.by_id.get(id)?)
    }

    /// A message by its id, to complete it (a signature made when first needed). Its size must not change.
    pub fn message_mut(&mut self, id: &MessageId) -> Option<&mut M> {
        let index = self.index(*self.by_id.get(id)?)?;
        self.entries.get_mut(index).map(|kept| &mut kept.message)
    }

    /// Whether a message is kept.
    #[must_use]
    pub fn contains(&self, id: &MessageId) -> bool {
        self.by_id.contains_key(id)
    }

    /// All messages, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Kept<M>> {
        self.entries.iter()
    }

    /// The running number that the next message gets. It never falls.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Messages for `peer` that came when [`end`](Self::end) was `since` or later, oldest first: what a digest of recent
    /// ids lists.
    pub fn newer_for(&self, peer: PeerId, since: u64) -> impl Iterator<Item = &Kept<M>> {
        let skipped = usize::try_from(since.saturating_sub(self.first())).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).filter(move |kept| kept.is_for(peer))
    }

    /// What `peer` lacks of the streams that its marks name, in the order in which it came.
    #[must_use]
    pub fn missing_for(&self, peer: PeerId, marks: &[StreamMark]) -> Vec<&Kept<M>> {
        let mut numbers = BTreeSet::new();
        for mark in marks {
            let from = Position {
                author: mark.author,
                instance: mark.instance,
                stream: mark.stream,
                sequence: mark.next,
            };
            numbers.extend(self.by_position.from(&from));
        }
        numbers.into_iter().filter_map(|n| self.numbered(n)).filter(|kept| kept.is_for(peer)).collect()
    }

    /// Bytes kept, entries included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::NetworkId;
    use crate::rooms::ENTRY_BYTES;
    use crate::rooms::testing::{at, boot, id, peer};

    fn config(messages: usize) -> RoomConfig {
        let mut config = crate::Config::client(NetworkId::default()).rooms;
        config.retain = Duration::from_secs(120);
        config.retain_bytes_max = messages * (ENTRY_BYTES + 10);
        config
    }

    fn kept(position: Position, secs: u64) -> Kept<u64> {
        Kept {
            id: id(position),
            position,
            recipients: Vec::new(),
            at: Instant::from_secs(secs),
            bytes: 10,
            message: position.sequence,
        }
    }

    fn mark(author: u8, stream: u64, next: u64) -> StreamMark {
        StreamMark { author: peer(author), instance: boot(1), stream, next }
    }

    #[test]
    fn the_oldest_give_way_to_bytes_and_to_time() {
        let mut retention = Retention::new(&config(2));
        assert!((0..3).all(|n| retention.insert(kept(at(1, 0, n), n))));
        assert!(!retention.insert(kept(at(1, 0, 2), 9)), "twice");
        let mut large = kept(at(1, 0, 9), 9);
        large.bytes = 1000;
        assert!(!retention.insert(large), "larger than the cap");
        assert_eq!((retention.len(), retention.contains(&id(at(1, 0, 0)))), (2, false));
        assert_eq!(retention.get(&id(at(1, 0, 2))).map(|kept| kept.message), Some(2));
        assert_eq!(retention.next_deadline(), Some(Instant::from_secs(121)));
        assert_eq!(retention.expire(Instant::from_secs(121)), 1);
        assert_eq!(retention.next_deadline(), Some(Instant::from_secs(122)));
        assert_eq!(retention.expire(Instant::from_secs(500)), 1);
        assert_eq!((retention.bytes(), retention.next_deadline()), (0, None));
    }

    #[test]
    fn only_recipients_get_what_their_marks_lack() {
        let mut retention = Retention::new(&config(100));
        for n in 0..4 {
            retention.insert(kept(at(1, 0, n), n));
            let mut directed = kept(at(1, 5, n), n);
            directed.recipients = vec![peer(3)];
            retention.insert(directed);
        }
        let lacking = |who, marks: &[StreamMark]| -> Vec<_> {
            let list = retention.missing_for(peer(who), marks);
            list.iter().map(|kept| (kept.position.stream, kept.message)).collect()
        };
        assert_eq!(
            lacking(3, &[mark(1, 5, 3), mark(1, 0, 2), mark(1, 0, 3)]),
            [(0, 2), (0, 3), (5, 3)],
            "in the order of arrival, each once"
        );
        assert_eq!(lacking(2, &[mark(1, 5, 0), mark(1, 0, 3)]), [(0, 3)]);
        assert_eq!(lacking(1, &[mark(1, 0, 0)]), [], "the author lacks nothing of its own");
        assert_eq!(lacking(3, &[mark(1, 0, u64::MAX), mark(2, 0, 0)]), []);
        let newer: Vec<_> = retention.newer_for(peer(2), 4).map(|kept| kept.message).collect();
        assert_eq!((newer, retention.end()), (vec![2, 3], 8));
    }

    proptest! {
        /// Whatever comes and goes, the tables agree and the bound holds.
        #[test]
        fn tables_agree(steps in prop::collection::vec((0_u8..3, 0_u64..40, 0_u64..30), 0..200)) {
            let config = config(5);
            let mut retention = Retention::new(&config);
            let mut now = 0;
            for (author, sequence, wait) in steps {
                now += wait;
                retention.expire(Instant::from_secs(now));
                retention.insert(kept(at(author, 0, sequence), now));
                prop_assert!(retention.bytes() <= config.retain_bytes_max);
                prop_assert_eq!(retention.by_id.len(), retention.len());
                prop_assert_eq!(retention.by_position.len(), retention.len());
                prop_assert_eq!(retention.bytes(), retention.iter().map(Kept::charged).sum::<usize>());
                for kept in retention.iter() {
                    prop_assert_eq!(retention.get(&kept.id), Some(kept));
                    prop_assert!(now - kept.at.as_millis() / 1000 < 120);
                }
            }
        }
    }
}
