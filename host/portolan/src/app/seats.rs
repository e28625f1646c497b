//! Where DNS listens: addresses as they are wanted, and their sockets for each worker.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use portolan_net::dns::{BindError, Sharing, bind_tcp, bind_udp};

use crate::config::model::Dns;

/// With port 0 the port that UDP was given may be taken for TCP; then another is tried.
const TRIES: usize = 16;

/// How DNS is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Over UDP and TCP.
    Plain,
    Tls,
    Https,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    /// Whether every address of IPv4 is wanted too.
    pub(super) is_beside_ipv4: bool,
}

/// The sockets of one address for one worker.
pub(super) enum Sockets {
    Plain(UdpSocket, TcpListener),
    Tls(TcpListener),
    Https(TcpListener),
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "dns",
            Self::Tls => "dns-over-tls",
            Self::Https => "dns-over-https",
        }
    }

    /// Where the address stands in the configuration.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Plain => "dns.address",
            Self::Tls => "dns.tls-address",
            Self::Https => "dns.https-address",
        }
    }
}

impl Wanted {
    /// Every address of a configuration.
    pub(super) fn of(dns: &Dns) -> impl Iterator<Item = Self> {
        let all = [
            (Kind::Plain, &dns.addresses),
            (Kind::Tls, &dns.tls_addresses),
            (Kind::Https, &dns.https_addresses),
        ];
        all.into_iter().flat_map(|(kind, addresses)| {
            addresses.iter().map(move |address| {
                let is_beside = |other: &SocketAddr| {
                    other.port() == address.port() && other.is_ipv4() && other.ip().is_unspecified()
                };
                let is_every = address.is_ipv6() && address.ip().is_unspecified();
                let is_beside_ipv4 = is_every && addresses.iter().any(is_beside);
                Self { kind, address: *address, is_beside_ipv4 }
            })
        })
    }

    /// Whether a socket that is bound takes what comes to this address, or the other way round.
    pub(super) fn meets(&self, other: &Self, bound: SocketAddr) -> bool {
        let covers = |one: &Self, at: SocketAddr, other: SocketAddr| {
            let is_both = at.is_ipv6() && !one.is_beside_ipv4;
            at.ip().is_unspecified() && (is_both || at.is_ipv4() == other.is_ipv4())
        };
        let address = self.address;
        address.port() == bound.port()
            && (address.ip() == bound.ip()
                || covers(self, address, bound)
                || covers(other, bound, address))
    }

    fn sharing(self, workers: bool) -> Sharing {
        Sharing { workers, ipv4: self.is_beside_ipv4 }
    }
}

/// Binds sockets for each worker, all on one port. `alone`: nobody else may have it, who would get a
/// part of the questions without anybody's notice.
pub(super) fn bind(
    wanted: Wanted,
    count: usize,
    alone: bool,
) -> Result<(SocketAddr, Vec<Sockets>), BindError> {
    if alone && wanted.address.port() != 0 {
        if wanted.kind == Kind::Plain {
            drop(bind_udp(wanted.address, wanted.sharing(false))?);
        }
        drop(bind_tcp(wanted.address, wanted.sharing(false))?);
    }
    match wanted.kind {
        Kind::Plain => bind_plain(wanted, count),
        Kind::Tls => bind_streams(wanted, count, Sockets::Tls),
        Kind::Https => bind_streams(wanted, count, Sockets::Https),
    }
}

fn bind_plain(wanted: Wanted, count: usize) -> Result<(SocketAddr, Vec<Sockets>), BindError> {
    let (mut tries, sharing) = (0, wanted.sharing(true));
    let wanted = wanted.address;
    let (address, udp, tcp) = loop {
        tries += 1;
        let udp = bind_udp(wanted, sharing)?;
        let address = udp.local_addr().unwrap_or(wanted);
        match bind_tcp(address, sharing) {
            Ok(tcp) => break (address, udp, tcp),
            Err(error) if wanted.port() != 0 || tries == TRIES => return Err(error),
            Err(_taken) => (),
        }
    };
    let mut sockets = vec![Sockets::Plain(udp, tcp)];
    for _ in 1..count {
        sockets.push(Sockets::Plain(bind_udp(address, sharing)?, bind_tcp(address, sharing)?));
    }
    Ok((address, sockets))
}

fn bind_streams(
    wanted: Wanted,
    count: usize,
    kind: fn(TcpListener) -> Sockets,
) -> Result<(SocketAddr, Vec<Sockets>), BindError> {
    let sharing = wanted.sharing(true);
    let first = bind_tcp(wanted.address, sharing)?;
    let address = first.local_addr().unwrap_or(wanted.address);
    let mut sockets = vec![kind(first)];
    for _ in 1..count {
        sockets.push(kind(bind_tcp(address, sharing)?));
    }
    Ok((address, sockets))
}
