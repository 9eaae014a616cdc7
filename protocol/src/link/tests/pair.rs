//! Two sessions and the wire between them, and a peer that may say anything.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::crypto::{Cipher, Crypto, Handshake, IdealCrypto, Role, signing_input};
use crate::link::frame::{self, FrameKind};
use crate::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use crate::wire::Bounded;
use crate::wire::message::HandshakePayload;
use crate::{CloseReason, Config, Identity, Instance, Instant, NetworkId, PeerId};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

pub(super) fn crypto() -> Arc<dyn Crypto> {
    Arc::new(IdealCrypto)
}

/// The peer id of a test's node.
pub(super) fn peer(name: u8) -> PeerId {
    PeerId(crypto().public_key(&[name; 32]))
}

pub(super) fn instance(name: u8) -> Instance {
    Instance { boot: 1000, session: u64::from(name) }
}

pub(super) fn config(role: Role, name: u8) -> SessionConfig {
    let Config { network, link, .. } = Config::client(NetworkId::default());
    SessionConfig {
        role,
        max_frame: link.frame_bytes_max,
        frame_charge: 0,
        link: Arc::new(link),
        relay_bytes_max: 1 << 20,
        network,
        identity: Identity::from_seed([name; 32]),
        peer: peer(name),
        instance: instance(name),
        service: false,
        static_secret: [name ^ 0x40; 32],
        ephemeral: [name ^ 0x80; 32],
        expected: None,
        secrecy: Secrecy::Noise,
        extensions: Bounded::default(),
    }
}

/// A session with all the credit it can use.
pub(super) fn session(config: SessionConfig) -> Session {
    let mut session = Session::new(config, crypto(), Instant::ZERO);
    session.grant(usize::MAX);
    session
}

pub(super) fn initiator() -> Session {
    session(config(Role::Initiator, 1))
}

pub(super) fn responder() -> Session {
    session(config(Role::Responder, 2))
}

pub(super) fn text(bytes: &[u8]) -> Outgoing {
    Outgoing { head: Vec::new(), body: Bytes::copy_from_slice(bytes), token: None }
}

pub(super) fn message(bytes: &[u8]) -> SessionEvent {
    SessionEvent::Message(Bytes::copy_from_slice(bytes))
}

pub(super) fn closed(reason: CloseReason) -> Vec<SessionEvent> {
    vec![SessionEvent::Closed(reason)]
}

/// All frames that a session gives.
pub(super) fn frames(session: &mut Session, now: Instant) -> Vec<Bytes> {
    core::iter::from_fn(|| session.poll_frame(now)).collect()
}

/// An initiator `A` and a responder `B`.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) ends: [Session; 2],
    pub(super) events: [Vec<SessionEvent>; 2],
    pub(super) now: Instant,
    pub(super) latency: Duration,
    /// Frames that each end sent.
    pub(super) sent: [usize; 2],
    /// Whether what each end sends gets lost.
    pub(super) cut: [bool; 2],
}

impl Pair {
    pub(super) fn new(a: SessionConfig, b: SessionConfig) -> Self {
        Self {
            ends: [session(a), session(b)],
            events: [Vec::new(), Vec::new()],
            now: Instant::ZERO,
            latency: Duration::ZERO,
            sent: [0; 2],
            cut: [false; 2],
        }
    }

    /// Two clients that have finished their handshake.
    pub(super) fn established() -> Self {
        Self::established_from(config(Role::Initiator, 1), config(Role::Responder, 2))
    }

    pub(super) fn established_from(a: SessionConfig, b: SessionConfig) -> Self {
        let mut pair = Self::new(a, b);
        pair.settle();
        assert!(pair.ends.iter().all(Session::is_established), "{:?}", pair.events);
        pair.events = [Vec::new(), Vec::new()];
        pair
    }

    pub(super) fn queue(&mut self, end: usize, class: Class, bytes: &[u8]) {
        self.ends[end].queue(class, text(bytes), self.now).unwrap();
    }

    /// Carries what both ends have to the other, once; whether there was anything.
    pub(super) fn exchange(&mut self) -> bool {
        let flights = [A, B].map(|end| frames(&mut self.ends[end], self.now));
        self.now += self.latency;
        for (end, flight) in flights.iter().enumerate() {
            self.sent[end] += flight.len();
            for frame in flight.iter().filter(|_| !self.cut[end]) {
                let events = self.ends[1 - end].handle_frame(frame, self.now);
                self.events[1 - end].extend(events);
            }
        }
        flights.iter().any(|flight| !flight.is_empty())
    }

    pub(super) fn settle(&mut self) {
        while self.exchange() {}
    }

    /// Lets time pass; each deadline must move when it is handled.
    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            self.settle();
            let next = self.ends.iter().filter_map(Session::poll_timeout).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            for end in [A, B] {
                let events = self.ends[end].handle_timeout(self.now);
                self.events[end].extend(events);
                assert!(self.ends[end].poll_timeout().is_none_or(|at| at > self.now));
            }
        }
        self.now = self.now.max(end);
    }

    pub(super) fn take_events(&mut self, end: usize) -> Vec<SessionEvent> {
        core::mem::take(&mut self.events[end])
    }
}

/// A peer that does the cryptography right and says what it likes.
#[derive(Debug)]
pub(super) struct Forger {
    role: Role,
    noise: Option<Box<dyn Handshake>>,
    cipher: Option<Box<dyn Cipher>>,
}

pub(super) const FORGER: u8 = 9;

impl Forger {
    pub(super) fn static_key() -> [u8; 32] {
        crypto().sealing_public_key(&[FORGER; 32])
    }

    /// A payload that passes.
    pub(super) fn payload(role: Role) -> HandshakePayload {
        Self::payload_of(FORGER, role as u8, &NetworkId::default(), &Self::static_key())
    }

    /// A payload of `name`, signed over what is given.
    pub(super) fn payload_of(name: u8, role: u8, network: &NetworkId, key: &[u8; 32]) -> HandshakePayload {
        let input = signing_input("handshake", network, &[&[role], key]);
        HandshakePayload {
            identity: peer(name),
            signature: crypto().sign(&[name; 32], &input),
            instance: instance(name),
            service: false,
            extensions: Bounded::default(),
        }
    }

    pub(super) fn new(role: Role) -> Self {
        let preamble = frame::preamble(NetworkId::default().tag());
        let noise = crypto().handshake(role, &[FORGER; 32], &[77; 32], &preamble);
        Self { role, noise: Some(noise), cipher: None }
    }

    /// Does the handshake with this payload up to where `session` judges it; what that gives.
    pub(super) fn meet(&mut self, session: &mut Session, payload: &[u8]) -> Vec<SessionEvent> {
        let mut noise = self.noise.take().unwrap();
        let now = Instant::ZERO;
        let (first, kind) = match self.role {
            Role::Initiator => {
                let preamble = frame::preamble(NetworkId::default().tag());
                let hello1 = noise.write_message(&[]).unwrap();
                let hello1 = frame::join(FrameKind::Hello1, &[&preamble, &hello1]);
                assert_eq!(session.handle_frame(&hello1, now), []);
                (2, FrameKind::Hello3)
            }
            Role::Responder => (2 + 6 + 2 + 8, FrameKind::Hello2),
        };
        let frame = session.poll_frame(now).unwrap();
        noise.read_message(&frame[first..]).unwrap();
        let reply = noise.write_message(payload).unwrap();
        let events = session.handle_frame(&frame::join(kind, &[&reply]), now);
        if let Some(frame) = session.poll_frame(now) {
            noise.read_message(&frame[2..]).unwrap();
        }
        if noise.is_finished() {
            self.cipher = Some(noise.finish().unwrap().cipher);
        }
        events
    }

    /// A forger and a session that trusts it.
    pub(super) fn established() -> (Self, Session) {
        let mut session = responder();
        let mut forger = Self::new(Role::Initiator);
        let payload = postcard::to_allocvec(&Self::payload(Role::Initiator)).unwrap();
        let events = forger.meet(&mut session, &payload);
        assert!(matches!(events.as_slice(), [SessionEvent::Established(_)]), "{events:?}");
        (forger, session)
    }

    /// A transport frame of this plaintext.
    pub(super) fn frame(&mut self, plaintext: &[u8]) -> Bytes {
        let mut frame = frame::header(FrameKind::Transport).to_vec();
        self.cipher.as_mut().unwrap().encrypt(plaintext, &mut frame).unwrap();
        Bytes::from(frame)
    }
}
