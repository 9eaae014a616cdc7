//! Who reads what: bytes that only members of a room may see are tainted, and each byte that a node deciphers, or that stands
//! open on a wire, is searched for them.
//!
//! Payloads of messages begin with a [`Tagged`], which names author and room; what nobody but a room's owner and members may
//! know, its key, is told to the [`Watch`]. A node looks through [`Watched`] crypto, which sees all that it deciphers: frames
//! of its links, payloads of handshakes, what is sealed to it. The world shows the watch each frame that arrives. A payload
//! that is read by a node is judged by the oracle; one that stands open on a wire, or a key anywhere, is a violation.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use unamed_protocol::crypto::{Cipher, Crypto, CryptoError, Finished, Handshake, Role, Signature};

/// What tagged payloads begin with: so long that thousands of runs have no ciphertext in which it stands by chance.
const TAG: [u8; 8] = [0xa7, 0x1e, 0xd3, 0x5c, 0x09, 0xf4, 0x62, 0xb8];

/// Where a payload belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tagged {
    /// The node that wrote it, by its index.
    pub(crate) author: u32,
    /// The room, by the oracle's index.
    pub(crate) room: u32,
    /// Its place in its stream.
    pub(crate) place: u32,
}

impl Tagged {
    /// Bytes of a tag.
    pub(crate) const BYTES: usize = 20;

    /// A payload of this many bytes, which no other message has; of a tag's length at least.
    pub(crate) fn payload(self, bytes: usize) -> Bytes {
        let mut content = Vec::with_capacity(bytes.max(Self::BYTES));
        content.extend_from_slice(&TAG);
        for field in [self.author, self.room, self.place] {
            content.extend_from_slice(&field.to_le_bytes());
        }
        content.resize(bytes.max(Self::BYTES), 0x75);
        content.into()
    }

    /// The tag that bytes begin with.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let fields = bytes.strip_prefix(&TAG)?;
        let field = |at: usize| fields.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        Some(Self { author: field(0)?, room: field(4)?, place: field(8)? })
    }
}

/// Something tainted that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sighting {
    /// A node read a payload of a room.
    Payload {
        /// The node, by its index.
        reader: u32,
        /// The room, by the oracle's index.
        room: u32,
    },
    /// A frame to a node shows a payload to whoever is on the wire.
    OpenPayload {
        /// The node, by its index.
        to: u32,
    },
    /// The key of a room came to a node.
    Key {
        /// The node, by its index.
        to: u32,
    },
}

/// Where tainted bytes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// What a node can read.
    Read,
    /// What stands on the wire.
    Wire,
}

/// Sees tainted bytes. Each sighting counts once.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    keys: Vec<[u8; 32]>,
    /// Which bytes keys begin with, by value; empty without keys.
    firsts: Vec<bool>,
    known: BTreeSet<Sighting>,
    fresh: Vec<Sighting>,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on this key is not to be seen anywhere.
    pub(crate) fn add_key(&self, key: [u8; 32]) {
        let mut seen = self.seen();
        seen.keys.push(key);
        seen.firsts.resize(256, false);
        seen.firsts[usize::from(key[0])] = true;
    }

    /// Searches bytes that came to a node.
    pub(crate) fn search(&self, node: u32, place: Place, bytes: &[u8]) {
        let mut seen = self.seen();
        let mut found = Vec::new();
        for (at, first) in bytes.iter().enumerate() {
            let rest = &bytes[at..];
            if *first == TAG[0]
                && let Some(tagged) = Tagged::of(rest)
            {
                found.push(match place {
                    Place::Read => Sighting::Payload { reader: node, room: tagged.room },
                    Place::Wire => Sighting::OpenPayload { to: node },
                });
            }
            if seen.firsts.get(usize::from(*first)) == Some(&true)
                && seen.keys.iter().any(|key| rest.starts_with(key))
            {
                found.push(Sighting::Key { to: node });
            }
        }
        for sighting in found {
            if seen.known.insert(sighting) {
                seen.fresh.push(sighting);
            }
        }
    }

    /// What was seen for the first time since this was last called.
    pub(crate) fn take(&self) -> Vec<Sighting> {
        std::mem::take(&mut self.seen().fresh)
    }
}

/// The crypto of one node, whose results are searched.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn Crypto>,
    eye: Eye,
}

/// Through which a watch sees what a node reads.
#[derive(Clone, Debug)]
struct Eye {
    watch: Arc<Watch>,
    node: u32,
}

impl Eye {
    fn read(&self, bytes: &[u8]) {
        self.watch.search(self.node, Place::Read, bytes);
    }
}

impl Watched {
    /// `inner` for the node of this index.
    pub(crate) const fn new(inner: Arc<dyn Crypto>, watch: Arc<Watch>, node: u32) -> Self {
        Self { inner, eye: Eye { watch, node } }
    }
}

impl Crypto for Watched {
    fn public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        self.inner.public_key(secret)
    }

    fn sign(&self, secret: &[u8; 32], message: &[u8]) -> Signature {
        self.inner.sign(secret, message)
    }

    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
        self.inner.verify(public, message, signature)
    }

    fn sealing_public_key(&self, secret: &[u8; 32]) -> [u8; 32] {
        self.inner.sealing_public_key(secret)
    }

    fn seal(
        &self,
        recipient: &[u8; 32],
        ephemeral: &[u8; 32],
        context: &[u8],
        plaintext: &[u8],
    ) -> Option<Vec<u8>> {
        self.inner.seal(recipient, ephemeral, context, plaintext)
    }

    fn open(&self, secret: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.inner.open(secret, context, sealed).inspect(|opened| self.eye.read(opened))
    }

    fn handshake(
        &self,
        role: Role,
        static_secret: &[u8; 32],
        ephemeral: &[u8; 32],
        prologue: &[u8],
    ) -> Box<dyn Handshake> {
        let inner = self.inner.handshake(role, static_secret, ephemeral, prologue);
        Box::new(WatchedHandshake { inner, eye: self.eye.clone() })
    }
}

#[derive(Debug)]
struct WatchedHandshake {
    inner: Box<dyn Handshake>,
    eye: Eye,
}

impl Handshake for WatchedHandshake {
    fn write_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.write_message(payload)
    }

    fn read_message(&mut self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.read_message(message).inspect(|payload| self.eye.read(payload))
    }

    fn remote_static(&self) -> Option<[u8; 32]> {
        self.inner.remote_static()
    }

    fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    fn finish(self: Box<Self>) -> Result<Finished, CryptoError> {
        let Self { inner, eye } = *self;
        let Finished { cipher, binding } = inner.finish()?;
        Ok(Finished { cipher: Box::new(WatchedCipher { inner: cipher, eye }), binding })
    }
}

#[derive(Debug)]
struct WatchedCipher {
    inner: Box<dyn Cipher>,
    eye: Eye,
}

impl Cipher for WatchedCipher {
    fn encrypt_in_place(&mut self, buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        self.inner.encrypt_in_place(buffer, start)
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let start = out.len();
        self.inner.decrypt(ciphertext, out)?;
        self.eye.read(&out[start..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use unamed_protocol::crypto::IdealCrypto;

    use super::*;

    #[test]
    fn tags_and_keys_are_found_wherever_they_stand() {
        let watch = Watch::default();
        watch.add_key([9; 32]);
        let tagged = Tagged { author: 1, room: 2, place: 3 };
        let payload = tagged.payload(20);
        assert_eq!((payload.len(), Tagged::of(&payload)), (20, Some(tagged)));
        assert_eq!(Tagged::of(&payload[..19]), None);
        watch.search(7, Place::Read, &[&[TAG[0], 0][..], &payload].concat());
        watch.search(7, Place::Read, &payload);
        watch.search(8, Place::Wire, &payload);
        watch.search(8, Place::Wire, &[&[9; 3][..], &[0], &[9; 32]].concat());
        let all = [
            Sighting::Payload { reader: 7, room: 2 },
            Sighting::OpenPayload { to: 8 },
            Sighting::Key { to: 8 },
        ];
        assert_eq!(watch.take(), all, "each once");
        assert_eq!(watch.take(), []);
    }

    #[test]
    fn what_a_node_deciphers_is_seen_and_what_it_cannot_decipher_is_not() {
        let watch = Arc::new(Watch::default());
        let [us, them]: [Box<dyn Crypto>; 2] =
            [1, 2].map(|node| Box::new(Watched::new(Arc::new(IdealCrypto), Arc::clone(&watch), node)) as _);
        let secret = |room| Tagged { author: 0, room, place: 0 }.payload(Tagged::BYTES);
        let recipient = them.sealing_public_key(&[4; 32]);
        let sealed = us.seal(&recipient, &[5; 32], b"to them", &secret(0)).expect("a good key");
        assert!(us.open(&[3; 32], b"to them", &sealed).is_none());
        assert_eq!(watch.take(), []);
        assert!(them.open(&[4; 32], b"to them", &sealed).is_some());
        assert_eq!(watch.take(), [Sighting::Payload { reader: 2, room: 0 }]);

        let mut ends = [
            us.handshake(Role::Initiator, &[3; 32], &[6; 32], b""),
            them.handshake(Role::Responder, &[4; 32], &[7; 32], b""),
        ];
        let [initiator, responder] = &mut ends;
        let first = initiator.write_message(&[]).expect("its turn");
        responder.read_message(&first).expect("sound");
        let second = responder.write_message(&secret(1)).expect("its turn");
        initiator.read_message(&second).expect("sound");
        let third = initiator.write_message(&[]).expect("its turn");
        responder.read_message(&third).expect("sound");
        assert_eq!(watch.take(), [Sighting::Payload { reader: 1, room: 1 }]);
        let [mut ours, mut theirs] = ends.map(|end| end.finish().expect("finished").cipher);
        let mut frame = Vec::new();
        theirs.encrypt(&secret(2), &mut frame).expect("fits");
        watch.search(1, Place::Wire, &frame);
        assert_eq!(watch.take(), []);
        ours.decrypt(&frame, &mut Vec::new()).expect("sound");
        assert_eq!(watch.take(), [Sighting::Payload { reader: 1, room: 2 }]);
    }
}
