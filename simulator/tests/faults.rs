//! Faults do what they say, and the network is whole again after them.

use std::time::Duration;

use unamed_protocol::Node;
use unamed_simulator::scenario::{ChurnMode, Fault, FaultKind};
use unamed_simulator::{Check, ChurnModel, Outcome, RunOptions, Scenario};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A network of 5 service nodes and 15 clients, judged from 70 s after the start of the fault.
fn run(change: impl FnOnce(&mut Scenario)) -> Outcome {
    let mut scenario = Scenario::new(5, 15, 5, 3);
    scenario.duration = secs(230);
    scenario.start.judged_from = secs(170);
    change(&mut scenario);
    scenario.check().expect("a scenario");
    let outcome = scenario.run(RunOptions { check: Check::Every, ..RunOptions::default() }, |_| {});
    assert_eq!(outcome.report.failures, Vec::<String>::new());
    assert!(outcome.report.finds.eligible > 100 && outcome.report.messages.expected > 10);
    outcome
}

/// What all running nodes together have counted under a name.
fn counted(outcome: &Outcome, counter: &str) -> u64 {
    let running = outcome.simulation.nodes().filter_map(|node| outcome.simulation.node(node));
    let of_one = |node: &Node| {
        let metrics = node.metrics();
        metrics.iter().find(|(name, _)| *name == counter).map(|(_, count)| *count)
    };
    running.map(|node| of_one(node).expect("such a counter")).sum()
}

#[test]
fn who_reads_nothing_is_passed_over_and_taken_back() {
    let slow = run(|scenario| {
        let fault = Fault::new(FaultKind::SlowReaders, secs(100), secs(25));
        scenario.faults.push(Fault { share: 0.4, ..fault });
    });
    let usual = run(|_| {});
    for counter in ["hop_timeouts", "links_closed"] {
        let [slow, usual] = [&slow, &usual].map(|outcome| counted(outcome, counter));
        assert!(slow > 2 * usual, "{counter}: {slow}, else {usual}");
    }
}

#[test]
fn who_reads_slowly_loses_nothing_that_fits_the_rate() {
    let slow = run(|scenario| {
        scenario.start.judged_from = secs(0);
        let fault = Fault::new(FaultKind::SlowReaders, secs(80), secs(100));
        scenario.faults.push(Fault { share: 1.0, bytes_per_s: 200_000, ..fault });
    });
    assert_eq!(slow.report.messages.delivered, slow.report.messages.expected);
    let usual = run(|scenario| scenario.start.judged_from = secs(0));
    assert_ne!(slow.report.decision_hash, usual.report.decision_hash, "all came later");
}

#[test]
fn intruders_are_thrown_out() {
    let outcome = run(|scenario| {
        let fault = Fault::new(FaultKind::Intruders, secs(80), secs(50));
        scenario.faults.push(Fault { times: 1.0, ..fault });
    });
    for counter in ["messages_undecodable", "offences", "peers_banned", "claims_invalid"] {
        assert!(counted(&outcome, counter) > 0, "{counter}");
    }
    assert_eq!(counted(&run(|_| {}), "offences"), 0);
}

#[test]
fn who_returns_without_its_memory_is_found_again() {
    let [forgetful, usual] = [1.0, 0.0].map(|forget| {
        run(|scenario| {
            scenario.churn.mode = ChurnMode::Return;
            scenario.churn.forget = forget;
            (scenario.churn.service, scenario.churn.clients) =
                (ChurnModel::Exponential(1.0), ChurnModel::Exponential(1.0));
            scenario.churn.until = Some(secs(130));
            scenario.faults.push(Fault::new(FaultKind::ServiceOutage, secs(100), secs(10)));
            // With all service nodes gone and nothing remembered, one address must be known.
            scenario.start.anchors = 1;
        })
    });
    assert_ne!(forgetful.report.decision_hash, usual.report.decision_hash);
}
