//! Staying up: the end in good order, the identity kept and given back, systemd, containers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use unamed_tests::{
    DEADLINE, Member, Process, Scratch, Service, Value, needed, own_address, program, root, unamed,
};

#[test]
fn a_node_that_is_told_to_end_sends_its_members_elsewhere() {
    let scratch = Scratch::new().expect("a folder");
    let first = Service::start(&scratch, "service-1", &[]);
    let mut second = Service::start(&scratch, "service-2", &[&first.address]);
    let third = Service::start(&scratch, "service-3", &[&first.address]);
    let no_webrtc = ["--stay", "--no-webrtc"];
    let mut anna = Member::start(&scratch, "anna", "moved", &second.address, &no_webrtc);
    let mut ben = Member::start(&scratch, "ben", "moved", &third.address, &no_webrtc);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    second.process.terminate();
    assert_eq!(second.process.finish(), 0, "{}", second.process.stderr());
    anna.process.say("where to now");
    ben.wait_hears(&anna.peer, "where to now");
    ben.process.say("here");
    anna.wait_hears(&ben.peer, "here");
    for member in [&anna, &ben] {
        let left = member.process.history().iter().find(|event| event["event"] == "member_left");
        assert_eq!(left, None, "nobody left");
    }
}

/// The status of a running node.
fn status(control: &str) -> Option<Value> {
    let output =
        unamed(["status", "--json", "--control", control]).stderr(Stdio::null()).output().expect("it runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).parse().expect("JSON"))
}

/// Waits until a node has as many leaves.
#[track_caller]
fn wait_leaves(control: &str, leaves: usize) {
    let until = Instant::now() + DEADLINE;
    loop {
        let status = status(control);
        let has = status.as_ref().and_then(|status| status["leaf_set"].as_array()).map_or(0, Vec::len);
        if has == leaves {
            return;
        }
        assert!(Instant::now() < until, "it has {leaves} leaves: {status:?}");
    }
}

#[test]
fn a_backup_of_two_files_is_the_node() {
    let scratch = Scratch::new().expect("a folder");
    let (first_control, control) = (scratch.file("first-control"), scratch.file("control"));
    let args = ["--listen", "127.0.0.1:0", "--control", &first_control];
    let _first = Service::start_with(&scratch, "service-1", &args);
    let address =
        status(&first_control).expect("it answers")["addresses"][0].as_str().expect("one").to_owned();
    let args = ["--listen", "127.0.0.1:0", "--control", &control];
    let mut second =
        Service::start_with(&scratch, "original", &[&args[..], &["--bootstrap", &address]].concat());
    wait_leaves(&control, 1);
    let peer = second.peer.clone();

    // As docs/operating.md says: while it runs, or after.
    let backup = |from: &str, to: &str| {
        let files = ["identity.key", "state.bin"];
        fs::create_dir(scratch.path().join(to)).expect("a folder");
        for file in files {
            let (from, to) = (scratch.path().join(from).join(file), scratch.path().join(to));
            let copied = Command::new("cp").arg("-p").arg(from).arg(to).status().expect("cp runs");
            assert!(copied.success(), "{file} is there");
        }
    };
    second.process.terminate();
    assert_eq!(second.process.finish(), 0, "{}", second.process.stderr());
    backup("original", "backup");
    fs::remove_dir_all(scratch.path().join("original")).expect("the machine is lost");

    // On another machine, at another port, and with nobody named to start from.
    backup("backup", "restored");
    let mut restored = Service::start_with(&scratch, "restored", &args);
    assert_eq!(restored.peer, peer, "it is the same node");
    wait_leaves(&control, 1);
    assert!(
        status(&first_control).expect("it answers")["links"]
            .as_array()
            .is_some_and(|links| { links.iter().any(|link| link["peer_id"] == *peer) })
    );

    // The key alone is enough to be the same.
    restored.process.terminate();
    assert_eq!(restored.process.finish(), 0);
    let key = scratch.file("backup/identity.key");
    let only = Service::start_with(&scratch, "fresh", &["--listen", "127.0.0.1:0", "--identity", &key]);
    assert_eq!(only.peer, peer);
}

#[test]
fn the_service_manager_hears_of_start_and_end() {
    let scratch = Scratch::new().expect("a folder");
    let path = scratch.file("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut command = unamed(["serve", "--json", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::spawn("service", command).expect("it starts");
    let heard = || {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).expect("it says so in time");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(heard(), "READY=1\n");
    process.wait("its address", |event| event["event"] == "listening");
    process.terminate();
    assert_eq!(heard(), "STOPPING=1\n");
    assert_eq!(process.finish(), 0);
}

/// A file of `deploy/`.
fn deployed(name: &str) -> String {
    fs::read_to_string(root().join("deploy").join(name)).expect("the file is there")
}

#[test]
fn the_unit_is_sound_and_exposes_little() {
    let scratch = Scratch::new().expect("a folder");
    let file = scratch.file("unamed.service");
    let unit = deployed("unamed.service");
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/unamed ")).expect("a start");
    fs::write(&file, unit.replace("/usr/local/bin/unamed", &program().to_string_lossy())).expect("a file");
    let analyze = |args: &[&str]| {
        let output = Command::new(needed("systemd-analyze")).args(args).arg(&file).output().expect("it runs");
        let said =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    };
    let (sound, said) = analyze(&["verify", "--man=no"]);
    assert!(sound && !said.contains("unamed.service:"), "{said}");
    let (_, said) = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    let exposure =
        said.split("exposure level for unamed.service: ").nth(1).and_then(|rest| rest.split(' ').next());
    let exposure: f64 = exposure.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(exposure < 2.0, "{said}");

    // What the unit starts, starts.
    fs::write(scratch.path().join("unamed.toml"), "listen = \"127.0.0.1:0\"\njson = true\n").expect("a file");
    let here = scratch.path().to_string_lossy().into_owned();
    let places =
        [("/etc/unamed", here.as_str()), ("/var/lib/unamed", &scratch.file("state")), ("/run/unamed", &here)];
    let args = places.iter().fold(start.to_owned(), |line, (there, here)| line.replace(there, here));
    let mut process = Process::spawn("unit", unamed(args.split(' '))).expect("it starts");
    process.wait("its address", |event| event["event"] == "listening");
    assert!(status(&scratch.file("control")).is_some());
    process.terminate();
    assert_eq!(process.finish(), 0);
}

/// The list of texts after `key` in a line of a Dockerfile or compose file; both write it as JSON.
fn list_after(line: &str, key: &str) -> Option<Vec<String>> {
    let list: Value = line.trim().strip_prefix(key)?.trim().parse().expect("a list");
    Some(list.as_array()?.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
}

#[test]
fn what_the_containers_start_makes_a_network() {
    let scratch = Scratch::new().expect("a folder");
    let (docker, compose) = (deployed("Dockerfile"), deployed("compose.yaml"));
    let entry = docker.lines().find_map(|line| list_after(line, "ENTRYPOINT")).expect("an entry point");
    let check = docker.lines().find_map(|line| list_after(line, "CMD")).expect("a health check");
    assert_eq!((entry[0].as_str(), check[0].as_str()), ("unamed", "unamed"));
    let commands: Vec<Vec<String>> =
        compose.lines().filter_map(|line| list_after(line, "command:")).collect();
    assert_eq!(commands.len(), 3);
    let names = ["first", "second", "third"];
    let places: BTreeMap<&str, String> =
        names.iter().map(|name| (*name, own_address().to_string())).collect();
    // Container by container: names and ports become addresses of this machine, and the volume a folder.
    let here = |index: usize, text: &String| {
        let mut text = text.replace("/var/lib/unamed", &scratch.file(names[index]));
        text = text.replace("0.0.0.0:3001", &places[names[index]]).replace("0.0.0.0:9464", "127.0.0.1:0");
        for (name, place) in &places {
            let (ip, port) = place.split_once(':').expect("a port");
            text = text.replace(&format!("/dns4/{name}/tcp/3001/"), &format!("/ip4/{ip}/tcp/{port}/"));
        }
        text
    };
    let mut processes = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        fs::create_dir(scratch.path().join(names[index])).expect("a volume");
        let args = entry[1..].iter().chain(command).map(|text| here(index, text));
        let mut process =
            Process::spawn(names[index], unamed(args.chain(["--json".to_owned()]))).expect("it starts");
        process.wait("its address", |event| event["event"] == "listening");
        processes.push(process);
    }
    for index in 0..names.len() {
        let args: Vec<String> = check[1..].iter().map(|text| here(index, text)).collect();
        let health = unamed(&args).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(health.status.code(), Some(0), "{args:?}");
        wait_leaves(args.last().expect("the socket"), 2);
    }
}

#[test]
fn the_image_is_built_from_all_that_it_needs() {
    let ignore = deployed("Dockerfile.dockerignore");
    let sent: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let scratch = Scratch::new().expect("a folder");
    for path in &sent {
        let (from, to) = (root().join(path), scratch.path().join(path));
        assert!(from.exists(), "{path} is in the tree");
        copy(&from, &to);
    }
    // Whether cargo finds every member of the workspace, and the lock file as it is to be.
    let args = ["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"];
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).current_dir(scratch.path()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"unamed-tokio\""));
}

/// Copies a file, or a folder but for what is built.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name();
            if !["target", "node_modules", "corpus", "dist"].iter().any(|built| name == *built) {
                copy(&entry.path(), &to.join(name));
            }
        }
    } else {
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).expect("a copy");
    }
}
