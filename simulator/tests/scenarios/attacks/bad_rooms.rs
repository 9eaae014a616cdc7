//! Bad inputs about rooms, rows 45 to 60: what is sent, which counter of the receiver shows it, and how often.

use bytes::Bytes;
use unamed_protocol::rooms::outbox::stream_id;
use unamed_protocol::wire::message::{Announce, Header, Pull, RoomClaims, RoomLeave, RoomProof, StreamMarks};
use unamed_protocol::wire::{Bounded, Message, RoomMessage};
use unamed_protocol::{BroadcastError, MessageId, PeerId, Recipients, RoomError, RoomKey};

use super::bad_routing::{Row, play};
use super::intruder::{Intruder, Persona, S, crypto, lenient, network, unix_ms};
use crate::dsl::{World, key, ms, secs};

/// A service node in rooms 1 and 2, another one in room 1, and an intruder that has proved nothing.
fn stage() -> (World, Intruder) {
    let mut world = World::with(2, lenient);
    world.service_members(1, [0, 1]);
    world.join(S, 2);
    world.pass(secs(5));
    let me = Persona::client(&world, 1);
    let intruder = Intruder::dial(&mut world, S, me);
    (world, intruder)
}

fn proofs(world: &World, intruder: &Intruder) -> Vec<Row> {
    let good = intruder.proof(world, 1);
    let proof = |change: &dyn Fn(&mut RoomProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        Message::RoomProof(proof).encode()
    };
    let other = Persona::client(world, 9);
    let cases: [(&'static str, Vec<u8>); 7] = [
        ("b45 no signature", proof(&|proof| proof.signature = [0; 64])),
        ("b45 a wrong signature", proof(&|proof| proof.signature[5] ^= 1)),
        ("b45 the claim of another", proof(&|proof| proof.claim = other.claim(world, 1).bytes().clone())),
        ("b45 no claim", proof(&|proof| proof.claim = Bytes::new())),
        (
            "b45 a claim of another room",
            proof(&|proof| proof.claim = intruder.me.claim(world, 2).bytes().clone()),
        ),
        (
            "b47 a proof of one room for another",
            proof(&|proof| proof.room_key = crypto(world).public_key(key(2).secret())),
        ),
        (
            "b47 a proof of another link",
            Message::RoomProof(intruder.proof_bound_to(world, 1, &[7; 32])).encode(),
        ),
    ];
    let unknown = Message::RoomProof(intruder.proof(world, 3)).encode();
    let mut rows: Vec<Row> =
        cases.into_iter().map(|(name, bytes)| (name, vec![bytes], "room_proofs_invalid", 1)).collect();
    rows.push(("b45 a room that the node is not in", vec![unknown], "room_proofs_for_other_rooms", 1));
    rows
}

/// All kinds of room messages, by one who is no member.
fn from_outside(world: &World, intruder: &Intruder) -> Vec<Row> {
    let room = world.room(1);
    let messages = Bounded::truncated([MessageId([1; 32])]);
    let claims = Bounded::truncated([intruder.me.claim(world, 1).bytes().clone()]);
    let all = vec![
        Message::RoomMessage(intruder.me.message(world, 1, 0, "let me in")).encode(),
        Message::RoomMessage(intruder.me.message(world, 3, 0, "what room")).encode(),
        Message::RoomClaims(RoomClaims { room, joined_s: 9, claims }).encode(),
        Message::Announce(Announce { room, messages: messages.clone() }).encode(),
        Message::Pull(Pull { room, messages }).encode(),
        Message::StreamMarks(StreamMarks { room, marks: Bounded::default() }).encode(),
        Message::RoomLeave(RoomLeave { room }).encode(),
    ];
    let count = all.len() as u64;
    vec![("b45 b52 b53 all without a proof", all, "room_messages_from_non_members", count)]
}

#[test]
fn bad_input_45_to_53_outsiders_are_not_heard() {
    let (mut world, mut intruder) = stage();
    world.forget();
    let rows = [proofs(&world, &intruder), from_outside(&world, &intruder)].concat();
    play(&mut world, &mut intruder, rows);
    for room in [1, 2, 3] {
        assert_eq!(world.story(S, room), Vec::<String>::new(), "room {room}");
    }
}

fn by_member(world: &World, intruder: &Intruder) -> Vec<Row> {
    let (room, me, node) = (world.room(1), &intruder.me, world.sim.peer_id(S));
    let said = |message: RoomMessage| Message::RoomMessage(message).encode();
    let with = |change: &dyn Fn(&mut Header)| said(me.message_with(world, 1, "x", |header| change(header)));
    let to = |recipients: Vec<PeerId>| {
        with(&|header| {
            header.recipients = Bounded::ascending(recipients.clone()).expect("few");
            header.stream = stream_id(&header.recipients);
        })
    };
    let good = me.message(world, 1, 0, "x");
    let trailing = RoomMessage { header: [&good.header[..], &[0]].concat().into(), ..good };
    let claims = |who: Vec<Bytes>| {
        Message::RoomClaims(RoomClaims { room, joined_s: 9, claims: Bounded::truncated(who) }).encode()
    };
    let own = me.claim(world, 1).bytes().clone();
    let mut hundred_thousand = claims(Vec::new());
    // The count of the list is the last byte; 100,000 in its place.
    hundred_thousand.pop();
    hundred_thousand.extend([0xa0, 0x8d, 0x06]);
    vec![
        ("b50 a member list of 100,000", vec![hundred_thousand], "messages_undecodable", 1),
        ("b51 the sender itself, four times", vec![claims(vec![own; 4])], "claims_invalid", 0),
        (
            "b53 author is no member",
            vec![said(Persona::client(world, 9).message(world, 1, 0, "x"))],
            "room_messages_invalid",
            1,
        ),
        (
            "b54 author is the receiver",
            vec![with(&|header| header.author = node)],
            "room_messages_invalid",
            1,
        ),
        (
            "b54 another run of the author",
            vec![with(&|header| header.instance.boot = 8)],
            "room_messages_invalid",
            1,
        ),
        ("b55 the largest number", vec![with(&|header| header.sequence = u64::MAX)], "queue_overflows", 1),
        ("b56 a header that does not decode", vec![said(trailing)], "room_messages_invalid", 1),
        ("b56 to others", vec![to(vec![PeerId([3; 32])])], "room_messages_invalid", 1),
        (
            "b56 another stream than that of the recipients",
            vec![with(&|header| header.stream = 5)],
            "room_messages_invalid",
            1,
        ),
        ("b56 sealed to nobody", vec![with(&|header| header.sealed = true)], "room_messages_invalid", 1),
        (
            "b57 another body than the header says",
            vec![with(&|header| header.body_hash = [1; 32])],
            "room_messages_invalid",
            1,
        ),
        (
            "b55 number 0, b57 an empty body",
            vec![said(me.message(world, 1, 0, ""))],
            "room_messages_delivered",
            1,
        ),
        ("b58 the same number, two bodies", vec![said(me.message(world, 1, 0, "y"))], "equivocations", 1),
        ("b55 a number again", vec![said(me.message(world, 1, 0, ""))], "room_messages_duplicate", 1),
    ]
}

#[test]
fn bad_input_50_to_58_members_are_held_to_the_rules() {
    let (mut world, mut intruder) = stage();
    intruder.enter(&mut world, 1);
    world.forget();
    let rows = by_member(&world, &intruder);
    play(&mut world, &mut intruder, rows);
    assert_eq!(world.story(S, 1), ["a stranger: "], "the empty message, once");
}

#[test]
fn bad_input_49_the_33rd_room_of_one_peer_is_not_held() {
    let mut world = World::new(1);
    let me = Persona::client(&world, 1);
    let mut greedy = Intruder::dial(&mut world, S, me);
    let (crypto, network) = (crypto(&world), network());
    for number in 0..33_u8 {
        let terms = unamed_protocol::wire::ClaimTerms {
            homes: vec![world.sim.peer_id(S)],
            replica: 0,
            issued_ms: unix_ms(&world),
            expiry_ms: unix_ms(&world) + 700_000,
            sequence: unamed_protocol::wire::Sequence { boot: 1, counter: 1 },
            sealing_key: [0; 32],
        };
        let room = RoomKey::from_seed([100 + number; 32]);
        let identity = &greedy.me.identity;
        let claim = unamed_protocol::wire::Claim::make(&terms, &room, identity, crypto.as_ref(), &network);
        let publish = greedy.publish(u64::from(number), &claim);
        greedy.queue(&world, &publish);
    }
    greedy.wait(&mut world, ms(500));
    assert_eq!(world.node(S).routing_table().held.len(), 32);
    assert_eq!((world.count(S, "claims_stored"), world.count(S, "claims_refused")), (32, 1));
}

#[test]
fn bad_input_56_57_60_the_application_is_told_its_mistakes() {
    let mut world = World::new(2);
    let [a, _] = world.service_members(1, [0, 1]);
    let room = world.room(1);
    let unknown = PeerId([9; 32]);
    let nobody = world.send(a, 1, "x".into(), Recipients::Only(Vec::new()));
    assert_eq!(nobody, Err(BroadcastError::NoRecipients), "b56");
    let stranger = world.send(a, 1, "x".into(), Recipients::Only(vec![unknown]));
    assert_eq!(stranger, Err(BroadcastError::UnknownRecipient(unknown)), "b56");
    let many = (0..33).map(|number| PeerId([number; 32])).collect();
    let many = world.send(a, 1, "x".into(), Recipients::Only(many));
    assert_eq!(many, Err(BroadcastError::TooManyRecipients), "b56");
    let large = world.send(a, 1, Bytes::from(vec![0; 17 * 1024 * 1024]), Recipients::All);
    assert!(matches!(large, Err(BroadcastError::TooLarge { .. })), "b57: {large:?}");
    for _ in 0..2 {
        let left = world.with_node(a, |node, now| node.leave(unamed_protocol::RoomId([1; 32]), now));
        assert_eq!(left, Err(RoomError::NotJoined), "b60");
    }
    assert_eq!(
        world.with_node(a, |node, now| node.leave(room, now)),
        Ok(()),
        "b60: a primary room can be left"
    );
    assert_eq!(world.with_node(a, |node, now| node.leave(room, now)), Err(RoomError::NotJoined), "b60: once");
}
