//! People: who runs which node, and in which rooms; their coming and going.

use core::time::Duration;

use unamed_protocol::Instant;

use super::{Action, Phase, Run};
use crate::oracle::RoomIndex;
use crate::rng::Rng;
use crate::scenario::ChurnMode;
use crate::world::{Condition, Crash, NodeIndex};

/// Who runs a node.
#[derive(Debug)]
pub(super) struct Person {
    /// The node of the present session, or of the last one.
    pub(super) node: NodeIndex,
    /// Its rooms, and from when on it is in them.
    pub(super) rooms: Vec<(RoomIndex, Instant)>,
    /// Counts sessions, so that what was meant for an earlier one finds nobody.
    pub(super) session: u32,
    /// Whether it is one of a pair.
    pub(super) paired: bool,
}

impl Person {
    pub(super) fn new(node: NodeIndex, rooms: Vec<RoomIndex>) -> Self {
        let rooms = rooms.into_iter().map(|room| (room, Instant::ZERO)).collect();
        Self { node, rooms, session: 0, paired: false }
    }
}

/// How somebody goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    Goodbye,
    Crash(Crash),
}

impl Run<'_> {
    /// A person starts a node for the first time.
    pub(super) fn start(&mut self, person: u32) {
        let node = self.people[person as usize].node;
        let start = &self.scenario.start;
        let mut rng = Rng::at(self.scenario.seed, "bootstrap", u64::from(person));
        let known = if self.is_service(person) || start.clients_use_bootstraps {
            start.bootstraps.min(person)
        } else {
            self.services
        };
        let mut bootstraps = self.anchors(person);
        for _ in 0..if known > 0 { start.entries } else { 0 } {
            let entry = self.people[rng.index(known as usize)].node;
            if !bootstraps.contains(&entry) {
                bootstraps.push(entry);
            }
        }
        self.sim.start(node, &bootstraps);
        self.began(person);
    }

    /// Whether a person's address is known to everybody for good.
    pub(super) const fn is_anchor(&self, person: u32) -> bool {
        person < self.scenario.start.anchors
    }

    /// The nodes whose addresses everybody knows, but for the person's own.
    fn anchors(&self, person: u32) -> Vec<NodeIndex> {
        let others = (0..self.scenario.start.anchors).filter(|anchor| *anchor != person);
        others.filter_map(|anchor| Some(self.people.get(anchor as usize)?.node)).collect()
    }

    /// A session of a person has begun.
    fn began(&mut self, person: u32) {
        let node = self.people[person as usize].node;
        self.misbehave_from_start(person);
        self.oracle.starts(node);
        self.meter.started(&self.sim, node);
        let now = self.sim.now();
        if now >= Instant::ZERO + self.scenario.churn.from {
            let model = if self.is_service(person) {
                self.scenario.churn.service
            } else {
                self.scenario.churn.clients
            };
            if let Some(session) = model.session() {
                let stays = session.draw(&mut self.churn);
                self.ends_after(person, stays);
            }
        }
        for place in 0..self.people[person as usize].rooms.len() {
            if self.people[person as usize].rooms[place].1 <= now {
                self.join(person, place as u32);
            }
        }
    }

    fn ends_after(&mut self, person: u32, stays: Duration) {
        let session = self.people[person as usize].session & Action::FIELD_MAX;
        let at = self.sim.now() + stays;
        let until = self.scenario.churn.until.map(|until| Instant::ZERO + until);
        if at < self.scenario.quiet_from() && until.is_none_or(|until| at < until) {
            self.schedule(at, Action::Depart(person, session));
        }
    }

    /// What is left of the sessions of those who are there.
    pub(super) fn begin_churn(&mut self) {
        let models = (self.scenario.churn.service.session(), self.scenario.churn.clients.session());
        for person in 0..self.people.len() as u32 {
            let model = if self.is_service(person) { models.0 } else { models.1 };
            if let Some(session) = model.filter(|_| self.is_up(person)) {
                let stays = session.draw_residual(&mut self.churn);
                self.ends_after(person, stays);
            }
        }
    }

    /// A person joins a room, if its node runs and is not in it.
    pub(super) fn join(&mut self, person: u32, place: u32) {
        let someone = &self.people[person as usize];
        if let Some(&(room, at)) = someone.rooms.get(place as usize)
            && at <= self.sim.now()
            && self.is_up(person)
            && !self.oracle.is_in(someone.node, room)
        {
            self.oracle.join(&mut self.sim, someone.node, room);
        }
    }

    /// A session ends by churn.
    pub(super) fn depart(&mut self, person: u32, session: u32) {
        let someone = &self.people[person as usize];
        if someone.session & Action::FIELD_MAX != session || self.phase == Phase::Quiet || !self.is_up(person)
        {
            return;
        }
        let how = if !self.churn.chance(self.scenario.churn.crash) {
            Departure::Goodbye
        } else if self.churn.chance(0.5) {
            Departure::Crash(Crash::Process)
        } else {
            Departure::Crash(Crash::Host)
        };
        let old = someone.node;
        self.end_session(person, how);
        let mode = if self.is_anchor(person) { ChurnMode::Return } else { self.scenario.churn.mode };
        match mode {
            ChurnMode::Replace => {
                self.sim.discard(old);
                self.newcomer(person);
            }
            ChurnMode::Return => {
                let churn = &self.scenario.churn;
                let model = if self.is_service(person) { churn.service } else { churn.clients };
                let session = self.people[person as usize].session & Action::FIELD_MAX;
                if let Some(absence) = model.absence() {
                    let back = self.sim.now() + absence.draw(&mut self.churn);
                    // When churn ends, all are there.
                    let until = churn.until.map_or(back, |until| Instant::ZERO + until);
                    self.schedule(back.min(until), Action::Return(person, session));
                }
            }
        }
    }

    /// Ends a person's session.
    pub(super) fn end_session(&mut self, person: u32, how: Departure) {
        let someone = &mut self.people[person as usize];
        someone.session = someone.session.wrapping_add(1);
        let node = someone.node;
        self.departures += u64::from(self.phase == Phase::Measured);
        self.oracle.departs(node, self.sim.now());
        self.meter.departs(&self.sim, node);
        match how {
            Departure::Goodbye => self.sim.shutdown(node),
            Departure::Crash(crash) => self.sim.crash(node, crash),
        }
    }

    /// A node of its own takes the place of the one that the person had.
    pub(super) fn newcomer(&mut self, person: u32) {
        let node = if self.is_service(person) { self.sim.add_service() } else { self.sim.add_client() };
        self.oracle.add_node(&self.sim, node);
        self.people[person as usize].node = node;
        let mut bootstraps = self.anchors(person);
        for entry in self.some_services(self.scenario.start.entries.max(3) as usize) {
            if !bootstraps.contains(&entry) {
                bootstraps.push(entry);
            }
        }
        self.sim.start(node, &bootstraps);
        self.began(person);
    }

    /// A person's node returns, with what it saved unless it has lost that.
    pub(super) fn come_back(&mut self, person: u32, session: u32) {
        let someone = &self.people[person as usize];
        if someone.session & Action::FIELD_MAX != session || self.phase == Phase::Quiet {
            return;
        }
        if self.sim.condition(someone.node) == Condition::Leaving {
            self.schedule_after(Duration::from_secs(5), Action::Return(person, session));
        } else if !self.is_up(person) {
            let (node, forget) = (someone.node, self.scenario.churn.forget);
            let remembers = forget == 0.0 || !self.churn.chance(forget);
            self.sim.restart(node, remembers);
            self.began(person);
        }
    }

    /// Service nodes that run, at most so many; if none runs, those that did.
    pub(super) fn some_services(&mut self, most: usize) -> Vec<NodeIndex> {
        let none_up = !(0..self.services).any(|person| self.is_up(person));
        let mut found = Vec::with_capacity(most);
        for _ in 0..most * 20 {
            let person = self.churn.index(self.services as usize) as u32;
            let node = self.people[person as usize].node;
            if (self.is_up(person) || none_up) && !found.contains(&node) {
                found.push(node);
            }
            if found.len() == most {
                break;
            }
        }
        found
    }

    // Changes by plan.

    pub(super) fn plan_changes(&mut self) {
        let mut rng = Rng::new(self.scenario.seed, "changes");
        let clients = self.people.len() as u32 - self.services;
        let churns = self.scenario.churn.clients.session().is_some();
        let default = |share: u32| if churns { 0 } else { clients.div_ceil(share) };
        let workload = &self.scenario.workload;
        let leaves = workload.leaves.unwrap_or_else(|| default(33)).min(clients);
        let switches = workload.switches.unwrap_or_else(|| default(50));
        let (from, until) = self.scenario.measured();
        let some_time = |rng: &mut Rng| from + until.since(from).mul_f64(rng.unit());
        for turn in 0..leaves {
            let at = some_time(&mut rng);
            self.schedule(at, Action::Leave(turn));
        }
        for _ in 0..switches {
            let at = some_time(&mut rng);
            self.schedule(at, Action::Switch);
        }
    }

    /// A random client whose node runs.
    fn some_client_up(&mut self) -> Option<u32> {
        if self.people.len() as u32 == self.services {
            return None;
        }
        (0..50).find_map(|_| {
            let person = Self::some_client(&mut self.choices, self.services, self.people.len());
            self.is_up(person).then_some(person)
        })
    }

    /// Somebody leaves for good, or a room.
    pub(super) fn leave(&mut self, turn: u32) {
        let Some(person) = self.some_client_up() else { return };
        let how = match turn % 4 {
            0 => Departure::Goodbye,
            1 => Departure::Crash(Crash::Process),
            2 => Departure::Crash(Crash::Host),
            _ => {
                let node = self.people[person as usize].node;
                if let Some(&room) = self.choices.pick(&self.oracle.rooms_of(node)) {
                    self.people[person as usize].rooms.retain(|(other, _)| *other != room);
                    self.oracle.leave(&mut self.sim, node, room);
                }
                return;
            }
        };
        self.end_session(person, how);
    }

    /// Somebody switches the primary room.
    pub(super) fn switch(&mut self) {
        let Some(person) = self.some_client_up() else { return };
        let node = self.people[person as usize].node;
        if let Some(&room) = self.choices.pick(&self.oracle.rooms_of(node)) {
            let id = self.oracle.room_id(room);
            if let Some(Err(error)) = self.sim.command(node, |running, now| running.make_primary(id, now)) {
                self.sim.add_violation(node, format!("{id:?} could not be made primary: {error}"));
            }
        }
    }
}
