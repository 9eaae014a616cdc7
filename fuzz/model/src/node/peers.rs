//! The other ends of links: sessions of persons, and the circuits inside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{Crypto as _, IdealCrypto, Role};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::message::{CircuitCredit, Extension, extension};
use unamed_protocol::wire::{Bounded, CircuitData, Message};
use unamed_protocol::{Config, Instance, Instant, NetworkId, PeerId, RoomId};

use super::cast::Person;

/// Frames inside circuits are smaller than others by this.
const CIRCUIT_FRAME_BYTES_MAX: usize = 16 * 1024 - 64;

/// A person's end of a link or of a circuit.
#[derive(Debug)]
pub(super) struct End {
    /// Which person.
    pub(super) person: usize,
    pub(super) instance: Instance,
    pub(super) session: Session,
    /// The ends of circuits over this link, by their numbers.
    pub(super) circuits: BTreeMap<u32, Self>,
    /// The last circuit that the node wants to open through this end: its number and its target.
    pub(super) wanted: Option<(u32, PeerId)>,
    /// The number of the next circuit that this end opens.
    next_circuit: u32,
    /// The next sequence number of each stream.
    written: BTreeMap<(RoomId, u64), u64>,
    /// Whether this end has ended the link.
    pub(super) over: bool,
}

impl End {
    /// A person's end. `run` tells apart the person's instances; an odd one lies about the kind of node.
    pub(super) fn new(
        number: usize,
        person: &Person,
        role: Role,
        run: u8,
        inside: bool,
        now: Instant,
    ) -> Self {
        let Config { link, network, .. } = Config::client(NetworkId::default());
        let service = person.service != (run % 2 == 1);
        let webrtc = Extension { tag: extension::WEBRTC, value: Bytes::new() };
        let instance = Instance { boot: 1000 + u64::from(run / 2), session: u64::from(run / 2) };
        let max_frame = if inside { CIRCUIT_FRAME_BYTES_MAX } else { link.frame_bytes_max };
        let config = SessionConfig {
            role,
            max_frame,
            frame_charge: 0,
            link: link.into(),
            relay_bytes_max: 1 << 20,
            network,
            identity: person.identity.clone(),
            peer: person.peer,
            instance,
            service,
            static_secret: [0x80 | number as u8; 32],
            ephemeral: [run ^ number as u8; 32],
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::truncated((!service).then_some(webrtc)),
        };
        let mut session = Session::new(config, Arc::new(IdealCrypto), now);
        session.grant(usize::MAX);
        Self {
            person: number,
            instance,
            session,
            circuits: BTreeMap::new(),
            wanted: None,
            written: BTreeMap::new(),
            next_circuit: u32::from(role == Role::Responder),
            over: false,
        }
    }

    /// Queues bytes as a message.
    pub(super) fn say_bytes(&mut self, class: Class, bytes: Vec<u8>, now: Instant) {
        let _ = self.session.queue(class, Outgoing { head: bytes, body: Bytes::new(), token: None }, now);
    }

    /// Queues a message.
    pub(super) fn say(&mut self, message: &Message, now: Instant) {
        self.say_bytes(Class::Control, message.encode(), now);
    }

    /// The next sequence number of a stream.
    pub(super) fn next(&mut self, room: RoomId, stream: u64) -> u64 {
        let next = self.written.entry((room, stream)).or_default();
        *next += 1;
        *next - 1
    }

    /// The number of a new circuit over this link.
    pub(super) fn mint_circuit(&mut self) -> u32 {
        let number = self.next_circuit;
        self.next_circuit = number.saturating_add(2);
        number
    }

    /// Takes a frame of the node; the messages in it.
    pub(super) fn hear(&mut self, frame: &Bytes, now: Instant) -> Vec<Message> {
        let mut heard = Vec::new();
        for event in self.session.handle_frame(frame, now) {
            match event {
                SessionEvent::Message(bytes) => match Message::decode(&bytes) {
                    Ok(message) => {
                        assert_eq!(message.encode(), bytes, "the node encodes as it should");
                        heard.push(message);
                    }
                    Err(error) => panic!("the node sent what does not decode: {error}"),
                },
                SessionEvent::Closed(_) => self.over = true,
                SessionEvent::Established(_)
                | SessionEvent::Progress { .. }
                | SessionEvent::RoundTrip(_)
                | SessionEvent::DataDropped { .. } => {}
            }
        }
        heard
    }

    /// Takes a frame of a circuit; the messages in it. Credit is given back at once.
    pub(super) fn hear_inside(&mut self, data: &CircuitData, now: Instant) -> Vec<Message> {
        let Some(inner) = self.circuits.get_mut(&data.circuit) else { return Vec::new() };
        let heard = inner.hear(&data.frame, now);
        let bytes = u32::try_from(data.frame.len()).unwrap_or(u32::MAX);
        self.say(&Message::CircuitCredit(CircuitCredit { circuit: data.circuit, bytes }), now);
        heard
    }

    /// The frames for the node, those of circuits inside them.
    pub(super) fn frames(&mut self, now: Instant) -> Vec<Bytes> {
        let mut inside = Vec::new();
        for (circuit, inner) in &mut self.circuits {
            inside
                .extend(inner.frames(now).into_iter().map(|frame| CircuitData { circuit: *circuit, frame }));
        }
        for data in inside {
            self.say_bytes(Class::Relay, data.encode(), now);
        }
        core::iter::from_fn(|| self.session.poll_frame(now)).collect()
    }

    /// The end itself, or that of a circuit over it.
    pub(super) fn voice(&mut self, circuit: Option<u32>) -> Option<&mut Self> {
        match circuit {
            Some(number) => self.circuits.get_mut(&number),
            None => Some(self),
        }
    }

    /// What both ends of the link sign, once it stands.
    pub(super) fn binding(&self) -> Option<[u8; 32]> {
        self.session.binding().copied()
    }

    /// The peer at the other end, once it is known.
    pub(super) fn other(&self) -> Option<PeerId> {
        self.session.peer().map(|peer| peer.id)
    }
}

/// The node's own secret seed: nobody else has it, but for a test of just that.
pub(super) const NODE_SEED: [u8; 32] = [0x11; 32];

/// The node's id.
pub(super) fn node_id() -> PeerId {
    PeerId(IdealCrypto.public_key(&NODE_SEED))
}
