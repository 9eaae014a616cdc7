//! What people do: they look for rooms, send messages, and meet in pairs.

use core::time::Duration;

use unamed_protocol::{Instant, RoomKey};

use super::{Action, Phase, Run};
use crate::oracle::RoomIndex;
use crate::rng::{Rng, seed_bytes};

/// How long after the second of a pair entered the pair is judged.
const PAIR_JUDGED_AFTER: Duration = Duration::from_secs(20);

/// A pair and its room, once the first has entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairInRoom {
    people: [u32; 2],
    /// The sessions in which they were chosen.
    sessions: [u32; 2],
    room: Option<RoomIndex>,
}

impl Run<'_> {
    /// A stranger looks for a room; the next one follows by a Poisson process.
    pub(super) fn find(&mut self) {
        let rate = self.scenario.workload.finds_per_s;
        if rate <= 0.0 || self.phase != Phase::Measured {
            return;
        }
        let pause = exponential(&mut self.finds, rate);
        self.schedule_after(pause, Action::Find);
        let by_law = self.finds.weighted(&self.popularity) as u32;
        let room = RoomIndex(self.scenario.workload.find_room.unwrap_or(by_law));
        for _ in 0..20 {
            let person = Self::some_client(&mut self.finds, self.services, self.people.len());
            let node = self.people[person as usize].node;
            if self.is_up(person) && !self.oracle.is_in(node, room) {
                self.oracle.find(&mut self.sim, node, room);
                break;
            }
        }
    }

    /// A member of a room says something; the next one follows by a Poisson process.
    pub(super) fn message(&mut self) {
        let (from, until) = self.scenario.measured();
        let expected = self.scenario.workload.messages * self.memberships as f64;
        let rate = expected / until.since(from).as_secs_f64();
        if rate <= 0.0 || self.phase != Phase::Measured {
            return;
        }
        let pause = exponential(&mut self.talk, rate);
        self.schedule_after(pause, Action::Talk);
        let bytes = match self.talk.below(100) {
            0..80 => 20 + self.talk.below(180),
            80..95 => 200 + self.talk.below(3900),
            _ => 4096 + self.talk.below(32 * 1024 - 4096 + 1),
        };
        let (directed, pick) = (self.talk.chance(1.0 / 6.0), self.talk.bits());
        for _ in 0..50 {
            let person = self.talk.index(self.people.len()) as u32;
            let someone = &self.people[person as usize];
            let author = someone.node;
            let Some(&(room, _)) = self.talk.pick(&someone.rooms) else { continue };
            if self.is_up(person) && self.oracle.has_joined(author, room) {
                let recipient =
                    if directed { self.oracle.seen_by(&self.sim, author, room, pick) } else { None };
                self.oracle.broadcast(&mut self.sim, author, room, bytes as usize, recipient);
                break;
            }
        }
    }

    // Pairs.

    pub(super) fn plan_pairs(&mut self) {
        let pairs = self.scenario.workload.pairs;
        let mut rng = Rng::new(self.scenario.seed, "pairs");
        let (from, until) = self.scenario.measured();
        let span = until.since(from);
        for pair in 0..pairs {
            let at = from + span.mul_f64(f64::from(pair) / f64::from(pairs));
            let gap = Duration::from_secs(1).mul_f64(rng.unit());
            self.schedule(at, Action::PairFirst(pair));
            self.schedule(at + gap, Action::PairSecond(pair));
            self.schedule(at + gap + PAIR_JUDGED_AFTER, Action::PairEnds(pair));
        }
    }

    /// The first of a pair enters a room that nobody has entered before.
    pub(super) fn pair_first(&mut self, pair: u32) {
        let mut people = [0; 2];
        for place in 0..2 {
            let free = (0..100).find_map(|_| {
                let person = Self::some_client(&mut self.choices, self.services, self.people.len());
                let free = self.is_up(person) && !self.people[person as usize].paired;
                free.then_some(person)
            });
            let Some(person) = free else {
                // The other one is free again.
                people.iter().take(place).for_each(|&one| self.people[one as usize].paired = false);
                people = [0; 2];
                break;
            };
            self.people[person as usize].paired = true;
            people[place] = person;
        }
        let sessions = people.map(|person| self.people[person as usize].session);
        let room = (people[0] != people[1]).then(|| {
            let seed = seed_bytes(self.scenario.seed, "pair", u64::from(pair), 0);
            self.oracle.add_room(&self.sim, RoomKey::from_seed(seed))
        });
        self.pairs.push(PairInRoom { people, sessions, room });
        if let Some(room) = room {
            let now: Instant = self.sim.now();
            self.oracle.pair_begins(room, now);
            self.oracle.join(&mut self.sim, self.people[people[0] as usize].node, room);
        }
    }

    pub(super) fn pair_second(&mut self, pair: u32) {
        let Some(PairInRoom { people, room: Some(room), sessions }) = self.pairs.get(pair as usize).copied()
        else {
            return;
        };
        let second = &self.people[people[1] as usize];
        if second.session == sessions[1] && self.is_up(people[1]) {
            self.oracle.join(&mut self.sim, second.node, room);
        }
    }

    pub(super) fn pair_ends(&mut self, pair: u32) {
        let Some(PairInRoom { people, room: Some(room), .. }) = self.pairs.get(pair as usize).copied() else {
            return;
        };
        self.oracle.pair_ends(room);
        for person in people {
            let someone = &mut self.people[person as usize];
            someone.paired = false;
            let node = someone.node;
            self.oracle.leave(&mut self.sim, node, room);
        }
    }
}

/// The pause until the next event of a Poisson process with so many events a second.
fn exponential(rng: &mut Rng, rate: f64) -> Duration {
    Duration::from_micros(((-libm::log(rng.unit()) / rate * 1e6) as u64).max(1))
}
