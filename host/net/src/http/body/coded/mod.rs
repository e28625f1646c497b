//! A body that is compressed on its way, or that was read ahead for the question whether it is to be.
//!
//! **Invariant:** what breaks off is never ended as if it were complete; no more is read of the source than
//! is written; and no more is done in one go than others on this thread can wait for.

use std::{
    collections::VecDeque,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use portolan_core::compress::Coding;

use super::{
    Pouring, StreamError,
    response::{Body, Source},
};
use crate::{
    h1::{Framing, Outlet, PourError, Poured},
    http::encoder::Encoder,
};

/// How much is compressed before others have their turn: less than half a millisecond.
const MOST_AT_ONCE: usize = 32 * 1024;
/// And before what came of it is written.
const PIECE: usize = 16 * 1024;
/// How much is read ahead at most. What is longer is long, whatever was meant by that.
const MOST_AHEAD: u64 = 64 * 1024;

/// A body on its way through an encoder.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) source: Source,
    /// What was read ahead, or has come and had no turn yet.
    ahead: VecDeque<Bytes>,
    /// What came behind that, once it has.
    behind: Option<Result<Option<HeaderMap>, StreamError>>,
    state: State,
    /// How much was compressed since others had their turn.
    done: usize,
    /// How much of its content was handed on.
    taken: u64,
}

#[derive(Debug)]
enum State {
    /// It goes on as it came.
    Plain,
    Encoding(Encoder),
    /// The encoder has ended.
    Ended,
}

impl Body {
    /// Whether it is that long, as far as it is known.
    pub(crate) fn is_as_long(&self, least: u64) -> Option<bool> {
        match self.framing() {
            Framing::Empty => Some(false),
            Framing::Length(length) => Some(length >= least),
            Framing::Chunked | Framing::Close => match &self.source {
                Source::Coded(coded) => coded.is_as_long(least),
                Source::Full(_) | Source::Link(_) | Source::Stream(..) => None,
            },
        }
    }

    /// Reads ahead until it is known whether it is that long.
    pub(crate) fn poll_as_long(&mut self, cx: &mut Context<'_>, least: u64) -> Poll<bool> {
        loop {
            if let Some(known) = self.is_as_long(least) {
                return Poll::Ready(known);
            }
            ready!(self.coded().poll_ahead(cx));
        }
    }

    /// Compresses it. An error: it stays as it is.
    pub(crate) fn compress(&mut self, coding: Coding) -> std::io::Result<()> {
        let length = match self.framing() {
            Framing::Length(length) => Some(length),
            Framing::Empty | Framing::Chunked | Framing::Close => None,
        };
        let encoder = Encoder::new(coding, length)?;
        self.coded().state = State::Encoding(encoder);
        Ok(())
    }

    /// The same body, one that can be read ahead.
    fn coded(&mut self) -> &mut Coded {
        if !matches!(&self.source, Source::Coded(coded) if matches!(coded.state, State::Plain)) {
            let source = std::mem::replace(&mut self.source, Source::Full(Bytes::new()));
            self.source = Source::Coded(Box::new(Coded::of(source)));
        }
        match &mut self.source {
            Source::Coded(coded) => coded,
            Source::Full(_) | Source::Link(_) | Source::Stream(..) => {
                unreachable!("it was made one")
            }
        }
    }
}

impl Coded {
    fn of(source: Source) -> Self {
        let (ahead, behind) = (VecDeque::new(), None);
        Self { source, ahead, behind, state: State::Plain, done: 0, taken: 0 }
    }

    /// How much of its content was handed on, before it was compressed.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn held(&self) -> u64 {
        self.ahead.iter().map(|piece| piece.len() as u64).sum()
    }

    fn is_as_long(&self, least: u64) -> Option<bool> {
        let held = self.held();
        match &self.behind {
            _ if held >= least.min(MOST_AHEAD) => Some(true),
            Some(_) => Some(false),
            None => None,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        match (&self.state, &self.behind) {
            (State::Encoding(_) | State::Ended, _) => Framing::Chunked,
            (State::Plain, Some(Ok(None))) if self.ahead.is_empty() => Framing::Empty,
            (State::Plain, Some(Ok(None))) => Framing::Length(self.held()),
            (State::Plain, Some(Ok(Some(_)) | Err(_))) => Framing::Chunked,
            (State::Plain, None) if self.ahead.is_empty() => self.source.framing(),
            // The source speaks of what is left of it only.
            (State::Plain, None) => Framing::Chunked,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        match (&self.state, &self.behind) {
            (State::Encoding(_), _) => false,
            (State::Ended, behind) => behind.is_none(),
            (State::Plain, Some(Ok(None))) => self.ahead.is_empty(),
            (State::Plain, Some(_)) => false,
            (State::Plain, None) => self.ahead.is_empty() && self.source.is_end_stream(),
        }
    }

    /// Reads a piece, or the end.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.source.poll_frame(cx)) {
            None => self.behind = Some(Ok(None)),
            Some(Err(error)) => self.behind = Some(Err(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => self.ahead.push_back(data),
                Err(frame) => self.behind = Some(Ok(frame.into_trailers().ok())),
            },
        }
        // Over HTTP/2 the end may come with the last of the content (RFC 9113, 6.1).
        if self.behind.is_none() && self.source.is_end_stream() {
            self.behind = Some(Ok(None));
        }
        Poll::Ready(())
    }

    /// A piece of what has come; `None`: there is no more.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        loop {
            if let Some(first) = self.ahead.front_mut() {
                let piece = first.split_to(first.len().min(PIECE));
                if first.is_empty() {
                    self.ahead.pop_front();
                }
                self.taken += piece.len() as u64;
                return Poll::Ready(Ok(Some(piece)));
            }
            match self.behind.take_if(|behind| behind.is_err()) {
                Some(Err(error)) => return Poll::Ready(Err(error)),
                Some(Ok(_)) | None if self.behind.is_some() => return Poll::Ready(Ok(None)),
                Some(Ok(_)) | None => ready!(self.poll_ahead(cx)),
            }
        }
    }

    /// Compresses what has come, and hands on what comes of it. True: that was the last.
    fn poll_encode(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Context<'_>, &mut Vec<u8>) -> Result<(), PourError<StreamError>>,
    ) -> Poll<Result<bool, PourError<StreamError>>> {
        let source = |error| PourError::Source(error);
        if self.done >= MOST_AT_ONCE {
            self.done = 0;
            ready!(poll_turn(cx));
        }
        let piece = self.poll_piece(cx);
        let State::Encoding(encoder) = &mut self.state else { return Poll::Ready(Ok(true)) };
        match piece.map_err(source)? {
            // Somebody may wait for what there is.
            Poll::Pending => {
                self.done = 0;
                encoder.flush().map_err(StreamError::Coding).map_err(source)?;
                if encoder.output().is_empty() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(Some(piece)) => {
                self.done += piece.len();
                encoder.write(&piece).map_err(StreamError::Coding).map_err(source)?;
            }
            Poll::Ready(None) => {
                if let State::Encoding(encoder) = std::mem::replace(&mut self.state, State::Ended) {
                    let mut rest = encoder.finish().map_err(StreamError::Coding).map_err(source)?;
                    take(cx, &mut rest)?;
                }
                return Poll::Ready(Ok(true));
            }
        }
        take(cx, encoder.output())?;
        Poll::Ready(Ok(false))
    }

    fn trailers(&mut self) -> Option<HeaderMap> {
        self.behind.take().and_then(Result::ok).flatten()
    }

    pub(super) fn poll_pour(&mut self, cx: &mut Context<'_>, outlet: &mut Outlet<'_>) -> Pouring {
        let is_last = if let State::Plain = self.state {
            if self.ahead.is_empty() && self.behind.is_none() {
                let before = outlet.content;
                let poured = self.source.poll_pour(cx, outlet);
                self.taken += outlet.content - before;
                return poured;
            }
            match ready!(self.poll_piece(cx)).map_err(PourError::Source)? {
                Some(piece) => {
                    outlet.push(cx, &piece).map_err(PourError::Sink)?;
                    false
                }
                None => true,
            }
        } else {
            ready!(self.poll_encode(cx, |cx, output| {
                outlet.push(cx, output).map_err(PourError::Sink)?;
                output.clear();
                Ok(())
            }))?
        };
        Poll::Ready(Ok(if is_last { Poured::End(self.trailers()) } else { Poured::More }))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        loop {
            let mut data = Bytes::new();
            let is_last = if let State::Plain = self.state {
                if self.ahead.is_empty() && self.behind.is_none() {
                    let frame = self.source.poll_frame(cx);
                    if let Poll::Ready(Some(Ok(frame))) = &frame {
                        self.taken += frame.data_ref().map_or(0, Bytes::len) as u64;
                    }
                    return frame;
                }
                let piece = ready!(self.poll_piece(cx))?;
                let is_last = piece.is_none();
                data = piece.unwrap_or_default();
                is_last
            } else {
                let encoded = ready!(self.poll_encode(cx, |_, output| {
                    data = std::mem::take(output).into();
                    Ok(())
                }));
                match encoded {
                    Ok(is_last) => is_last,
                    Err(PourError::Source(error)) => return Poll::Ready(Some(Err(error))),
                    Err(PourError::Sink(error)) => {
                        return Poll::Ready(Some(Err(StreamError::Coding(error))));
                    }
                }
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if is_last {
                return Poll::Ready(self.trailers().map(|trailers| Ok(Frame::trailers(trailers))));
            }
        }
    }
}

/// Lets others on this thread have their turn, those too for whom something has come meanwhile: who only wakes
/// itself comes before them.
fn poll_turn(cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::yield_now()).poll(cx)
}

#[cfg(test)]
mod tests;
