//! Room keys: derived from a name, slowly and on purpose.

use crate::{NetworkId, RoomId};

/// A room's Ed25519 key.
#[derive(Clone)]
pub struct RoomKey {
    seed: [u8; 32],
}

impl core::fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RoomKey(..)")
    }
}

/// Why a room name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomNameError {
    /// Placeholder.
    Malformed,
}

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

    /// Derives the key of a named room: Argon2id, about 19 MiB and tens of milliseconds.
    ///
    /// # Errors
    /// If the name, trimmed and in NFC, has less than 3 or more than 256 bytes.
    pub fn derive(_name: &str, _passphrase: &[u8], _network: &NetworkId) -> Result<Self, RoomNameError> {
        Err(RoomNameError::Malformed)
    }

    /// The room id of a room's public key: its SHA-256.
    #[must_use]
    pub fn room_id(public_key: &[u8; 32]) -> RoomId {
        RoomId(crate::crypto::sha256(&[public_key]))
    }
}
