//! The driving contract: what a driver may do in any order and number, and what a node does with odd inputs.
//!
//! A driver of the test's own, smaller than the simulator: two nodes, one carrier, fixed delays. It varies when it drains
//! outputs, calls `handle_timeout` without need, and answers saves as it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unamed_protocol::{
    Address, Config, DialError, Disconnect, Event, Host, Identity, Input, Instant, LinkId, NetworkId, Node,
    Origin, Output, Recipients, RoomId, SaveId, Start,
};
use unamed_simulator::{BookkeepingCrypto, EventQueue, NodeIndex};

use crate::dsl::{World, key, ms, secs, sentences};

const DELAY: Duration = Duration::from_millis(10);
const SAVE_DELAY: Duration = Duration::from_micros(3_337);
const UNIX_MS: u64 = 1_750_000_000_000;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// How a loop drives its nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Habits {
    /// All inputs of an instant go in before the first output is taken.
    batches: bool,
    /// `handle_timeout` is called after each input, due or not.
    fidgets: bool,
    /// Every save fails.
    saves_fail: bool,
}

/// What is on its way to a node.
enum Parcel {
    Input(Input),
    /// A dial by this link of the other node.
    Dial(LinkId),
}

/// Two service nodes, the second of which knows the first, and their driver.
struct Pair {
    habits: Habits,
    now: Instant,
    nodes: [Node; 2],
    queue: EventQueue<(usize, Parcel)>,
    /// The other node's link of the same carrier.
    links: [BTreeMap<LinkId, LinkId>; 2],
    outputs: [Vec<Output>; 2],
}

impl Pair {
    fn new(habits: Habits) -> Self {
        let crypto = Arc::new(BookkeepingCrypto::new());
        let address = |number: u8| Address {
            host: Host::Ip4([11, 0, number, 1].into()),
            port: 3001,
            secure: false,
            peer: None,
        };
        let node = |number: u8| {
            let start = Start {
                config: Config::service(NetworkId::default()),
                identity: Identity::from_seed([number; 32]),
                crypto: Arc::clone(&crypto) as Arc<_>,
                seed: [number; 32],
                unix_ms: UNIX_MS,
                addresses: vec![address(number)],
                saved: None,
            };
            Node::new(start, Instant::ZERO)
        };
        let mut nodes = [node(0), node(1)];
        nodes[1].bootstrap(address(0), Instant::ZERO);
        let mut pair = Self {
            habits,
            now: Instant::ZERO,
            nodes,
            queue: EventQueue::new(),
            links: Default::default(),
            outputs: Default::default(),
        };
        pair.drain();
        pair
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let deadlines = self.nodes.iter().filter_map(Node::poll_timeout).map(|deadline| deadline.at);
            let next = deadlines.chain(self.queue.next_at()).min().map(|at| at.max(self.now));
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = at;
            self.step();
        }
        self.now = until;
    }

    /// Hands over all that has arrived, fires what is due, takes the outputs.
    fn step(&mut self) {
        while self.queue.next_at().is_some_and(|at| at <= self.now) {
            if let Some((_, (node, parcel))) = self.queue.pop() {
                self.hand_over(node, parcel);
            }
            self.settle();
        }
        for node in &mut self.nodes {
            if node.poll_timeout().is_some_and(|deadline| deadline.at <= self.now) {
                node.handle_timeout(self.now);
                let left = node.poll_timeout();
                assert!(left.is_none_or(|deadline| deadline.at > self.now), "{left:?} stands");
            }
        }
        self.settle();
        self.drain();
    }

    fn settle(&mut self) {
        if !self.habits.batches {
            self.drain();
        }
        if self.habits.fidgets {
            for node in &mut self.nodes {
                let before = node.poll_timeout();
                if before.is_none_or(|deadline| deadline.at > self.now) {
                    node.handle_timeout(self.now);
                    assert_eq!(node.poll_timeout(), before);
                    assert_eq!(node.poll_output(), None);
                }
            }
        }
    }

    fn hand_over(&mut self, to: usize, parcel: Parcel) {
        let now = self.now;
        match parcel {
            Parcel::Input(input) => self.nodes[to].handle_input(input, now),
            Parcel::Dial(link) => {
                let accepted = self.nodes[to].accept(Origin::default(), now).expect("room for a link");
                self.links[to].insert(accepted, link);
                self.links[1 - to].insert(link, accepted);
                self.nodes[to].handle_input(Input::Writable(accepted, usize::MAX / 2), now);
                self.queue.push(now + DELAY, (1 - to, Parcel::Input(Input::Connected(link))));
                self.queue.push(now + DELAY, (1 - to, Parcel::Input(Input::Writable(link, usize::MAX / 2))));
            }
        }
    }

    fn drain(&mut self) {
        for at in 0..2 {
            while let Some(output) = self.nodes[at].poll_output() {
                self.outputs[at].push(output.clone());
                self.perform(at, output);
            }
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let to = 1 - at;
        let (due, parcel) = match output {
            Output::Dial(link, _) => (DELAY, (to, Parcel::Dial(link))),
            Output::Send(link, frame) => {
                let Some(other) = self.links[at].get(&link) else { return };
                (DELAY, (to, Parcel::Input(Input::Frame(*other, frame))))
            }
            Output::Close(link, _) => {
                let Some(other) = self.links[at].remove(&link) else { return };
                self.links[to].remove(&other);
                (DELAY, (to, Parcel::Input(Input::Disconnected(other, Disconnect::Closed))))
            }
            Output::Save(id, _) => {
                (SAVE_DELAY, (at, Parcel::Input(Input::Saved(id, !self.habits.saves_fail))))
            }
            Output::RemoteSignal(..) | Output::Event(_) => return,
        };
        self.queue.push(self.now + due, parcel);
    }

    fn events(&self, node: usize) -> Vec<&Event> {
        let outputs = self.outputs[node].iter();
        outputs
            .filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None })
            .collect()
    }

    /// Both nodes in a room, the first of which says something.
    fn talk(&mut self) -> RoomId {
        self.run(secs(20));
        let mut room = None;
        for at in 0..2 {
            room = self.nodes[at].join(&key(1), self.now).ok();
            self.drain();
            self.run(secs(5));
        }
        let room = room.expect("both joined");
        self.say(room, "hello");
        room
    }

    fn say(&mut self, room: RoomId, text: &'static str) {
        let sent =
            self.nodes[0].broadcast(room, Bytes::from_static(text.as_bytes()), Recipients::All, self.now);
        assert!(sent.is_ok(), "{sent:?}");
        self.drain();
        self.run(secs(1));
    }

    /// What the second node heard.
    fn heard(&self) -> Vec<&[u8]> {
        let events = self.events(1).into_iter();
        events
            .filter_map(
                |event| if let Event::Message(message) = event { Some(&message.payload[..]) } else { None },
            )
            .collect()
    }

    fn count(&self, node: usize, counter: &str) -> u64 {
        let metrics = self.nodes[node].metrics();
        metrics.iter().find(|(name, _)| *name == counter).expect("such a counter").1
    }
}

#[test]
fn batching_inputs_and_needless_timeouts_change_no_output() {
    let plain = {
        let mut pair = Pair::new(Habits::default());
        pair.talk();
        assert_eq!(pair.heard(), [b"hello"]);
        pair.outputs
    };
    let habits =
        [Habits { batches: true, ..Habits::default() }, Habits { fidgets: true, ..Habits::default() }];
    for habits in habits {
        let mut pair = Pair::new(habits);
        pair.talk();
        for (node, (plain, other)) in plain.iter().zip(&pair.outputs).enumerate() {
            assert!(plain == other, "node {node}, {habits:?}");
        }
    }
}

#[test]
fn inputs_for_unknown_links_and_saves_are_counted_and_ignored() {
    let mut pair = Pair::new(Habits::default());
    let room = pair.talk();
    let (now, unknown, before) = (pair.now, LinkId(9_999), pair.nodes[0].poll_timeout());
    let inputs = [
        Input::Connected(unknown),
        Input::DialFailed(unknown, DialError::Refused),
        Input::Frame(unknown, Bytes::from_static(b"anything")),
        Input::Writable(unknown, 1),
        Input::Disconnected(unknown, Disconnect::Reset),
    ];
    let count = inputs.len() as u64;
    for input in inputs {
        pair.nodes[0].handle_input(input, now);
        assert_eq!(pair.nodes[0].poll_output(), None);
    }
    pair.nodes[0].handle_input(Input::Saved(SaveId(9_999), false), now);
    assert_eq!(pair.nodes[0].poll_output(), None);
    assert_eq!(pair.nodes[0].poll_timeout(), before);
    assert_eq!(pair.count(0, "inputs_for_unknown_links"), count);
    assert_eq!(pair.count(0, "answers_to_unknown_saves"), 1);
    pair.say(room, "unharmed");
    assert_eq!(pair.heard(), [&b"hello"[..], b"unharmed"]);
}

#[test]
fn saves_that_fail_are_told_and_the_node_goes_on() {
    let mut pair = Pair::new(Habits { saves_fail: true, ..Habits::default() });
    pair.talk();
    assert_eq!(pair.heard(), [b"hello"]);
    for node in 0..2 {
        let told = pair.events(node).into_iter().filter(|event| **event == Event::SaveFailed).count();
        assert!(told >= 1);
        assert_eq!(pair.count(node, "saves_failed"), told as u64);
    }
}

#[test]
fn a_machine_that_slept_keeps_its_links() {
    for sleep in [secs(60), secs(20 * 60)] {
        let mut pair = Pair::new(Habits::default());
        let room = pair.talk();
        let links = pair.nodes.each_ref().map(|node| node.links().len());
        // Nothing happens for a while, then the clock is told before anything else.
        pair.now += sleep;
        let unix_ms = UNIX_MS + pair.now.as_millis();
        for node in &mut pair.nodes {
            node.handle_input(Input::Clock { unix_ms, resumed: true }, pair.now);
        }
        pair.drain();
        pair.run(secs(30));
        assert_eq!(pair.nodes.each_ref().map(|node| node.links().len()), links, "{sleep:?}");
        pair.say(room, "good morning");
        assert_eq!(pair.heard(), [&b"hello"[..], b"good morning"], "{sleep:?}");
        let gone = |event: &&Event| matches!(event, Event::LinkClosed { .. } | Event::MemberLeft { .. });
        for node in 0..2 {
            assert_eq!(pair.events(node).into_iter().find(gone), None, "node {node} after {sleep:?}");
        }
    }
}

#[test]
fn a_clock_that_jumps_a_year_disturbs_no_room() {
    for forward in [true, false] {
        let mut world = World::new(2);
        let [a, b] = world.members_at(1, [0, 1]);
        let unix_ms = UNIX_MS + world.sim.now().as_millis();
        let jumped = if forward { unix_ms + YEAR_MS } else { unix_ms - YEAR_MS };
        for node in [NodeIndex(0), b] {
            world.with_node(node, |node, now| {
                node.handle_input(Input::Clock { unix_ms: jumped, resumed: false }, now);
            });
        }
        world.pass(secs(60));
        world.say(a, 1, "what year is it?");
        world.say(b, 1, "who knows");
        world.pass(ms(500));
        assert_eq!(world.story(a, 1), sentences(["3: who knows"]), "forward: {forward}");
        assert_eq!(world.story(b, 1), sentences(["2: what year is it?"]), "forward: {forward}");
        let unix_ms = UNIX_MS + world.sim.now().as_millis();
        for node in [NodeIndex(0), b] {
            world.with_node(node, |node, now| {
                node.handle_input(Input::Clock { unix_ms, resumed: false }, now);
            });
        }
        world.forget();
        world.pass(secs(30));
        let late = world.client(1);
        world.pass(secs(3));
        world.join(late, 1);
        world.pass(secs(15));
        assert_eq!(world.story(late, 1).len(), 1, "forward: {forward}");
        assert_eq!(world.members(late, 1), [a, b], "forward: {forward}");
    }
}
