//! Links from dial or accept to close: admission, duplicates, contested identities, draining, reasons.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Node;
use super::api::{
    Carrier, CloseReason, DialError, Disconnect, Event, LinkLimit, LinkReason, LinkReasons, Origin, Output,
    Target,
};
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use crate::crypto::Role;
use crate::link::{Class, Outgoing, Peer, Secrecy, Sent, Session, SessionConfig, SessionEvent};
use crate::wire::message::Goodbye;
use crate::wire::{Bounded, CircuitData, MemberStatement, Message, Sequence};
use crate::{Address, AddressClass, Instant, LinkId, NodeKind, PeerId};

/// How often the time for a dial doubles, once for each time that it failed before.
const DIAL_DOUBLINGS: u32 = 2;

/// What carries a link, and what the carrier needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkCarrier {
    /// A socket of the driver.
    WebSocket,
    /// A WebRTC data channel of the driver.
    WebRtc,
    /// A circuit over the first link, under this number there.
    Circuit { via: LinkId, number: u32 },
}

/// Where a link stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// `Dial` was emitted, or a circuit is being opened.
    Dialing,
    /// Frames pass; the peer is not yet known.
    Handshaking,
    /// The peer is known, but another instance of it holds the older link named here, which is being probed.
    Contested(LinkId),
    /// In use.
    Open,
    /// Closing once everything queued is sent.
    Draining(CloseReason),
}

/// Why this node dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialFor {
    /// A configured address.
    Bootstrap,
    /// Leaf set, buckets, homes.
    Overlay,
    /// A member of a room.
    Room,
    /// A contact that got lost.
    Heal,
    /// To ask it on a walk; closed after the answer.
    Query,
    /// To measure a candidate of a bucket; kept only if it is quicker than what the bucket has.
    Trial,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: Option<Session>,
    pub(super) carrier: LinkCarrier,
    pub(super) state: LinkState,
    pub(super) outbound: bool,
    pub(super) dial: Option<(DialFor, Address)>,
    /// The network that an accepted link comes from, if that is a public one.
    pub(super) origin: Option<u64>,
    pub(super) expected: Option<PeerId>,
    pub(super) peer: Option<Peer>,
    pub(super) told_reasons: Option<LinkReasons>,
    pub(super) remote_reasons: LinkReasons,
    /// The sequence of the own home claim that was sent last on it.
    pub(super) told_home: Option<Sequence>,
    /// What the peer says of itself in the room that it is about to prove.
    pub(super) stated: Option<Box<MemberStatement>>,
    /// How many neighbours the peer would like to be told of.
    pub(super) wants: u8,
    pub(super) since: Instant,
    pub(super) unwanted_since: Option<Instant>,
    /// Circuits that run over this link.
    pub(super) circuits: usize,
    /// Number of the next circuit opened over this link.
    pub(super) next_circuit: u32,
}

impl Link {
    pub(super) fn new(carrier: LinkCarrier, outbound: bool, now: Instant) -> Self {
        Self {
            session: None,
            carrier,
            state: LinkState::Dialing,
            outbound,
            dial: None,
            origin: None,
            expected: None,
            peer: None,
            told_reasons: None,
            remote_reasons: LinkReasons::default().with(LinkReason::SetUp),
            told_home: None,
            stated: None,
            wants: 0,
            since: now,
            unwanted_since: None,
            circuits: 0,
            next_circuit: u32::from(!outbound),
        }
    }

    pub(super) fn is_circuit(&self) -> bool {
        self.carrier_kind() == Carrier::Circuit
    }

    pub(super) fn carrier_kind(&self) -> Carrier {
        match self.carrier {
            LinkCarrier::WebSocket => Carrier::WebSocket,
            LinkCarrier::WebRtc => Carrier::WebRtc,
            LinkCarrier::Circuit { .. } => Carrier::Circuit,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == LinkState::Open
    }

    pub(super) fn is_service(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.service)
    }

    pub(super) fn is_dialled_for(&self, purpose: DialFor) -> bool {
        self.dial.as_ref().is_some_and(|(dialled_for, _)| *dialled_for == purpose)
    }
}

impl Node {
    pub(super) fn mint_link(&mut self) -> LinkId {
        self.next_link = self.next_link.saturating_add(1);
        LinkId(self.next_link)
    }

    /// Dials a service address unless it is linked, being dialled, or forbidden.
    pub(super) fn dial(&mut self, address: &Address, purpose: DialFor, now: Instant) -> Option<LinkId> {
        if self.farewell.is_some() || !self.started || self.is_own_address(address) {
            return None;
        }
        if let Some(peer) = address.peer
            && (peer == self.me || self.peers.contains_key(&peer) || self.dialing.contains_key(&peer))
        {
            return None;
        }
        let same = |link: &Link| link.dial.as_ref().is_some_and(|(_, dialled)| dialled == address);
        if self.links.values().any(|link| same(link) && !matches!(link.state, LinkState::Draining(_))) {
            return None;
        }
        if self.links.len() >= self.config.link.links_max {
            return None;
        }
        let there =
            |link: &Link| link.dial.as_ref().is_some_and(|(_, other)| other.is_same_endpoint(address));
        if !self.book.is_known(address) && self.links.values().any(|link| there(link)) {
            // One endpoint has one peer at most.
            self.metrics.count(Counter::DialsRefusedByEndpoint);
            return None;
        }
        if address.peer.is_some_and(|peer| self.refuses(peer, now)) {
            return None;
        }
        if !self.book.allows(address) {
            self.metrics.count(Counter::DialsRefusedByClass);
            return None;
        }
        if self.book.is_vain(address, now) {
            self.metrics.count(Counter::DialsRefusedByEndpoint);
            return None;
        }
        let id = self.mint_link();
        let mut link = Link::new(LinkCarrier::WebSocket, true, now);
        link.expected = address.peer;
        link.dial = Some((purpose, address.clone()));
        self.links.insert(id, Box::new(link));
        if let Some(peer) = address.peer {
            self.dialing.insert(peer, id);
        }
        self.timers.set(Timer::Dial(id), now + self.dial_patience(address));
        self.outbox.push_back(Output::Dial(id, Target::WebSocket(address.clone())));
        Some(id)
    }

    /// How long a dial to `address` may take: a node far out, or behind a slow access, may need longer than most.
    fn dial_patience(&self, address: &Address) -> Duration {
        let by_peer = address.peer.and_then(|peer| self.failures.get(&peer)).copied().unwrap_or_default();
        let failures = self.book.failures(address).max(by_peer);
        self.config.link.dial_timeout.saturating_mul(1 << failures.min(DIAL_DOUBLINGS))
    }

    fn is_own_address(&self, address: &Address) -> bool {
        self.addresses
            .iter()
            .any(|own| own.host == address.host && own.port == address.port && own.secure == address.secure)
    }

    pub(super) fn accept_link(&mut self, origin: Origin, now: Instant) -> Result<LinkId, LinkLimit> {
        if self.farewell.is_some() {
            return Err(LinkLimit::ShuttingDown);
        }
        let pending =
            self.links.values().filter(|link| !link.outbound && link.state == LinkState::Handshaking);
        let limit = if self.links.len() >= self.config.link.links_max {
            Some(LinkLimit::Links)
        } else if pending.count() >= self.config.link.pending_max {
            Some(LinkLimit::Pending)
        } else {
            None
        };
        if let Some(limit) = limit {
            self.metrics.count(Counter::LinksRefused);
            return Err(limit);
        }
        let id = self.mint_link();
        let mut link = Link::new(LinkCarrier::WebSocket, false, now);
        link.session = Some(self.session(Role::Responder, Secrecy::Noise, None, link.carrier, now));
        link.state = LinkState::Handshaking;
        let public = origin.ip.filter(|ip| AddressClass::of_ip(*ip) == AddressClass::Public);
        link.origin = public.map(Address::group_of_ip);
        self.links.insert(id, Box::new(link));
        self.dirty.insert(id);
        Ok(id)
    }

    /// A session for a new link.
    pub(super) fn session(
        &mut self,
        role: Role,
        secrecy: Secrecy,
        expected: Option<PeerId>,
        carrier: LinkCarrier,
        now: Instant,
    ) -> Session {
        let (max_frame, frame_charge) = match carrier {
            LinkCarrier::WebSocket | LinkCarrier::WebRtc => (self.config.link.frame_bytes_max, 0),
            // A circuit's frame travels inside a message of its carrier, and shall fit into one frame there.
            LinkCarrier::Circuit { .. } => {
                (self.config.link.frame_bytes_max.saturating_sub(64), CircuitData::FRAME_CHARGE)
            }
        };
        let config = SessionConfig {
            role,
            max_frame,
            frame_charge,
            link: Arc::clone(&self.link_config),
            network: self.config.network.clone(),
            identity: self.identity.clone(),
            relay_bytes_max: usize::MAX,
            peer: self.me,
            instance: self.instance,
            service: self.config.kind == NodeKind::Service,
            static_secret: self.static_secret,
            ephemeral: self.random.key(),
            expected,
            secrecy,
            extensions: self.extensions(),
        };
        Session::new(config, self.crypto.clone(), now)
    }

    /// The carrier of a dialled link is open: the handshake begins.
    pub(super) fn link_connected(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get(&id) else { return self.metrics.count(Counter::UnknownLink) };
        if link.state != LinkState::Dialing {
            return;
        }
        let (expected, carrier) = (link.expected, link.carrier);
        self.timers.clear(Timer::Dial(id));
        self.timers.clear(Timer::Circuit(id));
        let (role, secrecy) = match (carrier, self.direct_transcript(id)) {
            (LinkCarrier::WebRtc, Some((role, transcript))) => (role, Secrecy::Carrier { transcript }),
            // A channel that opens before both ends are described is a driver's mistake.
            (LinkCarrier::WebRtc, None) => return self.fail_link(id, CloseReason::Violation, now),
            (LinkCarrier::WebSocket | LinkCarrier::Circuit { .. }, _) => (Role::Initiator, Secrecy::Noise),
        };
        let session = self.session(role, secrecy, expected, carrier, now);
        if let Some(link) = self.links.get_mut(&id) {
            link.session = Some(session);
            link.state = LinkState::Handshaking;
            self.dirty.insert(id);
        }
    }

    pub(super) fn link_dial_failed(&mut self, id: LinkId, error: DialError, now: Instant) {
        if !self.links.contains_key(&id) {
            return self.metrics.count(Counter::UnknownLink);
        }
        let reason = match error {
            DialError::Timeout => CloseReason::DialTimeout,
            DialError::Refused => CloseReason::Refused,
            DialError::Unresolved => CloseReason::Unresolved,
            DialError::NotWebSocket => CloseReason::NotWebSocket,
            DialError::Tls => CloseReason::Tls,
            DialError::Unsupported => CloseReason::Unsupported,
            DialError::Ice => CloseReason::Ice,
        };
        self.forget_link(id, reason, now);
    }

    pub(super) fn link_disconnected(&mut self, id: LinkId, how: Disconnect, now: Instant) {
        let Some(link) = self.links.get(&id) else { return self.metrics.count(Counter::UnknownLink) };
        let reason = match (link.state, how) {
            (LinkState::Draining(reason), _) => reason,
            (_, Disconnect::Closed) => CloseReason::Closed,
            (_, Disconnect::Reset) => CloseReason::Reset,
            (_, Disconnect::Violation) => CloseReason::Violation,
            (_, Disconnect::Lost) => CloseReason::Silent,
        };
        self.forget_link(id, reason, now);
    }

    pub(super) fn link_writable(&mut self, id: LinkId, bytes: usize) {
        match self.links.get_mut(&id).and_then(|link| link.session.as_mut()) {
            Some(session) => {
                session.grant(bytes);
                self.dirty.insert(id);
            }
            None => self.early_credit(id),
        }
    }

    /// Credit that comes before `Connected` is a driver's mistake, but harmless.
    fn early_credit(&mut self, id: LinkId) {
        if !self.links.contains_key(&id) {
            self.metrics.count(Counter::UnknownLink);
        }
    }

    pub(super) fn link_frame(&mut self, id: LinkId, frame: Bytes, now: Instant) {
        self.metrics.count(Counter::FramesReceived);
        self.metrics.add(Counter::BytesReceived, frame.len() as u64);
        let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) else {
            return self.metrics.count(Counter::UnknownLink);
        };
        let events = session.handle_frame(&frame, now);
        self.dirty.insert(id);
        self.session_events(id, events, now);
    }

    pub(super) fn link_timeout(&mut self, id: LinkId, now: Instant) {
        let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) else { return };
        let events = session.handle_timeout(now);
        self.dirty.insert(id);
        self.session_events(id, events, now);
    }

    fn session_events(&mut self, id: LinkId, events: Vec<SessionEvent>, now: Instant) {
        for event in events {
            if !self.links.contains_key(&id) {
                return;
            }
            match event {
                SessionEvent::Established(peer) => self.link_established(id, peer, now),
                SessionEvent::Message(bytes) => self.link_message(id, bytes, now),
                SessionEvent::Progress { received, total } => {
                    if let Some(from) = self.open_peer(id) {
                        self.emit(Event::MessageProgress {
                            from,
                            received: received as u64,
                            total: total as u64,
                        });
                    }
                }
                SessionEvent::RoundTrip(rtt) => {
                    if let Some(peer) = self.open_peer(id) {
                        self.table.measured(peer, rtt);
                    }
                }
                SessionEvent::DataDropped { tokens, .. } => self.data_dropped(&tokens, now),
                SessionEvent::Closed(reason) => {
                    if reason == CloseReason::IdentityInUse {
                        self.emit(Event::IdentityInUse { told_by: None });
                    }
                    self.fail_link(id, reason, now);
                }
            }
        }
    }

    /// The peer of a link that is in use.
    pub(super) fn open_peer(&self, id: LinkId) -> Option<PeerId> {
        let link = self.links.get(&id)?;
        match link.state {
            LinkState::Open | LinkState::Draining(_) => link.peer.as_ref().map(|peer| peer.id),
            LinkState::Dialing | LinkState::Handshaking | LinkState::Contested(_) => None,
        }
    }

    /// A handshake ended: the link is taken, contested, or one of two.
    fn link_established(&mut self, id: LinkId, peer: Peer, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let peer_id = peer.id;
        link.peer = Some(peer);
        link.since = now;
        let trial = link.dial.as_ref().is_some_and(|(purpose, _)| *purpose == DialFor::Trial);
        let rtt = link.session.as_ref().and_then(Session::rtt);
        if self.dialing.get(&peer_id) == Some(&id) {
            self.dialing.remove(&peer_id);
        }
        self.attempt_succeeded(peer_id, id);
        if self.refuses(peer_id, now) {
            return self.drain_link(id, CloseReason::Violation, now);
        }
        if trial && self.trial_lost(peer_id, rtt) {
            return self.drain_link(id, CloseReason::Unwanted, now);
        }
        self.place_link(id, peer_id, now);
    }

    /// A link to a known peer: it is taken, unless another one is there.
    fn place_link(&mut self, id: LinkId, peer: PeerId, now: Instant) {
        let Some(&older) = self.peers.get(&peer) else { return self.admit_link(id, now) };
        let instance = |node: &Self, link: LinkId| {
            node.links.get(&link).and_then(|link| link.peer.as_ref()).map(|peer| peer.instance)
        };
        if instance(self, older) == instance(self, id) {
            return self.resolve_duplicate(older, id, now);
        }
        self.metrics.count(Counter::IdentityConflicts);
        if let Some(link) = self.links.get_mut(&id) {
            link.state = LinkState::Contested(older);
        }
        if let Some(session) = self.links.get_mut(&older).and_then(|link| link.session.as_mut()) {
            session.probe(now);
            self.dirty.insert(older);
        }
        self.timers.set(Timer::Probe(id), now + self.config.link.probe_timeout);
    }

    /// Of two links to the same peer session the one opened by the lower peer id stays; same opener: the newer. A direct
    /// link always beats a circuit.
    fn resolve_duplicate(&mut self, older: LinkId, newer: LinkId, now: Instant) {
        self.metrics.count(Counter::DuplicateLinks);
        let (Some(a), Some(b)) = (self.links.get(&older), self.links.get(&newer)) else { return };
        let Some(peer) = b.peer.as_ref().map(|peer| peer.id) else { return };
        if a.is_service() != b.is_service() {
            // One run of a node is of one kind, and what knows it as that kind must not miss its end.
            return self.drain_link(newer, CloseReason::Violation, now);
        }
        if !self.takes_links_to(peer) {
            return self.drain_link(newer, CloseReason::Shutdown, now);
        }
        let opener = |link: &Link| if link.outbound { self.me } else { peer };
        let circuit = |link: &Link| link.carrier_kind() == Carrier::Circuit;
        let newer_stays = match (circuit(a), circuit(b)) {
            (true, false) => true,
            (false, true) => false,
            _ => opener(b) <= opener(a),
        };
        if newer_stays {
            self.replace_link(older, newer, now);
        } else {
            self.drain_link(newer, CloseReason::Duplicate, now);
            // The peer may have opened it because the other one is dead at its end.
            self.doubt_direct(peer, now);
        }
    }

    /// The newer link takes the place of the older one, which drains; that needs no admission. Members are the same;
    /// rooms are proved anew, since a proof is bound to its link.
    fn replace_link(&mut self, older: LinkId, newer: LinkId, now: Instant) {
        let Some(peer) = self.links.get(&newer).and_then(|link| link.peer.as_ref()).map(|peer| peer.id)
        else {
            return;
        };
        self.peers.remove(&peer);
        self.drain_link(older, CloseReason::Duplicate, now);
        self.metrics.count(Counter::LinksClosed);
        let reasons = self.last_reasons(older);
        self.emit(Event::LinkClosed { link: older, peer, reason: CloseReason::Duplicate, reasons });
        self.members_unlinked(peer, older, now);
        self.open_link(newer, now);
    }

    /// The older link of a contested identity did not answer in time, or is gone.
    pub(super) fn probe_timeout(&mut self, id: LinkId, now: Instant) {
        let Some(LinkState::Contested(older)) = self.links.get(&id).map(|link| link.state) else { return };
        let asked = now - self.config.link.probe_timeout;
        let open = self.links.get(&older).is_some_and(|link| link.is_open());
        if open && self.heard_after(older, asked) {
            self.drain_link(id, CloseReason::IdentityInUse, now);
        } else {
            self.fail_link(older, CloseReason::Replaced, now);
            self.admit_contested(id, now);
        }
    }

    /// Whether anything authenticated came over a link after `asked`.
    pub(super) fn heard_after(&self, id: LinkId, asked: Instant) -> bool {
        let session = self.links.get(&id).and_then(|link| link.session.as_ref());
        session.and_then(Session::last_heard).is_some_and(|heard| heard > asked)
    }

    /// Places a link whose rival is gone; meanwhile another one may have taken the rival's place.
    fn admit_contested(&mut self, id: LinkId, now: Instant) {
        self.timers.clear(Timer::Probe(id));
        let contested = |link: &Link| matches!(link.state, LinkState::Contested(_));
        let peer = self.links.get(&id).filter(|link| contested(link)).and_then(|link| link.peer.as_ref());
        if let Some(peer) = peer.map(|peer| peer.id) {
            self.place_link(id, peer, now);
        }
    }

    fn admit_link(&mut self, id: LinkId, now: Instant) {
        match self.admit(id, now) {
            Ok(()) => self.open_link(id, now),
            Err(reason) => {
                self.metrics.count(Counter::LinksRefused);
                self.drain_link(id, reason, now);
            }
        }
    }

    fn open_link(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(peer) = link.peer.clone() else { return };
        let (carrier, dial) = (link.carrier_kind(), link.dial.clone());
        if let Some(link) = self.links.get_mut(&id) {
            link.state = LinkState::Open;
            link.since = now;
        }
        self.peers.insert(peer.id, id);
        self.metrics.count(Counter::LinksOpened);
        let place = self.outbox.len();
        if let Some((_, address)) = dial {
            self.book.connected(&address, peer.id, now);
        }
        self.overlay_linked(id, &peer, now);
        self.members_linked(&peer, now);
        self.direct_linked(id, &peer, now);
        self.walks_linked(peer.id, now);
        self.tell_reasons(id, now);
        // Told first of all that follows from it, known only now.
        let reasons = self.last_reasons(id);
        let opened = Event::LinkOpened { link: id, peer: peer.id, carrier, reasons };
        self.outbox.insert(place, Output::Event(opened));
    }

    /// The links in use.
    pub(super) fn open_links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().filter(|(_, link)| link.is_open()).map(|(id, link)| (*id, &**link))
    }

    /// Says goodbye, sends what is queued, and closes.
    pub(super) fn drain_link(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        if matches!(link.state, LinkState::Draining(_)) {
            return;
        }
        let established = link.peer.is_some();
        let was_open = link.is_open();
        if !established {
            return self.fail_link(id, reason, now);
        }
        let referrals = if matches!(reason, CloseReason::Busy | CloseReason::Shutdown) {
            self.referrals(id)
        } else {
            Bounded::default()
        };
        self.send(id, &Message::Goodbye(Goodbye { reason: reason as u8, referrals }), now);
        if was_open {
            self.link_unused(id, reason, now);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.state = LinkState::Draining(reason);
            self.timers.set(Timer::Drain(id), now + self.config.link.drain_timeout);
            self.dirty.insert(id);
        }
    }

    pub(super) fn drain_timeout(&mut self, id: LinkId, now: Instant) {
        if let Some(LinkState::Draining(reason)) = self.links.get(&id).map(|link| link.state) {
            self.close_carrier(id, reason, now);
        }
    }

    /// Closes a link at once: after an error, or because the peer said goodbye.
    pub(super) fn fail_link(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        if self.links.contains_key(&id) {
            self.send_refusal(id, now);
            self.close_carrier(id, reason, now);
        }
    }

    /// A session that refuses a handshake has one last clear frame to send.
    fn send_refusal(&mut self, id: LinkId, now: Instant) {
        let handshaking = self.links.get(&id).is_some_and(|link| link.state == LinkState::Handshaking);
        if handshaking {
            self.metrics.count(Counter::HandshakesFailed);
            self.pump(id, now);
        }
    }

    /// Tells the carrier to close, and forgets the link.
    fn close_carrier(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(carrier) = self.links.get(&id).map(|link| link.carrier) else { return };
        match carrier {
            LinkCarrier::WebSocket | LinkCarrier::WebRtc => self.outbox.push_back(Output::Close(id, reason)),
            LinkCarrier::Circuit { via, number } => self.reset_circuit(via, number, reason, now),
        }
        self.forget_link(id, reason, now);
    }

    /// The link is gone: whoever depends on it learns so.
    pub(super) fn forget_link(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        let was_open = link.is_open();
        let was_established = link.peer.is_some();
        if was_open {
            self.link_unused(id, reason, now);
        }
        let Some(link) = self.links.remove(&id) else { return };
        for timer in [
            Timer::Session(id),
            Timer::Dial(id),
            Timer::Probe(id),
            Timer::Life(id),
            Timer::Drain(id),
            Timer::Circuit(id),
            Timer::Relay(id),
        ] {
            self.timers.clear(timer);
        }
        self.dirty.remove(&id);
        self.forget_circuits(id, now);
        self.sends_lost(id, now);
        if let Some(expected) = link.expected.filter(|peer| self.dialing.get(peer) == Some(&id)) {
            self.dialing.remove(&expected);
        }
        if let Some(expected) = link.expected.filter(|_| !was_established) {
            self.walks_lost(expected, now);
        }
        if !was_established {
            self.metrics.count(Counter::LinksFailed);
            let address = link.dial.as_ref().map(|(_, address)| address.clone());
            self.emit(Event::LinkFailed { link: id, address: address.clone(), reason });
            if let Some(address) = address {
                self.dial_failed(&address, reason, now);
            }
            if let (LinkCarrier::Circuit { .. }, Some(peer)) = (link.carrier, link.expected) {
                self.connect_failed(peer, now);
            }
        }
        if let (LinkCarrier::WebRtc, Some(peer)) = (link.carrier, link.expected) {
            let stood = was_established.then(|| now.since(link.since));
            self.direct_lost(peer, id, reason, stood, now);
        }
        self.admit_rivals(id, now);
        self.finish_shutdown(now);
    }

    /// A link that goes may free the identity that others contest.
    fn admit_rivals(&mut self, gone: LinkId, now: Instant) {
        let contests = |link: &Link| link.state == LinkState::Contested(gone);
        let rivals: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| contests(link)).map(|(id, _)| *id).collect();
        for rival in rivals {
            if self.links.get(&rival).is_some_and(|link| contests(link)) {
                self.admit_contested(rival, now);
            }
        }
    }

    /// A link in use has ended: routing and rooms learn so.
    fn link_unused(&mut self, id: LinkId, reason: CloseReason, now: Instant) {
        let Some(peer) = self.links.get(&id).and_then(|link| link.peer.clone()) else { return };
        if self.peers.get(&peer.id) != Some(&id) {
            return;
        }
        self.peers.remove(&peer.id);
        self.timers.clear(Timer::Upgrade(peer.id));
        if let Some(link) = self.links.get_mut(&id) {
            // From here on the link counts as unused, whatever happens while the layers above are told.
            link.state = LinkState::Draining(reason);
        }
        self.metrics.count(Counter::LinksClosed);
        let reasons = self.last_reasons(id);
        self.emit(Event::LinkClosed { link: id, peer: peer.id, reason, reasons });
        self.directs.handed.remove(&peer.id);
        self.walks_lost(peer.id, now);
        self.overlay_unlinked(&peer, reason, now);
        self.hops_unlinked(peer.id, now);
        self.members_unlinked(peer.id, id, now);
    }

    /// Queues a control message.
    pub(super) fn send(&mut self, id: LinkId, message: &Message, now: Instant) {
        self.send_bytes(id, Class::Control, message.encode(), now);
    }

    /// Queues an encoded message.
    pub(super) fn send_bytes(&mut self, id: LinkId, class: Class, bytes: Vec<u8>, now: Instant) {
        let _ = self.queue(id, class, Outgoing { head: bytes, body: Bytes::new(), token: None }, now);
    }

    /// Queues a message; a link whose control queue overflows is not reading and is closed.
    pub(super) fn queue(&mut self, id: LinkId, class: Class, message: Outgoing, now: Instant) -> bool {
        let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) else {
            return false;
        };
        self.work.step();
        self.dirty.insert(id);
        // A frame of this node's own circuit was counted by what it carries.
        let counted = (class != Class::Relay || message.token.is_some())
            .then(|| (Counter::of_message(&message.head), message.len()));
        if session.queue(class, message, now).is_ok() {
            if let Some((purpose, bytes)) = counted {
                self.metrics.add(purpose, bytes as u64);
            }
            return true;
        }
        self.metrics.count(Counter::QueueOverflows);
        if class == Class::Control {
            self.overflowed.insert(id);
        }
        false
    }

    /// Sends to a linked peer; `false` if it is not linked.
    pub(super) fn send_to(&mut self, peer: PeerId, message: &Message, now: Instant) -> bool {
        let Some(&link) = self.peers.get(&peer) else { return false };
        self.send(link, message, now);
        true
    }

    /// Hands frames to the carriers as far as credit goes, and closes what has drained.
    pub(super) fn flush(&mut self, now: Instant) {
        loop {
            while let Some(id) = self.dirty.pop_first() {
                self.pump(id, now);
                self.after_pump(id, now);
            }
            match self.overflowed.pop_first() {
                Some(id) => self.fail_link(id, CloseReason::SlowReader, now),
                None if self.shutdown_progress(now) => {}
                None => return,
            }
        }
    }

    fn pump(&mut self, id: LinkId, now: Instant) {
        let mut sent: Vec<Sent> = Vec::new();
        while let Some(link) = self.links.get_mut(&id) {
            let Some(session) = link.session.as_mut() else { return };
            let Some(frame) = session.poll_frame(now) else {
                sent = session.take_sent();
                break;
            };
            let (carrier, handshake) = (link.carrier, link.peer.is_none());
            self.work.step();
            match carrier {
                LinkCarrier::WebSocket | LinkCarrier::WebRtc => {
                    self.metrics.count(Counter::FramesSent);
                    self.metrics.add(Counter::BytesSent, frame.len() as u64);
                    if handshake {
                        self.metrics.add(Counter::SentHandshake, frame.len() as u64);
                    }
                    self.outbox.push_back(Output::Send(id, frame));
                }
                LinkCarrier::Circuit { via, number } => self.circuit_send(via, number, frame, now),
            }
        }
        for sent in sent {
            self.handle_sent(id, sent, now);
        }
    }

    fn after_pump(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(session) = link.session.as_ref() else { return };
        match session.poll_timeout() {
            // Each frame of the peer moves its deadline. A timer that is too early finds nothing due and is set anew,
            // which costs less than moving it with each frame.
            Some(at) => self.timers.set_earlier(Timer::Session(id), at),
            None => self.timers.clear(Timer::Session(id)),
        }
        if let (LinkState::Draining(reason), true) = (link.state, session.is_drained()) {
            self.close_carrier(id, reason, now);
        }
    }

    pub(super) fn handle_goodbye(&mut self, id: LinkId, goodbye: &Goodbye, now: Instant) -> Fate {
        let reason = CloseReason::from_wire(goodbye.reason);
        let peer = self.links.get(&id).and_then(|link| link.peer.as_ref()).map(|peer| peer.id);
        let mut learned = Vec::new();
        for claim in goodbye.referrals.iter() {
            learned.extend(self.learn_home(claim, peer, now));
        }
        if reason == CloseReason::IdentityInUse && peer.is_some() {
            self.emit(Event::IdentityInUse { told_by: peer });
        }
        if reason == CloseReason::Busy {
            self.refused_busy(peer, &learned, now);
        }
        if let (CloseReason::Shutdown, Some(peer)) = (reason, peer) {
            self.overlay_left(peer);
            self.members_said_goodbye(peer, now);
        }
        self.fail_link(id, reason, now);
        Ok(())
    }
}
