//! The overlay of service nodes: home claims, hellos, leaf set and buckets, readiness, healing.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use rand_core::Rng as _;

use super::Node;
use super::api::{CloseReason, Event};
use super::clock::Timer;
use super::dispatch::Fate;
use super::home_claims::KnownHome;
use super::links::{DialFor, Link};
use super::metrics::Counter;
use super::requests::Task;
use crate::link::Peer;
use crate::routing::book::Noted;
use crate::routing::key::{bucket_index, home_id, random_in_bucket};
use crate::routing::table::Learned;
use crate::wire::message::{Hello, Nearest, NearestAnswer, Purpose};
use crate::wire::{Bounded, HomeClaim, HomeClaimTerms, Message, encode_body};
use crate::{Address, Duration, Instant, LinkId, NodeKind, PeerId, RoomId};

/// Home claims of linked service nodes in a hello beside the nearest ones, so that newcomers learn of distant regions.
const HELLO_OTHERS: usize = 4;
/// Service nodes asked for in a lookup: a root and its leaf set.
pub(super) const NEAREST_ALL: u8 = 9;
/// Home claims named in a lookup.
const NEAREST_NAMED: usize = 16;
/// Neighbours that a service node would like to be told of before it is ready, and afterwards.
const NEIGHBOURS_FIRST: u8 = 13;
const NEIGHBOURS_LATER: u8 = 4;
/// How long a contact that failed or refused is passed over; doubles each time.
const PASSED_OVER: Duration = Duration::from_secs(30);
const PASSED_OVER_DOUBLINGS: u32 = 5;
/// Addresses dialled at a time by a node without any service link.
const DIALS_OFFLINE: usize = 3;

/// Hellos that are owed.
#[derive(Debug, Default)]
pub(super) struct Hellos {
    /// Something of this node's own has changed: all are told.
    all: bool,
    /// The own home claim was renewed: service nodes are told, who pass it on.
    renewed: bool,
    /// Links whose peers are still to hear of their neighbours.
    introduce: BTreeSet<LinkId>,
    /// Leaf neighbours of whom the others are still to hear.
    fresh_leaves: BTreeSet<PeerId>,
}

impl Node {
    /// Whether this is a service node.
    pub(super) fn is_service(&self) -> bool {
        self.config.kind == NodeKind::Service
    }

    /// The node's place in the key space.
    pub(super) fn location(&self) -> RoomId {
        self.primary.unwrap_or(self.home_room)
    }

    /// Makes or renews the own home claim.
    pub(super) fn renew_home_claim(&mut self, now: Instant) {
        if !self.is_service() {
            return;
        }
        let issued = self.wall.unix_ms(now);
        let expiry = issued.saturating_add(self.config.routing.claim_ttl.as_millis() as u64);
        let terms = HomeClaimTerms {
            addresses: self.addresses.clone(),
            issued_ms: issued,
            expiry_ms: expiry,
            sequence: self.next_sequence(),
        };
        let claim = HomeClaim::make(&terms, &self.identity, self.crypto.as_ref(), &self.config.network);
        self.own_home = Some(claim);
        let period = self.random.jittered(self.config.routing.republish);
        self.timers.set(Timer::HomeClaim, now + period);
        self.hellos.renewed = true;
        self.timers.set_earlier(Timer::Hello, now + self.config.routing.coalesce);
    }

    /// Sends a hello to all, soon.
    pub(super) fn announce_self(&mut self, now: Instant) {
        self.hellos.all = true;
        self.timers.set_earlier(Timer::Hello, now + self.config.routing.coalesce);
    }

    pub(super) fn send_hellos(&mut self, now: Instant) {
        for id in core::mem::take(&mut self.hellos.introduce) {
            if self.links.get(&id).is_some_and(|link| link.is_open()) {
                self.send_hello(id, true, now);
            }
        }
        self.spread_leaves(now);
        let (all, renewed) =
            (core::mem::take(&mut self.hellos.all), core::mem::take(&mut self.hellos.renewed));
        let told = |link: &Link| all || (renewed && link.is_service());
        let ids: Vec<LinkId> = self.open_links().filter(|(_, link)| told(link)).map(|(id, _)| id).collect();
        for id in ids {
            self.send_hello(id, false, now);
        }
    }

    /// Names new leaf neighbours to the others: who is near to one is near to the next.
    fn spread_leaves(&mut self, now: Instant) {
        let fresh = core::mem::take(&mut self.hellos.fresh_leaves);
        if fresh.is_empty() {
            return;
        }
        for leaf in self.table.leaf_set() {
            let neighbours = self.home_claims_of(fresh.iter().copied().filter(|peer| *peer != leaf));
            if let (false, Some(&link)) = (neighbours.is_empty(), self.peers.get(&leaf)) {
                self.hello_with(link, neighbours, now);
            }
        }
    }

    /// Says where and what this node is, and names neighbours of the receiver once on each link, or again when its
    /// location changes: they are most of a hello.
    fn send_hello(&mut self, id: LinkId, introduce: bool, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(peer) = link.peer.as_ref() else { return };
        let (to, to_service, most) = (peer.id, peer.service, usize::from(link.wants));
        let neighbours = if introduce && self.is_service() {
            let near = if to_service { home_id(to) } else { self.client_location(to) };
            self.neighbours_for(to, near, most)
        } else {
            Bounded::default()
        };
        self.hello_with(id, neighbours, now);
    }

    fn hello_with(&mut self, id: LinkId, neighbours: Bounded<Bytes, 16>, now: Instant) {
        let (location, ready, wants) = (self.location(), self.is_ready(), self.neighbours_wanted());
        let Some(link) = self.links.get_mut(&id) else { return };
        let own = self.own_home.as_ref().filter(|claim| link.told_home != Some(claim.sequence()));
        link.told_home = own.map(|claim| claim.sequence()).or(link.told_home);
        let home = own.map(|claim| claim.bytes().clone());
        let hello = Hello { location, ready, home, wants, neighbours };
        self.send(id, &Message::Hello(hello), now);
    }

    /// How many neighbours this node would like to be told of: all that there are while it seeks its place, then a few, to
    /// hear of changes; a client, whose homes come by lookups, only until it knows some.
    fn neighbours_wanted(&self) -> u8 {
        match (self.is_service(), self.is_ready()) {
            (true, false) => NEIGHBOURS_FIRST,
            (true, true) => NEIGHBOURS_LATER,
            (false, _) if self.homes_known.len() < usize::from(NEIGHBOURS_FIRST) => NEIGHBOURS_LATER,
            (false, _) => 0,
        }
    }

    fn client_location(&self, client: PeerId) -> RoomId {
        self.locations.get(&client).copied().unwrap_or(self.home_room)
    }

    /// Home claims of linked service nodes nearest to `near`, and of a few others. Only linked ones are passed on:
    /// unverified contacts would circulate the dead.
    fn neighbours_for(&mut self, to: PeerId, near: RoomId, most: usize) -> Bounded<Bytes, 16> {
        let wanted = self.config.routing.leaf_set.saturating_add(1).min(most);
        let mut peers = self.table.nearest_linked(&near, wanted);
        let others: Vec<PeerId> =
            self.table.links().map(|contact| contact.peer).filter(|peer| !peers.contains(peer)).collect();
        for _ in 0..HELLO_OTHERS.min(others.len()).min(most.saturating_sub(wanted)) {
            let draw = self.random.choices.next_u32() as usize;
            if let Some(peer) = draw.checked_rem(others.len()).and_then(|index| others.get(index))
                && !peers.contains(peer)
            {
                peers.push(*peer);
            }
        }
        self.home_claims_of(peers.into_iter().filter(|peer| *peer != to))
    }

    /// The current home claims of these peers.
    pub(super) fn home_claims_of<const N: usize>(
        &self,
        peers: impl IntoIterator<Item = PeerId>,
    ) -> Bounded<Bytes, N> {
        Bounded::truncated(
            peers.into_iter().filter_map(|peer| self.homes_known.get(peer)).map(KnownHome::bytes),
        )
    }

    /// Home claims for a peer that is refused or left behind.
    pub(super) fn referrals(&mut self, id: LinkId) -> Bounded<Bytes, 8> {
        let Some(peer) = self.links.get(&id).and_then(|link| link.peer.as_ref()) else {
            return Bounded::default();
        };
        let (to, near) = (peer.id, if peer.service { peer.home } else { self.client_location(peer.id) });
        let nearest: Vec<PeerId> =
            self.table.nearest_linked(&near, 9).into_iter().filter(|peer| *peer != to).collect();
        self.home_claims_of(nearest)
    }

    /// A link opened.
    pub(super) fn overlay_linked(&mut self, id: LinkId, peer: &Peer, now: Instant) {
        if peer.service {
            let outbound = self.links.get(&id).is_some_and(|link| link.outbound);
            let dial = self.links.get(&id).and_then(|link| link.dial.as_ref());
            let purpose = dial.map(|(purpose, _)| *purpose);
            let bootstrap = purpose.is_some_and(|purpose| purpose != DialFor::Overlay);
            let offline = self.table.links().len() == 0;
            self.table.linked(peer.id, !outbound, bootstrap, now);
            if let Some(rtt) = self.rtt_of(peer.id) {
                self.table.measured(peer.id, rtt);
            }
            if purpose == Some(DialFor::Trial) {
                self.table.replace_slower(peer.id);
            }
            self.book.found(peer.id);
            self.failures.remove(&peer.id);
            if offline {
                self.emit(Event::Online(true));
                self.forget_denials(now);
                if self.is_service() {
                    self.republish_after_outage(now);
                }
            }
            self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
        }
        self.send_hello(id, false, now);
        if !peer.service {
            return;
        }
        if self.is_service() {
            // Not at once: most trials are over by then.
            self.hellos.introduce.insert(id);
            if self.is_ready() && self.table.is_leaf(&peer.home) {
                self.hellos.fresh_leaves.insert(peer.id);
            }
            self.timers.set_earlier(Timer::Hello, now + self.config.routing.coalesce);
        }
        let healed = self
            .links
            .get(&id)
            .and_then(|link| link.dial.as_ref())
            .is_some_and(|(purpose, _)| matches!(purpose, DialFor::Heal | DialFor::Bootstrap));
        if self.is_service() && (healed || !self.is_ready()) {
            self.self_lookup(Some(peer.id), now);
        }
    }

    /// A link is gone.
    pub(super) fn overlay_unlinked(&mut self, peer: &Peer, reason: CloseReason, now: Instant) {
        self.locations.remove(&peer.id);
        if !peer.service {
            return;
        }
        let wanted = matches!(reason, CloseReason::Unwanted | CloseReason::Busy | CloseReason::Duplicate);
        if let (false, Some(address)) = (wanted, self.address_of(peer.id)) {
            self.book.lost(&address, now);
        }
        let learned = self.table.unlinked(peer.id, now);
        self.contact_learned(peer.id, learned);
        if self.table.links().len() == 0 {
            self.emit(Event::Online(false));
            self.timers.set_earlier(Timer::Heal, now + Duration::from_millis(500));
        }
        self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
        if !self.is_service() && self.homes.contains(&peer.id) {
            self.home_lost(peer.id, now);
        }
    }

    /// A service node said that it shuts down: it is not dialled as if it lived.
    pub(super) fn overlay_left(&mut self, peer: PeerId) {
        self.table.forget(peer);
        self.forget_home(peer);
    }

    /// Forgets the home claim of a service node, and what goes with it.
    fn forget_home(&mut self, peer: PeerId) {
        self.homes_known.remove(peer);
        self.failures.remove(&peer);
    }

    /// The first address of a service node, by its own home claim.
    pub(super) fn address_of(&self, peer: PeerId) -> Option<Address> {
        self.homes_known.get(peer)?.address()
    }

    /// A dial failed: the contact is passed over for a while.
    pub(super) fn dial_failed(&mut self, address: &Address, reason: CloseReason, now: Instant) {
        let jitter = self.random.jitter.next_u64();
        self.book.note_vain(address, now);
        if reason == CloseReason::IdMismatch {
            self.book.mismatched(address, now, jitter);
        } else {
            self.book.failed(address, now, jitter);
        }
        if let Some(peer) = address.peer {
            self.pass_over(peer, now);
            if !self.is_service() {
                self.home_failed(peer, now);
            }
            self.connect_failed(peer, now);
        }
        self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
        if self.table.links().len() == 0 {
            let (least, _) = self.config.routing.offline_retry;
            let pause = least + self.random.up_to(least);
            self.timers.set_earlier(Timer::Heal, now + pause);
        }
    }

    /// Passes a contact over for a while.
    pub(super) fn pass_over(&mut self, peer: PeerId, now: Instant) {
        let mut times = 1_u32;
        if self.homes_known.contains(peer) {
            let failures = self.failures.entry(peer).or_insert(0);
            *failures = failures.saturating_add(1);
            times = *failures;
        }
        let pause = PASSED_OVER.saturating_mul(1 << times.saturating_sub(1).min(PASSED_OVER_DOUBLINGS));
        let pause = self.random.jittered(pause);
        self.table.failed(peer, now + pause);
    }

    /// A service node had no room for this one and named others.
    pub(super) fn refused_busy(&mut self, peer: Option<PeerId>, others: &[PeerId], now: Instant) {
        if let Some(peer) = peer {
            self.pass_over(peer, now);
        }
        if self.table.links().len() == 0 || !self.is_service() {
            for peer in others.iter().take(3) {
                if let Some(address) = self.address_of(*peer) {
                    self.dial(&address, DialFor::Bootstrap, now);
                }
            }
        }
        self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
    }

    /// Checks and remembers a home claim; gives its peer if it is valid and not this node's own.
    pub(super) fn learn_home(
        &mut self,
        bytes: &Bytes,
        source: Option<PeerId>,
        now: Instant,
    ) -> Option<PeerId> {
        let unix_ms = self.wall.unix_ms(now);
        let Ok(claim) = HomeClaim::decode(bytes) else {
            self.metrics.count(Counter::ClaimsInvalid);
            return None;
        };
        let peer = claim.peer();
        if peer == self.me {
            return None;
        }
        if source != Some(peer) {
            self.table.told_alive(peer, now);
        }
        let tolerance = self.config.routing.clock_tolerance;
        let known = self.homes_known.get(peer);
        if known.is_some_and(|known| known.is(bytes) || known.newer_than(&claim)) {
            return Some(peer);
        }
        let valid =
            claim.is_current(unix_ms, tolerance) && claim.verify(self.crypto.as_ref(), &self.config.network);
        if !valid {
            self.metrics.count(Counter::ClaimsInvalid);
            return None;
        }
        let first = known.is_none();
        // What a peer says of itself comes over a link, or from a fellow member.
        if first && source != Some(peer) && self.is_crowded(&claim, now) {
            self.metrics.count(Counter::ContactsCrowded);
            return None;
        }
        for address in claim.addresses() {
            let noted = self.book.learn(address.clone(), source.unwrap_or(peer), now);
            if first && noted == Noted::New {
                self.emit(Event::NewServiceAddress { address: address.clone() });
            }
        }
        self.homes_known.insert(&claim);
        let learned = self.table.learn(peer, now);
        self.contact_learned(peer, learned);
        Some(peer)
    }

    /// What goes with a contact that had no place in the table, or has none any more.
    fn contact_learned(&mut self, peer: PeerId, learned: Learned) {
        match learned {
            Learned::New { evicted: Some(evicted) } => self.forget_home(evicted),
            Learned::New { evicted: None } | Learned::Known => {}
            Learned::Refused => self.forget_home(peer),
        }
    }

    /// Whether so many contacts of the same network are known that a stranger's word does not add another one. The nearest
    /// are taken in any case: routing is wrong without them.
    fn is_crowded(&self, claim: &HomeClaim, now: Instant) -> bool {
        let (location, routing) = (self.location(), &self.config.routing);
        let bucket = bucket_index(&location, &home_id(claim.peer()));
        let (mut all, mut of_bucket) = (0_usize, 0_usize);
        for other in self.homes_known.neighbours_of(claim) {
            all = all.saturating_add(1);
            let same = bucket_index(&location, &home_id(other)) == bucket;
            of_bucket = of_bucket.saturating_add(usize::from(same));
        }
        (all >= routing.prefix_contacts_max || of_bucket >= routing.prefix_bucket_max)
            && !self.table.would_be_near(claim.peer(), now)
    }

    pub(super) fn handle_hello(&mut self, id: LinkId, hello: &Hello, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        if let Some(link) = self.links.get_mut(&id) {
            link.wants = hello.wants;
        }
        let service = self.links.get(&id).is_some_and(|link| link.is_service());
        if let Some(home) = &hello.home
            && service
            && self.learn_home(home, Some(peer), now) != Some(peer)
        {
            self.metrics.count(Counter::ClaimsInvalid);
        }
        for neighbour in hello.neighbours.iter() {
            self.learn_home(neighbour, Some(peer), now);
        }
        if service {
            let was_ready = self.table.is_ready(peer);
            self.table.set_ready(peer, hello.ready);
            if hello.ready && !was_ready {
                self.contact_ready(peer, now);
            }
            if !hello.ready && self.hellos.introduce.remove(&id) {
                // A newcomer looks for its neighbours.
                self.send_hello(id, true, now);
            }
        } else if self.locations.insert(peer, hello.location) != Some(hello.location) && self.is_service() {
            self.send_hello(id, true, now);
        }
        self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
        Ok(())
    }

    /// Asks for the own nearest service nodes, through a given one where it shall be.
    pub(super) fn self_lookup(&mut self, through: Option<PeerId>, now: Instant) {
        let key = self.location();
        let asked = self.nearest_to_ask(&key, NEAREST_ALL, now);
        self.request(Task::SelfLookup, Purpose::Nearest, key, None, asked, through, now);
    }

    pub(super) fn self_lookup_due(&mut self, now: Instant) {
        if self.is_service() {
            if self.table.links().len() > 0 {
                self.self_lookup(None, now);
                self.refresh_buckets(1, now);
            }
            let routing = &self.config.routing;
            let young = now.since(self.born) < routing.young;
            let period = if young { routing.self_lookup_young } else { routing.self_lookup };
            let period = self.random.jittered(period);
            self.timers.set(Timer::SelfLookup, now + period);
        }
    }

    /// Looks up a random key in each of `most` buckets that lack links, drawn if there are more.
    pub(super) fn refresh_buckets(&mut self, most: usize, now: Instant) {
        let mut random = [0; 32];
        self.random.choices.fill_bytes(&mut random);
        let mut lacking = self.table.buckets_to_refresh(now);
        while lacking.len() > most {
            let draw = self.random.choices.next_u32() as usize;
            lacking.swap_remove(draw.checked_rem(lacking.len()).unwrap_or(0));
        }
        for index in lacking {
            let key = random_in_bucket(&self.location(), index, random);
            let asked = self.nearest_to_ask(&key, NEAREST_ALL, now);
            self.request(Task::BucketRefresh, Purpose::Nearest, key, None, asked, None, now);
        }
    }

    /// Dials a candidate of a bucket to learn how far it is.
    pub(super) fn try_candidate(&mut self, now: Instant) {
        let routing = &self.config.routing;
        let (mut period, turn) = (routing.proximity_trial, self.random.choices.next_u64());
        if self.is_ready() && self.farewell.is_none() {
            let dialing = &self.dialing;
            let candidate = self.table.trial(turn, now, |peer| dialing.contains_key(&peer));
            match candidate.and_then(|peer| Some((peer, self.address_of(peer)?))) {
                Some((peer, address)) => {
                    if self.dial(&address, DialFor::Trial, now).is_none() {
                        self.pass_over(peer, now);
                    }
                }
                None => period = routing.self_lookup,
            }
        }
        let period = self.random.jittered(period);
        self.timers.set(Timer::Trial, now + period);
    }

    /// Notes how far a tried candidate is; whether its bucket has no use for it.
    pub(super) fn trial_lost(&mut self, peer: PeerId, rtt: Option<Duration>) -> bool {
        let Some(rtt) = rtt else { return false };
        self.table.measured(peer, rtt);
        self.metrics.count(Counter::CandidatesTried);
        let wanted = self.table.is_leaf(&home_id(peer)) || self.is_fellow(peer);
        !wanted && self.table.outpaced_by(peer, rtt).is_none()
    }

    /// The payload of a lookup of the `most` nearest: it names the current home claims that are known already.
    pub(super) fn nearest_to_ask(&self, key: &RoomId, most: u8, now: Instant) -> Bytes {
        let known = self.marks_near(key, now).into_iter().map(|(mark, _)| mark);
        encode_body(&Nearest { most, known: Bounded::truncated(known) }).into()
    }

    /// The service nodes nearest to a key of which current home claims are known, by their marks.
    fn marks_near(&self, key: &RoomId, now: Instant) -> Vec<(u32, PeerId)> {
        let near = self.table.nearest_known(key, NEAREST_NAMED, now).into_iter();
        near.filter_map(|peer| Some((peer, self.homes_known.get(peer)?)))
            .filter(|(_, claim)| claim.is_current(self.unix_ms, Duration::ZERO))
            .map(|(peer, claim)| (claim.mark(), peer))
            .collect()
    }

    /// The answer to a lookup of the nearest: more contacts, and those that were named and live.
    pub(super) fn learned_nearest(
        &mut self,
        key: &RoomId,
        answer: &NearestAnswer,
        from: Option<PeerId>,
        now: Instant,
    ) -> Vec<PeerId> {
        let named = self.marks_near(key, now).into_iter().filter(|(mark, _)| answer.known.contains(mark));
        let mut peers: Vec<PeerId> = named.map(|(_, peer)| peer).collect();
        for peer in &peers {
            self.table.told_alive(*peer, now);
            let learned = self.table.learn(*peer, now);
            self.contact_learned(*peer, learned);
        }
        peers.extend(answer.homes.iter().filter_map(|claim| self.learn_home(claim, from, now)));
        self.timers.set_earlier(Timer::Maintain, now + Duration::from_millis(20));
        peers
    }

    /// Dials who is wanted, moves claims to where they belong, becomes ready.
    pub(super) fn maintain(&mut self, now: Instant) {
        if !self.is_service() {
            return self.maintain_homes(now);
        }
        let dialing = &self.dialing;
        for (peer, _) in self.table.wanted(now, |peer| dialing.contains_key(&peer)) {
            let dialled =
                self.address_of(peer).and_then(|address| self.dial(&address, DialFor::Overlay, now));
            if dialled.is_none() && !self.dialing.contains_key(&peer) {
                self.pass_over(peer, now);
            }
        }
        self.hand_over(now);
        self.become_ready_if_due(now);
        let ids: Vec<LinkId> =
            self.open_links().filter(|(_, link)| link.is_service()).map(|(id, _)| id).collect();
        for id in ids {
            self.tell_reasons(id, now);
        }
    }

    /// Whether this node takes part in routing.
    pub(super) const fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    fn become_ready_if_due(&mut self, now: Instant) {
        if self.is_ready() || !self.started {
            return;
        }
        let age = now.since(self.born);
        let alone = self.book.iter().len() == 0;
        let settled = age >= Duration::from_secs(1)
            && self.table.links().len() > 0
            && self.looked_up
            && self.table.all_nearest_linked(now);
        if alone || settled || age >= self.config.routing.ready_after {
            self.ready_since = Some(now);
            self.timers.clear(Timer::Ready);
            self.emit(Event::Ready);
            // At once: who links to this node from now on hears it too, and the holders of claims must not be the last.
            self.hellos.all = true;
            self.send_hellos(now);
            self.rooms_online(now);
        } else {
            let next = (self.born + Duration::from_secs(1)).max(now + Duration::from_millis(250));
            self.timers.set(Timer::Ready, next);
        }
    }

    /// Dials a lost contact, or a bootstrap that is not linked.
    pub(super) fn heal(&mut self, now: Instant) {
        if !self.started || self.farewell.is_some() {
            return;
        }
        let offline = self.table.links().len() == 0;
        let (least, most) = self.config.routing.offline_retry;
        let pause = if offline {
            for _ in 0..DIALS_OFFLINE {
                self.dial_any(now);
            }
            let next = self.book.next_dial_at(now, |peer| self.is_engaged(peer));
            let wait = next.map_or(most, |at| at.since(now)).clamp(least, most);
            wait + self.random.up_to(least)
        } else {
            self.heal_online(now);
            self.random.jittered(self.config.routing.heal_contact)
        };
        self.timers.set(Timer::Heal, now + pause);
    }

    /// The lookup through a healing link was answered: the link has done its work, unless it has another reason.
    pub(super) fn healed_through(&mut self, peer: PeerId, now: Instant) {
        let Some(&id) = self.peers.get(&peer) else { return };
        let for_healing =
            |link: &Link| link.dial.as_ref().is_some_and(|(purpose, _)| *purpose == DialFor::Heal);
        let Some(link) = self.links.get(&id).filter(|link| for_healing(link)) else { return };
        let idle = link.peer.as_ref().is_some_and(|peer| self.lasting_reasons(link, peer).is_empty());
        if idle && link.circuits == 0 && self.table.links().len() > 1 {
            self.drain_link(id, CloseReason::Unwanted, now);
        }
    }

    /// Whether a peer is linked or being dialled.
    fn is_engaged(&self, peer: PeerId) -> bool {
        self.peers.contains_key(&peer) || self.dialing.contains_key(&peer)
    }

    pub(super) fn dial_any(&mut self, now: Instant) {
        let random = self.random.choices.next_u64();
        if let Some(address) = self.book.next_dial(now, |peer| self.is_engaged(peer), random) {
            self.dial(&address, DialFor::Bootstrap, now);
        }
    }

    /// Each half of a partition believes itself whole: only dialling across it heals.
    fn heal_online(&mut self, now: Instant) {
        if !self.is_service() {
            return;
        }
        let random = self.random.choices.next_u64();
        let (peers, dialing) = (&self.peers, &self.dialing);
        let engaged = |peer: PeerId| peers.contains_key(&peer) || dialing.contains_key(&peer);
        let lost = self.book.next_lost(now, engaged, random);
        let due = now.since(self.healed_at) >= self.config.routing.heal_bootstrap;
        let bootstrap = due.then(|| self.book.next_bootstrap(engaged, random)).flatten();
        if due {
            self.healed_at = now;
        }
        for address in [lost, bootstrap].into_iter().flatten() {
            self.dial(&address, DialFor::Heal, now);
        }
    }
}
