//! Which links a bucket keeps, and whom it would have dialled.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Contact, Table, position, sub_prefix};
use crate::routing::key::{between, bucket_index, bucket_range, home_id};
use crate::{Duration, Instant, LinkReason, PeerId, RoomId};

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
    /// before others, so that a choice changes only for a sub-prefix more, or for a link that stands anyway because the
    /// other end keeps it, and is about as quick.
    pub(super) fn choose(&mut self, bucket: u8) {
        let want = self.limits.bucket_links;
        let mut able: Vec<&Contact> =
            self.bucket_links(bucket).iter().filter(|contact| contact.fills()).collect();
        able.sort_unstable_by_key(|contact| {
            (!contact.chosen, contact.rtt.is_none(), contact.rtt, contact.draw)
        });
        prefer_free(&mut able, |contact| sub_prefix(&contact.id, bucket, want));
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

    /// A service node whose round-trip time would be worth knowing: not linked, not measured, and among the first
    /// sixteen drawn of a sub-prefix that its bucket covers with a link which it could replace. Buckets take turns, by `turn`. `None` once
    /// all are measured.
    #[must_use]
    pub fn trial(&self, turn: u64, now: Instant, pending: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let depth = self.depth(now);
        let first = u16::try_from(turn.checked_rem(u64::from(depth))?).unwrap_or(0);
        let turns = (first..depth).chain(0..first).filter_map(|bucket| u8::try_from(bucket).ok());
        turns.filter_map(|bucket| self.trial_in(bucket, now, &pending)).next()
    }

    fn trial_in(&self, bucket: u8, now: Instant, pending: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let want = self.limits.bucket_links;
        let links = self.bucket_links(bucket);
        let class = |contact: &Contact| sub_prefix(&contact.id, bucket, want);
        let kept = links.iter().filter(|contact| contact.chosen && !contact.carries);
        let covered: BTreeSet<usize> = kept.map(class).collect();
        let known = between(&self.known, &bucket_range(&self.location, bucket));
        covered.into_iter().find_map(|covered| {
            let of_class = |contact: &&Contact| class(contact) == covered;
            let mut drawn: Vec<&Contact> = known.iter().chain(links).filter(of_class).collect();
            if drawn.len() > CANDIDATES {
                drawn.select_nth_unstable_by_key(CANDIDATES, |contact| contact.draw);
                drawn.truncate(CANDIDATES);
            }
            let open = |contact: &&&Contact| {
                !contact.linked && contact.rtt.is_none() && !contact.failed(now) && !pending(contact.peer)
            };
            drawn.iter().filter(open).min_by_key(|contact| contact.draw).map(|contact| contact.peer)
        })
    }

    /// The kept link that a contact with this round-trip time should replace: the slowest of its bucket's sub-prefix, if
    /// that takes a quarter longer at least, so that jitter does not move links. One over which circuits run would stay
    /// with them, and is not replaced.
    #[must_use]
    pub fn outpaced_by(&self, peer: PeerId, rtt: Duration) -> Option<PeerId> {
        let id = home_id(peer);
        let bucket = bucket_index(&self.location, &id)?;
        let want = self.limits.bucket_links;
        let class = sub_prefix(&id, bucket, want);
        let kept = self.bucket_links(bucket).iter().filter(|contact| {
            contact.chosen && contact.id != id && sub_prefix(&contact.id, bucket, want) == class
        });
        let slowest =
            kept.filter(|contact| !contact.carries).filter_map(|contact| Some((contact.rtt?, contact.peer)));
        let (theirs, slowest) = slowest.max()?;
        (rtt.saturating_mul(5) <= theirs.saturating_mul(4)).then_some(slowest)
    }

    /// Lets a linked contact take the place of the link that it [outpaces](Self::outpaced_by); whether it does.
    pub fn replace_slower(&mut self, peer: PeerId) -> bool {
        let id = home_id(peer);
        let link = position(&self.links, &id).ok().and_then(|at| self.links.get(at));
        let rtt = link.filter(|link| !link.chosen).and_then(|link| link.rtt);
        let Some(slower) = rtt.and_then(|rtt| self.outpaced_by(peer, rtt)) else { return false };
        for contact in &mut self.links {
            if contact.peer == slower {
                contact.chosen = false;
            } else if contact.peer == peer {
                contact.chosen = true;
            }
        }
        // Where the bucket had too few links, it has use for both.
        self.choose_around(&id);
        true
    }

    /// Whom `bucket` wants besides the links it keeps and those under way.
    fn lacking(&self, bucket: u8, now: Instant, under_way: impl Fn(PeerId) -> bool) -> Vec<Pick> {
        let want = self.limits.bucket_links;
        let class = |contact: &Contact| sub_prefix(&contact.id, bucket, want);
        let known = between(&self.known, &bucket_range(&self.location, bucket));
        let links = self.bucket_links(bucket);
        let (mut count, mut covered) = (0_usize, BTreeSet::new());
        for contact in links.iter().filter(|contact| contact.chosen) {
            count += 1;
            covered.insert(class(contact));
        }
        if covered.len() >= want {
            return Vec::new();
        }
        // Only now, since it asks after each of hundreds of known contacts.
        for contact in known.iter().filter(|contact| under_way(contact.peer)) {
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

/// Moves links that stand anyway before kept ones of their sub-prefix that stand for this bucket alone, if they are about
/// as quick. So both ends come to keep the same links, and have fewer of them.
fn prefer_free(able: &mut [&Contact], class: impl Fn(&Contact) -> usize) {
    for at in 0..able.len() {
        let Some(kept) = able.get(at).copied().filter(|contact| contact.chosen && !contact.stands()) else {
            continue;
        };
        let as_quick = |contact: &Contact| match (contact.rtt, kept.rtt) {
            (Some(one), Some(other)) => one.saturating_mul(4) <= other.saturating_mul(5),
            (None, Some(_)) => false,
            (_, None) => true,
        };
        let free = able.iter().position(|contact| {
            !contact.chosen && contact.stands() && class(contact) == class(kept) && as_quick(contact)
        });
        // Those that are not chosen come after those that are.
        if let Some(free) = free.filter(|free| *free > at) {
            able.swap(at, free);
        }
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
