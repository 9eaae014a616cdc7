//! Direct links between clients: WebRTC data channels, signalled over the circuit that the pair has meanwhile.
//!
//! Two clients of a room are linked by a circuit at once, and talk over it. Where both can link by WebRTC, the one with
//! the lower peer id then offers; offer, answer and candidates travel as messages inside the circuit, so they are sealed
//! for the peer and known to be its. Once the channel is open, each end signs a transcript of the signalling over it, and
//! the direct link takes the circuit's place. If no channel opens in time, the pair stays relayed, and another attempt
//! follows after a pause.
//!
//! | state of a pair | left by |
//! |---|---|
//! | relayed | circuit opened, pause over: the lower id dials |
//! | offering: `Dial`, own description, then the answer | channel open, failure, `webrtc.timeout` |
//! | answering: the peer's offer, own description | channel open, failure, `webrtc.timeout`, a newer offer |
//! | channel open: proofs pass | handshake's end or time-out |
//! | direct: the circuit drains | loss: the pair is connected anew, by a circuit |

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Node;
use super::api::{CloseReason, Output, Target};
use super::clock::Timer;
use super::dispatch::Fate;
use super::links::{Link, LinkCarrier, LinkState};
use super::metrics::Counter;
use crate::crypto::{Role, sha256};
use crate::link::Peer;
use crate::signal::{CANDIDATES_MAX, Candidate, Description, Fingerprint, IceServer, Setup, Signal};
use crate::wire::message::{Extension, IceServers, SignalStep, extension};
use crate::wire::{Bounded, Message, encode_body};
use crate::{Duration, Instant, LinkId, PeerId};

#[cfg(test)]
mod tests;

/// Pause before an attempt that found no place among those in progress.
const CROWDED: Duration = Duration::from_secs(1);
/// Least time between two offers of one peer: each makes this end start a WebRTC stack.
const OFFER_SPACING: Duration = Duration::from_secs(1);
/// From a circuit that took the place of another to the end of an attempt that was signalled over that one; beyond
/// [`OFFER_SPACING`].
const CROSSED: Duration = Duration::from_millis(1500);

/// What of a description binds the link: its hash as it was signalled, and the fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Described {
    hash: [u8; 32],
    fingerprint: Fingerprint,
}

impl Described {
    fn new(signal: &Signal, description: &Description) -> Self {
        Self { hash: sha256(&[&encode_body(signal)]), fingerprint: description.fingerprint }
    }
}

/// One end's part in an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    described: Option<Described>,
    candidates: usize,
    ended: bool,
}

/// An attempt in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    link: LinkId,
    /// The circuit whose end takes signals with it.
    circuit: Option<LinkId>,
    session: u64,
    offers: bool,
    local: End,
    remote: End,
}

/// What is known of direct links with a fellow member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Direct {
    attempt: Option<Attempt>,
    /// Attempts that failed since a direct link last stood for a while.
    failures: u32,
    /// Not to be tried before.
    not_before: Option<Instant>,
    /// When the peer's last offer was taken.
    offered: Option<Instant>,
}

/// All that concerns direct links.
#[derive(Clone, Debug, Default)]
pub(super) struct Directs {
    /// By fellow member.
    pub(super) pairs: BTreeMap<PeerId, Direct>,
    /// ICE servers that linked homes handed out.
    pub(super) handed: BTreeMap<PeerId, Vec<IceServer>>,
}

/// Why a signal of a peer is not taken.
enum Refused {
    /// It breaks the protocol.
    Invalid,
    /// It belongs to an attempt that is over.
    Late,
}

impl Node {
    /// What this node says of itself in handshakes.
    pub(super) fn extensions(&self) -> Bounded<Extension, 16> {
        let webrtc = Extension { tag: extension::WEBRTC, value: bytes::Bytes::new() };
        Bounded::truncated((self.config.webrtc.enabled && !self.is_service()).then_some(webrtc))
    }

    /// Whether a link to this peer can be a WebRTC channel.
    fn links_directly(&self, peer: &Peer) -> bool {
        let able = peer.extensions.iter().any(|extension| extension.tag == extension::WEBRTC);
        able && !peer.service && self.config.webrtc.enabled && !self.is_service()
    }

    /// A link opened: a pair that is relayed may link directly, and a client is told of ICE servers.
    pub(super) fn direct_linked(&mut self, id: LinkId, peer: &Peer, now: Instant) {
        let Some(link) = self.links.get(&id) else { return };
        let circuit = link.is_circuit();
        if self.is_service() && !peer.service && !self.config.webrtc.ice_servers.is_empty() {
            let servers = Bounded::truncated(self.config.webrtc.ice_servers.iter().cloned());
            self.send(id, &Message::IceServers(IceServers { servers }), now);
        }
        if circuit && self.me < peer.id && self.links_directly(peer) {
            let direct = self.directs.pairs.get(&peer.id);
            let due = direct.and_then(|direct| direct.not_before).unwrap_or(now).max(now);
            // Where circuits crossed, this one takes the place of one that an attempt may still complete over.
            let crossed = direct.is_some_and(|direct| direct.attempt.is_some());
            let due = if crossed { due.max(now + CROSSED) } else { due };
            self.timers.set(Timer::Upgrade(peer.id), due);
        }
    }

    /// Offers a direct link to a peer that is linked by a circuit.
    pub(super) fn upgrade_due(&mut self, peer: PeerId, now: Instant) {
        let circuit = self.peers.get(&peer).copied();
        let link = circuit.and_then(|id| self.links.get(&id));
        let relayed = link.is_some_and(|link| {
            link.is_circuit() && link.peer.as_ref().is_some_and(|peer| self.links_directly(peer))
        });
        let attempt = self.directs.pairs.get(&peer).and_then(|direct| direct.attempt);
        let busy = attempt.is_some_and(|attempt| attempt.circuit == circuit);
        if !relayed || busy || self.farewell.is_some() || !self.is_fellow(peer) {
            return;
        }
        if let Some(attempt) = attempt {
            // Its circuit ended under it, and signals may have ended with that.
            self.fail_link(attempt.link, CloseReason::Duplicate, now);
        }
        if self.attempts_full() {
            let pause = self.random.jittered(CROWDED);
            return self.timers.set(Timer::Upgrade(peer), now + pause);
        }
        let session = self.random.session();
        self.start_attempt(peer, session, true, now);
    }

    fn attempts_full(&self) -> bool {
        let pending = self.directs.pairs.values().filter(|direct| direct.attempt.is_some()).count();
        pending >= self.config.webrtc.pending_max || self.links.len() >= self.config.link.links_max
    }

    fn start_attempt(&mut self, peer: PeerId, session: u64, offers: bool, now: Instant) -> LinkId {
        let id = self.mint_link();
        let mut link = Link::new(LinkCarrier::WebRtc, offers, now);
        link.expected = Some(peer);
        self.links.insert(id, Box::new(link));
        let circuit = self.peers.get(&peer).copied();
        let (local, remote) = (End::default(), End::default());
        let attempt = Attempt { link: id, circuit, session, offers, local, remote };
        self.directs.pairs.entry(peer).or_default().attempt = Some(attempt);
        self.metrics.count(Counter::DirectAttempts);
        self.timers.set(Timer::Dial(id), now + self.config.webrtc.timeout);
        let target = Target::WebRtc { offer: offers, ice_servers: self.ice_servers() };
        self.outbox.push_back(Output::Dial(id, target));
        id
    }

    fn attempt_mut(&mut self, peer: PeerId) -> Option<&mut Attempt> {
        self.directs.pairs.get_mut(&peer)?.attempt.as_mut()
    }

    /// The own WebRTC stack found something that the other end must know.
    pub(super) fn local_signal(&mut self, id: LinkId, signal: Signal, now: Instant) {
        let Some(link) = self.links.get(&id) else { return self.metrics.count(Counter::UnknownLink) };
        let Some(peer) = link.expected.filter(|_| link.carrier == LinkCarrier::WebRtc) else { return };
        let Some(attempt) = self.attempt_mut(peer).filter(|attempt| attempt.link == id) else { return };
        let fits = match &signal {
            Signal::Offer(description) | Signal::Answer(description) => {
                let offer = matches!(signal, Signal::Offer(_));
                let turn = attempt.offers == offer && (offer || attempt.remote.described.is_some());
                turn && attempt.local.describe(&signal, description)
            }
            Signal::Candidate(_) => attempt.local.add_candidate(),
            Signal::EndOfCandidates => attempt.local.end(),
        };
        let session = attempt.session;
        if !fits {
            // A driver's mistake, or more candidates than a peer would take.
            return self.metrics.count(Counter::SignalsUnsent);
        }
        match self.peers.get(&peer) {
            Some(&link) => {
                self.metrics.count(Counter::SignalsSent);
                self.send(link, &Message::Signal(SignalStep { session, signal }), now);
            }
            None => self.metrics.count(Counter::SignalsUnsent),
        }
    }

    /// A signal of a linked peer.
    pub(super) fn handle_signal(&mut self, id: LinkId, step: SignalStep, now: Instant) -> Fate {
        let Some(peer) = self.links.get(&id).filter(|link| link.is_open()).and_then(|link| link.peer.clone())
        else {
            return Err(Counter::SignalsLate);
        };
        let taken = if self.links_directly(&peer) && self.is_fellow(peer.id) {
            self.take_signal(id, peer.id, step, now)
        } else {
            Err(Refused::Invalid)
        };
        taken.map_err(|refused| match refused {
            Refused::Invalid => Counter::SignalsInvalid,
            Refused::Late => Counter::SignalsLate,
        })
    }

    fn take_signal(
        &mut self,
        id: LinkId,
        peer: PeerId,
        step: SignalStep,
        now: Instant,
    ) -> Result<(), Refused> {
        let SignalStep { session, signal } = step;
        if let Signal::Offer(description) = &signal {
            self.take_offer(id, peer, session, description, now)?;
        }
        let attempt = self.attempt_mut(peer).filter(|attempt| attempt.session == session);
        let attempt = attempt.ok_or(Refused::Late)?;
        let fits = match &signal {
            Signal::Offer(description) | Signal::Answer(description) => {
                let offer = matches!(signal, Signal::Offer(_));
                let legal = offer == (description.setup == Setup::ActPass) && attempt.offers != offer;
                let turn = offer || attempt.local.described.is_some();
                legal && turn && attempt.remote.describe(&signal, description)
            }
            Signal::Candidate(_) => attempt.remote.add_candidate(),
            Signal::EndOfCandidates => attempt.remote.end(),
        };
        if !fits {
            return Err(Refused::Invalid);
        }
        let link = attempt.link;
        if let Some(signal) = self.usable(signal) {
            self.outbox.push_back(Output::RemoteSignal(link, signal));
        }
        Ok(())
    }

    /// An offer begins an attempt at this end. Only the lower id offers, so two offers never cross.
    fn take_offer(
        &mut self,
        id: LinkId,
        peer: PeerId,
        session: u64,
        description: &Description,
        now: Instant,
    ) -> Result<(), Refused> {
        let relayed = self.links.get(&id).is_some_and(|link| link.is_circuit());
        if peer > self.me || !relayed || description.setup != Setup::ActPass {
            return Err(Refused::Invalid);
        }
        let direct = self.directs.pairs.entry(peer).or_default();
        if direct.offered.is_some_and(|offered| now.since(offered) < OFFER_SPACING) {
            return Err(Refused::Invalid);
        }
        direct.offered = Some(now);
        if let Some(attempt) = direct.attempt {
            if attempt.session == session {
                return Err(Refused::Invalid);
            }
            // The peer has given the older one up.
            self.fail_link(attempt.link, CloseReason::Ice, now);
        }
        if self.attempts_full() || self.farewell.is_some() {
            return Err(Refused::Late);
        }
        self.start_attempt(peer, session, false, now);
        Ok(())
    }

    /// The signal without candidates that this node must not send packets to; `None` if nothing is left.
    fn usable(&mut self, signal: Signal) -> Option<Signal> {
        let local = self.book.allows_loopback();
        let allowed = |candidate: &Candidate| local || !candidate.is_loopback();
        match signal {
            Signal::Offer(description) => Some(Signal::Offer(without(description, allowed))),
            Signal::Answer(description) => Some(Signal::Answer(without(description, allowed))),
            Signal::Candidate(candidate) if !allowed(&candidate) => {
                self.metrics.count(Counter::CandidatesRefused);
                None
            }
            Signal::Candidate(_) | Signal::EndOfCandidates => Some(signal),
        }
    }

    /// This end's role in the handshake on a channel, and what both signed; `None` unless both are described.
    pub(super) fn direct_transcript(&self, id: LinkId) -> Option<(Role, [u8; 32])> {
        let peer = self.links.get(&id)?.expected?;
        let attempt = self.directs.pairs.get(&peer)?.attempt.filter(|attempt| attempt.link == id)?;
        let (local, remote) = (attempt.local.described?, attempt.remote.described?);
        let (role, offerer, answerer, offer, answer) = if attempt.offers {
            (Role::Initiator, self.me, peer, local, remote)
        } else {
            (Role::Responder, peer, self.me, remote, local)
        };
        let transcript = sha256(&[
            &attempt.session.to_le_bytes(),
            offerer.as_bytes(),
            answerer.as_bytes(),
            &offer.fingerprint.0,
            &answer.fingerprint.0,
            &offer.hash,
            &answer.hash,
        ]);
        Some((role, transcript))
    }

    /// A direct link is established: the attempt is over.
    pub(super) fn attempt_succeeded(&mut self, peer: PeerId, id: LinkId) {
        if let Some(direct) = self.directs.pairs.get_mut(&peer)
            && direct.attempt.is_some_and(|attempt| attempt.link == id)
        {
            direct.attempt = None;
        }
    }

    /// Gives up the attempts whose channel is not open here: no peer can have taken such a channel into use.
    pub(super) fn end_unopened_attempts(&mut self, now: Instant) {
        let unopened: Vec<LinkId> = self.attempts(false).collect();
        for link in unopened {
            self.fail_link(link, CloseReason::Shutdown, now);
        }
    }

    /// Whether a handshake is under way on an open channel. It may be over for the peer, who closes the circuit then.
    pub(super) fn awaits_channels(&self) -> bool {
        self.attempts(true).next().is_some()
    }

    /// The links of attempts whose channel is open, or is not.
    fn attempts(&self, open: bool) -> impl Iterator<Item = LinkId> {
        let attempts = self.directs.pairs.values().filter_map(|direct| direct.attempt);
        attempts.map(|attempt| attempt.link).filter(move |id| {
            let handshaking = self.links.get(id).is_some_and(|link| link.session.is_some());
            handshaking == open
        })
    }

    /// A direct link is gone. One that never opened, or that did not last, counts as a failure, after which the pair stays
    /// relayed for a while.
    pub(super) fn direct_lost(
        &mut self,
        peer: PeerId,
        id: LinkId,
        reason: CloseReason,
        stood: Option<Duration>,
        now: Instant,
    ) {
        let (first, most) = self.config.webrtc.backoff;
        let Some(direct) = self.directs.pairs.get_mut(&peer) else { return };
        if direct.attempt.is_some_and(|attempt| attempt.link == id) {
            direct.attempt = None;
        }
        if stood.is_none() && reason == CloseReason::Duplicate {
            // Given up for an attempt over another circuit.
            return;
        }
        let given_up = matches!(
            reason,
            CloseReason::Unwanted
                | CloseReason::Shutdown
                | CloseReason::Busy
                | CloseReason::Duplicate
                | CloseReason::Replaced
        );
        if stood.is_some_and(|stood| given_up || stood >= first) {
            direct.failures = 0;
            direct.not_before = None;
            return;
        }
        self.metrics.count(Counter::DirectFailed);
        let pause = first.saturating_mul(1 << direct.failures.min(10)).min(most);
        direct.failures = direct.failures.saturating_add(1);
        let pause = self.random.jittered(pause);
        direct.not_before = Some(now + pause);
        let relayed =
            self.peers.get(&peer).and_then(|id| self.links.get(id)).is_some_and(|link| link.is_circuit());
        if relayed && self.me < peer {
            self.timers.set(Timer::Upgrade(peer), now + pause);
        }
    }

    /// Forgets what is known of peers that are no fellow members any more.
    pub(super) fn sweep_directs(&mut self, now: Instant) {
        let idle =
            |direct: &Direct| direct.attempt.is_none() && direct.not_before.is_none_or(|until| until <= now);
        let gone: Vec<PeerId> = self
            .directs
            .pairs
            .iter()
            .filter(|(peer, direct)| idle(direct) && !self.is_fellow(**peer))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in gone {
            self.directs.pairs.remove(&peer);
            self.timers.clear(Timer::Upgrade(peer));
        }
    }

    /// ICE servers that a service node hands out. Those of one home replace its earlier ones.
    pub(super) fn handle_ice_servers(&mut self, id: LinkId, handed: IceServers) -> Fate {
        let link = self.links.get(&id).filter(|link| link.is_open() && link.is_service());
        let host = link.and_then(|link| link.dial.as_ref()).map(|(_, address)| address.host.clone());
        let Some(link) = link.filter(|_| !self.is_service()) else {
            return Err(Counter::IceServersRefused);
        };
        let peer = link.peer.as_ref().map(|peer| peer.id).ok_or(Counter::UnknownLink)?;
        let open = self.config.webrtc.third_parties;
        let own = |server: &IceServer| {
            !server.is_turn() && host.as_ref().is_some_and(|host| host.is_named(server.host()))
        };
        let before = handed.servers.len();
        let servers: Vec<IceServer> =
            handed.servers.into_inner().into_iter().filter(|server| open || own(server)).collect();
        let refused = before.saturating_sub(servers.len());
        self.metrics.add(Counter::IceServersRefused, refused as u64);
        self.directs.handed.insert(peer, servers);
        Ok(())
    }

    /// The configured servers, then those of the homes, each once.
    fn ice_servers(&self) -> Vec<IceServer> {
        let handed = self.directs.handed.iter().filter(|(peer, _)| self.peers.contains_key(peer));
        let all = self.config.webrtc.ice_servers.iter().chain(handed.flat_map(|(_, servers)| servers));
        let mut servers: Vec<IceServer> = Vec::new();
        for server in all {
            if servers.len() < IceServer::MAX && !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        servers
    }

    /// A link of a contested pair may be dead at one end only: the direct one must show that it lives.
    pub(super) fn doubt_direct(&mut self, peer: PeerId, now: Instant) {
        let direct = self.peers.get(&peer).and_then(|id| self.links.get(id));
        if direct.is_some_and(|link| link.carrier == LinkCarrier::WebRtc && link.state == LinkState::Open) {
            self.ask_for_life(peer, now);
        }
    }
}

impl End {
    /// Takes the end's one description.
    fn describe(&mut self, signal: &Signal, description: &Description) -> bool {
        if self.described.is_some() {
            return false;
        }
        self.candidates = description.candidates.len();
        self.described = Some(Described::new(signal, description));
        true
    }

    /// Takes a candidate: after the description, before the end, and not one too many.
    fn add_candidate(&mut self) -> bool {
        let fits = self.described.is_some() && !self.ended && self.candidates < CANDIDATES_MAX;
        self.candidates = self.candidates.saturating_add(usize::from(fits));
        fits
    }

    fn end(&mut self) -> bool {
        let fits = self.described.is_some() && !self.ended;
        self.ended = true;
        fits
    }
}

fn without(description: Description, allowed: impl Fn(&Candidate) -> bool) -> Description {
    let candidates = description.candidates.into_inner().into_iter().filter(allowed);
    Description { candidates: Bounded::truncated(candidates), ..description }
}
