//! A rolling upgrade: service nodes of an older program are replaced by the tree's one after another, while members of both talk.
//!
//! The older program is the one that `UNAMED_OLD_BIN` names; `cargo xtask upgrade` builds that of an earlier commit. Without it
//! the tree's program takes its place, and the same is shown of a rolling restart.

use std::path::PathBuf;
use std::time::Instant;

use unamed_tests::{DEADLINE, Member, Scratch, Service, own_address, program};

fn old_program() -> PathBuf {
    std::env::var_os("UNAMED_OLD_BIN").map_or_else(|| program().to_owned(), PathBuf::from)
}

/// Waits until a service node is linked to both others: only then the next may go.
fn wait_linked(service: &mut Service) {
    let until = Instant::now() + DEADLINE;
    while service.process.metrics()["links"].as_u64() < Some(2) {
        assert!(Instant::now() < until, "it is not linked to the others");
    }
}

/// Has each say something that the other hears.
fn talk(anna: &mut Member, ben: &mut Member, about: &str) {
    let say = |speaker: &mut Member, listener: &mut Member| {
        let text = format!("{about}, from {}", speaker.peer);
        speaker.process.say(&text);
        listener.wait_hears(&speaker.peer, &text);
    };
    say(anna, ben);
    say(ben, anna);
}

#[test]
fn nodes_are_replaced_one_after_another_and_members_do_not_notice() {
    let (scratch, old, new) = (Scratch::new().expect("a folder"), old_program(), program());
    // The same place before and after, as with any server.
    let places: Vec<String> = (0..3).map(|_| own_address().to_string()).collect();
    let multiaddr = |place: &String| {
        let (ip, port) = place.split_once(':').expect("a port");
        format!("/ip4/{ip}/tcp/{port}/ws")
    };
    let addresses: Vec<String> = places.iter().map(multiaddr).collect();
    let name = |index: usize| format!("service-{index}");
    let start = |program, index: usize| {
        let other = addresses[(index + 2) % 3].as_str();
        let args = ["--listen", &places[index], "--bootstrap", other];
        Service::start_of(program, &scratch, &name(index), &args)
    };
    let mut services: Vec<Service> = (0..3).map(|index| start(&old, index)).collect();
    services.iter_mut().for_each(wait_linked);
    let peers: Vec<String> = services.iter().map(|service| service.peer.clone()).collect();

    let no_webrtc = ["--stay", "--no-webrtc"];
    let mut anna = Member::start_of(&old, &scratch, "anna", "upgraded", &addresses[0], &no_webrtc);
    let mut ben = Member::start_of(new, &scratch, "ben", "upgraded", &addresses[1], &no_webrtc);
    anna.wait_sees(&ben.peer);
    ben.wait_sees(&anna.peer);
    talk(&mut anna, &mut ben, "before");

    for index in 0..services.len() {
        services[index].process.terminate();
        assert_eq!(services[index].process.finish(), 0, "{}", services[index].process.stderr());
        talk(&mut anna, &mut ben, &format!("without {}", name(index)));
        services[index] = start(new, index);
        assert_eq!(services[index].peer, peers[index], "its state is read by the new program");
        wait_linked(&mut services[index]);
        talk(&mut anna, &mut ben, &format!("with a new {}", name(index)));
        // Who comes meanwhile, with either program, finds both.
        let (cara_name, cara_program) = (format!("cara-{index}"), if index == 1 { &*old } else { new });
        let mut cara =
            Member::start_of(cara_program, &scratch, &cara_name, "upgraded", &addresses[index], &no_webrtc);
        cara.wait_sees(&anna.peer);
        cara.wait_sees(&ben.peer);
        cara.process.close_stdin();
        cara.process.terminate();
        assert_eq!(cara.process.finish(), 0, "{}", cara.process.stderr());
        for member in [&mut anna, &mut ben] {
            member.process.wait("cara's leave", |event| event["event"] == "member_left");
        }
    }
    for member in [&anna, &ben] {
        let lost = |event: &&unamed_tests::Value| {
            event["event"] == "messages_lost"
                || (event["event"] == "member_left" && event["reason"] != "left")
        };
        assert_eq!(member.process.history().iter().find(lost), None);
    }
    assert_eq!((anna.sights(&ben.peer), ben.sights(&anna.peer)), (1, 1), "neither left the other's sight");
}
