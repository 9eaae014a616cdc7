//! The standard scenario: a network starts, people join rooms, talk, look for rooms, leave; at the end all must be well.
//!
//! | Virtual time | What happens |
//! |---|---|
//! | 0–10 s | service nodes start, each knowing one of the first three |
//! | 10–30 s | clients start, each knowing one random service node |
//! | 30–60 s | 95 % of the memberships are joined |
//! | 75 s until 30 s before the end | finds by strangers; each member of each room sends messages; the other memberships are joined; some clients leave or crash; some switch their primary room |
//! | the last 30 s | quiet: everything must come to rest |
//!
//! A safety phase with events, then a liveness phase without, as in `TigerBeetle`'s simulator.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant as WallClock;

use unamed_protocol::crypto::Crypto;
use unamed_protocol::{Instant, NodeKind, RoomKey};

use crate::network::NetworkConfig;
use crate::oracle::{Oracle, RoomIndex, link_figures};
use crate::report::Report;
use crate::rng::{Rng, seed_bytes, zipf};
use crate::world::{Check, Condition, Crash, NodeIndex, Simulation, SimulationConfig, Step, Violation};

const SERVICE_STARTS: (u64, u64) = (0, 10);
const CLIENT_STARTS: (u64, u64) = (10, 30);
const JOINS: (u64, u64) = (30, 60);
const MEASURED_FROM: u64 = 75;
const QUIET: u64 = 30;
/// Links that a client has beside its homes and fellow members: service nodes that relay, links being replaced.
const SPARE_LINKS: usize = 4;

/// The standard scenario.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Service nodes, at least one.
    pub service_nodes: usize,
    /// Client nodes in total.
    pub client_nodes: usize,
    /// Rooms.
    pub rooms: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// Virtual time in all, at least [`Workload::DURATION_MIN`].
    pub duration: Duration,
    /// The crypto provider.
    pub crypto: Arc<dyn Crypto>,
    /// The network between nodes.
    pub network: NetworkConfig,
    /// Finds by strangers per second of the measured phase.
    pub finds_per_second: f64,
    /// Messages that each member of each room sends.
    pub messages: usize,
    /// Clients that leave: in turn by saying goodbye, by the end of the process, by the end of the host, or only a room.
    pub leaves: usize,
    /// Clients that switch their primary room.
    pub switches: usize,
    /// Share of memberships that service nodes take.
    pub service_members: f64,
    /// When invariants are checked.
    pub check: Check,
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
    /// The first violations.
    pub violations: Vec<Violation>,
    /// The simulation as it stands at the end.
    pub simulation: Simulation,
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    Goodbye,
    Crash(Crash),
    Room,
}

#[derive(Clone, Debug)]
enum Action {
    Start {
        node: NodeIndex,
        bootstrap: Option<NodeIndex>,
    },
    Join {
        node: NodeIndex,
        room: RoomIndex,
    },
    Broadcast {
        node: NodeIndex,
        room: RoomIndex,
    },
    Find,
    Leave {
        node: NodeIndex,
        how: Leave,
    },
    Switch {
        node: NodeIndex,
    },
    /// Reports progress, once a second.
    Tick,
}

/// A run under way.
struct Run<'a> {
    workload: &'a Workload,
    sim: Simulation,
    oracle: Oracle,
    services: Vec<NodeIndex>,
    clients: Vec<NodeIndex>,
    actions: Vec<Action>,
    popularity: Vec<f64>,
    finds: Rng,
    talk: Rng,
    choices: Rng,
}

impl Workload {
    /// The shortest run that has all phases.
    pub const DURATION_MIN: Duration = Duration::from_secs(120);

    /// The defaults for a network of this size.
    #[must_use]
    pub fn new(
        service_nodes: usize,
        client_nodes: usize,
        rooms: usize,
        seed: u64,
        crypto: Arc<dyn Crypto>,
    ) -> Self {
        Self {
            service_nodes,
            client_nodes,
            rooms,
            seed,
            duration: Duration::from_secs(180),
            crypto,
            network: NetworkConfig::default(),
            finds_per_second: 50.0,
            messages: 3,
            leaves: client_nodes.div_ceil(33),
            switches: client_nodes.div_ceil(50),
            service_members: 0.1,
            check: Check::Sampled(1000),
        }
    }

    /// Runs the scenario. `watch` hears of each second of virtual time.
    pub fn run(&self, prepare: impl FnOnce(&mut Simulation), mut watch: impl FnMut(Progress)) -> Outcome {
        let began = WallClock::now();
        let mut run = Run::new(self);
        prepare(&mut run.sim);
        run.plan();
        let end = Instant::ZERO + self.duration;
        while let Some(step) = run.sim.next(end) {
            if let Step::Action(action) = step
                && let Some(action) = run.actions.get(action as usize).cloned()
            {
                if matches!(action, Action::Tick) {
                    watch(run.progress(end));
                }
                run.act(&action);
            }
            for told in run.sim.take_events() {
                run.oracle.observe(&mut run.sim, &told);
            }
        }
        watch(run.progress(end));
        run.finish(began)
    }
}

impl<'a> Run<'a> {
    fn new(workload: &'a Workload) -> Self {
        let seed = workload.seed;
        let mut config = SimulationConfig::new(seed, Arc::clone(&workload.crypto));
        config.network = workload.network.clone();
        config.check = workload.check;
        let mut sim = Simulation::new(config);
        let services = (0..workload.service_nodes).map(|_| sim.add_service()).collect();
        let clients = (0..workload.client_nodes).map(|_| sim.add_client()).collect();
        let mut oracle = Oracle::new(&sim);
        for room in 0..workload.rooms as u64 {
            oracle.add_room(&sim, RoomKey::from_seed(seed_bytes(seed, "room", room, 0)));
        }
        Self {
            workload,
            oracle,
            sim,
            services,
            clients,
            actions: Vec::new(),
            popularity: zipf(workload.rooms),
            finds: Rng::new(seed, "finds"),
            talk: Rng::new(seed, "talk"),
            choices: Rng::new(seed, "choices"),
        }
    }

    fn progress(&self, end: Instant) -> Progress {
        let (finds_eligible, finds_succeeded) = self.oracle.finds_so_far();
        Progress { at: self.sim.now(), end, events: self.sim.event_count(), finds_eligible, finds_succeeded }
    }

    fn add(&mut self, at: Instant, action: Action) {
        let number = self.actions.len() as u64;
        self.actions.push(action);
        self.sim.schedule(at, number);
    }

    /// Repeats an action that needs no number of its own.
    fn again(&mut self, at: Instant, number: u64) {
        self.sim.schedule(at, number);
    }

    fn measured(&self) -> (Instant, Instant) {
        let until = Instant::ZERO + self.workload.duration.saturating_sub(Duration::from_secs(QUIET));
        (Instant::from_secs(MEASURED_FROM), until)
    }

    // The plan.

    fn plan(&mut self) {
        // The first two actions repeat themselves, so that their numbers are known.
        self.add(Instant::ZERO, Action::Tick);
        self.add(self.measured().0, Action::Find);
        self.plan_starts();
        let memberships = self.plan_memberships();
        self.plan_joins(&memberships);
        self.plan_talk(&memberships);
        self.plan_changes();
    }

    fn plan_starts(&mut self) {
        let mut rng = Rng::new(self.workload.seed, "starts");
        let window = Duration::from_secs(SERVICE_STARTS.1 - SERVICE_STARTS.0);
        let services = self.services.clone();
        for (index, &node) in services.iter().enumerate() {
            let first = services.get(..index.min(3)).unwrap_or_default();
            let bootstrap = rng.pick(first).copied();
            let offset = window * index as u32 / services.len() as u32;
            self.add(Instant::from_secs(SERVICE_STARTS.0) + offset, Action::Start { node, bootstrap });
        }
        for node in self.clients.clone() {
            let bootstrap = rng.pick(&services).copied();
            let at = between(&mut rng, seconds(CLIENT_STARTS));
            self.add(at, Action::Start { node, bootstrap });
        }
    }

    /// Rooms of 2 to 10 members with P(k) proportional to 1/k, drawn without repetition within a room.
    ///
    /// Rooms are full meshes, so a client has a link to each fellow member besides its homes and the service nodes that
    /// relay for it: whoever has no budget left for that is not drawn.
    fn plan_memberships(&mut self) -> Vec<(NodeIndex, RoomIndex)> {
        let mut rng = Rng::new(self.workload.seed, "rooms");
        let sizes: Vec<f64> = zipf(10).iter().skip(1).map(|sum| sum - 1.0).collect();
        let mut joined = vec![0_usize; self.sim.node_count()];
        let joined_max =
            self.sim.config().client.rooms.joined_max.min(self.sim.config().service.rooms.joined_max);
        let client = &self.sim.config().client;
        let budget = client.link.overlay_hard.saturating_sub(client.routing.homes + SPARE_LINKS);
        let mut fellows = vec![0_usize; self.sim.node_count()];
        let mut memberships = Vec::new();
        for room in (0..self.workload.rooms as u32).map(RoomIndex) {
            let size = 2 + rng.weighted(&sizes);
            let mut members: Vec<NodeIndex> = Vec::with_capacity(size);
            // A small population may not have enough nodes with room for another room: the draws are bounded.
            for _ in 0..size * 20 {
                if members.len() == size {
                    break;
                }
                let from_service = self.clients.is_empty() || rng.chance(self.workload.service_members);
                let from = if from_service { &self.services } else { &self.clients };
                if let Some(&node) = rng.pick(from)
                    && !members.contains(&node)
                    && joined[node.0 as usize] < joined_max
                    && fellows[node.0 as usize] + size - 1 <= budget
                {
                    joined[node.0 as usize] += 1;
                    fellows[node.0 as usize] += size - 1;
                    members.push(node);
                }
            }
            memberships.extend(members.into_iter().map(|node| (node, room)));
        }
        memberships
    }

    fn plan_joins(&mut self, memberships: &[(NodeIndex, RoomIndex)]) {
        let mut rng = Rng::new(self.workload.seed, "joins");
        let measured = self.measured();
        for &(node, room) in memberships {
            let late = rng.chance(0.05);
            let at = between(&mut rng, if late { measured } else { seconds(JOINS) });
            self.add(at, Action::Join { node, room });
        }
    }

    fn plan_talk(&mut self, memberships: &[(NodeIndex, RoomIndex)]) {
        let mut rng = Rng::new(self.workload.seed, "talks");
        let measured = self.measured();
        for &(node, room) in memberships {
            for _ in 0..self.workload.messages {
                let at = between(&mut rng, measured);
                self.add(at, Action::Broadcast { node, room });
            }
        }
    }

    fn plan_changes(&mut self) {
        let mut rng = Rng::new(self.workload.seed, "changes");
        let measured = self.measured();
        let mut staying = self.clients.clone();
        let ways = [Leave::Goodbye, Leave::Crash(Crash::Process), Leave::Crash(Crash::Host), Leave::Room];
        for turn in 0..self.workload.leaves.min(staying.len()) {
            let node = staying.swap_remove(rng.index(staying.len()));
            let at = between(&mut rng, measured);
            self.add(at, Action::Leave { node, how: ways[turn % ways.len()] });
        }
        for _ in 0..self.workload.switches {
            if let Some(&node) = rng.pick(&staying) {
                let at = between(&mut rng, measured);
                self.add(at, Action::Switch { node });
            }
        }
    }

    // The run.

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Start { node, bootstrap } => self.sim.start(node, bootstrap.as_slice()),
            Action::Join { node, room } => self.oracle.join(&mut self.sim, node, room),
            Action::Broadcast { node, room } => self.broadcast(node, room),
            Action::Find => self.find(),
            Action::Leave { node, how } => self.leave(node, how),
            Action::Switch { node } => self.switch(node),
            Action::Tick => {
                let at = self.sim.now() + Duration::from_secs(1);
                self.again(at, 0);
            }
        }
    }

    fn broadcast(&mut self, author: NodeIndex, room: RoomIndex) {
        let bytes = match self.talk.below(100) {
            0..80 => 20 + self.talk.below(180),
            80..95 => 200 + self.talk.below(3900),
            _ => 4096 + self.talk.below(32 * 1024 - 4096 + 1),
        };
        let directed = self.talk.chance(1.0 / 6.0);
        let pick = self.talk.bits();
        if !self.oracle.has_joined(author, room) || self.sim.condition(author) != Condition::Up {
            return;
        }
        let recipient = if directed { self.oracle.seen_by(&self.sim, author, room, pick) } else { None };
        self.oracle.broadcast(&mut self.sim, author, room, bytes as usize, recipient);
    }

    /// A stranger looks for a room; the next one follows by a Poisson process.
    fn find(&mut self) {
        let (rate, until) = (self.workload.finds_per_second, self.measured().1);
        if rate <= 0.0 || self.workload.rooms == 0 {
            return;
        }
        let pause = -libm::log(self.finds.unit()) / rate * 1e6;
        let at = self.sim.now() + Duration::from_micros((pause as u64).max(1));
        if at < until {
            self.again(at, 1);
        }
        let room = RoomIndex(self.finds.weighted(&self.popularity) as u32);
        let from = if self.clients.is_empty() { &self.services } else { &self.clients };
        let strangers = (0..20).filter_map(|_| self.finds.pick(from).copied());
        let up =
            |node: &NodeIndex| self.sim.condition(*node) == Condition::Up && !self.oracle.is_in(*node, room);
        if let Some(finder) = strangers.collect::<Vec<_>>().into_iter().find(up) {
            self.oracle.find(&mut self.sim, finder, room);
        }
    }

    fn leave(&mut self, node: NodeIndex, how: Leave) {
        match how {
            Leave::Goodbye => {
                self.oracle.departs(node, self.sim.now());
                self.sim.shutdown(node);
            }
            Leave::Crash(crash) => {
                self.oracle.departs(node, self.sim.now());
                self.sim.crash(node, crash);
            }
            Leave::Room => {
                if let Some(&room) = self.choices.pick(&self.oracle.rooms_of(node)) {
                    self.oracle.leave(&mut self.sim, node, room);
                }
            }
        }
    }

    fn switch(&mut self, node: NodeIndex) {
        if self.sim.kind(node) == NodeKind::Client
            && let Some(&room) = self.choices.pick(&self.oracle.rooms_of(node))
        {
            let id = self.oracle.room_id(room);
            if let Some(Err(error)) = self.sim.command(node, |running, now| running.make_primary(id, now)) {
                self.sim.add_violation(node, format!("{id:?} could not be made primary: {error}"));
            }
        }
    }

    // The end.

    fn finish(mut self, began: WallClock) -> Outcome {
        self.sim.check_all();
        self.oracle.check_deadlines(&mut self.sim);
        let rooms_split = self.oracle.rooms_split(&self.sim);
        let messages = self.oracle.message_figures(&self.sim);
        let (joins, join_ms_p50, join_ms_p99) = self.oracle.join_figures();
        let violations = self.sim.violations().first().to_vec();
        let details = violations.iter().map(ToString::to_string).chain(self.oracle.details().cloned());
        let mut report = Report {
            seed: self.workload.seed,
            service_nodes: self.services.len(),
            client_nodes: self.clients.len(),
            rooms: self.workload.rooms,
            simulated_s: self.workload.duration.as_secs_f64(),
            wall_s: 0.0,
            events: self.sim.event_count(),
            trace_hash: self.sim.trace_hash(),
            decision_hash: self.sim.decision_hash(),
            finds: self.oracle.find_figures(),
            rooms_split,
            messages,
            links: link_figures(&self.sim),
            invariant_violations: self.sim.violations().count(),
            joins,
            join_ms_p50,
            join_ms_p99,
            members_stale: self.oracle.members_stale(&self.sim),
            failures: Vec::new(),
            details: details.collect(),
        };
        report.failures = report.verdict();
        report.wall_s = began.elapsed().as_secs_f64();
        Outcome { report, violations, simulation: self.sim }
    }
}

const fn seconds(window: (u64, u64)) -> (Instant, Instant) {
    (Instant::from_secs(window.0), Instant::from_secs(window.1))
}

fn between(rng: &mut Rng, (from, until): (Instant, Instant)) -> Instant {
    let micros = u64::try_from(until.since(from).as_micros()).unwrap_or(u64::MAX);
    from + Duration::from_micros(rng.below(micros))
}
