//! Networks of real processes over real sockets.

use std::time::Duration;

use unamed_tests::{Member, Scratch, Service, port};

/// A client's link counts as lost after 30 s of silence, and a lost member is reported after its links were tried anew.
const LOSS: Duration = Duration::from_secs(90);

/// Three service nodes, each bootstrapped on the one before.
fn chain(scratch: &Scratch) -> [Service; 3] {
    let first = Service::start(scratch, "service-1", &[]);
    let second = Service::start(scratch, "service-2", &[&first.address]);
    let third = Service::start(scratch, "service-3", &[&second.address]);
    [first, second, third]
}

/// Has `speaker` say `text`, and the others hear it.
#[track_caller]
fn say(speaker: &mut Member, others: &mut [&mut Member], text: &str) {
    speaker.process.say(text);
    for other in others {
        other.wait_hears(&speaker.peer, text);
    }
}

#[test]
fn a_chain_of_three_talks_both_ways_and_sees_joins_and_leaves() {
    let scratch = Scratch::new().expect("a folder");
    let [first, second, third] = chain(&scratch);
    let mut anna = Member::start(&scratch, "anna", "a chain", &first.address, &["--stay"]);
    let mut ben = Member::start(&scratch, "ben", "a chain", &second.address, &[]);
    let mut cara = Member::start(&scratch, "cara", "a chain", &third.address, &["--stay"]);
    let peers = [anna.peer.clone(), ben.peer.clone(), cara.peer.clone()];
    for member in [&mut anna, &mut ben, &mut cara] {
        let own = member.peer.clone();
        for other in peers.iter().filter(|peer| **peer != own) {
            member.wait_sees(other);
        }
    }
    say(&mut anna, &mut [&mut ben, &mut cara], "from the first");
    say(&mut ben, &mut [&mut anna, &mut cara], "from the second");
    say(&mut cara, &mut [&mut anna, &mut ben], "from the third: ünïcödé");

    ben.process.say("the last words");
    ben.process.close_stdin();
    assert_eq!(ben.process.finish(), 0, "{}", ben.process.stderr());
    for member in [&mut anna, &mut cara] {
        member.wait_hears(&ben.peer, "the last words");
        let left = member.process.wait("ben's leave", |event| event["event"] == "member_left");
        assert_eq!((&left["peer_id"], &left["reason"]), (&ben.peer.as_str().into(), &"left".into()));
    }

    cara.process.kill();
    let lost = anna.process.wait_for("cara's loss", LOSS, |event| event["event"] == "member_left");
    assert_eq!((&lost["peer_id"], &lost["reason"]), (&cara.peer.as_str().into(), &"lost".into()));

    anna.process.terminate();
    assert_eq!(anna.process.finish(), 0, "{}", anna.process.stderr());
    for other in [&ben, &cara] {
        assert_eq!(anna.sights(&other.peer), 1, "each peer appears once");
    }
    assert_eq!(anna.heard(&ben.peer, "from the second"), 1);
    assert_eq!(anna.heard(&cara.peer, "from the third: ünïcödé"), 1);
    for mut service in [third, second, first] {
        service.process.terminate();
        assert_eq!(service.process.finish(), 0, "{}", service.process.stderr());
    }
}

#[test]
fn a_room_survives_the_death_of_a_service_node() {
    let scratch = Scratch::new().expect("a folder");
    let [first, mut second, third] = chain(&scratch);
    let mut anna = Member::start(&scratch, "anna", "survivors", &first.address, &["--stay"]);
    let mut ben = Member::start(&scratch, "ben", "survivors", &third.address, &["--stay"]);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    say(&mut anna, &mut [&mut ben], "before");
    second.process.kill();
    say(&mut anna, &mut [&mut ben], "after, there");
    say(&mut ben, &mut [&mut anna], "after, back");
    let mut cara = Member::start(&scratch, "cara", "survivors", &third.address, &["--stay"]);
    cara.wait_sees(&anna.peer);
    cara.wait_sees(&ben.peer);
    say(&mut cara, &mut [&mut anna, &mut ben], "from a newcomer");
}

#[test]
fn a_room_entered_from_two_ends_at_once_becomes_one() {
    let scratch = Scratch::new().expect("a folder");
    let [first, _second, third] = chain(&scratch);
    let mut anna = Member::start(&scratch, "anna", "both ends", &first.address, &["--stay"]);
    let mut ben = Member::start(&scratch, "ben", "both ends", &third.address, &["--stay"]);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    say(&mut anna, &mut [&mut ben], "there");
    say(&mut ben, &mut [&mut anna], "and back");
}

#[test]
fn a_service_node_restarted_on_its_state_is_found_again() {
    let scratch = Scratch::new().expect("a folder");
    let first = Service::start(&scratch, "service-1", &[]);
    let mut second = Service::start(&scratch, "service-2", &[&first.address]);
    let mut anna = Member::start(&scratch, "anna", "found again", &first.address, &["--stay"]);
    let mut ben = Member::start(&scratch, "ben", "found again", &second.address, &["--stay"]);
    ben.wait_sees(&anna.peer);
    anna.wait_sees(&ben.peer);
    let listen = format!("127.0.0.1:{}", port(&second.address));
    second.process.terminate();
    assert_eq!(second.process.finish(), 0, "{}", second.process.stderr());

    // No bootstrap: what it knows of others is in its state.
    let again = Service::start_with(&scratch, "service-2", &["--listen", &listen]);
    assert_eq!((&again.peer, &again.address), (&second.peer, &second.address));
    let mut cara = Member::start(&scratch, "cara", "found again", &again.address, &["--stay"]);
    cara.wait_sees(&anna.peer);
    cara.wait_sees(&ben.peer);
    say(&mut cara, &mut [&mut anna, &mut ben], "through the restarted one");
    say(&mut ben, &mut [&mut anna, &mut cara], "and back");
}

#[test]
fn wait_holds_lines_back_and_to_chooses_who_hears_them() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let mut anna = Member::start(&scratch, "anna", "chosen", &service.address, &["--stay"]);
    let mut cara = Member::start(&scratch, "cara", "chosen", &service.address, &["--stay"]);
    anna.wait_sees(&cara.peer);
    let to = anna.peer.clone();
    let mut ben = Member::start(&scratch, "ben", "chosen", &service.address, &["--wait", "2", "--to", &to]);
    ben.process.say("for anna alone");
    ben.process.close_stdin();
    anna.wait_hears(&ben.peer, "for anna alone");
    assert_eq!(ben.process.finish(), 0, "{}", ben.process.stderr());
    let ben_left =
        |event: &unamed_tests::Value| event["event"] == "member_left" && event["peer_id"] == *ben.peer;
    cara.process.wait("ben's leave", ben_left);
    assert_eq!(cara.heard(&ben.peer, "for anna alone"), 0, "cara was not meant");
}

#[test]
fn names_are_known_on_joining_and_change_by_a_line() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let start = |name: &str, args: &[&str]| Member::start(&scratch, name, "by name", &service.address, args);
    let named = |member: &mut Member, of: &str, name: &str| {
        member.process.wait(&format!("{of} as {name}"), |event| {
            let told = event["event"] == "member_joined" || event["event"] == "member_changed";
            told && event["peer_id"] == of && event["name"] == name
        });
    };
    let mut anna = start("anna", &["--stay", "--name", "Anna"]);
    anna.process.wait("her joining", |event| event["event"] == "joined");
    let mut ben = start("ben", &["--name", "Ben"]);
    named(&mut ben, &anna.peer, "Anna");
    named(&mut anna, &ben.peer, "Ben");
    anna.process.say("/name Anna, away");
    named(&mut ben, &anna.peer, "Anna, away");
    anna.process.say("//name is a command");
    ben.wait_hears(&anna.peer, "/name is a command");

    // Who is not named sends such lines as they are.
    let mut cara = start("cara", &["--stay"]);
    cara.wait_sees(&ben.peer);
    named(&mut cara, &anna.peer, "Anna, away");
    cara.process.say("/name Cara");
    ben.wait_hears(&cara.peer, "/name Cara");

    ben.process.say("/name \u{202E}neB");
    ben.process.close_stdin();
    assert_eq!(ben.process.finish(), 1, "a line came to nothing");
    assert!(ben.process.stderr().contains("U+202E"), "{}", ben.process.stderr());
}
