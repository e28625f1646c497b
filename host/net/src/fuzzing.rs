//! What must hold for any bytes from outside: the targets of `tests/fuzz`, and of the test that
//! replays what they have found.

pub use crate::{
    dns::fuzzing::{Questions, upstream_answer},
    h1::fuzzing::request_body,
    http2::{fuzzing::connection as http2_connection, hpack::fuzzing::header_block},
};
use crate::{
    h1,
    http::{Hop, clean_request, clean_response},
};

/// What holds for the head of a request.
pub fn request_head(bytes: &[u8]) {
    h1::fuzzing::request_head(bytes, |headers| {
        assert_eq!(
            clean_request(headers, false, |_name| false),
            Hop::default(),
            "it says more than its lines"
        );
    });
}

/// What holds for the head of a response.
pub fn response_head(bytes: &[u8]) {
    h1::fuzzing::response_head(bytes, clean_response);
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Each file of a corpus, which must not be empty.
    fn replay(name: &str, target: impl Fn(&[u8])) {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(files.len() > 20, "{}: {}", folder.display(), files.len());
        for file in files {
            target(&fs::read(file).unwrap());
        }
    }

    #[test]
    fn what_fuzzers_have_found_still_holds() {
        let questions = Questions::new();
        replay("dns_question", |bytes| questions.ask(bytes));
        replay("dns_answer", |bytes| {
            upstream_answer(bytes);
        });
        replay("http_head", request_head);
        replay("http_head", response_head);
        replay("http_body", request_body);
        replay("hpack", header_block);
        replay("http2", http2_connection);
    }
}
