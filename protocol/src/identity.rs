//! A node's key, its text form, and key files.

/// A node's Ed25519 secret seed.
#[derive(Clone)]
pub struct Identity {
    secret: [u8; 32],
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerIdError {
    /// Placeholder.
    Malformed,
}

/// Why a key file was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFileError {
    /// Placeholder.
    Malformed,
}
