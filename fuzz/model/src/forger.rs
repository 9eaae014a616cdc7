//! A peer that does the cryptography of a link right and says what it likes: a second, small implementation of frames
//! and handshake, from `docs/protocol-frames.md`.

use bytes::Bytes;
use unamed_protocol::crypto::{Cipher, Crypto, Handshake, IdealCrypto, Role, signing_input};
use unamed_protocol::link::{Session, WIRE_VERSION};
use unamed_protocol::wire::message::HandshakePayload;
use unamed_protocol::wire::{Bounded, encode_body};
use unamed_protocol::{Identity, Instance, Instant, NetworkId};

const HELLO_1: u8 = 0;
const HELLO_2: u8 = 1;
const HELLO_3: u8 = 2;
const TRANSPORT: u8 = 3;

/// One end of a link.
#[derive(Debug)]
pub(crate) struct Forger {
    role: Role,
    identity: Identity,
    static_secret: [u8; 32],
    noise: Option<Box<dyn Handshake>>,
    cipher: Option<Box<dyn Cipher>>,
}

fn frame(kind: u8, parts: &[&[u8]]) -> Bytes {
    let mut frame = vec![WIRE_VERSION, kind];
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame.into()
}

fn preamble() -> Vec<u8> {
    [b"unamed".as_slice(), &[1, WIRE_VERSION], &NetworkId::default().tag()].concat()
}

impl Forger {
    /// A peer with a secret seed, in the default network.
    pub(crate) fn new(role: Role, seed: u8) -> Self {
        let static_secret = [seed ^ 0x55; 32];
        let noise = IdealCrypto.handshake(role, &static_secret, &[seed ^ 0xAA; 32], &preamble());
        let identity = Identity::from_seed([seed; 32]);
        Self { role, identity, static_secret, noise: Some(noise), cipher: None }
    }

    /// What an honest peer would say in its handshake message.
    fn payload(&self) -> HandshakePayload {
        let role = match self.role {
            Role::Initiator => 0,
            Role::Responder => 1,
        };
        let key = IdealCrypto.sealing_public_key(&self.static_secret);
        let input = signing_input("handshake", &NetworkId::default(), &[&[role], &key]);
        HandshakePayload {
            identity: self.identity.peer_id(&IdealCrypto),
            signature: IdealCrypto.sign(self.identity.secret(), &input),
            instance: Instance { boot: 1, session: 1 },
            service: false,
            extensions: Bounded::default(),
        }
    }

    /// The honest payload, encoded.
    pub(crate) fn honest(&self) -> Vec<u8> {
        encode_body(&self.payload())
    }

    /// The handshake up to this end's payload: the frame with `payload` in it. `None` if the session does not go along.
    pub(crate) fn shake(&mut self, session: &mut Session, payload: &[u8], now: Instant) -> Option<Bytes> {
        let mut noise = self.noise.take()?;
        let (skipped, kind) = match self.role {
            Role::Initiator => {
                let hello = noise.write_message(&[]).ok()?;
                session.handle_frame(&frame(HELLO_1, &[&preamble(), &hello]), now);
                (2, HELLO_3)
            }
            Role::Responder => (2 + preamble().len(), HELLO_2),
        };
        let theirs = session.poll_frame(now)?;
        noise.read_message(theirs.get(skipped..)?).ok()?;
        let reply = noise.write_message(payload).ok()?;
        self.noise = Some(noise);
        Some(frame(kind, &[&reply]))
    }

    /// Ends the handshake, with the session's last message if it has one to send.
    pub(crate) fn settle(&mut self, session: &mut Session, now: Instant) -> Option<()> {
        let mut noise = self.noise.take()?;
        if !noise.is_finished() {
            noise.read_message(session.poll_frame(now)?.get(2..)?).ok()?;
        }
        self.cipher = Some(noise.finish().ok()?.cipher);
        Some(())
    }

    /// A transport frame of any plaintext. Empty if there was no handshake.
    pub(crate) fn seal(&mut self, plaintext: &[u8]) -> Bytes {
        let mut out = vec![WIRE_VERSION, TRANSPORT];
        let Some(cipher) = &mut self.cipher else { return Bytes::new() };
        match cipher.encrypt(plaintext, &mut out) {
            Ok(()) => out.into(),
            Err(_) => Bytes::new(),
        }
    }

    /// The plaintext of a transport frame of the session.
    pub(crate) fn open(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.cipher.as_mut()?.decrypt(frame.get(2..)?, &mut out).ok()?;
        Some(out)
    }
}
