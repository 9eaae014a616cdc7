//! Who and what the world of one node knows: persons, rooms, and what was said so far.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;
use unamed_protocol::crypto::{Crypto as _, IdealCrypto};
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{
    Connect, ConnectAbout, ConnectRequest, Purpose, RoomProof, StreamMark, StreamNext,
};
use unamed_protocol::wire::{
    Bounded, Claim, ClaimTerms, HomeClaim, HomeClaimTerms, MemberStatement, RoomMessage, Routed, Sequence,
    Tombstone, encode_body,
};
use unamed_protocol::{
    Address, Duration, Identity, Instance, MessageId, NetworkId, PeerId, RequestId, RoomId, RoomKey,
};

use crate::generate::{self, Words, blob};
use crate::source::Source;

/// How many persons there are; every other one is a service node.
pub(super) const PERSONS: usize = 24;
/// How many rooms there are beside the home rooms.
pub(super) const ROOMS: usize = 5;
/// How much of each sort is remembered.
const REMEMBERED: usize = 32;

/// Somebody who is not the node.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) identity: Identity,
    pub(super) peer: PeerId,
    pub(super) service: bool,
    /// A public address, a public name, a private and a loopback address.
    pub(super) addresses: [Address; 4],
}

impl Person {
    fn new(number: usize) -> Self {
        let identity = Identity::from_seed([0x20 + number as u8; 32]);
        let peer = identity.peer_id(&IdealCrypto);
        let at = |host: &str, port: usize| -> Address {
            let text = format!("/{host}/tcp/{port}/ws");
            text.parse::<Address>().expect("an address").with_peer(peer)
        };
        let addresses = [
            at(&format!("ip4/8.8.{number}.1"), 4001),
            at(&format!("dns/node{number}.example"), 4001),
            at(&format!("ip4/10.0.0.{number}"), 4001),
            at("ip4/127.0.0.1", 4100 + number),
        ];
        Self { identity, peer, service: number.is_multiple_of(2), addresses }
    }
}

/// A short memory.
#[derive(Debug)]
pub(super) struct Memory<T>(VecDeque<T>);

impl<T> Memory<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn note(&mut self, item: T) {
        self.0.push_front(item);
        self.0.truncate(REMEMBERED);
    }

    /// The item that was noted so many items ago, or as near to that as there is one.
    pub(super) fn ago(&self, count: usize) -> Option<&T> {
        self.0.get(count % self.0.len().max(1))
    }
}

/// All of them, and what was said.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) me: PeerId,
    pub(super) persons: &'static [Person],
    pub(super) rooms: &'static [(RoomKey, RoomId)],
    pub(super) unix_ms: u64,
    /// Counts signed objects, so that later ones are newer.
    counter: u64,
    pub(super) claims: Memory<Bytes>,
    pub(super) home_claims: Memory<Bytes>,
    tombstones: Memory<Bytes>,
    statements: Memory<Bytes>,
    pub(super) requests: Memory<RequestId>,
    pub(super) messages: Memory<(MessageId, RoomMessage)>,
    pub(super) circuits: Memory<u32>,
    pub(super) instances: Memory<Instance>,
}

impl Cast {
    pub(super) fn new(me: PeerId, unix_ms: u64) -> Self {
        let room = |number: usize| {
            let key = RoomKey::from_seed([0x60 + number as u8; 32]);
            let id = key.id(&IdealCrypto);
            (key, id)
        };
        // The same in all inputs, and made once: parsing addresses takes longer than most inputs.
        static PEOPLE: OnceLock<Vec<Person>> = OnceLock::new();
        static PLACES: OnceLock<Vec<(RoomKey, RoomId)>> = OnceLock::new();
        let persons = PEOPLE.get_or_init(|| (0..PERSONS).map(Person::new).collect());
        let rooms = PLACES.get_or_init(|| (0..ROOMS).map(room).collect());
        Self {
            me,
            persons,
            rooms,
            unix_ms,
            counter: 0,
            claims: Memory::new(),
            home_claims: Memory::new(),
            tombstones: Memory::new(),
            statements: Memory::new(),
            requests: Memory::new(),
            messages: Memory::new(),
            circuits: Memory::new(),
            instances: Memory::new(),
        }
    }

    pub(super) fn person(&self, from: &mut Source<'_>) -> usize {
        from.below(PERSONS)
    }

    pub(super) fn number_of(&self, peer: PeerId) -> Option<usize> {
        self.persons.iter().position(|person| person.peer == peer)
    }

    fn sequence(&mut self) -> Sequence {
        self.counter += 1;
        Sequence { boot: 1, counter: self.counter }
    }

    /// A person's claim to be a member of a room, with the service nodes among the persons as homes.
    pub(super) fn membership(&mut self, person: usize, room: usize, homes: &[usize]) -> Claim {
        let sequence = self.sequence();
        let (who, (key, _)) = (&self.persons[person], &self.rooms[room]);
        let homes = if who.service {
            vec![who.peer]
        } else {
            homes.iter().map(|home| self.persons[*home & !1].peer).collect()
        };
        let terms = ClaimTerms {
            homes,
            replica: 0,
            issued_ms: self.unix_ms,
            expiry_ms: self.unix_ms.saturating_add(Claim::TTL_MAX_MS),
            sequence,
            sealing_key: IdealCrypto.sealing_public_key(&[person as u8; 32]),
        };
        let claim = Claim::make(&terms, key, &who.identity, &IdealCrypto, &NetworkId::default());
        self.claims.note(claim.bytes().clone());
        claim
    }

    /// A service node's claim to be at some of its addresses.
    pub(super) fn home(&mut self, person: usize, addresses: u8) -> Bytes {
        let sequence = self.sequence();
        let who = &self.persons[person & !1];
        let chosen = who.addresses.iter().enumerate();
        let chosen = chosen.filter(|(index, _)| addresses & (1 << index) != 0);
        let terms = HomeClaimTerms {
            addresses: chosen.map(|(_, address)| address.clone()).collect(),
            issued_ms: self.unix_ms,
            expiry_ms: self.unix_ms.saturating_add(HomeClaim::TTL_MAX_MS),
            sequence,
        };
        let claim = HomeClaim::make(&terms, &who.identity, &IdealCrypto, &NetworkId::default());
        self.home_claims.note(claim.bytes().clone());
        claim.bytes().clone()
    }

    /// What a person says of itself in a room, under its next number or another one.
    pub(super) fn stated(
        &mut self,
        person: usize,
        room: RoomId,
        sequence: Option<Sequence>,
        data: Bytes,
    ) -> Bytes {
        let sequence = sequence.unwrap_or_else(|| self.sequence());
        let identity = &self.persons[person].identity;
        let network = NetworkId::default();
        let statement = MemberStatement::make(room, sequence, data, identity, &IdealCrypto, &network);
        let bytes = statement.map(|statement| statement.bytes().clone()).unwrap_or_default();
        self.statements.note(bytes.clone());
        bytes
    }

    /// A claim with terms that need not make sense.
    fn odd_claim(&mut self, from: &mut Source<'_>) -> Claim {
        let (person, room) = (self.person(from), from.below(ROOMS));
        let issued_ms = off(self.unix_ms, from);
        let terms = ClaimTerms {
            homes: from.list(5, |from| self.peer(from)),
            replica: from.pick(&[0, 0, 0, 1, 255]),
            issued_ms,
            expiry_ms: off(issued_ms.saturating_add(700_000), from),
            sequence: Sequence { boot: from.number(), counter: from.number() },
            sealing_key: from.hash(),
        };
        let (key, identity) = (&self.rooms[room].0, &self.persons[person].identity);
        Claim::make(&terms, key, identity, &IdealCrypto, &NetworkId::default())
    }

    /// A room as number, if it is one of ours.
    pub(super) fn room_number(&self, room: RoomId) -> Option<usize> {
        self.rooms.iter().position(|(_, id)| *id == room)
    }
}

/// A time near another one, or at an end of time.
fn off(ms: u64, from: &mut Source<'_>) -> u64 {
    match from.byte() {
        0..0x80 => ms,
        near @ 0x80..0xC0 => ms.saturating_add(u64::from(near - 0x80) * 30_000),
        near @ 0xC0..0xF0 => ms.saturating_sub(u64::from(near - 0xC0) * 30_000),
        0xF0..0xF8 => 0,
        _ => u64::MAX,
    }
}

impl Words for Cast {
    fn peer(&mut self, from: &mut Source<'_>) -> PeerId {
        match usize::from(from.byte()) {
            number @ 0..PERSONS => self.persons[number].peer,
            number @ 0x80.. => PeerId([number as u8; 32]),
            _ => self.me,
        }
    }

    fn room(&mut self, from: &mut Source<'_>) -> RoomId {
        match usize::from(from.byte()) {
            number @ 0..0x40 => self.rooms[number % ROOMS].1,
            number @ 0x40..0x60 => home_id(self.persons[(number - 0x40) % PERSONS].peer),
            number @ 0x80.. => RoomId([number as u8; 32]),
            _ => home_id(self.me),
        }
    }

    fn request(&mut self, from: &mut Source<'_>) -> RequestId {
        match from.byte() {
            ago @ 0..0x80 => self.requests.ago(usize::from(ago)).copied().unwrap_or_default(),
            fresh => RequestId(u64::from(fresh)),
        }
    }

    fn message_id(&mut self, from: &mut Source<'_>) -> MessageId {
        match from.byte() {
            ago @ 0..0xC0 => self.messages.ago(usize::from(ago)).map(|(id, _)| *id).unwrap_or_default(),
            fresh => MessageId([fresh; 32]),
        }
    }

    fn instance(&mut self, from: &mut Source<'_>) -> Instance {
        match from.byte() {
            ago @ 0..0xC0 => self.instances.ago(usize::from(ago)).copied().unwrap_or_default(),
            _ => Instance { boot: from.number(), session: from.number() },
        }
    }

    fn circuit(&mut self, from: &mut Source<'_>) -> u32 {
        match from.byte() {
            number @ 0..0x20 => u32::from(number),
            ago @ 0x20..0xF0 => self.circuits.ago(usize::from(ago)).copied().unwrap_or_default(),
            _ => from.small(),
        }
    }

    fn claim(&mut self, from: &mut Source<'_>) -> Bytes {
        match from.byte() {
            0..0x80 => {
                let (person, room) = (self.person(from), from.below(ROOMS));
                let homes = [from.below(PERSONS), from.below(PERSONS)];
                self.membership(person, room, &homes).bytes().clone()
            }
            ago @ 0x80..0xC0 => self.claims.ago(usize::from(ago & 0x3F)).cloned().unwrap_or_default(),
            0xC0..0xF0 => {
                let claim = self.odd_claim(from);
                self.claims.note(claim.bytes().clone());
                claim.bytes().clone()
            }
            _ => blob(from),
        }
    }

    fn home_claim(&mut self, from: &mut Source<'_>) -> Bytes {
        match from.byte() {
            0..0xA0 => {
                let person = self.person(from);
                self.home(person, from.byte())
            }
            ago @ 0xA0..0xF0 => self.home_claims.ago(usize::from(ago - 0xA0)).cloned().unwrap_or_default(),
            _ => blob(from),
        }
    }

    fn tombstone(&mut self, from: &mut Source<'_>) -> Bytes {
        match from.byte() {
            0..0xA0 => {
                let (person, room) = (self.person(from), from.below(ROOMS));
                let claim =
                    if from.flag() { self.membership(person, room, &[0]) } else { self.odd_claim(from) };
                let room = self.room_number(claim.room_id()).unwrap_or_default();
                let person = self.number_of(claim.peer()).unwrap_or_default();
                let tombstone = Tombstone::make(
                    &claim,
                    Duration::from_secs(300),
                    &self.rooms[room].0,
                    &self.persons[person].identity,
                    &IdealCrypto,
                    &NetworkId::default(),
                );
                self.tombstones.note(tombstone.bytes().clone());
                tombstone.bytes().clone()
            }
            ago @ 0xA0..0xF0 => self.tombstones.ago(usize::from(ago - 0xA0)).cloned().unwrap_or_default(),
            _ => blob(from),
        }
    }

    fn statement(&mut self, from: &mut Source<'_>) -> Bytes {
        match from.byte() {
            0..0x80 => {
                let (person, room) = (self.person(from), self.room(from));
                let sequence = Sequence { boot: from.number(), counter: from.number() };
                let data = blob(from);
                let data = data.slice(..data.len().min(MemberStatement::DATA_BYTES_MAX));
                self.stated(person, room, Some(sequence), data)
            }
            ago @ 0x80..0xF0 => self.statements.ago(usize::from(ago & 0x3F)).cloned().unwrap_or_default(),
            _ => blob(from),
        }
    }

    fn digest(&mut self, from: &mut Source<'_>) -> u64 {
        match from.byte() {
            ago @ 0..0xC0 => {
                let claim = self.claims.ago(usize::from(ago)).and_then(|claim| Claim::decode(claim).ok());
                claim.map_or(0, |claim| claim.digest())
            }
            _ => from.number(),
        }
    }

    fn claim_mark(&mut self, from: &mut Source<'_>) -> u64 {
        match from.byte() {
            ago @ 0..0xC0 => {
                let claim = self.claims.ago(usize::from(ago)).and_then(|claim| Claim::decode(claim).ok());
                claim.map_or(0, |claim| claim.mark())
            }
            _ => from.number(),
        }
    }

    fn asked(&mut self, packet: &Routed, from: &mut Source<'_>) -> Bytes {
        let about = ConnectAbout::of(packet).filter(|_| packet.purpose == Purpose::Connect);
        let origin = about.and_then(|about| self.number_of(about.origin));
        let (Some(about), Some(origin), true) = (about, origin, from.flag()) else {
            return generate::asked(self, packet, from);
        };
        // A request that its origin has signed.
        let mut request = generate::connect_request(self, about, from);
        request.expiry_ms = off(self.unix_ms.saturating_add(20_000), from);
        let secret = self.persons[origin].identity.secret();
        encode_body(&Connect::make(&request, secret, &IdealCrypto, &NetworkId::default())).into()
    }

    fn proof(&mut self, from: &mut Source<'_>) -> RoomProof {
        let room = from.below(ROOMS);
        let stream = |from: &mut Source<'_>| StreamNext { stream: from.number(), next: from.number() };
        RoomProof {
            room_key: self.rooms[room].0.public_key(&IdealCrypto),
            signature: from.signature(),
            answer: from.flag(),
            claim: self.claim(from),
            streams: Bounded::truncated(from.list(4, stream)),
            marks: Bounded::truncated(from.list(4, |from| self.mark(from))),
        }
    }

    fn mark(&mut self, from: &mut Source<'_>) -> StreamMark {
        StreamMark {
            author: self.peer(from),
            instance: self.instance(from),
            stream: if from.flag() { 0 } else { from.number() },
            next: from.number(),
        }
    }
}

/// A connect packet as its origin makes it: with its claim, signed, first on the route.
pub(super) fn connect_packet(cast: &mut Cast, origin: usize, room: usize, id: RequestId) -> Routed {
    let claim = cast.membership(origin, room, &[0]).bytes().clone();
    let home_claim = cast.persons[origin].service.then(|| cast.home(origin, 1));
    let me = cast.me;
    let person = &cast.persons[origin];
    let key = home_id(me);
    let request = ConnectRequest {
        about: ConnectAbout { id, origin: person.peer, target: me, key },
        room: cast.rooms[room].1,
        expiry_ms: cast.unix_ms.saturating_add(20_000),
        claim,
        home_claim,
        home_known: None,
    };
    let connect = Connect::make(&request, person.identity.secret(), &IdealCrypto, &NetworkId::default());
    Routed {
        purpose: Purpose::Connect,
        to_root: false,
        attempt: 0,
        request: id,
        key,
        target: Some(me),
        exclude: Default::default(),
        route: unamed_protocol::wire::PeerIds::new(&[person.peer]).unwrap_or_default(),
        payload: encode_body(&connect).into(),
    }
}
