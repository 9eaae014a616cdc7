//! How clients that are fellow members are linked.

use std::collections::{BTreeMap, BTreeSet};

use unamed_protocol::{Carrier, Instant, Node, NodeKind, PeerId, RoomId};

use crate::report::{DirectFigures, Samples, share};
use crate::world::Simulation;

/// How the members of each room are linked to each other.
pub(super) fn direct_figures(sim: &Simulation) -> DirectFigures {
    let mut figures = DirectFigures::default();
    let mut rooms: BTreeMap<RoomId, Vec<&Node>> = BTreeMap::new();
    let mut relayed_bytes = Samples::default();
    for node in sim.nodes() {
        let Some(running) = sim.node(node) else { continue };
        let count =
            |wanted| running.metrics().into_iter().find(|(name, _)| *name == wanted).map_or(0, |(_, n)| n);
        match sim.kind(node) {
            NodeKind::Service => relayed_bytes.add(count("circuit_bytes_relayed") as f64),
            NodeKind::Client => {
                figures.attempts += count("webrtc_attempts");
                figures.failed += count("webrtc_failed");
                for view in running.rooms() {
                    rooms.entry(view.room).or_default().push(running);
                }
            }
        }
    }
    let mut seen: BTreeSet<(PeerId, PeerId)> = BTreeSet::new();
    for members in rooms.values() {
        for (index, a) in members.iter().enumerate() {
            let links: BTreeMap<PeerId, Carrier> =
                a.links().into_iter().map(|link| (link.peer, link.carrier)).collect();
            for b in &members[index + 1..] {
                let pair = (a.peer_id().min(b.peer_id()), a.peer_id().max(b.peer_id()));
                if !seen.insert(pair) {
                    continue;
                }
                figures.pairs += 1;
                match links.get(&b.peer_id()) {
                    Some(Carrier::WebRtc) => figures.webrtc += 1,
                    Some(Carrier::Circuit) => figures.relayed += 1,
                    Some(Carrier::WebSocket) | None => figures.unlinked += 1,
                }
            }
        }
    }
    let seconds = sim.now().since(Instant::ZERO).as_secs_f64();
    figures.relayed_share = share(figures.relayed, figures.webrtc + figures.relayed);
    figures.relayed_bytes_per_s_max = relayed_bytes.largest().map(|bytes| bytes / seconds);
    figures.relayed_bytes_per_s_mean = relayed_bytes.mean().map(|bytes| bytes / seconds);
    figures
}
