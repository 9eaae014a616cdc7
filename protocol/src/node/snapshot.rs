//! The byte form of a [`Snapshot`].
//!
//! `"unamed-snapshot" ‖ version ‖ body ‖ checksum`: the body is postcard, addresses in it are text, and the checksum is
//! the first 8 bytes of the SHA-256 of all that precedes it. The checksum finds torn and rotten files; it is no
//! protection against somebody who can write the file.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::api::{SavedAddress, Snapshot};
use crate::crypto::sha256;

const MAGIC: &[u8] = b"unamed-snapshot";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Why bytes are no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// More than [`Snapshot::BYTES_MAX`] bytes.
    TooLarge,
    /// It does not begin as a snapshot does.
    NotASnapshot,
    /// Another version wrote it.
    Version(u8),
    /// It is cut short, or its bytes changed.
    Checksum,
    /// The body does not decode.
    Malformed,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the snapshot has more than {} bytes", Snapshot::BYTES_MAX),
            Self::NotASnapshot => f.write_str("this is no snapshot"),
            Self::Version(version) => {
                write!(f, "the snapshot has version {version}, this is version {VERSION}")
            }
            Self::Checksum => f.write_str("the snapshot is cut short or damaged"),
            Self::Malformed => f.write_str("the snapshot is malformed"),
        }
    }
}

impl core::error::Error for SnapshotError {}

#[derive(Serialize, Deserialize)]
struct Body {
    boot: u64,
    addresses: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    address: String,
    tried: bool,
    lost: bool,
}

impl Snapshot {
    /// Longest byte form, bytes. 256 addresses of the longest kind take a tenth of it.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// The snapshot's stable byte form. Addresses beyond [`BYTES_MAX`](Self::BYTES_MAX) are left out, last first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut room = Self::BYTES_MAX.saturating_sub(64);
        let mut entries = Vec::new();
        for saved in &self.addresses {
            let address = alloc::format!("{}", saved.address);
            let Some(left) = room.checked_sub(address.len().saturating_add(8)) else { break };
            room = left;
            entries.push(Entry { address, tried: saved.tried, lost: saved.lost });
        }
        let mut out = Vec::from(MAGIC);
        out.push(VERSION);
        // Serialising owned integers, booleans and strings into a vector cannot fail; an empty body would be refused.
        out.extend(postcard::to_allocvec(&Body { boot: self.boot, addresses: entries }).unwrap_or_default());
        let checksum = sha256(&[&out]);
        out.extend(checksum.iter().take(CHECKSUM_BYTES));
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// See [`SnapshotError`]. Nothing is allocated for bytes that are not there.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(SnapshotError::TooLarge);
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::NotASnapshot)?;
        let (&version, rest) = rest.split_first().ok_or(SnapshotError::Checksum)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let body_bytes = rest.len().checked_sub(CHECKSUM_BYTES).ok_or(SnapshotError::Checksum)?;
        let (body, checksum) = rest.split_at(body_bytes);
        if !sha256(&[MAGIC, &[version], body]).starts_with(checksum) {
            return Err(SnapshotError::Checksum);
        }
        let (body, trailing) =
            postcard::take_from_bytes::<Body>(body).map_err(|_| SnapshotError::Malformed)?;
        if !trailing.is_empty() {
            return Err(SnapshotError::Malformed);
        }
        let addresses = body.addresses.into_iter().map(|entry| {
            let address = entry.address.parse().map_err(|_| SnapshotError::Malformed)?;
            Ok(SavedAddress { address, tried: entry.tried, lost: entry.lost })
        });
        Ok(Self { boot: body.boot, addresses: addresses.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn snapshot() -> Snapshot {
        let entry = |text: &str, tried, lost| SavedAddress { address: text.parse().unwrap(), tried, lost };
        Snapshot {
            boot: 1_700_000_000_123,
            addresses: vec![
                entry("/ip4/127.0.0.1/tcp/3001/ws", true, false),
                entry("/dns4/node.example/tcp/443/wss", false, true),
            ],
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        for snapshot in [snapshot(), Snapshot::default()] {
            assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot));
        }
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_is_refused() {
        let bytes = snapshot().encode();
        for end in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..end]).is_err(), "prefix of {end} bytes");
            let mut damaged = bytes.clone();
            damaged[end] ^= 0x10;
            assert!(Snapshot::decode(&damaged).is_err(), "byte {end}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let sealed = |version: u8, body: &[u8]| {
            let mut bytes = [MAGIC, &[version], body].concat();
            let checksum = sha256(&[&bytes]);
            bytes.extend(&checksum[..CHECKSUM_BYTES]);
            bytes
        };
        let cases: [(Vec<u8>, SnapshotError); 7] = [
            (vec![], SnapshotError::NotASnapshot),
            (b"{\"boot\":1}".to_vec(), SnapshotError::NotASnapshot),
            (MAGIC.to_vec(), SnapshotError::Checksum),
            (sealed(2, &[]), SnapshotError::Version(2)),
            (vec![0; Snapshot::BYTES_MAX + 1], SnapshotError::TooLarge),
            // 2^32 - 1 addresses announced, none there.
            (sealed(1, &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), SnapshotError::Malformed),
            (sealed(1, &[0, 1, 4, b'/', b'i', b'p', b'9', 0, 0]), SnapshotError::Malformed),
        ];
        for (bytes, error) in cases {
            assert_eq!(Snapshot::decode(&bytes), Err(error));
        }
    }

    #[test]
    fn a_huge_address_book_is_cut_at_the_bound() {
        let one = snapshot().addresses.swap_remove(1);
        let book = Snapshot { boot: 1, addresses: vec![one; 60_000] };
        let bytes = book.encode();
        assert!(bytes.len() <= Snapshot::BYTES_MAX);
        let kept = Snapshot::decode(&bytes).unwrap();
        assert!(kept.boot == 1 && (20_000..60_000).contains(&kept.addresses.len()));
    }
}
