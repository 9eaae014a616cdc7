//! What persons do by themselves with what the node says to them.

use unamed_protocol::LinkId;
use unamed_protocol::NetworkId;
use unamed_protocol::crypto::{IdealCrypto, Role};
use unamed_protocol::wire::message::{
    CircuitOpened, Connect, ConnectAbout, ConnectAnswer, ConnectReply, FindAnswer, HopAck, NearestAnswer,
    PublishAnswer, Purpose, RoomProof,
};
use unamed_protocol::wire::{Bounded, Message, PeerIds, Reply, Routed, RttsMs, decode_body, encode_body};

use super::cast::{PERSONS, ROOMS};
use super::peers::End;
use super::script::setup;
use super::world::World;

/// A window as large as that of most nodes.
const WINDOW: u32 = 256 * 1024;

/// A request that a person got.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) link: LinkId,
    pub(super) circuit: Option<u32>,
    pub(super) packet: Routed,
}

impl World {
    /// A person hears a message of the node.
    pub(super) fn heard(&mut self, link: LinkId, circuit: Option<u32>, message: Message) {
        self.note(&message);
        if let Message::Routed(packet) = message {
            self.heard_request(Asked { link, circuit, packet });
        } else if let Message::RoomProof(proof) = message {
            let room = self.cast.rooms.iter().position(|(_, id)| *id == proof.room_id());
            if let Some(room) = room.filter(|_| proof.answer && self.has(setup::POLITE)) {
                self.prove(link, circuit, room, false);
            }
        } else {
            self.heard_circuit(link, circuit, &message);
        }
    }

    fn heard_circuit(&mut self, link: LinkId, circuit: Option<u32>, message: &Message) {
        let (polite, now, persons) = (self.has(setup::POLITE), self.now, self.cast.persons);
        let Some(end) = self.end_of(link, circuit) else { return };
        if let Message::CircuitOpen(open) = message {
            let target = open.route.last().copied().unwrap_or(persons[end.person].peer);
            end.wanted = Some((open.circuit, target));
            if polite {
                self.accept_circuit(link, circuit);
            }
        } else if let Message::CircuitOpened(opened) = message {
            if let Some(inner) = end.circuits.get_mut(&opened.circuit) {
                inner.session.grant(opened.window as usize);
            }
        } else if let Message::CircuitReset(reset) = message {
            end.circuits.remove(&reset.circuit);
        } else if let Message::CircuitData(data) = message {
            for message in end.hear_inside(data, now) {
                self.heard(link, Some(data.circuit), message);
            }
        }
    }

    /// Takes note of what others can speak of later.
    fn note(&mut self, message: &Message) {
        let cast = &mut self.cast;
        if let Message::Routed(packet) = message {
            cast.requests.note(packet.request);
        } else if let Message::Hello(hello) = message {
            hello.home.iter().for_each(|home| cast.home_claims.note(home.clone()));
        } else if let Message::RoomProof(proof) = message {
            cast.claims.note(proof.claim.clone());
        } else if let Message::RoomMessage(message) = message {
            cast.messages.note((message.id(), message.clone()));
        } else if let Message::CircuitOpen(open) = message {
            cast.circuits.note(open.circuit);
        }
    }

    /// A person's end of a link or circuit.
    pub(super) fn end_of(&mut self, link: LinkId, circuit: Option<u32>) -> Option<&mut End> {
        self.carriers.get_mut(&link)?.end.as_mut()?.voice(circuit)
    }

    /// A person says a message.
    pub(super) fn say(&mut self, link: LinkId, circuit: Option<u32>, message: &Message) {
        let now = self.now;
        if let Some(end) = self.end_of(link, circuit) {
            end.say(message, now);
        }
    }

    fn heard_request(&mut self, asked: Asked) {
        let packet = &asked.packet;
        assert!(packet.route.iter().next_back() == Some(self.cast.me), "{packet:?} is not of the node");
        assert!(!packet.route.is_empty() && packet.route.len() <= 16, "{packet:?}");
        if self.has(setup::POLITE) {
            let ack = HopAck { request: packet.request, attempt: packet.attempt, seen: false };
            self.say(asked.link, asked.circuit, &Message::HopAck(ack));
        }
        if self.has(setup::HELPFUL) {
            let payload = self.helpful(&asked);
            self.answer(&asked, payload);
        }
        self.asked.note(asked);
    }

    /// An answer as the person would give it.
    fn helpful(&mut self, asked: &Asked) -> Vec<u8> {
        let packet = &asked.packet;
        let person = self.end_of(asked.link, asked.circuit).map_or(0, |end| end.person);
        let room = self.cast.room_number(packet.key);
        let members = room.map(|room| {
            let others = [1, 2, 3].map(|step| (person + step) % PERSONS);
            others.map(|other| self.cast.membership(other, room, &[person]).bytes().clone()).to_vec()
        });
        let claims = Bounded::truncated(members.unwrap_or_default());
        match packet.purpose {
            Purpose::Find => encode_body(&FindAnswer { claims }),
            Purpose::Publish => encode_body(&PublishAnswer { claims, newer: None, slow_down: 0 }),
            Purpose::Withdraw | Purpose::Notify => {
                encode_body(&PublishAnswer { claims: Bounded::default(), newer: None, slow_down: 0 })
            }
            Purpose::Nearest => {
                let homes =
                    [person, person + 2, person + 4].map(|other| self.cast.home(other % PERSONS, 1)).to_vec();
                encode_body(&NearestAnswer { homes: Bounded::truncated(homes), known: Bounded::default() })
            }
            Purpose::Connect => self.connect_answer(packet, true).unwrap_or_default(),
        }
    }

    /// The answer of a connect request's target, signed.
    pub(super) fn connect_answer(&mut self, packet: &Routed, accept: bool) -> Option<Vec<u8>> {
        let connect: Connect = decode_body(&packet.payload).ok()?;
        let request = connect.request(ConnectAbout::of(packet)?).ok()?;
        let target = self.cast.number_of(request.about.target)?;
        let home_claim = self.cast.persons[target].service.then(|| self.cast.home(target, 3));
        let person = &self.cast.persons[target];
        let reply = ConnectReply {
            request_hash: request.hash(),
            accept,
            dials: false,
            home_claim,
            home_wanted: true,
        };
        let secret = person.identity.secret();
        let answer = ConnectAnswer::make(&reply, secret, &IdealCrypto, &NetworkId::default());
        Some(encode_body(&answer))
    }

    /// The reply to a request, as if the person were the one at which it ended; for a connect its target.
    pub(super) fn answer(&mut self, asked: &Asked, payload: Vec<u8>) {
        let Some(end) = self.end_of(asked.link, asked.circuit) else { return };
        let person = end.person;
        let person = self.cast.persons[person].peer;
        let packet = &asked.packet;
        let mut route = packet.route.to_vec();
        let at = route.len().saturating_sub(1);
        route.push(person);
        if let Some(target) = packet.target.filter(|target| !route.contains(target)) {
            route.push(target);
        }
        let Ok(route) = PeerIds::new(&route) else { return };
        let reply = Reply {
            purpose: packet.purpose,
            attempt: packet.attempt,
            request: packet.request,
            at: at as u8,
            route,
            services: 0,
            rtts_ms: RttsMs::default(),
            payload: payload.into(),
        };
        self.say(asked.link, asked.circuit, &Message::Reply(reply));
    }

    /// A person proves a room to the node.
    pub(super) fn prove(&mut self, link: LinkId, circuit: Option<u32>, room: usize, answer: bool) {
        let Some(end) = self.end_of(link, circuit) else { return };
        let (Some(binding), Some(other)) = (end.binding(), end.other()) else { return };
        let number = end.person;
        let claim = self.cast.membership(number, room % ROOMS, &[0, 2]);
        let (key, person) = (&self.cast.rooms[room % ROOMS].0, &self.cast.persons[number]);
        let network = NetworkId::default();
        let proof = RoomProof {
            room_key: *claim.room_key(),
            signature: RoomProof::signature(key, &binding, person.peer, other, &IdealCrypto, &network),
            answer,
            claim: claim.bytes().clone(),
            streams: Bounded::default(),
            marks: Bounded::default(),
        };
        self.say(link, circuit, &Message::RoomProof(proof));
    }

    /// A person accepts the circuit that the node wants, as its target.
    pub(super) fn accept_circuit(&mut self, link: LinkId, circuit: Option<u32>) {
        let now = self.now;
        let Some(end) = self.end_of(link, circuit) else { return };
        let Some((number, target)) = end.wanted.take() else { return };
        let Some(target) = self.cast.number_of(target) else { return };
        let inner = End::new(target, &self.cast.persons[target], Role::Responder, 0, true, now);
        self.cast.instances.note(inner.instance);
        let opened = CircuitOpened { circuit: number, window: WINDOW };
        if let Some(end) = self.end_of(link, circuit) {
            end.circuits.insert(number, inner);
            end.say(&Message::CircuitOpened(opened), now);
        }
    }
}
