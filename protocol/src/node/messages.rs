//! Room messages: from `broadcast` to the links of members, and from links in order to the application.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{BroadcastError, Event, Message as Delivery, Recipients};
use super::circuits::SendToken;
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use super::standing::Offence;
use crate::crypto::{SEAL_OVERHEAD, sha256};
use crate::link::{Class, Outgoing, Sent};
use crate::rooms::forward::{Duties, Forwarding, Pulls, PushSets, duties, push_hash};
use crate::rooms::inbox::{Inbox, Outcome, Released};
use crate::rooms::outbox::{Outbox, stream_id};
use crate::rooms::repair::Repairs;
use crate::rooms::retention::{Kept, Retention};
use crate::rooms::{Position, STREAMS_ON_WIRE};
use crate::wire::message::{
    Announce, Header, Pull, PushSet, RoomProof, SealedBody, SealedCopy, StreamMark, StreamMarks, StreamNext,
};
use crate::wire::{Bounded, Message, RoomMessage, decode_body, encode_body};
use crate::{Instance, Instant, LinkId, MessageId, PeerId, RoomConfig, RoomId};

/// Messages up to this size travel in the class of small ones, ahead of bulk.
const SMALL_MAX: usize = 4 * 1024;
/// Progress is reported for messages larger than this.
const PROGRESS_FROM: usize = 64 * 1024;
/// Room for the header and its framing beside a payload.
const HEADER_ROOM: usize = 4 * 1024;

/// The streams of one room.
#[derive(Debug)]
pub(super) struct Streams {
    outbox: Outbox<RoomMessage>,
    inbox: Inbox<Delivery>,
    /// Signed messages of others, for members that their authors did not reach.
    held: Retention<RoomMessage>,
    push_sets: PushSets,
    pulls: Pulls,
    repairs: Repairs,
    /// To whom own messages go, ascending; and its hash.
    reach: (Vec<PeerId>, u64),
    /// The push set that each link was told last.
    told_reach: BTreeMap<LinkId, u64>,
    /// Where the outbox stood when this node proved itself on a link.
    told_end: BTreeMap<PeerId, (LinkId, u64)>,
    /// The link on which a member's first proof was answered with what it lacked.
    synced: BTreeMap<PeerId, LinkId>,
    /// Messages that came before the join was answered.
    early: Vec<Event>,
    /// A broadcast was refused, and `RoomWritable` is owed.
    busy: bool,
}

impl Streams {
    /// Messages of others that are kept, their bytes, and the bytes of those that wait for earlier ones.
    pub(super) fn held_of_others(&self) -> (usize, usize, usize) {
        (self.held.len(), self.held.bytes(), self.inbox.bytes())
    }

    /// Whose proofs it knows of, or who was shown one.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.told_end.keys().chain(self.synced.keys()).copied()
    }

    pub(super) fn new(me: PeerId, instance: Instance, generation: u32, config: &RoomConfig) -> Self {
        Self {
            outbox: Outbox::new(me, instance, generation, config),
            inbox: Inbox::new(config),
            held: Retention::new(config),
            push_sets: PushSets::new(config),
            pulls: Pulls::new(config),
            repairs: Repairs::default(),
            reach: (Vec::new(), push_hash(&[])),
            told_reach: BTreeMap::new(),
            told_end: BTreeMap::new(),
            synced: BTreeMap::new(),
            early: Vec::new(),
            busy: false,
        }
    }

    /// The generation a later outbox of this room starts with.
    pub(super) fn next_generation(&self) -> u32 {
        self.outbox.next_generation()
    }

    pub(super) fn nexts_for(&self, peer: PeerId) -> Bounded<StreamNext, 64> {
        Bounded::truncated(self.outbox.nexts_for(peer))
    }

    pub(super) fn marks_for(&self, peer: PeerId) -> Bounded<StreamMark, 64> {
        Bounded::truncated(self.inbox.marks_for(peer))
    }

    /// Notes that this node proved itself to `peer` on `link`: what is sent from here on is for it, too.
    pub(super) fn proved_to(&mut self, peer: PeerId, link: LinkId) {
        let end = self.outbox.end();
        if self.told_end.get(&peer).is_none_or(|(told, _)| *told != link) {
            self.told_end.insert(peer, (link, end));
        }
    }

    /// Whether this node proved itself to `peer` on `link` since it joined.
    pub(super) fn has_proved_to(&self, peer: PeerId, link: LinkId) -> bool {
        self.told_end.get(&peer).is_some_and(|(told, _)| *told == link)
    }

    /// The link to a member is gone, and is tried again.
    pub(super) fn unlinked(&mut self, peer: PeerId) {
        self.inbox.author_suspected(peer);
    }

    /// Messages that came before the join was answered.
    pub(super) fn take_early(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.early)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let times = [
            self.inbox.next_deadline(),
            self.repairs.next_question(),
            self.pulls.next_deadline(),
            self.held.next_deadline(),
            self.outbox.retained().next_deadline(),
        ];
        times.into_iter().flatten().min()
    }
}

impl Node {
    pub(super) fn send_broadcast(
        &mut self,
        room: RoomId,
        payload: Bytes,
        recipients: Recipients,
        now: Instant,
    ) -> Result<MessageId, BroadcastError> {
        let recipients = self.checked_recipients(room, recipients)?;
        let max = self.config.link.message_bytes_max.saturating_sub(HEADER_ROOM);
        if payload.len() > max {
            return Err(BroadcastError::TooLarge { max });
        }
        if !self.room_has_space(room, payload.len()) {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.streams.busy = true;
            }
            return Err(BroadcastError::Busy);
        }
        let Some(state) = self.rooms.get(&room) else { return Err(BroadcastError::NotJoined) };
        let wanted = |peer: &PeerId| recipients.is_empty() || recipients.contains(peer);
        let all_reached = state
            .members
            .iter()
            .all(|(peer, member)| !wanted(peer) || member.link.is_some() || member.failed);
        // What cannot go to its recipients over their own links goes over the room, sealed.
        let sealed = !all_reached && !recipients.is_empty();
        let targets: Vec<(PeerId, LinkId)> = state
            .members
            .iter()
            .filter(|(peer, member)| member.present && (sealed || wanted(peer)))
            .filter_map(|(peer, member)| member.link.map(|link| (*peer, link)))
            .collect();
        let reach =
            if recipients.is_empty() || sealed { state.streams.reach.1 } else { push_hash(&recipients) };
        let slot = state.streams.outbox.slot(&recipients);
        let body = if sealed { self.sealed_body(room, &recipients, &payload)? } else { payload };
        // Boxed, since it is kept for repair and shall take no more than its bytes.
        let header = Bytes::from(
            encode_body(&Header {
                room,
                author: self.me,
                instance: self.instance,
                stream: slot.stream,
                sequence: slot.sequence,
                recipients: Bounded::truncated(recipients.iter().copied()),
                push_set: reach,
                body_hash: sha256(&[&body]),
                sealed,
            })
            .into_boxed_slice(),
        );
        let id = MessageId(sha256(&[&header]));
        let mut message = RoomMessage { header, signature: Bytes::new(), body };
        if !all_reached {
            message.sign(self.identity.secret(), self.crypto.as_ref(), &self.config.network);
        }
        let bytes = message.header.len().saturating_add(message.body.len());
        if let Some(state) = self.rooms.get_mut(&room) {
            state.streams.outbox.sent(slot, &recipients, id, bytes, message.clone(), now);
        }
        self.metrics.count(Counter::RoomMessagesSent);
        for (peer, link) in targets {
            self.tell_reach(room, link, now);
            self.push_message(room, id, &message, peer, link, now);
        }
        self.schedule_streams(room, now);
        Ok(id)
    }

    /// A copy of the payload for each recipient, sealed to the key in its claim.
    fn sealed_body(
        &mut self,
        room: RoomId,
        recipients: &[PeerId],
        payload: &Bytes,
    ) -> Result<Bytes, BroadcastError> {
        let max = self.config.link.message_bytes_max.saturating_sub(HEADER_ROOM);
        let each = payload.len().saturating_add(SEAL_OVERHEAD).saturating_add(64);
        if each.saturating_mul(recipients.len()) > max {
            return Err(BroadcastError::TooLarge { max: max / recipients.len().max(1) });
        }
        let mut copies = Vec::with_capacity(recipients.len());
        for to in recipients {
            let ephemeral = self.random.key();
            let member = self.rooms.get(&room).and_then(|state| state.members.get(to));
            let key = member.map(|member| *member.claim.sealing_key());
            let context = seal_context(room, self.me, *to);
            let sealed = key.and_then(|key| self.crypto.seal(&key, &ephemeral, &context, payload));
            let sealed = sealed.ok_or(BroadcastError::UnknownRecipient(*to))?;
            copies.push(SealedCopy { to: *to, sealed: Bytes::from(sealed) });
        }
        Ok(Bytes::from(encode_body(&SealedBody { copies: Bounded::truncated(copies) })))
    }

    /// What a sealed message holds for this node.
    fn unsealed(&self, header: &Header, body: &Bytes) -> Option<Bytes> {
        let sealed: SealedBody = decode_body(body).ok()?;
        let copy = sealed.copies.iter().find(|copy| copy.to == self.me)?;
        let context = seal_context(header.room, header.author, self.me);
        self.crypto.open(&self.sealing_secret, &context, &copy.sealed).map(Bytes::from)
    }

    fn checked_recipients(
        &self,
        room: RoomId,
        recipients: Recipients,
    ) -> Result<Vec<PeerId>, BroadcastError> {
        let Some(state) = self.rooms.get(&room) else { return Err(BroadcastError::NotJoined) };
        let Recipients::Only(mut recipients) = recipients else { return Ok(Vec::new()) };
        recipients.sort_unstable();
        recipients.dedup();
        if recipients.is_empty() {
            return Err(BroadcastError::NoRecipients);
        }
        if recipients.len() > Bounded::<PeerId, 32>::MAX {
            return Err(BroadcastError::TooManyRecipients);
        }
        let unknown = |peer: &&PeerId| !state.members.get(peer).is_some_and(|member| member.present);
        match recipients.iter().find(unknown) {
            Some(unknown) => Err(BroadcastError::UnknownRecipient(*unknown)),
            None => Ok(recipients),
        }
    }

    /// Whether a payload may be queued: under the node's bound, and no member's link is behind with small messages.
    fn room_has_space(&self, room: RoomId, bytes: usize) -> bool {
        let config = &self.config;
        let total = self.queued_bytes.saturating_add(bytes);
        if self.queued_bytes > 0 && total > config.rooms.queued_bytes_max {
            return false;
        }
        let Some(state) = self.rooms.get(&room) else { return false };
        let mut links = state.members.values().filter_map(|member| member.link);
        bytes > SMALL_MAX || links.all(|link| self.link_has_room(link))
    }

    /// Whether a link's queue takes another small message.
    fn link_has_room(&self, link: LinkId) -> bool {
        let session = self.links.get(&link).and_then(|link| link.session.as_ref());
        session.is_none_or(|session| session.has_room(Class::Small, SMALL_MAX + HEADER_ROOM))
    }

    /// Queues a message on a member's link.
    fn push_message(
        &mut self,
        room: RoomId,
        id: MessageId,
        message: &RoomMessage,
        to: PeerId,
        link: LinkId,
        now: Instant,
    ) {
        let (head, body) = message.encode_parts();
        let class = if body.len() <= SMALL_MAX { Class::Small } else { Class::Bulk };
        let entry = self.sending.entry(id).or_insert((body.len(), 0));
        if entry.1 == 0 {
            self.queued_bytes = self.queued_bytes.saturating_add(body.len());
        }
        entry.1 = entry.1.saturating_add(1);
        let token = self.mint_token(SendToken::Room { room, message: id, to, link });
        if !self.queue(link, class, Outgoing { head, body, token: Some(token) }, now) {
            self.tokens.end(token);
            self.room_message_dropped(room, id, now);
        }
    }

    pub(super) fn room_message_sent(
        &mut self,
        room: RoomId,
        id: MessageId,
        to: PeerId,
        sent: Sent,
        now: Instant,
    ) {
        if sent.total > PROGRESS_FROM {
            let (sent, total) = (sent.sent as u64, sent.total as u64);
            self.emit(Event::SendProgress { id, to, sent, total });
        }
        if sent.sent >= sent.total {
            self.room_message_dropped(room, id, now);
        }
    }

    /// A message has left the queue of one of its links.
    pub(super) fn room_message_dropped(&mut self, room: RoomId, id: MessageId, _now: Instant) {
        if let Some((bytes, links)) = self.sending.get_mut(&id) {
            *links = links.saturating_sub(1);
            if *links == 0 {
                self.queued_bytes = self.queued_bytes.saturating_sub(*bytes);
                self.sending.remove(&id);
            }
        }
        let busy = self.rooms.get(&room).is_some_and(|state| state.streams.busy);
        let half = self.config.rooms.queued_bytes_max / 2;
        if busy && self.room_has_space(room, half.min(SMALL_MAX)) && self.queued_bytes <= half {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.streams.busy = false;
            }
            self.emit(Event::RoomWritable { room });
        }
    }

    /// Who is linked in a room changed: own messages name another push set from here on.
    pub(super) fn push_set_changed(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let linked = state.members.iter().filter(|(_, member)| member.link.is_some());
        let peers: Vec<PeerId> = linked.map(|(peer, _)| *peer).collect();
        let hash = push_hash(&peers);
        state.streams.reach = (peers, hash);
        let links: Vec<LinkId> = state.members.values().filter_map(|member| member.link).collect();
        state.streams.told_reach.retain(|link, _| links.contains(link));
    }

    /// Tells a link the current push set before the first message that names it.
    fn tell_reach(&mut self, room: RoomId, link: LinkId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let (peers, hash) = &state.streams.reach;
        if state.streams.told_reach.insert(link, *hash) != Some(*hash) {
            let peers = Bounded::truncated(peers.iter().copied());
            self.send(link, &Message::PushSet(PushSet { room, peers }), now);
        }
    }

    pub(super) fn handle_push_set(&mut self, id: LinkId, set: &PushSet) -> Fate {
        let peer = self.member_on(id, set.room)?;
        if let Some(state) = self.rooms.get_mut(&set.room) {
            state.streams.push_sets.insert(peer, &set.peers);
        }
        Ok(())
    }

    /// A member's link is up and proved: streams begin, or go on where they stopped.
    pub(super) fn streams_linked(
        &mut self,
        room: RoomId,
        peer: PeerId,
        link: LinkId,
        instance: Instance,
        proof: &RoomProof,
        now: Instant,
    ) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let streams = &mut state.streams;
        let released = streams.inbox.expect(peer, instance, &proof.streams, now);
        streams.inbox.author_linked(peer, now);
        let told = streams.told_end.get(&peer).filter(|(told, _)| *told == link).map(|(_, end)| *end);
        let mut lacking: Vec<(MessageId, RoomMessage)> = Vec::new();
        if streams.synced.insert(peer, link) != Some(link) {
            let kept = streams.outbox.missing_for(peer, told, &proof.marks);
            lacking = kept.into_iter().map(|kept| (kept.id, kept.message.clone())).collect();
        }
        self.deliver_released(room, released);
        for (id, message) in lacking {
            self.metrics.count(Counter::RoomMessagesRepaired);
            self.tell_reach(room, link, now);
            self.push_message(room, id, &message, peer, link, now);
        }
        self.schedule_streams(room, now);
    }

    pub(super) fn streams_left(&mut self, room: RoomId, peer: PeerId, now: Instant) {
        if let Some(state) = self.rooms.get_mut(&room) {
            state.streams.inbox.author_left(peer, now);
            state.streams.pulls.peer_left(peer);
            state.streams.repairs.forget(peer);
            state.streams.push_sets.forget(peer);
            state.streams.told_end.remove(&peer);
            state.streams.synced.remove(&peer);
        }
        self.schedule_streams(room, now);
    }

    /// A room message arrived, from its author or from a forwarder.
    pub(super) fn handle_room_message(&mut self, id: LinkId, message: RoomMessage, now: Instant) -> Fate {
        let Ok(header) = decode_body::<Header>(&message.header) else {
            return Err(Counter::RoomMessagesInvalid);
        };
        let peer = self.member_on(id, header.room)?;
        if !self.message_is_sound(&header, &message, peer, id) {
            return Err(Counter::RoomMessagesInvalid);
        }
        let message_id = MessageId(sha256(&[&message.header]));
        let room = header.room;
        if header.sealed && !header.recipients.contains(&self.me) {
            return self.pass_on(&header, message_id, message, peer, now);
        }
        let payload =
            if header.sealed { self.unsealed(&header, &message.body) } else { Some(message.body.clone()) };
        let payload = payload.ok_or(Counter::RoomMessagesInvalid)?;
        let directed = !header.recipients.is_empty();
        let delivery = Delivery { room, from: header.author, id: message_id, directed, payload };
        let state = self.rooms.get_mut(&room).ok_or(Counter::RoomMessagesForeign)?;
        let bytes = message.header.len().saturating_add(message.body.len());
        let accepted = state.streams.inbox.accept(Position::from(&header), message_id, bytes, delivery, now);
        let fate = match accepted.outcome {
            Outcome::Delivered | Outcome::Held { .. } | Outcome::Unproved => {
                state.streams.pulls.received(&message_id);
                if let Outcome::Held { .. } = accepted.outcome {
                    self.ask_for_missing(room, header.author, now);
                } else if accepted.outcome == Outcome::Unproved {
                    self.metrics.count(Counter::RoomMessagesUnproved);
                }
                // Whether it was passed on before does not matter to who took it.
                let _ = self.pass_on(&header, message_id, message, peer, now);
                Ok(())
            }
            Outcome::Duplicate | Outcome::Late | Outcome::Replay => Err(Counter::RoomMessagesDuplicate),
            Outcome::Equivocation => {
                self.offended(header.author, Offence::Equivocation, now);
                Err(Counter::Equivocations)
            }
            Outcome::Overflow => Err(Counter::QueueOverflows),
        };
        let released = Released { author: header.author, lost: accepted.lost, deliver: accepted.deliver };
        self.deliver_released(room, released);
        self.schedule_streams(room, now);
        fate
    }

    /// Whether a message may be delivered: over its author's own link as of its present instance, or signed by a known
    /// member; in the stream of its recipients, this node among them or the message sealed.
    fn message_is_sound(&self, header: &Header, message: &RoomMessage, from: PeerId, id: LinkId) -> bool {
        let for_all = header.recipients.is_empty();
        // A sealed message passes through members that it is not for; it is for some in any case.
        let named = if header.sealed { !for_all } else { for_all || header.recipients.contains(&self.me) };
        if !named || header.stream != stream_id(&header.recipients) || header.author == self.me {
            return false;
        }
        if header.author == from {
            let instance = self.links.get(&id).and_then(|link| link.peer.as_ref()).map(|peer| peer.instance);
            // The id covers the body by this hash alone: else an author could show each member another body under one id.
            return instance == Some(header.instance) && header.body_hash == sha256(&[&message.body]);
        }
        let member =
            self.rooms.get(&header.room).is_some_and(|room| room.members.contains_key(&header.author));
        member && self.is_signed(header, message)
    }

    fn is_signed(&self, header: &Header, message: &RoomMessage) -> bool {
        header.body_hash == sha256(&[&message.body])
            && message.verify(header.author, self.crypto.as_ref(), &self.config.network)
    }

    /// Forwards a signed message to members that its author did not reach, and keeps it for those who ask.
    fn pass_on(
        &mut self,
        header: &Header,
        id: MessageId,
        message: RoomMessage,
        from: PeerId,
        now: Instant,
    ) -> Fate {
        if message.signature.is_empty() || (from == header.author && !self.is_signed(header, &message)) {
            return Err(Counter::RoomMessagesInvalid);
        }
        let state = self.rooms.get_mut(&header.room).ok_or(Counter::RoomMessagesForeign)?;
        let linked: Vec<(PeerId, LinkId)> = state
            .members
            .iter()
            .filter(|(peer, _)| **peer != from)
            .filter_map(|(peer, member)| member.link.map(|link| (*peer, link)))
            .collect();
        let peers: Vec<PeerId> = linked.iter().map(|(peer, _)| *peer).collect();
        let push_set = state.streams.push_sets.get(header.author, header.push_set);
        let directed = (!header.recipients.is_empty()).then_some(&*header.recipients);
        let forwarding = Forwarding {
            id,
            author: header.author,
            recipients: &header.recipients,
            push_set: push_set.or(directed),
        };
        let Duties { push_to, announce_to } = duties(self.me, &peers, forwarding);
        let fresh = state.streams.held.insert(Kept {
            id,
            position: Position::from(header),
            recipients: header.recipients.to_vec(),
            at: now,
            bytes: message.header.len().saturating_add(message.body.len()),
            message: message.clone(),
        });
        if !fresh {
            return Err(Counter::RoomMessagesDuplicate);
        }
        for (peer, link) in linked {
            if push_to.contains(&peer) {
                self.metrics.count(Counter::RoomMessagesForwarded);
                self.push_message(header.room, id, &message, peer, link, now);
            } else if announce_to.contains(&peer) {
                let announce = Announce { room: header.room, messages: Bounded::truncated([id]) };
                self.send(link, &Message::Announce(announce), now);
            }
        }
        Ok(())
    }

    pub(super) fn handle_announce(&mut self, id: LinkId, announce: &Announce, now: Instant) -> Fate {
        let peer = self.member_on(id, announce.room)?;
        let state = self.rooms.get_mut(&announce.room).ok_or(Counter::RoomMessagesForeign)?;
        let streams = &mut state.streams;
        let unseen: Vec<MessageId> = announce
            .messages
            .iter()
            .copied()
            .filter(|id| !streams.inbox.has_seen(id) && !streams.held.contains(id))
            .collect();
        streams.pulls.announced(unseen, peer, now);
        self.schedule_streams(announce.room, now);
        Ok(())
    }

    pub(super) fn handle_pull(&mut self, id: LinkId, pull: &Pull, now: Instant) -> Fate {
        let peer = self.member_on(id, pull.room)?;
        let state = self.rooms.get(&pull.room).ok_or(Counter::RoomMessagesForeign)?;
        let streams = &state.streams;
        let kept = |id: &MessageId| streams.held.get(id).or_else(|| streams.outbox.retained().get(id));
        let found: Vec<(MessageId, RoomMessage)> = pull
            .messages
            .iter()
            .filter_map(|id| kept(id).filter(|kept| kept.is_for(peer)))
            .map(|kept| (kept.id, kept.message.clone()))
            .collect();
        self.resend(pull.room, peer, id, found, now);
        Ok(())
    }

    /// What a member lacks by its marks, of own messages and of signed ones of others.
    pub(super) fn handle_marks(&mut self, id: LinkId, marks: &StreamMarks, now: Instant) -> Fate {
        let peer = self.member_on(id, marks.room)?;
        let state = self.rooms.get_mut(&marks.room).ok_or(Counter::RoomMessagesForeign)?;
        let streams = &mut state.streams;
        if !streams.repairs.answer(peer, now) {
            return Err(Counter::RequestsLimited);
        }
        let mut found = streams.outbox.retained().missing_for(peer, &marks.marks);
        found.extend(streams.held.missing_for(peer, &marks.marks));
        let found = found.into_iter().map(|kept| (kept.id, kept.message.clone())).collect();
        self.resend(marks.room, peer, id, found, now);
        Ok(())
    }

    /// Sends kept messages again, as many as find room: whoever lacks the rest asks again.
    fn resend(
        &mut self,
        room: RoomId,
        peer: PeerId,
        link: LinkId,
        found: Vec<(MessageId, RoomMessage)>,
        now: Instant,
    ) {
        for (id, message) in found {
            let half = self.config.rooms.queued_bytes_max / 2;
            if !self.link_has_room(link) || self.queued_bytes > half {
                return;
            }
            self.metrics.count(Counter::RoomMessagesRepaired);
            self.push_message(room, id, &message, peer, link, now);
        }
    }

    /// Asks for what is missing in the streams of an author, unless that was done just now: the author first, or whoever
    /// is linked, and another member each time.
    fn ask_for_missing(&mut self, room: RoomId, author: PeerId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let linked = |peer: &PeerId| state.members.get(peer).and_then(|member| member.link);
        let own_link = linked(&author);
        let others = state.members.iter().filter(|(peer, _)| **peer != author);
        let links: Vec<LinkId> =
            own_link.into_iter().chain(others.filter_map(|(_, member)| member.link)).collect();
        let Some(before) = state.streams.repairs.ask(author, now) else { return };
        let of_author = state.streams.inbox.all_marks().filter(|mark| mark.author == author);
        let marks: Vec<StreamMark> = of_author.take(STREAMS_ON_WIRE).collect();
        let link = before.checked_rem(links.len()).and_then(|turn| links.get(turn));
        if let (Some(&link), false) = (link, marks.is_empty()) {
            let message = Message::StreamMarks(StreamMarks { room, marks: Bounded::truncated(marks) });
            self.send(link, &message, now);
        }
    }

    /// Asks again about authors of whom messages are still missing.
    fn ask_again(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get(&room) else { return };
        let mut authors: Vec<PeerId> = state.streams.inbox.gaps().map(|gap| gap.author).collect();
        authors.dedup();
        for author in authors {
            self.ask_for_missing(room, author, now);
        }
    }

    /// Gives up gaps whose time has passed, pulls what was announced, and forgets what is old.
    pub(super) fn streams_due(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let streams = &mut state.streams;
        streams.held.expire(now);
        streams.outbox.retained_mut().expire(now);
        let released = streams.inbox.release_due(now);
        let pulls = streams.pulls.due(now);
        for released in released {
            self.deliver_released(room, released);
        }
        self.ask_again(room, now);
        for (peer, ids) in pulls {
            let pull = Pull { room, messages: Bounded::truncated(ids) };
            self.send_to(peer, &Message::Pull(pull), now);
        }
        self.schedule_streams(room, now);
    }

    fn schedule_streams(&mut self, room: RoomId, now: Instant) {
        let next = self.rooms.get_mut(&room).and_then(|state| {
            let Streams { repairs, inbox, .. } = &mut state.streams;
            repairs.settle(|author| inbox.lacks_of(*author));
            state.streams.next_deadline()
        });
        match next {
            Some(at) => self.timers.set(Timer::Streams(room), at.max(now)),
            None => self.timers.clear(Timer::Streams(room)),
        }
    }

    fn deliver_released(&mut self, room: RoomId, released: Released<Delivery>) {
        self.metrics.add(Counter::RoomMessagesDelivered, released.deliver.len() as u64);
        self.metrics.add(Counter::RoomMessagesLost, released.lost);
        let mut events: Vec<Event> = Vec::new();
        if released.lost > 0 {
            events.push(Event::MessagesLost { room, from: released.author, count: released.lost });
        }
        events.extend(released.deliver.into_iter().map(Event::Message));
        let Some(state) = self.rooms.get_mut(&room) else { return };
        if state.joined {
            events.into_iter().for_each(|event| self.emit(event));
        } else if state.streams.early.len() < self.config.rooms.reorder_max {
            state.streams.early.extend(events);
        } else {
            self.metrics.count(Counter::QueueOverflows);
        }
    }
}

/// What is authenticated beside a sealed copy.
fn seal_context(room: RoomId, author: PeerId, to: PeerId) -> [u8; 96] {
    let mut context = [0; 96];
    let parts = [room.as_bytes(), author.as_bytes(), to.as_bytes()];
    for (slot, part) in context.chunks_exact_mut(32).zip(parts) {
        slot.copy_from_slice(part);
    }
    context
}
