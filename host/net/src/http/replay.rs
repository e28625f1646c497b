//! Bodies of requests that are kept, so that they can be sent more than once.
//!
//! **Invariant:** what is kept is bounded; a body that turns out to be longer is handed on as it
//! came, and sent once.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::body::{RequestBody, StreamError};

/// A body of which something was read already.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    ahead: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// What is still to come; `None`: everything is there.
    rest: Option<RequestBody>,
}

/// Reads a body, as far as it has at most so many bytes. The answer is the same body, which can be
/// copied if it was read to its end.
pub(crate) async fn keep(mut body: RequestBody, limit: u64) -> Result<RequestBody, StreamError> {
    if body.copy().is_some() || body.size_hint().lower() > limit {
        return Ok(body);
    }
    let (mut kept, mut read) = (Replay::default(), 0_u64);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => {
                read += data.len() as u64;
                kept.ahead.push_back(data);
            }
            Err(frame) => kept.trailers = frame.into_trailers().ok(),
        }
        if read > limit {
            kept.rest = Some(body);
            break;
        }
    }
    Ok(RequestBody::replay(kept))
}

impl Replay {
    /// The same again, if all of it is there.
    pub(crate) fn copy(&self) -> Option<Self> {
        let (ahead, trailers) = (self.ahead.clone(), self.trailers.clone());
        self.rest.is_none().then_some(Self { ahead, trailers, rest: None })
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if let Some(data) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(self.trailers.take().map(|all| Ok(Frame::trailers(all)))),
        }
    }

    pub(crate) fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        let rest = self.rest.as_ref().is_none_or(HttpBody::is_end_stream);
        self.ahead.is_empty() && self.trailers.is_none() && rest
    }

    pub(crate) fn size(&self) -> SizeHint {
        let ahead = self.ahead.iter().map(|data| data.len() as u64).sum::<u64>();
        if self.rest.is_none() {
            return SizeHint::with_exact(ahead);
        }
        // How much of it is left is not known: what was declared was read in part.
        let mut size = SizeHint::new();
        size.set_lower(ahead);
        size
    }
}
