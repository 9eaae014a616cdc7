//! Claims, home claims, tombstones and signed requests.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::crypto::{Crypto, IdealCrypto, RealCrypto, sha256};
use crate::wire::signed::{sign_body, signature_kind, verify_body};
use crate::{Address, Identity, NetworkId, RoomKey};

const ISSUED_MS: u64 = 1_700_000_000_000;
const TOLERANCE: Duration = Duration::from_secs(300);

fn network() -> NetworkId {
    NetworkId::default()
}

fn room_key() -> RoomKey {
    RoomKey::from_seed([0x81; 32])
}

fn identity() -> Identity {
    Identity::from_seed([0x82; 32])
}

fn terms() -> ClaimTerms {
    ClaimTerms {
        homes: vec![peer(8), peer(7)],
        replica: 1,
        issued_ms: ISSUED_MS,
        expiry_ms: ISSUED_MS + 750_000,
        sequence: Sequence { boot: 5, counter: 300 },
        sealing_key: [0x83; 32],
    }
}

fn claim(terms: &ClaimTerms, crypto: &dyn Crypto) -> Claim {
    Claim::make(terms, &room_key(), &identity(), crypto, &network())
}

fn tombstone(crypto: &dyn Crypto) -> Tombstone {
    Tombstone::make(&claim(&terms(), crypto), TOLERANCE, &room_key(), &identity(), crypto, &network())
}

fn home_terms() -> HomeClaimTerms {
    let texts = ["/ip4/192.0.2.1/tcp/3001/ws", "/dns/example.org/tcp/443/wss"];
    HomeClaimTerms {
        addresses: texts.iter().map(|text| text.parse().unwrap()).collect(),
        issued_ms: ISSUED_MS,
        expiry_ms: ISSUED_MS + 3_600_000,
        sequence: Sequence { boot: 5, counter: 2 },
    }
}

fn home_claim(terms: &HomeClaimTerms, crypto: &dyn Crypto) -> HomeClaim {
    HomeClaim::make(terms, &identity(), crypto, &network())
}

fn statement(data: &[u8], crypto: &dyn Crypto) -> MemberStatement {
    let sequence = Sequence { boot: 5, counter: 300 };
    MemberStatement::make(room(0x51), sequence, bytes(data), &identity(), crypto, &network()).unwrap()
}

pub(super) const PREAMBLE: &str = "
# Signed objects: real Ed25519 (RFC 8032) on the network `unamed`. Secret seeds: the room's 81*32, the peer's 82*32.
";

/// Name, description, bytes, and whether they read back.
pub(super) fn vectors() -> Vec<(&'static str, &'static str, Vec<u8>, bool)> {
    let claim = claim(&terms(), &RealCrypto);
    let tombstone = tombstone(&RealCrypto);
    let home = home_claim(&home_terms(), &RealCrypto);
    let said = statement(&[0xaa, 0xbb], &RealCrypto);
    let request = bytes(&[1, 2]);
    let signature =
        sign_body(signature_kind::CONNECT, &[&request], identity().secret(), &RealCrypto, &network());
    vec![
        (
            "claim",
            "homes peers 08, 07, replica 1, issued 1700000000000, expiry 1700000750000, boot 5, counter 300, sealing \
             key 83*32, no extensions",
            claim.bytes().to_vec(),
            Claim::decode(claim.bytes()) == Ok(claim),
        ),
        (
            "tombstone",
            "of that claim, expiry 1700001050000, no extensions",
            tombstone.bytes().to_vec(),
            Tombstone::decode(tombstone.bytes()) == Ok(tombstone),
        ),
        (
            "home-claim",
            "addresses /ip4/192.0.2.1/tcp/3001/ws, /dns/example.org/tcp/443/wss, issued 1700000000000, expiry \
             1700003600000, boot 5, counter 2, no extensions",
            home.bytes().to_vec(),
            HomeClaim::decode(home.bytes()) == Ok(home),
        ),
        (
            "member-statement",
            "room 51, boot 5, counter 300, data [aa bb], no extensions",
            said.bytes().to_vec(),
            MemberStatement::decode(said.bytes()) == Ok(said),
        ),
        (
            "signature",
            "by the peer, kind `connect`, over [01 02]",
            signature.to_vec(),
            verify_body(
                signature_kind::CONNECT,
                &[&request],
                &RealCrypto.public_key(identity().secret()),
                &signature,
                &RealCrypto,
                &network(),
            ),
        ),
    ]
}

#[test]
fn a_claim_says_what_its_member_said() {
    for crypto in [&RealCrypto as &dyn Crypto, &IdealCrypto] {
        let made = claim(&terms(), crypto);
        assert_eq!(Claim::decode(made.bytes()), Ok(made.clone()));
        assert!(made.verify(crypto, &network()));
        assert_eq!(made.room_key(), &crypto.public_key(room_key().secret()));
        assert_eq!(made.room_id().0, sha256(&[made.room_key()]));
        assert_eq!(made.peer().0, crypto.public_key(identity().secret()));
        assert_eq!(made.homes(), [peer(8), peer(7)]);
        assert_eq!(made.replica(), 1);
        assert_eq!((made.issued_ms(), made.expiry_ms()), (ISSUED_MS, ISSUED_MS + 750_000));
        assert_eq!(made.sequence(), Sequence { boot: 5, counter: 300 });
        assert_eq!(made.sealing_key(), &[0x83; 32]);
        let signed = made.bytes().len() - 2 * 64;
        let hash = sha256(&[&made.bytes()[..signed]]);
        assert_eq!(made.digest().to_le_bytes(), hash[..8]);
    }
}

#[test]
fn any_changed_byte_of_a_signed_object_breaks_it() {
    fn check(object: &Bytes, verifies: impl Fn(&Bytes) -> bool) {
        assert!(verifies(object));
        for at in 0..object.len() {
            let mut changed = object.to_vec();
            changed[at] ^= 1;
            assert!(!verifies(&changed.into()), "byte {at}");
        }
    }
    let (crypto, network) = (IdealCrypto, network());
    check(claim(&terms(), &crypto).bytes(), |object| {
        Claim::decode(object).is_ok_and(|claim| claim.verify(&crypto, &network))
    });
    check(tombstone(&crypto).bytes(), |object| {
        Tombstone::decode(object).is_ok_and(|tombstone| tombstone.verify(&crypto, &network))
    });
    check(home_claim(&home_terms(), &crypto).bytes(), |object| {
        HomeClaim::decode(object).is_ok_and(|home| home.verify(&crypto, &network))
    });
    check(statement(b"anna", &crypto).bytes(), |object| {
        MemberStatement::decode(object).is_ok_and(|said| said.verify(&crypto, &network))
    });
}

#[test]
fn a_signature_holds_for_its_network_kind_and_signer_alone() {
    let crypto = RealCrypto;
    let other = NetworkId::new("other").unwrap();
    let claim = claim(&terms(), &crypto);
    assert!(!claim.verify(&crypto, &other));
    assert!(!tombstone(&crypto).verify(&crypto, &other));
    assert!(!home_claim(&home_terms(), &crypto).verify(&crypto, &other));
    assert!(!statement(b"anna", &crypto).verify(&crypto, &other));

    // The two signatures in each other's place.
    let mut swapped = claim.bytes().to_vec();
    let body = swapped.len() - 128;
    swapped[body..].rotate_left(64);
    assert!(!Claim::decode(&swapped.into()).unwrap().verify(&crypto, &network()));

    // Somebody who knows the room but not the member's key.
    let forged = Claim::make(&terms(), &room_key(), &Identity::from_seed([9; 32]), &crypto, &network());
    let mut forged = forged.bytes().to_vec();
    forged[35..67].copy_from_slice(&claim.peer().0);
    let forged = Claim::decode(&forged.into()).unwrap();
    assert_eq!(forged.peer(), claim.peer());
    assert!(!forged.verify(&crypto, &network()));
}

#[test]
fn terms_beyond_their_bounds_are_cut() {
    let crypto = IdealCrypto;
    let homes = vec![peer(1), peer(2), peer(1), peer(3), peer(4), peer(5)];
    let made = claim(&ClaimTerms { homes, expiry_ms: u64::MAX, ..terms() }, &crypto);
    assert_eq!(made.homes(), [peer(1), peer(2), peer(3), peer(4)]);
    assert_eq!(made.expiry_ms(), ISSUED_MS + Claim::TTL_MAX_MS);
    assert!(Claim::decode(made.bytes()).is_ok());
    let past = claim(&ClaimTerms { expiry_ms: 1, ..terms() }, &crypto);
    assert_eq!(past.expiry_ms(), ISSUED_MS);
    assert!(Claim::decode(past.bytes()).is_ok());

    let me = PeerId(crypto.public_key(identity().secret()));
    let address = |port| Address { port, ..home_terms().addresses[0].clone() };
    let mut addresses: Vec<_> = (1..=10).map(address).collect();
    addresses.insert(0, address(99).with_peer(peer(1)));
    addresses.insert(1, address(1).with_peer(me));
    let made = home_claim(&HomeClaimTerms { addresses, expiry_ms: u64::MAX, ..home_terms() }, &crypto);
    let expected: Vec<_> = (1..=8).map(|port| address(port).with_peer(me)).collect();
    assert_eq!(made.addresses(), expected);
    assert_eq!(made.expiry_ms(), ISSUED_MS + HomeClaim::TTL_MAX_MS);
    assert_eq!(HomeClaim::decode(made.bytes()), Ok(made));
}

#[test]
fn validity_has_a_tolerance_at_both_ends() {
    let crypto = IdealCrypto;
    let (claim, tombstone) = (claim(&terms(), &crypto), tombstone(&crypto));
    let at = |unix_ms| (claim.is_current(unix_ms, TOLERANCE), tombstone.is_current(unix_ms, TOLERANCE));
    assert_eq!(at(ISSUED_MS - 300_001), (false, false));
    assert_eq!(at(ISSUED_MS - 300_000), (true, true));
    assert_eq!(at(ISSUED_MS), (true, true));
    assert_eq!(at(ISSUED_MS + 1_049_999), (true, true));
    assert_eq!(at(ISSUED_MS + 1_050_000), (false, false));
    assert_eq!((at(0), at(u64::MAX)), ((false, false), (false, false)));

    let home = home_claim(&home_terms(), &crypto);
    assert!(home.is_current(ISSUED_MS + 3_899_999, TOLERANCE));
    assert!(!home.is_current(ISSUED_MS + 3_900_000, TOLERANCE));
    assert!(!home.is_current(ISSUED_MS - 300_001, TOLERANCE));
}

#[test]
fn later_statements_replace_earlier_ones() {
    let crypto = IdealCrypto;
    let with =
        |boot, counter| claim(&ClaimTerms { sequence: Sequence { boot, counter }, ..terms() }, &crypto);
    let (old, same, restarted) = (with(5, 299), with(5, 300), with(6, 0));
    assert!(same.newer_than(&old) && restarted.newer_than(&same));
    assert!(!same.newer_than(&same) && !old.newer_than(&same));

    let tombstone = tombstone(&crypto);
    assert!(tombstone.withdraws(&old) && tombstone.withdraws(&same) && !tombstone.withdraws(&restarted));
    let other_key = claim(&ClaimTerms { replica: 2, ..terms() }, &crypto);
    assert!(!tombstone.withdraws(&other_key));
    let elsewhere = Claim::make(&terms(), &RoomKey::from_seed([1; 32]), &identity(), &crypto, &network());
    assert!(!tombstone.withdraws(&elsewhere));
}

/// A claim's fields as they stand on the wire, to make claims that `make` would not.
#[derive(Clone, Serialize)]
struct RawClaim {
    version: u8,
    room_key: PeerId,
    peer: PeerId,
    homes: Vec<PeerId>,
    replica: u8,
    issued_ms: u64,
    expiry_ms: u64,
    sequence: Sequence,
    sealing_key: PeerId,
    extensions: Vec<Extension>,
}

fn raw_claim() -> RawClaim {
    RawClaim {
        version: 1,
        room_key: PeerId(IdealCrypto.public_key(room_key().secret())),
        peer: PeerId(IdealCrypto.public_key(identity().secret())),
        homes: vec![peer(8)],
        replica: 0,
        issued_ms: ISSUED_MS,
        expiry_ms: ISSUED_MS + 1,
        sequence: Sequence::default(),
        sealing_key: peer(3),
        extensions: Vec::new(),
    }
}

fn sign_raw<T: Serialize>(body: &T, signers: &[(&str, &[u8; 32])]) -> Bytes {
    let body = postcard::to_allocvec(body).unwrap();
    let mut out = body.clone();
    for (kind, secret) in signers {
        out.extend(sign_body(kind, &[&body], secret, &IdealCrypto, &network()));
    }
    out.into()
}

fn signed_claim(body: &RawClaim) -> Bytes {
    let (room, peer) = (room_key(), identity());
    sign_raw(body, &[(signature_kind::CLAIM, room.secret()), (signature_kind::CLAIM_PEER, peer.secret())])
}

#[test]
fn unknown_extensions_are_kept_and_signed() {
    let extension = |tag, length: usize| Extension { tag, value: bytes(&vec![7; length]) };
    let extended =
        signed_claim(&RawClaim { extensions: vec![extension(1, 0), extension(40_000, 500)], ..raw_claim() });
    let claim = Claim::decode(&extended).unwrap();
    assert_eq!(claim.bytes(), &extended);
    assert!(claim.verify(&IdealCrypto, &network()));
}

#[test]
fn malformed_claims_are_refused_by_name() {
    let extension = |tag, length: usize| Extension { tag, value: bytes(&vec![7; length]) };
    let raw = raw_claim();
    let cases = [
        (RawClaim { version: 2, ..raw.clone() }, DecodeError::UnknownVersion(2)),
        (RawClaim { homes: (1..=5).map(peer).collect(), ..raw.clone() }, DecodeError::TooMany),
        (RawClaim { homes: vec![peer(1), peer(1)], ..raw.clone() }, DecodeError::Duplicate),
        (RawClaim { expiry_ms: ISSUED_MS - 1, ..raw.clone() }, DecodeError::Invalid),
        (RawClaim { expiry_ms: ISSUED_MS + 750_001, ..raw.clone() }, DecodeError::Invalid),
        (RawClaim { expiry_ms: u64::MAX, ..raw.clone() }, DecodeError::Invalid),
        (
            RawClaim { extensions: vec![extension(2, 0), extension(1, 0)], ..raw.clone() },
            DecodeError::Duplicate,
        ),
        (
            RawClaim { extensions: vec![extension(1, 900)], ..raw.clone() },
            DecodeError::TooLarge { max: 1024 },
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(Claim::decode(&signed_claim(&body)), Err(expected));
    }
    let good = signed_claim(&raw);
    assert_eq!(Claim::decode(&Bytes::new()), Err(DecodeError::Empty));
    for end in 1..good.len() {
        assert!(matches!(Claim::decode(&good.slice(..end)), Err(DecodeError::Truncated { .. })), "{end}");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(Claim::decode(&longer.into()), Err(DecodeError::Trailing { extra: 1 }));
}

#[derive(Serialize)]
struct RawHome {
    version: u8,
    peer: PeerId,
    addresses: Vec<String>,
    issued_ms: u64,
    expiry_ms: u64,
    sequence: Sequence,
    extensions: Vec<Extension>,
}

fn signed_home(addresses: &[String], valid_ms: u64) -> Bytes {
    let body = RawHome {
        version: 1,
        peer: PeerId(IdealCrypto.public_key(identity().secret())),
        addresses: addresses.to_vec(),
        issued_ms: ISSUED_MS,
        expiry_ms: ISSUED_MS.wrapping_add(valid_ms),
        sequence: Sequence::default(),
        extensions: Vec::new(),
    };
    sign_raw(&body, &[(signature_kind::HOME_CLAIM, identity().secret())])
}

#[test]
fn malformed_home_claims_are_refused_by_name() {
    let me = PeerId(IdealCrypto.public_key(identity().secret()));
    let good = String::from("/ip4/192.0.2.1/tcp/3001/ws");
    let named = format!("{good}/p2p/{me}");
    let decoded = HomeClaim::decode(&signed_home(core::slice::from_ref(&named), 0)).unwrap();
    assert_eq!(decoded.addresses(), [named.parse().unwrap()]);
    assert_eq!(decoded.room_id().0, sha256(&[&me.0]));
    assert_eq!(HomeClaim::decode(&signed_home(&[], 0)).unwrap().addresses(), []);

    let nine: Vec<_> = (1..=9).map(|port| format!("/ip4/192.0.2.1/tcp/{port}/ws")).collect();
    let long = format!("/dns/{}.org/tcp/443/wss", ["a".repeat(60).as_str(); 5].join("."));
    let one = |text: &str| signed_home(&[String::from(text)], 0);
    let cases = [
        (signed_home(&nine, 0), DecodeError::TooMany),
        (signed_home(&[good.clone(), good.clone()], 0), DecodeError::Duplicate),
        (one(&format!("{good}/p2p/{}", peer(1))), DecodeError::Invalid),
        (one(&long), DecodeError::Invalid),
        (one("/ip4/192.0.2.1/tcp/0/ws"), DecodeError::Invalid),
        (one("http://example.org"), DecodeError::Invalid),
        (one(""), DecodeError::Invalid),
        (signed_home(core::slice::from_ref(&good), HomeClaim::TTL_MAX_MS + 1), DecodeError::Invalid),
        (signed_home(&[good], u64::MAX), DecodeError::Invalid),
    ];
    for (input, expected) in cases {
        assert_eq!(HomeClaim::decode(&input), Err(expected));
    }
}

#[test]
fn a_statement_says_what_its_member_said_and_malformed_ones_are_refused_by_name() {
    #[derive(Serialize)]
    struct Raw<'a> {
        version: u8,
        room: RoomId,
        peer: PeerId,
        sequence: Sequence,
        data: &'a [u8],
        extensions: Vec<Extension>,
    }
    let me = PeerId(IdealCrypto.public_key(identity().secret()));
    let said = statement("änna".as_bytes(), &IdealCrypto);
    assert_eq!((said.room_id(), said.peer()), (room(0x51), me));
    assert_eq!(said.sequence(), Sequence { boot: 5, counter: 300 });
    assert_eq!(&said.data()[..], "änna".as_bytes());

    let largest = Sequence { boot: u64::MAX, counter: u64::MAX };
    let make = |data| MemberStatement::make(room(1), largest, data, &identity(), &IdealCrypto, &network());
    let full = make(bytes(&[7; MemberStatement::DATA_BYTES_MAX])).unwrap();
    assert_eq!(MemberStatement::decode(full.bytes()), Ok(full.clone()));
    assert_eq!(make(bytes(&[7; MemberStatement::DATA_BYTES_MAX + 1])), None);
    let empty = make(Bytes::new()).unwrap();
    assert_eq!(MemberStatement::decode(empty.bytes()), Ok(empty));

    let raw = |version, data, extensions| {
        let body = Raw { version, room: room(1), peer: me, sequence: largest, data, extensions };
        sign_raw(&body, &[(signature_kind::MEMBER_DATA, identity().secret())])
    };
    let extension = |bytes: usize| Extension { tag: 9, value: vec![1; bytes].into() };
    let newer = MemberStatement::decode(&raw(1, b"anna", vec![extension(3)])).unwrap();
    assert!(newer.data() == &bytes(b"anna") && newer.verify(&IdealCrypto, &network()));
    let long = [7; MemberStatement::DATA_BYTES_MAX + 1];
    let too_large = |max| DecodeError::TooLarge { max };
    let cases = [
        (raw(2, b"anna", Vec::new()), DecodeError::UnknownVersion(2)),
        (raw(1, &long, Vec::new()), too_large(MemberStatement::DATA_BYTES_MAX)),
        (raw(1, b"anna", vec![extension(2000)]), too_large(MemberStatement::BYTES_MAX)),
        (raw(1, b"anna", vec![extension(1), extension(2)]), DecodeError::Duplicate),
        (Bytes::new(), DecodeError::Empty),
        ([&full.bytes()[..], &[0]].concat().into(), DecodeError::Trailing { extra: 1 }),
    ];
    for (input, expected) in cases {
        assert_eq!(MemberStatement::decode(&input), Err(expected));
    }
    for end in 1..full.bytes().len() {
        let cut = MemberStatement::decode(&full.bytes().slice(..end));
        assert!(matches!(cut, Err(DecodeError::Truncated { .. })), "{end}");
    }
}

#[test]
fn the_largest_claims_fit() {
    let crypto = RealCrypto;
    let name = ["a".repeat(60).as_str(); 4].join(".");
    let addresses =
        (0..8).map(|n| format!("/dns6/{name}.example{n}/tcp/65535/wss").parse().unwrap()).collect();
    let largest = Sequence { boot: u64::MAX, counter: u64::MAX };
    let home = home_claim(&HomeClaimTerms { addresses, sequence: largest, ..home_terms() }, &crypto);
    assert_eq!(HomeClaim::decode(home.bytes()), Ok(home.clone()));
    assert_eq!(home.addresses().len(), 8);

    let issued_ms = u64::MAX - 1;
    let homes = (1..=4).map(peer).collect();
    let terms =
        ClaimTerms { homes, issued_ms, expiry_ms: u64::MAX, sequence: largest, replica: 255, ..terms() };
    let claim = claim(&terms, &crypto);
    assert_eq!(Claim::decode(claim.bytes()), Ok(claim.clone()));
    let tombstone = Tombstone::make(&claim, TOLERANCE, &room_key(), &identity(), &crypto, &network());
    assert_eq!(Tombstone::decode(tombstone.bytes()), Ok(tombstone));
}

#[test]
fn connect_requests_and_answers_open_for_their_signers_alone() {
    let (crypto, network) = (RealCrypto, network());
    let me = PeerId(crypto.public_key(identity().secret()));
    let about = ConnectAbout { id: RequestId(1), origin: me, target: peer(2), key: room(3) };
    let request = ConnectRequest {
        about,
        room: room(4),
        expiry_ms: ISSUED_MS,
        claim: Bytes::new(),
        home_claim: None,
        home_known: Some(5),
    };
    let connect = Connect::make(&request, identity().secret(), &crypto, &network);
    let open = |connect: &Connect, about| connect.open(about, &crypto, &network);
    assert_eq!(open(&connect, about), Ok(request.clone()));
    let claim = claim(&terms(), &crypto);
    let with_claim =
        ConnectRequest { room: claim.room_id(), claim: claim.bytes().clone(), ..request.clone() };
    let longer = Connect::make(&with_claim, identity().secret(), &crypto, &network);
    assert_eq!((longer.room, open(&longer, about)), (None, Ok(with_claim)), "the claim names the room");
    // It is signed by its origin, for this packet and with all its fields.
    let forged = Connect::make(&request, &[9; 32], &crypto, &network);
    let others = [
        (forged, about),
        (connect.clone(), ConnectAbout { id: RequestId(2), ..about }),
        (connect.clone(), ConnectAbout { origin: peer(2), ..about }),
        (connect.clone(), ConnectAbout { target: peer(3), ..about }),
        (connect.clone(), ConnectAbout { key: room(4), ..about }),
        (Connect { room: Some(room(5)), ..connect.clone() }, about),
        (Connect { expiry_ms: 0, ..connect.clone() }, about),
        (Connect { home_claim: Some(Bytes::new()), ..connect.clone() }, about),
        (Connect { home_known: None, ..connect.clone() }, about),
    ];
    for (connect, about) in others {
        assert_eq!(open(&connect, about), Err(OpenError::BadSignature), "{connect:?} {about:?}");
    }
    let (room_too, neither) = (
        Connect { room: Some(claim.room_id()), ..longer.clone() },
        Connect { room: None, ..connect.clone() },
    );
    for malformed in [room_too, neither] {
        assert_eq!(open(&malformed, about), Err(OpenError::Malformed(DecodeError::Invalid)));
    }
    let no_claim = Connect { claim: bytes(&[1]), ..longer };
    assert!(matches!(open(&no_claim, about), Err(OpenError::Malformed(_))));

    let reply = ConnectReply {
        request_hash: request.hash(),
        accept: true,
        dials: true,
        home_claim: None,
        home_wanted: false,
    };
    let signed = ConnectAnswer::make(&reply, identity().secret(), &crypto, &network).reply.unwrap();
    let open = |signed: &SignedConnectReply, hash, target| signed.open(hash, target, &crypto, &network);
    assert_eq!(open(&signed, request.hash(), me), Ok(reply.clone()));
    let forged = ConnectAnswer::make(&reply, &[9; 32], &crypto, &network).reply.unwrap();
    // The signature of a request is none of an answer.
    let crossed = SignedConnectReply { signature: connect.signature, ..signed.clone() };
    let others = [
        (forged, request.hash(), me),
        (crossed, request.hash(), me),
        (signed.clone(), [0; 32], me),
        (signed.clone(), request.hash(), peer(2)),
        (SignedConnectReply { accept: false, ..signed.clone() }, request.hash(), me),
        (SignedConnectReply { dials: false, ..signed.clone() }, request.hash(), me),
        (SignedConnectReply { home_claim: Some(Bytes::new()), ..signed.clone() }, request.hash(), me),
        (SignedConnectReply { home_wanted: true, ..signed }, request.hash(), me),
    ];
    for (signed, hash, target) in others {
        assert_eq!(open(&signed, hash, target), Err(OpenError::BadSignature), "{signed:?}");
    }
}

#[test]
fn a_room_proof_holds_on_its_link_and_in_its_direction_alone() {
    let (crypto, network) = (RealCrypto, network());
    let signature = RoomProof::signature(&room_key(), &[1; 32], peer(1), peer(2), &crypto, &network);
    let proof = RoomProof {
        room_key: crypto.public_key(room_key().secret()),
        signature,
        answer: false,
        claim: Bytes::new(),
        streams: Bounded::default(),
        marks: Bounded::default(),
    };
    assert_eq!(proof.room_id().0, sha256(&[&proof.room_key]));
    assert!(proof.verify(&[1; 32], peer(1), peer(2), &crypto, &network));
    assert!(!proof.verify(&[2; 32], peer(1), peer(2), &crypto, &network));
    assert!(!proof.verify(&[1; 32], peer(2), peer(1), &crypto, &network));
    let other = RoomProof { room_key: crypto.public_key(&[5; 32]), ..proof };
    assert!(!other.verify(&[1; 32], peer(1), peer(2), &crypto, &network));
}

#[test]
fn a_room_message_verifies_by_its_author_once_signed() {
    let (crypto, network) = (RealCrypto, network());
    let me = PeerId(crypto.public_key(identity().secret()));
    let mut message = RoomMessage { header: bytes(b"header"), signature: Bytes::new(), body: Bytes::new() };
    assert!(!message.verify(me, &crypto, &network));
    message.sign(identity().secret(), &crypto, &network);
    assert!(message.verify(me, &crypto, &network));
    assert!(!message.verify(peer(1), &crypto, &network));
    assert_eq!(RoomMessage::decode(&message.encode().into()), Ok(message.clone()));
    message.header = bytes(b"another");
    assert!(!message.verify(me, &crypto, &network));
    assert_eq!(message.id().0, sha256(&[b"another"]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_signed_object(mut input: Vec<u8>, pad in 0_usize..200) {
        input.insert(0, 1);
        input.resize(input.len() + pad, 0);
        let input = Bytes::from(input);
        let (crypto, network) = (RealCrypto, network());
        prop_assert!(!Claim::decode(&input).is_ok_and(|it| it.verify(&crypto, &network)));
        prop_assert!(!MemberStatement::decode(&input).is_ok_and(|it| it.verify(&crypto, &network)));
        prop_assert!(!Tombstone::decode(&input).is_ok_and(|it| it.verify(&crypto, &network)));
        prop_assert!(!HomeClaim::decode(&input).is_ok_and(|it| it.verify(&crypto, &network)));
    }

    #[test]
    fn changed_claims_never_verify(at in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut changed = claim(&terms(), &RealCrypto).bytes().to_vec();
        let at = at.index(changed.len());
        changed[at] ^= change;
        let verified = Claim::decode(&changed.into()).is_ok_and(|it| it.verify(&RealCrypto, &network()));
        prop_assert!(!verified);
    }
}
