//! Claims held for rooms: hand-over to who belongs nearer, digests, expiry.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Node;
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use crate::routing::key::replica_key;
use crate::wire::message::{Replicate, StoreDigest};
use crate::wire::{Bounded, Message};
use crate::{Duration, Instant, LinkId, PeerId, RoomId};

impl Node {
    pub(super) fn handle_replicate(&mut self, id: LinkId, replicate: &Replicate, now: Instant) -> Fate {
        if !self.is_service() || !self.links.get(&id).is_some_and(|link| link.is_service()) {
            return Err(Counter::ClaimsInvalid);
        }
        let from = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        for bytes in replicate.tombstones.iter() {
            if !self.hold_tombstone(bytes, Some(from), now) {
                self.metrics.count(Counter::ClaimsInvalid);
            }
        }
        // Those that are new here and came together have met at their former holder.
        let mut together: BTreeMap<(RoomId, u8), BTreeSet<PeerId>> = BTreeMap::new();
        for copy in replicate.claims.iter() {
            match self.checked_claim(&copy.claim, now) {
                Some(claim) => {
                    let (room, replica, peer) = (claim.room_id(), claim.replica(), claim.peer());
                    let first = self.store.claim_of(room, replica, peer).is_none();
                    self.hold_for(&claim, Duration::from_secs(u64::from(copy.left_s)), Some(from), now);
                    if first {
                        together.entry((room, replica)).or_default().insert(peer);
                    }
                }
                None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
        for (slot, met) in together {
            for fresh in &met {
                self.need_not_tell(slot, *fresh, met.iter().copied());
            }
        }
        Ok(())
    }

    /// A contact became ready: claims that belong to it move at once.
    pub(super) fn contact_ready(&mut self, peer: PeerId, now: Instant) {
        if self.is_service() {
            self.timers.set_earlier(Timer::Maintain, now);
        } else {
            self.client_online(peer, now);
        }
    }

    /// One rule for newcomers and losses alike: whoever is first for a key, or was before a newcomer, sends its claims to
    /// those who have just entered the nearest holders, and the second tells them what it holds. Keys for which many are
    /// nearer are dropped.
    pub(super) fn hand_over(&mut self, now: Instant) {
        if self.handed_over == self.table.changes() {
            return;
        }
        self.handed_over = self.table.changes();
        let replicas = self.config.routing.replicas;
        let slots: Vec<(RoomId, u8)> = self.store.rooms().collect();
        for slot in slots {
            let key = replica_key(&slot.0, slot.1);
            let rank = self.table.ready_rank(&key, &self.home_room);
            let holders = self.other_holders(&key, rank);
            let old = self.holders.insert(slot, holders.clone()).unwrap_or_default();
            for (place, entrant) in holders.iter().enumerate().filter(|(_, peer)| !old.contains(peer)) {
                match rank {
                    0 => self.copy_to(slot, None, *entrant, now),
                    1 if place == 0 => self.copy_to(slot, None, *entrant, now),
                    1 => self.send_digest(slot, *entrant, true, now),
                    _ => {}
                }
            }
            if rank >= replicas.saturating_mul(2) {
                self.store.drop_room(slot.0, slot.1);
                self.holders.remove(&slot);
            }
        }
    }

    /// The nearest to a key beside this node, which has this rank for it.
    fn other_holders(&self, key: &RoomId, rank: usize) -> Vec<PeerId> {
        let replicas = self.config.routing.replicas;
        let others = replicas.saturating_sub(usize::from(rank < replicas));
        self.table.nearest_ready(key, others)
    }

    /// The first claims of a key came, and copies are where they belong: later entrants get them by
    /// [`hand_over`](Self::hand_over).
    pub(super) fn note_holders(&mut self, slot: (RoomId, u8), rank: usize) {
        if !self.holders.contains_key(&slot) {
            let holders = self.other_holders(&replica_key(&slot.0, slot.1), rank);
            self.holders.insert(slot, holders);
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

    pub(super) fn handle_digest(&mut self, id: LinkId, digest: &StoreDigest, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        if !self.is_service() || !self.links.get(&id).is_some_and(|link| link.is_service()) {
            return Err(Counter::ClaimsInvalid);
        }
        let copies = self.store.missing(digest.room, digest.replica, &digest.items, now);
        self.send_copies(peer, copies, now);
        if digest.answer && self.store.lacks(digest.room, digest.replica, &digest.items) {
            self.send_digest((digest.room, digest.replica), peer, false, now);
        }
        Ok(())
    }

    pub(super) fn expire_claims(&mut self, now: Instant) {
        self.store.expire(now);
        let slots: BTreeSet<(RoomId, u8)> = self.store.rooms().collect();
        self.holders.retain(|slot, _| slots.contains(slot));
        self.popularity.retain(|slot| slots.contains(slot));
        let (unix_ms, tolerance) = (self.unix_ms, self.config.routing.clock_tolerance);
        let peers = &self.peers;
        self.homes_known
            .retain(|peer, claim| peers.contains_key(&peer) || claim.is_current(unix_ms, tolerance));
        let known = &self.homes_known;
        self.failures.retain(|peer, _| known.contains(*peer));
    }
}
