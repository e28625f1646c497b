//! The limits of an entrypoint, in a word each, and how often clients went beyond them.
//!
//! **Invariant:** a word that was given out keeps its meaning: alerts depend on it. Where a limit has a
//! key in the configuration, the word is made of it.

use crate::figure::Counter;

macro_rules! limits {
    ($($(#[$meta:meta])* $name:ident $word:literal)+) => {
        /// A limit of an entrypoint.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Limit {
            $($(#[$meta])* $name,)+
        }

        impl Limit {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

limits! {
    /// As many connections are open as may be: those who come wait.
    Connections "max-connections"
    /// One client has as many connections as it may: this one is closed.
    ClientConnections "max-connections-per-client"
    /// The process has no more file descriptors: accepting pauses.
    FileDescriptors "file-descriptors"
    /// The system accepts nothing for another cause, such as memory: accepting pauses.
    System "system"
    /// A handshake, or a PROXY header, did not come in time.
    HandshakeTimeout "handshake-timeout"
    /// The head of a request did not come in time.
    HeaderTimeout "header-timeout"
    /// The connection lay idle for too long.
    IdleTimeout "idle-timeout"
    /// The next byte of a request did not come in time.
    RequestStall "request-stall"
    /// The next byte of a response was not read in time.
    ResponseStall "response-stall"
    /// Nothing went through a tunnel, such as a WebSocket, for too long.
    TunnelIdle "tunnel-idle"
    /// The head of a request has too many bytes.
    HeaderBytes "max-header-bytes"
    /// The head of a request has too many lines.
    Headers "max-headers"
    /// The connection had as many requests as it may: it is closed behind the last one.
    Requests "keep-alive-max-requests"
    /// The connection is as old as it may be: it is closed behind the next request.
    Age "keep-alive-max-time"
    /// Too many requests were taken back on an HTTP/2 connection (CVE-2023-44487).
    Resets "max-resets"
    /// Too many frames of an HTTP/2 connection were of no use to a request: PING, SETTINGS,
    /// PRIORITY, empty DATA.
    ControlFrames "max-control-frames"
    /// A client did not answer a PING of HTTP/2.
    PingTimeout "ping-timeout"
    /// HTTP/2 was spoken in a way that costs more than it is worth: too many CONTINUATION frames, a
    /// list of headers far too large, tiny DATA frames, errors without end, requests that were taken
    /// back before anybody saw them.
    Http2Abuse "http2-abuse"
    /// The path has an encoded character that is not allowed.
    EncodedCharacters "encoded-characters"
}

/// How often clients went beyond each of them.
#[derive(Debug, Default)]
pub struct LimitFigures([Counter; Limit::ALL.len()]);

impl LimitFigures {
    /// One more. Rare enough for all workers to share.
    pub fn count(&self, limit: Limit) {
        self.0[limit as usize].increment();
    }

    /// How often so far.
    pub fn value(&self, limit: Limit) -> u64 {
        self.0[limit as usize].value()
    }

    /// Every limit and how often clients went beyond it.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().copied().zip(self.0.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_word_and_a_counter_of_its_own() {
        let figures = LimitFigures::default();
        figures.count(Limit::Connections);
        figures.count(Limit::EncodedCharacters);
        let counted = figures.iter().filter(|(_, count)| *count > 0);
        let words: Vec<_> = counted.map(|(limit, _)| limit.as_str()).collect();
        assert_eq!(words, ["max-connections", "encoded-characters"]);
        for limit in Limit::ALL {
            let twins = Limit::ALL.iter().filter(|other| other.as_str() == limit.as_str());
            assert_eq!(twins.count(), 1, "{}", limit.as_str());
        }
    }
}
