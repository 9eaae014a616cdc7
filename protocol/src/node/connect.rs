//! From a member's claim to a link: a connect request through its home, then a dial or a circuit.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::clock::Timer;
use super::home_claims::KnownHome;
use super::links::DialFor;
use super::metrics::Counter;
use super::requests::{Answer, Content, Request, Task};
use super::rooms::Room;
use crate::crypto::sha256;
use crate::routing::key::home_id;
use crate::wire::message::{Connect, ConnectAbout, ConnectAnswer, ConnectReply, ConnectRequest, Purpose};
use crate::wire::{Routed, decode_body, encode_body};
use crate::{Duration, Instant, PeerId, RoomId};

/// How long a connect request may take on its way.
const CONNECT_TTL: Duration = Duration::from_secs(30);
/// When a member whose homes said that it is not there is looked for among its room's claims: by one that can speak to
/// the others, and by a second one, should the first be about to go.
pub(super) const DENIED_PUBLISH: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];
/// How long whoever is back in the network waits before it asks again for members that were denied: its homes are chosen.
const RETURNED: Duration = Duration::from_secs(1);
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
        let key = home_id(home);
        let request = ConnectRequest {
            about: ConnectAbout { id, origin: self.me, target: peer, key },
            room,
            expiry_ms: self.unix_ms.saturating_add(CONNECT_TTL.as_millis() as u64),
            claim,
            home_claim: self.own_home.as_ref().map(|claim| claim.bytes().clone()),
            home_known: self.homes_known.get(home).map(KnownHome::mark),
        };
        let signed =
            Connect::make(&request, self.identity.secret(), self.crypto.as_ref(), &self.config.network);
        self.connecting.insert(peer);
        let task = Task::Connect { room, peer, home };
        let payload = Bytes::from(encode_body(&signed));
        let routing = &self.config.routing;
        let request = Request {
            target: Some(peer),
            attempt: u8::from(again),
            // Relays that are not trusted were asked through each home already.
            walks_first: again && routing.iterative && routing.read_back,
            ..Request::new(task, Purpose::Connect, key, payload, now)
        };
        self.start_request(id, request, now);
    }

    /// A connect request reached its target, this node.
    pub(super) fn connect_requested(&mut self, packet: &Routed, now: Instant) {
        let Some(request) = self.checked_connect(packet, now) else {
            return self.metrics.count(Counter::ConnectsInvalid);
        };
        let origin = request.about.origin;
        let known = !request.claim.is_empty() || self.knows_member(request.room, origin, now);
        let member = known && self.rooms.contains_key(&request.room);
        let mut dials = false;
        if member {
            if !request.claim.is_empty() {
                self.learn_claims(core::slice::from_ref(&request.claim), now);
            }
            let origin_home =
                request.home_claim.as_ref().and_then(|claim| self.learn_home(claim, Some(origin), now));
            if !self.is_service()
                && origin_home == Some(origin)
                && let Some(address) = self.address_of(origin)
            {
                dials =
                    self.dial(&address, DialFor::Room, now).is_some() || self.dialing.contains_key(&origin);
            }
            if self.peers.contains_key(&origin) {
                dials = true;
                self.send_proof(request.room, origin, true, now);
            }
        }
        let home = packet.route.iter().next_back().and_then(|home| self.homes_known.get(home));
        let reply = ConnectReply {
            request_hash: request.hash(),
            accept: member && self.farewell.is_none(),
            dials,
            home_claim: self.own_home.as_ref().map(|claim| claim.bytes().clone()),
            home_wanted: request.home_known.is_none() || home.map(KnownHome::mark) != request.home_known,
        };
        let answer =
            ConnectAnswer::make(&reply, self.identity.secret(), self.crypto.as_ref(), &self.config.network);
        self.reply(packet, encode_body(&answer), now);
    }

    /// A request that names this node and its origin, is signed by it, current, and carries its claim of the room.
    fn checked_connect(&mut self, packet: &Routed, now: Instant) -> Option<ConnectRequest> {
        let connect: Connect = decode_body(&packet.payload).ok()?;
        let about = ConnectAbout::of(packet).filter(|about| about.target == self.me)?;
        let request = connect.open(about, self.crypto.as_ref(), &self.config.network).ok()?;
        let tolerance = self.config.routing.clock_tolerance.as_millis() as u64;
        let current = request.expiry_ms.saturating_add(tolerance) >= self.unix_ms
            && request.expiry_ms <= self.unix_ms.saturating_add(tolerance + CONNECT_TTL.as_millis() as u64);
        if !current {
            return None;
        }
        if !request.claim.is_empty() {
            let claim = self.checked_claim(&request.claim, now)?;
            return (claim.peer() == about.origin).then_some(request);
        }
        Some(request)
    }

    /// The answer to a connect request of this node.
    pub(super) fn connect_ended(&mut self, room: RoomId, peer: PeerId, answer: &Answer, now: Instant) {
        self.connecting.remove(&peer);
        if self.peers.contains_key(&peer) {
            return self.connect_member(room, peer, now);
        }
        if !self.rooms.get(&room).is_some_and(|state| state.members.contains_key(&peer)) {
            // One of the two has left. Other rooms with this member waited for the attempt.
            return self.connect_failed(peer, now);
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
            for room in self.rooms_without(peer) {
                self.timers.set(Timer::Connect(room, peer), now + DIAL_BACK);
            }
            return;
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
            member.note_denial(home);
        }
    }

    fn checked_reply(&self, peer: PeerId, answer: &Answer, content: &ConnectAnswer) -> Option<ConnectReply> {
        let connect: Connect = decode_body(&answer.payload).ok()?;
        let about = ConnectAbout { id: answer.id, origin: self.me, target: peer, key: answer.key };
        let hash = connect.request(about).ok()?.hash();
        content.reply.as_ref()?.open(hash, peer, self.crypto.as_ref(), &self.config.network).ok()
    }

    /// The rooms in which this member is not linked.
    fn rooms_without(&self, peer: PeerId) -> Vec<RoomId> {
        let without = |state: &Room| state.members.get(&peer).is_some_and(|member| member.link.is_none());
        self.rooms.iter().filter(|(_, state)| without(state)).map(|(room, _)| *room).collect()
    }

    /// A member could not be linked this time; it is tried again later, through its next home.
    pub(super) fn connect_failed(&mut self, peer: PeerId, now: Instant) {
        let (first, most) = self.config.rooms.connect_backoff;
        for room in self.rooms_without(peer) {
            let Some(state) = self.rooms.get_mut(&room) else { continue };
            // The linked members take turns: the first that reaches it tells the others.
            let linked = state.members.values().filter(|member| member.link.is_some()).count();
            let share = u32::try_from(linked).unwrap_or(1).max(1);
            let Some(member) = state.members.get_mut(&peer) else { continue };
            // Through each home at once, then through one at a time with a pause that doubles.
            let homes = u32::try_from(member.claim.homes().len()).unwrap_or(1).max(1);
            member.tries = member.tries.saturating_add(1);
            let denied = member.is_denied();
            let next_home = member.tries < homes && !denied;
            let round = member.tries.saturating_sub(homes) / homes;
            member.failed = !next_home || member.failed;
            let pause = if next_home {
                Duration::from_millis(50)
            } else if denied {
                self.config.rooms.connect_denied
            } else {
                first.saturating_mul(1 << round.min(10)).min(most.saturating_mul(share))
            };
            let pause = self.random.jittered(pause);
            self.timers.set(Timer::Connect(room, peer), now + pause);
            if denied {
                self.look_for_denied(room, peer, now);
            }
            self.check_joined(room, now);
        }
    }

    /// This node is back in the network. Members that were cut off with it have come, or will come, back to the homes that
    /// denied them, with nothing new to be told of: they are asked for again. The last of a pair to come back finds the other.
    pub(super) fn forget_denials(&mut self, now: Instant) {
        for (room, state) in &mut self.rooms {
            for (peer, member) in state.members.iter_mut().filter(|(_, member)| member.link.is_none()) {
                if member.forget_denials() {
                    self.timers.set_earlier(Timer::Connect(*room, *peer), now + RETURNED);
                }
            }
        }
    }

    /// Where holders have changed, too, nobody may have told of the newer claim of a member that its homes deny: they are
    /// asked, by the first two of the linked members in a draw. Whoever links it tells the others.
    fn look_for_denied(&mut self, room: RoomId, peer: PeerId, now: Instant) {
        let Some(state) = self.rooms.get(&room) else { return };
        let place = |member: &PeerId| sha256(&[peer.as_bytes(), member.as_bytes()]);
        let mine = place(&self.me);
        let linked = state.members.iter().filter(|(_, member)| member.link.is_some());
        let before = linked.filter(|(member, _)| place(member) < mine).count();
        if let Some(pause) = DENIED_PUBLISH.get(before) {
            self.timers.set_earlier(Timer::Publish(room), now + self.random.jittered(*pause));
        }
    }
}
