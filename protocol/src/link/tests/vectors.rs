//! The frames of one link with the real provider, against a file that a second implementation can read.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;

use bytes::Bytes;

use super::pair::{A, B};
use crate::crypto::{Crypto, RealCrypto, Role};
use crate::link::frame;
use crate::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use crate::wire::Bounded;
use crate::{CloseReason, Config, Identity, Instance, Instant, NetworkId, PeerId, hex};

const FILE: &str = include_str!("../../../vectors/frames.txt");

fn config(role: Role, name: u8) -> SessionConfig {
    let Config { network, link, .. } = Config::client(NetworkId::default());
    SessionConfig {
        role,
        max_frame: 1024,
        frame_charge: 0,
        link: Arc::new(link),
        relay_bytes_max: 0,
        network,
        identity: Identity::from_seed([name; 32]),
        peer: PeerId(RealCrypto.public_key(&[name; 32])),
        instance: Instance { boot: 1_700_000_000_000 + u64::from(name), session: 0x1234_5678 },
        service: role == Role::Responder,
        static_secret: [name + 0x10; 32],
        ephemeral: [name + 0x20; 32],
        expected: None,
        secrecy: Secrecy::Noise,
        extensions: Bounded::default(),
    }
}

fn session(role: Role, name: u8) -> Session {
    let mut session = Session::new(config(role, name), Arc::new(RealCrypto), Instant::ZERO);
    session.grant(usize::MAX);
    session
}

/// What the initiator sends after the handshake, as (class, bytes).
fn messages() -> [(Class, Vec<u8>); 3] {
    let long = (0..1200).map(|at| if at == 0 { 240 } else { at as u8 }).collect();
    [(Class::Bulk, long), (Class::Small, b"\xf1small".to_vec()), (Class::Control, b"\xf2control".to_vec())]
}

/// All frames in the order of sending, with their names.
fn run() -> (Vec<(&'static str, Bytes)>, [Session; 2], Vec<SessionEvent>) {
    let mut ends = [session(Role::Initiator, 1), session(Role::Responder, 2)];
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    for (name, from) in [("hello1", A), ("hello2", B), ("hello3", A)] {
        let frame = ends[from].poll_frame(Instant::ZERO).unwrap();
        ends[1 - from].handle_frame(&frame, Instant::ZERO);
        frames.push((name, frame));
    }
    for (class, bytes) in messages() {
        ends[A].queue(class, Outgoing { head: bytes, ..Outgoing::default() }, Instant::ZERO).unwrap();
    }
    ends[A].probe(Instant::ZERO);
    for (name, from) in [("transport1", A), ("transport2", A), ("pong", B)] {
        let frame = ends[from].poll_frame(Instant::ZERO).unwrap();
        events.extend(ends[1 - from].handle_frame(&frame, Instant::ZERO));
        frames.push((name, frame));
    }
    frames.push(("refused_version", frame::refused(CloseReason::VersionMismatch)));
    (frames, ends, events)
}

fn text() -> String {
    let (frames, ends, _) = run();
    let mut out = String::new();
    let mut line = |name: &str, bytes: &[u8]| writeln!(out, "{name} = {}", hex(bytes)).unwrap();
    for (end, role, name) in [("initiator", Role::Initiator, 1), ("responder", Role::Responder, 2)] {
        let config = config(role, name);
        line(&[end, ".identity_secret"].concat(), config.identity.secret());
        line(&[end, ".static_secret"].concat(), &config.static_secret);
        line(&[end, ".ephemeral"].concat(), &config.ephemeral);
    }
    for (number, (_, bytes)) in messages().iter().enumerate() {
        line(["message_bulk", "message_small", "message_control"][number], bytes);
    }
    for (name, frame) in &frames {
        line(name, frame);
    }
    line("binding", ends[A].binding().unwrap());
    out
}

#[test]
fn frames_are_those_of_the_file() {
    let file: String = FILE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .flat_map(|line| [line, "\n"])
        .collect();
    let text = text();
    assert_eq!(file, text, "\n{text}");
}

#[test]
fn the_frames_mean_what_was_sent() {
    let (_, ends, events) = run();
    let [bulk, small, control] = messages().map(|(_, bytes)| SessionEvent::Message(Bytes::from(bytes)));
    assert_eq!(events, [control, small, bulk, SessionEvent::RoundTrip(core::time::Duration::ZERO)]);
    assert_eq!(ends[A].binding(), ends[B].binding());
    assert!(
        ends[A].peer().is_some_and(|peer| peer.service) && ends[B].peer().is_some_and(|peer| !peer.service)
    );
}
