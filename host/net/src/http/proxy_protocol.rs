//! Who a client is when another proxy stands before us: the PROXY protocol, versions 1 and 2, as
//! HAProxy specifies it.
//!
//! **Invariant:** only those who are trusted to say it are listened to, and from them it is
//! demanded: a receiver that guesses can be told anything (section 2 of the specification).
//! Not a byte behind the header is read.

use std::{io, net::SocketAddr};

use ppp::{HeaderResult, v1, v2};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// No header of either version is shorter, so these bytes can be read without looking.
const SHORTEST: usize = 15;
/// The longest of version 1 (section 2.1), and what is taken of version 2: addresses of UNIX
/// sockets and some extensions.
const LONGEST_TEXT: usize = 107;
const LONGEST_BINARY: usize = 4096;
/// What version 2 begins with, and where the length of the rest stands.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BINARY_HEAD: usize = 16;

/// Reads the header; answers where the client is, if the header says that.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SHORTEST];
    stream.read_exact(&mut header).await?;
    if header.starts_with(SIGNATURE) {
        rest_of_binary(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        rest_of_text(stream, &mut header).await?;
    } else {
        return Err(malformed("no PROXY header"));
    }
    source(&header)
}

async fn rest_of_binary(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    header.push(stream.read_u8().await?);
    let length = match header.get(BINARY_HEAD - 2..) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
        _ => return Err(malformed("no PROXY header")),
    };
    if length > LONGEST_BINARY {
        return Err(malformed("a PROXY header that is too long"));
    }
    header.resize(BINARY_HEAD + length, 0);
    stream.read_exact(header.get_mut(BINARY_HEAD..).unwrap_or_default()).await?;
    Ok(())
}

async fn rest_of_text(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\r\n") {
        if header.len() == LONGEST_TEXT {
            return Err(malformed("a PROXY header that does not end"));
        }
        // Byte by byte: what follows is not ours. The kernel has them all.
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn source(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ends) => Some((ends.source_address, ends.source_port).into()),
            v1::Addresses::Tcp6(ends) => Some((ends.source_address, ends.source_port).into()),
        }),
        // A health check of the proxy itself (section 2.2).
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            v2::Addresses::IPv4(ends) => Some((ends.source_address, ends.source_port).into()),
            v2::Addresses::IPv6(ends) => Some((ends.source_address, ends.source_port).into()),
        }),
        HeaderResult::V1(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        HeaderResult::V2(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
