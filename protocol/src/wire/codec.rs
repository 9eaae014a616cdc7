//! Messages to bytes and back: one byte of kind, then the postcard encoding of the kind's struct.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::DecodeError;
use super::message::{
    Announce, CircuitCredit, CircuitOpen, CircuitOpened, CircuitReset, Goodbye, Hello, HopAck, IceServers,
    MemberData, Ping, Pull, PushSet, Query, QueryAnswer, Reasons, Replicate, RoomClaims, RoomLeave,
    RoomProof, RoomRefused, SignalStep, StoreDigest, StreamMarks, kind,
};
use super::reader::Reader;
use super::view::{CircuitData, Reply, RoomMessage, Routed};

/// The encoding of a payload, without a kind.
#[must_use]
pub fn encode_body<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_after(Vec::with_capacity(TYPICAL_BYTES), value)
}

/// Reads a payload, the whole of it.
///
/// # Errors
/// If the bytes are not exactly what [`encode_body`] writes for some value of `T`.
pub fn decode_body<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    decode_from(Reader::new(bytes))
}

/// Room for most messages, bytes, so that they are written without growing their buffer step by step.
const TYPICAL_BYTES: usize = 256;

/// A buffer that starts with a message's kind.
fn started(kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(TYPICAL_BYTES);
    out.push(kind);
    out
}

fn encode_after<T: Serialize + ?Sized>(prefix: Vec<u8>, value: &T) -> Vec<u8> {
    // postcard fails on lists of unknown length and on full buffers, and a message has neither.
    postcard::to_extend(value, prefix).unwrap_or_default()
}

fn decode_from<'de, T: Deserialize<'de>>(mut reader: Reader<'de>) -> Result<T, DecodeError> {
    let value = T::deserialize(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

macro_rules! messages {
    (
        derived { $($(#[$derived_doc:meta])* $derived:ident($derived_type:ty) = $derived_kind:ident,)+ }
        views { $($(#[$view_doc:meta])* $view:ident($view_type:ty) = $view_kind:ident,)+ }
    ) => {
        /// A message between two linked nodes.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $($(#[$derived_doc])* $derived($derived_type),)+
            $($(#[$view_doc])* $view($view_type),)+
        }

        impl Message {
            /// The kinds in use.
            pub const KINDS: &'static [u8] = &[$(kind::$derived_kind,)+ $(kind::$view_kind,)+];

            /// Its kind number.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$derived(_) => kind::$derived_kind,)+
                    $(Self::$view(_) => kind::$view_kind,)+
                }
            }

            /// Its bytes: the kind, then the struct.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$derived(body) => encode_after(started(kind::$derived_kind), body),)+
                    $(Self::$view(view) => view.encode(),)+
                }
            }

            /// Reads a whole message. Long parts of room messages, routed packets, replies and circuit data are shared
            /// with `bytes`, all else is copied, so that what is kept does not keep the input alive.
            ///
            /// # Errors
            /// If the bytes are not exactly what [`encode`](Self::encode) writes for some message.
            pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
                let kind = *bytes.first().ok_or(DecodeError::Empty)?;
                if let Some(max) = kind::bytes_max(kind)
                    && bytes.len() > max
                {
                    return Err(DecodeError::TooLarge { max });
                }
                match kind {
                    $(kind::$derived_kind => {
                        let mut reader = Reader::new(bytes);
                        reader.byte()?;
                        decode_from(reader).map(Self::$derived)
                    })+
                    $(kind::$view_kind => <$view_type>::decode(bytes).map(Self::$view),)+
                    unknown => Err(DecodeError::UnknownKind(unknown)),
                }
            }
        }
    };
}

messages! {
    derived {
        /// Liveness probe.
        Ping(Ping) = PING,
        /// Answer to a probe.
        Pong(Ping) = PONG,
        /// The sender closes the link.
        Goodbye(Goodbye) = GOODBYE,
        /// Why the sender keeps the link.
        Reasons(Reasons) = REASONS,
        /// The sender's place in the overlay.
        Hello(Hello) = HELLO,
        /// Acknowledgement of one hop.
        HopAck(HopAck) = HOP_ACK,
        /// Claims to keep.
        Replicate(Replicate) = REPLICATE,
        /// Digest of the claims held for a key.
        StoreDigest(StoreDigest) = STORE_DIGEST,
        /// A circuit's set-up.
        CircuitOpen(CircuitOpen) = CIRCUIT_OPEN,
        /// A circuit stands.
        CircuitOpened(CircuitOpened) = CIRCUIT_OPENED,
        /// Credit for a circuit.
        CircuitCredit(CircuitCredit) = CIRCUIT_CREDIT,
        /// A circuit's end.
        CircuitReset(CircuitReset) = CIRCUIT_RESET,
        /// Proof of knowing a room.
        RoomProof(RoomProof) = ROOM_PROOF,
        /// A proof is refused.
        RoomRefused(RoomRefused) = ROOM_REFUSED,
        /// Claims of members.
        RoomClaims(RoomClaims) = ROOM_CLAIMS,
        /// The sender leaves a room.
        RoomLeave(RoomLeave) = ROOM_LEAVE,
        /// Application data of a member.
        MemberData(MemberData) = MEMBER_DATA,
        /// Ids of messages that the sender holds.
        Announce(Announce) = ANNOUNCE,
        /// Request for messages.
        Pull(Pull) = PULL,
        /// To whom the sender pushes.
        PushSet(PushSet) = PUSH_SET,
        /// How far streams were received.
        StreamMarks(StreamMarks) = STREAM_MARKS,
        /// A question of an iterative look-up.
        Query(Query) = QUERY,
        /// Its answer.
        QueryAnswer(QueryAnswer) = QUERY_ANSWER,
        /// A step of WebRTC signalling.
        Signal(SignalStep) = SIGNAL,
        /// ICE servers to use.
        IceServers(IceServers) = ICE_SERVERS,
    }
    views {
        /// A request on its way to a key.
        Routed(Routed) = ROUTED,
        /// An answer on its way back.
        Reply(Reply) = REPLY,
        /// A frame inside a circuit.
        CircuitData(CircuitData) = CIRCUIT_DATA,
        /// A room message.
        RoomMessage(RoomMessage) = MESSAGE,
    }
}
