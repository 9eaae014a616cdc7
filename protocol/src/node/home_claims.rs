//! The home claims of other service nodes, as they were signed.
//!
//! A node knows hundreds, and most of them are never dialled: each is one allocation and a line in a list. What a look-up
//! or a sweep asks of all of them stands in the line; addresses are read from the bytes when one is dialled.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

use bytes::Bytes;

use crate::id::head;
use crate::wire::HomeClaim;
use crate::wire::signed::is_within;
use crate::{Address, Duration, PeerId};

/// Places by which the list grows: doubling would leave half of it empty.
const GROWTH: usize = 16;

/// A home claim that was checked.
#[derive(Clone, Debug)]
pub(super) struct KnownHome {
    bytes: Box<[u8]>,
    issued_ms: u64,
    expiry_ms: u64,
    mark: u32,
    /// [`Address::network_group`] of the address that is dialled; 0 of none.
    group: u64,
}

impl KnownHome {
    fn new(claim: &HomeClaim) -> Self {
        Self {
            bytes: claim.bytes().as_ref().into(),
            issued_ms: claim.issued_ms(),
            expiry_ms: claim.expiry_ms(),
            mark: claim.mark(),
            group: group_of(claim),
        }
    }

    fn peer(&self) -> PeerId {
        HomeClaim::peer_in(&self.bytes).unwrap_or(PeerId([0; 32]))
    }

    /// [`HomeClaim::mark`].
    pub(super) const fn mark(&self) -> u32 {
        self.mark
    }

    /// The bytes to forward.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// Whether these are its bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        *self.bytes == *bytes
    }

    /// [`HomeClaim::is_current`].
    pub(super) fn is_current(&self, unix_ms: u64, tolerance: Duration) -> bool {
        is_within(self.issued_ms, self.expiry_ms, unix_ms, tolerance)
    }

    /// Whether it replaces `other`, a home claim of the same node.
    pub(super) fn newer_than(&self, other: &HomeClaim) -> bool {
        self.read().is_some_and(|claim| claim.newer_than(other))
    }

    /// Where the service node is dialled first.
    pub(super) fn address(&self) -> Option<Address> {
        self.read()?.addresses().first().cloned()
    }

    fn read(&self) -> Option<HomeClaim> {
        HomeClaim::decode(&self.bytes()).ok()
    }
}

fn group_of(claim: &HomeClaim) -> u64 {
    claim.addresses().first().and_then(Address::network_group).unwrap_or(0)
}

/// The newest home claim of each known service node.
#[derive(Clone, Debug, Default)]
pub(super) struct HomeClaims {
    /// Ascending by peer.
    list: Vec<KnownHome>,
    /// The first bytes of each peer id, in the same order: all that a search reads of most of them.
    heads: Vec<u64>,
}

impl HomeClaims {
    fn position(&self, peer: PeerId) -> Result<usize, usize> {
        let head = head(peer.as_bytes());
        let first = self.heads.partition_point(|other| *other < head);
        let less = self.list.iter().skip(first).take_while(|known| known.peer() < peer).count();
        let at = first.saturating_add(less);
        let found = self.list.get(at).is_some_and(|known| known.peer() == peer);
        if found { Ok(at) } else { Err(at) }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of the list and of the claims.
    pub(super) fn bytes(&self) -> usize {
        let claims: usize = self.list.iter().map(|known| known.bytes.len()).sum();
        let line = size_of::<KnownHome>().saturating_add(size_of::<u64>());
        claims.saturating_add(self.list.len().saturating_mul(line))
    }

    /// The other peers said to be in the network of this one.
    pub(super) fn neighbours_of<'a>(&'a self, claim: &HomeClaim) -> impl Iterator<Item = PeerId> + use<'a> {
        let (group, peer) = (group_of(claim), claim.peer());
        let same = self.list.iter().filter(move |known| group != 0 && known.group == group);
        same.map(KnownHome::peer).filter(move |other| *other != peer)
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.position(peer).is_ok()
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<&KnownHome> {
        self.position(peer).ok().and_then(|at| self.list.get(at))
    }

    /// Remembers a home claim in place of the earlier one of its peer.
    pub(super) fn insert(&mut self, claim: &HomeClaim) {
        let known = KnownHome::new(claim);
        match self.position(claim.peer()) {
            Ok(at) => {
                if let Some(place) = self.list.get_mut(at) {
                    *place = known;
                }
            }
            Err(at) => {
                if self.list.len() == self.list.capacity() {
                    self.list.reserve_exact(GROWTH);
                    self.heads.reserve_exact(GROWTH);
                }
                self.heads.insert(at, head(known.peer().as_bytes()));
                self.list.insert(at, known);
            }
        }
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        if let Ok(at) = self.position(peer) {
            self.list.remove(at);
            self.heads.remove(at);
        }
    }

    /// Forgets those of which `keep` says no.
    pub(super) fn retain(&mut self, keep: impl Fn(PeerId, &KnownHome) -> bool) {
        self.list.retain(|known| keep(known.peer(), known));
        self.heads.clear();
        self.heads.extend(self.list.iter().map(|known| head(known.peer().as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::crypto::RealCrypto;
    use crate::wire::{HomeClaimTerms, Sequence};
    use crate::{Identity, NetworkId};

    fn claim(node: u8, counter: u64) -> HomeClaim {
        let address: Address = "/ip4/192.0.2.1/tcp/3001/ws".parse().unwrap();
        let terms = HomeClaimTerms {
            addresses: vec![address],
            issued_ms: 1_000,
            expiry_ms: 9_000,
            sequence: Sequence { boot: 1, counter },
        };
        HomeClaim::make(&terms, &Identity::from_seed([node; 32]), &RealCrypto, &NetworkId::default())
    }

    #[test]
    fn each_is_found_by_its_peer_and_says_what_its_claim_says() {
        let mut homes = HomeClaims::default();
        for node in 0..40 {
            homes.insert(&claim(node, 1));
        }
        let newer = claim(7, 2);
        homes.insert(&newer);
        assert_eq!(homes.len(), 40);
        for node in 0..40 {
            let claim = claim(node, if node == 7 { 2 } else { 1 });
            let known = homes.get(claim.peer()).unwrap();
            assert_eq!((known.bytes(), known.mark()), (claim.bytes().clone(), claim.mark()));
            assert_eq!(known.address().as_ref(), claim.addresses().first());
            assert!(known.is(claim.bytes()) && !known.newer_than(&claim));
        }
        assert!(homes.get(newer.peer()).unwrap().newer_than(&claim(7, 1)));
        for unix_ms in [999, 1_000, 8_999, 9_000] {
            let known = homes.get(newer.peer()).unwrap();
            assert_eq!(known.is_current(unix_ms, Duration::ZERO), newer.is_current(unix_ms, Duration::ZERO));
        }
        homes.remove(newer.peer());
        assert!(!homes.contains(newer.peer()));
        homes.retain(|peer, _| peer == claim(3, 1).peer());
        assert_eq!((homes.len(), homes.contains(claim(3, 1).peer())), (1, true));
    }
}
