//! A line as a JSON object, with Traefik's keys.
//!
//! **Invariant:** one object, one line; keys in their order; durations in nanoseconds. A key without a
//! value is not there, but those that each request has are in every line.

use std::time::SystemTime;

use time::UtcOffset;

use super::{
    config::{AccessConfig, Capture},
    entry::{Ending, Entry, Side},
    field::Field,
    text,
};

/// A value in the making.
enum Value<'a> {
    Text(&'a [u8]),
    Number(u64),
    Ratio(u64, u64),
    Time(SystemTime, UtcOffset),
}

/// Writes a line.
pub(super) fn write(out: &mut Vec<u8>, entry: &Entry, ending: &Ending<'_>, config: &AccessConfig) {
    let mut object = Object { out, is_empty: true, is_redacted: false };
    let (capitals, others) = Field::ALL.split_at(Field::EntryPointName as usize);
    for field in capitals {
        object.field(*field, entry, ending, config);
    }
    object.headers(Side::Downstream, entry);
    if let [entrypoint, ..] = others {
        object.field(*entrypoint, entry, ending, config);
    }
    object.pair("level", &Value::Text(b"info"));
    object.pair("msg", &Value::Text(b""));
    object.headers(Side::Origin, entry);
    object.headers(Side::Request, entry);
    object.field(Field::OtelSpanId, entry, ending, config);
    object.key("time");
    object.out.push(b'"');
    let end = entry.start + std::time::Duration::from_nanos(ending.nanos);
    text::rfc3339(object.out, end, config.offset(end), false);
    object.out.push(b'"');
    object.field(Field::OtelTraceId, entry, ending, config);
    out.extend(b"}\n");
}

struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
    /// Whether what is written now is a secret.
    is_redacted: bool,
}

impl Object<'_> {
    fn field(&mut self, field: Field, entry: &Entry, ending: &Ending<'_>, config: &AccessConfig) {
        self.is_redacted = match config.fields.of(field) {
            Capture::Drop => return,
            Capture::Redact => true,
            Capture::Keep => false,
        };
        self.kept(field, entry, ending, config);
        self.is_redacted = false;
    }

    fn kept(&mut self, field: Field, entry: &Entry, ending: &Ending<'_>, config: &AccessConfig) {
        use Value::{Number, Ratio, Text, Time};
        if let Some(blank) = field.unread().filter(|_| entry.is_unread) {
            // That nothing could be read is no secret.
            self.is_redacted = false;
            return self.pair(field.as_str(), &Text(blank.as_bytes()));
        }
        let (peer, client) = (ending.peer, ending.client);
        let key = field.as_str();
        let origin = ending.origin;
        let known = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (host, port) = text::split(&entry.authority);
        let text = match field {
            Field::ClientAddr => Some(peer.to_string()),
            Field::ClientHost => Some(client.to_canonical().to_string()),
            Field::ClientPort => Some(peer.port().to_string()),
            Field::ClientUsername => {
                // That there is none is no secret.
                self.is_redacted &= !entry.user.is_empty();
                Some(known(&entry.user))
            }
            Field::Reason => ending.reason.map(|reason| reason.as_str().to_owned()),
            Field::RequestAddr => some(&entry.authority),
            Field::RequestHost => some(host),
            Field::RequestMethod => Some(entry.method.to_string()),
            Field::RequestPath => Some(entry.path(config).to_owned()),
            Field::RequestPort => Some(port.to_owned()).filter(|_| !entry.authority.is_empty()),
            Field::RequestProtocol => Some(text::protocol(entry.version).to_owned()),
            Field::RequestScheme => {
                Some(if ending.encryption.is_some() { "https" } else { "http" }.to_owned())
            }
            Field::RouterName => some(&entry.router),
            Field::ServiceAddr => entry.backend.as_ref().map(|it| it.authority.clone()),
            Field::ServiceName => some(&entry.service),
            Field::ServiceURL => some(&entry.url()),
            Field::TLSCipher => ending.encryption.map(|it| it.cipher.to_owned()),
            Field::TLSClientSubject => ending.subject.map(str::to_owned),
            Field::TLSVersion => ending.encryption.map(|it| it.version.to_owned()),
            Field::EntryPointName => some(ending.entrypoint),
            Field::SpanId | Field::OtelSpanId => {
                ending.trace.map(|(_, span)| String::from_utf8_lossy(&span).into_owned())
            }
            Field::TraceId | Field::OtelTraceId => {
                ending.trace.map(|(trace, _)| String::from_utf8_lossy(&trace).into_owned())
            }
            Field::StartLocal => {
                return self.pair(key, &Time(entry.start, config.offset(entry.start)));
            }
            Field::StartUTC => return self.pair(key, &Time(entry.start, UtcOffset::UTC)),
            Field::DownstreamContentSize => return self.pair(key, &Number(ending.response_bytes)),
            // Whatever it was compressed with.
            Field::GzipRatio => {
                let (before, after) = (ending.origin_bytes, ending.response_bytes);
                if origin.is_some() && before != after && after > 0 {
                    self.pair(key, &Ratio(before, after));
                }
                return;
            }
            Field::DownstreamStatus => return self.pair(key, &Number(ending.status.into())),
            Field::Duration => return self.pair(key, &Number(ending.nanos)),
            Field::Overhead => {
                let elsewhere = origin.map_or(0, |it| it.nanos);
                return self.pair(key, &Number(ending.nanos.saturating_sub(elsewhere)));
            }
            Field::RequestContentSize => return self.pair(key, &Number(ending.request_bytes)),
            Field::RequestCount => return self.pair(key, &Number(entry.count)),
            Field::RetryAttempts => return self.pair(key, &Number(ending.retries.into())),
            // As in Traefik they are always there, 0 where no backend was asked; where one gave no answer,
            // what was answered in its place counts.
            Field::OriginDuration => {
                return self.pair(key, &Number(origin.map_or(0, |it| it.nanos)));
            }
            Field::OriginStatus => {
                let status = origin.map_or(0, |it| it.status.unwrap_or(ending.status));
                return self.pair(key, &Number(status.into()));
            }
            Field::OriginContentSize => {
                return self.pair(key, &Number(origin.map_or(0, |_| ending.origin_bytes)));
            }
        };
        if let Some(text) = text {
            self.pair(key, &Text(text.as_bytes()));
        }
    }

    /// The headers of one side, in the order of their names; lines of one name are joined.
    fn headers(&mut self, side: Side, entry: &Entry) {
        let mut headers: Vec<_> = entry.headers.iter().filter(|it| it.side == side).collect();
        headers.sort_by(|left, right| left.name.as_str().cmp(right.name.as_str()));
        for lines in headers.chunk_by(|left, right| left.name == right.name) {
            let Some(first) = lines.first() else { continue };
            let values = lines.iter().filter_map(|it| it.value.as_ref());
            let values: Vec<_> = values.map(http::HeaderValue::as_bytes).collect();
            let is_redacted = values.is_empty();
            let joined = values.join(&b","[..]);
            let name = format!("{}{}", side.prefix(), canonical(first.name.as_str()));
            let value = if is_redacted { &b"REDACTED"[..] } else { &*joined };
            self.pair(&name, &Value::Text(value));
        }
    }

    fn pair(&mut self, key: &str, value: &Value<'_>) {
        self.key(key);
        match value {
            _ if self.is_redacted => self.out.extend(b"\"REDACTED\""),
            Value::Number(number) => text::number(self.out, *number),
            Value::Ratio(whole, part) => text::ratio(self.out, *whole, *part),
            Value::Text(value) => {
                self.out.push(b'"');
                text::json(self.out, value);
                self.out.push(b'"');
            }
            Value::Time(moment, offset) => {
                self.out.push(b'"');
                text::rfc3339(self.out, *moment, *offset, true);
                self.out.push(b'"');
            }
        }
    }

    fn key(&mut self, key: &str) {
        self.out.push(if std::mem::take(&mut self.is_empty) { b'{' } else { b',' });
        self.out.push(b'"');
        text::json(self.out, key.as_bytes());
        self.out.extend(b"\":");
    }
}

impl Side {
    fn prefix(self) -> &'static str {
        match self {
            Self::Request => "request_",
            Self::Origin => "origin_",
            Self::Downstream => "downstream_",
        }
    }
}

/// `user-agent` → `User-Agent`, as Go spells it.
fn canonical(name: &str) -> String {
    let mut capital = true;
    let spelled = name.chars().map(|c| {
        let spelled = if capital { c.to_ascii_uppercase() } else { c };
        capital = c == '-';
        spelled
    });
    spelled.collect()
}
