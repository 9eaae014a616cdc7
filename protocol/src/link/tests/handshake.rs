use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::pair::{
    A, B, FORGER, Forger, Pair, closed, config, crypto, frames, initiator, instance, message, peer,
    responder, session, text,
};
use crate::crypto::Role;
use crate::link::frame::{self, FrameKind};
use crate::link::{Class, Peer, SessionEvent};
use crate::routing::key::home_id;
use crate::wire::Bounded;
use crate::wire::message::{Extension, HandshakePayload};
use crate::{CloseReason, Instant, NetworkId};

fn established(name: u8, binding: [u8; 32]) -> SessionEvent {
    SessionEvent::Established(Peer {
        id: peer(name),
        home: home_id(peer(name)),
        instance: instance(name),
        service: false,
        binding,
        extensions: Vec::new(),
    })
}

fn hello1() -> Vec<u8> {
    initiator().poll_frame(Instant::ZERO).unwrap().to_vec()
}

/// What a fresh responder makes of a first frame, and what it answers.
fn first_at_responder(frame: &[u8]) -> (Vec<SessionEvent>, Vec<Bytes>) {
    let mut responder = responder();
    let events = responder.handle_frame(&Bytes::copy_from_slice(frame), Instant::ZERO);
    (events, frames(&mut responder, Instant::ZERO))
}

#[test]
fn both_ends_learn_the_same_link_and_how_far_it_is() {
    let mut pair = Pair::new(config(Role::Initiator, 1), config(Role::Responder, 2));
    pair.latency = Duration::from_millis(40);
    pair.settle();
    let binding = *pair.ends[A].binding().unwrap();
    assert_eq!(pair.events, [vec![established(2, binding)], vec![established(1, binding)]]);
    assert_eq!(pair.ends.each_ref().map(|end| end.rtt()), [Some(Duration::from_millis(80)); 2]);
    assert_eq!(pair.sent, [2, 1]);
    assert!(pair.ends.iter().all(|end| end.is_established() && !end.is_closed() && end.is_drained()));
}

#[test]
fn data_may_follow_the_last_hello_at_once() {
    let (mut a, mut b) = (initiator(), responder());
    a.queue(Class::Small, text(b"early"), Instant::ZERO).unwrap();
    let hello1 = frames(&mut a, Instant::ZERO);
    assert_eq!(hello1.len(), 1);
    b.handle_frame(&hello1[0], Instant::ZERO);
    a.handle_frame(&b.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    let [hello3, data] = frames(&mut a, Instant::ZERO).try_into().unwrap();
    let binding = *a.binding().unwrap();
    assert_eq!(b.handle_frame(&hello3, Instant::ZERO), [established(1, binding)]);
    assert_eq!(b.handle_frame(&data, Instant::ZERO), [message(b"early")]);
}

#[test]
fn no_hello_leaves_without_credit() {
    let mut a = crate::link::Session::new(config(Role::Initiator, 1), crypto(), Instant::ZERO);
    let length = hello1().len();
    a.grant(length - 1);
    assert_eq!(a.poll_frame(Instant::ZERO), None);
    a.grant(1);
    assert_eq!(a.poll_frame(Instant::ZERO).map(|frame| frame.len()), Some(length));
    assert_eq!(a.credit(), 0);
}

#[test]
fn b15_b17_what_is_not_this_protocol_is_told_apart() {
    let long = [0; 65_536];
    let cases: [&[u8]; 14] = [
        b"",
        b"\x01",
        b"\x01\x00",
        b"\x01\x00uname",
        b"\x01\x00Unamed\x01\x01",
        b"\x01\x06unamed\x01\x01",
        b"{\"type\":\"hello\"}",
        b"null",
        b"[]",
        b"\"x\"",
        b"5",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &long,
    ];
    for frame in cases {
        assert_eq!(first_at_responder(frame), (closed(CloseReason::NotOurProtocol), vec![]), "{frame:x?}");
    }
}

#[test]
fn b5_b18_b22_a_first_frame_is_judged_by_its_preamble() {
    use CloseReason::{Handshake, TooLarge, VersionMismatch, WrongNetwork};
    let good = hello1();
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    // Version, kind, six bytes of magic, count, one version, eight bytes of tag, share.
    assert_eq!(good.len(), 2 + 6 + 1 + 1 + 8 + 32);
    let zero_share = [&good[..18], &[0; 32]].concat();
    let cases = [
        ("version 0", with(0, 0), VersionMismatch),
        ("version 2", with(0, 2), VersionMismatch),
        ("version 255", with(0, 255), VersionMismatch),
        ("other versions", with(9, 2), VersionMismatch),
        ("no versions", with(8, 0), VersionMismatch),
        ("more versions than bytes", with(8, 255), Handshake),
        ("other network", with(10, good[10] ^ 1), WrongNetwork),
        ("short share", good[..good.len() - 1].to_vec(), Handshake),
        ("low-order share", zero_share, Handshake),
        ("payload in message 1", [good.as_slice(), b"x"].concat(), Handshake),
        ("too large", [good.as_slice(), &[0; 1024]].concat(), TooLarge),
        ("message 2 first", with(1, 1), Handshake),
        ("message 3 first", with(1, 2), Handshake),
        ("data first", with(1, 3), Handshake),
        ("refusal first", with(1, 4), Handshake),
    ];
    for (name, frame, reason) in cases {
        let answered = [VersionMismatch, WrongNetwork].contains(&reason);
        let answer = answered.then(|| frame::refused(reason)).into_iter().collect();
        assert_eq!(first_at_responder(&frame), (closed(reason), answer), "{name}");
    }
    for end in 8..good.len() {
        assert_eq!(first_at_responder(&good[..end]).0, closed(Handshake), "prefix of {end}");
    }
}

#[test]
fn later_versions_may_stand_beside_ours() {
    let good = hello1();
    let frame = [&good[..8], &[3, 9, 2, 1], &good[10..]].concat();
    let (events, answer) = first_at_responder(&frame);
    assert_eq!((events, answer.len()), (vec![], 1));
}

#[test]
fn refusals_reach_the_initiator() {
    for (network, reason) in [("other", CloseReason::WrongNetwork), ("unamed", CloseReason::Busy)] {
        let mut b = config(Role::Responder, 2);
        b.network = NetworkId::new(network).unwrap();
        let mut pair = Pair::new(config(Role::Initiator, 1), b);
        if reason == CloseReason::Busy {
            pair.ends[B].refuse(reason);
        }
        pair.settle();
        assert_eq!(pair.take_events(A), closed(reason));
        assert!(pair.ends.iter().all(|end| end.is_closed() && end.poll_timeout().is_none()));
    }
}

#[test]
fn a_responder_may_refuse_until_it_has_spoken() {
    let (mut a, mut b) = (initiator(), responder());
    b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    a.handle_frame(&b.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    assert!(a.is_established());
    b.refuse(CloseReason::Busy);
    let refusal = b.poll_frame(Instant::ZERO).unwrap();
    assert_eq!(a.handle_frame(&refusal, Instant::ZERO), closed(CloseReason::Busy));

    let mut pair = Pair::established();
    pair.ends[B].refuse(CloseReason::Busy);
    assert!(pair.ends[B].is_established(), "too late for a refusal");
    pair.queue(B, Class::Small, b"spoken");
    pair.settle();
    pair.take_events(A);
    assert_eq!(pair.ends[A].handle_frame(&refusal, pair.now), closed(CloseReason::Violation));
}

#[test]
fn b23_what_an_initiator_makes_of_the_first_answer() {
    use CloseReason::{Handshake, NotOurProtocol, SelfDial, TooLarge, VersionMismatch};
    let other = session(config(Role::Initiator, 5)).poll_frame(Instant::ZERO).unwrap();
    let cases = [
        ("own frame", hello1(), SelfDial),
        ("the hello of another", other.to_vec(), Handshake),
        ("http", b"HTTP/1.1 400 Bad Request".to_vec(), NotOurProtocol),
        ("json", b"{}".to_vec(), NotOurProtocol),
        ("nothing", vec![], NotOurProtocol),
        ("unknown kind", vec![1, 6], NotOurProtocol),
        ("a proof", vec![1, 5], Handshake),
        ("other version", vec![2, 1, 7, 7], NotOurProtocol),
        ("refusal of another version", vec![2, 4, VersionMismatch as u8, 1, 2], VersionMismatch),
        ("cut refusal", vec![1, 4, 7, 2, 1], Handshake),
        ("message 3", [&[1, 2][..], &[7; 64]].concat(), Handshake),
        ("data", [&[1, 3][..], &[7; 64]].concat(), Handshake),
        ("garbage", [&[1, 1][..], &[7; 200]].concat(), Handshake),
        ("short garbage", vec![1, 1, 7], Handshake),
        ("low-order share", [&[1, 1][..], &[0; 200]].concat(), Handshake),
        ("too large", [&[1, 1][..], &[7; 1023]].concat(), TooLarge),
    ];
    for (name, frame, reason) in cases {
        let mut a = initiator();
        frames(&mut a, Instant::ZERO);
        assert_eq!(a.handle_frame(&Bytes::from(frame), Instant::ZERO), closed(reason), "{name}");
        assert_eq!(frames(&mut a, Instant::ZERO), Vec::<Bytes>::new(), "{name}");
    }
}

#[test]
fn b25_b27_what_a_responder_makes_of_the_second_frame() {
    use CloseReason::{Handshake, TooLarge};
    // Message 3 of an earlier session of the same initiator with the same responder, whose share was another.
    let replayed = {
        let mut earlier = config(Role::Responder, 2);
        earlier.ephemeral = [0x33; 32];
        let (mut a, mut b) = (initiator(), session(earlier));
        b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
        a.handle_frame(&b.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
        a.poll_frame(Instant::ZERO).unwrap().to_vec()
    };
    let cases = [
        ("message 1 again", hello1(), Handshake),
        ("message 3 of an earlier session", replayed, Handshake),
        ("data before the end", [&[1, 3][..], &[7; 64]].concat(), Handshake),
        ("other version", [&[2, 2][..], &[7; 64]].concat(), Handshake),
        ("nothing", vec![], Handshake),
        ("garbage", [&[1, 2][..], &[7; 180]].concat(), Handshake),
        ("too large", [&[1, 2][..], &[7; 1023]].concat(), TooLarge),
    ];
    for (name, frame, reason) in cases {
        let mut b = responder();
        b.handle_frame(&Bytes::from(hello1()), Instant::ZERO);
        frames(&mut b, Instant::ZERO);
        assert_eq!(b.handle_frame(&Bytes::from(frame), Instant::ZERO), closed(reason), "{name}");
        assert_eq!(frames(&mut b, Instant::ZERO), Vec::<Bytes>::new(), "{name}");
    }
}

/// Payloads with a flaw, each with what it leads to.
fn flawed_payloads(role: Role, own: u8) -> Vec<(&'static str, Vec<u8>, CloseReason)> {
    use CloseReason::{BadKey, Handshake, IdMismatch, IdentityInUse, SelfDial};
    let encode = |payload: &HandshakePayload| postcard::to_allocvec(payload).unwrap();
    let (network, key) = (NetworkId::default(), Forger::static_key());
    let good = Forger::payload(role);
    let of = |name, role, network: &_, key: &_| encode(&Forger::payload_of(name, role, network, key));
    let mut flipped = good.clone();
    flipped.signature[63] ^= 1;
    let mut weak = good.clone();
    weak.identity.0 = [0; 32];
    let mut stolen = good.clone();
    stolen.identity = peer(own);
    let mut itself = Forger::payload_of(own, role as u8, &network, &key);
    itself.instance = instance(own);
    let mut twin = itself.clone();
    twin.instance.session ^= 1;
    let encoded = encode(&good);
    let extensions = |count: u8| [&encoded[..encoded.len() - 1], &[count]].concat();
    vec![
        ("signature of the other role", of(FORGER, 1 - role as u8, &network, &key), BadKey),
        ("signature over another static key", of(FORGER, role as u8, &network, &[3; 32]), BadKey),
        (
            "signature for another network",
            of(FORGER, role as u8, &NetworkId::new("x").unwrap(), &key),
            BadKey,
        ),
        ("altered signature", encode(&flipped), BadKey),
        ("small-order identity", encode(&weak), BadKey),
        ("our identity without our key", encode(&stolen), BadKey),
        ("ourselves", encode(&itself), SelfDial),
        ("our identity elsewhere", encode(&twin), IdentityInUse),
        ("somebody else", of(8, role as u8, &network, &key), IdMismatch),
        ("no payload", vec![], Handshake),
        ("cut payload", encoded[..encoded.len() - 1].to_vec(), Handshake),
        ("trailing byte", [encoded.as_slice(), &[0]].concat(), Handshake),
        ("too many extensions", extensions(17), Handshake),
        ("missing extensions", extensions(1), Handshake),
    ]
}

#[test]
fn b19_b21_b23_b24_payloads_are_checked_at_both_ends() {
    for (role, session_role, own) in
        [(Role::Initiator, Role::Responder, 2), (Role::Responder, Role::Initiator, 1)]
    {
        for (name, payload, reason) in flawed_payloads(role, own) {
            let mut config = config(session_role, own);
            config.expected = Some(peer(FORGER));
            let events = Forger::new(role).meet(&mut session(config), &payload);
            assert_eq!(events, closed(reason), "{name} as {role:?}");
        }
        let mut payload = Forger::payload(role);
        let extension = Extension { tag: 7, value: vec![1, 2].into() };
        payload.extensions = Bounded::truncated([extension.clone()]);
        let mut session = session(config(session_role, own));
        let events = Forger::new(role).meet(&mut session, &postcard::to_allocvec(&payload).unwrap());
        let binding = *session.binding().unwrap();
        let SessionEvent::Established(mut expected) = established(FORGER, binding) else { unreachable!() };
        expected.extensions = vec![extension];
        assert_eq!(events, [SessionEvent::Established(expected)]);
    }
}

#[test]
fn b26_a_handshake_that_does_not_end_is_given_up() {
    let timeout = config(Role::Initiator, 1).link.handshake_timeout;
    for (end, cut) in [(A, [true, false]), (B, [false, true])] {
        let mut pair = Pair::new(config(Role::Initiator, 1), config(Role::Responder, 2));
        pair.cut = cut;
        pair.advance(timeout - Duration::from_micros(1));
        assert_eq!(pair.events, [vec![], vec![]]);
        pair.advance(Duration::from_micros(1));
        assert_eq!(pair.take_events(end), closed(CloseReason::HandshakeTimeout));
        assert_eq!(pair.ends[end].poll_timeout(), None);
    }
}

#[test]
fn b26_a_peer_far_out_has_time_for_each_of_its_messages() {
    let timeout = config(Role::Responder, 2).link.handshake_timeout;
    let last = timeout - Duration::from_micros(1);
    let (first, second) = (Instant::ZERO + last, Instant::ZERO + last + last);
    for arrives in [true, false] {
        let (mut a, mut b) = (initiator(), responder());
        b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), first);
        a.handle_frame(&b.poll_frame(first).unwrap(), Instant::ZERO);
        assert_eq!(b.handle_timeout(second), []);
        if arrives {
            b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), second);
            assert!(b.is_established());
        } else {
            assert_eq!(b.handle_timeout(first + timeout), closed(CloseReason::HandshakeTimeout));
        }
    }
}

#[test]
fn a_sleep_restarts_the_handshake_deadline() {
    let mut a = initiator();
    let awake = Instant::from_secs(1000);
    a.shift_liveness(awake);
    assert_eq!(a.handle_timeout(awake), []);
    assert_eq!(a.poll_timeout(), Some(awake + config(Role::Initiator, 1).link.handshake_timeout));
}

#[test]
fn any_altered_bit_of_the_handshake_keeps_the_responder_out() {
    // Message 1, 2 and 3 in turn.
    for altered in 0..3 {
        let length = [50, 300, 300][altered];
        for at in 0..length {
            let (mut a, mut b) = (initiator(), responder());
            let mut index = 0;
            let mut carry = |frame: Bytes| {
                let mut frame = frame.to_vec();
                if index == altered && at < frame.len() {
                    frame[at] ^= 1 << (at % 8);
                } else if index == altered {
                    frame.push(0);
                }
                index += 1;
                Bytes::from(frame)
            };
            let mut events = b.handle_frame(&carry(a.poll_frame(Instant::ZERO).unwrap()), Instant::ZERO);
            if let Some(frame) = b.poll_frame(Instant::ZERO) {
                events.extend(a.handle_frame(&carry(frame), Instant::ZERO));
            }
            if let Some(frame) = a.poll_frame(Instant::ZERO) {
                events.extend(b.handle_frame(&carry(frame), Instant::ZERO));
            }
            assert!(!b.is_established(), "message {altered}, byte {at}");
            assert!(matches!(events.last(), Some(SessionEvent::Closed(_))), "message {altered}, byte {at}");
            assert_eq!(a.is_established(), altered == 2, "message {altered}, byte {at}");
        }
    }
}

#[test]
fn a_queue_outlives_no_failed_handshake() {
    let mut b = responder();
    b.queue(Class::Bulk, text(b"for nobody"), Instant::ZERO).unwrap();
    b.handle_frame(&Bytes::from_static(b"{}"), Instant::ZERO);
    assert_eq!(b.queued_bytes(Class::Bulk), 0);
    let again = b.queue(Class::Control, text(b"x"), Instant::ZERO);
    assert_eq!(again, Err(crate::link::QueueError::Closed));
    assert_eq!(b.handle_frame(&frame::join(FrameKind::Hello1, &[]), Instant::ZERO), []);
}
