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

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

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

#[derive(Clone, Debug)]
struct Entry {
    /// Who is there, as the address says or the last link proved.
    peer: Option<PeerId>,
    /// Who told of it; `None` for the operator and the last run.
    source: Option<PeerId>,
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
    const fn new(peer: Option<PeerId>, source: Option<PeerId>, now: Instant) -> Self {
        Self {
            peer,
            source,
            configured: false,
            tried: false,
            failures: 0,
            since: now,
            not_before: None,
            lost: None,
        }
    }

    /// Less is better. A new address counts like a tried one that failed twice: a stranger's word is worth a dial
    /// sooner than an address that keeps failing, and later than one that worked.
    const fn cost(&self) -> u32 {
        let strangeness = if self.configured || self.tried { 0 } else { 2 };
        self.failures.saturating_add(strangeness)
    }
}

/// Known service addresses. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Book {
    own: PeerId,
    limits: BookLimits,
    local: BTreeSet<AddressClass>,
    entries: BTreeMap<Address, Entry>,
}

impl Book {
    /// An empty book of the node `own`.
    #[must_use]
    pub const fn new(own: PeerId, limits: BookLimits) -> Self {
        Self { own, limits, local: BTreeSet::new(), entries: BTreeMap::new() }
    }

    /// The addresses that the operator gave, ascending.
    pub fn configured(&self) -> impl Iterator<Item = &Address> {
        self.entries.iter().filter(|(_, entry)| entry.configured).map(|(address, _)| address)
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

    /// Takes an address from the operator, and allows its class from then on.
    pub fn configure(&mut self, address: Address, now: Instant) {
        self.allow(address.class());
        let peer = address.peer;
        self.entries.entry(address).or_insert_with(|| Entry::new(peer, None, now)).configured = true;
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
            let entry =
                self.entries.entry(saved.address.clone()).or_insert_with(|| Entry::new(peer, None, now));
            entry.tried |= saved.tried;
            entry.lost = entry.lost.or(saved.lost.then_some(now));
        }
        self.trim();
    }

    /// Takes an address from a service node's home claim, told by `source`.
    pub fn learn(&mut self, address: Address, source: PeerId, now: Instant) -> Noted {
        let Some(peer) = address.peer.filter(|peer| *peer != self.own) else { return Noted::NoPeer };
        if !self.allows(&address) {
            return Noted::Class;
        }
        if self.entries.contains_key(&address) {
            return Noted::Known;
        }
        if self.at_endpoint(&address) >= 2 {
            return Noted::Endpoint;
        }
        if self.new_entries().filter(|(_, entry)| entry.source == Some(source)).count()
            >= self.limits.per_source
        {
            return Noted::Quota;
        }
        self.entries.insert(address.clone(), Entry::new(Some(peer), Some(source), now));
        self.trim();
        if self.entries.contains_key(&address) { Noted::New } else { Noted::Full }
    }

    /// A link to `address` stands, and `peer` proved to be there.
    pub fn connected(&mut self, address: &Address, peer: PeerId, now: Instant) {
        if !self.allows(address) {
            return;
        }
        let entry = self.entries.entry(address.clone()).or_insert_with(|| Entry::new(Some(peer), None, now));
        entry.peer = Some(peer);
        entry.tried = true;
        entry.failures = 0;
        entry.not_before = None;
        entry.since = now;
        self.found(peer);
        self.trim();
    }

    /// A link to `peer` stands, whoever opened it: it is lost no more.
    pub fn found(&mut self, peer: PeerId) {
        for entry in self.entries.values_mut().filter(|entry| entry.peer == Some(peer)) {
            entry.lost = None;
        }
    }

    /// A dial to `address` failed. `jitter` is any random number: it spreads the pause by a quarter either way.
    pub fn failed(&mut self, address: &Address, now: Instant, jitter: u64) {
        let limits = self.limits;
        let Some(entry) = self.entries.get_mut(address) else { return };
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
        if self.entries.get(address).is_some_and(|entry| entry.configured) {
            self.failed(address, now, jitter);
        } else {
            self.entries.remove(address);
        }
    }

    /// The link to a service node broke without a goodbye. `address`, which names its peer, is one of its addresses.
    pub fn lost(&mut self, address: &Address, now: Instant) {
        let Some(peer) = address.peer.filter(|peer| *peer != self.own) else { return };
        if !self.allows(address) {
            return;
        }
        self.found(peer);
        let entry = self.entries.entry(address.clone()).or_insert_with(|| Entry::new(Some(peer), None, now));
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
        for entry in self.entries.values_mut() {
            entry.lost = entry.lost.filter(|since| *since >= oldest);
        }
        pick(self.entries.iter().filter(|(_, entry)| entry.lost.is_some() && !held(entry, &linked)), random)
    }

    /// A random configured address to dial, without regard to pauses.
    #[must_use]
    pub fn next_bootstrap(&self, linked: impl Fn(PeerId) -> bool, random: u64) -> Option<Address> {
        pick(self.entries.iter().filter(|(_, entry)| entry.configured && !held(entry, &linked)), random)
    }

    /// What a node without enough links dials next: of the addresses whose pause is over, a random one of the least
    /// failed, configured and tried ones before new ones.
    #[must_use]
    pub fn next_dial(&self, now: Instant, linked: impl Fn(PeerId) -> bool, random: u64) -> Option<Address> {
        let open = |(_, entry): &(&Address, &Entry)| {
            entry.not_before.is_none_or(|at| at <= now) && !held(entry, &linked)
        };
        let least = self.entries.iter().filter(open).map(|(_, entry)| entry.cost()).min()?;
        pick(self.entries.iter().filter(open).filter(|(_, entry)| entry.cost() == least), random)
    }

    /// When [`next_dial`](Self::next_dial) has something to offer: `None` if never.
    #[must_use]
    pub fn next_dial_at(&self, now: Instant, linked: impl Fn(PeerId) -> bool) -> Option<Instant> {
        self.entries
            .values()
            .filter(|entry| !held(entry, &linked))
            .map(|entry| entry.not_before.map_or(now, |at| at.max(now)))
            .min()
    }

    /// The addresses of `peer`, best first.
    #[must_use]
    pub fn addresses(&self, peer: PeerId) -> Vec<Address> {
        let mut out: Vec<(u32, &Address)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.peer == Some(peer))
            .map(|(address, entry)| (entry.cost(), address))
            .collect();
        out.sort();
        out.into_iter().map(|(_, address)| address.clone()).collect()
    }

    /// What to persist, best first: all addresses whose peer is known.
    #[must_use]
    pub fn snapshot(&self) -> Vec<SavedAddress> {
        let mut out: Vec<(&Address, &Entry)> = self.entries.iter().collect();
        out.sort_by_key(|(_, entry)| (!entry.tried, entry.failures, core::cmp::Reverse(entry.since)));
        let mut seen = BTreeSet::new();
        out.into_iter()
            .filter_map(|(address, entry)| {
                let address = address.clone().with_peer(entry.peer?);
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
        self.entries.keys()
    }

    /// The laws of the book, for tests.
    ///
    /// # Errors
    /// The law that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let law = |holds: bool, text| if holds { Ok(()) } else { Err(text) };
        let configured = self.entries.values().filter(|entry| entry.configured).count();
        let bound = self.limits.addresses_max.max(configured);
        law(self.entries.len() <= bound, "addresses are bounded")?;
        let lost = self.entries.values().filter(|entry| entry.lost.is_some()).count();
        law(lost <= self.limits.lost_max, "lost contacts are bounded")?;
        law(self.entries.keys().all(|address| self.allows(address)), "only allowed classes")?;
        law(
            self.entries.values().all(|entry| entry.configured || entry.peer.is_some()),
            "whoever was not configured has a peer",
        )
    }

    fn new_entries(&self) -> impl Iterator<Item = (&Address, &Entry)> {
        self.entries.iter().filter(|(_, entry)| !entry.tried && !entry.configured)
    }

    /// Entries for the endpoint of `address`, whoever is said to be there.
    fn at_endpoint(&self, address: &Address) -> usize {
        let least = Address { peer: None, ..address.clone() };
        let endpoint = (&address.host, address.port, address.secure);
        self.entries
            .range(least..)
            .take_while(|(other, _)| (&other.host, other.port, other.secure) == endpoint)
            .count()
    }

    /// Brings the book back within its bounds. Of the lost contacts the oldest is forgotten as such. Of the new and the
    /// tried addresses, half of the places each, those go that failed most; then a new one of the source that told of
    /// most, and a tried one that is not lost; then the oldest.
    fn trim(&mut self) {
        while self.entries.values().filter(|entry| entry.lost.is_some()).count() > self.limits.lost_max {
            let oldest = self.entries.values_mut().filter(|entry| entry.lost.is_some());
            let Some(entry) = oldest.min_by_key(|entry| entry.lost) else { break };
            entry.lost = None;
        }
        let configured = self.entries.values().filter(|entry| entry.configured).count();
        let places = self.limits.addresses_max.saturating_sub(configured);
        let half = places / 2;
        while self.new_entries().count() > half {
            let mut told: BTreeMap<Option<PeerId>, usize> = BTreeMap::new();
            for (_, entry) in self.new_entries() {
                *told.entry(entry.source).or_default() += 1;
            }
            let worst = self.new_entries().max_by_key(|(_, entry)| {
                (entry.failures, told.get(&entry.source).copied(), core::cmp::Reverse(entry.since))
            });
            let Some(address) = worst.map(|(address, _)| address.clone()) else { break };
            self.entries.remove(&address);
        }
        while self.tried_entries().count() > places.saturating_sub(half) {
            let worst = self.tried_entries().max_by_key(|(_, entry)| {
                (entry.lost.is_none(), entry.failures, core::cmp::Reverse(entry.since))
            });
            let Some(address) = worst.map(|(address, _)| address.clone()) else { break };
            self.entries.remove(&address);
        }
    }

    fn tried_entries(&self) -> impl Iterator<Item = (&Address, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.tried && !entry.configured)
    }
}

/// Whether an entry's peer needs no dial.
fn held(entry: &Entry, linked: impl Fn(PeerId) -> bool) -> bool {
    entry.peer.is_some_and(linked)
}

/// One of the entries, by a random number.
fn pick<'a>(entries: impl Iterator<Item = (&'a Address, &'a Entry)> + Clone, random: u64) -> Option<Address> {
    let count = u64::try_from(entries.clone().count()).ok()?;
    let chosen = usize::try_from(random.checked_rem(count)?).ok()?;
    entries.map(|(address, _)| address.clone()).nth(chosen)
}
