//! What one message of a peer makes others send: the bounds that `docs/security.md` states, measured.
//!
//! Two equal worlds run side by side; in one of them an intruder speaks. What the nodes send more in that one, less what
//! they send to the intruder itself, is what it made them send to others.

use bytes::Bytes;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{
    Announce, CircuitOpen, ClaimCopy, Hello, MemberData, Notify, Ping, Pull, Purpose, Query, Replicate,
    RoomClaims, StoreDigest, Withdraw,
};
use unamed_protocol::wire::{
    Bounded, CircuitData, MemberStatement, Message, PeerIds, Reply, RttsMs, Sequence, Tombstone, encode_body,
};
use unamed_protocol::{Duration, MessageId, RequestId, RoomId};
use unamed_simulator::NodeIndex;

use super::intruder::{Intruder, Persona, S, crypto, hash, network};
use crate::dsl::{World, key, ms, secs};

/// Service nodes of each world.
const NODES: u32 = 12;
/// How often each message is said.
const TIMES: u64 = 40;

/// A quiet network with a room of two, and an intruder that is linked to `S`, as service node or client, and a member of the
/// room where that is asked for.
fn stage(service: bool, member: bool) -> (World, Intruder) {
    stage_in(World::new(NODES as usize), service, member)
}

/// The same in this world.
pub(super) fn stage_in(mut world: World, service: bool, member: bool) -> (World, Intruder) {
    world.service_members(1, [0, 5]);
    world.pass(secs(60));
    let me = if service { Persona::service(&world, 1) } else { Persona::client(&world, 1) };
    let mut intruder = Intruder::dial(&mut world, S, me);
    if service {
        let hello = intruder.me.hello(&world, Vec::new());
        intruder.say(&mut world, &hello);
    }
    if member {
        intruder.enter(&mut world, 1);
    }
    intruder.wait(&mut world, secs(20));
    (world, intruder)
}

/// All bytes that nodes sent.
fn sent(world: &World) -> u64 {
    (0..world.sim.node_count() as u32).map(|node| world.sim.sent(NodeIndex(node)).bytes).sum()
}

/// Bytes that others were sent for each byte of the intruder's, when it says this, in hundredths.
fn factor(service: bool, member: bool, say: &dyn Fn(&World, &Intruder, u64) -> Message) -> u64 {
    let run = |speaks: bool| {
        let (mut world, mut intruder) = stage(service, member);
        let (before, (own, heard)) = (sent(&world), intruder.bytes());
        for number in 0..TIMES {
            if speaks {
                let message = say(&world, &intruder, number);
                intruder.queue(&world, &message);
            }
            intruder.wait(&mut world, ms(50));
        }
        intruder.wait(&mut world, secs(12));
        let (spent, received) = intruder.bytes();
        let to_others = (sent(&world) - before).saturating_sub(received - heard);
        (to_others, spent - own)
    };
    let ((spoken, cost), (quiet, idle)) = (run(true), run(false));
    let cost = cost.saturating_sub(idle).max(1);
    spoken.saturating_sub(quiet) * 100 / cost
}

fn room_of(number: u64) -> RoomId {
    RoomId(hash(&number.to_le_bytes()))
}

/// Kind, whether it comes from a service node, whether from a member, the bound in hundredths, the message.
pub(super) type Case = (&'static str, bool, bool, u64, Box<dyn Fn(&World, &Intruder, u64) -> Message>);

pub(super) fn lookup_cases() -> Vec<Case> {
    vec![
        ("find", false, false, 400, Box::new(|_, intruder, number| intruder.find(number, room_of(number)))),
        (
            "nearest",
            false,
            false,
            2400,
            Box::new(|_, intruder, number| intruder.nearest(number, room_of(number))),
        ),
        (
            "publish",
            false,
            false,
            800,
            Box::new(|world, intruder, number| {
                let who = Persona::client(world, 100 + number as u32);
                intruder.publish(number, &who.claim(world, 40 + (number % 200) as u8))
            }),
        ),
        (
            "publish into one room",
            false,
            false,
            3000,
            Box::new(|world, intruder, number| {
                let who = Persona::client(world, 100 + number as u32);
                intruder.publish(number, &who.claim(world, 40))
            }),
        ),
    ]
}

pub(super) fn routed_cases() -> Vec<Case> {
    vec![
        (
            "withdraw",
            false,
            false,
            800,
            Box::new(|world, intruder, number| {
                let who = Persona::client(world, 100 + number as u32);
                let (claim, crypto) = (who.claim(world, 40 + (number % 200) as u8), crypto(world));
                let key = key(40 + (number % 200) as u8);
                let tolerance = Duration::from_secs(300);
                let tombstone =
                    Tombstone::make(&claim, tolerance, &key, &who.identity, crypto.as_ref(), &network());
                let payload = encode_body(&Withdraw { tombstone: tombstone.bytes().clone() });
                Message::Routed(intruder.packet(Purpose::Withdraw, number, claim.room_id(), payload))
            }),
        ),
        (
            "connect",
            false,
            false,
            300,
            Box::new(|world, intruder, number| {
                let (_, connect) = intruder.me.connect(world, |request| request.about.id = RequestId(number));
                let target = world.sim.peer_id(NodeIndex(5));
                let mut packet =
                    intruder.packet(Purpose::Connect, number, home_id(target), encode_body(&connect));
                packet.target = Some(target);
                Message::Routed(packet)
            }),
        ),
        (
            "notify",
            false,
            false,
            400,
            Box::new(|world, intruder, number| {
                let target = world.sim.peer_id(NodeIndex(5));
                let claims = Bounded::truncated([intruder.me.claim(world, 1).bytes().clone()]);
                let payload = encode_body(&Notify { target, claims });
                let mut packet = intruder.packet(Purpose::Notify, number, home_id(target), payload);
                packet.target = Some(target);
                Message::Routed(packet)
            }),
        ),
        (
            "reply",
            true,
            false,
            10,
            Box::new(|world, intruder, number| {
                let route = [world.sim.peer_id(NodeIndex(5)), world.sim.peer_id(S), intruder.me.peer];
                Message::Reply(Reply {
                    purpose: Purpose::Find,
                    attempt: 0,
                    request: RequestId(number),
                    at: 1,
                    route: PeerIds::new(&route).expect("three"),
                    services: 0,
                    rtts_ms: RttsMs::default(),
                    payload: vec![7; 2000].into(),
                })
            }),
        ),
    ]
}

pub(super) fn overlay_cases() -> Vec<Case> {
    vec![
        ("ping", false, false, 10, Box::new(|_, _, token| Message::Ping(Ping { token }))),
        (
            "hello",
            false,
            false,
            10,
            Box::new(|_, _, number| {
                let neighbours = Bounded::default();
                Message::Hello(Hello {
                    location: room_of(number),
                    ready: true,
                    home: None,
                    wants: 255,
                    neighbours,
                })
            }),
        ),
        (
            "hello with neighbours",
            true,
            false,
            100,
            Box::new(|world, intruder, number| {
                let sybils = (0..16).map(|index| Persona::service(world, 2000 + number as u32 * 16 + index));
                intruder.me.hello(world, sybils.map(|one| one.home_claim(world, "ip4/8.8.8.8", 53)).collect())
            }),
        ),
        (
            "store digest",
            true,
            false,
            10,
            Box::new(|world, _, _| {
                Message::StoreDigest(StoreDigest {
                    room: world.room(1),
                    replica: 0,
                    items: Bounded::default(),
                    answer: true,
                })
            }),
        ),
    ]
}

pub(super) fn link_cases() -> Vec<Case> {
    vec![
        (
            "query with a claim",
            false,
            false,
            400,
            Box::new(|world, _, number| {
                let claim =
                    Persona::client(world, 100 + number as u32).claim(world, 40 + (number % 200) as u8);
                Message::Query(Query {
                    request: RequestId(number),
                    room: claim.room_id(),
                    replica: 0,
                    claim: Some(claim.bytes().clone()),
                })
            }),
        ),
        (
            "replicate",
            true,
            false,
            400,
            Box::new(|world, _, number| {
                let claim =
                    Persona::client(world, 100 + number as u32).claim(world, 40 + (number % 200) as u8);
                Message::Replicate(Replicate {
                    claims: Bounded::truncated([ClaimCopy { claim: claim.bytes().clone(), left_s: 400 }]),
                    tombstones: Bounded::default(),
                })
            }),
        ),
        (
            "circuit open",
            false,
            false,
            300,
            Box::new(|world, intruder, number| {
                let route = Bounded::truncated([world.sim.peer_id(NodeIndex(5))]);
                let (circuit, origin, room) = (2 * number as u32, intruder.me.peer, world.room(1));
                Message::CircuitOpen(CircuitOpen { circuit, origin, route, room, window: u32::MAX })
            }),
        ),
        (
            "circuit data of no circuit",
            false,
            false,
            10,
            Box::new(|_, _, _| Message::CircuitData(CircuitData { circuit: 8, frame: vec![7; 1000].into() })),
        ),
    ]
}

pub(super) fn room_cases() -> Vec<Case> {
    vec![
        (
            "room message",
            false,
            true,
            300,
            Box::new(|world, intruder, number| {
                Message::RoomMessage(intruder.me.message(world, 1, number, &"x".repeat(500)))
            }),
        ),
        (
            "room claims",
            false,
            true,
            400,
            Box::new(|world, _, number| {
                let claim = Persona::client(world, 100 + number as u32).claim(world, 1);
                let claims = Bounded::truncated([claim.bytes().clone()]);
                Message::RoomClaims(RoomClaims { room: world.room(1), joined_s: 9, claims })
            }),
        ),
        (
            "member data",
            false,
            true,
            10,
            Box::new(|world, intruder, number| {
                let sequence = Sequence { boot: 7, counter: 1 + number };
                let (room, crypto) = (world.room(1), crypto(world));
                let data = Bytes::from(vec![number as u8; 1000]);
                let identity = &intruder.me.identity;
                let said = MemberStatement::make(room, sequence, data, identity, crypto.as_ref(), &network());
                let statement = said.expect("not too large").bytes().clone();
                Message::MemberData(MemberData { statement })
            }),
        ),
        (
            "announce",
            false,
            true,
            10,
            Box::new(|world, _, number| {
                let messages = Bounded::truncated([MessageId(hash(&number.to_le_bytes()))]);
                Message::Announce(Announce { room: world.room(1), messages })
            }),
        ),
        (
            "pull",
            false,
            true,
            10,
            Box::new(|world, _, number| {
                let messages = Bounded::truncated([MessageId(hash(&number.to_le_bytes()))]);
                Message::Pull(Pull { room: world.room(1), messages })
            }),
        ),
    ]
}

/// Compares what each message makes others send with its bound, and says what was measured.
fn assert_bounds(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (name, service, member, bound, say) in cases {
        let measured = factor(service, member, say.as_ref());
        println!("{name}: {}.{:02} bytes to others for each byte", measured / 100, measured % 100);
        if measured > bound {
            wrong.push(format!("{name}: {measured}, more than {bound} hundredths"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn routed_messages_make_others_send_no_more_than_is_stated() {
    assert_bounds([lookup_cases(), routed_cases()].into_iter().flatten().collect());
}

#[test]
fn link_messages_make_others_send_no_more_than_is_stated() {
    assert_bounds([overlay_cases(), link_cases()].into_iter().flatten().collect());
}

#[test]
fn room_messages_make_others_send_no_more_than_is_stated() {
    assert_bounds(room_cases());
}

#[test]
fn what_is_not_authenticated_makes_nobody_send_anything_to_others() {
    let run = |speaks: bool| {
        let mut world = World::new(NODES as usize);
        world.pass(secs(60));
        let before = sent(&world);
        let mut to_intruder = 0;
        for number in 0..TIMES as u8 {
            let raw = world.sim.open_raw(S);
            world.pass(ms(100));
            if speaks {
                // A good first message, then nonsense of each kind of frame.
                let hello = [&[1, 0][..], b"unamed", &[1, 1], &network().tag(), &[9; 32]].concat();
                world.sim.raw_send(raw, hello.into());
                world.pass(ms(100));
                world.sim.raw_send(raw, vec![1, number % 8, 7, 7, 7].into());
            } else {
                world.pass(ms(100));
            }
            world.pass(ms(100));
            while let Some(frame) = world.sim.raw_receive(raw) {
                to_intruder += frame.len() as u64;
            }
            world.sim.raw_close(raw);
        }
        world.pass(secs(10));
        (sent(&world) - before - to_intruder, to_intruder)
    };
    let ((loud, answers), (quiet, _)) = (run(true), run(false));
    assert!(answers > 0, "handshakes were answered");
    // Timers have jitter of their own; nothing else may differ.
    assert!(loud.abs_diff(quiet) <= quiet / 50, "{loud} bytes instead of {quiet}");
}
