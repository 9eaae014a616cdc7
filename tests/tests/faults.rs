//! A disk that is full, a folder that is read-only, and no file descriptors left: the node runs on.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use unamed_protocol::Snapshot;
use unamed_tests::{DEADLINE, Member, Process, Scratch, Service, Usage, limit_descriptors, port, program};

const SERVE: [&str; 5] = ["serve", "--json", "--listen", "127.0.0.1:0", "--state"];

/// Starts `unamed serve` on a state by way of another program, which takes it as its last arguments.
fn serve_under(wrapper: &[&str], state: &str) -> (Process, String) {
    let (first, more) = wrapper.split_first().expect("a program");
    let mut command = Command::new(first);
    command.args(more).arg(program()).args(SERVE).arg(state);
    let mut process = Process::spawn("the node", command).expect("it starts");
    let event = process.wait("its address", |event| event["event"] == "listening");
    let address = event["addresses"][0].as_str().expect("an address").to_owned();
    (process, address)
}

/// A state with an identity and a neighbour in its address book.
fn prepared(scratch: &Scratch, name: &str) -> (Service, Vec<u8>) {
    let neighbour = Service::start(scratch, "neighbour", &[]);
    let mut first = Service::start(scratch, name, &[&neighbour.address]);
    wait_until(&mut first.process, |metrics| metrics["links"] != 0);
    first.process.terminate();
    assert_eq!(first.process.finish(), 0, "{}", first.process.stderr());
    let saved = fs::read(Path::new(&scratch.file(name)).join("state.bin")).expect("the state");
    assert!(!Snapshot::decode(&saved).expect("it is whole").addresses.is_empty());
    (neighbour, saved)
}

#[track_caller]
fn wait_until(process: &mut Process, done: impl Fn(&unamed_tests::Value) -> bool) {
    let until = Instant::now() + DEADLINE;
    loop {
        let metrics = process.metrics();
        if done(&metrics) {
            return;
        }
        assert!(Instant::now() < until, "it comes to that: {metrics}");
    }
}

/// Two people meet through the node, which cannot save: it serves all the same, says so, and leaves the old state alone.
#[track_caller]
fn assert_serves_without_saving(scratch: &Scratch, node: (Process, String), state: &str, saved: &[u8]) {
    let (mut process, address) = node;
    wait_until(&mut process, |metrics| {
        metrics["counters"]["driver_save_failures"] != 0 && metrics["links"] != 0
    });
    let mut anna = Member::start(scratch, "anna", "no disk", &address, &["--stay"]);
    let mut ben = Member::start(scratch, "ben", "no disk", &address, &["--stay"]);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    anna.process.say("it goes on");
    ben.wait_hears(&anna.peer, "it goes on");
    let failures = process.counter("saves_failed");
    process.terminate();
    // The last save fails as well, and is no reason to wait.
    assert_eq!(process.finish(), 0, "{}", process.stderr());
    assert!(failures >= 1);
    let said = "--state: the state could not be saved; the node goes on";
    assert!(process.stderr().contains(said), "{}", process.stderr());
    assert_eq!(fs::read(Path::new(state).join("state.bin")).expect("the state"), saved);
    assert!(!Path::new(state).join("state.bin.new").exists(), "half a file takes no space");
}

#[test]
fn a_node_that_may_write_nothing_runs_on_and_keeps_its_old_state() {
    let scratch = Scratch::new().expect("a folder");
    let state = scratch.file("node");
    let (_neighbour, saved) = prepared(&scratch, "node");
    // Each write beyond the first 0 blocks of a file fails, as on a full disk; the signal that comes with it is ignored.
    let wrapper = ["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""];
    let node = serve_under(&wrapper, &state);
    assert_serves_without_saving(&scratch, node, &state, &saved);
}

#[test]
fn a_node_in_a_read_only_folder_runs_on_from_what_is_there() {
    let scratch = Scratch::new().expect("a folder");
    let state = scratch.file("node");
    let (_neighbour, saved) = prepared(&scratch, "node");
    for name in ["state.lock", "state.bin"] {
        fs::set_permissions(Path::new(&state).join(name), Permissions::from_mode(0o444)).expect("it is ours");
    }
    fs::set_permissions(&state, Permissions::from_mode(0o555)).expect("it is ours");
    // Permissions bind root only where it gives up its privileges.
    let plain = ["env"].as_slice();
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"].as_slice();
    let probe = Path::new(&state).join("probe");
    let node = serve_under(if fs::write(&probe, "").is_ok() { bare } else { plain }, &state);
    let _ = fs::remove_file(&probe);
    assert_serves_without_saving(&scratch, node, &state, &saved);
    fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn a_full_disk_that_has_room_again_is_written_to() {
    let scratch = Scratch::new().expect("a folder");
    let state = scratch.file("node");
    let (_neighbour, saved) = prepared(&scratch, "node");
    // Opened for writing as any file, and full. It goes with the attempt.
    std::os::unix::fs::symlink("/dev/full", Path::new(&state).join("state.bin.new")).expect("a link");
    let (mut process, _) = serve_under(&["env"], &state);
    wait_until(&mut process, |metrics| metrics["counters"]["driver_save_failures"] != 0);
    assert_eq!(fs::read(Path::new(&state).join("state.bin")).expect("the state"), saved);
    let boot = process.metrics()["boot"].as_u64().expect("a number");
    process.terminate();
    assert_eq!(process.finish(), 0, "{}", process.stderr());
    let now = fs::read(Path::new(&state).join("state.bin")).expect("the state");
    let (before, now) = (Snapshot::decode(&saved).expect("whole"), Snapshot::decode(&now).expect("whole"));
    assert_eq!(now.boot, boot, "the last save was written");
    assert!(now.boot > before.boot);
}

#[test]
fn without_file_descriptors_accepting_pauses_and_links_live_on() {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start(&scratch, "service", &[]);
    let mut anna =
        Member::start(&scratch, "anna", "descriptors", &service.address, &["--stay", "--no-webrtc"]);
    let mut ben = Member::start(&scratch, "ben", "descriptors", &service.address, &["--stay", "--no-webrtc"]);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);

    let open = Usage::of(service.process.id()).expect("it runs").descriptors;
    limit_descriptors(service.process.id(), Some(open + 4)).expect("it is ours");
    let flood: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(("127.0.0.1", port(&service.address))).expect("the backlog takes it"))
        .collect();
    wait_until(&mut service.process, |metrics| metrics["counters"]["driver_accept_pauses"] != 0);

    // Each pause is 100 ms: more of them in a time than fit into it would be spinning.
    let (started, before) = (Instant::now(), service.process.counter("driver_accept_pauses"));
    for line in ["one", "two", "three", "four", "five"] {
        anna.process.say(line);
        ben.wait_hears(&anna.peer, line);
        ben.process.say(line);
        anna.wait_hears(&ben.peer, line);
    }
    wait_until(&mut service.process, |metrics| {
        metrics["counters"]["driver_accept_pauses"].as_u64().is_some_and(|pauses| pauses >= before + 3)
    });
    let pauses = service.process.counter("driver_accept_pauses") - before;
    let fit = started.elapsed().as_millis() / 100 + 1;
    assert!(u128::from(pauses) <= fit, "{pauses} pauses where {fit} fit: it spins");
    let accepted = service.process.counter("driver_accepted");
    assert!(accepted < 40, "{accepted} were accepted, there is no room for that");

    // Room again: newcomers are taken in.
    drop(flood);
    limit_descriptors(service.process.id(), None).expect("it is ours");
    let mut cara =
        Member::start(&scratch, "cara", "descriptors", &service.address, &["--stay", "--no-webrtc"]);
    cara.wait_sees(&anna.peer);
    anna.process.say("welcome");
    cara.wait_hears(&anna.peer, "welcome");
}
