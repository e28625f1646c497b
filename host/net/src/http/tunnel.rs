//! What follows an upgrade: bytes to and fro, of whatever protocol.
//!
//! **Invariant:** bytes that HTTP read ahead on either side are handed on first, and a tunnel through
//! which nothing goes for too long ends on both sides.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use portolan_core::limit::Limit;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};

use super::{
    account::Account,
    claim::InFlight,
    connection::Client,
    roster::{Notice, Seat},
};
use crate::h1::Stream;

/// The backend's side of an upgraded connection.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) backend: Stream,
    /// What the backend said already.
    pub(crate) ahead: Bytes,
    /// The backend is at work for as long as the tunnel is open.
    pub(crate) in_flight: InFlight,
    /// The request that led to it; it ends with the tunnel.
    pub(crate) account: Option<Box<Account>>,
}

/// The client's side: whatever goes through the tunnel passes here.
struct Mouth<'a> {
    stream: Stream,
    seat: &'a Seat,
    up: u64,
    down: u64,
}

impl Tunnel {
    /// Hands bytes on until both sides are done, one of them fails, or nothing comes for too long.
    pub(crate) async fn run(self, client: &Client, stream: Stream, said: Bytes) {
        let Self { mut backend, ahead, in_flight, mut account } = self;
        client.seat.begin_tunnel();
        let mut mouth = Mouth { stream, seat: &client.seat, up: said.len() as u64, down: 0 };
        let handing_on = async {
            mouth.write_all(&ahead).await?;
            mouth.flush().await?;
            backend.write_all(&said).await?;
            backend.flush().await?;
            copy_bidirectional(&mut mouth, &mut backend).await
        };
        let ended = match select(pin!(handing_on), pin!(idle(&client.seat))).await {
            Either::Left((ended, _)) => ended.map(|_| ()),
            Either::Right(((), _)) => {
                client.door.exceeded(Limit::TunnelIdle);
                Err(io::ErrorKind::TimedOut.into())
            }
        };
        let Mouth { up, down, .. } = mouth;
        if let Some(account) = &mut account {
            account.tunnelled(up, down);
        }
        match ended {
            Ok(()) => tracing::debug!(up, down, "tunnel closed"),
            Err(error) => tracing::debug!(up, down, %error, "tunnel broke"),
        }
        drop((in_flight, account));
    }
}

/// Waits until nothing went through a tunnel for too long.
async fn idle(seat: &Seat) {
    poll_fn(|cx| {
        loop {
            match ready!(seat.poll_notice(cx)) {
                Notice::Expired(Some(Limit::TunnelIdle)) => return Poll::Ready(()),
                // It is waited for, as long as the drain lasts.
                Notice::Drain | Notice::Expired(_) | Notice::Look => {}
            }
        }
    })
    .await;
}

impl AsyncRead for Mouth<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.up += (buffer.filled().len() - before) as u64;
        self.seat.note_tunnel();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Mouth<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.down += written as u64;
        self.seat.note_tunnel();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
