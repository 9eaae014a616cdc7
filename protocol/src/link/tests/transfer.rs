use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{A, B, Pair, config, crypto, message, text};
use crate::Instant;
use crate::crypto::Role;
use crate::link::{Class, Outgoing, QueueError, Sent, Session, SessionEvent};

/// A message that says its class and number, so that order and content show. The first byte is no ping or pong.
fn numbered(class: Class, number: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![100 + class as u8];
    bytes.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
    bytes.extend((0..len).map(|at| (at.wrapping_mul(31) ^ number) as u8));
    bytes
}

fn received(events: &[SessionEvent]) -> Vec<Vec<u8>> {
    let message = |event: &SessionEvent| {
        if let SessionEvent::Message(bytes) = event {
            return Some(bytes.to_vec());
        }
        assert!(matches!(event, SessionEvent::Progress { .. }), "unexpected {event:?}");
        None
    };
    events.iter().filter_map(message).collect()
}

fn of_class(messages: &[Vec<u8>], class: Class) -> Vec<Vec<u8>> {
    messages.iter().filter(|bytes| bytes[0] == 100 + class as u8).cloned().collect()
}

#[derive(Clone, Debug)]
enum Op {
    Queue { end: usize, class: Class, len: usize },
    Grant { end: usize, bytes: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop::sample::select(Class::ALL.to_vec());
    let len = prop_oneof![6 => 0..300_usize, 3 => 300..20_000_usize, 1 => 20_000..90_000_usize];
    let bytes = prop_oneof![0..400_usize, 400..40_000_usize];
    prop_oneof![
        (0..2_usize, class, len).prop_map(|(end, class, len)| Op::Queue { end, class, len }),
        (0..2_usize, bytes).prop_map(|(end, bytes)| Op::Grant { end, bytes }),
    ]
}

/// Two sessions that finished their handshake and have no credit left.
fn without_credit(max_frame: usize) -> [Session; 2] {
    let mut ends = [(Role::Initiator, 1), (Role::Responder, 2)].map(|(role, name)| {
        let mut config = config(role, name);
        config.max_frame = max_frame;
        Session::new(config, crypto(), Instant::ZERO)
    });
    for (from, to) in [(A, B), (B, A), (A, B)] {
        ends[from].grant(1024);
        let frame = ends[from].poll_frame(Instant::ZERO).unwrap();
        ends[to].handle_frame(&frame, Instant::ZERO);
    }
    assert!(ends.iter().all(Session::is_established));
    ends
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn messages_arrive_whole_and_in_the_order_of_their_class(
        ops in prop::collection::vec(op(), 1..60),
        max_frame in 1024..16_385_usize,
    ) {
        let mut ends = without_credit(max_frame);
        let mut queued = [Vec::new(), Vec::new()];
        let mut events = [Vec::new(), Vec::new()];
        let finally = [A, B].map(|end| Op::Grant { end, bytes: 20 << 20 });
        for (number, op) in ops.into_iter().chain(finally).enumerate() {
            let end = match op {
                Op::Queue { end, class, len } => {
                    let bytes = numbered(class, number, len);
                    let (head, body) = bytes.split_at(number % bytes.len());
                    let body = Bytes::copy_from_slice(body);
                    let token = Some(number as u64);
                    if ends[end].queue(class, Outgoing { head: head.to_vec(), body, token }, Instant::ZERO).is_ok() {
                        queued[end].push(bytes);
                    }
                    end
                }
                Op::Grant { end, bytes } => {
                    ends[end].grant(bytes);
                    end
                }
            };
            loop {
                let credit = ends[end].credit();
                let Some(frame) = ends[end].poll_frame(Instant::ZERO) else { break };
                prop_assert!(frame.len() <= max_frame);
                prop_assert_eq!(ends[end].credit() + frame.len(), credit);
                events[1 - end].extend(ends[1 - end].handle_frame(&frame, Instant::ZERO));
            }
        }
        for end in [A, B] {
            prop_assert!(ends[end].is_drained());
            prop_assert_eq!(ends[1 - end].reassembly_bytes(), 0);
            let arrived = received(&events[1 - end]);
            prop_assert_eq!(arrived.len(), queued[end].len());
            for class in Class::ALL {
                prop_assert_eq!(of_class(&arrived, class), of_class(&queued[end], class));
            }
            let done = |sent: &Sent| sent.sent == sent.total;
            prop_assert!(ends[end].take_sent().iter().all(done));
        }
    }
}

#[test]
fn control_overtakes_bulk_that_was_not_handed_over() {
    let [mut a, mut b] = without_credit(16 * 1024);
    a.queue(Class::Bulk, text(&[7; 1 << 20]), Instant::ZERO).unwrap();
    a.grant(40_000);
    let mut events = Vec::new();
    while let Some(frame) = a.poll_frame(Instant::ZERO) {
        events.extend(b.handle_frame(&frame, Instant::ZERO));
    }
    a.queue(Class::Control, text(b"urgent"), Instant::ZERO).unwrap();
    a.grant(2_000_000);
    let frame = a.poll_frame(Instant::ZERO).unwrap();
    assert_eq!(b.handle_frame(&frame, Instant::ZERO).first(), Some(&message(b"urgent")));
}

#[test]
fn credit_is_never_exceeded_and_little_is_not_wasted_on_fragments() {
    let [mut a, _] = without_credit(16 * 1024);
    let left = a.credit();
    a.queue(Class::Bulk, text(&[7; 100_000]), Instant::ZERO).unwrap();
    let mut granted = left;
    let mut used = 0;
    for _ in 0..100 {
        a.grant(97);
        granted += 97;
        while let Some(frame) = a.poll_frame(Instant::ZERO) {
            assert!(frame.len() >= 200, "{}", frame.len());
            used += frame.len();
        }
        assert_eq!(granted - used, a.credit());
    }
    assert!(granted - used < 256);
}

#[test]
fn a_frame_costs_little_more_than_its_messages() {
    let [mut a, _] = without_credit(16 * 1024);
    for _ in 0..100 {
        a.queue(Class::Small, text(&[7; 100]), Instant::ZERO).unwrap();
    }
    a.grant(1 << 20);
    assert_eq!(a.poll_frame(Instant::ZERO).map(|frame| frame.len()), Some(100 * (100 + 2) + 18));
    assert_eq!(a.poll_frame(Instant::ZERO), None);
}

#[test]
fn progress_is_reported_at_both_ends() {
    let mut pair = Pair::established();
    let bytes = vec![9; 600 * 1024];
    let outgoing = Outgoing { head: vec![9; 10], body: Bytes::from(bytes).slice(10..), token: Some(5) };
    pair.ends[A].queue(Class::Bulk, outgoing, pair.now).unwrap();
    let frame = pair.ends[A].poll_frame(pair.now).unwrap();
    let events = pair.ends[B].handle_frame(&frame, pair.now);
    // Overhead of the frame; tag and class, total, length.
    let first = 16 * 1024 - 18 - 2 - 3 - 2;
    assert_eq!(events, [SessionEvent::Progress { received: first, total: 600 * 1024 }]);
    assert_eq!(pair.ends[A].take_sent(), [Sent { token: 5, sent: first, total: 600 * 1024 }]);
    assert_eq!(pair.ends[A].queued_bytes(Class::Bulk), 600 * 1024 - first);
    pair.settle();
    let events = pair.take_events(B);
    let reports = events.iter().filter(|event| matches!(event, SessionEvent::Progress { .. })).count();
    assert_eq!((events.len(), reports), (3, 2), "two more reports and the message");
    assert_eq!(pair.ends[A].take_sent(), [Sent { token: 5, sent: 600 * 1024, total: 600 * 1024 }]);
    assert_eq!(pair.ends[A].take_sent(), []);
}

#[test]
fn each_class_has_its_own_bound() {
    let [mut a, _] = without_credit(16 * 1024);
    let link = config(Role::Initiator, 1).link;
    let now = Instant::ZERO;
    let full = vec![7; link.queue_bytes_max - 64];
    for class in [Class::Control, Class::Small] {
        assert_eq!(a.queue(class, text(&full), now), Ok(()));
        assert_eq!(a.queue(class, text(b"x"), now), Err(QueueError::Full));
    }
    let relayed = vec![7; config(Role::Initiator, 1).relay_bytes_max - 64];
    assert_eq!(a.queue(Class::Relay, text(&relayed), now), Ok(()));
    assert_eq!(a.queue(Class::Relay, text(b"x"), now), Err(QueueError::Full));
    let largest = Bytes::from(vec![7; link.message_bytes_max]);
    for _ in 0..10 {
        let shared = Outgoing { head: vec![], body: largest.clone(), token: None };
        assert_eq!(a.queue(Class::Bulk, shared, now), Ok(()));
    }
    let larger = Outgoing { head: vec![1], body: largest, token: None };
    assert_eq!(a.queue(Class::Bulk, larger, now), Err(QueueError::TooLarge));
    assert_eq!(a.queue(Class::Bulk, Outgoing::default(), now), Err(QueueError::Empty));
}

#[test]
fn after_a_purge_the_class_can_be_used_again() {
    let [mut a, mut b] = without_credit(16 * 1024);
    let partly = Outgoing { head: vec![], body: Bytes::from(vec![7; 50_000]), token: Some(1) };
    a.queue(Class::Bulk, partly, Instant::ZERO).unwrap();
    a.queue(Class::Small, Outgoing { token: Some(2), ..text(b"small") }, Instant::ZERO).unwrap();
    a.grant(20_000);
    let mut events = Vec::new();
    let mut carry = |a: &mut Session, b: &mut Session| {
        while let Some(frame) = a.poll_frame(Instant::ZERO) {
            events.extend(b.handle_frame(&frame, Instant::ZERO));
        }
    };
    carry(&mut a, &mut b);
    assert_eq!(b.reassembly_bytes(), 50_000);
    assert_eq!(a.purge_data(Instant::ZERO), [1]);
    assert!(!a.is_drained());
    a.queue(Class::Bulk, text(b"after"), Instant::ZERO).unwrap();
    a.grant(20_000);
    carry(&mut a, &mut b);
    assert_eq!(received(&events), [b"small".to_vec(), b"after".to_vec()]);
    assert_eq!((b.reassembly_bytes(), a.is_drained()), (0, true));
}
