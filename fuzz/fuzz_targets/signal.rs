//! See the table in `unamed_fuzz_model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| unamed_fuzz_model::run("signal", data));
