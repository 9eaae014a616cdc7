//! Attacks on links: identities, slots, readers that do not read, half-open partitions.

use unamed_protocol::{CloseReason, Event};

use super::intruder::{Intruder, Persona, S, failures, lenient};
use crate::dsl::{World, ms, secs, sentences};

#[test]
fn a01_id_takeover_on_a_second_socket() {
    let mut world = World::new(1);
    let [a, b] = world.members_at(1, [0, 0]);
    let (victim, failed) = (world.sim.peer_id(a), world.count(S, "handshakes_failed"));
    let links = world.node(S).links();
    let me = Persona::client(&world, 1);
    let thief = Intruder::dial_as(&mut world, S, me, victim, None);
    assert!(!thief.is_linked(&world));
    assert_eq!(failures(&mut world, S, CloseReason::BadKey), 1);
    assert_eq!(world.count(S, "handshakes_failed"), failed + 1);
    assert_eq!(world.node(S).links().len(), links.len());
    world.say(a, 1, "still me");
    world.pass(secs(1));
    assert_eq!(
        world.story(b, 1),
        sentences(["1: still me"]),
        "nothing was said in its name, and it never left"
    );
}

#[test]
fn a42_slot_exhaustion() {
    let mut world = World::with(2, |config| config.service.link.clients_max = 5);
    let [a, b] = world.members_at(1, [0, 1]);
    let mut squatters = Vec::new();
    for number in 0..20 {
        let me = Persona::client(&world, number);
        squatters.push(Intruder::dial(&mut world, S, me));
        let clients = world.node(S).links().iter().filter(|link| !link.service).count();
        assert!(clients <= 5, "{clients} clients");
    }
    let linked = squatters.iter().filter(|squatter| squatter.is_linked(&world)).count();
    assert!((1..5).contains(&linked), "{linked}");
    let referred = squatters.iter_mut().flat_map(Intruder::goodbyes);
    let busy = CloseReason::Busy as u8;
    let referred = referred.filter(|goodbye| goodbye.reason == busy && !goodbye.referrals.is_empty()).count();
    assert_eq!(referred, 20 - linked, "each of the others is told where else to go");
    world.say(a, 1, "we were here first");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["2: we were here first"]));
}

#[test]
fn a45_slow_reader() {
    // Without limits on what it asks for, so that what it does not read is what counts.
    let mut world = World::with(3, lenient);
    let [a, b] = world.members_at(1, [0, 0]);
    let me = Persona::client(&world, 1);
    let mut sloth = Intruder::dial(&mut world, S, me);
    sloth.read(&mut world, false);
    let before = world.sim.sent(S).bytes;
    for round in 0..20 {
        for request in 0..200 {
            let find = sloth.nearest(round * 1000 + request, world.room(9));
            sloth.queue(&world, &find);
        }
        sloth.wait(&mut world, ms(500));
    }
    sloth.wait(&mut world, secs(15));
    let sent = world.sim.sent(S).bytes - before;
    let window = world.sim.config().network.socket_buffer_bytes as u64;
    assert!(sent < window + 64 * 1024, "{sent} bytes left for one that does not read");
    let peer = sloth.me.peer;
    let slow = |event: &Event| matches!(event, Event::LinkClosed { peer: of, reason: CloseReason::SlowReader, .. } if *of == peer);
    assert!(world.told(S).iter().any(slow));
    assert!(world.count(S, "queue_overflows") > 0);
    world.say(a, 1, "on we go");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["3: on we go"]));
}

#[test]
fn a60_half_open_partition() {
    let mut world = World::new(3);
    let [a, b] = world.service_members(1, [0, 1]);
    let cut = world.sim.partition_one_way(&[a], &[b]).expect("two sides");
    world.pass(secs(12));
    // Neither end takes a link for alive of which only one direction is left.
    for (from, to) in [(a, b), (b, a)] {
        let peer = world.sim.peer_id(to);
        let direct = world.node(from).links().into_iter().find(|link| link.peer == peer);
        let direct = direct.filter(|link| link.carrier == unamed_protocol::Carrier::WebSocket);
        assert_eq!(direct, None, "{from:?} to {to:?}");
    }
    world.forget();
    world.say(a, 1, "over there");
    world.say(b, 1, "and back");
    world.pass(secs(30));
    world.sim.heal(cut);
    world.pass(secs(60));
    assert_eq!((world.members(a, 1), world.members(b, 1)), (vec![b], vec![a]));
    for (node, text) in [(b, "0: over there"), (a, "1: and back")] {
        let told = world.story(node, 1);
        assert_eq!(told.iter().filter(|told| *told == text).count(), 1, "{told:?}");
    }
}
