//! The first words of a client: what it wants of the handshake, or that it means none.
//!
//! **Invariant:** who speaks HTTP in clear is not sent an alert, which it would take for a broken
//! answer.

use std::io;

use bytes::{Bytes, BytesMut};
use rustls::server::{Accepted, Acceptor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A client says more than this at once only to a library that takes no more either.
const CHUNK: usize = 2048;

/// The first words of a client.
pub(super) enum Hello {
    Tls(Box<Accepted>),
    /// HTTP in clear; with what was read of it.
    Plain(Bytes),
}

/// Reads them.
pub(super) async fn hello(stream: &mut TcpStream) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut said = BytesMut::with_capacity(CHUNK);
    let mut is_first = true;
    loop {
        said.clear();
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if std::mem::take(&mut is_first) && is_http(&said) {
            return Ok(Hello::Plain(said.freeze()));
        }
        // All of it, before it is looked at: what follows the hello is for the handshake.
        let mut rest = &*said;
        while !rest.is_empty() && acceptor.read_tls(&mut rest)? > 0 {}
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Hello::Tls(accepted.into())),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut record = Vec::new();
                alert.write_all(&mut record)?;
                stream.write_all(&record).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

/// Whether it begins with a method of HTTP. A record of TLS begins with a byte that is no letter.
fn is_http(said: &[u8]) -> bool {
    let method = said.split(|byte| *byte == b' ').next().unwrap_or_default();
    !method.is_empty() && method.iter().all(u8::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::is_http;

    #[test]
    fn a_method_is_told_from_a_record_of_tls_and_from_others() {
        for said in ["GET / HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "PO"] {
            assert!(is_http(said.as_bytes()), "{said}");
        }
        for said in ["\u{16}\u{3}\u{1}", "SSH-2.0-OpenSSH_9.9\r\n", "hello", " GET", ""] {
            assert!(!is_http(said.as_bytes()), "{said}");
        }
    }
}
