//! What strangers send to a service node, and what they answer it: each row ends with a typed outcome, and the node
//! serves on.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use socket::{Outcome, frame, frame_claiming, play, request, upgrade};
use unamed_protocol::{CloseReason, NetworkId};
use unamed_tests::{Member, Scratch, Service, port, unamed};

mod socket;

/// What a row must come to.
enum Expected {
    /// No upgrade, this HTTP status, and the end.
    Status(u16),
    /// No upgrade and the end, with a status or without.
    NoUpgrade,
    /// An upgrade, a refusal that says why, and the end.
    Refused(CloseReason),
    /// An upgrade, and the end.
    Ended,
}

impl Expected {
    fn is_met_by(&self, outcome: Outcome) -> bool {
        let upgraded = outcome.status == Some(101);
        outcome.ended
            && match self {
                Self::Status(status) => outcome.status == Some(*status),
                Self::NoUpgrade => !upgraded,
                Self::Refused(reason) => upgraded && outcome.refused == Some(*reason as u8),
                Self::Ended => upgraded,
            }
    }
}

type Row = (&'static str, Vec<Vec<u8>>, Expected);

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

/// What the original sends first.
const ORIGINAL: &[u8] =
    br#"{"type":"connect","id":"8f14e45fceea167a5a36dedd4bea2543","rooms":["demo"],"ping":true}"#;

/// The first bytes of a TLS 1.2 or 1.3 client.
const TLS: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03];

fn before_the_upgrade(port: u16) -> Vec<Row> {
    let host = format!("127.0.0.1:{port}");
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let headers = |count: usize, bytes: usize| -> String {
        (0..count).map(|number| format!("X-{number}: {}\r\n", "x".repeat(bytes))).collect()
    };
    let plain = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    vec![
        ("garbage", vec![vec![0xff; 512]], Expected::NoUpgrade),
        ("the original's JSON on the bare socket", vec![ORIGINAL.to_vec()], Expected::NoUpgrade),
        ("TLS on a plain port", vec![TLS.to_vec()], Expected::NoUpgrade),
        ("half a request", vec![plain.as_bytes()[..20].to_vec()], Expected::NoUpgrade),
        ("silence", vec![Vec::new()], Expected::NoUpgrade),
        ("plain HTTP", vec![plain.clone().into_bytes()], Expected::Status(426)),
        ("another method", vec![request("POST", &host, key, 13)], Expected::Status(405)),
        ("no key", vec![request("GET", &host, "", 13)], Expected::Status(400)),
        (
            "a short key",
            vec![request("GET", &host, "Sec-WebSocket-Key: AAAA\r\n", 13)],
            Expected::Status(400),
        ),
        ("an old version", vec![request("GET", &host, key, 12)], Expected::Status(426)),
        ("9 KiB of headers", vec![upgrade(port, &headers(9, 1000))], Expected::Status(431)),
        ("125 headers", vec![upgrade(port, &headers(125, 1))], Expected::Status(431)),
        ("a foreign page", vec![upgrade(port, "Origin: https://evil.example\r\n")], Expected::Status(403)),
        ("a page without origin", vec![upgrade(port, "Origin: null\r\n")], Expected::Status(403)),
        ("a rebound name", vec![request("GET", "evil.example", key, 13)], Expected::Status(403)),
    ]
}

fn websocket_violations(port: u16) -> Vec<Row> {
    let mut unmasked = frame(BINARY, b"0123");
    unmasked[1] &= 0x7f;
    let frames = |frames: Vec<u8>| vec![upgrade(port, ""), frames];
    vec![
        ("the original's JSON", frames(frame(TEXT, ORIGINAL)), Expected::Ended),
        ("a frame without mask", frames(unmasked), Expected::Ended),
        ("reserved bits", frames(frame(BINARY | 0x70, b"0123")), Expected::Ended),
        ("a reserved opcode", frames(frame(0x83, b"0123")), Expected::Ended),
        ("a frame of 64 KiB", frames(frame(BINARY, &vec![0; 65_536])), Expected::Ended),
        ("a frame that claims 2^62 bytes", frames(frame_claiming(BINARY, 1 << 62, b"0")), Expected::Ended),
        ("a frame that claims 2^63 bytes", frames(frame_claiming(BINARY, 1 << 63, b"0")), Expected::Ended),
        ("a truncated frame", frames(frame_claiming(BINARY, 100, b"0")), Expected::Ended),
        ("a continuation of nothing", frames(frame(0x80, b"0123")), Expected::Ended),
        ("a message of 10^5 empty fragments", frames(fragments(100_000)), Expected::Ended),
        ("a ping of 126 bytes", frames(frame(PING, &[0; 126])), Expected::Ended),
        ("10^4 pings", frames(frame(PING, b"").repeat(10_000)), Expected::Ended),
        ("a close of one byte", frames(frame(0x88, b"0")), Expected::Ended),
        ("a close with code 999", frames(frame(0x88, &999_u16.to_be_bytes())), Expected::Ended),
    ]
}

fn fragments(count: usize) -> Vec<u8> {
    let mut out = frame(0x02, b"");
    out.extend(frame(0x00, b"").repeat(count));
    out
}

fn handshake_violations(port: u16) -> Vec<Row> {
    let tag = NetworkId::new("unamed").expect("the default network").tag();
    let hello = |version: u8, offered: &[u8], tag: [u8; 8], noise: &[u8]| {
        let mut out = vec![version, 0];
        out.extend(b"unamed");
        out.push(u8::try_from(offered.len()).expect("few versions"));
        out.extend(offered);
        out.extend(tag);
        out.extend(noise);
        frame(BINARY, &out)
    };
    let frames = |frames: Vec<Vec<u8>>| [vec![upgrade(port, "")], frames].concat();
    let good = hello(1, &[1], tag, &[9; 32]);
    let unfinished = || frames(vec![good.clone()]);
    let with = |third: Vec<u8>| frames(vec![good.clone(), frame(BINARY, &third)]);
    vec![
        ("an empty frame", frames(vec![frame(BINARY, b"")]), Expected::Refused(CloseReason::NotOurProtocol)),
        (
            "random bytes",
            frames(vec![frame(BINARY, &[0xa5; 48])]),
            Expected::Refused(CloseReason::NotOurProtocol),
        ),
        (
            "JSON in binary",
            frames(vec![frame(BINARY, ORIGINAL)]),
            Expected::Refused(CloseReason::NotOurProtocol),
        ),
        (
            "another network",
            frames(vec![hello(1, &[1], [7; 8], &[9; 32])]),
            Expected::Refused(CloseReason::WrongNetwork),
        ),
        (
            "another version",
            frames(vec![hello(9, &[9], tag, &[9; 32])]),
            Expected::Refused(CloseReason::VersionMismatch),
        ),
        (
            "a truncated hello",
            frames(vec![hello(1, &[1], tag, &[9; 5])]),
            Expected::Refused(CloseReason::Handshake),
        ),
        (
            "a hello of 1,500 bytes",
            frames(vec![hello(1, &[1], tag, &[9; 1500])]),
            Expected::Refused(CloseReason::TooLarge),
        ),
        (
            "a key of low order",
            frames(vec![hello(1, &[1], tag, &[0; 32])]),
            Expected::Refused(CloseReason::Handshake),
        ),
        (
            "data before the handshake",
            frames(vec![frame(BINARY, &[1, 3, 0, 0])]),
            Expected::Refused(CloseReason::Handshake),
        ),
        (
            "a third message of garbage",
            with([vec![1, 2], vec![0xa5; 200]].concat()),
            Expected::Refused(CloseReason::Handshake),
        ),
        ("a third message that is cut", with(vec![1, 2]), Expected::Refused(CloseReason::Handshake)),
        ("no first message", frames(Vec::new()), Expected::Ended),
        ("no third message", unfinished(), Expected::Ended),
    ]
}

/// Resident memory of a process, KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a Linux process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line on memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn each_bad_input_has_its_outcome_and_the_node_serves_on() {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start(&scratch, "service", &[]);
    let port = port(&service.address);
    let before = resident_kib(service.process.id());
    let mut wrong = Vec::new();
    for table in [before_the_upgrade(port), websocket_violations(port), handshake_violations(port)] {
        let judged = thread::scope(|scope| {
            let row =
                |(name, parts, expected): Row| scope.spawn(move || (name, play(port, &parts), expected));
            let running: Vec<_> = table.into_iter().map(row).collect();
            running.into_iter().map(|row| row.join().expect("a row ends")).collect::<Vec<_>>()
        });
        let unmet = judged.into_iter().filter(|(_, outcome, expected)| !expected.is_met_by(*outcome));
        wrong.extend(unmet.map(|(name, outcome, _)| format!("{name}: {outcome:?}")));
    }
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
