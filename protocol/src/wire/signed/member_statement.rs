//! A member's statement: the application data that it shows in a room.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Sequence, VERSION, decode_signed, encode_signed, signature_kind, verify_signed};
use crate::crypto::Crypto;
use crate::wire::bounded::Bounded;
use crate::wire::error::DecodeError;
use crate::wire::message::{Extension, by_tag};
use crate::{Identity, NetworkId, PeerId, RoomId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    version: u8,
    room: RoomId,
    peer: PeerId,
    sequence: Sequence,
    data: Bytes,
    #[serde(deserialize_with = "by_tag")]
    extensions: Bounded<Extension, 16>,
}

/// What a member says of itself in one room, signed by it. Of a member's statements for a room the one with the largest
/// sequence holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatement {
    bytes: Bytes,
    body: Body,
}

impl MemberStatement {
    /// Longest data, bytes.
    pub const DATA_BYTES_MAX: usize = 1024;
    /// Longest encoding, bytes: the data, and as much for all else.
    pub const BYTES_MAX: usize = 2 * Self::DATA_BYTES_MAX;

    /// Makes and signs a statement; `None` if the data have more than [`DATA_BYTES_MAX`](Self::DATA_BYTES_MAX) bytes. Empty
    /// data take back what was said before.
    #[must_use]
    pub fn make(
        room: RoomId,
        sequence: Sequence,
        data: Bytes,
        identity: &Identity,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Option<Self> {
        if data.len() > Self::DATA_BYTES_MAX {
            return None;
        }
        let peer = PeerId(crypto.public_key(identity.secret()));
        let body = Body { version: VERSION, room, peer, sequence, data, extensions: Bounded::default() };
        let signers = [(signature_kind::MEMBER_DATA, identity.secret())];
        Some(Self { bytes: encode_signed(&body, &signers, crypto, network), body })
    }

    /// Reads a statement; its signature is not checked.
    ///
    /// # Errors
    /// If it is malformed, or it or its data are too long.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let body: Body = decode_signed(bytes, 1, Self::BYTES_MAX)?;
        if body.data.len() > Self::DATA_BYTES_MAX {
            return Err(DecodeError::TooLarge { max: Self::DATA_BYTES_MAX });
        }
        Ok(Self { bytes: bytes.clone(), body })
    }

    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let signers = [(signature_kind::MEMBER_DATA, self.body.peer.as_bytes())];
        verify_signed(&self.bytes, &signers, crypto, network)
    }

    /// The bytes to send.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The room it is for.
    #[must_use]
    pub const fn room_id(&self) -> RoomId {
        self.body.room
    }

    /// Who says it.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// Its place among the member's statements.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.body.sequence
    }

    /// What it says; empty for nothing.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.body.data
    }
}
