use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pair::{A, B, Forger, Pair, closed, frames, message, text};
use crate::link::fragment::{FIRST, MORE, WHOLE};
use crate::link::frame::{self, FrameKind};
use crate::link::{Class, QueueError, Session, SessionEvent};
use crate::wire::message::kind;
use crate::{CloseReason, Instant};

fn at_session(session: &mut Session, frame: &Bytes) -> Vec<SessionEvent> {
    session.handle_frame(frame, Instant::ZERO)
}

#[test]
fn a54_chunks_that_break_the_rules_close_the_session() {
    use CloseReason::{TooLarge, Violation};
    let cases: [(&str, &[u8], CloseReason); 11] = [
        ("nothing", &[], Violation),
        ("unknown chunk", &[9], Violation),
        ("more without first", &[MORE, 3, 1, 7], Violation),
        ("empty more", &[MORE, 3, 0], Violation),
        // 64 MiB announced by a frame of seven bytes.
        ("huge total", &[FIRST, 3, 0x80, 0x80, 0x80, 0x20, 1, 7], TooLarge),
        ("huge length", &[WHOLE, 0xff, 0xff, 0xff, 0xff, 0x0f, 7], Violation),
        ("unknown class", &[FIRST, 4, 9, 1, 7], Violation),
        ("ping without token", &[WHOLE, 1, kind::PING], Violation),
        ("ping with more", &[WHOLE, 3, kind::PING, 1, 1], Violation),
        ("pong without token", &[WHOLE, 1, kind::PONG], Violation),
        (
            "token of eleven bytes",
            &[WHOLE, 12, kind::PONG, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            Violation,
        ),
    ];
    for (name, plaintext, reason) in cases {
        let (mut forger, mut session) = Forger::established();
        let frame = forger.frame(plaintext);
        assert_eq!(at_session(&mut session, &frame), closed(reason), "{name}");
        assert!(session.is_closed() && session.poll_timeout().is_none(), "{name}");
    }
}

#[test]
fn what_came_before_a_violation_is_delivered_and_nothing_after() {
    let (mut forger, mut session) = Forger::established();
    let frame = forger.frame(&[WHOLE, 2, 100, 1, WHOLE, 0, WHOLE, 2, 100, 2]);
    let expected = [message(&[100, 1]), SessionEvent::Closed(CloseReason::Violation)];
    assert_eq!(at_session(&mut session, &frame), expected);
    let next = forger.frame(&[WHOLE, 2, 100, 3]);
    assert_eq!(at_session(&mut session, &next), []);
}

#[test]
fn frames_of_the_wrong_shape_close_the_session() {
    use CloseReason::{Decrypt, TooLarge, Violation};
    let hello = frame::join(FrameKind::Hello1, &[&[7; 40]]);
    let cases = [
        ("nothing", Bytes::new(), Violation),
        ("version only", Bytes::from_static(&[1]), Violation),
        ("version 2", Bytes::from_static(&[2, 3, 7, 7]), Violation),
        ("unknown kind", Bytes::from_static(&[1, 9, 7]), Violation),
        ("hello again", hello, Violation),
        ("no ciphertext", Bytes::from_static(&[1, 3]), Decrypt),
        ("less than a tag", frame::join(FrameKind::Transport, &[&[7; 15]]), Decrypt),
        ("garbage", frame::join(FrameKind::Transport, &[&[7; 100]]), Decrypt),
        ("too large", frame::join(FrameKind::Transport, &[&[7; 16 * 1024 - 1]]), TooLarge),
    ];
    for (name, frame, reason) in cases {
        let (_, mut session) = Forger::established();
        assert_eq!(at_session(&mut session, &frame), closed(reason), "{name}");
    }
}

#[test]
fn altered_cut_repeated_and_swapped_frames_do_not_pass() {
    let honest = || {
        let mut pair = Pair::established();
        pair.queue(A, Class::Small, b"first");
        let first = pair.ends[A].poll_frame(pair.now).unwrap();
        pair.queue(A, Class::Small, b"second");
        let second = pair.ends[A].poll_frame(pair.now).unwrap();
        let [_, b] = pair.ends;
        (b, first, second)
    };
    let (_, first, _) = honest();
    for at in 0..first.len() {
        let mut altered = first.to_vec();
        altered[at] ^= 0x10;
        let (mut b, _, _) = honest();
        let reason = if at < 2 { CloseReason::Violation } else { CloseReason::Decrypt };
        assert_eq!(at_session(&mut b, &Bytes::from(altered)), closed(reason), "byte {at}");
        let (mut b, _, _) = honest();
        assert_eq!(at_session(&mut b, &first.slice(..at)), closed(reason), "prefix of {at}");
    }
    let (mut b, first, _) = honest();
    assert_eq!(at_session(&mut b, &first), [message(b"first")]);
    assert_eq!(at_session(&mut b, &first), closed(CloseReason::Decrypt), "repeated");
    let (mut b, _, second) = honest();
    assert_eq!(at_session(&mut b, &second), closed(CloseReason::Decrypt), "one left out");
    let (mut b, _, _) = honest();
    let frame = Forger::established().0.frame(&[WHOLE, 1, 100]);
    assert_eq!(at_session(&mut b, &frame), closed(CloseReason::Decrypt), "of another link");
}

#[test]
fn a47_a_flood_of_tiny_fragments_costs_a_frame_each_and_holds_little() {
    let (mut forger, mut session) = Forger::established();
    // 100,000 bytes announced, one at a time.
    let frame = forger.frame(&[FIRST, 3, 0xa0, 0x8d, 0x06, 1, 100]);
    let progress = SessionEvent::Progress { received: 1, total: 100_000 };
    assert_eq!(at_session(&mut session, &frame), [progress]);
    for _ in 0..99_000 {
        let frame = forger.frame(&[MORE, 3, 1, 7]);
        assert_eq!(at_session(&mut session, &frame), []);
    }
    assert_eq!(session.reassembly_bytes(), 100_000);
    let frame = forger.frame(&[MORE, 3, 1, 7].repeat(2));
    assert_eq!(at_session(&mut session, &frame), closed(CloseReason::Violation));
}

#[test]
fn b83_partial_messages_of_all_classes_share_one_bound() {
    let (mut forger, mut session) = Forger::established();
    // 16 MiB each.
    let first = |class| [FIRST, class, 0x80, 0x80, 0x80, 0x08, 1, 100];
    let frame = forger.frame(&first(1));
    assert_eq!(at_session(&mut session, &frame).len(), 1);
    let frame = forger.frame(&first(3));
    assert_eq!(at_session(&mut session, &frame), closed(CloseReason::TooLarge));
}

#[test]
fn a48_a_ping_flood_leaves_one_pong_and_no_queue() {
    let (mut forger, mut session) = Forger::established();
    let pings = [WHOLE, 2, kind::PING, 1].repeat(4000);
    for _ in 0..25 {
        let frame = forger.frame(&pings);
        assert_eq!(at_session(&mut session, &frame), []);
    }
    let frame = forger.frame(&[WHOLE, 2, kind::PING, 99]);
    at_session(&mut session, &frame);
    assert_eq!(Class::ALL.map(|class| session.queued_bytes(class)), [0; 4]);
    let answers = frames(&mut session, Instant::ZERO);
    assert_eq!(answers.iter().map(Bytes::len).collect::<Vec<_>>(), [2 + 4 + 16]);
}

#[test]
fn a_closed_session_still_says_goodbye_and_no_more() {
    let (mut forger, mut session) = Forger::established();
    session.queue(Class::Bulk, text(&[7; 1000]), Instant::ZERO).unwrap();
    let frame = forger.frame(&[9]);
    assert_eq!(at_session(&mut session, &frame), closed(CloseReason::Violation));
    assert_eq!(session.queue(Class::Small, text(b"x"), Instant::ZERO), Err(QueueError::Closed));
    assert_eq!(session.queue(Class::Control, text(b"goodbye"), Instant::ZERO), Ok(()));
    let sent = frames(&mut session, Instant::ZERO);
    assert_eq!(sent.iter().map(Bytes::len).collect::<Vec<_>>(), [2 + 2 + 7 + 16]);
    assert!(session.is_drained());
    assert_eq!(session.handle_timeout(Instant::from_secs(1000)), []);
}

#[test]
fn closing_does_not_confuse_the_peer_with_half_a_message() {
    let mut pair = Pair::established();
    pair.queue(A, Class::Bulk, &vec![7; 100_000]);
    let partly = pair.ends[A].poll_frame(pair.now).unwrap();
    pair.ends[B].handle_frame(&partly, pair.now);
    pair.ends[A].handle_frame(&Bytes::from_static(b"garbage"), pair.now);
    pair.queue(A, Class::Control, b"goodbye");
    pair.settle();
    assert_eq!(pair.take_events(B), [message(b"goodbye")]);
    assert_eq!(pair.ends[B].reassembly_bytes(), 0);
}
