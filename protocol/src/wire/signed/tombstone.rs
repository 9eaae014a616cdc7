//! A tombstone: this peer has withdrawn its claim for this room.

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Claim, Sequence, VERSION, decode_signed, digest, encode_signed, millis, signature_kind, verify_signed,
};
use crate::crypto::Crypto;
use crate::id::fixed;
use crate::wire::bounded::Bounded;
use crate::wire::error::DecodeError;
use crate::wire::message::{Extension, by_tag};
use crate::{Identity, NetworkId, PeerId, RoomId, RoomKey};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    version: u8,
    #[serde(with = "fixed")]
    room_key: [u8; 32],
    peer: PeerId,
    replica: u8,
    sequence: Sequence,
    expiry_ms: u64,
    #[serde(deserialize_with = "by_tag")]
    extensions: Bounded<Extension, 16>,
}

/// The withdrawal of a claim and of all older ones, signed by the room's key and by the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    bytes: Bytes,
    body: Body,
}

impl Tombstone {
    /// Longest encoding, bytes.
    pub const BYTES_MAX: usize = 512;

    /// Withdraws `claim`. The tombstone lasts as long as anyone may hold the claim for valid: `tolerance` beyond its
    /// expiry.
    #[must_use]
    pub fn make(
        claim: &Claim,
        tolerance: Duration,
        room: &RoomKey,
        identity: &Identity,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        Self::make_under(claim, claim.replica(), tolerance, room, identity, crypto, network)
    }

    /// Withdraws what `claim` says under another of the room's keys.
    #[must_use]
    pub fn make_under(
        claim: &Claim,
        replica: u8,
        tolerance: Duration,
        room: &RoomKey,
        identity: &Identity,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        let body = Body {
            version: VERSION,
            room_key: *claim.room_key(),
            peer: claim.peer(),
            replica,
            sequence: claim.sequence(),
            expiry_ms: claim.expiry_ms().saturating_add(millis(tolerance)),
            extensions: Bounded::default(),
        };
        let signers =
            [(signature_kind::TOMBSTONE, room.secret()), (signature_kind::TOMBSTONE_PEER, identity.secret())];
        Self { bytes: encode_signed(&body, &signers, crypto, network), body }
    }

    /// Reads a tombstone; its signatures are not checked.
    ///
    /// # Errors
    /// If it is malformed or too long.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let body = decode_signed(bytes, 2, Self::BYTES_MAX)?;
        Ok(Self { bytes: bytes.clone(), body })
    }

    /// Checks both signatures.
    #[must_use]
    pub fn verify(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let signers = [
            (signature_kind::TOMBSTONE, &self.body.room_key),
            (signature_kind::TOMBSTONE_PEER, self.body.peer.as_bytes()),
        ];
        verify_signed(&self.bytes, &signers, crypto, network)
    }

    /// The bytes to store and forward.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How digests name it: the first eight bytes, little-endian, of the SHA-256 of it without its signatures.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(&self.bytes, 2)
    }

    /// The room.
    #[must_use]
    pub fn room_id(&self) -> RoomId {
        RoomKey::room_id(&self.body.room_key)
    }

    /// The room's public key.
    #[must_use]
    pub const fn room_key(&self) -> &[u8; 32] {
        &self.body.room_key
    }

    /// Whose claim is withdrawn.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// For which of the room's keys.
    #[must_use]
    pub const fn replica(&self) -> u8 {
        self.body.replica
    }

    /// The last withdrawn claim's sequence.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.body.sequence
    }

    /// Until when it is kept, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn expiry_ms(&self) -> u64 {
        self.body.expiry_ms
    }

    /// Whether it replaces `other`, a tombstone of the same member for the same room and replica.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> bool {
        self.body.sequence > other.body.sequence
    }

    /// Whether it withdraws `claim`.
    #[must_use]
    pub fn withdraws(&self, claim: &Claim) -> bool {
        self.body.room_key == *claim.room_key()
            && self.body.peer == claim.peer()
            && self.body.replica == claim.replica()
            && self.body.sequence >= claim.sequence()
    }

    /// Whether it is to be kept at wall time `unix_ms`: not past its expiry, nor further ahead than that of a claim made
    /// by a clock that runs ahead by `tolerance`.
    #[must_use]
    pub fn is_current(&self, unix_ms: u64, tolerance: Duration) -> bool {
        let latest_ms =
            unix_ms.saturating_add(Claim::TTL_MAX_MS).saturating_add(millis(tolerance).saturating_mul(2));
        unix_ms < self.body.expiry_ms && self.body.expiry_ms <= latest_ms
    }
}
