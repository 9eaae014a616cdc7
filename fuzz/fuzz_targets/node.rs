//! One node, fed arbitrary events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unamed_fuzz_model::node(data));
