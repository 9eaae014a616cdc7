//! What nodes send in the measured phase, by kind; and what the process holds.

use unamed_protocol::{Instant, NodeKind};

use crate::report::KindFigures;
use crate::world::{NodeIndex, Sent, Simulation};

/// Bytes that a frame costs beside its own: IPv4 and TCP headers, and a WebSocket header.
pub(super) const FRAME_OVERHEAD_BYTES: u64 = 44;

/// Sums over nodes of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    seconds: f64,
    frames: u64,
    bytes: u64,
}

impl Total {
    fn add(&mut self, from: (Instant, Sent), now: Instant, sent: Sent) {
        self.seconds += now.since(from.0).as_secs_f64();
        self.frames += sent.frames - from.1.frames;
        self.bytes += sent.bytes - from.1.bytes;
    }

    fn per_second(&self, sum: u64) -> Option<f64> {
        (self.seconds > 0.0).then(|| sum as f64 / self.seconds)
    }

    fn bytes(&self) -> u64 {
        self.bytes + self.frames * FRAME_OVERHEAD_BYTES
    }
}

/// What nodes send while it runs.
#[derive(Debug, Default)]
pub(super) struct Meter {
    running: bool,
    /// By node: from when it is measured, and what it had sent by then.
    since: Vec<Option<(Instant, Sent)>>,
    service: Total,
    client: Total,
}

impl Meter {
    fn total(&mut self, kind: NodeKind) -> &mut Total {
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

    pub(super) fn started(&mut self, sim: &Simulation, node: NodeIndex) {
        if self.running {
            let index = node.0 as usize;
            self.since.resize(self.since.len().max(index + 1), None);
            self.since[index] = Some((sim.now(), sim.sent(node)));
        }
    }

    pub(super) fn departed(&mut self, sim: &Simulation, node: NodeIndex) {
        if let Some(from) = self.since.get_mut(node.0 as usize).and_then(Option::take) {
            self.total(sim.kind(node)).add(from, sim.now(), sim.sent(node));
        }
    }

    /// The measured phase ends.
    pub(super) fn end(&mut self, sim: &Simulation) {
        (0..self.since.len() as u32).for_each(|node| self.departed(sim, NodeIndex(node)));
        self.running = false;
    }

    pub(super) fn bytes_per_s(&self) -> KindFigures {
        KindFigures {
            service: self.service.per_second(self.service.bytes()),
            client: self.client.per_second(self.client.bytes()),
        }
    }

    pub(super) fn frames_per_s(&self) -> KindFigures {
        KindFigures {
            service: self.service.per_second(self.service.frames),
            client: self.client.per_second(self.client.frames),
        }
    }
}

/// The resident set of this process, bytes, where the system tells it.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
