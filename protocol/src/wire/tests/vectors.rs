//! Golden vectors: `protocol/vectors/wire.txt` and the values below say the same.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::*;

const FILE: &str = include_str!("../../../vectors/wire.txt");

const PREAMBLE: &str = "\
# Golden vectors of the wire format, for any implementation. docs/protocol.md describes the format.
#
# Each vector is a comment with its value, then a line `name hex`. `aa*32` means the byte 0xaa 32 times; numbers are
# decimal; an id not written out is `peer aa` or `room aa`, the byte repeated 32 times. A decoder reads the bytes as that
# value, an encoder writes that value as those bytes.
#
# First the messages: a byte of kind, then the fields.
";

/// One line of the file, and how a value of ours becomes it and comes back.
struct Vector {
    name: &'static str,
    value: &'static str,
    encoded: Vec<u8>,
    reads_back: bool,
}

fn message(name: &'static str, value: &'static str, message: Message) -> (u8, Vector) {
    let encoded = message.encode();
    let reads_back = Message::decode(&encoded.clone().into()) == Ok(message.clone());
    (message.kind(), Vector { name, value, encoded, reads_back })
}

fn payload<T>(name: &'static str, value: &'static str, payload: T) -> Vector
where
    T: Serialize + for<'a> Deserialize<'a> + PartialEq,
{
    let encoded = encode_body(&payload);
    let reads_back = decode_body::<T>(&encoded) == Ok(payload);
    Vector { name, value, encoded, reads_back }
}

fn overlay() -> Vec<(u8, Vector)> {
    vec![
        message("ping", "token 7", Message::Ping(Ping { token: 7 })),
        message("ping-max", "token 18446744073709551615", Message::Ping(Ping { token: u64::MAX })),
        message("pong", "token 300", Message::Pong(Ping { token: 300 })),
        message("goodbye", "reason 2, referrals [01 02 03] and []", {
            Message::Goodbye(Goodbye { reason: 2, referrals: list(vec![bytes(&[1, 2, 3]), Bytes::new()]) })
        }),
        message("reasons", "mask 5", Message::Reasons(Reasons { mask: 5 })),
        message("hello", "location room 11, ready, home [aa bb], wants 4, neighbours [cc]", {
            let (home, neighbours) = (Some(bytes(&[0xaa, 0xbb])), list(vec![bytes(&[0xcc])]));
            Message::Hello(Hello { location: room(0x11), ready: true, home, wants: 4, neighbours })
        }),
        message("hello-client", "location room 12, not ready, no home, wants 0, no neighbours", {
            let neighbours = Bounded::default();
            Message::Hello(Hello { location: room(0x12), ready: false, home: None, wants: 0, neighbours })
        }),
        message("hop-ack", "request 1000, attempt 2, seen", {
            Message::HopAck(HopAck { request: RequestId(1000), attempt: 2, seen: true })
        }),
        message("replicate", "claim [01 02] for 300 s, tombstones [03] and [04]", {
            let tombstones = list(vec![bytes(&[3]), bytes(&[4])]);
            let claims = list(vec![ClaimCopy { claim: bytes(&[1, 2]), left_s: 300 }]);
            Message::Replicate(Replicate { claims, tombstones })
        }),
        message("store-digest", "room 21, replica 1, items 128 and 5, answer", {
            let items = list(vec![128, 5]);
            Message::StoreDigest(StoreDigest { room: room(0x21), replica: 1, items, answer: true })
        }),
        message(
            "routed-find",
            "purpose 1 (find), not to the root, attempt 0, request 1000, key room 31, no target, exclude none, route \
             peer 01, payload empty",
            Message::Routed(Routed {
                purpose: Purpose::Find,
                to_root: false,
                attempt: 0,
                request: RequestId(1000),
                key: room(0x31),
                target: None,
                exclude: PeerIds::default(),
                route: PeerIds::new(&[peer(1)]).unwrap(),
                payload: Bytes::new(),
            }),
        ),
        message(
            "routed-connect",
            "purpose 4 (connect), to the root, attempt 1, request 18446744073709551615, key room 32, target peer 09, \
             exclude peer 08, route peers 01, 02, payload [de ad]",
            Message::Routed(Routed {
                purpose: Purpose::Connect,
                to_root: true,
                attempt: 1,
                request: RequestId(u64::MAX),
                key: room(0x32),
                target: Some(peer(9)),
                exclude: PeerIds::new(&[peer(8)]).unwrap(),
                route: PeerIds::new(&[peer(1), peer(2)]).unwrap(),
                payload: bytes(&[0xde, 0xad]),
            }),
        ),
        message(
            "reply",
            "purpose 1 (find), attempt 0, request 1000, at 1, route peers 01, 02, 03, services bits 1 and 2, rtts 12 \
             and 300, payload [be ef]",
            Message::Reply(Reply {
                purpose: Purpose::Find,
                attempt: 0,
                request: RequestId(1000),
                at: 1,
                route: PeerIds::new(&[peer(1), peer(2), peer(3)]).unwrap(),
                services: 0b110,
                rtts_ms: RttsMs::new(&[12, 300]).unwrap(),
                payload: bytes(&[0xbe, 0xef]),
            }),
        ),
    ]
}

fn circuits() -> Vec<(u8, Vector)> {
    vec![
        message("circuit-open", "circuit 2, origin peer 01, route peers 03, 02, room 41, window 65536", {
            let (route, room) = (list(vec![peer(3), peer(2)]), room(0x41));
            Message::CircuitOpen(CircuitOpen { circuit: 2, origin: peer(1), route, room, window: 65_536 })
        }),
        message("circuit-opened", "circuit 2, window 4294967295", {
            Message::CircuitOpened(CircuitOpened { circuit: 2, window: u32::MAX })
        }),
        message("circuit-data", "circuit 3, frame [01 02 03]", {
            Message::CircuitData(CircuitData { circuit: 3, frame: bytes(&[1, 2, 3]) })
        }),
        message("circuit-credit", "circuit 2, bytes 16384", {
            Message::CircuitCredit(CircuitCredit { circuit: 2, bytes: 16_384 })
        }),
        message("circuit-reset", "circuit 2, reason 27", {
            Message::CircuitReset(CircuitReset { circuit: 2, reason: 27 })
        }),
    ]
}

fn iterative() -> Vec<(u8, Vector)> {
    let (request, room) = (RequestId(1000), room(0x71));
    vec![
        message("query", "request 1000, room 71, replica 2, no claim", {
            Message::Query(Query { request, room, replica: 2, claim: None })
        }),
        message("query-claim", "request 1000, room 71, replica 0, claim [aa bb]", {
            Message::Query(Query { request, room, replica: 0, claim: Some(bytes(&[0xaa, 0xbb])) })
        }),
        message("query-answer", "request 1000, homes [01], claims [02] and [03], newer [04]", {
            let (homes, claims) = (list(vec![bytes(&[1])]), list(vec![bytes(&[2]), bytes(&[3])]));
            Message::QueryAnswer(QueryAnswer { request, homes, claims, newer: Some(bytes(&[4])) })
        }),
    ]
}

fn direct() -> Vec<(u8, Vector)> {
    let host = CandidateHost::V4([192, 0, 2, 1]);
    let candidate = Candidate::new(CandidateKind::Host, host, 51_234, 2_113_937_151).unwrap();
    let description = |setup, candidates| Description {
        ufrag: IceText::new("F7gI").unwrap(),
        pwd: IceText::new("x9cml/YzichV2+XlhiMu8gHu").unwrap(),
        fingerprint: Fingerprint([0x61; 32]),
        setup,
        candidates: list(candidates),
    };
    let step = |signal| Message::Signal(SignalStep { session: 300, signal });
    vec![
        message(
            "signal-offer",
            "session 300, offer: ufrag F7gI, pwd x9cml/YzichV2+XlhiMu8gHu, fingerprint 61*32, actpass, one candidate: \
             host, 192.0.2.1, port 51234, priority 2113937151",
            step(Signal::Offer(description(Setup::ActPass, vec![candidate]))),
        ),
        message(
            "signal-answer",
            "session 300, answer: ufrag F7gI, pwd x9cml/YzichV2+XlhiMu8gHu, fingerprint 61*32, passive, no candidates",
            step(Signal::Answer(description(Setup::Passive, Vec::new()))),
        ),
        message(
            "signal-candidate",
            "session 300, candidate: server reflexive, 2001:db8::1, port 9, priority 1",
            step(Signal::Candidate({
                let host = CandidateHost::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                Candidate::new(CandidateKind::ServerReflexive, host, 9, 1).unwrap()
            })),
        ),
        message("signal-end", "session 300, end of candidates", step(Signal::EndOfCandidates)),
        message(
            "ice-servers",
            "stun:stun.example:3478 without credential; turn:turn.example with user me and secret it",
            Message::IceServers(IceServers {
                servers: list(vec![
                    IceServer::new("stun:stun.example:3478", None).unwrap(),
                    IceServer::new("turn:turn.example", Some(("me", "it"))).unwrap(),
                ]),
            }),
        ),
    ]
}

fn mark() -> StreamMark {
    StreamMark { author: peer(2), instance: Instance { boot: 7, session: 200 }, stream: 0, next: 129 }
}

fn some_header() -> Header {
    Header {
        room: room(0x51),
        author: peer(1),
        instance: Instance { boot: 7, session: 200 },
        stream: 9,
        sequence: 128,
        recipients: Bounded::ascending(vec![peer(3), peer(2)]).unwrap(),
        push_set: 10,
        body_hash: [0x52; 32],
        sealed: false,
    }
}

fn rooms() -> Vec<(u8, Vector)> {
    let room = room(0x51);
    vec![
        message(
            "room-proof",
            "room key 53*32, signature 54*64, answer, claim [aa], stream 0 next 5; mark: author peer 02, boot 7, \
             session 200, stream 0, next 129",
            Message::RoomProof(RoomProof {
                room_key: [0x53; 32],
                signature: [0x54; 64],
                answer: true,
                claim: bytes(&[0xaa]),
                streams: list(vec![StreamNext { stream: 0, next: 5 }]),
                marks: list(vec![mark()]),
            }),
        ),
        message("room-refused", "room 51, full", Message::RoomRefused(RoomRefused { room, full: true })),
        message("room-claims", "room 51, claims [aa bb]", {
            Message::RoomClaims(RoomClaims { room, joined_s: 600, claims: list(vec![bytes(&[0xaa, 0xbb])]) })
        }),
        message("room-leave", "room 51", Message::RoomLeave(RoomLeave { room })),
        message("member-data", "statement [aa bb]", {
            Message::MemberData(MemberData { statement: bytes(&[0xaa, 0xbb]) })
        }),
        message("message", "header [01 02], no signature, body \"hello\"", {
            let (header, signature) = (bytes(&[1, 2]), Bytes::new());
            Message::RoomMessage(RoomMessage { header, signature, body: bytes(b"hello") })
        }),
        message("message-signed", "header [01 02], signature 55*64, body empty", {
            let (header, signature) = (bytes(&[1, 2]), bytes(&[0x55; 64]));
            Message::RoomMessage(RoomMessage { header, signature, body: Bytes::new() })
        }),
        message("announce", "room 51, messages 61*32 and 60*32", {
            let messages = list(vec![MessageId([0x61; 32]), MessageId([0x60; 32])]);
            Message::Announce(Announce { room, messages })
        }),
        message("pull", "room 51, messages 61*32", {
            Message::Pull(Pull { room, messages: list(vec![MessageId([0x61; 32])]) })
        }),
        message("push-set", "room 51, peers 02, 03", {
            Message::PushSet(PushSet { room, peers: list(vec![peer(2), peer(3)]) })
        }),
        message(
            "stream-marks",
            "room 51, mark: author peer 02, boot 7, session 200, stream 0, next 129",
            Message::StreamMarks(StreamMarks { room, marks: list(vec![mark()]) }),
        ),
    ]
}

fn connects() -> Vec<Vector> {
    vec![
        payload(
            "connect",
            "no room, expiry 1700000000000 ms, claim [aa], home claim [bb], home known 9, signature 71*64",
            Connect {
                room: None,
                expiry_ms: 1_700_000_000_000,
                claim: bytes(&[0xaa]),
                home_claim: Some(bytes(&[0xbb])),
                home_known: Some(9),
                signature: [0x71; 64],
            },
        ),
        payload(
            "connect-request",
            "id 1000, origin peer 01, target peer 09, key 52, room 51, expiry 1700000000000 ms, no claim, no home \
             claim, home known 9",
            ConnectRequest {
                about: ConnectAbout {
                    id: RequestId(1000),
                    origin: peer(1),
                    target: peer(9),
                    key: room(0x52),
                },
                room: room(0x51),
                expiry_ms: 1_700_000_000_000,
                claim: Bytes::new(),
                home_claim: None,
                home_known: Some(9),
            },
        ),
        payload(
            "connect-answer",
            "reply: accept, does not dial, home claim [bb], home wanted, signature 72*64; home [cc]",
            ConnectAnswer {
                reply: Some(SignedConnectReply {
                    accept: true,
                    dials: false,
                    home_claim: Some(bytes(&[0xbb])),
                    home_wanted: true,
                    signature: [0x72; 64],
                }),
                home: Some(bytes(&[0xcc])),
            },
        ),
        payload("connect-answer-absent", "no reply, no home", ConnectAnswer::absent()),
        payload(
            "connect-reply",
            "request hash 73*32, accept, does not dial, home claim [bb], home wanted",
            ConnectReply {
                request_hash: [0x73; 32],
                accept: true,
                dials: false,
                home_claim: Some(bytes(&[0xbb])),
                home_wanted: true,
            },
        ),
    ]
}

fn payloads() -> Vec<Vector> {
    let mut vectors = vec![
        payload("publish", "claim [aa bb], known 1, 18446744073709551615", {
            Publish { claim: bytes(&[0xaa, 0xbb]), known: list(vec![1, u64::MAX]) }
        }),
        payload("publish-answer", "claims [aa], newer [bb], slow down 600 s", {
            PublishAnswer { claims: list(vec![bytes(&[0xaa])]), newer: Some(bytes(&[0xbb])), slow_down: 600 }
        }),
        payload("find-answer", "claims [aa] and [bb]", {
            FindAnswer { claims: list(vec![bytes(&[0xaa]), bytes(&[0xbb])]) }
        }),
        payload("nearest", "most 9, known 7 and 4294967295", {
            Nearest { most: 9, known: list(vec![7, u32::MAX]) }
        }),
        payload("nearest-answer", "homes [aa], known 300", {
            NearestAnswer { homes: list(vec![bytes(&[0xaa])]), known: list(vec![300]) }
        }),
        payload("withdraw", "tombstone [aa]", Withdraw { tombstone: bytes(&[0xaa]) }),
        payload("notify", "target peer 09, claims [aa]", {
            Notify { target: peer(9), claims: list(vec![bytes(&[0xaa])]) }
        }),
        payload(
            "header",
            "room 51, author peer 01, boot 7, session 200, stream 9, sequence 128, recipients peers 02, 03, push set \
             10, body hash 52*32, not sealed",
            some_header(),
        ),
        payload("sealed-body", "copies for peer 02 [aa bb] and peer 03 [cc]", {
            let copy = |to, sealed: &[u8]| SealedCopy { to: peer(to), sealed: bytes(sealed) };
            SealedBody { copies: list(vec![copy(2, &[0xaa, 0xbb]), copy(3, &[0xcc])]) }
        }),
        payload(
            "handshake-payload",
            "identity peer 01, signature 74*64, boot 7, session 200, service, extension 300 with value [01]",
            HandshakePayload {
                identity: peer(1),
                signature: [0x74; 64],
                instance: Instance { boot: 7, session: 200 },
                service: true,
                extensions: list(vec![Extension { tag: 300, value: bytes(&[1]) }]),
            },
        ),
    ];
    vectors.extend(connects());
    vectors
}

fn render(vectors: &[Vector], out: &mut String) {
    for vector in vectors {
        let hex = crate::hex(&vector.encoded);
        out.push_str(&format!("\n# {}\n{} {hex}\n", vector.value, vector.name));
    }
}

/// The file must be exactly this; a difference is a change of the protocol.
#[test]
fn the_file_and_the_code_agree_in_both_directions() {
    let messages: Vec<_> =
        [overlay(), circuits(), rooms(), iterative(), direct()].into_iter().flatten().collect();
    let kinds: BTreeSet<u8> = messages.iter().map(|(kind, _)| *kind).collect();
    let in_use: BTreeSet<u8> = Message::KINDS.iter().copied().collect();
    assert_eq!(kinds, in_use, "every kind in use has a vector");

    let messages: Vec<_> = messages.into_iter().map(|(_, vector)| vector).collect();
    let (payloads, signed) = (payloads(), signed_objects::vectors());
    let mut expected = String::from(PREAMBLE);
    render(&messages, &mut expected);
    expected.push_str("\n# Payloads and other structs, without a kind.\n");
    render(&payloads, &mut expected);
    expected.push_str(signed_objects::PREAMBLE);
    let signed: Vec<_> = signed
        .into_iter()
        .map(|(name, value, encoded, reads_back)| Vector { name, value, encoded, reads_back })
        .collect();
    render(&signed, &mut expected);

    for vector in messages.iter().chain(&payloads).chain(&signed) {
        assert!(vector.reads_back, "{} reads back as it was", vector.name);
    }
    assert!(FILE == expected, "the file should be:\n{expected}<end>");
}
