//! A node's table of service nodes: the leaf set, the k-buckets, and who is known beyond them.
//!
//! Buckets are Kademlia's (2002, section 2.2); the leaf set is Pastry's (Rowstron and Druschel, 2001) under the XOR
//! metric: the nearest nodes to one's own location, which make the last hop of a route certain and hold the copies of
//! claims. Departures from both:
//! - A bucket is a number of *links*, not a list of 20 contacts: routing is recursive, over links that stand. Inbound
//!   links count, since the relation is symmetric.
//! - The links of a bucket come from different sub-prefixes, which saves a tenth to a seventh of them for equal hops.
//! - A bucket prefers neither its first nor its oldest contact, which made the bootstrap nodes hubs (see
//!   `docs/simulation.md`), but the quickest of 16 candidates that a salted hash drew, and while too few of those are
//!   measured, the first drawn. The salt is this node's secret: nobody can choose an id that is drawn for certain.
//! - Once chosen, a link stays chosen while it lives, unless the bucket can cover one sub-prefix more without it, or a
//!   candidate that was tried turns out to be much quicker: proximity neighbour selection by trial, since what nobody has
//!   linked nobody has measured (Gummadi et al., 2003, compare where to spend it).
//!
//! A contact is known by a valid home claim, and [`Table::learn`] trusts its caller for that. The home claims themselves
//! are the caller's to keep; [`Learned`] says whom to forget.

use alloc::vec::Vec;

use super::key::{
    KEY_BITS, Located, bit, bucket_index, bucket_range, closer, distance, home_id, prefix, walk_nearest,
};
use crate::crypto::sha256;
use crate::{Duration, Instant, LinkReason, LinkReasons, PeerId, RoomId};

mod bucket;
mod ready;
#[cfg(test)]
mod tests;

/// How long a failed contact is passed over once another node names it as linked.
const TOLD_ALIVE: Duration = Duration::from_secs(10);

/// Places by which the list of unlinked contacts grows: doubling would leave half of it empty.
const GROWTH: usize = 16;

/// Bounds of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Size of the leaf set. `docs/simulation.md`, defaults: at least twice the number of copies of a claim.
    pub leaf_set: usize,
    /// Links wanted per bucket.
    pub bucket_links: usize,
    /// Contacts that are known and not linked. Each costs about 200 bytes. Sixteen candidates for each link of each
    /// bucket take 320 in a network of 10,000.
    pub known_max: usize,
    /// A secret random number, which decides whom this node prefers among equals.
    pub salt: u64,
}

/// A service node in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its identity.
    pub peer: PeerId,
    /// Its location: [`home_id`] of its identity.
    pub id: RoomId,
    /// Whether there is a link to it.
    pub linked: bool,
    /// Whether it says that it takes part in routing. Only of linked contacts.
    pub ready: bool,
    /// Whether it left a hop unacknowledged and was not heard since. Only of linked contacts.
    pub suspect: bool,
    /// Whether it opened the link. Only of linked contacts.
    pub inbound: bool,
    /// Whether the link is a bootstrap's, which fills no bucket unless the bucket chooses it. Only of linked contacts.
    pub bootstrap: bool,
    /// Smoothed round-trip time, of the present link or the last one.
    pub rtt: Option<Duration>,
    /// When it was linked, or last learnt of.
    pub since: Instant,
    /// Until when it is passed over, after a failed dial or a refusal. Only of unlinked contacts.
    pub failed_until: Option<Instant>,
    /// Whether the link is one of those that its bucket keeps.
    chosen: bool,
    /// Whether the other end keeps the link. Only of linked contacts.
    kept_by_peer: bool,
    /// Whether circuits run over the link. Only of linked contacts.
    carries: bool,
    /// Whether it was ever linked.
    proven: bool,
    /// Its place in this node's draw.
    draw: u64,
}

impl Contact {
    fn failed(&self, now: Instant) -> bool {
        self.failed_until.is_some_and(|until| until > now)
    }

    /// Whether the bucket of a linked contact may count it.
    fn fills(&self) -> bool {
        !self.bootstrap || self.chosen
    }

    /// Whether the link stands whatever its bucket does.
    const fn stands(&self) -> bool {
        self.kept_by_peer || self.carries
    }
}

impl Located for Contact {
    fn id(&self) -> &RoomId {
        &self.id
    }
}

/// What came of [`Table::learn`] and [`Table::unlinked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The contact is in the table; `evicted` made way for it.
    New {
        /// Who was forgotten.
        evicted: Option<PeerId>,
    },
    /// The contact was there before.
    Known,
    /// There is no place for it, or it is the node itself.
    Refused,
}

/// The service nodes a node knows. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Table {
    location: RoomId,
    limits: TableLimits,
    /// Linked contacts, ascending by id.
    links: Vec<Contact>,
    /// The [`prefix`] of each, in the same order: all that a search for the next hop reads of most of them.
    prefixes: Vec<u64>,
    /// Unlinked contacts, ascending by id.
    known: Vec<Contact>,
    /// Counts changes of which contacts are linked and ready.
    changes: u64,
}

/// The place of `id` in a list ascending by id.
fn position(list: &[Contact], id: &RoomId) -> Result<usize, usize> {
    list.binary_search_by(|contact| contact.id.cmp(id))
}

impl Table {
    /// An empty table around `location`: a service node's [`home_id`], a client's primary room.
    #[must_use]
    pub const fn new(location: RoomId, limits: TableLimits) -> Self {
        Self { location, limits, links: Vec::new(), prefixes: Vec::new(), known: Vec::new(), changes: 0 }
    }

    /// Contacts, linked or known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.links.len().saturating_add(self.known.len())
    }

    /// Whether there is no contact.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts changes of which contacts are linked and ready: while it stands, so does every answer of
    /// [`nearest_ready`](Self::nearest_ready) and [`ready_rank`](Self::ready_rank).
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The centre of the table.
    #[must_use]
    pub const fn location(&self) -> &RoomId {
        &self.location
    }

    /// Moves the centre, when a client's primary room changes.
    pub fn relocate(&mut self, location: RoomId) {
        self.location = location;
        for contact in &mut self.links {
            contact.chosen = false;
        }
        let buckets: Vec<u8> =
            self.links.iter().filter_map(|contact| bucket_index(&location, &contact.id)).collect();
        for bucket in buckets {
            self.choose(bucket);
        }
    }

    /// Takes note of a service node whose home claim is valid.
    pub fn learn(&mut self, peer: PeerId, now: Instant) -> Learned {
        let id = home_id(peer);
        if position(&self.links, &id).is_ok() {
            return Learned::Known;
        }
        if let Some(contact) = self.known_mut(&id) {
            contact.since = now;
            return Learned::Known;
        }
        let contact = self.contact(peer, id, now);
        self.insert_known(contact)
    }

    /// A link to a service node is usable. `bootstrap` says that it was dialled because of its address alone, not
    /// because [`wanted`](Self::wanted) named it.
    pub fn linked(&mut self, peer: PeerId, inbound: bool, bootstrap: bool, now: Instant) {
        self.changes = self.changes.wrapping_add(1);
        let id = home_id(peer);
        let contact = match position(&self.known, &id) {
            Ok(at) => self.known.remove(at),
            Err(_) => self.contact(peer, id, now),
        };
        let contact = Contact {
            linked: true,
            inbound,
            bootstrap,
            since: now,
            failed_until: None,
            proven: true,
            ready: false,
            suspect: false,
            chosen: false,
            kept_by_peer: false,
            carries: false,
            ..contact
        };
        match position(&self.links, &id) {
            Ok(at) => {
                if let Some(old) = self.links.get_mut(at) {
                    // A newer link to the same peer: what is known of the peer stays.
                    old.inbound = inbound;
                    old.bootstrap &= bootstrap;
                }
            }
            Err(at) => {
                self.links.insert(at, contact);
                self.prefixes.insert(at, prefix(&id));
            }
        }
        self.choose_around(&id);
    }

    /// The last link to a service node is gone. It stays known; see [`failed`](Self::failed) and
    /// [`forget`](Self::forget).
    pub fn unlinked(&mut self, peer: PeerId, now: Instant) -> Learned {
        let id = home_id(peer);
        let Ok(at) = position(&self.links, &id) else { return Learned::Known };
        self.changes = self.changes.wrapping_add(1);
        let contact = Contact {
            linked: false,
            ready: false,
            suspect: false,
            inbound: false,
            bootstrap: false,
            chosen: false,
            kept_by_peer: false,
            carries: false,
            since: now,
            ..self.remove_link(at)
        };
        self.choose_around(&id);
        self.insert_known(contact)
    }

    /// A linked contact says whether it takes part in routing.
    pub fn set_ready(&mut self, peer: PeerId, ready: bool) {
        if self.is_ready(peer) != ready {
            self.changes = self.changes.wrapping_add(1);
        }
        self.update(peer, |contact| contact.ready = ready);
    }

    /// The other end of a link says whether it keeps it.
    pub fn set_kept_by_peer(&mut self, peer: PeerId, kept: bool) {
        let id = home_id(peer);
        let link = position(&self.links, &id).ok().and_then(|at| self.links.get_mut(at));
        if let Some(contact) = link.filter(|contact| contact.kept_by_peer != kept) {
            contact.kept_by_peer = kept;
            self.choose_around(&id);
        }
    }

    /// Whether circuits run over the link to a contact: it stands as long as they do.
    pub fn set_carries(&mut self, peer: PeerId, carries: bool) {
        let id = home_id(peer);
        let link = position(&self.links, &id).ok().and_then(|at| self.links.get_mut(at));
        if let Some(contact) = link.filter(|contact| contact.carries != carries) {
            contact.carries = carries;
            self.choose_around(&id);
        }
    }

    /// A linked contact left a hop unacknowledged: it is no next hop until it is heard.
    pub fn suspect(&mut self, peer: PeerId) {
        self.update(peer, |contact| contact.suspect = true);
    }

    /// A linked contact was heard.
    pub fn clear_suspect(&mut self, peer: PeerId) {
        self.update(peer, |contact| contact.suspect = false);
    }

    /// The smoothed round-trip time to a contact, linked or just tried.
    pub fn measured(&mut self, peer: PeerId, rtt: Duration) {
        if let Some(contact) = self.links.iter_mut().find(|contact| contact.peer == peer) {
            contact.rtt = Some(rtt);
        } else if let Some(contact) = self.known_mut(&home_id(peer)) {
            contact.rtt = Some(rtt);
        }
    }

    /// A dial to a known contact failed, or it refused: it is passed over until then, and does not stand in the way of
    /// [`all_nearest_linked`](Self::all_nearest_linked).
    pub fn failed(&mut self, peer: PeerId, until: Instant) {
        if let Some(contact) = self.known_mut(&home_id(peer)) {
            contact.failed_until = Some(until);
        }
    }

    /// Somebody who is linked to a contact names it: it lives, so a failure is not held against it for long. After a
    /// partition each side has failed the other for minutes.
    pub fn told_alive(&mut self, peer: PeerId, now: Instant) {
        if let Some(contact) = self.known_mut(&home_id(peer)) {
            let soon = now + TOLD_ALIVE;
            contact.failed_until = contact.failed_until.map(|until| until.min(soon));
        }
    }

    /// Drops a contact, linked or not.
    pub fn forget(&mut self, peer: PeerId) {
        let id = home_id(peer);
        if let Ok(at) = position(&self.known, &id) {
            self.known.remove(at);
        }
        if let Ok(at) = position(&self.links, &id) {
            self.changes = self.changes.wrapping_add(1);
            self.remove_link(at);
            self.choose_around(&id);
        }
    }

    /// Drops the unlinked contacts that were last learnt of before `before`, and says which.
    pub fn expire(&mut self, before: Instant) -> Vec<PeerId> {
        let mut gone = Vec::new();
        self.known.retain(|contact| {
            if contact.since < before {
                gone.push(contact.peer);
            }
            contact.since >= before
        });
        gone
    }

    /// The next hop of a node at `own` towards `key`: the nearest linked contact that is ready, not suspected, not
    /// skipped, and strictly nearer than `own`. `None` means that this node is the end of the route.
    #[must_use]
    pub fn next_hop(&self, key: &RoomId, own: &RoomId, skip: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        self.scan(key, Some(own), skip)
    }

    /// The first hop of a client towards `key`: as [`next_hop`](Self::next_hop), however far the contact is.
    #[must_use]
    pub fn first_hop(&self, key: &RoomId, skip: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        self.scan(key, None, skip)
    }

    /// A plain scan: a node has tens of links, and the first eight bytes decide. Few of them are nearer than all before
    /// them, and only those are looked at.
    fn scan(&self, key: &RoomId, bound: Option<&RoomId>, skip: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let near = prefix(key);
        let mut nearest = bound;
        let mut least = nearest.map_or(u64::MAX, |id| prefix(id) ^ near);
        let mut best = None;
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let far = prefix ^ near;
            if far > least {
                continue;
            }
            let Some(contact) = self.links.get(at) else { continue };
            let is_nearer =
                far < least || nearest.is_none_or(|id| distance(key, &contact.id) < distance(key, id));
            if is_nearer && contact.ready && !contact.suspect && !skip(contact.peer) {
                least = far;
                nearest = Some(&contact.id);
                best = Some(contact.peer);
            }
        }
        best
    }

    /// The `n` linked contacts nearest to `key`, nearest first, ready or not.
    #[must_use]
    pub fn nearest_linked(&self, key: &RoomId, n: usize) -> Vec<PeerId> {
        nearest(&self.links, key, n, |_| true).into_iter().map(|contact| contact.peer).collect()
    }

    /// The `n` contacts nearest to `key`, nearest first: the linked ones, and the unlinked ones that did not just fail.
    #[must_use]
    pub fn nearest_known(&self, key: &RoomId, n: usize, now: Instant) -> Vec<PeerId> {
        self.nearest_contacts(key, n, now).into_iter().map(|contact| contact.peer).collect()
    }

    /// Whether a contact would be among the nearest to the own location of all that are known, which no other can stand in
    /// for.
    #[must_use]
    pub fn would_be_near(&self, peer: PeerId, now: Instant) -> bool {
        let nearest = self.nearest_contacts(&self.location, self.limits.leaf_set, now);
        let furthest = nearest.last().filter(|_| nearest.len() >= self.limits.leaf_set);
        furthest.is_none_or(|last| closer(&self.location, &home_id(peer), &last.id).is_le())
    }

    fn nearest_contacts(&self, key: &RoomId, n: usize, now: Instant) -> Vec<&Contact> {
        let mut out = nearest(&self.links, key, n, |_| true);
        out.extend(nearest(&self.known, key, n, |contact| !contact.failed(now)));
        out.sort_unstable_by(|a, b| closer(key, &a.id, &b.id));
        out.truncate(n);
        out
    }

    /// The leaf set: the linked contacts nearest to the own location, nearest first.
    #[must_use]
    pub fn leaf_set(&self) -> Vec<PeerId> {
        self.nearest_linked(&self.location, self.limits.leaf_set)
    }

    /// Whether a link to the service node with this [`home_id`] is, or would be, in the leaf set: such a link is admitted
    /// beyond the soft cap, and the last of [`leaf_set`](Self::leaf_set) gives way.
    #[must_use]
    pub fn is_leaf(&self, id: &RoomId) -> bool {
        *id != self.location && self.nearer_links(&self.location, id) < self.limits.leaf_set
    }

    /// Why the table keeps the link to the service node with this [`home_id`]: [`LinkReason::Leaf`],
    /// [`LinkReason::Bucket`], both or none.
    #[must_use]
    pub fn reasons(&self, id: &RoomId) -> LinkReasons {
        let mut reasons = LinkReasons::default();
        let Some(contact) = position(&self.links, id).ok().and_then(|at| self.links.get(at)) else {
            return reasons;
        };
        if self.nearer_links(&self.location, id) < self.limits.leaf_set {
            reasons = reasons.with(LinkReason::Leaf);
        }
        if contact.chosen {
            reasons = reasons.with(LinkReason::Bucket);
        }
        reasons
    }

    /// Linked contacts that are strictly nearer to `key` than `id`.
    fn nearer_links(&self, key: &RoomId, id: &RoomId) -> usize {
        let (near, own) = (prefix(key), prefix(id));
        let far = own ^ near;
        let nearer = self.prefixes.iter().filter(|prefix| (**prefix ^ near) < far).count();
        // Where the first eight bytes are the same, the rest decides.
        let least = self.prefixes.partition_point(|prefix| *prefix < own);
        let alike = self.links.iter().skip(least).take_while(|contact| prefix(&contact.id) == own);
        nearer + alike.filter(|contact| closer(key, &contact.id, id).is_lt()).count()
    }

    /// How many linked contacts are strictly nearer to `key` than `own`: 0 for the root of the key, below `r` for one of
    /// its `r` holders.
    #[must_use]
    pub fn rank(&self, key: &RoomId, own: &RoomId) -> usize {
        self.nearer_links(key, own)
    }

    /// Whether the `leaf_set` nearest contacts that did not just fail are all linked; true of an empty table.
    #[must_use]
    pub fn all_nearest_linked(&self, now: Instant) -> bool {
        self.nearest_contacts(&self.location, self.limits.leaf_set, now).iter().all(|contact| contact.linked)
    }

    /// How many buckets, from the furthest on, reach beyond the leaf set, as far as contacts are known: only these need
    /// links of their own. 0 while fewer contacts are known than the leaf set takes.
    #[must_use]
    pub fn depth(&self, now: Instant) -> u16 {
        self.depth_of(&self.nearest_contacts(&self.location, self.limits.leaf_set, now))
    }

    fn depth_of(&self, nearest: &[&Contact]) -> u16 {
        if nearest.len() < self.limits.leaf_set {
            return 0;
        }
        nearest
            .last()
            .and_then(|contact| bucket_index(&self.location, &contact.id))
            .map_or(0, |bucket| u16::from(bucket) + 1)
    }

    /// The buckets within [`depth`](Self::depth) that have fewer links than they should: a lookup of a random key in
    /// them is due. Some may stay so, because the network has nobody there.
    #[must_use]
    pub fn buckets_to_refresh(&self, now: Instant) -> Vec<u8> {
        let depth = self.depth(now);
        (0..=u8::MAX)
            .take_while(|bucket| u16::from(*bucket) < depth)
            .filter(|bucket| {
                self.bucket_links(*bucket).iter().filter(|contact| contact.chosen).count()
                    < self.limits.bucket_links
            })
            .collect()
    }

    /// All contacts, ascending by id.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        let mut known = self.known.iter().peekable();
        let mut links = self.links.iter().peekable();
        core::iter::from_fn(move || match (links.peek(), known.peek()) {
            (Some(link), Some(other)) if link.id < other.id => links.next(),
            (Some(_), None) => links.next(),
            (_, Some(_)) => known.next(),
            (None, None) => None,
        })
    }

    /// The linked contacts, ascending by id.
    pub fn links(&self) -> impl ExactSizeIterator<Item = &Contact> {
        self.links.iter()
    }

    /// The contact of `peer`, linked or not.
    #[must_use]
    pub fn get(&self, peer: PeerId) -> Option<&Contact> {
        let id = home_id(peer);
        let linked = position(&self.links, &id).ok().and_then(|at| self.links.get(at));
        linked.or_else(|| position(&self.known, &id).ok().and_then(|at| self.known.get(at)))
    }

    /// The laws of the table, for tests.
    ///
    /// # Errors
    /// The law that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let ascending = |list: &[Contact]| list.is_sorted_by(|a, b| a.id < b.id);
        let law = |holds: bool, text| if holds { Ok(()) } else { Err(text) };
        law(ascending(&self.links) && ascending(&self.known), "contacts ascend by id, without duplicates")?;
        law(self.known.len() <= self.limits.known_max, "known contacts are bounded")?;
        for contact in self.contacts() {
            law(contact.id != self.location || contact.linked, "nobody knows itself")?;
            law(contact.linked || !(contact.chosen || contact.ready), "only links are chosen or ready")?;
        }
        law(self.links.iter().all(|contact| contact.linked), "links are linked")?;
        law(
            self.links.iter().map(|contact| prefix(&contact.id)).eq(self.prefixes.iter().copied()),
            "prefixes are those of the links",
        )?;
        law(self.known.iter().all(|contact| !contact.linked), "known contacts are not")?;
        law(
            self.known.iter().all(|contact| position(&self.links, &contact.id).is_err()),
            "a contact is linked or not",
        )?;
        for contact in &self.links {
            let Some(bucket) = bucket_index(&self.location, &contact.id) else { continue };
            let links = self.bucket_links(bucket);
            let chosen = links.iter().filter(|contact| contact.chosen).count();
            let able = links.iter().filter(|contact| contact.fills()).count();
            law(chosen == able.min(self.limits.bucket_links), "a bucket keeps as many links as it wants")?;
        }
        Ok(())
    }

    fn contact(&self, peer: PeerId, id: RoomId, now: Instant) -> Contact {
        let hash = RoomId(sha256(&[&self.limits.salt.to_le_bytes(), &id.0]));
        Contact {
            peer,
            id,
            linked: false,
            ready: false,
            suspect: false,
            inbound: false,
            bootstrap: false,
            rtt: None,
            since: now,
            failed_until: None,
            chosen: false,
            kept_by_peer: false,
            carries: false,
            proven: false,
            draw: prefix(&hash),
        }
    }

    fn known_mut(&mut self, id: &RoomId) -> Option<&mut Contact> {
        position(&self.known, id).ok().and_then(|at| self.known.get_mut(at))
    }

    fn remove_link(&mut self, at: usize) -> Contact {
        self.prefixes.remove(at);
        self.links.remove(at)
    }

    /// Changes the linked contact of `peer`. A scan: hashing the peer id costs more than tens of comparisons.
    fn update(&mut self, peer: PeerId, change: impl FnOnce(&mut Contact)) {
        if let Some(contact) = self.links.iter_mut().find(|contact| contact.peer == peer) {
            change(contact);
        }
    }

    /// Inserts an unlinked contact. In a full table somebody of the most crowded bucket makes way, of equals the
    /// furthest: who failed before who did not, who was never linked before who was, then the last drawn. The draw is
    /// salted, so that a flood of fresh ids cannot aim at those it replaces.
    fn insert_known(&mut self, contact: Contact) -> Learned {
        let peer = contact.peer;
        let Err(at) = position(&self.known, &contact.id) else { return Learned::Known };
        if contact.id == self.location {
            return Learned::Refused;
        }
        if self.known.len() == self.known.capacity() {
            self.known.reserve_exact(GROWTH);
        }
        self.known.insert(at, contact);
        if self.known.len() <= self.limits.known_max {
            return Learned::New { evicted: None };
        }
        let mut crowds = [0_usize; KEY_BITS as usize];
        for contact in &self.known {
            let bucket = bucket_index(&self.location, &contact.id).map(usize::from);
            if let Some(count) = bucket.and_then(|bucket| crowds.get_mut(bucket)) {
                *count += 1;
            }
        }
        let most = crowds.iter().copied().max().unwrap_or(0);
        let crowded = crowds.iter().position(|count| *count == most).and_then(|at| u8::try_from(at).ok());
        let victim = self
            .known
            .iter()
            .enumerate()
            .filter(|(_, contact)| bucket_index(&self.location, &contact.id) == crowded)
            .max_by_key(|(_, contact)| (contact.failed_until.is_some(), !contact.proven, contact.draw))
            .map(|(at, _)| at);
        let Some(victim) = victim else { return Learned::New { evicted: None } };
        let evicted = self.known.remove(victim).peer;
        if evicted == peer { Learned::Refused } else { Learned::New { evicted: Some(evicted) } }
    }

    /// The linked contacts of a bucket.
    fn bucket_links(&self, bucket: u8) -> &[Contact] {
        super::key::between(&self.links, &bucket_range(&self.location, bucket))
    }
}

/// The `n` contacts of a list ascending by id that are nearest to `key`, nearest first.
fn nearest<'a>(
    list: &'a [Contact],
    key: &RoomId,
    n: usize,
    take: impl Fn(&Contact) -> bool,
) -> Vec<&'a Contact> {
    let mut out = Vec::with_capacity(n.min(list.len()));
    if n > 0 {
        walk_nearest(list, key, &mut |contact| {
            if take(contact) {
                out.push(contact);
            }
            out.len() < n
        });
    }
    out
}

/// The sub-prefix of `id` inside its bucket: as many bits after the bucket's own as `links` different ones take.
fn sub_prefix(id: &RoomId, bucket: u8, links: usize) -> usize {
    let bits = links.checked_next_power_of_two().map_or(0, usize::trailing_zeros).min(8);
    let first = u16::from(bucket) + 1;
    (0..u16::try_from(bits).unwrap_or(0))
        .fold(0, |class, offset| class << 1 | usize::from(bit(id, first + offset)))
}
