//! From a member's claim to a link: a connect request through its home, then a dial or a circuit.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::clock::Timer;
use super::links::DialFor;
use super::metrics::Counter;
use super::requests::{Answer, Content, Request, Task};
use crate::routing::key::home_id;
use crate::wire::message::{Connect, ConnectAnswer, ConnectReply, ConnectRequest, Purpose};
use crate::wire::{Routed, decode_body, encode_body};
use crate::{Duration, Instant, PeerId, RoomId};

/// How long a connect request may take on its way.
const CONNECT_TTL: Duration = Duration::from_secs(30);
/// When a member whose homes said that it is not there is looked for among its room's claims.
const DENIED_PUBLISH: Duration = Duration::from_secs(20);
/// How long the other end may take to dial, once it said that it would.
const DIAL_BACK: Duration = Duration::from_secs(3);

impl Node {
    /// Sees to a link with a member: proves the room on a link that exists, else asks for one.
    pub(super) fn connect_member(&mut self, room: RoomId, peer: PeerId, now: Instant) {
        let Some(state) = self.rooms.get(&room) else { return };
        let Some(member) = state.members.get(&peer) else { return };
        if member.link.is_some() {
            return;
        }
        let (homes, tries, home) = (member.claim.homes().to_vec(), member.tries, member.home_to_ask());
        if self.peers.contains_key(&peer) {
            return self.send_proof(room, peer, true, now);
        }
        if self.dialing.contains_key(&peer) || self.connecting.contains(&peer) {
            return;
        }
        if homes.contains(&peer)
            && tries == 0
            && let Some(address) = self.address_of(peer)
            && self.dial(&address, DialFor::Room, now).is_some()
        {
            return;
        }
        match home {
            Some(home) => self.ask_for_link(
                room,
                peer,
                home,
                usize::try_from(tries).is_ok_and(|tries| tries >= homes.len()),
                now,
            ),
            None => self.connect_failed(peer, now),
        }
    }

    /// Asks a member for a link through one of its homes: in two attempts while each home is asked for the first time.
    fn ask_for_link(&mut self, room: RoomId, peer: PeerId, home: PeerId, again: bool, now: Instant) {
        let Some(claim) = self.own_claim(room) else { return self.connect_failed(peer, now) };
        let told = self
            .rooms
            .get(&room)
            .and_then(|state| state.members.get(&peer))
            .is_some_and(|member| member.told);
        let claim = if told { Bytes::new() } else { claim };
        let id = self.mint_request();
        let request = ConnectRequest {
            id,
            origin: self.me,
            target: peer,
            home,
            room,
            expiry_ms: self.unix_ms.saturating_add(CONNECT_TTL.as_millis() as u64),
            claim,
            home_claim: self.own_home.as_ref().map(|claim| claim.bytes().clone()),
        };
        let signed =
            Connect::make(&request, self.identity.secret(), self.crypto.as_ref(), &self.config.network);
        self.connecting.insert(peer);
        let task = Task::Connect { room, peer };
        let payload = Bytes::from(encode_body(&signed));
        let request = Request {
            target: Some(peer),
            attempt: u8::from(again),
            ..Request::new(task, Purpose::Connect, home_id(home), payload, now)
        };
        self.start_request(id, request, now);
    }

    /// A connect request reached its target, this node.
    pub(super) fn connect_requested(&mut self, packet: &Routed, now: Instant) {
        let Some((request, hash)) = self.checked_connect(packet, now) else {
            return self.metrics.count(Counter::ConnectsInvalid);
        };
        let known = !request.claim.is_empty() || self.knows_member(request.room, request.origin, now);
        let member = known && self.rooms.contains_key(&request.room);
        let mut dials = false;
        if member {
            if !request.claim.is_empty() {
                self.learn_claims(core::slice::from_ref(&request.claim), now);
            }
            let origin_home = request
                .home_claim
                .as_ref()
                .and_then(|claim| self.learn_home(claim, Some(request.origin), now));
            if !self.is_service()
                && origin_home == Some(request.origin)
                && let Some(address) = self.address_of(request.origin)
            {
                dials = self.dial(&address, DialFor::Room, now).is_some()
                    || self.dialing.contains_key(&request.origin);
            }
            if self.peers.contains_key(&request.origin) {
                dials = true;
                self.send_proof(request.room, request.origin, true, now);
            }
        }
        let reply = ConnectReply {
            id: request.id,
            origin: request.origin,
            target: self.me,
            request_hash: hash,
            accept: member && self.farewell.is_none(),
            home_claim: self.own_home.as_ref().map(|claim| claim.bytes().clone()),
            dials,
        };
        let answer =
            ConnectAnswer::make(&reply, self.identity.secret(), self.crypto.as_ref(), &self.config.network);
        self.reply(packet, encode_body(&answer), now);
    }

    /// A request that names this node and its origin, is signed by it, current, and carries its claim of the room.
    fn checked_connect(&mut self, packet: &Routed, now: Instant) -> Option<(ConnectRequest, [u8; 32])> {
        let connect: Connect = decode_body(&packet.payload).ok()?;
        let request = connect.open(self.crypto.as_ref(), &self.config.network).ok()?;
        let tolerance = self.config.routing.clock_tolerance.as_millis() as u64;
        let current = request.expiry_ms.saturating_add(tolerance) >= self.unix_ms
            && request.expiry_ms <= self.unix_ms.saturating_add(tolerance + CONNECT_TTL.as_millis() as u64);
        let named = request.target == self.me
            && request.id == packet.request
            && packet.route.get(0) == Some(request.origin);
        if !named || !current {
            return None;
        }
        if !request.claim.is_empty() {
            let claim = self.checked_claim(&request.claim, now)?;
            let matches = claim.peer() == request.origin && claim.room_id() == request.room;
            return matches.then(|| (request, connect.hash()));
        }
        Some((request, connect.hash()))
    }

    /// The answer to a connect request of this node.
    pub(super) fn connect_ended(&mut self, room: RoomId, peer: PeerId, answer: &Answer, now: Instant) {
        self.connecting.remove(&peer);
        if self.peers.contains_key(&peer) || !self.rooms.contains_key(&room) {
            return self.connect_member(room, peer, now);
        }
        let Content::Connect(content) = &answer.content else {
            self.note_denial(room, peer, answer);
            return self.connect_failed(peer, now);
        };
        let Some(reply) = self.checked_reply(peer, answer, content) else {
            self.metrics.count(Counter::ConnectsInvalid);
            return self.connect_failed(peer, now);
        };
        if let Some(home) = &content.home {
            self.learn_home(home, Some(peer), now);
        }
        if !reply.accept {
            if let Some(member) = self.rooms.get_mut(&room).and_then(|state| state.members.get_mut(&peer)) {
                member.told = false;
            }
            return self.connect_failed(peer, now);
        }
        if reply.dials {
            return self.timers.set(Timer::Connect(room, peer), now + DIAL_BACK);
        }
        let dialable = reply.home_claim.as_ref().and_then(|claim| self.learn_home(claim, Some(peer), now));
        if dialable == Some(peer) {
            let dialled = self.address_of(peer).and_then(|address| self.dial(&address, DialFor::Room, now));
            if dialled.is_some() || self.dialing.contains_key(&peer) {
                return;
            }
        }
        let route: Vec<PeerId> = answer.route.iter().skip(1).map(|hop| hop.peer).collect();
        let pending = self.dialing.contains_key(&peer);
        if !pending && self.open_circuit(&route, room, now).is_none() {
            self.connect_failed(peer, now);
        }
    }

    /// A home that answers for itself, and has not the member, need not be asked again before the member names it anew.
    fn note_denial(&mut self, room: RoomId, peer: PeerId, answer: &Answer) {
        let Some(home) = answer.route.last().map(|hop| hop.peer).filter(|home| home_id(*home) == answer.key)
        else {
            return;
        };
        let member = self.rooms.get_mut(&room).and_then(|state| state.members.get_mut(&peer));
        if let Some(member) = member.filter(|member| member.claim.homes().contains(&home)) {
            member.denied.insert(home);
        }
    }

    fn checked_reply(&self, peer: PeerId, answer: &Answer, content: &ConnectAnswer) -> Option<ConnectReply> {
        let connect: Connect = decode_body(&answer.payload).ok()?;
        let reply = content.open(self.crypto.as_ref(), &self.config.network).ok()??;
        let named = reply.id == answer.id
            && reply.origin == self.me
            && reply.target == peer
            && reply.request_hash == connect.hash();
        named.then_some(reply)
    }

    /// A member could not be linked this time; it is tried again later, through its next home.
    pub(super) fn connect_failed(&mut self, peer: PeerId, now: Instant) {
        let (first, most) = self.config.rooms.connect_backoff;
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            let Some(state) = self.rooms.get_mut(&room) else { continue };
            // The linked members take turns: the first that reaches it tells the others.
            let linked = state.members.values().filter(|member| member.link.is_some()).count();
            let share = u32::try_from(linked).unwrap_or(1).max(1);
            let Some(member) = state.members.get_mut(&peer).filter(|member| member.link.is_none()) else {
                continue;
            };
            // Through each home at once, then through one at a time with a pause that doubles.
            let homes = u32::try_from(member.claim.homes().len()).unwrap_or(1).max(1);
            member.tries = member.tries.saturating_add(1);
            let next_home = member.tries < homes && !member.is_denied();
            let round = member.tries.saturating_sub(homes) / homes;
            member.failed = !next_home || member.failed;
            let pause = if next_home {
                Duration::from_millis(50)
            } else if member.is_denied() {
                self.config.rooms.connect_denied
            } else {
                first.saturating_mul(1 << round.min(10)).min(most.saturating_mul(share))
            };
            if member.is_denied() {
                // Where holders have changed, too, nobody may have told of its newer claim: they are asked.
                self.timers.set_earlier(Timer::Publish(room), now + self.random.jittered(DENIED_PUBLISH));
            }
            let pause = self.random.jittered(pause);
            self.timers.set(Timer::Connect(room, peer), now + pause);
            self.check_joined(room, now);
        }
    }
}
