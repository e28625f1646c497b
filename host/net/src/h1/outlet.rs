//! Where a body goes: framed for the connection that it leaves by, gathered into few writes.

use std::{
    fmt,
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
    pub(super) way: Way<'a>,
    pub(super) framing: Framing,
    /// How much content it took.
    pub(crate) content: u64,
}

/// Where it leads.
#[derive(Debug)]
pub(super) enum Way<'a> {
    /// A connection of HTTP/1; and what is to be written next, which may hold a head already.
    Socket(&'a mut Socket, &'a mut Vec<u8>),
    Basin(&'a mut dyn Basin),
}

/// Takes content that is framed otherwise.
pub(crate) trait Basin: fmt::Debug {
    /// Takes all of it.
    fn take(&mut self, content: &[u8]);
}

impl<'a> Outlet<'a> {
    /// A way that leads there.
    pub(crate) fn into_basin(basin: &'a mut dyn Basin) -> Self {
        Self { way: Way::Basin(basin), framing: Framing::Close, content: 0 }
    }

    /// Takes content.
    pub(crate) fn push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<()> {
        if data.is_empty() || self.framing == Framing::Empty {
            return Ok(());
        }
        self.content += data.len() as u64;
        let (socket, gathered) = match &mut self.way {
            Way::Socket(socket, gathered) => (socket, gathered),
            Way::Basin(basin) => {
                basin.take(data);
                return Ok(());
            }
        };
        let is_chunked = self.framing == Framing::Chunked;
        if is_chunked {
            // Writing into a vector cannot fail.
            _ = write!(gathered, "{:x}\r\n", data.len());
        }
        if data.len() < LARGE {
            gathered.extend_from_slice(data);
        } else {
            socket.write(cx, gathered, data)?;
            gathered.clear();
        }
        if is_chunked {
            gathered.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Whether what was gathered can wait for what comes with it.
    pub(crate) fn may_wait(&self) -> bool {
        match &self.way {
            Way::Socket(_, gathered) => gathered.len() < LARGE,
            Way::Basin(_) => true,
        }
    }

    /// Takes the end.
    pub(crate) fn end(&mut self, trailers: Option<&HeaderMap>) {
        if let Way::Socket(_, gathered) = &mut self.way
            && self.framing == Framing::Chunked
        {
            gathered.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                encode::trailers(gathered, trailers);
            }
            gathered.extend_from_slice(b"\r\n");
        }
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Way::Socket(socket, gathered) = &mut self.way
            && !gathered.is_empty()
        {
            socket.write(cx, gathered, &[])?;
            gathered.clear();
        }
        Ok(())
    }
}
