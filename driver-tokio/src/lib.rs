//! unamed on tokio: rooms over WebSockets and WebRTC.
//!
//! [`Network`] runs a node of the network in the background; [`Network::join`] gives a [`Room`] by its name, where
//! messages go to all members or to some of them. The protocol itself is [`unamed_protocol`]; this crate gives it
//! sockets, a clock, randomness and a disk.
//!
//! ```no_run
//! use unamed_tokio::{Network, RoomEvent};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::builder().bootstrap("/ip4/127.0.0.1/tcp/3001/ws".parse()?).start().await?;
//! let mut room = network.join("kitchen table").await?;
//! room.broadcast("hello").await?;
//! while let Some(event) = room.next().await {
//!     if let RoomEvent::Message(message) = event {
//!         println!("{}: {}", message.from, String::from_utf8_lossy(&message.payload));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A service node, which others start from, listens:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use unamed_tokio::Network;
//!
//! let network = Network::builder().listen("127.0.0.1:3001".parse()?).state_dir("state").start().await?;
//! println!("{}", network.addresses()[0]);
//! # network.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Examples
//! In `examples/`, each to be run beside an `unamed serve` by `cargo run -p unamed-tokio --example NAME -- MULTIADDR ROOM`:
//!
//! | name | what it shows |
//! |---|---|
//! | `chat` | sending and receiving at once, nicknames as member data, an end that loses nothing |
//! | `echo_bot` | answers to one member, an identity that survives a restart |
//! | `presence_counter` | who is there, by events alone, and how to catch up when some were missed |
//! | `game_tick` | a loop of 30 frames a second without async, that takes and sends and waits for nothing |
//! | `bridge` | one node in two rooms, and back-pressure from one to the other |
//!
//! The repository's tests run them all.
//!
//! # Features
//! - `webrtc` (default): direct links between clients over data channels. Without it pairs of clients are relayed, the
//!   `webrtc` crates are not linked, and [`NetworkBuilder::webrtc`] has no effect.
//! - `cli` (default): the program `unamed`, with what it alone needs. A library goes without:
//!   `default-features = false, features = ["webrtc"]`.
//!
//! # Versions
//! Versions follow [Semantic Versioning](https://semver.org/). What counts as a break, here and on the wire, stands in
//! [the book](https://github.com/unamed/unamed/blob/main/docs/embedding.md#versions).
//!
//! # Direct links
//! With the feature `webrtc`, which is on by default, two clients of a room that were linked through a service node link
//! directly, as soon as they find a way, over a data channel; [`LinkView::carrier`] of [`Network::links`] tells which it
//! is. On one machine a channel is open about 60 ms after the dial. Nothing is to be configured for that: a service node
//! answers STUN itself ([`Stun`]) and tells its clients so. [`NetworkBuilder::ice_server`] adds servers, TURN among them,
//! [`NetworkBuilder::webrtc`] turns it off. A member that is linked directly learns the addresses of this machine's
//! routes to the Internet, and where there is no route, its loopback address.
//!
//! # TLS
//! `wss` addresses are dialled by the roots of the system, or those of [`NetworkBuilder::tls_roots`]. A service node speaks TLS
//! with [`NetworkBuilder::tls`], or behind a proxy, which [`NetworkBuilder::trusted_proxy`] lets name its clients. The links
//! are encrypted and authenticated inside in either case.
//!
//! # Memory
//! Everything that a peer can fill is bounded. Per connection: 256 KiB towards it, 64 KiB from it, an 8 KiB read buffer
//! and about 50 KiB of write buffer where it is in use; once 64 MiB were received faster than the node takes them, 16 KiB
//! from each. Per data channel: 384 KiB towards it, 576 KiB from it. Per room: 16,384 events and 64 MiB of messages that the application has not read.

mod builder;
mod connection;
mod dial;
mod driver;
mod events;
mod forwarded;
mod intake;
mod key_file;
mod mailbox;
mod metrics;
mod network;
mod room;
mod route;
#[cfg(feature = "webrtc")]
mod rtc;
mod server;
mod state;
mod stream;
mod stun;
mod tls;
mod upgrade;

pub use builder::{NetworkBuilder, StartError};
pub use events::{NetworkEvent, RoomEvent};
pub use ipnet::IpNet;
pub use key_file::{
    IdentityFileError, IdentityFileProblem, new_identity, read_identity, read_or_create_identity,
};
pub use network::{FindError, JoinError, JoinOptions, Network, NetworkEvents};
pub use room::{MemberDataError, Room, RoomEvents, RoomSender, SendError};
pub use server::ServerLimits;
pub use stun::Stun;
pub use tls::{TlsCertificate, TlsError, TlsProblem};
pub use unamed_protocol::signal::IceServerError;
pub use unamed_protocol::{
    Address, AddressClass, AddressError, Carrier, CloseReason, Config, FindReport, Hop, IceServer, Identity,
    JoinOutcome, KeyFileError, LinkReason, LinkReasons, LinkView, MemberLeftReason, Message, MessageId,
    NetworkId, NetworkIdError, NodeKind, PeerId, PeerIdError, Rate, RoomError, RoomId, RoomKey,
    RoomNameError, RoomView, RoutingView,
};

/// The examples of the book compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Book;
