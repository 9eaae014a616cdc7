//! Rooms: joining, leaving, full rooms, several rooms, the primary one.

use unamed_protocol::{Event, JoinError, RoomError};
use unamed_simulator::{Check, Crash, NodeIndex};

use crate::dsl::{World, key, ms, secs, sentences};

#[test]
fn a_join_ends_in_each_of_its_four_ways() {
    let mut world = World::new(2);
    let (first, second) = (world.client(0), world.client(1));
    world.pass(secs(2));
    world.join(first, 1);
    world.pass(secs(3));
    world.join(second, 1);
    world.pass(secs(3));
    assert_eq!(world.story(first, 1), sentences(["in alone", "3 joined"]));
    assert_eq!(world.story(second, 1), sentences(["in with 2"]));
    // Both hosts fall silent: their claims are still held.
    world.sim.crash(first, Crash::Host);
    world.sim.crash(second, Crash::Host);
    let third = world.client(0);
    world.pass(secs(2));
    world.join(third, 1);
    world.pass(secs(13));
    assert_eq!(world.story(third, 1), sentences(["in, 2 out of reach"]));
    // Nobody listens where the fourth one dials.
    let nowhere = world.sim.add_service();
    let fourth = world.client(nowhere.0);
    world.join(fourth, 1);
    world.pass(secs(13));
    assert_eq!(world.story(fourth, 1), sentences(["in, offline"]));
}

#[test]
fn a_join_that_was_offline_comes_true_once_there_is_a_network() {
    let mut world = World::new(1);
    let [member] = world.members_at(1, [0]);
    let late = world.sim.add_service();
    let client = world.client(late.0);
    world.join(client, 1);
    world.pass(secs(13));
    world.sim.start(late, &[NodeIndex(0)]);
    world.pass(secs(60));
    assert_eq!(world.story(client, 1), sentences(["in, offline", "1 joined"]));
    assert_eq!(world.story(member, 1), sentences(["3 joined"]));
}

#[test]
fn the_seventeenth_member_is_refused_and_nobody_else_is_disturbed() {
    let mut world = World::with(3, |config| config.check = Check::Sampled(50));
    let members: Vec<NodeIndex> = (0..16).map(|number| world.client(number % 3)).collect();
    world.pass(secs(2));
    for &member in &members {
        world.join(member, 1);
        world.pass(secs(1));
    }
    world.pass(secs(10));
    for &member in &members {
        assert_eq!(world.members(member, 1).len(), 15, "{member:?}");
    }
    world.forget();
    let late = world.client(0);
    world.pass(secs(2));
    world.join(late, 1);
    world.pass(secs(20));
    assert_eq!(world.story(late, 1), sentences(["out, full"]));
    assert_eq!(world.node(late).rooms(), []);
    for &member in &members {
        assert_eq!(world.story(member, 1), Vec::<String>::new(), "{member:?}");
        assert_eq!(world.members(member, 1).len(), 15, "{member:?}");
    }
}

#[test]
fn who_leaves_may_come_back() {
    let mut world = World::new(2);
    let [a, b] = world.members_at(1, [0, 1]);
    world.say(b, 1, "before");
    world.pass(secs(1));
    world.leave(b, 1);
    let id = world.room(1);
    assert_eq!(world.with_node(b, |node, now| node.leave(id, now)), Err(RoomError::NotJoined));
    world.pass(secs(5));
    world.join(b, 1);
    let again = world.with_node(b, |node, now| node.join(&key(1), now));
    assert_eq!(again, Err(JoinError::AlreadyJoined));
    world.pass(secs(5));
    world.say(b, 1, "after");
    world.pass(secs(1));
    assert_eq!(world.story(a, 1), sentences(["3: before", "3 left, left", "3 joined", "3: after"]));
    assert_eq!(world.story(b, 1), sentences(["out", "in with 2"]));
}

#[test]
fn five_rooms_at_once_share_one_link() {
    let mut world = World::new(2);
    let (a, b) = (world.client(0), world.client(1));
    world.pass(secs(2));
    for room in 1..=5 {
        world.join(a, room);
    }
    world.pass(secs(4));
    for room in 1..=5 {
        world.join(b, room);
    }
    world.pass(secs(10));
    for room in 1..=5 {
        world.say(a, room, &format!("in room {room}"));
    }
    world.pass(secs(1));
    for room in 1..=5 {
        assert_eq!(world.story(a, room), sentences(["in alone", "3 joined"]), "room {room}");
        let heard = format!("2: in room {room}");
        assert_eq!(world.story(b, room), sentences(["in with 2", &heard]), "room {room}");
    }
    let peer = world.sim.peer_id(b);
    let links = world.node(a).links();
    assert_eq!(links.iter().filter(|link| link.peer == peer).count(), 1);
}

#[test]
fn making_a_room_primary_moves_the_node_and_keeps_its_rooms() {
    let mut world = World::new(4);
    let [a, b] = world.members_at(1, [0, 1]);
    world.join(a, 2);
    world.pass(secs(3));
    world.forget();
    assert_eq!(world.node(a).routing_table().location, world.room(1));
    let second = world.room(2);
    assert_eq!(world.with_node(a, |node, now| node.make_primary(second, now)), Ok(()));
    world.pass(secs(10));
    assert_eq!(world.node(a).routing_table().location, second);
    let primary: Vec<bool> = world.node(a).rooms().iter().map(|room| room.primary).collect();
    assert_eq!(primary, [false, true]);
    let told = world.told(a);
    let changes = told.iter().filter(|event| matches!(event, Event::PrimaryChanged { .. }));
    assert_eq!(changes.collect::<Vec<_>>(), [&Event::PrimaryChanged { room: second }]);
    world.say(b, 1, "still here");
    world.pass(secs(1));
    assert_eq!(world.story(a, 1), sentences(["5: still here"]));
    assert_eq!(world.story(b, 1), Vec::<String>::new());
    let third = world.room(3);
    assert_eq!(world.with_node(a, |node, now| node.make_primary(third, now)), Err(RoomError::NotJoined));
    let fixed = world.with_node(NodeIndex(0), |node, now| node.make_primary(third, now));
    assert_eq!(fixed, Err(RoomError::PrimaryFixed));
}

#[test]
fn two_who_join_at_the_same_instant_see_each_other_once() {
    let mut world = World::new(2);
    let (a, b) = (world.client(0), world.client(1));
    world.pass(secs(2));
    world.join(a, 1);
    world.join(b, 1);
    world.pass(secs(20));
    for (one, other) in [(a, b), (b, a)] {
        let met = [
            vec![format!("in with {}", other.0)],
            vec![String::from("in alone"), format!("{} joined", other.0)],
        ];
        let story = world.story(one, 1);
        assert!(met.contains(&story), "{story:?}");
        assert_eq!(world.members(one, 1), [other]);
        let peer = world.sim.peer_id(other);
        let links = world.node(one).links();
        assert_eq!(links.iter().filter(|link| link.peer == peer).count(), 1);
    }
}

#[test]
fn who_joined_on_both_sides_of_a_partition_meet_when_it_heals() {
    let mut world = World::new(2);
    let (a, b) = (world.client(0), world.client(1));
    world.pass(ms(500));
    let [left, right] = [[NodeIndex(0), a], [NodeIndex(1), b]];
    let cut = world.sim.partition(&left, &right).expect("room for a cut");
    world.pass(secs(30));
    world.forget();
    world.join(a, 1);
    world.join(b, 1);
    world.pass(secs(15));
    world.sim.heal(cut);
    world.pass(secs(75));
    assert_eq!(world.story(a, 1), sentences(["in alone", "3 joined"]));
    assert_eq!(world.story(b, 1), sentences(["in alone", "2 joined"]));
    world.say(a, 1, "together");
    world.pass(secs(1));
    assert_eq!(world.story(b, 1).last().map(String::as_str), Some("2: together"));
}

#[test]
fn two_parts_of_a_room_that_meet_are_told_so() {
    let mut world = World::new(2);
    let clients = [0, 0, 1, 1].map(|service| world.client(service));
    world.pass(ms(500));
    let [a, b, c, d] = clients;
    let [left, right] = [[NodeIndex(0), a, b], [NodeIndex(1), c, d]];
    let cut = world.sim.partition(&left, &right).expect("room for a cut");
    world.pass(secs(30));
    for client in clients {
        world.join(client, 1);
        world.pass(secs(5));
    }
    let merged = |event: &Event| matches!(event, Event::RoomMerged { .. });
    assert!(clients.iter().all(|client| world.told_at(*client, merged).is_none()), "nothing has met yet");
    world.sim.heal(cut);
    world.pass(secs(75));
    let told = clients.iter().filter(|client| world.told_at(**client, merged).is_some()).count();
    assert!(told >= 2, "at least those who met first are told, not {told}");
    for client in clients {
        let others: Vec<NodeIndex> = clients.into_iter().filter(|other| *other != client).collect();
        assert_eq!(world.members(client, 1), others);
    }
}

#[test]
fn a_member_that_all_its_homes_deny_is_not_asked_for_again_and_again() {
    let mut world = World::new(3);
    let [a, b] = world.members_at(1, [0, 1]);
    world.sim.crash(b, Crash::Process);
    world.pass(secs(40));
    assert_eq!(world.story(a, 1).len(), 1, "it is reported lost");
    let asked = world.count(a, "bytes_sent_connect");
    // Until its own renewal, whose answer names the old claim once more.
    world.pass(secs(200));
    assert_eq!(world.count(a, "bytes_sent_connect"), asked);
    world.sim.restart(b, true);
    world.join(b, 1);
    world.pass(secs(10));
    assert_eq!(world.members(a, 1), [b], "a newer claim begins anew");
}
