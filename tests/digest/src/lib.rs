//! Digests of drawn networks: what a seed comes to, as a program and as WebAssembly, must be the same byte by byte.

use unamed_simulator::{Check, RunOptions, swarm};

/// What the network of a seed comes to: the digest of all that happened, every byte sent included, and the report, without
/// the figures of the machine.
#[must_use]
pub fn digest(seed: u64) -> String {
    let options = RunOptions { check: Check::Every, ..RunOptions::default() };
    let mut report = swarm::draw(seed).run(options, |_| {}).report;
    (report.wall_s, report.events_per_s, report.memory_bytes_per_node) = (0.0, 0.0, None);
    serde_json::to_string(&report).unwrap_or_else(|error| format!("a report is no JSON: {error}"))
}

/// [`digest`] for scripts.
#[cfg(target_family = "wasm")]
#[wasm_bindgen::prelude::wasm_bindgen(js_name = digest)]
#[must_use]
pub fn digest_in_script(seed: u32) -> String {
    digest(u64::from(seed))
}
