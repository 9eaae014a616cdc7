//! Where live service nodes are, so that the nearest to a key is found without looking at all.

use std::collections::BTreeMap;

use unamed_protocol::{PeerId, RoomKey};

use crate::world::NodeIndex;

/// A place in the key space.
pub(super) type Place = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Ring {
    /// By node; only service nodes have one.
    places: Vec<Option<Place>>,
    /// Service nodes that run and said that they are ready.
    ready: BTreeMap<Place, NodeIndex>,
    /// Service nodes that run.
    live: BTreeMap<Place, NodeIndex>,
}

impl Ring {
    /// Makes the next node known; `service` is the id of a service node.
    pub(super) fn add(&mut self, node: NodeIndex, service: Option<PeerId>) {
        // A service node's place is the id of its home room, whose key is its own.
        let place = service.map(|peer| RoomKey::room_id(&peer.0).0);
        self.places.resize(node.0 as usize + 1, None);
        self.places[node.0 as usize] = place;
    }

    pub(super) fn place(&self, node: NodeIndex) -> Option<Place> {
        self.places.get(node.0 as usize).copied().flatten()
    }

    pub(super) fn started(&mut self, node: NodeIndex) {
        if let Some(place) = self.place(node) {
            self.live.insert(place, node);
        }
    }

    pub(super) fn ready(&mut self, node: NodeIndex) {
        if let Some(place) = self.place(node) {
            self.ready.insert(place, node);
        }
    }

    pub(super) fn remove(&mut self, node: NodeIndex) {
        if let Some(place) = self.place(node) {
            self.live.remove(&place);
            self.ready.remove(&place);
        }
    }

    pub(super) fn is_ready(&self, node: NodeIndex) -> bool {
        self.place(node).is_some_and(|place| self.ready.contains_key(&place))
    }

    /// The running service node nearest to a key.
    pub(super) fn nearest(&self, key: &Place) -> Option<NodeIndex> {
        nearest(&self.live, key)
    }

    /// The nearest of those that are ready.
    pub(super) fn nearest_ready(&self, key: &Place) -> Option<NodeIndex> {
        nearest(&self.ready, key)
    }
}

/// Descends the tree of prefixes: of each two halves the one with the key, if anything is in it.
fn nearest(places: &BTreeMap<Place, NodeIndex>, key: &Place) -> Option<NodeIndex> {
    let (mut low, mut high) = ([0; 32], [0xff; 32]);
    for bit in 0..256 {
        let mut range = places.range(low..=high);
        let (first, last) = (range.next()?, range.next_back());
        if last.is_none() {
            return Some(*first.1);
        }
        let (byte, mask) = (bit / 8, 0x80_u8 >> (bit % 8));
        let halve = |one: bool| {
            let (mut low, mut high) = (low, high);
            if one {
                low[byte] |= mask;
            } else {
                high[byte] &= !mask;
            }
            (low, high)
        };
        let (same, other) = (halve(key[byte] & mask != 0), halve(key[byte] & mask == 0));
        (low, high) = if places.range(same.0..=same.1).next().is_some() { same } else { other };
    }
    places.get(&low).copied()
}

/// The distance between two places.
pub(super) fn distance(a: &Place, b: &Place) -> Place {
    let mut distance = *a;
    distance.iter_mut().zip(b).for_each(|(byte, other)| *byte ^= other);
    distance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::seed_bytes;

    #[test]
    fn the_nearest_is_that_of_a_scan() {
        let mut ring = Ring::default();
        assert_eq!(ring.nearest(&[0; 32]), None);
        for node in 0..200 {
            ring.add(
                NodeIndex(node),
                (node % 3 != 0).then(|| PeerId(seed_bytes(1, "peer", u64::from(node), 0))),
            );
            ring.started(NodeIndex(node));
            if node % 2 == 0 {
                ring.ready(NodeIndex(node));
            }
        }
        ring.remove(NodeIndex(7));
        for draw in 0..500 {
            let key = seed_bytes(2, "key", draw, 0);
            let scan = |every: u32| {
                let nodes = (0..200).map(NodeIndex).filter(|node| node.0 != 7 && node.0 % every == 0);
                let placed = nodes.filter_map(|node| Some((distance(&ring.place(node)?, &key), node)));
                placed.min().map(|(_, node)| node)
            };
            assert_eq!((ring.nearest(&key), ring.nearest_ready(&key)), (scan(1), scan(2)));
        }
    }
}
