use alloc::vec;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant::from_secs(100);

fn peer(n: u16) -> PeerId {
    PeerId(sha256(&[b"peer", &n.to_le_bytes()]))
}

fn limits() -> TableLimits {
    TableLimits { leaf_set: 4, bucket_links: 2, known_max: 100, salt: 7 }
}

fn own() -> RoomId {
    home_id(peer(u16::MAX))
}

fn table(limits: TableLimits) -> Table {
    Table::new(own(), limits)
}

/// The first `n` of `peer(0..)` in bucket `bucket` of the own location.
fn in_bucket(bucket: u8, n: usize) -> Vec<PeerId> {
    (0..).map(peer).filter(|peer| bucket_index(&own(), &home_id(*peer)) == Some(bucket)).take(n).collect()
}

fn class(peer: PeerId, bucket: u8) -> usize {
    sub_prefix(&home_id(peer), bucket, 2)
}

fn link(table: &mut Table, peer: PeerId) {
    table.linked(peer, false, false, NOW);
    table.set_ready(peer, true);
}

#[derive(Clone, Debug)]
enum Op {
    Learn(u16),
    Linked(u16, bool, bool),
    Unlinked(u16),
    Ready(u16, bool),
    Suspect(u16, bool),
    Failed(u16),
    Forget(u16),
    Measured(u16, u16),
    KeptByPeer(u16, bool),
    Carries(u16, bool),
    ReplaceSlower(u16),
    Wanted,
    Relocate(u16),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = 0_u16..80;
    let op = prop_oneof![
        4 => n.clone().prop_map(Op::Learn),
        4 => (n.clone(), any::<bool>(), any::<bool>()).prop_map(|(n, inbound, boot)| Op::Linked(n, inbound, boot)),
        1 => n.clone().prop_map(Op::Unlinked),
        3 => (n.clone(), prop::bool::weighted(0.9)).prop_map(|(n, ready)| Op::Ready(n, ready)),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, suspect)| Op::Suspect(n, suspect)),
        1 => n.clone().prop_map(Op::Failed),
        1 => n.clone().prop_map(Op::Forget),
        1 => (n.clone(), any::<u16>()).prop_map(|(n, ms)| Op::Measured(n, ms)),
        2 => (n.clone(), any::<bool>()).prop_map(|(n, kept)| Op::KeptByPeer(n, kept)),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, carries)| Op::Carries(n, carries)),
        2 => n.clone().prop_map(Op::ReplaceSlower),
        1 => Just(Op::Wanted),
        1 => n.prop_map(Op::Relocate),
    ];
    proptest::collection::vec(op, 0..150)
}

fn apply(table: &mut Table, op: &Op) {
    match *op {
        Op::Learn(n) => {
            table.learn(peer(n), NOW);
        }
        Op::Linked(n, inbound, bootstrap) => table.linked(peer(n), inbound, bootstrap, NOW),
        Op::Unlinked(n) => {
            table.unlinked(peer(n), NOW);
        }
        Op::Ready(n, ready) => table.set_ready(peer(n), ready),
        Op::Suspect(n, true) => table.suspect(peer(n)),
        Op::Suspect(n, false) => table.clear_suspect(peer(n)),
        Op::Failed(n) => table.failed(peer(n), NOW + Duration::from_secs(1)),
        Op::Forget(n) => table.forget(peer(n)),
        Op::Measured(n, ms) => table.measured(peer(n), Duration::from_millis(ms.into())),
        Op::KeptByPeer(n, kept) => table.set_kept_by_peer(peer(n), kept),
        Op::Carries(n, carries) => table.set_carries(peer(n), carries),
        Op::ReplaceSlower(n) => {
            table.replace_slower(peer(n));
        }
        Op::Wanted => {
            table.wanted(NOW, |peer| peer.0[0] & 7 == 0);
        }
        Op::Relocate(n) => table.relocate(RoomId(peer(n).0)),
    }
}

/// The `n` nearest contacts to `key` of those taken, by sorting them all.
fn brute(table: &Table, key: &RoomId, n: usize, take: impl Fn(&Contact) -> bool) -> Vec<PeerId> {
    let mut all: Vec<&Contact> = table.contacts().filter(|contact| take(contact)).collect();
    all.sort_by_key(|contact| distance(key, &contact.id));
    all.into_iter().take(n).map(|contact| contact.peer).collect()
}

proptest! {
    #[test]
    fn laws_hold_after_any_sequence(ops in ops(), known_max in 1_usize..100) {
        let mut table = table(TableLimits { known_max, ..limits() });
        for op in &ops {
            apply(&mut table, op);
            prop_assert_eq!(table.check_invariants(), Ok(()));
        }
    }

    #[test]
    fn queries_equal_brute_force(
        ops in ops(), key: [u8; 32], n in 0_usize..20, skipped in proptest::collection::vec(0_u16..80, 0..10),
    ) {
        let mut table = table(limits());
        ops.iter().for_each(|op| apply(&mut table, op));
        let key = RoomId(key);
        let skip = |peer_id: PeerId| skipped.iter().any(|n| peer(*n) == peer_id);
        let own = own();
        let open = |contact: &Contact| contact.linked && contact.ready && !contact.suspect && !skip(contact.peer);
        let nearer = |contact: &Contact| distance(&key, &contact.id) < distance(&key, &own);

        prop_assert_eq!(
            table.next_hop(&key, &own, skip),
            brute(&table, &key, 1, |contact| open(contact) && nearer(contact)).first().copied()
        );
        prop_assert_eq!(table.first_hop(&key, skip), brute(&table, &key, 1, open).first().copied());
        prop_assert_eq!(table.nearest_linked(&key, n), brute(&table, &key, n, |contact| contact.linked));
        prop_assert_eq!(
            table.nearest_known(&key, n, NOW),
            brute(&table, &key, n, |contact| contact.failed_until.is_none())
        );
        let location = *table.location();
        let leaves = brute(&table, &location, 4, |contact| contact.linked);
        prop_assert_eq!(
            table.rank(&key, &own),
            brute(&table, &key, usize::MAX, |contact| contact.linked && nearer(contact)).len()
        );
        for contact in table.links() {
            let leaf = leaves.contains(&contact.peer);
            prop_assert_eq!(table.reasons(&home_id(contact.peer)).contains(LinkReason::Leaf), leaf);
            prop_assert!(!leaf || table.is_leaf(&contact.id) || contact.id == location);
        }
        let nearest = brute(&table, &location, 4, |contact| contact.failed_until.is_none());
        prop_assert_eq!(table.all_nearest_linked(NOW), nearest.iter().all(|peer| leaves.contains(peer)));
        prop_assert_eq!(table.leaf_set(), leaves);
    }

    #[test]
    fn dialling_what_is_wanted_fills_leaf_set_and_buckets(
        peers in proptest::collection::btree_set(0_u16..2000, 0..300), salt: u64,
    ) {
        let mut table = table(TableLimits { known_max: 2048, salt, ..limits() });
        for n in &peers {
            table.learn(peer(*n), NOW);
        }
        let wanted = table.wanted(NOW, |_| false);
        for (peer, _) in &wanted {
            link(&mut table, *peer);
        }
        prop_assert_eq!(table.wanted(NOW, |_| false), vec![]);
        prop_assert!(table.all_nearest_linked(NOW));
        prop_assert_eq!(table.check_invariants(), Ok(()));
        // Nobody was dialled in vain, and every bucket beyond the leaf set has a link where anybody lives.
        for contact in table.links() {
            prop_assert!(!table.reasons(&home_id(contact.peer)).is_empty());
        }
        let mut lives: BTreeMap<u8, Vec<&Contact>> = BTreeMap::new();
        for contact in table.contacts() {
            lives.entry(bucket_index(&own(), &contact.id).unwrap()).or_default().push(contact);
        }
        for (bucket, contacts) in lives {
            if u16::from(bucket) < table.depth(NOW) {
                let kept: Vec<_> = contacts.iter().filter(|contact| contact.chosen).collect();
                prop_assert_eq!(kept.len(), contacts.len().min(2));
                let classes = |list: &mut dyn Iterator<Item = PeerId>| {
                    list.map(|peer| class(peer, bucket)).collect::<std::collections::BTreeSet<_>>()
                };
                prop_assert_eq!(
                    classes(&mut kept.iter().map(|contact| contact.peer)),
                    classes(&mut contacts.iter().map(|contact| contact.peer))
                );
            }
        }
        // Greedy routing reaches every known node from here, by one hop at least nearer each.
        for n in &peers {
            let key = home_id(peer(*n));
            prop_assert!(table.next_hop(&key, &own(), |_| false).is_some());
        }
    }
}

/// Forty contacts: enough that the buckets 0 to 2 lie beyond the leaf set.
fn crowd(table: &mut Table) {
    for n in 0..40 {
        table.learn(peer(n), NOW);
    }
}

#[test]
fn a_pending_dial_counts_and_is_not_named() {
    let mut table = table(limits());
    crowd(&mut table);
    let wanted = table.wanted(NOW, |_| false);
    assert!(wanted.iter().any(|(_, reason)| *reason == LinkReason::Bucket), "{wanted:?}");
    assert_eq!(wanted.iter().filter(|(_, reason)| *reason == LinkReason::Leaf).count(), 4);
    for (pending, _) in &wanted {
        let rest: Vec<_> = wanted.iter().copied().filter(|(peer, _)| peer != pending).collect();
        assert_eq!(table.wanted(NOW, |peer| peer == *pending), rest);
    }
    assert_eq!(table.wanted(NOW, |peer| wanted.iter().any(|(other, _)| *other == peer)), vec![]);
}

#[test]
fn a_failed_contact_is_replaced_until_its_time() {
    let mut table = table(limits());
    crowd(&mut table);
    let (nearest, _) = table.wanted(NOW, |_| false)[0];
    table.failed(nearest, NOW + Duration::from_secs(30));
    assert!(table.wanted(NOW, |_| false).iter().all(|(peer, _)| *peer != nearest));
    let later = NOW + Duration::from_secs(30);
    assert_eq!(table.wanted(later, |_| false)[0], (nearest, LinkReason::Leaf));
    assert_eq!(table.get(nearest).unwrap().failed_until, Some(later));
}

#[test]
fn failed_contacts_do_not_keep_a_node_from_being_ready() {
    let mut table = table(limits());
    assert!(table.all_nearest_linked(NOW));
    table.learn(peer(1), NOW);
    table.learn(peer(2), NOW);
    link(&mut table, peer(2));
    assert!(!table.all_nearest_linked(NOW));
    table.failed(peer(1), NOW + Duration::from_secs(1));
    assert!(table.all_nearest_linked(NOW));
    assert!(!table.all_nearest_linked(NOW + Duration::from_secs(1)));
}

#[test]
fn a_choice_is_kept_while_it_lives_unless_a_sub_prefix_is_gained() {
    let mut table = table(limits());
    let peers = in_bucket(0, 40);
    let (zeros, ones): (Vec<PeerId>, Vec<PeerId>) = peers.into_iter().partition(|peer| class(*peer, 0) == 0);
    let chosen = |table: &Table| -> Vec<PeerId> {
        let mut chosen: Vec<PeerId> =
            table.links().filter(|link| link.chosen).map(|link| link.peer).collect();
        chosen.sort_by_key(|peer| zeros.iter().chain(&ones).position(|other| other == peer));
        chosen
    };
    link(&mut table, zeros[0]);
    link(&mut table, zeros[1]);
    assert_eq!(chosen(&table), [zeros[0], zeros[1]]);
    // Quicker, but no gain.
    link(&mut table, zeros[2]);
    table.measured(zeros[2], Duration::from_millis(1));
    table.linked(zeros[2], true, false, NOW);
    assert_eq!(chosen(&table), [zeros[0], zeros[1]]);
    // Covers the other half: one of the two gives way, for good.
    link(&mut table, ones[0]);
    let now = chosen(&table);
    assert!(now.contains(&ones[0]) && now.len() == 2, "{now:?}");
    for other in &ones[1..10] {
        link(&mut table, *other);
        assert_eq!(chosen(&table), now);
    }
    // A loss is made good by whoever is there.
    table.unlinked(ones[0], NOW);
    assert!(chosen(&table).iter().any(|peer| ones[1..10].contains(peer)));
    assert_eq!(chosen(&table).len(), 2);
}

#[test]
fn a_bootstrap_fills_a_bucket_only_if_the_bucket_chose_it() {
    let mut only = table(limits());
    crowd(&mut only);
    let candidates: Vec<PeerId> =
        (0..40).map(peer).filter(|peer| bucket_index(&own(), &home_id(*peer)) == Some(0)).collect();
    for bootstrap in &candidates {
        let mut table = only.clone();
        table.linked(*bootstrap, false, true, NOW);
        assert!(!table.reasons(&home_id(*bootstrap)).contains(LinkReason::Bucket));
        let drawn = only.wanted(NOW, |_| false).contains(&(*bootstrap, LinkReason::Bucket));
        let named = table.wanted(NOW, |_| false);
        assert_eq!(table.reasons(&home_id(*bootstrap)).contains(LinkReason::Bucket), drawn);
        assert!(named.iter().all(|(peer, _)| peer != bootstrap));
    }
}

#[test]
fn nodes_spread_over_a_bucket_instead_of_sharing_one_contact() {
    let mut taken: BTreeMap<PeerId, usize> = BTreeMap::new();
    for salt in 0..200 {
        let mut table = table(TableLimits { salt, ..limits() });
        crowd(&mut table);
        for (peer, reason) in table.wanted(NOW, |_| false) {
            if reason == LinkReason::Bucket && bucket_index(&own(), &home_id(peer)) == Some(0) {
                *taken.entry(peer).or_default() += 1;
            }
        }
    }
    let half = (0..40).map(peer).filter(|peer| bucket_index(&own(), &home_id(*peer)) == Some(0)).count();
    assert_eq!(taken.values().sum::<usize>(), 400);
    assert_eq!(taken.len(), half, "each is taken by somebody");
    assert!(taken.values().all(|count| *count < 80), "{taken:?}");
}

#[test]
fn the_quickest_of_the_candidates_is_wanted_once_enough_are_measured() {
    let mut table = table(limits());
    crowd(&mut table);
    let bucket: Vec<PeerId> = (0..40)
        .map(peer)
        .filter(|peer| bucket_index(&own(), &home_id(*peer)) == Some(0) && class(*peer, 0) == 0)
        .collect();
    let pick = |table: &mut Table| -> PeerId {
        let wanted = table.wanted(NOW, |_| false);
        wanted.into_iter().map(|(peer, _)| peer).find(|peer| bucket.contains(peer)).unwrap()
    };
    let drawn = pick(&mut table);
    for (ms, peer) in bucket.iter().rev().enumerate() {
        let measured = ms + 1;
        table.linked(*peer, true, false, NOW);
        table.measured(*peer, Duration::from_millis(measured as u64));
        table.unlinked(*peer, NOW);
        let expected = if measured * 2 >= bucket.len() { *bucket.last().unwrap() } else { drawn };
        assert_eq!(pick(&mut table), expected, "{measured} of {} measured", bucket.len());
    }
}

#[test]
fn a_full_table_evicts_from_the_most_crowded_bucket() {
    let mut table = table(TableLimits { known_max: 10, ..limits() });
    let crowded = in_bucket(0, 30);
    let sparse = in_bucket(3, 3);
    for peer in crowded[..7].iter().chain(&sparse) {
        assert_eq!(table.learn(*peer, NOW), Learned::New { evicted: None });
    }
    table.linked(crowded[0], true, false, NOW);
    table.unlinked(crowded[0], NOW);
    table.failed(crowded[1], NOW);
    // The failed one first, then whoever was drawn last; never the sparse bucket, nor who was linked once.
    assert_eq!(table.learn(crowded[7], NOW), Learned::New { evicted: Some(crowded[1]) });
    for flood in &crowded[8..] {
        assert!(!matches!(table.learn(*flood, NOW), Learned::Known));
        assert_eq!(table.check_invariants(), Ok(()));
    }
    assert!(sparse.iter().chain(&crowded[..1]).all(|peer| table.get(*peer).is_some()));
    assert_eq!(table.learn(peer(u16::MAX), NOW), Learned::Refused, "the node itself");
}

#[test]
fn contacts_not_learnt_of_again_expire() {
    let mut table = table(limits());
    table.learn(peer(1), NOW);
    table.learn(peer(2), NOW);
    link(&mut table, peer(3));
    let later = NOW + Duration::from_secs(10);
    assert_eq!(table.learn(peer(2), later), Learned::Known);
    assert_eq!(table.expire(later), [peer(1)]);
    assert!(table.get(peer(1)).is_none());
    assert!(table.get(peer(2)).is_some() && table.get(peer(3)).is_some());
}

#[test]
fn buckets_without_links_are_to_be_refreshed() {
    let mut table = table(limits());
    assert_eq!(table.buckets_to_refresh(NOW), vec![]);
    crowd(&mut table);
    let depth = table.depth(NOW);
    assert!(depth > 0);
    assert_eq!(table.buckets_to_refresh(NOW).len(), usize::from(depth));
    for (peer, _) in table.wanted(NOW, |_| false) {
        link(&mut table, peer);
    }
    assert_eq!(table.buckets_to_refresh(NOW), vec![]);
    let bucket_0: Vec<PeerId> = table
        .links()
        .filter(|link| bucket_index(&own(), &link.id) == Some(0))
        .map(|link| link.peer)
        .collect();
    table.unlinked(bucket_0[0], NOW);
    assert_eq!(table.buckets_to_refresh(NOW), [0]);
}

/// A table with one chosen link in a bucket, and a candidate of the same sub-prefix that was just linked to be tried.
fn tried(kept_ms: u64, candidate_ms: u64) -> (Table, PeerId, PeerId) {
    let mut table = table(TableLimits { bucket_links: 1, ..limits() });
    let [kept, candidate] = in_bucket(0, 2).try_into().unwrap();
    link(&mut table, kept);
    table.measured(kept, Duration::from_millis(kept_ms));
    table.linked(candidate, false, true, NOW);
    table.measured(candidate, Duration::from_millis(candidate_ms));
    (table, kept, candidate)
}

#[test]
fn a_tried_candidate_takes_the_place_of_a_link_that_is_much_slower_and_carries_nothing() {
    for (kept_ms, candidate_ms, wins) in [(100, 80, true), (100, 81, false), (100, 300, false)] {
        let (mut table, kept, candidate) = tried(kept_ms, candidate_ms);
        assert_eq!(table.replace_slower(candidate), wins, "{candidate_ms} ms against {kept_ms} ms");
        assert_eq!(table.reasons(&home_id(candidate)).contains(LinkReason::Bucket), wins);
        assert_eq!(table.reasons(&home_id(kept)).contains(LinkReason::Bucket), !wins);
        assert_eq!(table.check_invariants(), Ok(()));
    }
    let (mut table, kept, candidate) = tried(100, 10);
    table.set_carries(kept, true);
    assert!(!table.replace_slower(candidate));
}

#[test]
fn of_two_links_as_quick_the_bucket_keeps_the_one_that_stands_anyway() {
    let mut table = table(TableLimits { bucket_links: 1, ..limits() });
    let [kept, other] = in_bucket(0, 2).try_into().unwrap();
    link(&mut table, kept);
    link(&mut table, other);
    let bucket = |table: &Table, peer| table.reasons(&home_id(peer)).contains(LinkReason::Bucket);
    assert!(bucket(&table, kept) && !bucket(&table, other));
    table.set_kept_by_peer(other, true);
    assert!(bucket(&table, other) && !bucket(&table, kept));
    // Both stand: nothing moves back and forth.
    table.set_kept_by_peer(kept, true);
    assert!(bucket(&table, other));
    table.measured(other, Duration::from_millis(200));
    table.measured(kept, Duration::from_millis(100));
    table.set_kept_by_peer(other, false);
    assert!(bucket(&table, kept), "it stands, and is quicker");
}

#[test]
fn who_is_named_as_alive_is_not_passed_over_for_long() {
    let mut table = table(limits());
    table.learn(peer(1), NOW);
    table.failed(peer(1), NOW + Duration::from_secs(600));
    table.told_alive(peer(1), NOW);
    assert!(table.is_failed(peer(1), NOW + Duration::from_secs(9)));
    assert!(!table.is_failed(peer(1), NOW + Duration::from_secs(10)));
    // A failure that ends sooner is not drawn out.
    table.failed(peer(1), NOW + Duration::from_secs(1));
    table.told_alive(peer(1), NOW);
    assert!(!table.is_failed(peer(1), NOW + Duration::from_secs(1)));
}
