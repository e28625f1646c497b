//! Packets of clients.
#![no_main]

use portolan_net::fuzzing::Questions;

thread_local! {
    static QUESTIONS: Questions = Questions::new();
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| QUESTIONS.with(|questions| questions.ask(bytes)));
