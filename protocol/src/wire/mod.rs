//! The wire: messages encoded by postcard, in frames with a version byte. `docs/protocol.md` describes it byte by byte.

mod bounded;
pub mod message;

pub use bounded::Bounded;
