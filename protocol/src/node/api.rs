//! The plain values that pass between a node, its driver and its application.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;

use crate::crypto::Crypto;
use crate::{
    Address, Config, Duration, IceServer, Identity, Instant, LinkId, MessageId, PeerId, RequestId, RoomId,
    SaveId, Signal,
};

/// What a node is constructed from.
#[derive(Debug)]
pub struct Start {
    /// Bounds and periods; see [`Config::service`] and [`Config::client`].
    pub config: Config,
    /// The node's key.
    pub identity: Identity,
    /// The crypto provider.
    pub crypto: Arc<dyn Crypto>,
    /// Randomness of this run: must be fresh from the operating system, or an experiment's seed.
    pub seed: [u8; 32],
    /// Wall-clock time, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Own addresses to announce (service nodes only; ignored for clients), at most [`Address::ADVERTISED_MAX`].
    pub addresses: Vec<Address>,
    /// What the last run saved, if anything.
    pub saved: Option<Snapshot>,
}

/// What must survive a restart. [`Snapshot::encode`] and [`Snapshot::decode`] give it a stable byte form.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Highest boot counter in use.
    pub boot: u64,
    /// Known service addresses, best first.
    pub addresses: Vec<SavedAddress>,
}

/// One entry of the address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAddress {
    /// Where to dial, with the peer id expected there.
    pub address: Address,
    /// Whether a link to it was ever established.
    pub tried: bool,
    /// Whether it was linked and got lost; lost contacts are dialled again, which is what heals a partition.
    pub lost: bool,
}

/// Where an accepted socket comes from, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The remote IP address.
    pub ip: Option<IpAddr>,
}

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A WebSocket address.
    WebSocket(Address),
    /// Another client, over a WebRTC data channel: one ordered, reliable channel, negotiated by both ends under id 0.
    ///
    /// The driver makes a peer connection with these servers. As offerer it makes the channel and an offer at once; as
    /// answerer it waits for the offer, which follows as `Output::RemoteSignal`. What its stack finds goes in as
    /// `Input::LocalSignal`. `Connected` says that the channel is open.
    WebRtc {
        /// Whether this end makes the offer.
        offer: bool,
        /// STUN and TURN servers, at most [`IceServer::MAX`].
        ice_servers: Vec<IceServer>,
    },
}

/// What the world did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The carrier of a dialled link is open. `Writable` must follow before the node can send.
    Connected(LinkId),
    /// A dial failed; the link is gone.
    DialFailed(LinkId, DialError),
    /// A frame arrived.
    Frame(LinkId, Bytes),
    /// The WebRTC stack of a dialled link found something that the other end must know: its description first.
    LocalSignal(LinkId, Signal),
    /// The carrier takes this many bytes of frames more; grants add up.
    Writable(LinkId, usize),
    /// The carrier is closed; the link is gone.
    Disconnected(LinkId, Disconnect),
    /// The answer to a `Save`.
    Saved(SaveId, bool),
    /// The wall clock, milliseconds since the Unix epoch; `resumed` if the process or machine slept.
    Clock {
        /// Milliseconds since the Unix epoch.
        unix_ms: u64,
        /// Whether time passed unobserved: liveness deadlines shift and links are checked.
        resumed: bool,
    },
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialError {
    /// Nothing answered in time.
    Timeout,
    /// The connection was refused or reset, or the host is unreachable.
    Refused,
    /// The name did not resolve.
    Unresolved,
    /// Something answered that does not speak WebSocket (plain HTTP, TLS on a plain port, …).
    NotWebSocket,
    /// TLS failed.
    Tls,
    /// This driver cannot dial such an address.
    Unsupported,
    /// The WebRTC stack found no way to the peer, or failed.
    Ice,
}

/// Why a carrier closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disconnect {
    /// The peer closed it in good order.
    Closed,
    /// Reset, broken pipe, or another I/O error.
    Reset,
    /// The carrier's own protocol was violated (text frame, oversized frame, unmasked frame, …).
    Violation,
    /// The driver itself detected that the peer is gone.
    Lost,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a carrier; answer with `Connected` or `DialFailed`.
    Dial(LinkId, Target),
    /// Give the WebRTC stack of a dialled link what the other end's stack found.
    RemoteSignal(LinkId, Signal),
    /// Send one frame, at most [`LinkConfig::frame_bytes_max`](crate::LinkConfig::frame_bytes_max) bytes, within the
    /// granted credit.
    Send(LinkId, Bytes),
    /// Send what was handed over, then close the carrier. The link is gone: nothing is said of it any more.
    Close(LinkId, CloseReason),
    /// Persist the snapshot atomically; answer with `Saved`.
    Save(SaveId, Box<Snapshot>),
    /// Tell the application.
    Event(Event),
}

/// What the application learns.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer to `join`: comes once for each join, by [`RoomConfig::join_timeout`](crate::RoomConfig::join_timeout).
    RoomJoined {
        /// The room.
        room: RoomId,
        /// How it went.
        outcome: JoinOutcome,
    },
    /// The room was left on one's own request, or is not available.
    RoomLeft {
        /// The room.
        room: RoomId,
        /// Why.
        reason: RoomLeftReason,
    },
    /// A member is linked and has proved that it knows the room. Members in `JoinOutcome::Joined` are not repeated.
    MemberJoined {
        /// The room.
        room: RoomId,
        /// The member.
        peer: PeerId,
        /// What it says of itself ([`Node::set_member_data`](crate::Node::set_member_data)); empty for nothing.
        data: Bytes,
    },
    /// A member says something else of itself. After `RoomJoined` it comes for each listed member that says something.
    MemberChanged {
        /// The room.
        room: RoomId,
        /// The member.
        peer: PeerId,
        /// What it says, 1 KiB at most; empty for nothing.
        data: Bytes,
    },
    /// A member is gone. Follows exactly one `MemberJoined` (or listing in `JoinOutcome::Joined`).
    MemberLeft {
        /// The room.
        room: RoomId,
        /// The member.
        peer: PeerId,
        /// Why.
        reason: MemberLeftReason,
    },
    /// A message, in the order of its stream.
    Message(Message),
    /// Part of a large message arrived.
    MessageProgress {
        /// From whom.
        from: PeerId,
        /// Bytes received.
        received: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Part of an own large message was handed to the link of one recipient.
    SendProgress {
        /// The message.
        id: MessageId,
        /// The recipient.
        to: PeerId,
        /// Bytes handed over.
        sent: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Messages of a stream are missing for good.
    MessagesLost {
        /// The room.
        room: RoomId,
        /// Whose messages.
        from: PeerId,
        /// How many.
        count: u64,
    },
    /// Two parts of a room that did not know of each other have met: a member that joined long ago names others that
    /// this node did not know. Each of them is told by `MemberJoined`, too, once it is linked.
    RoomMerged {
        /// The room.
        room: RoomId,
        /// The members that came to be known, in the order of their ids.
        members: Vec<PeerId>,
    },
    /// A broadcast that was refused with `Busy` would be taken.
    RoomWritable {
        /// The room.
        room: RoomId,
    },
    /// The primary room is another one.
    PrimaryChanged {
        /// The room; the own home room if none is joined.
        room: RoomId,
    },
    /// A link is usable.
    LinkOpened {
        /// The link.
        link: LinkId,
        /// The authenticated peer.
        peer: PeerId,
        /// What carries it.
        carrier: Carrier,
        /// Why this end keeps it so far.
        reasons: LinkReasons,
    },
    /// A link that was usable is gone.
    LinkClosed {
        /// The link.
        link: LinkId,
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
        /// Why this end had kept it.
        reasons: LinkReasons,
    },
    /// A dial or handshake failed.
    LinkFailed {
        /// The link.
        link: LinkId,
        /// The address dialled, if it was one.
        address: Option<Address>,
        /// Why.
        reason: CloseReason,
    },
    /// A service address became known by its node's own signed claim.
    NewServiceAddress {
        /// The address, with its peer id.
        address: Address,
    },
    /// Whether at least one service node is linked (for a service node: another one) changed.
    Online(bool),
    /// A service node's nearest are linked: it takes part in routing.
    Ready,
    /// The answer to `find`.
    FindFinished(FindReport),
    /// State could not be persisted; the node goes on.
    SaveFailed,
    /// Another live node uses this identity.
    IdentityInUse {
        /// The peer that says so, which any peer can, true or not; none if this node has met the other one itself.
        told_by: Option<PeerId>,
    },
    /// The shutdown is complete: everything said goodbye, all links are closed.
    ShutDown,
}

/// How a join went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// Linked with these members, in the order of their ids.
    Joined {
        /// The members.
        members: Vec<PeerId>,
    },
    /// The network answered: nobody else is in the room.
    Alone,
    /// Others are in the room; none could be linked so far. The node keeps trying.
    NoneReachable {
        /// How many are known.
        known: usize,
    },
    /// The network could not be asked so far. The node keeps trying.
    Offline,
}

/// Why a room is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomLeftReason {
    /// On request.
    Requested,
    /// The room has `mesh_max` members.
    Full,
}

/// Why a member left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberLeftReason {
    /// It said goodbye.
    Left,
    /// Its links failed and could not be made anew in time.
    Lost,
    /// The same identity started again.
    Restarted,
}

impl MemberLeftReason {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::Restarted => "restarted",
        }
    }
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The room.
    pub room: RoomId,
    /// Its author.
    pub from: PeerId,
    /// Its id.
    pub id: MessageId,
    /// Whether it was for all members or for chosen ones.
    pub directed: bool,
    /// The content.
    pub payload: Bytes,
}

/// For whom a broadcast is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// All members.
    All,
    /// These members; an empty list is refused.
    Only(Vec<PeerId>),
}

/// What carries a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// A WebSocket.
    WebSocket,
    /// A WebRTC data channel.
    WebRtc,
    /// A circuit over other links, encrypted end to end.
    Circuit,
}

impl Carrier {
    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::WebRtc => "webrtc",
            Self::Circuit => "relayed",
        }
    }
}

/// Why a link closed or never opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseReason {
    /// No reason to keep the link.
    Unwanted = 0,
    /// The node shuts down.
    Shutdown = 1,
    /// No admission: over budget. Goodbye carries addresses of others.
    Busy = 2,
    /// Another link to the same peer stays.
    Duplicate = 3,
    /// The peer restarted; the older instance's link goes.
    Replaced = 4,
    /// Another live node uses the peer's identity.
    IdentityInUse = 5,
    /// The peer does not speak this protocol.
    NotOurProtocol = 6,
    /// No common wire version.
    VersionMismatch = 7,
    /// Another network.
    WrongNetwork = 8,
    /// The cryptographic handshake failed.
    Handshake = 9,
    /// The identity key is small-order, non-canonical, or its signature is wrong.
    BadKey = 10,
    /// The handshake did not end in time.
    HandshakeTimeout = 11,
    /// The proved identity is not the one the address names.
    IdMismatch = 12,
    /// The node reached itself.
    SelfDial = 13,
    /// A frame did not authenticate.
    Decrypt = 14,
    /// A frame, message or fragment exceeded its bound.
    TooLarge = 15,
    /// A frame or message broke the protocol.
    Violation = 16,
    /// The peer does not read.
    SlowReader = 17,
    /// Nothing arrived in time.
    Silent = 18,
    /// The carrier closed.
    Closed = 19,
    /// The carrier broke.
    Reset = 20,
    /// The dial was refused or the host is unreachable.
    Refused = 21,
    /// The dial timed out.
    DialTimeout = 22,
    /// The name did not resolve.
    Unresolved = 23,
    /// What answered does not speak WebSocket.
    NotWebSocket = 24,
    /// TLS failed.
    Tls = 25,
    /// The driver cannot dial such an address.
    Unsupported = 26,
    /// A circuit's relay went away.
    RelayLost = 27,
    /// A relay refused a circuit.
    RelayRefused = 28,
    /// WebRTC found no way to the peer.
    Ice = 29,
}

impl CloseReason {
    const ALL: [Self; 30] = [
        Self::Unwanted,
        Self::Shutdown,
        Self::Busy,
        Self::Duplicate,
        Self::Replaced,
        Self::IdentityInUse,
        Self::NotOurProtocol,
        Self::VersionMismatch,
        Self::WrongNetwork,
        Self::Handshake,
        Self::BadKey,
        Self::HandshakeTimeout,
        Self::IdMismatch,
        Self::SelfDial,
        Self::Decrypt,
        Self::TooLarge,
        Self::Violation,
        Self::SlowReader,
        Self::Silent,
        Self::Closed,
        Self::Reset,
        Self::Refused,
        Self::DialTimeout,
        Self::Unresolved,
        Self::NotWebSocket,
        Self::Tls,
        Self::Unsupported,
        Self::RelayLost,
        Self::RelayRefused,
        Self::Ice,
    ];

    /// The reason with this number on the wire; unknown numbers count as [`Closed`](Self::Closed).
    #[must_use]
    pub fn from_wire(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Closed)
    }
}

/// Why a link exists. Links carry sets of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LinkReason {
    /// Both ends are members of a room.
    Room = 0,
    /// A client's home.
    Home = 1,
    /// In the leaf set.
    Leaf = 2,
    /// Fills a k-bucket.
    Bucket = 3,
    /// Carries a circuit.
    Relay = 4,
    /// Being set up, or a bootstrap.
    SetUp = 5,
}

impl LinkReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [Self::Room, Self::Home, Self::Leaf, Self::Bucket, Self::Relay, Self::SetUp];

    /// A stable lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Home => "home",
            Self::Leaf => "leaf",
            Self::Bucket => "bucket",
            Self::Relay => "relay",
            Self::SetUp => "set-up",
        }
    }
}

/// A set of [`LinkReason`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LinkReasons(pub u8);

impl LinkReasons {
    /// Whether `reason` is in the set.
    #[must_use]
    pub const fn contains(self, reason: LinkReason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }

    /// The set with `reason`.
    #[must_use]
    pub const fn with(self, reason: LinkReason) -> Self {
        Self(self.0 | (1 << reason as u8))
    }

    /// The set without `reason`.
    #[must_use]
    pub const fn without(self, reason: LinkReason) -> Self {
        Self(self.0 & !(1 << reason as u8))
    }

    /// Whether no reason is left.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons in the set.
    pub fn iter(self) -> impl Iterator<Item = LinkReason> {
        LinkReason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }
}

impl core::fmt::Display for LinkReasons {
    /// The names of the reasons, separated by commas; `none` without any.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, reason) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(reason.as_str())?;
        }
        Ok(())
    }
}

/// When the node wants `handle_timeout`, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// A stable name of the timer, for logs.
    pub reason: &'static str,
}

/// How a find went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindReport {
    /// As returned by `find`.
    pub request: RequestId,
    /// What was sought.
    pub room: RoomId,
    /// Attempts made, at least one.
    pub attempts: u8,
    /// The route of the last answered attempt, origin first; empty if none was answered.
    pub route: Vec<Hop>,
    /// The members found by valid claims, in the order of their ids.
    pub members: Vec<PeerId>,
    /// Time from the command to the answer.
    pub elapsed: Duration,
}

/// One hop of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node.
    pub peer: PeerId,
    /// Smoothed round-trip time of the link towards it, as its predecessor knows it; zero for the origin.
    pub rtt: Duration,
    /// Whether it is a service node; the origin counts by its own kind.
    pub service: bool,
}

/// Why `join` was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The room is joined already, or being joined.
    AlreadyJoined,
    /// [`RoomConfig::joined_max`](crate::RoomConfig::joined_max) rooms are joined.
    TooManyRooms,
    /// The node shuts down.
    ShuttingDown,
}

/// Why a room command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomError {
    /// The room is not joined.
    NotJoined,
    /// A service node's primary room is its home room, for good.
    PrimaryFixed,
}

/// Why member data were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberDataError {
    /// The room is not joined.
    NotJoined,
    /// The data have more than `max` bytes.
    TooLarge {
        /// The bound.
        max: usize,
    },
}

/// Why a broadcast was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BroadcastError {
    /// The room is not joined.
    NotJoined,
    /// The list of recipients is empty.
    NoRecipients,
    /// A recipient is not a member.
    UnknownRecipient(PeerId),
    /// More recipients than a room can have.
    TooManyRecipients,
    /// The payload exceeds `max` bytes.
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The queues are full; `RoomWritable` follows.
    Busy,
}

/// No id for an accepted socket: a bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLimit {
    /// Too many handshakes in progress.
    Pending,
    /// Too many links.
    Links,
    /// The node shuts down.
    ShuttingDown,
}

macro_rules! plain_error {
    ($($name:ident { $($pattern:pat => $text:literal),+ $(,)? })+) => {$(
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $($pattern => $text),+ })
            }
        }

        impl core::error::Error for $name {}
    )+};
}

plain_error! {
    JoinError {
        Self::AlreadyJoined => "the room is joined already",
        Self::TooManyRooms => "too many rooms are joined",
        Self::ShuttingDown => "the node is shutting down",
    }
    RoomError {
        Self::NotJoined => "the room is not joined",
        Self::PrimaryFixed => "a service node's primary room is fixed",
    }
    MemberDataError {
        Self::NotJoined => "the room is not joined",
        Self::TooLarge { .. } => "the member data are too large",
    }
    BroadcastError {
        Self::NotJoined => "the room is not joined",
        Self::NoRecipients => "the list of recipients is empty",
        Self::UnknownRecipient(_) => "a recipient is not a member of the room",
        Self::TooManyRecipients => "too many recipients",
        Self::TooLarge { .. } => "the payload is too large",
        Self::Busy => "the queues are full",
    }
    LinkLimit {
        Self::Pending => "too many handshakes in progress",
        Self::Links => "too many links",
        Self::ShuttingDown => "the node is shutting down",
    }
}

/// One link, as [`Node::links`](crate::Node::links) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The link.
    pub link: LinkId,
    /// The peer.
    pub peer: PeerId,
    /// What carries it.
    pub carrier: Carrier,
    /// Whether the peer is a service node.
    pub service: bool,
    /// Whether this end opened it.
    pub outbound: bool,
    /// Why this end keeps it.
    pub reasons: LinkReasons,
    /// Why the other end keeps it, as it says.
    pub remote_reasons: LinkReasons,
    /// Smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// Since when it is usable.
    pub since: Instant,
}

/// One joined room, as [`Node::rooms`](crate::Node::rooms) lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// The room.
    pub room: RoomId,
    /// Whether it is the primary room.
    pub primary: bool,
    /// Whether `RoomJoined` was emitted.
    pub joined: bool,
    /// Members linked and proved, without this node.
    pub members: usize,
    /// Members known by their claims and not linked.
    pub pending: usize,
}

/// The routing table, as [`Node::routing_table`](crate::Node::routing_table) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingView {
    /// The node's place in the key space.
    pub location: RoomId,
    /// Whether the node takes part in routing.
    pub ready: bool,
    /// The linked service nodes nearest to `location`, nearest first.
    pub leaf_set: Vec<PeerId>,
    /// Linked service nodes with their bucket index: the number of leading bits shared with `location`.
    pub buckets: Vec<(u8, PeerId)>,
    /// The homes of a client.
    pub homes: Vec<PeerId>,
    /// Rooms whose claims this node holds, and how many.
    pub held: Vec<(RoomId, usize)>,
}
