//! A claim: this peer is a member of this room, and is reached through these homes.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Sequence, VERSION, decode_signed, digest, encode_signed, is_within, signature_kind, verify_signed,
};
use crate::crypto::{Crypto, sha256};
use crate::id::fixed;
use crate::wire::bounded::{Bounded, unique};
use crate::wire::error::DecodeError;
use crate::wire::message::{Extension, by_tag};
use crate::{Identity, NetworkId, PeerId, RoomId, RoomKey};

/// What a member says of itself in a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTerms {
    /// The homes through which the member is reached, preferred first; a service node names itself. At most
    /// [`Claim::HOMES_MAX`] different ones count.
    pub homes: Vec<PeerId>,
    /// Which of the room's keys the claim is for.
    pub replica: u8,
    /// Wall time of making, milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Wall time of expiry; at most [`Claim::TTL_MAX_MS`] after `issued_ms`.
    pub expiry_ms: u64,
    /// Orders the member's claims.
    pub sequence: Sequence,
    /// X25519 key to which others seal what only this member shall read.
    pub sealing_key: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    version: u8,
    #[serde(with = "fixed")]
    room_key: [u8; 32],
    peer: PeerId,
    #[serde(deserialize_with = "unique")]
    homes: Bounded<PeerId, { Claim::HOMES_MAX }>,
    replica: u8,
    issued_ms: u64,
    expiry_ms: u64,
    sequence: Sequence,
    #[serde(with = "fixed")]
    sealing_key: [u8; 32],
    #[serde(deserialize_with = "by_tag")]
    extensions: Bounded<Extension, 16>,
}

/// A claim, signed by the room's key and by the member. Equal claims have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    bytes: Bytes,
    body: Body,
}

impl Claim {
    /// Longest encoding, bytes.
    pub const BYTES_MAX: usize = 1024;
    /// Most homes.
    pub const HOMES_MAX: usize = 4;
    /// Longest validity, milliseconds (750 s: two and a half renewal periods).
    pub const TTL_MAX_MS: u64 = 750_000;

    /// Makes and signs a claim. Surplus homes and a too long validity are cut to their bounds.
    #[must_use]
    pub fn make(
        terms: &ClaimTerms,
        room: &RoomKey,
        identity: &Identity,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        let mut homes = Vec::with_capacity(Self::HOMES_MAX);
        for home in &terms.homes {
            if !homes.contains(home) {
                homes.push(*home);
            }
        }
        let latest_ms = terms.issued_ms.saturating_add(Self::TTL_MAX_MS);
        let body = Body {
            version: VERSION,
            room_key: crypto.public_key(room.secret()),
            peer: PeerId(crypto.public_key(identity.secret())),
            homes: Bounded::truncated(homes),
            replica: terms.replica,
            issued_ms: terms.issued_ms,
            expiry_ms: terms.expiry_ms.clamp(terms.issued_ms, latest_ms),
            sequence: terms.sequence,
            sealing_key: terms.sealing_key,
            extensions: Bounded::default(),
        };
        let signers =
            [(signature_kind::CLAIM, room.secret()), (signature_kind::CLAIM_PEER, identity.secret())];
        Self { bytes: encode_signed(&body, &signers, crypto, network), body }
    }

    /// Reads a claim; its signatures are not checked.
    ///
    /// # Errors
    /// If it is malformed, too long, or its validity ends before it begins or is too long.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let body: Body = decode_signed(bytes, 2, Self::BYTES_MAX)?;
        match body.expiry_ms.checked_sub(body.issued_ms) {
            Some(0..=Self::TTL_MAX_MS) => Ok(Self { bytes: bytes.clone(), body }),
            Some(_) | None => Err(DecodeError::Invalid),
        }
    }

    /// Checks both signatures.
    #[must_use]
    pub fn verify(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let signers = [
            (signature_kind::CLAIM, &self.body.room_key),
            (signature_kind::CLAIM_PEER, self.body.peer.as_bytes()),
        ];
        verify_signed(&self.bytes, &signers, crypto, network)
    }

    /// The bytes to store and forward.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How publishers name it: the first eight bytes, little-endian, of the SHA-256 of the replica index, the sealing key,
    /// the boot counter as `u64` little-endian, the peer id and those of the homes, in their order. A renewed claim of the
    /// same run with the same homes has the same mark.
    #[must_use]
    pub fn mark(&self) -> u64 {
        let mut input = alloc::vec![self.replica()];
        input.extend_from_slice(self.sealing_key());
        input.extend_from_slice(&self.sequence().boot.to_le_bytes());
        for peer in core::iter::once(self.peer()).chain(self.homes().iter().copied()) {
            input.extend_from_slice(peer.as_bytes());
        }
        sha256(&[&input]).first_chunk().copied().map_or(0, u64::from_le_bytes)
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

    /// The member.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// Its homes, preferred first.
    #[must_use]
    pub fn homes(&self) -> &[PeerId] {
        &self.body.homes
    }

    /// Which of the room's keys it is for.
    #[must_use]
    pub const fn replica(&self) -> u8 {
        self.body.replica
    }

    /// Wall time of making, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn issued_ms(&self) -> u64 {
        self.body.issued_ms
    }

    /// Wall time of expiry, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn expiry_ms(&self) -> u64 {
        self.body.expiry_ms
    }

    /// Its place among the member's claims.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.body.sequence
    }

    /// The member's X25519 key.
    #[must_use]
    pub const fn sealing_key(&self) -> &[u8; 32] {
        &self.body.sealing_key
    }

    /// Whether it replaces `other`, a claim of the same member for the same room and replica.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> bool {
        self.body.sequence > other.body.sequence
    }

    /// Whether it is valid at wall time `unix_ms`, give or take `tolerance`: neither expired nor of the future.
    #[must_use]
    pub fn is_current(&self, unix_ms: u64, tolerance: Duration) -> bool {
        is_within(self.body.issued_ms, self.body.expiry_ms, unix_ms, tolerance)
    }
}
