//! The scenario files, short and small: each runs, shows what it is about, and breaks no law.
//!
//! The bars that the files state are for a hundred service nodes and more, and take their time; here each file is shrunk
//! to some dozens of nodes and a few minutes, and what does not depend on the size must hold.

use std::path::PathBuf;
use std::time::Duration;

use unamed_simulator::{MaliciousKind, Report, RunOptions, Scenario};

/// Reads a scenario file and shrinks it: nodes of both kinds, and the time in all. Faults last a minute and a half.
fn small(name: &str, service_nodes: u32, clients: u32, seconds: u64) -> Scenario {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let mut scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    scenario.nodes.service = service_nodes;
    (scenario.nodes.clients, scenario.nodes.clients_per_service) = (Some(clients), None);
    scenario.duration = Duration::from_secs(seconds);
    scenario.workload.finds_per_s = scenario.workload.finds_per_s.min(10.0);
    for fault in &mut scenario.faults {
        fault.lasts = fault.lasts.min(Duration::from_secs(90));
    }
    scenario.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    scenario
}

/// Runs it. What any run must show must hold.
fn run(scenario: &Scenario) -> Report {
    let report = scenario.run(RunOptions::default(), |_| {}).report;
    assert_eq!(report.always(), Vec::<String>::new(), "{report}");
    assert!(report.finds.eligible > 100 || report.pairs.started > 0, "{report}");
    report
}

#[test]
fn every_file_is_well_formed_and_expects_something() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let text = std::fs::read_to_string(&path).expect("it is text");
        let scenario = Scenario::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!scenario.expect.is_empty(), "{} expects nothing", path.display());
        assert!(text.starts_with('#'), "{} does not say what it shows", path.display());
        names.push(path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned());
    }
    names.sort();
    let expected = [
        "churn-10m",
        "flash-start",
        "harsh",
        "harshest",
        "hundred-thousand",
        "kad",
        "links",
        "malicious",
        "mass-failure",
        "nat",
        "partition",
        "race",
        "service-outage",
        "static",
    ];
    assert_eq!(names, expected);
}

#[test]
fn without_churn_everything_is_found_at_the_nearest() {
    let report = run(&small("static", 30, 60, 200));
    assert_eq!(report.finds.succeeded, report.finds.eligible, "{report}");
    assert_eq!((report.greedy_reachability, report.rooms_split), (Some(1.0), 0), "{report}");
    assert_eq!(report.messages.delivered, report.messages.expected, "{report}");
}

#[test]
fn all_that_start_at_once_from_one_address_find_each_other() {
    let report = run(&small("flash-start", 60, 60, 130));
    assert_eq!(report.finds.succeeded, report.finds.eligible, "{report}");
    assert!(report.bootstrap.service_links_max > 8 && report.converged_s.is_some(), "{report}");
}

#[test]
fn under_churn_rooms_are_found() {
    // With the long tails of the other models hardly anybody of so few departs in so short a time.
    for (name, departures) in [("churn-10m", 5), ("kad", 0), ("harsh", 0), ("hundred-thousand", 0)] {
        let report = run(&small(name, 30, 60, 260));
        assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.99), "{name}: {report}");
        assert!(report.departures >= departures, "{name}: {report}");
    }
}

#[test]
fn sessions_of_a_minute_leave_most_of_it_standing() {
    let report = run(&small("harshest", 40, 60, 240));
    assert!(report.departures > 50, "{report}");
    assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.9), "{report}");
}

#[test]
fn a_healed_partition_is_one_network() {
    let report = run(&small("partition", 30, 60, 320));
    assert!(report.recovery.rooms_split_at_first.is_some_and(|split| split > 0), "{report}");
    assert_eq!((report.recovery.rooms_split_at_last, report.rooms_split), (Some(0), 0), "{report}");
    assert!(report.recovery.whole_after_s.is_some_and(|after| after <= 60.0), "{report}");
    assert!(report.finds_in_faults.succeeded > 0, "{report}");
}

#[test]
fn behind_nats_every_member_reaches_every_other() {
    let report = run(&small("nat", 20, 150, 240));
    assert_eq!(
        (report.finds.success_rate, report.messages.delivery_rate),
        (Some(1.0), Some(1.0)),
        "{report}"
    );
    let direct = &report.direct;
    assert!(direct.pairs > 50 && direct.unlinked == 0, "{direct:?}");
    assert!(direct.webrtc > 0 && direct.relayed > 0 && direct.failed > 0, "{direct:?}");
}

/// `malicious.toml`, small, with these adversaries.
fn malicious(kind: MaliciousKind, share: f64, sybils: u32) -> Scenario {
    let mut scenario = small("malicious", 60, 120, 200);
    (scenario.malicious.kind, scenario.malicious.share, scenario.malicious.sybils) = (kind, share, sybils);
    scenario.malicious.keys = u8::from(sybils > 0);
    scenario.workload.find_room = (sybils > 0).then_some(0);
    scenario
}

fn success(scenario: &Scenario) -> f64 {
    run(scenario).finds.success_rate.expect("there were finds")
}

#[test]
fn rooms_are_found_past_service_nodes_that_drop_or_lie() {
    for kind in [MaliciousKind::Silent, MaliciousKind::Lying] {
        let mut scenario = malicious(kind, 0.33, 0);
        let report = run(&scenario);
        assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.99), "{kind:?}: {report}");
        assert!(report.walks.finds > 0 && report.walks.publishes > 0, "{kind:?}: {report}");
        // By requests alone, 4 and 9 of the 30 rooms are split at the end.
        assert_eq!(report.rooms_split, 0, "{kind:?}: {report}");
        assert!(report.walks.others > 0, "{kind:?}: {report}");
        // By requests alone, to one key, much is lost.
        scenario.protocol.iterative = Some(false);
        scenario.protocol.replica_keys = Some(1);
        scenario.protocol.read_back = Some(false);
        let without = success(&scenario);
        assert!(without < 0.97, "{kind:?}: {without}");
    }
}

#[test]
fn a_room_is_found_past_sybils_around_one_of_its_keys() {
    for kind in [MaliciousKind::Silent, MaliciousKind::Lying] {
        let mut scenario = malicious(kind, 0.0, 20);
        let with = success(&scenario);
        assert!(with >= 0.999, "{kind:?}: {with}");
        scenario.protocol.iterative = Some(false);
        scenario.protocol.replica_keys = Some(1);
        let without = success(&scenario);
        assert!(without < 0.5, "{kind:?}: {without}");
    }
}

#[test]
fn pairs_that_enter_at_once_meet() {
    let mut scenario = small("race", 20, 60, 200);
    scenario.workload.pairs = 80;
    let report = run(&scenario);
    assert_eq!((report.pairs.started, report.pairs.met), (80, 80), "{report}");
    assert!(report.pairs.meet_ms_p99.is_some_and(|ms| ms > 0.0), "{report}");
}

#[test]
fn the_rest_of_a_network_carries_on() {
    let report = run(&small("mass-failure", 40, 60, 330));
    assert!(report.departures >= 20, "{report}");
    assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.99), "{report}");
    assert_eq!(report.rooms_split, 0, "{report}");
}

#[test]
fn after_an_outage_of_all_service_nodes_every_room_is_one_again() {
    let report = run(&small("service-outage", 30, 60, 300));
    assert_eq!(report.departures, 30, "{report}");
    assert!(report.recovery.rooms_split_at_first.is_some_and(|split| split > 0), "{report}");
    assert_eq!((report.recovery.rooms_split_at_last, report.rooms_split), (Some(0), 0), "{report}");
}

#[test]
fn a_client_in_five_rooms_stays_within_its_budget() {
    let report = run(&small("links", 20, 60, 200));
    assert_eq!(report.rooms, 75, "{report}");
    assert!(report.links.client_peak <= 32, "{report}");
    assert_eq!(report.rooms_split, 0, "{report}");
}

#[test]
fn what_is_expected_and_does_not_hold_is_told_in_a_sentence() {
    let mut scenario =
        Scenario::parse("expect = { \"finds.attempted\" = { min = 1e9 } }").expect("well formed");
    scenario.nodes.service = 3;
    scenario.nodes.clients = Some(6);
    scenario.workload.rooms = Some(3);
    let report = scenario.run(RunOptions::default(), |_| {}).report;
    let [failure] = report.failures.as_slice() else { panic!("{report}") };
    assert!(failure.starts_with("finds.attempted is ") && failure.contains("expected at least"), "{failure}");
}

#[test]
fn people_who_return_are_the_same_nodes_in_the_same_rooms() {
    let text = r#"
        duration = "400s"
        nodes = { service = 10, clients = 30 }
        churn = { clients = "exp:1", mode = "return", crash = 0.5 }
        workload = { rooms = 8, finds_per_s = 5, messages = 0 }
    "#;
    let report = run(&Scenario::parse(text).expect("well formed"));
    assert!(report.departures > 20 && report.joins > 60, "{report}");
    assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.99), "{report}");
}

#[test]
fn clogged_links_jitter_slow_lines_and_wrong_clocks_split_nothing_for_good() {
    let text = r#"
        duration = "300s"
        nodes = { service = 20, clients = 40 }
        workload = { rooms = 10, finds_per_s = 5, messages = 0 }
        [network]
        latency = "coordinates:40ms"
        jitter = "10ms"
        uplink_bytes_per_s = 250000
        clock_skew = "2m"
        nat = { open = 0.5, symmetric = 0.2 }
        [[fault]]
        kind = "clog"
        at = "90s"
        lasts = "60s"
        share = 0.1
        recover = "60s"
    "#;
    let report = run(&Scenario::parse(text).expect("well formed"));
    assert!(report.finds.success_rate.is_some_and(|rate| rate >= 0.99), "{report}");
    assert_eq!(report.rooms_split, 0, "{report}");
}
