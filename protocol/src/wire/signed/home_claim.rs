//! A home claim: this service node is dialled at these addresses.

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Sequence, VERSION, decode_signed, digest, encode_signed, is_within, signature_kind, verify_signed,
};
use crate::crypto::{Crypto, sha256};
use crate::wire::bounded::{Bounded, unique};
use crate::wire::error::DecodeError;
use crate::wire::message::{Extension, by_tag};
use crate::{Address, Identity, NetworkId, PeerId, RoomId, RoomKey};

/// What a service node says of itself in a home claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeClaimTerms {
    /// Where it is dialled. At most [`Address::ADVERTISED_MAX`] of at most [`HomeClaim::ADDRESS_BYTES_MAX`] bytes count.
    pub addresses: Vec<Address>,
    /// Wall time of making, milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Wall time of expiry; at most [`HomeClaim::TTL_MAX_MS`] after `issued_ms`.
    pub expiry_ms: u64,
    /// Orders the node's home claims.
    pub sequence: Sequence,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    version: u8,
    peer: PeerId,
    #[serde(borrow, deserialize_with = "unique")]
    addresses: Bounded<&'a str, { Address::ADVERTISED_MAX }>,
    issued_ms: u64,
    expiry_ms: u64,
    sequence: Sequence,
    #[serde(deserialize_with = "by_tag")]
    extensions: Bounded<Extension, 16>,
}

/// A home claim, signed by the service node. Equal home claims have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeClaim {
    bytes: Bytes,
    peer: PeerId,
    addresses: Vec<Address>,
    issued_ms: u64,
    expiry_ms: u64,
    sequence: Sequence,
}

impl HomeClaim {
    /// Longest encoding, bytes.
    pub const BYTES_MAX: usize = 4096;
    /// Longest text of an address, bytes, without the peer id.
    pub const ADDRESS_BYTES_MAX: usize = 300;
    /// Longest validity, milliseconds (a day: addresses change rarely, and a dial shows whether they still hold).
    pub const TTL_MAX_MS: u64 = 86_400_000;

    /// Makes and signs a home claim. Surplus addresses, too long ones and those of other peers are left out, and a too
    /// long validity is cut.
    #[must_use]
    pub fn make(
        terms: &HomeClaimTerms,
        identity: &Identity,
        crypto: &dyn Crypto,
        network: &NetworkId,
    ) -> Self {
        let peer = PeerId(crypto.public_key(identity.secret()));
        let mut addresses: Vec<Address> = Vec::new();
        let mut texts = Vec::new();
        for address in &terms.addresses {
            // The claim itself says whose addresses these are, so the text need not repeat it.
            let text = Address { peer: None, ..address.clone() }.to_string();
            let own = address.peer.is_none_or(|named| named == peer);
            if own
                && text.len() <= Self::ADDRESS_BYTES_MAX
                && !texts.contains(&text)
                && texts.len() < Address::ADVERTISED_MAX
            {
                texts.push(text);
                addresses.push(address.clone().with_peer(peer));
            }
        }
        let latest_ms = terms.issued_ms.saturating_add(Self::TTL_MAX_MS);
        let expiry_ms = terms.expiry_ms.clamp(terms.issued_ms, latest_ms);
        let body = Body {
            version: VERSION,
            peer,
            addresses: Bounded::truncated(texts.iter().map(|text| text.as_str())),
            issued_ms: terms.issued_ms,
            expiry_ms,
            sequence: terms.sequence,
            extensions: Bounded::default(),
        };
        let signers = [(signature_kind::HOME_CLAIM, identity.secret())];
        let bytes = encode_signed(&body, &signers, crypto, network);
        Self { bytes, peer, addresses, issued_ms: terms.issued_ms, expiry_ms, sequence: terms.sequence }
    }

    /// Reads a home claim; its signature is not checked.
    ///
    /// # Errors
    /// If it is malformed or too long, if an address does not parse, is too long or names another peer, or if its
    /// validity ends before it begins or is too long.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let body: Body<'_> = decode_signed(bytes, 1, Self::BYTES_MAX)?;
        let Some(0..=Self::TTL_MAX_MS) = body.expiry_ms.checked_sub(body.issued_ms) else {
            return Err(DecodeError::Invalid);
        };
        let mut addresses: Vec<Address> =
            body.addresses.iter().map(|text| own_address(text, body.peer)).collect::<Result<_, _>>()?;
        // Thousands are remembered, most with one address; a collected list has places for four.
        addresses.shrink_to_fit();
        Ok(Self {
            bytes: bytes.clone(),
            peer: body.peer,
            addresses,
            issued_ms: body.issued_ms,
            expiry_ms: body.expiry_ms,
            sequence: body.sequence,
        })
    }

    /// The peer of an encoded home claim.
    pub(crate) fn peer_in(bytes: &[u8]) -> Option<PeerId> {
        // After the version and the length of the id, which has one encoding.
        bytes.get(2..).and_then(|rest| rest.first_chunk()).map(|id| PeerId(*id))
    }

    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, crypto: &dyn Crypto, network: &NetworkId) -> bool {
        let signers = [(signature_kind::HOME_CLAIM, self.peer.as_bytes())];
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
        digest(&self.bytes, 1)
    }

    /// How lookups name it: the first four bytes, little-endian, of the SHA-256 of its peer id and its
    /// addresses without the peer id, each text preceded by its length as `u32` little-endian. A renewed home claim with the
    /// same addresses has the same mark.
    #[must_use]
    pub fn mark(&self) -> u32 {
        let mut input = self.peer.as_bytes().to_vec();
        for address in &self.addresses {
            let text = Address { peer: None, ..address.clone() }.to_string();
            input.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            input.extend_from_slice(text.as_bytes());
        }
        sha256(&[&input]).first_chunk().copied().map_or(0, u32::from_le_bytes)
    }

    /// The service node's location: its home room, SHA-256 of its peer id.
    #[must_use]
    pub fn room_id(&self) -> RoomId {
        RoomKey::room_id(self.peer.as_bytes())
    }

    /// The service node.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it is dialled; each names the peer.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Wall time of making, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// Wall time of expiry, milliseconds since the Unix epoch.
    #[must_use]
    pub const fn expiry_ms(&self) -> u64 {
        self.expiry_ms
    }

    /// Its place among the node's home claims.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Whether it replaces `other`, a home claim of the same node.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> bool {
        self.sequence > other.sequence
    }

    /// Whether it is valid at wall time `unix_ms`, give or take `tolerance`: neither expired nor of the future.
    #[must_use]
    pub fn is_current(&self, unix_ms: u64, tolerance: Duration) -> bool {
        is_within(self.issued_ms, self.expiry_ms, unix_ms, tolerance)
    }
}

fn own_address(text: &str, peer: PeerId) -> Result<Address, DecodeError> {
    if text.len() > HomeClaim::ADDRESS_BYTES_MAX {
        return Err(DecodeError::Invalid);
    }
    let address: Address = text.parse().map_err(|_| DecodeError::Invalid)?;
    match address.peer {
        Some(named) if named != peer => Err(DecodeError::Invalid),
        Some(_) | None => Ok(address.with_peer(peer)),
    }
}
