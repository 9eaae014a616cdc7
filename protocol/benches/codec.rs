//! Encoding, decoding and forwarding, next to the same packet as postcard and serde derive write it.
//!
//! `cargo bench -p unamed-protocol --bench codec`. After divan's table come ratios whose sides were timed in turn.

use std::sync::LazyLock;

use bytes::Bytes;
use divan::{Bencher, black_box};
use serde::{Deserialize, Serialize};
use unamed_protocol::crypto::{RealCrypto, sha256};
use unamed_protocol::wire::message::{Header, Purpose};
use unamed_protocol::wire::{
    Bounded, Claim, ClaimTerms, PeerIds, Routed, Sequence, decode_body, encode_body,
};
use unamed_protocol::{Identity, Instance, NetworkId, PeerId, RequestId, RoomId, RoomKey};

mod ratio;

/// A packet after four hops, with a request of the size of a claim in part.
const PACKET_BYTES: usize = 368;

/// The node that forwards.
const ME: PeerId = PeerId([0x5A; 32]);

/// [`Routed`] as one would write it without a thought.
#[derive(Clone, Serialize, Deserialize)]
struct Naive {
    purpose: u8,
    to_root: bool,
    attempt: u8,
    request: u64,
    key: [u8; 32],
    target: Option<[u8; 32]>,
    exclude: Vec<[u8; 32]>,
    route: Vec<[u8; 32]>,
    payload: Vec<u8>,
}

static PACKET: LazyLock<Routed> = LazyLock::new(|| {
    let routed = |payload: usize| Routed {
        purpose: Purpose::Connect,
        to_root: false,
        attempt: 1,
        request: RequestId(u64::MAX / 3),
        key: RoomId([0xA1; 32]),
        target: Some(PeerId([0xB2; 32])),
        exclude: PeerIds::new(&[]).expect("an empty list"),
        route: PeerIds::new(&[1, 2, 3, 4].map(|n| PeerId([n; 32]))).expect("four different ids"),
        payload: Bytes::from(vec![0xC3; payload]),
    };
    // The length of the payload takes two bytes either way.
    let payload = 200 + PACKET_BYTES - routed(200).encode().len();
    let packet = routed(payload);
    assert_eq!(packet.encode().len(), PACKET_BYTES);
    packet
});
static PACKET_ENCODED: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(PACKET.encode()));

static NAIVE: LazyLock<Naive> = LazyLock::new(|| Naive {
    purpose: PACKET.purpose as u8,
    to_root: PACKET.to_root,
    attempt: PACKET.attempt,
    request: PACKET.request.0,
    key: PACKET.key.0,
    target: PACKET.target.map(|target| target.0),
    exclude: PACKET.exclude.iter().map(|peer| peer.0).collect(),
    route: PACKET.route.iter().map(|peer| peer.0).collect(),
    payload: PACKET.payload.to_vec(),
});
static NAIVE_ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| naive_encode(&NAIVE));

static CLAIM: LazyLock<Bytes> = LazyLock::new(|| {
    let terms = ClaimTerms {
        homes: vec![PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32])],
        replica: 0,
        issued_ms: 1_700_000_000_000,
        expiry_ms: 1_700_000_600_000,
        sequence: Sequence::default(),
        sealing_key: [9; 32],
    };
    let room = RoomKey::from_seed([7; 32]);
    let identity = Identity::from_seed([8; 32]);
    Claim::make(&terms, &room, &identity, &RealCrypto, &NetworkId::default()).bytes().clone()
});

static HEADER: LazyLock<Header> = LazyLock::new(|| Header {
    room: RoomId([1; 32]),
    author: PeerId([2; 32]),
    instance: Instance { boot: 1_700_000_000_000, session: u64::MAX / 7 },
    stream: 0,
    sequence: 70_000,
    recipients: Bounded::default(),
    push_set: u64::MAX / 5,
    body_hash: sha256(&[b"hello"]),
    sealed: false,
});
static HEADER_ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| encode_body(&*HEADER));

fn naive_encode(naive: &Naive) -> Vec<u8> {
    postcard::to_allocvec(naive).expect("a plain struct")
}

fn naive_decode(bytes: &[u8]) -> Naive {
    postcard::from_bytes(bytes).expect("what was encoded")
}

fn naive_forward(bytes: &[u8]) -> Vec<u8> {
    let mut naive = naive_decode(bytes);
    assert!(naive.route.len() < 16 && !naive.route.contains(&ME.0));
    naive.route.push(ME.0);
    naive_encode(&naive)
}

fn decode(bytes: &Bytes) -> Routed {
    Routed::decode(bytes).expect("what was encoded")
}

fn forward(bytes: &Bytes) -> Vec<u8> {
    decode(bytes).forward(ME).expect("a short route without a loop")
}

fn verify(bytes: &Bytes) -> bool {
    let claim = Claim::decode(bytes).expect("what was encoded");
    claim.verify(&RealCrypto, &NetworkId::default())
}

fn header_decode(bytes: &[u8]) -> Header {
    decode_body(bytes).expect("what was encoded")
}

#[divan::bench_group]
mod packet {
    use super::*;

    #[divan::bench]
    fn encode(bencher: Bencher) {
        bencher.bench(|| black_box(&*PACKET).encode());
    }

    #[divan::bench]
    fn encode_naive(bencher: Bencher) {
        bencher.bench(|| naive_encode(black_box(&NAIVE)));
    }

    #[divan::bench]
    fn decode(bencher: Bencher) {
        bencher.bench(|| super::decode(black_box(&PACKET_ENCODED)));
    }

    #[divan::bench]
    fn decode_naive(bencher: Bencher) {
        bencher.bench(|| naive_decode(black_box(&NAIVE_ENCODED)));
    }

    #[divan::bench]
    fn forward(bencher: Bencher) {
        bencher.bench(|| super::forward(black_box(&PACKET_ENCODED)));
    }

    #[divan::bench]
    fn forward_naive(bencher: Bencher) {
        bencher.bench(|| naive_forward(black_box(&NAIVE_ENCODED)));
    }
}

#[divan::bench]
fn decode_and_verify_claim(bencher: Bencher) {
    assert!(verify(&CLAIM));
    bencher.bench(|| verify(black_box(&CLAIM)));
}

#[divan::bench]
fn encode_header(bencher: Bencher) {
    bencher.bench(|| encode_body(black_box(&*HEADER)));
}

#[divan::bench]
fn decode_header(bencher: Bencher) {
    bencher.bench(|| header_decode(black_box(&HEADER_ENCODED)));
}

fn main() {
    divan::main();
    if !ratio::is_wanted() {
        return;
    }
    println!(
        "\nA packet of {PACKET_BYTES} bytes with a route of {}; as derived, {} bytes. The last column is the ratio.\n",
        PACKET.route.len(),
        NAIVE_ENCODED.len()
    );
    ratio::print(
        "encode",
        &mut [
            ("Routed::encode", &mut || drop(black_box(black_box(&*PACKET).encode()))),
            ("derived, postcard", &mut || drop(black_box(naive_encode(black_box(&NAIVE))))),
        ],
    );
    ratio::print(
        "decode",
        &mut [
            ("Routed::decode", &mut || drop(black_box(decode(black_box(&PACKET_ENCODED))))),
            ("derived, postcard", &mut || drop(black_box(naive_decode(black_box(&NAIVE_ENCODED))))),
        ],
    );
    ratio::print(
        "forward: decode, check for a loop, append a hop, encode",
        &mut [
            ("Routed::decode and forward", &mut || drop(black_box(forward(black_box(&PACKET_ENCODED))))),
            ("derived, postcard", &mut || drop(black_box(naive_forward(black_box(&NAIVE_ENCODED))))),
        ],
    );
}
