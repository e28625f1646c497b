//! Large bodies from one plain connection to another, past our memory.
//!
//! **Invariant:** only the content of a body whose length is known goes this way, and only while
//! nothing else waits to be read or written: so not a byte of another message can be among it.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

use super::{
    body::Decoder,
    error::WireError,
    framing::Framing,
    line::{Buffers, Line, PourError, Poured},
    outlet::{Outlet, Way},
    pipe::Pipe,
    stream::Stream,
};

/// What is shorter is copied: that costs less than the calls.
const LONG: u64 = 96 * 1024;

/// What pouring past our memory comes to.
pub(super) type Passed = Poll<Result<Poured, PourError<WireError>>>;

impl Line {
    /// Passes on what has arrived of the body, if it can go past our memory.
    pub(super) fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Option<Passed> {
        let Decoder::Length(left) = self.decoder else { return None };
        let Way::Socket(socket, gathered) = &mut outlet.way else { return None };
        let is_clear = self.socket.ahead.is_empty()
            && gathered.is_empty()
            && socket.is_flushed()
            && matches!(outlet.framing, Framing::Length(_));
        let (Stream::Plain(from), Stream::Plain(to)) = (&self.socket.stream, &socket.stream) else {
            return None;
        };
        if left < LONG && !self.is_passing || !is_clear {
            return None;
        }
        let mut pipe = self.buffers.pipe()?;
        let filled = match poll_fill(cx, from, &mut pipe, left) {
            Poll::Ready(filled) => filled,
            Poll::Pending => {
                self.buffers.keep(pipe);
                self.is_wanted = true;
                return Some(Poll::Pending);
            }
        };
        self.is_wanted = false;
        let taken = match filled {
            Ok(0) => return Some(Poll::Ready(Err(PourError::Source(WireError::Cut)))),
            Ok(taken) => taken as u64,
            // Not every system and not every socket can.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.buffers.pass_no_more();
                return None;
            }
            Err(error) => return Some(Poll::Ready(Err(PourError::Source(WireError::Io(error))))),
        };
        let left = left.saturating_sub(taken);
        self.decoder = if left == 0 { Decoder::Done } else { Decoder::Length(left) };
        (self.is_passing, self.has_heard, self.socket.has_moved) = (left > 0, true, true);
        outlet.content += taken;
        let drained = drain(to, &mut pipe, left > 0);
        socket.has_moved = true;
        if let Err(error) = drained {
            return Some(Poll::Ready(Err(PourError::Sink(error))));
        }
        match pipe.is_empty() {
            true => self.buffers.keep(pipe),
            // The rest is written when there is room, before anything else.
            false => socket.pipe = Some(pipe),
        }
        let poured = if left == 0 { Poured::End(None) } else { Poured::More };
        Some(Poll::Ready(Ok(poured)))
    }
}

fn poll_fill(
    cx: &mut Context<'_>,
    from: &TcpStream,
    pipe: &mut Pipe,
    most: u64,
) -> Poll<io::Result<usize>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    loop {
        ready!(from.poll_read_ready(cx))?;
        match from.try_io(Interest::READABLE, || pipe.fill(from, most)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            filled => return Poll::Ready(filled),
        }
    }
}

/// Writes what a pipe holds, as far as there is room.
fn drain(to: &TcpStream, pipe: &mut Pipe, is_more_to_come: bool) -> io::Result<()> {
    while !pipe.is_empty() {
        match to.try_io(Interest::WRITABLE, || pipe.drain(to, is_more_to_come)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for room and writes what a pipe holds, to its end.
pub(super) fn poll_drain(
    cx: &mut Context<'_>,
    to: &Stream,
    pipe: &mut Pipe,
) -> Poll<io::Result<()>> {
    let Stream::Plain(to) = to else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
    while !pipe.is_empty() {
        ready!(to.poll_write_ready(cx))?;
        drain(to, pipe, false)?;
    }
    Poll::Ready(Ok(()))
}

/// Pipes that a worker keeps for the next body.
const MOST_KEPT: usize = 8;

impl Buffers {
    /// An empty pipe; `None`: there can be none.
    fn pipe(&self) -> Option<Pipe> {
        if !self.passes.get() {
            return None;
        }
        let kept = self.pipes.borrow_mut().pop();
        // Without a file descriptor to spare, bodies are copied.
        kept.or_else(|| Pipe::open().ok())
    }

    /// Keeps an empty pipe for the next body.
    pub(super) fn keep(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() < MOST_KEPT {
            pipes.push(pipe);
        }
    }

    fn pass_no_more(&self) {
        self.passes.set(false);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, rc::Rc};

    use bytes::Bytes;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::h1::HeadLimits;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (connected, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_long_body_goes_past_our_memory_and_a_short_one_does_not() {
        for (length, passes) in [(LONG / 2, false), (8 * LONG, true)] {
            let ((mut source, from), (mut sink, to)) = (pair().await, pair().await);
            let buffers = Rc::<Buffers>::default();
            let mut from = Line::new(Stream::Plain(from), Bytes::new(), buffers.clone());
            let mut to = Line::new(Stream::Plain(to), Bytes::new(), buffers.clone());
            let sent: Vec<u8> = (0..length).map(|place| (place / 7) as u8).collect();
            let expected = sent.clone();
            let feeding = tokio::spawn(async move {
                let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
                source.write_all(head.as_bytes()).await.unwrap();
                source.write_all(&sent).await.unwrap();
                source
            });
            let reading = tokio::spawn(async move {
                let mut read = vec![0; expected.len()];
                sink.read_exact(&mut read).await.unwrap();
                assert!(read == expected);
            });
            let limits = HeadLimits { bytes: 4096, lines: 10 };
            let head = poll_fn(|cx| from.poll_request(cx, limits)).await.unwrap().unwrap();
            let (mut gathered, mut has_passed) = (Vec::new(), false);
            poll_fn(|cx| {
                loop {
                    ready!(to.poll_flush(cx)).unwrap();
                    let mut outlet = to.outlet(&mut gathered, head.framing);
                    let poured = ready!(from.poll_pour(cx, &mut outlet)).unwrap();
                    outlet.flush(cx).unwrap();
                    has_passed |= from.is_passing;
                    if let Poured::End(_) = poured {
                        return to.poll_flush(cx);
                    }
                }
            })
            .await
            .unwrap();
            reading.await.unwrap();
            assert_eq!((has_passed, buffers.pipes.borrow().len()), (passes, passes.into()));
            assert!(from.is_read());
            drop(feeding.await.unwrap());
        }
    }
}
