//! The payload types of the wire, each by a number.

use serde::Serialize;
use serde::de::DeserializeOwned;
use unamed_protocol::wire::message::{
    Connect, ConnectAnswer, ConnectReply, ConnectRequest, FindAnswer, HandshakePayload, Header, Nearest,
    NearestAnswer, Notify, Publish, PublishAnswer, Withdraw,
};
use unamed_protocol::wire::{decode_body, encode_body};

/// How many payload types there are.
pub(crate) const PAYLOADS: usize = 13;

/// Their names in `protocol/vectors/wire.txt`, by number.
pub(crate) const NAMES: [&str; PAYLOADS] = [
    "connect",
    "connect-request",
    "connect-answer",
    "connect-reply",
    "publish",
    "publish-answer",
    "find-answer",
    "nearest",
    "nearest-answer",
    "withdraw",
    "notify",
    "header",
    "handshake-payload",
];

/// Reads bytes as payload of a type: what is accepted must encode to the same bytes.
pub(crate) fn check(number: usize, bytes: &[u8]) {
    let check = [
        canonical::<Connect>,
        canonical::<ConnectRequest>,
        canonical::<ConnectAnswer>,
        canonical::<ConnectReply>,
        canonical::<Publish>,
        canonical::<PublishAnswer>,
        canonical::<FindAnswer>,
        canonical::<Nearest>,
        canonical::<NearestAnswer>,
        canonical::<Withdraw>,
        canonical::<Notify>,
        canonical::<Header>,
        canonical::<HandshakePayload>,
    ];
    let check: [fn(&[u8]); PAYLOADS] = check;
    check[number % PAYLOADS](bytes);
}

fn canonical<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode_body::<T>(bytes) {
        assert_eq!(encode_body(&value), bytes, "accepted bytes encode to themselves");
    }
}
