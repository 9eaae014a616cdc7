//! What a node answers where a routed packet ends: finds, publishes, lookups of the nearest, connects, notifications.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::metrics::Counter;
use crate::routing::key::{home_id, replica_key};
use crate::routing::store::{Asker, Buried, Copies, Item, Put, Tombstone as Buriable};
use crate::wire::message::{
    ClaimCopy, ConnectAnswer, Find, FindAnswer, Nearest, NearestAnswer, Notify, Publish, PublishAnswer,
    Purpose, Replicate, Withdraw,
};
use crate::wire::{Bounded, Claim, Message, PeerIds, Reply, Routed, Tombstone, decode_body, encode_body};
use crate::{Duration, Instant, PeerId, RoomId};

/// A claim of which the claimants of its room shall hear.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// Who hears of it otherwise.
    pub(super) met: BTreeSet<PeerId>,
    /// Whether it came from another holder: its author was not answered here, and is told of the others.
    copied: bool,
}

/// Claims, and tombstones, in one message.
const COPIES_AT_ONCE: usize = 32;

/// The room that a find seeks, and which of its keys it goes to; `None` if they do not fit the packet's key.
fn slot_of(packet: &Routed) -> Option<(RoomId, u8)> {
    if packet.payload.is_empty() {
        return Some((packet.key, 0));
    }
    let Find { room, replica } = decode_body(&packet.payload).ok()?;
    (replica > 0 && replica_key(&room, replica) == packet.key).then_some((room, replica))
}

impl Node {
    /// A packet ends here: no strictly nearer contact is linked, or this node is meant.
    pub(super) fn terminal(&mut self, packet: &Routed, now: Instant) {
        match packet.purpose {
            Purpose::Find => {
                let claims = self.claims_for(packet, false, now);
                self.answer_find(packet, claims, now);
            }
            Purpose::Publish => self.serve_publish(packet, now),
            Purpose::Withdraw => self.serve_withdraw(packet, now),
            Purpose::Nearest => self.serve_nearest(packet, now),
            Purpose::Connect => self.serve_connect(packet, now),
            Purpose::Notify => self.serve_notify(packet, now),
        }
    }

    /// The claims this node can answer a find with: those it holds, and those it knows as a member. On the way to the root only
    /// the present holders answer: others may still have claims, which nobody keeps fresh.
    pub(super) fn claims_for(&self, packet: &Routed, early: bool, now: Instant) -> Vec<Bytes> {
        let Some((room, replica)) = slot_of(packet) else { return Vec::new() };
        let asker = packet.route.get(0);
        let most = self.config.routing.claims_per_answer;
        let holds =
            !early || self.table.ready_rank(&packet.key, &self.home_room) < self.config.routing.replicas;
        let most = if holds { most } else { 0 };
        let mut claims = self.store.answer(room, replica, Asker { exclude: asker, known: &[] }, most, now);
        for known in self.claims_as_member(room, asker) {
            if claims.len() < self.config.routing.claims_per_answer && !claims.contains(&known) {
                claims.push(known);
            }
        }
        claims
    }

    /// Whether this node holds claims that a packet asks for, or it asks for none.
    pub(super) fn holds_for(&self, packet: &Routed) -> bool {
        let slot = match packet.purpose {
            Purpose::Find => slot_of(packet),
            Purpose::Publish => {
                let claim = decode_body::<Publish>(&packet.payload)
                    .ok()
                    .and_then(|publish| Claim::decode(&publish.claim).ok());
                claim.map(|claim| (claim.room_id(), claim.replica()))
            }
            Purpose::Withdraw | Purpose::Nearest | Purpose::Connect | Purpose::Notify => None,
        };
        slot.is_none_or(|(room, replica)| {
            self.store.claims(room, replica) > 0
                || (packet.purpose == Purpose::Find && !self.claims_as_member(room, None).is_empty())
        })
    }

    /// The claims this node knows as a member: its own, and those of the members it sees. While its join is not answered
    /// it does not speak for the room.
    fn claims_as_member(&self, room: RoomId, asker: Option<PeerId>) -> Vec<Bytes> {
        let Some(state) = self.rooms.get(&room).filter(|state| state.joined) else { return Vec::new() };
        let own = state.claim.iter();
        let others = state.members.values().filter(|member| member.present).map(|member| &member.claim);
        own.chain(others)
            .filter(|claim| Some(claim.peer()) != asker)
            .map(|claim| claim.bytes().clone())
            .collect()
    }

    pub(super) fn answer_find(&mut self, packet: &Routed, claims: Vec<Bytes>, now: Instant) {
        if claims.is_empty() {
            self.metrics.count(Counter::RoutedDeadEnd);
        }
        let answer = FindAnswer { claims: Bounded::truncated(claims) };
        self.reply(packet, encode_body(&answer), now);
    }

    /// This node and its leaf set, as far as they are asked for: in full, or by the mark that the origin named.
    fn serve_nearest(&mut self, packet: &Routed, now: Instant) {
        let Ok(asked) = decode_body::<Nearest>(&packet.payload) else {
            return self.metrics.count(Counter::ClaimsInvalid);
        };
        let origin = packet.route.get(0);
        let count = self.config.routing.leaf_set;
        let nearest = self.table.nearest_linked(&packet.key, count.saturating_add(1));
        let others = nearest.into_iter().filter(|peer| Some(*peer) != origin).take(count);
        let others = others.filter_map(|peer| self.homes_known.get(peer));
        let own = self.own_home.iter().map(|claim| (claim.mark(), claim.bytes().clone()));
        let claims = own.chain(others.map(|claim| (claim.mark(), claim.bytes())));
        let (mut homes, mut known) = (Vec::new(), Vec::new());
        for (mark, bytes) in claims.take(usize::from(asked.most)) {
            if asked.known.contains(&mark) {
                known.push(mark);
            } else {
                homes.push(bytes);
            }
        }
        let answer = NearestAnswer { homes: Bounded::truncated(homes), known: Bounded::truncated(known) };
        self.reply(packet, encode_body(&answer), now);
    }

    pub(super) fn serve_publish(&mut self, packet: &Routed, now: Instant) {
        let Ok(publish) = decode_body::<Publish>(&packet.payload) else {
            return self.metrics.count(Counter::ClaimsInvalid);
        };
        let Some(claim) = self.checked_claim(&publish.claim, now) else {
            return self.metrics.count(Counter::ClaimsInvalid);
        };
        let room = claim.room_id();
        if !self.is_service() {
            return self.publish_heard(packet, claim, &publish.known, now);
        }
        let newer = self.hold(&claim, None, now);
        let most = self.config.routing.claims_per_answer;
        let claims = self.store.answer(
            room,
            claim.replica(),
            Asker { exclude: Some(claim.peer()), known: &publish.known },
            most,
            now,
        );
        let slot = (room, claim.replica());
        let met = self.store.named(room, claim.replica(), &publish.known, &claims);
        self.need_not_tell(slot, claim.peer(), met);
        let held = self.store.claims(room, claim.replica()) > 0;
        let pause = held.then(|| self.popularity.published(slot, now)).flatten();
        let slow_down = pause.map_or(0, |pause| u16::try_from(pause.as_secs()).unwrap_or(u16::MAX));
        let answer = PublishAnswer { claims: Bounded::truncated(claims), newer, slow_down };
        self.reply(packet, encode_body(&answer), now);
    }

    /// A publish reached a client: who is a member learns of the publisher, and answers with those it knows. Who is none
    /// holds no claims and says nothing, which is no answer to build on.
    fn publish_heard(&mut self, packet: &Routed, claim: Claim, known: &[u64], now: Instant) {
        let mut claims = self.claims_as_member(claim.room_id(), Some(claim.peer()));
        if claims.is_empty() {
            return self.metrics.count(Counter::RoutedDeadEnd);
        }
        claims.retain(|bytes| Claim::decode(bytes).is_ok_and(|other| !known.contains(&other.mark())));
        self.member_claimed(claim, now);
        let answer = PublishAnswer { claims: Bounded::truncated(claims), newer: None, slow_down: 0 };
        self.reply(packet, encode_body(&answer), now);
    }

    /// A claim that is well-formed, current and signed by both keys.
    pub(super) fn checked_claim(&mut self, bytes: &Bytes, now: Instant) -> Option<Claim> {
        let claim = Claim::decode(bytes).ok()?;
        let tolerance = self.config.routing.clock_tolerance;
        if !claim.is_current(self.wall.unix_ms(now), tolerance) {
            return None;
        }
        // A claim that is held already was verified when it came.
        if self.store.holds(claim.room_id(), claim.replica(), claim.peer(), bytes) || self.knows_claim(&claim)
        {
            return Some(claim);
        }
        claim.verify(self.crypto.as_ref(), &self.config.network).then_some(claim)
    }

    /// Keeps a checked claim that was published here, for its lifetime. The publisher's newer claim is returned where this
    /// one is old.
    pub(super) fn hold(&mut self, claim: &Claim, from: Option<PeerId>, now: Instant) -> Option<Bytes> {
        let life = Duration::from_millis(claim.expiry_ms().saturating_sub(claim.issued_ms()));
        self.hold_for(claim, life, from, now)
    }

    /// Keeps a checked claim for `left` at most.
    pub(super) fn hold_for(
        &mut self,
        claim: &Claim,
        left: Duration,
        from: Option<PeerId>,
        now: Instant,
    ) -> Option<Bytes> {
        if !self.is_service() {
            return None;
        }
        let (room, peer) = (claim.room_id(), claim.peer());
        let item = Item {
            room,
            replica: claim.replica(),
            peer,
            sequence: (claim.sequence().boot, claim.sequence().counter),
            issued_ms: claim.issued_ms(),
            expiry_ms: claim.expiry_ms(),
            left,
            homes: claim.homes().to_vec(),
            digest: claim.digest(),
            mark: claim.mark(),
            bytes: claim.bytes().clone(),
        };
        match self.store.put(item, now, self.unix_ms) {
            Put::New | Put::Rehomed => {
                self.metrics.count(Counter::ClaimsStored);
                self.claim_changed((room, claim.replica()), peer, from, true, now);
                None
            }
            Put::Renewed => {
                self.claim_changed((room, claim.replica()), peer, from, false, now);
                None
            }
            Put::Old(newer) => Some(newer),
            Put::Same => None,
            Put::Tombstoned(_) | Put::Full | Put::Quota | Put::Expired => {
                self.metrics.count(Counter::ClaimsRefused);
                None
            }
        }
    }

    fn serve_withdraw(&mut self, packet: &Routed, now: Instant) {
        let held = decode_body::<Withdraw>(&packet.payload)
            .ok()
            .is_some_and(|withdraw| self.hold_tombstone(&withdraw.tombstone, None, now));
        if !held {
            self.metrics.count(Counter::ClaimsInvalid);
        }
        let answer = PublishAnswer { claims: Bounded::default(), newer: None, slow_down: 0 };
        self.reply(packet, encode_body(&answer), now);
    }

    /// Keeps a tombstone, from another holder or published here; `false` if it is invalid.
    pub(super) fn hold_tombstone(&mut self, bytes: &Bytes, from: Option<PeerId>, now: Instant) -> bool {
        let Ok(tombstone) = Tombstone::decode(bytes) else { return false };
        if !tombstone.verify(self.crypto.as_ref(), &self.config.network) {
            return false;
        }
        let room = tombstone.room_id();
        let item = Buriable {
            room,
            replica: tombstone.replica(),
            peer: tombstone.peer(),
            sequence: (tombstone.sequence().boot, tombstone.sequence().counter),
            expiry_ms: tombstone.expiry_ms(),
            digest: tombstone.digest(),
            bytes: bytes.clone(),
        };
        if self.store.bury(item, now, self.unix_ms) == Buried::New {
            self.claim_changed((room, tombstone.replica()), tombstone.peer(), from, false, now);
        }
        true
    }

    /// A connect request for this node, or for a client that is not here.
    fn serve_connect(&mut self, packet: &Routed, now: Instant) {
        if packet.target == Some(self.me) {
            return self.connect_requested(packet, now);
        }
        self.metrics.count(Counter::RoutedDeadEnd);
        self.reply(packet, encode_body(&ConnectAnswer::absent()), now);
    }

    /// Adds this node's home claim to a connect answer of its client, if the origin lacks it, so that it can dial the relay.
    pub(super) fn add_home_claim(&mut self, reply: &mut Reply, from: PeerId) {
        let is_target = reply.route.iter().next_back() == Some(from);
        let Some(own) = self.own_home.as_ref().filter(|_| is_target) else { return };
        if let Ok(mut answer) = decode_body::<ConnectAnswer>(&reply.payload)
            && answer.home.is_none()
            && answer.reply.as_ref().is_some_and(|reply| reply.home_wanted)
        {
            answer.home = Some(own.bytes().clone());
            reply.payload = Bytes::from(encode_body(&answer));
        }
    }

    /// News of claims for this node as a member.
    fn serve_notify(&mut self, packet: &Routed, now: Instant) {
        if packet.target != Some(self.me) {
            return self.metrics.count(Counter::RoutedDeadEnd);
        }
        let Ok(notify) = decode_body::<Notify>(&packet.payload) else {
            return self.metrics.count(Counter::ClaimsInvalid);
        };
        self.learn_claims(&notify.claims, now);
    }

    /// Takes claims of members; gives the rooms and peers of those that are valid.
    pub(super) fn learn_claims(&mut self, claims: &[Bytes], now: Instant) -> Vec<(RoomId, PeerId)> {
        let mut valid = Vec::new();
        for bytes in claims {
            match self.checked_claim(bytes, now) {
                Some(claim) => {
                    valid.push((claim.room_id(), claim.peer()));
                    self.member_claimed(claim, now);
                }
                None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
        valid
    }

    /// These claimants and `fresh` hear of each other otherwise: they were told to it when it published, and it seeks
    /// them, or they came together from a holder that has told them.
    pub(super) fn need_not_tell(
        &mut self,
        slot: (RoomId, u8),
        fresh: PeerId,
        met: impl IntoIterator<Item = PeerId>,
    ) {
        let Some(news) = self.notify.get_mut(&slot) else { return };
        let met: Vec<PeerId> = met.into_iter().collect();
        for other in &met {
            news.entry(*other).and_modify(|news| {
                news.met.insert(fresh);
            });
        }
        news.entry(fresh).and_modify(|news| news.met.extend(met));
    }

    /// Tells the claimants of a room of new and re-homed ones that they would not hear of otherwise.
    pub(super) fn send_notifications(&mut self, now: Instant) {
        for ((room, replica), news) in core::mem::take(&mut self.notify) {
            let claimants = self.store.claimants(room);
            for (target, homes) in &claimants {
                let unseen = |peer: &PeerId, by: PeerId, copied: bool| {
                    news.get(peer).is_some_and(|news| (news.copied || !copied) && !news.met.contains(&by))
                };
                let others = claimants.iter().map(|(other, _)| *other).filter(|other| {
                    other != target && (unseen(other, *target, false) || unseen(target, *other, true))
                });
                let claims: Vec<Bytes> =
                    others.filter_map(|other| self.store.claim_of(room, replica, other)).collect();
                if claims.is_empty() {
                    continue;
                }
                if *target == self.me {
                    self.learn_claims(&claims, now);
                    continue;
                }
                self.notify_one(*target, homes, claims, now);
            }
        }
    }

    fn notify_one(&mut self, target: PeerId, homes: &[PeerId], claims: Vec<Bytes>, now: Instant) {
        let payload = Bytes::from(encode_body(&Notify { target, claims: Bounded::truncated(claims) }));
        let linked = self.peers.contains_key(&target);
        let ways = if linked { 1 } else { 2 };
        for home in homes.iter().take(ways) {
            self.metrics.count(Counter::Notifications);
            let packet = Routed {
                purpose: Purpose::Notify,
                to_root: false,
                attempt: 0,
                request: self.mint_request(),
                key: home_id(*home),
                target: Some(target),
                exclude: PeerIds::default(),
                route: PeerIds::default(),
                payload: payload.clone(),
            };
            self.send_first(packet, &[], None, now);
        }
    }

    /// What is held for a room changed: copies go out, claimants are told.
    fn claim_changed(
        &mut self,
        slot: (RoomId, u8),
        peer: PeerId,
        from: Option<PeerId>,
        news: bool,
        now: Instant,
    ) {
        let key = replica_key(&slot.0, slot.1);
        let rank = self.table.ready_rank(&key, &self.home_room);
        self.note_holders(slot, rank);
        if from.is_none() || rank == 0 {
            self.replicate(slot, peer, now);
            if news {
                let news = self.notify.entry(slot).or_default().entry(peer).or_default();
                news.copied = from.is_some();
                self.timers.set_earlier(super::clock::Timer::Notify, now + self.config.routing.coalesce);
            }
        } else if rank < self.config.routing.replicas {
            // Never leave an empty root: whoever receives a copy and is not the root passes news on to it.
            let root = self.table.nearest_ready(&key, 1).first().copied();
            if let Some(root) = root.filter(|root| Some(*root) != from) {
                self.copy_to(slot, Some(peer), root, now);
            }
        }
    }

    /// Copies what changed to the next nearest holders.
    fn replicate(&mut self, slot: (RoomId, u8), peer: PeerId, now: Instant) {
        let copies = self.config.routing.replicas.saturating_sub(1);
        for holder in self.table.nearest_ready(&replica_key(&slot.0, slot.1), copies) {
            self.copy_to(slot, Some(peer), holder, now);
        }
    }

    /// Sends the claims and tombstones of a room, or of one of its claimants, to a holder.
    pub(super) fn copy_to(&mut self, slot: (RoomId, u8), only: Option<PeerId>, holder: PeerId, now: Instant) {
        let Copies { claims, tombstones } = match only {
            Some(peer) => self.store.copy_of(slot.0, slot.1, peer, now),
            None => self.store.missing(slot.0, slot.1, &[], now),
        };
        if claims.is_empty() && tombstones.is_empty() {
            return;
        }
        self.metrics.add(Counter::ClaimsReplicated, claims.len() as u64);
        self.send_copies(holder, Copies { claims, tombstones }, now);
    }

    /// Sends copies in as many messages as they need.
    pub(super) fn send_copies(&mut self, holder: PeerId, copies: Copies, now: Instant) {
        let Copies { mut claims, mut tombstones } = copies;
        while !claims.is_empty() || !tombstones.is_empty() {
            let first = claims.drain(..claims.len().min(COPIES_AT_ONCE)).map(|copy| ClaimCopy {
                claim: copy.bytes,
                left_s: u16::try_from(copy.left.as_secs()).unwrap_or(u16::MAX),
            });
            let message = Replicate {
                claims: Bounded::truncated(first),
                tombstones: Bounded::truncated(tombstones.drain(..tombstones.len().min(COPIES_AT_ONCE))),
            };
            self.send_to(holder, &Message::Replicate(message), now);
        }
    }
}
