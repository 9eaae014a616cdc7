//! Decoders and sessions, fed arbitrary bytes.

use core::time::Duration;

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role, sha256};
use unamed_protocol::wire::message::{Connect, ConnectAnswer, Header};
use unamed_protocol::wire::{Claim, HomeClaim, Message, Tombstone, decode_body};
use unamed_protocol::{Address, Identity, NetworkId, PeerId, RoomKey, Snapshot, passphrase_from_file};

use crate::source::Source;
use crate::{payload, round_trip, session};

/// What the first byte of an input of [`wire`] selects; further numbers start anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Decoder {
    /// A whole message.
    Message = 0,
    /// A payload; its number follows.
    Payload = 1,
    /// A claim.
    Claim = 2,
    /// A home claim.
    HomeClaim = 3,
    /// A tombstone.
    Tombstone = 4,
    /// A snapshot.
    Snapshot = 5,
    /// A snapshot's body; header and checksum are added.
    SnapshotBody = 6,
    /// The text of an address.
    Address = 7,
    /// The text of a peer id.
    PeerId = 8,
    /// A key file, the protobuf key in it, a network id, a room name, a passphrase file.
    Files = 9,
    /// Frames for a session that has not authenticated its peer; the role and kind of the node follow.
    Before = 10,
    /// The payload of a handshake message; the role follows.
    Handshake = 11,
    /// Events for an established session; role and kind follow.
    After = 12,
}

impl Decoder {
    /// All of them, by number.
    pub const ALL: [Self; 13] = [
        Self::Message,
        Self::Payload,
        Self::Claim,
        Self::HomeClaim,
        Self::Tombstone,
        Self::Snapshot,
        Self::SnapshotBody,
        Self::Address,
        Self::PeerId,
        Self::Files,
        Self::Before,
        Self::Handshake,
        Self::After,
    ];

    /// The number of a payload type, by its name in `protocol/vectors/wire.txt`.
    #[must_use]
    pub fn payload_number(name: &str) -> Option<u8> {
        payload::NAMES.iter().position(|known| *known == name).map(|number| number as u8)
    }
}

/// Fuzz target: everything that reads what strangers wrote.
///
/// # Panics
/// If a decoder panics, or a session leaves its bounds.
pub fn wire(input: &[u8]) {
    let mut from = Source::new(input);
    match from.pick(&Decoder::ALL) {
        Decoder::Message => message(from.rest()),
        Decoder::Payload => {
            let number = from.below(payload::PAYLOADS);
            let bytes = from.rest();
            payload::check(number, bytes);
            opened(bytes);
        }
        Decoder::Claim => claim(&Bytes::copy_from_slice(from.rest())),
        Decoder::HomeClaim => home_claim(&Bytes::copy_from_slice(from.rest())),
        Decoder::Tombstone => tombstone(&Bytes::copy_from_slice(from.rest())),
        Decoder::Snapshot => snapshot(from.rest()),
        Decoder::SnapshotBody => {
            let mut bytes = [b"unamed-snapshot".as_slice(), &[1], from.rest()].concat();
            let checksum = sha256(&[&bytes]);
            bytes.extend_from_slice(&checksum[..8]);
            snapshot(&bytes);
        }
        Decoder::Address => {
            let text = String::from_utf8_lossy(from.rest());
            if let Ok(address) = text.parse::<Address>() {
                assert!(text.len() <= Address::BYTES_MAX && address.port != 0);
                let text = address.to_string();
                assert_eq!(text.parse().as_ref(), Ok(&address), "{text} reads back as it was");
                assert!(address.url().starts_with(if address.secure { "wss://" } else { "ws://" }));
                let _ = address.class();
            }
        }
        Decoder::PeerId => {
            let text = String::from_utf8_lossy(from.rest());
            if let Ok(peer) = text.parse::<PeerId>() {
                assert_eq!(peer.to_string().parse(), Ok(peer), "a peer id reads back as it was");
            }
        }
        Decoder::Files => files(from.rest()),
        Decoder::Before => session::before(role(&mut from), &mut from),
        Decoder::Handshake => session::payload(role(&mut from), from),
        Decoder::After => session::after(role(&mut from), &mut from),
    }
}

fn role(from: &mut Source<'_>) -> Role {
    from.pick(&[Role::Responder, Role::Initiator])
}

fn message(bytes: &[u8]) {
    round_trip::accepted_message(bytes);
    if let Ok(Message::RoomMessage(message)) = Message::decode(&Bytes::copy_from_slice(bytes)) {
        let _ = decode_body::<Header>(&message.header);
        let _ = message.verify(PeerId([1; 32]), &IdealCrypto, &NetworkId::default());
    }
}

/// What is signed inside payloads.
fn opened(bytes: &[u8]) {
    let network = NetworkId::default();
    if let Ok(connect) = decode_body::<Connect>(bytes) {
        let _ = connect.open(&IdealCrypto, &network);
    }
    if let Ok(answer) = decode_body::<ConnectAnswer>(bytes) {
        let _ = answer.open(&IdealCrypto, &network);
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

fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(bytes) {
        assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot), "a snapshot reads back as it was");
    }
}

fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(identity) = Identity::from_key_file(bytes) {
        let again = Identity::from_key_file(identity.to_key_file().as_bytes());
        assert!(again.is_ok_and(|again| again.secret() == identity.secret()));
    }
    if let Ok(identity) = Identity::from_protobuf(bytes) {
        let again = Identity::from_protobuf(&identity.to_protobuf());
        assert!(again.is_ok_and(|again| again.secret() == identity.secret()));
    }
    if let Ok(network) = NetworkId::new(&text) {
        assert_eq!(network.as_str(), text);
    }
    if let Ok(name) = RoomKey::normal_name(&text) {
        assert_eq!(RoomKey::normal_name(&name).as_ref(), Ok(&name), "a normal name is normal");
    }
    assert!(bytes.starts_with(passphrase_from_file(bytes)), "a passphrase is a prefix of its file");
}
