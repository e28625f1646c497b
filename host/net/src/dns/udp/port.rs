//! A socket, as far as questions come in and replies go out in numbers.
//!
//! **Invariant:** a reply leaves from the address that its question came to. A socket of one
//! address does that by itself; one that listens on every address is told by the system (RFC 3542,
//! 6.1; ip(7), `IP_PKTINFO`) and tells it in return.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::{
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg, setsockopt,
        sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo},
    },
};
use tokio::{io::Interest, net::UdpSocket};

/// A socket that questions come in on.
pub(super) struct Port {
    socket: UdpSocket,
    bound: SocketAddr,
    /// False once the system would not cut a row of replies into datagrams.
    cuts: Cell<bool>,
}

/// Between whom a question and its reply go.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Way {
    pub(super) peer: SocketAddr,
    /// Ours.
    pub(super) local: IpAddr,
}

impl Port {
    /// Takes a bound socket over.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            IpAddr::V6(ip) if ip.is_unspecified() => {
                setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
            }
            IpAddr::V4(_) | IpAddr::V6(_) => (),
        }
        Ok(Self { socket: UdpSocket::from_std(socket)?, bound, cuts: Cell::new(true) })
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) {
        // An error is that of an earlier reply (ICMP), and reading clears it.
        drop(self.socket.readable().await);
    }

    /// Runs a call that reads, when there may be something to read.
    pub(super) fn read<T>(&self, call: impl FnOnce(i32) -> io::Result<T>) -> io::Result<T> {
        self.socket.try_io(Interest::READABLE, || call(self.socket.as_raw_fd()))
    }

    /// The address that the socket is bound to.
    pub(super) fn bound(&self) -> IpAddr {
        self.bound.ip()
    }

    /// Whether it listens on every address.
    pub(super) fn is_everywhere(&self) -> bool {
        self.bound.ip().is_unspecified()
    }

    /// Whether a row of replies can be sent by one call, cut into datagrams by the system.
    pub(super) fn cuts(&self) -> bool {
        self.cuts.get()
    }

    /// Sends one reply.
    pub(super) fn send(&self, reply: &[u8], way: Way) -> io::Result<()> {
        if !self.is_everywhere() {
            return self.socket.try_send_to(reply, way.peer).map(drop);
        }
        self.send_cut(&[IoSlice::new(reply)], None, way)
    }

    /// Sends a row of replies of one size to one peer (udp(7), `UDP_SEGMENT`). When the system does
    /// not cut, that is remembered, and the caller sends one by one.
    pub(super) fn send_row(&self, row: &[IoSlice<'_>], size: u16, way: Way) -> io::Result<()> {
        let sent = self.send_cut(row, Some(size), way);
        // A device without checksums, a tunnel, an old system: no reason to lose replies.
        if sent.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            self.cuts.set(false);
        }
        sent
    }

    fn send_cut(&self, row: &[IoSlice<'_>], size: Option<u16>, way: Way) -> io::Result<()> {
        match way.peer {
            SocketAddr::V4(peer) => self.send_to(row, size, way, &SockaddrIn::from(peer)),
            SocketAddr::V6(peer) => self.send_to(row, size, way, &SockaddrIn6::from(peer)),
        }
    }

    fn send_to(
        &self,
        row: &[IoSlice<'_>],
        size: Option<u16>,
        way: Way,
        peer: &impl SockaddrLike,
    ) -> io::Result<()> {
        let (v4, v6);
        let from = match way.local {
            _ if !self.is_everywhere() => None,
            IpAddr::V4(local) => {
                v4 = source_v4(local.octets());
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            IpAddr::V6(local) => {
                v6 = source_v6(local.octets(), way.peer);
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let cut = size.as_ref().map(ControlMessage::UdpGsoSegments);
        let send = |messages: &[ControlMessage<'_>]| {
            self.socket.try_io(Interest::WRITABLE, || {
                let fd = self.socket.as_raw_fd();
                Ok(sendmsg(fd, row, messages, MsgFlags::empty(), Some(peer)).map(drop)?)
            })
        };
        match (from, cut) {
            (None, None) => send(&[]),
            (Some(one), None) | (None, Some(one)) => send(&[one]),
            (Some(from), Some(cut)) => send(&[from, cut]),
        }
    }
}

/// The system chooses the interface: the way back may be another one.
fn source_v4(octets: [u8; 4]) -> in_pktinfo {
    let unset = in_addr { s_addr: 0 };
    let local = in_addr { s_addr: u32::from_ne_bytes(octets) };
    in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: local, ipi_addr: unset }
}

/// A link-local address means nothing without its interface.
fn source_v6(octets: [u8; 16], peer: SocketAddr) -> in6_pktinfo {
    let scope = match peer {
        SocketAddr::V6(peer) if peer.ip().is_unicast_link_local() => peer.scope_id(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
    };
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: octets }, ipi6_ifindex: scope as _ }
}
