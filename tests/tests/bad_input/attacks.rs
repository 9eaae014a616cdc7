//! Attacks that are about sockets, by the numbers of `docs/security.md`. Each plays against a service node of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use unamed_protocol::CloseReason;
use unamed_tests::{Scratch, Service, port};
use unamed_tokio::Network;

use crate::socket::{frame, play, request, upgrade};
use crate::{failure, value};

const BINARY: u8 = 0x82;
const DEADLINE: Duration = Duration::from_secs(25);

async fn service() -> (Network, u16) {
    let network = Network::builder().listen("127.0.0.1:0".parse().expect("an address")).start().await;
    let network = network.expect("a free port");
    let port = network.addresses().first().expect("an address").port;
    (network, port)
}

/// Waits until a counter is what it shall be.
async fn counted(network: &Network, counter: &str, times: u64) {
    let counting = async {
        while value(network, counter).await < times {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, counting).await;
    assert!(in_time.is_ok(), "{counter} is {}, not {times}", value(network, counter).await);
    assert_eq!(value(network, counter).await, times, "{counter}");
}

/// Sends bytes one at a time with pauses until the server ends the connection; how many it took. At most `bytes.len()`.
fn drip(mut stream: TcpStream, bytes: &[u8], pause: Duration) -> usize {
    stream.set_read_timeout(Some(pause)).expect("a timeout");
    for (sent, byte) in bytes.iter().enumerate() {
        if stream.write_all(&[*byte]).is_err() {
            return sent;
        }
        // The pause is spent in listening for the end.
        if matches!(stream.read(&mut [0; 512]), Ok(0)) {
            return sent;
        }
    }
    bytes.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a43_slowloris_upgrade() {
    let (network, port) = service().await;
    let drips: Vec<_> = (0..20)
        .map(|_| {
            thread::spawn(move || {
                let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
                // A good request, which would take half a minute.
                let whole = upgrade(port, &format!("X-Padding: {}\r\n", "x".repeat(100)));
                (drip(stream, &whole, Duration::from_millis(100)), whole.len())
            })
        })
        .collect();
    for drip in drips {
        let (sent, whole) = drip.join().expect("it ends");
        assert!(sent < whole, "{sent} bytes of {whole} were waited for");
    }
    counted(&network, "driver_upgrade_timeouts", 20).await;
    assert_eq!(value(&network, "driver_upgraded").await, 0);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a44_one_byte_at_a_time() {
    let (network, port) = service().await;
    let mut events = network.events();
    let dripping = thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.write_all(&upgrade(port, "")).expect("it is read");
        // A frame of the right size, in a minute and a half.
        drip(stream, &frame(BINARY, &[1; 90]), Duration::from_secs(1))
    });
    let reason = tokio::time::timeout(DEADLINE, failure(&mut events)).await.expect("the link ends");
    assert_eq!(reason, CloseReason::HandshakeTimeout, "bytes are no sign of life, frames are");
    assert!(dripping.join().expect("it ends") < 90);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a49_compression_bomb() {
    let (network, port) = service().await;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.write_all(&upgrade(port, offer)).expect("it is read");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("http/1.1 101") && !head.contains("sec-websocket-extensions"), "{head}");
    // A frame that says it is compressed all the same.
    stream.write_all(&frame(BINARY | 0x40, &[0x78; 1000])).expect("it is sent");
    counted(&network, "driver_violations_protocol", 1).await;
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a50_cross_site_page_to_loopback() {
    let (network, port) = service().await;
    for origin in ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"] {
        let parts = [upgrade(port, &format!("Origin: {origin}\r\n"))];
        let outcome = tokio::task::spawn_blocking(move || play(port, &parts)).await.expect("it ends");
        assert_eq!(outcome.status, Some(403), "{origin}");
    }
    counted(&network, "driver_refused_origin", 4).await;
    assert_eq!(value(&network, "driver_upgraded").await, 0);
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a51_dns_rebinding_host() {
    let (network, port) = service().await;
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for host in
        ["rebound.example", "127.0.0.1.rebound.example:80", "localhost.rebound.example", "169.254.169.254"]
    {
        let parts = [request("GET", host, key, 13)];
        let outcome = tokio::task::spawn_blocking(move || play(port, &parts)).await.expect("it ends");
        assert_eq!(outcome.status, Some(403), "{host}");
    }
    counted(&network, "driver_refused_host", 4).await;
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a57_ban_list_abuse() {
    // There is no list of addresses to get a victim onto: who misbehaves loses that connection, whoever shares its address
    // keeps theirs.
    let (network, port) = service().await;
    for _ in 0..50 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.write_all(&[0xff; 64]).expect("it is sent");
    }
    counted(&network, "driver_refused_bad_request", 50).await;
    let good = Network::builder().bootstrap(network.addresses()[0].clone()).start().await.expect("a client");
    let mut events = good.events();
    let linked = async {
        while !matches!(events.next().await, Some(unamed_tokio::NetworkEvent::LinkOpened { .. })) {}
    };
    tokio::time::timeout(DEADLINE, linked).await.expect("a neighbour of the attacker is served");
    good.shutdown().await;
    network.shutdown().await;
}

#[test]
fn a56_log_flooding() {
    let scratch = Scratch::new().expect("a folder");
    let mut service = Service::start_with(&scratch, "service", &["--listen", "127.0.0.1:0", "--log", "info"]);
    let port = port(&service.address);
    // Each of these is a line at this level: a link that failed.
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..25 {
                    play(port, &[upgrade(port, ""), frame(BINARY, b"nonsense")]);
                }
            });
        }
    });
    // What was left out is said with the next line that has a place, in another second.
    let until = Instant::now() + DEADLINE;
    while !service.process.stderr().contains(" lines were left out") {
        assert!(Instant::now() < until, "{}", service.process.stderr());
        play(port, &[upgrade(port, ""), frame(BINARY, b"nonsense")]);
    }
    service.process.terminate();
    assert_eq!(service.process.finish(), 0);
    let stderr = service.process.stderr();
    let lines = stderr.lines().filter(|line| line.contains("link failed")).count();
    assert!((1..400).contains(&lines), "{lines} lines for more than 400 failures");
}

/// A peer resets its connection in the middle of a frame, or goes without a close.
#[tokio::test(flavor = "multi_thread")]
async fn b71_connections_that_break_leave_nothing_behind() {
    let (network, port) = service().await;
    let mut events = network.events();
    for reset in [true, false] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.write_all(&upgrade(port, "")).expect("it is read");
        stream.read_exact(&mut [0; 12]).expect("an answer");
        if !reset {
            // Read to the end, so that the close is a FIN; unread bytes make it an RST.
            stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            while matches!(stream.read(&mut [0; 512]), Ok(1..)) {}
        }
        stream.write_all(&frame(BINARY, &[1; 90])[..40]).expect("half a frame");
        drop(stream);
        let reason = tokio::time::timeout(DEADLINE, failure(&mut events)).await.expect("the link ends");
        assert!([CloseReason::Reset, CloseReason::Closed].contains(&reason), "{reason:?}");
    }
    counted(&network, "links_failed", 2).await;
    network.shutdown().await;
}
