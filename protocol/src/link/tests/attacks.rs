//! Attacks on the handshake and on what follows it, by the numbers of `docs/security.md`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pair::{
    A, B, FORGER, Forger, Pair, closed, config, crypto, frames, initiator, message, peer, responder, session,
    text,
};
use crate::crypto::{Crypto, RealCrypto, Role, signing_input};
use crate::link::frame::{self, FrameKind};
use crate::link::{Class, Session, SessionConfig, SessionEvent};
use crate::wire::encode_body;
use crate::{CloseReason, Identity, Instant, NetworkId, PeerId};

const NOW: Instant = Instant::ZERO;

/// The frames of a whole handshake and of some messages after it, as somebody on the way sees them.
fn recorded() -> (Vec<Bytes>, Vec<Bytes>) {
    let (mut a, mut b) = (initiator(), responder());
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    a.queue(Class::Small, text(b"transfer a million"), NOW).unwrap();
    loop {
        let (to_b, to_a) = (frames(&mut a, NOW), frames(&mut b, NOW));
        if to_b.is_empty() && to_a.is_empty() {
            return (from_a, from_b);
        }
        to_b.iter().for_each(|frame| drop(b.handle_frame(frame, NOW)));
        to_a.iter().for_each(|frame| drop(a.handle_frame(frame, NOW)));
        from_a.extend(to_b);
        from_b.extend(to_a);
    }
}

#[test]
fn a02_challenge_relay() {
    // An honest initiator signs for the attacker, whom it dialled; the attacker takes that to somebody else.
    let mut honest = initiator();
    let preamble = frame::preamble(NetworkId::default().tag());
    let mut trap = crypto().handshake(Role::Responder, &[FORGER; 32], &[77; 32], &preamble);
    let hello1 = honest.poll_frame(NOW).unwrap();
    trap.read_message(&hello1[2 + preamble.len()..]).unwrap();
    let payload = encode_body(&Forger::payload(Role::Responder));
    let hello2 = trap.write_message(&payload).unwrap();
    let events = honest.handle_frame(&frame::join(FrameKind::Hello2, &[&hello2]), NOW);
    assert!(matches!(events.as_slice(), [SessionEvent::Established(_)]));
    let hello3 = honest.poll_frame(NOW).unwrap();
    let signed = trap.read_message(&hello3[2..]).unwrap();
    // Its signature is over the static key of that handshake, which the attacker cannot use.
    let events = Forger::new(Role::Initiator).meet(&mut responder(), &signed);
    assert_eq!(events, closed(CloseReason::BadKey));
}

#[test]
fn a03_noise_replay() {
    let (from_a, from_b) = recorded();
    let mut b = config(Role::Responder, 2);
    b.ephemeral = [0x99; 32];
    let mut b = session(b);
    let events: Vec<SessionEvent> = from_a.iter().flat_map(|frame| b.handle_frame(frame, NOW)).collect();
    assert_eq!(events, closed(CloseReason::Handshake), "a fresh share makes another key");
    let mut a = config(Role::Initiator, 1);
    a.ephemeral = [0x98; 32];
    let mut a = session(a);
    frames(&mut a, NOW);
    let events: Vec<SessionEvent> = from_b.iter().flat_map(|frame| a.handle_frame(frame, NOW)).collect();
    assert_eq!(events, closed(CloseReason::Handshake));
}

#[test]
fn a04_kci_with_a_stolen_key() {
    // The attacker has the identity key of B. With it B can be played, but nobody can be played towards B.
    let stolen = [2; 32];
    let input = signing_input("handshake", &NetworkId::default(), &[&[0], &Forger::static_key()]);
    let mut payload = Forger::payload(Role::Initiator);
    payload.identity = peer(1);
    payload.signature = crypto().sign(&stolen, &input);
    let events = Forger::new(Role::Initiator).meet(&mut responder(), &encode_body(&payload));
    assert_eq!(events, closed(CloseReason::BadKey));
    // Nor does the stolen identity, in another place, get past its owner.
    payload.identity = peer(2);
    payload.instance.session ^= 1;
    let events = Forger::new(Role::Initiator).meet(&mut responder(), &encode_body(&payload));
    assert_eq!(events, closed(CloseReason::IdentityInUse));
}

#[test]
fn a05_static_key_without_signature() {
    for signature in [[0; 64], [255; 64]] {
        let mut payload = Forger::payload(Role::Initiator);
        payload.signature = signature;
        let events = Forger::new(Role::Initiator).meet(&mut responder(), &encode_body(&payload));
        assert_eq!(events, closed(CloseReason::BadKey));
    }
    let whole = encode_body(&Forger::payload(Role::Initiator));
    // Identity alone: 33 bytes.
    let events = Forger::new(Role::Initiator).meet(&mut responder(), &whole[..33]);
    assert_eq!(events, closed(CloseReason::Handshake));
    let events = Forger::new(Role::Initiator).meet(&mut responder(), &[]);
    assert_eq!(events, closed(CloseReason::Handshake));
}

#[test]
fn a06_downgrade_of_version_or_pattern() {
    // Somebody on the way offers an older version beside ours: the preamble is the prologue, so nobody agrees.
    let (mut a, mut b) = (initiator(), responder());
    let hello1 = a.poll_frame(NOW).unwrap();
    let offered = [&hello1[..8], &[2, 1, 0], &hello1[10..]].concat();
    assert_eq!(b.handle_frame(&Bytes::from(offered), NOW), []);
    let hello2 = b.poll_frame(NOW).unwrap();
    assert_eq!(a.handle_frame(&hello2, NOW), closed(CloseReason::Handshake));
    // Or says that ours is not spoken: that ends the attempt, and there is no older version to fall back to.
    let mut a = initiator();
    frames(&mut a, NOW);
    let refusal = frame::refused(CloseReason::VersionMismatch);
    assert_eq!(a.handle_frame(&refusal, NOW), closed(CloseReason::VersionMismatch));
    assert_eq!(frames(&mut a, NOW), Vec::<Bytes>::new());
    // A handshake of fewer messages, as other patterns have, is none.
    let mut b = responder();
    let ik = [&hello1[..], &[7; 96]].concat();
    assert_eq!(b.handle_frame(&Bytes::from(ik), NOW), closed(CloseReason::Handshake));
}

#[test]
fn a07_tls_terminator_reads_and_alters() {
    let real: Arc<dyn Crypto> = Arc::new(RealCrypto);
    let end = |role, name: u8| {
        let identity = Identity::from_seed([name; 32]);
        let peer = PeerId(real.public_key(&[name; 32]));
        let mut end =
            Session::new(SessionConfig { identity, peer, ..config(role, name) }, Arc::clone(&real), NOW);
        end.grant(usize::MAX);
        end
    };
    let secret = b"read by nobody on the way";
    let (mut a, mut b) = (end(Role::Initiator, 1), end(Role::Responder, 2));
    a.queue(Class::Small, text(secret), NOW).unwrap();
    let (mut seen, mut heard) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        for frame in frames(&mut a, NOW) {
            heard.extend(b.handle_frame(&frame, NOW));
            seen.push(frame);
        }
        for frame in frames(&mut b, NOW) {
            a.handle_frame(&frame, NOW);
            seen.push(frame);
        }
    }
    assert!(heard.contains(&message(secret)));
    let name = real.public_key(&[1; 32]);
    let needles: [&[u8]; 2] = [secret, &name];
    for needle in needles {
        let shows = |frame: &Bytes| frame.windows(needle.len()).any(|part| part == needle);
        assert!(!seen.iter().any(shows), "neither what is said nor who speaks");
    }
    // What is altered on the way ends the link and is not delivered.
    a.queue(Class::Small, text(b"more"), NOW).unwrap();
    let mut altered = a.poll_frame(NOW).unwrap().to_vec();
    altered[5] ^= 1;
    assert_eq!(b.handle_frame(&Bytes::from(altered), NOW), closed(CloseReason::Decrypt));
}

#[test]
fn a09_unknown_key_share() {
    // The attacker, 9, passes the offer of 1 to 2 as its own. The channel then stands between 1 and 2, while either takes
    // it for one to 9: what both sign differs in the ids that it names.
    let channel = |role, name: u8, transcript: [u8; 32]| {
        let expected = Some(peer(FORGER));
        let secrecy = crate::link::Secrecy::Carrier { transcript };
        session(SessionConfig { secrecy, expected, ..config(role, name) })
    };
    let pairs =
        [([0x19; 32], [0x92; 32], CloseReason::BadKey), ([0x19; 32], [0x19; 32], CloseReason::IdMismatch)];
    for (of_1, of_2, reason) in pairs {
        let (mut a, mut b) = (channel(Role::Initiator, 1, of_1), channel(Role::Responder, 2, of_2));
        let (from_a, from_b) = (a.poll_frame(NOW).unwrap(), b.poll_frame(NOW).unwrap());
        assert_eq!(
            b.handle_frame(&from_a, NOW),
            closed(reason),
            "even with one transcript the signer is another"
        );
        assert_eq!(a.handle_frame(&from_b, NOW), closed(reason));
    }
}

#[test]
fn a46_frames_of_64_mib() {
    let huge = Bytes::from(alloc::vec![0x77; 64 * 1024 * 1024]);
    assert_eq!(responder().handle_frame(&huge, NOW), closed(CloseReason::NotOurProtocol));
    let mut preamble = recorded().0[0].to_vec();
    preamble.resize(64 * 1024 * 1024, 0);
    assert_eq!(responder().handle_frame(&Bytes::from(preamble), NOW), closed(CloseReason::TooLarge));
    let (mut forger, mut session) = Forger::established();
    let _ = forger.frame(&[]);
    let transport = frame::join(FrameKind::Transport, &[&huge]);
    assert_eq!(session.handle_frame(&transport, NOW), closed(CloseReason::TooLarge));
}

#[test]
fn b28_a_flipped_tag_ends_the_link_at_once() {
    let mut pair = Pair::established();
    pair.queue(A, Class::Small, b"first");
    let mut flipped = pair.ends[A].poll_frame(pair.now).unwrap().to_vec();
    *flipped.last_mut().unwrap() ^= 0x80;
    assert_eq!(pair.ends[B].handle_frame(&Bytes::from(flipped), pair.now), closed(CloseReason::Decrypt));
    // It is over: even the good frame is not taken any more, so no nonce is ever tried twice.
    pair.queue(A, Class::Small, b"second");
    let second = pair.ends[A].poll_frame(pair.now).unwrap();
    assert_eq!(pair.ends[B].handle_frame(&second, pair.now), []);
}
