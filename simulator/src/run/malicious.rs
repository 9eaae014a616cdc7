//! Service nodes that misbehave: who they are, and when they begin.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use unamed_protocol::routing::key::{distance, home_id, replica_key};
use unamed_protocol::{Accomplices, Identity, Instant, Misbehaviour, PeerId, RoomId};

use super::{Action, Run};
use crate::oracle::RoomIndex;
use crate::rng::{Rng, seed_bytes};
use crate::world::NodeIndex;

/// How often accomplices learn of those that came meanwhile.
const LEARN_EVERY: Duration = Duration::from_secs(20);

/// Those that misbehave.
#[derive(Debug, Default)]
pub(super) struct Adversaries {
    /// Persons, by number.
    people: Vec<bool>,
    sybils: Vec<NodeIndex>,
    /// Those that were told to misbehave.
    turned: BTreeSet<NodeIndex>,
    /// What they do, once they have begun, and with whom.
    begun: Option<(Misbehaviour, Arc<Accomplices>)>,
}

impl Adversaries {
    /// All that ever misbehaved: a node that was replaced did so, too.
    pub(super) fn has_node(&self, node: NodeIndex) -> bool {
        self.turned.contains(&node)
    }

    pub(super) fn has(&self, person: u32) -> bool {
        self.people.get(person as usize).copied().unwrap_or(false)
    }
}

impl Run<'_> {
    /// Draws those that misbehave, and adds the Sybils.
    pub(super) fn plan_malicious(&mut self) {
        let malicious = &self.scenario.malicious;
        if !malicious.is_some() {
            return;
        }
        let mut rng = Rng::new(self.scenario.seed, "malicious");
        let mut order: Vec<u32> = (0..self.services).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, rng.index(at + 1));
        }
        let count = libm::round(f64::from(self.services) * malicious.share) as usize;
        self.adversaries.people = vec![false; self.services as usize];
        for person in order.into_iter().take(count) {
            self.adversaries.people[person as usize] = true;
        }
        let room = self.oracle.room_id(RoomIndex(malicious.room));
        for (number, identity) in self.sybil_identities(room).into_iter().enumerate() {
            let node = self.sim.add_service_as(identity);
            self.oracle.add_node(&self.sim, node);
            self.adversaries.sybils.push(node);
            let at = Instant::ZERO + self.scenario.start.service.1;
            self.schedule(at, Action::StartSybil(number as u32));
        }
        self.schedule(Instant::ZERO + malicious.from, Action::Misbehave);
    }

    /// Identities nearer to the keys of a room than any other service node: tried one after the other, as an attacker would.
    fn sybil_identities(&self, room: RoomId) -> Vec<Identity> {
        let malicious = &self.scenario.malicious;
        let keys: Vec<RoomId> = (0..malicious.keys).map(|replica| replica_key(&room, replica)).collect();
        let nearest = |key: &RoomId| {
            let services = (0..self.services).map(|person| self.people[person as usize].node);
            services.map(|node| distance(key, &home_id(self.sim.peer_id(node)))).min()
        };
        let bounds: Vec<_> = keys.iter().map(nearest).collect();
        let mut wanted: Vec<u32> =
            (0..keys.len() as u32).map(|key| (malicious.sybils + key) / keys.len().max(1) as u32).collect();
        let mut found = Vec::new();
        for attempt in 0_u64.. {
            if wanted.iter().all(|wanted| *wanted == 0) {
                break;
            }
            let identity = Identity::from_seed(seed_bytes(self.scenario.seed, "sybil", attempt, 0));
            let peer = PeerId(self.sim.config().crypto.public_key(identity.secret()));
            let id = home_id(peer);
            let place = (0..keys.len()).find(|&at| {
                wanted[at] > 0 && bounds[at].is_none_or(|bound| distance(&keys[at], &id) < bound)
            });
            if let Some(place) = place {
                wanted[place] -= 1;
                found.push(identity);
            }
        }
        found
    }

    pub(super) fn start_sybil(&mut self, number: u32) {
        let bootstraps = self.some_services(3);
        self.sim.start(self.adversaries.sybils[number as usize], &bootstraps);
    }

    /// They begin, or learn of new accomplices.
    pub(super) fn misbehave(&mut self) {
        self.schedule_after(LEARN_EVERY, Action::Misbehave);
        let people = (0..self.services).filter(|&person| self.adversaries.has(person));
        let nodes: Vec<NodeIndex> = people
            .map(|person| self.people[person as usize].node)
            .chain(self.adversaries.sybils.iter().copied())
            .collect();
        let claims = nodes.iter().filter_map(|&node| self.sim.node(node)?.home_claim());
        let accomplices = Arc::new(Accomplices::new(claims));
        let how = (self.scenario.malicious.kind.into(), accomplices);
        for node in nodes {
            self.turn(node, &how);
        }
        self.adversaries.begun = Some(how);
    }

    /// A person's node has started: if it is one of them, it misbehaves from the start.
    pub(super) fn misbehave_from_start(&mut self, person: u32) {
        if self.adversaries.has(person)
            && let Some(how) = self.adversaries.begun.clone()
        {
            self.turn(self.people[person as usize].node, &how);
        }
    }

    fn turn(&mut self, node: NodeIndex, (kind, accomplices): &(Misbehaviour, Arc<Accomplices>)) {
        self.adversaries.turned.insert(node);
        let _ = self.sim.command(node, |running, _| running.misbehave(*kind, Arc::clone(accomplices)));
    }

    /// Nobody honest is banned by somebody honest, whatever the others do.
    pub(super) fn check_bans(&mut self) {
        let adversaries = &self.adversaries;
        self.oracle.check_bans(&mut self.sim, |node| !adversaries.has_node(node));
    }
}
