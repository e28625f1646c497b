//! What a client sends, frame by frame (RFC 9113, 5 and 6).
//!
//! **Invariant:** a frame is looked at when all of it is there, and each keeps the state of the connection in
//! step: a header block is decoded even if nobody wants what it says.

use std::{
    io,
    task::{Context, Poll, Waker, ready},
};

use h2::Reason;

use super::{
    frame::{self, FrameHead, HEAD, MOST_PAYLOAD, flag, kind, setting},
    head::{FieldLimits, Gathering, Malformed, RequestHead, trailers},
    hpack::Decoder,
    responder::Responder,
    state::{CONNECTION_WINDOW, FIRST_WINDOW, STREAM_WINDOW, Shared, State, Stream, Upload},
    upload::Incoming,
};
use crate::h1::Buffers;

/// What a client begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The number of the last stream that there can be.
const LAST: u32 = i32::MAX as u32;
/// What a PING of ours says: that we leave, or nothing.
const LEAVING: [u8; 8] = *b"portolan";
const ALIVE: [u8; 8] = [0; 8];
/// In so many frames a header block may come: each may be empty.
const MOST_PIECES: u32 = 64;

/// How far a client may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Requests at once.
    pub(crate) streams: u32,
    pub(crate) head: FieldLimits,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Broken {
    pub(crate) reason: Reason,
    pub(crate) why: &'static str,
}

/// A request that has come.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: RequestHead,
    /// `None`: it has no content.
    pub(crate) content: Option<Incoming>,
    pub(crate) responder: Responder,
}

/// Whoever serves a connection.
pub(crate) trait Server {
    /// Looks at a frame before it is read.
    fn judge(&mut self, head: &FrameHead) -> Result<(), Broken>;
    /// Takes a request.
    fn take(&mut self, request: Request);
    /// A request was none, or beyond what may be under way.
    fn refused(&mut self);
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Shared,
    limits: ConnectionLimits,
    decoder: Decoder,
    /// What there is of a frame, or of the preface.
    partial: Vec<u8>,
    /// A header block of which more is to come.
    block: Option<Box<Block>>,
    last_stream: u32,
    stage: Stage,
    leaving: Leaving,
    /// Whether the client answers what it was asked last.
    is_asked: bool,
}

/// What came of a header block.
#[derive(Debug)]
struct Block {
    stream: u32,
    is_end: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

/// What is expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Preface,
    Settings,
    Frames,
}

/// How far the connection has come in leaving.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leaving {
    Not,
    /// The client was told, and may have sent requests before it heard that.
    Told,
    /// What comes now is behind the last that is looked at.
    Last(u32),
}

impl Connection {
    /// A connection on which nothing was read yet.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let mut state = State::new();
        // What is too large is answered, rather than not sent.
        let head_list = u32::try_from(limits.head.bytes.saturating_mul(2)).unwrap_or(u32::MAX);
        frame::settings(
            &mut state.output,
            &[
                (setting::MAX_CONCURRENT_STREAMS, limits.streams),
                (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                (setting::MAX_HEADER_LIST_SIZE, head_list),
            ],
        );
        let more = CONNECTION_WINDOW - FIRST_WINDOW as u32;
        frame::window_update(&mut state.output, 0, more);
        Self {
            shared: Shared::new(state.into()),
            limits,
            decoder: Decoder::new(),
            partial: Vec::new(),
            block: None,
            last_stream: 0,
            stage: Stage::Preface,
            leaving: Leaving::Not,
            is_asked: false,
        }
    }

    /// Whether anything but a preface has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage == Stage::Frames
    }

    /// Reads what has arrived.
    pub(crate) fn receive(
        &mut self,
        mut bytes: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        // First what was begun before.
        while !self.partial.is_empty() || self.stage == Stage::Preface {
            let missing = self.whole(&self.partial)?.saturating_sub(self.partial.len());
            if missing > 0 {
                let Some((piece, rest)) = bytes.split_at_checked(missing) else {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                };
                self.partial.extend_from_slice(piece);
                bytes = rest;
                continue;
            }
            let mut partial = std::mem::take(&mut self.partial);
            self.frame(&partial, buffers, server)?;
            partial.clear();
            // What is empty is not kept for long.
            self.partial = if bytes.is_empty() { Vec::new() } else { partial };
        }
        while !bytes.is_empty() {
            let Some((frame, rest)) = bytes.split_at_checked(self.whole(bytes)?) else { break };
            self.frame(frame, buffers, server)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// How long what begins here is, as far as that can be told.
    fn whole(&self, begun: &[u8]) -> Result<usize, Broken> {
        if self.stage == Stage::Preface {
            return match PREFACE.starts_with(begun.get(..PREFACE.len()).unwrap_or(begun)) {
                true => Ok(PREFACE.len()),
                false => Err(protocol("the preface is none")),
            };
        }
        match FrameHead::read(begun) {
            None => Ok(HEAD),
            Some(head) if head.length > MOST_PAYLOAD => {
                Err(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "a frame is too long" })
            }
            Some(head) => Ok(HEAD + head.length),
        }
    }

    fn frame(
        &mut self,
        frame: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        let Some((head, payload)) = FrameHead::read(frame).zip(frame.get(HEAD..)) else {
            return Ok(());
        };
        match self.stage {
            Stage::Preface => {
                self.stage = Stage::Settings;
                return Ok(());
            }
            Stage::Settings if head.kind != kind::SETTINGS || head.has(flag::ACK) => {
                return Err(protocol("the first frame is not SETTINGS"));
            }
            Stage::Settings => self.stage = Stage::Frames,
            Stage::Frames => {}
        }
        server.judge(&head)?;
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(protocol("a header block is interrupted"));
        }
        match head.kind {
            kind::DATA => self.data(head, payload),
            kind::HEADERS => self.headers(head, payload, buffers, server),
            kind::CONTINUATION => self.continuation(head, payload, buffers, server),
            kind::RST_STREAM => self.reset(head, payload),
            kind::SETTINGS => self.settings(head, payload),
            kind::PING => self.ping(head, payload),
            kind::WINDOW_UPDATE => self.window_update(head, payload),
            kind::PUSH_PROMISE => Err(protocol("clients push nothing")),
            // Priorities mean nothing any more (RFC 9113, 5.3.2), and whoever leaves has said all.
            kind::PRIORITY if head.stream == 0 => Err(protocol("a priority of no stream")),
            kind::PRIORITY if payload.len() != 5 => {
                self.mistake(head.stream, Reason::FRAME_SIZE_ERROR)
            }
            kind::GOAWAY if head.stream != 0 => Err(protocol("a goodbye of a stream")),
            _ => Ok(()),
        }
    }

    fn headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        // Numbers of clients are odd (RFC 9113, 5.1.1).
        if head.stream % 2 == 0 {
            return Err(protocol("HEADERS of a stream that is none of the client's"));
        }
        let mut fields = unpadded(head, payload)?;
        if head.has(flag::PRIORITY) {
            fields = fields
                .get(5..)
                .ok_or(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "HEADERS are too short" })?;
        }
        let is_end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.fields(head.stream, is_end, fields, buffers, server);
        }
        let (stream, bytes) = (head.stream, fields.to_vec());
        self.block = Some(Box::new(Block { stream, is_end, bytes, pieces: 1 }));
        Ok(())
    }

    fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take() else {
            return Err(protocol("CONTINUATION of nothing"));
        };
        block.pieces += 1;
        block.bytes.extend_from_slice(payload);
        // Whatever a block says in the end, all of it has to be kept until then.
        let most = self.limits.head.bytes.saturating_mul(2).saturating_add(MOST_PAYLOAD);
        if block.pieces > MOST_PIECES || block.bytes.len() > most {
            return Err(Broken {
                reason: Reason::ENHANCE_YOUR_CALM,
                why: "a header block has no end",
            });
        }
        if head.has(flag::END_HEADERS) {
            return self.fields(block.stream, block.is_end, &block.bytes, buffers, server);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block: a request, or trailers.
    fn fields(
        &mut self,
        id: u32,
        is_end: bool,
        block: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        if id <= self.last_stream {
            return self.trailers(id, is_end, block);
        }
        self.last_stream = id;
        let limits = self.limits.head;
        let head = buffers.with_output(|text| {
            let mut gathering = Gathering::new(text, limits);
            let decoded = self.decoder.decode(block, |field| gathering.take(&field));
            decoded.map_err(|_error| COMPRESSION).map(|()| gathering.finish(&buffers.maps))
        })?;
        if matches!(self.leaving, Leaving::Last(last) if id > last) {
            return Ok(());
        }
        let mut state = self.shared.borrow_mut();
        let head = match head {
            Ok(head) if state.active < self.limits.streams => head,
            refused => {
                let reason = match refused {
                    Ok(_) => Reason::REFUSED_STREAM,
                    Err(Malformed) => Reason::PROTOCOL_ERROR,
                };
                frame::reset(&mut state.output, id, reason);
                server.refused();
                return Ok(());
            }
        };
        if is_end && head.length.is_some_and(|length| length > 0) {
            frame::reset(&mut state.output, id, Reason::PROTOCOL_ERROR);
            server.refused();
            return Ok(());
        }
        let upload = (!is_end).then(|| Upload::new(head.length, head.expects_continue));
        let has_content = upload.is_some();
        state.open(id, upload);
        drop(state);
        let content = has_content.then(|| Incoming::new(self.shared.clone(), id, head.length));
        let responder = Responder::new(self.shared.clone(), id);
        server.take(Request { head, content, responder });
        Ok(())
    }

    fn trailers(&mut self, id: u32, is_end: bool, block: &[u8]) -> Result<(), Broken> {
        let mut trailers = trailers();
        let decoded = self.decoder.decode(block, |field| trailers.take(&field));
        decoded.map_err(|_error| COMPRESSION)?;
        let mut state = self.shared.borrow_mut();
        let Some(stream) = state.find(id) else { return Ok(()) };
        let reason = match trailers.finish() {
            _ if stream.is_received => Reason::STREAM_CLOSED,
            Ok(map) if is_end && is_complete(stream) => {
                if let Some(upload) = &mut stream.upload {
                    upload.trailers = Some(map).filter(|map| !map.is_empty());
                }
                received(&mut state, id);
                return Ok(());
            }
            Ok(_) | Err(Malformed) => Reason::PROTOCOL_ERROR,
        };
        state.reset(id, reason);
        Ok(())
    }

    fn data(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.is_known(head.stream)?;
        let content = unpadded(head, payload)?;
        let mut state = self.shared.borrow_mut();
        let length = payload.len();
        state.credit -= length as i64;
        if state.credit < 0 {
            return Err(Broken {
                reason: Reason::FLOW_CONTROL_ERROR,
                why: "more came than there was a window for",
            });
        }
        let Some(stream) = state.find(head.stream) else {
            // It was on its way when its request was over.
            state.claim(length);
            return Ok(());
        };
        if stream.is_received {
            state.claim(length);
            state.reset(head.stream, Reason::STREAM_CLOSED);
            return Ok(());
        }
        let Some(upload) = &mut stream.upload else {
            // Nobody wants it any more.
            state.claim(length);
            if head.has(flag::END_STREAM) {
                received(&mut state, head.stream);
            }
            return Ok(());
        };
        upload.credit -= length as i64;
        let left = upload.left.map(|left| left.checked_sub(content.len() as u64));
        let reason = match left {
            _ if upload.credit < 0 => Some(Reason::FLOW_CONTROL_ERROR),
            // Longer than it was to be.
            Some(None) => Some(Reason::PROTOCOL_ERROR),
            Some(Some(left)) if left > 0 && head.has(flag::END_STREAM) => {
                Some(Reason::PROTOCOL_ERROR)
            }
            Some(_) | None => None,
        };
        if let Some(reason) = reason {
            state.claim(length);
            state.reset(head.stream, reason);
            return Ok(());
        }
        upload.left = left.flatten();
        if !content.is_empty() {
            upload.push(content);
        }
        let padding = length - content.len();
        if padding > 0 {
            state.claim_of(head.stream, padding);
        }
        if head.has(flag::END_STREAM) {
            received(&mut state, head.stream);
        }
        Ok(())
    }

    fn reset(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err(Broken {
                reason: Reason::FRAME_SIZE_ERROR,
                why: "RST_STREAM is not 4 bytes",
            });
        }
        self.is_known(head.stream)?;
        self.shared.borrow_mut().cut(head.stream);
        Ok(())
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(protocol("SETTINGS of a stream"));
        }
        if payload.len() % 6 != 0 || head.has(flag::ACK) && !payload.is_empty() {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "SETTINGS are no pairs" });
        }
        if head.has(flag::ACK) {
            return Ok(());
        }
        let mut state = self.shared.borrow_mut();
        for pair in payload.as_chunks::<6>().0 {
            let [n0, n1, value @ ..] = *pair;
            set(&mut state, u16::from_be_bytes([n0, n1]), u32::from_be_bytes(value))?;
        }
        frame::write(&mut state.output, kind::SETTINGS, flag::ACK, 0, &[]);
        state.tell();
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(protocol("PING of a stream"));
        }
        if payload.len() != 8 {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "PING is not 8 bytes" });
        }
        if !head.has(flag::ACK) {
            let mut state = self.shared.borrow_mut();
            frame::write(&mut state.output, kind::PING, flag::ACK, 0, payload);
            state.tell();
        } else if payload == LEAVING && self.leaving == Leaving::Told {
            self.say_last();
        }
        // Whatever it answers, it is there.
        self.is_asked &= !head.has(flag::ACK);
        Ok(())
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        let Ok(by) = <[u8; 4]>::try_from(payload) else {
            return Err(Broken {
                reason: Reason::FRAME_SIZE_ERROR,
                why: "WINDOW_UPDATE is not 4 bytes",
            });
        };
        let by = i64::from(u32::from_be_bytes(by) & (u32::MAX >> 1));
        let most = i64::from(i32::MAX);
        let mut state = self.shared.borrow_mut();
        if head.stream == 0 {
            state.window += by;
            if by == 0 {
                return Err(protocol("a window that opens by nothing"));
            }
            if state.window > most {
                return Err(Broken {
                    reason: Reason::FLOW_CONTROL_ERROR,
                    why: "a window that is too large",
                });
            }
            state.wake_waiting();
            return Ok(());
        }
        drop(state);
        self.is_known(head.stream)?;
        let mut state = self.shared.borrow_mut();
        let Some(stream) = state.find(head.stream) else { return Ok(()) };
        stream.window += by;
        if by == 0 {
            state.reset(head.stream, Reason::PROTOCOL_ERROR);
        } else if stream.window > most {
            state.reset(head.stream, Reason::FLOW_CONTROL_ERROR);
        } else {
            stream.writer.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    /// Whether a stream has ever begun.
    fn is_known(&self, id: u32) -> Result<(), Broken> {
        match id {
            0 => Err(protocol("a frame of no stream")),
            _ if id > self.last_stream || id % 2 == 0 => {
                Err(protocol("a frame of a stream that has not begun"))
            }
            _ => Ok(()),
        }
    }

    /// A mistake that costs a stream.
    fn mistake(&self, id: u32, reason: Reason) -> Result<(), Broken> {
        let mut state = self.shared.borrow_mut();
        if state.find(id).is_some() {
            state.reset(id, reason);
        }
        Ok(())
    }

    /// Tells the client to go, after what it has sent.
    pub(crate) fn leave(&mut self) {
        if self.leaving == Leaving::Not {
            self.leaving = Leaving::Told;
            let mut state = self.shared.borrow_mut();
            // Which is the last, it is told when it has heard that (RFC 9113, 6.8).
            frame::goaway(&mut state.output, LAST, Reason::NO_ERROR, "");
            frame::write(&mut state.output, kind::PING, 0, 0, &LEAVING);
            state.tell();
        }
    }

    fn say_last(&mut self) {
        self.leaving = Leaving::Last(self.last_stream);
        let mut state = self.shared.borrow_mut();
        frame::goaway(&mut state.output, self.last_stream, Reason::NO_ERROR, "");
        state.tell();
    }

    /// Whether all that is to be served is.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.leaving, Leaving::Last(_)) && self.shared.borrow().is_empty()
    }

    /// Whoever reads and writes is at it, and looks by itself at what is written.
    pub(crate) fn attend(&self, cx: &Context<'_>) {
        self.shared.borrow_mut().attend(cx);
    }

    /// From now on it is woken for that.
    pub(crate) fn rely_on_waking(&self) {
        self.shared.borrow_mut().is_told = false;
    }

    /// How much is to be written.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.shared.borrow();
        state.output.len() - state.written
    }

    /// Whether so much waits to be written that nothing more is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.borrow().is_full()
    }

    /// Writes what is to be written by `write`, which says how much it took.
    pub(crate) fn poll_write(
        &mut self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.borrow_mut();
        while let Some(rest) = state.output.get(state.written..).filter(|rest| !rest.is_empty()) {
            match ready!(write(rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => state.wrote(length),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gives back the room of what was written: nothing is expected.
    pub(crate) fn rest(&mut self) {
        self.shared.borrow_mut().rest();
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
    }

    /// Asks the client whether it is there.
    pub(crate) fn ask(&mut self) {
        self.is_asked = true;
        let mut state = self.shared.borrow_mut();
        frame::write(&mut state.output, kind::PING, 0, 0, &ALIVE);
        state.tell();
    }

    /// Whether it has not answered that.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Ends at once, and says why.
    pub(crate) fn end(&mut self, broken: Broken) {
        let mut state = self.shared.borrow_mut();
        frame::goaway(&mut state.output, self.last_stream, broken.reason, broken.why);
        state.cut_all();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.borrow_mut().cut_all();
    }
}

const COMPRESSION: Broken =
    Broken { reason: Reason::COMPRESSION_ERROR, why: "a header block is malformed" };

fn protocol(why: &'static str) -> Broken {
    Broken { reason: Reason::PROTOCOL_ERROR, why }
}

/// A payload without its padding.
fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let unpadded = payload
        .split_first()
        .and_then(|(padding, rest)| rest.get(..rest.len().checked_sub(usize::from(*padding))?));
    unpadded.ok_or(protocol("there is more padding than payload"))
}

/// Whether all of the content has come that was announced.
fn is_complete(stream: &Stream) -> bool {
    stream.upload.as_ref().is_none_or(|upload| upload.left.unwrap_or_default() == 0)
}

/// All of a request has come.
fn received(state: &mut State, id: u32) {
    if let Some(stream) = state.find(id) {
        stream.is_received = true;
        if let Some(upload) = &mut stream.upload {
            upload.reader.take().into_iter().for_each(Waker::wake);
        }
    }
    state.settle(id);
}

/// Takes a setting (RFC 9113, 6.5.2).
fn set(state: &mut State, name: u16, value: u32) -> Result<(), Broken> {
    match name {
        setting::HEADER_TABLE_SIZE => state.encoder.set_limit(value),
        setting::ENABLE_PUSH if value > 1 => {
            return Err(protocol("ENABLE_PUSH is neither 0 nor 1"));
        }
        setting::INITIAL_WINDOW_SIZE => {
            let is_good = i32::try_from(value).is_ok() && state.set_first_window(value.into());
            if !is_good {
                return Err(Broken {
                    reason: Reason::FLOW_CONTROL_ERROR,
                    why: "a window that is too large",
                });
            }
        }
        setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
            return Err(protocol("MAX_FRAME_SIZE is out of bounds"));
        }
        _ => {}
    }
    Ok(())
}
