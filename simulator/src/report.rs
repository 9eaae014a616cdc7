//! The result of a run as figures, and the verdict on them.

use std::fmt;

use serde::Serialize;

/// What `unamed-sim run --json` writes. Scripts rely on the names; names may be added, none may change.
///
/// All but `wall_s`, `events_per_s` and `memory_bytes_per_node` is a function of the scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Service nodes at the beginning.
    pub service_nodes: usize,
    /// Client nodes at the beginning.
    pub client_nodes: usize,
    /// Rooms.
    pub rooms: usize,
    /// Virtual time, seconds.
    pub simulated_s: f64,
    /// Real time, seconds.
    pub wall_s: f64,
    /// Events handled by the engine.
    pub events: u64,
    /// Events by real seconds.
    pub events_per_s: f64,
    /// What the resident set of the process grew by from the beginning to the end of the run, by the nodes that run at the
    /// end, bytes. It holds everything: nodes, the wire, the oracle. Null where the system does not tell it.
    pub memory_bytes_per_node: Option<f64>,
    /// SHA-256 over everything that happened, every byte sent included.
    pub trace_hash: String,
    /// The same with the lengths of frames in place of their bytes.
    pub decision_hash: String,
    /// Finds by strangers.
    pub finds: FindFigures,
    /// Iterative look-ups.
    pub walks: WalkFigures,
    /// Finds that began or ended between a fault and the end of its time to recover.
    pub finds_in_faults: FaultFindFigures,
    /// Members named by the answers to eligible finds that did not run or were not in the room, as a share of all named.
    pub stale_claim_share: Option<f64>,
    /// Rooms in which, at the end, some two live joined members do not see each other.
    pub rooms_split: usize,
    /// Times that a room was split: from two live members having joined until all live ones see each other.
    pub splits: u64,
    /// Median time for which a room was split, seconds. It counts those that are still, with the time so far.
    pub split_seconds_p50: Option<f64>,
    /// 99th percentile of the same.
    pub split_seconds_p99: Option<f64>,
    /// The longest of them.
    pub split_seconds_max: Option<f64>,
    /// What happened after the last fault.
    pub recovery: RecoveryFigures,
    /// Pairs that entered the same empty room at almost the same time.
    pub pairs: PairFigures,
    /// How fellow members are linked at the end.
    pub direct: DirectFigures,
    /// Broadcasts.
    pub messages: MessageFigures,
    /// Links at the end.
    pub links: LinkFigures,
    /// Times that a node had more links than its hard budget, looked at whenever a link opens, on every node in the whole
    /// run: links to service nodes of a service node, all links of a client.
    pub links_budget_exceeded: u64,
    /// Load on the first service node, from which others start.
    pub bootstrap: BootstrapFigures,
    /// Share of sampled greedy walks over ready links that ended at the service node nearest to the key, in the measured
    /// phase and outside of faults.
    pub greedy_reachability: Option<f64>,
    /// Seconds from the last service node's planned start until the first second after which all sampled greedy walks
    /// before the measured phase ended at the nearest; null if the last of them did not.
    pub converged_s: Option<f64>,
    /// Bytes sent per node and second in the measured phase, what finds and messages of people cost not included, with 44
    /// bytes for each frame (IPv4, TCP, WebSocket). Retransmissions, TCP acknowledgements and TLS are not modelled.
    pub maintenance_bytes_per_s: KindFigures,
    /// The same with everything.
    pub bytes_per_s: KindFigures,
    /// Frames sent per node and second in the measured phase, everything included.
    pub frames_per_s: KindFigures,
    /// What nodes refused or held back because a peer asked for too much, and what they held against peers, in the runs of
    /// nodes that the measured phase saw: 0 where all are honest.
    pub limited: u64,
    /// Nodes that departed in the measured phase, by churn, faults or plan.
    pub departures: u64,
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

/// A figure for each kind of node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KindFigures {
    /// Of a service node, in the mean.
    pub service: Option<f64>,
    /// Of a client, in the mean.
    pub client: Option<f64>,
}

/// Figures on finds, those in faults that have a time to recover not included. Means and percentiles are over eligible
/// finds that succeeded, and null if there were none.
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
    /// Those named as members, in answers to all of them, that never were.
    pub false_members: u64,
    /// Share of eligible ones that succeeded at the first attempt.
    pub first_attempt_rate: Option<f64>,
    /// Share of eligible ones that succeeded within three retries.
    pub success_rate: Option<f64>,
    /// Hops between service nodes to whoever answered.
    pub hops_mean: Option<f64>,
    /// 99th percentile of the same.
    pub hops_p99: Option<f64>,
    /// Mean hops of those whose route ended at the root: the live service node nearest to the room.
    pub hops_root_mean: Option<f64>,
    /// How many those were.
    pub at_root: u64,
    /// Mean hops of sampled greedy walks from a random service node to the one nearest to a random key.
    pub walk_hops_mean: Option<f64>,
    /// Median time to the answer, ms.
    pub latency_ms_p50: Option<f64>,
    /// 99th percentile of the time to the answer, ms.
    pub latency_ms_p99: Option<f64>,
    /// Mean time to the answer, ms.
    pub latency_ms_mean: Option<f64>,
}

/// Iterative look-ups in the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WalkFigures {
    /// Walks for finds, one for each replica key.
    pub finds: u64,
    /// Walks of publishers, to read back or in place of requests.
    pub publishes: u64,
    /// Walks for a member's home, for own homes and for acquaintances.
    pub others: u64,
    /// Questions asked for finds, by the number of all finds.
    pub queries_per_find: Option<f64>,
    /// Questions asked by a publisher's walk.
    pub queries_per_publish: Option<f64>,
    /// Questions asked by one of the others.
    pub queries_per_other: Option<f64>,
}

/// Finds that began or ended between a fault and the end of its time to recover.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FaultFindFigures {
    /// Eligible ones.
    pub eligible: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// The time from the end of a fault until the last find began that failed, seconds: the longest over faults.
    pub last_failure_s: Option<f64>,
}

/// What happened after faults that have a time to recover: the worst over all of them. Null without such a fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RecoveryFigures {
    /// Rooms that were split when the fault ended.
    pub rooms_split_at_first: Option<u64>,
    /// Rooms that were split when the time to recover was over.
    pub rooms_split_at_last: Option<u64>,
    /// Seconds from the end of the fault until each room that was split then had been whole; null if one never was.
    pub whole_after_s: Option<f64>,
}

/// Pairs of clients that entered the same empty room within a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PairFigures {
    /// Pairs of which both stayed up until judged, 20 s after.
    pub started: u64,
    /// Those who saw each other by then.
    pub met: u64,
    /// Median time from the first one's entering until both saw each other, ms.
    pub meet_ms_p50: Option<f64>,
    /// 99th percentile of the same.
    pub meet_ms_p99: Option<f64>,
    /// The longest.
    pub meet_ms_max: Option<f64>,
    /// Share of the pairs that met.
    pub met_rate: Option<f64>,
}

/// Load on the first service node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BootstrapFigures {
    /// The most links to service nodes at a time.
    pub service_links_max: u64,
    /// The most links to clients at a time.
    pub client_links_max: u64,
    /// The most frames that it sent in one second.
    pub frames_per_s_max: u64,
}

/// Figures on broadcasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MessageFigures {
    /// Broadcasts taken by their authors' nodes.
    pub sent: u64,
    /// Broadcasts refused by their authors' nodes.
    pub refused: u64,
    /// (Member, message) pairs: members for whom the message was, seen by the author when it sent, and live members until
    /// it was judged, 150 s later or at the end. Messages of authors that were gone within ten seconds do not count.
    pub expected: u64,
    /// Those of them that arrived.
    pub delivered: u64,
    /// Messages told twice to one application.
    pub duplicates: u64,
    /// Messages that arrived after they had been judged.
    pub late: u64,
    /// Share of the expected ones that arrived.
    pub delivery_rate: Option<f64>,
    /// Median time from the command to the event, ms.
    pub latency_ms_p50: Option<f64>,
    /// 99th percentile of the same, ms.
    pub latency_ms_p99: Option<f64>,
}

/// How clients that are fellow members are linked at the end, each pair once, and what relaying cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DirectFigures {
    /// Pairs of clients that share a room and run.
    pub pairs: u64,
    /// Of them, linked by WebRTC.
    pub webrtc: u64,
    /// Of them, linked by a circuit.
    pub relayed: u64,
    /// Of them, not linked.
    pub unlinked: u64,
    /// Pairs that ran as all service nodes returned from an outage.
    pub outage_pairs: Option<u64>,
    /// Of them, those that were linked by WebRTC and so could talk meanwhile.
    pub outage_linked: Option<u64>,
    /// Relayed pairs by linked pairs.
    pub relayed_share: Option<f64>,
    /// WebRTC attempts, counted at both ends.
    pub attempts: u64,
    /// Attempts that failed, counted at both ends.
    pub failed: u64,
    /// Most bytes of circuits that a service node relayed, a second of the run.
    pub relayed_bytes_per_s_max: Option<f64>,
    /// The mean of the same.
    pub relayed_bytes_per_s_mean: Option<f64>,
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
    /// Mean carriers (WebSockets) of a node, each counted at both ends.
    pub carriers_mean: Option<f64>,
    /// Most overlay links that a service node had at any time.
    pub service_peak: usize,
    /// Most links that a client had at any time.
    pub client_peak: usize,
}

impl Report {
    /// What does not hold of what any run must show, one sentence each: no invariant broken, no budget exceeded, no
    /// message delivered twice.
    #[must_use]
    pub fn always(&self) -> Vec<String> {
        let counts = [
            (self.messages.duplicates, "messages were delivered twice."),
            (self.finds.false_members, "members were found that never were."),
            (self.invariant_violations, "invariants were violated."),
            (self.links_budget_exceeded, "times a node had more links than its hard budget."),
        ];
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// What does not hold of what a run without expectations of its own must show, one sentence each.
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
        let finds = &self.finds;
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
            "          at once {}, in all {}; stale claims {}; greedy walks {}, {} hops",
            Share(finds.first_attempt_rate),
            Share(finds.success_rate),
            Share(self.stale_claim_share),
            Share(self.greedy_reachability),
            Figure(finds.walk_hops_mean)
        )?;
        writeln!(
            f,
            "joins     {}; ms p50 {}, p99 {}",
            self.joins,
            Figure(self.join_ms_p50),
            Figure(self.join_ms_p99)
        )?;
        writeln!(
            f,
            "rooms     {} split, {} stale members; {} splits, s p50 {}, p99 {}, max {}",
            self.rooms_split,
            self.members_stale,
            self.splits,
            Figure(self.split_seconds_p50),
            Figure(self.split_seconds_p99),
            Figure(self.split_seconds_max)
        )?;
        self.fmt_special(f)?;
        self.fmt_rest(f)?;
        writeln!(f, "trace     {}", self.trace_hash)?;
        writeln!(f, "decisions {}", self.decision_hash)?;
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        Ok(())
    }
}

impl Report {
    /// Messages, links, bytes, and what the engine says of itself.
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, links) = (&self.messages, &self.links);
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
        writeln!(
            f,
            "bytes/s   service {}, client {}; without finds and messages {}, {}",
            Figure(self.bytes_per_s.service),
            Figure(self.bytes_per_s.client),
            Figure(self.maintenance_bytes_per_s.service),
            Figure(self.maintenance_bytes_per_s.client)
        )?;
        writeln!(
            f,
            "engine    {:.0} events/s, {} bytes a node",
            self.events_per_s,
            Figure(self.memory_bytes_per_node)
        )?;
        writeln!(
            f,
            "violated  {} invariants, {} link budgets",
            self.invariant_violations, self.links_budget_exceeded
        )
    }

    /// What only some runs have: faults and pairs.
    fn fmt_special(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (faults, recovery, pairs) = (&self.finds_in_faults, &self.recovery, &self.pairs);
        if let (Some(first), Some(last)) = (recovery.rooms_split_at_first, recovery.rooms_split_at_last) {
            writeln!(
                f,
                "faults    {} of {} finds meanwhile, last failure after {} s; {first} rooms split, {last} in the end, whole after {} s",
                faults.succeeded,
                faults.eligible,
                Figure(faults.last_failure_s),
                Figure(recovery.whole_after_s)
            )?;
        }
        if self.walks.finds + self.walks.publishes > 0 {
            writeln!(
                f,
                "asked     {} questions a find, {} a publish that is read back, {} for homes; {}, {} and {} walks",
                Figure(self.walks.queries_per_find),
                Figure(self.walks.queries_per_publish),
                Figure(self.walks.queries_per_other),
                self.walks.finds,
                self.walks.publishes,
                self.walks.others
            )?;
        }
        if pairs.started > 0 {
            writeln!(
                f,
                "pairs     {} of {} met; ms p50 {}, p99 {}, max {}",
                pairs.met,
                pairs.started,
                Figure(pairs.meet_ms_p50),
                Figure(pairs.meet_ms_p99),
                Figure(pairs.meet_ms_max)
            )?;
        }
        Ok(())
    }
}

/// A share in per cent or a dash.
struct Share(Option<f64>);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(share) => write!(f, "{:.4} %", share * 100.0),
            None => f.write_str("-"),
        }
    }
}

/// `part / whole`, `None` if there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Mean, and percentiles by nearest rank.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// These and more.
    pub(crate) fn with(&self, more: impl Iterator<Item = f64>) -> Self {
        Self(self.0.iter().copied().chain(more).collect())
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

    /// The largest, if there is one.
    pub(crate) fn largest(&self) -> Option<f64> {
        self.0.iter().copied().reduce(f64::max)
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
