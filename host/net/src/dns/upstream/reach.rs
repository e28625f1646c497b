//! Connections to one of several addresses.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};

/// How long an address may be silent before the next one is tried too (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(300);

/// A connection to the first of some addresses that takes one, and which that was. One that does
/// not answer at all costs its turn, not the time that the kernel would wait for it.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut left = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut why = io::Error::from(io::ErrorKind::HostUnreachable);
    loop {
        let next = left.next();
        let is_last = next.is_none();
        attempts
            .extend(next.map(|to| async move { TcpStream::connect(to).await.map(|it| (it, to)) }));
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => why = error,
                None => return Err(why),
            },
            () = sleep(STAGGER), if !is_last => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};
    use tokio::time::timeout;

    use super::*;

    /// A socket that takes no connection, and refuses none: its queue is full.
    fn black_hole() -> (Socket, Vec<Socket>) {
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let hole = tcp();
        hole.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        hole.listen(0).unwrap();
        let queued = (0..4).map(|_| {
            let client = tcp();
            client.set_nonblocking(true).unwrap();
            drop(client.connect(&hole.local_addr().unwrap()));
            client
        });
        let queued = queued.collect();
        (hole, queued)
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_does_not_hide_the_next() {
        let (hole, _queued) = black_hole();
        let silent = hole.local_addr().unwrap().as_socket().unwrap();
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let good = good.local_addr().map(|address| (good, address)).unwrap();
        let addresses = [silent, good.1];
        let connected = timeout(Duration::from_secs(2), connect(&addresses)).await;
        assert_eq!(connected.expect("in time").unwrap().1, good.1);
        // Where one refuses, the next has its turn at once.
        let refuses =
            { TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap() };
        assert_eq!(connect(&[refuses, good.1]).await.unwrap().1, good.1);
        assert!(connect(&[refuses]).await.is_err());
        assert!(connect(&[]).await.is_err());
    }
}
