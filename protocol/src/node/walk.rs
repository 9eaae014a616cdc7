//! Iterative look-ups: where relays cannot be trusted, the origin asks service nodes itself, nearer and nearer to a key.
//!
//! Recursive requests go first. When all their attempts were in vain, or where every publish is read back
//! ([`RoutingConfig::read_back`](crate::RoutingConfig::read_back)), a walk begins: it asks the nearest service nodes that it
//! knows, a few at a time, what they hold and whom they know nearer, dials those, and so on, until the
//! [`walk_width`](crate::RoutingConfig::walk_width) nearest that answer have answered (Maymounkov and Mazières, "Kademlia",
//! 2002, section 2.3). A find ends at the first valid claim: claims are verified, so a liar can only be silent. A publish ends
//! by giving the claim to those of the nearest that lack it. A connect request, which relays may have dropped, or denied, has
//! the member's home sought: once that is linked, the walk is over, and the request goes through it. And a client whose
//! publishes are read back looks up its homes so: an answer that came by relays would name whom they like, and a client whose
//! homes are all accomplices is found by nobody.
//!
//! | state of a node on a walk | left by |
//! |---|---|
//! | fresh | it is among the nearest, and there is room for a question |
//! | dialled | link opened; dial failed or `walk_timeout`: failed |
//! | asked | answer; `walk_timeout`, or the link's loss: failed |
//! | answered, failed | the end |

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::{CloseReason, Hop};
use super::clock::Timer;
use super::dispatch::Fate;
use super::links::DialFor;
use super::metrics::Counter;
use super::requests::{Content, Request, Task};
use crate::routing::key::{Distance, distance, home_id, replica_key};
use crate::routing::store::Asker;
use crate::wire::message::{FindAnswer, Publish, PublishAnswer, Purpose, Query, QueryAnswer};
use crate::wire::{Bounded, Claim, HomeClaim, Message, decode_body};
use crate::{Address, Duration, Instant, LinkId, PeerId, RequestId, RoomId};

/// Questions under way at a time; Kademlia's alpha.
const PARALLEL: usize = 3;
/// Service nodes asked by one walk.
const ASKED_MAX: usize = 48;
/// Service nodes remembered by one walk.
const NODES_MAX: usize = 128;
/// Service nodes from which a walk starts.
const STARTS: usize = 16;
/// A client that knows so many addresses asks for no more. When four of five service nodes end at once, one of so many is
/// left in all but one case of seven thousand.
const ACQUAINTANCES: usize = 40;
/// Walks at a time.
const WALKS_MAX: usize = 16;
/// Links that all walks together have dialled and wait for, or for an answer over them. More of them would drive each other
/// out of a client's few places.
const DIALLED_MAX: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Fresh,
    Dialled(Instant),
    Waiting(Instant),
    /// Whether it showed the claim that is published.
    Answered(bool),
    Failed,
}

/// What a walk is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    /// Claims of the room, for this request.
    Find,
    /// This claim is held by the nearest, for this request or for its own sake.
    Publish(Bytes),
    /// This service node is linked, for this request.
    Reach(PeerId),
    /// The service nodes nearest to the primary room, or to the hash of the own id, that answer.
    Homes { by_own_hash: bool },
    /// More service nodes are known: those that are linked are asked for some, and nobody else.
    Acquaint,
}

/// A service node that a walk knows.
#[derive(Clone, Debug)]
struct Known {
    peer: PeerId,
    state: Asked,
    /// What it was named with: of the many that walks come by, a client remembers few.
    address: Option<Box<Address>>,
}

/// One walk.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    goal: Goal,
    /// Whether a request waits for the end.
    answers: bool,
    room: RoomId,
    replica: u8,
    nodes: BTreeMap<Distance, Known>,
    /// The own newer claim that a holder has, if one has.
    newer: Option<Bytes>,
    /// Claims of others that came.
    claims: Vec<Bytes>,
    asked: usize,
    /// Whether the claim is being given to the nearest.
    placing: bool,
}

impl Walk {
    fn key(&self) -> RoomId {
        replica_key(&self.room, self.replica)
    }

    fn learn(&mut self, peer: PeerId, address: Option<Address>) {
        let at = distance(&self.key(), &home_id(peer));
        let address = address.map(Box::new);
        self.nodes.entry(at).or_insert(Known { peer, state: Asked::Fresh, address });
        if self.nodes.len() > NODES_MAX {
            // The furthest goes that was not asked: many far ones must not keep the nearer ones out.
            let furthest = self.nodes.iter().rev().find(|(_, known)| known.state == Asked::Fresh);
            let furthest = furthest.map(|(at, _)| *at);
            furthest.and_then(|at| self.nodes.remove(&at));
        }
    }

    fn state_of(&mut self, peer: PeerId) -> Option<&mut Asked> {
        let at = distance(&self.key(), &home_id(peer));
        self.nodes.get_mut(&at).map(|known| &mut known.state)
    }

    /// Who is dialled, or asked and has not answered.
    fn under_way(&self) -> impl Iterator<Item = PeerId> {
        let under_way = |known: &&Known| matches!(known.state, Asked::Dialled(_) | Asked::Waiting(_));
        self.nodes.values().filter(under_way).map(|known| known.peer)
    }

    /// The nearest that have not failed.
    fn nearest(&self, width: usize) -> impl Iterator<Item = (PeerId, Asked)> {
        let lives = self.nodes.values().filter(|known| known.state != Asked::Failed);
        lives.take(width).map(|known| (known.peer, known.state))
    }
}

impl Node {
    /// The attempts of a request ended in vain: the origin asks for itself. `false` if this is nothing to walk for.
    pub(super) fn walk_for(&mut self, id: RequestId, now: Instant) -> bool {
        let Some(request) = self.requests.get(&id) else { return false };
        let goal = match request.purpose {
            Purpose::Find => Goal::Find,
            Purpose::Publish => match decode_body::<Publish>(&request.payload) {
                Ok(publish) => Goal::Publish(publish.claim),
                Err(_) => return false,
            },
            Purpose::Connect => {
                let Task::Connect { home, .. } = request.task else { return false };
                if !self.may_reach(request, home) {
                    return false;
                }
                Goal::Reach(home)
            }
            Purpose::Nearest | Purpose::Notify | Purpose::Withdraw => return false,
        };
        let (room, replica) = (request.key, request.replica);
        self.start_walk(id, goal, true, room, replica, now)
    }

    /// Whether the home of a connect request's target is worth a walk: not a second one, nor if it was asked itself. Where
    /// nodes are honest, one that answered knew better.
    fn may_reach(&self, request: &Request, home: PeerId) -> bool {
        let doubtful = request.last_route.is_empty() || self.config.routing.read_back;
        home != self.me && !request.walked && !request.avoid_first.contains(&home) && doubtful
    }

    /// Reads a published claim back, and gives it to those of the nearest that lack it.
    pub(super) fn read_back(&mut self, room: RoomId, replica: u8, claim: Bytes, now: Instant) {
        let id = self.mint_request();
        self.start_walk(id, Goal::Publish(claim), false, room, replica, now);
    }

    /// Looks a client's homes up without trust in relays. `false` where that cannot be.
    pub(super) fn walk_for_homes(&mut self, by_own_hash: bool, key: RoomId, now: Instant) -> bool {
        let goal = Goal::Homes { by_own_hash };
        if self.walks.values().any(|walk| walk.goal == goal) {
            return true;
        }
        let id = self.mint_request();
        self.start_walk(id, goal, false, key, 0, now)
    }

    /// A client that has its homes and knows few addresses asks them for others, somewhere in the key space: where most
    /// service nodes end at once, it shall know one that is left.
    pub(super) fn acquaint(&mut self, now: Instant) {
        if self.book.iter().len() < ACQUAINTANCES
            && !self.walks.values().any(|walk| walk.goal == Goal::Acquaint)
        {
            let (id, anywhere) = (self.mint_request(), RoomId(self.random.key()));
            self.start_walk(id, Goal::Acquaint, false, anywhere, 0, now);
        }
    }

    fn start_walk(
        &mut self,
        id: RequestId,
        goal: Goal,
        answers: bool,
        room: RoomId,
        replica: u8,
        now: Instant,
    ) -> bool {
        if self.walks.len() >= WALKS_MAX || !self.started || self.farewell.is_some() {
            return false;
        }
        let nodes = BTreeMap::new();
        let mut walk = Walk {
            goal,
            answers,
            room,
            replica,
            nodes,
            newer: None,
            claims: Vec::new(),
            asked: 0,
            placing: false,
        };
        let key = walk.key();
        if walk.goal != Goal::Acquaint {
            for peer in self.table.nearest_known(&key, STARTS, now) {
                walk.learn(peer, self.address_of(peer));
            }
        }
        for contact in self.table.links() {
            walk.learn(contact.peer, self.address_of(contact.peer));
        }
        if let Goal::Reach(home) = walk.goal
            && self.homes_known.contains(home)
        {
            walk.learn(home, self.address_of(home));
        }
        if walk.nodes.is_empty() {
            return false;
        }
        self.metrics.count(Counter::WalksStarted);
        match walk.goal {
            Goal::Find => self.metrics.count(Counter::WalksOfFinds),
            Goal::Publish(_) => self.metrics.count(Counter::WalksOfPublishers),
            Goal::Reach(_) | Goal::Homes { .. } | Goal::Acquaint => {}
        }
        self.walks.insert(id, Box::new(walk));
        self.advance_walk(id, now);
        true
    }

    /// Asks the next ones; ends the walk when nobody is left to ask.
    fn advance_walk(&mut self, id: RequestId, now: Instant) {
        let width = self.config.routing.walk_width;
        loop {
            let Some(walk) = self.walks.get(&id) else { return };
            if let Goal::Reach(home) = walk.goal
                && self.peers.contains_key(&home)
            {
                return self.end_walk(id, Some(home), now);
            }
            let (under_way, open) = (walk.under_way().count(), walk.asked < ASKED_MAX && !walk.placing);
            let fresh = walk.nearest(width).find(|(_, state)| *state == Asked::Fresh).filter(|_| open);
            match fresh {
                Some((peer, _)) if under_way < PARALLEL => {
                    if !self.peers.contains_key(&peer) && self.dialled_by_walks() >= DIALLED_MAX {
                        // It goes on when another one has its answer.
                        break;
                    }
                    self.ask_on_walk(id, peer, now);
                }
                _ if under_way == 0 => return self.walk_converged(id, now),
                _ => break,
            }
        }
        self.timers.set_earlier(Timer::Walk(id), now + self.config.routing.walk_timeout);
    }

    /// Links that walks have dialled and wait for, or for an answer over them.
    fn dialled_by_walks(&self) -> usize {
        let lasting = |peer: &PeerId| {
            let link = self.peers.get(peer).and_then(|id| self.links.get(id));
            link.is_some_and(|link| !link.is_dialled_for(DialFor::Query))
        };
        self.walks.values().flat_map(|walk| walk.under_way()).filter(|peer| !lasting(peer)).count()
    }

    /// Walks that had to wait go on.
    fn resume_walks(&mut self, now: Instant) {
        let waiting: Vec<RequestId> = self
            .walks
            .iter()
            .filter(|(_, walk)| walk.under_way().count() < PARALLEL)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.advance_walk(id, now);
        }
    }

    fn ask_on_walk(&mut self, id: RequestId, peer: PeerId, now: Instant) {
        let linked = self.peers.contains_key(&peer);
        let at = self.walks.get(&id).map(|walk| distance(&walk.key(), &home_id(peer)));
        let named = at.and_then(|at| self.walks.get(&id)?.nodes.get(&at)?.address.as_deref().cloned());
        let dialled = !linked
            && (self.dialing.contains_key(&peer)
                || named
                    .or_else(|| self.address_of(peer))
                    .is_some_and(|address| self.dial(&address, DialFor::Query, now).is_some()));
        let Some(walk) = self.walks.get_mut(&id) else { return };
        // Who cannot be asked costs nothing.
        walk.asked = walk.asked.saturating_add(usize::from(linked || dialled));
        let state = match (linked, dialled) {
            (true, _) => Asked::Waiting(now),
            (false, true) => Asked::Dialled(now),
            (false, false) => Asked::Failed,
        };
        if let Some(known) = walk.state_of(peer) {
            *known = state;
        }
        if linked {
            self.send_query(id, peer, now);
        }
    }

    fn send_query(&mut self, id: RequestId, peer: PeerId, now: Instant) {
        let (Some(walk), Some(&link)) = (self.walks.get(&id), self.peers.get(&peer)) else { return };
        let (claim, counter) = match &walk.goal {
            Goal::Publish(claim) => (walk.placing.then(|| claim.clone()), Some(Counter::QueriesOfPublishers)),
            Goal::Find => (None, Some(Counter::QueriesOfFinds)),
            Goal::Reach(_) | Goal::Homes { .. } | Goal::Acquaint => (None, None),
        };
        let query = Query { request: id, room: walk.room, replica: walk.replica, claim };
        self.metrics.count(Counter::QueriesSent);
        if let Some(counter) = counter {
            self.metrics.count(counter);
        }
        self.send(link, &Message::Query(query), now);
    }

    /// A service node is linked: it is asked what walks wait to ask it.
    pub(super) fn walks_linked(&mut self, peer: PeerId, now: Instant) {
        let waiting: Vec<RequestId> = self.walks.keys().copied().collect();
        for id in waiting {
            if self.walks.get(&id).is_some_and(|walk| walk.goal == Goal::Reach(peer)) {
                self.end_walk(id, Some(peer), now);
                continue;
            }
            let state = self.walks.get_mut(&id).and_then(|walk| walk.state_of(peer));
            if let Some(state) = state
                && matches!(state, Asked::Dialled(_))
            {
                *state = Asked::Waiting(now);
                self.send_query(id, peer, now);
            }
        }
    }

    /// A service node could not be linked, or its link is gone.
    pub(super) fn walks_lost(&mut self, peer: PeerId, now: Instant) {
        let waiting: Vec<RequestId> = self.walks.keys().copied().collect();
        for id in waiting {
            let state = self.walks.get_mut(&id).and_then(|walk| walk.state_of(peer));
            if let Some(state) = state
                && matches!(state, Asked::Dialled(_) | Asked::Waiting(_))
            {
                *state = Asked::Failed;
                self.advance_walk(id, now);
            }
        }
        self.resume_walks(now);
    }

    /// Some have been silent for too long.
    pub(super) fn walk_timeout(&mut self, id: RequestId, now: Instant) {
        let overdue = self.config.routing.walk_timeout;
        let Some(walk) = self.walks.get_mut(&id) else { return };
        let (mut next, mut silent): (Option<Instant>, Vec<PeerId>) = (None, Vec::new());
        for known in walk.nodes.values_mut() {
            if let Asked::Dialled(since) | Asked::Waiting(since) = known.state {
                if now.since(since) >= overdue {
                    known.state = Asked::Failed;
                    silent.push(known.peer);
                } else {
                    let due = since + overdue;
                    next = Some(next.map_or(due, |other| other.min(due)));
                }
            }
        }
        if let Some(next) = next {
            self.timers.set(Timer::Walk(id), next);
        }
        silent.into_iter().for_each(|peer| self.leave_walked(peer, now));
        self.advance_walk(id, now);
        self.resume_walks(now);
    }

    /// A question of somebody's walk.
    pub(super) fn handle_query(&mut self, id: LinkId, query: &Query, now: Instant) -> Fate {
        let peer = self.open_peer(id).ok_or(Counter::UnknownLink)?;
        if !self.is_service() {
            return Err(Counter::MessagesUndecodable);
        }
        self.may_ask(peer, None, now)?;
        let mut newer = None;
        if let Some(bytes) = &query.claim {
            match self.checked_claim(bytes, now) {
                Some(claim) if claim.room_id() == query.room && claim.replica() == query.replica => {
                    newer = self.hold(&claim, Some(peer), now);
                }
                Some(_) | None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
        let key = replica_key(&query.room, query.replica);
        let count = self.config.routing.leaf_set;
        let nearest = self.table.nearest_linked(&key, count.saturating_add(1));
        let homes = self.home_claims_of(nearest.into_iter().filter(|other| *other != peer).take(count));
        let most = self.config.routing.claims_per_answer;
        let own = self.store.claim_of(query.room, query.replica, peer);
        let others = Asker { exclude: Some(peer), known: &[] };
        let others = self.store.answer(query.room, query.replica, others, most, now);
        let claims = Bounded::truncated(own.into_iter().chain(others));
        let answer = QueryAnswer { request: query.request, homes, claims, newer };
        self.send(id, &Message::QueryAnswer(answer), now);
        Ok(())
    }

    /// The answer of a service node to a walk of this node.
    pub(super) fn handle_query_answer(&mut self, link: LinkId, answer: &QueryAnswer, now: Instant) -> Fate {
        let peer = self.open_peer(link).ok_or(Counter::UnknownLink)?;
        let id = answer.request;
        let asked = self.walks.get_mut(&id).and_then(|walk| walk.state_of(peer));
        let Some(state) = asked.filter(|state| matches!(state, Asked::Waiting(_))) else {
            return Err(Counter::RepliesUnsolicited);
        };
        *state = Asked::Answered(false);
        let mut nearer = Vec::new();
        for claim in answer.homes.iter() {
            if let Some(named) = self.learn_home(claim, Some(peer), now) {
                nearer.push((named, self.walk_address(named, claim)));
            }
        }
        if let Some(walk) = self.walks.get_mut(&id) {
            if walk.goal != Goal::Acquaint {
                nearer.into_iter().for_each(|(peer, address)| walk.learn(peer, address));
            }
            walk.newer = walk.newer.take().or_else(|| answer.newer.clone());
        }
        self.take_claims(id, peer, answer, now);
        self.leave_walked(peer, now);
        self.advance_walk(id, now);
        self.resume_walks(now);
        Ok(())
    }

    /// Where a service node is dialled whose home claim was taken. What is known of it comes first: beside that, the claim
    /// may be an older one, which nobody verified.
    fn walk_address(&self, named: PeerId, claim: &Bytes) -> Option<Address> {
        if self.homes_known.contains(named) {
            return self.address_of(named);
        }
        HomeClaim::decode(claim).ok()?.addresses().first().cloned()
    }

    /// Takes what claims an answer has: each is verified.
    fn take_claims(&mut self, id: RequestId, peer: PeerId, answer: &QueryAnswer, now: Instant) {
        let Some(walk) = self.walks.get(&id) else { return };
        let (room, replica) = (walk.room, walk.replica);
        let own = match &walk.goal {
            Goal::Publish(claim) => Claim::decode(claim).ok().map(|claim| claim.sequence()),
            Goal::Find | Goal::Reach(_) | Goal::Homes { .. } | Goal::Acquaint => None,
        };
        let mut shown = false;
        let mut others = Vec::new();
        for bytes in answer.claims.iter() {
            let checked = self.checked_claim(bytes, now);
            match checked.filter(|claim| claim.room_id() == room && claim.replica() == replica) {
                Some(claim) if claim.peer() == self.me => {
                    shown |= own.is_some_and(|own| claim.sequence() >= own);
                }
                Some(_) => others.push(bytes.clone()),
                None => self.metrics.count(Counter::ClaimsInvalid),
            }
        }
        let Some(walk) = self.walks.get_mut(&id) else { return };
        for claim in others {
            if walk.claims.len() < 16 && !walk.claims.contains(&claim) {
                walk.claims.push(claim);
            }
        }
        let found = walk.goal == Goal::Find && !walk.claims.is_empty();
        if let Some(state) = walk.state_of(peer) {
            *state = Asked::Answered(shown);
        }
        if found {
            self.end_walk(id, Some(peer), now);
        }
    }

    /// A link that was dialled for walks alone has served.
    fn leave_walked(&mut self, peer: PeerId, now: Instant) {
        let Some(&link) = self.peers.get(&peer) else { return };
        let wanted = self.walks.values_mut().any(|walk| {
            walk.state_of(peer).is_some_and(|state| matches!(state, Asked::Dialled(_) | Asked::Waiting(_)))
        });
        let Some(known) = self.links.get(&link) else { return };
        let dialled = known.is_dialled_for(DialFor::Query);
        let Some(other) = known.peer.as_ref() else { return };
        if dialled && !wanted && self.lasting_reasons(known, other).is_empty() {
            self.drain_link(link, CloseReason::Unwanted, now);
        }
    }

    /// The nearest have answered. A publish gives its claim to those of them that did not show it.
    fn walk_converged(&mut self, id: RequestId, now: Instant) {
        let copies = self.config.routing.replicas;
        let Some(walk) = self.walks.get_mut(&id) else { return };
        let place = matches!(walk.goal, Goal::Publish(_)) && !walk.placing;
        if !place {
            return self.end_walk(id, None, now);
        }
        walk.placing = true;
        let lacking: Vec<PeerId> = walk
            .nearest(copies)
            .filter(|(_, state)| *state == Asked::Answered(false))
            .map(|(peer, _)| peer)
            .collect();
        self.metrics.add(Counter::ClaimsPlaced, lacking.len() as u64);
        for peer in lacking {
            self.ask_on_walk(id, peer, now);
        }
        self.advance_walk(id, now);
    }

    fn end_walk(&mut self, id: RequestId, by: Option<PeerId>, now: Instant) {
        let Some(walk) = self.walks.remove(&id) else { return };
        self.timers.clear(Timer::Walk(id));
        for peer in walk.under_way() {
            self.leave_walked(peer, now);
        }
        let replica = walk.replica.saturating_add(1);
        if walk.answers && walk.goal == Goal::Find && walk.claims.is_empty() && replica < self.replica_keys()
        {
            // The room's next key lies elsewhere, among others.
            if self.start_walk(id, Goal::Find, true, walk.room, replica, now) {
                return;
            }
        }
        if let Goal::Homes { by_own_hash } = walk.goal {
            let nearest = walk.nearest(self.config.routing.walk_width);
            let answered = nearest.filter(|(_, state)| matches!(state, Asked::Answered(_)));
            let peers: Vec<PeerId> = answered.map(|(peer, _)| peer).collect();
            return self.homes_walked(by_own_hash, &peers, now);
        }
        if !walk.answers {
            if let Some(newer) = &walk.newer {
                self.step_over(walk.room, newer, now);
            }
            self.learn_claims(&walk.claims, now);
            return;
        }
        if let Goal::Reach(_) = walk.goal {
            return self.reach_ended(id, by, now);
        }
        let reached = walk.nodes.values().any(|known| matches!(known.state, Asked::Answered(_)));
        let content = match walk.goal {
            Goal::Find if walk.claims.is_empty() => Content::Failed,
            Goal::Find => Content::Find(FindAnswer { claims: Bounded::truncated(walk.claims) }),
            Goal::Publish(_) if reached => Content::Publish(PublishAnswer {
                claims: Bounded::truncated(walk.claims),
                newer: walk.newer,
                slow_down: 0,
            }),
            Goal::Publish(_) | Goal::Reach(_) | Goal::Homes { .. } | Goal::Acquaint => Content::Failed,
        };
        let hop = |peer, service| Hop { peer, rtt: Duration::ZERO, service };
        let route: Vec<Hop> = match by {
            Some(by) => [hop(self.me, self.is_service()), hop(by, true)].into(),
            None => self.last_route(id),
        };
        self.end_request(id, route, content, now);
    }

    /// Keys that a room's claims are kept under.
    pub(super) fn replica_keys(&self) -> u8 {
        self.config.routing.replica_keys.max(1)
    }

    /// Ends all walks without a word.
    pub(super) fn end_walks(&mut self) {
        for id in core::mem::take(&mut self.walks).into_keys() {
            self.timers.clear(Timer::Walk(id));
        }
    }
}

#[cfg(test)]
mod tests;
