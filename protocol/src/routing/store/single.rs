//! What is held of one peer.

use bytes::Bytes;

use super::{Copies, Store};
use crate::{Instant, PeerId, RoomId};

impl Store {
    /// The claim of one peer for a room.
    #[must_use]
    pub fn claim_of(&self, room: RoomId, replica: u8, peer: PeerId) -> Option<Bytes> {
        let entry = self.slots.get(&(room, replica))?.get(&peer)?;
        entry.claim().map(|_| entry.bytes.clone())
    }

    /// Whether this very claim is held: it was verified when it came.
    #[must_use]
    pub fn holds(&self, room: RoomId, replica: u8, peer: PeerId, bytes: &Bytes) -> bool {
        self.claim_of(room, replica, peer).is_some_and(|held| held == bytes)
    }

    /// The claim or tombstone of one peer, to hand to another holder.
    #[must_use]
    pub fn copy_of(&self, room: RoomId, replica: u8, peer: PeerId, now: Instant) -> Copies {
        let mut copies = Copies::default();
        if let Some(entry) = self.slots.get(&(room, replica)).and_then(|slot| slot.get(&peer)) {
            match entry.claim() {
                Some(_) => copies.claims.extend(entry.copy(now)),
                None => copies.tombstones.push(entry.bytes.clone()),
            }
        }
        copies
    }
}
