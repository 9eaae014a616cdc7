//! The standard scenario, small, must be judged good; and the scenario API does what it says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::{Event, Instant, MemberLeftReason, Recipients, RoomKey};
use unamed_simulator::{
    Condition, Crash, NodeIndex, RawState, RunOptions, Scenario, Simulation, SimulationConfig,
};

#[test]
fn every_find_and_message_arrives_in_a_small_network() {
    for (service_nodes, clients, rooms, seed) in [(3, 6, 3, 1), (10, 20, 8, 2)] {
        let mut scenario = Scenario::new(service_nodes, clients, rooms, seed);
        scenario.duration = Duration::from_secs(130);
        let report = scenario.run(RunOptions::default(), |_| {}).report;
        assert_eq!(report.failures, Vec::<String>::new(), "{report}");
        assert!(report.finds.eligible > 100 && report.messages.expected > 0, "{report}");
    }
}

/// Two service nodes and two clients, one at each, both in a room.
fn a_room_of_two() -> (Simulation, [NodeIndex; 4], unamed_protocol::RoomId) {
    let mut sim = Simulation::new(SimulationConfig::new(5, Arc::new(IdealCrypto)));
    let services = [sim.add_service(), sim.add_service()];
    let clients = [sim.add_client(), sim.add_client()];
    sim.start(services[0], &[]);
    sim.start(services[1], &[services[0]]);
    sim.run_until(Instant::from_secs(20));
    let key = RoomKey::from_seed([3; 32]);
    let mut room = None;
    for (client, service) in clients.into_iter().zip(services) {
        sim.start(client, &[service]);
        let joined = sim.command(client, |node, now| node.join(&key, now)).expect("it runs");
        room = Some(joined.expect("a first room"));
    }
    sim.run_until(Instant::from_secs(50));
    let [a, b] = clients;
    let room = room.expect("two clients joined");
    for (one, other) in [(a, b), (b, a)] {
        let members = sim.node(one).and_then(|node| node.members(room));
        assert_eq!(members, Some(vec![sim.peer_id(other)]));
    }
    (sim, [services[0], services[1], a, b], room)
}

#[test]
fn a_crashed_member_is_reported_lost_and_comes_back_with_its_state() {
    for crash in [Crash::Process, Crash::Host] {
        let (mut sim, [_, _, a, b], room) = a_room_of_two();
        sim.take_events();
        sim.crash(b, crash);
        assert_eq!(sim.condition(b), Condition::Crashed(crash));
        let peer = sim.peer_id(b);
        let left = Event::MemberLeft { room, peer, reason: MemberLeftReason::Lost };
        let until = sim.now() + Duration::from_secs(60);
        let told = sim.run_until_event(until, |told| told.node == a && told.event == left);
        assert!(told.is_some(), "after {crash:?}");
        sim.restart(b, true);
        let key = RoomKey::from_seed([3; 32]);
        sim.command(b, |node, now| node.join(&key, now)).expect("it runs").expect("a first room");
        let joined = Event::MemberJoined { room, peer, data: Bytes::new() };
        let until = sim.now() + Duration::from_secs(60);
        let told = sim.run_until_event(until, |told| told.node == a && told.event == joined);
        assert!(told.is_some(), "back after {crash:?}");
        assert_eq!(sim.violations().first(), []);
    }
}

#[test]
fn a_node_that_shuts_down_is_gone_in_good_order() {
    let (mut sim, [_, _, a, b], room) = a_room_of_two();
    sim.take_events();
    sim.shutdown(b);
    assert_eq!(sim.condition(b), Condition::Leaving);
    sim.run_until(sim.now() + Duration::from_secs(20));
    assert_eq!(sim.condition(b), Condition::Left);
    let left = Event::MemberLeft { room, peer: sim.peer_id(b), reason: MemberLeftReason::Left };
    assert!(sim.take_events_of(a).iter().any(|told| told.event == left));
    assert_eq!(sim.violations().first(), []);
}

#[test]
fn a_raw_link_that_talks_nonsense_is_closed_and_nothing_else_happens() {
    let (mut sim, [service, _, a, _], room) = a_room_of_two();
    let raw = sim.open_raw(service);
    sim.run_until(sim.now() + Duration::from_secs(1));
    assert_eq!(sim.raw_state(raw), RawState::Open);
    sim.raw_send(raw, Bytes::from_static(b"{\"nodeName\": \"the original\"}"));
    sim.run_until(sim.now() + Duration::from_secs(10));
    assert!(matches!(sim.raw_state(raw), RawState::Closed(_)), "{:?}", sim.raw_state(raw));
    assert_eq!(sim.node(a).and_then(|node| node.members(room)).map(|members| members.len()), Some(1));
    assert_eq!(sim.violations().first(), []);
}

#[test]
fn a_message_to_a_member_out_of_reach_goes_over_the_room_sealed() {
    let mut sim = Simulation::new(SimulationConfig::new(8, Arc::new(IdealCrypto)));
    let nodes = [sim.add_service(), sim.add_service(), sim.add_service()];
    let [a, b, c] = nodes;
    let key = RoomKey::from_seed([4; 32]);
    let mut room = None;
    for node in nodes {
        sim.start(node, if node == a { &[] } else { &nodes[..1] });
        sim.run_until(sim.now() + Duration::from_secs(20));
        room = sim.command(node, |node, now| node.join(&key, now)).and_then(Result::ok);
    }
    let room = room.expect("all joined");
    sim.run_until(sim.now() + Duration::from_secs(20));
    sim.partition(&[a], &[b]).expect("a cut");
    // The link is lost after ten seconds of silence, and the member given up ten seconds later.
    let links_to_b = |sim: &Simulation| {
        let peer = sim.peer_id(b);
        sim.node(a).is_some_and(|node| node.links().iter().any(|link| link.peer == peer))
    };
    while links_to_b(&sim) {
        sim.run_until(sim.now() + Duration::from_millis(100));
    }
    sim.take_events();
    let (to, text) = (Recipients::Only(vec![sim.peer_id(b)]), Bytes::from_static(b"for you alone"));
    let sent = sim.command(a, |node, now| node.broadcast(room, text.clone(), to, now));
    let id = sent.and_then(Result::ok).expect("b is a member still");
    sim.run_until(sim.now() + Duration::from_secs(5));
    let told = |node| {
        let events = sim.take_events_of(node).into_iter();
        events.filter(|told| matches!(&told.event, Event::Message(message) if message.id == id)).count()
    };
    assert_eq!([b, c].map(told), [1, 0]);
}
