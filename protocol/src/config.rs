//! Every bound and period of the core, with its unit and the source of its default.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{IceServer, NetworkId, Rate};

/// What kind of node this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A native process with at least one WebSocket address that anyone can dial.
    Service,
    /// A browser tab, or a native process without an address.
    Client,
}

/// The core's configuration. Defaults are those of the design; a comment that names a section of `docs/simulation.md` means
/// that the number has its measurement there.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The network this node belongs to.
    pub network: NetworkId,
    /// Service or client.
    pub kind: NodeKind,
    /// Links and frames.
    pub link: LinkConfig,
    /// Routing and rendezvous.
    pub routing: RoutingConfig,
    /// Rooms and messages.
    pub rooms: RoomConfig,
    /// WebRTC between clients.
    pub webrtc: WebRtcConfig,
    /// What peers may ask for.
    pub limits: LimitConfig,
}

/// What a peer may ask for, and what becomes of one that breaks the rules. Rates hold where a peer's own packets enter the
/// network; each peer costs some 100 bytes while it uses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// Look-ups of the nearest, connects and questions of walks, and finds: 50 a second, 100 at once.
    pub requests: Rate,
    /// Finds: 10 a second, 20 at once. An application asks for them, so they are few.
    pub finds: Rate,
    /// Publishes and withdrawals: 20 a second, 200 at once. A client in 32 rooms with three keys each publishes 96 claims when
    /// its homes change, and withdraws as many when it ends.
    pub publishes: Rate,
    /// Packets of its own that wait for the next hop's acknowledgement.
    pub in_flight: usize,
    /// Bytes that a client has relayed: 8 MiB a second, 8 MiB at once. Credit beyond waits; at 0 none does.
    pub relayed_bytes: Rate,
    /// Changes of what a member says of itself in one room: 2 a second, 20 at once. Members send one a second at most, which a
    /// link that stood still may bring together.
    pub member_data: Rate,
    /// Score at which a peer is banned.
    pub score_max: u32,
    /// The time that takes a point off a score.
    pub score_decay: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// Bans at a time; the one that ends first makes way.
    pub bans_max: usize,
    /// Peers of which rates and scores are remembered at a time; others are refused meanwhile.
    pub peers_max: usize,
}

impl Default for LimitConfig {
    fn default() -> Self {
        const MEBIBYTES_8: u32 = 8 * 1024 * 1024;
        Self {
            requests: Rate::per_second(50, 100),
            finds: Rate::per_second(10, 20),
            publishes: Rate::per_second(20, 200),
            in_flight: 64,
            relayed_bytes: Rate::per_second(MEBIBYTES_8, MEBIBYTES_8),
            member_data: Rate::per_second(2, 20),
            score_max: 100,
            score_decay: Duration::from_secs(6),
            ban: Duration::from_secs(3600),
            bans_max: 10_000,
            peers_max: 16_384,
        }
    }
}

/// How clients link directly.
#[derive(Clone, Debug, PartialEq)]
pub struct WebRtcConfig {
    /// Whether the driver carries WebRTC. A node that does not has its pairs relayed.
    pub enabled: bool,
    /// A service node's: handed to its clients. A client's: used beside those it is handed. At most
    /// [`IceServer::MAX`](crate::IceServer::MAX).
    pub ice_servers: Vec<IceServer>,
    /// Whether a client uses servers that its homes hand out and that are not at the home's own host, and TURN servers: a
    /// third party then learns its address, or carries its traffic.
    pub third_parties: bool,
    /// From the dial to the open channel.
    pub timeout: Duration,
    /// Pauses after attempts that failed: first and largest. Meanwhile the pair is relayed.
    pub backoff: (Duration, Duration),
    /// Attempts at a time.
    pub pending_max: usize,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            ice_servers: Vec::new(),
            third_parties: false,
            timeout: Duration::from_secs(15),
            backoff: (Duration::from_secs(30), Duration::from_secs(600)),
            pending_max: 16,
        }
    }
}

/// How the loss of an idle link is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeepAlive {
    /// By pings, after the periods of [`LinkConfig`].
    Ping,
    /// The driver notices the loss itself and tells it by `Input::Disconnected`: idle links cost nothing. Not for the
    /// internet, where a host that vanished is noticed only by whoever asks it.
    Transport,
}

/// Bounds of links.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Largest frame on a carrier, bytes. Both ends must agree; part of the protocol.
    pub frame_bytes_max: usize,
    /// Largest message, bytes: a larger one is refused by the sender and closes the link at the receiver.
    pub message_bytes_max: usize,
    /// Bytes of partially received messages held per link. Costs that much memory per hostile peer.
    pub reassembly_bytes_max: usize,
    /// Bytes of control and small messages queued per link before the link counts as stuck. Bulk payloads are shared
    /// between links and counted by [`RoomConfig::queued_bytes_max`].
    pub queue_bytes_max: usize,
    /// Time for each message of the handshake, from the carrier's connect or the last message: an initiator has one to
    /// await, a responder two.
    pub handshake_timeout: Duration,
    /// From `Dial` to the carrier's connect. An address at which a dial failed before is given twice as long, and four
    /// times after two failures or more.
    pub dial_timeout: Duration,
    /// How the loss of an idle link is noticed.
    pub keepalive: KeepAlive,
    /// Silence after which a ping is sent, between service nodes.
    pub ping_service: Duration,
    /// Silence after which a link is lost, between service nodes.
    pub silence_service: Duration,
    /// Silence after which a ping is sent, otherwise.
    pub ping_client: Duration,
    /// Silence after which a link is lost, otherwise.
    pub silence_client: Duration,
    /// How long a peer that left a hop unacknowledged may take to answer a ping before its link is lost.
    pub life_timeout: Duration,
    /// How long a link may hold queued data without any credit.
    pub stalled_timeout: Duration,
    /// How long an older link of the same identity may take to prove itself alive.
    pub probe_timeout: Duration,
    /// How long a closing link may take to send what is queued.
    pub drain_timeout: Duration,
    /// Handshakes in progress on accepted links.
    pub pending_max: usize,
    /// Links of any kind. Never exceeded.
    pub links_max: usize,
    /// Overlay links (between service nodes) or all links of a client: admission bound.
    pub overlay_soft: usize,
    /// Overlay links (between service nodes) or all links of a client: never exceeded.
    pub overlay_hard: usize,
    /// Clients that a service node serves.
    pub clients_max: usize,
    /// Circuits relayed at a time.
    pub circuits_relayed_max: usize,
    /// Circuits relayed over the link of one client at a time; over that of a service node a quarter of all.
    pub circuits_client_max: usize,
    /// Credit window of a circuit in one direction, bytes.
    pub circuit_window_bytes: usize,
    /// Bytes held for all relayed circuits together. Beyond, the slowest link or the fullest circuit is closed.
    pub relay_bytes_max: usize,
    /// From the first packet of a circuit's set-up to its end.
    pub circuit_timeout: Duration,
    /// How long a link without a reason may stay.
    pub unwanted_grace: Duration,
}

/// Bounds of routing and rendezvous.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingConfig {
    /// Leaf set size. `docs/simulation.md`: at least twice the replicas.
    pub leaf_set: usize,
    /// Links wanted per k-bucket.
    pub bucket_links: usize,
    /// Holders of a claim, the root included.
    pub replicas: usize,
    /// Keys per room.
    pub replica_keys: u8,
    /// Homes of a client.
    pub homes: usize,
    /// Period of the self-lookup.
    pub self_lookup: Duration,
    /// Period of the self-lookup while younger than `young`.
    pub self_lookup_young: Duration,
    /// Period at which a client that has all its homes looks for nearer ones.
    pub homes_lookup: Duration,
    /// Age up to which a node is young.
    pub young: Duration,
    /// Age at which a node is ready in any case.
    pub ready_after: Duration,
    /// Hops of a routed packet.
    pub hops_max: usize,
    /// Period at which a candidate of a bucket is tried for its round-trip time, until all are measured.
    pub proximity_trial: Duration,
    /// Time for a hop acknowledgement before the next best hop takes over.
    pub hop_timeout: Duration,
    /// Time for an attempt.
    pub attempt_timeout: Duration,
    /// Whether the origin asks service nodes itself once the attempts of a find, publish or connect are over.
    pub iterative: bool,
    /// Whether relays are not trusted, for networks with malicious service nodes: each publish is read back iteratively
    /// and repaired, clients look up their homes by walks, and whoever asked a member through all its homes in vain goes
    /// to them by walks from then on. The last needs [`iterative`](Self::iterative).
    pub read_back: bool,
    /// Service nodes nearest to the key that must have answered on a walk.
    pub walk_width: usize,
    /// Time for a dial or an answer on a walk.
    pub walk_timeout: Duration,
    /// Pause before each retry after a negative answer.
    pub retry_backoff: [Duration; 3],
    /// Longest lifetime of a claim. One lives half as long again as the pause after which it will be renewed, so the default
    /// period of renewal makes it 450 s.
    pub claim_ttl: Duration,
    /// Claim renewal period, ±10 %.
    pub republish: Duration,
    /// Time between publishes for one room that its root aims at: the members of larger rooms renew later.
    pub publish_spacing: Duration,
    /// Republish of a member that knows nobody else.
    pub lonely: [Duration; 5],
    /// Tolerance on wall-clock expiry.
    pub clock_tolerance: Duration,
    /// Claims held for one room.
    pub claims_per_room: usize,
    /// Claims in one answer.
    pub claims_per_answer: usize,
    /// Claims held in all.
    pub claims_max: usize,
    /// Period of the claim digest exchange.
    pub anti_entropy: Duration,
    /// Delay by which notifications and hellos are coalesced.
    pub coalesce: Duration,
    /// Period at which a lost contact is dialled.
    pub heal_contact: Duration,
    /// Period at which a bootstrap address is dialled while not linked.
    pub heal_bootstrap: Duration,
    /// Shortest and longest pause between dials of a node without any service link.
    pub offline_retry: (Duration, Duration),
    /// Service addresses remembered.
    pub addresses_max: usize,
    /// Service nodes known and not linked, with their home claims: about 500 bytes each.
    pub contacts_max: usize,
    /// Service nodes of one network (IPv4 /24, IPv6 /48, name) that are known by hearsay, beyond those nearest to the own
    /// location. The same number of links that service nodes of one network opened.
    pub prefix_contacts_max: usize,
    /// As `prefix_contacts_max`, of one k-bucket.
    pub prefix_bucket_max: usize,
    /// Open requests of this node.
    pub requests_max: usize,
    /// (request, attempt) pairs remembered to recognise duplicates, and packets that wait for an acknowledgement. Packets
    /// beyond go on and are not sent again.
    pub seen_max: usize,
    /// Bytes of the payloads of packets that wait for an acknowledgement. Packets beyond go on and are not sent again.
    pub waiting_bytes_max: usize,
}

/// Bounds of rooms.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    /// Rooms joined at a time.
    pub joined_max: usize,
    /// Members, this node included, up to which a room is a full mesh.
    pub mesh_max: usize,
    /// By when a join is answered.
    pub join_timeout: Duration,
    /// From the loss of a member's last link to its report as left.
    pub suspect_timeout: Duration,
    /// Pauses between attempts to link a known member: first and largest.
    pub connect_backoff: (Duration, Duration),
    /// Pause between attempts to link a member that none of its homes has: until a newer claim of it comes.
    pub connect_denied: Duration,
    /// How long an author keeps its messages for repair.
    pub retain: Duration,
    /// Bytes of messages kept for repair per room.
    pub retain_bytes_max: usize,
    /// Bytes of own payloads queued in all; beyond, a broadcast is refused.
    pub queued_bytes_max: usize,
    /// Message ids remembered per room.
    pub dedup_max: usize,
    /// After this a gap in a stream is released.
    pub gap_timeout: Duration,
    /// Delay before an announced message is pulled.
    pub pull_after: Duration,
    /// Out-of-order messages held per stream.
    pub reorder_max: usize,
    /// Streams tracked per author.
    pub streams_max: usize,
    /// Time between two changes of own member data that members are told.
    pub member_data_pause: Duration,
}

impl Config {
    /// The defaults of a service node of `network`.
    #[must_use]
    pub fn service(network: NetworkId) -> Self {
        Self {
            network,
            kind: NodeKind::Service,
            link: LinkConfig::service(),
            routing: RoutingConfig::default(),
            rooms: RoomConfig::default(),
            webrtc: WebRtcConfig::default(),
            limits: LimitConfig::default(),
        }
    }

    /// The defaults of a client node of `network`.
    #[must_use]
    pub fn client(network: NetworkId) -> Self {
        Self {
            network,
            kind: NodeKind::Client,
            link: LinkConfig::client(),
            routing: RoutingConfig::client(),
            rooms: RoomConfig::default(),
            webrtc: WebRtcConfig::default(),
            limits: LimitConfig::default(),
        }
    }
}

impl LinkConfig {
    fn service() -> Self {
        Self {
            frame_bytes_max: 16 * 1024,
            message_bytes_max: 16 * 1024 * 1024 + 64 * 1024,
            reassembly_bytes_max: 20 * 1024 * 1024,
            queue_bytes_max: 256 * 1024,
            handshake_timeout: Duration::from_secs(5),
            dial_timeout: Duration::from_secs(5),
            keepalive: KeepAlive::Ping,
            ping_service: Duration::from_secs(5),
            silence_service: Duration::from_secs(10),
            ping_client: Duration::from_secs(15),
            silence_client: Duration::from_secs(30),
            life_timeout: Duration::from_secs(5),
            stalled_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(2),
            drain_timeout: Duration::from_secs(5),
            pending_max: 1024,
            links_max: 10_000,
            overlay_soft: 64,
            overlay_hard: 128,
            clients_max: 4096,
            circuits_relayed_max: 4096,
            circuits_client_max: 64,
            circuit_window_bytes: 256 * 1024,
            relay_bytes_max: 64 * 1024 * 1024,
            circuit_timeout: Duration::from_secs(5),
            unwanted_grace: Duration::from_secs(30),
        }
    }

    fn client() -> Self {
        Self {
            pending_max: 16,
            links_max: 256,
            overlay_soft: 24,
            overlay_hard: 32,
            circuits_relayed_max: 16,
            circuits_client_max: 4,
            relay_bytes_max: 8 * 1024 * 1024,
            ..Self::service()
        }
    }
}

impl RoutingConfig {
    /// A client needs candidates for its homes, not a table of the network.
    fn client() -> Self {
        Self { addresses_max: 96, contacts_max: 128, ..Self::default() }
    }
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self {
            leaf_set: 8,
            bucket_links: 2,
            replicas: 4,
            replica_keys: 1,
            homes: 3,
            self_lookup: Duration::from_secs(60),
            self_lookup_young: Duration::from_secs(10),
            homes_lookup: Duration::from_secs(300),
            young: Duration::from_secs(60),
            ready_after: Duration::from_secs(15),
            hops_max: 16,
            proximity_trial: Duration::from_secs(5),
            hop_timeout: Duration::from_millis(500),
            attempt_timeout: Duration::from_secs(2),
            iterative: true,
            read_back: false,
            walk_width: 16,
            walk_timeout: Duration::from_secs(2),
            retry_backoff: [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)],
            claim_ttl: Duration::from_secs(750),
            republish: Duration::from_secs(300),
            publish_spacing: Duration::from_secs(5),
            lonely: [2, 5, 10, 20, 40].map(Duration::from_secs),
            clock_tolerance: Duration::from_secs(300),
            claims_per_room: 20,
            claims_per_answer: 8,
            claims_max: 100_000,
            anti_entropy: Duration::from_secs(30),
            coalesce: Duration::from_millis(500),
            heal_contact: Duration::from_secs(30),
            heal_bootstrap: Duration::from_secs(60),
            offline_retry: (Duration::from_secs(1), Duration::from_secs(15)),
            addresses_max: 256,
            contacts_max: 512,
            // discv5's bounds: 2 of a /24 per bucket, 10 per table.
            prefix_contacts_max: 10,
            prefix_bucket_max: 2,
            requests_max: 4096,
            seen_max: 16_384,
            waiting_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            joined_max: 32,
            mesh_max: 16,
            join_timeout: Duration::from_secs(12),
            suspect_timeout: Duration::from_secs(10),
            connect_backoff: (Duration::from_secs(1), Duration::from_secs(30)),
            connect_denied: Duration::from_secs(600),
            retain: Duration::from_secs(120),
            retain_bytes_max: 32 * 1024 * 1024,
            queued_bytes_max: 64 * 1024 * 1024,
            dedup_max: 4096,
            gap_timeout: Duration::from_secs(5),
            pull_after: Duration::from_millis(500),
            reorder_max: 1024,
            streams_max: 64,
            member_data_pause: Duration::from_secs(1),
        }
    }
}
