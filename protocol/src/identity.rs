//! A node's key, its text form, and key files.
//!
//! All three forms are those of libp2p (specs, `peer-ids/peer-ids.md`), so that a node has the same id here and in IPFS:
//! - a peer id is the identity multihash of the protobuf-encoded public key, in base58btc (`12D3KooW…`); the CIDv1 form
//!   in lower-case base32 (`bafz…`) is read too, and never written;
//! - a private key is a protobuf of key type and 64 bytes, seed then public key; the older 96 bytes, which repeat the
//!   public key, are read too;
//! - a key file is that protobuf in base64 on one line, what Kubo keeps as `Identity.PrivKey`; the raw bytes are read
//!   too.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize as _, Zeroizing};

use crate::PeerId;
use crate::crypto::{Crypto, RealCrypto};

/// Identity multihash (0x00, length 36) of the protobuf `{Type: Ed25519, Data: 32 bytes}`.
const MULTIHASH_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// CIDv1 with the codec `libp2p-key`.
const CID_PREFIX: [u8; 2] = [0x01, 0x72];
const MULTIHASH_BYTES: usize = MULTIHASH_PREFIX.len() + 32;
const CID_BYTES: usize = CID_PREFIX.len() + MULTIHASH_BYTES;
/// Longest text looked at: a base32 CID of a SHA-256 multihash has 59 characters, that of an Ed25519 key 65.
const TEXT_BYTES_MAX: usize = 128;

/// Protobuf `{Type: Ed25519, Data: 64 bytes}`, before the bytes.
const PRIVATE_KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x40];
const PRIVATE_KEY_BYTES: usize = PRIVATE_KEY_PREFIX.len() + 64;

/// Padding may be missing and bits may be left over, as in a file that was cut: what is cut shows in the protobuf.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A node's Ed25519 secret seed. Its memory is wiped when it is dropped.
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

    /// The node's id: the public key of the seed.
    #[must_use]
    pub fn peer_id(&self, crypto: &dyn Crypto) -> PeerId {
        PeerId(crypto.public_key(&self.secret))
    }

    /// The libp2p private key: the protobuf of key type Ed25519 and `seed ‖ public key`. Secret; the caller wipes it.
    #[must_use]
    pub fn to_protobuf(&self) -> [u8; 68] {
        let mut out = [0; PRIVATE_KEY_BYTES];
        let public = RealCrypto.public_key(&self.secret);
        let parts = PRIVATE_KEY_PREFIX.iter().chain(&self.secret).chain(&public);
        out.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        out
    }

    /// Reads a libp2p private key, also of the older form `seed ‖ public key ‖ public key`.
    ///
    /// # Errors
    /// If it is cut or prolonged, of another type, or if its parts do not belong together.
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let data = key_data(bytes)?;
        let (secret, publics) = data.split_first_chunk::<32>().ok_or(KeyFileError::Truncated)?;
        let public = RealCrypto.public_key(secret);
        if publics.chunks(32).any(|found| found != public) {
            return Err(KeyFileError::KeyMismatch);
        }
        Ok(Self::from_seed(*secret))
    }

    /// The content of a key file: the base64 of [`to_protobuf`](Self::to_protobuf) and a newline. Secret; the file is
    /// for its owner only (mode 0600).
    #[must_use]
    pub fn to_key_file(&self) -> String {
        let protobuf = Zeroizing::new(self.to_protobuf());
        // Room for all at once: a string that grows leaves copies behind.
        let mut out = String::with_capacity(96);
        BASE64.encode_string(protobuf.as_slice(), &mut out);
        out.push('\n');
        out
    }

    /// Reads the content of a key file: base64 on one line, with or without white space around it, or the raw bytes of
    /// the protobuf.
    ///
    /// # Errors
    /// See [`KeyFileError`].
    pub fn from_key_file(content: &[u8]) -> Result<Self, KeyFileError> {
        if content.len() > Self::KEY_FILE_BYTES_MAX {
            return Err(KeyFileError::TooLarge);
        }
        // The protobuf's first byte is a backspace, which is neither base64 nor white space.
        if content.first() == PRIVATE_KEY_PREFIX.first() {
            return Self::from_protobuf(content);
        }
        let text = content.trim_ascii();
        let mut protobuf = Zeroizing::new(Vec::with_capacity(text.len()));
        match BASE64.decode_vec(text, &mut protobuf) {
            Ok(()) => Self::from_protobuf(&protobuf),
            Err(base64::DecodeError::InvalidLength(_)) => Err(KeyFileError::Truncated),
            Err(
                base64::DecodeError::InvalidByte(..)
                | base64::DecodeError::InvalidLastSymbol { .. }
                | base64::DecodeError::InvalidPadding,
            ) => Err(KeyFileError::NotBase64),
        }
    }

    /// Largest key file that is looked at, bytes. One of ours has 93; a 4096-bit RSA key, which gets the error that it is
    /// one, about 3,200.
    pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// The key bytes of a protobuf private key, 64 or 96 of them.
fn key_data(bytes: &[u8]) -> Result<&[u8], KeyFileError> {
    let (key_type, len, data) = match *bytes {
        [] => return Err(KeyFileError::Empty),
        // Keys of other types can be longer than 127 bytes, so their type is looked at before their length.
        [0x08, key_type, 0x12, ..] if key_type != 1 => return Err(KeyFileError::WrongKeyType),
        [0x08, key_type, 0x12, len, ref data @ ..] => (key_type, len, data),
        [0x08] | [0x08, 0..=3] | [0x08, 0..=3, 0x12] => return Err(KeyFileError::Truncated),
        _ => return Err(KeyFileError::NotAKey),
    };
    match (key_type, len) {
        (1, 64 | 96) if data.len() < usize::from(len) => Err(KeyFileError::Truncated),
        (1, 64 | 96) if data.len() > usize::from(len) => Err(KeyFileError::TooLarge),
        (1, 64 | 96) => Ok(data),
        _ => Err(KeyFileError::NotAKey),
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
    let rest = pending & (1_u32 << bits).saturating_sub(1);
    (bits < 5 && rest == 0).then_some(len)
}

/// Why a key file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyFileError {
    /// It is empty or holds only white space.
    Empty,
    /// It is cut short.
    Truncated,
    /// It is larger than [`Identity::KEY_FILE_BYTES_MAX`], or something follows the key.
    TooLarge,
    /// It is neither base64 on one line nor the raw bytes of a key.
    NotBase64,
    /// It is base64 of something that is no libp2p private key.
    NotAKey,
    /// It is a key of another type than Ed25519.
    WrongKeyType,
    /// The public key in it does not belong to the secret one.
    KeyMismatch,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the key file is empty",
            Self::Truncated => "the key file is cut short",
            Self::TooLarge => "the key file is too large, or something follows the key",
            Self::NotBase64 => "the key file is neither base64 on one line nor a raw libp2p key",
            Self::NotAKey => "the key file holds no libp2p private key",
            Self::WrongKeyType => "the key file holds a key of another type than Ed25519",
            Self::KeyMismatch => "the public key in the key file does not belong to its secret key",
        })
    }
}

impl core::error::Error for KeyFileError {}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned as _;
    use std::format;
    use std::string::ToString as _;

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::IdealCrypto;
    use crate::crypto::tests::{bytes32, unhex};
    use crate::hex;

    /// The first golden identity: the libp2p specification's.
    const SEED: &str = "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d";
    const PUBLIC: &str = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

    fn read(content: &[u8]) -> Result<[u8; 32], KeyFileError> {
        Identity::from_key_file(content).map(|identity| *identity.secret())
    }

    #[test]
    fn golden_vectors() {
        let mut lines = 0;
        for line in include_str!("../vectors/identities.txt").lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split(' ').collect();
            let [seed, public, peer_id, cid, key_file] = columns.try_into().unwrap();
            let identity = Identity::from_seed(bytes32(seed));
            let peer = identity.peer_id(&RealCrypto);
            assert_eq!((hex(&peer.0).as_str(), peer.to_string().as_str()), (public, peer_id));
            assert_eq!(peer_id.parse(), Ok(peer));
            assert_eq!(cid.parse(), Ok(peer));
            assert_eq!(identity.to_key_file(), format!("{key_file}\n"));
            assert_eq!(hex(&identity.to_protobuf()), format!("08011240{seed}{public}"));
            for content in [identity.to_key_file().as_bytes(), key_file.as_bytes(), &identity.to_protobuf()] {
                assert_eq!(read(content), Ok(bytes32(seed)), "{content:?}");
            }
            lines += 1;
        }
        assert_eq!(lines, 6);
    }

    #[test]
    fn a_peer_id_follows_the_provider_and_a_key_file_does_not() {
        let identity = Identity::from_seed([5; 32]);
        assert_eq!(identity.peer_id(&IdealCrypto).0, IdealCrypto.public_key(&[5; 32]));
        assert_eq!(identity.to_protobuf()[36..], RealCrypto.public_key(&[5; 32]));
        assert_eq!(format!("{identity:?}"), "Identity(..)");
        assert_eq!(format!("{:>60}", PeerId([0; 32])).len(), 60, "a peer id can be padded");
    }

    #[test]
    fn key_files_are_read_in_all_forms_and_refused_by_cause() {
        use KeyFileError as E;
        let good = Identity::from_seed(bytes32(SEED)).to_key_file();
        let line = good.trim();
        let raw = Identity::from_seed(bytes32(SEED)).to_protobuf();
        let encode = |text: &str| BASE64.encode(unhex(text)).into_bytes();
        let seed: Result<_, E> = Ok(bytes32(SEED));
        let cases = [
            (format!("\r\n \t{line}\r\n\n").into_bytes(), seed),
            (line.trim_end_matches('=').to_owned().into_bytes(), seed),
            (encode(&format!("08011260{SEED}{PUBLIC}{PUBLIC}")), seed),
            (unhex(&format!("08011260{SEED}{PUBLIC}{PUBLIC}")), seed),
            (Vec::new(), Err(E::Empty)),
            (b" \r\n".to_vec(), Err(E::Empty)),
            (line.as_bytes()[..91].to_vec(), seed),
            (line.as_bytes()[..90].to_vec(), Err(E::Truncated)),
            (line.as_bytes()[..89].to_vec(), Err(E::Truncated)),
            (line.as_bytes()[..88].to_vec(), Err(E::Truncated)),
            (line.as_bytes()[..2].to_vec(), Err(E::Truncated)),
            (raw[..67].to_vec(), Err(E::Truncated)),
            (raw[..1].to_vec(), Err(E::Truncated)),
            ([raw.as_slice(), b"\n"].concat(), Err(E::TooLarge)),
            (std::vec![b'A'; Identity::KEY_FILE_BYTES_MAX + 1], Err(E::TooLarge)),
            (format!("{}\n{}", &line[..40], &line[40..]).into_bytes(), Err(E::NotBase64)),
            (b"-----BEGIN PRIVATE KEY-----".to_vec(), Err(E::NotBase64)),
            (std::vec![0; 93], Err(E::NotBase64)),
            (encode("00"), Err(E::NotAKey)),
            (encode(&format!("08011220{SEED}")), Err(E::NotAKey)),
            (encode(&format!("0a011240{SEED}{PUBLIC}")), Err(E::NotAKey)),
            (encode(&format!("080012a809{SEED}")), Err(E::WrongKeyType)),
            (encode(&format!("08021220{SEED}")), Err(E::WrongKeyType)),
            (encode(&format!("08011240{SEED}{SEED}")), Err(E::KeyMismatch)),
            (encode(&format!("08011260{SEED}{PUBLIC}{SEED}")), Err(E::KeyMismatch)),
        ];
        for (content, expected) in cases {
            assert_eq!(read(&content), expected, "{:?}", String::from_utf8_lossy(&content));
        }
        for len in 0..raw.len() {
            let expected = if len == 0 { E::Empty } else { E::Truncated };
            assert_eq!(Identity::from_protobuf(&raw[..len]).map(|_| ()), Err(expected), "{len}");
        }
    }

    #[test]
    fn texts_that_are_no_peer_id_are_refused_by_cause() {
        use PeerIdError as E;
        let multihash = |text: &str| bs58::encode(unhex(text)).into_string();
        let good = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        let cid = "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6";
        assert_eq!(good.parse::<PeerId>(), Ok(PeerId(bytes32(PUBLIC))));
        let cases = [
            (String::new(), E::Empty),
            ("1".repeat(129), E::TooLong),
            (format!("{good} "), E::Encoding),
            (good.replace('K', "0"), E::Encoding),
            ("12D3KooWé".to_owned(), E::Encoding),
            (PUBLIC.to_owned(), E::Encoding),
            ("z12D3KooW".to_owned(), E::Encoding),
            (cid.to_uppercase(), E::Encoding),
            (cid.replace('z', "1"), E::Encoding),
            (format!("{cid}a"), E::Encoding),
            (format!("{cid}aaaaaaa"), E::Malformed),
            (cid[..64].to_owned(), E::Encoding),
            (cid[..57].to_owned(), E::Malformed),
            ("b".to_owned(), E::Malformed),
            ("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".to_owned(), E::Hashed),
            ("bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe".to_owned(), E::Hashed),
            (multihash(&format!("0025080212210{}", "2".repeat(65))), E::KeyType),
            (good[..51].to_owned(), E::Malformed),
            (format!("{good}1"), E::Malformed),
            (multihash(&format!("002408011220{PUBLIC}00")), E::Malformed),
            (multihash(&format!("0023080112{PUBLIC}")), E::Malformed),
            (multihash(&format!("00{PUBLIC}")), E::Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<PeerId>(), Err(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_peer_id_is_read_back(key: [u8; 32]) {
            let text = PeerId(key).to_string();
            prop_assert!(text.starts_with("12D3KooW") && text.len() == 52);
            prop_assert_eq!(text.parse(), Ok(PeerId(key)));
        }

        #[test]
        fn a_key_file_is_read_back(seed: [u8; 32]) {
            prop_assert_eq!(read(Identity::from_seed(seed).to_key_file().as_bytes()), Ok(seed));
        }

        #[test]
        fn any_content_is_answered(content: Vec<u8>) {
            prop_assert!(read(&content).is_err());
        }
    }
}
