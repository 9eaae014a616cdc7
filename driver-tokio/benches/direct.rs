//! How long two clients take to link directly, and what the link carries.
//!
//! `cargo bench -p unamed-tokio --bench direct`. A service node and two clients run in one process, over the real sockets
//! of one machine. Of each round: from the circuit to the data channel open at both ends, which is signalling over the
//! service node, ICE, DTLS and SCTP; then messages of 64 KiB from one to the other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use unamed_tokio::{Carrier, Network, NetworkEvent, NetworkEvents, Room, RoomEvent};

/// Rounds that are measured.
const ROUNDS: usize = 20;
/// Payload of a message, bytes.
const PAYLOAD: usize = 64 * 1024;
/// Messages of one round.
const MESSAGES: usize = 400;

fn main() {
    // `cargo test --benches` runs this as a test: one short round shows that it works.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let short = !args.iter().any(|arg| arg == "--bench");
    let filter = args.iter().find(|arg| !arg.starts_with('-')).cloned().unwrap_or_default();
    if !"direct".contains(&filter) {
        return;
    }
    let (rounds, messages) = if short { (1, 10) } else { (ROUNDS, MESSAGES) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let rounds: Vec<Round> = runtime.block_on(async {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let service = Network::builder().listen(listen).start().await.expect("a free port");
        let mut measured = Vec::new();
        for _ in 0..rounds {
            measured.push(round(&service, messages).await);
        }
        service.shutdown().await;
        measured
    });
    let ms = |round: &Round| round.linking.as_secs_f64() * 1e3;
    let rate = |round: &Round| (messages * PAYLOAD) as f64 / 1e6 / round.carrying.as_secs_f64();
    report("circuit to data channel, ms", rounds.iter().map(ms).collect());
    report("64 KiB messages, MB/s", rounds.iter().map(rate).collect());
}

struct Round {
    linking: Duration,
    carrying: Duration,
}

async fn round(service: &Network, messages: usize) -> Round {
    let (one, at_one, mut events_of_one) = member(service).await;
    let (other, mut at_other, mut events_of_other) = member(service).await;
    let (first, second) = tokio::join!(linked(&mut events_of_one), linked(&mut events_of_other));
    let linking = first.1.max(second.1) - first.0.min(second.0);

    let start = Instant::now();
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let send = async {
        for _ in 0..messages {
            at_one.broadcast(payload.clone()).await.expect("a joined room");
        }
    };
    let receive = async {
        let mut came = 0;
        while came < messages {
            let event = at_other.next().await.expect("the room goes on");
            came += usize::from(matches!(event, RoomEvent::Message(_)));
        }
    };
    tokio::join!(send, receive);
    let carrying = start.elapsed();
    tokio::join!(one.shutdown(), other.shutdown());
    Round { linking, carrying }
}

async fn member(service: &Network) -> (Network, Room, NetworkEvents) {
    let address = service.addresses().first().expect("it listens").clone();
    let network = Network::builder().bootstrap(address).start().await.expect("a client");
    let events = network.events();
    let room = network.join("direct").await.expect("a room");
    (network, room, events)
}

/// When the circuit opened, and when the channel did.
async fn linked(events: &mut NetworkEvents) -> (Instant, Instant) {
    let mut circuit = None;
    loop {
        let event = events.next().await.expect("the node goes on");
        if let NetworkEvent::LinkOpened { carrier, .. } = event {
            match carrier {
                Carrier::Circuit => circuit = Some(Instant::now()),
                Carrier::WebRtc => return (circuit.expect("a circuit came first"), Instant::now()),
                Carrier::WebSocket => {}
            }
        }
    }
}

fn report(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    println!(
        "{what:<30} median {:>7.1}  least {:>7.1}  most {:>7.1}",
        at(values.len() / 2),
        at(0),
        at(values.len().saturating_sub(1))
    );
}
