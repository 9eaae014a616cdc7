//! The browser's driver: the same core as everywhere, over `WebSocket` and `RTCPeerConnection`.
//!
//! It is compiled to WebAssembly and wrapped by the npm package in `npm/`, whose scripts keep identities, files of state
//! and rooms, and offer the interface that pages use. What stands here is between the two: [`Engine`] takes commands as
//! plain values and tells events as plain objects. `ARCHITECTURE.md` of the repository has the picture.
//!
//! Nothing of a browser is touched before [`Engine`] is made, every call of a browser may fail, and a failure is an
//! outcome.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod credit;
mod driver;
mod engine;
mod events;
mod host;
mod peer;
mod socket;

pub use engine::{Engine, derive_room_key, new_secret, room_id_of};
