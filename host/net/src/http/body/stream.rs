//! What comes over HTTP/2, whichever way.
//!
//! **Invariant:** a message that is cut off never looks like one that came to its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::StreamError;
use crate::{
    h1::{BodyError, WireError, retain_trailers},
    http::headers::is_padded,
    http2::{self, Piece},
};

/// What comes over HTTP/2.
#[derive(Debug)]
pub(crate) enum Streamed {
    /// From a client.
    Request(http2::Incoming),
    /// From a backend.
    Response(Incoming),
}

impl Streamed {
    /// The next piece. Of trailers there is what may stand there.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let piece = match self {
            Self::Request(incoming) => {
                ready!(incoming.poll_piece(cx)).map(|piece| piece.map_err(StreamError::Cut))
            }
            Self::Response(incoming) => ready!(poll_response(incoming, cx)),
        };
        Poll::Ready(match piece {
            Some(Ok(Piece::Data(data))) => Some(Ok(Frame::data(data))),
            Some(Ok(Piece::Trailers(trailers))) => trailing(trailers),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    /// Whether all of it was read, to its end.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Request(incoming) => incoming.is_end(),
            Self::Response(incoming) => incoming.is_end_stream(),
        }
    }

    /// How long it is, where that is known.
    pub(crate) fn size(&self) -> SizeHint {
        match self {
            Self::Request(incoming) => incoming.size(),
            Self::Response(incoming) => incoming.size_hint(),
        }
    }
}

/// hyper says that there is no more after RST_STREAM with NO_ERROR too, which is for messages that are complete
/// (RFC 9113, 8.1): behind one that is not, it is an error.
fn poll_response(
    incoming: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Piece, StreamError>>> {
    Poll::Ready(match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
        None if incoming.is_end_stream() => None,
        None => Some(Err(StreamError::Cut(h2::Reason::INTERNAL_ERROR.into()))),
        Some(Err(error)) => Some(Err(error.into())),
        Some(Ok(frame)) => Some(Ok(match frame.into_data() {
            Ok(data) => Piece::Data(data),
            Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
        })),
    })
}

fn trailing(trailers: HeaderMap) -> Option<Result<Frame<Bytes>, StreamError>> {
    if trailers.values().any(is_padded) {
        return Some(Err(WireError::Body(BodyError::Trailers).into()));
    }
    retain_trailers(trailers).map(|trailers| Ok(Frame::trailers(trailers)))
}
