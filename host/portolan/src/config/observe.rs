//! `[access-log]` and `[tracing]`: what is told of single requests, as it is written and as it is
//! meant.
//!
//! **Invariant:** a field, a header or a status that cannot be is said at its place; none is dropped
//! in silence.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use http::{
    HeaderName, HeaderValue, Uri,
    uri::{Authority, PathAndQuery},
};
use portolan_core::{name::nearest, router::TraceVerbosity};
use portolan_net::http::{
    AccessConfig, AccessFilters, AccessFormat, Capture, Field, Fields, HeaderFields, TraceConfig,
};
use toml::{Spanned, de::DeValue};

use super::{
    read::{Named, Node, Read, Reading, table},
    report::Finding,
    schema::{PeerTls, unplaced},
    tls,
    value::{Word, read_word},
};
use crate::telemetry::otlp::Collector;

table! {
    /// `[access-log]`
    pub(super) struct AccessLog {
        /// Default: standard output.
        file: Option<PathBuf> = None,
        format: AccessFormat = AccessFormat::Common,
        filters: Filters = Filters::default(),
        fields: FieldModes = FieldModes::default(),
    }
}

table! {
    /// `[access-log.filters]`
    pub(super) struct Filters {
        status_codes: Vec<Statuses> = Vec::new(),
        retry_attempts: bool = false,
        min_duration: Duration = Duration::ZERO,
    }
}

table! {
    /// `[access-log.fields]`
    pub(super) struct FieldModes {
        default_mode: Capture = Capture::Keep,
        names: Named<Capture> = Named(Vec::new()),
        headers: HeaderModes = HeaderModes::default(),
        query_parameters: QueryMode = QueryMode::Keep,
    }
}

table! {
    /// `[access-log.fields.headers]`
    pub(super) struct HeaderModes {
        default_mode: Capture = Capture::Drop,
        names: Named<Capture> = Named(Vec::new()),
    }
}

table! {
    /// `[tracing]`
    pub(super) struct Tracing {
        endpoint: Spanned<String> = unplaced("http://127.0.0.1:4318/v1/traces".to_owned()),
        headers: Named<Spanned<String>> = Named(Vec::new()),
        /// Default: whom the system trusts, and nothing to show.
        tls: Option<Spanned<PeerTls>> = None,
        /// Default: as the environment says, else `portolan`.
        service_name: Option<String> = None,
        resource_attributes: Named<String> = Named(Vec::new()),
        sample_rate: Spanned<f64> = unplaced(1.0),
        verbosity: TraceVerbosity = TraceVerbosity::default(),
        captured_request_headers: Vec<Spanned<String>> = Vec::new(),
        captured_response_headers: Vec<Spanned<String>> = Vec::new(),
        safe_query_parameters: Vec<String> = Vec::new(),
    }
}

/// One status, or several: `404`, `"500-599"`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statuses(RangeInclusive<u16>);

/// What becomes of the query of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QueryMode {
    Keep,
    Drop,
}

/// Spans: of which requests, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traces {
    /// What is recorded.
    pub(crate) config: TraceConfig,
    /// Where it goes.
    pub(crate) collector: Collector,
}

pub(super) fn access_log(log: AccessLog, reading: &mut Reading<'_>) -> AccessConfig {
    let FieldModes { default_mode, names, headers, query_parameters } = log.fields;
    let mut fields = Fields::all(default_mode);
    for (name, capture) in names.0 {
        let all = Field::ALL.iter();
        match all.clone().find(|field| field.as_str() == name.get_ref()) {
            Some(field) => fields.set(*field, capture),
            None => {
                let message = format!("the access log has no field `{}`", name.get_ref());
                let finding = Finding::error(name.span(), message);
                let meant = nearest(name.get_ref(), all.map(|field| field.as_str()));
                reading.add(match meant {
                    Some(_) => finding.did_you_mean(meant),
                    None => finding.hint("the names are Traefik's, such as `RequestPath`"),
                });
            }
        }
    }
    let header = |(name, capture): (Spanned<String>, Capture)| {
        Some((header_name(&name, reading)?.as_str().to_owned(), capture))
    };
    let config = AccessConfig {
        file: log.file,
        format: log.format,
        filters: AccessFilters {
            status_codes: log.filters.status_codes.into_iter().map(|it| it.0).collect(),
            retry_attempts: log.filters.retry_attempts,
            min_duration: log.filters.min_duration,
        },
        fields,
        headers: HeaderFields {
            default: headers.default_mode,
            names: headers.names.0.into_iter().filter_map(header).collect(),
        },
        drop_query: query_parameters == QueryMode::Drop,
        zone: None,
    };
    config.in_local_time()
}

pub(super) fn tracing(tracing: Tracing, reading: &mut Reading<'_>) -> Option<Traces> {
    let endpoint = endpoint(&tracing.endpoint, reading);
    let rate = *tracing.sample_rate.get_ref();
    if !(0.0..=1.0).contains(&rate) {
        let message = "`tracing.sample-rate` is a share";
        let finding = Finding::error(tracing.sample_rate.span(), message);
        reading.add(finding.hint("from 0.0, nothing, to 1.0, every request"));
    }
    let mut headers = Vec::with_capacity(tracing.headers.0.len());
    for (name, value) in tracing.headers.0 {
        let parsed = HeaderValue::from_str(value.get_ref());
        if parsed.is_err() {
            let finding = Finding::error(value.span(), "this cannot be the value of a header");
            reading.add(finding.hint("one line, without control characters"));
        }
        headers.extend(header_name(&name, reading).zip(parsed.ok()));
    }
    let mut names = |names: &[Spanned<String>]| -> Vec<HeaderName> {
        names.iter().filter_map(|name| header_name(name, reading)).collect()
    };
    let config = TraceConfig {
        sample_rate: rate,
        verbosity: tracing.verbosity,
        request_headers: names(&tracing.captured_request_headers),
        response_headers: names(&tracing.captured_response_headers),
        safe_query: tracing.safe_query_parameters,
    };
    let transport = tracing.tls.map(|it| {
        if endpoint.as_ref().is_some_and(|uri| uri.scheme_str() != Some("https")) {
            let message = "`tracing.tls` is for an endpoint that is encrypted";
            let hint = "write `endpoint = \"https://...\"`, or leave `tls` out";
            reading.add(Finding::error(it.span(), message).hint(hint));
        }
        tls::peer(it.into_inner(), reading)
    });
    let attributes = tracing.resource_attributes.0.into_iter();
    let attributes = attributes.map(|(name, value)| (name.into_inner(), value)).collect();
    let service = tracing.service_name;
    let transport = transport.unwrap_or_default();
    let collector = Collector { endpoint: endpoint?, headers, transport, service, attributes };
    Some(Traces { config, collector })
}

/// The place where a collector takes traces. One that has no path takes them at the usual one.
fn endpoint(text: &Spanned<String>, reading: &mut Reading<'_>) -> Option<Uri> {
    let found = parse_endpoint(text.get_ref());
    if found.is_none() {
        let message = "`tracing.endpoint` must be the URL of a collector";
        let hint = format!(
            "OTLP is spoken over HTTP, which collectors take at port 4318; gRPC (port 4317) is not: \
             write `endpoint = \"{}\"`",
            proposed(text.get_ref())
        );
        reading.add(Finding::error(text.span(), message).label("this is not").hint(hint));
    }
    found
}

/// A URL for what was meant: `localhost:4317` and `grpc://localhost:4317` → `http://localhost:4318`.
fn proposed(text: &str) -> String {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split('/').next().and_then(|it| it.parse::<Authority>().ok());
    let host = authority.as_ref().map(Authority::host).filter(|host| !host.is_empty());
    format!("http://{}:4318", host.unwrap_or("127.0.0.1"))
}

fn parse_endpoint(text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok()?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if !(matches!(uri.scheme_str(), Some("http" | "https")) && has_host) {
        return None;
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Some(uri);
    }
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::from_static("/v1/traces"));
    Uri::from_parts(parts).ok()
}

/// The name of a header, in lower case.
pub(super) fn header_name(name: &Spanned<String>, reading: &mut Reading<'_>) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.get_ref().as_bytes()).ok();
    if parsed.is_none() {
        let message = format!("{:?} cannot be the name of a header", name.get_ref());
        reading.add(Finding::error(name.span(), message));
    }
    parsed
}

impl Read for Statuses {
    const EXPECTED: &'static str = "a status or a range of them, such as 404 or \"500-599\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let text = match node.value {
            DeValue::String(text) => text.as_ref().to_owned(),
            DeValue::Integer(number) => number.to_string(),
            _ => {
                reading.add(node.mismatch(Self::EXPECTED));
                return None;
            }
        };
        let status = |text: &str| text.trim().parse().ok().filter(|it| (100..1000).contains(it));
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let range = status(first).zip(status(last)).filter(|(first, last)| first <= last);
        if range.is_none() {
            let finding = node.wrong(format!("must be {}", Self::EXPECTED));
            reading.add(finding.label("this is not one"));
        }
        range.map(|(first, last)| Self(first..=last))
    }
}

impl Word for QueryMode {
    const WORDS: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("drop", Self::Drop)];
}

impl Word for Capture {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("drop", Self::Drop), ("redact", Self::Redact)];
}

impl Word for AccessFormat {
    const WORDS: &'static [(&'static str, Self)] =
        &[("common", Self::Common), ("generic-clf", Self::GenericClf), ("json", Self::Json)];
}

impl Word for TraceVerbosity {
    const WORDS: &'static [(&'static str, Self)] = &Self::WORDS;
}

impl Read for TraceVerbosity {
    const EXPECTED: &'static str = "one of `minimal` and `detailed`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

impl Read for QueryMode {
    const EXPECTED: &'static str = "one of `keep` and `drop`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

impl Read for Capture {
    const EXPECTED: &'static str = "one of `keep`, `drop` and `redact`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

impl Read for AccessFormat {
    const EXPECTED: &'static str = "one of `common`, `generic-clf` and `json`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_endpoint, proposed};

    #[test]
    fn for_a_collector_of_grpc_its_place_for_http_is_proposed() {
        for text in ["otel:4317", "grpc://otel:4317", "otel"] {
            assert_eq!(proposed(text), "http://otel:4318", "{text}");
        }
        assert_eq!(proposed("[::1]:4317"), "http://[::1]:4318");
        assert_eq!(proposed(":4317"), "http://127.0.0.1:4318");
    }

    #[test]
    fn a_collector_without_a_path_takes_traces_at_the_usual_place() {
        for (text, expected) in [
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces")),
            ("https://otel.example/", Some("https://otel.example/v1/traces")),
            ("http://a/otlp/v1/traces", Some("http://a/otlp/v1/traces")),
            ("127.0.0.1:4318", None),
            ("ftp://a", None),
            ("/v1/traces", None),
        ] {
            let uri = parse_endpoint(text).map(|uri| uri.to_string());
            assert_eq!(uri.as_deref(), expected, "{text}");
        }
    }
}
