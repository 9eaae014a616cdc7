//! The examples of `unamed-tokio` and `unamed-protocol`, as an application's author runs them: over a real service node,
//! with `unamed room` as the other member.

use std::process::{Output, Stdio};

use unamed_tests::{Member, Process, Scratch, Service, Value, example};

/// Starts an example that begins at `service`.
#[track_caller]
fn start(name: &str, service: &Service, args: &[&str]) -> Process {
    let mut command = example(name);
    command.arg(&service.address).args(args);
    Process::spawn_text(name, command).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for a line that begins so; the rest of it.
#[track_caller]
fn after(process: &mut Process, beginning: &str) -> String {
    let begins = |line: &Value| line.as_str().is_some_and(|line| line.starts_with(beginning));
    let line = process.wait(&format!("{beginning:?}"), begins);
    line.as_str().and_then(|line| line.strip_prefix(beginning)).unwrap_or_default().to_owned()
}

/// Waits for this line.
#[track_caller]
fn line(process: &mut Process, expected: &str) {
    process.wait(&format!("{expected:?}"), |line| line == expected);
}

/// A member that has joined.
#[track_caller]
fn member(scratch: &Scratch, name: &str, room: &str, service: &Service) -> Member {
    let mut member = Member::start(scratch, name, room, &service.address, &["--stay"]);
    member.process.wait("its joining", |event| event["event"] == "joined");
    member
}

/// Ends an example as Ctrl-C does: in good order, so that `member` sees `peer` leave, not lost.
#[track_caller]
fn interrupt(mut example: Process, peer: &str, member: &mut Member) {
    example.interrupt();
    assert_eq!(example.finish(), 0, "{}", example.stderr());
    let left = member
        .process
        .wait("its leaving", |event| event["event"] == "member_left" && event["peer_id"] == peer);
    assert_eq!(left["reason"], "left", "{left}");
}

#[test]
fn chat_talks_to_a_member_and_ends_with_its_input() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let mut anna = member(&scratch, "anna", "talk", &service);
    let mut chat = start("chat", &service, &["talk", "--name", "Otto"]);
    let otto = after(&mut chat, "I am ");
    let here = format!("{} is here", anna.peer);
    let joined = format!("{} joined", anna.peer);
    chat.wait("the sight of her", |line| *line == here || *line == joined);
    let came = anna
        .process
        .wait("his coming", |event| event["event"] == "member_joined" && event["peer_id"] == *otto);
    assert_eq!(came["name"], "Otto", "{came}");

    chat.say("good morning");
    anna.wait_hears(&otto, "good morning");
    anna.process.say("morning \u{1B}[2J");
    line(&mut chat, &format!("{}: morning [2J", anna.peer));
    chat.say("the last words");
    chat.close_stdin();
    assert_eq!(chat.finish(), 0, "{}", chat.stderr());
    anna.wait_hears(&otto, "the last words");
}

#[test]
fn echo_bot_answers_its_author_alone_and_keeps_its_key() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let state = scratch.file("bot");
    let mut anna = member(&scratch, "anna", "echo", &service);
    let mut berta = member(&scratch, "berta", "echo", &service);
    anna.wait_sees(&berta.peer);
    berta.wait_sees(&anna.peer);
    let mut bot = start("echo_bot", &service, &["echo", "--state", &state]);
    let peer = after(&mut bot, "echoing as ");
    anna.wait_sees(&peer);
    berta.wait_sees(&peer);

    anna.process.say("hello");
    anna.wait_hears(&peer, "echo: hello");
    // What looks like an echo is none of its business; what follows is.
    anna.process.say("echo: echo");
    anna.process.say("hello again");
    anna.wait_hears(&peer, "echo: hello again");
    assert_eq!(anna.heard(&peer, "echo: echo: echo"), 0);
    interrupt(bot, &peer, &mut anna);
    // The bot's messages come in their order, and its leaving after them.
    berta.wait_hears(&anna.peer, "hello again");
    berta.process.wait("its leaving", |event| event["event"] == "member_left" && event["peer_id"] == *peer);
    assert_eq!(berta.heard(&peer, "echo: hello") + berta.heard(&peer, "echo: hello again"), 0);

    let mut again = start("echo_bot", &service, &["echo", "--state", &state]);
    assert_eq!(after(&mut again, "echoing as "), peer);
}

#[test]
fn presence_counter_counts_comings_and_goings() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let mut counter = start("presence_counter", &service, &["presence"]);
    let peer = after(&mut counter, "counting as ");
    line(&mut counter, "0 present, 0 at most");
    let mut anna = member(&scratch, "anna", "presence", &service);
    line(&mut counter, "1 present, 1 at most");
    let berta = member(&scratch, "berta", "presence", &service);
    line(&mut counter, "2 present, 2 at most");
    berta.process.terminate();
    line(&mut counter, "1 present, 2 at most");
    anna.wait_sees(&peer);
    interrupt(counter, &peer, &mut anna);
}

#[test]
fn two_games_see_each_other_move() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    // They play on until both were seen, and are killed then.
    let mut games = [(); 2].map(|()| start("game_tick", &service, &["arena", "--seconds", "600"]));
    let peers = games.each_mut().map(|game| after(game, "playing as "));
    for (game, other) in games.iter_mut().zip(peers.iter().rev()) {
        let place = |line: &Value| {
            let (_, place) = line.as_str()?.split_once(&format!("{other}: "))?;
            place.split_once(')').map(|(place, _)| place.to_owned())
        };
        let first = game.wait("the other's place", |line| place(line).is_some());
        game.wait("the other's move", |line| place(line).is_some_and(|now| Some(now) != place(&first)));
    }
    drop(games);
    let mut alone = start("game_tick", &service, &["arena", "--seconds", "1"]);
    assert_eq!(alone.finish(), 0, "{}", alone.stderr());
}

#[test]
fn bridge_carries_messages_across_both_ways_and_once() {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let mut anna = member(&scratch, "anna", "north", &service);
    let mut berta = member(&scratch, "berta", "south", &service);
    // The second one carries nothing that the first one brought.
    let mut bridges = [(); 2].map(|()| start("bridge", &service, &["north", "south"]));
    let peers = bridges.each_mut().map(|bridge| after(bridge, "bridging as "));
    for peer in &peers {
        anna.wait_sees(peer);
        berta.wait_sees(peer);
    }
    anna.process.say("hello over there");
    berta.process.say("hello yourself");
    for peer in &peers {
        berta.wait_hears(peer, &format!("bridged from {}: hello over there", anna.peer));
        anna.wait_hears(peer, &format!("bridged from {}: hello yourself", berta.peer));
    }
    for (bridge, peer) in bridges.into_iter().zip(&peers) {
        interrupt(bridge, peer, &mut anna);
        berta
            .process
            .wait("its leaving", |event| event["event"] == "member_left" && event["peer_id"] == **peer);
    }
    // Messages of a member come before its leaving: all that there was is in the history.
    for member in [&anna, &berta] {
        let messages = member.process.history().iter().filter(|event| event["event"] == "message").count();
        assert_eq!(messages, 2, "{:?}", member.process.history());
    }
}

/// An example of the core meets a member, both talk, and its goodbye is heard.
#[track_caller]
fn core_example_meets_a_member(name: &str) {
    let scratch = Scratch::new().expect("a folder");
    let service = Service::start(&scratch, "service", &[]);
    let mut anna = member(&scratch, "anna", "core", &service);
    let mut core = start(name, &service, &["core"]);
    let peer = after(&mut core, "I am ");
    anna.wait_sees(&peer);
    line(&mut core, &format!("{} is here", anna.peer));
    core.say("hello from the core");
    anna.wait_hears(&peer, "hello from the core");
    anna.process.say("hello to the core");
    line(&mut core, &format!("{}: hello to the core", anna.peer));
    // More than the credit of a carrier, and less than what one line may have.
    let long = "long ".repeat(200_000);
    core.say(&long);
    anna.wait_hears(&peer, &long);
    anna.process.say(&long);
    line(&mut core, &format!("{}: {long}", anna.peer));
    core.close_stdin();
    assert_eq!(core.finish(), 0, "{}", core.stderr());
    let left = anna
        .process
        .wait("its leaving", |event| event["event"] == "member_left" && event["peer_id"] == *peer);
    assert_eq!(left["reason"], "left", "{left}");
}

#[test]
fn threads_drive_the_core() {
    core_example_meets_a_member("threads");
}

#[test]
fn smol_drives_the_core() {
    core_example_meets_a_member("smol_tasks");
}

fn output(name: &str, args: &[&str]) -> Output {
    example(name).args(args).stdin(Stdio::null()).output().expect("the example runs")
}

#[test]
fn what_is_wrong_with_arguments_is_named() {
    for name in ["bridge", "chat", "echo_bot", "game_tick", "presence_counter", "smol_tasks", "threads"] {
        for (args, named) in [
            (&["ws://127.0.0.1", "room", "other"][..], "ws://127.0.0.1"),
            (&["/ip4/127.0.0.1/tcp/9/ws"], "<ROOM>"),
        ] {
            let output = output(name, args);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name} {args:?}: {stderr}");
            assert!(stderr.contains(named), "{name} {args:?} names {named:?}: {stderr}");
        }
        let long = "n".repeat(2000);
        let other = (name == "bridge").then_some("other");
        let args: Vec<&str> = ["/ip4/127.0.0.1/tcp/9/ws", &long].into_iter().chain(other).collect();
        let output = output(name, &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name} with a long name: {stderr}");
        assert!(stderr.starts_with(&format!("{name}: ")), "{stderr}");
    }
}
