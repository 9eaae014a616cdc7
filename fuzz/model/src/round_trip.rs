//! There and back: what is made reads back as it was, and what is accepted encodes to itself.

use core::fmt::Debug;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use unamed_protocol::crypto::{Crypto, IdealCrypto};
use unamed_protocol::wire::message::{Connect, ConnectAbout, ConnectAnswer, Purpose};
use unamed_protocol::wire::{
    Claim, ClaimTerms, HomeClaim, HomeClaimTerms, MemberStatement, Message, Routed, Sequence, Tombstone,
    decode_body, encode_body,
};
use unamed_protocol::{Address, Host, Identity, NetworkId, PeerId, RoomKey, SavedAddress, Snapshot};

use crate::generate::{self, Anything, Words as _};
use crate::payload;
use crate::source::Source;

/// Messages made of choices, one after the other.
pub(crate) fn made_messages(from: &mut Source<'_>) {
    while !from.is_over() {
        made_message(&generate::message(&mut Anything, from));
    }
}

/// Payloads made of choices, one after the other.
pub(crate) fn made_payloads(from: &mut Source<'_>) {
    while !from.is_over() {
        made_payload(from);
    }
}

/// Whatever is accepted must encode to the same bytes.
pub(crate) fn accepted_message(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    let Ok(message) = Message::decode(&shared) else { return };
    assert_eq!(message.encode(), bytes, "accepted bytes encode to themselves");
    assert_eq!(message.kind(), bytes[0], "the first byte is the kind");
    assert!(Message::KINDS.contains(&message.kind()), "the kind is in use");
    onward(&message);
}

/// What a relay makes of a message must be a message, too.
fn onward(message: &Message) {
    let me = PeerId([0xEE; 32]);
    if let Message::Routed(packet) = message
        && let Ok(bytes) = packet.forward(me)
    {
        let Ok(Message::Routed(next)) = Message::decode(&bytes.into()) else {
            panic!("a forwarded packet does not decode");
        };
        assert_eq!(next.route.iter().next_back(), Some(me), "the forwarder is the last of the route");
        assert_eq!((next.route.len(), &next.payload), (packet.route.len() + 1, &packet.payload));
    }
    if let Message::Reply(reply) = message
        && let Some(bytes) = reply.backward(0, 7)
    {
        let Ok(Message::Reply(next)) = Message::decode(&bytes.into()) else {
            panic!("a reply that is passed back does not decode");
        };
        assert_eq!((next.at, &next.route, &next.payload), (0, &reply.route, &reply.payload));
    }
    if let Message::RoomMessage(room) = message {
        let (head, body) = room.encode_parts();
        assert_eq!([head.as_slice(), &body].concat(), room.encode(), "the parts are the whole");
    }
}

fn made_message(message: &Message) {
    let bytes = Bytes::from(message.encode());
    assert_eq!(Message::decode(&bytes).as_ref(), Ok(message), "a message reads back as it was");
    onward(message);
}

fn made_payload(from: &mut Source<'_>) {
    match from.below(5) {
        0 => reads_back(&generate::header(&mut Anything, from)),
        1 => {
            let about = generate::connect_about(&mut Anything, from);
            reads_back(&generate::connect_request(&mut Anything, about, from));
        }
        2 => reads_back(&generate::connect_reply(&mut Anything, from)),
        3 => reads_back(&generate::handshake_payload(&mut Anything, from)),
        _ => {
            let purpose = Purpose::try_from(from.below(6) as u8 + 1).expect("a purpose");
            let packet = Routed { purpose, ..generate::routed(&mut Anything, from) };
            let made = [
                generate::asked(&mut Anything, &packet, from),
                generate::answered(&mut Anything, purpose, from),
            ];
            for bytes in made {
                (0..payload::PAYLOADS).for_each(|number| payload::check(number, &bytes));
            }
        }
    }
}

fn reads_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let decoded = decode_body::<T>(&encode_body(value));
    assert_eq!(decoded.as_ref(), Ok(value), "a payload reads back as it was");
}

/// Signed objects verify as they were made, and do not once a byte is changed.
pub(crate) fn signed(from: &mut Source<'_>) {
    let crypto = IdealCrypto;
    let network = NetworkId::default();
    let identity = Identity::from_seed(from.hash());
    let room = RoomKey::from_seed(from.hash());
    let issued_ms = from.number();
    let sequence = Sequence { boot: from.number(), counter: from.number() };
    let terms = ClaimTerms {
        homes: from.list(6, |from| Anything.peer(from)),
        replica: from.byte(),
        issued_ms,
        expiry_ms: from.number(),
        sequence,
        sealing_key: from.hash(),
    };
    let claim = Claim::make(&terms, &room, &identity, &crypto, &network);
    assert_eq!(Claim::decode(claim.bytes()).as_ref(), Ok(&claim), "a claim reads back as it was");
    assert!(claim.verify(&crypto, &network), "a claim verifies");
    assert_eq!(claim.peer(), identity.peer_id(&crypto));
    assert_eq!(claim.room_id(), room.id(&crypto));
    let tolerance = Duration::from_millis(from.number());
    let tombstone = Tombstone::make(&claim, tolerance, &room, &identity, &crypto, &network);
    assert_eq!(Tombstone::decode(tombstone.bytes()).as_ref(), Ok(&tombstone));
    assert!(tombstone.verify(&crypto, &network) && tombstone.withdraws(&claim), "a tombstone verifies");
    let terms = HomeClaimTerms {
        addresses: from.list(10, address).into_iter().flatten().collect(),
        issued_ms,
        expiry_ms: from.number(),
        sequence,
    };
    let home = HomeClaim::make(&terms, &identity, &crypto, &network);
    assert_eq!(HomeClaim::decode(home.bytes()).as_ref(), Ok(&home), "a home claim reads back as it was");
    assert!(home.verify(&crypto, &network), "a home claim verifies");
    assert!(!claim.newer_than(&claim) && !home.newer_than(&home), "nothing is newer than itself");

    let data = Bytes::from(from.bytes(MemberStatement::DATA_BYTES_MAX));
    let said = MemberStatement::make(room.id(&crypto), sequence, data, &identity, &crypto, &network);
    let said = said.expect("no more than it may have");
    assert_eq!(MemberStatement::decode(said.bytes()).as_ref(), Ok(&said), "a statement reads back as it was");
    assert!(said.verify(&crypto, &network), "a statement verifies");

    let (at, change) = (from.number() as usize, from.byte().max(1));
    let verifies: [fn(&Bytes) -> bool; 4] = [
        |bytes| Claim::decode(bytes).is_ok_and(|it| it.verify(&IdealCrypto, &NetworkId::default())),
        |bytes| Tombstone::decode(bytes).is_ok_and(|it| it.verify(&IdealCrypto, &NetworkId::default())),
        |bytes| HomeClaim::decode(bytes).is_ok_and(|it| it.verify(&IdealCrypto, &NetworkId::default())),
        |bytes| MemberStatement::decode(bytes).is_ok_and(|it| it.verify(&IdealCrypto, &NetworkId::default())),
    ];
    let objects = [claim.bytes(), tombstone.bytes(), home.bytes(), said.bytes()];
    for (bytes, verifies) in objects.into_iter().zip(verifies) {
        let mut changed = bytes.to_vec();
        let at = at % changed.len();
        changed[at] ^= change;
        assert!(!verifies(&changed.into()), "byte {at} of a signed object can be changed");
    }
    connects(&identity, &crypto, &network, from);
}

fn connects(identity: &Identity, crypto: &dyn Crypto, network: &NetworkId, from: &mut Source<'_>) {
    let origin = identity.peer_id(crypto);
    let about = ConnectAbout { origin, ..generate::connect_about(&mut Anything, from) };
    let request = generate::connect_request(&mut Anything, about, from);
    let connect = Connect::make(&request, identity.secret(), crypto, network);
    assert_eq!(connect.open(about, crypto, network), Ok(request), "a connect request opens");
    let reply = generate::connect_reply(&mut Anything, from);
    let answer = ConnectAnswer::make(&reply, identity.secret(), crypto, network);
    let opened = answer.reply.map(|signed| signed.open(reply.request_hash, origin, crypto, network));
    assert_eq!(opened, Some(Ok(reply)), "a connect answer opens");
}

/// An address. Made names may break the rules; only what is accepted as text counts.
fn address(from: &mut Source<'_>) -> Option<Address> {
    let name = |from: &mut Source<'_>| {
        let letters = from.list(80, |from| char::from(from.pick(b"abcxyz019-.")));
        String::from_iter(letters)
    };
    let host = match from.below(5) {
        0 => Host::Ip4(Ipv4Addr::from(from.small())),
        1 => Host::Ip6(Ipv6Addr::from(u128::from(from.number()) << (from.byte() % 65))),
        2 => Host::Dns(name(from)),
        3 => Host::Dns4(name(from)),
        _ => Host::Dns6(name(from)),
    };
    let port = (from.number() as u16).max(1);
    let peer = from.flag().then(|| PeerId(from.hash()));
    let made = Address { host, port, secure: from.flag(), peer };
    let read = made.to_string().parse::<Address>().ok()?;
    assert_eq!(read.to_string().parse().as_ref(), Ok(&read), "an address has one text");
    Some(read)
}

/// Snapshots have one byte form.
pub(crate) fn made_snapshot(from: &mut Source<'_>) {
    let addresses = from.list(8, address).into_iter().flatten();
    let addresses: Vec<SavedAddress> =
        addresses.map(|address| SavedAddress { address, tried: from.flag(), lost: from.flag() }).collect();
    let snapshot = Snapshot { boot: from.number(), addresses };
    assert_eq!(Snapshot::decode(&snapshot.encode()), Ok(snapshot), "a snapshot reads back as it was");
}

/// Addresses that are accepted, peer ids and identities have one text.
pub(crate) fn made_texts(from: &mut Source<'_>) {
    from.list(8, address);
    let peer = PeerId(from.hash());
    assert_eq!(peer.to_string().parse(), Ok(peer), "a peer id reads back as it was");
    let identity = Identity::from_seed(from.hash());
    let file = Identity::from_key_file(identity.to_key_file().as_bytes());
    assert!(file.is_ok_and(|read| read.secret() == identity.secret()), "a key file reads back as it was");
}
