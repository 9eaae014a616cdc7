//! What a hostile member can do with signals: three nodes in one process, two of them members by a circuit.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::*;
use crate::crypto::IdealCrypto;
use crate::node::api::{
    Carrier, DialError, Disconnect, Event, Input, LinkView, MemberLeftReason, Origin, Recipients, Start,
};
use crate::signal::{CandidateHost, CandidateKind, IceText};
use crate::{Address, Config, Identity, NetworkId, Node, RoomKey};

const WINDOW: usize = 256 * 1024;
const SERVICE: usize = 0;

/// A service node and two clients. Their WebRTC stacks are played by the test.
struct World {
    nodes: [Node; 3],
    carriers: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    inputs: VecDeque<(usize, Input)>,
    /// What nodes asked of their stacks, oldest first.
    asked: Vec<(usize, Output)>,
    left: Vec<MemberLeftReason>,
    heard: usize,
    now: Instant,
}

impl World {
    /// Two members that are linked by a circuit. The first number is that of the lower id, which offers.
    fn relayed() -> (Self, usize, usize) {
        let node = |name: u8, service: bool| {
            let network = NetworkId::default();
            let mut config = if service { Config::service(network) } else { Config::client(network) };
            config.webrtc.enabled = !service;
            let start = Start {
                config,
                identity: Identity::from_seed([name; 32]),
                crypto: Arc::new(IdealCrypto),
                seed: [name; 32],
                unix_ms: 1_750_000_000_000,
                addresses: service.then(address).into_iter().collect(),
                saved: None,
            };
            Node::new(start, Instant::ZERO)
        };
        let mut world = Self {
            nodes: [node(1, true), node(2, false), node(3, false)],
            carriers: BTreeMap::new(),
            inputs: VecDeque::new(),
            asked: Vec::new(),
            left: Vec::new(),
            heard: 0,
            now: Instant::ZERO,
        };
        for client in [1, 2] {
            world.nodes[client].bootstrap(address(), Instant::ZERO);
        }
        world.pass(5);
        for client in [1, 2] {
            world.nodes[client].join(&RoomKey::from_seed([9; 32]), world.now).unwrap();
            world.pass(3);
        }
        let lower = if world.nodes[1].peer_id() < world.nodes[2].peer_id() { 1 } else { 2 };
        let upper = 3 - lower;
        assert_eq!(world.link(lower, upper).carrier, Carrier::Circuit);
        (world, lower, upper)
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            self.settle();
            let next = self.nodes.iter().filter_map(Node::poll_timeout).map(|deadline| deadline.at).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn settle(&mut self) {
        loop {
            while let Some((who, input)) = self.inputs.pop_front() {
                self.nodes[who].handle_input(input, self.now);
            }
            self.perform_all();
            if self.inputs.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, who: usize, output: Output) {
        match output {
            Output::Save(id, _) => self.inputs.push_back((who, Input::Saved(id, true))),
            Output::Dial(link, Target::WebSocket(_)) => {
                let accepted = self.nodes[SERVICE].accept(Origin::default(), self.now).unwrap();
                self.join((who, link), (SERVICE, accepted));
                self.inputs.push_back((who, Input::Connected(link)));
                self.inputs.push_back((who, Input::Writable(link, WINDOW)));
                self.inputs.push_back((SERVICE, Input::Writable(accepted, WINDOW)));
            }
            Output::Send(link, frame) => {
                self.inputs.push_back((who, Input::Writable(link, frame.len())));
                if let Some((other, there)) = self.carriers.get(&(who, link)) {
                    self.inputs.push_back((*other, Input::Frame(*there, frame)));
                }
            }
            Output::Close(link, _) => {
                if let Some((other, there)) = self.carriers.remove(&(who, link)) {
                    self.carriers.remove(&(other, there));
                    self.inputs.push_back((other, Input::Disconnected(there, Disconnect::Closed)));
                }
                self.asked.push((who, output));
            }
            Output::Dial(_, Target::WebRtc { .. }) | Output::RemoteSignal(..) => {
                self.asked.push((who, output))
            }
            Output::Event(Event::MemberLeft { reason, .. }) => self.left.push(reason),
            Output::Event(Event::Message(_)) => self.heard += 1,
            Output::Event(_) => {}
        }
    }

    fn join(&mut self, one: (usize, LinkId), other: (usize, LinkId)) {
        self.carriers.insert(one, other);
        self.carriers.insert(other, one);
    }

    fn link(&self, from: usize, to: usize) -> LinkView {
        let peer = self.nodes[to].peer_id();
        self.nodes[from].links().into_iter().find(|link| link.peer == peer).expect("they are linked")
    }

    fn count(&self, node: usize, counter: &str) -> u64 {
        self.nodes[node].metrics().into_iter().find(|(name, _)| *name == counter).unwrap().1
    }

    /// The link under which a node asked for a stack last.
    fn dialled(&self, node: usize) -> LinkId {
        let dial = self.asked.iter().rev().find_map(|(who, output)| {
            let Output::Dial(link, _) = output else { return None };
            (*who == node).then_some(*link)
        });
        dial.expect("it asked for a stack")
    }

    fn signals_to(&self, node: usize) -> Vec<Signal> {
        let of_node = self.asked.iter().filter(|(who, _)| *who == node);
        of_node
            .filter_map(|(_, output)| {
                let Output::RemoteSignal(_, signal) = output else { return None };
                Some(signal.clone())
            })
            .collect()
    }

    /// A node's stack finds something.
    fn finds(&mut self, node: usize, signal: Signal) {
        let link = self.dialled(node);
        self.inputs.push_back((node, Input::LocalSignal(link, signal)));
        self.settle();
    }

    /// `from`, a member that says what it likes, sends a signal to `to`.
    fn says(&mut self, from: usize, to: usize, session: u64, signal: Signal) {
        let link = self.link(from, to).link;
        let now = self.now;
        self.nodes[from].enter(now);
        self.nodes[from].send(link, &Message::Signal(SignalStep { session, signal }), now);
        self.nodes[from].flush(now);
        self.settle();
    }

    fn session(&self, node: usize) -> u64 {
        let attempt = self.nodes[node].directs.pairs.values().find_map(|direct| direct.attempt);
        attempt.expect("an attempt is in progress").session
    }

    /// The channel opens at both ends.
    fn open(&mut self, a: usize, b: usize) {
        self.open_channel(a, b);
        self.pass(1);
    }

    /// The channel opens at both ends, which do not know that yet.
    fn open_channel(&mut self, a: usize, b: usize) {
        let ends = [(a, self.dialled(a)), (b, self.dialled(b))];
        self.join(ends[0], ends[1]);
        for (node, link) in ends {
            self.inputs.push_back((node, Input::Connected(link)));
            self.inputs.push_back((node, Input::Writable(link, WINDOW)));
        }
    }

    /// One input is taken, if there is one, and what comes of it performed.
    fn step(&mut self) -> bool {
        let Some((who, input)) = self.inputs.pop_front() else { return false };
        self.nodes[who].handle_input(input, self.now);
        self.perform_all();
        true
    }

    fn perform_all(&mut self) {
        for who in 0..3 {
            while let Some(output) = self.nodes[who].poll_output() {
                self.perform(who, output);
            }
        }
    }
}

fn address() -> Address {
    "/ip4/127.0.0.1/tcp/4000/ws".parse().unwrap()
}

fn description(mark: u8, setup: Setup) -> Description {
    Description {
        ufrag: IceText::new(&format!("ufrag{mark}")).unwrap(),
        pwd: IceText::new(&format!("{mark:022}")).unwrap(),
        fingerprint: Fingerprint([mark; 32]),
        setup,
        candidates: Bounded::default(),
    }
}

fn candidate(port: u16) -> Signal {
    let host = CandidateHost::V4([192, 0, 2, 1]);
    Signal::Candidate(Candidate::new(CandidateKind::Host, host, port, 1).unwrap())
}

fn offer() -> Signal {
    Signal::Offer(description(1, Setup::ActPass))
}

fn answer() -> Signal {
    Signal::Answer(description(2, Setup::Active))
}

#[test]
fn the_lower_id_offers_and_the_pair_links_directly_without_a_word_to_the_application() {
    let (mut world, lower, upper) = World::relayed();
    assert!(world.asked.iter().all(|(who, _)| *who == lower), "the other end waits for an offer");
    world.finds(lower, offer());
    assert_eq!(world.signals_to(upper), [offer()]);
    world.finds(upper, answer());
    world.finds(upper, candidate(5));
    world.finds(lower, Signal::EndOfCandidates);
    assert_eq!(world.signals_to(lower), [answer(), candidate(5)]);
    assert_eq!(world.signals_to(upper), [offer(), Signal::EndOfCandidates]);
    world.open(lower, upper);
    for (a, b) in [(lower, upper), (upper, lower)] {
        assert_eq!(world.link(a, b).carrier, Carrier::WebRtc);
        assert_eq!(world.nodes[a].links().len(), 2, "the circuit is gone");
        assert_eq!(world.count(a, "signals_invalid") + world.count(a, "signals_late"), 0);
    }
    assert_eq!(world.left, []);
}

#[test]
fn a08_a_swapped_fingerprint_gives_no_link() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    world.finds(upper, answer());
    // What the lower end was given differs from what the upper one sent, as if somebody stood between their stacks.
    let peer = world.nodes[upper].peer_id();
    let attempt = world.nodes[lower].attempt_mut(peer).unwrap();
    attempt.remote.described.as_mut().unwrap().fingerprint = Fingerprint([0xee; 32]);
    world.open(lower, upper);
    assert_eq!(world.link(lower, upper).carrier, Carrier::Circuit);
    assert!(world.count(lower, "handshakes_failed") + world.count(upper, "handshakes_failed") > 0);
}

#[test]
fn b78_offers_of_the_higher_id_and_of_the_wrong_setup_are_refused() {
    let (mut world, lower, upper) = World::relayed();
    world.says(upper, lower, 7, offer());
    assert_eq!(world.count(lower, "signals_invalid"), 1, "glare: only the lower id offers");
    for setup in [Setup::Active, Setup::Passive] {
        world.says(lower, upper, 7, Signal::Offer(description(1, setup)));
    }
    assert_eq!(world.count(upper, "signals_invalid"), 2);
    assert_eq!(world.signals_to(upper), []);
    world.finds(lower, offer());
    let session = world.session(lower);
    world.says(upper, lower, session, Signal::Answer(description(2, Setup::ActPass)));
    assert_eq!(world.count(lower, "signals_invalid"), 2);
    assert_eq!(world.signals_to(lower), []);
}

#[test]
fn b80_signals_out_of_turn_are_refused() {
    let (mut world, lower, upper) = World::relayed();
    let session = world.session(lower);
    world.says(upper, lower, session, answer());
    assert_eq!(world.count(lower, "signals_invalid"), 1, "an answer before the offer");
    world.says(lower, upper, 8, candidate(1));
    world.says(lower, upper, 8, Signal::EndOfCandidates);
    assert_eq!(world.count(upper, "signals_late"), 2, "there is no such attempt");
    world.finds(lower, offer());
    world.says(lower, upper, session, offer());
    world.says(lower, upper, session, answer());
    assert_eq!(world.count(upper, "signals_invalid"), 2, "a second description of one end");
    world.says(upper, lower, session.wrapping_add(1), answer());
    assert_eq!(world.count(lower, "signals_late"), 1, "an answer to another attempt");
}

#[test]
fn an_offer_over_a_direct_link_is_refused() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    world.finds(upper, answer());
    world.open(lower, upper);
    let asked = world.asked.len();
    world.says(lower, upper, 99, offer());
    assert_eq!(world.count(upper, "signals_invalid"), 1);
    assert_eq!(world.asked.len(), asked, "nothing is asked of a stack");
    assert_eq!(world.link(upper, lower).carrier, Carrier::WebRtc);
}

#[test]
fn a53_b79_candidates_are_bounded_and_end() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    let session = world.session(lower);
    for port in 1..=17 {
        world.says(lower, upper, session, candidate(port));
    }
    assert_eq!(world.signals_to(upper).len(), 1 + CANDIDATES_MAX);
    assert_eq!(world.count(upper, "signals_invalid"), 1, "the seventeenth");
    world.says(lower, upper, session, Signal::EndOfCandidates);
    world.says(lower, upper, session, candidate(18));
    world.says(lower, upper, session, Signal::EndOfCandidates);
    assert_eq!(world.count(upper, "signals_invalid"), 3, "after the end");
}

#[test]
fn a53_a_flood_of_offers_starts_one_stack_a_second() {
    let (mut world, lower, upper) = World::relayed();
    for session in 100..200 {
        world.says(lower, upper, session, offer());
    }
    let dials = |world: &World| {
        let of_upper = world.asked.iter().filter(|(who, _)| *who == upper);
        of_upper.filter(|(_, output)| matches!(output, Output::Dial(..))).count()
    };
    assert_eq!(dials(&world), 1);
    world.pass(1);
    world.says(lower, upper, 200, offer());
    assert_eq!(dials(&world), 2, "a newer attempt takes the older one's place");
    let pending = world.nodes[upper].directs.pairs.values().filter(|direct| direct.attempt.is_some()).count();
    assert_eq!(pending, 1);
}

#[test]
fn b79_loopback_candidates_reach_only_nodes_that_know_loopback() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    let host = CandidateHost::V4([127, 0, 0, 1]);
    let local = Signal::Candidate(Candidate::new(CandidateKind::Host, host, 9, 1).unwrap());
    world.finds(lower, local.clone());
    assert_eq!(world.signals_to(upper), [offer(), local.clone()], "it started from a loopback address");
    world.nodes[upper].book.forbid_loopback();
    world.finds(lower, local);
    assert_eq!(world.signals_to(upper).len(), 2);
    assert_eq!(world.count(upper, "candidates_refused"), 1);
}

#[test]
fn a_failed_attempt_is_made_again_after_a_pause_that_grows() {
    let (mut world, lower, upper) = World::relayed();
    let dials =
        |world: &World| world.asked.iter().filter(|(_, output)| matches!(output, Output::Dial(..))).count();
    let mut pauses = Vec::new();
    for attempt in 1..=3 {
        assert_eq!(dials(&world), attempt);
        let link = world.dialled(lower);
        world.inputs.push_back((lower, Input::DialFailed(link, DialError::Ice)));
        world.settle();
        let failed = world.now;
        while dials(&world) == attempt {
            world.pass(1);
        }
        pauses.push(world.now.since(failed).as_secs());
    }
    assert!(pauses[0] >= 27 && pauses[1] >= 54 && pauses[2] >= 108, "{pauses:?}");
    assert_eq!(world.link(lower, upper).carrier, Carrier::Circuit);
    assert_eq!(world.count(lower, "webrtc_failed"), 3);
}

#[test]
fn an_attempt_whose_circuit_made_way_for_another_begins_anew_on_that() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    let first = world.dialled(lower);
    // The circuit that carried the offer ends, and a new one takes its place.
    let circuit = world.link(lower, upper).link;
    let now = world.now;
    world.nodes[lower].enter(now);
    world.nodes[lower].fail_link(circuit, CloseReason::RelayLost, now);
    world.nodes[lower].flush(now);
    world.pass(4);
    assert_eq!(world.link(lower, upper).carrier, Carrier::Circuit);
    assert_ne!(world.link(lower, upper).link, circuit);
    assert_ne!(
        world.dialled(lower),
        first,
        "long before its time-out, and without the pause after a failure"
    );
    assert_eq!(world.count(lower, "webrtc_failed"), 0);
    world.finds(lower, offer());
    assert_eq!(world.signals_to(upper).len(), 2);
    assert_eq!(world.left, []);
}

#[test]
fn a_shutdown_ends_attempts_so_that_what_is_queued_leaves_by_the_circuit() {
    let (mut world, lower, upper) = World::relayed();
    world.finds(lower, offer());
    let (now, link) = (world.now, world.dialled(upper));
    world.nodes[upper].shutdown(now);
    world.settle();
    let closed = |(who, output): &(usize, Output)| {
        *who == upper && matches!(output, Output::Close(closed, CloseReason::Shutdown) if *closed == link)
    };
    assert!(world.asked.iter().any(closed));
    assert!(world.nodes[upper].directs.pairs.values().all(|direct| direct.attempt.is_none()));
}

#[test]
fn a_shutdown_at_any_moment_of_an_upgrade_loses_nothing() {
    let room = RoomKey::from_seed([9; 32]).id(&IdealCrypto);
    let mut moments = 0;
    for (offerer_leaves, offerer_first) in [(true, true), (true, false), (false, true), (false, false)] {
        for steps in 0.. {
            let (mut world, lower, upper) = World::relayed();
            world.finds(lower, offer());
            world.finds(upper, answer());
            let (a, b) = if offerer_first { (lower, upper) } else { (upper, lower) };
            world.open_channel(a, b);
            let over = !(0..steps).all(|_| world.step());
            let leaves = if offerer_leaves { lower } else { upper };
            let now = world.now;
            let words = bytes::Bytes::from(alloc::vec![7; 100_000]);
            world.nodes[leaves].broadcast(room, words, Recipients::All, now).unwrap();
            world.nodes[leaves].shutdown(now);
            world.pass(5);
            let moment = format!("after {steps} inputs: {leaves} leaves, {a} is told first");
            assert_eq!(world.heard, 1, "{moment}");
            assert_eq!(world.left, [MemberLeftReason::Left], "{moment}");
            if over {
                break;
            }
            moments += 1;
        }
    }
    assert!(moments > 40, "of which {moments}");
}

#[test]
fn a_channel_that_opens_too_early_is_a_failed_attempt() {
    let (mut world, lower, upper) = World::relayed();
    let link = world.dialled(lower);
    world.inputs.push_back((lower, Input::Connected(link)));
    world.settle();
    assert_eq!(world.link(lower, upper).carrier, Carrier::Circuit);
    assert_eq!(world.asked.last().map(|(who, _)| *who), Some(lower), "it is closed");
    assert_eq!(world.count(lower, "webrtc_failed"), 1);
}

#[test]
fn a52_handed_ice_servers_are_those_of_the_home_and_replace_each_other() {
    let (mut world, lower, _) = World::relayed();
    let hand = |world: &mut World, urls: &[&str]| {
        let servers = urls.iter().map(|url| {
            let turn = url.starts_with("turn").then_some(("me", "it"));
            IceServer::new(url, turn).unwrap()
        });
        let message = Message::IceServers(IceServers { servers: Bounded::truncated(servers) });
        let link = world.link(SERVICE, lower).link;
        let now = world.now;
        world.nodes[SERVICE].enter(now);
        world.nodes[SERVICE].send(link, &message, now);
        world.nodes[SERVICE].flush(now);
        world.settle();
        world.nodes[lower]
            .ice_servers()
            .iter()
            .map(|server| server.url().into())
            .collect::<Vec<alloc::string::String>>()
    };
    let own = "stun:127.0.0.1:3478";
    assert_eq!(hand(&mut world, &[own, "stun:elsewhere.example", "turn:127.0.0.1"]), [own]);
    assert_eq!(world.count(lower, "ice_servers_refused"), 2);
    world.nodes[lower].config.webrtc.third_parties = true;
    let all = ["stun:a.example", "turn:b.example"];
    assert_eq!(hand(&mut world, &all), all, "replaced, not added");
    let message = Message::IceServers(IceServers { servers: Bounded::default() });
    let (link, now) = (world.link(lower, SERVICE).link, world.now);
    world.nodes[lower].enter(now);
    world.nodes[lower].send(link, &message, now);
    world.nodes[lower].flush(now);
    world.settle();
    assert_eq!(world.count(SERVICE, "ice_servers_refused"), 1, "a client hands out none");
    assert!(world.nodes[SERVICE].directs.handed.is_empty());
}
