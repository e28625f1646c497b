//! How far clients of an entrypoint may go, with defaults that suit an edge.
//!
//! **Invariant:** a connection keeps the limits that it began with; only its patience, which the roster
//! has, follows a change.

use std::time::Duration;

use crate::h1::MOST_LINES;

/// How far clients of an entrypoint may go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long they may take.
    pub timeouts: ClientTimeouts,
    /// The most bytes in the head of a request; more are answered with 431. At least 8 KiB.
    pub max_header_bytes: usize,
    /// The most header lines of a request; more are answered with 431. At most
    /// [`MOST_HEADERS`](Self::MOST_HEADERS).
    pub max_headers: usize,
    /// The most connections that are open; more wait to be accepted. Each worker may have one more.
    pub max_connections: usize,
    /// The most connections of one client, which is an IPv4 address or an IPv6 network of 64 bits;
    /// more are closed at once. `None`: as many as there may be.
    pub max_connections_per_client: Option<u32>,
    /// The most requests on one connection, which is closed behind the last. `None`: no limit.
    pub keep_alive_max_requests: Option<u32>,
    /// How old a connection may be when a request is taken; that was the last. Whole seconds.
    /// `None`: no limit.
    pub keep_alive_max_time: Option<Duration>,
    /// What holds for HTTP/2 alone.
    pub http2: Http2Limits,
    /// What may stand in a path, encoded.
    pub encoded_characters: EncodedCharacters,
    /// Whether a `;` in a query is sent on as `%3B` (Traefik's `encodeQuerySemicolons`).
    pub encode_query_semicolons: bool,
}

/// How long clients may take. All but the first in whole seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientTimeouts {
    /// For the TLS handshake, and for a PROXY header.
    pub handshake: Duration,
    /// For the head of a request.
    pub header: Duration,
    /// For the next byte of a request. Progress is what counts: a transfer may last as long as it
    /// goes on.
    pub request_stall: Duration,
    /// To read the next byte of a response.
    pub response_stall: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Between bytes of a tunnel, whichever way they go. `None`: for ever.
    pub tunnel_idle: Option<Duration>,
}

/// What holds for HTTP/2 alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Http2Limits {
    /// The most requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// The most requests that a client may take back within a second. One whose response was written to its end
    /// is not taken back.
    pub max_resets: u32,
    /// The most frames within a second that are of no use to a request: SETTINGS, PING, PRIORITY,
    /// empty DATA, unknown ones, resets of what is over. One more for each KiB of responses, and one PING
    /// or reset for each of their frames, since clients measure the way behind what they read.
    pub max_control_frames: u32,
    /// How often a client is asked whether it is still there; `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long it may take to answer that.
    pub ping_timeout: Duration,
}

impl Limits {
    /// More header lines than these would have to be allocated for.
    pub const MOST_HEADERS: usize = MOST_LINES;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeouts: ClientTimeouts::default(),
            max_header_bytes: 128 * 1024,
            max_headers: 100,
            max_connections: 50_000,
            max_connections_per_client: Some(25_000),
            keep_alive_max_requests: None,
            keep_alive_max_time: None,
            http2: Http2Limits::default(),
            encoded_characters: EncodedCharacters::default(),
            encode_query_semicolons: false,
        }
    }
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            // nginx's `client_body_timeout` and `send_timeout`.
            request_stall: Duration::from_secs(60),
            response_stall: Duration::from_secs(60),
            // Traefik's.
            idle: Duration::from_secs(180),
            // What is usual for HAProxy's `timeout tunnel`: shells lie idle for long and are well, and
            // peers that are gone are found by the keepalive of TCP.
            tunnel_idle: Some(Duration::from_secs(60 * 60)),
        }
    }
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 250,
            // A browser that leaves a page takes back all that is under way.
            max_resets: 500,
            max_control_frames: 1000,
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

/// A character that means something else when it is decoded, after Traefik's `encodedCharacters`.
/// An encoded NUL is none of them: it is never allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the character of its name")]
pub enum EncodedCharacter {
    Slash,
    BackSlash,
    Semicolon,
    Percent,
    QuestionMark,
    Hash,
}

/// Which of them may stand in a path, encoded. By default, all: they are passed on as they came, and
/// rules see them encoded, so none of them can make a border.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EncodedCharacters {
    /// A bit for each that is refused.
    refused: u8,
}

impl EncodedCharacters {
    /// The same, and this one is refused.
    #[must_use]
    pub fn refusing(self, character: EncodedCharacter) -> Self {
        Self { refused: self.refused | character.bit() }
    }

    /// Whether a path, whose encodings are in upper case, may stand as it does.
    pub fn allow(self, path: &str) -> bool {
        self.refused == 0 || !path.split('%').skip(1).any(|encoded| self.refuse(encoded))
    }

    fn refuse(self, encoded: &str) -> bool {
        let character = match encoded.as_bytes() {
            [b'2', b'F', ..] => EncodedCharacter::Slash,
            [b'5', b'C', ..] => EncodedCharacter::BackSlash,
            [b'3', b'B', ..] => EncodedCharacter::Semicolon,
            [b'2', b'5', ..] => EncodedCharacter::Percent,
            [b'3', b'F', ..] => EncodedCharacter::QuestionMark,
            [b'2', b'3', ..] => EncodedCharacter::Hash,
            _ => return false,
        };
        self.refused & character.bit() != 0
    }
}

impl EncodedCharacter {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_refused_for_what_is_refused_and_for_nothing_else() {
        use EncodedCharacter::{BackSlash, Hash, Percent, QuestionMark, Semicolon, Slash};
        let all = [
            (Slash, "%2F"),
            (BackSlash, "%5C"),
            (Semicolon, "%3B"),
            (Percent, "%25"),
            (QuestionMark, "%3F"),
            (Hash, "%23"),
        ];
        for (refused, _) in all {
            let policy = EncodedCharacters::default().refusing(refused);
            for (written, text) in all {
                let path = format!("/a%20{text}b/;c");
                assert_eq!(policy.allow(&path), written != refused, "{refused:?} {path}");
                assert!(EncodedCharacters::default().allow(&path), "{path}");
            }
            // `%252F` is a percent sign, and then digits.
            assert_eq!(policy.allow("/%252F"), refused != Percent, "{refused:?}");
        }
    }
}
