//! Which links are taken and kept: reasons, budgets, and one score for admission, eviction and pruning.
//!
//! Every link has reasons, told to the other end; a link closes when neither end has had one for a while. Budgets have a
//! soft cap, up to which anything is admitted, and a hard cap, which is never exceeded. Between them only what is worth
//! enough is admitted, and at a cap a newcomer takes the place of a link that is worth less by [`Rank`]. A rank must be
//! strictly higher to displace another, so two peers cannot displace each other in turn.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Node;
use super::api::{CloseReason, LinkReason, LinkReasons};
use super::dispatch::Fate;
use super::links::{DialFor, Link};
use super::metrics::Counter;
use crate::link::Peer;
use crate::wire::Message;
use crate::wire::message::Reasons;
use crate::{Duration, Instant, LinkId, NodeKind};

/// Slots of a service node's hard cap that only leaf neighbours and members of its rooms may take.
const RESERVED: usize = 16;

/// What a link is worth, by its best reason. The first thing that admission, eviction and pruning compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// For nothing.
    Idle,
    /// For what the other end wants, or its first moments.
    Remote,
    /// A bucket's, or it carries circuits.
    Bucket,
    /// In the leaf set of either end.
    Leaf,
    /// A fellow member of a room.
    Room,
    /// A client's home: without it nobody finds the client.
    Home,
}

/// What a link is worth: rank, age, round-trip time.
type Worth = (Rank, Reverse<Instant>, Reverse<Duration>);

/// Which links share a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    /// Links between service nodes.
    Overlay,
    /// The clients of a service node.
    Served,
    /// All links of a client.
    All,
}

impl Node {
    fn pool(&self, peer: &Peer) -> Pool {
        match (self.config.kind, peer.service) {
            (NodeKind::Client, _) => Pool::All,
            (NodeKind::Service, true) => Pool::Overlay,
            (NodeKind::Service, false) => Pool::Served,
        }
    }

    /// How many links a pool may have for one of this rank to be admitted.
    fn limit(&self, pool: Pool, rank: Rank) -> usize {
        let bounds = &self.config.link;
        match (pool, rank) {
            (Pool::Served, _) => bounds.clients_max,
            (_, Rank::Idle | Rank::Remote) => bounds.overlay_soft,
            (Pool::Overlay, Rank::Bucket) => bounds.overlay_hard.saturating_sub(RESERVED),
            (Pool::All, Rank::Bucket) => bounds.overlay_soft,
            (_, Rank::Leaf | Rank::Room | Rank::Home) => bounds.overlay_hard,
        }
    }

    fn in_pool(&self, pool: Pool) -> impl Iterator<Item = (LinkId, &Link)> {
        self.open_links().filter(move |(_, link)| match pool {
            Pool::All => true,
            Pool::Overlay => link.is_service(),
            Pool::Served => !link.is_service(),
        })
    }

    /// Whether an established link is taken into use; closes what must make way for it.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn admit(&mut self, id: LinkId, now: Instant) -> Result<(), CloseReason> {
        let Some(link) = self.links.get(&id) else { return Err(CloseReason::Closed) };
        let Some(peer) = link.peer.as_ref() else { return Err(CloseReason::Closed) };
        if !self.takes_links_to(peer.id) {
            return Err(CloseReason::Shutdown);
        }
        let (pool, rank) = (self.pool(peer), self.newcomer_rank(link, peer));
        if pool == Pool::Overlay && rank < Rank::Bucket && self.comes_from_a_crowd(link) {
            self.metrics.count(Counter::ContactsCrowded);
            return Err(CloseReason::Busy);
        }
        if self.in_pool(pool).count() < self.limit(pool, rank) {
            return Ok(());
        }
        if pool == Pool::Served {
            // Clients are worth the same to a service node, and there are too many to compare.
            return Err(CloseReason::Busy);
        }
        let worth_less =
            |(other, link): (LinkId, &Link)| self.worth_below(link, rank).map(|worth| (worth, other));
        let least = self.in_pool(pool).filter_map(worth_less).min();
        let Some((_, least)) = least else { return Err(CloseReason::Busy) };
        self.metrics.count(Counter::LinksEvicted);
        self.drain_link(least, CloseReason::Busy, now);
        Ok(())
    }

    /// Whether as many service nodes of one network have opened links to this node as may fill its buckets.
    fn comes_from_a_crowd(&self, link: &Link) -> bool {
        let Some(origin) = link.origin else { return false };
        let same = self.open_links().filter(|(_, other)| other.is_service() && other.origin == Some(origin));
        same.count() >= self.config.routing.prefix_contacts_max
    }

    /// What a link that is not in use yet will be worth.
    fn newcomer_rank(&self, link: &Link, peer: &Peer) -> Rank {
        let purpose = link.dial.as_ref().map(|(purpose, _)| *purpose);
        if self.is_fellow(peer.id) {
            return Rank::Room;
        }
        if !self.is_service() {
            return match purpose {
                Some(DialFor::Overlay) => Rank::Home,
                Some(DialFor::Room | DialFor::Query) => Rank::Room,
                _ if self.table.links().len() == 0 && peer.service => Rank::Home,
                Some(DialFor::Bootstrap | DialFor::Heal | DialFor::Trial) | None => Rank::Remote,
            };
        }
        if !peer.service {
            return Rank::Remote;
        }
        if self.are_leaves(peer) {
            Rank::Leaf
        } else if matches!(purpose, Some(DialFor::Overlay | DialFor::Trial)) {
            Rank::Bucket
        } else {
            Rank::Remote
        }
    }

    /// Whether either of two service nodes has the other among its nearest, which is not symmetric. By what this node knows:
    /// a peer's word for it would let anybody take the reserved places.
    fn are_leaves(&self, peer: &Peer) -> bool {
        let for_peer = self.table.rank(&peer.home, &self.home_room) < self.config.routing.leaf_set;
        for_peer || self.table.is_leaf(&peer.home)
    }

    /// What a link in use is worth.
    fn worth(&self, link: &Link) -> Worth {
        Self::worth_at(self.own_rank(link).max(self.their_rank(link)), link)
    }

    /// What a link in use is worth, if its rank is below `bound`.
    fn worth_below(&self, link: &Link, bound: Rank) -> Option<Worth> {
        let own = Some(self.own_rank(link)).filter(|own| *own < bound)?;
        let theirs = Some(self.their_rank(link)).filter(|theirs| *theirs < bound)?;
        Some(Self::worth_at(own.max(theirs), link))
    }

    fn worth_at(rank: Rank, link: &Link) -> Worth {
        let rtt = link.session.as_ref().and_then(crate::link::Session::rtt).unwrap_or(Duration::MAX);
        (rank, Reverse(link.since), Reverse(rtt))
    }

    /// The rank that this end's reasons give a link.
    fn own_rank(&self, link: &Link) -> Rank {
        let peer = link.peer.as_ref();
        let lasting = peer.map(|peer| self.lasting_reasons(link, peer)).unwrap_or_default();
        let rank_of = |reason| match reason {
            LinkReason::Home => Rank::Home,
            LinkReason::Room => Rank::Room,
            // Circuits of a client's own can go over its homes as well.
            LinkReason::Leaf => Rank::Leaf,
            LinkReason::Bucket | LinkReason::Relay => Rank::Bucket,
            LinkReason::SetUp => Rank::Remote,
        };
        lasting.iter().map(rank_of).max().unwrap_or(Rank::Idle)
    }

    /// The rank that the other end's reasons give a link, and its place.
    fn their_rank(&self, link: &Link) -> Rank {
        let overlay = link.peer.as_ref().filter(|peer| self.pool(peer) == Pool::Overlay);
        if overlay.is_some_and(|peer| self.are_leaves(peer)) {
            Rank::Leaf
        } else if link.remote_reasons.is_empty() {
            Rank::Idle
        } else {
            Rank::Remote
        }
    }

    /// The other end says why it keeps a link.
    pub(super) fn handle_reasons(&mut self, id: LinkId, mask: u8) -> Fate {
        let link = self.links.get_mut(&id).ok_or(Counter::UnknownLink)?;
        link.remote_reasons.0 = mask;
        if let Some(peer) = link.peer.as_ref().filter(|_| link.is_open()).map(|peer| peer.id) {
            let lasting = LinkReasons(mask).without(LinkReason::SetUp);
            self.table.set_kept_by_peer(peer, !lasting.is_empty());
        }
        Ok(())
    }

    /// The reasons of this end, as it told them last.
    pub(super) fn last_reasons(&self, id: LinkId) -> LinkReasons {
        self.links.get(&id).and_then(|link| link.told_reasons).unwrap_or_default()
    }

    /// Why this end keeps the link.
    pub(super) fn reasons(&self, id: LinkId, now: Instant) -> LinkReasons {
        let Some(link) = self.links.get(&id) else { return LinkReasons::default() };
        let Some(peer) = link.peer.as_ref() else { return LinkReasons::default() };
        let reasons = self.lasting_reasons(link, peer);
        if now.since(link.since) < self.config.link.unwanted_grace || self.needs_any_service_link(peer) {
            return reasons.with(LinkReason::SetUp);
        }
        reasons
    }

    /// The reasons without the grace of a new link.
    pub(super) fn lasting_reasons(&self, link: &Link, peer: &Peer) -> LinkReasons {
        let mut reasons = LinkReasons::default();
        if self.is_fellow(peer.id) {
            reasons = reasons.with(LinkReason::Room);
        }
        if self.homes.contains(&peer.id) {
            reasons = reasons.with(LinkReason::Home);
        }
        if link.circuits > 0 {
            reasons = reasons.with(LinkReason::Relay);
        }
        if self.config.kind == NodeKind::Service && peer.service {
            reasons.0 |= self.table.reasons(&peer.home).0;
        }
        reasons
    }

    /// The last service link is never closed for want of a reason.
    fn needs_any_service_link(&self, peer: &Peer) -> bool {
        peer.service && self.table.links().len() <= 1
    }

    /// Tells the peer why this end keeps the link, if that changed.
    pub(super) fn tell_reasons(&mut self, id: LinkId, now: Instant) {
        let reasons = self.reasons(id, now);
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.is_open() && link.told_reasons != Some(reasons) {
            link.told_reasons = Some(reasons);
            self.send(id, &Message::Reasons(Reasons { mask: reasons.0 }), now);
        }
    }

    /// Closes links for which neither end has had a reason for a while, and beyond the soft cap at once, the least
    /// worth first.
    pub(super) fn sweep_links(&mut self, now: Instant) {
        let ids: Vec<LinkId> = self.open_links().map(|(id, _)| id).collect();
        let mut unwanted: Vec<(Worth, LinkId)> = Vec::new();
        for id in ids {
            self.tell_reasons(id, now);
            let local = self.reasons(id, now);
            let Some(link) = self.links.get_mut(&id) else { continue };
            if !local.is_empty() || !link.remote_reasons.is_empty() {
                link.unwanted_since = None;
                continue;
            }
            link.unwanted_since.get_or_insert(now);
            let Some(link) = self.links.get(&id) else { continue };
            unwanted.push((self.worth(link), id));
        }
        unwanted.sort_unstable();
        for (_, id) in unwanted {
            let Some(link) = self.links.get(&id) else { continue };
            let over = link.peer.as_ref().is_some_and(|peer| {
                let pool = self.pool(peer);
                self.in_pool(pool).count() > self.limit(pool, Rank::Idle)
            });
            let since = link.unwanted_since.unwrap_or(now);
            if over || now.since(since) >= self.config.link.unwanted_grace {
                self.metrics.count(Counter::LinksPruned);
                self.drain_link(id, CloseReason::Unwanted, now);
            }
        }
    }
}
