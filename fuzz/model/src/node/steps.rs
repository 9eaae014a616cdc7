//! The steps of a script.

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role, sha256};
use unamed_protocol::link::Class;
use unamed_protocol::rooms::forward::push_hash;
use unamed_protocol::rooms::outbox::stream_id;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{CircuitOpen, Header, Hello, MemberData, PushSet};
use unamed_protocol::wire::{Bounded, MemberStatement, Message, PeerIds, RoomMessage, encode_body};
use unamed_protocol::{
    DialError, Disconnect, Duration, Input, LinkId, NetworkId, PeerId, Recipients, RequestId, SaveId, Signal,
};

use super::cast::{PERSONS, ROOMS, connect_packet};
use super::peers::End;
use super::script::Step;
use super::world::{Carrier, CarrierState, World};
use crate::generate::{self, Words as _};
use crate::source::Source;

/// How far a clock is off, seconds.
const CLOCKS: [i64; 8] = [0, 1, -1, 400, -400, 800, 100_000, -2_000_000_000];

/// Passing times, milliseconds.
const TIMES: [u64; 14] = [0, 1, 20, 50, 100, 250, 500, 1_000, 2_500, 5_000, 12_000, 35_000, 130_000, 800_000];

/// The longest time in which every deadline is handled, milliseconds.
const LIVED_MAX: u64 = 35_000;

const DIAL_ERRORS: [DialError; 7] = [
    DialError::Timeout,
    DialError::Refused,
    DialError::Unresolved,
    DialError::NotWebSocket,
    DialError::Tls,
    DialError::Unsupported,
    DialError::Ice,
];

const DISCONNECTS: [Disconnect; 4] =
    [Disconnect::Closed, Disconnect::Reset, Disconnect::Violation, Disconnect::Lost];

/// An end of a link, or of a circuit over it.
type EndKey = (LinkId, Option<u32>);

impl World {
    /// One step.
    pub(super) fn step(&mut self, from: &mut Source<'_>) {
        match from.pick(&Step::ALL) {
            Step::Accept => self.accept_step(from),
            Step::Bootstrap => self.bootstrap_step(from),
            Step::AnswerDial => self.answer_dial(from),
            Step::RawFrame => self.raw_frame(from),
            Step::Say => self.say_step(from),
            Step::SayBytes => self.say_bytes_step(from),
            Step::Answer => self.answer_step(from),
            Step::Prove => self.prove_step(from),
            Step::Write => self.write(from),
            Step::Grant => self.grant_step(from),
            Step::Hold => self.hold(from),
            Step::Disconnect => self.disconnect_step(from),
            Step::Saved => self.answer_save(from.flag()),
            Step::Clock => self.clock(from),
            Step::Advance => self.advance_step(from),
            Step::Deadline => self.deadline(),
            Step::Join => self.join(from),
            Step::Leave => self.leave(from),
            Step::Broadcast => self.broadcast(from),
            Step::Find => self.find(from),
            Step::MakePrimary => self.make_primary(from),
            Step::Shutdown => self.node.shutdown(self.now),
            Step::OpenCircuit => self.open_circuit(from),
            Step::AcceptCircuit => {
                if let Some((link, circuit)) = self.some_end(from) {
                    self.accept_circuit(link, circuit);
                }
            }
            Step::Stray => self.stray(from),
            Step::Restart => self.restart(),
            Step::Introduce => self.introduce(from),
            Step::Forward => self.forward(from),
            Step::Ask => self.ask(from),
            Step::Member => self.member(from),
            Step::Stack => self.stack(from),
            Step::State => self.state(from),
            Step::Describe => self.describe(from),
        }
        self.settle();
    }

    fn accept_step(&mut self, from: &mut Source<'_>) {
        let (person, variant) = (self.cast.person(from), from.byte());
        let end = (variant != 1).then(|| self.make_end(person, false, variant));
        self.accept(end);
    }

    fn bootstrap_step(&mut self, from: &mut Source<'_>) {
        let person = self.cast.person(from);
        let addresses = &self.cast.persons[person].addresses;
        let mut address = addresses[from.below(addresses.len())].clone();
        if from.flag() {
            address.peer = None;
        }
        self.bootstrap(address);
    }

    fn answer_dial(&mut self, from: &mut Source<'_>) {
        let dialing = |(link, carrier): (&LinkId, &Carrier)| match &carrier.state {
            CarrierState::Dialing(address) => Some((*link, address.clone())),
            CarrierState::Stack(_) | CarrierState::Open => None,
        };
        let waiting: Vec<_> = self.carriers.iter().filter_map(dialing).collect();
        let (which, how) = (from.below(16), from.byte());
        let Some((link, address)) = waiting.get(which % waiting.len().max(1)).cloned() else { return };
        match (how, self.resident(&address)) {
            (0, Some(person)) => {
                let end = self.make_end(person, true, 0);
                self.connect(link, Some(end));
            }
            (1, _) => {
                let person = self.cast.person(from);
                let end = self.make_end(person, true, 2);
                self.connect(link, Some(end));
            }
            (2, _) => self.connect(link, None),
            (how, _) => self.fail_dial(link, DIAL_ERRORS[usize::from(how) % DIAL_ERRORS.len()]),
        }
    }

    /// A WebRTC stack of the node does something. Nobody is behind the channel that opens: it is a raw carrier.
    fn stack(&mut self, from: &mut Source<'_>) {
        let stacks: Vec<(LinkId, bool)> = self
            .carriers
            .iter()
            .filter_map(|(link, carrier)| match carrier.state {
                CarrierState::Stack(offers) => Some((*link, offers)),
                CarrierState::Dialing(_) | CarrierState::Open => None,
            })
            .collect();
        let (which, what) = (from.below(16), from.byte());
        let Some(&(link, offers)) = stacks.get(which % stacks.len().max(1)) else { return };
        let signal = match what {
            0 | 1 if offers => Signal::Offer(generate::description(from)),
            0 | 1 => Signal::Answer(generate::description(from)),
            2 | 3 => match generate::candidate(from) {
                Some(candidate) => Signal::Candidate(candidate),
                None => return,
            },
            4 => Signal::EndOfCandidates,
            5 => return self.connect(link, None),
            how => return self.fail_dial(link, DIAL_ERRORS[usize::from(how) % DIAL_ERRORS.len()]),
        };
        self.node.handle_input(Input::LocalSignal(link, signal), self.now);
    }

    fn raw_frame(&mut self, from: &mut Source<'_>) {
        if let Some(link) = self.open_carrier(from) {
            let frame = from.bytes(17 * 1024);
            self.frame(link, frame.into());
        }
    }

    fn say_step(&mut self, from: &mut Source<'_>) {
        let Some(end) = self.some_end(from) else { return };
        let class = from.pick(&Class::ALL);
        let message = generate::message(&mut self.cast, from);
        self.say_bytes(end, class, message.encode());
    }

    fn say_bytes_step(&mut self, from: &mut Source<'_>) {
        let Some(end) = self.some_end(from) else { return };
        let class = from.pick(&Class::ALL);
        let bytes = from.bytes(4096);
        self.say_bytes(end, class, bytes);
    }

    fn say_bytes(&mut self, (link, circuit): EndKey, class: Class, bytes: Vec<u8>) {
        let now = self.now;
        if let Some(end) = self.end_of(link, circuit) {
            end.say_bytes(class, bytes, now);
        }
    }

    /// An answer to what a person was asked, or a connect request of its own.
    fn answer_step(&mut self, from: &mut Source<'_>) {
        let (ago, how) = (from.below(32), from.byte());
        let Some(asked) = self.asked.ago(ago).cloned() else { return };
        let payload = match how % 4 {
            0 => generate::answered(&mut self.cast, asked.packet.purpose, from).to_vec(),
            1 => self.connect_answer(&asked.packet, how & 4 == 0).unwrap_or_default(),
            2 => from.bytes(1024),
            _ => {
                let Some(person) = self.end_of(asked.link, asked.circuit).map(|end| end.person) else {
                    return;
                };
                let (id, room) = (RequestId(from.number()), from.below(ROOMS));
                let packet = connect_packet(&mut self.cast, person, room, id);
                return self.say(asked.link, asked.circuit, &Message::Routed(packet));
            }
        };
        self.answer(&asked, payload);
    }

    fn prove_step(&mut self, from: &mut Source<'_>) {
        if let Some((link, circuit)) = self.some_end(from) {
            let (room, answer) = (from.below(ROOMS), from.flag());
            self.prove(link, circuit, room, answer);
        }
    }

    /// A message into a room by its author.
    fn write(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let Some((person, instance)) = self.end_of(link, circuit).map(|end| (end.person, end.instance))
        else {
            return;
        };
        let room = self.cast.rooms[from.below(ROOMS)].1;
        let place = from.byte();
        let body = Bytes::from(vec![from.byte(); from.number().min(100_000) as usize]);
        let signed = from.flag();
        let mut recipients: Vec<PeerId> = from.list(4, |from| self.cast.peer(from));
        if !recipients.is_empty() {
            recipients.push(self.cast.me);
        }
        let recipients = Bounded::ascending(recipients).unwrap_or_default();
        let push_set = match from.byte() {
            // The author pushes to the node alone: others are for it to reach.
            0..0x80 => {
                let peers = vec![self.cast.me];
                let push_set = push_hash(&peers);
                let told = PushSet { room, peers: Bounded::truncated(peers) };
                self.say(link, circuit, &Message::PushSet(told));
                push_set
            }
            _ => from.number(),
        };
        let stream = stream_id(&recipients);
        let sequence = match place {
            0..0x80 => self.end_of(link, circuit).map_or(0, |end| end.next(room, stream)),
            number @ 0x80..0xC0 => u64::from(number & 0x1F) | (u64::from(number >> 5 & 1) << 32),
            _ => from.number(),
        };
        let header = Header {
            room,
            author: self.cast.persons[person].peer,
            instance,
            stream,
            sequence,
            recipients,
            push_set,
            body_hash: sha256(&[&body]),
            sealed: false,
        };
        let mut message = RoomMessage { header: encode_body(&header).into(), signature: Bytes::new(), body };
        if signed {
            let secret = self.cast.persons[person].identity.secret();
            message.sign(secret, &IdealCrypto, &NetworkId::default());
        }
        self.cast.messages.note((message.id(), message.clone()));
        self.say_bytes((link, circuit), Class::Bulk, message.encode());
    }

    fn grant_step(&mut self, from: &mut Source<'_>) {
        if let Some(link) = self.open_carrier(from) {
            self.grant(link, from.small() as usize);
        }
    }

    fn hold(&mut self, from: &mut Source<'_>) {
        if let Some(carrier) = self.open_carrier(from).and_then(|link| self.carriers.get_mut(&link)) {
            carrier.held = !carrier.held;
        }
    }

    fn disconnect_step(&mut self, from: &mut Source<'_>) {
        if let Some(link) = self.open_carrier(from) {
            self.disconnect(link, from.pick(&DISCONNECTS));
        }
    }

    fn clock(&mut self, from: &mut Source<'_>) {
        let seconds = from.pick(&CLOCKS);
        self.cast.unix_ms = self.cast.unix_ms.saturating_add_signed(seconds.saturating_mul(1000));
        let (unix_ms, resumed) = (self.cast.unix_ms, from.flag());
        self.node.handle_input(Input::Clock { unix_ms, resumed }, self.now);
    }

    fn advance_step(&mut self, from: &mut Source<'_>) {
        let ms = from.pick(&TIMES);
        let by = Duration::from_millis(ms);
        if from.flag() && ms <= LIVED_MAX {
            self.live(by);
        } else {
            self.advance(by);
            self.timeout();
        }
    }

    fn deadline(&mut self) {
        if let Some(next) = self.node.poll_timeout() {
            self.advance(next.at.since(self.now));
        }
        self.timeout();
    }

    fn join(&mut self, from: &mut Source<'_>) {
        let (key, id) = &self.cast.rooms[from.below(ROOMS)];
        if let Ok(room) = self.node.join(key, self.now) {
            assert_eq!(room, *id, "a room has the id of its key");
            self.ledger.joining(room);
        }
    }

    fn leave(&mut self, from: &mut Source<'_>) {
        let room = self.cast.room(from);
        let was_in = self.ledger.is_in(room);
        assert_eq!(self.node.leave(room, self.now).is_ok(), was_in, "what is joined can be left");
    }

    fn broadcast(&mut self, from: &mut Source<'_>) {
        let (room, size) = (self.cast.room(from), from.number().min(300_000) as usize);
        let recipients = if from.flag() {
            Recipients::Only(from.list(40, |from| self.cast.peer(from)))
        } else {
            Recipients::All
        };
        let payload = Bytes::from(vec![from.byte(); size]);
        let sent = self.node.broadcast(room, payload, recipients, self.now);
        assert!(sent.is_err() || self.ledger.is_in(room), "a message into a room that is not joined");
    }

    /// A peer says something of itself, before or after it proved the room.
    fn state(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let Some(person) = self.end_of(link, circuit).map(|end| end.person) else { return };
        let (room, size) = (self.cast.room(from), from.number().min(1024) as usize);
        let data = Bytes::from(vec![from.byte(); size]);
        let statement = self.cast.stated(person, room, None, data);
        self.say(link, circuit, &Message::MemberData(MemberData { statement }));
    }

    /// The application says something of the node.
    fn describe(&mut self, from: &mut Source<'_>) {
        let (room, size) = (self.cast.room(from), from.number().min(2000) as usize);
        let data = Bytes::from(vec![from.byte(); size]);
        let set = self.node.set_member_data(room, data.clone(), self.now);
        let possible = self.ledger.is_in(room) && size <= MemberStatement::DATA_BYTES_MAX;
        assert_eq!(set.is_ok(), possible, "what may be said is taken: {set:?}");
        let shown = self.node.member_data(room, self.cast.me);
        assert!(!possible || shown == Some(data), "what was said last is shown: {shown:?}");
    }

    fn find(&mut self, from: &mut Source<'_>) {
        let room = self.cast.room(from);
        if self.ledger.shut_down {
            return;
        }
        let request = self.node.find(room, self.now);
        self.ledger.finding(request);
    }

    fn make_primary(&mut self, from: &mut Source<'_>) {
        let room = self.cast.room(from);
        let done = self.node.make_primary(room, self.now);
        assert!(done.is_err() || self.ledger.is_in(room), "a primary room that is not joined");
    }

    /// A circuit that ends at the node, with a person of its own inside.
    fn open_circuit(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let (now, inside, room) = (self.now, self.cast.person(from), self.cast.room(from));
        let Some(number) = self.end_of(link, circuit).map(End::mint_circuit) else { return };
        let person = &self.cast.persons[inside];
        let origin = person.peer;
        let inner = End::new(inside, person, Role::Initiator, from.byte() & 1, true, now);
        self.cast.instances.note(inner.instance);
        if let Some(end) = self.end_of(link, circuit) {
            end.circuits.insert(number, inner);
        }
        let open = CircuitOpen { circuit: number, origin, route: Bounded::default(), room, window: 65_536 };
        self.say(link, circuit, &Message::CircuitOpen(open));
    }

    /// Inputs for links that are gone or never were.
    fn stray(&mut self, from: &mut Source<'_>) {
        let gone = self.gone.iter().nth_back(from.below(8)).copied();
        let link = gone.unwrap_or(LinkId(1 << 40));
        let input = match from.below(6) {
            0 => Input::Connected(link),
            1 => Input::DialFailed(link, DialError::Refused),
            2 => Input::Frame(link, from.bytes(64).into()),
            3 => Input::Writable(link, from.small() as usize),
            4 => Input::Saved(SaveId(1 << 40), from.flag()),
            _ => Input::Disconnected(link, Disconnect::Reset),
        };
        self.node.handle_input(input, self.now);
    }

    fn introduce(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let person = self.cast.person(from);
        let home = self.cast.home(person, from.byte());
        let location = home_id(self.cast.persons[person].peer);
        let ready = from.flag();
        let neighbours = Bounded::truncated([home.clone()]);
        self.say(
            link,
            circuit,
            &Message::Hello(Hello { location, ready, home: Some(home), wants: 4, neighbours }),
        );
    }

    fn forward(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let known = self.cast.messages.ago(from.below(32)).map(|(_, message)| message.clone());
        if let Some(message) = known {
            self.say(link, circuit, &Message::RoomMessage(message));
        }
    }

    /// A request that others have passed on, by the book.
    fn ask(&mut self, from: &mut Source<'_>) {
        let Some((link, circuit)) = self.some_end(from) else { return };
        let Some(person) = self.end_of(link, circuit).map(|end| end.person) else { return };
        let before = from.below(17);
        let others = (0..PERSONS).filter(|other| *other != person).take(before.min(15));
        let route: Vec<PeerId> =
            others.chain([person]).map(|number| self.cast.persons[number].peer).collect();
        let mut packet = generate::routed(&mut self.cast, from);
        packet.route = PeerIds::new(&route).unwrap_or_default();
        self.say(link, circuit, &Message::Routed(packet));
    }

    /// A person that is linked and a member.
    fn member(&mut self, from: &mut Source<'_>) {
        let (person, room) = (self.cast.person(from), from.below(ROOMS));
        let end = self.make_end(person, false, 0);
        self.accept(Some(end));
        let (key, id) = &self.cast.rooms[room];
        if self.node.join(key, self.now).is_ok() {
            self.ledger.joining(*id);
        }
        self.settle();
        let linked = |(link, carrier): (&LinkId, &Carrier)| {
            carrier.end.as_ref().is_some_and(|end| end.person == person).then_some(*link)
        };
        if let Some(link) = self.carriers.iter().rev().find_map(linked) {
            self.prove(link, None, room, true);
        }
    }

    /// One of the open carriers.
    fn open_carrier(&self, from: &mut Source<'_>) -> Option<LinkId> {
        let open = self.carriers.iter().filter(|(_, carrier)| carrier.state == CarrierState::Open);
        let open: Vec<LinkId> = open.map(|(link, _)| *link).collect();
        open.get(from.below(32) % open.len().max(1)).copied()
    }

    /// One of the persons' ends, those of circuits included.
    fn some_end(&self, from: &mut Source<'_>) -> Option<EndKey> {
        let ends = self.carriers.iter().filter_map(|(link, carrier)| Some((*link, carrier.end.as_ref()?)));
        let ends: Vec<EndKey> = ends
            .flat_map(|(link, end)| {
                let inside = end.circuits.keys().map(move |number| (link, Some(*number)));
                core::iter::once((link, None)).chain(inside)
            })
            .collect();
        ends.get(from.below(32) % ends.len().max(1)).copied()
    }
}
