//! The messages of the protocol, as plain values. `docs/protocol.md` says who sends what and when.
//!
//! Every struct here is encoded by postcard with its fields in this order. The messages of the hot path, routed packets,
//! replies, circuit data and room messages, are hand-written views over the same format: [`Routed`](super::Routed) and its
//! neighbours.

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::bounded::{Bounded, ascending, unique};
use super::error::DecodeError;
use crate::crypto::Signature;
use crate::id::fixed;
use crate::{IceServer, Instance, MessageId, PeerId, RequestId, RoomId, Signal};

/// Kind numbers of all messages in use, and of those that are planned.
///
/// A decoder skips and counts kinds that it does not know.
pub mod kind {
    /// Longest message of any kind but [`MESSAGE`], bytes: the largest of them (an answer with sixteen home claims) and
    /// as much again. Room messages are bounded by the link
    /// ([`LinkConfig::message_bytes_max`](crate::LinkConfig::message_bytes_max)).
    pub const SMALL_BYTES_MAX: usize = 128 * 1024;

    /// Longest message of a kind, bytes, if the wire bounds it.
    #[must_use]
    pub const fn bytes_max(kind: u8) -> Option<usize> {
        if kind == MESSAGE { None } else { Some(SMALL_BYTES_MAX) }
    }

    /// Liveness probe.
    pub const PING: u8 = 1;
    /// Answer to a probe.
    pub const PONG: u8 = 2;
    /// The sender closes the link.
    pub const GOODBYE: u8 = 3;
    /// Why the sender keeps the link.
    pub const REASONS: u8 = 4;
    /// Who the sender is in the overlay, and whom it knows.
    pub const HELLO: u8 = 5;
    /// A request on its way to a key.
    pub const ROUTED: u8 = 16;
    /// Acknowledgement of one hop of a request.
    pub const HOP_ACK: u8 = 17;
    /// An answer on its way back along the recorded route.
    pub const REPLY: u8 = 18;
    /// Claims for a holder to keep.
    pub const REPLICATE: u8 = 24;
    /// Digest of the claims held for a room.
    pub const STORE_DIGEST: u8 = 25;
    /// A circuit's set-up.
    pub const CIRCUIT_OPEN: u8 = 32;
    /// A circuit stands.
    pub const CIRCUIT_OPENED: u8 = 33;
    /// A frame inside a circuit.
    pub const CIRCUIT_DATA: u8 = 34;
    /// Credit for a circuit.
    pub const CIRCUIT_CREDIT: u8 = 35;
    /// A circuit's end.
    pub const CIRCUIT_RESET: u8 = 36;
    /// Proof of knowing a room.
    pub const ROOM_PROOF: u8 = 48;
    /// A proof is refused.
    pub const ROOM_REFUSED: u8 = 49;
    /// Claims of members of a shared room.
    pub const ROOM_CLAIMS: u8 = 50;
    /// The sender leaves a room.
    pub const ROOM_LEAVE: u8 = 51;
    /// A room message.
    pub const MESSAGE: u8 = 52;
    /// Ids of room messages that the sender holds.
    pub const ANNOUNCE: u8 = 53;
    /// Request for announced or missing room messages.
    pub const PULL: u8 = 54;
    /// Whom the sender pushes its messages to.
    pub const PUSH_SET: u8 = 55;
    /// How far the sender has received streams.
    pub const STREAM_MARKS: u8 = 56;
    /// A WebRTC signal; 65–71 are reserved for more of them.
    pub const SIGNAL: u8 = 64;
    /// First of the kinds reserved for presence in large rooms (72–79).
    pub const RESERVED_PRESENCE: u8 = 72;
    /// First of the kinds reserved for history (80–87).
    pub const RESERVED_HISTORY: u8 = 80;
    /// First of the kinds reserved for invites (88–95).
    pub const RESERVED_INVITE: u8 = 88;
    /// Application data of a member; 97–103 are reserved for more of it.
    pub const MEMBER_DATA: u8 = 96;
    /// A question of an iterative look-up.
    pub const QUERY: u8 = 104;
    /// Its answer; 106–111 are reserved for more of them.
    pub const QUERY_ANSWER: u8 = 105;
    /// ICE servers that a service node hands out; 113–119 are reserved for more.
    pub const ICE_SERVERS: u8 = 112;
    /// First of the kinds free for experiments (240–255).
    pub const EXPERIMENTAL: u8 = 240;
}

/// What a routed request asks of whom it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Claims of a room's members. Payload empty. Answered by [`FindAnswer`].
    Find = 1,
    /// Keep a claim. Payload [`Publish`]. Answered by [`PublishAnswer`].
    Publish = 2,
    /// The service nodes nearest to the key. Payload [`Nearest`]. Answered by [`NearestAnswer`].
    Nearest = 3,
    /// A link to a member, by its home. Payload [`Connect`]. Answered by [`ConnectAnswer`].
    Connect = 4,
    /// News of claims for a claimant, by its home. Payload [`Notify`]. Not answered.
    Notify = 5,
    /// Withdrawal of a claim. Payload [`Withdraw`]. Answered by an empty [`PublishAnswer`].
    Withdraw = 6,
}

impl TryFrom<u8> for Purpose {
    type Error = DecodeError;

    fn try_from(number: u8) -> Result<Self, DecodeError> {
        match number {
            1 => Ok(Self::Find),
            2 => Ok(Self::Publish),
            3 => Ok(Self::Nearest),
            4 => Ok(Self::Connect),
            5 => Ok(Self::Notify),
            6 => Ok(Self::Withdraw),
            _ => Err(DecodeError::BadEnum),
        }
    }
}

/// Link liveness probe; the answer repeats `token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Any number.
    pub token: u64,
}

/// The last message on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// A [`CloseReason`](crate::CloseReason) as number; unknown numbers count as `Closed`.
    pub reason: u8,
    /// Home claims of others to turn to (with `Busy` and `Shutdown`).
    pub referrals: Bounded<Bytes, 8>,
}

/// Why the sender keeps the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    /// Bit set of [`LinkReason`](crate::LinkReason); unknown bits count as reasons.
    pub mask: u8,
}

/// The sender's place in the overlay. Sent when a link opens and when something in it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's location: its primary room.
    pub location: RoomId,
    /// Whether the sender takes part in routing.
    pub ready: bool,
    /// The sender's own home claim, if it is a service node and the receiver has not got it on this link.
    pub home: Option<Bytes>,
    /// How many neighbours the sender would like to be told of.
    pub wants: u8,
    /// Home claims of the linked service nodes nearest to the receiver, and of a few others.
    pub neighbours: Bounded<Bytes, 16>,
}

/// Acknowledges one hop of a routed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopAck {
    /// The request.
    pub request: RequestId,
    /// Its attempt.
    pub attempt: u8,
    /// Whether the (request, attempt) was seen before, and hence not forwarded.
    pub seen: bool,
}

/// Payload of [`Purpose::Publish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The claim, opaque.
    pub claim: Bytes,
    /// [Marks](crate::wire::Claim::mark) of the current claims of that room that the publisher knows.
    pub known: Bounded<u64, 32>,
}

/// Payload of [`Purpose::Find`] towards another key of a room than its first, for which the payload is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Find {
    /// The room.
    pub room: RoomId,
    /// Which of its keys: not 0.
    pub replica: u8,
}

/// Answer to [`Purpose::Find`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindAnswer {
    /// Claims, freshest first.
    pub claims: Bounded<Bytes, 8>,
}

/// Answer to [`Purpose::Publish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishAnswer {
    /// Claims of others that the publisher did not name.
    pub claims: Bounded<Bytes, 8>,
    /// The newer claim of the publisher itself because of which this one was refused.
    pub newer: Option<Bytes>,
    /// Seconds until the next renewal, if the holder wants it later than usual.
    pub slow_down: u16,
}

/// Payload of [`Purpose::Nearest`].
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nearest {
    /// How many service nodes are asked for.
    pub most: u8,
    /// [Marks](crate::wire::HomeClaim::mark) of the home claims that the origin has of service nodes near to the key.
    pub known: Bounded<u32, 16>,
}

/// Answer to [`Purpose::Nearest`]: the root and its nearest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestAnswer {
    /// Home claims that the origin did not name, the root's own first.
    pub homes: Bounded<Bytes, 16>,
    /// Marks of those that it did name.
    pub known: Bounded<u32, 16>,
}

/// Payload of [`Purpose::Withdraw`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdraw {
    /// The tombstone, opaque.
    pub tombstone: Bytes,
}

/// Payload of [`Purpose::Notify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// For whom.
    pub target: PeerId,
    /// Claims of others in one of its rooms.
    pub claims: Bounded<Bytes, 8>,
}

/// Payload of [`Purpose::Connect`]: a [`ConnectRequest`] without what the packet says already, and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The room, unless the claim names it.
    pub room: Option<RoomId>,
    /// Wall-clock expiry, milliseconds since the Unix epoch.
    pub expiry_ms: u64,
    /// The origin's own claim for that room; empty if it told the target before, with the homes it has now.
    pub claim: Bytes,
    /// The origin's home claim, if it can be dialled.
    pub home_claim: Option<Bytes>,
    /// [Mark](crate::wire::HomeClaim::mark) of the home claim that the origin has of the home.
    pub home_known: Option<u32>,
    /// The origin's signature of the [`ConnectRequest`] (kind `connect`).
    #[serde(with = "fixed")]
    pub signature: Signature,
}

/// What the origin of a connect request signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// Which packet it is in.
    pub about: ConnectAbout,
    /// The room both are in.
    pub room: RoomId,
    /// As in [`Connect`].
    pub expiry_ms: u64,
    /// As in [`Connect`].
    pub claim: Bytes,
    /// As in [`Connect`].
    pub home_claim: Option<Bytes>,
    /// As in [`Connect`].
    pub home_known: Option<u32>,
}

/// What the packet of a connect request says of it, which its origin signs, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectAbout {
    /// The routed request's id.
    pub id: RequestId,
    /// Who asks: the first on the route.
    pub origin: PeerId,
    /// Who is asked.
    pub target: PeerId,
    /// The packet's key: the location of the home through which it is asked.
    pub key: RoomId,
}

/// Answer to [`Purpose::Connect`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectAnswer {
    /// What the target says; `None` if the home says that the target is not there.
    pub reply: Option<SignedConnectReply>,
    /// The home claim of the target's home, added by the home if the reply asks for it.
    pub home: Option<Bytes>,
}

/// A [`ConnectReply`] without what its request says already, and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedConnectReply {
    /// Whether the target agrees to a link.
    pub accept: bool,
    /// Whether the target dials the origin.
    pub dials: bool,
    /// The target's home claim, if it can be dialled.
    pub home_claim: Option<Bytes>,
    /// Whether the origin lacks the home claim that the target's home has now, as far as the target knows.
    pub home_wanted: bool,
    /// The target's signature of the [`ConnectReply`] (kind `connect-reply`).
    #[serde(with = "fixed")]
    pub signature: Signature,
}

/// What the target of a connect request signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectReply {
    /// SHA-256 of the [`ConnectRequest`], and hence who asked whom.
    #[serde(with = "fixed")]
    pub request_hash: [u8; 32],
    /// As in [`SignedConnectReply`].
    pub accept: bool,
    /// As in [`SignedConnectReply`].
    pub dials: bool,
    /// As in [`SignedConnectReply`].
    pub home_claim: Option<Bytes>,
    /// As in [`SignedConnectReply`].
    pub home_wanted: bool,
}

/// A question of an iterative look-up, to a service node: what it holds for a room's key, and whom it knows near to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Repeated in the answer.
    pub request: RequestId,
    /// The room.
    pub room: RoomId,
    /// Which of the room's keys.
    pub replica: u8,
    /// A claim of the sender's for that key, to be held.
    pub claim: Option<Bytes>,
}

/// Answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// That of the question.
    pub request: RequestId,
    /// Home claims of the linked service nodes nearest to the key.
    pub homes: Bounded<Bytes, 8>,
    /// Claims for that key: the asker's own first, if it is held.
    pub claims: Bounded<Bytes, 9>,
    /// The newer claim of the asker itself because of which the one in the question was refused.
    pub newer: Option<Bytes>,
}

/// A step of signalling between two clients that are linked already, by a circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalStep {
    /// Which attempt it belongs to: chosen at random by the offerer.
    pub session: u64,
    /// What the sender's WebRTC stack found.
    pub signal: Signal,
}

/// ICE servers for a client to use. They replace those that the sender handed out before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServers {
    /// The servers.
    pub servers: Bounded<IceServer, { IceServer::MAX }>,
}

/// Claims for a holder to keep, and tombstones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicate {
    /// Claims.
    pub claims: Bounded<ClaimCopy, 32>,
    /// Opaque tombstones.
    pub tombstones: Bounded<Bytes, 32>,
}

/// A claim that a holder hands to another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimCopy {
    /// The claim, opaque.
    pub claim: Bytes,
    /// How long the sender still holds it, seconds.
    pub left_s: u16,
}

/// Digest of what the sender holds for one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreDigest {
    /// The room.
    pub room: RoomId,
    /// The replica index.
    pub replica: u8,
    /// First eight bytes of the SHA-256 of each claim and tombstone.
    pub items: Bounded<u64, 64>,
    /// Whether the receiver shall answer with its own digest if it differs.
    pub answer: bool,
}

/// Sets up a circuit hop by hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitOpen {
    /// The circuit's number on this link, chosen by the sender: even if it opened the link, odd otherwise.
    pub circuit: u32,
    /// Who opens the circuit.
    pub origin: PeerId,
    /// The nodes still to pass, each once, the target last.
    #[serde(deserialize_with = "unique")]
    pub route: Bounded<PeerId, 16>,
    /// The room both ends are in.
    pub room: RoomId,
    /// Bytes that the receiver may send.
    pub window: u32,
}

/// The circuit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitOpened {
    /// The circuit's number on this link.
    pub circuit: u32,
    /// Bytes that the receiver may send.
    pub window: u32,
}

/// More credit for a circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitCredit {
    /// The circuit's number on this link.
    pub circuit: u32,
    /// Bytes that the receiver may send in addition.
    pub bytes: u32,
}

/// A circuit's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitReset {
    /// The circuit's number on this link.
    pub circuit: u32,
    /// A [`CloseReason`](crate::CloseReason) as number.
    pub reason: u8,
}

/// Proves that the sender knows a room, before any other room message on that link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomProof {
    /// The room's public key; its SHA-256 is the room id.
    #[serde(with = "fixed")]
    pub room_key: [u8; 32],
    /// By the room key (kind `room-proof`) over (channel binding, room id, prover, verifier).
    #[serde(with = "fixed")]
    pub signature: Signature,
    /// Whether the receiver shall send its own proof.
    pub answer: bool,
    /// The sender's own claim.
    pub claim: Bytes,
    /// Where the sender's streams towards the receiver stand.
    pub streams: Bounded<StreamNext, 64>,
    /// How far the sender has received the receiver's streams.
    pub marks: Bounded<StreamMark, 64>,
}

/// The next sequence number of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamNext {
    /// The stream.
    pub stream: u64,
    /// The number its next message will have.
    pub next: u64,
}

/// How far one stream of one author was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// Whose stream.
    pub author: PeerId,
    /// The author's instance.
    pub instance: Instance,
    /// The stream.
    pub stream: u64,
    /// The number expected next: all before it were received.
    pub next: u64,
}

/// A proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRefused {
    /// The room.
    pub room: RoomId,
    /// Whether the room is full (otherwise: not a member).
    pub full: bool,
}

/// Claims of members, exchanged by members on linking and on change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomClaims {
    /// The room.
    pub room: RoomId,
    /// How long ago the sender joined the room, seconds: tells a part of the room that was unknown from newcomers.
    pub joined_s: u32,
    /// Opaque claims.
    pub claims: Bounded<Bytes, 32>,
}

/// The sender leaves a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLeave {
    /// The room.
    pub room: RoomId,
}

/// What the sender says of itself in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberData {
    /// Its [statement](crate::wire::MemberStatement), opaque.
    pub statement: Bytes,
}

/// A room message's header: what its author signs, and what its id is the hash of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The room.
    pub room: RoomId,
    /// Who wrote it.
    pub author: PeerId,
    /// The author's instance.
    pub instance: Instance,
    /// The stream: 0 for messages to all, else the first eight bytes of the hash of the sorted recipients.
    pub stream: u64,
    /// Counts the stream's messages from 0.
    pub sequence: u64,
    /// Recipients in ascending order; empty for all members.
    #[serde(deserialize_with = "ascending")]
    pub recipients: Bounded<PeerId, 32>,
    /// First eight bytes of the hash of the sorted list of those to whom the author pushes; see [`PushSet`].
    pub push_set: u64,
    /// SHA-256 of the body.
    #[serde(with = "fixed")]
    pub body_hash: [u8; 32],
    /// Whether the body is a list of sealed copies.
    pub sealed: bool,
}

/// The body of a message to chosen members that was not sent over their own links alone: a copy for each recipient,
/// sealed to the key in its claim, so that others can forward it unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedBody {
    /// One for each recipient.
    pub copies: Bounded<SealedCopy, 32>,
}

/// A sealed copy of a payload; see [`Crypto::seal`](crate::crypto::Crypto::seal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCopy {
    /// Who can open it.
    pub to: PeerId,
    /// Sealed with the context room id ‖ author ‖ recipient.
    pub sealed: Bytes,
}

/// Ids of messages that the sender holds and the receiver may lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The room.
    pub room: RoomId,
    /// The messages, each once.
    #[serde(deserialize_with = "unique")]
    pub messages: Bounded<MessageId, 64>,
}

/// Asks for messages by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// The room.
    pub room: RoomId,
    /// The messages, each once.
    #[serde(deserialize_with = "unique")]
    pub messages: Bounded<MessageId, 64>,
}

/// To whom the sender pushes its own messages from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSet {
    /// The room.
    pub room: RoomId,
    /// In ascending order.
    #[serde(deserialize_with = "ascending")]
    pub peers: Bounded<PeerId, 64>,
}

/// How far the sender has received streams; what is missing is sent again by those who hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMarks {
    /// The room.
    pub room: RoomId,
    /// The marks.
    pub marks: Bounded<StreamMark, 64>,
}

/// The payload of handshake messages 2 and 3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakePayload {
    /// The identity key.
    pub identity: PeerId,
    /// By the identity key (kind `handshake`) over (role as one byte, static key).
    #[serde(with = "fixed")]
    pub signature: Signature,
    /// Which run of the identity this is.
    pub instance: Instance,
    /// Whether the sender is a service node.
    pub service: bool,
    /// Tagged extensions in ascending order of tags; unknown tags are ignored.
    #[serde(deserialize_with = "by_tag")]
    pub extensions: Bounded<Extension, 16>,
}

/// Tags of [`Extension`]s of a handshake.
pub mod extension {
    /// The sender can link by WebRTC. No content.
    pub const WEBRTC: u32 = 1;
}

/// A tagged extension of a signed or handshake object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// What it is.
    pub tag: u32,
    /// Its content.
    pub value: Bytes,
}

/// Reads extensions, which must be in strictly ascending order of their tags.
pub(crate) fn by_tag<'de, D: Deserializer<'de>, const N: usize>(
    from: D,
) -> Result<Bounded<Extension, N>, D::Error> {
    let extensions = Bounded::<Extension, N>::deserialize(from)?;
    if extensions.is_sorted_by(|a, b| a.tag < b.tag) {
        Ok(extensions)
    } else {
        Err(D::Error::custom(super::bounded::DUPLICATE))
    }
}
