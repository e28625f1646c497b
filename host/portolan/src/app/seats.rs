//! Where DNS listens: addresses as they are wanted, and their sockets for each worker.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use portolan_net::dns::{BindError, bind_tcp, bind_udp};

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
            addresses.iter().map(move |address| Self { kind, address: *address })
        })
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
            drop(bind_udp(wanted.address, false)?);
        }
        drop(bind_tcp(wanted.address, false)?);
    }
    match wanted.kind {
        Kind::Plain => bind_plain(wanted.address, count),
        Kind::Tls => bind_streams(wanted.address, count, Sockets::Tls),
        Kind::Https => bind_streams(wanted.address, count, Sockets::Https),
    }
}

fn bind_plain(wanted: SocketAddr, count: usize) -> Result<(SocketAddr, Vec<Sockets>), BindError> {
    let mut tries = 0;
    let (address, udp, tcp) = loop {
        tries += 1;
        let udp = bind_udp(wanted, true)?;
        let address = udp.local_addr().unwrap_or(wanted);
        match bind_tcp(address, true) {
            Ok(tcp) => break (address, udp, tcp),
            Err(error) if wanted.port() != 0 || tries == TRIES => return Err(error),
            Err(_taken) => (),
        }
    };
    let mut sockets = vec![Sockets::Plain(udp, tcp)];
    for _ in 1..count {
        sockets.push(Sockets::Plain(bind_udp(address, true)?, bind_tcp(address, true)?));
    }
    Ok((address, sockets))
}

fn bind_streams(
    wanted: SocketAddr,
    count: usize,
    kind: fn(TcpListener) -> Sockets,
) -> Result<(SocketAddr, Vec<Sockets>), BindError> {
    let first = bind_tcp(wanted, true)?;
    let address = first.local_addr().unwrap_or(wanted);
    let mut sockets = vec![kind(first)];
    for _ in 1..count {
        sockets.push(kind(bind_tcp(address, true)?));
    }
    Ok((address, sockets))
}
