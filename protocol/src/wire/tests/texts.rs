//! What errors and values say of themselves, and shapes that the types of the wire do not have, but those of users may.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use proptest::prelude::*;

use super::*;
use crate::identity::Identity;

const ERRORS: [DecodeError; 14] = [
    DecodeError::Empty,
    DecodeError::Truncated { offset: 7 },
    DecodeError::Trailing { extra: 3 },
    DecodeError::UnknownKind(200),
    DecodeError::UnknownVersion(9),
    DecodeError::LengthExceedsFrame,
    DecodeError::TooLarge { max: 65_536 },
    DecodeError::BadVarint,
    DecodeError::TooMany,
    DecodeError::Utf8,
    DecodeError::BadBool,
    DecodeError::BadEnum,
    DecodeError::Duplicate,
    DecodeError::Invalid,
];

#[test]
fn each_error_has_a_name_and_a_text_of_its_own() {
    let names: BTreeSet<&str> = ERRORS.iter().map(|error| error.as_str()).collect();
    let texts: BTreeSet<String> = ERRORS.iter().map(|error| format!("{error}")).collect();
    assert_eq!((names.len(), texts.len()), (ERRORS.len(), ERRORS.len()));
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    }
    let numbers = ["7", "3", "200", "9", "65536"];
    assert!(numbers.iter().all(|number| texts.iter().any(|text| text.contains(number))), "{texts:?}");
    // What stands around an error adds nothing to it.
    assert_eq!(format!("{}", OpenError::from(DecodeError::Utf8)), format!("{}", DecodeError::Utf8));
    let others = [format!("{}", OpenError::BadSignature), format!("{}", ForwardError::Loop)];
    assert!(others.iter().all(|other| !texts.contains(other)));
    assert_ne!(format!("{}", ForwardError::Loop), format!("{}", ForwardError::TooManyHops));
}

#[test]
fn lists_show_their_items() {
    assert_eq!(format!("{:?}", Bounded::<u8, 4>::truncated([1, 2])), "[1, 2]");
    assert_eq!(Bounded::<u8, 4>::default().len(), 0);
    let ids = PeerIds::<4>::new(&[peer(1), peer(2)]).unwrap();
    assert_eq!(format!("{ids:?}"), format!("[{:?}, {:?}]", peer(1), peer(2)));
    assert!(!ids.is_empty() && PeerIds::<4>::default().is_empty());
}

#[test]
fn a_tombstone_says_what_it_withdraws() {
    let (member, key) = (Identity::from_seed([1; 32]), crate::RoomKey::from_seed([2; 32]));
    let crypto = crate::crypto::IdealCrypto;
    let terms = ClaimTerms {
        homes: vec![peer(3)],
        replica: 2,
        issued_ms: 1_000,
        expiry_ms: 90_000,
        sequence: Sequence { boot: 4, counter: 5 },
        sealing_key: [6; 32],
    };
    let network = crate::NetworkId::default();
    let claim = Claim::make(&terms, &key, &member, &crypto, &network);
    let tombstone = Tombstone::make(&claim, crate::Duration::from_secs(10), &key, &member, &crypto, &network);
    assert!(tombstone.withdraws(&claim));
    assert_eq!((tombstone.replica(), tombstone.sequence()), (2, terms.sequence));
    assert_eq!((tombstone.room_id(), tombstone.peer()), (claim.room_id(), claim.peer()));
    assert_eq!(tombstone.expiry_ms(), claim.expiry_ms() + 10_000);
}

/// Serde's shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    One(u64),
    Two(u8, String),
    Named { flag: bool, list: Vec<u16>, perhaps: Option<u32> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wrapped(u32);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pair(u8, Wrapped);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Everything {
    shapes: Vec<Shape>,
    pair: Pair,
    tuple: (bool, u16),
    text: String,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Nothing),
        any::<u64>().prop_map(Shape::One),
        (any::<u8>(), ".{0,8}").prop_map(|(byte, text)| Shape::Two(byte, text)),
        (any::<bool>(), proptest::collection::vec(any::<u16>(), 0..4), any::<Option<u32>>())
            .prop_map(|(flag, list, perhaps)| Shape::Named { flag, list, perhaps }),
    ]
}

proptest! {
    #[test]
    fn bodies_of_any_shape_are_those_of_postcard(
        shapes in proptest::collection::vec(shape(), 0..5),
        numbers: (u8, u32, bool, u16),
        text in ".{0,12}",
        cut in any::<proptest::sample::Index>(),
    ) {
        let (byte, wrapped, flag, short) = numbers;
        let everything = Everything { shapes, pair: Pair(byte, Wrapped(wrapped)), tuple: (flag, short), text };
        let encoded = encode_body(&everything);
        prop_assert_eq!(&encoded, &postcard::to_allocvec(&everything).unwrap());
        prop_assert_eq!(decode_body::<Everything>(&encoded), Ok(everything));
        let part = &encoded[..cut.index(encoded.len())];
        prop_assert!(decode_body::<Everything>(part).is_err());
    }
}
