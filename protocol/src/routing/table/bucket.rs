//! Which links a bucket keeps, and whom it would have dialled.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Contact, Table, position, sub_prefix};
use crate::routing::key::{between, bucket_index, bucket_range};
use crate::{Instant, LinkReason, PeerId, RoomId};

/// From how many contacts of a sub-prefix the quickest is chosen. `docs/simulation.md`, defaults: 16 cut the latency of a
/// find by 31–36 %.
const CANDIDATES: usize = 16;

impl Table {
    /// Chooses anew the links that the bucket of `id` keeps.
    pub(super) fn choose_around(&mut self, id: &RoomId) {
        if let Some(bucket) = bucket_index(&self.location, id) {
            self.choose(bucket);
        }
    }

    /// Chooses the links that `bucket` keeps: one of each sub-prefix, then any, up to `bucket_links`. The chosen come
    /// before others, so that a choice changes only for a sub-prefix more.
    pub(super) fn choose(&mut self, bucket: u8) {
        let want = self.limits.bucket_links;
        let mut able: Vec<&Contact> =
            self.bucket_links(bucket).iter().filter(|contact| contact.fills()).collect();
        able.sort_unstable_by_key(|contact| {
            (!contact.chosen, contact.rtt.is_none(), contact.rtt, contact.draw)
        });
        let mut covered = BTreeSet::new();
        let (first, rest): (Vec<&Contact>, Vec<&Contact>) = able.into_iter().partition(|contact| {
            covered.len() < want && covered.insert(sub_prefix(&contact.id, bucket, want))
        });
        let chosen: Vec<RoomId> = first.iter().chain(&rest).take(want).map(|contact| contact.id).collect();
        let (least, greatest) = bucket_range(&self.location, bucket);
        for contact in self.links.iter_mut().filter(|contact| contact.id >= least && contact.id <= greatest) {
            contact.chosen = chosen.contains(&contact.id);
        }
    }

    /// The known service nodes that should be dialled, and what for: first those among the `leaf_set` nearest to the own
    /// location, nearest first, then for each bucket down to the depth of the leaf set, the furthest first, as many as it
    /// lacks, from sub-prefixes that it does not cover yet.
    ///
    /// `pending` says whether a dial or handshake to a peer is under way: such a peer is not named, and counts. A linked
    /// bootstrap competes like an unlinked contact; if it wins, its link counts for the bucket from then on.
    pub fn wanted(&mut self, now: Instant, pending: impl Fn(PeerId) -> bool) -> Vec<(PeerId, LinkReason)> {
        let nearest = self.nearest_contacts(&self.location, self.limits.leaf_set, now);
        let depth = self.depth_of(&nearest);
        let leaves: Vec<PeerId> =
            nearest.iter().filter(|contact| !contact.linked).map(|contact| contact.peer).collect();
        let mut wanted: Vec<(PeerId, LinkReason)> =
            leaves.iter().filter(|peer| !pending(**peer)).map(|peer| (*peer, LinkReason::Leaf)).collect();
        for bucket in (0..=u8::MAX).take_while(|bucket| u16::from(*bucket) < depth) {
            let picks = self.lacking(bucket, now, |peer| pending(peer) || leaves.contains(&peer));
            for pick in picks {
                match position(&self.links, &pick.id).ok().and_then(|at| self.links.get_mut(at)) {
                    Some(bootstrap) => {
                        bootstrap.chosen = true;
                        self.choose(bucket);
                    }
                    None => wanted.push((pick.peer, LinkReason::Bucket)),
                }
            }
        }
        wanted
    }

    /// Whom `bucket` wants besides the links it keeps and those under way.
    fn lacking(&self, bucket: u8, now: Instant, under_way: impl Fn(PeerId) -> bool) -> Vec<Pick> {
        let want = self.limits.bucket_links;
        let class = |contact: &Contact| sub_prefix(&contact.id, bucket, want);
        let known = between(&self.known, &bucket_range(&self.location, bucket));
        let links = self.bucket_links(bucket);
        let held = links.iter().filter(|contact| contact.chosen);
        let coming = known.iter().filter(|contact| under_way(contact.peer));
        let (mut count, mut covered) = (0_usize, BTreeSet::new());
        for contact in held.chain(coming) {
            count += 1;
            covered.insert(class(contact));
        }
        if covered.len() >= want {
            return Vec::new();
        }
        let mut candidates: Vec<&Contact> = known
            .iter()
            .filter(|contact| !contact.failed(now) && !under_way(contact.peer))
            .chain(links.iter().filter(|contact| !contact.fills()))
            .collect();
        candidates.sort_unstable_by_key(|contact| contact.draw);
        let mut picks: Vec<Pick> = Vec::new();
        let open: BTreeSet<usize> = candidates.iter().map(|contact| class(contact)).collect();
        for open in open.difference(&covered.clone()) {
            if covered.len() < want {
                let best = quickest(candidates.iter().copied().filter(|contact| class(contact) == *open));
                picks.extend(best);
                covered.insert(*open);
            }
        }
        while count.saturating_add(picks.len()) < want {
            let free = |contact: &&Contact| picks.iter().all(|pick| pick.id != contact.id);
            let Some(pick) = quickest(candidates.iter().copied().filter(free)) else { break };
            picks.push(pick);
        }
        picks
    }
}

/// A contact that a bucket wants.
struct Pick {
    peer: PeerId,
    id: RoomId,
}

/// The quickest of the first [`CANDIDATES`] of `drawn` if at least half of them are measured, else the first. A smaller
/// share is no sample: it would mostly be those whom everybody has been linked to, the bootstrap nodes.
fn quickest<'a>(drawn: impl Iterator<Item = &'a Contact>) -> Option<Pick> {
    let sample: Vec<&Contact> = drawn.take(CANDIDATES).collect();
    let measured = sample.iter().filter(|contact| contact.rtt.is_some()).count();
    let best = if measured.saturating_mul(2) >= sample.len() {
        sample.into_iter().min_by_key(|contact| (contact.rtt.is_none(), contact.rtt, contact.draw))
    } else {
        sample.into_iter().next()
    };
    best.map(|contact| Pick { peer: contact.peer, id: contact.id })
}
