//! Clients for each other, as best they can: while a client has no service link, its packets go through fellow members that
//! are linked directly.
//!
//! A fellow that has a service link passes them on to it; one that has none, to the linked fellow whose primary room is
//! nearer to the key than its own. Members of the room that is sought answer. A room's graph is small and its members know
//! few others, so this finds what is a few rooms away and no more; it is what is left when all service nodes are gone.

use alloc::vec::Vec;

use super::Node;
use crate::routing::key::{Distance, distance};
use crate::wire::Routed;
use crate::wire::message::Purpose;
use crate::{Instant, PeerId};

impl Node {
    /// Fellow members that are linked directly, and where they say that they are.
    fn linked_fellows(&self) -> impl Iterator<Item = PeerId> {
        let direct = self.open_links().filter(|(_, link)| !link.is_circuit() && !link.is_service());
        direct
            .filter_map(|(_, link)| link.peer.as_ref())
            .map(|peer| peer.id)
            .filter(|peer| self.is_fellow(*peer))
    }

    /// Whether this is a client that fellow members could help.
    pub(super) fn has_fellows(&self) -> bool {
        !self.is_service() && self.linked_fellows().next().is_some()
    }

    fn fellow_distance(&self, peer: PeerId, packet: &Routed) -> (bool, Option<Distance>) {
        let known = self.locations.get(&peer).map(|location| distance(&packet.key, location));
        // Who shares a room with the target is linked to it.
        let beside = packet.target.is_some_and(|target| {
            self.rooms.values().any(|room| {
                let members = &room.members;
                members.contains_key(&target)
                    && members.get(&peer).is_some_and(|member| member.link.is_some())
            })
        });
        (!beside, known)
    }

    /// The fellow that a packet goes to where no service node can take it. A relay chooses only one that is nearer to the
    /// key than itself, so that the packet comes to an end.
    pub(super) fn fellow_hop(
        &self,
        packet: &Routed,
        at_origin: bool,
        unfit: impl Fn(PeerId) -> bool,
    ) -> Option<PeerId> {
        let own = distance(&packet.key, &self.location());
        let nearer = |peer: &PeerId| {
            let (far, known) = self.fellow_distance(*peer, packet);
            at_origin || !far || known.is_some_and(|known| known < own)
        };
        let fit = self.linked_fellows().filter(|peer| !unfit(*peer)).filter(nearer);
        fit.min_by_key(|peer| {
            let (far, known) = self.fellow_distance(*peer, packet);
            (far, known.is_none(), known)
        })
    }

    /// Whether this client passes a packet on: only for a fellow member.
    pub(super) fn forwards_for(&self, packet: &Routed) -> bool {
        packet.route.iter().next_back().is_some_and(|from| self.is_fellow(from))
    }

    /// A publish that reached a client which is a member of the room: it is news of a member, and is answered by those that
    /// this one knows.
    pub(super) fn publish_to_member(&mut self, packet: &Routed, now: Instant) -> bool {
        let joined = self.rooms.get(&packet.key).is_some_and(|room| room.joined);
        if self.is_service() || !joined || packet.purpose != Purpose::Publish {
            return false;
        }
        self.serve_publish(packet, now);
        true
    }

    /// Homes to name in claims: those of last, while none is linked and fellows stand in for them.
    pub(super) fn homes_or_last(&self) -> Vec<PeerId> {
        if self.homes.is_empty() && self.has_fellows() {
            self.home_search.last.clone()
        } else {
            self.homes.clone()
        }
    }
}
