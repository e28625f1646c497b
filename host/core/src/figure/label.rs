//! What requests are told apart by in figures: status, method and protocol, as Traefik does.
//!
//! **Invariant:** every label has few values, whatever clients and backends send.

use http::{Method, StatusCode};
use memchr::{memchr, memchr_iter, memrchr};

/// A method, as a label. Those that clients make up are one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other.
    Extension,
}

/// What is spoken within HTTP, as a label.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ProtocolLabel {
    /// Requests and responses.
    Http,
    /// A change to WebSocket is asked for.
    Websocket,
    /// Server-sent events are asked for.
    Sse,
    /// gRPC; the code is that of gRPC.
    Grpc,
    /// gRPC-Web; the code is that of gRPC.
    GrpcWeb,
}

/// By what answers are counted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AnswerKey {
    /// The status, or the code of gRPC.
    pub code: u16,
    /// The method.
    pub method: MethodLabel,
    /// The protocol.
    pub protocol: ProtocolLabel,
}

/// How a connection is encrypted, in Traefik's words.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Encryption {
    /// `1.2`, `1.3`.
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
}

impl MethodLabel {
    const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Connect,
        Self::Options,
        Self::Trace,
        Self::Patch,
        Self::Extension,
    ];

    /// The label of a method.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::DELETE => Self::Delete,
            Method::CONNECT => Self::Connect,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            Method::PATCH => Self::Patch,
            _ => Self::Extension,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Extension => "EXTENSION_METHOD",
        }
    }
}

impl ProtocolLabel {
    const ALL: [Self; 5] = [Self::Http, Self::Websocket, Self::Sse, Self::Grpc, Self::GrpcWeb];

    /// The label of a request that wants to change to the protocol `upgrade`, that `accepts` these
    /// media types, and whose content is of this `kind`. In Traefik's order.
    pub fn of(upgrade: Option<&[u8]>, accepts: Option<&[u8]>, kind: Option<&[u8]>) -> Self {
        if upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
            return Self::Websocket;
        }
        if accepts.is_some_and(accepts_events) {
            return Self::Sse;
        }
        match kind {
            Some(kind) if kind.starts_with(b"application/grpc-web") => Self::GrpcWeb,
            Some(kind) if kind.starts_with(b"application/grpc") => Self::Grpc,
            _ => Self::Http,
        }
    }

    /// Whether the code of an answer is in `grpc-status`.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Websocket => "websocket",
            Self::Sse => "sse",
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
        }
    }
}

/// Whether `text/event-stream` is one of these media types. Browsers send long lists, in which few have a
/// hyphen.
fn accepts_events(types: &[u8]) -> bool {
    memchr_iter(b'-', types).any(|hyphen| {
        let (before, behind) = types.split_at(hyphen);
        let begin = memrchr(b',', before).map_or(0, |comma| comma + 1);
        let end = memchr(b',', behind).map_or(types.len(), |comma| hyphen + comma);
        types[begin..end].trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

impl AnswerKey {
    /// The key of an answer with a status.
    pub fn new(status: StatusCode, method: MethodLabel, protocol: ProtocolLabel) -> Self {
        Self { code: status.as_u16(), method, protocol }
    }

    /// The first digit of the status, 1 to 5. Of gRPC, code 0 is 2 and the others are 5.
    pub fn class(self) -> usize {
        match self.protocol {
            protocol if protocol.is_grpc() && self.code == 0 => 2,
            protocol if protocol.is_grpc() => 5,
            _ => usize::from(self.code / 100).clamp(1, 5),
        }
    }

    /// What stands for this one when there are too many: its class, no method, no protocol.
    pub(super) fn coarse(self) -> Self {
        let code = self.code / 100 * 100;
        Self { code, method: MethodLabel::Extension, protocol: ProtocolLabel::Http }
    }

    pub(super) fn pack(self) -> u32 {
        u32::from(self.code) << 8 | (self.method as u32) << 4 | self.protocol as u32
    }

    pub(super) fn unpack(packed: u32) -> Self {
        let [_, high, low, labels] = packed.to_be_bytes();
        let method = MethodLabel::ALL.get(usize::from(labels >> 4)).copied();
        let protocol = ProtocolLabel::ALL.get(usize::from(labels & 15)).copied();
        Self {
            code: u16::from_be_bytes([high, low]),
            method: method.unwrap_or(MethodLabel::Extension),
            protocol: protocol.unwrap_or(ProtocolLabel::Http),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_packing() {
        for method in MethodLabel::ALL {
            for protocol in ProtocolLabel::ALL {
                for code in [0, 16, 200, 999] {
                    let key = AnswerKey { code, method, protocol };
                    assert_eq!(AnswerKey::unpack(key.pack()), key);
                }
            }
        }
    }

    #[test]
    fn methods_that_clients_make_up_are_one_label() {
        let method = |name: &str| MethodLabel::of(&Method::from_bytes(name.as_bytes()).unwrap());
        assert_eq!(method("PATCH").as_str(), "PATCH");
        for name in ["PROPFIND", "get", "X"] {
            assert_eq!(method(name).as_str(), "EXTENSION_METHOD");
        }
    }

    #[test]
    fn the_protocol_is_told_by_headers() {
        let label = |name: &str, value: &str| {
            let value = Some(value.as_bytes());
            let accepts = value.filter(|_| name == "accept");
            ProtocolLabel::of(None, accepts, value.filter(|_| accepts.is_none())).as_str()
        };
        for events in
            ["text/event-stream", "text/html, Text/Event-Stream", "a-b, text/event-stream ,c"]
        {
            assert_eq!(label("accept", events), "sse", "{events}");
        }
        for others in
            ["*/*", "text/event-stream;q=1", "xtext/event-stream", "text/event-, stream", "-"]
        {
            assert_eq!(label("accept", others), "http", "{others}");
        }
        assert_eq!(label("content-type", "application/grpc+proto"), "grpc");
        assert_eq!(label("content-type", "application/grpc-web-text"), "grpc-web");
        assert_eq!(label("content-type", "application/json"), "http");
        let upgrade = ProtocolLabel::of(Some(b"WebSocket"), None, None);
        assert_eq!(upgrade.as_str(), "websocket");
        assert_eq!(ProtocolLabel::of(Some(b"x"), None, None).as_str(), "http");
    }
}
