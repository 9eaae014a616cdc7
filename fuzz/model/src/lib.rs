//! Generators and models for fuzzing, usable by ordinary tests.
//!
//! Each [target](TARGETS) takes the bytes of one input, whatever they are, and panics if something that must hold does not:
//!
//! | target | input | what must hold |
//! |---|---|---|
//! | `frame` | frames before anybody has authenticated | nothing panics, nobody is let in |
//! | `handshake` | the payload of a handshake message | nothing panics; bounds |
//! | `session` | events of an established session | bounds, credit, deadlines |
//! | `fragment` | chunks in frames | the same messages, and the same end, as a reference of a few lines |
//! | `message` | bytes of a message, or the choices of a generator | what is accepted encodes to itself; what is made reads back |
//! | `payload` | the same of a payload | the same |
//! | `claim` | claims, home claims, tombstones, statements of members | the same; what is signed verifies, and not with a byte changed |
//! | `header` | signed headers of room messages | the same |
//! | `signal` | session descriptions, candidates, signals | what is read is written as something that reads back, on lines of its own |
//! | `text` | addresses, peer ids, names, URLs | one value, one text |
//! | `key_file` | identity files, passphrase files | what is read is written as it was |
//! | `state_file` | the address book on disk | the same |
//! | `node` | a set-up, then a script of events for one node among peers of ours | no panic, the node's invariants, and the driver's contract |
//! | `network` | a set-up, then a script for two to four nodes and an attacker | invariants, and a reference of who is where and said what |
//!
//! An input is read from front to back, and what is missing at its end counts as zeros: every prefix is an input, and a
//! changed byte changes little else. The fuzz targets in `fuzz/fuzz_targets` and the replay of the committed corpus in
//! `tests/replay.rs` call the same functions.

mod forger;
mod fragment;
mod generate;
mod network;
mod node;
mod payload;
mod round_trip;
mod session;
mod signal;
mod source;
mod wire;

pub use node::script;
pub use wire::payload_number;

/// A fuzz target: it panics where something does not hold.
pub type Target = fn(&[u8]);

/// All fuzz targets by name, quick ones first.
pub const TARGETS: [(&str, Target); 14] = [
    ("frame", wire::frame),
    ("handshake", wire::handshake),
    ("session", wire::session),
    ("fragment", fragment::fragment),
    ("message", wire::message),
    ("payload", wire::payload),
    ("claim", wire::claims),
    ("header", wire::signed_header),
    ("signal", signal::signal),
    ("text", wire::text),
    ("key_file", wire::key_file),
    ("state_file", wire::state_file),
    ("node", node::node),
    ("network", network::network),
];

/// Runs one input of a target.
///
/// # Panics
/// If there is no such target, or something does not hold.
pub fn run(target: &str, input: &[u8]) {
    let known = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = known.unwrap_or_else(|| panic!("there is no target {target}"));
    run(input);
}
