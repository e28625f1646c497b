//! Addresses and networks as people and proxies write them.
//!
//! **Invariant:** what comes out is canonical: an IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) is
//! IPv4, on both sides of every comparison.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// A network, or an address alone; `None`: it is neither.
pub fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().ok()?,
    };
    Some(canonical(network))
}

/// A network of mapped addresses (RFC 4291, 2.5.5.2) as the one that they stand for.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let mapped = match network.addr().to_canonical() {
        IpAddr::V4(address) if matches!(network, IpNet::V6(_)) => {
            let length = network.prefix_len().checked_sub(MAPPED);
            length.and_then(|length| Ipv4Net::new(address, length).ok())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    mapped.map_or(network, IpNet::V4)
}

/// An address, perhaps with a port or a zone, as some proxies write it into `X-Forwarded-For`. A zone means
/// something to the machine that wrote it alone, so it is not part of the address.
pub fn forwarded_address(word: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(word.trim_ascii()).ok()?;
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let address = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => {
            let (address, rest) = bracketed?;
            let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
            zoned(address).filter(|_| is_whole)?
        }
        None => match text.split_once(':') {
            // The only colon: there is none in an address of IPv4.
            Some((address, port)) if !port.contains(':') => {
                IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
            }
            _ => zoned(text)?,
        },
    };
    Some(address.to_canonical())
}

/// An address, of which a zone is cut off (RFC 4007, 11).
fn zoned(text: &str) -> Option<IpAddr> {
    match text.split_once('%') {
        Some((address, _zone)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_mapped_addresses_are_those_of_ipv4() {
        for (written, read) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:a00:1/128", "10.0.0.1/32"),
            // More than the mapped ones.
            ("::ffff:0:0/95", "::ffff:0.0.0.0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(written).unwrap().to_string(), read, "{written}");
        }
        for bad in ["", "here", "10.0.0.0/33", "::/129", "10.0.0.0:80", "10.0.0.0/8 "] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_read_with_whatever_stands_beside_it() {
        for (written, read) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\t", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
        ] {
            let found = forwarded_address(written.as_bytes()).map(|it| it.to_string());
            assert_eq!(found.as_deref(), Some(read), "{written}");
        }
        for bad in [
            "",
            "unknown",
            "192.0.2.1:",
            "192.0.2.1:http",
            "192.0.2.1:99999",
            "192.0.2.1%eth0",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "2001:db8::1]",
            "\"192.0.2.1\"",
        ] {
            assert_eq!(forwarded_address(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(forwarded_address(b"\xe9"), None);
    }
}
