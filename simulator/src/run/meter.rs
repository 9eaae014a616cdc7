//! What nodes send in the measured phase, by kind and purpose; and what the process holds.

use unamed_protocol::{Instant, NodeKind};

use crate::recording::Recording;
use crate::report::{KindFigures, WalkFigures};
use crate::world::{NodeIndex, Sent, Simulation};

/// Bytes that a frame costs beside its own: IPv4 and TCP headers, and a WebSocket header.
const FRAME_OVERHEAD_BYTES: u64 = 44;

/// The prefix of the nodes' counters of bytes by purpose.
const PREFIX: &str = "bytes_sent_";
/// Purposes, after the prefix; whether they are maintenance. Finds are not, nor is what people say, over links and
/// circuits. The acknowledgements of finds cannot be told from others and count as maintenance.
const PURPOSES: [(&str, bool); 12] = [
    ("overlay", true),
    ("lookup", true),
    ("find", false),
    ("publish", true),
    ("replication", true),
    ("notify", true),
    ("connect", true),
    ("acks", true),
    ("relay", false),
    ("room", false),
    ("signals", true),
    ("handshake", true),
];

/// Counters of what limits refused or held back, and of what was held against peers.
const LIMITS: [&str; 8] = [
    "finds_limited",
    "member_data_limited",
    "offences",
    "peers_banned",
    "publishes_limited",
    "relay_credit_delayed",
    "requests_limited",
    "routed_refused_share",
];

/// What a node's limits refused or held back in its present run.
fn limited(sim: &Simulation, node: NodeIndex) -> u64 {
    let counters = sim.node(node).map(|running| running.metrics()).unwrap_or_default();
    counters.into_iter().filter(|(name, _)| LIMITS.contains(name)).map(|(_, count)| count).sum()
}

type ByPurpose = [u64; PURPOSES.len()];

/// The counters of walks, of all, of finds and of publishers, and of their questions.
const WALKS: [&str; 6] = [
    "walks_started",
    "walks_started_find",
    "walks_started_publish",
    "queries_sent",
    "queries_sent_find",
    "queries_sent_publish",
];

type Walks = [u64; WALKS.len()];

/// What a node counted so far in its present run.
fn counted(sim: &Simulation, node: NodeIndex) -> (ByPurpose, Walks) {
    let (mut sums, mut walks) = (ByPurpose::default(), Walks::default());
    for (name, value) in sim.node(node).map(|running| running.metrics()).unwrap_or_default() {
        let purpose = name.strip_prefix(PREFIX);
        if let Some(place) = PURPOSES.iter().position(|(known, _)| Some(*known) == purpose) {
            sums[place] += value;
        } else if let Some(place) = WALKS.iter().position(|known| *known == name) {
            walks[place] += value;
        }
    }
    (sums, walks)
}

/// Sums over nodes of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    seconds: f64,
    frames: u64,
    bytes: u64,
    by_purpose: ByPurpose,
    walks: Walks,
}

impl Total {
    fn per_second(&self, sum: f64) -> Option<f64> {
        (self.seconds > 0.0).then(|| sum / self.seconds)
    }

    fn bytes(&self) -> f64 {
        (self.bytes + self.frames * FRAME_OVERHEAD_BYTES) as f64
    }

    /// The share of all bytes that is maintenance, by the bytes of messages: what frames cost beside is shared alike.
    fn maintenance(&self) -> f64 {
        let all: u64 = self.by_purpose.iter().sum();
        let maintenance = self.by_purpose.iter().zip(PURPOSES).filter(|(_, purpose)| purpose.1);
        let maintenance: u64 = maintenance.map(|(bytes, _)| bytes).sum();
        if all == 0 { self.bytes() } else { self.bytes() * maintenance as f64 / all as f64 }
    }
}

/// What a node had sent when it was first measured.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    sent: Sent,
    by_purpose: ByPurpose,
    walks: Walks,
}

/// What nodes send while it runs.
#[derive(Debug, Default)]
pub(super) struct Meter {
    running: bool,
    since: Vec<Option<Box<Since>>>,
    service: Total,
    client: Total,
    /// What limits refused or held back, by nodes that have ended.
    limited: u64,
}

impl Meter {
    const fn total(&mut self, kind: NodeKind) -> &mut Total {
        match kind {
            NodeKind::Service => &mut self.service,
            NodeKind::Client => &mut self.client,
        }
    }

    /// The measured phase begins.
    pub(super) fn begin(&mut self, sim: &Simulation) {
        self.running = true;
        let running: Vec<NodeIndex> = sim.nodes().filter(|node| sim.node(*node).is_some()).collect();
        running.into_iter().for_each(|node| self.started(sim, node));
    }

    /// A node was started.
    pub(super) fn started(&mut self, sim: &Simulation, node: NodeIndex) {
        if self.running {
            let index = node.0 as usize;
            if self.since.len() <= index {
                self.since.resize_with(index + 1, || None);
            }
            let (by_purpose, walks) = counted(sim, node);
            let since = Since { at: sim.now(), sent: sim.sent(node), by_purpose, walks };
            self.since[index] = Some(Box::new(since));
        }
    }

    /// A node is about to end.
    pub(super) fn departs(&mut self, sim: &Simulation, node: NodeIndex) {
        self.limited += limited(sim, node);
        let Some(since) = self.since.get_mut(node.0 as usize).and_then(Option::take) else { return };
        let (sent, (by_purpose, walks)) = (sim.sent(node), counted(sim, node));
        let total = self.total(sim.kind(node));
        total.seconds += sim.now().since(since.at).as_secs_f64();
        total.frames += sent.frames - since.sent.frames;
        total.bytes += sent.bytes - since.sent.bytes;
        for (place, sum) in total.by_purpose.iter_mut().enumerate() {
            *sum += by_purpose[place].saturating_sub(since.by_purpose[place]);
        }
        for (place, sum) in total.walks.iter_mut().enumerate() {
            *sum += walks[place].saturating_sub(since.walks[place]);
        }
    }

    /// The measured phase ends.
    pub(super) fn end(&mut self, sim: &Simulation) {
        (0..self.since.len() as u32).for_each(|node| self.departs(sim, NodeIndex(node)));
        self.running = false;
    }

    fn figures(&self, of: impl Fn(&Total) -> f64) -> KindFigures {
        KindFigures {
            service: self.service.per_second(of(&self.service)),
            client: self.client.per_second(of(&self.client)),
        }
    }

    /// What limits refused or held back, and offences held against peers, on nodes that were measured to their end.
    pub(super) const fn limited(&self) -> u64 {
        self.limited
    }

    pub(super) fn bytes_per_s(&self) -> KindFigures {
        self.figures(Total::bytes)
    }

    pub(super) fn maintenance_bytes_per_s(&self) -> KindFigures {
        self.figures(Total::maintenance)
    }

    pub(super) fn frames_per_s(&self) -> KindFigures {
        self.figures(|total| total.frames as f64)
    }

    /// Walks and their questions, for finds and for publishes.
    pub(super) fn walks(&self, finds: u64) -> WalkFigures {
        let mut sums = Walks::default();
        for total in [&self.service, &self.client] {
            sums.iter_mut().zip(total.walks).for_each(|(sum, one)| *sum += one);
        }
        let [all, of_finds, of_publishers, queries, queries_of_finds, queries_of_publishers] = sums;
        let others = all - of_finds - of_publishers;
        let each = |sum: u64, of: u64| (of > 0).then(|| sum as f64 / of as f64);
        WalkFigures {
            finds: of_finds,
            publishes: of_publishers,
            others,
            queries_per_find: each(queries_of_finds, finds),
            queries_per_publish: each(queries_of_publishers, of_publishers),
            queries_per_other: each(queries - queries_of_finds - queries_of_publishers, others),
        }
    }

    /// Bytes of messages by purpose, for plots.
    pub(super) fn record(&self, recording: &mut Recording) {
        for (kind, total) in [(NodeKind::Service, &self.service), (NodeKind::Client, &self.client)] {
            for (bytes, (purpose, _)) in total.by_purpose.iter().zip(PURPOSES) {
                if let Some(rate) = total.per_second(*bytes as f64) {
                    recording.record_bytes(kind, purpose, rate);
                }
            }
        }
    }
}

/// The resident set of this process, bytes, where the system tells it.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
