//! Discrete-event simulator of unamed networks: the third driver of [`unamed_protocol::Node`].
//!
//! It uses the node's public surface alone, as the other drivers do, and puts real bytes on a virtual wire, in virtual
//! time. The same seed gives the same run, byte by byte, in every build.
//!
//! * [`Simulation`] is the engine, to write scenarios with: nodes start, stop, crash and restart, links get cut, raw
//!   links inject what no honest node would send.
//! * [`Scenario`] is what `unamed-sim run` carries out, as plain data: a network starts, people join rooms, talk, look for
//!   rooms, come and go, things go wrong. Its [`Oracle`] knows the truth, and judges by it; the [`Report`] says how it went,
//!   the [`Recording`] is what plots are made from.
//!
//! | Model | Where it is described |
//! |---|---|
//! | latency, jitter, bandwidth, partitions, clogs | [`Latency`], [`NetworkConfig`], [`Simulation::partition`], [`Simulation::clog`] |
//! | connections, crashes, detection of silence | [`Crash`], [`TransportDetection`] |
//! | churn | [`churn`] |
//! | people and phases | [`Scenario`], [`scenario::Workload`] |
//! | judgement | [`Oracle`] |
//!
//! The features `cli` (the program `unamed-sim`) and `plots` are on by default. Without them the library runs as WebAssembly
//! too, with the same results; there it knows no wall time.
//!
//! What is not modelled: packet loss and congestion (TCP turns them into delay), CPU time, TLS, and NAT, of which there is
//! only the class of each client ([`Simulation::nat`]).

pub mod churn;
pub mod compare;
mod crypto;
mod flat;
mod network;
mod oracle;
mod outsider;
#[cfg(feature = "plots")]
pub mod plots;
mod queue;
pub mod recording;
mod report;
mod rng;
mod run;
pub mod scenario;
mod stopwatch;
pub mod swarm;
pub mod sweep;
mod taint;
mod trace;
mod world;

pub use churn::{ChurnModel, Weibull};
pub use crypto::BookkeepingCrypto;
pub use network::{
    Clog, Cut, Cuts, Latency, LatencyMatrix, Nat, NetworkConfig, SignalManners, TransportDetection,
};
pub use oracle::{Oracle, RoomIndex};
pub use outsider::{Guise, Outsider};
pub use queue::EventQueue;
pub use recording::Recording;
pub use report::{
    BootstrapFigures, DirectFigures, FaultFindFigures, FindFigures, KindFigures, LinkFigures, MessageFigures,
    PairFigures, RecoveryFigures, Report,
};
pub use rng::{Rng, seed_bytes, zipf};
pub use run::{Outcome, Progress, RunOptions};
pub use scenario::{Expectations, Malicious, MaliciousKind, Scenario, ScenarioError};
pub use trace::TraceSample;
pub use world::{
    Check, Condition, Crash, NodeEvent, NodeIndex, RawLink, RawState, Sent, Simulation, SimulationConfig,
    Step, Violation, Violations,
};

/// The examples of the book compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/simulation.md")]
struct Book;
