//! A peer that asks for too much, or breaks the rules, at a real service node: over real sockets, with real cryptography.
//!
//! Rates here come back in an hour, so that what passes is a matter of counting, however slow the machine is.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use unamed_protocol::crypto::{Crypto as _, RealCrypto, Role};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::message::{
    CircuitOpen, CircuitOpened, Nearest, Publish, Purpose, Reasons, Withdraw,
};
use unamed_protocol::wire::{
    Bounded, CircuitData, Claim, ClaimTerms, Message, PeerIds, Routed, Sequence, Tombstone, encode_body,
};
use unamed_protocol::{
    Config, Identity, Instance, Instant, LimitConfig, NetworkId, PeerId, Rate, RequestId, RoomId, RoomKey,
};
use unamed_tokio::Network;

const DEADLINE: Duration = Duration::from_secs(30);

/// So many at once, and next to nothing after that.
const fn only(burst: u32) -> Rate {
    Rate { events: 1, period: Duration::from_secs(3600), burst }
}

async fn service(change: impl FnOnce(&mut LimitConfig) + Send + 'static) -> Network {
    let listening = Network::builder().listen("127.0.0.1:0".parse().unwrap());
    listening.configure(|config| change(&mut config.limits)).start().await.unwrap()
}

async fn counted<const N: usize>(network: &Network, names: [&str; N]) -> [u64; N] {
    let metrics = network.metrics().await;
    names.map(|name| metrics.iter().find(|(one, _)| *one == name).expect(name).1)
}

async fn is_linked(network: &Network, peer: PeerId) -> bool {
    network.links().await.iter().any(|link| link.peer == peer)
}

/// One end of a link that says what it likes.
struct Peer {
    id: PeerId,
    identity: Identity,
    socket: WebSocketStream<TcpStream>,
    session: Session,
    born: std::time::Instant,
    heard: Vec<Message>,
    closed: bool,
    /// The number of the last request. They begin anywhere: nodes remember those of others.
    request: u64,
}

impl Peer {
    /// Dials as a client; the handshake is over at this end on return.
    async fn dial(network: &Network, seed: u8) -> Self {
        let address = network.addresses()[0].clone();
        let stream = TcpStream::connect(("127.0.0.1", address.port)).await.unwrap();
        let (socket, _) = client_async(address.url(), stream).await.unwrap();
        let identity = Identity::from_seed([seed; 32]);
        let id = identity.peer_id(&RealCrypto);
        let Config { mut link, network, .. } = Config::client(NetworkId::default());
        link.queue_bytes_max = usize::MAX;
        let mut ephemeral = [0; 32];
        getrandom::fill(&mut ephemeral).unwrap();
        let config = SessionConfig {
            role: Role::Initiator,
            max_frame: link.frame_bytes_max,
            frame_charge: 0,
            link: Arc::new(link),
            relay_bytes_max: usize::MAX,
            network,
            identity: identity.clone(),
            peer: id,
            instance: Instance { boot: 1, session: 1 },
            service: false,
            static_secret: [0x80 | seed; 32],
            ephemeral,
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::default(),
        };
        let request = u64::from(u32::from_le_bytes(*ephemeral.first_chunk().unwrap())) << 16;
        let born = std::time::Instant::now();
        let mut session = Session::new(config, Arc::new(RealCrypto), Instant::ZERO);
        session.grant(usize::MAX);
        let mut peer =
            Self { id, identity, socket, session, born, heard: Vec::new(), closed: false, request };
        peer.until("the handshake", |peer| peer.session.is_established()).await;
        peer
    }

    /// As [`dial`](Self::dial), and the node has taken the link.
    async fn link(network: &Network, seed: u8) -> Self {
        let mut peer = Self::dial(network, seed).await;
        peer.until("its hello", |peer| peer.count(|message| matches!(message, Message::Hello(_))) == 1).await;
        peer
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.born.elapsed().as_micros()).unwrap())
    }

    /// Sends what is queued, and listens until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let listen = async {
            loop {
                let now = self.now();
                while let Some(frame) = self.session.poll_frame(now) {
                    // On a closed socket: reading shows that it is.
                    let _ = self.socket.send(tungstenite::Message::Binary(frame)).await;
                }
                if holds(self) {
                    return;
                }
                assert!(!self.closed, "the link is closed");
                let Some(Ok(tungstenite::Message::Binary(frame))) = self.socket.next().await else {
                    self.closed = true;
                    continue;
                };
                let now = self.now();
                for event in self.session.handle_frame(&frame, now) {
                    if let SessionEvent::Message(bytes) = event {
                        self.heard.push(Message::decode(&bytes).unwrap());
                    } else if let SessionEvent::Closed(_) = event {
                        self.closed = true;
                    }
                }
            }
        };
        timeout(DEADLINE, listen).await.unwrap_or_else(|_| panic!("{what} does not come"));
    }

    fn queue(&mut self, bytes: Vec<u8>) {
        let message = Outgoing { head: bytes, body: Bytes::new(), token: None };
        self.session.queue(Class::Control, message, self.now()).unwrap();
    }

    fn count(&self, wanted: impl Fn(&Message) -> bool) -> usize {
        self.heard.iter().filter(|message| wanted(message)).count()
    }

    fn acknowledged(&self) -> usize {
        self.count(|message| matches!(message, Message::HopAck(_)))
    }

    fn answered(&self, purpose: Purpose) -> usize {
        self.count(|message| matches!(message, Message::Reply(reply) if reply.purpose == purpose))
    }

    /// A request whose route is as given.
    fn packet(&mut self, purpose: Purpose, payload: Vec<u8>, route: &[PeerId]) -> Vec<u8> {
        self.request += 1;
        let packet = Routed {
            purpose,
            to_root: true,
            attempt: 0,
            request: RequestId(self.request),
            key: self.room(),
            target: None,
            exclude: PeerIds::default(),
            route: PeerIds::new(route).unwrap(),
            payload: payload.into(),
        };
        Message::Routed(packet).encode()
    }

    /// Asks so often, and waits until the node has acknowledged all.
    async fn ask(&mut self, purpose: Purpose, times: usize) {
        let before = self.acknowledged();
        for _ in 0..times {
            let payload = self.payload(purpose);
            let packet = self.packet(purpose, payload, &[self.id]);
            self.queue(packet);
        }
        self.until("acknowledgements", |peer| peer.acknowledged() == before + times).await;
    }

    fn payload(&self, purpose: Purpose) -> Vec<u8> {
        match purpose {
            Purpose::Find | Purpose::Connect | Purpose::Notify => Vec::new(),
            Purpose::Nearest => encode_body(&Nearest { most: 1, known: Bounded::default() }),
            Purpose::Publish => {
                let claim = self.claim();
                encode_body(&Publish { claim: claim.bytes().clone(), known: Bounded::default() })
            }
            Purpose::Withdraw => {
                let (claim, network) = (self.claim(), NetworkId::default());
                let (tolerance, key) = (Duration::from_secs(300), room_key());
                let tombstone =
                    Tombstone::make(&claim, tolerance, &key, &self.identity, &RealCrypto, &network);
                encode_body(&Withdraw { tombstone: tombstone.bytes().clone() })
            }
        }
    }

    fn room(&self) -> RoomId {
        room_key().id(&RealCrypto)
    }

    /// A claim of the room, newer than the one before.
    fn claim(&self) -> Claim {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let issued_ms = u64::try_from(now.as_millis()).unwrap();
        let terms = ClaimTerms {
            homes: vec![self.id],
            replica: 0,
            issued_ms,
            expiry_ms: issued_ms + 600_000,
            sequence: Sequence { boot: 1, counter: self.request },
            sealing_key: RealCrypto.sealing_public_key(&[7; 32]),
        };
        Claim::make(&terms, &room_key(), &self.identity, &RealCrypto, &NetworkId::default())
    }
}

fn room_key() -> RoomKey {
    RoomKey::from_seed([9; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_asks_beyond_its_rates_is_acknowledged_and_not_answered() {
    let network = service(|limits| {
        (limits.requests, limits.finds, limits.publishes) = (only(20), only(3), only(4));
    })
    .await;
    let mut eager = Peer::link(&network, 1).await;
    // A find is a request as well, if it passes.
    eager.ask(Purpose::Find, 5).await;
    eager.ask(Purpose::Nearest, 19).await;
    eager.ask(Purpose::Publish, 3).await;
    eager.ask(Purpose::Withdraw, 3).await;
    // Answers come in the order of what is asked, before the last acknowledgement or right after it.
    eager
        .until("answers", |peer| {
            let answered = |purpose| peer.answered(purpose);
            answered(Purpose::Nearest) == 17 && answered(Purpose::Withdraw) == 1
        })
        .await;
    assert_eq!([Purpose::Find, Purpose::Publish].map(|purpose| eager.answered(purpose)), [3, 3]);
    let names = ["finds_limited", "requests_limited", "publishes_limited", "offences", "peers_banned"];
    assert_eq!(counted(&network, names).await, [2, 2, 2, 0, 0]);
    assert!(is_linked(&network, eager.id).await, "it costs nothing else");

    // Whoever shares its address is asked for nothing of that.
    let mut other = Peer::link(&network, 2).await;
    other.ask(Purpose::Find, 3).await;
    other.until("answers", |peer| peer.answered(Purpose::Find) == 3).await;

    // A new link is no new start.
    drop(eager);
    let mut again = Peer::link(&network, 1).await;
    again.ask(Purpose::Find, 1).await;
    again.ask(Purpose::Nearest, 1).await;
    assert_eq!(counted(&network, names).await, [3, 3, 2, 0, 0]);
    assert_eq!((again.answered(Purpose::Find), again.answered(Purpose::Nearest)), (0, 0));
    timeout(DEADLINE, network.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offence_bans_its_identity_and_nobody_else_at_its_address() {
    let network = service(|limits| limits.score_decay = Duration::from_secs(3600)).await;
    let mut honest = Peer::link(&network, 2).await;

    // A packet under another's name is enough.
    let mut forger = Peer::link(&network, 1).await;
    let forged = forger.packet(Purpose::Find, Vec::new(), &[honest.id]);
    forger.queue(forged);
    forger.until("the end", |peer| peer.closed).await;
    // Ten messages that do not decode are, too; nine are not.
    let mut garbler = Peer::link(&network, 3).await;
    let trailing = [Message::Reasons(Reasons { mask: 0 }).encode().as_slice(), &[0]].concat();
    (0..9).for_each(|_| garbler.queue(trailing.clone()));
    garbler.ask(Purpose::Find, 1).await;
    assert_eq!(counted(&network, ["offences", "peers_banned"]).await, [10, 1]);
    garbler.queue(trailing);
    garbler.until("the end", |peer| peer.closed).await;
    let names = ["routed_forged", "messages_undecodable", "offences", "peers_banned", "banned_refused"];
    assert_eq!(counted(&network, names).await, [1, 10, 11, 2, 0]);

    for (refused, seed) in [(1, 1), (2, 3)] {
        let mut again = Peer::dial(&network, seed).await;
        again.until("the refusal", |peer| peer.closed).await;
        assert_eq!(again.count(|message| matches!(message, Message::Hello(_))), 0, "no link was taken");
        assert_eq!(counted(&network, ["banned_refused"]).await, [refused]);
        assert!(!is_linked(&network, again.id).await);
    }
    honest.ask(Purpose::Find, 1).await;
    honest.until("the answer", |peer| peer.answered(Purpose::Find) == 1).await;
    let mut newcomer = Peer::link(&network, 4).await;
    newcomer.ask(Purpose::Find, 1).await;
    newcomer.until("the answer", |peer| peer.answered(Purpose::Find) == 1).await;
    timeout(DEADLINE, network.shutdown()).await.unwrap();
}

/// Bytes that circuits' credit gave so far.
fn granted(peer: &Peer) -> usize {
    let credit = |message: &Message| {
        if let Message::CircuitCredit(credit) = message { credit.bytes as usize } else { 0 }
    };
    peer.heard.iter().map(credit).sum()
}

/// Circuit 0 of the opener to the target; its number there, and the window that the relay tells the opener.
async fn circuit(opener: &mut Peer, target: &mut Peer) -> (u32, usize) {
    let (route, room) = (Bounded::truncated([target.id]), RoomId([9; 32]));
    let open = CircuitOpen { circuit: 0, origin: opener.id, route, room, window: 1 << 20 };
    opener.queue(Message::CircuitOpen(open).encode());
    opener.until("nothing", |_| true).await;
    let offered = |peer: &Peer| {
        let origin = opener.id;
        let number = |message: &Message| {
            let Message::CircuitOpen(open) = message else { return None };
            (open.origin == origin).then_some(open.circuit)
        };
        peer.heard.iter().find_map(number)
    };
    target.until("the circuit", |peer| offered(peer).is_some()).await;
    let number = offered(target).unwrap();
    target.queue(Message::CircuitOpened(CircuitOpened { circuit: number, window: 1 << 30 }).encode());
    target.until("nothing", |_| true).await;
    let window = |peer: &Peer| {
        let window = |message: &Message| {
            if let Message::CircuitOpened(opened) = message { Some(opened.window as usize) } else { None }
        };
        peer.heard.iter().find_map(window)
    };
    opener.until("the circuit's other end", |peer| window(peer).is_some()).await;
    (number, window(opener).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn relayed_bytes_are_held_to_the_rate_by_credit_and_none_is_lost() {
    const BURST: usize = 128 * 1024;
    let network = service(|limits| {
        limits.relayed_bytes =
            Rate { events: BURST as u32, period: Duration::from_secs(24 * 3600), burst: BURST as u32 };
    })
    .await;
    let [mut opener, mut target] = [Peer::link(&network, 1).await, Peer::link(&network, 2).await];
    let (number, window) = circuit(&mut opener, &mut target).await;
    let frame = Bytes::from(vec![7; 16 * 1024 - 64 - CircuitData::FRAME_CHARGE]);
    let charge = CircuitData::charge(frame.len());
    let arrived = |peer: &Peer| {
        peer.count(|message| matches!(message, Message::CircuitData(data) if data.circuit == number))
    };
    let held_back = async |network: &Network| counted(network, ["relay_credit_delayed"]).await > [0];
    let mut sent = 0;
    // All that window and credit allow, until the relay holds back more of it: the rate is used up.
    loop {
        while (sent + 1) * charge <= window + granted(&opener) {
            opener.queue(Message::CircuitData(CircuitData { circuit: 0, frame: frame.clone() }).encode());
            sent += 1;
        }
        opener.until("nothing", |_| true).await;
        target.until("what was sent", |peer| arrived(peer) == sent).await;
        let before = granted(&opener);
        while granted(&opener) == before && !held_back(&network).await {
            opener.ask(Purpose::Find, 1).await;
        }
        // What the relay said before it held anything back is heard before its next acknowledgement.
        opener.ask(Purpose::Find, 1).await;
        if granted(&opener) == before {
            break;
        }
    }
    // Credit comes in parts of a quarter of the window, and more.
    assert!((window / 4..=BURST).contains(&granted(&opener)), "{} bytes of credit", granted(&opener));
    let in_all = (window + granted(&opener)) / charge;
    assert_eq!((sent, arrived(&target)), (in_all, in_all), "each frame arrived, and no more may be sent");
    let [relayed, violations, banned] =
        counted(&network, ["circuit_bytes_relayed", "circuit_violations", "peers_banned"]).await;
    assert!(relayed >= (in_all * frame.len()) as u64, "{relayed}");
    assert_eq!((violations, banned), (0, 0));

    // Each client has a rate of its own.
    let mut other = Peer::link(&network, 3).await;
    let (_, window) = circuit(&mut other, &mut target).await;
    for _ in 0..window / charge {
        other.queue(Message::CircuitData(CircuitData { circuit: 0, frame: frame.clone() }).encode());
    }
    other.until("credit", |peer| granted(peer) > 0).await;

    // Beyond the credit nobody is served: the circuit breaks, at both ends.
    opener.queue(Message::CircuitData(CircuitData { circuit: 0, frame }).encode());
    let reset = |peer: &Peer| peer.count(|message| matches!(message, Message::CircuitReset(_)));
    opener.until("the reset", |peer| reset(peer) == 1).await;
    target.until("the reset", |peer| reset(peer) == 1).await;
    assert_eq!(arrived(&target), in_all);
    assert_eq!(counted(&network, ["circuit_violations"]).await, [1]);
    timeout(DEADLINE, network.shutdown()).await.unwrap();
}
