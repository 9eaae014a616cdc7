//! Links against budgets, counted as applications hear of them.

use unamed_protocol::NodeKind;

use crate::report::{LinkFigures, Samples};
use crate::world::{NodeIndex, Simulation};

/// Links of one node.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    kind: Option<NodeKind>,
    /// Hard budget: of links to service nodes of a service node, of all links of a client.
    hard: u32,
    to_service: u32,
    to_clients: u32,
    live: bool,
}

impl Count {
    const fn budgeted(&self) -> u32 {
        match self.kind {
            Some(NodeKind::Service) | None => self.to_service,
            Some(NodeKind::Client) => self.to_service + self.to_clients,
        }
    }
}

/// Sums over live nodes of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    pub(super) nodes: u64,
    /// Links that the budget counts.
    pub(super) links: u64,
    /// The most of one node at any time.
    pub(super) peak: u32,
}

impl Total {
    pub(super) fn mean(&self) -> f64 {
        if self.nodes == 0 { 0.0 } else { self.links as f64 / self.nodes as f64 }
    }
}

/// Links of all nodes.
#[derive(Debug, Default)]
pub(super) struct Links {
    counts: Vec<Count>,
    service: Total,
    client: Total,
    exceeded: u64,
    /// The most links of the first node at a time: to service nodes, to clients.
    first: (u32, u32),
}

impl Links {
    /// Makes the next node known.
    pub(super) fn add(&mut self, sim: &Simulation, node: NodeIndex) {
        let kind = sim.kind(node);
        let config = match kind {
            NodeKind::Service => &sim.config().service,
            NodeKind::Client => &sim.config().client,
        };
        self.counts.resize(node.0 as usize + 1, Count::default());
        let hard = config.link.overlay_hard as u32;
        self.counts[node.0 as usize] = Count { kind: Some(kind), hard, ..Count::default() };
    }

    fn total(&mut self, kind: Option<NodeKind>) -> &mut Total {
        match kind {
            Some(NodeKind::Client) => &mut self.client,
            Some(NodeKind::Service) | None => &mut self.service,
        }
    }

    pub(super) fn started(&mut self, node: NodeIndex) {
        let count = &mut self.counts[node.0 as usize];
        if !count.live {
            count.live = true;
            let kind = count.kind;
            self.total(kind).nodes += 1;
        }
    }

    pub(super) fn departs(&mut self, node: NodeIndex) {
        let count = &mut self.counts[node.0 as usize];
        let (was, kind, links) = (count.live, count.kind, count.budgeted());
        (count.live, count.to_service, count.to_clients) = (false, 0, 0);
        let total = self.total(kind);
        if was {
            total.nodes -= 1;
        }
        total.links -= u64::from(links);
    }

    pub(super) fn opened(&mut self, node: NodeIndex, service: bool) {
        let count = &mut self.counts[node.0 as usize];
        if !count.live {
            return;
        }
        let before = count.budgeted();
        if service {
            count.to_service += 1;
        } else {
            count.to_clients += 1;
        }
        let (after, kind) = (count.budgeted(), count.kind);
        self.exceeded += u64::from(after > before && after > count.hard);
        if node.0 == 0 {
            self.first.0 = self.first.0.max(count.to_service);
            self.first.1 = self.first.1.max(count.to_clients);
        }
        let total = self.total(kind);
        total.links += u64::from(after - before);
        total.peak = total.peak.max(after);
    }

    pub(super) fn closed(&mut self, node: NodeIndex, service: bool) {
        let count = &mut self.counts[node.0 as usize];
        let before = count.budgeted();
        if service {
            count.to_service = count.to_service.saturating_sub(1);
        } else {
            count.to_clients = count.to_clients.saturating_sub(1);
        }
        let (after, kind) = (count.budgeted(), count.kind);
        self.total(kind).links -= u64::from(before - after);
    }

    pub(super) const fn service(&self) -> Total {
        self.service
    }

    pub(super) const fn client(&self) -> Total {
        self.client
    }

    pub(super) const fn exceeded(&self) -> u64 {
        self.exceeded
    }

    pub(super) const fn first(&self) -> (u32, u32) {
        self.first
    }
}

/// Figures on the links of all running nodes.
#[must_use]
pub(crate) fn link_figures(sim: &Simulation) -> LinkFigures {
    let (mut overlay, mut served, mut client) = (Samples::default(), Samples::default(), Samples::default());
    let mut running_nodes = 0_u32;
    for node in sim.nodes() {
        let Some(running) = sim.node(node) else { continue };
        running_nodes += 1;
        let links = running.links();
        let to_service = links.iter().filter(|link| link.service).count();
        match sim.kind(node) {
            NodeKind::Service => {
                overlay.add(to_service as f64);
                served.add((links.len() - to_service) as f64);
            }
            NodeKind::Client => client.add(links.len() as f64),
        }
    }
    let ends = 2.0 * sim.carrier_count() as f64;
    LinkFigures {
        service_mean: overlay.mean(),
        service_max: overlay.max() as usize,
        client_mean: client.mean(),
        client_max: client.max() as usize,
        served_mean: served.mean(),
        served_max: served.max() as usize,
        carriers_mean: (running_nodes > 0).then(|| ends / f64::from(running_nodes)),
        service_peak: 0,
        client_peak: 0,
    }
}
