//! Nodes, carriers between them, and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::link::{Class, Session};
use unamed_protocol::{
    Address, Config, DialError, Disconnect, Duration, Host, Identity, Input, Instant, LinkId, NetworkId,
    Node, Origin, Output, PeerId, Recipients, RoomKey, Start, Target,
};

use super::attacker::Attacker;
use super::ledger::Ledger;
use crate::generate;
use crate::source::Source;

const ROOMS: usize = 2;
/// Credit that a carrier starts with.
const WINDOW: usize = 256 * 1024;
/// Frames in one go before something must have gone round in circles.
const ROUNDS_MAX: usize = 200_000;

/// One end of a carrier: a node's link, or one of the attacker's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Node(usize, LinkId),
    Attacker(usize),
}

/// The world.
#[derive(Debug)]
pub(super) struct World {
    nodes: Vec<Node>,
    now: Instant,
    /// The other end of each carrier.
    carriers: BTreeMap<End, End>,
    /// What is on its way to an end, in order.
    waiting: BTreeMap<End, VecDeque<Bytes>>,
    sessions: Vec<Session>,
    attacker: Attacker,
    ledger: Ledger,
    keys: Vec<RoomKey>,
    /// Which node is in which room.
    inside: BTreeSet<(usize, usize)>,
}

fn address(number: usize) -> Address {
    format!("/ip4/9.9.9.{}/tcp/4001/ws", number + 1).parse().expect("an address")
}

impl World {
    pub(super) fn new(setup: u8) -> Self {
        let now = Instant::from_secs(1000);
        let count = 2 + usize::from(setup & 3).min(2);
        let make = |number: usize| {
            let service = number == 0 || setup & (4 << number) != 0;
            let network = NetworkId::default();
            let start = Start {
                config: if service { Config::service(network) } else { Config::client(network) },
                identity: Identity::from_seed([0x40 + number as u8; 32]),
                crypto: Arc::new(IdealCrypto),
                seed: [number as u8; 32],
                unix_ms: 1_700_000_000_000,
                addresses: if service { vec![address(number)] } else { Vec::new() },
                saved: None,
            };
            let mut node = Node::new(start, now);
            if number > 0 {
                node.bootstrap(address(0), now);
            }
            node
        };
        let nodes: Vec<Node> = (0..count).map(make).collect();
        let keys: Vec<RoomKey> = (0..ROOMS).map(|room| RoomKey::from_seed([room as u8; 32])).collect();
        let peers = nodes.iter().map(Node::peer_id);
        let own = [0x90, 0x91].map(|seed| Identity::from_seed([seed; 32]).peer_id(&IdealCrypto));
        let attacker =
            Attacker::new(peers.chain(own).collect(), keys.iter().map(|key| key.id(&IdealCrypto)).collect());
        let mut world = Self {
            nodes,
            now,
            carriers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            sessions: Vec::new(),
            attacker,
            ledger: Ledger::default(),
            keys,
            inside: BTreeSet::new(),
        };
        world.drain();
        world.settle();
        world
    }

    pub(super) fn step(&mut self, from: &mut Source<'_>) {
        let node = from.below(self.nodes.len());
        match from.below(14) {
            0 => self.join(node, from.below(ROOMS)),
            1 => self.leave(node, from.below(ROOMS)),
            2 | 3 => self.broadcast(node, from),
            4 => {
                let room = self.keys[from.below(ROOMS)].id(&IdealCrypto);
                self.nodes[node].find(room, self.now);
            }
            5 => self.pass(Duration::from_millis(1 << from.below(16))),
            6 => self.cut(from),
            7 => self.intrude(node, from),
            8..=10 => self.attack(from),
            11 => self.settle(),
            _ => {
                let few = from.below(32);
                for _ in 0..few {
                    self.deliver(usize::from(from.byte()));
                }
            }
        }
        self.drain();
        self.check();
    }

    /// What must hold after each step.
    fn check(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let broken = node.check_invariants();
            assert!(broken.is_empty(), "node {number}: {broken:?}");
        }
    }

    fn join(&mut self, node: usize, room: usize) {
        if self.nodes[node].join(&self.keys[room], self.now).is_ok() {
            self.ledger.joined(self.keys[room].id(&IdealCrypto), self.nodes[node].peer_id());
            self.inside.insert((node, room));
        }
    }

    fn leave(&mut self, node: usize, room: usize) {
        let left = self.nodes[node].leave(self.keys[room].id(&IdealCrypto), self.now).is_ok();
        assert_eq!(left, self.inside.remove(&(node, room)), "who is in can leave, once");
    }

    fn broadcast(&mut self, node: usize, from: &mut Source<'_>) {
        let room = self.keys[from.below(ROOMS)].id(&IdealCrypto);
        let size = from.number().min(40_000) as usize;
        let payload = Bytes::from(vec![from.byte(); size]);
        let to: Vec<PeerId> = match from.byte() {
            0..0xC0 => Vec::new(),
            other => vec![self.nodes[usize::from(other) % self.nodes.len()].peer_id()],
        };
        let recipients = if to.is_empty() { Recipients::All } else { Recipients::Only(to.clone()) };
        let sent = self.nodes[node].broadcast(room, payload.clone(), recipients, self.now);
        if let Ok(id) = sent {
            self.ledger.sent(id, room, self.nodes[node].peer_id(), payload, to);
        }
    }

    /// A carrier breaks, at both ends.
    fn cut(&mut self, from: &mut Source<'_>) {
        let ends: Vec<End> = self.carriers.keys().copied().collect();
        if let Some(end) = ends.get(usize::from(from.byte()) % ends.len().max(1)) {
            let how = from.pick(&[Disconnect::Reset, Disconnect::Lost, Disconnect::Closed]);
            self.close(*end, Some(how));
        }
    }

    /// The attacker links to a node.
    fn intrude(&mut self, node: usize, from: &mut Source<'_>) {
        let (who, service) = (from.byte(), from.flag());
        let Ok(link) = self.nodes[node].accept(Origin::default(), self.now) else { return };
        let number = self.sessions.len();
        self.sessions.push(Attacker::session(who, service, number as u64, self.now));
        self.connect(End::Attacker(number), End::Node(node, link));
        self.nodes[node].handle_input(Input::Writable(link, WINDOW), self.now);
    }

    /// The attacker says something: any message, something that it heard, or bytes.
    fn attack(&mut self, from: &mut Source<'_>) {
        if self.sessions.is_empty() {
            return;
        }
        let number = usize::from(from.byte()) % self.sessions.len();
        let bytes = match from.below(4) {
            0 | 1 => generate::message(&mut self.attacker, from).encode(),
            2 => self.attacker.repeat(from),
            _ => from.bytes(2048),
        };
        let class = from.pick(&Class::ALL);
        Attacker::say(&mut self.sessions[number], class, bytes, self.now);
    }

    fn connect(&mut self, a: End, b: End) {
        self.carriers.insert(a, b);
        self.carriers.insert(b, a);
    }

    /// Takes a carrier away; the other end learns of it, and this one, too, if it is told how.
    fn close(&mut self, end: End, how: Option<Disconnect>) {
        let Some(other) = self.carriers.remove(&end) else { return };
        self.carriers.remove(&other);
        // What was sent before a close arrives.
        let left = self.waiting.remove(&other).unwrap_or_default();
        self.waiting.remove(&end);
        if how.is_none() {
            left.into_iter().for_each(|frame| self.arrive(other, frame));
        }
        for (end, how) in [(other, Some(how.unwrap_or(Disconnect::Closed))), (end, how)] {
            if let (End::Node(node, link), Some(how)) = (end, how) {
                self.nodes[node].handle_input(Input::Disconnected(link, how), self.now);
            }
        }
    }

    fn arrive(&mut self, end: End, frame: Bytes) {
        match end {
            End::Node(node, link) => self.nodes[node].handle_input(Input::Frame(link, frame), self.now),
            End::Attacker(number) => {
                let events = self.sessions[number].handle_frame(&frame, self.now);
                self.attacker.hear(events);
            }
        }
    }

    /// Delivers the next frame of one of the carriers that have some; whether there was one.
    fn deliver(&mut self, choice: usize) -> bool {
        let ends: Vec<End> = self.waiting.keys().copied().collect();
        let Some(end) = ends.get(choice % ends.len().max(1)).copied() else { return false };
        let Some(queue) = self.waiting.get_mut(&end) else { return false };
        let Some(frame) = queue.pop_front() else { return false };
        if queue.is_empty() {
            self.waiting.remove(&end);
        }
        if let Some(End::Node(node, link)) = self.carriers.get(&end).copied() {
            self.nodes[node].handle_input(Input::Writable(link, frame.len()), self.now);
        }
        self.arrive(end, frame);
        self.drain();
        true
    }

    /// Does what nodes and attacker want done, until they want nothing.
    fn drain(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for number in 0..self.nodes.len() {
                while let Some(output) = self.nodes[number].poll_output() {
                    quiet = false;
                    self.output(number, output);
                }
            }
        }
        for number in 0..self.sessions.len() {
            while let Some(frame) = self.sessions[number].poll_frame(self.now) {
                self.send(End::Attacker(number), frame);
            }
        }
    }

    fn send(&mut self, end: End, frame: Bytes) {
        if let Some(other) = self.carriers.get(&end) {
            self.waiting.entry(*other).or_default().push_back(frame);
        }
    }

    fn output(&mut self, number: usize, output: Output) {
        match output {
            Output::Save(id, _) => self.nodes[number].handle_input(Input::Saved(id, true), self.now),
            Output::Send(link, frame) => self.send(End::Node(number, link), frame),
            Output::Close(link, _) => self.close(End::Node(number, link), None),
            Output::Dial(link, target) => self.dial(number, link, &target),
            Output::Event(event) => self.ledger.event(self.nodes[number].peer_id(), &event),
            Output::RemoteSignal(..) => panic!("nobody links by WebRTC"),
        }
    }

    fn dial(&mut self, number: usize, link: LinkId, target: &Target) {
        let Target::WebSocket(address) = target else { panic!("nobody links by WebRTC") };
        let there = match address.host {
            Host::Ip4(ip) => usize::from(ip.octets()[3]).checked_sub(1),
            Host::Ip6(_) | Host::Dns(_) | Host::Dns4(_) | Host::Dns6(_) => None,
        };
        let accepted =
            there.filter(|there| *there < self.nodes.len() && *there != number).and_then(|there| {
                self.nodes[there].accept(Origin::default(), self.now).ok().map(|accepted| (there, accepted))
            });
        let Some((there, accepted)) = accepted else {
            let failed = Input::DialFailed(link, DialError::Refused);
            return self.nodes[number].handle_input(failed, self.now);
        };
        self.connect(End::Node(number, link), End::Node(there, accepted));
        self.nodes[number].handle_input(Input::Connected(link), self.now);
        self.nodes[number].handle_input(Input::Writable(link, WINDOW), self.now);
        self.nodes[there].handle_input(Input::Writable(accepted, WINDOW), self.now);
    }

    /// Delivers everything.
    fn settle(&mut self) {
        for round in 0.. {
            if !self.deliver(round) {
                return;
            }
            assert!(round < ROUNDS_MAX, "frames go round in circles");
        }
    }

    /// Time passes; frames wait on their carriers as they did.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.fire(next);
        }
        self.now = end;
    }

    fn next(&self) -> Option<Instant> {
        self.nodes.iter().filter_map(Node::poll_timeout).map(|deadline| deadline.at).min()
    }

    fn fire(&mut self, at: Instant) {
        self.now = self.now.max(at);
        for number in 0..self.nodes.len() {
            if self.nodes[number].poll_timeout().is_some_and(|deadline| deadline.at <= self.now) {
                self.nodes[number].handle_timeout(self.now);
                let next = self.nodes[number].poll_timeout().map(|deadline| deadline.at);
                assert!(next.is_none_or(|next| next > self.now), "node {number}: a deadline stays");
            }
        }
        self.drain();
    }

    /// The attacker goes, frames flow, and all becomes well.
    pub(super) fn heal(&mut self, time: Duration) {
        let intruders: Vec<End> =
            self.carriers.keys().filter(|end| matches!(end, End::Attacker(_))).copied().collect();
        intruders.into_iter().for_each(|end| self.close(end, None));
        self.drain();
        self.settle();
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.fire(next);
            self.settle();
        }
        self.check();
        for (node, room) in &self.inside {
            let id = self.keys[*room].id(&IdealCrypto);
            let others = self.inside.iter().filter(|(other, theirs)| theirs == room && other != node);
            let mut expected: Vec<PeerId> = others.map(|(other, _)| self.nodes[*other].peer_id()).collect();
            expected.sort_unstable();
            let members = self.nodes[*node].members(id).unwrap_or_default();
            assert_eq!(members, expected, "members of room {room} at node {node}");
        }
    }
}
