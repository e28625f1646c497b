//! Sockets to listen on.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Room for the questions of one burst. The system may give less.
const RECEIVE_BUFFER: usize = 4 << 20;
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("bind {protocol} address `{address}`")]
pub struct BindError {
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// The address as configured.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// With whom a socket shares its port.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sharing {
    /// Each worker can bind a socket to the same address, and the system shares the questions out by
    /// the address of who asks.
    pub workers: bool,
    /// Another socket is there for IPv4: one on every address of IPv6 takes those of both else.
    pub ipv4: bool,
}

impl Sharing {
    /// With nobody.
    pub const NONE: Self = Self { workers: false, ipv4: false };
    /// With those of other workers.
    pub const WORKERS: Self = Self { workers: true, ipv4: false };
}

/// Binds a UDP socket.
///
/// # Errors
/// When the address is not ours, is in use, or needs a privilege.
pub fn bind_udp(address: SocketAddr, sharing: Sharing) -> Result<UdpSocket, BindError> {
    let bind = || {
        let socket = open(address, Type::DGRAM, Protocol::UDP, sharing)?;
        // Less room than asked for is no reason not to serve.
        drop(socket.set_recv_buffer_size(RECEIVE_BUFFER));
        socket.bind(&SockAddr::from(address))?;
        Ok(socket.into())
    };
    bind().map_err(|source| BindError { protocol: "udp", address, source })
}

/// Binds a TCP listener; see [`bind_udp`].
///
/// # Errors
/// When the address is not ours, is in use, or needs a privilege.
pub fn bind_tcp(address: SocketAddr, sharing: Sharing) -> Result<TcpListener, BindError> {
    let bind = || {
        let socket = open(address, Type::STREAM, Protocol::TCP, sharing)?;
        // Connections of a former process that linger must not keep us from starting.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| BindError { protocol: "tcp", address, source })
}

fn open(
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
    sharing: Sharing,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(sharing.workers)?;
    // An address that comes later (that of a bridge, of a tunnel) can be bound now, and is answered
    // on as soon as it is there (ip(7), `IP_FREEBIND`).
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            if sharing.ipv4 {
                socket.set_only_v6(true)?;
            }
        }
    }
    Ok(socket)
}
