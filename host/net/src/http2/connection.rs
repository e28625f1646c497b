//! What a client sends, frame by frame (RFC 9113, 5 and 6).
//!
//! **Invariant:** a frame is looked at when all of it is there, and each keeps the state of the connection in
//! step: a header block is decoded even if nobody wants what it says.

use std::{
    io,
    task::{Context, Poll, ready},
};

use h2::Reason;

use super::{
    control::LEAVING,
    frame::{self, FrameHead, HEAD, MOST_PAYLOAD, flag, kind, setting},
    head::{FieldLimits, RequestHead},
    hpack::Decoder,
    messages::Block,
    responder::Responder,
    state::{CONNECTION_WINDOW, FIRST_WINDOW, STREAM_WINDOW, Shared, State, Told},
    upload::Incoming,
};
use crate::h1::Buffers;

/// What a client begins with (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The number of the last stream that there can be.
const LAST: u32 = i32::MAX as u32;
/// What a PING of ours says that asks whether somebody is there.
const ALIVE: [u8; 8] = [0; 8];

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
    /// Looks at a frame before it is read. `takes_back`: it resets a request that has no whole response yet.
    fn judge(&mut self, head: &FrameHead, takes_back: bool) -> Result<(), Broken>;
    /// Takes a request.
    fn take(&mut self, request: Request);
    /// The client made a mistake that cost a request: it was none, or beyond what may be under way, or is reset.
    fn mistaken(&mut self) -> Result<(), Broken>;
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) shared: Shared,
    pub(super) limits: ConnectionLimits,
    pub(super) decoder: Decoder,
    /// What there is of a frame, or of the preface.
    pub(super) partial: Vec<u8>,
    /// A header block of which more is to come.
    pub(super) block: Option<Box<Block>>,
    pub(super) last_stream: u32,
    pub(super) stage: Stage,
    pub(super) leaving: Leaving,
    /// Whether the client answers what it was asked last.
    pub(super) is_asked: bool,
    /// Whether the client has said that it goes.
    pub(super) is_left: bool,
}

/// What is expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Preface,
    Settings,
    Frames,
}

/// How far the connection has come in leaving.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Leaving {
    Not,
    /// The client was told, and may have sent requests before it heard that; so many have come since.
    Told(u32),
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
            is_left: false,
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
        let takes_back =
            head.kind == kind::RST_STREAM && self.shared.borrow_mut().is_unanswered(head.stream);
        server.judge(&content_of(head, payload), takes_back)?;
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(protocol("a header block is interrupted"));
        }
        self.read(head, payload, buffers, server)?;
        for _ in 0..std::mem::take(&mut self.shared.borrow_mut().mistakes) {
            server.mistaken()?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        match head.kind {
            kind::DATA => self.data(head, payload),
            kind::HEADERS => self.headers(head, payload, buffers, server),
            kind::CONTINUATION => self.continuation(head, payload, buffers, server),
            kind::RST_STREAM => self.reset(head, payload),
            kind::SETTINGS => self.settings(head, payload),
            kind::PING => self.ping(head, payload),
            kind::WINDOW_UPDATE => self.window_update(head, payload),
            kind::PUSH_PROMISE => Err(protocol("clients push nothing")),
            // Priorities mean nothing any more (RFC 9113, 5.3.2).
            kind::PRIORITY if head.stream == 0 => Err(protocol("a priority of no stream")),
            kind::PRIORITY if payload.len() != 5 => {
                self.mistake(head.stream, Reason::FRAME_SIZE_ERROR)
            }
            kind::GOAWAY if head.stream != 0 => Err(protocol("a goodbye of a stream")),
            kind::GOAWAY => {
                self.is_left = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells the client to go, after what it has sent.
    pub(crate) fn leave(&mut self) {
        if self.leaving == Leaving::Not {
            self.leaving = Leaving::Told(0);
            let mut state = self.shared.borrow_mut();
            // Which is the last, it is told when it has heard that (RFC 9113, 6.8).
            frame::goaway(&mut state.output, LAST, Reason::NO_ERROR, "");
            frame::write(&mut state.output, kind::PING, 0, 0, &LEAVING);
            state.tell();
        }
    }

    pub(super) fn say_last(&mut self) {
        self.leaving = Leaving::Last(self.last_stream);
        let mut state = self.shared.borrow_mut();
        frame::goaway(&mut state.output, self.last_stream, Reason::NO_ERROR, "");
        state.tell();
    }

    /// Whether all that is to be served is.
    pub(crate) fn is_done(&self) -> bool {
        (self.is_left || matches!(self.leaving, Leaving::Last(_)))
            && self.shared.borrow().is_empty()
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
        self.shared.borrow().unwritten()
    }

    /// Whether so much waits to be written that nothing more is to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.borrow().is_full()
    }

    /// Writes what is to be written by `write`, which says how much it took.
    pub(crate) fn poll_write(
        &self,
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

    /// Adds what is to be written behind all that was, and not together with it; false: there is nothing.
    pub(crate) fn follow_up(&self) -> bool {
        self.shared.borrow_mut().stop_answered()
    }

    /// What of responses was written since this was asked last.
    pub(crate) fn take_told(&self) -> Told {
        std::mem::take(&mut self.shared.borrow_mut().told)
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
    pub(crate) fn end(&self, broken: Broken) {
        let mut state = self.shared.borrow_mut();
        // It never becomes more than it was (RFC 9113, 6.8).
        let last = match self.leaving {
            Leaving::Last(last) => last,
            Leaving::Not | Leaving::Told(_) => self.last_stream,
        };
        frame::goaway(&mut state.output, last, broken.reason, broken.why);
        state.cut_all();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.borrow_mut().cut_all();
    }
}

/// The head that a frame would have without padding, which is of no use to a request.
fn content_of(head: FrameHead, payload: &[u8]) -> FrameHead {
    let padding = payload.first().filter(|_| head.kind == kind::DATA && head.has(flag::PADDED));
    let padding = padding.map_or(0, |padding| usize::from(*padding) + 1);
    FrameHead { length: head.length.saturating_sub(padding), ..head }
}

pub(super) fn protocol(why: &'static str) -> Broken {
    Broken { reason: Reason::PROTOCOL_ERROR, why }
}

#[cfg(any(test, fuzzing))]
impl Connection {
    /// How many requests are under way.
    pub(super) fn active(&self) -> u32 {
        self.shared.borrow().active
    }
}
