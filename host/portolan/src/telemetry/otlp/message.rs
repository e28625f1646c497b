//! The messages of OTLP that spans are sent in (`opentelemetry/proto/trace/v1`, version 1.9): those
//! fields of them that we set.
//!
//! **Invariant:** numbers of fields and of enumerations are those of the protocol.

use portolan_net::http::{FinishedSpan, SpanKind, Value};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3, 5")]
    pub(super) value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<AnyValue>,
}

/// `STATUS_CODE_ERROR`
const ERROR: i32 = 2;

/// The parent is known to be, or not to be, of another process; and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Who sends spans.
pub(super) fn resource(attributes: Vec<(String, Value)>) -> Resource {
    Resource { attributes: attributes.into_iter().map(|(key, value)| pair(&key, value)).collect() }
}

/// Spans, and who sends them.
pub(super) fn request(from: &Resource, spans: Vec<FinishedSpan>) -> Request {
    let scope =
        Scope { name: "portolan".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = spans.into_iter().map(span).collect();
    Request {
        resource_spans: vec![ResourceSpans {
            resource: Some(from.clone()),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
        }],
    }
}

fn span(span: FinishedSpan) -> Span {
    let remote = if span.kind == SpanKind::Server { IS_REMOTE } else { 0 };
    let flags = match span.parent {
        Some(_) => HAS_IS_REMOTE | remote,
        None => 0,
    };
    Span {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        trace_state: span.state,
        parent_span_id: span.parent.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        name: span.name,
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span.attributes.into_iter().map(|(key, value)| pair(&key, value)).collect(),
        status: span.error.map(|message| Status { message, code: ERROR }),
        flags: u32::from(span.flags) | flags,
    }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)) }
}

fn any(value: Value) -> AnyValue {
    let value = match value {
        Value::Text(text) => Any::Text(text),
        Value::Number(number) => Any::Number(number),
        Value::Texts(texts) => {
            let values = texts.into_iter().map(|text| any(Value::Text(text))).collect();
            Any::Array(ArrayValue { values })
        }
    };
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Byte for byte what `protoc --encode` makes of the same text: numbers of fields are a promise.
    #[test]
    fn a_span_is_written_as_the_protocol_says() {
        let finished = FinishedSpan {
            trace: 1,
            id: 2,
            parent: Some(3),
            flags: 1,
            state: String::new(),
            name: "GET".to_owned(),
            kind: SpanKind::Server,
            start: 4,
            end: 5,
            attributes: vec![("a".into(), Value::Number(7))],
            error: Some("x".to_owned()),
        };
        let mut expected = vec![0x0a, 16];
        expected.extend([0; 15]);
        expected.push(1);
        expected.extend([0x12, 8, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([0x22, 8, 0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([0x2a, 3, b'G', b'E', b'T', 0x30, 2]);
        expected.extend([0x39, 4, 0, 0, 0, 0, 0, 0, 0, 0x41, 5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x4a, 7, 0x0a, 1, b'a', 0x12, 2, 0x18, 7]);
        expected.extend([0x7a, 5, 0x12, 1, b'x', 0x18, 2]);
        expected.extend([0x85, 0x01, 0x01, 0x03, 0, 0]);
        assert_eq!(span(finished).encode_to_vec(), expected);
    }
}
