//! The end of a run: the figures, and the verdict.

use unamed_protocol::{Instant, LinkReason, NodeKind};

use super::direct::direct_figures;
use super::{Outcome, Run, link_figures, meter};
use crate::oracle::Oracle;
use crate::recording::Recording;
use crate::report::{BootstrapFigures, DirectFigures, LinkFigures, RecoveryFigures, Report};
use crate::stopwatch::Stopwatch;
use crate::world::Simulation;

impl Run<'_> {
    pub(super) fn finish(mut self, began: (Stopwatch, Option<u64>)) -> Outcome {
        let memory_bytes_per_node = self.memory_per_node(began.1);
        self.sim.check_all();
        self.oracle.check_deadlines(&mut self.sim);
        let rooms_split = self.oracle.rooms_split(&self.sim);
        let messages = self.oracle.message_figures(&self.sim);
        let (joins, join_ms_p50, join_ms_p99) = self.oracle.join_figures();
        let splits = self.oracle.split_figures(self.sim.now());
        let (service_peak, client_peak, links_budget_exceeded) = self.oracle.budgets();
        let violations = self.sim.violations().first().to_vec();
        let details = violations.iter().map(ToString::to_string).chain(self.oracle.details().cloned());
        let (first_services, first_clients) = self.oracle.first_node_links();
        let wall_s = began.0.seconds();
        let mut report = Report {
            seed: self.scenario.seed,
            service_nodes: self.scenario.nodes.service as usize,
            client_nodes: self.scenario.client_nodes() as usize,
            rooms: self.scenario.room_count() as usize,
            simulated_s: self.scenario.duration.as_secs_f64(),
            wall_s,
            events: self.sim.event_count(),
            events_per_s: self.sim.event_count() as f64 / wall_s.max(1e-9),
            memory_bytes_per_node,
            trace_hash: self.sim.trace_hash(),
            decision_hash: self.sim.decision_hash(),
            walks: self.meter.walks(self.oracle.find_figures().attempted),
            finds: self.oracle.find_figures(),
            finds_in_faults: self.oracle.fault_find_figures(),
            stale_claim_share: self.oracle.stale_claim_share(),
            rooms_split,
            splits: splits.len() as u64,
            split_seconds_p50: splits.percentile(50),
            split_seconds_p99: splits.percentile(99),
            split_seconds_max: splits.largest(),
            recovery: RecoveryFigures { whole_after_s: self.whole_after_s(), ..self.recovery.clone() },
            pairs: self.oracle.pair_figures(),
            direct: DirectFigures {
                outage_pairs: self.outage.as_ref().map(|figures| figures.pairs),
                outage_linked: self.outage.as_ref().map(|figures| figures.webrtc),
                ..direct_figures(&self.sim)
            },
            messages,
            links: LinkFigures {
                service_peak: service_peak as usize,
                client_peak: client_peak as usize,
                ..link_figures(&self.sim)
            },
            links_budget_exceeded,
            bootstrap: BootstrapFigures {
                service_links_max: first_services.into(),
                client_links_max: first_clients.into(),
                ..self.bootstrap.clone()
            },
            greedy_reachability: self.oracle.greedy_reachability(),
            converged_s: self.converged_s(),
            maintenance_bytes_per_s: self.meter.maintenance_bytes_per_s(),
            bytes_per_s: self.meter.bytes_per_s(),
            frames_per_s: self.meter.frames_per_s(),
            limited: self.meter.limited(),
            departures: self.departures,
            invariant_violations: self.sim.violations().count(),
            joins,
            join_ms_p50,
            join_ms_p99,
            members_stale: self.oracle.members_stale(&self.sim),
            failures: Vec::new(),
            details: details.collect(),
        };
        report.failures = self.verdict(&report);
        record_end(&self.sim, &mut self.oracle);
        self.meter.record(self.oracle.recording());
        let recording: Recording = std::mem::take(self.oracle.recording());
        Outcome { report, recording, violations, simulation: self.sim }
    }

    fn verdict(&self, report: &Report) -> Vec<String> {
        let mut failures = report.always();
        if self.scenario.expect.is_empty() {
            failures.extend(report.verdict());
        } else {
            failures.extend(self.scenario.expect.judge(report));
        }
        failures
    }

    fn memory_per_node(&self, before: Option<u64>) -> Option<f64> {
        let grown = meter::resident_bytes()?.saturating_sub(before?);
        let nodes = self.sim.nodes().filter(|node| self.sim.node(*node).is_some()).count();
        Some(grown as f64 / nodes.max(1) as f64)
    }

    /// Seconds from the last planned start of a service node until all sampled walks were right.
    fn converged_s(&self) -> Option<f64> {
        let started = self.scenario.start.service.1;
        if !self.walked {
            return None;
        }
        let Some(wrong) = self.last_wrong_walk else { return Some(0.0) };
        // The walks of the second after it were right, if there was one.
        let next = wrong.since(Instant::ZERO) + core::time::Duration::from_secs(1);
        (next <= self.scenario.start.measured_from).then(|| next.saturating_sub(started).as_secs_f64())
    }
}

/// What plots show of the nodes that run at the end.
fn record_end(sim: &Simulation, oracle: &mut Oracle) {
    for node in sim.nodes() {
        let Some(running) = sim.node(node) else { continue };
        let (links, kind) = (running.links(), sim.kind(node));
        let recording = oracle.recording();
        for reason in LinkReason::ALL {
            let with = links.iter().filter(|link| link.reasons.contains(reason)).count();
            if with > 0 {
                recording.record_links(kind, reason.as_str(), with as u64);
            }
        }
        match kind {
            NodeKind::Client => recording.record_client(links.len()),
            NodeKind::Service => {
                let to_service = links.iter().filter(|link| link.service).count();
                let table = running.routing_table();
                recording.record_service(&table.location, to_service, links.len() - to_service);
                let deepest = table.buckets.iter().map(|(index, _)| *index).max().unwrap_or(0);
                for index in 0..=deepest {
                    let in_bucket = table.buckets.iter().filter(|(at, _)| *at == index).count();
                    recording.record_bucket(index, in_bucket);
                }
            }
        }
    }
}
