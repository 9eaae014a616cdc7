//! The crypto provider: one trait object, chosen when a node is constructed.
//!
//! [`RealCrypto`] is what a network uses. [`IdealCrypto`] is for simulations and tests: real-looking keys, equal lengths,
//! deterministic, cheap, and unforgeable by whoever holds no secret key through this interface. Both draw no randomness
//! of their own: seeds are arguments. Hashes that decide placement (SHA-256) are the same in both and are not part of
//! the provider.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt::Debug;

use sha2::{Digest as _, Sha256};

mod ideal;
mod noise;
mod real;
#[cfg(test)]
pub(crate) mod tests;

pub use ideal::IdealCrypto;
pub use real::RealCrypto;

/// An Ed25519 signature (RFC 8032) or its ideal stand-in.
pub type Signature = [u8; 64];

/// Bytes that [`Crypto::seal`] adds to a plaintext: ephemeral public key and tag.
pub const SEAL_OVERHEAD: usize = 32 + 16;

/// Bytes that [`Cipher::encrypt`] adds to a plaintext: the tag.
pub const TAG_BYTES: usize = 16;

/// Longest plaintext of one transport message: Noise allows 65,535 bytes with the tag (revision 34, section 3).
pub const PLAINTEXT_BYTES_MAX: usize = 65_535 - TAG_BYTES;

/// Which end of a handshake a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Opened the link; sends the first message.
    Initiator,
    /// Accepted the link.
    Responder,
}

/// Why a handshake or transport message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CryptoError {
    /// A handshake message did not decrypt, had a wrong length, or carried a low-order share.
    Handshake,
    /// A transport message did not authenticate; the cipher's state is unchanged.
    Decrypt,
    /// The nonce counter is spent; the link must be made anew.
    Exhausted,
}

/// The operations a node needs. Implementations are deterministic functions of their arguments.
pub trait Crypto: Debug + Send + Sync {
    /// The Ed25519 public key of a secret seed (RFC 8032, section 5.1.5).
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32];

    /// Signs `message` as given; callers build domain-separated messages with [`signing_input`].
    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature;

    /// Checks a signature strictly: small-order and non-canonical keys and malleated signatures are refused.
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool;

    /// The X25519 public key of a secret (RFC 7748).
    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32];

    /// Seals `plaintext` to a recipient's sealing key: ephemeral X25519, HKDF-SHA-256, ChaCha20-Poly1305. `ephemeral`
    /// must be fresh random bytes for each call. `context` is authenticated and not sent.
    ///
    /// `None` if `recipient` is a low-order point. The result is [`SEAL_OVERHEAD`] longer than the plaintext.
    fn seal(
        &self,
        recipient: &[u8; 32],
        ephemeral: &[u8; 32],
        context: &[u8],
        plaintext: &[u8],
    ) -> Option<Vec<u8>>;

    /// Opens what [`seal`](Self::seal) made; `None` if it does not authenticate.
    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>>;

    /// Starts `Noise_XX_25519_ChaChaPoly_SHA256` (Noise specification, revision 34, section 7.5).
    ///
    /// `static_secret` and `ephemeral` are X25519 secrets; `ephemeral` must be fresh. Both ends must give the same
    /// `prologue`.
    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake>;
}

/// A Noise XX handshake in progress: messages alternate, the initiator's first, three in all.
pub trait Handshake: Debug + Send + Sync {
    /// The next message to send, carrying `payload` (encrypted in messages 2 and 3).
    ///
    /// # Errors
    /// If it is not this end's turn, if the message would exceed 65,535 bytes, or if the peer's share is of low order,
    /// which shows when it is first used. The handshake is then useless.
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// Takes the peer's next message and returns its payload.
    ///
    /// # Errors
    /// If the message is malformed, does not decrypt, or comes out of turn. The handshake is then useless.
    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// The peer's static X25519 key, once received.
    fn remote_static(&self) -> Option<[u8; 32]>;

    /// Whether all three messages have passed.
    fn is_finished(&self) -> bool;

    /// The transport keys and the handshake hash.
    ///
    /// # Errors
    /// If the handshake is not finished.
    fn finish(self: Box<Self>) -> Result<Finished, CryptoError>;
}

/// What a finished handshake gives.
#[derive(Debug)]
pub struct Finished {
    /// Transport encryption in both directions.
    pub cipher: Box<dyn Cipher>,
    /// The handshake hash `h`: the link's channel binding.
    pub binding: [u8; 32],
}

/// Transport encryption of one link, both directions, with implicit counters as nonces.
pub trait Cipher: Debug + Send + Sync {
    /// Encrypts what stands in `buffer` from `start` on where it stands, and appends its tag ([`TAG_BYTES`]).
    ///
    /// # Errors
    /// [`CryptoError::Exhausted`] once the counter is spent, and for more than [`PLAINTEXT_BYTES_MAX`] bytes. `buffer`
    /// is unchanged then.
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError>;

    /// Appends the ciphertext of `plaintext` and its tag to `out`.
    ///
    /// # Errors
    /// As [`encrypt_in_place`](Self::encrypt_in_place). `out` is unchanged then.
    fn encrypt(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        self.encrypt_in_place(out, start).inspect_err(|_| out.truncate(start))
    }

    /// Appends the plaintext of `ciphertext` (tag included) to `out`. A refused message does not advance the counter.
    ///
    /// # Errors
    /// [`CryptoError::Decrypt`] if it does not authenticate, [`CryptoError::Exhausted`] once the counter is spent. `out`
    /// is unchanged then.
    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError>;
}

/// SHA-256 of the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The bytes a signature covers: `"unamed/1/" kind ‖ network id ‖ length ‖ body`.
///
/// `kind` and the network id are each prefixed by their length as one byte, `length` is the body's as u32
/// little-endian, so that no two different inputs give the same bytes.
#[must_use]
pub fn signing_input(kind: &str, network: &crate::NetworkId, body: &[&[u8]]) -> Vec<u8> {
    let body_bytes: usize = body.iter().map(|part| part.len()).sum();
    let network = network.as_str().as_bytes();
    let mut out = Vec::with_capacity(9 + 1 + kind.len() + 1 + network.len() + 4 + body_bytes);
    out.extend_from_slice(b"unamed/1/");
    out.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(kind.as_bytes());
    out.push(u8::try_from(network.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(network);
    out.extend_from_slice(&u32::try_from(body_bytes).unwrap_or(u32::MAX).to_le_bytes());
    for part in body {
        out.extend_from_slice(part);
    }
    out
}
