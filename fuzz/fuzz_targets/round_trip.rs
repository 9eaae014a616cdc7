//! Messages and signed objects, there and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unamed_fuzz_model::round_trip(data));
