//! Sans-IO core of a peer-to-peer network of named rooms.
#![no_std]
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
mod network;
mod node;
mod room_key;
pub mod rooms;
pub mod routing;
mod time;
mod timer;
pub mod wire;

pub use address::{Address, AddressClass, AddressError, Host};
pub use config::{Config, LinkConfig, NodeKind, RoomConfig, RoutingConfig};
pub use id::{Instance, LinkId, MessageId, PeerId, RequestId, RoomId, SaveId, hex};
pub use identity::{Identity, KeyFileError, PeerIdError};
pub use network::{NetworkId, NetworkIdError};
pub use node::Node;
pub use node::SnapshotError;
pub use node::api::*;
pub use room_key::{RoomKey, RoomNameError, passphrase_from_file};
pub use time::{Duration, Instant};
