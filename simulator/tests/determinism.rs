//! The same seed gives the same run, byte by byte.

use std::time::Duration;

use unamed_simulator::{Check, ChurnModel, Outcome, RunOptions, Scenario};

fn run(seed: u64, check: Check) -> Outcome {
    let mut scenario = Scenario::new(6, 12, 5, seed);
    scenario.duration = Duration::from_secs(130);
    scenario.workload.leaves = Some(3);
    scenario.workload.switches = Some(2);
    scenario.churn.clients = ChurnModel::Exponential(5.0);
    scenario.network.jitter = Duration::from_millis(5);
    scenario.run(RunOptions { check, ..RunOptions::default() }, |_| {})
}

#[test]
fn the_same_seed_twice_gives_the_same_trace_and_report() {
    let [first, second] = [run(7, Check::AtEnd), run(7, Check::AtEnd)].map(|mut outcome| {
        let report = &mut outcome.report;
        (report.wall_s, report.events_per_s, report.memory_bytes_per_node) = (0.0, 0.0, None);
        (outcome.report, outcome.recording)
    });
    assert_eq!(first, second);
    let first = first.0;
    assert_eq!(first.trace_hash.len(), 64);
}

#[test]
fn another_seed_gives_another_trace() {
    let [first, second] = [7, 8].map(|seed| run(seed, Check::AtEnd).report);
    assert_ne!(first.trace_hash, second.trace_hash);
    assert_ne!(first.decision_hash, second.decision_hash);
}

#[test]
fn looking_on_changes_nothing() {
    let [rarely, always] = [Check::AtEnd, Check::Every].map(|check| run(9, check).report);
    assert_eq!(rarely.trace_hash, always.trace_hash);
}
