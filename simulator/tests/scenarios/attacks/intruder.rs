//! Peers that do the cryptography of a link right and say what they like: on raw links into a simulated network.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unamed_protocol::crypto::Crypto;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{
    Connect, ConnectAbout, ConnectRequest, FindAnswer, Goodbye, Header, Hello, HopAck, Nearest, Publish,
    Purpose, RoomProof,
};
use unamed_protocol::wire::{
    Bounded, Claim, ClaimTerms, HomeClaim, HomeClaimTerms, Message, PeerIds, Reply, RoomMessage, Routed,
    RttsMs, Sequence, encode_body,
};
use unamed_protocol::{CloseReason, Identity, Instance, NetworkId, PeerId, Rate, RequestId, RoomId};
use unamed_simulator::{Guise, NodeIndex, Outsider, SimulationConfig};

use crate::dsl::{World, key, ms};

/// The service node that most attacks are made on.
pub(crate) const S: NodeIndex = NodeIndex(0);

/// Service nodes that neither ban nor limit anybody, so that a single rule can be looked at, often and after its breach.
pub(crate) fn lenient(config: &mut SimulationConfig) {
    let limits = &mut config.service.limits;
    limits.score_max = u32::MAX;
    let any = Rate::per_second(1_000_000, 1_000_000);
    (limits.requests, limits.finds, limits.publishes) = (any, any, any);
    limits.in_flight = 1_000_000;
}

pub(crate) fn crypto(world: &World) -> Arc<dyn Crypto> {
    Arc::clone(&world.sim.config().crypto)
}

pub(crate) fn network() -> NetworkId {
    NetworkId::default()
}

pub(crate) const fn unix_ms(world: &World) -> u64 {
    world.sim.unix_ms()
}

/// The hash that a header names its body by.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    unamed_protocol::crypto::sha256(&[bytes])
}

/// Somebody who attacks. Identities cost nothing: each number is one.
#[derive(Clone, Debug)]
pub(crate) struct Persona {
    pub(crate) identity: Identity,
    pub(crate) peer: PeerId,
    pub(crate) service: bool,
    number: u32,
}

impl Persona {
    pub(crate) fn client(world: &World, number: u32) -> Self {
        let mut seed = [0xA7; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let identity = Identity::from_seed(seed);
        let peer = identity.peer_id(crypto(world).as_ref());
        Self { identity, peer, service: false, number }
    }

    pub(crate) fn service(world: &World, number: u32) -> Self {
        Self { service: true, ..Self::client(world, number) }
    }

    pub(crate) fn instance(&self) -> Instance {
        Instance { boot: 7, session: u64::from(self.number) }
    }

    /// A claim of membership in a room, as an honest member would make it.
    pub(crate) fn claim(&self, world: &World, room: u8) -> Claim {
        self.claim_with(world, room, |_| {})
    }

    pub(crate) fn claim_with(&self, world: &World, room: u8, change: impl FnOnce(&mut ClaimTerms)) -> Claim {
        let mut terms = ClaimTerms {
            homes: vec![world.sim.peer_id(S)],
            replica: 0,
            issued_ms: unix_ms(world),
            expiry_ms: unix_ms(world) + Claim::TTL_MAX_MS,
            sequence: Sequence { boot: 7, counter: 1 },
            sealing_key: crypto(world).sealing_public_key(&[0x31; 32]),
        };
        change(&mut terms);
        Claim::make(&terms, &key(room), &self.identity, crypto(world).as_ref(), &network())
    }

    /// The home claim of a service node at `/host/tcp/PORT/ws`.
    pub(crate) fn home_claim(&self, world: &World, host: &str, port: u16) -> Bytes {
        let address = format!("/{host}/tcp/{port}/ws").parse().expect("an address");
        self.home_claim_with(world, |terms| terms.addresses = vec![address])
    }

    pub(crate) fn home_claim_with(&self, world: &World, change: impl FnOnce(&mut HomeClaimTerms)) -> Bytes {
        let mut terms = HomeClaimTerms {
            addresses: Vec::new(),
            issued_ms: unix_ms(world),
            expiry_ms: unix_ms(world) + 750_000,
            sequence: Sequence { boot: 7, counter: 1 },
        };
        change(&mut terms);
        HomeClaim::make(&terms, &self.identity, crypto(world).as_ref(), &network()).bytes().clone()
    }

    /// What this persona says of itself when a service node links.
    pub(crate) fn hello(&self, world: &World, neighbours: Vec<Bytes>) -> Message {
        let location = home_id(self.peer);
        let home = self.service.then(|| self.home_claim(world, "ip4/203.0.114.1", 4001));
        Message::Hello(Hello {
            location,
            ready: true,
            home,
            wants: 0,
            neighbours: Bounded::truncated(neighbours),
        })
    }

    /// A message to all members of a room, signed.
    pub(crate) fn message(&self, world: &World, room: u8, sequence: u64, text: &str) -> RoomMessage {
        self.message_with(world, room, text, |header| header.sequence = sequence)
    }

    pub(crate) fn message_with(
        &self,
        world: &World,
        room: u8,
        text: &str,
        change: impl FnOnce(&mut Header),
    ) -> RoomMessage {
        let mut header = Header {
            room: world.room(room),
            author: self.peer,
            instance: self.instance(),
            stream: 0,
            sequence: 0,
            recipients: Bounded::default(),
            push_set: 0,
            body_hash: hash(text.as_bytes()),
            sealed: false,
        };
        change(&mut header);
        let body = Bytes::copy_from_slice(text.as_bytes());
        let header = encode_body(&header).into();
        let mut message = RoomMessage { header, signature: Bytes::new(), body };
        message.sign(self.identity.secret(), crypto(world).as_ref(), &network());
        message
    }

    /// A connect request to `target` through its home, signed by this persona.
    pub(crate) fn connect(
        &self,
        world: &World,
        change: impl FnOnce(&mut ConnectRequest),
    ) -> (RequestId, Connect) {
        let target = world.sim.peer_id(S);
        let mut request = ConnectRequest {
            about: ConnectAbout { id: RequestId(0xC0), origin: self.peer, target, key: home_id(target) },
            room: world.room(1),
            expiry_ms: unix_ms(world) + 20_000,
            claim: self.claim(world, 1).bytes().clone(),
            home_claim: None,
            home_known: None,
        };
        change(&mut request);
        let connect = Connect::make(&request, self.identity.secret(), crypto(world).as_ref(), &network());
        (request.about.id, connect)
    }
}

/// An attacker's link to a node.
#[derive(Debug)]
pub(crate) struct Intruder {
    pub(crate) me: Persona,
    target: PeerId,
    link: Outsider,
    heard: Vec<Message>,
}

impl Intruder {
    /// Links to a node; the handshake is over on return, and what the node says first is heard.
    pub(crate) fn dial(world: &mut World, target: NodeIndex, me: Persona) -> Self {
        let claimed = me.peer;
        Self::dial_as(world, target, me, claimed, None)
    }

    /// As [`dial`](Self::dial), from this address.
    pub(crate) fn dial_from(world: &mut World, ip: IpAddr, target: NodeIndex, me: Persona) -> Self {
        let claimed = me.peer;
        Self::dial_as(world, target, me, claimed, Some(ip))
    }

    /// As [`dial`](Self::dial), with another's id in the handshake.
    pub(crate) fn dial_as(
        world: &mut World,
        target: NodeIndex,
        me: Persona,
        claimed: PeerId,
        ip: Option<IpAddr>,
    ) -> Self {
        let mut static_secret = [0x5A; 32];
        static_secret[..4].copy_from_slice(&me.number.to_le_bytes());
        let (instance, identity, service) = (me.instance(), me.identity.clone(), me.service);
        let guise = Guise { identity, peer: claimed, instance, service, static_secret };
        let link = Outsider::dial(&mut world.sim, target, ip, guise);
        world.pass(ms(100));
        let target = world.sim.peer_id(target);
        let mut intruder = Self { me, target, link, heard: Vec::new() };
        intruder.wait(world, ms(300));
        intruder
    }

    /// Whether the link stands at both ends, as far as this one knows.
    pub(crate) fn is_linked(&self, world: &World) -> bool {
        self.link.is_linked(&world.sim)
    }

    /// Why the intruder's own end is over.
    pub(crate) const fn closed(&self) -> Option<CloseReason> {
        self.link.closed()
    }

    /// Bytes of frames, sent and received.
    pub(crate) const fn bytes(&self) -> (u64, u64) {
        self.link.bytes()
    }

    /// What room proofs on this link are bound to.
    pub(crate) fn binding(&self) -> [u8; 32] {
        *self.link.binding().expect("the link stands")
    }

    pub(crate) fn queue(&mut self, world: &World, message: &Message) {
        self.queue_bytes(world, message.encode());
    }

    pub(crate) fn queue_bytes(&mut self, world: &World, bytes: Vec<u8>) {
        self.link.queue(&world.sim, bytes);
    }

    /// Says something, and waits for what comes of it.
    pub(crate) fn say(&mut self, world: &mut World, message: &Message) {
        self.queue(world, message);
        self.wait(world, ms(200));
    }

    /// Lets time pass; the intruder keeps its link alive and listens.
    pub(crate) fn wait(&mut self, world: &mut World, time: Duration) {
        let end = world.sim.now() + time;
        loop {
            let now = world.sim.now();
            self.link.speak(&mut world.sim);
            if now >= end {
                return;
            }
            world.pass(ms(10).min(end.since(now)));
            self.link.listen(&mut world.sim);
            self.take_heard(world);
        }
    }

    fn take_heard(&mut self, world: &World) {
        for bytes in self.link.take_heard() {
            let message = Message::decode(&bytes).expect("nodes say what decodes");
            if let Message::Routed(packet) = &message {
                // Whoever does not acknowledge is passed over from then on.
                let ack = HopAck { request: packet.request, attempt: packet.attempt, seen: false };
                self.link.queue(&world.sim, Message::HopAck(ack).encode());
            }
            self.heard.push(message);
        }
    }

    /// Stops or goes on to take what the node sends.
    pub(crate) fn read(&self, world: &mut World, reading: bool) {
        self.link.read(&mut world.sim, reading);
    }

    pub(crate) fn hang_up(&self, world: &mut World) {
        self.link.hang_up(&mut world.sim);
    }

    /// Takes what was heard of one kind so far.
    pub(crate) fn heard<T>(&mut self, pick: impl Fn(&Message) -> Option<T>) -> Vec<T> {
        let found: Vec<T> = self.heard.iter().filter_map(&pick).collect();
        self.heard.retain(|message| pick(message).is_none());
        found
    }

    pub(crate) fn goodbyes(&mut self) -> Vec<Goodbye> {
        self.heard(
            |message| if let Message::Goodbye(goodbye) = message { Some(goodbye.clone()) } else { None },
        )
    }

    pub(crate) fn room_messages(&mut self) -> Vec<RoomMessage> {
        self.heard(
            |message| if let Message::RoomMessage(heard) = message { Some(heard.clone()) } else { None },
        )
    }

    pub(crate) fn routed(&mut self) -> Vec<Routed> {
        self.heard(|message| if let Message::Routed(packet) = message { Some(packet.clone()) } else { None })
    }

    /// Forgets what was heard.
    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    pub(crate) fn replies(&mut self) -> Vec<Reply> {
        self.heard(|message| if let Message::Reply(reply) = message { Some(reply.clone()) } else { None })
    }

    /// A packet that this intruder sends as its origin.
    pub(crate) fn packet(&self, purpose: Purpose, request: u64, target: RoomId, payload: Vec<u8>) -> Routed {
        Routed {
            purpose,
            to_root: false,
            attempt: 0,
            request: RequestId(request),
            key: target,
            target: None,
            exclude: PeerIds::default(),
            route: PeerIds::new(&[self.me.peer]).expect("one"),
            payload: payload.into(),
        }
    }

    pub(crate) fn find(&self, request: u64, room: RoomId) -> Message {
        Message::Routed(self.packet(Purpose::Find, request, room, Vec::new()))
    }

    pub(crate) fn nearest(&self, request: u64, room: RoomId) -> Message {
        let payload = encode_body(&Nearest { most: 9, known: Bounded::default() });
        Message::Routed(self.packet(Purpose::Nearest, request, room, payload))
    }

    pub(crate) fn publish(&self, request: u64, claim: &Claim) -> Message {
        let publish = Publish { claim: claim.bytes().clone(), known: Bounded::default() };
        Message::Routed(self.packet(Purpose::Publish, request, claim.room_id(), encode_body(&publish)))
    }

    /// An answer to a packet that came to this intruder.
    pub(crate) fn answer(&self, packet: &Routed, payload: Vec<u8>) -> Reply {
        let mut route = packet.route.to_vec();
        let at = u8::try_from(route.len() - 1).expect("short");
        route.push(self.me.peer);
        Reply {
            purpose: packet.purpose,
            attempt: packet.attempt,
            request: packet.request,
            at,
            route: PeerIds::new(&route).expect("a route"),
            services: 0,
            rtts_ms: RttsMs::default(),
            payload: payload.into(),
        }
    }

    /// An answer to a find that came to this intruder.
    pub(crate) fn found(&self, packet: &Routed, claims: Vec<Bytes>) -> Message {
        let answer = FindAnswer { claims: Bounded::truncated(claims) };
        Message::Reply(self.answer(packet, encode_body(&answer)))
    }

    /// The proof that an honest member sends on this link.
    pub(crate) fn proof(&self, world: &World, room: u8) -> RoomProof {
        self.proof_bound_to(world, room, &self.binding())
    }

    pub(crate) fn proof_bound_to(&self, world: &World, room: u8, binding: &[u8; 32]) -> RoomProof {
        let (crypto, key) = (crypto(world), key(room));
        RoomProof {
            room_key: crypto.public_key(key.secret()),
            signature: RoomProof::signature(
                &key,
                binding,
                self.me.peer,
                self.target,
                crypto.as_ref(),
                &network(),
            ),
            answer: true,
            claim: self.me.claim(world, room).bytes().clone(),
            streams: Bounded::default(),
            marks: Bounded::default(),
        }
    }

    /// Becomes a member of a room, as far as the node at the other end is concerned.
    pub(crate) fn enter(&mut self, world: &mut World, room: u8) {
        let proof = self.proof(world, room);
        self.say(world, &Message::RoomProof(proof));
    }
}

/// A service node and an intruder that is linked to it as one, said hello and takes part in routing. It is the root of its
/// own home room.
pub(crate) fn rogue(world: &mut World, target: NodeIndex, number: u32) -> Intruder {
    let me = Persona::service(world, number);
    let mut rogue = Intruder::dial(world, target, me);
    let hello = rogue.me.hello(world, Vec::new());
    rogue.say(world, &hello);
    rogue.wait(world, Duration::from_secs(2));
    rogue
}

/// How often a node's links failed for this reason before they were usable.
pub(crate) fn failures(world: &mut World, node: NodeIndex, wanted: CloseReason) -> usize {
    let told = world.told(node);
    let failed = |event: &&unamed_protocol::Event| matches!(event, unamed_protocol::Event::LinkFailed { reason, .. } if *reason == wanted);
    told.iter().filter(failed).count()
}
