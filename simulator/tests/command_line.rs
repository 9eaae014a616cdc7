//! What the program says and how it ends.

use std::path::Path;
use std::process::{Command, Output};

fn unamed_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unamed-sim")).args(args).output().expect("it starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn compare_ends_with_0_1_2_or_3() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, succeeded: u32| {
        let path = dir.path().join(name);
        let report = format!(
            r#"{{"seed": 1, "service_nodes": 3, "rooms": 1, "finds": {{"eligible": 1000, "succeeded": {succeeded}}}}}"#
        );
        std::fs::write(&path, report).expect("it writes");
        path
    };
    let (good, worse) = (write("good.json", 1000), write("worse.json", 900));
    let same = unamed_sim(&["compare", text(&good), text(&good)]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let changed = unamed_sim(&["compare", text(&good), text(&worse)]);
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    assert!(String::from_utf8_lossy(&changed.stdout).contains("finds.success_rate"), "{changed:?}");
    assert_eq!(unamed_sim(&["compare", text(&good)]).status.code(), Some(2));
    let bad = dir.path().join("bad.json");
    std::fs::write(&bad, r#"{"seed": 1, "service_nodes": "three"}"#).expect("it writes");
    let refused = unamed_sim(&["compare", text(&good), text(&bad)]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("bad.json") && said.contains("service_nodes"), "{said}");
}

const SWEEP: &str = r#"
seeds = "1..3"

[base]
duration = "110s"
nodes = { service = 3, clients = 4 }
workload = { rooms = 2, finds_per_s = 2 }

[grid]
"workload.messages" = [0, 1]
"#;

/// The table's rows as cells by the names of their columns.
fn table(path: &Path) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("a table");
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

#[test]
fn a_sweep_leaves_the_same_digests_with_one_and_two_threads() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("sweep.toml");
    std::fs::write(&file, SWEEP).expect("it writes");
    let digests = |threads: &str| {
        let out = dir.path().join(threads);
        let ended = unamed_sim(&["sweep", text(&file), "--out", text(&out), "--threads", threads]);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let rows = table(&out.join("runs.csv"));
        rows.iter()
            .map(|row| ["grid.workload.messages", "seed", "trace_hash"].map(|name| row[name].clone()))
            .collect::<Vec<_>>()
    };
    let (one, two) = (digests("1"), digests("2"));
    assert_eq!(one, two);
    let different: std::collections::BTreeSet<&String> = one.iter().map(|[.., hash]| hash).collect();
    assert_eq!((one.len(), different.len()), (4, 4));
    let compared = unamed_sim(&["compare", text(&dir.path().join("1")), text(&dir.path().join("2"))]);
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    assert_eq!(String::from_utf8_lossy(&compared.stdout).matches("identical").count(), 2, "{compared:?}");
}

#[test]
fn a_bad_sweep_ends_with_3_and_the_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, out) = (dir.path().join("sweep.toml"), dir.path().join("out"));
    for (content, key) in [
        (SWEEP.replace("workload.messages", "workload.masseges"), "masseges"),
        (SWEEP.replace("\"1..3\"", "\"3..1\""), "seeds"),
        (SWEEP.replace("110s", "1s"), "duration"),
    ] {
        std::fs::write(&file, content).expect("it writes");
        let ended = unamed_sim(&["sweep", text(&file), "--out", text(&out)]);
        assert_eq!(ended.status.code(), Some(3), "{ended:?}");
        assert!(String::from_utf8_lossy(&ended.stderr).contains(key), "{ended:?}");
    }
    assert!(!out.exists());
}

#[test]
fn a_run_leaves_a_report_and_a_trace_of_a_few_nodes() {
    let dir = tempfile::tempdir().expect("a folder");
    let (report, trace) = (dir.path().join("report"), dir.path().join("trace"));
    let small =
        ["run", "--nodes", "4", "--clients", "12", "--rooms", "3", "--duration", "110s", "--finds", "2"];
    let flags = ["--report", text(&report), "--trace", text(&trace), "--trace-sample", "1/4"];
    let ended = unamed_sim(&[&small[..], &flags].concat());
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let page = std::fs::read_to_string(report.join("index.html")).expect("the page");
    assert!(page.contains("--nodes 4 --clients 12") && page.contains("<svg"));
    let lines = std::fs::read_to_string(&trace).expect("the trace");
    let (mut nodes, mut counted) = (std::collections::BTreeSet::new(), 0);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(value["us"].is_u64() && value["kind"].is_string(), "{line}");
        counted += usize::from(value["counters"]["frames_sent"].is_u64());
        nodes.insert(value["node"].as_u64().expect("a node"));
    }
    assert!(!nodes.is_empty() && nodes.len() < 12, "{nodes:?}");
    assert_eq!(counted, nodes.len(), "at the end each says what it counted");

    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").expect("it writes");
    let ended = unamed_sim(&[&small[..], &["--report", text(&blocked)]].concat());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains(text(&blocked)), "{ended:?}");
}
