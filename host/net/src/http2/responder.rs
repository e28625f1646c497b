//! The way of a response.
//!
//! **Invariant:** no more is written than the client's windows allow, and a response that does not come to its
//! end is reset: it never looks like one that did.

use std::task::{Context, Poll};

use h2::Reason;
use http::{HeaderMap, HeaderValue, StatusCode, header::DATE};
use portolan_core::exchange::Headers;

use super::{
    frame::{self, FrameHead, HEAD, MOST_PAYLOAD, flag, kind},
    head::is_of_connection,
    state::{MESSAGE, Shared, State, note},
};
use crate::h1::Basin;

/// Whoever answers a request. Dropped before the end, it resets it.
#[derive(Debug)]
pub(crate) struct Responder {
    shared: Shared,
    id: u32,
    has_ended: bool,
}

/// Says what comes before the response to a request.
#[derive(Debug)]
pub(crate) struct Herald {
    shared: Shared,
    id: u32,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a Headers,
    /// The length to tell. What headers say of it counts only where `tells_length`.
    pub(crate) length: Option<u64>,
    pub(crate) tells_length: bool,
}

/// The request is over before its response: taken back by the client, reset for a mistake, or its
/// connection has ended.
#[derive(Debug)]
pub(crate) struct Over;

impl Responder {
    pub(super) fn new(shared: Shared, id: u32) -> Self {
        Self { shared, id, has_ended: false }
    }

    /// Ready when the request is over before its response.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<Over> {
        match self.shared.borrow_mut().find(self.id) {
            None => Poll::Ready(Over),
            Some(stream) => {
                note(&mut stream.writer, cx);
                Poll::Pending
            }
        }
    }

    /// Writes the head, with a date if it tells none. `is_end`: nothing comes behind it.
    pub(crate) fn head(
        &mut self,
        answer: &Answer<'_>,
        date: impl FnOnce() -> HeaderValue,
        is_end: bool,
    ) {
        let shared = self.shared.clone();
        let mut state = shared.borrow_mut();
        match state.find(self.id) {
            None => return,
            Some(stream) => stream.is_answered = true,
        }
        let begin = begin(&mut state);
        let State { output, encoder, .. } = &mut *state;
        encoder.begin(output);
        encoder.status(output, answer.status.as_u16());
        let mut has_date = false;
        let mut write = |name: &[u8], value: &[u8]| encoder.header(output, name, value);
        match answer.headers.lines() {
            Some((unread, added)) => {
                unread.kept().chain([added]).for_each(|run| lines(run, &mut write));
                has_date = unread.has_date || answer.headers.first(&DATE).is_some();
            }
            None => {
                for (name, value) in &**answer.headers {
                    let name = name.as_str();
                    if !is_of_connection(name.as_bytes())
                        && (answer.tells_length || name != "content-length")
                    {
                        has_date |= name == "date";
                        write(name.as_bytes(), value.as_bytes());
                    }
                }
            }
        }
        if let Some(length) = answer.length {
            write(b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        if !has_date {
            write(b"date", date().as_bytes());
        }
        end(&mut state, begin, self.id, is_end);
        if is_end {
            self.ended(&mut state);
        }
    }

    /// Whoever has something to say before the response.
    pub(crate) fn herald(&self) -> Herald {
        Herald { shared: self.shared.clone(), id: self.id }
    }

    /// How much content may be sent now: something.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<usize, Over>> {
        match self.shared.borrow_mut().room(self.id, cx) {
            None => Poll::Ready(Err(Over)),
            Some(0) => Poll::Pending,
            Some(room) => Poll::Ready(Ok(room)),
        }
    }

    /// Begins to write content, for which there is so much room; what is beyond that is `spilt`. It is to be
    /// [given back](Self::poured).
    pub(crate) fn pour<'a>(&self, room: usize, spilt: &'a mut Vec<u8>) -> Pouring<'a> {
        let output = std::mem::take(&mut self.shared.borrow_mut().output);
        let begin = output.len();
        Pouring { output, spilt, id: self.id, room, begin, open: None, length: 0, messages: 0 }
    }

    /// What was poured is sent. `is_end`: it was the last, and nothing comes behind it.
    pub(crate) fn poured(&mut self, pouring: Pouring<'_>, is_end: bool) {
        let is_end = is_end && pouring.spilt.is_empty();
        let Pouring { mut output, begin, open, length, messages, .. } = pouring;
        let shared = self.shared.clone();
        let mut state = shared.borrow_mut();
        match open {
            _ if state.find(self.id).is_none() => output.truncate(begin),
            Some(head) if is_end => {
                if let Some(flags) = output.get_mut(head + 4) {
                    *flags = flag::END_STREAM;
                }
            }
            None if is_end => {
                frame::write(&mut output, kind::DATA, flag::END_STREAM, self.id, &[]);
            }
            Some(_) | None => {}
        }
        let written = output.len() - begin;
        // What was written meanwhile.
        output.append(&mut state.output);
        state.output = output;
        if written > 0 {
            state.tell_of(messages, written);
        }
        if length > 0 {
            state.debit(self.id, length);
        }
        if is_end {
            self.ended(&mut state);
        }
    }

    /// Nothing more is there to send for now. Ready when the request is over before its response.
    pub(crate) fn poll_idle(&self, cx: &Context<'_>) -> Poll<Over> {
        self.shared.borrow_mut().pass(self.id);
        self.poll_over(cx)
    }

    /// Ends the response with trailers.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        let shared = self.shared.clone();
        let mut state = shared.borrow_mut();
        if state.find(self.id).is_none() {
            return;
        }
        let begin = begin(&mut state);
        let State { output, encoder, .. } = &mut *state;
        encoder.begin(output);
        for (name, value) in trailers {
            if !is_of_connection(name.as_str().as_bytes()) {
                encoder.header(output, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        end(&mut state, begin, self.id, true);
        self.ended(&mut state);
    }

    /// Resets the request.
    pub(crate) fn reset(&mut self, reason: Reason) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let mut state = self.shared.borrow_mut();
            if state.find(self.id).is_some() {
                state.reset(self.id, reason);
            }
        }
    }

    fn ended(&mut self, state: &mut State) {
        self.has_ended = true;
        if let Some(stream) = state.find(self.id) {
            stream.is_sent = true;
        }
        state.pass(self.id);
        state.settle(self.id);
    }
}

impl Herald {
    /// Hands an interim response on.
    pub(crate) fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        interim(&mut self.shared.borrow_mut(), self.id, status, headers);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.reset(Reason::CANCEL);
    }
}

/// Content on its way into frames.
#[derive(Debug)]
pub(crate) struct Pouring<'a> {
    output: Vec<u8>,
    spilt: &'a mut Vec<u8>,
    id: u32,
    room: usize,
    begin: usize,
    /// Where the head of the last frame stands.
    open: Option<usize>,
    /// How much content it took.
    length: usize,
    /// How many frames are long enough for a message.
    messages: u32,
}

impl Basin for Pouring<'_> {
    fn take(&mut self, mut content: &[u8]) {
        while self.room > 0 && !content.is_empty() {
            let held = self.open.map_or(MOST_PAYLOAD, |head| self.output.len() - head - HEAD);
            let head = match self.open {
                Some(head) if held < MOST_PAYLOAD => head,
                _ => {
                    let head = self.output.len();
                    self.output.extend_from_slice(&[0; HEAD]);
                    head
                }
            };
            self.open = Some(head);
            let held = self.output.len() - head - HEAD;
            let length = content.len().min(self.room).min(MOST_PAYLOAD - held);
            let (piece, rest) = content.split_at(length);
            self.messages += u32::from(held < MESSAGE && held + length >= MESSAGE);
            self.output.extend_from_slice(piece);
            let frame =
                FrameHead { length: held + length, kind: kind::DATA, flags: 0, stream: self.id };
            frame.write_at(&mut self.output, head);
            content = rest;
            self.room -= length;
            self.length += length;
        }
        self.spilt.extend_from_slice(content);
    }
}

/// Says something before the response to a request, if that has not begun.
pub(super) fn interim(state: &mut State, id: u32, status: StatusCode, headers: &HeaderMap) {
    if state.find(id).is_none_or(|stream| stream.is_answered) {
        return;
    }
    let begin = begin(state);
    let State { output, encoder, .. } = state;
    encoder.begin(output);
    encoder.status(output, status.as_u16());
    for (name, value) in headers {
        if !is_of_connection(name.as_str().as_bytes()) && name != "content-length" {
            encoder.header(output, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    end(state, begin, id, false);
}

/// Room for the head of a frame; answers where it stands.
fn begin(state: &mut State) -> usize {
    let begin = state.output.len();
    state.output.extend_from_slice(&[0; HEAD]);
    begin
}

/// Makes frames of the fields behind a head: they are written.
fn end(state: &mut State, begin: usize, id: u32, is_end: bool) {
    let output = &mut state.output;
    let mut flags = if is_end { flag::END_STREAM } else { 0 };
    let mut length = output.len() - begin - HEAD;
    // Rarely: the rest is cut into pieces.
    let rest = (length > MOST_PAYLOAD).then(|| output.split_off(begin + HEAD + MOST_PAYLOAD));
    length = length.min(MOST_PAYLOAD);
    if rest.is_none() {
        flags |= flag::END_HEADERS;
    }
    FrameHead { length, kind: kind::HEADERS, flags, stream: id }.write_at(output, begin);
    let mut pieces = rest.iter().flat_map(|rest| rest.chunks(MOST_PAYLOAD)).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        frame::write(output, kind::CONTINUATION, flags, id, piece);
    }
    let written = output.len() - begin;
    state.tell_of(1, written);
}

/// Header lines, each as a name and a value.
fn lines(mut lines: &[u8], write: &mut impl FnMut(&[u8], &[u8])) {
    while let Some(end) = memchr::memchr(b'\n', lines) {
        let (line, rest) = lines.split_at(end + 1);
        lines = rest;
        if let Some(colon) = memchr::memchr(b':', line) {
            let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
            write(line.get(..colon).unwrap_or_default(), value);
        }
    }
}
