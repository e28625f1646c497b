//! Where a body goes: framed for the connection that it leaves by, gathered into few writes.

use std::{
    io::{self, Write as _},
    task::Context,
};

use http::HeaderMap;

use super::{encode, framing::Framing, socket::Socket};

/// From this size on, bytes are written from where they stand, behind what was gathered. To copy
/// less is cheaper than a system call of its own.
const LARGE: usize = 32 * 1024;

/// A body's way out.
#[derive(Debug)]
pub(crate) struct Outlet<'a> {
    pub(super) socket: &'a mut Socket,
    /// What is to be written next; may hold a head already.
    pub(super) gathered: &'a mut Vec<u8>,
    pub(super) framing: Framing,
    /// How much content it took.
    pub(crate) content: u64,
}

impl Outlet<'_> {
    /// Takes content.
    pub(crate) fn push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<()> {
        if data.is_empty() || self.framing == Framing::Empty {
            return Ok(());
        }
        self.content += data.len() as u64;
        let is_chunked = self.framing == Framing::Chunked;
        if is_chunked {
            // Writing into a vector cannot fail.
            _ = write!(self.gathered, "{:x}\r\n", data.len());
        }
        if data.len() < LARGE {
            self.gathered.extend_from_slice(data);
        } else {
            self.socket.write(cx, self.gathered, data)?;
            self.gathered.clear();
        }
        if is_chunked {
            self.gathered.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Whether what was gathered can wait for what comes with it.
    pub(crate) fn may_wait(&self) -> bool {
        self.gathered.len() < LARGE
    }

    /// Takes the end.
    pub(crate) fn end(&mut self, trailers: Option<&HeaderMap>) {
        if self.framing == Framing::Chunked {
            self.gathered.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                encode::trailers(self.gathered, trailers);
            }
            self.gathered.extend_from_slice(b"\r\n");
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.gathered.is_empty() {
            self.socket.write(cx, self.gathered, &[])?;
            self.gathered.clear();
        }
        Ok(())
    }
}
