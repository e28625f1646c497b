//! Where nodes and instances are, as whoever asks here should reach them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Who gave an answer. An agent with `translate_wan_addrs` puts the address for the world outside in
/// the place of the plain one in what it says of other datacenters, and says of none that it did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vantage<'a> {
    /// The agent's own datacenter, if it is one that does so and that is known.
    pub(crate) translates_from: Option<&'a str>,
}

impl Vantage<'_> {
    /// Whether what it says of a datacenter is told to somebody outside of it.
    pub(crate) fn is_outside(self, datacenter: &str) -> bool {
        self.translates_from.is_some_and(|own| !own.eq_ignore_ascii_case(datacenter))
    }
}

/// The address of each protocol: the tagged one wins, as in Consul's DNS (`lan_ipv4`, `lan_ipv6`; from
/// outside `wan_ipv4` and `wan_ipv6` before them, and `wan` after), else the plain one is it. First that
/// of the plain one's protocol, then the other.
pub(crate) fn addresses(
    plain: String,
    is_outside: bool,
    tagged: impl Fn(&str) -> Option<String>,
) -> (String, Option<String>) {
    let is_v6 = |address: &str| address.parse::<Ipv6Addr>().is_ok();
    let is_v4 = |address: &str| address.parse::<Ipv4Addr>().is_ok();
    let own = |key: &str| tagged(key).filter(|address| !address.is_empty());
    let is_plain_v6 = is_v6(&plain);
    let outside = |key: &str| if is_outside { own(key) } else { None };
    // From outside the plain one may be any of these: IPv6 comes first.
    let or_plain = |is_it: &dyn Fn(&str) -> bool| {
        let all = [outside("wan"), Some(plain.clone())].into_iter().flatten();
        all.into_iter().find(|address| is_it(address))
    };
    let v4 = outside("wan_ipv4").or_else(|| own("lan_ipv4")).or_else(|| or_plain(&is_v4));
    let v6 = outside("wan_ipv6").or_else(|| own("lan_ipv6")).or_else(|| or_plain(&is_v6));
    match (v4, v6) {
        (Some(v4), v6) if !is_plain_v6 => (v4, v6),
        (v4, Some(v6)) => (v6, v4),
        (_, None) => (plain, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `address also`, of what is tagged as `key address` each.
    fn at(plain: &str, is_outside: bool, tagged: &[&str]) -> String {
        let tagged = |key: &str| {
            let mut pairs = tagged.iter().filter_map(|pair| pair.split_once(' '));
            pairs.find(|(name, _)| *name == key).map(|(_, address)| address.to_owned())
        };
        let (address, also) = addresses(plain.to_owned(), is_outside, tagged);
        format!("{address} {}", also.unwrap_or_default()).trim_end().to_owned()
    }

    #[test]
    fn the_tagged_address_of_a_protocol_wins() {
        for (plain, tagged, expected) in [
            ("198.51.100.1", &["lan_ipv4 10.0.0.7"][..], "10.0.0.7"),
            ("10.0.0.7", &["lan_ipv6 fd00::7"], "10.0.0.7 fd00::7"),
            ("fd00::7", &["lan_ipv4 10.0.0.7"], "fd00::7 10.0.0.7"),
            ("10.0.0.7", &["lan 10.0.0.9", "wan 203.0.113.9"], "10.0.0.7"),
            ("10.0.0.7", &["wan_ipv4 203.0.113.9", "wan_ipv6 2001:db8::9"], "10.0.0.7"),
            ("db.example.com", &[], "db.example.com"),
            ("", &["lan_ipv6 fd00::7"], "fd00::7"),
        ] {
            assert_eq!(at(plain, false, tagged), expected, "{plain} {tagged:?}");
        }
    }

    // The plain addresses are what Consul 1.8.7 says with `translate_wan_addrs`, and what is expected is
    // what its DNS answers.
    #[test]
    fn from_outside_those_for_the_wide_network_win() {
        let (lan_v4, lan_v6) = ("lan_ipv4 10.8.0.12", "lan_ipv6 fd00::12");
        let (wan, wan_v4, wan_v6) =
            ("wan 203.0.113.8", "wan_ipv4 203.0.113.9", "wan_ipv6 2001:db8::1");
        for (plain, tagged, expected) in [
            ("203.0.113.8", &["lan 10.8.0.1", wan][..], "203.0.113.8"),
            ("203.0.113.9", &[lan_v4, wan_v4], "203.0.113.9"),
            ("2001:db8::1", &[lan_v4, lan_v6, wan, wan_v4, wan_v6], "2001:db8::1 203.0.113.9"),
            ("10.8.0.12", &[lan_v4, wan], "10.8.0.12"),
            ("fd00::12", &[lan_v4, lan_v6, wan], "fd00::12 10.8.0.12"),
            ("fd00::12", &[lan_v6, wan], "fd00::12 203.0.113.8"),
            ("fd00::12", &[lan_v4, lan_v6, wan_v4], "fd00::12 203.0.113.9"),
            ("2001:db8::1", &[lan_v4, lan_v6, wan_v6], "2001:db8::1 10.8.0.12"),
            ("2001:db8::1", &[wan, wan_v6], "2001:db8::1 203.0.113.8"),
            // The plain address as it was registered is not to be seen, and Consul has it.
            ("2001:db8::1", &[wan_v6], "2001:db8::1"),
            ("10.8.0.12", &[lan_v4], "10.8.0.12"),
            ("db.example.com", &["wan db.example.com"], "db.example.com"),
            ("", &[], ""),
        ] {
            assert_eq!(at(plain, true, tagged), expected, "{plain} {tagged:?}");
        }
    }

    #[test]
    fn only_of_other_datacenters_is_told_from_outside() {
        let of = |own, datacenter| Vantage { translates_from: own }.is_outside(datacenter);
        assert!(of(Some("dc1"), "dc2"));
        assert!(!of(Some("dc1"), "DC1"));
        assert!(!of(None, "dc2"));
    }
}
