//! The handshake of one link, and what is checked in it: three Noise messages, or one proof of each end where the carrier
//! itself is secret.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::frame::{self, FrameKind};
use super::session::SessionConfig;
use crate::crypto::{Cipher, Crypto, CryptoError, Finished, Handshake, Role, signing_input};
use crate::routing::key::home_id;
use crate::wire::Bounded;
use crate::wire::message::{Extension, HandshakePayload};
use crate::{CloseReason, Identity, Instance, NetworkId, PeerId, RoomId};

/// The kind of the signatures in a Noise handshake.
const SIGNATURE_KIND: &str = "handshake";

/// The kind of the signatures over a carrier's transcript.
const PROOF_KIND: &str = "channel";

/// What keeps a link secret, and binds it to its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Noise XX inside the carrier.
    Noise,
    /// The carrier itself, whose ends are told apart by what both signalled: each end signs the transcript. Frames pass
    /// as they are.
    Carrier {
        /// Equal at both ends and nowhere else; becomes the link's channel binding.
        transcript: [u8; 32],
    },
}

/// What the handshake proved of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub id: PeerId,
    /// Its home room, which is its location if it is a service node: [`home_id`] of its identity.
    pub home: RoomId,
    /// Which run of the identity it is.
    pub instance: Instance,
    /// Whether it says that it is a service node.
    pub service: bool,
    /// The link's channel binding: the Noise handshake hash, equal at both ends and nowhere else.
    pub binding: [u8; 32],
    /// Its tagged extensions.
    pub extensions: Vec<Extension>,
}

/// What a frame leads to.
#[derive(Debug)]
pub(super) enum Step {
    /// The handshake goes on with this frame.
    Reply(Bytes),
    /// The peer is authenticated.
    Finished {
        /// The frame to send, if one is left.
        reply: Option<Bytes>,
        /// Transport encryption.
        cipher: Box<dyn Cipher>,
        /// The peer.
        peer: Peer,
    },
    /// The link closes, after this frame if there is one.
    Closed(CloseReason, Option<Bytes>),
}

/// Which message is awaited, and what is kept for it.
#[derive(Debug)]
enum Stage {
    Hello1,
    /// With the own first frame, to know it again when it is reflected.
    Hello2(Box<dyn Handshake>, Bytes),
    Hello3(Box<dyn Handshake>),
    /// The peer's proof over this transcript.
    Proof([u8; 32]),
    Over,
}

/// One end's handshake.
pub(super) struct Handshaking {
    stage: Stage,
    crypto: Arc<dyn Crypto>,
    role: Role,
    network: NetworkId,
    identity: Identity,
    peer: PeerId,
    instance: Instance,
    service: bool,
    static_secret: Zeroizing<[u8; 32]>,
    ephemeral: Zeroizing<[u8; 32]>,
    expected: Option<PeerId>,
    extensions: Bounded<Extension, 16>,
}

impl fmt::Debug for Handshaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshaking")
            .field("stage", &self.stage)
            .field("role", &self.role)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Handshaking {
    /// Starts; the first frame comes with it if this end has one to send, unless the crypto provider refuses to make one.
    pub(super) fn new(config: SessionConfig, crypto: Arc<dyn Crypto>) -> (Self, Option<Bytes>) {
        let secrecy = config.secrecy;
        let mut handshake = Self {
            stage: Stage::Hello1,
            crypto,
            role: config.role,
            network: config.network,
            identity: config.identity,
            peer: config.peer,
            instance: config.instance,
            service: config.service,
            static_secret: Zeroizing::new(config.static_secret),
            ephemeral: Zeroizing::new(config.ephemeral),
            expected: config.expected,
            extensions: config.extensions,
        };
        let first = match (secrecy, handshake.role) {
            (Secrecy::Noise, Role::Initiator) => handshake.hello1(),
            (Secrecy::Noise, Role::Responder) => None,
            (Secrecy::Carrier { transcript }, _) => handshake.proof(transcript),
        };
        (handshake, first)
    }

    fn proof(&mut self, transcript: [u8; 32]) -> Option<Bytes> {
        self.stage = Stage::Proof(transcript);
        let payload = self.payload(PROOF_KIND, &transcript).ok()?;
        Some(frame::join(FrameKind::Proof, &[&payload]))
    }

    /// Whether the peer's next frame answers the own last one, so that the time between them is a round trip.
    pub(super) const fn alternates(&self) -> bool {
        !matches!(self.stage, Stage::Proof(_))
    }

    fn hello1(&mut self) -> Option<Bytes> {
        let preamble = frame::preamble(self.network.tag());
        let mut noise = self.noise(&preamble);
        let message = noise.write_message(&[]).ok()?;
        let hello1 = frame::join(FrameKind::Hello1, &[&preamble, &message]);
        self.stage = Stage::Hello2(noise, hello1.clone());
        Some(hello1)
    }

    fn noise(&self, prologue: &[u8]) -> Box<dyn Handshake> {
        self.crypto.handshake(self.role, &self.static_secret, &self.ephemeral, prologue)
    }

    /// Takes a frame.
    pub(super) fn handle_frame(&mut self, frame: &[u8]) -> Step {
        let step = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hello1 => self.handle_hello1(frame),
            Stage::Hello2(noise, hello1) => self.handle_hello2(noise, &hello1, frame),
            Stage::Hello3(noise) => self.handle_hello3(noise, frame),
            Stage::Proof(transcript) => self.handle_proof(transcript, frame),
            Stage::Over => Err(CloseReason::Handshake),
        };
        step.unwrap_or_else(|reason| {
            let answered = matches!(reason, CloseReason::VersionMismatch | CloseReason::WrongNetwork)
                && self.role == Role::Responder;
            Step::Closed(reason, answered.then(|| frame::refused(reason)))
        })
    }

    fn handle_hello1(&mut self, frame: &[u8]) -> Result<Step, CloseReason> {
        let (preamble, message) = frame::split_hello1(frame, self.network.tag())?;
        let mut noise = self.noise(preamble);
        let payload = noise.read_message(message).map_err(|_| CloseReason::Handshake)?;
        if !payload.is_empty() {
            return Err(CloseReason::Handshake);
        }
        let reply = noise.write_message(&self.noise_payload()?).map_err(|_| CloseReason::Handshake)?;
        self.stage = Stage::Hello3(noise);
        Ok(Step::Reply(frame::join(FrameKind::Hello2, &[&reply])))
    }

    fn handle_hello2(
        &mut self,
        mut noise: Box<dyn Handshake>,
        hello1: &[u8],
        frame: &[u8],
    ) -> Result<Step, CloseReason> {
        if let Some(reason) = frame::parse_refused(frame) {
            return Err(reason);
        }
        if frame == hello1 {
            return Err(CloseReason::SelfDial);
        }
        let message = match frame::split(frame) {
            Some((FrameKind::Hello2, message)) => message,
            Some((_, _)) => return Err(CloseReason::Handshake),
            None => return Err(CloseReason::NotOurProtocol),
        };
        if frame.len() > frame::PREAUTH_FRAME_BYTES_MAX {
            return Err(CloseReason::TooLarge);
        }
        let payload = noise.read_message(message).map_err(|_| CloseReason::Handshake)?;
        let claimed = self.check_noise(&payload, noise.remote_static())?;
        let reply = noise.write_message(&self.noise_payload()?).map_err(|_| CloseReason::Handshake)?;
        finish(noise, claimed, Some(frame::join(FrameKind::Hello3, &[&reply])))
    }

    fn handle_hello3(&mut self, mut noise: Box<dyn Handshake>, frame: &[u8]) -> Result<Step, CloseReason> {
        if frame.len() > frame::PREAUTH_FRAME_BYTES_MAX {
            return Err(CloseReason::TooLarge);
        }
        let Some((FrameKind::Hello3, message)) = frame::split(frame) else {
            return Err(CloseReason::Handshake);
        };
        let payload = noise.read_message(message).map_err(|_| CloseReason::Handshake)?;
        let claimed = self.check_noise(&payload, noise.remote_static())?;
        finish(noise, claimed, None)
    }

    fn handle_proof(&self, transcript: [u8; 32], frame: &[u8]) -> Result<Step, CloseReason> {
        if frame.len() > frame::PREAUTH_FRAME_BYTES_MAX {
            return Err(CloseReason::TooLarge);
        }
        let Some((FrameKind::Proof, payload)) = frame::split(frame) else {
            return Err(CloseReason::Handshake);
        };
        let claimed = self.check(payload, PROOF_KIND, &transcript)?;
        let peer = authenticated(claimed, transcript);
        Ok(Step::Finished { reply: None, cipher: Box::new(Clear), peer })
    }

    fn noise_payload(&self) -> Result<Vec<u8>, CloseReason> {
        self.payload(SIGNATURE_KIND, &self.crypto.sealing_public_key(&self.static_secret))
    }

    /// This end's payload, signed over what binds it to this handshake.
    fn payload(&self, kind: &str, bound_to: &[u8; 32]) -> Result<Vec<u8>, CloseReason> {
        let input = signed(kind, self.role, &self.network, bound_to);
        let payload = HandshakePayload {
            identity: self.peer,
            signature: self.crypto.sign(self.identity.secret(), &input),
            instance: self.instance,
            service: self.service,
            extensions: self.extensions.clone(),
        };
        postcard::to_allocvec(&payload).map_err(|_| CloseReason::Handshake)
    }

    fn check_noise(&self, payload: &[u8], remote: Option<[u8; 32]>) -> Result<HandshakePayload, CloseReason> {
        self.check(payload, SIGNATURE_KIND, &remote.ok_or(CloseReason::Handshake)?)
    }

    /// Checks the peer's payload. The signature comes first: what is said without it says nothing of the peer.
    fn check(
        &self,
        payload: &[u8],
        kind: &str,
        bound_to: &[u8; 32],
    ) -> Result<HandshakePayload, CloseReason> {
        let (payload, rest): (HandshakePayload, _) =
            postcard::take_from_bytes(payload).map_err(|_| CloseReason::Handshake)?;
        if !rest.is_empty() {
            return Err(CloseReason::Handshake);
        }
        let role = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let input = signed(kind, role, &self.network, bound_to);
        if !self.crypto.verify(payload.identity.as_bytes(), &input, &payload.signature) {
            return Err(CloseReason::BadKey);
        }
        if payload.identity == self.peer {
            let itself = payload.instance == self.instance;
            return Err(if itself { CloseReason::SelfDial } else { CloseReason::IdentityInUse });
        }
        if self.expected.is_some_and(|expected| expected != payload.identity) {
            return Err(CloseReason::IdMismatch);
        }
        Ok(payload)
    }
}

/// What the identity key signs: the sender's role, and its static key or the transcript.
fn signed(kind: &str, role: Role, network: &NetworkId, bound_to: &[u8; 32]) -> Vec<u8> {
    let role = match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    };
    signing_input(kind, network, &[&[role], bound_to])
}

fn finish(
    noise: Box<dyn Handshake>,
    claimed: HandshakePayload,
    reply: Option<Bytes>,
) -> Result<Step, CloseReason> {
    let Finished { cipher, binding } = noise.finish().map_err(|_| CloseReason::Handshake)?;
    Ok(Step::Finished { reply, cipher, peer: authenticated(claimed, binding) })
}

fn authenticated(claimed: HandshakePayload, binding: [u8; 32]) -> Peer {
    Peer {
        id: claimed.identity,
        home: home_id(claimed.identity),
        instance: claimed.instance,
        service: claimed.service,
        binding,
        extensions: claimed.extensions.into_inner(),
    }
}

/// Transport over a carrier that is secret itself: bytes pass as they are.
#[derive(Debug)]
struct Clear;

impl Cipher for Clear {
    fn encrypt_in_place(&mut self, _: &mut Vec<u8>, _: usize) -> Result<(), CryptoError> {
        Ok(())
    }

    fn decrypt(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        out.extend_from_slice(ciphertext);
        Ok(())
    }
}
