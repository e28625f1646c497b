//! `[dns.access]` and `[dns.query-log]`: who may ask what, how much, and what is written down.

use std::sync::Arc;

use ipnet::IpNet;
use portolan_net::dns::{Nearby, Policy, RateLimit, private_networks};
use toml::Spanned;

use crate::config::{
    read::{Node, Read, Reading, table},
    report::Finding,
    value::{Network, read_text},
};

table! {
    /// `[dns.access]`
    pub(in crate::config) struct Access {
        /// Whose questions for names that are not ours are answered.
        recursion: Vec<Asker> = vec![Asker::Private],
        /// To each network of strangers, over UDP, from each worker; 0: as many as they ask for.
        responses_per_second: u32 = RateLimit::default().per_second,
        /// One in so many of the replies above is sent, cut short; 0: none.
        slip: u32 = RateLimit::default().slip,
        /// RFC 7873.
        cookies: bool = true,
        /// The largest reply over UDP, in bytes.
        udp_size: Spanned<u32> = Spanned::new(0..0, 1232),
    }
}

table! {
    /// `[dns.query-log]`
    pub(in crate::config) struct QueryLog {
        /// One in so many questions is logged; 0: none.
        sample: u32 = 0,
    }
}

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) enum Asker {
    /// Whoever has an address that nobody outside can have.
    Private,
    /// Everybody.
    Any,
    Network(IpNet),
}

impl Read for Asker {
    const EXPECTED: &'static str =
        "`private`, `any`, an IP address or a network such as `10.0.0.0/8`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let parse = |text: &str| match text {
            "private" => Some(Self::Private),
            "any" => Some(Self::Any),
            _ => Network::parse(text).map(|network| Self::Network(network.0)),
        };
        read_text(node, reading, Self::EXPECTED, parse, |_| None)
    }
}

impl Asker {
    fn networks(self) -> Vec<IpNet> {
        match self {
            Self::Private => private_networks(),
            Self::Any => ["0.0.0.0/0", "::/0"].iter().filter_map(|it| it.parse().ok()).collect(),
            Self::Network(network) => vec![network],
        }
    }
}

/// What the two tables say. The edges are not in it.
pub(super) fn policy(access: Access, log: &QueryLog, reading: &mut Reading<'_>) -> Policy {
    let size = access.udp_size.get_ref();
    let range = 512..=u32::from(Policy::LARGEST_UDP);
    if !range.contains(size) {
        let message =
            format!("`dns.access.udp-size` must be a number of bytes from 512 to {}", range.end());
        reading.add(Finding::error(access.udp_size.span(), message));
    }
    let limit = RateLimit { per_second: access.responses_per_second, slip: access.slip };
    Policy {
        rewrites: Arc::default(),
        recursion: access.recursion.into_iter().flat_map(Asker::networks).collect(),
        udp_size: u16::try_from(*size).unwrap_or(Policy::LARGEST_UDP),
        cookies: access.cookies,
        limit: (limit.per_second > 0).then_some(limit),
        log: log.sample,
        edges: Nearby::default(),
    }
}
