//! What an application may not be told is noticed.

use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::wire::{self, message::RoomLeave};
use unamed_protocol::{Identity, MemberLeftReason};

use super::*;
use crate::outsider::{Guise, Outsider};
use crate::taint::Tagged;
use crate::{BookkeepingCrypto, SimulationConfig};

/// Two members of a room that see each other, and what the oracle made of it.
fn members() -> (Simulation, Oracle, [NodeIndex; 2], RoomIndex) {
    let mut sim = Simulation::new(SimulationConfig::new(1, Arc::new(BookkeepingCrypto::new())));
    let [service, a, b] = [sim.add_service(), sim.add_client(), sim.add_client()];
    let mut oracle = Oracle::new(&sim);
    let room = oracle.add_room(&sim, RoomKey::from_seed([1; 32]));
    sim.start(service, &[]);
    let pass = |sim: &mut Simulation, oracle: &mut Oracle, time| {
        let until = sim.now() + Duration::from_secs(time);
        sim.run_until(until);
        for told in sim.take_events() {
            oracle.observe(sim, &told);
        }
    };
    pass(&mut sim, &mut oracle, 5);
    for node in [a, b] {
        sim.start(node, &[service]);
        pass(&mut sim, &mut oracle, 5);
        oracle.join(&mut sim, node, room);
        pass(&mut sim, &mut oracle, 10);
    }
    assert_eq!(sim.violations().count(), 0, "{:?}", sim.violations().first());
    (sim, oracle, [a, b], room)
}

/// Told this, the first of two members has reason to complain.
#[track_caller]
fn wrong(sentence: &str, event: impl FnOnce(&Simulation, RoomId, [PeerId; 2]) -> Event) {
    let (mut sim, mut oracle, [a, b], room) = members();
    let id = oracle.room_id(room);
    let event = event(&sim, id, [sim.peer_id(a), sim.peer_id(b)]);
    let at = sim.now();
    oracle.observe(&mut sim, &NodeEvent { at, node: a, event });
    let said = format!("{:?}", sim.violations().first());
    assert!(sim.violations().count() == 1 && said.contains(sentence), "{sentence}: {said}");
}

#[test]
fn events_that_are_not_paired_are_seen() {
    wrong("who was there", |_, room, [_, b]| Event::MemberJoined { room, peer: b, data: Bytes::new() });
    let stranger = PeerId([9; 32]);
    let reason = MemberLeftReason::Lost;
    wrong("who was not there", |_, room, _| Event::MemberLeft { room, peer: stranger, reason });
    let elsewhere = RoomId([9; 32]);
    wrong("without having joined", |_, _, [_, b]| Event::MemberLeft { room: elsewhere, peer: b, reason });
    wrong("without having joined", |_, _, [_, b]| Event::MemberJoined {
        room: elsewhere,
        peer: b,
        data: Bytes::new(),
    });
    wrong("told twice that it joined", |_, room, _| Event::RoomJoined { room, outcome: JoinOutcome::Alone });
    wrong("without having asked", |_, _, _| Event::RoomJoined {
        room: elsewhere,
        outcome: JoinOutcome::Alone,
    });
    wrong("its identity is in use", |_, _, _| Event::IdentityInUse { told_by: None });
    wrong("its identity is in use", |_, _, [_, b]| Event::IdentityInUse { told_by: Some(b) });
}

#[test]
fn members_who_never_asked_to_join_are_seen() {
    let data = Bytes::new();
    wrong("never asked to join", |sim, room, _| Event::MemberJoined {
        room,
        peer: sim.peer_id(NodeIndex(0)),
        data,
    });
}

#[test]
fn a_ban_of_somebody_honest_is_seen() {
    let mut sim = Simulation::new(SimulationConfig::new(1, Arc::new(BookkeepingCrypto::new())));
    let identity = Identity::from_seed([7; 32]);
    let [banning, banned] = [sim.add_service(), sim.add_service_as(identity.clone())];
    let oracle = Oracle::new(&sim);
    sim.start(banning, &[]);
    // In the place of the second node somebody else says what does not decode.
    let mut cut = wire::Message::RoomLeave(RoomLeave { room: RoomId([9; 32]) }).encode();
    cut.pop();
    let guise = Guise::new(identity, sim.config().crypto.as_ref());
    let mut twin = Outsider::dial(&mut sim, banning, None, guise);
    for _ in 0..100 {
        let until = sim.now() + Duration::from_millis(100);
        sim.run_until(until);
        twin.listen(&mut sim);
        twin.queue(&sim, cut.clone());
        twin.speak(&mut sim);
    }
    oracle.check_bans(&mut sim, |node| node != banned);
    assert_eq!(sim.violations().count(), 0, "it is none of the honest ones");
    oracle.check_bans(&mut sim, |_| true);
    let said = format!("{:?}", sim.violations().first());
    assert!(sim.violations().count() == 1 && said.contains("which did nothing"), "{said}");
}

#[test]
fn messages_that_nobody_sent_and_finds_that_nobody_asked_for_are_seen() {
    wrong("was delivered and never sent", |_, room, [_, from]| {
        let id = MessageId([9; 32]);
        Event::Message(Message { room, from, id, directed: false, payload: Bytes::from_static(b"x") })
    });
    wrong("ended and was not open", |_, room, _| {
        Event::FindFinished(FindReport {
            request: RequestId(1),
            room,
            attempts: 1,
            route: Vec::new(),
            members: Vec::new(),
            elapsed: Duration::ZERO,
        })
    });
}

#[test]
fn a_message_that_is_not_what_was_sent_or_not_for_its_receiver_is_seen() {
    type Spoil = fn(&mut Message);
    let flaws: [(&str, Spoil); 3] = [
        ("has another author or room", |message| message.from = PeerId([9; 32])),
        ("has another content", |message| message.payload = Bytes::from_static(b"x")),
        ("has another content", |message| message.directed = true),
    ];
    for (sentence, spoil) in flaws {
        let (mut sim, mut oracle, [a, b], room) = members();
        oracle.broadcast(&mut sim, a, room, 40, None);
        let until = sim.now() + Duration::from_secs(2);
        sim.run_until(until);
        let told = sim.take_events();
        let delivered =
            told.into_iter().find(|told| matches!(told.event, Event::Message(_)) && told.node == b);
        let mut delivered = delivered.expect("it arrives");
        if let Event::Message(message) = &mut delivered.event {
            spoil(message);
        }
        oracle.observe(&mut sim, &delivered);
        let said = format!("{:?}", sim.violations().first());
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
}

#[test]
fn what_is_read_by_those_who_may_not_is_seen() {
    let (mut sim, mut oracle, [a, b], room) = members();
    oracle.broadcast(&mut sim, a, room, 40, None);
    let pass = |sim: &mut Simulation, oracle: &Oracle| {
        let until = sim.now() + Duration::from_secs(2);
        sim.run_until(until);
        oracle.check_readings(sim);
        sim.violations().count()
    };
    assert_eq!(pass(&mut sim, &oracle), 0, "{:?}", sim.violations().first());
    // Members of the one room are told what was said in another, and a key.
    let other = oracle.add_room(&sim, RoomKey::from_seed([2; 32]));
    let leak = Tagged { author: 0, room: other.0, place: 0 }.payload(100);
    let id = oracle.room_id(room);
    for payload in [leak.clone(), Bytes::copy_from_slice(&[2; 32])] {
        let said = sim
            .command(a, |running, now| running.broadcast(id, payload, unamed_protocol::Recipients::All, now));
        assert!(matches!(said, Some(Ok(_))));
        pass(&mut sim, &oracle);
    }
    // And something goes over a wire that is not enciphered.
    let wire = sim.open_raw(NodeIndex(0));
    pass(&mut sim, &oracle);
    sim.raw_send(wire, leak);
    pass(&mut sim, &oracle);
    let said: Vec<String> = sim.violations().first().iter().map(|violation| violation.text.clone()).collect();
    let expected = [
        "reads what was said in room 1, in which it never was",
        "the key of a room came to it",
        "a payload stands open on the wire to it",
    ];
    assert_eq!(said, expected);
    assert_eq!(sim.violations().first()[0].node, b);
}
