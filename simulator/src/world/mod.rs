//! The engine: nodes, virtual time, and what passes between nodes.
//!
//! [`Simulation`] drives [`Node`]s by their public surface alone, as the other drivers do: inputs in, outputs drained
//! after each, one timer per node. Time is virtual, in microseconds, and advances from event to event. Everything that
//! happens is a function of the seed and of the calls made.
//!
//! # Model
//! * A carrier stands for a TCP connection with a WebSocket on it. A dial reaches the target after one one-way delay, is
//!   accepted after three (TCP handshake, then the upgrade request) and is connected for the dialler after four.
//! * Frames keep their order. What was sent before a close arrives before it.
//! * A dial to a host on which nobody listens is refused after two delays. A dial to a crashed host, to an address that
//!   leads nowhere or across a partition times out.
//! * WebRTC between clients, where their configuration has it: `direct.rs` says how long it takes and which NATs let it.
//!   It runs over datagrams, so the end of a process is silence for its peers.
//! * A crashed process: the operating system resets its connections, the peers learn it one delay later. A crashed host
//!   says nothing; once it is back, it resets what still arrives for the old connections.
//! * A partition holds back what crosses it, as TCP does by retransmission. If it heals while both ends live, all of it
//!   arrives in order.
//! * Where [`NetworkConfig::detection`] is set, the ends of a carrier whose other end fell silent, by the end of its host or
//!   by a partition that lasts, learn of it by their transport (TCP keep-alive, `TCP_USER_TIMEOUT`) after a time drawn from
//!   its bounds. Else they learn it by their own pings.
//! * A node that reads slowly ([`Simulation::read_slowly`]) takes frames, and the ends of carriers after them, in the order
//!   of arrival and no faster than its rate; its timers and what it sends are not concerned.
//! * Credit: each direction takes [`NetworkConfig::socket_buffer_bytes`]; what arrived is granted anew in quarters of
//!   that, one delay later.
//!
//! # Rules that it checks
//! A node that sends without credit, sends too large frames, uses a link that is gone, or leaves a deadline standing
//! breaks the driving contract: that counts as a violation, with the node's own `check_invariants`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use unamed_protocol::crypto::Crypto;
use unamed_protocol::{
    Address, Config, Event, Host, Identity, Instant, LinkId, NetworkId, Node, NodeKind, PeerId, Snapshot,
    Start,
};

use crate::network::{Clog, Cut, Cuts, Nat, NetworkConfig};
use crate::queue::EventQueue;
use crate::rng::{Rng, seed_bytes};
use crate::taint::{Sighting, Watch, Watched};
use crate::trace::{Mark, Trace, TraceSample};

mod carrier;
mod direct;
mod passage;
#[cfg(test)]
mod passage_tests;
mod raw;
mod reading;

use carrier::{CarrierId, Carriers, Parcel, ParcelId, Parcels, Side};
use direct::{StackId, Stacks};
use raw::RawEnd;
pub use raw::{RawLink, RawState};
use reading::Reader;

/// Wall-clock time at virtual time zero, milliseconds since the Unix epoch.
const UNIX_MS_AT_START: u64 = 1_750_000_000_000;

/// A node may take this long to say goodbye before its end counts as a violation and is forced.
const SHUTDOWN_MAX: core::time::Duration = core::time::Duration::from_secs(15);

/// A node of a simulation, counted from 0 in the order of adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeIndex(pub u32);

/// How a node comes to a sudden end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends; the operating system lives and resets its connections.
    Process,
    /// The machine ends, or its cable: silence.
    Host,
}

/// Whether a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was not started yet.
    Fresh,
    /// It runs.
    Up,
    /// It was told to shut down and says goodbye.
    Leaving,
    /// It ended in good order.
    Left,
    /// It crashed.
    Crashed(Crash),
}

/// When the nodes' `check_invariants` run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// After every event, of the node concerned.
    Every,
    /// After every so many events, of the node concerned.
    Sampled(u64),
    /// Only by [`Simulation::check_all`].
    AtEnd,
}

/// What a simulation is made from.
#[derive(Clone, Debug)]
pub struct SimulationConfig {
    /// Decides everything that is random.
    pub seed: u64,
    /// The crypto provider of all nodes.
    pub crypto: Arc<dyn Crypto>,
    /// The network between nodes.
    pub network: NetworkConfig,
    /// Configuration of service nodes made by [`Simulation::add_service`].
    pub service: Config,
    /// Configuration of client nodes made by [`Simulation::add_client`].
    pub client: Config,
    /// When invariants are checked.
    pub check: Check,
    /// Whether what nodes save is kept for their restart. It is some 10 KB a node; without it they restart without state.
    pub keep_saved: bool,
}

impl SimulationConfig {
    /// The defaults, with this seed and crypto provider.
    #[must_use]
    pub fn new(seed: u64, crypto: Arc<dyn Crypto>) -> Self {
        Self {
            seed,
            crypto,
            network: NetworkConfig::default(),
            service: Config::service(NetworkId::default()),
            client: Config::client(NetworkId::default()),
            check: Check::Every,
            keep_saved: true,
        }
    }
}

/// An event that a node told its application.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeEvent {
    /// When.
    pub at: Instant,
    /// Which node.
    pub node: NodeIndex,
    /// What.
    pub event: Event,
}

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Which node.
    pub node: NodeIndex,
    /// What, in a sentence.
    pub text: String,
}

/// Violations: all are counted, the first are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    count: u64,
    first: Vec<Violation>,
}

impl Violations {
    const KEPT: usize = 100;

    /// Counts a violation.
    pub fn add(&mut self, at: Instant, node: NodeIndex, text: impl Into<String>) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(Violation { at, node, text: text.into() });
        }
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first hundred.
    #[must_use]
    pub fn first(&self) -> &[Violation] {
        &self.first
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} node {}: {}", self.at, self.node.0, self.text)
    }
}

/// What [`Simulation::next`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node handled an input or a timeout, or something reached nobody.
    Engine,
    /// The time of an action set by [`Simulation::schedule`] has come.
    Action(u64),
}

/// What waits in the queue.
///
/// Small on purpose: a million of them are pending in a large network. What travels is in [`Parcels`].
#[derive(Debug)]
enum Pending {
    /// A node's deadline, in its given run.
    Wake { node: u32, run: u32 },
    /// A dial reaches its target's host.
    Knock(CarrierId),
    /// The upgrade request reaches its target.
    Upgrade(CarrierId),
    /// A parcel reaches the end at this side.
    Arrival(CarrierId, Side, ParcelId),
    /// The transport at this side has heard nothing for too long, if that is still so.
    Detection(CarrierId, Side),
    /// A node that reads slowly takes what arrived first.
    Read(u32),
    /// A WebRTC stack gives its next signal.
    Describe(StackId),
    /// The checks of an offerer's stack are over.
    Check(StackId),
    /// A WebRTC stack gives up.
    IceFailed(StackId),
    /// A node that was told to shut down must be gone, in its given run.
    Gone { node: u32, run: u32 },
    /// The caller's own.
    Action(u64),
}

#[derive(Debug)]
struct Slot {
    node: Option<Box<Node>>,
    condition: Condition,
    config: Arc<Config>,
    identity: Identity,
    peer: PeerId,
    address: Option<Address>,
    ip: IpAddr,
    bootstraps: Vec<Address>,
    saved: Option<Snapshot>,
    /// Counts starts, so that what was meant for an earlier run finds nobody.
    run: u32,
    /// The boot number of its last run.
    boot: u64,
    links: BTreeMap<LinkId, (CarrierId, Side)>,
    /// When the earliest wake-up in the queue that counts is due.
    wake: Option<Instant>,
    /// Until when the uplink is busy with what was sent.
    busy_until: Instant,
    /// How it reads, if it does so slowly.
    reader: Option<Box<Reader>>,
    sent: Sent,
}

/// What a node sent since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Sent {
    const fn add(&mut self, bytes: u64) {
        self.frames += 1;
        self.bytes += bytes;
    }
}

/// A network of nodes in virtual time.
#[derive(Debug)]
pub struct Simulation {
    config: SimulationConfig,
    service: Arc<Config>,
    client: Arc<Config>,
    now: Instant,
    queue: EventQueue<Pending>,
    events: u64,
    slots: Vec<Slot>,
    raws: Vec<RawEnd>,
    carriers: Carriers,
    parcels: Parcels,
    stacks: Stacks,
    sent_service: Sent,
    sent_client: Sent,
    jitter: Rng,
    detection: Rng,
    signals: Rng,
    registry: BTreeMap<(IpAddr, u16), u32>,
    cuts: Cuts,
    /// What a partition holds back, by carrier and sender's side.
    held: BTreeMap<(CarrierId, Side), Vec<Parcel>>,
    trace: Trace,
    told: Vec<NodeEvent>,
    violations: Violations,
    /// Where every event is checked: sees who reads what.
    watch: Option<Arc<Watch>>,
}

impl Simulation {
    /// A simulation without nodes, at time zero.
    #[must_use]
    pub fn new(config: SimulationConfig) -> Self {
        Self {
            now: Instant::ZERO,
            queue: EventQueue::new(),
            events: 0,
            slots: Vec::new(),
            raws: Vec::new(),
            carriers: Carriers::default(),
            parcels: Parcels::default(),
            stacks: Stacks::default(),
            sent_service: Sent::default(),
            sent_client: Sent::default(),
            jitter: Rng::new(config.seed, "jitter"),
            detection: Rng::new(config.seed, "detection"),
            signals: Rng::new(config.seed, "signals"),
            service: Arc::new(config.service.clone()),
            client: Arc::new(config.client.clone()),
            registry: BTreeMap::new(),
            cuts: Cuts::default(),
            held: BTreeMap::new(),
            watch: (config.check == Check::Every).then(Arc::default),
            trace: Trace::new(),
            told: Vec::new(),
            violations: Violations::default(),
            config,
        }
    }

    /// Adds a service node with an address of its own. It runs from [`start`](Self::start) on.
    pub fn add_service(&mut self) -> NodeIndex {
        self.add_numbered(Arc::clone(&self.service))
    }

    /// Adds a service node with an identity of its own.
    pub fn add_service_as(&mut self, identity: Identity) -> NodeIndex {
        self.add_as(Arc::clone(&self.service), identity)
    }

    /// Adds a client node. It runs from [`start`](Self::start) on.
    pub fn add_client(&mut self) -> NodeIndex {
        self.add_numbered(Arc::clone(&self.client))
    }

    /// Adds a node with a configuration of its own. Its identity follows from the seed and its index.
    pub fn add(&mut self, config: Config) -> NodeIndex {
        self.add_numbered(Arc::new(config))
    }

    fn add_numbered(&mut self, config: Arc<Config>) -> NodeIndex {
        let index = self.slots.len() as u64;
        self.add_as(config, Identity::from_seed(seed_bytes(self.config.seed, "identity", index, 0)))
    }

    /// Adds a node of the same kind and with the same identity as `node`, at another place.
    pub fn add_twin(&mut self, node: NodeIndex) -> NodeIndex {
        let slot = &self.slots[node.0 as usize];
        self.add_as(Arc::clone(&slot.config), slot.identity.clone())
    }

    fn add_as(&mut self, config: Arc<Config>, identity: Identity) -> NodeIndex {
        let index = self.slots.len() as u32;
        let peer = PeerId(self.config.crypto.public_key(identity.secret()));
        let ip = ip_of(config.kind, index);
        let address = match config.kind {
            NodeKind::Service => {
                self.registry.insert((IpAddr::V4(ip), PORT), index);
                Some(Address { host: Host::Ip4(ip), port: PORT, secure: false, peer: Some(peer) })
            }
            NodeKind::Client => None,
        };
        self.slots.push(Slot {
            node: None,
            condition: Condition::Fresh,
            config,
            identity,
            peer,
            address,
            ip: IpAddr::V4(ip),
            bootstraps: Vec::new(),
            saved: None,
            run: 0,
            boot: 0,
            links: BTreeMap::new(),
            wake: None,
            busy_until: Instant::ZERO,
            reader: None,
            sent: Sent::default(),
        });
        NodeIndex(index)
    }

    /// Starts a node that does not run. It knows the addresses of `bootstraps` (those that are service nodes), at this
    /// start and at each [`restart`](Self::restart).
    pub fn start(&mut self, node: NodeIndex, bootstraps: &[NodeIndex]) {
        self.slots[node.0 as usize].bootstraps =
            bootstraps.iter().filter_map(|other| self.slots[other.0 as usize].address.clone()).collect();
        self.restart(node, true);
    }

    /// Starts a node that does not run, with what its last run saved or without. It is the same identity at the same
    /// address.
    pub fn restart(&mut self, node: NodeIndex, with_state: bool) {
        let (now, index) = (self.now, node.0);
        let unix_ms = self.unix_ms().saturating_add_signed(self.clock_skew_ms(node));
        let slot = &mut self.slots[index as usize];
        if slot.node.is_some() {
            return;
        }
        slot.run += 1;
        slot.condition = Condition::Up;
        let remembers = with_state && slot.saved.is_some();
        let start = Start {
            config: Config::clone(&slot.config),
            identity: slot.identity.clone(),
            crypto: self.watch.as_ref().map_or_else(
                || Arc::clone(&self.config.crypto),
                |watch| Arc::new(Watched::new(Arc::clone(&self.config.crypto), Arc::clone(watch), index)),
            ),
            seed: seed_bytes(self.config.seed, "node", u64::from(index), u64::from(slot.run)),
            unix_ms,
            addresses: slot.address.iter().cloned().collect(),
            saved: slot.saved.clone().filter(|_| with_state),
        };
        let mut fresh = Box::new(Node::new(start, now));
        for address in &slot.bootstraps {
            fresh.bootstrap(address.clone(), now);
        }
        let (before, boot) = (slot.boot, fresh.boot());
        slot.boot = boot;
        slot.node = Some(fresh);
        if remembers && boot <= before {
            self.add_violation(node, format!("boot number {boot} after {before}"));
        }
        self.trace.mark(now, index, Mark::Start, LinkId(0));
        self.settle(index);
    }

    /// Ends a node suddenly. What it has sent is on its way; what it has queued is lost.
    pub fn crash(&mut self, node: NodeIndex, crash: Crash) {
        let slot = &mut self.slots[node.0 as usize];
        if slot.node.take().is_none() {
            return;
        }
        slot.condition = Condition::Crashed(crash);
        self.trace.mark(self.now, node.0, Mark::Crash, LinkId(0));
        match crash {
            Crash::Process => self.abandon(node.0, Some(unamed_protocol::Disconnect::Reset)),
            Crash::Host => {
                self.detect_silence_of(node.0);
                self.abandon(node.0, None);
            }
        }
    }

    /// Forgets what a node that does not run has saved, for one that will not return.
    pub fn discard(&mut self, node: NodeIndex) {
        let slot = &mut self.slots[node.0 as usize];
        if slot.node.is_none() {
            slot.saved = None;
            slot.bootstraps = Vec::new();
        }
    }

    /// By how much a node's wall clock is off, milliseconds.
    fn clock_skew_ms(&self, node: NodeIndex) -> i64 {
        let most = self.config.network.clock_skew.as_millis() as f64;
        let draw = Rng::at(self.config.seed, "clock skew", u64::from(node.0)).unit();
        ((draw * 2.0 - 1.0) * most) as i64
    }

    /// What stands between a node and the others.
    #[must_use]
    pub fn nat(&self, node: NodeIndex) -> Nat {
        match self.kind(node) {
            NodeKind::Service => Nat::None,
            NodeKind::Client => {
                let draw = Rng::at(self.config.seed, "nat", u64::from(node.0)).unit();
                self.config.network.nat_of(draw)
            }
        }
    }

    /// Tells a node to leave in good order. It is gone when it says so.
    pub fn shutdown(&mut self, node: NodeIndex) {
        let slot = &mut self.slots[node.0 as usize];
        let (Some(running), Condition::Up) = (&mut slot.node, slot.condition) else { return };
        slot.condition = Condition::Leaving;
        running.shutdown(self.now);
        let run = slot.run;
        self.trace.mark(self.now, node.0, Mark::Stop, LinkId(0));
        self.queue.push(self.now + SHUTDOWN_MAX, Pending::Gone { node: node.0, run });
        self.settle(node.0);
    }

    /// Does something with a running node, as its application would, and carries out what follows from it. `None` if the
    /// node does not run.
    pub fn command<R>(&mut self, node: NodeIndex, action: impl FnOnce(&mut Node, Instant) -> R) -> Option<R> {
        let result = action(self.slots[node.0 as usize].node.as_mut()?, self.now);
        self.trace.mark(self.now, node.0, Mark::Command, LinkId(0));
        self.settle(node.0);
        Some(result)
    }

    /// Parts two sets of nodes from each other, in both directions. `None` if [`Cuts::MAX`] partitions are in force.
    pub fn partition(&mut self, first: &[NodeIndex], second: &[NodeIndex]) -> Option<Cut> {
        self.cut(first, second, true)
    }

    /// Keeps what nodes of `from` send away from those of `to`; the other direction works.
    pub fn partition_one_way(&mut self, from: &[NodeIndex], to: &[NodeIndex]) -> Option<Cut> {
        self.cut(from, to, false)
    }

    fn cut(&mut self, first: &[NodeIndex], second: &[NodeIndex], symmetric: bool) -> Option<Cut> {
        let plain = |nodes: &[NodeIndex]| nodes.iter().map(|node| node.0).collect::<Vec<u32>>();
        let cut = self.cuts.add(&plain(first), &plain(second), symmetric);
        self.detect_blocked();
        cut
    }

    /// Blocks a random share of all pairs of nodes. What they send each other arrives once it is [`unclog`](Self::unclog)ged.
    pub fn clog(&mut self, share: f64) -> Clog {
        let clog = self.cuts.add_clog(self.config.seed, share);
        self.detect_blocked();
        clog
    }

    /// Ends a clog.
    pub fn unclog(&mut self, clog: Clog) {
        self.cuts.remove_clog(clog);
        self.release_held();
    }

    /// Ends a partition. What it held back arrives.
    pub fn heal(&mut self, cut: Cut) {
        self.cuts.remove(cut);
        self.release_held();
    }

    /// Has [`next`](Self::next) return `action` at this time (at once if it lies in the past).
    pub fn schedule(&mut self, at: Instant, action: u64) {
        self.queue.push(at.max(self.now), Pending::Action(action));
    }

    /// Does what is due next, up to and at `until`. `None` once nothing is left by then; the time is `until` then.
    pub fn next(&mut self, until: Instant) -> Option<Step> {
        if self.queue.next_at().is_none_or(|at| at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let (at, pending) = self.queue.pop()?;
        self.now = at;
        self.events += 1;
        let concerned = match pending {
            Pending::Action(action) => return Some(Step::Action(action)),
            Pending::Wake { node, run } => self.wake(node, run),
            Pending::Knock(carrier) => self.knock(carrier),
            Pending::Upgrade(carrier) => self.upgrade(carrier),
            Pending::Arrival(carrier, side, parcel) => {
                let parcel = self.parcels.take(parcel)?;
                self.reach(carrier, side, parcel)
            }
            Pending::Detection(carrier, side) => self.detection(carrier, side),
            Pending::Read(node) => self.read_next(node),
            Pending::Describe(stack) => self.describe(stack),
            Pending::Check(stack) => self.check_direct(stack),
            Pending::IceFailed(stack) => self.ice_failed(stack),
            Pending::Gone { node, run } => self.force_stop(node, run),
        };
        if let Some(node) = concerned {
            self.check_after_event(node);
        }
        Some(Step::Engine)
    }

    /// Lets time pass up to and including `until`. Scheduled actions are passed over.
    pub fn run_until(&mut self, until: Instant) {
        while self.next(until).is_some() {}
    }

    /// Lets time pass until an event for which `wanted` holds, and returns it with its place in the order of events;
    /// `None` if there was none up to `until`. Events told meanwhile stay to be taken.
    pub fn run_until_event(
        &mut self,
        until: Instant,
        mut wanted: impl FnMut(&NodeEvent) -> bool,
    ) -> Option<NodeEvent> {
        let mut seen = 0;
        loop {
            if let Some(found) = self.told[seen..].iter().find(|event| wanted(event)) {
                return Some(found.clone());
            }
            seen = self.told.len();
            self.next(until)?;
        }
    }

    fn check_after_event(&mut self, node: u32) {
        let due = match self.config.check {
            Check::Every => true,
            Check::Sampled(every) => self.events.is_multiple_of(every.max(1)),
            Check::AtEnd => false,
        };
        if due {
            self.check(node);
        }
    }

    fn check(&mut self, node: u32) {
        if let Some(running) = &self.slots[node as usize].node {
            for text in running.check_invariants() {
                self.violations.add(self.now, NodeIndex(node), text);
            }
        }
    }

    /// Checks the invariants of every running node.
    pub fn check_all(&mut self) {
        for node in 0..self.slots.len() as u32 {
            self.check(node);
        }
    }

    /// What was told to applications since this was last called, in order.
    pub fn take_events(&mut self) -> Vec<NodeEvent> {
        std::mem::take(&mut self.told)
    }

    /// From here on this key of a room is to be seen nowhere. Only where every event is checked.
    pub fn keep_secret(&self, key: [u8; 32]) {
        if let Some(watch) = &self.watch {
            watch.add_key(key);
        }
    }

    /// Which nodes read payloads of which rooms, each pair once, since this was last called. What stands open on a wire, or is
    /// the key of a room, becomes a violation. Only where every event is checked.
    pub(crate) fn take_readings(&mut self) -> Vec<(NodeIndex, u32)> {
        let sightings = self.watch.as_ref().map(|watch| watch.take()).unwrap_or_default();
        let mut readings = Vec::new();
        for sighting in sightings {
            match sighting {
                Sighting::Payload { reader, room } => readings.push((NodeIndex(reader), room)),
                Sighting::OpenPayload { to } => {
                    self.add_violation(NodeIndex(to), "a payload stands open on the wire to it");
                }
                Sighting::Key { to } => self.add_violation(NodeIndex(to), "the key of a room came to it"),
            }
        }
        readings
    }

    /// What one node told its application since this or [`take_events`](Self::take_events) was last called, in order.
    pub fn take_events_of(&mut self, node: NodeIndex) -> Vec<NodeEvent> {
        let (of_node, rest) =
            std::mem::take(&mut self.told).into_iter().partition(|event| event.node == node);
        self.told = rest;
        of_node
    }

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The true wall-clock time, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(&self) -> u64 {
        UNIX_MS_AT_START + self.now.as_millis()
    }

    /// How many nodes were added.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.slots.len()
    }

    /// Every node, in the order of adding.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.slots.len() as u32).map(NodeIndex)
    }

    /// A running node, for its views.
    #[must_use]
    pub fn node(&self, node: NodeIndex) -> Option<&Node> {
        self.slots[node.0 as usize].node.as_deref()
    }

    /// Whether a node runs.
    #[must_use]
    pub fn condition(&self, node: NodeIndex) -> Condition {
        self.slots[node.0 as usize].condition
    }

    /// A node's id.
    #[must_use]
    pub fn peer_id(&self, node: NodeIndex) -> PeerId {
        self.slots[node.0 as usize].peer
    }

    /// Whether a node is a service node or a client.
    #[must_use]
    pub fn kind(&self, node: NodeIndex) -> NodeKind {
        self.slots[node.0 as usize].config.kind
    }

    /// The address of a service node, with its peer id.
    #[must_use]
    pub fn address(&self, node: NodeIndex) -> Option<&Address> {
        self.slots[node.0 as usize].address.as_ref()
    }

    /// What a node sent since it was added, over all its runs.
    #[must_use]
    pub fn sent(&self, node: NodeIndex) -> Sent {
        self.slots[node.0 as usize].sent
    }

    /// What all nodes of a kind sent.
    #[must_use]
    pub const fn sent_by(&self, kind: NodeKind) -> Sent {
        match kind {
            NodeKind::Service => self.sent_service,
            NodeKind::Client => self.sent_client,
        }
    }

    /// What a node saved last.
    #[must_use]
    pub fn saved(&self, node: NodeIndex) -> Option<&Snapshot> {
        self.slots[node.0 as usize].saved.as_ref()
    }

    /// Whether a partition keeps what `from` sends away from `to`.
    #[must_use]
    pub fn blocked(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.cuts.blocked(from.0, to.0)
    }

    /// Events handled so far.
    #[must_use]
    pub const fn event_count(&self) -> u64 {
        self.events
    }

    /// Carriers that exist, those that are being set up or closed included.
    #[must_use]
    pub fn carrier_count(&self) -> usize {
        self.carriers.len()
    }

    /// What the simulation was made from.
    #[must_use]
    pub const fn config(&self) -> &SimulationConfig {
        &self.config
    }

    /// Violations so far.
    #[must_use]
    pub const fn violations(&self) -> &Violations {
        &self.violations
    }

    /// For an oracle that finds violations of its own.
    pub fn add_violation(&mut self, node: NodeIndex, text: impl Into<String>) {
        self.violations.add(self.now, node, text);
    }

    /// SHA-256 over everything that happened so far, every byte sent included, as hex.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.trace.hash()
    }

    /// As [`trace_hash`](Self::trace_hash), with the lengths of frames in place of their bytes.
    #[must_use]
    pub fn decision_hash(&self) -> String {
        self.trace.decision_hash()
    }

    /// Writes what happens from here on at the nodes of the sample, one JSON object a line; `docs/simulation.md` has the
    /// format.
    pub fn write_trace(&mut self, sink: Box<dyn Write + Send>, sample: TraceSample) {
        self.trace.write_to(sink, sample);
    }

    /// Writes what the running nodes have counted, and flushes the trace.
    ///
    /// # Errors
    /// The first failure to write it.
    pub fn finish_trace(&mut self) -> io::Result<()> {
        for (index, slot) in (0..).zip(&self.slots) {
            if let Some(node) = &slot.node {
                self.trace.counters(self.now, index, || node.metrics());
            }
        }
        self.trace.finish()
    }
}

/// The port of every service node.
const PORT: u16 = 3001;

/// A public IPv4 address for each node, each service node in a /24 of its own up to 2^21 nodes: 11.0.0.0 to 31.255.255.0
/// for service nodes, from 32.0.0.0 on for clients.
fn ip_of(kind: NodeKind, index: u32) -> Ipv4Addr {
    let [high, middle, low] = [index >> 16, index >> 8, index].map(|part| (part & 0xff) as u8);
    match kind {
        NodeKind::Service => Ipv4Addr::new(11 + high % 21, middle, low, 1 + high / 21),
        NodeKind::Client => Ipv4Addr::new(32 + high % 64, middle, low, 1 + high / 64),
    }
}
