//! The quick crypto provider of simulations: the keys of the real one, at the price of the ideal one.
//!
//! What decides where a node is and what it does are public keys and hashes; a run with [`RealCrypto`] must take the
//! same decisions as a quick one, so both must have the same keys. [`BookkeepingCrypto`] gives the public keys that
//! [`RealCrypto`] gives, computes each of them once, and remembers whose they are. A signature is the tag that
//! [`IdealCrypto`] makes with the secret key; checking one looks up the secret in the books and makes the tag again. So
//! nobody signs for another through the [`Crypto`] interface.
//!
//! Sealing is the real one: it is rare, and what is sealed is part of message ids. Handshakes and transport encryption
//! are the ideal ones, since their bytes decide nothing; only the static key that a handshake proves is given as the real
//! one of the same secret.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unamed_protocol::crypto::{
    Crypto, CryptoError, Finished, Handshake, IdealCrypto, RealCrypto, Role, Signature,
};

/// Quick cryptography with real public keys, for simulations; see the module's text for what it promises.
#[derive(Default)]
pub struct BookkeepingCrypto {
    books: Arc<Mutex<Books>>,
}

/// Who has which key.
#[derive(Default)]
struct Books {
    public_of: BTreeMap<[u8; 32], [u8; 32]>,
    secret_of: BTreeMap<[u8; 32], [u8; 32]>,
    /// The real exchange keys, by the ideal ones of the same secrets.
    sealing_of: BTreeMap<[u8; 32], [u8; 32]>,
}

/// Opens the books.
fn open(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    // An entry that a panic elsewhere kept from being made is made by the next who asks.
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BookkeepingCrypto {
    /// A provider with empty books. Nodes that shall understand each other share one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Books").field("keys", &self.public_of.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for BookkeepingCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BookkeepingCrypto").finish_non_exhaustive()
    }
}

impl Crypto for BookkeepingCrypto {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        let mut books = open(&self.books);
        if let Some(public) = books.public_of.get(secret) {
            return *public;
        }
        let public = RealCrypto.public_key(secret);
        books.public_of.insert(*secret, public);
        books.secret_of.insert(public, *secret);
        public
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        self.public_key(secret);
        IdealCrypto.sign(secret, message)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        let secret = open(&self.books).secret_of.get(public).copied();
        secret.is_some_and(|secret| IdealCrypto.sign(&secret, message) == *signature)
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        let ideal = IdealCrypto.sealing_public_key(secret);
        *open(&self.books).sealing_of.entry(ideal).or_insert_with(|| RealCrypto.sealing_public_key(secret))
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
        self.sealing_public_key(static_secret);
        let ideal = IdealCrypto.handshake(role, static_secret, ephemeral, prologue);
        Box::new(BookkeepingHandshake { ideal, books: Arc::clone(&self.books) })
    }
}

/// An ideal handshake that proves the real static key.
#[derive(Debug)]
struct BookkeepingHandshake {
    ideal: Box<dyn Handshake>,
    books: Arc<Mutex<Books>>,
}

impl Handshake for BookkeepingHandshake {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.ideal.write_message(payload)
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.ideal.read_message(message)
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        let ideal = self.ideal.remote_static()?;
        open(&self.books).sealing_of.get(&ideal).copied()
    }

    fn is_finished(&self) -> bool {
        self.ideal.is_finished()
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        self.ideal.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_real_ones_and_signatures_hold_for_their_key_and_message_alone() {
        let crypto = BookkeepingCrypto::new();
        let [a, b] = [[1; 32], [2; 32]];
        let [public_a, public_b] = [a, b].map(|secret| crypto.public_key(&secret));
        assert_eq!([public_a, public_b], [a, b].map(|secret| RealCrypto.public_key(&secret)));
        let signature = crypto.sign(&a, b"text");
        let mut flipped = signature;
        flipped[63] ^= 1;
        let table = [
            (&public_a, b"text", &signature, true),
            (&public_b, b"text", &signature, false),
            (&public_a, b"next", &signature, false),
            (&public_a, b"text", &flipped, false),
            (&[0; 32], b"text", &signature, false),
            (&RealCrypto.public_key(&[3; 32]), b"text", &signature, false),
        ];
        for (public, message, signature, holds) in table {
            assert_eq!(crypto.verify(public, message, signature), holds, "{public:?} {message:?}");
        }
    }

    #[test]
    fn who_signs_is_in_the_books_at_once() {
        let crypto = BookkeepingCrypto::new();
        let signature = crypto.sign(&[7; 32], b"text");
        assert!(crypto.verify(&RealCrypto.public_key(&[7; 32]), b"text", &signature));
    }
}
