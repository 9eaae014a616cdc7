//! The handshake between two sessions, and what an established one carries: encrypt, fragment, decrypt, reassemble.
//!
//! `cargo bench -p unamed-protocol --bench handshake`. Both ends run on one thread, so a figure is the work of both.
//! After divan's table come ratios whose sides were timed in turn.

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use unamed_protocol::crypto::{Crypto, IdealCrypto, RealCrypto, Role, sha256};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::Bounded;
use unamed_protocol::{Config, Identity, Instance, Instant, NetworkId};

mod ratio;

const LARGE: usize = 64 * 1024;
const SMALL: usize = 100;
/// Small messages queued at a time: some share a frame, as under load.
const BATCH: usize = 64;
const NOW: Instant = Instant::ZERO;

/// Two ends and their crypto.
struct Pair {
    ends: [Session; 2],
}

impl Pair {
    /// Both ends before their first frame.
    fn new(crypto: &Arc<dyn Crypto>) -> Self {
        Self { ends: [session(crypto, Role::Initiator, 1), session(crypto, Role::Responder, 2)] }
    }

    fn established(crypto: &Arc<dyn Crypto>) -> Self {
        let mut pair = Self::new(crypto);
        pair.shake_hands();
        pair
    }

    /// Passes the three messages of the handshake.
    fn shake_hands(&mut self) {
        let [a, b] = &mut self.ends;
        for _ in 0..2 {
            while let Some(frame) = a.poll_frame(NOW) {
                b.handle_frame(&frame, NOW);
            }
            while let Some(frame) = b.poll_frame(NOW) {
                a.handle_frame(&frame, NOW);
            }
        }
        assert!(a.is_established() && b.is_established());
    }

    /// Carries `count` messages from one end to the other; how many arrived.
    fn carry(&mut self, body: &Bytes, count: usize) -> usize {
        let [a, b] = &mut self.ends;
        let class = if body.len() > 4096 { Class::Bulk } else { Class::Small };
        for _ in 0..count {
            let message = Outgoing { head: vec![52; 1], body: body.clone(), token: None };
            a.queue(class, message, NOW).expect("room in the queue");
        }
        let mut arrived = 0;
        while let Some(frame) = a.poll_frame(NOW) {
            let events = b.handle_frame(&frame, NOW);
            arrived += events.iter().filter(|event| matches!(event, SessionEvent::Message(_))).count();
        }
        arrived
    }
}

fn session(crypto: &Arc<dyn Crypto>, role: Role, name: u8) -> Session {
    let Config { network, link, .. } = Config::service(NetworkId::default());
    let identity = Identity::from_seed([name; 32]);
    let config = SessionConfig {
        role,
        max_frame: link.frame_bytes_max,
        frame_charge: 0,
        link: Arc::new(link),
        relay_bytes_max: 1 << 20,
        network,
        peer: identity.peer_id(crypto.as_ref()),
        identity,
        instance: Instance { boot: 1, session: u64::from(name) },
        service: true,
        static_secret: [name ^ 0x40; 32],
        ephemeral: [name ^ 0x80; 32],
        expected: None,
        secrecy: Secrecy::Noise,
        extensions: Bounded::default(),
    };
    let mut session = Session::new(config, Arc::clone(crypto), NOW);
    session.grant(usize::MAX);
    session
}

fn real() -> Arc<dyn Crypto> {
    Arc::new(RealCrypto)
}

fn ideal() -> Arc<dyn Crypto> {
    Arc::new(IdealCrypto)
}

fn body(bytes: usize) -> Bytes {
    Bytes::from(vec![7; bytes])
}

#[divan::bench(args = ["real", "ideal"])]
fn handshake(bencher: Bencher, crypto: &str) {
    let crypto = named(crypto);
    bencher.with_inputs(|| Pair::new(&crypto)).bench_local_refs(Pair::shake_hands);
}

#[divan::bench(args = ["real", "ideal"])]
fn messages_of_64_kib(bencher: Bencher, crypto: &str) {
    let (mut pair, body) = (Pair::established(&named(crypto)), body(LARGE));
    bencher.counter(BytesCount::new(LARGE)).bench_local(|| assert_eq!(pair.carry(&body, 1), 1));
}

#[divan::bench(args = ["real", "ideal"])]
fn batches_of_64_messages_of_100_bytes(bencher: Bencher, crypto: &str) {
    let (mut pair, body) = (Pair::established(&named(crypto)), body(SMALL));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| assert_eq!(pair.carry(&body, BATCH), BATCH));
}

#[divan::bench(args = ["real", "ideal"])]
fn single_messages_of_100_bytes(bencher: Bencher, crypto: &str) {
    let (mut pair, body) = (Pair::established(&named(crypto)), body(SMALL));
    bencher.counter(ItemsCount::new(1_u8)).bench_local(|| assert_eq!(pair.carry(&body, 1), 1));
}

fn named(crypto: &str) -> Arc<dyn Crypto> {
    if crypto == "real" { real() } else { ideal() }
}

fn main() {
    divan::main();
    if !ratio::is_wanted() {
        return;
    }
    println!("\nBoth ends on one thread; the last column is the ratio to the first line.\n");
    ratio::print(
        "handshake, with making both sessions",
        &mut [
            ("real", &mut || drop(black_box(Pair::established(&real())))),
            ("ideal", &mut || drop(black_box(Pair::established(&ideal())))),
        ],
    );
    let (mut a, mut b) = (Pair::established(&real()), Pair::established(&ideal()));
    let large = body(LARGE);
    let plain = large.to_vec();
    ratio::print(
        "one message of 64 KiB",
        &mut [
            ("real", &mut || assert_eq!(a.carry(&large, 1), 1)),
            ("ideal", &mut || assert_eq!(b.carry(&large, 1), 1)),
            ("SHA-256 of 64 KiB", &mut || {
                black_box(sha256(&[black_box(&plain)]));
            }),
            ("a copy of 64 KiB", &mut || drop(black_box(black_box(&plain).clone()))),
        ],
    );
    let small = body(SMALL);
    ratio::print(
        "one message of 100 bytes alone",
        &mut [
            ("real", &mut || assert_eq!(a.carry(&small, 1), 1)),
            ("ideal", &mut || assert_eq!(b.carry(&small, 1), 1)),
        ],
    );
    ratio::print(
        "64 messages of 100 bytes together",
        &mut [
            ("real", &mut || assert_eq!(a.carry(&small, BATCH), BATCH)),
            ("ideal", &mut || assert_eq!(b.carry(&small, BATCH), BATCH)),
        ],
    );
}
