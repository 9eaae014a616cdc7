//! Strangers with links of their own making: what they say, and how they come again when they are thrown out.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::Hello;
use unamed_protocol::wire::{Bounded, HomeClaim, HomeClaimTerms, Message, Sequence};
use unamed_protocol::{Identity, NetworkId};

use super::{Action, InForce, Run};
use crate::outsider::{Guise, Outsider};
use crate::rng::{Rng, seed_bytes};
use crate::scenario::Fault;
use crate::world::Simulation;

/// How often they look after their links, and may say something.
const TURN: Duration = Duration::from_millis(50);
/// Messages heard that they can repeat, all of them together.
const REMEMBERED: usize = 64;
/// Longest noise.
const NOISE_BYTES_MAX: usize = 200;

/// The intruders of one fault. They share what they hear.
#[derive(Debug)]
pub(super) struct Band {
    fault: u32,
    rng: Rng,
    intruders: Vec<Option<Intruder>>,
    remembered: VecDeque<Bytes>,
    /// Identities made so far.
    made: u32,
}

#[derive(Debug)]
struct Intruder {
    link: Outsider,
    greeted: bool,
}

impl Band {
    /// Their links end.
    pub(super) fn leave(self, sim: &mut Simulation) {
        for intruder in self.intruders.into_iter().flatten() {
            intruder.link.hang_up(sim);
        }
    }

    /// A new identity, for a client or a service node.
    fn guise(&mut self, sim: &Simulation) -> (IpAddr, Guise) {
        self.made += 1;
        let seed = seed_bytes(sim.config().seed, "intruder", u64::from(self.fault), u64::from(self.made));
        let mut guise = Guise::new(Identity::from_seed(seed), sim.config().crypto.as_ref());
        guise.static_secret = seed;
        guise.service = self.rng.chance(0.5);
        // In a /24 of its own, beside those of nodes.
        let [_, high, middle, low] = (self.fault << 16 | self.made).to_be_bytes();
        (IpAddr::V4(Ipv4Addr::new(96 + high % 32, middle, low, 1)), guise)
    }

    /// What somebody says that repeats others, altered or not, or makes noise.
    fn saying(&mut self) -> Vec<u8> {
        let heard = self.rng.index(self.remembered.len());
        let mut said = self.remembered.get(heard).map(|bytes| bytes.to_vec()).unwrap_or_default();
        match self.rng.below(8) {
            0..=2 => {}
            3..=5 if !said.is_empty() => {
                let at = self.rng.index(said.len());
                said[at] ^= 1 << self.rng.below(8);
            }
            6 if !said.is_empty() => said.truncate(self.rng.index(said.len())),
            _ => said = (0..self.rng.index(NOISE_BYTES_MAX)).map(|_| self.rng.bits() as u8).collect(),
        }
        said
    }

    /// One of them looks after its link and says something. `None` once its link is over.
    fn turn(&mut self, sim: &mut Simulation, mut intruder: Intruder) -> Option<Intruder> {
        intruder.link.listen(sim);
        for heard in intruder.link.take_heard() {
            if self.remembered.len() == REMEMBERED {
                self.remembered.pop_front();
            }
            self.remembered.push_back(heard);
        }
        if intruder.link.is_linked(sim) {
            if !intruder.greeted {
                intruder.greeted = true;
                if intruder.link.guise().service {
                    intruder.link.queue(sim, hello(sim, intruder.link.guise()).encode());
                }
            } else if self.rng.chance(0.5) {
                let saying = self.saying();
                intruder.link.queue(sim, saying);
            }
        }
        intruder.link.speak(sim);
        (!intruder.link.is_over(sim)).then_some(intruder)
    }
}

/// What one who says that it is a service node says first: it is ready, at an address where nobody listens.
fn hello(sim: &Simulation, guise: &Guise) -> Message {
    let terms = HomeClaimTerms {
        addresses: vec!["/ip4/203.0.113.1/tcp/4001/ws".parse().expect("an address")],
        issued_ms: sim.unix_ms(),
        expiry_ms: sim.unix_ms() + 750_000,
        sequence: Sequence { boot: guise.instance.boot, counter: 1 },
    };
    let crypto = sim.config().crypto.as_ref();
    let claim = HomeClaim::make(&terms, &guise.identity, crypto, &NetworkId::default());
    Message::Hello(Hello {
        location: home_id(guise.peer),
        ready: true,
        home: Some(claim.bytes().clone()),
        wants: 0,
        neighbours: Bounded::default(),
    })
}

impl Run<'_> {
    pub(super) fn intruders_come(&mut self, number: u32, fault: &Fault) -> InForce {
        let count = libm::ceil(f64::from(self.services) * fault.times) as usize;
        self.schedule_after(TURN, Action::Intrude(number));
        InForce::Intruders(Band {
            fault: number,
            rng: Rng::at(self.scenario.seed, "intruders", u64::from(number)),
            intruders: (0..count).map(|_| None).collect(),
            remembered: VecDeque::new(),
            made: 0,
        })
    }

    /// All intruders of a fault have their turn, while it lasts.
    pub(super) fn intrude(&mut self, fault: u32) {
        let mut in_force = std::mem::replace(&mut self.faults[fault as usize], InForce::Nothing);
        if let InForce::Intruders(band) = &mut in_force {
            for place in 0..band.intruders.len() {
                band.intruders[place] = match band.intruders[place].take() {
                    Some(intruder) => band.turn(&mut self.sim, intruder),
                    // Within a second or so of being thrown out.
                    None if band.rng.chance(0.05) => {
                        let target = self.people[band.rng.index(self.services as usize)].node;
                        let (ip, guise) = band.guise(&self.sim);
                        let link = Outsider::dial(&mut self.sim, target, Some(ip), guise);
                        Some(Intruder { link, greeted: false })
                    }
                    None => None,
                };
            }
            self.schedule_after(TURN, Action::Intrude(fault));
        }
        self.faults[fault as usize] = in_force;
    }
}
