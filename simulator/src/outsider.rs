//! Peers that do the cryptography of a link right and say what they like.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{Crypto, Role};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::Bounded;
use unamed_protocol::{CloseReason, Config, Identity, Instance, NetworkId, PeerId};

use crate::world::{NodeIndex, RawLink, RawState, Simulation};

/// Who an outsider says it is.
#[derive(Clone, Debug)]
pub struct Guise {
    /// Whose secret signs the handshake.
    pub identity: Identity,
    /// The id in the handshake: that of `identity`, or a lie.
    pub peer: PeerId,
    /// The run and session that it claims.
    pub instance: Instance,
    /// Whether it says that it is a service node.
    pub service: bool,
    /// The static key of the handshake.
    pub static_secret: [u8; 32],
}

impl Guise {
    /// An honest answer to who that is.
    #[must_use]
    pub fn new(identity: Identity, crypto: &dyn Crypto) -> Self {
        let peer = identity.peer_id(crypto);
        let instance = Instance { boot: 7, session: 1 };
        Self { identity, peer, instance, service: false, static_secret: [0x5A; 32] }
    }
}

/// A raw link to a node with a session on it. It does not know what messages mean: whoever holds it says what to send and
/// makes of what was heard what it will.
#[derive(Debug)]
pub struct Outsider {
    guise: Guise,
    raw: RawLink,
    session: Option<Session>,
    heard: Vec<Bytes>,
    closed: Option<CloseReason>,
    sent: u64,
    received: u64,
}

impl Outsider {
    /// Dials a node, from this address or none that it could see. The handshake begins at the first
    /// [`speak`](Self::speak) once the raw link is open.
    pub fn dial(sim: &mut Simulation, target: NodeIndex, ip: Option<IpAddr>, guise: Guise) -> Self {
        let raw = match ip {
            Some(ip) => sim.open_raw_from(ip, target),
            None => sim.open_raw(target),
        };
        Self { guise, raw, session: None, heard: Vec::new(), closed: None, sent: 0, received: 0 }
    }

    fn begin(&self, sim: &Simulation) -> Session {
        let Config { mut link, .. } = Config::client(NetworkId::default());
        link.queue_bytes_max = usize::MAX;
        let (guise, now) = (&self.guise, sim.now());
        let config = SessionConfig {
            role: Role::Initiator,
            max_frame: link.frame_bytes_max,
            frame_charge: 0,
            link: Arc::new(link),
            relay_bytes_max: usize::MAX,
            network: NetworkId::default(),
            identity: guise.identity.clone(),
            peer: guise.peer,
            instance: guise.instance,
            service: guise.service,
            static_secret: guise.static_secret,
            ephemeral: unamed_protocol::crypto::sha256(&[
                &guise.static_secret,
                &now.as_micros().to_le_bytes(),
            ]),
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::default(),
        };
        let mut session = Session::new(config, Arc::clone(&sim.config().crypto), now);
        session.grant(usize::MAX);
        session
    }

    /// Sends what is due.
    pub fn speak(&mut self, sim: &mut Simulation) {
        if sim.raw_state(self.raw) != RawState::Open {
            return;
        }
        let now = sim.now();
        let mut session = self.session.take().unwrap_or_else(|| self.begin(sim));
        if session.poll_timeout().is_some_and(|at| at <= now) {
            let events = session.handle_timeout(now);
            self.take(events);
        }
        while let Some(frame) = session.poll_frame(now) {
            self.sent += frame.len() as u64;
            sim.raw_send(self.raw, frame);
        }
        self.session = Some(session);
    }

    /// Takes what arrived.
    pub fn listen(&mut self, sim: &mut Simulation) {
        while let Some(frame) = sim.raw_receive(self.raw) {
            self.received += frame.len() as u64;
            let Some(session) = &mut self.session else { continue };
            let events = session.handle_frame(&frame, sim.now());
            self.take(events);
        }
    }

    fn take(&mut self, events: Vec<SessionEvent>) {
        for event in events {
            match event {
                SessionEvent::Message(bytes) => self.heard.push(bytes),
                SessionEvent::Closed(reason) => self.closed = Some(reason),
                SessionEvent::Established(_)
                | SessionEvent::Progress { .. }
                | SessionEvent::RoundTrip(_)
                | SessionEvent::DataDropped { .. } => {}
            }
        }
    }

    /// Queues these bytes as a message, to be sent by [`speak`](Self::speak). A session that is over takes nothing.
    pub fn queue(&mut self, sim: &Simulation, message: Vec<u8>) {
        let message = Outgoing { head: message, body: Bytes::new(), token: None };
        if let Some(session) = &mut self.session {
            // A closed session refuses: then the link's state shows it.
            let _ = session.queue(Class::Control, message, sim.now());
        }
    }

    /// Takes the messages that were heard.
    pub fn take_heard(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.heard)
    }

    /// Whether the link stands at both ends, as far as this one knows.
    #[must_use]
    pub fn is_linked(&self, sim: &Simulation) -> bool {
        let stands = |session: &Session| session.is_established() && !session.is_closed();
        sim.raw_state(self.raw) == RawState::Open && self.session.as_ref().is_some_and(stands)
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_over(&self, sim: &Simulation) -> bool {
        !matches!(sim.raw_state(self.raw), RawState::Opening | RawState::Open) || self.closed.is_some()
    }

    /// Who it says it is.
    #[must_use]
    pub const fn guise(&self) -> &Guise {
        &self.guise
    }

    /// What room proofs on this link are bound to, once it stands.
    #[must_use]
    pub fn binding(&self) -> Option<&[u8; 32]> {
        self.session.as_ref()?.binding()
    }

    /// Why its own end is over.
    #[must_use]
    pub const fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Bytes of frames, sent and received.
    #[must_use]
    pub const fn bytes(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Stops or goes on to take what the node sends.
    pub fn read(&self, sim: &mut Simulation, reading: bool) {
        sim.raw_reading(self.raw, reading);
    }

    /// Closes the link in good order.
    pub fn hang_up(&self, sim: &mut Simulation) {
        sim.raw_close(self.raw);
    }
}
