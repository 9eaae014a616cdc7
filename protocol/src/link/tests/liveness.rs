use alloc::sync::Arc;
use alloc::vec;
use core::time::Duration;

use super::pair::{A, B, Pair, closed, config, crypto, message, responder, text};
use crate::crypto::Role;
use crate::link::{Class, Outgoing, Session, SessionEvent};
use crate::{CloseReason, Instant};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn services(a: bool, b: bool) -> Pair {
    let (mut first, mut second) = (config(Role::Initiator, 1), config(Role::Responder, 2));
    (first.service, second.service) = (a, b);
    Pair::established_from(first, second)
}

#[test]
fn an_idle_link_lives_on_a_ping_a_period() {
    let mut pair = Pair::established();
    pair.latency = Duration::from_millis(25);
    let before = pair.sent;
    pair.advance(secs(600));
    assert!(pair.ends.iter().all(Session::is_established));
    let sent = [pair.sent[A] - before[A], pair.sent[B] - before[B]];
    // Both ends ping at the same moment every 15 s, and each answers the other.
    assert_eq!(sent, [78, 78]);
    let trips = pair.take_events(A);
    assert_eq!(trips, vec![SessionEvent::RoundTrip(Duration::from_millis(50)); 39]);
}

#[test]
fn silence_is_noticed_sooner_between_service_nodes() {
    for (a, b, after) in [(true, true, 10), (true, false, 30), (false, true, 30), (false, false, 30)] {
        let mut pair = services(a, b);
        pair.advance(secs(3));
        // Only one direction breaks: `A` still hears `B` until `B` gives up.
        pair.cut[A] = true;
        pair.advance(secs(after - 3) - Duration::from_micros(1));
        assert!(pair.ends[B].is_established());
        pair.advance(Duration::from_micros(1));
        assert_eq!(pair.take_events(B), closed(CloseReason::Silent));
        assert_eq!(pair.ends[B].last_heard(), Some(Instant::ZERO));
    }
}

#[test]
fn any_message_counts_as_life() {
    let mut deaf = config(Role::Initiator, 1);
    Arc::make_mut(&mut deaf.link).silence_client = secs(1000);
    let mut pair = Pair::established_from(deaf, config(Role::Responder, 2));
    pair.cut[B] = true;
    for _ in 0..10 {
        pair.advance(secs(14));
        pair.queue(A, Class::Small, b"here");
        pair.settle();
    }
    assert!(pair.ends[B].is_established());
    assert_eq!(pair.ends[B].last_heard(), Some(Instant::from_secs(140)));
}

#[test]
fn a_probe_is_answered_at_once() {
    let mut pair = Pair::established();
    pair.latency = Duration::from_millis(70);
    pair.ends[A].probe(pair.now);
    pair.ends[A].probe(pair.now);
    pair.settle();
    assert_eq!(pair.take_events(A), [SessionEvent::RoundTrip(Duration::from_millis(140))]);
    assert_eq!(pair.ends[A].rtt(), Some(Duration::from_micros(17_500)), "an eighth of 140 ms");
}

#[test]
fn a_sleep_is_not_silence() {
    let mut pair = Pair::established();
    let awake = Instant::from_secs(7200);
    pair.ends[A].shift_liveness(awake);
    pair.ends[A].probe(awake);
    assert_eq!(pair.ends[A].handle_timeout(awake), []);
    assert_eq!(pair.ends[A].last_heard(), Some(Instant::ZERO));
    pair.cut[B] = true;
    pair.now = awake;
    pair.advance(secs(30));
    assert_eq!(pair.take_events(A), closed(CloseReason::Silent));
}

/// A pair whose `A` has no credit left.
fn stuck() -> Pair {
    let mut pair = Pair::established();
    let mut first = config(Role::Initiator, 1);
    Arc::make_mut(&mut first.link).silence_client = secs(1000);
    let mut a = Session::new(first, crypto(), Instant::ZERO);
    let mut b = responder();
    a.grant(2048);
    b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    a.handle_frame(&b.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    a.queue(Class::Control, text(&vec![7; a.credit() - 18 - 3]), Instant::ZERO).unwrap();
    b.handle_frame(&a.poll_frame(Instant::ZERO).unwrap(), Instant::ZERO);
    assert_eq!((a.credit(), a.is_drained()), (0, true));
    pair.ends = [a, b];
    pair
}

#[test]
fn a_peer_that_does_not_read_loses_data_first_and_then_its_link() {
    let mut pair = stuck();
    pair.now = Instant::from_secs(1);
    pair.queue(A, Class::Control, b"control");
    let bulk = Outgoing { token: Some(3), ..text(&[7; 5000]) };
    pair.ends[A].queue(Class::Bulk, bulk, pair.now).unwrap();
    let small = Outgoing { token: Some(4), ..text(b"small") };
    pair.ends[A].queue(Class::Small, small, pair.now).unwrap();
    pair.advance(secs(10) - Duration::from_micros(1));
    assert_eq!(pair.take_events(A), []);
    pair.advance(Duration::from_micros(1));
    let dropped = SessionEvent::DataDropped { bytes: 5005, tokens: vec![4, 3] };
    assert_eq!(pair.take_events(A), [dropped]);
    pair.advance(secs(10));
    assert_eq!(pair.take_events(A), closed(CloseReason::SlowReader));
}

#[test]
fn a_frame_in_time_ends_a_stall() {
    let mut pair = stuck();
    pair.queue(A, Class::Small, &[7; 3000]);
    for _ in 0..6 {
        pair.advance(secs(9));
        pair.ends[A].grant(300);
        pair.settle();
    }
    let harmless = |event: &SessionEvent| matches!(event, SessionEvent::RoundTrip(_));
    assert!(pair.take_events(A).iter().all(harmless));
    pair.ends[A].grant(10_000);
    pair.settle();
    assert!(pair.ends[A].is_drained());
    assert_eq!(pair.take_events(B), [message(&[7; 3000])]);
}

#[test]
fn nothing_queued_is_no_stall() {
    let mut pair = stuck();
    pair.ends[B].probe(pair.now);
    pair.ends[A].grant(22);
    pair.settle();
    pair.take_events(B);
    pair.advance(secs(14));
    assert_eq!(pair.take_events(A), []);
}
