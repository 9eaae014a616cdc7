//! The node's timers, its wall clock and its randomness.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use crate::crypto::sha256;
use crate::{Duration, Instant, LinkId, PeerId, RequestId, RoomId};

/// What a deadline is for. The order breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The session's own deadline: handshake, ping, silence, stall.
    Session(LinkId),
    /// A dial was not answered.
    Dial(LinkId),
    /// A contested identity: the older link did not prove itself alive.
    Probe(LinkId),
    /// A suspected peer was to answer by now.
    Life(LinkId),
    /// A draining link is closed in any case.
    Drain(LinkId),
    /// A circuit was not opened.
    Circuit(LinkId),
    /// Credit for relayed bytes that was held back.
    Relay(LinkId),
    /// A relayed pair may link directly.
    Upgrade(PeerId),
    /// A hop was not acknowledged.
    Hop(RequestId, u8),
    /// An attempt was not answered.
    Attempt(RequestId),
    /// The pause before the next attempt is over.
    Retry(RequestId),
    /// Some whom a walk asked were silent for too long.
    Walk(RequestId),
    /// Hellos that became due.
    Hello,
    /// Contacts, homes, hand-over: after something changed.
    Maintain,
    /// The node becomes ready in any case.
    Ready,
    /// Self-lookup.
    SelfLookup,
    /// A candidate of a bucket is tried.
    Trial,
    /// Renewal of the own home claim.
    HomeClaim,
    /// Notifications that became due.
    Notify,
    /// Digests of held claims.
    AntiEntropy,
    /// Links without a reason, expired claims.
    Sweep,
    /// A lost contact or a bootstrap is dialled.
    Heal,
    /// State is saved.
    Save,
    /// A join is answered in any case.
    Join(RoomId),
    /// A claim is renewed.
    Publish(RoomId),
    /// A member is connected to.
    Connect(RoomId, PeerId),
    /// A member without a link counts as left.
    Suspect(RoomId, PeerId),
    /// Claims of a room are passed on to its members.
    Gossip(RoomId),
    /// Gaps and pulls of a room.
    Streams(RoomId),
    /// Own member data that changed are told.
    MemberData(RoomId),
    /// The shutdown ends in any case.
    Shutdown,
}

impl Timer {
    /// A stable name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Dial(_) => "dial",
            Self::Probe(_) => "probe",
            Self::Life(_) => "life",
            Self::Drain(_) => "drain",
            Self::Circuit(_) => "circuit",
            Self::Relay(_) => "relay",
            Self::Upgrade(_) => "upgrade",
            Self::Hop(..) => "hop",
            Self::Attempt(_) => "attempt",
            Self::Retry(_) => "retry",
            Self::Walk(_) => "walk",
            Self::Hello => "hello",
            Self::Maintain => "maintain",
            Self::Ready => "ready",
            Self::SelfLookup => "self-lookup",
            Self::Trial => "trial",
            Self::HomeClaim => "home-claim",
            Self::Notify => "notify",
            Self::AntiEntropy => "anti-entropy",
            Self::Sweep => "sweep",
            Self::Heal => "heal",
            Self::Save => "save",
            Self::Join(_) => "join",
            Self::Publish(_) => "publish",
            Self::Connect(..) => "connect",
            Self::Suspect(..) => "suspect",
            Self::Gossip(_) => "gossip",
            Self::Streams(_) => "streams",
            Self::MemberData(_) => "member-data",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Wall time, derived from the monotonic clock and the last reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    unix_ms: u64,
    read_at: Instant,
}

impl WallClock {
    pub(super) const fn new(unix_ms: u64, now: Instant) -> Self {
        Self { unix_ms, read_at: now }
    }

    /// Milliseconds since the Unix epoch.
    pub(super) const fn unix_ms(&self, now: Instant) -> u64 {
        self.unix_ms.saturating_add(now.since(self.read_at).as_millis() as u64)
    }
}

/// A child generator for each concern, so that a new draw in one place does not shift the others.
#[derive(Clone, Debug)]
pub(super) struct Randomness {
    /// Ephemeral keys of handshakes and seals.
    pub(super) keys: ChaCha12Rng,
    /// Request ids.
    pub(super) requests: ChaCha12Rng,
    /// Jitter of periods.
    pub(super) jitter: ChaCha12Rng,
    /// Choices among equals.
    pub(super) choices: ChaCha12Rng,
}

impl Randomness {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let child = |label: &[u8]| ChaCha12Rng::from_seed(sha256(&[seed, label]));
        Self {
            keys: child(b"keys"),
            requests: child(b"requests"),
            jitter: child(b"jitter"),
            choices: child(b"choices"),
        }
    }

    /// A number that tells one attempt of two peers from another.
    pub(super) fn session(&mut self) -> u64 {
        self.choices.next_u64()
    }

    /// Fresh key material.
    pub(super) fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        self.keys.fill_bytes(&mut key);
        key
    }

    /// `period` ±10 %.
    pub(super) fn jittered(&mut self, period: Duration) -> Duration {
        let permille = 900 + u64::from(self.jitter.next_u32() % 201);
        Duration::from_micros(crate::time::micros(period).saturating_mul(permille) / 1000)
    }

    /// A uniformly drawn duration up to `limit`.
    pub(super) fn up_to(&mut self, limit: Duration) -> Duration {
        let limit = crate::time::micros(limit).saturating_add(1);
        Duration::from_micros(self.jitter.next_u64().checked_rem(limit).unwrap_or(0))
    }
}
