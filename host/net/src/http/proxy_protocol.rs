//! Who a client is when another proxy stands before us: the PROXY protocol, versions 1 and 2, as
//! HAProxy specifies it.
//!
//! **Invariant:** only those who are trusted to say it are listened to, and from them it is
//! demanded: a receiver that guesses can be told anything (section 2 of the specification).
//! Not a byte behind the header is read.

use std::{io, net::SocketAddr};

use ppp::{v1, v2};
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
/// Version 2, and that the proxy speaks for itself.
const LOCAL: u8 = 0x20;

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
    if header.starts_with(SIGNATURE) { source_of_binary(header) } else { source_of_text(header) }
}

fn source_of_binary(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    // A health check of the proxy itself: whatever family it says is to be ignored (section 2.2).
    if header.get(SIGNATURE.len()) == Some(&LOCAL) {
        return Ok(None);
    }
    let header = v2::Header::try_from(header).map_err(invalid)?;
    Ok(match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(ends) => Some((ends.source_address, ends.source_port).into()),
        v2::Addresses::IPv6(ends) => Some((ends.source_address, ends.source_port).into()),
    })
}

fn source_of_text(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let header = v1::Header::try_from(header).map_err(invalid)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ends) => Some((ends.source_address, ends.source_port).into()),
        v1::Addresses::Tcp6(ends) => Some((ends.source_address, ends.source_port).into()),
    })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn malformed(what: &str) -> io::Error {
    invalid(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family, 0, u8::try_from(payload.len()).unwrap()]);
        header.extend_from_slice(payload);
        header
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_may_name_any_family() {
        for family in [0, 0x11, 0x31, 0x99, 0xff] {
            assert_eq!(source(&binary(LOCAL, family, &[0; 3])).unwrap(), None, "{family}");
        }
    }

    #[test]
    fn a_broken_header_is_explained_as_what_it_is() {
        let explained = |header: &[u8]| source(header).unwrap_err().to_string();
        let family = explained(&binary(0x21, 0x99, &[0; 12]));
        assert!(family.to_lowercase().contains("family"), "{family}");
        let command = explained(&binary(0x2f, 0x11, &[0; 12]));
        assert!(command.to_lowercase().contains("command"), "{command}");
        let text = explained(b"PROXY TCP4 999.0.2.7 10.0.0.1 8080 80\r\n");
        assert!(text.to_lowercase().contains("address"), "{text}");
    }
}
