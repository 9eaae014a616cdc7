//! Session descriptions, candidates, signals and ICE servers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unamed_fuzz_model::signal(data));
