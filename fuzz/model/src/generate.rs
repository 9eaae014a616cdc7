//! Messages and payloads of any kind, from an input's choices.

use bytes::Bytes;
use unamed_protocol::crypto::IdealCrypto;
use unamed_protocol::signal::{
    Candidate, CandidateHost, CandidateKind, Description, Fingerprint, IceServer, IceText, Setup, Signal,
};
use unamed_protocol::wire::message::{
    Announce, CircuitCredit, CircuitOpen, CircuitOpened, CircuitReset, ClaimCopy, Connect, ConnectAbout,
    ConnectAnswer, ConnectReply, ConnectRequest, Extension, FindAnswer, Goodbye, HandshakePayload, Header,
    Hello, HopAck, IceServers, MemberData, Nearest, NearestAnswer, Notify, Ping, Publish, PublishAnswer,
    Pull, Purpose, PushSet, Query, QueryAnswer, Reasons, Replicate, RoomClaims, RoomLeave, RoomProof,
    RoomRefused, SignalStep, SignedConnectReply, StoreDigest, StreamMark, StreamMarks, StreamNext, Withdraw,
};
use unamed_protocol::wire::{
    Bounded, CircuitData, Claim, EXCLUDE_MAX, Message, PeerIds, REPLY_ROUTE_MAX, ROUTE_MAX, Reply,
    RoomMessage, Routed, RttsMs, encode_body,
};
use unamed_protocol::{Instance, MessageId, NetworkId, PeerId, RequestId, RoomId};

use crate::source::Source;

/// Where a generator takes what a message speaks of: anything, or what a given node knows.
pub(crate) trait Words {
    fn peer(&mut self, from: &mut Source<'_>) -> PeerId {
        PeerId(from.hash())
    }

    fn room(&mut self, from: &mut Source<'_>) -> RoomId {
        RoomId(from.hash())
    }

    fn request(&mut self, from: &mut Source<'_>) -> RequestId {
        RequestId(from.number())
    }

    fn message_id(&mut self, from: &mut Source<'_>) -> MessageId {
        MessageId(from.hash())
    }

    fn instance(&mut self, from: &mut Source<'_>) -> Instance {
        Instance { boot: from.number(), session: from.number() }
    }

    fn circuit(&mut self, from: &mut Source<'_>) -> u32 {
        from.small()
    }

    fn claim(&mut self, from: &mut Source<'_>) -> Bytes {
        blob(from)
    }

    fn home_claim(&mut self, from: &mut Source<'_>) -> Bytes {
        blob(from)
    }

    fn tombstone(&mut self, from: &mut Source<'_>) -> Bytes {
        blob(from)
    }

    /// What a member says of itself.
    fn statement(&mut self, from: &mut Source<'_>) -> Bytes {
        blob(from)
    }

    /// The digest of a claim.
    fn digest(&mut self, from: &mut Source<'_>) -> u64 {
        from.number()
    }

    /// The mark of a claim.
    fn claim_mark(&mut self, from: &mut Source<'_>) -> u64 {
        from.number()
    }

    /// The payload of a routed request, which is `packet` otherwise.
    fn asked(&mut self, packet: &Routed, from: &mut Source<'_>) -> Bytes {
        asked(self, packet, from)
    }

    fn proof(&mut self, from: &mut Source<'_>) -> RoomProof {
        RoomProof {
            room_key: from.hash(),
            signature: from.signature(),
            answer: from.flag(),
            claim: self.claim(from),
            streams: Bounded::truncated(from.list(4, stream_next)),
            marks: Bounded::truncated(from.list(4, |from| self.mark(from))),
        }
    }

    fn mark(&mut self, from: &mut Source<'_>) -> StreamMark {
        StreamMark {
            author: self.peer(from),
            instance: self.instance(from),
            stream: from.number(),
            next: from.number(),
        }
    }

    fn room_message(&mut self, from: &mut Source<'_>) -> RoomMessage {
        let header = header(self, from);
        let signature = if from.flag() { Bytes::copy_from_slice(&from.signature()) } else { Bytes::new() };
        RoomMessage { header: encode_body(&header).into(), signature, body: blob(from) }
    }
}

/// Anything.
#[derive(Debug)]
pub(crate) struct Anything;

impl Words for Anything {}

/// Some bytes.
pub(crate) fn blob(from: &mut Source<'_>) -> Bytes {
    from.bytes(4096).into()
}

fn stream_next(from: &mut Source<'_>) -> StreamNext {
    StreamNext { stream: from.number(), next: from.number() }
}

fn maybe<T>(from: &mut Source<'_>, value: impl FnOnce(&mut Source<'_>) -> T) -> Option<T> {
    from.flag().then(|| value(from))
}

fn many<T, const N: usize>(from: &mut Source<'_>, item: impl FnMut(&mut Source<'_>) -> T) -> Bounded<T, N> {
    Bounded::truncated(from.list(N, item))
}

/// A few items, each once, in the order of their first mention.
fn distinct<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut out = Vec::new();
    for item in items {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}

fn purpose(from: &mut Source<'_>) -> Purpose {
    from.pick(&[
        Purpose::Find,
        Purpose::Publish,
        Purpose::Nearest,
        Purpose::Connect,
        Purpose::Notify,
        Purpose::Withdraw,
    ])
}

/// A message of any kind.
pub(crate) fn message<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    match from.below(8) {
        0..=1 => link(words, from),
        2..=4 => overlay(words, from),
        5 => circuit(words, from),
        _ => room(words, from),
    }
}

fn link<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    match from.below(5) {
        0 => Message::Ping(Ping { token: from.number() }),
        1 => Message::Pong(Ping { token: from.number() }),
        2 => Message::Reasons(Reasons { mask: from.byte() }),
        3 => Message::Goodbye(Goodbye {
            reason: from.byte(),
            referrals: many(from, |from| words.home_claim(from)),
        }),
        _ => Message::Hello(Hello {
            location: words.room(from),
            ready: from.flag(),
            home: maybe(from, |from| words.home_claim(from)),
            wants: from.byte(),
            neighbours: many(from, |from| words.home_claim(from)),
        }),
    }
}

fn overlay<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    match from.below(8) {
        0..=2 => Message::Routed(routed(words, from)),
        3..=4 => Message::Reply(reply(words, from)),
        5 => {
            Message::HopAck(HopAck { request: words.request(from), attempt: from.byte(), seen: from.flag() })
        }
        6 => Message::Replicate(Replicate {
            claims: many(from, |from| ClaimCopy { claim: words.claim(from), left_s: from.number() as u16 }),
            tombstones: many(from, |from| words.tombstone(from)),
        }),
        _ => Message::StoreDigest(StoreDigest {
            room: words.room(from),
            replica: from.byte(),
            items: many(from, |from| words.digest(from)),
            answer: from.flag(),
        }),
    }
}

pub(crate) fn routed<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Routed {
    let purpose = purpose(from);
    let exclude = distinct(from.list(EXCLUDE_MAX, |from| words.peer(from)));
    let route = distinct(from.list(ROUTE_MAX, |from| words.peer(from)));
    let packet = Routed {
        purpose,
        to_root: from.flag(),
        attempt: from.byte(),
        request: words.request(from),
        key: words.room(from),
        target: maybe(from, |from| words.peer(from)),
        exclude: PeerIds::new(&exclude).unwrap_or_default(),
        route: PeerIds::new(&route).unwrap_or_default(),
        payload: Bytes::new(),
    };
    let payload = words.asked(&packet, from);
    Routed { payload, ..packet }
}

fn reply<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Reply {
    let purpose = purpose(from);
    let first = words.peer(from);
    let mut route = vec![first];
    route.extend(from.list(REPLY_ROUTE_MAX - 1, |from| words.peer(from)));
    let route = distinct(route);
    let nodes = route.len();
    Reply {
        purpose,
        attempt: from.byte(),
        request: words.request(from),
        at: from.below(nodes) as u8,
        route: PeerIds::new(&route).unwrap_or_default(),
        services: from.small() & ((1 << nodes) - 1),
        rtts_ms: RttsMs::new(&from.list(REPLY_ROUTE_MAX, |from| from.number() as u16)).unwrap_or_default(),
        payload: answered(words, purpose, from),
    }
}

fn circuit<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    match from.below(5) {
        0 => Message::CircuitOpen(CircuitOpen {
            circuit: words.circuit(from),
            origin: words.peer(from),
            route: Bounded::truncated(distinct(from.list(16, |from| words.peer(from)))),
            room: words.room(from),
            window: from.small(),
        }),
        1 => Message::CircuitOpened(CircuitOpened { circuit: words.circuit(from), window: from.small() }),
        2 => Message::CircuitCredit(CircuitCredit { circuit: words.circuit(from), bytes: from.small() }),
        3 => Message::CircuitReset(CircuitReset { circuit: words.circuit(from), reason: from.byte() }),
        _ => Message::CircuitData(CircuitData { circuit: words.circuit(from), frame: blob(from) }),
    }
}

fn room<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    match from.below(13) {
        0..=1 => Message::RoomProof(words.proof(from)),
        2 => Message::RoomRefused(RoomRefused { room: words.room(from), full: from.flag() }),
        3 => Message::RoomClaims(RoomClaims {
            room: words.room(from),
            joined_s: 600,
            claims: many(from, |from| words.claim(from)),
        }),
        4 => Message::RoomLeave(RoomLeave { room: words.room(from) }),
        5 => Message::Announce(Announce { room: words.room(from), messages: message_ids(words, from) }),
        6 => Message::Pull(Pull { room: words.room(from), messages: message_ids(words, from) }),
        7 => Message::PushSet(PushSet { room: words.room(from), peers: ascending(words, from) }),
        8 => Message::StreamMarks(StreamMarks {
            room: words.room(from),
            marks: many(from, |from| words.mark(from)),
        }),
        9 if from.flag() => iterative(words, from),
        9 => direct(from),
        12 => Message::MemberData(MemberData { statement: words.statement(from) }),
        _ => Message::RoomMessage(words.room_message(from)),
    }
}

/// Questions and answers of iterative look-ups.
fn iterative<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Message {
    let (request, room) = (words.request(from), words.room(from));
    if from.flag() {
        let claim = maybe(from, |from| words.claim(from));
        return Message::Query(Query { request, room, replica: from.below(4) as u8, claim });
    }
    Message::QueryAnswer(QueryAnswer {
        request,
        homes: many(from, |from| words.home_claim(from)),
        claims: many(from, |from| words.claim(from)),
        newer: None,
    })
}

/// What opens a direct link, all of it legal.
fn direct(from: &mut Source<'_>) -> Message {
    if from.flag() {
        let server =
            |from: &mut Source<'_>| IceServer::new(&format!("stun:s{}.example", from.byte()), None).ok();
        let servers = from.list(IceServer::MAX, server).into_iter().flatten();
        return Message::IceServers(IceServers { servers: Bounded::truncated(servers) });
    }
    let session = u64::from(from.byte());
    let signal = match from.below(4) {
        0 => Signal::Offer(description(from)),
        1 => Signal::Answer(description(from)),
        2 => candidate(from).map_or(Signal::EndOfCandidates, Signal::Candidate),
        _ => Signal::EndOfCandidates,
    };
    Message::Signal(SignalStep { session, signal })
}

/// One end's description. Its fields are few, so that two ends may say the same.
pub(crate) fn description(from: &mut Source<'_>) -> Description {
    let mark = from.below(16);
    let setup = [Setup::ActPass, Setup::Active, Setup::Passive];
    Description {
        ufrag: IceText::new(&format!("u{mark:03}")).unwrap(),
        pwd: IceText::new(&format!("p{mark:023}")).unwrap(),
        fingerprint: Fingerprint([mark as u8; 32]),
        setup: setup[from.below(3)],
        candidates: Bounded::truncated(from.list(4, candidate).into_iter().flatten()),
    }
}

pub(crate) fn candidate(from: &mut Source<'_>) -> Option<Candidate> {
    let host = match from.below(3) {
        0 => CandidateHost::V4([127, 0, 0, from.byte()]),
        1 => CandidateHost::V4([192, 0, 2, from.byte()]),
        _ => CandidateHost::Mdns([from.byte(); 16]),
    };
    Candidate::new(CandidateKind::Host, host, 1 + u16::from(from.byte()), 1 + u32::from(from.byte())).ok()
}

fn message_ids<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Bounded<MessageId, 64> {
    Bounded::truncated(distinct(from.list(8, |from| words.message_id(from))))
}

fn ascending<W: Words + ?Sized, const N: usize>(words: &mut W, from: &mut Source<'_>) -> Bounded<PeerId, N> {
    Bounded::ascending(from.list(N, |from| words.peer(from))).unwrap_or_default()
}

/// A room message's header.
pub(crate) fn header<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> Header {
    Header {
        room: words.room(from),
        author: words.peer(from),
        instance: words.instance(from),
        stream: from.number(),
        sequence: from.number(),
        recipients: ascending(words, from),
        push_set: from.number(),
        body_hash: from.hash(),
        sealed: from.flag(),
    }
}

/// The payload of a request.
pub(crate) fn asked<W: Words + ?Sized>(words: &mut W, packet: &Routed, from: &mut Source<'_>) -> Bytes {
    match packet.purpose {
        Purpose::Find => Bytes::new(),
        Purpose::Nearest => {
            encode_body(&Nearest { most: from.byte(), known: many(from, |from| from.small()) }).into()
        }
        Purpose::Publish => encode_body(&Publish {
            claim: words.claim(from),
            known: many(from, |from| words.claim_mark(from)),
        })
        .into(),
        Purpose::Connect => {
            let about = ConnectAbout::of(packet).unwrap_or_else(|| connect_about(words, from));
            let request = connect_request(words, about, from);
            let connect = Connect::make(&request, &[0; 32], &IdealCrypto, &NetworkId::default());
            encode_body(&Connect { signature: from.signature(), ..connect }).into()
        }
        Purpose::Notify => {
            encode_body(&Notify { target: words.peer(from), claims: many(from, |from| words.claim(from)) })
                .into()
        }
        Purpose::Withdraw => encode_body(&Withdraw { tombstone: words.tombstone(from) }).into(),
    }
}

/// The payload of an answer.
pub(crate) fn answered<W: Words + ?Sized>(words: &mut W, purpose: Purpose, from: &mut Source<'_>) -> Bytes {
    match purpose {
        Purpose::Find => encode_body(&FindAnswer { claims: many(from, |from| words.claim(from)) }).into(),
        Purpose::Publish | Purpose::Withdraw => encode_body(&PublishAnswer {
            claims: many(from, |from| words.claim(from)),
            newer: maybe(from, |from| words.claim(from)),
            slow_down: from.number() as u16,
        })
        .into(),
        Purpose::Nearest => {
            let homes = many(from, |from| words.home_claim(from));
            encode_body(&NearestAnswer { homes, known: many(from, |from| from.small()) }).into()
        }
        Purpose::Connect => {
            let reply = connect_reply(words, from);
            let answer = ConnectAnswer::make(&reply, &[0; 32], &IdealCrypto, &NetworkId::default());
            let reply = maybe(from, |from| from.signature())
                .zip(answer.reply)
                .map(|(signature, reply)| SignedConnectReply { signature, ..reply });
            let home = maybe(from, |from| words.home_claim(from));
            encode_body(&ConnectAnswer { reply, home }).into()
        }
        Purpose::Notify => blob(from),
    }
}

/// What the origin of a connect request signs.
pub(crate) fn connect_request<W: Words + ?Sized>(
    words: &mut W,
    about: ConnectAbout,
    from: &mut Source<'_>,
) -> ConnectRequest {
    let mut room = words.room(from);
    let expiry_ms = from.number();
    let mut claim = words.claim(from);
    // On the wire the claim, if there is one, says which room is meant.
    match Claim::decode(&claim) {
        Ok(claim) => room = claim.room_id(),
        Err(_) => claim = Bytes::new(),
    }
    ConnectRequest {
        about,
        room,
        expiry_ms,
        claim,
        home_claim: maybe(from, |from| words.home_claim(from)),
        home_known: maybe(from, |from| from.small()),
    }
}

/// The packet of a connect request.
pub(crate) fn connect_about<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> ConnectAbout {
    ConnectAbout {
        id: words.request(from),
        origin: words.peer(from),
        target: words.peer(from),
        key: words.room(from),
    }
}

/// What the target of a connect request signs.
pub(crate) fn connect_reply<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> ConnectReply {
    ConnectReply {
        request_hash: from.hash(),
        accept: from.flag(),
        dials: from.flag(),
        home_claim: maybe(from, |from| words.home_claim(from)),
        home_wanted: from.flag(),
    }
}

/// The payload of a handshake message.
pub(crate) fn handshake_payload<W: Words + ?Sized>(words: &mut W, from: &mut Source<'_>) -> HandshakePayload {
    let mut tag = 0_u32;
    let mut extensions = Vec::new();
    for (step, value) in from.list(16, |from| (from.byte(), blob(from))) {
        extensions.push(Extension { tag, value });
        tag = tag.saturating_add(u32::from(step) + 1);
    }
    HandshakePayload {
        identity: words.peer(from),
        signature: from.signature(),
        instance: words.instance(from),
        service: from.flag(),
        extensions: Bounded::truncated(extensions),
    }
}
