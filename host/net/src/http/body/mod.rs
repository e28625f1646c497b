//! The two body types: what is sent to a backend, and what is sent to a client.
//!
//! **Invariant:** bytes are handed on as they came and never gathered. A connection to a backend
//! goes back to its pool the moment its response is complete, or, where the backend answered early, the last of
//! the request is sent.

mod coded;
mod progress;
mod request;
mod response;
mod rest;
mod stream;

use std::{
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

pub(crate) use self::{
    progress::{Awaited, Progress},
    request::{Bond, Content, RequestBody, Turn},
    response::Body,
    rest::{Rest, RestLimits},
    stream::Streamed,
};
use super::stall::Stall;
use crate::h1::{Framing, Outlet, PourError, Poured, WireError};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// Over HTTP/1.
    #[error(transparent)]
    Http1(#[from] WireError),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// Over HTTP/2, and without an error, but not at its end. The cause is what is said of it where it
    /// was to go.
    #[error("cut off before its end")]
    Cut(#[source] h2::Error),
    /// Nothing came for too long.
    #[error("nothing came for {} ms", .0.as_millis())]
    Stalled(Duration),
    /// It is not over in time.
    #[error("the whole exchange took too long")]
    Late,
    /// It could not be compressed.
    #[error("cannot be compressed")]
    Coding(#[source] io::Error),
    /// Somebody else has the rest of it: the request was sent again.
    #[error("sent again to another backend")]
    Superseded,
}

impl StreamError {
    /// Whether the other side went away, and did not merely write nonsense.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Http1(WireError::Io(_) | WireError::Cut) | Self::Http2(_) | Self::Cut(_)
        )
    }

    /// Whether nothing came for too long.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Self::Stalled(_) | Self::Http1(WireError::Late))
    }
}

/// What pouring comes to.
pub(super) type Pouring = Poll<Result<Poured, PourError<StreamError>>>;

/// Pours a frame; `is_last`: nothing comes behind it.
pub(super) fn pour_frame(
    frame: Poll<Option<Result<Frame<Bytes>, StreamError>>>,
    cx: &mut Context<'_>,
    outlet: &mut Outlet<'_>,
    is_last: impl FnOnce() -> bool,
) -> Pouring {
    let frame = match ready!(frame) {
        None => return Poll::Ready(Ok(Poured::End(None))),
        Some(Err(error)) => return Poll::Ready(Err(PourError::Source(error))),
        Some(Ok(frame)) => frame,
    };
    Poll::Ready(match frame.into_data() {
        Ok(data) => match outlet.push(cx, &data) {
            Err(error) => Err(PourError::Sink(error)),
            Ok(()) if is_last() => Ok(Poured::End(None)),
            Ok(()) => Ok(Poured::More),
        },
        Err(frame) => Ok(Poured::End(frame.into_trailers().ok())),
    })
}

/// What was poured, or that it was waited for too long.
fn watched(stall: &mut Stall, cx: &mut Context<'_>, poured: Pouring) -> Pouring {
    let judged = ready!(stall.judge(cx, poured));
    Poll::Ready(judged.map_err(PourError::Source).and_then(|poured| poured))
}

/// What has arrived of an HTTP/1 body, as a frame.
fn poll_bytes_frame(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<(Bytes, Poured), WireError>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
    loop {
        return Poll::Ready(match ready!(poll(cx)) {
            Err(error) => Some(Err(error.into())),
            // Framing alone: more may be there.
            Ok((data, Poured::More)) if data.is_empty() => continue,
            Ok((data, Poured::More | Poured::End(None))) if !data.is_empty() => {
                Some(Ok(Frame::data(data)))
            }
            Ok((_, Poured::End(Some(trailers)))) => Some(Ok(Frame::trailers(trailers))),
            Ok((_, Poured::More | Poured::End(None))) => None,
        });
    }
}

/// What is known of the size of a body that is framed so.
fn hint(framing: Framing) -> SizeHint {
    match framing {
        Framing::Empty => SizeHint::with_exact(0),
        Framing::Length(length) => SizeHint::with_exact(length),
        Framing::Chunked | Framing::Close => SizeHint::default(),
    }
}

impl PourError<WireError> {
    fn widen(self) -> PourError<StreamError> {
        match self {
            Self::Source(error) => PourError::Source(error.into()),
            Self::Sink(error) => PourError::Sink(error),
        }
    }
}
