//! A crypto provider that lets its user say what an honest core would not, inside links that are otherwise right.
//!
//! Everything is real cryptography. Only the plaintext of a frame that carries the agreed mark gets chunks in front of it,
//! and the signals in received plaintexts are noted.

use std::sync::{Arc, Mutex, PoisonError};

use unamed_protocol::crypto::{
    Cipher, Crypto, CryptoError, Finished, Handshake, RealCrypto, Role, Signature,
};

/// The payload of the message whose frame takes the chunks along.
pub(crate) const MARK: &[u8] = b"what comes before this is not the core's";
/// Chunk tag of a whole message, and the kind of a message with a signal (`docs/protocol.md`).
const WHOLE: u8 = 1;
const SIGNAL: u8 = 64;

/// What passes between the program and its provider.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Chunks for the next frame with the mark.
    pub(crate) chunks: Vec<u8>,
    /// Bodies of signals that came, oldest first.
    pub(crate) signals: Vec<Vec<u8>>,
}

/// The provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostileCrypto(Arc<Mutex<Desk>>);

impl HostileCrypto {
    /// Looks at what passes.
    pub(crate) fn desk<R>(&self, look: impl FnOnce(&mut Desk) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Crypto for HostileCrypto {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        RealCrypto.public_key(secret)
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        RealCrypto.sign(secret, message)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        RealCrypto.verify(public, message, signature)
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        RealCrypto.sealing_public_key(secret)
    }

    fn seal(
        &self,
        recipient: &[u8; 32],
        ephemeral: &[u8; 32],
        context: &[u8],
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        RealCrypto.seal(recipient, ephemeral, context, plaintext)
    }

    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        RealCrypto.open(secret, context, sealed)
    }

    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake> {
        let inner = RealCrypto.handshake(role, static_secret, ephemeral, prologue);
        Box::new(Shaking { inner, crypto: self.clone() })
    }
}

#[derive(Debug)]
struct Shaking {
    inner: Box<dyn Handshake>,
    crypto: HostileCrypto,
}

impl Handshake for Shaking {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.write_message(payload)
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.read_message(message)
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        self.inner.remote_static()
    }

    fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        let Finished { cipher, binding } = self.inner.finish()?;
        Ok(Finished { cipher: Box::new(Tampering { inner: cipher, crypto: self.crypto }), binding })
    }
}

#[derive(Debug)]
struct Tampering {
    inner: Box<dyn Cipher>,
    crypto: HostileCrypto,
}

impl Cipher for Tampering {
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        let marked = buffer.get(start..).unwrap_or_default().windows(MARK.len()).any(|window| window == MARK);
        if marked {
            let chunks = self.crypto.desk(|desk| std::mem::take(&mut desk.chunks));
            buffer.splice(start..start, chunks);
        }
        self.inner.encrypt_in_place(buffer, start)
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let start = out.len();
        self.inner.decrypt(ciphertext, out)?;
        let signals = signals(out.get(start..).unwrap_or_default());
        self.crypto.desk(|desk| desk.signals.extend(signals));
        Ok(())
    }
}

/// The bodies of the signals among the whole messages that a plaintext begins with.
fn signals(mut plaintext: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let [WHOLE, rest @ ..] = plaintext {
        let Some((length, rest)) = varint(rest) else { break };
        let Some((message, rest)) = rest.split_at_checked(length) else { break };
        if let [SIGNAL, body @ ..] = message {
            found.push(body.to_vec());
        }
        plaintext = rest;
    }
    found
}

/// Unsigned LEB128.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..).map(|rest| (value, rest));
        }
    }
    None
}
