//! What peers may ask for, and what becomes of those that break the rules.
//!
//! **Limits.** What a peer asks for itself is limited where it enters the network: at the first hop, which knows by its
//! link who asks. What peers pass on is not counted against them, but in the table of packets that wait for an
//! acknowledgement each has its share. What is refused is counted, acknowledged, and costs the peer nothing else: its
//! attempt goes by another first hop when its time is over. Bytes that a client has relayed are never refused, as a relay
//! loses nothing: credit comes at the rate.
//!
//! **Scores and bans.** What only a faulty or hostile implementation can do adds to its score, which decays; at the bound
//! the peer is banned for a while. What an honest one could be led to do counts for nothing. A ban is on the proved
//! identity, never on an address, so nobody can have somebody else's address banned.

use alloc::collections::BTreeMap;

use super::Node;
use super::api::CloseReason;
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use crate::rate::Gcra;
use crate::wire::message::Purpose;
use crate::{Duration, Instant, LimitConfig, LinkId, PeerId};

/// What a peer did that no correct implementation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// A message that does not decode, on an authenticated link.
    Undecodable,
    /// A packet of somebody else's under an own name, or the other way round: its route does not end with the sender.
    Forged,
    /// Two different messages under one number, both authentic.
    Equivocation,
}

impl Offence {
    const fn points(self) -> u32 {
        match self {
            Self::Undecodable => 10,
            Self::Forged | Self::Equivocation => 100,
        }
    }
}

/// What is remembered of one peer, as long as there is something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    requests: Gcra,
    finds: Gcra,
    publishes: Gcra,
    relayed: Gcra,
    points: u32,
    /// When the points were right last.
    judged: Instant,
}

impl Standing {
    fn points_at(&self, decay: Duration, now: Instant) -> u32 {
        let passed = now.since(self.judged).as_nanos().checked_div(decay.as_nanos()).unwrap_or(0);
        self.points.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }

    fn is_clear(&self, decay: Duration, now: Instant) -> bool {
        let idle =
            [self.requests, self.finds, self.publishes, self.relayed].iter().all(|rate| rate.is_idle(now));
        idle && self.points_at(decay, now) == 0
    }
}

/// All peers of which something is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Standings {
    peers: BTreeMap<PeerId, Standing>,
    /// Until when who is banned.
    bans: BTreeMap<PeerId, Instant>,
}

impl Standings {
    /// The entry of a peer; `None` if too many others have one.
    fn entry(&mut self, peer: PeerId, limits: &LimitConfig, now: Instant) -> Option<&mut Standing> {
        if self.peers.len() >= limits.peers_max && !self.peers.contains_key(&peer) {
            self.sweep(limits, now);
            if self.peers.len() >= limits.peers_max {
                return None;
            }
        }
        Some(self.peers.entry(peer).or_default())
    }

    /// Adds points; whether the peer is banned for it.
    fn add(&mut self, peer: PeerId, points: u32, limits: &LimitConfig, now: Instant) -> bool {
        let Some(standing) = self.entry(peer, limits, now) else { return points >= limits.score_max };
        standing.points = standing.points_at(limits.score_decay, now).saturating_add(points);
        standing.judged = now;
        standing.points >= limits.score_max
    }

    /// Bans a peer; of too many, the one whose ban ends first is let go.
    fn ban(&mut self, peer: PeerId, limits: &LimitConfig, now: Instant) {
        self.peers.remove(&peer);
        if self.bans.len() >= limits.bans_max && !self.bans.contains_key(&peer) {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            first.map(|first| self.bans.remove(&first));
        }
        if self.bans.len() < limits.bans_max {
            self.bans.insert(peer, now + limits.ban);
        }
    }

    fn is_banned(&self, peer: PeerId, now: Instant) -> bool {
        self.bans.get(&peer).is_some_and(|until| *until > now)
    }

    /// Those who are banned, in the order of their ids.
    pub(super) fn banned(&self, now: Instant) -> impl Iterator<Item = PeerId> + use<'_> {
        self.bans.iter().filter(move |(_, until)| **until > now).map(|(peer, _)| *peer)
    }

    fn sweep(&mut self, limits: &LimitConfig, now: Instant) {
        self.peers.retain(|_, standing| !standing.is_clear(limits.score_decay, now));
        self.bans.retain(|_, until| *until > now);
    }

    /// Entries and bans.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.peers.len(), self.bans.len())
    }
}

impl Node {
    /// Whether a peer may ask for this now, as its first hop.
    pub(super) fn may_ask(&mut self, peer: PeerId, purpose: Option<Purpose>, now: Instant) -> Fate {
        let limits = &self.config.limits;
        // A holder tells all claimants of a room of a newcomer at once: what holders may do is not for clients' rates.
        let service =
            self.peers.get(&peer).and_then(|id| self.links.get(id)).is_some_and(|link| link.is_service());
        if purpose == Some(Purpose::Notify) && service {
            return Ok(());
        }
        let standing = self.standings.entry(peer, limits, now).ok_or(Counter::RequestsLimited)?;
        let (allowed, counter) = match purpose {
            Some(Purpose::Publish | Purpose::Withdraw) => {
                (standing.publishes.take(limits.publishes, 1, now), Counter::PublishesLimited)
            }
            Some(Purpose::Find) if !standing.finds.take(limits.finds, 1, now) => {
                (false, Counter::FindsLimited)
            }
            Some(Purpose::Find | Purpose::Nearest | Purpose::Connect | Purpose::Notify) | None => {
                (standing.requests.take(limits.requests, 1, now), Counter::RequestsLimited)
            }
        };
        if allowed { Ok(()) } else { Err(counter) }
    }

    /// How much credit for relayed bytes may be given now to whoever is at the other end of a link, counted as given: all
    /// that is asked for, unless it is a client, whose rate bounds it.
    ///
    /// # Errors
    /// When there will be some, if there is none now.
    pub(super) fn relay_allowance(
        &mut self,
        id: LinkId,
        bytes: usize,
        now: Instant,
    ) -> Result<usize, Instant> {
        let client =
            self.links.get(&id).filter(|link| !link.is_service()).and_then(|link| link.peer.as_ref());
        let limits = &self.config.limits;
        let Some(standing) = client.and_then(|peer| self.standings.entry(peer.id, limits, now)) else {
            return Ok(bytes);
        };
        let some = u32::try_from(bytes).unwrap_or(u32::MAX).min(limits.relayed_bytes.burst);
        match standing.relayed.conforms_at(limits.relayed_bytes, some) {
            Some(at) if at > now => {
                self.metrics.count(Counter::RelayDelayed);
                Err(at)
            }
            Some(_) if standing.relayed.take(limits.relayed_bytes, some, now) => Ok(some as usize),
            // A rate of nothing bounds nothing: a relay loses no bytes.
            Some(_) | None => Ok(bytes),
        }
    }

    /// A peer did what no correct implementation does; whether it is banned for it, and its link gone.
    pub(super) fn offended(&mut self, peer: PeerId, offence: Offence, now: Instant) -> bool {
        self.metrics.count(Counter::Offences);
        let limits = &self.config.limits;
        if peer == self.me || !self.standings.add(peer, offence.points(), limits, now) {
            return false;
        }
        self.standings.ban(peer, limits, now);
        self.metrics.count(Counter::PeersBanned);
        if let Some(&id) = self.peers.get(&peer) {
            self.fail_link(id, CloseReason::Violation, now);
        }
        true
    }

    /// Whether nothing is to be had to do with a peer; counts what is refused for it.
    pub(super) fn refuses(&mut self, peer: PeerId, now: Instant) -> bool {
        let banned = self.standings.is_banned(peer, now);
        if banned {
            self.metrics.count(Counter::BannedRefused);
        }
        banned
    }

    pub(super) fn sweep_standings(&mut self, now: Instant) {
        self.standings.sweep(&self.config.limits, now);
    }

    /// Credit that was held back is due.
    pub(super) fn relay_due(&mut self, id: LinkId, now: Instant) {
        let numbers: alloc::vec::Vec<u32> =
            self.circuits.range((id, 0)..=(id, u32::MAX)).map(|((_, number), _)| *number).collect();
        for number in numbers {
            if self.timers.at(Timer::Relay(id)).is_none() {
                self.grant_owed((id, number), now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LimitConfig {
        LimitConfig { bans_max: 3, peers_max: 4, ..LimitConfig::default() }
    }

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    #[test]
    fn scores_add_up_and_decay_and_only_the_bound_bans() {
        let (limits, mut standings) = (limits(), Standings::default());
        let start = Instant::from_secs(100);
        assert!((0..9).all(|_| !standings.add(peer(1), 10, &limits, start)));
        // Ten points take ten times the decay of one.
        let later = start + limits.score_decay.saturating_mul(10);
        assert!(!standings.add(peer(1), 10, &limits, later));
        assert!(standings.add(peer(1), 10, &limits, later));
        assert!(
            standings.add(peer(2), Offence::Forged.points(), &limits, start),
            "proof needs no second time"
        );
    }

    #[test]
    fn bans_end_and_are_bounded_and_the_oldest_goes_first() {
        let (limits, mut standings, start) = (limits(), Standings::default(), Instant::from_secs(100));
        for number in 0..4 {
            standings.ban(peer(number), &limits, start + Duration::from_secs(u64::from(number)));
        }
        assert_eq!(standings.len().1, 3);
        assert!(!standings.is_banned(peer(0), start), "it made way");
        assert!((1..4).all(|number| standings.is_banned(peer(number), start)));
        let over = start + limits.ban + Duration::from_secs(1);
        assert!(!standings.is_banned(peer(1), over) && standings.is_banned(peer(2), over));
        standings.sweep(&limits, over);
        assert_eq!(standings.len().1, 2);
    }

    #[test]
    fn a_million_names_take_no_more_than_a_few() {
        let (limits, mut standings, now) = (limits(), Standings::default(), Instant::from_secs(100));
        for number in 0..1_000_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            if let Some(standing) = standings.entry(PeerId(id), &limits, now) {
                assert!(standing.requests.take(limits.requests, 1, now));
            }
            standings.ban(PeerId(id), &limits, now);
            assert!(standings.len().0 <= 4 && standings.len().1 <= 3);
        }
    }

    #[test]
    fn what_is_used_up_is_forgotten_when_it_has_come_back() {
        let (limits, mut standings, start) = (limits(), Standings::default(), Instant::from_secs(100));
        let standing = standings.entry(peer(1), &limits, start).unwrap();
        assert!(standing.requests.take(limits.requests, limits.requests.burst, start));
        standings.sweep(&limits, start + Duration::from_millis(1900));
        assert_eq!(standings.len().0, 1, "two seconds are used up");
        standings.sweep(&limits, start + Duration::from_secs(2));
        assert_eq!(standings.len().0, 0);
    }
}
