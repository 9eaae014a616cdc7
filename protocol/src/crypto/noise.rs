//! `Noise_XX_25519_ChaChaPoly_SHA256` by `snow`, over the primitives that the rest of the crate uses.
//!
//! `snow` is built without its default features, so it brings neither primitives nor randomness of its own: a resolver
//! hands it ours, and an ephemeral secret that the caller drew. That secret is given out once; a second request fails,
//! so no key can be used twice by mistake. Diffie-Hellman results of low-order shares are refused, which the Noise
//! specification leaves open (revision 34, section 12.1).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use sha2::{Digest as _, Sha256};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Dh, Hash, Random};
use snow::{Error, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Cipher, CryptoError, Finished, Handshake, PLAINTEXT_BYTES_MAX, Role, TAG_BYTES};

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";

/// Two public keys and two tags: what a handshake message has beyond its payload, at most.
const HANDSHAKE_OVERHEAD_MAX: usize = 2 * 32 + 2 * TAG_BYTES;

/// A handshake in progress; `None` once anything went wrong.
pub(super) struct NoiseHandshake {
    state: Option<HandshakeState>,
}

impl NoiseHandshake {
    pub(super) fn new(role: Role, secret: &[u8; 32], ephemeral: &[u8; 32], prologue: &[u8]) -> Self {
        let build = || {
            let resolver = Resolver { ephemeral: Zeroizing::new(*ephemeral) };
            let builder = snow::Builder::with_resolver(PATTERN.parse()?, Box::new(resolver))
                .local_private_key(secret)?
                .prologue(prologue)?;
            match role {
                Role::Initiator => builder.build_initiator(),
                Role::Responder => builder.build_responder(),
            }
        };
        Self { state: build().ok() }
    }

    /// Runs one step; a step that fails leaves no state.
    fn step(
        &mut self,
        room: usize,
        step: impl FnOnce(&mut HandshakeState, &mut [u8]) -> Result<usize, Error>,
    ) -> Result<Vec<u8>, CryptoError> {
        let mut state = self.state.take().ok_or(CryptoError::Handshake)?;
        let mut out = alloc::vec![0; room];
        let len = step(&mut state, &mut out).map_err(|_| CryptoError::Handshake)?;
        out.truncate(len);
        self.state = Some(state);
        Ok(out)
    }
}

impl Handshake for NoiseHandshake {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let room = payload.len().saturating_add(HANDSHAKE_OVERHEAD_MAX);
        self.step(room, |state, out| state.write_message(payload, out))
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.step(message.len(), |state, out| state.read_message(message, out))
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        self.state.as_ref()?.get_remote_static()?.try_into().ok()
    }

    fn is_finished(&self) -> bool {
        self.state.as_ref().is_some_and(HandshakeState::is_handshake_finished)
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        let finished = self.state.filter(HandshakeState::is_handshake_finished);
        let mut state = finished.ok_or(CryptoError::Handshake)?;
        let binding = state.get_handshake_hash().try_into().map_err(|_| CryptoError::Handshake)?;
        let (first, second) = state.dangerously_get_raw_split();
        let (first, second) = (Direction::new(Zeroizing::new(first)), Direction::new(Zeroizing::new(second)));
        let (send, receive) = if state.is_initiator() { (first, second) } else { (second, first) };
        let cipher = NoiseCipher { send, receive };
        Ok(Finished { cipher: Box::new(cipher), binding })
    }
}

impl fmt::Debug for NoiseHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseHandshake").finish_non_exhaustive()
    }
}

/// Transport encryption in both directions (Noise, sections 5.1 and 5.2): a key and a counter for each. `snow` can do
/// this too, but writes into another buffer than it reads from, and a frame is encrypted where it stands.
struct NoiseCipher {
    send: Direction,
    receive: Direction,
}

struct Direction {
    key: ChaChaPoly,
    counter: u64,
}

impl Direction {
    const fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { key: ChaChaPoly { key }, counter: 0 }
    }

    /// The next counter. The last one is reserved (Noise, section 5.1).
    const fn next(&self) -> Result<u64, CryptoError> {
        if self.counter == u64::MAX { Err(CryptoError::Exhausted) } else { Ok(self.counter) }
    }

    const fn advance(&mut self) {
        self.counter = self.counter.saturating_add(1);
    }
}

impl Cipher for NoiseCipher {
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        let counter = self.send.next()?;
        let plaintext = buffer.get_mut(start..).unwrap_or_default();
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(CryptoError::Exhausted);
        }
        let tag = self.send.key.seal(counter, &[], plaintext).ok_or(CryptoError::Exhausted)?;
        buffer.extend_from_slice(&tag);
        self.send.advance();
        Ok(())
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let (ciphertext, tag) = ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(CryptoError::Decrypt)?;
        let counter = self.receive.next()?;
        if ciphertext.len() > PLAINTEXT_BYTES_MAX {
            return Err(CryptoError::Decrypt);
        }
        let start = out.len();
        out.extend_from_slice(ciphertext);
        if !self.receive.key.open(counter, &[], out.get_mut(start..).unwrap_or_default(), tag) {
            out.truncate(start);
            return Err(CryptoError::Decrypt);
        }
        self.receive.advance();
        Ok(())
    }
}

impl fmt::Debug for NoiseCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseCipher").finish_non_exhaustive()
    }
}

/// Gives `snow` its primitives.
struct Resolver {
    ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(Dh25519::new([0; 32]))),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::<HashSha256>::default()),
            HashChoice::SHA512 | HashChoice::Blake2s | HashChoice::Blake2b => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn snow::types::Cipher>> {
        match choice {
            CipherChoice::ChaChaPoly => Some(Box::<ChaChaPoly>::default()),
            CipherChoice::AESGCM => None,
        }
    }
}

/// "Randomness" that gives the injected ephemeral secret once.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        let out: &mut [u8; 32] = out.try_into().map_err(|_| Error::Rng)?;
        *out = *bytes;
        Ok(())
    }
}

struct Dh25519 {
    secret: StaticSecret,
    public: [u8; 32],
}

impl Dh25519 {
    fn new(secret: [u8; 32]) -> Self {
        let secret = StaticSecret::from(secret);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }
}

impl Dh for Dh25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        // The length is `priv_len`, since the builder passes on the array that `NoiseHandshake::new` takes.
        if let Ok(secret) = secret.try_into() {
            *self = Self::new(secret);
        }
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        random.try_fill_bytes(secret.as_mut_slice())?;
        *self = Self::new(*secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn dh(&self, share: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // `snow` passes buffers of its largest key size, of which the first 32 bytes are meant.
        let share = share.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*share));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        *out.first_chunk_mut::<32>().ok_or(Error::Dh)? = *shared.as_bytes();
        Ok(())
    }
}

#[derive(Default)]
struct HashSha256(Sha256);

impl Hash for HashSha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = self.0.finalize_reset();
        // `snow` passes buffers of its largest hash size.
        if let Some(out) = out.first_chunk_mut::<32>() {
            *out = hash.into();
        }
    }
}

#[derive(Default)]
struct ChaChaPoly {
    key: Zeroizing<[u8; 32]>,
}

impl ChaChaPoly {
    fn aead(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new((&*self.key).into())
    }

    /// Four zero bytes and the counter in little-endian (Noise, section 12.3).
    fn nonce(counter: u64) -> Nonce {
        let mut nonce = Nonce::default();
        if let Some(out) = nonce.last_chunk_mut::<8>() {
            *out = counter.to_le_bytes();
        }
        nonce
    }

    /// Encrypts `body` in place; the tag. `None` for more than the cipher can take, 256 GiB.
    fn seal(&self, counter: u64, ad: &[u8], body: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let tag = self.aead().encrypt_inout_detached(&Self::nonce(counter), ad, body.into()).ok()?;
        Some(tag.into())
    }

    /// Decrypts `body` in place, or returns false and leaves it alone.
    fn open(&self, counter: u64, ad: &[u8], body: &mut [u8], tag: &[u8; TAG_BYTES]) -> bool {
        let tag = Tag::from(*tag);
        self.aead().decrypt_inout_detached(&Self::nonce(counter), ad, body.into(), &tag).is_ok()
    }
}

impl snow::types::Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = Zeroizing::new(*key);
    }

    /// Returns 0 if `out` is too short, which `snow` has ruled out.
    fn encrypt(&self, nonce: u64, ad: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let Some((body, rest)) = out.split_at_mut_checked(plaintext.len()) else { return 0 };
        let Some(tag_out) = rest.first_chunk_mut::<TAG_BYTES>() else { return 0 };
        body.copy_from_slice(plaintext);
        let Some(tag) = self.seal(nonce, ad, body) else { return 0 };
        *tag_out = tag;
        plaintext.len().saturating_add(TAG_BYTES)
    }

    fn decrypt(&self, nonce: u64, ad: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (ciphertext, tag) = ciphertext.split_last_chunk::<TAG_BYTES>().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..ciphertext.len()).ok_or(Error::Decrypt)?;
        out.copy_from_slice(ciphertext);
        if self.open(nonce, ad, out, tag) { Ok(ciphertext.len()) } else { Err(Error::Decrypt) }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::crypto::tests::{bytes32, unhex};
    use crate::hex;

    /// The vector for this pattern in the collection of the Haskell implementation `cacophony`.
    #[test]
    fn the_cacophony_vector() {
        let prologue = unhex("4a6f686e2047616c74");
        let mut initiator = Box::new(NoiseHandshake::new(
            Role::Initiator,
            &bytes32("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"),
            &bytes32("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"),
            &prologue,
        ));
        let mut responder = Box::new(NoiseHandshake::new(
            Role::Responder,
            &bytes32("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"),
            &bytes32("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"),
            &prologue,
        ));
        let handshake = [
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573",
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285\
                 e08d6b68aaa3629a5a8639392490e5b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f\
                 8814c7194e83f23dbd8d162c9326ad",
            ),
            (
                "462e20412e20486179656b",
                "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f\
                 58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030",
            ),
        ];
        for (index, (payload, ciphertext)) in handshake.into_iter().enumerate() {
            let (writer, reader) =
                if index == 1 { (&mut responder, &mut initiator) } else { (&mut initiator, &mut responder) };
            let message = writer.write_message(&unhex(payload)).unwrap();
            assert_eq!(hex(&message), ciphertext);
            assert_eq!(hex(&reader.read_message(&message).unwrap()), payload);
        }
        let (initiator, responder) = (initiator.finish().unwrap(), responder.finish().unwrap());
        let hash = "c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e";
        assert_eq!((hex(&initiator.binding).as_str(), hex(&responder.binding).as_str()), (hash, hash));
        let (mut initiator, mut responder) = (initiator.cipher, responder.cipher);
        let transport = [
            ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
            (
                "4a65616e2d426170746973746520536179",
                "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f",
            ),
        ];
        for (index, (payload, ciphertext)) in transport.into_iter().enumerate() {
            let (writer, reader) = if index % 2 == 0 {
                (&mut responder, &mut initiator)
            } else {
                (&mut initiator, &mut responder)
            };
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            writer.encrypt(&unhex(payload), &mut sent).unwrap();
            assert_eq!(hex(&sent), ciphertext);
            reader.decrypt(&sent, &mut received).unwrap();
            assert_eq!(hex(&received), payload);
        }
    }

    #[test]
    fn the_ephemeral_secret_is_given_once() {
        let resolver = Resolver { ephemeral: Zeroizing::new([7; 32]) };
        let mut random = resolver.resolve_rng().unwrap();
        let mut out = [0; 32];
        assert_eq!(random.try_fill_bytes(&mut out), Ok(()));
        assert_eq!(out, [7; 32]);
        assert_eq!(random.try_fill_bytes(&mut out), Err(Error::Rng));
    }

    #[test]
    fn b29_a_spent_counter_is_refused() {
        let end = |counter| Direction { counter, ..Direction::new(Zeroizing::new([7; 32])) };
        let last = u64::MAX - 1;
        let mut sender = NoiseCipher { send: end(last), receive: end(0) };
        let mut receiver = NoiseCipher { send: end(0), receive: end(last) };
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        sender.encrypt(b"x", &mut sent).unwrap();
        receiver.decrypt(&sent, &mut received).unwrap();
        assert_eq!(received, b"x");
        assert_eq!(sender.encrypt(b"x", &mut received), Err(CryptoError::Exhausted));
        assert_eq!(receiver.decrypt(&sent, &mut received), Err(CryptoError::Exhausted));
        assert_eq!(received, b"x");
    }
}
