//! What a listener answers to whatever comes in, over real sockets.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use unamed_tokio::{Network, NetworkBuilder, ServerLimits};

const DEADLINE: Duration = Duration::from_secs(10);

async fn node(change: impl FnOnce(NetworkBuilder) -> NetworkBuilder) -> (Network, u16) {
    let builder = Network::builder().listen("127.0.0.1:0".parse().unwrap());
    let network = change(builder).start().await.unwrap();
    let port = network.addresses()[0].port;
    (network, port)
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Everything the other side says until it closes.
async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the answer is as good as a close.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the socket closes");
    bytes
}

fn request(extra: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

/// An upgraded socket without any library on this side.
async fn upgraded(port: u16) -> TcpStream {
    let mut stream = connect(port).await;
    stream.write_all(request("").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

async fn metric(network: &Network, name: &str) -> u64 {
    network.metrics().await.into_iter().find(|(one, _)| *one == name).map(|(_, value)| value).expect(name)
}

/// A frame of a client, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(0x80 | len as u8),
        len @ ..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The code of the close frame among `frames`, all of which are short.
fn close_code(mut frames: &[u8]) -> Option<u16> {
    while let [first, len, rest @ ..] = frames {
        let (payload, rest) = rest.split_at_checked(usize::from(*len & 0x7F))?;
        if *first == 0x88 {
            return Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
        }
        frames = rest;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_upgrade_gets_an_http_answer() {
    let (network, port) = node(|builder| builder).await;
    let long = format!("X-Long: {}\r\n", "x".repeat(9 * 1024));
    let cases: [(Vec<u8>, &str, &str); 9] = [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".into(), "426", "driver_refused_bad_request"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".into(), "405", "driver_refused_bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".into(), "400", "driver_refused_bad_request"),
        (b"{\"type\":\"find\"}".into(), "400", "driver_refused_bad_request"),
        (request(&long).into(), "431", "driver_refused_bad_request"),
        (request("Sec-WebSocket-Version: 12\r\n").into(), "400", "driver_refused_bad_request"),
        (request("Origin: https://evil.example\r\n").into(), "403", "driver_refused_origin"),
        (request("Origin: null\r\n").into(), "403", "driver_refused_origin"),
        (
            request("").replace("Host: 127.0.0.1", "Host: rebound.example").into(),
            "403",
            "driver_refused_host",
        ),
    ];
    for (bytes, status, counter) in cases {
        let before = metric(&network, counter).await;
        let mut stream = connect(port).await;
        stream.write_all(&bytes).await.unwrap();
        let answer = read_all(&mut stream).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(metric(&network, counter).await, before + 1, "{answer}");
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_are_closed_with_their_code() {
    let (network, port) = node(|builder| builder).await;
    let mut claimed = vec![0x82, 0xFF];
    claimed.extend((1_u64 << 62).to_be_bytes());
    claimed.extend([0; 4]);
    let mut continuations = frame(0x02, b"");
    for _ in 0..100_000 {
        continuations.extend(frame(0x00, b""));
    }
    let pings = frame(0x89, b"ping").repeat(1000);
    let cases: [(&str, Vec<u8>, u16, &str); 10] = [
        ("text frame", frame(0x81, b"hello"), 1003, "driver_violations_text_frame"),
        ("text that is no UTF-8", frame(0x81, b"\xFF\xFF"), 1003, "driver_violations_text_frame"),
        ("frame above the limit", frame(0x82, &[0; 16 * 1024 + 1]), 1009, "driver_violations_too_large"),
        ("frame that claims 2^62 bytes", claimed, 1009, "driver_violations_too_large"),
        (
            "fragments above the limit",
            [frame(0x02, &[0; 16 * 1024]), frame(0x80, &[0; 1])].concat(),
            1009,
            "driver_violations_too_large",
        ),
        ("empty continuations", continuations, 1008, "driver_violations_frame_budget"),
        ("pings", pings, 1008, "driver_violations_ping_rate"),
        ("ping of 126 bytes", frame(0x89, &[0; 126]), 1002, "driver_violations_protocol"),
        ("reserved bit", frame(0xC2, b"x"), 1002, "driver_violations_protocol"),
        ("unmasked frame", vec![0x82, 0x01, b'x'], 1002, "driver_violations_protocol"),
    ];
    for (what, bytes, code, counter) in cases {
        let before = metric(&network, counter).await;
        let mut stream = upgraded(port).await;
        // The other side may close while this side still sends.
        let _ = stream.write_all(&bytes).await;
        assert_eq!(close_code(&read_all(&mut stream).await), Some(code), "{what}");
        assert_eq!(metric(&network, counter).await, before + 1, "{what}");
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handful_of_pings_is_answered() {
    let (network, port) = node(|builder| builder).await;
    let mut stream = upgraded(port).await;
    stream.write_all(&frame(0x89, b"one")).await.unwrap();
    let mut pong = [0; 5];
    timeout(DEADLINE, stream.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\x8A\x03one");
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_cut_off() {
    let (network, port) = node(|builder| builder).await;
    let started = Instant::now();
    let mut silent = connect(port).await;
    let mut slow = connect(port).await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    assert_eq!(read_all(&mut silent).await, b"");
    assert_eq!(read_all(&mut slow).await, b"");
    assert!(started.elapsed() >= Duration::from_secs(4));
    // Counted after the socket is closed.
    let counted = async {
        while metric(&network, "driver_upgrade_timeouts").await != 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.unwrap();
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_above_a_bound_are_refused_and_the_others_unharmed() {
    for (limits, status, counter) in [
        (
            ServerLimits { connections_per_ip: 3, count_loopback: true, ..ServerLimits::default() },
            "429",
            "driver_refused_per_ip",
        ),
        (ServerLimits { connections: 3, ..ServerLimits::default() }, "503", "driver_refused_total"),
    ] {
        let (network, port) = node(|builder| builder.server_limits(limits)).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(upgraded(port).await);
        }
        let mut refused = connect(port).await;
        let answer = read_all(&mut refused).await;
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{status}");
        assert_eq!(metric(&network, counter).await, 1);
        for stream in &mut held {
            stream.write_all(&frame(0x89, b"one")).await.unwrap();
            let mut pong = [0; 5];
            timeout(DEADLINE, stream.read_exact(&mut pong)).await.unwrap().unwrap();
            assert_eq!(&pong, b"\x8A\x03one");
        }
        network.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_client_is_limited_and_unclear_headers_are_answered() {
    let limits = ServerLimits { connections_per_ip: 1, ..ServerLimits::default() };
    let proxied = |builder: NetworkBuilder| {
        builder.server_limits(limits).trusted_proxy("127.0.0.1/32".parse().unwrap())
    };
    let (network, port) = node(proxied).await;
    let asked = async |headers: &str| {
        let mut stream = connect(port).await;
        stream.write_all(request(headers).as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(DEADLINE, stream.read_exact(&mut status)).await.unwrap().unwrap();
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let (_held, status) = asked("X-Forwarded-For: 6.6.6.6, 203.0.113.1\r\n").await;
    assert_eq!(status, "HTTP/1.1 101");
    let cases = [
        ("X-Forwarded-For: 203.0.113.1\r\n", "HTTP/1.1 429", "driver_refused_per_ip"),
        ("Forwarded: for=203.0.113.1\r\n", "HTTP/1.1 429", "driver_refused_per_ip"),
        (
            "X-Forwarded-For: 203.0.113.2\r\nForwarded: for=6.6.6.6\r\n",
            "HTTP/1.1 400",
            "driver_refused_forwarded",
        ),
        ("X-Forwarded-For: unknown\r\n", "HTTP/1.1 400", "driver_refused_forwarded"),
        ("Forwarded: for=\"203.0.113.2\r\n", "HTTP/1.1 400", "driver_refused_forwarded"),
        // From the internet by its proxy, as on a public listener.
        (
            "X-Forwarded-For: 203.0.113.2\r\nOrigin: https://page.example\r\n",
            "HTTP/1.1 403",
            "driver_refused_origin",
        ),
        (
            "X-Forwarded-For: 93.184.216.34\r\nOrigin: https://page.example\r\n",
            "HTTP/1.1 101",
            "driver_origin_foreign",
        ),
        (
            "X-Forwarded-For: 127.0.0.1\r\nOrigin: https://page.example\r\n",
            "HTTP/1.1 403",
            "driver_refused_origin",
        ),
    ];
    for (headers, expected, counter) in cases {
        let before = metric(&network, counter).await;
        let (_stream, status) = asked(headers).await;
        assert_eq!((status.as_str(), metric(&network, counter).await), (expected, before + 1), "{headers}");
    }
    network.shutdown().await;

    // From elsewhere, the headers are anybody's word.
    let (network, port) = node(|builder| builder.trusted_proxy("10.0.0.0/8".parse().unwrap())).await;
    let mut stream = connect(port).await;
    stream.write_all(request("X-Forwarded-For: nonsense\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    assert_eq!(metric(&network, "driver_forwarded").await, 0);
    network.shutdown().await;
}
