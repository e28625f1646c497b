//! Which address of a request is its client's: Traefik's `ipStrategy`.
//!
//! **Invariant:** what a client writes into a header itself is never taken for its address. Where
//! nobody before us is trusted there is nothing in `X-Forwarded-For` but the peer, which does not
//! count; so a strategy that wants a proxy finds no address.

use std::{net::IpAddr, num::NonZeroU32, str::FromStr};

use http::HeaderName;
use ipnet::{IpNet, Ipv6Net};

use super::address::forwarded_address;
use crate::exchange::Exchange;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How the client is found.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClientStrategy {
    whence: Whence,
    /// Addresses of IPv6 stand for their network of this length.
    ipv6_subnet: Option<u8>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Whence {
    /// The connection, or what the PROXY protocol says of it.
    Peer,
    /// So many from the end of `X-Forwarded-For`, as it came to us.
    Depth(NonZeroU32),
    /// The last of `X-Forwarded-For`, as it came to us, that is none of these.
    Except(Vec<IpNet>),
}

impl ClientStrategy {
    /// The client is the peer.
    pub const PEER: Self = Self { whence: Whence::Peer, ipv6_subnet: None };

    /// The address that a request comes from, if there is one.
    pub(crate) fn address(&self, exchange: &Exchange) -> Option<IpAddr> {
        let address = match &self.whence {
            Whence::Peer => Some(exchange.peer.address.ip().to_canonical()),
            Whence::Depth(depth) => {
                let place = usize::try_from(depth.get() - 1).ok()?;
                told(exchange).nth(place).and_then(forwarded_address)
            }
            Whence::Except(proxies) => told(exchange)
                .filter(|word| !word.is_empty())
                .map(forwarded_address)
                // A word that is no address is nobody's whom we know.
                .find(|it| !it.is_some_and(|it| proxies.iter().any(|net| net.contains(&it))))
                .flatten(),
        };
        address.map(|address| self.masked(address))
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        match (address, self.ipv6_subnet) {
            (IpAddr::V6(address), Some(length)) => {
                Ipv6Net::new(address, length).map_or(address, |net| net.network()).into()
            }
            _ => address,
        }
    }
}

/// What proxies before us said of where the request comes from, the nearest first. We are not among
/// them: that the peer is the client of the one nearest to us has been added when it came.
fn told(exchange: &Exchange) -> impl Iterator<Item = &[u8]> {
    let peer = exchange.peer.address.ip().to_canonical();
    let lines: Vec<_> = exchange.request.headers.values(&X_FORWARDED_FOR).collect();
    // Read as bytes: a word that is no text must not hide the others.
    let words = lines.into_iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    words
        .map(<[u8]>::trim_ascii)
        .enumerate()
        .filter(move |(place, word)| *place > 0 || forwarded_address(word) != Some(peer))
        .map(|it| it.1)
}

/// As `matcher.wit` writes it: `depth=2`, `except=10.0.0.0/8,192.0.2.1`, `ipv6-subnet=64`, with
/// semicolons between.
impl FromStr for ClientStrategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut strategy = Self::PEER;
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let bad = || format!("`{}` does not say how the client is found", part.escape_debug());
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            match key {
                "depth" => strategy.whence = Whence::Depth(value.parse().map_err(|_zero| bad())?),
                "except" => {
                    let proxies = value.split(',').map(super::check::network);
                    strategy.whence = Whence::Except(proxies.collect::<Result<_, _>>()?);
                }
                "ipv6-subnet" => {
                    let length = value.parse().ok().filter(|length| *length <= 128);
                    strategy.ipv6_subnet = Some(length.ok_or_else(bad)?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(strategy)
    }
}

#[cfg(test)]
mod tests {
    use crate::test_util;

    use super::*;

    /// What a strategy finds for a peer of 192.0.2.1 and this header.
    #[track_caller]
    fn check(strategy: &str, forwarded_for: &[&str], expected: &str) {
        let mut exchange = test_util::exchange("GET http://a.local/");
        exchange.peer.address = "192.0.2.1:4000".parse().unwrap();
        for line in forwarded_for {
            // One byte for each letter: not all of them are text then.
            let line: Vec<u8> = line.chars().map(|letter| u8::try_from(letter).unwrap()).collect();
            let line = http::HeaderValue::from_bytes(&line).unwrap();
            exchange.request.headers.append("x-forwarded-for", line);
        }
        let strategy: ClientStrategy = strategy.parse().unwrap();
        let found = strategy.address(&exchange).map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(found, expected, "{strategy:?} {forwarded_for:?}");
    }

    #[test]
    fn without_a_strategy_it_is_the_peer() {
        check("", &["6.6.6.6, 192.0.2.1"], "192.0.2.1");
        check("ipv6-subnet=64", &["6.6.6.6, 192.0.2.1"], "192.0.2.1");
    }

    #[test]
    fn a_depth_counts_from_the_end_without_ourselves() {
        let chain = ["6.6.6.6, 10.0.0.1,10.0.0.2, 192.0.2.1"];
        check("depth=1", &chain, "10.0.0.2");
        check("depth=2", &chain, "10.0.0.1");
        check("depth=3", &chain, "6.6.6.6");
        check("depth=4", &chain, "");
        check("depth=2", &["6.6.6.6, 10.0.0.1", "10.0.0.2, 192.0.2.1"], "10.0.0.1");
        check("depth=1", &["somebody, 192.0.2.1"], "");
        // Those nearest to us are not hidden by what a client wrote before them.
        check("depth=1", &["\u{e9}, 10.0.0.1, 192.0.2.1"], "10.0.0.1");
        check("depth=2", &["\u{e9}, 10.0.0.1, 192.0.2.1"], "");
        check("depth=1", &["10.0.0.1:8080, 192.0.2.1"], "10.0.0.1");
        // A middleware has written the header anew.
        check("depth=1", &["10.0.0.1"], "10.0.0.1");
    }

    #[test]
    fn nobody_is_found_where_no_proxy_is_trusted() {
        check("depth=1", &["192.0.2.1"], "");
        check("except=10.0.0.0/8", &["192.0.2.1"], "");
        check("depth=1", &[], "");
    }

    #[test]
    fn proxies_that_are_known_are_passed_over() {
        let chain = ["6.6.6.6, 7.7.7.7, , 10.0.0.1, 10.0.0.2, 192.0.2.1"];
        check("except=10.0.0.0/8", &chain, "7.7.7.7");
        check("except=10.0.0.0/8,7.7.7.7", &chain, "6.6.6.6");
        check("except=0.0.0.0/0", &chain, "");
        check("except=::ffff:10.0.0.0/104", &chain, "7.7.7.7");
        check("except=10.0.0.2", &["6.6.6.6, unknown, 10.0.0.2, 192.0.2.1"], "");
    }

    #[test]
    fn addresses_of_version_6_stand_for_their_network() {
        let chain = ["2001:db8:1:2:3:4:5:6, 192.0.2.1"];
        check("depth=1;ipv6-subnet=64", &chain, "2001:db8:1:2::");
        check("depth=1", &chain, "2001:db8:1:2:3:4:5:6");
        check("depth=1", &["[2001:db8::1]:80, 192.0.2.1"], "2001:db8::1");
        check("depth=1;ipv6-subnet=64", &["::ffff:10.0.0.1, 192.0.2.1"], "10.0.0.1");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in
            ["depth=0", "depth", "depth=-1", "except=", "except=here", "ipv6-subnet=129", "of=1"]
        {
            assert!(bad.parse::<ClientStrategy>().is_err(), "{bad}");
        }
    }
}
