//! The Common Log Format, as Traefik extends it:
//!
//! `host - user [time] "method path protocol" status size "referer" "user agent" count "router"
//! "backend" NNNms`
//!
//! or as all servers have it, which ends with the user agent.
//!
//! **Invariant:** always thirteen fields, or nine; what is not there is `-`, and the protocol of what could
//! not be read [`NO_PROTOCOL`].

use http::header::{REFERER, USER_AGENT};
use time::UtcOffset;

use super::{
    config::{AccessConfig, AccessFormat, Capture},
    entry::{Ending, Entry, Header, Side},
    field::{Field, NO_PROTOCOL},
    text,
};

/// Writes a line.
pub(super) fn write(out: &mut Vec<u8>, entry: &Entry, ending: &Ending<'_>, config: &AccessConfig) {
    let keep = |field| config.fields.of(field);
    let ip = ending.client.to_canonical().to_string();
    bare(out, ip.as_bytes(), keep(Field::ClientHost));
    out.extend(b" - ");
    match keep(Field::ClientUsername) {
        Capture::Keep if !entry.user.is_empty() => text::word(out, entry.user.as_bytes()),
        capture => bare(out, entry.user.as_bytes(), capture),
    }
    out.extend(b" [");
    match (keep(Field::StartUTC), keep(Field::StartLocal)) {
        (Capture::Keep, _) => text::common_time(out, entry.start, UtcOffset::UTC),
        // Who wants local time leaves the other out.
        (_, Capture::Keep) => text::common_time(out, entry.start, config.offset(entry.start)),
        _ => out.push(b'-'),
    }
    out.extend(b"] \"");
    let method = if entry.is_unread { "" } else { entry.method.as_str() };
    bare(out, method.as_bytes(), keep(Field::RequestMethod));
    out.push(b' ');
    bare(out, entry.path(config).as_bytes(), keep(Field::RequestPath));
    out.push(b' ');
    match keep(Field::RequestProtocol) {
        Capture::Keep | Capture::Redact if entry.is_unread => out.extend(NO_PROTOCOL.as_bytes()),
        capture => bare(out, text::protocol(entry.version).as_bytes(), capture),
    }
    out.extend(b"\" ");
    counted(out, ending.status.into(), keep(Field::DownstreamStatus));
    out.push(b' ');
    counted(out, ending.response_bytes, keep(Field::DownstreamContentSize));
    for name in [REFERER, USER_AGENT] {
        let found = entry.headers.iter().find(|it| it.side == Side::Request && it.name == name);
        out.push(b' ');
        match found {
            Some(Header { value: Some(value), .. }) => {
                quoted(out, value.as_bytes(), Capture::Keep);
            }
            Some(Header { value: None, .. }) => quoted(out, b"-", Capture::Redact),
            None => quoted(out, b"", Capture::Drop),
        }
    }
    if config.format == AccessFormat::GenericClf {
        out.push(b'\n');
        return;
    }
    out.push(b' ');
    counted(out, entry.count, keep(Field::RequestCount));
    out.push(b' ');
    quoted(out, entry.router.as_bytes(), keep(Field::RouterName));
    out.push(b' ');
    quoted(out, entry.url().as_bytes(), keep(Field::ServiceURL));
    out.push(b' ');
    let nanos = if keep(Field::Duration) == Capture::Keep { ending.nanos } else { 0 };
    text::number(out, nanos / 1_000_000);
    out.extend(b"ms\n");
}

fn bare(out: &mut Vec<u8>, value: &[u8], capture: Capture) {
    match capture {
        Capture::Keep if !value.is_empty() => text::plain(out, value),
        // That there is nothing is no secret.
        Capture::Redact if !value.is_empty() => out.extend(b"REDACTED"),
        Capture::Keep | Capture::Redact | Capture::Drop => out.push(b'-'),
    }
}

fn quoted(out: &mut Vec<u8>, value: &[u8], capture: Capture) {
    out.push(b'"');
    bare(out, value, capture);
    out.push(b'"');
}

fn counted(out: &mut Vec<u8>, value: u64, capture: Capture) {
    match capture {
        Capture::Keep => text::number(out, value),
        Capture::Drop => out.push(b'-'),
        Capture::Redact => out.extend(b"REDACTED"),
    }
}

impl Entry {
    /// The target, without its query where that is not wanted.
    pub(super) fn path(&self, config: &AccessConfig) -> &str {
        match config.drop_query {
            true => self.target.split('?').next().unwrap_or_default(),
            false => &self.target,
        }
    }

    /// The backend that was asked last; empty when none was.
    pub(super) fn url(&self) -> String {
        let url = |it: &super::entry::Backend| format!("{}://{}", it.scheme, it.authority);
        self.backend.as_ref().map(url).unwrap_or_default()
    }
}
