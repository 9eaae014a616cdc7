//! Inputs that must be refused, each with its own error.

use super::*;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text<'a>(&'a str);

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| core::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn error(input: &[u8]) -> DecodeError {
    Message::decode(&bytes(input)).unwrap_err()
}

#[test]
fn malformed_messages_are_refused_by_name() {
    use DecodeError::*;
    let cases: &[(&str, &str, DecodeError)] = &[
        ("b1 no byte", "", Empty),
        ("b2 a kind alone", "01", Truncated { offset: 1 }),
        ("a kind alone, of a view", "10", Truncated { offset: 1 }),
        ("b4 a trailing byte", "01 07 00", Trailing { extra: 1 }),
        ("b6 kind 0", "00", UnknownKind(0)),
        ("b6 a reserved kind", "41 00 00", UnknownKind(65)),
        ("b15 JSON", "7b 22 61 22 3a 31 7d", UnknownKind(0x7b)),
        ("b8 an integer of 11 bytes", "01 80 80 80 80 80 80 80 80 80 80 00", BadVarint),
        ("an integer of 65 bits", "01 ff ff ff ff ff ff ff ff ff 02", BadVarint),
        ("the largest integer and a byte", "01 ff ff ff ff ff ff ff ff ff 01 00", Trailing { extra: 1 }),
        ("b8 zero in two bytes", "01 80 00", BadVarint),
        ("one in three bytes", "01 81 80 00", BadVarint),
        ("33 bits for 32", "21 ff ff ff ff 1f 00", BadVarint),
        ("a list of more than 8", "03 00 09", TooMany),
        ("b9 a count of 65,535", "03 00 ff ff 03", TooMany),
        ("a count of 2^64-1", "03 00 ff ff ff ff ff ff ff ff ff 01", TooMany),
        ("b7 a byte string of 2^32-1 bytes", "03 00 01 ff ff ff ff 0f", LengthExceedsFrame),
        ("a byte string of 2^64-1 bytes", "22 00 ff ff ff ff ff ff ff ff ff 01", LengthExceedsFrame),
        ("a byte string longer than the input", "03 00 01 05 00", Truncated { offset: 4 }),
        ("an id of one byte", "33 01 00", Invalid),
        ("b14 boolean 2", "11 00 00 02", BadBool),
        ("boolean 255, in a view", "10 01 ff", BadBool),
        ("purpose 0", "10 00", BadEnum),
        ("purpose 7", "10 07", BadEnum),
        ("b14 purpose 255", "12 ff", BadEnum),
        ("signal 4", "40 00 04", BadEnum),
        (
            "a setup of 3",
            "40 00 01 04 61 61 61 61 16 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 03",
            Truncated { offset: 32 },
        ),
        ("a candidate kind of 4", "40 00 02 04", BadEnum),
        ("an ICE server without a scheme", "70 01 01 61 00", Invalid),
        ("nine ICE servers", "70 09", TooMany),
        ("a signature of 63 bytes", "34 00 01 00 00", Invalid),
    ];
    for (name, input, expected) in cases {
        assert_eq!(error(&unhex(input)), *expected, "{name}");
    }
}

fn with_lists(exclude: &[PeerId], route: &[PeerId]) -> Vec<u8> {
    let routed = derived::Routed {
        purpose: Purpose::Find as u8,
        to_root: false,
        attempt: 0,
        request: RequestId(1),
        key: room(1),
        target: None,
        exclude: exclude.to_vec(),
        route: route.to_vec(),
        payload: Bytes::new(),
    };
    let mut out = vec![kind::ROUTED];
    out.extend(postcard::to_allocvec(&routed).unwrap());
    out
}

#[test]
fn routes_have_a_bound_and_no_loops() {
    let peers: Vec<_> = (1..=18).map(peer).collect();
    assert!(Message::decode(&with_lists(&peers[..4], &peers[..16]).into()).is_ok());
    assert_eq!(error(&with_lists(&peers[..5], &[])), DecodeError::TooMany);
    assert_eq!(error(&with_lists(&[], &peers[..17])), DecodeError::TooMany);
    assert_eq!(error(&with_lists(&[], &[peers[3], peers[1], peers[3]])), DecodeError::Duplicate);
    assert_eq!(error(&with_lists(&[peers[3], peers[3]], &[])), DecodeError::Duplicate);

    assert_eq!(PeerIds::<4>::new(&peers[..5]), Err(DecodeError::TooMany));
    assert_eq!(PeerIds::<4>::new(&[peers[0], peers[0]]), Err(DecodeError::Duplicate));

    let routed = Routed::decode(&with_lists(&[], &peers[..15]).into()).unwrap();
    assert_eq!(routed.forward(peers[4]), Err(ForwardError::Loop));
    let full = Routed::decode(&routed.forward(peers[15]).unwrap().into()).unwrap();
    assert_eq!(full.forward(peers[16]), Err(ForwardError::TooManyHops));
}

#[test]
fn replies_stay_on_their_route() {
    let good = Reply {
        purpose: Purpose::Find,
        attempt: 0,
        request: RequestId(1),
        at: 1,
        route: PeerIds::new(&[peer(1), peer(2)]).unwrap(),
        services: 0b11,
        rtts_ms: RttsMs::default(),
        payload: Bytes::new(),
    };
    assert!(Reply::decode(&good.encode().into()).is_ok());
    for bad in [
        Reply { at: 2, ..good.clone() },
        Reply { services: 0b100, ..good.clone() },
        Reply { route: PeerIds::default(), at: 0, services: 0, ..good.clone() },
    ] {
        assert_eq!(error(&bad.encode()), DecodeError::Invalid, "{bad:?}");
    }
    assert_eq!(good.backward(1, 5), None);
    assert_eq!(RttsMs::new(&[1; 18]), None);

    let mut many = good.encode();
    let rtts = many.len() - 2;
    many[rtts] = 18;
    assert_eq!(error(&many), DecodeError::TooMany);

    let peers: Vec<_> = (1..=17).map(peer).collect();
    let longest = Reply { route: PeerIds::new(&peers).unwrap(), services: (1 << 17) - 1, at: 16, ..good };
    assert_eq!(Reply::decode(&longest.encode().into()), Ok(longest.clone()));
    assert_eq!(error(&Reply { services: 1 << 17, ..longest }.encode()), DecodeError::Invalid);
}

#[test]
fn b13_lists_of_different_items_name_none_twice() {
    let (one, two) = (MessageId([1; 32]), MessageId([2; 32]));
    let pull =
        |ids: &[MessageId]| Message::Pull(Pull { room: room(1), messages: list(ids.to_vec()) }).encode();
    assert!(Message::decode(&pull(&[two, one]).into()).is_ok());
    assert_eq!(error(&pull(&[two, one, two])), DecodeError::Duplicate);

    let push_set =
        |peers: &[PeerId]| Message::PushSet(PushSet { room: room(1), peers: list(peers.to_vec()) }).encode();
    assert!(Message::decode(&push_set(&[peer(1), peer(2)]).into()).is_ok());
    assert_eq!(error(&push_set(&[peer(1), peer(1)])), DecodeError::Duplicate);
    assert_eq!(error(&push_set(&[peer(2), peer(1)])), DecodeError::Duplicate);

    let open = |peers: &[PeerId]| {
        let (route, room) = (list(peers.to_vec()), room(1));
        Message::CircuitOpen(CircuitOpen { circuit: 1, origin: peer(9), route, room, window: 0 }).encode()
    };
    assert!(Message::decode(&open(&[peer(2), peer(1)]).into()).is_ok());
    assert_eq!(error(&open(&[peer(2), peer(2)])), DecodeError::Duplicate);

    let header = |recipients: &[PeerId]| {
        encode_body(&Header {
            room: room(1),
            author: peer(1),
            instance: Instance::default(),
            stream: 0,
            sequence: 0,
            recipients: list(recipients.to_vec()),
            push_set: 0,
            body_hash: [0; 32],
            sealed: false,
        })
    };
    assert!(decode_body::<Header>(&header(&[peer(1), peer(2)])).is_ok());
    assert_eq!(decode_body::<Header>(&header(&[peer(2), peer(1)])), Err(DecodeError::Duplicate));
    assert_eq!(decode_body::<Header>(&header(&[peer(2), peer(2)])), Err(DecodeError::Duplicate));
}

#[test]
fn extensions_ascend() {
    let payload = |tags: &[u32]| {
        encode_body(&HandshakePayload {
            identity: peer(1),
            signature: [0; 64],
            instance: Instance::default(),
            service: true,
            extensions: list(tags.iter().map(|tag| Extension { tag: *tag, value: bytes(b"x") }).collect()),
        })
    };
    assert!(decode_body::<HandshakePayload>(&payload(&[1, 2, u32::MAX])).is_ok());
    assert_eq!(decode_body::<HandshakePayload>(&payload(&[1, 1])), Err(DecodeError::Duplicate));
    assert_eq!(decode_body::<HandshakePayload>(&payload(&[2, 1])), Err(DecodeError::Duplicate));
}

#[test]
fn b11_text_is_utf8() {
    assert_eq!(decode_body(b"\x02\xc3\xa9"), Ok(Text("é")));
    for bad in [&b"\x01\xff"[..], b"\x03\xed\xa0\x80"] {
        assert_eq!(decode_body::<Text<'_>>(bad), Err(DecodeError::Utf8));
    }
    assert_eq!(decode_body::<Text<'_>>(b""), Err(DecodeError::Truncated { offset: 0 }));
}

#[test]
fn only_room_messages_are_large() {
    let max = kind::SMALL_BYTES_MAX;
    for kind in Message::KINDS.iter().filter(|kind| **kind != kind::MESSAGE) {
        let mut input = vec![*kind];
        input.resize(max + 1, 0);
        assert_eq!(error(&input), DecodeError::TooLarge { max });
    }
    let large = RoomMessage { header: Bytes::new(), signature: Bytes::new(), body: bytes(&[0; 1 << 20]) };
    assert_eq!(Message::decode(&large.encode().into()), Ok(Message::RoomMessage(large)));
}

/// The largest lists that a kind can carry stay below the bound of small messages.
#[test]
fn the_largest_honest_messages_fit() {
    let home = bytes(&[0; HomeClaim::BYTES_MAX]);
    let claim = bytes(&[0; Claim::BYTES_MAX]);
    let tombstone = bytes(&[0; Tombstone::BYTES_MAX]);
    let peers: Vec<_> = (1..=17).map(peer).collect();
    let answer = NearestAnswer { homes: list(vec![home.clone(); 16]), known: Bounded::default() };
    for message in [
        Message::Hello(Hello {
            location: room(1),
            ready: true,
            home: Some(home.clone()),
            wants: 16,
            neighbours: list(vec![home; 16]),
        }),
        Message::Replicate(Replicate {
            claims: list(vec![ClaimCopy { claim, left_s: u16::MAX }; 32]),
            tombstones: list(vec![tombstone; 32]),
        }),
        Message::Reply(Reply {
            purpose: Purpose::Nearest,
            attempt: 0,
            request: RequestId(u64::MAX),
            at: 16,
            route: PeerIds::new(&peers).unwrap(),
            services: 0,
            rtts_ms: RttsMs::new(&[u16::MAX; 17]).unwrap(),
            payload: encode_body(&answer).into(),
        }),
    ] {
        assert!(Message::decode(&message.encode().into()).is_ok(), "kind {}", message.kind());
    }
}
