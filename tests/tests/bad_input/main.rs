//! What strangers send to a service node, and what they answer it: each row ends with a typed outcome, and the node
//! serves on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use socket::play;
use table::{Expected, Row, Trace, rows};
use unamed_protocol::CloseReason;
use unamed_tests::{Member, Scratch, Service, port, unamed};
use unamed_tokio::{Network, NetworkEvent, NetworkEvents};

mod attacks;
mod socket;
mod table;

/// Resident memory of a process, KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a Linux process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line on memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Plays one row to a service node of its own; what is wrong.
async fn trace(index: usize) -> Option<String> {
    let network = Network::builder().listen("127.0.0.1:0".parse().expect("an address")).start().await;
    let network = network.expect("a free port");
    let port = network.addresses().first().expect("an address").port;
    let mut events = network.events();
    let (name, parts, expected, trace) = rows(port).swap_remove(index);
    let outcome = tokio::task::spawn_blocking(move || play(port, &parts)).await.expect("the row ends");
    if !expected.is_met_by(outcome) {
        return Some(format!("{name}: {outcome:?}, not {expected:?}"));
    }
    let shown = tokio::time::timeout(Duration::from_secs(15), async {
        match trace {
            Trace::Counter(counter) => {
                while value(&network, counter).await == 0 {}
                None
            }
            Trace::Failed(reason) => {
                let seen = failure(&mut events).await;
                let counted = value(&network, "links_failed").await;
                (seen != reason || counted != 1).then(|| format!("{name}: {seen:?}, counted {counted} times"))
            }
        }
    });
    let problem = match shown.await {
        Ok(problem) => problem,
        Err(_) => {
            let seen: Vec<_> = network.metrics().await.into_iter().filter(|(_, value)| *value > 0).collect();
            Some(format!("{name}: no trace {trace:?} in {seen:?}"))
        }
    };
    network.shutdown().await;
    problem
}

async fn value(network: &Network, counter: &str) -> u64 {
    let metrics = network.metrics().await;
    metrics.iter().find(|(name, _)| *name == counter).unwrap_or_else(|| panic!("no counter {counter}")).1
}

async fn failure(events: &mut NetworkEvents) -> CloseReason {
    loop {
        if let NetworkEvent::LinkFailed { reason, .. } = events.next().await.expect("the node runs") {
            return reason;
        }
    }
}

#[test]
fn each_bad_input_leaves_its_trace() {
    let running: Vec<_> = (0..rows(1).len())
        .map(|index| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(trace(index))
            })
        })
        .collect();
    let wrong: Vec<String> = running.into_iter().filter_map(|row| row.join().expect("a row ends")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_bad_input_has_its_outcome_and_the_node_serves_on() {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start(&scratch, "service", &[]);
    let port = port(&service.address);
    let before = resident_kib(service.process.id());
    let mut wrong = Vec::new();
    thread::scope(|scope| {
        let row = |(name, parts, expected, _): Row| scope.spawn(move || (name, play(port, &parts), expected));
        let running: Vec<_> = rows(port).into_iter().map(row).collect();
        for row in running {
            let (name, outcome, expected): (_, _, Expected) = row.join().expect("a row ends");
            if !expected.is_met_by(outcome) {
                wrong.push(format!("{name}: {outcome:?}, not {expected:?}"));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let grown = resident_kib(service.process.id()).saturating_sub(before);
    assert!(grown < 32 * 1024, "the service node grew by {grown} KiB");
    let mut anna = Member::start(&scratch, "anna", "still here", &service.address, &["--stay"]);
    let mut ben = Member::start(&scratch, "ben", "still here", &service.address, &["--stay"]);
    anna.wait_sees(&ben.peer);
    ben.process.say("good morning");
    anna.wait_hears(&ben.peer, "good morning");
    service.process.terminate();
    assert_eq!(service.process.finish(), 0, "{}", service.process.stderr());
}

/// A server that answers each connection with `answer` and then keeps it open without a word.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            open.push(stream);
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}/ws")
}

#[test]
fn a_dial_that_leads_elsewhere_is_named_and_ends() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let stranger = unamed_tests::identity(&scratch.file("stranger"));
    let other = Service::start_with(&scratch, "other", &["--listen", "127.0.0.1:0", "--network", "another"]);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let web: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let table = BTreeMap::from([
        ("nobody listens", format!("/ip4/127.0.0.1/tcp/{free}/ws")),
        ("a peer other than named", service.address.replace(&service.peer, &stranger)),
        ("another network", other.address.clone()),
        ("a web server", answering(web)),
        ("a server that says nothing", answering(b"")),
        ("a server of garbage", answering(&[0xff; 256])),
        ("TLS towards a plain port", service.address.replace("/ws/", "/wss/")),
    ]);
    let judged = thread::scope(|scope| {
        let row = |(name, address): (&'static str, String)| {
            scope.spawn(move || {
                let args = ["room", "elsewhere", "--bootstrap", &address, "--json"];
                let output = unamed(args).stdin(Stdio::null()).output().expect("the program runs");
                (name, address, output)
            })
        };
        let running: Vec<_> = table.into_iter().map(row).collect();
        running.into_iter().map(|row| row.join().expect("a row ends")).collect::<Vec<_>>()
    });
    for (name, address, output) in judged {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{name}: {stderr}");
        assert!(stderr.contains(&address), "{name}: {address} is named: {stderr}");
        assert!(output.stdout.is_empty(), "{name}: {:?}", output.stdout);
    }
}
