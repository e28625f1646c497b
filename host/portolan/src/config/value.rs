//! How single values are read: numbers, texts, addresses, paths, durations, sizes, JSON.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    ops::Range,
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use portolan_core::zone::Name;
use portolan_net::dns::{Place, Protocol, UpstreamConfig};
use serde_json::Value as Json;
use toml::de::{DeInteger, DeValue};

use super::{
    quantity::{ByteSize, parse_duration, parse_size},
    read::{Node, Read, Reading, listed},
    report::Finding,
};

/// A resolver: an address whose port is 53 unless it says otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Upstream(pub(super) UpstreamConfig);

/// A network, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Network(pub(super) IpNet);

/// A time to live: whole seconds (RFC 2181, 8: 31 bits), as a number or a duration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ttl(pub(super) u32);

/// One of a few words.
pub(super) trait Word: Copy + 'static {
    /// Each word and what it stands for.
    const WORDS: &'static [(&'static str, Self)];
}

/// Reads a string with `parse`; a finding with `expected` and `hint` if it is not one.
pub(super) fn read_text<T>(
    node: &Node<'_>,
    reading: &mut Reading<'_>,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    hint: impl FnOnce(&str) -> Option<String>,
) -> Option<T> {
    let DeValue::String(text) = node.value else {
        reading.add(node.mismatch(expected));
        return None;
    };
    if let Some(value) = parse(text) {
        return Some(value);
    }
    let finding = node.wrong(format!("must be {expected}")).label("this is not one");
    reading.add(match hint(text) {
        Some(hint) => finding.hint(hint),
        None => finding,
    });
    None
}

/// Reads an integer; a finding with `expected` if it is not one or out of range.
fn read_integer<T: TryFrom<i64>>(
    node: &Node<'_>,
    reading: &mut Reading<'_>,
    expected: &str,
) -> Option<T> {
    let DeValue::Integer(integer) = node.value else {
        reading.add(node.mismatch(expected));
        return None;
    };
    let value = to_i64(integer).and_then(|value| T::try_from(value).ok());
    if value.is_none() {
        reading.add(node.wrong(format!("must be {expected}")).label("out of range"));
    }
    value
}

fn to_i64(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Read for String {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_text(node, reading, Self::EXPECTED, |text| Some(text.to_owned()), |_| None)
    }
}

impl Read for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Boolean(value) = node.value else {
            reading.add(node.mismatch(Self::EXPECTED));
            return None;
        };
        Some(*value)
    }
}

impl Read for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let value = match node.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => to_i64(integer).map(|integer| integer as Self),
            _ => None,
        };
        if value.is_none() {
            reading.add(node.mismatch(Self::EXPECTED));
        }
        value
    }
}

impl Read for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number from 1 to 1024";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let number = read_integer::<u16>(node, reading, Self::EXPECTED)?;
        let valid = Self::new(number.into()).filter(|number| number.get() <= 1024);
        if valid.is_none() {
            reading.add(node.wrong(format!("must be {}", Self::EXPECTED)).label("out of range"));
        }
        valid
    }
}

impl Read for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_integer(node, reading, Self::EXPECTED)
    }
}

impl Read for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_integer(node, reading, Self::EXPECTED)
    }
}

impl Read for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let base = reading.base;
        let parse = |text: &str| (!text.is_empty()).then(|| base.join(text));
        read_text(node, reading, Self::EXPECTED, parse, |_| None)
    }
}

impl Read for SocketAddr {
    const EXPECTED: &'static str = "an IP address with a port, such as \"127.0.0.1:8000\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_text(node, reading, Self::EXPECTED, |text| text.parse().ok(), address_hint)
    }
}

const BAD_PORT: &str = "a port is a number up to 65535";
const NO_NAMES: &str = "names are not looked up here";

/// What was probably meant by something that is almost an address with a port.
fn address_hint(text: &str) -> Option<String> {
    let bracketed = "an IPv6 address with a port stands in brackets: \"[::1]:8000\"".to_owned();
    match text.parse() {
        Ok(IpAddr::V4(ip)) => return Some(format!("add a port: \"{ip}:8000\"")),
        Ok(IpAddr::V6(_)) => return Some(bracketed),
        Err(_) => (),
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>();
    match (host, port) {
        ("" | "*", Ok(port)) => Some(format!("every IPv4 address is \"0.0.0.0:{port}\"")),
        ("localhost", Ok(port)) => {
            Some(format!("did you mean \"{}\"?", SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)))
        }
        (_, Err(_)) => Some(BAD_PORT.to_owned()),
        (host, Ok(_)) if host.contains(':') => Some(bracketed),
        _ => Some(NO_NAMES.to_owned()),
    }
}

impl Read for IpAddr {
    const EXPECTED: &'static str = "an IP address, such as \"127.0.0.1\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let hint = |text: &str| {
            let address = text.parse::<SocketAddr>().ok()?;
            Some(format!("leave the port away: \"{}\"", address.ip()))
        };
        read_text(node, reading, Self::EXPECTED, |text| text.parse().ok(), hint)
    }
}

impl Read for Network {
    const EXPECTED: &'static str = "a network such as \"10.0.0.0/8\", or an IP address";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_text(node, reading, Self::EXPECTED, Self::parse, |_| None)
    }
}

impl Network {
    /// Reads a network, or one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        portolan_core::rule::network(text).map(Self)
    }
}

impl Read for Upstream {
    const EXPECTED: &'static str = "an IP address, with a port if it is not 53; \
        `tls://NAME`, `https://NAME/PATH` or `tls://IP#NAME` for one that encrypts";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let hint = |text: &str| {
            if text.contains("://") {
                return None;
            }
            let bad_port =
                text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err());
            Some(if bad_port { BAD_PORT } else { NO_NAMES }.to_owned())
        };
        read_text(node, reading, Self::EXPECTED, Self::parse, hint)
    }
}

impl Upstream {
    /// Reads an upstream as it is written.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (rest, name) = match rest.split_once('#') {
            Some((rest, name)) if !name.is_empty() => (rest, Some(name)),
            Some(_) => return None,
            None => (rest, None),
        };
        let (place, path) = match rest.find('/') {
            Some(slash) => (rest.get(..slash)?, rest.get(slash..)),
            None => (rest, None),
        };
        let port = match scheme {
            "udp" | "tcp" => 53,
            "tls" => 853,
            "https" => 443,
            _ => return None,
        };
        let place = Self::place(place, port)?;
        if matches!((scheme, &place), ("udp" | "tcp", Place::Named { .. })) {
            return None;
        }
        // Without a name the certificate must be for what is connected to.
        let named = || match (&place, name) {
            (_, Some(name)) => name.to_owned(),
            (Place::At(address), None) => address.ip().to_string(),
            (Place::Named { host, .. }, None) => host.to_string(),
        };
        let protocol = match (scheme, path) {
            ("https", path) => {
                let path = path.unwrap_or("/dns-query").to_owned();
                Protocol::Https { name: named(), path }
            }
            (_, Some(_)) => return None,
            ("tls", None) => Protocol::Tls { name: named() },
            _ if name.is_some() => return None,
            ("tcp", None) => Protocol::Tcp,
            _ => Protocol::Udp,
        };
        Some(Self(UpstreamConfig { place, protocol }))
    }

    fn place(text: &str, port: u16) -> Option<Place> {
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
        let alone = || bare.parse().ok().map(|ip| SocketAddr::new(ip, port));
        if let Some(address) = text.parse().ok().or_else(alone) {
            return Some(Place::At(address));
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, port),
        };
        // An address that is wrong is no name: no name ends with a number.
        let last = host.trim_end_matches('.').rsplit('.').next()?;
        let is_name = host.contains('.') && !last.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let host = Some(host).filter(|host| is_name && host.chars().all(is_plain))?;
        Some(Place::Named { host: Name::parse(host).ok()?.to_lower(), port })
    }
}

impl Read for Duration {
    const EXPECTED: &'static str = "a duration, such as \"500ms\", \"5s\" or \"1m30s\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_text(node, reading, Self::EXPECTED, parse_duration, unit_hint("ms, s, m, h and d"))
    }
}

impl Read for ByteSize {
    const EXPECTED: &'static str = "a size, such as \"64KiB\" or \"16MiB\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let units = "B, KiB, MiB, GiB, KB, MB and GB";
        read_text(node, reading, Self::EXPECTED, parse_size, unit_hint(units))
    }
}

fn unit_hint(units: &'static str) -> impl FnOnce(&str) -> Option<String> {
    move |_| Some(format!("whole numbers, each with a unit: {units}"))
}

impl Read for Ttl {
    const EXPECTED: &'static str = "seconds, such as 60, or a duration, such as \"1m\"";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let seconds = match node.value {
            DeValue::Integer(integer) => {
                to_i64(integer).and_then(|value| u32::try_from(value).ok())
            }
            DeValue::String(text) => parse_duration(text)
                .filter(|duration| duration.subsec_millis() == 0)
                .and_then(|duration| u32::try_from(duration.as_secs()).ok()),
            _ => {
                reading.add(node.mismatch(Self::EXPECTED));
                return None;
            }
        };
        let valid = seconds.filter(|seconds| *seconds <= i32::MAX.unsigned_abs());
        if valid.is_none() {
            reading.add(node.wrong(format!("must be {}", Self::EXPECTED)).label("this is not"));
        }
        valid.map(Self)
    }
}

/// Reads one of the words of `W`.
pub(super) fn read_word<W: Word>(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<W> {
    let words: Vec<_> = W::WORDS.iter().map(|(word, _)| *word).collect();
    let expected = format!("one of {}", listed(&words));
    let parse = |text: &str| W::WORDS.iter().find(|(word, _)| *word == text).map(|(_, word)| *word);
    let hint = |text: &str| {
        let word = portolan_core::name::nearest(text, words.iter().copied())?;
        Some(format!("did you mean `{word}`?"))
    };
    read_text(node, reading, &expected, parse, hint)
}

/// Dynamic configuration and what is a plugin's: not ours to judge.
impl Read for Json {
    const EXPECTED: &'static str = "a value";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        Some(to_json(node.value, node.span.clone(), reading))
    }
}

/// Dates become strings. What JSON cannot express becomes null, and a finding.
fn to_json(value: &DeValue<'_>, span: Range<usize>, reading: &mut Reading<'_>) -> Json {
    let number = match value {
        DeValue::String(text) => return Json::from(text.as_ref()),
        DeValue::Boolean(value) => return Json::from(*value),
        DeValue::Datetime(time) => return Json::from(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| to_json(item.get_ref(), item.span(), reading));
            return Json::Array(items.collect());
        }
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| {
                (key.get_ref().to_string(), to_json(value.get_ref(), value.span(), reading))
            });
            return Json::Object(entries.collect());
        }
        DeValue::Integer(integer) => to_i64(integer).map(Json::from).or_else(|| {
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().map(Json::from)
        }),
        DeValue::Float(float) => {
            let float = float.as_str().parse().ok();
            float.and_then(serde_json::Number::from_f64).map(Json::from)
        }
    };
    number.unwrap_or_else(|| {
        let finding = Finding::error(span, "JSON, as which this is handed on, has no such number");
        reading.add(finding.hint("no `nan`, no `inf`, no integer of more than 64 bits"));
        Json::Null
    })
}
