//! The bytes of an HTTP/2 connection, as hyper reads and writes them.
//!
//! **Invariant:** bytes that were read ahead are read again, once, before any others.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::h1::Stream;

/// A stream with the bytes that were read ahead of it.
#[derive(Debug)]
pub(crate) struct Wire<S = Stream> {
    ahead: Bytes,
    stream: TokioIo<S>,
}

impl<S> Wire<S> {
    /// A stream of which `ahead` was read already.
    pub(crate) fn new(stream: S, ahead: Bytes) -> Self {
        Self { ahead, stream: TokioIo::new(stream) }
    }

    fn stream(&mut self) -> Pin<&mut TokioIo<S>>
    where
        S: Unpin,
    {
        Pin::new(&mut self.stream)
    }
}

impl<S: AsyncRead + Unpin> Read for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return self.stream().poll_read(cx, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        let chunk = self.ahead.split_to(length);
        buffer.put_slice(chunk.chunk());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }
}
