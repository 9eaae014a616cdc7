//! Discrete-event simulator of unamed networks: the third driver of [`unamed_protocol::Node`].
//!
//! It uses the node's public surface alone, as the other drivers do, and puts real bytes on a virtual wire, in virtual
//! time. The same seed gives the same run, byte by byte, in every build.
//!
//! * [`Simulation`] is the engine, to write scenarios with: nodes start, stop, crash and restart, links get cut, raw
//!   links inject what no honest node would send.
//! * [`Workload`] is the standard scenario of `unamed-sim run`: service nodes and clients start, join rooms, talk, seek
//!   rooms they are not in, leave and crash. Its [`Oracle`] knows the truth, and judges by it; the [`Report`] says how it
//!   went.
//!
//! What is not modelled: packet loss and congestion (TCP turns them into delay), CPU time, NAT, TLS, clock skew.

pub mod compare;
mod crypto;
mod flat;
mod network;
mod oracle;
pub mod plots;
mod queue;
pub mod recording;
mod report;
mod rng;
pub mod sweep;
mod trace;
mod workload;
mod world;

pub use crypto::BookkeepingCrypto;
pub use network::{Cut, Cuts, Latency, NetworkConfig};
pub use oracle::{Oracle, RoomIndex};
pub use queue::EventQueue;
pub use recording::Recording;
pub use report::{FindFigures, LinkFigures, MessageFigures, Report};
pub use rng::{Rng, seed_bytes, zipf};
pub use workload::{Outcome, Progress, Workload};
pub use world::{
    Check, Condition, Crash, NodeEvent, NodeIndex, RawLink, RawState, Simulation, SimulationConfig, Step,
    Violation, Violations,
};
