//! Requests of this node: attempts, retries, answers. A request ends exactly once.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Node;
use super::api::Hop;
use super::clock::Timer;
use super::dispatch::Fate;
use super::metrics::Counter;
use crate::routing::key::{home_id, replica_key};
use crate::wire::message::{ConnectAnswer, Find, FindAnswer, NearestAnswer, PublishAnswer, Purpose};
use crate::wire::{Bounded, EXCLUDE_MAX, PeerIds, Reply, Routed, decode_body, encode_body};
use crate::{Duration, Instant, PeerId, RequestId, RoomId};

/// What a request is for, with what its end needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The own nearest service nodes.
    SelfLookup,
    /// A random key of a bucket.
    BucketRefresh,
    /// The service nodes nearest to the primary room, or to the hash of the own id.
    Homes { by_own_hash: bool },
    /// The application's find.
    Find,
    /// The own claim of a room.
    Publish { room: RoomId },
    /// The same, under another of the room's keys.
    PublishReplica { room: RoomId },
    /// The end of an own claim.
    Withdraw,
    /// A link to a member, through one of its homes.
    Connect { room: RoomId, peer: PeerId, home: PeerId },
}

/// One open request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) task: Task,
    pub(super) purpose: Purpose,
    /// Where it goes; for finds and publishes the room.
    pub(super) key: RoomId,
    /// Which of the room's keys a publish goes to. Finds try one after the other.
    pub(super) replica: u8,
    pub(super) target: Option<PeerId>,
    pub(super) payload: Bytes,
    pub(super) started: Instant,
    pub(super) attempt: u8,
    /// The ids under which its attempts went out, with their numbers.
    pub(super) sent_as: Vec<(RequestId, u8)>,
    /// First hops of earlier attempts.
    pub(super) avoid_first: Vec<PeerId>,
    /// Terminals that said no.
    pub(super) exclude: Vec<PeerId>,
    /// The first hop of the first attempt, or of that after a walk, where it is prescribed.
    pub(super) through: Option<PeerId>,
    /// Whether its walk comes before any attempt.
    pub(super) walks_first: bool,
    /// Whether its walk is over.
    pub(super) walked: bool,
    /// Whether no service node was there to send it through.
    pub(super) stranded: bool,
    /// The route of the last negative answer.
    pub(super) last_route: Vec<Hop>,
}

impl Request {
    /// A request to wherever `key` leads: for no target, from the first attempt on, by whatever hop is best.
    pub(super) const fn new(task: Task, purpose: Purpose, key: RoomId, payload: Bytes, now: Instant) -> Self {
        Self {
            task,
            purpose,
            key,
            replica: 0,
            target: None,
            payload,
            started: now,
            attempt: 0,
            sent_as: Vec::new(),
            avoid_first: Vec::new(),
            exclude: Vec::new(),
            through: None,
            walks_first: false,
            walked: false,
            stranded: false,
            last_route: Vec::new(),
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) task: Task,
    pub(super) id: RequestId,
    pub(super) key: RoomId,
    pub(super) started: Instant,
    pub(super) attempts: u8,
    /// The route of the last answer, origin first; empty if there was none.
    pub(super) route: Vec<Hop>,
    pub(super) content: Content,
    /// The request's payload.
    pub(super) payload: Bytes,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Its claims were checked.
    Find(FindAnswer),
    Publish(PublishAnswer),
    Nearest(NearestAnswer),
    Connect(ConnectAnswer),
    /// All attempts ended without a positive answer.
    Failed,
}

impl Node {
    /// Starts a request. Its answer goes to [`finish`](Self::finish) by its [`Task`].
    #[expect(clippy::too_many_arguments, reason = "one call site for each purpose, all different")]
    pub(super) fn request(
        &mut self,
        task: Task,
        purpose: Purpose,
        key: RoomId,
        target: Option<PeerId>,
        payload: Bytes,
        through: Option<PeerId>,
        now: Instant,
    ) -> RequestId {
        let id = self.mint_request();
        let request = Request { target, through, ..Request::new(task, purpose, key, payload, now) };
        self.start_request(id, request, now);
        id
    }

    /// Starts a publish or withdrawal towards one of a room's keys.
    pub(super) fn request_replica(
        &mut self,
        task: Task,
        room: RoomId,
        replica: u8,
        payload: Bytes,
        now: Instant,
    ) {
        let purpose = if task == Task::Withdraw { Purpose::Withdraw } else { Purpose::Publish };
        let id = self.mint_request();
        let request = Request { replica, ..Request::new(task, purpose, room, payload, now) };
        self.start_request(id, request, now);
    }

    /// Starts a request under an id that was minted before.
    pub(super) fn start_request(&mut self, id: RequestId, request: Request, now: Instant) {
        self.metrics.count(Counter::RequestsStarted);
        self.requests.insert(id, Box::new(request));
        let over = self.farewell == Some(super::life::Farewell::Over);
        let walks = self.requests.get(&id).is_some_and(|request| request.walks_first);
        if over || self.requests.len() > self.config.routing.requests_max {
            self.end_request(id, Vec::new(), Content::Failed, now);
        } else if !(walks && self.walk_for(id, now)) {
            self.attempt(id, now);
        }
    }

    pub(super) fn mint_request(&mut self) -> RequestId {
        RequestId(rand_core::Rng::next_u64(&mut self.random.requests))
    }

    /// The request of which an attempt went out under this id.
    pub(super) fn request_sent_as(&self, id: RequestId) -> Option<RequestId> {
        if self.requests.contains_key(&id) { Some(id) } else { self.attempts.get(&id).copied() }
    }

    /// The id of the next attempt. Each has its own, so that no hop of one can have other nodes take the next ones for
    /// duplicates; but a connect request is signed with its id.
    fn mint_attempt(&mut self, id: RequestId) -> Option<RequestId> {
        let request = self.requests.get(&id)?;
        let (number, first) = (request.attempt, request.attempt == 0 || request.purpose == Purpose::Connect);
        let sent_as = if first { id } else { self.mint_request() };
        if !first {
            self.attempts.insert(sent_as, id);
        }
        self.requests.get_mut(&id)?.sent_as.push((sent_as, number));
        Some(sent_as)
    }

    fn attempt(&mut self, id: RequestId, now: Instant) {
        let keys = self.replica_keys();
        let Some(sent_as) = self.mint_attempt(id) else { return };
        let Some(request) = self.requests.get(&id) else { return };
        let replica = match request.purpose {
            Purpose::Find => request.attempt.checked_rem(keys).unwrap_or(0),
            Purpose::Publish | Purpose::Nearest | Purpose::Connect | Purpose::Notify | Purpose::Withdraw => {
                request.replica
            }
        };
        let mut payload = request.payload.clone();
        if request.purpose == Purpose::Find && replica > 0 {
            payload = Bytes::from(encode_body(&Find { room: request.key, replica }));
        }
        let packet = Routed {
            purpose: request.purpose,
            to_root: request.attempt > 0,
            attempt: request.attempt,
            request: sent_as,
            key: replica_key(&request.key, replica),
            target: request.target,
            exclude: PeerIds::new(&request.exclude).unwrap_or_default(),
            route: PeerIds::default(),
            payload,
        };
        let (avoid, through) =
            (request.avoid_first.clone(), request.through.filter(|_| request.attempt == 0 || request.walked));
        self.timers.set(Timer::Attempt(id), now + self.config.routing.attempt_timeout);
        let first = self.send_first(packet, &avoid, through, now);
        if let (Some(first), Some(request)) = (first, self.requests.get_mut(&id)) {
            request.stranded = false;
            request.avoid_first.push(first);
        }
    }

    /// Sends the attempts again that found no service node to go through.
    pub(super) fn stranded_requests(&mut self, now: Instant) {
        let waits = |id: &RequestId, request: &Request| {
            let under_way = request.sent_as.last().is_some_and(|sent| self.hops.contains_key(sent));
            !under_way && self.timers.at(Timer::Retry(*id)).is_none()
        };
        let stranded = self.requests.iter().filter(|(id, request)| request.stranded && waits(id, request));
        for id in stranded.map(|(id, _)| *id).collect::<Vec<RequestId>>() {
            self.attempt(id, now);
        }
    }

    /// An attempt was not answered: the next one starts at once.
    pub(super) fn attempt_timeout(&mut self, id: RequestId, now: Instant) {
        self.retry_or_fail(id, Duration::ZERO, now);
    }

    pub(super) fn retry_due(&mut self, id: RequestId, now: Instant) {
        self.attempt(id, now);
    }

    fn retry_or_fail(&mut self, id: RequestId, pause: Duration, now: Instant) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        if let Some(sent) = request.sent_as.last() {
            self.hops.remove(sent);
            self.timers.clear(Timer::Hop(sent.0, sent.1));
        }
        // Whom a home and its neighbours do not know, they know no better a second later: the member's other homes do.
        let most = match request.purpose {
            Purpose::Connect => 1,
            Purpose::Find | Purpose::Publish | Purpose::Nearest | Purpose::Notify | Purpose::Withdraw => {
                self.config.routing.retry_backoff.len()
            }
        };
        if usize::from(request.attempt) >= most {
            self.timers.clear(Timer::Attempt(id));
            if self.config.routing.iterative && self.walk_for(id, now) {
                // The walk ends it, or goes on with it; it may have done so already.
                return;
            }
            let route = self.last_route(id);
            return self.end_request(id, route, Content::Failed, now);
        }
        request.attempt = request.attempt.saturating_add(1);
        self.metrics.count(Counter::RequestsRetried);
        self.timers.clear(Timer::Attempt(id));
        if pause.is_zero() {
            self.attempt(id, now);
        } else {
            self.timers.set(Timer::Retry(id), now + self.random.jittered(pause));
        }
    }

    /// The walk of a request for the home of its target is over: the last attempt goes through the home, if that was
    /// reached.
    pub(super) fn reach_ended(&mut self, id: RequestId, reached: Option<PeerId>, now: Instant) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        (request.through, request.walked) = (reached, true);
        if reached.is_none() && !request.sent_as.is_empty() {
            let route = self.last_route(id);
            return self.end_request(id, route, Content::Failed, now);
        }
        request.attempt = request.attempt.saturating_add(1);
        self.metrics.count(Counter::RequestsRetried);
        self.attempt(id, now);
    }

    /// The route of the last negative answer to a request that ends.
    pub(super) fn last_route(&mut self, id: RequestId) -> Vec<Hop> {
        self.requests.get_mut(&id).map(|request| core::mem::take(&mut request.last_route)).unwrap_or_default()
    }

    pub(super) fn end_request(&mut self, id: RequestId, route: Vec<Hop>, content: Content, now: Instant) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.timers.clear(Timer::Attempt(id));
        self.timers.clear(Timer::Retry(id));
        for (sent_as, attempt) in &request.sent_as {
            self.attempts.remove(sent_as);
            self.hops.remove(&(*sent_as, *attempt));
            self.timers.clear(Timer::Hop(*sent_as, *attempt));
        }
        if matches!(content, Content::Failed) {
            self.metrics.count(Counter::RequestsFailed);
        }
        let answer = Answer {
            task: request.task,
            id,
            key: request.key,
            started: request.started,
            attempts: request.attempt.saturating_add(1),
            route,
            content,
            payload: request.payload,
        };
        self.finish(answer, now);
    }

    /// Ends all requests without an answer.
    pub(super) fn end_requests(&mut self, now: Instant) {
        self.end_walks();
        while let Some((&id, _)) = self.requests.first_key_value() {
            self.end_request(id, Vec::new(), Content::Failed, now);
        }
    }

    /// An answer came back to its origin.
    pub(super) fn answered(&mut self, reply: &Reply, now: Instant) -> Fate {
        let id = self.request_sent_as(reply.request);
        let Some((id, request)) = id.and_then(|id| Some((id, self.requests.get(&id)?))) else {
            return Err(Counter::RepliesUnsolicited);
        };
        if reply.attempt > request.attempt || reply.purpose != request.purpose {
            return Err(Counter::RepliesInvalid);
        }
        let (key, attempt) = (request.key, request.attempt);
        let Some(mut content) = content_of(reply.purpose, &reply.payload) else {
            return Err(Counter::RepliesInvalid);
        };
        if let Content::Find(answer) = &mut content {
            // Before it counts as an answer: what does not hold must not end the search.
            answer.claims = self.valid_claims(key, core::mem::take(&mut answer.claims), now);
        }
        let terminal = reply.route.iter().next_back();
        if self.is_negative(&content, id) {
            let current = reply.attempt == attempt && self.timers.at(Timer::Retry(id)).is_none();
            if !current {
                return Err(Counter::RepliesLate);
            }
            let route = self.hops_of(reply);
            self.said_no(id, terminal, route, now);
            return Ok(());
        }
        let route = self.hops_of(reply);
        self.end_request(id, route, content, now);
        Ok(())
    }

    /// The claims of this room that hold.
    fn valid_claims(&mut self, room: RoomId, claims: Bounded<Bytes, 8>, now: Instant) -> Bounded<Bytes, 8> {
        let mut valid = Vec::new();
        for bytes in claims.into_inner() {
            if self.checked_claim(&bytes, now).is_some_and(|claim| claim.room_id() == room) {
                valid.push(bytes);
            } else {
                self.metrics.count(Counter::ClaimsInvalid);
            }
        }
        Bounded::truncated(valid)
    }

    fn said_no(&mut self, id: RequestId, terminal: Option<PeerId>, route: Vec<Hop>, now: Instant) {
        let me = self.me;
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.last_route = route;
        if request.purpose == Purpose::Connect && terminal.is_some_and(|peer| home_id(peer) == request.key) {
            // The home itself says so.
            let route = core::mem::take(&mut request.last_route);
            return self.end_request(id, route, Content::Failed, now);
        }
        if let Some(terminal) = terminal.filter(|peer| *peer != me)
            && request.exclude.len() < EXCLUDE_MAX
            && !request.exclude.contains(&terminal)
        {
            request.exclude.push(terminal);
        }
        let pause = self.config.routing.retry_backoff.get(usize::from(request.attempt)).copied();
        self.retry_or_fail(id, pause.unwrap_or(Duration::ZERO), now);
    }

    /// Whether an answer means "ask elsewhere".
    fn is_negative(&self, content: &Content, id: RequestId) -> bool {
        match content {
            Content::Find(answer) => answer.claims.is_empty(),
            Content::Connect(answer) => answer.reply.is_none() || !self.requests.contains_key(&id),
            Content::Publish(_) | Content::Nearest(_) | Content::Failed => false,
        }
    }

    fn hops_of(&self, reply: &Reply) -> Vec<Hop> {
        let rtt_to = |index: usize| {
            // Round-trip times were appended from the terminal backwards; index 0 is the origin.
            let from_end = reply.route.len().checked_sub(index.checked_add(1)?)?;
            index.checked_sub(1).and_then(|_| reply.rtts_ms.as_slice().get(from_end)).copied()
        };
        let hop = |(index, peer): (usize, PeerId)| Hop {
            peer,
            rtt: Duration::from_millis(u64::from(rtt_to(index).unwrap_or(0))),
            service: u32::try_from(index)
                .is_ok_and(|index| reply.services.checked_shr(index).unwrap_or(0) & 1 == 1),
        };
        reply.route.iter().enumerate().map(hop).collect()
    }

    /// Gives an ended request to whoever started it.
    fn finish(&mut self, answer: Answer, now: Instant) {
        match (&answer.task, &answer.content) {
            (Task::SelfLookup, Content::Nearest(nearest)) => {
                let from = answer.route.last().map(|hop| hop.peer);
                self.learned_nearest(&answer.key, nearest, from, now);
                if !core::mem::replace(&mut self.looked_up, true) {
                    self.refresh_buckets(usize::MAX, now);
                }
                if let Some(first) = answer.route.get(1) {
                    self.healed_through(first.peer, now);
                }
            }
            (Task::BucketRefresh, Content::Nearest(nearest)) => {
                let from = answer.route.last().map(|hop| hop.peer);
                self.learned_nearest(&answer.key, nearest, from, now);
            }
            (Task::Homes { by_own_hash }, Content::Nearest(nearest)) => {
                let from = answer.route.last().map(|hop| hop.peer);
                let peers = self.learned_nearest(&answer.key, nearest, from, now);
                self.choose_homes(*by_own_hash, &peers, now);
            }
            (Task::Homes { .. }, _) => self.homes_unanswered(now),
            (Task::SelfLookup, _) => self.looked_up = true,
            (Task::BucketRefresh, _) => {}
            // A shutdown that waits for it goes on when this input is done with.
            (Task::Withdraw, _) => {}
            (Task::Find, _) => self.find_ended(answer, now),
            (Task::Publish { room }, _) => self.publish_ended(*room, &answer, now),
            (Task::PublishReplica { room }, _) => self.replica_published(*room, &answer, now),
            (Task::Connect { room, peer, .. }, _) => self.connect_ended(*room, *peer, &answer, now),
        }
    }
}

fn content_of(purpose: Purpose, payload: &Bytes) -> Option<Content> {
    match purpose {
        Purpose::Find => decode_body(payload).ok().map(Content::Find),
        Purpose::Publish | Purpose::Withdraw => decode_body(payload).ok().map(Content::Publish),
        Purpose::Nearest => decode_body(payload).ok().map(Content::Nearest),
        Purpose::Connect => decode_body(payload).ok().map(Content::Connect),
        Purpose::Notify => None,
    }
}
