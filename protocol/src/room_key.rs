//! Room keys: derived from a name, slowly and on purpose.
//!
//! Whoever knows a room's name can sign as a member, and nobody else: the name is stretched to an Ed25519 seed, and the
//! room's id is the hash of the public key. A name is guessed at one Argon2id per try, *for a whole network at once*, so
//! a common word is no secret; a passphrase makes it one.
//!
//! The derivation is frozen for each network id; `vectors/room_keys.txt` holds golden values and says how to check them.
//! 1. The name is trimmed by the Unicode property `White_Space`, then brought to NFC. 3 to 256 bytes of UTF-8 must be
//!    left, without characters that make a name look like another one ([`RoomNameError::Control`]).
//! 2. salt = SHA-256(`"unamed room 1"` ‖ network id ‖ passphrase), each part prefixed by its length as u32 little-endian;
//!    an absent passphrase is an empty one.
//! 3. seed = Argon2id (RFC 9106), 19,456 KiB, 2 passes, 1 lane, 32 bytes, of the name with that salt. These are the
//!    parameters that OWASP's Password Storage Cheat Sheet names for Argon2id as a minimum.

use alloc::string::String;
use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
#[cfg(feature = "nfc")]
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroize as _;

use crate::crypto::{Crypto, sha256};
use crate::{NetworkId, RoomId};

/// Fewest and most bytes of a name.
const NAME_BYTES: core::ops::RangeInclusive<usize> = 3..=256;

/// A name beyond this is refused before it is normalised. No text of this size has an NFC of 256 bytes: the characters
/// that shrink most give 2 bytes for 7.
const NAME_BYTES_READ_MAX: usize = 16 * 256;

const ARGON2: Params = match Params::new(19_456, 2, 1, Some(32)) {
    Ok(params) => params,
    Err(_) => panic!("parameters that Argon2 refuses"),
};

#[cfg(feature = "nfc")]
fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// A room's Ed25519 key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct RoomKey {
    seed: [u8; 32],
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomKey(..)")
    }
}

impl Drop for RoomKey {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Why no key was derived from a room name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoomNameError {
    /// Trimmed and in NFC it has less than 3 bytes.
    TooShort,
    /// Trimmed and in NFC it has more than 256 bytes.
    TooLong,
    /// It holds a control character (NUL, tab, newline, …), a line or paragraph separator, or a character that embeds or
    /// overrides the direction of writing (U+202A to U+202E, U+2066 to U+2069).
    Control,
    /// The derivation's 19 MiB of memory could not be had.
    OutOfMemory,
}

impl fmt::Display for RoomNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "a room name has at least 3 bytes, without white space around it",
            Self::TooLong => "a room name has at most 256 bytes",
            Self::Control => "a room name holds no control characters, line breaks or overrides of direction",
            Self::OutOfMemory => "deriving a room key takes 19 MiB of memory, which could not be had",
        })
    }
}

impl core::error::Error for RoomNameError {}

impl RoomKey {
    /// A room key from its seed, for rooms that have no name, and for simulations that skip the slow derivation.
    #[must_use]
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// The secret seed.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Derives the key of a named room: Argon2id, 19 MiB and tens of milliseconds. It blocks, so an event loop runs it
    /// elsewhere. An empty passphrase is none.
    ///
    /// # Errors
    /// See [`RoomNameError`].
    #[cfg(feature = "nfc")]
    pub fn derive(name: &str, passphrase: &[u8], network: &NetworkId) -> Result<Self, RoomNameError> {
        Self::derive_with(name, passphrase, network, nfc)
    }

    /// As [`derive`](Self::derive), with a normalisation of the caller's own: `nfc` brings a text to Normalization Form C
    /// (Unicode Standard Annex #15).
    ///
    /// # Errors
    /// See [`RoomNameError`].
    pub fn derive_with(
        name: &str,
        passphrase: &[u8],
        network: &NetworkId,
        nfc: impl FnOnce(&str) -> String,
    ) -> Result<Self, RoomNameError> {
        let mut name = Self::normal_name_with(name, nfc)?;
        let parts = [b"unamed room 1".as_slice(), network.as_str().as_bytes(), passphrase];
        let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        let [tag, network, passphrase] = parts;
        let salt = sha256(&[&len(tag), tag, &len(network), network, &len(passphrase), passphrase]);
        let mut key = Self { seed: [0; 32] };
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, ARGON2).hash_password_into(
            name.as_bytes(),
            &salt,
            &mut key.seed,
        );
        name.zeroize();
        // Lengths and parameters are within Argon2's bounds, so that memory is the only thing that can be missing.
        result.map(|()| key).map_err(|_| RoomNameError::OutOfMemory)
    }

    /// The name as the derivation takes it: trimmed and in NFC. Names that give the same text are the same room.
    ///
    /// # Errors
    /// See [`RoomNameError`].
    #[cfg(feature = "nfc")]
    pub fn normal_name(name: &str) -> Result<String, RoomNameError> {
        Self::normal_name_with(name, nfc)
    }

    fn normal_name_with(name: &str, nfc: impl FnOnce(&str) -> String) -> Result<String, RoomNameError> {
        let name = name.trim();
        if name.len() > NAME_BYTES_READ_MAX {
            return Err(RoomNameError::TooLong);
        }
        let refused = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        };
        if name.contains(refused) {
            return Err(RoomNameError::Control);
        }
        let name = nfc(name);
        if name.len() < *NAME_BYTES.start() {
            Err(RoomNameError::TooShort)
        } else if name.len() > *NAME_BYTES.end() {
            Err(RoomNameError::TooLong)
        } else {
            Ok(name)
        }
    }

    /// The room's public key.
    #[must_use]
    pub fn public_key(&self, crypto: &dyn Crypto) -> [u8; 32] {
        crypto.public_key(&self.seed)
    }

    /// The room's id.
    #[must_use]
    pub fn id(&self, crypto: &dyn Crypto) -> RoomId {
        Self::room_id(&self.public_key(crypto))
    }

    /// The room id of a room's public key: its SHA-256.
    #[must_use]
    pub fn room_id(public_key: &[u8; 32]) -> RoomId {
        RoomId(sha256(&[public_key]))
    }
}

/// The passphrase in a file: its bytes without the last newline (LF or CR LF), if it ends in one.
#[must_use]
pub fn passphrase_from_file(file: &[u8]) -> &[u8] {
    let Some(line) = file.strip_suffix(b"\n") else { return file };
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;
    use std::vec::Vec;
    use std::{format, str};

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::tests::{bytes32, unhex};
    use crate::crypto::{IdealCrypto, RealCrypto};

    #[test]
    fn a22_golden_vectors() {
        let mut lines = 0;
        for line in include_str!("../vectors/room_keys.txt").lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split(' ').collect();
            let [name, passphrase, network, seed, room_id] = columns.try_into().unwrap();
            let name = unhex(name);
            let passphrase = if passphrase == "-" { Vec::new() } else { unhex(passphrase) };
            let network = NetworkId::new(str::from_utf8(&unhex(network)).unwrap()).unwrap();
            let key = RoomKey::derive(str::from_utf8(&name).unwrap(), &passphrase, &network).unwrap();
            assert_eq!(*key.secret(), bytes32(seed), "{line}");
            assert_eq!(key.id(&RealCrypto).to_string(), room_id, "{line}");
            lines += 1;
        }
        assert_eq!(lines, 18);
    }

    #[test]
    fn b12_b59_names() {
        use RoomNameError::{Control, TooLong, TooShort};
        let long = |len| "x".repeat(len);
        // 86 times e with U+0301: 258 bytes as typed, 172 composed.
        let shrinks = "e\u{301}".repeat(86);
        let cases = [
            ("lobby", Ok("lobby")),
            (" \u{85}\u{1680}\u{2003}\u{3000}lobby \r\n", Ok("lobby")),
            ("two  words", Ok("two  words")),
            ("cafe\u{301}", Ok("café")),
            ("ab\u{200B}", Ok("ab\u{200B}")),
            ("", Err(TooShort)),
            (" \u{3000} ", Err(TooShort)),
            ("ab", Err(TooShort)),
            ("e\u{301}", Err(TooShort)),
            ("é", Err(TooShort)),
            ("a\0c", Err(Control)),
            ("a\tcd", Err(Control)),
            ("\u{7F}abc", Err(Control)),
            ("a\u{9B}cd", Err(Control)),
            ("a\u{2028}cd", Err(Control)),
            ("abc\u{202E}", Err(Control)),
            ("\u{2066}abc", Err(Control)),
            ("abc\u{200E}", Ok("abc\u{200E}")),
        ];
        for (name, expected) in cases {
            assert_eq!(RoomKey::normal_name(name), expected.map(String::from), "{name:?}");
        }
        assert_eq!(RoomKey::normal_name(&shrinks), Ok("é".repeat(86)));
        assert_eq!(RoomKey::normal_name(&long(256)), Ok(long(256)));
        for len in [257, 4096, 4097, 1 << 20] {
            assert_eq!(RoomKey::normal_name(&long(len)), Err(TooLong), "{len}");
        }
        assert_eq!(RoomKey::normal_name(&format!("{}é", long(255))), Err(TooLong));
        for bad in ["ab", "a\0c"] {
            let refused = RoomKey::derive(bad, b"", &NetworkId::default()).map(|key| *key.secret());
            assert_eq!(refused, RoomKey::normal_name(bad).map(|_| [0; 32]));
        }
    }

    #[test]
    fn passphrase_files() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"\n", b""),
            (b"words", b"words"),
            (b"words\n", b"words"),
            (b"words\r\n", b"words"),
            (b"words\n\n", b"words\n"),
            (b" words \r", b" words \r"),
            (b"\xFF\0\n", b"\xFF\0"),
        ];
        for (file, passphrase) in cases {
            assert_eq!(passphrase_from_file(file), passphrase, "{file:?}");
        }
    }

    #[test]
    fn ids_hash_the_public_key_of_the_provider() {
        let key = RoomKey::from_seed([9; 32]);
        for crypto in [&RealCrypto as &dyn Crypto, &IdealCrypto] {
            assert_eq!(key.id(crypto).0, sha256(&[&crypto.public_key(&[9; 32])]));
        }
        assert_eq!(format!("{key:?}"), "RoomKey(..)");
    }

    proptest! {
        #[test]
        fn a_normal_name_is_its_own_normal_form(name in "\\PC{0,40}") {
            if let Ok(normal) = RoomKey::normal_name(&name) {
                prop_assert!(NAME_BYTES.contains(&normal.len()));
                prop_assert_eq!(RoomKey::normal_name(&normal), Ok(normal));
            }
        }
    }
}
