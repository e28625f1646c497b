//! The origins that an operator grants: `http://127.0.0.1:8500`, `https://*.example.com`.

use std::{fmt, net::IpAddr};

use http::{Uri, uri::Scheme};

/// Scheme, host and port that requests may go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
    text: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Host {
    /// Every host.
    Any,
    /// Every name that ends so; the text starts with the dot.
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl Origin {
    /// Reads an origin as it stands in a grant.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("`{text}` is not an origin: {why}");
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| bad("write it as `http://host:port` or `https://host`"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            _ => return Err(bad("the scheme is http or https")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(bad("it has no path, query or user"));
        }
        let (host, port) = split_port(rest).ok_or_else(|| bad("the port is not a number"))?;
        let host = Host::parse(host).ok_or_else(|| bad("the host is missing or malformed"))?;
        let port = port.unwrap_or_else(|| default_port(&scheme));
        Ok(Self { scheme, host, port, text: text.to_owned() })
    }

    /// Whether a request to this URL is granted.
    pub(crate) fn covers(&self, url: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (url.scheme(), url.host()) else { return false };
        *scheme == self.scheme
            && url.port_u16().unwrap_or_else(|| default_port(scheme)) == self.port
            && self.host.covers(host)
    }

    /// Whether a connection to this address is granted, once a covered name has led to it.
    ///
    /// A wildcard covers names that the operator never saw; who owns such a name must not be able
    /// to lead us to services of this machine or to a cloud's metadata address.
    pub(crate) fn covers_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match &self.host {
            Host::Any | Host::Below(_) => !is_local(address),
            Host::Name(_) => true,
            Host::Address(granted) => address == *granted,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let text = text.to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let valid = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        match text.strip_prefix('*') {
            Some("") => Some(Self::Any),
            Some(below) if valid => Some(Self::Below(below.to_owned())),
            None if valid => Some(Self::Name(text)),
            _ => None,
        }
    }

    fn covers(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let address = bare.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
        match self {
            Self::Any => true,
            Self::Below(end) => address.is_none() && name.ends_with(end.as_str()),
            Self::Name(granted) => *granted == name,
            Self::Address(granted) => address == Some(*granted),
        }
    }
}

fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if text.ends_with(']') {
        return Some((text, None));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => port.parse().ok().map(|port| (host, Some(port))),
        None => Some((text, None)),
    }
}

fn default_port(scheme: &Scheme) -> u16 {
    if *scheme == Scheme::HTTPS { 443 } else { 80 }
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn covers(grant: &str, url: &str) -> bool {
        Origin::parse(grant).expect("a good grant").covers(&url.parse().expect("a good URL"))
    }

    #[test]
    fn an_origin_covers_its_scheme_host_and_port_only() {
        assert!(covers("http://127.0.0.1:8500", "http://127.0.0.1:8500/v1/catalog"));
        assert!(covers("http://127.0.0.1:8500", "http://[::ffff:127.0.0.1]:8500/"));
        assert!(!covers("http://127.0.0.1:8500", "http://127.0.0.1:8501/"));
        assert!(!covers("http://127.0.0.1:8500", "https://127.0.0.1:8500/"));
        assert!(!covers("http://127.0.0.1:8500", "http://localhost:8500/"));
        assert!(covers("https://Example.com", "https://example.COM./x"));
        assert!(covers("https://example.com", "https://example.com:443/x"));
        assert!(!covers("https://example.com", "https://www.example.com/"));
        assert!(covers("http://[::1]:80", "http://[::1]/"));
    }

    #[test]
    fn a_wildcard_covers_names_below_it() {
        assert!(covers("https://*.example.com", "https://a.example.com/"));
        assert!(covers("https://*.example.com", "https://a.b.example.com/"));
        assert!(!covers("https://*.example.com", "https://example.com/"));
        assert!(!covers("https://*.example.com", "https://badexample.com/"));
        assert!(covers("http://*:8500", "http://10.0.0.1:8500/"));
        assert!(!covers("http://*:8500", "http://10.0.0.1/"));
    }

    #[test]
    fn a_name_below_a_wildcard_must_not_lead_home() {
        let wild = Origin::parse("http://*.example.com").expect("a good grant");
        let named = Origin::parse("http://consul.local").expect("a good grant");
        for address in ["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0"] {
            let address = address.parse().expect("an address");
            assert!(!wild.covers_address(address), "{address}");
            assert!(named.covers_address(address), "{address}");
        }
        assert!(wild.covers_address("10.1.2.3".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in ["", "127.0.0.1:8500", "ftp://x", "http://", "http://a/b", "http://a:x"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
        for text in ["http://u@a", "http://*a", "http://a*.b", "http://a b"] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
    }
}
