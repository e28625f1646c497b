//! The content of a request, as it comes.
//!
//! **Invariant:** content that is cut off never looks like content that came to its end, and what nobody takes
//! any more is given back to the connection, so that others have room.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, StatusCode};
use hyper::body::SizeHint;

use super::{
    responder,
    state::{Shared, note},
};

/// A piece of a message.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// The content of a request. Dropped, it is not wanted any more.
#[derive(Debug)]
pub(crate) struct Incoming {
    shared: Shared,
    id: u32,
    /// How much is to come, where that was said.
    left: Option<u64>,
    /// Whether its end was told.
    is_over: bool,
}

impl Incoming {
    pub(super) fn new(shared: Shared, id: u32, left: Option<u64>) -> Self {
        Self { shared, id, left, is_over: false }
    }

    /// The next piece; `None`: that was all. An error: it was cut off.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Piece, h2::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut state = self.shared.borrow_mut();
        let stream = state.find(self.id).and_then(|it| Some((it.is_received, it.upload.as_mut()?)));
        let Some((is_received, upload)) = stream else {
            // However often it is asked: an end behind an error would be one.
            return Poll::Ready(Some(Err(Reason::CANCEL.into())));
        };
        if let Some(data) = upload.pop() {
            state.claim_of(self.id, data.len());
            self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Piece::Data(data))));
        }
        if is_received {
            self.is_over = true;
            let trailers = upload.trailers.take();
            return Poll::Ready(trailers.map(|trailers| Ok(Piece::Trailers(trailers))));
        }
        note(&mut upload.reader, cx);
        if std::mem::take(&mut upload.awaits_continue) {
            responder::interim(&mut state, self.id, StatusCode::CONTINUE, &HeaderMap::new());
        }
        Poll::Pending
    }

    /// Whether all of it was read.
    pub(crate) fn is_end(&self) -> bool {
        if self.is_over {
            return true;
        }
        let mut state = self.shared.borrow_mut();
        state.find(self.id).is_some_and(|stream| {
            stream.is_received && stream.upload.as_ref().is_some_and(|upload| upload.is_read())
        })
    }

    /// How long it is, where that is known.
    pub(crate) fn size(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.is_end() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.shared.borrow_mut();
        let Some(upload) = state.find(self.id).and_then(|stream| stream.upload.take()) else {
            return;
        };
        state.claim(upload.held());
        state.settle(self.id);
    }
}
