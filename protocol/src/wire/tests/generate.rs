//! Arbitrary messages.

use proptest::collection::vec as many;
use proptest::prelude::*;

use super::*;

fn peers(max: usize) -> impl Strategy<Value = Vec<PeerId>> {
    many(any::<[u8; 32]>(), 0..=max).prop_map(|ids| {
        let mut ids: Vec<_> = ids.into_iter().map(PeerId).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    })
}

fn some_peer() -> impl Strategy<Value = PeerId> {
    any::<[u8; 32]>().prop_map(PeerId)
}

fn some_room() -> impl Strategy<Value = RoomId> {
    any::<[u8; 32]>().prop_map(RoomId)
}

fn blob() -> impl Strategy<Value = Bytes> {
    many(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn blobs<const N: usize>() -> impl Strategy<Value = Bounded<Bytes, N>> {
    many(blob(), 0..=N.min(5)).prop_map(list)
}

fn purpose() -> impl Strategy<Value = Purpose> {
    (1_u8..=6).prop_map(|number| number.try_into().unwrap())
}

/// Every length of integer is as likely as any other.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| bits >> shift)
}

fn small() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0_u32..32).prop_map(|(bits, shift)| bits >> shift)
}

fn marks() -> impl Strategy<Value = Bounded<StreamMark, 64>> {
    let mark = (some_peer(), number(), number(), number(), number()).prop_map(
        |(author, boot, session, stream, next)| StreamMark {
            author,
            instance: Instance { boot, session },
            stream,
            next,
        },
    );
    many(mark, 0..4).prop_map(list)
}

fn message_ids() -> impl Strategy<Value = Bounded<MessageId, 64>> {
    peers(64).prop_map(|ids| list(ids.into_iter().map(|id| MessageId(id.0)).collect()))
}

prop_compose! {
    pub(super) fn routed()(
        purpose in purpose(), to_root: bool, attempt: u8, request in number(), key in some_room(),
        target in proptest::option::of(some_peer()), exclude in peers(4), route in peers(16), payload in blob(),
    ) -> Routed {
        Routed {
            purpose, to_root, attempt, request: RequestId(request), key, target,
            exclude: PeerIds::new(&exclude).unwrap(), route: PeerIds::new(&route).unwrap(), payload,
        }
    }
}

prop_compose! {
    pub(super) fn reply()(
        purpose in purpose(), attempt: u8, request in number(), at: u8, first in some_peer(),
        more in peers(16), services: u32, rtts in many(any::<u16>(), 0..=17), payload in blob(),
    ) -> Reply {
        let mut route = more;
        route.retain(|id| *id != first);
        route.insert(0, first);
        let at = at % u8::try_from(route.len()).unwrap();
        Reply {
            purpose, attempt, request: RequestId(request), at, services: services & ((1 << route.len()) - 1),
            route: PeerIds::new(&route).unwrap(), rtts_ms: RttsMs::new(&rtts).unwrap(), payload,
        }
    }
}

prop_compose! {
    pub(super) fn header()(
        room in some_room(), author in some_peer(), boot in number(), session in number(), stream in number(),
        sequence in number(), recipients in peers(32), push_set in number(), body_hash: [u8; 32], sealed: bool,
    ) -> Header {
        Header {
            room, author, instance: Instance { boot, session }, stream, sequence,
            recipients: Bounded::ascending(recipients).unwrap(), push_set, body_hash, sealed,
        }
    }
}

prop_compose! {
    pub(super) fn room_message()(header in header(), signed: bool, body in blob()) -> RoomMessage {
        let signature = if signed { bytes(&[7; 64]) } else { Bytes::new() };
        RoomMessage { header: encode_body(&header).into(), signature, body }
    }
}

prop_compose! {
    fn room_proof()(
        room_key: [u8; 32], half: [u8; 32], answer: bool, claim in blob(),
        streams in many((number(), number()), 0..4), marks in marks(),
    ) -> RoomProof {
        let mut signature = [0; 64];
        signature[16..48].copy_from_slice(&half);
        let streams = streams.into_iter().map(|(stream, next)| StreamNext { stream, next }).collect();
        RoomProof { room_key, signature, answer, claim, streams: list(streams), marks }
    }
}

prop_compose! {
    fn hello()(
        location in some_room(), ready: bool, home in proptest::option::of(blob()), wants: u8,
        neighbours in blobs(),
    ) -> Hello {
        Hello { location, ready, home, wants, neighbours }
    }
}

prop_compose! {
    fn circuit_open()(
        circuit in small(), origin in some_peer(), route in peers(16), room in some_room(), window in small(),
    ) -> CircuitOpen {
        CircuitOpen { circuit, origin, route: list(route), room, window }
    }
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let kinds = [
        CandidateKind::Host,
        CandidateKind::ServerReflexive,
        CandidateKind::PeerReflexive,
        CandidateKind::Relayed,
    ];
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(CandidateHost::V4),
        any::<[u8; 16]>().prop_map(CandidateHost::V6),
        any::<[u8; 16]>().prop_map(CandidateHost::Mdns),
    ];
    (prop::sample::select(kinds.to_vec()), address, 1_u16.., 1..=i32::MAX as u32)
        .prop_filter_map("a legal candidate", |(kind, host, port, priority)| {
            Candidate::new(kind, host, port, priority).ok()
        })
}

prop_compose! {
    fn description()(
        ufrag in "[A-Za-z0-9+/]{4,8}", pwd in "[A-Za-z0-9+/]{22,32}", fingerprint in any::<[u8; 32]>(),
        setup in prop::sample::select(vec![Setup::ActPass, Setup::Active, Setup::Passive]),
        candidates in prop::collection::vec(candidate(), 0..=3),
    ) -> Description {
        Description {
            ufrag: IceText::new(&ufrag).unwrap(),
            pwd: IceText::new(&pwd).unwrap(),
            fingerprint: Fingerprint(fingerprint),
            setup,
            candidates: list(candidates),
        }
    }
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        description().prop_map(Signal::Offer),
        description().prop_map(Signal::Answer),
        candidate().prop_map(Signal::Candidate),
        Just(Signal::EndOfCandidates),
    ]
}

fn ice_server() -> impl Strategy<Value = IceServer> {
    prop_oneof![
        "stun:[a-z]{1,12}\\.example(:[1-9][0-9]{0,3})?".prop_map(|url| IceServer::new(&url, None).unwrap()),
        ("turns:[a-z]{1,12}\\.example", "[a-z]{1,8}", "[a-z]{1,8}")
            .prop_map(|(url, user, secret)| IceServer::new(&url, Some((&user, &secret))).unwrap()),
    ]
}

/// A message of any kind.
pub(super) fn message() -> impl Strategy<Value = Message> {
    let overlay = prop_oneof![
        number().prop_map(|token| Message::Ping(Ping { token })),
        number().prop_map(|token| Message::Pong(Ping { token })),
        (any::<u8>(), blobs())
            .prop_map(|(reason, referrals)| Message::Goodbye(Goodbye { reason, referrals })),
        any::<u8>().prop_map(|mask| Message::Reasons(Reasons { mask })),
        hello().prop_map(Message::Hello),
        routed().prop_map(Message::Routed),
        (number(), any::<u8>(), any::<bool>()).prop_map(|(request, attempt, seen)| {
            Message::HopAck(HopAck { request: RequestId(request), attempt, seen })
        }),
        reply().prop_map(Message::Reply),
        (many((blob(), any::<u16>()), 0..=4), blobs()).prop_map(|(claims, tombstones)| {
            let copies = claims.into_iter().map(|(claim, left_s)| ClaimCopy { claim, left_s });
            Message::Replicate(Replicate { claims: Bounded::truncated(copies), tombstones })
        }),
        (some_room(), any::<u8>(), many(number(), 0..=64), any::<bool>()).prop_map(
            |(room, replica, items, answer)| {
                Message::StoreDigest(StoreDigest { room, replica, items: list(items), answer })
            }
        ),
    ];
    let circuits = prop_oneof![
        circuit_open().prop_map(Message::CircuitOpen),
        (small(), small())
            .prop_map(|(circuit, window)| Message::CircuitOpened(CircuitOpened { circuit, window })),
        (small(), blob()).prop_map(|(circuit, frame)| Message::CircuitData(CircuitData { circuit, frame })),
        (small(), small())
            .prop_map(|(circuit, bytes)| Message::CircuitCredit(CircuitCredit { circuit, bytes })),
        (small(), any::<u8>())
            .prop_map(|(circuit, reason)| Message::CircuitReset(CircuitReset { circuit, reason })),
    ];
    let rooms = prop_oneof![
        room_proof().prop_map(Message::RoomProof),
        (some_room(), any::<bool>())
            .prop_map(|(room, full)| Message::RoomRefused(RoomRefused { room, full })),
        (some_room(), any::<u32>(), blobs()).prop_map(|(room, joined_s, claims)| {
            Message::RoomClaims(RoomClaims { room, joined_s, claims })
        }),
        some_room().prop_map(|room| Message::RoomLeave(RoomLeave { room })),
        blob().prop_map(|statement| Message::MemberData(MemberData { statement })),
        room_message().prop_map(Message::RoomMessage),
        (some_room(), message_ids())
            .prop_map(|(room, messages)| Message::Announce(Announce { room, messages })),
        (some_room(), message_ids()).prop_map(|(room, messages)| Message::Pull(Pull { room, messages })),
        (some_room(), peers(64))
            .prop_map(|(room, peers)| Message::PushSet(PushSet { room, peers: list(peers) })),
        (some_room(), marks()).prop_map(|(room, marks)| Message::StreamMarks(StreamMarks { room, marks })),
    ];
    let iterative = prop_oneof![
        (number(), some_room(), any::<u8>(), prop::option::of(blob())).prop_map(
            |(request, room, replica, claim)| {
                Message::Query(Query { request: RequestId(request), room, replica, claim })
            }
        ),
        (number(), blobs(), blobs(), prop::option::of(blob())).prop_map(|(request, homes, claims, newer)| {
            Message::QueryAnswer(QueryAnswer { request: RequestId(request), homes, claims, newer })
        }),
    ];
    let direct = prop_oneof![
        (number(), signal()).prop_map(|(session, signal)| Message::Signal(SignalStep { session, signal })),
        many(ice_server(), 0..=8)
            .prop_map(|servers| Message::IceServers(IceServers { servers: list(servers) })),
    ];
    prop_oneof![10 => overlay, 5 => circuits, 9 => rooms, 2 => direct, 2 => iterative]
}
