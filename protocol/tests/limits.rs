//! What one peer may ask of a service node, at the bound and one beyond, and what becomes of one that breaks the rules.

use std::sync::Arc;

use bytes::Bytes;
use unamed_protocol::crypto::{IdealCrypto, Role};
use unamed_protocol::link::{Class, Outgoing, Secrecy, Session, SessionConfig, SessionEvent};
use unamed_protocol::wire::message::{CircuitOpen, CircuitOpened, Nearest, Purpose, Query, Reasons};
use unamed_protocol::wire::{Bounded, CircuitData, Message, PeerIds, Routed, encode_body};
use unamed_protocol::{
    Config, Duration, Identity, Input, Instance, Instant, LimitConfig, LinkId, NetworkId, Node, Origin,
    Output, PeerId, Rate, RequestId, RoomId, Start,
};

/// A service node and the peers that are linked to it.
struct World {
    node: Node,
    peers: Vec<Peer>,
    now: Instant,
    requests: u64,
}

/// One peer's end of a link.
struct Peer {
    id: PeerId,
    link: LinkId,
    session: Session,
    closed: bool,
    heard: Vec<Message>,
}

impl World {
    fn new(limits: LimitConfig) -> Self {
        let mut config = Config::service(NetworkId::default());
        config.limits = limits;
        let now = Instant::from_secs(1000);
        let start = Start {
            config,
            identity: Identity::from_seed([1; 32]),
            crypto: Arc::new(IdealCrypto),
            seed: [2; 32],
            unix_ms: 1_700_000_000_000,
            addresses: vec!["/ip4/9.9.9.9/tcp/4001/ws".parse().unwrap()],
            saved: None,
        };
        let mut world = Self { node: Node::new(start, now), peers: Vec::new(), now, requests: 0 };
        world.settle();
        world
    }

    /// Links a peer, and says which it is.
    fn link(&mut self, seed: u8, service: bool) -> usize {
        let identity = Identity::from_seed([seed; 32]);
        let Config { link, network, .. } = Config::client(NetworkId::default());
        let id = identity.peer_id(&IdealCrypto);
        let config = SessionConfig {
            role: Role::Initiator,
            max_frame: link.frame_bytes_max,
            frame_charge: 0,
            link: link.into(),
            relay_bytes_max: 1 << 20,
            network,
            identity,
            peer: id,
            instance: Instance { boot: 1, session: u64::from(seed) },
            service,
            static_secret: [0x80 | seed; 32],
            ephemeral: [self.peers.len() as u8; 32],
            expected: None,
            secrecy: Secrecy::Noise,
            extensions: Bounded::default(),
        };
        let mut session = Session::new(config, Arc::new(IdealCrypto), self.now);
        session.grant(usize::MAX);
        let link = self.node.accept(Origin { ip: None }, self.now).unwrap();
        self.node.handle_input(Input::Writable(link, usize::MAX / 2), self.now);
        self.peers.push(Peer { id, link, session, closed: false, heard: Vec::new() });
        self.settle();
        self.peers.len() - 1
    }

    /// Frames go back and forth until there are none.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.node.poll_output() {
                quiet = false;
                match output {
                    Output::Save(id, _) => self.node.handle_input(Input::Saved(id, true), self.now),
                    Output::Send(link, frame) => self.hear(link, &frame),
                    Output::Close(link, _) => {
                        self.peers
                            .iter_mut()
                            .filter(|peer| peer.link == link)
                            .for_each(|peer| peer.closed = true);
                    }
                    Output::Dial(..) | Output::RemoteSignal(..) | Output::Event(_) => {}
                }
            }
            for peer in self.peers.iter_mut().filter(|peer| !peer.closed) {
                while let Some(frame) = peer.session.poll_frame(self.now) {
                    quiet = false;
                    self.node.handle_input(Input::Frame(peer.link, frame), self.now);
                }
            }
            if quiet {
                assert_eq!(self.node.check_invariants(), Vec::<String>::new());
                return;
            }
        }
    }

    fn hear(&mut self, link: LinkId, frame: &Bytes) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.link == link) else { return };
        for event in peer.session.handle_frame(frame, self.now) {
            if let SessionEvent::Message(bytes) = event {
                peer.heard.push(Message::decode(&bytes).unwrap());
            }
        }
    }

    fn say_bytes(&mut self, peer: usize, bytes: Vec<u8>) {
        let message = Outgoing { head: bytes, body: Bytes::new(), token: None };
        self.peers[peer].session.queue(Class::Control, message, self.now).unwrap();
        self.settle();
    }

    /// A packet of this peer with a new number; `passed` have sent it on, the last of them to the node.
    fn ask(&mut self, peer: usize, purpose: Purpose, passed: &[PeerId]) {
        self.requests += 1;
        let nearest = || encode_body(&Nearest { most: 1, known: Bounded::default() });
        let payload = if purpose == Purpose::Nearest { nearest() } else { Vec::new() };
        let packet = Routed {
            purpose,
            to_root: true,
            attempt: 0,
            request: RequestId(self.requests),
            key: RoomId([9; 32]),
            target: None,
            exclude: PeerIds::default(),
            route: PeerIds::new(passed).unwrap(),
            payload: payload.into(),
        };
        self.say_bytes(peer, packet.encode());
    }

    /// A packet that the peer itself asks.
    fn ask_own(&mut self, peer: usize, purpose: Purpose) {
        let own = [self.peers[peer].id];
        self.ask(peer, purpose, &own);
    }

    /// Acknowledgements and replies that a peer got so far.
    fn got(&self, peer: usize) -> (usize, usize) {
        let count = |wanted: fn(&&Message) -> bool| self.peers[peer].heard.iter().filter(wanted).count();
        (
            count(|message| matches!(message, Message::HopAck(_))),
            count(|message| matches!(message, Message::Reply(_) | Message::QueryAnswer(_))),
        )
    }

    fn counter(&self, wanted: &str) -> u64 {
        let metrics = self.node.metrics();
        metrics.iter().find(|(name, _)| *name == wanted).unwrap_or_else(|| panic!("no counter {wanted}")).1
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.node.poll_timeout().filter(|next| next.at <= end) {
            self.now = next.at;
            self.node.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }
}

#[test]
fn each_kind_of_request_passes_up_to_its_burst_and_comes_back_at_its_rate() {
    let limits = LimitConfig::default();
    let cases = [
        (Purpose::Nearest, limits.requests, "requests_limited"),
        (Purpose::Find, limits.finds, "finds_limited"),
    ];
    for (purpose, rate, counter) in cases {
        let mut world = World::new(limits);
        let (eager, other) = (world.link(10, false), world.link(11, false));
        for _ in 0..rate.burst {
            world.ask_own(eager, purpose);
        }
        let burst = rate.burst as usize;
        assert_eq!((world.got(eager), world.counter(counter)), ((burst, burst), 0), "{purpose:?}");
        world.ask_own(eager, purpose);
        // Acknowledged all the same: it is not silence that the peer is to route around.
        assert_eq!((world.got(eager), world.counter(counter)), ((burst + 1, burst), 1), "{purpose:?}");
        world.ask_own(other, purpose);
        assert_eq!(world.got(other), (1, 1), "others are not touched");
        world.pass(rate.period / rate.events);
        world.ask_own(eager, purpose);
        world.ask_own(eager, purpose);
        assert_eq!((world.got(eager), world.counter(counter)), ((burst + 3, burst + 1), 2), "{purpose:?}");
        assert_eq!(
            (world.counter("offences"), world.counter("peers_banned")),
            (0, 0),
            "eager is not hostile"
        );
    }
}

#[test]
fn publishes_and_questions_of_walks_have_rates_and_a_new_link_is_no_new_start() {
    let mut world = World::new(LimitConfig::default());
    let publisher = world.link(10, false);
    for _ in 0..200 {
        world.ask_own(publisher, Purpose::Publish);
    }
    assert_eq!((world.counter("publishes_limited"), world.counter("claims_invalid")), (0, 200));
    world.ask_own(publisher, Purpose::Withdraw);
    assert_eq!((world.counter("publishes_limited"), world.counter("claims_invalid")), (1, 200));
    world.ask_own(publisher, Purpose::Nearest);
    assert_eq!(world.got(publisher), (202, 1), "other requests have a rate of their own");

    let query = |world: &mut World, peer: usize| {
        let query = Query { request: RequestId(7), room: RoomId([9; 32]), replica: 0, claim: None };
        world.say_bytes(peer, Message::Query(query).encode());
    };
    let walker = world.link(12, false);
    (0..100).for_each(|_| query(&mut world, walker));
    assert_eq!(world.got(walker).1, 100);
    let link = world.peers[walker].link;
    world.node.handle_input(Input::Disconnected(link, unamed_protocol::Disconnect::Closed), world.now);
    world.peers[walker].closed = true;
    let again = world.link(12, false);
    query(&mut world, again);
    assert_eq!((world.got(again).1, world.counter("requests_limited")), (0, 1));
}

#[test]
fn what_a_peer_passes_on_is_not_counted_against_it() {
    let mut world = World::new(LimitConfig::default());
    let relay = world.link(10, true);
    for origin in 0..=250_u8 {
        let route = [PeerId([origin; 32]), world.peers[relay].id];
        world.ask(relay, Purpose::Nearest, &route);
    }
    assert_eq!((world.got(relay).0, world.counter("requests_limited")), (251, 0));
}

#[test]
fn a_packet_under_another_s_name_bans_its_sender_for_an_hour_and_nobody_else() {
    let limits = LimitConfig::default();
    let mut world = World::new(limits);
    let (forger, honest) = (world.link(10, false), world.link(11, false));
    let victim = world.peers[honest].id;
    world.ask(forger, Purpose::Find, &[victim]);
    assert!(world.peers[forger].closed && !world.peers[honest].closed);
    assert_eq!((world.counter("routed_forged"), world.counter("peers_banned")), (1, 1));
    let again = world.link(10, false);
    assert!(
        world.peers[again].closed
            || world.peers[again].heard.iter().any(|one| matches!(one, Message::Goodbye(_)))
    );
    assert_eq!(world.counter("banned_refused"), 1);
    world.ask_own(honest, Purpose::Find);
    assert_eq!(world.got(honest), (1, 1));

    world.pass(limits.ban);
    let later = world.link(10, false);
    world.ask_own(later, Purpose::Find);
    assert_eq!(world.got(later), (1, 1), "a ban ends");
}

#[test]
fn what_does_not_decode_adds_up_and_is_forgiven_with_time() {
    let limits = LimitConfig::default();
    let mut world = World::new(limits);
    let peer = world.link(10, true);
    let reasons = Message::Reasons(Reasons { mask: 0 }).encode();
    let trailing = [reasons.as_slice(), &[0]].concat();
    for _ in 0..9 {
        world.say_bytes(peer, trailing.clone());
    }
    assert!(!world.peers[peer].closed);
    // A minute takes ten points off.
    for _ in 0..6 {
        world.now += limits.score_decay.saturating_mul(10) / 6;
        world.say_bytes(peer, reasons.clone());
    }
    world.say_bytes(peer, trailing.clone());
    assert!(!world.peers[peer].closed);
    world.say_bytes(peer, trailing);
    assert!(world.peers[peer].closed);
    assert_eq!((world.counter("offences"), world.counter("peers_banned")), (11, 1));
}

#[test]
fn a_rate_of_nothing_lets_nothing_through() {
    let none = LimitConfig { requests: Rate::per_second(0, 0), ..LimitConfig::default() };
    let mut world = World::new(none);
    let peer = world.link(10, false);
    world.ask_own(peer, Purpose::Nearest);
    assert_eq!((world.got(peer), world.counter("requests_limited")), ((1, 0), 1));
}

#[test]
fn a_peer_has_so_many_packets_under_way_and_no_more() {
    let mut world = World::new(LimitConfig::default());
    let (asker, silent) = (world.link(10, false), world.link(11, false));
    let target = world.peers[silent].id;
    let own = [world.peers[asker].id];
    let connect = |world: &mut World| {
        world.requests += 1;
        let packet = Routed {
            purpose: Purpose::Connect,
            to_root: false,
            attempt: 0,
            request: RequestId(world.requests),
            key: RoomId([9; 32]),
            target: Some(target),
            exclude: PeerIds::default(),
            route: PeerIds::new(&own).unwrap(),
            payload: Bytes::new(),
        };
        world.say_bytes(asker, packet.encode());
    };
    // The next hop acknowledges none of them.
    (0..64).for_each(|_| connect(&mut world));
    assert_eq!((world.counter("routed_forwarded"), world.counter("routed_refused_share")), (64, 0));
    connect(&mut world);
    assert_eq!((world.counter("routed_forwarded"), world.counter("routed_refused_share")), (64, 1));
    world.pass(Duration::from_secs(3));
    connect(&mut world);
    assert_eq!((world.counter("routed_forwarded"), world.counter("routed_refused_share")), (65, 1));
}

#[test]
fn relayed_bytes_of_a_client_come_at_their_rate_and_none_is_lost() {
    const QUARTER: u32 = 64 * 1024;
    let limits =
        LimitConfig { relayed_bytes: Rate::per_second(QUARTER, 2 * QUARTER), ..LimitConfig::default() };
    let mut world = World::new(limits);
    let (opener, target) = (world.link(10, false), world.link(11, false));
    let open = CircuitOpen {
        circuit: 0,
        origin: world.peers[opener].id,
        route: Bounded::truncated([world.peers[target].id]),
        room: RoomId([9; 32]),
        window: 4 * QUARTER,
    };
    world.say_bytes(opener, Message::CircuitOpen(open).encode());
    let offered = world.peers[target]
        .heard
        .iter()
        .find_map(|message| if let Message::CircuitOpen(open) = message { Some(open.circuit) } else { None });
    let circuit = offered.expect("the circuit reaches its target");
    world.say_bytes(target, Message::CircuitOpened(CircuitOpened { circuit, window: 1 << 30 }).encode());

    let frame = Bytes::from(vec![7; 16 * 1024 - 64 - CircuitData::FRAME_CHARGE]);
    let charge = CircuitData::charge(frame.len()) as u32;
    let granted = |world: &World| -> u32 {
        let credit =
            |message: &Message| if let Message::CircuitCredit(credit) = message { credit.bytes } else { 0 };
        world.peers[opener].heard.iter().map(credit).sum()
    };
    let mut sent = 0;
    // All that the window and the credit allow.
    let mut send = |world: &mut World| {
        while sent + charge <= 4 * QUARTER + granted(world) {
            world.say_bytes(opener, CircuitData { circuit: 0, frame: frame.clone() }.encode());
            sent += charge;
        }
        sent
    };
    let at_once = send(&mut world);
    assert!((4 * QUARTER..=6 * QUARTER).contains(&at_once), "window and burst: {at_once}");
    assert!(world.counter("relay_credit_delayed") > 0);
    for second in 1..=5 {
        world.pass(Duration::from_secs(1));
        let in_all = send(&mut world);
        assert!(in_all <= at_once + (second + 2) * QUARTER, "{in_all} after {second} s");
        assert!(in_all + 2 * QUARTER >= at_once + second * QUARTER, "{in_all} after {second} s");
    }
    let relayed = |message: &&Message| matches!(message, Message::CircuitData(_));
    let arrived = world.peers[target].heard.iter().filter(relayed).count();
    assert_eq!(arrived as u32 * charge, send(&mut world), "each frame arrived");
    assert_eq!(world.counter("circuit_violations"), 0);
}
