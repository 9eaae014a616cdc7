//! Swarms: many small runs, each drawn as a whole from its seed, to find what nobody thought of.
//!
//! A run has a safety phase, in which nodes come, go, crash and return, links clog and part, and some service nodes may
//! misbehave; and a liveness phase after it, in which everything must be found and delivered again, as in the testing of
//! `FoundationDB` (Zhou et al., SIGMOD 2021, section 4) and `TigerBeetle`'s VOPR. The invariants of the node concerned are
//! checked after every event. [`draw`] makes the scenario of a seed, so that a failure is repeated by its number.
//!
//! | virtual time | what |
//! |---|---|
//! | 0–35 s | nodes start, rooms are joined |
//! | 40–100 s | safety: churn and faults; nothing is owed, but nothing must break |
//! | 100–170 s | recovery |
//! | 170–200 s | liveness: every find succeeds, every message arrives |
//! | 200–230 s | quiet; in the end no room is split |

use core::ops::Range;
use core::time::Duration;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use crate::churn::ChurnModel;
use crate::network::Latency;
use crate::rng::Rng;
use crate::scenario::{
    ChurnMode, CryptoKind, Detection, Fault, FaultKind, Malicious, MaliciousKind, NatShares, Scenario,
};
use crate::stopwatch::Stopwatch;
use crate::world::Check;
use crate::{Report, RunOptions};

const SAFETY: (u64, u64) = (40, 100);
const JUDGED_FROM: u64 = 170;
const DURATION: u64 = 230;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A number of a range, both ends included.
fn between(rng: &mut Rng, from: u64, to: u64) -> u64 {
    from + rng.below(to - from + 1)
}

/// The scenario of a seed.
#[must_use]
pub fn draw(seed: u64) -> Scenario {
    let mut rng = Rng::new(seed, "swarm");
    let mut scenario = Scenario { seed, duration: secs(DURATION), ..Scenario::default() };
    scenario.nodes.service = between(&mut rng, 1, 20) as u32;
    scenario.nodes.clients = Some(between(&mut rng, 2, 30) as u32);
    if rng.chance(0.1) {
        scenario.crypto = CryptoKind::Real;
    }
    let start = &mut scenario.start;
    (start.service, start.clients) = ((secs(0), secs(10)), (secs(5), secs(20)));
    (start.joins, start.measured_from) = ((secs(15), secs(35)), secs(SAFETY.0));
    (start.judged_from, start.quiet, start.entries) = (secs(JUDGED_FROM), secs(30), 3);
    // Whoever has lost all others, of whom nobody may be left, comes in by the one address that its people wrote down.
    start.anchors = 1;
    draw_network(&mut scenario, &mut rng);
    draw_workload(&mut scenario, &mut rng);
    draw_churn(&mut scenario, &mut rng);
    for _ in 0..rng.below(4) {
        if let Some(fault) = draw_fault(&scenario, &mut rng) {
            scenario.faults.push(fault);
        }
    }
    let protocol = &mut scenario.protocol;
    protocol.replica_keys = Some(between(&mut rng, 1, 3) as u8);
    protocol.read_back = Some(rng.chance(0.2));
    if rng.chance(0.3) {
        (protocol.leaf_set, protocol.replicas) = (Some(16), Some(8));
    }
    if rng.chance(0.125) && scenario.nodes.service >= 5 {
        let kind = if rng.chance(0.5) { MaliciousKind::Silent } else { MaliciousKind::Lying };
        let share = 0.05 + 0.25 * rng.unit();
        scenario.malicious = Malicious { kind, share, ..Malicious::default() };
    }
    draw_more(&mut scenario, &mut Rng::new(seed, "swarm, continued"));
    scenario
}

/// What was added to swarms later. It has a generator of its own, so that the seeds of before are what they were, and more.
fn draw_more(scenario: &mut Scenario, rng: &mut Rng) {
    if rng.chance(0.3) {
        scenario.churn.forget = rng.unit();
    }
    if rng.chance(0.4) {
        scenario.network.signal_delay = Duration::from_millis(between(rng, 0, 3000));
        scenario.network.signal_duplicates = 0.5 * rng.unit();
    }
    let some_time = |rng: &mut Rng| {
        let at = between(rng, SAFETY.0 + 2, SAFETY.1 - 25);
        (secs(at), secs(between(rng, 1, 24)))
    };
    if rng.chance(0.3) {
        let (at, lasts) = some_time(rng);
        let bytes_per_s = if rng.chance(0.5) { 0 } else { between(rng, 200, 20_000) };
        let share = 0.05 + 0.45 * rng.unit();
        let fault = Fault::new(FaultKind::SlowReaders, at, lasts);
        scenario.faults.push(Fault { share, bytes_per_s, ..fault });
    }
    if rng.chance(0.25) {
        let (at, lasts) = some_time(rng);
        let fault = Fault::new(FaultKind::Intruders, at, lasts);
        scenario.faults.push(Fault { times: rng.unit(), ..fault });
    }
}

fn draw_network(scenario: &mut Scenario, rng: &mut Rng) {
    let network = &mut scenario.network;
    let median = Duration::from_millis(between(rng, 1, 120));
    network.latency = match rng.below(3) {
        0 => Latency::Fixed(median),
        1 => Latency::LogNormal { median, sigma: rng.unit() },
        _ => Latency::Coordinates { median },
    };
    network.jitter = Duration::from_millis(if rng.chance(0.5) { between(rng, 1, 50) } else { 0 });
    if rng.chance(0.2) {
        network.link_bytes_per_s = Some(between(rng, 50_000, 2_000_000));
    }
    if rng.chance(0.4) {
        network.clock_skew = secs(between(rng, 1, 120));
    }
    if rng.chance(0.3) {
        network.detection = Detection::Transport;
    }
    network.webrtc = rng.chance(0.6);
    network.nat = NatShares {
        open: 0.25 * rng.unit(),
        restricted: 0.25 * rng.unit(),
        symmetric: 0.25 * rng.unit(),
        blocked: 0.2 * rng.unit(),
    };
}

fn draw_workload(scenario: &mut Scenario, rng: &mut Rng) {
    let workload = &mut scenario.workload;
    workload.rooms = Some(between(rng, 1, 8) as u32);
    workload.members = (2, between(rng, 2, 8) as u32);
    workload.service_members = 0.3 * rng.unit();
    workload.late_joins = 0.2 * rng.unit();
    (workload.finds_per_s, workload.messages) = (1.0 + 3.0 * rng.unit(), 4.0 * rng.unit());
    (workload.leaves, workload.switches) = (Some(rng.below(3) as u32), Some(rng.below(4) as u32));
}

fn draw_churn(scenario: &mut Scenario, rng: &mut Rng) {
    let churn = &mut scenario.churn;
    (churn.from, churn.until) = (secs(SAFETY.0), Some(secs(SAFETY.1)));
    churn.crash = rng.unit();
    // A newcomer knows service nodes that run; where there may be none it could not come in.
    if rng.chance(0.5) || scenario.nodes.service < 6 {
        churn.mode = ChurnMode::Return;
    }
    let mut model = |most: f64| {
        if rng.chance(0.5) { ChurnModel::None } else { ChurnModel::Exponential(0.3 + most * rng.unit()) }
    };
    (churn.service, churn.clients) = (model(5.0), model(3.0));
}

/// A fault within the safety phase, if it can happen in such a network.
fn draw_fault(scenario: &Scenario, rng: &mut Rng) -> Option<Fault> {
    let kind = match rng.below(6) {
        0 => FaultKind::Partition,
        1 => FaultKind::PartitionOneWay,
        2 => FaultKind::Clog,
        3 => FaultKind::MassFailure,
        4 => FaultKind::ServiceOutage,
        _ => FaultKind::FlashCrowd,
    };
    // Enough must be left that know each other.
    if kind == FaultKind::MassFailure && scenario.nodes.service < 10 {
        return None;
    }
    let at = between(rng, SAFETY.0 + 2, SAFETY.1 - 25);
    let share = match kind {
        FaultKind::MassFailure => 0.4 * rng.unit(),
        FaultKind::Clog => 0.3 * rng.unit(),
        FaultKind::Partition
        | FaultKind::PartitionOneWay
        | FaultKind::ServiceOutage
        | FaultKind::FlashCrowd
        | FaultKind::SlowReaders
        | FaultKind::Intruders => 0.1 + 0.8 * rng.unit(),
    };
    let lasts = if kind == FaultKind::MassFailure { Duration::ZERO } else { secs(between(rng, 1, 24)) };
    let times = if kind == FaultKind::FlashCrowd { 0.2 + rng.unit() } else { 0.0 };
    Some(Fault { share, times, ..Fault::new(kind, secs(at), lasts) })
}

/// What did not hold in a run of a swarm, one sentence each.
fn judge(scenario: &Scenario, report: &Report) -> Vec<String> {
    let mut failures = report.always();
    // Among service nodes that misbehave, so few as here may find nobody who does not.
    if !scenario.malicious.is_some() {
        failures.extend(report.verdict());
    }
    failures
}

/// A seed whose run did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold, one sentence each; or the panic.
    pub failures: Vec<String>,
    /// The first cases in words.
    pub details: Vec<String>,
    /// The command that repeats it.
    pub command: String,
}

/// What came of a swarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The first seed.
    pub from: u64,
    /// The seed after the last.
    pub until: u64,
    /// Seeds that did not hold, in order.
    pub failed: Vec<Failure>,
    /// Events handled.
    pub events: u64,
    /// Eligible finds of the liveness phases.
    pub finds: u64,
    /// Deliveries owed in the liveness phases.
    pub deliveries: u64,
    /// Nodes that departed.
    pub departures: u64,
    /// Median real time of a run, seconds.
    pub median_wall_s: f64,
    /// Longest real time of a run, seconds, and its seed.
    pub longest_wall_s: (f64, u64),
}

/// How far a swarm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs that have ended.
    pub done: u64,
    /// Those that did not hold.
    pub failed: u64,
}

/// One run: its report, or the text of a panic.
fn one(seed: u64, trace: Option<Box<dyn Write + Send>>) -> (Scenario, Result<Report, String>) {
    let scenario = draw(seed);
    let options = RunOptions { check: Check::Every, trace, ..RunOptions::default() };
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut outcome = scenario.run(options, |_| {});
        outcome.simulation.finish_trace().map(|()| outcome.report)
    }));
    let run = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(io::Error::other(format!("panicked: {}", text.unwrap_or_default())))
    });
    (scenario, run.map_err(|error| error.to_string()))
}

/// Runs one seed, and writes everything that happens to `sink`, one JSON object a line.
#[must_use]
pub fn trace(seed: u64, sink: Box<dyn Write + Send>) -> Summary {
    let mut summary = Summary { from: seed, until: seed.saturating_add(1), ..Summary::default() };
    let began = Stopwatch::start();
    let (scenario, run) = one(seed, Some(sink));
    summary.take(seed, &scenario, run);
    summary.median_wall_s = began.seconds();
    summary.longest_wall_s = (summary.median_wall_s, seed);
    summary
}

/// Runs all seeds of a range on so many threads. `watch` hears of each run that ends.
#[must_use]
pub fn carry_out(seeds: Range<u64>, threads: usize, watch: &(dyn Fn(Progress) + Sync)) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let summary = Summary { from: seeds.start, until: seeds.end, ..Summary::default() };
    let shared = Mutex::new((summary, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let began = Stopwatch::start();
                    let (scenario, run) = one(seed, None);
                    let wall_s = began.seconds();
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let (summary, walls) = &mut *shared;
                    summary.take(seed, &scenario, run);
                    walls.push((wall_s, seed));
                    watch(Progress { done: walls.len() as u64, failed: summary.failed.len() as u64 });
                }
            });
        }
    });
    let (mut summary, mut walls) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failed.sort_by_key(|failure| failure.seed);
    walls.sort_by(|a, b| a.0.total_cmp(&b.0));
    summary.median_wall_s = walls.get(walls.len() / 2).map_or(0.0, |(wall_s, _)| *wall_s);
    summary.longest_wall_s = walls.last().copied().unwrap_or_default();
    summary
}

impl Summary {
    fn take(&mut self, seed: u64, scenario: &Scenario, run: Result<Report, String>) {
        let command = format!("unamed-sim swarm --seeds {seed}..{}", seed + 1);
        let (failures, details) = match run {
            Ok(report) => {
                self.events += report.events;
                self.finds += report.finds.eligible;
                self.deliveries += report.messages.expected;
                self.departures += report.departures;
                (judge(scenario, &report), report.details)
            }
            Err(panic) => (vec![panic], Vec::new()),
        };
        if !failures.is_empty() {
            self.failed.push(Failure { seed, failures, details, command });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_can_run_and_depends_on_the_seed_alone() {
        for seed in 0..2000 {
            let scenario = draw(seed);
            assert_eq!(scenario.check(), Ok(()), "seed {seed}");
            assert_eq!(scenario, draw(seed));
        }
        assert_ne!(draw(1), Scenario { seed: 1, ..draw(2) });
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let drawn: Vec<Scenario> = (0..200).map(draw).collect();
        let share =
            |wanted: &dyn Fn(&Scenario) -> bool| drawn.iter().filter(|scenario| wanted(scenario)).count();
        for kind in [
            FaultKind::Partition,
            FaultKind::PartitionOneWay,
            FaultKind::Clog,
            FaultKind::MassFailure,
            FaultKind::ServiceOutage,
            FaultKind::FlashCrowd,
            FaultKind::SlowReaders,
            FaultKind::Intruders,
        ] {
            let with = share(&|scenario| scenario.faults.iter().any(|fault| fault.kind == kind));
            assert!((10..100).contains(&with), "{}: {with} of 200", kind.as_str());
        }
        assert!(share(&|scenario| scenario.churn.forget > 0.0) > 40);
        assert!(share(&|scenario| scenario.network.webrtc && scenario.network.signal_duplicates > 0.0) > 20);
        assert!(share(&|scenario| scenario.malicious.is_some()) > 10);
    }

    #[test]
    fn a_swarm_holds_and_is_the_same_on_any_threads() {
        let one = carry_out(0..6, 1, &|_| {});
        let two = carry_out(0..6, 2, &|_| {});
        assert_eq!(one.failed, Vec::new());
        assert!(one.finds > 0 && one.deliveries > 0 && one.departures > 0, "{one:?}");
        assert_eq!((one.events, one.finds, one.deliveries), (two.events, two.finds, two.deliveries));
    }

    #[test]
    fn what_does_not_hold_is_told_with_how_to_repeat_it() {
        let mut summary = Summary::default();
        summary.take(7, &draw(7), Err(String::from("panicked: x")));
        let failure = &summary.failed[0];
        assert_eq!(failure.command, "unamed-sim swarm --seeds 7..8");
        assert_eq!(failure.failures, ["panicked: x"]);
    }
}
