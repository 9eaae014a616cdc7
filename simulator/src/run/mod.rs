//! Carrying out a scenario: a network starts, people join rooms, talk, look for rooms, come and go, things go wrong; at
//! the end all must be well.
//!
//! | Virtual time by default | What happens |
//! |---|---|
//! | 0–10 s | service nodes start, each knowing one of the first three |
//! | 10–30 s | clients start, each knowing one random service node |
//! | 30–60 s | 95 % of the memberships are joined |
//! | from 60 s | churn, if there is any |
//! | 75 s until 30 s before the end | measured: finds by strangers, messages, late joins, people who leave or switch their primary room, faults |
//! | the last 30 s | quiet: everything must come to rest |
//!
//! A safety phase with events, then a liveness phase without, as in `TigerBeetle`'s simulator.
//!
//! A *person* is who runs nodes: the one of a client that departs and is replaced by another node is the same person with
//! the same rooms. Newcomers know three service nodes that run when they start, as from a directory; nodes that return
//! know what they saved.

use core::time::Duration;
use std::fmt;
use std::io::Write;

use unamed_protocol::{Config, Instant, KeepAlive, NetworkId, NodeKind, RoomKey};

use crate::network::{Clog, Cut, Nat, NetworkConfig, SignalManners, TransportDetection};
use crate::oracle::{Oracle, RoomIndex, link_figures};
use crate::recording::{Gauges, Recording};
use crate::report::{BootstrapFigures, DirectFigures, RecoveryFigures, Report};
use crate::rng::{Rng, seed_bytes, zipf};
use crate::scenario::{ChurnMode, Detection, FaultKind, Scenario};
use crate::stopwatch::Stopwatch;
use crate::trace::TraceSample;
use crate::world::{Check, Condition, NodeIndex, Simulation, SimulationConfig, Step, Violation};

mod action;
mod direct;
mod faults;
mod finish;
mod intruders;
mod malicious;
mod meter;
mod people;
mod plan;
mod talk;

use action::Action;
use meter::Meter;
use people::Person;

/// Greedy walks sampled each second.
const WALKS: usize = 20;

/// How a scenario is carried out, which does not change what happens.
pub struct RunOptions {
    /// Where everything that happens goes, one JSON object a line.
    pub trace: Option<Box<dyn Write + Send>>,
    /// Of which nodes.
    pub trace_sample: TraceSample,
    /// When the nodes' invariants are checked.
    pub check: Check,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { trace: None, trace_sample: TraceSample::ALL, check: Check::Sampled(1000) }
    }
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions").field("check", &self.check).finish_non_exhaustive()
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Virtual time.
    pub at: Instant,
    /// Virtual time at the end.
    pub end: Instant,
    /// Events handled.
    pub events: u64,
    /// Eligible finds so far.
    pub finds_eligible: u64,
    /// Those that succeeded.
    pub finds_succeeded: u64,
}

/// What a run gives.
#[derive(Debug)]
pub struct Outcome {
    /// The figures, with the verdict.
    pub report: Report,
    /// What plots are made from.
    pub recording: Recording,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// The simulation as it stands at the end.
    pub simulation: Simulation,
}

/// A run under way.
struct Run<'a> {
    scenario: &'a Scenario,
    sim: Simulation,
    oracle: Oracle,
    /// Service nodes first.
    people: Vec<Person>,
    services: u32,
    popularity: Vec<f64>,
    /// Memberships planned at first, for the rate of messages.
    memberships: usize,
    meter: Meter,
    phase: Phase,
    finds: Rng,
    talk: Rng,
    choices: Rng,
    churn: Rng,
    keys: Rng,
    departures: u64,
    /// What is in force of each fault.
    faults: Vec<InForce>,
    faults_open: u32,
    adversaries: malicious::Adversaries,
    recovery: RecoveryFigures,
    /// How members were linked as all service nodes returned from an outage.
    outage: Option<DirectFigures>,
    pairs: Vec<talk::PairInRoom>,
    bootstrap: BootstrapFigures,
    sent_before: Sums,
    last_wrong_walk: Option<Instant>,
    walked: bool,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Starting,
    Measured,
    Quiet,
}

/// What a fault did that its end undoes.
#[derive(Debug)]
enum InForce {
    Nothing,
    Cut(Cut),
    Clog(Clog),
    /// Persons whose nodes return.
    Down(Vec<u32>),
    /// Nodes that read slowly.
    Slow(Vec<NodeIndex>),
    /// Strangers with links of their own making.
    Intruders(intruders::Band),
}

/// Sums of what was sent up to the latest second.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    service_bytes: u64,
    client_bytes: u64,
    first_frames: u64,
}

impl Scenario {
    /// Carries the scenario out. `watch` hears of each second of virtual time.
    ///
    /// A scenario that was not read from a file should be [`check`](Self::check)ed before: values out of range are not
    /// looked for.
    pub fn run(&self, options: RunOptions, mut watch: impl FnMut(Progress)) -> Outcome {
        let began = (Stopwatch::start(), meter::resident_bytes());
        let mut run = Run::new(self, options);
        run.plan();
        let end = Instant::ZERO + self.duration;
        while let Some(step) = run.sim.next(end) {
            if let Step::Action(number) = step
                && let Some(action) = Action::decode(number)
            {
                if action == Action::Tick {
                    watch(run.progress(end));
                }
                run.act(action);
            }
            for told in run.sim.take_events() {
                run.oracle.observe(&mut run.sim, &told);
            }
            run.oracle.check_readings(&mut run.sim);
        }
        watch(run.progress(end));
        run.finish(began)
    }

    /// What the simulation of the scenario is made from.
    fn simulation_config(&self, check: Check) -> SimulationConfig {
        let network = &self.network;
        let transport = network.detection == Detection::Transport;
        let (service, other) = (network.detect_service, network.detect_other);
        let nat = network.nat;
        SimulationConfig {
            seed: self.seed,
            crypto: self.crypto.provider(),
            network: NetworkConfig {
                latency: network.latency.clone(),
                jitter: network.jitter,
                bandwidth: network.link_bytes_per_s,
                uplink: network.uplink_bytes_per_s,
                clock_skew: network.clock_skew,
                detection: transport.then_some(TransportDetection { service, other }),
                nat: [
                    (Nat::Open, nat.open),
                    (Nat::Restricted, nat.restricted),
                    (Nat::Symmetric, nat.symmetric),
                    (Nat::Blocked, nat.blocked),
                ],
                signals: SignalManners { delay: network.signal_delay, duplicates: network.signal_duplicates },
                ..NetworkConfig::default()
            },
            service: self.node_config(Config::service(NetworkId::default())),
            client: self.node_config(Config::client(NetworkId::default())),
            check,
            keep_saved: self.churn.mode == ChurnMode::Return
                || self.start.anchors > 0
                || self.faults.iter().any(|fault| fault.kind == FaultKind::ServiceOutage),
        }
    }

    fn node_config(&self, mut config: Config) -> Config {
        let protocol = &self.protocol;
        let routing = &mut config.routing;
        routing.leaf_set = protocol.leaf_set.unwrap_or(routing.leaf_set);
        routing.bucket_links = protocol.bucket_links.unwrap_or(routing.bucket_links);
        routing.replicas = protocol.replicas.unwrap_or(routing.replicas);
        routing.replica_keys = protocol.replica_keys.unwrap_or(routing.replica_keys);
        routing.homes = protocol.homes.unwrap_or(routing.homes);
        routing.iterative = protocol.iterative.unwrap_or(routing.iterative);
        routing.read_back = protocol.read_back.unwrap_or(routing.read_back);
        routing.walk_width = protocol.walk_width.unwrap_or(routing.walk_width);
        config.webrtc.enabled = self.network.webrtc;
        if self.network.detection == Detection::Transport {
            config.link.keepalive = KeepAlive::Transport;
        }
        config
    }

    /// When the quiet phase begins.
    fn quiet_from(&self) -> Instant {
        Instant::ZERO + self.duration.saturating_sub(self.start.quiet)
    }

    /// From the beginning to the end of the measured phase.
    fn measured(&self) -> (Instant, Instant) {
        (Instant::ZERO + self.start.measured_from, self.quiet_from())
    }
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, options: RunOptions) -> Self {
        let seed = scenario.seed;
        let mut sim = Simulation::new(scenario.simulation_config(options.check));
        if let Some(trace) = options.trace {
            sim.write_trace(trace, options.trace_sample);
        }
        let bounds = plan::Bounds::of(&sim.config().client);
        let rooms_of = plan::memberships(scenario, bounds);
        let memberships = rooms_of.iter().map(Vec::len).sum();
        let services = scenario.nodes.service;
        let people: Vec<Person> = rooms_of
            .into_iter()
            .enumerate()
            .map(|(person, rooms)| {
                let service = person < services as usize;
                let node = if service { sim.add_service() } else { sim.add_client() };
                Person::new(node, rooms.into_iter().map(RoomIndex).collect())
            })
            .collect();
        let mut oracle = Oracle::new(&sim);
        oracle.judge_from(Instant::ZERO + scenario.start.judged_from);
        for room in 0..u64::from(scenario.room_count()) {
            oracle.add_room(&sim, RoomKey::from_seed(seed_bytes(seed, "room", room, 0)));
        }
        Self {
            oracle,
            sim,
            people,
            services,
            popularity: zipf(scenario.room_count() as usize),
            memberships,
            meter: Meter::default(),
            phase: Phase::Starting,
            finds: Rng::new(seed, "finds"),
            talk: Rng::new(seed, "talk"),
            choices: Rng::new(seed, "choices"),
            churn: Rng::new(seed, "churn"),
            keys: Rng::new(seed, "keys"),
            departures: 0,
            faults: scenario.faults.iter().map(|_| InForce::Nothing).collect(),
            faults_open: 0,
            adversaries: malicious::Adversaries::default(),
            recovery: RecoveryFigures::default(),
            outage: None,
            pairs: Vec::new(),
            bootstrap: BootstrapFigures::default(),
            sent_before: Sums::default(),
            last_wrong_walk: None,
            walked: false,
            scenario,
        }
    }

    fn progress(&self, end: Instant) -> Progress {
        let (finds_eligible, finds_succeeded) = self.oracle.finds_so_far();
        Progress { at: self.sim.now(), end, events: self.sim.event_count(), finds_eligible, finds_succeeded }
    }

    fn schedule(&mut self, at: Instant, action: Action) {
        self.sim.schedule(at, action.encode());
    }

    fn schedule_after(&mut self, after: Duration, action: Action) {
        self.schedule(self.sim.now() + after, action);
    }

    // The plan.

    fn plan(&mut self) {
        let (from, until) = self.scenario.measured();
        self.schedule(Instant::ZERO + Duration::from_secs(1), Action::Tick);
        self.schedule(from, Action::Measure);
        self.schedule(until, Action::Quiet);
        self.schedule(Instant::ZERO + self.scenario.churn.from, Action::Churn);
        self.plan_starts();
        self.plan_joins();
        self.plan_changes();
        self.plan_faults();
        self.plan_pairs();
        self.plan_malicious();
    }

    fn plan_starts(&mut self) {
        let mut rng = Rng::new(self.scenario.seed, "starts");
        let start = &self.scenario.start;
        let (from, until) = start.service;
        for person in 0..self.services {
            let offset = (until - from).mul_f64(f64::from(person) / f64::from(self.services));
            self.schedule(Instant::ZERO + from + offset, Action::Start(person));
        }
        for person in self.services..self.people.len() as u32 {
            let at = between(&mut rng, start.clients);
            self.schedule(at, Action::Start(person));
        }
    }

    fn plan_joins(&mut self) {
        let mut rng = Rng::new(self.scenario.seed, "joins");
        let (from, until) = self.scenario.measured();
        for person in 0..self.people.len() {
            for place in 0..self.people[person].rooms.len() {
                let late = rng.chance(self.scenario.workload.late_joins);
                let at = if late {
                    from + (until.since(from)).mul_f64(rng.unit())
                } else {
                    between(&mut rng, self.scenario.start.joins)
                };
                self.people[person].rooms[place].1 = at;
                self.schedule(at, Action::Join(person as u32, place as u32));
            }
        }
    }

    // The run.

    fn act(&mut self, action: Action) {
        match action {
            Action::Tick => self.tick(),
            Action::Measure => self.measure(),
            Action::Quiet => {
                self.phase = Phase::Quiet;
                self.meter.end(&self.sim);
            }
            Action::Churn => self.begin_churn(),
            Action::Find => self.find(),
            Action::Talk => self.message(),
            Action::Leave(turn) => self.leave(turn),
            Action::Switch => self.switch(),
            Action::Start(person) => self.start(person),
            Action::Join(person, place) => self.join(person, place),
            Action::Depart(person, session) => self.depart(person, session),
            Action::Return(person, session) => self.come_back(person, session),
            Action::FaultBegins(fault) => self.fault_begins(fault as usize),
            Action::FaultEnds(fault) => self.fault_ends(fault as usize),
            Action::FaultRecovered(fault) => self.fault_recovered(fault as usize),
            Action::PairFirst(pair) => self.pair_first(pair),
            Action::PairSecond(pair) => self.pair_second(pair),
            Action::PairEnds(pair) => self.pair_ends(pair),
            Action::StartSybil(number) => self.start_sybil(number),
            Action::Misbehave => self.misbehave(),
            Action::Intrude(fault) => self.intrude(fault),
        }
    }

    fn measure(&mut self) {
        self.phase = Phase::Measured;
        self.meter.begin(&self.sim);
        self.find();
        self.message();
    }

    fn tick(&mut self) {
        self.schedule_after(Duration::from_secs(1), Action::Tick);
        self.oracle.judge_messages(&self.sim);
        self.check_bans();
        self.walks();
        let (service, client) = (self.sim.sent_by(NodeKind::Service), self.sim.sent_by(NodeKind::Client));
        let first = self.sim.sent(NodeIndex(0));
        let sums =
            Sums { service_bytes: service.bytes, client_bytes: client.bytes, first_frames: first.frames };
        let before = std::mem::replace(&mut self.sent_before, sums);
        let load = &mut self.bootstrap.frames_per_s_max;
        *load = (*load).max(sums.first_frames - before.first_frames);
        let gauges = self.oracle.gauges();
        let mean = |bytes: u64, nodes: u64| if nodes == 0 { 0.0 } else { bytes as f64 / nodes as f64 };
        let gauges = Gauges {
            bytes_per_s_service: mean(sums.service_bytes - before.service_bytes, gauges.live_service),
            bytes_per_s_client: mean(sums.client_bytes - before.client_bytes, gauges.live_clients),
            ..gauges
        };
        let at_s = self.sim.now().as_millis() / 1000;
        self.oracle.recording().record_second(at_s, gauges);
    }

    /// Samples greedy walks from random ready service nodes towards random keys.
    fn walks(&mut self) {
        let counted = self.phase == Phase::Measured && self.faults_open == 0;
        for _ in 0..WALKS {
            let from = self.people[self.keys.index(self.services as usize)].node;
            let mut key = [0; 32];
            for part in key.chunks_mut(8) {
                part.copy_from_slice(&self.keys.bits().to_be_bytes());
            }
            if !self.oracle.is_ready(from) {
                continue;
            }
            let right = self.oracle.walk(&self.sim, from, &key, counted);
            if self.phase == Phase::Starting {
                self.walked = true;
                if !right {
                    self.last_wrong_walk = Some(self.sim.now());
                }
            }
        }
    }

    /// Whether a person's node runs.
    fn is_up(&self, person: u32) -> bool {
        self.sim.condition(self.people[person as usize].node) == Condition::Up
    }

    /// Whether a person runs a service node.
    const fn is_service(&self, person: u32) -> bool {
        person < self.services
    }

    /// A random client's person, or a service node's where there are no clients.
    fn some_client(rng: &mut Rng, services: u32, people: usize) -> u32 {
        let clients = people as u32 - services;
        if clients == 0 { rng.index(people) as u32 } else { services + rng.index(clients as usize) as u32 }
    }
}

fn between(rng: &mut Rng, (from, until): (Duration, Duration)) -> Instant {
    Instant::ZERO + from + (until - from).mul_f64(rng.unit())
}
