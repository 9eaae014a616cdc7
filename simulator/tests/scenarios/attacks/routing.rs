//! Attacks on routing and rendezvous: forged answers, floods, routes, dials, relays.

use bytes::Bytes;
use unamed_protocol::routing::key::home_id;
use unamed_protocol::wire::message::{
    CircuitCredit, CircuitOpen, CircuitOpened, ClaimCopy, FindAnswer, Publish, PublishAnswer, Purpose,
    Replicate,
};
use unamed_protocol::wire::{Bounded, CircuitData, Message, PeerIds, Routed, encode_body};
use unamed_protocol::{CloseReason, Event, PeerId, RoomId};
use unamed_simulator::NodeIndex;

use super::intruder::{Intruder, Persona, S, crypto, hash, lenient, network, rogue, unix_ms};
use crate::dsl::{World, ms, secs, sentences};

/// A client of `S`, and a rogue that is the root of its own home room.
fn client_and_rogue() -> (World, NodeIndex, Intruder, RoomId) {
    let mut world = World::new(3);
    let client = world.client(0);
    world.pass(secs(3));
    let rogue = rogue(&mut world, S, 1);
    let target = home_id(rogue.me.peer);
    (world, client, rogue, target)
}

/// Has a client look for a room while a rogue answers each packet that comes to it; the members that are reported.
fn find_through(
    world: &mut World,
    client: NodeIndex,
    rogue: &mut Intruder,
    room: RoomId,
    lie: impl Fn(&World, &Intruder, &Routed) -> Vec<Message>,
) -> Vec<PeerId> {
    world.with_node(client, |node, now| node.find(room, now));
    let mut lied = 0;
    for _ in 0..300 {
        rogue.wait(world, ms(100));
        for packet in rogue.routed().into_iter().filter(|packet| packet.purpose == Purpose::Find) {
            for message in lie(world, rogue, &packet) {
                rogue.queue(world, &message);
            }
            lied += 1;
        }
    }
    assert!(lied > 0, "the find came by");
    let told = world.told(client);
    let report = told
        .iter()
        .find_map(|event| if let Event::FindFinished(report) = event { Some(report.clone()) } else { None });
    report.expect("a find is answered").members
}

#[test]
fn a18_fake_found() {
    let (mut world, client, mut rogue, target) = client_and_rogue();
    let before = world.count(client, "claims_invalid");
    let members = find_through(&mut world, client, &mut rogue, target, |world, rogue, packet| {
        let other = Persona::client(world, 50);
        let mut forged = other.claim(world, 1).bytes().to_vec();
        *forged.last_mut().expect("bytes") ^= 1;
        let claims =
            vec![other.claim(world, 1).bytes().clone(), forged.into(), Bytes::from_static(b"member")];
        vec![rogue.found(packet, claims)]
    });
    assert_eq!(members, [], "no claim holds for that room");
    assert!(world.count(client, "claims_invalid") >= before + 3);
}

#[test]
fn a18_lies_do_not_end_a_search_that_others_can_answer() {
    // The root alone answers, so that the rogue, once it is the root, is asked first; the former root has the claim still.
    let mut world = World::with(1, |config| config.service.routing.replicas = 1);
    let [client, member] = [world.client(0), world.client(0)];
    world.pass(secs(3));
    world.join(member, 1);
    world.pass(secs(5));
    let key = world.room(1);
    let away = |peer| unamed_protocol::routing::key::distance(&key, &home_id(peer));
    let nearest = |number: &u32| {
        let rogue = Persona::service(&world, *number).peer;
        away(rogue) < away(world.sim.peer_id(S))
    };
    let number = (1..200).find(nearest).expect("one in two");
    let mut rogue = rogue(&mut world, S, number);
    let members = find_through(&mut world, client, &mut rogue, key, |_, rogue, packet| {
        vec![rogue.found(packet, vec![Bytes::from_static(b"garbage")])]
    });
    assert_eq!(members, [world.sim.peer_id(member)], "the lie counts as no answer");
}

#[test]
fn a19_claim_copied_from_another_node() {
    let mut world = World::new(1);
    let [a, _b] = world.members_at(1, [0, 0]);
    let me = Persona::client(&world, 1);
    let mut thief = Intruder::dial(&mut world, S, me);
    let room = world.room(1);
    let find = thief.find(1, room);
    thief.say(&mut world, &find);
    let answer: FindAnswer =
        unamed_protocol::wire::decode_body(&thief.replies().remove(0).payload).expect("an answer");
    let of_a = |claim: &&Bytes| {
        unamed_protocol::wire::Claim::decode(claim).expect("a claim").peer() == world.sim.peer_id(a)
    };
    let copied = answer.claims.iter().find(of_a).expect("a's claim").to_vec();
    let victim = world.sim.peer_id(a);
    let at = copied.windows(32).position(|part| part == victim.as_bytes()).expect("its id");
    let mut mine = copied.clone();
    mine[at..at + 32].copy_from_slice(thief.me.peer.as_bytes());
    let (stored, invalid) = (world.count(S, "claims_stored"), world.count(S, "claims_invalid"));
    for (request, claim) in [(2, mine), (3, copied)] {
        let publish = Publish { claim: claim.into(), known: Bounded::default() };
        let packet = thief.packet(Purpose::Publish, request, room, encode_body(&publish));
        thief.say(&mut world, &Message::Routed(packet));
    }
    assert_eq!(
        world.count(S, "claims_stored"),
        stored,
        "the copy says what is known, and nothing of the thief"
    );
    assert_eq!(world.count(S, "claims_invalid"), invalid + 1);
}

#[test]
fn a20_expired_claim() {
    let mut world = World::new(1);
    world.pass(secs(2000));
    let me = Persona::client(&world, 1);
    let mut late = Intruder::dial(&mut world, S, me);
    let (stored, invalid) = (world.count(S, "claims_stored"), world.count(S, "claims_invalid"));
    let now = unix_ms(&world);
    let claim = late.me.claim_with(&world, 1, |terms| {
        (terms.issued_ms, terms.expiry_ms) = (now - 1_100_000, now - 300_001);
    });
    let publish = late.publish(1, &claim);
    late.say(&mut world, &publish);
    assert_eq!(world.count(S, "claims_stored"), stored);
    assert_eq!(world.count(S, "claims_invalid"), invalid + 1);
}

#[test]
fn a27_route_bounce_1000_times() {
    let mut world = World::new(4);
    let me = Persona::client(&world, 1);
    let mut juggler = Intruder::dial(&mut world, S, me);
    let forwarded =
        |world: &World| (0..4).map(|node| world.count(NodeIndex(node), "routed_forwarded")).sum::<u64>();
    let before = forwarded(&world);
    let find = juggler.find(77, world.room(9));
    for _ in 0..1000 {
        juggler.queue(&world, &find);
    }
    juggler.wait(&mut world, secs(1));
    assert!(forwarded(&world) - before <= 4, "each node forwards it once: {}", forwarded(&world) - before);
    assert_eq!(world.count(S, "routed_duplicate"), 999);
    assert_eq!(juggler.replies().len(), 1);
    // Nor does a route that names a node twice, or the receiver, go anywhere.
    let undecodable = world.count(S, "messages_undecodable");
    let mut twice = juggler.packet(Purpose::Find, 78, world.room(9), Vec::new()).encode();
    let id = juggler.me.peer;
    let route = [&[2][..], &[32], id.as_bytes(), &[32], id.as_bytes(), &[0]].concat();
    twice.truncate(twice.len() - 1 - 1 - 33);
    twice.extend(route);
    juggler.queue_bytes(&world, twice);
    let through = PeerIds::new(&[PeerId([9; 32]), world.sim.peer_id(S), id]).expect("three");
    let looped = Routed { route: through, ..juggler.packet(Purpose::Find, 79, world.room(9), Vec::new()) };
    juggler.say(&mut world, &Message::Routed(looped));
    assert_eq!(world.count(S, "messages_undecodable"), undecodable + 1);
    assert_eq!(world.count(S, "routed_duplicate"), 1000);
}

#[test]
fn a28_ttl_255() {
    // There is no such field: a packet carries the nodes that it passed, sixteen at most.
    let mut world = World::new(4);
    let me = Persona::client(&world, 1);
    let mut long = Intruder::dial(&mut world, S, me);
    let mut route: Vec<PeerId> = (0..15).map(|number| PeerId([number; 32])).collect();
    route.push(long.me.peer);
    let packet = long.packet(Purpose::Find, 1, world.room(9), Vec::new());
    let (forwarded, too_long) = (world.count(S, "routed_forwarded"), world.count(S, "routed_too_long"));
    let full = Routed { route: PeerIds::new(&route).expect("sixteen"), ..packet };
    long.say(&mut world, &Message::Routed(full));
    assert_eq!(world.count(S, "routed_forwarded"), forwarded);
    assert_eq!(world.count(S, "routed_too_long"), too_long + 1);
}

/// A circuit between two intruders over `S`, number `2 * index` of the opener; the numbers at both ends.
fn circuits(world: &mut World, opener: &mut Intruder, target: &mut Intruder, count: u32) -> Vec<(u32, u32)> {
    let route = Bounded::truncated([target.me.peer]);
    let origin = opener.me.peer;
    let room = world.room(1);
    for index in 0..count {
        let open = CircuitOpen { circuit: 2 * index, origin, route: route.clone(), room, window: u32::MAX };
        opener.queue(world, &Message::CircuitOpen(open));
    }
    opener.wait(world, ms(200));
    target.wait(world, ms(200));
    let asked = target
        .heard(|message| if let Message::CircuitOpen(open) = message { Some(open.circuit) } else { None });
    asked.into_iter().enumerate().map(|(index, circuit)| (2 * index as u32, circuit)).collect()
}

#[test]
fn a29_relay_flood() {
    let mut world = World::with(1, |config| config.service.link.relay_bytes_max = 2 * 1024 * 1024);
    let [a, b] = world.members_at(1, [0, 0]);
    let [one, two] = [1, 2].map(|number| Persona::client(&world, number));
    let mut opener = Intruder::dial(&mut world, S, one);
    let mut target = Intruder::dial(&mut world, S, two);
    let open = circuits(&mut world, &mut opener, &mut target, 100);
    assert_eq!(open.len(), 64, "as many as one client may have relayed");
    assert!(world.count(S, "circuits_refused") >= 36);
    // The target grants all it can, and reads nothing: what the opener sends stays with the relay.
    for (_, circuit) in &open {
        let opened = CircuitOpened { circuit: *circuit, window: u32::MAX };
        target.queue(&world, &Message::CircuitOpened(opened));
        let credit = CircuitCredit { circuit: *circuit, bytes: u32::MAX };
        target.queue(&world, &Message::CircuitCredit(credit));
    }
    target.wait(&mut world, ms(200));
    target.read(&mut world, false);
    for _ in 0..15 {
        for (circuit, _) in &open {
            let data = CircuitData { circuit: *circuit, frame: Bytes::from(vec![7; 16_000]) };
            opener.queue_bytes(&world, data.encode());
        }
        // `check_invariants` compares what is held with the bound after each event.
        opener.wait(&mut world, ms(200));
    }
    assert!(world.count(S, "relay_overloads") > 0);
    let goodbye = |event: &Event| matches!(event, Event::LinkClosed { peer, reason: CloseReason::SlowReader, .. } if *peer == target.me.peer);
    assert!(world.told(S).iter().any(goodbye), "who does not read goes");
    world.say(a, 1, "our circuit stands");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["1: our circuit stands"]));
}

#[test]
fn a30_reply_from_an_off_path_node() {
    let (mut world, client, mut rogue, _) = client_and_rogue();
    let to_client =
        |world: &World| world.count(client, "replies_unsolicited") + world.count(client, "replies_invalid");
    let (relayed, at_client) = (world.count(S, "replies_forwarded"), to_client(&world));
    let unsolicited = world.count(S, "replies_unsolicited");
    for request in 0..100 {
        let (origin, relay) = (world.sim.peer_id(client), world.sim.peer_id(S));
        let route = PeerIds::new(&[origin, relay]).expect("two");
        let packet = Routed { route, ..rogue.packet(Purpose::Find, request, RoomId([9; 32]), Vec::new()) };
        let lie = rogue.found(&packet, vec![Bytes::from(vec![7; 1000]); 8]);
        rogue.queue(&world, &lie);
    }
    rogue.wait(&mut world, ms(500));
    assert_eq!(world.count(S, "replies_unsolicited"), unsolicited + 100, "nothing of the kind passed here");
    assert_eq!(world.count(S, "replies_forwarded"), relayed);
    assert_eq!(to_client(&world), at_client, "nothing reaches whom it was meant for");
}

#[test]
fn a31_wrong_response_type() {
    let (mut world, client, mut rogue, target) = client_and_rogue();
    let members = find_through(&mut world, client, &mut rogue, target, |_, rogue, packet| {
        let answer = PublishAnswer { claims: Bounded::default(), newer: None, slow_down: 0 };
        let reply = rogue.answer(packet, encode_body(&answer));
        let other = unamed_protocol::wire::Reply { purpose: Purpose::Publish, ..reply.clone() };
        let nonsense = unamed_protocol::wire::Reply { payload: Bytes::from_static(&[0xff; 9]), ..reply };
        vec![Message::Reply(other), Message::Reply(nonsense)]
    });
    assert_eq!(members, []);
    assert!(world.count(client, "replies_invalid") >= 2);
}

#[test]
fn a32_guessed_request_ids() {
    let mut world = World::new(2);
    let mut rogue = rogue(&mut world, S, 1);
    let unsolicited = world.count(S, "replies_unsolicited");
    let me = world.sim.peer_id(S);
    for request in 0..1000 {
        let route = PeerIds::new(&[me]).expect("one");
        let packet = Routed { route, ..rogue.packet(Purpose::Nearest, request, RoomId([9; 32]), Vec::new()) };
        let lie = rogue.found(&packet, Vec::new());
        rogue.queue(&world, &lie);
    }
    rogue.wait(&mut world, ms(500));
    assert_eq!(world.count(S, "replies_unsolicited"), unsolicited + 1000, "64 random bits are not guessed");
}

#[test]
fn a32_no_hop_can_have_later_attempts_taken_for_duplicates() {
    let mut world = World::with(1, |config| config.service.routing.replicas = 1);
    let [client, member] = [world.client(0), world.client(0)];
    world.pass(secs(3));
    world.join(member, 1);
    world.pass(secs(5));
    let key = world.room(1);
    let away = |peer| unamed_protocol::routing::key::distance(&key, &home_id(peer));
    let nearest = |number: &u32| away(Persona::service(&world, *number).peer) < away(world.sim.peer_id(S));
    let number = (1..200).find(nearest).expect("one in two");
    let mut rogue = rogue(&mut world, S, number);
    world.with_node(client, |node, now| node.find(key, now));
    rogue.wait(&mut world, ms(200));
    let packet = rogue.routed().into_iter().find(|packet| packet.purpose == Purpose::Find).expect("the find");
    // It knows the id now, says nothing, and sends the next attempts itself before their origin does.
    for attempt in 1..=3 {
        let route = PeerIds::new(&[rogue.me.peer]).expect("one");
        let poison = Routed { attempt, route, payload: Bytes::from_static(b"poison"), ..packet.clone() };
        rogue.queue(&world, &Message::Routed(poison));
    }
    rogue.wait(&mut world, ms(200));
    rogue.hang_up(&mut world);
    world.pass(secs(20));
    let told = world.told(client);
    let report = told
        .iter()
        .find_map(|event| if let Event::FindFinished(report) = event { Some(report.clone()) } else { None });
    assert_eq!(report.expect("an answer").members, [world.sim.peer_id(member)]);
    assert_eq!(world.count(client, "walks_started"), 0, "the second attempt is answered");
}

/// How often a node's dials to this host failed.
fn dials_to(world: &mut World, node: NodeIndex, host: &str) -> usize {
    let told = world.told(node);
    let dialled = |event: &&Event| matches!(event, Event::LinkFailed { address: Some(address), .. } if address.to_string().contains(host));
    told.iter().filter(dialled).count()
}

#[test]
fn a33_dial_reflection() {
    let mut world = World::new(3);
    let mut rogue = rogue(&mut world, S, 1);
    let classes = world.count(S, "dials_refused_by_class");
    for round in 0..12_u32 {
        let hosts = ["ip4/8.8.8.8", "ip4/127.0.0.1", "ip4/169.254.169.254", "ip6/::ffff:10.0.0.1"];
        let neighbours = (0..16).map(|index| {
            let sybil = Persona::service(&world, 1000 + round * 16 + index);
            sybil.home_claim(&world, hosts[(index % 4) as usize], 53)
        });
        let neighbours: Vec<Bytes> = neighbours.collect();
        let hello = rogue.me.hello(&world, neighbours);
        rogue.say(&mut world, &hello);
        rogue.wait(&mut world, secs(10));
    }
    let at_victim = dials_to(&mut world, S, "8.8.8.8");
    // 48 identities are said to be there; each failure doubles the pause for all of them, from half a minute on.
    assert!((1..=4).contains(&at_victim), "{at_victim} dials in two minutes");
    for local in ["127.0.0.1", "169.254.169.254", "ffff:10.0.0.1", "ffff:a00:1"] {
        assert_eq!(dials_to(&mut world, S, local), 0, "{local}");
    }
    assert!(world.count(S, "dials_refused_by_class") > classes);
    assert!(world.count(S, "dials_refused_by_endpoint") > 0);
}

#[test]
fn a34_find_flood() {
    let mut world = World::new(6);
    let [a, _b] = world.members_at(1, [1, 2]);
    let me = Persona::client(&world, 1);
    let mut flood = Intruder::dial(&mut world, S, me);
    for round in 0..20_u64 {
        for index in 0..250_u64 {
            let request = round * 1000 + index;
            let find = flood.find(request, RoomId(hash(&request.to_le_bytes())));
            flood.queue(&world, &find);
        }
        flood.wait(&mut world, ms(100));
    }
    flood.wait(&mut world, secs(1));
    let answers = flood.replies().len();
    assert!(answers <= 5000, "{answers}");
    let (sent, received) = flood.bytes();
    assert!(received <= 4 * sent, "{received} bytes for {sent}");
    let seeker = world.client(0);
    world.pass(secs(3));
    assert!(world.find(seeker, 1).members.contains(&world.sim.peer_id(a)), "others are still served");
}

#[test]
fn a35_very_many_rooms() {
    let mut world = World::with(1, |config| {
        lenient(config);
        config.service.routing.claims_max = 400;
    });
    let [a, _b] = world.members_at(1, [0, 0]);
    let me = Persona::client(&world, 1);
    let mut flood = Intruder::dial(&mut world, S, me);
    let (crypto, network) = (crypto(&world), network());
    let mut held = 0;
    for number in 0..2000_u32 {
        let mut seed = [0xB0; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let room = unamed_protocol::RoomKey::from_seed(seed);
        // Forty rooms each: more than the 32 that a peer may have.
        let who = Persona::client(&world, 100 + number / 40);
        let terms = who.claim(&world, 1);
        let terms = unamed_protocol::wire::ClaimTerms {
            homes: terms.homes().to_vec(),
            replica: 0,
            issued_ms: terms.issued_ms(),
            expiry_ms: terms.expiry_ms(),
            sequence: terms.sequence(),
            sealing_key: *terms.sealing_key(),
        };
        let claim =
            unamed_protocol::wire::Claim::make(&terms, &room, &who.identity, crypto.as_ref(), &network);
        let publish = flood.publish(u64::from(number), &claim);
        flood.queue(&world, &publish);
        if number % 100 == 99 {
            flood.wait(&mut world, ms(100));
            held = world.node(S).routing_table().held.iter().map(|(_, claims)| claims).sum();
            assert!(held <= 400, "{held} claims are held");
        }
    }
    assert!(held >= 300, "the store was filled: {held}");
    let seeker = world.client(0);
    world.pass(secs(3));
    assert!(world.find(seeker, 1).members.contains(&world.sim.peer_id(a)), "who was there keeps its place");
}

#[test]
fn copies_are_taken_from_service_nodes_alone() {
    let mut world = World::new(1);
    let me = Persona::client(&world, 1);
    let mut client = Intruder::dial(&mut world, S, me);
    let claim = client.me.claim(&world, 1).bytes().clone();
    let invalid = world.count(S, "claims_invalid");
    let copies = Replicate {
        claims: Bounded::truncated([ClaimCopy { claim, left_s: 400 }]),
        tombstones: Bounded::default(),
    };
    client.say(&mut world, &Message::Replicate(copies));
    assert_eq!(world.count(S, "claims_invalid"), invalid + 1);
    assert_eq!(world.node(S).routing_table().held, []);
}

#[test]
fn a_holder_cannot_make_a_member_publish_again_and_again_or_fall_silent() {
    for (newer_is_own, slow_down) in [(true, 0), (false, u16::MAX)] {
        let mut world = World::new(1);
        let member = world.client(0);
        world.pass(secs(3));
        let mut rogue = rogue(&mut world, S, 1);
        let near = |room: u8| {
            let key = world.room(room);
            let distance = |peer| unamed_protocol::routing::key::distance(&key, &home_id(peer));
            distance(rogue.me.peer) < distance(world.sim.peer_id(S))
        };
        let room = (10..100).find(|room| near(*room)).expect("one in two");
        world.join(member, room);
        let mut publishes = 0;
        for _ in 0..7500 {
            rogue.wait(&mut world, ms(100));
            for packet in rogue.routed().into_iter().filter(|packet| packet.purpose == Purpose::Publish) {
                publishes += 1;
                let asked: Publish = unamed_protocol::wire::decode_body(&packet.payload).expect("a publish");
                let newer = newer_is_own.then_some(asked.claim);
                let answer = PublishAnswer { claims: Bounded::default(), newer, slow_down };
                let reply = rogue.answer(&packet, encode_body(&answer));
                rogue.queue(&world, &Message::Reply(reply));
            }
        }
        // Five times alone, then once in ten minutes at least; where each answer is a lie, every two seconds at most.
        let bound = if newer_is_own { 375 } else { 12 };
        assert!((6..=bound).contains(&publishes), "{publishes} in 750 s, {newer_is_own}");
    }
}
