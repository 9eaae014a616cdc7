//! Messages of the hot path, read and written by hand over the same format as all others.
//!
//! A view reads its fields where they stand and shares its long parts with the message it came in: decoding allocates
//! nothing, and forwarding copies the payload without looking into it. Fields stand in the order in which they are
//! declared here; tests compare every view with the postcard encoding of an equivalent derived struct.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::error::DecodeError;
use super::message::{Purpose, kind};
use super::peer_ids::{PeerIds, put_entry};
use super::reader::Reader;
use super::writer::{put_bytes, put_length, put_varint};
use crate::{MessageId, PeerId, RequestId, RoomId};

/// Most hops of a routed packet, and so most entries of its route.
pub const ROUTE_MAX: usize = 16;

/// Most nodes named by a reply: those of the route and the terminal.
pub const REPLY_ROUTE_MAX: usize = ROUTE_MAX + 1;

/// Most peers that a request can exclude.
pub const EXCLUDE_MAX: usize = 4;

/// Bytes of integers and lengths in a routed packet or reply, at most, without lists and payload.
const FIXED_BYTES_MAX: usize = 128;

/// Opens a message that must be of `kind`.
fn open(bytes: &Bytes, kind: u8) -> Result<Reader<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    match reader.byte() {
        Ok(found) if found == kind => Ok(reader),
        Ok(found) => Err(DecodeError::UnknownKind(found)),
        Err(_) => Err(DecodeError::Empty),
    }
}

/// A request on its way to the node nearest to a key.
///
/// Every sender, the origin first, appends itself to the route before it sends; so the last entry is the previous hop
/// and no packet names a peer twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// What is asked.
    pub purpose: Purpose,
    /// Whether only the root may answer, not somebody on the way.
    pub to_root: bool,
    /// The attempt, from 0.
    pub attempt: u8,
    /// The request.
    pub request: RequestId,
    /// Where it goes: a room, or a home's location.
    pub key: RoomId,
    /// For `Connect` and `Notify`: which client of the home at `key` is meant.
    pub target: Option<PeerId>,
    /// Peers that shall not be passed or asked.
    pub exclude: PeerIds<EXCLUDE_MAX>,
    /// The nodes passed, the origin first.
    pub route: PeerIds<ROUTE_MAX>,
    /// What the purpose asks for, opaque to those on the way.
    pub payload: Bytes,
}

/// Why a packet cannot be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForwardError {
    /// This node is on the route.
    Loop,
    /// The route holds [`ROUTE_MAX`] nodes.
    TooManyHops,
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loop => "the packet has passed this node before",
            Self::TooManyHops => "the packet has made all its hops",
        })
    }
}

impl core::error::Error for ForwardError {}

impl Routed {
    /// Reads a whole message.
    ///
    /// # Errors
    /// If it is no canonical routed packet; see [`DecodeError`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, kind::ROUTED)?;
        let routed = Self {
            purpose: reader.byte()?.try_into()?,
            to_root: reader.boolean()?,
            attempt: reader.byte()?,
            request: RequestId(reader.u64()?),
            key: RoomId(reader.hash()?),
            target: if reader.some()? { Some(reader.peer()?) } else { None },
            exclude: PeerIds::read(&mut reader, bytes)?,
            route: PeerIds::read(&mut reader, bytes)?,
            payload: reader.shared(bytes)?,
        };
        reader.finish()?;
        Ok(routed)
    }

    /// The whole message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.head();
        self.route.write(&mut out);
        put_bytes(&mut out, &self.payload);
        out
    }

    /// The whole message with `me` appended to the route. The payload is copied, not read.
    ///
    /// # Errors
    /// If the packet must not go on.
    pub fn forward(&self, me: PeerId) -> Result<Vec<u8>, ForwardError> {
        if self.route.len() >= ROUTE_MAX {
            return Err(ForwardError::TooManyHops);
        }
        if self.route.contains(me) {
            return Err(ForwardError::Loop);
        }
        let mut out = self.head();
        self.route.write_with(me, &mut out);
        put_bytes(&mut out, &self.payload);
        Ok(out)
    }

    fn head(&self) -> Vec<u8> {
        let lists = self.exclude.encoded_bytes().saturating_add(self.route.encoded_bytes());
        let long = lists.saturating_add(self.payload.len());
        let mut out = Vec::with_capacity(long.saturating_add(FIXED_BYTES_MAX));
        out.push(kind::ROUTED);
        out.push(self.purpose as u8);
        out.push(u8::from(self.to_root));
        out.push(self.attempt);
        put_varint(&mut out, self.request.0);
        put_bytes(&mut out, &self.key.0);
        match self.target {
            None => out.push(0),
            Some(target) => {
                out.push(1);
                put_entry(&mut out, target);
            }
        }
        self.exclude.write(&mut out);
        out
    }
}

/// Up to [`REPLY_ROUTE_MAX`] round-trip times in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct RttsMs {
    values: [u16; REPLY_ROUTE_MAX],
    count: u8,
}

impl RttsMs {
    /// The list of `values`, if they are at most [`REPLY_ROUTE_MAX`].
    #[must_use]
    pub fn new(values: &[u16]) -> Option<Self> {
        values.iter().try_fold(Self::default(), |list, value| list.with(*value))
    }

    /// The values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.values.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The list with one more value, if there is room.
    #[must_use]
    pub fn with(mut self, value: u16) -> Option<Self> {
        *self.values.get_mut(usize::from(self.count))? = value;
        self.count = self.count.saturating_add(1);
        Some(self)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count(REPLY_ROUTE_MAX)?;
        let mut list = Self::default();
        for _ in 0..count {
            list = list.with(reader.u16()?).ok_or(DecodeError::TooMany)?;
        }
        Ok(list)
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_length(out, self.as_slice().len());
        for value in self.as_slice() {
            put_varint(out, u64::from(*value));
        }
    }
}

impl fmt::Debug for RttsMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// An answer on its way back along the recorded route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was asked.
    pub purpose: Purpose,
    /// The attempt that is answered.
    pub attempt: u8,
    /// The request.
    pub request: RequestId,
    /// Index in the route of the receiver of this message; 0 is the origin.
    pub at: u8,
    /// The nodes passed, the origin first and the node that answered last. Never empty.
    pub route: PeerIds<REPLY_ROUTE_MAX>,
    /// Bit set: bit i says that the i-th node of the route is a service node.
    pub services: u32,
    /// Appended by each node on the way back: the round-trip time of its link to the next node of the route. So the
    /// last value is that of the node nearest to the origin.
    pub rtts_ms: RttsMs,
    /// The answer, opaque to those on the way.
    pub payload: Bytes,
}

impl Reply {
    /// Reads a whole message.
    ///
    /// # Errors
    /// If it is no canonical reply, if `at` is not on the route, or if `services` names nodes beyond it.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, kind::REPLY)?;
        let reply = Self {
            purpose: reader.byte()?.try_into()?,
            attempt: reader.byte()?,
            request: RequestId(reader.u64()?),
            at: reader.byte()?,
            route: PeerIds::read(&mut reader, bytes)?,
            services: reader.u32()?,
            rtts_ms: RttsMs::read(&mut reader)?,
            payload: reader.shared(bytes)?,
        };
        reader.finish()?;
        let nodes = reply.route.len();
        let beyond = u32::try_from(nodes).ok().and_then(|nodes| reply.services.checked_shr(nodes));
        if usize::from(reply.at) >= nodes || beyond != Some(0) {
            return Err(DecodeError::Invalid);
        }
        Ok(reply)
    }

    /// The whole message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(self.at, &self.rtts_ms)
    }

    /// The whole message for the node at `to_index` of the route, with this node's round-trip time to the node it got
    /// the reply from. The payload is copied, not read.
    ///
    /// `None` if `to_index` does not lie before this node or no more times fit.
    #[must_use]
    pub fn backward(&self, to_index: u8, rtt_ms: u16) -> Option<Vec<u8>> {
        if to_index >= self.at {
            return None;
        }
        Some(self.encode_as(to_index, &self.rtts_ms.with(rtt_ms)?))
    }

    fn encode_as(&self, at: u8, rtts_ms: &RttsMs) -> Vec<u8> {
        let long = self.route.encoded_bytes().saturating_add(self.payload.len());
        let mut out = Vec::with_capacity(long.saturating_add(FIXED_BYTES_MAX));
        out.push(kind::REPLY);
        out.push(self.purpose as u8);
        out.push(self.attempt);
        put_varint(&mut out, self.request.0);
        out.push(at);
        self.route.write(&mut out);
        put_varint(&mut out, u64::from(self.services));
        rtts_ms.write(&mut out);
        put_bytes(&mut out, &self.payload);
        out
    }
}

/// A frame inside a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitData {
    /// The circuit's number on this link.
    pub circuit: u32,
    /// The frame.
    pub frame: Bytes,
}

impl CircuitData {
    /// What a frame costs of a window beyond its bytes: about what a relay needs to hold it, so that many small frames
    /// take no more memory than few large ones.
    pub const FRAME_CHARGE: usize = 64;

    /// What a frame of so many bytes costs of a window.
    #[must_use]
    pub const fn charge(frame_bytes: usize) -> usize {
        frame_bytes.saturating_add(Self::FRAME_CHARGE)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// If it is no canonical circuit data.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, kind::CIRCUIT_DATA)?;
        let data = Self { circuit: reader.u32()?, frame: reader.shared(bytes)? };
        reader.finish()?;
        Ok(data)
    }

    /// The whole message. A relay passes a frame on by changing `circuit` alone.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.frame.len().saturating_add(16));
        out.push(kind::CIRCUIT_DATA);
        put_varint(&mut out, u64::from(self.circuit));
        put_bytes(&mut out, &self.frame);
        out
    }
}

/// A room message: signed header, signature, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMessage {
    /// postcard of [`Header`](super::message::Header).
    pub header: Bytes,
    /// The author's signature (kind `message`) over the header: 64 bytes, or none where the author sends over its own
    /// link.
    pub signature: Bytes,
    /// The content.
    pub body: Bytes,
}

impl RoomMessage {
    /// Reads a whole message.
    ///
    /// # Errors
    /// If it is no canonical room message, or its signature has neither 0 nor 64 bytes. The header is not read.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = open(bytes, kind::MESSAGE)?;
        let message = Self {
            header: reader.shared(bytes)?,
            signature: reader.shared(bytes)?,
            body: reader.shared(bytes)?,
        };
        reader.finish()?;
        if !matches!(message.signature.len(), 0 | 64) {
            return Err(DecodeError::Invalid);
        }
        Ok(message)
    }

    /// The message's id: SHA-256 of its header.
    #[must_use]
    pub fn id(&self) -> MessageId {
        MessageId(crate::crypto::sha256(&[&self.header]))
    }

    /// The whole message in two parts that follow each other, so that links share one body.
    #[must_use]
    pub fn encode_parts(&self) -> (Vec<u8>, Bytes) {
        (self.head(0), self.body.clone())
    }

    /// The whole message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.head(self.body.len());
        out.extend_from_slice(&self.body);
        out
    }

    fn head(&self, spare: usize) -> Vec<u8> {
        let parts = self.header.len().saturating_add(self.signature.len()).saturating_add(spare);
        let mut out = Vec::with_capacity(parts.saturating_add(32));
        out.push(kind::MESSAGE);
        put_bytes(&mut out, &self.header);
        put_bytes(&mut out, &self.signature);
        put_length(&mut out, self.body.len());
        out
    }
}
