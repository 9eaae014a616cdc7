//! The same seed gives the same run, byte by byte.

use std::sync::Arc;
use std::time::Duration;

use unamed_protocol::crypto::IdealCrypto;
use unamed_simulator::{Check, Outcome, Workload};

fn run(seed: u64, check: Check) -> Outcome {
    let mut workload = Workload::new(6, 12, 5, seed, Arc::new(IdealCrypto));
    workload.duration = Duration::from_secs(130);
    workload.leaves = 3;
    workload.switches = 2;
    workload.check = check;
    workload.run(|_| {}, |_| {})
}

#[test]
fn the_same_seed_twice_gives_the_same_trace_and_report() {
    let [first, second] = [run(7, Check::AtEnd), run(7, Check::AtEnd)].map(|mut outcome| {
        outcome.report.wall_s = 0.0;
        outcome.report
    });
    assert_eq!(first, second);
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
