//! Sans-IO core of a peer-to-peer network of named rooms.
//!
//! A [`Node`] is one deterministic state machine: it opens no socket, reads no clock and draws no randomness of its own.
//! A *driver* gives it bytes and time, and does what it asks for. `unamed-tokio` is one driver, the simulator another;
//! this page says how to write a third.
//!
//! # Driving a node
//! 1. **Make it.** [`Node::new`] takes a [`Start`]: configuration, key, crypto provider, 32 random bytes, the wall clock,
//!    and what the last run saved. `now` is an [`Instant`] of a monotonic clock that starts where you like; it is an
//!    argument of every call that changes something, and must not fall.
//! 2. **Tell it what happens**: [`Node::handle_input`], and [`Node::accept`] for a carrier that somebody else opened.
//!    Neither fails for what a peer does. What concerns an unknown link is counted and ignored, so races between you and
//!    the node are harmless.
//! 3. **Drain it.** After every call, or after several, call [`Node::poll_output`] until it gives `None`, and do what it
//!    says in that order. Nothing in there waits for you: hand things over and go on.
//!    - [`Output::Dial`]: open a carrier, and answer once, with [`Input::Connected`] or [`Input::DialFailed`]. The node
//!      gives up by itself after [`LinkConfig::dial_timeout`] and says so with `Close`.
//!    - [`Output::RemoteSignal`]: for the WebRTC stack of a [`Target::WebRtc`], whose own findings go in as
//!      [`Input::LocalSignal`]. Without [`WebRtcConfig::enabled`] there are none.
//!    - [`Output::Send`]: one frame for the carrier, which must keep frames whole, in order, and lose none.
//!    - [`Output::Close`]: send what was handed over, then close the carrier, or give up the dial. Nothing more is said of
//!      this link, by neither side.
//!    - [`Output::Save`]: persist the snapshot atomically ([`Snapshot::encode`]), then answer with [`Input::Saved`]. The
//!      first one comes from `Node::new`, and nothing is dialled before it is answered: its boot counter tells this run
//!      from the last. Without a disk, answer at once.
//!    - [`Output::Event`]: for the application.
//! 4. **Grant credit.** A node sends nothing on a link before [`Input::Writable`], which says how many bytes of frames the
//!    carrier takes. It follows `Connected` or `accept`; what is granted before is lost. Grants add up; grant again what
//!    has left. A frame is encrypted only when it can leave, so control overtakes data, and a slow reader costs you no
//!    more than what you granted.
//! 5. **Hand in frames** as they come, one [`Input::Frame`] each, in order. A carrier without bounds of its own must refuse
//!    frames above [`LinkConfig::frame_bytes_max`]; the node closes the link for them in any case.
//! 6. **Say when a carrier ends**: [`Input::Disconnected`], once, unless the node closed it. The link is gone by that.
//! 7. **Keep its time.** After draining, [`Node::poll_timeout`] says when [`Node::handle_timeout`] is wanted; at that time
//!    or later, call it. Calls that come too early do nothing.
//! 8. **Tell it the wall clock** now and then with [`Input::Clock`], every ten seconds say; it decides expiry and nothing
//!    else. If the process or machine slept, say `resumed: true`, and before anything else, so that nobody is blamed for
//!    the silence.
//! 9. **End it.** After [`Node::shutdown`] go on as before until [`Event::ShutDown`], which comes within five seconds; the
//!    node wants nothing from then on. A node may also just be dropped, which to others looks like a process that was
//!    killed.
//!
//! Any number of inputs may come before a drain: the outputs are the same.
//!
//! Here is all of it, with queues for carriers and a number for the clock. The [examples](#examples) do the same on real
//! sockets.
//!
//! ```
//! use std::collections::{BTreeMap, VecDeque};
//! use std::sync::Arc;
//!
//! use unamed_protocol::crypto::RealCrypto;
//! use unamed_protocol::{
//!     Address, Config, Disconnect, Event, Identity, Input, Instant, LinkId, NetworkId, Node, Origin, Output,
//!     Recipients, RoomKey, Start,
//! };
//!
//! /// What the carrier takes at a time.
//! const WINDOW: usize = 64 * 1024;
//!
//! // 1. In earnest, identity and seed come from the operating system's randomness.
//! fn node(config: Config, secret: u8, addresses: Vec<Address>) -> Node {
//!     let start = Start {
//!         config,
//!         identity: Identity::from_seed([secret; 32]),
//!         crypto: Arc::new(RealCrypto),
//!         seed: [secret; 32],
//!         unix_ms: 1_800_000_000_000,
//!         addresses,
//!         saved: None,
//!     };
//!     Node::new(start, Instant::ZERO)
//! }
//!
//! let mut now = Instant::ZERO;
//! let address: Address = "/ip4/127.0.0.1/tcp/3001/ws".parse()?;
//! let service = node(Config::service(NetworkId::default()), 1, vec![address.clone()]);
//! let client = node(Config::client(NetworkId::default()), 2, vec![]);
//! let mut nodes = [service, client];
//!
//! // Commands. A room of a name takes `RoomKey::derive`, which is slow on purpose.
//! let key = RoomKey::from_seed([7; 32]);
//! let room = key.id(&RealCrypto);
//! nodes[1].bootstrap(address, now);
//! for node in &mut nodes {
//!     node.join(&key, now)?;
//! }
//!
//! let mut inputs: VecDeque<(usize, Input)> = VecDeque::new();
//! let mut carriers: BTreeMap<(usize, LinkId), (usize, LinkId)> = BTreeMap::new();
//! let mut heard = None;
//! while heard.is_none() {
//!     // 2. What happened.
//!     while let Some((who, input)) = inputs.pop_front() {
//!         nodes[who].handle_input(input, now);
//!     }
//!     // 3. What is to be done.
//!     for who in 0..nodes.len() {
//!         while let Some(output) = nodes[who].poll_output() {
//!             match output {
//!                 Output::Save(id, _) => inputs.push_back((who, Input::Saved(id, true))),
//!                 Output::Dial(link, _) => {
//!                     let (other, accepted) = (0, nodes[0].accept(Origin::default(), now)?);
//!                     carriers.insert((who, link), (other, accepted));
//!                     carriers.insert((other, accepted), (who, link));
//!                     inputs.push_back((who, Input::Connected(link)));
//!                     // 4. Both ends may send.
//!                     inputs.push_back((who, Input::Writable(link, WINDOW)));
//!                     inputs.push_back((other, Input::Writable(accepted, WINDOW)));
//!                 }
//!                 Output::Send(link, frame) => {
//!                     // 4. and 5. What has left is granted again, and arrives.
//!                     inputs.push_back((who, Input::Writable(link, frame.len())));
//!                     if let Some((other, there)) = carriers.get(&(who, link)) {
//!                         inputs.push_back((*other, Input::Frame(*there, frame)));
//!                     }
//!                 }
//!                 Output::Close(link, _) => {
//!                     // 6. The other end learns of it.
//!                     if let Some((other, there)) = carriers.remove(&(who, link)) {
//!                         carriers.remove(&(other, there));
//!                         inputs.push_back((other, Input::Disconnected(there, Disconnect::Closed)));
//!                     }
//!                 }
//!                 Output::Event(Event::MemberJoined { .. }) => {
//!                     nodes[who].broadcast(room, "hello".into(), Recipients::All, now)?;
//!                 }
//!                 Output::Event(Event::Message(message)) => heard = Some(message),
//!                 Output::RemoteSignal(..) | Output::Event(_) => {}
//!             }
//!         }
//!     }
//!     // 7. With nothing left to do, time passes.
//!     if inputs.is_empty() {
//!         let next = nodes.iter().filter_map(Node::poll_timeout).map(|deadline| deadline.at).min();
//!         now = now.max(next.expect("a running node always waits for something"));
//!         nodes.iter_mut().for_each(|node| node.handle_timeout(now));
//!     }
//! }
//! assert_eq!(heard.map(|message| message.payload), Some("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in it
//! - Rooms: join, leave, members, messages to all or to some, in order and repaired, up to 16 MiB each: [`rooms`]. What members
//!   say of themselves, a nickname for instance: [`Node::set_member_data`].
//! - Links: Noise XX, fragments under credit, keep-alive, circuits, and WebRTC between clients: [`link`], [`signal`].
//! - Routing: leaf set and k-buckets of service nodes, claims held for rooms, the address book: [`routing`].
//! - The wire: [`wire`], byte by byte in `docs/protocol.md`. Crypto, real and ideal: [`crypto`].
//! - Views of a running node ([`Node::links`], [`Node::rooms`], [`Node::routing_table`], [`Node::metrics`]) and a check of
//!   itself for tests ([`Node::check_invariants`]).
//!
//! It is `no_std`, needs `alloc`, and has no unsafe code. Whatever a peer sends has an outcome and a counter, and is no
//! error of yours. The same calls with the same arguments give the same outputs: a run is a list that can be replayed.
//!
//! # Examples
//! In `examples/`, by `cargo run -p unamed-protocol --example NAME`. The first two are chats that take `-- MULTIADDR ROOM`,
//! beside an `unamed serve` of `unamed-tokio`; the repository's tests run them.
//!
//! | name | what it shows |
//! |---|---|
//! | `threads` | a driver on blocking sockets and threads, without any runtime |
//! | `smol_tasks` | a driver on smol, which is any runtime but tokio |
//! | `guesses` | how many names of rooms one core can try in a second |
//!
//! `examples/common/` is what the two drivers share: the contract above, without a line about sockets.
//!
//! # Features
//! - `nfc` (default): brings names of rooms to NFC in [`RoomKey::derive`]. Without it the caller does, by
//!   [`RoomKey::derive_with`]; the tables have 100 KiB.
//! - `tables` (default): 40 KiB of multiples of Ed25519's base point, by which keys and signatures are made faster.
//! - `byzantine`: service nodes that misbehave, to test what others make of them. Not for networks.
//!
//! # Versions
//! Versions follow [Semantic Versioning](https://semver.org/). What counts as a break, here and on the wire, stands in
//! [the book](https://github.com/unamed/unamed/blob/main/docs/embedding.md#versions).
//!
//! `ARCHITECTURE.md` of the repository has the picture, the path of a packet, and who owns which state.
#![no_std]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod config;
pub mod crypto;
mod id;
mod identity;
pub mod link;
mod lookup;
mod network;
mod node;
mod rate;
mod room_key;
pub mod rooms;
pub mod routing;
pub mod signal;
mod time;
mod timer;
pub mod wire;

pub use address::{Address, AddressClass, AddressError, Host};
pub use config::{
    Config, KeepAlive, LimitConfig, LinkConfig, NodeKind, RoomConfig, RoutingConfig, WebRtcConfig,
};
pub use id::{Instance, LinkId, MessageId, PeerId, RequestId, RoomId, SaveId, hex};
pub use identity::{Identity, KeyFileError, PeerIdError};
pub use network::{NetworkId, NetworkIdError};
pub use node::api::*;
#[cfg(feature = "byzantine")]
pub use node::byzantine::{Accomplices, Misbehaviour};
pub use node::{Held, Node, SnapshotError};
pub use rate::{Gcra, Rate};
pub use room_key::{RoomKey, RoomNameError, passphrase_from_file};
pub use signal::{IceServer, Signal};
pub use time::{Duration, Instant};
