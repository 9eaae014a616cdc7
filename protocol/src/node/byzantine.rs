//! Service nodes that misbehave, to test what the others make of them. Only with the feature `byzantine`.
//!
//! A misbehaving node keeps its links, its place in the leaf sets of others and its home claim like any other. What it is
//! asked to do for others it does not do:
//!
//! | what comes | silent | lying |
//! |---|---|---|
//! | routed packets | acknowledged, dropped | acknowledged; *publish* and *withdraw* confirmed and forgotten; *find* answered with nothing, or with claims that do not hold; *nearest* answered with accomplices; others dropped |
//! | query | dropped | answered with accomplices and, to its author alone, with the claim that it gave |
//! | replies on their way, circuits to be relayed, copies for holders | dropped | dropped |
//!
//! Liars know each other, and name nobody else.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::metrics::Counter;
use crate::routing::key::{distance, home_id, replica_key};
use crate::wire::message::{
    FindAnswer, HopAck, NearestAnswer, Publish, PublishAnswer, Purpose, Query, QueryAnswer,
};
use crate::wire::{Bounded, Claim, HomeClaim, Message, Routed, decode_body, encode_body};
use crate::{Instant, LinkId, PeerId, RoomId};

/// Claims that a liar keeps to show them to their authors, and to forge others.
const SHOWN_MAX: usize = 1024;
/// Service nodes in one answer.
const NAMED: usize = 8;

/// What a misbehaving service node does with what others ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misbehaviour {
    /// It acknowledges what it is to pass on, and drops it; it answers nothing.
    Silent,
    /// It also confirms what it does not keep, and answers with its accomplices.
    Lying,
}

/// Service nodes that misbehave together, by their home claims.
#[derive(Clone, Debug, Default)]
pub struct Accomplices(Vec<(RoomId, PeerId, Bytes)>);

impl Accomplices {
    /// Those whose home claims decode.
    pub fn new(home_claims: impl IntoIterator<Item = Bytes>) -> Self {
        let decoded = home_claims.into_iter().filter_map(|bytes| {
            let peer = HomeClaim::decode(&bytes).ok()?.peer();
            Some((home_id(peer), peer, bytes))
        });
        Self(decoded.collect())
    }

    /// The nearest to a key, except `asker`.
    fn nearest(&self, key: &RoomId, asker: Option<PeerId>) -> impl Iterator<Item = Bytes> + use<> {
        let mut near: Vec<_> = self.0.iter().filter(|(_, peer, _)| Some(*peer) != asker).collect();
        near.sort_by_key(|(id, _, _)| distance(key, id));
        let near: Vec<Bytes> = near.into_iter().take(NAMED).map(|(_, _, bytes)| bytes.clone()).collect();
        near.into_iter()
    }
}

/// How a node misbehaves.
#[derive(Clone, Debug)]
pub(super) struct Deviation {
    kind: Misbehaviour,
    accomplices: Arc<Accomplices>,
    shown: BTreeMap<(RoomId, u8, PeerId), Bytes>,
    order: VecDeque<(RoomId, u8, PeerId)>,
    turn: u64,
}

impl Deviation {
    fn keep(&mut self, bytes: &Bytes) {
        let Ok(claim) = Claim::decode(bytes) else { return };
        let key = (claim.room_id(), claim.replica(), claim.peer());
        if self.shown.insert(key, bytes.clone()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.shown.remove(&oldest);
        }
    }

    /// Claims that do not hold: none, one of another room, or one that was altered.
    fn forged(&mut self, key: &RoomId) -> Vec<Bytes> {
        self.turn = self.turn.wrapping_add(1);
        let of_key = |room: &RoomId, replica: u8| replica_key(room, replica) == *key;
        let mut claims = self.shown.iter();
        match self.turn % 3 {
            0 => Vec::new(),
            1 => claims
                .find(|((room, replica, _), _)| !of_key(room, *replica))
                .map(|(_, bytes)| bytes.clone())
                .into_iter()
                .collect(),
            _ => claims
                .find(|((room, replica, _), _)| of_key(room, *replica))
                .map(|(_, bytes)| {
                    let mut altered = bytes.to_vec();
                    if let Some(last) = altered.last_mut() {
                        *last ^= 1;
                    }
                    Bytes::from(altered)
                })
                .into_iter()
                .collect(),
        }
    }
}

impl Node {
    /// From now on this node misbehaves; or does so with other accomplices.
    pub fn misbehave(&mut self, kind: Misbehaviour, accomplices: Arc<Accomplices>) {
        match &mut self.misbehaviour {
            Some(deviation) => (deviation.kind, deviation.accomplices) = (kind, accomplices),
            None => {
                self.misbehaviour = Some(Box::new(Deviation {
                    kind,
                    accomplices,
                    shown: BTreeMap::new(),
                    order: VecDeque::new(),
                    turn: 0,
                }));
            }
        }
    }

    /// This node's own home claim as signed, if it has one: what accomplices name each other by.
    #[must_use]
    pub fn home_claim(&self) -> Option<Bytes> {
        self.own_home.as_ref().map(|claim| claim.bytes().clone())
    }

    /// What a misbehaving node makes of a message; gives back what it handles as any other node.
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not for others is handled as it comes")]
    pub(super) fn deviate(&mut self, id: LinkId, message: Message, now: Instant) -> Option<Message> {
        let Some(deviation) = &self.misbehaviour else { return Some(message) };
        let lying = deviation.kind == Misbehaviour::Lying;
        match message {
            Message::Routed(packet) => {
                let ack = HopAck { request: packet.request, attempt: packet.attempt, seen: false };
                self.send(id, &Message::HopAck(ack), now);
                if lying {
                    self.lie(&packet, now);
                }
            }
            Message::Query(query) if lying => self.lie_to_walk(id, &query, now),
            Message::Query(_)
            | Message::Replicate(_)
            | Message::StoreDigest(_)
            | Message::CircuitOpen(_)
            | Message::CircuitData(_) => {}
            // What it asked for itself it takes.
            Message::Reply(reply) if reply.at == 0 => return Some(Message::Reply(reply)),
            Message::Reply(_) => {}
            other => return Some(other),
        }
        None
    }

    fn lie(&mut self, packet: &Routed, now: Instant) {
        let Some(deviation) = &mut self.misbehaviour else { return };
        let asker = packet.route.get(0);
        let answer = match packet.purpose {
            Purpose::Find => {
                encode_body(&FindAnswer { claims: Bounded::truncated(deviation.forged(&packet.key)) })
            }
            Purpose::Publish | Purpose::Withdraw => {
                if let Ok(publish) = decode_body::<Publish>(&packet.payload) {
                    deviation.keep(&publish.claim);
                }
                encode_body(&PublishAnswer { claims: Bounded::default(), newer: None, slow_down: 0 })
            }
            Purpose::Nearest => {
                let homes = deviation.accomplices.nearest(&packet.key, asker);
                let own = self.own_home.iter().map(|claim| claim.bytes().clone());
                let homes = Bounded::truncated(own.chain(homes));
                encode_body(&NearestAnswer { homes, known: Bounded::default() })
            }
            Purpose::Connect | Purpose::Notify => return,
        };
        self.metrics.count(Counter::RoutedDeadEnd);
        self.reply(packet, answer, now);
    }

    fn lie_to_walk(&mut self, id: LinkId, query: &Query, now: Instant) {
        let Some(peer) = self.open_peer(id) else { return };
        let Some(deviation) = &mut self.misbehaviour else { return };
        if let Some(claim) = &query.claim {
            deviation.keep(claim);
        }
        let key = replica_key(&query.room, query.replica);
        let own = deviation.shown.get(&(query.room, query.replica, peer)).cloned();
        let claims = Bounded::truncated(own.into_iter().chain(deviation.forged(&key)));
        let homes = Bounded::truncated(deviation.accomplices.nearest(&key, Some(peer)));
        let answer = QueryAnswer { request: query.request, homes, claims, newer: None };
        self.send(id, &Message::QueryAnswer(answer), now);
    }
}
