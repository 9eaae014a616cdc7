//! The oracle: it knows what is true in a simulation, and judges what the nodes say by it.
//!
//! The truth comes from two sources only: what applications asked and were told, and which nodes run. What a node
//! believes is read through its views, and counts as belief.
//!
//! It is incremental: what an event may have changed is looked at with that event, and nothing ever looks at all nodes
//! times all rooms. What is judged is forgotten, so its memory is bounded in runs of any length.
//!
//! | What | How it is judged |
//! |---|---|
//! | finds | *eligible* if some member of the room was alive and reachable at the start and at the end; a *success* names a live member |
//! | rooms | *split* from the moment that two live members have joined and one does not list the other, until all list all |
//! | messages | owed to the members that the author saw, if they stay; judged after 150 s |
//! | links | counted as applications hear of them, and compared with the hard budget each time |
//! | routing | greedy walks over ready links from random service nodes towards random keys must end at the nearest one |

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use unamed_protocol::crypto::sha256;
use unamed_protocol::{
    Event, FindReport, Instant, JoinOutcome, Message, MessageId, Node, NodeKind, PeerId, RequestId, RoomId,
    RoomKey,
};

use crate::recording::{Gauges, Recording};
use crate::report::{FaultFindFigures, FindFigures, PairFigures, Samples, share};
use crate::world::{Condition, NodeEvent, NodeIndex, Simulation};

mod finds;
mod links;
mod messages;
mod ring;

use links::Links;
pub(crate) use links::link_figures;
use messages::Messages;
use ring::Ring;

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
    /// Those who asked to join, live, and did not leave.
    members: BTreeSet<NodeIndex>,
    /// Those who ever asked to join.
    ever: BTreeSet<NodeIndex>,
    /// Since when it is split, if it is.
    split: Option<Instant>,
}

/// Two that enter the same empty room.
#[derive(Debug)]
struct Pair {
    first: Instant,
    met: bool,
}

#[derive(Debug)]
struct Membership {
    asked: Instant,
    joined: Option<Instant>,
    /// Whom the events say to be members.
    listed: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct OpenFind {
    room: RoomIndex,
    at: Instant,
    /// Members alive and reachable at the start.
    reachable: Vec<NodeIndex>,
    in_fault: bool,
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
    /// By node.
    ids: Vec<PeerId>,
    ring: Ring,
    rooms: Vec<Room>,
    room_ids: BTreeMap<RoomId, RoomIndex>,
    memberships: BTreeMap<(NodeIndex, RoomIndex), Membership>,
    departed: BTreeMap<NodeIndex, Instant>,
    splits: Samples,
    rooms_split: u64,
    /// Rooms that were split when a fault ended and have been since.
    unhealed: BTreeSet<RoomIndex>,
    /// When the latest of them was whole.
    healed_at: Option<Instant>,
    pairs: BTreeMap<RoomIndex, Pair>,
    pair_figures: PairFigures,
    meet_ms: Samples,
    messages: Messages,
    links: Links,
    finds: BTreeMap<(NodeIndex, RequestId), OpenFind>,
    find_figures: FindFigures,
    fault_find_figures: FaultFindFigures,
    /// When the latest fault ended or will end, while finds are counted apart.
    fault_ends: Option<Instant>,
    /// What begins before is counted apart.
    judged_from: Instant,
    claims_named: u64,
    claims_stale: u64,
    hops: Samples,
    hops_root: Samples,
    find_ms: Samples,
    walks: Walks,
    join_ms: Samples,
    joins: u64,
    details: BTreeMap<Detail, Vec<String>>,
    recording: Recording,
}

/// Greedy walks so far.
#[derive(Debug, Default)]
struct Walks {
    sampled: u64,
    right: u64,
    hops: u64,
}

impl Oracle {
    /// An oracle that knows all nodes of `sim` added so far.
    #[must_use]
    pub fn new(sim: &Simulation) -> Self {
        let mut oracle = Self::default();
        sim.nodes().for_each(|node| oracle.add_node(sim, node));
        oracle
    }

    /// What begins before is counted apart: finds with those in faults, messages not at all.
    pub const fn judge_from(&mut self, at: Instant) {
        self.judged_from = at;
    }

    /// Makes a node known that was added since. Nodes are made known in the order of adding.
    pub fn add_node(&mut self, sim: &Simulation, node: NodeIndex) {
        let peer = sim.peer_id(node);
        self.peers.insert(peer, node);
        self.ids.push(peer);
        self.ring.add(node, (sim.kind(node) == NodeKind::Service).then_some(peer));
        self.links.add(sim, node);
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
        sim.keep_secret(*key.secret());
        let index = RoomIndex(self.rooms.len() as u32);
        self.rooms.push(Room { id, key, members: BTreeSet::new(), ever: BTreeSet::new(), split: None });
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
                let room = &mut self.rooms[room.0 as usize];
                room.members.insert(node);
                room.ever.insert(node);
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
        self.forget(node, room, sim.now());
        if let Some(Err(error)) = sim.command(node, |running, now| running.leave(id, now)) {
            sim.add_violation(node, format!("leaving {id:?} was refused: {error}"));
        }
    }

    fn forget(&mut self, node: NodeIndex, room: RoomIndex, now: Instant) {
        self.memberships.remove(&(node, room));
        self.rooms[room.0 as usize].members.remove(&node);
        self.review(room, now);
    }

    /// Looks at a room again in which something changed: whether it is split.
    fn review(&mut self, room: RoomIndex, now: Instant) {
        let known = &self.rooms[room.0 as usize];
        let joined: Vec<(NodeIndex, &Membership)> = known
            .members
            .iter()
            .filter_map(|&node| Some((node, self.memberships.get(&(node, room))?)))
            .filter(|(_, membership)| membership.joined.is_some())
            .collect();
        let sees = |membership: &Membership, other: NodeIndex| {
            self.ids.get(other.0 as usize).is_some_and(|peer| membership.listed.contains(peer))
        };
        let whole = joined.iter().all(|(node, membership)| {
            joined.iter().all(|(other, _)| other == node || sees(membership, *other))
        });
        let together = whole && joined.len() >= 2;
        if together
            && let Some(pair) = self.pairs.get_mut(&room)
            && !pair.met
        {
            pair.met = true;
            self.meet_ms.add(millis(now.since(pair.first)));
        }
        match (whole, known.split) {
            (false, None) => {
                self.rooms[room.0 as usize].split = Some(now);
                self.rooms_split += 1;
            }
            (true, Some(since)) => {
                self.rooms[room.0 as usize].split = None;
                self.rooms_split -= 1;
                self.splits.add(now.since(since).as_secs_f64());
                if self.unhealed.remove(&room) {
                    self.healed_at = Some(now);
                }
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Rooms that are split.
    #[must_use]
    pub const fn rooms_split_now(&self) -> u64 {
        self.rooms_split
    }

    /// Times that a room was split, with their durations in seconds; those that are still, until `now`.
    pub(crate) fn split_figures(&self, now: Instant) -> Samples {
        let open = self.rooms.iter().filter_map(|room| room.split);
        self.splits.with(open.map(|since| now.since(since).as_secs_f64()))
    }

    // Faults.

    /// A fault begins that ends at `ends`: finds that begin from here on are counted apart.
    pub fn fault_begins(&mut self, ends: Instant) {
        self.fault_ends = Some(self.fault_ends.map_or(ends, |other| other.max(ends)));
    }

    /// A fault has ended: the rooms that are split are followed until they are whole. Gives how many there are.
    pub fn fault_ended(&mut self) -> u64 {
        let split = self.rooms.iter().enumerate().filter(|(_, room)| room.split.is_some());
        self.unhealed = split.map(|(index, _)| RoomIndex(index as u32)).collect();
        self.healed_at = None;
        self.unhealed.len() as u64
    }

    /// The time to recover from a fault that ended at `ended` is over: finds count again. Gives the rooms that are split.
    pub fn fault_recovered(&mut self, ended: Instant) -> u64 {
        if self.fault_ends == Some(ended) {
            self.fault_ends = None;
        }
        self.rooms_split
    }

    /// When the last of the rooms that were split at the end of the latest fault was whole; `None` if one never was, and
    /// `ended` if none was split.
    #[must_use]
    pub fn whole_at(&self, ended: Instant) -> Option<Instant> {
        self.unhealed.is_empty().then_some(self.healed_at.unwrap_or(ended))
    }

    // Pairs.

    /// The first of a pair enters a room of their own.
    pub fn pair_begins(&mut self, room: RoomIndex, now: Instant) {
        self.pairs.insert(room, Pair { first: now, met: false });
    }

    /// A pair is judged, if both are in the room still.
    pub fn pair_ends(&mut self, room: RoomIndex) {
        let Some(pair) = self.pairs.remove(&room) else { return };
        if pair.met || self.rooms[room.0 as usize].members.len() == 2 {
            self.pair_figures.started += 1;
            self.pair_figures.met += u64::from(pair.met);
        }
    }

    /// Figures on pairs.
    #[must_use]
    pub fn pair_figures(&self) -> PairFigures {
        PairFigures {
            meet_ms_p50: self.meet_ms.percentile(50),
            meet_ms_p99: self.meet_ms.percentile(99),
            meet_ms_max: self.meet_ms.largest(),
            met_rate: share(self.pair_figures.met, self.pair_figures.started),
            ..self.pair_figures.clone()
        }
    }

    /// A node was told to shut down, or crashed.
    pub fn departs(&mut self, node: NodeIndex, now: Instant) {
        self.departed.insert(node, now);
        self.ring.remove(node);
        self.links.departs(node);
        self.messages.departs(node);
        let range = (node, RoomIndex(0))..=(node, RoomIndex(u32::MAX));
        let rooms: Vec<RoomIndex> = self.memberships.range(range).map(|(&(_, room), _)| room).collect();
        for room in rooms {
            self.forget(node, room, now);
        }
        self.finds.retain(|(finder, _), _| *finder != node);
    }

    /// A node was started, for the first time or again. Its memberships are those that it is told to join from here on.
    pub fn starts(&mut self, node: NodeIndex) {
        self.departed.remove(&node);
        self.ring.started(node);
        self.links.started(node);
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

    // What applications are told.

    /// Takes note of an event.
    pub fn observe(&mut self, sim: &mut Simulation, told: &NodeEvent) {
        let NodeEvent { at, node, event } = told;
        match event {
            Event::RoomJoined { room, outcome } => self.room_joined(sim, *at, *node, *room, outcome),
            Event::RoomLeft { room, .. } => self.room_left(sim, *node, *room),
            Event::LinkOpened { peer, .. } => {
                let service = self.is_service(sim, *peer);
                self.links.opened(*node, service);
            }
            Event::LinkClosed { peer, .. } => {
                let service = self.is_service(sim, *peer);
                self.links.closed(*node, service);
            }
            Event::Ready => self.ring.ready(*node),
            Event::MemberJoined { room, peer, .. } => {
                self.check_member(sim, *node, *room, *peer);
                let listed =
                    self.joined_membership(*node, *room).map(|membership| membership.listed.insert(*peer));
                if listed != Some(true) && !self.is_departed(*node) {
                    let why = if listed.is_some() { "who was there" } else { "without having joined" };
                    sim.add_violation(*node, format!("told that {peer:?} joined {room:?}, {why}"));
                }
                self.review_id(*room, *at);
            }
            Event::MemberLeft { room, peer, .. } => {
                let listed =
                    self.joined_membership(*node, *room).map(|membership| membership.listed.remove(peer));
                if listed != Some(true) && !self.is_departed(*node) {
                    let why = if listed.is_some() { "who was not there" } else { "without having joined" };
                    sim.add_violation(*node, format!("told that {peer:?} left {room:?}, {why}"));
                }
                self.review_id(*room, *at);
            }
            Event::Message(message) => self.message(sim, *at, *node, message),
            Event::FindFinished(report) => self.find_finished(sim, *node, report),
            Event::IdentityInUse { told_by } => {
                // Whoever is none of the nodes may say anything.
                if told_by.is_none_or(|peer| self.peers.contains_key(&peer)) {
                    sim.add_violation(*node, "told that its identity is in use");
                }
            }
            Event::MessagesLost { room, from, count } => {
                self.detail(Detail::Message, || {
                    format!("{at:?} node {}: {count} messages of {from:?} in {room:?} are lost", node.0)
                });
            }
            Event::MemberChanged { .. }
            | Event::MessageProgress { .. }
            | Event::SendProgress { .. }
            | Event::RoomWritable { .. }
            | Event::RoomMerged { .. }
            | Event::PrimaryChanged { .. }
            | Event::LinkFailed { .. }
            | Event::NewServiceAddress { .. }
            | Event::Online(_)
            | Event::SaveFailed
            | Event::ShutDown => {}
        }
    }

    /// Who is told to be a member has asked to join at some time.
    fn check_member(&self, sim: &mut Simulation, node: NodeIndex, room: RoomId, peer: PeerId) {
        let Some(room) = self.room_ids.get(&room) else { return };
        let ever = &self.rooms[room.0 as usize].ever;
        if !self.peers.get(&peer).is_some_and(|member| ever.contains(member)) {
            sim.add_violation(node, format!("told that {peer:?} is a member, who never asked to join"));
        }
    }

    /// Nobody who keeps to the protocol bans another who does. `honest` tells who does.
    pub fn check_bans(&self, sim: &mut Simulation, honest: impl Fn(NodeIndex) -> bool) {
        for node in sim.nodes().filter(|&node| honest(node)) {
            let banned = sim.node(node).map(|running| running.banned(sim.now())).unwrap_or_default();
            for peer in banned {
                if self.peers.get(&peer).is_some_and(|&other| honest(other)) {
                    sim.add_violation(node, format!("banned {peer:?}, which did nothing"));
                }
            }
        }
    }

    fn review_id(&mut self, room: RoomId, now: Instant) {
        if let Some(&room) = self.room_ids.get(&room) {
            self.review(room, now);
        }
    }

    fn is_service(&self, sim: &Simulation, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|&node| sim.kind(node) == NodeKind::Service)
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
        let took = at.since(membership.asked);
        if let JoinOutcome::Joined { members } = outcome {
            membership.listed.extend(members);
            members.iter().for_each(|&member| self.check_member(sim, node, room, member));
        }
        self.join_ms.add(millis(took));
        let bound = sim.config().client.rooms.join_timeout.max(sim.config().service.rooms.join_timeout);
        if took > bound {
            sim.add_violation(node, format!("the join of {room:?} was answered after {took:?}"));
        }
        self.review_id(room, at);
    }

    fn room_left(&mut self, sim: &mut Simulation, node: NodeIndex, room: RoomId) {
        let Some(&index) = self.room_ids.get(&room) else { return };
        // A leave that was asked for is forgotten already; what comes unasked is a refusal by a full room.
        if self.is_in(node, index) {
            self.forget(node, index, sim.now());
            self.detail(Detail::Refusal, || format!("{:?} node {}: {room:?} was full", sim.now(), node.0));
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

    /// The links of all nodes so far: mean of running service nodes and clients, the most of one at any time, and how often
    /// a hard budget was exceeded.
    pub(crate) const fn budgets(&self) -> (u32, u32, u64) {
        (self.links.service().peak, self.links.client().peak, self.links.exceeded())
    }

    /// The most links of the first node at a time: to service nodes, to clients.
    pub(crate) const fn first_node_links(&self) -> (u32, u32) {
        self.links.first()
    }

    /// Running nodes, and mean links that the budget counts: of service nodes and of clients.
    pub(crate) fn gauges(&self) -> Gauges {
        let (service, client) = (self.links.service(), self.links.client());
        Gauges {
            live_service: service.nodes,
            live_clients: client.nodes,
            links_service_mean: service.mean(),
            links_client_mean: client.mean(),
            rooms_split: self.rooms_split,
            ..Gauges::default()
        }
    }

    /// What plots are made from.
    pub(crate) const fn recording(&mut self) -> &mut Recording {
        &mut self.recording
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

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
