//! Each law is broken once, and seen to be.

use core::time::Duration;

use super::*;
use crate::node::links::{Link, LinkCarrier};
use crate::node::rooms::Member;
use crate::node::testing;
use crate::{CloseReason, Instant, LinkId, PeerId, RequestId, RoomId, RoomKey};

const PEER: PeerId = PeerId([7; 32]);
const GONE: LinkId = LinkId(99);

/// A client that joined a room and published its claim.
fn node() -> (Node, RoomId) {
    let mut node = testing::client();
    let room = node.join(&RoomKey::from_seed([9; 32]), Instant::ZERO).unwrap();
    (node.started, node.homes) = (true, [PeerId([8; 32])].into());
    node.publish(room, Instant::ZERO);
    node.flush(Instant::ZERO);
    (node, room)
}

fn link(node: &mut Node, state: LinkState) -> LinkId {
    let id = node.mint_link();
    let mut link = Link::new(LinkCarrier::WebSocket, true, Instant::ZERO);
    link.state = state;
    node.links.insert(id, alloc::boxed::Box::new(link));
    id
}

fn member(node: &mut Node, room: RoomId, change: impl FnOnce(&mut Member)) {
    let state = node.rooms.get_mut(&room).unwrap();
    let mut member = Member::new(state.claim.clone().unwrap());
    change(&mut member);
    state.members.insert(PEER, alloc::boxed::Box::new(member));
}

/// Nothing is wrong with the node; after the change this is.
#[track_caller]
fn seen(law: &str, change: impl FnOnce(&mut Node, RoomId)) {
    let (mut node, room) = node();
    assert_eq!(node.broken_invariants(), Vec::<String>::new());
    change(&mut node, room);
    let broken = node.broken_invariants();
    assert!(broken.iter().any(|text| text.contains(law)), "{law}: {broken:?}");
}

#[test]
fn links_that_are_not_what_they_should_be_are_seen() {
    seen("which is not open or not its", |node, _| {
        node.peers.insert(PEER, GONE);
    });
    seen("is open and not in use", |node, _| {
        link(node, LinkState::Open);
    });
    seen("contests a link that is gone", |node, _| {
        link(node, LinkState::Contested(GONE));
    });
    for state in [LinkState::Dialing, LinkState::Handshaking, LinkState::Draining(CloseReason::Unwanted)] {
        seen("has no deadline", |node, _| {
            link(node, state);
        });
    }
    seen("contacts are linked", |node, _| {
        node.table.linked(PEER, false, false, Instant::ZERO);
    });
    seen("which is gone", |node, _| {
        node.dialing.insert(PEER, GONE);
    });
}

#[test]
fn circuits_that_do_not_add_up_are_seen() {
    seen("has lost an end", |node, _| {
        node.circuits.insert((GONE, 1), CircuitEnd::Endpoint { link: GONE, owed: Default::default() });
    });
    seen("are accounted", |node, _| node.tokens.relayed = 5);
    seen("counts 1 circuits, there are 0", |node, _| {
        let id = link(node, LinkState::Dialing);
        node.links.get_mut(&id).unwrap().circuits = 1;
    });
}

#[test]
fn members_and_rooms_out_of_order_are_seen() {
    seen("rooms and their order differ", |node, _| node.room_order.clear());
    seen("is a member by a link that is not in use", |node, room| {
        member(node, room, |member| member.link = Some(GONE));
    });
    seen("is present for ever without a link", |node, room| {
        member(node, room, |member| member.present = true);
    });
    seen("the streams of", |node, room| {
        node.rooms.get_mut(&room).unwrap().streams.proved_to(PEER, GONE);
    });
    seen("has no deadline", |node, room| node.timers.clear(Timer::Join(room)));
}

#[test]
fn requests_without_an_owner_or_a_deadline_are_seen() {
    seen("an attempt has outlived its request", |node, _| {
        node.attempts.insert(RequestId(1), RequestId(2));
    });
    seen("has no deadline", |node, _| {
        let request = *node.requests.keys().next().unwrap();
        for timer in [Timer::Attempt(request), Timer::Retry(request), Timer::Walk(request)] {
            node.timers.clear(timer);
        }
    });
}

#[test]
fn timers_of_what_is_gone_are_seen() {
    let (peer, room, request) = (PEER, RoomId([3; 32]), RequestId(77));
    for timer in [
        Timer::Session(GONE),
        Timer::Dial(GONE),
        Timer::Upgrade(peer),
        Timer::Hop(request, 0),
        Timer::Attempt(request),
        Timer::Walk(request),
        Timer::Publish(room),
        Timer::Connect(room, peer),
        Timer::Shutdown,
    ] {
        seen("is for something that is gone", |node, _| {
            node.timers.set(timer, Instant::ZERO + Duration::from_secs(1));
        });
    }
}

#[test]
fn what_is_beyond_its_bound_or_not_accounted_is_seen() {
    seen("rooms, more than", |node, _| node.config.rooms.joined_max = 0);
    seen("requests, more than", |node, _| node.config.routing.requests_max = 0);
    seen("links, more than", |node, _| {
        link(node, LinkState::Dialing);
        node.config.link.links_max = 0;
    });
    seen("timers, more than", |node, _| {
        for n in 0..1000 {
            node.timers.set(Timer::Attempt(RequestId(n)), Instant::ZERO);
        }
    });
    seen("bytes are queued", |node, _| node.queued_bytes = 5);
    seen("links wait for a flush", |node, _| {
        node.dirty.insert(GONE);
    });
}

#[test]
fn a_call_that_takes_too_many_steps_is_seen() {
    seen("a call took 8193 steps", |node, _| {
        node.work.begin(0);
        (0..8193).for_each(|_| node.work.step());
        node.work.begin(0);
    });
}
