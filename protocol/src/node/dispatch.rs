//! Messages and timers, each to its handler.

use bytes::Bytes;

use super::Node;
use super::clock::Timer;
use super::metrics::Counter;
use super::standing::Offence;
use crate::wire::{DecodeError, Message};
use crate::{Instant, LinkId};

/// What became of a message that came: it was taken, though perhaps not all that is in it, or refused for one reason. Each
/// refused message is counted under its reason, and once.
pub(super) type Fate = Result<(), Counter>;

impl Node {
    /// A message arrived on an established link. It is counted, and if it is refused, for one reason.
    pub(super) fn link_message(&mut self, id: LinkId, bytes: Bytes, now: Instant) {
        self.work.step();
        self.metrics.count(Counter::MessagesReceived);
        if let Err(reason) = self.take_message(id, &bytes, now) {
            self.metrics.count(Counter::MessagesRefused);
            self.metrics.count(reason);
        }
    }

    fn take_message(&mut self, id: LinkId, bytes: &Bytes, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(DecodeError::UnknownKind(_)) => return Err(Counter::MessagesUnknownKind),
            Err(_) => {
                self.offended(peer, Offence::Undecodable, now);
                return Err(Counter::MessagesUndecodable);
            }
        };
        #[cfg(feature = "byzantine")]
        let Some(message) = self.deviate(id, message, now) else { return Ok(()) };
        self.dispatch(id, message, now)
    }

    /// Gives a message to its handler.
    fn dispatch(&mut self, id: LinkId, message: Message, now: Instant) -> Fate {
        match message {
            // Answered inside the session.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Goodbye(goodbye) => self.handle_goodbye(id, &goodbye, now),
            Message::Reasons(reasons) => self.handle_reasons(id, reasons.mask),
            Message::Hello(hello) => self.handle_hello(id, &hello, now),
            Message::Routed(packet) => self.handle_routed(id, packet, now),
            Message::HopAck(ack) => self.handle_hop_ack(id, &ack, now),
            Message::Reply(reply) => self.handle_reply(id, reply, now),
            Message::Replicate(replicate) => self.handle_replicate(id, &replicate, now),
            Message::StoreDigest(digest) => self.handle_digest(id, &digest, now),
            Message::CircuitOpen(open) => self.handle_circuit_open(id, &open, now),
            Message::CircuitOpened(opened) => self.handle_circuit_opened(id, &opened, now),
            Message::CircuitData(data) => self.handle_circuit_data(id, data, now),
            Message::CircuitCredit(credit) => self.handle_circuit_credit(id, &credit, now),
            Message::CircuitReset(reset) => self.handle_circuit_reset(id, &reset, now),
            Message::RoomProof(proof) => self.handle_proof(id, &proof, now),
            Message::RoomRefused(refused) => self.handle_refused(id, &refused, now),
            Message::RoomClaims(claims) => self.handle_room_claims(id, &claims, now),
            Message::RoomLeave(leave) => self.handle_leave(id, &leave, now),
            Message::MemberData(said) => self.handle_member_data(id, &said, now),
            Message::RoomMessage(message) => self.handle_room_message(id, message, now),
            Message::Announce(announce) => self.handle_announce(id, &announce, now),
            Message::Pull(pull) => self.handle_pull(id, &pull, now),
            Message::PushSet(set) => self.handle_push_set(id, &set),
            Message::StreamMarks(marks) => self.handle_marks(id, &marks, now),
            Message::Query(query) => self.handle_query(id, &query, now),
            Message::QueryAnswer(answer) => self.handle_query_answer(id, &answer, now),
            Message::Signal(step) => self.handle_signal(id, step, now),
            Message::IceServers(handed) => self.handle_ice_servers(id, handed),
        }
    }

    /// Fires a timer.
    pub(super) fn fire(&mut self, timer: Timer, now: Instant) {
        self.work.step();
        match timer {
            Timer::Session(id) => self.link_timeout(id, now),
            Timer::Dial(id) => self.fail_link(id, crate::CloseReason::DialTimeout, now),
            Timer::Probe(id) => self.probe_timeout(id, now),
            Timer::Life(id) => self.life_timeout(id, now),
            Timer::Drain(id) => self.drain_timeout(id, now),
            Timer::Circuit(id) => self.circuit_timeout(id, now),
            Timer::Relay(id) => self.relay_due(id, now),
            Timer::Upgrade(peer) => self.upgrade_due(peer, now),
            Timer::Hop(request, attempt) => self.hop_timeout(request, attempt, now),
            Timer::Attempt(request) => self.attempt_timeout(request, now),
            Timer::Retry(request) => self.retry_due(request, now),
            Timer::Walk(request) => self.walk_timeout(request, now),
            Timer::Hello => self.send_hellos(now),
            Timer::Maintain | Timer::Ready => self.maintain(now),
            Timer::SelfLookup if self.is_service() => self.self_lookup_due(now),
            Timer::SelfLookup => self.homes_due(now),
            Timer::Trial => self.try_candidate(now),
            Timer::HomeClaim => self.renew_home_claim(now),
            Timer::Notify => self.send_notifications(now),
            Timer::AntiEntropy => self.anti_entropy(now),
            Timer::Sweep => self.sweep(now),
            Timer::Heal => self.heal(now),
            Timer::Save => self.save(now),
            Timer::Join(room) => self.answer_join(room, now),
            Timer::Publish(room) => self.publish(room, now),
            Timer::Connect(room, peer) => self.connect_member(room, peer, now),
            Timer::Suspect(room, peer) => self.suspect_timeout(room, peer, now),
            Timer::Gossip(room) => self.gossip(room, now),
            Timer::Streams(room) => self.streams_due(room, now),
            Timer::MemberData(room) => self.member_data_due(room, now),
            Timer::Shutdown => self.shutdown_due(now),
        }
    }
}
