//! The network id: networks with different ids never mix.

use alloc::string::String;
use core::fmt;

/// A network's id: UTF-8, 1 to 32 bytes, `unamed` by default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(String);

/// Why a string is no network id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkIdError {
    /// It has no byte.
    Empty,
    /// It has more than 32 bytes.
    TooLong,
}

impl NetworkId {
    /// Longest id in bytes.
    pub const BYTES_MAX: usize = 32;

    /// Checks and takes an id.
    ///
    /// # Errors
    /// If it is empty or longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn new(id: &str) -> Result<Self, NetworkIdError> {
        match id.len() {
            0 => Err(NetworkIdError::Empty),
            1..=Self::BYTES_MAX => Ok(Self(id.into())),
            _ => Err(NetworkIdError::TooLong),
        }
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id's tag on the wire: the first 8 bytes of its SHA-256.
    #[must_use]
    pub fn tag(&self) -> [u8; 8] {
        let mut tag = [0; 8];
        let hash = crate::crypto::sha256(&[self.0.as_bytes()]);
        tag.copy_from_slice(hash.split_at(8).0);
        tag
    }
}

impl Default for NetworkId {
    fn default() -> Self {
        Self(String::from("unamed"))
    }
}

impl core::str::FromStr for NetworkId {
    type Err = NetworkIdError;

    fn from_str(text: &str) -> Result<Self, NetworkIdError> {
        Self::new(text)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NetworkIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a network id has at least one byte",
            Self::TooLong => "a network id has at most 32 bytes",
        })
    }
}

impl core::error::Error for NetworkIdError {}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;
    use crate::hex;

    #[test]
    fn ids_are_bounded_in_bytes() {
        use NetworkIdError::{Empty, TooLong};
        let cases = [
            ("", Err(Empty)),
            ("u", Ok(())),
            (" ", Ok(())),
            ("0123456789abcdef0123456789abcdef", Ok(())),
            ("0123456789abcdef0123456789abcdef0", Err(TooLong)),
            ("éééééééééééééééé", Ok(())),
            ("ééééééééééééééééé", Err(TooLong)),
        ];
        for (id, expected) in cases {
            assert_eq!(NetworkId::new(id).map(|network| assert_eq!(network.as_str(), id)), expected, "{id}");
            assert_eq!(id.parse::<NetworkId>(), NetworkId::new(id));
        }
        assert_eq!(NetworkId::default().to_string(), "unamed");
    }

    #[test]
    fn the_tag_is_the_head_of_the_hash() {
        // sha256sum of "unamed" and of "other".
        assert_eq!(hex(&NetworkId::default().tag()), "d3ff61d30760f268");
        assert_eq!(hex(&NetworkId::new("other").unwrap().tag()), "d9298a10d1b07358");
    }
}
