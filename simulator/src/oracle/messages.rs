//! Messages owed, delivered and duplicated.

use super::*;
use crate::report::MessageFigures;
use crate::taint::Tagged;

/// A message of an author that is gone sooner than this after sending is not owed to anyone.
const AUTHOR_STAYS: Duration = Duration::from_secs(10);

/// How long after sending a message is judged and forgotten. Authors keep messages for repair for 120 s.
const JUDGED_AFTER: Duration = Duration::from_secs(150);

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

/// Messages that are not judged yet, and figures on those that are.
#[derive(Debug, Default)]
pub(super) struct Messages {
    open: BTreeMap<MessageId, Sent>,
    /// Those of `open`, in the order of sending.
    order: VecDeque<(Instant, MessageId)>,
    /// Last place sent and received, by author, room and recipient; no recipient stands for all.
    places_sent: BTreeMap<(NodeIndex, RoomIndex, Option<NodeIndex>), u64>,
    places_received: BTreeMap<(NodeIndex, NodeIndex, RoomIndex, bool), u64>,
    figures: MessageFigures,
    latency_ms: Samples,
}

impl Messages {
    /// What it sent is remembered, since a later run of it sends later ones.
    pub(super) fn departs(&mut self, node: NodeIndex) {
        let next = NodeIndex(node.0 + 1);
        let (lowest, from) = (NodeIndex(0), RoomIndex(0));
        drop(extract(&mut self.places_received, (node, lowest, from, false), (next, lowest, from, false)));
    }
}

/// Takes the entries in `from..until` out of a map.
fn extract<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, from: K, until: K) -> Vec<V> {
    let keys: Vec<K> = map.range(from..until).map(|(key, _)| key.clone()).collect();
    keys.iter().filter_map(|key| map.remove(key)).collect()
}

impl Oracle {
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
        let place = self.messages.places_sent.get(&(author, room, recipient)).map_or(0, |place| place + 1);
        let tagged =
            Tagged { author: author.0, room: room.0, place: u32::try_from(place).unwrap_or(u32::MAX) };
        let payload = tagged.payload(bytes);
        let digest = sha256(&[&payload]);
        let recipients = recipient.map_or(Recipients::All, |node| Recipients::Only(vec![sim.peer_id(node)]));
        match sim.command(author, |running, now| running.broadcast(id, payload, recipients, now)) {
            Some(Ok(message)) => {
                self.messages.places_sent.insert((author, room, recipient), place);
                self.messages.figures.sent += 1;
                let owed = seen
                    .iter()
                    .filter_map(|peer| self.peers.get(peer).copied())
                    .filter(|&node| recipient.is_none_or(|only| only == node) && self.has_joined(node, room))
                    .collect();
                let (at, directed, received) = (sim.now(), recipient.is_some(), BTreeSet::new());
                let sent = Sent { room, author, at, digest, directed, place, owed, received };
                self.messages.order.push_back((at, message));
                if self.messages.open.insert(message, sent).is_some() {
                    sim.add_violation(author, format!("{message:?} was given to two messages"));
                }
            }
            Some(Err(error)) => {
                self.messages.figures.refused += 1;
                self.detail(Detail::Refusal, || {
                    format!("{:?} node {}: a broadcast was refused: {error}", sim.now(), author.0)
                });
            }
            None => {}
        }
    }

    /// A message was delivered.
    pub(super) fn message(&mut self, sim: &mut Simulation, at: Instant, node: NodeIndex, message: &Message) {
        let messages = &mut self.messages;
        let Some(sent) = messages.open.get_mut(&message.id) else {
            if self.was_sent(message) {
                self.messages.figures.late += 1;
            } else {
                sim.add_violation(node, format!("{:?} was delivered and never sent", message.id));
            }
            return;
        };
        if !sent.received.insert(node) {
            messages.figures.duplicates += 1;
            return;
        }
        messages.latency_ms.add(millis(at.since(sent.at)));
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
        if !self.departed.contains_key(&node) {
            let last = messages.places_received.insert((node, author, room, directed), place);
            if last.is_some_and(|last| last >= place) {
                wrong.push("came after a later one of its stream");
            }
        }
        for text in wrong {
            sim.add_violation(node, format!("{:?} of node {} {text}", message.id, author.0));
        }
    }

    /// Whether a message that is forgotten can have been sent: its payload says by whom, to which room, and in which place.
    fn was_sent(&self, message: &Message) -> bool {
        Tagged::of(&message.payload).is_some_and(|tagged| {
            self.ids.get(tagged.author as usize) == Some(&message.from)
                && self.rooms.get(tagged.room as usize).is_some_and(|known| known.id == message.room)
        })
    }

    /// Looks at who read what since this was last called: the payloads of a room are for those that ever were in it.
    pub fn check_readings(&self, sim: &mut Simulation) {
        for (node, room) in sim.take_readings() {
            let Some(known) = self.rooms.get(room as usize) else { continue };
            if !known.ever.contains(&node) {
                sim.add_violation(node, format!("reads what was said in room {room}, in which it never was"));
            }
        }
    }

    /// Judges and forgets the messages that are old enough.
    pub fn judge_messages(&mut self, sim: &Simulation) {
        while let Some(&(at, id)) = self.messages.order.front()
            && at + JUDGED_AFTER <= sim.now()
        {
            self.messages.order.pop_front();
            self.judge(sim, id);
        }
    }

    fn judge(&mut self, sim: &Simulation, id: MessageId) {
        let Some(sent) = self.messages.open.remove(&id) else { return };
        if sent.at < self.judged_from {
            return;
        }
        if self.departed.get(&sent.author).is_some_and(|&at| at < sent.at + AUTHOR_STAYS) {
            return;
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
            self.messages.figures.expected += 1;
            if sent.received.contains(&node) {
                self.messages.figures.delivered += 1;
            } else {
                self.detail(Detail::Message, || {
                    format!(
                        "{:?} a {} of node {} to node {} in room {} did not arrive",
                        sent.at,
                        if sent.directed { "directed message" } else { "message" },
                        sent.author.0,
                        node.0,
                        sent.room.0
                    )
                });
            }
        }
    }

    /// Figures on broadcasts, with those that were not judged yet.
    pub fn message_figures(&mut self, sim: &Simulation) -> MessageFigures {
        for (_, id) in std::mem::take(&mut self.messages.order) {
            self.judge(sim, id);
        }
        let (figures, latency_ms) = (&self.messages.figures, &self.messages.latency_ms);
        MessageFigures {
            delivery_rate: share(figures.delivered, figures.expected),
            latency_ms_p50: latency_ms.percentile(50),
            latency_ms_p99: latency_ms.percentile(99),
            ..figures.clone()
        }
    }
}
