//! What of an HTTP/2 connection waits to be written, so that the answers of many requests leave together.
//!
//! h2 writes after each answer. One write is one record of TLS, one system call, one packet, and the
//! client reads and asks again for each by itself, so the next answers come one by one as well. Here
//! short writes are gathered until whoever serves the connection lets them go.
//!
//! **Invariant:** bytes leave in the order in which they were written, and whoever gathers them
//! releases them: [`Cork::is_waiting`] is looked at each time that the connection was polled.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A write of so many bytes gains nothing from waiting, and would be copied for nothing.
const LARGE: usize = 8 * 1024;
/// No more is gathered than this: it is a few records of TLS.
const FULL: usize = 32 * 1024;
/// Room that is kept for the next answers; more is given back.
const KEPT: usize = 8 * 1024;

/// A stream whose short writes are gathered.
#[derive(Debug)]
pub(super) struct Cork<S> {
    stream: S,
    waiting: Vec<u8>,
    /// So much of what waits has left.
    gone: usize,
    /// Whether something was written since all was last let go: encryption may hold it as well.
    is_dirty: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Cork<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, waiting: Vec::new(), gone: 0, is_dirty: false }
    }

    /// Whether anything is to be released.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_dirty
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Takes all of these bytes, or, where they are many and nothing waits, some of them.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.waiting.len() + length > FULL {
            ready!(self.poll_release(cx))?;
        }
        self.is_dirty = true;
        if length >= LARGE && self.waiting.is_empty() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        slices.iter().for_each(|slice| self.waiting.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }

    /// Lets go what waits.
    pub(super) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.gone += length,
            }
        }
        self.gone = 0;
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_dirty = false;
        Poll::Ready(Ok(()))
    }

    /// Gives back the room for answers: none is expected.
    pub(super) fn give_back(&mut self) {
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    /// Writes, and answers how much was taken.
    fn write(cork: &mut Cork<tokio::io::DuplexStream>, bytes: &[u8]) -> Option<usize> {
        let mut cx = Context::from_waker(Waker::noop());
        match cork.poll_write(&mut cx, &[IoSlice::new(bytes)]) {
            Poll::Ready(taken) => Some(taken.unwrap()),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn what_is_short_leaves_together_and_in_order() {
        let (here, mut there) = duplex(1 << 20);
        let mut cork = Cork::new(here);
        assert_eq!((write(&mut cork, b"one "), write(&mut cork, b"two ")), (Some(4), Some(4)));
        assert!(cork.is_waiting());
        // Behind what waits, a long one waits too.
        let long = vec![b'x'; LARGE];
        assert_eq!(write(&mut cork, &long), Some(LARGE));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(cork.poll_release(&mut cx).is_ready() && !cork.is_waiting());
        let mut read = vec![0; 8 + LARGE];
        there.read_exact(&mut read).await.unwrap();
        assert!(read.starts_with(b"one two xxx"));
        // By itself it goes at once, though encryption may still hold some of it.
        assert_eq!(write(&mut cork, &long), Some(LARGE));
        there.read_exact(&mut read[..LARGE]).await.unwrap();
        assert!(cork.is_waiting() && cork.poll_release(&mut cx).is_ready());
    }

    #[tokio::test]
    async fn no_more_is_gathered_than_the_client_reads() {
        let (here, mut there) = duplex(10);
        let mut cork = Cork::new(here);
        let piece = vec![b'x'; LARGE - 1];
        let taken = (0..100).take_while(|_| write(&mut cork, &piece).is_some()).count();
        assert_eq!(taken, FULL / piece.len());
        let releasing = async {
            poll_fn(|cx| cork.poll_release(cx)).await.unwrap();
            drop(cork);
        };
        let mut read = Vec::new();
        let (_, all) = tokio::join!(releasing, there.read_to_end(&mut read));
        assert_eq!(all.unwrap(), taken * piece.len());
    }
}
