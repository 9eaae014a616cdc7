//! Golden vectors, laws, and tables of bad input.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::*;
use super::*;
use crate::signal::{
    Candidate, CandidateHost, CandidateKind, Description, Fingerprint, IceServer, IceText, Setup, Signal,
};
use crate::{Instance, MessageId, PeerId, RequestId, RoomId};

mod bad_input;
mod generate;
mod laws;
mod signed_objects;
mod texts;
mod vectors;

fn peer(byte: u8) -> PeerId {
    PeerId([byte; 32])
}

fn room(byte: u8) -> RoomId {
    RoomId([byte; 32])
}

fn bytes(content: &[u8]) -> Bytes {
    Bytes::copy_from_slice(content)
}

fn list<T, const N: usize>(items: Vec<T>) -> Bounded<T, N> {
    Bounded::new(items).unwrap()
}

/// The views as serde would derive them: what postcard makes of these is what the views must make.
mod derived {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Routed {
        pub(super) purpose: u8,
        pub(super) to_root: bool,
        pub(super) attempt: u8,
        pub(super) request: RequestId,
        pub(super) key: RoomId,
        pub(super) target: Option<PeerId>,
        pub(super) exclude: Vec<PeerId>,
        pub(super) route: Vec<PeerId>,
        pub(super) payload: Bytes,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Reply {
        pub(super) purpose: u8,
        pub(super) attempt: u8,
        pub(super) request: RequestId,
        pub(super) at: u8,
        pub(super) route: Vec<PeerId>,
        pub(super) services: u32,
        pub(super) rtts_ms: Vec<u16>,
        pub(super) payload: Bytes,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct CircuitData {
        pub(super) circuit: u32,
        pub(super) frame: Bytes,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct RoomMessage {
        pub(super) header: Bytes,
        pub(super) signature: Bytes,
        pub(super) body: Bytes,
    }
}

/// The message as postcard encodes it, views by their derived equivalents.
fn by_postcard(message: &Message) -> Vec<u8> {
    fn body<T: Serialize>(body: &T) -> Vec<u8> {
        postcard::to_allocvec(body).unwrap()
    }
    let body = match message.clone() {
        Message::Ping(it) | Message::Pong(it) => body(&it),
        Message::Goodbye(it) => body(&it),
        Message::Reasons(it) => body(&it),
        Message::Hello(it) => body(&it),
        Message::HopAck(it) => body(&it),
        Message::Replicate(it) => body(&it),
        Message::StoreDigest(it) => body(&it),
        Message::CircuitOpen(it) => body(&it),
        Message::CircuitOpened(it) => body(&it),
        Message::CircuitCredit(it) => body(&it),
        Message::CircuitReset(it) => body(&it),
        Message::RoomProof(it) => body(&it),
        Message::RoomRefused(it) => body(&it),
        Message::RoomClaims(it) => body(&it),
        Message::RoomLeave(it) => body(&it),
        Message::MemberData(it) => body(&it),
        Message::Query(it) => body(&it),
        Message::QueryAnswer(it) => body(&it),
        Message::Signal(it) => body(&it),
        Message::IceServers(it) => body(&it),
        Message::Announce(it) => body(&it),
        Message::Pull(it) => body(&it),
        Message::PushSet(it) => body(&it),
        Message::StreamMarks(it) => body(&it),
        Message::Routed(it) => body(&derived::Routed {
            purpose: it.purpose as u8,
            to_root: it.to_root,
            attempt: it.attempt,
            request: it.request,
            key: it.key,
            target: it.target,
            exclude: it.exclude.to_vec(),
            route: it.route.to_vec(),
            payload: it.payload,
        }),
        Message::Reply(it) => body(&derived::Reply {
            purpose: it.purpose as u8,
            attempt: it.attempt,
            request: it.request,
            at: it.at,
            route: it.route.to_vec(),
            services: it.services,
            rtts_ms: it.rtts_ms.as_slice().to_vec(),
            payload: it.payload,
        }),
        Message::CircuitData(it) => body(&derived::CircuitData { circuit: it.circuit, frame: it.frame }),
        Message::RoomMessage(it) => {
            body(&derived::RoomMessage { header: it.header, signature: it.signature, body: it.body })
        }
    };
    let mut out = vec![message.kind()];
    out.extend(body);
    out
}
