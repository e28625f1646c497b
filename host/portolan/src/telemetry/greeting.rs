//! What the first start prints: what listens where, and three things to try.
//!
//! **Invariant:** only addresses that were really bound are shown, so everything can be tried as it
//! stands.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 and HTTP/2 as they are.
    Http,
    /// The same within TLS.
    Https,
    /// Over UDP and TCP.
    Dns,
    /// DNS within TLS.
    DnsOverTls,
    /// DNS within HTTPS.
    DnsOverHttps,
    /// Dashboard, API and metrics.
    Admin,
}

impl Protocol {
    /// As it stands in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Dns => "dns",
            Self::DnsOverTls => "dns-over-tls",
            Self::DnsOverHttps => "dns-over-https",
            Self::Admin => "admin",
        }
    }
}

/// A listener that is open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bound {
    /// The entrypoint; `dns` and `admin` for those.
    pub(crate) name: String,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Where, after the system has replaced port 0.
    pub(crate) address: SocketAddr,
}

/// Logs one open listener: the line from which tests and tools learn the ports.
pub(crate) fn listening(bound: &Bound) {
    tracing::info!(
        entrypoint = %bound.name,
        address = %bound.address,
        protocol = %bound.protocol.as_str(),
        "listening"
    );
}

/// The greeting, in plain lines. `host` is a host that has a router; without one there is nothing
/// to ask HTTP or DNS for.
pub(crate) fn greeting(bound: &[Bound], host: Option<&str>) -> String {
    let mut text = format!("Portolan {} is up.\n\n", env!("CARGO_PKG_VERSION"));
    let width = bound.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    for Bound { name, protocol, address } in bound {
        let protocol = protocol.as_str();
        // Writing to a string cannot fail.
        writeln!(text, "  {name:<width$}  {protocol:<5}  {address}").ok();
    }
    let things = things_to_try(bound, host);
    if !things.is_empty() {
        text.push_str(if things.len() == 1 { "\nTo try:\n\n" } else { "\nThings to try:\n\n" });
        for thing in things {
            writeln!(text, "  {thing}").ok();
        }
    }
    text
}

fn things_to_try(bound: &[Bound], host: Option<&str>) -> Vec<String> {
    let first = |protocol| bound.iter().find(|one| one.protocol == protocol);
    let mut things = Vec::new();
    if let (Some(host), Some(one)) = (host, first(Protocol::Http)) {
        things.push(format!("curl -H 'Host: {host}' http://{}/", reachable(one.address)));
    } else if let (Some(host), Some(one)) = (host, first(Protocol::Https)) {
        let address = reachable(one.address);
        let port = address.port();
        things.push(format!("curl -k --connect-to ::{address} https://{host}:{port}/"));
    }
    if let (Some(host), Some(one)) = (host, first(Protocol::Dns)) {
        let address = reachable(one.address);
        things.push(format!("dig @{} -p {} {host}", address.ip(), address.port()));
    }
    if let Some(one) = first(Protocol::Admin) {
        things.push(format!("http://{}/   (the dashboard)", reachable(one.address)));
    }
    things
}

/// Nobody can connect to "every address".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn bound(name: &str, protocol: Protocol, address: &str) -> Bound {
        Bound { name: name.to_owned(), protocol, address: address.parse().unwrap() }
    }

    #[test]
    fn the_greeting_says_what_listens_and_what_to_try() {
        let all = [
            bound("web", Protocol::Http, "0.0.0.0:8000"),
            bound("websecure", Protocol::Https, "127.0.0.1:8443"),
            bound("dns", Protocol::Dns, "[::]:5300"),
            bound("admin", Protocol::Admin, "127.0.0.1:8080"),
        ];
        let expected = expect![[r#"
            Portolan 0.1.0 is up.

              web        http   0.0.0.0:8000
              websecure  https  127.0.0.1:8443
              dns        dns    [::]:5300
              admin      admin  127.0.0.1:8080

            Things to try:

              curl -H 'Host: whoami.local' http://127.0.0.1:8000/
              dig @::1 -p 5300 whoami.local
              http://127.0.0.1:8080/   (the dashboard)
        "#]];
        expected.assert_eq(&greeting(&all, Some("whoami.local")));
    }

    #[test]
    fn nothing_is_offered_that_would_not_work() {
        let only_dns = [bound("dns", Protocol::Dns, "127.0.0.1:53")];
        assert_eq!(things_to_try(&only_dns, None), Vec::<String>::new());
        let only_https = [bound("websecure", Protocol::Https, "127.0.0.1:443")];
        assert_eq!(
            things_to_try(&only_https, Some("a.local")),
            ["curl -k --connect-to ::127.0.0.1:443 https://a.local:443/"]
        );
    }
}
