//! The words in which scenarios are written: a small network, what its people do, and what they are told.
//!
//! Nodes are numbered in the order of adding, service nodes first; rooms have numbers of their own. What a node is told
//! about a room is read as a story, one sentence an event, so that a test compares all of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unamed_protocol::crypto::Crypto;
use unamed_protocol::{
    BroadcastError, Event, FindReport, JoinOutcome, LinkReason, MessageId, Node, Recipients, RoomId, RoomKey,
    RoomLeftReason,
};
use unamed_simulator::{BookkeepingCrypto, Latency, NodeEvent, NodeIndex, Simulation, SimulationConfig};

/// One-way delay between all nodes.
pub(crate) const DELAY: Duration = Duration::from_millis(10);

/// A network under way. When it goes out of scope, no rule may have been broken.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sim: Simulation,
    told: Vec<NodeEvent>,
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn key(room: u8) -> RoomKey {
    RoomKey::from_seed([room; 32])
}

/// Sentences to compare a story with.
pub(crate) fn sentences<const N: usize>(sentences: [&str; N]) -> Vec<String> {
    sentences.into_iter().map(String::from).collect()
}

impl World {
    /// A network of this many service nodes, 20 s old.
    pub(crate) fn new(services: usize) -> Self {
        Self::with(services, |_| {})
    }

    /// As [`new`](Self::new), with another configuration.
    pub(crate) fn with(services: usize, change: impl FnOnce(&mut SimulationConfig)) -> Self {
        Self::with_crypto(services, Arc::new(BookkeepingCrypto::new()), change)
    }

    /// As [`with`](Self::with), with this crypto provider.
    pub(crate) fn with_crypto(
        services: usize,
        crypto: Arc<dyn Crypto>,
        change: impl FnOnce(&mut SimulationConfig),
    ) -> Self {
        let mut world = Self::unborn(crypto, change);
        let nodes: Vec<NodeIndex> = (0..services).map(|_| world.sim.add_service()).collect();
        for (index, &node) in nodes.iter().enumerate() {
            world.sim.start(node, &nodes[..index.min(1)]);
            world.pass(ms(300));
        }
        world.pass(secs(20));
        world
    }

    /// A network without nodes.
    pub(crate) fn unborn(crypto: Arc<dyn Crypto>, change: impl FnOnce(&mut SimulationConfig)) -> Self {
        let mut config = SimulationConfig::new(1, crypto);
        config.network.latency = Latency::Fixed(DELAY);
        change(&mut config);
        Self { sim: Simulation::new(config), told: Vec::new() }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.sim.now() + time;
        self.sim.run_until(until);
        self.told.extend(self.sim.take_events());
    }

    /// A new client that knows the service node with this number.
    pub(crate) fn client(&mut self, service: u32) -> NodeIndex {
        let client = self.sim.add_client();
        self.sim.start(client, &[NodeIndex(service)]);
        client
    }

    /// New clients, one at each of these service nodes, members of a room, all linked.
    pub(crate) fn members_at<const N: usize>(&mut self, room: u8, services: [u32; N]) -> [NodeIndex; N] {
        let clients = services.map(|service| self.client(service));
        self.pass(secs(2));
        for client in clients {
            self.join(client, room);
            self.pass(ms(500));
        }
        self.pass(secs(5));
        for client in clients {
            let others: Vec<NodeIndex> = clients.into_iter().filter(|other| *other != client).collect();
            assert_eq!(self.members(client, room), others, "members that {client:?} sees");
        }
        self.forget();
        clients
    }

    /// Has service nodes join a room, so that its members are linked directly.
    pub(crate) fn service_members<const N: usize>(&mut self, room: u8, nodes: [u32; N]) -> [NodeIndex; N] {
        let nodes = nodes.map(NodeIndex);
        for node in nodes {
            self.join(node, room);
            self.pass(ms(500));
        }
        self.pass(secs(5));
        for node in nodes {
            assert_eq!(self.members(node, room).len(), N - 1, "members that {node:?} sees");
        }
        self.forget();
        nodes
    }

    /// Does something with a running node.
    pub(crate) fn with_node<R>(
        &mut self,
        node: NodeIndex,
        action: impl FnOnce(&mut Node, unamed_protocol::Instant) -> R,
    ) -> R {
        self.sim.command(node, action).expect("the node runs")
    }

    pub(crate) fn node(&self, node: NodeIndex) -> &Node {
        self.sim.node(node).expect("the node runs")
    }

    pub(crate) fn room(&self, room: u8) -> RoomId {
        RoomKey::room_id(&self.sim.config().crypto.public_key(key(room).secret()))
    }

    pub(crate) fn join(&mut self, node: NodeIndex, room: u8) {
        let joined = self.with_node(node, |running, now| running.join(&key(room), now));
        assert_eq!(joined, Ok(self.room(room)));
    }

    pub(crate) fn leave(&mut self, node: NodeIndex, room: u8) {
        let id = self.room(room);
        assert_eq!(self.with_node(node, |running, now| running.leave(id, now)), Ok(()));
    }

    /// Says something of oneself in a room.
    pub(crate) fn name(&mut self, node: NodeIndex, room: u8, name: &str) {
        let (id, data) = (self.room(room), Bytes::copy_from_slice(name.as_bytes()));
        assert_eq!(self.with_node(node, |running, now| running.set_member_data(id, data, now)), Ok(()));
    }

    /// What a node knows of another, or of itself.
    pub(crate) fn name_of(&self, node: NodeIndex, room: u8, of: NodeIndex) -> Option<String> {
        let data = self.node(node).member_data(self.room(room), self.sim.peer_id(of))?;
        Some(String::from_utf8_lossy(&data).into_owned())
    }

    /// Says something to all members.
    pub(crate) fn say(&mut self, node: NodeIndex, room: u8, text: &str) {
        self.send(node, room, Bytes::copy_from_slice(text.as_bytes()), Recipients::All).expect("it is taken");
    }

    /// Says something to one member.
    pub(crate) fn tell(&mut self, node: NodeIndex, room: u8, to: NodeIndex, text: &str) {
        let only = Recipients::Only(vec![self.sim.peer_id(to)]);
        self.send(node, room, Bytes::copy_from_slice(text.as_bytes()), only).expect("it is taken");
    }

    pub(crate) fn send(
        &mut self,
        node: NodeIndex,
        room: u8,
        payload: Bytes,
        recipients: Recipients,
    ) -> Result<MessageId, BroadcastError> {
        let id = self.room(room);
        self.with_node(node, |running, now| running.broadcast(id, payload, recipients, now))
    }

    /// Looks for a room until the answer.
    pub(crate) fn find(&mut self, node: NodeIndex, room: u8) -> FindReport {
        let id = self.room(room);
        let request = self.with_node(node, |running, now| running.find(id, now));
        self.pass(secs(25));
        let report = self.told.iter().find_map(|told| {
            let Event::FindFinished(report) = &told.event else { return None };
            (report.request == request).then(|| report.clone())
        });
        report.expect("a find is answered")
    }

    /// The members that a node sees, in the order of their numbers.
    pub(crate) fn members(&self, node: NodeIndex, room: u8) -> Vec<NodeIndex> {
        let seen = self.node(node).members(self.room(room)).unwrap_or_default();
        self.sim.nodes().filter(|other| seen.contains(&self.sim.peer_id(*other))).collect()
    }

    /// The first relay of a client's circuits.
    pub(crate) fn relay(&self, client: NodeIndex) -> NodeIndex {
        let links = self.node(client).links();
        let link = links.iter().find(|link| link.reasons.contains(LinkReason::Relay)).expect("a circuit");
        self.sim.nodes().find(|node| self.sim.peer_id(*node) == link.peer).expect("a node")
    }

    /// A counter of a node.
    pub(crate) fn count(&self, node: NodeIndex, counter: &str) -> u64 {
        let metrics = self.node(node).metrics();
        metrics.iter().find(|(name, _)| *name == counter).expect("such a counter").1
    }

    /// Forgets what was told so far.
    pub(crate) fn forget(&mut self) {
        self.told.extend(self.sim.take_events());
        self.told.clear();
    }

    /// What a node was told since [`forget`](Self::forget), in order.
    pub(crate) fn told(&mut self, node: NodeIndex) -> Vec<Event> {
        self.told.extend(self.sim.take_events());
        self.told.iter().filter(|told| told.node == node).map(|told| told.event.clone()).collect()
    }

    /// When a node was told something first, since [`forget`](Self::forget).
    pub(crate) fn told_at(
        &self,
        node: NodeIndex,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<unamed_protocol::Instant> {
        self.told.iter().find(|told| told.node == node && wanted(&told.event)).map(|told| told.at)
    }

    /// What a node was told of a room since [`forget`](Self::forget), in sentences.
    pub(crate) fn story(&mut self, node: NodeIndex, room: u8) -> Vec<String> {
        let id = self.room(room);
        let events = self.told(node);
        events.iter().filter_map(|event| self.sentence(event, id)).collect()
    }

    fn number(&self, peer: unamed_protocol::PeerId) -> String {
        let node = self.sim.nodes().find(|node| self.sim.peer_id(*node) == peer);
        node.map_or_else(|| String::from("a stranger"), |node| node.0.to_string())
    }

    fn sentence(&self, event: &Event, of: RoomId) -> Option<String> {
        let (room, sentence) = match event {
            Event::RoomJoined { room, outcome } => (room, self.entrance(outcome)),
            Event::RoomLeft { room, reason } => {
                let full = *reason == RoomLeftReason::Full;
                (room, String::from(if full { "out, full" } else { "out" }))
            }
            Event::MemberJoined { room, peer, data } if data.is_empty() => {
                (room, format!("{} joined", self.number(*peer)))
            }
            Event::MemberJoined { room, peer, data } => {
                (room, format!("{} joined as {}", self.number(*peer), String::from_utf8_lossy(data)))
            }
            Event::MemberChanged { room, peer, data } => {
                (room, format!("{} is {:?}", self.number(*peer), String::from_utf8_lossy(data)))
            }
            Event::MemberLeft { room, peer, reason } => {
                (room, format!("{} left, {}", self.number(*peer), reason.as_str()))
            }
            Event::Message(message) => {
                let to = if message.directed { " to me" } else { "" };
                let text = String::from_utf8_lossy(&message.payload);
                (&message.room, format!("{}{to}: {text}", self.number(message.from)))
            }
            Event::MessagesLost { room, from, count } => {
                (room, format!("{count} lost of {}", self.number(*from)))
            }
            Event::RoomWritable { room } => (room, String::from("writable")),
            Event::MessageProgress { .. }
            | Event::SendProgress { .. }
            | Event::RoomMerged { .. }
            | Event::PrimaryChanged { .. }
            | Event::LinkOpened { .. }
            | Event::LinkClosed { .. }
            | Event::LinkFailed { .. }
            | Event::NewServiceAddress { .. }
            | Event::Online(_)
            | Event::Ready
            | Event::FindFinished(_)
            | Event::SaveFailed
            | Event::IdentityInUse { .. }
            | Event::ShutDown => return None,
        };
        (*room == of).then_some(sentence)
    }

    fn entrance(&self, outcome: &JoinOutcome) -> String {
        match outcome {
            JoinOutcome::Joined { members } => {
                let mut members: Vec<String> = members.iter().map(|peer| self.number(*peer)).collect();
                members.sort_unstable();
                format!("in with {}", members.join(", "))
            }
            JoinOutcome::Alone => String::from("in alone"),
            JoinOutcome::NoneReachable { known } => format!("in, {known} out of reach"),
            JoinOutcome::Offline => String::from("in, offline"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sim.check_all();
            assert_eq!(self.sim.violations().first(), []);
        }
    }
}
