//! Direct links between clients: the upgrade from a circuit, what NATs forbid, and what losing either of them costs.

use unamed_protocol::{Carrier, Event};
use unamed_simulator::{Crash, Nat, NodeIndex, SignalManners};

use crate::dsl::{World, ms, secs, sentences};

/// Service nodes, and clients that link by WebRTC where their NATs let them.
fn world(services: usize, nat: Nat) -> World {
    World::with(services, |config| {
        config.client.webrtc.enabled = true;
        config.network.nat[0] = (nat, 1.0);
    })
}

fn carrier(world: &World, from: NodeIndex, to: NodeIndex) -> Carrier {
    let peer = world.sim.peer_id(to);
    let links = world.node(from).links();
    links.iter().find(|link| link.peer == peer).expect("they are linked").carrier
}

#[test]
fn members_link_directly_and_lose_no_message_on_the_way() {
    let mut world = world(2, Nat::Restricted);
    let clients = [0, 1, 1].map(|service| world.client(service));
    world.pass(secs(2));
    for client in clients {
        world.join(client, 1);
    }
    // While links change under them.
    let mut said = Vec::new();
    world.pass(ms(300));
    for round in 0..40 {
        if world.members(clients[0], 1).len() == 2 {
            world.say(clients[0], 1, &round.to_string());
            said.push(format!("2: {round}"));
        }
        world.pass(ms(50));
    }
    world.pass(secs(5));
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert_eq!(carrier(&world, clients[from], clients[to]), Carrier::WebRtc);
    }
    for client in &clients[1..] {
        let story = world.story(*client, 1);
        let heard: Vec<&String> = story.iter().filter(|sentence| sentence.starts_with("2: ")).collect();
        assert_eq!(heard, said.iter().collect::<Vec<_>>());
        assert!(story.iter().all(|sentence| !sentence.contains("left")), "{story:?}");
    }
    assert!(said.len() > 20, "{} said while links changed", said.len());
}

#[test]
fn signals_that_come_twice_or_late_open_the_same_link() {
    for delay in [ms(0), ms(400)] {
        let mut world = World::with(2, |config| {
            config.client.webrtc.enabled = true;
            config.network.signals = SignalManners { delay, duplicates: 1.0 };
        });
        let [a, b] = world.members_at(1, [0, 1]);
        world.pass(secs(60));
        for (from, to) in [(a, b), (b, a)] {
            assert_eq!(carrier(&world, from, to), Carrier::WebRtc, "{delay:?}");
            // A description is given to the peer once, whatever the stack says.
            assert!(world.count(from, "signals_unsent") > 0, "{delay:?}");
            assert_eq!(world.count(from, "signals_invalid"), 0, "{delay:?}");
        }
        world.say(a, 1, "hello");
        world.pass(secs(1));
        assert!(world.story(b, 1).iter().any(|sentence| sentence.ends_with(": hello")), "{delay:?}");
    }
}

#[test]
fn where_no_udp_passes_members_are_relayed() {
    let mut world = world(2, Nat::Blocked);
    let [a, b] = world.members_at(1, [0, 1]);
    world.pass(secs(200));
    assert_eq!(carrier(&world, a, b), Carrier::Circuit);
    assert_eq!(world.told(a).iter().filter(|event| matches!(event, Event::MemberLeft { .. })).count(), 0);
    let attempts = world.count(a, "webrtc_attempts");
    assert!((3..=5).contains(&attempts), "{attempts} attempts in 200 s, with pauses that grow");
    assert_eq!(world.count(a, "webrtc_failed"), attempts);
}

#[test]
fn members_talk_on_while_no_service_node_lives() {
    let mut world = world(2, Nat::Restricted);
    let [a, b, c] = world.members_at(1, [0, 1, 1]);
    let services = [NodeIndex(0), NodeIndex(1)];
    for service in services {
        world.sim.crash(service, Crash::Process);
    }
    world.pass(secs(40));
    world.say(a, 1, "still here");
    world.tell(b, 1, c, "so am I");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["2: still here"]));
    assert_eq!(world.story(c, 1), sentences(["2: still here", "3 to me: so am I"]));
    for service in services {
        world.sim.restart(service, true);
    }
    world.pass(secs(60));
    let late = world.client(0);
    world.pass(secs(2));
    world.join(late, 1);
    world.pass(secs(10));
    assert_eq!(world.members(late, 1), [a, b, c]);
    assert_eq!(carrier(&world, late, a), Carrier::WebRtc);
}

#[test]
fn the_loss_of_a_direct_link_alone_is_not_told() {
    let mut world = world(2, Nat::Restricted);
    let [a, b] = world.members_at(1, [0, 1]);
    assert_eq!(carrier(&world, a, b), Carrier::WebRtc);
    // Nothing passes between the two any more; both reach the service nodes.
    let cut = world.sim.partition(&[a], &[b]).expect("room for a cut");
    world.pass(secs(60));
    assert_eq!(carrier(&world, a, b), Carrier::Circuit);
    world.say(a, 1, "by a relay");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["2: by a relay"]));
    assert_eq!(world.story(a, 1), sentences([]));
    world.sim.heal(cut);
    world.pass(secs(700));
    assert_eq!(carrier(&world, a, b), Carrier::WebRtc, "it is tried again");
    assert_eq!(world.story(a, 1), sentences([]));
}

#[test]
fn a_member_that_crashed_is_told_once() {
    let mut world = world(2, Nat::Restricted);
    let [a, b] = world.members_at(1, [0, 1]);
    assert_eq!(carrier(&world, a, b), Carrier::WebRtc);
    world.sim.crash(b, Crash::Process);
    world.pass(secs(60));
    assert_eq!(world.story(a, 1), sentences(["3 left, lost"]));
}

#[test]
fn a_member_that_leaves_is_told_at_once() {
    let mut world = world(2, Nat::Restricted);
    let [a, b] = world.members_at(1, [0, 1]);
    world.leave(b, 1);
    world.pass(ms(200));
    assert_eq!(world.story(a, 1), sentences(["3 left, left"]));
}

#[test]
fn without_service_nodes_members_find_the_rooms_of_their_fellows() {
    let mut world = world(2, Nat::Restricted);
    let [a, b] = world.members_at(1, [0, 1]);
    let c = world.client(1);
    world.pass(secs(2));
    for client in [b, c] {
        world.join(client, 2);
        world.pass(secs(3));
    }
    for service in [NodeIndex(0), NodeIndex(1)] {
        world.sim.crash(service, Crash::Host);
    }
    world.pass(secs(60));
    assert_eq!(world.members(b, 2), [c], "what is linked directly stays");
    world.forget();
    world.join(a, 2);
    world.pass(secs(30));
    assert_eq!(world.members(a, 2), [b, c]);
    assert_eq!(carrier(&world, a, c), Carrier::WebRtc, "b relayed what it took");
    world.say(a, 2, "found you");
    world.pass(secs(1));
    assert!(world.story(c, 2).contains(&String::from("2: found you")));
    let nowhere = world.find(c, 9);
    assert_eq!(nowhere.members, [], "a room that nobody near is in");
}
