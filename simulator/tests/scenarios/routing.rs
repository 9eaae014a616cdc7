//! Routing and rendezvous: finds, holders of claims, crashes on the way, partitions.

use std::sync::Arc;

use unamed_protocol::{NodeKind, RoomId, RoomKey};
use unamed_simulator::{BookkeepingCrypto, Condition, Crash, NodeIndex};

use crate::dsl::{World, ms, secs, sentences};

/// XOR distance of a service node's place, SHA-256 of its key, to a room.
fn distance(world: &World, node: NodeIndex, room: RoomId) -> [u8; 32] {
    let mut place = RoomKey::room_id(&world.sim.peer_id(node).0).0;
    place.iter_mut().zip(room.0).for_each(|(byte, other)| *byte ^= other);
    place
}

/// The running service nodes, the one nearest to a room first.
fn by_distance(world: &World, room: u8) -> Vec<NodeIndex> {
    let room = world.room(room);
    let mut nodes: Vec<NodeIndex> = world
        .sim
        .nodes()
        .filter(|&node| {
            world.sim.kind(node) == NodeKind::Service && world.sim.condition(node) == Condition::Up
        })
        .collect();
    nodes.sort_by_key(|&node| distance(world, node, room));
    nodes
}

/// The service nodes that hold claims of a room, and how many.
fn holders(world: &World, room: u8) -> Vec<(NodeIndex, usize)> {
    let id = world.room(room);
    let held = |node: NodeIndex| {
        let table = world.node(node).routing_table();
        table.held.iter().find(|(held, _)| *held == id).map(|(_, count)| (node, *count))
    };
    by_distance(world, room).into_iter().filter_map(held).collect()
}

#[test]
fn a_find_of_an_empty_room_answers_after_four_attempts_with_its_route() {
    let mut world = World::new(6);
    let client = world.client(2);
    world.pass(secs(3));
    let report = world.find(client, 9);
    assert_eq!((report.attempts, report.members.len()), (4, 0));
    assert_eq!(report.route.first().map(|hop| hop.peer), Some(world.sim.peer_id(client)));
    assert!(report.route.len() >= 2, "{report:?}");
}

#[test]
fn a_silent_hop_is_routed_round() {
    let mut world = World::new(12);
    let [member] = world.members_at(1, [0]);
    let finder = world.client(1);
    world.pass(secs(10));
    let before = world.find(finder, 1);
    assert_eq!(before.members, [world.sim.peer_id(member)]);
    let hop = before.route.get(1).expect("a first hop").peer;
    let hop = world.sim.nodes().find(|node| world.sim.peer_id(*node) == hop).expect("a node");
    world.sim.crash(hop, Crash::Host);
    let after = world.find(finder, 1);
    assert_eq!(after.members, [world.sim.peer_id(member)]);
    assert!(after.elapsed < secs(3), "{after:?}");
    assert!(after.route.iter().all(|other| other.peer != world.sim.peer_id(hop)));
}

#[test]
fn a_claim_lies_at_the_nearest_service_node_and_its_next_three() {
    let mut world = World::new(12);
    for room in 1..=4 {
        let [member] = world.members_at(room, [u32::from(room)]);
        let nearest: Vec<(NodeIndex, usize)> =
            by_distance(&world, room).into_iter().take(4).map(|node| (node, 1)).collect();
        assert_eq!(holders(&world, room), nearest, "room {room} of {member:?}");
    }
}

#[test]
fn a_newcomer_that_is_nearer_to_a_room_gets_its_claims() {
    let mut world = World::new(8);
    let newcomer = world.sim.add_service();
    let nearest_to_be = |room: &u8| {
        let id = world.room(*room);
        let own = distance(&world, newcomer, id);
        by_distance(&world, *room).iter().all(|&node| distance(&world, node, id) > own)
    };
    let room = (1..=255).find(nearest_to_be).expect("one in nine rooms");
    let [member] = world.members_at(room, [0]);
    assert_eq!(holders(&world, room).len(), 4);
    world.sim.start(newcomer, &[NodeIndex(0)]);
    world.pass(secs(20));
    assert_eq!(holders(&world, room).first(), Some(&(newcomer, 1)));
    let finder = world.client(8);
    world.pass(secs(3));
    assert_eq!(world.find(finder, room).members, [world.sim.peer_id(member)]);
}

/// Notifications that were sent so far, by all service nodes.
fn notifications(world: &World) -> u64 {
    by_distance(world, 1).into_iter().map(|node| world.count(node, "notifications_sent")).sum()
}

#[test]
fn who_meets_by_publishing_or_by_a_hand_over_is_not_notified_besides() {
    let mut world = World::new(8);
    let newcomer = world.sim.add_service();
    let nearest_to_be = |room: &u8| {
        let id = world.room(*room);
        let own = distance(&world, newcomer, id);
        by_distance(&world, *room).iter().all(|&node| distance(&world, node, id) > own)
    };
    let room = (1..=255).find(nearest_to_be).expect("one in nine rooms");
    world.members_at(room, [0, 3, 6]);
    assert_eq!(notifications(&world), 0, "each was told of the others as it published");
    world.sim.start(newcomer, &[NodeIndex(0)]);
    world.pass(secs(20));
    assert_eq!(holders(&world, room).first(), Some(&(newcomer, 3)));
    assert_eq!(notifications(&world), 0, "the former root knew all three");
}

#[test]
fn a_room_stays_findable_when_its_root_crashes() {
    for crash in [Crash::Process, Crash::Host] {
        let mut world = World::new(8);
        let [member] = world.members_at(1, [0]);
        let root = by_distance(&world, 1)[0];
        let service = (0..8).find(|number| *number != root.0).expect("another one");
        let finder = world.client(service);
        world.pass(secs(3));
        world.sim.crash(root, crash);
        let report = world.find(finder, 1);
        assert_eq!(report.members, [world.sim.peer_id(member)], "after {crash:?}");
        world.pass(secs(60));
        let nearest: Vec<NodeIndex> = by_distance(&world, 1).into_iter().take(2).collect();
        let held: Vec<NodeIndex> = holders(&world, 1).into_iter().map(|(node, _)| node).collect();
        assert!(nearest.iter().all(|node| held.contains(node)), "{nearest:?} of {held:?}");
    }
}

#[test]
fn two_halves_that_formed_apart_become_one_room() {
    let mut world = World::unborn(Arc::new(BookkeepingCrypto::new()), |_| {});
    let services: Vec<NodeIndex> = (0..6).map(|_| world.sim.add_service()).collect();
    let clients = [world.sim.add_client(), world.sim.add_client()];
    let (left, right) = services.split_at(3);
    let sides = [[left, &clients[..1]].concat(), [right, &clients[1..]].concat()];
    let cut = world.sim.partition(&sides[0], &sides[1]).expect("room for a cut");
    for &service in &services {
        // Each half has its own first node, and knows the other half's.
        world.sim.start(service, &[left[0], right[0]]);
        world.pass(ms(200));
    }
    world.sim.start(clients[0], left);
    world.sim.start(clients[1], right);
    world.pass(secs(30));
    for client in clients {
        world.join(client, 1);
    }
    world.pass(secs(30));
    for client in clients {
        assert_eq!(world.story(client, 1), sentences(["in alone"]));
    }
    world.forget();
    world.sim.heal(cut);
    world.pass(secs(100));
    assert_eq!(world.story(clients[0], 1), sentences(["7 joined"]));
    assert_eq!(world.story(clients[1], 1), sentences(["6 joined"]));
    let nearest: Vec<(NodeIndex, usize)> =
        by_distance(&world, 1).into_iter().take(4).map(|node| (node, 2)).collect();
    assert_eq!(holders(&world, 1)[..4], nearest);
}

#[test]
fn a_service_node_that_restarts_at_its_address_is_found_again() {
    for crash in [Crash::Process, Crash::Host] {
        let mut world = World::new(4);
        let [a, b] = world.service_members(1, [1, 2]);
        world.sim.crash(a, crash);
        world.pass(secs(45));
        assert_eq!(world.story(b, 1), sentences(["1 left, lost"]), "{crash:?}");
        world.forget();
        world.sim.restart(a, true);
        world.join(a, 1);
        world.pass(secs(30));
        assert_eq!(world.story(b, 1), sentences(["1 joined"]), "{crash:?}");
        let client = world.client(1);
        world.pass(secs(5));
        let mut wanted = vec![world.sim.peer_id(a), world.sim.peer_id(b)];
        wanted.sort_unstable();
        assert_eq!(world.find(client, 1).members, wanted, "{crash:?}");
    }
}

#[test]
fn a_client_whose_homes_all_fell_silent_finds_through_others_at_once() {
    let mut world = World::new(8);
    let finder = world.client(0);
    world.pass(secs(90));
    let homes = world.node(finder).routing_table().homes;
    let service_links = world.node(finder).links().iter().filter(|link| link.service).count();
    assert_eq!((homes.len(), service_links), (3, 3), "it keeps its homes and nobody else");
    let services = (0..8).map(NodeIndex);
    let (silent, others): (Vec<NodeIndex>, Vec<NodeIndex>) =
        services.partition(|node| homes.contains(&world.sim.peer_id(*node)));
    world.join(others[0], 1);
    world.pass(secs(5));
    for home in silent {
        world.sim.crash(home, Crash::Host);
    }
    let report = world.find(finder, 1);
    assert_eq!(report.members, [world.sim.peer_id(others[0])]);
    assert!(report.elapsed < secs(4), "long before the links are given up: {:?}", report.elapsed);
}

#[test]
fn a_client_that_was_cut_off_for_longer_than_between_two_lookups_of_homes_looks_them_up_again() {
    let mut world = World::new(6);
    let client = world.client(0);
    world.pass(secs(90));
    for service in 0..6 {
        world.sim.crash(NodeIndex(service), Crash::Process);
    }
    world.pass(secs(400));
    assert_eq!(world.node(client).links(), [], "no service node runs");
    // One is there before the others, so that they cannot be dialled yet.
    world.sim.restart(NodeIndex(0), true);
    world.pass(secs(60));
    (1..6).for_each(|service| world.sim.restart(NodeIndex(service), true));
    world.pass(secs(90));
    assert_eq!(world.node(client).routing_table().homes.len(), 3);
}

/// Service nodes and clients whose recursive requests all come to nothing: no answer is quick enough.
fn deaf(services: usize) -> World {
    World::with(services, |config| config.client.routing.attempt_timeout = ms(1))
}

#[test]
fn who_gets_no_answer_asks_service_nodes_itself() {
    let mut world = World::new(20);
    let member = NodeIndex(3);
    world.join(member, 1);
    world.pass(secs(5));
    let mut config = world.sim.config().client.clone();
    config.routing.attempt_timeout = ms(1);
    let seeker = world.sim.add(config);
    world.sim.start(seeker, &[NodeIndex(7)]);
    world.pass(secs(5));
    let found = world.find(seeker, 1);
    assert_eq!(found.members, [world.sim.peer_id(member)]);
    assert_eq!(found.attempts, 4, "the walk came last");
    assert!(world.count(seeker, "walks_started") > 0);
    let nowhere = world.find(seeker, 2);
    assert_eq!(nowhere.members, []);
    let queries = world.count(seeker, "queries_sent");
    assert!((17..=50).contains(&queries), "{queries} queries for both");
    world.pass(secs(60));
    assert!(world.node(seeker).links().len() <= 8, "what walks dialled is closed");
}

#[test]
fn a_walk_publishes_where_attempts_do_not() {
    let mut world = deaf(20);
    let [a, b] = [world.client(0), world.client(5)];
    world.pass(secs(10));
    for client in [a, b] {
        world.join(client, 1);
        world.pass(secs(20));
    }
    assert!(world.count(a, "claims_placed") > 0);
    let room = world.room(1);
    let holders = world.sim.nodes().take(20).filter(|node| {
        world.node(*node).routing_table().held.iter().any(|(held, claims)| *held == room && *claims == 2)
    });
    assert!(holders.count() >= 4, "both claims are with the nearest");
}

#[test]
fn claims_are_kept_under_every_key_of_their_room() {
    let mut world = World::with(40, |config| {
        config.client.routing.replica_keys = 3;
        config.client.routing.iterative = false;
    });
    let member = world.client(0);
    world.pass(secs(5));
    world.join(member, 1);
    world.pass(secs(5));
    let held = holders(&world, 1).len();
    assert!((10..=12).contains(&held), "four for each of three keys: {held}");
    world.leave(member, 1);
    world.pass(secs(5));
    let left: usize = holders(&world, 1).iter().map(|(_, claims)| claims).sum();
    assert_eq!(left, 0, "a withdrawal reaches all of them");
    world.join(member, 1);
    world.pass(secs(5));
    // Those of the first key fall silent at once, before anybody can take their place.
    let first = by_distance(&world, 1);
    let seeker = world.sim.add_client();
    world.sim.start(seeker, &[first[20]]);
    world.pass(secs(5));
    for holder in &first[..4] {
        world.sim.crash(*holder, Crash::Host);
    }
    let found = world.find(seeker, 1);
    assert_eq!(found.members, [world.sim.peer_id(member)]);
    assert!(found.attempts > 1, "by another key: {found:?}");
}

#[test]
fn a_publish_is_read_back_and_repaired() {
    let mut world = World::with(20, |config| {
        // Holders make no copies: nobody but the root has the claim.
        config.service.routing.replicas = 1;
        config.client.routing.read_back = true;
    });
    let member = world.client(0);
    world.pass(secs(5));
    world.join(member, 1);
    world.pass(secs(10));
    let placed = world.count(member, "claims_placed");
    assert!(placed >= 3 && placed.is_multiple_of(3), "each time the three next lacked it: {placed}");
}

#[test]
fn who_knows_its_neighbours_is_told_of_them_by_marks() {
    let mut world = World::new(20);
    let sent =
        |world: &World| (0..20).map(|node| world.count(NodeIndex(node), "bytes_sent_lookup")).sum::<u64>();
    let fresh = sent(&world);
    world.pass(secs(120));
    let before = sent(&world);
    world.pass(secs(120));
    // Two self-lookups a node, each of a few hops; a home claim has some two hundred bytes, an answer nine of them.
    let each = (sent(&world) - before) / 40;
    assert!(each < 900, "{each} bytes for a look-up that says nothing new; {fresh} in the first 20 s");
}

#[test]
fn a_member_that_was_told_the_claim_is_asked_without_it() {
    let mut world = World::new(3);
    let [a, b] = world.members_at(1, [0, 1]);
    let sent =
        |world: &World| [a, b].iter().map(|node| world.count(*node, "bytes_sent_connect")).sum::<u64>();
    let first = sent(&world);
    let relay = world.relay(a);
    world.sim.crash(relay, Crash::Process);
    world.pass(secs(12));
    assert_eq!(world.members(a, 1), [b]);
    let again = sent(&world) - first;
    assert!(first > 0 && again > 0 && again < first, "{first} bytes at first, {again} again");
}

#[test]
fn a_room_is_never_alone_because_a_nearer_service_node_has_just_become_ready() {
    for after in (0..24).map(|step| ms(100 * step)) {
        let mut world = World::new(1);
        let [member] = world.members_at(1, [0]);
        for room in 2..9 {
            world.join(member, room);
        }
        world.pass(secs(5));
        let newcomer = world.sim.add_service();
        world.sim.start(newcomer, &[NodeIndex(0)]);
        world.pass(after);
        let [first, second] = [world.client(0), world.client(2)];
        for step in 0..8 {
            world.pass(ms(150));
            for client in [first, second] {
                world.join(client, step + 1);
            }
        }
        world.pass(secs(20));
        let nearer = (1..9).filter(|&room| by_distance(&world, room)[0] == newcomer).count();
        assert!((2..7).contains(&nearer), "{nearer} of 8 rooms are nearer to the newcomer");
        for (room, client) in (1..9).flat_map(|room| [(room, first), (room, second)]) {
            let story = world.story(client, room);
            assert_ne!(story[0], "in alone", "room {room}, {after:?} after the start: {story:?}");
        }
    }
}
