//! The headers by which a backend learns who asked, for which host and how: `X-Forwarded-…`.
//!
//! Rules see what the proxies before us said of the client, as in Traefik; our own peer is added
//! behind them, when the router is known.
//!
//! **Invariant:** nothing that a client says about its own address, scheme or host survives; the
//! backend reads what we saw.

use std::net::IpAddr;

use http::{
    HeaderName, HeaderValue,
    header::{Entry, HOST},
};
use portolan_core::{
    exchange::{Headers, Names, write_line},
    rule::forwarded_address,
};

use super::config::Telling;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_SERVER: HeaderName = HeaderName::from_static("x-forwarded-server");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Who asked, as the backend is told.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    /// The address of the client.
    address: HeaderValue,
    /// Whether the client's connection is encrypted.
    tls: bool,
    /// The name of this machine.
    server: HeaderValue,
    /// Whether the client is a proxy whose word is taken.
    pub(crate) is_trusted: bool,
    /// What is told otherwise than usual.
    telling: Telling,
    /// What is the same for all of its requests, as it is sent: of our peer, and the rest.
    lines: [Box<[u8]>; 2],
}

/// The names of the second of these, without those that are asked for.
const NAMES: Names = Names::of(b"x-real-ip")
    .and(Names::of(b"x-forwarded-proto"))
    .and(Names::of(b"x-forwarded-server"));
const SCHEME_NAMES: Names = Names::of(b"x-forwarded-scheme").and(Names::of(b"x-scheme"));

impl Forwarded {
    /// What is told of a client.
    pub(crate) fn new(address: IpAddr, tls: bool, server: HeaderValue, is_trusted: bool) -> Self {
        let address = HeaderValue::try_from(address.to_canonical().to_string());
        // The text of an address is a valid header value.
        let address = address.unwrap_or(HeaderValue::from_static("unknown"));
        let mut told = Self {
            address,
            tls,
            server,
            is_trusted,
            telling: Telling::default(),
            lines: Default::default(),
        };
        if !is_trusted {
            let [mut peer, mut rest] = [Vec::new(), Vec::new()];
            write_line(&mut peer, &X_FORWARDED_FOR, told.address.as_bytes());
            write_line(&mut rest, &X_REAL_IP, told.address.as_bytes());
            write_line(&mut rest, &X_FORWARDED_PROTO, told.proto(false).as_bytes());
            write_line(&mut rest, &X_FORWARDED_SERVER, told.server.as_bytes());
            told.lines = [peer.into(), rest.into()];
        }
        told
    }

    /// The same, told otherwise.
    pub(crate) fn telling(mut self, telling: Telling) -> Self {
        self.telling = telling;
        if telling.scheme && !self.is_trusted {
            let proto = self.proto(false);
            let [_, rest] = &mut self.lines;
            let mut lines = Vec::from(std::mem::take(rest));
            write_line(&mut lines, &X_FORWARDED_SCHEME, proto.as_bytes());
            write_line(&mut lines, &X_SCHEME, proto.as_bytes());
            *rest = lines.into();
        }
        self
    }

    /// Tells rules and backend for which host and how it was asked, as Traefik does for a peer it does
    /// not trust. `authority` is that of the target where it has one; else `Host` is. What such a peer
    /// says of a client is gone already.
    pub(crate) fn tell(&self, headers: &mut Headers, authority: Option<&str>, websocket: bool) {
        if self.is_trusted {
            return self.add(headers, authority, websocket);
        }
        let [_, lines] = &self.lines;
        let names = if self.telling.scheme { NAMES.and(SCHEME_NAMES) } else { NAMES };
        // Whoever wants to change the protocol, or says such things itself, has no lines.
        if authority.is_none() && headers.add_text(lines, names) {
            headers.add(&X_FORWARDED_PORT, &port(headers.host(), self.tls));
            return headers.repeat_host(&X_FORWARDED_HOST);
        }
        headers.set(&X_REAL_IP, &self.address);
        headers.set(&X_FORWARDED_PROTO, &self.proto(websocket));
        headers.set(&X_FORWARDED_SERVER, &self.server);
        self.repeat_scheme(headers);
        let host = authority.map(str::as_bytes).or_else(|| headers.host());
        let host = host.and_then(|host| HeaderValue::from_bytes(host).ok());
        headers.set(&X_FORWARDED_PORT, &port(host.as_ref().map(HeaderValue::as_bytes), self.tls));
        match host {
            Some(host) => headers.set(&X_FORWARDED_HOST, &host),
            None => headers.take_out(&X_FORWARDED_HOST),
        }
    }

    /// Adds to what a proxy before us said, and says what it did not.
    fn add(&self, headers: &mut Headers, authority: Option<&str>, websocket: bool) {
        let host = match authority {
            Some(authority) => HeaderValue::from_str(authority).ok(),
            None => headers.value(&HOST).filter(|host| !host.is_empty()),
        };
        // What is empty says nothing, as in Traefik.
        let is_said = |headers: &Headers, name: &HeaderName| {
            headers.first(name).is_some_and(|value| !value.is_empty())
        };
        if !is_said(headers, &X_REAL_IP) {
            headers.set(&X_REAL_IP, &self.address);
        }
        if !is_said(headers, &X_FORWARDED_PROTO) {
            headers.set(&X_FORWARDED_PROTO, &self.proto(websocket));
        }
        self.repeat_scheme(headers);
        if !is_said(headers, &X_FORWARDED_PORT) {
            let is_tls = matches!(headers.first(&X_FORWARDED_PROTO), Some(b"https" | b"wss"));
            // Behind a proxy that ends TLS it is the proxy's port that the client came to.
            let port = port(host.as_ref().map(HeaderValue::as_bytes), self.tls || is_tls);
            headers.set(&X_FORWARDED_PORT, &port);
        }
        // Not of who asked, but of who is answered.
        headers.set(&X_FORWARDED_SERVER, &self.server);
        if let Some(host) = host.filter(|_| !is_said(headers, &X_FORWARDED_HOST)) {
            headers.set(&X_FORWARDED_HOST, &host);
        }
    }

    /// Says under the names of others what `X-Forwarded-Proto` says, where that is asked for.
    fn repeat_scheme(&self, headers: &mut Headers) {
        if let Some(scheme) =
            self.telling.scheme.then(|| headers.value(&X_FORWARDED_PROTO)).flatten()
        {
            headers.set(&X_FORWARDED_SCHEME, &scheme);
            headers.set(&X_SCHEME, &scheme);
        }
    }

    /// Puts our own peer behind those of whom the proxies before us told.
    pub(crate) fn add_peer(&self, headers: &mut Headers) {
        if self.telling.hides_peer {
            return;
        }
        let [line, _] = &self.lines;
        if !self.is_trusted && headers.add_text(line, Names::of(b"x-forwarded-for")) {
            return;
        }
        if headers.first(&X_FORWARDED_FOR).is_none() {
            return headers.set(&X_FORWARDED_FOR, &self.address);
        }
        let Entry::Occupied(mut lines) = headers.entry(X_FORWARDED_FOR) else { return };
        let said = lines.iter().filter(|line| !line.is_empty());
        let mut chain = said.fold(Vec::new(), |mut chain, line| {
            chain.extend_from_slice(line.as_bytes());
            chain.extend_from_slice(b", ");
            chain
        });
        chain.extend_from_slice(self.address.as_bytes());
        // Valid lines joined by valid bytes are valid.
        if let Ok(chain) = HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)) {
            lines.insert(chain);
        }
    }

    fn proto(&self, websocket: bool) -> HeaderValue {
        HeaderValue::from_static(match (self.tls, websocket) {
            (false, false) => "http",
            (false, true) => "ws",
            (true, false) => "https",
            (true, true) => "wss",
        })
    }
}

/// The port that the client came to.
fn port(host: Option<&[u8]>, tls: bool) -> HeaderValue {
    let host = host.unwrap_or_default();
    let colon = host.iter().rposition(|byte| !byte.is_ascii_digit());
    // The colons of an IPv6 address stand in brackets.
    let port = colon.and_then(|colon| host.get(colon..)?.strip_prefix(b":"));
    let default = if tls { "443" } else { "80" };
    let port = port.filter(|port| !port.is_empty());
    let port = port.and_then(|port| HeaderValue::from_bytes(port).ok());
    port.unwrap_or_else(|| HeaderValue::from_static(default))
}

/// The client that proxies before us speak for: the last address that none of ours has, since what
/// stands before it may be forged; if all are ours, the first.
pub(crate) fn client_behind(headers: &Headers, is_ours: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut first = None;
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        // As bytes: a word that is no text must not hide those behind it, which proxies wrote.
        let words = line.as_bytes().rsplit(|byte| *byte == b',');
        for word in words.filter(|word| !word.trim_ascii().is_empty()) {
            let address = forwarded_address(word)?;
            if !is_ours(address) {
                return Some(address);
            }
            first = Some(address);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::{clean_request, tests::map};

    #[test]
    fn the_backend_is_told_what_we_saw() {
        let (client, server) = ([192, 0, 2, 1].into(), HeaderValue::from_static("edge"));
        let origin = Forwarded::new(client, true, server, false);
        let told = |authority: Option<&str>, host: &'static str, websocket| {
            let mut headers = map(&[("host", host)]);
            origin.tell(&mut headers, authority, websocket);
            assert!(!headers.contains_key(X_FORWARDED_FOR), "as rules see it");
            origin.add_peer(&mut headers);
            ["for", "host", "port", "proto", "server"]
                .map(|name| headers[&format!("x-forwarded-{name}")].to_str().unwrap().to_owned())
        };
        assert_eq!(told(None, "a.b", false), ["192.0.2.1", "a.b", "443", "https", "edge"]);
        assert_eq!(told(None, "a.b:81", true), ["192.0.2.1", "a.b:81", "81", "wss", "edge"]);
        assert_eq!(told(Some("c"), "a.b:81", false), ["192.0.2.1", "c", "443", "https", "edge"]);
        assert_eq!(told(None, "[::1]", false), ["192.0.2.1", "[::1]", "443", "https", "edge"]);
    }

    #[test]
    fn what_a_proxy_left_empty_is_filled() {
        let origin =
            Forwarded::new([10, 0, 0, 1].into(), false, HeaderValue::from_static("edge"), true);
        let names =
            ["real-ip", "forwarded-proto", "forwarded-port", "forwarded-host", "forwarded-for"];
        let names = names.map(|name| format!("x-{name}"));
        let mut headers = map(&[("host", "a.b")]);
        for name in &names {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(""));
        }
        origin.tell(&mut headers, None, false);
        origin.add_peer(&mut headers);
        let told = names.map(|name| headers[&name].to_str().unwrap().to_owned());
        assert_eq!(told, ["10.0.0.1", "http", "80", "a.b", "10.0.0.1"]);
    }

    #[test]
    fn the_client_is_the_last_whom_no_proxy_of_ours_is() {
        let found = |line: &str| {
            let headers = map(&[("x-forwarded-for", line)]);
            let found = client_behind(&headers, |it| it.is_loopback());
            found.map(|it| it.to_string()).unwrap_or_default()
        };
        assert_eq!(found("192.0.2.9, 192.0.2.7, 127.0.0.1"), "192.0.2.7");
        assert_eq!(found("\u{e9}, 192.0.2.7"), "192.0.2.7");
        assert_eq!(found("192.0.2.7, "), "192.0.2.7");
        assert_eq!(found("fe80::1%eth0"), "fe80::1");
        assert_eq!(found("192.0.2.7, \u{e9}"), "");
        assert_eq!(found("127.0.0.2, 127.0.0.1"), "127.0.0.2");
    }

    #[test]
    fn a_proxy_that_is_trusted_is_added_to() {
        let (proxy, server) = ([10, 0, 0, 1].into(), HeaderValue::from_static("edge"));
        let origin = Forwarded::new(proxy, false, server, true);
        let mut headers = map(&[
            ("host", "a.b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/p"),
            ("x-forwarded-server", "before"),
        ]);
        clean_request(&mut headers, true, |_name| false);
        origin.tell(&mut headers, None, false);
        assert_eq!(headers.get_all(X_FORWARDED_FOR).iter().count(), 2, "as rules see it");
        origin.add_peer(&mut headers);
        let told = ["for", "proto", "host", "port", "prefix", "server"]
            .map(|name| headers[&format!("x-forwarded-{name}")].to_str().unwrap());
        assert_eq!(told, ["192.0.2.1, 192.0.2.2, 10.0.0.1", "https", "a.b", "443", "/p", "edge"]);
        assert_eq!(headers["x-real-ip"], "10.0.0.1");
    }

    #[test]
    fn a_peer_that_is_hidden_is_not_added() {
        let server = HeaderValue::from_static("edge");
        for (is_trusted, expected) in [(true, Some("192.0.2.1")), (false, None)] {
            let proxy = Forwarded::new([10, 0, 0, 1].into(), false, server.clone(), is_trusted);
            let mut headers = map(&[("host", "a.b"), ("x-forwarded-for", "192.0.2.1")]);
            clean_request(&mut headers, is_trusted, |_name| false);
            let proxy = proxy.telling(Telling { hides_peer: true, scheme: false });
            proxy.tell(&mut headers, None, false);
            proxy.add_peer(&mut headers);
            assert_eq!(headers.first(&X_FORWARDED_FOR), expected.map(str::as_bytes));
        }
    }
}
