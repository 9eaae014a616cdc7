//! Attacks by what members say of themselves.

use bytes::Bytes;
use serde::Serialize;
use unamed_protocol::wire::message::MemberData;
use unamed_protocol::wire::signed::{sign_body, signature_kind};
use unamed_protocol::wire::{MemberStatement, Message, Sequence, encode_body};
use unamed_protocol::{PeerId, RoomId};

use super::intruder::{Intruder, Persona, S, crypto, network};
use crate::dsl::{World, ms, secs, sentences};

/// A service node in room 1, and an intruder that is a member there.
fn insider() -> (World, Intruder) {
    let mut world = World::new(2);
    world.service_members(1, [0, 1]);
    let me = Persona::client(&world, 1);
    let mut insider = Intruder::dial(&mut world, S, me);
    insider.enter(&mut world, 1);
    assert_eq!(world.story(S, 1), sentences(["a stranger joined"]));
    world.forget();
    (world, insider)
}

impl Persona {
    fn says(&self, world: &World, room: u8, counter: u64, data: &str) -> Message {
        let data = Bytes::copy_from_slice(data.as_bytes());
        let sequence = Sequence { boot: 7, counter };
        let (room, crypto) = (world.room(room), crypto(world));
        let made = MemberStatement::make(room, sequence, data, &self.identity, crypto.as_ref(), &network());
        said(made.expect("not too large").bytes().clone())
    }

    /// A statement of any length in anybody's name, signed by this persona.
    fn claims(&self, world: &World, peer: PeerId, data: &[u8]) -> Message {
        #[derive(Serialize)]
        struct Body<'a> {
            version: u8,
            room: RoomId,
            peer: PeerId,
            sequence: Sequence,
            data: &'a [u8],
            extensions: [u8; 0],
        }
        let sequence = Sequence { boot: 7, counter: 1 };
        let mut bytes =
            encode_body(&Body { version: 1, room: world.room(1), peer, sequence, data, extensions: [] });
        // No extensions: a list of none.
        bytes.push(0);
        let (secret, crypto) = (self.identity.secret(), crypto(world));
        let kind = signature_kind::MEMBER_DATA;
        let signature = sign_body(kind, &[&bytes], secret, crypto.as_ref(), &network());
        bytes.extend_from_slice(&signature);
        said(bytes.into())
    }
}

fn said(statement: Bytes) -> Message {
    Message::MemberData(MemberData { statement })
}

#[test]
fn a61_member_data_of_a_forged_author() {
    let (mut world, mut insider) = insider();
    let victim = world.sim.peer_id(unamed_simulator::NodeIndex(1));
    let other = Persona::client(&world, 2);
    let mut broken = {
        let Message::MemberData(data) = insider.me.says(&world, 1, 1, "me") else { unreachable!() };
        data.statement.to_vec()
    };
    *broken.last_mut().expect("bytes") ^= 1;
    let all = [
        insider.me.claims(&world, victim, b"not me"),
        // Signed by its author, and brought by another.
        other.says(&world, 1, 1, "not here"),
        // In the sender's own name, by somebody else's key; and with a byte changed.
        other.claims(&world, insider.me.peer, b"not mine"),
        said(broken.into()),
        said(Bytes::from_static(b"nonsense")),
    ];
    for (number, message) in all.iter().enumerate() {
        insider.say(&mut world, message);
        assert_eq!(world.count(S, "member_data_invalid"), number as u64 + 1);
    }
    assert_eq!(world.story(S, 1), Vec::<String>::new());
    let honest = insider.me.claims(&world, insider.me.peer, b"me");
    insider.say(&mut world, &honest);
    assert_eq!(world.story(S, 1), sentences(["a stranger is \"me\""]), "made the same way, and its own");
}

#[test]
fn a62_older_member_data_replayed() {
    let (mut world, mut insider) = insider();
    for (counter, data) in [(5, "new"), (4, "old"), (5, "another under that number"), (5, "new")] {
        let message = insider.me.says(&world, 1, counter, data);
        insider.say(&mut world, &message);
    }
    assert_eq!(world.count(S, "member_data_old"), 2, "what is known already is not counted");
    assert_eq!(world.story(S, 1), sentences(["a stranger is \"new\""]));
    // Nor before a proof on a new link of the same run.
    let me = insider.me.clone();
    insider.hang_up(&mut world);
    world.pass(secs(1));
    let mut again = Intruder::dial(&mut world, S, me);
    let old = again.me.says(&world, 1, 3, "old");
    again.say(&mut world, &old);
    again.enter(&mut world, 1);
    assert_eq!(world.count(S, "member_data_old"), 3);
    assert_eq!(world.story(S, 1), sentences(["a stranger is \"new\""]));
    let newer = again.me.says(&world, 1, 6, "newer");
    again.say(&mut world, &newer);
    assert_eq!(world.story(S, 1), sentences(["a stranger is \"new\"", "a stranger is \"newer\""]));
}

#[test]
fn a63_oversized_member_data() {
    let (mut world, mut insider) = insider();
    for bytes in [1025, 1900, 60_000] {
        let message = insider.me.claims(&world, insider.me.peer, &vec![b'x'; bytes]);
        let invalid = world.count(S, "member_data_invalid");
        insider.say(&mut world, &message);
        assert_eq!(world.count(S, "member_data_invalid"), invalid + 1, "{bytes} bytes");
    }
    assert_eq!(world.story(S, 1), Vec::<String>::new());
    assert!(insider.is_linked(&world));
    let largest = insider.me.claims(&world, insider.me.peer, &[b'x'; 1024]);
    insider.say(&mut world, &largest);
    assert_eq!(world.story(S, 1).len(), 1);
}

#[test]
fn a64_a_flood_of_member_data() {
    let (mut world, mut insider) = insider();
    let sent = world.sim.sent(S).bytes;
    for counter in 1..=2000 {
        let message = insider.me.says(&world, 1, counter, &counter.to_string());
        insider.queue(&world, &message);
        if counter % 100 == 0 {
            insider.wait(&mut world, ms(100));
        }
    }
    insider.wait(&mut world, ms(200));
    let taken = world.story(S, 1).len();
    // Two seconds: the burst of twenty, and two a second.
    assert!((20..=25).contains(&taken), "{taken} of 2,000 are taken");
    assert_eq!(world.count(S, "member_data_limited"), 2000 - taken as u64);
    assert!(insider.is_linked(&world), "it costs nothing else");
    assert!(world.sim.sent(S).bytes - sent < 20_000, "nobody is told of it");
    insider.wait(&mut world, secs(2));
    let last = insider.me.says(&world, 1, 9999, "the last");
    insider.say(&mut world, &last);
    assert_eq!(world.story(S, 1).last().map(String::as_str), Some("a stranger is \"the last\""));
}

#[test]
fn a65_member_data_of_outsiders_and_for_other_rooms() {
    let (mut world, mut insider) = insider();
    world.join(S, 2);
    world.pass(secs(3));
    world.forget();
    // A room that nobody here is in, and one in which the sender is no member: never believed.
    let foreign = world.count(S, "room_messages_from_non_members");
    for room in [9, 2] {
        let message = insider.me.says(&world, room, 1, "x");
        insider.say(&mut world, &message);
    }
    assert_eq!(world.count(S, "room_messages_from_non_members"), foreign + 1);
    // A proof of another room does not lend it anything.
    let me = Persona::client(&world, 3);
    let mut stranger = Intruder::dial(&mut world, S, me);
    let elsewhere = stranger.me.says(&world, 2, 1, "of room 2");
    stranger.say(&mut world, &elsewhere);
    stranger.enter(&mut world, 1);
    assert_eq!(world.count(S, "member_data_invalid"), 1);
    // Ten thousand words before a proof: the last alone is held, and it counts.
    for counter in 1..=10_000 {
        let message = stranger.me.says(&world, 2, counter, &counter.to_string());
        stranger.queue(&world, &message);
    }
    stranger.wait(&mut world, secs(1));
    stranger.enter(&mut world, 2);
    assert_eq!(world.story(S, 1), sentences(["a stranger joined"]));
    assert_eq!(world.story(S, 2), sentences(["a stranger joined as 10000"]));
}
