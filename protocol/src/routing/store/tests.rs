use alloc::vec;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant::from_secs(100);
const UNIX: u64 = 1_700_000_000_000;
const TTL: Duration = Duration::from_secs(750);
const TOLERANCE: Duration = Duration::from_secs(300);
const ROOM: RoomId = RoomId([1; 32]);

fn limits() -> StoreLimits {
    StoreLimits {
        entries_max: 1000,
        claims_per_room: 20,
        rooms_per_peer: 32,
        ttl: TTL,
        tolerance: TOLERANCE,
        salt: 5,
    }
}

fn peer(n: u32) -> PeerId {
    PeerId(sha256(&[&n.to_le_bytes()]))
}

/// What a peer says at `unix_ms`, with the sequence (1, `counter`).
fn item(n: u32, counter: u64, unix_ms: u64) -> Item {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.extend_from_slice(&counter.to_le_bytes());
    Item {
        room: ROOM,
        replica: 0,
        peer: peer(n),
        sequence: (1, counter),
        issued_ms: unix_ms,
        expiry_ms: unix_ms + millis(TTL),
        left: TTL,
        homes: vec![peer(1_000_000)],
        digest: u64::from(n) << 32 | counter,
        mark: u64::from(n),
        bytes: bytes.into(),
    }
}

fn tombstone(n: u32, counter: u64, unix_ms: u64) -> Tombstone {
    Tombstone {
        room: ROOM,
        replica: 0,
        peer: peer(n),
        sequence: (1, counter),
        expiry_ms: unix_ms + millis(TTL),
        digest: 1 << 63 | u64::from(n) << 32 | counter,
        bytes: Bytes::from(std::format!("tombstone {n} {counter}")),
    }
}

fn anyone() -> Asker<'static> {
    Asker { exclude: None, known: &[] }
}

fn bytes(n: u32, counter: u64) -> Bytes {
    item(n, counter, UNIX).bytes
}

#[test]
fn versions_replace_each_other_in_order() {
    let mut store = Store::new(limits());
    assert_eq!(store.put(item(1, 5, UNIX), NOW, UNIX), Put::New);
    assert_eq!(store.put(item(1, 5, UNIX), NOW, UNIX), Put::Same);
    assert_eq!(store.put(item(1, 4, UNIX), NOW, UNIX), Put::Old(bytes(1, 5)));
    // The same version with other content: the first stays.
    let other = Item { digest: 9, bytes: Bytes::from_static(b"other"), ..item(1, 5, UNIX) };
    assert_eq!(store.put(other, NOW, UNIX), Put::Old(bytes(1, 5)));
    assert_eq!(store.put(item(1, 6, UNIX), NOW, UNIX), Put::Renewed);
    let moved = Item { homes: vec![peer(7), peer(8)], ..item(1, 7, UNIX) };
    assert_eq!(store.put(moved.clone(), NOW, UNIX), Put::Rehomed);
    let turned = Item { homes: vec![peer(8), peer(7)], sequence: (1, 8), ..moved };
    assert_eq!(store.put(turned, NOW, UNIX), Put::Renewed);
    // A later boot is newer whatever its counter.
    assert_eq!(store.put(Item { sequence: (2, 0), ..item(1, 9, UNIX) }, NOW, UNIX), Put::Rehomed);
    assert_eq!(store.claimants(ROOM), [(peer(1), vec![peer(1_000_000)])]);
    assert_eq!((store.len(), store.bytes()), (1, 12));
    assert_eq!(store.check_invariants(), Ok(()));
}

#[test]
fn a_tombstone_refuses_what_it_withdrew() {
    let mut store = Store::new(limits());
    store.put(item(1, 5, UNIX), NOW, UNIX);
    assert_eq!(store.bury(tombstone(1, 4, UNIX), NOW, UNIX), Buried::Old(bytes(1, 5)));
    assert_eq!(store.bury(tombstone(1, 5, UNIX), NOW, UNIX), Buried::New);
    assert_eq!(store.bury(tombstone(1, 5, UNIX), NOW, UNIX), Buried::Same);
    assert_eq!(store.claims(ROOM, 0), 0);
    assert_eq!(store.answer(ROOM, 0, anyone(), 8, NOW), Vec::<Bytes>::new());
    let stone = tombstone(1, 5, UNIX).bytes;
    assert_eq!(store.put(item(1, 5, UNIX), NOW, UNIX), Put::Tombstoned(stone.clone()));
    assert_eq!(store.missing(ROOM, 0, &[], NOW), Copies { claims: vec![], tombstones: vec![stone] });
    assert_eq!(store.put(item(1, 6, UNIX), NOW, UNIX), Put::New);
    assert_eq!(
        store.missing(ROOM, 0, &[], NOW),
        Copies { claims: vec![ClaimCopy { bytes: bytes(1, 6), left: TTL }], tombstones: vec![] }
    );
    // One that comes before its claim is kept as well.
    assert_eq!(store.bury(tombstone(2, 3, UNIX), NOW, UNIX), Buried::New);
    assert!(matches!(store.put(item(2, 3, UNIX), NOW, UNIX), Put::Tombstoned(_)));
    // It outlives the claim by the tolerance.
    let end = NOW + TTL + TOLERANCE;
    store.expire(end - Duration::from_millis(1));
    assert!(matches!(store.put(item(2, 3, UNIX + 1_000_000), NOW, UNIX), Put::Tombstoned(_)));
    assert_eq!(store.expire(end), 1);
    assert_eq!(store.check_invariants(), Ok(()));
    assert!(store.is_empty());
}

#[test]
fn lifetimes_follow_the_clocks() {
    // Milliseconds by which the maker's clock is ahead, and for how long its claim is held.
    let cases = [
        (0, Some(750)),
        (200_000, Some(750)),
        (-200_000, Some(750)),
        (-400_000, Some(650)),
        (-1_049_000, Some(1)),
        (-1_050_000, None),
        (-2_000_000, None),
    ];
    for (ahead, held) in cases {
        let mut store = Store::new(limits());
        let put = store.put(item(1, 1, UNIX.saturating_add_signed(ahead)), NOW, UNIX);
        assert_eq!(put, if held.is_some() { Put::New } else { Put::Expired }, "{ahead}");
        assert_eq!(store.next_expiry(), held.map(|secs| NOW + Duration::from_secs(secs)), "{ahead}");
    }
    // Extreme expiries neither overflow nor stay for ever.
    let mut store = Store::new(limits());
    assert_eq!(store.put(Item { expiry_ms: u64::MAX, ..item(1, 1, UNIX) }, NOW, UNIX), Put::New);
    assert_eq!(store.put(Item { expiry_ms: 0, ..item(2, 1, UNIX) }, NOW, u64::MAX), Put::Expired);
    assert_eq!(store.next_expiry(), Some(NOW + TTL));
    // What has ended is in no answer even before it is removed.
    assert_eq!(store.answer(ROOM, 0, anyone(), 8, NOW + TTL), Vec::<Bytes>::new());
    assert_eq!(store.answer(ROOM, 0, anyone(), 8, NOW + TTL - Duration::from_millis(1)).len(), 1);
}

#[test]
fn a_gap_ends_continuity() {
    let mut store = Store::new(limits());
    store.put(item(1, 1, UNIX), NOW, UNIX);
    let held = |store: &Store| store.entry((ROOM, 0), peer(1)).unwrap().claim().unwrap().first_held;
    let renewed = NOW + Duration::from_secs(700);
    store.put(item(1, 2, UNIX + 700_000), renewed, UNIX + 700_000);
    assert_eq!(held(&store), NOW);
    let late = renewed + TTL;
    let unix_late = UNIX + 1_450_000;
    assert_eq!(store.put(item(1, 3, unix_late), late, unix_late), Put::New);
    assert_eq!(held(&store), late);
}

/// Members 0 to 7 are there before a flood of 100,000 fresh claims by as many identities, and renew during it.
#[test]
fn the_eight_longest_survive_a_flood() {
    let mut store = Store::new(StoreLimits { entries_max: 100_000, ..limits() });
    for n in 0..8 {
        assert_eq!(store.put(item(n, 0, UNIX), NOW + Duration::from_millis(n.into()), UNIX), Put::New);
    }
    let (mut now, mut unix_ms) = (NOW + Duration::from_secs(1), UNIX + 1000);
    for n in 0..100_000 {
        now += Duration::from_millis(20);
        unix_ms += 20;
        if n % 15_000 == 14_999 {
            for member in 0..8 {
                assert_eq!(store.put(item(member, n.into(), unix_ms), now, unix_ms), Put::Renewed);
            }
        }
        assert!(matches!(store.put(item(1000 + n, 1, unix_ms), now, unix_ms), Put::New | Put::Full));
        assert!(store.claims(ROOM, 0) <= 20);
    }
    assert_eq!(store.check_invariants(), Ok(()));
    let claimants: BTreeSet<PeerId> = store.claimants(ROOM).into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(claimants.len(), 20);
    assert!((0..8).all(|member| claimants.contains(&peer(member))));
    // An answer names some of them beside the freshest.
    let answer = store.answer(ROOM, 0, anyone(), 8, now);
    assert_eq!(answer.len(), 8);
    let members = (0..8).filter(|member| answer.contains(&bytes(*member, 89_999))).count();
    assert!(members >= 2, "{members}");
    // A claim made in the future is no fresher than one made as it arrives.
    let ahead = Item { issued_ms: u64::MAX, ..item(900_000, 1, unix_ms) };
    store.put(ahead, now, unix_ms);
    let later = item(900_001, 1, unix_ms + 1000);
    assert_eq!(store.put(later, now + Duration::from_secs(1), unix_ms + 1000), Put::New);
}

#[test]
fn a_full_room_refuses_only_the_stalest_newcomer() {
    let mut store = Store::new(limits());
    for n in 0..20 {
        assert_eq!(store.put(item(n, 0, UNIX), NOW, UNIX), Put::New);
    }
    let before = store.digest(ROOM, 0);
    // Find one that the draw does not favour: a stale one is refused, a fresh one takes a place.
    let refused = (100..200).find(|n| store.put(item(*n, 0, UNIX - 1), NOW, UNIX) == Put::Full).unwrap();
    assert!(store.digest(ROOM, 0).len() == 20);
    assert_eq!(store.put(item(refused, 1, UNIX + 1), NOW, UNIX + 1), Put::New);
    assert!(store.lacks(ROOM, 0, &before));
    assert_eq!(store.check_invariants(), Ok(()));
}

#[test]
fn a_peer_has_a_quota_of_rooms() {
    let mut store = Store::new(limits());
    let room = |n: u8| RoomId([n; 32]);
    for n in 0..32 {
        assert_eq!(store.put(Item { room: room(n), ..item(1, 1, UNIX) }, NOW, UNIX), Put::New);
    }
    assert_eq!(store.put(Item { room: room(32), ..item(1, 1, UNIX) }, NOW, UNIX), Put::Quota);
    assert_eq!(store.put(Item { replica: 1, ..item(1, 1, UNIX) }, NOW, UNIX), Put::Quota);
    assert_eq!(store.put(Item { room: room(0), ..item(1, 2, UNIX) }, NOW, UNIX), Put::Renewed);
    // Leaving and joining on and on does not lock a peer out: its oldest tombstone gives way.
    store.bury(Tombstone { room: room(0), ..tombstone(1, 2, UNIX) }, NOW, UNIX);
    store.bury(Tombstone { room: room(1), ..tombstone(1, 2, UNIX + 1) }, NOW, UNIX);
    assert_eq!(store.put(Item { room: room(32), ..item(1, 1, UNIX) }, NOW, UNIX), Put::New);
    assert_eq!(store.rooms().map(|(room, _)| room.0[0]).collect::<Vec<_>>(), (1..=32).collect::<Vec<u8>>());
    assert_eq!(store.bury(Tombstone { room: room(33), ..tombstone(1, 1, UNIX) }, NOW, UNIX), Buried::New);
    assert_eq!(store.bury(Tombstone { room: room(33), ..tombstone(1, 2, UNIX) }, NOW, UNIX), Buried::New);
    assert_eq!(store.check_invariants(), Ok(()));
    assert_eq!(store.len(), 32);
}

#[test]
fn in_a_full_store_whoever_has_most_gives_way() {
    let mut store = Store::new(StoreLimits { entries_max: 20, ..limits() });
    let room = |n: u32| RoomId(sha256(&[b"room", &n.to_le_bytes()]));
    for n in 0..5 {
        store.put(Item { room: room(n), ..item(n, 1, UNIX) }, NOW, UNIX);
    }
    // One peer takes all the rest and wants more.
    let hog = |n: u32| Item { room: room(100 + n), ..item(99, 1, UNIX) };
    for n in 0..15 {
        let at = NOW + Duration::from_millis(n.into());
        assert_eq!(store.put(hog(n), at, UNIX), Put::New);
    }
    assert_eq!(store.put(hog(15), NOW, UNIX), Put::Full);
    for n in 5..10 {
        assert_eq!(store.put(Item { room: room(n), ..item(n, 1, UNIX) }, NOW, UNIX), Put::New);
        assert_eq!(store.check_invariants(), Ok(()));
    }
    // It lost its newest; all others are there.
    assert_eq!(store.holdings[&peer(99)].slots, (100..110).map(|n| (room(n), 0)).collect());
    assert!((0..10).all(|n| store.claims(room(n), 0) == 1));
    // Among equals the draw decides, so a flood gets no more than its share of places in the end.
    let mut kept = BTreeSet::new();
    for n in 200..1000 {
        store.put(Item { room: room(n), ..item(n, 1, UNIX) }, NOW, UNIX);
        kept = store.holdings.keys().copied().collect();
        assert_eq!(store.len(), 20);
    }
    let mut all: Vec<PeerId> = (0..10).chain([99]).chain(200..1000).map(peer).collect();
    all.sort_by_key(|peer| store.draw(&[&peer.0]));
    assert_eq!(kept, all.into_iter().take(20).collect());
}

#[test]
fn answers_leave_out_and_mix() {
    let mut store = Store::new(limits());
    for n in 0..20 {
        let unix_ms = UNIX + u64::from(n);
        store.put(item(n, 1, unix_ms), NOW + Duration::from_millis(n.into()), unix_ms);
    }
    let all: Vec<Bytes> = (0..20).rev().map(|n| bytes(n, 1)).collect();
    assert_eq!(store.answer(ROOM, 0, anyone(), 20, NOW), all);
    let answer = store.answer(ROOM, 0, anyone(), 8, NOW);
    assert_eq!(answer[..4], all[..4], "the freshest");
    assert_eq!(answer[6..], all[18..], "those held longest");
    let known: Vec<u64> = (4..20).map(|n| item(n, 1, UNIX).mark).collect();
    let asker = Asker { exclude: Some(peer(1)), known: &known };
    assert_eq!(store.answer(ROOM, 0, asker, 8, NOW), [bytes(3, 1), bytes(2, 1), bytes(0, 1)]);
    assert_eq!(store.answer(ROOM, 0, asker, 0, NOW), Vec::<Bytes>::new());
    assert_eq!(store.answer(ROOM, 1, anyone(), 8, NOW), Vec::<Bytes>::new());
}

#[test]
fn a_claim_ends_at_all_holders_when_its_life_is_over() {
    let holders = [5, 6, 7].map(|salt| Store::new(StoreLimits { salt, ..limits() }));
    let [mut first, mut second, mut third] = holders;
    first.put(item(1, 1, UNIX), NOW, UNIX);
    let hand_on = |from: &Store, to: &mut Store, now: Instant| {
        let copies = from.copy_of(ROOM, 0, peer(1), now).claims;
        for ClaimCopy { left, .. } in copies {
            assert!(
                to.put(Item { left, ..item(1, 1, UNIX) }, now, UNIX + millis(now.since(NOW))).is_change()
            );
        }
    };
    // Handed on late in its life, it lives to the same end there, and where it is handed on from there.
    let late = NOW + TTL.saturating_sub(Duration::from_millis(10_700));
    hand_on(&first, &mut second, late);
    second.put(item(2, 1, UNIX), late, UNIX);
    hand_on(&second, &mut third, late + Duration::from_secs(5));
    let last = NOW + TTL;
    for store in [&mut first, &mut second, &mut third] {
        store.expire(last);
        assert_eq!(store.claim_of(ROOM, 0, peer(1)), None);
    }
    assert_eq!(second.claims(ROOM, 0), 1);
    // Nobody hands on what is about to end.
    let mut fourth = Store::new(limits());
    fourth.put(item(1, 1, UNIX), NOW, UNIX);
    assert_eq!(fourth.copy_of(ROOM, 0, peer(1), last - Duration::from_millis(999)), Copies::default());
    assert_eq!(fourth.missing(ROOM, 0, &[], last - Duration::from_millis(999)), Copies::default());
}

#[test]
fn two_holders_become_equal_by_digests() {
    let (mut a, mut b) = (Store::new(limits()), Store::new(StoreLimits { salt: 6, ..limits() }));
    for n in 0..6 {
        a.put(item(n, 1, UNIX), NOW, UNIX);
        b.put(item(n + 3, u64::from(n % 2) + 1, UNIX), NOW, UNIX);
    }
    a.bury(tombstone(3, 2, UNIX), NOW, UNIX);
    assert!(a.lacks(ROOM, 0, &b.digest(ROOM, 0)) && b.lacks(ROOM, 0, &a.digest(ROOM, 0)));
    let by_bytes: BTreeMap<Bytes, Item> =
        (0..9).flat_map(|n| (1..3).map(move |c| (bytes(n, c), item(n, c, UNIX)))).collect();
    let exchange = |from: &Store, to: &mut Store| {
        let copies = from.missing(ROOM, 0, &to.digest(ROOM, 0), NOW);
        for copy in copies.claims {
            to.put(Item { left: copy.left, ..by_bytes[&copy.bytes].clone() }, NOW, UNIX);
        }
        for _ in copies.tombstones {
            to.bury(tombstone(3, 2, UNIX), NOW, UNIX);
        }
    };
    exchange(&a, &mut b);
    exchange(&b, &mut a);
    assert_eq!(a.digest(ROOM, 0), b.digest(ROOM, 0));
    assert!(!a.lacks(ROOM, 0, &b.digest(ROOM, 0)));
    assert_eq!(a.missing(ROOM, 0, &b.digest(ROOM, 0), NOW), Copies::default());
    assert_eq!((a.claims(ROOM, 0), a.len()), (8, 9));
    assert_eq!(a.drop_room(ROOM, 0), 9);
    assert!(a.is_empty() && a.rooms().next().is_none());
    assert_eq!(a.check_invariants(), Ok(()));
}

#[test]
fn a_store_without_places_takes_nothing() {
    let none = [
        (StoreLimits { entries_max: 0, ..limits() }, Put::Full),
        (StoreLimits { claims_per_room: 0, ..limits() }, Put::Full),
        (StoreLimits { rooms_per_peer: 0, ..limits() }, Put::Quota),
    ];
    for (limits, put) in none {
        let mut store = Store::new(limits);
        assert_eq!(store.put(item(1, 1, UNIX), NOW, UNIX), put);
        assert_eq!(store.bury(tombstone(1, 1, UNIX), NOW, UNIX), Buried::Full);
        assert!(store.is_empty());
        assert_eq!(store.check_invariants(), Ok(()));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put { n: u32, counter: u64, room: u8, age_ms: u32 },
    Bury { n: u32, counter: u64, room: u8 },
    Wait(u32),
    Drop(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let put = (0_u32..60, 0_u64..6, 0_u8..6, 0_u32..1_200_000)
        .prop_map(|(n, counter, room, age_ms)| Op::Put { n, counter, room, age_ms });
    let bury = (0_u32..60, 0_u64..6, 0_u8..6).prop_map(|(n, counter, room)| Op::Bury { n, counter, room });
    let op = prop_oneof![12 => put, 3 => bury, 1 => (0_u32..400_000).prop_map(Op::Wait), 1 => (0_u8..6).prop_map(Op::Drop)];
    proptest::collection::vec(op, 0..250)
}

proptest! {
    #[test]
    fn laws_hold_after_any_sequence(
        ops in ops(), entries_max in 0_usize..60, claims_per_room in 0_usize..12, rooms_per_peer in 0_usize..4,
        exclude in 0_u32..60, n in 0_usize..10,
    ) {
        let mut store = Store::new(StoreLimits { entries_max, claims_per_room, rooms_per_peer, ..limits() });
        let (mut now, mut unix_ms) = (NOW, UNIX);
        for op in ops {
            match op {
                Op::Put { n, counter, room, age_ms } => {
                    let made = unix_ms - u64::from(age_ms);
                    // Versions made at different times are different claims.
                    let digest = made ^ u64::from(n) << 48 ^ counter << 44;
                    let item = Item { room: RoomId([room; 32]), digest, ..item(n, counter, made) };
                    let put = store.put(item.clone(), now, unix_ms);
                    let held = store.digest(item.room, 0).contains(&item.digest);
                    prop_assert_eq!(held, put.is_change() || put == Put::Same, "{:?}", put);
                    prop_assert_eq!(put == Put::Expired, age_ms >= 1_050_000);
                }
                Op::Bury { n, counter, room } => {
                    let stone = Tombstone { room: RoomId([room; 32]), ..tombstone(n, counter, unix_ms) };
                    let before = store.entry((stone.room, 0), stone.peer).map(|entry| entry.sequence);
                    let buried = store.bury(stone.clone(), now, unix_ms);
                    let claim = store.entry((stone.room, 0), stone.peer).filter(|entry| entry.claim().is_some());
                    prop_assert_eq!(claim.is_some(), matches!(buried, Buried::Old(_)));
                    prop_assert!(claim.is_none_or(|claim| Some(claim.sequence) == before));
                }
                Op::Wait(ms) => {
                    now += Duration::from_millis(ms.into());
                    unix_ms += u64::from(ms);
                    store.expire(now);
                    prop_assert!(store.next_expiry().is_none_or(|at| at > now));
                }
                Op::Drop(room) => {
                    store.drop_room(RoomId([room; 32]), 0);
                }
            }
            prop_assert_eq!(store.check_invariants(), Ok(()));
        }
        // Answers: never the asker's own, nothing known, nothing ended, no more than asked for, freshest first.
        let at = now + Duration::from_secs(100);
        for (room, replica) in store.rooms().collect::<Vec<_>>() {
            let marks = store.slot((room, replica)).filter_map(|(_, entry)| entry.claim().map(|claim| claim.mark));
            let known: Vec<u64> = marks.step_by(3).collect();
            let asker = Asker { exclude: Some(peer(exclude)), known: &known };
            let may: Vec<&Entry> = store
                .slot((room, replica))
                .filter(|(peer_id, entry)| {
                    **peer_id != peer(exclude) && entry.claim().is_some_and(|claim| !known.contains(&claim.mark)) && entry.until > at
                })
                .map(|(_, entry)| entry)
                .collect();
            let answer = store.answer(room, replica, asker, n, at);
            prop_assert_eq!(answer.len(), n.min(may.len()));
            let fresh: Vec<u64> = answer
                .iter()
                .map(|bytes| may.iter().find(|entry| entry.bytes == *bytes).unwrap().claim().unwrap().fresh_ms)
                .collect();
            prop_assert!(fresh.is_sorted_by(|a, b| a >= b));
            prop_assert_eq!(answer.iter().collect::<BTreeSet<_>>().len(), answer.len());
        }
    }
}

#[test]
fn claims_are_named_by_mark_or_in_full() {
    let mut store = Store::new(limits());
    for n in 1..=4 {
        assert_eq!(store.put(item(n, 1, UNIX), NOW, UNIX), Put::New);
    }
    assert_eq!(store.bury(tombstone(4, 1, UNIX), NOW, UNIX), Buried::New);
    let marks = [item(1, 2, UNIX).mark, item(4, 1, UNIX).mark, item(5, 1, UNIX).mark];
    let mut named = store.named(ROOM, 0, &marks, &[item(2, 1, UNIX).bytes, item(3, 2, UNIX).bytes]);
    named.sort_unstable();
    let mut expected = vec![peer(1), peer(2)];
    expected.sort_unstable();
    assert_eq!(
        named, expected,
        "a renewal keeps its mark, other bytes are another claim, a tombstone is none"
    );
    assert!(store.named(RoomId([2; 32]), 0, &marks, &[]).is_empty());
}
