//! Seeing a node: metrics, health, the control socket, logs, the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use unamed_tests::{DEADLINE, Member, Scratch, Service, Value, http_get, root, unamed};

/// Where a node serves its metrics.
fn metrics_of(service: &Service) -> SocketAddr {
    let listening = service.process.history().iter().find(|event| event["event"] == "listening");
    let url = listening.and_then(|event| event["metrics"].as_str()).expect("it says where its metrics are");
    url.trim_start_matches("http://").trim_end_matches("/metrics").parse().expect("an address")
}

/// Asks for the health until it is `status`; the whole answer.
fn wait_healthy(at: SocketAddr, status: &str) -> (u16, Value) {
    let until = Instant::now() + DEADLINE;
    loop {
        let (code, body) = http_get(at, "/healthz", "localhost");
        let health: Value = serde_json(&body);
        if health["status"] == status {
            return (code, health);
        }
        assert!(Instant::now() < until, "not {status}: {body}");
        std::thread::yield_now();
    }
}

fn serde_json(text: &str) -> Value {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_node_is_healthy_once_it_is_linked_to_its_leaf_set_and_tells_numbers() {
    let scratch = Scratch::new().expect("a folder");
    let args = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let first = Service::start_with(&scratch, "service-1", &args);
    let bootstrapped = [&args[..], &["--bootstrap", &first.address]].concat();
    let second = Service::start_with(&scratch, "service-2", &bootstrapped);
    let nowhere = [&args[..], &["--bootstrap", "/ip4/127.0.0.1/tcp/9/ws"]].concat();
    let lost = Service::start_with(&scratch, "service-3", &nowhere);

    let (code, health) = wait_healthy(metrics_of(&second), "ready");
    assert_eq!((code, &health["leaf_set"]), (200, &Value::from(1)));
    assert_eq!(wait_healthy(metrics_of(&first), "ready").0, 200);
    let (code, body) = http_get(metrics_of(&lost), "/healthz", "localhost");
    assert_eq!(code, 503, "{body}");
    assert_ne!(serde_json(&body)["status"], "ready");

    let at = metrics_of(&second);
    let (code, text) = http_get(at, "/metrics", "127.0.0.1:9464");
    assert_eq!(code, 200);
    let has = |line: &str| text.lines().any(|one| one == line);
    assert!(has("unamed_ready 1") && has("unamed_leaf_set_links 1"), "{text}");
    assert!(has("unamed_links{carrier=\"websocket\",peer=\"service\"} 1"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("process_resident_memory_bytes ")), "{text}");
    assert!(text.ends_with("# EOF\n"));
    for (path, host, expected) in
        [("/metrics", "rebound.example", 403), ("/healthz", "rebound.example", 403), ("/", "localhost", 404)]
    {
        assert_eq!(http_get(at, path, host).0, expected, "{path} at {host}");
    }
    every_panel_shows_something(&text);
}

/// Whether the dashboard asks for nothing that nodes do not tell.
fn every_panel_shows_something(metrics: &str) {
    let told: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let dashboard = fs::read_to_string(root().join("deploy/grafana.json")).expect("the dashboard is there");
    let dashboard: Value = serde_json(&dashboard);
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = 0;
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets")) {
        let expression = target["expr"].as_str().expect("an expression");
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("unamed_") || word.starts_with("process_")) {
            assert!(told.contains(name), "{name} of the dashboard is told: {told:?}");
            asked += 1;
        }
    }
    assert!(asked > 15, "the dashboard asks: {asked}");
}

#[test]
fn a_running_node_says_how_it_is_and_traces_a_find() {
    let scratch = Scratch::new().expect("a folder");
    let (control, file) = (scratch.file("control"), scratch.file("unamed.toml"));
    let first = Service::start(&scratch, "service-1", &[]);
    let args = ["--listen", "127.0.0.1:0", "--control", &control, "--bootstrap", &first.address];
    let mut second = Service::start_with(&scratch, "service-2", &args);
    assert_eq!(fs::metadata(&control).expect("the socket").permissions().mode() & 0o777, 0o600);
    let mut anna = Member::start(&scratch, "anna", "sought", &second.address, &["--stay"]);
    anna.process.wait("her joining", |event| event["event"] == "joined");

    let ask = |args: &[&str]| {
        let output = unamed(args).stdin(Stdio::null()).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        text
    };
    // Once it is ready, it holds what the first has.
    let until = Instant::now() + DEADLINE;
    let status = loop {
        let status: Value = serde_json(&ask(&["status", "--json", "--control", &control]));
        if status["held_rooms"] == 1 && status["ready"] == true {
            break status;
        }
        assert!(Instant::now() < until, "it holds no room: {status}");
    };
    assert_eq!(status["peer_id"], *second.peer, "{status}");
    let links = status["links"].as_array().expect("links");
    let to =
        |peer: &str| links.iter().find(|link| link["peer_id"] == peer).unwrap_or_else(|| panic!("{status}"));
    assert_eq!((&to(&first.peer)["service"], &to(&anna.peer)["service"]), (&true.into(), &false.into()));
    assert!(to(&anna.peer)["reasons"].is_array() && to(&first.peer)["carrier"] == "websocket", "{status}");
    assert_eq!(status["leaf_set"], unamed_tests::json!([first.peer]), "{status}");
    // The same for people, by the configuration of the node.
    fs::write(&file, format!("control = {control:?}\n")).expect("a file");
    let text = ask(&["status", "--config", &file]);
    assert!(
        text.contains(&first.peer) && text.contains("1 in the leaf set") && text.contains("1 rooms held"),
        "{text}"
    );

    let trace: Value = serde_json(&ask(&["trace", "sought", "--json", "--control", &control]));
    assert_eq!(trace["members"], unamed_tests::json!([anna.peer]), "{trace}");
    assert_eq!(trace["route"][0]["peer_id"], *second.peer, "{trace}");
    let id = trace["room_id"].as_str().expect("an id").to_owned();
    let drawn = ask(&["trace", &id, "--control", &control]);
    assert!(drawn.contains(&anna.peer) && drawn.contains("bits shared"), "{drawn}");
    // From a node made for it.
    let drawn = ask(&["trace", "sought", "--bootstrap", &first.address]);
    assert!(drawn.contains(&anna.peer) && drawn.contains("─▶"), "{drawn}");

    second.process.terminate();
    assert_eq!(second.process.finish(), 0);
    assert!(!fs::exists(&control).expect("the folder is there"), "the socket goes with the node");
    for args in [&["status", "--control", &control][..], &["trace", "sought", "--control", &control]] {
        let output = unamed(args).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains("no node answers there"), "{stderr}");
    }
    assert_eq!(unamed(["status"]).output().expect("it runs").status.code(), Some(2));
}

#[test]
fn logs_are_lines_of_json_where_that_is_asked_for() {
    let scratch = Scratch::new().expect("a folder");
    let args = ["--listen", "127.0.0.1:0", "--log", "info", "--log-format", "json"];
    let mut service = Service::start_with(&scratch, "service", &args);
    service.process.wait_says("takes part in routing");
    service.process.reload();
    service.process.wait_says("nothing to read again");
    service.process.terminate();
    assert_eq!(service.process.finish_by(Duration::from_secs(20)), 0);
    let stderr = service.process.stderr();
    for line in stderr.lines() {
        let line: Value = serde_json(line);
        assert!(["timestamp", "level", "target"].iter().all(|key| line[*key].is_string()), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
    }
    assert!(stderr.lines().count() >= 2, "{stderr}");
}
