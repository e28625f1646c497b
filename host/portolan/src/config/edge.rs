//! What the hosts of routers resolve to: what `dns.edge-addresses` says, else what is worked out
//! here, anew whenever the addresses of this machine change.
//!
//! The rule: the own address of each entrypoint that a host's routers are on; for one that listens on
//! every address, that to which the question came, else that from which this machine reaches others.
//! Loopback addresses are left away as soon as there is another: who asks from another machine could
//! do nothing with them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use portolan_core::zone::{Edges, Everywhere, Reach};

use super::Config;

/// Where we are, as things stand now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Whereabouts {
    /// What the hosts of routers resolve to.
    pub(crate) edges: Edges,
    /// Where DNS is answered.
    pub(crate) servers: Vec<IpAddr>,
}

impl Config {
    /// Where we are, as things stand now.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let listening = self.dns.iter().flat_map(|dns| &dns.addresses).map(SocketAddr::ip);
        Whereabouts { edges: self.edges(), servers: addresses(listening, primary_address) }
    }

    /// What the hosts of routers resolve to, as things stand now.
    pub(crate) fn edges(&self) -> Edges {
        let Some(dns) = &self.dns else { return Edges::default() };
        if let Some(written) = &dns.edge_addresses {
            return Edges::Same(written.clone());
        }
        let each = self.entrypoints.iter().map(|entrypoint| {
            let reach = reach(entrypoint.address.ip(), primary_address);
            (entrypoint.name.as_str().into(), reach)
        });
        Edges::Each(each.collect())
    }
}

/// The addresses from which this machine reaches others, of either family.
pub(crate) fn primary_addresses() -> [Option<IpAddr>; 2] {
    [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(primary_address)
}

/// Where a socket on an address is reached.
fn reach(listening: IpAddr, primary: impl Fn(IpAddr) -> Option<IpAddr>) -> Reach {
    let is_any = listening.is_unspecified();
    // A socket on every address of IPv6 takes those of IPv4 too.
    let everywhere = Everywhere { v4: is_any, v6: is_any && listening.is_ipv6() };
    Reach { addresses: addresses(std::iter::once(listening), primary), everywhere }
}

fn addresses(
    listening: impl Iterator<Item = IpAddr>,
    primary: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut add = |address| {
        if !found.contains(&address) {
            found.push(address);
        }
    };
    for address in listening {
        if !address.is_unspecified() {
            add(address);
            continue;
        }
        add(primary(address).unwrap_or_else(|| loopback_like(address)));
        // A socket on every address of IPv6 takes those of IPv4 too.
        if address.is_ipv6()
            && let Some(v4) = primary(Ipv4Addr::UNSPECIFIED.into())
        {
            add(v4);
        }
    }
    if found.iter().any(|address| !address.is_loopback()) {
        found.retain(|address| !address.is_loopback());
    }
    found
}

/// The address from which this machine would send to another: the routing table knows. Connecting
/// a UDP socket sends nothing; the targets are for documentation only (RFC 5737, RFC 3849).
fn primary_address(family: IpAddr) -> Option<IpAddr> {
    let target: IpAddr = match family {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = UdpSocket::bind((family, 0)).ok()?;
    socket.connect((target, 53)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

fn loopback_like(family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether a packet sent to `target` surely arrives at a socket bound to `own`.
pub(super) fn is_reached_by(own: SocketAddr, target: SocketAddr) -> bool {
    own.port() == target.port()
        && own.port() != 0
        && (own.ip() == target.ip() || own.ip().is_unspecified() && target.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listening: &[&str], expected: &[&str]) {
        let parse =
            |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let primary = |family: IpAddr| family.is_ipv4().then(|| "10.0.0.7".parse().unwrap());
        assert_eq!(
            addresses(parse(listening).into_iter(), primary),
            parse(expected),
            "{listening:?}"
        );
    }

    #[test]
    fn sockets_are_reached_at_addresses_of_this_machine() {
        check(&[], &[]);
        check(&["127.0.0.1", "127.0.0.1"], &["127.0.0.1"]);
        check(&["192.168.1.2", "192.168.1.3"], &["192.168.1.2", "192.168.1.3"]);
        check(&["0.0.0.0", "0.0.0.0"], &["10.0.0.7"]);
        check(&["127.0.0.1", "0.0.0.0"], &["10.0.0.7"]);
        check(&["::"], &["10.0.0.7"]);
    }

    #[test]
    fn a_socket_on_every_address_is_reached_at_the_one_that_is_asked() {
        let primary = |family: IpAddr| family.is_ipv4().then(|| "10.0.0.7".parse().unwrap());
        for (listening, address, v4, v6) in [
            ("0.0.0.0", "10.0.0.7", true, false),
            ("::", "10.0.0.7", true, true),
            ("10.0.0.8", "10.0.0.8", false, false),
            ("127.0.0.1", "127.0.0.1", false, false),
        ] {
            let reach = reach(listening.parse().unwrap(), primary);
            let addresses = vec![address.parse().unwrap()];
            let everywhere = Everywhere { v4, v6 };
            assert_eq!(reach, Reach { addresses, everywhere }, "{listening}");
        }
    }

    #[test]
    fn a_socket_on_every_address_is_reached_over_loopback() {
        let reached =
            |own: &str, target: &str| is_reached_by(own.parse().unwrap(), target.parse().unwrap());
        assert!(reached("127.0.0.1:53", "127.0.0.1:53"));
        assert!(reached("0.0.0.0:53", "127.0.0.1:53"));
        assert!(!reached("127.0.0.1:5300", "127.0.0.1:53"));
        assert!(!reached("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!reached("0.0.0.0:53", "1.1.1.1:53"));
    }
}
