//! Static records: from the text of a configuration to data for the wire.
//!
//! Names in the data of a record follow what people write rather than RFC 1035 to the letter: a
//! name of one label is relative to the zone, a name with a dot is whole, `@` is the zone.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{
    StaticRecord,
    name::{self, Name, NameError},
    record::{self, RecordType},
};
use crate::name::nearest;

/// Why a static record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("`{0}` is not a record type that can be written here")]
    Type(String),
    #[error("`{text}` is not a name: {source}")]
    Name { text: String, source: NameError },
    #[error("`{0}` is not an IPv4 address")]
    Ipv4(String),
    #[error("`{0}` is not an IPv6 address")]
    Ipv6(String),
    #[error("`{text}` is not {what}")]
    Number { text: String, what: &'static str },
    #[error("the data of a record of type {rtype} is `{form}`")]
    Form { rtype: &'static str, form: &'static str },
    #[error("a string in it is longer than 255 bytes")]
    LongString,
    #[error("a quotation mark is not closed, or a backslash has nothing to escape")]
    Quotes,
    #[error("the data is longer than 65535 bytes")]
    LongData,
}

impl RecordError {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        let Self::Type(text) = self else { return None };
        let meant = nearest(text, RecordType::writable().map(|(_, name)| name));
        let known: Vec<_> = RecordType::writable().map(|(_, name)| name).collect();
        Some(match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("use one of {}", known.join(", ")),
        })
    }
}

/// The owner, type and body of a record as written in the zone of the given origin.
pub(super) fn parse(
    record: &StaticRecord,
    origin: &Name,
) -> Result<(Name, RecordType, Vec<u8>), RecordError> {
    let (rtype, _) = RecordType::writable()
        .find(|(_, name)| name.eq_ignore_ascii_case(&record.rtype))
        .ok_or_else(|| RecordError::Type(record.rtype.clone()))?;
    let owner = owner(&record.name, origin)?;
    let data = data(rtype, &record.data, origin)?;
    if data.len() > usize::from(u16::MAX) {
        return Err(RecordError::LongData);
    }
    Ok((owner, rtype, record::body(rtype, record.ttl, &data)))
}

/// `@` is the zone; a name that already ends with the zone is whole; any other is relative.
fn owner(text: &str, origin: &Name) -> Result<Name, RecordError> {
    let failed = |source| RecordError::Name { text: text.to_owned(), source };
    if text == "@" {
        return Ok(origin.clone());
    }
    let name = Name::parse(text).map_err(failed)?.to_lower();
    if name.is_within(origin) {
        return Ok(name);
    }
    Name::below(origin, name::labels(name.as_bytes())).map_err(failed)
}

fn target(text: &str, origin: &Name) -> Result<Name, RecordError> {
    let failed = |source| RecordError::Name { text: text.to_owned(), source };
    if text == "@" {
        return Ok(origin.clone());
    }
    let name = Name::parse(text).map_err(failed)?;
    if text.ends_with('.') || name::labels(name.as_bytes()).count() > 1 {
        return Ok(name);
    }
    Name::below(origin, name::labels(name.as_bytes())).map_err(failed)
}

fn data(rtype: RecordType, text: &str, origin: &Name) -> Result<Vec<u8>, RecordError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match (rtype, words.as_slice()) {
        (_, ["\\#", length, digits @ ..]) => generic(rtype, length, &digits.concat()),
        (RecordType::A, [address]) => address
            .parse::<Ipv4Addr>()
            .map(|address| address.octets().to_vec())
            .ok()
            .ok_or_else(|| RecordError::Ipv4((*address).to_owned())),
        (RecordType::AAAA, [address]) => address
            .parse::<Ipv6Addr>()
            .map(|address| address.octets().to_vec())
            .ok()
            .ok_or_else(|| RecordError::Ipv6((*address).to_owned())),
        (RecordType::CNAME | RecordType::NS | RecordType::PTR, [name]) => {
            Ok(target(name, origin)?.as_bytes().to_vec())
        }
        (RecordType::MX, [preference, name]) => numbers(&[preference], &target(name, origin)?),
        (RecordType::SRV, [priority, weight, port, name]) => {
            numbers(&[priority, weight, port], &target(name, origin)?)
        }
        (RecordType::TXT, _) => txt(text),
        (RecordType::CAA, _) => caa(text),
        (RecordType::TLSA, [usage, selector, matching, digits @ ..]) if !digits.is_empty() => {
            let numbers = [usage, selector, matching].map(|it| it.parse::<u8>().ok());
            let [Some(usage), Some(selector), Some(matching)] = numbers else {
                return Err(form(rtype));
            };
            let association = hexadecimal(&digits.concat()).ok_or_else(|| form(rtype))?;
            Ok([vec![usage, selector, matching], association].concat())
        }
        (RecordType::NAPTR, _) => naptr(text, origin),
        (other, _) => Err(form(other)),
    }
}

fn form(rtype: RecordType) -> RecordError {
    let (rtype, form) = match rtype {
        RecordType::A => ("A", "<IPv4 address>"),
        RecordType::AAAA => ("AAAA", "<IPv6 address>"),
        RecordType::MX => ("MX", "<preference> <name>"),
        RecordType::SRV => ("SRV", "<priority> <weight> <port> <name>"),
        RecordType::CAA => ("CAA", "<flags> <tag> \"<value>\""),
        RecordType::TXT => ("TXT", "\"<string>\" ..."),
        RecordType::TLSA => ("TLSA", "<usage> <selector> <matching> <hexadecimal digits>"),
        RecordType::NAPTR => {
            ("NAPTR", "<order> <preference> \"<flags>\" \"<services>\" \"<regexp>\" <name>")
        }
        RecordType::HTTPS => ("HTTPS", "\\# <length> <hexadecimal digits>"),
        RecordType::SVCB => ("SVCB", "\\# <length> <hexadecimal digits>"),
        RecordType::CNAME => ("CNAME", "<name>"),
        RecordType::NS => ("NS", "<name>"),
        _ => ("PTR", "<name>"),
    };
    RecordError::Form { rtype, form }
}

fn numbers(texts: &[&str], target: &Name) -> Result<Vec<u8>, RecordError> {
    let mut data = Vec::with_capacity(texts.len() * 2 + target.as_bytes().len());
    for text in texts {
        let number: u16 = text.parse().ok().ok_or_else(|| RecordError::Number {
            text: (*text).to_owned(),
            what: "a number up to 65535",
        })?;
        data.extend_from_slice(&number.to_be_bytes());
    }
    data.extend_from_slice(target.as_bytes());
    Ok(data)
}

/// Any data, as hexadecimal digits (RFC 3597, 5).
fn generic(rtype: RecordType, length: &str, digits: &str) -> Result<Vec<u8>, RecordError> {
    let data = hexadecimal(digits).ok_or_else(|| form(rtype))?;
    let is_whole = length.parse() == Ok(data.len());
    if is_whole { Ok(data) } else { Err(form(rtype)) }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let bytes = digits.as_bytes();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|it| it.len() == 2)?;
        u8::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'))
    };
    bytes.chunks(2).map(byte).collect()
}

/// RFC 3403, 4.1.
fn naptr(text: &str, origin: &Name) -> Result<Vec<u8>, RecordError> {
    let strings = strings(text)?;
    let [order, preference, flags, services, regexp, name] = strings.as_slice() else {
        return Err(form(RecordType::NAPTR));
    };
    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut data = Vec::new();
    for number in [order, preference] {
        let number: u16 = plain(number).parse().ok().ok_or_else(|| form(RecordType::NAPTR))?;
        data.extend_from_slice(&number.to_be_bytes());
    }
    for string in [flags, services, regexp] {
        data.push(u8::try_from(string.len()).ok().ok_or(RecordError::LongString)?);
        data.extend_from_slice(string);
    }
    data.extend_from_slice(target(&plain(name), origin)?.as_bytes());
    Ok(data)
}

/// Text without quotation marks is one string, blanks and all, and is cut where it is too long:
/// that is what people mean by `data = "v=spf1 -all"`.
fn txt(text: &str) -> Result<Vec<u8>, RecordError> {
    let strings = match text.trim_start().starts_with('"') {
        true => strings(text)?,
        false => text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect(),
    };
    let mut data = Vec::with_capacity(text.len() + 1);
    for string in &strings {
        data.push(u8::try_from(string.len()).ok().ok_or(RecordError::LongString)?);
        data.extend_from_slice(string);
    }
    if data.is_empty() {
        data.push(0);
    }
    Ok(data)
}

/// RFC 8659, 4.1.1.
fn caa(text: &str) -> Result<Vec<u8>, RecordError> {
    let strings = strings(text)?;
    let [flags, tag, value] = strings.as_slice() else { return Err(form(RecordType::CAA)) };
    let number = std::str::from_utf8(flags).ok().and_then(|flags| flags.parse::<u8>().ok());
    let flags = number.ok_or_else(|| RecordError::Number {
        text: String::from_utf8_lossy(flags).into_owned(),
        what: "a number up to 255",
    })?;
    if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
        return Err(form(RecordType::CAA));
    }
    let mut data = vec![flags, u8::try_from(tag.len()).ok().ok_or(RecordError::LongString)?];
    data.extend_from_slice(tag);
    data.extend_from_slice(value);
    Ok(data)
}

/// Words and quoted strings, with escapes (RFC 1035, 5.1).
fn strings(text: &str) -> Result<Vec<Vec<u8>>, RecordError> {
    let mut found = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    let mut is_quoted = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                match is_quoted {
                    true => found.extend(current.take()),
                    false => current = Some(Vec::new()),
                }
                is_quoted = !is_quoted;
            }
            b'\\' => {
                let byte = name::unescape(&mut bytes).ok().ok_or(RecordError::Quotes)?;
                current.get_or_insert_default().push(byte);
            }
            b' ' | b'\t' if !is_quoted => found.extend(current.take()),
            other => current.get_or_insert_default().push(other),
        }
    }
    if is_quoted {
        return Err(RecordError::Quotes);
    }
    found.extend(current);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let record = StaticRecord { name: word(), rtype: word(), data: word(), ttl: 60 };
        let text = match parse(&record, &Name::parse("infra.local").unwrap()) {
            Ok((owner, _, body)) => format!("{owner} {}", record::body_text(&body)),
            Err(error) => match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            },
        };
        assert_eq!(text, expected, "{line}");
    }

    #[test]
    fn records_of_every_type_are_read() {
        check("a HTTPS \\# 3 00 01 00", "a.infra.local 60 HTTPS \\# 3 00 01 00");
        check(
            "a HTTPS 1 .",
            "the data of a record of type HTTPS is `\\# <length> <hexadecimal digits>`",
        );
        check("a TLSA 3 1 1 0aff", "a.infra.local 60 TLSA \\# 5 03 01 01 0a ff");
        check(
            "a NAPTR 10 20 s SIP+D2U \"\" _sip._udp.x.y.",
            "a.infra.local 60 NAPTR \\# 30 00 0a 00 14 01 73 07 53 49 50 2b 44 32 55 00 04 5f 73 69 70 04 \
             5f 75 64 70 01 78 01 79 00",
        );
        check("a A 10.0.0.7", "a.infra.local 60 A 10.0.0.7");
        check("A.Infra.Local a 10.0.0.7", "a.infra.local 60 A 10.0.0.7");
        check("@ AAAA fd00::7", "infra.local 60 AAAA fd00::7");
        check("* CNAME a", "*.infra.local 60 CNAME a.infra.local.");
        check("www CNAME shop.example", "www.infra.local 60 CNAME shop.example.");
        check("www CNAME tld.", "www.infra.local 60 CNAME tld.");
        check("@ MX 10 mail", "infra.local 60 MX 10 mail.infra.local.");
        check("@ MX 0 .", "infra.local 60 MX 0 .");
        check("_x._tcp SRV 0 5 80 a", "_x._tcp.infra.local 60 SRV 0 5 80 a.infra.local.");
        check("@ NS ns1.example.", "infra.local 60 NS ns1.example.");
        check("7 PTR @", "7.infra.local 60 PTR infra.local.");
        check("@ TXT v=spf1 -all", "infra.local 60 TXT \"v=spf1 -all\"");
        check(r#"@ TXT "a" "b\"c""#, r#"infra.local 60 TXT "a" "b\"c""#);
        check(r#"@ CAA 0 issue "ca.example""#, r#"infra.local 60 CAA 0 issue "ca.example""#);
    }

    #[test]
    fn bad_records_say_what_is_wrong() {
        check("a A fd00::1", "`fd00::1` is not an IPv4 address");
        check("a AAAA 10.0.0.1", "`10.0.0.1` is not an IPv6 address");
        check("a A 1 2", "the data of a record of type A is `<IPv4 address>`");
        check(
            "a SRV 0 5 a",
            "the data of a record of type SRV is `<priority> <weight> <port> <name>`",
        );
        check("a MX x a", "`x` is not a number up to 65535");
        check("a..b A 10.0.0.1", "`a..b` is not a name: a label is empty");
        check(
            r#"a TXT "x"#,
            "a quotation mark is not closed, or a backslash has nothing to escape",
        );
        check(
            "a CNAM b",
            "`CNAM` is not a record type that can be written here; did you mean `CNAME`?",
        );
        check("a CAA 300 issue x", "`300` is not a number up to 255");
        check(&format!("a TXT \"{}\"", "x".repeat(256)), "a string in it is longer than 255 bytes");
    }
}
