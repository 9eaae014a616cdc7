//! A node's life: start, saved state, clock, periodic work, finds of the application, shutdown.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{CloseReason, Event, FindReport, Snapshot};
use super::clock::{Timer, WallClock};
use super::links::{DialFor, Link};
use super::metrics::Counter;
use super::requests::{Answer, Content, Task};
use crate::crypto::Crypto;
use crate::routing::book::{Book, BookLimits};
use crate::routing::key::home_id;
use crate::routing::popularity::PopularityLimits;
use crate::routing::store::StoreLimits;
use crate::routing::table::TableLimits;
use crate::wire::message::Purpose;
use crate::wire::{Claim, Sequence};
use crate::{
    Address, Config, Duration, Identity, Instance, Instant, LinkId, NodeKind, PeerId, RequestId, RoomId,
    SaveId,
};

/// Period of sweeps over links and claims.
const SWEEP: Duration = Duration::from_secs(5);
/// Period of saves, and the first pause: a young node saves as often as its age doubles, since it has most to lose.
const SAVE: Duration = Duration::from_secs(60);
const SAVE_YOUNG: Duration = Duration::from_secs(5);
/// A step of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// What is queued is sent.
    Sending,
    /// Rooms are left, claims are withdrawn.
    Withdrawing,
    /// Circuits are closed.
    Circuits,
    /// All links are closed.
    Links,
    /// The node has ended, and does nothing any more.
    Over,
}

impl Farewell {
    /// By when a step ends at the latest: four seconds in all.
    const fn timeout(self) -> Duration {
        match self {
            Self::Sending => Duration::from_millis(2500),
            Self::Withdrawing | Self::Circuits | Self::Links => Duration::from_millis(500),
            Self::Over => Duration::ZERO,
        }
    }
}

/// The peer id of an identity, and its home room.
pub(super) fn id_and_home(identity: &Identity, crypto: &dyn Crypto) -> (PeerId, RoomId) {
    let me = identity.peer_id(crypto);
    (me, home_id(me))
}

/// A new run: its boot counter is larger than that of the last one.
pub(super) fn next_instance(last_boot: u64, unix_ms: u64, session: u64) -> Instance {
    Instance { boot: last_boot.saturating_add(1).max(unix_ms), session }
}

/// The addresses that a node announces: those of a service node, up to the bound.
pub(super) fn own_addresses(config: &Config, mut addresses: Vec<Address>) -> Vec<Address> {
    addresses.truncate(if config.kind == NodeKind::Service { Address::ADVERTISED_MAX } else { 0 });
    addresses
}

/// A book that allows the classes in which the node itself listens.
pub(super) fn empty_book(me: PeerId, config: &Config, own: &[Address]) -> Book {
    let mut book = Book::new(me, book_limits(config));
    for address in own {
        book.allow(address.class());
    }
    book
}

fn book_limits(config: &Config) -> BookLimits {
    let (first, longest) = config.routing.offline_retry;
    let defaults = BookLimits::default();
    BookLimits {
        addresses_max: config.routing.addresses_max,
        backoff: (first, defaults.backoff.1),
        backoff_configured: longest,
        ..defaults
    }
}

pub(super) const fn table_limits(config: &Config, salt: u64) -> TableLimits {
    TableLimits {
        leaf_set: config.routing.leaf_set,
        bucket_links: config.routing.bucket_links,
        known_max: config.routing.contacts_max,
        salt,
    }
}

pub(super) const fn store_limits(config: &Config, salt: u64) -> StoreLimits {
    StoreLimits {
        entries_max: config.routing.claims_max,
        claims_per_room: config.routing.claims_per_room,
        rooms_per_peer: StoreLimits::ROOMS_PER_PEER,
        ttl: config.routing.claim_ttl,
        tolerance: config.routing.clock_tolerance,
        salt,
    }
}

/// How long a claim lives that is renewed after `pause`: half as long again, for retries. What lives longer stands for
/// members that are gone, and whoever joins then seeks them.
pub(super) fn claim_life(config: &Config, pause: Duration) -> Duration {
    pause.saturating_add(pause / 2).min(config.routing.claim_ttl)
}

/// A claim that is renewed after four fifths of its life has a fifth for retries.
const fn within(life: Duration) -> Duration {
    Duration::from_millis(life.as_millis() as u64 / 5 * 4)
}

/// The longest pause after which a claim may be renewed that has just been made.
pub(super) const fn renew_within(claim: &Claim) -> Duration {
    within(Duration::from_millis(claim.expiry_ms().saturating_sub(claim.issued_ms())))
}

/// The longest pause between renewals.
pub(super) const fn renewal_longest(config: &Config) -> Duration {
    within(config.routing.claim_ttl)
}

pub(super) fn popularity_limits(config: &Config) -> PopularityLimits {
    PopularityLimits {
        usual: config.routing.republish,
        spacing: config.routing.publish_spacing,
        longest: renewal_longest(config),
    }
}

impl Node {
    /// Asks for the state to be saved.
    pub(super) fn save(&mut self, now: Instant) {
        self.timers.set(Timer::Save, now + now.since(self.born).clamp(SAVE_YOUNG, SAVE));
        if self.saving.is_some() {
            return;
        }
        self.next_save = self.next_save.saturating_add(1);
        let id = SaveId(self.next_save);
        self.saving = Some(id);
        let addresses = if self.started { self.book.snapshot() } else { self.saved_addresses.clone() };
        let snapshot = Snapshot { boot: self.instance.boot, addresses };
        self.emit_save(id, Box::new(snapshot));
    }

    /// A save was answered. The first answer starts the node: its boot counter is safe, or cannot be made safe.
    pub(super) fn saved(&mut self, id: SaveId, ok: bool, now: Instant) {
        if self.saving != Some(id) {
            return self.metrics.count(Counter::UnknownSave);
        }
        self.saving = None;
        if !ok {
            self.metrics.count(Counter::SavesFailed);
        }
        if self.farewell == Some(Farewell::Over) {
            return;
        }
        if !ok {
            self.emit(Event::SaveFailed);
        }
        if self.farewell.is_none() && !core::mem::replace(&mut self.started, true) {
            self.start(now);
        }
    }

    fn start(&mut self, now: Instant) {
        let saved = core::mem::take(&mut self.saved_addresses);
        self.book.restore(&saved, now);
        self.timers.set(Timer::Sweep, now + SWEEP);
        self.timers.set(Timer::Heal, now);
        if self.is_service() {
            self.renew_home_claim(now);
            let first = self.random.jittered(self.config.routing.self_lookup_young);
            self.timers.set(Timer::SelfLookup, now + first);
            let period = self.random.jittered(self.config.routing.anti_entropy);
            self.timers.set(Timer::AntiEntropy, now + period);
            self.timers.set(Timer::Ready, now + Duration::from_millis(10));
            let trial = self.random.jittered(self.config.routing.proximity_trial);
            self.timers.set(Timer::Trial, now + trial);
        }
        let configured: Vec<Address> = self.book.configured().cloned().collect();
        for address in configured {
            self.dial(&address, DialFor::Bootstrap, now);
        }
        self.rooms_online(now);
    }

    pub(super) fn set_clock(&mut self, unix_ms: u64, resumed: bool, now: Instant) {
        self.wall = WallClock::new(unix_ms, now);
        self.unix_ms = unix_ms;
        if !resumed || self.farewell == Some(Farewell::Over) {
            return;
        }
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            if let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) {
                session.shift_liveness(now);
                session.probe(now);
                self.dirty.insert(id);
            }
        }
        self.republish_soon(now);
        self.timers.set_earlier(Timer::Heal, now);
    }

    /// The next (boot, counter) for a signed object.
    pub(super) fn next_sequence(&mut self) -> Sequence {
        self.counter = self.counter.saturating_add(1);
        let own = Sequence { boot: self.instance.boot, counter: self.counter };
        if own > self.sequence_floor {
            return own;
        }
        let Sequence { boot, counter } = self.sequence_floor;
        self.sequence_floor = match counter.checked_add(1) {
            Some(counter) => Sequence { boot, counter },
            None => Sequence { boot: boot.saturating_add(1), counter: 0 },
        };
        self.sequence_floor
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.timers.set(Timer::Sweep, now + SWEEP);
        self.sweep_links(now);
        self.sweep_circuits(now);
        self.expire_claims(now);
        self.expire_members(now);
        self.sweep_directs(now);
        self.sweep_standings(now);
        if self.home_search.asked.is_none() && !self.is_service() && self.table.links().len() > 0 {
            self.look_up_homes(now);
        }
    }

    pub(super) fn start_find(&mut self, room: RoomId, now: Instant) -> RequestId {
        self.request(Task::Find, Purpose::Find, room, None, Bytes::new(), None, now)
    }

    pub(super) fn find_ended(&mut self, answer: Answer, now: Instant) {
        let mut members: Vec<PeerId> = Vec::new();
        if let Content::Find(found) = &answer.content {
            members.extend(
                found.claims.iter().filter_map(|bytes| Claim::decode(bytes).ok()).map(|claim| claim.peer()),
            );
        }
        members.sort_unstable();
        members.dedup();
        self.emit(Event::FindFinished(FindReport {
            request: answer.id,
            room: answer.key,
            attempts: answer.attempts,
            route: answer.route,
            members,
            elapsed: now.since(answer.started),
        }));
    }

    pub(super) fn start_shutdown(&mut self, now: Instant) {
        if self.farewell.is_some() {
            return;
        }
        self.save(now);
        self.end_unopened_attempts(now);
        self.enter_farewell(Farewell::Sending, now);
    }

    /// Goes on with a shutdown as soon as what it waits for is done. A goodbye overtakes data, and its receiver closes
    /// the link, so each step waits until nothing is queued. Circuits go before what carries them.
    ///
    /// `true` if there was a step.
    pub(super) fn shutdown_progress(&mut self, now: Instant) -> bool {
        let Some(farewell) = self.farewell else { return false };
        let queued =
            |link: &Link| link.session.as_ref().is_some_and(|one| one.is_established() && !one.is_drained());
        if self.links.values().any(|link| queued(link)) {
            return false;
        }
        match farewell {
            Farewell::Sending if self.resumes_streams() || self.awaits_channels() => return false,
            Farewell::Sending => self.enter_farewell(Farewell::Withdrawing, now),
            Farewell::Withdrawing if self.requests.values().any(|one| one.task == Task::Withdraw) => {
                return false;
            }
            Farewell::Withdrawing => self.enter_farewell(Farewell::Circuits, now),
            Farewell::Circuits if self.links.values().any(|link| link.is_circuit()) => return false,
            Farewell::Circuits => self.enter_farewell(Farewell::Links, now),
            Farewell::Links | Farewell::Over => return false,
        }
        true
    }

    /// Whether a present member is linked anew and has not proved the room on that link yet: what its old link took with it is
    /// still to be sent.
    fn resumes_streams(&self) -> bool {
        let members = self.rooms.values().flat_map(|room| room.members.iter());
        members
            .filter(|(_, member)| member.present && member.link.is_none())
            .any(|(peer, _)| self.peers.contains_key(peer))
    }

    /// Whether a link to this peer may still be taken: always, but that a shutdown needs only those to present members. Such a
    /// link may take the place of one whose end the peer has begun, with all that is queued there.
    pub(super) fn takes_links_to(&self, peer: PeerId) -> bool {
        let present =
            || self.rooms.values().any(|room| room.members.get(&peer).is_some_and(|member| member.present));
        match self.farewell {
            None => true,
            Some(farewell) => farewell == Farewell::Sending && present(),
        }
    }

    /// The time for a step of the shutdown is over.
    pub(super) fn shutdown_due(&mut self, now: Instant) {
        match self.farewell {
            None | Some(Farewell::Over) => {}
            Some(Farewell::Sending) => self.enter_farewell(Farewell::Withdrawing, now),
            Some(Farewell::Withdrawing) => self.enter_farewell(Farewell::Circuits, now),
            Some(Farewell::Circuits) => self.enter_farewell(Farewell::Links, now),
            Some(Farewell::Links) => {
                let ids: Vec<LinkId> = self.links.keys().copied().collect();
                for id in ids {
                    self.drain_timeout(id, now);
                }
                self.finish_shutdown(now);
            }
        }
    }

    fn enter_farewell(&mut self, farewell: Farewell, now: Instant) {
        self.farewell = Some(farewell);
        self.timers.set(Timer::Shutdown, now + farewell.timeout());
        let drained: Vec<LinkId> = match farewell {
            Farewell::Sending | Farewell::Over => Vec::new(),
            Farewell::Withdrawing => {
                for room in self.room_order.clone() {
                    let _ = self.leave_room(room, now);
                }
                Vec::new()
            }
            Farewell::Circuits => {
                self.links.iter().filter(|(_, link)| link.is_circuit()).map(|(id, _)| *id).collect()
            }
            Farewell::Links => self.links.keys().copied().collect(),
        };
        for id in drained {
            self.drain_link(id, CloseReason::Shutdown, now);
        }
        self.finish_shutdown(now);
    }

    /// Announces the end once no link is left, and ends what was still asked.
    pub(super) fn finish_shutdown(&mut self, now: Instant) {
        if self.farewell != Some(Farewell::Links) || !self.links.is_empty() {
            return;
        }
        self.farewell = Some(Farewell::Over);
        self.started = false;
        self.end_requests(now);
        self.hops.clear();
        self.timers = crate::timer::Timers::new();
        self.emit(Event::ShutDown);
    }
}
