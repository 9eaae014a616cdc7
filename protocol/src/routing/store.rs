//! The claims that a service node holds for rooms: where members of a room find each other.
//!
//! A slot is a room and a replica index. It holds one entry per peer: a claim, or the tombstone of a withdrawn one, which
//! refuses the claim's older versions for as long as they could come back from other holders. Departures from a plain
//! soft-state store are about floods, since whoever knows a room can make claims without number:
//! - Of the claims a slot takes, two fifths are those held longest without a break, two fifths those first in a salted
//!   draw, and the rest the freshest. Fresh claims displace only fresh ones, so members who were there before a flood
//!   stay findable; and those who come during it have a share by the draw, whose salt is secret. Answers mix the three.
//! - A peer has a quota of slots. When the store is full, the peer with the most entries gives way, of equals the last in
//!   the draw.
//!
//! Wall-clock time decides once, on arrival, how long an entry is held: to its expiry plus the tolerance. A claim is held
//! at most for its lifetime, too: from when it was published, and where a holder hands it on, for as long as that one
//! would have held it. So it ends everywhere when it ends, however wrong the clocks are within the tolerance. From
//! then on the monotonic clock counts, so a jump of the wall clock empties nothing.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;

use super::key::prefix;
use crate::crypto::sha256;
use crate::{Duration, Instant, PeerId, RoomId};

mod policy;
mod single;
#[cfg(test)]
mod tests;

/// (boot, counter) of a claim: later ones replace earlier ones.
pub type Sequence = (u64, u64);

/// Bounds of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Entries in all, tombstones included. A claim costs about 700 bytes.
    pub entries_max: usize,
    /// Claims in one slot. Tombstones may be twice as many.
    pub claims_per_room: usize,
    /// Slots in which one peer has entries.
    pub rooms_per_peer: usize,
    /// Longest lifetime of a claim.
    pub ttl: Duration,
    /// How much wall clocks may differ.
    pub tolerance: Duration,
    /// A secret random number, which decides the draw.
    pub salt: u64,
}

impl StoreLimits {
    /// Default of [`rooms_per_peer`](Self::rooms_per_peer): as many rooms as a node joins.
    pub const ROOMS_PER_PEER: usize = 32;
}

/// A claim, verified by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The room.
    pub room: RoomId,
    /// The replica index.
    pub replica: u8,
    /// Who is there.
    pub peer: PeerId,
    /// The version.
    pub sequence: Sequence,
    /// When it was made, milliseconds since the Unix epoch, by its maker's clock.
    pub issued_ms: u64,
    /// When it ends, likewise.
    pub expiry_ms: u64,
    /// How long it is held at most: its lifetime, or what another holder says is left of it.
    pub left: Duration,
    /// Through whom the peer is reached.
    pub homes: Vec<PeerId>,
    /// First eight bytes of the SHA-256 of `bytes`.
    pub digest: u64,
    /// How publishers name the claim: renewals leave it as it is.
    pub mark: u64,
    /// The claim as signed.
    pub bytes: Bytes,
}

/// The withdrawal of a claim and of all before it, verified by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The room.
    pub room: RoomId,
    /// The replica index.
    pub replica: u8,
    /// Who left.
    pub peer: PeerId,
    /// The last version withdrawn.
    pub sequence: Sequence,
    /// When the withdrawn claim ends, milliseconds since the Unix epoch.
    pub expiry_ms: u64,
    /// First eight bytes of the SHA-256 of `bytes`.
    pub digest: u64,
    /// The tombstone as signed.
    pub bytes: Bytes,
}

/// What came of [`Store::put`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The peer had no claim here.
    New,
    /// The peer's claim is newer, and fewer than half of the homes are left by which others were told to reach it.
    Rehomed,
    /// The peer's claim is newer, and whoever knows the earlier one still reaches the peer.
    Renewed,
    /// This very claim is held already.
    Same,
    /// A newer claim of the peer is held: these bytes.
    Old(Bytes),
    /// The claim was withdrawn by this tombstone.
    Tombstoned(Bytes),
    /// The room or the store is full.
    Full,
    /// The peer has entries in as many rooms as it may.
    Quota,
    /// The claim has ended.
    Expired,
}

impl Put {
    /// Whether the store changed.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        matches!(self, Self::New | Self::Rehomed | Self::Renewed)
    }
}

/// What came of [`Store::bury`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buried {
    /// The tombstone is held, and the claim, if there was one, is gone.
    New,
    /// This tombstone, or a later one, is held already.
    Same,
    /// A newer claim of the peer is held: these bytes.
    Old(Bytes),
    /// There is no place for the tombstone; the claim, if there was one, is gone.
    Full,
    /// The withdrawn claim has ended anyway.
    Expired,
}

/// An opaque claim, to hand to another holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCopy {
    /// The claim as signed.
    pub bytes: Bytes,
    /// How long it is still held here: at least a second.
    pub left: Duration,
}

/// Opaque claims and tombstones, to hand to another holder.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Copies {
    /// Claims, freshest first, without those about to end.
    pub claims: Vec<ClaimCopy>,
    /// Tombstones, in the order of their peers.
    pub tombstones: Vec<Bytes>,
}

/// Whom an answer is for, and what they need not be told.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Whose own claim is left out.
    pub exclude: Option<PeerId>,
    /// Marks of claims that are known there.
    pub known: &'a [u64],
}

/// A key under which claims are held: a room, and the index of its replica key.
pub type Slot = (RoomId, u8);

#[derive(Clone, Debug)]
enum Kind {
    Claim(Claim),
    Tombstone,
}

#[derive(Clone, Debug)]
struct Claim {
    mark: u64,
    homes: Vec<PeerId>,
    /// The homes by which others were told to reach the peer.
    told_homes: Vec<PeerId>,
    /// Since when the peer has held a claim here without a break.
    first_held: Instant,
    /// When it was made, but not later than it arrived.
    fresh_ms: u64,
    /// The peer's place in this slot's draw.
    draw: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    sequence: Sequence,
    digest: u64,
    bytes: Bytes,
    until: Instant,
    kind: Kind,
}

impl Entry {
    const fn claim(&self) -> Option<&Claim> {
        match &self.kind {
            Kind::Claim(claim) => Some(claim),
            Kind::Tombstone => None,
        }
    }

    /// The copy for another holder, unless it is about to end: rounding must not let holders keep it alive among them.
    fn copy(&self, now: Instant) -> Option<ClaimCopy> {
        let left = self.until.since(now);
        (left >= Duration::from_secs(1)).then(|| ClaimCopy { bytes: self.bytes.clone(), left })
    }
}

/// What one peer has in the store.
#[derive(Clone, Debug)]
struct Holding {
    draw: u64,
    slots: BTreeSet<Slot>,
}

/// The claims held for rooms. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Store {
    limits: StoreLimits,
    /// Boxed: a tree of few entries keeps places for eleven.
    slots: BTreeMap<Slot, BTreeMap<PeerId, Box<Entry>>>,
    holdings: BTreeMap<PeerId, Holding>,
    /// (entries, draw, peer): the last gives way first.
    loads: BTreeSet<(usize, u64, PeerId)>,
    deadlines: BTreeSet<(Instant, Slot, PeerId)>,
    bytes: usize,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether at least half of the homes that were told are among the present ones, or there were none to tell.
fn mostly_left(told: &[PeerId], now: &[PeerId]) -> bool {
    let left = told.iter().filter(|peer| now.contains(peer)).count();
    left.saturating_mul(2) >= told.len()
}

impl Store {
    /// What an entry takes beside its claim or tombstone, bytes, without what the allocator and the trees add.
    pub const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<PeerId>();

    /// An empty store.
    #[must_use]
    pub const fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            holdings: BTreeMap::new(),
            loads: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Takes a claim, if it is newer than what is held of its peer and there is a place for it.
    pub fn put(&mut self, item: Item, now: Instant, unix_ms: u64) -> Put {
        let Some(until) = self.hold(item.expiry_ms, self.limits.ttl.min(item.left), now, unix_ms) else {
            return Put::Expired;
        };
        let slot = (item.room, item.replica);
        self.expire(now);
        let mut put = Put::New;
        let mut first_held = now;
        let mut told_homes = item.homes.clone();
        if let Some(held) = self.entry(slot, item.peer) {
            match &held.kind {
                Kind::Tombstone if item.sequence <= held.sequence => {
                    return Put::Tombstoned(held.bytes.clone());
                }
                Kind::Tombstone => {}
                Kind::Claim(_) if (item.sequence, item.digest) == (held.sequence, held.digest) => {
                    return Put::Same;
                }
                Kind::Claim(_) if item.sequence <= held.sequence => return Put::Old(held.bytes.clone()),
                Kind::Claim(claim) => {
                    first_held = claim.first_held;
                    put = Put::Rehomed;
                    if mostly_left(&claim.told_homes, &item.homes) {
                        put = Put::Renewed;
                        told_homes.clone_from(&claim.told_homes);
                    }
                }
            }
        }
        let claim = Claim {
            mark: item.mark,
            homes: item.homes,
            told_homes,
            first_held,
            fresh_ms: item.issued_ms.min(unix_ms),
            draw: self.draw(&[&item.room.0, &item.peer.0]),
        };
        if put == Put::New
            && let Err(refused) = self.admit(slot, item.peer, &claim)
        {
            return refused;
        }
        let (sequence, digest) = (item.sequence, item.digest);
        // A copy: a slice would keep the whole frame alive in which the claim came.
        let bytes = Bytes::copy_from_slice(&item.bytes);
        let entry = Entry { sequence, digest, bytes, until, kind: Kind::Claim(claim) };
        self.insert(slot, item.peer, entry);
        put
    }

    /// Takes a tombstone: removes the claim it withdraws, and refuses it and older ones from then on.
    pub fn bury(&mut self, tombstone: Tombstone, now: Instant, unix_ms: u64) -> Buried {
        let longest = self.limits.ttl.saturating_add(self.limits.tolerance.saturating_mul(2));
        let slot = (tombstone.room, tombstone.replica);
        let peer = tombstone.peer;
        self.expire(now);
        if let Some(held) = self.entry(slot, peer) {
            match held.kind {
                Kind::Claim(_) if held.sequence > tombstone.sequence => {
                    return Buried::Old(held.bytes.clone());
                }
                Kind::Tombstone if held.sequence >= tombstone.sequence => return Buried::Same,
                Kind::Claim(_) | Kind::Tombstone => {
                    self.remove(slot, peer);
                }
            }
        }
        let Some(until) = self.hold(tombstone.expiry_ms, longest, now, unix_ms) else {
            return Buried::Expired;
        };
        let crowd = self.slot(slot).filter(|(_, entry)| entry.claim().is_none()).count();
        if crowd >= self.limits.claims_per_room.saturating_mul(2) && !self.remove_tombstone_in(slot) {
            return Buried::Full;
        }
        if !self.admit_to_quota(peer) || !self.admit_to_store(peer) {
            return Buried::Full;
        }
        let bytes = Bytes::copy_from_slice(&tombstone.bytes);
        let Tombstone { sequence, digest, .. } = tombstone;
        self.insert(slot, peer, Entry { sequence, digest, bytes, until, kind: Kind::Tombstone });
        Buried::New
    }

    /// Up to `n` claims of a room for someone who seeks members, freshest first. If there are more, half of them are the
    /// freshest, a quarter those held longest, the rest the first in the draw.
    #[must_use]
    pub fn answer(&self, room: RoomId, replica: u8, asker: Asker<'_>, n: usize, now: Instant) -> Vec<Bytes> {
        let mut rest: Vec<(&Entry, &Claim)> = self
            .slot((room, replica))
            .filter(|(peer, entry)| asker.exclude != Some(**peer) && entry.until > now)
            .filter_map(|(_, entry)| entry.claim().map(|claim| (entry, claim)))
            .filter(|(_, claim)| !asker.known.contains(&claim.mark))
            .collect();
        let longest = n / 4;
        let drawn = n / 4;
        rest.sort_by_key(|(_, claim)| (claim.first_held, claim.draw));
        let mut taken: Vec<(&Entry, &Claim)> = Vec::new();
        if rest.len() > n {
            taken.extend(rest.drain(..longest));
            rest.sort_by_key(|(_, claim)| claim.draw);
            taken.extend(rest.drain(..drawn));
        }
        rest.sort_by_key(|(_, claim)| (Reverse(claim.fresh_ms), claim.draw));
        let free = n.saturating_sub(taken.len());
        taken.extend(rest.into_iter().take(free));
        taken.sort_by_key(|(_, claim)| (Reverse(claim.fresh_ms), claim.draw));
        taken.into_iter().map(|(entry, _)| entry.bytes.clone()).collect()
    }

    /// Whose claims are named by these marks, or are among `claims`, in the order of their ids.
    #[must_use]
    pub fn named(&self, room: RoomId, replica: u8, marks: &[u64], claims: &[Bytes]) -> Vec<PeerId> {
        let named = |entry: &Entry| entry.claim().is_some_and(|claim| marks.contains(&claim.mark));
        self.slot((room, replica))
            .filter(|(_, entry)| named(entry) || claims.contains(&entry.bytes))
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// The digests of all claims and tombstones of a slot, ascending; at most three times `claims_per_room`.
    #[must_use]
    pub fn digest(&self, room: RoomId, replica: u8) -> Vec<u64> {
        let mut out: Vec<u64> = self.slot((room, replica)).map(|(_, entry)| entry.digest).collect();
        out.sort_unstable();
        out
    }

    /// What another holder with these digests lacks; everything for an empty list.
    #[must_use]
    pub fn missing(&self, room: RoomId, replica: u8, theirs: &[u64], now: Instant) -> Copies {
        let mut claims: Vec<(Reverse<u64>, ClaimCopy)> = Vec::new();
        let mut tombstones = Vec::new();
        for (_, entry) in self.slot((room, replica)).filter(|(_, entry)| !theirs.contains(&entry.digest)) {
            match &entry.kind {
                Kind::Claim(claim) => {
                    claims.extend(entry.copy(now).map(|copy| (Reverse(claim.fresh_ms), copy)));
                }
                Kind::Tombstone => tombstones.push(entry.bytes.clone()),
            }
        }
        claims.sort_by_key(|(fresh, _)| *fresh);
        Copies { claims: claims.into_iter().map(|(_, copy)| copy).collect(), tombstones }
    }

    /// Whether another holder with these digests has something that is not held here.
    #[must_use]
    pub fn lacks(&self, room: RoomId, replica: u8, theirs: &[u64]) -> bool {
        theirs.iter().any(|digest| self.slot((room, replica)).all(|(_, entry)| entry.digest != *digest))
    }

    /// The members of a room by the claims held under any of its keys, with their homes, in the order of their ids.
    #[must_use]
    pub fn claimants(&self, room: RoomId) -> Vec<(PeerId, Vec<PeerId>)> {
        let mut newest: BTreeMap<PeerId, (Sequence, &[PeerId])> = BTreeMap::new();
        for (_, slot) in self.slots.range((room, 0)..=(room, u8::MAX)) {
            for (peer, entry) in slot {
                let Some(claim) = entry.claim() else { continue };
                let held = newest.entry(*peer).or_insert((entry.sequence, &claim.homes));
                if held.0 < entry.sequence {
                    *held = (entry.sequence, &claim.homes);
                }
            }
        }
        newest.into_iter().map(|(peer, (_, homes))| (peer, homes.to_vec())).collect()
    }

    /// How many claims a slot holds.
    #[must_use]
    pub fn claims(&self, room: RoomId, replica: u8) -> usize {
        self.slot((room, replica)).filter(|(_, entry)| entry.claim().is_some()).count()
    }

    /// All slots (room, replica index), ascending, also those that hold tombstones alone.
    pub fn rooms(&self) -> impl Iterator<Item = (RoomId, u8)> {
        self.slots.keys().copied()
    }

    /// Removes what has ended, and says how many entries that were.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some((until, slot, peer)) = self.deadlines.first().copied() {
            if until > now {
                break;
            }
            self.remove(slot, peer);
            count += 1;
        }
        count
    }

    /// When the next entry ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _, _)| *until)
    }

    /// Removes a slot, and says how many entries it had.
    pub fn drop_room(&mut self, room: RoomId, replica: u8) -> usize {
        let peers: Vec<PeerId> = self.slot((room, replica)).map(|(peer, _)| *peer).collect();
        for peer in &peers {
            self.remove((room, replica), *peer);
        }
        peers.len()
    }

    /// Entries held: claims and tombstones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// Bytes of the claims and tombstones held, without the store's own overhead.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The laws of the store, for tests.
    ///
    /// # Errors
    /// The law that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        let law = |holds: bool, text| if holds { Ok(()) } else { Err(text) };
        law(self.len() <= self.limits.entries_max, "entries are bounded")?;
        let (mut bytes, mut count) = (0_usize, 0_usize);
        for (key, slot) in &self.slots {
            law(!slot.is_empty(), "no slot is empty")?;
            let claims = slot.values().filter(|entry| entry.claim().is_some()).count();
            law(claims <= self.limits.claims_per_room, "claims of a room are bounded")?;
            let tombstones = slot.len().saturating_sub(claims);
            law(tombstones <= self.limits.claims_per_room.saturating_mul(2), "tombstones are bounded")?;
            for (peer, entry) in slot {
                bytes = bytes.saturating_add(entry.bytes.len());
                count = count.saturating_add(1);
                law(self.deadlines.contains(&(entry.until, *key, *peer)), "every entry has a deadline")?;
                let holding = self.holdings.get(peer);
                law(holding.is_some_and(|holding| holding.slots.contains(key)), "every entry has a holder")?;
            }
        }
        law(bytes == self.bytes, "bytes are accounted")?;
        law(count == self.len(), "every deadline has an entry")?;
        law(self.loads.len() == self.holdings.len(), "every holder has one load")?;
        for (peer, holding) in &self.holdings {
            count = count.saturating_sub(holding.slots.len());
            law(!holding.slots.is_empty(), "no holder without entries")?;
            law(holding.slots.len() <= self.limits.rooms_per_peer, "rooms of a peer are bounded")?;
            law(self.loads.contains(&(holding.slots.len(), holding.draw, *peer)), "loads are right")?;
        }
        law(count == 0, "every holding has an entry")
    }

    /// Until when something that ends at `expiry_ms` is held, at most for `longest`; `None` if it has ended.
    fn hold(&self, expiry_ms: u64, longest: Duration, now: Instant, unix_ms: u64) -> Option<Instant> {
        let left = expiry_ms.saturating_add(millis(self.limits.tolerance)).checked_sub(unix_ms)?;
        (left > 0).then(|| now + Duration::from_millis(left).min(longest))
    }

    /// A place in a draw that nobody can foresee.
    fn draw(&self, parts: &[&[u8]]) -> u64 {
        let salt = self.limits.salt.to_le_bytes();
        let mut salted: Vec<&[u8]> = Vec::with_capacity(parts.len().saturating_add(1));
        salted.push(&salt);
        salted.extend(parts);
        prefix(&RoomId(sha256(&salted)))
    }

    fn slot(&self, slot: Slot) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.slots.get(&slot).into_iter().flatten().map(|(peer, entry)| (peer, &**entry))
    }

    fn entry(&self, slot: Slot, peer: PeerId) -> Option<&Entry> {
        self.slots.get(&slot)?.get(&peer).map(|entry| &**entry)
    }

    /// Inserts or replaces an entry, in all indexes.
    fn insert(&mut self, slot: Slot, peer: PeerId, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.bytes.len());
        self.deadlines.insert((entry.until, slot, peer));
        let old = self.slots.entry(slot).or_default().insert(peer, Box::new(entry));
        if let Some(old) = old {
            self.bytes = self.bytes.saturating_sub(old.bytes.len());
            // Only if the replacement ends at another time: otherwise this deadline is its own.
            if self.entry(slot, peer).is_some_and(|entry| entry.until != old.until) {
                self.deadlines.remove(&(old.until, slot, peer));
            }
            return;
        }
        let draw = self.draw(&[&peer.0]);
        let holding = self.holdings.entry(peer).or_insert_with(|| Holding { draw, slots: BTreeSet::new() });
        self.loads.remove(&(holding.slots.len(), draw, peer));
        holding.slots.insert(slot);
        self.loads.insert((holding.slots.len(), draw, peer));
    }

    /// Removes an entry, from all indexes.
    fn remove(&mut self, slot: Slot, peer: PeerId) {
        let Some(entries) = self.slots.get_mut(&slot) else { return };
        let Some(entry) = entries.remove(&peer) else { return };
        if entries.is_empty() {
            self.slots.remove(&slot);
        }
        self.bytes = self.bytes.saturating_sub(entry.bytes.len());
        self.deadlines.remove(&(entry.until, slot, peer));
        let Some(holding) = self.holdings.get_mut(&peer) else { return };
        self.loads.remove(&(holding.slots.len(), holding.draw, peer));
        holding.slots.remove(&slot);
        if holding.slots.is_empty() {
            self.holdings.remove(&peer);
        } else {
            self.loads.insert((holding.slots.len(), holding.draw, peer));
        }
    }
}
