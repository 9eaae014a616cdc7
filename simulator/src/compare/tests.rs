use std::fs;

use serde_json::json;

use super::*;

fn report(seed: u64, succeeded: u64, hops: f64) -> Value {
    json!({
        "seed": seed, "service_nodes": 100, "client_nodes": 10, "rooms": 20, "simulated_s": 180.0,
        "wall_s": 3.0 + seed as f64, "trace_hash": format!("{seed}-{succeeded}-{hops}"), "rooms_split": 0,
        "finds": {"attempted": 10_100, "eligible": 10_000, "succeeded": succeeded, "hops_mean": hops, "at_root": null},
        "failures": [],
    })
}

/// Writes reports into a folder.
fn folder(reports: &[Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (index, report) in reports.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.json")), report.to_string()).expect("it writes");
    }
    folder
}

fn changed(comparison: &Comparison) -> Vec<&str> {
    let lines = comparison.groups.iter().flat_map(|group| &group.lines);
    lines.filter(|line| line.changed).map(|line| line.name.as_str()).collect()
}

fn between(a: &[Value], b: &[Value]) -> Comparison {
    let (a, b) = (folder(a), folder(b));
    compare(a.path(), b.path(), Options::default()).expect("they are reports")
}

#[test]
fn single_reports_by_proportions_and_threshold() {
    let before = report(1, 9_990, 2.0);
    let before = std::slice::from_ref(&before);
    let same = between(before, before);
    assert!(!same.changed() && same.groups[0].identical);
    assert!(same.text(false).contains("identical"));
    // Four finds more or less of ten thousand are noise, ninety are not; hops count from 5 % on.
    assert_eq!(changed(&between(before, &[report(1, 9_986, 2.09)])), [""; 0]);
    let worse = between(before, &[report(1, 9_900, 2.3)]);
    assert_eq!(changed(&worse), ["finds.success_rate", "finds.hops_mean"]);
    let text = worse.text(false);
    assert!(
        text.contains("+15.0 %") && text.contains("0.99000") && text.contains("2 of 3 figures changed"),
        "{text}"
    );
}

#[test]
fn repeated_seeds_by_the_noise_among_them() {
    let runs = |hops: f64, spread: f64| -> Vec<Value> {
        (0..6_u32).map(|seed| report(seed.into(), 9_990, hops + spread * f64::from(seed % 3))).collect()
    };
    // 10 % more is within the noise of the one and beyond that of the other.
    assert_eq!(changed(&between(&runs(2.0, 0.5), &runs(2.2, 0.5))), [""; 0]);
    assert_eq!(changed(&between(&runs(2.0, 0.005), &runs(2.2, 0.005))), ["finds.hops_mean"]);
    let comparison = between(&runs(2.0, 0.005), &runs(2.0, 0.005));
    assert_eq!((comparison.level, comparison.groups[0].identical), (0.05 / 3.0, true));
}

#[test]
fn one_bad_seed_of_six_is_no_change_of_the_rate() {
    let good: Vec<Value> = (0..6).map(|seed| report(seed, 9_990, 2.0)).collect();
    let mut one_bad = good.clone();
    one_bad[3] = report(3, 9_900, 2.0);
    assert_eq!(changed(&between(&good, &one_bad)), [""; 0]);
    let all_bad: Vec<Value> = (0..6).map(|seed| report(seed, 9_975, 2.0)).collect();
    assert_eq!(changed(&between(&good, &all_bad)), ["finds.success_rate"]);
}

#[test]
fn tables_are_compared_point_by_point() {
    let dir = tempfile::tempdir().expect("a folder");
    let head =
        "grid.nodes,seed,service_nodes,rooms,rooms_split,finds.eligible,finds.succeeded,finds.hops_mean\n";
    let (a, b) = (dir.path().join("a.csv"), dir.path().join("b.csv"));
    fs::write(&a, format!("{head}10,1,10,4,0,500,500,1.0\n20,1,20,4,0,500,500,\n30,1,30,4,0,500,500,1.5\n"))
        .expect("it writes");
    fs::write(&b, format!("{head}10,1,10,4,0,500,500,1.2\n20,1,20,4,0,500,500,1.0\n")).expect("it writes");
    let comparison = compare(&a, &b, Options::default()).expect("they are tables");
    let names: Vec<(&str, (usize, usize))> =
        comparison.groups.iter().map(|group| (group.name.as_str(), group.runs)).collect();
    assert_eq!(names, [("nodes=10", (1, 1)), ("nodes=20", (1, 1)), ("nodes=30", (1, 0))]);
    assert_eq!(changed(&comparison), ["finds.hops_mean", "finds.hops_mean"]);
    assert!(comparison.text(false).contains("only in A"));
    assert!(comparison.changed());
}

#[test]
fn what_differs_in_size_is_said() {
    let mut other = report(1, 9_990, 2.0);
    other["service_nodes"] = json!(200);
    let comparison = between(&[report(1, 9_990, 2.0)], &[other]);
    assert!(comparison.text(false).contains("not of one scenario: service_nodes is 100 and 200"));
}

#[test]
fn bad_files_are_named_with_the_field() {
    let good = folder(&[report(1, 1, 1.0)]);
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("bad.json");
    for (content, field, words) in [
        ("{", None, "EOF"),
        ("{\"seed\": 1}", Some("service_nodes"), "missing"),
        ("{\"seed\": \"x\"}", Some("seed"), "not a number"),
        ("[]", Some("seed"), "missing"),
    ] {
        fs::write(&file, content).expect("it writes");
        let error = compare(good.path(), &file, Options::default()).expect_err("it is bad");
        assert_eq!((error.field.as_deref(), &error.path), (field, &file), "{content}");
        assert!(error.to_string().contains(words) && error.to_string().contains("bad.json"), "{error}");
    }
    let empty = tempfile::tempdir().expect("a folder");
    let error = compare(empty.path(), good.path(), Options::default()).expect_err("it is empty");
    assert!(error.to_string().contains("no run"), "{error}");
    let missing = dir.path().join("missing.json");
    assert_eq!(compare(&missing, good.path(), Options::default()).expect_err("it is missing").path, missing);
    let table = dir.path().join("t.csv");
    fs::write(&table, "seed,a\n1\n").expect("it writes");
    assert!(compare(&table, good.path(), Options::default()).is_err());
}

#[test]
fn a_run_in_two_files_counts_once() {
    let run = report(1, 9_990, 2.0);
    let comparison = between(&[run.clone(), run.clone(), report(2, 9_990, 2.0)], &[run]);
    assert_eq!(comparison.groups[0].runs, (2, 1));
}
