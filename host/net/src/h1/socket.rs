//! The bytes of a connection: what was read and not used yet, and what could not be written yet.
//!
//! **Invariant:** bytes leave in the order in which they were written, and a socket that has
//! nothing to keep holds no buffer.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{passage, pipe::Pipe, stream::Stream};

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: Stream,
    /// Read, and not used yet.
    pub(super) ahead: Bytes,
    /// To be written, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// What goes past our memory and is to be written before that.
    pub(super) pipe: Option<Pipe>,
    /// An encrypted stream keeps bytes itself until it is flushed.
    is_unflushed: bool,
    /// Whether bytes have gone in or out since this was last reset.
    pub(super) has_moved: bool,
}

impl Socket {
    pub(super) fn new(stream: Stream, ahead: Bytes) -> Self {
        let (is_unflushed, has_moved, pipe) = (false, false, None);
        Self { stream, ahead, pending: Vec::new(), sent: 0, pipe, is_unflushed, has_moved }
    }

    /// Reads what has arrived; nothing is the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.has_moved = true;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes as much as the system takes, and keeps the rest for [`poll_flush`](Self::poll_flush).
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> io::Result<()> {
        let mut sent = 0;
        if self.pending.is_empty() && self.is_passed() {
            let all = first.len() + second.len();
            while sent < all {
                match self.poll_write(
                    cx,
                    rest(first, sent),
                    rest(second, sent.saturating_sub(first.len())),
                ) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(written)) => sent += written,
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
        }
        self.pending.extend_from_slice(rest(first, sent));
        self.pending.extend_from_slice(rest(second, sent.saturating_sub(first.len())));
        if let Poll::Ready(flushed) = self.poll_flush_stream(cx) {
            flushed?;
        }
        Ok(())
    }

    /// Whether everything that was written has been handed to the system.
    pub(super) fn is_flushed(&self) -> bool {
        self.pending.is_empty() && self.is_passed() && !self.is_unflushed
    }

    fn is_passed(&self) -> bool {
        self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Hands what is left to the system.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(pipe) = &mut self.pipe {
            let before = pipe.held();
            let drained = passage::poll_drain(cx, &self.stream, pipe);
            self.has_moved |= pipe.held() < before;
            ready!(drained)?;
        }
        while self.sent < self.pending.len() {
            let pending = std::mem::take(&mut self.pending);
            let polled = self.poll_write(cx, rest(&pending, self.sent), &[]);
            self.pending = pending;
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.pending = Vec::new();
        self.sent = 0;
        self.poll_flush_stream(cx)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// The stream below, and what was read of it already.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.ahead)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let polled = match (first, second) {
            (only, []) | ([], only) => stream.poll_write(cx, only),
            (first, second) => {
                stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
            }
        };
        self.is_unflushed |= matches!(self.stream, Stream::Tls(_));
        self.has_moved |= polled.is_ready();
        polled
    }

    fn poll_flush_stream(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}
