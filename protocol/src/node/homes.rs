//! A client's homes: the service nodes through which it is found.
//!
//! Up to three, spread on purpose: one chosen by a hash with the own peer id among those nearest to the primary room, one
//! nearest to the hash of the own peer id, and one that happens to be linked (tried or configured).

use alloc::vec::Vec;

use super::Node;
use super::clock::Timer;
use super::links::DialFor;
use super::overlay::NEAREST_ALL;
use super::requests::Task;
use crate::crypto::sha256;
use crate::routing::key::{distance, home_id};
use crate::wire::message::Purpose;
use crate::{Address, Duration, Instant, LinkId, PeerId, RoomId};

/// Known service nodes among which a node without an answering one looks for others.
const SPARES: usize = 16;

/// Candidates for the home nearest to the hash of the own peer id.
const NEAR_SELF: u8 = 4;

/// The search for homes: candidates of the two looked-up ones, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct HomeSearch {
    near_room: Vec<PeerId>,
    near_self: Vec<PeerId>,
    /// When they were asked for last, unless that came to nothing.
    pub(super) asked: Option<Instant>,
    /// Whether they were asked for before.
    asked_before: bool,
    /// The homes of last, for when none is linked.
    pub(super) last: Vec<PeerId>,
}

impl Node {
    /// A service link opened, or its node became ready: homes are looked up, and rooms are published through it.
    pub(super) fn client_online(&mut self, _peer: PeerId, now: Instant) {
        if self.home_search.asked.is_none() {
            self.look_up_homes(now);
        }
        self.maintain_homes(now);
        self.stranded_requests(now);
        self.rooms_online(now);
    }

    /// Looks up who is nearest to the primary room and to the hash of the own id.
    pub(super) fn look_up_homes(&mut self, now: Instant) {
        if self.is_service() {
            return;
        }
        self.home_search.asked = Some(now);
        let routing = &self.config.routing;
        let settled = self.homes.len() >= routing.homes;
        // Whoever answered first may have named whom it liked: once more are linked, they are asked, too.
        let first = !core::mem::replace(&mut self.home_search.asked_before, true);
        let period = match settled {
            _ if first && routing.read_back => routing.self_lookup_young,
            true => routing.homes_lookup,
            false => routing.self_lookup,
        };
        let period = self.random.jittered(period);
        self.timers.set(Timer::SelfLookup, now + period);
        for (by_own_hash, key, most) in
            [(false, self.location(), NEAREST_ALL), (true, self.own_hash(), NEAR_SELF)]
        {
            if self.config.routing.read_back && self.walk_for_homes(by_own_hash, key, now) {
                continue;
            }
            let asked = self.nearest_to_ask(&key, most, now);
            self.request(Task::Homes { by_own_hash }, Purpose::Nearest, key, None, asked, None, now);
        }
    }

    fn own_hash(&self) -> RoomId {
        RoomId(sha256(&[b"home", self.me.as_bytes()]))
    }

    /// A walk for homes is over: these answered.
    pub(super) fn homes_walked(&mut self, by_own_hash: bool, peers: &[PeerId], now: Instant) {
        if peers.is_empty() {
            self.homes_unanswered(now);
        } else {
            self.choose_homes(by_own_hash, peers, now);
        }
    }

    pub(super) fn choose_homes(&mut self, by_own_hash: bool, peers: &[PeerId], now: Instant) {
        let mut peers = peers.to_vec();
        if by_own_hash {
            let own = self.own_hash();
            peers.sort_by_key(|peer| distance(&own, &home_id(*peer)));
            self.home_search.near_self = peers;
        } else {
            let location = self.location();
            peers.sort_by_key(|peer| distance(&location, &home_id(*peer)));
            peers.truncate(9);
            let me = self.me;
            peers.sort_by_key(|peer| sha256(&[me.as_bytes(), peer.as_bytes()]));
            self.home_search.near_room = peers;
        }
        self.maintain_homes(now);
    }

    /// The lookup of homes had no answer: it is made again with the next service link, or later.
    pub(super) fn homes_unanswered(&mut self, now: Instant) {
        self.home_search.asked = None;
        self.timers.set_earlier(Timer::SelfLookup, now + Duration::from_secs(2));
    }

    pub(super) fn homes_due(&mut self, now: Instant) {
        if self.table.links().len() > 0 {
            self.look_up_homes(now);
        } else {
            // It is made with the next service link.
            self.home_search.asked = None;
        }
    }

    /// Takes the best candidates that are linked as homes, and dials those that are not.
    pub(super) fn maintain_homes(&mut self, now: Instant) {
        let wanted = self.config.routing.homes;
        let mut homes: Vec<PeerId> = Vec::new();
        let candidates = self.home_search.clone();
        for list in [candidates.near_room, candidates.near_self] {
            let best = list
                .into_iter()
                .filter(|peer| !homes.contains(peer))
                .find(|peer| self.peers.contains_key(peer) || !self.table.is_failed(*peer, now));
            let Some(best) = best else { continue };
            if self.peers.contains_key(&best) {
                homes.push(best);
            } else if let Some(address) = self.address_of(best) {
                self.dial(&address, DialFor::Overlay, now);
            }
        }
        let keep: Vec<PeerId> =
            self.homes.iter().copied().filter(|home| self.peers.contains_key(home)).collect();
        let mut linked: Vec<PeerId> =
            self.table.links().filter(|contact| contact.ready).map(|contact| contact.peer).collect();
        let me = self.me;
        linked.sort_by_key(|peer| sha256(&[peer.as_bytes(), me.as_bytes()]));
        for peer in keep.into_iter().chain(linked) {
            if homes.len() < wanted && !homes.contains(&peer) {
                homes.push(peer);
            }
        }
        homes.truncate(wanted);
        if homes.len() < wanted {
            self.dial_spare_home(now);
        }
        if homes != self.homes {
            if !homes.is_empty() {
                self.home_search.last.clone_from(&homes);
            }
            let settled = homes.len() == wanted;
            self.homes = homes;
            self.homes_changed(now);
            if settled {
                self.acquaint(now);
            }
        }
    }

    /// Dials the next best candidate where too few service nodes are linked to be homes.
    fn dial_spare_home(&mut self, now: Instant) {
        let under_way = self.links.values().any(|link| {
            !link.is_open() && link.dial.as_ref().is_some_and(|(purpose, _)| *purpose == DialFor::Overlay)
        });
        let HomeSearch { near_room, near_self, .. } = &self.home_search;
        let mut candidates = near_self.iter().rev().chain(near_room.iter().rev()).copied();
        let spare =
            candidates.find(|peer| !self.peers.contains_key(peer) && !self.table.is_failed(*peer, now));
        if let (false, Some(address)) = (under_way, spare.and_then(|peer| self.address_of(peer))) {
            self.dial(&address, DialFor::Overlay, now);
        }
    }

    /// No linked service node answers: others are dialled before the links are given up, and what waits goes through
    /// whoever is ready first.
    pub(super) fn dial_round(&mut self, now: Instant) {
        let known = self.table.nearest_known(&self.location(), SPARES, now);
        let addresses: Vec<Address> = known
            .into_iter()
            .filter(|peer| !self.peers.contains_key(peer))
            .filter_map(|peer| self.address_of(peer))
            .take(2)
            .collect();
        if addresses.is_empty() {
            self.dial_any(now);
        }
        for address in addresses {
            self.dial(&address, DialFor::Overlay, now);
        }
    }

    fn homes_changed(&mut self, now: Instant) {
        let ids: Vec<LinkId> = self.open_links().map(|(id, _)| id).collect();
        for id in ids {
            self.tell_reasons(id, now);
        }
        self.republish_soon(now);
    }

    pub(super) fn home_lost(&mut self, peer: PeerId, now: Instant) {
        self.homes.retain(|home| *home != peer);
        self.pass_over(peer, now);
        self.maintain_homes(now);
        self.republish_soon(now);
        let HomeSearch { near_room, near_self, .. } = &self.home_search;
        let left = |list: &[PeerId]| list.iter().any(|peer| !self.table.is_failed(*peer, now));
        if !left(near_room) || !left(near_self) {
            self.timers.set_earlier(Timer::SelfLookup, now + Duration::from_secs(1));
        }
    }

    pub(super) fn home_failed(&mut self, _peer: PeerId, now: Instant) {
        self.maintain_homes(now);
    }
}
