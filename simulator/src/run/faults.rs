//! What goes wrong, and what is looked at afterwards.

use core::time::Duration;

use unamed_protocol::Instant;

use super::direct::direct_figures;
use super::people::{Departure, Person};
use super::{Action, InForce, Run};
use crate::oracle::RoomIndex;
use crate::rng::Rng;
use crate::scenario::{Fault, FaultKind};
use crate::world::{Crash, NodeIndex};

impl Run<'_> {
    pub(super) fn plan_faults(&mut self) {
        for (index, fault) in self.scenario.faults.iter().enumerate() {
            let (begins, number) = (Instant::ZERO + fault.at, index as u32);
            self.schedule(begins, Action::FaultBegins(number));
            self.schedule(begins + fault.lasts, Action::FaultEnds(number));
            if let Some(recover) = fault.recover {
                self.schedule(begins + fault.lasts + recover, Action::FaultRecovered(number));
            }
        }
    }

    /// When a fault ends.
    fn end_of(fault: &Fault) -> Instant {
        Instant::ZERO + fault.at + fault.lasts
    }

    /// Persons of a range of whom each is concerned with this probability, and the others.
    fn drawn(&mut self, among: std::ops::Range<u32>, share: f64) -> (Vec<u32>, Vec<u32>) {
        among.partition(|_| self.choices.chance(share))
    }

    pub(super) fn fault_begins(&mut self, index: usize) {
        let fault = &self.scenario.faults[index];
        if fault.recover.is_some() {
            self.oracle.fault_begins(Self::end_of(fault));
        }
        self.faults_open += 1;
        let all = 0..self.people.len() as u32;
        self.faults[index] = match fault.kind {
            FaultKind::Partition | FaultKind::PartitionOneWay => {
                let (one, other) = self.drawn(all, fault.share);
                let nodes = |people: &[u32]| -> Vec<NodeIndex> {
                    people.iter().map(|&person| self.people[person as usize].node).collect()
                };
                let (one, other) = (nodes(&one), nodes(&other));
                let cut = if fault.kind == FaultKind::PartitionOneWay {
                    self.sim.partition_one_way(&one, &other)
                } else {
                    self.sim.partition(&one, &other)
                };
                cut.map_or(InForce::Nothing, InForce::Cut)
            }
            FaultKind::Clog => InForce::Clog(self.sim.clog(fault.share)),
            FaultKind::MassFailure => {
                let (down, _) = self.drawn(self.scenario.start.anchors..self.services, fault.share);
                self.bring_down(&down);
                InForce::Nothing
            }
            FaultKind::ServiceOutage => {
                let down: Vec<u32> = (0..self.services).filter(|&person| self.is_up(person)).collect();
                self.bring_down(&down);
                InForce::Down(down)
            }
            FaultKind::FlashCrowd => {
                self.flash_crowd(fault);
                InForce::Nothing
            }
            FaultKind::SlowReaders => {
                let (slow, _) = self.drawn(all, fault.share);
                let nodes = slow.iter().map(|&person| self.people[person as usize].node);
                // Who is slow already stays so until that fault ends.
                let nodes: Vec<NodeIndex> = nodes.filter(|&node| !self.sim.reads_slowly(node)).collect();
                for &node in &nodes {
                    self.sim.read_slowly(node, fault.bytes_per_s);
                }
                InForce::Slow(nodes)
            }
            FaultKind::Intruders => self.intruders_come(index as u32, fault),
        };
    }

    fn bring_down(&mut self, people: &[u32]) {
        for &person in people {
            if self.is_up(person) {
                self.end_session(person, Departure::Crash(Crash::Host));
            }
        }
    }

    /// New clients, each of which joins a room that has place for one more.
    fn flash_crowd(&mut self, fault: &Fault) {
        let crowd = libm::round(f64::from(self.scenario.client_nodes()) * fault.times) as u32;
        let most = self.scenario.workload.members.1 as usize;
        let mut sizes = vec![0_usize; self.oracle.room_count()];
        for (room, _) in self.people.iter().flat_map(|person| &person.rooms) {
            sizes[room.0 as usize] += 1;
        }
        let mut rng = Rng::new(self.scenario.seed, "flash crowd");
        for _ in 0..crowd {
            let node = self.sim.add_client();
            self.oracle.add_node(&self.sim, node);
            let room = (0..50).map(|_| rng.index(sizes.len())).find(|&room| sizes[room] < most);
            if let Some(room) = room {
                sizes[room] += 1;
            }
            let rooms = room.map(|room| RoomIndex(room as u32)).into_iter().collect();
            let person = self.people.len() as u32;
            self.people.push(Person::new(node, rooms));
            let after: Duration = fault.lasts.mul_f64(rng.unit());
            self.schedule_after(after, Action::Start(person));
        }
    }

    pub(super) fn fault_ends(&mut self, index: usize) {
        let fault = &self.scenario.faults[index];
        match std::mem::replace(&mut self.faults[index], InForce::Nothing) {
            InForce::Nothing => {}
            InForce::Cut(cut) => self.sim.heal(cut),
            InForce::Clog(clog) => self.sim.unclog(clog),
            InForce::Slow(nodes) => nodes.into_iter().for_each(|node| self.sim.read_freely(node)),
            InForce::Intruders(band) => band.leave(&mut self.sim),
            InForce::Down(people) => {
                self.outage = Some(direct_figures(&self.sim));
                for person in people {
                    let session = self.people[person as usize].session & Action::FIELD_MAX;
                    self.come_back(person, session);
                }
            }
        }
        if fault.recover.is_some() {
            let split = self.oracle.fault_ended();
            let worst = &mut self.recovery.rooms_split_at_first;
            *worst = Some(worst.unwrap_or(0).max(split));
        } else {
            self.faults_open -= 1;
        }
    }

    pub(super) fn fault_recovered(&mut self, index: usize) {
        self.faults_open -= 1;
        let split = self.oracle.fault_recovered(Self::end_of(&self.scenario.faults[index]));
        let worst = &mut self.recovery.rooms_split_at_last;
        *worst = Some(worst.unwrap_or(0).max(split));
    }

    /// Seconds from the end of the last fault with a time to recover until the rooms that it had split were whole.
    pub(super) fn whole_after_s(&self) -> Option<f64> {
        let ends = self.scenario.faults.iter().filter(|fault| fault.recover.is_some()).map(Self::end_of);
        let ended = ends.max()?;
        Some(self.oracle.whole_at(ended)?.since(ended).as_secs_f64())
    }
}
