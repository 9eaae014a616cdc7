//! Messages: recipients, sizes, order, repair.

use bytes::Bytes;
use unamed_protocol::{BroadcastError, Event, PeerId, Recipients};
use unamed_simulator::Crash;

use crate::dsl::{World, ms, secs, sentences};

#[test]
fn only_recipients_get_a_message_and_bad_lists_are_refused() {
    let mut world = World::new(2);
    let [a, b, c] = world.members_at(1, [0, 1, 0]);
    let stranger = PeerId([9; 32]);
    let many: Vec<PeerId> = (0..33).map(|number| PeerId([number; 32])).collect();
    let table = [
        (Vec::new(), BroadcastError::NoRecipients),
        (vec![world.sim.peer_id(b), stranger], BroadcastError::UnknownRecipient(stranger)),
        (vec![world.sim.peer_id(a)], BroadcastError::UnknownRecipient(world.sim.peer_id(a))),
        (many, BroadcastError::TooManyRecipients),
    ];
    for (recipients, error) in table {
        let sent = world.send(a, 1, Bytes::from_static(b"x"), Recipients::Only(recipients));
        assert_eq!(sent, Err(error));
    }
    let elsewhere = world.send(a, 2, Bytes::from_static(b"x"), Recipients::All);
    assert_eq!(elsewhere, Err(BroadcastError::NotJoined));
    world.tell(a, 1, c, "for c");
    world.say(a, 1, "for all");
    world.pass(secs(2));
    assert_eq!(world.story(a, 1), Vec::<String>::new());
    assert_eq!(world.story(b, 1), sentences(["2: for all"]));
    assert_eq!(world.story(c, 1), sentences(["2 to me: for c", "2: for all"]));
}

#[test]
fn a_message_to_one_whose_link_just_died_goes_over_the_room_and_arrives_once() {
    let mut world = World::new(3);
    let [a, b, c] = world.service_members(1, [0, 1, 2]);
    let cut = world.sim.partition(&[a], &[b]).expect("room for a cut");
    let peer = world.sim.peer_id(b);
    let gone = |event: &Event| matches!(event, Event::LinkClosed { peer: of, .. } if *of == peer);
    for _ in 0..200 {
        if world.told_at(a, gone).is_some() {
            break;
        }
        world.pass(ms(100));
    }
    world.tell(a, 1, b, "by way of c");
    world.pass(secs(2));
    assert_eq!(world.story(b, 1), sentences(["0 to me: by way of c"]));
    world.sim.heal(cut);
    world.pass(secs(60));
    let heard = |story: Vec<String>| {
        story.into_iter().filter(|sentence| sentence.contains(": ")).collect::<Vec<String>>()
    };
    assert_eq!(heard(world.story(b, 1)), sentences(["0 to me: by way of c"]));
    assert_eq!(world.story(c, 1), Vec::<String>::new());
    assert_eq!(world.members(a, 1), [b, c]);
}

#[test]
fn small_messages_overtake_a_large_one_and_both_ends_see_its_progress() {
    const BYTES: usize = 5 << 20;
    let mut world = World::new(1);
    let [a, b] = world.members_at(1, [0, 0]);
    let large = Bytes::from(vec![7; BYTES]);
    let id = world.send(a, 1, large.clone(), Recipients::All).expect("it is taken");
    world.tell(a, 1, b, "first");
    world.pass(ms(100));
    world.tell(a, 1, b, "second");
    world.pass(secs(30));
    let told = world.told(b);
    let messages: Vec<&Bytes> = told
        .iter()
        .filter_map(|event| if let Event::Message(message) = event { Some(&message.payload) } else { None })
        .collect();
    assert!(messages == [&Bytes::from_static(b"first"), &Bytes::from_static(b"second"), &large]);
    let received: Vec<(u64, u64)> = told
        .iter()
        .filter_map(|event| {
            let Event::MessageProgress { received, total, .. } = event else { return None };
            Some((*received, *total))
        })
        .collect();
    let sent: Vec<(u64, u64)> = world
        .told(a)
        .iter()
        .filter_map(|event| {
            let Event::SendProgress { id: of, sent, total, .. } = event else { return None };
            (*of == id).then_some((*sent, *total))
        })
        .collect();
    for progress in [received, sent] {
        assert!(progress.len() >= 5, "{progress:?}");
        assert!(progress.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{progress:?}");
        let totals = progress.iter().all(|(done, total)| done <= total && *total >= BYTES as u64);
        assert!(totals, "{progress:?}");
    }
}

#[test]
fn a_payload_beyond_the_bound_is_refused_and_one_at_the_bound_arrives() {
    let mut world = World::with(1, |config| config.client.link.message_bytes_max = 100_000);
    let [a, b] = world.members_at(1, [0, 0]);
    let payload = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let Err(BroadcastError::TooLarge { max }) = world.send(a, 1, payload(100_001), Recipients::All) else {
        panic!("it is too large");
    };
    let refused = world.send(a, 1, payload(max + 1), Recipients::All);
    assert_eq!(refused, Err(BroadcastError::TooLarge { max }));
    world.send(a, 1, payload(max), Recipients::All).expect("it fits");
    world.say(a, 1, "");
    world.pass(secs(5));
    let story = world.story(b, 1);
    let lengths: Vec<usize> = story.iter().map(|sentence| sentence.len() - "1: ".len()).collect();
    assert_eq!(lengths, [max, 0]);
}

#[test]
fn a_refused_broadcast_is_taken_once_the_room_is_writable() {
    let mut world = World::with(1, |config| config.client.rooms.queued_bytes_max = 1 << 20);
    let [a, b] = world.members_at(1, [0, 0]);
    let payload = Bytes::from(vec![b'x'; 700_000]);
    assert!(world.send(a, 1, payload.clone(), Recipients::All).is_ok());
    assert_eq!(world.send(a, 1, payload.clone(), Recipients::All), Err(BroadcastError::Busy));
    world.pass(secs(10));
    assert_eq!(world.story(a, 1), sentences(["writable"]));
    assert!(world.send(a, 1, payload, Recipients::All).is_ok());
    world.pass(secs(10));
    assert_eq!(world.story(b, 1).len(), 2);
    assert_eq!(world.story(a, 1), sentences(["writable"]));
}

#[test]
fn of_a_burst_of_small_messages_each_is_refused_or_delivered() {
    let mut world = World::new(1);
    let [a, b, c] = world.members_at(1, [0, 0, 0]);
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..4000 {
        let text = number.to_string();
        match world.send(a, 1, Bytes::from(text.clone()), Recipients::All) {
            Ok(_) => taken.push(format!("1: {text}")),
            Err(error) => {
                assert_eq!(error, BroadcastError::Busy);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the burst is larger than any queue");
    world.pass(secs(10));
    for listener in [b, c] {
        assert_eq!(world.story(listener, 1), taken, "{listener:?}");
    }
    assert_eq!(world.story(a, 1), sentences(["writable"]));
}

#[test]
fn each_author_is_heard_in_order() {
    let mut world = World::new(2);
    let members = world.members_at(1, [0, 1, 0]);
    for number in 0..100 {
        for member in members {
            world.say(member, 1, &number.to_string());
        }
        world.pass(ms(number % 7));
    }
    world.pass(secs(5));
    for member in members {
        let story = world.story(member, 1);
        assert_eq!(story.len(), 200, "{member:?}");
        for author in members.into_iter().filter(|author| *author != member) {
            let prefix = format!("{}: ", author.0);
            let heard: Vec<&str> =
                story.iter().filter_map(|sentence| sentence.strip_prefix(&prefix)).collect();
            let said: Vec<String> = (0..100).map(|number| number.to_string()).collect();
            assert_eq!(heard, said, "{member:?} hears {author:?}");
        }
    }
}

#[test]
fn a_burst_over_a_link_that_is_cut_arrives_whole_in_order_and_once() {
    for crash in [Crash::Process, Crash::Host] {
        let mut world = World::new(3);
        let [a, b] = world.members_at(1, [0, 1]);
        let mut said = Vec::new();
        for number in 0..60 {
            if number == 30 {
                // The relay, whichever service node it is.
                let relay = world.relay(a);
                world.sim.crash(relay, crash);
            }
            world.say(a, 1, &number.to_string());
            said.push(format!("3: {number}"));
            world.pass(ms(20));
        }
        world.pass(secs(60));
        let heard: Vec<String> =
            world.story(b, 1).into_iter().filter(|sentence| sentence.contains(": ")).collect();
        assert_eq!(heard, said, "{crash:?}");
    }
}

#[test]
fn what_an_author_said_before_its_crash_reaches_those_it_could_not_reach() {
    let mut world = World::new(3);
    let [a, b, c] = world.service_members(1, [0, 1, 2]);
    let cut = world.sim.partition(&[a], &[c]).expect("room for a cut");
    let peer = world.sim.peer_id(c);
    let gone = |event: &Event| matches!(event, Event::LinkClosed { peer: of, .. } if *of == peer);
    for _ in 0..200 {
        if world.told_at(a, gone).is_some() {
            break;
        }
        world.pass(ms(100));
    }
    world.forget();
    world.say(a, 1, "my last words");
    world.sim.crash(a, Crash::Process);
    world.pass(secs(40));
    for listener in [b, c] {
        assert_eq!(world.story(listener, 1), sentences(["0: my last words", "0 left, lost"]), "{listener:?}");
    }
    world.sim.heal(cut);
}
