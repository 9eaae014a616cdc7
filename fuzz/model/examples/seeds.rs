//! Writes the seeds of the fuzz corpora: golden vectors for the decoders, and scripts for the node.
//!
//! `cargo run -p unamed-fuzz-model --example seeds` writes them to `fuzz/corpus/*/seed-*`. Other files there were found by
//! fuzzing.

use std::fs;
use std::path::{Path, PathBuf};

use unamed_fuzz_model::payload_number;
use unamed_fuzz_model::script::{Step, setup};

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpus = root.join("fuzz/corpus");
    vectors(&root, &corpus);
    frames(&root, &corpus);
    texts(&corpus);
    sessions(&corpus);
    generators(&corpus);
    signals(&root, &corpus);
    fragments(&corpus);
    networks(&corpus);
    scripts(&corpus);
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) {
    let folder = corpus.join(target);
    let written =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(format!("seed-{name}")), bytes));
    written.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Session descriptions as browsers write them, candidates, URLs, and the signals among the golden vectors.
fn signals(root: &Path, corpus: &Path) {
    let head = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let media = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n";
    let ice = "a=ice-ufrag:F7gI\r\na=ice-pwd:x9cml/YzichV2+XlhiMu8gHu\r\n";
    let print = format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"));
    let tail = "a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n";
    let lines = [
        "candidate:1 1 udp 2113937151 0a1b2c3d-0e4f-4a5b-8c6d-7e8f9a0b1c2d.local 51234 typ host generation 0",
        "candidate:3 1 udp 1677729535 198.51.100.7 40000 typ srflx raddr 192.0.2.1 rport 51234",
        "candidate:3 1 udp 1677729535 2001:db8::1 40000 typ relay raddr :: rport 0",
        "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
    ];
    let plain = format!("{head}{media}{ice}{print}{tail}");
    write(corpus, "signal", "description", &[&[0], plain.as_bytes()].concat());
    write(
        corpus,
        "signal",
        "description-answer",
        &[&[0], plain.replace("actpass", "active").as_bytes()].concat(),
    );
    let with: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    write(corpus, "signal", "description-candidates", &[&[0], format!("{plain}{with}").as_bytes()].concat());
    write(corpus, "signal", "description-media", &[&[0], format!("{plain}{media}").as_bytes()].concat());
    for (number, line) in lines.iter().enumerate() {
        write(corpus, "signal", &format!("candidate-{number}"), &[&[1], line.as_bytes()].concat());
    }
    for (number, url) in
        ["stun:stun.example:3478", "turns:[2001:db8::1]:443?transport=tcp"].iter().enumerate()
    {
        write(corpus, "signal", &format!("server-{number}"), &[&[3], url.as_bytes()].concat());
    }
    let file = read(&root.join("protocol/vectors/wire.txt"));
    for line in file.lines().filter(|line| line.starts_with("signal-")) {
        let Some((name, hex)) = line.split_once(' ') else { continue };
        // Without the kind and the session's two bytes.
        let bytes = unhex(hex).split_off(3);
        write(corpus, "signal", name, &[&[2], bytes.as_slice()].concat());
    }
}

/// Messages, payloads and signed objects.
fn vectors(root: &Path, corpus: &Path) {
    let file = read(&root.join("protocol/vectors/wire.txt"));
    let mut section = 0;
    for line in file.lines() {
        if line.starts_with("# Payloads") {
            section = 1;
        } else if line.starts_with("# Signed") {
            section = 2;
        }
        let Some((name, hex)) = line.split_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        let bytes = unhex(hex);
        let (target, selector) = match (payload_number(name), name, section) {
            (Some(number), _, 1) => ("payload", vec![0, number]),
            (_, _, 0) => ("message", vec![0]),
            (_, name, _) if name.starts_with("home-claim") => ("claim", vec![1]),
            (_, name, _) if name.starts_with("claim") => ("claim", vec![0]),
            (_, name, _) if name.starts_with("tombstone") => ("claim", vec![2]),
            (_, name, _) if name.starts_with("member-statement") => ("claim", vec![4]),
            _ => continue,
        };
        write(corpus, target, name, &[selector.as_slice(), &bytes].concat());
        if name.starts_with("message") {
            write(corpus, "header", name, &[&[0], bytes.as_slice()].concat());
        }
    }
}

/// Frames of a handshake, each for a session that waits for one.
fn frames(root: &Path, corpus: &Path) {
    let file = read(&root.join("protocol/vectors/frames.txt"));
    for line in file.lines() {
        let Some((name, hex)) = line.split_once(" = ") else { continue };
        let role = match name {
            "hello1" => 0,
            "hello2" | "refused_version" => 1,
            _ => continue,
        };
        let bytes = unhex(hex);
        let head = [role, 0, bytes.len() as u8];
        write(corpus, "frame", name, &[head.as_slice(), &bytes].concat());
    }
}

fn texts(corpus: &Path) {
    let peer = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
    let texts = [
        ("address-ip4", 0, format!("/ip4/8.8.8.8/tcp/4001/ws/p2p/{peer}")),
        ("address-ip6", 0, "/ip6/2001:db8::1/tcp/443/wss".to_owned()),
        ("address-dns", 0, "/dns4/node.example/tcp/443/tls/ws".to_owned()),
        ("peer-id", 1, peer.to_owned()),
        ("peer-cid", 1, "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6".into()),
        ("room-name", 2, " Cafe\u{301} \r\n".into()),
        ("turn", 2, "turns:[2001:db8::1]:443?transport=tcp".into()),
    ];
    for (name, selector, text) in texts {
        write(corpus, "text", name, &[&[selector], text.as_bytes()].concat());
    }
    let key =
        "CAESQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=\n";
    write(corpus, "key_file", "key-file", key.as_bytes());
    write(corpus, "key_file", "passphrase", b"correct horse\r\n");
    write(corpus, "key_file", "protobuf", &[&[8, 1, 18, 64], [0; 64].as_slice()].concat());
    let address = format!("/ip4/8.8.8.8/tcp/4001/ws/p2p/{peer}");
    let body = [&[7, 1, address.len() as u8], address.as_bytes(), &[1, 0]].concat();
    write(corpus, "state_file", "snapshot-body", &[&[1], body.as_slice()].concat());
    write(corpus, "state_file", "snapshot", &[&[0], b"unamed-snapshot\x01".as_slice()].concat());
}

/// Events of established sessions: role, kind, then events.
fn sessions(corpus: &Path) {
    let session = |name: &str, role: u8, events: &[&[u8]]| {
        write(corpus, "session", name, &[[role, 1].as_slice(), &events.concat()].concat());
    };
    // Plaintext: a whole message (tag 1), a ping, the parts of a message (tags 2 and 3), its abort (tag 4).
    session("whole", 0, &[&[0, 4, 1, 2, 0xF0, 7]]);
    session("ping", 1, &[&[0, 4, 1, 2, 1, 9], &[6, 0xFF]]);
    session("parts", 0, &[&[0, 5, 2, 3, 4, 1, 8], &[0, 6, 3, 3, 3, 1, 2, 3]]);
    session("abort", 0, &[&[0, 5, 2, 3, 4, 1, 8], &[0, 2, 4, 3]]);
    session("large", 0, &[&[4, 1, 3, 0xC0, 0, 0xF0, 0xC0, 0xA0, 0x0F], &[4, 0, 3, 0xC0, 0xA0, 0x0F]]);
    session("queue", 0, &[&[9, 3, 65, 0xC0, 0xFF, 0x7F, 1], &[6, 0xC0, 0, 0x40], &[8], &[8], &[8]]);
    session("silence", 1, &[&[8], &[8], &[8], &[8], &[7, 0xD0, 0, 0, 0, 2]]);
    session("garbage", 0, &[&[5, 8, 1, 3, 0, 1, 2, 3, 4, 5]]);
    session("probe", 0, &[&[10], &[11, 0], &[11, 1], &[11, 2]]);
    for (name, payload) in [("short", [0, 32].as_slice()), ("empty", &[1]), ("long", &[0; 200])] {
        write(corpus, "handshake", name, payload);
    }
}

/// Choices of the generators.
fn generators(corpus: &Path) {
    let choices: Vec<u8> = (0..96).map(|index| (index * 37 % 251) as u8).collect();
    let modes = [("message", 1), ("payload", 1), ("claim", 3), ("header", 1), ("state_file", 2), ("text", 3)];
    for (target, mode) in modes {
        write(corpus, target, "choices", &[&[mode], choices.as_slice()].concat());
        let backwards: Vec<u8> = choices.iter().rev().copied().collect();
        write(corpus, target, "choices-backwards", &[&[mode], backwards.as_slice()].concat());
    }
}

/// Frames of chunks: how many more chunks, then each with its choices.
fn fragments(corpus: &Path) {
    let frames = |name: &str, frames: &[&[u8]]| write(corpus, "fragment", name, &frames.concat());
    // Kinds: 0 whole (length), 4 first (class, total, length), 8 more (class, length), 14 abort (class), 15 unknown.
    frames("whole", &[&[0, 0, 9], &[1, 0, 3, 0, 0]]);
    frames("parts", &[&[0, 4, 1, 20, 8], &[0, 8, 1, 8], &[1, 8, 1, 4, 0, 7]]);
    frames("classes", &[&[0, 4, 0, 9, 4], &[0, 4, 3, 9, 4], &[0, 8, 0, 5], &[0, 8, 3, 5]]);
    frames("abort", &[&[0, 4, 2, 90, 50], &[0, 14, 2], &[0, 4, 2, 9, 5], &[0, 8, 2, 4]]);
    frames("too-much", &[&[0, 4, 3, 0xD0, 0, 0, 1, 0, 9], &[0, 4, 2, 0xD0, 0, 0, 1, 0, 9]]);
    frames("mixed", &[&[1, 0, 7, 4, 0, 8, 4], &[2, 8, 0, 4, 0, 5, 15]]);
}

/// Scripts for the small network: a set-up, then a node, a step and its choices.
fn networks(corpus: &Path) {
    let settle = [0, 11];
    let (join, all) = (|node: u8| [node, 0, 0], [0, 11, 0, 5, 15]);
    let script = |name: &str, setup: u8, steps: &[&[u8]]| {
        write(corpus, "network", name, &[&[setup], steps.concat().as_slice()].concat());
    };
    let met = [&[0, 11][..], &join(0), &join(1), &all, &all].concat();
    for (name, setup) in [("two", 0), ("three", 1), ("four", 2), ("services", 0x3E)] {
        script(
            &format!("{name}-talk"),
            setup,
            &[&met, &join(2), &all, &[0, 2, 0, 9, 7, 0], &[1, 2, 0, 9, 7, 0], &all],
        );
        script(
            &format!("{name}-cut"),
            setup,
            &[&met, &[0, 6, 1, 0], &[1, 2, 0, 9, 7, 0], &all, &[0, 6, 2, 1], &all],
        );
        script(&format!("{name}-leave"), setup, &[&met, &[1, 1, 0], &all, &join(1), &[0, 4, 0], &all]);
        let intruder = [&[0, 7, 0, 1][..], &settle, &[1, 7, 2, 0], &settle].concat();
        let say: Vec<u8> =
            (0..40_u8).flat_map(|kind| [0, 8, 0, 0, kind, kind.wrapping_mul(37), 3, 1, 2, 3]).collect();
        script(
            &format!("{name}-attack"),
            setup,
            &[&met, &intruder, &say, &settle, &[0, 2, 0, 9, 7, 0], &all],
        );
        let repeat: Vec<u8> = (0..20_u8).flat_map(|ago| [0, 8, 1, 2, ago, 0]).collect();
        script(&format!("{name}-repeat"), setup, &[&met, &intruder, &all, &repeat, &settle, &all]);
    }
}

const CLIENT: u8 = setup::SMOOTH | setup::CREDIT | setup::POLITE | setup::HELPFUL;
const SERVICE: u8 = CLIENT | setup::SERVICE | setup::LISTENS;

fn step(step: Step, choices: &[u8]) -> Vec<u8> {
    [&[step as u8], choices].concat()
}

/// Time passes, each deadline on time: 5 s.
fn live() -> Vec<u8> {
    step(Step::Advance, &[9, 1])
}

/// Writes a script: its name, its set-up, its steps.
type Script<'a> = &'a dyn Fn(&str, u8, &[Vec<u8>]);

fn scripts(corpus: &Path) {
    let script = |name: &str, setup: u8, steps: &[Vec<u8>]| {
        write(corpus, "node", name, &[&[setup], steps.concat().as_slice()].concat());
    };
    let tight = setup::TIGHT;
    for (name, setup) in [("client", CLIENT), ("tight-client", CLIENT | tight), ("service", SERVICE)] {
        arrivals(&script, name, setup);
        members(&script, name, setup);
        endings(&script, name, setup);
    }
    by_hand(&script);
    relays(&script);
    rooms(&script);
    requests(&script);
}

fn arrivals(script: Script<'_>, name: &str, setup: u8) {
    script(&format!("{name}-idle"), setup, &[live()]);
    script(
        &format!("{name}-bootstrap"),
        setup,
        &[step(Step::Bootstrap, &[2, 0, 0]), step(Step::Introduce, &[0, 2, 1, 1]), live()],
    );
    script(
        &format!("{name}-join"),
        setup,
        &[
            step(Step::Bootstrap, &[2, 0, 0]),
            step(Step::Introduce, &[0, 2, 1, 1]),
            step(Step::Join, &[0]),
            live(),
            step(Step::Broadcast, &[0, 9, 0, 7]),
            live(),
            step(Step::Leave, &[0]),
            live(),
        ],
    );
    script(
        &format!("{name}-find"),
        setup,
        &[
            step(Step::Bootstrap, &[2, 0, 0]),
            step(Step::Introduce, &[0, 2, 1, 1]),
            live(),
            step(Step::Find, &[1]),
            live(),
        ],
    );
}

fn members(script: Script<'_>, name: &str, setup: u8) {
    script(
        &format!("{name}-member"),
        setup,
        &[
            step(Step::Accept, &[1, 0]),
            step(Step::Join, &[0]),
            step(Step::Saved, &[1]),
            step(Step::Prove, &[0, 0, 1]),
            live(),
            live(),
            live(),
            step(Step::Write, &[0, 0, 0, 3, 9, 1, 0]),
            step(Step::Write, &[0, 0, 2, 3, 9, 1, 0]),
            live(),
            step(Step::Broadcast, &[0, 0xE0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 7]),
            live(),
            step(Step::Broadcast, &[0, 9, 1, 1, 1, 7]),
            step(Step::Disconnect, &[0, 1]),
            live(),
            live(),
        ],
    );
    script(
        &format!("{name}-two-runs"),
        setup,
        &[
            step(Step::Accept, &[1, 0]),
            step(Step::Accept, &[1, 2]),
            live(),
            step(Step::Accept, &[1, 2]),
            live(),
        ],
    );
    script(
        &format!("{name}-restart"),
        setup,
        &[step(Step::Bootstrap, &[2, 0, 0]), live(), step(Step::Restart, &[]), live()],
    );
    script(
        &format!("{name}-asleep"),
        setup,
        &[
            step(Step::Bootstrap, &[2, 0, 0]),
            step(Step::Join, &[0]),
            live(),
            step(Step::Advance, &[13, 0]),
            step(Step::Clock, &[5, 1]),
            live(),
        ],
    );
}

fn endings(script: Script<'_>, name: &str, setup: u8) {
    script(
        &format!("{name}-circuit"),
        setup,
        &[
            step(Step::Accept, &[0, 0]),
            step(Step::Join, &[0]),
            step(Step::OpenCircuit, &[0, 5, 0, 0]),
            step(Step::Prove, &[1, 0, 1]),
            live(),
            live(),
            live(),
            step(Step::Broadcast, &[0, 9, 0, 7]),
            step(Step::Write, &[1, 0, 0, 3, 9, 1, 0]),
            live(),
            step(Step::Disconnect, &[0, 0]),
            live(),
        ],
    );
    script(
        &format!("{name}-shutdown"),
        setup,
        &[
            step(Step::Bootstrap, &[2, 0, 0]),
            step(Step::Join, &[0]),
            live(),
            step(Step::Shutdown, &[]),
            live(),
        ],
    );
}

fn by_hand(script: Script<'_>) {
    let manual = setup::SERVICE;
    script(
        "manual-dials",
        manual,
        &[
            step(Step::Saved, &[1]),
            step(Step::Bootstrap, &[2, 0, 0]),
            step(Step::AnswerDial, &[0, 0]),
            step(Step::Grant, &[0, 0xC0, 0, 4]),
            step(Step::Grant, &[0, 0xC0, 0, 4]),
            live(),
            step(Step::Bootstrap, &[4, 1, 1]),
            step(Step::AnswerDial, &[0, 1, 6]),
            step(Step::Bootstrap, &[6, 3, 0]),
            step(Step::AnswerDial, &[0, 3]),
            step(Step::Stray, &[0, 2, 1, 9]),
        ],
    );
    script(
        "manual-slow-reader",
        manual,
        &[
            step(Step::Saved, &[1]),
            step(Step::Accept, &[1, 0]),
            step(Step::Grant, &[0, 0xC0, 0, 4]),
            step(Step::Hold, &[0]),
            step(Step::Advance, &[10, 1]),
            step(Step::Advance, &[10, 1]),
        ],
    );
    script(
        "relay",
        SERVICE,
        &[
            step(Step::Accept, &[0, 0]),
            step(Step::Accept, &[2, 0]),
            live(),
            // A circuit from the first to the second: circuit 0, origin, route of one, room, window.
            step(Step::Say, &[0, 0, 5, 0, 0, 0, 1, 2, 0, 0xC0, 0, 0x40]),
            live(),
            step(Step::Say, &[0, 0, 5, 4, 0, 5, 1, 2, 3, 4, 5]),
            live(),
        ],
    );
}

/// Scripts for a relay between the first two links.
fn relays(script: Script<'_>) {
    let setup = setup::SERVICE | setup::SMOOTH | setup::CREDIT | setup::TIGHT;
    let circuit = |end: u8, choices: &[u8]| step(Step::Say, &[&[end, 0, 5], choices].concat());
    // Circuit 0 of the first is circuit 1 of the second.
    let open = circuit(0, &[0, 0, 0, 1, 2, 0, 0xC0, 0, 0x40]);
    let data = circuit(0, &[&[4, 0, 200], [7; 200].as_slice()].concat());
    let opened = |window: u8| circuit(1, &[1, 1, window]);
    let linked = [step(Step::Accept, &[0, 0]), step(Step::Accept, &[2, 0]), open].concat();
    script("relay-opened-twice", setup, &[linked.clone(), opened(0), data.clone(), opened(0), data.clone()]);
    script("relay-opened-by-opener", setup, &[linked.clone(), circuit(0, &[1, 0, 9]), data.clone()]);
    script("relay-empty-data", setup, &[linked.clone(), opened(9), circuit(0, &[4, 0, 0])]);
    let (credit, reset) = (circuit(1, &[2, 1, 0xC0, 0, 2]), circuit(0, &[3, 0, 3]));
    script("relay-reset", setup, &[linked, opened(100), data.clone(), data, reset, credit.clone(), credit]);
}

/// Scripts for a room of three: the node and two persons, ends 0 and 1.
fn rooms(script: Script<'_>) {
    for (name, setup) in [("client", CLIENT), ("service", SERVICE), ("tight", CLIENT | setup::TIGHT)] {
        let met =
            [step(Step::Saved, &[1]), step(Step::Member, &[1, 0]), step(Step::Member, &[3, 0])].concat();
        let met = [met, live(), live(), live()].concat();
        let write = |end: u8, place: u8, size: u8, signed: u8| {
            step(Step::Write, &[end, 0, place, 7, size, signed, 0, 0])
        };
        let say = |end: u8, choices: &[u8]| step(Step::Say, &[&[end, 0, 6], choices].concat());
        let script = |scene: &str, steps: &[Vec<u8>]| {
            script(&format!("{name}-room-{scene}"), setup, &[core::slice::from_ref(&met), steps].concat());
        };
        let whisper = step(Step::Broadcast, &[0, 9, 1, 1, 1, 7]);
        let word = step(Step::Broadcast, &[0, 9, 0, 7]);
        let flood = step(Step::Broadcast, &[0, 0xD0, 0x40, 0x1F, 1, 0, 0, 7]);
        let forward = |end: u8, ago: u8| step(Step::Forward, &[end, ago]);
        script("in-order", &[write(0, 0, 3, 0), write(0, 0, 4, 1), write(1, 0, 5, 1), live()]);
        let late = [write(0, 0x84, 3, 1), write(0, 0x86, 3, 1)].concat();
        script("gap", &[write(0, 0, 3, 1), write(0, 0x83, 3, 1), write(0, 0x85, 3, 1), live(), live(), late]);
        let again = [write(0, 0, 9, 1), forward(0, 0), forward(1, 1)].concat();
        script("forwarded", &[write(0, 0, 3, 1), forward(1, 0), live(), again]);
        let answer = step(Step::Write, &[0, 0, 0, 7, 3, 1, 1, 3, 0]);
        script("directed", &[whisper, step(Step::Broadcast, &[0, 9, 1, 2, 1, 3, 7]), answer, live()]);
        // Announce (5), pull (6) and push set (7) of what was said last.
        let asked = [say(0, &[6, 0, 1, 0]), write(0, 0, 3, 1), say(1, &[5, 0, 1, 0]), live()].concat();
        script("pull", &[word.clone(), asked, say(1, &[6, 0, 2, 0, 1]), say(0, &[7, 0, 2, 1, 3]), live()]);
        script("marks", &[word.clone(), say(0, &[8, 0, 1, 0x20, 0, 1, 0]), live()]);
        // Words of themselves, before and after a proof, again, and of the node.
        let state = |end: u8, size: u8| step(Step::State, &[end, 0, size, 7]);
        let describe = |size: u8| step(Step::Describe, &[0, size, 9]);
        let named = [state(0, 3), state(0, 0), state(1, 5), describe(4), describe(0), describe(5)].concat();
        let again = [step(Step::Disconnect, &[0, 1]), step(Step::Accept, &[1, 0]), live(), state(1, 4)];
        let proved = [step(Step::Prove, &[1, 0, 1]), live(), say(0, &[12, 0x80])].concat();
        script("named", &[named, live(), again.concat(), proved]);
        script("slow-reader", &[step(Step::Hold, &[0]), flood.clone(), flood, live(), live(), live()]);
        let lost = [word.clone(), step(Step::Disconnect, &[0, 1]), word].concat();
        let anew =
            [step(Step::Accept, &[3, 2]), live(), step(Step::Prove, &[1, 0, 1]), live(), live()].concat();
        script("relinked", &[lost, step(Step::Member, &[1, 0]), write(1, 0, 3, 1), live(), anew]);
        let gone = [step(Step::Disconnect, &[0, 0]), live(), live(), live(), say(0, &[4, 0])].concat();
        script(
            "parted",
            &[gone, step(Step::Leave, &[0]), step(Step::Member, &[1, 0]), write(0, 0, 3, 1), live()],
        );
    }
}

/// Requests that persons bring to a service node.
fn requests(script: Script<'_>) {
    let accept = |person: u8| step(Step::Accept, &[person, 0]);
    let introduce = |end: u8, person: u8| step(Step::Introduce, &[end, person, 1, 1]);
    let linked = [accept(1), accept(0), accept(2), introduce(1, 0), introduce(2, 2), live()].concat();
    // No exclusions, no route, not to the root, attempt 0, a request id, a room, no target; then for one of the node.
    let plain = [0, 0, 0, 0, 0x90, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let targeted = [0, 0, 0, 0, 0x91, 0x60, 1, 0x60, 0, 1, 0, 0, 0, 0, 0, 0];
    let silent = SERVICE & !setup::POLITE & !setup::HELPFUL;
    for purpose in 0..6_u8 {
        let ask = |before: u8, choices: &[u8]| step(Step::Ask, &[&[0, before, purpose], choices].concat());
        let asked = [ask(0, &plain), live(), ask(0, &plain), ask(3, &targeted), ask(16, &plain)].concat();
        script(&format!("ask-{purpose}"), SERVICE, &[linked.clone(), asked, live()]);
        let asked = [ask(0, &plain), ask(1, &targeted)].concat();
        script(&format!("ask-{purpose}-in-vain"), silent, &[linked.clone(), asked, live()]);
    }
}
