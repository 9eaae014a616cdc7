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
    [before_http(port), requests(port), websocket_violations(port), handshake_violations(port)].concat()
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// What the original sends first.
const ORIGINAL: &[u8] =
    br#"{"type":"connect","id":"8f14e45fceea167a5a36dedd4bea2543","rooms":["demo"],"ping":true}"#;

/// The first bytes of a TLS 1.2 or 1.3 client.
const TLS: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03];

fn before_http(port: u16) -> Vec<Row> {
    let half = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}");
    let bad = Counter("driver_refused_bad_request");
    let slow = Counter("driver_upgrade_timeouts");
    let rows: [(&str, &[u8], Trace); 5] = [
        ("b17 garbage", &[0xff; 512], bad),
        ("b15 the original's JSON on the bare socket", ORIGINAL, bad),
        ("TLS on a plain port", TLS, bad),
        ("b62 half a request", half.as_bytes(), slow),
        ("b62 silence", b"", slow),
    ];
    rows.map(|(name, bytes, trace)| (name, vec![bytes.to_vec()], Expected::NoUpgrade, trace)).into()
}

fn requests(port: u16) -> Vec<Row> {
    let host = format!("127.0.0.1:{port}");
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let headers = |count: usize, bytes: usize| -> String {
        (0..count).map(|number| format!("X-{number}: {}\r\n", "x".repeat(bytes))).collect()
    };
    let plain = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let short = request("GET", &host, "Sec-WebSocket-Key: AAAA\r\n", 13);
    let foreign = upgrade(port, "Origin: https://evil.example\r\n");
    let rows = [
        ("plain HTTP", plain, 426, "driver_refused_bad_request"),
        ("another method", request("POST", &host, key, 13), 405, "driver_refused_bad_request"),
        ("b61 no key", request("GET", &host, "", 13), 400, "driver_refused_bad_request"),
        ("b61 a short key", short, 400, "driver_refused_bad_request"),
        ("b61 an old version", request("GET", &host, key, 12), 426, "driver_refused_bad_request"),
        ("b62 9 KiB of headers", upgrade(port, &headers(9, 1000)), 431, "driver_refused_bad_request"),
        ("b62 125 headers", upgrade(port, &headers(125, 1)), 431, "driver_refused_bad_request"),
        ("b63 a foreign page", foreign, 403, "driver_refused_origin"),
        ("b63 a page without origin", upgrade(port, "Origin: null\r\n"), 403, "driver_refused_origin"),
        ("b64 a rebound name", request("GET", "evil.example", key, 13), 403, "driver_refused_host"),
    ];
    rows.map(|(name, bytes, status, counter)| (name, vec![bytes], Expected::Status(status), Counter(counter)))
        .into()
}

fn websocket_violations(port: u16) -> Vec<Row> {
    let mut unmasked = frame(BINARY, b"0123");
    unmasked[1] &= 0x7f;
    let protocol = Counter("driver_violations_protocol");
    let large = Counter("driver_violations_too_large");
    let rows = [
        ("b15 b16 the original's JSON", frame(TEXT, ORIGINAL), Counter("driver_violations_text_frame")),
        ("b65 a frame without mask", unmasked, protocol),
        ("b65 reserved bits", frame(BINARY | 0x70, b"0123"), protocol),
        ("b65 a reserved opcode", frame(0x83, b"0123"), protocol),
        ("b67 a frame of 64 KiB", frame(BINARY, &vec![0; 65_536]), large),
        ("b67 a frame that claims 2^62 bytes", frame_claiming(BINARY, 1 << 62, b"0"), large),
        ("b67 a frame that claims 2^63 bytes", frame_claiming(BINARY, 1 << 63, b"0"), large),
        ("b67 a truncated frame", frame_claiming(BINARY, 100, b"0"), Failed(CloseReason::HandshakeTimeout)),
        ("b65 a continuation of nothing", frame(0x80, b"0123"), protocol),
        (
            "b68 a message of 10^5 empty fragments",
            fragments(100_000),
            Counter("driver_violations_frame_budget"),
        ),
        ("b69 a ping of 126 bytes", frame(PING, &[0; 126]), protocol),
        ("b69 10^4 pings", frame(PING, b"").repeat(10_000), Counter("driver_violations_ping_rate")),
        ("b70 a close of one byte", frame(CLOSE, b"0"), protocol),
        ("b70 a close with code 999", frame(CLOSE, &999_u16.to_be_bytes()), protocol),
        (
            "b70 a close of bad UTF-8",
            frame(CLOSE, &[0x03, 0xe8, 0xff, 0xfe]),
            Counter("driver_violations_text_frame"),
        ),
        ("b66 compressed without having agreed", frame(BINARY | 0x40, b"0123"), protocol),
    ];
    rows.map(|(name, bytes, trace)| (name, vec![upgrade(port, ""), bytes], Expected::Ended, trace)).into()
}

fn fragments(count: usize) -> Vec<u8> {
    let mut out = frame(0x02, b"");
    out.extend(frame(0x00, b"").repeat(count));
    out
}

/// The first frame of a handshake.
fn hello(version: u8, offered: &[u8], tag: [u8; 8], noise: &[u8]) -> Vec<u8> {
    let count = u8::try_from(offered.len()).expect("few versions");
    let preamble = [b"unamed", [count].as_slice(), offered, &tag].concat();
    frame(BINARY, &[[version, 0].as_slice(), &preamble, noise].concat())
}

fn handshake_violations(port: u16) -> Vec<Row> {
    let tag = NetworkId::new("unamed").expect("the default network").tag();
    let good = hello(1, &[1], tag, &[9; 32]);
    let third = |body: &[u8]| vec![good.clone(), frame(BINARY, body)];
    let garbage = [[1, 2].as_slice(), &[0xa5; 200]].concat();
    let rows = [
        ("b1 b17 an empty frame", vec![frame(BINARY, b"")], CloseReason::NotOurProtocol),
        ("b17 random bytes", vec![frame(BINARY, &[0xa5; 48])], CloseReason::NotOurProtocol),
        ("b15 JSON in binary", vec![frame(BINARY, ORIGINAL)], CloseReason::NotOurProtocol),
        ("b22 another network", vec![hello(1, &[1], [7; 8], &[9; 32])], CloseReason::WrongNetwork),
        ("b5 another version", vec![hello(9, &[9], tag, &[9; 32])], CloseReason::VersionMismatch),
        ("b17 a truncated hello", vec![hello(1, &[1], tag, &[9; 5])], CloseReason::Handshake),
        ("b17 a hello of 1,500 bytes", vec![hello(1, &[1], tag, &[9; 1500])], CloseReason::TooLarge),
        ("b18 a key of low order", vec![hello(1, &[1], tag, &[0; 32])], CloseReason::Handshake),
        ("b27 data before the handshake", vec![frame(BINARY, &[1, 3, 0, 0])], CloseReason::Handshake),
        ("b25 a third message of garbage", third(&garbage), CloseReason::Handshake),
        ("b25 a third message that is cut", third(&[1, 2]), CloseReason::Handshake),
        ("b26 no first message", Vec::new(), CloseReason::HandshakeTimeout),
        ("b26 no third message", vec![good.clone()], CloseReason::HandshakeTimeout),
    ];
    let row = |(name, frames, reason): (&'static str, Vec<Vec<u8>>, CloseReason)| {
        // Only these two are worth an answer: whoever gets it speaks the protocol.
        let answered = [CloseReason::WrongNetwork, CloseReason::VersionMismatch].contains(&reason);
        let expected = if answered { Expected::Refused(reason) } else { Expected::Ended };
        (name, [vec![upgrade(port, "")], frames].concat(), expected, Failed(reason))
    };
    rows.map(row).into()
}
