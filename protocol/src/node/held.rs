//! What a node holds, by collection: so that it can be seen that nothing a peer sends makes it grow without end.

use alloc::vec::Vec;
use core::mem::size_of;

use super::Node;
use crate::{PeerId, RequestId, RoomId};

/// Entries of one of a node's collections, and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The collection, a stable name.
    pub what: &'static str,
    /// How many there are.
    pub entries: usize,
    /// What they take, bytes: keys, values and payloads, without what the allocator and the trees add.
    pub bytes: usize,
}

/// A collection whose entries take `each` bytes, and `payload` bytes besides in all.
const fn held(what: &'static str, entries: usize, each: usize, payload: usize) -> Held {
    Held { what, entries, bytes: entries.saturating_mul(each).saturating_add(payload) }
}

impl Node {
    /// What the node holds for others and about them, by collection, in a fixed order. All of it is bounded, see the table of
    /// owners in `ARCHITECTURE.md`; what an application of this node itself has queued or keeps open is not among it.
    #[must_use]
    pub fn held(&self) -> Vec<Held> {
        const PEER: usize = size_of::<PeerId>();
        const ROOM: usize = size_of::<RoomId>();
        let news = self.notify.values().flat_map(|told| told.values());
        let news_told: usize = news.clone().map(|news| news.met.len()).sum();
        let holders: usize = self.holders.values().map(Vec::len).sum();
        let (members, member_bytes) = self.members_held();
        let (peers, bans) = self.standings.len();
        let mut all = alloc::vec![
            held("links", self.links.len(), size_of::<super::links::Link>(), self.queued_bytes),
            held("dials", self.dialing.len(), PEER, 0),
            held("locations", self.locations.len(), PEER.saturating_add(ROOM), 0),
            held(
                "circuits",
                self.circuits.len(),
                size_of::<super::circuits::CircuitEnd>(),
                self.tokens.relayed
            ),
            held("contacts", self.table.len(), size_of::<crate::routing::table::Contact>(), 0),
            held("home_claims", self.homes_known.len(), 0, self.homes_known.bytes()),
            held("addresses", self.book.len(), size_of::<crate::Address>(), 0),
            held("failures", self.failures.len(), PEER, 0),
            held(
                "waiting_packets",
                self.hops.len(),
                size_of::<super::forward::PendingHop>(),
                self.hops.bytes()
            ),
            held("seen_attempts", self.seen.len(), size_of::<(RequestId, u8)>(), 0),
            held("standings", peers, PEER.saturating_add(size_of::<super::standing::Standing>()), 0),
            held("bans", bans, PEER, 0),
            held("claims", self.store.len(), crate::routing::store::Store::ENTRY_BYTES, self.store.bytes()),
            held("publish_rates", self.popularity.len(), ROOM, 0),
            held("holders", self.holders.len(), ROOM, holders.saturating_mul(PEER)),
            held("news", news.count(), PEER, news_told.saturating_mul(PEER)),
            held("members", members, 0, member_bytes),
        ];
        all.extend(self.messages_held());
        all
    }

    /// Members known in joined rooms, and the bytes of their claims and of what they say of themselves.
    fn members_held(&self) -> (usize, usize) {
        let members = || self.rooms.values().flat_map(|room| room.members.values());
        let said = |member: &super::rooms::Member| {
            member.claim.bytes().len().saturating_add(member.said.data().len())
        };
        let said: usize = members().map(|member| said(member)).sum();
        let each = size_of::<super::rooms::Member>().saturating_mul(members().count());
        (members().count(), said.saturating_add(each))
    }

    /// Messages of others in joined rooms: those kept for members that miss them, and those that wait for earlier ones.
    fn messages_held(&self) -> [Held; 2] {
        let (mut kept, mut waiting) = ((0_usize, 0_usize), 0_usize);
        for room in self.rooms.values() {
            let (entries, bytes, waits) = room.streams.held_of_others();
            kept = (kept.0.saturating_add(entries), kept.1.saturating_add(bytes));
            waiting = waiting.saturating_add(waits);
        }
        [held("kept_messages", kept.0, 0, kept.1), held("waiting_messages", 0, 0, waiting)]
    }
}
