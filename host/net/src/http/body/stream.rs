//! What comes over HTTP/2, whichever way.
//!
//! **Invariant:** a message that is cut off never looks like one that came to its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::StreamError;
use crate::{
    h1::{BodyError, WireError, retain_trailers},
    http::headers::is_padded,
};

/// What comes over HTTP/2.
#[derive(Debug)]
pub(crate) struct Streamed {
    incoming: Incoming,
    /// How the other connection hears of it when this one is cut off.
    cut: h2::Reason,
}

impl Streamed {
    /// The body of a request.
    pub(crate) fn request(incoming: Incoming) -> Self {
        Self { incoming, cut: h2::Reason::CANCEL }
    }

    /// The body of a response.
    pub(crate) fn response(incoming: Incoming) -> Self {
        Self { incoming, cut: h2::Reason::INTERNAL_ERROR }
    }

    /// The next piece. hyper says that there is no more after RST_STREAM with NO_ERROR too, which is for
    /// messages that are complete (RFC 9113, 8.1): behind one that is not, it is an error. Of trailers
    /// there is what may stand there.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            None if !self.is_end() => {
                return Poll::Ready(Some(Err(StreamError::Cut(self.cut.into()))));
            }
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        Poll::Ready(match frame.into_trailers() {
            Ok(trailers) if trailers.values().any(is_padded) => {
                Some(Err(WireError::Body(BodyError::Trailers).into()))
            }
            Ok(trailers) => retain_trailers(trailers).map(|it| Ok(Frame::trailers(it))),
            Err(frame) => Some(Ok(frame)),
        })
    }

    /// Whether all of it was read, to its end.
    pub(crate) fn is_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// How long it is, where that is known.
    pub(crate) fn size(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
