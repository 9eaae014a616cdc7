//! Attacks by members, and by those who would like to be: authorship, replay, sequence numbers, clocks, member lists.

use unamed_protocol::rooms::outbox::stream_id;
use unamed_protocol::wire::message::{Announce, Purpose, RoomClaims};
use unamed_protocol::wire::{Bounded, Message, PeerIds, RoomMessage, Routed, encode_body};
use unamed_protocol::{Event, PeerId, RequestId};
use unamed_simulator::{Crash, NodeIndex};

use super::intruder::{Intruder, Persona, S, lenient, unix_ms};
use crate::dsl::{World, ms, secs, sentences};

/// Two service nodes in room 1, and an intruder that is a member at the first.
fn insider() -> (World, [NodeIndex; 2], Intruder) {
    insider_of(World::new(3))
}

fn insider_of(mut world: World) -> (World, [NodeIndex; 2], Intruder) {
    let members = world.service_members(1, [0, 1]);
    let me = Persona::client(&world, 1);
    let mut insider = Intruder::dial(&mut world, S, me);
    insider.enter(&mut world, 1);
    let story = world.story(S, 1);
    assert_eq!(story, sentences(["a stranger joined"]));
    world.forget();
    (world, members, insider)
}

/// As [`insider`], and a second member, linked as well, whose messages the first one forwards.
fn insiders() -> (World, [NodeIndex; 2], Intruder, Persona) {
    let (mut world, members, insider) = insider();
    let author = Persona::client(&world, 2);
    Intruder::dial(&mut world, S, author.clone()).enter(&mut world, 1);
    world.forget();
    (world, members, insider, author)
}

/// Says to the victim that `author` is a member.
fn vouch(world: &mut World, insider: &mut Intruder, author: &Persona) {
    let claims = Bounded::truncated([author.claim(world, 1).bytes().clone()]);
    let news = RoomClaims { room: world.room(1), joined_s: 0, claims };
    insider.say(world, &Message::RoomClaims(news));
}

/// The victim crashes, returns without a memory of streams, and joins again.
fn restart(world: &mut World) {
    world.sim.crash(S, Crash::Process);
    world.pass(secs(1));
    world.sim.restart(S, true);
    world.join(S, 1);
    world.pass(secs(20));
    world.forget();
}

fn told_messages(world: &mut World, node: NodeIndex) -> Vec<String> {
    let told = world.told(node);
    let text = |event: &Event| {
        let Event::Message(message) = event else { return None };
        Some(String::from_utf8_lossy(&message.payload).into_owned())
    };
    told.iter().filter_map(text).collect()
}

#[test]
fn a11_forged_origin() {
    let (mut world, members, mut insider) = insider_of(World::with(3, lenient));
    let victim = world.sim.peer_id(members[1]);
    let (forged, connects) = (world.count(S, "routed_forged"), world.count(S, "connects_invalid"));
    // A packet that begins its route with another, as if that had sent it over this link.
    let packet = insider.packet(Purpose::Find, 1, world.room(9), Vec::new());
    let route = PeerIds::new(&[victim]).expect("one");
    insider.say(&mut world, &Message::Routed(Routed { route, ..packet }));
    assert_eq!(world.count(S, "routed_forged"), forged + 1);
    // A connect request in another's name, signed by this one.
    let other = Persona::client(&world, 9);
    let cases: [&dyn Fn(&mut unamed_protocol::wire::message::ConnectRequest); 4] = [
        &|request| request.about.origin = victim,
        &|request| request.about.id = RequestId(0xC1),
        &|request| request.about.target = PeerId([8; 32]),
        &|request| request.claim = other.claim(&world, 1).bytes().clone(),
    ];
    let requests: Vec<_> =
        cases.iter().map(|change| insider.me.connect(&world, |request| change(request))).collect();
    for (number, (_, connect)) in requests.into_iter().enumerate() {
        let key = unamed_protocol::routing::key::home_id(world.sim.peer_id(S));
        let mut packet = insider.packet(Purpose::Connect, 0xC0, key, encode_body(&connect));
        packet.attempt = u8::try_from(number).expect("few");
        packet.target = Some(world.sim.peer_id(S));
        insider.say(&mut world, &Message::Routed(packet));
    }
    assert_eq!(world.count(S, "connects_invalid"), connects + 4);
    assert_eq!(insider.replies(), [], "a forged request is not answered");
}

#[test]
fn a12_forged_author() {
    let (mut world, members, mut insider) = insider();
    let victim = world.sim.peer_id(members[1]);
    let instance = unamed_protocol::Instance { boot: 1_750_000_000_000, session: 1 };
    let invalid = world.count(S, "room_messages_invalid");
    let forged = insider.me.message_with(&world, 1, "I am not I", |header| {
        (header.author, header.instance) = (victim, instance);
    });
    let unsigned = RoomMessage { signature: bytes::Bytes::new(), ..forged.clone() };
    // Nor in the name of the receiver, nor of somebody who is no member, nor of another run of its own.
    let of_receiver = insider.me.message_with(&world, 1, "x", |header| header.author = world.sim.peer_id(S));
    let stranger = Persona::client(&world, 9).message(&world, 1, 0, "x");
    let other_run = insider.me.message_with(&world, 1, "x", |header| header.instance.boot += 1);
    let all = [forged, unsigned, of_receiver, stranger, other_run];
    for message in all.clone() {
        insider.say(&mut world, &Message::RoomMessage(message));
    }
    assert_eq!(world.count(S, "room_messages_invalid"), invalid + all.len() as u64);
    assert_eq!(told_messages(&mut world, S), Vec::<String>::new());
}

#[test]
fn a13_recipients_stripped() {
    let (mut world, members, mut insider, author) = insiders();
    let recipients = [world.sim.peer_id(S), world.sim.peer_id(members[1])];
    let for_two = author.message_with(&world, 1, "for two", |header| {
        header.recipients = Bounded::ascending(recipients.to_vec()).expect("two");
        header.stream = stream_id(&header.recipients);
    });
    let invalid = world.count(S, "room_messages_invalid");
    for strip in [1, 0] {
        let mut header: unamed_protocol::wire::message::Header =
            unamed_protocol::wire::decode_body(&for_two.header).expect("a header");
        header.recipients = Bounded::truncated(recipients[..strip].iter().copied());
        header.stream = stream_id(&header.recipients);
        let stripped = RoomMessage { header: encode_body(&header).into(), ..for_two.clone() };
        insider.say(&mut world, &Message::RoomMessage(stripped));
    }
    assert_eq!(world.count(S, "room_messages_invalid"), invalid + 2, "the signature covers the recipients");
    insider.say(&mut world, &Message::RoomMessage(for_two));
    insider.wait(&mut world, secs(6));
    assert_eq!(told_messages(&mut world, S), ["for two"]);
}

#[test]
fn a14_dedup_poisoning() {
    let (mut world, _, mut insider, author) = insiders();
    let message = author.message(&world, 1, 0, "the real one");
    // The same header, hence the same id, with another body, and with a bad signature: neither takes the id.
    let mut signature = message.signature.to_vec();
    signature[0] ^= 1;
    let invalid = world.count(S, "room_messages_invalid");
    for poison in [
        RoomMessage { body: bytes::Bytes::from_static(b"another"), ..message.clone() },
        RoomMessage { signature: signature.into(), ..message.clone() },
    ] {
        insider.say(&mut world, &Message::RoomMessage(poison));
    }
    // An announced id that never comes is asked for a few times, and blocks nothing.
    let announce = Announce { room: world.room(1), messages: Bounded::truncated([message.id()]) };
    insider.say(&mut world, &Message::Announce(announce));
    assert_eq!(world.count(S, "room_messages_invalid"), invalid + 2);
    insider.say(&mut world, &Message::RoomMessage(message));
    insider.wait(&mut world, secs(6));
    assert_eq!(told_messages(&mut world, S), ["the real one"]);
}

#[test]
fn a14_one_id_has_one_body() {
    let (mut world, _, mut insider) = insider();
    let message = insider.me.message(&world, 1, 0, "this");
    let invalid = world.count(S, "room_messages_invalid");
    // Over its author's own link, signed or not: what does not hash as the header says is no message.
    for signature in [message.signature.clone(), bytes::Bytes::new()] {
        let other = RoomMessage { signature, body: bytes::Bytes::from_static(b"that"), ..message.clone() };
        insider.say(&mut world, &Message::RoomMessage(other));
    }
    assert_eq!(world.count(S, "room_messages_invalid"), invalid + 2);
    insider.say(&mut world, &Message::RoomMessage(message));
    assert_eq!(told_messages(&mut world, S), ["this"]);
}

#[test]
fn a15_replay_after_1_s_31_s_and_a_restart() {
    let (mut world, _, mut insider) = insider();
    // What an honest member signed, as the attacker got it: it could not be pushed to everybody, so it is signed.
    let message = insider.me.message(&world, 1, 0, "once");
    insider.say(&mut world, &Message::RoomMessage(message.clone()));
    let duplicates = world.count(S, "room_messages_duplicate");
    for pause in [secs(1), secs(30)] {
        insider.wait(&mut world, pause);
        insider.say(&mut world, &Message::RoomMessage(message.clone()));
    }
    assert_eq!(told_messages(&mut world, S), ["once"]);
    assert_eq!(world.count(S, "room_messages_duplicate"), duplicates + 2);
    // The receiver restarts without a memory of streams; the author is linked again, and said where its streams stand.
    restart(&mut world);
    let me = insider.me.clone();
    let mut again = Intruder::dial(&mut world, S, me);
    let mut proof = again.proof(&world, 1);
    let next = unamed_protocol::wire::message::StreamNext { stream: 0, next: 1 };
    proof.streams = Bounded::truncated([next]);
    again.say(&mut world, &Message::RoomProof(proof));
    again.say(&mut world, &Message::RoomMessage(message));
    again.wait(&mut world, secs(10));
    assert_eq!(told_messages(&mut world, S), Vec::<String>::new(), "its number lies before the baseline");
}

#[test]
fn a15_what_the_former_run_had_is_forwarded_to_the_new_one() {
    let (mut world, _, mut insider, author) = insiders();
    let (first, second) = (author.message(&world, 1, 0, "first"), author.message(&world, 1, 1, "second"));
    insider.say(&mut world, &Message::RoomMessage(first.clone()));
    assert_eq!(told_messages(&mut world, S), ["first"]);
    restart(&mut world);
    // The new run knows the author by its claim, and messages of it by others, before it hears from the author itself.
    let mut insider = Intruder::dial(&mut world, S, insider.me.clone());
    insider.enter(&mut world, 1);
    vouch(&mut world, &mut insider, &author);
    let unproved = world.count(S, "room_messages_unproved");
    for message in [&first, &second] {
        insider.say(&mut world, &Message::RoomMessage(message.clone()));
    }
    assert_eq!(world.count(S, "room_messages_unproved"), unproved + 2);
    insider.wait(&mut world, secs(25));
    assert_eq!(told_messages(&mut world, S), Vec::<String>::new(), "the author is given up by now");
    // Its own proof says where its stream starts. What lies there comes again, and counts.
    let mut linked = Intruder::dial(&mut world, S, author);
    let mut proof = linked.proof(&world, 1);
    proof.streams = Bounded::truncated([unamed_protocol::wire::message::StreamNext { stream: 0, next: 1 }]);
    linked.say(&mut world, &Message::RoomProof(proof));
    for message in [first, second] {
        linked.say(&mut world, &Message::RoomMessage(message));
    }
    assert_eq!(told_messages(&mut world, S), ["second"]);
}

#[test]
fn a16_sequence_rollback_and_the_largest_number() {
    let (mut world, _, mut insider) = insider_of(World::with(3, lenient));
    let overflows = world.count(S, "queue_overflows");
    for (sequence, text) in [(0, "zero"), (1, "one"), (0, "zero again"), (u64::MAX, "last"), (2, "two")] {
        let message = insider.me.message(&world, 1, sequence, text);
        insider.say(&mut world, &Message::RoomMessage(message));
    }
    assert_eq!(world.count(S, "equivocations"), 1, "the second one at a position is not taken");
    assert_eq!(world.count(S, "queue_overflows"), overflows + 1, "the largest number is never used");
    // A leap of 2^31 leaves a gap, which is given up after a while; then the stream goes on.
    let far = insider.me.message(&world, 1, 1 << 31, "far");
    insider.say(&mut world, &Message::RoomMessage(far));
    insider.wait(&mut world, secs(7));
    assert_eq!(told_messages(&mut world, S), ["zero", "one", "two", "far"]);
    let lost = world.told(S).iter().any(|event| matches!(event, Event::MessagesLost { .. }));
    assert!(lost, "the gap is told");
}

#[test]
fn a17_clock_skew_on_expiry() {
    let mut world = World::new(1);
    world.pass(secs(3600));
    let now = unix_ms(&world);
    // Issued and expiry relative to the clock of the service node, which tolerates five minutes either way.
    let cases: [(i64, i64, bool); 6] = [
        (290_000, 900_000, true),
        (310_000, 900_000, false),
        (-1_000_000, -290_000, true),
        (-1_000_000, -310_000, false),
        (0, 750_000, true),
        (i64::MAX / 2, i64::MAX / 2 + 1, false),
    ];
    for (index, (issued, expiry, taken)) in cases.into_iter().enumerate() {
        let number = u32::try_from(index).expect("few");
        let me = Persona::client(&world, number);
        let mut skewed = Intruder::dial(&mut world, S, me);
        let (stored, invalid) = (world.count(S, "claims_stored"), world.count(S, "claims_invalid"));
        let claim = skewed.me.claim_with(&world, 1, |terms| {
            terms.issued_ms = now.saturating_add_signed(issued);
            terms.expiry_ms = now.saturating_add_signed(expiry);
        });
        let publish = skewed.publish(u64::from(number), &claim);
        skewed.say(&mut world, &publish);
        let outcome = (world.count(S, "claims_stored") - stored, world.count(S, "claims_invalid") - invalid);
        assert_eq!(outcome, if taken { (1, 0) } else { (0, 1) }, "{issued} to {expiry}");
    }
}

#[test]
fn a24_member_list_ghosts() {
    let (mut world, members, mut insider) = insider();
    let connects = |world: &World| world.count(S, "requests_started");
    let before = connects(&world);
    for round in 0..5_u32 {
        let ghosts = (0..32).map(|index| Persona::client(&world, 100 + round * 32 + index));
        let claims: Vec<_> = ghosts.map(|ghost| ghost.claim(&world, 1).bytes().clone()).collect();
        let news = RoomClaims { room: world.room(1), joined_s: 100, claims: Bounded::truncated(claims) };
        insider.say(&mut world, &Message::RoomClaims(news));
    }
    insider.wait(&mut world, secs(60));
    assert_eq!(world.story(S, 1), Vec::<String>::new(), "nobody joined who did not prove it");
    assert_eq!(world.members(S, 1), [members[1]]);
    // 30 of them are remembered, each is sought with pauses that grow to half a minute.
    let sought = connects(&world) - before;
    assert!(sought < 30 * 12, "{sought} requests in a minute");
    // What is no claim of that room leads to nothing at all, and is counted.
    let invalid = world.count(S, "claims_invalid");
    let mut forged = Persona::client(&world, 900).claim(&world, 1).bytes().to_vec();
    *forged.last_mut().expect("bytes") ^= 1;
    let news = RoomClaims { room: world.room(1), joined_s: 100, claims: Bounded::truncated([forged.into()]) };
    insider.say(&mut world, &Message::RoomClaims(news));
    assert_eq!(world.count(S, "claims_invalid"), invalid + 1);
}

#[test]
fn a25_withholding_member() {
    let (mut world, members, mut insider) = insider();
    // The intruder is a member whom nobody else is linked to, and passes nothing on.
    for number in 0..5 {
        world.say(S, 1, &format!("number {number}"));
        insider.wait(&mut world, ms(200));
    }
    assert_eq!(insider.room_messages().len(), 5, "it gets what all get");
    let heard = sentences(["0: number 0", "0: number 1", "0: number 2", "0: number 3", "0: number 4"]);
    assert_eq!(world.story(members[1], 1), heard, "an author sends to each member itself");
    // It may promise a message and never send it: it is asked a few times, and nothing waits for it.
    let announce =
        Announce { room: world.room(1), messages: Bounded::truncated([unamed_protocol::MessageId([7; 32])]) };
    insider.say(&mut world, &Message::Announce(announce));
    insider.wait(&mut world, secs(30));
    let pulls = insider.heard(|message| matches!(message, Message::Pull(_)).then_some(()));
    assert!((1..=2).contains(&pulls.len()), "{} pulls", pulls.len());
}

#[test]
fn a26_equivocation() {
    let (mut world, _, mut insider) = insider();
    for text in ["to one", "to another"] {
        let message = insider.me.message(&world, 1, 0, text);
        insider.say(&mut world, &Message::RoomMessage(message));
    }
    assert_eq!(told_messages(&mut world, S), ["to one"], "the first one is kept");
    assert_eq!(world.count(S, "equivocations"), 1);
    assert_eq!(world.count(S, "peers_banned"), 1, "it has signed the proof itself");
    assert!(!insider.is_linked(&world));
}
