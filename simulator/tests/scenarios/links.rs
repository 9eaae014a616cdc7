//! Links: duplicates, contested identities, restarts, crashes, refusals, budgets.

use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::{CloseReason, Config, Event, LinkReason, LinkReasons, NetworkId};
use unamed_simulator::{BookkeepingCrypto, Check, Crash, Latency, NodeIndex, RawState};

use crate::dsl::{World, ms, secs, sentences};

/// Why links of this node failed before they were usable.
fn failures(world: &mut World, node: NodeIndex) -> Vec<CloseReason> {
    let told = world.told(node);
    let reason =
        |event: &Event| if let Event::LinkFailed { reason, .. } = event { Some(*reason) } else { None };
    told.iter().filter_map(reason).collect()
}

#[test]
fn b30_two_links_dialled_at_once_from_both_ends_end_as_one() {
    let mut world = World::unborn(Arc::new(BookkeepingCrypto::new()), |_| {});
    let [a, b] = [world.sim.add_service(), world.sim.add_service()];
    world.sim.start(a, &[b]);
    world.sim.start(b, &[a]);
    world.pass(secs(20));
    let [of_a, of_b] = [a, b].map(|node| world.node(node).links());
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    assert_ne!(of_a[0].outbound, of_b[0].outbound);
    let lower = if world.sim.peer_id(a) < world.sim.peer_id(b) { &of_a } else { &of_b };
    assert!(lower[0].outbound, "the link that the lower id opened stays");
    assert_eq!(world.sim.carrier_count(), 1);
}

#[test]
fn a_client_so_far_out_that_no_dial_ends_in_the_usual_time_gets_in() {
    // TCP and the upgrade take 5.6 s, the handshake as much at the service node: more than either usually may.
    let mut world = World::with(1, |config| config.network.latency = Latency::Fixed(ms(1400)));
    let client = world.client(0);
    world.pass(secs(5));
    assert_eq!(failures(&mut world, client), [CloseReason::DialTimeout]);
    world.pass(secs(25));
    assert_eq!(failures(&mut world, client), [CloseReason::DialTimeout], "no further one");
    assert_eq!(world.node(client).links().len(), 1);
}

#[test]
fn a_second_place_with_the_same_identity_is_refused_and_the_first_one_stays() {
    let mut world = World::new(1);
    let [a, b] = world.members_at(1, [0, 0]);
    let twin = world.sim.add_twin(a);
    world.sim.start(twin, &[NodeIndex(0)]);
    world.pass(secs(10));
    let told_by = Some(world.sim.peer_id(NodeIndex(0)));
    assert!(world.told(twin).contains(&Event::IdentityInUse { told_by }));
    assert_eq!(world.node(twin).links(), []);
    world.say(a, 1, "still here");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1), sentences(["1: still here"]));
    assert!(!world.told(a).iter().any(|event| matches!(event, Event::IdentityInUse { .. })));
}

#[test]
fn a_restart_replaces_the_old_instance() {
    for (crash, with_state) in
        [(Crash::Process, true), (Crash::Process, false), (Crash::Host, true), (Crash::Host, false)]
    {
        let mut world = World::new(2);
        let [a, b] = world.members_at(1, [0, 1]);
        world.sim.crash(b, crash);
        world.pass(secs(1));
        world.sim.restart(b, with_state);
        world.join(b, 1);
        world.pass(secs(20));
        world.say(b, 1, "back");
        world.pass(secs(1));
        let told = world.story(a, 1);
        assert_eq!(told, sentences(["3 left, restarted", "3 joined", "3: back"]), "{crash:?} {with_state}");
        assert_eq!(world.story(b, 1), sentences(["in with 2"]), "{crash:?} {with_state}");
    }
}

#[test]
fn a_crash_is_told_once_by_its_deadline() {
    // Silence between client and service node is noticed within 30 s; the suspicion lasts 10 s.
    for (crash, bound) in [(Crash::Process, secs(11)), (Crash::Host, secs(41))] {
        let mut world = World::new(2);
        let [a, b, c] = world.members_at(1, [0, 1, 0]);
        let crashed = world.sim.now();
        world.sim.crash(b, crash);
        world.pass(secs(90));
        for other in [a, c] {
            assert_eq!(world.story(other, 1), sentences(["3 left, lost"]), "{other:?} after {crash:?}");
            let at = world.told_at(other, |event| matches!(event, Event::MemberLeft { .. }));
            let took = at.expect("it was told").since(crashed);
            assert!(took <= bound, "{took:?} after {crash:?}");
        }
    }
}

#[test]
fn a_goodbye_is_told_at_once() {
    let mut world = World::new(2);
    let [a, b] = world.members_at(1, [0, 1]);
    world.sim.shutdown(b);
    world.pass(ms(500));
    assert_eq!(world.story(a, 1), sentences(["3 left, left"]));
    world.pass(secs(30));
    assert_eq!(world.story(a, 1), sentences(["3 left, left"]));
}

#[test]
fn a_service_node_that_ends_tells_its_clients_where_else_to_go() {
    let mut world = World::new(6);
    let node = NodeIndex(0);
    // A client that has had no time to hear of others: it goes where the goodbye says.
    let client = world.client(0);
    while world.node(node).links().iter().all(|link| link.service) {
        world.pass(ms(1));
    }
    let known = |event: &Event| matches!(event, Event::NewServiceAddress { .. });
    let before = world.told(client).iter().filter(|event| known(event)).count();
    assert_eq!(before, 0, "it knows of no other");
    world.sim.shutdown(node);
    world.pass(secs(3));
    let closed = |event: &Event| matches!(event, Event::LinkClosed { reason: CloseReason::Shutdown, .. });
    let told = world.told(client);
    assert!(told.iter().any(closed), "{told:#?}");
    let links = world.node(client).links();
    assert!(links.iter().any(|link| link.service), "it is linked elsewhere: {links:?}");

    // Members whose homes end do not notice.
    let [a, b] = world.members_at(1, [1, 2]);
    world.sim.shutdown(NodeIndex(1));
    world.pass(secs(5));
    world.say(a, 1, "still here");
    world.pass(secs(5));
    assert_eq!(world.story(b, 1), sentences(["7: still here"]));
    assert_eq!(world.story(a, 1), Vec::<String>::new());
}

#[test]
fn peers_of_other_networks_and_versions_are_refused_with_the_reason() {
    let mut world = World::new(1);
    let network = NetworkId::new("another").expect("a name");
    let foreign = world.sim.add(Config::client(network));
    world.sim.start(foreign, &[NodeIndex(0)]);
    world.pass(secs(1));
    assert_eq!(failures(&mut world, foreign), [CloseReason::WrongNetwork]);
    let raw = world.sim.open_raw(NodeIndex(0));
    world.pass(secs(1));
    // The preamble of version 9, which speaks nothing but version 9.
    let frame = [&[9, 0][..], b"unamed", &[1, 9], &[0; 40]].concat();
    world.sim.raw_send(raw, Bytes::from(frame));
    world.pass(secs(1));
    assert!(matches!(world.sim.raw_state(raw), RawState::Closed(_)));
    let refusal = world.sim.raw_receive(raw).expect("a reason in the clear");
    assert!(refusal.contains(&(CloseReason::VersionMismatch as u8)), "{refusal:?}");
    assert!(failures(&mut world, NodeIndex(0)).contains(&CloseReason::VersionMismatch));
}

#[test]
fn a_flood_of_clients_never_exceeds_what_a_service_node_serves() {
    let mut world = World::with(2, |config| config.service.link.clients_max = 5);
    let clients: Vec<NodeIndex> = (0..14).map(|_| world.client(0)).collect();
    let mut most = 0;
    for _ in 0..600 {
        world.pass(ms(50));
        for service in [NodeIndex(0), NodeIndex(1)] {
            let clients = world.node(service).links().iter().filter(|link| !link.service).count();
            most = most.max(clients);
        }
    }
    assert_eq!(most, 5);
    // Those that were refused were told of the other one.
    let linked = clients.iter().filter(|&&client| !world.node(client).links().is_empty()).count();
    assert!(linked >= 5, "{linked}");
    assert_eq!(world.node(NodeIndex(1)).links().iter().filter(|link| !link.service).count(), 5);
}

#[test]
fn links_that_neither_end_wants_are_closed() {
    let mut world = World::new(8);
    let client = world.sim.add_client();
    let all: Vec<NodeIndex> = (0..8).map(NodeIndex).collect();
    world.sim.start(client, &all);
    world.pass(secs(3));
    assert!(world.node(client).links().len() >= 8);
    world.pass(secs(90));
    let homes = world.node(client).routing_table().homes;
    let mut linked: Vec<_> = world.node(client).links().iter().map(|link| link.peer).collect();
    let mut wanted = homes.clone();
    linked.sort_unstable();
    wanted.sort_unstable();
    assert_eq!((homes.len(), linked), (3, wanted));
    assert!(world.count(client, "links_pruned") + world.count(client, "links_closed") >= 5);
}

#[test]
fn a_flood_of_service_nodes_never_exceeds_the_hard_budget_and_all_find_their_way() {
    let crypto = Arc::new(BookkeepingCrypto::new());
    let mut world = World::unborn(crypto, |config| {
        (config.service.link.overlay_soft, config.service.link.overlay_hard) = (18, 20);
        config.check = Check::Sampled(20);
    });
    let nodes: Vec<NodeIndex> = (0..30).map(|_| world.sim.add_service()).collect();
    for &node in &nodes {
        world.sim.start(node, &nodes[..1]);
    }
    let mut most = 0;
    for _ in 0..300 {
        world.pass(ms(100));
        most = nodes.iter().map(|&node| world.node(node).links().len()).fold(most, usize::max);
    }
    assert!((10..=20).contains(&most), "{most} links");
    assert!(world.count(NodeIndex(0), "links_refused") > 0);
    world.join(nodes[29], 1);
    world.pass(secs(3));
    for finder in [nodes[7], nodes[15]] {
        assert_eq!(world.find(finder, 1).members, [world.sim.peer_id(nodes[29])]);
    }
}

#[test]
fn a_fellow_member_is_admitted_beyond_the_soft_budget() {
    let mut world = World::with(30, |config| {
        (config.service.link.overlay_soft, config.service.link.overlay_hard) = (8, 40);
    });
    world.pass(secs(70));
    let a = NodeIndex(0);
    let linked: Vec<_> = world.node(a).links().iter().map(|link| link.peer).collect();
    let mut far = (1..30).map(NodeIndex).filter(|node| !linked.contains(&world.sim.peer_id(*node)));
    let b = far.next_back().expect("a node is not linked to all others");
    assert!([a, b].iter().all(|node| world.node(*node).links().len() >= 8), "both are at their soft budget");
    world.join(a, 1);
    world.join(b, 1);
    world.pass(secs(10));
    assert_eq!((world.members(a, 1), world.members(b, 1)), (vec![b], vec![a]));
}

#[test]
fn events_say_why_a_link_was_opened_and_closed() {
    let mut world = World::new(1);
    let [a, b] = world.members_at(1, [0, 0]);
    let (peer, of_room) = (world.sim.peer_id(b), LinkReasons::default().with(LinkReason::Room));
    world.leave(b, 1);
    world.pass(secs(90));
    let closed = |event: &Event| matches!(event, Event::LinkClosed { peer: of, reason: CloseReason::Unwanted, .. } if *of == peer);
    assert!(world.told_at(a, closed).is_some(), "nobody needs the link any more");
    world.forget();
    world.join(b, 1);
    world.pass(secs(5));
    let opened = |event: &Event| {
        matches!(event, Event::LinkOpened { peer: of, reasons, .. }
            if *of == peer && reasons.without(LinkReason::SetUp) == of_room)
    };
    assert!(world.told_at(a, opened).is_some(), "{:?}", world.told(a));
    world.forget();
    world.sim.crash(b, Crash::Process);
    world.pass(secs(5));
    let lost = |event: &Event| {
        matches!(event, Event::LinkClosed { peer: of, reasons, .. }
            if *of == peer && reasons.contains(LinkReason::Room))
    };
    assert!(world.told_at(a, lost).is_some(), "{:?}", world.told(a));
}

#[test]
fn bytes_are_counted_by_what_they_are_for() {
    let mut world = World::new(4);
    let finder = world.client(1);
    world.join(NodeIndex(3), 1);
    world.pass(secs(5));
    let find = |world: &World, node| world.count(node, "bytes_sent_find");
    assert_eq!(find(&world, finder), 0);
    world.find(finder, 1);
    assert!(find(&world, finder) > 0);
    let counted: u64 = world
        .node(finder)
        .metrics()
        .iter()
        .filter(|(name, _)| name.starts_with("bytes_sent_"))
        .map(|(_, bytes)| bytes)
        .sum();
    let sent = world.count(finder, "bytes_sent");
    assert!(
        counted <= sent && counted * 3 > sent,
        "{counted} of {sent}: the rest is handshakes, framing and pings"
    );
}
