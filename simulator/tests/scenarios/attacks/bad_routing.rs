//! Bad inputs on linked connections, rows 31 to 44: what is sent, which counter of the receiver shows it, and how often.

use bytes::Bytes;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{HopAck, Purpose, RoomLeave};
use unamed_protocol::wire::{Message, PeerIds, Reply, Routed, encode_body};
use unamed_protocol::{PeerId, RequestId, RoomId};

use super::intruder::{Intruder, Persona, S, crypto, lenient, network, rogue, unix_ms};
use crate::dsl::{World, ms, secs};

/// A row: what is sent, the counter that shows it, and by how much that grows.
pub(super) type Row = (&'static str, Vec<Vec<u8>>, &'static str, u64);

/// What a bad input may be counted as.
const REASONS: [&str; 24] = [
    "acks_unexpected",
    "circuit_messages_late",
    "circuit_violations",
    "claims_invalid",
    "connects_invalid",
    "equivocations",
    "ice_servers_refused",
    "member_data_invalid",
    "member_data_old",
    "messages_undecodable",
    "messages_unknown_kind",
    "queue_overflows",
    "replies_invalid",
    "replies_undeliverable",
    "replies_unsolicited",
    "requests_limited",
    "room_messages_duplicate",
    "room_messages_from_non_members",
    "room_messages_invalid",
    "room_proofs_for_other_rooms",
    "room_proofs_invalid",
    "routed_duplicate",
    "routed_forged",
    "signals_invalid",
];

/// Plays each row to `S`: the counter grows as stated and no other reason's does, who is refused whole is so once, the link
/// stands, and nothing is said of members or messages.
pub(super) fn play(world: &mut World, intruder: &mut Intruder, rows: Vec<Row>) {
    for (name, messages, counter, times) in rows {
        let before: Vec<u64> = REASONS.iter().map(|reason| world.count(S, reason)).collect();
        let (refused, counted, many) =
            (world.count(S, "messages_refused"), world.count(S, counter), messages.len() as u64);
        for message in messages {
            intruder.queue_bytes(world, message);
        }
        intruder.wait(world, ms(300));
        assert_eq!(world.count(S, counter) - counted, times, "{name}: {counter}");
        assert!(intruder.is_linked(world), "{name}");
        for (reason, before) in REASONS.iter().zip(before).filter(|(reason, _)| **reason != counter) {
            assert_eq!(world.count(S, reason), before, "{name}: {counter}, and {reason} too");
        }
        let refused = world.count(S, "messages_refused") - refused;
        assert!(refused == 0 || refused == times, "{name}: {refused} of {many} messages refused");
    }
}

fn connect_rows(world: &World, intruder: &Intruder) -> Vec<Row> {
    let now = unix_ms(world);
    let packet = |attempt: u8, change: &dyn Fn(&mut unamed_protocol::wire::message::ConnectRequest)| {
        let (_, connect) = intruder.me.connect(world, |request| change(request));
        let key = home_id(world.sim.peer_id(S));
        let mut packet = intruder.packet(Purpose::Connect, 0xC0, key, encode_body(&connect));
        (packet.target, packet.attempt) = (Some(world.sim.peer_id(S)), attempt);
        Message::Routed(packet).encode()
    };
    let year = 365 * 24 * 3_600_000;
    vec![
        (
            "b32 origin differs from signer",
            vec![packet(1, &|request| request.about.origin = PeerId([7; 32]))],
            "connects_invalid",
            1,
        ),
        (
            "b33 expiry is past",
            vec![packet(2, &|request| request.expiry_ms = now - 301_000)],
            "connects_invalid",
            1,
        ),
        (
            "b33 expiry ten years ahead",
            vec![packet(3, &|request| request.expiry_ms = now + 10 * year)],
            "connects_invalid",
            1,
        ),
        (
            "b33 expiry at the end of time",
            vec![packet(4, &|request| request.expiry_ms = u64::MAX)],
            "connects_invalid",
            1,
        ),
    ]
}

fn rows(world: &World, intruder: &Intruder) -> Vec<Row> {
    let (me, node) = (intruder.me.peer, world.sim.peer_id(S));
    let key = RoomId([9; 32]);
    let find = |request: u64| intruder.packet(Purpose::Find, request, key, Vec::new());
    let routed = |packet: Routed| Message::Routed(packet).encode();
    let along =
        |route: &[PeerId], request| Routed { route: PeerIds::new(route).expect("a route"), ..find(request) };
    let stranger = PeerId([5; 32]);
    let sixteen: Vec<PeerId> = (10..25).map(|number| PeerId([number; 32])).chain([me]).collect();
    let answer = |packet: &Routed| intruder.answer(packet, Vec::new());
    let reply = |reply: Reply| Message::Reply(reply).encode();
    let not_on_it = Reply {
        route: PeerIds::new(&[node, stranger]).expect("two"),
        at: 0,
        ..answer(&along(&[node, stranger], 1))
    };
    let earlier =
        Reply { route: PeerIds::new(&[me, node]).expect("two"), at: 1, ..answer(&along(&[stranger], 1)) };
    let other_body = Routed { payload: Bytes::from_static(b"other"), ..find(38) };
    let ends = [home_id(node), RoomId([0; 32]), RoomId([255; 32])];
    let ends =
        ends.iter().enumerate().map(|(index, key)| routed(Routed { key: *key, ..find(400 + index as u64) }));
    let ack = HopAck { request: RequestId(4711), attempt: 0, seen: false };
    vec![
        ("b31 a route of sixteen goes no further", vec![routed(along(&sixteen, 31))], "routed_too_long", 1),
        (
            "b32 last on the route is not the neighbour",
            vec![routed(along(&[stranger], 32))],
            "routed_forged",
            1,
        ),
        ("b32 an empty route", vec![routed(along(&[], 32))], "routed_forged", 1),
        ("b34 reply to no open request", vec![reply(answer(&along(&[node], 34)))], "replies_unsolicited", 1),
        (
            "b34 reply for another, to no packet that passed",
            vec![reply(answer(&along(&[stranger, node], 34)))],
            "replies_unsolicited",
            1,
        ),
        ("b34 an acknowledgement of nothing", vec![Message::HopAck(ack).encode()], "acks_unexpected", 1),
        ("b35 reply by one who is not on the route", vec![reply(not_on_it)], "replies_invalid", 1),
        ("b35 reply by an earlier hop", vec![reply(earlier)], "replies_invalid", 1),
        ("b38 one id, two bodies", vec![routed(find(38)), routed(other_body)], "routed_duplicate", 1),
        ("b39 through the receiver itself", vec![routed(along(&[node, me], 39))], "routed_duplicate", 1),
        ("b40 own id, zeros, ones: ends here like any other", ends.collect(), "routed_dead_end", 3),
        (
            "b52 leave of a room not joined",
            vec![Message::RoomLeave(RoomLeave { room: key }).encode()],
            "room_messages_from_non_members",
            1,
        ),
    ]
}

#[test]
fn bad_input_31_to_44_is_dropped_and_counted() {
    let mut world = World::with(1, lenient);
    let me = Persona::client(&world, 1);
    let mut intruder = Intruder::dial(&mut world, S, me);
    let rows = [rows(&world, &intruder), connect_rows(&world, &intruder)].concat();
    play(&mut world, &mut intruder, rows);
    let answered = intruder.replies();
    let finds = answered.iter().filter(|reply| (400..403).contains(&reply.request.0)).count();
    assert_eq!(finds, 3, "b40: all three are answered");
}

/// A home claim, and the counter by which it is refused or what is not done with it.
fn address_rows(world: &World) -> Vec<(&'static str, Bytes, &'static str)> {
    let sybil = |number: u32| Persona::service(world, 700 + number);
    let at = |text: &str| text.parse().expect("an address");
    let nine = sybil(1).home_claim_with(world, |terms| {
        terms.addresses = (1..=9).map(|port| at(&format!("/ip4/8.8.4.4/tcp/{port}/ws"))).collect();
    });
    // The honest code cuts what it signs: the ninth is not there.
    let kept = unamed_protocol::wire::HomeClaim::decode(&nine).expect("eight").addresses().len();
    assert_eq!(kept, 8);
    let mut port_0 = sybil(2).home_claim(world, "ip4/8.8.4.4", 7777).to_vec();
    let digits = port_0.windows(4).position(|part| part == b"7777").expect("the port");
    port_0[digits..digits + 4].copy_from_slice(b"0000");
    let mut cut = sybil(3).home_claim(world, "ip4/8.8.4.4", 1).to_vec();
    cut.pop();
    vec![
        ("b43 port 0", port_0.into(), "claims_invalid"),
        ("b43 a byte short", cut.into(), "claims_invalid"),
        ("b43 nothing", Bytes::new(), "claims_invalid"),
        (
            "b43 expired",
            sybil(4).home_claim_with(world, |terms| (terms.issued_ms, terms.expiry_ms) = (1, 2)),
            "claims_invalid",
        ),
        ("b43 a private address", sybil(5).home_claim(world, "ip4/10.1.2.3", 1), "dials_refused_by_class"),
        (
            "b43 a link-local address",
            sybil(6).home_claim(world, "ip4/169.254.169.254", 80),
            "dials_refused_by_class",
        ),
        ("b43 a local name", sybil(7).home_claim(world, "dns/printer.local", 80), "dials_refused_by_class"),
    ]
}

#[test]
fn bad_input_43_home_claims_are_refused_or_not_dialled() {
    let mut world = World::new(1);
    let mut rogue = rogue(&mut world, S, 1);
    for (name, claim, counter) in address_rows(&world) {
        let before = world.count(S, counter);
        let hello = rogue.me.hello(&world, vec![claim]);
        rogue.say(&mut world, &hello);
        assert!(world.count(S, counter) > before, "{name}: {counter}");
    }
    // The largest sequence is taken once, from its owner; whoever signs it can say nothing newer. Nobody else is bricked.
    let sybil = Persona::service(&world, 750);
    let claim = |world: &World, boot: u64, port: u16| {
        sybil.home_claim_with(world, |terms| {
            terms.sequence = unamed_protocol::wire::Sequence { boot, counter: u64::MAX };
            terms.addresses = vec![format!("/ip4/9.9.9.9/tcp/{port}/ws").parse().expect("an address")];
        })
    };
    for (boot, port) in [(u64::MAX, 1), (1, 2)] {
        let claim = claim(&world, boot, port);
        let hello = rogue.me.hello(&world, vec![claim]);
        rogue.say(&mut world, &hello);
    }
    rogue.wait(&mut world, secs(10));
    let told = world.told(S);
    let learnt = |port: &str| {
        told.iter().any(|event| {
            matches!(event, unamed_protocol::Event::NewServiceAddress { address } if address.to_string().contains(port))
        })
    };
    assert!(learnt("9.9.9.9/tcp/1/ws") && !learnt("9.9.9.9/tcp/2/ws"), "b43: a rollback is not followed");
}

#[test]
fn bad_input_37_the_second_reply_comes_too_late() {
    let mut world = World::new(3);
    let client = world.client(0);
    world.pass(secs(3));
    let mut rogue = rogue(&mut world, S, 1);
    // The rogue's home room is a room like any other, and the rogue its root: it may answer, once.
    let target = home_id(rogue.me.peer);
    let key = unamed_protocol::RoomKey::from_seed(*rogue.me.identity.secret());
    let claim = {
        let (crypto, network) = (crypto(&world), network());
        let terms = unamed_protocol::wire::ClaimTerms {
            homes: vec![rogue.me.peer],
            replica: 0,
            issued_ms: unix_ms(&world),
            expiry_ms: unix_ms(&world) + 700_000,
            sequence: unamed_protocol::wire::Sequence { boot: 1, counter: 1 },
            sealing_key: [0; 32],
        };
        unamed_protocol::wire::Claim::make(&terms, &key, &rogue.me.identity, crypto.as_ref(), &network)
    };
    let late = world.count(client, "replies_unsolicited");
    world.with_node(client, |node, now| node.find(target, now));
    rogue.wait(&mut world, ms(100));
    let packet = rogue.routed().into_iter().find(|packet| packet.purpose == Purpose::Find).expect("the find");
    let found = rogue.found(&packet, vec![claim.bytes().clone()]);
    for _ in 0..3 {
        rogue.queue(&world, &found);
    }
    rogue.wait(&mut world, secs(1));
    let finished = |event: &&unamed_protocol::Event| matches!(event, unamed_protocol::Event::FindFinished(_));
    assert_eq!(world.told(client).iter().filter(finished).count(), 1, "a request ends once");
    assert_eq!(world.count(client, "replies_unsolicited"), late + 2, "b37");
}
