//! Laws of the codec.

use proptest::prelude::*;

use super::generate::{header, message, reply, room_message, routed};
use super::*;

/// Whether what was accepted is the only encoding of its value.
fn accepted_is_canonical(input: &Bytes) -> Result<(), TestCaseError> {
    if let Ok(message) = Message::decode(input) {
        prop_assert_eq!(&message.encode()[..], &input[..]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_message_survives_the_wire_as_postcard_writes_it(message in message()) {
        let encoded = message.encode();
        prop_assert_eq!(&encoded, &by_postcard(&message));
        prop_assert_eq!(Message::decode(&encoded.into()), Ok(message));
    }

    #[test]
    fn b3_every_strict_prefix_is_refused_and_says_where_it_ends(message in message()) {
        let encoded = Bytes::from(message.encode());
        prop_assert_eq!(Message::decode(&Bytes::new()), Err(DecodeError::Empty));
        for end in 1..encoded.len() {
            match Message::decode(&encoded.slice(..end)) {
                Err(DecodeError::Truncated { offset }) => prop_assert!(offset <= end),
                other => prop_assert!(false, "prefix of {} bytes: {:?}", end, other),
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused(message in message(), extra in 1_usize..5) {
        let mut encoded = message.encode();
        encoded.resize(encoded.len() + extra, 0);
        prop_assert_eq!(Message::decode(&encoded.into()), Err(DecodeError::Trailing { extra }));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(kind in any::<prop::sample::Index>(), rest: Vec<u8>) {
        accepted_is_canonical(&rest.clone().into())?;
        let mut input = vec![*kind.get(Message::KINDS)];
        input.extend(rest);
        accepted_is_canonical(&input.into())?;
    }

    #[test]
    fn a_changed_message_is_refused_or_canonical(
        message in message(), at in any::<prop::sample::Index>(), change in 1_u8..,
    ) {
        let mut encoded = message.encode();
        let at = at.index(encoded.len());
        encoded[at] ^= change;
        accepted_is_canonical(&encoded.into())?;
    }

    #[test]
    fn a_forwarded_packet_differs_in_its_route_alone(routed in routed(), me: [u8; 32]) {
        let me = PeerId(me);
        let forwarded = routed.forward(me);
        if routed.route.len() == ROUTE_MAX {
            prop_assert_eq!(forwarded, Err(ForwardError::TooManyHops));
        } else {
            let mut route = routed.route.to_vec();
            route.push(me);
            let expected = Routed { route: PeerIds::new(&route).unwrap(), ..routed };
            prop_assert_eq!(Routed::decode(&forwarded.unwrap().into()), Ok(expected));
        }
    }

    #[test]
    fn a_reply_going_back_gains_one_time(reply in reply(), to_index in 0_u8..17, rtt_ms: u16) {
        let back = reply.backward(to_index, rtt_ms);
        match reply.rtts_ms.with(rtt_ms) {
            Some(rtts_ms) if to_index < reply.at => {
                let expected = Reply { at: to_index, rtts_ms, ..reply };
                prop_assert_eq!(Reply::decode(&back.unwrap().into()), Ok(expected));
            }
            Some(_) | None => prop_assert_eq!(back, None),
        }
    }

    #[test]
    fn a_room_message_in_parts_is_the_whole(message in room_message()) {
        let (mut head, body) = message.encode_parts();
        prop_assert_eq!(body.as_ptr(), message.body.as_ptr());
        head.extend_from_slice(&body);
        prop_assert_eq!(head, message.encode());
    }

    #[test]
    fn a_header_is_named_by_its_hash(header in header()) {
        let encoded = encode_body(&header);
        prop_assert_eq!(header.id().0, crate::crypto::sha256(&[&encoded]));
        prop_assert_eq!(decode_body(&encoded), Ok(header));
    }
}

#[test]
fn long_parts_are_shared_with_the_input() {
    let body = bytes(&[5; 10_000]);
    let message =
        RoomMessage { header: bytes(&[1; 100]), signature: Bytes::new(), body: body.clone() }.encode();
    let message = Bytes::from(message);
    let decoded = RoomMessage::decode(&message).unwrap();
    assert_eq!(decoded.body, body);
    assert!(message.as_ptr_range().contains(&decoded.body.as_ptr()));

    let data = Bytes::from(CircuitData { circuit: 4, frame: body }.encode());
    let decoded = CircuitData::decode(&data).unwrap();
    assert!(data.as_ptr_range().contains(&decoded.frame.as_ptr()));
}
