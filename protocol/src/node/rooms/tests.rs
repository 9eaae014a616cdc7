use super::*;
use crate::RequestId;
use crate::node::api::Hop;
use crate::node::testing;
use crate::wire::message::PublishAnswer;

/// A client that is a member of a room and published its claim with these homes a moment ago.
fn publishing(homes: &[PeerId]) -> (Node, RoomId) {
    let mut node = testing::client();
    node.bootstrap("/ip4/127.0.0.1/tcp/4000/ws".parse().unwrap(), Instant::ZERO);
    let room = node.join(&RoomKey::from_seed([9; 32]), Instant::ZERO).unwrap();
    node.started = true;
    node.homes = homes.to_vec();
    node.publish(room, Instant::ZERO);
    let state = node.rooms.get_mut(&room).unwrap();
    assert!(state.claim.as_ref().is_some_and(|claim| claim.homes() == homes));
    state.publishing = true;
    (node, room)
}

/// The holder answers; how long the next publish waits.
fn answered(node: &mut Node, room: RoomId) -> Duration {
    answered_by(node, room, true)
}

fn answer(room: RoomId, service: bool) -> Answer {
    Answer {
        task: Task::Publish { room },
        id: RequestId(1),
        key: room,
        started: Instant::ZERO,
        attempts: 1,
        route: [Hop { peer: PeerId([8; 32]), rtt: Duration::ZERO, service }].into(),
        content: Content::Publish(PublishAnswer { claims: Bounded::default(), newer: None, slow_down: 0 }),
        payload: Bytes::new(),
    }
}

/// A service node or a fellow member answers; how long the next publish waits.
fn answered_by(node: &mut Node, room: RoomId, service: bool) -> Duration {
    let now = Instant::ZERO + Duration::from_millis(100);
    node.publish_ended(room, &answer(room, service), now);
    node.timers.at(Timer::Publish(room)).unwrap().since(now)
}

#[test]
fn homes_that_change_while_a_claim_is_published_are_published_at_once() {
    let (before, after) = ([PeerId([1; 32]), PeerId([2; 32])], [PeerId([2; 32]), PeerId([3; 32])]);
    let (mut node, room) = publishing(&before);
    assert!(answered(&mut node, room) >= Duration::from_secs(1), "nothing is new");
    let (mut node, room) = publishing(&before);
    node.homes = after.to_vec();
    assert_eq!(answered(&mut node, room), node.config.routing.coalesce);
    let (mut node, room) = publishing(&before);
    node.homes.clear();
    assert!(answered(&mut node, room) >= Duration::from_secs(1), "there is nothing to say");
}

#[test]
fn a_newer_claim_of_a_former_run_is_stepped_over_while_the_room_is_joined() {
    let (mut node, room) = publishing(&[PeerId([1; 32])]);
    let pause = |node: &Node| node.timers.at(Timer::Publish(room));
    let older = node.rooms[&room].claim.clone();
    assert!(!node.step_over(room, older.as_ref().unwrap().bytes(), Instant::ZERO), "it is the present one");
    node.rooms.get_mut(&room).unwrap().publishing = false;
    node.publish(room, Instant::ZERO);
    let newer = core::mem::replace(&mut node.rooms.get_mut(&room).unwrap().claim, older).unwrap();
    node.timers.clear(Timer::Publish(room));
    assert!(node.step_over(room, newer.bytes(), Instant::ZERO));
    assert!(pause(&node).is_some());
    node.leave(room, Instant::ZERO).unwrap();
    assert!(!node.step_over(room, newer.bytes(), Instant::ZERO));
    assert_eq!(pause(&node), None, "there is nothing left to publish");
}

#[test]
fn a_claim_that_only_fellow_members_heard_is_published_again_once_homes_are_there() {
    let wait = |homes: &[PeerId], service| {
        let (mut node, room) = publishing(&[PeerId([1; 32])]);
        node.homes = homes.to_vec();
        node.rooms.get_mut(&room).unwrap().lonely = usize::MAX;
        answered_by(&mut node, room, service)
    };
    let home = [PeerId([1; 32])];
    assert!(wait(&home, true) > Duration::from_secs(200));
    assert!(wait(&home, false) < Duration::from_secs(3));
    assert!(wait(&[], false) > Duration::from_secs(200), "a home that comes has it published");
}

#[test]
fn an_attempt_that_ends_when_its_room_is_left_goes_on_for_the_other_rooms() {
    for leaves in [true, false] {
        let (mut node, room) = publishing(&[PeerId([1; 32])]);
        let other = node.join(&RoomKey::from_seed([8; 32]), Instant::ZERO).unwrap();
        let peer = PeerId([7; 32]);
        let claim = node.rooms[&room].claim.clone().unwrap();
        for room in [room, other] {
            let member = Box::new(Member::new(claim.clone()));
            node.rooms.get_mut(&room).unwrap().members.insert(peer, member);
        }
        if leaves {
            node.leave(room, Instant::ZERO).unwrap();
        } else {
            node.rooms.get_mut(&room).unwrap().members.remove(&peer);
        }
        node.connecting.insert(peer);
        node.connect_member(other, peer, Instant::ZERO);
        assert_eq!(node.timers.at(Timer::Connect(other, peer)), None, "it waits for the attempt");
        let answer = Answer { content: Content::Failed, ..answer(room, true) };
        node.connect_ended(room, peer, &answer, Instant::ZERO);
        assert_eq!(node.timers.at(Timer::Connect(room, peer)), None);
        assert!(node.timers.at(Timer::Connect(other, peer)).is_some());
    }
}

#[test]
fn streams_forget_a_member_that_was_shown_a_proof_and_never_gave_one() {
    let (mut node, room) = publishing(&[PeerId([1; 32])]);
    let peer = PeerId([7; 32]);
    let state = node.rooms.get_mut(&room).unwrap();
    let claim = state.claim.clone().unwrap();
    state.members.insert(peer, Box::new(Member::new(claim)));
    state.streams.proved_to(peer, LinkId(1));
    node.expire_members(Instant::ZERO);
    assert!(node.rooms[&room].members.contains_key(&peer), "its claim is current");
    node.unix_ms += 3_600_000;
    node.expire_members(Instant::ZERO);
    let state = &node.rooms[&room];
    assert!(!state.members.contains_key(&peer));
    assert_eq!(state.streams.peers().count(), 0);
}
