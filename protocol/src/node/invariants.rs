//! What must hold of a node's state at all times, for tests and simulations.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Node;
use super::circuits::{CircuitEnd, SendToken};
use super::clock::Timer;
use super::links::LinkState;
use crate::{KeepAlive, PeerId, RoomId};

impl Node {
    pub(super) fn broken_invariants(&self) -> Vec<String> {
        let mut broken = Vec::new();
        self.check_links(&mut broken);
        self.check_circuits(&mut broken);
        self.check_rooms(&mut broken);
        self.check_bounds(&mut broken);
        self.check_shares(&mut broken);
        self.check_timers(&mut broken);
        if let Some(steps) = self.work.excess {
            broken.push(format!("a call took {steps} steps"));
        }
        let leaves = [
            ("table", self.table.check_invariants()),
            ("store", self.store.check_invariants()),
            ("book", self.book.check_invariants()),
        ];
        for (leaf, result) in leaves {
            if let Err(law) = result {
                broken.push(format!("{leaf}: {law}"));
            }
        }
        broken
    }

    fn check_links(&self, broken: &mut Vec<String>) {
        for (peer, id) in &self.peers {
            let link = self.links.get(id);
            let holds = link.is_some_and(|link| {
                link.is_open()
                    && link.peer.as_ref().is_some_and(|known| known.id == *peer)
                    && link.session.is_some()
            });
            if !holds {
                broken.push(format!("{peer:?} is linked by {id:?}, which is not open or not its"));
            }
        }
        for (id, link) in &self.links {
            if link.is_open() && link.peer.as_ref().is_none_or(|peer| self.peers.get(&peer.id) != Some(id)) {
                broken.push(format!("{id:?} is open and not in use"));
            }
            if let LinkState::Contested(older) = link.state
                && (!self.links.contains_key(&older) || self.timers.at(Timer::Probe(*id)).is_none())
            {
                broken.push(format!("{id:?} contests a link that is gone, or for ever"));
            }
            let timed = match link.state {
                LinkState::Dialing => {
                    self.timers.at(Timer::Dial(*id)).or(self.timers.at(Timer::Circuit(*id))).is_some()
                }
                LinkState::Handshaking => self.timers.at(Timer::Session(*id)).is_some(),
                // The driver watches over an idle link.
                LinkState::Open => {
                    self.config.link.keepalive == KeepAlive::Transport
                        || self.timers.at(Timer::Session(*id)).is_some()
                }
                LinkState::Draining(_) => self.timers.at(Timer::Drain(*id)).is_some(),
                LinkState::Contested(_) => true,
            };
            if !timed {
                broken.push(format!("{id:?} in {:?} has no deadline", link.state));
            }
        }
        let services = self.open_links().filter(|(_, link)| link.is_service()).count();
        let contacts = self.table.links().filter(|contact| self.peers.contains_key(&contact.peer)).count();
        if services != contacts || contacts != self.table.links().len() {
            broken.push(format!(
                "{} contacts are linked, {contacts} of them in use, {services} links to service nodes",
                self.table.links().len()
            ));
        }
        for (peer, id) in &self.dialing {
            if !self.links.contains_key(id) {
                broken.push(format!("{peer:?} is being dialled by {id:?}, which is gone"));
            }
        }
    }

    fn check_shares(&self, broken: &mut Vec<String>) {
        if !self.hops.is_sound() {
            broken.push(String::from("shares of pending hops do not add up"));
        }
    }

    fn check_circuits(&self, broken: &mut Vec<String>) {
        for (key, end) in &self.circuits {
            let linked = self.links.get(&key.0).is_some_and(|link| !link.is_circuit());
            // An end may outlive its link as long as what came over it is on its way to the other one.
            let over = match end {
                CircuitEnd::Endpoint { .. } => linked,
                CircuitEnd::Relay(end) => {
                    linked || (end.closing.is_some() && self.links.contains_key(&end.other.0))
                }
            };
            let other = match end {
                CircuitEnd::Endpoint { link, .. } => self.links.contains_key(link),
                CircuitEnd::Relay(end) => self.circuits.contains_key(&end.other),
            };
            if !over || !other {
                broken.push(format!("circuit {key:?} has lost an end"));
            }
            if let CircuitEnd::Relay(end) = end
                && end.bytes() > self.config.link.circuit_window_bytes
            {
                broken.push(format!("circuit {key:?} holds {} bytes, more than its window", end.bytes()));
            }
        }
        let tokens = self.tokens.waiting.values().map(|token| match token {
            SendToken::Relayed { bytes, .. } => *bytes,
            SendToken::Room { .. } => 0,
        });
        let waiting = self.circuits.values().map(|end| match end {
            CircuitEnd::Relay(end) => end.waiting(),
            CircuitEnd::Endpoint { .. } => 0,
        });
        let held: usize = tokens.chain(waiting).sum();
        if held != self.tokens.relayed || held > self.config.link.relay_bytes_max {
            broken.push(format!("{held} bytes are held for circuits, {} are accounted", self.tokens.relayed));
        }
        for (id, link) in &self.links {
            let carried = self.circuits.range((*id, 0)..=(*id, u32::MAX)).count();
            if carried != link.circuits {
                broken.push(format!("{id:?} counts {} circuits, there are {carried}", link.circuits));
            }
        }
    }

    fn check_rooms(&self, broken: &mut Vec<String>) {
        if self.rooms.len() != self.room_order.len() {
            broken.push(String::from("rooms and their order differ"));
        }
        for (id, room) in &self.rooms {
            for (peer, member) in &room.members {
                let linked = member.link.is_none_or(|link| {
                    self.links
                        .get(&link)
                        .is_some_and(|link| link.peer.as_ref().is_some_and(|known| known.id == *peer))
                        && self.peers.get(peer) == Some(&link)
                });
                if !linked || (member.link.is_some() && !member.present) {
                    broken.push(format!("{peer:?} in {id:?} is a member by a link that is not in use"));
                }
                let watched = member.link.is_some()
                    || !member.present
                    || self.timers.at(Timer::Suspect(*id, *peer)).is_some();
                if !watched {
                    broken.push(format!("{peer:?} in {id:?} is present for ever without a link"));
                }
            }
            if room.streams.peers().any(|peer| !room.members.contains_key(&peer)) {
                broken.push(format!("the streams of {id:?} know somebody who is no member"));
            }
            if !room.joined && self.timers.at(Timer::Join(*id)).is_none() {
                broken.push(format!("the join of {id:?} has no deadline"));
            }
        }
    }

    /// No timer outlives what it is for.
    fn check_timers(&self, broken: &mut Vec<String>) {
        let member = |room: RoomId, peer: PeerId| {
            self.rooms.get(&room).is_some_and(|state| state.members.contains_key(&peer))
        };
        for timer in self.timers.keys() {
            let owned = match &timer {
                Timer::Session(id)
                | Timer::Dial(id)
                | Timer::Probe(id)
                | Timer::Life(id)
                | Timer::Drain(id)
                | Timer::Circuit(id)
                | Timer::Relay(id) => self.links.contains_key(id),
                Timer::Upgrade(peer) => self.peers.contains_key(peer),
                Timer::Hop(request, attempt) => self.hops.is_pending(*request, *attempt),
                Timer::Attempt(request) | Timer::Retry(request) => self.requests.contains_key(request),
                Timer::Walk(walk) => self.walks.contains_key(walk),
                Timer::Join(room)
                | Timer::Publish(room)
                | Timer::Gossip(room)
                | Timer::Streams(room)
                | Timer::MemberData(room) => self.rooms.contains_key(room),
                Timer::Connect(room, peer) | Timer::Suspect(room, peer) => member(*room, *peer),
                Timer::Shutdown => self.farewell.is_some(),
                Timer::Hello
                | Timer::Maintain
                | Timer::Ready
                | Timer::SelfLookup
                | Timer::Trial
                | Timer::HomeClaim
                | Timer::Notify
                | Timer::AntiEntropy
                | Timer::Sweep
                | Timer::Heal
                | Timer::Save => true,
            };
            if !owned {
                broken.push(format!("{timer:?} is for something that is gone"));
            }
        }
    }

    fn check_bounds(&self, broken: &mut Vec<String>) {
        let config = &self.config;
        let services = self.open_links().filter(|(_, link)| link.is_service()).count();
        let bounds = [
            ("links", self.links.len(), config.link.links_max),
            ("overlay links", services, config.link.overlay_hard),
            ("rooms", self.rooms.len(), config.rooms.joined_max),
            ("pending hops", self.hops.len(), config.routing.seen_max),
            ("bytes of pending hops", self.hops.bytes(), config.routing.waiting_bytes_max),
            ("standings", self.standings.len().0, config.limits.peers_max),
            ("bans", self.standings.len().1, config.limits.bans_max),
            (
                "home claims",
                self.homes_known.len(),
                config.routing.contacts_max.saturating_add(self.links.len()),
            ),
            ("requests", self.requests.len(), config.routing.requests_max),
            ("timers", self.timers.len(), self.timer_bound()),
        ];
        for (what, count, bound) in bounds {
            if count > bound {
                broken.push(format!("{count} {what}, more than {bound}"));
            }
        }
        if self.attempts.values().any(|request| !self.requests.contains_key(request)) {
            broken.push(String::from("an attempt has outlived its request"));
        }
        for request in self.requests.keys() {
            let attempt = self.timers.at(Timer::Attempt(*request)).is_some()
                || self.timers.at(Timer::Walk(*request)).is_some();
            if !attempt && self.timers.at(Timer::Retry(*request)).is_none() {
                broken.push(format!("{request:?} has no deadline"));
            }
        }
        let queued: usize = self.sending.values().map(|(bytes, _)| *bytes).sum();
        if queued != self.queued_bytes {
            broken.push(format!("{queued} bytes are queued, {} are accounted", self.queued_bytes));
        }
        if !self.dirty.is_empty() {
            broken.push(String::from("links wait for a flush"));
        }
    }

    /// Timers are bounded by the objects they belong to.
    fn timer_bound(&self) -> usize {
        let members: usize = self.rooms.values().map(|room| room.members.len()).sum();
        16 + self.links.len() * 4
            + self.hops.len()
            + self.requests.len() * 2
            + self.rooms.len() * 5
            + members * 2
            + self.directs.pairs.len()
            + self.walks.len()
    }
}

#[cfg(test)]
mod tests;
