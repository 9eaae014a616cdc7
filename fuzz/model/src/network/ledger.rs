//! The reference: who joined what and said what, as the applications know it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use unamed_protocol::{Event, JoinOutcome, MessageId, PeerId, RoomId};

/// A message as it was sent.
#[derive(Debug)]
struct Sent {
    room: RoomId,
    from: PeerId,
    payload: Bytes,
    /// Who it is for; all members if nobody is named.
    to: Vec<PeerId>,
    /// How many messages its author had sent before it.
    number: usize,
}

/// What is known of the network from outside.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: BTreeMap<MessageId, Sent>,
    /// Who has ever joined a room.
    joined: BTreeMap<RoomId, BTreeSet<PeerId>>,
    /// What each node got, and the last number of each author by audience.
    heard: BTreeMap<PeerId, BTreeSet<MessageId>>,
    last: BTreeMap<(PeerId, RoomId, PeerId, Vec<PeerId>), usize>,
}

impl Ledger {
    pub(super) fn joined(&mut self, room: RoomId, peer: PeerId) {
        self.joined.entry(room).or_default().insert(peer);
    }

    pub(super) fn sent(
        &mut self,
        id: MessageId,
        room: RoomId,
        from: PeerId,
        payload: Bytes,
        to: Vec<PeerId>,
    ) {
        let number = self.sent.len();
        let sent = Sent { room, from, payload, to, number };
        assert!(self.sent.insert(id, sent).is_none(), "{id:?} is given out twice");
    }

    fn was_in(&self, room: RoomId, peer: PeerId) -> bool {
        self.joined.get(&room).is_some_and(|peers| peers.contains(&peer))
    }

    /// A node told its application something.
    pub(super) fn event(&mut self, at: PeerId, event: &Event) {
        match event {
            Event::Message(message) => {
                let id = message.id;
                let sent = self.sent.get(&id).unwrap_or_else(|| panic!("{message:?}: nobody sent it"));
                let same = sent.room == message.room && sent.from == message.from;
                assert!(same && sent.payload == message.payload, "{message:?} was sent as {sent:?}");
                assert!(
                    sent.from != at && (sent.to.is_empty() || sent.to.contains(&at)),
                    "{message:?} at {at:?}"
                );
                assert!(self.was_in(message.room, at), "{message:?} at {at:?}, which is not in the room");
                let (number, audience) = (sent.number, (at, sent.room, sent.from, sent.to.clone()));
                assert!(self.heard.entry(at).or_default().insert(id), "{message:?} twice at {at:?}");
                let before = self.last.insert(audience, number);
                assert!(before.is_none_or(|before| before < number), "{message:?} out of order at {at:?}");
            }
            Event::MemberJoined { room, peer, .. } | Event::MemberChanged { room, peer, .. } => {
                assert!(*peer != at && self.was_in(*room, *peer), "{event:?} at {at:?}, which never joined");
            }
            Event::RoomJoined { room, outcome: JoinOutcome::Joined { members } } => {
                let strange: Vec<_> = members.iter().filter(|peer| !self.was_in(*room, **peer)).collect();
                assert!(strange.is_empty(), "{event:?} at {at:?}: {strange:?} never joined");
            }
            Event::FindFinished(report) => {
                let strange: Vec<_> =
                    report.members.iter().filter(|peer| !self.was_in(report.room, **peer)).collect();
                assert!(strange.is_empty(), "{report:?} at {at:?}: {strange:?} never joined");
            }
            Event::RoomMerged { room, members } => {
                assert!(members.iter().all(|peer| self.was_in(*room, *peer)), "{event:?} at {at:?}");
            }
            Event::RoomJoined {
                outcome: JoinOutcome::Alone | JoinOutcome::Offline | JoinOutcome::NoneReachable { .. },
                ..
            }
            | Event::RoomLeft { .. }
            | Event::MemberLeft { .. }
            | Event::MessageProgress { .. }
            | Event::SendProgress { .. }
            | Event::MessagesLost { .. }
            | Event::RoomWritable { .. }
            | Event::PrimaryChanged { .. }
            | Event::LinkOpened { .. }
            | Event::LinkClosed { .. }
            | Event::LinkFailed { .. }
            | Event::NewServiceAddress { .. }
            | Event::Online(_)
            | Event::Ready
            | Event::SaveFailed
            | Event::IdentityInUse { .. }
            | Event::ShutDown => {}
        }
    }
}
