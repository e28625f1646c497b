//! Heads of requests and responses.
#![no_main]

use portolan_net::fuzzing::{request_head, response_head};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    request_head(bytes);
    response_head(bytes);
});
