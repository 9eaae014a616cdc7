//! Signed objects: claims, home claims, tombstones, statements of members, connect requests, room messages.
//!
//! Claims, home claims, tombstones and statements are opaque byte strings to whoever passes them on: they are stored and
//! forwarded verbatim, so each value keeps the bytes it was read from. All of them are built alike: a version byte, fields, a list of
//! tagged extensions (of which unknown ones are ignored, and covered by the signatures all the same), then signatures of
//! 64 bytes each over everything before the first of them. `decode` checks the structure and is cheap; `verify` checks
//! the signatures and is not.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{decode_body, encode_body};
use super::error::DecodeError;
use crate::NetworkId;
use crate::crypto::{Crypto, Signature, sha256, signing_input};

mod claim;
mod connect;
mod home_claim;
mod member_statement;
mod room;
mod tombstone;

pub use claim::{Claim, ClaimTerms};
pub use connect::OpenError;
pub use home_claim::{HomeClaim, HomeClaimTerms};
pub use member_statement::MemberStatement;
pub use tombstone::Tombstone;

/// The kinds that keep signatures apart: one made for one purpose is worthless for another.
pub mod signature_kind {
    /// A claim, by the room key.
    pub const CLAIM: &str = "claim";
    /// A claim, by the claimant.
    pub const CLAIM_PEER: &str = "claim-peer";
    /// A tombstone, by the room key.
    pub const TOMBSTONE: &str = "tombstone";
    /// A tombstone, by the claimant.
    pub const TOMBSTONE_PEER: &str = "tombstone-peer";
    /// A home claim, by the service node.
    pub const HOME_CLAIM: &str = "home-claim";
    /// A connect request, by its origin.
    pub const CONNECT: &str = "connect";
    /// The answer to a connect request, by its target.
    pub const CONNECT_REPLY: &str = "connect-reply";
    /// The proof of knowing a room, by the room key.
    pub const ROOM_PROOF: &str = "room-proof";
    /// A room message's header, by its author.
    pub const MESSAGE: &str = "message";
    /// A member's statement, by the member.
    pub const MEMBER_DATA: &str = "member-data";
    /// A handshake's static key, by the identity key.
    pub const HANDSHAKE: &str = "handshake";
}

/// The version of claims, home claims, tombstones and statements.
const VERSION: u8 = 1;

const SIGNATURE_BYTES: usize = 64;

/// Orders the statements of one author: the later one has the larger sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence {
    /// The author's boot counter.
    pub boot: u64,
    /// Counts within one run.
    pub counter: u64,
}

/// Signs the concatenation of `parts` for one purpose.
#[must_use]
pub fn sign_body(
    kind: &str,
    parts: &[&[u8]],
    secret: &[u8; 32],
    crypto: &dyn Crypto,
    network: &NetworkId,
) -> Signature {
    crypto.sign(secret, &signing_input(kind, network, parts))
}

/// Checks what [`sign_body`] made.
#[must_use]
pub fn verify_body(
    kind: &str,
    parts: &[&[u8]],
    public: &[u8; 32],
    signature: &Signature,
    crypto: &dyn Crypto,
    network: &NetworkId,
) -> bool {
    crypto.verify(public, &signing_input(kind, network, parts), signature)
}

/// Reads the body of a signed object that ends in `signatures` signatures.
fn decode_signed<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    signatures: usize,
    max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge { max });
    }
    match bytes.first() {
        None => return Err(DecodeError::Empty),
        Some(&VERSION) => {}
        Some(&other) => return Err(DecodeError::UnknownVersion(other)),
    }
    let tail = signatures.saturating_mul(SIGNATURE_BYTES);
    let (body, _) = split(bytes, tail).ok_or(DecodeError::Truncated { offset: bytes.len() })?;
    decode_body(body)
}

/// The bytes before the last `tail` ones, and those.
fn split(bytes: &[u8], tail: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(tail)?)
}

/// The encoding of `body` with a signature by each of `signers`, a signature kind and a secret key.
fn encode_signed<T: Serialize>(
    body: &T,
    signers: &[(&str, &[u8; 32])],
    crypto: &dyn Crypto,
    network: &NetworkId,
) -> Bytes {
    let body = encode_body(body);
    let mut out: Vec<u8> = body.clone();
    for (kind, secret) in signers {
        out.extend_from_slice(&sign_body(kind, &[&body], secret, crypto, network));
    }
    out.into()
}

/// Whether `bytes` end in valid signatures by each of `signers`, a signature kind and a public key.
fn verify_signed(
    bytes: &[u8],
    signers: &[(&str, &[u8; 32])],
    crypto: &dyn Crypto,
    network: &NetworkId,
) -> bool {
    let tail = signers.len().saturating_mul(SIGNATURE_BYTES);
    let Some((body, signatures)) = split(bytes, tail) else { return false };
    let (signatures, _) = signatures.as_chunks::<SIGNATURE_BYTES>();
    signers
        .iter()
        .zip(signatures)
        .all(|((kind, public), signature)| verify_body(kind, &[body], public, signature, crypto, network))
}

/// How digests name a signed object: the first eight bytes, little-endian, of the SHA-256 of what is signed. Signatures
/// are left out: they may be made in several ways, and say nothing that the rest does not.
fn digest(bytes: &[u8], signatures: usize) -> u64 {
    let tail = signatures.saturating_mul(SIGNATURE_BYTES);
    let hash = sha256(&[split(bytes, tail).map_or(bytes, |(signed, _)| signed)]);
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// A duration as whole milliseconds, saturating.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether wall time `unix_ms` lies within a validity, give or take `tolerance`.
pub(crate) fn is_within(issued_ms: u64, expiry_ms: u64, unix_ms: u64, tolerance: Duration) -> bool {
    let tolerance_ms = millis(tolerance);
    issued_ms <= unix_ms.saturating_add(tolerance_ms) && unix_ms < expiry_ms.saturating_add(tolerance_ms)
}
