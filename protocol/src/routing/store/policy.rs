//! Who gets a place, and who gives way.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Claim, Put, Slot, Store};
use crate::{Instant, PeerId};

impl Store {
    /// Makes a place for a new claim of `peer`, which may replace its own tombstone, or says why there is none. Nothing
    /// is evicted for a claim that is refused in the end.
    pub(super) fn admit(&mut self, slot: Slot, peer: PeerId, claim: &Claim) -> Result<(), Put> {
        let loser = self.loser(slot, peer, claim);
        if loser == Some(peer) {
            return Err(Put::Full);
        }
        if self.entry(slot, peer).is_none() {
            if !self.admit_to_quota(peer) {
                return Err(Put::Quota);
            }
            if loser.is_none() && !self.admit_to_store(peer) {
                return Err(Put::Full);
            }
        }
        if let Some(loser) = loser {
            self.remove(slot, loser);
        }
        Ok(())
    }

    /// Whether `peer` may have an entry in one slot more. Its own tombstone that ends first makes way.
    pub(super) fn admit_to_quota(&mut self, peer: PeerId) -> bool {
        let held = self.holdings.get(&peer).map_or(0, |holding| holding.slots.len());
        held < self.limits.rooms_per_peer || self.remove_tombstone_of(peer)
    }

    /// Whether the store takes one entry of `peer` more. In a full store, the peer with the most entries, of equals the
    /// last in the draw, gives way with a tombstone or its newest claim, unless that is `peer` itself.
    pub(super) fn admit_to_store(&mut self, peer: PeerId) -> bool {
        if self.len() < self.limits.entries_max {
            return true;
        }
        let draw = self.draw(&[&peer.0]);
        let load = self.holdings.get(&peer).map_or(0, |holding| holding.slots.len()).saturating_add(1);
        let Some((most, last, victim)) = self.loads.last().copied() else { return false };
        if victim == peer || (load, draw, peer) >= (most, last, victim) {
            return false;
        }
        if self.remove_tombstone_of(victim) {
            return true;
        }
        let newest = self.holdings.get(&victim).and_then(|holding| {
            holding.slots.iter().copied().max_by_key(|slot| {
                self.entry(*slot, victim).and_then(|entry| entry.claim()).map(|claim| claim.first_held)
            })
        });
        if let Some(slot) = newest {
            self.remove(slot, victim);
        }
        newest.is_some()
    }

    /// Removes the tombstone of `peer` that ends first; `false` if it has none.
    fn remove_tombstone_of(&mut self, peer: PeerId) -> bool {
        let slots: Vec<Slot> = match self.holdings.get(&peer) {
            Some(holding) => holding.slots.iter().copied().collect(),
            None => return false,
        };
        let first = slots
            .into_iter()
            .filter_map(|slot| self.entry(slot, peer).map(|entry| (slot, entry)))
            .filter(|(_, entry)| entry.claim().is_none())
            .min_by_key(|(slot, entry)| (entry.until, *slot))
            .map(|(slot, _)| slot);
        if let Some(slot) = first {
            self.remove(slot, peer);
        }
        first.is_some()
    }

    /// Removes the tombstone of `slot` that ends first; `false` if it has none.
    pub(super) fn remove_tombstone_in(&mut self, slot: Slot) -> bool {
        let first = self
            .slot(slot)
            .filter(|(_, entry)| entry.claim().is_none())
            .min_by_key(|(peer, entry)| (entry.until, **peer))
            .map(|(peer, _)| *peer);
        if let Some(peer) = first {
            self.remove(slot, peer);
        }
        first.is_some()
    }

    /// Who gives way if the claim of `peer` is added to `slot`: nobody in a slot with free places.
    fn loser(&self, slot: Slot, peer: PeerId, claim: &Claim) -> Option<PeerId> {
        struct Rival {
            peer: PeerId,
            first_held: Instant,
            draw: u64,
            fresh: Reverse<u64>,
        }
        let rival = |peer: PeerId, claim: &Claim| Rival {
            peer,
            first_held: claim.first_held,
            draw: claim.draw,
            fresh: Reverse(claim.fresh_ms),
        };
        let cap = self.limits.claims_per_room;
        let mut rivals: Vec<Rival> = self
            .slot(slot)
            .filter_map(|(peer, entry)| entry.claim().map(|claim| rival(*peer, claim)))
            .collect();
        if rivals.len() < cap {
            return None;
        }
        rivals.push(rival(peer, claim));
        // Two fifths by continuity, two fifths by the draw, the rest by freshness.
        let share = cap.saturating_mul(2) / 5;
        rivals.sort_unstable_by_key(|rival| (rival.first_held, rival.draw, rival.peer));
        rivals.drain(..share.min(rivals.len()));
        rivals.sort_unstable_by_key(|rival| (rival.draw, rival.peer));
        rivals.drain(..share.min(rivals.len()));
        rivals.sort_unstable_by_key(|rival| (rival.fresh, rival.draw, rival.peer));
        rivals.last().map(|rival| rival.peer)
    }
}
