//! The wire: messages encoded by postcard, in frames with a version byte. `docs/protocol.md` describes it byte by byte.
//!
//! Every value has one encoding. Decoders accept nothing else: what is accepted re-encodes to the same bytes, counts and
//! lengths are checked before anything is allocated, and no input makes them panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod bounded;
mod codec;
mod error;
pub mod message;
mod peer_ids;
mod reader;
pub mod signed;
mod view;
mod writer;

pub use bounded::Bounded;
pub use codec::{Message, decode_body, encode_body};
pub use error::DecodeError;
pub use peer_ids::PeerIds;
pub use reader::LENGTH_MAX;
pub use signed::{
    Claim, ClaimTerms, HomeClaim, HomeClaimTerms, MemberStatement, OpenError, Sequence, Tombstone,
};
pub use view::{
    CircuitData, EXCLUDE_MAX, ForwardError, REPLY_ROUTE_MAX, ROUTE_MAX, Reply, RoomMessage, Routed, RttsMs,
};

#[cfg(test)]
mod tests;
