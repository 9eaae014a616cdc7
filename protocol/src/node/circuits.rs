//! Circuits: links carried by other links, hop by hop along a route, with credit at every hop.
//!
//! A relay never drops a frame: it grants its predecessor credit only for what it has handed to its successor's link, so
//! what it holds is bounded by the window. A circuit that breaks is reset on both sides and made anew by its ends.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{CloseReason, LinkReason};
use super::clock::Timer;
use super::dispatch::Fate;
use super::links::{Link, LinkCarrier, LinkState};
use super::metrics::Counter;
use crate::config::KeepAlive;
use crate::crypto::Role;
use crate::link::{Class, Outgoing, Secrecy, Sent, Session};
use crate::wire::message::{CircuitCredit, CircuitOpen, CircuitOpened, CircuitReset};
use crate::wire::{Bounded, CircuitData, Message};
use crate::{Instant, LinkId, MessageId, PeerId, RoomId};

/// A circuit's number on one link.
pub(super) type CircuitKey = (LinkId, u32);

/// One end of one hop of a circuit.
#[derive(Clone, Debug)]
pub(super) enum CircuitEnd {
    /// The circuit ends here, as this link.
    Endpoint {
        /// The link inside.
        link: LinkId,
        /// Bytes received and not yet granted again.
        owed: usize,
    },
    /// The circuit goes on.
    Relay(RelayEnd),
}

/// What a relay keeps of frames that come from this side.
#[derive(Clone, Debug)]
pub(super) struct RelayEnd {
    /// The other side.
    pub(super) other: CircuitKey,
    /// Frames that wait for credit of the other side.
    queue: VecDeque<Bytes>,
    /// Bytes that may be sent to the other side.
    credit: usize,
    /// Bytes that this side may still send.
    window: usize,
    /// Bytes handed to the other side's link and not yet granted again.
    owed: usize,
    /// Whether the other side's window is known: it is named once for each circuit.
    opened: bool,
    /// When a frame came from this side last, or the circuit was asked for.
    used: Instant,
    /// This side is closed; the other one follows when the queue is empty.
    pub(super) closing: Option<u8>,
}

/// What a token of a queued message stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendToken {
    /// A circuit frame of this cost that came from this side, and goes out over this link.
    Relayed { from: CircuitKey, via: LinkId, bytes: usize },
    /// A room message to a member.
    Room { room: RoomId, message: MessageId, to: PeerId, link: LinkId },
}

/// What queued messages stand for, by numbers that grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens {
    pub(super) waiting: BTreeMap<u64, SendToken>,
    last: u64,
    /// Cost of all frames that are held for circuits: those that wait for credit, and those in queues of links.
    pub(super) relayed: usize,
}

impl Tokens {
    /// A queued message has left, or is given up.
    pub(super) fn end(&mut self, token: u64) -> Option<SendToken> {
        let ended = self.waiting.remove(&token);
        if let Some(SendToken::Relayed { bytes, .. }) = ended {
            self.relayed = self.relayed.saturating_sub(bytes);
        }
        ended
    }
}

impl RelayEnd {
    /// What waits here for credit of the other side.
    pub(super) fn waiting(&self) -> usize {
        self.queue.iter().map(|frame| CircuitData::charge(frame.len())).sum()
    }

    /// Bytes that wait here, and those that may still come.
    pub(super) fn bytes(&self) -> usize {
        self.waiting().saturating_add(self.window).saturating_add(self.owed)
    }
}

impl Node {
    fn window(&self) -> u32 {
        u32::try_from(self.config.link.circuit_window_bytes).unwrap_or(u32::MAX)
    }

    /// Opens a circuit along `route` (the target last), shortened as far as this node is linked to later hops.
    pub(super) fn open_circuit(&mut self, route: &[PeerId], room: RoomId, now: Instant) -> Option<LinkId> {
        let target = *route.last()?;
        let full = self.links.len() >= self.config.link.links_max;
        if full || self.dialing.contains_key(&target) || self.peers.contains_key(&target) {
            return None;
        }
        let (via, rest) = self.furthest_linked(route)?;
        let number = self.mint_circuit(via)?;
        let id = self.mint_link();
        let mut link = Link::new(LinkCarrier::Circuit { via, number }, true, now);
        link.expected = Some(target);
        self.links.insert(id, Box::new(link));
        self.dialing.insert(target, id);
        self.circuits.insert((via, number), CircuitEnd::Endpoint { link: id, owed: 0 });
        self.timers.set(Timer::Circuit(id), now + self.config.link.circuit_timeout);
        let open = CircuitOpen { circuit: number, origin: self.me, route: rest, room, window: self.window() };
        self.send(via, &Message::CircuitOpen(open), now);
        Some(id)
    }

    /// The linked hop nearest to the end of a route, and the route after it. A link that stands for a reason of its own
    /// comes before one that the circuit alone would keep.
    fn furthest_linked(&self, route: &[PeerId]) -> Option<(LinkId, Bounded<PeerId, 16>)> {
        let furthest = |lasting: bool| {
            route.iter().enumerate().rev().find_map(|(index, peer)| {
                let id = self.peers.get(peer)?;
                let link = self.links.get(id).filter(|link| !link.is_circuit())?;
                let rest = route.iter().skip(index.saturating_add(1)).copied();
                (!lasting || self.is_lasting(link)).then(|| (*id, Bounded::truncated(rest)))
            })
        };
        furthest(true).or_else(|| furthest(false))
    }

    /// Whether the link to a peer stands for more than its first moments.
    pub(super) fn is_lasting_to(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).and_then(|id| self.links.get(id)).is_some_and(|link| self.is_lasting(link))
    }

    /// Whether a link stands for more than its first moments, at either end.
    fn is_lasting(&self, link: &Link) -> bool {
        let Some(peer) = link.peer.as_ref() else { return false };
        if !self.is_service() {
            return self.homes.contains(&peer.id);
        }
        let kept_there = !link.remote_reasons.without(LinkReason::SetUp).is_empty();
        !peer.service || kept_there || !self.lasting_reasons(link, peer).is_empty()
    }

    /// Reserves a number on a link; the opener of the link uses even ones.
    fn mint_circuit(&mut self, via: LinkId) -> Option<u32> {
        let link = self.links.get_mut(&via)?;
        let number = link.next_circuit;
        link.next_circuit = number.checked_add(2)?;
        self.add_circuit(via);
        Some(number)
    }

    pub(super) fn circuit_timeout(&mut self, id: LinkId, now: Instant) {
        self.fail_link(id, CloseReason::DialTimeout, now);
    }

    pub(super) fn handle_circuit_open(&mut self, id: LinkId, open: &CircuitOpen, now: Instant) -> Fate {
        let key = (id, open.circuit);
        let Some(link) = self.links.get(&id).filter(|link| !link.is_circuit()) else {
            return Err(Counter::CircuitViolations);
        };
        let parity = open.circuit % 2 == u32::from(link.outbound);
        if !parity || self.circuits.contains_key(&key) {
            self.refuse_circuit(key, CloseReason::Violation, now);
            return Err(Counter::CircuitViolations);
        }
        if open.route.is_empty() {
            self.accept_circuit(key, open, now);
        } else {
            self.relay_circuit(key, open, now);
        }
        Ok(())
    }

    fn refuse_circuit(&mut self, key: CircuitKey, reason: CloseReason, now: Instant) {
        self.metrics.count(Counter::CircuitsRefused);
        let reset = CircuitReset { circuit: key.1, reason: reason as u8 };
        self.send(key.0, &Message::CircuitReset(reset), now);
    }

    /// This node is the target.
    fn accept_circuit(&mut self, key: CircuitKey, open: &CircuitOpen, now: Instant) {
        let full = self.links.len() >= self.config.link.links_max;
        if self.farewell.is_some() || full || open.origin == self.me || !self.rooms.contains_key(&open.room) {
            return self.refuse_circuit(key, CloseReason::RelayRefused, now);
        }
        let id = self.mint_link();
        let mut link = Link::new(LinkCarrier::Circuit { via: key.0, number: key.1 }, false, now);
        let mut session = self.session(Role::Responder, Secrecy::Noise, Some(open.origin), link.carrier, now);
        session.grant((open.window as usize).min(self.config.link.circuit_window_bytes));
        // The opener's time for the handshake begins when it hears that the circuit is open, which may take as long as the
        // set-up may.
        session.allow_handshake(self.config.link.circuit_timeout);
        link.session = Some(session);
        link.state = LinkState::Handshaking;
        self.links.insert(id, Box::new(link));
        self.circuits.insert(key, CircuitEnd::Endpoint { link: id, owed: 0 });
        self.add_circuit(key.0);
        self.dirty.insert(id);
        let opened = CircuitOpened { circuit: key.1, window: self.window() };
        self.send(key.0, &Message::CircuitOpened(opened), now);
    }

    /// Whether a link carries as many circuits as one peer may have relayed: so no few peers take all there are.
    fn link_is_full(&self, via: LinkId) -> bool {
        let bounds = &self.config.link;
        self.links.get(&via).is_some_and(|link| {
            let of_service = (bounds.circuits_relayed_max / 4).max(1);
            let max = if link.is_service() { of_service } else { bounds.circuits_client_max };
            link.circuits >= max
        })
    }

    /// Ends relayed circuits that were not opened in time, or over which nothing has come for so long that both ends must
    /// have given them up: links inside ping each other.
    pub(super) fn sweep_circuits(&mut self, now: Instant) {
        let bounds = &self.config.link;
        let idle = bounds.silence_client.saturating_mul(2);
        let set_up = bounds.circuit_timeout.saturating_add(bounds.handshake_timeout);
        let silent = |key: &CircuitKey, limit| match self.circuits.get(key) {
            Some(CircuitEnd::Relay(end)) => now.since(end.used) >= limit,
            Some(CircuitEnd::Endpoint { .. }) | None => true,
        };
        let is_dead = |(key, end): (&CircuitKey, &CircuitEnd)| match end {
            CircuitEnd::Endpoint { .. } => None,
            // Without pings an idle circuit is as good as any.
            CircuitEnd::Relay(end) if end.opened && bounds.keepalive == KeepAlive::Transport => None,
            CircuitEnd::Relay(end) => {
                let limit = if end.opened { idle } else { set_up };
                (silent(key, limit) && (!end.opened || silent(&end.other, limit))).then_some(*key)
            }
        };
        let dead: Vec<CircuitKey> = self.circuits.iter().filter_map(is_dead).collect();
        for key in dead {
            self.break_circuit(key, CloseReason::RelayLost, now);
        }
    }

    fn add_circuit(&mut self, via: LinkId) {
        self.count_circuits(via, |circuits| circuits.saturating_add(1));
    }

    fn count_circuits(&mut self, via: LinkId, change: impl FnOnce(usize) -> usize) {
        let Some(link) = self.links.get_mut(&via) else { return };
        link.circuits = change(link.circuits);
        if let Some(peer) = link.peer.as_ref().filter(|peer| peer.service) {
            self.table.set_carries(peer.id, link.circuits > 0);
        }
    }

    /// This node is a hop on the way.
    fn relay_circuit(&mut self, key: CircuitKey, open: &CircuitOpen, now: Instant) {
        let relayed = self.circuits.values().filter(|end| matches!(end, CircuitEnd::Relay(_))).count() / 2;
        let full = relayed >= self.config.link.circuits_relayed_max || self.link_is_full(key.0);
        // A client names itself; further relays rely on the first one.
        let forged = self.links.get(&key.0).is_some_and(|link| !link.is_service())
            && self.open_peer(key.0) != Some(open.origin);
        // A client relays for fellow members alone.
        let stranger = !self.is_service() && !self.is_fellow(open.origin);
        if stranger || full || forged || self.farewell.is_some() {
            return self.refuse_circuit(key, CloseReason::RelayRefused, now);
        }
        let onward = self.furthest_linked(&open.route);
        let onward = onward.filter(|(via, _)| *via != key.0 && !self.link_is_full(*via));
        let onward = onward.filter(|(via, _)| {
            self.is_service() || self.open_peer(*via).is_some_and(|peer| self.is_fellow(peer))
        });
        let Some((via, rest)) = onward else {
            return self.refuse_circuit(key, CloseReason::RelayRefused, now);
        };
        let Some(number) = self.mint_circuit(via) else {
            return self.refuse_circuit(key, CloseReason::RelayRefused, now);
        };
        let other = (via, number);
        let window = self.config.link.circuit_window_bytes;
        let end = |other: CircuitKey, credit: usize, window: usize, opened: bool| {
            CircuitEnd::Relay(RelayEnd {
                other,
                queue: VecDeque::new(),
                credit,
                window,
                owed: 0,
                opened,
                used: now,
                closing: None,
            })
        };
        // What comes from the opener waits for the target's window; what comes from the target goes on at once.
        self.circuits.insert(key, end(other, 0, 0, false));
        self.circuits.insert(other, end(key, open.window as usize, window, true));
        self.add_circuit(key.0);
        self.metrics.count(Counter::CircuitsRelayed);
        let onward = CircuitOpen {
            circuit: number,
            origin: open.origin,
            route: rest,
            room: open.room,
            window: self.window(),
        };
        self.send(via, &Message::CircuitOpen(onward), now);
    }

    pub(super) fn handle_circuit_opened(&mut self, id: LinkId, opened: &CircuitOpened, now: Instant) -> Fate {
        let key = (id, opened.circuit);
        let other = match self.circuits.get(&key) {
            Some(CircuitEnd::Endpoint { link, .. }) => {
                let link = *link;
                if self.links.get(&link).is_none_or(|link| link.state != LinkState::Dialing) {
                    return Err(Counter::CircuitViolations);
                }
                self.metrics.count(Counter::CircuitsOpened);
                self.link_connected(link, now);
                self.circuit_writable(link, opened.window);
                return Ok(());
            }
            Some(CircuitEnd::Relay(end)) => end.other,
            None => return Err(Counter::CircuitViolations),
        };
        let window = self.config.link.circuit_window_bytes;
        match self.circuits.get_mut(&other) {
            Some(CircuitEnd::Relay(end)) if !end.opened => {
                end.opened = true;
                end.credit = opened.window as usize;
                end.window = window;
            }
            // A second one, or one by the opener itself, would let more be queued here than the window.
            Some(CircuitEnd::Relay(_) | CircuitEnd::Endpoint { .. }) | None => {
                self.break_circuit(key, CloseReason::Violation, now);
                return Err(Counter::CircuitViolations);
            }
        }
        let opened = CircuitOpened { circuit: other.1, window: self.window() };
        self.send(other.0, &Message::CircuitOpened(opened), now);
        Ok(())
    }

    /// Credit for this node's end of a circuit. What is granted beyond the usual window is not used: it would move what
    /// waits here, and is accounted for, into the queue of the link below.
    fn circuit_writable(&mut self, link: LinkId, bytes: u32) {
        let window = self.config.link.circuit_window_bytes;
        let credit = self.links.get(&link).and_then(|link| link.session.as_ref()).map_or(0, Session::credit);
        self.link_writable(link, (bytes as usize).min(window.saturating_sub(credit)));
    }

    pub(super) fn handle_circuit_data(&mut self, id: LinkId, data: CircuitData, now: Instant) -> Fate {
        let key = (id, data.circuit);
        let bytes = CircuitData::charge(data.frame.len());
        match self.circuits.get_mut(&key) {
            None => return Err(Counter::CircuitsLate),
            Some(CircuitEnd::Endpoint { link, owed }) => {
                let link = *link;
                *owed = owed.saturating_add(bytes);
                self.link_frame(link, data.frame, now);
                self.grant_owed(key, now);
            }
            Some(CircuitEnd::Relay(end)) => {
                if data.frame.is_empty() || bytes > end.window || end.closing.is_some() {
                    self.break_circuit(key, CloseReason::Violation, now);
                    return Err(Counter::CircuitViolations);
                }
                end.window = end.window.saturating_sub(bytes);
                self.metrics.add(Counter::CircuitBytesRelayed, data.frame.len() as u64);
                end.queue.push_back(data.frame);
                end.used = now;
                self.tokens.relayed = self.tokens.relayed.saturating_add(bytes);
                self.pump_relay(key, now);
                self.bound_relayed(now);
            }
        }
        Ok(())
    }

    /// Hands waiting frames to the other side as far as its credit goes.
    fn pump_relay(&mut self, key: CircuitKey, now: Instant) {
        loop {
            let Some(CircuitEnd::Relay(end)) = self.circuits.get_mut(&key) else { return };
            let other = end.other;
            let cost = end.queue.front().map(|frame| CircuitData::charge(frame.len()));
            let Some(bytes) = cost.filter(|bytes| *bytes <= end.credit) else { break };
            let Some(frame) = end.queue.pop_front() else { break };
            self.tokens.relayed = self.tokens.relayed.saturating_sub(bytes);
            end.credit = end.credit.saturating_sub(bytes);
            let token = self.mint_token(SendToken::Relayed { from: key, via: other.0, bytes });
            let head = CircuitData { circuit: other.1, frame }.encode();
            let outgoing = Outgoing { head, body: Bytes::new(), token: Some(token) };
            if !self.queue(other.0, Class::Relay, outgoing, now) {
                self.tokens.end(token);
                return self.break_circuit(key, CloseReason::RelayLost, now);
            }
        }
        let Some(CircuitEnd::Relay(end)) = self.circuits.get(&key) else { return };
        if let (Some(reason), true) = (end.closing, end.queue.is_empty()) {
            let other = end.other;
            self.remove_circuit(key);
            self.remove_circuit(other);
            self.send_reset(other, reason, now);
        }
    }

    /// Two ends that do not read, over many circuits one after the other, must not fill a relay. What is held for all
    /// circuits has a bound; beyond it a link goes whose queue is long, or else the circuit for which most waits.
    fn bound_relayed(&mut self, now: Instant) {
        while self.tokens.relayed > self.config.link.relay_bytes_max {
            let queued =
                |link: &Link| link.session.as_ref().map_or(0, |session| session.queued_bytes(Class::Relay));
            let slowest = self.links.iter().map(|(id, link)| (queued(link), *id)).max();
            let waiting = |end: &CircuitEnd| match end {
                CircuitEnd::Relay(end) => end.waiting(),
                CircuitEnd::Endpoint { .. } => 0,
            };
            let fullest = self.circuits.iter().map(|(key, end)| (waiting(end), *key)).max();
            self.metrics.count(Counter::RelayOverloads);
            match (slowest, fullest) {
                (Some((queued, id)), _)
                    if queued >= self.config.link.circuit_window_bytes.saturating_mul(4) =>
                {
                    self.fail_link(id, CloseReason::SlowReader, now);
                }
                (_, Some((waiting, key))) if waiting > 0 => {
                    self.break_circuit(key, CloseReason::SlowReader, now)
                }
                (Some((queued, id)), _) if queued > 0 => self.fail_link(id, CloseReason::SlowReader, now),
                _ => return,
            }
        }
    }

    /// A frame of this node's own end of a circuit.
    pub(super) fn circuit_send(&mut self, via: LinkId, number: u32, frame: Bytes, now: Instant) {
        let head = CircuitData { circuit: number, frame }.encode();
        self.queue(via, Class::Relay, Outgoing { head, body: Bytes::new(), token: None }, now);
    }

    pub(super) fn grant_owed(&mut self, key: CircuitKey, now: Instant) {
        let quarter = self.config.link.circuit_window_bytes / 4;
        let mut allowed = usize::MAX;
        if let Some(CircuitEnd::Relay(end)) = self.circuits.get(&key)
            && end.owed >= quarter
        {
            match self.relay_allowance(key.0, end.owed, now) {
                Ok(bytes) => allowed = bytes,
                Err(at) => return self.timers.set_earlier(Timer::Relay(key.0), at),
            }
        }
        let granted = match self.circuits.get_mut(&key) {
            Some(CircuitEnd::Endpoint { owed, .. }) if *owed >= quarter => core::mem::take(owed),
            Some(CircuitEnd::Relay(end)) if end.owed >= quarter => {
                let granted = end.owed.min(allowed);
                end.owed = end.owed.saturating_sub(granted);
                end.window = end.window.saturating_add(granted);
                granted
            }
            _ => return,
        };
        let bytes = u32::try_from(granted).unwrap_or(u32::MAX);
        self.send(key.0, &Message::CircuitCredit(CircuitCredit { circuit: key.1, bytes }), now);
        if granted == allowed {
            // More may be owed than a rate lets through at once.
            self.grant_owed(key, now);
        }
    }

    pub(super) fn handle_circuit_credit(&mut self, id: LinkId, credit: &CircuitCredit, now: Instant) -> Fate {
        let other = match self.circuits.get(&(id, credit.circuit)) {
            Some(CircuitEnd::Endpoint { link, .. }) => {
                let link = *link;
                self.circuit_writable(link, credit.bytes);
                return Ok(());
            }
            Some(CircuitEnd::Relay(end)) => end.other,
            None => return Err(Counter::CircuitsLate),
        };
        if let Some(CircuitEnd::Relay(end)) = self.circuits.get_mut(&other) {
            end.credit = end.credit.saturating_add(credit.bytes as usize);
        }
        self.pump_relay(other, now);
        Ok(())
    }

    pub(super) fn handle_circuit_reset(&mut self, id: LinkId, reset: &CircuitReset, now: Instant) -> Fate {
        let key = (id, reset.circuit);
        match self.circuits.get_mut(&key) {
            None => return Err(Counter::CircuitsLate),
            Some(CircuitEnd::Endpoint { link, .. }) => {
                let link = *link;
                self.remove_circuit(key);
                self.forget_link(link, CloseReason::from_wire(reset.reason), now);
            }
            Some(CircuitEnd::Relay(end)) => {
                end.closing = Some(reset.reason);
                self.metrics.count(Counter::CircuitsReset);
                self.pump_relay(key, now);
            }
        }
        Ok(())
    }

    /// Ends a circuit of this node's own.
    pub(super) fn reset_circuit(&mut self, via: LinkId, number: u32, reason: CloseReason, now: Instant) {
        if self.circuits.contains_key(&(via, number)) {
            self.remove_circuit((via, number));
            self.send_reset((via, number), reason as u8, now);
        }
    }

    fn send_reset(&mut self, key: CircuitKey, reason: u8, now: Instant) {
        // In the class of the data, so that it does not overtake them.
        let bytes = Message::CircuitReset(CircuitReset { circuit: key.1, reason }).encode();
        self.send_bytes(key.0, Class::Relay, bytes, now);
    }

    /// Ends a relayed circuit on both sides at once.
    fn break_circuit(&mut self, key: CircuitKey, reason: CloseReason, now: Instant) {
        let Some(CircuitEnd::Relay(end)) = self.circuits.get(&key) else { return };
        let other = end.other;
        for side in [key, other] {
            self.remove_circuit(side);
            self.send_reset(side, reason as u8, now);
        }
        self.metrics.count(Counter::CircuitsReset);
    }

    fn remove_circuit(&mut self, key: CircuitKey) {
        if let Some(end) = self.circuits.remove(&key) {
            if let CircuitEnd::Relay(end) = end {
                self.tokens.relayed = self.tokens.relayed.saturating_sub(end.waiting());
            }
            self.count_circuits(key.0, |circuits| circuits.saturating_sub(1));
        }
    }

    /// A link is gone: circuits over it break, and the circuit that it was is forgotten.
    pub(super) fn forget_circuits(&mut self, gone: LinkId, now: Instant) {
        let over: Vec<(CircuitKey, CircuitEnd)> =
            self.circuits.range((gone, 0)..=(gone, u32::MAX)).map(|(key, end)| (*key, end.clone())).collect();
        for (key, end) in over {
            if let Some(CircuitEnd::Relay(end)) = self.circuits.get_mut(&key)
                && !end.queue.is_empty()
                && self.links.contains_key(&end.other.0)
            {
                // What came before the end is still owed to the other side: it goes as its credit comes, or with its link.
                end.closing.get_or_insert(CloseReason::RelayLost as u8);
                continue;
            }
            self.remove_circuit(key);
            match end {
                CircuitEnd::Endpoint { link, .. } => self.forget_link(link, CloseReason::RelayLost, now),
                CircuitEnd::Relay(end) => {
                    self.remove_circuit(end.other);
                    self.send_reset(end.other, CloseReason::RelayLost as u8, now);
                    self.metrics.count(Counter::CircuitsReset);
                }
            }
        }
        let own = self.circuits.iter().find_map(|(key, end)| match end {
            CircuitEnd::Endpoint { link, .. } if *link == gone => Some(*key),
            CircuitEnd::Endpoint { .. } | CircuitEnd::Relay(_) => None,
        });
        if let Some(key) = own {
            self.remove_circuit(key);
        }
    }

    pub(super) fn mint_token(&mut self, token: SendToken) -> u64 {
        self.tokens.last = self.tokens.last.saturating_add(1);
        if let SendToken::Relayed { bytes, .. } = token {
            self.tokens.relayed = self.tokens.relayed.saturating_add(bytes);
        }
        self.tokens.waiting.insert(self.tokens.last, token);
        self.tokens.last
    }

    /// Part of a queued message was handed over.
    pub(super) fn handle_sent(&mut self, _id: LinkId, sent: Sent, now: Instant) {
        let done = sent.sent >= sent.total;
        let token =
            if done { self.tokens.end(sent.token) } else { self.tokens.waiting.get(&sent.token).copied() };
        match token {
            Some(SendToken::Relayed { from, bytes, .. }) if done => {
                if let Some(CircuitEnd::Relay(end)) = self.circuits.get_mut(&from) {
                    end.owed = end.owed.saturating_add(bytes);
                }
                self.grant_owed(from, now);
            }
            Some(SendToken::Room { room, message, to, .. }) => {
                self.room_message_sent(room, message, to, sent, now)
            }
            Some(SendToken::Relayed { .. }) | None => {}
        }
    }

    /// A peer does not read: its session dropped queued data.
    pub(super) fn data_dropped(&mut self, tokens: &[u64], now: Instant) {
        self.metrics.count(Counter::QueueOverflows);
        for token in tokens {
            match self.tokens.end(*token) {
                // A relay never drops a frame: the circuit breaks instead.
                Some(SendToken::Relayed { from, .. }) => {
                    self.break_circuit(from, CloseReason::SlowReader, now)
                }
                Some(SendToken::Room { room, message, .. }) => self.room_message_dropped(room, message, now),
                None => {}
            }
        }
    }

    /// A link is gone with what was queued on it.
    pub(super) fn sends_lost(&mut self, gone: LinkId, now: Instant) {
        let lost: Vec<(u64, SendToken)> = self
            .tokens
            .waiting
            .iter()
            .filter(|(_, token)| match token {
                SendToken::Relayed { via, .. } => *via == gone,
                SendToken::Room { link, .. } => *link == gone,
            })
            .map(|(id, token)| (*id, *token))
            .collect();
        for (id, token) in lost {
            self.tokens.end(id);
            if let SendToken::Room { room, message, .. } = token {
                self.room_message_dropped(room, message, now);
            }
        }
    }
}
