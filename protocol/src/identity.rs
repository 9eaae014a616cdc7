//! A node's key, its text form, and key files.
//!
//! All three forms are those of libp2p (specs, `peer-ids/peer-ids.md`), so that a node has the same id here and in IPFS:
//! - a peer id is the identity multihash of the protobuf-encoded public key, in base58btc (`12D3KooW…`); the CIDv1 form
//!   in lower-case base32 (`bafz…`) is read too, and never written;
//! - a private key is a protobuf of key type and 64 bytes, seed then public key; the older 96 bytes, which repeat the
//!   public key, are read too;
//! - a key file is that protobuf in base64 on one line, what Kubo keeps as `Identity.PrivKey`; the raw bytes are read
//!   too.

use core::fmt;
use core::str::FromStr;

use crate::PeerId;

/// Identity multihash (0x00, length 36) of the protobuf `{Type: Ed25519, Data: 32 bytes}`.
const MULTIHASH_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// CIDv1 with the codec `libp2p-key`.
const CID_PREFIX: [u8; 2] = [0x01, 0x72];
const MULTIHASH_BYTES: usize = MULTIHASH_PREFIX.len() + 32;
const CID_BYTES: usize = CID_PREFIX.len() + MULTIHASH_BYTES;
/// Longest text looked at: a base32 CID of a SHA-256 multihash has 59 characters, that of an Ed25519 key 65.
const TEXT_BYTES_MAX: usize = 128;

/// A node's Ed25519 secret seed.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// An identity from its secret seed (RFC 8032, section 5.1.5), which must come from a secure random generator.
    #[must_use]
    pub const fn from_seed(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The secret seed.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

/// Why a text is no peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerIdError {
    /// It has no character.
    Empty,
    /// It has more characters than any peer id.
    TooLong,
    /// It is neither base58btc nor a CID in lower-case base32.
    Encoding,
    /// It is the hash of a larger key (`Qm…`), which is not Ed25519.
    Hashed,
    /// It is a key of another type than Ed25519.
    KeyType,
    /// It decodes to something that is no peer id: cut short, prolonged, or another kind of CID.
    Malformed,
}

impl fmt::Display for PeerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the peer id is empty",
            Self::TooLong => "the peer id is too long",
            Self::Encoding => "the peer id is neither base58btc (12D3KooW…) nor a base32 CID (bafz…)",
            Self::Hashed => "the peer id is the hash of a key; only Ed25519 keys (12D3KooW…) are supported",
            Self::KeyType => {
                "the peer id is of another key type; only Ed25519 keys (12D3KooW…) are supported"
            }
            Self::Malformed => "the peer id is cut short or malformed",
        })
    }
}

impl core::error::Error for PeerIdError {}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut multihash = [0; MULTIHASH_BYTES];
        let (prefix, key) = multihash.split_at_mut(MULTIHASH_PREFIX.len());
        prefix.copy_from_slice(&MULTIHASH_PREFIX);
        key.copy_from_slice(&self.0);
        f.pad(&bs58::encode(multihash).into_string())
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Reads base58btc (`12D3KooW…`) or a CIDv1 in lower-case base32 (`bafz…`). Whether the key is a valid curve point
    /// is not looked at: nobody can sign for one that is not.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        if text.is_empty() {
            return Err(PeerIdError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(PeerIdError::TooLong);
        }
        let mut bytes = [0; TEXT_BYTES_MAX];
        // The specification's rule: a text that begins so is base58btc, any other one a CID with a multibase prefix.
        if text.starts_with('1') || text.starts_with("Qm") {
            let len = bs58::decode(text).onto(&mut bytes).map_err(|_| PeerIdError::Encoding)?;
            return key_of_multihash(bytes.get(..len).unwrap_or_default());
        }
        let digits = text.strip_prefix('b').ok_or(PeerIdError::Encoding)?;
        let len = base32(digits, &mut bytes).ok_or(PeerIdError::Encoding)?;
        let cid = bytes.get(..len.min(CID_BYTES.saturating_add(1))).unwrap_or_default();
        key_of_multihash(cid.strip_prefix(&CID_PREFIX).ok_or(PeerIdError::Malformed)?)
    }
}

/// The Ed25519 key in an identity multihash.
fn key_of_multihash(multihash: &[u8]) -> Result<PeerId, PeerIdError> {
    let Some(key) = multihash.strip_prefix(&MULTIHASH_PREFIX) else {
        return Err(match *multihash {
            [0x12, 0x20, ..] => PeerIdError::Hashed,
            [0x00, _, 0x08, key_type, 0x12, ..] if key_type != 1 => PeerIdError::KeyType,
            _ => PeerIdError::Malformed,
        });
    };
    key.try_into().map(PeerId).map_err(|_| PeerIdError::Malformed)
}

/// Decodes lower-case base32 without padding (RFC 4648, section 6) into `out` and returns the number of bytes. `None`
/// for other characters, a remainder that is not zero bits, or too little room.
fn base32(text: &str, out: &mut [u8]) -> Option<usize> {
    let mut room = out.iter_mut();
    let (mut pending, mut bits, mut len) = (0_u32, 0_u32, 0_usize);
    for character in text.bytes() {
        let digit = match character {
            b'a'..=b'z' => character.wrapping_sub(b'a'),
            b'2'..=b'7' => character.wrapping_sub(b'2').wrapping_add(26),
            _ => return None,
        };
        pending = ((pending << 5) | u32::from(digit)) & 0xFFF;
        bits = bits.wrapping_add(5);
        if bits >= 8 {
            bits = bits.wrapping_sub(8);
            let [.., byte] = (pending >> bits).to_be_bytes();
            *room.next()? = byte;
            len = len.saturating_add(1);
        }
    }
    let rest = pending & ((1 << bits) - 1);
    (bits < 5 && rest == 0).then_some(len)
}

/// Why a key file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// Placeholder.
    Malformed,
}
