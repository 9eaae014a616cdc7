//! Own messages in one room: their streams and numbers, and copies for repair.
//!
//! A directed stream is named by the hash of its recipients, so author and recipients name it alike without an
//! agreement. Directed streams beyond the bound are forgotten, the least recently used first; see
//! [generations](super#generations) for what keeps their numbers from coming again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::retention::{Kept, Retention};
use super::{ALL, Position, STREAMS_ON_WIRE, first_of, generation};
use crate::crypto::sha256;
use crate::wire::message::{StreamMark, StreamNext};
use crate::{Instance, Instant, MessageId, PeerId, RoomConfig};

/// The first eight bytes, little-endian, of the SHA-256 of the sorted ids, each once.
pub(super) fn hash_of_sorted(peers: &[PeerId]) -> u64 {
    let mut sorted: Vec<&[u8]> = peers.iter().map(|peer| peer.as_bytes().as_slice()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let hash = sha256(&sorted);
    hash.iter().take(8).rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// The stream of messages to these recipients, in any order: [`ALL`] for none, never [`ALL`] otherwise.
///
/// A receiver checks it against the header: a stream that is not that of its recipients is refused.
#[must_use]
pub fn stream_id(recipients: &[PeerId]) -> u64 {
    match recipients {
        [] => ALL,
        [_, ..] => hash_of_sorted(recipients).max(1),
    }
}

/// Stream and number of a message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The stream.
    pub stream: u64,
    /// The number.
    pub sequence: u64,
}

#[derive(Clone, Debug)]
struct OwnStream {
    next: u64,
    /// Empty for all members.
    recipients: Vec<PeerId>,
    /// Counts uses, to find the least recent.
    used: u64,
}

/// Own streams and messages in one room.
#[derive(Clone, Debug)]
pub struct Outbox<M> {
    author: PeerId,
    instance: Instance,
    /// Above the generation of every forgotten stream: where a stream that is not remembered starts.
    floor: u32,
    streams: BTreeMap<u64, OwnStream>,
    directed_max: usize,
    uses: u64,
    /// The running number of the first message for each peer. The oldest is forgotten: those messages are gone soonest.
    baselines: BTreeMap<PeerId, u64>,
    baselines_max: usize,
    retained: Retention<M>,
}

impl<M> Outbox<M> {
    /// The outbox of a room that `author` joined in this `instance`.
    ///
    /// `generation` is 0, or what [`next_generation`](Self::next_generation) gave when the room was left earlier in the
    /// same instance. Streams are bounded by `streams_max` (2 to [`STREAMS_ON_WIRE`]).
    #[must_use]
    pub fn new(author: PeerId, instance: Instance, generation: u32, config: &RoomConfig) -> Self {
        let all = OwnStream { next: first_of(generation), recipients: Vec::new(), used: 0 };
        Self {
            author,
            instance,
            floor: generation,
            streams: BTreeMap::from([(ALL, all)]),
            directed_max: config.streams_max.clamp(2, STREAMS_ON_WIRE).saturating_sub(1),
            uses: 0,
            baselines: BTreeMap::new(),
            baselines_max: config.mesh_max.saturating_mul(4).max(4),
            retained: Retention::new(config),
        }
    }

    /// The generation with which this room's outbox must be made if the room is left and joined again.
    #[must_use]
    pub fn next_generation(&self) -> u32 {
        let used = self.streams.values().map(|stream| generation(stream.next).saturating_add(1)).max();
        used.unwrap_or(0).max(self.floor)
    }

    /// Where the next message to `recipients` (in any order, empty for all) will stand. Takes nothing: a message that is
    /// not sent after all leaves no gap.
    #[must_use]
    pub fn slot(&self, recipients: &[PeerId]) -> Slot {
        let stream = stream_id(recipients);
        let sequence = self.streams.get(&stream).map_or(first_of(self.floor), |own| own.next);
        Slot { stream, sequence }
    }

    /// Takes the slot and keeps the message for repair; its position.
    ///
    /// `slot` is what [`slot`](Self::slot) gave for these recipients, `bytes` what the message takes on the wire.
    pub fn sent(
        &mut self,
        slot: Slot,
        recipients: &[PeerId],
        id: MessageId,
        bytes: usize,
        message: M,
        now: Instant,
    ) -> Position {
        if slot.stream != ALL && !self.streams.contains_key(&slot.stream) {
            self.make_room();
        }
        self.uses = self.uses.saturating_add(1);
        let own = self.streams.entry(slot.stream).or_insert_with(|| OwnStream {
            next: slot.sequence,
            recipients: recipients.to_vec(),
            used: 0,
        });
        own.used = self.uses;
        own.next = own.next.max(slot.sequence.saturating_add(1));
        let position = Position {
            author: self.author,
            instance: self.instance,
            stream: slot.stream,
            sequence: slot.sequence,
        };
        let recipients = recipients.to_vec();
        self.retained.insert(Kept { id, position, recipients, at: now, bytes, message });
        position
    }

    fn make_room(&mut self) {
        while self.streams.len() > self.directed_max {
            let directed = self.streams.iter().filter(|(id, _)| **id != ALL);
            let Some(id) = directed.min_by_key(|(_, own)| own.used).map(|(id, _)| *id) else {
                return;
            };
            if let Some(own) = self.streams.remove(&id) {
                self.floor = self.floor.max(generation(own.next).saturating_add(1));
            }
        }
    }

    /// Where the streams towards `peer` stand, for the proof: [`ALL`] first, then by recent use; at most
    /// [`STREAMS_ON_WIRE`].
    #[must_use]
    pub fn nexts_for(&self, peer: PeerId) -> Vec<StreamNext> {
        let towards = |own: &OwnStream| own.recipients.is_empty() || own.recipients.contains(&peer);
        let mut streams: Vec<_> = self.streams.iter().filter(|(_, own)| towards(own)).collect();
        streams.sort_by_key(|(id, own)| (**id != ALL, core::cmp::Reverse(own.used)));
        let nexts = streams.iter().map(|(id, own)| StreamNext { stream: **id, next: own.next });
        nexts.take(STREAMS_ON_WIRE).collect()
    }

    /// The running number of the next message: what is sent from here on has this one or a higher one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.retained.end()
    }

    /// What `peer` lacks, in the order in which it was sent, when its proof has come.
    ///
    /// `marks` are those of its proof, all that it has for this author (see
    /// [`Inbox::marks_for`](super::inbox::Inbox::marks_for)). If they do not name this instance, the proof sent to it on
    /// this link is its baseline, and it lacks what was sent since: `told` is what [`end`](Self::end) gave at that time,
    /// `None` if the proof is still to be sent. If they do, it had a baseline before, which is remembered here: it lacks
    /// what is at or after its marks, and of streams that it does not name, all since the baseline.
    pub fn missing_for(&mut self, peer: PeerId, told: Option<u64>, marks: &[StreamMark]) -> Vec<&Kept<M>> {
        let mine = |mark: &&StreamMark| mark.author == self.author && mark.instance == self.instance;
        let from: BTreeMap<u64, u64> =
            marks.iter().filter(mine).map(|mark| (mark.stream, mark.next)).collect();
        if from.is_empty() {
            self.baselines.insert(peer, told.unwrap_or_else(|| self.end()));
            if self.baselines.len() > self.baselines_max {
                let oldest = self.baselines.iter().min_by_key(|(_, end)| **end).map(|(peer, _)| *peer);
                oldest.and_then(|oldest| self.baselines.remove(&oldest));
            }
        }
        let since = self.baselines.get(&peer).copied().unwrap_or(0);
        let lacking =
            |kept: &&Kept<M>| kept.position.sequence >= from.get(&kept.position.stream).copied().unwrap_or(0);
        self.retained.newer_for(peer, since).filter(lacking).collect()
    }

    /// The copies of own messages.
    #[must_use]
    pub const fn retained(&self) -> &Retention<M> {
        &self.retained
    }

    /// The copies of own messages, to expire them or to complete one.
    pub const fn retained_mut(&mut self) -> &mut Retention<M> {
        &mut self.retained
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::NetworkId;
    use crate::rooms::testing::{boot, id, peer};

    fn empty(streams_max: usize, generation: u32) -> Outbox<()> {
        let mut config = crate::Config::client(NetworkId::default()).rooms;
        config.streams_max = streams_max;
        Outbox::new(peer(1), boot(1), generation, &config)
    }

    fn send(outbox: &mut Outbox<()>, recipients: &[PeerId]) -> u64 {
        let slot = outbox.slot(recipients);
        let position =
            Position { author: peer(1), instance: boot(1), stream: slot.stream, sequence: slot.sequence };
        assert_eq!(outbox.sent(slot, recipients, id(position), 1, (), Instant::ZERO), position);
        slot.sequence
    }

    fn sequences(kept: &[&Kept<()>]) -> Vec<u64> {
        kept.iter().map(|kept| kept.position.sequence).collect()
    }

    #[test]
    fn a_stream_is_named_by_its_recipients_in_any_order() {
        assert_eq!(stream_id(&[]), ALL);
        let two = stream_id(&[peer(1), peer(2)]);
        assert_eq!(two, stream_id(&[peer(2), peer(1), peer(2)]));
        assert_ne!(two, stream_id(&[peer(1)]));
        let hash = sha256(&[&[1; 32], &[2; 32]]);
        assert_eq!(two.to_le_bytes(), hash[..8]);
    }

    #[test]
    fn a_slot_is_taken_only_by_sending() {
        let mut outbox = empty(64, 0);
        assert_eq!(outbox.slot(&[]), outbox.slot(&[]));
        assert_eq!([send(&mut outbox, &[]), send(&mut outbox, &[])], [0, 1]);
        assert_eq!(send(&mut outbox, &[peer(2)]), 0);
    }

    #[test]
    fn forgotten_streams_never_reuse_numbers() {
        let mut outbox = empty(2, 0);
        let (to_2, to_3) = (&[peer(2)], &[peer(3)]);
        assert_eq!([send(&mut outbox, to_2), send(&mut outbox, to_2)], [0, 1]);
        assert_eq!(send(&mut outbox, to_3), 0);
        assert_eq!(send(&mut outbox, to_2), 1 << 32);
        assert_eq!(send(&mut outbox, to_3), 1 << 32);
        assert_eq!(send(&mut outbox, to_2), 2 << 32);
        assert_eq!(send(&mut outbox, &[]), 0, "the stream to all is never forgotten");
        assert_eq!(outbox.next_generation(), 3);
        assert_eq!(empty(2, 3).slot(&[]).sequence, 3 << 32);
    }

    #[test]
    fn the_proof_lists_the_stream_to_all_first_and_only_streams_towards_the_peer() {
        let mut outbox = empty(64, 0);
        let (a, b, c) = (vec![peer(2)], vec![peer(2), peer(3)], vec![peer(3)]);
        for recipients in [&a, &b, &c, &a] {
            send(&mut outbox, recipients);
        }
        let nexts: Vec<_> = outbox.nexts_for(peer(2)).iter().map(|next| (next.stream, next.next)).collect();
        assert_eq!(nexts, [(ALL, 0), (stream_id(&a), 2), (stream_id(&b), 1)]);
        for n in 0..100 {
            send(&mut outbox, &[peer(2), peer(100 + n)]);
        }
        assert_eq!(outbox.nexts_for(peer(2)).len(), STREAMS_ON_WIRE);
    }

    #[test]
    fn a_peer_lacks_what_its_marks_or_else_its_baseline_say() {
        let mut outbox = empty(64, 0);
        let to_2 = [peer(2)];
        send(&mut outbox, &[]);
        let told = Some(outbox.end());
        for recipients in [&to_2[..], &[], &[peer(3)]] {
            send(&mut outbox, recipients);
        }
        let mark = |instance, next| StreamMark { author: peer(1), instance, stream: ALL, next };
        let mut missing = |peer, told, marks: &[_]| sequences(&outbox.missing_for(peer, told, marks));
        assert_eq!(missing(peer(5), None, &[mark(boot(1), 0)]), [0, 1], "a baseline that is forgotten");
        assert_eq!(missing(peer(2), told, &[]), [0, 1], "one directed, one to all");
        assert_eq!(missing(peer(2), told, &[mark(boot(1), 1)]), [0, 1], "what was lost");
        assert_eq!(missing(peer(2), None, &[mark(boot(1), 2)]), [0], "a stream of which it knows nothing");
        assert_eq!(missing(peer(2), None, &[mark(boot(1), u64::MAX)]), [0]);
        assert_eq!(missing(peer(4), told, &[]), [1], "no recipient of the directed ones");
        assert_eq!(
            missing(peer(2), None, &[mark(boot(0), 0)]),
            [0; 0],
            "anew, the proof is still to be sent"
        );
        assert_eq!(missing(peer(2), None, &[mark(boot(1), 0)]), [0; 0], "its baseline is that proof");
    }
}
