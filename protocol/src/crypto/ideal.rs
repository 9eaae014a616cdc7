//! The provider for simulations: the same lengths and the same behaviour, at a small part of the price.
//!
//! **This is not cryptography.** It stands for an ideal one towards whoever uses nothing but the [`Crypto`] interface:
//! from a public key that interface gives no way back to the secret, so nobody signs for another, opens what was sealed
//! to another, or joins a link's key exchange. Inside, a public key is a keyed permutation of its secret, which checking
//! a signature simply inverts: so no table is shared, copies of the provider agree, and a run can be replayed. Whoever
//! writes a program against this module breaks it at once.
//!
//! Tags come from a 64-bit mixing function, and what is encrypted is whitened by a key stream from the same function, so
//! that plaintext does not show on the wire and a reader that skips decryption fails. Two different inputs share a tag
//! with probability 2^-64, by accident and not by intent of an attacker who knows the function.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::{
    Cipher, Crypto, CryptoError, Finished, Handshake, PLAINTEXT_BYTES_MAX, Role, SEAL_OVERHEAD, Signature,
    TAG_BYTES,
};

/// Ideal cryptography for simulations; see the module's text for what it promises.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdealCrypto;

/// What a value is mixed for, so that one key serves several purposes.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Domain {
    Sign = u64::from_le_bytes(*b"sign    "),
    Seal = u64::from_le_bytes(*b"seal    "),
    Exchange = u64::from_le_bytes(*b"exchange"),
    Hash = u64::from_le_bytes(*b"hash    "),
    Key = u64::from_le_bytes(*b"key     "),
    Encrypt = u64::from_le_bytes(*b"encrypt "),
    Stream = u64::from_le_bytes(*b"stream  "),
}

/// The largest message of a handshake, as in Noise.
const MESSAGE_BYTES_MAX: usize = 65_535;

/// The fraction of the golden ratio times 2^64: odd, and without a pattern in its bits.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Both halves of the 128-bit product, added without carry: every bit of the result depends on most bits of both.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product >> 64) as u64 ^ product as u64
}

/// Mixes `data` and its length into `state`.
fn absorb(mut state: u64, data: &[u8]) -> u64 {
    let mut step = |pair: &[u8; 16]| {
        let [x, y] = lanes(pair);
        state = fold(x ^ state, y ^ state.rotate_left(32) ^ GOLDEN);
    };
    let (pairs, rest) = data.as_chunks::<16>();
    pairs.iter().for_each(&mut step);
    let mut last = [0; 16];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    step(&last);
    fold(state ^ data.len() as u64, state.rotate_left(29) ^ GOLDEN)
}

/// The tag of `parts` under a key, for one purpose.
fn tag(domain: Domain, key: &[u64], parts: &[&[u8]]) -> u64 {
    let start =
        key.iter().fold(domain as u64, |state, word| fold(state ^ word, GOLDEN ^ word.rotate_left(23)));
    parts.iter().fold(start, |state, part| absorb(state, part))
}

/// Adds the key stream of `key` to `data`; twice gives the data again.
fn whiten(key: u64, data: &mut [u8]) {
    let key = fold(key ^ Domain::Stream as u64, GOLDEN);
    let word =
        |at: u64| fold(key ^ at.wrapping_mul(GOLDEN), key.rotate_left(31).wrapping_add(at)).to_le_bytes();
    let mut at = 0_u64;
    let (words, rest) = data.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_le_bytes(*chunk) ^ u64::from_le_bytes(word(at))).to_le_bytes();
        at = at.wrapping_add(1);
    }
    rest.iter_mut().zip(word(at)).for_each(|(byte, stream)| *byte ^= stream);
}

/// `N` bytes that depend on all bits of `tag`.
fn expand<const N: usize>(tag: u64) -> [u8; N] {
    let mut out = [0; N];
    whiten(tag, &mut out);
    out
}

/// Bytes as little-endian words.
fn lanes<const N: usize, const LANES: usize>(bytes: &[u8; N]) -> [u64; LANES] {
    let mut out = [0; LANES];
    out.iter_mut().zip(bytes.as_chunks::<8>().0).for_each(|(lane, bytes)| *lane = u64::from_le_bytes(*bytes));
    out
}

fn bytes(lanes: [u64; 4]) -> [u8; 32] {
    let mut out = [0; 32];
    out.as_chunks_mut::<8>().0.iter_mut().zip(lanes).for_each(|(bytes, lane)| *bytes = lane.to_le_bytes());
    out
}

/// Rounds of the permutation: each lane is replaced three times, so every bit of the key depends on the whole secret.
const ROUNDS: u64 = 12;

fn round(domain: Domain, index: u64, b: u64, c: u64, d: u64) -> u64 {
    let key = (domain as u64).wrapping_add(index.wrapping_mul(GOLDEN));
    fold(b ^ key, c.wrapping_add(d.rotate_left(17)) ^ key.rotate_left(32))
}

/// Public key of a secret: a Feistel network over four lanes.
fn permute(domain: Domain, secret: &[u8; 32]) -> [u8; 32] {
    bytes((0..ROUNDS).fold(lanes(secret), |[a, b, c, d], index| [b, c, d, a ^ round(domain, index, b, c, d)]))
}

/// Secret of a public key: [`permute`] backwards.
fn invert(domain: Domain, public: &[u8; 32]) -> [u64; 4] {
    (0..ROUNDS).rev().fold(lanes(public), |[b, c, d, e], index| [e ^ round(domain, index, b, c, d), b, c, d])
}

/// Whether a key is one of those that the real provider refuses and tests use: the encodings of 0 and 1.
fn is_weak(public: &[u8; 32]) -> bool {
    let [first, rest @ ..] = public;
    *first <= 1 && rest.iter().all(|byte| *byte == 0)
}

/// The shared secret of a key exchange; `None` if the other's share is weak.
fn exchange(own: &[u8; 32], theirs: &[u8; 32]) -> Option<u64> {
    if is_weak(theirs) {
        return None;
    }
    let [a, b, c, d]: [u64; 4] = lanes(own);
    let [e, f, g, h] = invert(Domain::Exchange, theirs);
    // Sum and product of each pair of lanes do not depend on who is who.
    let both = |x: u64, y: u64| x.wrapping_add(y) ^ fold(x, y);
    Some(tag(Domain::Exchange, &[both(a, e), both(b, f), both(c, g), both(d, h)], &[]))
}

impl Crypto for IdealCrypto {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        permute(Domain::Sign, secret)
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        expand(tag(Domain::Sign, &lanes::<32, 4>(secret), &[message]))
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        !is_weak(public) && expand(tag(Domain::Sign, &invert(Domain::Sign, public), &[message])) == *signature
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        permute(Domain::Exchange, secret)
    }

    fn seal(
        &self,
        recipient: &[u8; 32],
        ephemeral: &[u8; 32],
        context: &[u8],
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        let share = permute(Domain::Exchange, ephemeral);
        let key = tag(Domain::Seal, &[exchange(ephemeral, recipient)?], &[&share, recipient]);
        let mut out = Vec::with_capacity(plaintext.len().saturating_add(SEAL_OVERHEAD));
        out.extend_from_slice(&share);
        encrypt(key, context, plaintext, &mut out);
        Some(out)
    }

    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (share, sealed) = sealed.split_first_chunk::<32>()?;
        let recipient = permute(Domain::Exchange, secret);
        let key = tag(Domain::Seal, &[exchange(secret, share)?], &[share, &recipient]);
        let mut out = Vec::new();
        decrypt(key, context, sealed, &mut out).then_some(out)
    }

    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake> {
        Box::new(IdealHandshake(Some(Exchange {
            role,
            messages: 0,
            statik: *static_secret,
            ephemeral: *ephemeral,
            remote_static: None,
            remote_ephemeral: None,
            hash: tag(Domain::Hash, &[], &[prologue]),
            chain: None,
        })))
    }
}

/// Appends the whitened plaintext and its tag.
fn encrypt(key: u64, ad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(plaintext.len().saturating_add(TAG_BYTES));
    out.extend_from_slice(plaintext);
    encrypt_in_place(key, ad, out, start);
}

/// Whitens what stands in `out` from `start` on, and appends the tag.
fn encrypt_in_place(key: u64, ad: &[u8], out: &mut Vec<u8>, start: usize) {
    let ciphertext = out.get_mut(start..).unwrap_or_default();
    whiten(key, ciphertext);
    let tag = tag(Domain::Encrypt, &[key], &[ad, ciphertext]);
    out.extend_from_slice(&expand::<TAG_BYTES>(tag));
}

/// Appends the plaintext, or returns false and leaves `out` alone.
fn decrypt(key: u64, ad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((ciphertext, found)) = sealed.split_last_chunk::<TAG_BYTES>() else { return false };
    if expand(tag(Domain::Encrypt, &[key], &[ad, ciphertext])) != *found {
        return false;
    }
    let start = out.len();
    out.extend_from_slice(ciphertext);
    whiten(key, out.get_mut(start..).unwrap_or_default());
    true
}

/// A handshake in progress; `None` once anything went wrong.
struct IdealHandshake(Option<Exchange>);

/// The state of Noise XX, with 64-bit words where Noise has hashes.
struct Exchange {
    role: Role,
    /// Messages that have passed.
    messages: u8,
    statik: [u8; 32],
    ephemeral: [u8; 32],
    remote_static: Option<[u8; 32]>,
    remote_ephemeral: Option<[u8; 32]>,
    /// Noise's `h`.
    hash: u64,
    /// Noise's `ck`; `None` until the first key exchange, up to which payloads are in the clear.
    chain: Option<u64>,
}

/// Messages of a whole handshake.
const FINISHED: u8 = 3;

impl Exchange {
    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = tag(Domain::Hash, &[self.hash], &[data]);
    }

    fn mix_key(&mut self, own: [u8; 32], theirs: Option<[u8; 32]>) -> Option<()> {
        let shared = exchange(&own, &theirs?)?;
        self.chain = Some(tag(Domain::Key, &[self.chain.unwrap_or_default(), shared], &[]));
        Some(())
    }

    /// Each key serves once, since the hash differs each time.
    fn key(&self) -> Option<u64> {
        self.chain.map(|chain| tag(Domain::Key, &[chain, self.hash], &[]))
    }

    fn put(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        match self.key() {
            Some(key) => encrypt(key, &[], data, out),
            None => out.extend_from_slice(data),
        }
        self.mix_hash(out.get(start..).unwrap_or_default());
    }

    fn take(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match self.key() {
            Some(key) => decrypt(key, &[], data, &mut out).then_some(())?,
            None => out.extend_from_slice(data),
        }
        self.mix_hash(data);
        Some(out)
    }

    /// Takes `N` bytes off `message`.
    fn take_key<const N: usize>(&mut self, message: &mut &[u8]) -> Option<[u8; 32]> {
        let (part, rest) = message.split_first_chunk::<N>()?;
        *message = rest;
        self.take(part)?.try_into().ok()
    }

    fn is_my_turn(&self) -> bool {
        match self.role {
            Role::Initiator => matches!(self.messages, 0 | 2),
            Role::Responder => self.messages == 1,
        }
    }

    fn write(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.is_my_turn() {
            return None;
        }
        let mut out = Vec::with_capacity(payload.len().saturating_add(96));
        if self.messages < 2 {
            self.put(&permute(Domain::Exchange, &self.ephemeral), &mut out);
        }
        if self.messages == 1 {
            self.mix_key(self.ephemeral, self.remote_ephemeral)?;
        }
        if self.messages > 0 {
            self.put(&permute(Domain::Exchange, &self.statik), &mut out);
            self.mix_key(self.statik, self.remote_ephemeral)?;
        }
        self.put(payload, &mut out);
        self.messages = self.messages.saturating_add(1);
        (out.len() <= MESSAGE_BYTES_MAX).then_some(out)
    }

    fn read(&mut self, mut message: &[u8]) -> Option<Vec<u8>> {
        if self.is_my_turn() || self.messages >= FINISHED || message.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        if self.messages < 2 {
            self.remote_ephemeral = Some(self.take_key::<32>(&mut message)?);
        }
        if self.messages == 1 {
            self.mix_key(self.ephemeral, self.remote_ephemeral)?;
        }
        if self.messages > 0 {
            self.remote_static = Some(self.take_key::<{ 32 + TAG_BYTES }>(&mut message)?);
            self.mix_key(self.ephemeral, self.remote_static)?;
        }
        let payload = self.take(message)?;
        self.messages = self.messages.saturating_add(1);
        Some(payload)
    }
}

impl Handshake for IdealHandshake {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut state = self.0.take().ok_or(CryptoError::Handshake)?;
        let message = state.write(payload).ok_or(CryptoError::Handshake)?;
        self.0 = Some(state);
        Ok(message)
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut state = self.0.take().ok_or(CryptoError::Handshake)?;
        let payload = state.read(message).ok_or(CryptoError::Handshake)?;
        self.0 = Some(state);
        Ok(payload)
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        self.0.as_ref()?.remote_static
    }

    fn is_finished(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.messages == FINISHED)
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        let state = self.0.filter(|state| state.messages == FINISHED).ok_or(CryptoError::Handshake)?;
        let key = |role: Role| {
            let chain = state.chain.unwrap_or_default();
            tag(Domain::Key, &[chain], &[&[role as u8]])
        };
        let (send, receive) = match state.role {
            Role::Initiator => (Role::Initiator, Role::Responder),
            Role::Responder => (Role::Responder, Role::Initiator),
        };
        let cipher = IdealCipher { send: (key(send), 0), receive: (key(receive), 0) };
        Ok(Finished { cipher: Box::new(cipher), binding: expand(state.hash) })
    }
}

impl fmt::Debug for IdealHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdealHandshake").finish_non_exhaustive()
    }
}

/// Key and counter for each direction.
struct IdealCipher {
    send: (u64, u64),
    receive: (u64, u64),
}

/// The key of one message, or that the counter is spent: its last value is not used, as in Noise.
fn message_key((key, counter): (u64, u64)) -> Result<u64, CryptoError> {
    if counter == u64::MAX {
        return Err(CryptoError::Exhausted);
    }
    Ok(fold(key ^ counter.wrapping_mul(GOLDEN), key.rotate_left(32).wrapping_add(counter)))
}

impl Cipher for IdealCipher {
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        if buffer.len().saturating_sub(start) > PLAINTEXT_BYTES_MAX {
            return Err(CryptoError::Exhausted);
        }
        encrypt_in_place(message_key(self.send)?, &[], buffer, start);
        self.send.1 = self.send.1.saturating_add(1);
        Ok(())
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let fits = ciphertext.len() <= MESSAGE_BYTES_MAX;
        let key = message_key(self.receive)?;
        if !fits || !decrypt(key, &[], ciphertext, out) {
            return Err(CryptoError::Decrypt);
        }
        self.receive.1 = self.receive.1.saturating_add(1);
        Ok(())
    }
}

impl fmt::Debug for IdealCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdealCipher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_permutation_is_inverted(secret: [u8; 32]) {
            for domain in [Domain::Sign, Domain::Exchange] {
                let public = permute(domain, &secret);
                prop_assert_eq!(bytes(invert(domain, &public)), secret);
                prop_assert_ne!(public, secret);
            }
        }

        #[test]
        fn one_bit_of_the_secret_changes_about_half_of_the_key(secret: [u8; 32], bit in 0..256_usize) {
            let mut other = secret;
            other[bit / 8] ^= 1 << (bit % 8);
            let (a, b) = (permute(Domain::Sign, &secret), permute(Domain::Sign, &other));
            let changed: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
            prop_assert!((70..=186).contains(&changed), "{changed} of 256");
        }

        #[test]
        fn the_exchange_is_symmetric(a: [u8; 32], b: [u8; 32]) {
            let shared = exchange(&a, &permute(Domain::Exchange, &b));
            prop_assert!(shared.is_some());
            prop_assert_eq!(shared, exchange(&b, &permute(Domain::Exchange, &a)));
        }
    }

    #[test]
    fn a_tag_depends_on_how_the_bytes_are_divided() {
        let of = |parts: &[&[u8]]| tag(Domain::Hash, &[1], parts);
        let all =
            [of(&[b"ab", b"c"]), of(&[b"a", b"bc"]), of(&[b"abc"]), of(&[b"abc\0"]), of(&[b"abc", b""])];
        let different: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_spent_counter_is_refused() {
        let last = u64::MAX - 1;
        let mut sender = IdealCipher { send: (7, last), receive: (0, 0) };
        let mut receiver = IdealCipher { send: (0, 0), receive: (7, last) };
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        assert_eq!(sender.encrypt(b"x", &mut sent), Ok(()));
        assert_eq!(receiver.decrypt(&sent, &mut received), Ok(()));
        assert_eq!(sender.encrypt(b"x", &mut sent), Err(CryptoError::Exhausted));
        assert_eq!(receiver.decrypt(&sent, &mut received), Err(CryptoError::Exhausted));
        assert_eq!((sent.len(), received.as_slice()), (17, b"x".as_slice()));
    }
}
