//! Decoders and sessions, fed arbitrary bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unamed_fuzz_model::wire(data));
