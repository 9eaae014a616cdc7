//! The address book: where service nodes can be dialled.
//!
//! Addresses come from the operator (*configured*), from the last run, or from the home claims of service nodes, which
//! anyone can make in any number. Against poisoning it follows Bitcoin's address manager (Heilman, Kendler, Zohar and
//! Goldberg, "Eclipse Attacks on Bitcoin's Peer-to-Peer Network", 2015):
//! - *tried* addresses, to which a link once stood, and *new* ones have half of the book each, so that no flood of new
//!   ones displaces a tried one; configured ones are never displaced;
//! - one source has a quota of new addresses, and one endpoint is taken for two peers at most;
//! - loopback and private addresses are dialled only if the node itself is in that class.
//!
//! Lost contacts are service nodes whose link broke. Dialling one of them now and then is what heals a partition.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::address::AddressClass;
use crate::{Address, Duration, Instant, PeerId, SavedAddress};

#[cfg(test)]
mod tests;

/// Bounds of a [`Book`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Addresses in all, except that configured ones always have a place.
    pub addresses_max: usize,
    /// New addresses that one peer told of.
    pub per_source: usize,
    /// Lost contacts remembered.
    pub lost_max: usize,
    /// For how long a lost contact is remembered.
    pub lost_for: Duration,
    /// Pause after a first failed dial, and the longest pause; each failure doubles it.
    pub backoff: (Duration, Duration),
    /// Longest pause for configured addresses.
    pub backoff_configured: Duration,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self {
            addresses_max: 256,
            per_source: 64,
            // `docs/simulation.md`, defaults.
            lost_max: 32,
            lost_for: Duration::from_secs(3600),
            backoff: (Duration::from_secs(1), Duration::from_secs(300)),
            backoff_configured: Duration::from_secs(15),
        }
    }
}

/// What came of [`Book::learn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The address is in the book.
    New,
    /// It was there before.
    Known,
    /// It names no peer, or this node.
    NoPeer,
    /// It is a loopback or private address, and this node is not in that class.
    Class,
    /// Its source told of too many others.
    Quota,
    /// Two other peers are said to be there.
    Endpoint,
    /// The book is full of better ones.
    Full,
}

/// Places by which the list grows: doubling would leave half of it empty.
const GROWTH: usize = 8;

/// Whose word an address is: the first eight bytes of the peer id, which is enough to count by.
type Source = NonZeroU64;

#[derive(Clone, Debug)]
struct Entry {
    address: Address,
    /// Who is there as the last link proved, if that is not what the address says.
    proved: Option<Box<PeerId>>,
    /// Who told of it; `None` for the operator and the last run.
    source: Option<Source>,
    configured: bool,
    tried: bool,
    /// Failed dials since the last link.
    failures: u32,
    /// When it was last linked, or else became known.
    since: Instant,
    /// Not to be dialled before.
    not_before: Option<Instant>,
    lost: Option<Instant>,
}

impl Entry {
    const fn new(address: Address, source: Option<Source>, now: Instant) -> Self {
        Self {
            address,
            proved: None,
            source,
            configured: false,
            tried: false,
            failures: 0,
            since: now,
            not_before: None,
            lost: None,
        }
    }

    /// Who is there, as the address says or the last link proved.
    fn peer(&self) -> Option<PeerId> {
        self.proved.as_deref().copied().or(self.address.peer)
    }

    fn is_new(&self) -> bool {
        !self.tried && !self.configured
    }

    fn is_tried(&self) -> bool {
        self.tried && !self.configured
    }

    /// Less is better. A new address counts like a tried one that failed twice: a stranger's word is worth a dial
    /// sooner than an address that keeps failing, and later than one that worked.
    const fn cost(&self) -> u32 {
        let strangeness = if self.configured || self.tried { 0 } else { 2 };
        self.failures.saturating_add(strangeness)
    }
}

/// An endpoint where a peer was said to be and was not.
#[derive(Clone, Debug)]
struct Vain {
    /// The address that was dialled last.
    address: Address,
    times: u32,
    until: Instant,
}

/// Endpoints remembered for dials in vain.
const VAIN_MAX: usize = 64;
/// For how long an endpoint is then not dialled for another peer; doubles each time, so often.
const VAIN_PAUSE: Duration = Duration::from_secs(30);
const VAIN_DOUBLINGS: u32 = 5;

/// Known service addresses. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Book {
    own: PeerId,
    limits: BookLimits,
    local: BTreeSet<AddressClass>,
    /// Ascending by address.
    entries: Vec<Entry>,
    /// Oldest first.
    vain: Vec<Vain>,
}

impl Book {
    /// An empty book of the node `own`.
    #[must_use]
    pub const fn new(own: PeerId, limits: BookLimits) -> Self {
        Self { own, limits, local: BTreeSet::new(), entries: Vec::new(), vain: Vec::new() }
    }

    /// Addresses known.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The addresses that the operator gave, ascending.
    pub fn configured(&self) -> impl Iterator<Item = &Address> {
        self.iter_entries(|entry| entry.configured).map(|entry| &entry.address)
    }

    /// Allows addresses of a class: the node listens there. Public ones always are.
    pub fn allow(&mut self, class: AddressClass) {
        self.local.insert(class);
    }

    /// Whether loopback addresses may be dialled.
    #[must_use]
    pub fn allows_loopback(&self) -> bool {
        self.local.contains(&AddressClass::Loopback)
    }

    #[cfg(test)]
    pub(crate) fn forbid_loopback(&mut self) {
        self.local.remove(&AddressClass::Loopback);
    }

    /// Whether an address may be dialled, by its class.
    #[must_use]
    pub fn allows(&self, address: &Address) -> bool {
        match address.class() {
            AddressClass::Public => true,
            class @ (AddressClass::Loopback | AddressClass::Private) => self.local.contains(&class),
        }
    }

    /// Whether the operator gave this address, or its peer proved to be there.
    #[must_use]
    pub fn is_known(&self, address: &Address) -> bool {
        self.get(address).is_some_and(|entry| entry.configured || entry.tried)
    }

    /// A dial to `address` on a stranger's word was in vain: nobody, or somebody else, was there. Identities cost nothing, so
    /// whoever names ever new peers at one endpoint would have this node dial it again and again.
    pub fn note_vain(&mut self, address: &Address, now: Instant) {
        if self.is_known(address) {
            return;
        }
        let before = self.vain.iter().position(|vain| vain.address.is_same_endpoint(address));
        let times = before.map_or(0, |at| self.vain.remove(at).times);
        let pause = VAIN_PAUSE.saturating_mul(1 << times.min(VAIN_DOUBLINGS));
        if self.vain.len() >= VAIN_MAX {
            self.vain.remove(0);
        }
        self.vain.push(Vain { address: address.clone(), times: times.saturating_add(1), until: now + pause });
    }

    /// Whether another peer was sought at this endpoint in vain, so lately that it is not dialled on a stranger's word.
    #[must_use]
    pub fn is_vain(&self, address: &Address, now: Instant) -> bool {
        let blocks = |vain: &Vain| {
            vain.address.is_same_endpoint(address) && vain.address.peer != address.peer && vain.until > now
        };
        !self.is_known(address) && self.vain.iter().any(blocks)
    }

    /// Takes an address from the operator, and allows its class from then on.
    pub fn configure(&mut self, address: Address, now: Instant) {
        self.allow(address.class());
        if let Some(entry) = self.entry_of(&address, now) {
            entry.configured = true;
        }
        self.trim();
    }

    /// Takes what the last run saved, best first; call it after [`configure`](Self::configure) and
    /// [`allow`](Self::allow).
    pub fn restore(&mut self, saved: &[SavedAddress], now: Instant) {
        for saved in saved.iter().take(self.limits.addresses_max) {
            let peer = saved.address.peer;
            if peer.is_none() || peer == Some(self.own) || !self.allows(&saved.address) {
                continue;
            }
            let Some(entry) = self.entry_of(&saved.address, now) else { continue };
            entry.tried |= saved.tried;
            entry.lost = entry.lost.or(saved.lost.then_some(now));
        }
        self.trim();
    }

    /// Takes an address from a service node's home claim, told by `source`.
    pub fn learn(&mut self, address: Address, source: PeerId, now: Instant) -> Noted {
        if address.peer.is_none_or(|peer| peer == self.own) {
            return Noted::NoPeer;
        }
        if !self.allows(&address) {
            return Noted::Class;
        }
        if self.get(&address).is_some() {
            return Noted::Known;
        }
        if self.at_endpoint(&address) >= 2 {
            return Noted::Endpoint;
        }
        let source = source.0.first_chunk().and_then(|first| Source::new(u64::from_be_bytes(*first)));
        if self.iter_entries(Entry::is_new).filter(|entry| entry.source == source).count()
            >= self.limits.per_source
        {
            return Noted::Quota;
        }
        if let Some(entry) = self.entry_of(&address, now) {
            entry.source = source;
        }
        self.trim();
        if self.get(&address).is_some() { Noted::New } else { Noted::Full }
    }

    /// A link to `address` stands, and `peer` proved to be there.
    pub fn connected(&mut self, address: &Address, peer: PeerId, now: Instant) {
        if !self.allows(address) {
            return;
        }
        let Some(entry) = self.entry_of(address, now) else { return };
        entry.proved = (address.peer != Some(peer)).then(|| Box::new(peer));
        entry.tried = true;
        entry.failures = 0;
        entry.not_before = None;
        entry.since = now;
        self.vain.retain(|vain| !vain.address.is_same_endpoint(address));
        self.found(peer);
        self.trim();
    }

    /// A link to `peer` stands, whoever opened it: it is lost no more.
    pub fn found(&mut self, peer: PeerId) {
        for entry in self.entries.iter_mut().filter(|entry| entry.peer() == Some(peer)) {
            entry.lost = None;
        }
    }

    /// How many dials to `address` failed since its last link.
    #[must_use]
    pub fn failures(&self, address: &Address) -> u32 {
        self.get(address).map_or(0, |entry| entry.failures)
    }

    /// A dial to `address` failed. `jitter` is any random number: it spreads the pause by a quarter either way.
    pub fn failed(&mut self, address: &Address, now: Instant, jitter: u64) {
        let limits = self.limits;
        let Some(entry) = self.get_mut(address) else { return };
        let (first, longest) = limits.backoff;
        let longest = if entry.configured { longest.min(limits.backoff_configured) } else { longest };
        let pause = first.saturating_mul(1_u32.checked_shl(entry.failures).unwrap_or(u32::MAX)).min(longest);
        let pause = crate::time::micros(pause);
        let spread = (pause / 2).saturating_add(1);
        let pause = pause.saturating_sub(pause / 4).saturating_add(jitter % spread);
        entry.failures = entry.failures.saturating_add(1);
        entry.not_before = Some(now + Duration::from_micros(pause));
    }

    /// Another peer than `address` names is there: it is dropped, or, if it is configured, counts as failed.
    pub fn mismatched(&mut self, address: &Address, now: Instant, jitter: u64) {
        if self.get(address).is_some_and(|entry| entry.configured) {
            self.failed(address, now, jitter);
        } else {
            self.remove(address);
        }
    }

    /// The link to a service node broke without a goodbye. `address`, which names its peer, is one of its addresses.
    pub fn lost(&mut self, address: &Address, now: Instant) {
        let Some(peer) = address.peer.filter(|peer| *peer != self.own) else { return };
        if !self.allows(address) {
            return;
        }
        self.found(peer);
        let Some(entry) = self.entry_of(address, now) else { return };
        entry.tried = true;
        entry.since = now;
        entry.lost = Some(now);
        self.trim();
    }

    /// A random lost contact to dial, without regard to pauses; `linked` says whether a peer is linked or being dialled.
    pub fn next_lost(
        &mut self,
        now: Instant,
        linked: impl Fn(PeerId) -> bool,
        random: u64,
    ) -> Option<Address> {
        let oldest = now - self.limits.lost_for;
        for entry in &mut self.entries {
            entry.lost = entry.lost.filter(|since| *since >= oldest);
        }
        pick(self.iter_entries(|entry| entry.lost.is_some() && !held(entry, &linked)), random)
    }

    /// A random configured address to dial, without regard to pauses.
    #[must_use]
    pub fn next_bootstrap(&self, linked: impl Fn(PeerId) -> bool, random: u64) -> Option<Address> {
        pick(self.iter_entries(|entry| entry.configured && !held(entry, &linked)), random)
    }

    /// What a node without enough links dials next: of the addresses whose pause is over, a random one of the least
    /// failed, configured and tried ones before new ones.
    #[must_use]
    pub fn next_dial(&self, now: Instant, linked: impl Fn(PeerId) -> bool, random: u64) -> Option<Address> {
        let open = |entry: &Entry| entry.not_before.is_none_or(|at| at <= now) && !held(entry, &linked);
        let least = self.iter_entries(open).map(Entry::cost).min()?;
        pick(self.iter_entries(open).filter(|entry| entry.cost() == least), random)
    }

    /// When [`next_dial`](Self::next_dial) has something to offer: `None` if never.
    #[must_use]
    pub fn next_dial_at(&self, now: Instant, linked: impl Fn(PeerId) -> bool) -> Option<Instant> {
        self.iter_entries(|entry| !held(entry, &linked))
            .map(|entry| entry.not_before.map_or(now, |at| at.max(now)))
            .min()
    }

    /// The addresses of `peer`, best first.
    #[must_use]
    pub fn addresses(&self, peer: PeerId) -> Vec<Address> {
        let mut out: Vec<(u32, &Address)> = self
            .iter_entries(|entry| entry.peer() == Some(peer))
            .map(|entry| (entry.cost(), &entry.address))
            .collect();
        out.sort();
        out.into_iter().map(|(_, address)| address.clone()).collect()
    }

    /// What to persist, best first: all addresses whose peer is known.
    #[must_use]
    pub fn snapshot(&self) -> Vec<SavedAddress> {
        let mut out: Vec<&Entry> = self.entries.iter().collect();
        out.sort_by_key(|entry| (!entry.tried, entry.failures, core::cmp::Reverse(entry.since)));
        let mut seen = BTreeSet::new();
        out.into_iter()
            .filter_map(|entry| {
                let address = entry.address.clone().with_peer(entry.peer()?);
                seen.insert(address.clone()).then_some(SavedAddress {
                    address,
                    tried: entry.tried,
                    lost: entry.lost.is_some(),
                })
            })
            .take(self.limits.addresses_max)
            .collect()
    }

    /// All addresses, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Address> {
        self.entries.iter().map(|entry| &entry.address)
    }

    /// The laws of the book, for tests.
    ///
    /// # Errors
    /// The law that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let law = |holds: bool, text| if holds { Ok(()) } else { Err(text) };
        law(self.entries.is_sorted_by(|a, b| a.address < b.address), "addresses ascend, without duplicates")?;
        let configured = self.iter_entries(|entry| entry.configured).count();
        let bound = self.limits.addresses_max.max(configured);
        law(self.entries.len() <= bound, "addresses are bounded")?;
        let lost = self.iter_entries(|entry| entry.lost.is_some()).count();
        law(lost <= self.limits.lost_max, "lost contacts are bounded")?;
        law(self.iter().all(|address| self.allows(address)), "only allowed classes")?;
        law(
            self.entries.iter().all(|entry| entry.configured || entry.peer().is_some()),
            "whoever was not configured has a peer",
        )
    }

    fn iter_entries(&self, take: impl Fn(&Entry) -> bool + Clone) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.iter().filter(move |entry| take(entry))
    }

    fn position(&self, address: &Address) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.address.cmp(address))
    }

    fn get(&self, address: &Address) -> Option<&Entry> {
        self.position(address).ok().and_then(|at| self.entries.get(at))
    }

    fn get_mut(&mut self, address: &Address) -> Option<&mut Entry> {
        self.position(address).ok().and_then(|at| self.entries.get_mut(at))
    }

    fn remove(&mut self, address: &Address) {
        if let Ok(at) = self.position(address) {
            self.entries.remove(at);
        }
    }

    /// The entry of an address, a new one where there was none. Never `None`.
    fn entry_of(&mut self, address: &Address, now: Instant) -> Option<&mut Entry> {
        let at = self.position(address).unwrap_or_else(|at| {
            if self.entries.len() == self.entries.capacity() {
                self.entries.reserve_exact(GROWTH);
            }
            self.entries.insert(at, Entry::new(address.clone(), None, now));
            at
        });
        self.entries.get_mut(at)
    }

    /// Entries for the endpoint of `address`, whoever is said to be there.
    fn at_endpoint(&self, address: &Address) -> usize {
        let least = Address { peer: None, ..address.clone() };
        let endpoint = (&address.host, address.port, address.secure);
        let first = self.entries.partition_point(|entry| entry.address < least);
        let from = self.entries.iter().skip(first).map(|entry| &entry.address);
        from.take_while(|other| (&other.host, other.port, other.secure) == endpoint).count()
    }

    /// Brings the book back within its bounds. Of the lost contacts the oldest is forgotten as such. Of the new and the
    /// tried addresses, half of the places each, those go that failed most; then a new one of the source that told of
    /// most, and a tried one that is not lost; then the oldest.
    fn trim(&mut self) {
        while self.iter_entries(|entry| entry.lost.is_some()).count() > self.limits.lost_max {
            let oldest = self.entries.iter_mut().filter(|entry| entry.lost.is_some());
            let Some(entry) = oldest.min_by_key(|entry| entry.lost) else { break };
            entry.lost = None;
        }
        let configured = self.iter_entries(|entry| entry.configured).count();
        let places = self.limits.addresses_max.saturating_sub(configured);
        let half = places / 2;
        while self.iter_entries(Entry::is_new).count() > half {
            let mut told: BTreeMap<Option<Source>, usize> = BTreeMap::new();
            for entry in self.iter_entries(Entry::is_new) {
                *told.entry(entry.source).or_default() += 1;
            }
            let worst = self.iter_entries(Entry::is_new).max_by_key(|entry| {
                (entry.failures, told.get(&entry.source).copied(), core::cmp::Reverse(entry.since))
            });
            let Some(address) = worst.map(|entry| entry.address.clone()) else { break };
            self.remove(&address);
        }
        while self.iter_entries(Entry::is_tried).count() > places.saturating_sub(half) {
            let worst = self
                .iter_entries(Entry::is_tried)
                .max_by_key(|entry| (entry.lost.is_none(), entry.failures, core::cmp::Reverse(entry.since)));
            let Some(address) = worst.map(|entry| entry.address.clone()) else { break };
            self.remove(&address);
        }
    }
}

/// Whether an entry's peer needs no dial.
fn held(entry: &Entry, linked: impl Fn(PeerId) -> bool) -> bool {
    entry.peer().is_some_and(linked)
}

/// One of the entries, by a random number.
fn pick<'a>(entries: impl Iterator<Item = &'a Entry> + Clone, random: u64) -> Option<Address> {
    let count = u64::try_from(entries.clone().count()).ok()?;
    let chosen = usize::try_from(random.checked_rem(count)?).ok()?;
    entries.map(|entry| entry.address.clone()).nth(chosen)
}
