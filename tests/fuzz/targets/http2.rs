//! Connections of HTTP/2.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_net::fuzzing::http2_connection(bytes));
