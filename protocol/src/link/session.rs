//! One end of one link.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::fragment::{Arrival, Reassembly, WHOLE};
use super::frame::{self, FRAME_OVERHEAD, FrameKind, HEADER_BYTES, PREAUTH_FRAME_BYTES_MAX};
use super::handshake::{Handshaking, Peer, Secrecy, Step};
use super::keepalive::{Keepalive, RoundTrip};
use super::queue::{Class, Outgoing, QueueError, Queues, Sent};
use crate::config::KeepAlive;
use crate::crypto::{Cipher, Crypto, Role};
use crate::wire::Bounded;
use crate::wire::message::{Extension, Ping, kind};
use crate::{CloseReason, Identity, Instance, Instant, LinkConfig, NetworkId, PeerId};

/// What a session is made from.
#[derive(Clone)]
pub struct SessionConfig {
    /// Which end this is.
    pub role: Role,
    /// Largest frame, bytes: [`LinkConfig::frame_bytes_max`] on a WebSocket, less inside a circuit. At least
    /// [`PREAUTH_FRAME_BYTES_MAX`] and at most what a Noise message can hold; brought into these bounds.
    pub max_frame: usize,
    /// Credit that a frame costs beyond its bytes: 0 on a WebSocket, [`CircuitData::FRAME_CHARGE`] inside a circuit.
    ///
    /// [`CircuitData::FRAME_CHARGE`]: crate::wire::CircuitData::FRAME_CHARGE
    pub frame_charge: usize,
    /// Bounds and periods.
    pub link: Arc<LinkConfig>,
    /// Bound on the queue of [`Class::Relay`], bytes. The windows that a relay granted bound it in any case.
    pub relay_bytes_max: usize,
    /// The network.
    pub network: NetworkId,
    /// The own identity.
    pub identity: Identity,
    /// The identity's public key.
    pub peer: PeerId,
    /// The own run.
    pub instance: Instance,
    /// Whether this node is a service node.
    pub service: bool,
    /// X25519 secret of this process.
    pub static_secret: [u8; 32],
    /// X25519 secret of this handshake: fresh random bytes.
    pub ephemeral: [u8; 32],
    /// Who must be at the other end, if that is known.
    pub expected: Option<PeerId>,
    /// What keeps the link secret.
    pub secrecy: Secrecy,
    /// What this end says of itself beside the rest.
    pub extensions: Bounded<Extension, 16>,
}

impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("role", &self.role)
            .field("max_frame", &self.max_frame)
            .field("network", &self.network)
            .field("peer", &self.peer)
            .field("instance", &self.instance)
            .field("service", &self.service)
            .field("expected", &self.expected)
            .field("secrecy", &self.secrecy)
            .finish_non_exhaustive()
    }
}

/// What a session tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The peer is authenticated; messages can pass. Comes at most once, before any message.
    Established(Peer),
    /// A message.
    Message(Bytes),
    /// Part of a message above 64 KiB arrived; at most one for each 256 KiB.
    Progress {
        /// Bytes received.
        received: usize,
        /// Bytes in all.
        total: usize,
    },
    /// A ping was answered: one sample of the round-trip time.
    RoundTrip(Duration),
    /// The peer does not read: all queued messages but control were dropped.
    DataDropped {
        /// Bytes that were not sent.
        bytes: usize,
        /// Tokens of the messages, by class, then in order.
        tokens: Vec<u64>,
    },
    /// The session is over. Comes at most once and last.
    Closed(CloseReason),
}

/// What outlives the handshake of a configuration.
#[derive(Clone, Debug)]
struct Bounds {
    max_frame: usize,
    frame_charge: usize,
    relay_bytes_max: usize,
    service: bool,
    /// Shared by the sessions of a node, of which there are many.
    link: Arc<LinkConfig>,
}

/// Header and the longest Noise message (revision 34, section 3).
const FRAME_BYTES_MAX: usize = HEADER_BYTES + 65_535;

#[derive(Debug)]
enum State {
    Handshaking {
        handshake: Box<Handshaking>,
        deadline: Instant,
        timeout: Duration,
    },
    Established(Box<Established>),
    /// Closed before the peer was authenticated.
    Closed,
}

#[derive(Debug)]
struct Established {
    cipher: Box<dyn Cipher>,
    peer: Peer,
    keepalive: Keepalive,
    reassembly: Reassembly,
    /// Whether a transport frame of the peer was authenticated.
    heard: bool,
    /// Closed: arrivals are ignored, control can still leave.
    closed: bool,
}

/// One end of one link. See the [module](crate::link) for what it does.
///
/// After each `handle_*`, [`grant`](Self::grant), [`queue`](Self::queue) or [`probe`](Self::probe), poll frames until
/// there is none, then take what was sent.
#[derive(Debug)]
pub struct Session {
    bounds: Bounds,
    state: State,
    /// Frames of the handshake that wait for credit.
    outbox: VecDeque<Bytes>,
    queues: Queues,
    sent: Vec<Sent>,
    credit: usize,
    /// Since when something has waited without a frame leaving.
    waiting: Option<Instant>,
    /// When the handshake frame that the peer answers was handed over.
    asked: Option<Instant>,
    rtt: RoundTrip,
    /// A failure found while polling; reported by the next timeout.
    failed: Option<CloseReason>,
}

impl Session {
    /// Makes a session as the carrier opens. Its first frame, if this end has one to send, waits for credit.
    #[must_use]
    pub fn new(config: SessionConfig, crypto: Arc<dyn Crypto>, now: Instant) -> Self {
        let bounds = Bounds {
            max_frame: config.max_frame.clamp(PREAUTH_FRAME_BYTES_MAX, FRAME_BYTES_MAX),
            frame_charge: config.frame_charge,
            relay_bytes_max: config.relay_bytes_max,
            service: config.service,
            link: Arc::clone(&config.link),
        };
        let timeout = config.link.handshake_timeout;
        let begins = config.role == Role::Initiator || config.secrecy != Secrecy::Noise;
        let (handshake, first) = Handshaking::new(config, crypto);
        let failed = (begins && first.is_none()).then_some(CloseReason::Handshake);
        Self {
            bounds,
            state: State::Handshaking { handshake: Box::new(handshake), deadline: now + timeout, timeout },
            outbox: first.into_iter().collect(),
            queues: Queues::default(),
            sent: Vec::new(),
            credit: 0,
            waiting: None,
            asked: None,
            rtt: RoundTrip::default(),
            failed,
        }
    }

    /// Takes a frame of the peer.
    pub fn handle_frame(&mut self, frame: &Bytes, now: Instant) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        match &mut self.state {
            State::Handshaking { handshake, .. } => {
                let step = handshake.handle_frame(frame);
                self.handle_step(step, now, &mut events);
            }
            State::Established(link) if !link.closed => {
                if let Err(reason) = link.handle_frame(frame, &self.bounds, now, &mut events) {
                    self.close(reason, &mut events);
                }
            }
            State::Established(_) | State::Closed => {}
        }
        self.watch(now);
        events
    }

    /// Adds credit: bytes of frames that the carrier takes more.
    pub const fn grant(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// Queues a message. It may be queued before the session is established, and leaves after.
    ///
    /// # Errors
    /// See [`QueueError`]; nothing was queued then.
    pub fn queue(&mut self, class: Class, message: Outgoing, now: Instant) -> Result<(), QueueError> {
        let open = match &self.state {
            State::Handshaking { .. } => true,
            State::Established(link) => !link.closed || class == Class::Control,
            State::Closed => false,
        };
        if !open {
            return Err(QueueError::Closed);
        }
        if message.len() > self.bounds.link.message_bytes_max {
            return Err(QueueError::TooLarge);
        }
        self.queues.push(class, message, self.bounds.queue_bytes_max(class))?;
        self.watch(now);
        Ok(())
    }

    /// The next frame within the credit, which it uses up; `None` if nothing waits or the credit is too small.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(frame) = self.outbox.front() {
            self.credit = self.credit.checked_sub(frame.len().saturating_add(self.bounds.frame_charge))?;
            self.asked = self.awaits_answer().then_some(now);
            let frame = self.outbox.pop_front();
            if self.outbox.is_empty() {
                self.outbox = VecDeque::new();
            }
            self.progressed(now);
            return frame;
        }
        let credit = self.credit.checked_sub(self.bounds.frame_charge)?;
        let room = credit.min(self.bounds.max_frame).checked_sub(FRAME_OVERHEAD)?;
        let State::Established(link) = &mut self.state else { return None };
        let mut out = link.frame(&mut self.queues, &mut self.sent, room, now)?;
        if link.cipher.encrypt_in_place(&mut out, HEADER_BYTES).is_err() {
            // The counter is spent after 2^64 frames.
            self.failed = Some(CloseReason::Closed);
            return None;
        }
        self.credit = credit.saturating_sub(out.len());
        self.progressed(now);
        Some(Bytes::from(out))
    }

    /// What was handed over of messages with tokens since the last call: one entry a token, the latest.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.sent)
    }

    /// Fires what is due. Spurious calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        if let Some(reason) = self.failed.take() {
            if !self.is_closed() {
                self.close(reason, &mut events);
            }
            return events;
        }
        match &mut self.state {
            State::Handshaking { deadline, .. } => {
                if now >= *deadline {
                    self.close(CloseReason::HandshakeTimeout, &mut events);
                }
                return events;
            }
            State::Established(link) if !link.closed => {
                if link.keepalive.handle_timeout(now) {
                    self.close(CloseReason::Silent, &mut events);
                    return events;
                }
            }
            State::Established(_) | State::Closed => return events,
        }
        if self.stalled_at().is_some_and(|at| now >= at) {
            self.handle_stall(now, &mut events);
        }
        self.watch(now);
        events
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return Some(Instant::ZERO);
        }
        match &self.state {
            State::Handshaking { deadline, .. } => Some(*deadline),
            State::Established(link) if !link.closed => {
                let at = link.keepalive.poll_timeout();
                self.stalled_at().into_iter().chain(at).min()
            }
            State::Established(_) | State::Closed => None,
        }
    }

    /// Sends a ping at once, unless one is under way: [`SessionEvent::RoundTrip`] answers. No-op unless established.
    pub fn probe(&mut self, now: Instant) {
        if let State::Established(link) = &mut self.state
            && !link.closed
        {
            link.keepalive.probe(now);
            self.watch(now);
        }
    }

    /// Closes a session whose peer is not authenticated, with a frame that says why. No event follows. No-op otherwise.
    pub fn refuse(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Handshaking { .. }) {
            self.shut();
            self.outbox.push_back(frame::refused(reason));
        }
    }

    /// Gives the handshake more time than [`LinkConfig::handshake_timeout`]: the other end begins it later than this one
    /// awaits it. No-op once it is over.
    pub fn allow_handshake(&mut self, more: Duration) {
        if let State::Handshaking { deadline, timeout, .. } = &mut self.state {
            *deadline += more;
            *timeout = timeout.saturating_add(more);
        }
    }

    /// Restarts the periods of liveness, of the handshake and of a stall: time passed that nobody observed.
    pub fn shift_liveness(&mut self, now: Instant) {
        match &mut self.state {
            State::Handshaking { deadline, timeout, .. } => *deadline = now + *timeout,
            State::Established(link) => link.keepalive.shift(now),
            State::Closed => {}
        }
        self.asked = None;
        self.waiting = self.waiting.map(|_| now);
    }

    /// Drops all queued messages but control; gives their tokens. The peer is told of partly sent ones.
    pub fn purge_data(&mut self, now: Instant) -> Vec<u64> {
        let purged = self.queues.purge(&Class::DATA);
        self.watch(now);
        purged.tokens
    }

    /// Whether the queue of a class has room for a message of `bytes`.
    #[must_use]
    pub fn has_room(&self, class: Class, bytes: usize) -> bool {
        self.queues.fits(class, bytes, self.bounds.queue_bytes_max(class))
    }

    /// Bytes that wait in a class, those of a partly sent message that are left included.
    #[must_use]
    pub fn queued_bytes(&self, class: Class) -> usize {
        self.queues.bytes(class)
    }

    /// Whether nothing waits to be sent: a draining session may close.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        !self.waits()
    }

    /// Credit left, bytes.
    #[must_use]
    pub const fn credit(&self) -> usize {
        self.credit
    }

    /// Whether the peer is authenticated and the session is not closed.
    #[must_use]
    pub fn is_established(&self) -> bool {
        matches!(&self.state, State::Established(link) if !link.closed)
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.state {
            State::Handshaking { .. } => false,
            State::Established(link) => link.closed,
            State::Closed => true,
        }
    }

    /// The authenticated peer, also after the close.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.established().map(|link| &link.peer)
    }

    /// The channel binding.
    #[must_use]
    pub fn binding(&self) -> Option<&[u8; 32]> {
        self.peer().map(|peer| &peer.binding)
    }

    /// The smoothed round-trip time; the handshake gives its first sample.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.established().and_then(|link| link.keepalive.rtt())
    }

    /// When the peer's last authenticated frame came.
    #[must_use]
    pub fn last_heard(&self) -> Option<Instant> {
        self.established().map(|link| link.keepalive.last_heard())
    }

    /// Bytes that partly received messages have announced: the most that they can come to hold.
    #[must_use]
    pub fn reassembly_bytes(&self) -> usize {
        self.established().map_or(0, |link| link.reassembly.announced_bytes())
    }

    fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Established(link) => Some(link),
            State::Handshaking { .. } | State::Closed => None,
        }
    }

    /// Whether the next frame of the peer answers the own one.
    const fn awaits_answer(&self) -> bool {
        matches!(&self.state, State::Handshaking { handshake, .. } if handshake.alternates())
    }

    fn handle_step(&mut self, step: Step, now: Instant, events: &mut Vec<SessionEvent>) {
        if let Some(asked) = self.asked.take() {
            self.rtt.sample(now.since(asked));
        }
        match step {
            Step::Reply(frame) => {
                self.outbox.push_back(frame);
                // Each end is awaited so long: a peer far out needs as much for either of its two messages.
                if let State::Handshaking { deadline, timeout, .. } = &mut self.state {
                    *deadline = now + *timeout;
                }
            }
            Step::Finished { reply, cipher, peer } => {
                self.outbox.extend(reply);
                self.waiting = None;
                events.push(SessionEvent::Established(peer.clone()));
                let mut keepalive = self.bounds.keepalive(peer.service, self.rtt, now);
                if keepalive.rtt().is_none() {
                    // On a channel both ends speak at once, so the handshake measured nothing.
                    keepalive.probe(now);
                }
                self.state = State::Established(Box::new(Established {
                    cipher,
                    keepalive,
                    peer,
                    reassembly: Reassembly::new(
                        self.bounds.link.message_bytes_max,
                        self.bounds.link.reassembly_bytes_max,
                    ),
                    heard: false,
                    closed: false,
                }));
            }
            Step::Closed(reason, frame) => {
                self.close(reason, events);
                self.outbox.extend(frame);
            }
        }
    }

    fn handle_stall(&mut self, now: Instant, events: &mut Vec<SessionEvent>) {
        self.waiting = Some(now);
        let purged = self.queues.purge(&Class::DATA);
        if purged.bytes == 0 {
            self.close(CloseReason::SlowReader, events);
        } else {
            events.push(SessionEvent::DataDropped { bytes: purged.bytes, tokens: purged.tokens });
        }
    }

    fn close(&mut self, reason: CloseReason, events: &mut Vec<SessionEvent>) {
        self.shut();
        events.push(SessionEvent::Closed(reason));
    }

    fn shut(&mut self) {
        self.waiting = None;
        match &mut self.state {
            State::Established(link) => {
                link.closed = true;
                self.queues.purge(&Class::DATA);
            }
            State::Handshaking { .. } | State::Closed => {
                self.state = State::Closed;
                self.outbox.clear();
                self.queues.purge(&Class::ALL);
            }
        }
    }

    fn waits(&self) -> bool {
        !self.outbox.is_empty()
            || !self.queues.is_empty()
            || self.established().is_some_and(|link| !link.closed && link.keepalive.is_due())
    }

    /// A frame left, or could not have left before.
    fn progressed(&mut self, now: Instant) {
        self.waiting = None;
        self.watch(now);
    }

    /// Starts or stops the watch over a stall.
    fn watch(&mut self, now: Instant) {
        self.waiting = if self.waits() { self.waiting.or(Some(now)) } else { None };
    }

    fn stalled_at(&self) -> Option<Instant> {
        self.waiting.map(|since| since + self.bounds.link.stalled_timeout)
    }
}

impl Bounds {
    /// Bulk is bounded by the owner, whose bodies are shared between links.
    fn queue_bytes_max(&self, class: Class) -> usize {
        match class {
            Class::Control | Class::Small => self.link.queue_bytes_max,
            Class::Relay => self.relay_bytes_max,
            Class::Bulk => usize::MAX,
        }
    }

    fn keepalive(&self, peer_is_service: bool, rtt: RoundTrip, now: Instant) -> Keepalive {
        let link = &self.link;
        let keepalive = if self.service && peer_is_service {
            Keepalive::new(link.ping_service, link.silence_service, rtt, now)
        } else {
            Keepalive::new(link.ping_client, link.silence_client, rtt, now)
        };
        match link.keepalive {
            KeepAlive::Ping => keepalive,
            KeepAlive::Transport => keepalive.passive(),
        }
    }
}

/// Plaintext of a ping or pong as a whole chunk: tag, length, kind, and a token of up to ten bytes.
const PROBE_CHUNK_BYTES_MAX: usize = 13;

impl Established {
    fn handle_frame(
        &mut self,
        frame: &Bytes,
        bounds: &Bounds,
        now: Instant,
        events: &mut Vec<SessionEvent>,
    ) -> Result<(), CloseReason> {
        if frame.len() > bounds.max_frame {
            return Err(CloseReason::TooLarge);
        }
        let ciphertext = match frame::split(frame) {
            Some((FrameKind::Transport, ciphertext)) => ciphertext,
            // A responder may refuse after message 3, and nobody else can after the first frame that authenticates.
            Some((FrameKind::Refused, _)) if !self.heard => {
                return Err(frame::parse_refused(frame).unwrap_or(CloseReason::Violation));
            }
            Some((_, _)) | None => return Err(CloseReason::Violation),
        };
        let mut plaintext = Vec::with_capacity(frame.len().saturating_sub(HEADER_BYTES));
        self.cipher.decrypt(ciphertext, &mut plaintext).map_err(|_| CloseReason::Decrypt)?;
        self.heard = true;
        self.keepalive.handle_frame(now);
        let mut arrivals = Vec::new();
        let outcome = self.reassembly.handle_frame(&Bytes::from(plaintext), &mut arrivals);
        for arrival in arrivals {
            match arrival {
                Arrival::Message(message) => self.handle_message(message, now, events)?,
                Arrival::Progress { received, total } => {
                    events.push(SessionEvent::Progress { received, total });
                }
            }
        }
        outcome
    }

    fn handle_message(
        &mut self,
        message: Bytes,
        now: Instant,
        events: &mut Vec<SessionEvent>,
    ) -> Result<(), CloseReason> {
        match message.split_first() {
            Some((&kind::PING, body)) => self.keepalive.handle_ping(token(body)?),
            Some((&kind::PONG, body)) => {
                let sample = self.keepalive.handle_pong(token(body)?, now);
                events.extend(sample.map(SessionEvent::RoundTrip));
            }
            _ => events.push(SessionEvent::Message(message)),
        }
        Ok(())
    }

    /// The next frame, not yet encrypted: its header and chunks of at most `room` bytes, with space for the tag. `None`
    /// if nothing that waits fits.
    fn frame(
        &mut self,
        queues: &mut Queues,
        sent: &mut Vec<Sent>,
        room: usize,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let due = self.keepalive.is_due() && !self.closed;
        if queues.is_empty() && !due {
            return None;
        }
        let probes = if due { 2 * PROBE_CHUNK_BYTES_MAX } else { 0 };
        let chunks = queues.chunk_bytes(room).saturating_add(probes).min(room);
        let mut out = Vec::with_capacity(chunks.saturating_add(FRAME_OVERHEAD));
        out.extend_from_slice(&frame::header(FrameKind::Transport));
        let end = room.saturating_add(HEADER_BYTES);
        if due {
            if let Some(token) = self.keepalive.due_pong()
                && push_probe(kind::PONG, token, end, &mut out)
            {
                self.keepalive.pong_sent();
            }
            if let Some(token) = self.keepalive.due_ping()
                && push_probe(kind::PING, token, end, &mut out)
            {
                self.keepalive.ping_sent(now);
            }
        }
        queues.fill(end.saturating_sub(out.len()), &mut out, sent);
        (out.len() > HEADER_BYTES).then_some(out)
    }
}

fn token(body: &[u8]) -> Result<u64, CloseReason> {
    match postcard::take_from_bytes::<Ping>(body) {
        Ok((ping, [])) => Ok(ping.token),
        Ok(_) | Err(_) => Err(CloseReason::Violation),
    }
}

/// Appends a ping or pong as a whole chunk if `out` stays within `end` bytes; whether it did.
fn push_probe(kind: u8, token: u64, end: usize, out: &mut Vec<u8>) -> bool {
    let body = postcard::to_allocvec(&Ping { token }).unwrap_or_default();
    let length = body.len().saturating_add(1);
    if out.len().saturating_add(2).saturating_add(length) > end {
        return false;
    }
    out.push(WHOLE);
    frame::push_varint(out, length);
    out.push(kind);
    out.extend_from_slice(&body);
    true
}
