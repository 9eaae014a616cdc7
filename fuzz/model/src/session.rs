//! One link session, fed arbitrary events before, in and after its handshake.

use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{Crypto as _, IdealCrypto, Role};
use unamed_protocol::link::{Class, FRAME_OVERHEAD, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::Bounded;
use unamed_protocol::{Config, Duration, Identity, Instance, Instant, LinkConfig, NetworkId, PeerId};

use crate::forger::Forger;
use crate::source::Source;

const OWN: u8 = 1;
const OTHER: u8 = 2;
const RELAY_BYTES_MAX: usize = 16 * 1024;

fn bounds() -> LinkConfig {
    LinkConfig {
        frame_bytes_max: 4096,
        message_bytes_max: 64 * 1024,
        reassembly_bytes_max: 96 * 1024,
        queue_bytes_max: 8 * 1024,
        ..Config::client(NetworkId::default()).link
    }
}

/// A session and what is known of it from outside.
struct Watched {
    session: Session,
    config: LinkConfig,
    now: Instant,
    granted: usize,
    used: usize,
    established: bool,
    closed: bool,
}

impl Watched {
    fn new(role: Role, service: bool, now: Instant) -> Self {
        let link = bounds();
        let config = SessionConfig {
            role,
            max_frame: link.frame_bytes_max,
            frame_charge: 0,
            link: Arc::new(link.clone()),
            relay_bytes_max: RELAY_BYTES_MAX,
            network: NetworkId::default(),
            identity: Identity::from_seed([OWN; 32]),
            peer: PeerId(IdealCrypto.public_key(&[OWN; 32])),
            instance: Instance { boot: 9, session: 9 },
            service,
            static_secret: [3; 32],
            ephemeral: [4; 32],
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::default(),
        };
        let session = Session::new(config, Arc::new(IdealCrypto), now);
        Self { session, config: link, now, granted: 0, used: 0, established: false, closed: false }
    }

    fn grant(&mut self, bytes: usize) {
        self.granted = self.granted.saturating_add(bytes);
        self.session.grant(bytes);
    }

    fn handle_frame(&mut self, frame: &Bytes) {
        let events = self.session.handle_frame(frame, self.now);
        self.check(events);
    }

    fn handle_timeout(&mut self) {
        let events = self.session.handle_timeout(self.now);
        self.check(events);
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "a deadline stays after it was handled: {next:?}");
    }

    fn check(&mut self, events: Vec<SessionEvent>) {
        for event in events {
            assert!(!self.closed, "{event:?} after the end");
            match event {
                SessionEvent::Established(peer) => {
                    assert!(!self.established, "established twice");
                    assert_ne!(peer.id, PeerId(IdealCrypto.public_key(&[OWN; 32])), "linked with itself");
                    self.established = true;
                }
                SessionEvent::Message(message) => {
                    assert!(self.established, "a message before the handshake's end");
                    assert!(!message.is_empty() && message.len() <= self.config.message_bytes_max);
                }
                SessionEvent::Progress { received, total } => {
                    assert!(self.established && received <= total);
                    assert!(total <= self.config.message_bytes_max);
                }
                SessionEvent::RoundTrip(_) => assert!(self.established),
                SessionEvent::DataDropped { bytes, .. } => assert!(self.established && bytes > 0),
                SessionEvent::Closed(_) => self.closed = true,
            }
        }
        assert!(self.session.reassembly_bytes() <= self.config.reassembly_bytes_max);
        assert_eq!(self.session.is_established(), self.established && !self.closed);
    }

    /// The frames that leave; each within the bounds, and authenticated once the link stands.
    fn drain(&mut self, forger: &mut Forger) {
        while let Some(frame) = self.session.poll_frame(self.now) {
            assert!(frame.len() <= self.config.frame_bytes_max, "a frame of {} bytes", frame.len());
            self.used = self.used.saturating_add(frame.len());
            assert!(self.used <= self.granted, "{} bytes sent, {} granted", self.used, self.granted);
            if self.session.is_established() {
                let _ = forger.open(&frame);
            }
        }
        for sent in self.session.take_sent() {
            assert!(sent.sent <= sent.total, "{sent:?}");
        }
        let bounded = [Class::Control, Class::Small];
        for class in bounded {
            assert!(self.session.queued_bytes(class) <= self.config.queue_bytes_max, "{class:?}");
        }
        assert!(self.session.queued_bytes(Class::Relay) <= RELAY_BYTES_MAX);
    }
}

/// Frames that nobody authenticated, before the handshake's end.
pub(crate) fn before(role: Role, from: &mut Source<'_>) {
    let mut watched = Watched::new(role, from.flag(), Instant::from_secs(10));
    let mut forger = Forger::new(opposite(role), OTHER);
    watched.grant(usize::MAX);
    watched.drain(&mut forger);
    while !from.is_over() {
        let frame = Bytes::from(from.bytes(2048));
        watched.handle_frame(&frame);
        watched.drain(&mut forger);
    }
    assert!(!watched.established, "nobody has authenticated");
}

/// A handshake with any payload.
pub(crate) fn payload(role: Role, from: Source<'_>) {
    let now = Instant::from_secs(10);
    let mut watched = Watched::new(role, false, now);
    let mut forger = Forger::new(opposite(role), OTHER);
    watched.grant(usize::MAX);
    if let Some(frame) = forger.shake(&mut watched.session, from.rest(), now) {
        watched.handle_frame(&frame);
    }
}

/// Anything after an honest handshake.
pub(crate) fn after(role: Role, from: &mut Source<'_>) {
    let mut watched = Watched::new(role, from.flag(), Instant::from_secs(10));
    let mut forger = Forger::new(opposite(role), OTHER);
    watched.grant(4096);
    let honest = forger.honest();
    let hello = forger.shake(&mut watched.session, &honest, watched.now).expect("the handshake begins");
    watched.handle_frame(&hello);
    forger.settle(&mut watched.session, watched.now).expect("the handshake ends");
    assert!(watched.established, "an honest handshake is accepted");
    // What the handshake took was not counted.
    watched.used = watched.granted - watched.session.credit();
    while !from.is_over() {
        event(&mut watched, &mut forger, from);
        watched.drain(&mut forger);
    }
}

fn event(watched: &mut Watched, forger: &mut Forger, from: &mut Source<'_>) {
    let now = watched.now;
    match from.below(12) {
        0..=3 => {
            let frame = forger.seal(&from.bytes(4096));
            watched.handle_frame(&frame);
        }
        4 => {
            let plaintext = large(from);
            let frame = forger.seal(&plaintext);
            watched.handle_frame(&frame);
        }
        5 => watched.handle_frame(&from.bytes(4096).into()),
        6 => watched.grant(from.small() as usize),
        7 => {
            watched.now += Duration::from_micros(from.number().min(1 << 40));
            watched.handle_timeout();
        }
        8 => {
            if let Some(at) = watched.session.poll_timeout() {
                watched.now = watched.now.max(at);
                watched.handle_timeout();
            }
        }
        9 => {
            let class = from.pick(&Class::ALL);
            let body = Bytes::from(vec![from.byte(); from.number().min(70_000) as usize]);
            let token = from.flag().then_some(7);
            let _ = watched.session.queue(class, Outgoing { head: Vec::new(), body, token }, now);
        }
        10 => watched.session.probe(now),
        _ => match from.below(3) {
            0 => watched.session.shift_liveness(now),
            1 => drop(watched.session.purge_data(now)),
            _ => watched.session.refuse(unamed_protocol::CloseReason::Busy),
        },
    }
}

/// The plaintext of one large fragment: tag, class, where it is the first one its total, length, and that many bytes.
fn large(from: &mut Source<'_>) -> Vec<u8> {
    let first = from.flag();
    let mut out = vec![if first { 2 } else { 3 }, from.byte() % 5];
    if first {
        push_varint(&mut out, from.small());
    }
    let bytes = from.small() % 4000;
    push_varint(&mut out, bytes);
    out.resize(out.len() + bytes as usize, 0xA5);
    out
}

pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn opposite(role: Role) -> Role {
    match role {
        Role::Initiator => Role::Responder,
        Role::Responder => Role::Initiator,
    }
}

/// An established session, to which its peer says what it likes.
pub(crate) struct Established {
    watched: Watched,
    forger: Forger,
}

impl Established {
    /// Largest message, and most bytes of partly received ones.
    pub(crate) const BOUNDS: (usize, usize) = (64 * 1024, 96 * 1024);
    /// Largest plaintext of a frame: less than a frame by its header and tag.
    pub(crate) const PLAINTEXT_MAX: usize = 4096 - FRAME_OVERHEAD;

    pub(crate) fn new(role: Role) -> Self {
        let mut watched = Watched::new(role, false, Instant::from_secs(10));
        let mut forger = Forger::new(opposite(role), OTHER);
        watched.grant(usize::MAX);
        let honest = forger.honest();
        let hello = forger.shake(&mut watched.session, &honest, watched.now).expect("the handshake begins");
        watched.handle_frame(&hello);
        forger.settle(&mut watched.session, watched.now).expect("the handshake ends");
        Self { watched, forger }
    }

    /// What a frame with this plaintext leads to.
    pub(crate) fn hear(&mut self, plaintext: &[u8]) -> Vec<SessionEvent> {
        let frame = self.forger.seal(plaintext);
        self.watched.session.handle_frame(&frame, self.watched.now)
    }

    pub(crate) fn reassembly_bytes(&self) -> usize {
        self.watched.session.reassembly_bytes()
    }
}
