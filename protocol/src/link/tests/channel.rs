//! Links whose carrier is secret itself: each end signs what both signalled, and frames pass as they are.

use bytes::Bytes;

use super::pair::*;
use crate::CloseReason;
use crate::crypto::{Role, signing_input};
use crate::link::frame::{self, FrameKind};
use crate::link::{Class, Secrecy, Session, SessionConfig, SessionEvent};
use crate::wire::Bounded;
use crate::wire::message::{Extension, HandshakePayload};
use crate::{Instant, NetworkId};

const TRANSCRIPT: [u8; 32] = [0x33; 32];

fn over_channel(role: Role, name: u8) -> SessionConfig {
    SessionConfig { secrecy: Secrecy::Carrier { transcript: TRANSCRIPT }, ..config(role, name) }
}

fn proof(name: u8, role: Role, kind: &str, transcript: [u8; 32]) -> Bytes {
    let input = signing_input(kind, &NetworkId::default(), &[&[role as u8], &transcript]);
    let payload = HandshakePayload {
        identity: peer(name),
        signature: crypto().sign(&[name; 32], &input),
        instance: instance(name),
        service: false,
        extensions: Bounded::default(),
    };
    frame::join(FrameKind::Proof, &[&postcard::to_allocvec(&payload).unwrap()])
}

#[test]
fn both_ends_prove_themselves_at_once_and_then_talk() {
    let said = Extension { tag: 1, value: Bytes::new() };
    let mut a = over_channel(Role::Initiator, 1);
    a.extensions = Bounded::truncated([said.clone()]);
    let mut pair = Pair::new(a, over_channel(Role::Responder, 2));
    assert!(pair.exchange(), "one flight");
    let [first, second] = [A, B].map(|end| pair.take_events(end));
    let [SessionEvent::Established(b)] = first.as_slice() else { panic!("{first:?}") };
    let [SessionEvent::Established(a)] = second.as_slice() else { panic!("{second:?}") };
    assert_eq!((b.id, b.binding, &b.extensions[..]), (peer(2), TRANSCRIPT, &[][..]));
    assert_eq!((a.id, a.binding, &a.extensions[..]), (peer(1), TRANSCRIPT, &[said][..]));
    assert_eq!(pair.ends[A].rtt(), None, "two proofs that cross measure nothing");
    pair.queue(A, Class::Small, b"hello");
    let frames = frames(&mut pair.ends[A], pair.now);
    assert!(frames[0].windows(5).any(|window| window == b"hello"), "the channel keeps it secret");
    assert_eq!(pair.ends[B].handle_frame(&frames[0], pair.now), [message(b"hello")]);
}

#[test]
fn nothing_passes_before_the_proof() {
    let mut a = session(over_channel(Role::Initiator, 1));
    a.queue(Class::Small, text(b"early"), Instant::ZERO).unwrap();
    assert_eq!(frames(&mut a, Instant::ZERO).len(), 1, "the own proof alone");
    let data = frame::join(FrameKind::Transport, &[&[1, 1, 7]]);
    assert_eq!(a.handle_frame(&data, Instant::ZERO), closed(CloseReason::Handshake));
}

#[test]
fn proofs_of_anything_else_are_refused() {
    let cases = [
        ("another transcript", proof(2, Role::Responder, "channel", [0x34; 32]), CloseReason::BadKey),
        ("the role of this end", proof(2, Role::Initiator, "channel", TRANSCRIPT), CloseReason::BadKey),
        (
            "a signature of a handshake",
            proof(2, Role::Responder, "handshake", TRANSCRIPT),
            CloseReason::BadKey,
        ),
        ("another peer", proof(3, Role::Responder, "channel", TRANSCRIPT), CloseReason::IdMismatch),
        ("this node itself", proof(1, Role::Responder, "channel", TRANSCRIPT), CloseReason::SelfDial),
        ("no payload", frame::join(FrameKind::Proof, &[]), CloseReason::Handshake),
        ("a hello", frame::join(FrameKind::Hello2, &[&[7; 200]]), CloseReason::Handshake),
        ("too much", frame::join(FrameKind::Proof, &[&[7; 1023]]), CloseReason::TooLarge),
        ("garbage", Bytes::from_static(b"{}"), CloseReason::Handshake),
    ];
    for (name, frame, reason) in cases {
        let mut config = over_channel(Role::Initiator, 1);
        config.expected = Some(peer(2));
        let mut a = session(config);
        let events = a.handle_frame(&frame, Instant::ZERO);
        assert_eq!(events, closed(reason), "{name}");
        assert!(a.is_closed());
    }
}

#[test]
fn a_proof_is_none_where_noise_is_wanted() {
    let mut b = responder();
    let events = b.handle_frame(&proof(1, Role::Initiator, "channel", TRANSCRIPT), Instant::ZERO);
    assert_eq!(events, closed(CloseReason::Handshake));
    assert!(Session::is_closed(&b));
}
