//! Who forwards a message to the members that its author did not push it to.
//!
//! A header names, by a hash, the *push set*: those to whom the author pushes. For each member that the set does not
//! name, the named one with the smallest `SHA-256(message id ‖ forwarder ‖ member)` pushes the message, all others that
//! have it announce its id. This is rendezvous hashing (Thaler and Ravishankar, 1998): all compute the same forwarder
//! without a word, and a changed push set moves only what it must. A member pulls an announced message that did not
//! come by itself in time, from one announcer after the other.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::outbox::hash_of_sorted;
use crate::crypto::sha256;
use crate::time::Duration;
use crate::{Instant, MessageId, PeerId, RoomConfig};

/// Push sets remembered per author. An author changes its set when its links change; what is in flight names an older.
const SETS_PER_AUTHOR: usize = 4;

/// Announcers remembered per message.
const ANNOUNCERS_MAX: usize = 4;

/// How often each announcer is asked for a message.
const ROUNDS: u32 = 2;

/// Ids in one pull on the wire.
const IDS_PER_PULL: usize = 64;

/// The hash by which a header names a push set: the first eight bytes, little-endian, of the SHA-256 of its sorted ids.
#[must_use]
pub fn push_hash(peers: &[PeerId]) -> u64 {
    hash_of_sorted(peers)
}

/// Who in the push set forwards a message to `member`; `None` if the set is empty. The order of the set does not matter.
#[must_use]
pub fn forwarder(id: MessageId, push_set: &[PeerId], member: PeerId) -> Option<PeerId> {
    let rank = |peer: &PeerId| (sha256(&[&id.0, peer.as_bytes(), member.as_bytes()]), *peer);
    push_set.iter().map(rank).min().map(|(_, peer)| peer)
}

/// What is known of a message that may need forwarding.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The message.
    pub id: MessageId,
    /// Its author.
    pub author: PeerId,
    /// Its recipients; empty for all members.
    pub recipients: &'a [PeerId],
    /// Whom the author pushed it to; `None` if the set is not known here.
    pub push_set: Option<&'a [PeerId]>,
}

/// What a member owes the others for one message. Both lists are in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Duties {
    /// Members to push the message to.
    pub push_to: Vec<PeerId>,
    /// Members to announce its id to.
    pub announce_to: Vec<PeerId>,
}

/// What `me` owes the `linked` members once it has the message.
///
/// Nothing goes to the author, to those in the push set, and to non-recipients. Who is not in the push set itself, or
/// does not know it, only announces.
#[must_use]
pub fn duties(me: PeerId, linked: &[PeerId], message: Forwarding<'_>) -> Duties {
    let named = message.push_set.unwrap_or(&[]);
    let wants = |member: &PeerId| {
        *member != me
            && *member != message.author
            && !named.contains(member)
            && (message.recipients.is_empty() || message.recipients.contains(member))
    };
    let members: BTreeSet<PeerId> = linked.iter().copied().filter(wants).collect();
    let (push_to, announce_to) =
        members.into_iter().partition(|member| forwarder(message.id, named, *member) == Some(me));
    Duties { push_to, announce_to }
}

/// The last few push sets of each author, by hash.
#[derive(Clone, Debug)]
pub struct PushSets {
    authors_max: usize,
    /// Newest last.
    by_author: BTreeMap<PeerId, VecDeque<(u64, Vec<PeerId>)>>,
}

impl PushSets {
    /// Sets of at most four times `mesh_max` authors, four sets each.
    #[must_use]
    pub fn new(config: &RoomConfig) -> Self {
        Self { authors_max: config.mesh_max.saturating_mul(4).max(4), by_author: BTreeMap::new() }
    }

    /// Learns a set from its author over the author's own link; its hash. `None` if too many authors are known: then
    /// messages are announced only.
    pub fn insert(&mut self, author: PeerId, peers: &[PeerId]) -> Option<u64> {
        if self.by_author.len() >= self.authors_max && !self.by_author.contains_key(&author) {
            return None;
        }
        let hash = push_hash(peers);
        let sets = self.by_author.entry(author).or_default();
        sets.retain(|(known, _)| *known != hash);
        sets.push_back((hash, peers.to_vec()));
        if sets.len() > SETS_PER_AUTHOR {
            sets.pop_front();
        }
        Some(hash)
    }

    /// The set that a header of `author` names.
    #[must_use]
    pub fn get(&self, author: PeerId, hash: u64) -> Option<&[PeerId]> {
        let sets = self.by_author.get(&author)?;
        sets.iter().find(|(known, _)| *known == hash).map(|(_, peers)| peers.as_slice())
    }

    /// Forgets an author that left.
    pub fn forget(&mut self, author: PeerId) {
        self.by_author.remove(&author);
    }
}

#[derive(Clone, Debug)]
struct Wanted {
    /// In the order in which they announced.
    announcers: Vec<PeerId>,
    asked: u32,
    at: Instant,
}

/// Announced messages that have not come yet.
#[derive(Clone, Debug)]
pub struct Pulls {
    pull_after: Duration,
    wanted_max: usize,
    per_peer_max: usize,
    wanted: BTreeMap<MessageId, Wanted>,
    order: BTreeSet<(Instant, MessageId)>,
    /// How many wanted messages each peer announced.
    by_peer: BTreeMap<PeerId, usize>,
}

impl Pulls {
    /// At most `dedup_max` messages, an eighth of them (at least 64) per announcer.
    #[must_use]
    pub fn new(config: &RoomConfig) -> Self {
        Self {
            pull_after: config.pull_after,
            wanted_max: config.dedup_max,
            per_peer_max: (config.dedup_max / 8).max(IDS_PER_PULL),
            wanted: BTreeMap::new(),
            order: BTreeSet::new(),
            by_peer: BTreeMap::new(),
        }
    }

    /// A peer has these messages, and this node has not. They are pulled after `pull_after` unless they come before.
    /// What exceeds a bound is dropped: later digests announce it again.
    pub fn announced(&mut self, ids: impl IntoIterator<Item = MessageId>, from: PeerId, now: Instant) {
        for id in ids {
            if self.by_peer.get(&from).copied().unwrap_or(0) >= self.per_peer_max {
                return;
            }
            if !self.wanted.contains_key(&id) {
                if self.wanted.len() >= self.wanted_max {
                    continue;
                }
                let at = now + self.pull_after;
                self.order.insert((at, id));
                self.wanted.insert(id, Wanted { announcers: Vec::new(), asked: 0, at });
            }
            if let Some(wanted) = self.wanted.get_mut(&id)
                && wanted.announcers.len() < ANNOUNCERS_MAX
                && !wanted.announcers.contains(&from)
            {
                wanted.announcers.push(from);
                let count = self.by_peer.entry(from).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// A message came, or is not wanted any more.
    pub fn received(&mut self, id: &MessageId) {
        if let Some(wanted) = self.wanted.remove(id) {
            self.order.remove(&(wanted.at, *id));
            for peer in wanted.announcers {
                self.uncount(peer);
            }
        }
    }

    fn uncount(&mut self, peer: PeerId) {
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }

    /// A peer cannot be asked any more. What only it announced is dropped.
    pub fn peer_left(&mut self, peer: PeerId) {
        let mut orphans = Vec::new();
        for (id, wanted) in &mut self.wanted {
            wanted.announcers.retain(|announcer| *announcer != peer);
            if wanted.announcers.is_empty() {
                orphans.push(*id);
            }
        }
        self.by_peer.remove(&peer);
        for id in orphans {
            self.received(&id);
        }
    }

    /// Whom to ask for what: at most 64 ids each, a peer may occur more than once.
    ///
    /// A message is asked from its announcers in turn, with doubling pauses, twice from each; then it is dropped.
    pub fn due(&mut self, now: Instant) -> Vec<(PeerId, Vec<MessageId>)> {
        let mut ask: BTreeMap<PeerId, Vec<MessageId>> = BTreeMap::new();
        while let Some(&(at, id)) = self.order.first()
            && at <= now
        {
            self.order.pop_first();
            let Some(wanted) = self.wanted.get_mut(&id) else {
                continue;
            };
            let announcers = u32::try_from(wanted.announcers.len()).unwrap_or(u32::MAX);
            let turn = wanted.asked.checked_rem(announcers).and_then(|turn| usize::try_from(turn).ok());
            let peer = turn.and_then(|turn| wanted.announcers.get(turn)).copied();
            let Some(peer) = peer.filter(|_| wanted.asked < announcers.saturating_mul(ROUNDS)) else {
                self.received(&id);
                continue;
            };
            wanted.asked = wanted.asked.saturating_add(1);
            let pause = self.pull_after.saturating_mul(2_u32.saturating_pow(wanted.asked));
            wanted.at = now + pause.max(Duration::from_millis(1));
            self.order.insert((wanted.at, id));
            ask.entry(peer).or_default().push(id);
        }
        let parts = |(peer, ids): (PeerId, Vec<MessageId>)| {
            ids.chunks(IDS_PER_PULL).map(|part| (peer, part.to_vec())).collect::<Vec<_>>()
        };
        ask.into_iter().flat_map(parts).collect()
    }

    /// When [`due`](Self::due) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Messages wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::NetworkId;
    use crate::rooms::testing::peer;

    fn config() -> RoomConfig {
        crate::Config::client(NetworkId::default()).rooms
    }

    fn message(n: u16) -> MessageId {
        MessageId(sha256(&[&n.to_le_bytes()]))
    }

    fn secs(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn in_a_full_mesh_nobody_owes_anything() {
        let all: Vec<_> = (1..=16).map(peer).collect();
        let push_set: Vec<_> = all.iter().copied().filter(|other| *other != peer(1)).collect();
        for me in &push_set {
            let message =
                Forwarding { id: message(0), author: peer(1), recipients: &[], push_set: Some(&push_set) };
            assert_eq!(duties(*me, &all, message), Duties::default());
        }
    }

    #[test]
    fn duties_are_towards_recipients_that_the_set_does_not_name() {
        let linked = [peer(4), peer(1), peer(3), peer(2), peer(4)];
        let base = Forwarding { id: message(0), author: peer(1), recipients: &[], push_set: None };
        let both = Duties { push_to: vec![], announce_to: vec![peer(3), peer(4)] };
        assert_eq!(duties(peer(2), &linked, base), both, "an unknown set: announce");
        let named = Forwarding { push_set: Some(&[peer(2)]), ..base };
        let only = Duties { push_to: vec![peer(3), peer(4)], announce_to: vec![] };
        assert_eq!(duties(peer(2), &linked, named), only, "the only one named");
        let sealed = Forwarding { recipients: &[peer(4), peer(9)], ..named };
        assert_eq!(duties(peer(2), &linked, sealed).push_to, [peer(4)], "a non-recipient forwards sealed");
        let from_3 = duties(peer(3), &linked, named);
        assert_eq!(from_3, Duties { push_to: vec![], announce_to: vec![peer(4)] }, "not named itself");
    }

    #[test]
    fn an_author_has_its_last_four_sets() {
        let mut sets = PushSets::new(&config());
        let hashes: Vec<_> = (10..16).filter_map(|n| sets.insert(peer(1), &[peer(n), peer(2)])).collect();
        assert_eq!(hashes[5], push_hash(&[peer(2), peer(15)]), "in any order");
        let known: Vec<_> = hashes.iter().map(|hash| sets.get(peer(1), *hash).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true, true]);
        assert_eq!(sets.get(peer(2), hashes[5]), None);
        for n in 2..200 {
            sets.insert(peer(n), &[]);
        }
        assert_eq!(sets.by_author.len(), 64);
        sets.forget(peer(1));
        assert_eq!(sets.get(peer(1), hashes[5]), None);
    }

    #[test]
    fn announcers_are_asked_in_turn_twice_with_doubling_pauses() {
        let mut pulls = Pulls::new(&config());
        pulls.announced([message(1)], peer(1), secs(0));
        pulls.announced([message(1), message(1)], peer(2), secs(100));
        let mut asked = vec![];
        while let Some(at) = pulls.next_deadline() {
            assert_eq!(pulls.due(at - Duration::from_micros(1)), vec![], "nothing before its time");
            asked.extend(pulls.due(at).into_iter().map(|(peer, ids)| (at.as_millis(), peer, ids)));
        }
        let ids = vec![message(1)];
        let turns = [(500, 1), (1500, 2), (3500, 1), (7500, 2)];
        assert_eq!(asked, turns.map(|(at, n)| (at, peer(n), ids.clone())).to_vec());
        assert!(pulls.is_empty() && pulls.by_peer.is_empty());
    }

    #[test]
    fn what_came_or_cannot_be_had_is_not_pulled() {
        let mut pulls = Pulls::new(&config());
        pulls.announced([message(1), message(2), message(3)], peer(1), secs(0));
        pulls.announced([message(3)], peer(2), secs(0));
        pulls.received(&message(1));
        pulls.peer_left(peer(1));
        assert_eq!(pulls.due(secs(500)), vec![(peer(2), vec![message(3)])]);
        pulls.received(&message(3));
        assert_eq!((pulls.next_deadline(), pulls.len()), (None, 0));
    }

    #[test]
    fn one_announcer_cannot_fill_the_table() {
        let mut pulls = Pulls::new(&config());
        pulls.announced((0..5000).map(message), peer(1), secs(0));
        assert_eq!(pulls.len(), 512);
        for n in 2..60 {
            pulls.announced((5000..9000).map(|i| message(i + u16::from(n) * 600)), peer(n), secs(0));
        }
        assert_eq!(pulls.len(), 4096);
        let parts = pulls.due(secs(500));
        assert!(parts.iter().all(|(_, ids)| ids.len() <= IDS_PER_PULL));
        assert_eq!(parts.iter().map(|(_, ids)| ids.len()).sum::<usize>(), 4096);
    }

    proptest! {
        /// In a fully linked room, for any push set: exactly one named member pushes to each member that is not named,
        /// all other named ones announce, and nobody else is bothered.
        #[test]
        fn exactly_one_pushes(members in 2_u8..20, set in any::<u32>(), to in any::<u32>(), n in any::<u16>()) {
            let all: Vec<_> = (0..members).map(peer).collect();
            let author = peer(0);
            let pick = |mask: u32| all.iter().copied().filter(move |p| mask >> p.0[0] & 1 == 1 && *p != author);
            let push_set: Vec<_> = pick(set).collect();
            let recipients: Vec<_> = pick(to).collect();
            let message =
                Forwarding { id: message(n), author, recipients: &recipients, push_set: Some(&push_set) };
            let named: Vec<_> = push_set.iter().map(|me| (*me, duties(*me, &all, message))).collect();
            for member in &all {
                let pushed = named.iter().filter(|(_, duties)| duties.push_to.contains(member)).count();
                let told = named.iter().filter(|(_, duties)| duties.announce_to.contains(member)).count();
                let wants = *member != author
                    && !push_set.contains(member)
                    && (recipients.is_empty() || recipients.contains(member));
                let expected = if wants && !push_set.is_empty() { (1, push_set.len() - 1) } else { (0, 0) };
                prop_assert_eq!((pushed, told), expected);
            }
        }

        /// The order of the push set decides nothing.
        #[test]
        fn the_forwarder_is_the_same_for_all(mut set in prop::collection::vec(any::<u8>(), 1..10), n in any::<u16>()) {
            let peers = |set: &[u8]| set.iter().copied().map(peer).collect::<Vec<_>>();
            let one = (forwarder(message(n), &peers(&set), peer(200)), push_hash(&peers(&set)));
            set.reverse();
            prop_assert_eq!(one, (forwarder(message(n), &peers(&set), peer(200)), push_hash(&peers(&set))));
        }

        /// Whatever happens, the tables agree, bounds hold, and handling a deadline moves it.
        #[test]
        fn pulls_agree(steps in prop::collection::vec((0_u8..4, 0_u16..30, 0_u8..5, 0_u64..900), 0..150)) {
            let mut pulls = Pulls::new(&config());
            let mut now = 0;
            for (kind, id, from, wait) in steps {
                now += wait;
                match kind {
                    0 => pulls.announced([message(id), message(id + 1)], peer(from), secs(now)),
                    1 => pulls.received(&message(id)),
                    2 => pulls.peer_left(peer(from)),
                    _ => {
                        pulls.due(secs(now));
                        prop_assert!(pulls.next_deadline().is_none_or(|at| at > secs(now)));
                    }
                }
                prop_assert_eq!(pulls.order.len(), pulls.wanted.len());
                let announcers: usize = pulls.wanted.values().map(|wanted| wanted.announcers.len()).sum();
                prop_assert_eq!(announcers, pulls.by_peer.values().sum::<usize>());
            }
        }
    }
}
