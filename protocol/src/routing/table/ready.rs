//! Views of the table that count only contacts that take part in routing.

use alloc::vec::Vec;

use super::{Table, nearest, position};
use crate::routing::key::{closer, home_id};
use crate::{Instant, PeerId, RoomId};

impl Table {
    /// The `n` linked and ready contacts nearest to `key`, nearest first.
    #[must_use]
    pub fn nearest_ready(&self, key: &RoomId, n: usize) -> Vec<PeerId> {
        nearest(&self.links, key, n, |contact| contact.ready)
            .into_iter()
            .map(|contact| contact.peer)
            .collect()
    }

    /// How many linked and ready contacts are strictly nearer to `key` than `own`: 0 for the root of the key.
    #[must_use]
    pub fn ready_rank(&self, key: &RoomId, own: &RoomId) -> usize {
        self.links.iter().filter(|contact| contact.ready && closer(key, &contact.id, own).is_lt()).count()
    }

    /// Whether a contact is linked and takes part in routing.
    #[must_use]
    pub fn is_ready(&self, peer: PeerId) -> bool {
        let at = position(&self.links, &home_id(peer)).ok();
        at.and_then(|at| self.links.get(at)).is_some_and(|contact| contact.ready)
    }

    /// Whether a known contact failed a short while ago.
    #[must_use]
    pub fn is_failed(&self, peer: PeerId, now: Instant) -> bool {
        self.get(peer).is_some_and(|contact| !contact.linked && contact.failed(now))
    }
}
