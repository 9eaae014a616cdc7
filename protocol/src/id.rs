//! Identifiers: peers, rooms, links, messages, requests.

use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes the first four bytes as hex, enough to tell ids apart in a log.
fn short_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Lower-case hexadecimal of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

struct FixedBytes<const N: usize>;

impl<const N: usize> Visitor<'_> for FixedBytes<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

/// Serialises a fixed-size byte array through serde's bytes path.
///
/// serde's own array support visits each byte as a tuple element, which made postcard several times slower; the price
/// of this path is one length byte, which is checked.
pub(crate) mod fixed {
    use super::{Deserializer, FixedBytes, Serializer};

    pub(crate) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<[u8; N], D::Error> {
        from.deserialize_bytes(FixedBytes::<N>)
    }
}

/// The first eight bytes as a number: decides nearly every comparison of hashes and keys.
pub(crate) fn head(bytes: &[u8; 32]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Orders as the bytes do. Maps and tables are searched by ids for most of what a node does, and one comparison of numbers
/// is several times quicker than one of slices.
fn cmp_bytes(one: &[u8; 32], other: &[u8; 32]) -> Ordering {
    head(one).cmp(&head(other)).then_with(|| one.cmp(other))
}

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                cmp_bytes(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// The raw 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                fixed::serialize(&self.0, to)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                fixed::deserialize(from).map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                short_hex(&self.0, f)?;
                f.write_str(")")
            }
        }
    };
}

id32! {
    /// A node's identity: its Ed25519 public key.
    ///
    /// `Display` and `FromStr` use the text form of a libp2p peer id (`12D3KooW…`): base58btc of the identity multihash
    /// of the protobuf-encoded public key (libp2p specs, `peer-ids/peer-ids.md`).
    PeerId
}

id32! {
    /// A room's place in the key space: SHA-256 of the room's public key.
    RoomId
}

id32! {
    /// A message's id: SHA-256 of its signed header.
    MessageId
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

macro_rules! id64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id64! {
    /// A link of one node, minted by the core and never reused.
    LinkId
}
id64! {
    /// One `Output::Save`, answered by `Input::Saved`.
    SaveId
}
id64! {
    /// One request of its origin: 64 random bits.
    RequestId
}

/// One run of an identity: the boot counter and a random session number.
///
/// Instances of one identity are ordered by boot counter, so a restart replaces what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instance {
    /// `max(saved + 1, unix_ms)` at start.
    pub boot: u64,
    /// Random.
    pub session: u64,
}
