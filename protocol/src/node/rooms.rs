//! Joined rooms: join and leave, the own claim, members by their claims and proofs.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{Event, JoinError, JoinOutcome, MemberLeftReason, RoomError, RoomLeftReason};
use super::clock::Timer;
use super::connect::DENIED_PUBLISH;
use super::dispatch::Fate;
use super::member_data::{OwnData, Said};
use super::messages::Streams;
use super::metrics::Counter;
use super::requests::{Answer, Content, Task};
use crate::link::{Class, Peer};
use crate::wire::message::{Publish, Purpose, RoomClaims, RoomLeave, RoomProof, RoomRefused, Withdraw};
use crate::wire::{Bounded, Claim, ClaimTerms, Message, Sequence, Tombstone, decode_body, encode_body};
use crate::{Duration, Instance, Instant, LinkId, PeerId, RoomId, RoomKey};

#[cfg(test)]
mod tests;

/// How long a joiner waits for members that answered but are not linked yet, once one is.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// The list of a member that was linked within this time tells of another part of the room.
const PARTS_MEET: Duration = Duration::from_secs(5);

/// Pause after a publish that nobody answered, or not honestly.
const PUBLISH_AGAIN: Duration = Duration::from_secs(2);

/// Former members remembered.
const LEFT_MAX: usize = 64;

/// One joined room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) key: RoomKey,
    pub(super) public: [u8; 32],
    /// Whether `RoomJoined` was emitted.
    pub(super) joined: bool,
    /// When the room was joined.
    asked: Instant,
    /// The own claim.
    pub(super) claim: Option<Claim>,
    /// Whether a publish was answered since the join.
    published: bool,
    publishing: bool,
    /// Publishes since the join that found nobody.
    lonely: usize,
    /// The pause between renewals that the holder asked for last.
    slow_down: Duration,
    pub(super) members: BTreeMap<PeerId, Box<Member>>,
    /// Who left, and up to which sequence their claims are void.
    left: BTreeMap<PeerId, Sequence>,
    /// Members that joined since the last gossip.
    fresh: BTreeSet<PeerId>,
    /// Members that refused this node because the room is full.
    full: BTreeSet<PeerId>,
    pub(super) streams: Streams,
    /// What this node says of itself.
    pub(super) own_data: OwnData,
}

impl Room {
    /// Whether more members refused this node than took it. A member that refuses may have proved itself before.
    fn is_full(&self) -> bool {
        let took = self.members.iter().filter(|(peer, member)| member.present && !self.full.contains(*peer));
        self.full.len() > took.count()
    }

    /// The claims that a publish names as known: all that last, so that the renewal of one that ends soon comes; but after an
    /// outage once not those of members whose homes deny them, so that the newest comes.
    fn known_claims(&mut self, unix_ms: u64) -> Vec<u64> {
        let mut known = Vec::new();
        for member in self.members.values_mut() {
            if member.is_to_be_sought() {
                member.cut_off = false;
            } else if member.claim.is_current(unix_ms, Duration::ZERO) {
                known.push(member.claim.mark());
            }
        }
        known
    }

    fn joined_s(&self, now: Instant) -> u32 {
        u32::try_from(now.since(self.asked).as_secs()).unwrap_or(u32::MAX)
    }

    /// The members of another part of the room, by the list of `peer`, which was linked just now: it names some whom this
    /// node has not seen for long either, while it has seen others for long. Each is named once.
    fn merged_with(&mut self, peer: PeerId, listed: &[PeerId], now: Instant) -> Vec<PeerId> {
        let long = |member: &Member| member.present_since.is_some_and(|at| now.since(at) >= PARTS_MEET);
        let old = self.members.values().any(|member| member.present && long(member));
        let new = self.members.get(&peer).is_some_and(|member| !long(member));
        let strange =
            |other: &&PeerId| **other != peer && self.members.get(*other).is_some_and(|member| !long(member));
        if !self.joined || !old || !new || !listed.iter().any(|other| strange(&other)) {
            return Vec::new();
        }
        let mut met: Vec<PeerId> = listed.iter().filter(strange).copied().chain([peer]).collect();
        met.sort_unstable();
        met.dedup();
        met.retain(|other| {
            let member = self.members.get_mut(other);
            member.is_some_and(|member| !core::mem::replace(&mut member.merged, true))
        });
        met
    }

    /// Takes a former member's claims up to `void` for void.
    fn note_left(&mut self, peer: PeerId, void: Sequence) {
        if self.left.len() >= LEFT_MAX {
            self.left.pop_first();
        }
        self.left.insert(peer, void);
        self.full.remove(&peer);
    }
}

/// Another member, by its claim.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) claim: Claim,
    /// The link over which it proved that it knows the room.
    pub(super) link: Option<LinkId>,
    /// Its instance, once linked.
    pub(super) instance: Option<Instance>,
    /// Whether the application knows it as a member.
    pub(super) present: bool,
    /// Since when.
    pub(super) present_since: Option<Instant>,
    /// Whether it was told as a member of another part of the room.
    merged: bool,
    /// Whether it was told a claim of this node with the homes that this node has now.
    pub(super) told: bool,
    /// Attempts to link it since it was linked last.
    pub(super) tries: u32,
    /// Whether all its homes were tried in vain.
    pub(super) failed: bool,
    /// Homes of its claim that said themselves that it is not there.
    denied: BTreeSet<PeerId>,
    /// It was unlinked when this node came back from an outage, which may have been its own, too: if its homes deny it, the
    /// next publish asks for its newest claim.
    cut_off: bool,
    /// What it says of itself.
    pub(super) said: Said,
}

impl Member {
    pub(super) fn new(claim: Claim) -> Self {
        Self {
            claim,
            link: None,
            instance: None,
            present: false,
            present_since: None,
            merged: false,
            told: false,
            tries: 0,
            failed: false,
            denied: BTreeSet::new(),
            cut_off: false,
            said: Said::default(),
        }
    }

    /// Takes a newer claim: its homes are worth asking.
    fn renew(&mut self, claim: Claim) {
        self.claim = claim;
        self.failed = false;
        self.denied.clear();
    }

    /// A home of its claim said that it is not there.
    pub(super) fn note_denial(&mut self, home: PeerId) {
        self.denied.insert(home);
    }

    /// This node is back from an outage: its homes are worth asking again; whether one had denied it.
    pub(super) fn forget_denials(&mut self) -> bool {
        self.cut_off = true;
        !core::mem::take(&mut self.denied).is_empty()
    }

    /// The home to ask for it: one after the other, except those that said that it is not there.
    pub(super) fn home_to_ask(&self) -> Option<PeerId> {
        let homes = self.claim.homes();
        let turn = usize::try_from(self.tries).ok()?.checked_rem(homes.len())?;
        let in_turn = || homes.iter().cycle().skip(turn).take(homes.len()).copied();
        in_turn().find(|home| !self.denied.contains(home)).or_else(|| in_turn().next())
    }

    /// Whether two of its homes said that it is not there. Who lives and lost two homes, be it by a partition, has new
    /// ones: the holders tell the others of a claim that names fewer than half of the homes that they knew.
    pub(super) fn is_denied(&self) -> bool {
        let homes = self.claim.homes();
        homes.iter().filter(|home| self.denied.contains(home)).count() >= homes.len().min(2)
    }

    /// Whether its homes deny it after an outage, and the holders of its claim were not asked since. Its homes may have been
    /// wrong: it comes back to them later, or has two links to one of them for a moment, and then a newer claim with the same
    /// homes is all that says so.
    fn is_to_be_sought(&self) -> bool {
        self.cut_off && self.link.is_none() && self.is_denied()
    }
}

impl Node {
    pub(super) fn join_room(&mut self, key: &RoomKey, now: Instant) -> Result<RoomId, JoinError> {
        let public = key.public_key(self.crypto.as_ref());
        let room = RoomKey::room_id(&public);
        if self.farewell.is_some() {
            return Err(JoinError::ShuttingDown);
        }
        if self.rooms.contains_key(&room) {
            return Err(JoinError::AlreadyJoined);
        }
        if self.rooms.len() >= self.config.rooms.joined_max {
            return Err(JoinError::TooManyRooms);
        }
        let generation = self.generations.get(&room).copied().unwrap_or(0);
        let state = Room {
            key: key.clone(),
            public,
            joined: false,
            asked: now,
            claim: None,
            published: false,
            publishing: false,
            lonely: 0,
            slow_down: Duration::ZERO,
            members: BTreeMap::new(),
            left: BTreeMap::new(),
            fresh: BTreeSet::new(),
            full: BTreeSet::new(),
            streams: Streams::new(self.me, self.instance, generation, &self.config.rooms),
            own_data: OwnData::default(),
        };
        self.rooms.insert(room, Box::new(state));
        self.room_order.push(room);
        self.timers.set(Timer::Join(room), now + self.config.rooms.join_timeout);
        if self.primary.is_none() && !self.is_service() {
            self.move_to(Some(room), now);
        }
        self.publish(room, now);
        Ok(room)
    }

    /// Moves this node in the key space.
    fn move_to(&mut self, room: Option<RoomId>, now: Instant) {
        if self.primary == room {
            return;
        }
        let first = self.primary.is_none();
        self.primary = room;
        let location = self.location();
        self.table.relocate(location);
        if !first || room.is_none() {
            self.emit(Event::PrimaryChanged { room: location });
        }
        self.announce_self(now);
        if self.table.links().len() > 0 {
            self.look_up_homes(now);
        }
    }

    pub(super) fn primary_room(&mut self, room: RoomId, now: Instant) -> Result<(), RoomError> {
        if self.is_service() {
            return Err(RoomError::PrimaryFixed);
        }
        if !self.rooms.contains_key(&room) {
            return Err(RoomError::NotJoined);
        }
        self.move_to(Some(room), now);
        Ok(())
    }

    /// The own current claim of a joined room.
    pub(super) fn own_claim(&self, room: RoomId) -> Option<Bytes> {
        self.rooms.get(&room)?.claim.as_ref().map(|claim| claim.bytes().clone())
    }

    /// Whether a member's claim is known in this very form, and hence verified.
    pub(super) fn knows_claim(&self, claim: &Claim) -> bool {
        let member = self.rooms.get(&claim.room_id()).and_then(|room| room.members.get(&claim.peer()));
        member.is_some_and(|member| member.claim.bytes() == claim.bytes())
    }

    /// Whether a current claim of a member is known.
    pub(super) fn knows_member(&self, room: RoomId, peer: PeerId, now: Instant) -> bool {
        let member = self.rooms.get(&room).and_then(|room| room.members.get(&peer));
        let (unix_ms, tolerance) = (self.wall.unix_ms(now), self.config.routing.clock_tolerance);
        member.is_some_and(|member| member.claim.is_current(unix_ms, tolerance))
    }

    /// The homes that an own claim names.
    fn claim_homes(&self) -> Vec<PeerId> {
        let mut homes = if self.is_service() { alloc::vec![self.me] } else { self.homes_or_last() };
        homes.truncate(Claim::HOMES_MAX);
        homes
    }

    /// Publishes the own claim towards the room's id. The answer is the find.
    pub(super) fn publish(&mut self, room: RoomId, now: Instant) {
        let homes = self.claim_homes();
        let asked = self.started && !homes.is_empty() && (self.is_ready() || !self.is_service());
        let sequence = self.next_sequence();
        let issued = self.unix_ms;
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let renewed_after = self.config.routing.republish.max(state.slow_down);
        let life = super::life::claim_life(&self.config, renewed_after);
        let expiry = issued.saturating_add(life.as_millis() as u64);
        if !asked || state.publishing {
            // Published as soon as a home is linked, or when the running publish ends.
            return self.timers.set_earlier(Timer::Publish(room), now + Duration::from_secs(2));
        }
        let terms = ClaimTerms {
            homes,
            replica: 0,
            issued_ms: issued,
            expiry_ms: expiry,
            sequence,
            sealing_key: self.sealing_public,
        };
        let claim =
            Claim::make(&terms, &state.key, &self.identity, self.crypto.as_ref(), &self.config.network);
        let known = Bounded::truncated(state.known_claims(issued));
        let payload = encode_body(&Publish { claim: claim.bytes().clone(), known });
        let rehomed = state.claim.as_ref().is_some_and(|old| old.homes() != claim.homes());
        let news = RoomClaims {
            room,
            joined_s: state.joined_s(now),
            claims: Bounded::truncated([claim.bytes().clone()]),
        };
        // Members that proved themselves while there was no claim to answer with, or one that had ended.
        let before = state.claim.replace(claim);
        let unanswered: Vec<PeerId> = match before.filter(|old| old.expiry_ms() > issued) {
            Some(_) => Vec::new(),
            None => state
                .members
                .iter()
                .filter(|(_, member)| member.link.is_some())
                .map(|(peer, _)| *peer)
                .collect(),
        };
        state.publishing = true;
        if rehomed {
            state.members.values_mut().for_each(|member| member.told = member.link.is_some());
            let links: Vec<LinkId> = state.members.values().filter_map(|member| member.link).collect();
            for link in links {
                self.send(link, &Message::RoomClaims(news.clone()), now);
            }
        }
        for peer in unanswered {
            self.send_proof(room, peer, false, now);
        }
        self.request(Task::Publish { room }, Purpose::Publish, room, None, Bytes::from(payload), None, now);
        self.publish_replicas(room, &terms, now);
    }

    /// Publishes the own claim under the room's other keys.
    fn publish_replicas(&mut self, room: RoomId, terms: &ClaimTerms, now: Instant) {
        for replica in 1..self.replica_keys() {
            let Some(state) = self.rooms.get(&room) else { return };
            let terms = ClaimTerms { replica, ..terms.clone() };
            let (crypto, network) = (self.crypto.as_ref(), &self.config.network);
            let claim = Claim::make(&terms, &state.key, &self.identity, crypto, network);
            let publish = Publish { claim: claim.bytes().clone(), known: Bounded::default() };
            let payload = Bytes::from(encode_body(&publish));
            self.request_replica(Task::PublishReplica { room }, room, replica, payload, now);
        }
    }

    /// A publish under another key ended: its answer may name members that the first one did not.
    pub(super) fn replica_published(&mut self, room: RoomId, answer: &Answer, now: Instant) {
        if let Content::Publish(content) = &answer.content {
            self.learn_sought(&content.claims, now);
        }
        self.read_back_publish(room, answer, now);
    }

    fn learn_sought(&mut self, claims: &[Bytes], now: Instant) {
        for bytes in claims {
            match self.checked_claim(bytes, now) {
                Some(claim) => self.member_found(claim, true, now),
                None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
    }

    /// In a network with malicious service nodes, a publish that was answered is not believed.
    fn read_back_publish(&mut self, room: RoomId, answer: &Answer, now: Instant) {
        let publish: Result<Publish, _> = decode_body(&answer.payload);
        if let (true, true, Ok(publish)) =
            (self.config.routing.read_back, self.rooms.contains_key(&room), publish)
            && let Ok(claim) = Claim::decode(&publish.claim)
        {
            self.read_back(room, claim.replica(), publish.claim, now);
        }
    }

    /// Homes changed: all rooms are published again, soon.
    pub(super) fn republish_soon(&mut self, now: Instant) {
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            let published = self.rooms.get(&room).is_some_and(|state| state.published);
            let delay = if published { self.config.routing.coalesce } else { Duration::ZERO };
            self.timers.set_earlier(Timer::Publish(room), now + delay);
        }
    }

    /// A service node is back in the network. As long as it was cut off it was the root of all keys, and published to
    /// itself: what it has for its rooms is told to the others, as if they had just been joined.
    pub(super) fn republish_after_outage(&mut self, now: Instant) {
        let published = self.rooms.iter_mut().filter(|(_, room)| room.published);
        let rooms: Vec<RoomId> = published
            .map(|(id, room)| {
                room.lonely = 0;
                *id
            })
            .collect();
        for room in rooms {
            self.timers.set_earlier(Timer::Publish(room), now + self.config.routing.coalesce);
        }
    }

    /// The node can reach the network: rooms that wait for it are published.
    pub(super) fn rooms_online(&mut self, now: Instant) {
        let waiting: Vec<RoomId> = self
            .rooms
            .iter()
            .filter(|(_, room)| !room.published && !room.publishing)
            .map(|(id, _)| *id)
            .collect();
        for room in waiting {
            self.publish(room, now);
        }
    }

    pub(super) fn publish_ended(&mut self, room: RoomId, answer: &Answer, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.publishing = false;
        let Content::Publish(content) = &answer.content else {
            return self.timers.set(Timer::Publish(room), now + PUBLISH_AGAIN);
        };
        if let Some(newer) = &content.newer {
            if !self.step_over(room, newer, now) {
                // Whoever says so lies: it counts as no answer.
                self.metrics.count(Counter::ClaimsInvalid);
                self.timers.set(Timer::Publish(room), now + PUBLISH_AGAIN);
            }
            return;
        }
        state.published = true;
        self.learn_sought(&content.claims, now);
        self.read_back_publish(room, answer, now);
        // A service node passes it on to none but service nodes.
        let held = answer.route.is_empty() || answer.route.iter().any(|hop| hop.service);
        if held || self.homes.is_empty() {
            let slow_down = Duration::from_secs(u64::from(content.slow_down));
            self.schedule_publish(room, slow_down, now);
        } else {
            // Fellow members heard it, and hold nothing: the homes that stand are not ready yet.
            self.timers.set(Timer::Publish(room), now + self.random.jittered(PUBLISH_AGAIN));
        }
        self.check_joined(room, now);
    }

    /// A holder has a newer claim of this node, from another run: the next one steps over it. `false` if it is none, which
    /// is nothing to act upon: a holder must not be able to have this node publish again and again.
    pub(super) fn step_over(&mut self, room: RoomId, newer: &Bytes, now: Instant) -> bool {
        let me = self.me;
        // A walk can end when the room is left: what it met may be the withdrawal.
        let Some(state) = self.rooms.get(&room) else { return false };
        let own = state.claim.as_ref().map(Claim::sequence);
        let claim = self.checked_claim(newer, now);
        let claim = claim.filter(|claim| claim.peer() == me && claim.room_id() == room);
        let Some(sequence) = claim.map(|claim| claim.sequence()).filter(|newer| Some(*newer) > own) else {
            return false;
        };
        // Beyond the largest number there is no step: what is held there must expire.
        let pause = if sequence > self.sequence_floor { Duration::from_millis(100) } else { PUBLISH_AGAIN };
        self.sequence_floor = self.sequence_floor.max(sequence);
        self.timers.set(Timer::Publish(room), now + pause);
        true
    }

    fn schedule_publish(&mut self, room: RoomId, slow_down: Duration, now: Instant) {
        // Beyond this claims would expire: whoever asks for it wants the room not to be found.
        let slow_down = slow_down.min(super::life::renewal_longest(&self.config));
        let homes = self.claim_homes();
        let Some(state) = self.rooms.get_mut(&room) else { return };
        state.slow_down = slow_down;
        if !homes.is_empty() && state.claim.as_ref().is_some_and(|claim| claim.homes() != homes) {
            // They changed while this claim was published.
            return self.timers.set(Timer::Publish(room), now + self.config.routing.coalesce);
        }
        let lonely = state.members.values().all(|member| !member.present);
        let pause = match self.config.routing.lonely.get(state.lonely).filter(|_| lonely) {
            Some(pause) => {
                state.lonely = state.lonely.saturating_add(1);
                *pause
            }
            None => {
                let latest = state.claim.as_ref().map_or(Duration::MAX, super::life::renew_within);
                let pause = self.config.routing.republish.max(slow_down).min(latest);
                // Of those denied while this claim was published it asked nobody.
                let seeks = state.members.values().any(|member| member.is_to_be_sought());
                if seeks { pause.min(DENIED_PUBLISH[0]) } else { pause }
            }
        };
        let pause = self.random.jittered(pause);
        self.timers.set(Timer::Publish(room), now + pause);
    }

    /// A claim of somebody came by notification, gossip or a connect request.
    pub(super) fn member_claimed(&mut self, claim: Claim, now: Instant) {
        self.member_found(claim, false, now);
    }

    /// A verified claim: a new member is connected to at once by whoever looked for it, else after a moment, so that two
    /// do not both set up a link.
    fn member_found(&mut self, claim: Claim, sought: bool, now: Instant) {
        let (room, peer) = (claim.room_id(), claim.peer());
        let Some(state) = self.rooms.get_mut(&room) else { return };
        if peer == self.me || state.left.get(&peer).is_some_and(|void| claim.sequence() <= *void) {
            return;
        }
        if let Some(member) = state.members.get_mut(&peer) {
            if claim.newer_than(&member.claim) {
                member.renew(claim);
                if member.link.is_none() {
                    member.tries = 0;
                    self.timers.set_earlier(Timer::Connect(room, peer), now + Duration::from_millis(500));
                }
            }
            return;
        }
        if state.members.len() >= self.config.rooms.mesh_max.saturating_mul(2) {
            return;
        }
        state.members.insert(peer, Box::new(Member::new(claim)));
        if sought || self.peers.contains_key(&peer) {
            self.connect_member(room, peer, now);
        } else {
            self.timers.set(Timer::Connect(room, peer), now + Duration::from_secs(1));
        }
    }

    /// Answers the join once all that are known are linked or were tried, or at the deadline.
    pub(super) fn check_joined(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get(&room) else { return };
        if state.joined || !state.published {
            return;
        }
        let waiting = state.members.values().any(|member| !member.present && !member.failed);
        if waiting {
            if state.members.values().any(|member| member.present) {
                self.timers.set_earlier(Timer::Join(room), now + STRAGGLERS);
            }
            return;
        }
        self.answer_join(room, now);
    }

    /// Answers the join with what is known.
    pub(super) fn answer_join(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        self.timers.clear(Timer::Join(room));
        if state.joined {
            return;
        }
        let members: Vec<PeerId> =
            state.members.iter().filter(|(_, member)| member.present).map(|(peer, _)| *peer).collect();
        if state.is_full() {
            return self.depart(room, RoomLeftReason::Full, now);
        }
        state.joined = true;
        let outcome = if !members.is_empty() {
            JoinOutcome::Joined { members }
        } else if !state.members.is_empty() {
            JoinOutcome::NoneReachable { known: state.members.len() }
        } else if state.published {
            JoinOutcome::Alone
        } else {
            JoinOutcome::Offline
        };
        let early = state.streams.take_early();
        let said = state.members.iter().filter(|(_, member)| member.present);
        let said: Vec<(PeerId, Bytes)> = said
            .map(|(peer, member)| (*peer, member.said.data()))
            .filter(|(_, data)| !data.is_empty())
            .collect();
        self.emit(Event::RoomJoined { room, outcome });
        said.into_iter().for_each(|(peer, data)| self.emit(Event::MemberChanged { room, peer, data }));
        early.into_iter().for_each(|event| self.emit(event));
    }

    pub(super) fn leave_room(&mut self, room: RoomId, now: Instant) -> Result<(), RoomError> {
        if !self.rooms.contains_key(&room) {
            return Err(RoomError::NotJoined);
        }
        self.depart(room, RoomLeftReason::Requested, now);
        Ok(())
    }

    fn depart(&mut self, room: RoomId, reason: RoomLeftReason, now: Instant) {
        let Some(state) = self.rooms.remove(&room) else { return };
        // Whom the room was proved to takes this node for a member, whether or not its own proof has come.
        let links: Vec<LinkId> = state
            .members
            .iter()
            .filter_map(|(peer, member)| {
                let told = member.told.then(|| self.peers.get(peer).copied()).flatten();
                member.link.or(told)
            })
            .collect();
        for link in links {
            // In the class of small messages, so that it does not overtake them.
            self.send_bytes(link, Class::Small, Message::RoomLeave(RoomLeave { room }).encode(), now);
        }
        for peer in state.members.keys() {
            self.timers.clear(Timer::Connect(room, *peer));
            self.timers.clear(Timer::Suspect(room, *peer));
        }
        for timer in [
            Timer::Join(room),
            Timer::Publish(room),
            Timer::Gossip(room),
            Timer::Streams(room),
            Timer::MemberData(room),
        ] {
            self.timers.clear(timer);
        }
        self.generations.insert(room, state.streams.next_generation());
        self.withdraw_claim(&state, room, now);
        self.room_order.retain(|other| *other != room);
        if self.primary == Some(room) {
            let next = self.room_order.first().copied();
            self.move_to(next, now);
        }
        self.emit(Event::RoomLeft { room, reason });
    }

    fn withdraw_claim(&mut self, state: &Room, room: RoomId, now: Instant) {
        let Some(claim) = &state.claim else { return };
        for replica in 0..self.replica_keys() {
            let tombstone = Tombstone::make_under(
                claim,
                replica,
                self.config.routing.clock_tolerance,
                &state.key,
                &self.identity,
                self.crypto.as_ref(),
                &self.config.network,
            );
            let payload = Bytes::from(encode_body(&Withdraw { tombstone: tombstone.bytes().clone() }));
            self.request_replica(Task::Withdraw, room, replica, payload, now);
        }
    }

    /// A link to a peer is usable: rooms are proved on it.
    pub(super) fn members_linked(&mut self, peer: &Peer, now: Instant) {
        self.connecting.remove(&peer.id);
        let rooms: Vec<RoomId> = self
            .rooms
            .iter()
            .filter(|(_, room)| room.members.contains_key(&peer.id))
            .map(|(id, _)| *id)
            .collect();
        for room in rooms {
            self.send_proof(room, peer.id, true, now);
        }
    }

    /// Proves knowledge of the room to a linked peer.
    pub(super) fn send_proof(&mut self, room: RoomId, peer: PeerId, answer: bool, now: Instant) {
        let Some(&link) = self.peers.get(&peer) else { return };
        let Some(binding) =
            self.links.get(&link).and_then(|link| link.peer.as_ref()).map(|peer| peer.binding)
        else {
            return;
        };
        let Some(state) = self.rooms.get(&room) else { return };
        // Who was cut off for long has one that ended, which proves nothing to anybody: the proof follows with the next one.
        let tolerance = self.config.routing.clock_tolerance.as_millis() as u64;
        let lasts = |claim: &&Claim| claim.expiry_ms().saturating_add(tolerance) >= self.unix_ms;
        let Some(claim) = state.claim.as_ref().filter(lasts) else { return };
        let signature = RoomProof::signature(
            &state.key,
            &binding,
            self.me,
            peer,
            self.crypto.as_ref(),
            &self.config.network,
        );
        let proof = RoomProof {
            room_key: state.public,
            signature,
            answer,
            claim: claim.bytes().clone(),
            streams: state.streams.nexts_for(peer),
            marks: state.streams.marks_for(peer),
        };
        if let Some(state) = self.rooms.get_mut(&room) {
            // Who asks with a claim that it withdrew is answered, and no member unless it proves the room in turn.
            if let Some(member) = state.members.get_mut(&peer) {
                member.told = true;
                state.streams.proved_to(peer, link);
            }
        }
        self.state_member_data(room, link, now);
        self.send(link, &Message::RoomProof(proof), now);
    }

    pub(super) fn handle_proof(&mut self, id: LinkId, proof: &RoomProof, now: Instant) -> Fate {
        let link = self.links.get(&id).filter(|link| link.is_open()).ok_or(Counter::UnknownLink)?;
        let peer = link.peer.clone().ok_or(Counter::UnknownLink)?;
        let room = RoomKey::room_id(&proof.room_key);
        if !self.rooms.contains_key(&room) {
            self.send(id, &Message::RoomRefused(RoomRefused { room, full: false }), now);
            return Err(Counter::ProofsUnknownRoom);
        }
        let claim = proof
            .verify(&peer.binding, peer.id, self.me, self.crypto.as_ref(), &self.config.network)
            .then(|| self.checked_claim(&proof.claim, now))
            .flatten()
            .filter(|claim| claim.peer() == peer.id && claim.room_id() == room);
        let Some(claim) = claim else { return Err(Counter::ProofsInvalid) };
        let most = self.config.rooms.mesh_max.saturating_sub(1);
        let state = self.rooms.get_mut(&room).ok_or(Counter::ProofsUnknownRoom)?;
        let present = state.members.values().filter(|member| member.present).count();
        let known = state.members.get(&peer.id).is_some_and(|member| member.present);
        if !known && present >= most {
            self.send(id, &Message::RoomRefused(RoomRefused { room, full: true }), now);
            return Err(Counter::ProofsFullRoom);
        }
        state.left.remove(&peer.id);
        self.member_proved(room, id, &peer, claim, now);
        self.streams_linked(room, peer.id, id, peer.instance, proof, now);
        // An answer that was not asked for is one to an earlier stay of this node in the room, which the peer sees end.
        let proved = self.rooms.get(&room).is_some_and(|state| state.streams.has_proved_to(peer.id, id));
        if proof.answer || !proved {
            self.send_proof(room, peer.id, false, now);
        }
        self.check_joined(room, now);
        Ok(())
    }

    /// A peer proved on this link that it knows the room: it is a member.
    fn member_proved(&mut self, room: RoomId, id: LinkId, peer: &Peer, claim: Claim, now: Instant) {
        let stated = self.take_stated(id, room);
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let member = state.members.entry(peer.id).or_insert_with(|| Box::new(Member::new(claim.clone())));
        if claim.newer_than(&member.claim) {
            member.renew(claim);
        }
        let restarted = member.present && member.instance.is_some_and(|instance| instance != peer.instance);
        let newly = !member.present || restarted;
        let (relinked, other_run) = (member.link != Some(id), member.instance != Some(peer.instance));
        let changed = member.said.proved(stated.as_ref(), relinked, other_run);
        let data = member.said.data();
        member.link = Some(id);
        member.instance = Some(peer.instance);
        member.present = true;
        member.tries = 0;
        (member.failed, member.cut_off) = (false, false);
        if newly {
            member.present_since = Some(now);
            state.fresh.insert(peer.id);
        }
        let joined = state.joined;
        self.timers.clear(Timer::Suspect(room, peer.id));
        self.timers.clear(Timer::Connect(room, peer.id));
        if restarted && joined {
            self.emit(Event::MemberLeft { room, peer: peer.id, reason: MemberLeftReason::Restarted });
        }
        if newly && joined {
            self.emit(Event::MemberJoined { room, peer: peer.id, data });
        } else if changed == Some(true) && joined {
            self.emit(Event::MemberChanged { room, peer: peer.id, data });
        }
        if changed.is_none() {
            self.metrics.count(Counter::MemberDataOld);
        }
        if newly {
            self.timers.set_earlier(Timer::Gossip(room), now + Duration::from_millis(100));
        }
        self.push_set_changed(room);
    }

    /// Passes the claims of fresh members on to all, and those of all present ones to the fresh ones: this completes the
    /// mesh. Members that this node does not see are not named: what is known of them by hearsay would go round for ever.
    pub(super) fn gossip(&mut self, room: RoomId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let fresh = core::mem::take(&mut state.fresh);
        let claim_of = |peer: &PeerId| state.members.get(peer).map(|member| member.claim.bytes().clone());
        let news: Vec<Bytes> = fresh.iter().filter_map(claim_of).collect();
        let present = state.members.values().filter(|member| member.present);
        let all: Vec<Bytes> = present.map(|member| member.claim.bytes().clone()).collect();
        let links: Vec<(PeerId, LinkId)> =
            state.members.iter().filter_map(|(peer, member)| member.link.map(|link| (*peer, link))).collect();
        let joined_s = state.joined_s(now);
        for (peer, link) in links {
            let claims = if fresh.contains(&peer) { &all } else { &news };
            let claims = Bounded::truncated(claims.iter().cloned());
            self.send(link, &Message::RoomClaims(RoomClaims { room, joined_s, claims }), now);
        }
    }

    pub(super) fn handle_room_claims(&mut self, id: LinkId, claims: &RoomClaims, now: Instant) -> Fate {
        let from = self.member_on(id, claims.room)?;
        let listed = self.learn_claims(&claims.claims, now).into_iter();
        let listed: Vec<PeerId> =
            listed.filter(|(room, _)| *room == claims.room).map(|(_, peer)| peer).collect();
        self.seen_by_fellow(claims.room, &listed, now);
        let state = self.rooms.get_mut(&claims.room).ok_or(Counter::RoomMessagesForeign)?;
        let settled = u64::from(claims.joined_s) >= PARTS_MEET.as_secs();
        let members = if settled { state.merged_with(from, &listed, now) } else { Vec::new() };
        if !members.is_empty() {
            self.metrics.count(Counter::RoomsMerged);
            self.emit(Event::RoomMerged { room: claims.room, members });
        }
        Ok(())
    }

    /// A fellow member sees these: those that are not linked here are worth another try.
    fn seen_by_fellow(&mut self, room: RoomId, seen: &[PeerId], now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        for peer in seen {
            if let Some(member) = state.members.get_mut(peer).filter(|member| member.link.is_none()) {
                member.denied.clear();
                self.timers.set_earlier(Timer::Connect(room, *peer), now + Duration::from_secs(1));
            }
        }
    }

    /// The member of a room that proved itself on this link.
    pub(super) fn member_on(&self, id: LinkId, room: RoomId) -> Result<PeerId, Counter> {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let member = self.rooms.get(&room).and_then(|room| room.members.get(&peer));
        let linked = member.is_some_and(|member| member.link == Some(id));
        if linked { Ok(peer) } else { Err(Counter::RoomMessagesForeign) }
    }

    pub(super) fn handle_refused(&mut self, id: LinkId, refused: &RoomRefused, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let state = self.rooms.get_mut(&refused.room).ok_or(Counter::RoomMessagesForeign)?;
        let member = state.members.get_mut(&peer).ok_or(Counter::RoomMessagesForeign)?;
        member.failed = true;
        if refused.full {
            state.full.insert(peer);
            if state.joined && state.is_full() {
                self.depart(refused.room, RoomLeftReason::Full, now);
                return Ok(());
            }
        } else if !member.present || member.link == Some(id) {
            // It is no member, or has left since it proved the room here.
            self.member_gone(refused.room, peer, MemberLeftReason::Left, now);
        }
        self.check_joined(refused.room, now);
        Ok(())
    }

    pub(super) fn handle_leave(&mut self, id: LinkId, leave: &RoomLeave, now: Instant) -> Fate {
        let peer = self.member_on(id, leave.room)?;
        self.member_gone(leave.room, peer, MemberLeftReason::Left, now);
        Ok(())
    }

    pub(super) fn members_said_goodbye(&mut self, peer: PeerId, now: Instant) {
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            let linked =
                self.rooms.get(&room).and_then(|state| state.members.get(&peer)).map(|member| member.link);
            if linked.is_some_and(|link| link.is_some()) {
                self.member_gone(room, peer, MemberLeftReason::Left, now);
            }
        }
    }

    /// A member is gone for good: its claim is void.
    fn member_gone(&mut self, room: RoomId, peer: PeerId, reason: MemberLeftReason, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(member) = state.members.remove(&peer) else { return };
        state.note_left(peer, member.claim.sequence());
        state.fresh.remove(&peer);
        let joined = state.joined;
        self.timers.clear(Timer::Connect(room, peer));
        self.timers.clear(Timer::Suspect(room, peer));
        self.streams_left(room, peer, now);
        if member.present && joined {
            self.emit(Event::MemberLeft { room, peer, reason });
        }
        self.push_set_changed(room);
        self.check_joined(room, now);
    }

    /// A link is gone: members on it are suspected, and tried again through all their homes.
    pub(super) fn members_unlinked(&mut self, peer: PeerId, link: LinkId, now: Instant) {
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        for room in rooms {
            let Some(state) = self.rooms.get_mut(&room) else { continue };
            let Some(member) = state.members.get_mut(&peer).filter(|member| member.link == Some(link)) else {
                continue;
            };
            member.link = None;
            state.streams.unlinked(peer);
            if member.present {
                self.timers.set(Timer::Suspect(room, peer), now + self.config.rooms.suspect_timeout);
            }
            // The end with the lower id tries first.
            let patience = if self.me < peer { 50 } else { 1000 };
            self.timers.set(Timer::Connect(room, peer), now + Duration::from_millis(patience));
            self.push_set_changed(room);
        }
    }

    /// A suspected member was not linked again in time.
    pub(super) fn suspect_timeout(&mut self, room: RoomId, peer: PeerId, now: Instant) {
        let Some(state) = self.rooms.get_mut(&room) else { return };
        let Some(member) = state.members.get_mut(&peer).filter(|member| member.link.is_none()) else {
            return;
        };
        let was_present = core::mem::replace(&mut member.present, false);
        member.failed = true;
        let joined = state.joined;
        self.streams_left(room, peer, now);
        if was_present && joined {
            self.emit(Event::MemberLeft { room, peer, reason: MemberLeftReason::Lost });
        }
        self.check_joined(room, now);
    }

    /// Members whose claims expired without a link are forgotten.
    pub(super) fn expire_members(&mut self, now: Instant) {
        let (unix_ms, tolerance) = (self.unix_ms, self.config.routing.clock_tolerance);
        let mut dead: Vec<(RoomId, PeerId)> = Vec::new();
        for (room, state) in &self.rooms {
            let members = state.members.iter();
            let unseen = members.filter(|(_, member)| member.link.is_none() && !member.present);
            let expired = unseen.filter(|(_, member)| !member.claim.is_current(unix_ms, tolerance));
            dead.extend(expired.map(|(peer, _)| (*room, *peer)));
        }
        for (room, peer) in dead {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.members.remove(&peer);
                state.full.remove(&peer);
            }
            self.timers.clear(Timer::Connect(room, peer));
            // A proof may have been shown to it, although it never gave one.
            self.streams_left(room, peer, now);
        }
    }

    /// Whether a peer is, or may be, a member of a joined room.
    pub(super) fn is_fellow(&self, peer: PeerId) -> bool {
        self.rooms.values().any(|room| room.members.contains_key(&peer))
    }
}
