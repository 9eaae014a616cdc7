//! What members say of themselves: nicknames, mostly.

use bytes::Bytes;
use unamed_protocol::{Event, MemberDataError};
use unamed_simulator::{Crash, NodeIndex};

use crate::dsl::{World, ms, secs, sentences};

#[test]
fn who_joins_late_knows_all_names_and_is_known_by_its_own_at_once() {
    let mut world = World::new(2);
    let [a, b, c] = [0, 1, 0].map(|service| world.client(service));
    world.pass(secs(2));
    for (client, name) in [(a, Some("anna")), (b, None), (c, Some("cara"))] {
        world.join(client, 1);
        if let Some(name) = name {
            world.name(client, 1, name);
        }
        world.pass(secs(10));
    }
    assert_eq!(world.story(a, 1), sentences(["in alone", "3 joined", "4 joined as cara"]));
    assert_eq!(world.story(b, 1), sentences(["in with 2", "2 is \"anna\"", "4 joined as cara"]));
    assert_eq!(world.story(c, 1), sentences(["in with 2, 3", "2 is \"anna\""]));
    let known = |of| world.name_of(c, 1, of);
    assert_eq!([known(a), known(b), known(c)].map(Option::unwrap), ["anna", "", "cara"]);
    assert_eq!(known(NodeIndex(0)), None, "a service node is no member");
}

#[test]
fn a_change_reaches_all_and_of_many_the_last_ones() {
    let mut world = World::new(2);
    let [a, b, c] = world.members_at(1, [0, 1, 0]);
    for number in 0..100 {
        world.name(a, 1, &number.to_string());
    }
    world.pass(secs(1));
    for listener in [b, c] {
        assert_eq!(world.story(listener, 1), sentences(["2 is \"99\""]), "many at once are one");
    }
    world.forget();
    world.pass(secs(5));
    for number in 0..35 {
        world.name(a, 1, &format!("-{number}"));
        world.pass(ms(100));
    }
    world.pass(secs(2));
    for listener in [b, c] {
        let story = world.story(listener, 1);
        assert_eq!(story.last().map(String::as_str), Some("2 is \"-34\""), "{story:?}");
        assert_eq!(story.len(), 5, "one a second, and the last: {story:?}");
        assert_eq!(world.count(listener, "member_data_limited"), 0);
    }
    world.forget();
    world.name(a, 1, "");
    world.pass(secs(2));
    assert_eq!(world.story(b, 1), sentences(["2 is \"\""]));
    world.name(a, 1, "");
    world.pass(secs(2));
    assert_eq!(world.story(b, 1), sentences(["2 is \"\""]), "what does not change is not told");
}

#[test]
fn a_change_while_a_link_was_lost_comes_with_the_new_one() {
    let mut world = World::new(3);
    let [a, b] = world.members_at(1, [0, 1]);
    world.name(a, 1, "before");
    world.pass(secs(2));
    assert_eq!(world.story(b, 1), sentences(["3 is \"before\""]));
    world.forget();
    let relay = world.relay(a);
    world.sim.crash(relay, Crash::Process);
    let peer = world.sim.peer_id(a);
    let gone = |event: &Event| matches!(event, Event::LinkClosed { peer: of, .. } if *of == peer);
    while world.told_at(b, gone).is_none() {
        world.pass(ms(10));
    }
    world.name(a, 1, "meanwhile");
    world.pass(secs(12));
    assert_eq!(world.story(b, 1), sentences(["3 is \"meanwhile\""]), "nobody left, nobody joined");
}

#[test]
fn another_run_says_for_itself_what_it_has_to_say() {
    let mut world = World::new(2);
    let [a, b] = world.members_at(1, [0, 1]);
    for (first, second, sentence) in [("anna", "", "2 joined"), ("", "anna", "2 joined as anna")] {
        world.name(a, 1, first);
        world.pass(secs(5));
        world.forget();
        world.sim.crash(a, Crash::Process);
        world.sim.restart(a, true);
        world.join(a, 1);
        world.name(a, 1, second);
        world.pass(secs(30));
        let story = world.story(b, 1);
        assert_eq!(story.last().map(String::as_str), Some(sentence), "{story:?}");
        assert_eq!(world.name_of(b, 1, a).as_deref(), Some(second));
    }
}

#[test]
fn each_room_has_its_own_and_leaving_forgets_it() {
    let mut world = World::new(2);
    let [a, b] = world.members_at(1, [0, 1]);
    for member in [a, b] {
        world.join(member, 2);
        world.pass(secs(5));
    }
    world.name(a, 1, "anna");
    world.name(a, 2, "dr. a");
    world.pass(secs(2));
    assert_eq!(world.name_of(b, 1, a).as_deref(), Some("anna"));
    assert_eq!(world.name_of(b, 2, a).as_deref(), Some("dr. a"));
    world.leave(a, 2);
    world.pass(secs(2));
    assert_eq!((world.name_of(a, 2, a), world.name_of(b, 2, a)), (None, None));
    world.join(a, 2);
    world.pass(secs(5));
    assert_eq!(world.name_of(b, 2, a).as_deref(), Some(""), "a new start");
    assert_eq!(world.name_of(b, 1, a).as_deref(), Some("anna"));
}

#[test]
fn what_is_too_large_or_has_no_room_is_refused_and_changes_nothing() {
    let mut world = World::new(2);
    let [a, b] = world.members_at(1, [0, 1]);
    let (room, other) = (world.room(1), world.room(2));
    let mut set = |room, bytes: usize| {
        world.with_node(a, |node, now| node.set_member_data(room, Bytes::from(vec![b'x'; bytes]), now))
    };
    assert_eq!(set(other, 1), Err(MemberDataError::NotJoined));
    assert_eq!(set(room, 1024), Ok(()));
    assert_eq!(set(room, 1025), Err(MemberDataError::TooLarge { max: 1024 }));
    world.pass(secs(2));
    assert_eq!(world.name_of(b, 1, a), Some("x".repeat(1024)));
}
