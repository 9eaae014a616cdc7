//! Generators and models for fuzzing, usable by ordinary tests.
//!
//! Each function takes the bytes of one input, whatever they are, and panics if something that must hold does not:
//!
//! | function | input | what must hold |
//! |---|---|---|
//! | [`wire`] | a selector, then the bytes for one decoder, or events for one link session | nothing panics; bounds |
//! | [`round_trip`] | a selector, then bytes or the choices of a generator | what is accepted encodes to itself; what is made reads back |
//! | [`signal`] | a selector, then a session description, a candidate, a signal or a URL | what is read is written as something that reads back, on lines of its own |
//! | [`node`] | a set-up, then a script of events for one node among peers of ours | no panic, the node's invariants, and the driver's contract |
//!
//! An input is read from front to back, and what is missing at its end counts as zeros: every prefix is an input, and a
//! changed byte changes little else. The fuzz targets in `fuzz/fuzz_targets` and the replay of the committed corpus in
//! `tests/replay.rs` call the same functions.

mod forger;
mod generate;
mod node;
mod payload;
mod round_trip;
mod session;
mod signal;
mod source;
mod wire;

pub use node::{node, script};
pub use round_trip::round_trip;
pub use signal::signal;
pub use wire::{Decoder, wire};
