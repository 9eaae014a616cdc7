use alloc::vec;
use core::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::Host;

const NOW: Instant = Instant::from_secs(10_000);

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn ip(octets: [u8; 4], port: u16, n: u8) -> Address {
    Address { host: Host::Ip4(Ipv4Addr::from(octets)), port, secure: false, peer: Some(peer(n)) }
}

/// The public address of `peer(n)`.
fn public(n: u8) -> Address {
    ip([8, 8, 8, n], 3001, n)
}

fn limits() -> BookLimits {
    BookLimits { addresses_max: 20, per_source: 8, lost_max: 4, ..BookLimits::default() }
}

fn book() -> Book {
    Book::new(peer(0), limits())
}

fn nobody(_: PeerId) -> bool {
    false
}

fn listed(book: &Book) -> Vec<Address> {
    book.iter().cloned().collect()
}

#[test]
fn what_is_learnt_is_checked() {
    let mut book = book();
    let cases = [
        (public(1), Noted::New),
        (public(1), Noted::Known),
        (public(0), Noted::NoPeer),
        (Address { peer: None, ..public(1) }, Noted::NoPeer),
        (ip([127, 0, 0, 1], 1, 2), Noted::Class),
        (ip([169, 254, 169, 254], 80, 2), Noted::Class),
        (ip([10, 0, 0, 1], 1, 2), Noted::Class),
        (ip([8, 8, 8, 1], 3001, 7), Noted::New),
        (ip([8, 8, 8, 1], 3001, 8), Noted::Endpoint),
        (ip([8, 8, 8, 1], 3002, 8), Noted::New),
    ];
    for (address, noted) in cases {
        assert_eq!(book.learn(address.clone(), peer(200), NOW), noted, "{address:?}");
    }
    assert_eq!(listed(&book), [public(1), ip([8, 8, 8, 1], 3001, 7), ip([8, 8, 8, 1], 3002, 8)]);
}

#[test]
fn local_classes_open_by_listening_or_by_bootstrap() {
    let (loopback, private) = (ip([127, 0, 0, 1], 1, 1), ip([192, 168, 0, 1], 1, 2));
    let mut book = book();
    book.allow(AddressClass::Private);
    assert_eq!(book.learn(loopback.clone(), peer(9), NOW), Noted::Class);
    assert_eq!(book.learn(private.clone(), peer(9), NOW), Noted::New);
    book.configure(ip([127, 0, 0, 1], 2, 3), NOW);
    assert_eq!(book.learn(loopback.clone(), peer(9), NOW), Noted::New);
    // A saved or connected address is no way around.
    let mut strict = Book::new(peer(0), limits());
    strict.restore(&[SavedAddress { address: loopback.clone(), tried: true, lost: true }], NOW);
    strict.connected(&private, peer(2), NOW);
    strict.lost(&loopback, NOW);
    assert_eq!(listed(&strict), []);
}

#[test]
fn one_source_has_a_quota_of_new_addresses() {
    let mut book = book();
    for n in 1..=8 {
        assert_eq!(book.learn(public(n), peer(200), NOW), Noted::New);
    }
    assert_eq!(book.learn(public(9), peer(200), NOW), Noted::Quota);
    assert_eq!(book.learn(public(9), peer(201), NOW), Noted::New);
    // An address that proved good burdens its source no more.
    book.connected(&public(1), peer(1), NOW);
    assert_eq!(book.learn(public(10), peer(200), NOW), Noted::New);
    assert_eq!(book.learn(public(11), peer(200), NOW), Noted::Quota);
}

#[test]
fn a_flood_of_new_addresses_displaces_nothing_tried_or_configured() {
    let mut book = book();
    book.configure(public(1), NOW);
    for n in 2..=6 {
        book.learn(public(n), peer(200), NOW);
        book.connected(&public(n), peer(n), NOW);
    }
    book.learn(public(7), peer(201), NOW);
    for n in 8..=255 {
        book.learn(public(n), peer(n), NOW + Duration::from_secs(n.into()));
        assert_eq!(book.check_invariants(), Ok(()));
    }
    let kept = listed(&book);
    assert!((1..=6).all(|n| kept.contains(&public(n))));
    // Nineteen places beside the configured one: nine for new ones.
    assert_eq!(kept.len(), 1 + 5 + 9);
    // A source with many loses before sources with few.
    let mut fair = Book::new(peer(0), limits());
    fair.learn(public(1), peer(1), NOW);
    for n in 2..=9 {
        fair.learn(public(n), peer(200), NOW + Duration::from_secs(n.into()));
    }
    for n in 10..=15 {
        assert_eq!(fair.learn(public(n), peer(n), NOW + Duration::from_secs(n.into())), Noted::New);
    }
    assert!(listed(&fair).contains(&public(1)));
    assert!(!listed(&fair).contains(&public(2)));
}

#[test]
fn pauses_double_up_to_a_bound_and_end_with_success() {
    let mut book = book();
    book.configure(public(1), NOW);
    book.learn(public(2), peer(200), NOW);
    let pauses = |book: &mut Book, address: &Address, jitter| -> Vec<u64> {
        let mut now = NOW;
        let other = if *address == public(1) { peer(2) } else { peer(1) };
        (0..40)
            .map(|_| {
                book.failed(address, now, jitter);
                let at = book.next_dial_at(now, |peer| peer == other).unwrap();
                let pause = at.since(now);
                assert_eq!(book.next_dial(at - Duration::from_micros(1), |peer| peer == other, 0), None);
                assert_eq!(book.next_dial(at, |peer| peer == other, 0).as_ref(), Some(address));
                now = at;
                u64::try_from(pause.as_millis()).unwrap()
            })
            .collect()
    };
    let configured = pauses(&mut book, &public(1), 0);
    assert_eq!(configured[..6], [750, 1500, 3000, 6000, 11_250, 11_250]);
    assert_eq!(configured[39], 11_250);
    let learnt = pauses(&mut book, &public(2), u64::MAX);
    assert!(learnt[0] >= 750 && learnt[0] <= 1250, "{learnt:?}");
    assert!(learnt[39] >= 225_000 && learnt[39] <= 375_000, "{learnt:?}");
    book.connected(&public(2), peer(2), NOW);
    assert_eq!(book.next_dial_at(NOW, |other| other == peer(1)), Some(NOW));
}

#[test]
fn the_least_failed_is_dialled_and_a_stranger_after_those_that_worked() {
    let mut book = book();
    book.learn(public(3), peer(200), NOW);
    book.configure(public(1), NOW);
    book.connected(&public(2), peer(2), NOW);
    let mut order = vec![];
    let mut now = NOW;
    for random in 0..9 {
        now += Duration::from_secs(1000);
        let address = book.next_dial(now, nobody, random).unwrap();
        book.failed(&address, now, 0);
        order.push(address.peer.unwrap().0[0]);
    }
    let (head, tail) = order.split_at(4);
    assert!(head.iter().all(|n| *n != 3) && head.contains(&1) && head.contains(&2), "{order:?}");
    assert!(tail.contains(&3), "{order:?}");
    // Who is linked is not dialled.
    assert_eq!(book.next_dial(now + Duration::from_secs(1000), |other| other != peer(2), 5), Some(public(2)));
    assert_eq!(book.next_dial(now + Duration::from_secs(1000), |_| true, 5), None);
    assert_eq!(book.next_dial_at(now, |_| true), None);
}

#[test]
fn lost_contacts_are_dialled_for_an_hour_and_the_latest_are_kept() {
    let mut book = book();
    assert_eq!(book.next_lost(NOW, nobody, 1), None);
    for n in 1..=6 {
        book.lost(&public(n), NOW + Duration::from_secs(n.into()));
        assert_eq!(book.check_invariants(), Ok(()));
    }
    let offered = |book: &mut Book, now: Instant| -> BTreeSet<u8> {
        (0..100)
            .filter_map(|random| book.next_lost(now, nobody, random)?.peer)
            .map(|peer| peer.0[0])
            .collect()
    };
    let at = NOW + Duration::from_secs(10);
    assert_eq!(offered(&mut book, at), BTreeSet::from([3, 4, 5, 6]));
    // Failing does not pause it: the caller's period does.
    book.failed(&public(3), at, 0);
    assert_eq!(offered(&mut book, at), BTreeSet::from([3, 4, 5, 6]));
    book.found(peer(4));
    book.connected(&public(5), peer(5), at);
    assert_eq!(offered(&mut book, at), BTreeSet::from([3, 6]));
    assert_eq!(book.next_lost(at, |other| other == peer(3), 0), Some(public(6)));
    assert_eq!(offered(&mut book, NOW + Duration::from_secs(3605)), BTreeSet::from([6]));
    assert_eq!(offered(&mut book, NOW + Duration::from_secs(3607)), BTreeSet::new());
}

#[test]
fn a_bootstrap_is_dialled_unless_linked() {
    let mut book = book();
    let nameless = Address { peer: None, ..public(1) };
    book.configure(nameless.clone(), NOW);
    book.learn(public(2), peer(200), NOW);
    book.failed(&nameless, NOW, 0);
    assert_eq!(book.next_bootstrap(|other| other == peer(1), 3), Some(nameless.clone()));
    // Once it is known who is there, a link to that peer will do.
    book.connected(&nameless, peer(1), NOW);
    assert_eq!(book.next_bootstrap(|other| other == peer(1), 3), None);
    assert_eq!(book.next_bootstrap(nobody, 3), Some(nameless.clone()));
    assert_eq!(book.addresses(peer(1)), [nameless]);
}

#[test]
fn a_mismatched_address_goes_unless_it_is_configured() {
    let mut book = book();
    book.configure(public(1), NOW);
    book.connected(&public(2), peer(2), NOW);
    book.mismatched(&public(1), NOW, 0);
    book.mismatched(&public(2), NOW, 0);
    assert_eq!(listed(&book), [public(1)]);
    assert!(book.next_dial_at(NOW, nobody) > Some(NOW));
}

#[test]
fn a_snapshot_restores_what_was_known() {
    let mut book = book();
    book.configure(Address { peer: None, ..public(1) }, NOW);
    book.connected(&Address { peer: None, ..public(1) }, peer(1), NOW + Duration::from_secs(2));
    book.configure(ip([8, 8, 4, 4], 1, 9), NOW);
    book.learn(public(2), peer(200), NOW);
    book.lost(&public(3), NOW + Duration::from_secs(1));
    book.learn(Address { secure: true, ..public(1) }, peer(200), NOW);
    book.configure(Address { peer: None, ..public(50) }, NOW);
    let saved = book.snapshot();
    let expected = |address, tried, lost| SavedAddress { address, tried, lost };
    assert_eq!(
        saved[..2],
        [expected(public(1), true, false), expected(public(3), true, true)],
        "tried ones first, the latest before others"
    );
    assert_eq!(saved.len(), 5, "the address whose peer is unknown is left out: {saved:?}");
    let mut again = Book::new(peer(0), limits());
    again.restore(&saved, Instant::ZERO);
    again.restore(&[expected(public(0), true, true)], Instant::ZERO);
    assert_eq!(again.check_invariants(), Ok(()));
    assert_eq!(again.next_lost(Instant::ZERO, nobody, 0), Some(public(3)));
    let sorted = |mut list: Vec<SavedAddress>| {
        list.sort_by(|a, b| a.address.cmp(&b.address));
        list
    };
    assert_eq!(sorted(again.snapshot()), sorted(saved));
}

proptest! {
    #[test]
    fn laws_hold_after_any_sequence(
        ops in proptest::collection::vec((0_u8..9, any::<u8>(), 0_u8..4, 0_u64..100), 0..300),
        addresses_max in 0_usize..30, lost_max in 0_usize..6,
    ) {
        let mut book = Book::new(peer(0), BookLimits { addresses_max, lost_max, ..limits() });
        let mut configured = BTreeSet::new();
        let mut now = NOW;
        for (op, n, source, number) in ops {
            now += Duration::from_secs(number);
            let address = if n % 7 == 0 { ip([127, 0, 0, 1], u16::from(n) + 1, n) } else { public(n) };
            match op {
                0..3 => {
                    let noted = book.learn(address.clone(), peer(source), now);
                    let held = book.iter().any(|other| *other == address);
                    if address.peer == Some(peer(0)) {
                        // Its own; the operator may have given it.
                        prop_assert_eq!(noted, Noted::NoPeer);
                    } else {
                        prop_assert_eq!(held, matches!(noted, Noted::New | Noted::Known));
                    }
                }
                3 => book.connected(&address, peer(n), now),
                4 => book.failed(&address, now, number),
                5 => book.lost(&address, now),
                6 => book.mismatched(&address, now, number),
                7 if number == 0 => {
                    book.configure(address.clone(), now);
                    configured.insert(address);
                }
                _ => {
                    let saved = [SavedAddress { address, tried: source == 1, lost: source == 2 }];
                    book.restore(&saved, now);
                }
            }
            prop_assert_eq!(book.check_invariants(), Ok(()));
            prop_assert!(configured.iter().all(|address| book.iter().any(|other| other == address)));
            // What is offered is never linked, and comes when it was promised.
            let linked = |other: PeerId| other.0[0].is_multiple_of(2);
            let offers = [book.next_dial(now, linked, number), book.next_bootstrap(linked, number)];
            prop_assert!(offers.iter().flatten().all(|address| !address.peer.is_some_and(linked)));
            prop_assert_eq!(offers[0].is_some(), book.next_dial_at(now, linked) == Some(now));
        }
    }
}

#[test]
fn a33_an_endpoint_that_was_dialled_in_vain_is_left_alone() {
    let mut book = book();
    let at = |number: u8| ip([8, 8, 8, 8], 3001, number);
    let secs = Instant::from_secs;
    book.note_vain(&at(1), secs(0));
    assert!(!book.is_vain(&at(1), secs(1)), "the peer itself has pauses of its own");
    assert!(book.is_vain(&at(2), secs(29)) && !book.is_vain(&at(2), secs(30)));
    // Each further one doubles the pause for all.
    book.note_vain(&at(2), secs(30));
    assert!(book.is_vain(&at(3), secs(89)) && !book.is_vain(&at(3), secs(90)));
    for _ in 0..20 {
        book.note_vain(&at(3), secs(90));
    }
    assert!(
        book.is_vain(&at(4), secs(90 + 959)) && !book.is_vain(&at(4), secs(90 + 960)),
        "up to 16 minutes"
    );
    // Who proved to be there, or was named by the operator, is dialled all the same.
    book.connected(&at(5), at(5).peer.unwrap(), secs(100));
    assert!(!book.is_vain(&at(4), secs(100)), "and then it is known that the endpoint is good");
    book.configure(at(6), secs(100));
    book.note_vain(&at(7), secs(100));
    assert!(book.is_vain(&at(8), secs(101)));
    assert!(!book.is_vain(&at(6), secs(101)) && !book.is_vain(&at(5), secs(101)));
    // A node remembers 64 of them.
    for port in 0..100 {
        book.note_vain(&Address { port: 2000 + port, ..at(9) }, secs(200));
    }
    let remembered =
        (0..100).filter(|port| book.is_vain(&Address { port: 2000 + port, ..at(10) }, secs(201)));
    assert_eq!(remembered.count(), 64);
}
