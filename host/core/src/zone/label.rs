//! How the things of the catalog are spelled in names and texts.

use std::{borrow::Cow, net::IpAddr};

use super::name;

/// A service name as one label: lower case, and a hyphen for what a host name cannot have.
pub(super) fn to_label(service: &str) -> Cow<'_, str> {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if service.bytes().all(is_plain) {
        return service.trim_matches('-').into();
    }
    let label: String = service
        .chars()
        .map(|character| match character.to_ascii_lowercase() {
            allowed @ ('a'..='z' | '0'..='9') => allowed,
            _ => '-',
        })
        .collect();
    label.trim_matches('-').to_owned().into()
}

/// In lower case.
pub(super) fn lowered(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

/// Whether somebody may ask for this tag: most tags are configuration, not names.
pub(super) fn is_host_like(tag: &str) -> bool {
    tag.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// 8 or 32 hexadecimal digits.
pub(super) fn hex_label(address: IpAddr) -> String {
    let spelled = |octets: &[u8]| {
        let mut label = String::with_capacity(2 * octets.len());
        let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        label.extend(digits.map(|digit| char::from(name::hex(digit))));
        label
    };
    match address {
        IpAddr::V4(address) => spelled(&address.octets()),
        IpAddr::V6(address) => spelled(&address.octets()),
    }
}

/// RFC 1464; a key that begins with `rfc1035-` is left out (Consul).
pub(super) fn meta_text(key: &str, value: &str) -> Vec<u8> {
    if key.starts_with("rfc1035-") {
        return value.into();
    }
    let inner = key.trim_matches([' ', '\t']);
    let (before, after) = key.split_once(inner).unwrap_or((key, ""));
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    let blanks = |text: &mut String, part: &str| {
        for blank in part.chars() {
            text.extend(['`', blank]);
        }
    };
    blanks(&mut text, before);
    for character in inner.chars() {
        if matches!(character, '`' | '=') {
            text.push('`');
        }
        text.push(character);
    }
    blanks(&mut text, after);
    text.push('=');
    // Of what is special in a key only this one is in a value.
    text.push_str(&value.replace('`', "``"));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_become_labels() {
        for (service, label) in [
            ("Redis", "redis"),
            ("my_app.v2", "my-app-v2"),
            ("-x-", "x"),
            ("grün", "gr-n"),
            ("_", ""),
        ] {
            assert_eq!(to_label(service), label, "{service}");
        }
    }

    #[test]
    fn configuration_is_no_name() {
        for (tag, expected) in [
            ("primary", true),
            ("v1.blue_2", true),
            ("traefik.enable=true", false),
            ("Host(`a.b`)", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(is_host_like(tag), expected, "{tag}");
        }
    }

    #[test]
    fn meta_is_escaped() {
        for (key, value, text) in [
            ("os", "linux=6", "os=linux=6"),
            ("a=b", "c", "a`=b=c"),
            ("a`b", "c", "a``b=c"),
            (" a b ", "c", "` a b` =c"),
            ("a", " `b` =c ", "a= ``b`` =c "),
            ("rfc1035-note", "plain", "plain"),
            ("", "c", "=c"),
        ] {
            assert_eq!(String::from_utf8(meta_text(key, value)).unwrap(), text, "{key}");
        }
    }
}
