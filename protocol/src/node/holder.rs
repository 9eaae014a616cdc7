//! Claims held for rooms: hand-over to who belongs nearer, digests, expiry.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Node;
use super::clock::Timer;
use super::metrics::Counter;
use crate::routing::key::replica_key;
use crate::wire::message::{Replicate, StoreDigest};
use crate::wire::{Bounded, Message};
use crate::{Instant, LinkId, PeerId, RoomId};

impl Node {
    pub(super) fn handle_replicate(&mut self, id: LinkId, replicate: &Replicate, now: Instant) {
        if !self.is_service() || !self.links.get(&id).is_some_and(super::links::Link::is_service) {
            return self.metrics.count(Counter::ClaimsInvalid);
        }
        for bytes in replicate.tombstones.iter() {
            if !self.hold_tombstone(bytes, false, now) {
                self.metrics.count(Counter::ClaimsInvalid);
            }
        }
        for bytes in replicate.claims.iter() {
            match self.checked_claim(bytes, now) {
                Some(claim) => {
                    self.hold(&claim, false, now);
                }
                None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
    }

    /// A contact became ready: claims that belong to it move at once.
    pub(super) fn contact_ready(&mut self, peer: PeerId, now: Instant) {
        if self.is_service() {
            self.timers.set_earlier(Timer::Maintain, now);
        } else {
            self.client_online(peer, now);
        }
    }

    /// One rule for newcomers and losses alike: whoever is first or second for a key sends its claims to those who have
    /// just entered the nearest holders. Keys for which many are nearer are dropped.
    pub(super) fn hand_over(&mut self, now: Instant) {
        let replicas = self.config.routing.replicas;
        let slots: Vec<(RoomId, u8)> = self.store.rooms().collect();
        for slot in slots {
            let key = replica_key(&slot.0, slot.1);
            let nearest = self.table.nearest_ready(&key, replicas);
            let rank = self.table.ready_rank(&key, &self.home_room);
            let keep = replicas.saturating_sub(usize::from(rank < replicas));
            let holders: Vec<PeerId> = nearest.into_iter().take(keep).collect();
            let old = self.holders.insert(slot, holders.clone()).unwrap_or_default();
            if rank < 2 {
                for entrant in holders.iter().filter(|peer| !old.contains(peer)) {
                    self.copy_to(slot, None, *entrant, now);
                }
            }
            if rank >= replicas.saturating_mul(2) {
                self.store.drop_room(slot.0, slot.1);
                self.holders.remove(&slot);
            }
        }
    }

    /// Compares digests with the other holders of each room.
    pub(super) fn anti_entropy(&mut self, now: Instant) {
        let period = self.random.jittered(self.config.routing.anti_entropy);
        self.timers.set(Timer::AntiEntropy, now + period);
        let replicas = self.config.routing.replicas;
        let slots: Vec<(RoomId, u8)> = self.store.rooms().collect();
        for slot in slots {
            let key = replica_key(&slot.0, slot.1);
            let rank = self.table.ready_rank(&key, &self.home_room);
            let partners = match rank {
                0 => self.table.nearest_ready(&key, replicas.saturating_sub(1)),
                rank if rank < replicas => self.table.nearest_ready(&key, 1),
                _ => Vec::new(),
            };
            for partner in partners {
                self.send_digest(slot, partner, true, now);
            }
        }
    }

    fn send_digest(&mut self, slot: (RoomId, u8), partner: PeerId, answer: bool, now: Instant) {
        let (room, replica) = slot;
        let items = Bounded::truncated(self.store.digest(room, replica));
        self.send_to(partner, &Message::StoreDigest(StoreDigest { room, replica, items, answer }), now);
    }

    pub(super) fn handle_digest(&mut self, id: LinkId, digest: &StoreDigest, now: Instant) {
        let Some(peer) = self.open_peer(id) else { return };
        if !self.is_service() || !self.links.get(&id).is_some_and(super::links::Link::is_service) {
            return;
        }
        let copies = self.store.missing(digest.room, digest.replica, &digest.items);
        self.send_copies(peer, copies, now);
        if digest.answer && self.store.lacks(digest.room, digest.replica, &digest.items) {
            self.send_digest((digest.room, digest.replica), peer, false, now);
        }
    }

    pub(super) fn expire_claims(&mut self, now: Instant) {
        self.store.expire(now);
        let slots: BTreeSet<(RoomId, u8)> = self.store.rooms().collect();
        self.holders.retain(|slot, _| slots.contains(slot));
        let (unix_ms, tolerance) = (self.unix_ms, self.config.routing.clock_tolerance);
        let peers = &self.peers;
        self.homes_known
            .retain(|peer, claim| peers.contains_key(peer) || claim.is_current(unix_ms, tolerance));
        let known = &self.homes_known;
        self.failures.retain(|peer, _| known.contains_key(peer));
    }
}
