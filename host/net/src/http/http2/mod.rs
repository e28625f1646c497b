//! A client that speaks HTTP/2: its connection, within the limits of its entrypoint.
//!
//! **Invariant:** a client that costs more than it is worth is told ENHANCE_YOUR_CALM, if it still
//! listens, and costs nobody else anything.

mod exchange;
mod pace;
mod pings;

use std::{
    cell::Cell,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::poll_fn;
use h2::Reason;
use portolan_core::limit::Limit;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    task,
    time::timeout,
};

use self::pings::Pings;
use super::{connection::Client, frames::Frames, limits::Limits, roster::Notice};
use crate::{
    h1::Stream,
    http2::{Broken, Connection, ConnectionLimits, FieldLimits, FrameHead, Request, Server},
};

/// So much to write gains nothing from waiting for more.
const LARGE: usize = 8 * 1024;
/// So much of what is written may wait in the system for the network. Else a download would fill its buffers, some
/// megabytes, and whatever else the client asks for would stand behind that.
const MOST_UNSENT: u32 = 128 * 1024;
/// So often is read before others have their turn.
const READS: usize = 8;
/// How long a client may take to notice that it is not listened to any more, and how much it may
/// send meanwhile: closing at once would reset the connection under what it was told.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// A connection that is served.
struct Serving {
    client: Rc<Client>,
    stream: Stream,
    connection: Connection,
    guard: Guard,
    pings: Option<Pings>,
    is_leaving: bool,
    /// Encryption may hold what was written until it is flushed.
    is_unflushed: bool,
    /// Nothing was read, since so much is to be written.
    is_held: bool,
}

/// What a client has cost.
struct Guard {
    client: Rc<Client>,
    frames: Frames,
    /// How many requests ended in the middle and are not counted yet.
    cut: Rc<Cell<u32>>,
    /// The limit that was exceeded.
    exceeded: Option<Limit>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The client is gone, or is not waited for.
    Gone,
    /// It was told why, or knows.
    Told,
}

/// Serves requests until there are no more.
pub(crate) async fn serve(client: Rc<Client>, stream: Stream, ahead: Bytes) {
    let mut serving = Serving::new(client, stream);
    let begun = serving.receive(&ahead);
    drop(ahead);
    let end = match begun {
        Err(broken) => serving.give_up(broken),
        Ok(()) => {
            let mut rest = pin!(None);
            poll_fn(|cx| serving.poll(cx, rest.as_mut(), task::yield_now)).await
        }
    };
    if end == End::Told {
        // However it ends, it ends.
        drop(timeout(LINGER, Box::pin(serving.linger())).await);
    }
}

impl Serving {
    fn new(client: Rc<Client>, stream: Stream) -> Self {
        let limits = client.limits.clone();
        // A system that knows no such thing does without.
        drop(SockRef::from(stream.socket()).set_tcp_notsent_lowat(MOST_UNSENT));
        let guard = Guard {
            client: client.clone(),
            frames: Frames::new(limits.http2),
            cut: Rc::default(),
            exceeded: None,
        };
        Self {
            client,
            stream,
            connection: Connection::new(of_connection(&limits)),
            guard,
            pings: Pings::new(limits.http2.ping_interval, limits.http2.ping_timeout),
            is_leaving: false,
            is_unflushed: false,
            is_held: false,
        }
    }

    /// Serves. `rest` is for the time in which other answers may come.
    fn poll<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        rest: Pin<&mut Option<F>>,
        begin_rest: fn() -> F,
    ) -> Poll<End> {
        self.connection.attend(cx);
        if let Poll::Ready(end) = self.poll_read(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.poll_notices(cx) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(error)) = self.poll_send(cx, rest, begin_rest) {
            tracing::debug!(client.address = %self.client.peer.address, %error, "connection broke");
            return Poll::Ready(End::Gone);
        }
        if self.is_held && !self.connection.is_full() {
            cx.waker().wake_by_ref();
        }
        if self.connection.is_done() && self.connection.waiting() == 0 && !self.is_unflushed {
            return Poll::Ready(End::Told);
        }
        self.connection.rely_on_waking();
        Poll::Pending
    }

    /// Reads what has arrived, and begins to answer it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let buffers = self.client.edge.buffers.clone();
        for _ in 0..READS {
            self.is_held = self.connection.is_full();
            if self.is_held {
                return Poll::Pending;
            }
            let received = buffers.with_input(|input| {
                let mut buffer = ReadBuf::new(input);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let arrived = buffer.filled();
                Poll::Ready(Ok::<_, io::Error>(
                    (!arrived.is_empty()).then(|| self.receive(arrived)),
                ))
            });
            match ready!(received) {
                Ok(Some(Ok(()))) => self.pings.iter_mut().for_each(Pings::moved),
                Ok(Some(Err(broken))) => return Poll::Ready(self.give_up(broken)),
                Ok(None) => return Poll::Ready(End::Gone),
                Err(error) => {
                    tracing::debug!(client.address = %self.client.peer.address, %error, "connection ended");
                    return Poll::Ready(End::Gone);
                }
            }
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn receive(&mut self, arrived: &[u8]) -> Result<(), Broken> {
        self.guard.count_cut()?;
        self.connection.receive(arrived, &self.client.edge.buffers, &mut self.guard)
    }

    /// Whether it is time to go, or to ask whether somebody is there.
    fn poll_notices(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.is_leaving && self.client.is_last_request() {
            self.leave();
        }
        if let Some(pings) = &mut self.pings
            && pings.poll_gone(cx, &mut self.connection).is_ready()
        {
            self.client.door.exceeded(Limit::PingTimeout);
            return Poll::Ready(End::Gone);
        }
        loop {
            // Leaving loses nothing: the client learns which of its requests were taken.
            match ready!(self.client.seat.poll_notice(cx)) {
                Notice::Expired(_) if self.is_leaving => return Poll::Ready(End::Gone),
                Notice::Expired(limit) => {
                    limit.into_iter().for_each(|limit| self.client.door.exceeded(limit));
                    if !self.connection.has_begun() {
                        return Poll::Ready(End::Gone);
                    }
                    self.leave();
                }
                // That is said of HTTP/1.
                Notice::Look => {}
                Notice::Drain => self.leave(),
            }
        }
    }

    fn leave(&mut self) {
        self.is_leaving = true;
        self.connection.leave();
    }

    /// Writes what is to be written.
    fn poll_send<F: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        mut rest: Pin<&mut Option<F>>,
        begin_rest: fn() -> F,
    ) -> Poll<io::Result<()>> {
        let is_busy = self.client.seat.is_busy();
        if (1..LARGE).contains(&self.connection.waiting()) && is_busy {
            // Other answers may be on their way: those that the system has already come first. They leave
            // together, so the client asks again for all of them at once.
            if rest.is_none() {
                rest.set(Some(begin_rest()));
            }
            if let Some(rest) = rest.as_mut().as_pin_mut() {
                ready!(rest.poll(cx));
            }
        }
        rest.set(None);
        ready!(self.poll_flush(cx))?;
        if !is_busy {
            self.connection.rest();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { connection, stream, guard, pings, is_unflushed, .. } = self;
        guard.frames.told(connection.take_told());
        loop {
            ready!(connection.poll_write(|bytes| {
                *is_unflushed = true;
                let length = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
                pings.iter_mut().for_each(Pings::moved);
                Poll::Ready(Ok(length))
            }))?;
            if *is_unflushed {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                *is_unflushed = false;
            }
            if !connection.follow_up() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Says why the connection ends.
    fn give_up(&self, broken: Broken) -> End {
        let address = self.client.peer.address;
        tracing::debug!(client.address = %address, error = %broken, "connection ended");
        let abuse = (broken.reason == Reason::ENHANCE_YOUR_CALM).then_some(Limit::Http2Abuse);
        if let Some(limit) = self.guard.exceeded.or(abuse) {
            self.client.door.exceeded(limit);
        }
        self.connection.end(broken);
        End::Told
    }

    /// Closes, after the client had time to read what it was sent.
    async fn linger(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        let (buffers, mut forgotten) = (self.client.edge.buffers.clone(), 0);
        while forgotten < LINGER_BYTES {
            let read = poll_fn(|cx| {
                buffers.with_input(|input| {
                    let mut buffer = ReadBuf::new(input);
                    ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                    Poll::Ready(io::Result::Ok(buffer.filled().len()))
                })
            });
            match read.await? {
                0 => break,
                length => forgotten += length,
            }
        }
        Ok(())
    }
}

impl Guard {
    /// Counts requests that ended in the middle.
    fn count_cut(&mut self) -> Result<(), Broken> {
        let counted = self.frames.cut(self.cut.take(), self.client.edge.clock.now());
        self.judged(counted)
    }

    fn judged(&mut self, judged: Result<(), Limit>) -> Result<(), Broken> {
        judged.map_err(|limit| {
            self.exceeded = Some(limit);
            Broken { reason: Reason::ENHANCE_YOUR_CALM, why: limit.as_str() }
        })
    }
}

impl Server for Guard {
    fn judge(&mut self, head: &FrameHead, takes_back: bool) -> Result<(), Broken> {
        let judged = self.frames.arrived(head, takes_back, self.client.edge.clock.now());
        self.judged(judged)
    }

    fn take(&mut self, request: Request) {
        self.client.note_request();
        exchange::begin(&self.client, &self.cut, request);
    }

    fn mistaken(&mut self) -> Result<(), Broken> {
        let judged = self.frames.mistaken(self.client.edge.clock.now());
        self.judged(judged)
    }
}

fn of_connection(limits: &Limits) -> ConnectionLimits {
    let head = FieldLimits { bytes: limits.max_header_bytes, fields: limits.max_headers };
    ConnectionLimits { streams: limits.http2.max_concurrent_streams, head }
}
