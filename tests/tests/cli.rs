//! The command line: identities, finds, exit codes, and messages that name what is at fault.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use unamed_tests::{Member, Process, Scratch, Service, identity, unamed};

const NOWHERE: &str = "/ip4/127.0.0.1/tcp/9/ws";

fn output(args: &[&str]) -> Output {
    unamed(args).stdin(Stdio::null()).output().expect("the program runs")
}

/// Runs a command that must fail with `code` and name `named` on stderr, and say nothing on stdout.
#[track_caller]
fn assert_fails(args: &[&str], code: i32, named: &str) {
    let output = output(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(named), "{args:?} names {named:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?}: {:?}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_identity_is_made_once_and_for_its_owner_alone() {
    let scratch = Scratch::new().expect("a folder");
    let file = scratch.file("key");
    let peer = identity(&file);
    assert!(peer.starts_with("12D3KooW"), "{peer}");
    assert_eq!(identity(&file), peer);
    assert_ne!(identity(&scratch.file("another")), peer);
    let mode = fs::metadata(&file).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("one line of text");
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with("CAESQ"), "base64 of the libp2p protobuf of an Ed25519 key: {text}");
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_flag() {
    let long = "n".repeat(33);
    let table: [(&[&str], &str); 14] = [
        (&[], "Usage"),
        (&["sing"], "sing"),
        (&["serve", "--listen", "nowhere"], "--listen"),
        (&["serve", "--listen", "127.0.0.1:99999"], "--listen"),
        (&["serve", "--listen", "127.0.0.1:0", "--address", "/ip4/1.2.3.4"], "--address"),
        (&["serve", "--listen", "127.0.0.1:0", "--bootstrap", "/onion3/x"], "--bootstrap"),
        (&["room", "demo", "--bootstrap", "ws://127.0.0.1"], "--bootstrap"),
        (&["room", "demo", "--bootstrap", "/ip4/127.0.0.1/tcp/0/ws"], "--bootstrap"),
        (&["room", "demo", "--bootstrap", NOWHERE, "--to", "12D3KooWnobody"], "--to"),
        (&["room", "demo", "--bootstrap", NOWHERE, "--wait=-1"], "--wait"),
        (&["room", "demo", "--bootstrap", NOWHERE, "--network", &long], "--network"),
        (&["room", "demo", "--bootstrap", NOWHERE, "--name", "a\u{1B}[2Jb"], "--name"),
        (&["room", "demo", "--bootstrap", NOWHERE, "--name", &"n".repeat(1025)], "--name"),
        (&["room", " ab ", "--bootstrap", NOWHERE], "name"),
    ];
    for (args, named) in table {
        assert_fails(args, 2, named);
    }
}

#[test]
fn a_bad_file_ends_with_3_and_is_named_and_kept() {
    let scratch = Scratch::new().expect("a folder");
    let (garbage, missing) = (scratch.file("garbage.key"), scratch.file("no/such/file"));
    fs::write(&garbage, "not a key\n").expect("a file");
    let empty = scratch.file("empty.key");
    fs::write(&empty, "").expect("a file");
    let table: [&[&str]; 6] = [
        &["id", "--identity", &garbage],
        &["id", "--identity", &empty],
        &["serve", "--listen", "127.0.0.1:0", "--identity", &garbage],
        &["room", "demo", "--bootstrap", NOWHERE, "--identity", &garbage],
        &["room", "demo", "--bootstrap", NOWHERE, "--passphrase-file", &missing],
        &["serve", "--listen", "127.0.0.1:0", "--state", &garbage],
    ];
    for args in table {
        assert_fails(args, 3, args.last().expect("the file comes last"));
    }
    assert_eq!(fs::read_to_string(&garbage).expect("it is there"), "not a key\n");
    assert_eq!(fs::read_to_string(&empty).expect("it is there"), "");
}

#[test]
fn without_any_bootstrap_a_room_ends_with_4_and_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("/ip4/127.0.0.1/tcp/{free}/ws");
    std::thread::scope(|scope| {
        for command in ["room", "find"] {
            let args = [command, "demo", "--bootstrap", &address, "--json"];
            scope.spawn(move || assert_fails(&args, 4, args[3]));
        }
    });
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address").to_string();
    let scratch = Scratch::new().expect("a folder");
    assert_fails(&["serve", "--listen", &listen, "--state", &scratch.file("state")], 1, &listen);
}

#[test]
fn a_configuration_file_starts_a_node_and_a_flag_wins_over_it() {
    let scratch = Scratch::new().expect("a folder");
    let file = scratch.file("unamed.toml");
    let state = scratch.file("state");
    fs::write(
        &file,
        format!("listen = \"127.0.0.1:0\"\nnetwork = \"filed\"\nstate = {state:?}\njson = true\n"),
    )
    .expect("a file");
    let checked = output(&["config", "check", &file]);
    assert_eq!((checked.status.code(), checked.stdout), (Some(0), format!("{file}: ok\n").into_bytes()));
    let mut process = Process::spawn("service", unamed(["serve", "--config", &file])).expect("it starts");
    let event = process.wait("its address", |event| event["event"] == "listening");
    let address = event["addresses"][0].as_str().expect("an address").to_owned();
    // The network is the file's, unless a flag says otherwise.
    let find = |args: &[&str]| {
        let fixed = ["find", "any room", "--config", &file, "--bootstrap", &address, "--state", "none"];
        let mut command = unamed(fixed.iter().chain(args));
        command.env("UNAMED_STATE", scratch.file("other")).current_dir(scratch.path());
        command.stdin(Stdio::null()).output().expect("it runs")
    };
    let found = find(&[]);
    assert_eq!(found.status.code(), Some(0), "{}", String::from_utf8_lossy(&found.stderr));
    assert!(scratch.path().join("none").is_dir() && !scratch.path().join("other").exists());
    assert_eq!(find(&["--network", "flagged"]).status.code(), Some(4));
    drop(process);
}

#[test]
fn the_example_is_a_configuration_and_a_bad_one_is_refused_by_name() {
    let scratch = Scratch::new().expect("a folder");
    let (file, missing) = (scratch.file("unamed.toml"), scratch.file("missing.toml"));
    let example = output(&["config", "example"]);
    assert_eq!(example.status.code(), Some(0));
    fs::write(&file, &example.stdout).expect("a file");
    assert_eq!(output(&["config", "check", &file]).status.code(), Some(0));
    for (text, code, named) in [
        ("speed = 9", 2, "speed"),
        ("clients-max = -1", 2, "clients-max"),
        ("ban-time = \"31d\"", 2, "31d is not in 1s to 30d"),
        ("ban-time = 3600", 2, "the unit is missing"),
        ("tls-cert = \"x\"", 2, "--tls-key"),
        ("json = ", 3, "line 1"),
    ] {
        fs::write(&file, text).expect("a file");
        assert_fails(&["config", "check", &file], code, named);
        assert_fails(&["serve", "--listen", "127.0.0.1:0", "--config", &file], code, named);
    }
    assert_fails(&["config", "check", &missing], 3, &missing);
    assert_fails(&["serve", "--config", &missing], 3, &missing);
}

#[test]
fn a_find_shows_its_route_and_the_members() {
    let scratch = Scratch::new().expect("a folder");
    let first = Service::start(&scratch, "service-1", &[]);
    let second = Service::start(&scratch, "service-2", &[&first.address]);
    let mut anna = Member::start(&scratch, "anna", "sought", &second.address, &["--stay"]);
    anna.process.wait("her joining", |event| event["event"] == "joined");

    let find = |room: &str| {
        let args = ["find", room, "--bootstrap", &first.address, "--json"];
        let mut process = Process::spawn("find", unamed(args)).expect("it starts");
        let report = process.wait("the report", |report| report["room_id"].is_string());
        assert_eq!(process.finish(), 0, "{}", process.stderr());
        report
    };
    let report = find("sought");
    assert_eq!(report["members"], unamed_tests::json!([anna.peer]), "{report}");
    assert_eq!(report["room_id"].as_str().map(str::len), Some(64), "{report}");
    assert!(report["attempts"].as_u64().is_some_and(|attempts| attempts >= 1), "{report}");
    let route = report["route"].as_array().expect("a route");
    assert!(
        route.iter().any(|hop| hop["peer_id"] == *first.peer || hop["peer_id"] == *second.peer),
        "{report}"
    );
    assert!(route.iter().all(|hop| hop["ms"].is_number()), "{report}");

    let empty = find("nobody is here");
    assert_eq!(empty["members"], unamed_tests::json!([]), "{empty}");
}
