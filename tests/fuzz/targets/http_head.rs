//! Heads of requests and responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_net::fuzzing::request_head(bytes));
