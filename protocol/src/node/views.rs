//! Read-only views of a node.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{LinkView, RoomView, RoutingView};
use crate::routing::key::bucket_index;
use crate::{Instant, LinkId, PeerId, RoomId};

impl Node {
    /// The joined rooms, in the order of joining.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomView> {
        let view = |id: &RoomId| {
            let room = self.rooms.get(id)?;
            let members = room.members.values().filter(|member| member.present).count();
            Some(RoomView {
                room: *id,
                primary: self.primary == Some(*id),
                joined: room.joined,
                members,
                pending: room.members.len().saturating_sub(members),
            })
        };
        self.room_order.iter().filter_map(view).collect()
    }

    /// The members of a room that this node knows to be there, in the order of their ids, without this node; `None` if
    /// the room is not joined.
    #[must_use]
    pub fn members(&self, room: RoomId) -> Option<Vec<PeerId>> {
        let room = self.rooms.get(&room)?;
        Some(room.members.iter().filter(|(_, member)| member.present).map(|(peer, _)| *peer).collect())
    }

    /// What a member of a room says of itself, this node included; empty for nothing. `None` if the room is not joined or the
    /// peer is no member.
    #[must_use]
    pub fn member_data(&self, room: RoomId, peer: PeerId) -> Option<Bytes> {
        let room = self.rooms.get(&room)?;
        if peer == self.me {
            return Some(room.own_data.data().clone());
        }
        room.members.get(&peer).filter(|member| member.present).map(|member| member.said.data())
    }

    /// The usable links.
    #[must_use]
    pub fn links(&self) -> Vec<LinkView> {
        let view = |(id, link): (LinkId, &super::links::Link)| {
            let peer = link.peer.as_ref()?;
            Some(LinkView {
                link: id,
                peer: peer.id,
                carrier: link.carrier_kind(),
                service: peer.service,
                outbound: link.outbound,
                reasons: link.told_reasons.unwrap_or_default(),
                remote_reasons: link.remote_reasons,
                rtt: link.session.as_ref().and_then(crate::link::Session::rtt),
                since: link.since,
            })
        };
        self.open_links().filter_map(view).collect()
    }

    /// Where a dialled or accepted link leads, once authenticated.
    #[must_use]
    pub fn link_peer(&self, link: LinkId) -> Option<PeerId> {
        self.links.get(&link)?.peer.as_ref().map(|peer| peer.id)
    }

    /// Those with whom this node has nothing to do at present, for what they provably did: at most
    /// [`LimitConfig::bans_max`](crate::config::LimitConfig::bans_max), in the order of their ids.
    #[must_use]
    pub fn banned(&self, now: Instant) -> Vec<PeerId> {
        self.standings.banned(now).collect()
    }

    /// The routing table.
    #[must_use]
    pub fn routing_table(&self) -> RoutingView {
        let location = self.location();
        let bucket = |contact: &crate::routing::table::Contact| {
            bucket_index(&location, &contact.id).map(|index| (index, contact.peer))
        };
        RoutingView {
            location,
            ready: self.is_ready(),
            leaf_set: self.table.leaf_set(),
            buckets: self.table.links().filter_map(bucket).collect(),
            homes: self.homes.clone(),
            held: self
                .store
                .rooms()
                .map(|(room, replica)| (room, self.store.claims(room, replica)))
                .collect(),
        }
    }

    /// The counters, by stable name.
    #[must_use]
    pub fn metrics(&self) -> Vec<(&'static str, u64)> {
        self.metrics.list()
    }
}
