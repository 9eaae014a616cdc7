//! Everything that reads what strangers or users wrote, fed arbitrary bytes.

use core::time::Duration;

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role, sha256};
use unamed_protocol::wire::message::{Connect, ConnectAbout, ConnectAnswer, Header};
use unamed_protocol::wire::{
    Claim, HomeClaim, MemberStatement, Message, RoomMessage, Tombstone, decode_body, encode_body,
};
use unamed_protocol::{
    Address, IceServer, Identity, NetworkId, PeerId, RequestId, RoomId, RoomKey, Snapshot,
    passphrase_from_file,
};

use crate::generate::{self, Anything};
use crate::source::Source;
use crate::{payload, round_trip, session};

/// Fuzz target: frames for a session that has not authenticated its peer. Role and kind of node, then frames.
pub(crate) fn frame(input: &[u8]) {
    let mut from = Source::new(input);
    session::before(role(&mut from), &mut from);
}

/// Fuzz target: the payload of a handshake message, after its role.
pub(crate) fn handshake(input: &[u8]) {
    let mut from = Source::new(input);
    session::payload(role(&mut from), from);
}

/// Fuzz target: events of an established session. Role and kind of node, then events.
pub(crate) fn session(input: &[u8]) {
    let mut from = Source::new(input);
    session::after(role(&mut from), &mut from);
}

/// Fuzz target: bytes of a message (0), or choices that messages are made of.
pub(crate) fn message(input: &[u8]) {
    let mut from = Source::new(input);
    if from.flag() {
        return round_trip::made_messages(&mut from);
    }
    let bytes = from.rest();
    round_trip::accepted_message(bytes);
    if let Ok(Message::RoomMessage(message)) = Message::decode(&Bytes::copy_from_slice(bytes)) {
        let _ = decode_body::<Header>(&message.header);
        let _ = message.verify(PeerId([1; 32]), &IdealCrypto, &NetworkId::default());
    }
}

/// Fuzz target: a payload type's number and bytes (0), or choices that payloads are made of.
pub(crate) fn payload(input: &[u8]) {
    let mut from = Source::new(input);
    if from.flag() {
        return round_trip::made_payloads(&mut from);
    }
    let number = from.below(payload::PAYLOADS);
    let bytes = from.rest();
    payload::check(number, bytes);
    opened(bytes);
}

/// The number of a payload type in inputs of the target `payload`, by its name in `protocol/vectors/wire.txt`.
#[must_use]
pub fn payload_number(name: &str) -> Option<u8> {
    payload::NAMES.iter().position(|known| *known == name).map(|number| number as u8)
}

/// Fuzz target: bytes of a claim (0), a home claim (1), a tombstone (2) or a member's statement (4), or choices that signed
/// ones are made of (3).
pub(crate) fn claims(input: &[u8]) {
    let mut from = Source::new(input);
    match from.below(5) {
        0 => claim(&Bytes::copy_from_slice(from.rest())),
        1 => home_claim(&Bytes::copy_from_slice(from.rest())),
        2 => tombstone(&Bytes::copy_from_slice(from.rest())),
        4 => statement(&Bytes::copy_from_slice(from.rest())),
        _ => round_trip::signed(&mut from),
    }
}

/// Fuzz target: a state file (0), the body of one, to which header and checksum are added (1), or choices that snapshots
/// are made of (2).
pub(crate) fn state_file(input: &[u8]) {
    let mut from = Source::new(input);
    match from.below(3) {
        0 => snapshot(from.rest()),
        1 => {
            let mut bytes = [b"unamed-snapshot".as_slice(), &[1], from.rest()].concat();
            let checksum = sha256(&[&bytes]);
            bytes.extend_from_slice(&checksum[..8]);
            snapshot(&bytes);
        }
        _ => round_trip::made_snapshot(&mut from),
    }
}

/// Fuzz target: what an operator or user types: an address (0), a peer id (1), a network id, a room name and the URL of an
/// ICE server (2), or choices that addresses and peer ids are made of (3).
pub(crate) fn text(input: &[u8]) {
    let mut from = Source::new(input);
    match from.below(4) {
        0 => address(&String::from_utf8_lossy(from.rest())),
        1 => {
            let text = String::from_utf8_lossy(from.rest());
            if let Ok(peer) = text.parse::<PeerId>() {
                assert_eq!(peer.to_string().parse(), Ok(peer), "a peer id reads back as it was");
            }
        }
        2 => names(&String::from_utf8_lossy(from.rest())),
        _ => round_trip::made_texts(&mut from),
    }
}

fn address(text: &str) {
    if let Ok(address) = text.parse::<Address>() {
        assert!(text.len() <= Address::BYTES_MAX && address.port != 0);
        let text = address.to_string();
        assert_eq!(text.parse().as_ref(), Ok(&address), "{text} reads back as it was");
        assert!(address.url().starts_with(if address.secure { "wss://" } else { "ws://" }));
        let _ = address.class();
    }
}

fn names(text: &str) {
    if let Ok(network) = NetworkId::new(text) {
        assert_eq!(network.as_str(), text);
    }
    if let Ok(name) = RoomKey::normal_name(text) {
        assert_eq!(RoomKey::normal_name(&name).as_ref(), Ok(&name), "a normal name is normal");
    }
    if let Ok(server) = IceServer::new(text, Some(("user", "secret"))) {
        assert!(!server.host().is_empty() && server.url() == text, "{text}");
    }
}

/// Fuzz target: a header and its signature (0: as they come, in a room message; else made of choices, with a byte changed).
pub(crate) fn signed_header(input: &[u8]) {
    let mut from = Source::new(input);
    let (crypto, network) = (IdealCrypto, NetworkId::default());
    if from.byte() == 0 {
        let Ok(message) = RoomMessage::decode(&Bytes::copy_from_slice(from.rest())) else { return };
        let Ok(header) = decode_body::<Header>(&message.header) else { return };
        assert_eq!(encode_body(&header), message.header, "one header, one encoding");
        let _ = message.verify(header.author, &crypto, &network);
        return;
    }
    let identity = Identity::from_seed(from.hash());
    let mut header = generate::header(&mut Anything, &mut from);
    header.author = identity.peer_id(&crypto);
    let (bytes, body) = (encode_body(&header), Bytes::from(from.bytes(256)));
    let mut message = RoomMessage { header: bytes.into(), signature: Bytes::new(), body };
    assert!(!message.verify(header.author, &crypto, &network), "nobody has signed");
    message.sign(identity.secret(), &crypto, &network);
    assert!(message.verify(header.author, &crypto, &network), "the author has signed");
    let read = RoomMessage::decode(&message.encode().into());
    assert_eq!(read.as_ref(), Ok(&message), "a message reads back as it was");
    assert_eq!(decode_body::<Header>(&message.header).as_ref(), Ok(&header));
    let stranger = Identity::from_seed([0xEE; 32]).peer_id(&crypto);
    assert!(stranger == header.author || !message.verify(stranger, &crypto, &network), "nobody else has");
    let mut changed = message.header.to_vec();
    let (at, change) = (from.number() as usize % changed.len(), from.byte().max(1));
    changed[at] ^= change;
    let id = message.id();
    message.header = changed.into();
    assert!(!message.verify(header.author, &crypto, &network), "byte {at} of a header can be changed");
    assert_ne!(message.id(), id, "another header, another message");
}

/// Fuzz target: a file with a secret key, or with a passphrase.
pub(crate) fn key_file(bytes: &[u8]) {
    if let Ok(identity) = Identity::from_key_file(bytes) {
        let again = Identity::from_key_file(identity.to_key_file().as_bytes());
        assert!(again.is_ok_and(|again| again.secret() == identity.secret()));
    }
    if let Ok(identity) = Identity::from_protobuf(bytes) {
        let again = Identity::from_protobuf(&identity.to_protobuf());
        assert!(again.is_ok_and(|again| again.secret() == identity.secret()));
    }
    assert!(bytes.starts_with(passphrase_from_file(bytes)), "a passphrase is a prefix of its file");
}

fn role(from: &mut Source<'_>) -> Role {
    from.pick(&[Role::Responder, Role::Initiator])
}

/// What is signed inside payloads.
fn opened(bytes: &[u8]) {
    let network = NetworkId::default();
    let peer = PeerId([1; 32]);
    if let Ok(connect) = decode_body::<Connect>(bytes) {
        let about = ConnectAbout { id: RequestId(1), origin: peer, target: peer, key: RoomId([2; 32]) };
        let _ = connect.open(about, &IdealCrypto, &network);
    }
    if let Ok(ConnectAnswer { reply: Some(reply), .. }) = decode_body(bytes) {
        let _ = reply.open([3; 32], peer, &IdealCrypto, &network);
    }
}

const TOLERANCE: Duration = Duration::from_secs(300);

fn claim(bytes: &Bytes) {
    let Ok(claim) = Claim::decode(bytes) else { return };
    assert!(bytes.len() <= Claim::BYTES_MAX && claim.bytes() == bytes);
    assert!(claim.homes().len() <= Claim::HOMES_MAX);
    let _ = (claim.verify(&IdealCrypto, &NetworkId::default()), claim.digest(), claim.room_id());
    for unix_ms in [0, claim.issued_ms(), claim.expiry_ms(), u64::MAX] {
        let _ = claim.is_current(unix_ms, TOLERANCE);
    }
}

fn home_claim(bytes: &Bytes) {
    let Ok(claim) = HomeClaim::decode(bytes) else { return };
    assert!(bytes.len() <= HomeClaim::BYTES_MAX && claim.bytes() == bytes);
    assert!(claim.addresses().len() <= Address::ADVERTISED_MAX);
    for address in claim.addresses() {
        assert_eq!(address.peer, Some(claim.peer()), "a home claim speaks of its own node");
    }
    let _ = (claim.verify(&IdealCrypto, &NetworkId::default()), claim.digest(), claim.room_id());
    for unix_ms in [0, claim.issued_ms(), claim.expiry_ms(), u64::MAX] {
        let _ = claim.is_current(unix_ms, TOLERANCE);
    }
}

fn tombstone(bytes: &Bytes) {
    let Ok(tombstone) = Tombstone::decode(bytes) else { return };
    assert!(bytes.len() <= Tombstone::BYTES_MAX && tombstone.bytes() == bytes);
    let _ = (tombstone.verify(&IdealCrypto, &NetworkId::default()), tombstone.digest());
    for unix_ms in [0, tombstone.expiry_ms(), u64::MAX] {
        let _ = tombstone.is_current(unix_ms, TOLERANCE);
    }
}

fn statement(bytes: &Bytes) {
    let Ok(statement) = MemberStatement::decode(bytes) else { return };
    assert!(bytes.len() <= MemberStatement::BYTES_MAX && statement.bytes() == bytes);
    assert!(statement.data().len() <= MemberStatement::DATA_BYTES_MAX);
    let _ = statement.verify(&IdealCrypto, &NetworkId::default());
}

fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot), "a snapshot reads back as it was");
    }
}
