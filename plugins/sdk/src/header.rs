//! Whether a header can be set: to refuse a configuration rather than a request.

use crate::Header;

/// The host's own headers: hop-by-hop ones (RFC 9110, 7.6.1) and those that frame the message.
const FORBIDDEN: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a plugin may set a header of this name.
///
/// # Errors
///
/// One sentence that says why not: it is no token, or it is the host's own.
pub fn check_name(name: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err(format!("`{name}` is no header name"));
    }
    if FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
        return Err(format!("`{name}` is set by Portolan itself"));
    }
    Ok(())
}

/// Whether this can be the name of a header at all (a token: RFC 9110, 5.6.2).
pub fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// Whether this can be the value of a header.
///
/// # Errors
///
/// One sentence: it holds a control character (RFC 9110, 5.5).
pub fn check_value(value: &str) -> Result<(), String> {
    match value.chars().find(|letter| letter.is_ascii_control() && *letter != '\t') {
        Some(letter) => Err(format!("a header value cannot hold {letter:?}")),
        None => Ok(()),
    }
}

impl Header {
    /// One header line.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_that_are_not_the_hosts_own() {
        assert_eq!(check_name("X-Served-By"), Ok(()));
        assert_eq!(check_name("two words"), Err("`two words` is no header name".to_owned()));
        assert_eq!(check_name(""), Err("`` is no header name".to_owned()));
        assert_eq!(check_name("Host"), Err("`Host` is set by Portolan itself".to_owned()));
    }

    #[test]
    fn values_are_one_line() {
        assert_eq!(check_value("max-age=3, \u{e9}\t"), Ok(()));
        assert_eq!(check_value("a\nb"), Err("a header value cannot hold '\\n'".to_owned()));
    }
}
