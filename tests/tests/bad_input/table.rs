//! The bad inputs, each with what it must come to.

use unamed_protocol::{CloseReason, NetworkId};

use crate::socket::{Outcome, frame, frame_claiming, request, upgrade};

/// What a row must come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// No upgrade, this HTTP status, and the end.
    Status(u16),
    /// No upgrade and the end, with a status or without.
    NoUpgrade,
    /// An upgrade, a refusal in the clear that says why, and the end.
    Refused(CloseReason),
    /// An upgrade, and the end.
    Ended,
}

impl Expected {
    pub(crate) fn is_met_by(self, outcome: Outcome) -> bool {
        let upgraded = outcome.status == Some(101);
        outcome.ended
            && match self {
                Self::Status(status) => outcome.status == Some(status),
                Self::NoUpgrade => !upgraded,
                Self::Refused(reason) => upgraded && outcome.refused == Some(reason as u8),
                Self::Ended => upgraded,
            }
    }
}

/// Where the service node shows what it met.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trace {
    /// A counter of the driver is not zero.
    Counter(&'static str),
    /// The link failed for this reason, and was counted.
    Failed(CloseReason),
}

use Trace::{Counter, Failed};

/// Name, what is sent, what the sender sees, and what the service node shows.
pub(crate) type Row = (&'static str, Vec<Vec<u8>>, Expected, Trace);

/// All rows for a service node on `port`.
pub(crate) fn rows(port: u16) -> Vec<Row> {
    [before_the_upgrade(port), websocket_violations(port), handshake_violations(port)]
        .into_iter()
        .flatten()
        .collect()
}

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
        ("garbage", vec![vec![0xff; 512]], Expected::NoUpgrade, Counter("driver_refused_bad_request")),
        (
            "the original's JSON on the bare socket",
            vec![ORIGINAL.to_vec()],
            Expected::NoUpgrade,
            Counter("driver_refused_bad_request"),
        ),
        (
            "TLS on a plain port",
            vec![TLS.to_vec()],
            Expected::NoUpgrade,
            Counter("driver_refused_bad_request"),
        ),
        (
            "half a request",
            vec![plain.as_bytes()[..20].to_vec()],
            Expected::NoUpgrade,
            Counter("driver_upgrade_timeouts"),
        ),
        ("silence", vec![Vec::new()], Expected::NoUpgrade, Counter("driver_upgrade_timeouts")),
        (
            "plain HTTP",
            vec![plain.clone().into_bytes()],
            Expected::Status(426),
            Counter("driver_refused_bad_request"),
        ),
        (
            "another method",
            vec![request("POST", &host, key, 13)],
            Expected::Status(405),
            Counter("driver_refused_bad_request"),
        ),
        (
            "no key",
            vec![request("GET", &host, "", 13)],
            Expected::Status(400),
            Counter("driver_refused_bad_request"),
        ),
        (
            "a short key",
            vec![request("GET", &host, "Sec-WebSocket-Key: AAAA\r\n", 13)],
            Expected::Status(400),
            Counter("driver_refused_bad_request"),
        ),
        (
            "an old version",
            vec![request("GET", &host, key, 12)],
            Expected::Status(426),
            Counter("driver_refused_bad_request"),
        ),
        (
            "9 KiB of headers",
            vec![upgrade(port, &headers(9, 1000))],
            Expected::Status(431),
            Counter("driver_refused_bad_request"),
        ),
        (
            "125 headers",
            vec![upgrade(port, &headers(125, 1))],
            Expected::Status(431),
            Counter("driver_refused_bad_request"),
        ),
        (
            "a foreign page",
            vec![upgrade(port, "Origin: https://evil.example\r\n")],
            Expected::Status(403),
            Counter("driver_refused_origin"),
        ),
        (
            "a page without origin",
            vec![upgrade(port, "Origin: null\r\n")],
            Expected::Status(403),
            Counter("driver_refused_origin"),
        ),
        (
            "a rebound name",
            vec![request("GET", "evil.example", key, 13)],
            Expected::Status(403),
            Counter("driver_refused_host"),
        ),
    ]
}

fn websocket_violations(port: u16) -> Vec<Row> {
    let mut unmasked = frame(BINARY, b"0123");
    unmasked[1] &= 0x7f;
    let frames = |frames: Vec<u8>| vec![upgrade(port, ""), frames];
    vec![
        (
            "the original's JSON",
            frames(frame(TEXT, ORIGINAL)),
            Expected::Ended,
            Counter("driver_violations_text_frame"),
        ),
        ("a frame without mask", frames(unmasked), Expected::Ended, Counter("driver_violations_protocol")),
        (
            "reserved bits",
            frames(frame(BINARY | 0x70, b"0123")),
            Expected::Ended,
            Counter("driver_violations_protocol"),
        ),
        (
            "a reserved opcode",
            frames(frame(0x83, b"0123")),
            Expected::Ended,
            Counter("driver_violations_protocol"),
        ),
        (
            "a frame of 64 KiB",
            frames(frame(BINARY, &vec![0; 65_536])),
            Expected::Ended,
            Counter("driver_violations_too_large"),
        ),
        (
            "a frame that claims 2^62 bytes",
            frames(frame_claiming(BINARY, 1 << 62, b"0")),
            Expected::Ended,
            Counter("driver_violations_too_large"),
        ),
        (
            "a frame that claims 2^63 bytes",
            frames(frame_claiming(BINARY, 1 << 63, b"0")),
            Expected::Ended,
            Counter("driver_violations_too_large"),
        ),
        (
            "a truncated frame",
            frames(frame_claiming(BINARY, 100, b"0")),
            Expected::Ended,
            Failed(CloseReason::HandshakeTimeout),
        ),
        (
            "a continuation of nothing",
            frames(frame(0x80, b"0123")),
            Expected::Ended,
            Counter("driver_violations_protocol"),
        ),
        (
            "a message of 10^5 empty fragments",
            frames(fragments(100_000)),
            Expected::Ended,
            Counter("driver_violations_frame_budget"),
        ),
        (
            "a ping of 126 bytes",
            frames(frame(PING, &[0; 126])),
            Expected::Ended,
            Counter("driver_violations_protocol"),
        ),
        (
            "10^4 pings",
            frames(frame(PING, b"").repeat(10_000)),
            Expected::Ended,
            Counter("driver_violations_ping_rate"),
        ),
        (
            "a close of one byte",
            frames(frame(0x88, b"0")),
            Expected::Ended,
            Counter("driver_violations_protocol"),
        ),
        (
            "a close with code 999",
            frames(frame(0x88, &999_u16.to_be_bytes())),
            Expected::Ended,
            Failed(CloseReason::Closed),
        ),
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
        (
            "an empty frame",
            frames(vec![frame(BINARY, b"")]),
            Expected::Ended,
            Failed(CloseReason::NotOurProtocol),
        ),
        (
            "random bytes",
            frames(vec![frame(BINARY, &[0xa5; 48])]),
            Expected::Ended,
            Failed(CloseReason::NotOurProtocol),
        ),
        (
            "JSON in binary",
            frames(vec![frame(BINARY, ORIGINAL)]),
            Expected::Ended,
            Failed(CloseReason::NotOurProtocol),
        ),
        (
            "another network",
            frames(vec![hello(1, &[1], [7; 8], &[9; 32])]),
            Expected::Refused(CloseReason::WrongNetwork),
            Failed(CloseReason::WrongNetwork),
        ),
        (
            "another version",
            frames(vec![hello(9, &[9], tag, &[9; 32])]),
            Expected::Refused(CloseReason::VersionMismatch),
            Failed(CloseReason::VersionMismatch),
        ),
        (
            "a truncated hello",
            frames(vec![hello(1, &[1], tag, &[9; 5])]),
            Expected::Ended,
            Failed(CloseReason::Handshake),
        ),
        (
            "a hello of 1,500 bytes",
            frames(vec![hello(1, &[1], tag, &[9; 1500])]),
            Expected::Ended,
            Failed(CloseReason::TooLarge),
        ),
        (
            "a key of low order",
            frames(vec![hello(1, &[1], tag, &[0; 32])]),
            Expected::Ended,
            Failed(CloseReason::Handshake),
        ),
        (
            "data before the handshake",
            frames(vec![frame(BINARY, &[1, 3, 0, 0])]),
            Expected::Ended,
            Failed(CloseReason::Handshake),
        ),
        (
            "a third message of garbage",
            with([vec![1, 2], vec![0xa5; 200]].concat()),
            Expected::Ended,
            Failed(CloseReason::Handshake),
        ),
        ("a third message that is cut", with(vec![1, 2]), Expected::Ended, Failed(CloseReason::Handshake)),
        ("no first message", frames(Vec::new()), Expected::Ended, Failed(CloseReason::HandshakeTimeout)),
        ("no third message", unfinished(), Expected::Ended, Failed(CloseReason::HandshakeTimeout)),
    ]
}
