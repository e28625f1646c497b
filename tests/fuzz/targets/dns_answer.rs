//! Answers of upstreams.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    portolan_net::fuzzing::upstream_answer(bytes);
});
