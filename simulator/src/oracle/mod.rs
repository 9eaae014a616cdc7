//! The oracle: it knows what is true in a simulation, and judges what the nodes say by it.
//!
//! The truth comes from two sources only: what applications asked and were told, and which nodes run. What a node
//! believes is read through its views, and counts as belief.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use unamed_protocol::crypto::sha256;
use unamed_protocol::{
    Event, FindReport, Hop, Instant, JoinOutcome, Message, MessageId, Node, NodeKind, PeerId, RequestId,
    RoomId, RoomKey,
};

use crate::report::{FindFigures, LinkFigures, MessageFigures, Samples};
use crate::world::{Condition, NodeEvent, NodeIndex, Simulation};

/// A message of an author that is gone sooner than this after sending is not owed to anyone.
const AUTHOR_STAYS: Duration = Duration::from_secs(10);

/// A node that is gone for longer must be in nobody's list of members.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// A find must have ended by then: four attempts of 2 s with 3.5 s of pauses, and an iterative one.
const FIND_MAX: Duration = Duration::from_secs(25);

/// Details of one kind kept in words.
const DETAILS_MAX: usize = 10;

/// A room of the oracle, counted from 0 in the order of adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomIndex(pub u32);

#[derive(Debug)]
struct Room {
    id: RoomId,
    key: RoomKey,
    members: BTreeSet<NodeIndex>,
}

#[derive(Debug)]
struct Membership {
    asked: Instant,
    joined: Option<Instant>,
    /// Whom the events say to be members.
    listed: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Sent {
    room: RoomIndex,
    author: NodeIndex,
    at: Instant,
    digest: [u8; 32],
    directed: bool,
    /// Its place in the stream that its recipients see.
    place: u64,
    owed: Vec<NodeIndex>,
    received: BTreeSet<NodeIndex>,
}

#[derive(Debug)]
struct OpenFind {
    room: RoomIndex,
    at: Instant,
    /// Members alive and reachable at the start.
    reachable: Vec<NodeIndex>,
}

/// What a detail is about, in the order of reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Room,
    Message,
    Find,
    Refusal,
}

/// Knows what is true.
#[derive(Debug, Default)]
pub struct Oracle {
    peers: BTreeMap<PeerId, NodeIndex>,
    rooms: Vec<Room>,
    room_ids: BTreeMap<RoomId, RoomIndex>,
    memberships: BTreeMap<(NodeIndex, RoomIndex), Membership>,
    departed: BTreeMap<NodeIndex, Instant>,
    messages: BTreeMap<MessageId, Sent>,
    /// Last place sent and received, by author, room and recipient; no recipient stands for all.
    places_sent: BTreeMap<(NodeIndex, RoomIndex, Option<NodeIndex>), u64>,
    places_received: BTreeMap<(NodeIndex, NodeIndex, RoomIndex, bool), u64>,
    finds: BTreeMap<(NodeIndex, RequestId), OpenFind>,
    find_figures: FindFigures,
    message_figures: MessageFigures,
    hops: Samples,
    hops_root: Samples,
    find_ms: Samples,
    join_ms: Samples,
    message_ms: Samples,
    joins: u64,
    details: BTreeMap<Detail, Vec<String>>,
}

impl Oracle {
    /// An oracle that knows all nodes of `sim` added so far.
    #[must_use]
    pub fn new(sim: &Simulation) -> Self {
        Self { peers: sim.nodes().map(|node| (sim.peer_id(node), node)).collect(), ..Self::default() }
    }

    fn detail(&mut self, kind: Detail, text: impl FnOnce() -> String) {
        let of_kind = self.details.entry(kind).or_default();
        if of_kind.len() < DETAILS_MAX {
            of_kind.push(text());
        }
    }

    /// Makes a room known.
    pub fn add_room(&mut self, sim: &Simulation, key: RoomKey) -> RoomIndex {
        let id = RoomKey::room_id(&sim.config().crypto.public_key(key.secret()));
        let index = RoomIndex(self.rooms.len() as u32);
        self.rooms.push(Room { id, key, members: BTreeSet::new() });
        self.room_ids.insert(id, index);
        index
    }

    /// A room's id.
    #[must_use]
    pub fn room_id(&self, room: RoomIndex) -> RoomId {
        self.rooms[room.0 as usize].id
    }

    /// How many rooms there are.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Whether a node asked to join a room and has not left it.
    #[must_use]
    pub fn is_in(&self, node: NodeIndex, room: RoomIndex) -> bool {
        self.memberships.contains_key(&(node, room))
    }

    /// Whether a node was told that it joined a room, and has not left it.
    #[must_use]
    pub fn has_joined(&self, node: NodeIndex, room: RoomIndex) -> bool {
        self.memberships.get(&(node, room)).is_some_and(|membership| membership.joined.is_some())
    }

    /// The rooms a node has joined, in the order of their indices.
    #[must_use]
    pub fn rooms_of(&self, node: NodeIndex) -> Vec<RoomIndex> {
        let range = (node, RoomIndex(0))..=(node, RoomIndex(u32::MAX));
        let joined = self.memberships.range(range).filter(|(_, membership)| membership.joined.is_some());
        joined.map(|(&(_, room), _)| room).collect()
    }

    // What applications ask.

    /// Has a running node join a room.
    pub fn join(&mut self, sim: &mut Simulation, node: NodeIndex, room: RoomIndex) {
        let key = self.rooms[room.0 as usize].key.clone();
        let Some(result) = sim.command(node, |running, now| running.join(&key, now)) else { return };
        match result {
            Ok(id) if id == self.room_id(room) => {
                self.joins += 1;
                let membership = Membership { asked: sim.now(), joined: None, listed: BTreeSet::new() };
                self.memberships.insert((node, room), membership);
                self.rooms[room.0 as usize].members.insert(node);
            }
            Ok(id) => sim.add_violation(node, format!("joining {:?} gave {id:?}", self.room_id(room))),
            Err(error) => sim.add_violation(node, format!("a join was refused: {error}")),
        }
    }

    /// Has a running node leave a room.
    pub fn leave(&mut self, sim: &mut Simulation, node: NodeIndex, room: RoomIndex) {
        let id = self.room_id(room);
        if !self.is_in(node, room) {
            return;
        }
        self.forget(node, room);
        if let Some(Err(error)) = sim.command(node, |running, now| running.leave(id, now)) {
            sim.add_violation(node, format!("leaving {id:?} was refused: {error}"));
        }
    }

    fn forget(&mut self, node: NodeIndex, room: RoomIndex) {
        self.memberships.remove(&(node, room));
        self.rooms[room.0 as usize].members.remove(&node);
    }

    /// A node was told to shut down, or crashed.
    pub fn departs(&mut self, node: NodeIndex, now: Instant) {
        self.departed.insert(node, now);
        let range = (node, RoomIndex(0))..=(node, RoomIndex(u32::MAX));
        let rooms: Vec<RoomIndex> = self.memberships.range(range).map(|(&(_, room), _)| room).collect();
        for room in rooms {
            self.forget(node, room);
        }
        self.finds.retain(|(finder, _), _| *finder != node);
    }

    /// A node that departed was started again. Its memberships are those that it is told to join from here on.
    pub fn returns(&mut self, node: NodeIndex) {
        self.departed.remove(&node);
    }

    /// One of the joined members that `node` sees in a room, chosen by `pick`.
    #[must_use]
    pub fn seen_by(
        &self,
        sim: &Simulation,
        node: NodeIndex,
        room: RoomIndex,
        pick: u64,
    ) -> Option<NodeIndex> {
        let seen = sim.node(node)?.members(self.room_id(room))?;
        let known = seen.iter().filter_map(|peer| self.peers.get(peer).copied());
        let members: Vec<NodeIndex> = known.filter(|&member| self.has_joined(member, room)).collect();
        members.get(usize::try_from(pick % (members.len().max(1) as u64)).unwrap_or(0)).copied()
    }

    /// Has a member send a message: to all members, or to `recipient`. It must have [`has_joined`](Self::has_joined).
    pub fn broadcast(
        &mut self,
        sim: &mut Simulation,
        author: NodeIndex,
        room: RoomIndex,
        bytes: usize,
        recipient: Option<NodeIndex>,
    ) {
        use unamed_protocol::Recipients;
        let id = self.room_id(room);
        let seen = sim.node(author).and_then(|running| running.members(id)).unwrap_or_default();
        let place = self.places_sent.get(&(author, room, recipient)).map_or(0, |place| place + 1);
        let payload = payload(author, room, place, bytes);
        let digest = sha256(&[&payload]);
        let recipients = recipient.map_or(Recipients::All, |node| Recipients::Only(vec![sim.peer_id(node)]));
        match sim.command(author, |running, now| running.broadcast(id, payload, recipients, now)) {
            Some(Ok(message)) => {
                self.places_sent.insert((author, room, recipient), place);
                self.message_figures.sent += 1;
                let owed = seen
                    .iter()
                    .filter_map(|peer| self.peers.get(peer).copied())
                    .filter(|&node| recipient.is_none_or(|only| only == node) && self.has_joined(node, room))
                    .collect();
                let (at, directed, received) = (sim.now(), recipient.is_some(), BTreeSet::new());
                let sent = Sent { room, author, at, digest, directed, place, owed, received };
                if self.messages.insert(message, sent).is_some() {
                    sim.add_violation(author, format!("{message:?} was given to two messages"));
                }
            }
            Some(Err(error)) => {
                self.message_figures.refused += 1;
                self.detail(Detail::Refusal, || {
                    format!("{:?} node {}: a broadcast was refused: {error}", sim.now(), author.0)
                });
            }
            None => {}
        }
    }

    /// Has a running node look for a room.
    pub fn find(&mut self, sim: &mut Simulation, finder: NodeIndex, room: RoomIndex) {
        let id = self.room_id(room);
        let reachable = self.reachable_members(sim, finder, room);
        if let Some(request) = sim.command(finder, |running, now| running.find(id, now)) {
            self.find_figures.attempted += 1;
            if self.finds.insert((finder, request), OpenFind { room, at: sim.now(), reachable }).is_some() {
                sim.add_violation(finder, format!("{request:?} was given to two finds"));
            }
        }
    }

    /// Members of a room, other than `from`, that run, were told that they joined, and are linked to a running service
    /// node (or are one), none of them behind a partition.
    fn reachable_members(&self, sim: &Simulation, from: NodeIndex, room: RoomIndex) -> Vec<NodeIndex> {
        let apart = |a, b| sim.blocked(a, b) || sim.blocked(b, a);
        let up = |node| sim.condition(node) == Condition::Up;
        let linked = |member| {
            let links = sim.node(member).map(|running| running.links()).unwrap_or_default();
            links.iter().filter(|link| link.service).any(|link| {
                self.peers
                    .get(&link.peer)
                    .is_some_and(|&home| up(home) && !apart(home, member) && !apart(home, from))
            })
        };
        let members = self.rooms[room.0 as usize].members.iter().copied();
        members
            .filter(|&member| member != from && up(member) && self.has_joined(member, room))
            .filter(|&member| !apart(member, from))
            .filter(|&member| sim.kind(member) == NodeKind::Service || linked(member))
            .collect()
    }

    // What applications are told.

    /// Takes note of an event.
    pub fn observe(&mut self, sim: &mut Simulation, told: &NodeEvent) {
        let NodeEvent { at, node, event } = told;
        match event {
            Event::RoomJoined { room, outcome } => self.room_joined(sim, *at, *node, *room, outcome),
            Event::RoomLeft { room, .. } => self.room_left(sim, *node, *room),
            Event::MemberJoined { room, peer } => {
                let listed =
                    self.joined_membership(*node, *room).map(|membership| membership.listed.insert(*peer));
                if listed != Some(true) && !self.is_departed(*node) {
                    let why = if listed.is_some() { "who was there" } else { "without having joined" };
                    sim.add_violation(*node, format!("told that {peer:?} joined {room:?}, {why}"));
                }
            }
            Event::MemberLeft { room, peer, .. } => {
                let listed =
                    self.joined_membership(*node, *room).map(|membership| membership.listed.remove(peer));
                if listed != Some(true) && !self.is_departed(*node) {
                    let why = if listed.is_some() { "who was not there" } else { "without having joined" };
                    sim.add_violation(*node, format!("told that {peer:?} left {room:?}, {why}"));
                }
            }
            Event::Message(message) => self.message(sim, *at, *node, message),
            Event::FindFinished(report) => self.find_finished(sim, *node, report),
            Event::IdentityInUse => sim.add_violation(*node, "told that its identity is in use"),
            Event::MessagesLost { room, from, count } => {
                self.detail(Detail::Message, || {
                    format!("{at:?} node {}: {count} messages of {from:?} in {room:?} are lost", node.0)
                });
            }
            Event::MessageProgress { .. }
            | Event::SendProgress { .. }
            | Event::RoomWritable { .. }
            | Event::PrimaryChanged { .. }
            | Event::LinkOpened { .. }
            | Event::LinkClosed { .. }
            | Event::LinkFailed { .. }
            | Event::NewServiceAddress { .. }
            | Event::Online(_)
            | Event::Ready
            | Event::SaveFailed
            | Event::ShutDown => {}
        }
    }

    /// Whether the node was told to go: what it says of rooms until then is not judged.
    fn is_departed(&self, node: NodeIndex) -> bool {
        self.departed.contains_key(&node)
    }

    fn joined_membership(&mut self, node: NodeIndex, room: RoomId) -> Option<&mut Membership> {
        let room = *self.room_ids.get(&room)?;
        self.memberships.get_mut(&(node, room)).filter(|membership| membership.joined.is_some())
    }

    fn room_joined(
        &mut self,
        sim: &mut Simulation,
        at: Instant,
        node: NodeIndex,
        room: RoomId,
        outcome: &JoinOutcome,
    ) {
        if self.is_departed(node) {
            return;
        }
        let membership = self.room_ids.get(&room).and_then(|&index| self.memberships.get_mut(&(node, index)));
        let Some(membership) = membership else {
            sim.add_violation(node, format!("told that it joined {room:?} without having asked"));
            return;
        };
        if membership.joined.replace(at).is_some() {
            sim.add_violation(node, format!("told twice that it joined {room:?}"));
            return;
        }
        if let JoinOutcome::Joined { members } = outcome {
            membership.listed.extend(members);
        }
        let took = at.since(membership.asked);
        self.join_ms.add(millis(took));
        let bound = sim.config().client.rooms.join_timeout.max(sim.config().service.rooms.join_timeout);
        if took > bound {
            sim.add_violation(node, format!("the join of {room:?} was answered after {took:?}"));
        }
    }

    fn room_left(&mut self, sim: &mut Simulation, node: NodeIndex, room: RoomId) {
        let Some(&index) = self.room_ids.get(&room) else { return };
        // A leave that was asked for is forgotten already; what comes unasked is a refusal by a full room.
        if self.is_in(node, index) {
            self.forget(node, index);
            self.detail(Detail::Refusal, || format!("{:?} node {}: {room:?} was full", sim.now(), node.0));
        }
    }

    fn message(&mut self, sim: &mut Simulation, at: Instant, node: NodeIndex, message: &Message) {
        let Some(sent) = self.messages.get_mut(&message.id) else {
            sim.add_violation(node, format!("{:?} was delivered and never sent", message.id));
            return;
        };
        if !sent.received.insert(node) {
            self.message_figures.duplicates += 1;
            return;
        }
        self.message_ms.add(millis(at.since(sent.at)));
        let (author, room, place, directed) = (sent.author, sent.room, sent.place, sent.directed);
        let mut wrong = Vec::new();
        if message.from != sim.peer_id(author) || message.room != self.rooms[room.0 as usize].id {
            wrong.push("has another author or room than it was sent by or to");
        }
        if sent.digest != sha256(&[&message.payload]) || message.directed != directed {
            wrong.push("has another content than was sent");
        }
        if directed && !sent.owed.contains(&node) {
            wrong.push("is not for this node");
        }
        if !self.memberships.contains_key(&(node, room)) && !self.departed.contains_key(&node) {
            wrong.push("came outside of a membership");
        }
        let last = self.places_received.insert((node, author, room, directed), place);
        if last.is_some_and(|last| last >= place) {
            wrong.push("came after a later one of its stream");
        }
        for text in wrong {
            sim.add_violation(node, format!("{:?} of node {} {text}", message.id, author.0));
        }
    }

    fn find_finished(&mut self, sim: &mut Simulation, finder: NodeIndex, report: &FindReport) {
        let Some(find) = self.finds.remove(&(finder, report.request)) else {
            if !self.is_departed(finder) {
                sim.add_violation(finder, format!("{:?} ended and was not open", report.request));
            }
            return;
        };
        let reachable = self.reachable_members(sim, finder, find.room);
        if !find.reachable.iter().any(|member| reachable.contains(member)) {
            return;
        }
        self.find_figures.eligible += 1;
        let alive = |peer: &PeerId| {
            self.peers
                .get(peer)
                .is_some_and(|&node| sim.condition(node) == Condition::Up && self.has_joined(node, find.room))
        };
        if !report.members.iter().any(alive) {
            let known = report.members.len();
            self.detail(Detail::Find, || {
                format!(
                    "{:?} node {}: a find of room {} failed after {} attempts and {:?}; {known} members named, route {:?}",
                    sim.now(),
                    finder.0,
                    find.room.0,
                    report.attempts,
                    report.elapsed,
                    report.route.iter().map(|hop| hop.peer).collect::<Vec<_>>()
                )
            });
            return;
        }
        self.find_figures.succeeded += 1;
        self.find_figures.succeeded_at_once += u64::from(report.attempts == 1);
        let hops = service_hops(&report.route) as f64;
        self.hops.add(hops);
        self.find_ms.add(millis(report.elapsed));
        let last = report.route.last().and_then(|hop| self.peers.get(&hop.peer)).copied();
        if last.is_some() && last == root(sim, &self.room_id(find.room)) {
            self.hops_root.add(hops);
        }
    }

    // The end.

    /// Checks what must have come by now.
    pub fn check_deadlines(&mut self, sim: &mut Simulation) {
        let bound = sim.config().client.rooms.join_timeout.max(sim.config().service.rooms.join_timeout);
        for ((node, room), membership) in &self.memberships {
            if membership.joined.is_none() && sim.now().since(membership.asked) > bound {
                sim.add_violation(*node, format!("the join of room {} was never answered", room.0));
            }
        }
        for ((node, request), find) in &self.finds {
            if sim.now().since(find.at) > FIND_MAX {
                sim.add_violation(*node, format!("{request:?} did not end"));
            }
        }
    }

    /// Rooms in which some two live joined members do not see each other.
    pub fn rooms_split(&mut self, sim: &Simulation) -> usize {
        let mut split = 0;
        for index in 0..self.rooms.len() {
            let room = RoomIndex(index as u32);
            let views: Vec<(NodeIndex, Vec<PeerId>)> = self.rooms[index]
                .members
                .iter()
                .filter(|&&node| sim.condition(node) == Condition::Up && self.has_joined(node, room))
                .map(|&node| {
                    (node, sim.node(node).and_then(|n| n.members(self.rooms[index].id)).unwrap_or_default())
                })
                .collect();
            let sees = |(_, members): &(NodeIndex, Vec<PeerId>), other: NodeIndex| {
                members.contains(&sim.peer_id(other))
            };
            let apart = views.iter().enumerate().find_map(|(at, one)| {
                let other =
                    views[at + 1..].iter().find(|other| !sees(one, other.0) || !sees(other, one.0))?;
                Some((one.0, other.0))
            });
            if let Some((one, other)) = apart {
                split += 1;
                let links = |node| {
                    let count = sim.node(node).map_or(0, |running: &Node| running.links().len());
                    let rooms = self.rooms_of(node);
                    let fellows: BTreeSet<NodeIndex> = rooms
                        .iter()
                        .flat_map(|room| self.rooms[room.0 as usize].members.iter().copied())
                        .collect();
                    format!(
                        "node {} ({count} links, {} fellow members in {} rooms)",
                        node.0,
                        fellows.len() - 1,
                        rooms.len()
                    )
                };
                let text = format!("{} and {} do not see each other", links(one), links(other));
                self.detail(Detail::Room, || format!("room {index} of {} is split: {text}", views.len()));
            }
        }
        split
    }

    /// Entries in live nodes' lists of members that stand for nodes gone for more than a minute.
    #[must_use]
    pub fn members_stale(&self, sim: &Simulation) -> usize {
        let gone = |peer: &PeerId| {
            let departed = self.peers.get(peer).and_then(|node| self.departed.get(node));
            departed.is_some_and(|&at| sim.now().since(at) > STALE_AFTER)
        };
        let lists =
            self.memberships.keys().filter_map(|&(node, room)| sim.node(node)?.members(self.room_id(room)));
        lists.map(|members| members.iter().filter(|peer| gone(peer)).count()).sum()
    }

    /// Figures on broadcasts.
    pub fn message_figures(&mut self, sim: &Simulation) -> MessageFigures {
        let mut figures = self.message_figures.clone();
        let mut missing = Vec::new();
        for sent in self.messages.values() {
            let author_left = self.departed.get(&sent.author).is_some_and(|&at| at < sent.at + AUTHOR_STAYS);
            if author_left {
                continue;
            }
            for &node in &sent.owed {
                let stayed = sim.condition(node) == Condition::Up
                    && self
                        .memberships
                        .get(&(node, sent.room))
                        .is_some_and(|membership| membership.joined.is_some_and(|joined| joined <= sent.at));
                if !stayed {
                    continue;
                }
                figures.expected += 1;
                if sent.received.contains(&node) {
                    figures.delivered += 1;
                } else {
                    missing.push((sent.at, sent.author, node, sent.room, sent.directed));
                }
            }
        }
        missing.sort_unstable();
        for (at, author, node, room, directed) in missing {
            let kind = if directed { "directed message" } else { "message" };
            self.detail(Detail::Message, || {
                format!(
                    "{at:?} a {kind} of node {} to node {} in room {} did not arrive",
                    author.0, node.0, room.0
                )
            });
        }
        figures.latency_ms_p50 = self.message_ms.percentile(50);
        figures.latency_ms_p99 = self.message_ms.percentile(99);
        figures
    }

    /// Figures on finds.
    #[must_use]
    pub fn find_figures(&self) -> FindFigures {
        FindFigures {
            hops_mean: self.hops.mean(),
            hops_p99: self.hops.percentile(99),
            hops_root_mean: self.hops_root.mean(),
            at_root: self.hops_root.len() as u64,
            latency_ms_p50: self.find_ms.percentile(50),
            latency_ms_p99: self.find_ms.percentile(99),
            latency_ms_mean: self.find_ms.mean(),
            ..self.find_figures.clone()
        }
    }

    /// Eligible finds so far, and how many of them succeeded.
    #[must_use]
    pub const fn finds_so_far(&self) -> (u64, u64) {
        (self.find_figures.eligible, self.find_figures.succeeded)
    }

    /// Joins so far, and the median and 99th percentile of the time to the answer, ms.
    #[must_use]
    pub fn join_figures(&self) -> (u64, Option<f64>, Option<f64>) {
        (self.joins, self.join_ms.percentile(50), self.join_ms.percentile(99))
    }

    /// What went wrong, in words: the first few of each kind.
    pub fn details(&self) -> impl Iterator<Item = &String> {
        self.details.values().flatten()
    }
}

/// Figures on the links of all running nodes.
#[must_use]
pub(crate) fn link_figures(sim: &Simulation) -> LinkFigures {
    let (mut overlay, mut served, mut client) = (Samples::default(), Samples::default(), Samples::default());
    for node in sim.nodes() {
        let Some(running) = sim.node(node) else { continue };
        let links = running.links();
        let to_service = links.iter().filter(|link| link.service).count();
        match sim.kind(node) {
            NodeKind::Service => {
                overlay.add(to_service as f64);
                served.add((links.len() - to_service) as f64);
            }
            NodeKind::Client => client.add(links.len() as f64),
        }
    }
    LinkFigures {
        service_mean: overlay.mean(),
        service_max: overlay.max() as usize,
        client_mean: client.mean(),
        client_max: client.max() as usize,
        served_mean: served.mean(),
        served_max: served.max() as usize,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// A payload that no other message has, of at least 16 bytes.
fn payload(author: NodeIndex, room: RoomIndex, place: u64, bytes: usize) -> bytes::Bytes {
    let mut content = Vec::with_capacity(bytes.max(16));
    content.extend_from_slice(&author.0.to_le_bytes());
    content.extend_from_slice(&room.0.to_le_bytes());
    content.extend_from_slice(&place.to_le_bytes());
    content.resize(bytes.max(16), 0x75);
    content.into()
}

/// Hops between service nodes on a route.
fn service_hops(route: &[Hop]) -> usize {
    route.windows(2).filter(|pair| pair.iter().all(|hop| hop.service)).count()
}

/// The running service node nearest to a room: its place is the id of its home room, whose key is its own.
fn root(sim: &Simulation, room: &RoomId) -> Option<NodeIndex> {
    let distance = |node: NodeIndex| {
        let mut place = RoomKey::room_id(&sim.peer_id(node).0).0;
        place.iter_mut().zip(room.0).for_each(|(byte, other)| *byte ^= other);
        place
    };
    let service =
        |node: &NodeIndex| sim.kind(*node) == NodeKind::Service && sim.condition(*node) == Condition::Up;
    sim.nodes().filter(service).min_by_key(|&node| distance(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hops_between_service_nodes_count() {
        let route = |kinds: &[bool]| {
            let hop = |&service| Hop { peer: PeerId::default(), rtt: Duration::ZERO, service };
            kinds.iter().map(hop).collect::<Vec<Hop>>()
        };
        let table: [(&[bool], usize); 5] = [
            (&[], 0),
            (&[false, true], 0),
            (&[false, true, true, true], 2),
            (&[true, true], 1),
            (&[false, true, true, false], 1),
        ];
        for (kinds, hops) in table {
            assert_eq!(service_hops(&route(kinds)), hops, "{kinds:?}");
        }
    }
}
