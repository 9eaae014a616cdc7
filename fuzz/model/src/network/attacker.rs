//! The attacker's end of its links: a right handshake, and then anything.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::Bounded;
use unamed_protocol::{Config, Identity, Instance, Instant, MessageId, NetworkId, PeerId, RequestId, RoomId};

use crate::generate::{Words, blob};
use crate::source::Source;

/// Messages that the attacker remembers.
const REMEMBERED: usize = 32;

/// What the attacker knows.
#[derive(Debug)]
pub(super) struct Attacker {
    /// Messages that it got, oldest first.
    heard: VecDeque<Bytes>,
    /// The nodes and itself.
    pub(super) peers: Vec<PeerId>,
    pub(super) rooms: Vec<RoomId>,
}

impl Attacker {
    pub(super) fn new(peers: Vec<PeerId>, rooms: Vec<RoomId>) -> Self {
        Self { heard: VecDeque::new(), peers, rooms }
    }

    /// A session with a node, as one of two identities, of either kind.
    pub(super) fn session(who: u8, service: bool, run: u64, now: Instant) -> Session {
        let identity = Identity::from_seed([0x90 + who % 2; 32]);
        let Config { link, network, .. } = Config::client(NetworkId::default());
        let config = SessionConfig {
            role: Role::Initiator,
            max_frame: link.frame_bytes_max,
            frame_charge: 0,
            link: link.into(),
            relay_bytes_max: 1 << 20,
            network,
            peer: identity.peer_id(&IdealCrypto),
            identity,
            instance: Instance { boot: 1 + u64::from(who / 2), session: run },
            service,
            static_secret: [0x77; 32],
            ephemeral: [run as u8; 32],
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::default(),
        };
        let mut session = Session::new(config, Arc::new(IdealCrypto), now);
        session.grant(usize::MAX);
        session
    }

    /// Takes note of what a node said.
    pub(super) fn hear(&mut self, events: Vec<SessionEvent>) {
        for event in events {
            if let SessionEvent::Message(bytes) = event {
                self.heard.push_back(bytes);
                if self.heard.len() > REMEMBERED {
                    self.heard.pop_front();
                }
            }
        }
    }

    /// Something that was heard, the latest first; nothing before anything was.
    pub(super) fn repeat(&self, from: &mut Source<'_>) -> Vec<u8> {
        let ago = from.below(REMEMBERED);
        self.heard.iter().rev().nth(ago).map(|bytes| bytes.to_vec()).unwrap_or_default()
    }

    /// Has a session say bytes.
    pub(super) fn say(session: &mut Session, class: Class, bytes: Vec<u8>, now: Instant) {
        if !bytes.is_empty() {
            let _ = session.queue(class, Outgoing { head: bytes, body: Bytes::new(), token: None }, now);
        }
    }
}

impl Words for Attacker {
    fn peer(&mut self, from: &mut Source<'_>) -> PeerId {
        from.pick(&self.peers)
    }

    fn room(&mut self, from: &mut Source<'_>) -> RoomId {
        from.pick(&self.rooms)
    }

    fn request(&mut self, from: &mut Source<'_>) -> RequestId {
        RequestId(from.number())
    }

    fn message_id(&mut self, from: &mut Source<'_>) -> MessageId {
        MessageId(from.hash())
    }

    /// One that was heard, or nonsense.
    fn claim(&mut self, from: &mut Source<'_>) -> Bytes {
        if from.flag() { self.repeat(from).into() } else { blob(from) }
    }
}
