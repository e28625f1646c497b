//! Why a request was not answered as it was meant to be: one word each, the same in the access log,
//! in metrics, in the opt-in response header and in explanations.
//!
//! **Invariant:** a word that was given out keeps its meaning: alerts depend on it.

use crate::figure::Counter;

macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident $word:literal)+) => {
        /// Why a request was not answered as it was meant to be.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason {
            $($(#[$meta])* $name,)+
        }

        impl Reason {
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

reasons! {
    /// Target or host of the request are malformed.
    BadTarget "bad-target"
    /// HTTP/1.1 without a host.
    NoHost "no-host"
    /// CONNECT is not served.
    Connect "connect"
    /// No rule is true for the request.
    NoRouter "no-router"
    /// The router has no service, or one that does not work, and no middleware answered.
    NoService "no-service"
    /// The router's service is `noop@internal`, and no middleware answered.
    Noop "noop"
    /// A middleware of the router is missing, or not in working order, or what the router says of who may
    /// pass cannot be read.
    NoMiddleware "no-middleware"
    /// A middleware failed, and its router wants that to be felt.
    MiddlewareFailed "middleware-failed"
    /// The server that a middleware asks whether a request may pass gave no answer.
    NoAuthority "no-authority"
    /// A body is longer than the middleware takes that wants to look at it.
    BodyTooLarge "body-too-large"
    /// None of the backends is usable.
    NoBackend "no-backend"
    /// The address of the backend is none.
    BadBackend "bad-backend"
    /// The name of the backend has no address.
    ResolveFailed "resolve-failed"
    /// The backend refuses connections: nothing listens there.
    ConnectRefused "connect-refused"
    /// No connection to the backend for another cause: no route, for instance.
    ConnectFailed "connect-failed"
    /// We have no file descriptors or no memory left for a connection to a backend.
    NoResources "no-resources"
    /// The backend did not accept in time.
    ConnectTimeout "connect-timeout"
    /// The backend's encryption could not be set up or trusted.
    TlsFailed "tls-failed"
    /// The backend does not speak the protocol.
    Protocol "protocol"
    /// The backend broke off before it answered.
    NoResponse "no-response"
    /// The head of the backend's answer has too many bytes or lines.
    ResponseHeadTooLarge "response-head-too-large"
    /// The backend did not answer in time.
    ResponseTimeout "response-timeout"
    /// The backend broke off within its answer.
    ResponseBroken "response-broken"
    /// The client did not send its request to the end.
    BodyBroken "body-broken"
    /// The client went away before it had its answer.
    ClientGone "client-gone"
    /// The first line of the request is malformed.
    BadRequestLine "bad-request-line"
    /// The request is neither HTTP/1.0 nor HTTP/1.1.
    BadVersion "bad-version"
    /// A header line of the request is malformed.
    BadHeader "bad-header"
    /// A line of the request ends without CR.
    BareLf "bare-lf"
    /// The head of the request has too many bytes or lines.
    HeadTooLarge "head-too-large"
    /// The content-length of the request is not one number.
    BadLength "bad-length"
    /// The transfer-encoding of the request is not `chunked`.
    BadTransferEncoding "bad-transfer-encoding"
    /// The request says in two ways where it ends.
    TwoFramings "two-framings"
    /// The rest of the request did not come in time.
    BodyTimeout "body-timeout"
    /// The service has as many requests under way as it may.
    TooBusy "too-busy"
    /// The service is given a rest after failures.
    CircuitOpen "circuit-open"
    /// The rest of the head of the request did not come in time.
    HeaderTimeout "header-timeout"
    /// The client did not read its response.
    ClientStalled "client-stalled"
    /// The path has an encoded character that its entrypoint does not allow.
    EncodedCharacter "encoded-character"
    /// The host of the request takes other TLS options than its connection has.
    Misdirected "misdirected"
    /// The request leads back to us, again and again.
    Loop "loop"
    /// The target of the request and its host header name different hosts.
    TwoHosts "two-hosts"
    /// The client speaks HTTP in clear to an encrypted entrypoint.
    PlainHttp "plain-http"
}

/// How often each of them was the case.
#[derive(Debug)]
pub struct ReasonFigures([Counter; Reason::ALL.len()]);

impl Default for ReasonFigures {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl ReasonFigures {
    /// One more. Rare enough for all workers to share.
    pub fn count(&self, reason: Reason) {
        self.0[reason as usize].increment();
    }

    /// Every reason and how often it was the case.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().copied().zip(self.0.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_word_and_a_counter_of_its_own() {
        let figures = ReasonFigures::default();
        figures.count(Reason::NoBackend);
        figures.count(Reason::ClientGone);
        let counted = figures.iter().filter(|(_, count)| *count > 0);
        let words: Vec<_> = counted.map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(words, ["no-backend", "client-gone"]);
        for reason in Reason::ALL {
            let twins = Reason::ALL.iter().filter(|other| other.as_str() == reason.as_str());
            assert_eq!(twins.count(), 1, "{}", reason.as_str());
        }
    }
}
