//! The result of a run as figures, and the verdict on them.

use std::fmt;

use serde::Serialize;

/// What `unamed-sim run --json` writes. Scripts rely on the names; names may be added, none may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Service nodes.
    pub service_nodes: usize,
    /// Client nodes.
    pub client_nodes: usize,
    /// Rooms.
    pub rooms: usize,
    /// Virtual time, seconds.
    pub simulated_s: f64,
    /// Real time, seconds: the only figure that is not a function of the scenario.
    pub wall_s: f64,
    /// Events handled by the engine.
    pub events: u64,
    /// SHA-256 over everything that happened, every byte sent included.
    pub trace_hash: String,
    /// The same with the lengths of frames in place of their bytes.
    pub decision_hash: String,
    /// Finds by strangers.
    pub finds: FindFigures,
    /// Rooms in which, at the end, some two live joined members do not see each other.
    pub rooms_split: usize,
    /// Broadcasts.
    pub messages: MessageFigures,
    /// Links at the end.
    pub links: LinkFigures,
    /// Violations of the nodes' invariants, of the driving contract and of the order of events.
    pub invariant_violations: u64,
    /// Memberships asked for, by all nodes.
    pub joins: u64,
    /// Median time from a join to its answer, ms.
    pub join_ms_p50: Option<f64>,
    /// 99th percentile of the time from a join to its answer, ms.
    pub join_ms_p99: Option<f64>,
    /// Entries in live nodes' lists of members, at the end, that stand for nodes gone for more than a minute.
    pub members_stale: usize,
    /// Sentences that say what failed; empty if nothing did.
    pub failures: Vec<String>,
    /// The first violations, lost messages, failed finds and split rooms in words.
    pub details: Vec<String>,
}

/// Figures on finds. Means and percentiles are over eligible finds that succeeded, and null if there were none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FindFigures {
    /// Finds started.
    pub attempted: u64,
    /// Those for whose room another member was alive and reachable at the start and at the end.
    pub eligible: u64,
    /// Eligible ones that named a live member.
    pub succeeded: u64,
    /// Eligible ones that did at the first attempt.
    pub succeeded_at_once: u64,
    /// Hops between service nodes to whoever answered.
    pub hops_mean: Option<f64>,
    /// 99th percentile of the same.
    pub hops_p99: Option<f64>,
    /// Mean hops of those whose route ended at the root: the live service node nearest to the room.
    pub hops_root_mean: Option<f64>,
    /// How many those were.
    pub at_root: u64,
    /// Median time to the answer, ms.
    pub latency_ms_p50: Option<f64>,
    /// 99th percentile of the time to the answer, ms.
    pub latency_ms_p99: Option<f64>,
    /// Mean time to the answer, ms.
    pub latency_ms_mean: Option<f64>,
}

/// Figures on broadcasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MessageFigures {
    /// Broadcasts taken by their authors' nodes.
    pub sent: u64,
    /// Broadcasts refused by their authors' nodes.
    pub refused: u64,
    /// (Member, message) pairs: members for whom the message was, seen by the author when it sent, and live members until
    /// the end. Messages of authors that were gone within ten seconds do not count.
    pub expected: u64,
    /// Those of them that arrived.
    pub delivered: u64,
    /// Messages told twice to one application.
    pub duplicates: u64,
    /// Median time from the command to the event, ms.
    pub latency_ms_p50: Option<f64>,
    /// 99th percentile of the same, ms.
    pub latency_ms_p99: Option<f64>,
}

/// Figures on links, null if there are no such nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LinkFigures {
    /// Mean overlay links (to service nodes) of a service node.
    pub service_mean: Option<f64>,
    /// Most overlay links of a service node.
    pub service_max: usize,
    /// Mean links of a client, circuits included.
    pub client_mean: Option<f64>,
    /// Most links of a client.
    pub client_max: usize,
    /// Mean clients of a service node.
    pub served_mean: Option<f64>,
    /// Most clients of a service node.
    pub served_max: usize,
}

impl Report {
    /// What does not hold of what a run must show, one sentence each.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut fail = |failed: bool, text: String| {
            if failed {
                failures.push(text);
            }
        };
        let finds = &self.finds;
        fail(
            finds.succeeded < finds.eligible,
            format!(
                "{} of {} eligible finds failed.",
                finds.eligible.saturating_sub(finds.succeeded),
                finds.eligible
            ),
        );
        fail(
            self.rooms_split > 0,
            format!("{} of {} rooms are split at the end.", self.rooms_split, self.rooms),
        );
        let messages = &self.messages;
        fail(
            messages.delivered != messages.expected,
            format!("{} of {} expected deliveries were made.", messages.delivered, messages.expected),
        );
        fail(messages.duplicates > 0, format!("{} messages were delivered twice.", messages.duplicates));
        let violations = self.invariant_violations;
        fail(violations > 0, format!("{violations} invariants were violated."));
        failures
    }
}

/// A figure or a dash.
struct Figure(Option<f64>);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(figure) => write!(f, "{figure:.2}"),
            None => f.write_str("-"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (finds, messages, links) = (&self.finds, &self.messages, &self.links);
        writeln!(
            f,
            "seed {}: {} service nodes, {} clients, {} rooms; {:.0} s simulated in {:.1} s, {} events",
            self.seed,
            self.service_nodes,
            self.client_nodes,
            self.rooms,
            self.simulated_s,
            self.wall_s,
            self.events
        )?;
        writeln!(
            f,
            "finds     {} attempted, {} eligible, {} succeeded ({} at once)",
            finds.attempted, finds.eligible, finds.succeeded, finds.succeeded_at_once
        )?;
        writeln!(
            f,
            "          hops mean {}, p99 {}, to the root {}; ms p50 {}, p99 {}",
            Figure(finds.hops_mean),
            Figure(finds.hops_p99),
            Figure(finds.hops_root_mean),
            Figure(finds.latency_ms_p50),
            Figure(finds.latency_ms_p99)
        )?;
        writeln!(
            f,
            "joins     {}; ms p50 {}, p99 {}",
            self.joins,
            Figure(self.join_ms_p50),
            Figure(self.join_ms_p99)
        )?;
        writeln!(f, "rooms     {} split, {} stale members", self.rooms_split, self.members_stale)?;
        writeln!(
            f,
            "messages  {} sent, {} refused; {} of {} delivered, {} twice; ms p50 {}, p99 {}",
            messages.sent,
            messages.refused,
            messages.delivered,
            messages.expected,
            messages.duplicates,
            Figure(messages.latency_ms_p50),
            Figure(messages.latency_ms_p99)
        )?;
        writeln!(
            f,
            "links     service mean {}, max {}; client mean {}, max {}; clients of a service node mean {}, max {}",
            Figure(links.service_mean),
            links.service_max,
            Figure(links.client_mean),
            links.client_max,
            Figure(links.served_mean),
            links.served_max
        )?;
        writeln!(f, "violated  {} invariants", self.invariant_violations)?;
        writeln!(f, "trace     {}", self.trace_hash)?;
        writeln!(f, "decisions {}", self.decision_hash)?;
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        Ok(())
    }
}

/// Mean, and percentiles by nearest rank.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        let mut samples = Samples::default();
        assert_eq!((samples.mean(), samples.percentile(50), samples.max()), (None, None, 0.0));
        for sample in (1..=200).rev() {
            samples.add(f64::from(sample));
        }
        assert_eq!(samples.mean(), Some(100.5));
        assert_eq!(
            [1, 50, 99, 100].map(|percent| samples.percentile(percent)),
            [2.0, 100.0, 198.0, 200.0].map(Some)
        );
        assert_eq!(samples.max(), 200.0);
    }
}
