//! Routed packets on their way: hop by hop towards a key, acknowledged, and back along the recorded route.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use super::standing::Offence;
use crate::link::Class;
use crate::lookup::{KeyedHasher, LookupSet};
use crate::routing::key::{distance, home_id};
use crate::wire::message::{HopAck, Purpose};
use crate::wire::{Message, PeerIds, Reply, Routed, RttsMs};
use crate::{Duration, Instant, LinkId, PeerId, RequestId};

/// A packet that was sent on and is not yet acknowledged by the next hop.
#[derive(Clone, Debug)]
pub(super) struct PendingHop {
    packet: Routed,
    /// Whom it was sent to, last first.
    tried: Vec<PeerId>,
    /// First hops of earlier attempts, which the origin avoids.
    avoid: Vec<PeerId>,
}

/// How long a service node that became ready takes for possible that claims for its keys are on their way to it: its word
/// travels to who holds them, and they travel back.
const SETTLING: Duration = Duration::from_secs(5);

/// Waiting packets that a neighbour may have in any case.
const SHARE_MIN: usize = 16;

/// The packets that wait for an acknowledgement, by (request, attempt), and how many came from each neighbour.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops {
    waiting: BTreeMap<(RequestId, u8), Box<PendingHop>>,
    shares: BTreeMap<PeerId, usize>,
    /// Sum of their payloads.
    bytes: usize,
}

impl Hops {
    fn insert(&mut self, key: (RequestId, u8), hop: Box<PendingHop>) {
        self.remove(&key);
        if let Some(neighbour) = hop.packet.route.iter().next_back() {
            let share = self.shares.entry(neighbour).or_default();
            *share = share.saturating_add(1);
        }
        self.bytes = self.bytes.saturating_add(hop.packet.payload.len());
        self.waiting.insert(key, hop);
    }

    /// Whether an attempt awaits its acknowledgement.
    pub(super) fn is_pending(&self, request: RequestId, attempt: u8) -> bool {
        self.waiting.contains_key(&(request, attempt))
    }

    pub(super) fn remove(&mut self, key: &(RequestId, u8)) -> Option<Box<PendingHop>> {
        let hop = self.waiting.remove(key)?;
        self.bytes = self.bytes.saturating_sub(hop.packet.payload.len());
        if let Some(neighbour) = hop.packet.route.iter().next_back()
            && let Some(share) = self.shares.get_mut(&neighbour)
        {
            *share = share.saturating_sub(1);
            if *share == 0 {
                self.shares.remove(&neighbour);
            }
        }
        Some(hop)
    }

    fn get(&self, key: &(RequestId, u8)) -> Option<&PendingHop> {
        self.waiting.get(key).map(|hop| &**hop)
    }

    pub(super) fn contains_key(&self, key: &(RequestId, u8)) -> bool {
        self.waiting.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of their payloads.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many wait that came from a neighbour.
    fn share(&self, neighbour: PeerId) -> usize {
        self.shares.get(&neighbour).copied().unwrap_or(0)
    }

    /// Whether shares and bytes add up.
    pub(super) fn is_sound(&self) -> bool {
        let bytes: usize = self.waiting.values().map(|hop| hop.packet.payload.len()).sum();
        if bytes != self.bytes {
            return false;
        }
        let passed = self.waiting.values().filter(|hop| !hop.packet.route.is_empty()).count();
        self.shares.values().sum::<usize>() == passed && !self.shares.values().any(|share| *share == 0)
    }
}

/// For how long a pair is remembered at least, unless very many come. Attempts end within seconds.
const SEEN_FOR: Duration = Duration::from_secs(60);

/// The (request, attempt) pairs that passed lately: those of the present period and of the one before.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    most: usize,
    hasher: KeyedHasher,
    present: LookupSet<(RequestId, u8)>,
    before: LookupSet<(RequestId, u8)>,
    /// When the present period began.
    since: Instant,
}

impl Seen {
    pub(super) const fn new(most: usize, hasher: KeyedHasher, now: Instant) -> Self {
        Self { most, hasher, present: LookupSet::new(hasher), before: LookupSet::new(hasher), since: now }
    }

    /// Takes note of a pair; `false` if it was there.
    fn insert(&mut self, pair: (RequestId, u8), now: Instant) -> bool {
        if now.since(self.since) >= SEEN_FOR || self.present.len() >= self.most / 2 {
            self.before = core::mem::replace(&mut self.present, LookupSet::new(self.hasher));
            self.since = now;
        }
        !self.before.contains(&pair) && self.present.insert(pair)
    }

    /// Pairs remembered.
    pub(super) fn len(&self) -> usize {
        self.present.len().saturating_add(self.before.len())
    }

    /// Whether a pair passed lately.
    fn contains(&self, pair: &(RequestId, u8)) -> bool {
        self.present.contains(pair) || self.before.contains(pair)
    }
}

impl Node {
    /// Sends a packet of this node on its way; gives the first hop. Without a nearer contact this node is the root and
    /// answers itself.
    pub(super) fn send_first(
        &mut self,
        packet: Routed,
        avoid: &[PeerId],
        through: Option<PeerId>,
        now: Instant,
    ) -> Option<PeerId> {
        if let Some(through) = through.filter(|peer| self.peers.contains_key(peer)) {
            let hop = PendingHop { packet, tried: Vec::new(), avoid: avoid.to_vec() };
            self.transmit(Box::new(hop), through, now);
            return Some(through);
        }
        self.forward_or_end(packet, Vec::new(), avoid.to_vec(), now)
    }

    /// Sends a pending packet to `next` and waits for its acknowledgement.
    fn transmit(&mut self, mut hop: Box<PendingHop>, next: PeerId, now: Instant) {
        let Some(&link) = self.peers.get(&next) else { return };
        let Ok(bytes) = hop.packet.forward(self.me) else {
            return self.metrics.count(Counter::RoutedTooLong);
        };
        self.send_bytes(link, Class::Control, bytes, now);
        hop.tried.push(next);
        let key = (hop.packet.request, hop.packet.attempt);
        let timeout = self.hop_timeout_for(next);
        let routing = &self.config.routing;
        let bytes = self.hops.bytes().saturating_add(hop.packet.payload.len());
        if self.hops.len() < routing.seen_max && bytes <= routing.waiting_bytes_max {
            self.hops.insert(key, hop);
            self.timers.set(Timer::Hop(key.0, key.1), now + timeout);
        } else {
            self.metrics.count(Counter::RoutedOverload);
        }
    }

    /// 500 ms, or three smoothed round-trip times where that is longer.
    fn hop_timeout_for(&self, peer: PeerId) -> Duration {
        let rtt = self.rtt_of(peer).unwrap_or(Duration::ZERO);
        self.config.routing.hop_timeout.max(rtt.saturating_mul(3))
    }

    pub(super) fn rtt_of(&self, peer: PeerId) -> Option<Duration> {
        let link = self.peers.get(&peer)?;
        self.links.get(link)?.session.as_ref()?.rtt()
    }

    /// Sends a packet to the next best hop; where there is none, answers as the one at which it ends.
    fn forward_or_end(
        &mut self,
        packet: Routed,
        tried: Vec<PeerId>,
        avoid: Vec<PeerId>,
        now: Instant,
    ) -> Option<PeerId> {
        let at_origin = packet.route.is_empty();
        let next = self.next_hop(&packet, &tried, &avoid, now);
        match next {
            Some(next) => {
                self.transmit(Box::new(PendingHop { packet, tried, avoid }), next, now);
                Some(next)
            }
            // An origin that is a client cannot answer itself: the attempt times out, or the node comes online.
            None if at_origin && !self.is_service() => {
                self.strand(&packet, now);
                None
            }
            None => {
                self.terminal(&packet, now);
                None
            }
        }
    }

    /// A client has nobody to send its packet to: others are dialled, and the packet goes by them.
    fn strand(&mut self, packet: &Routed, now: Instant) {
        let request = self.request_sent_as(packet.request);
        if let Some(request) = request.and_then(|id| self.requests.get_mut(&id)) {
            request.stranded = true;
        }
        if self.started && self.farewell.is_none() {
            self.dial_round(now);
        }
    }

    /// The next hop: for the target itself its own link, else the strictly nearer ready contact nearest to the key. The
    /// first hop of a client may be any service node.
    fn next_hop(&self, packet: &Routed, tried: &[PeerId], avoid: &[PeerId], now: Instant) -> Option<PeerId> {
        let at_origin = packet.route.is_empty();
        let unfit = |peer: PeerId| {
            peer == self.me
                || tried.contains(&peer)
                || packet.exclude.contains(peer)
                || packet.route.contains(peer)
        };
        if let Some(target) = packet.target
            && self.peers.contains_key(&target)
            && !unfit(target)
        {
            return Some(target);
        }
        if !self.is_service() {
            let pick = |skip_avoided: bool| {
                self.table
                    .first_hop(&packet.key, |peer| unfit(peer) || (skip_avoided && avoid.contains(&peer)))
            };
            if !at_origin && !self.forwards_for(packet) {
                return None;
            }
            let service = pick(true).or_else(|| pick(false));
            return service.or_else(|| {
                self.fellow_hop(packet, at_origin, |peer| unfit(peer) || avoid.contains(&peer))
                    .or_else(|| self.fellow_hop(packet, at_origin, unfit))
            });
        }
        let location = self.location();
        let pick = |skip_avoided: bool, lasting: bool| {
            self.table.next_hop(&packet.key, &location, |peer| {
                unfit(peer)
                    || (skip_avoided && at_origin && avoid.contains(&peer))
                    || (lasting && !self.is_lasting_to(peer))
            })
        };
        // The circuit that follows the route of a connect would keep links that nobody else wants.
        let connects = packet.purpose == Purpose::Connect;
        let lasting = connects.then(|| pick(true, true)).flatten();
        let nearer = lasting.or_else(|| pick(true, false)).or_else(|| pick(false, false));
        nearer.or_else(|| self.former_root(packet, now, unfit))
    }

    /// Who was the root of a key before this node became ready, a moment ago, if this node holds nothing for the key: its
    /// claims are still on their way.
    fn former_root(&self, packet: &Routed, now: Instant, unfit: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let settling = self.ready_since.is_some_and(|since| now.since(since) < SETTLING);
        if !settling || self.holds_for(packet) {
            return None;
        }
        // That one may be settling as well, and ends the packet: so one node at most sends it away from the key.
        let own = distance(&packet.key, &self.home_room);
        let nearer = |hop: PeerId| distance(&packet.key, &home_id(hop)) < own;
        if packet.route.iter().skip(1).any(nearer) {
            return None;
        }
        self.table.first_hop(&packet.key, unfit)
    }

    /// A routed packet arrived.
    pub(super) fn handle_routed(&mut self, id: LinkId, packet: Routed, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        if packet.route.iter().next_back() != Some(peer) {
            self.offended(peer, Offence::Forged, now);
            return Err(Counter::RoutedForged);
        }
        let key = (packet.request, packet.attempt);
        let seen = packet.route.contains(self.me) || !self.seen.insert(key, now);
        let ack = HopAck { request: packet.request, attempt: packet.attempt, seen };
        self.send(id, &Message::HopAck(ack), now);
        if seen {
            return Err(Counter::RoutedDuplicate);
        }
        self.table.clear_suspect(peer);
        self.takes(peer, &packet, now)?;
        if packet.route.len() >= self.config.routing.hops_max {
            self.metrics.count(Counter::RoutedTooLong);
            self.terminal(&packet, now);
        } else if !self.answers_early(&packet, now) {
            self.metrics.count(Counter::RoutedForwarded);
            self.forward_or_end(packet, Vec::new(), Vec::new(), now);
        }
        Ok(())
    }

    /// Whether this node does anything for a packet: within the rates of its origin where that is the neighbour itself, and
    /// within the neighbour's share of the packets that wait for an acknowledgement.
    fn takes(&mut self, neighbour: PeerId, packet: &Routed, now: Instant) -> Fate {
        let own = packet.route.len() == 1;
        let most = self.config.routing.seen_max;
        let waiting = self.hops.share(neighbour);
        // While there is room for all, transit is not divided.
        let crowded = self.hops.len() >= most / 2;
        let fair = most.checked_div(self.peers.len()).unwrap_or(most).max(SHARE_MIN);
        if (own && waiting >= self.config.limits.in_flight) || (crowded && waiting >= fair) {
            return Err(Counter::RoutedUnfair);
        }
        if own { self.may_ask(neighbour, Some(packet.purpose), now) } else { Ok(()) }
    }

    /// Whether this node answers before the packet reaches the root: as the target, or as one who knows the room.
    fn answers_early(&mut self, packet: &Routed, now: Instant) -> bool {
        match packet.purpose {
            Purpose::Connect | Purpose::Notify => {
                let here = packet.target == Some(self.me);
                let home = packet.key == self.home_room && self.is_service();
                let linked = packet.target.is_some_and(|target| self.peers.contains_key(&target));
                if here || (home && !linked) {
                    self.terminal(packet, now);
                    return true;
                }
                false
            }
            Purpose::Find if !packet.to_root => {
                let claims = self.claims_for(packet, true, now);
                if claims.is_empty() {
                    return false;
                }
                self.answer_find(packet, claims, now);
                true
            }
            Purpose::Publish => self.publish_to_member(packet, now),
            Purpose::Find | Purpose::Nearest | Purpose::Withdraw => false,
        }
    }

    pub(super) fn handle_hop_ack(&mut self, id: LinkId, ack: &HopAck, _now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let key = (ack.request, ack.attempt);
        let expected = self.hops.get(&key).is_some_and(|hop| hop.tried.contains(&peer));
        if !expected {
            return Err(Counter::AcksUnexpected);
        }
        self.hops.remove(&key);
        self.timers.clear(Timer::Hop(key.0, key.1));
        self.table.clear_suspect(peer);
        Ok(())
    }

    /// The next hop is silent: it is suspected, and the next best one takes over.
    pub(super) fn hop_timeout(&mut self, request: RequestId, attempt: u8, now: Instant) {
        let Some(hop) = self.hops.remove(&(request, attempt)) else { return };
        self.metrics.count(Counter::HopTimeouts);
        if let Some(silent) = hop.tried.last() {
            self.table.suspect(*silent);
            self.ask_for_life(*silent, now);
        }
        self.forward_or_end(hop.packet, hop.tried, hop.avoid, now);
    }

    /// Pings a peer that was silent when it should not have been; without an answer in time its link is lost.
    pub(super) fn ask_for_life(&mut self, peer: PeerId, now: Instant) {
        let Some(&id) = self.peers.get(&peer) else { return };
        if let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) {
            session.probe(now);
            self.dirty.insert(id);
            self.timers.set_earlier(Timer::Life(id), now + self.config.link.life_timeout);
        }
    }

    /// A suspected peer was to answer by now.
    pub(super) fn life_timeout(&mut self, id: LinkId, now: Instant) {
        if !self.heard_after(id, now - self.config.link.life_timeout) {
            self.fail_link(id, crate::CloseReason::Silent, now);
        }
    }

    /// Packets that wait for a peer whose link is gone go on by another one at once.
    pub(super) fn hops_unlinked(&mut self, peer: PeerId, now: Instant) {
        let waiting: Vec<(RequestId, u8)> = self
            .hops
            .waiting
            .iter()
            .filter(|(_, hop)| hop.tried.last() == Some(&peer))
            .map(|(key, _)| *key)
            .collect();
        for (request, attempt) in waiting {
            self.timers.clear(Timer::Hop(request, attempt));
            if let Some(hop) = self.hops.remove(&(request, attempt)) {
                self.forward_or_end(hop.packet, hop.tried, hop.avoid, now);
            }
        }
    }

    /// Answers a packet: the reply travels back along the route.
    pub(super) fn reply(&mut self, packet: &Routed, payload: Vec<u8>, now: Instant) {
        let mut route = packet.route.to_vec();
        let at = route.len();
        route.push(self.me);
        let Ok(route) = PeerIds::new(&route) else {
            return self.metrics.count(Counter::RepliesUndeliverable);
        };
        let reply = Reply {
            purpose: packet.purpose,
            attempt: packet.attempt,
            request: packet.request,
            at: u8::try_from(at).unwrap_or(u8::MAX),
            route,
            services: 0,
            rtts_ms: RttsMs::default(),
            payload: Bytes::from(payload),
        };
        if let Err(reason) = self.pass_back(reply, now) {
            self.metrics.count(reason);
        }
    }

    /// Passes a reply on to the previous hop that is still linked; hands it over where this node is the origin.
    fn pass_back(&mut self, mut reply: Reply, now: Instant) -> Fate {
        let at = usize::from(reply.at);
        if self.is_service() {
            reply.services |= service_bit(at);
        }
        if at == 0 {
            return self.answered(&reply, now);
        }
        // The nearest to the origin comes first: a route is shortened where this node is linked to an earlier hop.
        for earlier in 0..at {
            let Some(peer) = reply.route.get(earlier) else { continue };
            let Some(&link) = self.peers.get(&peer) else { continue };
            // Only service nodes forward, so the hops passed over are service nodes.
            for passed in earlier.saturating_add(1)..at {
                reply.services |= service_bit(passed);
            }
            reply.at = u8::try_from(earlier).unwrap_or(u8::MAX);
            self.metrics.count(Counter::RepliesForwarded);
            self.send_bytes(link, Class::Control, reply.encode(), now);
            return Ok(());
        }
        Err(Counter::RepliesUndeliverable)
    }

    /// A reply arrived: it must name this node, come from a later hop of its route, and answer a packet that passed here:
    /// else anybody could have a relay send what it likes to whom it likes.
    pub(super) fn handle_reply(&mut self, id: LinkId, mut reply: Reply, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        let at = usize::from(reply.at);
        let from = reply.route.position(peer);
        let from = from.filter(|from| *from > at && reply.route.get(at) == Some(self.me));
        let Some(from) = from else { return Err(Counter::RepliesInvalid) };
        if self.links.get(&id).is_some_and(|link| link.is_service()) {
            // Whatever it says of itself.
            reply.services |= service_bit(from);
        }
        if at > 0 && !self.seen.contains(&(reply.request, reply.attempt)) {
            return Err(Counter::RepliesUnsolicited);
        }
        let rtt = self.rtt_of(peer).map_or(0, |rtt| u16::try_from(rtt.as_millis()).unwrap_or(u16::MAX));
        let wanted = reply.route.len().saturating_sub(1).saturating_sub(at);
        // Hops that were skipped on the way back have no time of their own.
        let mut rtts = reply.rtts_ms.as_slice().to_vec();
        rtts.resize(wanted.saturating_sub(1), 0);
        rtts.push(rtt);
        reply.rtts_ms = RttsMs::new(&rtts).unwrap_or_default();
        self.table.clear_suspect(peer);
        if let Some(home) = (reply.purpose == Purpose::Connect).then_some(peer) {
            self.add_home_claim(&mut reply, home);
        }
        self.pass_back(reply, now)
    }
}

/// What says of a place of a route that a service node is there.
fn service_bit(place: usize) -> u32 {
    u32::try_from(place).ok().and_then(|place| 1_u32.checked_shl(place)).unwrap_or(0)
}
